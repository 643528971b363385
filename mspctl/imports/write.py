"""Zones → a customer's files. All is made beside, read back and compared; only then is it put in place."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from mspctl import edit, strict_yaml
from mspctl.desired.dns import back
from mspctl.errors import Error, InputError
from mspctl.fields import one_line
from mspctl.imports import Written, count
from mspctl.kinds import dns, spoken_duration
from mspctl.load import load
from mspctl.model.sections import dns as section
from mspctl.model.sections.dns.records import APEX, RecordReader
from mspctl.resource import Resource
from mspctl.strict_yaml import Map, Problems

Zones = Mapping[str, Sequence[Resource]]


def write(root: Path, customer: str, zones: Zones, target: str, name: str = "") -> Written:
    """
    Write `zones` as those of `customer`, living on `target`; a customer that is not there yet is made.

    Raises InputError when a zone has files already, or when the estate would not load with them; then, as after any
    error, nothing is written.
    """
    if not zones:
        raise InputError.at("--from", "there is no zone that can come in; nothing was written")
    if name:
        _check_name(name)
    folder = root / "customers" / customer
    ttl = back.usual_ttl([r for resources in zones.values() for r in resources])
    _check_free(folder, zones)
    draft = Path(tempfile.mkdtemp(prefix=".import-", dir=root / "customers"))
    try:
        names = _draft(draft, folder, customer, zones, target, ttl, name)
        _compare(draft, folder, zones)
        _place(draft, root, customer, names)
    except OSError as error:
        raise InputError.at(str(folder), f"cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Written([f"customers/{customer}/{n}" for n in names], *count(zones))


def _check_name(name: str) -> None:
    try:
        one_line(name)
    except ValueError as error:
        raise InputError.at("--name", str(error)) from None


def _check_free(folder: Path, zones: Zones) -> None:
    problems = Problems()
    for zone in zones:
        for suffix in (".yaml", ".zone"):
            path = folder / section.FILES / f"{section.file_name(zone)}{suffix}"
            if os.path.lexists(path):
                problems.add(None, "", "is there already (remove it to import the zone again)", file=str(path))
    if problems:
        raise InputError(problems)


def _draft(draft: Path, folder: Path, customer: str, zones: Zones, target: str, ttl: int, name: str) -> list[str]:
    """All files in the draft folder; those that replace one of the customer's start from it."""
    names = []
    (draft / section.FILES).mkdir()
    for zone, resources in zones.items():
        names.append(f"{section.FILES}/{section.file_name(zone)}.yaml")
        data = _records(resources, _zone_ttl(resources, ttl))
        (draft / names[-1]).write_text(edit.dump(data), encoding="utf-8")
    overview = folder / "dns.yaml"
    if overview.exists():
        text = edit.edit(overview.read_text(encoding="utf-8"), _added(zones, target, ttl), file=str(overview))
    else:
        entries = {zone: _zone_entry(resources, ttl) for zone, resources in zones.items()}
        defaults = {"target": target, "ttl": spoken_duration(ttl)}
        text = edit.dump({"defaults": defaults, "zones": entries})
    (draft / "dns.yaml").write_text(text, encoding="utf-8")
    if not (folder / "customer.yaml").exists():
        (draft / "customer.yaml").write_text(edit.dump({"name": name or customer}), encoding="utf-8")
        names.append("customer.yaml")
    return [*names, "dns.yaml"]


def _records(resources: Sequence[Resource], ttl: int) -> dict[str, edit.Plain]:
    """A record file. A host that is really called apex is written with an escape, which reads as the same name."""
    hosts = [r for r in resources if dns.owner_type(r.id)[0] == APEX]
    data = back.as_yaml([r for r in resources if r not in hosts] if hosts else resources, ttl)
    for entry in back.as_yaml(hosts, ttl).values():
        data[f"\\{APEX}"] = entry
    return data


def _zone_ttl(resources: Sequence[Resource], ttl: int) -> int:
    return back.usual_ttl(resources) if resources else ttl


def _zone_entry(resources: Sequence[Resource], ttl: int) -> dict[str, edit.Plain]:
    own = _zone_ttl(resources, ttl)
    return {} if own == ttl else {"ttl": spoken_duration(own)}


def _added(zones: Zones, target: str, ttl: int) -> list[edit.Edit]:
    return [
        edit.Set(("zones", zone), {"target": target, "ttl": spoken_duration(_zone_ttl(resources, ttl))})
        for zone, resources in zones.items()
    ]


def _compare(draft: Path, folder: Path, zones: Zones) -> None:
    """Read the draft as `load` would: what is not the same would be a difference that nobody made."""
    problems = Problems()
    overview = strict_yaml.read(draft / "dns.yaml", str(folder / "dns.yaml"), problems)
    model = section.Section.model_validate(section.layered(overview))
    for zone, resources in zones.items():
        name = f"{section.FILES}/{section.file_name(zone)}.yaml"
        reader = RecordReader(zone, model.zones[zone].ttl, problems)
        data = strict_yaml.read(draft / name, str(folder / name), problems)
        read = {r.id: dict(r.fields) for r in reader.read(data or Map(), name)}
        if read != {r.id: dict(r.fields) for r in resources}:
            raise Error(f"{zone} would not read back as it was found; nothing was written")
    if problems.errors:
        raise InputError(problems.errors)


def _place(draft: Path, root: Path, customer: str, names: Sequence[str]) -> None:
    """Put the files in place, and take them back when the estate does not load with them."""
    folder, kept = root / "customers" / customer, draft / "kept"
    made = [path for path in (folder / section.FILES, folder) if not path.exists()]
    (folder / section.FILES).mkdir(parents=True, exist_ok=True)
    (kept / section.FILES).mkdir(parents=True)
    try:
        for name in names:
            if (folder / name).exists():
                shutil.copy2(folder / name, kept / name)
            os.replace(draft / name, folder / name)
        load(root, [customer])
    except BaseException:
        for name in names:
            (folder / name).unlink(missing_ok=True)
            if (kept / name).exists():
                os.replace(kept / name, folder / name)
        for path in made:
            path.rmdir()
        raise
