"""How many zones are asked for at once."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import dns.name
import dns.tsig
import pytest

from mspctl.errors import Unreachable
from mspctl.transports.name_server import TRANSFERS, Connection, Server


class Hanging:
    """A server that takes a question, keeps it for a while and hangs up; it counts who waits at once."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.most = self.here = 0
        self._lock = threading.Lock()

    def run(self) -> None:
        with suppress(OSError):  # closed: it is over
            while True:
                threading.Thread(target=self._serve, args=[self.listener.accept()[0]], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            client.recv(512)
            self._count(1)
            time.sleep(0.02)
            self._count(-1)

    def _count(self, number: int) -> None:
        with self._lock:
            self.here += number
            self.most = max(self.most, self.here)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    server = Hanging()
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield server
    server.listener.shutdown(socket.SHUT_RDWR)
    server.listener.close()
    thread.join(10)


def test_of_one_server_only_a_few_zones_are_asked_for_at_once(hanging: Hanging) -> None:
    """BIND answers SERVFAIL to the eleventh."""
    key = dns.tsig.Key(dns.name.from_text("it"), b"0123456789abcdef", "hmac-sha256")
    server = Server("127.0.0.1", hanging.listener.getsockname()[1], key, 30.0)

    def ask(zone: str) -> None:
        with pytest.raises(Unreachable), Connection(server) as connection:
            connection.transfer(zone)

    with ThreadPoolExecutor(16) as executor:
        list(executor.map(ask, [f"z{number}.example" for number in range(16)]))
    assert 0 < hanging.most <= TRANSFERS
