"""
Processes that are known by more than their numbers, which go to strangers after some ten thousand others.

Whoever means to end what is no child of its own takes hold of it while it surely is what it should be; from then on
signals reach that one or nobody.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path


class Held:
    """One process. Raises ProcessLookupError when there is none of this number."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = os.pidfd_open(pid)

    def send(self, number: signal.Signals) -> None:
        """A signal, if it still runs."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._fd, number)

    def runs(self) -> bool:
        return not select.select([self._fd], [], [], 0)[0]

    def release(self) -> None:
        os.close(self._fd)


@contextmanager
def held(*pids: int) -> Iterator[Sequence[Held]]:
    """Those of them that run, for a while."""
    found = list[Held]()
    try:
        for pid in pids:
            with suppress(ProcessLookupError):
                found.append(Held(pid))
        yield found
    finally:
        for each in found:
            each.release()


def below(pid: int) -> list[int]:
    """The children of a process that runs, theirs, and so on."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [one for child in children for one in (child, *below(child))]


def group(leader: int) -> list[Held]:
    """Who is in a process group now. Its leader runs, or was not waited for yet: so the number is still its."""
    found = list[Held]()
    for entry in Path("/proc").iterdir():
        with suppress(ValueError, ProcessLookupError):
            if os.getpgid(int(entry.name)) == leader:
                found.append(Held(int(entry.name)))
    return [one for one in found if _in(one, leader)]


def _in(one: Held, leader: int) -> bool:
    """Whether it really is who was found: asked once more, now that nobody else can have its number unseen."""
    with suppress(ProcessLookupError):
        if os.getpgid(one.pid) == leader and one.runs():
            return True
    one.release()
    return False
