"""
Databases that a product keeps its settings in, through SQLAlchemy Core: SQLite files, PostgreSQL, MariaDB.

One connection at a time, which is opened when it is needed and again when it was lost; every wait has an end. Errors
become ours here, without the statement and its values: those may hold what nobody shall read.

    Unreachable   it cannot be opened, or the connection was lost
    Busy          another session holds what is needed, and was waited for in vain
    Stale         a row is there already: somebody was faster
    TargetError   everything else: who we are is not believed, it may only be read, its disk is full
"""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from weakref import finalize

from mspctl.errors import Stale, TargetError, Unreachable
from mspctl.fields import is_here
from mspctl.secrets import Secret
from mspctl.transports.silence import Silence

if TYPE_CHECKING:
    import sqlalchemy as sa

_LOG = logging.getLogger(__name__)
T = TypeVar("T")
Kind = Literal["sqlite", "postgresql", "mariadb"]

PACKAGES = {"sqlite": "mail", "postgresql": "postgresql", "mariadb": "mariadb"}  # what pip calls them: mspctl[mail]
IDLE = 60  # seconds after which a server undoes what we have begun and not gone on with; so locks of the dead go
ATTEMPTS = 3  # of a transaction that the database undid because somebody else's was in its way


class Busy(TargetError):
    """Another session holds what is needed, and was waited for in vain."""


class _GaveWay(Busy):
    """Two sessions waited for each other, and the database undid what we had done."""


class _Taken(Stale):
    """A row with this key is there already."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a database is."""

    kind: Kind
    name: str  # of the database; of SQLite, the file
    host: str = ""
    port: int | None = None
    socket: str = ""  # a Unix socket (of PostgreSQL its folder), in place of host and port
    user: str = ""
    ca: str = ""  # file with the authority that signed the server's certificate; "": the system's
    tls: bool = True  # but for sockets and this machine
    timeout: int = 10  # seconds; for connecting and for a lock

    def __str__(self) -> str:
        if self.kind == "sqlite":
            return self.name
        return f"{self.name} on {self.socket or self.host}{f':{self.port}' if self.port else ''}"

    @property
    def patience(self) -> int:
        """Seconds that an answer may take: to wait for a lock, and then to do it."""
        return 2 * self.timeout

    @property
    def encrypts(self) -> bool:
        return self.tls and not self.socket and not is_here(self.host)


class Database:
    """A database, opened when first asked. A connection that reads from a server is kept for who reads next."""

    def __init__(self, server: Server, password: Callable[[], Secret | None]) -> None:
        self.server = server
        self._password = password
        self._engines: dict[bool, sa.Engine] = {}
        self._free: list[Session] = []
        finalize(self, _close, self._free)

    @contextmanager
    def session(self, *, writes: bool) -> Iterator[Session]:
        """Transactions, one after the other, over one connection."""
        keeps = not writes and self.server.kind != "sqlite"  # a file may be another one the next time
        try:
            session = self._free.pop() if keeps else Session(self._engine(writes), self.server)
        except IndexError:
            session = Session(self._engine(writes), self.server)
        try:
            yield session
        finally:
            if keeps:
                self._free.append(session)
            else:
                session.close()

    def _engine(self, writes: bool) -> sa.Engine:
        if writes not in self._engines:
            try:
                self._engines[writes] = _engine(self.server, self._password, writes)
            except ModuleNotFoundError as error:
                extra = PACKAGES[self.server.kind]
                raise TargetError(f"{error.name} is not installed (pip install 'mspctl[{extra}]')") from None
        return self._engines[writes]


def _close(sessions: Sequence[Session]) -> None:
    for session in sessions:
        session.close()


class Session:
    """A connection that is opened by the first transaction, and again by the next one after it was lost."""

    def __init__(self, engine: sa.Engine, server: Server) -> None:
        self._engine = engine
        self._server = server
        self._connection: sa.Connection | None = None
        self._silence: Silence | None = None
        self.shut = False  # it could not be opened: there is no use in trying again

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """All or nothing."""
        connection, silence = self._opened(), self._silence
        try:
            with _translated(self._server, opening=False), connection.begin():
                yield connection
        except TargetError as error:
            if isinstance(error, Unreachable):
                self.close()
            if silence and silence.broken:
                raise Unreachable(f"{self._server}: no answer within {silence.seconds} seconds") from None
            raise
        finally:
            if silence:
                silence.rest()

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """
        What `work` does in a transaction of its own; when somebody else's was in its way, it is done once more.

        Who was faster can then be seen by reading again.
        """
        for _ in range(ATTEMPTS - 1):
            try:
                with self.transaction() as db:
                    return work(db)
            except (_GaveWay, _Taken) as error:
                _LOG.info("once more: %s", error)
        with self.transaction() as db:
            return work(db)

    def _opened(self) -> sa.Connection:
        if self._connection is not None and not self._lives(self._connection):
            self.close()
        if self._connection is None:
            self.shut = True
            with _translated(self._server, opening=True):
                self._connection = self._engine.connect()
            self.shut = False
            self._silence = self._connection.info.get("silence")
            self._connection.execution_options(silence=self._silence)
        return self._connection

    def _lives(self, connection: sa.Connection) -> bool:
        """Whoever has hashed passwords for minutes may find that the server has hung up."""
        if self._silence:
            self._silence.asked()
        try:
            driver = connection.connection.dbapi_connection
            return driver is not None and self._engine.dialect.do_ping(driver)
        except self._engine.dialect.loaded_dbapi.Error:
            return False

    def close(self) -> None:
        connection, self._connection = self._connection, None
        silence, self._silence = self._silence, None
        if connection is not None:
            with suppress(Exception):  # it may be broken, and is not needed any more
                connection.close()
        if silence:
            silence.end()


# -- connecting -------------------------------------------------------------------------------------------------


def _engine(server: Server, password: Callable[[], Secret | None], writes: bool) -> sa.Engine:
    import sqlalchemy as sa

    options: dict[str, Any] = {"poolclass": sa.NullPool, "hide_parameters": True}
    if server.kind == "sqlite":
        engine = sa.create_engine("sqlite://", creator=lambda: _open_file(server, writes), **options)
        begin = "BEGIN IMMEDIATE" if writes else "BEGIN"
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        return engine
    drivername, connect = _POSTGRESQL if server.kind == "postgresql" else _MARIADB
    where = {"host": server.host, "port": server.port} if not server.socket else {}
    url = sa.URL.create(drivername, server.user or None, database=server.name, **where)  # type: ignore[arg-type]
    made = sa.create_engine(url, isolation_level="READ COMMITTED" if writes else "REPEATABLE READ", **options)

    @sa.event.listens_for(made, "do_connect")
    def late(dialect: Any, record: Any, args: Any, values: dict[str, Any]) -> None:
        """The password is looked up when a connection is made, and kept nowhere."""
        values.update(connect(server, writes))
        if secret := password():
            values["password"] = secret.reveal_text()

    if server.kind == "postgresql":
        _bound(made, server.patience + 2)
    return made


def _bound(engine: sa.Engine, seconds: int) -> None:
    """libpq waits for ever for a server that keeps the connection and says nothing."""
    import sqlalchemy as sa

    @sa.event.listens_for(engine, "connect", insert=True)
    def watched(connection: Any, record: Any) -> None:
        record.info["silence"] = Silence(connection.fileno(), seconds)

    def told(what: Callable[[Silence], None]) -> Callable[..., None]:
        def tell(connection: sa.Connection, *more: Any) -> None:
            if silence := connection.get_execution_options().get("silence"):
                what(silence)

        return tell

    for moment in ("before_cursor_execute", "commit", "rollback"):
        sa.event.listen(engine, moment, told(Silence.asked))
    sa.event.listen(engine, "after_cursor_execute", told(Silence.rest))


def _open_file(server: Server, writes: bool) -> sqlite3.Connection:
    """Never makes a file that is not there."""
    if writes:
        return _open(server, "rw")
    connection = _open(server, "ro")
    try:
        connection.execute("SELECT 1 FROM sqlite_master")
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode not in _UNFINISHED:
            raise
        # Whoever wrote last was killed. What it left is undone by the first who may write, and that is all we do.
        with _open(server, "rw") as mended:
            mended.execute("PRAGMA query_only = ON")
            mended.execute("SELECT 1 FROM sqlite_master")
        mended.close()
        connection = _open(server, "ro")
    return connection


_UNFINISHED = (sqlite3.SQLITE_READONLY_ROLLBACK, sqlite3.SQLITE_READONLY_RECOVERY)


def _open(server: Server, mode: str) -> sqlite3.Connection:
    path = Path(server.name).absolute().as_uri()
    return sqlite3.connect(
        f"{path}?mode={mode}", uri=True, timeout=server.timeout, isolation_level=None, check_same_thread=False
    )


def _postgresql(server: Server, writes: bool) -> dict[str, Any]:
    limits = {
        "lock_timeout": server.timeout * 1000,
        "statement_timeout": server.patience * 1000,
        "idle_in_transaction_session_timeout": IDLE * 1000,
    } | ({} if writes else {"default_transaction_read_only": "on"})
    said: dict[str, Any] = {
        "connect_timeout": server.timeout,
        "options": " ".join(f"-c {name}={value}" for name, value in limits.items()),
        "sslmode": "verify-full" if server.encrypts else "disable",
    }
    if server.encrypts:
        said["sslrootcert"] = server.ca or "system"
    return said | ({"host": server.socket} if server.socket else {})


def _mariadb(server: Server, writes: bool) -> dict[str, Any]:
    limits = {
        "innodb_lock_wait_timeout": server.timeout,
        "lock_wait_timeout": server.timeout,
        "max_statement_time": server.patience,
        "idle_transaction_timeout": IDLE,
        "sql_mode": "'STRICT_ALL_TABLES'",
    } | ({} if writes else {"tx_read_only": 1})
    said: dict[str, Any] = {
        "connect_timeout": server.timeout,
        "read_timeout": server.patience + 2,
        "write_timeout": server.patience + 2,
        "init_command": "SET " + ", ".join(f"SESSION {name}={value}" for name, value in limits.items()),
        "charset": "utf8mb4",
    }
    if server.encrypts:
        import ssl

        said["ssl"] = ssl.create_default_context(cafile=server.ca or None)
    else:
        said["ssl_disabled"] = True
    return said | ({"unix_socket": server.socket} if server.socket else {})


_POSTGRESQL = ("postgresql+psycopg", _postgresql)
_MARIADB = ("mysql+pymysql", _mariadb)


# -- what went wrong --------------------------------------------------------------------------------------------

# SQLSTATE of PostgreSQL, numbers of MariaDB, primary and extended result codes of SQLite.
_KINDS: dict[str | int | None, type[TargetError]] = {
    "40P01": _GaveWay, "40001": _GaveWay, 1213: _GaveWay, 1020: _GaveWay,
    "55P03": Busy, 1205: Busy, sqlite3.SQLITE_BUSY: Busy, sqlite3.SQLITE_LOCKED: Busy,
    "23505": _Taken, 1062: _Taken,
    sqlite3.SQLITE_CONSTRAINT_UNIQUE: _Taken, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: _Taken,
    "57P01": Unreachable, "57P02": Unreachable, "57P03": Unreachable, "53300": Unreachable,
    1040: Unreachable, 1053: Unreachable, sqlite3.SQLITE_CANTOPEN: Unreachable,
    1044: TargetError, 1045: TargetError, 1049: TargetError, 1698: TargetError,
}  # fmt: skip


@contextmanager
def _translated(server: Server, *, opening: bool) -> Iterator[None]:
    import sqlalchemy.exc

    try:
        yield
    except sqlalchemy.exc.DBAPIError as error:
        kind, said = _kind(error, opening), _said(error.orig)
        if issubclass(kind, Busy):
            said += " (somebody else is at work there)"
        raise kind(f"{server}: {said}") from None
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise TargetError(f"{server}: {type(error).__name__}") from None


def _kind(error: Any, opening: bool) -> type[TargetError]:
    orig = error.orig
    if isinstance(orig, sqlite3.Error):
        code = getattr(orig, "sqlite_errorcode", 0)
        return _KINDS.get(code) or _KINDS.get(code & 0xFF, TargetError)
    number = next(iter(orig.args), None)
    if found := _KINDS.get(number if isinstance(number, int) else getattr(orig, "sqlstate", None)):
        return found
    if opening:
        return TargetError if _is_refused(orig) else Unreachable
    return Unreachable if error.connection_invalidated else TargetError


def _is_refused(error: Any) -> bool:
    """Whether a PostgreSQL answered, and does not let us in; libpq hands on its text, in the server's language."""
    asked = getattr(error, "pgconn", None)
    return bool(asked and asked.used_password) or bool(re.search("authentication failed|does not exist", str(error)))


def _said(error: Any) -> str:
    """The first line of what the database said; further ones repeat whole rows."""
    parts: tuple[Any, ...] = getattr(error, "args", ())
    text = str(parts[1] if len(parts) > 1 and isinstance(parts[0], int) else error)  # MariaDB's come with a number
    line = (text.strip().splitlines() or [type(error).__name__])[0]
    key = error.diag.message_detail if getattr(error, "sqlstate", None) == "23505" else ""  # of a row it tells no more
    return f"{line} ({key})" if key else line
