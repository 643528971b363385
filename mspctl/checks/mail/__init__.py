"""
Mail as its server and strangers see it: full mailboxes, mail that waits, forwards that nobody declared, log-ins of
people who left, sessions of people who are switched off, entries past their date, keys in the DNS, block lists.

What a server measures is asked of it in every run; the DNS only by whoever looks from outside.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mspctl.checks import Facts, Seen
from mspctl.checks.mail import forwards, lists, outside, use
from mspctl.checks.mail.domain import domains
from mspctl.finding import Finding

CODES = {
    "mail.unchecked": "it could not be checked",
    "mail.forward": "mail goes to somebody outside whom nobody declared",
    "mail.login": "somebody logged in after leaving",
    "mail.session": "a session is open of somebody who is switched off",
    "mail.full": "a mailbox is full, or nearly",
    "mail.queue": "mail has been waiting for too long",
    "mail.list": "an entry of allow or block is past its date",
    "mail.dkim": "the DNS has another DKIM key than the one in use, or none",
    "mail.listed": "an address that mail is sent from is on a block list",
}


def questions(facts: Facts) -> Iterator[Any]:
    for domain in domains(facts):
        yield from use.gauges(domain)
        yield from outside.questions(domain)


def findings(facts: Facts, seen: Seen) -> Iterator[Finding]:
    for domain in domains(facts):
        yield from forwards.findings(domain)
        yield from use.findings(domain, seen)
        yield from lists.findings(domain)
        yield from outside.findings(domain, seen)
        reasons = [*use.unknown(domain, seen), *outside.unknown(domain, seen)]
        if reasons:
            yield domain.unchecked(reasons)
