"""PostfixAdmin's tables, as far as they matter here, and what they hold of some domains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mspctl.drivers.postfixadmin.native import Row, Rows, folded, hold

if TYPE_CHECKING:
    import sqlalchemy as sa


MANY = 500  # domains; for more, whole tables are read: the number of queries stays the same
_UNREAD = frozenset("password created modified timestamp password_expiry activefrom activeuntil cache".split())


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
        names = [*domains, *(each for each in odd if folded(each) in found or not each)]
        for row in self._of(db, self.domain, "domain", names):
            rows = found.get(folded(row["domain"]))
            if rows and (rows.row is None or row["domain"] == rows.domain):
                rows.row = row
        for table, by, key, what in self.parts:
            for row in self._of(db, table, by, names):
                rows = found.get(folded(row[by]) or folded(row[key]).rpartition("@")[2])
                if rows:
                    hold(getattr(rows, what), row, key)
        return found

    def _of(self, db: sa.Connection, table: sa.TableClause, by: str, names: Sequence[str | None]) -> Iterator[Row]:
        import sqlalchemy as sa

        column, query = table.c[by], sa.select(*(c for c in table.c if c.name not in _UNREAD))
        if len(names) <= MANY:
            meant = column.in_([name for name in names if name is not None])
            query = query.where(sa.or_(meant, column.is_(None)) if None in names else meant)
        yield from (dict(row) for row in db.execute(query).mappings())
