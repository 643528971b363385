"""
What a mail filter is told of one domain: whom it allows and blocks, how much it takes, and with which keys it signs.

It is declared for each domain whose target has a filter, with nothing in it too: so the last line that is taken out
goes like any other. An entry whose day is over is not declared any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from mspctl.desired import Declaration
from mspctl.kinds import filter as filters
from mspctl.model.customer import Customer
from mspctl.model.sections.mail import Domain, Section
from mspctl.model.sections.mail.senders import Allowed, Blocked
from mspctl.moments import Ending, Moment
from mspctl.resource import Id, Resource, Scope
from mspctl.strict_yaml import find


def declared(customer: Customer, section: Section, domain: str, key: str, now: datetime) -> Declaration:
    """All of one domain, at a moment."""
    own, zone = section.domains[domain], customer.info.timezone
    scope = Scope(own.target, filters.FACET, domain, customer.name, customer.info.engine)
    resources = [*_settings(customer, section, domain, key)]
    timed: dict[Id, str] = {}
    ends: dict[Id, Ending] = {}
    for kind, name, number, entry in _entries(own):
        resource = _entry(kind, entry, zone, _source(customer, key, name, number))
        if entry.until and now >= entry.until.ends(zone):
            timed[resource.id] = f"expired {entry.until}"
            continue
        resources.append(resource)
        if entry.until:
            ends[resource.id] = Ending(entry.until.ends(zone), f"until {entry.until}")
    return Declaration(scope, resources, f"customers/{customer.name}/mail.yaml", timed=timed, ends=ends)


def _entries(own: Domain) -> Iterator[tuple[str, str, int, Blocked]]:
    for kind, name, entries in ((filters.ALLOW, "allow", own.allow), (filters.BLOCK, "block", own.block)):
        yield from ((kind, name, number, entry) for number, entry in enumerate(entries))


def _entry(kind: str, entry: Blocked, zone: str, source: str) -> Resource:
    must_pass = entry.must_pass or "" if isinstance(entry, Allowed) else ""
    until = spoken(entry.until, zone) if entry.until else ""
    asked_by, ticket = entry.asked_by or "", entry.ticket or ""
    return filters.entry(kind, entry.sender, entry.why, must_pass, until, asked_by, ticket, source)


def spoken(until: Moment, zone: str) -> str:
    """When something ends, as the filter compares it with its clock."""
    return f"{until.ends(zone).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _settings(customer: Customer, section: Section, domain: str, key: str) -> Iterator[Resource]:
    own = section.domains[domain]
    limits = own.limits if own.limits and (own.limits.message_size or own.limits.sending_rate) else None
    if limits:
        source = _source(customer, key, "limits")
        yield filters.limits(limits.message_size or 0, limits.sending_rate or "", source)
    if own.alias_domains and (limits or own.allow or own.block):
        yield filters.alias_domains(own.alias_domains, _source(customer, key, "alias_domains"))
    if own.publish and own.publish.selectors:
        source = _source(customer, key, "publish")
        # Who logs in with another domain of the customer's may write in this one's name.
        others = [name for name, each in section.domains.items() if each.target == own.target and name != domain]
        yield from (filters.key(selector, source) for selector in own.publish.selectors)
        yield filters.signing(own.publish.selector, others, source)


def _source(customer: Customer, key: str, *path: str | int) -> str:
    mark = find(customer.data["mail"], ("domains", key, *path))
    return f"{mark.file}:{mark.line}" if mark else f"customers/{customer.name}/mail.yaml"
