"""
`hosts.yaml`: a customer's hosts: where they stand, whose they are, and how they are reached.

Other sections say what is done on them: each policy is for all hosts, for a role, or for one host. A host that such a
section leaves out says so itself, `waived: {backup: {why, until}}`; otherwise it is a finding.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, WithJsonSchema

from mspctl.fields import (
    Day,
    Model,
    Name,
    Names,
    Network,
    Port,
    Seconds,
    SectionModel,
    Text,
    one_line,
    one_or_many,
    typed,
)
from mspctl.kinds import dns, shown
from mspctl.kinds.hosts import FACET, Host, full_name
from mspctl.model.base import nearest
from mspctl.model.layers import merge
from mspctl.strict_yaml import Data, Map, Mark, Problems, find

if TYPE_CHECKING:
    from mspctl.model.customer import Customer
    from mspctl.model.inventory import Inventory

Wanted = Literal["antivirus", "backup", "patching"]  # sections that every host has, or a reason why not
WANTED: tuple[Wanted, ...] = ("antivirus", "backup", "patching")
MAX_JUMPS = 4

_OS = re.compile(r"[a-z]+-[a-z0-9]+(?:\.[a-z0-9]+)*")
_PATTERN = re.compile(r"[a-z0-9*?][a-z0-9+.*?-]*")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_KEYS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")


def address(value: Any) -> str:
    """An IP address, or a host's name without the dot at its end."""
    text = one_line(value)
    try:
        if "%" not in text:  # what may follow it is anything
            return str(ipaddress.ip_address(text))
    except ValueError:
        if re.fullmatch(r"[0-9.:]+", text):
            raise ValueError(f"{shown(text)} is not an IP address (write 10.20.1.10)") from None
    try:
        name = dns.fold(text.rstrip(".") + ".").rstrip(".")
    except ValueError:
        name = ""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name):
        raise ValueError(f"{shown(text)} is not an address (write 10.20.1.10 or srv-1.example.com)")
    return name


def _os(value: Any) -> str:
    text = typed(value)
    if not _OS.fullmatch(text):
        raise ValueError(f"{shown(text)} is not an operating system (write debian-12, ubuntu-24.04 or windows-2022)")
    return text


def _user(value: Any) -> str:
    text = typed(value)
    if not _USER.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a log-in name (lower-case letters, digits, _ and -)")
    return text


def host_key(value: Any) -> str:
    """A public key as ssh-keyscan prints it; the host's name in front and a comment behind may stay."""
    words = one_line(value).split()
    kind = next((n for n, word in enumerate(words[:2]) if word in _KEYS), None)
    if kind is None or len(words) < kind + 2:
        raise ValueError(
            f"{shown(value)} is not a host's public key (write ssh-ed25519 AAAA…, as ssh-keyscan prints it)"
        )
    try:
        blob = base64.b64decode(words[kind + 1], validate=True)
    except binascii.Error:
        blob = b""
    if blob[4 : 4 + int.from_bytes(blob[:4], "big")] != words[kind].encode() or len(blob) < 40:
        raise ValueError(f"{shown(words[kind + 1])} is not an {words[kind]} key (copy the whole line)")
    return f"{words[kind]} {words[kind + 1]}"


def _owner(value: Any) -> Any:
    """`owner: msp` is short for `owner: {who: msp}`."""
    if isinstance(value, str):
        if value not in ("msp", "customer"):
            raise ValueError(f"{shown(value)} is nobody (write msp, customer or {{loaned_until: 2027-03-31}})")
        return {"who": value}
    if isinstance(value, Map) and [*value] != ["loaned_until"]:
        raise ValueError("says who it is (write msp, customer or {loaned_until: 2027-03-31})")
    return value


class Waiver(Model):
    why: Text
    until: Day


class Owner(Model):
    who: Literal["msp", "customer", "lender"] = "lender"
    loaned_until: Day | None = None


_OWNER_SCHEMA = {
    "anyOf": [
        {"enum": ["msp", "customer"]},
        {
            "type": "object",
            "properties": {"loaned_until": {"type": "string", "format": "date"}},
            "required": ["loaned_until"],
            "additionalProperties": False,
        },
    ]
}
_TEXT = {"type": "string"}
HostAddress = Annotated[str, BeforeValidator(address), WithJsonSchema(_TEXT | {"examples": ["10.20.1.10"]})]
HostKey = Annotated[str, BeforeValidator(host_key), WithJsonSchema(_TEXT | {"examples": ["ssh-ed25519 AAAA…"]})]
System = Annotated[str, BeforeValidator(_os), WithJsonSchema(_TEXT | {"examples": ["debian-12"]})]
User = Annotated[str, BeforeValidator(_user), WithJsonSchema(_TEXT | {"pattern": f"^{_USER.pattern}$"})]


class Entry(Model):
    """One host; `defaults` says the same for all."""

    site: Name | None = None  # one of customer.yaml
    address: HostAddress | None = None
    os: System | None = None
    role: Name | None = None  # policies of other sections may be for a role
    serial: Text | None = None
    warranty: Day | None = None  # its last day
    owner: Annotated[Owner, BeforeValidator(_owner), WithJsonSchema(_OWNER_SCHEMA)] | None = None
    rack: Text | None = None
    target: Name | None = None  # one with the facet `hosts`, which drives it; without, it is only known
    user: User = "root"  # who logs in; everybody else than root must be able to use sudo
    port: Port = 22
    host_key: Annotated[tuple[HostKey, ...], BeforeValidator(one_or_many)] = ()
    jump: Name | None = None  # the host it is reached through
    waived: dict[Wanted, Waiver] = {}  # sections that it does without


def _pattern(value: Any) -> str:
    text = typed(value)
    if not _PATTERN.fullmatch(text):
        raise ValueError(f"{shown(text)} is no name of packages (write teamviewer, or teamviewer* for all of them)")
    return text


Pattern = Annotated[str, BeforeValidator(_pattern)]


class Rule(Model):
    """Why some software is forbidden, or allowed."""

    LAPSES: ClassVar = True

    why: Text
    until: Day | None = None  # the last day on which that holds
    hosts: Names = ()  # only there; without, everywhere


class Software(Model):
    """Packages, by name or pattern; what is allowed is so although it is forbidden."""

    forbidden: dict[Pattern, Rule] = {}
    allowed: dict[Pattern, Rule] = {}


class Section(SectionModel):
    defaults: Entry = Entry()  # what every host has unless it says otherwise
    hosts: dict[Name, Entry] = {}
    software: Software = Software()  # what may not be installed
    others: dict[Network, Text] = {}  # addresses of devices that are no hosts of ours, and whose they are


class Checks(Model):
    """`hosts` in inventory/checks.yaml."""

    collected: Seconds = 8 * 86400  # if hosts were asked before that, nobody knows what is installed on them
    missing: Seconds = 14 * 86400  # hosts that answered last before that are told
    warranty: Seconds = 60 * 86400  # warranties that end within this are told
    loan: Seconds = 30 * 86400  # likewise loans
    waiver: Seconds = 14 * 86400  # likewise waivers


def layered(data: Map) -> Map:
    """The section with its defaults laid under each host."""
    defaults, hosts = data.get("defaults"), data.get("hosts")
    if not (isinstance(defaults, Map) and isinstance(hosts, Map)):
        return data
    full = Map()
    for key, host in hosts.items():
        full[key], full.marks[key] = _under(defaults, host), hosts.marks[key]
    result = Map()
    for key, value in data.items():
        result[key], result.marks[key] = full if key == "hosts" else value, data.marks[key]
    return result


def _under(defaults: Map, host: Data) -> Data:
    if host is None:
        host = Map()
    return merge(defaults, host) if isinstance(host, Map) else host


# -- for other sections -----------------------------------------------------------------------------------------


def entries(customer: Customer) -> Mapping[str, Entry]:
    """The customer's hosts by name; none where nothing is said of them."""
    section = customer.sections.get("hosts")
    return section.hosts if isinstance(section, Section) else {}


def software(customer: Customer) -> Software:
    section = customer.sections.get("hosts")
    return section.software if isinstance(section, Section) else Software()


def others(customer: Customer) -> Mapping[str, str]:
    """Networks with devices that are no hosts of ours, and whose they are."""
    section = customer.sections.get("hosts")
    return section.others if isinstance(section, Section) else {}


def reached(customer: Customer, wanted: Callable[[Entry], bool] = lambda entry: True) -> Iterator[Host]:
    """How to reach the customer's hosts that have an address, and those they are reached through."""
    hosts = entries(customer)
    chosen = [name for name, entry in hosts.items() if entry.address and wanted(entry)]
    for name in dict.fromkeys(step for each in chosen for step in (each, *jumps(hosts, each))):
        entry = hosts[name]
        jump = full_name(customer.name, entry.jump) if entry.jump else ""
        where = (entry.site or "", entry.role or "", entry.os or "")
        yield Host(name, customer.name, entry.address or "", entry.port, entry.user, entry.host_key, jump, *where)


def jumps(hosts: Mapping[str, Entry], name: str) -> list[str]:
    """The hosts that one is reached through, the nearest first; a circle ends where it began."""
    found: list[str] = []
    step = hosts[name].jump
    while step and step in hosts and step not in (name, *found):
        found.append(step)
        step = hosts[step].jump
    return found


def place(customer: Customer, *path: str) -> Mark | None:
    """Where hosts.yaml, or a baseline, says something; at least where it names the host."""
    data = customer.data.get("hosts")
    return find(data, ("hosts", *path)) if data is not None else None


# -- rules across hosts -----------------------------------------------------------------------------------------


def check(customers: Sequence[Customer], inventory: Inventory, problems: Problems) -> None:
    """Sites, targets and jump hosts are there; no two hosts are at one address."""
    for customer in customers:
        hosts = entries(customer)
        seen: dict[tuple[str, int, str], str] = {}
        for name, entry in hosts.items():
            _check_site(customer, name, entry, problems)
            _check_way(customer, hosts, name, entry, inventory, problems)
            if entry.address:
                first = seen.setdefault((entry.address, entry.port, entry.jump or ""), name)
                if first != name:
                    _add(customer, problems, f"is the address of {first} too", name, "address")
        _check_software(customer, problems)


def _check_software(customer: Customer, problems: Problems) -> None:
    rules, data = software(customer), customer.data.get("hosts")
    for part, found in (("forbidden", rules.forbidden), ("allowed", rules.allowed)):
        for pattern, rule in found.items():
            for name in rule.hosts:
                if name not in entries(customer):
                    path = ("software", part, pattern, "hosts")
                    text = f"there is no host {name}{nearest(name, entries(customer))}"
                    problems.add(find(data, path), ".".join(path), text)


def _add(customer: Customer, problems: Problems, text: str, *path: str, level: str = "error") -> None:
    mark = place(customer, *path)
    problems.add(mark, ".".join(("hosts", *path)), text, at_value=len(path) > 1, level=level)


def _check_site(customer: Customer, name: str, entry: Entry, problems: Problems) -> None:
    if not entry.site:
        return
    network = customer.info.sites.get(entry.site)
    if network is None:
        text = f"{entry.site} is no site of customer.yaml{nearest(entry.site, customer.info.sites)}"
        _add(customer, problems, text, name, "site")
    elif entry.address and not _within(entry.address, network):
        text = f"{entry.address} is not in {network}, the network of {entry.site}"
        _add(customer, problems, text, name, "address", level="warning")


def _within(text: str, network: str) -> bool:
    """Whether an address lies in a network; of a name nobody knows."""
    try:
        return ipaddress.ip_address(text) in ipaddress.ip_network(network)
    except ValueError:
        return True


def _check_way(
    customer: Customer, hosts: Mapping[str, Entry], name: str, entry: Entry, inventory: Inventory, problems: Problems
) -> None:
    if entry.target:
        mark = place(customer, name, "target")
        inventory.check_target(entry.target, FACET, mark, f"hosts.{name}.target", problems)
    if entry.target and not entry.address:
        _add(customer, problems, "has no address, so nobody can reach it (or leave target out)", name)
    way = jumps(hosts, name)
    for step in [name, *way] if entry.target else []:
        if not hosts[step].host_key:
            text = f"has no host_key (write what ssh-keyscan {hosts[step].address or step} prints, after comparing it)"
            _add(customer, problems, text, step)
    if not entry.jump:
        return
    if entry.jump not in hosts:
        _add(customer, problems, f"there is no host {entry.jump}{nearest(entry.jump, hosts)}", name, "jump")
    elif entry.jump == name or hosts[[name, *way][-1]].jump:
        _add(customer, problems, "leads in a circle", name, "jump")
    elif len(way) > MAX_JUMPS:
        _add(customer, problems, f"is {len(way)} hosts away (at most {MAX_JUMPS})", name, "jump")
    elif any(not hosts[step].address for step in way):
        _add(customer, problems, f"{entry.jump} has no address", name, "jump")
