"""
The changes of one domain, row by row, in one transaction: with all that PostfixAdmin's own pages would do besides.

Each row is changed only where it still holds what was read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from mspctl import hashes
from mspctl.driver import Work
from mspctl.drivers.postfixadmin.dovecot import SHARED
from mspctl.drivers.postfixadmin.native import Row, Rows, as_resources, away_of, folded, goto_of, replying
from mspctl.drivers.postfixadmin.tables import Tables
from mspctl.errors import Stale, TargetError
from mspctl.kinds import mail
from mspctl.resource import UNKNOWN, Change, Id, Resource, Value

if TYPE_CHECKING:
    import sqlalchemy as sa


DAY, YEAR = timedelta(days=1), timedelta(days=365)  # until when PostfixAdmin calls a password fresh
FAR = datetime(2038, 1, 18)  # noqa: DTZ001  # until when PostfixAdmin's own replies go; columns have no time zone

COLUMNS = {"name": "name", "quota": "quota", "enabled": "active"}  # of a mailbox: fields, and what the table calls them
RENAMED = " -> "  # in PostfixAdmin's log, between the old address and the new one


class Settings(Protocol):
    @property
    def unit(self) -> int: ...
    @property
    def maildir(self) -> str: ...
    @property
    def transport(self) -> str: ...
    @property
    def vacation_domain(self) -> str | None: ...
    @property
    def log_as(self) -> str: ...


class Writer:
    """The changes of one domain, in one transaction."""

    def __init__(
        self,
        settings: Settings,
        tables: Tables,
        db: sa.Connection,
        work: Work,
        hashed: Mapping[Id, str],
        odd: Sequence[str | None],
    ) -> None:
        """`hashed`: what is kept of the passwords that are written; `odd`: what `Tables.spellings` found."""
        self.settings, self.tables = settings, tables
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
        asked = replying(c.before for c in self.work.changes if c.before)
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
        away = {mine + each.rpartition("@")[2] for each in away_of(goto_of(row), old)} if row else set()
        reply = fields.get("reply")
        if reply is not None and self.settings.vacation_domain:
            away = {mine + self.settings.vacation_domain.rstrip(".")} if reply else set()
        keeps = {address} if fields.get("keep_copy", True) else set()
        goto = frozenset({*keeps, *mail.addresses(fields.get("forwards")), *away})
        values = {"address": address, "goto": ",".join(sorted(goto)), "active": fields.get("receives", enabled)}
        if row is None:
            self._insert(self.tables.alias, values | {"domain": self.key})
        elif new := {n: v for n, v in values.items() if v != row[n] and (n != "goto" or goto != goto_of(row))}:
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
            self.used = self._names_used() | {folded(r["maildir"]).rstrip("/") for r in self.rows.mailboxes.values()}
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
        return {folded(data.partition(RENAMED)[0]) for data in self.db.execute(asked).scalars()}

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
