"""What `mspctl show --config` shows: versions of a device's configuration, one of them, or what changed in it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mspctl.archive import Archive, Page, Version, opened
from mspctl.cli import archiving
from mspctl.errors import InputError, SecretError
from mspctl.resource import Scope

if TYPE_CHECKING:
    from mspctl.cli.workspace import Workspace


def lines(work: Workspace, site: str | None, at: datetime | None, diff: bool) -> Iterator[str]:
    """Raises InputError where nothing is kept, SecretError without a key, LedgerError."""
    scopes = archiving.devices(work)
    archive = Archive.fetched(work.root)
    pages = archive.pages(scopes)
    if site is None:
        yield from (each for scope in scopes for each in _listed(scope, pages.get(scope)))
        return
    scope = next((each for each in scopes if each.name == site), None)
    if scope is None:
        known = ", ".join(each.name for each in scopes) or "none"
        raise InputError.at("", f"there is no device {site} here (known: {known})")
    page = pages.get(scope)
    try:
        number = page.at(at) if page else -1
    except LookupError:
        number = -1
    if page is None or number < 0:
        when = f" as it was when {at - timedelta(days=1):%Y-%m-%d} ended" if at else ""
        raise InputError.at("", f"nothing is archived of {site}{when} (mspctl archive firewall/{site})")
    version = page.versions[number]
    parts = _texts(work, archive, scope, version)
    if diff and number:
        old = page.versions[number - 1]
        yield from compared(old, _texts(work, archive, scope, old), version, parts)
    elif diff:
        yield f"{_moment(version.taken)} is the first version that is kept: there is nothing to compare it with."
    else:
        yield f"{scope.target}, as it was read {_moment(version.taken)}; {_until(page, number)}"
        for name, text in parts.items():
            yield from ("", f"── {name}", text.rstrip("\n"))


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _listed(scope: Scope, page: Page | None) -> Iterator[str]:
    yield f"{scope.name} on {scope.target}: " + (f"read last {_moment(page.seen)}" if page else "never archived")
    for version in reversed(page.versions if page else ()):
        size, keys = max(1, round(version.octets / 1024)), ", ".join(version.keys)
        yield f"  {_moment(version.taken)}  {size} KiB for {keys}"


def _until(page: Page, number: int) -> str:
    last = number == len(page.versions) - 1
    return f"still so {_moment(page.seen)}" if last else "changed since"


def _texts(work: Workspace, archive: Archive, scope: Scope, version: Version) -> dict[str, str]:
    sealed = archive.sealed(scope, version)
    missing = []
    for name in version.keys:
        try:
            key = work.targets.store.for_target(scope.target, {"archive": name})["archive"]
        except SecretError as error:
            missing.append(str(error))
            continue
        return {part: shown(data) for part, data in opened(sealed, key).items()}
    raise SecretError(f"no key to open it: {'; '.join(missing)}")


def shown(data: bytes) -> str:
    """As a terminal can take it: a device may be in anybody's hands."""
    text = data.decode(errors="replace")
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def compared(old: Version, before: Mapping[str, str], new: Version, after: Mapping[str, str]) -> Iterator[str]:
    names = [*dict.fromkeys([*after, *before])]
    dates = _moment(old.taken), _moment(new.taken)
    for name in names:
        a, b = before.get(name, "").splitlines(), after.get(name, "").splitlines()
        yield from difflib.unified_diff(a, b, name, name, *dates, lineterm="")
