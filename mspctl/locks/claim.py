"""What a lock says, as the message of the commit that it points to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from mspctl.kinds import on_one_line
from mspctl.locks.words import few

WORDS, TIMES = ("holder", "host", "run", "what", "nonce"), ("taken_at", "renewed_at", "expires_at")


@dataclass(frozen=True, slots=True)
class Claim:
    """What a lock's commit says."""

    holder: str  # "Paolo Zen <paolo@msp.example>"
    host: str
    run: str
    what: str
    nonce: str
    taken_at: datetime
    renewed_at: datetime  # when it was written
    expires_at: datetime
    names: tuple[str, ...]


def rendered(claim: Claim) -> str:
    said = {word: getattr(claim, word) for word in WORDS}
    said |= {moment: getattr(claim, moment).isoformat() for moment in TIMES}
    return f"lock: {few(claim.names)}\n\n{json.dumps({**said, 'names': claim.names})}\n"


def parsed(content: bytes | None) -> Claim | None:
    """None when we cannot read it. What a newer mspctl says beyond this is passed over, so that it still expires."""
    try:
        said = json.loads((content or b"").decode().partition("\n\n")[2].partition("\n\n")[2])
        holder, host, run, what, nonce = (on_one_line(said[word]) for word in WORDS)
        taken, renewed, expires = (_moment(said[moment]) for moment in TIMES)
        return Claim(holder, host, run, what, nonce, taken, renewed, expires, tuple(map(str, said["names"])))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text).astimezone(UTC)
    if moment.year > 9000:
        raise ValueError("nothing can be added to such a date")
    return moment
