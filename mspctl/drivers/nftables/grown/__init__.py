"""
Rules that other people wrote on a device → resources, for an import. Pure.

Both families of addresses are flattened each by itself (`flat.py`), and what is the same in both is one rule. What our
language has no words for is `odd`: it keeps its text, if that can be one rule of our own table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mspctl.drivers.nftables.grown.beside import elsewhere, states
from mspctl.drivers.nftables.grown.deciding import decides, default
from mspctl.drivers.nftables.grown.draft import Draft, slug
from mspctl.drivers.nftables.grown.listed import Tables, changes
from mspctl.drivers.nftables.grown.one_rule import Reader
from mspctl.drivers.nftables.grown.translating import postrouting, prerouting, static_nat
from mspctl.drivers.nftables.grown.zones import zones
from mspctl.kinds import firewall
from mspctl.kinds.firewall import ANY
from mspctl.kinds.grown import Grown

_HOLDS = {"ipv4_addr": "address", "ipv6_addr": "address", "inet_service": "port", "ifname": "interface"}


def grown(tables: Tables, outside: Iterable[str], port: int) -> Grown:
    """Raises TargetError when the rules are too tangled."""
    made = Draft(tables, frozenset(outside))
    _make(made)
    named = [f"{family} {name}" for family, name in sorted(tables.rules)]
    taken = sum(map(len, tables.rules.values()))
    made.notes += copied(tables)
    names = called(tables) | {nets: f"{zone}-net" for zone in made.zones if (nets := made.nets(zone))}
    return Grown(made.resources, made.natives, made.odd, made.notes, names, port=port, tables=named, taken=taken)


def _make(draft: Draft) -> None:
    for hook in ("input", "forward"):
        draft.lists[hook] = draft.both(hook, "filter", only=True)
    for hook in ("prerouting", "postrouting"):
        draft.lists[hook] = draft.both(hook, "nat")
    draft.outer |= {i for s in draft.lists["postrouting"] if s.entry.verdict != "accept" for i in s.cond.goes or ()}
    zones(draft)
    states(draft)
    static_nat(draft)
    prerouting(draft)
    ends = {hook: decides(draft, hook) for hook in ("input", "forward")}
    default(draft, ends)
    postrouting(draft)
    elsewhere(draft)
    draft.resources.append(firewall.order(draft.order))


def called(tables: Tables) -> dict[frozenset[str], str]:
    """What people called sets of addresses and ports."""
    found: dict[frozenset[str], str] = {}
    for table, sets in tables.sets.items():
        for name, said in sets.items():
            for version, kind in ((4, "ipv4_addr"), (6, "ipv6_addr"), (4, "inet_service")):
                if said.get("type") != kind or "map" in said:
                    continue
                reader = Reader(tables, table, "input", version)
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
            if name in used and said.get("elem") and not changes(said):
                number, what = len(said["elem"]), "map" if "map" in said else "set"
                words = _HOLDS.get(str(said.get("type")), "element") if what == "set" else "element"
                held = f"{number} {words}{('es' if words.endswith('s') else 's') if number != 1 else ''}"
                yield f"table {' '.join(table)}: {what} {name} was copied as it was: {held}"
