"""Services: what names stand for, and which covers which."""

from __future__ import annotations

import pytest

from mspctl.kinds import services


@pytest.mark.parametrize(
    ("typed", "means"),
    [
        ("https", ("tcp/443",)),
        ("dns", ("tcp/53", "udp/53")),
        ("tcp/8000-8000", ("tcp/8000",)),
        ("udp/5000-5100", ("udp/5000-5100",)),
        ("icmp", ("icmp/any", "icmpv6/any")),
        ("icmpv6/packet-too-big", ("icmpv6/packet-too-big",)),
        ("esp", ("esp",)),
        ("any", ("any",)),
    ],
)
def test_one_form(typed: str, means: tuple[str, ...]) -> None:
    assert services.fold(typed) == means
    assert all(services.fold(each) == (each,) for each in means)


@pytest.mark.parametrize(
    "typed",
    ["", "htps", "tcp", "tcp/", "tcp/0", "tcp/65536", "tcp/9-1", "icmp/8", "icmp/packet-too-big", "tcp/٤", "TCP/1"],
)
def test_what_is_none(typed: str) -> None:
    with pytest.raises(ValueError, match=r"is no service \(write https"):
        services.fold(typed)


def test_every_well_known_service_is_in_normal_form() -> None:
    for means in services.WELL_KNOWN.values():
        assert services.joined(means) == {*means}


def test_ports_that_touch_are_joined() -> None:
    said = ["tcp/80", "tcp/81", "tcp/83-90", "tcp/82", "udp/80", "icmp/echo-request", "icmp/any"]
    assert services.joined(said) == {"tcp/80-90", "udp/80", "icmp/any"}
    assert services.joined([*said, "any"]) == services.ANY


@pytest.mark.parametrize(
    ("some", "others", "covers", "meet"),
    [
        (["any"], ["tcp/1", "esp"], True, True),
        (["tcp/1"], ["any"], False, True),
        (["tcp/80-90"], ["tcp/85"], True, True),
        (["tcp/80-90"], ["tcp/85-95"], False, True),
        (["tcp/80-90"], ["udp/85"], False, False),
        (["icmp/any"], ["icmp/echo-request"], True, True),
        (["icmp/echo-request"], ["icmp/any"], False, True),
        (["icmp/any"], ["icmpv6/any"], False, False),
        (["esp"], ["esp"], True, True),
        ([], ["tcp/1"], False, False),
    ],
)
def test_covering_and_meeting(some: list[str], others: list[str], covers: bool, meet: bool) -> None:
    assert services.covers(frozenset(some), frozenset(others)) is covers
    assert services.meet(frozenset(some), frozenset(others)) is meet


def test_people_read_names() -> None:
    assert services.spoken(frozenset({"tcp/53", "udp/53", "tcp/443", "tcp/8443"})) == "dns, https, tcp/8443"
