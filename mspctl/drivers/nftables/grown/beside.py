"""What our table does otherwise than theirs did, and chains that it has none for."""

from __future__ import annotations

from dataclasses import replace

from mspctl.drivers.nftables.grown.draft import Draft
from mspctl.drivers.nftables.grown.entries import EVERY_PACKET
from mspctl.kinds.grown import Native, Odd


def states(draft: Draft) -> None:
    """What our table does before everything else, and theirs may not."""
    for hook in ("input", "forward"):
        for version in (4, 6):
            for table, chain in draft.tables.hooked(hook, "filter", version):
                said = str([r.expr for r in draft.tables.rules[table]])
                where = f"table {' '.join(table)}, {chain['name']}"
                if "established" not in said and chain.get("policy") == "drop":
                    text = "answers were let through by rules of their own, and now always are"
                    draft.notes.append(f"{where}: {text}")
                if "invalid" not in said:
                    draft.notes.append(f"{where}: what belongs to no connection (ct state invalid) is dropped now")
    draft.notes = [*dict.fromkeys(draft.notes)]


def elsewhere(draft: Draft) -> None:
    """Chains that our table has none for."""
    seen = draft.both("output", "filter", first=False)
    if any(s.entry.verdict != "accept" for s in seen):
        last = seen[-1].entry.verdict == "accept"
        for each in seen[:-1] if last else seen:
            draft.odd.append(Odd(draft.native("output", each), "what the device itself sends is let through"))
    for hook, kind in (("prerouting", "filter"), ("postrouting", "filter"), ("output", "route"), ("output", "nat")):
        for each in draft.both(hook, kind, first=False):
            if each.entry.verdict in ("drop", "reject") and hook == "prerouting" and not each.cond.odd:
                draft.odd.append(Odd(draft.native("prerouting", each), "it decides before addresses are translated"))
            elif each.entry.verdict != "accept":
                native = replace(draft.native("prerouting", each), text="")
                draft.odd.append(Odd(native, EVERY_PACKET if kind != "nat" else "our table has no such chain"))
    for table, rules in draft.tables.rules.items():
        for rule in rules if table[0] not in ("inet", "ip", "ip6") else ():
            native = Native("prerouting", "", f"table {' '.join(table)}, {rule.chain}", rule.comment)
            draft.odd.append(Odd(native, "it sees packets before they have zones"))
