"""What becomes of a packet at a customer's firewall, in words. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from mspctl.errors import InputError
from mspctl.kinds import packets, services, shown
from mspctl.kinds.addresses import Address
from mspctl.kinds.firewall import ANY, SELF
from mspctl.kinds.firewall.words import in_words
from mspctl.kinds.packets import Other, Packet
from mspctl.load import Estate
from mspctl.model.base import nearest
from mspctl.model.sections.firewall import FACET, Site
from mspctl.model.sections.firewall.names import Names, Unknown
from mspctl.resource import Resource

NOWHERE = "192.0.2.0"  # RFC 5737: an address of the device that no rule names


def device(estate: Estate, customer: str, site: str) -> Site:
    """Raises InputError."""
    sites: Mapping[str, Site] = estate.customers[customer].files.get(FACET, {})
    if site not in sites:
        raise InputError.at("", f"{customer} has no firewall {site}{nearest(site, sites)}")
    return sites[site]


def asked(site: Site, source: str, destination: str, service: str, at: datetime) -> Packet:
    """The packet that was asked about. Raises InputError."""
    names = Names(site.device)
    came, sender = _end(site, names, source)
    goes, receiver = _end(site, names, destination)
    try:
        found = names.services([service])
    except Unknown as error:
        raise InputError.at("", str(error)) from None
    fitting = sorted(s for s in found if s == ANY or _fits(s, sender))
    span = services.ports(fitting[0]) if len(fitting) == 1 else None
    if len(fitting) != 1 or fitting[0].endswith(ANY) or (span and span[1] != span[2]):
        raise InputError.at("", f"{service} is not one service (write tcp/443, udp/53, icmp/echo-request)")
    _not_outside(site, names, receiver, goes)
    if sender.version != receiver.version and goes != SELF:
        raise InputError.at("", f"{sender} and {receiver} are not of one family")
    return Packet(came, goes, sender, receiver, fitting[0], at)


def _not_outside(site: Site, names: Names, receiver: Address, goes: str) -> None:
    """A host's address outside is no address of the device: which zone the host is in, nobody else can say."""
    for one in site.device.static_nat if goes in (SELF, *(n.zone for n in site.device.static_nat)) else ():
        (outside,) = names.addresses([one.outside])
        if outside == str(receiver):
            (inside,) = names.addresses([one.inside])
            text = f"{receiver} is {one.id}'s address outside (write the zone of {inside}: lan:{receiver})"
            raise InputError.at("", text)


def _fits(service: str, sender: Address) -> bool:
    return not service.startswith("icmpv6/" if sender.version == 4 else "icmp/")


def _end(site: Site, names: Names, text: str) -> tuple[str, Address]:
    if not text.isprintable():
        raise InputError.at("", f"{shown(text)} is no packet's end (write zone:address)")
    zone, _, place = text.partition(":")
    known = {*site.device.zones, SELF}
    if zone not in known:
        raise InputError.at("", f"{text}: there is no zone {zone}{nearest(zone, known)} (write zone:address)")
    if zone == SELF and not place:
        return zone, ipaddress.ip_address(NOWHERE)
    if not place:
        raise InputError.at("", f"{zone}: which address in it? (write {zone}:10.20.1.60)")
    try:
        (one,) = names.addresses([place])
        return zone, ipaddress.ip_address(one)
    except ValueError:
        raise InputError.at("", f"{zone}: {place} is not one address (write {zone}:10.20.1.60)") from None


def lines(resources: Mapping[str, Sequence[Resource]], packet: Packet, others: Sequence[Other] = ()) -> Iterator[str]:
    """What each view of the device decides, whether they agree, and what `others` on the device make of it."""
    found = {who: packets.decide(held, packet) for who, held in resources.items()}
    for who, decision in found.items():
        rule = next((r for r in resources[who] if r.id == decision.by), None)
        said = f"{who}: {_VERBS[decision.action]} by {_named(rule, decision.because)}"
        said += f", sent to {decision.to}" if decision.to else ""
        yield f"{said}, seen there as {decision.seen_as}" if decision.seen_as else said
        if rule is not None and (words := in_words(rule)):
            yield f"  {words}{f'  {rule.source}' if rule.source else ''}"
        yield from (
            f"  perhaps before that by {_raw(r)}" for i in decision.perhaps for r in resources[who] if r.id == i
        )
    if len({(d.action, d.to, d.seen_as) for d in found.values()}) > 1:
        yield "They do not agree: somebody changed the device, or Git is ahead of it (mspctl drift, mspctl plan)."
    last = [*found.values()][-1]
    if last.perhaps and not others:
        yield "In the end nobody knows what becomes of it: raw rules have a say."
    yield from _in_the_end("unknown" if last.perhaps else last.action, others)


def in_the_end(action: str, others: Sequence[Other]) -> str:
    """What becomes of a packet of which our rules say `action`: accept, drop, reject, elsewhere, unknown."""
    known = True
    for each in others:
        if each.action == "unknown":
            known = False
        elif each.action == "accept":  # in our own table: the others still come
            action = each.action
        elif (each.action == "elsewhere" and action == "accept") or each.action in ("drop", "reject"):
            return each.action
    return action if known else "unknown"


def _in_the_end(action: str, others: Sequence[Other]) -> Iterator[str]:
    """What is not Git's counts on the device all the same."""
    for each in others:
        yield f"but {each.where} {_OTHERWISE[each.action]}: {each.rule}"
    if others:
        yield f"In the end {_ENDS[in_the_end(action, others)]}; not all of that is managed by Git."


_ENDS = {
    "accept": "it is let through",
    "drop": "it is dropped",
    "reject": "it is rejected",
    "elsewhere": "it goes elsewhere",
    "unknown": "nobody knows what becomes of it",
}
_OTHERWISE = {
    "accept": "lets it through",
    "drop": "drops it",
    "reject": "rejects it",
    "elsewhere": "sends it elsewhere",
    "unknown": "may drop it, or let it through",
}
_VERBS = {"accept": "let through", "drop": "dropped", "reject": "rejected"}


def _raw(rule: Resource) -> str:
    return f"raw {rule.id.name} {in_words(rule)}{f'  {rule.source}' if rule.source else ''}"


def _named(rule: Resource | None, because: str) -> str:
    if rule is None:
        return because or "nothing at all (no rule decides)"
    return f"{rule.id.kind.partition('.')[2]} {rule.id.name}"
