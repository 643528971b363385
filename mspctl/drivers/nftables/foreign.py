"""
Tables that are not ours, as nft lists them in JSON: what they do to packets that our table lets through. Pure.

An `accept` in another table lets nothing past ours: the kernel goes on with the next chain. A drop is final, wherever
it stands, and who translates addresses decides where a packet comes from and goes to. So those are told, and so are
rules that somebody put into our own table in front of ours. What cannot be judged from here (extensions of iptables,
queues, marks, limits, maps, bridges) is `unknown`; it is never taken for harmless.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from mspctl.drivers.nftables.live import Table
from mspctl.drivers.nftables.native import PREFIXES, comment_of
from mspctl.kinds import addresses, firewall, services
from mspctl.kinds.firewall import SELF
from mspctl.kinds.packets import Decision, Other, Packet

Json = dict[str, Any]

LAST = comment_of(firewall.DEFAULT)  # nothing is gone through behind it
MOST_DEEP = 16  # jumps, as in the kernel
MOST_TOLD = 3  # rules of one chain
MOST_SAID = 100  # characters of a rule
DSTNAT, SRCNAT = -100, 100  # priorities at which ours and most others translate where packets go and come from
_HOOKS = ("ingress", "prerouting", "input", "forward", "output", "postrouting")
_IGNORED = frozenset({"counter", "log", "comment", "mangle", "ct helper", "quota", "last", "set"})
_PLAIN = frozenset({"accept", "drop", "reject", "return", "jump", "goto"})
_MOVES = frozenset({"dnat", "redirect", "tproxy"})
_HARMS = frozenset({"drop", "reject", "unknown", "elsewhere"})
_PRIORITIES = {"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "security": 50, "srcnat": 100}


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain that packets are given to; its rules are in the table."""

    name: str
    hook: str
    priority: int
    policy: str


@dataclass(slots=True)
class Whole:
    """One table, as it is gone through."""

    family: str
    name: str
    chains: list[Chain] = field(default_factory=list)
    rules: dict[str, list[Sequence[Json]]] = field(default_factory=dict)  # by chain
    comments: dict[str, list[str]] = field(default_factory=dict)  # of the same
    sets: dict[str, list[Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, family: str, name: str, listed: Any) -> Whole:
        """Raises KeyError, TypeError or ValueError when that makes no sense."""
        found = cls(family, name)
        for item in listed["nftables"]:
            if "chain" in item:
                said = item["chain"]
                found.rules.setdefault(said["name"], [])
                if "hook" in said:
                    prio = said.get("prio", 0)
                    priority = _PRIORITIES[prio] if isinstance(prio, str) else int(prio)
                    found.chains.append(Chain(said["name"], said["hook"], priority, said.get("policy", "accept")))
            elif "rule" in item:
                rule = item["rule"]
                found.rules.setdefault(rule["chain"], []).append(rule["expr"])
                found.comments.setdefault(rule["chain"], []).append(rule.get("comment", ""))
            elif "set" in item:
                found.sets[item["set"]["name"]] = item["set"].get("elem", [])
        found.chains.sort(key=lambda c: (_HOOKS.index(c.hook) if c.hook in _HOOKS else -1, c.priority, c.name))
        return found

    @property
    def label(self) -> str:
        return f"table {self.family} {plain(self.name)}"

    def where(self, chain: Chain) -> str:
        return f"{self.label}, {plain(chain.name)} ({chain.hook}, priority {chain.priority})"


# -- what stands there --------------------------------------------------------------------------------------------


def told(table: Whole) -> Iterator[str]:
    """A line for each chain that could take away what ours lets through, or send it elsewhere."""
    for chain in table.chains:
        harms = [*_harms(table, chain.name, ())]
        lines = [f"{harm}: {rule}" for harm, rule in harms[:MOST_TOLD]]
        lines += [f"{len(harms) - MOST_TOLD} more"] if len(harms) > MOST_TOLD else []
        if chain.policy == "drop":
            lines.append("drops what its own rules do not let through")
        if lines:
            yield f"{table.where(chain)} {_WORDS[chain.hook in _HOOKS]}: {'; '.join(lines)}"


def put_in(ours: Table) -> Iterator[tuple[bool, str]]:
    """A line for each rule that somebody put into our table in front of ours, and whether it lets something in."""
    for each in ours.foreign:
        verbs = {_statement(statement)[0] for statement in each.rule.expr}
        if each.after != LAST and verbs - _IGNORED - {"match", "return"}:
            opens = not verbs & {"drop", "reject", "return"}
            what = "lets something through" if opens else "decides"
            text = f"a rule that somebody put into our chain {each.rule.chain} {what} in front of Git's"
            yield opens, f"{text}: {spoken(each.rule.expr)}"


_WORDS = {True: "is not managed, and what it drops or sends elsewhere is gone whatever Git says", False: "is unknown"}


def _harms(table: Whole, chain: str, within: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for expr in table.rules.get(chain, []):
        for statement in expr:
            verb, value = _statement(statement)
            if verb in ("jump", "goto") and (target := str(value.get("target", ""))) not in (*within, chain):
                yield from _harms(table, target, (*within, chain))
            elif verb in ("drop", "reject"):
                yield verb, spoken(expr)
            elif verb in _MOVES:
                yield "elsewhere", spoken(expr)
            elif verb == "match" or verb in _IGNORED | _PLAIN | {"masquerade", "snat", "limit"}:
                continue
            else:
                yield "unknown", spoken(expr)


def _statement(statement: Json) -> tuple[str, Any]:
    ((verb, value),) = statement.items()
    return verb, value if isinstance(value, dict) else {}


def spoken(expr: Sequence[Json]) -> str:
    """A rule in about the words of nft."""
    parts = []
    for statement in expr:
        ((verb, value),) = statement.items()
        if verb == "match":
            left = " ".join(str(v) for part in value["left"].values() for v in _words(part))
            parts.append(f"{left} {'' if value['op'] in ('==', 'in') else value['op'] + ' '}{_value(value['right'])}")
        elif verb in ("jump", "goto"):
            parts.append(f"{verb} {value['target']}")
        elif verb not in _IGNORED:
            parts.append(verb)
    return plain(" ".join(parts))


def plain(text: str) -> str:
    """What others wrote, for one line."""
    text = re.sub(r"[^ -~]", "?", text)
    return text if len(text) <= MOST_SAID else f"{text[: MOST_SAID - 1]}…"


def _words(part: Any) -> list[str]:
    if isinstance(part, dict) and "result" in part:  # fib
        return ["fib", *map(str, part.get("flags", ())), str(part["result"])]
    return [str(v) for v in part.values()] if isinstance(part, dict) else [str(part)]


def _value(right: Any) -> str:
    if isinstance(right, dict) and "set" in right:
        right = right["set"]
    if isinstance(right, list):
        return "{ " + ", ".join(map(_value, right[:4])) + (", …" if len(right) > 4 else "") + " }"
    if isinstance(right, dict) and "prefix" in right:
        return f"{right['prefix']['addr']}/{right['prefix']['len']}"
    if isinstance(right, dict) and "range" in right:
        return "-".join(map(str, right["range"]))
    return str(right)


# -- what becomes of a packet -------------------------------------------------------------------------------------


_NOWHERE = frozenset({""})  # the kernel's name for no interface


@dataclass(frozen=True, slots=True)
class Way:
    """A packet on its way: by which interfaces it may come and go (none: nobody knows), and as what it is sent on."""

    packet: Packet
    came: frozenset[str]
    goes: frozenset[str]
    decision: Decision
    hidden: bool = False  # whether it may come from another address by now

    def hooks(self) -> tuple[str, ...]:
        if self.packet.came == SELF:
            return ("output", "postrouting")
        if self.packet.goes == SELF and not self.decision.to:
            return ("prerouting", "input")
        return ("prerouting", "forward", "postrouting")

    def at(self, chain: Chain) -> Way:
        """As a chain sees it: where it goes and where it comes from are other addresses once that is translated."""
        packet, decision = self.packet, self.decision
        to, _, service = decision.to.partition(" ")
        leaves = "" if packet.goes == SELF and to else packet.goes  # where a forward's host is, nobody says
        goes = _NOWHERE if chain.hook in ("prerouting", "input") else self.goes if leaves else frozenset[str]()
        came = {"postrouting": frozenset[str](), "output": _NOWHERE}.get(chain.hook, self.came)
        if to and not (chain.hook == "prerouting" and chain.priority <= DSTNAT):
            packet = replace(packet, goes=leaves, destination=ipaddress.ip_address(to), service=service)
        forwarded = bool(to) or bool(decision.seen_as)
        hidden = chain.hook == "postrouting" and chain.priority >= SRCNAT and forwarded
        return Way(packet, came, goes, decision, hidden)


def judged(tables: Sequence[Whole], way: Way) -> Iterator[Other]:
    """What other tables do to a packet that ours lets through, in the order of its way."""
    hooks = way.hooks()
    found = [(c, t) for t in tables for c in t.chains if c.hook in hooks and _of_family(t, way.packet)]
    for chain, table in sorted(found, key=lambda each: (hooks.index(each[0].hook), each[0].priority)):
        walk = _Walk(table, way.at(chain))
        end = walk.go(chain.name, (), sure=True)
        if end is None and chain.policy == "drop":
            walk.say("drop", "its policy", sure=not walk.let)
            end = None if walk.let else "drop"
        for action, rule in walk.told:
            yield Other(table.where(chain), action, rule)
        if end in ("drop", "reject"):
            return
    for table in tables:
        if table.family in ("bridge", "netdev", "arp") and any([*told(table)]):
            yield Other(table.label, "unknown", "it sees packets before they have zones")


def decided_by_hand(ours: Whole, way: Way) -> Iterator[Other]:
    """Rules that somebody put into our table, as far as they come before the one of ours that decides."""
    chain = "input" if way.packet.goes == SELF and not way.decision.to else "forward"
    by = way.decision.by
    ends = {LAST, comment_of(by)} if by else {LAST}
    walk = _Walk(ours, way.at(Chain(chain, chain, 0, "")))
    for expr, comment in zip(ours.rules.get(chain, []), ours.comments.get(chain, []), strict=True):
        if comment in ends:
            return
        if not comment.startswith(_OURS):
            holds, verb, _ = walk.holds(expr)
            if holds is not False and verb in ("accept", "drop", "reject", "jump", "goto"):
                action = verb if holds and verb not in ("jump", "goto") else "unknown"
                yield Other(f"somebody's rule in our chain {chain}", action, spoken(expr))
                if holds:
                    return


_OURS = ("base:", *(f"{prefix}:" for prefix in PREFIXES.values()))


def _of_family(table: Whole, packet: Packet) -> bool:
    return table.family in ("inet", "ip" if packet.source.version == 4 else "ip6")


class _Walk:
    """Through the chains of one table."""

    def __init__(self, table: Whole, way: Way) -> None:
        self.table = table
        self.way = way
        self.let = False  # whether it may have been let through already
        self.told: list[tuple[str, str]] = []

    def say(self, verb: str, rule: str, *, sure: bool) -> None:
        action = "elsewhere" if verb in _MOVES else verb
        if action in _HARMS:
            self.told.append((action if sure else "unknown", rule))

    def go(self, chain: str, within: tuple[str, ...], *, sure: bool) -> str | None:
        """What it ends with for sure; None: its end may be reached. `sure`: it came here, whatever nobody knows."""
        if chain in within or len(within) > MOST_DEEP:
            self.say("unknown", f"jumps into {chain} again", sure=False)
            return None
        for expr in self.table.rules.get(chain, []):
            holds, verb, target = self.holds(expr)
            if holds is False or not verb:
                continue
            here = sure and holds is True and not self.let
            if verb in ("jump", "goto"):
                if end := self.go(target, (*within, chain), sure=here):
                    return end
            elif verb != "return":
                self.say(verb, spoken(expr), sure=here)
                if here:
                    return verb
                self.let |= verb == "accept"
            if verb in ("goto", "return"):
                if here:
                    return None
                sure = False
        return None

    def holds(self, expr: Sequence[Json]) -> tuple[bool | None, str, str]:
        """Whether it matches, its verdict, and where that goes."""
        holds: bool | None = True
        for statement in expr:
            verb, value = _statement(statement)
            if verb == "match":
                one = self._matches(value)
                if one is False:
                    return False, "", ""
                holds = holds if one else None
            elif verb == "limit":
                holds = None
            elif verb in _PLAIN | _MOVES:
                return holds, verb, str(value.get("target", ""))
            elif verb in ("masquerade", "snat"):
                return holds, "accept", ""  # of the source, behind all that decides
            elif verb not in _IGNORED:
                self.told.append(("unknown", spoken(expr)))
                return None, "accept", ""
        return holds, "", ""

    def _matches(self, match: Json) -> bool | None:
        ((kind, left),) = match["left"].items()
        found = self._fact(kind, left)
        if found is None or match["op"] not in ("==", "!=", "in"):
            return None
        if found is False:
            return False  # what is asked for is not in such a packet, whatever is said of it
        holds = found(self._values(match["right"])) if callable(found) else None
        return holds if holds is None or match["op"] != "!=" else not holds

    def _values(self, right: Any) -> list[Any]:
        if isinstance(right, str) and right.startswith("@"):
            return [e["elem"]["val"] if isinstance(e, dict) and "elem" in e else e for e in self._set(right[1:])]
        if isinstance(right, dict) and "set" in right:
            right = right["set"]
        values = right if isinstance(right, list) else [right]
        return [v["elem"]["val"] if isinstance(v, dict) and "elem" in v else v for v in values]

    def _set(self, name: str) -> list[Any]:
        return self.table.sets.get(name, [{"concat": []}])  # a map, or a set that nobody lists

    def _fact(self, kind: str, left: Any) -> Any:
        """A question to values; False: such a packet has none of that; None: nobody knows."""
        packet = self.way.packet
        protocol = packet.service.partition("/")[0]
        number = {"icmpv6": "ipv6-icmp"}.get(protocol, protocol)
        version = packet.source.version
        if kind == "meta":
            key = left["key"]
            if key in ("iifname", "iif"):
                return lambda values: _of_interfaces(self.way.came, values)
            if key in ("oifname", "oif"):
                return lambda values: _of_interfaces(self.way.goes, values)
            said = {"l4proto": number, "nfproto": f"ipv{version}", "protocol": "ip" if version == 4 else "ip6"}
            return (lambda values: _equal(said[key], values)) if key in said else None
        if kind == "ct":
            return (lambda values: _equal("new", values)) if left.get("key") == "state" else None
        if kind != "payload" or "protocol" not in left:
            return None
        return self._payload(left["protocol"], left["field"], protocol, number, version)

    def _payload(self, of: str, name: str, protocol: str, number: str, version: int) -> Any:
        packet = self.way.packet
        if of in ("ip", "ip6"):
            if of != ("ip" if version == 4 else "ip6"):
                return False
            if name == "saddr" and self.way.hidden:
                return None
            if name in ("saddr", "daddr"):
                address = packet.source if name == "saddr" else packet.destination
                return lambda values: _any(_holds(value, address) for value in values)
            return (lambda values: _equal(number, values)) if name in ("protocol", "nexthdr") else None
        if of != protocol and not (of == "th" and protocol in services.WITH_PORTS):
            return False
        if name == "dport" and (span := services.ports(packet.service)):
            return lambda values: _any(_in_range(value, span[1]) for value in values)
        kind = packet.service.partition("/")[2]
        return (lambda values: _equal(kind, values)) if name == "type" else None


def _any(found: Iterator[bool | None]) -> bool | None:
    answers = [*found]
    return True if True in answers else None if None in answers else False


def _equal(said: str, values: Sequence[Any]) -> bool | None:
    return _any(value == said if isinstance(value, str) and not value.startswith("0x") else None for value in values)


def _in_range(value: Any, port: int) -> bool | None:
    if isinstance(value, dict) and "range" in value:
        return int(value["range"][0]) <= port <= int(value["range"][1])
    return value == port if isinstance(value, int) else None


def _holds(value: Any, address: addresses.Address) -> bool | None:
    try:
        if isinstance(value, dict) and "range" in value:
            return addresses.holds(frozenset({addresses.fold("-".join(value["range"]))}), address)
        if isinstance(value, dict) and "prefix" in value:
            value = f"{value['prefix']['addr']}/{value['prefix']['len']}"
        return addresses.holds(frozenset({addresses.fold(value)}), address) if isinstance(value, str) else None
    except (KeyError, TypeError, ValueError):
        return None


def _of_interfaces(possible: frozenset[str], values: Sequence[Any]) -> bool | None:
    """Whether it is surely one of them; None when it may be."""
    if not possible or not all(isinstance(value, str) for value in values):
        return None
    inside = {any(fnmatchcase(name, value) for value in values) for name in possible}
    return None if len(inside) > 1 else inside.pop()
