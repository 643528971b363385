"""`drift` reads only what may have changed since it was observed, and says the same as if it had read everything."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from mspctl import observation
from mspctl.cli import workspace
from mspctl.drivers import zonefile
from mspctl.resource import Scope
from tests.cli.test_main_job import YAML, ZONE, replace
from tests.conftest import Run

ALL, MAIL = 7, 2  # scopes of the example customers: zones, and mail domains, which have no tokens


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Scopes that were read, as `zone on target`."""
    names: list[str] = []
    read_one = zonefile.Reader.read_one

    def listening(self: zonefile.Reader, scope: Scope, known: Any) -> Any:
        names.append(f"{scope.name} on {scope.target}")
        return read_one(self, scope, known)

    monkeypatch.setattr(zonefile.Reader, "read_one", listening)
    return names


@pytest.fixture
def observed(run: Run, read: list[str]) -> Run:
    """Everything is applied and observed. Before each command, what was read is forgotten."""
    assert run("apply").code == 0
    assert run("drift", "--record").code == 0

    def command(*arguments: str) -> Any:
        read.clear()
        return run(*arguments)

    return command


def edit(repository: Path) -> None:
    replace(repository / ZONE, "voip 3600 IN A 192.0.2.85", "voip 3600 IN A 203.0.113.66")


def document(run: Run, *arguments: str) -> Any:
    said = json.loads(run("drift", "--output", "json", *arguments).out)
    for name in ("read_at", "summary"):
        del said[name]
    for name in ("told by observations", "seen before"):
        said["counts"].pop(name, None)
    for scope in said["scopes"]:
        scope.pop("seen_at")
        for left in scope["left"] + scope["accepted"]:
            left.pop("since")
    return said


def test_what_has_not_changed_is_not_read(observed: Run, read: list[str]) -> None:
    drift = observed("drift")
    assert (drift.code, read) == (0, [])
    assert f"{ALL} as seen before" in drift.out
    assert observed("drift", "--full").code == 0
    assert len(read) == ALL


def test_without_observations_all_is_read_each_time(run: Run, read: list[str]) -> None:
    run("apply")
    for _ in range(2):
        read.clear()
        assert run("drift").code == 0
        assert len(read) == ALL


def test_what_somebody_edited_is_read_and_then_known(observed: Run, repository: Path, read: list[str]) -> None:
    edit(repository)
    drift = observed("drift", "--record")
    assert (drift.code, read) == (2, ["brenta.example on ns-1"])
    assert "changed outside  voip A  values: Git says 192.0.2.85, live is 203.0.113.66 (new: not seen on " in drift.out
    assert drift.out.endswith("1 resource changed outside (1 new); 0 unmanaged.\n")
    again = observed("drift")
    assert (again.code, read) == (2, [])
    assert re.search(r"dns brenta.example on ns-1 as seen \d{4}-\d\d-\d\d \d\d:\d\d", again.out)
    assert re.search(r"live is 203.0.113.66 \(since \d{4}-\d\d-\d\d \d\d:\d\d\)", again.out)
    assert "(0 new)" in again.out
    assert observed("apply", "--revert").code == 0
    assert observed("drift", "--record").code == 0
    assert read == ["brenta.example on ns-1"]


def test_when_a_file_was_written_is_told_unless_that_may_have_been_us(
    observed: Run, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(repository)
    now = workspace.now
    monkeypatch.setattr(workspace, "now", lambda: now() + timedelta(hours=2))
    for minutes, told in ((1, False), (60, True), (180, False)):
        written = (now() + timedelta(minutes=minutes)).replace(microsecond=0)
        os.utime(repository / ZONE, (written.timestamp(),) * 2)
        said = f"live is 203.0.113.66; file written {written:%Y-%m-%d %H:%M} UTC (new: not seen on "
        assert (said in observed("drift").out) is told
        (left,) = (left for s in document(observed)["scopes"] for left in s["left"])
        assert left["touched"] == ({"when": written.isoformat(), "who": "", "whole": "file"} if told else None)


def test_it_says_the_same_as_if_all_had_been_read(observed: Run, repository: Path, read: list[str]) -> None:
    """Drift, a deleted and a new record, one that is accepted, and something pending."""
    edit(repository)
    replace(repository / ZONE, "magazzino 3600 IN A 198.51.100.20\n", "stampante 3600 IN A 192.0.2.77\n")
    observed("accept", "officine-brenta", "dns/brenta.example/voip A", "--why", "test", "--until", "2099-01-01")
    replace(repository / YAML, "mail: {A: 192.0.2.81,", "mail: {A: 192.0.2.82,")
    full = document(observed, "--full")
    observed("drift", "--full", "--record")
    assert len(read) == ALL
    kept = document(observed)
    assert read == []
    assert kept == full
    brenta = next(scope for scope in kept["scopes"] if scope["name"] == "brenta.example")
    assert [left["cause"] for left in brenta["left"]] == ["unmanaged", "drift"]
    assert brenta["accepted"]
    assert [change["name"] for change in brenta["changes"]] == ["mail A"]


def test_an_acceptance_that_ran_out_is_told(observed: Run, repository: Path) -> None:
    edit(repository)
    said = "accepted:\n  - {resource: dns/brenta.example/voip A, why: test, until: 2026-01-01, who: Paolo}\n"
    (repository / "customers/officine-brenta/accepted.yaml").write_text(said)
    drift = observed("drift")
    assert "; accepted by Paolo until 2026-01-01, which is over" in drift.out
    assert re.search(
        r"expired  accepted\[0\]\.until  is over: .*  customers/officine-brenta/accepted.yaml:2", drift.out
    )
    assert "is over: what it let be is reported again" in observed("validate").err


def test_what_ends_soon_is_told_of_what_was_asked_for(run: Run, repository: Path) -> None:
    until = date.today() + timedelta(days=3)  # noqa: DTZ011
    replace(repository / YAML, "voip: {A: 192.0.2.85}", f"voip: {{A: {{values: 192.0.2.85, until: {until}}}}}")
    for path, told in (((), 1), (("dns/brenta.example/voip A",), 1), (("dns/brenta.example/www A",), 0)):
        said = json.loads(run("drift", "-c", "officine-brenta", *path, "--output", "json").out)["ends_soon"]
        assert [(each["says"], each["resources"]) for each in said] == told * [
            (f"until {until}", [{"kind": "dns.rrset", "name": "voip A"}])
        ]
    line = rf"ends soon  dns/brenta.example/voip A  until {until} \(in [234] days\)  {YAML}:\d+\n"
    assert re.search(line, run("drift").out)
    assert re.search(line, run("report").out)  # which asks no target


def test_what_git_changed_is_read(observed: Run, repository: Path, read: list[str]) -> None:
    replace(repository / YAML, "voip: {A: 192.0.2.85}", "voip: {A: 192.0.2.86}")
    assert observed("drift").code == 2
    assert read == ["brenta.example on ns-1"]


def test_what_only_moved_in_its_file_is_not(observed: Run, repository: Path, read: list[str]) -> None:
    (repository / YAML).write_text("\n\n" + (repository / YAML).read_text())
    assert observed("drift").code == 0
    assert read == []


def test_what_was_applied_is_read(observed: Run, repository: Path, read: list[str]) -> None:
    replace(repository / YAML, "voip: {A: 192.0.2.85}", "voip: {A: 192.0.2.86}")
    assert observed("apply").code == 0
    assert observed("drift").code == 0
    assert read == ["brenta.example on ns-1"]


def test_what_is_driven_otherwise_is_read(observed: Run, repository: Path, read: list[str]) -> None:
    file = repository / "inventory/targets.yaml"
    file.write_text(file.read_text().replace("rname: hostmaster.", "rname: root.", 1))
    assert observed("drift").code == 0
    assert {name.partition(" on ")[2] for name in read} == {"ns-1"}


def test_what_was_seen_long_ago_is_read(observed: Run, read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observation, "OLDEST", timedelta())
    assert observed("drift").code == 0
    assert len(read) == ALL


def test_a_part_is_recorded_as_a_part(observed: Run, repository: Path, read: list[str]) -> None:
    replace(repository / YAML, "voip: {A: 192.0.2.85}", "voip: {A: 192.0.2.86}")
    observed("drift", "--record", "-c", "studio-legale-ferri")
    assert read == []
    observed("drift", "--record", "-c", "officine-brenta")
    assert read == ["brenta.example on ns-1"]
    observed("drift", "--record")
    assert read == []


def test_a_target_that_is_gone_is_unreachable_and_not_as_seen(observed: Run, repository: Path) -> None:
    folder = repository / "scratch/ns-lab"
    folder.rename(folder.with_name("gone"))
    drift = observed("drift", "--record")
    assert drift.code == 4
    assert "unreachable" in drift.out
    folder.with_name("gone").rename(folder)
    assert f"{ALL} as seen before" in observed("drift").out


def test_plan_and_apply_read_everything(observed: Run, repository: Path, read: list[str]) -> None:
    assert observed("plan").code == 0
    assert len(read) == ALL
    assert observed("apply").code == 0
    assert len(read) == ALL


def test_drift_that_cannot_be_recorded_is_shown_all_the_same(observed: Run, repository: Path) -> None:
    subprocess.run(["git", "remote", "add", "origin", "../remote.git"], cwd=repository, check=True)
    subprocess.run(["git", "init", "-q", "--bare", "../remote.git"], cwd=repository, check=True)
    hooks = repository.parent / "remote.git/hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / "update").write_text('#!/bin/sh\n[ "$1" != refs/heads/observations ]\n')
    (hooks / "update").chmod(0o755)
    edit(repository)
    assert observed("ledger", "push").code == 0
    drift = observed("drift", "--record")
    assert drift.code == 1
    assert "voip A" in drift.out
    assert "error: cannot push the observations to origin: [remote rejected] (hook declined)" in drift.err


def test_compact_drops_the_history_of_the_observations_only(observed: Run, repository: Path, read: list[str]) -> None:
    observed("drift", "--record")
    before = observed("ledger", "log").out
    assert observed("ledger", "compact").out == (
        f"The ledger: {ALL + MAIL} scopes; 0 held something past its time, which is gone.\n"
        "The observations: 2 commits, now 1.\n"
    )
    assert observed("ledger", "log").out == before
    assert observed("drift").code == 0
    assert read == []


def test_an_emergency_is_told_each_time(observed: Run, repository: Path) -> None:
    replace(repository / YAML, "voip: {A: 192.0.2.85}", "voip: {A: 192.0.2.86}")
    assert observed("apply", "--emergency", "--reason", "ticket 4711").code == 0
    for arguments in ((), ("--record",), (), ("--full",)):
        assert "Emergency apply by" in observed("drift", *arguments).out


def test_a_forged_observation_fools_neither_full_nor_plan(observed: Run, repository: Path, read: list[str]) -> None:
    """Who may write to the branch can hide drift from other runs; a slip of the hand only makes the scope be read."""
    before, path = token(repository), "ns-1/dns/brenta.example.json"
    edit(repository)
    rewrite(repository, path, before, token(repository))
    assert observed("drift").code == 0
    assert read == []
    assert observed("drift", "--full").code == 2
    assert "1 difference from outside left alone" in observed("plan").out
    assert observed("drift", "--full", "--record").code == 2
    rewrite(repository, path, "203.0.113.66", "192.0.2.85")
    assert observed("drift").code == 2
    assert read == ["brenta.example on ns-1"]


def token(repository: Path) -> str:
    return hashlib.sha256((repository / ZONE).read_bytes()).hexdigest()[:16]


def rewrite(repository: Path, path: str, old: str, new: str) -> None:
    """By hand, on the branch."""

    def git(*arguments: str, data: str = "") -> str:
        command = ["git", "-c", "user.name=Eve", "-c", "user.email=eve@msp.example", *arguments]
        done = subprocess.run(command, cwd=repository, input=data, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    content = git("show", f"observations:{path}") + "\n"
    assert old in content
    blob = git("hash-object", "-w", "--stdin", data=content.replace(old, new))
    entries = [line for line in git("ls-tree", "-r", "observations").splitlines() if not line.endswith(f"\t{path}")]
    index = {**os.environ, "GIT_INDEX_FILE": str(repository / "by-hand")}
    said = "".join(f"{line}\n" for line in (*entries, f"100644 blob {blob}\t{path}"))
    for words in (["read-tree", "--empty"], ["update-index", "--index-info"], ["write-tree"]):
        command = ["git", *words]
        done = subprocess.run(
            command, cwd=repository, env=index, input=said, capture_output=True, text=True, check=True
        )
    git("update-ref", "refs/heads/observations", git("commit-tree", done.stdout.strip(), "-m", "by hand"))
