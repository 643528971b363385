"""A firewall that is a whole machine, from YAML through the command line: its own updates, a reboot, its next start."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mspctl.exits import Exit
from tests.conftest import Run
from tests.servers.hosts import SECURITY, Lan, machines

TARGETS = """\
targets:
  servers: {{secrets: {{ssh_key: SSH_KEY}}, facets: {{hosts: {{driver: hosts, connect: 5s}}}}}}
  fw-sede:
    address: 127.0.0.1
    secrets: {{ssh_key: SSH_KEY}}
    facets: {{firewall: {{driver: nftables, port: {port}, host_key: {key}, confirm_within: 20s}}}}
"""
SEDE = """\
target: fw-sede
zones: {lan: eth0}
management: {from: 10.77.0.1, services: ssh}
rules:
  - {id: dns, from: lan, to: self, services: dns, action: accept}
"""
HOSTS = """\
defaults: {{target: servers, os: debian-12}}
hosts: {{fw-sede: {{address: 127.0.0.1, port: {port}, host_key: {key}}}}}
"""
VERSION, BOOT = "dpkg-query -W -f '${Version}' demo", "cat /proc/sys/kernel/random/boot_id"
TABLE = "nft -s list table inet mspctl-sede"


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    with machines("fw-sede") as found:
        yield found


@pytest.fixture
def brenta(repository: Path, lan: Lan, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A firewall that is among the customer's hosts too, with a security update to come, in a window around now."""
    monkeypatch.setenv("MSPCTL_SECRET_SSH_KEY_FILE", str(lan.key))
    machine = lan["fw-sede"]
    machine.clean()
    machine.sh("nft flush ruleset")
    machine.archive(*SECURITY)
    said = {"port": machine.port, "key": machine.host_key}
    (repository / "inventory/targets.yaml").write_text(TARGETS.format(**said))
    for customer in (repository / "customers").iterdir():
        subprocess.run(["rm", "-r", customer], check=True)
    folder = repository / "customers/brenta"
    (folder / "firewall").mkdir(parents=True)
    (folder / "customer.yaml").write_text("name: Brenta\n")
    (folder / "firewall/sede.yaml").write_text(SEDE)
    (folder / "hosts.yaml").write_text(HOSTS.format(**said))
    begins = datetime.now(UTC) - timedelta(hours=4)
    window = f"{begins:%H}:00-{begins + timedelta(hours=8):%H}:00"
    (folder / "patching.yaml").write_text(f'policy: {{what: security, window: "{window}", reboot: if needed}}\n')
    return repository


@pytest.mark.soak
def test_a_firewall_is_kept_updated_in_its_window_and_its_rules_outlive_a_reboot(
    run: Run, brenta: Path, lan: Lan
) -> None:
    machine = lan["fw-sede"]
    done = run("apply", "--yes")
    assert done.code == Exit.DONE, done
    rules = machine.sh(TABLE)
    assert "rule:dns" in rules
    assert run("plan").code == Exit.DONE

    machine.run("systemctl", "start", "mspctl-patching-facts.service")
    machine.sh("touch /run/reboot-required")
    boot = machine.sh(BOOT)
    told = run("plan", "--due")
    assert "updates of fw-sede of brenta: 1 security update and a reboot" in told.out + told.err
    assert machine.sh(VERSION) == "1.0"
    due = run("apply", "--due", "--yes")
    machine.rebooted()
    assert due.code == Exit.DONE, due
    assert "updates of fw-sede of brenta: 1 security update and a reboot" in due.out
    assert "updates of fw-sede of brenta: rebooted" in due.out
    assert machine.sh(VERSION) == "1.1"
    assert machine.sh(BOOT) != boot
    assert machine.sh(TABLE) == rules
    after = run("plan")
    assert after.code == Exit.DONE, after


@pytest.mark.soak
def test_what_the_next_start_would_not_load_is_shown_and_put_back(run: Run, brenta: Path, lan: Lan) -> None:
    machine = lan["fw-sede"]
    assert run("apply", "--yes").code == Exit.DONE
    rules = machine.sh(TABLE)
    machine.sh("systemctl disable -q mspctl-firewall.service; echo >>/etc/mspctl/mspctl-sede.json")
    plan = run("plan", "--revert")
    assert plan.code == Exit.DIFFERS, plan
    assert "mspctl-firewall.service is disabled" in plan.out
    assert "/etc/mspctl/mspctl-sede.json was changed by hand" in plan.out
    done = run("apply", "--revert", "--yes")
    assert done.code == Exit.DONE, done
    assert run("plan", "--revert").code == Exit.DONE
    assert machine.sh(TABLE) == rules
    machine.restart()
    assert machine.sh(TABLE) == rules
