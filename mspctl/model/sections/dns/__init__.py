"""`dns.yaml`: a customer's zones and where they live. Their records are in `dns/<zone>.yaml` or `dns/<zone>.zone`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from mspctl.fields import Boolean, Day, Model, Name, Names, Texts, Ttl, ZoneName
from mspctl.kinds import dns, master
from mspctl.model.base import nearest
from mspctl.model.layers import merge
from mspctl.model.sections.dns import checks, records
from mspctl.resource import Resource
from mspctl.strict_yaml import Data, Map, Problems, read_text

if TYPE_CHECKING:
    from mspctl.model.customer import Customer
    from mspctl.model.folder import Folder
    from mspctl.model.inventory import Inventory

FILES = "dns"  # the folder with the files of this section
FACET = "dns"
DEFAULT_TTL = 3600


class Renewal(Model):
    """Where and until when the name is registered; findings come from it."""

    at: Name
    ends: Day
    auto: Boolean = False


class Zone(Model):
    target: Name | None = None
    targets: Names = ()  # one zone on several targets
    ttl: Ttl = DEFAULT_TTL
    ignore: Texts = ()  # patterns of owner names that belong to somebody else
    renewal: Renewal | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Zone:
        if self.target and self.targets:
            raise ValueError("has target and targets (leave one)")
        return self


class Section(Model):
    defaults: Zone = Zone()  # what every zone has unless it says otherwise
    zones: dict[ZoneName, Zone] = {}
    records: Any = Field(None, json_schema_extra=records.schema())  # under the records of every zone; for baselines

    def targets_of(self, zone: str) -> tuple[str, ...]:
        own = self.zones[zone]
        return (own.target,) if own.target else own.targets


def layered(data: Map) -> Map:
    """The section with its defaults laid under each zone."""
    defaults, zones = data.get("defaults"), data.get("zones")
    if not isinstance(defaults, Map) or not isinstance(zones, Map):
        return data
    full = Map()
    for key, zone in zones.items():
        full[key], full.marks[key] = _under(defaults, zone), zones.marks[key]
    result = Map()
    for key, value in data.items():
        result[key], result.marks[key] = full if key == "zones" else value, data.marks[key]
    return result


def _under(defaults: Map, zone: Data) -> Data:
    if zone is None:
        zone = Map()
    if not isinstance(zone, Map):
        return zone
    chosen = Map()
    for key in defaults:
        # A zone that names its target has no use for the others, whichever way they are written.
        if not (key in ("target", "targets") and zone.keys() & {"target", "targets"} and key not in zone):
            chosen[key], chosen.marks[key] = defaults[key], defaults.marks[key]
    return merge(chosen, zone)


@dataclass(frozen=True, slots=True)
class Records:
    """The records of one zone, and the file they come from."""

    file: str
    resources: Sequence[Resource]


def read(section: Section, data: Map, folder: Folder, problems: Problems) -> dict[str, Records]:
    """The records of all zones; a zone without a file, and a file without a zone, are problems."""
    zones = data.get("zones") or Map()
    expected: dict[str, str] = {}  # file name → zone
    typed: dict[str, str] = {}
    for key in zones:
        zone = dns.fold_zone(key)
        for spelling in dict.fromkeys((key, zone)):
            expected[f"{file_name(spelling)}.yaml"] = expected[f"{file_name(spelling)}.zone"] = zone
        if zone in typed:
            text = f"is the same zone as {typed[zone]} on line {zones.marks[typed[zone]].line}"
            problems.add(zones.marks[key], f"zones.{key}", text, at_value=False)
        typed.setdefault(zone, key)
    found: dict[str, Records] = {}
    for name in folder.files(FILES):
        if name not in expected:
            text = f"belongs to no zone of dns.yaml{nearest(name, expected)}"
            problems.add(None, "", text, file=folder.shown(f"{FILES}/{name}"))
            continue
        zone = expected[name]
        if zone in found:
            text = f"{zone} has a second file, {found[zone].file} (leave one)"
            problems.add(None, "", text, file=folder.shown(f"{FILES}/{name}"))
        elif folder.wanted:
            found[zone] = _read_file(section, zone, f"{FILES}/{name}", folder, problems)
    if folder.wanted:
        _missing(zones, found, folder, problems)
    return found


def file_name(zone: str) -> str:
    """A zone's name as a file name: the slash of RFC 2317 zones cannot stand in one."""
    return zone.replace("/", "%2F")


def _missing(zones: Map, found: dict[str, Records], folder: Folder, problems: Problems) -> None:
    for key in zones:
        if dns.fold_zone(key) not in found:
            file = folder.shown(f"{FILES}/{file_name(key)}.yaml")
            problems.add(zones.marks[key], f"zones.{key}", f"has no records: {file} is missing", at_value=False)


def _read_file(section: Section, zone: str, name: str, folder: Folder, problems: Problems) -> Records:
    file, ttl = folder.shown(name), section.zones[zone].ttl
    if name.endswith(".zone"):
        resources = _read_master(zone, name, folder, problems)
    else:
        resources = records.RecordReader(zone, ttl, problems).read(folder.yaml(name, problems), file)
    if section.records is not None:
        below = records.RecordReader(zone, ttl, problems).read(section.records, file)
        own = {r.id for r in resources}
        resources = [*resources, *(r for r in below if r.id not in own)]
    checks.zone(zone, resources, problems)
    return Records(file, resources)


def _read_master(zone: str, name: str, folder: Folder, problems: Problems) -> list[Resource]:
    file = folder.shown(name)
    text = read_text(folder.path(name), file, problems)
    if text is None:
        return []
    read = master.read(text, zone)
    resources, wrong = master.rrsets(read.records, zone, file)
    for line, said in sorted({*read.problems, *wrong}):
        problems.line(file, line, said)
    return resources


def check(customers: Sequence[Customer], inventory: Inventory, problems: Problems) -> None:
    """A zone belongs to one customer; its targets exist and hold zones."""
    seen: dict[str, tuple[str, int]] = {}
    for customer in customers:
        section = customer.sections.get("dns")
        if not isinstance(section, Section):
            continue
        zones = customer.data["dns"].get("zones") or Map()
        for key in zones:
            zone, mark = dns.fold_zone(key), zones.marks[key]
            path = f"zones.{key}"
            if zone in seen and seen[zone][0] != mark.file:
                text = f"is declared in {seen[zone][0]}:{seen[zone][1]} too (a zone belongs to one customer)"
                problems.add(mark, path, text, at_value=False)
            seen.setdefault(zone, (mark.file, mark.line))
            names = section.targets_of(zone)
            if not names:
                problems.add(mark, path, f"has no target{nearest('', inventory.with_facet(FACET))}", at_value=False)
            for target in names:
                inventory.check_target(target, FACET, mark, path, problems)


def schemas() -> dict[str, dict[str, Any]]:
    """JSON Schemas of this section's further files."""
    return {"dns-records": records.schema()}
