"""
A copy in a bucket, over TLS. The server is a stand-in: moto's, which keeps everything in memory. It brings much along,
so only who wants these tests installs it: pip install "moto[s3]" flask flask-cors
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drivers.hosts_rig import NAMES, Console
from tests.drivers.test_hosts_backup import NIGHT, BackupRig, backed_up, but, certificate
from tests.drivers.test_hosts_restore import errand, wrong
from tests.servers import require
from tests.servers.hosts import NET, Lan

pytestmark = pytest.mark.soak
PORT = 8444


@pytest.fixture
def rig(lan: Lan, console: Console) -> BackupRig:
    for machine in lan.machines.values():
        machine.clean()
    return BackupRig(lan, console, "backup")


@pytest.fixture
def bucket(lan: Lan, tmp_path: Path) -> Iterator[str]:
    key, cert = certificate(lan[NAMES[0]], tmp_path)
    command = [require("moto_server"), "-H", f"{NET}.1", "-p", str(PORT), "-c", str(cert), "-k", str(key)]
    process = subprocess.Popen(lan.inside(*command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"https://{NET}.1:{PORT}/backups"
    finally:
        process.kill()
        process.wait(60)


def test_a_copy_in_a_bucket(rig: BackupRig, bucket: str) -> None:
    said = {"repository": f"s3:{bucket}/acme/srv-1", "login": "ACME_S3 rev 1", "paths": frozenset({"/srv/data"})}
    bench, scope, machine = backed_up(rig, but(NIGHT, **said, keep=frozenset({"last 1"})))
    for _ in range(100):
        machine.run("systemctl", "start", "mspctl-backup-notte.service", check=False)
        if bench.plan()[scope].facts["notte ok"]:
            break
        time.sleep(0.2)
    machine.run("systemctl", "start", "mspctl-backup-notte.service")
    facts = bench.plan()[scope].facts
    assert (facts["notte ok"], facts["notte copies"]) == (True, 1), facts
    assert wrong(errand(rig)) == {}
    assert "ACME_S3-rev" not in machine.sh("journalctl --no-pager; cat /var/lib/mspctl/*")
