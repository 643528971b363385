"""Calls that wait for their turn, on a clock of the test's own."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from mspctl.transports.http import Http, Settings
from mspctl.transports.pace import Limit, Pace
from tests.servers.http_stand_in import standing_in


class Clock:
    """Time passes while somebody sleeps, and not otherwise."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.lock = threading.Lock()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self.lock:
            self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("mspctl.transports.pace.time", clock)
    return clock


def moments(pace: Pace, clock: Clock, *writes: bool) -> list[float]:
    found = []
    for write in writes:
        pace.wait(write)
        found.append(round(clock.now - 1000, 3))
    return found


def test_the_first_go_at_once_and_no_window_holds_more_than_allowed(clock: Clock) -> None:
    found = moments(Pace(Limit(5, 1)), clock, *[True] * 12)
    assert found == [0.0] * 5 + [1.1] * 5 + [2.2] * 2
    assert all(later - earlier >= 1 for earlier, later in zip(found, found[5:], strict=False))


def test_each_limit_counts_its_own_kind_and_all_are_kept(clock: Clock) -> None:
    pace = Pace(Limit(2, 1, writes=True), Limit(3, 10, writes=False), Limit(4, 60))
    assert moments(pace, clock, True, True, False, True) == [0.0, 0.0, 0.0, 1.1]
    assert moments(pace, clock, False) == [60.1]


def test_who_did_not_call_for_a_while_has_it_all_again(clock: Clock) -> None:
    pace = Pace(Limit(2, 1))
    assert moments(pace, clock, True, True) == [0.0, 0.0]
    clock.now += 5
    assert moments(pace, clock, True, True, True) == [5.0, 5.0, 6.1]


def test_threads_keep_one_pace_together() -> None:
    """On the real clock: 30 calls of 6 threads, ten in a tenth of a second."""
    import time

    pace, made, lock = Pace(Limit(10, 0.1)), list[float](), threading.Lock()

    def work() -> None:
        for _ in range(5):
            pace.wait(True)
            with lock:
                made.append(time.monotonic())

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made.sort()
    assert len(made) == 30
    assert made[-1] - made[0] >= 0.2


def test_every_call_over_http_waits_for_its_turn(clock: Clock) -> None:
    pace = Pace(Limit(1, 1, writes=True))
    with standing_in() as server:
        client = Http(server.address, dict, Settings(), Path(), pace=pace)
        for method in ("PATCH", "GET", "GET", "POST", "PATCH"):
            client.call(method, "/")
        assert len(server.asked) == 5
    assert round(clock.now - 1000, 3) == 2.2
