"""
Mailboxes, aliases and mail domains in the tables of PostfixAdmin 3.3, which Postfix and Dovecot read.

What PostfixAdmin itself does is done here too: a mailbox has a row of its own in `alias`, which says where its mail
goes and whether it is taken; what is deleted takes its rows in other tables along; each change is told in `log`. A
mailbox's files stay on the disk when it is deleted, so a new one of the same name gets another folder.

A scope is one transaction. All is read again in it, and each row is changed only where it still holds what was read.
What Dovecot has to be told of it comes after; see `dovecot.py`. Rows are read by `tables.py`, told as resources by
`native.py`, and changed by `writer.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import model_validator

from mspctl import hashes
from mspctl.driver import Access, Failed, Gauge, Known, Landed, Measured, Reading, Touched, Traits, Work, translated
from mspctl.drivers.postfixadmin import dovecot, touched, use
from mspctl.drivers.postfixadmin.dovecot import SHARED, Dovecot, Shares
from mspctl.drivers.postfixadmin.native import Rows, as_resources, replying, whole
from mspctl.drivers.postfixadmin.tables import Tables
from mspctl.drivers.postfixadmin.writer import Writer
from mspctl.errors import TargetError, Unsupported
from mspctl.fields import PLACE, Boolean, Host, Model, Name, Port, Seconds, Text
from mspctl.kinds import mail
from mspctl.resource import UNKNOWN, Id, Resource, Scope, Value
from mspctl.secrets import Secret, Secrets
from mspctl.transports import doveadm, sql

if TYPE_CHECKING:
    import sqlalchemy as sa

TEXT, ROOM = 65_535, 1024  # octets that MariaDB's TEXT holds; how many of them a mailbox's own entries may need
WAITED = 3  # scopes, one after the other, that other sessions did not let in: then the others are not tried
NOT_OURS = frozenset({"ALL"})  # a row that PostfixAdmin keeps for its administrators


class Settings(Model):
    """Where PostfixAdmin keeps its tables, and how it was set up."""

    database: sql.Kind
    file: Text | None = None  # of SQLite, relative to the repository
    name: Text = "postfixadmin"  # of the database on a server
    host: Annotated[Text | None, PLACE] = None  # unless it is said, the target's address
    port: Port | None = None
    socket: Text | None = None  # a Unix socket; of PostgreSQL, its folder
    user: Text = "postfixadmin"
    ca: Text | None = None  # a file, relative to the repository
    tls: Boolean = True  # false: without encryption, over networks too
    timeout: Seconds = 10
    prefix: Text | None = None  # of the tables' names
    scheme: hashes.Scheme = "BLF-CRYPT"  # of passwords that are written
    quota_multiplier: Literal["1024000", "1048576"] = "1024000"  # as in PostfixAdmin: octets in what it calls a MB
    maildir: Literal["domain/name", "domain/address", "address"] = "domain/name"
    transport: Text = "virtual"  # of new domains
    vacation_domain: Host | None = None  # as in PostfixAdmin; without it, there are no automatic replies
    log_as: Name = "mspctl"  # who made the changes, in PostfixAdmin's log
    doveadm: dovecot.Settings | None = None  # of the Dovecot that reads these tables
    last_logins: Text | None = None  # a table (username, last_login) that Dovecot's plugin last_login fills

    @model_validator(mode="after")
    def _somewhere(self) -> Settings:
        if (self.database == "sqlite") is not bool(self.file):
            raise ValueError("SQLite needs a file, and nothing else has one" if self.file else "sqlite needs file")
        return self

    @property
    def unit(self) -> int:
        return int(self.quota_multiplier)


class Reader:
    traits = Traits(cas="value", holds_data=frozenset({mail.MAILBOX}), renames=frozenset({mail.MAILBOX}))
    writes = False

    def __init__(self, access: Access) -> None:
        self.access = access
        self.settings: Settings = access.settings
        said, root = self.settings, access.root
        server = sql.Server(
            said.database,
            str(root / said.file) if said.file else said.name,
            said.host or access.address,
            said.port,
            said.socket or "",
            said.user,
            str(root / said.ca) if said.ca else "",
            said.tls,
            said.timeout,
        )
        self.database = sql.Database(server, partial(_password, access.secrets))
        self._tables: Tables | None = None
        self.dovecot: Dovecot | None = None
        if said.doveadm:
            api = doveadm.Doveadm(said.doveadm, lambda: access.secrets[doveadm.ROLE], root)
            self.dovecot = Dovecot(api, said.doveadm.shares)

    @property
    def shares(self) -> Dovecot | None:
        """Who can say, and change, who uses whose mailbox."""
        return self.dovecot if self.dovecot and self.dovecot.shares else None

    @property
    def tables(self) -> Tables:
        """Made late, because SQLAlchemy is an extra."""
        if self._tables is None:
            self._tables = Tables(self.settings.prefix or "")
        return self._tables

    def accept(self, resource: Resource) -> Resource:
        fields = dict(resource.fields)
        if resource.id.kind not in (mail.MAILBOX, mail.ALIAS, mail.ALIAS_DOMAIN, mail.DOMAIN):
            raise Unsupported(f"PostfixAdmin holds no {resource.id.kind}")
        if fields.get(SHARED) and not self.shares:
            raise Unsupported("whose mailbox others use is Dovecot's affair (set doveadm with shares, or leave it out)")
        if not self.shares or fields.get("enabled") is False:  # then nobody can use it
            fields.pop(SHARED, None)
        if fields.get("reply") and not self.settings.vacation_domain:
            raise Unsupported("automatic replies need the setting vacation_domain, as PostfixAdmin has it")
        if resource.id.kind == mail.ALIAS and not fields.get("to"):
            raise Unsupported("an alias without recipients cannot be")
        if len(str(fields.get("name", ""))) > 255:
            raise Unsupported("a name can be 255 characters long")
        if self.settings.database == "mariadb":
            _fit(fields)
        if isinstance(quota := fields.get("quota"), int):
            fields["quota"] = whole(quota, self.settings.unit)
        return Resource(resource.id, fields, resource.source)

    def read(self, scopes: Sequence[Scope], known: Known) -> Iterator[Reading | Failed]:
        if not scopes:
            return
        with self.database.session(writes=False) as session, session.transaction() as db:
            found = self.tables.load(db, [scope.name for scope in scopes], self.tables.spellings(db))
        shared = self.shares.shared([scope.name for scope in scopes]) if self.shares else {}
        for scope in scopes:
            try:
                with translated():
                    yield self._reading(scope, found[scope.name], known.get(scope, ()), shared.get(scope.name))
            except TargetError as error:
                yield Failed(scope, error)

    def _reading(
        self, scope: Scope, rows: Rows, known: Sequence[Resource], shared: Shares | TargetError | None
    ) -> Reading:
        if isinstance(shared, TargetError):
            raise shared
        resources = [*as_resources(rows, self.settings.unit, replying(known), shared)]
        return Reading(scope, resources, exists=rows.row is not None or bool(resources))

    def measure(self, gauges: Sequence[Gauge]) -> Mapping[Gauge, Measured]:
        """Of mailboxes: `octets`, `quota`, `last_login`, `newest`, `sessions`."""
        prefix, logins = self.settings.prefix or "", self.settings.last_logins
        tables = {mail.OCTETS: (f"{prefix}quota2", "bytes"), mail.QUOTA: (f"{prefix}mailbox", "quota")}
        if logins:
            tables[mail.LAST_LOGIN] = (logins, "last_login")
        return use.measure(gauges, self.database, tables, self.dovecot.api if self.dovecot else None)

    def touched(self, asked: Mapping[Scope, Collection[Id]]) -> Mapping[Scope, Mapping[Id, Touched]]:
        """See `driver.Remembers`."""
        if not asked:
            return {}
        with self.database.session(writes=False) as session, session.transaction() as db:
            return touched.touched(db, self.tables, asked, self.settings.log_as)

    def scopes(self) -> Sequence[str]:
        """Mail domains; not those that only stand for another one, or whose mail another server keeps."""
        import sqlalchemy as sa

        tables = self.tables
        with self.database.session(writes=False) as session, session.transaction() as db:
            own = sa.select(tables.domain.c.domain).where(sa.not_(tables.domain.c.backupmx))
            there = {name.lower() for (name,) in db.execute(own) if name not in NOT_OURS}
            aliases = {name.lower() for (name,) in db.execute(sa.select(tables.alias_domain.c.alias_domain))}
            held = {name.lower() for (name,) in db.execute(sa.select(tables.alias.c.domain).distinct())}
        return sorted(there - (aliases - held))


class Driver(Reader):
    def apply(self, work: Sequence[Work]) -> Iterator[Landed | Failed]:
        if not work:
            return
        if self.dovecot:
            _ = self.access.secrets[doveadm.ROLE]  # without its key, nothing is begun
        odd: list[str | None] | None = None
        waited = 0
        with self.database.session(writes=True) as session:
            for item in work:
                try:
                    with translated():
                        hashed = self._hashed(item)  # takes its time, so it is done before anybody has to wait for us
                        if self.dovecot:
                            self.dovecot.check(item)
                        if odd is None:
                            odd = session.write(self.tables.spellings)
                        session.write(partial(self._write, item, hashed, odd))
                except TargetError as error:
                    waited = waited + 1 if isinstance(error, sql.Busy) else 0
                    if session.shut or waited == WAITED:
                        raise
                    yield Failed(item.scope, error)
                else:
                    waited = 0
                    yield from self._followed(item)

    def end(self, addresses: Collection[str]) -> int:
        """See `driver.Ends`."""
        if not self.dovecot:
            raise Unsupported("who can end sessions is not said (set doveadm in inventory/targets.yaml)")
        return self.dovecot.end({*addresses})

    def _followed(self, work: Work) -> Iterator[Landed | Failed]:
        """What is true once the tables have changed and Dovecot was told."""
        unshared, problem = self.dovecot.follow(work) if self.dovecot and work.changes else (set(), "")
        yield from (Landed(work.scope, change) for change in work.changes if change.id not in unshared)
        if problem:
            yield Failed(work.scope, TargetError(problem))

    def _write(self, work: Work, hashed: Mapping[Id, str], odd: Sequence[str | None], db: sa.Connection) -> None:
        Writer(self.settings, self.tables, db, work, hashed, odd).write()

    def _hashed(self, work: Work) -> dict[Id, str]:
        """The hashes of all passwords that are written."""
        said = {
            c.id: c.after.fields["password"]
            for c in work.changes
            if c.after and "password" in c.changed and c.after.fields["password"] is not UNKNOWN
        }
        if not said:
            return {}
        wanted = [(mail.address_of(id_.name, work.scope.name), str(value)) for id_, value in said.items()]
        found = self.access.passwords.of(work.scope.customer, wanted)
        with ThreadPoolExecutor() as executor:
            made = executor.map(lambda password: hashes.hashed(password, self.settings.scheme), found)
            return dict(zip(said, made, strict=True))


def _password(secrets: Secrets) -> Secret | None:
    return secrets["password"] if "password" in [*secrets] else None


def _fit(fields: Mapping[str, Value]) -> None:
    """MariaDB's TEXT is the narrowest column there is for lists and replies. Raises Unsupported."""
    for name, what in (("to", "recipients"), ("forwards", "forwards")):
        length = len(",".join(mail.addresses(fields.get(name))))
        if length > TEXT - ROOM:
            raise Unsupported(f"the {what} are {length:,} characters together (at most {TEXT - ROOM:,} in MariaDB)")
    if len(str(fields.get("reply", "")).encode()) > TEXT:
        raise Unsupported(f"a reply can be {TEXT:,} octets long in MariaDB")
