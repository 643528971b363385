"""People who come, change and go: what is open ends, what is off stays off, and nothing of theirs is lost or found."""

from __future__ import annotations

import imaplib
import json
import poplib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mspctl.drivers.postfixadmin.dovecot import Dovecot
from tests.mail.conftest import Office, box, opened, password
from tests.servers.mail_stack import running, wait

LARGE = ("x" * 70 + "\n") * 16_000


@contextmanager
def at_work(office: Office, local: str) -> Iterator[tuple[imaplib.IMAP4, poplib.POP3]]:
    """Somebody with mail programs that are open."""
    imap = office.server.imap(office.at(local), password(local))
    pop3 = office.server.pop3(office.at(local), password(local))
    try:
        imap.select("INBOX")
        yield imap, pop3
    finally:
        imap.shutdown()
        pop3.close()


def both_ended(office: Office, sessions: tuple[imaplib.IMAP4, poplib.POP3]) -> bool:
    return all(office.server.ended(session) for session in sessions)


def test_a_password_that_is_rewritten_ends_what_the_old_one_opened(office: Office) -> None:
    office.apply("mailboxes:", box("paolo"), box("luca"))
    with at_work(office, "paolo") as sessions, at_work(office, "luca") as others:
        office.apply("mailboxes:", box("paolo", rev=2), box("luca"))
        assert both_ended(office, sessions)
        assert others[0].noop()[0] == "OK"
    assert not office.server.logs_in(office.at("paolo"), password("paolo"))
    assert office.server.logs_in(office.at("paolo"), password("paolo", 2))
    assert office.server.submit(office.at("paolo"), password("paolo"), "a@partner.example").code == 535


def test_what_changes_nothing_for_the_owner_ends_nothing(office: Office) -> None:
    office.apply("mailboxes:", box("paolo"))
    with at_work(office, "paolo") as (imap, pop3):
        office.apply("mailboxes:", box("paolo", "quota: 1 GiB, forwards: [a@partner.example]"))
        assert imap.noop()[0] == "OK"
        assert pop3.noop().startswith(b"+OK")


def test_who_is_switched_off_is_out_at_once(office: Office) -> None:
    server = office.server
    office.apply("mailboxes:", box("paolo"))
    with at_work(office, "paolo") as sessions:
        office.apply("mailboxes:", box("paolo", "enabled: false"))
        assert both_ended(office, sessions)
    assert not server.logs_in(office.at("paolo"), password("paolo"))
    assert server.submit(office.at("paolo"), password("paolo"), "a@partner.example").code == 535
    assert wait(lambda: server.deliver(office.at("paolo")).code == 550)
    office.apply("mailboxes:", box("paolo"))
    assert server.logs_in(office.at("paolo"), password("paolo"))
    assert wait(lambda: server.deliver(office.at("paolo")).taken)


def test_who_leaves_is_out_and_colleagues_get_the_mail(office: Office) -> None:
    server = office.server
    people = ["mailboxes:", box("acquisti")]
    group = ["groups:", "  tutti: [acquisti, luca]"]
    office.apply(*people, box("luca"), *group)
    assert server.deliver(office.at("luca"), "before").taken
    server.wait_for(office.at("luca"), password("luca"), "before")
    with at_work(office, "luca") as sessions:
        gone = ["leavers:", "  luca: {left: 2026-01-01, copy_to: acquisti, keep_until: 2190-01-01}"]
        said = office.apply(*people, *gone, *group)
        assert "luca left 2026-01-01" in said.out
        assert both_ended(office, sessions)
    assert not server.logs_in(office.at("luca"), password("luca"))
    for to in ("luca", "tutti"):
        assert server.deliver(office.at(to), f"now to {to}").taken
        server.wait_for(office.at("acquisti"), password("acquisti"), f"now to {to}")
    server.settle()
    (folder,) = (path for path in server.vmail.glob("*/luca/Maildir"))
    assert len([*folder.glob("*/*,S=*")]) == 1  # only what came before


def test_what_is_deleted_is_gone_and_who_comes_after_sees_none_of_it(office: Office) -> None:
    server = office.server
    office.apply("mailboxes:", box("paolo"), box("luca"))
    assert server.deliver(office.at("luca"), "secret").taken
    server.wait_for(office.at("luca"), password("luca"), "secret")
    office.approve("luca")
    with at_work(office, "luca") as sessions:
        over = "  luca: {left: 2026-01-01, keep_until: 2026-01-02}"
        office.apply("mailboxes:", box("paolo"), "leavers:", over)
        assert both_ended(office, sessions)
    assert not server.logs_in(office.at("luca"), password("luca"))
    assert wait(lambda: server.deliver(office.at("luca")).code == 550)
    office.apply("mailboxes:", box("paolo"), box("luca", rev=2))
    assert not server.logs_in(office.at("luca"), password("luca"))
    assert server.messages(office.at("luca"), password("luca", 2)) == []
    assert wait(lambda: server.deliver(office.at("luca"), "for the new one").taken)
    server.wait_for(office.at("luca"), password("luca", 2), "for the new one")
    assert len(server.messages(office.at("luca"), password("luca", 2))) == 1


def test_a_rename_keeps_the_mail_and_ends_the_sessions_of_the_old_name(office: Office) -> None:
    server = office.server
    office.apply("mailboxes:", box("paolo"), box("luca"))
    assert server.deliver(office.at("luca"), "kept").taken
    server.wait_for(office.at("luca"), password("luca"), "kept")
    renamed = box("luca", "was: luca").replace("luca:", "l.rossi:", 1)
    with at_work(office, "luca") as sessions:
        office.apply("mailboxes:", box("paolo"), renamed)
        assert both_ended(office, sessions)
    assert not server.logs_in(office.at("luca"), password("luca"))
    server.wait_for(office.at("l.rossi"), password("luca"), "kept")
    assert wait(lambda: server.deliver(office.at("luca")).code == 550)
    assert server.deliver(office.at("l.rossi"), "new").taken
    server.wait_for(office.at("l.rossi"), password("luca"), "new")


# -- what Dovecot remembers, and when it does not answer ------------------------------------------------------------


def test_what_dovecot_remembers_does_not_outlive_a_change(
    mail_tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(mail_tables, auth_cache="10M") as server:
        office = opened(server, tmp_path, monkeypatch, capsys)
        assert not server.logs_in(office.at("paolo"), password("paolo"))  # it remembers that nobody is there
        office.apply("mailboxes:", box("paolo", "quota: 1000 KiB"))
        assert server.logs_in(office.at("paolo"), password("paolo"))
        server.sql("UPDATE mailbox SET active = '0'")
        assert server.logs_in(office.at("paolo"), password("paolo")), "what it remembers goes before the tables"
        server.sql("UPDATE mailbox SET active = '1'")
        assert server.deliver(office.at("paolo"), "too large", LARGE).code == 552
        office.apply("mailboxes:", box("paolo", "quota: 5 MiB"))
        assert server.deliver(office.at("paolo"), "fits now", LARGE).taken
        server.wait_for(office.at("paolo"), password("paolo"), "fits now")
        office.apply("mailboxes:", box("paolo", rev=2))
        assert not server.logs_in(office.at("paolo"), password("paolo"))
        office.apply("mailboxes:", box("paolo", "enabled: false", rev=2))
        assert not server.logs_in(office.at("paolo"), password("paolo", 2))


def test_a_change_holds_though_dovecot_cannot_be_told_and_people_learn_of_it(office: Office) -> None:
    office.apply("mailboxes:", box("paolo"))
    targets = Path("inventory/targets.yaml")
    there = targets.read_text()
    with at_work(office, "paolo") as (imap, _):
        targets.write_text(there.replace(f":{office.server.ports.doveadm}'", f":{office.server.ports.dns}'"))
        targets.write_text(targets.read_text().replace(", shares: shared/", ""))
        office.say("mailboxes:", box("paolo", "enabled: false"))
        said = office.run("apply")
        assert said.code == 3
        assert "1 change landed." in said.out
        assert "the tables have changed, but Dovecot goes on as before: http://127.0.0.1:" in said.out
        assert f"on the server: doveadm auth cache flush && doveadm kick '{office.at('paolo')}'" in said.out
        assert office.server.doveadm_key not in said.out + said.err
        assert imap.noop()[0] == "OK"
    assert not office.server.logs_in(office.at("paolo"), password("paolo"))
    targets.write_text(there)
    assert office.run("plan").code == 0  # it is true, and nothing of it is lost


def test_without_the_key_nothing_is_begun(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.apply("mailboxes:", box("paolo"))
    monkeypatch.delenv("MSPCTL_SECRET_DOVEADM")
    office.say("mailboxes:", box("paolo", "enabled: false"))
    said = office.run("apply")
    assert (said.code, "secret DOVEADM (doveadm_key of mail-1) is not set" in said.out + said.err) == (1, True)
    assert office.server.logs_in(office.at("paolo"), password("paolo"))


def test_a_wrong_key_is_said_so(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSPCTL_SECRET_DOVEADM", "a-wrong-key-4712")
    office.say("mailboxes:", box("paolo"))
    said = office.run("plan")
    assert (said.code, "does not take our key (401 Authentication required)" in said.out) == (1, True), said.out


def findings(office: Office) -> list[tuple[str, str]]:
    said = office.run("drift", "-o", "json")
    assert said.code in (0, 2), said.out + said.err
    return [(each["code"], each["what"]) for each in json.loads(said.out)["findings"]["open"]]


def test_what_a_killed_apply_left_open_is_found_and_ended(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.apply("mailboxes:", box("paolo"), box("luca"), box("acquisti"))
    with at_work(office, "paolo") as off, at_work(office, "luca") as gone, at_work(office, "acquisti") as others:
        office.say("mailboxes:", box("paolo", "enabled: false"), box("acquisti"))
        with monkeypatch.context() as killed:  # the tables have changed, and nobody tells Dovecot
            killed.setattr(Dovecot, "follow", lambda self, work: (set(), ""))
            assert office.run("apply").code == 0
        assert off[0].noop()[0] == "OK"
        where = "imap from 127.0.0.1; pop3 from 127.0.0.1"
        assert findings(office) == [
            ("mail.session", f"{who} is switched off, and something of it is still open: {where}")
            for who in ("luca", "paolo")
        ]
        said = office.run("mail", "end", "acme", office.at("paolo"), "luca@" + office.domain)
        assert (said.code, said.out) == (0, f"{office.at('paolo')}, {office.at('luca')}: 4 sessions have ended.\n")
        assert both_ended(office, off)
        assert both_ended(office, gone)
        assert others[0].noop()[0] == "OK"
        assert findings(office) == []
    said = office.run("mail", "end", "acme", "paolo")
    assert (said.code, said.out) == (0, f"{office.at('paolo')}: nothing was open.\n")


def test_sessions_that_cannot_be_ended_or_asked_about(office: Office) -> None:
    office.apply("mailboxes:", box("paolo", "enabled: false"))
    targets = Path("inventory/targets.yaml")
    text, port = targets.read_text(), f"127.0.0.1:{office.server.ports.doveadm}"
    targets.write_text(text.replace(port, f"127.0.0.1:{office.server.ports.dns}").replace(", shares: shared/", ""))
    said = office.run("mail", "end", "acme", "paolo")
    assert said.code == 4
    assert "cannot be reached (Connection refused)" in said.err
    drift = office.run("drift")
    assert drift.code == 4
    assert "what is open of people who are switched off (http" in drift.out
    targets.write_text("".join(line for line in text.splitlines(keepends=True) if " doveadm: {" not in line))
    said = office.run("mail", "end", "acme", "paolo")
    assert (said.code, "(set doveadm in inventory/targets.yaml)" in said.err) == (1, True)
    assert office.run("drift").code == 0  # nobody can ever say, and nobody is told each night
    for wrong, why in (("x@elsewhere.example", "elsewhere.example"), ("", "ADDRESS"), ("a b", "is not the name")):
        said = office.run("mail", "end", "acme", wrong)
        assert (said.code, why in said.err) == (1, True), said.err
