"""What a rule, a forward and the rest do, in the words of people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from mspctl.kinds import addresses, services
from mspctl.kinds.firewall import DEFAULT, FORWARD, MASQUERADE, NAT, POLICY, RAW, RULE, text, texts
from mspctl.resource import Resource

Called = Mapping[frozenset[str], str]  # what people call addresses
_VERBS = {"accept": "lets through", "drop": "drops", "reject": "rejects"}
MOST_NAMED = 4  # addresses in a sentence


def in_words(resource: Resource, called: Called = MappingProxyType({}), when: str | None = None) -> str:
    """
    What a rule or forward does: `opens tcp/8443 on wan from 198.51.100.24 only → 10.20.1.60 port 443`.

    `when` says at which times, in the words of whoever wrote them; else it is told as the device knows it.
    """
    if resource.id.kind in _SAID:
        return _SAID[resource.id.kind](resource, called)
    source = _places(texts(resource, "source"), "only", called)
    if resource.id.kind not in (RULE, FORWARD) or str(resource.fields.get("action", "accept")) not in _VERBS:
        return ""
    if resource.id.kind == FORWARD:
        port = resource.fields.get("port") or ""
        to = f"{_places(frozenset({text(resource, 'to')}), '', called)}{f' port {port}' if port else ''}"
        what = f"opens {services.spoken(texts(resource, 'listen'))} on {text(resource, 'zone')} from {source} → {to}"
    else:
        away = _places(texts(resource, "destination"), "", called)
        zones = f"{', '.join(sorted(texts(resource, 'from')))} → {', '.join(sorted(texts(resource, 'to')))}"
        what = f"{_VERBS[str(resource.fields['action'])]} {services.spoken(texts(resource, 'services'))} {zones}"
        what += f" from {source}" if source != "anywhere" else ""
        what += f" to {away}" if away != "anywhere" else ""
    return what + (_when(resource) if when is None else when)


def _nat_said(resource: Resource, called: Called) -> str:
    inside = _places(frozenset({text(resource, "inside")}), "", called)
    return f"{text(resource, 'outside')} on {text(resource, 'zone')} is {inside}"


def _raw_said(resource: Resource, called: Called) -> str:
    return f"in {text(resource, 'chain')}, which nobody here understands: {text(resource, 'text')}"


def _masquerade_said(resource: Resource, called: Called) -> str:
    source = _places(texts(resource, "source"), "only", called)
    return f"has the device's own address there{f': {source}' if source != 'anywhere' else ''}"


def _action_said(resource: Resource, called: Called) -> str:
    what = "what nothing else decides" if resource.id == DEFAULT else "what no rule decides"
    verb = _VERBS.get(text(resource, "action"))
    return f"{verb} {what}{', and logs it' if resource.fields.get('log') else ''}" if verb else ""


_SAID: Mapping[str, Callable[[Resource, Called], str]] = {
    NAT: _nat_said,
    RAW: _raw_said,
    MASQUERADE: _masquerade_said,
    POLICY: _action_said,
    DEFAULT.kind: _action_said,
}


def _when(resource: Resource) -> str:
    until = text(resource, "until")
    return (f", until {until} UTC" if until else "") + (", at some hours only" if texts(resource, "hours") else "")


def _places(found: frozenset[str], only: str, called: Called) -> str:
    if found == addresses.ANY:
        return "anywhere"
    named = addresses.in_order(found)
    if name := called.get(found):
        named = [f"{name} {named[0]}" if len(named) == 1 else name]
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    return f"{', '.join(named[:MOST_NAMED])}{more}{f' {only}' if only else ''}"
