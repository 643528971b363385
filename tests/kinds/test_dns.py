"""Two spellings of one thing are equal: names, values and types have one normal form, and come back to it."""

from __future__ import annotations

import re
import unicodedata

import dns.name
import dns.rdata
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mspctl.kinds import dns as kind
from mspctl.kinds import shown
from tests.kinds import samples
from tests.kinds.samples import TEXT_TYPES, VALUES, absolute


@pytest.mark.parametrize("rtype", sorted(VALUES))
def test_a_value_as_typed_comes_back_to_its_normal_form(rtype: str) -> None:
    @settings(max_examples=60, deadline=None)
    @given(VALUES[rtype])
    def holds(typed: str) -> None:
        assume(not (rtype in TEXT_TYPES and _means_something_else(typed)))
        value = kind.fold_value(rtype, typed, absolute)
        assert kind.fold_value(rtype, kind.as_typed(rtype, value), absolute) == value
        if rtype not in TEXT_TYPES:
            assert kind.fold_value(rtype, value, absolute) == value

    holds()


def _means_something_else(text: str) -> bool:
    """Quotes around a text are refused, and what starts like the generic form is that."""
    return (len(text) > 1 and text[0] == text[-1] == '"') or (text.startswith("\\#") and "\\# " not in text)


@settings(max_examples=400, deadline=None)
@given(samples.folded())
def test_dnspython_gives_back_the_same_normal_form(sample: tuple[str, str]) -> None:
    rtype, value = sample
    rdata = kind.to_rdata(rtype, value)
    assert kind.from_rdata(rdata) == value
    wire = rdata.to_wire()
    assert wire is not None
    assert kind.from_rdata(dns.rdata.from_wire("IN", rtype, wire, 0, len(wire))) == value


# -- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "folded"),
    [
        ("WWW", "www"),
        ("_dmarc", "_dmarc"),
        ("*", "*"),
        ("0123", "0123"),
        ("-x", "-x"),
        ("0/25.2.0.192.in-addr.arpa", "0/25.2.0.192.in-addr.arpa"),
        ("münchen", "xn--mnchen-3ya"),
        ("mu\u0308nchen", "xn--mnchen-3ya"),
        ("MÜNCHEN", "xn--mnchen-3ya"),
        ("XN--MNCHEN-3YA", "xn--mnchen-3ya"),
        ("straße.example.", "xn--strae-oqa.example."),
        ("www。例え。テスト", "www.xn--r8jz45g.xn--zckzah"),
        ("\uff57\uff57\uff57", "www"),
        ("\u212aelvin", "kelvin"),
        (r"a\.b", r"a\046b"),
        (r"a\046b.", r"a\046b."),
        (r"a\.", r"a\046"),
        (r"a\\.b", r"a\\.b"),
        (r"\065", "a"),
        (r"\032\200", r"\032\200"),
        ("a;b", r"a\;b"),
        ("$x", r"\$x"),
        (r"\@", r"\@"),
        (".", "."),
        ("a" * 63, "a" * 63),
    ],
)
def test_names_have_one_normal_form(typed: str, folded: str) -> None:
    assert kind.fold(typed) == folded
    assert kind.fold(folded) == folded


@pytest.mark.parametrize(
    "typed",
    ["", " ", "a b", "a\u00a0b", "a\tb", "a\n", "..", "a..b", ".a", "a" * 64, "\\", r"\1", r"\256", "☃", "a\u200db"],
)
def test_what_is_no_name(typed: str) -> None:
    with pytest.raises(ValueError, match="is not a domain name"):
        kind.fold(typed)


@pytest.mark.parametrize("label", ["a" * 63, "ü" * 50])
def test_a_name_is_too_long(label: str) -> None:
    with pytest.raises(ValueError, match="is not a domain name"):
        kind.fold(".".join([label] * 5))


def test_at_is_no_name() -> None:
    with pytest.raises(kind.DotlessError, match="stands for the zone in zone files only"):
        kind.fold("@")


@settings(max_examples=300, deadline=None)
@given(samples.OWNERS)
def test_case_and_spelling_do_not_matter(typed: str) -> None:
    folded = kind.fold(typed)
    assert kind.fold(folded) == folded
    assert folded.isascii()
    assert folded == folded.lower()
    if "ß" not in typed:  # its capital is another letter
        assert kind.fold(typed.upper()) == folded
    assert kind.fold(unicodedata.normalize("NFD", typed)) == folded


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=20))
def test_any_text_is_a_name_or_a_plain_refusal(typed: str) -> None:
    for fold in (kind.fold, kind.fold_zone, lambda text: kind.fold_owner(text, "acme.example")):
        try:
            folded = fold(typed)
        except ValueError as error:
            said = str(error)
        else:
            assert fold(folded) == folded
            said = ""
        assert said.isprintable()


@pytest.mark.parametrize(
    "typed", ["acme.example", "ACME.example.", "xn--mnchen-3ya.de", "2.0.192.in-addr.arpa", "x_y", "a"]
)
def test_zones(typed: str) -> None:
    assert kind.fold_zone(typed) == typed.lower().removesuffix(".")


@pytest.mark.parametrize(
    "typed",
    [
        "",
        ".",
        "..",
        "@",
        "*",
        "*.acme.example",
        "-rf",
        "-x.example",
        "a/",
        "/etc",
        "../x",
        "a/../b",
        "a%2fb",
        "a b",
        "a;b",
        r"a\.b",
        r"a\.",
        "$x",
        "a..",
        "x-.example",
        "a'b",
        "a(b)",
        "<<",
    ],
)
def test_what_cannot_name_a_zone(typed: str) -> None:
    with pytest.raises(ValueError, match=r"is not|stands for"):
        kind.fold_zone(typed)


@pytest.mark.parametrize(
    ("typed", "owner"),
    [
        ("www", "www"),
        ("acme.example.", "@"),
        ("WWW.Acme.Example.", "www"),
        ("*", "*"),
        ("acme.example", "acme.example"),
    ],
)
def test_owners_are_relative(typed: str, owner: str) -> None:
    assert kind.fold_owner(typed, "acme.example") == owner
    assert kind.fold_owner(kind.absolute(owner, "acme.example"), "acme.example") == owner


@pytest.mark.parametrize("typed", ["www.other.example.", "example.", ".", "xacme.example.", r"x\.acme.example."])
def test_owners_outside(typed: str) -> None:
    with pytest.raises(ValueError, match=r"is outside the zone acme\.example"):
        kind.fold_owner(typed, "acme.example")


def test_a_name_has_at_most_255_octets() -> None:
    zone = ".".join(["z" * 63] * 3)  # 191 characters
    longest = "a" * 61
    name = kind.absolute(kind.fold_owner(longest, zone), zone)
    assert len(dns.name.from_text(name).to_wire() or b"") == 255
    with pytest.raises(ValueError, match="longer than 255 octets"):
        kind.fold_owner(longest + "b", zone)
    assert kind.fold_owner(r"\200" * 61, zone) == r"\200" * 61
    with pytest.raises(ValueError, match="longer than 255 octets"):
        kind.fold_owner(r"\200" * 62, zone)


# -- types and values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "rtype"),
    [("a", "A"), ("TYPE1", "A"), ("type16", "TXT"), ("TYPE65280", "TYPE65280"), ("ALIAS", "ALIAS"), ("HTTPS", "HTTPS")],
)
def test_types(typed: str, rtype: str) -> None:
    assert kind.fold_type(typed) == rtype


@pytest.mark.parametrize(
    "typed", ["", "AX", "TYPE", "TYPE-1", "TYPE65536", "TYPE\u0663", "A\n", "IN", "Route53Provider/ALIAS"]
)
def test_what_is_no_type(typed: str) -> None:
    with pytest.raises(kind.UnknownTypeError, match="is not a record type"):
        kind.fold_type(typed)


@pytest.mark.parametrize("typed", [*sorted(kind.SERVER_MADE), "ANY", "AXFR", "OPT", "TSIG", "TYPE6", "TYPE255", "NONE"])
def test_types_that_nobody_declares(typed: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be declared|not a type that a zone can hold"):
        kind.fold_type(typed)


@pytest.mark.parametrize(("rtype", "example"), sorted(kind._EXAMPLES.items()))
def test_the_examples_in_messages_are_right(rtype: str, example: str) -> None:
    assert kind.fold_value(rtype, example, absolute)


EQUAL = [
    ("A", ["192.0.2.1", r"\# 4 c0000201"]),
    ("AAAA", ["2001:db8::1", "2001:DB8:0:0::1", r"\# 16 20010db8000000000000000000000001"]),
    ("CNAME", ["web.example.", "WEB.Example.", r"\# 13 03776562074578616d706c6500"]),
    ("MX", ["10 mail.example.", "010  MAIL.example."]),
    ("SRV", ["1 2 3 sip.example.", "01 02 03 SIP.example."]),
    ("CAA", ['0 issue "ca.example"', "0 ISSUE ca.example", '0  Issue  "ca.example"']),
    ("CAA", [r'0 issue "a\"b"', r'0 ISSUE "a\034b"']),
    ("TXT", ["v=spf1 -all", r"\# 12 0b763d73706631202d616c6c", r"\# 13 07763d7370663120042d616c6c"]),
    ("DS", [f"1 13 2 {'AB' * 32}", f"1 13 2 {'ab' * 16} {'ab' * 16}"]),
    ("LOC", ["45 24 0 N 11 52 0 E 12m", "45 24 0.000 N 11 52 0.000 E 12.00m 1m 10000m 10m", "45 24 N 11 52 E 12"]),
    ("HTTPS", ['1 . alpn="h2" port="443"', "1 . port=443 alpn=h2"]),
    ("NAPTR", ['1 2 "S" "SIP+D2U" "" _sip.example.', '1 2 S SIP+D2U "" _SIP.example.']),
    ("URI", ['1 2 "https://x/"', "1  2 https://x/"]),
    (
        "HIP",
        [
            "2 200100107B1A74DF365639CC39F1D578 AwEAAQ== RVS.example.",
            "2 200100107b1a74df365639cc39f1d578 AwEAAQ== rvs.example.",
        ],
    ),
]


@pytest.mark.parametrize(("rtype", "spellings"), EQUAL)
def test_spellings_of_one_value_are_equal(rtype: str, spellings: list[str]) -> None:
    assert len({kind.fold_value(rtype, typed, absolute) for typed in spellings}) == 1


@pytest.mark.parametrize(
    ("rtype", "typed"),
    [
        ("MX", "10 mail"),
        ("CNAME", "web"),
        ("SRV", "1 2 3 sip"),
        ("NAPTR", '1 2 "" "" "" x'),
        ("HTTPS", "1 svc"),
        ("RP", "a. b"),
        ("HIP", "2 200100107B1A74DF365639CC39F1D578 AwEAAQ== rvs"),
        ("MX", "10 @"),
        ("SVCB", "1 @"),
    ],
)
def test_every_name_in_a_value_is_asked_about(rtype: str, typed: str) -> None:
    def ask(name: str) -> str:
        raise kind.DotlessError(name)

    with pytest.raises(kind.DotlessError):
        kind.fold_value(rtype, typed, ask)


def test_code_is_one_string_of_a_type_however_it_is_split() -> None:
    typed = ['a  "ab" "c"', 'A "abc"', r'TYPE1 "\097bc"', 'A "" "abc"']
    assert {kind.fold_value("LUA", text, absolute) for text in typed} == {'A "abc"'}
    long = kind.fold_value("LUA", f'TXT "{"x" * 300}è"', absolute)
    assert kind.master_text("LUA", long) == f'TXT "{"x" * 255}" "{"x" * 45}\\195\\168"'
    assert kind.fold_value("LUA", kind.master_text("LUA", long), absolute) == long


def test_texts_are_split_at_255_octets_and_joined_again() -> None:
    value = kind.quoted(("é" * 300).encode())
    strings = kind.to_rdata("TXT", value).to_text().split('" "')
    assert len(strings) == 3
    assert kind.from_rdata(kind.to_rdata("TXT", value)) == value
    with pytest.raises(ValueError, match="65,000 octets"):
        kind.fold_value("TXT", "x" * 65_001, absolute)


@pytest.mark.parametrize(
    ("rtype", "typed", "said"),
    [
        ("SSHFP", "4 1 x ; y", "what follows “;” would be lost"),
        ("TXT", '"a"', "quotes around a text"),
        ("ALIAS", r"\# 1 00", "ALIAS has no generic form"),
        ("LUA", r"\# 1 00", "LUA has no generic form"),
        ("LUA", "ifportup(443)", "is not a LUA value (write A"),
        ("LUA", 'A "a', "is not a LUA value (write A"),
        ("LUA", r'A "\999"', "is not a LUA value (write A"),
        ("LUA", 'NOSUCH "1"', "'NOSUCH' is not a record type"),
        ("A", "\u0661.0.2.1", "is not an IPv4 address"),
        ("MX", "\u0661 a.", "is not a preference"),
        ("MX", "9" * 5000 + " a.", "is not a preference"),
        ("A", "x" * 500, "… (500 characters) is not an IPv4 address"),
    ],
)
def test_wrong_values_are_told_in_one_short_line(rtype: str, typed: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        kind.fold_value(rtype, typed, absolute)
    assert len(str(caught.value)) < 250


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from([*sorted(VALUES), "HIP", "WKS", "APL", "IPSECKEY", "CERT", "TKEY", "CSYNC"]), st.text(max_size=30)
)
def test_any_value_is_right_or_plainly_wrong(rtype: str, typed: str) -> None:
    try:
        value = kind.fold_value(rtype, typed, lambda name: f"{name}.acme.example.")
    except ValueError as error:
        said = str(error)
    else:
        assert kind.fold_value(rtype, kind.as_typed(rtype, value), absolute) == value
        said = ""
    assert said.isprintable()


def test_shown_values_are_one_line_and_short() -> None:
    assert shown("a\nb") == r"'a\nb'"
    assert len(shown("x" * 10_000)) < 120
