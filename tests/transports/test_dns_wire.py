"""Messages as dnspython writes them and as nobody should."""

from __future__ import annotations

import dns.exception
import dns.message
import dns.name
import dns.opcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mspctl.kinds import dns as kind
from mspctl.transports.dns_wire import Malformed, read
from tests.drivers.test_zonefile import EVERY_TYPE, ZONE

KEY = dns.tsig.Key("key.", b"k" * 32)
MAC = b"m" * 32
ODD = [
    dns.name.Name(labels) for labels in ([b"a.b", b"C", b""], [b"\x00\xff", b'"', b""], [b"x" * 63] * 3 + [b""], [b""])
]


def answer(signed: bool = True) -> bytes:
    """Every type of record at its own name, and odd names; signed as the answer to MAC."""
    query = dns.message.make_query(f"{ZONE}.", "AXFR", id=7)
    message = dns.message.make_response(query)
    for resource in EVERY_TYPE:
        owner, rtype = kind.owner_type(resource.id)
        rdatas = [kind.to_rdata(rtype, value) for value in kind.values_of(resource)]
        name = dns.name.from_text(kind.absolute(owner, ZONE))
        message.answer.append(dns.rrset.from_rdata_list(name, kind.ttl_of(resource), rdatas))
    message.answer += [dns.rrset.from_text(name, 60, "IN", "A", "192.0.2.1") for name in ODD]
    if signed:
        message.use_tsig(KEY)
        message.request_mac = MAC
    return message.to_wire()


def test_a_message_reads_as_dnspython_reads_it() -> None:
    wire = answer()
    theirs = dns.message.from_wire(wire, keyring=KEY, request_mac=MAC, one_rr_per_rrset=True)
    ours = read(wire, KEY, MAC)
    assert (ours.number, ours.rcode, ours.question, ours.signed) == (7, theirs.rcode(), f"{ZONE}.", True)
    assert ours.is_to(7, dns.opcode.QUERY, f"{ZONE}.")
    assert [(r.owner, r.rtype, r.ttl, r.rdata) for r in ours.records] == [
        (r.name.canonicalize().to_text(), r.rdtype, r.ttl, r[0]) for r in theirs.answer
    ]


@pytest.mark.parametrize(
    "asked",
    [(8, dns.opcode.QUERY, f"{ZONE}."), (7, dns.opcode.UPDATE, f"{ZONE}."), (7, dns.opcode.QUERY, "other.example.")],
)
def test_an_answer_to_something_else_is_seen(asked: tuple[int, dns.opcode.Opcode, str]) -> None:
    assert not read(answer(), KEY, MAC).is_to(*asked)


def is_believed(octets: bytes) -> bool:
    try:
        return read(octets, KEY, MAC).signed
    except (Malformed, dns.exception.DNSException):
        return False


def test_what_was_altered_on_the_way_is_not_believed() -> None:
    """But for what no signature covers: the message's number, and the TTL of the signature's own record."""
    wire = answer()
    believed = [at for at in range(len(wire)) if is_believed(wire[:at] + bytes([wire[at] ^ 0x41]) + wire[at + 1 :])]
    ttl = wire.rindex(b"\x03key\x00\x00\xfa\x00\xff") + 9
    assert believed == [0, 1, *range(ttl, ttl + 4)]


@given(st.binary(max_size=200))
def test_octets_that_are_no_message_are_no_answer(octets: bytes) -> None:
    assert not is_believed(octets)


HEADER = b"\x00\x07\x84\x00\x00\x01\x00\x00\x00\x00\x00\x00"
END = b"\x00\x01\x00\x01"


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"\xc0\x0c" + END, "points at what comes after it"),
        (b"\x01a\xc0\x0c" + END, "points at what comes after it"),
        (b"\xff\xff" + END, "points at what comes after it"),
        (b"\x40" + b"a" * 64 + b"\x00" + END, "a label is longer than it can be"),
        (b"\x3f" + b"a" * 10, "a label is longer than it can be"),
        (b"\x01a" * 600 + b"\x00" + END, "a name is longer than it can be"),
        (b"\x01a", "shorter than it says"),
        (b"\x00" + END + b"x", "longer than it says"),
        (b"", "shorter than it says"),
    ],
)
def test_names_and_lengths_that_cannot_be(octets: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        read(HEADER + octets, KEY, MAC)


def test_a_message_that_is_not_signed_is_covered_by_the_next() -> None:
    """RFC 8945 section 5.3.1: whoever leaves one out, or puts one in, breaks the signature after it."""
    first = read(answer(), KEY, MAC)
    unsigned = read(answer(signed=False), KEY, MAC, first.context)
    assert not unsigned.signed
    with pytest.raises(dns.tsig.BadSignature):
        read(answer(), KEY, MAC, unsigned.context)
