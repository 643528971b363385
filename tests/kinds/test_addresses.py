"""Sets of addresses: one form for what is covered, and the questions that rules ask of them."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mspctl.kinds import addresses

SMALL = st.integers(0, 63).map(lambda n: f"192.0.2.{n}") | st.sampled_from(
    ["192.0.2.0/27", "192.0.2.32/28", "192.0.2.3-192.0.2.17", "2001:db8::1", "2001:db8::/126", "any"]
)
ALL = [*ipaddress.ip_network("192.0.2.0/26"), *ipaddress.ip_network("2001:db8::/125")]


@pytest.mark.parametrize(
    ("typed", "folded"),
    [
        ("10.20.1.60", "10.20.1.60"),
        ("10.20.1.60/32", "10.20.1.60"),
        ("10.20.0.0/22", "10.20.0.0/22"),
        ("10.0.0.1 - 10.0.0.9", "10.0.0.1-10.0.0.9"),
        ("10.0.0.0-10.0.0.255", "10.0.0.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("any", "any"),
        ("Updates.Vendor.example", "updates.vendor.example."),
        ("büro.example", "xn--bro-hoa.example."),
    ],
)
def test_one_form(typed: str, folded: str) -> None:
    assert addresses.fold(typed) == folded
    assert addresses.fold(folded) == folded


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("10.20.1.1/22", r"write 10\.20\.0\.0/22"),
        ("10.20.1", "write 10"),
        ("10.20.1.999", "write 10"),
        ("10.0.0.9-10.0.0.1", "from the lower to the higher"),
        ("10.0.0.1-2001:db8::1", "of one family"),
        ("2001:db8::/129", "2001:db8::/48"),
        ("", "write"),
        ("a b.example", "is not a domain name"),
    ],
)
def test_what_is_none(typed: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        addresses.fold(typed)


@given(st.lists(SMALL, max_size=6), st.lists(SMALL, max_size=6))
def test_sets_answer_as_their_addresses_do(some: list[str], others: list[str]) -> None:
    def held(texts: list[str]) -> set[object]:
        spans = [addresses.span(addresses.fold(t)) for t in texts if t != "any"]
        return {
            a
            for a in ALL
            if "any" in texts or any(s and s.version == a.version and s.low <= int(a) <= s.high for s in spans)
        }

    mine, theirs = (addresses.joined(map(addresses.fold, texts)) for texts in (some, others))
    assert {a for a in ALL if addresses.holds(mine, a)} == held(some)
    assert addresses.joined(mine) == mine
    if "any" not in some:
        assert addresses.covers(mine, theirs) == (held(others) <= held(some) and "any" not in others)
        assert (mine == theirs) == (held(some) == held(others) and "any" not in others)
    if mine and theirs and "any" not in (*some, *others):
        assert addresses.meet(mine, theirs) == bool(held(some) & held(others))


def test_a_name_is_covered_by_itself_and_by_any() -> None:
    name = frozenset({"updates.vendor.example."})
    assert addresses.covers(name, name)
    assert addresses.covers(addresses.ANY, name)
    assert not addresses.covers(frozenset({"0.0.0.0/0"}), name)
    assert not addresses.holds(name, ipaddress.ip_address("192.0.2.1"))
    assert addresses.meet(name, frozenset({"192.0.2.1"}))


def test_nothing_is_never_everything() -> None:
    assert not addresses.holds(frozenset(), ipaddress.ip_address("192.0.2.1"))
    assert not addresses.covers(frozenset(), addresses.ANY)


@pytest.mark.parametrize(
    ("typed", "everybody"),
    [
        ("any", True),
        ("0.0.0.0/0", True),
        ("::/0", True),
        ("0.0.0.0-192.0.2.8 192.0.2.10-255.255.255.255", True),  # all but one
        ("0.0.0.0/1", True),
        ("11.0.0.0/8 13.0.0.0/8", True),
        ("2001::/16", True),
        ("11.0.0.0/8 192.0.2.1", True),
        ("11.0.0.0/8 10.0.0.0/8", False),
        ("10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 fe80::/10", False),
        ("2001:db8::/32 198.51.100.0/24", False),
        ("updates.vendor.example", False),
        ("", False),
    ],
)
def test_who_is_everybody(typed: str, everybody: bool) -> None:
    assert addresses.is_everybody(addresses.joined(map(addresses.fold, typed.split()))) is everybody
