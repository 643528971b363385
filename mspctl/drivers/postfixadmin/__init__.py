"""
Mailboxes, aliases and mail domains in the tables of PostfixAdmin 3.3, which Postfix and Dovecot read.

What PostfixAdmin itself does is done here too: a mailbox has a row of its own in `alias`, which says where its mail
goes and whether it is taken; what is deleted takes its rows in other tables along; each change is told in `log`. A
mailbox's files stay on the disk when it is deleted, so a new one of the same name gets another folder.

A scope is one transaction. All is read again in it, and each row is changed only where it still holds what was read.
What Dovecot has to be told of it comes after; see `dovecot.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import model_validator

from mspctl import hashes
from mspctl.driver import Access, Failed, Gauge, Known, Landed, Measured, Reading, Traits, Work, translated
from mspctl.drivers.postfixadmin import dovecot, use
from mspctl.drivers.postfixadmin.dovecot import SHARED, Dovecot, Shares
from mspctl.errors import Stale, TargetError, Unsupported
from mspctl.fields import PLACE, Boolean, Host, Model, Name, Port, Seconds, Text
from mspctl.kinds import dns, mail
from mspctl.resource import UNKNOWN, Change, Id, Resource, Scope, Value
from mspctl.secrets import Secret, Secrets
from mspctl.transports import doveadm, sql

if TYPE_CHECKING:
    import sqlalchemy as sa

DAY, YEAR = timedelta(days=1), timedelta(days=365)  # until when PostfixAdmin calls a password fresh
MANY = 500  # domains; for more, whole tables are read: the number of queries stays the same
TEXT, ROOM = 65_535, 1024  # octets that MariaDB's TEXT holds; how many of them a mailbox's own entries may need
WAITED = 3  # scopes, one after the other, that other sessions did not let in: then the others are not tried
NOT_OURS = frozenset({"ALL"})  # a row that PostfixAdmin keeps for its administrators
FAR = datetime(2038, 1, 18)  # noqa: DTZ001  # until when PostfixAdmin's own replies go; columns have no time zone

COLUMNS = {"name": "name", "quota": "quota", "enabled": "active"}  # of a mailbox: fields, and what the table calls them
RENAMED = " -> "  # in PostfixAdmin's log, between the old address and the new one

Row = Mapping[str, Any]


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


# -- rows ↔ resources -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Rows:
    """All that the tables hold of one domain; keys are addresses and names in normal form."""

    domain: str
    row: Row | None = None
    mailboxes: dict[str, Row] = field(default_factory=dict)
    aliases: dict[str, Row] = field(default_factory=dict)
    alias_domains: dict[str, Row] = field(default_factory=dict)
    replies: dict[str, Row] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not (self.mailboxes or self.aliases or self.alias_domains)


def as_resources(rows: Rows, unit: int, replies: Iterable[Id] = (), shared: Shares | None = None) -> Iterator[Resource]:
    """
    A domain as YAML would say it; `replies` are mailboxes whose automatic reply is asked for.

    `shared`: by address, who uses which mailbox besides its owner; None where nothing can be shared.
    """
    asked = {*replies}
    for address, row in rows.mailboxes.items():
        id_ = Id(mail.MAILBOX, _local(address, rows.domain))
        fields = _mailbox(address, row, rows, unit)
        if id_ in asked:
            fields["reply"] = _reply(address, rows)
        if shared is not None:  # of what is switched off, Dovecot knows nothing
            there = row["active"] and rows.row is not None and rows.row["active"]
            fields[SHARED] = shared.get(address, frozenset()) if there else UNKNOWN
        yield Resource(id_, fields)
    for address, row in rows.aliases.items():
        if address not in rows.mailboxes:
            local = mail.CATCH_ALL if address == f"@{rows.domain}" else _local(address, rows.domain)
            yield mail.alias(local, _goto(row), bool(row["active"]))
    for name, row in rows.alias_domains.items():
        yield mail.alias_domain(name, bool(row["active"]))
    # Addresses in a domain that has no row are refused by the mail server, like those in one that is switched off.
    without = mail.USUAL if rows.is_empty else mail.USUAL | {"enabled": False}
    found = _domain(rows.row, unit) if rows.row else without
    if found != mail.USUAL:
        yield Resource(mail.DOMAIN_ID, found)


def _whole(quota: int, unit: int) -> int:
    """A quota as PostfixAdmin's own pages show, and write back: in whole MB."""
    return max(0, -(-quota // unit) * unit)


def _mailbox(address: str, row: Row, rows: Rows, unit: int) -> dict[str, Value]:
    # Without a row of its own in `alias`, Postfix finds the mailbox itself.
    alias = rows.aliases.get(address, {"goto": address, "active": row["active"]})
    goto = _goto(alias)
    return {
        "name": row["name"] or "",
        "quota": _whole(row["quota"] or 0, unit),
        "enabled": bool(row["active"]),
        "receives": bool(alias["active"]),
        "keep_copy": address in goto,
        "forwards": goto - _away(goto, address) - {address},
        "password": UNKNOWN,
    }


def _reply(address: str, rows: Rows) -> str:
    """What a mailbox answers by itself; "" for nothing."""
    row, alias = rows.replies.get(address), rows.aliases.get(address)
    answers = row and row["active"] and alias and _away(_goto(alias), address)
    return str(row["body"]) if row and answers else ""


def _domain(row: Row, unit: int) -> dict[str, Value]:
    limit = int(row["quota"] or 0)
    quota = limit * unit if limit > 0 else limit
    return {"enabled": bool(row["active"]), "mailboxes": int(row["mailboxes"] or 0), "quota": quota}


def _hold(held: dict[str, Row], row: Row, key: str) -> None:
    """
    A row by its address in normal form. Where an address is there twice, servers find the one that is spelled so; the
    other is kept under its own spelling, as something that nobody meant.
    """
    spelled, name = row[key], _folded(row[key])
    if name in held and spelled == name:
        held[held[name][key]] = held[name]
    held[spelled if name in held and spelled != name else name] = row


def _goto(row: Row) -> frozenset[str]:
    return frozenset(_address(each.strip()) for each in (row["goto"] or "").split(",") if each.strip())


def _address(text: str) -> str:
    """A recipient in normal form, as far as it is an address."""
    local, at, end = text.lower().rpartition("@")
    try:
        return text.lower() if text.isascii() or not at else f"{local}@{dns.fold_zone(end)}"
    except ValueError:
        return text.lower()


def _away(goto: Iterable[str], address: str) -> frozenset[str]:
    """The entry of the automatic reply, which is no forward; for it, PostfixAdmin puts # in place of @."""
    start = address.replace("@", "#") + "@"
    return frozenset(each for each in goto if each.startswith(start))


def _folded(text: str | None) -> str:
    """Two spellings are one: MariaDB compares so, and so do Postfix and Dovecot."""
    return (text or "").strip().lower()


_MEND = " (mend that row: its address, or its column domain)"


def _local(address: str, domain: str) -> str:
    local, _, end = address.rpartition("@")
    if address != _folded(address):
        return address  # a second one, in a spelling of its own
    if not local or end != domain:
        raise TargetError(f"{address!r} is in the table of {domain}, and is no address of it{_MEND}")
    return local


# -- talking ----------------------------------------------------------------------------------------------------


class Tables:
    """The tables, as far as they matter here."""

    def __init__(self, prefix: str) -> None:
        import sqlalchemy as sa
        from sqlalchemy.dialects import sqlite

        moment = sa.DateTime().with_variant(sqlite.DATETIME(truncate_microseconds=True), "sqlite")  # type: ignore[no-untyped-call]
        special: dict[str, Any] = {name: sa.Boolean() for name in ("active", "backupmx")}
        special |= {name: moment for name in ("created", "modified", "timestamp", "password_expiry", "activefrom")}
        special["activeuntil"] = moment

        def table(name: str, columns: str) -> sa.TableClause:
            found = (sa.column(each, special.get(each, sa.types.NullType())) for each in columns.split())
            return sa.table(prefix + name, *found)

        self.domain = table(
            "domain", "domain description aliases mailboxes maxquota quota transport backupmx created modified active"
        )
        self.mailbox = table(
            "mailbox", "username password name maildir quota local_part domain created modified active password_expiry"
        )
        self.alias = table("alias", "address goto domain created modified active")
        self.alias_domain = table("alias_domain", "alias_domain target_domain created modified active")
        self.vacation = table(
            "vacation", "email subject body domain created modified active activefrom activeuntil interval_time cache"
        )
        self.log = table("log", "timestamp username domain action data")
        self.admins = table("domain_admins", "username domain")
        # Further tables that name a mailbox, each with its column; what they hold goes when it goes.
        further = {"vacation_notification": "on_vacation", "quota2": "username", "quota": "username"}
        further["fetchmail"] = "mailbox"
        self.further = [table(name, column) for name, column in further.items()]

        self.parts = (
            (self.mailbox, "domain", "username", "mailboxes"),
            (self.alias, "domain", "address", "aliases"),
            (self.alias_domain, "target_domain", "alias_domain", "alias_domains"),
            (self.vacation, "domain", "email", "replies"),
        )  # table, its column that says the domain, its key, and what Rows calls it

    def spellings(self, db: sa.Connection) -> list[str | None]:
        """What stands in the columns that say the domain and is not in normal form, or is nothing."""
        import sqlalchemy as sa

        columns = [self.domain.c.domain, *(table.c[by] for table, by, *_ in self.parts)]
        odd = (sa.select(c).where(sa.or_(c != sa.func.lower(sa.func.trim(c)), c == "", c.is_(None))) for c in columns)
        return [*db.execute(sa.union(*odd)).scalars()]

    def load(self, db: sa.Connection, domains: Sequence[str], odd: Sequence[str | None]) -> dict[str, Rows]:
        """What these domains hold, with five queries whatever their number; `odd` is what `spellings` found."""
        found = {domain: Rows(domain) for domain in domains}
        names = [*domains, *(each for each in odd if _folded(each) in found or not each)]
        for row in self._of(db, self.domain, "domain", names):
            rows = found.get(_folded(row["domain"]))
            if rows and (rows.row is None or row["domain"] == rows.domain):
                rows.row = row
        for table, by, key, what in self.parts:
            for row in self._of(db, table, by, names):
                rows = found.get(_folded(row[by]) or _folded(row[key]).rpartition("@")[2])
                if rows:
                    _hold(getattr(rows, what), row, key)
        return found

    def _of(self, db: sa.Connection, table: sa.TableClause, by: str, names: Sequence[str | None]) -> Iterator[Row]:
        import sqlalchemy as sa

        column, query = table.c[by], sa.select(*(c for c in table.c if c.name not in _UNREAD))
        if len(names) <= MANY:
            meant = column.in_([name for name in names if name is not None])
            query = query.where(sa.or_(meant, column.is_(None)) if None in names else meant)
        yield from (dict(row) for row in db.execute(query).mappings())


_UNREAD = frozenset("password created modified timestamp password_expiry activefrom activeuntil cache".split())


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
            fields["quota"] = _whole(quota, self.settings.unit)
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
        resources = [*as_resources(rows, self.settings.unit, _replies(known), shared)]
        return Reading(scope, resources, exists=rows.row is not None or bool(resources))

    def measure(self, gauges: Sequence[Gauge]) -> Mapping[Gauge, Measured]:
        """Of mailboxes: `octets`, `quota`, `last_login`, `newest`, `sessions`."""
        prefix, logins = self.settings.prefix or "", self.settings.last_logins
        tables = {mail.OCTETS: (f"{prefix}quota2", "bytes"), mail.QUOTA: (f"{prefix}mailbox", "quota")}
        if logins:
            tables[mail.LAST_LOGIN] = (logins, "last_login")
        return use.measure(gauges, self.database, tables, self.dovecot.api if self.dovecot else None)

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


def _replies(resources: Iterable[Resource]) -> list[Id]:
    return [r.id for r in resources if "reply" in r.fields]


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
        _Writer(self, db, work, hashed, odd).write()

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


class _Writer:
    """The changes of one domain, in one transaction."""

    def __init__(
        self, driver: Driver, db: sa.Connection, work: Work, hashed: Mapping[Id, str], odd: Sequence[str | None]
    ) -> None:
        self.settings, self.tables = driver.settings, driver.tables
        self.db, self.work, self.hashed, self.odd = db, work, hashed, odd
        self.domain = work.scope.name
        self.new: dict[sa.TableClause, list[dict[str, Any]]] = {}  # rows to insert, many at once
        self.rows = self._load(self.domain)
        self.key = self.rows.row["domain"] if self.rows.row else self.domain  # as other tables have to spell it
        self.going = {c.before.id for c in work.changes if c.before and c.verb in ("delete", "rename")}
        self.used: set[str] | None = None  # names and folders that were somebody's

    def _load(self, domain: str) -> Rows:
        return self.tables.load(self.db, [domain], self.odd)[domain]

    def write(self) -> None:
        if not self.work.changes:
            return
        asked = _replies(c.before for c in self.work.changes if c.before)
        held = {r.id: r for r in as_resources(self.rows, self.settings.unit, asked)}
        for change in self.work.changes:
            self._check(change, held)
        if self.rows.row is None:
            self._make_domain(self.domain)
        steps = {
            mail.MAILBOX: (self._put_mailbox, self._drop_mailbox),
            mail.ALIAS: (self._put_alias, self._drop_alias),
            mail.ALIAS_DOMAIN: (self._put_alias_domain, self._drop_alias_domain),
            mail.DOMAIN: (self._put_domain, self._put_domain),
        }
        for change in self.work.changes:
            put, drop = steps[change.id.kind]
            (put if change.after else drop)(change)
        if self.work.gone:
            self._leave()
        for table, rows in self.new.items():
            self._insert_all(table, rows)

    def _check(self, change: Change, held: Mapping[Id, Resource]) -> None:
        name = change.id.name
        before = held.get(change.before.id if change.before else change.id)
        if change.before is None or before is None:
            same = change.before is before
        else:
            read = {field: value for field, value in change.before.fields.items() if field != SHARED}
            same = all(before.fields.get(field) == value for field, value in read.items())
        if not same or (change.verb == "rename" and change.id in held):
            raise Stale(f"{name} was changed in the database since it was read")
        other = {mail.MAILBOX: mail.ALIAS, mail.ALIAS: mail.MAILBOX}.get(change.id.kind)
        if other and change.verb in ("create", "rename") and Id(other, name) in held.keys() - self.going:
            what = "a mailbox" if other == mail.MAILBOX else "an alias"
            raise TargetError(f"{mail.address_of(name, self.domain)} is {what} there already")

    # -- mailboxes --------------------------------------------------------------------------------------------

    def _put_mailbox(self, change: Change) -> None:
        assert change.after is not None, "what is put is there afterwards"
        fields = dict(change.before.fields if change.before else {}) | {
            name: value for name, value in change.after.fields.items() if value is not UNKNOWN
        }
        local = change.id.name
        old = f"{change.before.id.name if change.before else local}@{self.domain}"
        address = f"{local}@{self.domain}"
        new = change.before is None
        meant = {n for n in COLUMNS if n in fields and (new or n in change.changed)}
        values: dict[str, Any] = {COLUMNS[n]: fields[n] for n in meant}
        if change.id in self.hashed:
            values |= {"password": self.hashed[change.id], "password_expiry": _now() + YEAR}
        if change.verb in ("create", "rename"):
            values |= {"username": address, "local_part": local}
        if new:
            made: dict[str, Any] = {"domain": self.key, "name": "", "quota": 0, "active": True}
            if change.id not in self.hashed:
                made |= {"password": hashes.nobody(), "password_expiry": _now() + YEAR}
            self._insert(self.tables.mailbox, made | values | {"maildir": self._folder(local, address)})
        else:
            row = self.rows.mailboxes.pop(old)
            self._change(self.tables.mailbox, row, values)
            if old != address:
                self._carry(old, address, {old, row["username"]})
        self._put_self(old, address, fields)
        if "reply" in change.changed:
            self._put_reply(address, str(fields["reply"]))
        verb = "create_mailbox" if new else "edit_mailbox"
        what = address if old == address else f"{old}{RENAMED}{address}"
        self._tell("edit_password" if change.changed == ("password",) else verb, what)

    def _put_self(self, old: str, address: str, fields: Mapping[str, Value]) -> None:
        """The row in `alias` that says where a mailbox's mail goes; what it has of replies stays."""
        enabled = fields.get("enabled", True)
        row = self.rows.aliases.pop(old, None)
        mine = f"{address.replace('@', '#')}@"
        away = {mine + each.rpartition("@")[2] for each in _away(_goto(row), old)} if row else set()
        reply = fields.get("reply")
        if reply is not None and self.settings.vacation_domain:
            away = {mine + self.settings.vacation_domain.rstrip(".")} if reply else set()
        keeps = {address} if fields.get("keep_copy", True) else set()
        goto = frozenset({*keeps, *mail.addresses(fields.get("forwards")), *away})
        values = {"address": address, "goto": ",".join(sorted(goto)), "active": fields.get("receives", enabled)}
        if row is None:
            self._insert(self.tables.alias, values | {"domain": self.key})
        elif new := {n: v for n, v in values.items() if v != row[n] and (n != "goto" or goto != _goto(row))}:
            self._change(self.tables.alias, row, new)

    def _put_reply(self, address: str, text: str) -> None:
        row = self.rows.replies.get(address)
        values: dict[str, Any] = {"body": text or (row["body"] if row else ""), "active": bool(text)}
        # Since yesterday, wherever the server's clock is; and no clock is put forward at noon.
        values |= {"activefrom": (_now() - DAY).replace(hour=12, minute=0, second=0), "activeuntil": FAR}
        if row is not None:
            self._change(self.tables.vacation, row, values)
        elif text:
            more = {"email": address, "domain": self.key, "subject": "Re: $SUBJECT", "interval_time": 0}
            more |= {"cache": ""} if self.db.dialect.name != "postgresql" else {}  # which has no such column
            self._insert(self.tables.vacation, values | more)

    def _carry(self, old: str, address: str, spellings: set[str]) -> None:
        """What other tables hold of a mailbox follows its new name."""
        row = self.rows.replies.pop(old, None)
        spellings |= {row["email"]} if row else set()
        self._where(self.tables.further[0].delete(), "on_vacation", *spellings)  # only who was answered already
        if row:
            self._change(self.tables.vacation, row, {"email": address})
            self.rows.replies[address] = {**row, "email": address}
        for table in self.tables.further[1:]:
            (column,) = table.c
            self._where(table.update().values({column.name: address}), column.name, *spellings)

    def _drop_mailbox(self, change: Change) -> None:
        address = f"{change.id.name}@{self.domain}"
        row, reply = self.rows.mailboxes.pop(address), self.rows.replies.pop(address, None)
        spellings = {address, row["username"], *([reply["email"]] if reply else [])}
        for table in self.tables.further:
            (column,) = table.c
            self._where(table.delete(), column.name, *spellings)
        self._where(self.tables.vacation.delete(), "email", *spellings)
        if alias := self.rows.aliases.pop(address, None):
            self._remove(self.tables.alias, alias)
        self._remove(self.tables.mailbox, row)
        self._tell("delete_mailbox", address)

    def _folder(self, local: str, address: str) -> str:
        """Where a new mailbox's mail goes: never to where somebody else's is, or what somebody has left behind."""
        if self.used is None:
            self.used = self._names_used() | {_folded(r["maildir"]).rstrip("/") for r in self.rows.mailboxes.values()}
        short = f"{local if self.settings.maildir == 'domain/name' else address}"
        folder = short if self.settings.maildir == "address" else f"{self.domain}/{short}"
        if {address, folder} & self.used:
            folder += f"-{_now():%Y%m%d%H%M%S}"
        return f"{folder}/"

    def _names_used(self) -> set[str]:
        """Addresses of mailboxes that are gone, or have another name now: their folders are still called so."""
        import sqlalchemy as sa

        log = self.tables.log
        gone = sa.or_(log.c.action == "delete_mailbox", log.c.data.contains(RENAMED))
        asked = sa.select(log.c.data).where(log.c.domain == self.domain, gone)
        return {_folded(data.partition(RENAMED)[0]) for data in self.db.execute(asked).scalars()}

    # -- aliases, alias domains, the domain itself ------------------------------------------------------------

    def _put_alias(self, change: Change) -> None:
        assert change.after is not None, "what is put is there afterwards"
        address = mail.address_of(change.id.name, self.domain)
        fields = change.after.fields
        values = {"goto": ",".join(mail.addresses(fields["to"])), "active": fields.get("enabled", True)}
        if change.before is None:
            self._insert(self.tables.alias, {"address": address, "domain": self.key, **values})
        else:
            values = {n: v for n, v in values.items() if n != "goto" or "to" in change.changed}
            self._change(self.tables.alias, self.rows.aliases[address], values)
        self._tell("create_alias" if change.before is None else "edit_alias", address)

    def _drop_alias(self, change: Change) -> None:
        address = mail.address_of(change.id.name, self.domain)
        self._remove(self.tables.alias, self.rows.aliases.pop(address))
        self._tell("delete_alias", address)

    def _put_alias_domain(self, change: Change) -> None:
        assert change.after is not None, "what is put is there afterwards"
        name, active = change.id.name, change.after.fields["enabled"]
        if change.before is not None:
            self._change(self.tables.alias_domain, self.rows.alias_domains[name], {"active": active})
        else:
            if (row := self._load(name).row) is None:
                self._make_domain(name)
            values = {"alias_domain": row["domain"] if row else name, "target_domain": self.key, "active": active}
            self._insert(self.tables.alias_domain, values)
        self._tell("create_alias_domain" if change.before is None else "edit_alias_domain", name)

    def _drop_alias_domain(self, change: Change) -> None:
        self._remove(self.tables.alias_domain, self.rows.alias_domains[change.id.name])
        self._tell("delete_alias_domain", change.id.name)
        rows = self._load(change.id.name)
        if rows.row and rows.is_empty:
            self._remove_domain(rows)

    def _put_domain(self, change: Change) -> None:
        fields = change.after.fields if change.after else mail.USUAL
        quota = fields["quota"]
        limit = quota // self.settings.unit if isinstance(quota, int) and quota > 0 else quota
        values = {"active": fields["enabled"], "mailboxes": fields["mailboxes"], "quota": limit}
        if self.rows.row is None:
            self._where(self.tables.domain.update().values(values), "domain", self.domain)
        else:
            self._change(self.tables.domain, self.rows.row, values)
        self._tell("edit_domain", self.domain)

    def _make_domain(self, name: str) -> None:
        none = dict.fromkeys(("aliases", "mailboxes", "maxquota", "quota"), 0)
        said = {"domain": name, "description": "", "transport": self.settings.transport, "backupmx": False}
        self._insert_all(self.tables.domain, [said | none | {"active": True}])
        self._tell("create_domain", name)

    def _leave(self) -> None:
        rows = self._load(self.domain)
        if rows.row and rows.is_empty:
            self._remove_domain(rows)

    def _remove_domain(self, rows: Rows) -> None:
        assert rows.row is not None, "there is one to remove"
        self._where(self.tables.admins.delete(), "domain", rows.domain, rows.row["domain"])
        for reply in rows.replies.values():  # of mailboxes that are not there any more
            self._remove(self.tables.vacation, reply)
        self._remove(self.tables.domain, rows.row)
        self._tell("delete_domain", rows.domain)

    # -- rows -------------------------------------------------------------------------------------------------

    def _insert(self, table: sa.TableClause, values: dict[str, Any]) -> None:
        self.new.setdefault(table, []).append(values)

    def _insert_all(self, table: sa.TableClause, rows: list[dict[str, Any]]) -> None:
        import sqlalchemy as sa

        now = {name: sa.func.now() for name in ("created", "modified", "timestamp") if name in table.c}
        self.db.execute(table.insert().values(now), rows)

    def _change(self, table: sa.TableClause, row: Row, values: Mapping[str, Any]) -> None:
        """One row, if it is still as it was read."""
        import sqlalchemy as sa

        said = {name: value for name, value in values.items() if row.get(name, _now) != value}
        update = _as_read(table, table.update(), row, self.db.dialect.name)
        done = self.db.execute(update.values(**said, modified=sa.func.now()))
        self._one(done.rowcount, row)

    def _remove(self, table: sa.TableClause, row: Row) -> None:
        delete = _as_read(table, table.delete(), row, self.db.dialect.name)
        self._one(self.db.execute(delete).rowcount, row)

    def _one(self, count: int, row: Row) -> None:
        if count != 1:
            raise Stale(f"{next(iter(row.values()))} was changed in the database since it was read")

    def _where(self, statement: Any, column: str, *values: str) -> None:
        self.db.execute(statement.where(statement.table.c[column].in_(sorted({*values}))))

    def _tell(self, action: str, what: str) -> None:
        told = {"username": f"{self.settings.log_as} (mspctl)", "domain": self.domain}
        self._insert(self.tables.log, told | {"action": action, "data": what})


def _as_read(table: sa.TableClause, statement: Any, row: Row, dialect: str) -> Any:
    """Only where a row still holds what was read, to the letter: MariaDB takes É and e for the same."""
    same = [table.c[name] == value for name, value in row.items()]
    if dialect == "mysql":
        same += [_exactly(table.c[name]) == value for name, value in row.items() if isinstance(value, str)]
    return statement.where(*same)


def _exactly(column: Any) -> Any:
    import sqlalchemy as sa
    from sqlalchemy.dialects import mysql

    return sa.cast(column, mysql.CHAR(charset="utf8mb4")).collate("utf8mb4_nopad_bin")


def _now() -> datetime:
    """As the tables have it: without a time zone."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)
