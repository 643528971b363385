"""
DNS zones on a PowerDNS authoritative server, through its HTTP API (tried with 4.7).

A zone's changes are one PATCH, which PowerDNS carries out whole or not at all; only what is larger than it takes at
once is split. Comments stay as they are, because nothing is said of them, and they never say whose a record is. A
record that is disabled is not served: it is none to us, and whatever is written gets its disabled ones back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from mspctl.driver import Access, AppliesEach, Failed, Known, Landed, Outputs, Reading, ReadsSideBySide, Traits, Work
from mspctl.drivers.powerdns import native
from mspctl.drivers.powerdns.native import Native, Zone, making_sense
from mspctl.errors import Stale, TargetError, Unreachable, Unsupported
from mspctl.fields import Host, Name, Ttl, one_or_many
from mspctl.kinds import dns
from mspctl.resource import Change, Id, Resource, Scope
from mspctl.transports import http
from mspctl.transports.http import Http, Refused, as_json, as_line

APEX_NS = Id(dns.KIND, f"{dns.APEX} NS")
MAX_BODY = 1_500_000  # bytes of RRsets in one request; PowerDNS takes 2 MB unless its configuration says otherwise
MAX_RECORDS = 100_000  # in one answer, for which PowerDNS needs almost 2 kB of memory each
MAX_RESPELLED = 100  # values of one request that PowerDNS may want in a spelling of its own

Asked = tuple[Id, Native]


class Settings(http.Settings):
    server: Name = "localhost"  # its id in the API
    kind: Literal["Native", "Master"] = "Native"  # of zones that we make
    nameservers: Annotated[tuple[Host, ...], BeforeValidator(one_or_many)] = ()  # of zones that declare none
    nameservers_ttl: Ttl = 3600
    soa_edit_api: Literal["DEFAULT", "INCREASE", "EPOCH", "SOA-EDIT", "SOA-EDIT-INCREASE"] = "DEFAULT"
    fingerprints: Literal["records", "serials"] = "records"  # what tells that a zone has changed


class Reader(ReadsSideBySide):
    traits = Traits(cas="reread")

    def __init__(self, access: Access) -> None:
        self.settings: Settings = access.settings
        self.readers = self.settings.connections
        self.by_serial = self.settings.fingerprints == "serials"
        hosts, ttl, secrets = self.settings.nameservers, self.settings.nameservers_ttl, access.secrets
        self.filled = dns.rrset(dns.APEX, "NS", ttl, hosts) if hosts else None
        self.http = Http(
            access.address, lambda: {"X-API-Key": secrets["api_key"].reveal_text()}, self.settings, access.root
        )
        self.server = f"/api/v1/servers/{self.settings.server}"

    def accept(self, resource: Resource) -> Resource:
        if resource.id.kind not in (dns.KIND, dns.ZONE.kind):
            raise Unsupported(f"PowerDNS cannot hold {resource.id.kind}")
        for why in native.refusals(resource) if resource.id.kind == dns.KIND else ():
            raise Unsupported(why)
        return resource

    def read(self, scopes: Sequence[Scope], known: Known) -> Iterator[Reading | Failed]:
        for answer in super().read(scopes, known):
            self._give_up_with(answer)
            yield answer

    def _give_up_with(self, answer: Reading | Landed | Failed) -> None:
        """One zone got no answer: when the server is silent altogether, nobody waits for the others one by one."""
        if isinstance(answer, Failed) and isinstance(answer.error, Unreachable):
            self._ask()

    def read_one(self, scope: Scope, known: Sequence[Resource]) -> Reading:
        zone = self._zone(scope.name)
        if zone is None:
            return Reading(scope, (), exists=False)
        resources = [r for r in zone.resources() if not self._is_filled(r, known)]
        settings = [r for r in known if r.id == dns.ZONE]
        if not any(r.source for r in settings):  # what is only recorded is not managed any more
            return Reading(scope, resources, token=zone.token)
        # A zone that is not signed has no such setting until somebody says so: to sign it takes nothing over.
        if zone.signed or any(not r.fields["dnssec"] for r in settings):
            resources.append(dns.zone(zone.signed))
        return Reading(scope, resources, self._outputs(zone), zone.token)

    def _is_filled(self, live: Resource, known: Sequence[Resource]) -> bool:
        """Name servers that we fill in are not Git's to declare; unless it does, and then they are like any others."""
        if self.filled is None or live.id != APEX_NS or live.fields["values"] != self.filled.fields["values"]:
            return False
        said = [r.fields for r in known if r.id == APEX_NS]
        return not said or (live.fields == self.filled.fields and live.fields not in said)

    def _outputs(self, zone: Zone) -> Outputs:
        """`ds`: what the registrar is to know of a signed zone, with digests by SHA-256, which all of them take."""
        keys = self.http.call("GET", f"{self._path(zone.name)}/cryptokeys") if zone.signed else ()
        with making_sense(f"the keys of {zone.name}"):
            records = [ds for key in keys if key["active"] for ds in key.get("ds", ())]
            return {"ds": tuple(sorted(ds for ds in records if ds.split()[2] == "2"))}

    def scopes(self) -> Sequence[str]:
        return sorted(self._zones())

    def tokens(self, scopes: Sequence[Scope]) -> Mapping[Scope, str]:
        """In two calls or one, whatever the number of zones. Of a zone that was not listed whole, none that fits."""
        zones = self._zones()
        if self.by_serial:
            with making_sense("its zones"):
                return {s: native.token_of_serial(zones[s.name]) for s in scopes if s.name in zones}
        rows: dict[str, list[str]] = {scope.name: [] for scope in scopes if scope.name in zones}
        try:
            answer = self.http.call("GET", f"{self.server}/search-data?q=*&object_type=record&max={MAX_RECORDS}")
        except Refused:
            return {}  # it can list no record when it cannot show one; who reads the zones learns which
        with making_sense("its records"):
            for record in answer:
                if (name := native.zone_name(record["zone"])) in rows:
                    rows[name].append(native.row(record))
            return {s: native.token(zones[s.name], rows[s.name]) for s in scopes if s.name in zones}

    def _zones(self) -> dict[str, Mapping[str, Any]]:
        """What the API says of each zone besides its records, in one call."""
        answer = self.http.call("GET", f"{self.server}/zones")
        with making_sense("its zones"):
            return {native.zone_name(zone["name"]): zone for zone in answer}

    def _zone(self, name: str) -> Zone | None:
        """The zone; None when there is no such zone."""
        try:
            return Zone(name, self.http.call("GET", self._path(name)), serials=self.by_serial)
        except Refused as error:
            if error.status == 500:
                raise TargetError(f"PowerDNS fails to show {name} (pdnsutil check-zone {name} may say why)") from None
            if error.status != 404:
                raise
        self._ask()
        return None

    def _ask(self) -> None:
        """Raises unless it answers and is what we take it for: the wrong server has no such zone either."""
        answer = self.http.call("GET", self.server)
        if not isinstance(answer, dict) or answer.get("daemon_type") != "authoritative":
            raise TargetError(f"{self.http.name}{self.server} is no authoritative PowerDNS")

    def _path(self, zone: str) -> str:
        return f"{self.server}/zones/{native.zone_id(zone)}"


class Driver(Reader, AppliesEach):
    def apply(self, work: Sequence[Work]) -> Iterator[Landed | Failed]:
        for answer in super().apply(work):
            yield answer
            self._give_up_with(answer)

    def apply_one(self, work: Work) -> Iterator[Landed]:
        true: set[Id] = set()
        failure: TargetError | None = None
        try:
            for ids in self._steps(work):
                true |= ids
        except TargetError as error:
            failure = error
        for change in work.changes:
            if change.id in true:
                yield Landed(work.scope, change)
        if failure:
            raise failure

    def _steps(self, work: Work) -> Iterator[set[Id]]:
        """Make the changes; what has become true, after each call."""
        if not work.changes and not work.gone:
            return
        name = work.scope.name
        zone = self._again(work)
        changes = {change.id: change for change in work.changes}
        setting = changes.pop(dns.ZONE, None)
        if zone is None and work.changes:
            yield from self._make(name, changes.values(), setting)
        elif zone is not None:
            yield from self._patch(name, _batches(self._asked(zone, changes.values(), work.gone)), changes.values())
            if setting is not None:
                yield self._sign(name, setting)
            if work.gone:
                self._remove(name)

    def _again(self, work: Work) -> Zone | None:
        """What is touched, as it is now. Raises Stale when that is not as it was read."""
        name = work.scope.name
        self._check_signer(name)
        zone = self._zone(name)  # the whole of it: asked for one RRset, PowerDNS leaves out what is disabled
        if zone is None:
            if any(change.before for change in work.changes):
                raise Stale(f"{name} was removed since it was read")
            return None
        for change in work.changes:
            if not self._as_read(zone, change):
                raise Stale(f"{change.id.name} was changed in {name} since it was read")
        return zone

    def _check_signer(self, name: str) -> None:
        """Raises for a zone that is signed elsewhere; PowerDNS would take what we write, and serve it unsigned."""
        try:
            answer = self.http.call("GET", f"{self._path(name)}/metadata/PRESIGNED")
        except Refused as error:
            if error.status != 404:
                raise
            return
        with making_sense(f"the metadata of {name}"):
            if answer["metadata"] not in ([], ["0"]):
                raise native.presigned(name)

    def _as_read(self, zone: Zone, change: Change) -> bool:
        before = change.before.fields if change.before else None
        if change.id == dns.ZONE:
            return zone.signed is (before is not None and before["dnssec"])
        resource = zone.resource(change.id)
        live = resource.fields if resource else None
        # Name servers that we filled in were not shown when the zone was read.
        return live == before or (before is None and self.filled is not None and live == self.filled.fields)

    def _asked(self, zone: Zone, changes: Iterable[Change], gone: bool) -> Iterator[Asked]:
        for change in changes:
            after = change.after
            if after is None and change.id == APEX_NS and not gone:
                after = self._nameservers(zone.name)
            yield change.id, zone.asked(change.id, after)

    def _nameservers(self, name: str) -> Resource:
        if self.filled is None:
            raise TargetError(f"{name} has no name servers (declare apex NS, or give the target nameservers)")
        return self.filled

    def _make(self, name: str, changes: Iterable[Change], setting: Change | None) -> Iterator[set[Id]]:
        """A new zone in one call, when PowerDNS takes as much at once."""
        zone = native.unmade(name)
        asked = [*self._asked(zone, changes, gone=False)]
        if not any(id_ == APEX_NS for id_, _ in asked):
            asked.insert(0, (APEX_NS, zone.asked(APEX_NS, self._nameservers(name))))
        first, *more = _batches(asked)
        signed = bool(setting and setting.after and setting.after.fields["dnssec"])
        body = {
            "name": f"{name}.",
            "kind": self.settings.kind,
            "nameservers": [],
            "soa_edit_api": self.settings.soa_edit_api,
            **({"dnssec": True, "api_rectify": True} if signed else {}),
            "rrsets": [rrset for _, rrset in first],
        }
        self._write("POST", f"{self.server}/zones?rrsets=false", body, first, changes)
        yield {id_ for id_, _ in first} | ({setting.id} if setting else set())
        yield from self._patch(name, more, changes)

    def _patch(self, name: str, batches: Iterable[list[Asked]], changes: Iterable[Change]) -> Iterator[set[Id]]:
        for batch in batches:
            self._write("PATCH", self._path(name), {"rrsets": [rrset for _, rrset in batch]}, batch, changes)
            yield {id_ for id_, _ in batch}

    def _sign(self, name: str, setting: Change) -> set[Id]:
        """Signed or not, as Git says; when Git says nothing any more, it stays as it is."""
        if setting.after is not None:
            body = {"dnssec": setting.after.fields["dnssec"], "api_rectify": True}
            self._write("PUT", self._path(name), body)
        return {setting.id}

    def _remove(self, name: str) -> None:
        """The zone itself, with its keys; not while something is in it that was not ours to take away."""
        zone = self._zone(name)
        if zone is None:
            return
        filled = {APEX_NS} if self.filled is not None and zone.resource(APEX_NS) == self.filled else set()
        left = sorted(id_.name for id_ in zone.native.keys() - filled)
        if left:
            names = ", ".join(left[:3]) + (", …" if len(left) > 3 else "")
            raise TargetError(f"{name} stays, because this is in it, too: {names}")
        self._write("DELETE", self._path(name))

    def _write(
        self, method: str, path: str, body: object = None, asked: Sequence[Asked] = (), changes: Iterable[Change] = ()
    ) -> None:
        for _ in range(MAX_RESPELLED):
            try:
                self.http.call(method, path, body)
                return
            except Refused as error:
                if not native.respelled(_said(error), asked):
                    raise _explained(error, asked, changes) from None
        raise TargetError(f"PowerDNS wants more than {MAX_RESPELLED} values in another spelling")


def _batches(asked: Iterable[Asked]) -> Iterator[list[Asked]]:
    """In their order, no more at once than PowerDNS takes."""
    batch: list[Asked] = []
    size = 0
    for one in asked:
        own = len(as_json(one[1])) + 1
        if batch and size + own > MAX_BODY:
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += own
    if batch:
        yield batch


_NAMED = re.compile(r"(?:RRset|Record) (\S+?)(?: IN |/)([A-Z0-9]+)")


def _explained(error: Refused, asked: Iterable[Asked], changes: Iterable[Change]) -> TargetError:
    """A refusal in our words: PowerDNS refuses the whole, and names one RRset at most."""
    if error.status == 404:
        return Stale("the zone was removed since it was read")
    if error.status == 409:
        return Stale("the zone was made by somebody else since it was read")
    said = _said(error)
    named = _NAMED.search(said)
    id_ = next((id_ for id_, rrset in asked if named and (rrset["name"], rrset["type"]) == named.groups()), None)
    if id_ is None:
        return error
    source = next((c.after.source for c in changes if c.id == id_ and c.after), "")
    place = f" ({source})" if source else ""
    return TargetError(f"PowerDNS refuses {id_.name}{place}, and so the whole: {as_line(said.encode())}")


def _said(error: Refused) -> str:
    """The text of an error of the API; "" when there is none."""
    with suppress(ValueError, AttributeError):
        said = json.loads(error.content).get("error")
        return said if isinstance(said, str) else ""
    return ""
