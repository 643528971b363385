"""How mailboxes are used: what stands of it in tables, most of it written by Dovecot, and what Dovecot says itself."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from mspctl.driver import Gauge, Measured, Unmeasured
from mspctl.errors import TargetError
from mspctl.kinds import NEWEST, mail
from mspctl.transports.doveadm import NO_USER, Doveadm, No, Row
from mspctl.transports.sql import Database

MANY = 500  # addresses; for more, whole tables are read: the number of queries stays the same
SAVED = "date.saved.unixtime"  # when a message was put where it is, whatever date it bears
Tables = Mapping[str, tuple[str, str]]  # by what is measured: a table, which has a column `username`, and a column


def measure(gauges: Sequence[Gauge], database: Database, tables: Tables, api: Doveadm | None) -> dict[Gauge, Measured]:
    """Of mailboxes: what `tables` hold, `newest` and `sessions`."""
    asked: dict[str, list[str]] = {}
    for gauge in gauges:
        if gauge.id.kind == mail.MAILBOX:
            asked.setdefault(gauge.what, []).append(address(gauge))
    written = _written(asked, database, tables)
    found: dict[str, Mapping[str, Measured]] = {}
    if mail.OCTETS in written:
        found[mail.OCTETS] = _octets(asked[mail.OCTETS], written[mail.OCTETS], api)
    if mail.QUOTA in written:
        found[mail.QUOTA] = {each: max(0, quota) for each, quota in written[mail.QUOTA].items()}
    if mail.LAST_LOGIN in written:
        found[mail.LAST_LOGIN] = {each: _moment(written[mail.LAST_LOGIN].get(each)) for each in asked[mail.LAST_LOGIN]}
    if NEWEST in asked and api:
        found[NEWEST] = newest(api, asked[NEWEST])
    if mail.SESSIONS in asked and api:
        found[mail.SESSIONS] = sessions(api, asked[mail.SESSIONS])
    return {g: found[g.what][address(g)] for g in gauges if address(g) in found.get(g.what, ())}


def address(gauge: Gauge) -> str:
    return mail.address_of(gauge.id.name, gauge.scope.name)


def _moment(seconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _written(asked: Mapping[str, Collection[str]], database: Database, tables: Tables) -> dict[str, dict[str, int]]:
    """What stands in tables, by what it is and by address; one query for each."""
    import sqlalchemy as sa

    if not asked.keys() & tables:
        return {}
    found = {}
    with database.session(writes=False) as session, session.transaction() as db:
        for what in asked.keys() & tables:
            name, column = tables[what]
            table = sa.table(name, sa.column("username"), sa.column(column))
            query = sa.select(table.c.username, table.c[column])
            if len(asked[what]) <= MANY:
                query = query.where(table.c.username.in_([*asked[what]]))
            found[what] = {username.lower(): int(number or 0) for username, number in db.execute(query)}
    return found


def _octets(addresses: Sequence[str], written: Mapping[str, int], api: Doveadm | None) -> Mapping[str, Measured]:
    """Dovecot itself is asked about mailboxes of which nothing is written."""
    missing = [each for each in addresses if each not in written]
    if missing and api:
        return {**written, **octets(api, missing)}
    why = Unmeasured("no row in quota2, which Dovecot's quota_clone fills")
    return {**written, **dict.fromkeys(missing, why)}


# -- Dovecot ----------------------------------------------------------------------------------------------------


def octets(api: Doveadm, addresses: Sequence[str]) -> dict[str, Measured]:
    """What mailboxes hold, as Dovecot counts it for their quota (in whole KiB)."""
    answers = api.ask([("quotaGet", {"user": each}) for each in addresses])
    return {each: _used(said) for each, said in zip(addresses, answers, strict=True)}


def _used(said: Sequence[Row] | No) -> Measured:
    if isinstance(said, No):
        return _not(said)
    used = [str(row.get("value")) for row in said if row.get("type") == "STORAGE"]
    return int(used[0]) * 1024 if used and used[0].isdecimal() else Unmeasured("Dovecot has no quota for it")


def newest(api: Doveadm, addresses: Sequence[str]) -> dict[str, Measured]:
    """When the newest message of each mailbox was put there, in whichever folder."""
    answers = api.ask([("fetch", {"user": each, "field": [SAVED], "query": ["all"]}) for each in addresses])
    return {each: _last(said) for each, said in zip(addresses, answers, strict=True)}


def _last(said: Sequence[Row] | No) -> Measured:
    if isinstance(said, No):
        return _not(said)
    times = [str(row.get(SAVED)) for row in said]
    if not all(time.isdecimal() for time in times):
        return Unmeasured("Dovecot does not say when its messages came")
    return datetime.fromtimestamp(max(map(int, times)), UTC) if times else None


def sessions(api: Doveadm, addresses: Sequence[str]) -> dict[str, Measured]:
    """What is open of each mailbox, in words. A Dovecot that is away leaves unknown no more than this."""
    try:
        (said,) = api.ask([("who", {})])
    except TargetError as error:
        return dict.fromkeys(addresses, Unmeasured(str(error)))
    if isinstance(said, No):
        return dict.fromkeys(addresses, _not(said))
    open_: dict[str, list[str]] = {}
    for row in said:
        ips = ", ".join(sorted(set(re.findall(r"[0-9A-Fa-f.:]+", str(row.get("ips", ""))))))
        open_.setdefault(str(row["username"]).lower(), []).append(f"{row['service']} from {ips or 'nowhere known'}")
    return {each: "; ".join(sorted(open_[each])) if each in open_ else None for each in addresses}


def _not(said: No) -> Unmeasured:
    more = " (its user_query must find disabled mailboxes too)" if said.code == NO_USER else ""
    return Unmeasured(f"Dovecot {said}{more}")
