"""What of a repository is not committed, and how long an emergency is told."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mspctl.emergency import keep, outstanding, send, uncommitted, unsent
from mspctl.git.commit import Stamp
from mspctl.plan import ScopePlan, Step
from mspctl.record import Emergency, ScopeRecord
from mspctl.resource import Change, Scope
from tests.drivers.memory import thing

DAY = datetime(2027, 3, 28, 14, 2, tzinfo=UTC)
STAMP = Stamp("Paolo Zen <paolo@msp.example>", DAY, "emergency: it burns\n")
NORTH, SOUTH = (Scope("memory-1", "things", name, "acme") for name in ("north", "south"))
A, B = thing("a", size=10), thing("b", size=10)


def git(root: Path, *arguments: str) -> str:
    settings = ("-c", "user.name=A", "-c", "user.email=a@msp.example", "-c", "core.fsync=none")
    done = subprocess.run(["git", *settings, *arguments], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Customers in a folder of a larger repository, all committed."""
    git(tmp_path, "init", "-q", "-b", "main")
    root = tmp_path / "it/customers"
    for name in ("customers/acme/customer.yaml", "customers/acme/dns/a.example.yaml", "inventory/targets.yaml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"# {name}\n")
    (root / "customers/acme/README.md").write_text("read me\n")
    (tmp_path / "other.txt").write_text("x\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "all")
    return root


def test_what_is_committed_is_not_listed(root: Path) -> None:
    assert uncommitted(root) == {}
    (root / "customers/acme/customer.yaml").touch()
    assert uncommitted(root) == {}


def test_all_that_is_read_and_not_committed_is_listed_from_the_top_of_the_repository(root: Path) -> None:
    acme = root / "customers/acme"
    (acme / "customer.yaml").write_text("name: x\n")
    (acme / "dns/a.example.yaml").unlink()
    (acme / "dns/b.example.yaml").write_text("new: {}\n")
    (acme / "staged.yaml").write_text("staged\n")
    git(root, "add", "customers/acme/staged.yaml")
    (root.parent.parent / ".gitignore").write_text("ignored.yaml\n")
    (acme / "ignored.yaml").write_text("read all the same\n")
    assert uncommitted(root) == {
        "it/customers/customers/acme/customer.yaml": b"name: x\n",
        "it/customers/customers/acme/dns/a.example.yaml": None,
        "it/customers/customers/acme/dns/b.example.yaml": b"new: {}\n",
        "it/customers/customers/acme/staged.yaml": b"staged\n",
        "it/customers/customers/acme/ignored.yaml": b"read all the same\n",
    }


def test_what_declares_nothing_is_left_out(root: Path) -> None:
    acme = root / "customers/acme"
    (acme / "README.md").write_text("changed\n")
    (acme / "secrets.yaml").write_text("never into a branch\n")
    (acme / ".customer.yaml.swp").write_text("an editor's\n")
    (acme / ".hidden").mkdir()
    (acme / ".hidden/x.yaml").write_text("x\n")
    (acme / "link.yaml").symlink_to("/etc/passwd")
    (root.parent.parent / "other.txt").write_text("changed\n")
    assert uncommitted(root) == {}


def test_a_branch_holds_all_of_it_and_nothing_else_is_touched(root: Path) -> None:
    (root / "customers/acme/customer.yaml").write_text("name: x\n")
    (root / "customers/acme/dns/a.example.yaml").unlink()
    git(root, "add", "-A")
    before = git(root, "status", "--porcelain"), git(root, "rev-parse", "HEAD"), git(root, "write-tree")
    commit = keep(root, "emergency/r1", uncommitted(root), STAMP)
    assert (git(root, "status", "--porcelain"), git(root, "rev-parse", "HEAD"), git(root, "write-tree")) == before
    assert git(root, "rev-parse", "emergency/r1", "emergency/r1~1").split() == [commit, before[1]]
    assert git(root, "diff", "--stat", "emergency/r1") == ""


def test_where_all_is_committed_the_branch_is_what_is_checked_out(root: Path) -> None:
    assert keep(root, "emergency/r1", uncommitted(root), STAMP) == git(root, "rev-parse", "HEAD")


def test_branches_are_sent_once(root: Path, tmp_path: Path) -> None:
    keep(root, "emergency/r1", {}, STAMP)
    keep(root, "emergency/r2", {}, STAMP)
    assert (unsent(root), send(root)) == ([], [])  # there is no remote
    git(root, "init", "-q", "--bare", str(tmp_path / "remote.git"))
    git(root, "remote", "add", "origin", str(tmp_path / "remote.git"))
    assert unsent(root) == ["emergency/r1", "emergency/r2"]
    assert send(root) == ["emergency/r1", "emergency/r2"]
    assert (unsent(root), send(root)) == ([], [])
    assert git(tmp_path / "remote.git", "for-each-ref", "--format=%(refname)").splitlines() == [
        "refs/heads/emergency/r1",
        "refs/heads/emergency/r2",
    ]


# -- how long it is told --------------------------------------------------------------------------------------

URGENT = Emergency("Paolo Zen", DAY, "it burns", "emergency/r1", frozenset({A.id}))
RECORDED = {NORTH: ScopeRecord(NORTH, emergencies={"r1": URGENT}), SOUTH: ScopeRecord(SOUTH)}


@pytest.mark.parametrize(
    ("plans", "committed", "told"),
    [
        ([ScopePlan(NORTH)], True, False),
        ([ScopePlan(NORTH)], False, True),
        ([ScopePlan(NORTH, steps=[Step(Change(A, None))])], True, True),
        ([ScopePlan(NORTH, steps=[Step(Change(B, None))])], True, False),
        ([ScopePlan(NORTH, error="no answer")], True, True),
        ([ScopePlan(SOUTH)], True, True),  # Git says nothing of it at all
    ],
)
def test_it_is_told_until_git_is_known_to_say_what_it_did(plans: list[ScopePlan], committed: bool, told: bool) -> None:
    assert outstanding(RECORDED, plans, committed) == ([URGENT] if told else [])
