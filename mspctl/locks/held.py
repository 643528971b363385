"""What one run holds: taken all together, renewed in time, and given back whatever happens."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import count
from random import SystemRandom
from threading import Event, Thread
from threading import Lock as Mutex

from mspctl.errors import Error, LedgerError, LockError
from mspctl.git.commit import Stamp
from mspctl.locks import board
from mspctl.locks.board import Board, Lock
from mspctl.locks.claim import Claim, rendered
from mspctl.locks.refs import ATTEMPTS, pause, ref_of
from mspctl.locks.telling import refusal, sentence
from mspctl.locks.words import few, spelled
from mspctl.record import Run

_LOG = logging.getLogger(__name__)


class Held:
    """Locks that are ours while `Locks.hold` lasts. Safe to share between threads."""

    def __init__(self, locks: Board, names: Iterable[str], run: Run, ttl: float, what: str) -> None:
        self.names = tuple(sorted(set(names)))
        self._locks, self._run, self._ttl, self._what = locks, run, ttl, what
        self._refs = {ref_of(name): name for name in self.names}
        self._nonce = f"{SystemRandom().getrandbits(128):032x}"
        self._mine: set[str] = set()  # commits of ours that refs may point to; more than one after a broken connection
        self._claim: Claim | None = None
        self._id, self._since = "", 0.0
        self._told: set[str] = set()  # runs
        self._mutex, self._over = Mutex(), Event()

    def take(self, wait: float) -> None:
        """Called once, by `Locks.hold`."""
        if not self._refs:
            return
        over = time.monotonic() + wait
        stale: list[Lock] = []  # at first we hope that nobody is there: one push, and nothing to ask before
        for attempt in count(-1):
            trouble = self._write(dict.fromkeys(self._refs, "") | {lock.ref: lock.id for lock in stale}, stale)
            if not trouble:
                Thread(target=self._renew_in_time, daemon=True).start()
                return
            stale = self._wait_until_free(over)
            if attempt > 3 and time.monotonic() > over:
                raise LedgerError(f"cannot lock {few(self.names)}: {trouble}")
            pause(attempt)

    def _wait_until_free(self, over: float) -> list[Lock]:
        """Locks that are in the way and stale; LockError when one still is not at the time `over`."""
        for attempt in count():
            locks = self._locks.find(self._refs)
            held = [lock for lock in locks if not lock.stale]
            if not held:
                break
            self._locks.sight(held)
            if time.monotonic() >= over:
                raise LockError(refusal(held, self._locks.now()))
            self._tell(held)
            pause(attempt, over)
        return locks

    def _tell(self, held: Sequence[Lock]) -> None:
        """Once of each run: who looks at a job that stands still sees whom it waits for."""
        new = [lock for lock in held if (lock.run or lock.id) not in self._told]
        self._told |= {lock.run or lock.id for lock in new}
        if new:
            self._locks.tell(f"waiting: {sentence(new)}")

    def check(self) -> None:
        """
        Raises LockError unless every lock is still ours; then write nothing more.

        Costs one question to the remote, or one push when more than half of the ttl is over.
        """
        if not self._refs:
            return
        with self._mutex:
            self._believe()
            if self._is_due():
                self._renew()
            else:
                self._compare()
            self._believe()

    def release(self) -> None:
        """Called once, by `Locks.hold`. Does not fail: what cannot be released now expires."""
        self._over.set()
        with self._mutex:
            try:
                if self._mine:
                    self._drop(dict.fromkeys(self._refs, self._id) if self._claim else {})
            except LedgerError as error:
                if self._claim:
                    until = spelled(self._claim.expires_at + board.SKEW)
                    _LOG.warning("not released, and locked until %s: %s (%s)", until, few(self.names), error)
            self._claim, self._mine = None, set()

    def _write(self, old: Mapping[str, str], stale: Iterable[Lock] = ()) -> str:
        """Our claim onto all refs, each from its `old` commit; returns what was in the way."""
        since, claim = time.monotonic(), self._new_claim()
        id = self._locks.refs.write(Stamp(claim.holder, claim.renewed_at, rendered(claim)))
        self._mine.add(id)
        notes = {ref: (lock.id, "") for lock in stale for ref in lock.sightings}
        trouble = self._locks.refs.swap({ref: (was, id) for ref, was in old.items()} | notes)
        if not trouble:
            self._claim, self._id, self._since = claim, id, since
        elif self._locks.refs.atomic:
            self._mine.discard(id)
        elif self._claim is None:
            self._drop({})  # some arrived; nobody waits and holds
        return trouble

    def _new_claim(self) -> Claim:
        now = self._locks.now()
        return Claim(
            holder=self._run.who,
            host=platform.node(),
            run=self._run.id,
            what=self._what,
            nonce=self._nonce,
            taken_at=self._claim.taken_at if self._claim else now,
            renewed_at=now,
            expires_at=now + timedelta(seconds=self._ttl),
            names=self.names,
        )

    def _drop(self, doomed: Mapping[str, str]) -> None:
        """Delete our refs: first where we think they are, then where they are. What others broke is gone already."""
        for attempt in range(ATTEMPTS):
            if doomed and not self._locks.refs.swap({ref: (id, "") for ref, id in doomed.items()}):
                return
            there = self._locks.refs.tips()
            doomed = {ref: there[ref] for ref in self._refs if there.get(ref) in self._mine}
            if not doomed:
                return
            pause(attempt)
        raise LedgerError("others write locks all the time")

    def _compare(self) -> dict[str, str]:
        """Where our refs are now, which is at commits of ours."""
        there = self._locks.refs.tips()
        lost = [name for ref, name in self._refs.items() if there.get(ref) not in self._mine]
        if lost:
            taken = self._locks.find([ref_of(name) for name in lost])
            why = f"now {sentence(taken)}" if taken else "somebody broke it"
            raise LockError(f"the lock on {few(lost)} is not ours any more, {why}; run again")
        return {ref: there[ref] for ref in self._refs}

    def _believe(self) -> None:
        """Raises LockError when the locks are over as far as clocks can tell."""
        assert self._claim is not None, "checked while held"
        now, until = self._locks.now(), self._claim.expires_at
        if now < self._claim.renewed_at - board.SKEW:
            raise LockError("the clock of this machine was set back while it held locks; run again")
        if now >= until or time.monotonic() - self._since >= self._ttl:
            raise LockError(
                f"the lock on {few(self.names)} ended at {spelled(until)}: "
                "this machine slept, or could not reach the remote to renew it; run again"
            )

    def _is_due(self) -> bool:
        assert self._claim is not None, "asked while held"
        half = self._ttl / 2
        aged = self._locks.now() - self._claim.renewed_at >= timedelta(seconds=half)
        return aged or time.monotonic() - self._since >= half

    def _renew(self) -> None:
        old = dict.fromkeys(self._refs, self._id)
        for attempt in range(ATTEMPTS):
            trouble = self._write(old)
            if not trouble:
                return
            old = self._compare()
            pause(attempt)
        raise LedgerError(f"cannot renew the lock on {few(self.names)}: {trouble}")

    def _renew_in_time(self) -> None:
        """Runs beside the work. What goes wrong here is for `check` to find: it is asked before anything is written."""
        while not self._over.wait(self._ttl / 8):
            with suppress(Error), self._mutex:
                if not self._over.is_set() and self._is_due():
                    self._believe()
                    self._renew()
