"""A customer's firewall: a network namespace with nftables and sshd, and around it a LAN, guests, the world, and us."""

from __future__ import annotations

import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.servers import namespaces, require, sshd, wires
from tests.servers.namespaces import cable, inside, made, run

OFFICE = "198.51.100.5"  # from where we administer it
FIREWALL = {"office": "198.51.100.1", "wan": "203.0.113.1", "lan": "10.20.0.1", "guest": "10.30.0.1"}
HOSTS = {"wan": "203.0.113.9", "lan": "10.20.0.9", "guest": "10.30.0.9"}
HOSTS6 = {"wan": "2001:db8:113::9", "lan": "2001:db8:20::9", "guest": "2001:db8:30::9"}
FIREWALL6 = {role: address.replace("::9", "::1") for role, address in HOSTS6.items()}
INTERFACES = {"wan": "wan0", "lan": "lan0", "guest": "guest0", "office": "office0"}
SECONDS = 60  # of silence, after which a connection is given up


@dataclass(frozen=True, slots=True)
class Firewall:
    names: dict[str, str]  # role → namespace
    sshd: sshd.Sshd
    folder: Path

    def on(self, role: str, *words: str, given: str | None = None) -> str:
        """What a program prints that is run in a namespace."""
        return run(*inside(self.names[role]), *words, given=given)

    def nft(self, *words: str, given: str | None = None) -> str:
        return self.on("fw", "env", "TZ=UTC", "nft", *words, given=given)

    def started(self, role: str, *words: str) -> subprocess.Popen[str]:
        """A program that goes on in a namespace; whoever starts it ends it."""
        return subprocess.Popen(
            [*inside(self.names[role]), *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    @property
    def files(self) -> list[str]:
        """What stands before a command that is to see files as who logs in there does."""
        return [require("nsenter"), f"--mount=/proc/{self.sshd.process.pid}/ns/mnt"]

    @contextmanager
    def instead_of(self, program: str, text: str) -> Iterator[None]:
        """Who logs in there has another program under this name; `{real}` in its text is the program itself."""
        found = require(program)
        real, other = self.folder / f"{program}.real", self.folder / program
        shutil.copy(found, real)
        other.write_text(text.replace("{real}", str(real)))
        other.chmod(0o755)
        run(*self.files, "mount", "--bind", str(other), found)
        try:
            yield
        finally:
            run(*self.files, "umount", "--lazy", found)

    @contextmanager
    def through_the_office(self) -> Iterator[int]:
        """A port of the loopback behind which its sshd is: each connection goes on from the office, as a new one."""
        ask = partial(socket.create_connection, (FIREWALL["office"], self.sshd.port), SECONDS)

        class Handler(socketserver.BaseRequestHandler):
            def handle(handler) -> None:  # noqa: N805
                near: socket.socket = handler.request
                near.settimeout(SECONDS)
                with suppress(OSError), wires.within(self.names["office"], ask) as far:
                    back = threading.Thread(target=_passed_on, args=(far, near), daemon=True)
                    back.start()
                    _passed_on(near, far)
                    back.join(SECONDS)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        with Server(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            try:
                yield int(server.server_address[1])
            finally:
                server.shutdown()
                thread.join()


def _passed_on(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(65_536):
            other.sendall(data)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)


_NAMES = 'mount --bind "$1" /etc/hosts; shift; exec "$@"'


@contextmanager
def running() -> Iterator[Firewall]:
    with made("fw", "office", "wan", "lan", "guest") as names, ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fw-", dir="/tmp")))
        for role, address in FIREWALL.items():
            host = HOSTS.get(role, OFFICE)
            more = ([f"{FIREWALL6[role]}/64"], [f"{HOSTS6[role]}/64"]) if role in HOSTS6 else ([], [])
            here = (names["fw"], INTERFACES[role], [f"{address}/24", *more[0]])
            cable(here, (names[role], "eth0", [f"{host}/24", *more[1]]))
            run("ip", "-n", names[role], "route", "add", "default", "via", address)
            if role in HOSTS6:
                run("ip", "-n", names[role], "-6", "route", "add", "default", "via", FIREWALL6[role])
        for setting in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"):
            run(*inside(names["fw"]), "sysctl", "-qw", setting)
        (folder / "hosts").write_text("127.0.0.1 localhost\n")
        # Who logs in there has a file of names of the device's own, and else what we have.
        own = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", _NAMES, "sh", str(folder / "hosts")]
        server = stack.enter_context(sshd.running(FIREWALL["office"], [*inside(names["fw"]), *own]))
        yield Firewall(names, server, folder)


def available() -> None:
    namespaces.needs_root()
