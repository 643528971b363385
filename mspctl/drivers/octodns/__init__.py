"""
DNS zones at providers that octoDNS can drive: one adapter for the provider classes of the octoDNS organisation.

octoDNS owns whole zones and knows no ledger, so we use its providers and not its manager: `populate` reads, and the
plan that `apply` gets is made here, with our changes and no others. What nobody declared stays, what octoDNS knows more
about than YAML can say (dynamic and geo records, a provider's own types) is shown under a kind of its own and never
written, and flags of a provider (Cloudflare's `proxied`) outlive a change of the values. Each provider is opened anew
for each reading and each apply, because most of them cache what they have read.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator

from mspctl.driver import Access, Failed, Known, Landed, Reading, Traits, Work, translated
from mspctl.drivers.octodns.planning import plan_of
from mspctl.drivers.octodns.providers import AS_FILE, PROVIDERS, checked, few, provider_class, provider_name, spec
from mspctl.drivers.octodns.records import OWN, held_in, own, record_of, resource_of, zone_of
from mspctl.drivers.octodns.told import line, logger, told
from mspctl.errors import Stale, TargetError, Unsupported
from mspctl.fields import PLACE, Means, Model
from mspctl.kinds import dns
from mspctl.resource import Change, Fields, Id, Resource, Scope

if TYPE_CHECKING:
    from octodns.record import Record
    from octodns.zone import Zone

ANY = "zone.invalid"  # stands for the zone where it does not matter which
APEX_NS = Id(dns.KIND, f"{dns.APEX} NS")
_ANY_PLAIN = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}

Options = Annotated[dict[str, Any], WithJsonSchema(_ANY_PLAIN), Means(PLACE.what, ("endpoint",))]
Few = Annotated[int, BeforeValidator(few), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 16})]


class Settings(Model):
    provider: Annotated[str, BeforeValidator(provider_name), WithJsonSchema({"enum": [*PROVIDERS]}), PLACE]
    options: Options = Field({}, validate_default=True)  # of the provider, as octoDNS calls them
    at_once: Few = 4  # zones read side by side; fewer where a provider limits how often it may be asked

    @field_validator("options")
    @classmethod
    def _options(cls, given: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        provider = info.data.get("provider")
        return checked(provider, given) if provider else {}


class Reader:
    traits = Traits(cas="reread", holds_data=frozenset({OWN}))

    def __init__(self, access: Access) -> None:
        self.settings: Settings = access.settings
        self.access = access
        self.name = self.settings.provider
        self.provider = PROVIDERS[self.name]
        self.wanted = spec(self.provider.secrets)
        self.roles = [role for role in access.secrets if role in self.wanted]
        self.log = logger(access.target)
        self._check()
        self.cls = provider_class(self.name)
        # An instance that was never opened: what a provider can hold is asked of it without secrets and without I/O.
        self.closed = self.cls.__new__(self.cls)
        vars(self.closed).update(id="", log=self.log, strict_supports=True, root_ns_warnings=False)
        if hasattr(self.cls, "list_zones"):
            self.scopes = self._scopes

    def _check(self) -> None:
        missing = [name for name, (_, needed) in self.wanted.items() if needed and name not in self.roles]
        if missing:
            raise TargetError(f"{self.name} needs secrets of {self.access.target}: {', '.join(missing)}")
        if self.provider.host and not self.access.address:
            raise TargetError(f"{self.name} needs the address of {self.access.target} (address: 192.0.2.1)")

    def accept(self, resource: Resource) -> Resource:
        from octodns.provider import SupportsException
        from octodns.record import RecordException

        if resource.id.kind != dns.KIND:
            raise Unsupported(f"octoDNS cannot hold {resource.id.kind}")
        rtype = dns.owner_type(resource.id)[1]
        if rtype not in self.closed.SUPPORTS:
            raise Unsupported(f"octoDNS’s {self.name} has no {rtype} records")
        try:
            held = self._as_held(resource)
        except (RecordException, SupportsException, ValueError) as error:
            text = line(error).removeprefix(": ").replace(f".{ANY}", "").replace(ANY, "the zone")
            raise Unsupported(text) from None
        return resource if held == resource.fields else replace(resource, fields=held)

    def _as_held(self, resource: Resource) -> Fields:
        owner, rtype = dns.owner_type(resource.id)
        zone, values = zone_of(ANY), dns.values_of(resource)
        ttl = max(dns.ttl_of(resource), int(self.settings.options.get("min_ttl", self.provider.min_ttl)))
        record = held = record_of(dns.rrset(owner, rtype, ttl, values), zone)
        zone.add_record(record)
        if rtype == "DS":  # some look for the delegation, which is in the zone and not here
            zone.add_record(record_of(dns.rrset(owner, "NS", ttl, ["ns.invalid."]), zone))
        with suppress(AttributeError):  # for what only an open provider knows: then it is told when it is written
            held = self.closed._process_desired_zone(zone).get_type(record.name, rtype)
        made = resource_of(held or record, ANY)
        if held is None or dns.values_of(made) != values:
            raise ValueError(f"octoDNS’s {self.name} would make something else of it")
        return made.fields

    def read(self, scopes: Sequence[Scope], known: Known) -> Iterator[Reading | Failed]:
        """Side by side, each worker with a provider of its own: they are not made to be shared."""
        open_: SimpleQueue[Any] = SimpleQueue()
        workers = min(len(scopes), self.settings.at_once)
        for _ in range(workers):
            open_.put(self._open())

        def answer(scope: Scope) -> Reading | Failed:
            provider = open_.get()
            try:
                with translated():
                    return self._reading(provider, scope, {r.id for r in known.get(scope, ())})
            except TargetError as error:
                return Failed(scope, error)
            finally:
                open_.put(provider)

        if workers:
            with ThreadPoolExecutor(workers) as pool:
                yield from pool.map(answer, scopes)

    def _reading(self, provider: Any, scope: Scope, known: Collection[Id]) -> Reading:
        zone, exists = self._populated(provider, scope)
        resources = [self._shown(record, scope.name) for record in sorted(zone.records)]
        # The provider names its own servers at the apex: they are not Git's to declare, unless it does.
        return Reading(scope, [r for r in resources if r.id != APEX_NS or r.id in known], exists=exists)

    def _shown(self, record: Record, zone: str) -> Resource:
        """What we would not write is not shown as if we would: what is imported can be planned."""
        from octodns.record import RecordException

        try:
            resource = resource_of(record, zone)
            self.accept(resource)
        except (RecordException, Unsupported, ValueError):
            return own(record)
        return resource

    def _populated(self, provider: Any, scope: Scope) -> tuple[Zone, bool]:
        zone = zone_of(scope.name)
        try:
            with told(self.name):
                return zone, provider.populate(zone, target=True, lenient=True) is not False
        except TargetError as error:
            if self.name == "bind" and "NOTAUTH" in str(error):
                text = f"the server has no zone {scope.name}, and octoDNS’s bind cannot make it (add it there)"
                raise TargetError(text) from error
            raise

    def _scopes(self) -> Sequence[str]:
        """Zones of the account."""
        with told(self.name):
            return sorted({dns.fold_zone(str(name)) for name in self._open().list_zones()})

    def _open(self) -> Any:
        """A provider of its own, with nothing cached."""
        given = dict(self.settings.options)
        if self.provider.host:
            given["host"] = self.access.address
        with told(self.name), ExitStack() as stack:
            for role in self.roles:
                secret = self.access.secrets[role].reveal_text()
                given[role] = stack.enter_context(_file(secret)) if role == AS_FILE else secret
            provider = self.cls(self.access.target, **given)
        provider.log, provider.root_ns_warnings = self.log, False
        return provider


class Driver(Reader):
    def apply(self, work: Sequence[Work]) -> Iterator[Landed | Failed]:
        provider = self._open() if work else None
        for item in work:
            try:
                with translated():
                    yield from self._apply_one(provider, item)
            except TargetError as error:
                yield Failed(item.scope, error)

    def _apply_one(self, provider: Any, work: Work) -> Iterator[Landed]:
        changes = [c for c in work.changes if c.id.kind == dns.KIND and not _lets_go(c)]
        failure, done = self._write(provider, work, changes) if changes else (None, True)
        true = [c for c in work.changes if c.id.kind == dns.KIND] if done else self._true(work, failure)
        for change in true:
            yield Landed(work.scope, change)
        if failure:
            raise failure
        if left := sorted({c.id.name for c in work.changes} - {c.id.name for c in true}):
            raise TargetError(f"octoDNS’s {self.name} leaves as it is: {', '.join(left)}")

    def _write(self, provider: Any, work: Work, changes: Sequence[Change]) -> tuple[TargetError | None, bool]:
        """What went wrong once writing had begun, and whether all was done. Raises TargetError before that."""
        live, exists = self._populated(provider, work.scope)
        self._check_fresh(work, changes, live, exists)
        with told(self.name):
            plan = plan_of(provider, live, exists, changes)
        try:
            with told(self.name):
                provider.apply(plan)
        except TargetError as error:
            return error, False
        return None, len(plan.changes) == len(changes)

    def _check_fresh(self, work: Work, changes: Sequence[Change], live: Zone, exists: bool) -> None:
        if not exists and {r.id for r in work.after} - {c.id for c in changes if c.before is None}:
            raise Stale(f"{work.scope.name} was removed since it was read")
        for change in changes:
            record = held_in(live, change.id)
            held = self._shown(record, work.scope.name) if record else None
            if held and held.id != change.id:
                raise TargetError(f"{change.id.name} is there in a form that only octoDNS can say; it is left as it is")
            if (held and held.fields) != (change.before and change.before.fields):
                raise Stale(f"{change.id.name} was changed since it was read")

    def _true(self, work: Work, failure: TargetError | None) -> list[Change]:
        """What is as it was asked for, read by a provider that has nothing cached."""
        try:
            zone, _ = self._populated(self._open(), work.scope)
        except TargetError as error:
            raise failure or error from None
        held = {r.id: r.fields for r in (self._shown(record, work.scope.name) for record in zone.records)}
        return [c for c in work.changes if _lets_go(c) or held.get(c.id) == (c.after and c.after.fields)]


@contextmanager
def _file(secret: str) -> Iterator[str]:
    """A path from which a secret can be read, once. It never lies on a disk."""
    if len(secret) > 16_000:  # what a pipe takes without a reader
        raise TargetError("the secret is too long for a file of credentials")
    there, here = os.pipe()
    try:
        with os.fdopen(here, "wb") as file:
            file.write(secret.encode())
        yield f"/dev/fd/{there}"
    finally:
        os.close(there)


def _lets_go(change: Change) -> bool:
    """A zone must have name servers: those that leave Git stay, and are the provider's to name from then on."""
    return change.id == APEX_NS and change.after is None
