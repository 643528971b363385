#!/usr/bin/python
"""
What runs on a customer's host for `mspctl inventory collect`: says what the host is made of, and whom it met.

Ansible ships this file to each host and starts it there with the host's own Python (3.8 or later). It changes nothing.
Facts are as the host has them; what of them is kept, and how it is spelt, is decided by who asked.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import platform
import re
import socket
import subprocess
import time
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Set

DOCUMENTATION = """
module: mspctl_assets
short_description: Says what a host is made of
description: Hardware, system, packages, what listens, and which neighbours it met. Reads only.
options:
  ask:
    description: Addresses of neighbours to look for, as {"probe": [address]}; mspctl writes it.
    required: true
    type: dict
author: mspctl
"""

Facts = Dict[str, Any]
SECONDS = 60  # for one command
SETTLES = 10  # seconds until the kernel knows whether a neighbour is there
RECENT = 86400  # seconds; the kernel may remember for months who is long gone
PROBES = 512  # neighbours that are looked for at most


def collect(ask: Mapping[str, Any]) -> Facts:
    """What is not known here is left out."""
    links = [*interfaces()]
    met = neighbours(ask.get("probe", ()), links)
    facts = {
        "cpu": cpu(),
        "memory": memory(),
        "disks": disks(),
        "virtual": output("systemd-detect-virt").strip(),
        "os": system(),
        "kernel": platform.release(),
        "packages": packages(),
        "listening": [*listening()],
        "links": links,
        "neighbours": met,
    }
    facts.update({name: first_line(f"/sys/class/dmi/id/{file}") for name, file in DMI.items()})
    return {name: value for name, value in facts.items() if value not in ("", None)}


def output(*words: str) -> str:
    """What a program says; nothing when it is not there, or fails."""
    environment = dict(os.environ, LC_ALL="C")
    try:
        done = subprocess.run(  # noqa: S603
            words, stdin=subprocess.DEVNULL, capture_output=True, env=environment, timeout=SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")


def rows(*words: str) -> List[Any]:
    """What a program says in JSON, as a list."""
    try:
        said = json.loads(output(*words) or "[]")
    except ValueError:
        return []
    return said if isinstance(said, list) else []


def first_line(path: str) -> str:
    with contextlib.suppress(OSError, IndexError), open(path, errors="replace") as file:
        return file.read(4096).splitlines()[0].strip()
    return ""


# -- hardware ---------------------------------------------------------------------------------------------------

DMI = {"maker": "sys_vendor", "model": "product_name", "serial": "product_serial"}


def cpu() -> Facts:
    with open("/proc/cpuinfo", errors="replace") as file:
        text = file.read()
    found = re.search(r"^(?:model name|Model|cpu model)\s*:\s*(.+)$", text, re.MULTILINE)
    return {"count": os.cpu_count(), "model": found[1].strip() if found else platform.machine()}


def memory() -> int:
    """KiB that the kernel manages: a little less than what is built in."""
    with open("/proc/meminfo") as file:
        return int(file.readline().split()[1])


def disks() -> List[Facts]:
    """Of whole disks: name, size in octets, model, serial."""
    try:
        said = json.loads(output("lsblk", "-J", "-b", "-d", "-o", "NAME,SIZE,TYPE,MODEL,SERIAL") or "{}")
    except ValueError:
        return []
    return [
        {name: row.get(name) for name in ("name", "size", "model", "serial")}
        for row in said.get("blockdevices", ())
        if row.get("type") == "disk" and int(row.get("size") or 0)
    ]


# -- software ---------------------------------------------------------------------------------------------------


def system() -> str:
    """As hosts.yaml calls it: "debian-12"."""
    said: Dict[str, str] = {}
    with contextlib.suppress(OSError), open("/etc/os-release", errors="replace") as file:
        said = dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line)
    return "-".join(filter(None, (said.get(name, "").strip("\"'") for name in ("ID", "VERSION_ID"))))


def packages() -> List[List[Any]]:
    """[name, version, whether somebody asked for it] of all that are installed."""
    automatic = came_along()
    found = []
    for line in output("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status} ${Version}\\n").splitlines():
        name, status, version = [*line.split(" "), "", ""][:3]
        if status == "installed":
            found.append([name, version, name not in automatic])
    return found


def came_along() -> Set[str]:
    """Packages that nobody asked for: others need them."""
    with contextlib.suppress(OSError), open("/var/lib/apt/extended_states", errors="replace") as file:
        blocks = file.read().split("\n\n")
        named = (
            re.search(r"^Package: (\S+)$", block, re.MULTILINE) for block in blocks if "Auto-Installed: 1" in block
        )
        return {found[1] for found in named if found}
    return set()


def listening() -> Iterator[List[Any]]:
    """["tcp", "0.0.0.0", 22, "sshd"] of each socket that waits for others."""
    for line in output("ss", "-H", "-lntup").splitlines():
        words = line.split()
        if len(words) < 6 or words[0] not in ("tcp", "udp"):
            continue
        address, _, port = words[4].rpartition(":")
        program = re.search(r'\(\("([^"]*)"', line)
        if port.isdigit():
            yield [words[0], address.partition("%")[0].strip("[]"), int(port), program[1] if program else ""]


# -- the network ------------------------------------------------------------------------------------------------

CONTAINERS = re.compile(r"(docker|virbr|cni|podman|lxcbr|lxdbr)\d*|br-[0-9a-f]{12}")  # networks within the host


def interfaces() -> Iterator[Facts]:
    """{"name", "mac", "addresses": ["10.20.1.10/24"]} of interfaces with an address that others can reach."""
    for row in rows("ip", "-j", "address"):
        addresses = [
            f"{each['local']}/{each['prefixlen']}"
            for each in row.get("addr_info", ())
            if each.get("scope") == "global" and not each.get("temporary")
            if each.get("family") == "inet" or not each.get("dynamic")
        ]
        if addresses and row.get("link_type") == "ether" and not CONTAINERS.fullmatch(row.get("ifname", "")):
            yield {"name": row["ifname"], "mac": row.get("address", ""), "addresses": sorted(addresses)}


def neighbours(wanted: Sequence[str], links: Sequence[Mapping[str, Any]]) -> Dict[str, str]:
    """
    {address: MAC} of who answered within a day. Who is wanted, and would be on a network of ours, is looked for: the
    kernel asks for a MAC before it sends anything, and every device answers that.
    """
    networks = [ipaddress.ip_interface(each).network for link in links for each in link["addresses"]]
    asked = [each for each in wanted if any(ipaddress.ip_address(each) in network for network in networks)][:PROBES]
    for address in asked:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", (address, 9))  # discard
    found = table()
    for _ in range(5 * SETTLES if asked else 0):
        if not any(unsettled(found.get(address)) for address in asked):
            break
        time.sleep(0.2)
        found = table()
    return {
        address: row["lladdr"]
        for address, row in found.items()
        if row.get("lladdr") and row.get("confirmed", 0) < RECENT and not {"FAILED", "INCOMPLETE"} & {*row["state"]}
    }


def table() -> Dict[str, Facts]:
    return {row["dst"]: row for row in rows("ip", "-s", "-j", "neighbour") if "state" in row and "dst" in row}


def unsettled(row: Any) -> bool:
    return row is not None and bool({"INCOMPLETE", "DELAY", "PROBE"} & {*row["state"]})


def main() -> None:
    from ansible.module_utils.basic import AnsibleModule

    module = AnsibleModule(argument_spec={"ask": {"type": "dict", "required": True}}, supports_check_mode=True)
    try:
        module.exit_json(changed=False, facts=collect(module.params["ask"]))
    except (OSError, ValueError, KeyError) as error:
        module.fail_json(msg=f"what this host is made of cannot be read: {error}")


if __name__ == "__main__":
    main()
