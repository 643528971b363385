"""What time does through the command line: records with an end, windows, and the schedule that looks after both."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from mspctl.cli import workspace
from mspctl.ledger import Ledger
from mspctl.locks import Locks
from tests.cli.test_main_job import YAML, ZONE, replace
from tests.conftest import Run

FOLDER = "customers/officine-brenta"
TARGETS = "inventory/targets.yaml"
VOIP = "voip: {A: 192.0.2.85}"
LIVE_VOIP = "voip 3600 IN A 192.0.2.85"
At = Callable[[str], None]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> At:
    """Sets the clock of the next commands; the example customers are in Europe/Rome."""

    def set_clock(moment: str) -> None:
        monkeypatch.setattr(workspace, "now", lambda: datetime.fromisoformat(moment))

    set_clock("2027-03-05T09:00Z")
    return set_clock


@pytest.fixture
def applied(run: Run, repository: Path, at: At) -> Path:
    """Everything is applied, with one record that ends on the last of March."""
    replace(repository / YAML, VOIP, "voip: {A: 192.0.2.85, until: 2027-03-31}")
    assert run("apply").code == 0
    return repository


def zone(repository: Path) -> str:
    return (repository / ZONE).read_text()


def hide(repository: Path) -> None:
    """The targets give no answer from now on."""
    (repository / "scratch").rename(repository / "away")


# -- until and from -------------------------------------------------------------------------------------------


def test_a_plan_says_what_will_end_by_itself(run: Run, repository: Path, at: At) -> None:
    replace(repository / YAML, VOIP, "voip: {A: 192.0.2.85, until: 2027-03-31}")
    assert "+ create  voip A              192.0.2.85, ttl 3600 [until 2027-03-31]  :14" in run("plan").out


def test_a_record_is_declared_until_its_day_is_over(run: Run, applied: Path, at: At) -> None:
    at("2027-03-31T21:59:59Z")  # 23:59:59 in Rome
    assert run("plan").code == 0
    at("2027-03-31T22:00Z")
    planned = run("plan", "-c", "officine-brenta")
    assert planned.code == 2
    assert planned.out == (
        "PLAN officine-brenta · 4 scopes on 3 targets · read 22:00 UTC\n"
        "\n"
        "officine-brenta\n"
        " dns brenta.example on ns-1  customers/officine-brenta/dns/brenta.example.yaml\n"
        "  - delete  voip A  192.0.2.85, ttl 3600 [expired 2027-03-31]\n"
        "\n"
        "   warnings    2 warnings in the files (mspctl validate shows them)\n"
        "\n"
        "0 to create, 0 to change, 1 to delete.\n"
    )
    warned = run("validate")
    assert warned.code == 0
    said = f"{YAML}:14:30: voip.until: warning: is over: this is not declared any more (it can be removed)"
    assert said in warned.err
    assert run("apply").code == 0
    assert "voip" not in zone(applied).replace("_sip._tls 3600 IN SRV 10 5 5061 voip", "")
    assert run("plan").code == 0


def test_the_schedule_does_what_expired_and_nothing_else(run: Run, applied: Path, at: At) -> None:
    replace(applied / YAML, "magazzino: {A: 198.51.100.20}", "magazzino: {A: 198.51.100.99}\nneu: {A: 192.0.2.7}")
    replace(applied / ZONE, "vpn 3600 IN A 192.0.2.82", "vpn 3600 IN A 203.0.113.66")
    at("2027-04-01T00:00Z")
    planned = run("plan", "--due")
    assert planned.code == 2
    assert planned.out == (
        "PLAN officine-brenta · 1 scope on 1 target · read 00:00 UTC\n"
        "\n"
        "officine-brenta\n"
        " dns brenta.example on ns-1  customers/officine-brenta/dns/brenta.example.yaml\n"
        "  - delete  voip A  192.0.2.85, ttl 3600 [expired 2027-03-31]\n"
        "\n"
        "   warnings    2 warnings in the files (mspctl validate shows them)\n"
        "\n"
        "0 to create, 0 to change, 1 to delete.\n"
    )
    due = run("apply", "--due")
    assert due.code == 0
    assert due.out.splitlines()[-1] == "1 change landed. Nothing else is due."
    assert LIVE_VOIP not in zone(applied)
    assert "magazzino 3600 IN A 198.51.100.20" in zone(applied)
    assert "neu " not in zone(applied)
    assert "203.0.113.66" in zone(applied)
    assert (run("apply", "--due").code, run("apply", "--due").out) == (0, "")
    assert "~ change  magazzino A" in run("plan").out


def test_the_schedule_is_quiet_and_asks_no_target_when_nothing_is_due(run: Run, applied: Path, at: At) -> None:
    replace(applied / YAML, "magazzino: {A: 198.51.100.20}", "magazzino: {A: 198.51.100.99}")
    hide(applied)
    for moment in ("2027-03-05T09:00Z", "2027-03-31T21:59Z"):
        at(moment)
        said = run("apply", "--due")
        assert (said.code, said.out, said.err) == (0, "", "")
    planned = run("plan", "--due")
    assert (planned.code, planned.out.splitlines()[-1]) == (0, "Nothing is due.")
    assert json.loads(run("apply", "--due", "-o", "json").out)["landed"] == 0
    at("2027-04-01T00:00Z")
    assert run("apply", "--due").code == 4


def test_the_schedule_asks_only_targets_that_have_something_due(run: Run, applied: Path, at: At) -> None:
    (applied / "scratch/ns-lab").rename(applied / "away")
    at("2027-04-01T00:00Z")
    assert run("apply", "--due").code == 0
    assert LIVE_VOIP not in zone(applied)


def test_without_anything_limited_in_time_not_even_the_ledger_is_opened(
    run: Run, repository: Path, at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of mailboxes whose lines were taken out only the ledger knows, so here nobody has any."""
    for file in (repository / "customers").glob("*/mail.yaml"):
        file.unlink()
    monkeypatch.setattr(Ledger, "open", None)
    assert (run("apply", "--due").code, run("apply", "--due").out) == (0, "")


def test_what_expired_and_is_gone_already_is_only_recorded(run: Run, applied: Path, at: At) -> None:
    at("2027-04-01T00:00Z")
    replace(applied / ZONE, LIVE_VOIP + "\n", "")
    assert (run("apply", "--due").code, run("apply", "--due").out) == (0, "")
    hide(applied)
    assert (run("apply", "--due").code, run("apply", "--due").out) == (0, "")


def test_the_last_mx_that_expires_is_reported_and_waits_for_a_name(run: Run, repository: Path, at: At) -> None:
    old = "  MX: 10 mail.brenta.example.\n"
    replace(repository / YAML, old, "  MX: {values: 10 mail.brenta.example., until: '2027-03-31 18:00'}\n")
    run("apply")
    at("2027-03-31T16:00Z")
    due = run("apply", "--due")
    assert due.code == 3
    said = (
        "! needs approval  @ MX  deletes 10 mail.brenta.example., ttl 3600: expired 2027-03-31 18:00; it is the last MX"
    )
    assert said in due.out
    assert "10 mail.brenta.example." in zone(repository)
    approval = "approvals:\n  - {resource: 'dns/brenta.example/@ MX', why: ticket 4711, until: 2027-04-02}\n"
    (repository / FOLDER / "approvals.yaml").write_text(approval)
    due = run("apply", "--due")
    assert due.code == 0
    assert "[expired 2027-03-31 18:00; approved: ticket 4711]" in due.out
    assert "IN MX" not in zone(repository)


def test_what_somebody_changed_before_it_expired_is_a_conflict(run: Run, applied: Path, at: At) -> None:
    replace(applied / ZONE, LIVE_VOIP, "voip 3600 IN A 203.0.113.66")
    at("2027-04-01T00:00Z")
    due = run("apply", "--due")
    assert due.code == 3
    assert "! conflict  voip A" in due.out
    assert "203.0.113.66" in zone(applied)


def test_a_record_is_declared_from_its_day_on(run: Run, repository: Path, at: At) -> None:
    replace(repository / YAML, VOIP, "voip: {A: {values: 192.0.2.85, from: 2027-04-01, until: 2027-04-30}, TXT: x}")
    run("apply")
    assert LIVE_VOIP not in zone(repository)
    assert "voip 3600 IN TXT" in zone(repository)
    at("2027-03-31T22:00Z")
    assert "+ create  voip A  192.0.2.85, ttl 3600 [from 2027-04-01]  :14" in run("plan", "--due").out
    assert run("apply", "--due").code == 0
    assert LIVE_VOIP in zone(repository)
    assert run("plan").code == 0
    at("2027-04-30T22:00Z")
    assert run("apply", "--due").code == 0
    assert LIVE_VOIP not in zone(repository)
    assert "voip 3600 IN TXT" in zone(repository)


def test_one_record_takes_over_from_another(run: Run, repository: Path, at: At) -> None:
    """A CNAME stands alone at its name; these two never meet."""
    new = "voip: {A: {values: 192.0.2.85, until: 2027-03-31}, CNAME: {values: pbx.provider.example., from: 2027-04-01}}"
    replace(repository / YAML, VOIP, new)
    assert run("apply").code == 0
    at("2027-04-01T12:00Z")
    assert run("apply", "--due").code == 0
    assert LIVE_VOIP not in zone(repository)
    assert "voip 3600 IN CNAME pbx.provider.example." in zone(repository)
    at("2027-03-05T09:00Z")
    replace(repository / YAML, "from: 2027-04-01", "from: 2027-03-31")
    assert "a CNAME stands alone at its name" in run("validate").err


def test_what_a_target_cannot_hold_is_told_before_its_day(run: Run, repository: Path, at: At) -> None:
    replace(
        repository / YAML,
        VOIP,
        "voip: {A: {values: 192.0.2.85, until: 2027-03-31}}\npbx: {ALIAS: x.example., from: 2027-04-01}",
    )
    result = run("validate")
    assert result.code == 1
    assert f"{YAML}:15:1: pbx ALIAS: ns-1 cannot hold this" in result.err
    assert run("plan").code == 2


def test_octodns_form_too(run: Run, repository: Path, at: At) -> None:
    yaml = repository / "customers/studio-legale-ferri/dns/ferri-legali.example.yaml"
    replace(yaml, "value: pec.provider.example.}", "value: pec.provider.example., until: 2027-03-31}")
    run("apply")
    at("2027-04-01T12:00Z")
    due = run("apply", "--due")
    assert due.code == 0
    assert due.out.count("- delete  pec CNAME  pec.provider.example., ttl 300 [expired 2027-03-31]") == 2


def test_when_a_zones_own_record_expires_its_baselines_counts_again(run: Run, repository: Path, at: At) -> None:
    replace(repository / YAML, "apex:\n", "apex:\n  CAA: {values: '0 issue \"other.example\"', until: 2027-03-31}\n")
    run("apply")
    assert 'CAA 0 issue "other.example"' in zone(repository)
    at("2027-04-01T12:00Z")
    assert '- 0 issue "other.example", + 0 iodef' in run("plan", "--due").out
    assert run("apply", "--due").code == 0
    assert 'CAA 0 issue "letsencrypt.org"' in zone(repository)


def test_a_baselines_own_records_may_end(run: Run, repository: Path, at: At) -> None:
    baseline = repository / "inventory/baselines/standard.yaml"
    replace(
        baseline, "    apex:\n      CAA:\n", "    campagna: {TXT: 'marzo', until: 2027-03-31}\n    apex:\n      CAA:\n"
    )
    run("apply")
    assert "campagna 3600 IN TXT" in zone(repository)
    at("2027-04-01T12:00Z")
    due = run("apply", "--due")
    assert due.code == 0
    assert due.out.splitlines()[-1] == "4 changes landed. Nothing else is due."
    assert run("validate").err.count("is over") == 1


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("until: soon", "voip.until: 'soon' is not a day or a time (write 2027-03-31 or 2027-03-31 18:00)"),
        (
            "until: 2027-03-28 02:30",
            "voip.until: 2027-03-28 02:30 does not exist in Europe/Rome: clocks go from 02:00 to 03:00 there"
            " (write 03:00 or later)",
        ),
        ("from: 2027-03-28 02:00", "voip.from: 2027-03-28 02:00 does not exist in Europe/Rome"),
        (
            "until: 2027-10-31 02:30",
            "voip.until: warning: 2027-10-31 02:30 comes twice in Europe/Rome, when clocks go back; the earlier one is",
        ),
        (
            "from: 2027-10-31 02:30",
            "voip.from: warning: 2027-10-31 02:30 comes twice in Europe/Rome, when clocks go back; the later one is",
        ),
        ("from: 2027-05-01, until: 2027-04-30", "voip: ends (2027-04-30) before it begins (2027-05-01)"),
        ("until: 9999-12-31", "voip.until: '9999-12-31' is too far away (leave it out for what has no end)"),
        ("until: [2027-03-31]", "voip.until: should be text, not a mapping or a list"),
        ("til: 2027-03-31", "voip.til: unknown key (did you mean until?)"),
    ],
)
def test_wrong_limits_say_what_would_be_right(run: Run, repository: Path, at: At, entry: str, said: str) -> None:
    replace(repository / YAML, VOIP, f"voip: {{A: 192.0.2.85, {entry}}}")
    result = run("validate")
    assert result.code == (0 if "warning" in said else 1)
    assert f"{YAML}:14:" in result.err
    assert said in result.err


def test_a_time_that_is_over_in_one_customers_zone_is_not_in_anothers(run: Run, applied: Path, at: At) -> None:
    replace(applied / FOLDER / "customer.yaml", "timezone: Europe/Rome", "timezone: Australia/Lord_Howe")
    at("2027-03-31T12:59Z")  # half past eleven and eleven hours: summer is not over there
    assert run("plan", "--due").code == 0
    at("2027-03-31T13:00Z")
    assert run("plan", "--due").code == 2
    replace(applied / FOLDER / "customer.yaml", "timezone: Australia/Lord_Howe", "timezone: America/Los_Angeles")
    assert run("plan", "--due").code == 0


# -- Git takes over -------------------------------------------------------------------------------------------


def test_adopting_what_expired_takes_its_end_away(run: Run, repository: Path, at: At) -> None:
    replace(repository / YAML, VOIP, "voip: {A: 192.0.2.85, TXT: x, until: 2027-03-31}")
    run("apply")
    replace(repository / ZONE, LIVE_VOIP, "voip 3600 IN A 203.0.113.66")
    at("2027-04-01T00:00Z")
    assert run("adopt", "officine-brenta", "dns/brenta.example/voip A").code == 0
    assert "voip: {A: 203.0.113.66, TXT: {values: x, until: 2027-03-31}}" in (repository / YAML).read_text()
    assert "- delete  voip TXT" in run("plan").out
    assert run("apply").code == 0
    assert "voip 3600 IN A 203.0.113.66" in zone(repository)


def test_adopting_a_value_keeps_the_end(run: Run, repository: Path, at: At) -> None:
    replace(repository / YAML, VOIP, "voip: {A: {values: 192.0.2.85, until: 2027-03-31}, TXT: x}")
    run("apply")
    replace(repository / ZONE, LIVE_VOIP, "voip 60 IN A 203.0.113.66")
    with (repository / ZONE).open("a") as file:
        file.write("voip 3600 IN AAAA 2001:db8::1\n")
    assert run("adopt", "officine-brenta", "--unmanaged").code == 0
    text = (repository / YAML).read_text()
    assert "voip: {A: {values: 203.0.113.66, until: 2027-03-31, ttl: 1m}, TXT: x, AAAA: 2001:db8::1}" in text
    assert run("plan").code == 0


def test_undo_of_an_expiry_declares_the_record_for_good(run: Run, applied: Path, at: At) -> None:
    at("2027-04-01T00:00Z")
    run("apply", "--due")
    assert run("undo", "officine-brenta").code == 0
    assert "voip: {A: 192.0.2.85}" in (applied / YAML).read_text()
    assert run("apply").code == 0
    assert LIVE_VOIP in zone(applied)


# -- windows --------------------------------------------------------------------------------------------------


@pytest.fixture
def windowed(run: Run, repository: Path, at: At) -> Path:
    """Applied, and a change since, which its target takes only on Sunday mornings."""
    run("apply")
    replace(repository / TARGETS, "  ns-1:\n", '  ns-1:\n    window: "sun 05:00-06:00"\n')
    replace(repository / YAML, VOIP, "voip: {A: 192.0.2.86}")
    at("2027-03-26T12:00Z")
    return repository


def test_outside_its_window_a_change_is_held(run: Run, windowed: Path, at: At) -> None:
    planned = run("plan", "-c", "officine-brenta")
    assert planned.code == 2
    assert planned.out == (
        "PLAN officine-brenta · 4 scopes on 3 targets · read 12:00 UTC\n"
        "\n"
        "officine-brenta\n"
        " dns brenta.example on ns-1  customers/officine-brenta/dns/brenta.example.yaml\n"
        "    held  voip A  192.0.2.85 → 192.0.2.86 [window opens Sun 28 Mar 05:00 (Europe/Rome)]  :14\n"
        "\n"
        "Nothing is due. 1 change held.\n"
    )
    applied = run("apply")
    assert (applied.code, applied.out.splitlines()[-1]) == (3, "Nothing was changed. 1 change held.")
    assert "window opens Sun 28 Mar 05:00 (Europe/Rome)" in run("apply", "-o", "markdown").out
    assert LIVE_VOIP in zone(windowed)


def test_the_schedule_does_what_waited_for_the_window(run: Run, windowed: Path, at: At) -> None:
    (windowed / "scratch/ns-1").rename(windowed / "away")
    at("2027-03-28T02:59Z")  # clocks went forward: 4:59 in Rome
    assert (run("apply", "--due").code, run("apply", "--due").out) == (0, "")
    (windowed / "away").rename(windowed / "scratch/ns-1")
    at("2027-03-28T03:00Z")
    assert run("apply", "--due").code == 0
    assert "voip 3600 IN A 192.0.2.86" in zone(windowed)
    (windowed / "scratch/ns-1").rename(windowed / "away")
    assert (run("apply", "--due").code, run("apply", "--due").out) == (0, "")


def test_what_expired_waits_for_the_window_too(run: Run, windowed: Path, at: At) -> None:
    replace(windowed / YAML, "voip: {A: 192.0.2.86}", "voip: {A: 192.0.2.85, until: 2027-03-25}")
    assert "[expired 2027-03-25; window opens Sun 28 Mar 05:00 (Europe/Rome)]" in run("plan").out
    assert (run("apply", "--due").code, run("apply", "--due").out) == (0, "")
    at("2027-03-28T03:30Z")
    assert run("apply", "--due").code == 0
    assert LIVE_VOIP not in zone(windowed)


def test_a_window_in_another_time_zone(run: Run, windowed: Path, at: At) -> None:
    replace(windowed / TARGETS, '    window: "sun', '    timezone: Australia/Lord_Howe\n    window: "sun')
    assert "[window opens Sun 28 Mar 05:00 (Australia/Lord_Howe)]" in run("plan").out
    at("2027-03-27T18:00Z")
    assert run("apply").code == 0


@pytest.mark.parametrize(("file", "key"), [("customer.yaml", "window: {}\n"), ("dns.yaml", "window: {}\n")])
def test_windows_of_customer_and_section(run: Run, windowed: Path, at: At, file: str, key: str) -> None:
    path = windowed / FOLDER / file
    path.write_text(path.read_text() + key.format("sun 05:30-07:00"))
    assert "window opens Sun 28 Mar 05:30" in run("plan").out
    at("2027-03-28T03:29Z")
    assert run("apply").code == 3
    at("2027-03-28T03:30Z")
    assert run("apply").code == 0
    path.write_text(path.read_text().replace("05:30-07:00", "06:00-07:00"))
    replace(windowed / YAML, "192.0.2.86", "192.0.2.87")
    assert "its windows are never open together (sun 06:00-07:00, sun 05:00-06:00)" in run("plan").out


def test_a_window_that_closes_while_somebody_looks_at_the_plan_is_closed(
    run: Run, windowed: Path, at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    at("2027-03-28T03:59:59Z")
    hold = Locks.hold

    def late(self: Locks, *args: object, **kwargs: object) -> object:
        at("2027-03-28T04:00Z")
        return hold(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Locks, "hold", late)
    applied = run("apply")
    assert applied.code == 3
    assert "held  voip A  192.0.2.85 → 192.0.2.86 [window opens Sun 4 Apr 05:00 (Europe/Rome)]" in applied.out
    assert LIVE_VOIP in zone(windowed)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "window: sunday 05:00-06:00",
            "window: 'sunday' is not a day or days of the week (write sun, mon-fri or sat,sun)",
        ),
        (
            "window: sun 5-6",
            "window: 'sun 5-6' is not a window (write sun 05:00-06:00, mon-fri 07:30-18:30 or 22:00-05:00)",
        ),
        ("timezone: Rome", "timezone: 'Rome' is not a time zone (write Europe/Rome)"),
    ],
)
def test_wrong_windows_say_what_would_be_right(run: Run, repository: Path, line: str, said: str) -> None:
    replace(repository / TARGETS, "  ns-1:\n", f"  ns-1:\n    {line}\n")
    result = run("validate")
    assert result.code == 1
    assert f"{TARGETS}:5:" in result.err
    assert f"targets.ns-1.{said}" in result.err


def test_where_we_only_look_nothing_is_ever_due(run: Run, windowed: Path, at: At) -> None:
    replace(windowed / YAML, "vpn: {A: [192.0.2.82, 198.51.100.21]}", "vpn: {A: 192.0.2.82, until: 2027-03-25}")
    replace(windowed / FOLDER / "customer.yaml", "timezone:", "mode: observe\ntimezone:")
    at("2027-03-28T03:30Z")
    assert (run("apply", "--due").code, run("apply", "--due").out) == (0, "")
    assert "[expired 2027-03-25; mode is observe]" in run("plan").out


# -- a customer's own day -------------------------------------------------------------------------------------


def test_approvals_and_acceptances_end_with_the_customers_day(run: Run, repository: Path, at: At) -> None:
    run("apply")
    replace(repository / ZONE, LIVE_VOIP, "voip 3600 IN A 203.0.113.66")
    replace(repository / YAML, "  MX: 10 mail.brenta.example.\n", "")
    approval = "approvals:\n  - {resource: 'dns/brenta.example/@ MX', why: ticket 4711, until: 2027-03-10}\n"
    (repository / FOLDER / "approvals.yaml").write_text(approval)
    path = "dns/brenta.example/voip A"
    assert run("accept", "officine-brenta", path, "--why", "x", "--until", "2027-03-10").code == 0
    at("2027-03-10T22:59:59Z")  # 23:59:59 in Rome
    planned = run("plan")
    assert "[approved: ticket 4711]" in planned.out
    assert "accepted  voip A" in planned.out
    at("2027-03-10T23:00Z")
    planned = run("plan")
    assert "it is the last MX of the zone" in planned.out
    assert "changed outside  voip A" in planned.out
    assert "is over (remove this approval)" in run("validate").err


def test_fourteen_days_are_counted_from_the_customers_day(run: Run, repository: Path, at: At) -> None:
    approval = "approvals:\n  - {resource: 'dns/brenta.example/@ MX', why: ticket 4711, until: 2027-03-25}\n"
    (repository / FOLDER / "approvals.yaml").write_text(approval)
    at("2027-03-10T22:59Z")
    assert "2027-03-25 is more than 14 days ahead (write 2027-03-24 or earlier)" in run("validate").err
    at("2027-03-10T23:00Z")
    assert run("validate").code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--due", "--revert"],
        ["--due", "--emergency", "--reason", "x"],
        ["--emergency"],
        ["--emergency", "--reason", " "],
    ],
)
def test_options_that_make_no_sense_together(run: Run, arguments: list[str]) -> None:
    assert run("apply", *arguments).code == 64
