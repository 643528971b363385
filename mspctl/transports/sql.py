"""
Databases that a product keeps its settings in, through SQLAlchemy Core: SQLite files, PostgreSQL, MariaDB.

One connection at a time, one transaction per `reading` or `writing`, and every wait has an end. Errors become ours
here, without the statement and its values: those may hold what nobody shall read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mspctl.errors import Stale, TargetError, Unreachable
from mspctl.fields import is_here
from mspctl.secrets import Secret

if TYPE_CHECKING:
    import sqlalchemy as sa

Kind = Literal["sqlite", "postgresql", "mariadb"]

PACKAGES = {"sqlite": "mail", "postgresql": "postgresql", "mariadb": "mariadb"}  # what pip calls them: mspctl[mail]


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
    timeout: int = 10  # seconds; for connecting, for a lock, and for an answer

    def __str__(self) -> str:
        if self.kind == "sqlite":
            return self.name
        return f"{self.name} on {self.socket or self.host}{f':{self.port}' if self.port else ''}"

    @property
    def encrypts(self) -> bool:
        return self.tls and not self.socket and not is_here(self.host)


class Database:
    """A database, opened when first asked."""

    def __init__(self, server: Server, password: Callable[[], Secret | None]) -> None:
        self.server = server
        self._password = password
        self._engines: dict[bool, sa.Engine] = {}

    @contextmanager
    def session(self, *, writes: bool) -> Iterator[Session]:
        """A connection; it is gone afterwards."""
        engine = self._engine(writes)
        with _translated(self.server, opening=True):
            connection = engine.connect()
        with connection:
            yield Session(connection, self.server)

    def _engine(self, writes: bool) -> sa.Engine:
        if writes not in self._engines:
            try:
                self._engines[writes] = _engine(self.server, self._password, writes)
            except ModuleNotFoundError as error:
                extra = PACKAGES[self.server.kind]
                raise TargetError(f"{error.name} is not installed (pip install 'mspctl[{extra}]')") from None
        return self._engines[writes]


class Session:
    def __init__(self, connection: sa.Connection, server: Server) -> None:
        self._connection = connection
        self._server = server

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """All or nothing."""
        with _translated(self._server, opening=False), self._connection.begin():
            yield self._connection


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
        values.update(connect(server))
        if secret := password():
            values["password"] = secret.reveal_text()

    return made


def _open_file(server: Server, writes: bool) -> Any:
    """Never makes a file that is not there."""
    import sqlite3

    path = Path(server.name).absolute().as_uri()
    mode = "rw" if writes else "ro"
    return sqlite3.connect(
        f"{path}?mode={mode}", uri=True, timeout=server.timeout, isolation_level=None, check_same_thread=False
    )


def _postgresql(server: Server) -> dict[str, Any]:
    wait = server.timeout * 1000
    said: dict[str, Any] = {
        "connect_timeout": server.timeout,
        "options": f"-c lock_timeout={wait} -c statement_timeout={wait}",
        "sslmode": "verify-full" if server.encrypts else "disable",
    }
    if server.encrypts:
        said["sslrootcert"] = server.ca or "system"
    return said | ({"host": server.socket} if server.socket else {})


def _mariadb(server: Server) -> dict[str, Any]:
    said: dict[str, Any] = {
        "connect_timeout": server.timeout,
        "read_timeout": server.timeout,
        "write_timeout": server.timeout,
        "init_command": f"SET SESSION innodb_lock_wait_timeout={server.timeout}, SESSION sql_mode='STRICT_ALL_TABLES'",
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


@contextmanager
def _translated(server: Server, *, opening: bool) -> Iterator[None]:
    import sqlalchemy.exc

    try:
        yield
    except sqlalchemy.exc.IntegrityError as error:
        said = _said(error)
        taken = re.search("unique|duplicate", said, re.IGNORECASE)  # somebody was faster
        raise (Stale if taken else TargetError)(f"{server}: {said}") from None
    except sqlalchemy.exc.DBAPIError as error:
        silent = opening or error.connection_invalidated or "unable to open" in str(error.orig)
        raise (Unreachable if silent else TargetError)(f"{server}: {_said(error)}") from None
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise TargetError(f"{server}: {type(error).__name__}") from None


def _said(error: Any) -> str:
    """The first line of what the database said; further ones repeat whole rows."""
    orig = error.orig
    parts: tuple[Any, ...] = getattr(orig, "args", ())
    text = str(parts[1] if len(parts) > 1 and isinstance(parts[0], int) else orig)  # MariaDB's come with a number
    return (text.strip().splitlines() or [type(orig).__name__])[0]
