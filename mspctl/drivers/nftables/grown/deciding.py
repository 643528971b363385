"""Rules that let through or shut out, in their order, and what decides where none of them does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mspctl.drivers.nftables.grown.condition import Cond
from mspctl.drivers.nftables.grown.draft import Draft, slug
from mspctl.drivers.nftables.grown.entries import EVERY_PACKET, WHOLE, Seen, goes_on, of_family, why_not, with_logs
from mspctl.drivers.nftables.grown.flat import Entry
from mspctl.drivers.nftables.grown.one_rule import ENDS
from mspctl.kinds import addresses, firewall, services
from mspctl.kinds.firewall import ANY, SELF
from mspctl.kinds.grown import Native, Odd
from mspctl.resource import Id, Resource


def decides(draft: Draft, hook: str) -> Seen:
    """Rules of one chain in their order; the last entry is given back."""
    *seen, last = with_logs(draft.lists[hook])
    behind: list[Odd] = []
    said = not any(odd.native.chain == "prerouting" for odd in draft.odd)  # all of it by forwards
    said = said and not any(r.id.kind == firewall.NAT for r in draft.resources)
    for each in seen:
        entry = each.entry
        if entry.verdict == "log":
            draft.odd.append(Odd(Native(hook, "", entry.place, entry.comment), f"logs only: {entry.text}"))
        elif entry.cond.dnat and entry.verdict == "accept" and said and not entry.cond.odd:
            behind.append(replace(_kept(draft, hook, each), spare=True))
        elif entry.cond.odd or entry.verdict not in ENDS or entry.cond.dnat:
            behind.append(_kept(draft, hook, each))
        else:
            id_ = _rule(draft, hook, each)
            draft.odd += [replace(odd, before=id_.name) for odd in behind]
            behind = []
    draft.odd += behind
    return last


def _kept(draft: Draft, hook: str, seen: Seen) -> Odd:
    native = draft.native(hook, seen)
    if goes_on(seen.entry):
        return Odd(replace(native, text=""), f"{EVERY_PACKET} ({seen.entry.text})")
    return Odd(native, why_not(seen.entry))


def _rule(draft: Draft, hook: str, seen: Seen) -> Id:
    cond, entry = seen.cond, seen.entry
    to = frozenset({SELF}) if hook == "input" else draft.named(cond.goes)
    id_ = Id(firewall.RULE, _id(draft, entry, cond, draft.named(cond.came), to))
    source = cond.source
    if seen.version and source == cond.destination == addresses.ANY and not of_family(cond.services):
        source = WHOLE[seen.version]
    fields = firewall.fields(
        from_=draft.named(cond.came),
        to=to,
        source=source,
        destination=cond.destination,
        services=cond.services,
        action=entry.verdict,
        log=entry.log,
        until="",
        hours=frozenset(),
    )
    draft.resources.append(Resource(id_, fields))
    draft.natives[id_] = [draft.native(hook, seen)]
    draft.order.append(id_.name)
    return id_


def _id(draft: Draft, entry: Entry, cond: Cond, came: frozenset[str], goes: frozenset[str]) -> str:
    verb = {"accept": "allow", "reject": "reject"}.get(entry.verdict, "deny")
    what = services.spoken(cond.services) if cond.services != services.ANY else "all"
    what = what if len(what) < 20 else "some"
    ends = [*sorted(came)[:2], "to", *sorted(goes)[:2]]
    composed = slug("-".join([verb, what.replace("/", "-"), *ends]).replace(f"-{ANY}-to-{ANY}", ""))
    return draft.free(slug(entry.comment) if 2 < len(slug(entry.comment)) <= 40 else composed)


def default(draft: Draft, ends: Mapping[str, Seen]) -> None:
    """What the last entries say of all the rest: a policy, and where they let through, pairs of zones."""
    shuts = {hook: seen.entry.verdict for hook, seen in ends.items()}
    logs = all(seen.entry.log for seen in ends.values())
    action = "reject" if {*shuts.values()} == {"reject"} else "drop"
    for hook, verdict in shuts.items():
        if verdict == "reject" and action == "drop":
            _rule(draft, hook, ends[hook])
        elif verdict == "accept":
            _lets_all(draft, hook)
    draft.resources.append(Resource(firewall.DEFAULT, firewall.fields(action=action, log=logs)))


def _lets_all(draft: Draft, hook: str) -> None:
    inner = [name for name, held in draft.zones.items() if not held & draft.outer]
    to = [SELF] if hook == "input" else [*draft.zones]
    for came in inner:
        for goes in to:
            id_ = Id(firewall.POLICY, firewall.pair(came, goes))
            draft.resources.append(Resource(id_, firewall.fields(action="accept", log=False)))
    outer = [f"iifname @zone_{name} accept" for name, held in draft.zones.items() if held & draft.outer]
    for text in outer if draft.zones else ["accept"]:
        why = "it lets through whatever no rule decides, from everybody outside"
        draft.odd.append(Odd(Native(hook, text, f"the policy of {hook}"), why))
