"""Findings of mail on a real server and a real name server, through the command line."""

from __future__ import annotations

import json
import shutil
import smtplib
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mspctl import cli
from mspctl.driver import Gauge, Measured, Unmeasured, measured
from mspctl.kinds import NEWEST, mail
from mspctl.load import load
from mspctl.observations import Observations
from mspctl.proof import Proof, Step, Verdict
from mspctl.record import Run
from mspctl.resource import Id, Scope
from mspctl.targets import Targets
from tests.conftest import Said
from tests.estate import estate
from tests.servers.mail_stack import DOVEADM_KEY, MailStack, wait
from tests.servers.mail_world import World

WORD = "a word for tests"
SCOPE = Scope("mail-1", mail.FACET, "acme.example", "acme")
MAIL = """domains:
  acme.example:
    target: mail-1
    publish: {}
    mailboxes:
      paolo: {quota: 100 KiB, password: {secret: WORD, rev: 1}}
      luca: {quota: 100 KiB, password: {secret: WORD, rev: 1}}
"""
FILE = Path("customers/acme/mail.yaml")


class Shop:
    """A repository on the real server, and the command line in it."""

    def __init__(self, world: World, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.world, self.stack, self.root, self._capsys = world, world.stack, root, capsys

    def write(
        self, *, doveadm: bool = True, lists: str = "bl.example", queued: str = "1h", filters: bool = False
    ) -> None:
        ports = self.stack.ports
        api = f", doveadm: {{address: 'http://127.0.0.1:{ports.doveadm}'}}" if doveadm else ""
        where = f"via: local, config: {self.stack.etc}/rspamd, data: {self.stack.rspamd_data}"
        rspamd = f"      filter: {{driver: rspamd, {where}}}\n"
        files: dict[str, str | bytes] = {
            "inventory/targets.yaml": f"""targets:
  files: {{facets: {{dns: {{driver: zonefile, directory: zones}}}}}}
  mail-1:
    publish: {{mx: 10 mx.msp.example., sends_from: [192.0.2.25, 192.0.2.26]}}
    secrets: {{doveadm_key: DOVEADM}}
    facets:
      mailboxes: {{driver: postfixadmin, database: sqlite, file: {self.stack.database}, last_logins: last_login{api}}}
      logs: {{driver: maillog, via: local, files: {self.stack.mail_log}, postfix: {self.stack.etc}/postfix}}
{rspamd if filters else ""}""",
            "inventory/checks.yaml": f"dns: {{resolvers: '127.0.0.1:{self.world.dns}', timeout: 1s}}\n"
            f"mail: {{block_lists: [{lists}], queued: {queued}}}\n",
            "customers/acme/dns.yaml": "zones: {acme.example: {target: files}}\n",
            "customers/acme/dns/acme.example.yaml": "{}\n",
            "customers/acme/mail.yaml": MAIL,
        }
        estate(self.root, files)

    def run(self, *arguments: str) -> Said:
        self._capsys.readouterr()
        said = Said(cli.run([*arguments]), *self._capsys.readouterr())
        assert "Traceback" not in said.err
        assert not [word for word in (WORD, DOVEADM_KEY) if word in said.out + said.err]
        return said

    def findings(self, *arguments: str) -> list[tuple[str, str, str]]:
        """Code, path below the domain, and what is said."""
        said = self.run("drift", "-s", "mail", "-o", "json", *arguments)
        found = json.loads(said.out)["findings"]["open"]
        return [(f["code"], f["path"].removeprefix("mailboxes/acme.example").lstrip("/"), f["what"]) for f in found]

    def measure(self, what: str, *locals_: str) -> list[Measured]:
        targets = Targets(load(Path()))
        gauges = [Gauge(SCOPE, Id(mail.MAILBOX, local), what) for local in locals_]
        return [*measured(targets.reader(SCOPE), gauges).values()]


@pytest.fixture
def shop(
    mail_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shop:
    mail_world.stack.clear()
    monkeypatch.setenv("MSPCTL_SECRET_WORD", WORD)
    monkeypatch.setenv("MSPCTL_SECRET_DOVEADM", DOVEADM_KEY)
    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "GITHUB_ACTOR"):
        monkeypatch.delenv(name, raising=False)
    made = Shop(mail_world, tmp_path, capsys)
    made.write()
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    monkeypatch.chdir(tmp_path)
    assert made.run("ledger", "init").code == 0
    assert made.run("apply", "-s", "mail").code == 0
    return made


def change(old: str, new: str) -> None:
    text = FILE.read_text()
    assert text.count(old) == 1, text
    FILE.write_text(text.replace(old, new))


def fill(stack: MailStack, local: str, octets: int, when: float | None = None) -> None:
    """Put a message of about this size into somebody's inbox."""
    session = stack.imap(f"{local}@acme.example", WORD)
    text = b"Subject: x\r\n\r\n" + b"x" * (octets - 20) + b"\r\n"
    assert session.append("INBOX", "", when or time.time(), text)[0] == "OK"
    session.logout()


# -- what mailboxes hold ----------------------------------------------------------------------------------------


def test_how_full_mailboxes_are(shop: Shop) -> None:
    assert shop.findings() == []  # Dovecot itself says that they are empty
    assert shop.measure(mail.OCTETS, "paolo", "luca", "nobody")[:2] == [0, 0]
    fill(shop.stack, "paolo", 95 * 1024)
    wait(lambda: shop.stack.sql("SELECT bytes FROM quota2"), "the row that Dovecot writes")
    assert shop.findings() == []  # PostfixAdmin rounds 100 KiB up to what it calls a MB
    shop.stack.sql("UPDATE mailbox SET quota = 100000 WHERE username LIKE 'paolo@%'")
    assert ("mail.full", "paolo", "paolo holds 95.0 KiB of 97.7 KiB (97 %)") in shop.findings()


def test_what_nobody_counts_is_not_good(shop: Shop) -> None:
    shop.write(doveadm=False)
    said = shop.run("drift", "-s", "mail")
    assert said.code == 4
    why = "what mailboxes hold (no row in quota2, which Dovecot's quota_clone fills) [mail.unchecked]"
    assert f"not checked  mailboxes/acme.example  could not be checked: {why}" in said.out
    shop.write()
    shop.stack.stop_one("dovecot")
    try:
        (found,) = shop.findings()
        assert found[0] == "mail.unchecked"
        assert "cannot be reached (Connection refused)" in found[2]
    finally:
        shop.stack.start_one("dovecot")


# -- who left ---------------------------------------------------------------------------------------------------


def luca_leaves(shop: Shop) -> None:
    line = "      luca: {quota: 100 KiB, password: {secret: WORD, rev: 1}}\n"
    leavers = "    leavers: {luca: {left: 2026-01-01, keep_until: 2190-01-01}}\n"
    FILE.write_text(MAIL.replace(line, "") + leavers)
    assert shop.run("apply", "-s", "mail").code == 0


def test_somebody_who_left_and_logs_in(shop: Shop) -> None:
    assert shop.measure(mail.LAST_LOGIN, "luca", "paolo") == [None, None]
    shop.stack.imap("luca@acme.example", WORD).logout()
    wait(lambda: shop.stack.sql("SELECT * FROM last_login"), "the row that Dovecot writes")
    (at,) = shop.measure(mail.LAST_LOGIN, "luca")
    assert isinstance(at, datetime)
    assert abs(at - datetime.now(UTC)) < timedelta(minutes=1)
    luca_leaves(shop)
    (found,) = shop.findings()
    assert found[:2] == ("mail.login", "luca")
    assert "luca left 2026-01-01, and somebody logged in on " in found[2]


def test_the_logs_tell_too_who_logs_in_after_leaving(shop: Shop) -> None:
    file = shop.root / "inventory/targets.yaml"
    logs = f"files: [{shop.stack.mail_log}, {shop.stack.dovecot_log}]"
    file.write_text(
        file.read_text().replace(", last_logins: last_login", "").replace(f"files: {shop.stack.mail_log}", logs)
    )
    shop.stack.imap("luca@acme.example", WORD).logout()
    shop.stack.imap("paolo@acme.example", WORD).logout()
    luca_leaves(shop)
    (found,) = shop.findings()
    assert found[:2] == ("mail.login", "luca")
    FILE.write_text(FILE.read_text().replace("luca: {left", "sara: {left"))
    assert ("mail.login", "sara") not in [each[:2] for each in shop.findings()]


# -- the queue --------------------------------------------------------------------------------------------------


def test_mail_that_waits_for_too_long(shop: Shop) -> None:
    stack = shop.stack
    with smtplib.SMTP("127.0.0.1", shop.world.doors["holds"]) as smtp:  # in quarantine, which is no waiting
        smtp.sendmail("someone@sender.example", ["luca@acme.example"], "Subject: held\r\n\r\nx\r\n")
    stack.stop_one("sink")
    try:
        assert stack.submit("paolo@acme.example", WORD, "partner@elsewhere.example", "waits").taken
        waiting = wait(lambda: [each for each in stack.queue() if each["queue_name"] == "deferred"], "a deferral")
        assert shop.findings() == []
        shop.write(queued="1s")
        since = datetime.fromtimestamp(waiting[0]["arrival_time"], UTC)
        wait(lambda: datetime.now(UTC) - since > timedelta(seconds=2))
        (found,) = shop.findings()
        assert found == ("mail.queue", "", f"mail has been waiting to be delivered since {since:%Y-%m-%d %H:%M} UTC")
    finally:
        stack.start_one("sink")
    stack.clear()


def test_a_queue_that_cannot_be_read_is_not_good(shop: Shop) -> None:
    file = shop.root / "inventory/targets.yaml"
    file.write_text(file.read_text().replace(f"postfix: {shop.stack.etc}/postfix", "postfix: /nowhere"))
    (found,) = shop.findings()
    assert found[0] == "mail.unchecked"
    assert "mail that waits (" in found[2]


# -- forwards ---------------------------------------------------------------------------------------------------


def test_copies_to_a_stranger_and_a_holiday_reply(shop: Shop) -> None:
    away = "paolo#acme.example@autoreply.msp.example"
    shop.stack.sql("UPDATE alias SET goto = ? WHERE address = 'paolo@acme.example'", f"paolo@acme.example,{away}")
    assert shop.findings() == []
    to = f"paolo@acme.example,{away},copy@evil.example"
    shop.stack.sql("UPDATE alias SET goto = ? WHERE address = 'paolo@acme.example'", to)
    (found,) = shop.findings()
    assert found[:2] == ("mail.forward", "paolo")
    assert "mail also goes to copy@evil.example, which nobody declared" in found[2]
    assert shop.run("accept", "acme", "mailboxes/acme.example/paolo", "--why", "x", "--until", "2190-01-01").code == 0
    assert shop.findings() == []  # somebody named it
    Path("customers/acme/accepted.yaml").unlink()
    assert shop.run("adopt", "acme").code == 0
    assert shop.findings() == []  # somebody declared it
    assert "copy@evil.example" in FILE.read_text()


# -- from outside -----------------------------------------------------------------------------------------------


@pytest.fixture
def filtered(shop: Shop) -> Iterator[Shop]:
    """With rspamd, which made its key already and says which it is."""
    shop.write(filters=True)
    assert shop.run("apply", "-s", "mail").code == 0
    yield shop
    shutil.rmtree(shop.stack.etc / "rspamd/mspctl", ignore_errors=True)


def test_keys_and_block_lists_are_looked_up_only_when_asked(filtered: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = "192.0.2.25, from which mail-1 sends, is on the block list bl.example (sends spam)"
    assert filtered.findings("--check") == [("mail.listed", "", listed)]
    change("publish: {}", "publish: {selector: fresh, old_selectors: mail}")
    assert filtered.run("apply", "-s", "mail").code == 0
    (missing, _) = filtered.findings("--check")
    assert missing == (
        "mail.dkim",
        "",
        "the DNS has no DKIM key at fresh._domainkey.acme.example, and mail-1 has one to sign with:"
        " what is signed with it fails",
    )

    def refuse(*arguments: object) -> None:
        raise AssertionError("something was sent")

    monkeypatch.setattr(socket.socket, "sendto", refuse)
    assert filtered.findings() == []


def test_a_list_that_is_dead_lists_nobody_and_is_not_good(shop: Shop) -> None:
    shop.write(lists="dead.example, nowhere.test")
    said = shop.run("drift", "-s", "mail", "--check")
    assert said.code == 4
    assert "the block list dead.example (it does not answer as a block list does)" in said.out
    assert "the block list nowhere.test (127.0.0.1:" in said.out


# -- purges -----------------------------------------------------------------------------------------------------

DONE = "2026-01-31"  # until when Luca's mailbox was to be kept


def leave(shop: Shop) -> None:
    """Luca has left, and the time of his mailbox is over."""
    line = "      luca: {quota: 100 KiB, password: {secret: WORD, rev: 1}}\n"
    leavers = "    leavers: {luca: {left: 2026-01-01, keep_until: KEEP}}\n"
    FILE.write_text(MAIL.replace(line, "") + leavers.replace("KEEP", "2190-01-01"))
    assert shop.run("apply", "-s", "mail").code == 0
    FILE.write_text(MAIL.replace(line, "") + leavers.replace("KEEP", DONE))


def prove_backup(taken: datetime, verdict: Verdict = Verdict.PASSED) -> None:
    """What the section `backup` writes when it has restored the mailboxes of a domain."""
    steps = (Step("every file is as it was in the snapshot", verdict),)
    proof = Proof(SCOPE, "backup", taken + timedelta(minutes=20), 90.0, steps, "nightly", state=taken)
    Observations.fetched(Path()).record_proofs(Run("r2", "Paolo <p@x.example>"), [proof], datetime.now(UTC))


def test_a_leavers_mailbox_goes_only_when_a_younger_backup_was_proved(shop: Shop) -> None:
    fill(shop.stack, "luca", 5000)
    saved = datetime.now(UTC)
    leave(shop)
    plan = shop.run("plan")
    assert "needs approval" in plan.out
    assert f"was kept until {DONE}; it was never proved that a backup of it can be restored" in plan.out
    prove_backup(saved - timedelta(hours=3))
    plan = shop.run("plan")
    assert "something came into it on " in plan.out
    assert shop.run("apply", "-s", "mail").code == 3
    assert shop.run("apply", "--due").code == 3
    prove_backup(saved + timedelta(minutes=10), Verdict.FAILED)
    assert "the last proof of its backup, on " in shop.run("plan").out
    assert len(shop.stack.sql("SELECT * FROM mailbox")) == 2

    prove_backup(saved + timedelta(minutes=10))
    shop.stack.stop_one("dovecot")
    assert "nobody knows when something came into it last (http://127.0.0.1:" in shop.run("plan").out
    shop.stack.start_one("dovecot")
    plan = shop.run("plan")
    assert f"[was kept until {DONE}; all of it is in the backup of " in plan.out
    assert shop.run("apply", "--due").code == 0
    assert shop.stack.sql("SELECT username FROM mailbox") == [("paolo@acme.example",)]
    assert shop.run("plan", "-s", "mail").code == 0


def test_what_came_after_the_plan_is_seen_before_anything_goes(shop: Shop) -> None:
    """A plan was made and reviewed; then a message was put into the mailbox, and then it was applied."""
    leave(shop)
    prove_backup(datetime.now(UTC) - timedelta(hours=1))
    assert shop.run("plan", "-s", "mail", "--save", "reviewed").code == 2
    shop.stack.sql("UPDATE mailbox SET active = 1")  # somebody lets him in again
    fill(shop.stack, "luca", 5000)
    shop.stack.sql("UPDATE mailbox SET active = 0 WHERE username LIKE 'luca@%'")
    assert shop.run("apply", "-s", "mail", "reviewed").code == 3
    assert len(shop.stack.sql("SELECT * FROM mailbox")) == 2


def test_when_the_newest_message_came_is_measured_in_every_folder(shop: Shop) -> None:
    assert shop.measure(NEWEST, "luca") == [None]
    session = shop.stack.imap("luca@acme.example", WORD)
    session.create("Archive")
    session.append("Archive", "", time.time() - 86400 * 400, b"Subject: x\r\n\r\nx\r\n")
    session.logout()
    (newest,) = shop.measure(NEWEST, "luca")
    assert isinstance(newest, datetime)  # when it was put there, whatever date it bears
    assert abs(newest - datetime.now(UTC)) < timedelta(minutes=1)
    (nobody,) = shop.measure(NEWEST, "nobody")
    assert nobody == Unmeasured("Dovecot has no such user (its user_query must find disabled mailboxes too)")


@pytest.mark.parametrize(
    ("secret", "why"),
    [("another key", "does not take our key (401 "), ("", "secret DOVEADM (doveadm_key of mail-1) is not set")],
)
def test_a_key_of_doveadm_that_is_wrong(shop: Shop, monkeypatch: pytest.MonkeyPatch, secret: str, why: str) -> None:
    monkeypatch.setenv("MSPCTL_SECRET_DOVEADM", secret)
    (answer,) = shop.measure(mail.OCTETS, "luca")
    assert isinstance(answer, Unmeasured)
    assert why in answer.why
    assert "another key" not in answer.why
