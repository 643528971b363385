"""A folder of octoDNS's YAML, one file per zone. Names without a trailing dot are absolute, as Route 53 reads them."""

from __future__ import annotations

from pathlib import Path

from mspctl import strict_yaml
from mspctl.imports import WHOLE, Found, file_names
from mspctl.kinds import dns
from mspctl.model.sections.dns import checks
from mspctl.model.sections.dns.records import OCTODNS_TTL, RecordReader
from mspctl.strict_yaml import Map, Problems


def read(folder: Path) -> Found:
    """Every zone of the folder. What cannot come in is in `left_out`, by name."""
    found = Found()
    for path, file in file_names(folder):
        found.files += 1
        problems = Problems()
        zone = _zone_of(path, file, problems)
        data = strict_yaml.read(path, file, problems) if zone else None
        if zone and problems.errors:
            problems.add(None, "", WHOLE, file=file)
        elif zone and not _is_zone(data):
            problems.add(None, "", "is no zone file of octoDNS (left out)", file=file)
        elif isinstance(data, Map):
            _take(zone, data, file, found, problems)
        found.left_out += problems.errors
        found.warnings += [p for p in problems if p.level == "warning"]
    return found


def _zone_of(path: Path, file: str, problems: Problems) -> str:
    try:
        if path.is_dir() and not path.is_symlink():
            raise ValueError("is a folder: a zone split over many files is not read")
        if path.suffix != ".yaml" or path.is_symlink() or not path.is_file():
            raise ValueError("is not a YAML file")
        return dns.fold_zone(path.name.removesuffix(".yaml"))
    except ValueError as error:
        problems.add(None, "", f"{error} (left out)", file=file)
        return ""


def _is_zone(data: object) -> bool:
    """A zone maps names to records; octoDNS's own configuration lies about in the same folders."""
    if not isinstance(data, Map):
        return False
    entries = [e for value in data.values() for e in (value if isinstance(value, list) else [value])]
    return not data or any(isinstance(entry, Map) and "type" in entry for entry in entries)


def _take(zone: str, data: Map, file: str, found: Found, problems: Problems) -> None:
    reader = RecordReader(zone, OCTODNS_TTL, problems, dotless="absolute")
    resources = reader.read(data, file)
    found.rrsets += reader.rrsets
    found.values += reader.values
    found.doubled += reader.doubled
    if zone in found.zones:
        problems.add(None, "", f"is a second file of {zone} (left out)", file=file)
        return
    refused = checks.zone(zone, resources, problems, reader.places, glue=True)
    found.zones[zone] = [r for r in resources if r.id not in refused]
