"""
A pull request with an edit: a branch with a commit of its own, pushed, and the one open pull request of that branch.

The branch is called after what is done, not after what comes of it: done again, the same pull request is brought up to
date. What somebody else changed there since in the same file is never written over: it is named. Work tree, index and
HEAD stay as they are. Knows the forge by its protocol alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mspctl.errors import InputError, LedgerError
from mspctl.forge import Forge, Pull
from mspctl.git.branch import Branch, Edit
from mspctl.git.command import Git
from mspctl.git.commit import Stamp
from mspctl.kinds import on_one_line

FAMILY = "mspctl"
SIGNED = "Proposed-by"  # what ends the commits made here
TRIES = 20  # branches of one name whose pull requests are closed already
LONGEST_NAME, LONGEST_TITLE = 60, 120


@dataclass(frozen=True, slots=True)
class Proposal:
    """`words` say what is done and to what; `files` are paths from the customers' repository, whole, None: gone."""

    words: Sequence[str]
    title: str
    text: str
    files: Mapping[str, str | None]
    tickets: Sequence[str] = ()
    by: Sequence[str] = ()

    @property
    def branch(self) -> str:
        said = re.sub(r"[^a-z0-9.]+", "-", "-".join(self.words).lower()).strip("-.")
        said = re.sub(r"\.\.+", ".", said)[:LONGEST_NAME].rstrip("-.")
        digest = hashlib.sha256("\0".join(self.words).encode()).hexdigest()
        return f"{FAMILY}/{said}-{digest[:6]}"

    @property
    def message(self) -> str:
        trailers = [f"Ticket: {on_one_line(each)}" for each in self.tickets] + [
            f"Asked-by: {on_one_line(e)}" for e in self.by
        ]
        parts = [on_one_line(self.title)[:LONGEST_TITLE], self.text.strip(), "\n".join(trailers)]
        return "\n\n".join(filter(None, parts)) + "\n"


@dataclass(frozen=True, slots=True)
class Proposed:
    pull: Pull
    branch: str
    opened: bool


def propose(root: Path, forge: Forge, wish: Proposal, stamp: Stamp) -> Proposed:
    """
    Push the edit on top of what is checked out, and open its pull request or bring it up to date.

    Raises LedgerError when there is no commit or no remote, or the remote does not take it, and as the forge does;
    whatever was done by then is found again by the next try.
    """
    git = Git(root)
    base = base_of(git)
    start = git.call("rev-parse", "--verify", "--quiet", "HEAD^{commit}").text.strip()
    if not start:
        raise LedgerError("nothing is committed here yet, so nothing can be proposed on top of it")
    above = git("rev-parse", "--show-prefix").strip("\n")
    files = {above + path: None if text is None else text.encode() for path, text in wish.files.items()}
    name, there = _name(forge, wish.branch)
    stamp = replace(stamp, message=signed(stamp.message))
    branch = Branch(root, name, partial(_merged, name))
    branch.sync()
    if branch.tip:
        left = _left(git, branch.tip, start, files)
        edits: dict[str, Edit] = {p: _becomes(name, p, left[p], content) for p, content in files.items()}
        branch.update(edits, lambda paths: stamp)
    else:
        branch.fork(start, files, stamp)
    branch.push()
    body = wish.message.partition("\n\n")[2]
    title = wish.message.partition("\n")[0]
    if there is None:
        return Proposed(forge.open_pull(title, body, name, base), name, opened=True)
    if (there.title, there.body) != (title, body):
        forge.edit_pull(there.number, title=title, body=body)
    return Proposed(there, name, opened=False)


def base_of(git: Git) -> str:
    """The branch that changes are merged into: the remote's own, as it was cloned, else main. Raises LedgerError."""
    remote = git.remote("the customers")
    if not remote:
        raise LedgerError("there is no remote to push a branch to (git remote add origin …)")
    head = git.call("symbolic-ref", "--quiet", "--short", f"refs/remotes/{remote}/HEAD").text.strip()
    return head.removeprefix(f"{remote}/") or "main"


def _name(forge: Forge, wanted: str) -> tuple[str, Pull | None]:
    """The branch, with its open pull request; one whose pull requests are all closed is over, and not used again."""
    for number in range(1, TRIES + 1):
        name = wanted if number == 1 else f"{wanted}-{number}"
        pulls = [pull for pull in forge.pulls_from(name) if not pull.fork]
        there = next((pull for pull in pulls if pull.open), None)
        if there or not pulls:
            return name, there
    raise InputError.at("", f"{TRIES} pull requests of {wanted} are closed (delete their branches)")


# -- what others changed on the branch ----------------------------------------------------------------------------


def signed(message: str) -> str:
    """By this trailer the next run knows which commits are its own."""
    joint = "\n" if re.search(r"(?m)\n\n(?:[\w-]+: .*\n?)+\Z", message) else "\n\n"
    return f"{message.rstrip()}{joint}{SIGNED}: {FAMILY}\n"


def _left(git: Git, tip: str, start: str, paths: Iterable[str]) -> dict[str, bytes | None]:
    """The files as the last commit of ours left them; without one, as they were where the branch began."""
    ours = f"--format=%H %(trailers:key={SIGNED},valueonly,separator=%x2c)"
    base = git.call("merge-base", start, tip).text.strip()
    said = git("log", "--first-parent", "--max-count=500", ours, f"{base}..{tip}" if base else tip).splitlines()
    mine = [commit for commit, _, by in (line.partition(" ") for line in said) if by.strip() == FAMILY]
    last = mine[0] if mine else base
    found = git.objects(f"{last}:{path}" for path in paths) if last else {}
    return {path: found.get(f"{last}:{path}") for path in paths}


def _becomes(branch: str, path: str, left: bytes | None, content: bytes | None) -> Edit:
    return lambda old: _merged(branch, path, left, content, old)


def _merged(branch: str, path: str, base: bytes | None, ours: bytes | None, theirs: bytes | None) -> bytes | None:
    """Whichever of the two is another one than before. Raises InputError when both are."""
    if ours == base:
        return theirs
    if theirs in (base, ours):
        return ours
    shown = path if path.isprintable() else repr(path)
    text = f"somebody else changed it on the branch {branch} since, and this would be written over it"
    raise InputError.at(shown, f"{text} (merge or close its pull request first, or change it there by hand)")
