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

import json
import logging
import platform
import re
import shlex
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from itertools import count
from pathlib import Path
from random import SystemRandom
from threading import Event, Thread
from threading import Lock as Mutex
from typing import Literal
from urllib.parse import unquote

from mspctl.errors import Error, LedgerError, LockError
from mspctl.git_branch import LOST_RACE, Git, RemoteError, Stamp, ident
from mspctl.record import Run
from mspctl.resource import Scope

LOCKS, SIGHTED = "refs/mspctl/locks/", "refs/mspctl/sighted/"
SKEW = timedelta(minutes=5)
LONGEST = 86400.0  # seconds; a ttl beyond a day is a mistake
ATTEMPTS = 20  # where nobody is in the way but a busy server
RACE = re.compile(f"{LOST_RACE.pattern}|cannot lock ref|remote ref does not exist|atomic (push|transaction) fail")

WORDS, TIMES = ("holder", "host", "run", "what", "nonce"), ("taken_at", "renewed_at", "expires_at")

Tell = Callable[[str], None]
Orders = Mapping[str, tuple[str, str]]  # ref → (from, to); "": it does not exist

_LOG = logging.getLogger(__name__)


def lock_name(scope: Scope, per: Literal["scope", "target"]) -> str:
    """What to lock for a scope, as its driver's traits say."""
    return scope.target if per == "target" else f"{scope.target}/{scope.facet}/{scope.name}"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a lock's commit says."""

    holder: str  # "Paolo Zen <paolo@msp.example>"
    host: str
    run: str
    what: str
    nonce: str
    taken_at: datetime
    renewed_at: datetime  # when it was written
    expires_at: datetime
    names: tuple[str, ...]


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
        return f"{_line(self.name)}: {self.holder}"

    @property
    def run(self) -> str:
        return self.claim.run if self.claim else ""

    @property
    def holder(self) -> str:
        """Who, doing what, where, since when, until when."""
        if self.claim is None or self.until is None:
            return "somebody unknown (what it says cannot be read)"
        it = self.claim
        since, until = _time(it.taken_at), _time(self.until)
        lasts = f"expired at {until}" if self.stale else f"until {until} unless renewed"
        return f"{it.holder} ({it.what} on {it.host}, run {it.run}) since {since}, {lasts}"


def _now() -> datetime:
    return datetime.now(UTC)


def _nobody(text: str) -> None:
    """Nobody is told."""


class Locks:
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
            _pause(attempt)
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
            _pause(attempt)
        raise LedgerError("cannot break the locks: others write them all the time")

    def sweep(self) -> None:
        """Remove what runs that died have left, stale locks that nobody asked for since; one try is enough."""
        if stale := [lock for lock in self.find() if lock.stale]:
            self.refs.swap({ref: (lock.id, "") for lock in stale for ref in (lock.ref, *lock.sightings)})

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
        found = [self._judged(ref, id, _parsed(contents[id]), notes.get(id, ())) for ref, id in tips.items()]
        return sorted(found, key=lambda lock: lock.name)

    def _judged(self, ref: str, id: str, claim: Claim | None, sightings: Sequence[str]) -> Lock:
        now = self.now()
        until = None
        if claim is not None and claim.renewed_at <= now + SKEW:
            until = claim.expires_at + SKEW
        elif claim is not None:
            seen = min((at for at in map(_sighted_at, sightings) if at <= now), default=now)
            until = seen + (claim.expires_at - claim.renewed_at) + SKEW
        name = next((name for name in (claim.names if claim else ()) if ref_of(name) == ref), _unquoted(ref))
        return Lock(name, ref, id, claim, until, until is not None and until <= now, tuple(sightings))

    def sight(self, locks: Iterable[Lock]) -> None:
        """Leave a note at each lock from the future when it was first seen; notes of locks that are gone go."""
        now = self.now()
        new = {
            f"{SIGHTED}{lock.id}-{int(now.timestamp())}": ("", lock.id)
            for lock in locks
            if lock.claim
            and lock.claim.renewed_at > now + SKEW
            and not any(_sighted_at(sighting) <= now for sighting in lock.sightings)
        }
        if new:
            there = self.refs.tips()
            alive = {id for ref, id in there.items() if ref.startswith(LOCKS)}
            gone = {ref: (id, "") for ref, id in there.items() if ref.startswith(SIGHTED) and id not in alive}
            self.refs.swap({**new, **gone})  # if somebody else was faster, the note is there


class Held:
    """Locks that are ours while `Locks.hold` lasts. Safe to share between threads."""

    def __init__(self, locks: Locks, names: Iterable[str], run: Run, ttl: float, what: str) -> None:
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
                raise LedgerError(f"cannot lock {_few(self.names)}: {trouble}")
            _pause(attempt)

    def _wait_until_free(self, over: float) -> list[Lock]:
        """Locks that are in the way and stale; LockError when one still is not at the time `over`."""
        for attempt in count():
            locks = self._locks.find(self._refs)
            held = [lock for lock in locks if not lock.stale]
            if not held:
                break
            self._locks.sight(held)
            if time.monotonic() >= over:
                raise LockError(_refusal(held, self._locks.now()))
            self._tell(held)
            _pause(attempt, over)
        return locks

    def _tell(self, held: Sequence[Lock]) -> None:
        """Once of each run: who looks at a job that stands still sees whom it waits for."""
        new = [lock for lock in held if (lock.run or lock.id) not in self._told]
        self._told |= {lock.run or lock.id for lock in new}
        if new:
            self._locks.tell(f"waiting: {_sentence(new)}")

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
                    until = _time(self._claim.expires_at + SKEW)
                    _LOG.warning("not released, and locked until %s: %s (%s)", until, _few(self.names), error)
            self._claim, self._mine = None, set()

    def _write(self, old: Mapping[str, str], stale: Iterable[Lock] = ()) -> str:
        """Our claim onto all refs, each from its `old` commit; returns what was in the way."""
        since, claim = time.monotonic(), self._new_claim()
        id = self._locks.refs.write(Stamp(claim.holder, claim.renewed_at, _rendered(claim)))
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
            _pause(attempt)
        raise LedgerError("others write locks all the time")

    def _compare(self) -> dict[str, str]:
        """Where our refs are now, which is at commits of ours."""
        there = self._locks.refs.tips()
        lost = [name for ref, name in self._refs.items() if there.get(ref) not in self._mine]
        if lost:
            taken = self._locks.find([ref_of(name) for name in lost])
            why = f"now {_sentence(taken)}" if taken else "somebody broke it"
            raise LockError(f"the lock on {_few(lost)} is not ours any more, {why}; run again")
        return {ref: there[ref] for ref in self._refs}

    def _believe(self) -> None:
        """Raises LockError when the locks are over as far as clocks can tell."""
        assert self._claim is not None, "checked while held"
        now, until = self._locks.now(), self._claim.expires_at
        if now < self._claim.renewed_at - SKEW:
            raise LockError("the clock of this machine was set back while it held locks; run again")
        if now >= until or time.monotonic() - self._since >= self._ttl:
            raise LockError(
                f"the lock on {_few(self.names)} ended at {_time(until)}: "
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
            _pause(attempt)
        raise LedgerError(f"cannot renew the lock on {_few(self.names)}: {trouble}")

    def _renew_in_time(self) -> None:
        """Runs beside the work. What goes wrong here is for `check` to find: it is asked before anything is written."""
        while not self._over.wait(self._ttl / 8):
            with suppress(Error), self._mutex:
                if not self._over.is_set() and self._is_due():
                    self._believe()
                    self._renew()


# Where they are kept


class Refs:
    """Refs on the remote, or of this repository when there is none."""

    def __init__(self, root: Path, *, alone: bool = False) -> None:
        self._git = Git(root)
        self._remote = "" if alone else self._git.remote("the locks")
        self.atomic = True  # whether the remote moves all refs or none; the first push tells

    def tips(self) -> dict[str, str]:
        """Every lock and every note: ref → commit."""
        if self._remote:
            answer = self._git.call("ls-remote", self._remote, f"{LOCKS}*", f"{SIGHTED}*")
        else:
            answer = self._git.call("for-each-ref", "--format=%(objectname)\t%(refname)", LOCKS, SIGHTED)
        if answer.code:
            raise RemoteError(f"cannot read the locks{self._where}: {answer.complaint}")
        lines = (line.partition("\t") for line in answer.text.splitlines())
        return {ref: id for id, _, ref in lines}

    def read(self, ids: Iterable[str]) -> dict[str, bytes | None]:
        """Contents of commits; None when one went before we came."""
        contents = self._git.objects(ids)
        missing = [id for id, content in contents.items() if content is None]
        if missing and self._remote:
            flags = ("--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--refmap=")
            self._git.call("fetch", *flags, self._remote, *missing)
            contents |= self._git.objects(missing)
        return contents

    def write(self, stamp: Stamp) -> str:
        """A commit that no ref holds yet."""
        who = ident(stamp).decode()
        content = f"tree {self._empty}\nauthor {who}\ncommitter {who}\n\n{stamp.message}"
        return self._git("hash-object", "-t", "commit", "-w", "--stdin", data=content).strip()

    @cached_property
    def _empty(self) -> str:
        return self._git("mktree").strip()

    def swap(self, orders: Orders) -> str:
        """
        Move each ref from where it must be to where it shall be: all or none, unless the remote cannot (`atomic`).

        "" when done, else what was in the way: others were faster. Raises RemoteError when that is not the reason.
        """
        return self._push(orders) if self._remote else self._update(orders)

    def _update(self, orders: Orders) -> str:
        verbs = {(False, True): "create {ref} {new}", (True, True): "update {ref} {new} {old}"}
        lines = [
            verbs.get((bool(old), bool(new)), "delete {ref} {old}").format(ref=ref, new=new, old=old)
            for ref, (old, new) in orders.items()
        ]
        answer = self._git.call("update-ref", "--stdin", data="\n".join(lines) + "\n")
        reasons = [line for line in answer.err.decode("utf-8", "replace").splitlines() if line] or [answer.complaint]
        if answer.in_the_way:
            self._git.clear(answer.in_the_way, orders)
        return self._race(reasons[0].removeprefix("fatal: ")) if answer.code else ""

    def _push(self, orders: Orders) -> str:
        leases = [f"--force-with-lease={ref}:{old}" for ref, (old, _) in orders.items()]
        moves = [f"{new}:{ref}" for ref, (_, new) in orders.items()]
        flags = ["--porcelain", "--no-verify", *(["--atomic"] if self.atomic and len(orders) > 1 else []), *leases]
        # A mirror clone's remote would refuse to be told what to push.
        answer = self._git.call("-c", f"remote.{self._remote}.mirror=false", "push", *flags, self._remote, *moves)
        if answer.code == 0:
            return ""
        if b"does not support --atomic" in answer.err:
            self.atomic = False
            return self._push(orders)
        verdicts = [line.split("\t")[-1] for line in answer.text.splitlines() if line.startswith("!")]
        reasons = [verdict for verdict in verdicts if "atomic" not in verdict] or verdicts or [answer.complaint]
        reason = next((reason for reason in reasons if not RACE.search(reason)), reasons[0])
        return self._race(f"{reason} ({answer.complaint})" if answer.in_the_way else reason)

    def _race(self, reason: str) -> str:
        if not RACE.search(reason):
            raise RemoteError(f"cannot lock{self._where}: {reason}")
        return reason

    @property
    def _where(self) -> str:
        return f" on {self._remote}" if self._remote else ""


def ref_of(name: str) -> str:
    """
    One level, for a target's lock must not be a folder of its scopes'; lower case, for refs are files; nothing that
    Git forbids (`..`, a dot at either end, `.lock`, `@{`). What is too long for a file name ends in a digest.
    """
    quoted = re.sub(r"[^a-z0-9._-]|^\.|\.(?=\.)|\.\Z|\.(?=lock\Z)", lambda match: _escaped(match[0]), name) or "%"
    if len(quoted) > 200:
        quoted = f"{quoted[:120]}%-{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}"
    return LOCKS + quoted


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _unquoted(ref: str) -> str:
    """The name, as far as the ref tells."""
    return _line(unquote(ref.removeprefix(LOCKS)))


def _sighted_at(ref: str) -> datetime:
    try:
        return datetime.fromtimestamp(int(ref.rpartition("-")[2]), UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.max.replace(tzinfo=UTC)  # no note of ours: later than now


# What they say


def _rendered(claim: Claim) -> str:
    said = {word: getattr(claim, word) for word in WORDS}
    said |= {moment: getattr(claim, moment).isoformat() for moment in TIMES}
    return f"lock: {_few(claim.names)}\n\n{json.dumps({**said, 'names': claim.names})}\n"


def _parsed(content: bytes | None) -> Claim | None:
    """None when we cannot read it. What a newer mspctl says beyond this is passed over, so that it still expires."""
    try:
        said = json.loads((content or b"").decode().partition("\n\n")[2].partition("\n\n")[2])
        holder, host, run, what, nonce = (_line(said[word]) for word in WORDS)
        taken, renewed, expires = (_moment(said[moment]) for moment in TIMES)
        return Claim(holder, host, run, what, nonce, taken, renewed, expires, tuple(map(str, said["names"])))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text).astimezone(UTC)
    if moment.year > 9000:
        raise ValueError("nothing can be added to such a date")
    return moment


def _refusal(held: Sequence[Lock], now: datetime) -> str:
    """One line: who holds which locks, since when, until when, and how to break them."""
    future = any(lock.claim and lock.claim.renewed_at > now + SKEW for lock in held)
    wrong = "; taken in the future: the clock there or the one here is wrong" if future else ""
    return f"{_sentence(held)}{wrong}; if that run is dead: mspctl unlock {_arguments(held)}"


def _sentence(locks: Iterable[Lock]) -> str:
    by_holder: dict[str, list[str]] = {}
    for lock in locks:
        by_holder.setdefault(lock.holder, []).append(lock.name)
    verb = {True: "is", False: "are"}
    return "; ".join(f"{_few(names)} {verb[len(names) == 1]} locked by {it}" for it, names in by_holder.items())


def _arguments(locks: Sequence[Lock]) -> str:
    runs = {lock.run for lock in locks}
    if len(locks) > 3 and len(runs) == 1 and "" not in runs:
        return f"--run {shlex.quote(runs.pop())}"
    return " ".join([shlex.quote(lock.name) for lock in locks[:3]] + (["…"] if len(locks) > 3 else []))


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(map(_line, names[:3]))
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _line(text: str) -> str:
    """On one line, and nothing in it that a terminal would act upon."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _time(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _pause(attempt: int, over: float | None = None) -> None:
    """Longer and longer, never the same for two: who lost together must not come back together."""
    if attempt >= 0:
        left = 2.0 if over is None else max(0.0, over - time.monotonic())
        time.sleep(min(left, SystemRandom().uniform(0, min(2.0, 0.1 * 1.5 ** min(attempt, 10)))))
