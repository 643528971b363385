"""
Resources → a table of nftables, in the JSON that nft reads and writes (libnftables-json(5)). Pure.

Each of our rules says in its comment what it is part of (`rule:browse`, `forward:nvr`). One resource becomes several
rules where nftables cannot say it in one: for each pair of zones, family of addresses, protocol, hours. What was read
(`live.py`) is made again from what was understood, and where that comes to something else, somebody changed it by hand.

Chains: `input` and `forward` decide; `prerouting` and `postrouting` translate. `notes` is never gone through: its rules
say in their comments what nftables has no place for: the order of our rules, which is more than the orders within two
chains can tell, which zones are outside, which names of the DNS stand behind addresses, and how raw rules were written
(in base64, because nft does not escape quotes). What a raw rule comes to, only nft itself can say: see `raw.py`.
"""

from __future__ import annotations

import base64
import ipaddress
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mspctl.kinds import addresses, firewall, services
from mspctl.kinds.firewall import ANY, SELF, text, texts, times
from mspctl.resource import Id, Resource

if TYPE_CHECKING:
    from mspctl.drivers.nftables.live import Table

Json = dict[str, Any]

FAMILY = "inet"
CHAINS: dict[str, Json] = {
    "input": {"type": "filter", "hook": "input", "prio": 0, "policy": "drop"},
    "forward": {"type": "filter", "hook": "forward", "prio": 0, "policy": "drop"},
    "prerouting": {"type": "nat", "hook": "prerouting", "prio": -100, "policy": "accept"},
    "postrouting": {"type": "nat", "hook": "postrouting", "prio": 100, "policy": "accept"},
    "notes": {},
}
OUTPUT: Json = {"type": "filter", "hook": "output", "prio": 0, "policy": "accept"}  # where a raw rule stands in it
ZONE = "zone_"
_ICMPV6 = ["nd-router-solicit", "nd-router-advert", "nd-neighbor-solicit", "nd-neighbor-advert"]  # or IPv6 is gone
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
VERDICTS: dict[str, Json] = {
    "accept": {"accept": None},
    "drop": {"drop": None},
    "reject": {"reject": {"type": "icmpx", "expr": "admin-prohibited"}},
}
_COUNTED: Json = {"counter": None}
PREFIXES = {
    firewall.RULE: "rule",
    firewall.FORWARD: "forward",
    firewall.NAT: "nat",
    firewall.MASQUERADE: "masquerade",
    firewall.POLICY: "policy",
    firewall.DEFAULT.kind: "default",
    firewall.RAW: "raw",
}
ORDER, OUTSIDE, NAMED, WRITTEN = "order:", "outside:", "name:", "text:"
NOTES = (ORDER, OUTSIDE, NAMED, WRITTEN)
_CHUNK = 72  # characters of a raw rule's text in one comment, beside its name
KINDS = {prefix: kind for kind, prefix in PREFIXES.items()}


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of nftables, without its handle."""

    chain: str
    comment: str
    expr: Sequence[Json]

    @property
    def key(self) -> str:
        """For comparing: elements of a set have no order, and what is counted is no difference."""
        said = [_sorted(each) for each in self.expr if "counter" not in each]
        return json.dumps([self.chain, self.comment, said], sort_keys=True)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: sorted(map(_sorted, v), key=json.dumps) if k == "set" else _sorted(v) for k, v in value.items()}
    return [*map(_sorted, value)] if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class Foreign:
    """A rule in our table that is not ours; it stays behind what it stood behind."""

    rule: Rule
    after: str  # comment; "" at the start of its chain
    handle: int

    @property
    def id(self) -> Id:
        return Id(firewall.RULE, f"by hand {self.rule.chain} {self.handle}")


# -- resources → table ------------------------------------------------------------------------------------------


def commands(
    table: str, resources: Sequence[Resource], live: Table, raw: Mapping[Id, Rule] = MappingProxyType({})
) -> list[Json]:
    """
    The table anew, in one transaction; it takes the place of `live`. What has not changed stays to the letter.

    `raw` is what raw rules come to; they cannot be made of what they say.
    """
    before = {r.id: r for r in live.resources}
    kept = {i: live.groups[i] for r in resources if (i := r.id) in live.groups and before[i].fields == r.fields}
    theirs = [each for each in live.foreign if any(r.id == each.id for r in resources)]
    kept |= {id_: [rule] for id_, rule in raw.items() if id_ not in kept}
    resources = [r for r in resources if "native" not in r.fields]
    named = {"family": FAMILY, "name": table}
    found: list[Json] = [{"add": {"table": named}}, without(table), {"add": {"table": named}}]
    found += frame(table, resources)
    place = {"family": FAMILY, "table": table}
    for rule in _with_foreign(rules(resources, kept), theirs):
        comment = {"comment": rule.comment} if rule.comment else {}
        found.append({"add": {"rule": {**place, "chain": rule.chain, **comment, "expr": [*rule.expr]}}})
    return found


def frame(table: str, resources: Sequence[Resource]) -> list[Json]:
    """Sets and chains, without rules."""
    place = {"family": FAMILY, "table": table}
    found: list[Json] = []
    for zone, interfaces in _zone_sets(resources).items():
        elements = {"elem": sorted(interfaces)} if interfaces else {}
        found.append({"add": {"set": {**place, "name": ZONE + zone, "type": "ifname", **elements}}})
    leaves = any(r.id.kind == firewall.RAW and text(r, "chain") == "output" for r in resources)
    chains = {**CHAINS, **({"output": OUTPUT} if leaves else {})}
    return found + [{"add": {"chain": {**place, "name": name, **said}}} for name, said in chains.items()]


def without(table: str) -> Json:
    """The command that takes the table away."""
    return {"delete": {"table": {"family": FAMILY, "name": table}}}


def _zone_sets(resources: Sequence[Resource]) -> dict[str, frozenset[str]]:
    """Every zone that is declared or spoken of."""
    found = {r.id.name: texts(r, "interfaces") for r in resources if r.id.kind == firewall.ZONE}
    spoken: set[str] = set()
    for r in resources:
        spoken |= texts(r, "from") | texts(r, "to") if r.id.kind == firewall.RULE else set()
        spoken |= {text(r, "zone")} if r.id.kind in (firewall.FORWARD, firewall.NAT) else set()
        if r.id.kind in (firewall.MASQUERADE, firewall.POLICY):
            spoken |= {*firewall.zones_of(r.id.name)}
    return {zone: frozenset() for zone in sorted(spoken - {ANY, SELF})} | found


def _with_foreign(ours: Sequence[Rule], foreign: Sequence[Foreign]) -> list[Rule]:
    result = [*ours]
    for each in reversed(foreign):
        place = (each.rule.chain, each.after)
        at = max((n + 1 for n, r in enumerate(result) if (r.chain, r.comment) == place), default=0) if each.after else 0
        result.insert(at, each.rule)
    return result


def rules(resources: Sequence[Resource], kept: Mapping[Id, Sequence[Rule]] = MappingProxyType({})) -> list[Rule]:
    """All rules of the table, in each chain as they are gone through; of some resources those that are there."""
    by_kind: dict[str, list[Resource]] = {}
    for resource in sorted(resources, key=lambda r: r.id):
        by_kind.setdefault(resource.id.kind, []).append(resource)
    found = [*base(), *itertools.chain.from_iterable(map(made_of, by_kind.get(firewall.ZONE, ())))]
    ordered = firewall.rules(resources)
    raw = [r for r in ordered if r.id.kind == firewall.RAW]
    found += itertools.chain.from_iterable(map(made_of, raw))
    first = [r for r in raw if text(r, "chain") not in firewall.ORDERED]
    rest = [r for r in ordered if r not in first] if first else ordered
    for resource in (*first, *by_kind.get(firewall.NAT, ()), *by_kind.get(firewall.FORWARD, ()), *rest):
        found += kept.get(resource.id) or (() if resource.id.kind == firewall.RAW else made_of(resource))
    last = (firewall.MASQUERADE, firewall.POLICY, firewall.DEFAULT.kind, firewall.ORDER.kind, firewall.NAME)
    for kind in last:
        for resource in by_kind.get(kind, ()):
            found += kept.get(resource.id) or made_of(resource)
    return found


def base() -> Iterator[Rule]:
    established = _match({"ct": {"key": "state"}}, ["established", "related"], "in")
    yield Rule("input", "base:self", [_match(_meta("iifname"), "lo"), VERDICTS["accept"]])
    for chain in ("input", "forward"):
        yield Rule(chain, "base:answers", [established, VERDICTS["accept"]])
        yield Rule(chain, "base:invalid", [_match({"ct": {"key": "state"}}, "invalid", "in"), VERDICTS["drop"]])
    yield Rule(
        "input", "base:neighbours", [_match(_payload("icmpv6", "type"), {"set": [*_ICMPV6]}), VERDICTS["accept"]]
    )


def made_of(resource: Resource) -> Iterator[Rule]:
    """The rules that one resource comes to."""
    made = _MADE.get(resource.id.kind)
    return iter(()) if made is None else made(resource)


def held(resource: Resource) -> Resource:
    """A resource as the table will have it: what cannot meet, because it is of another family, is left out."""
    if (version := _only_family(resource)) is not None:
        source = addresses.of_family(texts(resource, "source"), version)
        return replace(resource, fields={**resource.fields, "source": source})
    if resource.id.kind != firewall.RULE:
        return resource
    meet = [f for f in (None, 4, 6) if _places(resource, f) is not None]
    families = [f for f in meet if any(True for _ in _services(texts(resource, "services"), f))]
    if families == [None]:
        return resource
    fields = dict(resource.fields)
    for name in ("source", "destination"):
        said = texts(resource, name)
        if said != addresses.ANY:
            fields[name] = frozenset(a for f in families if f for a in addresses.of_family(said, f))
    other = {4: "icmpv6", 6: "icmp"}.get(families[0] or 0) if len(families) == 1 else ""
    fields["services"] = frozenset(s for s in texts(resource, "services") if s.partition("/")[0] != other)
    return replace(resource, fields=fields)


def _only_family(resource: Resource) -> int | None:
    """The family of what can only be of one: where a forward goes, and IPv4 where an address is shared."""
    if resource.id.kind == firewall.FORWARD:
        return ipaddress.ip_address(text(resource, "to")).version
    return 4 if resource.id.kind == firewall.MASQUERADE else None


def comment_of(id_: Id) -> str:
    return f"{PREFIXES[id_.kind]}:{id_.name}"


def _rule(resource: Resource) -> Iterator[Rule]:
    end = [_COUNTED, *_log(resource), VERDICTS[text(resource, "action")]]
    to = texts(resource, "to")
    ways = [("input", zone, "") for zone in _zones(texts(resource, "from")) if SELF in to]
    ways += [("forward", *pair) for pair in itertools.product(_zones(texts(resource, "from")), _zones(to - {SELF}))]
    for (chain, came, goes), family, limits in itertools.product(ways, (None, 4, 6), _limits(resource)):
        places = _places(resource, family)
        for service in _services(texts(resource, "services"), family) if places is not None else ():
            expr = [*_zone("iifname", came), *_zone("oifname", goes), *(places or ()), *service, *limits, *end]
            yield Rule(chain, comment_of(resource.id), expr)


def _zones(zones: frozenset[str]) -> list[str]:
    """Each by itself; "" is any."""
    return [""] if ANY in zones else sorted(zones)


def _zone(key: str, zone: str) -> list[Json]:
    return [_match(_meta(key), f"@{ZONE}{zone}")] if zone else []


def _places(resource: Resource, family: int | None) -> list[Json] | None:
    """Source and destination in one family; None where it is not said in that one."""
    source, away = texts(resource, "source"), texts(resource, "destination")
    if (source == away == addresses.ANY) is not (family is None):
        return None
    if family is None:
        return []
    expr = []
    for name, said in (("saddr", source), ("daddr", away)):
        mine = addresses.of_family(said, family)
        if not mine:
            return None
        expr += _address(name, mine, family)
    return expr


def _address(name: str, said: frozenset[str], version: int) -> list[Json]:
    if said == addresses.ANY:
        return []
    return [_match(_payload(IP[version], name), _one_or_set(map(_native_address, addresses.in_order(said))))]


IP = {4: "ip", 6: "ip6"}


def _native_address(said: str) -> Any:
    first, dash, last = said.partition("-")
    if dash:
        return {"range": [first, last]}
    address, slash, length = said.partition("/")
    return {"prefix": {"addr": address, "len": int(length)}} if slash else said


def _services(said: frozenset[str], family: int | None) -> Iterator[list[Json]]:
    """One match for each protocol."""
    if said == services.ANY:
        yield []
        return
    by_protocol: dict[str, list[str]] = {}
    for each in sorted(said, key=lambda s: services.ports(s) or (s, 0, 0)):
        by_protocol.setdefault(each.partition("/")[0], []).append(each)
    alone = [p for p in by_protocol if p in services.ALONE]
    if alone:
        yield [_match(_meta("l4proto"), _one_or_set(alone))]
    for protocol in [p for p in by_protocol if p not in alone]:
        if (protocol, family) in (("icmp", 6), ("icmpv6", 4)):
            continue
        yield [_service(protocol, by_protocol[protocol])]


def _service(protocol: str, said: Sequence[str]) -> Json:
    if protocol in services.WITH_PORTS:
        return _match(_payload(protocol, "dport"), _one_or_set(_native_ports(each) for each in said))
    kinds = [each.partition("/")[2] for each in said]
    if "any" in kinds:
        return _match(_meta("l4proto"), "ipv6-icmp" if protocol == "icmpv6" else protocol)
    return _match(_payload(protocol, "type"), _one_or_set(kinds))


def _native_ports(said: str) -> Any:
    found = services.ports(said)
    assert found, "services in normal form have ports, or none"
    _, low, high = found
    return low if low == high else {"range": [low, high]}


def _limits(resource: Resource) -> list[list[Json]]:
    """When it counts: one list of matches for each span of hours."""
    until = text(resource, "until")
    first = [_match(_meta("time"), f"{until}:00", "<")] if until else []
    week: dict[tuple[int, int], list[str]] = {}
    for low, high in sorted(map(times.span_of, texts(resource, "hours"))):
        midnight = low // 1440 * 1440
        week.setdefault((low - midnight, high - midnight), []).append(DAYS[midnight // 1440])
    if not week:
        return [first]
    return [[*first, _match(_meta("day"), _one_or_set(days)), _hours(*span)] for span, days in week.items()]


def _hours(low: int, high: int) -> Json:
    """From a minute on, until the last second before another."""
    end = high * 60 - 1
    return _match(
        _meta("hour"),
        {"range": [f"{low // 60:02}:{low % 60:02}", f"{end // 3600:02}:{end // 60 % 60:02}:{end % 60:02}"]},
    )


def _log(resource: Resource) -> list[Json]:
    return [{"log": {"prefix": f"mspctl {resource.id.name} "}}] if resource.fields.get("log") else []


def _forward(resource: Resource) -> Iterator[Rule]:
    zone, to, port = text(resource, "zone"), text(resource, "to"), resource.fields["port"]
    version = ipaddress.ip_address(to).version
    family, comment = IP[version], comment_of(resource.id)
    sources = addresses.of_family(texts(resource, "source"), version)
    if not sources:
        return
    source = _address("saddr", sources, version)
    (listen,) = _services(texts(resource, "listen"), version)
    protocol = next(iter(texts(resource, "listen"))).partition("/")[0]
    there = [_match(_payload(protocol, "dport"), port)] if port else listen
    local = _match({"fib": {"result": "type", "flags": ["daddr"]}}, "local")
    only = [_match(_meta("nfproto"), f"ipv{version}")] if not source else []
    for limits in _limits(resource):
        dnat = {"dnat": {"family": family, "addr": to, **({"port": port} if port else {})}}
        yield Rule(
            "prerouting", comment, [*_zone("iifname", zone), *only, *source, local, *listen, *limits, _COUNTED, dnat]
        )
        let = [_match({"ct": {"key": "status"}}, "dnat", "in"), *source, *_address("daddr", frozenset({to}), version)]
        expr = [*_zone("iifname", zone), *let, *there, *limits, _COUNTED, *_log(resource), VERDICTS["accept"]]
        yield Rule("forward", comment, expr)


def _nat(resource: Resource) -> Iterator[Rule]:
    zone, outside, inside = (text(resource, name) for name in ("zone", "outside", "inside"))
    version, comment = ipaddress.ip_address(inside).version, comment_of(resource.id)
    for chain, key, name, old, verb, new in (
        ("prerouting", "iifname", "daddr", outside, "dnat", inside),
        ("postrouting", "oifname", "saddr", inside, "snat", outside),
    ):
        match = _address(name, frozenset({old}), version)
        yield Rule(chain, comment, [*_zone(key, zone), *match, {verb: {"family": IP[version], "addr": new}}])


def _masquerade(resource: Resource) -> Iterator[Rule]:
    came, goes = firewall.zones_of(resource.id.name)
    sources = addresses.of_family(texts(resource, "source"), 4)
    if not sources:
        return
    source = _address("saddr", sources, 4)
    only = [] if source else [_match(_meta("nfproto"), "ipv4")]
    expr = [*only, *_zone("iifname", came), *_zone("oifname", goes), *source, {"masquerade": None}]
    yield Rule("postrouting", comment_of(resource.id), expr)


def _policy(resource: Resource) -> Iterator[Rule]:
    came, goes = firewall.zones_of(resource.id.name)
    end = [_COUNTED, *_log(resource), VERDICTS[text(resource, "action")]]
    chain, away = ("input", []) if goes == SELF else ("forward", _zone("oifname", goes))
    yield Rule(chain, comment_of(resource.id), [*_zone("iifname", came), *away, *end])


def _default(resource: Resource) -> Iterator[Rule]:
    for chain in ("input", "forward"):
        yield Rule(chain, comment_of(resource.id), [_COUNTED, *_log(resource), VERDICTS[text(resource, "action")]])


def _order(resource: Resource) -> Iterator[Rule]:
    names = resource.fields["rules"]
    for name in names if isinstance(names, tuple) else ():
        yield Rule("notes", ORDER + name, [{"return": None}])


def _zone_noted(resource: Resource) -> Iterator[Rule]:
    if resource.fields.get("outside") is True:
        yield Rule("notes", OUTSIDE + resource.id.name, [{"return": None}])


def _written(resource: Resource) -> Iterator[Rule]:
    """How a raw rule was written."""
    said = base64.b64encode(text(resource, "text").encode()).decode()
    for start in range(0, len(said), _CHUNK):
        yield Rule("notes", f"{WRITTEN}{resource.id.name}:{said[start : start + _CHUNK]}", [{"return": None}])


def _named(resource: Resource) -> Iterator[Rule]:
    yield Rule("notes", NAMED + resource.id.name, [{"return": None}])


_MADE = {
    firewall.NAME: _named,
    firewall.RAW: _written,
    firewall.RULE: _rule,
    firewall.FORWARD: _forward,
    firewall.NAT: _nat,
    firewall.MASQUERADE: _masquerade,
    firewall.POLICY: _policy,
    firewall.DEFAULT.kind: _default,
    firewall.ORDER.kind: _order,
    firewall.ZONE: _zone_noted,
}


def _match(left: Json, right: Any, op: str = "==") -> Json:
    return {"match": {"op": op, "left": left, "right": right}}


def _meta(key: str) -> Json:
    return {"meta": {"key": key}}


def _payload(protocol: str, name: str) -> Json:
    return {"payload": {"protocol": protocol, "field": name}}


def _one_or_set(values: Iterable[Any]) -> Any:
    found = [*values]
    return found[0] if len(found) == 1 else {"set": found}
