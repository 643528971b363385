"""Issues of drift and of what did not land, from the commands to (a simulator of) GitHub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_main_job import YAML, ZONE, replace
from tests.conftest import Run
from tests.servers.github import GitHubSimulator, simulated

NAME = "officine-brenta"
DNS = ["-c", NAME, "-s", "dns"]


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHubSimulator]:
    with simulated() as simulator:
        for name, value in simulator.environment.items():
            monkeypatch.setenv(name, value)
        yield simulator


def drift(run: Run) -> str:
    assert run("drift", *DNS, "--report", "drift.json", "--exit-zero").code == 0
    said = run("issue", "drift.json")
    assert said.code == 0, said.err
    return said.out


def test_a_hand_edit_opens_an_issue_news_are_told_once_and_its_end_closes_it(
    run: Run, repository: Path, github: GitHubSimulator
) -> None:
    run("apply", *DNS)
    assert drift(run) == ""
    replace(repository / ZONE, "voip 3600 IN A 192.0.2.85", "voip 3600 IN A 203.0.113.5")
    drift(run)
    (number,) = github.issues
    body = github.issues[number]["body"]
    assert "voip A" in body
    assert "mspctl apply --revert" in body
    assert "mspctl adopt" in body
    assert {label["name"] for label in github.issues[number]["labels"]} == {"mspctl", "drift"}
    told = len(github.bodies(number))
    drift(run)
    drift(run)
    assert len(github.bodies(number)) == told  # silent: nothing is new
    replace(repository / ZONE, "magazzino 3600 IN A 198.51.100.20", "magazzino 3600 IN A 203.0.113.6")
    drift(run)
    assert len(github.bodies(number)) == told + 1
    assert "magazzino A" in github.bodies(number)[-1]
    assert "voip" not in github.bodies(number)[-1]
    run("apply", "--revert", *DNS)
    assert drift(run) == f"#{number} is closed: drift {NAME}\n"
    assert github.issues[number]["state"] == "closed"
    assert drift(run) == ""


def test_what_is_accepted_is_over_until_it_runs_out(run: Run, repository: Path, github: GitHubSimulator) -> None:
    run("apply", *DNS)
    replace(repository / ZONE, "voip 3600 IN A 192.0.2.85", "voip 3600 IN A 203.0.113.5")
    drift(run)
    (number,) = github.issues
    assert "voip A" in github.issues[number]["body"]
    run("accept", NAME, "dns/brenta.example/voip A", "--why", "test", "--until", "2099-01-01")
    drift(run)
    assert github.issues[number]["state"] == "closed"
    accepted = repository / "customers" / NAME / "accepted.yaml"
    accepted.write_text(accepted.read_text().replace("2099-01-01", "2020-01-01"))
    drift(run)
    newest = github.issues[max(github.issues)]
    assert newest["state"] == "open"
    assert "changed outside" in newest["title"]


def test_a_target_without_an_answer_neither_opens_nor_closes(
    run: Run, repository: Path, github: GitHubSimulator
) -> None:
    run("apply", *DNS)
    replace(repository / ZONE, "voip 3600 IN A 192.0.2.85", "voip 3600 IN A 203.0.113.5")
    drift(run)
    (number,) = github.issues
    folder = repository / Path(ZONE).parent
    folder.rename(folder.with_name("away"))
    drift(run)
    assert github.issues[number]["state"] == "open"


def test_what_did_not_land_is_an_issue_until_it_did(run: Run, repository: Path, github: GitHubSimulator) -> None:
    folder = repository / Path(ZONE).parent
    folder.rename(folder.with_name("away"))
    assert run("apply", *DNS, "--report", "apply.json").code != 0
    assert run("issue", "apply.json", "--about", "#212").code == 0
    (number,) = github.issues
    assert github.issues[number]["title"] == "Not everything of #212 was applied"
    assert "To finish" in github.issues[number]["body"]
    folder.with_name("away").rename(folder)
    assert run("apply", *DNS, "--report", "apply.json").code == 0
    assert run("issue", "apply.json", "--about", "#212").out == f"#{number} is closed: apply #212\n"
    assert github.issues[number]["state"] == "closed"
    assert run("issue", "apply.json", "--about", "#212").out == ""


def test_a_plan_makes_no_issue(run: Run, repository: Path) -> None:
    run("plan", *DNS, "--report", "plan.json")
    assert run("issue", "plan.json").code == 64
    replace(repository / YAML, "voip: {A: 192.0.2.85}", "voip: {A: 192.0.2.86}")
    run("drift", *DNS, "--report", "drift.json")
    assert run("issue", "drift.json", "--about", "#1").code == 64
    shown = run("issue", "drift.json", "-n")
    assert shown.code == 0
    assert f"# Drift: {NAME}" in shown.out
