"""DNSSEC, with real keys: what the zone above vouches for, and until when signatures hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import dns.dnssec
import dns.name
import dns.rrset
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from mspctl.kinds.answers import Answer, Server, Status, ZoneSeen
from tests.checks.facts import EMPTY, NOW, NS1, NS2, facts, found, said, seen, serving, soa

NAME = dns.name.from_text("acme.example.")
DAY = timedelta(days=1)
FAKE = "4711 13 2 " + "0" * 64


@dataclass(frozen=True)
class Key:
    private: ec.EllipticCurvePrivateKey
    record: Any

    def ds(self, digest: str = "SHA256") -> str:
        return str(dns.dnssec.make_ds(NAME, self.record, digest).to_text())


@cache
def key(n: int, flags: int = 257) -> Key:
    private = ec.generate_private_key(ec.SECP256R1())
    made = dns.dnssec.make_dnskey(private.public_key(), "ECDSAP256SHA256", flags)
    return Key(private, made)


KSK, ZSK, STRANGER, REVOKED = key(1), key(2, 256), key(3), key(4, 257 | 0x80)


def signed(rtype: str, values: Sequence[str], by: Key, ends: timedelta, lasts: timedelta = 14 * DAY) -> Answer:
    rrset = dns.rrset.from_text_list(NAME, 300, "IN", rtype, [*values])
    until = NOW + ends
    signature = dns.dnssec.sign(rrset, by.private, NAME, by.record, inception=until - lasts, expiration=until)
    return Answer(Status.FOUND, tuple(values), (signature.to_text(),))


def keys(*held: Key, by: Key = KSK, ends: timedelta = 9 * DAY, lasts: timedelta = 14 * DAY) -> Answer:
    return signed("DNSKEY", [k.record.to_text() for k in held or (KSK, ZSK)], by, ends, lasts)


def server(ends: timedelta = 8 * DAY, *, host: str = NS1, by: Key = ZSK, lasts: timedelta = 14 * DAY) -> Server:
    (plain,) = serving(host)
    return replace(plain, soa=signed("SOA", soa(7).values, by, ends, lasts))


def zone(*ds: str, dnskey: Answer | None = None, servers: Sequence[Server] = ()) -> ZoneSeen:
    above = Answer(Status.FOUND, ds) if ds else EMPTY
    return seen(ds=above, servers=servers or [server()], answers={("acme.example.", "DNSKEY"): dnskey or keys()})


BROKEN = replace(
    keys(), signatures=(keys(by=KSK, ends=8 * DAY).signatures[0].rpartition(" ")[0] + " " + "A" * 86 + "==",)
)
UNSIGNED = replace(server(), soa=soa(7))
MANY = replace(keys(), values=keys().values * 9)
UNKNOWN = Answer(Status.UNKNOWN, why="no name server gives its keys")

CASES = [
    pytest.param(zone(KSK.ds()), [], "", id="as it should be"),
    pytest.param(zone(KSK.ds("SHA384")), [], "", id="another digest"),
    pytest.param(zone(), ["dns.no-ds info"], "nobody checks the signatures", id="no DS"),
    pytest.param(zone(FAKE), ["dns.ds severe"], "no DS record of the zone above (key 4711) matches", id="DS of nobody"),
    pytest.param(zone(STRANGER.ds()), ["dns.ds severe"], "refuse the whole zone", id="DS of a key that is gone"),
    pytest.param(
        zone(KSK.ds(), FAKE),
        ["dns.ds warning"],
        "(key 4711) that matches no key of the zone; another one",
        id="spare DS",
    ),
    pytest.param(zone(REVOKED.ds(), dnskey=keys(REVOKED, ZSK, by=REVOKED)), ["dns.ds severe"], "", id="revoked key"),
    pytest.param(
        zone(KSK.ds(), dnskey=keys(by=ZSK)),
        ["dns.signatures severe"],
        "no signature over the zone's keys verifies: resolvers",
        id="the key that is vouched for signs nothing",
    ),
    pytest.param(zone(KSK.ds(), dnskey=BROKEN), ["dns.signatures severe"], "the zone's keys verifies", id="broken"),
    pytest.param(
        zone(KSK.ds(), servers=[server(by=STRANGER)]),
        ["dns.signatures severe"],
        "no signature over the SOA record at ns1.msp.example verifies",
        id="signed by a stranger",
    ),
    pytest.param(
        zone(KSK.ds(), servers=[server(), replace(UNSIGNED, host=NS2)]),
        ["dns.signatures severe"],
        "the SOA record at ns2.msp.example",
        id="one server serves it unsigned",
    ),
    pytest.param(
        zone(KSK.ds(), servers=[server(-DAY)]),
        ["dns.signatures severe"],
        "over the SOA record at ns1.msp.example ended on 2027-03-14 06:00 UTC: resolvers that validate refuse",
        id="ended",
    ),
    pytest.param(
        zone(servers=[server(-DAY)]),
        ["dns.no-ds info", "dns.signatures warning"],
        "ended on 2027-03-14 06:00 UTC",
        id="ended, and nobody checks",
    ),
    pytest.param(
        zone(KSK.ds(), servers=[server(), server(DAY / 2, host=NS2)]),
        ["dns.signatures warning"],
        "the SOA record at ns2.msp.example end on 2027-03-15 18:00 UTC, and were not made anew",
        id="about to end at one server",
    ),
    pytest.param(
        zone(KSK.ds(), dnskey=keys(ends=DAY / 2)), ["dns.signatures warning"], "the zone's keys end on", id="keys"
    ),
    pytest.param(zone(KSK.ds(), servers=[server(2 * DAY)]), [], "", id="two days are enough"),
    pytest.param(zone(KSK.ds(), servers=[server(DAY / 2, lasts=DAY)]), [], "", id="made for a day, when somebody asks"),
    pytest.param(zone(KSK.ds(), servers=[server(20 * DAY)]), ["dns.signatures severe"], "", id="not valid yet"),
    pytest.param(zone(KSK.ds(), dnskey=MANY), ["dns.unchecked unknown"], "more than 16 keys or signatures", id="many"),
    pytest.param(
        zone(KSK.ds(), dnskey=UNKNOWN), ["dns.unchecked unknown"], "no name server gives its keys", id="unknown"
    ),
]


@pytest.mark.parametrize(("what", "expected", "text"), CASES)
def test_signed_zones(tmp_path: Path, what: ZoneSeen, expected: list[str], text: str) -> None:
    findings = found(facts(tmp_path), what)
    assert said(findings) == expected
    assert text in "".join(f.what for f in findings)


def test_the_days_are_set_in_the_inventory(tmp_path: Path) -> None:
    of = facts(tmp_path, checks_yaml="dns: {signatures: 3d}\n")
    (finding,) = found(of, zone(KSK.ds(), servers=[server(2 * DAY)]))
    assert finding.until == (NOW + 2 * DAY).date()


def test_the_ds_to_hand_over_is_told(tmp_path: Path) -> None:
    (finding,) = found(facts(tmp_path, zone="target: files, renewal: {at: aruba, ends: 2030-01-01}"), zone())
    tag, rest = KSK.ds().upper().split(" ", 1)
    assert finding.remedy == f"hand this DS over at the registrar (aruba): {tag} {rest}"


def test_during_a_change_of_keys_the_signature_that_holds_longest_counts(tmp_path: Path) -> None:
    old, new = server(-DAY), server()
    both = replace(new, soa=replace(new.soa, signatures=(*old.soa.signatures, *new.soa.signatures)))
    assert found(facts(tmp_path), zone(KSK.ds(), servers=[both])) == []


@pytest.mark.parametrize("text", [f"4711 250 2 {'0' * 64}", "4711 13 250 00", "0 0 0 00"])
def test_a_ds_that_no_resolver_can_use_is_not_judged(tmp_path: Path, text: str) -> None:
    assert said(found(facts(tmp_path / "alone"), zone(text))) == ["dns.unchecked unknown"]
    if not text.startswith("0"):
        assert found(facts(tmp_path / "beside"), zone(text, KSK.ds())) == []
