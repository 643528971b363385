"""
Locks: who writes to a scope or a target now, so that nobody else does.

A lock is a ref, `refs/mspctl/locks/<name>`, on the remote that the ledger uses; without one, in this repository, where
it excludes the processes of one machine. It points to a commit that says who holds it. All locks of one `hold` point to
the same commit and are made, renewed and deleted together, in one push, which moves each ref from exactly the commit
that it was seen at, or moves none. So nobody who waits holds anything, and two that want the same names in other order
cannot block each other. The commit carries a random nonce: its id is ours alone, and comparing ids compares nonces.

Time. A lock is written for a while, its ttl, and again when half of that is over: in the background, and by `check`.
Clocks differ; SKEW is what we forgive.

* The holder believes in it until `expires_at` by its own clock, and never longer than the ttl by the clock that nobody
  can set. A holder that slept, or whose clock was set back, is told so by the next `check`.
* All others wait SKEW longer. While two clocks differ by less, two never believe at once. Who has a clock that is slow
  by more loses its locks too early, and `check` says so.
* A lock written more than SKEW after now: one of two clocks is wrong. It may be ours, so the lock is respected, but not
  for ever: whoever meets it leaves a note on the remote, `refs/mspctl/sighted/<commit>-<time>`, and when it was not
  renewed for ttl + SKEW since then, it is stale. The watchers' clocks measure that, whatever the holder's says.
* A lock that cannot be read is not ours to judge: it stays until `mspctl unlock` breaks it.

`check` proves that the locks are ours at that moment, and leaves about half of the ttl to what is written next; what
takes longer is covered by the renewal in the background.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

from mspctl.errors import LedgerError, LockError
from mspctl.locks.board import Board, Lock
from mspctl.locks.held import Held
from mspctl.locks.refs import ATTEMPTS, pause
from mspctl.record import Run
from mspctl.resource import Scope

LONGEST = 86400.0  # seconds; a ttl beyond a day is a mistake


def lock_name(scope: Scope, per: Literal["scope", "target"]) -> str:
    """What to lock for a scope, as its driver's traits say."""
    return scope.target if per == "target" else f"{scope.target}/{scope.facet}/{scope.name}"


class Locks(Board):
    """What is done with the locks of one repository."""

    @contextmanager
    def hold(
        self, names: Iterable[str], run: Run, wait: float = 60.0, ttl: float = 900.0, what: str = "apply"
    ) -> Iterator[Held]:
        """
        All of `names` or none, released at the end whatever happens.

        Waits up to `wait` seconds, then raises LockError, which says who holds them. LedgerError: the remote gives no
        answer or refuses; nothing is locked then.
        """
        if not 0 < ttl <= LONGEST:
            raise ValueError(f"a lock cannot last {ttl} seconds")
        held = Held(self, names, run, ttl, what)
        try:
            held.take(wait)
            yield held
        finally:
            held.release()

    def holders(self) -> list[Lock]:
        """Every lock there is, by name."""
        return self.find()

    def break_(self, name: str) -> Lock:
        """Take a lock away from whoever holds it; returns what it was. LockError: there is none."""
        for attempt in range(ATTEMPTS):
            lock = next((lock for lock in self.find() if lock.name == name), None)
            if lock is None:
                raise LockError(f"{name} is not locked")
            if self.break_all([lock]):
                return lock
            pause(attempt)
        raise LedgerError(f"{name} is renewed all the time; {ATTEMPTS} attempts to break it were not enough")

    def break_all(self, locks: Collection[Lock]) -> list[Lock]:
        """Break those that are still what was found, in one push; returns them. One renewed since is left alone."""
        broken = list(locks)
        for attempt in range(ATTEMPTS):
            orders = {ref: (lock.id, "") for lock in broken for ref in (lock.ref, *lock.sightings)}
            if not orders or not self.refs.swap(orders):
                return broken
            there = self.refs.tips()
            broken = [lock for lock in broken if there.get(lock.ref) == lock.id]
            pause(attempt)
        raise LedgerError("cannot break the locks: others write them all the time")

    def sweep(self) -> None:
        """Remove what runs that died have left, stale locks that nobody asked for since; one try is enough."""
        if stale := [lock for lock in self.find() if lock.stale]:
            self.refs.swap({ref: (lock.id, "") for lock in stale for ref in (lock.ref, *lock.sightings)})
