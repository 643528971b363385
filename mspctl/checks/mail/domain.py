"""One mail domain as Git declares it, and how something is said about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from mspctl.checks import Facts
from mspctl.desired import Declaration
from mspctl.finding import Finding, Severity
from mspctl.kinds import dns, mail
from mspctl.kinds import filter as filters
from mspctl.model.inventory import TargetInfo
from mspctl.model.sections import mail as model
from mspctl.plan import ScopePlan
from mspctl.resource import Id, Resource, Scope
from mspctl.strict_yaml import find


@dataclass(frozen=True)
class Domain:
    facts: Facts
    name: str  # "acme.example"
    scopes: tuple[Declaration, ...]  # of its facets, as far as they were asked for

    @property
    def section(self) -> model.Section:
        section = self.facts.customer.sections["mail"]
        assert isinstance(section, model.Section), "load puts each section's own model here"
        return section

    @property
    def own(self) -> model.Domain:
        return self.section.domains[self.name]

    @property
    def settings(self) -> model.Checks:
        said = self.facts.inventory.checks.get("mail")
        return said if isinstance(said, model.Checks) else model.Checks()

    @property
    def target(self) -> TargetInfo | None:
        return self.facts.inventory.targets.get(self.own.target)

    def scope(self, facet: str) -> Scope:
        return Scope(self.own.target, facet, self.name, self.facts.customer.name, self.facts.customer.info.engine)

    def has(self, facet: str) -> bool:
        """Whether its target has a facet."""
        return self.target is not None and facet in self.target.facets

    # -- what is declared and live

    @cached_property
    def declared(self) -> dict[Id, Resource]:
        """What its mailboxes facet shall hold."""
        mine = (d.resources for d in self.scopes if d.scope.facet == mail.FACET)
        return {resource.id: resource for resources in mine for resource in resources}

    @property
    def plan(self) -> ScopePlan | None:
        """Of its mailboxes, if they were read."""
        plan = self.facts.live.get(self.scope(mail.FACET))
        return None if plan is None or plan.error or not plan.exists else plan

    @cached_property
    def live(self) -> dict[Id, Resource]:
        """Its mailboxes facet as it is: what differs from Git as it was read, and all else as declared."""
        if self.plan is None:
            return {}
        found = dict(self.declared)
        for id_, before in [
            *((step.change.id, step.change.before) for step in self.plan.steps),
            *((d.id, d.live) for d in self.plan.left),
        ]:
            found.pop(id_, None)
            if before is not None:
                found[before.id] = before
        return found

    # -- what is said about it

    def place(self, *keys: str | int) -> str:
        """Where something stands that mail.yaml says of the domain, or the domain itself."""
        data = self.facts.customer.data["mail"]
        typed = next((key for key in data["domains"] if dns.fold_zone(key) == self.name), self.name)
        mark = find(data, ["domains", typed, *keys]) or find(data, ["domains", typed])
        return f"{mark.file}:{mark.line}" if mark else ""

    def finding(
        self,
        code: str,
        severity: Severity,
        what: str,
        remedy: str,
        *,
        id_: Id | None = None,
        path: str = "",
        source: str = "",
        since: date | None = None,
    ) -> Finding:
        """A finding about the domain, about one of its mailboxes and aliases, or about what else `path` names."""
        path = path or f"{mail.FACET}/{self.name}"
        if id_ is not None:
            declared = self.declared.get(id_)
            path, source = f"{path}/{id_.name}", source or (declared.source if declared else "")
        return Finding(code, severity, self.facts.customer.name, path, what, remedy, source or self.place(), since)

    def unchecked(self, reasons: Iterable[str]) -> Finding:
        what = f"could not be checked: {'; '.join(dict.fromkeys(reasons))}"
        return self.finding("mail.unchecked", Severity.UNKNOWN, what, "docs/findings.md says what each of them needs")


def domains(facts: Facts) -> Iterator[Domain]:
    """The mail domains among a customer's declared scopes."""
    found: dict[str, list[Declaration]] = {}
    for declaration in facts.declared:
        if declaration.scope.facet in (mail.FACET, filters.FACET):
            found.setdefault(declaration.scope.name, []).append(declaration)
    return (Domain(facts, name, tuple(mine)) for name, mine in found.items())
