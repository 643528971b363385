"""The in-memory target is a driver like any other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from mspctl.kinds import NEWEST
from mspctl.resource import Id, Resource, Scope
from tests.drivers.contract import DriverContract, Rig, Sample
from tests.drivers.memory import SOLE, Driver, Reader, Server, thing

A = thing("a", size=10, label="one", open=True, tags=frozenset({"x", "y"}), steps=("1", "2"), secret="s1")
FIELDS = dict(A.fields)


def variant(**fields: object) -> Resource:
    return Resource(A.id, {**FIELDS, **fields}, A.source)  # type: ignore[dict-item]


class MemoryRig(Rig):
    def __init__(self) -> None:
        self.server = Server()
        self.scopes = [Scope("memory-1", "things", name, "acme") for name in ("north", "south", "west")]

    def reader(self) -> Reader:
        return Reader(self.server)

    def driver(self) -> Driver:
        return Driver(self.server)

    def by_hand(self, scope: Scope, id_: Id, resource: Resource | None) -> None:
        self.server.held[scope.name].pop(id_, None)
        if resource is not None:
            self.server.put(scope.name, resource)

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        self.server.down = True
        yield
        self.server.down = False

    @contextmanager
    def breaking(self, scope: Scope, after: int) -> Iterator[None]:
        self.server.breaks_after[scope.name] = after
        yield
        del self.server.breaks_after[scope.name]

    @contextmanager
    def garbled(self, scope: Scope) -> Iterator[None]:
        self.server.garbled.add(scope.name)
        yield
        self.server.garbled.remove(scope.name)

    def shuffle(self, scope: Scope) -> None:
        held = self.server.held[scope.name]
        self.server.held[scope.name] = dict(reversed(held.items()))

    def native(self, scope: Scope) -> object:
        return [(i, dict(f)) for i, f in self.server.held[scope.name].items()]


class TestMemory(DriverContract):
    removes_scopes = True
    samples = (
        Sample(
            A,
            [
                variant(size=20),
                variant(label="two"),
                variant(open=False),
                variant(tags=frozenset({"x"})),
                variant(steps=("2", "1")),
                variant(secret="s2"),
            ],
        ),
        Sample(thing("b", size=10), [thing("b", size=30)]),
        Sample(thing("c", tags=frozenset()), [thing("c", tags=frozenset({"z"}))]),
    )
    impossible = (
        (thing("d", kind="memory.ghost", source="customers/acme/things.yaml:9"), "memory holds no memory.ghost"),
        (thing("e", size=-1), "a size cannot be negative"),
    )
    adjusted = (thing("f", size=11), thing("h", label="LOUD"))
    swap = (thing("g", size=10), thing("g", kind=SOLE, size=10))
    many = tuple(thing(f"m{number}", size=number * 10) for number in range(300))
    write_only = frozenset({"secret"})
    measures = frozenset({NEWEST})
    renamed = (replace(A, id=Id(A.id.kind, "alpha")),)

    def held_by(self, rig: Rig, scope: Scope, id_: Id) -> object:
        """The secret, which nobody can read."""
        assert isinstance(rig, MemoryRig)
        return rig.server.held[scope.name][id_]["secret"]

    @pytest.fixture
    def rig(self) -> Rig:
        return MemoryRig()
