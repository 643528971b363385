"""Looks over the shoulder of a process and all below it: command lines, files that have no name, git's environment."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

MAX = 4 * 1024 * 1024  # octets of one file
SHIM = """\
#!/bin/sh
cat /proc/$$/cmdline /proc/$$/environ >"{folder}/$$-$PPID"
exec "{git}" "$@"
"""


@dataclass
class Seen:
    """What was seen while it ran; `looks` says how often."""

    texts: set[bytes] = field(default_factory=set)
    looks: int = 0

    def look(self, pid: int) -> None:
        """Its command line and its files without a name, and those of all that it has started just now."""
        self.looks += 1
        for number in _below(pid):
            with suppress(OSError):  # it may be gone meanwhile
                self.texts.add(Path(f"/proc/{number}/cmdline").read_bytes())
                for link in Path(f"/proc/{number}/fd").iterdir():
                    self._open(link)

    def _open(self, link: Path) -> None:
        with suppress(OSError):
            if stat.S_ISREG(link.stat().st_mode) and os.readlink(link).endswith(" (deleted)"):
                with link.open("rb") as file:
                    self.texts.add(file.read(MAX))


def _below(pid: int) -> list[int]:
    """It, and its children's children."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


@contextmanager
def watching(pid: int) -> Iterator[Seen]:
    seen, over = Seen(), threading.Event()

    def look() -> None:
        while not over.wait(0.001):
            seen.look(pid)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join(30)


def every_git(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """From now on each git that is started leaves its command line and its environment in a file there."""
    git = shutil.which("git")
    assert git is not None
    (folder / "bin").mkdir(parents=True)
    (folder / "seen").mkdir()
    (folder / "bin/git").write_text(SHIM.format(folder=folder / "seen", git=git))
    (folder / "bin/git").chmod(0o755)
    patch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
