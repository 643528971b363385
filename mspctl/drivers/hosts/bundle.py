"""
What a resource is on a host: files, timers, packages. And what is amiss where the host is not so. Pure.

A facet says what one of its resources makes of a host (`bundle`) and reads resources out of facts (`parse`). That what
is read really is what the fields say is seen here, by making the bundle again and holding it against the facts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from mspctl.driver import Outputs
from mspctl.errors import TargetError
from mspctl.kinds import AMISS
from mspctl.kinds.hosts import amiss
from mspctl.moments import DAYS
from mspctl.resource import Change, Resource

PROGRAMS = Path(__file__).parents[2] / "playbooks" / "files"
UNITS = "/etc/systemd/system"
Facts = Mapping[str, Any]  # as playbooks/library/mspctl_host.py gives them


@dataclass(frozen=True, slots=True)
class Place:
    """Whose resource it is, for those who come across its files."""

    customer: str
    host: str
    section: str

    @property
    def mark(self) -> str:
        return f"Managed by mspctl (customers/{self.customer}/{self.section}.yaml): what is changed here is reported"


@dataclass(frozen=True, slots=True)
class File:
    path: str
    text: str
    mode: str = "0644"
    secret: str = ""  # which one, "NAME rev 1": the value follows the text
    check: Sequence[str] = ()  # a program of the host that has to agree, given the name of a draft


@dataclass(frozen=True, slots=True)
class Bundle:
    files: Sequence[File] = ()
    timers: Sequence[str] = ()  # enabled, and waiting for their time
    packages: Sequence[str] = ()
    holds: Sequence[str] = ()
    services: Sequence[str] = ()  # enabled and running; what changes in the files, they take in
    parting: Sequence[str] = ()  # packages that go when their resource goes
    quiet: Sequence[str] = ()  # units that a package brings, and that must not run beside ours
    apt: Sequence[tuple[str, str]] = ()  # what our files tell APT, and no other file may say otherwise

    @property
    def units(self) -> list[str]:
        """Those that are on."""
        return [*self.timers, *self.services]


@dataclass(frozen=True, slots=True)
class Watched:
    """What a facet wants to know of each host; patterns as in a shell."""

    files: Sequence[str] = ()
    secret: Sequence[str] = ()
    units: Sequence[str] = ()
    packages: Sequence[str] = ()
    apt: Sequence[str] = ()
    state: Sequence[str] = ()
    named: Sequence[str] = ()  # files of JSON that name further `services` and `packages`


class Facet(Protocol):
    """One section's pure half."""

    KINDS: frozenset[str]
    WATCHED: Watched

    def accept(self, resource: Resource) -> None:
        """Raises Unsupported."""

    def bundle(self, resource: Resource, place: Place) -> Bundle: ...

    def parse(self, facts: Facts) -> Iterator[Resource]:
        """What is there, without what is amiss. Raises TargetError when it makes no sense."""

    def known(self, facts: Facts) -> Outputs:
        """What findings want to know besides."""


def calendar(days: frozenset[int], start: timedelta, timezone: str) -> str:
    """`OnCalendar` of systemd."""
    named = "" if len(days) == len(DAYS) else ",".join(DAYS[day].title() for day in sorted(days)) + " "
    minutes = int(start.total_seconds()) // 60
    return f"{named}*-*-* {minutes // 60:02}:{minutes % 60:02}:00 {timezone}"


@cache
def program(name: str) -> str:
    """One that runs on hosts by itself."""
    return (PROGRAMS / f"{name}.py").read_text(encoding="utf-8")


def watching(facets: Iterable[Facet]) -> dict[str, list[str]]:
    """What to ask a host for all these facets."""
    watched = [facet.WATCHED for facet in facets]
    return {
        name: list(dict.fromkeys(each for one in watched for each in getattr(one, name)))
        for name in ("files", "secret", "units", "packages", "apt", "state", "named")
    }


def seen(facet: Facet, facts: Facts, place: Place) -> Iterator[Resource]:
    """A facet's resources as they are, with what is amiss, and a handle that says what was read of them."""
    for found in facet.parse(facts):
        bundle = facet.bundle(found, place)
        fields = {**found.fields, **(amiss(deviations(bundle, facts)) if AMISS in found.fields else {})}
        yield replace(found, fields=fields, handle=json.dumps(expected(bundle, facts), sort_keys=True))


def deviations(bundle: Bundle, facts: Facts) -> Iterator[str]:
    """In words, and each beginning with what it is about."""
    yield from _of_files(bundle, facts)
    yield from _of_units(bundle, facts)
    yield from (f"package {name} is not installed" for name in bundle.packages if name not in facts["packages"])
    for name, value in bundle.apt:
        found = facts["apt"].get(name.lower(), [])
        if found != [value]:
            yield f"{name} is {' '.join(found) or 'not set'}, not {value}"


def _of_files(bundle: Bundle, facts: Facts) -> Iterator[str]:
    for file in bundle.files:
        there = facts["files"].get(file.path)
        if there is None:
            yield f"{file.path} is missing"
        elif there["text"] != file.text:
            yield f"{file.path} was edited"
        elif there["mode"] != file.mode:
            yield f"{file.path} has mode {there['mode'] or '?'}"


def _of_units(bundle: Bundle, facts: Facts) -> Iterator[str]:
    for name in bundle.units:
        unit = facts["units"].get(name, {})
        if unit.get("enabled") != "enabled":
            yield f"{name} is {_switched(unit.get('enabled', ''))}"
        elif unit.get("active") != "active":
            yield f"{name} {'has failed' if unit.get('active') == 'failed' else 'is stopped'}"
    for name in bundle.quiet:
        unit = facts["units"].get(name, {})
        if unit.get("enabled") == "enabled" or unit.get("active") == "active":
            yield f"{name} runs beside ours"


def _switched(enabled: str) -> str:
    return {"not-found": "missing", "": "missing"}.get(enabled, enabled)


def expected(bundle: Bundle, facts: Facts) -> dict[str, Any]:
    """What was read of all that a bundle touches: the host compares it before it writes."""
    files, units, on = facts["files"], facts["units"], [*bundle.units, *bundle.quiet]
    return {
        "files": {file.path: files[file.path]["sum"] if file.path in files else "" for file in bundle.files},
        "secret": [file.path for file in bundle.files if file.secret],
        "units": {name: f"{units[name]['enabled']}/{units[name]['active']}" for name in on if name in units},
        "packages": {name: name in facts["packages"] for name in bundle.packages},
        "held": {name: name in facts["held"] for name in bundle.holds},
    }


def written(path: str, text: str) -> dict[str, Any]:
    """What a file of JSON behind comments says. Raises TargetError."""
    try:
        said = json.loads("".join(line for line in text.splitlines() if not line.startswith("#")))
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise TargetError(f"{path} is not what mspctl wrote there (no JSON)")
    return said


NONE_THERE: Facts = {"files": {}, "units": {}, "packages": {}, "held": []}


def item(facet: Facet, change: Change, place: Place) -> dict[str, Any]:
    """
    A change as the host carries it out. What is amiss and not to be ended with it stays as it is; raises TargetError
    where that cannot be.
    """
    old = facet.bundle(change.before, place) if change.before else Bundle()
    new = facet.bundle(change.after, place) if change.after else Bundle()
    if change.before:
        expect = json.loads(change.before.handle) if change.before.handle else None
    else:
        expect = expected(replace(new, packages=()), NONE_THERE)
    left = change.after.fields.get(AMISS, frozenset()) if change.after else frozenset()
    stays = _Left(left if isinstance(left, frozenset) else frozenset())
    kept = {file.path for file in new.files}
    return {
        "expect": expect,
        "packages": [name for name in new.packages if not stays.names(f"package {name}")],
        "files": [_file(file) for file in _written(old, new, stays)],
        "absent": [file.path for file in old.files if file.path not in kept],
        "on": [name for name in new.units if not stays.names(name)],
        "off": [
            *(name for name in old.units if name not in new.units),
            *(name for name in new.quiet if not stays.names(name)),
        ],
        "restart": [*new.services],
        "gone": [name for name in old.parting if name not in new.packages],
        "hold": {name: False for name in old.holds if name not in new.holds} | dict.fromkeys(new.holds, True),
    }


@dataclass(frozen=True, slots=True)
class _Left:
    """What is amiss and stays so."""

    sentences: frozenset[str] = field(default_factory=frozenset)

    def names(self, subject: str) -> bool:
        return any(sentence.startswith(f"{subject} ") for sentence in self.sentences)


def _written(old: Bundle, new: Bundle, stays: _Left) -> Iterator[File]:
    before = {file.path: file for file in old.files}
    for file in new.files:
        if not stays.names(file.path):
            yield file
        elif before.get(file.path) != file:
            raise TargetError(f"{file.path} was edited on the host: end that first (apply --revert, or adopt)")


def _file(file: File) -> dict[str, Any]:
    said = {"path": file.path, "text": file.text, "mode": file.mode}
    return said | ({"secret": file.path} if file.secret else {}) | ({"check": [*file.check]} if file.check else {})


def secrets(facet: Facet, change: Change, place: Place) -> Iterator[tuple[str, str]]:
    """(path, which one) of each file of a change that holds a secret."""
    bundle = facet.bundle(change.after, place) if change.after else Bundle()
    return ((file.path, file.secret) for file in bundle.files if file.secret)
