"""Mail from YAML to PostfixAdmin's tables and back, through the command line."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from mspctl import vault
from tests.cli.mailing import FILE, KEY, LUCA, MAIL, applied, change, sql
from tests.conftest import Run, Said


@pytest.fixture
def run(mail_run: Run) -> Run:
    return mail_run


def test_from_yaml_to_mailboxes_and_nothing_is_pending(run: Run) -> None:
    assert run("plan").code == 2
    assert applied(run).out.splitlines()[-1] == "5 changes landed. Nothing is pending."
    held = dict(sql("SELECT address, goto FROM alias"))
    assert held["tutti@acme.example"] == "consulente@partner.example,luca@acme.example,paolo@acme.example"
    assert held["p.zen@acme.example"] == "paolo@acme.example"
    assert run("drift").code == 0


def test_a_password_is_nowhere_but_where_it_belongs(run: Run, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "mspctl", "-v", "apply"], capture_output=True, text=True, check=True)
    said = [Said(0, done.stdout, done.stderr)]
    said += [run("drift", "--output", "json"), run("show", "acme", "--history"), run("plan")]
    made = json.loads(vault.decrypt(Path("customers/acme/hand-over.yaml").read_bytes(), KEY.encode()))
    word = made["waiting"]["paolo@acme.example on mail-1 rev 1"]
    hashes = dict(sql("SELECT username, password FROM mailbox"))
    for address, password in (("paolo@acme.example", word), ("luca@acme.example", LUCA)):
        assert bcrypt.checkpw(password.encode(), hashes[address].removeprefix("{BLF-CRYPT}").encode())
    subprocess.run(["git", "gc", "--quiet"], check=False)
    ledger = subprocess.run(["git", "log", "-p", "--all"], capture_output=True, text=True, check=True).stdout
    assert "generated rev 1" in ledger
    for secret in (word, LUCA, *hashes.values()):
        assert all(secret not in each.out + each.err for each in said)
        assert secret not in ledger
        for folder, _, files in os.walk(tmp_path):
            for file in files:
                held = Path(folder, file).read_bytes()
                assert secret.encode() not in held or file == "mail.db"
    assert all(secret.encode() not in Path("scratch/mail.db").read_bytes() for secret in (word, LUCA))


def test_what_somebody_changed_is_drift_and_can_be_adopted(run: Run) -> None:
    applied(run)
    sql("UPDATE mailbox SET quota = 20 * 1024000 * 1024, name = 'Paolo Zen F.' WHERE username LIKE 'paolo@%'")
    sql("UPDATE alias SET goto = 'acquisti@acme.example,paolo@acme.example' WHERE address LIKE 'tutti@%'")
    values = ("ordini@acme.example", "acquisti@acme.example", "acme.example")
    sql("INSERT INTO alias (address, goto, domain) VALUES (?, ?, ?)", *values)
    drift = run("drift")
    assert drift.code == 2
    assert "Paolo Zen F." in drift.out
    assert run("apply").code == 0  # a merge leaves it alone
    assert run("adopt", "acme", "--unmanaged").code == 0
    assert FILE.read_text() == MAIL.replace("Paolo Zen,", "Paolo Zen F.,").replace(
        "quota: 10 GiB", "quota: 20000 MiB"
    ).replace("acquisti: {quota: 5 GiB}", "acquisti: {quota: 5 GiB, aliases: [ordini]}").replace(
        "tutti: [paolo, luca, consulente@partner.example]", "tutti: [paolo, acquisti]"
    )
    assert applied(run).out.splitlines()[-1] == "Nothing was changed. Nothing is pending."
    assert run("drift").code == 0


def test_what_cannot_be_adopted_is_the_one_that_is_named(run: Run) -> None:
    applied(run)
    for name in ("così", "dopo"):
        values = (f"{name}@acme.example", "paolo@acme.example", "acme.example")
        sql("INSERT INTO alias (address, goto, domain) VALUES (?, ?, ?)", *values)
    said = run("adopt", "acme", "--unmanaged")
    assert said.code == 1
    assert "mail.yaml: così has letters that most mail servers refuse (write it in ASCII); change it" in said.err
    assert FILE.read_text() == MAIL


def test_alias_domains_and_limits_are_told_in_words(run: Run) -> None:
    change("    groups:", "    alias_domains: [acme.it]\n    limits: {mailboxes: 9, quota: 20 GiB}\n    groups:")
    assert "acme.it   alias domain" in applied(run).out
    change("    alias_domains: [acme.it]\n    limits: {mailboxes: 9, quota: 20 GiB}\n", "    limits: {quota: 20 GiB}\n")
    said = run("plan").out
    assert "acme.it  alias domain\n" in said
    assert "domain   mailboxes 9 → unlimited" in said


def test_a_row_in_the_wrong_domain_says_what_to_do(run: Run) -> None:
    applied(run)
    sql("INSERT INTO alias (address, goto, domain) VALUES ('x@other.example', 'y@z.example', 'acme.example')")
    assert "'x@other.example' is in the table of acme.example" in (said := run("plan").out)
    assert "(mend that row: its address, or its column domain)" in said


def test_who_changed_it_is_told_as_postfixadmin_knows_it(run: Run) -> None:
    applied(run)
    columns = "timestamp, username, domain, action, data"
    told = f"INSERT INTO log ({columns}) VALUES (datetime('now', ?), ?, 'acme.example', ?, ?)"  # noqa: S608
    sql("UPDATE mailbox SET quota = 1024000 WHERE username LIKE 'acquisti@%'")
    sql(told, "+2 seconds", "anna\x1b[2J@msp.example (192.0.2.7)", "edit_mailbox", "acquisti@acme.example")
    sql("UPDATE mailbox SET name = 'Paolo' WHERE username LIKE 'paolo@%'")  # past everything that would tell of it
    sql("INSERT INTO alias (address, goto, domain) VALUES ('new@acme.example', 'x@partner.example', 'acme.example')")
    sql(told, "+2 seconds", "eva@msp.example (192.0.2.8)", "create_alias", "new@acme.example")
    drift = run("drift")
    assert re.search(
        r"live is 1 MiB; last touched by anna\[U\+001B\]\[2J@msp\.example, \d{4}\S+ \S+ UTC  :6\n", drift.out
    )
    assert re.search(r"unmanaged +new \(last touched by eva@msp\.example, \S+ \S+ UTC\): live, not in Git", drift.out)
    assert "192.0.2.7" not in drift.out
    assert drift.out.count("last touched") == 2
    sql("DROP TABLE log")
    silent = run("drift")
    assert (silent.code, "last touched" in silent.out) == (drift.code, False)


def test_revert_ends_drift(run: Run) -> None:
    applied(run)
    before = sql("SELECT username, quota, active, password FROM mailbox ORDER BY username")
    sql("UPDATE mailbox SET quota = 1, active = 0")
    assert run("drift").code == 2
    assert run("apply", "--revert").code == 0
    assert sql("SELECT username, quota, active, password FROM mailbox ORDER BY username") == before


def test_a_run_can_be_undone_renames_too(run: Run) -> None:
    applied(run)
    before = sorted(sql("SELECT address, goto, active FROM alias"))
    change("paolo: {name: Paolo Zen, quota: 10 GiB", "paolo.zen: {was: paolo, name: Paolo Zen, quota: 12 GiB")
    change("tutti: [paolo, luca, ", "tutti: [paolo.zen, ")
    applied(run, "--reason", "#7")
    assert sql("SELECT maildir FROM mailbox WHERE username LIKE 'paolo%'") == [("acme.example/paolo/",)]
    assert run("undo", "acme", "#7").code == 0
    assert "paolo: {" in FILE.read_text()
    assert "was: paolo.zen" in FILE.read_text()
    applied(run)
    assert sorted(sql("SELECT address, goto, active FROM alias")) == before
    assert sql("SELECT maildir FROM mailbox WHERE username LIKE 'paolo%'") == [("acme.example/paolo/",)]


def test_a_mailbox_whose_time_is_over_waits_for_somebody_to_name_it(run: Run) -> None:
    applied(run)
    change("      acquisti: {quota: 5 GiB}\n", "")
    with FILE.open("a") as file:
        file.write("    leavers: {acquisti: {left: 2026-01-01, keep_until: 2026-01-02}}\n")
    planned = run("plan")
    assert "needs approval" in planned.out
    assert "it was never proved that a backup of it can be restored" in planned.out
    assert run("apply").code == 3
    assert len(sql("SELECT * FROM mailbox")) == 3
    approval = {"resource": "mailboxes/acme.example/acquisti", "why": "ticket 4711", "until": tomorrow()}
    Path("customers/acme/approvals.yaml").write_text(json.dumps({"approvals": [approval]}))
    assert run("apply").code == 0
    assert len(sql("SELECT * FROM mailbox")) == 2


def tomorrow() -> str:
    from datetime import UTC, datetime, timedelta

    return f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%d}"


def test_who_leaves_is_out_of_groups_and_others_get_the_mail(run: Run) -> None:
    applied(run)
    before = dict(sql("SELECT username, password FROM mailbox"))
    change("      luca: {name: Luca Rossi, quota: 2 GiB, password: {secret: LUCA, rev: 1}}\n", "")
    with FILE.open("a") as file:
        file.write("    leavers:\n      luca: {left: 2026-01-01, copy_to: acquisti, keep_until: 2190-01-01}\n")
    applied(run)
    held = {a: (goto, active) for a, goto, active in sql("SELECT address, goto, active FROM alias")}
    assert held["luca@acme.example"] == ("acquisti@acme.example", 1)
    assert held["tutti@acme.example"] == ("consulente@partner.example,paolo@acme.example", 1)
    luca = "SELECT active, quota, password FROM mailbox WHERE username LIKE 'luca@%'"
    assert sql(luca) == [(0, 2098 * 1024000, before["luca@acme.example"])]


def test_a_target_that_cannot_hold_something_says_so_with_its_line(run: Run) -> None:
    change("acquisti: {quota: 5 GiB}", "acquisti: {quota: 5 GiB, shared_with: [paolo]}")
    planned = run("plan")
    assert planned.code == 1
    assert "mail.yaml:6" in planned.out
    assert "whose mailbox others use is Dovecot's affair (set doveadm with shares, or leave it out)" in planned.out


# -- import -----------------------------------------------------------------------------------------------------

GROWN = """
INSERT INTO domain (domain, description, transport, mailboxes, quota) VALUES
  ('grown.example', '', 'virtual', 30, 2048), ('xn--perch-fsa.example', '', 'virtual', 0, 0),
  ('grown.it', '', '', 0, 0);
INSERT INTO mailbox (username, password, name, maildir, quota, local_part, domain, active) VALUES
  ('anna@grown.example', '{SSHA512}abc', 'Anna Bo', 'grown.example/anna/', 1048576000, 'anna', 'grown.example', 1),
  ('bruno@grown.example', '$1$old$hash', '', 'grown.example/bruno/', 0, 'bruno', 'grown.example', 1),
  ('carlo@grown.example', '{CRYPT}x', 'Carlo', 'grown.example/carlo/', 0, 'carlo', 'grown.example', 0),
  ('davide@grown.example', 'x', '', 'd/', 0, 'davide', 'grown.example', 0),
  ('info@xn--perch-fsa.example', 'x', '', 'i/', 0, 'info', 'xn--perch-fsa.example', 1);
INSERT INTO alias (address, goto, domain, active) VALUES
  ('anna@grown.example', 'anna@grown.example,boss@partner.example', 'grown.example', 1),
  ('bruno@grown.example', 'bruno@grown.example,bruno#grown.example@autoreply.grown.example', 'grown.example', 1),
  ('carlo@grown.example', 'carlo@grown.example', 'grown.example', 0),
  ('davide@grown.example', 'davide@grown.example', 'grown.example', 1),
  ('vendite@grown.example', 'anna@grown.example', 'grown.example', 1),
  ('tutti@grown.example', 'Anna@grown.example, bruno@grown.example,info@xn--perch-fsa.example', 'grown.example', 1),
  ('fuori@grown.example', 'x@partner.example', 'grown.example', 1),
  ('@grown.example', 'anna@grown.example', 'grown.example', 1),
  ('spento@grown.example', 'anna@grown.example', 'grown.example', 0),
  ('appeso@grown.example', 'nobody@grown.example', 'grown.example', 1),
  ('capo@grown.example', 'appeso@grown.example', 'grown.example', 1),
  ('pipe@grown.example', '"|/usr/bin/vacation"', 'grown.example', 1),
  ('info@xn--perch-fsa.example', 'info@xn--perch-fsa.example', 'xn--perch-fsa.example', 1);
INSERT INTO alias_domain (alias_domain, target_domain) VALUES ('grown.it', 'grown.example');
"""
IMPORTED = """\
domains:
  grown.example:
    target: mail-1
    mailboxes:
      anna: {name: Anna Bo, quota: 1000 MiB, forwards: [boss@partner.example], aliases: [vendite]}
      bruno: {}
      carlo: {name: Carlo, enabled: false}
    groups: {fuori: [x@partner.example], tutti: [anna, bruno, info@xn--perch-fsa.example]}
    catch_all: [anna]
    alias_domains: [grown.it]
    limits: {mailboxes: 30, quota: 2000 MiB}
  xn--perch-fsa.example:
    target: mail-1
    mailboxes:
      info: {}
"""
LEFT_OUT = {
    "appeso": "sends mail to nobody@grown.example, which is not there",
    "capo": "sends mail to appeso@grown.example, which is not there",
    "davide": "nobody can log in, and its mail is not refused, nor sent on only",
    "pipe": "which is no address",
    "spento": "is switched off",
}


def grown() -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect("scratch/mail.db")) as db, db:
        db.executescript(GROWN)
    return held()


def held() -> list[tuple[Any, ...]]:
    return sorted([*sql("SELECT * FROM mailbox"), *sql("SELECT * FROM alias"), *sql("SELECT * FROM domain")], key=str)


def test_a_grown_server_comes_in_and_nothing_is_pending(run: Run) -> None:
    before = grown()
    said = run("import", "--from", "postfixadmin", "-c", "grown", "-z", "grown.example", "-z", "perché.example")
    assert said.code == 3
    for name, why in LEFT_OUT.items():
        assert any(name in line and why in line for line in (said.out + said.err).splitlines()), name
    assert "2 domains, 15 resources" in said.out
    assert Path("customers/grown/mail.yaml").read_text().split() == IMPORTED.split()
    assert run("plan", "--customer", "grown").code == 0
    assert run("apply", "--customer", "grown").code == 0
    assert held() == before
    assert run("drift", "--customer", "grown").code == 0


@pytest.mark.parametrize(
    ("domains", "why"),
    [
        ([], "--zone: is needed: which domains are this customer's? mail-1 has grown.example, xn--perch-fsa.example"),
        (["grwn.example"], "--zone: grwn.example is not on mail-1 (did you mean grown.example?)"),
        (["a b"], "--zone: 'a b' is not a domain name"),
    ],
)
def test_import_wants_to_know_whose_domains_they_are(run: Run, domains: list[str], why: str) -> None:
    grown()
    options = [part for domain in domains for part in ("-z", domain)]
    said = run("import", "--from", "postfixadmin", "-c", "grown", *options)
    assert said.code == 1
    assert why in said.err
    assert not Path("customers/grown").exists()


def test_a_domain_that_is_declared_already_is_not_imported_again(run: Run) -> None:
    applied(run)
    before = FILE.read_text()
    said = run("import", "--from", "postfixadmin", "-c", "grown", "-z", "acme.example")
    assert said.code == 1
    assert "a mail domain belongs to one customer" in said.err
    assert not Path("customers/grown").exists()
    said = run("import", "--from", "postfixadmin", "-c", "acme", "-z", "acme.example")
    assert said.code == 1
    assert FILE.read_text() == before
