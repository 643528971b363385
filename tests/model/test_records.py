"""Record files in both forms, for every type; octoDNS's form means what octoDNS itself makes of it."""

from __future__ import annotations

import logging
import warnings
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import dns.rdata
import pytest

from mspctl.kinds import dns as kind
from mspctl.model.sections.dns.records import OCTODNS_TTL, Dotless, RecordReader
from mspctl.moments import Clock
from mspctl.strict_yaml import Problems, parse

Found = dict[str, tuple[int, set[str]]]  # "www A" → TTL, values
ZONE = "acme.example"
SHA1, SHA256 = "ab" * 20, "cd" * 32


def read(text: str, ttl: int = 900, dotless: Dotless = "refuse") -> tuple[Found, list[str]]:
    problems = Problems()
    reader = RecordReader(ZONE, ttl, problems, dotless=dotless)
    resources = reader.read(parse(text, "f", problems), "f")
    found = {r.id.name: (kind.ttl_of(r), set(kind.values_of(r))) for r in resources}
    return found, [str(problem) for problem in problems]


def right(text: str, **options: Any) -> Found:
    found, problems = read(text, **options)
    assert problems == []
    return found


# -- the short form ---------------------------------------------------------------------------------------------

SHORT = [
    ("A", "[192.0.2.1, 192.0.2.2]", {"192.0.2.1", "192.0.2.2"}),
    ("AAAA", "2001:DB8::1", {"2001:db8::1"}),
    ("ALIAS", "lb.example.", {"lb.example."}),
    ("CAA", "['0 issue ca.example', '128 ISSUEWILD \";\"']", {'0 issue "ca.example"', '128 issuewild ";"'}),
    ("CNAME", "Web.Example.", {"web.example."}),
    ("DNAME", "old.example.", {"old.example."}),
    ("DS", f"1 13 2 {SHA256.upper()}", {f"1 13 2 {SHA256}"}),
    ("HTTPS", "'1 . alpn=h2,h3 port=8443'", {'1 . alpn="h2,h3" port="8443"'}),
    ("LOC", "45 24 0 N 11 52 0 E 12m", {"45 24 0.000 N 11 52 0.000 E 12.00m"}),
    ("MX", "[10 a.example., 20 B.example.]", {"10 a.example.", "20 b.example."}),
    ("NAPTR", "'1 2 s SIP+D2U \"\" _sip.Example.'", {'1 2 "S" "SIP+D2U" "" _sip.example.'}),
    ("NS", "ns1.example.", {"ns1.example."}),
    ("OPENPGPKEY", "AQID", {"AQID"}),
    ("PTR", "host.example.", {"host.example."}),
    ("SRV", "1 2 3 sip.example.", {"1 2 3 sip.example."}),
    ("SSHFP", f"4 2 {SHA256}", {f"4 2 {SHA256}"}),
    ("SVCB", "0 svc.example.", {"0 svc.example."}),
    ("TLSA", f"3 1 1 {SHA256}", {f"3 1 1 {SHA256}"}),
    (
        "TXT",
        "[v=spf1 -all, a;b, 'say \"hi\"', 'back\\slash']",
        {'"v=spf1 -all"', '"a;b"', r'"say \"hi\""', r'"back\\slash"'},
    ),
    ("TYPE65280", "'\\# 2 ABCD'", {r"\# 2 abcd"}),
    ("URI", "'10 1 \"https://x.example/\"'", {'10 1 "https://x.example/"'}),
]


@pytest.mark.parametrize(("rtype", "typed", "values"), SHORT)
def test_short_form(rtype: str, typed: str, values: set[str]) -> None:
    expected = {f"www {rtype}": (900, values)}
    assert right(f"www: {{{rtype}: {typed}}}\n") == expected
    assert right(f"www: {{{rtype}: {{values: {typed}}}}}\n") == expected
    assert right(f"www: {{type: {rtype}, value: {typed}}}\n") == expected


def test_ttls_of_the_zone_the_name_and_the_type() -> None:
    text = "a: {A: 192.0.2.1}\nb: {A: 192.0.2.1, ttl: 5m}\nc: {ttl: 5m, A: {values: [192.0.2.1], ttl: 30}, TXT: x}\n"
    assert {name: ttl for name, (ttl, _) in right(text).items()} == {"a A": 900, "b A": 300, "c A": 30, "c TXT": 300}


def test_owners() -> None:
    text = "\n".join(
        f"{key}: {{A: 192.0.2.1}}"
        for key in ["apex", "WWW", "'*'", "'*.b'", "x.acme.example.", "MÜNCHEN", "_dmarc", r"'\apex'", "0", "no", "a/b"]
    )
    owners = [name.removesuffix(" A") for name in right(text)]
    assert owners == ["@", "www", "*", "*.b", "x", "xn--mnchen-3ya", "_dmarc", "apex", "0", "no", "a/b"]


def test_types_by_number_and_in_generic_form() -> None:
    assert right("www: {TYPE1: '\\# 4 c0000201', TYPE99: v=spf1}\n") == {
        "www A": (900, {"192.0.2.1"}),
        "www SPF": (900, {'"v=spf1"'}),
    }


def test_what_is_right_comes_in_beside_what_is_wrong() -> None:
    found, problems = read("a: {A: [192.0.2.1, nope], FOO: x}\nb: 1\nc: {TXT: x, ttl: soon}\n")
    assert found == {"a A": (900, {"192.0.2.1"}), "c TXT": (900, {'"x"'})}
    assert len(problems) == 4


# -- octoDNS's form ---------------------------------------------------------------------------------------------

# Written as for octoDNS, which is asked what it makes of them.
OCTODNS = {
    "value": "www: {type: A, value: 192.0.2.1}\n",
    "values": "www: {type: A, values: [192.0.2.1, 192.0.2.2]}\n",
    "value with a list": "www: {type: A, value: [192.0.2.1, 192.0.2.2]}\n",
    "ttl": "www: {type: A, ttl: 60, value: 192.0.2.1}\n",
    "the zone's own name": "'': {type: A, value: 192.0.2.1}\n",
    "many records at a name": "'':\n  - {type: A, value: 192.0.2.1}\n  - {type: TXT, value: x}\n",
    "wildcard": "'*': {type: CNAME, value: web.example.}\n",
    "name of digits": "1: {type: A, value: 192.0.2.1}\n",
    "name in capitals": "WWW: {type: A, value: 192.0.2.1}\n",
    "IDNA": "münchen: {type: CNAME, value: straße.example.}\n",
    "a host called apex": "apex: {type: A, value: 192.0.2.1}\n",
    "AAAA": "www: {type: AAAA, value: '2001:DB8::1'}\n",
    "ALIAS": "'': {type: ALIAS, value: LB.example.}\n",
    "CAA": "'': {type: CAA, values: [{flags: 128, tag: issue, value: ca.example}, {tag: iodef, value: 'tel:1'}]}\n",
    "CAA with a semicolon": "'': {type: CAA, value: {flags: 0, tag: issue, value: ca.example; x=y}}\n",
    "CAA with an escaped semicolon": "'': {type: CAA, value: {flags: 0, tag: issue, value: 'ca.example\\; x=y'}}\n",
    "CNAME": "www: {type: CNAME, value: Web.example.}\n",
    "DNAME": "www: {type: DNAME, value: web.example.}\n",
    "DS": f"s: {{type: DS, value: {{key_tag: 1, algorithm: 13, digest_type: 2, digest: {SHA256.upper()}}}}}\n",
    "DS, older": f"s: {{type: DS, value: {{flags: 1, protocol: 13, algorithm: 2, public_key: {SHA256}}}}}\n",
    "HTTPS": "www: {type: HTTPS, value: {svcpriority: 1, targetname: ., svcparams: {alpn: [h2, h3], port: 8443}}}\n",
    "HTTPS without parameters": "www: {type: HTTPS, value: {svcpriority: 0, targetname: Web.example.}}\n",
    "LOC": "'': {type: LOC, value: {lat_degrees: 45, lat_minutes: 24, lat_seconds: 0, lat_direction: N, long_degrees: "
    "11, long_minutes: 52, long_seconds: 1.5, long_direction: E, altitude: 12, size: 1, precision_horz: 10000,"
    " precision_vert: 10}}\n",
    "MX": "'': {type: MX, values: [{preference: 10, exchange: A.example.}, {preference: 20, exchange: b.example.}]}\n",
    "MX, older": "'': {type: MX, value: {priority: 10, value: a.example.}}\n",
    "NAPTR": "'': {type: NAPTR, value: {order: 1, preference: 2, flags: u, service: E2U+sip, regexp: "
    "'!^.*$!sip:a@b.c!', replacement: .}}\n",
    "NAPTR with an escape": "'': {type: NAPTR, value: {order: 1, preference: 2, flags: U, service: E2U+sip, regexp: "
    "'!^(.*)$!sip:\\\\1@b.c!', replacement: .}}\n",
    "NS": "sub: {type: NS, values: [ns1.example., NS2.example.]}\n",
    "OPENPGPKEY": "k: {type: OPENPGPKEY, value: AQIDBA==}\n",
    "PTR": "'1': {type: PTR, values: [a.example., b.example.]}\n",
    "SPF": "'': {type: SPF, value: v=spf1 -all}\n",
    "SRV": "_sip._tcp: {type: SRV, value: {priority: 1, weight: 2, port: 5060, target: Sip.example.}}\n",
    "SSHFP": f"h: {{type: SSHFP, value: {{algorithm: 4, fingerprint_type: 2, fingerprint: {SHA256.upper()}}}}}\n",
    "SVCB": "s: {type: SVCB, value: {svcpriority: 2, targetname: s.example., svcparams: {alpn: h2, no-default-alpn: , "
    "ipv4hint: [192.0.2.1], mandatory: alpn}}}\n",
    "TLSA": f"t: {{type: TLSA, value: {{certificate_usage: 3, selector: 1, matching_type: 1, "
    f"certificate_association_data: {SHA256}}}}}\n",
    "TLSA, defaults": "t: {type: TLSA, value: {certificate_association_data: abcd}}\n",
    "TXT": "'': {type: TXT, values: [v=spf1 -all, 'v=DKIM1\\; k=rsa\\; p=abc', plain]}\n",
    "TXT in chunks": "'': {type: TXT, value: '\"one \" \"two\"'}\n",
    "TXT with quotes and backslashes": "'': {type: TXT, values: ['say \"hi\"', 'back\\slash']}\n",
    "TXT of 300 octets": f"'': {{type: TXT, value: {'x' * 300}}}\n",
    "URI": "_u: {type: URI, value: {priority: 10, weight: 1, target: 'https://x.example/a?b=c'}}\n",
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("text", OCTODNS.values(), ids=OCTODNS)
def test_octodns_form_means_what_octodns_makes_of_it(text: str, tmp_path: Path) -> None:
    assert right(text, ttl=OCTODNS_TTL, dotless="absolute") == by_octodns(text, tmp_path)


def by_octodns(text: str, folder: Path) -> Found:
    pytest.importorskip("octodns", reason="octoDNS is not installed (pip install mspctl[bench])")
    provider, zone_module = import_module("octodns.provider.yaml"), import_module("octodns.zone")
    logging.disable(logging.CRITICAL)
    (folder / f"{ZONE}.yaml").write_text(text)
    zone = zone_module.Zone(f"{ZONE}.", [])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = provider.YamlProvider("x", str(folder), enforce_order=False, escaped_semicolons=True)
        source.populate(zone, lenient=True)
        rrsets = [(record.name or kind.APEX, record._type, record.to_rrset()) for record in zone.records]
    logging.disable(logging.NOTSET)
    return {
        f"{owner} {rtype}": (rrset.ttl, {_folded(rtype, r) for r in rrset.rdatas}) for owner, rtype, rrset in rrsets
    }


def _folded(rtype: str, rdata: str) -> str:
    if rtype in kind.PSEUDO:
        return rdata
    return kind.from_rdata(dns.rdata.from_text("IN", rtype, rdata))


def test_unescaped_semicolons_stay() -> None:
    assert right("'': {type: TXT, value: v=DKIM1; p=abc}\n") == {"@ TXT": (900, {'"v=DKIM1; p=abc"'})}


@pytest.mark.parametrize("rtype", ["CNAME", "MX", "NS", "PTR", "SRV", "ALIAS", "DNAME"])
def test_names_without_a_dot_are_absolute_where_the_source_says_so(rtype: str) -> None:
    before = {"MX": "10 ", "SRV": "1 2 3 "}.get(rtype, "")
    text = f"www: {{type: {rtype}, value: {before}mail.example}}\n"
    assert right(text, dotless="absolute") == {f"www {rtype}": (900, {f"{before}mail.example."})}
    assert read(text)[1] == [
        f"f:1:{22 + len(rtype)}: www.{rtype}: 'mail.example' has no dot at its end: write 'mail.example.' "
        "(exactly that name) or 'mail.example.acme.example.' (in this zone)"
    ]


WRONG = [
    ("'': {type: MX, value: {preference: 10}}", "exchange is missing in the MX value"),
    ("'': {type: MX, value: {preference: 10, exchange: }}", "exchange is empty"),
    ("'': {type: MX, value: {preference: [1], exchange: a.}}", "preference should be text, not a mapping or a list"),
    ("'': {type: MX, value: {preference: ten, exchange: a.}}", "'ten' is not a preference (a number from 0 to 65535)"),
    (
        "'': {type: MX, value: {preference: 1, priority: 2, exchange: a.}}",
        "unknown key 'priority' in the MX value (known: exchange, preference)",
    ),
    ("'': {type: A, value: {a: b}}", "A values are text, not a mapping"),
    ("'': {type: A, value: [[192.0.2.1]]}", "should be text, not a mapping or a list"),
    ("'': {type: HTTPS, value: {svcpriority: 1, targetname: ., svcparams: x}}", "svcparams should be a mapping"),
    ("'': {type: LOC, value: {lat_degrees: 1}}", "lat_minutes is missing in the LOC value"),
    ("'': {type: A}", "value is missing"),
    ("'': {type: A, value: 192.0.2.1, values: [192.0.2.1]}", "has value and values (leave one)"),
    ("'': {type: A, value: 192.0.2.1, vlaue: x}", "unknown key (did you mean value?)"),
    ("'': {type: A, value: 192.0.2.1, geo: {}}", "octoDNS's geo has no counterpart here (remove it)"),
    ("'': {type: A, value: 192.0.2.1, octodns: {}}", "octoDNS's octodns has no counterpart here (remove it)"),
    ("'': {type: A, value: 192.0.2.1, ttl: -1}", "'-1' is not a duration (write 1h, 5m or 300)"),
    ("'': {type: [A], value: 192.0.2.1}", "should be a record with type, ttl and value or values"),
    ("'': [x]", "should be a record with type, ttl and value or values"),
    ("'': [{value: x}]", "should be a record with type, ttl and value or values"),
    ("'@': {type: A, value: 192.0.2.1}", "'@': the zone's own name is written '' here"),
    (
        "'': [{type: A, value: 192.0.2.1}, {type: A, value: 192.0.2.2}]",
        "@ A stands here twice (first on line 1; put all values in one list)",
    ),
    ("'': {type: CNAME, values: [a., b.]}", "has 2 values (there can be only one)"),
]


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_what_is_wrong_in_octodns_form(text: str, said: str) -> None:
    problems = read(text)[1]
    assert len(problems) == 1
    assert problems[0].endswith(f": {said}")


@pytest.mark.parametrize(
    "text", ["www: {A: 192.0.2.1, until: 2027-03-31}", "www: {type: A, value: 192.0.2.1, until: x}"]
)
def test_where_no_clock_is_known_nothing_is_limited_in_time(text: str) -> None:
    """What octoDNS reads, for instance, has no `until`; to pass over it would be to lose it."""
    assert "unknown key" in read(text)[1][0]


def test_limits_of_a_name_and_of_a_type() -> None:
    text = (
        "a: {A: 192.0.2.1, until: 2027-03-31}\n"
        "b: {A: {values: 192.0.2.1, until: 2027-04-30}, TXT: x, from: 2027-03-01, until: 2027-03-31}\n"
        "c: [{type: A, value: 192.0.2.1, until: 2027-03-31 18:00}, {type: TXT, value: x}]\n"
    )
    problems = Problems()
    reader = RecordReader(ZONE, 900, problems, Clock(datetime(2027, 3, 5, tzinfo=UTC), "Europe/Rome"))
    assert len(reader.read(parse(text, "f", problems), "f")) == 5
    assert problems == []
    assert {i.name: (str(s.since), str(s.until)) for i, s in reader.spans.items()} == {
        "a A": ("None", "2027-03-31"),
        "b A": ("2027-03-01", "2027-04-30"),
        "b TXT": ("2027-03-01", "2027-03-31"),
        "c A": ("None", "2027-03-31 18:00"),
    }


def test_everything_that_went_in_is_counted() -> None:
    problems = Problems()
    reader = RecordReader(ZONE, 900, problems)
    text = "a: {A: [192.0.2.1, 192.0.2.1, nope], FOO: [x, y]}\nb: [{type: MX}, {type: TXT, values: [x, y]}]\n"
    assert len(reader.read(parse(text, "f", problems), "f")) == 2
    assert (reader.rrsets, reader.values, reader.doubled) == (4, 7, 1)
