"""A simulator of a forge on a free port of the loopback: it breaks as a test says, and tells what did not fit."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

Answer = tuple[int, Any, dict[str, str]]  # status, what is said, headers


class Simulator(Protocol):
    asked: list[tuple[str, str]]
    refused: list[str]
    address: str

    def broken(self, method: str, path: str) -> Any:
        """ "silent": no answer, and nothing is done; "lost": done, and no answer; (status, headers): another answer."""


@contextmanager
def serving(
    simulator: Simulator,
    answered: Callable[[BaseHTTPRequestHandler, Any], Answer],
    below: str = "",
    said: Callable[[str, str], Any] = lambda method, path: {},
) -> Iterator[None]:
    """`said` is what comes with another answer. Ends with an AssertionError when a request was not as it should be."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            simulator.asked.append((self.command, self.path))
            fault = simulator.broken(self.command, self.path)
            if fault == "silent":
                self.close_connection = True
                return
            other = isinstance(fault, tuple)
            told = said(self.command, self.path) if other else None
            status, result, headers = (fault[0], told, fault[1]) if other else answered(self, body)
            if fault == "lost":
                self.close_connection = True
                return
            content = _content(result)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_PATCH = do_PUT = do_DELETE = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        simulator.address = f"http://127.0.0.1:{server.server_port}{below}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
    assert simulator.refused == []


def _content(result: Any) -> bytes:
    if result is None or isinstance(result, bytes):
        return result or b""
    return json.dumps(result).encode()
