"""Network namespaces of our own: hosts on this machine, and what is started in them. Needs root."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.servers import require


def needs_root() -> None:
    if os.geteuid() == 0:
        return
    text = "network namespaces need root"
    if os.environ.get("MSPCTL_REQUIRE_SERVERS") == "1":
        pytest.fail(text)
    pytest.skip(text)


def inside(name: str) -> list[str]:
    """What stands before a command that is run in a namespace. (`ip netns exec` would mount /sys anew.)"""
    return [require("nsenter"), f"--net=/run/netns/{name}"]


def run(*words: str, given: str | None = None) -> str:
    done = subprocess.run(words, input=given, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


@contextmanager
def made(*roles: str) -> Iterator[dict[str, str]]:
    """A namespace for each role, with names that nobody else has; gone afterwards."""
    needs_root()
    ip, mark = require("ip"), secrets.token_hex(3)
    names = {role: f"msp{mark}-{role}" for role in roles}
    try:
        for name in names.values():
            run(ip, "netns", "add", name)
            run(ip, "-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names.values():
            subprocess.run([ip, "netns", "del", name], capture_output=True, timeout=30, check=False)


def cable(one: tuple[str, str, Sequence[str]], other: tuple[str, str, Sequence[str]]) -> None:
    """Two interfaces that are joined: (namespace, name, addresses) each."""
    ip = require("ip")
    run(ip, "link", "add", one[1], "netns", one[0], "type", "veth", "peer", "name", other[1], "netns", other[0])
    for namespace, interface, addresses in (one, other):
        for address in addresses:
            more = ["nodad"] if ":" in address else []
            run(ip, "-n", namespace, "addr", "add", address, "dev", interface, *more)
        run(ip, "-n", namespace, "link", "set", interface, "up")
