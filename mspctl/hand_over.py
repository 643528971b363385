"""
Passwords that were made for people, until somebody hands them over: encrypted, in `customers/<name>/hand-over.yaml`.

A password is kept here before it is written to a server, so that one that works is never lost; a run that was killed
in between finds it again. It goes when somebody has been shown it, with one write that also says who got it. The file
is in ansible-vault's format like the other secrets, and has the same password. Inside stands JSON: under `waiting` one
line for each password (which address, on which server, which revision), under `handed_over` who got which, and when.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

from mspctl import hashes
from mspctl.errors import SecretError
from mspctl.kinds import mail
from mspctl.secrets import Secret
from mspctl.vault import Store, VaultFile

FILE = "hand-over.yaml"

_KEY = re.compile(r"(\S+@\S+) on (\S+) rev ([1-9]\d{0,3})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Made:
    """Which password."""

    address: str
    target: str
    rev: int

    def __str__(self) -> str:
        return f"{self.address} on {self.target} rev {self.rev}"

    @classmethod
    def parse(cls, text: str) -> Made:
        found = _KEY.fullmatch(text)
        if not found:
            raise ValueError
        return cls(found[1], found[2], int(found[3]))


@dataclass(frozen=True, slots=True)
class HandedOver:
    """Who was given a password, without the password."""

    what: str  # "paolo@acme.example on mail-1 rev 1"
    to: str
    by: str
    when: str  # "2027-03-05 14:02 UTC"


@dataclass(slots=True)
class _Held:
    """What the file holds."""

    waiting: dict[str, str] = field(default_factory=dict)  # which → the password
    handed_over: list[HandedOver] = field(default_factory=list)


class Passwords:
    """What people log in with on one target: from the secrets of their customer, or made here."""

    def __init__(self, store: Store, hand_over: HandOver, target: str) -> None:
        self._store = store
        self._hand_over = hand_over
        self._target = target

    def of(self, customer: str, wanted: Sequence[tuple[str, str]]) -> list[Secret]:
        """One for each (address, what the field `password` of its mailbox says). Raises SecretError."""
        named = [(address, *mail.which_password(said)) for address, said in wanted]
        made = [Made(address, self._target, rev) for address, name, rev in named if not name]
        fresh = iter(self._hand_over.passwords(customer, made) if made else ())
        return [self._named(customer, address, name) if name else next(fresh) for address, name, _ in named]

    def _named(self, customer: str, address: str, name: str) -> Secret:
        role = f"the password of {address}"
        secret = self._store.for_customer(customer, {role: name})[role]
        if any(octet < 32 or octet == 127 for octet in secret.reveal()):
            text = "holds a line break or another control character, which nobody can type"
            raise SecretError(f"secret {name} ({role}) {text} (is it one from the end of a file?)")
        return secret


class HandOver:
    """The passwords of one repository that wait for their owners."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def passwords(self, customer: str, wanted: Sequence[Made]) -> list[Secret]:
        """One for each, made now unless it was before; with one change of the file. Raises SecretError."""
        file = self._file(customer)
        with file.alone():
            held = _read(file)
            missing = [str(one) for one in wanted if str(one) not in held.waiting]
            if missing:
                held.waiting |= {key: hashes.made().decode() for key in missing}
                _write(file, held)
        return [_secret(one, held) for one in wanted]

    def waiting(self, customer: str) -> list[Made]:
        """Those that nobody was given yet."""
        return sorted(map(Made.parse, _read(self._file(customer)).waiting))

    def past(self, customer: str) -> list[HandedOver]:
        """Those that somebody was given, the oldest first."""
        return _read(self._file(customer)).handed_over

    def password(self, customer: str, one: Made) -> Secret:
        """One that waits. It goes on waiting until it is forgotten. Raises SecretError."""
        return _secret(one, _read(self._file(customer)))

    def forget(self, customer: str, one: Made, shown: Secret | None, to: str, by: str, now: datetime) -> None:
        """
        It was handed over, and older ones of the same address are worth nothing. `shown` is what was seen (None: it
        was not): when something else waits by now, or nothing, somebody else was quicker and SecretError says so.
        """
        file = self._file(customer)
        with file.alone():
            held = _read(file)
            if str(one) not in held.waiting or (shown and not shown.matches(held.waiting[str(one)].encode())):
                raise SecretError(f"somebody else took the password of {one} meanwhile (a new rev makes a new one)")
            older = [key for key in held.waiting if _is_older(Made.parse(key), one)]
            for key in (*older, str(one)):
                del held.waiting[key]
            held.handed_over.append(HandedOver(str(one), to, by, f"{now:%Y-%m-%d %H:%M} {now.tzname()}"))
            _write(file, held)

    def _file(self, customer: str) -> VaultFile:
        return self._store.file(f"customers/{customer}/{FILE}")


def _is_older(one: Made, than: Made) -> bool:
    return (one.address, one.target) == (than.address, than.target) and one.rev < than.rev


def _secret(one: Made, held: _Held) -> Secret:
    if str(one) not in held.waiting:
        raise SecretError(f"the password of {one} does not wait any more")
    return Secret(f"of {one.address}", held.waiting[str(one)].encode())


def _read(file: VaultFile) -> _Held:
    plain = file.read()
    if not plain and not file.exists():
        return _Held()
    try:
        said = json.loads(plain)
        held = _Held(dict(said["waiting"]), [HandedOver(**each) for each in said["handed_over"]])
        if not all(Made.parse(key) and isinstance(word, str) for key, word in held.waiting.items()):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SecretError(f"{file.name} does not hold what was written there (changed by hand?)") from None
    return held


def _write(file: VaultFile, held: _Held) -> None:
    file.write(json.dumps(asdict(held), indent=0, sort_keys=True, ensure_ascii=False).encode())
