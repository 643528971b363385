"""A VPN from YAML to packets, through the command line: what plans say, and that no key is said by anybody."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.test_firewall import FILE, SEDE, Desk, desk, firewall
from tests.servers import tunnels
from tests.servers.firewalls import HOSTS

__all__ = ("desk", "firewall")
VPN = """\
vpn:
  interface: {interface}
  addresses: 10.90.0.1/24
  private_key: SEDE_WG
  users:
    - id: luca
      name: Luca Bianchi
      key: {luca}
      address: 10.90.0.10
      reach: [{{to: lan, destination: server, services: https}}]
"""


@pytest.fixture
def interface(desk: Desk) -> Iterator[str]:
    name = tunnels.interface()
    yield name
    tunnels.gone(desk.firewall.names["fw"], name)


def test_a_user_from_yaml_to_packets(desk: Desk, interface: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own, luca = tunnels.keys(), tunnels.keys()
    monkeypatch.setenv("MSPCTL_SECRET_SEDE_WG", own.private)
    text = SEDE.replace("PORT", str(desk.firewall.sshd.port)) + VPN.format(interface=interface, luca=luca.public)
    (desk.root / FILE).write_text(text)
    until = datetime.now(UTC).date() + timedelta(days=9)
    approvals = f'approvals:\n  - {{resource: firewall/sede/vpn, why: "ticket 4711", until: {until}}}\n'
    (desk.root / "customers/brenta/approvals.yaml").write_text(approvals)
    shown = desk.run("plan")
    assert f"VPN user at 10.90.0.10, key {luca.public[:8]}…; Luca Bianchi" in shown.out
    assert "lets through https vpn → lan from 10.90.0.10 only to server 10.20.0.9" in shown.out
    desk.applied()
    with tunnels.calling(desk.firewall, "wan", luca, own.public, "203.0.113.1:51820", ["10.90.0.10/24"]):
        for _ in range(10):  # the first packets make the keys
            if (answer := desk.call("wan", HOSTS["lan"], 443)) != "no answer":
                break
        assert answer == "ok ::ffff:10.90.0.10"
        assert desk.call("wan", HOSTS["lan"], 80) == "no answer"
    assert desk.run("drift").code == 0
    desk.firewall.on("fw", "wg", "set", interface, "peer", luca.public, "remove")
    drift = desk.run("drift")
    assert drift.code == 2
    assert "luca" in drift.out
    said = desk.run("adopt", "brenta", "firewall/sede/luca")
    assert said.code == 0, said.err
    assert luca.public not in (desk.root / FILE).read_text()
    desk.applied()
    git = subprocess.run(["git", "log", "-p", "--all"], cwd=desk.root, capture_output=True, text=True, check=True)
    assert "SEDE_WG rev 1" in git.stdout
    assert own.private not in git.stdout + drift.out + shown.out + said.out
