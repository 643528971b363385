"""
Ends a connection over which nothing comes any more, for libraries that would wait for ever.

A server that is stopped, or behind a firewall that forgot us, keeps the connection open: only our own clock ends it.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress

LOOKS = 0.5  # seconds between two looks at the clock


class Silence:
    """Watches a connection from its beginning; `asked` says that an answer is awaited, `rest` that none is."""

    def __init__(self, descriptor: int, seconds: int) -> None:
        """`descriptor` is that of the connection's socket; an answer may take so many seconds."""
        self.seconds = seconds
        self.broken = False  # whether the connection was ended here
        self._over = threading.Event()
        self.asked()
        line = socket.socket(fileno=os.dup(descriptor))
        threading.Thread(target=self._watch, args=(line,), daemon=True).start()

    def asked(self) -> None:
        self._until = time.monotonic() + self.seconds

    def rest(self) -> None:
        self._until = float("inf")

    def end(self) -> None:
        self._over.set()

    def _watch(self, line: socket.socket) -> None:
        with line:
            while not self._over.wait(LOOKS):
                if time.monotonic() > self._until:
                    self.broken = True
                    with suppress(OSError):
                        line.shutdown(socket.SHUT_RDWR)  # whoever waits sees its end
                    return
