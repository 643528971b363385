"""`dns.yaml`: a customer's zones and where they live. Their records are in `dns/<zone>.yaml` or `dns/<zone>.zone`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from mspctl.errors import Problem
from mspctl.fields import Boolean, Day, Model, Name, Names, SectionModel, Texts, Ttl, ZoneName
from mspctl.kinds import dns, master
from mspctl.model.base import nearest
from mspctl.model.layers import merge
from mspctl.model.sections.dns import checking, checks, derived, records
from mspctl.moments import Clock, Span
from mspctl.resource import Id, Resource
from mspctl.strict_yaml import Data, Map, Mark, Problems, find

if TYPE_CHECKING:
    from mspctl.model.customer import Customer
    from mspctl.model.folder import Folder
    from mspctl.model.inventory import Inventory

FILES = "dns"  # the folder with the files of this section
FACET = "dns"
DEFAULT_TTL = 3600
Checks = checking.Checks


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
    drift: Literal["report", "revert"] = "report"  # revert: an apply also undoes what was changed outside
    unmanaged: Literal["report", "delete"] = "report"  # delete: what is live and not in Git goes
    public: Boolean = True  # false: known inside only, so nobody asks the DNS of the Internet about it
    dnssec: Boolean | None = None  # whether it is signed; absent: not managed
    renewal: Renewal | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Zone:
        if self.target and self.targets:
            raise ValueError("has target and targets (leave one)")
        return self


def _names(value: Any) -> Any:
    if value is not None and not isinstance(value, Map):
        raise ValueError("should be a mapping of names")
    return value


class Section(SectionModel):
    defaults: Zone = Zone()  # what every zone has unless it says otherwise
    zones: dict[ZoneName, Zone] = {}
    records: Annotated[Any, BeforeValidator(_names)] = Field(
        None, json_schema_extra=records.schema()
    )  # under the records of every zone; for baselines

    def targets_of(self, zone: str) -> tuple[str, ...]:
        own = self.zones[zone]
        return (own.target,) if own.target else own.targets


def layered(data: Map) -> Map:
    """The section with its defaults laid under each zone."""
    defaults, zones = data.get("defaults"), data.get("zones")
    if not isinstance(zones, Map):
        return data
    if not isinstance(defaults, Map):
        defaults = Map()
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
    resources: Sequence[Resource]  # without those limited in time
    timed: Mapping[Id, Sequence[tuple[Resource, Span]]] = field(default_factory=dict)  # the first that holds counts
    lasting: Sequence[Resource] = ()  # all that is declared at some time from now on


def read(section: Section, data: Map, folder: Folder, clock: Clock, problems: Problems) -> dict[str, Records]:
    """The records of all zones; a zone without a file, and a file without a zone, are problems."""
    zones = _zones(data)
    typed: dict[str, str] = {}  # zone → its key
    named = True  # every zone has a name that can be one
    for key in zones:
        zone = _folded(key)
        named = named and bool(zone)
        first = typed.setdefault(zone, key) if zone else key
        if first != key:
            text = f"is the same zone as {first} on line {zones.marks[first].line}"
            problems.add(zones.marks[key], f"zones.{key}", text, at_value=False)
    found: dict[str, Records] = {}
    for name in folder.files(FILES):
        zone = zone_of(name)
        if zone not in typed and not named:
            continue  # it may be the one with the wrong name
        if zone not in typed:
            text = f"belongs to no zone of dns.yaml{nearest(name, (f'{file_name(z)}.yaml' for z in typed))}"
            problems.add(None, "", text, file=folder.shown(f"{FILES}/{name}"))
        elif zone in found:
            text = f"{zone} has a second file, {found[zone].file} (leave one)"
            problems.add(None, "", text, file=folder.shown(f"{FILES}/{name}"))
        elif folder.wanted:
            found[zone] = _read_file(section, zone, f"{FILES}/{name}", folder, clock, problems)
    if folder.wanted:
        _missing(zones, found, folder, problems)
    return found


def zone_of(name: str) -> str:
    """The zone that a file is named after, or ""."""
    stem, _, suffix = name.rpartition(".")
    return _folded(stem.replace("%2F", "/")) if suffix in ("yaml", "zone") else ""


def _zones(data: Map) -> Map:
    zones = data.get("zones")
    return zones if isinstance(zones, Map) else Map()


def _folded(name: str) -> str:
    """A zone's name in normal form; "" for what cannot be one."""
    try:
        return dns.fold_zone(name)
    except ValueError:
        return ""


def file_name(zone: str) -> str:
    """A zone's name as a file name: the slash of RFC 2317 zones cannot stand in one."""
    return zone.replace("/", "%2F")


def _missing(zones: Map, found: dict[str, Records], folder: Folder, problems: Problems) -> None:
    for key in zones:
        if (zone := _folded(key)) and zone not in found:
            file = folder.shown(f"{FILES}/{file_name(key)}.yaml")
            problems.add(zones.marks[key], f"zones.{key}", f"has no records: {file} is missing", at_value=False)


def _read_file(section: Section, zone: str, name: str, folder: Folder, clock: Clock, problems: Problems) -> Records:
    ttl = section.zones.get(zone, section.defaults).ttl
    own = records.RecordReader(zone, ttl, problems, clock)
    if name.endswith(".zone"):
        resources = _read_master(zone, ttl, name, folder, problems)
    else:
        resources = _read_yaml(own, name, folder, problems)
    below = _read_below(section, zone, ttl, clock, problems) if section.records is not None else None
    if own.spans or (below and below.spans):
        return _read_timed(zone, folder.shown(name), own, resources, below, clock, problems)
    places = own.places
    if below:
        said = {r.id for r in resources}
        laid = {r.id: r for r in below.resources if r.id not in said}
        resources = [*resources, *laid.values()]
        places = places | {id_: below.places[id_] for id_ in laid}
    checks.zone(zone, resources, problems, places)
    return Records(folder.shown(name), resources, lasting=resources)


def _read_timed(
    zone: str,
    file: str,
    own: records.RecordReader,
    resources: Sequence[Resource],
    below: records.RecordReader | None,
    clock: Clock,
    problems: Problems,
) -> Records:
    """The same where time matters: what lies below counts again when a zone's own record is not declared."""
    found: dict[Id, list[tuple[Resource, Span, records.RecordReader]]] = {}
    always = Span(clock.zone)
    for reader, read in ((own, resources), *([(below, below.resources)] if below else [])):
        for resource in read:
            layers = found.setdefault(resource.id, [])
            if not layers or layers[-1][1] is not always:
                layers.append((resource, reader.spans.get(resource.id, always), reader))
    timed = {id_: [layer[:2] for layer in layers] for id_, layers in found.items() if layers[0][1] is not always}
    left = {id_: [each for each in layers if not each[1].is_over(clock.now)] for id_, layers in found.items()}
    lasting = {id_: layers[0] for id_, layers in left.items() if layers}
    places = {id_: reader.places[id_] for id_, (_, _, reader) in lasting.items() if id_ in reader.places}
    spans = {id_: span for id_, (_, span, _) in lasting.items() if span is not always}
    checks.zone(zone, [resource for resource, _, _ in lasting.values()], problems, places, spans)
    standing = [layers[0][0] for id_, layers in found.items() if id_ not in timed]
    return Records(file, standing, timed, [resource for resource, _, _ in lasting.values()])


def _read_yaml(reader: records.RecordReader, name: str, folder: Folder, problems: Problems) -> Sequence[Resource]:
    before = len(problems)
    data = folder.yaml(name, problems)
    if data is None and len(problems) > before:
        return ()
    return reader.read(data, folder.shown(name))


def _read_below(section: Section, zone: str, ttl: int, clock: Clock, problems: Problems) -> records.RecordReader:
    """The records that lie under every zone. What is wrong with one is said for the first zone only."""
    found = Problems()
    reader = records.RecordReader(zone, ttl, found, clock)
    reader.read(section.records, "")
    if found:
        said = {(p.file, p.line, p.column, p.path) for p in problems}
        problems += [p for p in found if (p.file, p.line, p.column, p.path) not in said]
    return reader


def _read_master(zone: str, ttl: int, name: str, folder: Folder, problems: Problems) -> Sequence[Resource]:
    file = folder.shown(name)
    text = folder.text(name, problems)
    if text is None:
        return ()
    read = master.read(text, zone, ttl)
    resources, wrong = master.rrsets(read.records, zone, file)
    for line, said in sorted({*read.problems, *(() if read.foreign else wrong)}):
        problems.line(file, line, said)
    for line, said in master.doubled(read.records):
        problems.line(file, line, said, level="warning")
    for rtype, lines in read.made.items():
        said = f"{rtype} records are made by the server and cannot be declared ({len(lines)} here; remove them)"
        problems.line(file, lines[0], said)
    if not (read.records or read.made or read.problems or read.soa):
        problems.add(None, "", "is empty (write at least the zone's NS records)", file=file)
    return resources


def check(customers: Sequence[Customer], inventory: Inventory, problems: Problems) -> None:
    """A zone belongs to one customer; its targets exist and hold zones."""
    seen: dict[str, tuple[str, Mark]] = {}
    for customer in customers:
        section = customer.sections.get("dns")
        if not isinstance(section, Section):
            continue
        zones = _zones(customer.data["dns"])
        for key in zones:
            zone, mark = dns.fold_zone(key), zones.marks[key]
            path = f"zones.{key}"
            owner, first = seen.setdefault(zone, (customer.name, mark))
            if owner != customer.name:
                text = f"is declared in {first.file}:{first.line} too (a zone belongs to one customer)"
                problems.add(mark, path, text, at_value=False)
            names = section.targets_of(zone)
            if not names:
                problems.add(mark, path, f"has no target{nearest('', inventory.with_facet(FACET))}", at_value=False)
            said = "target" if section.zones[zone].target else "targets"
            for target in names:
                place = find(zones, [key, said])
                inventory.check_target(target, FACET, place, f"{path}.{said}", problems)
        _check_derived(customer, inventory, problems)


def _check_derived(customer: Customer, inventory: Inventory, problems: Problems) -> None:
    """What follows from other sections contradicts nothing that is written by hand."""
    for zone, said in derived.by_zone(customer, inventory).items():
        read = customer.files["dns"].get(zone)
        for resource, one in derived.clashes(zone, read.lasting, said) if read else ():
            file, _, line = resource.source.rpartition(":")
            text = f"contradicts the {one.rtype} that follows from {one.source} (leave one: publish has leave_out)"
            problems.append(Problem(file, int(line), 1, resource.id.name, text))


def schemas() -> dict[str, dict[str, Any]]:
    """JSON Schemas of this section's further files."""
    return {"dns-records": records.schema()}
