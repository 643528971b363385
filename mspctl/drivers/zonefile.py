"""
DNS zones as master files in a folder, as BIND, Knot and NSD load them: a laptop needs no server.

A file that needs no change is not touched. One that does is written anew in our layout and put in place in one
step; a hand-written file stays beside it as `<name>.before-mspctl`. What is not a whole zone, or could not be given
back whole, is an error: it is never read as empty, and never written over.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from mspctl.driver import Access, AppliesEach, Landed, Reading, ReadsEach, Traits, Work
from mspctl.errors import Stale, TargetError, Unreachable, Unsupported
from mspctl.fields import Boolean, Model, Text, Ttl, one_line, one_or_many
from mspctl.kinds import dns, master
from mspctl.resource import Id, Resource, Scope

HEADER = "Written by mspctl from the customer's dns folder. Edits made here are reported as drift."


def _host(value: Any) -> str:
    text = one_line(value)
    if "@" in text:
        raise ValueError(f"{text!r} is not a domain name (write hostmaster.example.com for hostmaster@example.com)")
    return dns.fold(text.rstrip(".") + ".")


Host = Annotated[str, BeforeValidator(_host)]  # absolute, whether its dot is typed or not


class SoaSettings(Model):
    """The start of authority of zones that have none yet."""

    mname: Host = "ns1.invalid."
    rname: Host = "hostmaster.invalid."
    refresh: Ttl = 7200
    retry: Ttl = 3600
    expire: Ttl = 1209600
    minimum: Ttl = 3600


class Settings(Model):
    directory: Text  # relative to the repository
    nameservers: Annotated[tuple[Host, ...], BeforeValidator(one_or_many)] = ()  # of zones that declare none
    check_names: Boolean = True  # refuse host names that BIND loads only with `check-names primary ignore`
    soa: SoaSettings = SoaSettings()


class Reader(ReadsEach):
    traits = Traits(cas="reread")

    def __init__(self, access: Access) -> None:
        self.settings: Settings = access.settings
        self.directory: Path = access.root / self.settings.directory
        self.nameservers = frozenset(self.settings.nameservers)

    def accept(self, resource: Resource) -> Resource:
        if resource.id.kind != dns.KIND:
            raise Unsupported(f"a zone file cannot hold {resource.id.kind}")
        for why in _refusals(resource, self.settings.check_names):
            raise Unsupported(why)
        return resource

    def read_one(self, scope: Scope, known: Sequence[Resource]) -> Reading:
        zone = _Zone.load(self._path(scope), scope.name)
        if zone is None:
            return Reading(scope, (), exists=False)
        resources = zone.resources
        filled = Id(dns.KIND, f"{dns.APEX} NS")
        if self.nameservers and not any(r.id == filled for r in known):
            # Ours to fill in, not Git's to declare.
            resources = [r for r in resources if r.id != filled or r.fields["values"] != self.nameservers]
        return Reading(scope, resources, token=zone.token)

    def scopes(self) -> Sequence[str]:
        """Zones of the folder: files named `<zone>.zone`."""
        if not self.directory.is_dir():
            raise Unreachable(f"{self.directory} is not a folder")
        names = [path.name.removesuffix(".zone") for path in self.directory.glob("[!.]*.zone")]
        return sorted(name.replace("%2F", "/") for name in names)

    def _path(self, scope: Scope) -> Path:
        if not self.directory.is_dir():
            raise Unreachable(f"{self.directory} is not a folder")
        return self.directory / f"{scope.name.replace('/', '%2F')}.zone"


class Driver(Reader, AppliesEach):
    def __init__(self, access: Access, today: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__(access)
        self.today = today

    def apply_one(self, work: Work) -> Iterator[Landed]:
        path = self._path(work.scope)
        if not work.changes:
            return
        zone = _Zone.load(path, work.scope.name)
        if zone is None and {r.id for r in work.after} - {c.id for c in work.changes if c.before is None}:
            raise Stale(f"{path} was removed since it was read")
        if zone is not None and zone.made:
            raise TargetError(
                f"{path} holds {', '.join(sorted(zone.made))} records, which would be lost (is it signed?)"
            )
        held = {r.id: r for r in zone.resources} if zone else {}
        after = dict(held)
        for change in work.changes:
            if not _same(held.get(change.id), change.before, self._filled(change.id)):
                raise Stale(f"{change.id.name} was changed in {path} since it was read")
            after.pop(change.id, None)
            if change.after is not None:
                after[change.id] = change.after
        self._write(path, work.scope.name, zone, after)
        for change in work.changes:
            yield Landed(work.scope, change)

    def _filled(self, id_: Id) -> frozenset[str]:
        return self.nameservers if id_.name == f"{dns.APEX} NS" else frozenset()

    def _write(self, path: Path, zone: str, old: _Zone | None, after: Mapping[Id, Resource]) -> None:
        records = dict(after)
        apex = Id(dns.KIND, f"{dns.APEX} NS")
        if apex not in records and self.nameservers:
            records[apex] = dns.rrset(dns.APEX, "NS", self.settings.soa.minimum, self.nameservers)
        _check(zone, records)
        soa = self._soa(old)
        text = master.write(zone, soa, records.values(), (HEADER,))
        if old is not None and not old.ours:
            _replace(path.with_name(path.name + ".before-mspctl"), old.text, like=path)
        _replace(path.resolve(), text, like=path)

    def _soa(self, old: _Zone | None) -> master.Soa:
        s = self.settings.soa
        new = master.Soa(s.mname, s.rname, 0, s.refresh, s.retry, s.expire, s.minimum, s.minimum)
        soa = old.soa if old else new
        serial = max(soa.serial + 1, int(self.today().strftime("%Y%m%d00")))
        # Serials are compared on a circle (RFC 1982): after the last one comes 1.
        return replace(soa, serial=serial if serial < 2**32 else 1)


_HOST = re.compile(r"\.|(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+|\*\.")


def _refusals(resource: Resource, check_names: bool) -> Iterator[str]:
    """Why no name server would load a zone with this RRset."""
    owner, rtype = dns.owner_type(resource.id)
    values = dns.values_of(resource)
    if rtype in dns.PSEUDO:
        yield f"a zone file cannot hold {rtype} records (write A and AAAA, or use a provider that has {rtype})"
    if rtype == "CNAME" and owner == dns.APEX:
        yield "a CNAME cannot stand at the zone's own name"
    if rtype in dns.SINGLE and len(values) > 1:
        yield f"a name has one {rtype} record, not {len(values)}"
    hosts = [f"{owner}."] if rtype in ("A", "AAAA", "MX") and owner not in (dns.APEX, "gc._msdcs") else []
    hosts += [value.split()[-1] for value in values if rtype in ("MX", "NS")]
    for host in hosts if check_names else ():
        if not _HOST.fullmatch(host):
            name = host.rstrip(".")
            yield f"BIND loads no zone with the host name {name} (rename it, or set check_names: false for the target)"


class _Zone:
    """A zone's file as it is on disk."""

    def __init__(self, text: str, soa: master.Soa, resources: list[Resource], made: Collection[str]) -> None:
        self.text = text
        self.soa = soa
        self.resources = resources
        self.made = made  # types that a server makes, as in a signed zone: not read, and not ours to drop
        self.ours = text.startswith(f"; {HEADER}\n")
        self.token = hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def load(cls, path: Path, zone: str) -> _Zone | None:
        """The file, or None when there is none. What we could not give back whole is not read at all."""
        try:
            text = path.read_bytes().decode()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unreachable(f"{path} cannot be read ({error.strerror})") from None
        except UnicodeDecodeError:
            raise TargetError(f"{path} is not UTF-8 text") from None
        read = master.read(text, zone)
        resources, wrong = master.rrsets(read.records, zone, str(path))
        for line, said in (*read.problems, *(w for w in wrong if "outside" in w[1])):
            raise TargetError(f"{path}:{line}: {said}")
        if read.soa is None:
            raise TargetError(f"{path} has no SOA record, so it is not a whole zone")
        return cls(text, read.soa, resources, read.made)


def _same(held: Resource | None, before: Resource | None, filled: frozenset[str]) -> bool:
    if held is None or before is None:
        # Name servers that we filled in were not shown when the zone was read.
        return held is before or (held is not None and bool(filled) and held.fields["values"] == filled)
    return held.fields == before.fields


def _check(zone: str, records: Mapping[Id, Resource]) -> None:
    """What no name server would load is not written."""
    owners: dict[str, set[str]] = {}
    for id_ in records:
        owner, rtype = dns.owner_type(id_)
        owners.setdefault(owner, set()).add(rtype)
    for owner, types in owners.items():
        if "CNAME" in types and (len(types) > 1 or owner == dns.APEX):
            others = ", ".join(sorted(types - {"CNAME"})) or "the SOA"
            raise TargetError(f"{dns.absolute(owner, zone)} would hold a CNAME beside {others}")
        below = next((name for name in owners if "DNAME" in types and dns.is_below(name, owner)), None)
        if below or (owner == dns.APEX and "DNAME" in types and len(owners) > 1):
            raise TargetError(f"{dns.absolute(owner, zone)} would hold a DNAME above other names, which it hides")
    if "NS" not in owners.get(dns.APEX, ()):
        raise TargetError(f"{zone} has no name servers (declare apex NS, or give the target nameservers)")
    for host in _bare_name_servers(zone, records, owners):
        raise TargetError(f"name server {host} has no address in {zone} (declare its A or AAAA)")


def _bare_name_servers(zone: str, records: Mapping[Id, Resource], owners: Mapping[str, set[str]]) -> Iterable[str]:
    for host in dns.values_of(records[Id(dns.KIND, f"{dns.APEX} NS")]):
        if host.endswith(f".{zone}.") or host == f"{zone}.":
            owner = dns.fold_owner(host, zone)
            cut = any("NS" in owners.get(owner[i:], ()) for i in _label_starts(owner))
            if not cut and not owners.get(owner, set()) & {"A", "AAAA"}:
                yield host


def _label_starts(owner: str) -> Iterator[int]:
    if owner == dns.APEX:
        return
    yield 0
    yield from (i + 1 for i, c in enumerate(owner) if c == ".")


def _replace(path: Path, text: str, like: Path) -> None:
    """Put a whole file in place of another, or fail and leave the old one. Mode and owner are those of `like`."""
    try:
        old = like.stat() if like.exists() else None
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".mspctl-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            os.chmod(draft, old.st_mode & 0o777 if old else 0o644)
            if old and os.geteuid() == 0:  # the name server's user must be able to read what root has written
                os.chown(draft, old.st_uid, old.st_gid)
            os.replace(draft, path)
        except BaseException:
            os.unlink(draft)
            raise
    except OSError as error:
        raise TargetError(f"{path} cannot be written ({error.strerror})") from None
