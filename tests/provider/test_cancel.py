"""Cancel while a zone is being written: what stands between the provider and a real BIND holds the write until then."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from tests.provider import test_zones as zones
from tests.provider.test_zones import TOKEN, ZONE, estate, process, secrets_of, served, server, zone
from tests.provider.wire import Wire, plain, provider, refused
from tests.servers.dynamic import Bind
from tests.servers.name_servers import HOST, SECONDS

__all__ = ["estate", "process", "server"]  # fixtures
UPDATE = 5  # the opcode, RFC 2136 1.3
OTHER = zones.MANY[0]
TEXTS = {f"t{number} TXT": [f'"{number:03} {"x" * 200}"'] for number in range(400)}  # more than one message can hold


@dataclass
class Between:
    """Passes DNS messages on, one by one. From update number `at` on it asks `go`, then does as it is told."""

    port: int  # the server's
    at: int = 1
    cut: str = ""  # "" passes on; "before" and "after": the connection ends when the server has it not, or has it
    met: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)
    seen: int = 0

    def serve(self, listener: socket.socket) -> None:
        with suppress(OSError):  # until it is closed
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        with client, socket.create_connection((HOST, self.port), SECONDS) as server, suppress(OSError, EOFError):
            threading.Thread(target=_pump, args=(server, client), daemon=True).start()
            while message := _message(client):
                held = (message[4] >> 3) & 15 == UPDATE and self._hold()
                if not held or self.cut != "before":
                    server.sendall(message)
                if held and self.cut:
                    return

    def _hold(self) -> bool:
        self.seen += 1
        if self.seen < self.at:
            return False
        self.met.set()
        assert self.go.wait(SECONDS)
        return True


def _message(client: socket.socket) -> bytes:
    size = _exactly(client, 2)
    return size + _exactly(client, int.from_bytes(size, "big"))


def _exactly(client: socket.socket, count: int) -> bytes:
    octets = b""
    while len(octets) < count:
        if not (part := client.recv(count - len(octets))):
            raise EOFError
        octets += part
    return octets


def _pump(server: socket.socket, client: socket.socket) -> None:
    with suppress(OSError):
        while part := server.recv(65536):
            client.sendall(part)
        client.shutdown(socket.SHUT_RDWR)


@contextmanager
def between(server: Bind, estate: Path, at: int = 1, cut: str = "") -> Iterator[tuple[Wire, Between]]:
    """A provider that can be cancelled: for it alone, the server is behind something."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((HOST, 0)))
        made = Between(server.port, at, cut)
        threading.Thread(target=made.serve, args=(listener,), daemon=True).start()
        stack.callback(lambda: listener.shutdown(socket.SHUT_RDWR))
        stack.callback(made.go.set)
        file = estate / "inventory/targets.yaml"
        file.write_text(file.read_text().replace(f"port: {server.port}", f"port: {listener.getsockname()[1]}"))
        yield stack.enter_context(provider(estate, env=secrets_of(server))), made


def cancelled(wire: Wire, made: Between) -> None:
    assert made.met.wait(SECONDS)
    wire.cancel()


def test_a_write_that_is_under_way_ends_and_none_is_begun_after(estate: Path, server: Bind) -> None:
    with between(server, estate) as (wire, made), ThreadPoolExecutor(2) as executor:
        wanted, more = (wire.checked(TOKEN, zone({"www A": [address]})) for address in ("192.0.2.1", "192.0.2.2"))
        elsewhere = wire.checked(TOKEN, zone({"www A": ["192.0.2.1"]}, OTHER))
        first = executor.submit(wire.create, TOKEN, wanted)
        assert made.met.wait(SECONDS)
        waits = executor.submit(wire.create, TOKEN, more)  # for the first, at the lock of the zone
        cancelled(wire, made)
        with refused() as said:
            wire.create(TOKEN, elsewhere)
        assert said[0].code is grpc.StatusCode.CANCELLED
        assert served(server) == set()
        made.go.set()
        _, state = first.result(SECONDS)
        with refused() as said:
            waits.result(SECONDS)
        assert (said[0].code, said[0].text) == (grpc.StatusCode.CANCELLED, "not started: interrupted")
        assert made.seen == 1
        assert served(server) == {"www.acme.example. 300 192.0.2.1"}
        assert served(server, OTHER) == set()
        assert (state["resources"], wire.details(TOKEN, state, wanted, wanted)) == (wanted["resources"], {})


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_write_that_breaks_after_cancel_is_there_whole_or_not_at_all(estate: Path, server: Bind, cut: str) -> None:
    """Whoever gets no answer to a write looks; what is told is what is there."""
    with between(server, estate, cut=cut) as (wire, made), ThreadPoolExecutor(1) as executor:
        wanted = wire.checked(TOKEN, zone({"www A": ["192.0.2.1"], "ftp A": ["192.0.2.2"]}))
        made_so = executor.submit(wire.create, TOKEN, wanted)
        cancelled(wire, made)
        made.go.set()
        if cut == "after":
            _, state = made_so.result(SECONDS)
            assert state["resources"] == wanted["resources"]
            assert len(served(server)) == 2
            return
        with refused() as said:
            made_so.result(SECONDS)
        assert said[0].partial is None
        assert served(server) == set()


def test_half_a_write_is_told_as_such_and_the_next_run_does_the_rest(estate: Path, server: Bind, process: Wire) -> None:
    with between(server, estate, at=2, cut="before") as (wire, made), ThreadPoolExecutor(1) as executor:
        wanted = wire.checked(TOKEN, zone(TEXTS))
        made_so = executor.submit(wire.create, TOKEN, wanted)
        cancelled(wire, made)
        made.go.set()
        with refused() as said:
            made_so.result(SECONDS)
    there, partial = served(server), said[0].partial
    assert said[0].code is grpc.StatusCode.INTERNAL
    assert partial is not None
    state = plain(partial.properties)
    known = state["resources"]["rrset"]
    assert 0 < len(known) < len(TEXTS)
    assert {f"{name.split()[0]}.{ZONE}. 300 {each['values'][0]}" for name, each in known.items()} == there
    assert plain(partial.inputs) == wanted
    process.configure(estate_behind_nothing(estate, server))
    left = process.details(TOKEN, state, wanted, wanted)
    assert left == {f'resources.rrset["{name}"]': "ADD" for name in TEXTS.keys() - known.keys()}
    state = process.update(TOKEN, partial.id, state, wanted, wanted)
    assert len(served(server)) == len(TEXTS)
    assert process.details(TOKEN, state, wanted, wanted) == {}
    assert "recorded" not in state


def estate_behind_nothing(estate: Path, server: Bind) -> Path:
    key = server.key.name.to_text(omit_final_dot=True)
    text = zones.TARGETS.format(key=key, port=server.port, zones=", ".join((ZONE, *zones.MANY)))
    (estate / "inventory/targets.yaml").write_text(text)
    return estate
