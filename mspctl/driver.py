"""
What a reader and a driver are. Plan and drift hold readers, which have no way to write; only apply opens drivers.

A driver's file in `drivers/` defines three classes: `Settings` (a pydantic model: what targets.yaml may say
about it), `Reader` and `Driver(Reader)`, both constructed from one `Access` without asking the target anything.
`tests/drivers/contract.py` holds every driver to what is said here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue
from threading import Semaphore
from typing import Any, Literal, Protocol, runtime_checkable

from mspctl.errors import Error, SecretError, TargetError
from mspctl.kinds.assets import Inspected
from mspctl.kinds.grown import Grown
from mspctl.kinds.hosts import Host
from mspctl.kinds.mail_log import Fact, Junk, Waiting
from mspctl.kinds.packets import Other, Packet
from mspctl.resource import Change, Id, Resource, Scope, Value
from mspctl.secrets import Secret, Secrets

Known = Mapping[Scope, Sequence[Resource]]
Outputs = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Traits:
    """What a kind of target can and cannot do; the engine adapts to it."""

    # How a write is guarded against someone else's in between: not at all; the driver reads again just before; or the
    # target itself, as it writes, compares what is there with what was read. Who says "value" need not be read twice.
    cas: Literal["none", "reread", "value"] = "none"
    lock: Literal["scope", "target"] = "scope"
    holds_data: frozenset[str] = frozenset()  # kinds whose delete loses data
    renames: frozenset[str] = frozenset()  # kinds that can be renamed and keep what they hold
    ordered: frozenset[str] = frozenset()  # kinds whose order matters
    untried: str = ""  # why nobody knows yet whether it works on the real thing: plans say so
    settle: float = 0.0  # seconds until a write is seen by a read


class Passwords(Protocol):
    """What people log in with. Drivers ask late, and only for what they are about to write."""

    def of(self, customer: str, wanted: Sequence[tuple[str, str]]) -> list[Secret]:
        """One for each (address, what the field `password` of its mailbox says). Raises SecretError."""


class NoPasswords:
    def of(self, customer: str, wanted: Sequence[tuple[str, str]]) -> list[Secret]:
        raise SecretError("there is no place that passwords come from")


@dataclass(frozen=True, slots=True)
class Access:
    """All that a driver gets to know of its target."""

    target: str  # name in inventory/targets.yaml
    address: str
    settings: Any  # an instance of the driver's own Settings
    secrets: Secrets
    root: Path  # the repository; relative paths in settings start here
    passwords: Passwords = field(default_factory=NoPasswords)  # of customers' people
    hosts: Mapping[str, Host] = field(default_factory=dict)  # by full name: those that this target reaches


@dataclass(frozen=True, slots=True)
class Reading:
    """A scope as it is now, as the YAML would say it."""

    scope: Scope
    resources: Sequence[Resource]
    outputs: Outputs = field(default_factory=dict)
    token: str = ""  # cheap fingerprint taken with this read; "" when the target has none
    missing: frozenset[str] = frozenset()  # kinds that could not be read whole: never planned
    exists: bool = True  # False: the target answered, and this scope is not there yet
    # What findings want to know; neither planned nor recorded. `alarms` (texts) are the first lines of every report.
    facts: Outputs = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Work:
    """
    What to do in one scope; `after` is everything it holds when done, unmanaged included.

    A field that is UNKNOWN in a change stays as it is. `gone`: the scope itself goes when its changes are done and
    nothing else is in it; it left Git, and an approval named it. Who cannot remove it leaves it there, empty.
    """

    scope: Scope
    changes: Sequence[Change]
    after: Sequence[Resource]
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Landed:
    """One change that is true on the target now."""

    scope: Scope
    change: Change
    outputs: Outputs = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """One scope that could not be read, or was not finished; what landed before it stays landed."""

    scope: Scope
    error: TargetError


@runtime_checkable
class Reader(Protocol):
    """All that plan and drift ever hold."""

    traits: Traits

    def accept(self, resource: Resource) -> Resource:
        """The resource as this target will hold and show it (rounded, folded). Raises Unsupported. No I/O."""

    def read(self, scopes: Sequence[Scope], known: Known) -> Iterator[Reading | Failed]:
        """
        One answer per scope. `known` (declared and recorded resources) lets a driver match entries without ids.

        What cannot be read whole is Failed, or its kind is in `missing`: never an empty scope. Raising TargetError
        means that the whole target gave no answer.
        """


@runtime_checkable
class Driver(Reader, Protocol):
    def apply(self, work: Sequence[Work]) -> Iterator[Landed | Failed]:
        """
        Make the changes, in their order, yielding each once it is true on the target; what was not yielded did not
        happen. Nothing else in the scope is touched, and a scope that is not there yet is made.

        A resource that is not as in `before` any more is Stale. Failed ends one scope, the others go on; raising
        ends the target.
        """


@runtime_checkable
class Lists(Protocol):
    """Optional: says what lives on a target, for import."""

    def scopes(self) -> Sequence[str]:
        """Names of all scopes of this facet on the target."""


@runtime_checkable
class Grows(Protocol):
    """Optional: puts into our words what other people wrote there, for import."""

    def grown(self, file: str | None = None, outside: Sequence[str] = ()) -> Grown:
        """
        All rules that are not ours; of what was saved in a `file` there, without asking the target. The rest of the
        world is reached by `outside`, besides what is seen. Raises TargetError.
        """


@runtime_checkable
class Tokens(Protocol):
    """Optional: cheap fingerprints, so that a drift run reads only what may have changed."""

    def tokens(self, scopes: Sequence[Scope]) -> Mapping[Scope, str]:
        """A token per scope that could be asked; equal tokens mean nothing changed."""


@runtime_checkable
class Logs(Protocol):
    """
    What reads a mail server's logs, queue and Junk folders. There are no resources in them, so this is no Reader, and
    nothing is planned; a module whose `Reader` is one of these has a `Driver` that can release what is held, no more.

    Domains are A-labels. Everything may name others too: whose it is, is decided by who asked.
    """

    def facts(self, domains: Collection[str], since: datetime, most: int) -> Iterator[Fact]:
        """
        What the logs tell of these domains, in the order of lines, file by file; of more than `most` messages the
        latest. Raises Stale when a log was rotated meanwhile: then what was told is not all, or some of it twice.
        """

    def queue(self, domains: Collection[str]) -> Iterator[Waiting]:
        """What waits with a sender or recipient in these domains."""

    def junk(self, addresses: Collection[str], since: datetime) -> Iterator[Junk]:
        """What came into the Junk folders of these mailboxes since; `@domain` is all mailboxes of it."""


@runtime_checkable
class Releases(Logs, Protocol):
    def release(self, message: Waiting | Junk, who: str) -> None:
        """Let it go where it belongs, and write down on the server who wanted it. Raises Stale when it is gone."""


@dataclass(frozen=True, slots=True)
class Touched:
    """The last change of something, as far as the target itself knows of it."""

    when: datetime  # with a time zone, on the target's clock
    who: str = ""  # as the target calls them; "" where it does not know
    whole: str = ""  # "file": nobody knows which part of it was changed then


@runtime_checkable
class Remembers(Protocol):
    """Optional: says who changed something last, and when. It is asked of what differs, by drift reports alone."""

    def touched(self, asked: Mapping[Scope, Collection[Id]]) -> Mapping[Scope, Mapping[Id, Touched]]:
        """
        What is known, also of what is not there any more; what nobody knows is left out, and nothing is guessed. What
        the target knows to be our own doing is left out, too; of the rest the ledger says what may be ours. Nothing
        changes by it. Raising TargetError means that there was no answer.
        """


@runtime_checkable
class Others(Protocol):
    """Optional, of firewalls: what else on the device has a say about a packet."""

    def others(self, reading: Reading, packet: Packet) -> Sequence[Other]:
        """In the order of its way; nothing of what the resources in `reading` say themselves."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that a device is configured with: a file's path, or what was asked, and what stands there. Secrets too."""

    scope: Scope
    parts: Mapping[str, bytes] = field(repr=False)


@runtime_checkable
class Archives(Protocol):
    """Optional, of devices: says their whole configuration, to be archived. Nothing changes by it."""

    def configuration(self, scopes: Sequence[Scope]) -> Iterator[Configuration | Failed]:
        """One answer per scope, whole or not at all. What differs each time (counters, leases) is left out."""


@runtime_checkable
class Installs(Protocol):
    """Optional: lets hosts install their updates now. What is declared does not change by it."""

    def install(self, left: Mapping[Scope, int]) -> Iterator[Reading | Failed]:
        """
        Begin, and end when so many seconds are over; what is there afterwards, as it is read. A host that still
        installs is left at it; one that reboots is waited for.
        """


@runtime_checkable
class Collects(Protocol):
    """Optional: says what hosts are made of, for `inventory collect`."""

    def collect(self, hosts: Mapping[str, Sequence[str]]) -> Mapping[str, Inspected | TargetError]:
        """An answer of each host, by full name; each looks for those addresses that are on a network of its own."""


@runtime_checkable
class Errands(Protocol):
    """
    Optional, of drivers only: has a program of ours run once where a scope lives. A proof or a restore is such an
    errand; the program is sent along and kept nowhere, writes only what it is for, and cleans up after itself.
    """

    def errand(self, scope: Scope, programs: Sequence[str], ask: Mapping[str, object], seconds: int) -> Any:
        """
        What the last of these programs answers (files of `playbooks/files`, by name; it may import those before it).

        Raises TargetError, with the program's last words where it failed.
        """


@dataclass(frozen=True, slots=True)
class Gauge:
    """What can be measured of one thing and nobody declares: the octets in a mailbox, when a rule was hit last."""

    scope: Scope
    id: Id
    what: str  # "octets"; `kinds/` says which there are, and of what


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """Nobody knows; that is never good."""

    why: str


Measured = int | str | datetime | None | Unmeasured  # None: it is known that there is none


@runtime_checkable
class Measures(Protocol):
    """Optional: says how what lives on a target is used. A facet that holds no resources may measure too."""

    def measure(self, gauges: Sequence[Gauge]) -> Mapping[Gauge, Measured]:
        """
        What was asked for; what is left out is not measured here. Moments have a time zone.

        It takes as many queries for many scopes as for one, and changes nothing. Raising TargetError means that the
        whole target gave no answer.
        """


@runtime_checkable
class Ends(Protocol):
    """Optional: ends what people have open, whatever is declared of them."""

    def end(self, addresses: Collection[str]) -> int:
        """
        Sessions of these mailboxes that were open and have ended.

        Raises Unsupported where the target cannot, and TargetError when some go on.
        """


NOT_HERE = Unmeasured("nothing on the target tells it")


def measured(reader: object, gauges: Sequence[Gauge]) -> dict[Gauge, Measured]:
    """An answer to each, whatever becomes of the target."""
    try:
        with translated():
            found = reader.measure(gauges) if isinstance(reader, Measures) else {}
    except TargetError as error:
        return dict.fromkeys(gauges, Unmeasured(str(error)))
    return {gauge: found.get(gauge, NOT_HERE) for gauge in gauges}


@contextmanager
def translated() -> Iterator[None]:
    """Whatever a driver raises becomes its target's error: a defect of one driver must not stop the others."""
    try:
        yield
    except TargetError:
        raise
    except Error as error:
        raise TargetError(str(error)) from error
    except Exception as error:
        raise TargetError(f"the driver failed: {type(error).__name__}: {error}") from error


class ReadsEach:
    """Base for readers that read one scope at a time; gives them the shape of the contract."""

    def read_one(self, scope: Scope, known: Sequence[Resource]) -> Reading:
        raise NotImplementedError

    def read(self, scopes: Sequence[Scope], known: Known) -> Iterator[Reading | Failed]:
        for scope in scopes:
            yield self._answer(scope, known.get(scope, ()))

    def _answer(self, scope: Scope, known: Sequence[Resource]) -> Reading | Failed:
        try:
            with translated():
                return self.read_one(scope, known)
        except TargetError as error:
            return Failed(scope, error)


class ReadsSideBySide(ReadsEach):
    """Likewise, but several scopes at a time. Who takes the answers sets the pace: few are read ahead."""

    readers: int  # at once

    def read(self, scopes: Sequence[Scope], known: Known) -> Iterator[Reading | Failed]:
        left, answers, room = deque(scopes), SimpleQueue[Reading | Failed](), Semaphore(2 * self.readers)

        def work() -> None:
            with suppress(IndexError):
                while room.acquire():
                    scope = left.popleft()
                    answers.put(self._answer(scope, known.get(scope, ())))

        executor = ThreadPoolExecutor(self.readers)
        try:
            for _ in range(min(self.readers, len(scopes))):
                executor.submit(work)
            for _ in scopes:
                yield answers.get()
                room.release()
        finally:
            left.clear()
            room.release(self.readers)
            executor.shutdown()


class AppliesEach:
    """Likewise for drivers that write one scope at a time."""

    def apply_one(self, work: Work) -> Iterator[Landed]:
        raise NotImplementedError

    def apply(self, work: Sequence[Work]) -> Iterator[Landed | Failed]:
        for item in work:
            try:
                with translated():
                    yield from self.apply_one(item)
            except TargetError as error:
                yield Failed(item.scope, error)
