"""Updates whose window is open: when, who has something to install, and how it is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mspctl.desired import Selection, declarations
from mspctl.kinds.hosts import FACET, scope_name
from mspctl.moments import Window
from mspctl.resource import Scope, Value
from mspctl.updates import Installed, Open, done, ended, installed, open_now, page, parsed, told, why
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
    ("after", "packages"),
    [
        ({"began": 2_000, "logged": 2_000, "installed": ("demo 1.0 1.1", "new - 2")}, ["demo 1.0 1.1", "new - 2"]),
        ({"began": 2_000, "logged": 2_000, "installed": ()}, []),
        ({"began": 2_000, "logged": 1_000, "installed": ("old 1 2",)}, None),  # of the installation before
        ({"began": 0, "logged": 0, "installed": ()}, None),  # it did not begin
        ({"began": 2_000}, None),
    ],
)
def test_what_was_installed(after: dict[str, Value], packages: list[str] | None) -> None:
    found = done(FINE, {**FINE, **after, "boot": "b", "failed": True})
    expected = None if packages is None else [each.split() for each in packages]
    assert found == {"began": after["began"], "installed": expected, "rebooted": True, "failed": True}


SCOPE = Scope("servers", FACET, scope_name("acme", "srv-1", "patching"), "acme")
MONDAY, NIGHT = datetime(2027, 3, 15, 6, tzinfo=UTC), int(datetime(2027, 3, 14, 1, 30, tzinfo=UTC).timestamp())
BEFORE = Installed("acme", "srv-1", datetime(2027, 3, 7, 1, 30, tzinfo=UTC), (("old", "1", "2"),))
LAST = Installed("acme", "srv-1", datetime(2027, 3, 14, 1, 30, tzinfo=UTC), (("demo", "1.0", "1.1"), ("new", "-", "2")))
WEEK = 7 * 86400
REMEMBERED = (f"{NIGHT - WEEK} old 1 2", f"{NIGHT} demo 1.0 1.1", f"{NIGHT} new - 2")


def test_what_a_host_did_by_itself_is_told_when_it_did_it() -> None:
    assert [*installed(SCOPE, {"history": REMEMBERED})] == [BEFORE, LAST]
    strange = ("x demo 1 2", "0 demo 1 2", f"{2**40} demo 1 2", f"{NIGHT} demo 1", f"{NIGHT} demo 1 2 3", "")
    assert [*installed(SCOPE, {"history": strange})] == []
    assert [*installed(SCOPE, {})] == []


@pytest.mark.parametrize(
    ("said", "completed", "own"),
    [
        ({"began": NIGHT, "installed": []}, [], [BEFORE]),
        ({"began": NIGHT, "installed": None}, [["demo", "1.0", "1.1"], ["new", "-", "2"]], [BEFORE]),
        ({"began": 0, "installed": None}, None, [LAST, BEFORE]),  # it did not begin
        ({"error": "it refuses connections"}, None, [LAST, BEFORE]),
    ],
)
def test_what_it_was_let_is_told_once(said: dict[str, Any], completed: object, own: list[Installed]) -> None:
    let = {"customer": "acme", "when": "2027-03-14T01:31:00+00:00", "hosts": {"srv-1": said}}
    pages, mine = told([BEFORE, LAST], [let])
    assert (pages[0]["hosts"]["srv-1"].get("installed"), mine) == (completed, own)


def test_a_page_grows_and_forgets_what_is_old() -> None:
    first = page("acme", [LAST, BEFORE], MONDAY, None)
    assert first is not None
    assert parsed("acme", first) == [BEFORE, LAST]
    assert page("acme", [LAST], MONDAY, first) == first
    later = page("acme", [replace(LAST, host="srv-2")], MONDAY + timedelta(days=394), first)
    assert parsed("acme", later or b"") == [LAST, replace(LAST, host="srv-2")]
    assert page("acme", [], MONDAY + timedelta(days=500), first) is None
    for damaged in (b"", b"{", b"[]", first.replace(b'"demo", ', b""), first.replace(b"+00:00", b"")):
        assert parsed("acme", damaged) == []
    assert parsed("beta", first) == []
