"""
A real target that keeps everything in a dict, and a ledger that keeps its files in one: for every test above drivers.

Both do what their counterparts do, and the target meets the same contract. Its switches make it misbehave.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial

from mspctl.driver import Failed, Gauge, Known, Landed, Measured, Outputs, Reading, Traits, Unmeasured, Work
from mspctl.errors import LedgerError, Stale, TargetError, Unreachable, Unsupported
from mspctl.kinds import NEWEST
from mspctl.ledger_page import Page, begun, edited, finished, landing, parsed, path_of
from mspctl.record import Finished, Run, ScopeRecord
from mspctl.resource import UNKNOWN, Change, Id, Resource, Scope, Value

THING, SOLE = "memory.thing", "memory.sole"  # a sole thing suffers no other of its name


def thing(name: str, kind: str = THING, source: str = "", **fields: Value) -> Resource:
    return Resource(Id(kind, name), fields, source or f"customers/acme/things.yaml:{len(name)}")


@dataclass
class Server:
    """What the target holds, by scope and id, and what shall go wrong."""

    held: dict[str, dict[Id, dict[str, Value]]] = field(default_factory=dict)
    outputs: dict[str, Outputs] = field(default_factory=dict)  # by scope
    hands_out: dict[str, Outputs] = field(default_factory=dict)  # made by the first change of a scope

    newest: dict[tuple[str, Id], Measured] = field(default_factory=dict)  # when something came in last

    down: bool = False
    breaks_after: dict[str, int] = field(default_factory=dict)  # by scope: so many changes still succeed
    down_after: int | None = None  # so many changes, then the whole target is gone
    garbled: set[str] = field(default_factory=set)  # scopes that cannot be read whole
    missing: frozenset[str] = frozenset()  # kinds that cannot be read whole
    silent: set[str] = field(default_factory=set)  # scopes that get no answer
    lies: set[Id] = field(default_factory=set)  # said to have landed, and not done
    defect: Exception | None = None  # raised by whatever is asked
    seconds: float = 0.0  # that each call takes
    before_write: Callable[[], object] = lambda: None
    calls: list[str] = field(default_factory=list)

    def called(self, what: str) -> None:
        self.calls.append(what)
        time.sleep(self.seconds)
        if self.defect is not None:
            raise self.defect
        if self.down:
            raise Unreachable("no route to memory")

    def put(self, scope: str, resource: Resource) -> None:
        """By hand, past every driver."""
        self.held.setdefault(scope, {})[resource.id] = dict(resource.fields)


class Reader:
    traits = Traits(cas="value", holds_data=frozenset({SOLE}), renames=frozenset({THING}))

    def __init__(self, server: Server) -> None:
        self.server = server

    def accept(self, resource: Resource) -> Resource:
        """Sizes come in tens, labels have no upper case; a thing that holds nothing is refused."""
        if resource.id.kind not in (THING, SOLE):
            raise Unsupported(f"memory holds no {resource.id.kind}")
        fields = dict(resource.fields)
        size, label = fields.get("size"), fields.get("label")
        if isinstance(size, int) and size < 0:
            raise Unsupported("a size cannot be negative")
        if isinstance(size, int):
            fields["size"] = (size + 9) // 10 * 10
        if isinstance(label, str):
            fields["label"] = label.lower()
        return Resource(resource.id, fields, resource.source)

    def read(self, scopes: Sequence[Scope], known: Known) -> Iterator[Reading | Failed]:
        self.server.called("read")
        for scope in scopes:
            if scope.name in self.server.garbled:
                yield Failed(scope, TargetError(f"{scope.name} makes no sense"))
            elif scope.name not in self.server.silent:
                yield self._reading(scope)

    def _reading(self, scope: Scope) -> Reading:
        held = self.server.held.get(scope.name)
        resources = [Resource(i, _shown(f), handle=f"#{id(f)}") for i, f in (held or {}).items()]
        outputs = self.server.outputs.get(scope.name, {})
        missing = self.server.missing
        shown = [r for r in resources if r.id.kind not in missing or r.id.name.startswith("seen")]
        return Reading(scope, shown, outputs, self._token(scope), missing, exists=held is not None)

    def scopes(self) -> Sequence[str]:
        self.server.called("scopes")
        return sorted(self.server.held)

    def tokens(self, scopes: Sequence[Scope]) -> Mapping[Scope, str]:
        self.server.called("tokens")
        return {scope: self._token(scope) for scope in scopes}

    def measure(self, gauges: Sequence[Gauge]) -> Mapping[Gauge, Measured]:
        self.server.called("measure")
        there = [g for g in gauges if g.what == NEWEST and g.id in self.server.held.get(g.scope.name, {})]
        return {g: self.server.newest.get((g.scope.name, g.id), Unmeasured("no clock")) for g in there}

    def _token(self, scope: Scope) -> str:
        held = self.server.held.get(scope.name, {})
        return repr(sorted((i, sorted((n, _spelled(v)) for n, v in f.items())) for i, f in held.items()))


def _shown(fields: Mapping[str, Value]) -> dict[str, Value]:
    """A secret can be written, and never be read."""
    return {name: UNKNOWN if name == "secret" else value for name, value in fields.items()}


def _spelled(value: Value) -> str:
    return repr(sorted(value)) if isinstance(value, frozenset) else repr(value)


class Driver(Reader):
    def apply(self, work: Sequence[Work]) -> Iterator[Landed | Failed]:
        self.server.called("apply")
        for item in work:
            try:
                yield from self._apply(item)
            except Unreachable:
                raise
            except TargetError as error:
                yield Failed(item.scope, error)

    def _apply(self, item: Work) -> Iterator[Landed]:
        server, name = self.server, item.scope.name
        for number, change in enumerate(item.changes):
            server.before_write()
            server.called(f"{change.verb} {name} {change.id.name}")
            if server.down_after is not None and server.calls.count("written") >= server.down_after:
                raise Unreachable("memory went away")
            if number >= server.breaks_after.get(name, len(item.changes)):
                raise TargetError(f"{name} is full")
            self._check(name, change)
            if change.id not in server.lies:
                self._change(name, change)
            server.calls.append("written")
            if made := server.hands_out.pop(name, None):
                server.outputs[name] = made
            if item.gone and change is item.changes[-1] and not server.held[name]:
                del server.held[name]
            yield Landed(item.scope, change, server.outputs.get(name, {}))

    def _check(self, name: str, change: Change) -> None:
        was = change.before.id if change.before else change.id
        held = self.server.held.get(name, {}).get(was)
        if (None if held is None else _shown(held)) != (change.before and dict(change.before.fields)):
            raise Stale(f"{change.id.name} was changed since it was read")
        names = [i for i in self.server.held.get(name, {}) if i.name == change.id.name and i != change.id]
        if change.verb == "rename" and change.id in self.server.held.get(name, {}):
            raise Stale(f"{change.id.name} is there by now")
        if change.before is None and names and SOLE in (change.id.kind, *(i.kind for i in names)):
            raise TargetError(f"the name {change.id.name} is taken")

    def _change(self, name: str, change: Change) -> None:
        scope = self.server.held.setdefault(name, {})
        old = scope.pop(change.before.id if change.before else change.id, {})
        if change.after is not None:
            new = {n: value for n, value in change.after.fields.items() if value is not UNKNOWN}
            scope[change.id] = {**old, **new}


class Ledger:
    """The ledger's own files and steps, without Git. An apply that was begun and not finished stays in doubt."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.commits: list[str] = []
        self.today = date(2027, 3, 5)
        self.begin_fails = self.finish_fails = False

    def recorded(self, scopes: Iterable[Scope] | None = None) -> dict[Scope, ScopeRecord]:
        asked = self.files if scopes is None else [path_of(scope) for scope in scopes]
        pages = [parsed(path, self.files[path]) for path in asked if path in self.files]
        return {page.scope: page.record for page in pages}

    def begin(self, run: Run, intents: Mapping[Scope, Mapping[Id, Resource | None]]) -> None:
        if self.begin_fails:
            raise LedgerError("the ledger cannot be pushed")
        steps = {s: partial(begun, scope=s, run=run, intents=ids) for s, ids in intents.items() if ids}
        self._commit("begin", steps)

    def finish(self, run: Run, ends: Mapping[Scope, Finished]) -> None:
        if self.finish_fails:
            raise LedgerError("the outcome cannot be pushed")
        steps = {s: partial(finished, scope=s, run=run, end=end, today=self.today) for s, end in ends.items()}
        self._commit("finish", steps)

    def _commit(self, what: str, steps: Mapping[Scope, Callable[[Page], Page]]) -> None:
        made = {
            path_of(s): edited(path_of(s), s, step, self.today, self.files.get(path_of(s))) for s, step in steps.items()
        }
        new = {path: content for path, content in made.items() if content and content != self.files.get(path)}
        if new:
            self.commits.append(what)
            self.files |= new

    def last(self, scope: Scope) -> tuple[Change, ...]:
        """What the last run did there, as the audit trail tells it."""
        path = path_of(scope)
        return landing(parsed(path, self.files[path])).changes
