"""Readers of several scopes at once: each answered once, few read ahead, none lost when one goes wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from mspctl.driver import Failed, Reading, ReadsSideBySide
from mspctl.errors import TargetError
from mspctl.kinds import dns
from mspctl.resource import Resource, Scope

SCOPES = [Scope("t", "dns", f"z{number}.example") for number in range(50)]


class Slow(ReadsSideBySide):
    def __init__(self, readers: int = 3) -> None:
        self.readers = readers
        self.read_: list[str] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    def read_one(self, scope: Scope, known: Sequence[Resource]) -> Reading:
        with self.lock:
            self.read_.append(scope.name)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(0.002)
        with self.lock:
            self.at_once -= 1
        if scope.name.startswith("z7"):
            raise {"z7.example": TargetError("no"), "z7x.example": IndexError("a defect")}[scope.name]
        return Reading(scope, known)


@pytest.mark.parametrize("readers", [1, 3, 100])
def test_each_scope_is_answered_once_and_never_more_at_a_time(readers: int) -> None:
    reader = Slow(readers)
    answers = list(reader.read(SCOPES, {}))
    assert sorted(a.scope for a in answers) == sorted(SCOPES)
    assert [a.scope.name for a in answers if isinstance(a, Failed)] == ["z7.example"]
    assert reader.most_at_once <= readers


def test_a_defect_costs_one_scope() -> None:
    (answer,) = Slow().read([Scope("t", "dns", "z7x.example")], {})
    assert isinstance(answer, Failed)
    assert str(answer.error) == "the driver failed: IndexError: a defect"


def test_what_is_known_goes_to_its_scope() -> None:
    resource = dns.zone(True)
    answers = Slow().read(SCOPES[:2], {SCOPES[1]: [resource]})
    found = {a.scope: a.resources for a in answers if isinstance(a, Reading)}
    assert found == {SCOPES[0]: (), SCOPES[1]: [resource]}


def test_few_are_read_ahead_of_who_takes_them() -> None:
    reader = Slow()
    answers = reader.read(SCOPES, {})
    next(answers)
    time.sleep(0.1)
    assert len(reader.read_) <= 2 * reader.readers + 1


def test_who_stops_taking_ends_the_reading() -> None:
    before, reader = threading.active_count(), Slow()
    for _ in reader.read(SCOPES, {}):
        break
    assert threading.active_count() == before
    assert len(reader.read_) < len(SCOPES)


def test_nothing_to_read() -> None:
    assert list(Slow().read([], {})) == []
