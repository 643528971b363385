"""
DNSSEC: whether the keys of the zone are those that the zone above vouches for, and until when its signatures hold.

Signatures over the zone's keys and over each name server's SOA record are verified, as a resolver would.
Sources: RFC 4034, RFC 4035 section 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import dns.dnssec
import dns.exception
import dns.name
import dns.rdata
import dns.rdataset
import dns.rrset

from mspctl.checks.dns.zone import Zone, listed, plain
from mspctl.finding import Finding, Severity
from mspctl.kinds.answers import Answer, Status, ZoneSeen
from mspctl.kinds.dns import first_line

MOST = 16  # keys, and signatures over one RRset; more are not judged, since each pair costs time
SKEW = 300  # seconds by which a signer's clock may be ahead
SHARE = 4  # signatures made for an hour do not end "soon" after 50 minutes: only the last quarter counts
ZONE_KEY, REVOKED, ENTRY = 0x0100, 0x0080, 0x0001  # flags of a key
# What resolvers support; a DS record with anything else is none to them.
ALGORITHMS, DIGESTS = frozenset({5, 7, 8, 10, 13, 14, 15, 16}), frozenset({1, 2, 4})

REFUSED = "resolvers that validate refuse the whole zone"
Keys = Sequence[Any]  # dnspython's DNSKEY records


@dataclass(frozen=True, slots=True)
class Held:
    """Until when the signatures over one RRset hold."""

    what: str  # "the SOA record at ns1.msp.example"
    until: int = 0  # seconds since 1970; 0: no signature verifies
    lifetime: int = 0


def findings(zone: Zone, seen: ZoneSeen) -> Iterator[Finding]:
    ds, keys = seen.delegation.ds, seen.answer(zone.absolute, "DNSKEY")
    if Status.UNKNOWN in (ds.status, keys.status) or _unfit(zone, seen):
        return
    if keys.status is Status.FOUND:
        yield from _signed(zone, seen, _records("DNSKEY", keys), _supported(ds))
    elif ds.status is Status.FOUND:
        what = f"the zone above has a DS record, and the zone is not signed: {REFUSED}"
        yield zone.finding("dns.ds", Severity.SEVERE, what, f"sign the zone, or take the DS away {zone.registrar}")


def unknown(zone: Zone, seen: ZoneSeen) -> list[str]:
    keys = seen.answer(zone.absolute, "DNSKEY")
    if keys.status is Status.EMPTY and seen.delegation.ds.status is Status.EMPTY:
        return []
    reasons = [f"{name}: {a.why}" for name, a in (("DS", seen.delegation.ds), ("DNSKEY", keys)) if a.why]
    return reasons or [why for why in [_unfit(zone, seen)] if why]


def _unfit(zone: Zone, seen: ZoneSeen) -> str:
    """Why the keys and signatures that were seen cannot be judged."""
    ds, keys = seen.delegation.ds, seen.answer(zone.absolute, "DNSKEY")
    answers = [ds, keys, *(server.soa for server in seen.serving)]
    if any(max(len(a.values), len(a.signatures)) > MOST for a in answers):
        return f"it has more than {MOST} keys or signatures"
    try:
        _records("DNSKEY", keys)
        if ds.values and not _supported(ds):
            return "its DS records have algorithms that nobody supports"
    except dns.exception.DNSException as error:
        return f"a key cannot be read ({first_line(error)})"
    return ""


def _supported(ds: Answer) -> list[Any]:
    return [d for d in _records("DS", ds) if d.algorithm in ALGORITHMS and d.digest_type in DIGESTS]


def _records(rtype: str, answer: Answer) -> list[Any]:
    return [dns.rdata.from_text("IN", rtype, value) for value in answer.values]


def _signed(zone: Zone, seen: ZoneSeen, keys: Keys, ds: Sequence[Any]) -> Iterator[Finding]:
    usable = [key for key in keys if key.flags & ZONE_KEY and not key.flags & REVOKED]
    matches = partial(_matches, dns.name.from_text(zone.absolute))
    vouched = [key for key in usable if any(matches(d, key) for d in ds)]
    if not ds:
        yield _no_ds(zone, usable)
    elif not vouched:
        what = f"no DS record of the zone above ({_tags(ds)}) matches a key of the zone ({_tags(keys)}): {REFUSED}"
        yield zone.finding("dns.ds", Severity.SEVERE, what, f"{_hand_over(zone, usable)}, or take the DS away there")
        return
    elif spare := [d for d in ds if not any(matches(d, key) for key in usable)]:
        what = f"the zone above has a DS record ({_tags(spare)}) that matches no key of the zone; another one works"
        remedy = f"take it away {zone.registrar}, unless a change of keys is under way"
        yield zone.finding("dns.ds", Severity.WARNING, what, remedy)
    yield from _ends(zone, [*_held(zone, seen, vouched or usable, usable)], vouched=bool(ds))


def _no_ds(zone: Zone, keys: Keys) -> Finding:
    what = "the zone is signed, and the zone above has no DS record: nobody checks the signatures"
    return zone.finding("dns.no-ds", Severity.INFO, what, _hand_over(zone, keys))


def _hand_over(zone: Zone, keys: Keys) -> str:
    entries = [key for key in keys if key.flags & ENTRY] or [*keys]
    made = []
    for key in entries[:1]:
        ds = dns.dnssec.make_ds(zone.absolute, key, "SHA256", policy=dns.dnssec.allow_all_policy)
        made.append(ds.to_text().upper())
    return f"hand this DS over {zone.registrar}: {made[0]}" if made else f"hand a DS over {zone.registrar}"


def _matches(name: dns.name.Name, ds: Any, key: Any) -> bool:
    if ds.key_tag != dns.dnssec.key_id(key) or ds.algorithm != key.algorithm:
        return False
    made = dns.dnssec.make_ds(name, key, ds.digest_type, policy=dns.dnssec.allow_all_policy)
    return bool(made.digest == ds.digest)


def _tags(records: Sequence[Any]) -> str:
    tags = sorted({r.key_tag if hasattr(r, "key_tag") else dns.dnssec.key_id(r) for r in records})
    return f"key {listed(map(str, tags))}"


# -- until when -----------------------------------------------------------------------------------------------


def _held(zone: Zone, seen: ZoneSeen, entries: Keys, keys: Keys) -> Iterator[Held]:
    now = int(zone.facts.now.timestamp())
    answer = seen.answer(zone.absolute, "DNSKEY")
    yield _held_until("the zone's keys", zone.absolute, "DNSKEY", answer, entries, now)
    for server in seen.serving:
        what = f"the SOA record at {plain(server.host)}"
        yield _held_until(what, zone.absolute, "SOA", server.soa, keys, now)


def _held_until(what: str, name: str, rtype: str, answer: Answer, keys: Keys, now: int) -> Held:
    """The signature that holds longest counts: during a change of keys there are several."""
    rrset = dns.rrset.from_text_list(name, 0, "IN", rtype, [*answer.values])
    held = Held(what)
    for signature in _signatures(answer):
        in_time = signature.inception <= now + SKEW and signature.expiration > held.until
        if in_time and _verifies(rrset, signature, {rrset.name: dns.rdataset.from_rdata_list(0, [*keys])}):
            held = Held(what, signature.expiration, signature.expiration - signature.inception)
    return held


def _signatures(answer: Answer) -> Iterator[Any]:
    for text in answer.signatures:
        with suppress(dns.exception.DNSException):
            yield dns.rdata.from_text("IN", "RRSIG", text)


def _verifies(rrset: dns.rrset.RRset, signature: Any, keys: Mapping[dns.name.Name, dns.rdataset.Rdataset]) -> bool:
    """Whether a key made the signature; what nobody here can compute is believed."""
    try:
        dns.dnssec.validate_rrsig(
            rrset, signature, {**keys}, now=signature.inception, policy=dns.dnssec.allow_all_policy
        )
    except dns.exception.UnsupportedAlgorithm:
        return True
    except (dns.exception.DNSException, ValueError):
        return False
    return True


def _ends(zone: Zone, held: Sequence[Held], *, vouched: bool) -> Iterator[Finding]:
    """The RRset whose signatures end first."""
    now = int(zone.facts.now.timestamp())
    first = min(held, key=lambda h: h.until)
    severity = Severity.SEVERE if vouched else Severity.WARNING
    effect = f": {REFUSED}" if vouched else ""
    sign = "see that the signer runs, has its keys, and that name servers get what it signs"
    if first.until == 0:
        what = f"no signature over {first.what} verifies{effect}"
        yield zone.finding("dns.signatures", severity, what, sign)
    elif first.until < now:
        at = _moment(first.until)
        what = f"the signatures over {first.what} ended on {at:%Y-%m-%d %H:%M} UTC{effect}"
        yield zone.finding("dns.signatures", severity, what, sign, since=at.date())
    elif first.until - now < min(zone.settings.signatures, first.lifetime / SHARE):
        at = _moment(first.until)
        what = f"the signatures over {first.what} end on {at:%Y-%m-%d %H:%M} UTC, and were not made anew"
        yield zone.finding("dns.signatures", Severity.WARNING, what, sign, until=at.date())


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
