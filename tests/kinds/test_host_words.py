"""Resources of hosts in the words of plans: what goes without saying is not said, and numbers have their units."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mspctl.diff import Difference
from mspctl.kinds import AMISS, antivirus, backup, patching
from mspctl.record import Record
from mspctl.report.words import change_line, difference_line, spoken
from mspctl.resource import Cause, Change, Resource
from tests.drivers.test_hosts_antivirus import ENGINE
from tests.drivers.test_hosts_backup import FIELDS, VEEAM

NIGHT = backup.job("notte", {**FIELDS, "check": 7 * 86400, "read": 5, "upload": 2048})


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        (patching.policy("security", "if needed"), "what security, reboot if needed"),
        (patching.window("sun 02:00-05:00", "Europe/Rome"), "hours sun 02:00-05:00, timezone Europe/Rome"),
        (
            NIGHT,
            "paths /etc/ssh · /srv/data, exclude *.tmp, program restic, repository /mnt/backup/acme/srv-1, "
            "password ACME_RESTIC rev 1, schedule mon-fri 02:30, timezone Europe/Rome, upload 2048 KiB/s, check 1w, "
            "read 5 %",
        ),
        (VEEAM, "files /srv/reports/**/*.eml, format veeam"),
        (
            antivirus.engine({"on_access": frozenset({"/srv"}), "prevent": False, "official": True, "max_file": 100}),
            "on_access /srv, prevent no, max_file 100 MiB",
        ),
    ],
)
def test_what_is_said(resource: Resource, said: str) -> None:
    assert spoken(resource) == said


def test_what_changes() -> None:
    after = replace(ENGINE, fields={**ENGINE.fields, "every": 3600, "max_file": 50, "official": True})
    said = ["every 4h → 1h", "max_file 100 MiB → 50 MiB", "official no → yes"]
    assert sorted(change_line(Change(ENGINE, after)).detail.split("; ")) == said
    wrong = replace(ENGINE, fields={**ENGINE.fields, AMISS: frozenset({"x is stopped"})})
    assert change_line(Change(wrong, ENGINE)).detail == "mends: x is stopped"
    drift = Difference(ENGINE.id, ENGINE, wrong, Record((ENGINE,)), Cause.DRIFT, {AMISS: Cause.DRIFT})
    assert difference_line(drift).detail == "x is stopped"
