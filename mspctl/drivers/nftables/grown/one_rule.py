"""
One rule of other people's: each way in which it counts, and what then becomes of a packet. What a condition says that
our language has no words for is `odd`, and the rule's own text comes along. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mspctl.drivers.nftables.grown.condition import Cond
from mspctl.drivers.nftables.grown.listed import Json, Rule, Tables, changes, elements, flattened
from mspctl.drivers.nftables.grown.spoken import matches_of, spoken_match
from mspctl.drivers.nftables.live import address_of
from mspctl.kinds import addresses, services

ENDS = frozenset({"accept", "drop", "reject"})
NAT = frozenset({"dnat", "snat", "masquerade", "redirect"})
_LAST = ENDS | NAT | {"vmap", "return", "continue", "jump", "goto"}
_NOTHING = frozenset({"counter", "comment", "last"})
_PROTOCOLS = {"icmp": "icmp/any", "ipv6-icmp": "icmpv6/any", "icmpv6": "icmpv6/any"}
_PROTOCOLS |= {name: f"{name}/1-65535" for name in services.WITH_PORTS} | {name: name for name in services.ALONE}


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
        ways: list[tuple[Cond, str]] = [(Cond(), matches_of(rule.text))]
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
        elif verb in NAT:
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
                text = spoken_match(value["key"], key)
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
            said = spoken_match(left, right, "" if op in ("==", "in") else op)
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
            syn = values == ["syn"] and {*flattened(said[1])} == {"fin", "syn", "rst", "ack"}
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
        flat = [*flattened(values)]
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
