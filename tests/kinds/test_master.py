"""Master files: what is written is read back, and what the fast reader takes it reads as dnspython does."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mspctl.kinds import any_master, dns, master
from mspctl.kinds.master import Master, Soa
from tests.kinds import samples

ZONE = "acme.example"
SOA = Soa("ns1.acme.example.", "hostmaster.acme.example.", 2027010100, 7200, 3600, 1209600, 3600, 300)
HEAD = "@ 300 IN SOA ns1.acme.example. hostmaster.acme.example. 1 7200 3600 1209600 3600\n"


def said(text: str, zone: str = ZONE) -> list[tuple[int, str]]:
    return [(line, wrong.removeprefix("is not a zone file: ")) for line, wrong in master.read(text, zone).problems]


def rows(text: str, zone: str = ZONE) -> list[tuple[str, str, int, str, int]]:
    read = master.read(text, zone)
    assert read.problems == []
    return [(r.owner, r.rtype, r.ttl, r.value, r.line) for r in read.records]


# -- written and read -------------------------------------------------------------------------------------------


@st.composite
def rrsets(draw: st.DrawFn) -> list[tuple[str, str, int, frozenset[str]]]:
    found: dict[tuple[str, str], tuple[int, set[str]]] = {}
    for _ in range(draw(st.integers(0, 6))):
        rtype, value = draw(samples.folded())
        owner = draw(st.just("@") | samples.OWNERS.map(lambda typed: dns.fold_owner(typed, ZONE)))
        found.setdefault((owner, rtype), (draw(st.integers(0, dns.MAX_TTL)), set()))[1].add(value)
    return [(owner, rtype, ttl, frozenset(values)) for (owner, rtype), (ttl, values) in found.items()]


@settings(max_examples=200, deadline=None)
@given(rrsets(), st.sampled_from([ZONE, "0/25.2.0.192.in-addr.arpa", "xn--mnchen-3ya.example"]))
def test_what_is_written_is_read_back(declared: list[tuple[str, str, int, frozenset[str]]], zone: str) -> None:
    resources = [dns.rrset(*parts) for parts in declared]
    text = master.write(zone, SOA, resources, ("a header",))
    for read in (master.read(text, zone), any_master.read(text, zone)):
        assert read.problems == []
        assert read.soa == SOA
        found, wrong = master.rrsets(read.records, zone, "file")
        assert wrong == []
        assert {r.id: r.fields for r in found} == {r.id: r.fields for r in resources}


def test_our_own_files_never_need_dnspython() -> None:
    values = {
        "A": "192.0.2.1",
        "AAAA": "2001:db8::1",
        "CAA": '0 issue "ca.example; account=1"',
        "MX": "10 mx.example.",
        "SRV": "1 2 3 sip.example.",
        "NS": "ns.example.",
    }
    values |= {"CNAME": "a.example.", "PTR": "b.example.", "TXT": dns.quoted(b'v=DKIM1; p="x"\\' * 30)}
    text = master.write(
        ZONE, SOA, [dns.rrset("www", rtype, 300, [value]) for rtype, value in values.items()], ("ours",)
    )
    read = master._read_plain(text, ZONE)
    assert read is not None
    assert {(r.rtype, r.value) for r in read.records} == set(values.items())


# -- the fast reader --------------------------------------------------------------------------------------------


def agree(text: str, zone: str = ZONE) -> Master | None:
    """What the fast reader makes of a file, if anything: then exactly what dnspython makes of it."""
    plain = master._read_plain(text, zone)
    if plain is not None:
        assert plain == any_master.read(text, zone)
    return plain


LINES = [
    "www 300 IN A 192.0.2.1",
    "@ 300 IN MX 10 mail",
    "@ 300 IN NS ns1.acme.example.",
    '@ 300 IN TXT "v=spf1 -all"',
    '@ 300 IN TXT "a" "b"',
    r'@ 300 IN TXT "a\"b\\c\200;"',
    "*.www 0 IN CNAME www",
    "_sip._tcp 300 IN SRV 1 2 3 sip.acme.example.",
    "a.b.acme.example. 300 IN AAAA 2001:DB8:0::1",
    "x 300 IN DNAME y.example.",
    '@ 300 IN CAA 0 issue "ca.example; account=1"',
    "@ 300 IN CAA 128 IODEF mailto:x",
    "#a=b 300 IN A 192.0.2.2",
    HEAD.rstrip(),
    "$ORIGIN acme.example.",
    "$TTL 300",
    "; a comment",
    "",
]
# What hands do to such lines.
TWISTS = [
    lambda line: line.replace(" ", "\t", 1),
    lambda line: line.replace(" ", "  ", 2),
    lambda line: line + " ",
    lambda line: line + "\t; a comment",
    lambda line: line + ";x",
    lambda line: line + " # x",
    lambda line: line + "\r",
    lambda line: line + "\n",
    lambda line: " " + line,
    lambda line: "\t" + line.partition(" ")[2],
    lambda line: line.upper(),
    lambda line: line.lower(),
    lambda line: line.replace(" 300 IN", " IN 300"),
    lambda line: line.replace(" 300", ""),
    lambda line: line.replace(" IN", ""),
    lambda line: line.replace(" IN", " CH"),
    lambda line: line.replace(" IN", " CLASS1"),
    lambda line: line.replace("300", "5m"),
    lambda line: line.replace("300", "0300"),
    lambda line: line.replace("300", "4294967295"),
    lambda line: line.replace("300", "99999999999"),
    lambda line: line.replace("acme.example.", "acme.example"),
    lambda line: line.replace("acme", "ACME"),
    lambda line: line.replace("acme", "other"),
    lambda line: line.replace("www", "@"),
    lambda line: line.replace("www", "w" * 64),
    lambda line: line.replace("www", ".".join(["w" * 60] * 4)),
    lambda line: line.replace("www", "-"),
    lambda line: line.replace("www", "w..w"),
    lambda line: line.replace("www", r"w\.w"),
    lambda line: line.replace("www", "wé"),
    lambda line: line.replace("www", "w+w"),
    lambda line: line.replace("www", "w'w,w"),
    lambda line: line.replace("www", "w\x00w"),
    lambda line: line.replace("www", "#w"),
    lambda line: line.replace("www", "w@w"),
    lambda line: line.replace("www", "a.b.other.example."),
    lambda line: line.replace("issue", "ISSUE"),
    lambda line: line.replace("issue", "is-sue"),
    lambda line: line.replace("issue", "i" * 16),
    lambda line: line.replace("CAA 0", "CAA 00"),
    lambda line: line.replace("CAA 0", "CAA 256"),
    lambda line: line.replace('"ca.example', '"ca\\032.example'),
    lambda line: line.replace('account=1"', 'account=1" z'),
    lambda line: line.replace('account=1"', "account=1"),
    lambda line: line.replace("mail", "@"),
    lambda line: line.replace("mail", "a b"),
    lambda line: line.replace("mail", "(mail)"),
    lambda line: line.replace("mail", '"mail"'),
    lambda line: line.replace("mail", "mail\u00a0x"),
    lambda line: line.replace("10", "65536"),
    lambda line: line.replace("10", "010"),
    lambda line: line.replace("192.0.2.1", "192.0.2.01"),
    lambda line: line.replace("192.0.2.1", "\u0661.0.2.1"),
    lambda line: line.replace('"a"', '"' + "a" * 256 + '"'),
    lambda line: line.replace('"a"', '"é"'),
    lambda line: line.replace('"a"', '"\t"'),
    lambda line: line.replace('"a"', r'"\999"'),
    lambda line: line.replace('"a"', r'"\1"'),
    lambda line: line.replace('"a" ', '"a"'),
    lambda line: line.replace('"a" ', '"a"  '),
    lambda line: line.replace('"', ""),
    lambda line: line.replace(" 1 7200", " 4294967296 7200"),
    lambda line: line.replace(" 1 7200", " 1 2h"),
    lambda line: line.replace(" 1 7200", " ( 1 7200").replace("3600", "3600 )"),
    lambda line: line.replace("hostmaster", r"host\.master"),
    lambda line: line.replace("hostmaster", "HostMaster"),
    lambda line: line.replace("$TTL 300", "$ttl 300"),
    lambda line: line.replace("$TTL 300", "$TTL 300 ; x"),
    lambda line: line.replace("$TTL 300", "$TTL \u00b2"),
    lambda line: line.replace("$ORIGIN acme.example.", "$ORIGIN sub"),
    lambda line: line.replace("$ORIGIN acme.example.", "$ORIGIN sub.acme.example."),
    lambda line: line.replace("$ORIGIN acme.example.", "$ORIGIN other."),
    lambda line: line.replace("; a comment", "; a\rwww 300 IN A 192.0.2.9"),
    lambda line: line.replace("; a comment", '; (\n; "'),
    lambda line: line + "\n" + line,
    lambda line: line,
]


@pytest.mark.parametrize("number", range(len(TWISTS)))
def test_the_fast_reader_agrees_on_a_twisted_line(number: int) -> None:
    for line in LINES:
        agree(f"$TTL 60\n{HEAD}{TWISTS[number](line)}\nlast 300 IN A 192.0.2.2\n")
        agree(f"$TTL 60\n{TWISTS[number](line)}\nlast 300 IN MX 10 mail\n")


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(LINES), st.lists(st.sampled_from(TWISTS), max_size=1)), max_size=6))
def test_the_fast_reader_agrees_on_any_mix(parts: list[tuple[str, list[object]]]) -> None:
    lines = []
    for line, twists in parts:
        for twist in twists:
            line = twist(line)  # type: ignore[operator]
        lines.append(line)
    agree("\n".join(lines))


TOKENS = st.sampled_from(
    "www @ * a.b www.acme.example. x.other. 300 0 4294967295 IN CH A AAAA CAA NS CNAME MX SRV TXT SOA PTR 192.0.2.1 "
    '::1 10 65535 "x" "a b" "\\"" "\\200" mail. mail . ; ( ) $TTL $ORIGIN \\. - é'.split(" ")
)


@settings(max_examples=600, deadline=None)
@given(st.lists(st.lists(TOKENS, min_size=1, max_size=8).map(" ".join), max_size=5))
def test_the_fast_reader_agrees_on_any_tokens(lines: list[str]) -> None:
    agree("\n".join(lines))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from("www @ *.a www.acme.example. X a+b".split()) | st.text(max_size=3),
    st.sampled_from("A AAAA NS CNAME MX SRV TXT PTR SPF CAA".split()),
    st.text(st.characters(max_codepoint=300), max_size=12) | st.text(' "\\0123456789.:ab@;', max_size=20),
)
def test_the_fast_reader_agrees_on_any_value(owner: str, rtype: str, value: str) -> None:
    agree(f"{owner} 300 IN {rtype} {value}\n")


@pytest.mark.parametrize("line", LINES)
def test_the_fast_reader_takes_what_we_write(line: str) -> None:
    assert agree(f"{line}\nlast 300 IN A 192.0.2.2\n") is not None


# -- any master file --------------------------------------------------------------------------------------------


def test_owner_ttl_and_class_are_inherited() -> None:
    text = "$TTL 1h\nwww 5m IN A 192.0.2.1\n  A 192.0.2.2\n\tIN 60 AAAA ::1\n@ MX 10 @\n$ORIGIN sub\n$TTL 60\nx NS y\n"
    assert rows(text) == [
        ("www.acme.example.", "A", 300, "192.0.2.1", 2),
        ("www.acme.example.", "A", 3600, "192.0.2.2", 3),
        ("www.acme.example.", "AAAA", 60, "::1", 4),
        ("acme.example.", "MX", 3600, "10 acme.example.", 5),
        ("x.sub.acme.example.", "NS", 60, "y.sub.acme.example.", 8),
    ]


@pytest.mark.parametrize(
    ("text", "ttl"),
    [
        ("www A 192.0.2.1\n", 900),
        ("$TTL 60\nwww A 192.0.2.1\n", 60),
        ("@ IN SOA a. b. 1 2 3 4 77\nwww A 192.0.2.1\n", 77),
        ("x 5 A 192.0.2.1\nwww A 192.0.2.1\n", 5),
        ("www 7 A 192.0.2.1\n", 7),
    ],
)
def test_a_record_without_ttl_has_that_of_the_file_or_the_zone(text: str, ttl: int) -> None:
    read = master.read(text, ZONE, 900)
    assert (read.problems, read.records[-1].ttl) == ([], ttl)


def test_without_any_ttl_there_is_a_problem() -> None:
    assert said("www A 192.0.2.1\n") == [(1, "the record has no TTL (write one, or $TTL above it)")]


def test_parentheses_quotes_comments_and_idna() -> None:
    text = (
        "@ 300 IN SOA ns1 host.master ( ; start\n 1 ; serial\n 2h 1h\n 2w 1h )\n"
        '@ 300 TXT ( "v=spf1 " ; first\n\n   "-all" )\n'
        "WWW.Acme.Example. 300 A 192.0.2.1 ; last\n"
        "münchen 300 MX 10 straße.example.\n"
        "x 300 CNAME y\\.z\n"
    )
    read = master.read(text, ZONE)
    assert read.problems == []
    assert read.soa == Soa("ns1.acme.example.", "host.master.acme.example.", 1, 7200, 3600, 1209600, 3600, 300)
    assert [(r.owner, r.value, r.line) for r in read.records] == [
        ("acme.example.", '"v=spf1 -all"', 5),
        ("www.acme.example.", "192.0.2.1", 8),
        ("xn--mnchen-3ya.acme.example.", "10 xn--strae-oqa.example.", 9),
        ("x.acme.example.", r"y\046z.acme.example.", 10),
    ]


def test_every_wrong_line_is_told_and_the_others_are_read() -> None:
    text = (
        "$TTL 300\n"
        "a A 192.0.2\n"
        "b A 192.0.2.1\n"
        "c A\n"
        "d\n"
        "e FOO x\n"
        "f A 192.0.2.1 junk\n"
        'g TXT "x\n'
        "h MX 10 ( a\n  b )\n"
        "i 4294967295 A 192.0.2.1\n"
        "$TTL soon\n"
        "j CH A 192.0.2.1\n"
        "k..l A 192.0.2.1\n"
        "m A 192.0.2.1\n"
    )
    assert [line for line, _ in said(text)] == [2, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14]
    assert [r.owner[0] for r in master.read(text, ZONE).records] == ["b", "m"]


def test_what_is_opened_and_never_closed_ends_the_file() -> None:
    assert said("a 300 A 192.0.2.1\nb 300 TXT ( x\nc 300 A nope\n") == [(2, "a quote or a parenthesis is not closed")]
    assert said('a 300 A 192.0.2.1\nb 300 TXT "x') == [(2, "a quote or a parenthesis is not closed")]


def test_a_file_that_is_something_else_is_given_up() -> None:
    found = said("this is no zone file\n" * 1000)
    assert len(found) == any_master.MAX_WRONG + 1
    assert found[-1] == (any_master.MAX_WRONG, "too much is wrong (the rest was not read)")


@pytest.mark.parametrize("directive", ["$INCLUDE /etc/passwd", "$include x", "$UNICODE 2003", "$FOO", "$"])
def test_other_directives_are_refused(directive: str) -> None:
    name = directive.split()[0]
    expected = [(2, f"{name!r} is not followed (write its records into this file)")]
    assert said(f"a 300 A 192.0.2.1\n{directive}\nb 300 A 192.0.2.1\n") == expected


# -- $GENERATE --------------------------------------------------------------------------------------------------


def test_generate() -> None:
    text = "$TTL 300\n$GENERATE 1-3 h${0,3,d} A 192.0.2.$\n$GENERATE 4-8/2 $ CNAME h${10}\n"
    assert [(r.owner, r.value, r.line) for r in master.read(text, ZONE).records] == [
        ("h001.acme.example.", "192.0.2.1", 2),
        ("h002.acme.example.", "192.0.2.2", 2),
        ("h003.acme.example.", "192.0.2.3", 2),
        ("4.acme.example.", "h14.acme.example.", 3),
        ("6.acme.example.", "h16.acme.example.", 3),
        ("8.acme.example.", "h18.acme.example.", 3),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "$GENERATE 1-100000000 h$ A 192.0.2.1",
        "$GENERATE 0-99999999999999999999 h$ A 192.0.2.1",
        "$GENERATE 1-1" + "0" * 5000 + " h$ A 192.0.2.1",
        "$GENERATE 1-2 h${0,999999999,d} A 192.0.2.1",
        "$GENERATE 1-2 h$ TXT ${0,999999999,d}",
        "\n".join(["$GENERATE 1-65536 h$ A nope"] * 1000),
    ],
)
def test_a_short_line_cannot_fill_the_memory(line: str) -> None:
    tracemalloc.start()
    began = time.monotonic()
    wrong = said(f"$TTL 300\n{line}\nwww A nope\n")
    spent, (_, peak) = time.monotonic() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert wrong[0][0] == 2
    assert spent < 2
    assert peak < 8_000_000


@pytest.mark.parametrize("text", ["x", "1", "-1", "5-1", "1-5/0", "1-5/x", "a-b", "1-", ""])
def test_a_range_that_is_none(text: str) -> None:
    assert said(f"$TTL 300\n$GENERATE {text} h$ A 192.0.2.1\nwww A 192.0.2.1\n")[0][0] == 2


# -- together ---------------------------------------------------------------------------------------------------


def test_two_ttls_of_one_rrset_and_records_outside() -> None:
    text = "www 300 A 192.0.2.1\nwww 60 A 192.0.2.2\nx.other. 300 A 192.0.2.1\nother. 300 A 192.0.2.1\n"
    resources, wrong = master.rrsets(master.read(text, ZONE).records, ZONE, "f")
    assert [(r.id.name, dns.ttl_of(r), dns.values_of(r), r.source) for r in resources] == [
        ("www A", 300, ["192.0.2.1", "192.0.2.2"], "f:1")
    ]
    assert wrong == [
        (2, "www A has TTL 60, and 300 on line 1 (one RRset has one TTL)"),
        (3, "'x.other.' is outside the zone acme.example"),
        (4, "'other.' is outside the zone acme.example"),
    ]


def test_a_file_that_is_wholly_outside_is_one_problem() -> None:
    _, wrong = master.rrsets(master.read("a.b. 300 A 192.0.2.1\nc.b. 300 A 192.0.2.1\n", ZONE).records, ZONE, "f")
    assert [line for line, _ in wrong] == [1]
    assert "like all 2 records here" in wrong[0][1]


def test_records_that_servers_make_are_counted_apart() -> None:
    read = master.read("@ 300 DNSKEY 256 3 8 AwEAAQ==\n@ 300 NSEC a A NS\nb 300 NSEC a A NS\n", ZONE)
    assert (read.records, read.made, read.problems) == ([], {"DNSKEY": [1], "NSEC": [2, 3]}, [])


def test_soa_of_another_zone_and_a_second_one() -> None:
    read = master.read("@ 300 SOA a. b. 1 2 3 4 5\n@ 300 SOA a. b. 1 2 3 4 5\nx 300 SOA a. b. 1 2 3 4 5\n", ZONE)
    assert read.foreign
    assert [line for line, _ in read.problems] == [2, 3]


def test_a_record_that_stands_twice() -> None:
    read = master.read("a 300 A 192.0.2.1\nA.acme.example. 300 A 192.0.2.1\n", ZONE)
    assert master.doubled(read.records) == [(2, "this record stands on line 1 already")]
