"""Whatever stands in the files, loading ends with an estate or with plain lines; never with a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mspctl.check import validate
from tests.estate import TARGETS, estate

RECORDS = "customers/acme/dns/acme.example.yaml"
MASTER = "customers/acme/dns/acme.example.zone"
GOOD = {
    "inventory/targets.yaml": TARGETS,
    "inventory/contracts.yaml": "contracts: {gold: {includes: [dns]}}\n",
    "inventory/baselines/standard.yaml": "dns: {defaults: {ttl: 1h}, records: {apex: {CAA: 0 issue ca.example.net}}}\n",
    "inventory/checks.yaml": "dns: {resolvers: 192.0.2.53, signatures: 2d}\n",
    "customers/acme/customer.yaml": "name: Acme\nbaseline: standard\ncontract: {plan: gold}\n",
    "customers/acme/dns.yaml": "zones: {acme.example: {target: files}}\n",
}
FILES = [*GOOD, RECORDS, MASTER]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return estate(tmp_path_factory.mktemp("estate"), {**GOOD, RECORDS: "{}\n"})


def check(root: Path, file: str, content: str | bytes) -> None:
    """An otherwise right estate with `content` in one file: every line about it is one line that can be printed."""
    raw = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    if file == MASTER:
        (root / RECORDS).unlink()
    (root / file).write_bytes(raw)
    try:
        found = validate(root)
    finally:
        (root / MASTER).unlink(missing_ok=True)
        (root / RECORDS).write_text("{}\n")
        if file in GOOD:
            (root / file).write_text(GOOD[file])
    for problem in found.problems:
        assert str(problem).isprintable()
        assert problem.text
        assert len(str(problem)) < 2500  # a path may be long, a value is cut short


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FILES), st.binary(max_size=300))
def test_any_bytes(root: Path, file: str, content: bytes) -> None:
    check(root, file, content)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FILES), st.text(max_size=300))
def test_any_text(root: Path, file: str, content: str) -> None:
    check(root, file, content)


YAML_BITS = st.sampled_from(
    [
        *"{}[]:,-?*&!|>%@`#'\"\\\n \t",
        ": ",
        "- ",
        "\n  ",
        "<<",
        "&a ",
        "*a",
        "---\n",
        "...\n",
        "www",
        "A",
        "apex",
        "192.0.2.1",
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([f for f in FILES if f != MASTER]), st.lists(YAML_BITS, max_size=40))
def test_any_pieces_of_yaml(root: Path, file: str, pieces: list[str]) -> None:
    check(root, file, "".join(pieces))


KEYS = st.sampled_from(
    "name contract plan from to baseline language timezone sites contacts id email phone may_authorize mode engine "
    "resolvers roots port inside settle signatures public "
    "defaults zones records target targets ttl ignore renewal at ends auto acme.example b.example facets driver dns "
    "directory address secrets password soa nameservers mname refresh contracts includes gold type value values "
    "octodns preference exchange apex www _dmarc * @ A AAAA MX TXT CNAME NS SRV CAA SSHFP DS LOC NAPTR HTTPS URI TLSA "
    "PTR SPF ALIAS SOA TYPE65280 add remove".split()
) | st.text(max_size=5)
SCALARS = (
    st.sampled_from(
        "acme.example files zonefile 1h 300 10 0 192.0.2.1 2001:db8::1 www.acme.example. 2027-01-01 true gold dns "
        "zones standard Europe/Rome 10.0.0.0/8 a@b.example A MX CNAME add".split()
    )
    | st.none()
    | st.text(max_size=8)
)
DATA: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=20
)


@settings(max_examples=250, deadline=None)
@given(st.sampled_from([f for f in FILES if f != MASTER]), DATA)
def test_any_structure(root: Path, file: str, data: Any) -> None:
    check(root, file, json.dumps(data, ensure_ascii=False))


TYPES = st.sampled_from(
    "A AAAA ALIAS CAA CNAME DNAME DS HTTPS LOC MX NAPTR NS PTR SPF SRV SSHFP SVCB TLSA TXT URI TYPE65280 HIP APL WKS "
    "IPSECKEY CERT NSEC3PARAM a NOPE".split()
)
WORDS = st.sampled_from(
    'a.example. www acme.example. . @ 0 1 10 65536 -1 192.0.2.1 ::1 "x" "a b" ab abcd== \\# 1h N E 12m issue '
    "alpn=h2 ( ) ; \\ \\300 !^.*$!x!".split()
) | st.text(max_size=4)
VALUES = st.lists(WORDS, max_size=6).map(" ".join) | st.dictionaries(KEYS | st.sampled_from("tag value".split()), WORDS)
OWNERS = st.sampled_from(
    ["apex", "www", "*", "a.b", "www.acme.example.", "x.other.", "ns.acme.example.", "", "@"]
) | st.text(max_size=6)


@settings(max_examples=250, deadline=None)
@given(st.dictionaries(OWNERS, st.dictionaries(TYPES, VALUES | st.lists(VALUES, max_size=3), max_size=4), max_size=4))
def test_any_values_in_the_short_form(root: Path, data: Any) -> None:
    check(root, RECORDS, json.dumps(data, ensure_ascii=False))


ENTRIES = st.fixed_dictionaries(
    {"type": TYPES}, optional={"value": VALUES, "values": st.lists(VALUES, max_size=3), "ttl": WORDS}
)


@settings(max_examples=250, deadline=None)
@given(st.dictionaries(OWNERS, ENTRIES | st.lists(ENTRIES, max_size=3), max_size=4))
def test_any_values_in_octodns_form(root: Path, data: Any) -> None:
    check(root, RECORDS, json.dumps(data, ensure_ascii=False))


MASTER_WORDS = (
    "$ORIGIN $TTL $GENERATE $INCLUDE $UNICODE 1-3 IN CH A NS MX TXT SOA CNAME SRV CAA DNSKEY RRSIG LOC TYPE65280 www "
    'acme.example. other. @ * 300 1h 4294967295 192.0.2.1 ::1 10 "x" "a ( ) ; \\# \\ \\; \\300 é ${0,3,d} $'
)
MASTER_BITS = st.sampled_from([*MASTER_WORDS.split(), "\n", "\n", "\t", " \n "])


@settings(max_examples=300, deadline=None)
@given(st.lists(MASTER_BITS | st.text(max_size=2), max_size=40))
def test_any_pieces_of_a_zone_file(root: Path, pieces: list[str]) -> None:
    check(root, MASTER, " ".join(pieces))
