"""A mail server that grew for fifteen years comes in: what can be said is, the rest is named, nothing is pending."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.mailing import FILE, MAIL, applied, sql
from tests.conftest import Run, Said

GROWN = Path("customers/grown/mail.yaml")

# As doveadm pw -l lists them, and what older servers left behind; none of them is ever read, nor written.
SCHEMES = {
    "blf": "{BLF-CRYPT}$2y$10$abcdefghijklmnopqrstuuQ3xkTfGq5mP9wC0fOqjXv1JvY9H8x6K",
    "sha512c": "{SHA512-CRYPT}$6$rounds=70000$saltsaltsalt$hash",
    "sha256c": "{SHA256-CRYPT}$5$saltsalt$hash",
    "argon2id": "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$c2FsdA$aGFzaA",
    "argon2i": "{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$c2FsdA$aGFzaA",
    "ssha512": "{SSHA512}c2FsdHk=",
    "ssha256": "{SSHA256}c2FsdHk=",
    "ssha": "{SSHA}c2FsdHk=",
    "sha": "{SHA}c2FsdHk=",
    "pbkdf2": "{PBKDF2}$1$salt$5000$0123",
    "md5c": "{MD5-CRYPT}$1$salt$hash",
    "plain-md5": "{PLAIN-MD5}5f4dcc3b5aa765d61d8327deb882cf99",
    "cram": "{CRAM-MD5}0123456789abcdef",
    "scram": "{SCRAM-SHA-256}4096,c2FsdA==,a2V5,a2V5",
    "des": "{DES-CRYPT}abJnggxhB/yWI",
    "crypt6": "{CRYPT}$6$salt$hash",
    "hex": "{SHA256.HEX}0123456789abcdef",
    "bare": "$1$old$bare",
    "none": "",
}
TABLES = """
INSERT INTO domain (domain, description, transport, mailboxes, quota, active, backupmx) VALUES
  ('grown.example', '', 'virtual', 3, 0, 1, 0), ('alt.example', '', 'virtual', 0, 10, 1, 0),
  ('xn--perch-fsa.example', '', 'virtual', -1, 0, 1, 0), ('off.example', '', 'virtual', 0, 0, 0, 0),
  ('grown.it', '', '', 0, 0, 1, 0), ('both.example', '', '', 0, 0, 1, 0), ('backup.example', '', '', 0, 0, 1, 1),
  ('neighbour.example', '', '', 0, 0, 1, 0), ('ALL', '', '', 0, 0, 1, 0);
INSERT INTO alias_domain (alias_domain, target_domain, active) VALUES ('grown.it', 'grown.example', 1),
  ('both.example', 'grown.example', 1), ('old.example', 'alt.example', 0);
"""
# (username, name, quota, active, goto of its own row or None, whether that is active)
MAILBOXES: list[tuple[str, str, int, int, str | None, int]] = [
    ("anna@grown.example", "Anna Bo", 1024 * 1024000, 1, "anna@grown.example,boss@partner.example", 1),
    ("Zoe@grown.example", "Zoë", 0, 1, "Zoe@Grown.example", 1),  # as an old release wrote them
    ("zoe.b@grown.example", "Zoe B", 0, 1, "zoe.b@grown.example", 1),
    ("ZOE.B@grown.example", "Zoe B", 0, 1, None, 1),  # a twin that no server finds
    ("o'neil@grown.example", "O'Neil", 0, 1, "o'neil@grown.example", 1),
    ("ferie@grown.example", "", -1, 1, "ferie@grown.example,ferie#grown.example@autoreply.grown.example", 1),
    ("bare@grown.example", "Nobody's row", 5000001, 1, None, 1),
    ("uscito@grown.example", "", 0, 0, "uscito@grown.example", 0),
    ("passato@grown.example", "", 0, 0, "anna@grown.example", 1),
    ("solo@grown.example", "", 0, 1, "x@partner.example", 1),
    ("righe@grown.example", "two\nlines", 0, 1, "righe@grown.example", 1),
    ("vuoto@grown.example", "   ", 0, 1, "vuoto@grown.example", 1),
    ("bidi@grown.example", "a\u202eb", 0, 1, "bidi@grown.example", 1),
    ("a+b@grown.example", "", 0, 1, "a+b@grown.example", 1),
    ("muto@grown.example", "", 0, 1, "", 1),
    ("mezzo@grown.example", "", 0, 0, "mezzo@grown.example", 1),
    ("ping@grown.example", "", 0, 1, "ping@grown.example,pong@grown.example", 1),
    ("pong@grown.example", "", 0, 1, "pong@grown.example,ping@grown.example", 1),
    ("eco@grown.example", "", 0, 1, "eco@grown.example,eco@grown.it", 1),
    ("info@alt.example", "", 20 * 1024000, 1, "info@alt.example", 1),
    ("info@xn--perch-fsa.example", "", 0, 1, "info@xn--perch-fsa.example,capo@perché.example", 1),
    ("capo@xn--perch-fsa.example", "", 0, 1, "capo@xn--perch-fsa.example", 1),
    ("own@both.example", "", 0, 1, "own@both.example", 1),
    ("you@neighbour.example", "", 0, 1, "you@neighbour.example", 1),
]
ALIASES = {
    "abuse@grown.example": ("abuse@change-this-to-your.domain.tld", 1),
    "postmaster@grown.example": ("postmaster@change-this-to-your.domain.tld", 1),
    "vendite@grown.example": ("anna@grown.example", 1),
    "sales@grown.example": ("vendite@grown.example", 1),
    "tutti@grown.example": (" Anna@grown.example, zoe@grown.example ,zoe@GROWN.example,info@alt.example,", 1),
    "lista@grown.example": ("anna@grown.it,o'neil+lista@grown.example,capo@perché.example,you@neighbour.example", 1),
    "@grown.example": ("anna@grown.example,@alt.example", 1),
    "@alt.example": ("info@alt.example", 1),
    "spento@grown.example": ("anna@grown.example", 0),
    "appeso@grown.example": ("nobody@grown.example", 1),
    "capo@grown.example": ("appeso@grown.example", 1),
    "perso@grown.example": ("nobody@grown.it", 1),
    "vuota@grown.example": ("", 1),
    "pipe@grown.example": ('"|/usr/bin/vacation anna"', 1),
    "file@grown.example": ("/var/mail/x", 1),
    "giro@grown.example": ("tondo@grown.example,anna@grown.example", 1),
    "tondo@grown.example": ("giro@grown.example", 1),
    "Vendite@grown.example": ("boss@partner.example", 1),
    "@off.example": ("anna@grown.example", 1),
}
IMPORTED = """\
domains:
  grown.example:
    target: mail-1
    mailboxes:
      anna: {name: Anna Bo, quota: 1000 MiB, forwards: [boss@partner.example], aliases: [vendite]}
      bare: {name: Nobody's row, quota: 5000 KiB}
      bidi: {}
      ferie: {}
      o'neil: {name: O'Neil}
      passato: {forwards: [anna], enabled: false}
      righe: {}
      solo: {forwards: [x@partner.example], keep_copy: false}
      uscito: {enabled: false}
      vuoto: {}
      zoe: {name: Zoë}
      zoe.b: {name: Zoe B}
    groups:
      abuse: [abuse@change-this-to-your.domain.tld]
      lista:
        - anna@grown.it
        - capo@xn--perch-fsa.example
        - o'neil+lista@grown.example
        - you@neighbour.example
      postmaster: [postmaster@change-this-to-your.domain.tld]
      sales: [vendite]
      tutti: [anna, info@alt.example, zoe]
    alias_domains: [both.example, grown.it]
  alt.example:
    target: mail-1
    mailboxes:
      info: {quota: 20000 KiB}
    catch_all: [info]
  xn--perch-fsa.example:
    target: mail-1
    mailboxes:
      capo: {}
      info: {forwards: [capo]}
"""
LEFT_OUT = {
    "@": "sends mail to '@alt.example', which is no address",
    "ZOE.B@grown.example": "is there a second time, in another spelling",
    "Vendite@grown.example": "is there a second time, in another spelling",
    "a+b": "has a +",
    "appeso": "sends mail to nobody@grown.example, which is not there",
    "capo": "sends mail to appeso@grown.example, which is not there",
    "eco": "sends mail to itself",
    "file": "sends mail to '/var/mail/x', which is no address",
    "giro": "sends mail in a circle: ",
    "mezzo": "nobody can log in, and its mail is not refused, nor sent on only",
    "muto": "its owner can log in, and its mail is refused or lost",
    "perso": "sends mail to nobody@grown.it, which is not there",
    "ping": "sends mail in a circle: ",
    "pipe": "which is no address",
    "pong": "sends mail to ping@grown.example, which is not there",
    "spento": "is switched off",
    "tondo": "sends mail to giro@grown.example, which is not there",
    "vuota": "sends mail to nobody",
    "righe": "its owner's name should be one line",
    "bidi": "its owner's name holds characters that YAML does not take",
    "vuoto": "its owner's name is empty",
    "old.example": "is switched off",
}
DOMAINS = ("grown.example", "alt.example", "perché.example", "both.example", "off.example")


@pytest.fixture
def run(mail_run: Run) -> Run:
    FILE.write_text("domains: {}\n")
    with closing(sqlite3.connect("scratch/mail.db")) as db, db:
        db.executescript(TABLES)
        for number, (username, name, quota, active, goto, on) in enumerate(MAILBOXES):
            local, _, domain = username.partition("@")
            password = [*SCHEMES.values()][number % len(SCHEMES)]
            row = (username, password, name, f"m/{number}/", quota, local, domain, active)
            db.execute(f"INSERT INTO mailbox ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608
            if goto is not None:
                put(db, username, goto, on)
        for address, (goto, on) in ALIASES.items():
            put(db, address, goto, on)
    return mail_run


COLUMNS = "username, password, name, maildir, quota, local_part, domain, active"


def put(db: sqlite3.Connection, address: str, goto: str, active: int) -> None:
    row = (address, goto, address.rpartition("@")[2], active)
    db.execute("INSERT INTO alias (address, goto, domain, active) VALUES (?, ?, ?, ?)", row)


def brought(run: Run, *domains: str) -> Said:
    options = [part for domain in domains for part in ("-z", domain)]
    return run("import", "--from", "postfixadmin", "-c", "grown", "--name", "Grown S.p.A.", *options)


def held() -> list[tuple[Any, ...]]:
    tables = ("mailbox", "alias", "domain", "alias_domain", "log")
    return [row for table in tables for row in sql(f"SELECT * FROM {table} ORDER BY 1")]  # noqa: S608


def test_it_comes_in_whole_and_no_row_is_touched(run: Run) -> None:
    before = held()
    assert len(MAILBOXES) >= len(SCHEMES)
    said = brought(run, *DOMAINS[:3])
    assert said.code == 3, said.err
    assert GROWN.read_text().split() == IMPORTED.split()
    assert Path("customers/grown/customer.yaml").read_text() == "name: Grown S.p.A.\n"
    lines = said.err.splitlines()
    missing = {name: why for name, why in LEFT_OUT.items() if not any(f": {name}: " in i and why in i for i in lines)}
    assert missing == {}
    told = {line.split(": ")[1] for line in lines if "(left out)" in line}
    assert told - LEFT_OUT.keys() == {"domain"}  # the limits of two domains
    assert any("allows 3 mailboxes, and there are 12" in line for line in lines)
    assert run("plan", "--customer", "grown").code == 0
    assert run("apply", "--customer", "grown").out.splitlines()[-1] == "Nothing was changed. Nothing is pending."
    assert run("plan", "--customer", "grown").code == 0
    drift = run("drift", "--customer", "grown")
    assert (drift.code, drift.out.count("[mail.")) == (2, 1)
    assert "Vendite@grown.example  mail also goes to boss@partner.example, which nobody declared" in drift.out
    assert held() == before


def test_a_scheme_that_we_would_not_write_stays_when_other_things_change(run: Run) -> None:
    brought(run, "grown.example")
    applied(run)
    before = dict(sql("SELECT username, password FROM mailbox"))
    assert {*before.values()} >= {*SCHEMES.values()}
    GROWN.write_text(
        GROWN.read_text().replace("{name: Zoe B}", "{name: Zoe Bo, quota: 1 GiB}").replace("sales:", "shop:")
    )
    applied(run)
    assert dict(sql("SELECT username, password FROM mailbox")) == before
    assert sql("SELECT name FROM mailbox WHERE username LIKE 'zoe.b@%' ORDER BY 1") == [("Zoe B",), ("Zoe Bo",)]


def test_one_domain_after_the_other_and_none_twice(run: Run) -> None:
    brought(run, "alt.example")
    first = GROWN.read_text()
    assert "# by hand" not in first
    GROWN.write_text(first + "# by hand\n")
    assert brought(run, "perché.example").code == 3
    assert GROWN.read_text().startswith(first)
    assert run("plan", "--customer", "grown").code == 0
    again = brought(run, "perché.example")
    assert again.code == 1
    assert (
        "customers/grown/mail.yaml:7:1: xn--perch-fsa.example is there already (take it out to import it anew)"
        in again.err
    )


def test_a_domain_that_is_switched_off_or_another_ones_backup(run: Run) -> None:
    said = brought(run, "off.example")
    assert said.code == 3
    assert "domain: is switched off" in said.err
    assert (
        GROWN.read_text().split() == "domains: off.example: {target: mail-1, catch_all: [anna@grown.example]}".split()
    )
    assert "--zone: backup.example is not on mail-1" in brought(run, "backup.example").err


def test_an_alias_domain_with_addresses_of_its_own_is_a_domain(run: Run) -> None:
    said = brought(run, "grown.example", "both.example")
    assert "both.example: has addresses of its own" in said.err
    assert "  both.example:\n    target: mail-1\n    mailboxes:\n      own: {}\n" in GROWN.read_text()
    assert run("plan", "--customer", "grown").code == 0


def test_an_alias_domain_that_is_somebody_elses_is_named_and_the_rest_comes_in(run: Run) -> None:
    FILE.write_text(MAIL + "    alias_domains: [grown.it]\n")
    said = brought(run, "grown.example")
    assert said.code == 3
    assert "grown.example on mail-1: grown.it: is a mail domain of acme (left out)" in said.err
    assert "    alias_domains: [both.example]\n" in GROWN.read_text()
    assert run("plan", "--customer", "grown").code == 0


def test_what_belongs_to_somebody_else_is_not_taken(run: Run) -> None:
    FILE.write_text(MAIL.replace("acme.example", "alt.example"))
    before = FILE.read_text()
    said = brought(run, "alt.example")
    assert said.code == 1
    assert "a mail domain belongs to one customer" in said.err
    assert not GROWN.parent.exists()
    assert not [p for p in GROWN.parent.parent.iterdir() if p.name.startswith(".")]
    assert FILE.read_text() == before


# -- from a spreadsheet -----------------------------------------------------------------------------------------

SHEET = """\
E-Mail;Name;Quota (GB);Alias;Weiterleitung;Members;Password;Phone
anna@new.example;Anna Bo;1,5;a.bo;;;hunter2;1
zoe@new.example;Zo\u00eb;;;;;hunter3;
tutti@new.example;;;;;anna, zoe;;
"""


def sheet(text: str = SHEET) -> str:
    Path("mail.csv").write_text(text, encoding="cp1252")
    return "mail.csv"


def test_a_spreadsheet_becomes_a_customer_and_then_mailboxes(run: Run) -> None:
    said = run("import", "--from", "csv", sheet(), "-c", "new", "--name", "New S.r.l.", "--generate-passwords")
    assert said.code == 0, said.err
    assert said.out.splitlines() == [
        "in:  3 rows",
        "out: 2 mailboxes, 2 aliases and groups in 1 domain, written to customers/new/mail.yaml,"
        " customers/new/customer.yaml",
    ]
    assert "Columns that were not read: Weiterleitung, Phone" in said.err
    assert "The column Password was not read: YAML holds no passwords." in said.err
    assert Path("customers/new/mail.yaml").read_text() == (
        "domains:\n  new.example:\n    target: mail-1\n    mailboxes:\n"
        "      anna: {name: Anna Bo, quota: 1536 MiB, password: generated, aliases: [a.bo]}\n"
        "      zoe: {name: Zoë, password: generated}\n"
        "    groups: {tutti: [anna, zoe]}\n"
    )
    assert not [p for p in Path("customers").rglob("*") if p.is_file() and b"hunter" in p.read_bytes()]
    applied(run, "-c", "new")
    assert run("secret", "hand-over", "new", "zoe", "--print").code == 0
    again = run("import", "--from", "csv", sheet(), "-c", "new")
    assert "customers/new/mail.yaml:2:1: new.example is there already" in again.err


def test_without_passwords_it_is_said_that_nobody_can_log_in(run: Run) -> None:
    said = run("import", "--from", "csv", sheet("email\na@new.example\n"), "-c", "new")
    assert (said.code, "so nobody can log in (--generate-passwords makes them)" in said.err) == (0, True)
    assert "password" not in Path("customers/new/mail.yaml").read_text()


def test_a_spreadsheet_of_what_is_there_already_changes_no_password(run: Run) -> None:
    """Who exports from the same server, and asks for passwords too, is stopped before anybody is locked out."""
    before = dict(sql("SELECT username, password FROM mailbox"))
    text = "email,name\nzoe@grown.example,Zoë\nanna@grown.example,Anna B.\n"
    Path("mail.csv").write_text(text)
    assert run("import", "--from", "csv", "mail.csv", "-c", "grown", "--generate-passwords").code == 0
    run("apply", "-c", "grown")
    assert dict(sql("SELECT username, password FROM mailbox")) == before


@pytest.mark.parametrize(
    ("arguments", "text", "why"),
    [
        ([], "email,quota\na@n.example,x\nb@n.example,y\n", "mail.csv:3:1: quota: 'y' is not a size (write 5 GB)"),
        ([], "email,members\ng@n.example,z\n", "mail.csv:2:1: g: sends mail to z@n.example, which is not there"),
        (["-t", "mail-2"], "email\na@n.example\n", "--target: mail-2 holds no mailboxes (did you mean mail-1?)"),
        (["-z", "m.example"], "email\na@n.example\n", "--from: there is no domain that can come in"),
        (["--name", "a\nb"], "email\na@n.example\n", "name: should be one line"),
    ],
)
def test_one_wrong_row_and_nothing_is_written(run: Run, arguments: list[str], text: str, why: str) -> None:
    said = run("import", "--from", "csv", sheet(text), "-c", "new", *arguments)
    assert said.code == 1
    assert why in said.err
    assert [path.name for path in Path("customers").iterdir()] == ["acme"]
