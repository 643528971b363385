"""
One machine, ours or somebody else's: programs that are started there, and files that are read and replaced.

A driver that keeps its state in files of a server (rspamd's maps, a mail log) talks to it through a `Session`, whether
mspctl runs on that server or reaches it over SSH. All of it is `run`: files go through small programs that every Unix
has, so that sudo and SSH need nothing of their own.

Over SSH the host key is pinned in targets.yaml, nothing of the user's own SSH (agent, keys, configuration) is used, and
the private key stays in memory. Arguments are quoted word by word; a secret is never one of them.

    Unreachable   no connection, another host key, or no end within `timeout`
    TargetError   we may not log in, or a program did not do what it was asked
    Stale         a file is not as it was read any more
"""

from __future__ import annotations

import base64
import binascii
import copy
import hashlib
import io
import logging
import os
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import dropwhile
from threading import Thread
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal, Self, cast

from pydantic import BeforeValidator, WithJsonSchema, model_validator

from mspctl.errors import SecretError, Stale, TargetError, Unreachable
from mspctl.fields import Boolean, Model, Port, Seconds, Text, one_line, one_or_many
from mspctl.kinds import shown
from mspctl.secrets import Secret, Secrets, redact

if TYPE_CHECKING:
    import paramiko

_LOG = logging.getLogger(__name__)
_SILENT = logging.getLogger(f"{__name__}.paramiko")  # its threads log with a traceback what we are told anyhow
_SILENT.setLevel(logging.CRITICAL + 1)

MAX_OUTPUT = 64 * 1024 * 1024  # bytes of one program; who wants more reads in parts
MOST_SAID = 300  # characters of what a program complained about
MAX_LINE = 64 * 1024  # bytes
PART = 64 * 1024
# Of host keys, and what the protocol calls their signatures.
_KINDS = {each: [each] for each in ("ssh-ed25519", *(f"ecdsa-sha2-nistp{size}" for size in (256, 384, 521)))}
_KINDS["ssh-rsa"] = ["ssh-rsa", "rsa-sha2-256", "rsa-sha2-512"]


def _host_key(value: object) -> str:
    """Its kind and the key itself; what ssh-keyscan puts before and people behind it is not looked at."""
    text = one_line(value)
    words = [*dropwhile(lambda word: word not in _KINDS, text.split())][:2]
    with suppress(binascii.Error, IndexError):
        if base64.b64decode(words[1], validate=True)[4:].startswith(words[0].encode()):
            return " ".join(words)
    raise ValueError(f"{shown(text)} is not a host key (write it as ssh-keyscan shows it: ssh-ed25519 AAAA…)")


HostKey = Annotated[str, BeforeValidator(_host_key), WithJsonSchema({"type": "string"})]


class Settings(Model):
    """What targets.yaml may say of a driver that works on a machine."""

    via: Literal["ssh", "local"] = "ssh"  # local: mspctl runs on that machine
    user: Text = "root"
    port: Port = 22
    host_key: Annotated[tuple[HostKey, ...], BeforeValidator(one_or_many)] = ()  # one of them must be the machine's
    sudo: Boolean = False  # for each program; it must not ask for a password
    timeout: Seconds = 30  # for connecting, and for each program

    @model_validator(mode="after")
    def _pinned(self) -> Settings:
        if self.via == "ssh" and not self.host_key:
            raise ValueError("ssh needs host_key (ssh-keyscan shows it; compare it on the machine itself)")
        return self


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended, and what it printed."""

    code: int
    out: bytes
    err: bytes

    @property
    def complaint(self) -> str:
        """What it complained about, on one line, shortened and without secrets."""
        text = redact(" ".join((self.err or self.out).decode(errors="replace").split()))
        return text[:MOST_SAID] if text else f"exit code {self.code}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in a folder."""

    name: str
    size: int  # octets
    modified: datetime  # UTC
    inode: int  # stays when the file is renamed


class Session:
    """A connection to the machine. `run` is all that the two ways to reach one differ in."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self.settings = settings

    def run(self, argv: Sequence[str], given: bytes = b"") -> Ran:
        """Start a program and wait for its end; `given` is its standard input, the only way in for a secret."""
        return self._run(self._words(argv), given)

    def _words(self, argv: Sequence[str]) -> list[str]:
        words = [*(("sudo", "-n", "--") if self.settings.sudo else ()), "env", "LC_ALL=C", *argv]
        if any("\0" in word for word in words):
            raise TargetError(f"{self.name}: {argv[0]} cannot be given an argument with a NUL")
        _LOG.debug("%s: running %s", self.name, argv[0])
        return words

    def _run(self, words: Sequence[str], given: bytes) -> Ran:
        raise NotImplementedError

    def lines(
        self, argv: Sequence[str], given: bytes = b"", *, ended: Callable[[Ran], None], longest: int = MAX_LINE
    ) -> Generator[bytes, None, None]:
        """
        The same for a program that prints much: line by line, as they come, without the end of the line; of a longer
        one than `longest` the beginning. How it ended is told to `ended` (`out` is empty). `timeout` is how long it may
        be silent. Who stops before the end, ends it.
        """
        with closing(self._stream(self._words(argv), given, ended)) as parts:
            yield from _in_lines(parts, longest)

    def _stream(self, words: Sequence[str], given: bytes, ended: Callable[[Ran], None]) -> Generator[bytes, None, None]:
        raise NotImplementedError

    def must(self, argv: Sequence[str], given: bytes = b"", *, what: str = "") -> bytes:
        """What a program printed. Raises TargetError, saying `what` it was for, unless it ended with 0."""
        ran = self.run(argv, given)
        if ran.code:
            raise TargetError(f"{self.name}: {what or argv[0]}: {ran.complaint}")
        return ran.out

    # -- files ------------------------------------------------------------------------------------------------

    def read(self, path: str, offset: int = 0) -> bytes | None:
        """A file from an octet on; None when there is no such file."""
        ran = self.run(["sh", "-c", _READ, "sh", path, str(offset + 1)])
        if ran.code == _ABSENT:
            return None
        if ran.code:
            raise TargetError(f"{self.name}: {path} cannot be read: {ran.complaint}")
        return ran.out

    def listed(self, folder: str) -> list[Entry]:
        """The plain files of a folder, by name; none when there is no such folder."""
        said = self.must(["sh", "-c", _LIST, "sh", folder], what=f"{folder} cannot be listed")
        fields = said.decode(errors="surrogateescape").split("\0")
        rows = zip(*[iter(fields)] * 4, strict=False)
        found = (Entry(n, int(size), datetime.fromtimestamp(float(at), UTC), int(inode)) for n, size, at, inode in rows)
        return sorted(found, key=lambda entry: entry.name)

    def write(self, path: str, data: bytes, mode: int = 0o644, owner: str = "") -> None:
        """The file, whole or not at all. It gets its mode, and its `owner` (`user:group`) where one is said."""
        self._put(path, data, mode, owner, "-")

    def replace(self, path: str, before: bytes | None, data: bytes, mode: int = 0o644, owner: str = "") -> None:
        """The same, if the file is as it was read; None: if there is none. Raises Stale."""
        self._put(path, data, mode, owner, _digest(before))

    def remove(self, path: str, before: bytes) -> None:
        """The file goes, if it is as it was read. Raises Stale."""
        self._done(path, self.run(["sh", "-c", _REMOVE, "sh", path, _digest(before)]))

    def _put(self, path: str, data: bytes, mode: int, owner: str, before: str) -> None:
        words = ["sh", "-c", _WRITE, "sh", path, before, str(len(data)), f"{mode:o}", owner]
        self._done(path, self.run(words, data))

    def _done(self, path: str, ran: Ran) -> None:
        if ran.code == _CHANGED:
            raise Stale(f"{self.name}: {path} was changed since it was read")
        if ran.code:
            raise TargetError(f"{self.name}: {path} cannot be written: {ran.complaint}")


_ABSENT, _CHANGED = 71, 72  # exit codes of the scripts below
_READ = f'[ -e "$1" ] || exit {_ABSENT}; exec tail -c "+$2" -- "$1"'
_LIST = '[ ! -d "$1" ] || exec find "$1/." -mindepth 1 -maxdepth 1 -type f -printf "%f\\0%s\\0%T@\\0%i\\0"'
# Whether the file is what it was read as: "-" is no question, "" stands for no file.
_AS_READ = f"""
if [ "$2" != - ]; then
  now=; [ ! -e "$1" ] || now=$(sha256sum <"$1"); now=${{now%% *}}
  [ "$now" = "$2" ] || exit {_CHANGED}
fi
"""
_REMOVE = f'set -e{_AS_READ}rm -f -- "$1"'
# A connection that ends early looks like the end of the input, so the length is counted.
_WRITE = f"""set -e
umask 077
draft=$(mktemp -- "${{1%/*}}/.mspctl.XXXXXXXX")
trap 'rm -f -- "$draft"' EXIT
cat >"$draft"
if [ "$(wc -c <"$draft")" -ne "$3" ]; then echo "cut off" >&2; exit 1; fi
[ -z "$5" ] || chown -- "$5" "$draft"
chmod -- "$4" "$draft"
sync -- "$draft"{_AS_READ}mv -f -- "$draft" "$1"
"""


def _in_lines(parts: Iterable[bytes], longest: int) -> Iterator[bytes]:
    rest, skips = b"", False  # skips: what comes is the end of a line whose beginning was told
    for part in parts:
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            if not skips:
                yield line[:longest]
            skips = False
        if len(rest) > longest:
            if not skips:
                yield rest[:longest]
            rest, skips = b"", True
    if rest and not skips:
        yield rest


def _digest(data: bytes | None) -> str:
    return "" if data is None else hashlib.sha256(data).hexdigest()


# -- here, and over SSH -----------------------------------------------------------------------------------------


class _Here(Session):
    def _run(self, words: Sequence[str], given: bytes) -> Ran:
        try:
            done = subprocess.run(  # noqa: S603  # words of our own, no shell
                words, input=given, capture_output=True, timeout=self.settings.timeout, check=False
            )
        except subprocess.TimeoutExpired:
            raise Unreachable(f"{self.name}: no end within {self.settings.timeout} s") from None
        except OSError as error:
            raise TargetError(f"{self.name}: {words[0]}: {error.strerror}") from None
        if len(done.stdout) > MAX_OUTPUT:
            raise TargetError(f"{self.name}: more than {MAX_OUTPUT} bytes were printed")
        return Ran(done.returncode, done.stdout, done.stderr)

    def _stream(self, words: Sequence[str], given: bytes, ended: Callable[[Ran], None]) -> Generator[bytes, None, None]:
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        try:
            program = subprocess.Popen(words, bufsize=0, start_new_session=True, **pipes)  # noqa: S603
        except OSError as error:
            raise TargetError(f"{self.name}: {words[0]}: {error.strerror}") from None
        to, out, complaints = cast("tuple[IO[bytes], ...]", (program.stdin, program.stdout, program.stderr))
        err = bytearray()
        workers = [
            Thread(target=work, daemon=True)
            for work in (partial(_write_all, to, given), partial(_read_all, complaints, err))
        ]
        for worker in workers:
            worker.start()
        try:
            yield from self._parts(out)
            program.wait(self.settings.timeout)
        except subprocess.TimeoutExpired:
            raise Unreachable(f"{self.name}: no end within {self.settings.timeout} s") from None
        finally:
            if program.poll() is None:
                with suppress(PermissionError):  # sudo
                    os.killpg(program.pid, signal.SIGKILL)  # and whatever it started
            out.close()
            program.wait()
            for worker in workers:
                worker.join(self.settings.timeout)
        ended(Ran(program.returncode, b"", bytes(err)))

    def _parts(self, out: IO[bytes]) -> Iterator[bytes]:
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            while selector.select(self.settings.timeout):
                part = os.read(out.fileno(), PART)
                if not part:
                    return
                yield part
        raise Unreachable(f"{self.name}: silent for {self.settings.timeout} s")


class _OverSsh(Session):
    def __init__(self, name: str, settings: Settings, client: paramiko.SSHClient) -> None:
        super().__init__(name, settings)
        self.client = client

    def _run(self, words: Sequence[str], given: bytes) -> Ran:
        deadline = time.monotonic() + self.settings.timeout
        with self._running(words, given) as (channel, err, workers):
            out = self._output(channel, deadline)
            code = self._ended(channel, workers, deadline)
        return Ran(code, out, bytes(err))

    def _stream(self, words: Sequence[str], given: bytes, ended: Callable[[Ran], None]) -> Generator[bytes, None, None]:
        with self._running(words, given) as (channel, err, workers):
            while part := channel.recv(PART):
                yield part
            code = self._ended(channel, workers, time.monotonic() + self.settings.timeout)
        ended(Ran(code, b"", bytes(err)))

    @contextmanager
    def _running(
        self, words: Sequence[str], given: bytes
    ) -> Iterator[tuple[paramiko.Channel, bytearray, Sequence[Thread]]]:
        """A program, what it complains about so far, and who feeds it and listens to that."""
        transport = self.client.get_transport()
        if transport is None or not transport.is_active():
            raise Unreachable(f"{self.name}: the connection is gone")
        with _translated(self.name, self.settings), transport.open_session(timeout=self.settings.timeout) as channel:
            channel.settimeout(self.settings.timeout)
            channel.exec_command(shlex.join(words))
            err = bytearray()
            workers = [
                Thread(target=work, daemon=True)
                for work in (partial(_feed, channel, given), partial(_drain, channel, err))
            ]
            for worker in workers:
                worker.start()
            yield channel, err, workers

    def _ended(self, channel: paramiko.Channel, workers: Iterable[Thread], deadline: float) -> int:
        if not channel.status_event.wait(max(0.0, deadline - time.monotonic())):
            raise TimeoutError
        for worker in workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        if channel.exit_status < 0:
            raise Unreachable(f"{self.name}: the connection was cut before it was known how a program ended")
        return channel.exit_status

    def _output(self, channel: paramiko.Channel, deadline: float) -> bytes:
        out = bytearray()
        while part := channel.recv(PART):
            out += part
            if len(out) > MAX_OUTPUT:
                raise TargetError(f"{self.name}: more than {MAX_OUTPUT} bytes were printed")
            if time.monotonic() > deadline:
                raise TimeoutError
        return bytes(out)


def _feed(channel: paramiko.Channel, given: bytes) -> None:
    with suppress(OSError):  # it ended without reading all; its exit code says whether that was well
        channel.sendall(given)
        channel.shutdown_write()


def _drain(channel: paramiko.Channel, err: bytearray) -> None:
    with suppress(OSError):
        while part := channel.recv_stderr(PART):
            err += part[: PART - len(err)]


def _write_all(pipe: IO[bytes], given: bytes) -> None:
    with suppress(OSError), pipe:  # it ended without reading all
        left = memoryview(given)
        while left:
            left = left[os.write(pipe.fileno(), left[:PART]) :]


def _read_all(pipe: IO[bytes], err: bytearray) -> None:
    with suppress(OSError), pipe:
        while part := os.read(pipe.fileno(), PART):
            err += part[: PART - len(err)]


class Machine:
    """How a machine is reached. Nothing is asked, and no secret looked up, before the first session."""

    def __init__(self, address: str, settings: Settings, secrets: Secrets) -> None:
        self.address = address
        self.settings = settings
        self.secrets = secrets

    def within(self, timeout: int) -> Self:
        """The same machine, of which nothing may take longer than so many seconds."""
        other = copy.copy(self)
        other.settings = self.settings.model_copy(update={"timeout": min(timeout, self.settings.timeout)})
        return other

    @contextmanager
    def session(self) -> Iterator[Session]:
        if self.settings.via == "local":
            yield _Here("this machine", self.settings)
            return
        if not self.address:
            raise TargetError("it has no address in inventory/targets.yaml, and SSH needs one")
        name = f"{self.settings.user}@{self.address}"
        client = self._client(name)
        try:
            yield _OverSsh(name, self.settings, client)
        finally:
            client.close()

    def _client(self, name: str) -> paramiko.SSHClient:
        try:
            import paramiko
        except ModuleNotFoundError:
            raise TargetError("paramiko is not installed (pip install 'mspctl[ssh]')") from None
        said, proof = self.settings, self._proof()
        client = paramiko.SSHClient()
        client.set_log_channel(_SILENT.name)
        client.set_missing_host_key_policy(_pinned(said.host_key))
        # The server shows one key only: of a kind that is pinned.
        kinds = {line.partition(" ")[0] for line in said.host_key}
        others = [name for kind, names in _KINDS.items() if kind not in kinds for name in names]
        try:
            with _translated(name, said):
                client.connect(
                    self.address, said.port, said.user, timeout=said.timeout, banner_timeout=said.timeout,
                    auth_timeout=said.timeout, allow_agent=False, look_for_keys=False,
                    disabled_algorithms={"keys": others}, **proof,
                )  # fmt: skip
        except BaseException:
            client.close()
            raise
        return client

    def _proof(self) -> dict[str, Any]:
        """Who we are: a private key, else a password."""
        if "ssh_key" in self.secrets:
            return {"pkey": _private_key(self.secrets["ssh_key"])}
        return {"password": self.secrets["ssh_password"].reveal_text()}


def _pinned(keys: Sequence[str]) -> paramiko.MissingHostKeyPolicy:
    import paramiko

    class Pinned(paramiko.MissingHostKeyPolicy):
        def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
            shown = f"{key.get_name()} {key.get_base64()}"
            if shown not in keys:
                raise paramiko.SSHException(f"shows another host key than targets.yaml pins: {shown}")

    return Pinned()


def _private_key(secret: Secret) -> paramiko.PKey:
    import paramiko

    text = secret.reveal_text()
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        with suppress(paramiko.SSHException, ValueError, IndexError):
            return kind.from_private_key(io.StringIO(text))
    raise SecretError(f"secret {secret.name} is not a private key for SSH without a passphrase")


@contextmanager
def _translated(name: str, settings: Settings) -> Iterator[None]:
    import paramiko

    try:
        yield
    except TimeoutError:
        raise Unreachable(f"{name}: no end within {settings.timeout} s") from None
    except paramiko.AuthenticationException:
        raise TargetError(f"{name}: the server does not accept our key or password") from None
    except paramiko.SSHException as error:
        raise Unreachable(f"{name}: {_first_line(error)}") from None
    except OSError as error:
        raise Unreachable(f"{name}: {error.strerror or _first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return redact((str(error).splitlines() or [type(error).__name__])[0][:MOST_SAID])
