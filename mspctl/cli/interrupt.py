"""
Ctrl-C, and a job that is cancelled, while an apply runs: what was begun is finished and told, then the locks go.

Until something can be written, a signal ends the run in the usual way. Afterwards the first one asks it to stop: no
further scope is begun. A second Ctrl-C ends the process at once, and its locks stay, for nobody knows what was half
written. Other signals never do: a job that is cancelled gets several, and is killed soon enough.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, current_thread, main_thread
from types import FrameType

from mspctl.exits import Exit

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """What to do when one comes."""

    def __init__(self, run: str) -> None:
        self._run, self._stop, self._writing = run, Event(), False

    def finish_first(self) -> Event:
        """From now on something may be written. Set when the run shall stop."""
        self._writing = True
        return self._stop

    def come(self, number: int, frame: FrameType | None) -> None:
        if not self._writing:
            raise KeyboardInterrupt
        if not self._stop.is_set():
            self._stop.set()
            self._tell("interrupted: what was begun is finished first; Ctrl-C once more ends at once")
        elif number == signal.SIGINT:
            self._tell(f"ended at once; its locks stay: mspctl unlock --run {self._run}")
            os._exit(Exit.INTERRUPTED)

    @staticmethod
    def _tell(text: str) -> None:
        """Straight to stderr: the signal may have come in the middle of a print."""
        os.write(2, f"{text}\n".encode())


@contextmanager
def orderly(run: str) -> Iterator[Signals]:
    """Where `run` holds locks. A signal that whoever started us wants ignored stays ignored."""
    signals = Signals(run)
    mine = [n for n in ENDS if signal.getsignal(n) not in (signal.SIG_IGN, None)] if _can_listen() else []
    before = {number: signal.signal(number, signals.come) for number in mine}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _can_listen() -> bool:
    return current_thread() is main_thread()
