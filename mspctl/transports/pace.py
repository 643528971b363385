"""
So many calls in so much time, as a server that counts them allows; what would be too many waits for its turn.

Windows slide, as servers count: the first calls go at once. Ours are a little longer than the server's, because calls
do not take the same time to arrive.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field

SLACK = 0.1  # seconds by which our windows are longer


@dataclass(slots=True)
class Limit:
    """At most `calls` in `seconds`; of writes, of reads, or (None) of both together."""

    calls: int
    seconds: float
    writes: bool | None = None
    _made: deque[float] = field(default_factory=deque)  # when the last calls were, or will be, made

    def free(self) -> float:
        """The moment from which one more call is not too many."""
        return self._made[0] + self.seconds + SLACK if len(self._made) == self.calls else 0.0

    def note(self, moment: float) -> None:
        self._made.append(moment)
        if len(self._made) > self.calls:
            self._made.popleft()


class Pace:
    """Several limits at once, kept by all threads together."""

    def __init__(self, *limits: Limit) -> None:
        self._limits = limits
        self._lock = threading.Lock()

    def wait(self, write: bool) -> None:
        """Return when a call may be made; it counts as made then."""
        limits = [limit for limit in self._limits if limit.writes in (None, write)]
        with self._lock:
            now = time.monotonic()
            moment = max([now, *(limit.free() for limit in limits)])
            for limit in limits:
                limit.note(moment)
        if moment > now:
            time.sleep(moment - now)
