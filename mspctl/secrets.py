r"""
Secrets by name, found late and kept out of everything that is written down.

YAML names a secret (`secrets: {api_key: PDNS_1_API_KEY}`: the role a driver asks for, and the name it is kept
under) and never holds one. Nothing is looked up before a driver asks, so a plan that needs no secret opens nothing.
For NAME we take the first value that is not empty from

1. the environment variable `MSPCTL_SECRET_NAME`. The prefix is there so that YAML cannot name what else a CI job has
   in its environment (its own tokens, the vault's password) and have it sent to a target. A secret that a CI system
   does not have arrives as an empty variable, so empty means not set;
2. the file that `MSPCTL_SECRET_NAME_FILE` names (Docker, Kubernetes), then `$CREDENTIALS_DIRECTORY/NAME` (systemd's
   `LoadCredential=`). Exactly one "\n" at the end is taken off, because editors and `echo` put one there;
3. the vault, one encrypted file: see `mspctl.vault`.

A secret may say where it may be sent, beside its value and so out of reach of who can only change YAML: in the vault,
or in `MSPCTL_SECRET_NAME_BOUND_TO`, addresses with blanks between them. A target that has another address by now does
not get it, whoever merged that.

A secret is bytes from end to end. Once it was revealed, `redact` and `RedactingFilter` blank it out of texts and logs.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import html
import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn, Protocol, final
from urllib.parse import quote, quote_plus

from mspctl.errors import SecretError

# For fullmatch; what says where the file of X is, or where X may go, is no name itself.
NAME = re.compile(r"(?!.*_(?:FILE|BOUND_TO)\Z)[A-Z][A-Z0-9_]*")
PREFIX = "MSPCTL_SECRET_"
MAX_BYTES = 1024 * 1024  # of a secret in a file
SHORTEST = 4  # bytes and characters; blanking out less would leave no text readable
_LONG_LINE = 16  # characters; from here on a line of a longer secret (a private key) is blanked out by itself


@final
class Secret:
    """
    A value that shows itself to `reveal` alone: printed, formatted or logged it reads `<secret NAME>`.

    It cannot be pickled, copied or turned into JSON. It equals itself, so that objects that hold it can still be
    compared; otherwise `==` raises TypeError, because a quiet False hides a mistake and an ordinary comparison tells
    by its time how much was right. The value is in a closure: whoever lists attributes finds a function.
    """

    __slots__ = ("_value", "bound_to", "name")

    def __init__(self, name: str, value: bytes, bound_to: Iterable[str] = ()) -> None:
        if not isinstance(value, bytes):
            raise TypeError(f"secret {name} must be bytes, not {type(value).__name__}")
        self.name = name
        self.bound_to = frozenset(bound_to)  # addresses; none: nobody said
        self._value: Callable[[], bytes] = lambda: value

    def reveal(self) -> bytes:
        """The value itself. From here on `redact` knows it."""
        value = self._value()
        _revealed.add(self.name, value)
        return value

    def reveal_text(self) -> str:
        """The value as text. Raises SecretError when it is not UTF-8; the usual error would carry the value along."""
        with contextlib.suppress(UnicodeDecodeError):
            return self.reveal().decode()
        raise SecretError(f"secret {self.name} is not UTF-8 text")

    def matches(self, other: bytes) -> bool:
        """Equality that takes as long wherever the difference is."""
        return hmac.compare_digest(self._value(), other)

    def __repr__(self) -> str:
        return f"<secret {self.name}>"

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        raise TypeError(f"{self!r} is not compared with == (use matches)")

    __hash__ = object.__hash__

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{self!r} is not pickled or copied (pass its name on)")

    def __getstate__(self) -> NoReturn:
        self.__reduce_ex__(None)


class Source(Protocol):
    """One place where secrets are kept."""

    def find(self, name: str) -> Secret | None:
        """None when this place has no such secret. Raises SecretError when it cannot be looked into."""

    def where(self, name: str) -> str:
        """This place, to follow "looked in"."""


class Secrets:
    """The secrets of one target or customer, by role."""

    __slots__ = ("_addresses", "_names", "_owner", "_sources")

    def __init__(
        self,
        names: Mapping[str, str],
        sources: Iterable[Source] = (),
        owner: str = "",
        addresses: Iterable[str] = (),
    ) -> None:
        """`addresses` are those at which the owner is reached."""
        self._names = dict(names)
        self._sources = tuple(sources)
        self._owner = owner or "this target"  # "pdns-1": for messages
        self._addresses = frozenset(addresses)

    @classmethod
    def given(cls, values: Mapping[str, bytes], owner: str = "") -> Secrets:
        """Values by role, kept in memory: for tests."""
        names = {role: role.upper() for role in values}
        return cls(names, [Given({names[role]: value for role, value in values.items()})], owner)

    def __getitem__(self, role: str) -> Secret:
        """Looked up now. Raises SecretError."""
        if role not in self._names:
            raise SecretError(f"{self._owner} names no secret for {role} (add secrets: {{{role}: NAME}})")
        name = self._names[role]
        asked = f"secret {name} ({role} of {self._owner})"
        if not NAME.fullmatch(name):
            raise SecretError(f"{asked} cannot be called so (use A-Z, 0-9 and _, and not _FILE at the end)")
        for source in self._sources:
            if found := _find(source, name, asked):
                self._check(found, role, asked)
                return found
        looked = ", ".join(source.where(name) for source in self._sources) or "no place at all"
        raise SecretError(f"{asked} is not set: looked in {looked}")

    def _check(self, found: Secret, role: str, asked: str) -> None:
        """Raises SecretError for a secret that is not to be sent where the owner is now."""
        if not found.bound_to or (self._addresses and self._addresses <= found.bound_to):
            return
        bound = ", ".join(sorted(found.bound_to))
        if not self._addresses:
            raise SecretError(f"{asked} is bound to {bound}, and not for this")
        new = ", ".join(sorted(self._addresses - found.bound_to))
        again = f"mspctl secret bind -t {self._owner} {role}"
        raise SecretError(f"{asked} is bound to {bound}, and is not sent to {new} (if that is right: {again})")

    def __contains__(self, role: object) -> bool:
        """Whether a name is declared for the role. Opens nothing."""
        return role in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __repr__(self) -> str:
        return f"<secrets of {self._owner}: {', '.join(f'{role}={name}' for role, name in self._names.items())}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{self!r} are not pickled or copied (pass the names on)")


def _find(source: Source, name: str, asked: str) -> Secret | None:
    try:
        found = source.find(name)
    except SecretError as error:
        raise SecretError(f"{asked}: {error}") from None
    return None if found is None or found.matches(b"") else found


class Given:
    """Secrets in memory."""

    def __init__(self, values: Mapping[str, bytes]) -> None:
        self._values = {name: Secret(name, value) for name, value in values.items()}

    def find(self, name: str) -> Secret | None:
        return self._values.get(name)

    def where(self, name: str) -> str:
        return "what was given"


class Environment:
    """Variables, and the files they name. A file is read once, because `<(command)` gives its output only once."""

    def __init__(self, environ: Mapping[bytes, bytes] | None = None) -> None:
        self._environ = os.environb if environ is None else environ
        self._files: dict[tuple[str, Path], Secret] = {}
        self._lock = threading.Lock()

    def find(self, name: str) -> Secret | None:
        variable = f"{PREFIX}{name}".encode()
        bound = os.fsdecode(self._environ.get(variable + b"_BOUND_TO", b"")).split()
        if value := self._environ.get(variable):
            return Secret(name, value, bound)
        if named := self._environ.get(variable + b"_FILE"):
            return self._read(name, Path(os.fsdecode(named)), bound)
        if directory := self._environ.get(b"CREDENTIALS_DIRECTORY"):
            path = Path(os.fsdecode(directory), name)
            return self._read(name, path, bound) if os.path.lexists(path) else None
        return None

    def where(self, name: str) -> str:
        variables = f"the environment ({PREFIX}{name}, {PREFIX}{name}_FILE)"
        return f"{variables}, $CREDENTIALS_DIRECTORY" if b"CREDENTIALS_DIRECTORY" in self._environ else variables

    def _read(self, name: str, path: Path, bound: Iterable[str]) -> Secret:
        with self._lock:
            if (name, path) not in self._files:
                self._files[name, path] = Secret(name, read_secret(path), bound)
            return self._files[name, path]


def read_secret(path: Path) -> bytes:
    r"""A file without the one "\n" at its end. Raises SecretError."""
    try:
        with path.open("rb") as file:
            value = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SecretError(f"{path} cannot be read ({error.strerror})") from None
    if len(value) > MAX_BYTES:
        raise SecretError(f"{path} is larger than {MAX_BYTES // 1024} KiB, too large for a secret")
    return value.removesuffix(b"\n")


class Redactor:
    """Knows values in the spellings in which they turn up, and blanks them out of texts."""

    def __init__(self) -> None:
        self._known: dict[bytes, str] = {}
        self._tags: dict[str, tuple[tuple[str, str], ...]] = {}  # first characters → (spelling, tag), longest first
        self._lock = threading.Lock()

    def add(self, name: str, value: bytes) -> None:
        if value in self._known:
            return
        with self._lock:
            for spelling in spellings(value):
                start = spelling[:SHORTEST]
                tags = (*self._tags.get(start, ()), (spelling, f"<secret {name}>"))
                self._tags[start] = tuple(sorted(tags, key=lambda tag: -len(tag[0])))
            self._known[value] = name

    def redact(self, text: str) -> str:
        """In one pass, however many secrets there are; where values overlap in the text, all of them are covered."""
        parts: list[str] = []
        done = 0  # the text before this is in parts
        for at in range(len(text) - SHORTEST + 1 if self._tags else 0):
            for spelling, tag in self._tags.get(text[at : at + SHORTEST], ()):
                end = at + len(spelling)
                if end > done and text.startswith(spelling, at):
                    parts += text[done:at], tag
                    done = end
                    break
        return "".join((*parts, text[done:]))


_revealed = Redactor()


def redact(text: str) -> str:
    """The text with every value that this process revealed replaced by `<secret NAME>`."""
    return _revealed.redact(text)


class RedactingFilter(logging.Filter):
    """
    Blanks secrets out of a record: message, arguments, exception, stack, and texts given as `extra`.

    It belongs on every handler. A logger's own filter does not see what its children log.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = _message(record), None
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_info = None  # the text stands in for it: a formatter of its own would print the values
        for key, value in vars(record).items():
            if isinstance(value, str):
                setattr(record, key, redact(value))
        return True


def _message(record: logging.LogRecord) -> str:
    """As logging would put it together; on a mistake without the arguments, which logging prints to stderr as is."""
    with contextlib.suppress(Exception):
        return record.getMessage()
    return f"{record.msg if isinstance(record.msg, str) else type(record.msg)} (its arguments do not fit)"


def spellings(value: bytes) -> frozenset[str]:
    """
    The texts that give a value away: as it is, quoted and escaped, in URLs, base64 and hex, and line by line.

    Values shorter than 4 bytes (blanks around them not counted) have none, and no spelling is shorter than 4
    characters. base64 is recognised inside longer base64 too (a password in Basic authentication), except for the
    bits that share a character with their neighbours. What is broken into lines afterwards is not recognised.
    """
    found: set[str] = set()
    for raw in {value, value.strip()} if len(value.strip()) >= SHORTEST else ():
        text = raw.decode("utf-8", "surrogateescape")
        for spelled in (text, raw.decode("utf-8", "backslashreplace"), raw.decode("latin-1")):
            found |= _quoted(spelled)
        found |= _in_urls(raw) | _in_base64(raw) | {raw.hex(), raw.hex().upper()}
        found |= {repr(raw)[2:-1], repr(raw + b"'\"")[2:-4]}
        found |= {line for line in text.splitlines() if len(line) >= _LONG_LINE and not line.startswith("-----")}
    return frozenset(spelling for spelling in found if len(spelling) >= SHORTEST)


def _quoted(text: str) -> set[str]:
    """Python, JSON, HTML, SQL and shell. Python escapes a ' only where a \" stands too, so it is asked both ways."""
    escaped = html.escape(text)
    return {
        text,
        *(spell(text)[1:-1] for spell in (repr, ascii, json.dumps)),
        *(spell(text + "'\"")[1:-4] for spell in (repr, ascii)),
        json.dumps(text, ensure_ascii=False)[1:-1],
        escaped,
        html.escape(text, quote=False),
        escaped.replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
        text.replace("'", "''"),
        text.replace("'", "'\"'\"'"),
    }


def _in_urls(raw: bytes) -> set[str]:
    """Programs differ in what they leave as it is, and in the case of the hex digits."""
    found = {quote(raw, safe) for safe in ("", "/", "!'()*", "!$&'()*+,;=", "!$&'()*+,;=:@/")} | {quote_plus(raw)}
    return found | {re.sub("%..", lambda code: code[0].lower(), text) for text in found}


def _in_base64(raw: bytes) -> set[str]:
    found: set[str] = set()
    for before in range(3):  # bytes in front of it, modulo 3, decide which characters it becomes
        text = base64.b64encode(bytes(before) + raw).decode()[(0, 2, 3)[before] :]
        bare = text.rstrip("=")
        followed = bare[:-1] if text != bare else bare  # its last character changes with what follows
        found |= {text, bare, followed}
    return found | {text.replace("+", "-").replace("/", "_") for text in found}
