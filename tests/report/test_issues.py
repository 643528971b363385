"""What is the same thing tomorrow, and what is told once more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mspctl.notified import NOTHING
from mspctl.report.as_issues import fact
from mspctl.report.as_message import message
from mspctl.report.view import FINDINGS, Block, Line, Tone, View

NOW = datetime(2027, 3, 4, 6, 0, tzinfo=UTC)
SCOPE = {"customer": "acme", "error": None}


def finding(text: str) -> Line:
    return Line(Tone.WARN, "warning", "antivirus/srv-1", text)


@pytest.mark.parametrize(
    ("yesterday", "today"),
    [
        ("the licence of av ends in 12 days (2027-03-15) [antivirus.licence]",) * 2,
        ("the licence of av ends in 2 days [antivirus.licence]", "the licence of av ends in 1 day [antivirus.licence]"),
        ("signatures are older than 3 days: 2027-03-01 04:00 UTC [antivirus.signatures]",) * 2,
        ("1,200 of 2.5 GiB [backup.size]", "980 of 2.6 GiB [backup.size]"),
    ],
)
def test_what_is_counted_on_is_the_same_finding(yesterday: str, today: str) -> None:
    assert fact(FINDINGS, finding(yesterday)) == fact(FINDINGS, finding(today.replace("04:00", "05:00")))


def test_another_thing_of_the_same_code_is_another_finding() -> None:
    one, two = (f"1 thing was found on srv-1, the last is Eicar in /srv/{name} [antivirus.found]" for name in "ab")
    assert fact(FINDINGS, finding(one)) != fact(FINDINGS, finding(two))


def test_alarms_and_findings_that_stand_are_told_once() -> None:
    shown = View(
        "drift", "DRIFT", (), [Block("acme", FINDINGS, "", [finding("x is late [backup.late]")])], "1 finding."
    )
    shown = replace(shown, alarms=["acme firewall/hq: somebody lets in everybody"], document={"scopes": [SCOPE]})
    first = message(shown, (), NOTHING, NOW)
    assert first.title == "mspctl drift: 2 new"  # the alarm is one
    assert "somebody lets in everybody" in first.text
    again = message(shown, (), first.after, NOW + timedelta(days=1))
    assert (again.title, again.text) == ("", "")
    more = message(replace(shown, alarms=[*shown.alarms, "acme firewall/lab: another"]), (), again.after, NOW)
    assert "another" in more.text
    over = message(replace(shown, alarms=[], blocks=[]), (), more.after, NOW)
    assert over.title == ""
    assert message(shown, (), over.after, NOW).title == "mspctl drift: 2 new"
