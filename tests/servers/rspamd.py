"""A bare rspamd, with Redis where it is wanted, in a private folder on loopback ports: what it is given, it scans."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest

from tests.servers import require
from tests.servers.name_servers import HOST, SECONDS, free_port

STOCK = Path("/etc/rspamd")
USER = "_rspamd"  # the package's
# Without the network these ask in vain; the rest of the stock configuration stays.
OFF = "asn bayes_expiry bimi fuzzy_check greylist mx_check neural once_received phishing ratelimit rbl surbl".split()
LOCAL = {
    "options.inc": """dns {{ nameserver = ["{host}:{dns}:1"]; timeout = 0.3s; retransmits = 1; }}
filters = "chartable,dkim,regexp";
url_tld = "{folder}/tld.dat";
""",
    "worker-normal.inc": 'bind_socket = "{host}:{port}"; count = 1;\n',
    "worker-proxy.inc": 'bind_socket = "{host}:{proxy}"; upstream "local" {{ default = yes; self_scan = yes; }}\n',
    "worker-controller.inc": 'bind_socket = "{host}:{controller}"; password = "an-example"; secure_ip = "192.0.2.1";\n',
    "settings.conf": "",
}
SUFFIXES = "com\nnet\norg\nexample\ntest\nit\n"  # the stock list takes rspamd half a minute to compile, once


class Rspamd:
    """One server; its workers run as the package's user, so tests must run as root."""

    def __init__(self, folder: Path, dns: int = 0, redis: int = 0) -> None:
        """`dns` and `redis` are ports; without Redis, rspamd is told of none."""
        if os.geteuid() != 0:
            pytest.skip("rspamd gives up its rights at the start, which only root can do")
        self.program = require("rspamd")
        self.folder = folder
        self.config, self.data = folder / "etc", folder / "data"
        self.pid_file = folder / "run/rspamd.pid"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        shutil.copytree(STOCK, self.config)
        for name in ("data", "run", "log"):
            (folder / name).mkdir()
            shutil.chown(folder / name, USER, USER)
        (folder / "tld.dat").write_text(SUFFIXES)
        ports = {"port": self.port, "proxy": free_port(), "controller": free_port(), "dns": dns or free_port()}
        for name, text in LOCAL.items():
            (self.config / "local.d" / name).write_text(text.format(host=HOST, folder=folder, **ports))
        for name in OFF:
            (self.config / f"local.d/{name}.conf").write_text("enabled = false;\n")
        if redis:
            (self.config / "local.d/redis.conf").write_text(f'servers = "{HOST}:{redis}";\n')

    def start(self) -> None:
        places = {"CONFDIR": self.config, "LOCAL_CONFDIR": self.config, "DBDIR": self.data}
        places |= {"RUNDIR": self.folder / "run", "LOGDIR": self.folder / "log"}
        command = [self.program, "-f", "-u", USER, "-g", USER, "-c", str(self.config / "rspamd.conf")]
        command += [f"--var={name}={place}" for name, place in places.items()]
        with (self.folder / "out").open("ab") as out:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        over = time.monotonic() + SECONDS
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > over:
                self.stop()
                raise AssertionError(f"rspamd does not answer:\n{self.log[-2000:]}")
            time.sleep(0.05)

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

    @property
    def log(self) -> str:
        file = self.folder / "log/rspamd.log"
        return file.read_text(errors="replace") if file.exists() else (self.folder / "out").read_text()

    def answers(self) -> bool:
        try:
            return self._asked("GET", "/ping") == b"pong\r\n"
        except (OSError, HTTPException):
            return False

    def scan(self, message: bytes, ip: str, sender: str, recipients: Sequence[str], user: str = "") -> dict[str, Any]:
        """What rspamd says of a message as a mail server would hand it over; `user` has logged in."""
        headers = [("IP", ip), ("From", sender), *(("Rcpt", each) for each in recipients), ("Pass", "all")]
        said: dict[str, Any] = json.loads(
            self._asked("POST", "/checkv2", message, [*headers, *[("User", user)] * bool(user)])
        )
        return said

    def _asked(self, method: str, path: str, body: bytes = b"", headers: Sequence[tuple[str, str]] = ()) -> bytes:
        with closing(HTTPConnection(HOST, self.port, timeout=15)) as connection:
            connection.putrequest(method, path)
            for name, value in [*headers, ("Content-Length", str(len(body)))]:
                connection.putheader(name, value)
            connection.endheaders(body)
            return connection.getresponse().read()


@contextmanager
def rspamd(*, dns: int = 0, with_redis: bool = False) -> Iterator[Rspamd]:
    """One that runs, in half a second."""
    folder = Path(tempfile.mkdtemp(prefix="rspamd-", dir="/tmp"))  # where other users can come
    folder.chmod(0o755)
    try:
        with redis(folder) if with_redis else _none() as port:
            server = Rspamd(folder, dns, port)
            server.start()
            try:
                yield server
            finally:
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def redis(folder: Path) -> Iterator[int]:
    """A Redis that keeps nothing; yields its port."""
    port = free_port()
    command = [require("redis-server"), "--bind", HOST, "--port", str(port), "--save", "", "--dir", str(folder)]
    with (folder / "redis.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            over = time.monotonic() + SECONDS
            while b"Ready to accept" not in (folder / "redis.log").read_bytes():
                assert process.poll() is None, (folder / "redis.log").read_text()
                assert time.monotonic() < over, "redis does not answer"
                time.sleep(0.02)
            yield port
        finally:
            process.terminate()
            process.wait(SECONDS)


@contextmanager
def _none() -> Iterator[int]:
    yield 0
