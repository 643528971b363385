"""Packets that a host of the customer's sends, as the module that runs on hosts sends them; and what it may answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from mspctl import proofs
from mspctl.desired import Selection
from mspctl.drivers import hosts
from mspctl.errors import TargetError
from mspctl.kinds.probes import Shot
from mspctl.load import load
from mspctl.proof import Verdict
from mspctl.proofs.firewall import Wanted, judge
from mspctl.resource import Scope
from mspctl.targets import Targets
from mspctl.transports.ansible import Answer, Ask, Do
from tests.drivers.hosts_rig import MODULE
from tests.estate import estate

NOW = datetime(2027, 3, 5, 12, tzinfo=UTC)
FILES = {
    "inventory/targets.yaml": """\
targets:
  fw: {facets: {firewall: {driver: zonefile, directory: zones}}}
  servers: {facets: {hosts: hosts}}
""",
    "customers/acme/hosts.yaml": """\
defaults: {target: servers, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIgcUIi0XqZ1kRqgUkn4dlnOdEwOJ9/bTZ+GxVSQ2xVy}
hosts: {srv-1: {address: 192.0.2.9}, srv-2: {address: 192.0.2.10}}
""",
}
SITE = """\
target: fw
zones: {lan: lan0}
management: {from: 198.51.100.0/28}
proofs:
  within: 2s
  packets:
    - {id: web, from: srv-1, to: 127.0.0.1, service: tcp/OPEN, expect: open}
    - {id: here, from: srv-1, to: "::1", service: ping, expect: open}
    - {id: shut, from: srv-1, to: 127.0.0.1, service: tcp/SHUT, expect: closed}
    - {id: talk, from: srv-1, to: "::1", service: udp/UDP, send: hello, expect: open}
    - {id: mute, from: srv-1, to: "::1", service: udp/MUTE, send: hello, expect: closed}
    - {id: other, from: srv-2, to: 127.0.0.1, service: ping, expect: open}
"""


class Here:
    """Hands that reach no host: the module goes on its errand here."""

    def __init__(self) -> None:
        self.module: dict[str, Any] = {"__name__": "module"}
        exec(MODULE, self.module)  # noqa: S102
        self.said: list[str] = []

    def run(self, do: Do, asks: Mapping[str, Ask], patience: int = 0) -> dict[str, Answer]:
        self.said += asks
        return {name: Answer({"answer": self.module["errand"](ask.what)}) for name, ask in asks.items()}


def echo(made: socket.socket) -> None:
    while True:
        said, who = made.recvfrom(999)
        if said == b"stop":
            return
        made.sendto(said, who)


@contextmanager
def udp(*, talks: bool) -> Iterator[int]:
    """A port that says back what it hears, or nothing."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as made:
        made.bind(("::1", 0))
        thread = threading.Thread(target=echo, args=[made] if talks else [], daemon=True)
        if talks:
            thread.start()
        yield made.getsockname()[1]
        if talks:
            made.sendto(b"stop", made.getsockname())
            thread.join(10)


def test_a_host_sends_them(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket() as shut,
        udp(talks=True) as talk,
        udp(talks=False) as mute,
    ):
        shut.bind(("127.0.0.1", 0))  # and does not listen
        ports = {"OPEN": server.getsockname()[1], "SHUT": shut.getsockname()[1], "UDP": talk, "MUTE": mute}
        site = reduce(lambda text, port: text.replace(port[0], str(port[1])), ports.items(), SITE)
        loaded = load(estate(tmp_path, FILES | {"customers/acme/firewall/hq.yaml": site}).resolve(), now=NOW)
        one, two = proofs.trials(loaded, Selection(sections=["firewall"]))
        assert [(t.name, t.every, t.source.rpartition(":")[2]) for t in (one, two)] == [
            ("srv-1", 86400, "7"),
            ("srv-2", 86400, "12"),
        ]
        targets, hands = Targets(loaded), Here()
        driver = targets.driver(Scope("servers", "hosts", "", "acme"))
        assert isinstance(driver, hosts.Driver)
        driver.hands = hands
        proof = proofs.make(one, targets, NOW)
    assert hands.said == ["srv-1.acme"]
    ended = {step.what.rpartition("(")[2][:-1]: (step.verdict, step.said) for step in proof.steps}
    for name in ("web", "here", "talk"):
        assert ended[name] == (Verdict.PASSED, "it was answered")
    assert ended["shut"] == (Verdict.FAILED, "it came through, and whoever is there refused it")
    assert ended["mute"][0] is Verdict.PASSED
    assert ended["mute"][1].endswith("was answered before and afterwards")


# -- what it comes to -------------------------------------------------------------------------------------------


def ended(expect: str, *, before: str = "answered", found: str, after: str = "answered", family: int = 4) -> Verdict:
    """Of a packet that is sent between two that shall be answered."""
    sure = Shot("sure", "here", "192.0.2.1", 4, "tcp", 443, b"", "open")
    tried = Shot("tried", "here", "192.0.2.2", family, "tcp", 22, b"", expect)
    rounds = [[{"outcome": word, "said": "", "seconds": 0.1}] for word in (before, found, after)]
    making = proofs.Making()
    judge(Wanted("here", [sure, tried], 4), {"rounds": rounds}, making)
    return making.steps[-1].verdict


def test_silence_counts_only_between_two_answers() -> None:
    for silence in ("silent", "rejected"):
        assert ended("closed", found=silence) is Verdict.PASSED
        assert ended("closed", found=silence, before="silent") is Verdict.UNKNOWN
        assert ended("closed", found=silence, after="silent") is Verdict.UNKNOWN
        assert ended("closed", found=silence, family=6) is Verdict.UNKNOWN
    assert ended("refused", found="silent") is Verdict.FAILED
    assert ended("refused", found="refused", before="silent") is Verdict.PASSED
    for came_through in ("answered", "refused"):
        assert ended("closed", found=came_through, before="silent") is Verdict.FAILED
    assert ended("closed", found="unsent") is Verdict.UNKNOWN
    assert ended("closed", found="anything") is Verdict.UNKNOWN


def test_what_a_host_says_is_no_text_for_a_terminal() -> None:
    making = proofs.Making()
    found = {"outcome": "answered", "said": "\x1b[2Jall is\nwell", "seconds": 0.1}
    shot = Shot("sure", "here", "192.0.2.1", 4, "tcp", 443, b"", "open")
    judge(Wanted("here", [shot], 4), {"rounds": [[found]]}, making)
    assert making.steps[0].said == "it was answered ([2Jall is well)"
    with pytest.raises(TargetError, match="says nothing of some packets"):
        judge(Wanted("here", [shot], 4), {"rounds": [[]]}, making)
