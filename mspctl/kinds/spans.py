"""Spans of whole numbers, each of something: addresses of a family, ports of a protocol, minutes of a day."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

K = TypeVar("K", int, str)


def merged(spans: Iterable[tuple[K, int, int]], gap: int = 1) -> Iterator[tuple[K, int, int]]:
    """
    The same in as few spans (of what, from, to) as can be, in order.

    Two of the same are one where they overlap, or where the one begins no more than `gap` after the other's end.
    """
    last: tuple[K, int, int] | None = None
    for of, low, high in sorted(spans):
        if last and last[0] == of and low <= last[2] + gap:
            last = (of, last[1], max(last[2], high))
            continue
        if last:
            yield last
        last = (of, low, high)
    if last:
        yield last
