"""
Customers' hosts, through Ansible: all sections of all hosts with one run.

Each section is a pure facet (`patching.py`, …): what a resource makes of a host, and what facts say is there. This file
asks hosts and hands answers out. A scope is one section of one host; what fails on a host, or in a section of it, costs
nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from mspctl.driver import Access, Failed, Known, Landed, Reading, Traits, Work, translated
from mspctl.drivers.hosts import antivirus, backup, patching
from mspctl.drivers.hosts.assets import inspected
from mspctl.drivers.hosts.bundle import Facet, Place, item, program, secrets, seen, watching
from mspctl.errors import SecretError, Stale, TargetError, Unreachable, Unsupported
from mspctl.fields import Count, Model, Seconds
from mspctl.kinds.assets import Inspected
from mspctl.kinds.hosts import full_name, parts
from mspctl.resource import Resource, Scope
from mspctl.secrets import Secret
from mspctl.transports.ansible import Ansible, Answer, Ask, Do

FRESH = 30  # seconds for which what was read as it was written is handed out
BOOT, PAUSE = 300, 2  # seconds until a host that reboots is there again, and between looks
FACETS: Mapping[str, Facet] = {
    "antivirus": cast(Facet, antivirus),
    "backup": cast(Facet, backup),
    "patching": cast(Facet, patching),
}
GRACE = 120  # seconds for an errand to clean up in, and for what is around it


class Settings(Model):
    """How hosts are talked to; how each is reached, its hosts.yaml says."""

    at_once: Count = 10  # hosts
    connect: Seconds = 10  # until a host has answered
    patience: Seconds = 900  # until a host has finished; packages take their time


class Hands(Protocol):
    """Whoever carries questions to hosts."""

    def run(self, do: Do, asks: Mapping[str, Ask], patience: int = 0) -> Mapping[str, Answer]: ...


class Reader:
    traits = Traits(cas="value")  # mspctl_host.py: Item.check

    def __init__(self, access: Access) -> None:
        self.access = access
        said: Settings = access.settings
        key = lambda: access.secrets["ssh_key"]  # noqa: E731
        self.patience = said.patience
        self.hands: Hands = Ansible(access.hosts, key, said.at_once, said.connect, said.patience)

    def accept(self, resource: Resource) -> Resource:
        facet = next((facet for facet in FACETS.values() if resource.id.kind in facet.KINDS), None)
        if facet is None:
            raise Unsupported(f"there is no {resource.id.kind} on a host")
        facet.accept(resource)
        return resource

    def read(self, scopes: Sequence[Scope], known: Known) -> Iterator[Reading | Failed]:
        by_host: dict[str, list[Scope]] = {}
        for scope in scopes:
            host, section = _host(scope), parts(scope)[2]
            if section not in FACETS:
                yield Failed(scope, TargetError(f"hosts have no section {section}"))
            elif host in self.access.hosts:
                by_host.setdefault(host, []).append(scope)
            else:  # it left hosts.yaml, and nobody can tell any more what is on it
                yield Reading(scope, (), exists=False)
        asks = {host: Ask(watching(_facet(s) for s in mine)) for host, mine in by_host.items()}
        for host, answer in self.hands.run("read", asks).items():
            for scope in by_host[host]:
                yield Failed(scope, answer.error) if answer.error else _reading(scope, answer.result["facts"])

    def collect(self, hosts: Mapping[str, Sequence[str]]) -> Mapping[str, Inspected | TargetError]:
        asks = {host: Ask({"probe": [*addresses]}) for host, addresses in hosts.items()}
        return {host: _inspected(answer) for host, answer in self.hands.run("collect", asks).items()}


class Driver(Reader):
    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self._fresh: dict[Scope, tuple[float, Mapping[str, Any]]] = {}  # read where it was written, just then

    def read(self, scopes: Sequence[Scope], known: Known) -> Iterator[Reading | Failed]:
        """What was read back on the host as it was written is handed out, once; the rest is asked for."""
        now = time.monotonic()
        found = {scope: self._fresh.pop(scope) for scope in scopes if scope in self._fresh}
        fresh = {scope: facts for scope, (then, facts) in found.items() if now - then < FRESH}
        yield from (_reading(scope, facts) for scope, facts in fresh.items())
        yield from super().read([scope for scope in scopes if scope not in fresh], known)

    def apply(self, work: Sequence[Work]) -> Iterator[Landed | Failed]:
        asked: dict[str, list[Work]] = {}
        asks: dict[str, _Asking] = {}
        for one in [each for each in work if each.changes]:
            host = _host(one.scope)
            try:
                with translated():
                    self._prepare(one, asks.setdefault(host, _Asking()))
                    asked.setdefault(host, []).append(one)
            except (TargetError, SecretError) as error:
                yield Failed(one.scope, error if isinstance(error, TargetError) else TargetError(str(error)))
        then = {host: watching(_facet(one.scope) for one in mine) for host, mine in asked.items()}
        said = {host: Ask({"scopes": asks[host].scopes, "then": then[host]}, asks[host].secrets) for host in asked}
        for host, answer in self.hands.run("write", said).items():
            for one in asked[host]:
                if "facts" in answer.result:
                    self._fresh[one.scope] = time.monotonic(), answer.result["facts"]
                yield from _landed(one, answer)

    def install(self, left: Mapping[Scope, int]) -> Iterator[Reading | Failed]:
        before = {answer.scope: answer for answer in self.read([*left], {})}
        there = {scope: answer for scope, answer in before.items() if isinstance(answer, Reading) and answer.exists}
        patience = max(1, self.patience - 60)  # Ansible's own is longer
        asks = {_host(scope): Ask({"left": left[scope], "patience": min(left[scope], patience)}) for scope in there}
        begun = self.hands.run("install", asks)
        said = {scope: begun[_host(scope)] for scope in there}
        refused = {scope: a.error for scope, a in said.items() if a.error and not a.away}
        yield from (answer for answer in before.values() if answer.scope not in there)
        yield from (Failed(scope, error) for scope, error in refused.items())
        yield from self._back({s: _Begun.of(there[s], answer) for s, answer in said.items() if s not in refused})

    def _back(self, begun: Mapping[Scope, _Begun]) -> Iterator[Reading | Failed]:
        """Read again; those that go down are waited for until they have booted, but not for ever."""
        until = time.monotonic() + BOOT
        left = [*begun]
        while left:
            again = []
            for answer in [*self.read(left, {})]:
                down = begun[answer.scope].is_down(answer)
                if down and time.monotonic() < until:
                    again.append(answer.scope)
                elif down and isinstance(answer, Failed):
                    text = f"it went down, and was not back after {BOOT // 60} minutes: {answer.error}"
                    yield Failed(answer.scope, Unreachable(text))
                else:
                    yield answer
            left = again
            time.sleep(PAUSE if left else 0)

    def errand(self, scope: Scope, programs: Sequence[str], ask: Mapping[str, object], seconds: int) -> Any:
        host = _host(scope)
        if host not in self.access.hosts:
            raise TargetError(f"{parts(scope)[1]} is not in hosts.yaml any more, or has no target there")
        modules = [[name, program(name)] for name in programs]
        sent = Ask({"modules": modules, "ask": dict(ask), "seconds": seconds})
        answer = self.hands.run("run", {host: sent}, seconds + GRACE)[host]
        if answer.error:
            raise answer.error
        return answer.result["answer"]

    def _prepare(self, work: Work, asking: _Asking) -> None:
        """What a host is asked for one scope; secrets are looked up now, and only those that are written."""
        facet, place = _facet(work.scope), Place(*parts(work.scope))
        items = [item(facet, change, place) for change in work.changes]
        written = {file["path"] for each in items for file in each["files"] if "secret" in file}
        named = [found for change in work.changes for found in secrets(facet, change, place) if found[0] in written]
        values = self.access.passwords.of(place.customer, named) if named else []
        asking.secrets |= {path: value for (path, _), value in zip(named, values, strict=True)}
        asking.scopes.append({"name": work.scope.name, "items": items})


@dataclass(frozen=True, slots=True)
class _Begun:
    """A host that installs, or did."""

    boot: object  # which one it was
    stops: bool  # it said itself that it goes down
    broke: bool  # its connection did, while it installed

    @classmethod
    def of(cls, before: Reading, answer: Answer) -> _Begun:
        stops = bool(answer.result.get("facts", {}).get("stopping"))
        return cls(before.facts.get("boot"), stops, answer.away)

    def is_down(self, answer: Reading | Failed) -> bool:
        """Whether it is down, or about to be: one whose connection broke and that has no reason to boot is not."""
        if isinstance(answer, Failed):
            return isinstance(answer.error, Unreachable)
        return answer.facts.get("boot") == self.boot and (
            self.stops or (self.broke and bool(answer.facts.get("reboot")))
        )


@dataclass(slots=True)
class _Asking:
    """What one host is asked, section by section."""

    scopes: list[dict[str, Any]] = field(default_factory=list)
    secrets: dict[str, Secret] = field(default_factory=dict)


def _host(scope: Scope) -> str:
    customer, host, _ = parts(scope)
    return full_name(customer, host)


def _facet(scope: Scope) -> Facet:
    return FACETS[parts(scope)[2]]


def _reading(scope: Scope, facts: Mapping[str, Any]) -> Reading | Failed:
    try:
        with translated():
            facet = _facet(scope)
            return Reading(scope, [*seen(facet, facts, Place(*parts(scope)))], facts=facet.known(facts))
    except TargetError as error:
        return Failed(scope, error)


def _inspected(answer: Answer) -> Inspected | TargetError:
    if answer.error:
        return answer.error
    try:
        return inspected(answer.result["facts"])
    except (TypeError, ValueError, KeyError):
        return TargetError("what it says of itself makes no sense")


def _landed(work: Work, answer: Answer) -> Iterator[Landed | Failed]:
    if answer.error:
        yield Failed(work.scope, answer.error)
        return
    for change, said in zip(work.changes, answer.result["scopes"].get(work.scope.name, ()), strict=False):
        if said.get("ok"):
            yield Landed(work.scope, change)
        elif "stale" in said:
            yield Failed(work.scope, Stale(said["stale"]))
        else:
            yield Failed(work.scope, TargetError(said["error"]))
