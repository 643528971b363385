"""Kills one apply at one point, runs the next one, and says what is not as it must be. Runs in processes of its own."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mspctl.git import command
from mspctl.locks import Locks
from tests.faults.lab import (
    LOCKED,
    Lab,
    expected_serials,
    is_clean,
    leftovers,
    lock_files,
    name_runs,
    quiet,
    serials,
    sound,
    today,
    without_serials,
)

HELD = timedelta(minutes=21)  # after that any lock is over, whoever's clock is asked


@dataclass(frozen=True)
class Scene:
    """Where the killed apply starts, and what the zones are when nobody kills it."""

    start: Path
    goal: dict[str, str]
    day: int


def first(root: Path) -> Lab:
    """Nothing is there yet."""
    return Lab.make(root)


def change(root: Path) -> Lab:
    """Zones are there; four change, and one of them was written by hand."""
    lab = Lab.make(root)
    assert lab.run("apply").code == 0
    folder = "customers/officine-brenta/dns"
    lab.edit(f"{folder}/brenta.example.yaml", "voip: {A: 192.0.2.85}\n", "neu: {A: 192.0.2.99}\n")
    lab.edit(f"{folder}/brenta.example.yaml", "{SRV: 10 5 5061 voip.brenta", "{SRV: 10 5 5061 neu.brenta")
    lab.edit(f"{folder}/0.20.10.in-addr.arpa.yaml", "nvr.sede.brenta.example.", "cam.sede.brenta.example.")
    lab.edit("customers/studio-dentistico-sala/dns/sala-dentista.example.yaml", "203.0.113.10", "203.0.113.11")
    lab.edit("customers/studio-legale-ferri/dns/avvocati-ferri.example.zone", "203.0.113.41", "203.0.113.42")
    by_hand = lab.zones / "ns-1/sala-dentista.example.zone"
    by_hand.write_text(by_hand.read_text().partition("\n")[2])
    return lab


SCENES: dict[str, Callable[[Path], Lab]] = {"first": first, "change": change}


def kill_at(at: int, scene: Scene, place: Path) -> list[str]:
    """What went wrong; nothing, it is hoped."""
    quiet()
    command.DEAD = 0.3  # git's own lock files are known to be dead sooner
    try:
        lab = Lab(scene.start).copy(place)
        before = lab.files()
        killed = lab.real("apply", "-y", at=at, run="killed")
        wrong = [] if killed.code == -9 else [f"ended with {killed.code}: {killed.err}"]
        wrong += _told(lab, before)
        mend_remote(lab)
        wrong += converges(lab, by_person=at % 2 == 0)
        return [*wrong, *_as_it_must_be(lab, before, scene)]
    finally:
        shutil.rmtree(place, ignore_errors=True)


def mend_remote(lab: Lab) -> None:
    """
    What git on the remote leaves when it dies with us, as only a remote by path can: its own lock files.

    They are for those who look after that machine; test_hostile.py sees to it that they are named.
    """
    if lock_files(lab.remote):
        time.sleep(0.5)  # a git that lives on has no lock file for that long
    for file in lock_files(lab.remote):
        with suppress(FileNotFoundError):
            if file.stat().st_mtime < time.time() - 0.4:
                file.unlink()


def _told(lab: Lab, before: dict[str, str]) -> Iterator[str]:
    """Nothing is written to a target before the remote's ledger knows of the run."""
    after = lab.files()
    if any(name.endswith(".zone") and after[name] != before.get(name) for name in after) and "killed" not in lab.runs():
        yield "zones were written, and the ledger on the remote does not know the run"


def converges(lab: Lab, by_person: bool) -> Iterator[str]:
    name_runs("next")
    with later() if not by_person else _now():
        for _ in range(10):  # a push that outlives its process may take the lock after it was broken
            if by_person:
                lab.break_locks()
            done = lab.run("apply", "--wait", "0")
            if LOCKED not in done.err:
                break
        if done.code:
            yield f"the next apply ended with {done.code}: {done.out}{done.err}"
    if by_person:
        lab.break_locks()
    for asked in ("plan", "drift"):
        said = lab.run(asked)
        if not is_clean(asked, said):
            yield f"{asked} ended with {said.code}: {said.out}{said.err}"


@contextmanager
def later() -> Iterator[None]:
    """When the locks of the dead are over."""
    constructor: Any = Locks.__init__
    defaults = constructor.__defaults__
    constructor.__defaults__ = (lambda: datetime.now(UTC) + HELD,)
    try:
        yield
    finally:
        constructor.__defaults__ = defaults


@contextmanager
def _now() -> Iterator[None]:
    yield


def _as_it_must_be(lab: Lab, before: dict[str, str], scene: Scene) -> Iterator[str]:
    after = lab.files()
    if without_serials(after) != without_serials(scene.goal):
        different = sorted(n for n in after.keys() | scene.goal.keys() if after.get(n) != scene.goal.get(n))
        yield f"other files than after an apply that nobody killed: {different}"
    may = expected_serials(before, scene.goal, {scene.day, today()})
    for name, serial in serials(after).items():
        if serial not in may.get(name, {serial}):
            yield f"{name} was written more than once: serial {serial}"
    yield from (f"left behind: {name}" for name in leftovers(lab))
    if said := sound(lab):
        yield f"git fsck: {said}"
    if missing := lab.runs() - lab.told().keys():
        yield f"the history does not tell of {missing}"
    yield from (f"landed {count} times: {key}" for key, count in lab.landings("killed", "next").items() if count > 1)
