"""Policies against malware → one scope per host, with its engine and its scans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from mspctl.desired import Declaration, Outputs
from mspctl.desired.hosts import places
from mspctl.kinds import antivirus
from mspctl.kinds.hosts import FACET
from mspctl.model.customer import Customer
from mspctl.model.inventory import Inventory
from mspctl.model.policies import source
from mspctl.model.sections.antivirus import CLAMAV, Scan, Section, Settled, scans_of, settled
from mspctl.model.sections.hosts import Entry, entries
from mspctl.moments import Ending, Span
from mspctl.proof import Proving
from mspctl.resource import Id, Resource, Scope, Value
from mspctl.strict_yaml import find

FACETS = ()  # the way back is that of `hosts`
_VENDORS = {antivirus.ASSIGNMENT: antivirus.FIELDS[antivirus.ASSIGNMENT]}
SCOPES = {
    antivirus.FACET: ("antivirus:Console", _VENDORS),
    FACET: ("hosts:Host", {k: v for k, v in antivirus.FIELDS.items() if k not in _VENDORS}),
}
_ALL = antivirus.PRODUCTS | {antivirus.SCAN}
MIB = 2**20
FILE, SCAN, DEPTH = 100 * MIB, 400 * MIB, 17  # what ClamAV's own configuration of Debian says, nearly


def declare(customer: Customer, inventory: Inventory, outputs: Outputs, now: datetime) -> Iterator[Declaration]:
    section, file = _section(customer), f"customers/{customer.name}/antivirus.yaml"
    for scope, assigned in _assigned(customer).items():
        yield Declaration(scope, assigned, file)
    every = section.proof.every if section.proof else 0
    for name, entry, scope, policy in _guarded(customer):
        place, first = (
            source(customer, antivirus.SECTION, name, entry, "product"),
            Proving(antivirus.SECTION, policy.product, every),
        )
        if policy.product != CLAMAV:
            # A scan goes with the engine that makes it: until then both are there.
            sold, first = inventory.products[policy.product], replace(first, kinds=_ALL)
            made = [antivirus.agent(policy.product, sold.packages, sold.services, place)]
            yield Declaration(scope, made, file, proving=first)
            continue
        excluded, timed, ends = _excluded(customer, policy, now)
        made = [
            antivirus.engine(_fields(policy, excluded), place),
            *(_scan(customer, key, scan) for key, scan in scans_of(section, name, entry)),
        ]
        yield Declaration(scope, made, file, timed=timed, ends=ends, proving=replace(first, kinds=antivirus.PRODUCTS))


def scopes(customer: Customer) -> Iterator[Scope]:
    yield from (scope for _, _, scope, _ in _guarded(customer))
    yield from _assigned(customer)


def _assigned(customer: Customer) -> dict[Scope, list[Resource]]:
    """Which policies endpoints have, by vendor's console; hosts that nothing else drives are among them."""
    found: dict[Scope, list[Resource]] = {}
    for name, entry in entries(customer).items():
        policy = settled(_section(customer), name, entry)
        if policy and policy.assign:
            scope = Scope(policy.assign.target, antivirus.FACET, customer.name, customer.name, customer.info.engine)
            made = antivirus.assignment(
                name, policy.assign.policy, source(customer, antivirus.SECTION, name, entry, "assign")
            )
            found.setdefault(scope, []).append(made)
    return found


def _section(customer: Customer) -> Section:
    section = customer.sections["antivirus"]
    assert isinstance(section, Section), "load puts each section's own model here"
    return section


def _guarded(customer: Customer) -> Iterator[tuple[str, Entry, Scope, Settled]]:
    for name, entry, scope in places(customer, antivirus.SECTION):
        if policy := settled(_section(customer), name, entry):
            yield name, entry, scope, policy


def _excluded(
    customer: Customer, policy: Settled, now: datetime
) -> tuple[frozenset[str], dict[Id, str], dict[Id, Ending]]:
    """What is left out now, what time has ended, and what it will end next."""
    ours, over, ends = set(), [], list[Ending]()
    for path, each in policy.exclude.items():
        if Span(customer.info.timezone, until=each.until).holds(now):
            ours.add(path)
            ends.append(Ending(each.until.ends(customer.info.timezone), f"{path} left out until {each.until}"))
        else:
            over.append(f"{path} expired {each.until}")
    timed = {antivirus.CLAMAV: ", ".join(over)} if over else {}
    return frozenset(ours), timed, {antivirus.CLAMAV: _first(ends)} if ends else {}


def _first(ends: Sequence[Ending]) -> Ending:
    """What ends next; all of it, where several do at once."""
    at = min(end.at for end in ends)
    return Ending(at, ", ".join(sorted(end.says for end in ends if end.at == at)))


def _fields(policy: Settled, excluded: frozenset[str]) -> dict[str, Value]:
    limits, updates = policy.limits, policy.updates
    return {
        "on_access": frozenset(policy.on_access),
        "prevent": policy.prevent,
        "exclude": excluded,
        "action": policy.action,
        "max_file": -(-(limits.file or FILE) // MIB),
        "max_scan": -(-(limits.scan or SCAN) // MIB),
        "depth": limits.depth or DEPTH,
        "mirror": updates.mirror or "",
        "official": updates.official,
        "own": frozenset(updates.own),
        "every": updates.every,
        "alert": policy.alert,
    }


def _scan(customer: Customer, name: str, scan: Scan) -> Resource:
    mark = find(customer.data["antivirus"], ("scans", name))
    fields: dict[str, Value] = {
        "paths": frozenset(scan.paths),
        "schedule": scan.schedule,
        "timezone": customer.info.timezone,
    }
    return antivirus.scan(name, fields, f"{mark.file}:{mark.line}" if mark else "")
