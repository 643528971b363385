"""
A long and random history of applies and a hand in the tables, between them and in the middle of them.

Whatever somebody else wrote last stays, until Git says the same; whatever nobody else touched is as Git says.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from mspctl.apply import Outcome
from mspctl.drivers.postfixadmin import writer
from mspctl.kinds import mail
from mspctl.plan import Standing
from mspctl.resource import Id, Resource, Value
from tests.drivers import test_postfixadmin as known
from tests.drivers.contract import fields, read
from tests.drivers.test_postfixadmin import MB, SCOPE, SqliteRig, SqlRig, mailbox
from tests.drivers.workbench import Workbench

database, rig = known.database, known.rig
STEPS = [25, pytest.param(600, marks=pytest.mark.soak)]
BOXES, GROUPS = [f"m{number}" for number in range(4)], [f"g{number}" for number in range(2)]
PLACES = [f"p{number}@partner.example" for number in range(4)]


@dataclass
class Hand:
    """One thing that somebody writes: a statement, and which fields it sets."""

    statement: str
    values: tuple[Any, ...]
    sets: dict[tuple[Id, str], Value]


@dataclass
class World:
    rig: SqlRig
    bench: Workbench
    chance: random.Random
    declared: dict[Id, dict[str, Value]] = field(default_factory=dict)
    theirs: dict[tuple[Id, str], Value] = field(default_factory=dict)  # written by hand, and not as Git says

    def declare(self) -> list[Resource]:
        """One resource is other than before."""
        self._change(self.chance.choice([*BOXES, *GROUPS]))
        return [Resource(id_, said, "mail.yaml:1") for id_, said in self.declared.items()]

    def all(self) -> list[Resource]:
        for name in (*BOXES, *GROUPS):
            self._change(name)
        return [Resource(id_, said, "mail.yaml:1") for id_, said in self.declared.items()]

    def _change(self, name: str) -> None:
        if name in GROUPS:
            new = mail.alias(name, self.some(1), self.chance.random() < 0.8)
        else:
            forwards = self.some(0)
            new = mailbox(
                name,
                name=self.chance.choice(["Paolo", "paolo", "Paolò", "Paola"]),
                quota=self.chance.randrange(1, 5) * MB,
                enabled=self.chance.random() < 0.8,
                receives=self.chance.random() < 0.8,
                keep_copy=not forwards or self.chance.random() < 0.5,
                forwards=forwards,
            )
        self.declared[new.id] = dict(new.fields)

    def some(self, least: int) -> frozenset[str]:
        return frozenset(self.chance.sample(PLACES, self.chance.randrange(least, 4)))

    def hand(self) -> Hand:
        local = self.chance.choice(BOXES)
        id_, address = Id(mail.MAILBOX, local), f"{local}@{SCOPE.name}"
        box = "UPDATE mailbox SET {} = ? WHERE username = ?"
        alias = "UPDATE alias SET {} = ? WHERE address = ?"
        what = self.chance.randrange(6)
        if what == 0:
            name = self.chance.choice(["Paolo", "PAOLO", "Paolò", "Paola "])
            return Hand(box.format("name"), (name, address), {(id_, "name"): name})
        if what == 1:
            quota = self.chance.randrange(1, 5) * MB
            return Hand(box.format("quota"), (quota, address), {(id_, "quota"): quota})
        if what == 2:
            on = self.chance.random() < 0.5
            return Hand(box.format("active"), (on, address), {(id_, "enabled"): on})
        if what == 3:
            on = self.chance.random() < 0.5
            return Hand(alias.format("active"), (on, address), {(id_, "receives"): on})
        to = self.some(1)
        if what == 4:
            keep = self.chance.random() < 0.5
            goto = ",".join([*mail.addresses(to), *([address] if keep else [])])
            return Hand(alias.format("goto"), (goto, address), {(id_, "forwards"): to, (id_, "keep_copy"): keep})
        group = Id(mail.ALIAS, self.chance.choice(GROUPS))
        return Hand(alias.format("goto"), (",".join(to), f"{group.name}@{SCOPE.name}"), {(group, "to"): to})

    def write(self, hand: Hand) -> None:
        """What is written as it is there already, or put back to where we left it, is nobody's change."""
        before = fields(read(self.rig, SCOPE))
        self.rig.run(hand.statement, *hand.values)
        left = self.bench.ledger.recorded([SCOPE])[SCOPE].resources
        for (id_, name), value in hand.sets.items():
            if before[id_][name] != value:
                self.theirs[id_, name] = value
            if all(state and state.fields.get(name) == value for state in left[id_].states):
                self.theirs.pop((id_, name), None)

    @contextmanager
    def in_the_middle(self, patch: pytest.MonkeyPatch) -> Iterator[None]:
        """While we are in our transaction; where nobody else can write then, before it."""
        hand, real = [self.hand()], writer.Writer.write

        def write(one: writer.Writer) -> None:
            while hand:
                self.write(hand.pop())
            real(one)

        with patch.context() as patched:
            if isinstance(self.rig, SqliteRig):
                self.write(hand.pop())
            else:
                patched.setattr(writer.Writer, "write", write)
            yield

    def nothing_is_lost(self) -> None:
        live = fields(read(self.rig, SCOPE))
        for (id_, name), value in [*self.theirs.items()]:
            assert live[id_][name] == value, (id_, name, live[id_][name], value)
            if self.declared[id_][name] == value:
                del self.theirs[id_, name]  # both want the same now

    def all_is_done(self, outcome: Outcome) -> None:
        """What waits for an approval, because it is much that would be lost, is not as Git says yet."""
        live = fields(read(self.rig, SCOPE))
        waiting = {s.change.id for plan in outcome.plans for s in plan.steps if s.standing is not Standing.DUE}
        for id_ in self.declared.keys() - waiting:
            for name, value in self.declared[id_].items():
                if name != "password" and (id_, name) not in self.theirs:
                    assert live[id_][name] == value, (id_, name, live[id_][name], value)


@pytest.mark.parametrize("steps", STEPS)
def test_nobodys_change_is_lost(rig: SqlRig, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(os.environ.get("PYTEST_SEED", "7"))  # noqa: S311
    bench = known.bench_of(rig)
    bench.approved = False
    world = World(rig, bench, chance)
    bench.declare(SCOPE, *world.all())
    bench.converge()
    stale = landed = 0
    for _ in range(steps):
        if chance.random() < 0.4:
            world.write(world.hand())
        bench.declare(SCOPE, *world.declare())
        if chance.random() < 0.5:
            with world.in_the_middle(monkeypatch):
                outcome = bench.apply()
            assert all("changed in the database" in end.error for end in outcome.unfinished)
            world.nothing_is_lost()
            stale += bool(outcome.unfinished)
            landed += outcome.landed
        outcome = bench.apply()
        assert outcome.unfinished == []
        landed += outcome.landed
        world.nothing_is_lost()
        world.all_is_done(outcome)
    assert landed > steps // 5
    assert steps < 100 or isinstance(rig, SqliteRig) or stale > steps // 60
