"""The ledger on real Git repositories: what is recorded, who wins a race, and what is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mspctl import ledger as ledger_module
from mspctl.errors import LedgerError
from mspctl.git import branch, command
from mspctl.ledger import Ledger
from mspctl.ledger_page import Landing, Page, path_of, rendered
from mspctl.record import Finished, Record, Run
from mspctl.resource import UNKNOWN, Change, Id, Resource, Scope

ZONE = Scope("pdns-1", "zone", "brenta.example", "officine-brenta")
MAIL = Scope("mail-1", "mailboxes", "brenta.example", "officine-brenta")
RUN = Run("20270305T0900-abc", "Paolo Zen <paolo@msp.example>", "c0ffee", "#212", "5ea1")
DAY = datetime(2027, 3, 5, 9, tzinfo=UTC)


def www(value: str = "192.0.2.80", **more: Any) -> Resource:
    return Resource(Id("dns.rrset", "www A"), {"ttl": 300, "values": frozenset([value]), **more}, "dns.yaml:2")


OLD, NEW = www("192.0.2.80"), www("192.0.2.81")
WWW = OLD.id


def git(root: Path, *args: str, data: str | None = None) -> str:
    done = subprocess.run(["git", *args], cwd=root, input=data, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def apply(ledger: Ledger, before: Resource | None, after: Resource | None, run: Run = RUN, scope: Scope = ZONE) -> None:
    change = Change(before, after)
    ledger.begin(run, {scope: {change.id: after}})
    ledger.finish(run, {scope: Finished({change.id: after}, [change])})


def state(ledger: Ledger, scope: Scope = ZONE, id: Id = WWW) -> Record:
    return ledger.recorded([scope])[scope].resources[id]


def commit(root: Path, name: str) -> None:
    (root / name).write_text(name)
    git(root, "add", name)
    git(root, "-c", "user.name=A", "-c", "user.email=a@msp.example", "commit", "-qm", name)


def bare_environment(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """No identity, no configuration, and nothing of the repository whose hook may run these tests."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    config = "[init]\ndefaultBranch = main\ntemplateDir =\n[user]\nuseConfigOnly = true\n[core]\nfsync = none\n"
    (home / "gitconfig").write_text(config)


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Repositories to copy, for copying is faster than making them: a lone one, a remote and its clone."""
    plain = tmp_path_factory.mktemp("plain")
    with pytest.MonkeyPatch.context() as monkeypatch:
        bare_environment(monkeypatch, plain)
        git(plain, "init", "-q", "alone")
        commit(plain / "alone", "customer.yaml")
        commit(plain / "alone", "dns.yaml")
        git(plain, "clone", "-q", "--bare", "alone", "remote.git")
        (plain / "remote.git" / "hooks").mkdir()
        git(plain, "clone", "-q", "remote.git", "clone")
        git(plain / "clone", "remote", "set-url", "origin", "../remote.git")
        started = plain.parent / "started"
        shutil.copytree(plain, started)
        Ledger.init(started / "clone")
        shutil.copytree(plain / "alone", started / "here")
        Ledger.init(started / "here")
    return {"plain": plain, "started": started}


@pytest.fixture(autouse=True)
def world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, templates: dict[str, Path]
) -> Path:
    bare_environment(monkeypatch, tmp_path)
    started = {"ledger", "here"} & set(request.fixturenames)
    shutil.copytree(templates["started" if started else "plain"], tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def alone(world: Path) -> Path:
    """A repository without a remote."""
    return world / "alone"


@pytest.fixture
def remote(world: Path) -> Path:
    return world / "remote.git"


@pytest.fixture
def clone(world: Path) -> Path:
    return world / "clone"


@pytest.fixture
def ledger(clone: Path) -> Ledger:
    """Shared through a remote."""
    return Ledger.open(clone, now=lambda: DAY)


@pytest.fixture
def here(world: Path) -> Ledger:
    """Without a remote, which is faster."""
    return Ledger.open(world / "here", now=lambda: DAY)


def refuse_pushes(remote: Path) -> Path:
    hook = remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho the ledger is closed >&2\nexit 1\n")
    hook.chmod(0o755)
    return hook


def forge(root: Path, path: str, content: str) -> None:
    """A commit by hand on the local branch."""
    blob = git(root, "hash-object", "-w", "--stdin", data=content)
    entries = git(root, "ls-tree", "-r", "ledger")
    index = {**os.environ, "GIT_INDEX_FILE": str(root / "forged-index")}
    tree = f"{entries}\n100644 blob {blob}\t{path}\n"
    subprocess.run(["git", "update-index", "--index-info"], cwd=root, input=tree, env=index, text=True, check=True)
    written = subprocess.run(["git", "write-tree"], cwd=root, env=index, text=True, check=True, capture_output=True)
    who = ("-c", "user.name=A", "-c", "user.email=a@msp.example")
    made = git(root, *who, "commit-tree", written.stdout.strip(), "-p", "ledger", "-m", "by hand")
    git(root, "update-ref", "refs/heads/ledger", made)


# What is recorded


def test_what_was_applied_is_recorded(ledger: Ledger, clone: Path) -> None:
    apply(ledger, None, OLD)
    (scope, record), *none = Ledger.open(clone).recorded().items()
    assert not none
    assert (scope.customer, scope.engine) == ("officine-brenta", "mspctl")
    assert record.scope == scope == ZONE
    assert record.resources == {WWW: Record((OLD,))}
    assert ledger.recorded([MAIL]) == {}
    assert ledger.recorded([MAIL, ZONE]) == ledger.recorded()


def test_of_a_killed_run_both_states_count(here: Ledger) -> None:
    here.begin(RUN, {ZONE: {WWW: OLD}})
    assert state(here) == Record((None, OLD))
    here.finish(RUN, {ZONE: Finished({WWW: OLD})})
    for run, intended in (("r2", NEW), ("r3", None), ("r4", NEW), ("r5", OLD)):
        here.begin(replace(RUN, id=run), {ZONE: {WWW: intended}})
    assert state(here) == Record((OLD, NEW, None))
    here.finish(replace(RUN, id="r6"), {ZONE: Finished({WWW: NEW})})  # it read what is there
    assert state(here) == Record((NEW,))


def test_an_error_leaves_only_what_is_not_settled(here: Ledger) -> None:
    mail = Resource(Id("dns.rrset", "mail A"), {"ttl": 60})
    here.begin(RUN, {ZONE: {WWW: OLD, mail.id: mail}})
    here.finish(RUN, {ZONE: Finished({WWW: OLD}, [Change(None, OLD)], error="connection lost")})
    assert state(here) == Record((OLD,))
    assert state(here, id=mail.id) == Record((None, mail))
    here.finish(RUN, {ZONE: Finished({})})
    assert mail.id not in here.recorded()[ZONE].resources


def test_a_delete_leaves_a_tombstone_for_400_days(alone: Path) -> None:
    day = DAY
    here = Ledger.init(alone, now=lambda: day)
    apply(here, None, OLD)
    apply(here, OLD, None)
    assert state(here) == Record((None,), date(2027, 3, 5))
    day += timedelta(days=1)
    here.finish(RUN, {ZONE: Finished({WWW: None})})
    assert state(here).tombstone == date(2027, 3, 5)
    day += timedelta(days=399)
    apply(here, None, Resource(Id("dns.rrset", "a A"), {}))
    assert state(here).tombstone == date(2027, 3, 5)
    day += timedelta(days=1)
    bear_out(here)
    assert state(here).tombstone == date(2027, 3, 5)
    apply(here, None, Resource(Id("dns.rrset", "b A"), {}))
    assert WWW not in here.recorded()[ZONE].resources


def bear_out(ledger: Ledger) -> None:
    """So many runs elsewhere that the ledger believes its clock."""
    for number in range(ledger_module.WITNESSES // 2):
        other = Resource(Id("dns.rrset", f"b{number} A"), {})
        ledger.finish(replace(RUN, id=f"b{number}"), {MAIL: Finished({other.id: other}, [Change(None, other)])})


def test_a_clock_years_ahead_makes_nothing_forgotten(alone: Path) -> None:
    """Nor do several runs in a row on that machine; then the ledger goes on with the right time."""
    day = DAY
    here = Ledger.init(alone, now=lambda: day)
    approval = "dns/brenta.example until 2027-03-10: #212"
    apply(here, None, OLD)
    here.finish(RUN, {ZONE: Finished({WWW: None}, [Change(OLD, None)], used=[approval])})
    bear_out(here)
    day += timedelta(days=3000)
    for number in range(3):
        apply(here, None, Resource(Id("dns.rrset", f"a{number} A"), {}))
    assert here.compact("Paolo Zen <paolo@msp.example>") == 0
    day = DAY + timedelta(days=1)
    apply(Ledger.open(alone, now=lambda: day), None, Resource(Id("dns.rrset", "c A"), {}))
    assert state(here).tombstone == date(2027, 3, 5)
    assert here.recorded()[ZONE].used == {approval}


def test_deleted_once_more_is_a_new_tombstone(alone: Path) -> None:
    day = DAY
    here = Ledger.init(alone, now=lambda: day)
    apply(here, OLD, None)
    day += timedelta(days=9)
    apply(here, OLD, None)
    assert state(here).tombstone == date(2027, 3, 14)
    here.begin(RUN, {ZONE: {WWW: NEW}})
    assert state(here) == Record((None, NEW))


def test_outputs_are_merged_and_unknown_says_nothing(here: Ledger) -> None:
    here.finish(RUN, {MAIL: Finished({}, outputs={"dkim": "v=DKIM1", "hosts": ("a", "b")})})
    here.finish(RUN, {MAIL: Finished({}, outputs={"dkim": UNKNOWN, "selector": "s1", "later": UNKNOWN})})
    assert here.recorded()[MAIL].outputs == {"dkim": "v=DKIM1", "hosts": ("a", "b"), "selector": "s1"}


def test_nothing_new_is_no_commit(here: Ledger) -> None:
    apply(here, None, OLD)
    tip = here.tip
    here.begin(RUN, {})
    here.begin(RUN, {MAIL: {}})
    here.finish(RUN, {})
    here.finish(RUN, {MAIL: Finished({})})
    here.finish(RUN, {MAIL: Finished({WWW: None})})
    here.finish(RUN, {ZONE: Finished({WWW: replace(OLD, source="dns.yaml:99")}), MAIL: Finished({})})
    assert here.tip == tip
    here.finish(RUN, {replace(ZONE, customer="brenta-holding"): Finished({})})
    (scope,) = here.recorded()
    assert scope.customer == "brenta-holding"


def test_the_diff_of_a_file_is_an_audit_trail(here: Ledger, world: Path) -> None:
    other = Resource(Id("dns.rrset", "mail A"), {"ttl": 60}, "dns.yaml:3")
    apply(here, None, other)
    apply(here, None, OLD)
    apply(here, OLD, NEW)
    shown = git(
        world / "here", "log", "-p", "-1", "--format=%an <%ae>%n%B", "ledger", "--", "pdns-1/zone/brenta.example.json"
    )
    assert shown.startswith(
        "Paolo Zen <paolo@msp.example>\napply: 1 scope, 1 change (#212)\n\n"
        "Run: 20270305T0900-abc\nCommit: c0ffee\nPlan: 5ea1\nReason: #212\n"
    )
    line = '{"kind": "dns.rrset", "name": "www A", "fields": {"ttl": 300, "values": {"set": ["192.0.2.%d"]}}'
    assert "\n-" + line % 80 + ', "source": "dns.yaml:2"}\n' in shown
    assert "\n+" + line % 81 + ', "source": "dns.yaml:2"}\n' in shown
    assert not re.search(r"^[-+].*mail A", shown, re.MULTILINE)


def test_last_holds_enough_for_an_undo(here: Ledger, world: Path) -> None:
    apply(here, None, OLD)
    apply(here, OLD, NEW)
    page = json.loads(git(world / "here", "show", "ledger:pdns-1/zone/brenta.example.json"))
    assert page["format"] == 1
    assert page["last"]["run"] == RUN.id
    (change,) = page["last"]["changes"]
    assert (change["verb"], change["before"]["name"]) == ("update", "www A")
    assert change["before"]["fields"]["values"] == {"set": ["192.0.2.80"]}
    assert change["after"]["fields"]["values"] == {"set": ["192.0.2.81"]}
    assert "do not edit" in git(world / "here", "show", "ledger:README.md")


def test_history_tells_who_did_what(here: Ledger) -> None:
    apply(here, None, OLD, replace(RUN, id="r1"))
    here.begin(replace(RUN, id="r2"), {MAIL: {WWW: OLD}})
    ends = {
        ZONE: Finished({WWW: NEW}, [Change(OLD, NEW)]),
        MAIL: Finished({}, [Change(None, OLD), Change(NEW, None)], error="quota"),
    }
    here.finish(replace(RUN, id="r3", reason="", plan=""), ends)
    last, killed, first = here.history()
    assert (last.id, last.when, last.run) == (here.tip, DAY, "r3")
    assert (last.who, last.commit, last.reason, last.plan) == (RUN.who, "c0ffee", "", "")
    assert (first.reason, first.plan) == ("#212", "5ea1")
    assert last.scopes[ZONE].counts == {"create": 0, "update": 1, "rename": 0, "delete": 0}
    assert last.scopes[MAIL].counts == {"create": 1, "update": 0, "rename": 0, "delete": 1}
    assert last.scopes[MAIL].error == "quota"
    assert last.scopes[ZONE].changes == (Change(OLD, NEW),)
    assert killed.scopes == {MAIL: Landing((), "never finished")}
    assert [entry.run for entry in here.history(limit=1)] == ["r3"]
    assert [entry.run for entry in here.history([MAIL])] == ["r3", "r2"]
    assert here.history([Scope("t", "f", "n")]) == here.history([]) == []


# Who opens and starts it


@pytest.mark.parametrize("many", [500, 0], ids=["by name", "among all"])
def test_when_something_was_recorded_last(alone: Path, monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    monkeypatch.setattr(ledger_module, "MANY", many)
    clock = iter(DAY + timedelta(minutes=number) for number in range(100))
    ledger = Ledger.init(alone, lambda: next(clock))
    assert ledger.last([ZONE, MAIL]) == {}
    apply(ledger, None, OLD)
    apply(ledger, None, OLD, scope=MAIL)
    first = ledger.last([ZONE, MAIL])
    assert first.keys() == {ZONE, MAIL}
    ledger.begin(RUN, {ZONE: {WWW: NEW}})
    assert ledger.last([ZONE, MAIL]) == {ZONE: None, MAIL: first[MAIL]}
    ledger.finish(RUN, {ZONE: Finished({WWW: NEW}, [Change(OLD, NEW)])})
    (last,) = (each.when for each in ledger.history([ZONE], 1))
    assert ledger.last([ZONE]) == {ZONE: last}
    ledger.compact(RUN.who)
    assert ledger.last([ZONE]) == {ZONE: last}
    assert (first[ZONE] or last) < (first[MAIL] or last) < last


def test_without_a_repository(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=f"{tmp_path} is not in a Git repository; run git init"):
        Ledger.open(tmp_path)
    with pytest.raises(LedgerError, match="nowhere is not a directory"):
        Ledger.open(tmp_path / "nowhere")


def test_without_git(alone: Path) -> None:
    code = "import sys, pathlib; from mspctl.ledger import Ledger; Ledger.open(pathlib.Path(sys.argv[1]))"
    root = Path(__file__).parent.parent
    environment = {"PATH": str(alone), "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(alone)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr.endswith("LedgerError: git is not installed, or not in PATH\n")


def test_git_that_vanishes(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(alone))
    with pytest.raises(LedgerError, match="git is not installed, or not in PATH"):
        Ledger.open(alone)


def test_never_initialised(alone: Path, clone: Path) -> None:
    for root in (alone, clone):
        with pytest.raises(LedgerError, match="no ledger yet; run mspctl ledger init"):
            Ledger.open(root)


def test_init_refuses_a_second_one(ledger: Ledger, clone: Path, alone: Path, remote: Path) -> None:
    with pytest.raises(LedgerError, match="a ledger exists already here"):
        Ledger.init(clone)
    git(alone, "remote", "add", "backup", str(remote))  # the only remote, whatever its name
    with pytest.raises(LedgerError, match="a ledger exists already on backup"):
        Ledger.init(alone)
    assert Ledger.open(alone).tip == git(remote, "rev-parse", "ledger") == ledger.tip


def test_several_remotes_and_no_origin(alone: Path, remote: Path) -> None:
    git(alone, "remote", "add", "left", str(remote))
    git(alone, "remote", "add", "right", str(remote))
    with pytest.raises(LedgerError, match="none of left, right is called origin"):
        Ledger.open(alone)


def test_a_remote_that_cannot_be_fetched(ledger: Ledger, clone: Path, remote: Path) -> None:
    remote.rename(remote.with_name("moved"))
    with pytest.raises(LedgerError, match=r"cannot fetch the ledger from origin: .* does not appear to be a git repo"):
        Ledger.open(clone)


def test_credentials_are_not_told(ledger: Ledger, clone: Path) -> None:
    git(clone, "remote", "set-url", "origin", "http://paolo:hun/ter2@127.0.0.1:1/ledger.git")
    with pytest.raises(LedgerError) as caught:
        Ledger.open(clone)
    assert "hun" not in str(caught.value)
    line = "fatal: unable to access 'https://user:s3@cret@git.example/x.git/': refused"
    assert command.redacted(line) == "fatal: unable to access 'https://git.example/x.git/': refused"


def test_a_rewound_remote_is_refused(ledger: Ledger, clone: Path, remote: Path) -> None:
    first = ledger.tip
    apply(ledger, None, OLD)
    git(remote, "update-ref", "refs/heads/ledger", first)
    with pytest.raises(LedgerError, match=f"rewound or replaced: {first[:12]} does not follow {ledger.tip[:12]}"):
        Ledger.open(clone)
    ledger.begin(RUN, {MAIL: {WWW: OLD}})  # who still knows what is missing brings it back
    assert Ledger.open(clone).recorded().keys() == {ZONE, MAIL}
    git(remote, "update-ref", "-d", "refs/heads/ledger")
    with pytest.raises(LedgerError, match=f"gone from origin, which had {ledger.tip[:12]}"):
        Ledger.open(clone)


def test_a_ledger_given_up_on_purpose_can_be_started_again(ledger: Ledger, clone: Path, remote: Path) -> None:
    apply(ledger, None, OLD)
    for root in (clone, remote):
        git(root, "update-ref", "-d", "refs/heads/ledger")
    again = Ledger.init(clone)
    assert Ledger.open(clone).tip == again.tip != ledger.tip


def test_two_ledgers_with_nothing_in_common(alone: Path, remote: Path, ledger: Ledger) -> None:
    Ledger.init(alone)
    git(alone, "remote", "add", "origin", str(remote))
    with pytest.raises(LedgerError, match="the ledger here and the one on origin diverged"):
        Ledger.open(alone)


def fake_ssh(home: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    (home / "bin").mkdir()
    (home / "bin" / "ssh").write_text(f"#!/bin/sh\n{script}\n")
    (home / "bin" / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{home / 'bin'}:{os.environ['PATH']}")


def test_ssh_asks_nobody_and_says_why(
    ledger: Ledger, clone: Path, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(clone, "remote", "set-url", "origin", "ssh://git.example/ledger.git")
    fake_ssh(world, monkeypatch, 'echo "ssh: no way to git.example with $1" >&2; exit 255')
    with pytest.raises(LedgerError, match=r"from origin: ssh: no way to git.example with -oBatchMode=yes$"):
        Ledger.open(clone)
    git(clone, "config", "core.sshCommand", "ssh -4")
    with pytest.raises(LedgerError, match=r"from origin: ssh: no way to git.example with -4$"):
        Ledger.open(clone)


def test_a_network_that_swallows_everything(
    ledger: Ledger, clone: Path, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(clone, "remote", "set-url", "origin", "ssh://git.example/ledger.git")
    fake_ssh(world, monkeypatch, "exec sleep 9")
    monkeypatch.setattr(command, "PATIENCE", 0.3)
    with pytest.raises(LedgerError, match="cannot fetch the ledger from origin: no answer within 0"):
        Ledger.open(clone)


# Where it works


def fingerprint(root: Path) -> dict[str, bytes | str]:
    """Work tree, index, HEAD and everything else but objects and refs, byte for byte."""
    files = [path for path in root.rglob("*") if path.is_file() and "objects" not in path.parts]
    kept = [path for path in files if not {"refs", "ledger", "mspctl"} & set(path.parts)]
    seen: dict[str, bytes | str] = {str(path): path.read_bytes() for path in kept}
    return seen | {"HEAD": git(root, "rev-parse", "HEAD"), "main": git(root, "for-each-ref", "refs/heads/main")}


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--bare",),
        ("--mirror",),
        ("--depth=1",),
        ("--depth=1", "--no-single-branch"),
        ("--filter=blob:none", "--no-checkout"),
    ],
)
def test_any_clone_will_do_and_stays_as_it_is(
    ledger: Ledger, tmp_path: Path, remote: Path, flags: tuple[str, ...]
) -> None:
    apply(ledger, None, OLD)
    git(remote, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", *flags, f"file://{remote}", "ci")
    ci = tmp_path / "ci"
    if "--depth=1" in flags:
        git(ci, "checkout", "-q", "--detach")
        (ci / "untracked").write_text("mine")
        (ci / "dns.yaml").write_text("changed")
        git(ci, "add", "dns.yaml")
        (ci / "customer.yaml").unlink()
    before = fingerprint(ci)
    there = Ledger.open(ci)
    assert state(there) == Record((OLD,))
    apply(there, OLD, NEW)
    apply(ledger, None, www(), scope=MAIL)
    again = Ledger.open(ci)
    assert again.recorded().keys() == {ZONE, MAIL}
    assert fingerprint(ci) == before
    assert git(remote, "rev-parse", "ledger") == git(ci, "rev-parse", "ledger") == again.tip


def test_a_later_shallow_fetch_is_no_rewinding(ledger: Ledger, tmp_path: Path, remote: Path) -> None:
    ci = tmp_path / "ci"
    git(tmp_path, "clone", "-q", "--depth=1", "--no-single-branch", f"file://{remote}", "ci")
    Ledger.open(ci)
    for _ in range(3):
        apply(ledger, None, OLD)
        apply(ledger, OLD, None)
    git(ci, "fetch", "-q", "--depth=1", "origin")
    assert Ledger.open(ci).tip == ledger.tip


def test_without_a_remote(alone: Path) -> None:
    ledger = Ledger.init(alone)
    apply(ledger, None, OLD)
    assert state(Ledger.open(alone / ".")) == Record((OLD,))
    assert git(alone, "status", "--porcelain") == ""
    assert git(alone, "for-each-ref", "--format=%(refname)") == "refs/heads/ledger\nrefs/heads/main"
    with pytest.raises(LedgerError, match="there is no remote to push the ledger to"):
        ledger.push()
    git(alone, "fsck", "--strict")


def test_a_remote_that_is_added_later_gets_all(alone: Path, remote: Path) -> None:
    apply(Ledger.init(alone), None, OLD)
    git(alone, "remote", "add", "origin", str(remote))
    ledger = Ledger.open(alone)
    ledger.push()
    ledger.push()
    assert git(remote, "rev-parse", "ledger") == ledger.tip
    git(remote, "fsck", "--strict")


def test_in_a_sha256_repository(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--object-format=sha256", "new")
    ledger = Ledger.init(tmp_path / "new")
    apply(ledger, None, OLD)
    assert state(ledger) == Record((OLD,))


def test_inside_a_hook_of_another_repository(alone: Path, clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(alone / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", "nowhere")
    Ledger.init(clone)
    monkeypatch.undo()
    assert "ledger" in git(clone, "branch")
    assert "ledger" not in git(alone, "branch")


def test_hooks_of_the_user_do_not_run(clone: Path) -> None:
    (clone / ".git" / "hooks").mkdir()
    for name in ("pre-push", "reference-transaction", "post-update"):
        hook = clone / ".git" / "hooks" / name
        hook.write_text("#!/bin/sh\nexit 1\n")
        hook.chmod(0o755)
    apply(Ledger.init(clone), None, OLD)


def test_odd_people_and_reasons(clone: Path, remote: Path) -> None:
    ledger = Ledger.init(clone)
    evil = "x\ncommitter Eve <eve@x> 0 +0000\ndata 3\0<<a>>\u202e\udcff\nRun: forged\n"
    for number, who in enumerate((evil, "", "<>", "Zoë <z@x", "a <b> c <d>")):
        run = Run(f"r{number}", who, reason=f"{evil}{number}", plan="p\n\nq")
        apply(ledger, None, www(f"192.0.2.{number}", odd=evil), run, replace(ZONE, name=str(number)))
    assert [entry.run for entry in ledger.history()] == ["r4", "r3", "r2", "r1", "r0"]
    assert [entry.who for entry in ledger.history(limit=4)] == ["a <b>", "Zoë <z@x>", "unknown <>", "unknown <>"]
    assert ledger.history()[0].plan == "p q"
    git(remote, "fsck", "--strict")


HELL = [
    "",
    ".",
    "..",
    ".git",
    ".GIT",
    "git~1",
    "a/b",
    "a%2Fb",
    "a\\b",
    "A",
    "a",
    "%41",
    "-x",
    " ",
    "a.",
    "é",
    "\n",
    "\0",
    '"',
]


def test_names_from_hell(ledger: Ledger, clone: Path, remote: Path) -> None:
    hell = [Scope(*names) for name in HELL for names in ((name, "f", "n"), ("t", name, "n"), ("t", "f", name))]
    ledger.finish(RUN, {scope: Finished({WWW: OLD}) for scope in hell})
    again = Ledger.open(clone)
    assert again.recorded().keys() == set(hell)
    assert again.recorded(hell[:3]).keys() == set(hell[:3])
    assert len(again.history(hell)[0].scopes) == len(hell)
    paths = git(clone, "ls-tree", "-r", "--name-only", "ledger").splitlines()
    assert len({path.casefold() for path in paths}) == len(paths) == len(hell) + 1
    git(remote, "fsck", "--strict")


# Races, and what cannot be published


def test_nothing_is_lost_among_twenty(tmp_path: Path, ledger: Ledger, remote: Path) -> None:
    """Two share an object, four a clone, all a remote and one scope."""
    roots = [tmp_path / f"job{number}" for number in range(5)]
    for root in roots:
        git(tmp_path, "clone", "-q", str(remote), root.name)
    ledgers = [Ledger.open(root) for root in roots for _ in range(2)] * 2

    def job(number: int) -> None:
        own = Resource(Id("dns.rrset", f"h{number} A"), {"ttl": number})
        run = replace(RUN, id=f"r{number}")
        scopes = (ZONE, Scope("pdns-1", "zone", f"z{number}.example"))
        ledgers[number].finish(run, {scope: Finished({own.id: own}, [Change(None, own)]) for scope in scopes})

    with ThreadPoolExecutor(len(ledgers)) as pool:
        list(pool.map(job, range(len(ledgers))))
    done = Ledger.open(roots[0])
    assert len(done.recorded()) == 21
    assert len(done.recorded()[ZONE].resources) == 20
    assert len({entry.run for entry in done.history(limit=99)}) == len(done.history(limit=99)) == 20


def test_two_in_one_repository_without_a_remote(alone: Path) -> None:
    Ledger.init(alone)
    one, two = Ledger.open(alone), Ledger.open(alone)
    apply(one, None, OLD)
    apply(two, None, NEW, scope=MAIL)
    assert Ledger.open(alone).recorded().keys() == {ZONE, MAIL}


def test_those_who_are_always_too_late_give_up(ledger: Ledger, remote: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branch, "ATTEMPTS", 2)
    hook = refuse_pushes(remote)
    hook.rename(hook.with_name("update"))
    (remote / "hooks" / "update").write_text("#!/bin/sh\ntouch refs/heads/ledger.lock\n")
    with pytest.raises(LedgerError, match="2 attempts were not enough"):
        ledger.begin(RUN, {ZONE: {WWW: OLD}})


def test_an_intent_that_cannot_be_published_is_nowhere(ledger: Ledger, clone: Path, remote: Path) -> None:
    tip = ledger.tip
    refuse_pushes(remote)
    with pytest.raises(LedgerError, match=r"cannot push the ledger to origin: .*pre-receive hook declined"):
        ledger.begin(RUN, {ZONE: {WWW: OLD}})
    assert ledger.tip == git(clone, "rev-parse", "ledger") == tip
    assert git(clone, "for-each-ref", "refs/mspctl", "--format=%(refname)") == "refs/mspctl/ledger-seen"
    assert Ledger.open(clone).recorded() == {}


@pytest.fixture
def unpublished(ledger: Ledger, remote: Path) -> Ledger:
    """One outcome is only here: the remote refused it. Now it would take it again."""
    apply(ledger, None, OLD)
    ledger.begin(RUN, {ZONE: {WWW: NEW}})
    hook = refuse_pushes(remote)
    with pytest.raises(LedgerError, match=r"kept locally, `mspctl ledger push` sends it: cannot push .* declined"):
        ledger.finish(RUN, {ZONE: Finished({WWW: NEW}, [Change(OLD, NEW)])})
    hook.unlink()
    return ledger


def test_an_outcome_that_cannot_be_published_is_kept(unpublished: Ledger, clone: Path, remote: Path) -> None:
    opened = Ledger.open(clone)
    assert state(unpublished) == state(opened) == Record((NEW,))
    assert git(remote, "rev-parse", "ledger~0") != opened.tip
    opened.push()
    assert git(remote, "rev-parse", "ledger") == opened.tip
    assert [entry.scopes[ZONE].counts["update"] for entry in opened.history()] == [1, 0]


def test_the_next_intent_takes_it_along(unpublished: Ledger, clone: Path, remote: Path) -> None:
    unpublished.begin(replace(RUN, id="r2"), {MAIL: {WWW: OLD}})
    assert git(remote, "rev-parse", "ledger") == unpublished.tip
    assert state(Ledger.open(clone)) == Record((NEW,))


def test_a_host_that_is_down_at_the_end(ledger: Ledger, clone: Path, remote: Path) -> None:
    ledger.begin(RUN, {ZONE: {WWW: OLD}})
    remote.rename(remote.with_name("moved"))
    with pytest.raises(LedgerError, match=r"kept locally.*cannot fetch the ledger"):
        ledger.finish(RUN, {ZONE: Finished({WWW: OLD}, [Change(None, OLD)])})
    remote.with_name("moved").rename(remote)
    assert state(Ledger.open(clone)) == Record((OLD,))


def test_what_was_kept_is_replayed_on_what_others_did(
    unpublished: Ledger, clone: Path, tmp_path: Path, remote: Path
) -> None:
    git(tmp_path, "clone", "-q", str(remote), "other")
    other = Ledger.open(tmp_path / "other")
    mail = Resource(Id("dns.rrset", "mail A"), {"ttl": 60})
    apply(other, None, mail, replace(RUN, id="o1"))
    apply(other, None, mail, replace(RUN, id="o2"), MAIL)
    unpublished.push()
    done = Ledger.open(tmp_path / "other").recorded()
    assert done[ZONE].resources == {WWW: Record((NEW,)), mail.id: Record((mail,))}
    assert done[MAIL].resources == {mail.id: Record((mail,))}
    (first, *_) = unpublished.history()
    assert first.scopes[ZONE].changes == (Change(OLD, NEW),)


def test_the_same_resource_on_both_sides_has_two_states(
    unpublished: Ledger, clone: Path, tmp_path: Path, remote: Path
) -> None:
    git(tmp_path, "clone", "-q", str(remote), "other")
    other = Ledger.open(tmp_path / "other")
    other.finish(replace(RUN, id="o1"), {ZONE: Finished({WWW: www("192.0.2.99")})})
    assert state(Ledger.open(clone)) == Record((NEW, www("192.0.2.99")))


# What is not believed


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"format": 2}', r"the ledger was made by a newer mspctl \(format 2\); update this program"),
        ("{", "pdns-1/zone/brenta.example.json in the ledger is damaged: Expecting"),
        ("[" * 100_000, "damaged"),
        ("[]", 'damaged: it has no "format"'),
        ('{"format": true}', 'damaged: it has no "format"'),
        ('{"format": 1}', 'damaged: a page lacks "scope"'),
        (rendered(Page(MAIL)).decode(), "damaged: it is about another scope, mailboxes brenta.example on mail-1"),
    ],
)
def test_a_forged_file_is_refused_by_name(ledger: Ledger, clone: Path, content: str, complaint: str) -> None:
    forge(clone, path_of(ZONE), content)
    opened = Ledger.open(clone)
    with pytest.raises(LedgerError, match=complaint):
        opened.recorded()
    tip = opened.tip
    with pytest.raises(LedgerError, match=complaint):
        opened.begin(RUN, {ZONE: {WWW: OLD}})
    assert opened.tip == tip
    assert opened.recorded([MAIL]) == {}


def test_other_files_on_the_branch_are_left_alone(ledger: Ledger, clone: Path) -> None:
    forge(clone, ".observations/pdns-1/x.json", "[]")
    opened = Ledger.open(clone)
    apply(opened, None, OLD)
    assert opened.recorded().keys() == {ZONE}
    assert len(opened.history()) == 1
    assert git(clone, "show", "ledger:.observations/pdns-1/x.json") == "[]"


# Speed


def test_405_scopes_cost_few_processes(ledger: Ledger, clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [
        Resource(Id("dns.rrset", f"h{n} A"), {"ttl": 300, "values": frozenset(["192.0.2.1"])}) for n in range(12)
    ]
    ends = {Scope("pdns-1", "zone", f"z{n}.example"): Finished({r.id: r for r in records}) for n in range(405)}
    calls: list[str] = []
    call = command.Git.call

    def counted(self: command.Git, *args: str, data: str | bytes = b"") -> command.Answer:
        calls.append(args[0])
        return call(self, *args, data=data)

    monkeypatch.setattr(command.Git, "call", counted)
    ledger.finish(RUN, ends)
    assert calls == ["log", "ls-tree", "fast-import", "-c", "update-ref"]  # -c … push
    calls.clear()
    assert len(ledger.recorded()) == 405
    assert calls == ["ls-tree", "cat-file"]


def test_what_a_git_of_ours_left_when_it_was_killed_is_swept(alone: Path) -> None:
    """Killed while it dropped its draft; a lock file of another moment, or of this one, is not ours to remove."""
    Ledger.init(alone)
    drafts, packed = alone / ".git/refs/mspctl", alone / ".git/packed-refs.lock"
    drafts.mkdir(parents=True, exist_ok=True)
    ours, alive = drafts / "draft-0123456789abcdef.lock", drafts / "draft-fedcba9876543210.lock"
    for file in (ours, alive, packed):
        file.touch()
    long_ago = ours.stat().st_mtime - 60
    os.utime(ours, (long_ago, long_ago))
    Ledger.open(alone)
    assert (ours.exists(), alive.exists(), packed.exists()) == (False, True, True)
    for file in (alive, packed):
        os.utime(file, (long_ago, long_ago))
    Ledger.open(alone)
    assert (alive.exists(), packed.exists()) == (False, False)
