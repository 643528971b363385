"""Reports of other programs: what each format says, and a real timer that reads them on a host."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mspctl.plan import REVERT
from mspctl.playbooks.files import backup_report
from mspctl.resource import Cause
from tests.drivers.hosts_rig import Console
from tests.drivers.test_hosts_backup import VEEAM, BackupRig, but
from tests.drivers.workbench import Workbench
from tests.servers.hosts import Lan

MADE = 1772676000  # 2026-03-05 03:00 in Rome
DATE = "Thu, 05 Mar 2026 03:00:00 +0100"


def mail(subject: str, body: str = "") -> str:
    return f"From: backup@acme.example\nDate: {DATE}\nSubject: {subject}\n\n{body}\n"


@pytest.mark.parametrize(
    ("form", "text", "said"),
    [
        ("json", '{"ended": "2026-03-05T03:00:00+01:00", "ok": true, "bytes": 7}', (MADE, True, 7, "ok")),
        ("json", f'{{"ended": {MADE}, "ok": false, "error": "disk full"}}', (MADE, False, 0, "disk full")),
        ("json", '{"ended": "2026-03-05 03:00", "ok": true}', None),
        ("json", '["ok"]', None),
        ("json", "{", None),
        (
            "veeam",
            mail("[Success] Notte (3 VMs)", "Backup size: 1,5 GB"),
            (MADE, True, 3 * 2**29, "[Success] Notte (3 VMs)"),
        ),
        ("veeam", mail("[Warning] Notte"), (MADE, True, 0, "[Warning] Notte")),
        ("veeam", mail("[Failed] Notte (1 VM)"), (MADE, False, 0, "[Failed] Notte (1 VM)")),
        ("veeam", mail("Fwd: [Success] Notte"), None),
        (
            "synology",
            mail("Backup task [a] on nas has completed"),
            (MADE, True, 0, "Backup task [a] on nas has completed"),
        ),
        ("synology", mail("Backup task [a] failed on nas"), (MADE, False, 0, "Backup task [a] failed on nas")),
        ("synology", mail("DSM update is available on nas"), None),
        ("words", "copying\nERROR 5\nSUCCESS: all copied\n\n", (MADE, True, 0, "SUCCESS: all copied")),
        ("words", "SUCCESS\n*** FAILED: 3 files", (MADE, False, 0, "*** FAILED: 3 files")),
        ("words", "", None),
        ("words", "notte\nok, it goes on", (MADE, True, 0, "ok, it goes on")),
    ],
)
def test_what_a_report_says(tmp_path: Path, form: str, text: str, said: Any) -> None:
    file = tmp_path / "report"
    file.write_text(text)
    os.utime(file, (MADE, MADE))
    found = backup_report.read(str(file), {"format": form, "about": ""})
    assert (found and (found["when"], found["ok"], found["bytes"], found["what"])) == said


def test_only_what_it_is_about_counts(tmp_path: Path) -> None:
    (tmp_path / "mail").write_text(mail("[Success] Notte", "on SRV-9"))
    for about, counts in (("srv-9", True), ("notte", True), ("srv-8", False)):
        assert (backup_report.read(str(tmp_path / "mail"), {"format": "veeam", "about": about}) is not None) is counts


@pytest.mark.parametrize(
    ("text", "octets"),
    [("1.5 GB", 3 * 2**29), ("1,5 GB", 3 * 2**29), ("1.500 MB", 1500 * 2**20), ("1,234.5 KB", 1264128), ("12 B", 12)],
)
def test_sizes(text: str, octets: int) -> None:
    assert backup_report.octets_of(*text.split()) == octets


def report(when: int, ok: bool = True, size: int = 0) -> dict[str, Any]:
    return {"when": when, "ok": ok, "bytes": size, "what": "so it was"}


def test_the_newest_counts_and_the_last_good_one_is_remembered() -> None:
    state = backup_report.judged([report(3, ok=False), report(1, size=10), report(2, size=20)], {})
    assert {**state} == {"latest": 2, "ended": 3, "bytes": 20, "before": 10, "ok": False, "error": "so it was"}
    assert backup_report.judged([], state) == state  # its files were removed
    assert backup_report.judged([report(4)], state)["error"] == ""


@pytest.fixture
def rig(lan: Lan, console: Console) -> BackupRig:
    for machine in lan.machines.values():
        machine.clean()
    return BackupRig(lan, console, "backup")


def test_a_host_reads_them_by_itself(rig: BackupRig) -> None:
    resource = but(VEEAM, about="{{ x }} 'notte'")
    bench, scope = Workbench(lambda scope: rig.reader(), lambda scope: rig.driver(), approved=True), rig.scopes[0]
    bench.declare(scope, resource)
    bench.converge()
    machine = rig.machine(scope)
    assert machine.sh("systemd-analyze verify /etc/systemd/system/mspctl-report-* 2>&1") == ""
    said = mail("[Success] {{ x }} 'Notte'", "Backup size: 2 GB").encode()
    machine.run("install", "-D", "/dev/stdin", "/srv/reports/cur/1.eml", said=said)
    machine.run("systemctl", "start", "mspctl-report-veeam.service")
    facts = bench.plan()[scope].facts
    assert {name: facts[f"report/veeam {name}"] for name in ("latest", "ok", "bytes", "error", "reports")} == {
        "latest": MADE, "ok": True, "bytes": 2 * 2**30, "error": "", "reports": 1
    }  # fmt: skip
    machine.sh("sed -i 's#/srv/reports#/tmp#' /etc/mspctl/reports/veeam.conf")
    assert bench.causes(scope) == {"veeam": Cause.DRIFT}
    bench.converge(causes=REVERT)
    assert json.loads(machine.sh("grep -v ^# /etc/mspctl/reports/veeam.conf"))["files"] == "/srv/reports/**/*.eml"
    machine.sh("rm -r /srv/reports")
