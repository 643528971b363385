"""
What a scope looks like as a resource of Pulumi, for every facet; and the schema that says so.

`{customer, target, name, resources: {rrset: {"www A": {ttl: 300, values: […]}}}}`: below `resources`, kinds without
their room, then names, then fields, as the ledger has them. Sets are lists, sorted. All of it follows from what
sections declare (`desired.of_facets`) and from the fields of kinds: there is no list here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

from mspctl import __version__, desired
from mspctl.resource import UNKNOWN, Id, Resource, Value

PACKAGE = "mspctl"
WHERE = ("target", "name")  # what makes another thing of it
INPUTS = ("customer", *WHERE, "resources")
OUTPUTS = ("outputs", "approvals")  # what it hands out; approvals that let something through, once


@dataclass(frozen=True, slots=True)
class Shape:
    """One type of resource."""

    token: str  # "mspctl:dns:Zone"
    facet: str
    kinds: Mapping[str, str]  # by the name of its property: "rrset" → "dns.rrset"
    fields: Mapping[str, Mapping[str, type]]  # by kind

    def known(self, kind: str) -> dict[str, type]:
        return {name.rstrip("?"): type_ for name, type_ in self.fields[kind].items()}

    def required(self, kind: str) -> list[str]:
        return [name for name in self.fields[kind] if not name.endswith("?")]


@cache
def shapes() -> dict[str, Shape]:
    """All of them, by token."""
    found = {}
    for facet, (word, fields) in desired.of_facets().items():
        kinds = {kind.partition(".")[2]: kind for kind in fields}
        assert len(kinds) == len(fields), f"two kinds of {facet} have one name"
        shape = Shape(f"{PACKAGE}:{word}", facet, kinds, fields)
        found[shape.token] = shape
    return found


def of_urn(urn: str) -> Shape:
    """The shape of `urn:pulumi:STACK::PROJECT::PARENT$TYPE::NAME`. Raises KeyError."""
    return shapes()[urn.split("::")[2].rpartition("$")[2]]


def of_facet(facet: str) -> Shape:
    return next(shape for shape in shapes().values() if shape.facet == facet)


def path_of(id_: Id) -> tuple[str, ...]:
    return ("resources", id_.kind.partition(".")[2], id_.name)


def to_plain(resources: Iterable[Resource]) -> dict[str, dict[str, dict[str, Any]]]:
    """Resources as `resources` has them. What is unknown of a field is left out."""
    made: dict[str, dict[str, dict[str, Any]]] = {}
    for resource in sorted(resources, key=lambda r: r.id):
        fields = {name: value_to_plain(value) for name, value in resource.fields.items() if value is not UNKNOWN}
        made.setdefault(resource.id.kind.partition(".")[2], {})[resource.id.name] = fields
    return made


def value_to_plain(value: Value) -> Any:
    return sorted(value) if isinstance(value, frozenset) else list(value) if isinstance(value, tuple) else value


def from_plain(shape: Shape, data: Mapping[str, Any]) -> list[Resource]:
    """Back, of what was checked before."""
    return [
        Resource(Id(shape.kinds[word], name), {f: _value(shape, word, f, v) for f, v in fields.items()})
        for word, named in data.items()
        for name, fields in named.items()
    ]


def deleted(shape: Shape, outputs: Mapping[str, Any]) -> dict[Id, date]:
    """What a state says was deleted by us, and when."""
    said = outputs.get("deleted") or {}
    return {
        Id(shape.kinds[word], name): date.fromisoformat(day)
        for word, days in said.items()
        for name, day in days.items()
    }


def _value(shape: Shape, word: str, field: str, value: Any) -> Value:
    type_ = shape.known(shape.kinds[word]).get(field, str)
    made: Value = type_(value) if isinstance(value, list) and type_ in (frozenset, tuple) else value
    return made


# -- the schema -------------------------------------------------------------------------------------------------

_TYPES: Mapping[type, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    frozenset: {"type": "array", "items": {"type": "string"}},
    tuple: {"type": "array", "items": {"type": "string"}},
}
_SAID = {
    "customer": "The folder in customers/ that this is done for; its customer.yaml says engine: pulumi.",
    "target": "Where it lives: a target of inventory/targets.yaml.",
    "name": "The zone, domain, device, or CUSTOMER/HOST/SECTION.",
    "resources": "What is in it, by kind and name; what is not named is not touched.",
    "outputs": "What it hands out: the text of a DKIM key, DS records, …",
    "approvals": "Approvals of customers/…/approvals.yaml that let something through.",
    "deleted": "What was deleted here, by kind and name, and on which day; so it is told when it comes back.",
    "recorded": "After half an operation, what of it landed; gone after a whole one.",
    "directory": "The repository with customers/ and inventory/; by default the one the program stands in.",
    "wait": "How long to wait for locks that others hold, in seconds.",
}


def schema() -> dict[str, Any]:
    """The package as Pulumi's metaschema wants it described."""
    types: dict[str, Any] = {}
    for shape in shapes().values():
        types |= _types(shape)
    variables = {"directory": _said("directory", {"type": "string"}), "wait": _said("wait", {"type": "number"})}
    return {
        "name": PACKAGE,
        "version": __version__,
        "description": "Zones, mail domains, firewalls and hosts of customers, as mspctl drives them",
        "license": "Apache-2.0",
        "config": {"variables": variables},
        "provider": {"inputProperties": variables},
        "types": types,
        "resources": {shape.token: _resource(shape) for shape in shapes().values()},
    }


def _said(name: str, type_: Mapping[str, Any]) -> dict[str, Any]:
    return {**type_, "description": _SAID[name]}


def _resource(shape: Shape) -> dict[str, Any]:
    text = {"type": "string"}
    inputs = {name: _said(name, text) for name in ("customer", *WHERE)}
    for name in WHERE:
        inputs[name]["willReplaceOnChanges"] = True
    inputs["resources"] = _said("resources", {"$ref": f"#/types/{shape.token}Resources"})
    made = {
        "outputs": _said("outputs", {"type": "object", "additionalProperties": {"$ref": "pulumi.json#/Any"}}),
        "approvals": _said("approvals", _TYPES[tuple]),
        "deleted": _said("deleted", {"type": "object", "additionalProperties": {"$ref": "pulumi.json#/Any"}}),
        "recorded": _said("recorded", {"$ref": f"#/types/{shape.token}Resources"}),
    }
    return {
        "description": f"One scope of the facet {shape.facet}.",
        "inputProperties": inputs,
        "requiredInputs": [*INPUTS],
        "properties": inputs | made,
        "required": [*INPUTS, *OUTPUTS],
    }


def _types(shape: Shape) -> dict[str, Any]:
    """An object that holds the kinds, and one for each kind."""
    module = shape.token.rpartition(":")[0]
    properties, made = {}, {}
    for word, kind in shape.kinds.items():
        name = f"{module}:{shape.token.rpartition(':')[2]}{word.title().replace('_', '')}"
        properties[word] = {"type": "object", "additionalProperties": {"$ref": f"#/types/{name}"}}
        fields = {field: dict(_TYPES[type_]) for field, type_ in shape.known(kind).items()}
        made[name] = {"type": "object", "properties": fields, "required": shape.required(kind)}
    return {f"{shape.token}Resources": {"type": "object", "properties": properties}, **made}
