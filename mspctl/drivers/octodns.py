"""
DNS zones at providers that octoDNS can drive: one adapter for the provider classes of the octoDNS organisation.

octoDNS owns whole zones and knows no ledger, so we use its providers and not its manager: `populate` reads, and the
plan that `apply` gets is made here, with our changes and no others. What nobody declared stays, what octoDNS knows more
about than YAML can say (dynamic and geo records, a provider's own types) is shown under a kind of its own and never
written, and flags of a provider (Cloudflare's `proxied`) outlive a change of the values. Each provider is opened anew
for each reading and each apply, because most of them cache what they have read.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from queue import SimpleQueue
from socket import gaierror
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator

from mspctl.driver import Access, Failed, Known, Landed, Reading, Traits, Work, translated
from mspctl.errors import Error, Stale, TargetError, Unreachable, Unsupported
from mspctl.fields import Model, boolean, one_line
from mspctl.kinds import dns, shown
from mspctl.resource import Change, Fields, Id, Resource, Scope
from mspctl.secrets import RedactingFilter

if TYPE_CHECKING:
    from octodns.record import Record
    from octodns.zone import Zone

ANY = "zone.invalid"  # stands for the zone where it does not matter which
OWN = "octodns.record"  # the kind of what only octoDNS can say
APEX_NS = Id(dns.KIND, f"{dns.APEX} NS")
LOG = logging.getLogger(__name__)


# -- which providers there are --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Provider:
    """
    A provider class, of the package `octodns-<name>`.

    `options` are what YAML may set and `secrets` what it may name, both as octoDNS calls them. `name!` must be there,
    `name:int` is no text. `host`: the target's address is its argument of that name.
    """

    cls: str
    options: str = ""
    secrets: str = ""
    host: bool = False
    min_ttl: int = 0  # seconds; less is rounded up in silence, so we say it first


PROVIDERS = {
    "azure": Provider("AzureProvider", "sub_id! resource_group! directory_id! client_id!", "key!"),
    "bind": Provider("Rfc2136Provider", "port:int key_name key_algorithm update_batch_size:int", "key_secret", True),
    "cloudflare": Provider("CloudflareProvider", "account_id email min_ttl:int pagerules:bool", "token!", min_ttl=120),
    "constellix": Provider("ConstellixProvider", "", "api_key! secret_key!"),
    "digitalocean": Provider("DigitalOceanProvider", "", "token!"),
    "dnsimple": Provider("DnsimpleProvider", "account! sandbox:bool", "token!"),
    "dnsmadeeasy": Provider("DnsMadeEasyProvider", "sandbox:bool", "api_key! secret_key!"),
    "easydns": Provider("EasyDnsProvider", "currency portfolio sandbox:bool", "token! api_key!"),
    "edgecenter": Provider("EdgeCenterProvider", "", "token!"),
    "edgedns": Provider("AkamaiProvider", "contract_id gid", "client_secret! access_token! client_token!", True),
    "gandi": Provider("GandiProvider", "", "token!"),
    "gcore": Provider("GCoreProvider", "", "token!"),
    "googlecloud": Provider("GoogleCloudProvider", "project private:bool", "credentials_file"),
    "hetzner": Provider("HetznerProvider", "backend", "token!"),
    "mythicbeasts": Provider("MythicBeastsProvider", "", "api_key! api_secret!"),
    "ns1": Provider("Ns1Provider", "", "api_key!"),
    "ovh": Provider("OvhProvider", "endpoint!", "application_key! application_secret! consumer_key!"),
    "powerdns": Provider("PowerDnsProvider", "port:int scheme server_id mode_of_operation", "api_key!", True),
    "route53": Provider(
        "Route53Provider",
        "role_arn delegation_set_id private:bool vpc_id vpc_region",
        "access_key_id secret_access_key session_token",
    ),
    "selectel": Provider("SelectelProvider", "", "token!", min_ttl=60),
    "ultra": Provider("UltraProvider", "account! username!", "password!"),
}
AS_FILE = "credentials_file"  # the one secret that its provider takes as the path of a file


@cache
def _spec(text: str) -> dict[str, tuple[str, bool]]:
    """`name:int!` → name → (type, whether it must be there)."""
    parts = [(*word.rstrip("!").partition(":")[::2], word.endswith("!")) for word in text.split()]
    return {name: (kind, needed) for name, kind, needed in parts}


def _provider(value: Any) -> str:
    name = one_line(value)
    if name not in PROVIDERS:
        raise ValueError(f"there is no provider {shown(name)} (there are: {', '.join(PROVIDERS)})")
    return name


def _number(value: Any) -> int:
    text = one_line(value)
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise ValueError(f"{shown(text)} is not a whole number")
    return int(text)


def _few(value: Any) -> int:
    if not 1 <= (number := _number(value)) <= 16:
        raise ValueError(f"{number} is not from 1 to 16")
    return number


_TYPES: Mapping[str, Callable[[Any], Any]] = {"": one_line, "int": _number, "bool": boolean}
_ANY_PLAIN = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}

Options = Annotated[dict[str, Any], WithJsonSchema(_ANY_PLAIN)]
Few = Annotated[int, BeforeValidator(_few), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 16})]


class Settings(Model):
    provider: Annotated[str, BeforeValidator(_provider), WithJsonSchema({"enum": [*PROVIDERS]})]
    options: Options = Field({}, validate_default=True)  # of the provider, as octoDNS calls them
    at_once: Few = 4  # zones read side by side; fewer where a provider limits how often it may be asked

    @field_validator("options")
    @classmethod
    def _options(cls, given: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        provider = info.data.get("provider")
        known = _spec(PROVIDERS[provider].options) if provider else {}
        if unknown := provider and given.keys() - known.keys():
            raise ValueError(f"{provider} has no option {shown(min(unknown))} (it has: {', '.join(known) or 'none'})")
        if missing := [name for name, (_, needed) in known.items() if needed and name not in given]:
            raise ValueError(f"{provider} needs {', '.join(missing)}")
        return {name: _option(name, known[name][0], value) for name, value in given.items()} if provider else {}


def _option(name: str, kind: str, value: Any) -> Any:
    try:
        return _TYPES[kind](value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


# -- a record of octoDNS and a resource of ours ---------------------------------------------------------------


def resource_of(record: Record, zone: str) -> Resource:
    """As YAML would say it. Raises ValueError when YAML cannot."""
    rtype = dns.fold_type(record._type)
    if getattr(record, "dynamic", None) or getattr(record, "geo", None):
        raise ValueError("it has more than values")
    return dns.rrset(dns.fold_owner(record.fqdn, zone), rtype, record.ttl, _values(record, rtype))


def _values(record: Record, rtype: str) -> Iterable[str]:
    if rtype not in ("TXT", "SPF"):
        return {dns.fold_value(rtype, text, lambda name: f"{name}.") for text in record.to_rrset().rdatas}
    texts = {value.to_raw_text() for value in record.values}
    if any(c in text for text in texts for c in '\\"'):
        raise ValueError('octoDNS’s providers do not agree on how a text holds \\ or "')
    return {dns.quoted(text.encode()) for text in texts}


def own(record: Record) -> Resource:
    """What YAML cannot say, or we could not give back: of a kind that nobody can declare."""
    name = _printable(f"{record.name or dns.APEX} {record._type} (octoDNS)")
    return Resource(Id(OWN, name), {"data": json.dumps(record.data, default=str, sort_keys=True)})


def record_of(resource: Resource, zone: Zone, live: Record | None = None) -> Record:
    """Raises RecordException or ValueError for what octoDNS does not take. Flags of the live record are kept."""
    from octodns.record import Record, Rrset

    owner, rtype = dns.owner_type(resource.id)
    values = [dns.master_text(rtype, value) for value in dns.values_of(resource)]
    rrset = Rrset(dns.absolute(owner, zone.name[:-1]), rtype, dns.ttl_of(resource), values)
    record = Record.from_rrset(zone, rrset)
    if live is None or not live.octodns:
        return record
    return Record.new(zone, record.name, {**record.data, "type": rtype, "octodns": live.octodns}, lenient=True)


# -- what it says: errors and logs ----------------------------------------------------------------------------


@contextmanager
def _told(provider: str) -> Iterator[None]:
    """Whatever a provider raises is ours, in one line."""
    try:
        yield
    except Error:
        raise
    except Exception as error:
        if silence := _silence(error):
            raise Unreachable(f"{provider} gave no answer: {dns.first_line(silence)}") from error
        raise TargetError(f"octoDNS, for {provider}: {_line(error)}") from error


def _line(error: Exception) -> str:
    reasons = getattr(error, "reasons", None)  # of octoDNS's ValidationError, whose text has many lines
    said = "; ".join(str.__str__(reason) for reason in reasons) if reasons else dns.first_line(error)
    return _printable(said[:300])


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _silence(error: BaseException) -> Exception | None:
    """What the socket said, however often it was wrapped; None when the provider did answer."""
    from dns.exception import Timeout

    found, at = None, cast("BaseException | None", error)
    while at is not None:
        if getattr(at, "response", None) is not None:
            return None
        if isinstance(at, (ConnectionError, TimeoutError, EOFError, Timeout, gaierror)) or type(at) is OSError:
            found = at
        at = at.__cause__ or at.__context__
    return found


class _Last(logging.Handler):
    """What providers and their libraries log with nobody listening is ours; Python would print it."""

    def __init__(self, before: logging.Handler | None) -> None:
        super().__init__(logging.WARNING)
        self.before = before

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith("mspctl"):
            LOG.handle(record)
        elif self.before:
            self.before.handle(record)


_REDACTED = RedactingFilter()
LOG.addFilter(_REDACTED)
LOG.addHandler(logging.NullHandler())


def _log(target: str) -> logging.Logger:
    if not isinstance(logging.lastResort, _Last):
        logging.lastResort = _Last(logging.lastResort)
    log = LOG.getChild(target)
    log.addFilter(_REDACTED)
    return log


# -- talking --------------------------------------------------------------------------------------------------


@cache
def _class(name: str) -> Any:
    """A provider's class. Raises TargetError when a package is missing."""
    for package, installed_by in ("octodns.record", "'mspctl[octodns]'"), (f"octodns_{name}", f"octodns-{name}"):
        try:
            module = import_module(package)
        except ImportError as error:
            raise TargetError(f"{dns.first_line(error)} (pip install {installed_by})") from None
    record = sys.modules["octodns.record"].Record
    if not record.validators.configured:
        record.enable_validators({"legacy"})  # as octoDNS's own manager does, unless it is told otherwise
    return getattr(module, PROVIDERS[name].cls)


def _zone(name: str) -> Zone:
    from octodns.zone import Zone

    return Zone(f"{name}.", [])


def _get(zone: Zone, id_: Id) -> Record | None:
    owner, rtype = dns.owner_type(id_)
    return zone.get_type("" if owner == dns.APEX else owner, rtype)


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


class Reader:
    traits = Traits(cas="reread", holds_data=frozenset({OWN}))

    def __init__(self, access: Access) -> None:
        self.settings: Settings = access.settings
        self.access = access
        self.name = self.settings.provider
        self.provider = PROVIDERS[self.name]
        self.wanted = _spec(self.provider.secrets)
        self.roles = [role for role in access.secrets if role in self.wanted]
        self.log = _log(access.target)
        self._check()
        self.cls = _class(self.name)
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
            text = _line(error).removeprefix(": ").replace(f".{ANY}", "").replace(ANY, "the zone")
            raise Unsupported(text) from None
        return resource if held == resource.fields else replace(resource, fields=held)

    def _as_held(self, resource: Resource) -> Fields:
        owner, rtype = dns.owner_type(resource.id)
        zone, values = _zone(ANY), dns.values_of(resource)
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
        zone = _zone(scope.name)
        try:
            with _told(self.name):
                return zone, provider.populate(zone, target=True, lenient=True) is not False
        except TargetError as error:
            if self.name == "bind" and "NOTAUTH" in str(error):
                text = f"the server has no zone {scope.name}, and octoDNS’s bind cannot make it (add it there)"
                raise TargetError(text) from error
            raise

    def _scopes(self) -> Sequence[str]:
        """Zones of the account."""
        with _told(self.name):
            return sorted({dns.fold_zone(str(name)) for name in self._open().list_zones()})

    def _open(self) -> Any:
        """A provider of its own, with nothing cached."""
        given = dict(self.settings.options)
        if self.provider.host:
            given["host"] = self.access.address
        with _told(self.name), ExitStack() as stack:
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
        with _told(self.name):
            plan = _plan(provider, live, exists, changes)
        try:
            with _told(self.name):
                provider.apply(plan)
        except TargetError as error:
            return error, False
        return None, len(plan.changes) == len(changes)

    def _check_fresh(self, work: Work, changes: Sequence[Change], live: Zone, exists: bool) -> None:
        if not exists and {r.id for r in work.after} - {c.id for c in changes if c.before is None}:
            raise Stale(f"{work.scope.name} was removed since it was read")
        for change in changes:
            record = _get(live, change.id)
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


def _lets_go(change: Change) -> bool:
    """A zone must have name servers: those that leave Git stay, and are the provider's to name from then on."""
    return change.id == APEX_NS and change.after is None


def _plan(provider: Any, live: Zone, exists: bool, changes: Sequence[Change]) -> Any:
    """
    octoDNS's plan with our changes only, less those that the provider takes for none.

    Its own brakes (`raise_if_unsafe`: 30 % of a zone, any change of the apex NS) are not asked. The guards of mspctl
    are stricter, and what they let through somebody may have approved by name: it must not be refused here.
    """
    from octodns.provider.plan import Plan
    from octodns.record import Create, Delete, Update

    desired = _zone(live.name[:-1])
    old = {change.id: _get(live, change.id) for change in changes}
    for change in changes:
        if change.after:
            desired.add_record(record_of(change.after, desired, old[change.id]))
    others = live.records - {record for record in old.values() if record}
    for record in others:
        if record._type == "NS" and record.name:  # some look for the delegation beside a DS
            desired.add_record(record, lenient=True)
    desired = provider._process_desired_zone(desired)
    asked = []
    for change in changes:
        before, after = old[change.id], _get(desired, change.id)
        if change.after is None:
            asked.append(Delete(before))
        elif after:
            asked.append(Update(before, after) if before else Create(after))
    for record in others:  # providers look here for what is still in use
        desired.add_record(record, replace=True, lenient=True)
    return Plan(live, desired, [each for each in asked if provider._include_change(each)], exists)
