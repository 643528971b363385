"""What happened to a customer's mail, what waits and what is let go, on a running mail server: here, and over SSH."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from click import unstyle

from mspctl import cli
from tests.conftest import Said
from tests.servers import mail_stack as stacks
from tests.servers import sshd
from tests.servers.mail_stack import MailStack, wait

PASSWORD = "a word for the mailbox"
WRONG = "a word that is none"
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\n"
SPAMMER = "203.0.113.6"  # what comes from there is greylisted, and marked when it comes again
RSPAMD = {
    "greylist.conf": "enabled = true;\ntimeout = 1s;\nwhitelist_domains_url = [];\n",
    "multimap.conf": 'KNOWN_SPAMMER { type = "ip"; map = "file://@etc@/rspamd/local.d/spammers"; score = 8.0; }\n',
    "spammers": f"{SPAMMER}\n",
}
HOLD = "/^Subject:.*look at this/ HOLD a subject that we look at\n"
ACME, OTHER = "acme.example", "vicini.example"
Run = Callable[..., Said]


def mailbox(stack: MailStack, address: str, quota: int = 0) -> None:
    local, _, domain = address.partition("@")
    hashed = "{BLF-CRYPT}" + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    stack.sql(
        "INSERT INTO mailbox (username, password, name, maildir, local_part, domain, quota)"
        " VALUES (?, ?, '', ?, ?, ?, ?)",
        address, hashed, f"{domain}/{local}/", local, domain, quota,
    )  # fmt: skip
    alias(stack, address, address)


def alias(stack: MailStack, address: str, goto: str) -> None:
    stack.sql("INSERT INTO alias (address, goto, domain) VALUES (?, ?, ?)", address, goto, address.partition("@")[2])


def come_again(stack: MailStack, to: str, subject: str) -> None:
    """As a mail server does that was asked to; what it brings is marked as spam."""
    wait(lambda: stack.deliver(to, subject, client=SPAMMER).taken, "the end of greylisting")


@pytest.fixture(scope="module")
def server(mail_tables: Path) -> Iterator[MailStack]:
    """Two customers, each with a mailbox, and all that can happen to mail."""
    with stacks.running(mail_tables, rspamd=RSPAMD) as stack:
        (stack.etc / "postfix/hold").write_text(HOLD)
        stack.run("postconf", "-c", stack.etc / "postfix", "-e", f"header_checks=regexp:{stack.etc}/postfix/hold")
        stack.run("postfix", "-c", stack.etc / "postfix", "reload")
        for domain in (ACME, OTHER):
            stack.sql("INSERT INTO domain (domain, description, transport) VALUES (?, '', 'virtual')", domain)
        for address in (f"paolo@{ACME}", f"maria@{OTHER}", f"anna@{ACME}"):
            mailbox(stack, address)
        mailbox(stack, f"full@{ACME}", 20_000)
        alias(stack, f"archive@{ACME}", f"full@{ACME}")
        happen(stack)
        yield stack


def happen(stack: MailStack) -> None:
    paolo, maria = f"paolo@{ACME}", f"maria@{OTHER}"
    assert stack.deliver([paolo, maria], "for two").taken
    assert stack.deliver(f"nobody@{ACME}").code == 550
    assert stack.deliver(f"nobody@{OTHER}", sender="only-for-maria@sender.example").code == 550
    assert stack.deliver([maria, paolo], "spam for two", GTUBE, client="203.0.113.5").code == 554
    assert stack.deliver(paolo, "perhaps spam", client=SPAMMER).code == 451
    come_again(stack, paolo, "perhaps spam")
    assert stack.deliver(f"full@{ACME}", "large", "x\n" * 20_000).code == 552
    assert stack.deliver(f"archive@{ACME}", "large", "x\n" * 20_000).taken
    assert stack.deliver(paolo, "look at this").taken
    assert stack.deliver([paolo, maria], "look at this, both").taken
    assert stack.deliver("x@elsewhere.example", sender=paolo, client="203.0.113.7").code == 554
    for _ in range(3):
        assert not stack.logs_in(paolo, WRONG)
    assert not stack.logs_in(maria, WRONG)
    assert stack.submit(paolo, WRONG, "x@elsewhere.example").code == 535
    stack.stop_one("sink")
    assert stack.submit(paolo, PASSWORD, "partner@elsewhere.example", "waits").taken
    stack.wait_for(paolo, PASSWORD, "for two")
    stack.wait_for(paolo, PASSWORD, "perhaps spam", "Junk")
    wait(lambda: b"elsewhere.example" in stack.mail_log.read_bytes().partition(b"status=deferred")[0], "a deferral")
    wait(lambda: b"status=bounced" in stack.mail_log.read_bytes(), "a bounce")
    wait(lambda: len(stack.queue()) >= 3, "what waits")


@pytest.fixture
def repository(server: MailStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two customers on one mail server, which is this machine."""
    files = {
        "customers/acme/customer.yaml": "name: Acme\ntimezone: Europe/Rome\n",
        "customers/acme/mail.yaml": f"domains: {{{ACME}: {{target: mail-1, alias_domains: [acme-alias.example]}}}}\n",
        "customers/vicini/customer.yaml": "name: Vicini\n",
        "customers/vicini/mail.yaml": f"domains: {{{OTHER}: {{target: mail-1}}}}\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "inventory").mkdir()
    targets(tmp_path, server, {"via": "local"})
    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "GITHUB_ACTOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Paolo Zen")
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "zen@msp.example")
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def targets(root: Path, server: MailStack, way: dict[str, Any], **more: Any) -> None:
    """Say how the mail server is reached; `more` are further targets."""
    logs = {
        "driver": "maillog",
        "files": [str(path) for path in (server.mail_log, server.dovecot_log, server.rspamd_log)],
        "postfix": str(server.etc / "postfix"),
        "dovecot": str(server.etc / "dovecot/dovecot.conf"),
        **way,
    }
    mailboxes = {"driver": "postfixadmin", "database": "sqlite", "file": "never/opened.db"}
    secrets = {} if way["via"] == "local" else {"secrets": {"ssh_key": "MAIL_1_KEY"}}
    first = {"address": "127.0.0.1", "facets": {"logs": logs, "mailboxes": mailboxes}, **secrets}
    (root / "inventory/targets.yaml").write_text(json.dumps({"targets": {"mail-1": first, **more}}))


@pytest.fixture
def run(repository: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: str) -> Said:
        capsys.readouterr()
        said = Said(cli.run([*arguments]), *capsys.readouterr())
        assert "Traceback" not in said.err
        return said

    return command


def rows(said: Said, *words: str) -> list[str]:
    """Lines of a table in which all the words are."""
    assert said.code == 0, said.out + said.err
    return [line for line in unstyle(said.out).splitlines() if all(word in line for word in words)]


def test_the_log_finds_what_happened_and_says_why(run: Run) -> None:
    said = run("mail", "log", "acme")
    for words in (
        ("delivered", "someone@sender.example → paolo@acme.example"),
        ("refused", "→ nobody@acme.example", "unknown address · from 127.0.0.1"),
        ("rejected", "→ paolo@acme.example", "spam, score 15 of 15 (GTUBE: Gtube pattern) · from 203.0.113.5"),
        ("marked", "→ paolo@acme.example", "spam, score ", " of 15: KNOWN_SPAMMER 8, ", "in Junk"),
        ("refused", "→ full@acme.example", "mailbox over quota"),
        ("bounced", "→ full@acme.example", "for archive@acme.example; mailbox over quota"),
        ("held", "→ paolo@acme.example", "in quarantine (a subject that we look at)"),
        (
            "greylisted",
            "someone@sender.example → paolo@acme.example",
            "asked to come again; score ",
            "came again, delivered ",
        ),
        ("refused", "paolo@acme.example → x@elsewhere.example", "relay denied", "from 203.0.113.7"),
        ("log-in failed", "paolo@acme.example", "3 times", "wrong password (IMAP) · from 127.0.0.1"),
        ("log-in failed", "paolo@acme.example", "wrong password (submission)"),
        (
            "deferred",
            "paolo@acme.example → partner@elsewhere.example",
            "127.0.0.1 does not answer (Connection refused)",
        ),
    ):
        assert rows(said, *words), (words, said.out)


def test_nothing_of_the_other_customer_is_in_it_and_nothing_secret(run: Run) -> None:
    for arguments in (["mail", "log", "acme"], ["mail", "queue", "acme"], ["mail", "release", "acme"]):
        for form in ("text", "json"):
            said = run(*arguments, "--output", form)
            assert (said.code, said.err) == (0, "")
            assert not re.search(r"vicini|maria", said.out)
            assert PASSWORD not in said.out
            assert WRONG not in said.out
    theirs = run("mail", "log", "vicini").out
    assert "only-for-maria@sender.example" in theirs
    assert "acme" not in theirs
    assert "paolo" not in theirs


def test_over_ssh_it_is_the_same(
    run: Run, repository: Path, server: MailStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = [unchanging(run("mail", what, "acme")) for what in ("log", "release")]
    with sshd.running() as running:
        monkeypatch.setenv("MSPCTL_SECRET_MAIL_1_KEY", running.client_key.decode())
        way = {"via": "ssh", "user": running.user, "port": running.port, "host_key": running.host_key}
        targets(repository, server, way)
        assert [unchanging(run("mail", what, "acme")) for what in ("log", "release")] == here
        assert server.deliver(f"anna@{ACME}", "look at this over ssh").taken
        (message,) = wait(lambda: held(run, "anna"), "it to be held")
        assert run("mail", "release", "acme", message, "--yes").code == 0
    server.wait_for(f"anna@{ACME}", PASSWORD, "look at this over ssh")


def unchanging(said: Said) -> list[str]:
    """Without what goes on meanwhile: when it was asked, and how often a delivery was tried."""
    assert said.code == 0, said.out
    return [line for line in said.out.splitlines()[1:] if "deferred" not in line]


def held(run: Run, address: str) -> list[str]:
    found = json.loads(run("mail", "queue", "acme", "--address", address, "-o", "json").out)["messages"]
    return [message["id"] for message in found if message["held"]]


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("error", {"refused", "bounced", "deferred"}),
        ("spam", {"rejected", "marked", "greylisted", "held"}),
        ("auth", {"log-in failed"}),
    ],
)
def test_a_kind_is_all_that_is_shown(run: Run, kind: str, what: set[str]) -> None:
    document = json.loads(run("mail", "log", "acme", "--kind", kind, "--output", "json").out)
    assert {entry["what"] for entry in document["entries"]} == what
    assert {entry["kind"] for entry in document["entries"]} == {kind}


def test_an_address_and_a_time_narrow_it(run: Run) -> None:
    for asked in ("full", f"full@{ACME}"):
        found = rows(run("mail", "log", "acme", "--address", asked), "→")
        assert len(found) == 2
        assert all("full@" in line for line in found)
    assert rows(run("mail", "log", "acme", "--address", "@elsewhere.example", "--kind", "spam"), "→") == []
    assert run("mail", "log", "acme", "--since", "2h").out.count("delivered") >= 1
    assert run("mail", "log", "acme", "--address", " ").code == 64
    for wrong in ("yesterday", "2027-13-01", "5", "-1h", "99999999999w"):
        said = run("mail", "log", "acme", "--since", wrong)
        assert said.code == 64
        assert "--since" in said.err


def test_the_document_is_the_same_each_time(run: Run) -> None:
    first, second = (json.loads(run("mail", "log", "acme", "--kind", "spam", "-o", "json").out) for _ in range(2))
    for document in (first, second):
        assert document["format"] == "mspctl.mail-log/1"
        assert (document["timezone"], document["targets"], document["unread"]) == ("Europe/Rome", ["mail-1"], [])
        del document["read"], document["since"]
    assert first == second
    assert [*first["entries"][0]] == [
        "kind", "what", "first", "last", "count", "sender", "recipients", "client", "reason", "said", "ids", "spam",
        "delivered_later",
    ]  # fmt: skip
    times = [entry["last"] for entry in first["entries"]]
    assert times == sorted(times)


def test_the_queue_shows_what_waits_since_when_and_why(run: Run) -> None:
    said = run("mail", "queue", "acme")
    assert rows(said, "waits", "paolo@acme.example → partner@elsewhere.example", "does not answer (Connection refused)")
    (held,) = rows(said, "quarantine", "someone@sender.example → paolo@acme.example", "and 1 of somebody else")
    assert "vicini" not in held
    assert "2 in quarantine" in said.out
    document = json.loads(run("mail", "queue", "acme", "-o", "json").out)
    assert document["format"] == "mspctl.mail-queue/1"
    assert {message["held"] for message in document["messages"]} == {True, False}


def test_what_is_held_is_listed_with_ids(run: Run, server: MailStack) -> None:
    document = json.loads(run("mail", "release", "acme", "-o", "json").out)
    assert [message["id"].split(":")[0] for message in document["junk"]] == [f"paolo@{ACME}"] * len(document["junk"])
    assert {"perhaps spam"} <= {message["subject"] for message in document["junk"]}
    assert {message["other_recipients"] for message in document["quarantine"]} == {0, 1}
    only = json.loads(run("mail", "release", "acme", "--address", f"anna@{ACME}", "-o", "json").out)
    assert (only["junk"], only["quarantine"]) == ([], [])


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_somebody_is_asked(run: Run, server: MailStack, monkeypatch: pytest.MonkeyPatch) -> None:
    assert server.deliver(f"anna@{ACME}", "look at this, or not").taken
    (id_,) = wait(lambda: held(run, "anna"), "it to be held")
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    said = run("mail", "release", "acme", id_)
    assert said.code == 130
    assert f"{id_}  someone@sender.example → anna@acme.example\nRelease? [y/N]: " in said.out
    assert held(run, "anna") == [id_]
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert run("mail", "release", "acme", id_).code == 0
    server.wait_for(f"anna@{ACME}", PASSWORD, "look at this, or not")


def test_out_of_quarantine_and_who_wanted_it(run: Run, server: MailStack) -> None:
    assert server.deliver(f"anna@{ACME}", "look at this one").taken
    (id_,) = wait(lambda: held(run, "anna"), "it to be held")
    said = run("mail", "release", "acme", id_, "--yes")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[-1] == f"{id_} is released."
    server.wait_for(f"anna@{ACME}", PASSWORD, "look at this one")
    (line,) = rows(run("mail", "log", "acme", "--address", "anna"), "delivered", id_)
    assert "released from quarantine by Paolo Zen <zen@msp.example>" in line
    said = run("mail", "release", "acme", id_, "--yes")
    assert said.code == 1
    assert "is not held (mspctl mail release acme shows what is)" in said.err


def test_out_of_junk_and_who_wanted_it(run: Run, server: MailStack) -> None:
    come_again(server, f"anna@{ACME}", "no spam at all")
    server.wait_for(f"anna@{ACME}", PASSWORD, "no spam at all", "Junk")
    found = json.loads(run("mail", "release", "acme", "--address", "anna", "-o", "json").out)["junk"]
    (id_,) = (message["id"] for message in found if message["subject"] == "no spam at all")
    assert run("mail", "release", "acme", id_, "--yes").code == 0
    server.wait_for(f"anna@{ACME}", PASSWORD, "no spam at all")
    assert server.messages(f"anna@{ACME}", PASSWORD, "Junk") == []
    assert rows(
        run("mail", "log", "acme", "--address", "anna"), "released", "from Junk, by Paolo Zen <zen@msp.example>"
    )
    assert run("mail", "release", "acme", id_, "--yes").code == 1
    for message in server.messages(f"anna@{ACME}", PASSWORD):
        assert message["Subject"]
    shutil.rmtree(server.vmail / ACME / "anna")


def test_nothing_of_somebody_else_is_released(run: Run, server: MailStack) -> None:
    shared = [m for m in server.queue() if len(m["recipients"]) == 2]
    (id_,) = (m["queue_id"] for m in shared)
    for customer in ("acme", "vicini"):
        said = run("mail", "release", customer, id_, "--yes")
        assert said.code == 1
        assert "is for somebody else too, and goes to all or none" in said.err
    (theirs,) = (m["queue_id"] for m in server.queue() if m["queue_name"] == "hold" and m["queue_id"] != id_)
    for message in (theirs, f"paolo@{ACME}:1", "ALL", "nothing", ""):
        said = run("mail", "release", "vicini", message, "--yes")
        assert said.code == 1
        assert "is not held" in said.err
    assert {m["queue_id"] for m in server.queue() if m["queue_name"] == "hold"} == {id_, theirs}
    assert server.messages(f"paolo@{ACME}", PASSWORD, "Junk")


def test_a_rotated_log_is_read_too(run: Run, server: MailStack) -> None:
    """The server writes on into a new file, as after logrotate's postrotate."""
    before = rows(run("mail", "log", "acme"), "→")
    packed = server.mail_log.with_name("mail.log.1.gz")
    packed.write_bytes(gzip.compress(server.mail_log.read_bytes()))
    os.truncate(server.mail_log, 0)
    try:
        assert server.deliver(f"nobody@{ACME}", sender="after@sender.example").code == 550
        after = rows(run("mail", "log", "acme"), "→")
        assert rows(run("mail", "log", "acme"), "refused", "after@sender.example → nobody@acme.example")
        assert {line[:60] for line in before if "deferred" not in line} <= {line[:60] for line in after}
    finally:
        server.mail_log.write_bytes(gzip.decompress(packed.read_bytes()) + server.mail_log.read_bytes())
        packed.unlink()


def test_who_cannot_be_asked_is_told(run: Run, repository: Path) -> None:
    assert run("mail", "log", "nobody").code == 1
    (repository / "customers/acme/mail.yaml").write_text("domains: {}\n")
    said = run("mail", "log", "acme")
    assert (said.code, "declares no mail domains" in said.err) == (1, True)


def test_a_server_that_is_away_is_told_and_nothing_is_called_good(
    run: Run, repository: Path, server: MailStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = {"driver": "maillog", "via": "ssh", "port": 9, "host_key": HOST_KEY, "timeout": "5s"}
    away = {"address": "127.0.0.1", "secrets": {"ssh_password": "NONE"}, "facets": {"logs": logs}}
    targets(repository, server, {"via": "local"}, **{"mail-2": away})
    monkeypatch.setenv("MSPCTL_SECRET_NONE", "a password of nobody")
    mail = repository / "customers/acme/mail.yaml"
    mail.write_text(f"domains: {{{ACME}: {{target: mail-1}}, acme.it: {{target: mail-2}}}}\n")
    said = run("mail", "log", "acme")
    assert said.code == 4
    assert "✗ mail-2 told nothing: root@127.0.0.1: Unable to connect to port 9" in unstyle(said.out)
    assert "→ nobody@acme.example" in said.out
    mail.write_text("domains: {acme.it: {target: mail-2}}\n")
    for command in ("log", "queue", "release"):
        said = run("mail", command, "acme")
        assert said.code == 4
        assert "Nothing is known." in said.out
    said = run("mail", "release", "acme", "0123456789", "--yes")
    assert said.code == 4
    assert "mail-2: root@127.0.0.1: Unable to connect" in said.err
    assert "is not held" not in said.err


HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ1c3kgd2l0aCBub3RoaW5nIGF0IGFsbCBoZXJlIQ=="


def test_a_target_without_logs_and_a_driver_in_the_wrong_place_are_told(run: Run, repository: Path) -> None:
    path = repository / "inventory/targets.yaml"
    path.write_text(path.read_text().replace('"logs"', '"dns"'))
    said = run("mail", "log", "acme")
    assert said.code == 1
    assert "driver maillog is not for this facet (logs has drivers of its own)" in said.err
    mailboxes = "{driver: postfixadmin, database: sqlite, file: never/opened.db}"
    path.write_text(f"targets: {{mail-1: {{facets: {{mailboxes: {mailboxes}}}}}}}\n")
    said = run("mail", "log", "acme")
    assert said.code == 1
    assert "target mail-1 has no facet logs" in said.err


def test_at_last_what_waited_is_delivered_and_says_after_how_long(run: Run, server: MailStack) -> None:
    if not [m for m in server.queue() if m["sender"] == f"paolo@{ACME}"]:
        return  # it went on the first time
    server.start_one("sink")
    server.flush()
    server.wait_for_sent("waits")
    (line,) = rows(run("mail", "log", "acme"), "delivered", "paolo@acme.example → partner@elsewhere.example")
    assert "at first 127.0.0.1 does not answer" in line
