"""
Zones on a name server that takes dynamic updates (RFC 2136), read by zone transfer: BIND, Knot, and their kin.

Each changed RRset goes out with a prerequisite, its value as it was read just before: the server itself compares and
writes in one step, so nobody's change in between is overwritten. The serial would be no guard: a server that signs a
zone shows another one than it checks. TTLs cannot be prerequisites; they are compared when the zone is read.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Annotated, Any, Literal, get_args

import dns.exception
import dns.name
import dns.rdata
import dns.rdatatype
import dns.tsig
import dns.update
from pydantic import BeforeValidator

from mspctl.driver import Access, Failed, Known, Landed, Reading, Traits, Work, translated
from mspctl.errors import Stale, TargetError, Unsupported
from mspctl.fields import Boolean, Count, Host, Model, Port, Seconds, ZoneName, one_or_many, typed
from mspctl.kinds import dns as kind
from mspctl.kinds import shown
from mspctl.kinds import zone as whole
from mspctl.resource import Change, Id, Resource, Scope
from mspctl.transports.name_server import Connection, NoConnection, Refused, RRset, Server, Transfer

Algorithm = Literal["hmac-sha256", "hmac-sha384", "hmac-sha512"]
APEX_NS = Id(kind.KIND, f"{kind.APEX} NS")
MAX_MESSAGE = 65_535  # octets
LOOKS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # seconds before each look: BIND signs inline zones a moment later


def _algorithm(value: Any) -> str:
    text = typed(value).lower()
    if text not in get_args(Algorithm):
        raise ValueError(f"{shown(text)} is not one of {', '.join(get_args(Algorithm))} (SHA-1 and MD5 are broken)")
    return text


class Settings(Model):
    key: Host  # name of the TSIG key, as the server calls it; the target's secret `tsig` is what it holds, in base64
    algorithm: Annotated[Algorithm, BeforeValidator(_algorithm)] = "hmac-sha256"
    port: Port = 53
    timeout: Seconds = 10  # without an answer
    connections: Count = 4  # at once
    check_names: Boolean = False  # refuse host names that BIND takes only with `check-names primary warn` or `ignore`
    nameservers: Annotated[tuple[Host, ...], BeforeValidator(one_or_many)] = ()  # of zones that declare none
    zones: Annotated[tuple[ZoneName, ...], BeforeValidator(one_or_many)] = ()  # for import
    catalog: ZoneName | None = None  # for import: a zone that lists the zones (RFC 9432)


class Reader:
    traits = Traits(cas="value")

    def __init__(self, access: Access) -> None:
        self.access = access
        self.settings: Settings = access.settings

    def accept(self, resource: Resource) -> Resource:
        if resource.id.kind != kind.KIND:
            raise Unsupported(f"a name server cannot hold {resource.id.kind}")
        _, rtype = kind.owner_type(resource.id)
        if rtype in kind.PSEUDO:
            raise Unsupported(f"a name server cannot hold {rtype} records (write A and AAAA)")
        for why in (*whole.alone(resource), *(whole.bad_hosts(resource) if self.settings.check_names else ())):
            raise Unsupported(why)
        return resource

    def read(self, scopes: Sequence[Scope], known: Known) -> Iterator[Reading | Failed]:
        """Several zones at a time, each connection going from zone to zone."""
        if not scopes:
            return
        server = self._server()
        with ExitStack() as stack:
            idle: SimpleQueue[Connection] = SimpleQueue()
            for _ in range(min(self.settings.connections, len(scopes))):
                idle.put(stack.enter_context(Connection(server)))

            def read(scope: Scope) -> Reading | Failed:
                connection = idle.get()
                try:
                    return self._read(connection, scope, known.get(scope, ()))
                finally:
                    idle.put(connection)

            executor = stack.enter_context(ThreadPoolExecutor(idle.qsize()))
            yield from executor.map(read, scopes)

    def _read(self, connection: Connection, scope: Scope, known: Sequence[Resource]) -> Reading | Failed:
        try:
            with translated():
                transfer = connection.transfer(scope.name)
                held = [h.resource for h in _held(scope.name, transfer).values()]
                resources = [r for r in held if not self._is_filled(r, known)]
                return Reading(scope, resources, token=str(transfer.serial))
        except NoConnection:
            raise  # nor will there be one for the zones after this
        except TargetError as error:
            return Failed(scope, error)

    def _is_filled(self, live: Resource, known: Iterable[Resource]) -> bool:
        """Name servers that every new zone is made with are not Git's to declare; unless it does."""
        if live.id != APEX_NS or live.fields["values"] != frozenset(self.settings.nameservers):
            return False
        return live.fields["values"] not in [r.fields["values"] for r in known if r.id == APEX_NS]

    def tokens(self, scopes: Sequence[Scope]) -> Mapping[Scope, str]:
        """The serials."""
        with translated(), Connection(self._server()) as connection:
            serials = connection.serials([scope.name for scope in scopes])
        return {scope: str(serials[scope.name]) for scope in scopes if scope.name in serials}

    def scopes(self) -> Sequence[str]:
        """The zones that the settings name, and the members of the catalog zone."""
        if not self.settings.zones and not self.settings.catalog:
            raise TargetError(
                f"DNS cannot list the zones of a server: give {self.access.target} zones: [acme.example], or a catalog"
                " zone, in inventory/targets.yaml"
            )
        members = self._members(self.settings.catalog) if self.settings.catalog else ()
        return sorted({*self.settings.zones, *members})

    def _members(self, catalog: str) -> Iterator[str]:
        with translated(), Connection(self._server()) as connection:
            rrsets = connection.transfer(catalog).rrsets
        if not any((r.owner, r.rtype) == (f"version.{catalog}.", dns.rdatatype.TXT) for r in rrsets):
            raise TargetError(f"{catalog} is no catalog zone (it has no version)")
        for rrset in rrsets:
            if rrset.rtype == dns.rdatatype.PTR and rrset.owner.partition(".")[2] == f"zones.{catalog}.":
                for member in map(kind.from_rdata, rrset.rdatas):
                    try:
                        yield kind.fold_zone(member)
                    except ValueError as error:
                        raise TargetError(f"catalog zone {catalog}: {error}") from None

    def _server(self) -> Server:
        """Where to ask, and with which key: looked up when the first question is asked."""
        if not self.access.address:
            name = self.access.target
            raise TargetError(f"{name} has no address (add address: ns1.example.net to it in inventory/targets.yaml)")
        secret = self.access.secrets["tsig"]
        try:
            octets = base64.b64decode("".join(secret.reveal_text().split()), validate=True)
        except ValueError:
            raise TargetError(f"secret {secret.name} is not base64 (copy what the server has as the secret)") from None
        key = dns.tsig.Key(self.settings.key, octets, self.settings.algorithm)
        return Server(self.access.address, self.settings.port, key, max(self.settings.timeout, 1))


class Driver(Reader):
    def apply(self, work: Sequence[Work]) -> Iterator[Landed | Failed]:
        for item in work:
            try:
                with translated():
                    yield from self._apply(item)
            except NoConnection:
                raise
            except TargetError as error:
                yield Failed(item.scope, error)

    def _apply(self, work: Work) -> Iterator[Landed]:
        if not work.changes:
            return
        zone, server = work.scope.name, self._server()
        held = _now(zone, server)
        left = [c for c in work.changes if work.gone and c.id == APEX_NS and not self.settings.nameservers]
        edits = [self._edit(zone, change, held.get(change.id)) for change in work.changes if change not in left]
        _check(zone, edits, held)
        sent = _send(zone, server, [*_batches(zone, server.key, _units(edits))] if edits else [])
        true, error = _outcome(zone, server, sent)
        for edit in edits:
            if edit.change.id in true:
                yield Landed(work.scope, edit.change)
        if error and len(true) < len(edits):
            raise error
        if left:
            raise TargetError(_STAYS.format(zone=zone))

    def _edit(self, zone: str, change: Change, held: Held | None) -> Edit:
        """What to do with one RRset. Raises Stale when it is not as it was when the change was planned."""
        live, after = held.resource if held else None, change.after
        hidden = live is not None and change.before is None and self._is_filled(live, ())
        if not hidden and (live and live.fields) != (change.before and change.before.fields):
            raise Stale(f"{change.id.name} was changed on the server since it was read")
        if change.id == APEX_NS and after is None and live and self.settings.nameservers:
            after = kind.rrset(kind.APEX, "NS", kind.ttl_of(live), self.settings.nameservers)
        owner, rtype = kind.owner_type(change.id)
        name = dns.name.from_text(kind.absolute(owner, zone))
        return Edit(change, name, dns.rdatatype.from_text(rtype), held.rrset if held else None, after)


# -- what a server holds --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Held:
    """One RRset in our normal form, and as the server spells it: only the latter is what it compares with."""

    resource: Resource
    rrset: RRset


def _held(zone: str, transfer: Transfer) -> dict[Id, Held]:
    """All but what servers make by themselves."""
    found: dict[Id, Held] = {}
    for rrset in transfer.rrsets:
        rtype = kind.type_name(rrset.rtype)
        if rtype in kind.SERVER_MADE:
            continue
        try:
            owner = kind.fold_owner(rrset.owner, zone)
            resource = kind.rrset(owner, rtype, rrset.ttl, map(kind.from_rdata, rrset.rdatas))
        except ValueError as error:
            raise TargetError(f"{rrset.owner} {rtype}: {error}") from None
        found[resource.id] = Held(resource, rrset)
    return found


def _now(zone: str, server: Server) -> dict[Id, Held]:
    with Connection(server) as connection:
        return _held(zone, connection.transfer(zone))


# -- one update -----------------------------------------------------------------------------------------------

_STAYS = (
    "the records of {zone} are gone, its name servers and its SOA stay: DNS cannot remove a zone"
    " (BIND: rndc delzone -clean {zone}; Knot: knotc conf-begin, conf-unset 'zone[{zone}]', conf-commit)"
)


@dataclass(frozen=True, slots=True)
class Edit:
    """A change as the server will see it: from the records that it holds to others."""

    change: Change
    name: dns.name.Name
    rtype: dns.rdatatype.RdataType
    held: RRset | None
    after: Resource | None

    @property
    def rdatas(self) -> list[dns.rdata.Rdata]:
        rtype = kind.type_name(self.rtype)
        return [kind.to_rdata(rtype, value) for value in kind.values_of(self.after)] if self.after else []


@dataclass(frozen=True, slots=True)
class Batch:
    """Edits that go out in one message, so all of them are done or none."""

    edits: Sequence[Edit]
    message: dns.update.UpdateMessage


def _check(zone: str, edits: Iterable[Edit], held: Mapping[Id, Held]) -> None:
    """What a server would refuse, or say yes to and not do, is not sent. What is wrong already is not our matter."""
    before = {id_: h.resource for id_, h in held.items()}
    after = dict(before)
    for edit in edits:
        after.pop(edit.change.id, None)
        if edit.after is not None:
            after[edit.change.id] = edit.after
    wrong = {*whole.together(zone, before)}
    for why in whole.together(zone, after):
        if why not in wrong:
            raise TargetError(why)
    for edit in edits:
        owner, rtype = kind.owner_type(edit.change.id)
        if rtype == "DS" and edit.after and Id(kind.KIND, f"{owner} NS") not in after:
            raise TargetError(f"{owner} DS belongs to a delegation, and there is no {owner} NS")


def _units(edits: Iterable[Edit]) -> list[list[Edit]]:
    """
    Edits that must not be parted, in the order in which they may be sent one after another.

    All of a name stay together, because a CNAME takes the place of what was there; at the apex there is none. What
    others point at comes before them, and what is only taken away comes last: a zone that gets no further holds more
    than it should, and nothing in it points at nothing.
    """
    units: dict[Id | dns.name.Name, list[Edit]] = {}
    for edit in edits:
        owner, _ = kind.owner_type(edit.change.id)
        units.setdefault(edit.change.id if owner == kind.APEX else edit.name, []).append(edit)
    return sorted(units.values(), key=_turn)


_TURNS = {"A": 1, "AAAA": 1, "NS": 3, "DNAME": 5}  # any other type: 2


def _turn(unit: Iterable[Edit]) -> int:
    types = [(kind.owner_type(edit.change.id)[1], edit.after) for edit in unit]
    made = [_TURNS.get(rtype, 2) for rtype, after in types if after]
    return max(made) if made else 0 if ("DNAME", None) in types else 4


def _batches(zone: str, key: dns.tsig.Key, units: Sequence[Sequence[Edit]]) -> Iterator[Batch]:
    """As few messages as will do. Raises TargetError when a unit is too large for one."""
    edits = [edit for unit in units for edit in unit]
    message = _message(zone, key, edits)
    try:
        message.to_wire(max_size=MAX_MESSAGE)
    except dns.exception.TooBig:
        if len(units) < 2:
            raise TargetError(f"{_names(edits)}: this is more than one DNS message can hold (64 KiB)") from None
        for half in (units[: len(units) // 2], units[len(units) // 2 :]):
            yield from _batches(zone, key, half)
    else:
        yield Batch(edits, message)


def _message(zone: str, key: dns.tsig.Key, edits: Sequence[Edit]) -> dns.update.UpdateMessage:
    """Prerequisites; then all deletes before all adds, because a server drops a CNAME that is not alone in silence."""
    message = dns.update.UpdateMessage(f"{zone}.")
    message.use_tsig(key)
    for edit in edits:
        if edit.held:
            message.present(edit.name, *edit.held.rdatas)
        else:
            message.absent(edit.name, edit.rtype)
    for edit in edits:
        if edit.held and edit.change.id != APEX_NS:
            message.delete(edit.name, edit.rtype)
    for edit in edits:
        if edit.held and edit.change.id == APEX_NS:
            _replace_apex(message, edit, edit.held)
        elif edit.after:
            message.add(edit.name, kind.ttl_of(edit.after), *edit.rdatas)
    return message


def _replace_apex(message: dns.update.UpdateMessage, edit: Edit, held: RRset) -> None:
    """Apex NS are never deleted as a whole, nor the last of them (RFC 2136 section 3.4.2.4): add first, then delete."""
    assert edit.after is not None, "checked: a zone has name servers"
    wanted = kind.values_of(edit.after)
    stay = [rdata for rdata in held.rdatas if kind.from_rdata(rdata) in wanted]
    if len(stay) == len(edit.rdatas) and kind.ttl_of(edit.after) != held.ttl and len(held.rdatas) > 1:
        message.delete(edit.name, stay[0])  # Knot takes a TTL from a record that is new, and from no other
    message.add(edit.name, kind.ttl_of(edit.after), *edit.rdatas)
    if gone := [rdata for rdata in held.rdatas if rdata not in stay]:
        message.delete(edit.name, *gone)


# -- sending, and what came of it -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sent:
    """Edits that the server says it has made, and the error that stopped it at others."""

    made: Sequence[Edit]
    stopped: Sequence[Edit] = ()
    error: TargetError | None = None


def _send(zone: str, server: Server, batches: Sequence[Batch]) -> Sent:
    """One after the other, each over a connection of its own: one that is closed between messages would leave doubt."""
    made: list[Edit] = []
    for number, batch in enumerate(batches, 1):
        try:
            with translated(), Connection(server) as connection:
                connection.update(zone, batch.message)
        except TargetError as error:
            if len(batches) > 1:
                so_far = f"stopped at message {number} of {len(batches)}, what the others before it hold has landed"
                error = type(error)(f"{so_far}: {error}")
            return Sent(made, batch.edits, error)
        made += batch.edits
    return Sent(made)


def _outcome(zone: str, server: Server, sent: Sent) -> tuple[set[Id], TargetError | None]:
    """What is true on the server now, and what went wrong."""
    certain = isinstance(sent.error, Refused | Stale)
    try:
        live = _look(zone, server, sent.made)
    except TargetError as error:
        return {edit.change.id for edit in sent.made}, sent.error or error
    true = {e.change.id for e in (*sent.made, *(() if certain else sent.stopped)) if _is_made(e, live)}
    if isinstance(sent.error, Stale):
        moved = [e for e in sent.stopped if not _is_as_held(e, live.get(e.change.id))]
        return true, Stale(f"{_names(moved or sent.stopped)} was changed on the server since it was read")
    untrue = [edit for edit in sent.made if edit.change.id not in true]
    said = f"the server said yes, and has not done it: {_names(untrue)}"
    return true, sent.error or (TargetError(said) if untrue else None)


def _look(zone: str, server: Server, made: Sequence[Edit]) -> Mapping[Id, Held]:
    """The zone as it is served; what was just made is given a moment to show."""
    live: Mapping[Id, Held] = {}
    for pause in LOOKS:
        time.sleep(pause)
        live = _now(zone, server)
        if all(_is_made(edit, live) for edit in made):
            break
    return live


def _is_made(edit: Edit, live: Mapping[Id, Held]) -> bool:
    held = live.get(edit.change.id)
    return (held and held.resource.fields) == (edit.after and edit.after.fields)


def _is_as_held(edit: Edit, live: Held | None) -> bool:
    return {*(live.rrset.rdatas if live else ())} == {*(edit.held.rdatas if edit.held else ())}


def _names(edits: Sequence[Edit]) -> str:
    return ", ".join(edit.change.id.name for edit in edits[:5]) + (", …" if len(edits) > 5 else "")
