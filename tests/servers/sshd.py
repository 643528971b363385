"""OpenSSH's server with keys of its own, in a private folder on a loopback port."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path

from tests.servers import processes, require
from tests.servers.databases import free_port

CONFIG = """\
Port {port}
ListenAddress {address}
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
def running(address: str = "127.0.0.1", where: Sequence[str] = ()) -> Iterator[Sshd]:
    """`where` stands before the command: to start it in a network namespace."""
    folder = Path(tempfile.mkdtemp(prefix="sshd-", dir="/tmp"))
    process = None
    try:
        for name in ("host", "client"):
            command = [require("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(folder / name)]
            subprocess.run(command, check=True, timeout=30)
        port = free_port()
        (folder / "sshd_config").write_text(CONFIG.format(address=address, port=port, folder=folder))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # compiled in; a server started as root wants it
        with (folder / "log").open("wb") as log:
            command = [*where, require("sshd"), "-D", "-e", "-f", str(folder / "sshd_config")]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        _wait(process, folder / "log")
        yield Sshd(
            port, (folder / "host.pub").read_text().strip(), (folder / "client").read_bytes(), getuser(), process
        )
    finally:
        if process is not None:
            # A session whose network was cut would wait for its other end for hours.
            with processes.held(*processes.below(process.pid)) as sessions:
                process.terminate()
                process.wait(timeout=30)
                for session in sessions:
                    session.send(signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        assert process.poll() is None, log.read_text()
        if "Server listening" in log.read_text():
            return
        time.sleep(0.02)
    raise AssertionError(f"sshd does not begin to listen: {log.read_text()}")
