"""A change of shared files goes ring by ring: from inventory/rings.yaml to the zones, and on where it stopped."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from mspctl import cli, proofs, rings
from mspctl.cli import ringing
from mspctl.cli.workspace import now
from mspctl.kinds import dns
from mspctl.observations import Observations
from mspctl.proof import Proof, Step, Trial, Verdict
from mspctl.record import Record, ScopeRecord
from mspctl.record import Run as RunOf
from mspctl.resource import Change, Scope
from tests.conftest import Run, Said
from tests.estate import estate

NAMES = ("alpha", "beta", "gamma", "delta")
RINGS = "rings:\n  - {name: ours, customers: [alpha]}\n  - {name: few, customers: [beta]}\n"
FILES = {
    "inventory/rings.yaml": RINGS,
    "inventory/targets.yaml": "targets:\n"
    + "".join(f"  {name}: {{facets: {{dns: {{driver: zonefile, directory: zones/{name}}}}}}}\n" for name in NAMES),
    "inventory/baselines/all.yaml": "dns: {defaults: {ttl: 1h}}\n",
    **{
        f"customers/{name}/{file}": text
        for name in NAMES
        for file, text in {
            "customer.yaml": f"name: {name}\nbaseline: all\n",
            "dns.yaml": f"zones: {{{name}.example: {{target: {name}, public: false}}}}\n",
            f"dns/{name}.example.yaml": "apex: {NS: [ns1.msp.example.]}\nwww: {A: 192.0.2.1}\n",
        }.items()
    },
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    estate(tmp_path, FILES)
    for name in NAMES:
        (tmp_path / "zones" / name).mkdir()
    subprocess.run(["git", "init", "--quiet", "-b", "main", tmp_path], check=True)
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "GITHUB_ACTOR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def run(root: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*args: str) -> Said:
        capsys.readouterr()
        return Said(cli.run([*args]), *capsys.readouterr())

    assert command("ledger", "init").code == 0
    assert command("apply", "--yes").code == 0
    (root / "inventory/baselines/all.yaml").write_text("dns: {defaults: {ttl: 150m}}\n")
    return command


def lowered(root: Path) -> set[str]:
    """The customers whose zones have the new TTL."""
    return {name for name in NAMES if " 9000 " in _zone(root, name)}


def _zone(root: Path, name: str) -> str:
    return "".join(file.read_text() for file in (root / "zones" / name).iterdir())


def test_the_plan_says_in_which_order_and_all_land(run: Run, root: Path) -> None:
    planned = run("plan", "--rings").out
    assert "ring by ring: ours (alpha), then few (beta), then the others (delta, gamma)" in planned
    done = run("apply", "--rings", "--yes")
    assert done.code == 0, done.out + done.err
    assert [line.partition(":")[0] for line in done.out.splitlines() if line.startswith("Ring ")] == [
        "Ring ours",
        "Ring few",
        "Ring the others",
    ]
    assert lowered(root) == {*NAMES}


def test_it_stops_at_the_first_failure_and_goes_on_from_there(run: Run, root: Path) -> None:
    (root / "zones/beta").rename(root / "zones/away")
    done = run("apply", "--rings", "--yes")
    assert done.code == 3
    assert "ring few could not be read whole: dns beta.example on beta" in " ".join(done.out.split())
    (root / "zones/away").rename(root / "zones/beta")
    assert lowered(root) == {"alpha"}
    done = run("apply", "--rings", "--yes")
    assert done.code == 0, done.out
    assert lowered(root) == {*NAMES}


def test_each_job_of_ci_waits_for_the_rings_of_the_others(run: Run, root: Path) -> None:
    assert run("plan", "-c", "alpha", "-c", "gamma", "--save", "1.json").code == 2
    assert run("plan", "-c", "beta", "-c", "delta", "--save", "2.json").code == 2
    early = run("apply", "--rings", "-c", "beta", "1.json", "2.json", "--yes")
    assert early.code == 3
    assert "not everything landed in ring ours: @ NS in dns alpha.example" in " ".join(early.out.split())
    assert lowered(root) == set()
    assert run("apply", "--rings", "-c", "alpha", "1.json", "2.json", "--yes").code == 0
    assert run("apply", "--rings", "-c", "gamma", "1.json", "2.json", "--yes").code == 3
    assert lowered(root) == {"alpha"}
    assert run("apply", "--rings", "-c", "beta", "1.json", "2.json", "--yes").code == 0
    assert run("apply", "--rings", "-c", "delta", "-c", "gamma", "1.json", "2.json", "--yes").code == 0
    assert lowered(root) == {*NAMES}


def test_a_live_test_that_fails_stops_it(run: Run, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests are ours here; how they are made is not this test's."""
    verdicts = [Verdict.FAILED]
    trial = Trial(Scope("alpha", "dns", "alpha.example", "alpha"), "mail", 3600, "x:1")

    def made(trial: Trial, targets: object, now: datetime) -> Proof:
        return Proof(trial.scope, trial.section, now, 1, (Step("x", verdicts[-1]),))

    monkeypatch.setattr(proofs, "trials", lambda estate, selection: [trial] if "alpha" in estate.customers else [])
    monkeypatch.setattr(proofs, "make", made)
    (root / "inventory/rings.yaml").write_text(RINGS.replace("[alpha]", "[alpha], prove: true"))
    done = run("apply", "--rings", "--yes")
    assert done.code == 3
    assert "live test of mail alpha.example: failed" in done.out
    assert lowered(root) == {"alpha"}
    assert run("apply", "--rings", "-c", "beta", "--yes").code == 0  # somebody who names one customer has looked
    verdicts.append(Verdict.PASSED)
    assert run("apply", "--rings", "--yes").code == 0
    assert lowered(root) == {*NAMES}


def test_what_goes_wrong_while_a_ring_soaks_stops_the_next(
    run: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, slept = Trial(Scope("alpha", "dns", "alpha.example", "alpha"), "mail", 3600, "x:1"), []

    def made(trial: Trial, targets: object, when: datetime) -> Proof:
        return Proof(trial.scope, trial.section, when, 1, (Step("x", Verdict.PASSED),))

    def sleep(seconds: float) -> None:
        """Somebody else makes the test meanwhile, on another machine."""
        slept.append(seconds)
        assert len(slept) < 10, "it looks again, and sees it"
        bad = Proof(trial.scope, trial.section, now(), 1, (Step("x", Verdict.FAILED),))
        Observations.fetched(root).record_proofs(
            RunOf("20270304T140000Z-aaaaaa", "Anna <anna@msp.example>"), [bad], now()
        )

    monkeypatch.setattr(proofs, "trials", lambda estate, selection: [trial] if "alpha" in estate.customers else [])
    monkeypatch.setattr(proofs, "make", made)
    monkeypatch.setattr(ringing, "time", SimpleNamespace(sleep=sleep))
    (root / "inventory/rings.yaml").write_text(RINGS.replace("[alpha]", "[alpha], prove: true, soak: 10m"))
    done = run("apply", "--rings", "--yes")
    assert done.code == 3
    assert "Ring ours has landed; the next one begins in 10 min." in done.out
    assert "ring ours: the live test of mail alpha.example: failed" in " ".join(done.out.split())
    assert (slept, lowered(root)) == ([30.0], {"alpha"})


def test_ci_gets_one_job_after_the_other(run: Run, root: Path) -> None:
    who = ["-c", "user.name=Paolo", "-c", "user.email=paolo@msp.example"]
    subprocess.run(["git", "add", "."], check=True)
    subprocess.run(["git", *who, "commit", "--quiet", "-m", "as it is"], check=True)
    (root / "inventory/baselines/all.yaml").write_text("dns: {defaults: {ttl: 3h}}\n")
    subprocess.run(["git", *who, "commit", "--quiet", "-am", "shared"], check=True)
    said = dict(
        line.split("=", 1) for line in run("affected", "--base", "HEAD^", "--merged", "--matrix").out.split("\n")[:-1]
    )
    assert said["parallel"] == "1"
    assert [job["options"] for job in json.loads(said["matrix"])["include"]] == [
        "--rings -c alpha",
        "--rings -c beta",
        "--rings -c delta -c gamma",
    ]
    everybody = run("affected", "--base", "0", "--merged", "--matrix").out
    assert "--rings" not in everybody  # drift and prove look at all, and know no rings
    before = dict(line.split("=", 1) for line in run("affected", "--base", "HEAD^", "--matrix").out.split("\n")[:-1])
    assert int(before["parallel"]) == 1
    assert "ring by ring: ours (alpha)" in run("affected", "--base", "HEAD^").out
    (root / "customers/gamma/dns/gamma.example.yaml").write_text("apex: {NS: [ns1.msp.example.]}\n")
    subprocess.run(["git", *who, "commit", "--quiet", "-am", "own"], check=True)
    assert "--rings" not in run("affected", "--base", "HEAD^", "--merged", "--matrix").out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "rings: [{name: a, customers: [nobody]}]",
            "inventory/rings.yaml:1:31: rings[0].customers: there is no customer",
        ),
        ("rings: [{name: a, customers: [alpha]}, {name: b, customers: [alpha]}]", "alpha is in ring a already"),
        ("rings: [{name: a, customers: [alpha]}, {name: a, customers: [beta]}]", "there is a ring a already"),
        ("rings: [{name: a, customers: [alpha], soak: 2d}]", "is more than an hour"),
    ],
)
def test_wrong_rings_are_told_with_their_place(run: Run, root: Path, text: str, expected: str) -> None:
    (root / "inventory/rings.yaml").write_text(text + "\n")
    said = run("validate")
    assert said.code == 1
    assert expected in said.out + said.err


def test_how_an_earlier_ring_stands() -> None:
    scope = Scope("ns-1", "dns", "acme.example", "acme")
    old, new = dns.rrset("www", "A", 300, ["192.0.2.1"]), dns.rrset("www", "A", 600, ["192.0.2.1"])

    def left(change: Change, *states: object) -> bool:
        known = {change.id: Record(states)} if states else {}  # type: ignore[arg-type]
        return bool([*rings.unlanded({scope: [change]}, {scope: ScopeRecord(scope, known)})])

    update, create, delete = Change(old, new), Change(None, new), Change(old, None)
    assert [left(update, s) for s in (old, new, None)] == [True, False, True]
    assert [left(create, s) for s in (new, None)] == [False, True]
    assert [left(delete, s) for s in (old, None)] == [True, False]
    assert left(update, old, new)  # begun, and nobody knows how it ended
    assert left(create)
    assert not left(update, dns.rrset("www", "A", 900, ["192.0.2.1"]))  # something newer is there


def test_what_a_ring_waits_for() -> None:
    ring = rings.Ring("ours", frozenset({"acme"}), soak=1800, prove=True)
    scope = Scope("ns-1", "dns", "acme.example", "acme")
    landed = datetime(2027, 3, 5, 14, tzinfo=UTC)
    trial = Trial(scope, "mail", 3600, "x:1")
    proof = Proof(scope, "mail", landed - timedelta(minutes=1), 1, (Step("x", Verdict.PASSED),))
    assert "was not made since" in rings.why_not(ring, {}, {}, [trial], {trial.key: proof}, landed)
    assert rings.why_not(ring, {}, {}, [trial], {trial.key: proof}, landed - timedelta(minutes=2)) == ""
    assert rings.begins(ring, landed, landed + timedelta(minutes=10)) == timedelta(minutes=20)
    assert rings.begins(ring, landed, landed + timedelta(hours=1)) == timedelta()
