"""
What raw rules come to: nft on the device says it, of a table that nobody's packets go through.

The table is made in a network namespace of its own, which is gone when the program ends. What is loaded afterwards is
the one rule that stood in it, in the JSON that nft made of it, never the text: so whatever a text says, it cannot come
to a second rule, another table, or a command. Needs `unshare` on the device (util-linux).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from mspctl.drivers.nftables import native
from mspctl.drivers.nftables.live import Table, by_hand
from mspctl.drivers.nftables.native import FAMILY, Rule
from mspctl.errors import TargetError
from mspctl.kinds import firewall
from mspctl.kinds.firewall import text
from mspctl.resource import Id, Resource
from mspctl.transports.machine import Session


def spelled(
    session: Session, table: str, resources: Sequence[Resource], wanted: Sequence[Resource]
) -> Mapping[Id, Rule]:
    """The rule that each of `wanted` comes to, beside the zones of `resources`. Raises TargetError."""
    if not wanted:
        return {}
    found, wrong = _asked(session, table, resources, wanted)
    for resource in wanted:
        if resource.id not in found:
            why = wrong.get(resource.id.name, "it comes to no rule, or to more than one")
            raise TargetError(f"{session.name}: the device does not take raw {resource.id.name}: {why}")
    return found


def looked_at(session: Session, name: str, table: Table) -> list[Resource]:
    """The resources of a table; a raw rule that is not what its text comes to was changed by hand."""
    wanted = [r for r in table.resources if r.id.kind == firewall.RAW and text(r, "text") != firewall.BY_HAND]
    if not wanted:
        return table.resources
    found, _ = _asked(session, name, table.resources, wanted)
    keys = {id_: rule.key for id_, rule in found.items()}
    same = {r.id for r in wanted if [rule.key for rule in table.groups[r.id]] == [keys.get(r.id)]}
    return [by_hand(r) if r in wanted and r.id not in same else r for r in table.resources]


def _asked(
    session: Session, table: str, resources: Sequence[Resource], wanted: Sequence[Resource]
) -> tuple[dict[Id, Rule], dict[str, str]]:
    """Rules by id, and what nft complains about, by name."""
    place = {"family": FAMILY, "name": table}
    base = json.dumps({"nftables": [{"add": {"table": place}}, *native.frame(table, [*resources, *wanted])]})
    lines = [f"{r.id.name} {text(r, 'chain')} {text(r, 'text')}" for r in wanted]
    given = "".join(f"{line}\n" for line in (base, *lines))
    ran = session.run(["unshare", "-n", "sh", "-c", _ASK, "sh", FAMILY, table], given.encode())
    if ran.code:
        raise TargetError(f"{session.name}: raw rules cannot be looked at there: {ran.complaint}")
    wrong = dict(line.partition(" ")[::2] for line in ran.err.decode(errors="replace").splitlines())
    return _read(ran.out, wanted), wrong


def _read(out: bytes, wanted: Sequence[Resource]) -> dict[Id, Rule]:
    try:
        listed = [item["rule"] for item in json.loads(out)["nftables"] if "rule" in item]
        rules = [Rule(each["chain"], each.get("comment", ""), each["expr"]) for each in listed]
    except (ValueError, KeyError, TypeError):
        raise TargetError("nft did not answer in JSON") from None
    meant = {native.comment_of(r.id): r for r in wanted}
    found: dict[Id, Rule] = {}
    for comment, resource in meant.items():
        mine = [rule for rule in rules if rule.comment == comment]
        if len(mine) == 1 and mine[0].chain == text(resource, "chain"):
            found[resource.id] = mine[0]
    return found if len(rules) == len(found) else {}


# $1, $2: family and name of the table. Input: sets and chains as JSON in one line, then a line for each rule: its name,
# its chain, its text. Each that nft does not take is named with the reason on standard error.
_ASK = """
IFS= read -r base
printf '%s' "$base" | TZ=UTC nft -j -f - || exit
while read -r name chain text; do
  why=$(printf 'add rule %s %s %s %s comment "raw:%s"\\n' "$1" "$2" "$chain" "$text" "$name" | TZ=UTC nft -f - 2>&1) ||
    printf '%s %s\\n' "$name" "$(printf '%s' "$why" | head -n 1 | sed 's/^[^ ]* //')" >&2
done
TZ=UTC nft -j list table "$1" "$2"
"""
