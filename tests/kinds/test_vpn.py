"""What widens who may send something through a VPN."""

from __future__ import annotations

from mspctl import kinds
from mspctl.kinds import firewall, vpn
from mspctl.resource import Id, Resource


def site(*networks: str, key: str = "a") -> Resource:
    return Resource(Id(vpn.SITE, "deposito"), firewall.fields(key=key, networks=frozenset(networks)))


def test_a_peer_that_gains_everything_widens() -> None:
    some, every = site("10.40.0.0/24"), site("0.0.0.0/0")
    assert "any address" in kinds.widens(None, every, [], [])
    assert "any address" in kinds.widens(some, every, [], [])
    assert "any address" in kinds.widens(every, site("0.0.0.0/0", "::/0"), [], [])
    assert "any address" in kinds.widens(every, site("0.0.0.0/0", key="b"), [], [])
    halves = site("0.0.0.0/1", "128.0.0.0/1")  # programs may write it so
    assert "any address" in kinds.widens(some, halves, [], [])
    assert "any address" in kinds.widens(some, site("0.0.0.0-223.255.255.255"), [], [])
    assert "any address" in kinds.widens(every, site("0.0.0.0/0", "::/1", "8000::/1"), [], [])
    assert kinds.widens(every, halves, [], []) == ""
    assert kinds.widens(None, site("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8"), [], []) == ""
    for before, after in ((None, some), (every, every), (every, some), (every, None)):
        assert kinds.widens(before, after, [], []) == ""
