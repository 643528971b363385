"""
Who changed what in PostfixAdmin, and when, as its tables say it: `modified` in a row, and what its pages told in `log`.

Who writes past its pages is in no log; who leaves `modified` as it is, too, was never there. A password that its owner
changed is no change that anybody compares, and what we did ourselves is nobody else's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mspctl.driver import Touched
from mspctl.kinds import mail
from mspctl.resource import Id, Scope

if TYPE_CHECKING:
    import sqlalchemy as sa

PASSWORD = "edit_password"  # noqa: S105  # what `log` calls it
SAME = timedelta(seconds=2)  # a page writes a row and then tells it
FIRST = datetime(2001, 1, 1, tzinfo=UTC)  # what is older is a column's default: 2000-01-01
MANY = 500  # names in one question

Subject = tuple[str, str]  # of log entries: `domain` and `data`


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of `log`."""

    when: datetime
    who: str  # without the address that they came from
    action: str


def touched(
    db: sa.Connection, tables: Any, asked: Mapping[Scope, Collection[Id]], ours: str
) -> dict[Scope, dict[Id, Touched]]:
    """`ours` is how we call ourselves in the log."""
    named = {(scope, id_): _name(scope, id_) for scope, ids in asked.items() for id_ in ids}
    columns = {
        mail.MAILBOX: [tables.mailbox.c.username, tables.alias.c.address],
        mail.ALIAS: [tables.alias.c.address],
        mail.ALIAS_DOMAIN: [tables.alias_domain.c.alias_domain],
        mail.DOMAIN: [tables.domain.c.domain],
    }
    names = sorted({*named.values()})
    rows = {c: _rows(db, c, names) for kind in {id_.kind for _, id_ in named} for c in columns.get(kind, ())}
    log = _log(db, tables.log, {subject for (scope, id_) in named for subject in _subjects(scope, id_)})
    found: dict[Scope, dict[Id, Touched]] = {scope: {} for scope in asked}
    for (scope, id_), name in named.items():
        modified = max((rows[c][name] for c in columns.get(id_.kind, ()) if name in rows[c]), default=None)
        entries = [entry for subject in _subjects(scope, id_) for entry in log.get(subject, ())]
        if told := last(modified, entries, ours):
            found[scope][id_] = told
    return found


def last(modified: datetime | None, entries: Sequence[Entry], ours: str) -> Touched | None:
    """The last change of somebody else, from when a row was modified and what was told of it."""
    # Of two within one second nobody knows which was the last: that ours was would hide the other one.
    known = max((e for e in entries if e.action != PASSWORD), key=lambda e: (e.when, e.who != ours), default=None)
    if modified and not any(abs(e.when - modified) <= SAME for e in entries) and (not known or modified > known.when):
        return Touched(modified)
    return Touched(known.when, known.who) if known and known.who != ours else None


def _name(scope: Scope, id_: Id) -> str:
    """What its row is called."""
    if id_.kind == mail.DOMAIN:
        return scope.name
    return id_.name if id_.kind == mail.ALIAS_DOMAIN else mail.address_of(id_.name, scope.name)


def _subjects(scope: Scope, id_: Id) -> Iterator[Subject]:
    name = _name(scope, id_)
    yield scope.name, name
    if id_.kind == mail.ALIAS_DOMAIN:
        yield name, name
        yield name, scope.name  # where it was deleted


def _rows(db: sa.Connection, column: Any, names: Sequence[str]) -> dict[str, datetime]:
    import sqlalchemy as sa

    at = _seconds(db, column.table.c.modified)
    found: dict[str, datetime] = {}
    for some in _parts(names):
        for name, seconds in db.execute(sa.select(column, at).where(column.in_(some))):
            if (when := _moment(seconds)) > FIRST:
                found[name] = when
    return found


def _log(db: sa.Connection, log: sa.TableClause, subjects: Collection[Subject]) -> dict[Subject, list[Entry]]:
    import sqlalchemy as sa

    found: dict[Subject, list[Entry]] = {}
    for some in _parts(sorted(subjects)):
        domains, names = ({*each} for each in zip(*some, strict=True))
        asked = sa.select(log.c.domain, log.c.data, _seconds(db, log.c.timestamp), log.c.username, log.c.action)
        asked = asked.where(log.c.domain.in_(sorted(domains)), log.c.data.in_(sorted(names)))
        for domain, data, seconds, who, action in db.execute(asked):
            if (when := _moment(seconds)) > FIRST:
                found.setdefault((domain, data), []).append(Entry(when, who.partition(" (")[0], action))
    return found


def _seconds(db: sa.Connection, column: Any) -> Any:
    """
    A column's time since 1970 in UTC. PostfixAdmin writes the server's `now()`: MariaDB's is on the clock of that
    server's zone and only it knows which, PostgreSQL's has its zone with it, SQLite's is UTC.
    """
    import sqlalchemy as sa

    if db.dialect.name == "sqlite":
        return sa.cast(sa.func.strftime("%s", column), sa.Integer)
    if db.dialect.name == "postgresql":
        return sa.extract("epoch", sa.cast(column, sa.DateTime(timezone=True)))
    return sa.func.unix_timestamp(column)


def _moment(seconds: Any) -> datetime:
    """Of no time at all, the first."""
    return datetime.fromtimestamp(int(seconds or 0), UTC)


def _parts(all_: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (all_[start : start + MANY] for start in range(0, len(all_), MANY))
