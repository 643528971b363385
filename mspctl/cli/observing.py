"""A repository as a drift run sees it: what was observed before and has not changed since is not read again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TypeVar

from mspctl.cli.workspace import RUN_ID, WORKERS, Workspace, head, who
from mspctl.desired import Declaration, Selection, scopes
from mspctl.driver import Remembers, Tokens, Touched, translated
from mspctl.errors import TargetError, Unreachable
from mspctl.finding import Findings
from mspctl.finding_page import Found, found
from mspctl.kinds.hosts import FACET, parts
from mspctl.kinds.patching import SECTION as PATCHING
from mspctl.ledger import Ledger
from mspctl.ledger_page import path_of
from mspctl.moments import Clock
from mspctl.observation import SKEW, Observation, as_seen, basis, observed, reading, since
from mspctl.observations import Observations
from mspctl.plan import Plan, ScopePlan, accept, plan_scope
from mspctl.proof import Key, Proof
from mspctl.record import Run, ScopeRecord
from mspctl.resource import Cause, Id, Scope
from mspctl.updates import Installed, installed

_LOG = logging.getLogger(__name__)
NEVER, NONE = datetime.min.replace(tzinfo=UTC), timedelta()
K = TypeVar("K")
V = TypeVar("V")


class Late(Mapping[K, V]):
    """What is made when somebody looks into it."""

    def __init__(self, make: Callable[[], Mapping[K, V]]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> Mapping[K, V]:
        return self._make()

    def __getitem__(self, key: K) -> V:
        return self._made[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


class Observing(Workspace):
    """
    A scope is read when its target cannot say, or does not say, that nothing changed; when what is declared or
    recorded of it changed; when its observation is old; and always when `full`.
    """

    def __init__(self, directory: str | None, selection: Selection, *, full: bool) -> None:
        self.full = full
        self.bases: dict[Scope, str] = {}
        self._driven: dict[tuple[str, str], str] = {}
        super().__init__(directory, selection, ahead=True)

    def open_ledger(self, *, alone: bool = False) -> Ledger:
        self.observations = Observations(self.root)
        ledger = Ledger.open(self.root, alone=alone, beside=[self.observations.branch])
        self.observations.read_ahead()
        return ledger

    @cached_property
    def proved(self) -> dict[Key, Proof]:
        _ = self.ledger  # with it, they are fetched
        return super().proved

    @cached_property
    def everywhere(self) -> list[Scope]:
        return [scope for scope in scopes(self.estate) if scope.engine == "mspctl"]

    @cached_property
    def pages(self) -> Mapping[str, str]:
        return self.ledger.pages()

    @cached_property
    def observed(self) -> dict[Scope, Observation]:
        _ = self.ledger  # with it, they are fetched
        return self.observations.of(filter(self.selection.covers, self.everywhere))

    @cached_property
    def recorded(self) -> dict[Scope, ScopeRecord]:
        """Of what need not be read, only what it hands out; `_look_up` reads the rest of it."""
        trusted = {} if self.full else {s: o for s, o in self.observed.items() if o.page and o.token}
        same = {scope: o for scope, o in trusted.items() if o.page == self._page(scope)}
        self._skipped = {*same}
        wanted = self.selection.customers
        mine = [scope for scope in self.everywhere if scope.customer in wanted] if wanted else None
        known = self.ledger.recorded(mine, wanted, without={*map(path_of, same)})
        return known | {scope: ScopeRecord(scope, {}, o.outputs) for scope, o in same.items()}

    @property
    def history(self) -> Mapping[Scope, ScopeRecord]:
        return Late(self._everything)

    def _everything(self) -> Mapping[Scope, ScopeRecord]:
        self._look_up({*self._skipped})
        return self.recorded

    def _recorded_of(self, asked: Collection[Scope]) -> Mapping[Scope, ScopeRecord]:
        known = self.recorded  # first, for it says what is not read
        self._look_up(asked)
        return known

    def _look_up(self, asked: Iterable[Scope]) -> None:
        missing = self._skipped.intersection(asked)
        self.recorded.update(self.ledger.recorded(missing) if missing else {})
        self._skipped -= missing

    def _page(self, scope: Scope) -> str:
        return self.pages.get(path_of(scope), "")

    def _scopes(self, declared: Sequence[Declaration], causes: frozenset[Cause]) -> list[ScopePlan]:
        self.bases |= {d.scope: basis(d, self._how(d.scope)) for d in declared if not d.gone}
        kept = {} if self.full else self._kept(declared)
        _LOG.info("%d of %d scopes are as they were seen", len(kept), len(declared))
        self._look_up(d.scope for d in declared if d.scope not in kept or kept[d.scope].seen)
        read = super()._scopes([d for d in declared if d.scope not in kept], causes)
        known = ((p, self.observed.get(p.scope)) for p in read)
        plans = [replace(p, since=since(p, o), looked=o.read_at) if o else p for p, o in known]
        return plans + [self._as_seen(d, kept[d.scope], causes) for d in declared if d.scope in kept]

    def _how(self, scope: Scope) -> str:
        key = (scope.target, scope.facet)
        if key not in self._driven:
            self._driven[key] = self.targets.driven(scope)
        return self._driven[key]

    def _kept(self, declared: Iterable[Declaration]) -> dict[Scope, Observation]:
        """What of the observations still stands."""
        # What may have to go is measured anew each time.
        known = ((d.scope, self.observed.get(d.scope)) for d in declared if not (d.gone or self._purges(d)))
        held = {s: o for s, o in known if o and o.holds(self.bases[s], self._page(s), self.now)}
        targets: dict[tuple[str, str], list[Scope]] = {}
        for scope in held:
            targets.setdefault((scope.target, scope.facet), []).append(scope)
        with ThreadPoolExecutor(WORKERS) as executor:
            answers = [*executor.map(self._tokens, targets.values())]
        tokens = {scope: token for answer in answers for scope, token in answer.items()}
        return {scope: o for scope, o in held.items() if tokens.get(scope) == o.token}

    def _tokens(self, asked: Sequence[Scope]) -> Mapping[Scope, str]:
        """What one target says; one that does not answer is read, and then tells why."""
        try:
            with translated():
                reader = self._reader(asked[0])
                return reader.tokens(asked) if isinstance(reader, Tokens) else {}
        except TargetError as error:
            _LOG.info("no tokens from %s: %s", asked[0].target, error)
            return {}

    def _as_seen(self, declaration: Declaration, seen: Observation, causes: frozenset[Cause]) -> ScopePlan:
        scope = declaration.scope
        if not seen.seen:
            return as_seen(seen, declaration, self.wants)
        reader = self._reader(scope)
        accepted, _ = accept(reader, declaration)  # nothing is refused, or it would not have been observed
        record = self.recorded.get(scope)
        plan = plan_scope(accepted, record, reading(seen, accepted), causes, self.wants, reader.traits)
        return replace(plan, seen_at=seen.read_at, since={id: it.since for id, it in seen.seen.items()})

    def who_touched(self, plan: Plan) -> Plan:
        """With who touched last what differs, and when, as far as targets know it."""
        targets: dict[tuple[str, str], dict[Scope, list[Id]]] = {}
        for each in plan.scopes:
            if each.left:
                asked = targets.setdefault((each.scope.target, each.scope.facet), {})
                asked[each.scope] = [d.live.id if d.live else d.id for d in each.left]
        with ThreadPoolExecutor(WORKERS) as executor:
            answers = [*executor.map(self._touched, targets.values())]
        found = {scope: touched for answer in answers for scope, touched in answer.items() if touched}
        if not found:
            return plan
        ours = self.ledger.last(found)
        theirs = {s: self._theirs(touched, ours.get(s, NEVER)) for s, touched in found.items()}
        return replace(plan, scopes=[replace(s, touched=theirs.get(s.scope, {})) for s in plan.scopes])

    def _touched(self, asked: Mapping[Scope, Sequence[Id]]) -> Mapping[Scope, Mapping[Id, Touched]]:
        """What one target knows; that it gives no answer is told elsewhere."""
        scope = next(iter(asked))
        try:
            with translated():
                reader = self._reader(scope)
                return reader.touched(asked) if isinstance(reader, Remembers) else {}
        except TargetError as error:
            _LOG.info("%s does not say who changed what: %s", scope.target, error)
            return {}

    def _theirs(self, found: Mapping[Id, Touched], ours: datetime | None) -> Mapping[Id, Touched]:
        """Without what may have been us, or was before us. Who has a name was not; clocks may differ all the same."""
        if ours is None:
            return {}
        until = self.now + SKEW
        return {i: t for i, t in found.items() if ours + (NONE if t.who else SKEW) < t.when <= until}

    @cached_property
    def found(self) -> dict[str, Found]:
        """What runs before this one found of the customers asked for."""
        _ = self.ledger  # with it, they are fetched
        return self.observations.found(self.estate.customers)

    def record(self, plan: Plan, findings: Findings) -> None:
        """Keep what was seen and found for the next run. Raises LedgerError when it cannot be published."""
        run = Run(RUN_ID, who(self.root), head(self.root))
        fresh = [p for p in plan.scopes if not (p.error or p.gone or p.seen_at)]
        seen = [self._observed(p) for p in fresh]
        facts = {
            "scopes": len(plan.scopes),
            "read": len(fresh),
            "as_seen": sum(p.seen_at is not None for p in plan.scopes),
            "differing": sum(bool(p.drifted) for p in plan.scopes),
            "not_read": sum(bool(p.error) for p in plan.scopes),
        }
        only = None if self.selection != Selection() else self.everywhere
        self.observations.record(run, seen, facts, self._moment, only, self._found_now(findings), installed_of(plan))

    def _found_now(self, findings: Findings) -> list[Found]:
        """Whoever looked at a part, or not from outside, does not know what is not there any more."""
        if not findings.asked or self.selection != Selection(self.selection.customers):
            return []
        all_ = [*findings.open, *(each.finding for each in findings.accepted)]
        return [found(name, all_, self._moment, self.found.get(name)) for name in self.estate.customers]

    def _observed(self, plan: ScopePlan) -> Observation:
        scope = plan.scope
        known = self.recorded.get(scope) or ScopeRecord(scope)
        plan = replace(plan, outputs={**known.outputs, **plan.outputs})
        if known.emergencies:
            plan = replace(plan, token="")  # until it is over, its page is looked at each time
        return observed(plan, self._moment, self.bases[scope], self._page(scope), self.observed.get(scope))

    @property
    def _moment(self) -> datetime:
        return self.now.replace(microsecond=0)


def installed_of(plan: Plan) -> list[Installed]:
    """What hosts that were read say that they installed."""
    told = (p for p in plan.scopes if p.scope.facet == FACET and parts(p.scope)[2] == PATCHING)
    return [each for p in told for each in installed(p.scope, p.facts)]


class Remembering(Observing):
    """What was observed, whatever has become of it since: no target is asked."""

    def _scopes(self, declared: Sequence[Declaration], causes: frozenset[Cause]) -> list[ScopePlan]:
        self._look_up(d.scope for d in declared)
        return [self._remembered(d, causes) for d in declared]

    def _remembered(self, declaration: Declaration, causes: frozenset[Cause]) -> ScopePlan:
        scope, known = declaration.scope, self.observed.get(declaration.scope)
        try:
            if known is None:
                raise Unreachable("no drift run has kept what is there (mspctl drift --record)")
            if known.basis != basis(declaration, self._how(scope)):
                raise Unreachable(
                    f"something else is declared since it was looked at on {known.read_at:%Y-%m-%d %H:%M}"
                )
            return self._as_seen(declaration, known, causes)
        except TargetError as error:
            unreachable = isinstance(error, Unreachable)
            declared = len(declaration.resources)
            return ScopePlan(scope, declaration.source, error=str(error), unreachable=unreachable, declared=declared)

    def remembered(self) -> Findings:
        """What was found then, without what is accepted today."""
        from mspctl import checks

        customers = self.estate.customers.values()
        allowed = {c.name: c.permissions.on(Clock(self.now, c.info.timezone).today) for c in customers}
        found = [finding for page in self.found.values() for finding in page.findings]
        return checks.judged(found, allowed, bool(self.found))
