"""
Whole configurations of devices, kept on the Git branch `archive`: encrypted versions, and a page for each device.

A configuration holds secrets, so nothing of it is ever in clear here. It is sealed with age for the keys of
inventory/archive.yaml: who archives needs none of them, and any one of them opens it. Whether something changed is told
by a digest that is slow to make and salted for each device, so that nobody tries passwords on it.

The branch is bounded: a version is kept only when something changed, of each device the newest `keep`, and of how the
branch came to be nothing that is long over.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from mspctl.document import Object, a_list, an_object, line, list_of, members, object_of, scope_from_json, text, to_json
from mspctl.driver import Configuration
from mspctl.errors import LedgerError, SecretError
from mspctl.git.branch import Edit
from mspctl.git.cache import Cache
from mspctl.git.commit import Stamp
from mspctl.ledger import trailers
from mspctl.ledger_page import path_of
from mspctl.record import Run
from mspctl.resource import Scope
from mspctl.secrets import Secret

FORMAT = 1
LONGEST = 200  # commits; then how the files came to be is dropped
README = b"""\
This branch holds whole configurations of devices, each encrypted with age for the keys in inventory/archive.yaml.

    mspctl show --config CUSTOMER SITE          what is kept of one
    age --decrypt -i KEY FILE.age | gunzip      by hand: a document of JSON, in which parts are base64
"""
_MARK = "AGE-SECRET-KEY-"


@dataclass(frozen=True, slots=True)
class Version:
    """One configuration, as long as it stayed the same."""

    taken: datetime
    digest: str
    octets: int  # encrypted
    keys: Mapping[str, str]  # who can open it: name → public key

    @property
    def name(self) -> str:
        return f"{self.taken.astimezone(UTC):%Y%m%dT%H%M%SZ}-{self.digest[:8]}.age"


@dataclass(frozen=True, slots=True)
class Page:
    """What is kept of one device; the newest version comes last."""

    scope: Scope
    seen: datetime  # when it was read last, changed or not
    salt: str
    versions: tuple[Version, ...] = ()

    def at(self, moment: datetime | None) -> int:
        """Which version stood at a moment; None: the newest. Raises LookupError."""
        found = [n for n, version in enumerate(self.versions) if moment is None or version.taken <= moment]
        if not found:
            raise LookupError
        return found[-1]


Keys = Mapping[str, str]  # name → public key of age
Parts = Mapping[str, bytes]


class Archive:
    """One repository's archive, as it was fetched."""

    def __init__(self, root: Path) -> None:
        self.branch = Cache(root, "archive")

    @classmethod
    def fetched(cls, root: Path) -> Archive:
        """Raises LedgerError when it cannot be fetched."""
        found = cls(root)
        found.branch.sync()
        return found

    def pages(self, scopes: Iterable[Scope]) -> dict[Scope, Page]:
        """Those there are; what cannot be understood is as good as not there."""
        files = self.branch.paths()
        blobs = {scope: files[path] for scope, path in ((s, path_of(s)) for s in scopes) if path in files}
        contents = self.branch.read(blobs.values())
        found = ((scope, parsed(contents[blob])) for scope, blob in blobs.items())
        return {scope: page for scope, page in found if page is not None and page.scope == scope}

    def sealed(self, scope: Scope, version: Version) -> bytes:
        """A version, as it is kept. Raises LedgerError."""
        blob = self.branch.paths().get(_file(scope, version))
        if blob is None:
            raise LedgerError(f"the archive is damaged: {_file(scope, version)} is missing")
        return self.branch.read([blob])[blob]

    def record(
        self, run: Run, taken: Collection[Configuration], keys: Keys, keep: int, now: datetime
    ) -> dict[Scope, bool]:
        """
        Keep what was read, in one commit, and publish it; by scope, whether something changed since the last time.

        Raises LedgerError when it cannot be published, SecretError when a key is none.
        """
        before = self.pages([each.scope for each in taken])
        edits: dict[str, Edit] = {"README.md": partial(_always, README)}
        changed = {}
        for each in taken:
            page, sealed = _page(each, before.get(each.scope), keys, now)
            dropped, page = page.versions[:-keep], replace(page, versions=page.versions[-keep:])
            edits |= {_file(each.scope, old): _nothing for old in dropped}
            edits[path_of(each.scope)] = partial(_always, rendered(page))
            if sealed:
                edits[_file(each.scope, page.versions[-1])] = partial(_always, sealed)
            changed[each.scope] = bool(sealed)
        said = f"{len(taken)} devices, {sum(changed.values())} changed"
        self.branch.update(edits, lambda paths: Stamp(run.who, now, f"archive: {said}\n\n{trailers(run)}\n"))
        if self.branch.length() > LONGEST:
            self.branch.squash(Stamp(run.who, now, "squash: how it came to be is dropped\n"))
        return changed


def _page(taken: Configuration, old: Page | None, keys: Keys, now: datetime) -> tuple[Page, bytes]:
    """The page with what was read, and the new version; nothing where it is as it was, for the same keys."""
    plain = packed(taken.parts)
    page = replace(old, seen=max(old.seen, now)) if old else Page(taken.scope, now, os.urandom(16).hex())
    digest = hashlib.scrypt(plain, salt=bytes.fromhex(page.salt), n=2**14, r=8, p=1, dklen=32).hex()
    last = page.versions[-1] if page.versions else None
    if last and (last.digest, {*last.keys.values()}) == (digest, {*keys.values()}):
        return page, b""
    sealed = seal(plain, keys)
    return replace(page, versions=(*page.versions, Version(now, digest, len(sealed), dict(keys)))), sealed


def _file(scope: Scope, version: Version) -> str:
    return f"{path_of(scope).removesuffix('.json')}/{version.name}"


def _always(content: bytes, old: bytes | None) -> bytes:
    return content


def _nothing(old: bytes | None) -> None:
    return None


# -- encrypted --------------------------------------------------------------------------------------------------


def packed(parts: Parts) -> bytes:
    """Parts in one text; the same for the same."""
    return json.dumps({name: base64.b64encode(parts[name]).decode() for name in sorted(parts)}, indent=0).encode()


def unpacked(plain: bytes) -> dict[str, bytes]:
    """Raises LedgerError."""
    try:
        return {name: base64.b64decode(str(data), validate=True) for name, data in an_object(json.loads(plain)).items()}
    except (ValueError, RecursionError):
        raise LedgerError("the archive is damaged: a version is not what we wrote") from None


def seal(plain: bytes, keys: Keys) -> bytes:
    """For any one of `keys`, compressed. Raises SecretError."""
    age = _age()
    recipients = []
    for name, key in keys.items():
        try:
            recipients.append(age.x25519.Recipient.from_str(key))
        except age.RecipientError:
            raise SecretError(f"{name} in inventory/archive.yaml is no public key of age (see age-keygen)") from None
    sealed: bytes = age.encrypt(gzip.compress(plain, mtime=0), recipients)
    return sealed


def opened(sealed: bytes, key: Secret) -> dict[str, bytes]:
    """What was sealed, by a private key as age-keygen writes it. Raises SecretError, LedgerError."""
    age = _age()
    lines = [each.strip() for each in key.reveal_text().splitlines()]
    try:
        (text_of_key,) = [each for each in lines if each.startswith(_MARK)]
        identity = age.x25519.Identity.from_str(text_of_key)
    except (ValueError, age.IdentityError):
        raise SecretError(f"{key.name} is no private key of age ({_MARK}1…, as age-keygen writes it)") from None
    try:
        return unpacked(gzip.decompress(age.decrypt(sealed, [identity])))
    except age.DecryptError:
        raise SecretError(f"{key.name} does not open this version, or it is damaged") from None
    except (OSError, EOFError):
        raise LedgerError("the archive is damaged: a version is not what we wrote") from None


def _age() -> Any:  # the package says nothing of its types
    try:
        import pyrage
    except ModuleNotFoundError:
        raise SecretError("pyrage is not installed (pip install 'mspctl[archive]')") from None
    return pyrage


# -- pages ------------------------------------------------------------------------------------------------------


def rendered(page: Page) -> bytes:
    said = {
        "format": str(FORMAT),
        "scope": line(to_json(replace(page.scope, after=()))),
        "seen": line(_moment(page.seen)),
        "salt": line(page.salt),
        "versions": list_of(line(_to_json(each)) for each in page.versions),
    }
    return (object_of(said) + "\n").encode()


def _to_json(version: Version) -> Object:
    return {
        "taken": _moment(version.taken),
        "digest": version.digest,
        "octets": version.octets,
        "keys": {**version.keys},
    }


def _moment(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def parsed(content: bytes) -> Page | None:
    """What `rendered` wrote."""
    try:
        page = members(
            json.loads(content.decode()), "a page of the archive", ("format", "scope", "seen", "salt", "versions")
        )
        if page["format"] != FORMAT:
            return None
        versions = tuple(map(_version, a_list(page["versions"])))
        bytes.fromhex(text(page, "salt"))
        return Page(scope_from_json(page["scope"]), _read(text(page, "seen")), text(page, "salt"), versions)
    except (ValueError, RecursionError):
        return None


def _version(item: object) -> Version:
    data = members(item, "a version", ("taken", "digest", "octets", "keys"))
    if not isinstance(data["octets"], int):
        raise ValueError("a number is missing")
    keys = {name: str(key) for name, key in an_object(data["keys"]).items()}
    return Version(_read(text(data, "taken")), text(data, "digest"), data["octets"], keys)


def _read(said: str) -> datetime:
    moment = datetime.fromisoformat(said)
    if moment.tzinfo is None:
        raise ValueError("a moment has no time zone")
    return moment
