"""
Chains of nftables → one list of conditions and verdicts for each hook, as the first packet of a connection meets it.

Jumps, maps of verdicts and several chains on one hook are gone in it. Answers, what belongs to no connection, and what
the device says to itself are not in it: with our rules they are decided before everything else. What a condition says
that our language has no words for is in `odd`, and the rule's own text comes along. Pure.

Sources: libnftables-json(5), nft(8).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mspctl.drivers.nftables.live import address_of
from mspctl.errors import TargetError
from mspctl.kinds import addresses, services

Json = dict[str, Any]
Names = frozenset[str]

MOST = 4000  # entries; what is more tangled than that, nobody understands
_ENDS = frozenset({"accept", "drop", "reject"})
_NAT = frozenset({"dnat", "snat", "masquerade", "redirect"})
_LAST = _ENDS | _NAT | {"vmap", "return", "continue", "jump", "goto"}
_NOTHING = frozenset({"counter", "comment", "last"})
_PRIORITIES = {"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "security": 50, "srcnat": 100}
_PROTOCOLS = {"icmp": "icmp/any", "ipv6-icmp": "icmpv6/any", "icmpv6": "icmpv6/any"}
_PROTOCOLS |= {name: f"{name}/1-65535" for name in services.WITH_PORTS} | {name: name for name in services.ALONE}


@dataclass(frozen=True, slots=True)
class Cond:
    """What a packet has to be. `came` and `goes`: interfaces; None is any."""

    came: Names | None = None
    goes: Names | None = None
    source: Names = addresses.ANY
    destination: Names = addresses.ANY
    services: Names = services.ANY
    dnat: bool = False  # only what was sent on to another address
    odd: tuple[str, ...] = ()

    def meet(self, other: Cond) -> Cond | None:
        """What both say; None where nothing can be both."""
        came, goes = _both(self.came, other.came), _both(self.goes, other.goes)
        source = addresses.overlap(self.source, other.source)
        destination = addresses.overlap(self.destination, other.destination)
        found = _common(self.services, other.services)
        if not (source and destination and found) or came == frozenset() or goes == frozenset():
            return None
        odd = tuple(dict.fromkeys((*self.odd, *other.odd)))
        return Cond(came, goes, source, destination, found, self.dnat or other.dnat, odd)


def _both(one: Names | None, other: Names | None) -> Names | None:
    return other if one is None else one if other is None else one & other


def _common(one: Names, other: Names) -> Names:
    if services.ANY in (one, other):
        return other if one == services.ANY else one
    return services.joined(found for a in one for b in other if (found := _shared(a, b)))


def _shared(one: str, other: str) -> str:
    a, b = services.ports(one), services.ports(other)
    if a and b:
        low, high = max(a[1], b[1]), min(a[2], b[2])
        return services.fold(f"{a[0]}/{low}-{high}")[0] if a[0] == b[0] and low <= high else ""
    if one == other or one.endswith("/any"):
        return other if one.partition("/")[0] == other.partition("/")[0] else ""
    return one if other.endswith("/any") and one.partition("/")[0] == other.partition("/")[0] else ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as it stands somewhere."""

    chain: str
    expr: Sequence[Json]
    text: str  # as nft lists it, without its comment
    comment: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One condition and what becomes of what meets it; `log` and `odd` are verdicts after which it goes on."""

    cond: Cond
    verdict: str
    data: Any = None
    text: str = ""
    place: str = ""
    comment: str = ""
    log: bool = False

    def within(self, cond: Cond, text: str) -> Entry | None:
        met = cond.meet(self.cond)
        return replace(self, cond=met, text=f"{text} {self.text}".strip()) if met else None

    @property
    def key(self) -> object:
        """By which rules of two families are one."""
        return self.cond, self.verdict, str(self.data), self.text if self.cond.odd or self.verdict == "odd" else ""


@dataclass(slots=True)
class Tables:
    """What nft lists, but for our own tables."""

    chains: dict[tuple[str, str], dict[str, Json]] = field(default_factory=dict)  # family and name of a table → chains
    rules: dict[tuple[str, str], list[Rule]] = field(default_factory=dict)
    sets: dict[tuple[str, str], dict[str, Json]] = field(default_factory=dict)  # maps, too
    local: Mapping[str, Sequence[str]] = field(default_factory=dict)  # interface → addresses with their networks

    @classmethod
    def read(cls, listed: Any, text: str, ours: str, local: Mapping[str, Sequence[str]]) -> Tables:
        """Raises KeyError, TypeError, ValueError when that makes no sense."""
        found = cls(local=local)
        texts, dynamic = dict(_texts(text)), {*_dynamic(text)}
        for item in listed["nftables"]:
            ((what, said),) = item.items()
            table = (str(said.get("family")), str(said.get("table", said.get("name"))))
            if table[1].startswith(ours) or what == "metainfo":
                continue
            if what == "table":
                found.chains.setdefault(table, {}), found.rules.setdefault(table, []), found.sets.setdefault(table, {})
            elif what == "chain":
                found.chains[table][said["name"]] = said
            elif what in ("set", "map"):
                more = ["dynamic"] if (*table, said["name"]) in dynamic else []
                found.sets[table][said["name"]] = {**said, "flags": [*_flat(said.get("flags", [])), *more]}
            elif what == "rule":
                own = texts.get((*table, int(said["handle"])), "")
                found.rules[table].append(Rule(said["chain"], said["expr"], own, said.get("comment", "")))
        return found

    def hooked(self, hook: str, kind: str, version: int) -> list[tuple[tuple[str, str], Json]]:
        """Base chains of one family, as packets meet them."""
        families = ("inet", "ip" if version == 4 else "ip6")
        found = [
            (table, chain)
            for table, chains in self.chains.items()
            for chain in chains.values()
            if table[0] in families and chain.get("hook") == hook and chain.get("type") == kind
        ]
        return sorted(found, key=lambda each: _priority(each[1].get("prio", 0)))

    def interfaces(self) -> list[str]:
        """All that rules speak of or the device has, but for its own loop; what is a pattern is none."""
        found = {*self.local}
        for rules in self.rules.values():
            for rule in rules:
                found |= {*_named(rule.expr)}
        for sets in self.sets.values():
            for said in sets.values():
                if said.get("type") == "ifname":
                    found |= {str(each) for each in elements(said.get("elem", []))}
        return sorted(each for each in found if each != "lo" and "*" not in each)


def _priority(said: Any) -> int:
    return _PRIORITIES.get(said, 0) if isinstance(said, str) else int(said)


def _texts(listed: str) -> Iterator[tuple[tuple[str, str, int], str]]:
    """Rules as nft writes them, by table and handle; long sets go over several lines."""
    family = name = held = ""
    chain = False
    for line in map(str.strip, listed.splitlines()):
        body, _, handle = line.rpartition(" # handle ")
        if line.startswith("table ") and body.endswith("{"):
            _, family, name, *_ = body.split()
        elif body.endswith("{") and line.startswith(("chain ", "set ", "map ", "flowtable ", "ct ")):
            chain, held = line.startswith("chain "), ""
        elif line == "}":
            chain = False
        elif chain and not line.startswith(("type ", "policy ")):
            held = f"{held} {body or line}".strip()
            if body and handle.isdecimal():
                yield (family, name, int(handle)), re.sub(r' comment "[^"]*"$', "", held)
                held = ""


def _dynamic(listed: str) -> Iterator[tuple[str, str, str]]:
    """Sets that rules fill, by table and name: nft's JSON does not tell them (as of 1.0.6)."""
    family = name = held = ""
    for words in map(str.split, listed.splitlines()):
        if words[:1] == ["table"]:
            _, family, name, *_ = words
        elif words[:1] in (["set"], ["map"]):
            held = words[1]
        elif words[:1] == ["flags"] and "dynamic" in words[1].split(","):
            yield family, name, held


def _named(value: Any) -> Iterator[str]:
    """Interfaces in an expression."""
    for statement in value:
        said = statement.get("match") or statement.get("vmap") or {}
        left = said.get("left") or said.get("key")
        if isinstance(left, dict) and left.get("meta", {}).get("key") in ("iif", "oif", "iifname", "oifname"):
            right = said.get("right", said.get("data"))
            found = right.get("set", []) if isinstance(right, dict) else [right]
            names = (each[0] if isinstance(each, list) else each for each in found)
            yield from (each for each in names if isinstance(each, str) and not each.startswith("@"))


def changes(said: Json) -> bool:
    """Whether a set is filled by rules, or forgets."""
    return bool({"dynamic", "timeout"} & {*said.get("flags", [])}) or "timeout" in said


def elements(said: Iterable[Any]) -> Iterator[Any]:
    for each in said:
        yield each["elem"]["val"] if isinstance(each, dict) and "elem" in each else each


# -- one rule -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reader:
    """How the rules of one table read on one hook, in one family."""

    tables: Tables
    table: tuple[str, str]
    hook: str
    version: int
    first: bool = True  # only what begins a connection, and comes from elsewhere

    def read(self, rule: Rule) -> Iterator[tuple[Cond, str, Any, str, bool]]:
        """Each way in which it counts: condition, verdict, more of that, the condition's text, whether it logs."""
        ways: list[tuple[Cond, str]] = [(Cond(), _matches_of(rule.text))]
        log = False
        odd = ""
        for statement in rule.expr:
            ((verb, value),) = statement.items()
            if verb == "match":
                ways = self._narrowed(ways, [*self.match(value["left"], value["right"], value["op"])])
            elif verb == "log":
                log = True
            elif verb in ("limit", "ct count", "quota"):
                ways = self._narrowed(ways, [Cond(odd=(f"{verb}",))])
            elif verb in _LAST:
                yield from self._ended(ways, verb, value, odd=odd, log=log)
                return
            elif verb not in _NOTHING:
                odd = verb
        for cond, text in ways if odd or log else ():
            yield cond, "odd" if odd else "log", odd, text, log

    def _ended(self, ways: Sequence[tuple[Cond, str]], verb: str, value: Any, *, odd: str, log: bool) -> Iterator[Any]:
        if verb == "vmap":
            yield from self._mapped(ways, value, log)
        elif verb in _NAT:
            for cond, text in ways:
                yield from self._translated(cond, verb, value, text)
        elif verb in ("jump", "goto"):
            yield from ((cond, verb, str(value["target"]), text, log) for cond, text in ways)
        else:
            yield from ((cond, "odd" if odd else verb, odd or value, text, log) for cond, text in ways)

    @staticmethod
    def _narrowed(ways: Sequence[tuple[Cond, str]], more: Sequence[Cond]) -> list[tuple[Cond, str]]:
        return [(met, text) for cond, text in ways for each in more if (met := cond.meet(each))]

    def _mapped(self, ways: Sequence[tuple[Cond, str]], value: Json, log: bool) -> Iterator[Any]:
        said = value["data"]
        if empty := self._empty(said):
            yield from ((replace(cond, odd=(*cond.odd, empty)), "drop", None, text, log) for cond, text in ways)
            return
        pairs = said["set"] if isinstance(said, dict) else self._set(said).get("elem", [])
        before = [(cond, text.partition(" vmap ")[0]) for cond, text in ways]
        for key, verdict in pairs:
            ((verb, more),) = verdict.items()
            key = next(elements([key]))
            matched = [*self.match(value["key"], key, "==")]
            for cond, _ in self._narrowed(before, matched):
                text = _spoken_match(value["key"], key)
                yield cond, verb, str(more["target"]) if verb in ("jump", "goto") else more, text, log

    def _translated(self, cond: Cond, verb: str, value: Any, text: str) -> Iterator[Any]:
        """A map of targets is one way for each of its keys."""
        said = value if isinstance(value, dict) else {}
        for name in ("addr", "port"):
            if isinstance(said.get(name), dict) and "map" in said[name]:
                mapped = said[name]["map"]
                data = mapped["data"]
                if empty := self._empty(data):
                    yield replace(cond, odd=(*cond.odd, empty)), verb, {}, text, False
                    return
                pairs = data["set"] if isinstance(data, dict) else self._set(data).get("elem", [])
                for key, target in pairs:
                    key = next(elements([key]))
                    more = (
                        {"addr": target["concat"][0], "port": target["concat"][1]}
                        if isinstance(target, dict) and "concat" in target
                        else {name: target}
                    )
                    for each in self.match(mapped["key"], key, "=="):
                        if met := cond.meet(each):
                            yield met, verb, {**said, **more}, text, False
                return
        yield cond, verb, said, text, False

    def _set(self, name: str) -> Json:
        found: Json = self.tables.sets[self.table].get(str(name).removeprefix("@"), {})
        return found

    # -- one match --------------------------------------------------------------------------------------------------

    def match(self, left: Any, right: Any, op: str) -> Iterator[Cond]:
        """The conditions that it comes to; none where it can never hold."""
        if self._is_of_others(left):
            return
        try:
            values = self._values(right)
            if isinstance(left, dict) and "concat" in left and op == "==":
                for value in values:
                    ways = [Cond()]
                    for part, each in zip(left["concat"], value["concat"], strict=True):
                        more = [*self.match(part, each, "==")]
                        ways = [met for one in ways for two in more if (met := one.meet(two))]
                    yield from ways
                return
            found = self._matched(left, values, op)
        except (KeyError, TypeError, ValueError):
            found = None
        if found is None:
            said = _spoken_match(left, right, "" if op in ("==", "in") else op)
            found = Cond(odd=(self._empty(right) or said,))
        if found is not False:
            yield Cond() if found is True else found

    def _is_of_others(self, left: Any) -> bool:
        """Whether it is about addresses of the other family."""
        of = left.get("payload", {}).get("protocol") if isinstance(left, dict) else ""
        return of == ("ip6" if self.version == 4 else "ip")

    def _empty(self, right: Any) -> str:
        """Words for a named set or map without elements: somebody fills it, or the rule would be for nothing."""
        named = isinstance(right, str) and right.startswith("@") and not self._set(right).get("elem")
        return f"the set {right[1:]}: it is empty now, and filled by something else" if named else ""

    def _values(self, right: Any) -> list[Any]:
        if isinstance(right, str) and right.startswith("@"):
            said = self._set(right[1:])
            if changes(said) or not said.get("elem"):
                raise ValueError("a set that changes by itself")
            return [*elements(said.get("elem", []))]
        if isinstance(right, dict) and "set" in right:
            right = right["set"]
        return [*elements(right if isinstance(right, list) else [right])]

    def _matched(self, left: Any, values: Sequence[Any], op: str) -> Cond | bool | None:
        """True, False: it is always so, or never; None: our language has no words for it."""
        if op not in ("==", "!=", "in") or not isinstance(left, dict):
            return None
        ((kind, said),) = left.items()
        no = op == "!="
        if kind == "meta":
            return self._meta(said["key"], values, no)
        if kind == "ct":
            return self._ct(said, values, no)
        if kind == "fib":
            return self._fib(said, values, no)
        if kind == "payload" and "protocol" in said:
            return self._payload(said["protocol"], said["field"], values, no)
        if kind == "&" and "tcp" in str(said) and "flags" in str(said) and op != "!=":
            syn = values == ["syn"] and {*_flat(said[1])} == {"fin", "syn", "rst", "ack"}
            return Cond(services=frozenset({"tcp/1-65535"})) if syn else None
        return None

    def _meta(self, key: str, values: Sequence[Any], no: bool) -> Cond | bool | None:
        if key in ("iif", "iifname", "oif", "oifname"):
            return self._interface(key[0], values, no)
        if key in ("nfproto", "protocol"):
            mine = {"ipv4", "ip"} if self.version == 4 else {"ipv6", "ip6"}
            return bool(mine & {*values}) is not no
        if key == "l4proto" and not no:
            return Cond(services=services.joined(_PROTOCOLS[value] for value in values))
        return None

    def _interface(self, way: str, values: Sequence[Any], no: bool) -> Cond | bool | None:
        if not all(isinstance(value, str) and "*" not in value for value in values):
            return None
        said = frozenset(values)
        if no:
            said = frozenset(self.tables.interfaces()) - said
            if "lo" in values and self.first:
                return True if {*values} == {"lo"} else None
        elif self.first:
            said -= {"lo"}
        if not said:
            return False
        return Cond(came=said) if way == "i" else Cond(goes=said)

    def _ct(self, said: Json, values: Sequence[Any], no: bool) -> Cond | bool | None:
        flat = [*_flat(values)]
        if said.get("key") == "state" and self.first:
            return ("new" in flat) is not no
        if said.get("key") == "status" and flat == ["dnat"] and not no:
            return Cond(dnat=True)
        return None

    def _fib(self, said: Json, values: Sequence[Any], no: bool) -> Cond | bool | None:
        """Where it goes is decided by then: what is for the device is on its hook."""
        if said.get("result") == "type" and said.get("flags") == ["daddr"] and self.first:
            if self.hook in ("input", "forward") and "local" in values:
                return (self.hook == "input") is not no
            if self.hook == "prerouting" and [*values] == ["local"] and not no:
                return True
        return None

    def _payload(self, of: str, name: str, values: Sequence[Any], no: bool) -> Cond | bool | None:
        if of in ("ip", "ip6"):
            if of != ("ip" if self.version == 4 else "ip6"):
                return False
            if name in ("saddr", "daddr"):
                return self._address(name, values, no)
            if name in ("protocol", "nexthdr") and not no:
                return Cond(services=services.joined(_PROTOCOLS[value] for value in values))
            return None
        protocols = services.WITH_PORTS if of == "th" else (of,)
        if name == "dport" and {*protocols} <= {*services.WITH_PORTS}:
            spans = [(v["range"][0], v["range"][1]) if isinstance(v, dict) else (int(v), int(v)) for v in values]
            spans = [*_others(spans)] if no else spans
            found = [services.fold(f"{p}/{max(1, low)}-{high}")[0] for p in protocols for low, high in spans]
            return Cond(services=services.joined(found)) if found else False
        if name == "type" and of in ("icmp", "icmpv6") and not no:
            if of == ("icmpv6" if self.version == 4 else "icmp"):
                return False
            return Cond(services=services.joined(services.fold(f"{of}/{value}")[0] for value in values))
        return None

    def _address(self, name: str, values: Sequence[Any], no: bool) -> Cond | bool:
        said = addresses.joined(address_of(value) for value in values) if values else frozenset[str]()
        said = addresses.without(addresses.ANY, said, self.version) if no else said
        if not said:
            return False
        whole = "0.0.0.0/0" if self.version == 4 else "::/0"
        if said == frozenset({whole}):
            return True
        return Cond(source=said) if name == "saddr" else Cond(destination=said)


def _others(spans: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Ports that are not in them."""
    start = 1
    for low, high in sorted(spans):
        if start < low:
            yield start, low - 1
        start = max(start, high + 1)
    if start < 65536:
        yield start, 65535


def _flat(said: Any) -> Iterator[str]:
    if isinstance(said, dict):
        for each in said.values():
            yield from _flat(each)
    elif isinstance(said, list | tuple):
        for each in said:
            yield from _flat(each)
    else:
        yield str(said)


def _spoken_match(left: Any, right: Any, op: str = "") -> str:
    """A match in the words of nft, where it is a plain one."""
    if isinstance(left, dict) and "concat" in left and isinstance(right, dict) and "concat" in right:
        return " ".join(_spoken_match(a, b) for a, b in zip(left["concat"], right["concat"], strict=True))
    if isinstance(left, dict) and "concat" in left:
        return " ".join(
            w for w in (" . ".join(_spoken_match(part, "") for part in left["concat"]), op, str(right)) if w
        )
    ((kind, said),) = left.items() if isinstance(left, dict) else ((str(left), {}),)
    words = [said.get("protocol"), said.get("field")] if kind == "payload" else [kind, said.get("key")]
    if not isinstance(said, dict):
        words = [kind]
    if kind == "meta" and words[1] in ("iifname", "oifname", "iif", "oif"):
        words = [words[1].replace("iif", "iifname").replace("oif", "oifname").replace("namename", "name")]
        right = f'"{right}"' if isinstance(right, str) else right
    if kind == "fib":
        words = ["fib", *map(str, said.get("flags", [])), str(said.get("result"))]
    return " ".join(str(w) for w in (*words, op, spoken_value(right)) if w)


def spoken_value(said: Any) -> str:
    if isinstance(said, dict) and "set" in said:
        return "{ " + ", ".join(map(spoken_value, elements(said["set"]))) + " }"
    if isinstance(said, dict) and "range" in said:
        return "-".join(map(str, said["range"]))
    if isinstance(said, dict) and "prefix" in said:
        return f"{said['prefix']['addr']}/{said['prefix']['len']}"
    if isinstance(said, dict) and "concat" in said:
        return " . ".join(map(spoken_value, said["concat"]))
    return ",".join(map(spoken_value, said)) if isinstance(said, list) else str(said)


def _matches_of(text: str) -> str:
    """The text of a rule without where it goes, and without what it counts."""
    for word in (" jump ", " goto "):
        text = f" {text}".partition(word)[0]
    return text.replace(" counter", "").strip()


# -- all of a hook ------------------------------------------------------------------------------------------------


def flat(tables: Tables, hook: str, kind: str, version: int, *, first: bool = True) -> list[Entry]:
    """What becomes of a packet on one hook, from first to last; the last one holds for all. Raises TargetError."""
    end = [Entry(Cond(), "accept", place="no chain")]
    for table, chain in reversed(tables.hooked(hook, kind, version)):
        reader = Reader(tables, table, hook, version, first)
        walk = _Walk(reader, end)
        place = f"table {table[0]} {table[1]}, {chain['name']}"
        policy = Entry(Cond(), "drop", text="drop", place=f"{place}, its policy")
        end = walk.chain(chain["name"], [policy] if chain.get("policy") == "drop" else end)
    return end


@dataclass(slots=True)
class _Walk:
    """Through one table, from its ends to its beginning: what comes behind a rule is known when it is read."""

    reader: Reader
    accepted: list[Entry]  # what comes behind an accept

    def chain(self, name: str, behind: list[Entry]) -> list[Entry]:
        found = behind
        mine = [r for r in self.reader.tables.rules[self.reader.table] if r.chain == name]
        for rule in reversed(mine):
            for way in reversed([*self.reader.read(rule)]):
                found = self._ahead(rule, way, found, behind)
                if len(found) > MOST:
                    raise TargetError(f"table {' '.join(self.reader.table)} is too tangled to be written as a list")
        return found

    def _ahead(self, rule: Rule, way: Any, found: list[Entry], behind: list[Entry]) -> list[Entry]:
        cond, verdict, data, text, log = way
        place = f"table {' '.join(self.reader.table)}, {rule.chain}"
        if verdict in ("jump", "goto"):
            inner = self.chain(data, found if verdict == "jump" else behind)
            inner = inner[: len(inner) - len(found)] if verdict == "jump" else inner
            return [*_within(inner, cond, text), *found]
        if verdict == "return":
            return behind if cond == Cond() else [*_within(behind, cond, text), *found]
        if verdict == "continue":
            return found
        own = rule.text if " vmap " not in rule.text else f"{text} {verdict}"
        entry = Entry(cond, verdict, data, own, place, rule.comment, log)
        if verdict == "accept" and not (len(self.accepted) == 1 and self.accepted[0].verdict == "accept"):
            return [*_within(self.accepted, cond, text), *found]
        return [entry, *found]


def _within(entries: Sequence[Entry], cond: Cond, text: str) -> list[Entry]:
    return [met for each in entries if (met := each.within(cond, text))]
