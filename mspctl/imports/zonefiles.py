"""A folder of master files (RFC 1035), one per zone: `<zone>.zone`, `<zone>.db`, `db.<zone>` or just `<zone>`."""

from __future__ import annotations

from pathlib import Path

from mspctl.imports import WHOLE, Found, file_names
from mspctl.kinds import dns, master
from mspctl.model.sections.dns import checks
from mspctl.strict_yaml import Problems, read_text


def read(folder: Path) -> Found:
    """Every zone of the folder. What cannot come in is in `left_out`, by name."""
    found = Found()
    for path, file in file_names(folder):
        found.files += 1
        problems = Problems()
        zone = _zone_of(path, file, problems)
        text = read_text(path, file, problems) if zone else None
        if text is not None:
            _take(zone, text, file, found, problems)
        elif zone:
            problems.add(None, "", WHOLE, file=file)
        found.left_out += problems.errors
        found.warnings += [p for p in problems if p.level == "warning"]
    return found


def _zone_of(path: Path, file: str, problems: Problems) -> str:
    name = path.name.removeprefix("db.")
    for suffix in (".zone", ".db"):
        name = name.removesuffix(suffix)
    try:
        if path.is_symlink() or not path.is_file() or path.name.endswith(".before-mspctl"):
            raise ValueError("is not a zone file")
        return dns.fold_zone(name.replace("%2F", "/"))
    except ValueError as error:
        problems.add(None, "", f"{error} (left out)", file=file)
        return ""


def _take(zone: str, text: str, file: str, found: Found, problems: Problems) -> None:
    read = master.read(text, zone)
    resources, wrong = master.rrsets(read.records, zone, file)
    found.rrsets += len({(r.owner, r.rtype) for r in read.records})
    found.values += len(read.records)
    for line, said in read.problems:
        problems.line(file, line, said)
    if zone in found.zones:
        problems.add(None, "", f"is a second file of {zone} (left out)", file=file)
        return
    if read.problems:
        problems.add(None, "", WHOLE, file=file)
        return
    for line, said in wrong:
        problems.line(file, line, said, level="warning" if " has TTL " in said else "error")
    doubled = master.doubled(read.records)
    found.doubled += len(doubled)
    for line, said in doubled:
        problems.line(file, line, said, level="warning")
    for rtype, lines in read.made.items():
        said = f"{rtype} records are made by the server, not declared ({len(lines)} left out)"
        problems.line(file, lines[0], said, level="warning")
    refused = checks.zone(zone, resources, problems, glue=True)
    found.zones[zone] = [r for r in resources if r.id not in refused]
