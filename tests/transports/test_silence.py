"""A connection over which nothing comes is ended, and no other."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from mspctl.transports import silence
from mspctl.transports.silence import Silence


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Whose other end says nothing."""
    monkeypatch.setattr(silence, "LOOKS", 0.01)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(20)
        yield ours


def is_gone(threads: int) -> bool:
    """Whether there are no more of them after a while."""
    for _ in range(1000):
        if threading.active_count() <= threads:
            return True
        time.sleep(0.01)
    return False


def test_who_waits_in_vain_sees_the_end(line: socket.socket) -> None:
    before = threading.active_count()
    watch = Silence(line.fileno(), 0)
    assert line.recv(1) == b""
    assert watch.broken
    assert is_gone(before)


def test_who_waits_for_nothing_is_left_alone(line: socket.socket) -> None:
    before = threading.active_count()
    watch = Silence(line.fileno(), 3600)
    watch.rest()
    watch.seconds = 0
    line.settimeout(0.1)
    with pytest.raises(TimeoutError):
        line.recv(1)
    assert not watch.broken
    watch.asked()
    line.settimeout(20)
    assert line.recv(1) == b""
    assert watch.broken
    assert is_gone(before)


def test_the_watch_ends_with_the_connection(line: socket.socket) -> None:
    before = threading.active_count()
    watch = Silence(line.fileno(), 3600)
    assert threading.active_count() == before + 1
    watch.end()
    assert is_gone(before)
    assert not watch.broken
