"""The real engine over targets in memory, everything that can go wrong, and what must hold whatever does."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mspctl import sealed
from mspctl.apply import Engine, Outcome, apply
from mspctl.exits import Exit
from mspctl.ledger_page import path_of
from mspctl.model.permissions import Approval
from mspctl.plan import PENDING, REVERT, Plan, ScopePlan, Standing, plan_all
from mspctl.record import Finished, Run
from mspctl.resource import Cause, Change, Id, Resource, Scope
from tests.drivers import memory
from tests.drivers.memory import Server
from tests.drivers.workbench import Inline
from tests.trust.git import FACET, SECRET, Git, Held, Place, Section, id_of, name_of, place_of, target_of
from tests.trust.witness import CONTESTED, WHOLE, Step, Witness

TARGETS = ("one", "two")
SCOPES = ("north", "south")
PLACES = tuple(f"{scope}@{target}" for target in TARGETS for scope in SCOPES)
WHO = "Paolo Zen <paolo@msp.example>"

OUTSIDE = frozenset({Cause.DRIFT, Cause.CONFLICT, Cause.TAKE_OVER, Cause.CAME_BACK})


class Killed(BaseException):
    """The process is gone: nothing that comes after happens."""


class Broken(BaseException):
    """A promise, by a write. No AssertionError: the engine takes what a driver raises for the target's own failure."""


@dataclass
class Trouble:
    """What goes wrong in one apply, and when."""

    what: str = ""  # one of KINDS, or nothing
    place: Place = PLACES[0]
    after: int = 0  # so many writes

    def __bool__(self) -> bool:
        return bool(self.what)

    def silences(self, place: Place) -> bool:
        """Whether a scope cannot be read from the start."""
        if self.what == "target is down":
            return target_of(self.place) == target_of(place)
        return self.what == "scope makes no sense" and self.place == place


# What the process, the target and the ledger can do to an apply.
DEATHS = ("dies before it is begun", "dies when it is begun", "dies writing", "dies before it is over", "dies after")
FAILURES = ("scope breaks", "target goes away", "target vanishes", "cannot be read back", "somebody is faster")
SILENCES = ("target is down", "scope makes no sense", "nothing can be begun", "no end can be written")
KINDS = (*DEATHS, *FAILURES, *SILENCES)


@dataclass(frozen=True)
class Write:
    place: Place
    name: str
    before: Held | None
    after: Held | None


class Driver(memory.Driver):
    """Tells of every write before it is done."""

    def __init__(self, world: World, target: str) -> None:
        super().__init__(world.servers[target])
        self.world, self.target = world, target

    def _change(self, name: str, change: Change) -> None:
        write = _write(f"{name}@{self.target}", change)
        try:
            self.world.wrote(write)
        except AssertionError as error:
            raise Broken(str(error)) from error
        super()._change(name, change)
        self.world.witness.wrote(write.place, write.name, write.after)


def _write(place: Place, change: Change) -> Write:
    if change.before is None or change.after is None:
        before, after = (None if r is None else dict(r.fields) for r in (change.before, change.after))
        return Write(place, change.id.name, before, after)
    names = change.changed
    old = {n: change.before.fields[n] for n in names if n in change.before.fields}
    return Write(place, change.id.name, old, {n: change.after.fields[n] for n in names})


class Ledger(memory.Ledger):
    """The pages of the real one, in memory. Tells what was taken, and dies when it is told to."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    def begin(self, run: Run, intents: Mapping[Scope, Mapping[Id, Resource | None]]) -> None:
        self.world.die("dies before it is begun")
        super().begin(run, intents)
        self.world.begun([place_of(scope) for scope in intents])
        self.world.die("dies when it is begun")

    def finish(self, run: Run, ends: Mapping[Scope, Finished]) -> None:
        self.world.die("dies before it is over")
        super().finish(run, ends)
        self.world.finished([place_of(scope) for scope in ends])
        self.world.die("dies after")


@dataclass
class Saved:
    """A plan in a file, and what it looked like to somebody who read it."""

    text: str
    steps: dict[Place, dict[str, tuple[Held | None, Held | None]]]


@dataclass
class World:
    git: Git = field(default_factory=Git)
    servers: dict[str, Server] = field(default_factory=lambda: {target: Server() for target in TARGETS})
    trouble: Trouble = field(default_factory=Trouble)
    writes: list[Write] = field(default_factory=list)
    causes: frozenset[Cause] = PENDING  # of the apply under way
    expected: dict[Place, dict[str, Step]] = field(default_factory=dict)  # likewise
    ended: set[Place] = field(default_factory=set)  # likewise
    copies: dict[str, dict[str, dict[Id, Held]]] = field(default_factory=dict)  # by target
    saved: Saved | None = None
    runs: int = 0

    def __post_init__(self) -> None:
        self.ledger = Ledger(self)
        self.witness = Witness(self.git, self._held)

    def _held(self, place: Place) -> dict[str, Held]:
        found = self.servers[target_of(place)].held.get(name_of(place), {})
        return {i.name: dict(fields) for i, fields in found.items()}

    # -- the engine -----------------------------------------------------------------------------------------------

    def plan(self, causes: frozenset[Cause] = PENDING) -> list[ScopePlan]:
        declared, recorded = self.git.declarations(self.ledger.today), self.ledger.recorded()
        return [*plan_all(declared, self._driver, recorded, Inline(), causes)]

    def _driver(self, scope: Scope) -> Driver:
        return Driver(self, scope.target)

    def _apply(self, causes: frozenset[Cause], first: list[ScopePlan] | None) -> Outcome:
        self.runs += 1
        engine = Engine(self._driver, self.ledger, Inline(), Run(f"run-{self.runs:04}", WHO))
        return apply(lambda outputs: [*self.git.declarations(self.ledger.today)], engine, causes, first=first)

    # -- one apply ------------------------------------------------------------------------------------------------

    def apply(self, causes: frozenset[Cause] = PENDING, trouble: Trouble | None = None, shown: bool = False) -> None:
        """Hold an apply to its promises. `shown`: it carries out a plan made before, and nothing moved since."""
        trouble = trouble or Trouble()
        plans, steps = self.plan(causes), self._steps(causes)
        self.check_plan(plans)
        check_due(plans, steps)
        if not shown:
            steps = {place: found for place, found in steps.items() if not trouble.silences(place)}
        self._carry_out(causes, steps, plans if shown else None, trouble)
        if not trouble:
            self._check_again(causes)

    def retire(self, place: Place, trouble: Trouble) -> None:
        """Somebody names a scope that left Git, and merges that."""
        path, target, why = f"{FACET}/{name_of(place)}", target_of(place), f"retired before run {self.runs}"
        said = {"resource": path, "target": target, "why": why, "until": str(self.witness.today)}
        self.git.sections[place] = Section("acme", gone=Approval.model_validate(said))
        self.apply(trouble=trouble)
        del self.git.sections[place]

    def _steps(self, causes: frozenset[Cause]) -> dict[Place, dict[str, Step]]:
        return {place: self.witness.steps(place, causes) for place in self.git.sections}

    def save(self, causes: frozenset[Cause]) -> None:
        plan = Plan(self.plan(causes), datetime(2027, 3, 5, 9, tzinfo=UTC))
        told = {
            place: {name: step.told for name, step in found.items()} for place, found in self._steps(causes).items()
        }
        self.saved = Saved(sealed.dump(plan, revert=causes is REVERT), told)

    def apply_saved(self) -> None:
        """What was reviewed and still is what it was, and nothing else."""
        assert self.saved is not None
        review = sealed.parse(self.saved.text, "plan.json")
        causes = REVERT if review.revert else PENDING
        steps = {place: self._still(place, found) for place, found in self._steps(causes).items()}
        limited = sealed.limit(self.plan(causes), review)
        check_due(limited, steps)
        self._carry_out(causes, steps, limited, Trouble())

    def _still(self, place: Place, steps: Mapping[str, Step]) -> dict[str, Step]:
        assert self.saved is not None
        reviewed = self.saved.steps.get(place, {})
        return {name: step for name, step in steps.items() if name in reviewed and is_within(step, *reviewed[name])}

    def _carry_out(
        self,
        causes: frozenset[Cause],
        steps: dict[Place, dict[str, Step]],
        first: list[ScopePlan] | None,
        trouble: Trouble,
    ) -> None:
        self.causes, self.expected, self.writes, self.ended, self.trouble = causes, steps, [], set(), trouble
        self.witness.starts()
        before = copy.deepcopy({target: server.held for target, server in self.servers.items()})
        try:
            with self._troubled():
                outcome = self._apply(causes, first)
        except Killed:
            return
        finally:
            if trouble.what != "somebody is faster":
                self._check_untouched(before)
        if not outcome.ledger_error:
            for place in steps.keys() - self.ended:
                self.witness.finished(place, steps[place], {}, read=not steps[place])
        if not trouble:
            self._check_done(outcome)

    def _check_done(self, outcome: Outcome) -> None:
        told = [(place_of(s.scope), s.error or s.held_by or s.waits) for s in outcome.unfinished]
        assert told == [], told
        assert outcome.exit_code in (Exit.DONE, Exit.PARTLY)
        done = {(w.place, w.name) for w in self.writes}
        assert done == {(place, name) for place, steps in self.expected.items() for name in steps}

    def _check_again(self, causes: frozenset[Cause]) -> None:
        """A second apply does nothing, and nothing is due."""
        plans = self.plan(causes)
        self.check_plan(plans)
        assert [(place_of(p.scope), c) for p in plans for c in p.due] == []
        files, self.writes = dict(self.ledger.files), []
        assert self._apply(causes, None).landed == 0
        assert self.writes == []
        assert self.ledger.files == files

    # -- what the engine does, as it does it ----------------------------------------------------------------------

    def begun(self, places: Iterable[Place]) -> None:
        for place in places:
            self.witness.begun(place, self.expected[place])

    def finished(self, ends: Collection[Place]) -> None:
        for place in ends:
            self.ended.add(place)
            steps = self.expected.get(place, {})
            landed = {w.name for w in self.writes if w.place == place and self._is_so(place, w.name, steps[w.name])}
            self.witness.finished(place, steps, landed, read=not (steps and self._is_unread(place)))

    def _is_so(self, place: Place, name: str, step: Step) -> bool:
        """Whether a write is still to be seen."""
        live = self.witness.held(place).get(name)
        if step.after is None or live is None:
            return step.after is live
        return all(n == SECRET or live.get(n) == v for n, v in step.after.items())

    def _is_unread(self, place: Place) -> bool:
        server = self.servers[target_of(place)]
        return server.down or name_of(place) in server.garbled

    def wrote(self, write: Write) -> None:
        """Each write, as it is done, is one that was asked for and takes nothing from anybody."""
        step = self.expected.get(write.place, {}).get(write.name)
        assert step is not None, f"nobody asked for {write}"
        assert (write.before, write.after) == step.told, f"{write} is not {step}"
        assert (write.place, write.name) not in {(w.place, w.name) for w in self.writes}
        self.witness.check(write.place, write.name, step, plain=self.causes is PENDING)
        self.writes.append(write)

    # -- what goes wrong ------------------------------------------------------------------------------------------

    def die(self, when: str) -> None:
        if self.trouble.what == when:
            raise Killed

    @contextmanager
    def _troubled(self) -> Iterator[None]:
        trouble, server = self.trouble, self.servers[target_of(self.trouble.place)]
        name = name_of(trouble.place)
        server.down = trouble.what == "target is down"
        server.garbled = {name} if trouble.what == "scope makes no sense" else set()
        server.breaks_after = {name: trouble.after} if trouble.what == "scope breaks" else {}
        server.down_after = trouble.after if trouble.what == "target goes away" else None
        self.ledger.begin_fails = trouble.what == "nothing can be begun"
        self.ledger.finish_fails = trouble.what == "no end can be written"
        for each in self.servers.values():
            each.calls.clear()
            each.before_write = self._before_write
        try:
            yield
        finally:
            server.down, server.garbled, server.breaks_after, server.down_after = False, set(), {}, None
            self.ledger.begin_fails = self.ledger.finish_fails = False
            self.trouble = Trouble()

    def _before_write(self) -> None:
        trouble, server = self.trouble, self.servers[target_of(self.trouble.place)]
        if trouble.what == "cannot be read back":
            server.garbled = {name_of(trouble.place)}
        if len(self.writes) < trouble.after:
            return
        self.die("dies writing")
        if trouble.what == "target vanishes":
            server.down = True
        if trouble.what == "somebody is faster":
            self.trouble = Trouble(trouble.what + ", once")
            self.put(trouble.place, "a", {"size": 90})

    # -- what must hold -------------------------------------------------------------------------------------------

    def check(self) -> None:
        """A plan looks, and says what it should."""
        plans = self.plan()
        self.check_plan(plans)
        check_due(plans, self._steps(PENDING))

    def check_plan(self, plans: Iterable[ScopePlan]) -> None:
        """What a plan leaves to somebody is there because of somebody: what only we did is no conflict."""
        for plan in plans:
            assert plan.error == ""
            for difference in plan.left:
                self.witness.check_left(place_of(plan.scope), difference)

    def _check_untouched(self, before: Mapping[str, Mapping[str, Mapping[Id, Held]]]) -> None:
        """The targets hold what they held, but for our writes."""
        touched = {(w.place, id_of(w.name)) for w in self.writes}
        for target, server in self.servers.items():
            for scope in {*server.held, *before[target]}:
                old, new = before[target].get(scope, {}), server.held.get(scope, {})
                moved = {i for i in {*old, *new} if old.get(i) != new.get(i)}
                assert {(f"{scope}@{target}", i) for i in moved} <= touched

    # -- others ---------------------------------------------------------------------------------------------------

    def put(self, place: Place, name: str, fields: Held | None) -> None:
        """Somebody makes, changes or deletes a resource by hand."""
        scope = self.servers[target_of(place)].held.setdefault(name_of(place), {})
        old = scope.pop(id_of(name), None)
        if fields is not None:
            scope[id_of(name)] = dict(fields)
        self.witness.outside(place, name, old)

    def copy(self, target: str) -> None:
        self.copies[target] = copy.deepcopy(self.servers[target].held)

    def restore(self, target: str) -> None:
        old = self.copies[target]
        for scope in SCOPES:
            was = {i.name: fields for i, fields in old.get(scope, {}).items()}
            for name in sorted({*was, *self.witness.held(f"{scope}@{target}")}):
                self.put(f"{scope}@{target}", name, was.get(name))

    def lose(self, place: Place) -> None:
        """Its page of the ledger is gone."""
        self.ledger.files.pop(path_of(Scope(target_of(place), FACET, name_of(place))), None)
        self.witness.lost(place)

    def waiting(self, place: Place, whole: bool, causes: frozenset[Cause]) -> list[str]:
        """Paths of what a plan says waits for somebody's name."""
        path = f"{FACET}/{name_of(place)}"
        for plan in self.plan(causes):
            if place_of(plan.scope) == place:
                asked = {step.change.id.name for step in plan.steps if step.standing is Standing.APPROVAL}
                asked |= {d.id.name for d in plan.left if d.cause in CONTESTED}
                return [path] if whole and asked else [f"{path}/{name}" for name in sorted(asked)]
        return []

    def adopt(self, place: Place) -> None:
        """Git takes over what was changed outside."""
        section = self.git.sections[place]
        for name in {*section.resources, *self.witness.held(place)}:
            taken = {n for n, cause in self.witness.causes(place, name).items() if cause in OUTSIDE}
            live = self.witness.held(place).get(name)
            if WHOLE in taken and live is None:
                del section.resources[name]
            elif WHOLE in taken and live is not None:
                section.resources[name] = {n: v for n, v in live.items() if n != SECRET}
            elif live is not None and taken:
                said = {n: v for n, v in section.resources[name].items() if n not in taken}
                section.resources[name] = said | {n: live[n] for n in taken if n in live}


def check_due(plans: Iterable[ScopePlan], steps: Mapping[Place, Mapping[str, Step]]) -> None:
    """What a plan says is due is what has to be done: by our own reckoning, not by the engine's."""
    for plan in plans:
        place = place_of(plan.scope)
        writes = [_write(place, change) for change in plan.due]
        assert {w.name: (w.before, w.after) for w in writes} == {n: s.told for n, s in steps.get(place, {}).items()}


def is_within(step: Step, before: Held | None, after: Held | None) -> bool:
    """Whether a step does what was reviewed, or less of it: what is true by now need not be done."""
    old, new = step.told
    if old is None or new is None or before is None or after is None:
        return (old, new) == (before, after)
    return new.items() <= after.items() and old == {n: v for n, v in before.items() if n in new}
