"""A real Modoboa with its own Redis, on SQLite, and what it holds. It starts in seconds, and is emptied in none."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.servers import missing, modoboa_install, require
from tests.servers.name_servers import HOST, free_port

SECONDS = 60  # until it answers
UNCOUNTED = dict.fromkeys(("user", "ddos", "ddos_lesser"))
Rates = Mapping[str, str | None]  # by name, in Modoboa's own settings: "8/second"; None: calls are not counted


class Refused(Exception):
    """An answer of the API that is no success."""


class Modoboa:
    """One that runs; `call` speaks to its API as its own pages do, not through mspctl."""

    def __init__(self, ready: Path, folder: Path, redis: str) -> None:
        self.ready = ready
        self.folder = folder
        self.port = free_port()
        self.address = f"http://{HOST}:{self.port}"
        self.token = (ready / "token").read_text()
        self.database = folder / "modoboa.db"
        self.log = folder / "modoboa.log"
        self._calls = folder / "calls"
        self._seen = 0  # of the calls: how many were told already
        self._rates, self._redis = folder / "rates", urlsplit(redis)
        self.count(UNCOUNTED)
        told = {"DATABASE": str(self.database), "REDIS": redis, "RATES": str(self._rates)}
        self._environment = {**os.environ, **told, "DJANGO_SETTINGS_MODULE": "testing", "PYTHONPATH": ""}
        self._process: subprocess.Popen[bytes] | None = None
        self.clear()

    def clear(self) -> None:
        """As new. It keeps its connections, so the file stays, and what is in it becomes another."""
        with (
            closing(sqlite3.connect(self.ready / "modoboa.db")) as fresh,
            closing(sqlite3.connect(self.database)) as db,
        ):
            fresh.backup(db)

    def count(self, rates: Rates) -> None:
        """From now on calls are counted so; a rate that is not named is Modoboa's own."""
        self._rates.write_text(json.dumps(dict(rates)))

    @contextmanager
    def counting(self, rates: Rates) -> Iterator[None]:
        """Likewise for a while, beginning at none."""
        with socket.create_connection((self._redis.hostname, self._redis.port), 10) as redis:
            redis.sendall(b"FLUSHALL\r\n")
            assert redis.recv(100) == b"+OK\r\n"
        self.count(rates)
        yield
        self.count(UNCOUNTED)

    def start(self) -> None:
        python, log_as = modoboa_install.environment() / "bin/python", "%(m)s\t%(U)s?%(q)s\t%(s)s"
        how = f"--bind {HOST}:{self.port} --worker-class gthread --threads 4 --keep-alive 60 --no-control-socket"
        where = ["--worker-tmp-dir", str(self.folder), "--access-logfile", str(self._calls)]
        command = [str(python), "-m", "gunicorn", "instance.wsgi", *how.split(), *where, "--access-logformat", log_as]
        place: dict[str, Any] = {"cwd": self.ready / "site", "env": self._environment, "stdin": subprocess.DEVNULL}
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out, **place)
        over = time.monotonic() + SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > over:
                self.stop()
                raise AssertionError(f"Modoboa does not answer:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.1)
        self.calls()

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(SECONDS)

    def _answers(self) -> bool:
        try:
            self.call("GET", "/domains/")
        except OSError:
            return False
        return True

    def call(self, method: str, path: str, body: object = None) -> Any:
        """What the API answers below /api/v2. Raises Refused with status and text."""
        with closing(HTTPConnection(HOST, self.port, timeout=30)) as connection:
            headers = {"Authorization": f"Token {self.token}", "Content-Type": "application/json"}
            connection.request(method, f"/api/v2{path}", None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        if answer.status >= 400:
            raise Refused(f"{answer.status} {text}")
        return json.loads(text) if text else None

    def rows(self, kind: str, **query: object) -> list[dict[str, Any]]:
        """A list of the API."""
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        answer = self.call("GET", f"/{kind}/?page_size=100000&{asked}")
        found: list[dict[str, Any]] = answer["results"] if isinstance(answer, dict) else answer
        return found

    def calls(self) -> list[tuple[str, str, int]]:
        """Method, path with its query, and status of the calls since this was asked last."""
        mark = f"?mark={time.monotonic_ns()}"
        self.call("GET", f"/domainaliases/{mark}")
        for _ in range(500):  # a call is written down a little after its answer
            lines = self._calls.read_text().splitlines()
            if any(mark in line for line in lines):
                break
            time.sleep(0.01)
        new, self._seen = lines[self._seen :], len(lines)
        parts = [line.split("\t") for line in new if mark not in line]
        return [(method, where.removeprefix("/api/v2").rstrip("?"), int(status)) for method, where, status in parts]

    def sql(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """What lies behind the API, for what it does not show."""
        with closing(sqlite3.connect(self.database, timeout=20)) as db, db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(statement, values)]


@contextmanager
def modoboa() -> Iterator[Modoboa]:
    """One that runs, and does not count calls until it is told to."""
    require("redis-server")
    try:
        ready = modoboa_install.ready()
    except modoboa_install.NotThere as error:
        missing(str(error))
    folder = Path(tempfile.mkdtemp(prefix="modoboa-"))
    try:
        with modoboa_install.redis(folder) as redis:
            server = Modoboa(ready, folder, redis)
            try:
                server.start()
                yield server
            finally:
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
