"""The repository that a program's resources belong to: whose a scope is, which targets there are, who may do what."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from importlib import import_module
from pathlib import Path

from mspctl import desired, guards
from mspctl.desired import Declaration, Selection, declarations, governed, scopes
from mspctl.errors import InputError, LedgerError
from mspctl.kinds import antivirus, backup, dns, patching
from mspctl.kinds.hosts import FACET
from mspctl.load import Estate, load
from mspctl.locks import Locks
from mspctl.model.base import nearest
from mspctl.model.customer import Customer
from mspctl.model.permissions import NONE, Permissions
from mspctl.model.sections import hosts
from mspctl.moments import Clock
from mspctl.observations import Observations
from mspctl.resource import Id, Resource, Scope
from mspctl.targets import Targets

ENGINE = "pulumi"
NAME_SERVERS = "nameservers"  # an output of zones that no driver hands out
APEX_NS = Id(dns.KIND, f"{dns.APEX} NS")
SECTIONS = (antivirus.SECTION, backup.SECTION, patching.SECTION)


def find(start: Path) -> Path:
    """The nearest folder, from `start` upwards, with customers/ and inventory/. Raises InputError."""
    for folder in (start, *start.parents):
        if (folder / "customers").is_dir() and (folder / "inventory").is_dir():
            return folder
    raise InputError.at(
        str(start), "is not in a repository with customers/ and inventory/ (pulumi config set mspctl:directory DIR)"
    )


class Repository:
    """Loaded when it is first needed, and once for a run of Pulumi."""

    def __init__(self, root: Path, wait: float = 60.0) -> None:
        self.root = root
        self.wait = wait  # for locks, in seconds
        self._lock = threading.Lock()

    @property
    def estate(self) -> Estate:
        with self._lock:
            return self._estate

    @cached_property
    def _estate(self) -> Estate:
        return load(self.root)

    @property
    def targets(self) -> Targets:
        estate = self.estate
        with self._lock:
            if self._targets is None:
                self._targets = Targets(estate)
            return self._targets

    _targets: Targets | None = None

    @cached_property
    def locks(self) -> Locks:
        return Locks(self.root)

    @cached_property
    def _owners(self) -> dict[Scope, Scope]:
        return {scope: scope for scope in scopes(self.estate)}

    def owner(self, scope: Scope) -> str:
        """The customer whose YAML declares a scope; "" when none does."""
        found = self._owners.get(scope)
        return found.customer if found else ""

    def refusals(self, scope: Scope) -> Iterator[tuple[str, str]]:
        """Why Pulumi must leave a scope alone, each with the input that says it."""
        estate = self.estate
        customer, target = estate.everyone.get(scope.customer), estate.inventory.targets.get(scope.target)
        if target is None:
            known = estate.inventory.targets
            yield "target", f"target {scope.target} is not in inventory/targets.yaml{nearest(scope.target, known)}"
        elif scope.facet not in target.facets:
            yield "target", f"target {scope.target} has no facet {scope.facet}"
        if customer is None:
            yield "customer", f"there is no customers/{scope.customer}{nearest(scope.customer, estate.everyone)}"
        yield from (("customer", why) for why in self.owners(scope))
        if customer and (why := _another(customer, scope)):
            yield "name", why

    def owners(self, scope: Scope) -> Iterator[str]:
        """Whose a scope is, if not Pulumi's for its customer. A customer that is gone owns nothing."""
        customer = self.estate.everyone.get(scope.customer)
        if customer and customer.info.engine != ENGINE:
            yield f"is mspctl's (write engine: pulumi in customers/{scope.customer}/customer.yaml)"
        owner = self.owner(scope)
        if owner not in ("", scope.customer):
            yield f"{scope} is declared by customers/{owner}"

    def name_servers(self, scope: Scope, resources: Iterable[Resource]) -> dict[str, tuple[str, ...]]:
        """Of a zone, as a registrar wants them: what it says itself, else what its target gives zones that say none."""
        settings = self.estate.inventory.settings.get((scope.target, scope.facet))
        hosts = next((dns.values_of(r) for r in resources if r.id == APEX_NS), getattr(settings, "nameservers", ()))
        return {NAME_SERVERS: tuple(sorted(host.rstrip(".") for host in hosts))} if hosts else {}

    def said(self, scope: Scope, now: datetime) -> Declaration | None:
        """What the YAML says of a scope, if it does."""
        selection = Selection([scope.customer], [_section(scope)], [scope.target], [f"{scope.facet}/{scope.name}"])
        found = declarations(self.estate, selection, {}, now) if scope.customer in self.estate.customers else ()
        return next((each for each in found if each.scope == scope), None)

    def proved(self, declaration: Declaration, recorded: Collection[Id], now: datetime) -> Declaration:
        """With what has to be proved before something else goes, as the YAML says it, and why that may not go yet."""
        gone = {*recorded} - {resource.id for resource in declaration.resources}
        said = self.said(declaration.scope, now) if gone and not declaration.gone else None
        proving = said.proving if said else None
        if proving is None or not any(id_.kind in proving.kinds for id_ in gone):
            return declaration
        try:
            proofs = Observations.fetched(self.root).proofs([declaration.scope])
            why = guards.unproved(proving, proofs.get((declaration.scope, proving.section, proving.name)), now)
        except LedgerError as error:
            why = str(error)
        return replace(declaration, proving=proving, unproved=why)

    def governed(self, declaration: Declaration, now: datetime) -> Declaration:
        """With what the customer's files say of mode, windows and approvals."""
        scope = declaration.scope
        customer = self.estate.everyone[scope.customer]
        allowed = customer.permissions.on(Clock(now, customer.info.timezone).today)
        return governed(declaration, customer, _section(scope), self.estate.inventory, allowed, now)

    def permissions(self, scope: Scope, now: datetime) -> Permissions:
        """What may pass when a scope goes; its customer may be gone."""
        customer = self.estate.everyone.get(scope.customer)
        allowed = customer.permissions if customer else self.estate.inventory.permissions
        return (allowed or NONE).on(Clock(now, customer.info.timezone if customer else "UTC").today)


def _another(customer: Customer, scope: Scope) -> str:
    """Why a name that begins with a customer's is not of this customer; "" when it is."""
    owner, _, rest = scope.name.partition("/")
    if scope.facet not in (FACET, antivirus.FACET):
        return ""
    if owner != customer.name:
        return f"is not of {customer.name} (write {'/'.join((customer.name, rest)) if rest else customer.name})"
    known, host = hosts.entries(customer), rest.partition("/")[0]
    if host and host not in known:
        return f"there is no host {host} in customers/{owner}/hosts.yaml{nearest(host, known)}"
    section = rest.partition("/")[2]
    return "" if section in ("", *SECTIONS) else f"hosts have no section {section}{nearest(section, SECTIONS)}"


def _section(scope: Scope) -> str:
    """The section that a scope is of; of a host, the last part of its name."""
    found = [name for name in desired.names() if scope.facet in import_module(f"mspctl.desired.{name}").SCOPES]
    last = scope.name.rpartition("/")[2]
    return last if last in found else found[0]


def now() -> datetime:
    return datetime.now(UTC)
