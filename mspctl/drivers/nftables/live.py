"""
What nft lists of our table → resources, and whether somebody changed it by hand. Pure; `native.py` says how it is made.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mspctl.drivers.nftables.native import (
    CHAINS,
    DAYS,
    IP,
    KINDS,
    NAMED,
    NOTES,
    ORDER,
    OUTSIDE,
    VERDICTS,
    WRITTEN,
    ZONE,
    Foreign,
    Json,
    Rule,
    base,
    made_of,
    rules,
)
from mspctl.errors import TargetError
from mspctl.kinds import addresses, firewall, services
from mspctl.kinds.firewall import ANY, SELF, times
from mspctl.resource import Id, Resource, Value


@dataclass(slots=True)
class Table:
    """What nft says of our table. Raises TargetError when that makes no sense."""

    resources: list[Resource] = field(default_factory=list)
    foreign: list[Foreign] = field(default_factory=list)
    groups: dict[Id, list[Rule]] = field(default_factory=dict)  # what each resource consists of

    @classmethod
    def read(cls, listed: Any) -> Table:
        found = cls()
        try:
            items = [item for item in listed["nftables"] if "metainfo" not in item]
            zones = {i["set"]["name"]: i["set"].get("elem", []) for i in items if "set" in i}
            chains = {i["chain"]["name"]: i["chain"] for i in items if "chain" in i}
            live = [(_live_rule(i["rule"]), int(i["rule"]["handle"])) for i in items if "rule" in i]
            found._take(zones, chains, live)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TargetError(f"nft lists the table in a way that makes no sense ({type(error).__name__})") from None
        return found

    def _take(self, zones: Mapping[str, Any], chains: Mapping[str, Json], live: Sequence[tuple[Rule, int]]) -> None:
        noted = [rule.comment for rule, _ in live if rule.chain == "notes"]
        names = [comment.removeprefix(NAMED) for comment in noted if comment.startswith(NAMED)]
        self.resources += [Resource(Id(firewall.NAME, name), {}) for name in names]
        for name, elements in zones.items():
            if name.startswith(ZONE) and elements:
                zone = name.removeprefix(ZONE)
                fields = firewall.fields(interfaces=frozenset(elements), outside=OUTSIDE + zone in noted)
                self.resources.append(Resource(Id(firewall.ZONE, zone), fields))
        before: dict[str, str] = {}
        order = [comment.removeprefix(ORDER) for comment in noted if comment.startswith(ORDER)]
        for rule, handle in live:
            id_ = _id_of(rule.comment)
            if rule.chain == "notes" and rule.comment.startswith(NOTES):
                pass
            elif id_ is not None:
                self.groups.setdefault(id_, []).append(rule)
            elif rule.key not in _BASE:
                self.foreign.append(Foreign(rule, before.get(rule.chain, ""), handle))
                continue
            before[rule.chain] = rule.comment
        self.resources += _made(self.groups, _texts(noted))
        if order:
            self.resources.append(firewall.order(order))
        whole = all(_same_chain(chains.get(name, {}), said) for name, said in CHAINS.items())
        if (
            not whole
            or not {*_BASE} <= {rule.key for rule, _ in live if rule.comment.startswith("base:")}
            or not self._in_order([r for r, _ in live])
        ):
            self.resources = [by_hand(r) if r.id == firewall.DEFAULT else r for r in self.resources]
        for each in self.foreign:
            self.resources.append(Resource(each.id, {"native": json.dumps([*each.rule.expr], sort_keys=True)}))

    def _in_order(self, live: Sequence[Rule]) -> bool:
        """Whether our rules are where we would put them; what differs within one is told of that one."""
        meant = rules(self.resources, self.groups)
        for chain in CHAINS:
            comments = [[r.comment for r in these if r.chain == chain and r.comment] for these in (meant, live)]
            ours = {*comments[0]}
            if [k for k, _ in itertools.groupby(comments[0])] != [
                k for k, _ in itertools.groupby(c for c in comments[1] if c in ours)
            ]:
                return False
        return True


def _texts(noted: Iterable[str]) -> dict[str, str]:
    """How each raw rule was written, by its name."""
    found: dict[str, str] = {}
    for comment in noted:
        if comment.startswith(WRITTEN):
            name, _, chunk = comment.removeprefix(WRITTEN).rpartition(":")
            found[name] = found.get(name, "") + chunk
    return found


def _made(groups: Mapping[Id, Sequence[Rule]], written: Mapping[str, str]) -> Iterator[Resource]:
    for id_, group in groups.items():
        yield _raw(id_, group, written) if id_.kind == firewall.RAW else _understood(id_, group)


def _raw(id_: Id, group: Sequence[Rule], written: Mapping[str, str]) -> Resource:
    """As it was written; whether it is still that, nft has to say."""
    try:
        (rule,) = group
        said = base64.b64decode(written[id_.name], validate=True).decode("ascii")
    except (KeyError, ValueError):
        rule, said = group[0], ""
    said = said if said.isprintable() and said else firewall.BY_HAND
    return Resource(id_, firewall.fields(chain=rule.chain, text=said))


def _live_rule(said: Json) -> Rule:
    return Rule(said["chain"], said.get("comment", ""), said["expr"])


def _same_chain(live: Json, said: Json) -> bool:
    return bool(live) and all(live.get(key) == value for key, value in said.items())


def _id_of(comment: str) -> Id | None:
    prefix, colon, name = comment.partition(":")
    return Id(KINDS[prefix], name) if colon and prefix in KINDS and name else None


def _understood(id_: Id, group: Sequence[Rule]) -> Resource:
    """The resource that comes to exactly these rules, else one that says they were changed."""
    try:
        found = _READ[id_.kind](id_, [_Parts.of(rule) for rule in group])
        made = [*made_of(found)]
        same = made == group or sorted(r.key for r in made) == sorted(r.key for r in group)  # mostly the first
    except (KeyError, TypeError, ValueError, StopIteration, RuntimeError):
        return by_hand(Resource(id_, {}))
    return found if same else by_hand(found)


def by_hand(resource: Resource) -> Resource:
    name = _TELLING[resource.id.kind]
    value: Value = frozenset({firewall.BY_HAND}) if name == "source" else firewall.BY_HAND
    return Resource(resource.id, {**resource.fields, name: value})


@dataclass(slots=True)
class _Parts:
    """What the matches of one rule say. Raises ValueError for one that we would not have written."""

    chain: str
    said: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, rule: Rule) -> _Parts:
        parts = cls(rule.chain)
        for each in rule.expr:
            ((verb, value),) = each.items()
            if verb == "match":
                parts._match(value)
            else:
                parts.said[verb] = value if value is not None else True
        return parts

    def _match(self, value: Json) -> None:
        ((kind, left),) = value["left"].items()
        key = f"{left['protocol']} {left['field']}" if kind == "payload" else left.get("key", kind)
        if key in self.said:
            raise ValueError(f"{key} is matched twice")
        self.said[key] = value["right"]

    def listed(self, key: str) -> list[Any]:
        said = self.said.get(key, [])
        if isinstance(said, dict) and "set" in said:
            return list(said["set"])
        return said if isinstance(said, list) else [said]

    def zone(self, key: str) -> str:
        return str(self.said.get(key, f"@{ZONE}{ANY}")).removeprefix(f"@{ZONE}")

    def addresses(self, name: str) -> frozenset[str]:
        found = [address_of(each) for version in IP.values() for each in self.listed(f"{version} {name}")]
        return addresses.joined(found) if found else addresses.ANY

    def services(self) -> frozenset[str]:
        found = [*self._services()]
        return services.joined(found) if found else services.ANY

    def _services(self) -> Iterator[str]:
        for protocol in services.WITH_PORTS:
            yield from (_ports_of(protocol, each) for each in self.listed(f"{protocol} dport"))
        for protocol in ("icmp", "icmpv6"):
            yield from (f"{protocol}/{each}" for each in self.listed(f"{protocol} type"))
        for each in self.listed("l4proto"):
            yield {"icmp": "icmp/any", "ipv6-icmp": "icmpv6/any"}.get(each, each)

    def until(self) -> str:
        said = str(self.said.get("time", ""))
        return said.removesuffix(":00") if said.count(":") == 2 else said

    def hours(self) -> frozenset[str]:
        if "hour" not in self.said:
            return frozenset()
        low, high = (_seconds(each) for each in self.said["hour"]["range"])
        days = [DAYS.index(day) * 1440 for day in self.listed("day")]
        return times.hours((day + low // 60, day + (high + 1) // 60) for day in days)

    def action(self) -> str:
        return next(name for name in VERDICTS if name in self.said)

    def limits(self) -> dict[str, Value]:
        return {"log": "log" in self.said, "until": self.until(), "hours": self.hours()}


def address_of(said: Any) -> str:
    if isinstance(said, str):
        return addresses.fold(said)
    if "range" in said:
        return addresses.fold("-".join(said["range"]))
    return addresses.fold(f"{said['prefix']['addr']}/{said['prefix']['len']}")


def _ports_of(protocol: str, said: Any) -> str:
    low, high = said["range"] if isinstance(said, dict) else (said, said)
    return services.fold(f"{protocol}/{low}-{high}")[0]


def _seconds(clock: str) -> int:
    hours, minutes, *seconds = (int(part) for part in clock.split(":"))
    return hours * 3600 + minutes * 60 + (seconds[0] if seconds else 0)


def _read_rule(id_: Id, group: Sequence[_Parts]) -> Resource:
    to = frozenset(SELF if p.chain == "input" else p.zone("oifname") for p in group)
    fields = firewall.fields(
        from_=frozenset(p.zone("iifname") for p in group),
        to=to,
        source=addresses.joined(a for p in group for a in p.addresses("saddr")),
        destination=addresses.joined(a for p in group for a in p.addresses("daddr")),
        services=services.joined(s for p in group for s in p.services()),
        action=group[0].action(),
    )
    limits = {**group[0].limits(), "hours": _all_hours(group)}
    return Resource(id_, fields | limits)


def _all_hours(group: Sequence[_Parts]) -> frozenset[str]:
    return frozenset(h for p in group for h in p.hours())


def _read_forward(id_: Id, group: Sequence[_Parts]) -> Resource:
    first = next(p for p in group if p.chain == "prerouting")
    let = next(p for p in group if p.chain == "forward")
    dnat = first.said["dnat"]
    fields = firewall.fields(
        zone=first.zone("iifname"),
        listen=first.services(),
        to=addresses.fold(dnat["addr"]),
        port=int(dnat.get("port", 0)),
        source=first.addresses("saddr"),
    )
    return Resource(id_, fields | {**let.limits(), "hours": _all_hours(group)})


def _read_nat(id_: Id, group: Sequence[_Parts]) -> Resource:
    dnat = next(p for p in group if p.chain == "prerouting")
    (outside,) = dnat.addresses("daddr")
    inside = addresses.fold(dnat.said["dnat"]["addr"])
    return Resource(id_, firewall.fields(zone=dnat.zone("iifname"), outside=outside, inside=inside))


def _read_masquerade(id_: Id, group: Sequence[_Parts]) -> Resource:
    (parts,) = group
    return Resource(id_, {"source": parts.addresses("saddr")})


def _read_action(id_: Id, group: Sequence[_Parts]) -> Resource:
    return Resource(id_, {"action": group[0].action(), "log": "log" in group[0].said})


_READ = {
    firewall.RULE: _read_rule,
    firewall.FORWARD: _read_forward,
    firewall.NAT: _read_nat,
    firewall.MASQUERADE: _read_masquerade,
    firewall.POLICY: _read_action,
    firewall.DEFAULT.kind: _read_action,
}
_TELLING = {  # the field that says when somebody else wrote it
    firewall.RULE: "action",
    firewall.FORWARD: "to",
    firewall.NAT: "inside",
    firewall.MASQUERADE: "source",
    firewall.POLICY: "action",
    firewall.DEFAULT.kind: "action",
    firewall.RAW: "text",
}
_BASE = frozenset(rule.key for rule in base())
