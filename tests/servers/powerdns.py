"""A PowerDNS with its HTTP API, on SQLite, and what it holds."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from tests.servers import require
from tests.servers.name_servers import HOST, SECONDS, free_port

KEY = "an-example-key-of-the-api"
SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")
CONFIG = """\
launch=gsqlite3
gsqlite3-database={folder}/pdns.sqlite
gsqlite3-dnssec=yes
gsqlite3-pragma-synchronous=0
local-address={host}
local-port={port}
socket-dir={folder}
daemon=no
guardian=no
setuid=
setgid=
include-dir=
api=yes
api-key={key}
webserver=yes
webserver-address={host}
webserver-port={api_port}
webserver-allow-from=127.0.0.0/8
zone-cache-refresh-interval=0
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
security-poll-suffix=
{more}
"""


class Refused(Exception):
    """An answer of the API that is no success."""


class PowerDNS:
    """One server on ports of its own; `call` speaks to its API as somebody else would, not through mspctl."""

    def __init__(self, folder: Path, more: str = "") -> None:
        """`more`: further lines of pdns.conf, for instance `primary=yes`."""
        self.folder = folder
        self.port, self.api_port = free_port(), free_port()
        self.address = f"http://{HOST}:{self.api_port}"
        self.key = KEY
        self._process: subprocess.Popen[bytes] | None = None
        if not SCHEMA.is_file():
            require("pdns-backend-sqlite3")  # a package, not a program: never found, so this says what is missing
        with closing(sqlite3.connect(folder / "pdns.sqlite")) as database:
            database.executescript(SCHEMA.read_text())
        places = {"folder": folder, "host": HOST, "port": self.port, "api_port": self.api_port, "key": KEY}
        (folder / "pdns.conf").write_text(CONFIG.format(**places, more=more))

    def start(self) -> None:
        log = self.folder / "pdns.log"
        with log.open("ab") as out:
            command = [require("pdns_server"), f"--config-dir={self.folder}"]
            self._process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        over = time.monotonic() + SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > over:
                self.stop()
                raise AssertionError(f"pdns_server does not answer:\n{log.read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self, *, kill: bool = False) -> None:
        """Its zones stay in its folder, for the next start."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill() if kill else process.terminate()
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(SECONDS)

    def _answers(self) -> bool:
        try:
            self.call("GET", "")
        except (OSError, HTTPException, Refused):
            return False
        return True

    def call(self, method: str, path: str, body: object = None) -> Any:
        """What the API answers below /api/v1/servers/localhost. Raises Refused with status and text."""
        connection = HTTPConnection(HOST, self.api_port, timeout=30)
        with closing(connection):
            sent = None if body is None else json.dumps(body)
            headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
            connection.request(method, f"/api/v1/servers/localhost{path}", sent, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        if answer.status >= 400:
            raise Refused(f"{answer.status} {text}")
        return json.loads(text) if text.startswith(("{", "[")) else text

    def zone(self, name: str) -> Any:
        return self.call("GET", f"/zones/{zone_id(name)}")

    def zones(self) -> list[str]:
        return [zone["name"].rstrip(".") for zone in self.call("GET", "/zones")]

    def clear(self) -> None:
        """No zones any more."""
        for zone in self.call("GET", "/zones"):
            self.call("DELETE", f"/zones/{zone['id']}")

    @contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        """What lies behind the API, for what it does not let one do."""
        with closing(sqlite3.connect(self.folder / "pdns.sqlite", timeout=10)) as database:
            yield database
            database.commit()


def zone_id(name: str) -> str:
    """A zone's name as it stands in the API's paths."""
    return f"{name}.".replace("/", "=2F")


@contextmanager
def powerdns(folder: Path, more: str = "") -> Iterator[PowerDNS]:
    """One that runs; it starts in a tenth of a second, so each test can have its own."""
    server = PowerDNS(folder, more)
    server.start()
    try:
        yield server
    finally:
        server.stop()
