"""Updates whose window is open: when, who has something to install, and how it is told."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from mspctl.desired import Selection, declarations
from mspctl.moments import Window
from mspctl.resource import Value
from mspctl.updates import Open, done, ended, open_now, why
from tests.model.test_hosts import POLICY, WHOLE, loaded


def opened(tmp_path: Path, now: str, patching: str = POLICY) -> list[Open]:
    estate = loaded(tmp_path, WHOLE, patching)
    moment = datetime.fromisoformat(now)
    return open_now(declarations(estate, Selection(), {}, moment), moment)


def test_windows_are_open_on_the_customers_clock(tmp_path: Path) -> None:
    assert opened(tmp_path, "2027-03-14T00:59:59Z") == []  # 01:59:59 in Rome
    found = opened(tmp_path, "2027-03-14T01:00:00Z")
    assert [each.host for each in found] == ["bastion of acme", "srv-1 of acme", "nas of acme"]
    assert found[0].since == datetime.fromisoformat("2027-03-14T01:00Z")
    assert found[0].until == datetime.fromisoformat("2027-03-14T04:00Z")
    assert opened(tmp_path, "2027-03-14T04:00:00Z") == []


def test_where_we_only_look_or_may_not_change_nothing_is_installed(tmp_path: Path) -> None:
    assert opened(tmp_path, "2027-03-14T02:00:00Z", POLICY + "mode: observe\n") == []
    assert opened(tmp_path, "2027-03-14T02:00:00Z", POLICY + 'window: "mon 05:00-06:00"\n') == []


@pytest.mark.parametrize(
    ("hours", "now", "bounds"),
    [
        ("22:00-05:00", "2027-03-05T23:00Z", ("2027-03-05T21:00Z", "2027-03-06T04:00Z")),
        ("22:00-05:00", "2027-03-05T12:00Z", None),
        (
            "sun 02:15-02:45",
            "2027-03-28T01:10Z",
            ("2027-03-28T01:00Z", "2027-03-28T01:30Z"),
        ),  # left out
        ("sun 01:00-02:30", "2027-10-31T00:15Z", ("2027-10-30T23:00Z", "2027-10-31T00:30Z")),  # comes twice
        ("sun 01:00-02:30", "2027-10-31T01:15Z", None),
        ("00:00-24:00", "2027-03-05T12:00Z", ("2027-03-04T23:00Z", "2027-03-05T23:00Z")),
    ],
)
def test_when_a_window_opened_and_closes(hours: str, now: str, bounds: tuple[str, str] | None) -> None:
    found = Window.parse(hours).bounds(datetime.fromisoformat(now), "Europe/Rome")
    assert found == (bounds and (datetime.fromisoformat(bounds[0]), datetime.fromisoformat(bounds[1])))


FINE: dict[str, Value] = {
    "pending": 0,
    "security": 0,
    "asked": 1_000,
    "at": 1_000,
    "began": 0,
    "reboot": False,
    "boot": "a",
}


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, ""),
        ({"security": 1, "pending": 3}, "1 security update"),
        ({"security": 2}, "2 security updates"),
        ({"pending": 3}, ""),
        ({"security": 2, "reboot": True}, "2 security updates and a reboot"),
        ({"reboot": True}, "a reboot"),
        ({"security": -1}, "nobody knows what is pending"),
        ({"asked": 0}, "nobody knows what is pending"),
        ({"security": 2, "began": 1_804_986_000}, ""),  # since the window opened
        ({"security": 2, "began": 1_804_985_999}, "2 security updates"),
    ],
)
def test_why_a_host_would_install(tmp_path: Path, facts: dict[str, Value], said: str) -> None:
    patching = POLICY.replace("policy: {", "policy: {reboot: if needed, ")
    host = opened(tmp_path, "2027-03-14T02:00:00Z", patching)[0]
    assert why(host, {**FINE, **facts}) == said


def test_who_must_not_reboot_has_nothing_to_do_for_it(tmp_path: Path) -> None:
    host = opened(tmp_path, "2027-03-14T02:00:00Z")[0]
    assert why(host, {**FINE, "reboot": True}) == ""
    every = opened(tmp_path, "2027-03-14T02:00:00Z", POLICY.replace("security", "all"))[0]
    assert why(every, {**FINE, "pending": 3}) == "3 updates"


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ({}, "nothing left"),
        ({"security": 2}, "2 left"),
        ({"boot": "b"}, "rebooted, nothing left"),
        ({"boot": "b", "security": 1, "at": 1, "began": 1}, "rebooted, what is left is not counted yet"),
        ({"reboot": True}, "nothing left, a reboot waits"),
        ({"running": True, "security": 1}, "installing goes on, 1 left"),
        ({"failed": True, "security": -1}, "the last installation failed, what is left is not counted yet"),
    ],
)
def test_how_it_went(tmp_path: Path, after: dict[str, Value], said: str) -> None:
    assert ended(opened(tmp_path, "2027-03-14T02:00:00Z")[0], FINE, {**FINE, **after}) == said


@pytest.mark.parametrize(
    ("after", "installed"),
    [
        ({"began": 2_000, "logged": 2_000, "installed": ("demo 1.0 1.1", "new - 2")}, ["demo 1.0 1.1", "new - 2"]),
        ({"began": 2_000, "logged": 2_000, "installed": ()}, []),
        ({"began": 2_000, "logged": 1_000, "installed": ("old 1 2",)}, None),  # of the installation before
        ({"began": 0, "logged": 0, "installed": ()}, None),  # it did not begin
        ({"began": 2_000}, None),
    ],
)
def test_what_was_installed(after: dict[str, Value], installed: list[str] | None) -> None:
    found = done(FINE, {**FINE, **after, "boot": "b", "failed": True})
    expected = None if installed is None else [each.split() for each in installed]
    assert found == {"installed": expected, "rebooted": True, "failed": True}
