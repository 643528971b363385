"""
Rules that other people wrote on a device → resources, for an import. Pure.

Both families of addresses are flattened each by itself (`flat.py`), and what is the same in both is one rule. What our
language has no words for is `odd`: it keeps its text, if that can be one rule of our own table.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from typing import Any

from mspctl.drivers.nftables import flat
from mspctl.drivers.nftables.flat import Cond, Entry, Tables
from mspctl.kinds import addresses, firewall, services
from mspctl.kinds.firewall import ANY, SELF
from mspctl.kinds.grown import Grown, Native, Odd
from mspctl.resource import Id, Resource

_WHOLE = {4: frozenset({"0.0.0.0/0"}), 6: frozenset({"::/0"})}
_NFPROTO = {4: "meta nfproto ipv4", 6: "meta nfproto ipv6"}
_GENERIC = re.compile(r"(eth|en[opsx]?|ens|lan|wlan|vmbr|br|bond|veth|if)[\dpsfnx]*")
_ENDS = frozenset({"accept", "drop", "reject"})
_HOLDS = {"ipv4_addr": "address", "ipv6_addr": "address", "inet_service": "port", "ifname": "interface"}
_EVERY_PACKET = "it works on every packet, and our chains there see the first one of a connection"


@dataclass(frozen=True, slots=True)
class Seen:
    """An entry, and in which family it holds; 0: in both."""

    entry: Entry
    version: int = 0

    @property
    def cond(self) -> Cond:
        return self.entry.cond


def grown(tables: Tables, outside: Iterable[str], port: int) -> Grown:
    """Raises TargetError when the rules are too tangled."""
    made = _Maker(tables, frozenset(outside))
    made.make()
    named = [f"{family} {name}" for family, name in sorted(tables.rules)]
    taken = sum(map(len, tables.rules.values()))
    made.notes += copied(tables)
    names = called(tables) | {nets: f"{zone}-net" for zone in made.zones if (nets := made.nets(zone))}
    return Grown(made.resources, made.natives, made.odd, made.notes, names, port=port, tables=named, taken=taken)


def slug(text: str, most: int = 48) -> str:
    """Words as an id."""
    found = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:most].strip("-")
    return found if found != firewall.MANAGEMENT else f"{found}-2"


def called(tables: Tables) -> dict[frozenset[str], str]:
    """What people called sets of addresses and ports."""
    found: dict[frozenset[str], str] = {}
    for table, sets in tables.sets.items():
        for name, said in sets.items():
            for version, kind in ((4, "ipv4_addr"), (6, "ipv6_addr"), (4, "inet_service")):
                if said.get("type") != kind or "map" in said:
                    continue
                reader = flat.Reader(tables, table, "input", version)
                ports = kind == "inet_service"
                for protocol in ("tcp", "udp") if ports else ("",):
                    left = {"payload": {"protocol": protocol or ("ip" if version == 4 else "ip6"), "field": "dport"}}
                    left = left if ports else {"payload": {**left["payload"], "field": "saddr"}}
                    for cond in reader.match(left, f"@{name}", "=="):
                        members = cond.services if ports else cond.source
                        if not cond.odd and ANY not in members:
                            found.setdefault(members, slug(name if protocol != "udp" else f"{name}-udp"))
    return found


def copied(tables: Tables) -> Iterator[str]:
    """A line for each set of which rules speak: whoever fills it later changes only the old one."""
    for table, sets in tables.sets.items():
        used = {name for rule in tables.rules[table] for name in re.findall(r"@([A-Za-z0-9_.\\/-]+)", rule.text)}
        for name, said in sets.items():
            if name in used and said.get("elem") and not flat.changes(said):
                number, what = len(said["elem"]), "map" if "map" in said else "set"
                words = _HOLDS.get(str(said.get("type")), "element") if what == "set" else "element"
                held = f"{number} {words}{('es' if words.endswith('s') else 's') if number != 1 else ''}"
                yield f"table {' '.join(table)}: {what} {name} was copied as it was: {held}"


@dataclass(slots=True)
class _Maker:
    tables: Tables
    outer: frozenset[str]  # interfaces by which the rest of the world is reached
    resources: list[Resource] = field(default_factory=list)
    natives: dict[Id, list[Native]] = field(default_factory=dict)
    odd: list[Odd] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    zones: dict[str, frozenset[str]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=lambda: {firewall.MANAGEMENT})
    lists: dict[str, list[Seen]] = field(default_factory=dict)

    def make(self) -> None:
        for hook in ("input", "forward"):
            self.lists[hook] = self._both(hook, "filter", only=True)
        for hook in ("prerouting", "postrouting"):
            self.lists[hook] = self._both(hook, "nat")
        self.outer |= {i for s in self.lists["postrouting"] if s.entry.verdict != "accept" for i in s.cond.goes or ()}
        self._zones()
        self._states()
        self._static_nat()
        self._prerouting()
        ends = {hook: self._decides(hook) for hook in ("input", "forward")}
        self._default(ends)
        self._postrouting()
        self._elsewhere()
        self.resources.append(firewall.order(self.order))

    # -- families ---------------------------------------------------------------------------------------------------

    def _both(self, hook: str, kind: str, *, only: bool = False, first: bool = True) -> list[Seen]:
        """
        One list for both families. Where nothing filters one of them, the rules of the other count for it as well.
        """
        there = {v: bool(self.tables.hooked(hook, kind, v)) for v in (4, 6)}
        lists = {v: flat.flat(self.tables, hook, kind, v, first=first) for v in (4, 6)}
        if only and there[4] != there[6]:
            open_, other = (6, 4) if there[4] else (4, 6)
            self.notes.append(
                f"nothing filtered IPv{open_} in {hook}: all was let through, and now the rules for IPv{other} count"
            )
            return [Seen(entry) for entry in _whole(lists[other])]
        return [*_merged(_whole(lists[4]), _whole(lists[6]))]

    # -- zones ------------------------------------------------------------------------------------------------------

    def _zones(self) -> None:
        said = {each for seen in self.lists.values() for s in seen for each in (s.cond.came, s.cond.goes) if each}
        together: dict[tuple[bool, ...], list[str]] = {}
        sets = sorted(said, key=sorted)
        for name in self.tables.interfaces():
            together.setdefault((name in self.outer, *(name in each for each in sets)), []).append(name)
        groups = [
            part
            for group in together.values()
            for part in ([group] if frozenset(group) in said else [[name] for name in group])
        ]
        inner = [group for group in groups if not self.outer & {*group}]
        for group in sorted(groups):
            name = self._zone_name(group, alone=len(inner) == 1)
            self.zones[name] = frozenset(group)
            fields = firewall.fields(interfaces=frozenset(group), outside=bool(self.outer & {*group}))
            self.resources.append(Resource(Id(firewall.ZONE, name), fields))

    def _zone_name(self, group: Sequence[str], *, alone: bool) -> str:
        generic = all(_GENERIC.fullmatch(name) for name in group)
        words = [slug(group[0], 15), slug(group[0].rstrip("0123456789"), 15)]
        words = ["wan", *words] if self.outer & {*group} and generic else words[::-1]
        words = ["lan", *words] if alone and generic and not self.outer & {*group} else words
        words = words[1:] if generic and words[0] not in ("wan", "lan") else words
        free = (word for word in (*words, *(f"zone{n}" for n in range(100))) if word and word not in self.zones)
        return next(word for word in free if word not in (ANY, SELF))

    def _named(self, interfaces: frozenset[str] | None) -> frozenset[str]:
        if interfaces is None:
            return frozenset({ANY})
        return frozenset(name for name, held in self.zones.items() if held <= interfaces)

    # -- what decides -----------------------------------------------------------------------------------------------

    def _decides(self, hook: str) -> Seen:
        """Rules of one chain in their order; the last entry is given back."""
        *seen, last = _with_logs(self.lists[hook])
        behind: list[Odd] = []
        said = not any(odd.native.chain == "prerouting" for odd in self.odd)  # all of it by forwards
        said = said and not any(r.id.kind == firewall.NAT for r in self.resources)
        for each in seen:
            entry = each.entry
            if entry.verdict == "log":
                self.odd.append(Odd(Native(hook, "", entry.place, entry.comment), f"logs only: {entry.text}"))
            elif entry.cond.dnat and entry.verdict == "accept" and said and not entry.cond.odd:
                behind.append(replace(self._kept(hook, each), spare=True))
            elif entry.cond.odd or entry.verdict not in _ENDS or entry.cond.dnat:
                behind.append(self._kept(hook, each))
            else:
                id_ = self._rule(hook, each)
                self.odd += [replace(odd, before=id_.name) for odd in behind]
                behind = []
        self.odd += behind
        return last

    def _kept(self, hook: str, seen: Seen) -> Odd:
        native = self._native(hook, seen)
        if _goes_on(seen.entry):
            return Odd(replace(native, text=""), f"{_EVERY_PACKET} ({seen.entry.text})")
        return Odd(native, _why(seen.entry))

    def _rule(self, hook: str, seen: Seen) -> Id:
        cond, entry = seen.cond, seen.entry
        to = frozenset({SELF}) if hook == "input" else self._named(cond.goes)
        id_ = Id(firewall.RULE, self._id(entry, cond, self._named(cond.came), to))
        source = cond.source
        if seen.version and source == cond.destination == addresses.ANY and not _of_family(cond.services):
            source = _WHOLE[seen.version]
        fields = firewall.fields(
            from_=self._named(cond.came),
            to=to,
            source=source,
            destination=cond.destination,
            services=cond.services,
            action=entry.verdict,
            log=entry.log,
            until="",
            hours=frozenset(),
        )
        self.resources.append(Resource(id_, fields))
        self.natives[id_] = [self._native(hook, seen)]
        self.order.append(id_.name)
        return id_

    def _id(self, entry: Entry, cond: Cond, came: frozenset[str], goes: frozenset[str]) -> str:
        verb = {"accept": "allow", "reject": "reject"}.get(entry.verdict, "deny")
        what = services.spoken(cond.services) if cond.services != services.ANY else "all"
        what = what if len(what) < 20 else "some"
        ends = [*sorted(came)[:2], "to", *sorted(goes)[:2]]
        composed = slug("-".join([verb, what.replace("/", "-"), *ends]).replace(f"-{ANY}-to-{ANY}", ""))
        return self._free(slug(entry.comment) if 2 < len(slug(entry.comment)) <= 40 else composed)

    def _free(self, name: str) -> str:
        name = name or "rule"
        found = next(n for k in range(1, 10_000) if (n := name if k == 1 else f"{name[:43]}-{k}") not in self.ids)
        self.ids.add(found)
        return found

    def _native(self, chain: str, seen: Seen) -> Native:
        entry = seen.entry
        return Native(chain, self._raw_text(seen), entry.place, entry.comment)

    def _raw_text(self, seen: Seen) -> str:
        """As one rule of our table; "" where it cannot be one."""
        entry = seen.entry
        text = re.sub(r'\b([io]if) (?="|\{|!=)', r"\1name ", entry.text)
        text = re.sub(r"\b(dnat|snat) to\b", rf"\1 {'ip6' if seen.version == 6 else 'ip'} to", text)
        family, _, rest = entry.place.removeprefix("table ").partition(" ")
        sets = self.tables.sets.get((family, rest.partition(",")[0]), {})
        for name in dict.fromkeys(re.findall(r"@([A-Za-z0-9_.\\/-]+)", text)):
            said = sets.get(name, {})
            if not said.get("elem") or flat.changes(said):
                return ""
            held = "{ " + ", ".join(map(_element, flat.elements(said["elem"]))) + " }"
            text = re.sub(rf"@{re.escape(name)}(?![A-Za-z0-9_.-])", held.replace("\\", r"\\"), text)
        if seen.version and not re.search(r"\b(ip6?|icmp|icmpv6) (?!to\b)", text) and "nfproto" not in text:
            text = f"{_NFPROTO[seen.version]} {text}".strip()
        return "" if re.search(r"\bxt\b|#|\b(jump|goto)\b", text) or len(text) > 1000 else text

    def _default(self, ends: Mapping[str, Seen]) -> None:
        """What the last entries say of all the rest: a policy, and where they let through, pairs of zones."""
        shuts = {hook: seen.entry.verdict for hook, seen in ends.items()}
        logs = all(seen.entry.log for seen in ends.values())
        action = "reject" if {*shuts.values()} == {"reject"} else "drop"
        for hook, verdict in shuts.items():
            if verdict == "reject" and action == "drop":
                self._rule(hook, ends[hook])
            elif verdict == "accept":
                self._lets_all(hook)
        self.resources.append(Resource(firewall.DEFAULT, firewall.fields(action=action, log=logs)))

    def _lets_all(self, hook: str) -> None:
        inner = [name for name, held in self.zones.items() if not held & self.outer]
        to = [SELF] if hook == "input" else [*self.zones]
        for came in inner:
            for goes in to:
                id_ = Id(firewall.POLICY, firewall.pair(came, goes))
                self.resources.append(Resource(id_, firewall.fields(action="accept", log=False)))
        outer = [f"iifname @zone_{name} accept" for name, held in self.zones.items() if held & self.outer]
        for text in outer if self.zones else ["accept"]:
            why = "it lets through whatever no rule decides, from everybody outside"
            self.odd.append(Odd(Native(hook, text, f"the policy of {hook}"), why))

    # -- addresses --------------------------------------------------------------------------------------------------

    def _static_nat(self) -> None:
        """A host's own address outside is a pair of entries."""
        back = {
            (next(iter(s.cond.source)), str(s.entry.data.get("addr"))): s
            for s in self.lists["postrouting"]
            if s.entry.verdict == "snat" and len(s.cond.source) == 1 and s.cond.services == services.ANY
        }
        for seen in [*self.lists["prerouting"]]:
            cond = seen.cond
            if seen.entry.verdict != "dnat" or len(cond.destination) != 1 or cond.services != services.ANY:
                continue
            (outside,), inside = cond.destination, str(seen.entry.data.get("addr"))
            pair = back.get((inside, outside))
            zones = self._named(cond.came)
            plain = cond.source == addresses.ANY and not cond.odd and len(zones) == 1 and ANY not in zones
            if pair and plain and pair.cond.goes == cond.came and not pair.cond.odd:
                (zone,) = zones
                id_ = Id(firewall.NAT, self._free(slug(seen.entry.comment) or f"nat-{slug(inside)}"))
                self.resources.append(Resource(id_, firewall.fields(zone=zone, outside=outside, inside=inside)))
                self.lists["prerouting"].remove(seen)
                self.lists["postrouting"].remove(pair)

    def _prerouting(self) -> None:
        """Raw rules come first in ours, so what is ahead of one and meets it is raw as well."""
        odd: list[Seen] = []
        for seen in reversed(_translating(self.lists["prerouting"])):
            made = [*self._forwards(seen)] if not any(seen.cond.meet(each.cond) for each in odd) else []
            for resource in made:
                self._add_forward(seen, resource)
            odd = odd if made else [seen, *odd]
        for seen in odd:
            self.odd.append(Odd(self._native("prerouting", seen), self._why_no_forward(seen)))

    def _add_forward(self, seen: Seen, resource: Resource) -> None:
        id_ = Id(firewall.FORWARD, self._free(resource.id.name))
        self.resources.append(replace(resource, id=id_))
        self.natives[id_] = [self._native("prerouting", seen)]
        if seen.cond.destination == addresses.ANY and "fib daddr type local" not in seen.entry.text:
            text = f"{id_.name} now takes only what is sent to the device itself, and no more what goes through it"
            self.notes.append(f"{seen.entry.place}: {text}")
        elif seen.cond.destination != addresses.ANY and not self.tables.local:
            text = f"{id_.name} takes what is sent to any address of the device there, and was for "
            self.notes.append(f"{seen.entry.place}: {text}{', '.join(addresses.in_order(seen.cond.destination))}")

    def _why_no_forward(self, seen: Seen) -> str:
        if seen.entry.verdict != "dnat" or seen.cond.odd:
            return _why(seen.entry)
        if seen.cond.came is None:
            return "it listens on every interface, and a forward in one zone"
        if not self._listens_here(seen):
            return "it listens on another address than all of the device's there"
        return "who is let through to it cannot be said of it alone"

    def _listens_here(self, seen: Seen) -> bool:
        """Whether a forward, which listens on all addresses of the device, listens on the same."""
        cond, version = seen.cond, seen.version or 4
        if cond.destination == addresses.ANY:
            return True
        held = [each.partition("/")[0] for name in cond.came or () for each in self.tables.local.get(name, ())]
        mine = addresses.joined(a for a in held if (":" in a) == (version == 6) and not a.startswith("fe80"))
        return mine == cond.destination or not self.tables.local

    def _forwards(self, seen: Seen) -> Iterator[Resource]:
        """A forward for each zone and port; none where that is not what it does."""
        cond, data = seen.cond, seen.entry.data or {}
        to, port = data.get("addr"), data.get("port") or 0
        if cond.odd or cond.came is None or not isinstance(to, str) or not isinstance(port, int):
            return
        listens = [services.ports(each) for each in sorted(cond.services)]
        if not self._listens_here(seen) or None in listens or seen.entry.verdict != "dnat":
            return
        version = 6 if ":" in to else 4
        for zone in sorted(self._named(cond.came)):
            for found in filter(None, listens):
                protocol, low, high = found
                if port and low != high:
                    return
                there = services.fold(f"{protocol}/{port or low}-{port or high}")[0]
                source = self._let_in(version, self.zones[zone], addresses.fold(to), there, cond.source)
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
        self, version: int, came: frozenset[str], to: str, service: str, said: frozenset[str]
    ) -> frozenset[str]:
        """Who of `said` gets through to a host behind a forward, by the rules of the chain; none: nobody can say."""
        sent = Cond(came, None, said, frozenset({to}), frozenset({service}), dnat=True)
        left = said if said != addresses.ANY else _WHOLE[version]
        let: frozenset[str] = frozenset()
        for seen in self.lists["forward"]:
            entry = seen.entry
            if seen.version not in (0, version) or _goes_on(entry) or not entry.cond.meet(sent):
                continue
            whole = replace(entry.cond, source=addresses.ANY, goes=None)
            if entry.cond.odd or entry.verdict not in _ENDS or whole.meet(sent) != sent:
                return frozenset()
            met = addresses.overlap(left, entry.cond.source)
            let = addresses.joined([*let, *met]) if entry.verdict == "accept" and met else let
            left = addresses.without(left, entry.cond.source, version)
            if not left:
                break
        return addresses.ANY if let == _WHOLE[version] else let

    def _postrouting(self) -> None:
        """As in prerouting: what is ahead of a raw rule and meets it is raw as well."""
        sources: dict[str, list[frozenset[str]]] = {}
        odd: list[Seen] = []
        for seen in reversed([*_by_family(_translating(self.lists["postrouting"]))]):
            pairs = self._masked(seen) if not any(_meet(seen, each) for each in odd) else []
            for pair in pairs:
                sources.setdefault(pair, []).append(seen.cond.source)
            odd = odd if pairs else [seen, *odd]
        for seen in _together(odd):
            why = _why(seen.entry) if seen.cond.odd or seen.entry.verdict not in ("masquerade", "snat") else ""
            why = why or ("masquerade is for IPv4 only" if seen.version == 6 else "")
            why = why or ("it comes before a raw rule" if self._masked(seen) else "masquerade cannot say it")
            self.odd.append(Odd(self._native("postrouting", seen), why))
        for pair, found in sorted(sources.items()):
            source = addresses.joined(each for one in found for each in one)
            self.resources.append(Resource(Id(firewall.MASQUERADE, pair), firewall.fields(source=source)))

    def _masked(self, seen: Seen) -> list[str]:
        """Pairs of zones between which the device's own address is seen; none where it is more, or less."""
        cond, entry = seen.cond, seen.entry
        plain = cond.services == services.ANY and cond.destination == addresses.ANY and not cond.odd
        if entry.verdict not in ("masquerade", "snat") or not plain or not cond.goes or seen.version == 6:
            return []
        if entry.verdict == "snat" and not self._is_own(entry.data, cond.goes):
            return []
        came = self._named(cond.came) - {ANY} or frozenset(self.zones) - self._named(cond.goes)
        if cond.source != addresses.ANY and cond.came is None:
            near = {zone for zone in came if addresses.overlap(self.nets(zone), cond.source)}
            came = frozenset(near) or came
        return [firewall.pair(a, b) for a in sorted(came) for b in sorted(self._named(cond.goes))]

    def _is_own(self, data: Any, goes: frozenset[str]) -> bool:
        held = [a.partition("/")[0] for name in goes for a in self.tables.local.get(name, ()) if ":" not in a]
        return isinstance(data, dict) and held == [data.get("addr")] and "port" not in data

    def nets(self, zone: str) -> frozenset[str]:
        held = [each for name in self.zones[zone] for each in self.tables.local.get(name, ())]
        return addresses.joined(addresses.fold(str(ipaddress.ip_interface(each).network)) for each in held)

    # -- what else there is -----------------------------------------------------------------------------------------

    def _states(self) -> None:
        """What our table does before everything else, and theirs may not."""
        for hook in ("input", "forward"):
            for version in (4, 6):
                for table, chain in self.tables.hooked(hook, "filter", version):
                    said = str([r.expr for r in self.tables.rules[table]])
                    where = f"table {' '.join(table)}, {chain['name']}"
                    if "established" not in said and chain.get("policy") == "drop":
                        text = "answers were let through by rules of their own, and now always are"
                        self.notes.append(f"{where}: {text}")
                    if "invalid" not in said:
                        self.notes.append(f"{where}: what belongs to no connection (ct state invalid) is dropped now")
        self.notes = [*dict.fromkeys(self.notes)]

    def _elsewhere(self) -> None:
        """Chains that our table has none for."""
        seen = self._both("output", "filter", first=False)
        if any(s.entry.verdict != "accept" for s in seen):
            last = seen[-1].entry.verdict == "accept"
            for each in seen[:-1] if last else seen:
                self.odd.append(Odd(self._native("output", each), "what the device itself sends is let through"))
        for hook, kind in (("prerouting", "filter"), ("postrouting", "filter"), ("output", "route"), ("output", "nat")):
            for each in self._both(hook, kind, first=False):
                if each.entry.verdict in ("drop", "reject") and hook == "prerouting" and not each.cond.odd:
                    self.odd.append(Odd(self._native("prerouting", each), "it decides before addresses are translated"))
                elif each.entry.verdict != "accept":
                    native = replace(self._native("prerouting", each), text="")
                    self.odd.append(Odd(native, _EVERY_PACKET if kind != "nat" else "our table has no such chain"))
        for table, rules in self.tables.rules.items():
            for rule in rules if table[0] not in ("inet", "ip", "ip6") else ():
                native = Native("prerouting", "", f"table {' '.join(table)}, {rule.chain}", rule.comment)
                self.odd.append(Odd(native, "it sees packets before they have zones"))


def _element(said: Any) -> str:
    """Of a set or a map."""
    return (
        " : ".join(map(flat.spoken_value, flat.elements(said))) if isinstance(said, list) else flat.spoken_value(said)
    )


def _goes_on(entry: Entry) -> bool:
    """Whether it decides nothing."""
    decides = re.search(r"\b(accept|drop|reject)\b[^\"]*$", entry.text)
    return entry.verdict == "log" or (entry.verdict == "odd" and not decides)


def _why(entry: Entry) -> str:
    if entry.verdict in ("odd", "redirect", "snat", "masquerade"):
        return f"our language has no words for {entry.data if entry.verdict == 'odd' else entry.verdict}"
    if entry.cond.odd:
        return f"our language has no words for {', '.join(entry.cond.odd)}"
    return "it keeps others from being translated" if entry.verdict == "accept" else "our language has no words for it"


def _of_family(found: frozenset[str]) -> bool:
    return len({each.partition("/")[0] for each in found} & {"icmp", "icmpv6"}) == 1 and all("icmp" in s for s in found)


def _whole(entries: Sequence[Entry]) -> list[Entry]:
    """As far as the first entry that decides about all."""
    found = []
    for entry in entries:
        found.append(entry)
        if entry.cond == Cond() and entry.verdict in _ENDS:
            return found
    return found


def _merged(four: Sequence[Entry], six: Sequence[Entry]) -> Iterator[Seen]:
    """What is the same in both families is one; the order in each stays."""
    keys = [[entry.key for entry in each] for each in (four, six)]
    codes = SequenceMatcher(None, [*map(repr, keys[0])], [*map(repr, keys[1])], autojunk=False).get_opcodes()
    for what, a, b, c, d in codes:
        if what == "equal":
            yield from (Seen(entry) for entry in four[a:b])
        else:
            yield from (Seen(entry, 4) for entry in four[a:b])
            yield from (Seen(entry, 6) for entry in six[c:d])


def _with_logs(seen: Sequence[Seen]) -> list[Seen]:
    """What is logged and then decided is one rule."""
    found: list[Seen] = []
    for each in seen:
        last = found[-1] if found else None
        if last and last.entry.verdict == "log" and (last.cond, last.version) == (each.cond, each.version):
            found[-1] = replace(each, entry=replace(each.entry, log=True))
        else:
            found.append(each)
    return found


def _meet(one: Seen, other: Seen) -> bool:
    return bool({one.version, other.version} != {4, 6} and one.cond.meet(other.cond))


def _by_family(seen: Sequence[Seen]) -> Iterator[Seen]:
    """What hides addresses of both families, for each by itself: our masquerade is for IPv4."""
    for each in seen:
        both = each.entry.verdict == "masquerade" and not each.version
        yield from (replace(each, version=version) for version in (4, 6)) if both else (each,)


def _together(seen: Sequence[Seen]) -> list[Seen]:
    """Those that are the same for both families after all."""
    found: list[Seen] = []
    for each in seen:
        if found and found[-1].entry is each.entry and {found[-1].version, each.version} == {4, 6}:
            found[-1] = replace(each, version=0)
        else:
            found.append(each)
    return found


def _translating(seen: Sequence[Seen]) -> list[Seen]:
    """What translates or keeps from it: all that has to be said, in its order. What only passes on is left out."""
    return [
        each
        for number, each in enumerate(seen)
        if each.entry.verdict != "accept"
        or any(later.entry.verdict != "accept" and each.cond.meet(later.cond) for later in seen[number + 1 :])
    ]
