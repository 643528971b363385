"""
All that a customer's YAML declares, as resources of one component.

A zone that says what another scope hands out (the record of a DKIM key) is made from that scope's outputs, so Pulumi
knows by itself what comes after what.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pulumi

from mspctl import desired
from mspctl.desired import Declaration, Selection, declarations
from mspctl.errors import Error
from mspctl.load import load
from mspctl.provider.repository import ENGINE, find
from mspctl.provider.shapes import of_facet, to_plain
from mspctl.pulumi import resources as classes
from mspctl.pulumi.scoped import Scoped
from mspctl.resource import UNKNOWN, Resource, Scope, Value


class _Asked(dict[Scope, Mapping[str, Value]]):
    """Outputs, and of which scopes somebody wanted any."""

    def __init__(self) -> None:
        super().__init__()
        self.scopes: set[Scope] = set()

    def __bool__(self) -> bool:
        return True

    def get(self, scope: Scope, default: Any = None) -> Any:
        self.scopes.add(scope)
        return default


class Customer(pulumi.ComponentResource):
    """
    A customer by its folder in customers/, whose customer.yaml says `engine: pulumi`.

    `scopes` are its resources, by facet and name: `customer.scopes["dns", "acme.example"]`; where one has several
    targets, the last of them.
    """

    def __init__(self, name: str, directory: str | None = None, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mspctl:index:Customer", name, None, opts)
        self.scopes: dict[tuple[str, str], Scoped] = {}
        said = directory or pulumi.Config("mspctl").get("directory")
        try:
            declared = Declared(name, Path(said).resolve() if said else find(Path.cwd()))
        except Error as error:
            raise pulumi.RunError(str(error)) from None
        self._made: dict[Scope, Scoped] = {}
        for scope in declared.first:
            self._make(declared, scope, ())
        self.register_outputs({})

    def _make(self, declared: Declared, scope: Scope, waiting: tuple[Scope, ...]) -> Scoped:
        if scope in waiting:
            raise pulumi.RunError(f"these scopes wait for each other: {', '.join(map(str, (*waiting, scope)))}")
        if scope not in self._made:
            before = {each: self._make(declared, each, (*waiting, scope)) for each in declared.after(scope)}
            self._made[scope] = self.scopes[scope.facet, scope.name] = self._registered(declared, scope, before)
        return self._made[scope]

    def _registered(self, declared: Declared, scope: Scope, before: Mapping[Scope, Scoped]) -> Scoped:
        first: Any = to_plain(declared.first[scope].resources)
        needed = {each: made for each, made in before.items() if each in declared.needs[scope]}
        if needed:
            outputs = pulumi.Output.all(*(made.outputs for made in needed.values()))
            first = outputs.apply(lambda found: declared.again(scope, dict(zip(needed, found, strict=True))))
        class_ = getattr(classes, of_facet(scope.facet).token.rpartition(":")[2])
        opts = pulumi.ResourceOptions(parent=self, depends_on=[*before.values()])
        made: Scoped = class_(
            f"{scope.target}/{scope.name}",
            customer=scope.customer,
            target=scope.target,
            name=scope.name,
            resources=first,
            opts=opts,
        )
        return made


class Declared:
    """What a customer's YAML says, as far as it can be known before anything is made. Raises Error."""

    def __init__(self, customer: str, root: Path) -> None:
        self.estate = load(root, [customer])
        self.now = datetime.now(UTC)
        self.customer = customer
        if self.estate.customers[customer].info.engine != ENGINE:
            raise Error(f"{customer} is mspctl's (write engine: pulumi in customers/{customer}/customer.yaml)")
        self.first: dict[Scope, Declaration] = {}
        self.needs: dict[Scope, set[Scope]] = {}  # of whose outputs a scope is made
        for section in desired.names():
            self._look(section)
        for scope, declaration in self.first.items():
            self.needs[scope] &= self.first.keys()
            names = [r.id.name for r in declaration.resources if _is_unknown(r)]
            if names and not self.needs[scope]:
                raise Error(f"{scope}: {names[0]} follows from what the target says while it is read (use mspctl)")

    def _look(self, section: str) -> None:
        asked = _Asked()
        found = [*declarations(self.estate, Selection([self.customer], [section]), asked, self.now)]
        for each in found:
            waits = any(map(_is_unknown, each.resources))
            self.first[each.scope] = each
            self.needs[each.scope] = {s for s in asked.scopes if s != each.scope} if waits else set()

    def after(self, scope: Scope) -> list[Scope]:
        """Scopes that must be finished before this one starts."""
        return [each for each in self.first if each in self.needs[scope] or each in self.first[scope].scope.after]

    def again(self, scope: Scope, outputs: Mapping[Scope, Mapping[str, Any]]) -> dict[str, Any]:
        """What a scope is declared as once it is known what others hand out."""
        known = {s: {n: tuple(v) if isinstance(v, list) else v for n, v in o.items()} for s, o in outputs.items()}
        made = next(
            d for d in declarations(self.estate, Selection([self.customer]), known, self.now) if d.scope == scope
        )
        if names := [resource.id.name for resource in made.resources if _is_unknown(resource)]:
            raise pulumi.RunError(f"{scope}: {', '.join(names)} waits for something that nobody has made")
        return to_plain(made.resources)


def _is_unknown(resource: Resource) -> bool:
    return UNKNOWN in resource.fields.values()
