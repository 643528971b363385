"""Kills one apply of mail at one point, runs the next one, and says what is not as it must be."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mspctl.git import command
from tests.faults.killing import converges, mend_remote
from tests.faults.lab import leftovers, name_runs, sound
from tests.faults.mail_lab import ACME, BETA, COST, FILE, MailLab, Tables, quiet
from tests.servers import databases

CHANGES = {
    "paolo: {name: Paolo Zen, quota: 10 GiB": "paolo: {name: Paolo Zen, quota: 12 GiB",
    "acquisti: {quota: 5 GiB, password: generated}": "ordini: {was: acquisti, quota: 5 GiB, password: generated}",
    "{secret: LUCA, rev: 1}}": "{secret: LUCA_2, rev: 2}}\n      nuovo: {password: generated, quota: 1 GiB}",
    "tutti: [paolo, luca, ": "tutti: [paolo, luca, nuovo, ",
    "catch_all: [acquisti]": "catch_all: [ordini]",
    "[acme.it]": "[acme.it, acme.org]",
    "{mailboxes: 10}": "{mailboxes: 12}",
}
OTHERS = {
    "forwards: [anna@home.example]}": "forwards: [anna@new.example]}\n      bruno: {password: generated}",
    "    mailboxes:\n      info: {password: generated}": "    leavers:\n      info: "
    "{left: 2026-01-01, copy_to: [anna@beta.example], keep_until: 2190-01-01}",
}


@dataclass(frozen=True)
class Scene:
    """Where the killed apply starts, and what there is when nobody kills it."""

    start: Path
    tables: Tables | None  # on a server, which all runs share
    rows: dict[str, list[dict[str, Any]]]  # in its tables when it starts
    before: dict[str, Any]
    goal: dict[str, Any]
    doors: dict[str, set[str]]


def first(root: Path, empty: Path, server: databases.Server | None) -> MailLab:
    """Nothing is there yet."""
    return MailLab.prepare(root, empty, server)


def change(root: Path, empty: Path, server: databases.Server | None) -> MailLab:
    """Everything is there; something of each kind changes, and somebody has written beside it."""
    lab = MailLab.prepare(root, empty, server)
    name_runs("start")
    assert lab.run("apply").code == 0
    lab.tables.run("UPDATE mailbox SET phone = '1' WHERE username = 'paolo@acme.example'")
    lab.tables.run("UPDATE domain SET description = 'by hand' WHERE domain = 'beta.example'")
    acme, beta = ACME, BETA
    for old, new in CHANGES.items():
        assert acme.count(old) == 1, old
        acme = acme.replace(old, new)
    for old, new in OTHERS.items():
        assert beta.count(old) == 1, old
        beta = beta.replace(old, new)
    lab.write(FILE, acme)
    lab.write("customers/beta/mail.yaml", beta)
    return lab


SCENES: dict[str, Callable[[Path, Path, databases.Server | None], MailLab]] = {"first": first, "change": change}


def staged(name: str, root: Path, empty: Path, server: databases.Server | None) -> tuple[Scene, list[str]]:
    """A scene, and the write points of an apply that nobody kills."""
    start = SCENES[name](root / "start", empty, server)
    rows, before = start.tables.rows(), start.held()
    undisturbed = start.copy(root / "undisturbed")
    done = undisturbed.real("apply", "-y", points=str(root / "points"), sql=True, cost=COST)
    assert done.code == 0, done.out + done.err
    tables = start.tables if server else None
    scene = Scene(start.root, tables, rows, before, undisturbed.held(), undisturbed.doors())
    assert all(len(names) == 1 for names in scene.doors.values())
    return scene, (root / "points").read_text().splitlines()


def kill_at(at: int, scene: Scene, place: Path) -> list[str]:
    """What went wrong; nothing, it is hoped."""
    quiet()
    command.DEAD = 0.3  # git's own lock files are known to be dead sooner
    try:
        lab = MailLab(scene.start, scene.tables).copy(place)
        if scene.tables:
            scene.tables.put_back(scene.rows)
        killed = lab.real("apply", "-y", at=at, run="killed", sql=True, cost=COST)
        wrong = [] if killed.code == -9 else [f"ended with {killed.code}: {killed.err}"]
        wrong += _whole(lab, scene)
        mend_remote(lab)
        wrong += converges(lab, by_person=at % 2 == 0)
        return [*wrong, *_as_it_must_be(lab, scene)]
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _whole(lab: MailLab, scene: Scene) -> Iterator[str]:
    """Of each domain all is written or nothing, and nothing before the remote's ledger knows of the run."""
    held = lab.held()
    for domain in held.keys() | scene.before.keys():
        if held.get(domain) not in (scene.before.get(domain), scene.goal.get(domain)):
            yield f"{domain} is half made: {held.get(domain)}"
    if held != scene.before and "killed" not in lab.runs():
        yield "something was written, and the ledger on the remote does not know the run"


def _as_it_must_be(lab: MailLab, scene: Scene) -> Iterator[str]:
    held, doors = lab.held(), lab.doors()
    for domain in held.keys() | scene.goal.keys():
        there, goal = held.get(domain, {}), scene.goal.get(domain, {})
        for table in there.keys() | goal.keys():  # PostfixAdmin's log is one: nothing was done twice
            if there.get(table) != goal.get(table):
                yield f"{table} of {domain} differs: {there.get(table)} is not {goal.get(table)}"
    if doors != scene.doors:
        yield f"other passwords: {doors} is not {scene.doors}"
    yield from (f"left behind: {name}" for name in leftovers(lab))
    yield from (f"left behind: {path}" for path in lab.clone.glob("customers/*/.*"))
    if said := sound(lab):
        yield f"git fsck: {said}"
    if missing := lab.runs() - lab.told().keys():
        yield f"the history does not tell of {missing}"
    yield from (f"landed {count} times: {key}" for key, count in lab.landings("killed", "next").items() if count > 1)
