"""SPF: what a record costs a receiver, counted as RFC 7208 counts."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mspctl.kinds import spf
from mspctl.kinds.answers import Answer, Status
from tests.checks.facts import answer

NOTHING = Answer(Status.NOTHING)


def cost(records: Mapping[str, str | list[str]], domain: str = "a.example.") -> spf.Cost:
    """Of a world that has these TXT records, by name without dot, and an address for each name that begins with h."""

    def ask(name: str, rtype: str) -> Answer:
        if rtype == "TXT":
            held = records.get(name.removesuffix("."), [])
            return answer("TXT", *([held] if isinstance(held, str) else held)) if held else NOTHING
        found = {"A": "192.0.2.1", "AAAA": "2001:db8::1", "MX": f"10 {name}"}
        return answer(rtype, found[rtype]) if name.startswith("h") else NOTHING

    return spf.cost(domain, ask)


CHAIN = {f"c{n}.example": f"v=spf1 include:c{n + 1}.example -all" for n in range(60)} | {"c60.example": "v=spf1 -all"}


@pytest.mark.parametrize(
    ("record", "lookups"),
    [
        ("v=spf1 -all", 0),
        ("v=spf1", 0),
        ("V=SPF1 IP4:192.0.2.0/24 IP6:2001:db8::/32 ?all", 0),
        ("v=spf1 a:h.example mx:h.example ptr exists:h.example -all", 4),
        ("v=spf1  a:h.example/24  mx:h.example/24//64  -all ", 2),
        ("v=spf1 +a:h.example ~mx:h.example -exists:h.example ?ptr:h.example", 4),
        ("v=spf1 include:b.example include:b.example -all", 4),  # each time again
        ("v=spf1 redirect=b.example", 2),
        ("v=spf1 -all redirect=b.example", 0),  # behind `all` nothing counts
        ("v=spf1 -all include:b.example", 0),
        ("v=spf1 exp=why.example other=thing -all", 0),
        ("v=spf1 exists:%{i}._spf.%{d} include:%{d2}.example a:h%{l}.example -all", 3),
    ],
)
def test_what_counts(record: str, lookups: int) -> None:
    found = cost({"a.example": record, "b.example": "v=spf1 a:h.example -all"})
    assert (found.lookups, found.problems, found.void, found.unknown) == (lookups, [], [], [])
    assert found.more is ("%" in record)


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ("v=spf1 include:none.example", "none.example, which a.example includes, has no SPF record"),
        ("v=spf1 redirect=none.example", "none.example, which a.example includes, has no SPF record"),
        ("v=spf1 include:two.example", "two.example, which a.example includes, has 2 SPF records"),
        ("v=spf1 include:bad.example", "'foo' is no term of SPF (in the record of bad.example)"),
        ("v=spf1 include:a.example", "it includes itself: a.example → a.example"),
        ("v=spf1 include:b.example", "it includes itself: a.example → b.example → a.example"),
        ("v=spf1 ip4:300.0.0.1", "'ip4:300.0.0.1' is no network"),
        ("v=spf1 ip4:192.0.2.1/33", "is no network"),
        ("v=spf1 ip4:192.0.2.0/255.255.255.0", "is no network"),
        ("v=spf1 ip4:192.0.2.0/", "is no network"),
        ("v=spf1 ip4", "is no network"),
        ("v=spf1 ip6:192.0.2.1", "is no network"),
        ("v=spf1 include", "'include' is no term of SPF"),
        ("v=spf1 include:", "include has no domain name in ''"),
        ("v=spf1 include:a..b", "include: 'a..b.' is not a domain name"),
        ("v=spf1 a:", "'a:' is no term of SPF"),
        ("v=spf1 a/33", "'a/33' is no term of SPF"),
        ("v=spf1 all:x", "'all:x' is no term of SPF"),
        ("v=spf1 exists:%{x}.example", "exists has no domain name in"),
        ("v=spf1 redirect=x.example redirect=y.example", "redirect= stands there twice"),
        ("v=spf1 a\tmx", "is no term of SPF"),
        ("v=spf1 ipv4:192.0.2.1", "'ipv4:192.0.2.1' is no term of SPF"),
        ("v=spf1 -all,", "'-all,' is no term of SPF"),
    ],
)
def test_what_is_an_error_for_receivers(records: str, problem: str) -> None:
    world: dict[str, str | list[str]] = {
        "a.example": records,
        "b.example": "v=spf1 include:a.example",
        "two.example": ["v=spf1 -all", "v=spf1 a"],
        "bad.example": "v=spf1 foo",
    }
    assert any(problem in said for said in cost(world).problems)


def test_void_look_ups_are_named() -> None:
    found = cost({"a.example": "v=spf1 a mx:x.example exists:y.example a:h.example -all"})
    assert found.void == ["a.example", "x.example", "y.example"]


def test_counting_ends() -> None:
    found = cost(CHAIN, "c0.example.")
    assert spf.LOOKUPS < found.lookups <= spf.ENOUGH + 1
    wide = {"a.example": "v=spf1 " + "include:b.example " * 20, "b.example": "v=spf1 " + "include:c.example " * 20}
    assert cost(wide | {"c.example": "v=spf1 " + "a " * 20_000}).lookups <= spf.ENOUGH + 1


def test_what_cannot_be_looked_up_is_neither_void_nor_wrong() -> None:
    failed = Answer(Status.UNKNOWN, why="no answer")
    record = answer("TXT", "v=spf1 include:x.example a:y.example -all")
    found = spf.cost("a.example.", lambda name, rtype: record if name == "a.example." else failed)
    assert (found.lookups, found.void, found.problems) == (2, [], [])
    assert found.unknown == ["x.example TXT: no answer", "y.example A: no answer", "y.example AAAA: no answer"]


WORDS = st.sampled_from(
    "all a mx ptr include:b.example include: exists:%{i}.x a:/24 a//129 ip4:1.2.3.4/99 ip6:::/0 redirect=b.example "
    "exp= = : / %{ %} %{d} - +- include:. a:. mx:".split()
)


@settings(max_examples=400)
@given(st.lists(WORDS | st.text(max_size=12), max_size=8).map(" ".join), st.text(max_size=60))
def test_any_text_can_be_read(terms: str, other: str) -> None:
    for text in (f"v=spf1 {terms}", other):
        record = spf.parse(text)
        assert record.problem.isprintable()
        assert all(term.domain or "%" in term.target or not term.target for term in record.terms if term.target)


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(["a.example", "b.example"]), st.lists(WORDS, max_size=6).map(" ".join)))
def test_any_world_has_a_cost(terms: dict[str, str]) -> None:
    found = cost({name: f"v=spf1 {text}" for name, text in terms.items()})
    assert found.lookups <= spf.ENOUGH + 1
