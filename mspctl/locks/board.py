"""The locks that are there, as they are found, and which of them are over by our clock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mspctl.kinds import on_one_line
from mspctl.locks.claim import Claim, parsed
from mspctl.locks.refs import LOCKS, SIGHTED, Refs, ref_of, sighted_at, unquoted
from mspctl.locks.words import spelled

SKEW = timedelta(minutes=5)  # what we forgive another clock

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Lock:
    """One lock as it was found."""

    name: str
    ref: str
    id: str
    claim: Claim | None  # None: it cannot be read
    until: datetime | None  # when others may take it, by our clock, unless it is renewed; None: never
    stale: bool
    sightings: tuple[str, ...]  # refs

    def __str__(self) -> str:
        return f"{on_one_line(self.name)}: {self.holder}"

    @property
    def run(self) -> str:
        return self.claim.run if self.claim else ""

    @property
    def holder(self) -> str:
        """Who, doing what, where, since when, until when."""
        if self.claim is None or self.until is None:
            return "somebody unknown (what it says cannot be read)"
        it = self.claim
        since, until = spelled(it.taken_at), spelled(self.until)
        lasts = f"expired at {until}" if self.stale else f"until {until} unless renewed"
        return f"{it.holder} ({it.what} on {it.host}, run {it.run}) since {since}, {lasts}"


def _now() -> datetime:
    return datetime.now(UTC)


def _nobody(text: str) -> None:
    """Nobody is told."""


class Board:
    """The locks of one repository. Raises LedgerError when it is none, and when the remote gives no answer."""

    def __init__(
        self, root: Path, now: Callable[[], datetime] = _now, *, alone: bool = False, tell: Tell = _nobody
    ) -> None:
        """
        `alone`: the remote is not asked, so that only processes of this machine are kept out. `tell` gets a line for
        each run that is waited for.
        """
        self.now, self.tell = now, tell
        self.refs = Refs(root, alone=alone)

    def find(self, wanted: Collection[str] | None = None) -> list[Lock]:
        """The locks on the refs `wanted`, or all."""
        for _ in range(3):  # a lock may be renewed or released between the list and the look at it
            there = self.refs.tips()
            tips = {ref: id for ref, id in there.items() if ref.startswith(LOCKS) and (wanted is None or ref in wanted)}
            contents = self.refs.read(tips.values())
            if None not in contents.values():
                break
        notes: dict[str, list[str]] = {}
        for ref, id in there.items():
            if ref.startswith(SIGHTED):
                notes.setdefault(id, []).append(ref)
        found = [self._judged(ref, id, parsed(contents[id]), notes.get(id, ())) for ref, id in tips.items()]
        return sorted(found, key=lambda lock: lock.name)

    def _judged(self, ref: str, id: str, claim: Claim | None, sightings: Sequence[str]) -> Lock:
        now = self.now()
        until = None
        if claim is not None and claim.renewed_at <= now + SKEW:
            until = claim.expires_at + SKEW
        elif claim is not None:
            seen = min((at for at in map(sighted_at, sightings) if at <= now), default=now)
            until = seen + (claim.expires_at - claim.renewed_at) + SKEW
        name = next((name for name in (claim.names if claim else ()) if ref_of(name) == ref), unquoted(ref))
        return Lock(name, ref, id, claim, until, until is not None and until <= now, tuple(sightings))

    def sight(self, locks: Iterable[Lock]) -> None:
        """Leave a note at each lock from the future when it was first seen; notes of locks that are gone go."""
        now = self.now()
        new = {
            f"{SIGHTED}{lock.id}-{int(now.timestamp())}": ("", lock.id)
            for lock in locks
            if lock.claim
            and lock.claim.renewed_at > now + SKEW
            and not any(sighted_at(sighting) <= now for sighting in lock.sightings)
        }
        if new:
            there = self.refs.tips()
            alive = {id for ref, id in there.items() if ref.startswith(LOCKS)}
            gone = {ref: (id, "") for ref, id in there.items() if ref.startswith(SIGHTED) and id not in alive}
            self.refs.swap({**new, **gone})  # if somebody else was faster, the note is there
