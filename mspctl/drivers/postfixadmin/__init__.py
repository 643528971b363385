"""
Mailboxes, aliases and mail domains in the tables of PostfixAdmin 3.3, which Postfix and Dovecot read.

What PostfixAdmin itself does is done here too: a mailbox has a row of its own in `alias`, which says where its mail
goes and whether it is taken; what is deleted takes its rows in other tables along; each change is told in `log`. A
mailbox's files stay on the disk when it is deleted, so a new one of the same name gets another folder.

A scope is one transaction. All is read again in it, and each row is changed only where it still holds what was read.
What Dovecot has to be told of it comes after; see `dovecot.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from pydantic import model_validator

from mspctl import hashes
from mspctl.driver import Access, Failed, Known, Landed, Reading, Traits, Work, translated
from mspctl.drivers.postfixadmin import dovecot
from mspctl.drivers.postfixadmin.dovecot import SHARED, Dovecot, Shares
from mspctl.errors import Stale, TargetError, Unreachable, Unsupported
from mspctl.fields import Boolean, Host, Model, Name, Port, Seconds, Text
from mspctl.kinds import dns, mail
from mspctl.resource import UNKNOWN, Change, Id, Resource, Scope, Value
from mspctl.secrets import Secret
from mspctl.transports import doveadm, sql

if TYPE_CHECKING:
    import sqlalchemy as sa

DAY, YEAR = timedelta(days=1), timedelta(days=365)  # until when PostfixAdmin calls a password fresh
MANY = 500  # domains; for more, whole tables are read: the number of queries stays the same
NOT_OURS = frozenset({"ALL"})  # a row that PostfixAdmin keeps for its administrators
FAR = datetime(2038, 1, 18)  # noqa: DTZ001  # until when PostfixAdmin's own replies go; columns have no time zone

NOBODY: Mapping[Id, bool] = MappingProxyType({})

Row = Mapping[str, Any]


class Settings(Model):
    """Where PostfixAdmin keeps its tables, and how it was set up."""

    database: sql.Kind
    file: Text | None = None  # of SQLite, relative to the repository
    name: Text = "postfixadmin"  # of the database on a server
    host: Text | None = None  # unless it is said, the target's address
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
    """All that the tables hold of one domain."""

    domain: str
    row: Row | None = None
    mailboxes: dict[str, Row] = field(default_factory=dict)  # by address
    aliases: dict[str, Row] = field(default_factory=dict)  # by address
    alias_domains: dict[str, Row] = field(default_factory=dict)
    replies: dict[str, Row] = field(default_factory=dict)  # by address

    @property
    def is_empty(self) -> bool:
        return not (self.mailboxes or self.aliases or self.alias_domains)


def as_resources(
    rows: Rows, unit: int, replies: Mapping[Id, bool] = NOBODY, shared: Shares | None = None
) -> Iterator[Resource]:
    """
    A domain as YAML would say it. `replies` are mailboxes whose automatic reply is asked for, and whether it matters
    that there is none: where somebody only wants to make one, nothing is there that it would replace.

    `shared`: by address, who uses which mailbox besides its owner; None where nothing can be shared.
    """
    for address, row in rows.mailboxes.items():
        id_ = Id(mail.MAILBOX, _local(address, rows.domain))
        fields = _mailbox(address, row, rows, unit)
        if id_ in replies and ((said := _reply(address, rows)) or replies[id_]):
            fields["reply"] = said
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
    found = _domain(rows.row, unit) if rows.row else mail.USUAL
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
        "name": row["name"],
        "quota": _whole(row["quota"], unit),
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
    limit = int(row["quota"])
    quota = limit * unit if limit > 0 else limit
    return {"enabled": bool(row["active"]), "mailboxes": int(row["mailboxes"]), "quota": quota}


def _hold(held: dict[str, Row], row: Row, key: str) -> None:
    """
    A row by its address in lower case. Where an address is there twice, servers find the one that is spelled so; the
    other is kept under its own spelling, as something that nobody meant.
    """
    spelled, name = row[key], row[key].lower()
    if name in held and spelled == name:
        held[held[name][key]] = held[name]
    held[spelled if name in held and spelled != name else name] = row


def _goto(row: Row) -> frozenset[str]:
    return frozenset(_address(each.strip()) for each in row["goto"].split(",") if each.strip())


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


def _local(address: str, domain: str) -> str:
    local, _, end = address.rpartition("@")
    if address != address.lower():
        return address  # a second one, in a spelling of its own
    if not local or end != domain:
        raise TargetError(f"{address!r} is in the table of {domain}, and is no address of it")
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

    def load(self, db: sa.Connection, domains: Sequence[str]) -> dict[str, Rows]:
        """What these domains hold, with five queries whatever their number."""
        found = {domain: Rows(domain) for domain in domains}
        for row in self._of(db, self.domain, "domain", domains):
            if row["domain"].lower() in found:
                found[row["domain"].lower()].row = row
        for table, by, key, attribute in (
            (self.mailbox, "domain", "username", "mailboxes"),
            (self.alias, "domain", "address", "aliases"),
            (self.alias_domain, "target_domain", "alias_domain", "alias_domains"),
            (self.vacation, "domain", "email", "replies"),
        ):
            for row in self._of(db, table, by, domains):
                rows = found.get(row[by].lower())
                if rows is None:
                    continue
                _hold(getattr(rows, attribute), row, key)
        return found

    def _of(self, db: sa.Connection, table: sa.TableClause, by: str, domains: Sequence[str]) -> Iterator[Row]:
        import sqlalchemy as sa

        query = sa.select(*(c for c in table.c if c.name not in _UNREAD))
        if len(domains) <= MANY:
            query = query.where(table.c[by].in_(domains))
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
        self.database = sql.Database(server, self._password)
        self._tables: Tables | None = None
        self.dovecot: Dovecot | None = None
        if said.doveadm:
            api = doveadm.Doveadm(said.doveadm, lambda: access.secrets[doveadm.ROLE], root)
            self.dovecot = Dovecot(api, said.doveadm.shares)

    @property
    def shares(self) -> Dovecot | None:
        """Who can say, and change, who uses whose mailbox."""
        return self.dovecot if self.dovecot and self.dovecot.shares else None

    def _password(self) -> Secret | None:
        secrets = self.access.secrets
        return secrets["password"] if "password" in [*secrets] else None

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
        if isinstance(quota := fields.get("quota"), int):
            fields["quota"] = _whole(quota, self.settings.unit)
        return Resource(resource.id, fields, resource.source)

    def read(self, scopes: Sequence[Scope], known: Known) -> Iterator[Reading | Failed]:
        if not scopes:
            return
        with self.database.session(writes=False) as session, session.transaction() as db:
            found = self.tables.load(db, [scope.name for scope in scopes])
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


def _replies(resources: Iterable[Resource]) -> dict[Id, bool]:
    """Mailboxes of whose reply somebody speaks; and whether somebody says that there is none."""
    said = [(r.id, r.fields["reply"]) for r in resources if "reply" in r.fields]
    return {id_: (id_, "") in said for id_, _ in said}


class Driver(Reader):
    def apply(self, work: Sequence[Work]) -> Iterator[Landed | Failed]:
        if not work:
            return
        if self.dovecot:
            _ = self.access.secrets[doveadm.ROLE]  # without its key, nothing is begun
        with self.database.session(writes=True) as session:
            for item in work:
                try:
                    with translated():
                        hashed = self._hashed(item)  # takes its time, so it is done before anybody has to wait for us
                        if self.dovecot:
                            self.dovecot.check(item)
                        with session.transaction() as db:
                            _Writer(self, db, item, hashed).write()
                except Unreachable:
                    raise
                except TargetError as error:
                    yield Failed(item.scope, error)
                else:
                    yield from self._followed(item)

    def _followed(self, work: Work) -> Iterator[Landed | Failed]:
        """What is true once the tables have changed and Dovecot was told."""
        unshared, problem = self.dovecot.follow(work) if self.dovecot and work.changes else (set(), "")
        yield from (Landed(work.scope, change) for change in work.changes if change.id not in unshared)
        if problem:
            yield Failed(work.scope, TargetError(problem))

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

    def __init__(self, driver: Driver, db: sa.Connection, work: Work, hashed: Mapping[Id, str]) -> None:
        self.settings, self.tables = driver.settings, driver.tables
        self.db, self.work, self.hashed = db, work, hashed
        self.domain = work.scope.name
        self.new: dict[sa.TableClause, list[dict[str, Any]]] = {}  # rows to insert, many at once
        self.rows = self.tables.load(db, [self.domain])[self.domain]
        self.going = {c.before.id for c in work.changes if c.before and c.verb in ("delete", "rename")}
        self.used: set[str] | None = None  # folders of mailboxes that are gone

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
        values: dict[str, Any] = {
            "name": fields.get("name", ""), "quota": fields.get("quota", 0), "active": fields.get("enabled", True)
        }  # fmt: skip
        if change.id in self.hashed:
            values |= {"password": self.hashed[change.id], "password_expiry": _now() + YEAR}
        if change.verb in ("create", "rename"):
            values |= {"username": address, "local_part": local}
        if change.before is None:
            made: dict[str, Any] = {"domain": self.domain}
            if change.id not in self.hashed:
                made |= {"password": hashes.nobody(), "password_expiry": _now() + YEAR}
            self._insert(self.tables.mailbox, made | values | {"maildir": self._folder(local, address)})
        else:
            self._change(self.tables.mailbox, self.rows.mailboxes.pop(old), values)
            if old != address:
                self._carry(old, address)
        self._put_self(old, address, fields)
        if "reply" in change.changed:
            self._put_reply(address, str(fields["reply"]))
        verb = "create_mailbox" if change.before is None else "edit_mailbox"
        self._tell("edit_password" if change.changed == ("password",) else verb, address)

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
            self._insert(self.tables.alias, values | {"domain": self.domain})
        elif new := {n: v for n, v in values.items() if v != row[n] and (n != "goto" or goto != _goto(row))}:
            self._change(self.tables.alias, row, new)

    def _put_reply(self, address: str, text: str) -> None:
        row = self.rows.replies.get(address)
        values: dict[str, Any] = {"body": text or (row["body"] if row else ""), "active": bool(text)}
        values |= {"activefrom": _now() - DAY, "activeuntil": FAR}  # since yesterday, wherever the server's clock is
        if row is not None:
            self._change(self.tables.vacation, row, values)
        elif text:
            more = {"email": address, "domain": self.domain, "subject": "Re: $SUBJECT", "interval_time": 0}
            more |= {"cache": ""} if self.db.dialect.name != "postgresql" else {}  # which has no such column
            self._insert(self.tables.vacation, values | more)

    def _carry(self, old: str, address: str) -> None:
        """What other tables hold of a mailbox follows its new name."""
        self._where(self.tables.further[0].delete(), "on_vacation", old)  # only who was answered already
        if row := self.rows.replies.pop(old, None):
            self._change(self.tables.vacation, row, {"email": address})
            self.rows.replies[address] = {**row, "email": address}
        for table in self.tables.further[1:]:
            (column,) = table.c
            self._where(table.update().values({column.name: address}), column.name, old)

    def _drop_mailbox(self, change: Change) -> None:
        address = f"{change.id.name}@{self.domain}"
        for table in self.tables.further:
            (column,) = table.c
            self._where(table.delete(), column.name, address)
        self._where(self.tables.vacation.delete(), "email", address)
        if row := self.rows.aliases.pop(address, None):
            self._remove(self.tables.alias, row)
        self._remove(self.tables.mailbox, self.rows.mailboxes.pop(address))
        self._tell("delete_mailbox", address)

    def _folder(self, local: str, address: str) -> str:
        """Where a new mailbox's mail goes: never to what somebody of the same name has left behind."""
        import sqlalchemy as sa

        if self.used is None:
            log = self.tables.log
            asked = sa.select(log.c.data).where(log.c.domain == self.domain, log.c.action == "delete_mailbox")
            self.used = {data.strip().lower() for (data,) in self.db.execute(asked)}
        last = f"{local if self.settings.maildir == 'domain/name' else address}"
        if address in self.used:
            last += f"-{_now():%Y%m%d%H%M%S}"
        return f"{last}/" if self.settings.maildir == "address" else f"{self.domain}/{last}/"

    # -- aliases, alias domains, the domain itself ------------------------------------------------------------

    def _put_alias(self, change: Change) -> None:
        assert change.after is not None, "what is put is there afterwards"
        address = mail.address_of(change.id.name, self.domain)
        fields = change.after.fields
        values = {"goto": ",".join(mail.addresses(fields["to"])), "active": fields.get("enabled", True)}
        if change.before is None:
            self._insert(self.tables.alias, {"address": address, "domain": self.domain, **values})
        else:
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
            if self.tables.load(self.db, [name])[name].row is None:
                self._make_domain(name)
            values = {"alias_domain": name, "target_domain": self.domain, "active": active}
            self._insert(self.tables.alias_domain, values)
        self._tell("create_alias_domain" if change.before is None else "edit_alias_domain", name)

    def _drop_alias_domain(self, change: Change) -> None:
        self._remove(self.tables.alias_domain, self.rows.alias_domains[change.id.name])
        self._tell("delete_alias_domain", change.id.name)
        rows = self.tables.load(self.db, [change.id.name])[change.id.name]
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
        rows = self.tables.load(self.db, [self.domain])[self.domain]
        if rows.row and rows.is_empty:
            self._remove_domain(rows)

    def _remove_domain(self, rows: Rows) -> None:
        assert rows.row is not None, "there is one to remove"
        self._where(self.tables.admins.delete(), "domain", rows.domain)
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
        done = self.db.execute(_as_read(table, table.update(), row).values(**said, modified=sa.func.now()))
        self._one(done.rowcount, row)

    def _remove(self, table: sa.TableClause, row: Row) -> None:
        self._one(self.db.execute(_as_read(table, table.delete(), row)).rowcount, row)

    def _one(self, count: int, row: Row) -> None:
        if count != 1:
            raise Stale(f"{next(iter(row.values()))} was changed in the database since it was read")

    def _where(self, statement: Any, column: str, value: str) -> None:
        self.db.execute(statement.where(statement.table.c[column] == value))

    def _tell(self, action: str, what: str) -> None:
        told = {"username": f"{self.settings.log_as} (mspctl)", "domain": self.domain}
        self._insert(self.tables.log, told | {"action": action, "data": what})


def _as_read(table: sa.TableClause, statement: Any, row: Row) -> Any:
    return statement.where(*(table.c[name] == value for name, value in row.items()))


def _now() -> datetime:
    """As the tables have it: without a time zone."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)
