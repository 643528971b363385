"""`--open-pr`: a branch on a real Git server's repository, and one pull request for it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mspctl.forge.proposing import Proposal
from tests.cli.test_main_job import YAML, ZONE, replace
from tests.conftest import Run
from tests.servers.github import GitHubSimulator, simulated

NAME = "officine-brenta"
ADOPT = ("adopt", NAME, "dns/brenta.example/voip A", "--open-pr")


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHubSimulator]:
    with simulated() as simulator:
        for name, value in simulator.environment.items():
            monkeypatch.setenv(name, value)
        yield simulator


def git(root: Path, *args: str) -> str:
    who = ["-c", "user.name=Paolo", "-c", "user.email=paolo@msp.example"]
    done = subprocess.run(["git", *who, *args], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def remote(run: Run, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's remote, once everything is applied and committed."""
    place = tmp_path_factory.mktemp("remote") / "customers.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", place], check=True)
    assert run("apply", "-c", NAME, "-s", "dns").code == 0
    git(repository, "add", "customers", "inventory")
    git(repository, "commit", "--quiet", "-m", "as it is")
    git(repository, "remote", "add", "origin", str(place))
    git(repository, "push", "--quiet", "origin", "HEAD:refs/heads/main", "ledger")
    return place


def proposed(github: GitHubSimulator) -> list[tuple[int, str, str]]:
    return [(pull["number"], pull["state"], pull["head"]["ref"]) for pull in github.pulls]


def test_what_was_changed_outside_is_proposed_once_and_kept_up_to_date(
    run: Run, repository: Path, remote: Path, github: GitHubSimulator
) -> None:
    replace(repository / ZONE, "voip 3600 IN A 192.0.2.85", "voip 3600 IN A 203.0.113.5")
    before = (repository / YAML).read_text()
    done = run(*ADOPT, "--message", "The new telephones", "--ticket", "4719", "--asked-by", "maria")
    assert done.code == 0, done.err
    ((number, state, branch),) = proposed(github)
    assert (state, branch.startswith("mspctl/adopt-officine-brenta-dns-brenta.example-voip-a-")) == ("open", True)
    assert f"#{number} is opened: {branch}" in done.out
    assert (repository / YAML).read_text() == before
    assert git(repository, "status", "--porcelain", "customers") == ""
    said = git(remote, "log", "-1", "--format=%an%n%B", branch)
    assert said.endswith(
        "The new telephones\nGit takes over what is live.\n\nTicket: 4719\nAsked-by: maria\nProposed-by: mspctl"
    )
    assert "203.0.113.5" in git(remote, "show", f"{branch}:{YAML}")
    assert git(remote, "diff", "--name-only", "main", branch) == str(YAML)

    replace(repository / ZONE, "voip 3600 IN A 203.0.113.5", "voip 3600 IN A 203.0.113.6")
    for _ in range(2):
        assert f"#{number} is up to date" in run(*ADOPT, "--message", "Other telephones").out
    assert proposed(github) == [(number, "open", branch)]
    assert github.pulls[0]["body"].startswith("Other telephones")
    assert "203.0.113.6" in git(remote, "show", f"{branch}:{YAML}")
    assert git(remote, "rev-list", "--count", f"main..{branch}") == "2"

    github.pulls[0]["state"] = "closed"  # decided; the next one is another
    assert f"is opened: {branch}-2" in run(*ADOPT).out
    assert [state for _, state, _ in proposed(github)] == ["closed", "open"]


def test_what_a_colleague_changed_on_the_branch_is_not_written_over(
    run: Run, repository: Path, remote: Path, github: GitHubSimulator, tmp_path: Path
) -> None:
    replace(repository / ZONE, "voip 3600 IN A 192.0.2.85", "voip 3600 IN A 203.0.113.5")
    assert run(*ADOPT).code == 0
    ((number, _, branch),) = proposed(github)
    theirs = tmp_path / "theirs"
    git(tmp_path, "clone", "--quiet", "--branch", branch, str(remote), str(theirs))
    (theirs / YAML).write_text((theirs / YAML).read_text() + "# a colleague's words\n")
    (theirs / "README.md").write_text("theirs\n")
    git(theirs, "add", "--all")
    git(theirs, "commit", "--quiet", "-m", "a word")
    git(theirs, "push", "--quiet")
    tip = git(theirs, "rev-parse", "HEAD")

    assert f"#{number} is up to date" in run(*ADOPT).out  # nothing new: theirs stays
    assert git(remote, "rev-parse", branch) == tip
    replace(repository / ZONE, "voip 3600 IN A 203.0.113.5", "voip 3600 IN A 203.0.113.6")
    done = run(*ADOPT)
    assert done.code == 1
    assert f"{YAML}: somebody else changed it on the branch {branch} since" in done.err
    assert git(remote, "rev-parse", branch) == tip

    git(theirs, "revert", "--no-edit", "HEAD")
    (theirs / "README.md").write_text("theirs again\n")  # another file is nobody else's business
    git(theirs, "add", "--all")
    git(theirs, "commit", "--quiet", "-m", "another")
    git(theirs, "push", "--quiet")
    assert f"#{number} is up to date" in run(*ADOPT).out
    assert "203.0.113.6" in git(remote, "show", f"{branch}:{YAML}")
    assert git(remote, "show", f"{branch}:README.md") == "theirs again"


def test_when_the_forge_is_away_the_next_try_goes_on(
    run: Run, repository: Path, remote: Path, github: GitHubSimulator
) -> None:
    replace(repository / ZONE, "voip 3600 IN A 192.0.2.85", "voip 3600 IN A 203.0.113.5")
    faults = ["lost"]
    github.broken = lambda method, path: faults.pop() if method == "POST" and faults else None
    done = run(*ADOPT)
    assert done.code == 1
    assert "run this again" in done.err
    assert run(*ADOPT).code == 0
    assert len(proposed(github)) == 1


def test_an_acceptance_an_address_and_a_mailbox_are_proposed(
    run: Run, repository: Path, remote: Path, github: GitHubSimulator
) -> None:
    replace(repository / ZONE, "voip 3600 IN A 192.0.2.85", "voip 3600 IN A 203.0.113.5")
    accept = ("accept", NAME, "dns/brenta.example/voip A", "--why", "a test", "--until", "2099-01-01")
    assert run(*accept, "--open-pr").code == 0
    assert run("replace-ip", "192.0.2.85", "192.0.2.86", "-c", NAME, "--open-pr").code == 0
    assert run("mail", "add", NAME, "piero@brenta.example", "--name", "Piero", "--open-pr").code == 0
    titles = [pull["title"] for pull in github.pulls]
    assert titles == [
        f"accept {NAME} dns/brenta.example/voip A",
        f"replace-ip 192.0.2.85 192.0.2.86 {NAME}",
        f"mail add {NAME} piero@brenta.example",
    ]
    assert "a test (until 2099-01-01)" in github.pulls[0]["body"]
    files = [git(remote, "diff", "--name-only", "main", branch) for _, _, branch in proposed(github)]
    assert files == [f"customers/{NAME}/accepted.yaml", str(YAML), f"customers/{NAME}/mail.yaml"]
    assert git(repository, "status", "--porcelain", "customers", "inventory") == ""


def test_an_emergency_is_proposed_afterwards(run: Run, repository: Path, remote: Path, github: GitHubSimulator) -> None:
    replace(repository / YAML, "voip: {A: 192.0.2.85}", "voip: {A: 192.0.2.86}")
    urgent = ("apply", "--emergency", "--reason", "telephones are dead", "-c", NAME, "-s", "dns", "--yes")
    github.broken = lambda method, path: (502, {})
    done = run(*urgent, "--open-pr")
    assert done.code == 0, done.err
    assert "ledger push --open-pr" in done.err
    assert github.pulls == []
    github.broken = lambda method, path: None
    for _ in range(2):
        assert run("ledger", "push", "--open-pr").code == 0
    ((_, _, branch),) = proposed(github)
    assert branch.startswith("emergency/")
    assert github.pulls[0]["title"] == "emergency: telephones are dead"
    assert "192.0.2.86" in git(remote, "show", f"{branch}:{YAML}")
    assert run("apply", "--open-pr").code == 64


def test_without_a_remote_nothing_is_done(run: Run, repository: Path, github: GitHubSimulator) -> None:
    done = run("mail", "add", NAME, "piero@brenta.example", "--open-pr")
    assert done.code == 1
    assert "nothing is committed" in done.err or "no remote" in done.err
    assert github.pulls == []


@pytest.mark.parametrize("word", ["../../x", "a..b", "$(id)", "@{-1}", "x.lock", "ü", "-x", "a b\nc"])
def test_a_branch_is_a_name_whatever_it_is_called_after(word: str) -> None:
    name = Proposal(["adopt", word], "t", "", {}).branch
    assert subprocess.run(["git", "check-ref-format", "--branch", name], capture_output=True).returncode == 0
    assert name.startswith("mspctl/adopt")
