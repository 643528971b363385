"""A line in a customer's accepted.yaml: what was changed outside, or a finding, stays as it is until a day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from mspctl import checks, edit
from mspctl.desired import Rewritten
from mspctl.errors import InputError, Problem
from mspctl.model.base import nearest, validate
from mspctl.model.permissions import AcceptedFile
from mspctl.plan import ScopePlan
from mspctl.strict_yaml import Problems, parse


@dataclass(frozen=True, slots=True)
class Entry:
    """What is accepted, as it is typed."""

    path: str
    why: str
    who: str
    until: str


def accept(root: Path, customer: str, entry: Entry, plans: Iterable[ScopePlan]) -> Rewritten:
    """
    The file with the acceptance, and how many differences it is about now; `write` puts it in place.

    Raises InputError for a path that names no difference, and for a day or a text that the file could not hold.
    """
    full = entry.path.rstrip("/")
    names = [f"{p.scope.facet}/{p.scope.name}/{d.id.name}" for p in plans for d in p.drifted]
    mine = [name for name in names if name == full or name.startswith(full + "/")]
    if not mine:
        raise InputError.at(
            "", f"{entry.path} names nothing that was changed outside (mspctl drift -c {customer} shows it)"
        )
    return replace(_with(root, customer, entry, {}), adopted=len(mine))


def accept_finding(root: Path, customer: str, entry: Entry, code: str) -> Rewritten:
    """The same for a finding, which nobody looks for again. Raises InputError likewise."""
    if code not in (known := checks.codes()):
        raise InputError.at("--finding", f"there is no finding {code}{nearest(code, known)}")
    return _with(root, customer, entry, {"finding": code})


def _with(root: Path, customer: str, entry: Entry, more: dict[str, edit.Plain]) -> Rewritten:
    file = f"customers/{customer}/accepted.yaml"
    place = root / file
    old = place.read_bytes().decode() if place.exists() else None
    line: edit.Plain = {
        "resource": entry.path.rstrip("/"),
        **more,
        "why": entry.why,
        "who": entry.who,
        "until": edit.Bare(entry.until),
    }
    new = edit.edit(old or "", [edit.Insert(("accepted",), line)], file=file)
    _check(new, file)
    return Rewritten(file, old or "", new, 0)


def write(root: Path, one: Rewritten) -> None:
    """Put the file in place, whole."""
    place = root / one.file
    edit.write(place, one.after, replaces=one.before if place.exists() else None, file=one.file)


def _check(text: str, file: str) -> None:
    problems = Problems()
    validate(AcceptedFile, parse(text, file, problems), file, problems)
    if problems:
        # What was typed stands on the command line, not in a file yet.
        raise InputError(Problem("", 0, 1, p.path.rpartition(".")[2], p.text) for p in problems)
