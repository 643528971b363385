"""
What a state of Pulumi, as `pulumi stack export` writes it, says of our scopes: what was applied last, and what was
there when Pulumi looked last. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mspctl.provider import scopes, shapes, values
from mspctl.provider.repository import ENGINE, NAME_SERVERS
from mspctl.record import ScopeRecord
from mspctl.resource import Id, Resource, Scope, Value


def recorded(customer: str, deployment: Mapping[str, Any] | None) -> dict[Scope, ScopeRecord]:
    """What was applied last, and what was deleted, as a ledger would say it."""
    found = {}
    for scope, shape, inputs, outputs in _ours(customer, deployment):
        applied = outputs.get("recorded", inputs.get("resources") or {})  # after half an operation, what of it landed
        gone = scopes.remembered(shapes.deleted(shape, outputs))
        state = scopes.State({r.id: r for r in shapes.from_plain(shape, applied)}, deleted=gone)
        handed_out = {key: _value(said) for key, said in (outputs.get("outputs") or {}).items()}
        handed_out.pop(NAME_SERVERS, None)  # nothing is made of them, and our ledger has none
        used = frozenset(outputs.get("approvals") or ())
        found[scope] = ScopeRecord(scope, scopes.records(state), handed_out, used)
    return found


def live(customer: str, deployment: Mapping[str, Any] | None) -> dict[Scope, dict[Id, Resource]]:
    """What was there when Pulumi looked last: what came from outside since, no preview has shown."""
    return {
        scope: {r.id: r for r in shapes.from_plain(shape, outputs.get("resources") or {})}
        for scope, shape, _, outputs in _ours(customer, deployment)
    }


def _ours(
    customer: str, deployment: Mapping[str, Any] | None
) -> Iterator[tuple[Scope, shapes.Shape, Mapping[str, Any], Mapping[str, Any]]]:
    """Scopes in a state, each with its shape, inputs and outputs."""
    for state in (deployment or {}).get("resources") or ():
        shape = shapes.shapes().get(state.get("type", ""))
        if shape is None or state.get("delete"):
            continue
        target, _, name = str(state["id"]).partition("/")
        scope = Scope(target, shape.facet, name, customer, ENGINE)
        yield scope, shape, opened(state.get("inputs") or {}), opened(state.get("outputs") or {})


def opened(data: Any) -> Any:
    """Plain values of a state that was exported with its secrets."""
    if isinstance(data, dict):
        if values.is_secret(data):
            return opened(json.loads(data["plaintext"]) if "plaintext" in data else data.get("value"))
        return {key: opened(value) for key, value in data.items()}
    if isinstance(data, list):
        return [opened(value) for value in data]
    return int(data) if isinstance(data, float) and data.is_integer() else data


def _value(said: Any) -> Value:
    return tuple(said) if isinstance(said, list) else said
