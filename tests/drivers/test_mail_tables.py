"""The tables that the demo makes are PostfixAdmin's own, as far as they go, and the driver needs no more."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa

from mspctl.drivers.postfixadmin.tables import Tables
from mspctl.kinds import mail
from mspctl.resource import Id
from tests.conftest import ROOT, mail_db
from tests.drivers.test_postfixadmin import SCOPE, SqliteRig, bench_of, mailbox

Columns = dict[str, tuple[str, bool, str | None, int]]  # name → type, whether it must be set, default, place in the key


def tables(db: sqlite3.Connection) -> dict[str, Columns]:
    names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {
        name: {
            column: (kind.lower(), bool(needed), default, key)
            for _, column, kind, needed, default, key in db.execute(f"PRAGMA table_info({name})")
        }
        for name in names
        if name != "sqlite_sequence"
    }


def ours() -> dict[str, Columns]:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript((ROOT / "scripts/mail.sql").read_text())
        return tables(db)


def test_each_column_is_as_the_package_makes_it(mail_tables: Path) -> None:
    with closing(sqlite3.connect(mail_tables)) as db:
        genuine = tables(db)
    for table, columns in ours().items():
        assert columns == {name: genuine[table].get(name) for name in columns}, table


def test_what_the_package_wants_set_and_we_leave_out_has_a_default(mail_tables: Path) -> None:
    """So a row that fits here fits there."""
    with closing(sqlite3.connect(mail_tables)) as db:
        genuine = tables(db)
    written = {"domain", "alias_domain", "mailbox", "alias", "vacation", "log"}
    for table in written:
        for name, (_, needed, default, key) in genuine[table].items():
            assert name in ours()[table] or not needed or default is not None or key, f"{table}.{name}"


def test_the_driver_uses_no_other_table_or_column() -> None:
    made, known = Tables(""), ours()
    held = (value if isinstance(value, list | tuple) else [value] for value in vars(made).values())
    used = [table for tables in held for table in tables if isinstance(table, sa.TableClause)]
    assert {table.name for table in used} == known.keys()
    for table in used:
        assert {column.name for column in table.c} <= known[table.name].keys(), table.name


def test_all_that_can_be_declared_lands_in_them(tmp_path: Path) -> None:
    rig = SqliteRig(mail_db(tmp_path))
    rig.settings(vacation_domain="autoreply.msp.example")
    bench = bench_of(rig)
    tutti, alias = mail.alias("tutti", ["x@partner.example"]), mail.alias_domain("acme.it")
    bench.declare(SCOPE, mailbox(), tutti, alias, mail.limits(5, 0))
    bench.converge()
    bench.declare(SCOPE, mailbox(enabled=False, reply="I have left"), mail.alias("@", ["x@partner.example"]))
    bench.converge()
    bench.declare(SCOPE, replace(mailbox("p.zen", reply=""), was=Id(mail.MAILBOX, "paolo")), tutti)
    bench.converge()
    bench.declare(SCOPE, tutti)
    bench.converge()
    assert rig.run("SELECT username FROM mailbox") == []
