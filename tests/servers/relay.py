"""A stand-in for a bad network: passes DNS over TCP on to a real server, and spoils some of the answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tests.servers.name_servers import HOST, SECONDS

# (query, number of the message in its answer from 0, message) → what is passed on; None: the connection is closed
Spoil = Callable[[bytes, int, bytes], bytes | None]


@contextmanager
def relay(port: int, spoil: Spoil) -> Iterator[int]:
    """Listens while it lasts, before the server on `port`; yields its own port."""
    with socket.create_server((HOST, 0)) as listener:
        listener.settimeout(SECONDS)
        thread = threading.Thread(target=_listen, args=(listener, port, spoil), daemon=True)
        thread.start()
        own: int = listener.getsockname()[1]
        yield own
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(SECONDS)


def _listen(listener: socket.socket, port: int, spoil: Spoil) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(client, port, spoil), daemon=True).start()


def _serve(client: socket.socket, port: int, spoil: Spoil) -> None:
    """One client; its queries are passed on as they come, while another thread passes the answers back."""
    asked: list[bytes] = []
    with client, suppress(OSError, EOFError), socket.create_connection((HOST, port), SECONDS) as server:
        client.settimeout(SECONDS)
        back = threading.Thread(target=_answers, args=(server, client, asked, spoil), daemon=True)
        back.start()
        with suppress(OSError, EOFError):
            while True:
                query = _frame(client)
                asked[:] = [query, b""]
                server.sendall(len(query).to_bytes(2, "big") + query)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        back.join(SECONDS)


def _answers(server: socket.socket, client: socket.socket, asked: list[bytes], spoil: Spoil) -> None:
    number = 0
    with suppress(OSError, EOFError):
        while True:
            answer = _frame(server)
            number = number + 1 if asked[1] else 0
            asked[1] = answer
            passed = spoil(asked[0], number, answer)
            if passed is None:
                break
            client.sendall(len(passed).to_bytes(2, "big") + passed)
    with suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)


def _frame(connection: socket.socket) -> bytes:
    return _exactly(connection, int.from_bytes(_exactly(connection, 2), "big"))


def _exactly(connection: socket.socket, count: int) -> bytes:
    octets = b""
    while len(octets) < count:
        part = connection.recv(count - len(octets))
        if not part:
            raise EOFError
        octets += part
    return octets
