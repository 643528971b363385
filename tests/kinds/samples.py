"""Values of every record type as a person might write them, for properties that hold for all of them."""

from __future__ import annotations

import ipaddress

from hypothesis import strategies as st

from mspctl.kinds import dns

ESCAPES = [r"\.", r"\\", r"\"", r"\;", r"\$", r"\@", r"\032", r"\200", r"\065", r"\046"]
LETTERS = st.sampled_from("abcXYZ019_-*/+=,'!#") | st.sampled_from(ESCAPES)
LABELS = st.lists(LETTERS, min_size=1, max_size=8).map("".join) | st.sampled_from(["www", "_dmarc", "a" * 63])
# Escapes and letters beyond ASCII are never mixed in one name: dnspython takes \200 for a letter then.
IDN = st.sampled_from(["www", "xn--mnchen-3ya", "MÜNCHEN", "straße", "例え"])
RELATIVE = st.lists(LABELS, min_size=1, max_size=3) | st.lists(IDN, min_size=1, max_size=3)
NAMES = RELATIVE.map(lambda labels: ".".join(labels) + ".") | st.just(".")
OWNERS = RELATIVE.map(".".join) | st.sampled_from(["*", "a.*.b"])

BYTE = st.integers(0, 255)
WORD = st.integers(0, 65535)
PRINTABLE = st.characters(min_codepoint=32, max_codepoint=126)
TEXTS = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp"]), max_size=40)


def _hex(octets: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=octets, max_size=octets).map(bytes.hex)


def _any_hex(most: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=1, max_size=most).map(bytes.hex)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _join(*parts: st.SearchStrategy[object]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(lambda found: " ".join(map(str, found)))


STRINGS = st.text(PRINTABLE, max_size=20).map(_quoted)
DIGESTS = st.sampled_from([(1, 20), (2, 32), (4, 48)])
GENERIC = st.binary(max_size=40).map(lambda octets: f"\\# {len(octets)} {octets.hex()}".rstrip())
PARAMS = st.lists(
    st.sampled_from(
        ["alpn=h2,h3", "port=443", "ipv4hint=192.0.2.1", "key65280=x", "no-default-alpn alpn=h2", 'alpn="h2"']
    ),
    max_size=1,
).map("".join)
SVCB = _join(st.integers(1, 65535), NAMES, PARAMS) | NAMES.map(lambda name: f"0 {name}")
DEGREES = _join(st.integers(0, 89), st.integers(0, 59), st.decimals(0, 59, places=3))
METRES = st.decimals(0, 90000, places=2).map(lambda metres: f"{metres}m")

VALUES: dict[str, st.SearchStrategy[str]] = {
    "A": st.ip_addresses(v=4).map(str),
    "AAAA": st.ip_addresses(v=6).map(str)
    | st.ip_addresses(v=6).map(lambda a: ipaddress.IPv6Address(a).exploded.upper()),
    "ALIAS": NAMES,
    "CAA": _join(BYTE, st.sampled_from(["issue", "IssueWild", "iodef"]), STRINGS),
    "CNAME": NAMES,
    "DNAME": NAMES,
    "DS": DIGESTS.flatmap(lambda kind: _join(WORD, BYTE, st.just(kind[0]), _hex(kind[1]).map(str.upper))),
    "HINFO": _join(STRINGS, STRINGS),
    "HTTPS": SVCB,
    "LOC": _join(DEGREES, st.sampled_from("NS"), DEGREES, st.sampled_from("EW"), METRES, METRES, METRES, METRES),
    "LUA": _join(st.sampled_from(["A", "aaaa", "TXT"]), st.lists(STRINGS, min_size=1, max_size=3).map(" ".join)),
    "MX": _join(WORD, NAMES),
    "NAPTR": _join(WORD, WORD, STRINGS, STRINGS, STRINGS, NAMES),
    "NS": NAMES,
    "OPENPGPKEY": st.just("AQIDBA=="),
    "PTR": NAMES,
    "RP": _join(NAMES, NAMES),
    "SPF": TEXTS,
    "SRV": _join(WORD, WORD, WORD, NAMES),
    "SSHFP": _join(st.just(4), st.just(1), _hex(20)) | _join(st.just(4), st.just(2), _hex(32)),
    "SVCB": SVCB,
    "TLSA": _join(BYTE, BYTE, st.just(1), _hex(32)) | _join(BYTE, BYTE, st.just(0), _any_hex(80)),
    "TXT": TEXTS | st.binary(max_size=40).map(lambda octets: dns.as_typed("TXT", dns.quoted(octets))),
    "TYPE65280": GENERIC,
    "URI": _join(WORD, WORD, st.text(PRINTABLE, min_size=1, max_size=20).map(_quoted)),
}
TEXT_TYPES = frozenset({"TXT", "SPF"})


def absolute(name: str) -> str:
    raise AssertionError(f"{name} was typed with its dot")


@st.composite
def folded(draw: st.DrawFn, pseudo: bool = False) -> tuple[str, str]:
    """A type and a value in normal form."""
    rtype = draw(st.sampled_from([t for t in sorted(VALUES) if pseudo or t not in dns.PSEUDO]))
    typed = draw(VALUES[rtype])
    if rtype in TEXT_TYPES and not typed.startswith("\\#"):
        return rtype, dns.quoted(typed.encode())
    return rtype, dns.fold_value(rtype, typed, absolute)
