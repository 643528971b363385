"""PostgreSQL and MariaDB from Debian's packages, each in a private folder, on a loopback port of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from tests.servers import require

PASSWORD = "the word of the database's user"
NAME = USER = "postfixadmin"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(slots=True)
class Overheard:
    """What a server was asked, by everybody but those who listen."""

    connections: int = 0
    statements: list[str] = field(default_factory=list)


class Server:
    kind: ClassVar[str]
    account: ClassVar[str]  # who it runs as; none of them runs as root
    leave: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Make its files."""
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def connect(self) -> Any:
        """A connection as the database's user, which commits by itself."""
        raise NotImplementedError

    def as_root(self) -> Any:
        """A connection as its administrator."""
        return self.connect()

    def overheard(self) -> AbstractContextManager[Overheard]:
        """What the server is asked meanwhile, as it says itself; known at the end."""
        raise NotImplementedError

    def make_database(self) -> None:
        raise NotImplementedError

    def settings(self) -> dict[str, str]:
        """As PostfixAdmin is told."""
        raise NotImplementedError

    def start(self) -> None:
        self.process = self.started(*self.command())

    def stop(self) -> None:
        """In order; whoever is connected is sent away."""
        if self.process is None:
            return
        self.process.send_signal(self.leave)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout=30)
        self.process = None

    def started(self, *command: str) -> subprocess.Popen[bytes]:
        who: dict[str, Any] = {"user": self.account, "group": self.account, "extra_groups": []}
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                **(who if os.geteuid() == 0 else {}),
            )  # fmt: skip

    def run(self, *command: str) -> None:
        code = self.started(*command).wait(timeout=120)
        assert code == 0, (self.folder / "log").read_text()

    def wait(self, ask: Callable[[], Any]) -> Any:
        """What it says once it answers."""
        last: Exception | None = None
        for _ in range(300):
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "log").read_text()
            try:
                return ask()
            except Exception as error:  # noqa: BLE001
                last = error
                time.sleep(0.1)
        raise AssertionError(f"{self.kind} gave no answer: {last}")


class Postgresql(Server):
    kind, account = "postgresql", "postgres"
    leave = signal.SIGINT  # with SIGTERM it would wait for its clients

    def program(self, name: str) -> str:
        """Debian keeps them where no path leads."""
        found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
        return str(found[-1]) if found else require(name)

    def prepare(self) -> None:
        word = self.folder / "word"
        word.write_text(PASSWORD)
        word.chmod(0o644)
        options = ["--auth=scram-sha-256", f"--pwfile={word}", f"--username={USER}", "--no-sync"]
        self.run(self.program("initdb"), *options, "--encoding=UTF8", "--locale=C", str(self.folder / "data"))

    def command(self) -> list[str]:
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-p", str(self.port)]
        return [self.program("postgres"), "-D", str(self.folder / "data"), *options, "-k", str(self.folder)]

    def connect(self, name: str = NAME) -> Any:
        import psycopg

        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname=name, autocommit=True
        )

    def make_database(self) -> None:
        with self.wait(lambda: self.connect("postgres")) as db:
            db.execute(f"CREATE DATABASE {NAME}")

    def settings(self) -> dict[str, str]:
        return {"database_type": "pgsql"}

    @contextmanager
    def overheard(self) -> Iterator[Overheard]:
        heard, log = Overheard(), self.folder / "log"
        with closing(self.as_root()) as root:
            for said in ("log_statement = 'all'", "log_connections = on"):
                root.execute(f"ALTER SYSTEM SET {said}")
            root.execute("SELECT pg_reload_conf()")
            with closing(self.connect()) as probe:  # until it is heard, the server has not read its settings
                self.wait(lambda: log.read_text().rindex(f"[{probe.info.backend_pid}] LOG:  connection auth"))
            start = log.stat().st_size
            yield heard
            root.execute("ALTER SYSTEM RESET ALL")
            root.execute("SELECT pg_reload_conf()")
            mine = f"[{root.info.backend_pid}]"
        lines = log.read_bytes()[start:].decode().splitlines()
        others = [line.partition("LOG:  ")[2] for line in lines if mine not in line]
        heard.connections = sum(line.startswith("connection authorized") for line in others)
        heard.statements = [line for line in others if line.startswith(("statement: ", "execute "))]


class Mariadb(Server):
    kind, account = "mariadb", "mysql"

    def prepare(self) -> None:
        (self.folder / "data").mkdir()
        if os.geteuid() == 0:
            shutil.chown(self.folder / "data", self.account, self.account)
        how = ["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]
        self.run(require("mariadb-install-db"), *how, f"--datadir={self.folder / 'data'}")

    def command(self) -> list[str]:
        where = [f"--datadir={self.folder / 'data'}", f"--socket={self.folder / 'socket'}", f"--port={self.port}"]
        quick = ["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M", "--skip-log-bin"]
        own = ["--no-defaults", "--bind-address=127.0.0.1", f"--pid-file={self.folder / 'pid'}", "--skip-name-resolve"]
        return [require("mariadbd"), *own, *where, *quick]

    def connect(self) -> Any:
        import pymysql

        return pymysql.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, database=NAME, autocommit=True
        )

    def as_root(self) -> Any:
        import pymysql

        return pymysql.connect(unix_socket=str(self.folder / "socket"), user="root")

    def make_database(self) -> None:
        self.wait((self.folder / "socket").stat)
        with self.as_root() as db, db.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {NAME} CHARACTER SET utf8mb4")
            cursor.execute(f"CREATE USER {USER}@'127.0.0.1' IDENTIFIED BY %s", [PASSWORD])
            cursor.execute(f"GRANT ALL ON {NAME}.* TO {USER}@'127.0.0.1'")

    def settings(self) -> dict[str, str]:
        return {"database_type": "mysqli"}

    @contextmanager
    def overheard(self) -> Iterator[Overheard]:
        heard = Overheard()
        with closing(self.as_root()) as root, root.cursor() as cursor:
            cursor.execute("SET GLOBAL log_output = 'TABLE', GLOBAL general_log = ON")
            cursor.execute("TRUNCATE mysql.general_log")
            yield heard
            cursor.execute("SET GLOBAL general_log = OFF")
            asked = "SELECT command_type, argument FROM mysql.general_log"
            cursor.execute(f"{asked} WHERE thread_id <> connection_id() ORDER BY event_time")
            for kind, text in cursor.fetchall():
                heard.connections += kind == "Connect"
                heard.statements += [text] if kind == "Query" else []


KINDS: dict[str, type[Server]] = {kind.kind: kind for kind in (Postgresql, Mariadb)}


@contextmanager
def running(kind: type[Server]) -> Iterator[Server]:
    """A server with an empty database. Its folder is short, because sockets live there, and its user may enter it."""
    folder = Path(tempfile.mkdtemp(prefix=f"{kind.kind}-", dir="/tmp"))
    server = kind(folder)
    try:
        folder.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(folder, server.account, server.account)
        server.prepare()
        server.start()
        server.make_database()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
