"""
DNS zones as master files in a folder, as BIND, Knot and NSD load them: a laptop needs no server.

A file that needs no change is not touched. One that does is written anew in our layout and put in place in one
step; a hand-written file stays beside it as `<name>.before-mspctl`. What is not a whole zone, or could not be given
back whole, is an error: it is never read as empty, and never written over.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from errno import EWOULDBLOCK
from pathlib import Path
from typing import Annotated, BinaryIO

from pydantic import BeforeValidator

from mspctl.driver import Access, AppliesEach, Landed, Reading, ReadsEach, Touched, Traits, Work
from mspctl.errors import Stale, TargetError, Unreachable, Unsupported
from mspctl.fields import Boolean, Host, Model, Text, Ttl, one_or_many
from mspctl.kinds import dns, master
from mspctl.kinds import zone as whole
from mspctl.resource import Id, Resource, Scope

HEADER = "Written by mspctl from the customer's dns folder. Edits made here are reported as drift."


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
    check_names: Boolean = False  # refuse host names that BIND loads only with `check-names primary warn` or `ignore`
    soa: SoaSettings = SoaSettings()


class Reader(ReadsEach):
    traits = Traits(cas="reread")

    def __init__(self, access: Access) -> None:
        self.settings: Settings = access.settings
        self.directory: Path = access.root / self.settings.directory
        ttl, hosts = self.settings.soa.minimum, self.settings.nameservers
        self.filled = dns.rrset(dns.APEX, "NS", ttl, hosts) if hosts else None

    def accept(self, resource: Resource) -> Resource:
        if resource.id == dns.ZONE:
            raise Unsupported("a zone file says nothing of dnssec: who serves it signs it, or not (remove the key)")
        if resource.id.kind != dns.KIND:
            raise Unsupported(f"a zone file cannot hold {resource.id.kind}")
        for why in _refusals(resource, self.settings.check_names):
            raise Unsupported(why)
        return resource

    def read_one(self, scope: Scope, known: Sequence[Resource]) -> Reading:
        zone = _Zone.load(self._path(scope), scope.name)
        if zone is None:
            return Reading(scope, (), exists=False)
        resources = [r for r in zone.resources if not self._is_filled(r, known, zone.ours)]
        return Reading(scope, resources, token=zone.token)

    def tokens(self, scopes: Sequence[Scope]) -> Mapping[Scope, str]:
        """
        Digests of the files. A time or an inode would be cheaper to ask for and mean less: a copy, a checkout or an
        edit within the same tick of the clock would be taken for what they are not.
        """
        folder, found = self._folder(), {}
        for scope in scopes:
            with suppress(OSError), open(f"{folder}/{_file_name(scope)}", "rb") as file:  # reading it will tell
                found[scope] = _token(file.read())
        return found

    def touched(self, asked: Mapping[Scope, Collection[Id]]) -> Mapping[Scope, Mapping[Id, Touched]]:
        """When a file was written; a file system knows neither by whom nor what of it was changed."""
        folder, found = self._folder(), dict[Scope, dict[Id, Touched]]()
        for scope, ids in asked.items():
            with suppress(OSError):
                written = os.stat(f"{folder}/{_file_name(scope)}").st_mtime
                found[scope] = dict.fromkeys(ids, Touched(datetime.fromtimestamp(written, UTC), whole="file"))
        return found

    def _is_filled(self, live: Resource, known: Sequence[Resource], ours: bool) -> bool:
        """Name servers that we fill in are not Git's to declare; unless it does, and then they are like any others."""
        if self.filled is None or live.id != self.filled.id or live.fields["values"] != self.filled.fields["values"]:
            return False
        declared = [r.fields for r in known if r.id == live.id]
        return not declared or (ours and live.fields == self.filled.fields and live.fields not in declared)

    def scopes(self) -> Sequence[str]:
        """Zones of the folder: files named `<zone>.zone`."""
        names = [path.name.removesuffix(".zone") for path in self._folder().glob("[!.]*.zone")]
        return sorted(name.replace("%2F", "/") for name in names)

    def _path(self, scope: Scope) -> Path:
        return self._folder() / _file_name(scope)

    def _folder(self) -> Path:
        if not self.directory.is_dir():
            raise Unreachable(f"{self.directory} is not a folder")
        return self.directory


def _file_name(scope: Scope) -> str:
    return f"{scope.name.replace('/', '%2F')}.zone"


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
            if not self._as_read(held.get(change.id), change.before):
                raise Stale(f"{change.id.name} was changed in {path} since it was read")
            after.pop(change.id, None)
            if change.after is not None:
                after[change.id] = change.after
        if work.gone and not [r for r in after.values() if r != self.filled]:
            _set_aside(path)
        else:
            self._write(path, work.scope.name, zone, after)
        for change in work.changes:
            yield Landed(work.scope, change)

    def _as_read(self, held: Resource | None, before: Resource | None) -> bool:
        if held is None or before is None:
            # Name servers that we filled in were not shown when the zone was read.
            return held is before or (
                held is not None and self.filled is not None and held.fields == self.filled.fields
            )
        return held.fields == before.fields

    def _write(self, path: Path, zone: str, old: _Zone | None, after: Mapping[Id, Resource]) -> None:
        records = {self.filled.id: self.filled, **after} if self.filled else after
        for why in whole.together(zone, records):
            raise TargetError(why)
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


def _refusals(resource: Resource, check_names: bool) -> Iterator[str]:
    """Why no name server would load a zone with this RRset."""
    _, rtype = dns.owner_type(resource.id)
    if rtype in dns.PSEUDO:
        yield f"a zone file cannot hold {rtype} records (write A and AAAA, or use a provider that has {rtype})"
    yield from whole.alone(resource)
    if check_names:
        yield from whole.bad_hosts(resource)


class _Zone:
    """A zone's file as it is on disk."""

    def __init__(self, text: str, soa: master.Soa, resources: list[Resource], made: Collection[str]) -> None:
        self.text = text
        self.soa = soa
        self.resources = resources
        self.made = made  # types that a server makes, as in a signed zone: not read, and not ours to drop
        self.ours = text.startswith(f"; {HEADER}\n")
        self.token = _token(text.encode())

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


def _token(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _set_aside(path: Path) -> None:
    """No name server reads it there, and a person can still put it back."""
    try:
        os.replace(path, path.with_name(path.name + ".before-mspctl"))
    except FileNotFoundError:
        return
    except OSError as error:
        raise TargetError(f"{path} cannot be removed ({error.strerror})") from None


def _replace(path: Path, text: str, like: Path) -> None:
    """Put a whole file in place of another, or fail and leave the old one. Mode and owner are those of `like`."""
    try:
        old = like.stat() if like.exists() else None
        with _draft(path) as (draft, file):
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
            os.chmod(draft, old.st_mode & 0o777 if old else 0o644)
            if old and os.geteuid() == 0:  # the name server's user must be able to read what root has written
                os.chown(draft, old.st_uid, old.st_gid)
            os.replace(draft, path)
    except OSError as error:
        raise TargetError(f"{path} cannot be written ({error.strerror})") from None


@contextmanager
def _draft(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """
    A new file beside `path`, ours alone; removed when something goes wrong.

    Its name is always the same, so one that a killed run left is found and removed by the next. It is locked while
    it is being written, so one that is alive is not taken for one that is dead.
    """
    draft = path.with_name(f".mspctl-{hashlib.sha256(path.name.encode()).hexdigest()[:16]}")
    _remove_dead(draft)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        _lock(file)
        if not os.path.samestat(os.fstat(file.fileno()), os.stat(draft)):
            raise _busy()  # it was taken for dead before it was locked
        try:
            yield draft, file
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(draft)
            raise


def _remove_dead(draft: Path) -> None:
    with suppress(FileNotFoundError), os.fdopen(os.open(draft, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        _lock(file)
        os.unlink(draft)


def _lock(file: BinaryIO) -> None:
    """Raises BlockingIOError when another process has it; where files cannot be locked, our own locks must do."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _busy() from None
    except OSError:
        return


def _busy() -> BlockingIOError:
    return BlockingIOError(EWOULDBLOCK, "another process is writing it")
