"""OpenSSH's server with keys of its own, in a private folder on a loopback port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path

from tests.servers import require
from tests.servers.databases import free_port

CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/client.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True, slots=True)
class Sshd:
    port: int
    host_key: str  # as ssh-keyscan shows it, without the host
    client_key: bytes  # the private key that may log in, as whoever runs the tests
    user: str
    process: subprocess.Popen[bytes]


@contextmanager
def running() -> Iterator[Sshd]:
    folder = Path(tempfile.mkdtemp(prefix="sshd-", dir="/tmp"))
    process = None
    try:
        for name in ("host", "client"):
            command = [require("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(folder / name)]
            subprocess.run(command, check=True, timeout=30)
        port = free_port()
        (folder / "sshd_config").write_text(CONFIG.format(port=port, folder=folder))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # compiled in; a server started as root wants it
        with (folder / "log").open("wb") as log:
            command = [require("sshd"), "-D", "-e", "-f", str(folder / "sshd_config")]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        _wait(process, port, folder / "log")
        yield Sshd(
            port, (folder / "host.pub").read_text().strip(), (folder / "client").read_bytes(), getuser(), process
        )
    finally:
        if process is not None:
            process.terminate()
            process.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(100):
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"sshd does not answer: {log.read_text()}")
