"""The nftables driver on a whole machine with systemd: what is loaded when it starts, and power that is cut."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mspctl.diff import Difference, diff
from mspctl.driver import Access, Failed, Landed, Reading, Work
from mspctl.drivers import nftables
from mspctl.drivers.nftables import boot, commit
from mspctl.kinds import firewall
from mspctl.record import Record
from mspctl.resource import Cause, Change, Resource
from mspctl.secrets import Secrets
from mspctl.transports.machine import Machine as Device
from mspctl.transports.machine import Ran
from tests.drivers.nftables_rig import SCOPES, default, rule, several, zone
from tests.servers import hosts
from tests.servers.hosts import Lan, Machine

SCOPE = SCOPES[0]
NAME = nftables.table_of(SCOPE)


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    with hosts.machines("fw") as lan:
        yield lan


class Rig:
    def __init__(self, lan: Lan, folder: Path) -> None:
        self.lan = lan
        self.machine: Machine = lan["fw"]
        said = {"port": str(self.machine.port), "host_key": self.machine.host_key, "confirm_within": "20s"}
        self.access = Access(
            "fw-1", "127.0.0.1", nftables.Settings.model_validate(said),
            Secrets.given({"ssh_key": lan.key.read_bytes()}), folder,
        )  # fmt: skip

    def reading(self) -> Reading:
        (found,) = nftables.Reader(self.access).read([SCOPE], {})
        assert isinstance(found, Reading), found
        return found

    def apply(self, *resources: Resource) -> list[Landed | Failed]:
        held = {r.id: r for r in self.reading().resources}
        changes = [
            Change(held.get(each.id), each, Cause.PENDING) for each in resources if held.get(each.id) != each
        ]  # fmt: skip
        return [*self.driver().apply([Work(SCOPE, changes, resources)])]

    def driver(self) -> nftables.Driver:
        return nftables.Driver(self.access)

    def table(self) -> str:
        return self.machine.run("nft", "-s", "list", "table", "inet", NAME, check=False)


def resources(lan: Lan, port: int = 22) -> list[Resource]:
    us = rule(
        firewall.MANAGEMENT, from_=several("any"), to=several("self"), source=several("10.77.0.1"),
        services=several(f"tcp/{port}"),
    )  # fmt: skip
    return [us, firewall.order([firewall.MANAGEMENT]), zone("lan", "eth0"), default()]


def differences(found: Reading, lan: Lan) -> list[Difference]:
    """What a plan would show, once all of it was applied."""
    declared = resources(lan)
    return diff(declared, {r.id: Record((r,)) for r in declared}, found.resources)


@pytest.mark.soak
def test_rules_are_there_when_the_machine_starts(lan: Lan, tmp_path: Path) -> None:
    rig = Rig(lan, tmp_path)
    rig.apply(*resources(lan))
    assert rig.reading().facts == {}
    before = rig.table()
    rig.machine.sh("systemctl enable nftables")  # Debian's own, which begins with nothing
    rig.machine.restart()
    assert rig.table() == before
    assert rig.machine.sh(f"systemctl is-active {boot.UNIT}").strip() == "active"
    for command in ("restart", "reload"):
        rig.machine.sh(f"systemctl {command} nftables")
        for _ in range(100):  # systemctl waits for nftables only
            if rig.table() == before:
                break
            time.sleep(0.05)
        assert rig.table() == before
    for command, amiss in (
        (f"systemctl disable {boot.UNIT}", "is disabled"),
        (f"echo '# mine' >>{boot.PLACE}", "was changed by hand"),
        (f"rm {boot.PLACE}", "is missing"),
        (f"rm /etc/mspctl/{NAME}.json", f"{NAME}.json is missing"),
        (f"echo >>/etc/mspctl/{NAME}.json", f"{NAME}.json was changed by hand"),
    ):
        rig.machine.sh(command)
        found = rig.reading()
        assert str(found.facts["boot_amiss"]).endswith(amiss)
        (drift,) = differences(found, lan)
        assert (drift.id, drift.fields) == (firewall.DEFAULT, {"amiss": Cause.DRIFT})
        (landed,) = rig.apply(*resources(lan))
        assert isinstance(landed, Landed)
        assert rig.reading().facts == {}
        assert differences(rig.reading(), lan) == []
        assert rig.table() == before
    changes = [Change(each, None, Cause.PENDING) for each in rig.reading().resources]
    done = [*rig.driver().apply([Work(SCOPE, changes, (), gone=True)])]
    assert len(done) == len(changes)
    assert rig.machine.sh(f"ls {boot.PLACE} /etc/mspctl 2>/dev/null", check=False).split() == ["/etc/mspctl:"]


@pytest.mark.soak
def test_power_is_cut_before_a_change_is_confirmed(lan: Lan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(lan, tmp_path)
    rig.apply(*resources(lan))
    before = rig.table()
    confirm = commit._confirm

    def cut(device: Device, place: Sequence[str], until: float, script: str) -> Ran | None:
        for _ in range(100):  # until the new rules are there
            if rig.table() != before:
                break
            time.sleep(0.05)
        rig.machine.restart()
        return confirm(device, place, time.monotonic() + 20, script)

    monkeypatch.setattr(commit, "_confirm", cut)
    (failed,) = rig.apply(*resources(lan)[:-1], default(log=True))
    assert isinstance(failed, Failed)
    assert "did it start anew?" in str(failed.error)
    assert rig.table() == before
    monkeypatch.undo()
    (landed,) = rig.apply(*resources(lan)[:-1], default(log=True))
    assert isinstance(landed, Landed)
