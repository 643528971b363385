"""
The provider of Pulumi over its real wire, called as the engine does it: medians of five, on a copy of the examples.

What it writes goes into files of zones: no server's time is in it.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

from tests.provider.wire import CUSTOMER, Json, by_pulumi, provider

ROOT = Path(__file__).resolve().parents[1]
ZONE_TYPE = "mspctl:dns:Zone"
ROUNDS = 5


def measured(call: Callable[[], object]) -> float:
    begun = perf_counter()
    call()
    return perf_counter() - begun


def zone(name: str, names: int) -> Json:
    rrsets = {f"h{number} A": {"ttl": 300, "values": ["192.0.2.1"]} for number in range(names)}
    return {"customer": CUSTOMER, "target": "ns-1", "name": name, "resources": {"rrset": rrsets}}


def round_of(repository: Path, number: int) -> dict[str, float]:
    """One process: from its start to its end."""
    found = {}
    begun = perf_counter()
    with provider(repository) as wire:
        found["a process starts"] = perf_counter() - begun
        found["the first check"] = measured(lambda: wire.check(ZONE_TYPE, zone("first.example", 1)))
        for size, names in (("small", 10), ("1,000 names", 1000)):
            made = zone(f"z{names}-{number}.example", names)
            checked = wire.checked(ZONE_TYPE, made)
            found[f"check, {size}"] = measured(partial(wire.check, ZONE_TYPE, made))
            begun = perf_counter()
            id_, state = wire.create(ZONE_TYPE, checked)
            found[f"create, {size}"] = perf_counter() - begun
            found[f"diff, {size}"] = measured(partial(wire.diff, ZONE_TYPE, state, checked, checked))
            assert id_
        status = Path(f"/proc/{wire.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        found["MiB at most"] = int(line.split()[1]) / 1024
    return found


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="mspctl-bench-") as name:
        folder = Path(name)
        for each in ("customers", "inventory"):
            shutil.copytree(ROOT / each, folder / each)
        subprocess.run(["git", "init", "--quiet", folder], check=True)  # locks are kept in it
        (folder / "scratch/ns-1").mkdir(parents=True)
        by_pulumi(folder)
        rounds = [round_of(folder, number) for number in range(ROUNDS)]
    for what in rounds[0]:
        print(f"{what:24} {median(each[what] for each in rounds):8.4f}")


if __name__ == "__main__":
    main()
