"""
What a host says of itself → what is kept of it. Pure; facts are those of playbooks/library/mspctl_assets.py.

Sizes are rounded, because a kernel keeps a little more or less for itself from one version to the next. Of packages
those are kept that somebody asked for: what came along with them changes with them. Of what listens, what others can
reach.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mspctl.kinds.assets import MOST, Inspected, Text, line, mac

Facts = Mapping[str, Any]
EPHEMERAL = 32768  # UDP ports from here on are somebody's questions, mostly
# What makers leave in a serial number that they did not fill in.
BLANKS = frozenset(
    "none, not specified, not applicable, n/a, na, default string, unknown, 0, to be filled by o.e.m., o.e.m., "
    "system serial number, system product name, system manufacturer, empty".split(", ")
)


def inspected(facts: Facts) -> Inspected:
    """Raises TypeError, ValueError or KeyError for what makes no sense."""
    installed = [(line(name), line(version), bool(asked)) for name, version, asked in facts.get("packages", ())[:MOST]]
    links = facts.get("links", ())
    machine: dict[str, Text] = {
        "maker": _said(facts, "maker"),
        "model": _said(facts, "model"),
        "serial": _said(facts, "serial"),
        "virtual": _virtual(_said(facts, "virtual")),  # on what kind of machine that is none
        "cpu": _cpu(facts.get("cpu") or {}),
        "memory": _memory(int(facts.get("memory") or 0)),
        "disks": dict(_disks(facts.get("disks", ()))),
        "networks": {line(link["name"]): line(" ".join([link["mac"], *link["addresses"]])) for link in links},
        "os": _said(facts, "os"),
        "kernel": _said(facts, "kernel"),
        "listening": _listening(facts.get("listening", ())[:MOST]),
        "packages": {name: version for name, version, asked in sorted(installed) if asked},
    }
    own = [ipaddress.ip_interface(each) for link in links for each in link["addresses"]]
    met = ((str(ipaddress.ip_address(a)), mac(m)) for a, m in [*facts.get("neighbours", {}).items()][:MOST])
    return Inspected(
        {name: value for name, value in machine.items() if value},
        {name: version for name, version, asked in sorted(installed) if not asked},
        tuple(sorted(str(each.ip) for each in own)),
        tuple(sorted({str(each.network) for each in own})),
        {address: found for address, found in met if found},
    )


def _said(facts: Facts, name: str) -> str:
    text = line(facts.get(name, ""))
    return "" if text.lower().rstrip(".") in {blank.rstrip(".") for blank in BLANKS} else text


def _virtual(text: str) -> str:
    return text if text.isascii() and text.replace("-", "").isalnum() else ""


def _cpu(said: Mapping[str, Any]) -> str:
    return line(f"{int(said['count'])} × {said['model']}") if said else ""


def _memory(kib: int) -> str:
    """Up to the next GiB; of small machines, to the next 128 MiB."""
    mib = -(-kib // 1024)
    if mib > 2048:
        return f"{-(-mib // 1024)} GiB"
    return f"{-(-mib // 128) * 128} MiB" if mib else ""


def _disks(found: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """As their makers count: 480 GB."""
    for row in sorted(found, key=lambda row: str(row["name"])):
        size = f"{round(int(row['size']) / 10**9)} GB"
        yield line(row["name"]), line(" ".join([size, *(str(row[n]) for n in ("model", "serial") if row.get(n))]))


def _listening(found: Iterable[Sequence[Any]]) -> list[str]:
    """ "tcp *:22 sshd", those of all addresses once."""
    kept = set()
    for protocol, address, port, program in found:
        inside = address not in ("*", "") and ipaddress.ip_address(address).is_loopback
        if not inside and not (protocol == "udp" and int(port) >= EPHEMERAL):
            where = "*" if address in ("*", "0.0.0.0", "::") else address  # noqa: S104
            kept.add((line(protocol), int(port), line(f"[{where}]" if ":" in where else where), line(program)))
    return [line(f"{protocol} {where}:{port} {program}") for protocol, port, where, program in sorted(kept)]
