"""One customer's firewalls, as far as they were asked for, and how something is said of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property

from mspctl.checks import Facts, Seen
from mspctl.desired import Declaration
from mspctl.driver import Gauge, Measured
from mspctl.finding import Finding, Severity
from mspctl.kinds import firewall
from mspctl.model.sections.firewall import Checks
from mspctl.resource import Id, Resource, Scope


@dataclass(frozen=True)
class Firewall:
    facts: Facts
    declared: Declaration

    @property
    def scope(self) -> Scope:
        return self.declared.scope

    @property
    def settings(self) -> Checks:
        said = self.facts.inventory.checks.get(firewall.FACET)
        return said if isinstance(said, Checks) else Checks()

    def gauge(self, what: str, id_: Id = firewall.DEVICE) -> Gauge:
        return Gauge(self.scope, id_, what)

    def said(self, seen: Seen, what: str, id_: Id = firewall.DEVICE) -> Measured:
        found: Measured = seen.get(self.gauge(what, id_))
        return found

    @cached_property
    def is_read(self) -> bool:
        """Whether it answered in this run, and is there."""
        plan = self.facts.live.get(self.scope)
        return plan is not None and not plan.error and plan.exists

    @cached_property
    def live(self) -> list[Resource]:
        """What the device does: as declared, but for what differs."""
        plan = self.facts.live.get(self.scope)
        held = {r.id: r for r in self.declared.resources}
        for step in plan.steps if plan else ():
            held[step.change.id] = step.change.before or _NOTHING
        for difference in plan.left if plan else ():
            held[difference.id] = difference.live or _NOTHING
        return [r for r in held.values() if r is not _NOTHING]

    def finding(
        self,
        code: str,
        severity: Severity,
        what: str,
        remedy: str,
        id_: Id | None = None,
        since: datetime | None = None,
        until: date | None = None,
    ) -> Finding:
        path = f"{self.scope.facet}/{self.scope.name}{f'/{id_.name}' if id_ else ''}"
        source = next((r.source for r in self.declared.resources if r.id == id_), "") or self.declared.source
        day = since.date() if since else None
        return Finding(code, severity, self.scope.customer, path, what, remedy, source, day, until)


_NOTHING = Resource(Id("", ""), {})


def firewalls(facts: Facts) -> Iterator[Firewall]:
    yield from (Firewall(facts, each) for each in facts.declared if each.scope.facet == firewall.FACET)
