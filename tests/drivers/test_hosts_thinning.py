"""Repositories that hosts only add to are thinned out where they lie, by real units, and stay their owner's."""

from __future__ import annotations

import pytest

from mspctl.plan import REVERT
from mspctl.resource import Cause, Scope
from tests.drivers.hosts_rig import Console
from tests.drivers.test_hosts_backup import VAULT, BackupRig, restic
from tests.drivers.workbench import Workbench
from tests.servers.hosts import Lan, Machine

UNIT = "mspctl-thinning-vault.service"


@pytest.fixture
def rig(lan: Lan, console: Console) -> BackupRig:
    for machine in lan.machines.values():
        machine.clean()
    return BackupRig(lan, console, "backup")


def vault(rig: BackupRig) -> tuple[Workbench, Scope, Machine]:
    bench, scope = Workbench(lambda scope: rig.reader(), lambda scope: rig.driver(), approved=True), rig.scopes[0]
    bench.declare(scope, VAULT)
    bench.converge()
    machine = rig.machine(scope)
    machine.sh("mkdir -p /mnt/backup/acme")
    restic(machine, "init")
    for time in ("2026-01-01 02:00:00", "2026-01-02 02:00:00"):
        for host in ("srv-8", "srv-9"):
            restic(machine, "backup", "--quiet", "--host", host, "--tag", "notte", "--time", time, "/etc/passwd")
    machine.sh("chown -R ops:ops /mnt/backup")
    return bench, scope, machine


def test_old_copies_go_and_each_host_keeps_its_own(rig: BackupRig) -> None:
    bench, scope, machine = vault(rig)
    assert machine.sh("systemd-analyze verify /etc/systemd/system/mspctl-thinning-* 2>&1") == ""
    machine.run("systemctl", "start", UNIT)
    assert restic(machine, "snapshots", "--compact").count("2026-01-02") == 2
    assert "2026-01-01" not in restic(machine, "snapshots")
    assert machine.sh("find /mnt/backup/acme -not -user ops") == ""
    facts = bench.plan()[scope].facts
    assert (facts["thinning/vault error"], int(str(facts["thinning/vault good"])) > 0) == ("", True)
    assert "ACME_RESTIC-rev" not in machine.sh("journalctl --no-pager; cat /var/lib/mspctl/*")

    restic(machine, "backup", "--quiet", "--time", "2199-01-01 02:00:00", "--host", "srv-8", "/etc/passwd")
    machine.run("systemctl", "start", UNIT, check=False)
    said = "/mnt/backup/acme/srv-1: a copy of srv-8 is dated 2199-01-01: look who made it"
    assert bench.plan()[scope].facts["thinning/vault error"] == said

    machine.sh("sed -i 's/last 1/last 9/' /etc/mspctl/thinning/vault.conf; systemctl stop mspctl-thinning-vault.timer")
    (difference,) = bench.plan()[scope].left
    assert difference.live is not None
    assert difference.live.fields["keep"] == frozenset({"last 9"})
    assert difference.live.fields["amiss"] == frozenset({"mspctl-thinning-vault.timer is stopped"})
    assert bench.causes(scope) == {"vault": Cause.DRIFT}
    bench.converge(causes=REVERT)
    bench.declare(scope)
    bench.converge()
    assert machine.sh("ls -R /etc/mspctl /etc/systemd/system | grep -c vault", check=False) == "0\n"


@pytest.mark.soak
@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("echo x >>/etc/mspctl/thinning/vault.password", "Fatal: wrong password or no key found"),
        ("rm -r /mnt/backup/acme", "there is no repository below /mnt/backup"),
    ],
)
def test_what_goes_wrong_is_written_down(rig: BackupRig, broken: str, said: str) -> None:
    bench, scope, machine = vault(rig)
    machine.sh(broken)
    machine.run("systemctl", "start", UNIT, check=False)
    facts = bench.plan()[scope].facts
    assert said in str(facts["thinning/vault error"])
    assert facts["thinning/vault good"] == 0
