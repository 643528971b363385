"""What translates addresses: forwards, pairs of one host's addresses, and the device's own address."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from mspctl.drivers.nftables.grown.condition import Cond
from mspctl.drivers.nftables.grown.draft import Draft, slug
from mspctl.drivers.nftables.grown.entries import WHOLE, Seen, by_family, goes_on, meet, together, translating, why_not
from mspctl.drivers.nftables.grown.one_rule import ENDS
from mspctl.kinds import addresses, firewall, services
from mspctl.kinds.firewall import ANY
from mspctl.kinds.grown import Odd
from mspctl.resource import Id, Resource


def static_nat(draft: Draft) -> None:
    """A host's own address outside is a pair of entries."""
    back = {
        (next(iter(s.cond.source)), str(s.entry.data.get("addr"))): s
        for s in draft.lists["postrouting"]
        if s.entry.verdict == "snat" and len(s.cond.source) == 1 and s.cond.services == services.ANY
    }
    for seen in [*draft.lists["prerouting"]]:
        cond = seen.cond
        if seen.entry.verdict != "dnat" or len(cond.destination) != 1 or cond.services != services.ANY:
            continue
        (outside,), inside = cond.destination, str(seen.entry.data.get("addr"))
        pair = back.get((inside, outside))
        zones = draft.named(cond.came)
        plain = cond.source == addresses.ANY and not cond.odd and len(zones) == 1 and ANY not in zones
        if pair and plain and pair.cond.goes == cond.came and not pair.cond.odd:
            (zone,) = zones
            id_ = Id(firewall.NAT, draft.free(slug(seen.entry.comment) or f"nat-{slug(inside)}"))
            draft.resources.append(Resource(id_, firewall.fields(zone=zone, outside=outside, inside=inside)))
            draft.lists["prerouting"].remove(seen)
            draft.lists["postrouting"].remove(pair)


def prerouting(draft: Draft) -> None:
    """Raw rules come first in ours, so what is ahead of one and meets it is raw as well."""
    odd: list[Seen] = []
    for seen in reversed(translating(draft.lists["prerouting"])):
        made = [*_forwards(draft, seen)] if not any(seen.cond.meet(each.cond) for each in odd) else []
        for resource in made:
            _add_forward(draft, seen, resource)
        odd = odd if made else [seen, *odd]
    for seen in odd:
        draft.odd.append(Odd(draft.native("prerouting", seen), _why_no_forward(draft, seen)))


def _add_forward(draft: Draft, seen: Seen, resource: Resource) -> None:
    id_ = Id(firewall.FORWARD, draft.free(resource.id.name))
    draft.resources.append(replace(resource, id=id_))
    draft.natives[id_] = [draft.native("prerouting", seen)]
    if seen.cond.destination == addresses.ANY and "fib daddr type local" not in seen.entry.text:
        text = f"{id_.name} now takes only what is sent to the device itself, and no more what goes through it"
        draft.notes.append(f"{seen.entry.place}: {text}")
    elif seen.cond.destination != addresses.ANY and not draft.tables.local:
        text = f"{id_.name} takes what is sent to any address of the device there, and was for "
        draft.notes.append(f"{seen.entry.place}: {text}{', '.join(addresses.in_order(seen.cond.destination))}")


def _why_no_forward(draft: Draft, seen: Seen) -> str:
    if seen.entry.verdict != "dnat" or seen.cond.odd:
        return why_not(seen.entry)
    if seen.cond.came is None:
        return "it listens on every interface, and a forward in one zone"
    if not _listens_here(draft, seen):
        return "it listens on another address than all of the device's there"
    return "who is let through to it cannot be said of it alone"


def _listens_here(draft: Draft, seen: Seen) -> bool:
    """Whether a forward, which listens on all addresses of the device, listens on the same."""
    cond, version = seen.cond, seen.version or 4
    if cond.destination == addresses.ANY:
        return True
    held = [each.partition("/")[0] for name in cond.came or () for each in draft.tables.local.get(name, ())]
    mine = addresses.joined(a for a in held if (":" in a) == (version == 6) and not a.startswith("fe80"))
    return mine == cond.destination or not draft.tables.local


def _forwards(draft: Draft, seen: Seen) -> Iterator[Resource]:
    """A forward for each zone and port; none where that is not what it does."""
    cond, data = seen.cond, seen.entry.data or {}
    to, port = data.get("addr"), data.get("port") or 0
    if cond.odd or cond.came is None or not isinstance(to, str) or not isinstance(port, int):
        return
    listens = [services.ports(each) for each in sorted(cond.services)]
    if not _listens_here(draft, seen) or None in listens or seen.entry.verdict != "dnat":
        return
    version = 6 if ":" in to else 4
    for zone in sorted(draft.named(cond.came)):
        for found in filter(None, listens):
            protocol, low, high = found
            if port and low != high:
                return
            there = services.fold(f"{protocol}/{port or low}-{port or high}")[0]
            source = _let_in(draft, version, draft.zones[zone], addresses.fold(to), there, cond.source)
            if not source:
                return
            name = slug(seen.entry.comment) or f"{services.spoken(frozenset({there}))}-{to}"
            fields = firewall.fields(
                zone=zone,
                listen=frozenset({services.fold(f"{protocol}/{low}-{high}")[0]}),
                to=addresses.fold(to),
                port=0 if port == low else port,
                source=source,
                log=False,
                until="",
                hours=frozenset(),
            )
            yield Resource(Id(firewall.FORWARD, slug(name)), fields)


def _let_in(
    draft: Draft, version: int, came: frozenset[str], to: str, service: str, said: frozenset[str]
) -> frozenset[str]:
    """Who of `said` gets through to a host behind a forward, by the rules of the chain; none: nobody can say."""
    sent = Cond(came, None, said, frozenset({to}), frozenset({service}), dnat=True)
    left = said if said != addresses.ANY else WHOLE[version]
    let: frozenset[str] = frozenset()
    for seen in draft.lists["forward"]:
        entry = seen.entry
        if seen.version not in (0, version) or goes_on(entry) or not entry.cond.meet(sent):
            continue
        whole = replace(entry.cond, source=addresses.ANY, goes=None)
        if entry.cond.odd or entry.verdict not in ENDS or whole.meet(sent) != sent:
            return frozenset()
        met = addresses.overlap(left, entry.cond.source)
        let = addresses.joined([*let, *met]) if entry.verdict == "accept" and met else let
        left = addresses.without(left, entry.cond.source, version)
        if not left:
            break
    return addresses.ANY if let == WHOLE[version] else let


def postrouting(draft: Draft) -> None:
    """As in prerouting: what is ahead of a raw rule and meets it is raw as well."""
    sources: dict[str, list[frozenset[str]]] = {}
    odd: list[Seen] = []
    for seen in reversed([*by_family(translating(draft.lists["postrouting"]))]):
        pairs = _masked(draft, seen) if not any(meet(seen, each) for each in odd) else []
        for pair in pairs:
            sources.setdefault(pair, []).append(seen.cond.source)
        odd = odd if pairs else [seen, *odd]
    for seen in together(odd):
        why = why_not(seen.entry) if seen.cond.odd or seen.entry.verdict not in ("masquerade", "snat") else ""
        why = why or ("masquerade is for IPv4 only" if seen.version == 6 else "")
        why = why or ("it comes before a raw rule" if _masked(draft, seen) else "masquerade cannot say it")
        draft.odd.append(Odd(draft.native("postrouting", seen), why))
    for pair, found in sorted(sources.items()):
        source = addresses.joined(each for one in found for each in one)
        draft.resources.append(Resource(Id(firewall.MASQUERADE, pair), firewall.fields(source=source)))


def _masked(draft: Draft, seen: Seen) -> list[str]:
    """Pairs of zones between which the device's own address is seen; none where it is more, or less."""
    cond, entry = seen.cond, seen.entry
    plain = cond.services == services.ANY and cond.destination == addresses.ANY and not cond.odd
    if entry.verdict not in ("masquerade", "snat") or not plain or not cond.goes or seen.version == 6:
        return []
    if entry.verdict == "snat" and not _is_own(draft, entry.data, cond.goes):
        return []
    came = draft.named(cond.came) - {ANY} or frozenset(draft.zones) - draft.named(cond.goes)
    if cond.source != addresses.ANY and cond.came is None:
        near = {zone for zone in came if addresses.overlap(draft.nets(zone), cond.source)}
        came = frozenset(near) or came
    return [firewall.pair(a, b) for a in sorted(came) for b in sorted(draft.named(cond.goes))]


def _is_own(draft: Draft, data: Any, goes: frozenset[str]) -> bool:
    held = [a.partition("/")[0] for name in goes for a in draft.tables.local.get(name, ()) if ":" not in a]
    return isinstance(data, dict) and held == [data.get("addr")] and "port" not in data
