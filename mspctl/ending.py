"""What is done when a command ends, however it ends: for what was opened on the way and is used until then."""

from __future__ import annotations

import atexit
from collections.abc import Callable

_waiting: list[Callable[[], object]] = []


def at_end(do: Callable[[], object]) -> None:
    """Once, however often it is asked for; the last that was asked for is done first."""
    if do not in _waiting:
        _waiting.append(do)


def end() -> None:
    while _waiting:
        _waiting.pop()()


atexit.register(end)  # where no command is at work
