"""What is on a host, written into the YAML of its section."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mspctl.desired import Rewritten, Selection, back, declarations, once_each
from mspctl.errors import InputError
from mspctl.kinds import patching as kind
from mspctl.kinds.hosts import FACET
from mspctl.resource import Id, Resource
from tests.model.test_hosts import BACKUP, NOW, POLICY, loaded

PATCHING = POLICY + "hosts:\n  srv-1: {holds: {samba: {why: ticket 1, until: 2027-12-31}}}  # as agreed\n"
GUARDS = """policy: {product: clamav, on_access: /srv}
scans:
  own: {host: srv-1, paths: /srv, schedule: "02:30"}
  all: {paths: /srv, schedule: "sun 02:30"}
"""
JOBS = BACKUP.replace("role: files", "host: srv-1")


def adopted(tmp_path: Path, section: str, name: str, *, gone: bool = False, **fields: Any) -> Rewritten:
    """What comes of it when a resource on srv-1 is otherwise in these fields, or gone."""
    files = {"customers/acme/patching.yaml": PATCHING, "customers/acme/backup.yaml": JOBS}
    files["customers/acme/antivirus.yaml"] = GUARDS
    estate = loaded(tmp_path, **files)
    (made,) = [d for d in declarations(estate, Selection(), {}, NOW) if d.scope.name == f"acme/srv-1/{section}"]
    (declared,) = [r for r in made.resources if r.id.name == name]
    live = None if gone else replace(declared, fields={**declared.fields, **fields})
    return back(FACET).rewrite(estate, "acme", made.scope.name, {declared.id: live})


def test_a_policy_is_said_for_the_host_alone(tmp_path: Path) -> None:
    after = adopted(tmp_path, "patching", "policy", reboot="if needed", what="all").after
    assert after.startswith(POLICY)
    assert "reboot: if needed" in after
    assert "what: all" in after
    assert "samba: {why: ticket 1, until: 2027-12-31}" in after


def test_a_window_and_a_hold_that_is_gone(tmp_path: Path) -> None:
    assert "window: mon 01:00-02:00" in adopted(tmp_path, "patching", "window", hours="mon 01:00-02:00").after
    assert "samba" not in adopted(tmp_path, "patching", "samba", gone=True).after


def test_a_job(tmp_path: Path) -> None:
    kept = frozenset({"daily 7"})
    after = adopted(tmp_path, "backup", "notte", paths=frozenset({"/srv", "/home"}), schedule="03:15", keep=kept).after
    assert "paths: [/home, /srv]" in after or "paths: [/srv, /home]" in after
    assert "03:15" in after
    assert "keep: {daily: 7}" in after
    assert "fuori: {host: nas" in after
    assert "notte" not in adopted(tmp_path, "backup", "notte", gone=True).after


def test_an_engine_and_a_scan(tmp_path: Path) -> None:
    said: dict[str, Any] = {"on_access": frozenset({"/srv", "/home"}), "prevent": False, "action": "report"}
    after = adopted(tmp_path, "antivirus", "clamav", **said).after
    assert after.startswith(GUARDS)
    assert "hosts:" in after
    assert "03:00" in adopted(tmp_path, "antivirus", "own", schedule="03:00").after
    assert "own:" not in adopted(tmp_path, "antivirus", "own", gone=True).after


@pytest.mark.parametrize(
    ("section", "name", "fields", "said"),
    [
        ("patching", "policy", {"amiss": frozenset({"x was edited"})}, "what is amiss there cannot be declared"),
        ("patching", "window", {"timezone": "UTC"}, "has another timezone, which is the customer's"),
        ("patching", "policy", {"gone": True}, "is gone, and other hosts may share its policy"),
        ("backup", "notte", {"repository": "/mnt/other"}, "has another repository, which is said elsewhere"),
        ("antivirus", "clamav", {"exclude": frozenset({"/x"})}, "nobody said why and until when"),
        ("antivirus", "clamav", {"mirror": "https://other"}, "has another mirror, which is said elsewhere"),
        ("antivirus", "clamav", {"gone": True}, "a host without antivirus says why"),
        ("antivirus", "all", {"schedule": "03:00"}, "is not a scan of this file for this host alone"),
        ("backup", "notte", {"upload": 0}, "has another upload, which is said elsewhere"),
    ],
)
def test_what_cannot_be_said_is_refused(
    tmp_path: Path, section: str, name: str, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        adopted(tmp_path, section, name, **fields)


def test_a_hold_that_somebody_set_has_no_reason(tmp_path: Path) -> None:
    estate = loaded(tmp_path, patching=PATCHING)
    theirs = {Id(kind.HOLD, "zfs"): Resource(Id(kind.HOLD, "zfs"), {"held": True})}
    with pytest.raises(InputError, match="zfs on srv-1 is held, and nobody said why and until when"):
        back(FACET).rewrite(estate, "acme", "acme/srv-1/patching", theirs)


def test_a_file_that_several_hosts_would_change_is_left_alone(tmp_path: Path) -> None:
    one, other = Rewritten("patching.yaml", "", "a", 1), Rewritten("patching.yaml", "", "b", 1)
    assert once_each([one, one]) == [one]
    with pytest.raises(InputError, match="several hosts or domains would change it at once"):
        once_each([one, other])
