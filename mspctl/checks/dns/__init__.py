"""
Zones as the world sees them: delegation, name servers, signatures, mail, and the registration.

Git says what should be; `questions` asks what is. A zone that the world does not get from us is one finding, and one
that could not be looked at is one too.
"""

from __future__ import annotations

from collections.abc import Iterator

from mspctl.checks import Facts, Seen
from mspctl.checks.dns import delegation, mail, registration
from mspctl.checks.dns.zone import Zone, unchecked, zones
from mspctl.finding import Finding
from mspctl.kinds.answers import ZoneQuestion, ZoneSeen

CODES = {
    "dns.unchecked": "it could not be checked",
    "dns.registration": "the registration ends soon, or has ended",
    "dns.not-delegated": "the Internet does not get the zone from us",
    "dns.parent-ns": "the zone above names other name servers than Git",
    "dns.ns-address": "a name server has no address",
    "dns.ns-silent": "a name server does not answer",
    "dns.ns-lame": "a name server answers, and does not serve the zone",
    "dns.serial": "name servers hold different versions of the zone",
    "dns.ds": "the zone above vouches for a key that the zone does not have",
    "dns.no-ds": "the zone is signed, and nobody checks the signatures",
    "dns.signatures": "signatures end soon, have ended, or do not verify",
    "dns.mx-address": "a mail server has no address",
    "dns.mx-cname": "a mail server's name is a CNAME",
    "dns.mx-null": "“no mail at all” stands beside mail servers",
    "dns.spf-several": "a name has several SPF records",
    "dns.spf-broken": "an SPF record is an error for receivers",
    "dns.spf-lookups": "an SPF record needs more than ten look-ups",
    "dns.spf-void": "an SPF record looks up names that have nothing",
}


def questions(facts: Facts) -> Iterator[ZoneQuestion]:
    """A question per zone that the Internet should know."""
    return (zone.question for zone in zones(facts) if zone.is_public)


def findings(facts: Facts, seen: Seen) -> Iterator[Finding]:
    for zone in zones(facts):
        yield from registration.findings(zone)
        yield from mail.declared(zone)
        if seen and zone.is_public and (found := seen.get(zone.question)):
            yield from _seen(zone, found)


def _seen(zone: Zone, seen: ZoneSeen) -> Iterator[Finding]:
    yield from delegation.findings(zone, seen)
    reasons = [seen.why, *delegation.unknown(seen)]
    if seen.serving:
        from mspctl.checks.dns import signatures  # loads cryptography, which a run that asks nobody does not need

        yield from signatures.findings(zone, seen)
        yield from mail.findings(zone, seen)
        reasons += [*signatures.unknown(zone, seen), *mail.unknown(zone, seen)]
    reasons = [why for why in dict.fromkeys(reasons) if why]
    if reasons:
        yield unchecked(zone, reasons)
