"""
Passwords that were made for people, until somebody hands them over: encrypted, in `customers/<name>/hand-over.yaml`.

A password is kept here before it is written to a server, so that one that works is never lost; a run that was killed
in between finds it again. The file is in ansible-vault's format like the other secrets, and has the same password.
Inside stands one line for each: which address, on which server, and which revision.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mspctl import hashes, vault
from mspctl.errors import SecretError
from mspctl.kinds import mail
from mspctl.secrets import Secret
from mspctl.vault import Store

FILE = "hand-over.yaml"


class Passwords:
    """What people log in with on one target: from the secrets of their customer, or made here."""

    def __init__(self, store: Store, hand_over: HandOver, target: str) -> None:
        self._store = store
        self._hand_over = hand_over
        self._target = target

    def of(self, customer: str, wanted: Sequence[tuple[str, str]]) -> list[Secret]:
        """One for each (address, what the field `password` of its mailbox says). Raises SecretError."""
        named = [(address, *mail.which_password(said)) for address, said in wanted]
        made = [(address, rev) for address, name, rev in named if not name]
        fresh = iter(self._hand_over.passwords(customer, self._target, made) if made else ())
        return [self._named(customer, address, name) if name else next(fresh) for address, name, _ in named]

    def _named(self, customer: str, address: str, name: str) -> Secret:
        role = f"the password of {address}"
        return self._store.for_customer(customer, {role: name})[role]


class HandOver:
    """The passwords of one repository that wait for their owners."""

    def __init__(self, store: Store) -> None:
        self._root = store.root
        self._password = store.password
        self._lock = threading.Lock()

    def passwords(self, customer: str, target: str, wanted: Sequence[tuple[str, int]]) -> list[Secret]:
        """One for each (address, revision), made now unless it was before; with one change of the file."""
        keys = [f"{address} on {target} rev {rev}" for address, rev in wanted]
        with self._lock, self._opened(customer) as (file, path):
            held = self._read(file, path)
            missing = [key for key in keys if key not in held]
            if missing:
                held |= {key: hashes.made().decode() for key in missing}
                self._write(path, held)
        return [Secret(f"of {key.partition(' ')[0]}", held[key].encode()) for key in keys]

    @contextmanager
    def _opened(self, customer: str) -> Iterator[tuple[str, Path]]:
        """The customer's file, which no other process changes meanwhile."""
        file = f"customers/{customer}/{FILE}"
        try:
            folder = os.open(self._root / "customers" / customer, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            raise SecretError(f"{file} cannot be kept ({error.strerror})") from None
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield file, self._root / file
        finally:
            os.close(folder)

    def _read(self, file: str, path: Path) -> dict[str, str]:
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise SecretError(f"{file} cannot be read ({error.strerror})") from None
        try:
            held = json.loads(vault.decrypt(text, self._key(file), file))
            if not (isinstance(held, dict) and all(isinstance(value, str) for value in held.values())):
                raise ValueError
        except ValueError:
            raise SecretError(f"{file} does not hold what was written there (changed by hand?)") from None
        return held

    def _write(self, path: Path, held: dict[str, str]) -> None:
        """In one step; what stands beside it meanwhile is encrypted too."""
        file = f"{path.parent.name}/{FILE}"
        text = vault.encrypt(json.dumps(held, indent=0, sort_keys=True).encode(), self._key(file))
        draft = path.with_name(f".{FILE}")
        try:
            draft.unlink(missing_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
                opened.write(text)
                opened.flush()
                os.fsync(opened.fileno())
            os.replace(draft, path)
        except OSError as error:
            raise SecretError(f"{file} cannot be written ({error.strerror})") from None

    def _key(self, file: str) -> bytes:
        try:
            return self._password().reveal()
        except SecretError as error:
            raise SecretError(f"{file} keeps passwords that are made, and has no password itself: {error}") from None
