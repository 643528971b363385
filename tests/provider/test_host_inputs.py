"""What is wrong with a host is said of its property, all of it at once; no host is needed for that."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from mspctl.provider import inputs, shapes
from mspctl.provider.repository import Repository
from tests.provider.test_proving import FILES

SHAPE = shapes.of_facet("hosts")
JOB = {
    **dict.fromkeys(("host_key", "login", "key"), ""),
    **{name: [] for name in ("exclude", "keep", "dumps", "amiss")},
    **dict.fromkeys(("upload", "check", "read"), 0),
    "program": "restic",
    "paths": ["/srv"],
    "repository": "/mnt/backup",
    "append_only": False,
    "password": "ACME_RESTIC",
    "schedule": "02:30",
    "timezone": "Europe/Rome",
}
WINDOW = {"hours": "sun 02:00-05:00", "timezone": "Europe/Rome", "amiss": []}


@pytest.fixture
def acme(repository: Path) -> Repository:
    for name in ("customers", "inventory"):
        shutil.rmtree(repository / name)
    for name, text in FILES.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(text)
    return Repository(repository)


def failures(acme: Repository, section: str, **resources: Any) -> dict[str, str]:
    said = {"customer": "acme", "target": "servers", "name": f"acme/srv-1/{section}", "resources": resources}
    return dict(inputs.check(SHAPE, said, acme).failures)


def test_what_is_right_passes(acme: Repository) -> None:
    assert failures(acme, "backup", job={"notte": JOB}) == {}
    assert failures(acme, "patching", window={"window": WINDOW}, hold={"libc6": {"held": True}}) == {}


def test_what_would_become_part_of_a_path_or_a_command_is_a_name(acme: Repository) -> None:
    bad = {**JOB, "paths": ["srv/../.."], "amiss": ["all is well"]}
    job = {"../../root/.ssh/x": JOB, "notte": bad}
    scan = {"a b": {"paths": ["/srv"], "schedule": "02:30", "timezone": "UTC", "amiss": []}}
    assert failures(acme, "backup", job=job, scan=scan) == {
        'resources.job["../../root/.ssh/x"]': "'../../root/.ssh/x' is not a name (small letters, digits and -)",
        "resources.job.notte.paths": "'srv/../..' is not an absolute path (write /srv)",
        "resources.job.notte.amiss": "is what is found, never what is wished (write [])",
        'resources.scan["a b"]': "'a b' is not a name (small letters, digits and -)",
    }
    hold, other = {"restic; reboot": {"held": True}}, {"other": WINDOW}
    found = failures(acme, "patching", hold=hold, window=other)
    assert found['resources.hold["restic; reboot"]'].endswith("is not the name of a package (write postgresql-15)")
    assert found["resources.window.other"] == "write window: there is one of them"


def test_what_a_host_cannot_hold_is_said_of_each(acme: Repository) -> None:
    policy = {"policy": {"what": "everything", "reboot": "never", "amiss": []}}
    window = {"window": {**WINDOW, "hours": "some day"}}
    assert failures(acme, "patching", policy=policy, window=window).keys() == {
        "resources.policy.policy",
        "resources.window.window",
    }
