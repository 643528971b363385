"""
HTTP to one address, for drivers: JSON in and out, secrets in headers, one clear line when it does not work.

A secret is bound to its target's address: redirects are never followed, proxies of the environment are not used, a
certificate is always verified, and without TLS nothing leaves this machine unless the settings say so. What comes back
may be hostile: it is bounded in size and in time, and shown shortened and without secrets. Reads are repeated where
that may help; whatever else was sent once is not sent again, because nobody knows what became of it. But for a server
of which every question may be asked twice, and for a 429: who counts calls and answers so has done nothing (RFC 6585),
so what was asked is asked again when its time has come. Some say 403 for it; then they say when to come again.

    Unreachable   no answer: no connection, no trusted certificate, too slow, 429, 502, 503 or 504 to the end
    Refused       any other answer that is no success, a redirect too; drivers catch it to say more
    TargetError   an answer that makes no sense
"""

from __future__ import annotations

import email.utils
import io
import json
import re
import select
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from http.client import HTTPException, HTTPResponse, IncompleteRead
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from mspctl.errors import TargetError, Unreachable
from mspctl.fields import Boolean, Count, Model, Seconds, Text, is_here
from mspctl.kinds import dns, on_one_line, shown
from mspctl.secrets import redact
from mspctl.transports.pace import Pace

READS = frozenset({"GET", "HEAD"})
ATTEMPTS = 3  # of a read, and of what was answered 429
PAUSE = 0.5  # seconds before the second attempt, twice as many before the third; a Retry-After can ask for more
MAX_PAUSE = 60.0  # seconds that a Retry-After may ask for; who wants more is asked again by the next run
FORBIDDEN, TOO_MANY = 403, 429
BUSY = frozenset({TOO_MANY, 502, 503, 504})
MAX_ANSWER = 256 * 1024 * 1024  # bytes
PART = 1024 * 1024  # bytes read at a time
MOST_SAID = 300  # characters of an answer that a message repeats

_TARGET = re.compile(r"/[!-~]*")

Headers = Callable[[], Mapping[str, str]]


class Settings(Model):
    """What targets.yaml may say of a driver that speaks HTTP."""

    timeout: Seconds = 30  # until an answer is complete
    connections: Count = 8  # at once, to this target
    ca_file: Text | None = None  # relative to the repository; its authorities are trusted, and no others
    allow_plain_http: Boolean = False  # to another machine; what is sent, the key too, can be read on the way


class Refused(TargetError):
    """An answer that is no success. `content` is the answer as it came: for looking at, not for messages."""

    def __init__(self, text: str, status: int, content: bytes) -> None:
        super().__init__(text)
        self.status = status
        self.content = content


class Http:
    """
    The connections to one address, kept open and shared by threads; never more than the settings allow.

    Nothing is asked, and no secret looked up, before the first call. `headers` are those with secrets.
    """

    def __init__(
        self,
        address: str,
        headers: Headers,
        settings: Settings,
        root: Path,
        repeated: frozenset[str] = READS,
        pace: Pace | None = None,
    ) -> None:
        """
        `root`: where a relative ca_file starts; `repeated`: methods for which twice is as good as once; `pace`: for a
        server that counts calls.

        Raises TargetError for an address that cannot be used.
        """
        self._repeated = repeated
        self.secure, self.host, self.port, self.prefix = _parsed(address, settings.allow_plain_http)
        self.name = f"http{'s' * self.secure}://{_bracketed(self.host)}:{self.port}{self.prefix}"
        self._headers = headers
        self._settings = settings
        self._root = root
        self._pace = pace
        self._idle: list[socket.socket] = []
        self._free = threading.BoundedSemaphore(settings.connections)
        weakref.finalize(self, _close, self._idle)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """
        The JSON that answers, None for an empty answer. `path` follows the address and is quoted already.

        Raises Unreachable, Refused, or TargetError for what is no JSON.
        """
        answer = self.request(method, path, None if body is None else as_json(body))
        if not answer:
            return None
        try:
            return json.loads(answer)
        except (ValueError, RecursionError):
            raise TargetError(f"{self.name} answers no JSON: {as_line(answer)}") from None

    def request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """The answer's body; `body` is JSON. Raises Unreachable or Refused."""
        for attempt in range(ATTEMPTS - 1):
            try:
                return self._once(method, path, body)
            except _TryAgain as error:
                wait = max(error.after, PAUSE * 2**attempt)
                if wait > MAX_PAUSE or not (error.undone or method in self._repeated):
                    raise
            time.sleep(wait)
        return self._once(method, path, body)

    def _once(self, method: str, path: str, body: bytes | None) -> bytes:
        doubt = "" if method in self._repeated else f"; what {method} asked for may have been done"
        asked = self._asked(method, path, body)
        if self._pace is not None:
            self._pace.wait(method not in READS)
        try:
            with self._connection() as connection:
                connection.sock.sendall(asked)
                with HTTPResponse(cast(socket.socket, connection), method=method) as answer:
                    answer.begin()
                    content = self._read(answer)
                    connection.kept = not answer.will_close
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(f"{self.name} has no certificate that is trusted ({error.verify_message})") from None
        except TimeoutError:
            raise _TryAgain(f"{self.name} gives no answer within {self._settings.timeout} seconds{doubt}") from None
        except OSError as error:
            raise _TryAgain(f"{self.name} cannot be reached ({error.strerror or error}){doubt}") from None
        except HTTPException as error:
            raise _TryAgain(f"{self.name} broke off ({type(error).__name__}){doubt}") from None
        self._check(answer, content)
        return content

    def _read(self, answer: HTTPResponse) -> bytes:
        content = bytearray()
        while part := answer.read(PART):
            content += part
            if len(content) > MAX_ANSWER:
                raise TargetError(f"{self.name} answers more than {MAX_ANSWER >> 20} MiB")
        if answer.length:
            raise IncompleteRead(b"", answer.length)
        return bytes(content)

    def _check(self, answer: HTTPResponse, content: bytes) -> None:
        status = answer.status
        if 200 <= status < 300:
            return
        reason = as_line(answer.reason.encode())
        after = _asked_to_wait(answer)
        if status in BUSY or (status == FORBIDDEN and after is not None):
            undone = status in (TOO_MANY, FORBIDDEN)
            raise _TryAgain(f"{self.name} is busy ({status} {reason})", after or 0.0, undone=undone)
        if status in (401, 403):
            raise Refused(f"{self.name} does not take our key ({status} {reason})", status, content)
        if 300 <= status < 400:
            place = as_line((answer.headers.get("Location") or "nowhere").encode())
            raise Refused(f"{self.name} sends us to {place}; a key is for its own address only", status, content)
        raise Refused(f"{self.name} refuses ({status} {reason}): {as_line(content)}", status, content)

    def _asked(self, method: str, path: str, body: bytes | None) -> bytes:
        if not _TARGET.fullmatch(self.prefix + path):
            raise TargetError(f"{shown(self.prefix + path)} is no path that can be asked for")
        length = "" if body is None else f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return f"{method} {self.prefix}{path} HTTP/1.1\r\n{self._said}{length}\r\n".encode() + (body or b"")

    @cached_property
    def _said(self) -> str:
        """Headers of every request."""
        headers = {
            "Host": f"{_bracketed(self.host)}:{self.port}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "mspctl",
            **self._headers(),
        }
        for name, value in headers.items():
            if not (value.isascii() and value.isprintable()):
                raise TargetError(f"the secret for {self.name} cannot stand in the header {name} (a line break in it?)")
        return "".join(f"{name}: {value}\r\n" for name, value in headers.items())

    @contextmanager
    def _connection(self) -> Iterator[_Connection]:
        """One that is ours meanwhile; kept for others when all of its answer was read."""
        with self._free:
            sock = self._kept() or self._opened()
            connection = _Connection(sock, time.monotonic() + self._settings.timeout)
            try:
                yield connection
            finally:
                if connection.kept:
                    self._idle.append(sock)
                else:
                    sock.close()

    def _kept(self) -> socket.socket | None:
        with suppress(IndexError):
            while True:
                sock = self._idle.pop()
                # Readable while nothing was asked: the other side has closed it.
                if not select.select([sock], [], [], 0)[0]:
                    sock.settimeout(self._settings.timeout)
                    return sock
                sock.close()
        return None

    def _opened(self) -> socket.socket:
        sock = socket.create_connection((self.host, self.port), self._settings.timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self._tls.wrap_socket(sock, server_hostname=self.host) if self.secure else sock
        except BaseException:
            sock.close()
            raise

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        file = self._settings.ca_file
        try:
            return ssl.create_default_context(cafile=self._root / file if file else None)
        except OSError as error:
            raise TargetError(f"ca_file {file} cannot be used ({error.strerror or error})") from None


def _close(connections: list[socket.socket]) -> None:
    while connections:
        connections.pop().close()


class _TryAgain(Unreachable):
    """No answer for now."""

    def __init__(self, text: str, after: float = 0.0, *, undone: bool = False) -> None:
        super().__init__(text)
        self.after = after  # seconds that the target asks for
        self.undone = undone  # what was asked for was certainly not done


class _Connection(io.RawIOBase):
    """A socket's bytes until a moment, so that an answer that comes a byte at a time holds nobody up."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self.sock = sock
        self.kept = False
        self._until = until

    def makefile(self, mode: str) -> io.BufferedReader:
        """As HTTPResponse asks a socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.sock.settimeout(left)
        return self.sock.recv_into(buffer)


def _parsed(address: str, plain: bool) -> tuple[bool, str, int, str]:
    """Whether with TLS, host, port, and the path that comes before all others."""
    try:
        url = urlsplit(address)
        host, port = url.hostname or "", url.port
    except ValueError:
        url, host, port = urlsplit(""), "", None
    if "@" in url.netloc:
        raise TargetError("the target's address holds a user or a password (secrets are named, under secrets:)")
    if url.scheme not in ("http", "https") or not host or url.query or url.fragment or not _is_plain(address):
        raise TargetError(f"the target's address {shown(address)} is no URL (write https://server.example:8443)")
    secure = url.scheme == "https"
    if not secure and not plain and not is_here(host):
        text = "sends the key readable for all on the way (write https://, or set allow_plain_http: true)"
        raise TargetError(f"the target's address {address} {text}")
    return secure, host, port or (443 if secure else 80), url.path.rstrip("/")


def _is_plain(address: str) -> bool:
    return address.isascii() and address.isprintable() and " " not in address


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _asked_to_wait(answer: HTTPResponse) -> float | None:
    """Seconds that a server asks for which counts calls; None when it says nothing of that."""
    if (after := answer.headers.get("Retry-After")) is not None:
        return _seconds(after)
    reset = answer.headers.get("X-RateLimit-Reset", "")
    if answer.headers.get("X-RateLimit-Remaining") == "0" and reset.isascii() and reset.isdigit():
        return max(float(reset[:12]) - time.time(), 0.0)
    return None


def _seconds(text: str | None) -> float:
    """What a Retry-After says, in seconds from now; 0 when it says nothing."""
    if text is None:
        return 0.0
    if text.isascii() and text.isdigit():
        return float(text[:9])
    with suppress(ValueError):
        return max(email.utils.parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    return 0.0


NONSENSE = (AttributeError, IndexError, KeyError, TypeError, ValueError)  # of what is taken apart


@contextmanager
def making_sense(who: str, what: str) -> Iterator[None]:
    """What was answered is taken apart within: whatever it is, the error is the target's."""
    try:
        yield
    except NONSENSE as error:
        raise nonsense(who, what, error) from None


def nonsense(who: str, what: str, error: Exception) -> TargetError:
    why = f"cannot be read ({dns.first_line(error)})" if isinstance(error, ValueError) else "makes no sense"
    return TargetError(f"what {who} answers about {what} {why}")


def as_json(body: object) -> bytes:
    """As it is sent: without blanks, because some servers limit how much they take."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def as_line(answer: bytes) -> str:
    """An answer as a message shows it: one line that can be printed, not too long, without secrets."""
    text = answer[: 8 * MOST_SAID].decode("utf-8", "replace")
    line = on_one_line(redact(text))
    return (line if len(line) <= MOST_SAID else f"{line[:MOST_SAID]}…") or "(nothing)"
