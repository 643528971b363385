"""
Which customers a change touches, and how CI shares the work of planning them among its jobs.

A file of a customer touches that customer, a baseline those that have it, the rest of the inventory everybody. Anything
else, and what Git itself goes by, is the program's, unless it is known to be read by nobody: who can change what runs
could have every secret, so a change of that gets no plan made with credentials.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mspctl import strict_yaml
from mspctl.desired import Selection, declarations
from mspctl.errors import InputError
from mspctl.fields import NAME
from mspctl.git.command import Git
from mspctl.load import Estate, load
from mspctl.model.base import validate
from mspctl.model.customer import CustomerInfo
from mspctl.rings import Ring, rings
from mspctl.strict_yaml import Problems

NOTHING = re.compile(r"0+")  # what a forge calls the commit before the first one
GITS_OWN = frozenset({".gitattributes", ".gitmodules"})  # what is checked out may be other text than was reviewed
HARMLESS = re.compile(r"[^/]+\.md|LICENSE|(docs|changelog|\.schemas)/.+")  # read by people and editors
SHARDS = 8  # jobs at once, unless somebody says otherwise


@dataclass(frozen=True, slots=True)
class Touched:
    """What changed files come to, before anybody has looked into them."""

    customers: frozenset[str] = frozenset()
    baselines: frozenset[str] = frozenset()
    everybody: bool = False
    program: Sequence[str] = ()  # paths of what runs, or could


@dataclass(frozen=True, slots=True)
class Shard:
    """The customers of one job, and the labels of the runner that reaches their targets; () is the usual one."""

    customers: Sequence[str]
    runner: Sequence[str] = ()
    cost: int = 0  # scopes and resources
    rings: bool = False  # it is applied ring by ring

    @property
    def options(self) -> str:
        """As `plan` and `apply` take them; names of customers need no quotes in any shell."""
        return " ".join([*(["--rings"] if self.rings else []), *(f"-c {name}" for name in self.customers)])


@dataclass(frozen=True, slots=True)
class Affected:
    base: str  # commits
    commit: str
    customers: Sequence[str]  # that are there now
    gone: Sequence[str]  # whose folders were taken away
    program: Sequence[str]
    shards: Sequence[Shard]
    rings: Sequence[Ring] = ()  # in which order those customers get it; () where it is no change of shared files


def affected(root: Path, base: str, at_most: int = SHARDS, *, merged: bool = False) -> Affected:
    """
    What was committed since `base`. On which runner a customer's job runs is what `base` says of it, for a pull request
    must not choose where secrets go; what is checked out is believed when it was `merged`.

    Raises InputError for a base that is not here, and when the files are wrong.
    """
    git = Git(root)
    old, new = commit_of(git, base), commit_of(git, "HEAD")
    paths = changed(git, old, new) if old else ["inventory/"]
    found = touched(paths)
    estate = load(root)
    names = named(found, estate) & estate.everyone.keys()
    runners = _runners_now(estate, names) if merged or not old else _runners_then(git, old, names)
    # Without a base nothing has changed: all customers are looked at, in whichever order.
    ringed = rings(estate, names) if old and (found.everybody or found.baselines) else []
    if len(ringed) > 1 and merged:  # a job for each ring, one after the other
        shards = [shard for ring in ringed for shard in _shards(estate, sorted(ring.customers), runners, 1)]
    else:
        shards = [*_shards(estate, sorted(names), runners, at_most)]
    shards = [replace(shard, rings=len(ringed) > 1) for shard in shards]
    gone = found.customers - estate.everyone.keys()
    return Affected(old or base, new, sorted(names), sorted(gone), found.program, shards, ringed)


def touched_since(estate: Estate, base: str) -> frozenset[str]:
    """Customers that are there and that what was committed since `base` touches. Raises InputError."""
    git = Git(estate.root)
    old, new = commit_of(git, base), commit_of(git, "HEAD")
    return frozenset(named(touched(changed(git, old, new)), estate) & estate.everyone.keys()) if old else frozenset()


def named(found: Touched, estate: Estate) -> set[str]:
    """Customers that changed files touch, also those that are not there any more."""
    if found.everybody:
        return {*estate.everyone, *found.customers}
    with_baseline = {name for name, each in estate.everyone.items() if each.info.baseline in found.baselines}
    return with_baseline | found.customers


# -- what changed ---------------------------------------------------------------------------------------------


def commit_of(git: Git, name: str) -> str:
    """Its id; "" for the commit before the first one."""
    if NOTHING.fullmatch(name):
        return ""
    answer = git.call("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if answer.code:
        text = "is no commit that is here (git fetch it; in CI, check out with its whole history)"
        raise InputError.at("", f"{name!r} {text}")
    return answer.text.strip()


def changed(git: Git, old: str, new: str) -> list[str]:
    """
    Paths that differ between where `new` left `old` and `new`, from the repository that holds customers/; what is moved
    is named twice. What lies beside that repository begins with `../`.
    """
    said = git("diff", "--name-only", "--no-renames", "--no-ext-diff", "-z", f"{old}...{new}")
    above = git("rev-parse", "--show-prefix").strip("\n")
    paths = said.split("\0")[:-1]
    return [path.removeprefix(above) if path.startswith(above) else f"../{path}" for path in paths]


def touched(paths: Iterable[str]) -> Touched:
    """Pure: by their names alone."""
    customers, baselines, program, everybody = set(), set(), [], False
    for path in paths:
        room, _, rest = path.partition("/")
        name, inside, file = rest.partition("/")
        if path.rpartition("/")[2] in GITS_OWN:
            program.append(path)
        elif room == "customers" and (inside or not name.endswith(".md")):
            if inside and NAME.fullmatch(name):
                customers.add(name)
            else:
                program.append(path)  # no place for a customer: `validate` says what is wrong with it
        elif room == "inventory" and name == "baselines" and file.endswith(".yaml"):
            baselines.add(file.removesuffix(".yaml"))
        elif room == "inventory":
            everybody = everybody or not rest.endswith(".md")
        elif not (room == "customers" or HARMLESS.fullmatch(path)):
            program.append(path)
    return Touched(frozenset(customers), frozenset(baselines), everybody, program)


# -- runners --------------------------------------------------------------------------------------------------

Runners = Mapping[str, tuple[str, ...]]


def _runners_now(estate: Estate, names: Collection[str]) -> Runners:
    return {name: estate.everyone[name].info.runner for name in names}


def _runners_then(git: Git, commit: str, names: Collection[str]) -> Runners:
    """Of a customer that was not there, or was wrong there, the usual one."""
    above = git("rev-parse", "--show-prefix").strip("\n")
    blobs = {f"{commit}:{above}customers/{name}/customer.yaml": name for name in names}
    found = git.objects(blobs)
    return {name: _runner(found[blob] or b"") for blob, name in blobs.items()}


def _runner(content: bytes) -> tuple[str, ...]:
    problems = Problems()
    data = strict_yaml.parse(content.decode("utf-8", "replace"), "customer.yaml", problems)
    info = None if problems.errors else validate(CustomerInfo, data, "customer.yaml", problems)
    return info.runner if info else ()


# -- shards ---------------------------------------------------------------------------------------------------


def _shards(estate: Estate, names: Sequence[str], runners: Runners, at_most: int) -> Iterator[Shard]:
    """Of each kind of runner on its own: it reaches what others do not."""
    costs: Counter[str] = Counter(names)
    uses: dict[str, set[str]] = {name: set() for name in names}
    for declaration in declarations(estate, Selection(names), {}, estate.now) if names else ():
        name = declaration.scope.customer
        costs[name] += 1 + len(declaration.resources)
        uses[name].add(declaration.scope.target)
    limits = {name: each.jobs for name, each in estate.inventory.targets.items() if each.jobs is not None}
    kinds = sorted({runners[name] for name in names})
    for runner in kinds:
        own = {name: costs[name] for name in names if runners[name] == runner}
        # Each kind gets a share of a target's jobs; where there are more kinds than jobs, the jobs of one wait.
        left = {target: max(1, limit // len(kinds)) for target, limit in limits.items()}
        for shard in share(own, uses, left, max(1, at_most // len(kinds))):
            yield Shard(shard, runner, sum(own[name] for name in shard))


def share(
    costs: Mapping[str, int], uses: Mapping[str, Collection[str]], limits: Mapping[str, int], at_most: int
) -> list[list[str]]:
    """
    Customers in at most `at_most` shards of even cost; no target in more shards than its limit. Pure.

    The dearest first, each to the cheapest shard that may have it. Where one fits nowhere there are fewer shards.
    """
    for count in range(min(at_most, len(costs)), 1, -1):
        if (found := _dealt(costs, uses, limits, count)) is not None:
            return found
    return [sorted(costs)] if costs else []


def _dealt(
    costs: Mapping[str, int], uses: Mapping[str, Collection[str]], limits: Mapping[str, int], count: int
) -> list[list[str]] | None:
    shards: list[list[str]] = [[] for _ in range(count)]
    sums = [0] * count
    held: dict[str, set[int]] = {target: set() for target in limits}
    for name in sorted(costs, key=lambda name: (-costs[name], name)):
        full = [held[t] for t in uses[name] if t in held and len(held[t]) >= limits[t]]
        free = [i for i in range(count) if all(i in shards_of for shards_of in full)]
        if not free:
            return None
        chosen = min(free, key=lambda i: (sums[i], i))
        shards[chosen].append(name)
        sums[chosen] += costs[name]
        for target in uses[name]:
            if target in held:
                held[target].add(chosen)
    return [sorted(shard) for shard in shards if shard]
