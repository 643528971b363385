"""Many processes at once over one remote: nothing is lost, nothing is done twice, never do two write one zone."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import Said
from tests.faults.killing import later
from tests.faults.lab import LOCKED, Lab, git, leftovers, name_runs, serials, sound, today

SIZES = [6, pytest.param(20, marks=pytest.mark.soak)]
ZONE = "ns-1/brenta.example.zone"
YAML = "customers/officine-brenta/dns/brenta.example.yaml"
ONE = ("-c", "officine-brenta")
PATIENCE = 240  # seconds for all of them


def owner(number: int) -> str:
    return f"p{number:02}"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab.make(tmp_path)


class Crowd:
    """As many clones of one remote, with one folder of zones."""

    def __init__(self, lab: Lab, size: int) -> None:
        self.lab, self.witness = lab, lab.root / "witness"
        self.witness.mkdir()
        self.members = [self._clone(number) for number in range(size)]

    def _clone(self, number: int) -> Lab:
        member = Lab(self.lab.root)
        member.clone = self.lab.root / f"clone-{number:02}"
        for name in ("customers", "inventory"):
            shutil.copytree(self.lab.clone / name, member.clone / name)
        (member.clone / "scratch").symlink_to(self.lab.zones)
        git(member.root, "init", "-q", "--template=", member.clone.name)
        git(member.clone, "remote", "add", "origin", "../remote.git")
        return member

    def run(self, lines: Sequence[Sequence[str]], **faults: Sequence[object]) -> list[Said]:
        """All at once, each its own line and its own faults; then those that were refused once more, one by one."""
        processes = [
            member.start(*line, witness=str(self.witness), slow=0.01, **{k: v[n] for k, v in faults.items()})
            for n, (member, line) in enumerate(zip(self.members, lines, strict=True))
        ]
        over = time.monotonic() + PATIENCE
        said = [finished(process, over) for process in processes]
        for n, member in enumerate(self.members):
            if said[n].code == 1 and LOCKED in said[n].err:
                said[n] = member.run(*lines[n])
        assert not (self.witness / "broken").exists(), (self.witness / "broken").read_text()
        return said


def finished(process: subprocess.Popen[str], over: float) -> Said:
    try:
        out, err = process.communicate(timeout=max(0.1, over - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Said(process.returncode, out, err)


def all_done(said: list[Said]) -> None:
    wrong = [f"{n}: {it.code}\n{it.out}{it.err}" for n, it in enumerate(said) if it.code]
    assert not wrong, "\n".join(wrong)


def settled(lab: Lab) -> None:
    assert (lab.run("plan").code, lab.run("drift").code) == (0, 0)
    assert leftovers(lab) == []
    assert sound(lab) == ""
    assert all(name.endswith(".zone") for name in lab.files())


@pytest.mark.parametrize("size", SIZES)
def test_each_its_own_record_of_one_zone(lab: Lab, size: int) -> None:
    """Each merge is about one record; all are applied at once, by clocks that differ by up to four minutes."""
    with (lab.clone / YAML).open("a") as file:
        file.writelines(f"{owner(n)}: {{A: 198.51.100.{n + 1}}}\n" for n in range(size))
    crowd = Crowd(lab, size)
    lines = [["apply", "-y", *ONE, f"dns/brenta.example/{owner(n)} A"] for n in range(size)]
    clocks = [(n % 5 - 2) * 60 for n in range(size)]
    all_done(crowd.run(lines, clock=clocks, run=[f"run-{owner(n)}" for n in range(size)]))
    zone = lab.files()[ZONE]
    assert all(f"{owner(n)} 3600 IN A 198.51.100.{n + 1}\n" in zone for n in range(size))
    assert serials(lab.files())[ZONE] == today() + size - 1
    assert lab.landings() == {("ns-1/dns/brenta.example.json", f"{owner(n)} A"): 1 for n in range(size)}
    assert lab.told().keys() == {f"run-{owner(n)}" for n in range(size)}
    assert lab.run("apply").code == 0
    settled(lab)


@pytest.mark.parametrize("size", SIZES)
def test_all_the_same(lab: Lab, size: int) -> None:
    crowd = Crowd(lab, size)
    all_done(crowd.run([["apply", "-y", *ONE]] * size))
    assert set(serials(lab.files()).values()) == {today()}
    assert set(lab.landings().values()) == {1}
    assert lab.run("apply").code == 0
    settled(lab)


def customers(lab: Lab, size: int) -> None:
    for n in range(size):
        folder = lab.clone / f"customers/c-{owner(n)}"
        (folder / "dns").mkdir(parents=True)
        (folder / "customer.yaml").write_text(f"name: Customer {n}\n")
        (folder / "dns.yaml").write_text(f"zones:\n  {owner(n)}.example: {{target: ns-1}}\n")
        (folder / f"dns/{owner(n)}.example.yaml").write_text("www: {A: 192.0.2.1}\nmail: {A: 192.0.2.2}\n")


@pytest.mark.parametrize("size", SIZES)
def test_each_its_own_customer(lab: Lab, size: int) -> None:
    """They share nothing but the ledger and the folder."""
    customers(lab, size)
    crowd = Crowd(lab, size)
    all_done(crowd.run([["apply", "-y", "--wait", "0", "-c", f"c-{owner(n)}"] for n in range(size)]))
    assert serials(lab.files()) == {f"ns-1/{owner(n)}.example.zone": today() for n in range(size)}
    assert len(lab.landings()) == 2 * size
    assert set(lab.landings().values()) == {1}
    assert lab.run("apply").code == 0
    settled(lab)


@pytest.mark.soak
def test_some_of_them_are_killed(lab: Lab) -> None:
    """Locks that last three seconds, so that those who live wait for the dead."""
    size, chance = 20, random.Random(os.environ.get("PYTEST_SEED", "7"))  # noqa: S311
    with (lab.clone / YAML).open("a") as file:
        file.writelines(f"{owner(n)}: {{A: 198.51.100.{n + 1}}}\n" for n in range(size))
    crowd = Crowd(lab, size)
    lines = [["apply", "-y", *ONE, f"dns/brenta.example/{owner(n)} A", "--wait", "120"] for n in range(size)]
    at = [chance.randrange(10, 90) if n % 4 == 0 else 100_000 for n in range(size)]
    said = crowd.run(lines, at=at, ttl=[3.0] * size, skew=[1.0] * size)
    killed = {n for n, it in enumerate(said) if it.code == -9}
    assert len(killed) >= 3
    zone = lab.files()[ZONE]
    for n, it in enumerate(said):
        assert it.code in (0, -9) or "is not ours any more" in it.out + it.err, f"{it.code} {it.out}{it.err}"
        assert it.code != 0 or f"{owner(n)} 3600 IN A 198.51.100.{n + 1}\n" in zone
    name_runs("next")
    with later():
        assert lab.run("apply").code == 0
    assert max(lab.landings().values()) == 1
    settled(lab)
