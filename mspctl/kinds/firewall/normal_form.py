"""
A field as a program may spell it, in its one normal form. Nothing passes that a device could take for something else:
what is written here becomes part of its configuration.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from mspctl.kinds import addresses, services, shown
from mspctl.kinds.firewall import CHAINS, DEFAULT, FORWARD, MASQUERADE, NAME, NAT, ORDER, POLICY, zones_of
from mspctl.kinds.firewall.times import span_of
from mspctl.resource import Id, Value

_OWN_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,47}")
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,14}")
_UNTIL = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d", re.ASCII)


def normal(id_: Id, field: str, value: Value, scope: str) -> Value | None:
    """
    As programs may spell it. Nothing passes that a device could take for something else: what is written here becomes
    part of its configuration. Raises ValueError.
    """
    made = _NORMAL.get(field)
    return made(id_, value) if made else None


def _normal_name(id_: Id, value: Value) -> Value:
    if id_.kind == NAME:
        raise ValueError("names of the DNS are found by the device while it is read, which Pulumi cannot wait for")
    one = {DEFAULT.kind: DEFAULT.name, ORDER.kind: ORDER.name}.get(id_.kind)
    if one and id_.name != one:
        raise ValueError(f"write {one}: there is one of them")
    parts = zones_of(id_.name) if id_.kind in (MASQUERADE, POLICY) else (id_.name,)
    for part in parts:
        _like(_OWN_NAME, part, "a name (lower-case letters, digits, . _ and -)")
    return value


def _like(pattern: re.Pattern[str], text: str, what: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"{shown(text)} is not {what}")
    return text


def _names(id_: Id, value: Value) -> Value:
    """Of zones or of rules: one, several in their order, or a set; a forward's `to` is a host."""
    if id_.kind == FORWARD and isinstance(value, str):
        return _host(id_, value)
    for each in (value,) if isinstance(value, str) else value if isinstance(value, frozenset | tuple) else ():
        _like(_OWN_NAME, each, "a name (lower-case letters, digits, . _ and -)")
    return value


def _zone(id_: Id, value: Value) -> Value:
    return value if not isinstance(value, str) else _like(_OWN_NAME, value, "the name of a zone")


def _interfaces(id_: Id, value: Value) -> Value:
    for each in value if isinstance(value, frozenset) else ():
        _like(_INTERFACE, each, "an interface (write eth0)")
    return value


def _addresses(id_: Id, value: Value) -> Value:
    folded = [addresses.fold(each) for each in value] if isinstance(value, frozenset) else []
    if any(each.endswith(".") for each in folded):
        raise ValueError("names of the DNS are found by the device while it is read, which Pulumi cannot wait for")
    return addresses.joined(folded)


def _host(id_: Id, value: Value) -> Value:
    folded = addresses.fold(value) if isinstance(value, str) else ""
    if not re.fullmatch(r"[0-9a-f.:]+", folded):
        raise ValueError(f"{shown(value)} is not the address of one host")
    return folded


def _services(id_: Id, value: Value) -> Value:
    return services.joined(one for each in value for one in services.fold(each)) if isinstance(value, frozenset) else ()


def _action(id_: Id, value: Value) -> Value:
    allowed = ("drop", "reject") if id_ == DEFAULT else ("accept", "drop", "reject")
    if value not in allowed:
        raise ValueError(f"{shown(value)} is no action (write {', '.join(allowed)})")
    return value


def _until(id_: Id, value: Value) -> Value:
    return (
        _like(_UNTIL, value, "a moment in UTC (write 2027-03-12 17:00)") if isinstance(value, str) and value else value
    )


def _hours(id_: Id, value: Value) -> Value:
    for each in value if isinstance(value, frozenset) else ():
        span_of(each)
    return value


def _chain(id_: Id, value: Value) -> Value:
    if value not in CHAINS:
        raise ValueError(f"{shown(value)} is no chain (write {', '.join(CHAINS)})")
    return value


def _port(id_: Id, value: Value) -> Value:
    if not (isinstance(value, int) and 0 <= value < 65536):
        raise ValueError(f"{shown(value)} is no port (0: the same)")
    return value


_NORMAL: Mapping[str, Callable[[Id, Value], Value]] = {
    "": _normal_name,
    "from": _names,
    "to": _names,
    "rules": _names,
    "zone": _zone,
    "interfaces": _interfaces,
    "source": _addresses,
    "destination": _addresses,
    "services": _services,
    "listen": _services,
    "outside": lambda id_, value: _host(id_, value) if id_.kind == NAT else value,
    "inside": _host,
    "action": _action,
    "until": _until,
    "hours": _hours,
    "port": _port,
    "chain": _chain,
}
