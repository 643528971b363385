"""Mailboxes whose lines leave Git: switched off first, kept, and gone when their time is over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from mspctl.cli import workspace
from tests.cli.mailing import FILE, applied, change, sql
from tests.conftest import Run

LINE = "      luca: {name: Luca Rossi, quota: 2 GiB, password: {secret: LUCA, rev: 1}}\n"
GROUP = "tutti: [paolo, luca, consulente@partner.example]"
At = Callable[[str], None]


@pytest.fixture
def run(mail_run: Run) -> Run:
    return mail_run


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> At:
    """Sets the clock of the next commands; the customer is in Europe/Rome."""

    def set_clock(day: str) -> None:
        monkeypatch.setattr(workspace, "now", lambda: datetime.fromisoformat(f"{day}T09:00Z"))

    set_clock("2027-03-05")
    return set_clock


def holds(who: str) -> tuple[int, set[str]]:
    """Whether somebody can log in, and to whom mail goes."""
    ((active, goto),) = sql(
        "SELECT m.active, a.goto FROM mailbox m JOIN alias a ON a.address = m.username WHERE m.local_part = ?", who
    )
    return active, set(goto.split(","))


def take_out() -> None:
    change(LINE, "")
    change(GROUP, GROUP.replace("luca, ", ""))


def test_who_leaves_later_is_out_when_the_day_comes(run: Run, at: At) -> None:
    """The mailbox that was declared in full is declared in a few words until then; all of it stays ours."""
    applied(run)
    change(LINE, "")
    leaver = "    leavers: {luca: {left: 2027-04-01, copy_to: [paolo], until: 2027-05-01}}\n"
    FILE.write_text(FILE.read_text() + leaver)
    applied(run)
    at("2027-04-01")
    assert "luca   enabled yes → no; keep_copy yes → no; + paolo@acme.example [left 2027-04-01]" in run("plan").out
    assert run("apply", "--due").code == 0
    assert run("plan").code == 0
    assert holds("luca") == (0, {"paolo@acme.example"})


def test_a_line_that_is_taken_out_switches_off_and_the_mailbox_is_kept(run: Run, at: At) -> None:
    applied(run)
    take_out()
    plan = run("plan").out
    assert (
        "~ change  luca   enabled yes → no; receives yes → no [its line was taken out: kept until 2027-06-03]" in plan
    )
    said = applied(run)
    assert "2 changes landed. Nothing is pending." in said.out
    assert sql("SELECT active FROM mailbox WHERE local_part = 'luca'") == [(0,)]
    at("2027-04-20")
    assert run("apply", "--due").code == 0
    for _ in range(2):  # the second time, what was observed stands
        assert "luca" not in run("drift", "--record").out
    assert sql("SELECT count(*) FROM mailbox WHERE local_part = 'luca'") == [(1,)]


def test_the_line_is_put_back_and_it_is_as_it_was(run: Run, at: At) -> None:
    applied(run)
    before = sql("SELECT username, password, name, quota, active FROM mailbox ORDER BY username")
    text = FILE.read_text()
    take_out()
    applied(run)
    FILE.write_text(text)
    at("2027-05-01")
    plan = run("plan").out
    assert "~ change  luca   enabled no → yes; receives no → yes" in plan
    assert "password" not in plan  # it is its owner's, and was not lost
    applied(run)
    assert sql("SELECT username, password, name, quota, active FROM mailbox ORDER BY username") == before
    take_out()  # the days are counted anew
    assert "kept until 2027-07-30" in run("plan").out


def test_a_line_that_comes_back_switched_off_is_kept_no_more(run: Run, at: At) -> None:
    """Nothing differs on the server then, yet the day on which it was to go is forgotten."""
    applied(run)
    take_out()
    applied(run)
    change(
        "      acquisti: {quota: 5 GiB}\n",
        "      acquisti: {quota: 5 GiB}\n      luca: {quota: 2 GiB, enabled: false}\n",
    )
    at("2027-05-01")
    applied(run)
    change("      luca: {quota: 2 GiB, enabled: false}\n", "")
    applied(run)
    at("2027-06-04")
    assert run("plan").code == 0
    at("2027-07-31")
    assert "it was never proved that a backup of it can be restored" in run("plan").out


def test_when_its_time_is_over_it_goes_by_a_proved_backup_or_an_approval(run: Run, at: At) -> None:
    applied(run)
    take_out()
    applied(run)
    at("2027-06-03")
    assert run("plan").code == 0  # the last day
    at("2027-06-04")
    said = run("apply", "--due")
    assert said.code == 3
    assert "was kept until 2027-06-03; it was never proved that a backup of it can be restored" in said.out
    assert sql("SELECT count(*) FROM mailbox WHERE local_part = 'luca'") == [(1,)]
    approval = "{resource: mailboxes/acme.example/luca, why: she asked for it, until: 2027-06-15}"
    Path("customers/acme/approvals.yaml").write_text(f"approvals:\n  - {approval}\n")
    applied(run)
    assert sql("SELECT count(*) FROM mailbox WHERE local_part = 'luca'") == [(0,)]
    at("2027-06-05")
    assert run("plan").code == 0


def test_many_lines_taken_out_at_once_need_an_approval_each(run: Run, at: At) -> None:
    applied(run)
    more = "".join(f"      box{n}: {{quota: 1 GiB}}\n" for n in range(9))
    change("      acquisti:", f"{more}      acquisti:")
    applied(run)
    change(more, "")
    said = run("apply")
    assert said.code == 3
    assert "9 losses in a scope of" in said.out
    assert sql("SELECT count(*) FROM mailbox WHERE active = 0") == [(0,)]
    at("2028-01-01")  # nothing was switched off, so no time has run
    assert "kept until 2028-03-31" in run("plan").out


def test_what_a_hand_switches_on_meanwhile_is_drift(run: Run, at: At) -> None:
    applied(run)
    take_out()
    applied(run)
    sql("UPDATE mailbox SET active = 1 WHERE local_part = 'luca'")
    drift = run("drift")
    assert drift.code == 2
    assert "enabled: Git says no, live is yes" in drift.out
    assert run("apply", "--revert").code == 0
    assert run("drift").code == 0
    sql("UPDATE mailbox SET active = 1 WHERE username = 'luca@acme.example'")
    sql("UPDATE alias SET active = 1 WHERE address = 'luca@acme.example'")
    assert run("adopt", "acme", "mailboxes/acme.example/luca").code == 0
    assert "      luca: {name: Luca Rossi, quota: 2098000 KiB}\n" in FILE.read_text()
    applied(run)
    assert run("drift").code == 0


def test_undo_puts_the_line_back(run: Run, at: At) -> None:
    applied(run)
    take_out()
    applied(run)
    assert run("undo", "acme").code == 0
    assert "      luca: {name: Luca Rossi, quota: 2098000 KiB}\n" in FILE.read_text()
    applied(run)
    assert sql("SELECT active FROM mailbox WHERE local_part = 'luca'") == [(1,)]
