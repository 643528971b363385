"""
What was told to whom, as a file on the branch `observations`: so that everybody is told once, and what was not
delivered is told again. Pure.

What was told is kept as digests, by customer, as long as it is so. A file that is damaged, or of a newer program, is as
good as none: then everything is told once more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from mspctl.document import a_list, an_object, line, list_of, members, object_of, text

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Notified:
    """What one destination knows."""

    told: Mapping[str, frozenset[str]] = field(default_factory=dict)  # customer → digests of what it was told
    last: datetime | None = None  # when something was delivered there, a sign of life included


NOTHING = Notified()
State = Mapping[str, Notified]  # by destination


def digest(fact: str) -> str:
    return sha256(fact.encode()).hexdigest()[:16]


def rendered(state: State) -> bytes:
    """Destinations that are not asked for any more are left out by whoever writes."""
    said = {name: _to_json(known) for name, known in sorted(state.items())}
    return (object_of({"format": str(FORMAT), "destinations": object_of(said)}) + "\n").encode()


def _to_json(known: Notified) -> str:
    told = {name: list_of(map(line, sorted(digests))) for name, digests in sorted(known.told.items()) if digests}
    last = line(known.last.isoformat(timespec="seconds")) if known.last else ""
    return object_of({"last": last, "told": object_of(told)}) or "{}"


def parsed(content: bytes) -> dict[str, Notified]:
    """Nothing for what is not exactly what `rendered` writes."""
    try:
        said = members(json.loads(content.decode()), "what was told", ("format",), ("destinations",))
        if said["format"] != FORMAT:
            return {}
        return {name: _from_json(each) for name, each in an_object(said.get("destinations", {})).items()}
    except (ValueError, RecursionError):
        return {}


def _from_json(data: object) -> Notified:
    said = members(data, "a destination", (), ("last", "told"))
    told = {name: frozenset(map(_digest, a_list(each))) for name, each in an_object(said.get("told", {})).items()}
    last = datetime.fromisoformat(text(said, "last")) if "last" in said else None
    if last is not None and last.tzinfo is None:
        raise ValueError('"last" has no time zone')
    return Notified(told, last)


def _digest(said: object) -> str:
    if not isinstance(said, str):
        raise ValueError("a digest is a text")
    return said
