"""Guards, approvals, acceptances and locks through the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mspctl.locks import Locks
from mspctl.moments import Clock
from mspctl.record import Run as LockRun
from tests.cli.test_main_job import YAML, ZONE, replace
from tests.conftest import Run, Said

TODAY = Clock(datetime.now(UTC), "Europe/Rome").today
SOON = TODAY + timedelta(days=7)
FOLDER = "customers/officine-brenta"


def approve(repository: Path, *resources: str, until: str = f"{SOON}", why: str = "ticket 4711") -> None:
    lines = [f"  - {{resource: '{resource}', why: {why}, until: {until}}}\n" for resource in resources]
    (repository / FOLDER / "approvals.yaml").write_text("approvals:\n" + "".join(lines))


def cut_down(repository: Path) -> None:
    """All but three of the zone's own names leave Git; something harmless changes beside."""
    text = (repository / YAML).read_text()
    kept = [
        line for line in text.splitlines() if not line.startswith(("mail:", "auto", "_dmarc", "_sip", "voip", "vpn"))
    ]
    (repository / YAML).write_text("\n".join(kept).replace("198.51.100.20", "198.51.100.99") + "\n")


def last(said: Said) -> str:
    return said.out.splitlines()[-1]


def test_many_deletes_wait_for_a_name_and_the_rest_goes_on(run: Run, repository: Path) -> None:
    run("apply")
    cut_down(repository)
    planned = run("plan")
    assert planned.code == 2
    assert "! needs approval  voip A" in planned.out
    assert "losses in a scope of 14" in planned.out
    assert last(planned) == "0 to create, 1 to change, 0 to delete. 7 changes not without an approval."
    assert run("apply").code == 3
    zone = (repository / ZONE).read_text()
    assert "voip 3600 IN A" in zone
    assert "198.51.100.99" in zone


def test_an_approval_opens_only_what_it_names_and_once(run: Run, repository: Path) -> None:
    run("apply")
    cut_down(repository)
    approve(repository, "dns/brenta.example/voip A")
    planned = run("plan")
    assert "- delete          voip A" in planned.out
    assert "[approved: ticket 4711]" in planned.out
    assert run("apply").code == 3
    zone = (repository / ZONE).read_text()
    assert "voip 3600 IN A" not in zone
    assert "vpn 3600 IN A" in zone
    # The record is declared again, applied, and taken out again: the approval was for the first time.
    replace(repository / YAML, "magazzino:", "voip: {A: 192.0.2.85}\nmagazzino:")
    assert run("apply").code == 3
    replace(repository / YAML, "voip: {A: 192.0.2.85}\n", "")
    assert "needs approval  voip A" in run("plan").out


def test_an_approval_may_name_a_whole_scope(run: Run, repository: Path) -> None:
    run("apply")
    cut_down(repository)
    approve(repository, "dns/brenta.example")
    assert run("apply").code == 0
    assert run("plan").code == 0


def test_the_last_mx_needs_a_name(run: Run, repository: Path) -> None:
    run("apply")
    replace(repository / YAML, "  MX: 10 mail.brenta.example.\n", "")
    assert "it is the last MX of the zone" in run("plan").out
    approve(repository, "dns/brenta.example/@ MX")
    assert run("apply").code == 0


def test_an_emptied_zone_file_is_not_believed(run: Run, repository: Path) -> None:
    run("apply")
    (repository / ZONE).unlink()
    drift = run("drift")
    assert drift.code == 2
    reverted = run("apply", "--revert")
    assert reverted.code == 3
    assert "the target says that nothing is there, but 14 resources are recorded" in reverted.out
    assert not (repository / ZONE).exists()
    approve(repository, "dns/brenta.example")
    assert run("apply", "--revert").code == 0
    assert "voip 3600 IN A 192.0.2.85" in (repository / ZONE).read_text()


def test_a_conflict_is_left_alone_until_git_is_named_the_winner(run: Run, repository: Path) -> None:
    run("apply")
    replace(repository / ZONE, "voip 3600 IN A 192.0.2.85", "voip 3600 IN A 203.0.113.66")
    replace(repository / YAML, "voip: {A: 192.0.2.85}", "voip: {A: 192.0.2.86}")
    planned = run("plan")
    assert "conflict  voip A" in planned.out
    assert "approvals.yaml" in planned.out
    left = run("apply")
    assert (left.code, last(left)) == (3, "Nothing was changed. 1 difference not without an approval.")
    assert "203.0.113.66" in (repository / ZONE).read_text()
    approve(repository, "dns/brenta.example/voip A", why="the technician was wrong")
    assert run("apply").code == 0
    assert "voip 3600 IN A 192.0.2.86" in (repository / ZONE).read_text()


@pytest.mark.parametrize(
    ("until", "code", "said"),
    [
        (TODAY + timedelta(days=30), 1, "is more than 14 days ahead"),
        (TODAY - timedelta(days=1), 0, "warning: is over (remove this approval)"),
        (TODAY, 0, "0 errors, 0 warnings"),
    ],
)
def test_approvals_are_for_the_change_at_hand(run: Run, repository: Path, until: object, code: int, said: str) -> None:
    approve(repository, "dns/brenta.example/voip A", until=str(until))
    result = run("validate")
    assert result.code == code
    assert said in (result.err or "0 errors, 0 warnings")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("- {resource: voip, why: x, until: 2027-01-01}", "does not name a scope or a resource"),
        ("- {resource: dns/x/y, until: 2027-01-01}", "why: is missing"),
        ("- {resource: dns/x/y, why: x, until: soon}", "'soon' is not a date"),
        ("- {resource: dns/x/y, why: x, untl: 2027-01-01}", "did you mean until?"),
    ],
)
def test_wrong_approvals_say_what_would_be_right(run: Run, repository: Path, line: str, said: str) -> None:
    (repository / FOLDER / "approvals.yaml").write_text(f"approvals:\n  {line}\n")
    result = run("validate")
    assert result.code == 1
    assert f"{FOLDER}/approvals.yaml:2:" in result.err
    assert said in result.err


def test_an_accepted_difference_is_no_drift_until_its_day(run: Run, repository: Path) -> None:
    run("apply")
    replace(repository / ZONE, "voip 3600 IN A 192.0.2.85", "voip 3600 IN A 203.0.113.66")
    assert run("drift").code == 2
    path = "dns/brenta.example/voip A"
    accepted = run("accept", "officine-brenta", path, "--why", "spare phone system", "--until", f"{SOON}")
    assert accepted.code == 0
    drift = run("drift")
    assert drift.code == 0
    assert f"accepted  voip A  as it is until {SOON}" in drift.out
    assert "spare phone system" in drift.out
    assert run("apply", "--revert").code == 0
    assert "203.0.113.66" in (repository / ZONE).read_text()
    file = repository / FOLDER / "accepted.yaml"
    file.write_text(file.read_text().replace(f"{SOON}", f"{TODAY - timedelta(days=1)}"))
    assert run("drift").code == 2


def test_accept_refuses_what_is_not_there(run: Run, repository: Path) -> None:
    run("apply")
    refused = run("accept", "officine-brenta", "dns/brenta.example/voip A", "--why", "x", "--until", f"{SOON}")
    assert refused.code == 1
    assert "names nothing that was changed outside" in refused.err
    replace(repository / ZONE, "voip 3600 IN A 192.0.2.85", "voip 3600 IN A 203.0.113.66")
    refused = run("accept", "officine-brenta", "dns/brenta.example/voip A", "--why", "x", "--until", "soon")
    assert refused.code == 1
    assert "until: 'soon' is not a date" in refused.err
    assert not (repository / FOLDER / "accepted.yaml").exists()


def test_a_pending_change_lands_beside_an_accepted_difference(run: Run, repository: Path) -> None:
    run("apply")
    replace(repository / ZONE, "voip 3600 IN A 192.0.2.85", "voip 60 IN A 192.0.2.85")
    run("accept", "officine-brenta", "dns/brenta.example/voip A", "--why", "x", "--until", f"{SOON}")
    replace(repository / YAML, "voip: {A: 192.0.2.85}", "voip: {A: 192.0.2.86}")
    assert run("apply").code == 0
    assert "voip 60 IN A 192.0.2.86" in (repository / ZONE).read_text()


def test_a_lock_that_somebody_holds_stops_the_apply(run: Run, repository: Path) -> None:
    other = LockRun("other-run", "Paolo Zen <paolo@msp.example>")
    with Locks(repository).hold(["ns-1/dns/brenta.example"], other):
        refused = run("apply", "--wait", "0")
        assert refused.code == 1
        assert "Paolo Zen" in refused.err
        assert "mspctl unlock" in refused.err
        assert not (repository / ZONE).exists()
        assert "ns-1/dns/brenta.example" in run("unlock").out
    assert run("apply").code == 0
    assert "ns-1" not in run("unlock").out


def test_what_moved_between_plan_and_lock_is_left_alone(
    run: Run, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("apply")
    replace(repository / YAML, "voip: {A: 192.0.2.85}", "voip: {A: 192.0.2.86}")
    replace(repository / YAML, "magazzino: {A: 198.51.100.20}", "magazzino: {A: 198.51.100.99}")
    hold = Locks.hold

    def late(self: Locks, *args: object, **kwargs: object) -> object:
        replace(repository / ZONE, "voip 3600 IN A 192.0.2.85", "voip 3600 IN A 203.0.113.66")
        return hold(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Locks, "hold", late)
    applied = run("apply")
    assert "left alone: voip A in dns brenta.example on ns-1 was changed by somebody else" in applied.err
    zone = (repository / ZONE).read_text()
    assert "203.0.113.66" in zone
    assert "198.51.100.99" in zone


def test_a_zone_may_opt_in_to_mending(run: Run, repository: Path) -> None:
    replace(repository / FOLDER / "dns.yaml", "  brenta.example:\n", "  brenta.example:\n    drift: revert\n")
    run("apply")
    replace(repository / ZONE, "voip 3600 IN A 192.0.2.85", "voip 3600 IN A 203.0.113.66")
    with (repository / ZONE).open("a") as zone:
        zone.write("stampante 3600 IN A 192.0.2.77\n")
    applied = run("apply")
    assert applied.code == 0
    assert "undoes a change from outside" in applied.out
    text = (repository / ZONE).read_text()
    assert "voip 3600 IN A 192.0.2.85" in text
    assert "stampante" in text


def test_a_zone_may_opt_in_to_deleting_what_is_not_in_git(run: Run, repository: Path) -> None:
    replace(repository / FOLDER / "dns.yaml", "  brenta.example:\n", "  brenta.example:\n    unmanaged: delete\n")
    run("apply")
    with (repository / ZONE).open("a") as zone:
        zone.write("stampante 3600 IN A 192.0.2.77\n")
    assert run("apply").code == 0
    assert "stampante" not in (repository / ZONE).read_text()
    with (repository / ZONE).open("a") as zone:
        zone.writelines(f"h{n} 3600 IN A 192.0.2.77\n" for n in range(5))
    assert run("apply").code == 3
    assert "h4 3600" in (repository / ZONE).read_text()


def test_hand_over_rename_and_move_delete_nothing(run: Run, repository: Path) -> None:
    run("apply")
    before = (repository / ZONE).read_bytes()
    (repository / "customers/officine-brenta").rename(repository / "customers/brenta-group")
    assert run("plan").code == 0
    assert run("apply").code == 0
    replace(
        repository / "customers/brenta-group/dns.yaml", "  brenta.example:\n", "  brenta.example:\n    target: ns-lab\n"
    )
    moved = run("plan", "-c", "brenta-group")
    assert "retired" in moved.out
    assert "dns brenta.example on ns-1" in moved.out
    assert run("apply").code == 0
    assert (repository / ZONE).read_bytes() == before
    assert (repository / "scratch/ns-lab/brenta.example.zone").exists()
