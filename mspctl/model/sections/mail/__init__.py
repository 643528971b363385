"""`mail.yaml`: a customer's mail domains, the server they live on, and what their zones say of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, model_validator

from mspctl.fields import (
    Hosts,
    Model,
    Name,
    Names,
    Percent,
    Seconds,
    SectionModel,
    SpfTerms,
    ZoneName,
    one_or_many,
)
from mspctl.kinds import dns, mail
from mspctl.kinds import filter as filters
from mspctl.model.base import dotted, nearest
from mspctl.model.sections.mail import checking, publish, senders
from mspctl.model.sections.mail.checking import domains_of as domains_of
from mspctl.model.sections.mail.people import Leaver, Limits, Local, Mailbox, Proving, Recipients
from mspctl.model.sections.mail.senders import Allowed, Blocked
from mspctl.resource import Scope, Value
from mspctl.strict_yaml import Mark, Problems, find

if TYPE_CHECKING:
    from mspctl.model.customer import Customer
    from mspctl.model.inventory import Inventory

Outputs = Mapping[Scope, Mapping[str, Value]]
Part = Literal["mx", "spf", "dkim", "dmarc", "autoconfig"]


class Publish(Model):
    """What follows from the mail domain in its zone."""

    spf: SpfTerms = ()  # who else sends for this domain
    others: Literal["softfail", "fail"] = "softfail"  # what SPF says of every other sender
    dmarc: Literal["none", "quarantine", "reject"] = "none"
    selector: Name = "mail"  # of the DKIM key
    old_selectors: Annotated[Names, BeforeValidator(one_or_many)] = ()  # of keys that signed before, and still count
    leave_out: Annotated[tuple[Part, ...], BeforeValidator(one_or_many)] = ()  # written by hand, or not wanted

    @property
    def selectors(self) -> tuple[str, ...]:
        """Of all keys that there shall be; the first one signs."""
        return () if "dkim" in self.leave_out else tuple(dict.fromkeys((self.selector, *self.old_selectors)))

    @model_validator(mode="after")
    def _another(self) -> Publish:
        if self.selector in self.old_selectors:
            raise ValueError(f"{self.selector} is the selector, and cannot be an old one too")
        return self


AliasDomains = Annotated[tuple[ZoneName, ...], BeforeValidator(one_or_many)]


class Domain(Model):
    target: Name
    publish: Publish | None = None
    mailboxes: dict[Local, Mailbox] = {}
    groups: dict[Local, Recipients] = {}
    leavers: dict[Local, Leaver] = {}
    catch_all: Recipients = ()  # who gets what is written to no other address
    alias_domains: AliasDomains = ()  # their addresses are those of this domain
    limits: Limits | None = None
    proof: Proving | None = None
    allow: tuple[Allowed, ...] = ()  # whose mail is not taken for spam
    block: tuple[Blocked, ...] = ()  # whose mail is refused

    @property
    def holds(self) -> bool:
        """Whether something of it lives where mailboxes are, besides what its zone says."""
        limits = self.limits and (self.limits.mailboxes or self.limits.quota)
        return bool(self.mailboxes or self.groups or self.leavers or self.catch_all or self.alias_domains or limits)


class Checks(Model):
    """`mail` in `inventory/checks.yaml`."""

    full: Percent = 90  # of its quota: a mailbox that holds more is told
    queued: Seconds = 3600  # mail that waits for longer is told
    block_lists: Hosts = ()  # zones that are asked about the addresses of publish.sends_from


class Section(SectionModel):
    domains: dict[ZoneName, Domain] = {}
    keep_for: Seconds = 90 * 86400  # a mailbox without a line is kept for, and a leaver's without keep_until


def check(customers: Sequence[Customer], inventory: Inventory, problems: Problems) -> None:
    """A mail domain belongs to one customer, lives on a mail server, and is published in a zone of that customer."""
    seen: dict[str, tuple[str, Mark]] = {}
    for customer in customers:
        for domain, key, mark in domains_of(customer):
            owner, first = seen.setdefault(domain, (customer.name, mark))
            if owner != customer.name:
                text = f"is declared in {first.file}:{first.line} too (a mail domain belongs to one customer)"
                problems.add(mark, f"domains.{key}", text, at_value=False)
            elif first is not mark:
                text = f"is the same domain as on line {first.line}"
                problems.add(mark, f"domains.{key}", text, at_value=False)
            _check_domain(customer, domain, key, inventory, problems)
        checking.check(customer, problems)
    checking.check_alias_domains(customers, seen, problems)


def _check_domain(customer: Customer, domain: str, key: str, inventory: Inventory, problems: Problems) -> None:
    section, data = customer.sections["mail"], customer.data["mail"]
    assert isinstance(section, Section), "load puts each section's own model here"
    own, path = section.domains[domain], f"domains.{key}"
    if not inventory.whole:
        return
    target = inventory.targets.get(own.target)
    if target is None:
        text = f"target {own.target} is not in inventory/targets.yaml{nearest(own.target, inventory.targets)}"
        problems.add(find(data, ("domains", key, "target")), f"{path}.target", text)
    elif own.holds and mail.FACET not in target.facets:
        text = f"target {own.target} has no facet {mail.FACET}{nearest(own.target, inventory.with_facet(mail.FACET))}"
        problems.add(find(data, ("domains", key, "target")), f"{path}.target", text)
    elif own.proof and target.mail is None:
        text = f"target {own.target} does not say how mail is handed in and read (inventory/targets.yaml: mail)"
        problems.add(find(data, ("domains", key, "proof")), f"{path}.proof", text, at_value=False)
    elif own.publish and target.publish is None:
        text = f"target {own.target} does not say what is published (inventory/targets.yaml: publish)"
        problems.add(find(data, ("domains", key, "publish")), f"{path}.publish", text, at_value=False)
    for part in senders.needs(own) if target and filters.FACET not in target.facets else ():
        hint = nearest(own.target, inventory.with_facet(filters.FACET))
        text = f"needs a mail filter, and target {own.target} has no facet {filters.FACET}{hint}"
        where = ("domains", key, *part)
        problems.add(find(data, where), dotted(where), text, at_value=False)
    if own.publish and not publish.zone_of(customer, domain):
        text = f"{domain} is in no zone of dns.yaml (declare the zone, or leave publish out)"
        problems.add(find(data, ("domains", key, "publish")), f"{path}.publish", text, at_value=False)


def follows(customer: Customer, inventory: Inventory, outputs: Outputs) -> Iterator[dns.Derived]:
    """What the zones of a customer say because of the mail domains, and of keys that a mail filter handed out."""
    section = customer.sections["mail"]
    assert isinstance(section, Section), "load puts each section's own model here"
    for domain, key, mark in domains_of(customer):
        own = section.domains[domain]
        target = inventory.targets.get(own.target)
        if own.publish and target and target.publish:
            place = find(customer.data["mail"], ("domains", key, "publish")) or mark
            keys = None
            if filters.FACET in target.facets:
                keys = Scope(own.target, filters.FACET, domain), outputs
            yield from publish.derived(domain, own.publish, target.publish, keys, place)
