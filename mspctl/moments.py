"""
Time as it is declared: days, hours and windows of a customer's own clock, and when they are. Pure: `now` is handed in.

Clocks are set twice a year, so not every local time is there once:

* A day ends when the next one has begun for good, however long it was: `until` includes its day.
* A time that clocks jump over (a gap) is refused. One that they show twice (an overlap) means the earlier one where
  something ends and the later one where it begins, for what opens too late and closes too early does no harm.
* A window is open while the clock on the wall shows a time within it: after an overlap perhaps once more. One that lies
  wholly in a gap opens at the gap's end and lasts as long as it says, so that no night is left out.

Time zones come from the package `tzdata`, never from the machine: a moment is the same moment in CI and on a laptop.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib import import_module
from pathlib import Path
from zoneinfo import ZoneInfo

from mspctl.kinds import shown

Time = time  # by another name, because a moment has a `time` itself
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
YEARS = range(2000, 2200)  # beyond these a year is a slip, and nobody knows its clocks
DAY, MINUTE, SECOND = timedelta(days=1), timedelta(minutes=1), timedelta(seconds=1)
STEP = timedelta(hours=6)  # clocks are never set twice within it
HORIZON = 9 * DAY  # within it every window opens, even where a whole day was left out
MEETING = 60 * DAY  # windows that do not meet within it never do

_MOMENT = re.compile(r"(\d{4}-\d{2}-\d{2})(?: (\d{2}):(\d{2}))?", re.ASCII)
_WINDOW = re.compile(r"(?:(\S+) )?(\d{2}):(\d{2})-(\d{2}):(\d{2})", re.ASCII)
_TIMES = re.compile(r"(?:(\S+) )?(\d{2}):(\d{2})", re.ASCII)
_ZONES = Path(import_module("tzdata").__path__[0])


@cache
def _names() -> frozenset[str]:
    return frozenset((_ZONES / "zones").read_text(encoding="ascii").split()) - {"Factory"}


@cache
def timezone(name: str) -> ZoneInfo:
    """The time zone of an IANA name, to the letter. Raises ValueError."""
    if name not in _names():
        raise ValueError(f"{shown(name)} is not a time zone (write Europe/Rome)")
    with (_ZONES / "zoneinfo" / name).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


@dataclass(frozen=True, slots=True)
class Clock:
    """What time it is for one customer."""

    now: datetime  # with a time zone, any
    zone: str = "UTC"  # the customer's

    @property
    def today(self) -> date:
        return self.now.astimezone(timezone(self.zone)).date()


# -- days and times -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moment:
    """A day, or a time of a day, in a zone that is known elsewhere; as text it is what was typed."""

    day: date
    time: Time | None = None

    @classmethod
    def parse(cls, text: str) -> Moment:
        """From `2027-03-31` or `2027-03-12 18:00`. Raises ValueError."""
        found = _MOMENT.fullmatch(text)
        try:
            if not found:
                raise ValueError
            day, at = date.fromisoformat(found[1]), time(int(found[2]), int(found[3])) if found[2] else None
        except ValueError:
            raise ValueError(f"{shown(text)} is not a day or a time (write 2027-03-31 or 2027-03-31 18:00)") from None
        if day.year not in YEARS:
            raise ValueError(f"{shown(text)} is too far away (leave it out for what has no end)")
        return cls(day, at)

    def __str__(self) -> str:
        return f"{self.day} {self.time:%H:%M}" if self.time else f"{self.day}"

    def ends(self, zone: str) -> datetime:
        """When it is over: the end of the day, or the time itself. Raises ValueError for a time in a gap."""
        return self._instants(zone)[0] if self.time else _day_begins(self.day + DAY, timezone(zone))

    def begins(self, zone: str) -> datetime:
        """When it is there: the start of the day, or the time itself. Raises ValueError for a time in a gap."""
        return self._instants(zone)[-1] if self.time else _day_begins(self.day, timezone(zone))

    def is_doubled(self, zone: str) -> bool:
        """Whether clocks show this time twice. Raises ValueError for a time in a gap."""
        return self.time is not None and len(self._instants(zone)) > 1

    def _instants(self, zone: str) -> list[datetime]:
        assert self.time is not None, "a day as such has no instant"
        local = datetime.combine(self.day, self.time)
        if found := _instants(local, timezone(zone)):
            return found
        left, reached = _around_gap(local, timezone(zone))
        raise ValueError(
            f"{self} does not exist in {zone}: clocks go from {left:%H:%M} to {reached:%H:%M} there"
            f" (write {reached:%H:%M} or later)"
        )


@dataclass(frozen=True, slots=True)
class Ending:
    """What time will do by itself: when, and in words."""

    at: datetime
    says: str  # "until 2027-03-31"


@dataclass(frozen=True, slots=True)
class Span:
    """From when and until when something is declared; None: always. Raises ValueError when that makes no sense."""

    zone: str
    since: Moment | None = None
    until: Moment | None = None

    def __post_init__(self) -> None:
        begins, ends = self.begins, self.ends
        if begins and ends and begins >= ends:
            raise ValueError(f"ends ({self.until}) before it begins ({self.since})")

    @property
    def begins(self) -> datetime | None:
        return self.since.begins(self.zone) if self.since else None

    @property
    def ends(self) -> datetime | None:
        return self.until.ends(self.zone) if self.until else None

    def is_over(self, now: datetime) -> bool:
        return self.ends is not None and now >= self.ends

    def holds(self, now: datetime) -> bool:
        return not self.is_over(now) and (self.begins is None or now >= self.begins)

    def meets(self, other: Span) -> bool:
        """Whether there is a time at which both hold."""
        begins = [b for b in (self.begins, other.begins) if b]
        ends = [e for e in (self.ends, other.ends) if e]
        return not begins or not ends or max(begins) < min(ends)


# -- windows --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of some days of the week: `sun 05:00-06:00`, `mon-fri 07:30-18:30`, `22:00-05:00`; as text, as typed."""

    text: str
    days: frozenset[int]  # on which it opens; 0 is Monday
    start: timedelta  # since midnight, on the clock
    length: timedelta  # on the clock; it may end on the next day

    @classmethod
    def parse(cls, text: str) -> Window:
        """Raises ValueError."""
        found = _WINDOW.fullmatch(text)
        if not found:
            said = "write sun 05:00-06:00, mon-fri 07:30-18:30 or 22:00-05:00"
            raise ValueError(f"{shown(text)} is not a window ({said})")
        days, start, end = _days(found[1]), _clock(found[2], found[3]), _clock(found[4], found[5])
        if start in (DAY, end):
            raise ValueError(f"{shown(text)} is empty (write 00:00-24:00 for whole days)")
        return cls(text, days, start, end - start if end > start else end - start + DAY)

    def __str__(self) -> str:
        return self.text

    def is_open(self, now: datetime, zone: str) -> bool:
        clocks = timezone(zone)
        local = now.astimezone(clocks).replace(tzinfo=None)
        return any(
            begins <= local < begins + self.length or self._is_put_off(begins, now, clocks)
            for begins in self._beginnings(local.date() - DAY, local.date())
        )

    def bounds(self, now: datetime, zone: str) -> tuple[datetime, datetime] | None:
        """When it opened and when it closes, while it is open; where clocks are set back it closes the first time."""
        clocks = timezone(zone)
        local = now.astimezone(clocks).replace(tzinfo=None)
        for begins in self._beginnings(local.date() - DAY, local.date()):
            start = _first(begins, clocks)
            put_off = self._is_put_off(begins, now, clocks)
            ends = start + self.length if put_off else _first(begins + self.length, clocks)
            if (put_off or begins <= local < begins + self.length) and now < ends:
                return start, ends
        return None

    def opens(self, now: datetime, zone: str) -> datetime:
        """The first time from `now` on at which it is open."""
        if self.is_open(now, zone):
            return now
        clocks, today = timezone(zone), now.astimezone(timezone(zone)).date()
        starts = [i for b in self._beginnings(today - DAY, today + HORIZON) for i in _instants(b, clocks)]
        # It begins on the clock, or the clock is set to a time within it.
        found = sorted(i for i in (*starts, *_changes(now, now + HORIZON, clocks)) if i > now)
        return next(i for i in found if self.is_open(i, zone))

    def _beginnings(self, first: date, last: date) -> Iterator[datetime]:
        """Local times at which it opens on the days from `first` to `last`."""
        for day in (first + n * DAY for n in range((last - first).days + 1)):
            if day.weekday() in self.days:
                yield datetime.combine(day, time()) + self.start

    def _is_put_off(self, begins: datetime, now: datetime, clocks: ZoneInfo) -> bool:
        """Whether it lies wholly in a gap whose end was not long ago."""
        if _instants(begins, clocks):
            return False
        after = _after_gap(begins, clocks)
        return begins + self.length <= _around_gap(begins, clocks)[1] and after <= now < after + self.length


def times(text: str) -> tuple[frozenset[int], timedelta]:
    """From `02:30` or `mon-fri 22:30`: days of the week (0 is Monday), time since midnight. Raises ValueError."""
    found = _TIMES.fullmatch(text)
    if not found:
        raise ValueError(f"{shown(text)} is not a time of the day (write 02:30 or mon-fri 22:30)")
    start = _clock(found[2], found[3])
    if start == DAY:
        raise ValueError(f"{shown(text)} is the next day already (write 00:00)")
    return _days(found[1]), start


@dataclass(frozen=True, slots=True)
class Hours:
    """When changes may be carried out: inside each of these windows, in its own time zone. Without any: always."""

    windows: tuple[tuple[Window, str], ...] = ()

    def are_open(self, now: datetime) -> bool:
        return all(window.is_open(now, zone) for window, zone in self.windows)

    def opening(self, now: datetime) -> datetime | None:
        """The first time from `now` on at which they are open; None: never."""
        at, over = now, now + MEETING
        while at < over:
            later = max((window.opens(at, zone) for window, zone in self.windows), default=at)
            if later == at:
                return at
            at = later
        return None

    def why_closed(self, now: datetime) -> str:
        """What a change waits for, in words; "" while they are open."""
        closed = [zone for window, zone in self.windows if not window.is_open(now, zone)]
        if not closed:
            return ""
        opens = self.opening(now)
        if opens is None:
            return f"its windows are never open together ({', '.join(str(window) for window, _ in self.windows)})"
        local = opens.astimezone(timezone(closed[0]))
        return f"window opens {local:%a} {local.day} {local:%b %H:%M} ({closed[0]})"


ALWAYS = Hours()


def _clock(hours: str, minutes: str) -> timedelta:
    found = timedelta(hours=int(hours), minutes=int(minutes))
    if int(minutes) > 59 or found > DAY:
        raise ValueError(f"{hours}:{minutes} is not a time (write 05:00, at most 24:00)")
    return found


def _days(text: str | None) -> frozenset[int]:
    """From `sun`, `mon-fri` or `sat,sun`; nothing means every day."""
    if text is None:
        return frozenset(range(7))
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(f"{shown(part)} is not a day or days of the week (write sun, mon-fri or sat,sun)")
        begin = DAYS.index(first)
        length = (DAYS.index(last) - begin) % 7 if dash else 0
        found += [(begin + n) % 7 for n in range(length + 1)]
    if len({*found}) < len(found):
        raise ValueError(f"{shown(text)} names a day twice")
    return frozenset(found)


# -- how clocks are set ---------------------------------------------------------------------------------------


def _instants(local: datetime, clocks: ZoneInfo) -> list[datetime]:
    """When clocks show a local time: once, twice in an overlap, never in a gap."""
    both = {local.replace(tzinfo=clocks, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(i for i in both if i.astimezone(clocks).replace(tzinfo=None) == local)


def _first(local: datetime, clocks: ZoneInfo) -> datetime:
    """The first instant at which clocks show a time, or the one at which they jump over it."""
    return next(iter(_instants(local, clocks)), None) or _after_gap(local, clocks)


def _day_begins(day: date, clocks: ZoneInfo) -> datetime:
    """When a day has begun for good: where clocks are set back over midnight it begins twice."""
    midnight = datetime.combine(day, time())
    found = _instants(midnight, clocks)
    if not found:
        return _after_gap(midnight, clocks)
    return next(i for i in reversed(found) if i is found[0] or (i - SECOND).astimezone(clocks).date() < day)


def _after_gap(local: datetime, clocks: ZoneInfo) -> datetime:
    """When clocks jump over a local time that they never show."""
    low, high = sorted(local.replace(tzinfo=clocks, fold=fold).astimezone(UTC) for fold in (0, 1))
    return _change(low, high, clocks)


def _around_gap(local: datetime, clocks: ZoneInfo) -> tuple[datetime, datetime]:
    """Local times from which and to which clocks jump over `local`."""
    after = _after_gap(local, clocks)
    left = (after - SECOND).astimezone(clocks).replace(tzinfo=None) + SECOND
    return left, after.astimezone(clocks).replace(tzinfo=None)


def _changes(begin: datetime, end: datetime, clocks: ZoneInfo) -> Iterable[datetime]:
    """All instants between two at which clocks are set."""
    at = begin.astimezone(UTC).replace(microsecond=0)
    while at < end:
        if _offset(at, clocks) != _offset(at + STEP, clocks):
            yield _change(at, at + STEP, clocks)
        at += STEP


def _change(low: datetime, high: datetime, clocks: ZoneInfo) -> datetime:
    """When clocks are set, between two instants (whole seconds) that differ in it."""
    before = _offset(low, clocks)
    while high - low > SECOND:
        middle = (low + (high - low) / 2).replace(microsecond=0)
        low, high = (middle, high) if _offset(middle, clocks) == before else (low, middle)
    return high


def _offset(instant: datetime, clocks: ZoneInfo) -> timedelta | None:
    return instant.astimezone(clocks).utcoffset()
