"""
That a mail domain works: a message comes in and can be read, one that is sent out is signed and believed, an address
that is not there is refused, and nobody relays.

It is done as strangers and mail programs do it, with a test mailbox that `proof` in mail.yaml names. Whether a server
relays is asked up to the recipient; a message for somebody else is never handed in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mspctl.kinds import filter as filters
from mspctl.kinds import mail
from mspctl.model.customer import Customer
from mspctl.model.inventory import Inventory, MailAccess
from mspctl.model.sections.mail import Section, domains_of
from mspctl.proof import Trial
from mspctl.proofs import Making
from mspctl.resource import Scope
from mspctl.strict_yaml import find
from mspctl.targets import Targets


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one domain's proof needs."""

    address: str  # of the test mailbox
    secret: str  # the name of its password
    within: int  # seconds
    access: MailAccess
    signs: bool  # whether what it sends is signed
    takes_all: bool  # whether somebody gets what is written to no address


def trials(customer: Customer, inventory: Inventory) -> Iterator[Trial]:
    section = customer.sections["mail"]
    assert isinstance(section, Section), "load puts each section's own model here"
    for domain, key, mark in domains_of(customer):
        own = section.domains[domain]
        target = inventory.targets.get(own.target)
        if own.proof is None or target is None or target.mail is None:
            continue
        mailbox = own.mailboxes[own.proof.mailbox]
        assert mailbox.password, "load refuses a test mailbox without"
        signs = filters.FACET in target.facets and own.publish is not None and bool(own.publish.selectors)
        wanted = Wanted(
            f"{own.proof.mailbox}@{domain}",
            mailbox.password.secret or "",
            own.proof.within,
            target.mail,
            signs,
            bool(own.catch_all),
        )
        place = find(customer.data["mail"], ("domains", key, "proof")) or mark
        scope = Scope(own.target, mail.FACET, domain, customer.name, customer.info.engine)
        yield Trial(scope, "mail", own.proof.every, f"{place.file}:{place.line}", what=wanted)


def make(trial: Trial, targets: Targets, making: Making) -> None:
    from mspctl.proofs.mail.run import Run  # loads what talks, which a drift run does not need

    Run(trial, targets, making).make()
