"""Databases that are away, full of other people's locks, stopped in the middle, or may only be read."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from mspctl.driver import Access, Failed, Landed, Work
from mspctl.drivers import postfixadmin
from mspctl.errors import TargetError, Unreachable
from mspctl.exits import Exit
from mspctl.kinds import mail
from mspctl.plan import ScopePlan
from mspctl.resource import Change, Scope
from mspctl.secrets import Secrets
from mspctl.transports import sql
from tests.drivers import test_postfixadmin as known
from tests.drivers.contract import work_of
from tests.drivers.test_postfixadmin import (
    MB,
    PAOLO,
    PLAIN,
    SCOPE,
    SCOPES,
    ServerRig,
    SqliteRig,
    SqlRig,
    mailbox,
)
from tests.drivers.workbench import Workbench
from tests.servers import databases
from tests.servers.processes import Held

database, rig, bench, sqlite = known.database, known.rig, known.bench, known.sqlite
BUSY = "(somebody else is at work there)"


on_servers = pytest.mark.parametrize("database", [*known.SERVERS], indirect=True, scope="module")


@pytest.fixture
def server_rig(rig: SqlRig) -> ServerRig:
    assert isinstance(rig, ServerRig)
    rig.settings(timeout="1")
    return rig


@contextmanager
def another(rig: SqlRig) -> Iterator[Any]:
    """A session of somebody else, in a transaction of its own; what it holds, it holds until the end."""
    if isinstance(rig, SqliteRig):
        with closing(sqlite3.connect(rig.file, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("ROLLBACK")
        return
    assert isinstance(rig, ServerRig)
    with closing(rig.server.connect()) as db:
        cursor = db.cursor()
        cursor.execute("BEGIN")
        yield cursor
        cursor.execute("ROLLBACK")


@contextmanager
def in_the_middle(rig: SqlRig, do: Callable[[], object]) -> Iterator[None]:
    """`do` something when the first row has been written, and nothing is committed."""
    engine, left = rig.driver().database._engine(writes=True), [do]

    def watch(connection: object, cursor: object, statement: str, *more: object) -> None:
        if left and statement.startswith(("INSERT", "UPDATE", "DELETE")):
            left.pop()()

    sa.event.listen(engine, "after_cursor_execute", watch)
    yield
    sa.event.remove(engine, "after_cursor_execute", watch)
    assert not left


def declared(bench: Workbench, quota: int = 500) -> None:
    for scope in SCOPES:
        bench.declare(scope, *(mailbox(name, forwards=frozenset(), quota=quota * MB) for name in ("paolo", "anna")))


def errors(bench: Workbench, **more: Any) -> dict[str, str]:
    """What an apply says of each scope that it could not finish: one line."""
    outcome = bench.apply(**more)
    said = {end.scope.name: end.error for end in outcome.unfinished}
    said |= {plan.scope.name: plan.error for plan in outcome.plans if plan.error}
    assert all(text and "\n" not in text and "Traceback" not in text for text in said.values())
    return said


# -- locks ------------------------------------------------------------------------------------------------------


@on_servers
def test_a_row_that_somebody_else_holds_costs_its_scope_only(server_rig: ServerRig, bench: Workbench) -> None:
    declared(bench)
    bench.converge()
    declared(bench, 1000)
    with another(server_rig) as other:
        other.execute(f"UPDATE mailbox SET name = 'x' WHERE username = 'anna@{SCOPE.name}'")  # noqa: S608
        said = errors(bench)
    assert [*said] == [SCOPE.name]
    assert said[SCOPE.name].endswith(BUSY)
    quotas = {r["username"]: r["quota"] for r in server_rig.run("SELECT username, quota FROM mailbox")}
    held = {name for name, quota in quotas.items() if quota == 500 * MB}
    assert held == {PAOLO, f"anna@{SCOPE.name}"}
    bench.converge()


LOCK_ALL = {"postgresql": "LOCK TABLE mailbox", "mariadb": "LOCK TABLES mailbox WRITE", "sqlite": "SELECT 1"}


def test_a_database_that_somebody_else_holds_is_not_tried_for_every_scope(
    rig: SqlRig, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.settings(timeout="1")
    for scope in (*SCOPES, *(Scope("mail-1", mail.FACET, f"d{number}.example") for number in range(9))):
        bench.declare(scope, PLAIN)
    shown, tried = bench.plan(), []
    real = sql.Session.write

    def write(self: sql.Session, work: Callable[[sa.Connection], object]) -> object:
        tried.append(1)
        return real(self, work)

    monkeypatch.setattr(sql.Session, "write", write)
    with another(rig) as other:
        other.execute(LOCK_ALL[rig.access.settings.database])
        answers = rig.driver().apply([Work(scope, [Change(None, PLAIN)], [PLAIN]) for scope in shown])
        for _ in range(postfixadmin.WAITED - 1):
            assert isinstance(next(iter(answers)), Failed)
        with pytest.raises(sql.Busy, match="somebody else"):
            next(iter(answers))
    assert len(tried) == postfixadmin.WAITED
    monkeypatch.undo()
    bench.converge()


def test_who_reads_waits_and_then_says_why(rig: SqlRig, bench: Workbench) -> None:
    rig.settings(timeout="1")
    declared(bench)
    bench.converge()
    with another(rig) as other:
        if isinstance(rig, SqliteRig):
            other.execute("ROLLBACK")
            other.execute("BEGIN EXCLUSIVE")
        other.execute(LOCK_ALL[rig.access.settings.database])
        said = errors(bench)
        assert [*said] == [scope.name for scope in SCOPES]
        assert {*said.values()} == {said[SCOPE.name]}
        assert said[SCOPE.name].endswith(BUSY)
    bench.converge()


# PostgreSQL undoes the session that looks first, MariaDB the one that has written less.
SLOWER = {
    "postgresql": "SET deadlock_timeout = '9s'",
    "mariadb": "INSERT INTO log (username, domain, action, data) SELECT '', '', '', seq FROM seq_1_to_900",
}


@on_servers
def test_who_gives_way_in_a_deadlock_does_it_once_more(
    server_rig: ServerRig, bench: Workbench, caplog: pytest.LogCaptureFixture
) -> None:
    """Two sessions write two rows in different order; ours is the one that the database undoes."""
    server_rig.settings(timeout="10")
    declared(bench)
    bench.converge()
    declared(bench, 1000)
    caplog.set_level("INFO")
    rows = [f"anna@{SCOPE.name}", f"paolo@{SCOPE.name}"]
    begun, ours, done = threading.Event(), threading.Event(), []

    def theirs() -> None:
        with another(server_rig) as other:
            other.execute(SLOWER[server_rig.server.kind])
            other.execute("UPDATE mailbox SET phone = '1' WHERE username LIKE 'paolo@acme.%'")
            begun.set()
            ours.wait(20)
            other.execute("UPDATE mailbox SET phone = '1' WHERE username LIKE 'anna@acme.%'")
            other.execute("COMMIT")
            done.append(True)

    thread = threading.Thread(target=theirs)
    thread.start()
    assert begun.wait(20)
    first = in_order(bench, SCOPE, *rows)
    with in_the_middle(server_rig, ours.set):
        answers = [*server_rig.driver().apply([first])]
    thread.join(30)
    assert "once more: " in caplog.text
    assert [type(a) for a in answers] == [Landed] * 2
    assert done == [True]
    held = [(r["quota"], r["phone"]) for r in server_rig.run("SELECT * FROM mailbox WHERE domain = ?", SCOPE.name)]
    assert held == [(1000 * MB, "1")] * 2
    assert len(server_rig.run("SELECT * FROM log WHERE action = 'edit_mailbox' AND domain = ?", SCOPE.name)) == 2


def in_order(bench: Workbench, scope: Scope, *addresses: str) -> Work:
    due = {mail.address_of(c.id.name, scope.name): c for c in bench.plan()[scope].due}
    return Work(scope, [due[address] for address in addresses], [])


@on_servers
def test_two_at_once_who_take_the_domains_in_different_order(server_rig: ServerRig, bench: Workbench) -> None:
    """Each domain is a transaction of its own, so nobody holds one and waits for another."""
    server_rig.settings(timeout="20")
    for scope in SCOPES:
        bench.declare(scope, PLAIN)
    bench.converge()

    def write(which: int) -> list[object]:
        works = []
        for scope in SCOPES[:: 1 - 2 * which]:
            new = [mailbox(f"m{which}-{number}", forwards=frozenset()) for number in range(10)]
            names = mail.alias_domain(f"{which}.{scope.name}"), mail.alias(f"tutti{which}", [PAOLO])
            works.append(Work(scope, [Change(None, resource) for resource in (*new, *names)], []))
        return [*postfixadmin.Driver(server_rig.access).apply(works)]

    with ThreadPoolExecutor(2) as executor:
        answers = [answer for found in executor.map(write, range(2)) for answer in found]
    assert [answer for answer in answers if isinstance(answer, Failed)] == []
    assert len(server_rig.run("SELECT * FROM mailbox")) == len(SCOPES) * 21
    assert len(server_rig.run("SELECT * FROM domain")) == len(SCOPES) * 3


# -- connections ------------------------------------------------------------------------------------------------


def kill_ours(rig: ServerRig) -> None:
    """Every session but the test's own, as an administrator does."""
    if rig.server.kind == "postgresql":
        rig.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = user"
        )
    else:
        ours = "SELECT id FROM information_schema.processlist WHERE id <> connection_id()"
        for session in rig.run(ours):
            rig.run(f"KILL {session['id']}")


@on_servers
def test_a_connection_that_is_killed_costs_its_scope_only(server_rig: ServerRig, bench: Workbench) -> None:
    declared(bench)
    with in_the_middle(server_rig, lambda: kill_ours(server_rig)):
        said = errors(bench)
    assert [*said] == [SCOPE.name]
    assert re.search("terminat|Lost connection|server has gone away|closed|killed", said[SCOPE.name])
    for table in ("domain", "mailbox", "alias", "log"):
        assert server_rig.run(f"SELECT * FROM {table} WHERE domain = ?", SCOPE.name) == []  # noqa: S608
    assert len(server_rig.run("SELECT * FROM mailbox")) == 4
    bench.converge()


@on_servers
def test_a_server_that_hung_up_while_passwords_were_hashed_is_called_again(
    server_rig: ServerRig, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared(bench)
    real = postfixadmin.Driver._hashed

    def hashed(self: postfixadmin.Driver, work: Work) -> object:
        kill_ours(server_rig)
        return real(self, work)

    monkeypatch.setattr(postfixadmin.Driver, "_hashed", hashed)
    assert errors(bench) == {}
    monkeypatch.undo()
    bench.converge()


@on_servers
def test_a_server_that_is_stopped_in_the_middle(server_rig: ServerRig, bench: Workbench) -> None:
    declared(bench)
    shown = bench.plan()
    try:
        with in_the_middle(server_rig, server_rig.server.stop):
            answers = server_rig.driver().apply([work_of(plan) for plan in shown.values()])
            failed = next(iter(answers))
            assert isinstance(failed, Failed)
            assert isinstance(failed.error, Unreachable)
            with pytest.raises(Unreachable, match=r"refused|Can't connect"):
                next(iter(answers))
        said = errors(bench, first=shown)
        assert [*said] == [scope.name for scope in SCOPES]
    finally:
        server_rig.server.start()
        server_rig.reconnect()
    assert server_rig.run("SELECT * FROM mailbox") == []
    bench.converge()


@on_servers
def test_a_server_that_is_frozen_is_left_after_a_while(server_rig: ServerRig, bench: Workbench) -> None:
    """It keeps the connection and says nothing: what a firewall does that forgot it, or a disk that hangs."""
    declared(bench)
    frozen: list[Held] = []

    def freeze() -> None:
        assert server_rig.server.process is not None
        pids = [server_rig.server.process.pid]
        if server_rig.server.kind == "postgresql":
            ours = "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = user"
            pids = [session["pid"] for session in server_rig.run(ours)]
        frozen.extend(Held(pid) for pid in pids)
        for one in frozen:
            one.send(signal.SIGSTOP)

    try:
        with in_the_middle(server_rig, freeze):
            answers = server_rig.driver().apply([work_of(plan) for plan in bench.plan().values()])
            failed = next(iter(answers))
    finally:
        for one in frozen:
            one.send(signal.SIGCONT)
            one.release()
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, Unreachable)
    assert re.search("no answer within 4 seconds|timed out", str(failed.error))
    assert [type(answer) for answer in answers] == [Landed] * 4
    assert server_rig.run("SELECT * FROM mailbox WHERE domain = ?", SCOPE.name) == []
    bench.converge()


# -- who we are, and what we may --------------------------------------------------------------------------------


@on_servers
def test_a_wrong_password_is_no_silence(server_rig: ServerRig, bench: Workbench) -> None:
    """And whoever is not let in once does not try it for every scope."""
    declared(bench)
    right = server_rig.access
    word = b"another word, which is wrong"
    server_rig.access = replace(right, secrets=Secrets.given({"password": word}))
    for outcome in (bench.apply(), bench.apply(first=known_plans(bench, server_rig, right))):
        assert outcome.exit_code is Exit.ERROR
        (text,) = {p.error for p in outcome.plans if p.error} | {e.error for e in outcome.unfinished if e.error}
        assert re.search("password authentication failed|Access denied", text)
        assert word.decode() not in text
    server_rig.access = right
    bench.converge()


def known_plans(bench: Workbench, rig: ServerRig, access: Access) -> dict[Scope, ScopePlan]:
    """As they were shown when the password was still right."""
    wrong, rig.access = rig.access, access
    plans = bench.plan()
    rig.access = wrong
    return plans


@contextmanager
def read_only(rig: ServerRig) -> Iterator[None]:
    """PostgreSQL: what sessions begin with. MariaDB: the whole server, as on a replica."""
    if rig.server.kind == "postgresql":
        rig.run(f"ALTER DATABASE {databases.NAME} SET default_transaction_read_only = on")
        yield
        rig.run("SET default_transaction_read_only = off")
        rig.run(f"ALTER DATABASE {databases.NAME} RESET default_transaction_read_only")
        return
    with closing(rig.server.as_root()) as root:
        root.cursor().execute("SET GLOBAL read_only = ON")
        yield
        root.cursor().execute("SET GLOBAL read_only = OFF")


@on_servers
def test_a_server_that_may_only_be_read(server_rig: ServerRig, bench: Workbench) -> None:
    declared(bench)
    bench.converge()
    declared(bench, 1000)
    with read_only(server_rig):
        assert bench.pending().keys() == {*SCOPES}
        said = errors(bench)
        assert [*said] == [scope.name for scope in SCOPES]
        assert all(re.search("read-only", text) for text in said.values())
    assert {r["quota"] for r in server_rig.run("SELECT quota FROM mailbox")} == {500 * MB}
    bench.converge()


def test_a_reader_could_not_write_if_it_wanted(rig: SqlRig) -> None:
    insert = "INSERT INTO domain (domain, description, transport) VALUES ('x.example', '', '')"
    with (
        rig.reader().database.session(writes=False) as session,
        pytest.raises(TargetError, match=r"(?i)read.?only"),
        session.transaction() as db,
    ):
        db.execute(sa.text(insert))
    assert rig.run("SELECT * FROM domain") == []


# -- SQLite files -----------------------------------------------------------------------------------------------

DIES = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size = 1")   # so that the file itself is written before the end
db.execute("BEGIN IMMEDIATE")
for number in range(2000):
    db.execute("UPDATE mailbox SET name = ?", ("x" * 250,))
    db.execute("INSERT INTO log (username, domain, action, data) VALUES ('', '', '', ?)", ("y" * 200,))
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_what_a_killed_writer_has_left_is_undone_by_whoever_reads(sqlite: SqliteRig, mode: str) -> None:
    bench = known.bench_of(sqlite)
    declared(bench)
    bench.converge()
    sqlite.run(f"PRAGMA journal_mode = {mode}")
    before = {scope: sqlite.native(scope) for scope in SCOPES}
    done = subprocess.run([sys.executable, "-c", DIES, sqlite.file], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert len([*sqlite.file.parent.glob("mail.db-*")]) == (1 if mode == "delete" else 2)
    assert bench.causes(SCOPE) == {}
    assert {scope: sqlite.native(scope) for scope in SCOPES} == before
    declared(bench, 1000)
    bench.converge()
