"""`apply --emergency` through the command line: with the remote and without, and how long it is told."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mspctl.cli import workspace
from mspctl.locks import Locks
from mspctl.record import Run as LockRun
from tests.cli.test_main_job import YAML, ZONE, replace
from tests.conftest import Run, Said

FOLDER = "customers/officine-brenta"
VOIP = "voip: {A: 192.0.2.85}"
WHY = "the telephone system moved, ticket 4711"
RUN_ID = "20270328T140200Z-abcdef"
BRANCH = f"emergency/{RUN_ID}"


def git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commit(root: Path, message: str = "change") -> str:
    git(root, "add", "customers", "inventory", ".gitignore")
    git(root, "commit", "-qm", message)
    return git(root, "rev-parse", "HEAD")


@pytest.fixture
def repository(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """On the branch main, with everything committed and a remote that has it."""
    for key, value in (("user.name", "Paolo Zen"), ("user.email", "paolo@msp.example"), ("core.fsync", "none")):
        git(repository, "config", key, value)
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL"):
        monkeypatch.delenv(name, raising=False)
    git(repository, "checkout", "-q", "-b", "main")
    (repository / ".gitignore").write_text("/scratch\n/remote.git\n/away.git\n")
    commit(repository, "three customers")
    git(repository, "init", "-q", "--bare", "remote.git")
    git(repository, "remote", "add", "origin", "./remote.git")
    git(repository, "push", "-q", "origin", "main")
    monkeypatch.setattr(workspace, "RUN_ID", RUN_ID)
    monkeypatch.setattr(workspace, "now", lambda: datetime(2027, 3, 28, 14, 2, tzinfo=UTC))
    return repository


@pytest.fixture
def applied(run: Run, repository: Path) -> Path:
    assert run("apply").code == 0
    return repository


def away(root: Path) -> None:
    """Nobody reaches the remote."""
    (root / "remote.git").rename(root / "away.git")


def back(root: Path) -> None:
    (root / "away.git").rename(root / "remote.git")


def urgent(run: Run, *arguments: str) -> Said:
    return run("apply", "--emergency", "--reason", WHY, *arguments)


def told(said: Said) -> list[str]:
    """What a report begins with."""
    lines = said.out.splitlines()
    count = next(n for n, line in enumerate(lines) if not line.startswith("! "))
    return lines[:count]


def alarm(changes: str = "1 change") -> str:
    return f"! Emergency apply by Paolo Zen on 2027-03-28 14:02 UTC: {WHY}; {changes}; not yet in Git's main: {BRANCH}"


# -- what is kept ---------------------------------------------------------------------------------------------


def test_what_is_applied_is_kept_on_a_branch_of_its_own(run: Run, applied: Path) -> None:
    replace(applied / YAML, VOIP, "voip: {A: 192.0.2.86}")
    (applied / FOLDER / "dns/0.20.10.in-addr.arpa.yaml").write_text(
        "apex: {CAA: '0 issue \";\"'}\n1: {PTR: gw.x.example.}\n"
    )
    (applied / FOLDER / "secrets.yaml").write_text("not for Git\n")
    before = git(applied, "status", "--porcelain")
    head = git(applied, "rev-parse", "HEAD")
    done = urgent(run, "dns/brenta.example")
    assert done.code == 0
    assert "voip 3600 IN A 192.0.2.86" in (applied / ZONE).read_text()
    assert (git(applied, "status", "--porcelain"), git(applied, "rev-parse", "HEAD")) == (before, head)
    assert git(applied, "diff", "--name-only", "main", BRANCH).splitlines() == [
        f"{FOLDER}/dns/0.20.10.in-addr.arpa.yaml",
        YAML,
    ]
    assert git(applied, "show", f"{BRANCH}:{YAML}") + "\n" == (applied / YAML).read_text()
    assert (
        git(applied, "log", "-1", "--format=%an <%ae> %s", BRANCH) == f"Paolo Zen <paolo@msp.example> emergency: {WHY}"
    )
    assert git(applied / "remote.git", "rev-parse", BRANCH) == git(applied, "rev-parse", BRANCH)
    assert f"pushed: {BRANCH}" in done.err


def test_the_ledger_says_that_it_was_an_emergency_and_what_was_applied(run: Run, applied: Path) -> None:
    replace(applied / YAML, VOIP, "voip: {A: 192.0.2.86}")
    urgent(run)
    assert f"Paolo Zen · emergency · {WHY} · ~1 in dns brenta.example on ns-1" in run("ledger", "log").out
    message = git(applied, "log", "-1", "--format=%B", "ledger")
    assert f"Emergency: {BRANCH}" in message
    assert f"Commit: {git(applied, 'rev-parse', BRANCH)}" in message
    page = json.loads(git(applied, "show", "ledger:ns-1/dns/brenta.example.json"))
    (kept,) = page["emergencies"].values()
    assert (kept["who"], kept["reason"], kept["branch"]) == ("Paolo Zen <paolo@msp.example>", WHY, BRANCH)
    assert kept["resources"] == [{"kind": "dns.rrset", "name": "voip A"}]


def test_when_nothing_is_due_there_is_nothing_to_keep(run: Run, applied: Path) -> None:
    done = urgent(run)
    assert (done.code, done.out.splitlines()[-1]) == (0, "Nothing was changed. Nothing is pending.")
    assert git(applied, "branch", "--list", "emergency/*") == ""
    assert told(run("plan")) == []


def test_a_tree_without_any_commit_is_kept_whole(run: Run, repository: Path) -> None:
    git(repository, "checkout", "-q", "--orphan", "new")
    assert urgent(run).code == 0
    kept = set(git(repository, "ls-tree", "-r", "--name-only", BRANCH).splitlines())
    assert {YAML, "inventory/targets.yaml", f"{FOLDER}/customer.yaml"} <= kept


def test_guards_and_locks_are_as_ever(run: Run, applied: Path) -> None:
    replace(applied / YAML, "  MX: 10 mail.brenta.example.\n", "")
    assert urgent(run).code == 3
    assert "10 mail.brenta.example." in (applied / ZONE).read_text()
    replace(applied / YAML, VOIP, "voip: {A: 192.0.2.86}")
    other = LockRun("other-run", "Maria Rossi <maria@msp.example>")
    with Locks(applied).hold(["ns-1/dns/brenta.example"], other):
        refused = urgent(run, "--wait", "0")
        assert refused.code == 1
        assert "Maria Rossi" in refused.err
    assert "voip 3600 IN A 192.0.2.85" in (applied / ZONE).read_text()


def test_an_emergency_waits_for_no_window_and_says_so(run: Run, applied: Path) -> None:
    replace(applied / "inventory/targets.yaml", "  ns-1:\n", '  ns-1:\n    window: "sun 05:00-06:00"\n')
    replace(applied / YAML, VOIP, "voip: {A: 192.0.2.86}")
    assert run("apply").code == 3
    done = urgent(run)
    assert done.code == 0
    assert "EMERGENCY not waited for: window opens Sun 4 Apr 05:00 (Europe/Rome)" in done.err
    assert "voip 3600 IN A 192.0.2.86" in (applied / ZONE).read_text()


# -- without the remote ---------------------------------------------------------------------------------------


def test_without_the_remote_only_an_emergency_goes_on(run: Run, applied: Path) -> None:
    replace(applied / YAML, VOIP, "voip: {A: 192.0.2.86}")
    away(applied)
    refused = run("apply")
    assert refused.code == 1
    assert "cannot fetch the ledger from origin" in refused.err
    done = urgent(run)
    assert done.code == 0
    assert "EMERGENCY without the remote: cannot fetch the ledger from origin" in done.err
    assert "EMERGENCY the locks are on this machine only: NOBODY ELSE is kept from writing" in done.err
    assert "when the remote is back: mspctl ledger push" in done.err
    assert "voip 3600 IN A 192.0.2.86" in (applied / ZONE).read_text()
    assert git(applied, "for-each-ref", "refs/mspctl/locks") == ""
    assert f"\n{alarm()}\nAPPLY 9 scopes looked at" in done.out
    back(applied)
    assert git(applied / "remote.git", "for-each-ref", "--format=%(refname)", "refs/heads/emergency") == ""
    pushed = run("ledger", "push")
    assert pushed.code == 0
    assert f"The branch {BRANCH} is pushed; merge it." in pushed.out
    for ref in (BRANCH, "ledger"):
        assert git(applied / "remote.git", "rev-parse", ref) == git(applied, "rev-parse", ref)


def test_what_others_did_meanwhile_and_the_emergency_both_stay(run: Run, applied: Path) -> None:
    """The ledger of the laptop is brought up to the remote's, and nothing of either is lost."""
    shutil.copytree(applied / "remote.git", applied.parent / "elsewhere.git")
    clone = applied.parent / "clone"
    git(applied.parent, "clone", "-q", "-b", "main", str(applied.parent / "elsewhere.git"), str(clone))
    (clone / "scratch").symlink_to(applied / "scratch")
    away(applied)
    replace(applied / YAML, VOIP, "voip: {A: 192.0.2.86}")
    assert urgent(run, "-c", "officine-brenta").code == 0
    sala = "customers/studio-dentistico-sala/dns/sala-dentista.example.yaml"
    replace(clone / sala, "203.0.113.10", "203.0.113.11")
    assert run("-C", str(clone), "apply", "-c", "studio-dentistico-sala", "--reason", "#7").code == 0
    git(applied, "remote", "set-url", "origin", str(applied.parent / "elsewhere.git"))
    assert run("ledger", "push").code == 0
    log = run("ledger", "log").out
    assert "#7" in log
    assert WHY in log
    (line,) = told(run("-C", str(clone), "plan"))
    assert line == alarm()


def test_a_normal_apply_sends_the_branch_too(run: Run, applied: Path) -> None:
    replace(applied / YAML, VOIP, "voip: {A: 192.0.2.86}")
    away(applied)
    assert urgent(run).code == 0
    back(applied)
    applied_later = run("apply")
    assert f"pushed: {BRANCH}" in applied_later.err
    assert git(applied / "remote.git", "rev-parse", BRANCH)
    git(applied / "remote.git", "update-ref", "-d", f"refs/heads/{BRANCH}")  # merged, and deleted there
    assert "pushed" not in run("apply").err
    assert git(applied / "remote.git", "for-each-ref", "refs/heads/emergency") == ""


def test_a_remote_that_takes_no_locks_is_done_without(run: Run, applied: Path) -> None:
    hook = applied / "remote.git/hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho read only >&2\nexit 1\n")
    hook.chmod(0o755)
    replace(applied / YAML, VOIP, "voip: {A: 192.0.2.86}")
    assert run("apply").code == 1
    done = urgent(run)
    assert done.code == 0
    assert "EMERGENCY without the remote: cannot lock on origin" in done.err
    assert "voip 3600 IN A 192.0.2.86" in (applied / ZONE).read_text()


def test_a_ledger_that_was_rewound_is_no_remote_that_is_away(run: Run, applied: Path) -> None:
    replace(applied / YAML, VOIP, "voip: {A: 192.0.2.86}")
    git(applied / "remote.git", "update-ref", "refs/heads/ledger", "refs/heads/ledger~1")
    refused = urgent(run)
    assert refused.code == 1
    assert "was rewound or replaced" in refused.err
    assert "voip 3600 IN A 192.0.2.85" in (applied / ZONE).read_text()


def test_without_a_copy_of_the_ledger_there_is_no_emergency_apply(run: Run, applied: Path) -> None:
    git(applied, "update-ref", "-d", "refs/heads/ledger")
    away(applied)
    replace(applied / YAML, VOIP, "voip: {A: 192.0.2.86}")
    refused = urgent(run)
    assert refused.code == 1
    assert "the ledger was never fetched here" in refused.err


# -- how long it is told --------------------------------------------------------------------------------------


def test_every_report_begins_with_it_until_git_declares_it(run: Run, applied: Path) -> None:
    replace(applied / YAML, VOIP, "voip: {A: 192.0.2.86}")
    replace(applied / "customers/studio-dentistico-sala/dns/sala-dentista.example.yaml", "203.0.113.10", "203.0.113.11")
    assert urgent(run).code == 0
    for command in (("plan",), ("drift",), ("apply",)):
        assert told(run(*command)) == [alarm("2 changes")]  # declared here, and not committed
    markdown = run("plan", "-o", "markdown").out
    assert markdown.startswith("**Emergency apply by Paolo Zen on ")
    assert BRANCH in markdown.splitlines()[0]
    assert '<p class="alarm">Emergency apply by Paolo Zen on ' in run("plan", "-o", "html").out
    (kept,) = json.loads(run("drift", "-o", "json").out)["emergencies"]
    assert (kept["reason"], kept["branch"], kept["changes"]) == (WHY, BRANCH, 2)
    assert told(run("plan", "-c", "studio-legale-ferri")) == []
    git(applied, "stash", "-q")
    assert told(run("plan")) == [alarm("2 changes")]
    git(applied, "merge", "-q", BRANCH)
    assert told(run("plan")) == told(run("drift")) == []


def test_a_normal_apply_of_what_is_committed_ends_it(run: Run, applied: Path) -> None:
    replace(applied / YAML, VOIP, "voip: {A: 192.0.2.86}")
    assert urgent(run).code == 0
    assert run("apply").code == 0  # of a tree that is not committed: it says nothing
    assert "emergencies" in git(applied, "show", "ledger:ns-1/dns/brenta.example.json")
    commit(applied)
    ended = run("apply")
    assert (ended.code, told(ended)) == (0, [])
    assert "emergencies" not in git(applied, "show", "ledger:ns-1/dns/brenta.example.json")
    replace(applied / YAML, "voip: {A: 192.0.2.86}", "voip: {A: 192.0.2.87}")
    assert told(run("plan")) == []  # what comes later is everyday work


def test_a_merge_that_does_not_know_of_it_does_not_undo_it(run: Run, applied: Path) -> None:
    replace(applied / YAML, VOIP, "voip: {A: 192.0.2.86}")
    assert urgent(run).code == 0
    git(applied, "checkout", "-q", "--", ".")
    replace(applied / YAML, "magazzino: {A: 198.51.100.20}", "magazzino: {A: 198.51.100.99}")
    commit(applied, "another pull request")
    planned = run("plan")
    assert told(planned) == [alarm()]
    said = f"changes 192.0.2.86 → 192.0.2.85: an emergency apply left it so (merge {BRANCH} first)"
    assert f"! needs approval  voip A       {said}" in planned.out
    assert run("apply").code == 3
    zone = (applied / ZONE).read_text()
    assert "voip 3600 IN A 192.0.2.86" in zone
    assert "magazzino 3600 IN A 198.51.100.99" in zone


def test_drift_of_what_it_left_is_mended_as_ever(run: Run, applied: Path) -> None:
    replace(applied / YAML, VOIP, "voip: {A: 192.0.2.86}")
    assert urgent(run).code == 0
    commit(applied)
    replace(applied / ZONE, "voip 3600 IN A 192.0.2.86", "voip 3600 IN A 203.0.113.66")
    assert run("apply", "--revert").code == 0
    assert "voip 3600 IN A 192.0.2.86" in (applied / ZONE).read_text()


def test_it_can_be_undone_by_name_and_is_over_then(run: Run, applied: Path) -> None:
    replace(applied / YAML, VOIP, "voip: {A: 192.0.2.86}")
    assert urgent(run).code == 0
    git(applied, "checkout", "-q", "--", ".")
    approval = "approvals:\n  - {resource: 'dns/brenta.example/voip A', why: it was wrong, until: 2027-03-28}\n"
    (applied / FOLDER / "approvals.yaml").write_text(approval)
    commit(applied)
    undone = run("apply")
    assert undone.code == 0
    assert "[approved: it was wrong]" in undone.out
    assert "voip 3600 IN A 192.0.2.85" in (applied / ZONE).read_text()
    assert told(run("plan")) == []


def test_a_second_emergency_may_change_what_the_first_one_left(
    run: Run, applied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(applied / YAML, VOIP, "voip: {A: 192.0.2.86}")
    assert urgent(run).code == 0
    monkeypatch.setattr(workspace, "RUN_ID", "20270328T150200Z-fedcba")
    replace(applied / YAML, "voip: {A: 192.0.2.86}", "voip: {A: 192.0.2.87}")
    done = urgent(run)
    assert done.code == 0
    assert "voip 3600 IN A 192.0.2.87" in (applied / ZONE).read_text()
    assert len(told(run("plan"))) == 2
    commit(applied)
    assert run("apply").code == 0
    assert told(run("plan")) == []


def test_an_unreachable_target_keeps_it_told(run: Run, applied: Path) -> None:
    replace(applied / YAML, VOIP, "voip: {A: 192.0.2.86}")
    assert urgent(run).code == 0
    commit(applied)
    (applied / "scratch/ns-1").rename(applied / "scratch/gone")
    assert told(run("plan")) == [alarm()]
    (applied / "scratch/gone").rename(applied / "scratch/ns-1")
    assert told(run("plan")) == []
