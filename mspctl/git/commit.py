"""What a commit says, as git writes and reads it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who, when and why, of one commit."""

    who: str  # "Paolo Zen <paolo@msp.example>"; anything is taken
    when: datetime  # with a time zone
    message: str


@dataclass(frozen=True, slots=True)
class Commit:
    id: str
    parent: str  # "" for the first
    stamp: Stamp
    files: Mapping[str, str]  # what it wrote: path → blob, "" where it deleted


def parsed(name: str, content: str, files: Mapping[str, str]) -> Commit:
    header, _, message = content.partition("\n\n")
    parent = re.search(r"^parent (\S+)$", header, re.MULTILINE)
    author = re.search(r"^author (.*) (\d+) ([+-]\d{4})$", header, re.MULTILINE)
    who, seconds, zone = author.groups() if author else ("", "0", "+0000")
    when = datetime.fromtimestamp(int(seconds), datetime.strptime(zone, "%z").tzinfo)
    return Commit(name, parent[1] if parent else "", Stamp(who, when, message), files)


def ident(stamp: Stamp) -> bytes:
    """Name, address and time as Git writes them; whatever could end them early is left out."""
    name, _, rest = stamp.who.partition("<")
    address = rest.partition(">")[0]
    name = " ".join("".join(c if c.isprintable() and c not in "<>" else " " for c in name).split())
    address = "".join(c for c in address if c.isprintable() and c not in "<> ")
    when = f"{int(stamp.when.timestamp())} {stamp.when:%z}"
    return f"{name or 'unknown'} <{address}> {when}".encode("utf-8", "replace")


def message_of(stamp: Stamp) -> bytes:
    return stamp.message.replace("\0", " ").encode("utf-8", "replace")


def stream(files: Mapping[str, bytes | None], parent: str, nothing: str, draft: str, stamp: Stamp) -> bytes:
    """For fast-import, which answers with the commit's id: `files` (None: deleted) on top of `parent`, and no ref."""
    who = ident(stamp)
    lines = [b"feature done", f"commit {draft}".encode(), b"mark :1", b"author " + who, b"committer " + who]
    lines += _data(message_of(stamp))
    lines += [f"from {parent}".encode()] if parent else []
    for path, content in sorted(files.items()):
        name = _quoted(path)
        lines += [b"D " + name] if content is None else [b"M 100644 inline " + name, *_data(content)]
    lines += [b"", b"get-mark :1", f"reset {draft}".encode(), f"from {nothing}".encode(), b"", b"done", b""]
    return b"\n".join(lines)


def _data(content: bytes) -> list[bytes]:
    return [b"data %d" % len(content), content]


def _quoted(path: str) -> bytes:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'.encode("utf-8", "surrogateescape")
