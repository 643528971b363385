"""What was made so far of other people's rules, and what everything that adds to it needs."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Any

from mspctl.drivers.nftables.grown.entries import Seen, merged, whole
from mspctl.drivers.nftables.grown.flat import flat
from mspctl.drivers.nftables.grown.listed import Tables, changes, elements
from mspctl.drivers.nftables.grown.spoken import spoken_value
from mspctl.kinds import addresses, firewall
from mspctl.kinds.firewall import ANY
from mspctl.kinds.grown import Native, Odd
from mspctl.resource import Id, Resource

_NFPROTO = {4: "meta nfproto ipv4", 6: "meta nfproto ipv6"}


@dataclass(slots=True)
class Draft:
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

    def both(self, hook: str, kind: str, *, only: bool = False, first: bool = True) -> list[Seen]:
        """
        One list for both families. Where nothing filters one of them, the rules of the other count for it as well.
        """
        there = {v: bool(self.tables.hooked(hook, kind, v)) for v in (4, 6)}
        lists = {v: flat(self.tables, hook, kind, v, first=first) for v in (4, 6)}
        if only and there[4] != there[6]:
            open_, other = (6, 4) if there[4] else (4, 6)
            self.notes.append(
                f"nothing filtered IPv{open_} in {hook}: all was let through, and now the rules for IPv{other} count"
            )
            return [Seen(entry) for entry in whole(lists[other])]
        return [*merged(whole(lists[4]), whole(lists[6]))]

    def named(self, interfaces: frozenset[str] | None) -> frozenset[str]:
        if interfaces is None:
            return frozenset({ANY})
        return frozenset(name for name, held in self.zones.items() if held <= interfaces)

    def free(self, name: str) -> str:
        name = name or "rule"
        found = next(n for k in range(1, 10_000) if (n := name if k == 1 else f"{name[:43]}-{k}") not in self.ids)
        self.ids.add(found)
        return found

    def native(self, chain: str, seen: Seen) -> Native:
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
            if not said.get("elem") or changes(said):
                return ""
            held = "{ " + ", ".join(map(_element, elements(said["elem"]))) + " }"
            text = re.sub(rf"@{re.escape(name)}(?![A-Za-z0-9_.-])", held.replace("\\", r"\\"), text)
        if seen.version and not re.search(r"\b(ip6?|icmp|icmpv6) (?!to\b)", text) and "nfproto" not in text:
            text = f"{_NFPROTO[seen.version]} {text}".strip()
        return "" if re.search(r"\bxt\b|#|\b(jump|goto)\b", text) or len(text) > 1000 else text

    def nets(self, zone: str) -> frozenset[str]:
        held = [each for name in self.zones[zone] for each in self.tables.local.get(name, ())]
        return addresses.joined(addresses.fold(str(ipaddress.ip_interface(each).network)) for each in held)


def slug(text: str, most: int = 48) -> str:
    """Words as an id."""
    found = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:most].strip("-")
    return found if found != firewall.MANAGEMENT else f"{found}-2"


def _element(said: Any) -> str:
    """Of a set or a map."""
    return " : ".join(map(spoken_value, elements(said))) if isinstance(said, list) else spoken_value(said)
