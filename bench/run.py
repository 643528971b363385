"""
How fast mspctl is, and how much memory it takes: against octoDNS on the same zones, and by the size of an estate.

Run it with `make bench`. Whole processes, in turn, medians of five after one to warm up; before a time is believed,
both sides must have found the same zones and records. Exit code 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path

import estate
import on_powerdns
import peer
from measure import Children, Command, Run, git_below, in_turn, output, peak, run

BENCH = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
MSPCTL, VALIDATE, SYNC = BIN / "mspctl", BIN / "octodns-validate", BIN / "octodns-sync"
# 405 zones of the Ministry of Justice, as github.com/ministryofjustice/dns has them; --zones names another folder.
REAL = BENCH.parent.parent / "shared/data/moj-dns/hostedzones"
MADE_UP = 4_000  # RRsets of the estate that stands in for it
SIZES = (2_000, 10_000, 50_000)
SECONDS = 120  # after which no further size is begun


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the verdict: ours against theirs, or against nothing."""

    what: str
    ours: float
    limit: float
    theirs: float | None = None
    digits: int = 2

    @property
    def met(self) -> bool:
        return self.ours <= self.limit * (1 if self.theirs is None else self.theirs)

    def __str__(self) -> str:
        ours = f"{self.ours:.{self.digits}f}"
        theirs = "" if self.theirs is None else f"{self.theirs:.{self.digits}f}"
        ratio = "" if self.theirs is None else f"{self.ours / self.theirs:.2f} ×"
        limit = f"{self.limit:.2f}" + ("" if self.theirs is None else " ×")
        return f"{self.what:<46}{ours:>8}{theirs:>9}{ratio:>9}{'≤ ' + limit:>10}  {'ok' if self.met else 'MISSED'}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zones", type=Path, default=REAL, metavar="FOLDER", help="zones in octoDNS's YAML")
    args = parser.parse_args()
    git = shutil.which("git")
    if not (VALIDATE.exists() and MSPCTL.exists() and git):
        sys.exit("git, mspctl and octoDNS are needed, all in one environment: run make bench")
    output([sys.executable, "-m", "compileall", "-q", BENCH.parent / "mspctl"], codes=(0, 1))
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mspctl-bench-") as folder:
        scratch = Path(folder).resolve()
        goals = [*_against_octodns(scratch, args.zones), *_on_powerdns(scratch), _help()]
        _show(goals)
        goals += _ledger(scratch, git)
        goals += _sizes(scratch, start + SECONDS, git)
    return verdict(goals)


def shown(goals: Iterable[Goal]) -> Iterator[Goal]:
    """Each printed when it is known."""
    for goal in goals:
        print(goal, flush=True)
        yield goal


def verdict(goals: Iterable[Goal]) -> int:
    """Says which were missed; the exit code."""
    missed = [goal.what for goal in goals if not goal.met]
    print(f"\nMissed: {', '.join(missed)}" if missed else "\nEvery goal is met.")
    return 1 if missed else 0


def _show(goals: Sequence[Goal]) -> None:
    print(f"\n{'medians of five':<46}{'mspctl':>8}{'octoDNS':>9}{'ratio':>9}{'goal':>10}")
    for goal in goals:
        print(goal, flush=True)


# -- against octoDNS ------------------------------------------------------------------------------------------


def _against_octodns(scratch: Path, zones: Path) -> Iterator[Goal]:
    folder, ours = scratch / "octodns", scratch / "estate"
    peer.write_configs(folder)
    if zones.is_dir():
        said = f"the zones of {zones.parent.name}"
        output([sys.executable, BENCH / "peer.py", zones, folder / "config"])
    else:
        said = f"made up, for {zones} is not there"
        output([sys.executable, BENCH / "estate.py", folder / "config", "-n", str(MADE_UP), "--octodns"])
    _import(ours, folder / "config")
    output([SYNC, "--config-file", folder / "yaml.yaml", "--doit", "--force"])
    plans = {"YAML files": "yaml.yaml"} | ({"zone files": "zonefiles.yaml"} if peer.HAS_ZONE_FILES else {})
    counted = _same_work(ours, folder, plans.values())
    print(f"octoDNS {version('octodns')}{_zone_files()}, {counted[0]:,} zones, {counted[1]:,} RRsets ({said})")

    validates = {"mspctl": _mspctl(ours, "validate"), "octoDNS": _octodns(VALIDATE, folder / "yaml.yaml")}
    found = in_turn(validates, codes=(0, 1))  # octoDNS's is 1 when it has warned
    yield from _compared("validate", found["mspctl"], found["octoDNS"])
    theirs = {name: _octodns(SYNC, folder / config, "--quiet") for name, config in plans.items()}
    output(_mspctl(ours, "drift", "--record"))
    found = in_turn({"mspctl": _mspctl(ours, "plan"), "drift": _mspctl(ours, "drift")} | theirs)
    for name in theirs:
        yield from _compared(f"plan; octoDNS's into {name}", found["mspctl"], found[name])
    yield Goal("drift, tokens unchanged; octoDNS's plan: wall, s", found["drift"].wall, 0.2, found["YAML files"].wall)
    if peer.HAS_ZONE_FILES:
        print("octoDNS reads the YAML files that it plans for; zone files it only writes, all of them each time.")


def _compared(what: str, ours: Run, theirs: Run) -> Iterator[Goal]:
    yield Goal(f"{what}: wall, s", ours.wall, 0.5, theirs.wall)
    yield Goal(f"{what}: peak, MiB", peak(ours), 1.5, peak(theirs), digits=1)


def _on_powerdns(scratch: Path) -> Iterator[Goal]:
    if not on_powerdns.HERE:
        print("without pdns_server or octodns-powerdns no zones are planned on a server")
        return
    found, counted = on_powerdns.measure(scratch / "estate", scratch)
    print(f"on a PowerDNS, octodns-powerdns {version('octodns-powerdns')}: {counted[0]:,} zones, {counted[1]:,} RRsets")
    what = "plan; both on a PowerDNS"
    yield Goal(f"{what}: wall, s", found["mspctl"].wall, 0.4, found["octoDNS"].wall)
    yield Goal(f"{what}: peak, MiB", peak(found["mspctl"]), 1.5, peak(found["octoDNS"]), digits=1)
    theirs = found["octoDNS"].wall
    yield Goal("drift there, tokens are serials; octoDNS's plan: wall, s", found["drift by serial"].wall, 0.2, theirs)
    yield Goal("drift there, tokens of all records; octoDNS's plan: wall, s", found["drift"].wall, 0.2, theirs)


def _zone_files() -> str:
    try:
        return f" with octodns-bind {version('octodns-bind')}"
    except PackageNotFoundError:
        return " (octodns-bind is not installed, so it plans into YAML files only)"


def _import(folder: Path, zones: Path) -> None:
    """What octoDNS has, as a repository of ours: imported, applied, nothing to do."""
    (folder / "customers").mkdir(parents=True)
    (folder / "zones").mkdir()
    (folder / "inventory").mkdir()
    (folder / "inventory/targets.yaml").write_text(estate.TARGETS)
    output(_mspctl(folder, "import", zones, "--from", "octodns", "--customer", "estate"))
    _begin(folder)


def _begin(folder: Path) -> None:
    """Committed and applied: nothing to do."""
    _commit(folder)
    applied = run(_apply(folder))  # it says more than we have room for
    if applied.code:
        sys.exit(f"mspctl apply: exit code {applied.code}")


def _begin_shared(folder: Path, git: str, scratch: Path) -> Children:
    """The same with a remote, until it is applied, and what that took of git."""
    output(["git", "init", "--quiet", "--bare", f"{folder}.git"])
    _commit(folder, ("remote", "add", "origin", f"{folder}.git"))
    below = git_below(_apply(folder), git, scratch)
    output(["git", "-C", folder, "remote", "remove", "origin"])
    return below


def _commit(folder: Path, *more: Sequence[str]) -> None:
    for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message", "The estate"), *more):
        output(["git", "-C", folder, *words])
    output(_mspctl(folder, "ledger", "init"))


def _apply(folder: Path) -> list[str | Path]:
    return _mspctl(folder, "apply", "--yes", "--reason", "bench")


def _same_work(ours: Path, folder: Path, configs: Iterable[str]) -> tuple[int, int]:
    """Zones and RRsets, after everybody who is to be measured was seen to find as many, and to need no change."""
    counted = _validated(ours)
    said = {"octodns-validate": output([*_octodns(VALIDATE, folder / "yaml.yaml"), "--debug"], codes=(0, 1))}
    said |= {f"octodns-sync, {config}": output(_octodns(SYNC, folder / config)) for config in configs}
    found = {"mspctl plan": _planned(ours)}
    found |= {name: peer.worked(text, "config") for name, text in said.items()}
    found["octodns-sync's target"] = peer.worked(said["octodns-sync, yaml.yaml"], "yaml")
    if zone_files := said.get("octodns-sync, zonefiles.yaml"):
        # It never reads its target: all that is declared is to be made, each time.
        found["octodns-sync's zone files"] = (counted[0], peer.created(zone_files))
    for name, other in found.items():
        if other != counted:
            sys.exit(f"not the same work: mspctl validate found {counted} zones and RRsets, {name} {other}")
    if "No changes were planned" not in said["octodns-sync, yaml.yaml"]:
        sys.exit("octodns-sync has something to do, and should not")
    return counted


def _validated(folder: Path) -> tuple[int, int]:
    counts = re.search(r"([\d,]+) scopes?, ([\d,]+) resources?: no errors", output(_mspctl(folder, "validate")))
    if counts is None:
        sys.exit("mspctl validate does not say what it found")
    return int(counts[1].replace(",", "")), int(counts[2].replace(",", ""))


def _planned(folder: Path) -> tuple[int, int]:
    said = output(_mspctl(folder, "plan", "--output", "json"))
    scopes = json.loads(said[said.index("{") :])["scopes"]
    if any(scope["changes"] or scope["left"] or scope["error"] for scope in scopes):
        sys.exit("mspctl plan has something to do, and should not")
    return len(scopes), sum(scope["declared"] for scope in scopes)


def _mspctl(folder: Path, *words: str | Path) -> list[str | Path]:
    return [MSPCTL, "-C", folder, *words]


def _octodns(program: Path, config: Path, *words: str) -> list[str | Path]:
    return [program, "--config-file", config, *words]


def _help() -> Goal:
    return Goal("mspctl --help: CPU, s", in_turn({"help": [MSPCTL, "--help"]})["help"].cpu, 0.25)


# -- the ledger -----------------------------------------------------------------------------------------------

_WITHOUT = """\
from mspctl.cli import main
from mspctl.cli.workspace import Workspace
Workspace.recorded, Workspace.open_ledger = {}, lambda self: None
main()
"""


def _ledger(scratch: Path, git: str) -> Iterator[Goal]:
    """What a plan pays for knowing what was applied, without a remote and with one on the same disk."""
    here, there, another = scratch / "estate", scratch / "with-origin", scratch / "fresh-clone"
    output(["git", "clone", "--quiet", "--bare", here, scratch / "origin.git"])
    shutil.copytree(here, there)
    output(["git", "-C", there, "remote", "add", "origin", scratch / "origin.git"])
    output(["git", "clone", "--quiet", "--single-branch", f"file://{scratch}/origin.git", another])
    plans: dict[str, Command] = {
        "not read": [sys.executable, "-c", _WITHOUT, "-C", here, "plan"],
        "read": _mspctl(here, "plan"),
        "read, with a remote": _mspctl(there, "plan"),
    }
    found = in_turn(plans, times=9)
    print(f"\n{'the ledger in a plan':<24}{'wall, s':>9}{'CPU, s':>8}{'peak, MiB':>11}  of it in git")
    below = {name: git_below(plans[name], git, scratch) for name in plans}
    for name, plan in found.items():
        children = _said(below[name]) if below[name].count else "none"
        print(f"{name:<24}{plan.wall:>9.2f}{plan.cpu:>8.2f}{peak(plan):>11.1f}  {children}")
    with_, without = found["read"].wall, found["not read"].wall
    share = Goal("the ledger's share of a plan: wall, %", 100 * (with_ - without) / with_, 10, digits=1)
    print(share)
    yield share
    yield _talks("plan, ledger fetched before", below["read, with a remote"], 2)
    yield _talks("drift in a fresh clone", git_below(_mspctl(another, "drift"), git, scratch, (4,)), 2)


def _said(children: Children) -> str:
    return f"{children.count} processes, {children.cpu:.3f} s CPU, at most {children.peak:.0f} MiB"


def _talks(what: str, children: Children, limit: int) -> Goal:
    """Each is a round trip, or the few that git makes of it."""
    goal = Goal(f"{what}: talks", children.talks, limit, digits=0)
    verbs = ", ".join(f"{n} {verb}" for verb, n in children.verbs.items() if verb in ("ls-remote", "fetch", "push"))
    print(f"{goal}  {verbs}")
    return goal


# -- by size --------------------------------------------------------------------------------------------------


def _sizes(scratch: Path, until: float, git: str) -> Iterator[Goal]:
    zones: dict[int, int] = {}
    below: dict[int, Children] = {}
    for records in SIZES:
        if time.monotonic() > until:
            print(f"\n{records:,} RRsets and more are left out: time is up")
            break
        folder = scratch / f"made-up-{records}"
        output([sys.executable, BENCH / "estate.py", folder, "-n", str(records)])
        below[records] = _begin_shared(folder, git, scratch)
        output(_mspctl(folder, "plan"))  # exit code 0: nothing to do
        zones[records] = _validated(folder)[0]
    commands: dict[str, Command] = {
        f"{command} {records}": _mspctl(scratch / f"made-up-{records}", command)
        for records in zones
        for command in ("validate", "plan")
    }
    found = in_turn(commands, times=3)
    print(f"\n{'made-up estates':<16}{'wall, s':>18}{'s per 1,000 RRsets':>25}{'peak, MiB':>19}")
    print(f"{'RRsets':>8}{'zones':>8}" + f"{'validate':>11}{'plan':>8}" * 3)
    for records, count in zones.items():
        validate, plan = found[f"validate {records}"], found[f"plan {records}"]
        walls = f"{validate.wall:>11.2f}{plan.wall:>8.2f}"
        each = f"{validate.wall / records * 1000:>11.3f}{plan.wall / records * 1000:>8.3f}"
        print(f"{records:>8,}{count:>8,}{walls}{each}{peak(validate):>11.1f}{peak(plan):>8.1f}")
    for records, children in below.items():
        yield _talks(f"apply of {zones[records]:,} new zones", children, 8)
    for command in ("validate", "plan"):
        yield from _growth(command, {records: found[f"{command} {records}"].cpu for records in zones})


def _growth(command: str, seconds: Mapping[int, float]) -> Iterator[Goal]:
    """To start costs the same for every size; what must not grow is the price of each thousand more."""
    sizes = list(seconds)
    steps = list(pairwise(sizes))
    prices = [(seconds[large] - seconds[small]) / (large - small) * 1000 for small, large in steps]
    said = [f"{small:,} to {large:,} {price:.3f} s" for (small, large), price in zip(steps, prices, strict=True)]
    if len(prices) > 1:
        goal = Goal(f"{command}, CPU of each further 1,000 RRsets", prices[-1], 1.5, prices[0], digits=3)
        print(f"{command}, CPU of each further 1,000: {', '.join(said)}: {'linear' if goal.met else 'NOT LINEAR'}")
        yield goal


if __name__ == "__main__":
    sys.exit(main())
