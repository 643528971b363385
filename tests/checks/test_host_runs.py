"""What hosts wrote down of their updates and backups, judged."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from mspctl import checks
from mspctl.checks import Facts
from mspctl.desired import declarations
from mspctl.finding import Finding
from mspctl.kinds.hosts import FACET, scope_name
from mspctl.plan import ScopePlan
from mspctl.resource import Scope, Value
from tests.checks.facts import NOW
from tests.model.test_hosts import KEY, POLICY, loaded

HOSTS = f"hosts:\n  srv-1: {{target: servers, os: debian-12, address: 10.20.1.10, host_key: {KEY}}}\n"
BACKUP = """repositories: {disk: {local: /mnt/backup, password: ACME_RESTIC}}
jobs:
  notte: {host: srv-1, paths: /srv, repository: disk, schedule: "02:30", rpo: 26h, check: {every: 7d}}
"""
HOUR, DAY = 3600, 86400
SECONDS = int(NOW.timestamp())


def facts(tmp_path: Path, section: str, live: Mapping[str, Value], error: str = "", text: str = "") -> Facts:
    files = {f"customers/acme/{section}.yaml": text or {"patching": POLICY, "backup": BACKUP}[section]}
    estate = loaded(tmp_path, HOSTS, "", **files)
    plan = ScopePlan(Scope("servers", FACET, scope_name("acme", "srv-1", section), "acme"), facts=live, error=error)
    (made,) = checks.facts_of(estate, declarations(estate, checks.EVERYTHING, {}, NOW), [plan], {}, NOW)
    return made


def found(of: Facts, section: str) -> list[Finding]:
    return [*checks.check(section).findings(of, {})]


def codes(of: Facts, section: str) -> list[str]:
    return [f"{f.code} {f.severity}" for f in found(of, section)]


FINE: Mapping[str, Value] = {"pending": 0, "security": 0, "asked": SECONDS - HOUR, "since": 0, "reboot": False}


@pytest.mark.parametrize(
    ("live", "said"),
    [
        ({}, []),
        ({"pending": 3, "security": 2, "since": SECONDS - 9 * DAY}, []),
        ({"pending": 3, "security": 2, "since": SECONDS - 9 * DAY - 1}, ["patching.late warning"]),
        ({"asked": 0}, ["patching.unknown unknown"]),
        ({"asked": SECONDS - 3 * DAY - 1}, ["patching.unknown unknown"]),
        ({"pending": -1}, ["patching.unknown unknown"]),
        ({"pending": -1, "since": 1}, ["patching.unknown unknown"]),
        ({"failed": True}, ["patching.failed severe"]),
        ({"reboot": True}, ["patching.reboot warning"]),
    ],
)
def test_updates(tmp_path: Path, live: dict[str, Value], said: list[str]) -> None:
    of = facts(tmp_path, "patching", {**FINE, **live})
    assert codes(of, "patching") == said
    assert all(f.path == "hosts/acme/srv-1/patching" and f.source for f in found(of, "patching"))


@pytest.mark.parametrize(
    ("live", "said"),
    [
        ({"asked": 0}, "the archive was never asked"),
        ({"asked": SECONDS - 4 * DAY}, "the archive was asked last on 2027-03-11"),
        ({"pending": -1}, "its lists of packages are empty, or APT cannot read them"),
    ],
)
def test_why_nobody_knows_what_is_pending(tmp_path: Path, live: dict[str, Value], said: str) -> None:
    (one,) = found(facts(tmp_path, "patching", {**FINE, **live}), "patching")
    assert one.what == f"what is pending on srv-1 is not known: {said}"


def test_a_host_that_may_reboot_waits_for_nobody(tmp_path: Path) -> None:
    text = POLICY.replace("policy: {", "policy: {reboot: if needed, ")
    assert codes(facts(tmp_path, "patching", {**FINE, "reboot": True}, text=text), "patching") == []


def test_of_a_host_that_gave_no_answer_nothing_is_said(tmp_path: Path) -> None:
    assert codes(facts(tmp_path, "patching", {}, "it gave no answer"), "patching") == []
    assert codes(facts(tmp_path, "backup", {}, "it gave no answer"), "backup") == []


RAN: Mapping[str, Value] = {"ok": True, "error": "", "ended": SECONDS - HOUR, "latest": SECONDS - HOUR}


@pytest.mark.parametrize(
    ("live", "said"),
    [
        ({}, []),
        ({"latest": SECONDS - 26 * HOUR}, []),
        ({"latest": SECONDS - 26 * HOUR - 1}, ["backup.rpo severe"]),
        ({"latest": 0}, ["backup.rpo warning"]),
        ({"ok": False, "error": "no space left"}, ["backup.failed severe"]),
        ({"bytes": 49, "before": 100}, ["backup.size warning"]),
        ({"bytes": 50, "before": 100}, []),
        ({"bytes": 0, "before": 2**30, "ok": False}, ["backup.failed severe"]),
        ({"bytes": 2 * 2**30, "before": 2**30}, []),
        ({"bytes": 2 * 2**30 + 1, "before": 2**30}, ["backup.size warning"]),
        ({"bytes": 300, "before": 100}, []),
        ({"checked": 0}, []),
        ({"checked": SECONDS - 8 * DAY}, []),
        ({"checked": SECONDS - 10 * DAY}, ["backup.check warning"]),
        ({"checked": SECONDS - HOUR, "broken": "Fatal: repository contains errors"}, ["backup.check severe"]),
    ],
)
def test_backups(tmp_path: Path, live: dict[str, Value], said: list[str]) -> None:
    of = facts(tmp_path, "backup", {f"notte {name}": value for name, value in {**RAN, **live}.items()})
    assert codes(of, "backup") == said
    assert all(f.path == "hosts/acme/srv-1/backup/notte" for f in found(of, "backup"))
    assert all(f.source == "customers/acme/backup.yaml:3" for f in found(of, "backup"))


@pytest.mark.parametrize(
    ("live", "said"),
    [
        ({"good": SECONDS - 8 * DAY, "error": ""}, []),
        ({"good": SECONDS - 10 * DAY, "error": ""}, ["backup.thinning warning"]),
        ({"good": SECONDS, "error": "it is locked"}, ["backup.thinning warning"]),
        ({}, []),
    ],
)
def test_thinning_out(tmp_path: Path, live: dict[str, Value], said: list[str]) -> None:
    keep = 'schedule: "12:00", keep: {daily: 3}'
    text = f"thinning: {{old: {{host: srv-1, folder: /srv/restic, password: ACME_RESTIC, {keep}}}}}\n{BACKUP}"
    live = {f"thinning/old {name}": v for name, v in live.items()} | {f"notte {name}": v for name, v in RAN.items()}
    assert codes(facts(tmp_path, "backup", live, text=text), "backup") == said


@pytest.mark.parametrize(
    ("live", "said"),
    [
        ({}, ["backup.rpo warning"]),
        ({"latest": SECONDS - HOUR, "ended": SECONDS - HOUR, "ok": True}, []),
        ({"latest": SECONDS - 27 * HOUR, "ended": SECONDS - 27 * HOUR, "ok": True}, ["backup.rpo severe"]),
        ({"latest": SECONDS - 2 * HOUR, "ended": SECONDS - HOUR, "ok": False, "error": "no"}, ["backup.failed severe"]),
    ],
)
def test_what_others_report(tmp_path: Path, live: dict[str, Value], said: list[str]) -> None:
    text = "reports: {veeam: {host: srv-1, files: /srv/reports/*, format: veeam, covers: srv-1, rpo: 26h}}\n"
    of = facts(tmp_path, "backup", {f"report/veeam {name}": v for name, v in live.items()}, text=text)
    assert codes(of, "backup") == said
    assert all(f.path == "hosts/acme/srv-1/backup/veeam" and f.source.endswith(".yaml:1") for f in found(of, "backup"))


def test_a_backup_that_never_ran(tmp_path: Path) -> None:
    (one,) = found(facts(tmp_path, "backup", {}), "backup")
    assert one.what == "backup notte of srv-1 has no copy yet"


def test_words_for_people(tmp_path: Path) -> None:
    late = (NOW - timedelta(hours=30)).timestamp()
    live = {**RAN, "latest": int(late), "bytes": 3 * 2**30 + 5, "before": 20 * 2**30 + 7}
    of = facts(tmp_path, "backup", {f"notte {name}": value for name, value in live.items()})
    assert [f.what for f in found(of, "backup")] == [
        "the newest copy of backup notte of srv-1 is older than 26h: 2027-03-14 00:00 UTC",
        "backup notte of srv-1 holds 3 GiB, the copy before held 20 GiB",
    ]
