"""git's own smart HTTP server behind a small gate: it counts, asks for a password, and breaks off when told to."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit


@dataclass
class GitHttp:
    """Repositories below `root`, at `url`/NAME."""

    root: Path
    url: str = ""
    password: str = ""  # of the user `ci`; "": nobody is asked
    read_only: bool = False
    breaks: Callable[[str], str] = lambda request: ""  # "before" or "after" it is carried out; "": it is answered
    requests: list[str] = field(default_factory=list)  # "GET git-upload-pack", of those that were let in

    def answer(self, handler: BaseHTTPRequestHandler) -> bytes | None:
        """What the server says, head and body; None: nothing, and the connection ends."""
        url = urlsplit(handler.path)
        name = f"{handler.command} {(url.query.partition('=')[2] or url.path.rpartition('/')[2])}"
        body = _body(handler)
        if self.password and handler.headers.get("Authorization") != _basic("ci", self.password):
            return b"Status: 401 Unauthorized\r\nWWW-Authenticate: Basic realm=git\r\n\r\n"
        self.requests.append(name)
        if self.breaks(name) == "before":
            return None
        said = self._backend(handler, url.path, url.query, body)
        return None if self.breaks(name) == "after" else said

    def _backend(self, handler: BaseHTTPRequestHandler, path: str, query: str, body: bytes) -> bytes:
        headers = {"HTTP_CONTENT_ENCODING": "Content-Encoding", "HTTP_GIT_PROTOCOL": "Git-Protocol"}
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            **{name: handler.headers[header] for name, header in headers.items() if header in handler.headers},
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "http.receivepack",
            "GIT_CONFIG_VALUE_0": "false" if self.read_only else "true",
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": handler.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": handler.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=False)
        return done.stdout


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    if handler.headers.get("Transfer-Encoding") != "chunked":
        return handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
    body = b""
    while size := int(handler.rfile.readline(), 16):
        body += handler.rfile.read(size)
        handler.rfile.readline()
    handler.rfile.readline()
    return body


@contextmanager
def serving(root: Path) -> Iterator[GitHttp]:
    """On a free port of the loopback."""
    place = GitHttp(root)

    class Handler(BaseHTTPRequestHandler):
        def handle_request(self) -> None:
            said = place.answer(self)
            if said is None:
                return
            head, _, body = said.partition(b"\r\n\r\n")
            fields = [line.partition(": ") for line in head.decode().split("\r\n")]
            status = next((value for name, _, value in fields if name == "Status"), "200 OK")
            self.send_response(int(status.split()[0]))
            for name, _, value in fields:
                if name != "Status":
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = handle_request  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        place.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield place
        finally:
            server.shutdown()
            thread.join()
