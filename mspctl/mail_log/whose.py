"""Which mail is a customer's, as Git says it: its mail domains and alias domains, and those of all the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mspctl.errors import InputError
from mspctl.kinds.mail_log import FACET, Whose, domain_of
from mspctl.load import Estate
from mspctl.model.customer import Customer
from mspctl.model.sections.mail import Domain, Section


def of(estate: Estate, name: str) -> Whose:
    """Raises InputError for a customer without mail domains."""
    own = _domains(estate.everyone[name])
    if not own:
        raise InputError.at(f"customers/{name}/mail.yaml", "declares no mail domains, so there is no mail to look for")
    others = {domain for other in estate.everyone.values() if other.name != name for domain in _domains(other)}
    crosses = any(domain_of(to) in others for domain in _mail(estate.everyone[name]) for to in _recipients(domain))
    return Whose(frozenset(own), frozenset(others - own), crosses)


def servers(estate: Estate, name: str) -> list[str]:
    """The targets whose logs tell of a customer's mail. Raises InputError where one has none that can be read."""
    found = sorted({domain.target for domain in _mail(estate.everyone[name])})
    for target in found:
        if FACET not in estate.inventory.targets[target].facets:
            text = f"target {target} has no facet {FACET} (add it: facets: {{{FACET}: {{driver: maillog, …}}}})"
            raise InputError.at("inventory/targets.yaml", text)
    return found


def _mail(customer: Customer) -> Iterable[Domain]:
    section = customer.sections.get("mail")
    return section.domains.values() if isinstance(section, Section) else ()


def _domains(customer: Customer) -> set[str]:
    section = customer.sections.get("mail")
    domains = section.domains if isinstance(section, Section) else {}
    return {*domains, *(alias for domain in domains.values() for alias in domain.alias_domains)}


def _recipients(domain: Domain) -> Iterator[str]:
    """Whole addresses that mail of a domain is declared to go on to."""
    for mailbox in domain.mailboxes.values():
        yield from mailbox.forwards
    for leaver in domain.leavers.values():
        yield from leaver.copy_to
    for members in domain.groups.values():
        yield from members
    yield from domain.catch_all
