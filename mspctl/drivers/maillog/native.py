"""What Postfix and Dovecot say of their queue and Junk folders, and how logs are named and rotated. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, TypeVar

from mspctl.errors import TargetError
from mspctl.kinds.mail_log import Junk, Waiting, folded
from mspctl.transports.machine import Entry

T = TypeVar("T")

UNPACK = {".gz": "gzip", ".xz": "xz", ".bz2": "bzip2", ".zst": "zstd"}
_ROTATED = re.compile(r"(?:[.-]\d[\d-]{0,18})?(?:\.(?:gz|xz|bz2|zst))?")

# -- logs -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class File:
    path: str
    entry: Entry

    @property
    def is_packed(self) -> bool:
        return PurePosixPath(self.path).suffix in UNPACK

    @property
    def printing(self) -> list[str]:
        """The command that prints it, unpacked."""
        program = UNPACK.get(PurePosixPath(self.path).suffix)
        return [program, "-dc", "--", self.path] if program else ["cat", "--", self.path]


def family(path: PurePosixPath, entries: Iterable[Entry]) -> list[File]:
    """A log and its rotated ones, the oldest first, as logrotate names them: `.1`, `.2.gz`, `-20261127.gz`."""
    name = path.name
    mine = [e for e in entries if e.name.startswith(name) and _ROTATED.fullmatch(e.name[len(name) :])]
    return [File(str(path.parent / e.name), e) for e in sorted(mine, key=lambda e: (e.name == name, e.modified))]


def rotated(before: Iterable[File], after: Iterable[File]) -> bool:
    """Whether a file is not where it was any more, or became shorter."""
    then = {file.path: file.entry for file in before}
    now = {file.path: file.entry for file in after}
    return then.keys() != now.keys() or any(
        now[path].inode != entry.inode or now[path].size < entry.size for path, entry in then.items()
    )


def spelled(domains: Iterable[str]) -> Iterator[str]:
    """Domains as logs have them behind an @: in A-labels, and as people write them."""
    for domain in sorted(domains):
        yield f"@{domain}"
        try:
            spoken = domain.encode().decode("idna")
        except UnicodeError:
            continue
        if spoken != domain:
            yield f"@{spoken}"


ENTERED = ("-login: Login: user=<", "-login: Info: Login: user=<")


def entering(addresses: Iterable[str]) -> Iterator[str]:
    """What stands in lines about log-ins of mailboxes: Dovecot's, and Postfix's of who hands in mail."""
    for address in sorted(addresses):
        local, _, domain = address.rpartition("@")
        for at in spelled([domain]):
            yield from (f"user=<{local}{at}>", f"sasl_username={local}{at}")


# -- the queue, and Junk --------------------------------------------------------------------------------------------


def read(text: bytes, what: str, make: Callable[[Any], T]) -> T:
    """From JSON that a program printed. Raises TargetError, saying what it was."""
    try:
        return make(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        raise TargetError(f"{what}: what the server says makes no sense") from None


def waiting(said: Mapping[str, Any]) -> Waiting:
    """From a line of `postqueue -j`."""
    return Waiting(
        str(said["queue_id"]),
        said["queue_name"] == "hold",
        _at(said["arrival_time"]),
        int(said["message_size"]),
        folded(said["sender"]),
        [(folded(each["address"]), str(each.get("delay_reason", ""))) for each in said["recipients"]],
    )


FETCHED = "user uid date.received.unixtime size.physical hdr.from.utf8 hdr.subject.utf8"


def junk(rows: Iterable[Mapping[str, Any]]) -> list[Junk]:
    """From what `doveadm fetch` prints when it is asked for FETCHED."""
    return [
        Junk(
            folded(row["user"]),
            int(row["uid"]),
            _at(row["date.received.unixtime"]),
            int(row["size.physical"]),
            str(row["hdr.from.utf8"]),
            str(row["hdr.subject.utf8"]),
        )
        for row in rows
    ]


def _at(seconds: Any) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
