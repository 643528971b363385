"""
An apply without CI, from a laptop, perhaps without the remote: what it applied can be found again, and is told.

The YAML that it applied is kept on a branch of its own, `emergency/<run>`: what is checked out, with everything that is
not committed. Neither the work tree nor the index is touched. The branch goes to the remote as soon as there is one.
Reports begin with the emergency until Git, committed, says nothing otherwise of what it changed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from mspctl.errors import LedgerError
from mspctl.git.branch import Branch
from mspctl.git.command import Git
from mspctl.git.commit import Stamp
from mspctl.plan import ScopePlan
from mspctl.record import Emergency, ScopeRecord
from mspctl.resource import Scope

FOLDERS = ("customers", "inventory")
LEFT_OUT = frozenset({"README.md", "secrets.yaml", "hand-over.yaml"})  # not read as YAML that declares something
FAMILY = "emergency"
HEADS, SENT = "refs/heads/", "refs/mspctl/"  # a branch that was sent has a ref beside it, see git/branch.py

Files = Mapping[str, bytes | None]  # path from the top of the repository → content; None: no longer there


def outstanding(recorded: Mapping[Scope, ScopeRecord], plans: Iterable[ScopePlan], committed: bool) -> list[Emergency]:
    """Emergencies, scope by scope, of which Git as it is planned and committed does not say what they did. Pure."""
    known = {plan.scope: plan for plan in plans if not plan.error}
    return [
        emergency
        for scope, record in recorded.items()
        for emergency in record.emergencies.values()
        if not committed or scope not in known or emergency.ids & known[scope].ahead
    ]


# -- what is not committed ------------------------------------------------------------------------------------


def uncommitted(root: Path) -> dict[str, bytes | None]:
    """All that is declared below `root` otherwise than in the commit that is checked out."""
    git = Git(root)
    top = git("rev-parse", "--show-prefix").strip()
    there = [*_read(root)]
    # git reads these names from the top of its work tree, wherever it is started.
    ids = git("hash-object", "-w", "--stdin-paths", data="".join(f"{top}{path}\n" for path in there)).split()
    held, committed = dict(zip(there, ids, strict=True)), _committed(git)
    changed = {path: id_ for path, id_ in held.items() if committed.get(path) != id_}
    contents = git.objects(changed.values())
    gone = committed.keys() - held.keys()
    return {top + path: contents[id_] for path, id_ in changed.items()} | {top + path: None for path in gone}


def _read(root: Path) -> Iterator[str]:
    for name in FOLDERS:
        for folder, below, files in os.walk(root / name):
            below[:] = [each for each in below if _counts(each)]
            for file in files:
                path = Path(folder, file)
                if _counts(file) and stat.S_ISREG(path.lstat().st_mode):
                    yield path.relative_to(root).as_posix()


def _committed(git: Git) -> dict[str, str]:
    """Path → blob, of what is checked out."""
    if not head(git):
        return {}
    entries = git("ls-tree", "-r", "-z", "HEAD", "--", *FOLDERS).split("\0")[:-1]
    found = {path: about.split(" ") for about, _, path in (entry.partition("\t") for entry in entries)}
    return {
        path: blob
        for path, (mode, _, blob) in found.items()
        if mode.startswith("100") and all(map(_counts, path.split("/")))
    }


def _counts(name: str) -> bool:
    return not name.startswith(".") and name not in LEFT_OUT


def head(git: Git) -> str:
    """The commit that is checked out, or "" before the first one."""
    return git.call("rev-parse", "--verify", "--quiet", "HEAD^{commit}").text.strip()


# -- branches -------------------------------------------------------------------------------------------------


def branch_of(run: str) -> str:
    return f"{FAMILY}/{run}"


def keep(root: Path, name: str, files: Files, stamp: Stamp) -> str:
    """A branch with what is checked out and `files` on top of it, here; returns its commit."""
    branch = _branch(root, name)
    branch.fork(head(Git(root)), files, stamp)
    return branch.tip


def send(root: Path) -> list[str]:
    """Bring branches that are only here to the remote; returns their names. Raises RemoteError."""
    names = unsent(root)
    for name in names:
        _branch(root, name).push()
    return names


def unsent(root: Path) -> list[str]:
    """Branches of emergencies that the remote, where there is one, never had."""
    git = Git(root)
    refs = {*git("for-each-ref", "--format=%(refname)", f"{HEADS}{FAMILY}", f"{SENT}{FAMILY}").split()}
    names = sorted(ref.removeprefix(HEADS) for ref in refs if ref.startswith(HEADS))
    left = [name for name in names if f"{SENT}{name}-seen" not in refs]
    return left if left and git.remote("the branches of emergencies") else []


def sent(root: Path) -> list[str]:
    """Branches of emergencies that the remote has had, and that are still here."""
    git = Git(root)
    refs = {*git("for-each-ref", "--format=%(refname)", f"{HEADS}{FAMILY}", f"{SENT}{FAMILY}").split()}
    names = sorted(ref.removeprefix(HEADS) for ref in refs if ref.startswith(HEADS))
    return [name for name in names if f"{SENT}{name}-seen" in refs]


def _branch(root: Path, name: str) -> Branch:
    return Branch(root, name, _ours)


def _ours(path: str, base: bytes | None, ours: bytes | None, theirs: bytes | None) -> bytes | None:
    raise LedgerError(f"{path} was changed on the branch of an emergency, here and on the remote")
