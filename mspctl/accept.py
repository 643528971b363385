"""A line in a customer's accepted.yaml: what was changed outside stays as it is until a day."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mspctl import edit
from mspctl.errors import InputError, Problem
from mspctl.model.base import validate
from mspctl.model.permissions import AcceptedFile
from mspctl.plan import ScopePlan
from mspctl.strict_yaml import Problems, parse


def accept(
    root: Path, customer: str, path: str, why: str, who: str, until: str, plans: Iterable[ScopePlan]
) -> tuple[str, int]:
    """
    Write the acceptance; returns the file, and how many differences it is about now.

    Raises InputError for a path that names no difference, and for a day or a text that the file could not hold.
    """
    full = path.rstrip("/")
    names = [f"{p.scope.facet}/{p.scope.name}/{d.id.name}" for p in plans for d in p.drifted]
    mine = [name for name in names if name == full or name.startswith(full + "/")]
    if not mine:
        raise InputError.at("", f"{path} names nothing that was changed outside (mspctl drift -c {customer} shows it)")
    file = f"customers/{customer}/accepted.yaml"
    place = root / file
    old = place.read_bytes().decode() if place.exists() else None
    entry: edit.Plain = {"resource": full, "why": why, "who": who, "until": edit.Bare(until)}
    new = edit.edit(old or "", [edit.Insert(("accepted",), entry)], file=file)
    _check(new, file)
    edit.write(place, new, replaces=old, file=file)
    return file, len(mine)


def _check(text: str, file: str) -> None:
    problems = Problems()
    validate(AcceptedFile, parse(text, file, problems), file, problems)
    if problems:
        # What was typed stands on the command line, not in a file yet.
        raise InputError(Problem("", 0, 1, p.path.rpartition(".")[2], p.text) for p in problems)
