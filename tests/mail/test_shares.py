"""Mailboxes that others use too, as their mail programs see them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mail.conftest import FILE, Office, box, password

SHARED = box("acquisti", "shared_with: [paolo]")
ALONE = box("acquisti")


@contextmanager
def seen_by(office: Office, local: str, folder: str = "") -> Iterator[str]:
    """What comes of opening acquisti's folder: how many messages are in it, or ""."""
    session = office.server.imap(office.at(local), password(local))
    try:
        name = f"shared/{office.at('acquisti')}{folder}"
        code, said = session.select(f'"{name}"', readonly=True)
        yield said[0].decode() if code == "OK" and said[0] else ""
    finally:
        session.shutdown()


def sees(office: Office, local: str, folder: str = "") -> str:
    with seen_by(office, local, folder) as said:
        return said


def listed(office: Office, local: str) -> bool:
    session = office.server.imap(office.at(local), password(local))
    _, lines = session.list("shared/", "*")
    session.logout()
    return any(office.at("acquisti").encode() in line for line in lines if isinstance(line, bytes))


def filled(office: Office, *lines: str) -> None:
    """Declared, with a message for acquisti."""
    office.apply("mailboxes:", *lines)
    assert office.server.deliver(office.at("acquisti"), "offer").taken
    office.server.wait_for(office.at("acquisti"), password("acquisti"), "offer")


def test_who_it_is_shared_with_finds_reads_and_writes_it_and_nobody_else(office: Office) -> None:
    filled(office, SHARED, box("paolo"), box("luca"))
    assert (sees(office, "paolo"), listed(office, "paolo")) == ("1", True)
    assert (sees(office, "luca"), listed(office, "luca")) == ("", False)
    session = office.server.imap(office.at("paolo"), password("paolo"))
    session.select(f'"shared/{office.at("acquisti")}"')
    assert session.append(f'"shared/{office.at("acquisti")}"', "", "", b"Subject: put there\r\n\r\nx")[0] == "OK"
    assert session.store("1", "+FLAGS", "\\Deleted")[0] == "OK"
    assert session.expunge()[0] == "OK"
    session.logout()
    (left,) = office.server.messages(office.at("acquisti"), password("acquisti"))
    assert left["Subject"] == "put there"


def test_who_is_taken_out_is_out_at_once_and_of_every_folder(office: Office) -> None:
    """A folder that somebody else makes keeps the ACL that it was made with."""
    filled(office, SHARED, box("paolo"))
    session = office.server.imap(office.at("paolo"), password("paolo"))
    assert session.create(f'"shared/{office.at("acquisti")}/2026"')[0] == "OK"
    session.select(f'"shared/{office.at("acquisti")}"')
    said = office.apply("mailboxes:", ALONE, box("paolo"))
    assert f"acquisti  shared_with - {office.at('paolo')}" in said.out
    assert office.server.ended(session)
    session.shutdown()
    assert [sees(office, "paolo", folder) for folder in ("", "/2026", "/Sent")] == ["", "", ""]
    assert not listed(office, "paolo")


def test_folders_that_are_there_and_those_that_come_are_shared_alike(office: Office) -> None:
    filled(office, ALONE, box("paolo"), box("luca"))
    session = office.server.imap(office.at("acquisti"), password("acquisti"))
    session.create("Before")
    office.apply("mailboxes:", box("acquisti", "shared_with: [paolo, luca]"), box("paolo"), box("luca"))
    session.create("After")
    session.logout()
    for local in ("paolo", "luca"):
        assert [sees(office, local, folder) for folder in ("", "/Before", "/After")] == ["1", "0", "0"]


def test_what_somebody_changed_by_hand_is_drift(office: Office) -> None:
    filled(office, SHARED, box("paolo"), box("luca"))
    acl = {"user": office.at("acquisti"), "mailbox": "INBOX"}
    office.server.doveadm("aclSet", **acl, id=f"user={office.at('luca')}", right=["lookup", "read"])
    office.server.doveadm("aclDelete", **acl, id=f"user={office.at('paolo')}")
    assert sees(office, "luca") == "1"
    planned = office.run("plan")
    assert planned.code == 2
    assert "changed outside  acquisti" in planned.out
    assert f"live is {office.at('luca')} (lookup read)" in planned.out
    assert office.run("apply", "--revert").code == 0
    assert office.run("plan").code == 0
    assert (sees(office, "paolo"), sees(office, "luca")) == ("1", "")


def test_what_a_grown_server_shares_can_be_taken_into_git(office: Office) -> None:
    filled(office, ALONE, box("paolo"))
    session = office.server.imap(office.at("acquisti"), password("acquisti"))
    rights = "lrwstipekxa"
    assert session.setacl("INBOX", office.at("paolo"), rights)[0] == "OK"
    session.logout()
    assert office.run("plan").code == 2
    adopted = office.run("adopt", "acme", f"mailboxes/{office.domain}/acquisti")
    assert adopted.code == 0, adopted.out + adopted.err
    assert "paolo" in FILE.read_text().split("shared_with:")[1]
    assert office.run("plan").code == 0
    assert sees(office, "paolo") == "1"


def test_what_git_cannot_say_of_a_share_is_named_and_not_taken_over(office: Office) -> None:
    filled(office, ALONE, box("paolo"))
    office.server.doveadm("aclSet", user=office.at("acquisti"), mailbox="INBOX", id="anyone", right=["lookup", "read"])
    planned = office.run("plan")
    assert (planned.code, "live is anyone (lookup read)" in planned.out) == (2, True), planned.out
    before = FILE.read_text()
    adopted = office.run("adopt", "acme", f"mailboxes/{office.domain}/acquisti")
    assert "shares with 'anyone (lookup read)', which YAML cannot say" in adopted.out + adopted.err
    assert FILE.read_text() == before
    assert office.run("apply", "--revert").code == 0
    assert sees(office, "paolo") == ""


def test_what_a_grown_server_shares_comes_in_with_an_import(office: Office) -> None:
    filled(office, SHARED, box("paolo"), box("luca"))
    office.server.doveadm("aclSet", user=office.at("luca"), mailbox="INBOX", id="anyone", right=["lookup", "read"])
    FILE.unlink()
    subprocess.run(["git", "branch", "--quiet", "-D", "ledger"], check=True)
    assert office.run("ledger", "init").code == 0
    said = office.run("import", "--from", "mail-1", "-c", "other", "--zone", office.domain)
    assert "luca: shares with 'anyone (lookup read)', which YAML cannot say (left out)" in said.out + said.err
    text = Path("customers/other/mail.yaml").read_text()
    assert ("acquisti: {shared_with: [paolo]}" in text, "luca" in text) == (True, False), text
    assert office.run("plan", "-c", "other").code == 0


def test_who_leaves_loses_what_others_shared_and_the_plan_shows_it(office: Office) -> None:
    filled(office, box("acquisti", "shared_with: [paolo, luca]"), box("paolo"), box("luca"))
    with seen_by(office, "luca") as said:
        assert said == "1"
    left = ["leavers:", "  luca: {left: 2026-01-01, keep_until: 2190-01-01}"]
    said_ = office.apply("mailboxes:", box("acquisti", "shared_with: [paolo, luca]"), box("paolo"), *left)
    assert f"acquisti  shared_with - {office.at('luca')} [luca left 2026-01-01]" in said_.out
    assert sees(office, "paolo") == "1"
    rows = office.server.doveadm("aclGet", user=office.at("acquisti"), mailbox="INBOX")
    assert [row["id"] for row in rows] == [f"user={office.at('paolo')}"]


def test_a_shared_mailbox_by_another_name_stays_shared(office: Office) -> None:
    filled(office, SHARED, box("paolo"))
    renamed = box("acquisti", "shared_with: [paolo], was: acquisti").replace("acquisti:", "ordini:", 1)
    office.apply("mailboxes:", renamed, box("paolo"))
    session = office.server.imap(office.at("paolo"), password("paolo"))
    assert session.select(f'"shared/{office.at("ordini")}"') == ("OK", [b"1"])
    _, lines = session.list("shared/", "*")
    session.logout()
    assert any(office.at("ordini").encode() in line for line in lines if isinstance(line, bytes))


def test_what_is_switched_off_is_used_by_nobody_and_shared_as_declared_when_it_is_back(office: Office) -> None:
    filled(office, SHARED, box("paolo"), box("luca"))
    office.apply("mailboxes:", box("acquisti", "enabled: false, shared_with: [paolo]"), box("paolo"), box("luca"))
    assert sees(office, "paolo") == ""
    office.apply("mailboxes:", box("acquisti", "shared_with: [luca]"), box("paolo"), box("luca"))
    assert (sees(office, "paolo"), sees(office, "luca")) == ("", "1")


def test_a_server_that_does_not_answer_is_said_so(office: Office) -> None:
    filled(office, SHARED, box("paolo"))
    targets = Path("inventory/targets.yaml")
    targets.write_text(targets.read_text().replace(f":{office.server.ports.doveadm}'", f":{office.server.ports.dns}'"))
    planned = office.run("plan")
    assert (planned.code, "unreachable" in planned.out, "Connection refused" in planned.out) == (4, True, True)


def test_a_mailbox_that_is_broken_costs_its_own_domain_only(office: Office) -> None:
    filled(office, SHARED, box("paolo"))
    with FILE.open("a") as file:
        file.write(f"  other-{office.domain}:\n    target: mail-1\n    mailboxes: {{luca: {{}}}}\n")
    (maildir,) = office.server.vmail.glob("*/acquisti/Maildir")
    os.chown(maildir, 0, 0)
    said = office.run("apply")
    assert said.code == 3
    assert f"refuses (75; the reason is in its log): aclGet *@{office.domain}" in said.out
    assert "1 change landed. 1 scope could not be read." in said.out
