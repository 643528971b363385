"""A stand-in for a server that speaks HTTP: it answers what it was given, well or badly."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, dict[str, str], bytes]  # status, headers, content
OK: Answer = (200, {}, b'{"fine": true}')


class StandIn:
    """Answers what it was given, one after the other, the last one for ever, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer | Callable[[BaseHTTPRequestHandler], None]] = [OK]
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.peers: list[object] = []
        self.at_once = self.most_at_once = 0
        self.seconds = 0.0  # that each answer takes
        self.lock = threading.Lock()
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                stand_in.answer(self)

            do_PATCH = do_POST = do_GET  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        with self.lock:
            self.asked.append((handler.command, handler.path, dict(handler.headers), body))
            self.peers.append(handler.client_address)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(self.seconds)
        with self.lock:
            self.at_once -= 1
        if callable(answer):
            answer(handler)
            handler.close_connection = True
            return
        status, headers, content = answer
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def standing_in(tls: ssl.SSLContext | None = None) -> Iterator[StandIn]:
    stand_in = StandIn()
    if tls is not None:
        stand_in.server.socket = tls.wrap_socket(stand_in.server.socket, server_side=True)
    thread = threading.Thread(target=lambda: stand_in.server.serve_forever(0.01))
    thread.start()
    try:
        yield stand_in
    finally:
        stand_in.server.shutdown()
        stand_in.server.server_close()
        thread.join()
