"""The other end of a WireGuard tunnel: somebody's notebook, or another site, with wireguard-go in a namespace."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers import require
from tests.servers.firewalls import Firewall
from tests.servers.namespaces import run


@dataclass(frozen=True, slots=True)
class Keys:
    private: str
    public: str


def keys() -> Keys:
    private = run(require("wg"), "genkey").strip()
    return Keys(private, run(require("wg"), "pubkey", given=private).strip())


def interface() -> str:
    """A name that no other process uses: wireguard-go's sockets have the interface's name, in no namespace."""
    return f"wg{secrets.token_hex(5)}"


@contextmanager
def calling(
    firewall: Firewall, role: str, own: Keys, there: str, endpoint: str, addresses: Sequence[str], shared: str = ""
) -> Iterator[str]:
    """In the namespace `role`, everything in the tunnel's networks goes to the peer with the key `there`."""
    name = interface()
    networks = ", ".join(each for each in ("10.90.0.0/24", "10.20.0.0/24", "fd00:90::/64"))
    conf = f"[Interface]\nPrivateKey = {own.private}\n[Peer]\nPublicKey = {there}\nEndpoint = {endpoint}\n"
    conf += f"AllowedIPs = {networks}\nPersistentKeepalive = 1\n" + (f"PresharedKey = {shared}\n" if shared else "")
    firewall.on(role, require("wireguard-go"), name)
    try:
        firewall.on(role, "wg", "setconf", name, "/dev/stdin", given=conf)
        for address in addresses:
            firewall.on(role, "ip", "addr", "add", address, "dev", name)
        firewall.on(role, "ip", "link", "set", name, "mtu", "1420", "up")
        firewall.on(role, "ip", "route", "add", "10.20.0.0/24", "dev", name)
        yield name
    finally:
        gone(firewall.names[role], name)


def gone(namespace: str, name: str) -> None:
    """The interface goes, and with it the program that served it."""
    words = ["ip", "-n", namespace, "link", "del", name]
    subprocess.run(words, capture_output=True, timeout=30, check=False)
    Path(f"/var/run/wireguard/{name}.sock").unlink(missing_ok=True)
