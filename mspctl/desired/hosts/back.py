"""
What is on a host → the YAML of its section: antivirus.yaml, backup.yaml, patching.yaml.

What was changed on one host is said for that host, whatever it had from its role or a baseline; a job that several
hosts share is not touched for one of them. What is amiss, and a hold of which nobody said why, cannot be said at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from mspctl import edit, strict_yaml
from mspctl.desired import Rewritten, antivirus, backup, patching
from mspctl.errors import Error, InputError
from mspctl.fields import spoken_size
from mspctl.kinds import AMISS
from mspctl.kinds import antivirus as guards
from mspctl.kinds import backup as jobs
from mspctl.kinds import patching as policies
from mspctl.kinds.hosts import scope_name
from mspctl.load import Estate
from mspctl.model import sections
from mspctl.model.base import validate
from mspctl.model.customer import Customer
from mspctl.model.layers import merge
from mspctl.resource import Id, Resource, Value
from mspctl.strict_yaml import Map, Problems, find_value

REMEDY = "change it by hand, or undo it: apply --revert"
Keys = tuple[str, ...]


def rewrite(estate: Estate, customer: str, name: str, adopted: Mapping[Id, Resource | None]) -> Rewritten:
    """The section's file, declaring `adopted` for one host. Raises InputError for what it cannot say."""
    _, host, section = name.split("/")
    owner, file = estate.customers[customer], f"customers/{customer}/{section}.yaml"
    path = estate.root / file
    text = path.read_bytes().decode() if path.is_file() else ""
    before = _declared(estate, owner, section, host)
    edits: list[edit.Edit] = []
    for id_, resource in sorted(adopted.items()):
        if resource and resource.fields.get(AMISS):
            raise InputError.at(file, f"{id_.name} on {host}: what is amiss there cannot be declared; {REMEDY}")
        try:
            edits += _EDITS[section](owner, host, text, before.get(id_), id_, resource)
        except ValueError as error:
            raise InputError.at(file, f"{id_.name} on {host} {error}; {REMEDY}") from None
    after = edit.edit(text, edits, file=file)
    _verify(estate, owner, section, host, after, file, before, adopted)
    return Rewritten(file, text, after, len(adopted))


def _patching(
    owner: Customer, host: str, text: str, before: Resource | None, id_: Id, live: Resource | None
) -> Iterator[edit.Edit]:
    own: Keys = ("hosts", host)
    if id_.kind == policies.HOLD:
        path = (*own, "holds", id_.name)
        if live is not None:
            raise ValueError("is held, and nobody said why and until when")
        if find_value(strict_yaml.parse(text, "", Problems()), path) is None:
            raise ValueError("is held by a policy for other hosts too")
        yield edit.Delete(path, prune=True)
        return
    if live is None:
        raise ValueError("is gone, and other hosts may share its policy")
    for key, value in _changed(before, live):
        if key not in ("what", "reboot", "hours"):
            raise ValueError(f"has another {key}, which is the customer's")
        yield edit.Set((*own, {"hours": "window"}.get(key, key)), str(value))


def _backup(
    owner: Customer, host: str, text: str, before: Resource | None, id_: Id, live: Resource | None
) -> Iterator[edit.Edit]:
    path: Keys = ("jobs", id_.name)
    if id_.kind != jobs.JOB:
        raise ValueError("is about other hosts' backups")
    job = find_value(strict_yaml.parse(text, "", Problems()), path)
    if not isinstance(job, Map) or job.get("host") != host:
        raise ValueError("is not a job of this file for this host alone")
    if live is None:
        yield edit.Delete(path)
        return
    for key, value in _changed(before, live):
        if key in ("paths", "exclude"):
            yield edit.Set((*path, key), sorted(value) if isinstance(value, frozenset) else [])
        elif key == "schedule":
            yield edit.Set((*path, key), str(value))
        elif key == "keep":
            kept = sorted(value) if isinstance(value, frozenset) else []
            yield edit.Set((*path, key), dict(each.split() for each in kept))
        elif key == "upload" and isinstance(value, int) and value:
            yield edit.Set((*path, key), spoken_size(value * 1024))
        else:
            raise ValueError(f"has another {key}, which is said elsewhere")


def _antivirus(
    owner: Customer, host: str, text: str, before: Resource | None, id_: Id, live: Resource | None
) -> Iterator[edit.Edit]:
    if id_.kind == guards.SCAN:
        path: Keys = ("scans", id_.name)
        scan = find_value(strict_yaml.parse(text, "", Problems()), path)
        if not isinstance(scan, Map) or scan.get("host") != host:
            raise ValueError("is not a scan of this file for this host alone")
        if live is None:
            yield edit.Delete(path)
            return
    elif live is None:
        raise ValueError("is gone, and a host without antivirus says why (waived in hosts.yaml)")
    for key, value in _changed(before, live):
        if key == "exclude":
            raise ValueError("leaves something else out, and nobody said why and until when")
        if (id_.kind, key) not in _SAID_AS:
            raise ValueError(f"has another {key}, which is said elsewhere")
        own: Keys = ("scans", id_.name) if id_.kind == guards.SCAN else ("hosts", host)
        yield edit.Set((*own, *_SAID_AS[id_.kind, key]), _as_yaml(value))


_SAID_AS: Mapping[tuple[str, str], Keys] = {
    (guards.SCAN, "paths"): ("paths",),
    (guards.SCAN, "schedule"): ("schedule",),
    (guards.ENGINE, "on_access"): ("on_access",),
    (guards.ENGINE, "prevent"): ("prevent",),
    (guards.ENGINE, "action"): ("action",),
}


def _as_yaml(value: Value) -> str | list[str]:
    if isinstance(value, frozenset):
        return sorted(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


_Edits = Callable[[Customer, str, str, Resource | None, Id, Resource | None], Iterator[edit.Edit]]
_EDITS: Mapping[str, _Edits] = {guards.SECTION: _antivirus, jobs.SECTION: _backup, policies.SECTION: _patching}
_DECLARE = {
    guards.SECTION: antivirus.declare,
    jobs.SECTION: backup.declare,
    policies.SECTION: patching.declare,
}


def _changed(before: Resource | None, live: Resource) -> Iterator[tuple[str, Value]]:
    if before is None:
        raise ValueError("is not declared for this host")
    return ((key, value) for key, value in live.fields.items() if before.fields.get(key) != value)


def _declared(estate: Estate, owner: Customer, section: str, host: str) -> dict[Id, Resource]:
    name = scope_name(owner.name, host, section)
    made = _DECLARE[section](owner, estate.inventory, {}, estate.now)
    return {r.id: r for d in made if d.scope.name == name for r in d.resources}


def _verify(
    estate: Estate,
    owner: Customer,
    section: str,
    host: str,
    text: str,
    file: str,
    before: Mapping[Id, Resource],
    adopted: Mapping[Id, Resource | None],
) -> None:
    """It is read again as `load` reads it, and must come to what was meant."""
    problems = Problems()
    data = strict_yaml.parse(text, file, problems)
    below = estate.inventory.baselines.get(owner.info.baseline or "", Map()).get(section)
    merged = merge(below, data) if isinstance(below, Map) and isinstance(data, Map) else data
    model = validate(sections.module(section).Section, merged, file, problems)
    if problems.errors or model is None or not isinstance(merged, Map):
        raise Error(f"{file}: the live values cannot be written there; nothing was changed")
    after = replace(owner, sections={**owner.sections, section: model}, data={**owner.data, section: merged})
    found, meant = _declared(estate, after, section, host), {**before, **adopted}
    wrong = [i.name for i, one in meant.items() if _fields(found.get(i)) != _fields(one)]
    if wrong:
        raise Error(f"{file}: the live values cannot be written there ({', '.join(wrong)}); nothing was changed")


def _fields(resource: Resource | None) -> Mapping[str, Value] | None:
    return resource.fields if resource else None
