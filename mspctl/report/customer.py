"""Customers in a few lines: who they are and what is declared for them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from click import style

from mspctl.amounts import count
from mspctl.report.words import said
from mspctl.resource import Resource, Scope, Value


class Declared(Protocol):
    @property
    def scope(self) -> Scope: ...
    @property
    def resources(self) -> Sequence[Resource]: ...
    @property
    def source(self) -> str: ...


def overview(estate: Any, declared: Sequence[Declared]) -> Iterator[str]:
    """A line per customer."""
    width = max((len(name) for name in estate.customers), default=0)
    for name, customer in estate.customers.items():
        mine = [d for d in declared if d.scope.customer == name]
        resources = sum(len(d.resources) for d in mine)
        plan = customer.info.contract.plan if customer.info.contract else "no contract"
        said = f"{count(len(mine), 'scope')}, {count(resources, 'resource')}"
        terms = style(f"{plan}, {customer.info.mode}", dim=True)
        yield f"{style(f'{name:<{width}}', bold=True)}  {customer.info.name}  {terms}  {said}"


def lines(customer: Any, declared: Iterable[Declared], outputs: Mapping[Scope, Mapping[str, Value]]) -> Iterator[str]:
    """One customer, section by section, with what the scopes hand out."""
    info = customer.info
    yield f"{style(info.name, bold=True)} ({customer.name})"
    facts = {
        "contract": _contract(info.contract) if info.contract else "none",
        "baseline": info.baseline or "none",
        "mode": info.mode,
        "time zone": info.timezone,
        "sites": ", ".join(f"{name} {network}" for name, network in info.sites.items()),
        "contacts": ", ".join(f"{c.name}{f' <{c.email}>' if c.email else ''}" for c in info.contacts),
    }
    for name, value in facts.items():
        if value:
            yield f"  {name:<10} {value}"
    for declaration in declared:
        kinds = f"{len(declaration.resources):,} resources"
        yield f"  {style(str(declaration.scope), bold=True)}  {kinds}  {style(declaration.source, dim=True)}"
        for name, value in sorted(outputs.get(declaration.scope, {}).items()):
            if value:
                yield f"    {name}  {said(value)}"


def _contract(contract: Any) -> str:
    until = f" to {contract.end}" if contract.end else ""
    since = f" from {contract.start}" if contract.start else ""
    return f"{contract.plan}{since}{until}"


def as_json(estate: Any, declared: Sequence[Declared], proofs: Sequence[Mapping[str, Any]] = ()) -> str:
    """The same for programs, with every resource; `proofs` say how each live test ended last."""
    customers = {
        name: {
            "info": json.loads(customer.info.model_dump_json(by_alias=True)),
            "scopes": [_scope(d) for d in declared if d.scope.customer == name],
            "proofs": [proof for proof in proofs if proof["customer"] == name],
        }
        for name, customer in estate.customers.items()
    }
    return json.dumps({"format": "mspctl.show/1", "customers": customers}, indent=2, ensure_ascii=False)


def _scope(declaration: Declared) -> dict[str, object]:
    scope = declaration.scope
    resources = [_resource(r) for r in declaration.resources]
    return {"target": scope.target, "facet": scope.facet, "name": scope.name, "resources": resources}


def _resource(resource: Resource) -> dict[str, object]:
    fields = {name: _plain(value) for name, value in resource.fields.items()}
    return {"kind": resource.id.kind, "name": resource.id.name, "fields": fields, "source": resource.source}


def _plain(value: object) -> object:
    if isinstance(value, frozenset | tuple):
        return sorted(value) if isinstance(value, frozenset) else list(value)
    return value if isinstance(value, str | int) else {"unknown": True}
