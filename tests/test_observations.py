"""The branch of the observations on real Git repositories: shared, raced for, squashed, lost."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mspctl.errors import LedgerError
from mspctl.git.commit import Stamp
from mspctl.ledger import Ledger
from mspctl.ledger_page import path_of
from mspctl.observation import OLDEST, Observation, Seen
from mspctl.observations import LAST_RUN, Observations
from mspctl.proof import Proof, Step, Verdict
from mspctl.record import Run
from mspctl.resource import Cause, Id, Resource, Scope

RUN = Run("r1", "Paolo Zen <paolo@msp.example>", "c0ffee")
TOKEN = "t1"
NOW = datetime(2027, 3, 5, 3, 10, tzinfo=UTC)
NORTH, SOUTH = Scope("ns-1", "dns", "north.example", "acme"), Scope("ns-1", "dns", "south.example", "acme")
WWW = Resource(Id("dns.rrset", "www A"), {"ttl": 60})


def seen(scope: Scope = NORTH, hours: int = 0, token: str = TOKEN) -> Observation:
    now = NOW + timedelta(hours=hours)
    return Observation(scope, now, token, "basis", seen={WWW.id: Seen(WWW, Cause.DRIFT, now)})


def git(root: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "--bare", "--template=", "remote.git")
    return tmp_path / "remote.git"


def clone(remote: Path, name: str) -> Path:
    root = remote.parent / name
    git(remote.parent, "init", "-q", "--template=", name)
    git(root, "remote", "add", "origin", str(remote))
    return root


@pytest.fixture
def one(remote: Path) -> Path:
    root = clone(remote, "one")
    Ledger.init(root)
    return root


@pytest.fixture
def two(remote: Path, one: Path) -> Path:
    return clone(remote, "two")


def fetched(root: Path) -> Observations:
    found = Observations(root)
    Ledger.open(root, beside=[found.branch])
    return found


def record(it: Observations, *what: Observation, run: Run = RUN, only: list[Scope] | None = None) -> None:
    it.record(run, what, {"scopes": len(what), "as_seen": 0}, NOW, only)


def test_what_one_saw_the_other_knows(one: Path, two: Path, remote: Path) -> None:
    record(fetched(one), seen(NORTH), seen(SOUTH))
    assert fetched(two).of([NORTH, SOUTH, replace(NORTH, name="west")]) == {NORTH: seen(NORTH), SOUTH: seen(SOUTH)}
    assert git(remote, "log", "--format=%an <%ae> %s%n%b", "observations") == (
        "Paolo Zen <paolo@msp.example> drift: 2 scopes, 0 as seen\nRun: r1\nCommit: c0ffee"
    )
    facts = json.loads(git(remote, "show", f"observations:{LAST_RUN}"))
    assert (facts["run"], facts["when"], facts["scopes"]) == ("r1", "2027-03-05T03:10:00+00:00", 2)
    assert "It may be deleted" in git(remote, "show", "observations:README.md")


def test_the_ledger_is_another_branch(one: Path, two: Path) -> None:
    tip = Ledger.open(one).tip
    record(fetched(one), seen())
    assert Ledger.open(two).tip == tip
    assert Ledger.open(two).history() == []


def test_without_a_remote(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "alone")
    alone = tmp_path / "alone"
    Ledger.init(alone)
    record(fetched(alone), seen())
    assert fetched(alone).of([NORTH]) == {NORTH: seen()}
    assert fetched(alone).squash("Paolo", NOW) == 1
    assert git(alone, "status", "--porcelain") == ""


def test_of_two_at_once_nothing_is_lost_and_the_later_reading_stays(one: Path, two: Path, remote: Path) -> None:
    first, second = fetched(one), fetched(two)
    record(second, seen(NORTH, hours=1), run=replace(RUN, id="r2"))
    record(first, seen(NORTH), seen(SOUTH))
    assert fetched(two).of([NORTH, SOUTH]) == {NORTH: seen(NORTH, hours=1), SOUTH: seen(SOUTH)}
    assert git(remote, "rev-list", "--count", "observations") == "2"


def test_a_run_over_everything_forgets_what_is_not_there_any_more(one: Path) -> None:
    record(fetched(one), seen(NORTH), seen(SOUTH))
    record(fetched(one))
    assert fetched(one).of([NORTH, SOUTH]).keys() == {NORTH, SOUTH}
    record(fetched(one), only=[SOUTH])
    assert fetched(one).of([NORTH, SOUTH]).keys() == {SOUTH}


def test_a_scope_without_a_token_is_not_written_each_time(one: Path) -> None:
    it = fetched(one)
    for hours in (0, 1, 2):
        again = seen(hours=hours, token="")
        record(it, replace(again, seen={WWW.id: Seen(WWW, Cause.DRIFT, NOW)}))
    assert it.of([NORTH])[NORTH].read_at == NOW
    assert git(one, "log", "--format=%s", "observations", "--", path_of(NORTH)).count("\n") == 0
    late = replace(seen(token=""), read_at=NOW + OLDEST)
    record(it, late)
    assert it.of([NORTH]) == {NORTH: late}


def test_squashed_it_is_one_commit_and_nobody_minds(one: Path, two: Path, remote: Path) -> None:
    mine = fetched(two)
    for hours in range(5):
        record(fetched(one), seen(hours=hours))
    ledger = git(remote, "rev-parse", "ledger")
    assert fetched(two).squash("Paolo Zen <paolo@msp.example>", NOW) == 5
    assert git(remote, "rev-list", "--count", "observations") == "1"
    assert fetched(one).of([NORTH]) == fetched(two).of([NORTH]) == {NORTH: seen(hours=4)}
    record(mine, seen(SOUTH))  # who fetched before is only slower
    record(fetched(one), seen(hours=9))
    assert fetched(two).of([NORTH, SOUTH]).keys() == {NORTH, SOUTH}
    assert git(remote, "rev-list", "--count", "observations") == "3"
    assert git(remote, "rev-parse", "ledger") == ledger
    for root in (one, two, remote):
        git(root, "fsck", "--strict")


def test_deleted_on_the_remote_it_is_brought_back(one: Path, two: Path, remote: Path) -> None:
    record(fetched(one), seen(NORTH))
    fetched(two)
    git(remote, "update-ref", "-d", "refs/heads/observations")
    assert fetched(clone(remote, "three")).of([NORTH]) == {}
    record(fetched(two), seen(SOUTH))
    assert fetched(one).of([NORTH, SOUTH]).keys() == {NORTH, SOUTH}


def test_started_anew_by_somebody_else_that_is_what_counts(one: Path, two: Path, remote: Path) -> None:
    record(fetched(one), seen(NORTH))
    git(remote, "update-ref", "-d", "refs/heads/observations")
    record(fetched(two), seen(SOUTH))
    assert fetched(one).of([NORTH, SOUTH]).keys() == {SOUTH}


def test_a_remote_that_refuses(one: Path, remote: Path) -> None:
    record(fetched(one), seen())
    record(fetched(one), seen(hours=1))
    git(remote, "config", "receive.denyNonFastForwards", "true")
    with pytest.raises(LedgerError, match=r"cannot push the observations to origin: .*non-fast-forward"):
        fetched(one).squash("Paolo", NOW)
    record(fetched(one), seen(hours=2))
    (remote / "hooks").mkdir(exist_ok=True)
    hook = remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(LedgerError, match=r"cannot push the observations to origin: .*pre-receive hook declined"):
        record(fetched(one), seen(hours=3))
    assert fetched(one).of([NORTH]) == {NORTH: seen(hours=2)}


@pytest.mark.parametrize("content", [b"{", b"\xff", b'{"format": 9}'])
def test_a_file_that_cannot_be_understood_is_as_good_as_not_there(one: Path, content: bytes) -> None:
    it = fetched(one)
    record(it, seen(SOUTH))
    blob = _blob(one, content)
    index = {**os.environ, "GIT_INDEX_FILE": str(one / "forged")}
    for words in (
        ("read-tree", "observations"),
        ("update-index", "--add", "--cacheinfo", f"100644,{blob},{path_of(NORTH)}"),
    ):
        subprocess.run(["git", *words], cwd=one, env=index, check=True)
    tree = subprocess.run(["git", "write-tree"], cwd=one, env=index, check=True, capture_output=True, text=True).stdout
    made = git(one, "-c", "user.name=A", "-c", "user.email=a@x", "commit-tree", tree.strip(), "-m", "by hand")
    git(one, "push", "-qf", "origin", f"{made}:refs/heads/observations")
    assert fetched(one).of([NORTH, SOUTH]).keys() == {SOUTH}
    record(fetched(one), seen(NORTH))
    assert fetched(one).of([NORTH]) == {NORTH: seen(NORTH)}


def _blob(root: Path, content: bytes) -> str:
    done = subprocess.run(
        ["git", "hash-object", "-w", "--stdin"], cwd=root, input=content, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


# -- proofs -------------------------------------------------------------------------------------------------------


def proof(hours: int = 0, verdict: Verdict = Verdict.PASSED, section: str = "mail", scope: Scope = NORTH) -> Proof:
    return Proof(scope, section, NOW + timedelta(hours=hours), 1.0, (Step("it works", verdict),))


def test_proofs_are_kept_beside_what_drift_runs_saw(one: Path, two: Path) -> None:
    Observations.fetched(one).record_proofs(RUN, [proof(), proof(section="backup"), proof(scope=SOUTH)], NOW)
    record(fetched(two), seen(SOUTH), only=[SOUTH])  # which forgets NORTH
    it = Observations.fetched(one)
    found = it.proofs([NORTH, SOUTH])
    assert {*found} == {(NORTH, "mail", ""), (NORTH, "backup", ""), (SOUTH, "mail", "")}
    assert it.of([NORTH, SOUTH]).keys() == {SOUTH}
    assert it.proofs([Scope("ns-1", "dns", "west.example")]) == {}
    assert git(one, "log", "-1", "--format=%s", "--skip=1", "observations") == "prove: 3 passed"


def test_another_proof_of_the_same_takes_its_place_and_remembers_it(one: Path, two: Path) -> None:
    first, second = Observations.fetched(one), Observations.fetched(two)
    first.record_proofs(RUN, [proof(), proof(section="backup")], NOW)
    second.record_proofs(RUN, [proof(2, Verdict.FAILED)], NOW)  # which had not seen the first one
    late = Observations.fetched(one)
    late.record_proofs(RUN, [proof(1)], NOW)  # began earlier, and ended later
    found = Observations.fetched(two).proofs([NORTH])
    last = found[NORTH, "mail", ""]
    assert (last.verdict, last.made, last.passed) == (Verdict.FAILED, NOW + timedelta(hours=2), NOW)
    assert found[NORTH, "backup", ""].verdict is Verdict.PASSED


def test_proofs_survive_that_history_is_dropped_and_not_that_somebody_damages_them(one: Path) -> None:
    it = Observations.fetched(one)
    it.record_proofs(RUN, [proof()], NOW)
    it.record_proofs(RUN, [proof(1)], NOW)
    it.squash(RUN.who, NOW)
    assert Observations.fetched(one).proofs([NORTH])[NORTH, "mail", ""].made == NOW + timedelta(hours=1)
    it.branch.update({f".proofs/{path_of(NORTH)}": lambda old: b"damaged"}, lambda paths: Stamp(RUN.who, NOW, "x"))
    assert Observations.fetched(one).proofs([NORTH]) == {}
    it.record_proofs(RUN, [proof(2)], NOW)
    assert len(Observations.fetched(one).proofs([NORTH])) == 1
