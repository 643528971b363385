"""The ledger on a remote behind HTTP: git's own server, one that refuses, and one that goes away in the middle."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mspctl.errors import LedgerError
from mspctl.git import command
from mspctl.ledger import Ledger
from mspctl.observations import Observations
from mspctl.record import Finished, Record, Run
from mspctl.resource import Change, Id, Resource, Scope
from tests.servers.git_http import GitHttp, serving

ZONE = Scope("ns-1", "dns", "brenta.example", "officine-brenta")
DAY = datetime(2027, 3, 5, 9, tzinfo=UTC)
RUN = Run("r1", "Paolo Zen <paolo@msp.example>")
WWW = Resource(Id("dns.rrset", "www A"), {"ttl": 300})
MAIL = Resource(Id("dns.rrset", "mail A"), {"ttl": 60})


def git(root: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def end(resource: Resource) -> Finished:
    return Finished({resource.id: resource}, [Change(None, resource)])


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """remote.git with a ledger, and a clone by path."""
    root = tmp_path_factory.mktemp("template")
    git(root, "init", "-q", "--bare", "--template=", "remote.git")
    git(root, "init", "-q", "--template=", "clone")
    git(root / "clone", "remote", "add", "origin", "../remote.git")
    Ledger.init(root / "clone")
    return root


@pytest.fixture
def server(tmp_path: Path, template: Path) -> Iterator[GitHttp]:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    with serving(tmp_path) as place:
        git(tmp_path / "clone", "remote", "set-url", "origin", f"{place.url}/remote.git")
        yield place


@pytest.fixture
def clone(tmp_path: Path, server: GitHttp) -> Path:
    return tmp_path / "clone"


@pytest.fixture
def remote(tmp_path: Path, server: GitHttp) -> Path:
    return tmp_path / "remote.git"


@pytest.fixture
def talks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """git's commands that talk to the remote."""
    heard: list[str] = []
    call = command.Git.call

    def listening(self: command.Git, *args: str, data: str | bytes = b"") -> command.Answer:
        heard.extend({*args} & {"ls-remote", "fetch", "push"})
        return call(self, *args, data=data)

    monkeypatch.setattr(command.Git, "call", listening)
    return heard


def test_it_is_written_and_read(clone: Path, remote: Path, server: GitHttp, tmp_path: Path) -> None:
    ledger = Ledger.open(clone)
    ledger.begin(RUN, {ZONE: {WWW.id: WWW}})
    ledger.finish(RUN, {ZONE: end(WWW)})
    git(tmp_path, "clone", "-q", f"{server.url}/remote.git", "other")
    assert Ledger.open(tmp_path / "other").recorded()[ZONE].resources == {WWW.id: Record((WWW,))}
    assert git(remote, "rev-parse", "ledger") == ledger.tip


def test_reading_asks_the_remote_once_and_fetches_once(
    clone: Path, server: GitHttp, talks: list[str], tmp_path: Path
) -> None:
    """Observations included."""
    git(tmp_path, "clone", "-q", f"{server.url}/remote.git", "other")
    other, observations = Ledger.open(tmp_path / "other"), Observations(tmp_path / "other")
    other.finish(RUN, {ZONE: end(WWW)})
    observations.record(RUN, [], {"scopes": 0}, DAY, None)
    for expected, requests in ((["ls-remote", "fetch"], 6), (["ls-remote"], 2)):
        talks.clear()
        server.requests.clear()
        seen = Observations(clone)
        assert Ledger.open(clone, beside=[seen.branch]).recorded().keys() == {ZONE}
        assert seen.branch.tip == observations.branch.tip
        assert talks == expected
        assert len(server.requests) <= requests  # what git makes of them


def test_an_apply_of_300_scopes_pushes_twice(clone: Path, talks: list[str]) -> None:
    ledger = Ledger.open(clone)
    scopes = [replace(ZONE, name=f"z{number}.example") for number in range(300)]
    talks.clear()
    ledger.begin(RUN, {scope: {WWW.id: WWW} for scope in scopes})
    ledger.finish(RUN, {scope: end(WWW) for scope in scopes})
    assert talks == ["push", "push"]


def test_a_remote_that_may_only_be_read(clone: Path, remote: Path, server: GitHttp) -> None:
    server.read_only = True
    ledger = Ledger.open(clone)
    with pytest.raises(LedgerError, match=r"cannot push the ledger to origin: .*403"):
        ledger.begin(RUN, {ZONE: {WWW.id: WWW}})
    assert Ledger.open(clone).recorded() == {}
    seen = Observations(clone)
    with pytest.raises(LedgerError, match=r"cannot push the observations to origin: .*403"):
        seen.record(RUN, [], {"scopes": 0}, DAY, None)


@pytest.mark.parametrize("login", ["", "ci:hunter22@", "ci@"])
def test_a_password_that_is_wrong_or_missing(clone: Path, server: GitHttp, login: str) -> None:
    """Nobody is asked, and the address is told without what it carries."""
    server.password = "correct horse"
    git(clone, "remote", "set-url", "origin", f"{server.url.replace('//', f'//{login}')}/remote.git")
    with pytest.raises(LedgerError, match="cannot fetch the ledger from origin: ") as caught:
        Ledger.open(clone)
    assert "hunter22" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert server.requests == []


def test_the_right_password(clone: Path, server: GitHttp) -> None:
    server.password = "correct"
    git(clone, "remote", "set-url", "origin", f"{server.url.replace('//', '//ci:correct@')}/remote.git")
    Ledger.open(clone).finish(RUN, {ZONE: end(WWW)})
    assert Ledger.open(clone).recorded().keys() == {ZONE}


@pytest.mark.parametrize("request_", ["GET git-upload-pack", "POST git-upload-pack"])
def test_a_server_that_goes_away_while_the_ledger_is_fetched(clone: Path, server: GitHttp, request_: str) -> None:
    tip = git(clone, "rev-parse", "ledger")
    server.breaks = lambda said: "before" if said == request_ else ""
    with pytest.raises(LedgerError, match="cannot fetch the ledger from origin: "):
        Ledger.open(clone)
    server.breaks = lambda said: ""
    assert Ledger.open(clone).tip == tip


def gone(server: GitHttp, moment: str) -> None:
    """The server goes away with the next push, `before` or `after` that is carried out."""
    seen: list[str] = []

    def breaks(request: str) -> str:
        seen.extend([request] if request == "POST git-receive-pack" else [])
        return (moment if request == seen[-1] else "before") if seen else ""

    server.breaks = breaks


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_server_that_goes_away_while_an_intent_is_pushed(
    clone: Path, remote: Path, server: GitHttp, moment: str
) -> None:
    """Nothing is written to a target; if the intent arrived all the same, both states count as ours."""
    ledger = Ledger.open(clone)
    gone(server, moment)
    with pytest.raises(LedgerError, match="cannot fetch the ledger from origin: "):
        ledger.begin(RUN, {ZONE: {WWW.id: WWW}})
    server.breaks = lambda said: ""
    again = Ledger.open(clone)
    assert again.tip == git(remote, "rev-parse", "ledger")
    expected = {ZONE: {WWW.id: Record((None, WWW))}} if moment == "after" else {}
    assert {scope: record.resources for scope, record in again.recorded().items()} == expected
    again.finish(replace(RUN, id="r2"), {ZONE: end(WWW)})
    assert again.recorded()[ZONE].resources == {WWW.id: Record((WWW,))}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_server_that_goes_away_while_an_outcome_is_pushed(
    clone: Path, remote: Path, server: GitHttp, moment: str
) -> None:
    """It is kept here; the next run finds it there already, or brings it, and nothing is there twice or in doubt."""
    ledger = Ledger.open(clone)
    ledger.begin(RUN, {ZONE: {WWW.id: WWW, MAIL.id: MAIL}})
    gone(server, moment)
    with pytest.raises(LedgerError, match="the outcome is kept locally"):
        ledger.finish(RUN, {ZONE: Finished({WWW.id: WWW, MAIL.id: MAIL}, [Change(None, WWW), Change(None, MAIL)])})
    server.breaks = lambda said: ""
    again = Ledger.open(clone)
    again.push()
    assert git(remote, "rev-parse", "ledger") == again.tip
    assert again.recorded()[ZONE].resources == {WWW.id: Record((WWW,)), MAIL.id: Record((MAIL,))}
    (entry,) = again.history()
    assert [change.id for change in entry.scopes[ZONE].changes] == [WWW.id, MAIL.id]


def test_an_answer_that_is_lost_on_the_way(clone: Path, remote: Path, server: GitHttp) -> None:
    """The server is still there, so what it did is seen, and not done again."""
    ledger = Ledger.open(clone)
    server.breaks = lambda said: "after" if said == "POST git-receive-pack" else ""
    ledger.begin(RUN, {ZONE: {WWW.id: WWW}})
    ledger.finish(RUN, {ZONE: end(WWW)})
    assert git(remote, "rev-parse", "ledger") == ledger.tip
    assert git(remote, "rev-list", "--count", "ledger") == "3"
    assert ledger.recorded()[ZONE].resources == {WWW.id: Record((WWW,))}
