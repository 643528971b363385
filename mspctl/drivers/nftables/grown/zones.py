"""Interfaces that rules treat alike are a zone, and get a name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mspctl.drivers.nftables.grown.draft import Draft, slug
from mspctl.kinds import firewall
from mspctl.kinds.firewall import ANY, SELF
from mspctl.resource import Id, Resource

_GENERIC = re.compile(r"(eth|en[opsx]?|ens|lan|wlan|vmbr|br|bond|veth|if)[\dpsfnx]*")


def zones(draft: Draft) -> None:
    said = {each for seen in draft.lists.values() for s in seen for each in (s.cond.came, s.cond.goes) if each}
    together: dict[tuple[bool, ...], list[str]] = {}
    sets = sorted(said, key=sorted)
    for name in draft.tables.interfaces():
        together.setdefault((name in draft.outer, *(name in each for each in sets)), []).append(name)
    groups = [
        part
        for group in together.values()
        for part in ([group] if frozenset(group) in said else [[name] for name in group])
    ]
    inner = [group for group in groups if not draft.outer & {*group}]
    for group in sorted(groups):
        name = _zone_name(draft, group, alone=len(inner) == 1)
        draft.zones[name] = frozenset(group)
        fields = firewall.fields(interfaces=frozenset(group), outside=bool(draft.outer & {*group}))
        draft.resources.append(Resource(Id(firewall.ZONE, name), fields))


def _zone_name(draft: Draft, group: Sequence[str], *, alone: bool) -> str:
    generic = all(_GENERIC.fullmatch(name) for name in group)
    words = [slug(group[0], 15), slug(group[0].rstrip("0123456789"), 15)]
    words = ["wan", *words] if draft.outer & {*group} and generic else words[::-1]
    words = ["lan", *words] if alone and generic and not draft.outer & {*group} else words
    words = words[1:] if generic and words[0] not in ("wan", "lan") else words
    free = (word for word in (*words, *(f"zone{n}" for n in range(100))) if word and word not in draft.zones)
    return next(word for word in free if word not in (ANY, SELF))
