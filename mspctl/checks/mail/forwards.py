"""
Mail that goes to somebody outside, and neither Git nor the ledger knows of it: the first thing that whoever took over
an account sets up, and it stays when the password is changed.
"""

from __future__ import annotations

from collections.abc import Iterator

from mspctl.checks.dns.zone import listed
from mspctl.checks.mail.domain import Domain
from mspctl.diff import Difference
from mspctl.finding import Finding, Severity
from mspctl.kinds import mail
from mspctl.resource import Resource

FIELDS = {mail.MAILBOX: ("forwards", "receives"), mail.ALIAS: ("to", "enabled")}  # who gets it, and whether anybody


def findings(domain: Domain) -> Iterator[Finding]:
    """What somebody let be by name is not told again."""
    ours = {*domain.section.domains}.union(*(own.alias_domains for own in domain.section.domains.values()))
    for difference in domain.plan.left if domain.plan else ():
        strange = [one for one in _strange(difference) if "@" in one and one.rpartition("@")[2] not in ours]
        if strange:
            what = f"mail also goes to {listed(strange)}, which nobody declared: perhaps somebody took the account over"
            remedy = "ask its owner; take it away (apply --revert), or declare it (adopt); then a new password"
            yield domain.finding("mail.forward", Severity.SEVERE, what, remedy, id_=difference.id)


def _strange(difference: Difference) -> list[str]:
    """Recipients that are live, and neither declared nor what we left there."""
    if difference.live is None or difference.id.kind not in FIELDS:
        return []
    name, enabled = FIELDS[difference.id.kind]
    if difference.live.fields.get(enabled) is False:
        return []
    known = {a for one in (difference.declared, *difference.record.states) for a in _recipients(one, name)}
    return [address for address in _recipients(difference.live, name) if address not in known]


def _recipients(resource: Resource | None, name: str) -> list[str]:
    return mail.addresses(resource.fields.get(name)) if resource else []
