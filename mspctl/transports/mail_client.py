"""
Mail handed in by SMTP and read by IMAP, as other servers and mail programs do it.

Certificates are always verified; without TLS nobody but this machine is talked to (the settings see to that). Each
answer has a timeout, and what a server says is shown on one line, shortened and without secrets.
"""

from __future__ import annotations

import base64
import imaplib
import re
import smtplib
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Literal

from mspctl.errors import TargetError, Unreachable
from mspctl.secrets import Secret
from mspctl.transports.http import as_line

TIMEOUT = 20.0  # seconds, of each answer
PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)  # seconds between two looks into a mailbox; the last one again and again
MAX_MESSAGE = 2**20  # bytes; ours are small, and become a little larger on their way

_FOLDER = re.compile(rb'\((?P<flags>[^)]*)\) (?:"[^"]*"|NIL) (?P<name>.+)')


@dataclass(frozen=True, slots=True)
class Server:
    """Where a service is."""

    host: str
    port: int
    tls: Literal["starttls", "tls", "none"]
    ca: Path | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.ca)
        except OSError as error:
            raise TargetError(f"{self.ca} cannot be used ({error.strerror or error})") from None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of an SMTP server."""

    code: int
    said: str

    def __str__(self) -> str:
        return f"{self.code} {self.said}"

    @property
    def taken(self) -> bool:
        return 200 <= self.code < 300

    @property
    def refused(self) -> bool:
        """For good; 4xx means that somebody should ask again later."""
        return 500 <= self.code < 600


@contextmanager
def _translated(server: Server) -> Iterator[None]:
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise Unreachable(f"{server} has no certificate that is trusted ({error.verify_message})") from None
    except TimeoutError:
        raise Unreachable(f"{server} gives no answer within {TIMEOUT:g} s") from None
    except smtplib.SMTPNotSupportedError as error:
        raise TargetError(f"{server} cannot do what is needed ({as_line(str(error).encode())})") from None
    except smtplib.SMTPResponseException as error:
        raise TargetError(f"{server} answers {_reply(error.smtp_code, error.smtp_error)}") from None
    except smtplib.SMTPServerDisconnected:
        raise Unreachable(f"{server} broke off") from None
    except imaplib.IMAP4.abort as error:
        raise Unreachable(f"{server} broke off ({as_line(str(error).encode())})") from None
    except (smtplib.SMTPException, imaplib.IMAP4.error) as error:
        raise TargetError(f"{server} says: {as_line(str(error).encode())}") from None
    except (OSError, EOFError) as error:
        raise Unreachable(f"{server} cannot be reached ({getattr(error, 'strerror', None) or error})") from None


# -- SMTP -------------------------------------------------------------------------------------------------------


class Smtp:
    """A session with one server."""

    def __init__(self, server: Server, client: smtplib.SMTP) -> None:
        self._server = server
        self._client = client

    @classmethod
    @contextmanager
    def open(cls, server: Server) -> Iterator[Smtp]:
        with _translated(server):
            client = _smtp(server)
        try:
            yield cls(server, client)
        finally:
            with suppress(smtplib.SMTPException, OSError):
                client.quit()

    def login(self, user: str, password: Secret) -> None:
        with _translated(self._server):
            if "PLAIN" not in self._client.esmtp_features.get("auth", "").upper().split():
                raise TargetError(f"{self._server} does not offer to log in with a password (AUTH PLAIN)")
            reply = _reply(*self._client.docmd("AUTH", f"PLAIN {base64.b64encode(_plain(user, password)).decode()}"))
            if not reply.taken:
                raise TargetError(f"{self._server} does not let {user} in: {reply}")

    def offered(self, sender: str, recipient: str) -> Reply:
        """What it says to a message from and to somebody, which is then never sent."""
        with _translated(self._server):
            reply = self._named(sender, recipient)
            self._client.rset()
            return reply

    def sent(self, sender: str, recipient: str, message: bytes) -> Reply:
        """What became of a message."""
        with _translated(self._server):
            reply = self._named(sender, recipient)
            if not reply.taken:
                self._client.rset()
                return reply
            try:
                return _reply(*self._client.data(message))
            except smtplib.SMTPDataError as error:
                return _reply(error.smtp_code, error.smtp_error)

    def _named(self, sender: str, recipient: str) -> Reply:
        code, said = self._client.mail(sender)
        return _reply(*self._client.rcpt(recipient)) if code == 250 else _reply(code, said)


def _smtp(server: Server) -> smtplib.SMTP:
    # Named for now, so that nobody is asked for the name of this machine; its address follows.
    if server.tls == "tls":
        client: smtplib.SMTP = smtplib.SMTP_SSL(
            server.host, server.port, local_hostname="localhost", timeout=TIMEOUT, context=server.context
        )
    else:
        client = smtplib.SMTP(server.host, server.port, local_hostname="localhost", timeout=TIMEOUT)
    try:
        ip = client.sock.getsockname()[0]  # type: ignore[union-attr]
        client.local_hostname = f"[IPv6:{ip}]" if ":" in ip else f"[{ip}]"
        if server.tls == "starttls":
            client.starttls(context=server.context)
        client.ehlo_or_helo_if_needed()
    except BaseException:
        client.close()
        raise
    return client


def _reply(code: int, said: bytes | str) -> Reply:
    return Reply(code, as_line(said.encode() if isinstance(said, str) else said))


# -- IMAP -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """A message in a mailbox."""

    folder: str
    is_junk: bool
    uid: str
    content: bytes


class Imap:
    """A session with one mailbox."""

    def __init__(self, server: Server, client: imaplib.IMAP4) -> None:
        self._server = server
        self._client = client

    @classmethod
    @contextmanager
    def open(cls, server: Server, user: str, password: Secret) -> Iterator[Imap]:
        with _translated(server):
            client = _imap(server)
        try:
            with _translated(server):
                try:
                    client.authenticate("PLAIN", lambda challenge: _plain(user, password))
                except client.abort:
                    raise
                except client.error as error:
                    raise TargetError(f"{server} does not let {user} in: {as_line(str(error).encode())}") from None
            yield cls(server, client)
        finally:
            with suppress(imaplib.IMAP4.error, OSError):
                client.logout()  # and closes

    @cached_property
    def folders(self) -> Mapping[str, bool]:
        """Where mail comes in, as the server spells it: the inbox, and where spam goes (True)."""
        with _translated(self._server):
            _, lines = self._client.list()
        found = [_FOLDER.fullmatch(line) for line in lines if isinstance(line, bytes)]
        junk = [match["name"].decode("ascii", "replace") for match in found if match and _is_junk(match)]
        return {"INBOX": False} | dict.fromkeys(junk, True)

    def awaited(self, message_id: str, until: float) -> Found | None:
        """A message, as soon as it is there; None when it is not by then, on the monotonic clock."""
        pauses = iter(PAUSES)
        while (found := self.found(message_id)) is None and (left := until - time.monotonic()) > 0:
            time.sleep(min(next(pauses, PAUSES[-1]), left))
        return found

    def found(self, message_id: str) -> Found | None:
        with _translated(self._server):
            for folder, is_junk in self.folders.items():
                for uid in self._uids(folder, "HEADER", "Message-ID", f'"{message_id}"'):
                    return Found(folder, is_junk, uid, self._content(uid))
        return None

    def remove(self, message: Found) -> None:
        """For good, and no other one."""
        with _translated(self._server):
            self._client.select(message.folder)
            self._removed(message.uid)

    def sweep(self, part: str, before: date) -> int:
        """Remove messages that came before a day and in whose Message-ID something stands; how many there were."""
        count = 0
        with _translated(self._server):
            for folder in self.folders:
                for uid in self._uids(folder, "HEADER", "Message-ID", f'"{part}"', "BEFORE", _day(before)):
                    self._removed(uid)
                    count += 1
        return count

    def _removed(self, uid: str) -> None:
        self._client.uid("STORE", uid, "+FLAGS.SILENT", r"(\Deleted)")
        if self._can_name_what_goes:
            self._client.uid("EXPUNGE", uid)
        else:
            self._client.expunge()

    @cached_property
    def _can_name_what_goes(self) -> bool:
        """Else all that is marked as deleted goes along. What a server can is asked anew once we are in."""
        _, said = self._client.capability()
        return b"UIDPLUS" in b" ".join(part for part in said if part).upper().split()

    def _uids(self, folder: str, *criteria: str) -> list[str]:
        said, _ = self._client.select(folder)
        if said != "OK":
            return []
        said, found = self._client.uid("SEARCH", *criteria)
        return found[0].decode().split() if said == "OK" and found and found[0] else []

    def _content(self, uid: str) -> bytes:
        _, parts = self._client.uid("FETCH", uid, f"(BODY.PEEK[]<0.{MAX_MESSAGE}>)")
        return next((part[1] for part in parts if isinstance(part, tuple)), b"")


def _imap(server: Server) -> imaplib.IMAP4:
    if server.tls == "tls":
        return imaplib.IMAP4_SSL(server.host, server.port, ssl_context=server.context, timeout=TIMEOUT)
    client = imaplib.IMAP4(server.host, server.port, timeout=TIMEOUT)
    try:
        if server.tls == "starttls":
            client.starttls(server.context)
    except BaseException:
        client.shutdown()
        raise
    return client


def _is_junk(match: re.Match[bytes]) -> bool:
    return b"\\Junk" in match["flags"] or match["name"].strip(b'"').lower() in (b"junk", b"spam")


def _plain(user: str, password: Secret) -> bytes:
    """What PLAIN sends (RFC 4616); octets, for passwords need not be ASCII."""
    return b"\0%b\0%b" % (user.encode(), password.reveal())


def _day(day: date) -> str:
    """As IMAP writes it, whatever the language of this machine."""
    months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
    return f"{day.day}-{months[day.month - 1]}-{day.year}"


def headers(message: bytes, name: str) -> Sequence[str]:
    """All headers of a name, in their order, unfolded."""
    import email
    import email.policy

    parsed = email.message_from_bytes(message, policy=email.policy.compat32)
    return [" ".join(str(value).split()) for value in parsed.get_all(name, [])]
