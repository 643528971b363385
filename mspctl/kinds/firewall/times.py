"""When a rule or forward counts: its end and its hours, in UTC."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from mspctl.kinds.firewall import DAYS, text, texts
from mspctl.kinds.spans import merged
from mspctl.resource import Resource

WEEK = 7 * 24 * 60  # minutes
_HOURS = re.compile(r"([a-z]{3}) (\d\d):(\d\d)-(\d\d):(\d\d)")


def moment(at: datetime) -> str:
    """As `until` has it; seconds are left out."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def hours(spans: Iterable[tuple[int, int]]) -> frozenset[str]:
    """Of spans in minutes since Monday 00:00 UTC, which may go over the week's end; within a day each."""
    days: list[tuple[int, int, int]] = []
    for begin, end in spans:
        for low, high in _within_a_week(begin, end):
            while low < high:
                stop = min(high, (low // 1440 + 1) * 1440)
                days.append((low // 1440, low, stop))
                low = stop
    return frozenset(_spoken(low, high) for _, low, high in merged(days, gap=0))


def _within_a_week(begin: int, end: int) -> Iterator[tuple[int, int]]:
    if end - begin >= WEEK:
        yield 0, WEEK
        return
    low, high = begin % WEEK, begin % WEEK + end - begin
    yield low, min(high, WEEK)
    if high > WEEK:
        yield 0, high - WEEK


def _spoken(low: int, high: int) -> str:
    day, begin = divmod(low, 1440)
    end = high - day * 1440
    return f"{DAYS[day]} {begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}"


def span_of(spoken: str) -> tuple[int, int]:
    """Minutes since Monday 00:00 UTC, from one of `hours`. Raises ValueError."""
    found = _HOURS.fullmatch(spoken)
    if not found or found[1] not in DAYS:
        raise ValueError(f"{spoken} is not hours of a day")
    day = DAYS.index(found[1]) * 1440
    return day + int(found[2]) * 60 + int(found[3]), day + int(found[4]) * 60 + int(found[5])


def hours_hold(week: frozenset[str], other: frozenset[str]) -> bool:
    """Whether it is open whenever another is; none is always."""
    if not (week and other):
        return not week
    try:
        spans = [*map(span_of, week)]
        return all(any(low <= begin and end <= high for low, high in spans) for begin, end in map(span_of, other))
    except ValueError:
        return False


def holds_at(resource: Resource, at: datetime) -> bool:
    """Whether a rule or forward counts at a moment."""
    until, week = text(resource, "until"), texts(resource, "hours")
    now = at.astimezone(UTC)
    minute = now.weekday() * 1440 + now.hour * 60 + now.minute
    return (not until or moment(now) < until) and (
        not week or any(low <= minute < high for low, high in map(span_of, week))
    )


def is_limited(resource: Resource) -> bool:
    """Whether it counts at some times only."""
    return bool(text(resource, "until") or texts(resource, "hours"))
