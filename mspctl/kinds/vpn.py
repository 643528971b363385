"""
A WireGuard tunnel that a firewall has, as kinds of resources in that device's scope (`firewall.FACET`).

* `vpn.tunnel` "wg0", an interface: the UDP `port` it listens on, its own `addresses` there ("10.90.0.1/24"), and which
  secret its private `key` is ("SEDE_WG rev 1"), never what it is. `amiss`: sentences why it is not there after the
  device's next start; Git always says that there are none.
* `vpn.user` "luca" and `vpn.site` "deposito", who may send something through it: the public `key` they have, and from
  which `networks` (`addresses.py`). Of a site also `endpoint` ("vpn.example.com:51820"; "": it calls us), `keepalive`
  (seconds; 0: none) and which secret is `preshared` ("" for none).

What they reach is said by the rules of the firewall, for the tunnel's interface is one of a zone.

Measured of a peer (`HANDSHAKE`): when it was heard of last; None: never since the interface is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from ipaddress import ip_interface

from mspctl.kinds import addresses, fold_secret, shown
from mspctl.kinds.firewall import text, texts
from mspctl.resource import Id, Resource, Value

TUNNEL, USER, SITE = "vpn.tunnel", "vpn.user", "vpn.site"
PEERS = (USER, SITE)
KINDS = (TUNNEL, *PEERS)
HANDSHAKE = "handshake"
WORLD = frozenset({"0.0.0.0/0", "::/0"})

_PEER: Mapping[str, type] = {
    "key": str,
    "networks": frozenset,
    "endpoint": str,
    "keepalive": int,
    "preshared": str,
}
FIELDS: Mapping[str, Mapping[str, type]] = {
    TUNNEL: {"port": int, "addresses": frozenset, "key": str, "amiss?": frozenset},
    USER: _PEER,
    SITE: _PEER,
}

_KEY = re.compile(r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")  # 32 octets in base64
_ENDPOINT = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):\d{1,5}", re.ASCII)


def is_key(text_: str) -> bool:
    return bool(_KEY.fullmatch(text_))


def fold_key(text_: str) -> str:
    """A public key. Raises ValueError, which does not repeat the text: it may be a private one."""
    if not is_key(text_):
        raise ValueError("is not a public key of WireGuard (44 characters, as wg pubkey prints it)")
    return text_


def fold_endpoint(text_: str) -> str:
    """Raises ValueError."""
    if not _ENDPOINT.fullmatch(text_) or not 0 < int(text_.rpartition(":")[2]) < 65536:
        raise ValueError(f"{shown(text_)} is not where to call (write vpn.example.com:51820)")
    return text_.lower()


def opens(before: Resource | None, after: Resource | None, was: Sequence[Resource], will: Sequence[Resource]) -> bool:
    """Whether somebody else may send something, or from elsewhere."""
    if after is None or after.id.kind not in PEERS:
        return False
    if before is None:
        return True
    return text(before, "key") != text(after, "key") or not addresses.covers(
        texts(before, "networks"), texts(after, "networks")
    )


def widens(
    before: Resource | None,
    after: Resource | None,
    was: Sequence[Resource],
    will: Sequence[Resource],
    now: datetime | None = None,
) -> str:
    """Why a peer may send from anywhere, and could not; "" where it does not."""
    if after is None or after.id.kind not in PEERS:
        return ""
    had = texts(before, "networks") if before and text(before, "key") == text(after, "key") else frozenset[str]()
    gains = [each for each in everything(texts(after, "networks")) if not addresses.covers(had, each)]
    return "everything is behind it: it may send from any address" if gains else ""


def everything(networks: Iterable[str]) -> list[frozenset[str]]:
    """Of each family the networks that are everything or nearly so, in halves, too: there others go first."""
    found = addresses.joined(networks)
    return [each for version in (4, 6) if addresses.is_everybody(each := addresses.of_family(found, version))]


def of_its_own(networks: Iterable[str]) -> frozenset[str]:
    """What is behind a peer and no other one."""
    return addresses.joined(networks).difference(*everything(networks))


def in_words(resource: Resource) -> str:
    """`VPN user at 10.90.0.10, key cZ68uBAy…`."""
    if resource.id.kind == TUNNEL:
        own = ", ".join(sorted(texts(resource, "addresses")))
        return f"VPN on udp/{resource.fields.get('port', '?')}, with {own or 'no address'} in it"
    found = ", ".join(addresses.in_order(texts(resource, "networks"))) or "nowhere"
    if resource.id.kind == SITE:
        called = text(resource, "endpoint")
        return f"VPN site with {found}, key {text(resource, 'key')[:8]}…{f', called at {called}' if called else ''}"
    return f"VPN user at {found}, key {text(resource, 'key')[:8]}…"


_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,47}")


def normal(id_: Id, field: str, value: Value, scope: str) -> Value | None:
    """As programs may spell it: what is written here becomes part of a device's configuration. Raises ValueError."""
    if field == "networks" and isinstance(value, frozenset):
        return addresses.joined(addresses.fold(each) for each in value)
    if field == "addresses" and isinstance(value, frozenset):
        return frozenset(str(ip_interface(each)) for each in value)
    if field in ("port", "keepalive") and not (isinstance(value, int) and 0 <= value < 65536):
        raise ValueError(f"{shown(value)} is out of range (0 to 65535)")
    return _normal_text(id_, field, value) if isinstance(value, str) else None


def _normal_text(id_: Id, field: str, value: str) -> str:
    if field == "" and not _NAME.fullmatch(value):
        raise ValueError(f"{shown(value)} is not a name (lower-case letters, digits, . _ and -)")
    if field == "key" and id_.kind in PEERS:
        return fold_key(value)
    if field == "key" or (field == "preshared" and value):
        return fold_secret(value)
    return fold_endpoint(value) if field == "endpoint" and value else value
