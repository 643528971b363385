"""Who is in the way, in one sentence, and what to do about it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from datetime import datetime

from mspctl.locks import board
from mspctl.locks.board import Lock
from mspctl.locks.words import few


def refusal(held: Sequence[Lock], now: datetime) -> str:
    """One line: who holds which locks, since when, until when, and how to break them."""
    future = any(lock.claim and lock.claim.renewed_at > now + board.SKEW for lock in held)
    wrong = "; taken in the future: the clock there or the one here is wrong" if future else ""
    return f"{sentence(held)}{wrong}; if that run is dead: mspctl unlock {_arguments(held)}"


def sentence(locks: Iterable[Lock]) -> str:
    by_holder: dict[str, list[str]] = {}
    for lock in locks:
        by_holder.setdefault(lock.holder, []).append(lock.name)
    verb = {True: "is", False: "are"}
    return "; ".join(f"{few(names)} {verb[len(names) == 1]} locked by {it}" for it, names in by_holder.items())


def _arguments(locks: Sequence[Lock]) -> str:
    runs = {lock.run for lock in locks}
    if len(locks) > 3 and len(runs) == 1 and "" not in runs:
        return f"--run {shlex.quote(runs.pop())}"
    return " ".join([shlex.quote(lock.name) for lock in locks[:3]] + (["…"] if len(locks) > 3 else []))
