"""
A customer's firewalls: `firewall.yaml` is one, or what several have in common; `firewall/<site>.yaml` is one each.

A device's file is laid over what they have in common, as a section is over its baseline: mappings merge by key, lists
replace. Baselines put rules `before` and `after` a customer's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mspctl.fields import NAME, Model, Name, Seconds, SectionModel
from mspctl.kinds import firewall, probes
from mspctl.model.base import dotted, nearest, validate
from mspctl.model.layers import merge
from mspctl.model.sections import hosts
from mspctl.model.sections.firewall import checking, vpn
from mspctl.model.sections.firewall.rules import Device, Reasons, Shared, Vpn, Zones
from mspctl.moments import Clock
from mspctl.strict_yaml import Data, Map, Problems, find

if TYPE_CHECKING:
    from mspctl.model.customer import Customer
    from mspctl.model.folder import Folder
    from mspctl.model.inventory import Inventory

FILES = "firewall"
FILES_ALONE = True  # the folder is enough
FACET = firewall.FACET
MAIN = "main"  # the device that firewall.yaml itself is
_OWN = frozenset({"target", "zones", "vpn"})  # what no two devices have in common
_OF_SECTION = frozenset({"mode", "window"})


class Section(Shared, SectionModel):
    target: Name | None = None
    zones: Zones = {}
    vpn: Vpn | None = None


class Checks(Model):
    """`firewall` in inventory/checks.yaml."""

    idle: Seconds = 30 * 86400  # rules that nothing came to for so long are told
    support: Seconds = 180 * 86400  # the end of a system's support is told so long before
    archive: Seconds = 2 * 86400  # the archived configuration is no older than that
    index: Seconds = 3 * 86400  # if its archive was asked before that, nobody knows what is pending


@dataclass(frozen=True, slots=True)
class Site:
    """One device, and where its YAML stands."""

    file: str
    device: Device
    data: Map


def read(section: Section, data: Map, folder: Folder, clock: Clock, problems: Problems) -> dict[str, Site]:
    """Every device; what is wrong with one is told with its place."""
    shared = _part(data, lambda key: key not in _OWN | _OF_SECTION)
    found: dict[str, Data] = {}
    if section.target or section.zones:
        found[MAIN] = _part(data, lambda key: key not in _OF_SECTION)
    files = {MAIN: folder.shown("firewall.yaml")}
    for name in folder.files(FILES):
        site, dot, suffix = name.rpartition(".")
        files[site] = folder.shown(f"{FILES}/{name}")
        if not (dot and suffix == "yaml" and NAME.fullmatch(site)) or site in found:
            text = "is not the file of a site (write <site>.yaml: lower-case letters, digits and hyphens; not main)"
            problems.add(None, "", text, file=files[site])
            continue
        own = folder.yaml(f"{FILES}/{name}", problems)
        if isinstance(own, Map):
            found[site] = merge(shared, own)
        elif own is not None or not problems.errors:
            problems.add(None, "", "should be a mapping (key: value)", file=files[site])
    sites = {}
    for site, said in found.items():
        device = validate(Device, said, files[site], problems)
        if device is not None:
            sites[site] = Site(files[site], device, said)
            if folder.wanted:
                checking.check(device, said, clock, problems)
    return sites


def parts(found: Mapping[str, Site]) -> Iterator[tuple[Model, Map]]:
    return ((site.device, site.data) for site in found.values())


def _part(data: Map, wanted: Any) -> Map:
    part = Map()
    for key in data:
        if wanted(key):
            part[key], part.marks[key] = data[key], data.marks[key]
    return part


def check(customers: Sequence[Customer], inventory: Inventory, problems: Problems) -> None:
    """A device has a target of its own; who asked for something is one of the customer's contacts."""
    seen: dict[str, str] = {}
    everyone = {customer.name: customer for customer in customers}
    for customer in customers:
        sites: Mapping[str, Site] = customer.files.get(FACET, {})
        for name, site in sites.items():
            mark = find(site.data, ["target"])
            inventory.check_target(site.device.target, FACET, mark, "target", problems)
            first = seen.setdefault(site.device.target, site.file)
            if first != site.file:
                problems.add(mark, "target", f"{site.device.target} is the firewall of {first} already")
            _check_contacts(customer, site, problems)
            vpn.check_customer(customer, name, site.device, site.data, problems)
            _check_probes(customer, site, everyone, problems)


def _check_contacts(customer: Customer, site: Site, problems: Problems) -> None:
    known = {contact.id: contact for contact in customer.info.contacts}
    for path_, one in _asked_for(site.device):
        if one.asked_by is not None:
            mark, path = find(site.data, (*path_, "asked_by")), dotted((*path_, "asked_by"))
            if one.asked_by not in known:
                text = f"{one.asked_by} is no contact of {customer.name}{nearest(one.asked_by, known)}"
                problems.add(mark, path, text)
            elif FACET not in known[one.asked_by].may_authorize:
                text = f"{one.asked_by} may not authorize firewall (customer.yaml: may_authorize)"
                problems.add(mark, path, text, level="warning")


def _asked_for(device: Device) -> Iterator[tuple[tuple[str | int, ...], Reasons]]:
    for kind in ("before", "rules", "after", "forwards", "static_nat", "raw"):
        yield from (((kind, number), one) for number, one in enumerate(getattr(device, kind)))
    yield from vpn.peers(device)


def _check_probes(customer: Customer, site: Site, everyone: Mapping[str, Customer], problems: Problems) -> None:
    for number, packet in enumerate(site.device.proofs.packets):
        if packet.probe != probes.HERE:
            try:
                probe_host(customer, packet.probe, everyone)
            except ValueError as error:
                mark = find(site.data, ["proofs", "packets", number, "from"])
                problems.add(mark, f"proofs.packets[{number}].from", str(error))


def probe_host(customer: Customer, name: str, everyone: Mapping[str, Customer]) -> tuple[Customer, str, hosts.Entry]:
    """Who sends packets, by its name in `proofs`: whose host, its name there, and the host. Raises ValueError."""
    host, _, other = name.partition(".")
    owner = everyone.get(other) if other else customer
    entries = hosts.entries(owner) if owner else {}
    if owner is None or host not in entries:
        known = [probes.HERE, *hosts.entries(customer)] if not other else []
        raise ValueError(f"{name} is no host of hosts.yaml{nearest(name, known)}")
    entry = entries[host]
    if owner is not customer and entry.role != probes.ROLE:
        raise ValueError(f"{name} is another customer's (it sends packets for others if hosts.yaml says role: probe)")
    if not (entry.target and entry.address):
        raise ValueError(f"{name} has no address or no target in hosts.yaml, so nothing runs there")
    return owner, host, entry


def schemas() -> dict[str, dict[str, Any]]:
    """JSON Schemas of this section's further files."""
    return {"firewall-site": Device.model_json_schema(by_alias=True)}
