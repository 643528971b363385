"""
How hosts are reached with OpenSSH, as the files that it and Ansible read. Pure.

`ssh_config` and `known_hosts` know each host by its full name ("srv-1.officine-brenta"): two customers may use the same
private addresses, so a key is pinned to the name. What Ansible is told are unsafe strings: it never takes a value of
ours for a template.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from mspctl.kinds.hosts import Host

HEADER = "# Made by mspctl from customers/*/hosts.yaml; what is changed here is lost.\n"
PYTHON = "/usr/bin/python3"  # of hosts; to look for one would be a further connection to each


def known_hosts(hosts: Iterable[Host]) -> str:
    return HEADER + "".join(f"{host.full} {key}\n" for host in hosts for key in host.keys)


def ssh_config(
    hosts: Iterable[Host],
    folder: Path,
    key: Path | None = None,
    extra: Mapping[str, str] | None = None,
    sockets: Mapping[str, Path] | None = None,
) -> str:
    """
    For files that lie in `folder`. `key` is the private key to log in with; without it, ssh looks for one itself.
    `sockets`: where connections are shared, by full name.
    """
    common = {
        "UserKnownHostsFile": quoted(folder / "known_hosts"),
        "GlobalKnownHostsFile": "none",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        **({"IdentityFile": quoted(key), "IdentitiesOnly": "yes", "IdentityAgent": "none"} if key else {}),
        **(extra or {}),
    }
    blocks = [_block(host, (sockets or {}).get(host.full)) for host in hosts]
    return HEADER + "\n".join([*blocks, _lines("Host *", common)])


def _block(host: Host, socket: Path | None) -> str:
    said = {"HostName": host.address, "Port": str(host.port), "User": host.user, "HostKeyAlias": host.full}
    algorithms = list(dict.fromkeys(a for key in host.keys for a in _algorithms(key)))
    if algorithms:  # so that ssh asks for the key that is pinned, whichever others the host has
        said["HostKeyAlgorithms"] = ",".join(algorithms)
    if host.jump:
        said["ProxyJump"] = host.jump
    if socket:
        said["ControlPath"] = quoted(socket)
    return _lines(f"Host {host.full}", said)


def _algorithms(key: str) -> Sequence[str]:
    kind = key.partition(" ")[0]
    return ("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,)


def _lines(first: str, said: Mapping[str, str]) -> str:
    return "".join([f"{first}\n", *(f"  {name} {value}\n" for name, value in said.items())])


def quoted(path: Path) -> str:
    return f'"{path}"'


# -- for Ansible ------------------------------------------------------------------------------------------------


def inventory(hosts: Sequence[Host], folder: Path | None = None) -> str:
    """
    An inventory in YAML, with groups by customer, site, role and system.

    With `folder`, where `ssh_config` lies, hosts are reached as it says; without, as ssh itself is configured, with
    addresses, ports, users and jumps as they are declared.
    """
    by_name = {host.full: host for host in hosts}
    lines = [HEADER + "all:", "  hosts:" if hosts else "  hosts: {}"]
    for host in hosts:
        lines.append(f"    {host.full}:")
        lines += [f"      {name}: {_unsafe(value)}" for name, value in _variables(host, by_name, folder)]
    groups: dict[str, list[str]] = {}
    for host in hosts:
        for group in _groups(host):
            groups.setdefault(group, []).append(host.full)
    lines.append("  children:" if groups else "  children: {}")
    for group, members in sorted(groups.items()):
        lines += [f"    {group}:", "      hosts:", *(f"        {member}: {{}}" for member in members)]
    return "\n".join(lines) + "\n"


def _variables(host: Host, by_name: Mapping[str, Host], folder: Path | None) -> Iterator[tuple[str, str | bool | int]]:
    if folder:
        yield "ansible_host", host.full
        yield "ansible_ssh_common_args", f"-F {quoted(folder / 'ssh_config')}"
    else:
        yield "ansible_host", host.address
        yield "ansible_port", host.port
        yield "ansible_user", host.user
        ways = _ways(host, by_name)
        jump = [f"-o ProxyJump={','.join(ways)}"] if ways else []
        yield "ansible_ssh_common_args", " ".join([f"-o HostKeyAlias={host.full} -o StrictHostKeyChecking=yes", *jump])
    yield "ansible_python_interpreter", PYTHON
    if host.user != "root":
        yield "ansible_become", True
    for name in ("customer", "site", "role", "os"):
        if said := getattr(host, name):
            yield f"mspctl_{name}", said


def _ways(host: Host, by_name: Mapping[str, Host]) -> list[str]:
    """What ProxyJump is told, the first to jump to first."""
    found: list[str] = []
    step = by_name.get(host.jump)
    while step and len(found) < len(by_name):
        found.insert(0, f"{step.user}@{f'[{step.address}]' if ':' in step.address else step.address}:{step.port}")
        step = by_name.get(step.jump)
    return found


def _unsafe(value: str | bool | int) -> str:
    """A string is nobody's template; JSON's strings are YAML's too."""
    return f"!unsafe {json.dumps(value)}" if isinstance(value, str) else json.dumps(value)


def _groups(host: Host) -> Iterator[str]:
    """Ansible wants no hyphens in names of groups; ours have no underscores, so nothing collides."""
    yield _group("customer", host.customer)
    if host.site:
        yield _group("site", f"{host.customer}__{host.site}")
    if host.role:
        yield _group("role", host.role)
    if host.os:
        yield _group("os", host.os)


def _group(kind: str, name: str) -> str:
    return f"{kind}_{name}".replace("-", "_").replace(".", "_")
