"""A branch for what could be made again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mspctl.git.branch import MOVED, Branch
from mspctl.git.commit import Stamp, ident, message_of


class Cache(Branch):
    """
    A branch that could be made again: what the remote has is taken as it is, and its history may be dropped.

    Nothing is kept that could not be published, so there is nothing to merge.
    """

    # It is pushed with a lease: who is late is told so here, and "non-fast-forward" is the remote's last word.
    races = re.compile(MOVED)

    def __init__(self, root: Path, name: str) -> None:
        super().__init__(root, name, lambda path, base, ours, theirs: ours)
        self._there = ""  # what the remote has

    def squash(self, stamp: Stamp) -> None:
        """Keep the files and drop how they came to be: one commit without a parent, and publish it."""
        for _ in self._attempts():
            tree, who = self._git("rev-parse", f"{self.tip}^{{tree}}").strip().encode(), ident(stamp)
            content = b"tree %b\nauthor %b\ncommitter %b\n\n%b" % (tree, who, who, message_of(stamp))
            commit = self._git("hash-object", "-t", "commit", "-w", "--stdin", data=content).strip()
            if self._place(commit):
                self.tip = commit
                return

    def _believe(self, theirs: str, seen: str) -> None:
        if theirs:
            self._move(theirs, seen, self._seen)

    def _arrive(self, ours: str, theirs: str) -> bool:
        self._there = theirs
        self.tip = theirs or ours
        return self._move(self.tip, ours, self._head)

    def _lease(self) -> Sequence[str]:
        return (f"--force-with-lease={self._head}:{self._there}",)

    def _published(self, commit: str) -> None:
        self._there = commit
        for ref in (self._head, self._seen):
            self._move(commit, self._ref(ref), ref)
