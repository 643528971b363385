"""Hosts that boot while they install, or do not come back: how long they are waited for, and what is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from mspctl.driver import Access, Failed, Reading
from mspctl.drivers import hosts
from mspctl.errors import Unreachable
from mspctl.kinds.hosts import FACET, Host, scope_name
from mspctl.resource import Scope
from mspctl.secrets import Secrets
from mspctl.transports.ansible import Answer, Ask, Do

SCOPE = Scope("servers", FACET, scope_name("acme", "srv-1", "patching"), "acme")
AWAY = Answer(error=Unreachable("it refuses connections"))
DOWN, UP = Answer({"facts": {"active": "", "stopping": True}}), Answer({"facts": {"active": "inactive"}})


def there(boot: str, *, reboot: bool = False) -> Answer:
    """What a host says that nobody patches yet: all that matters here is which boot it is, and whether it wants one."""
    facts = dict[str, Any](files={}, units={}, packages={}, held=[], apt={"apt::x": ["y"]}, state={})
    return Answer({"facts": facts | {"boot": boot, "reboot": reboot}})


class Hands:
    """One host, which says one thing after the other; the last one again and again."""

    def __init__(self, *said: Answer) -> None:
        self.said = [*said]
        self.asked: list[Do] = []

    def run(self, do: Do, asks: Mapping[str, Ask], patience: int = 0) -> Mapping[str, Answer]:
        self.asked.append(do)
        answer = self.said.pop(0) if len(self.said) > 1 else self.said[0]
        return dict.fromkeys(asks, answer)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "PAUSE", 0)


def installed(tmp_path: Path, said: Sequence[Answer]) -> tuple[Reading | Failed, list[Do]]:
    host = Host("srv-1", "acme", "127.0.0.1")
    driver = hosts.Driver(Access("servers", "", hosts.Settings(), Secrets({}, []), tmp_path, hosts={host.full: host}))
    driver.hands = hands = Hands(*said)
    (answer,) = driver.install({SCOPE: 3600})
    return answer, hands.asked


@pytest.mark.parametrize(
    ("said", "boot", "reads"),
    [
        ([there("1"), UP, there("1")], "1", 2),
        ([there("1"), UP, there("1", reboot=True)], "1", 2),  # it may not, or somebody is logged in
        ([there("1"), AWAY, AWAY, there("1", reboot=True), AWAY, there("2")], "2", 5),
        ([there("1"), DOWN, there("1"), AWAY, there("2")], "2", 4),
        ([there("1"), AWAY, AWAY, there("1")], "1", 3),  # only the connection broke
    ],
    ids=["no reboot", "a reboot waits", "lost", "goes down", "connection broke"],
)
def test_a_host_is_waited_for_while_it_boots(tmp_path: Path, said: Sequence[Answer], boot: str, reads: int) -> None:
    answer, asked = installed(tmp_path, said)
    assert isinstance(answer, Reading)
    assert answer.facts["boot"] == boot
    assert (asked.count("read"), asked.count("install")) == (reads, 1)


def test_a_host_that_does_not_come_back_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "BOOT", 0)
    answer, _ = installed(tmp_path, [there("1"), DOWN, AWAY])
    assert isinstance(answer, Failed)
    assert isinstance(answer.error, Unreachable)
    assert str(answer.error) == "it went down, and was not back after 0 minutes: it refuses connections"
