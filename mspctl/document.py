"""
The nouns as JSON and back: one spelling for the ledger, plans and anything else that leaves the process.

A tuple is a list, a set is `{"set": […]}` and sorted, UNKNOWN is `{"unknown": true}`, so that what comes back compares
as what went in. A handle stays behind: it is good only for the connection that read it. Reading is strict, because a
record misread would be taken for somebody's change: what is not exactly right raises a ValueError of one line.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import cast, overload

from mspctl.resource import UNKNOWN, Cause, Change, Id, Resource, Scope, Unknown, Value

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Object = dict[str, Json]


@overload
def to_json(noun: Resource | Change | Scope) -> Object: ...
@overload
def to_json(noun: Value) -> Json: ...
def to_json(noun: Value | Resource | Change | Scope) -> Json:
    if isinstance(noun, str | int):
        return noun
    if isinstance(noun, tuple):
        return list(noun)
    if isinstance(noun, frozenset):
        return {"set": cast("list[Json]", sorted(noun))}
    if isinstance(noun, Unknown):
        return {"unknown": True}
    if isinstance(noun, Resource):
        return _resource_to_json(noun)
    return _change_to_json(noun) if isinstance(noun, Change) else _scope_to_json(noun)


def _resource_to_json(resource: Resource) -> Object:
    fields: Object = {name: to_json(value) for name, value in resource.fields.items()}
    document: Object = {"kind": resource.id.kind, "name": resource.id.name, "fields": fields}
    return document | ({"source": resource.source} if resource.source else {})


def _change_to_json(change: Change) -> Object:
    return {
        "cause": change.cause.value,
        "before": None if change.before is None else _resource_to_json(change.before),
        "after": None if change.after is None else _resource_to_json(change.after),
    }


def _scope_to_json(scope: Scope) -> Object:
    document: Object = {
        "target": scope.target,
        "facet": scope.facet,
        "name": scope.name,
        "customer": scope.customer,
        "engine": scope.engine,
    }
    return document | ({"after": [_scope_to_json(other) for other in scope.after]} if scope.after else {})


def value_from_json(data: object) -> Value:
    if isinstance(data, (str, int)):  # a union is made anew each time, and there are many values
        return data
    if isinstance(data, list):
        return tuple(_texts(data))
    if isinstance(data, dict) and len(data) == 1:
        if isinstance(items := data.get("set"), list):
            return frozenset(_texts(items))
        if data.get("unknown") is True:
            return UNKNOWN
    raise ValueError(f"{_shown(data)} is not a value")


def resource_from_json(data: object) -> Resource:
    document = members(data, "a resource", required=("kind", "name", "fields"), optional=("source",))
    source = text(document, "source") if "source" in document else ""
    return Resource(id_from_json(document), fields_from_json(document), source)


def id_from_json(document: Mapping[str, object]) -> Id:
    """From the members `kind` and `name` of an object that may say more."""
    return Id(text(document, "kind"), text(document, "name"))


def fields_from_json(document: Mapping[str, object]) -> dict[str, Value]:
    """From the member `fields`."""
    fields = document["fields"]
    if not isinstance(fields, dict):
        raise ValueError(f'"fields" must be an object, not {_shown(fields)}')
    # Most are texts and numbers, and there are many of them.
    return {name: value if type(value) in _PLAIN else value_from_json(value) for name, value in fields.items()}


_PLAIN = frozenset({str, int})


def change_from_json(data: object) -> Change:
    document = members(data, "a change", required=("cause", "before", "after"))
    before, after = (
        resource_from_json(it) if it is not None else None for it in (document["before"], document["after"])
    )
    if before is None and after is None:
        raise ValueError("a change has a before or an after")
    return Change(before, after, Cause(text(document, "cause")))


def scope_from_json(data: object) -> Scope:
    names = ("target", "facet", "name", "customer", "engine")
    document = members(data, "a scope", required=names, optional=("after",))
    after = document.get("after", [])
    if not isinstance(after, list):
        raise ValueError(f'"after" must be a list, not {_shown(after)}')
    target, facet, name, customer, engine = (text(document, key) for key in names)
    return Scope(target, facet, name, customer, engine, tuple(map(scope_from_json, after)))


def digest_of(parts: Iterable[str]) -> str:
    """Of everything that is planned, from the digests of its scopes; those in which nothing is due do not count."""
    return hashed("".join(sorted(filter(None, parts))))


def hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def members(data: object, what: str, required: Collection[str], optional: Collection[str] = ()) -> dict[str, object]:
    """`data`, an object with all of `required` and nothing beyond `optional`: what is not understood is not dropped."""
    if not isinstance(data, dict):
        raise ValueError(f"{what} must be an object, not {_shown(data)}")
    for key in required:
        if key not in data:
            raise ValueError(f'{what} lacks "{key}": {_shown(data)}')
    for key in data:
        if key not in required and key not in optional:
            raise ValueError(f"{what} cannot have {_shown(key)}")
    return data


def text(document: Mapping[str, object], key: str) -> str:
    found = document[key]
    if not isinstance(found, str):
        raise ValueError(f'"{key}" must be text, not {_shown(found)}')
    return found


def an_object(data: object) -> Object:
    if not isinstance(data, dict):
        raise ValueError("an object is missing")
    return data


def a_list(data: object) -> list[object]:
    if not isinstance(data, list):
        raise ValueError("a list is missing")
    return data


def _texts(items: list[object]) -> list[str]:
    for item in items:
        if not isinstance(item, str):
            raise ValueError(f"a list must hold text only: {_shown(items)}")
    return cast("list[str]", items)


def _shown(data: object) -> str:
    """Short and on one line, whatever it is."""
    shown = json.dumps(data, default=repr)
    return shown if len(shown) <= 60 else shown[:57] + "..."


# -- one line for each thing that can change, so that Git shows what changed ------------------------------------


def object_of(members: Mapping[str, str]) -> str:
    """Of members that are JSON already, one line for each; what is empty is left out."""
    lines = ",\n".join(f"{line(name)}: {member}" for name, member in members.items() if member)
    return f"{{\n{lines}\n}}" if lines else ""


def list_of(items: Iterable[str]) -> str:
    lines = ",\n".join(items)
    return f"[\n{lines}\n]" if lines else ""


def line(data: Json) -> str:
    """JSON without line breaks, and with nothing in it that a terminal would act upon."""
    said = json.dumps(data, ensure_ascii=False)
    return said if said.isprintable() else "".join(c if c.isprintable() else _hidden(c) for c in said)


def _hidden(character: str) -> str:
    return re.sub("....", r"\\u\g<0>", character.encode("utf-16-be", "surrogatepass").hex())
