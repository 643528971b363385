"""`apply --due` on real machines: updates are installed inside their window, and not outside; and reboots."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mspctl.cli import workspace
from mspctl.exits import Exit
from tests.conftest import Run
from tests.servers.hosts import SECURITY, Lan, machines, unplugged

TARGETS = "targets:\n  servers: {secrets: {ssh_key: SSH_KEY}, facets: {hosts: {driver: hosts, connect: 5s}}}\n"
NAMES = ("srv-1", "srv-2")
DEMO = [["demo", "1.0", "1.1"]]
INSTALL = (
    "systemctl start mspctl-patching.service || { journalctl --no-pager -n 40 -u mspctl-patching.service >&2; exit 1; }"
)
BEFORE = "cd /srv/archive && dpkg-deb -b demo/1.0 old.deb && dpkg -i --force-downgrade old.deb && rm old.deb"
VERSION, BOOT = "dpkg-query -W -f '${Version}' demo", "cat /proc/sys/kernel/random/boot_id"


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    with machines(*NAMES) as found:
        yield found


@pytest.fixture
def acme(repository: Path, lan: Lan, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two hosts with a security update to come, in a window of eight hours around now; srv-2 may reboot for it."""
    monkeypatch.setenv("MSPCTL_SECRET_SSH_KEY_FILE", str(lan.key))
    for machine in lan.machines.values():
        machine.clean()
        machine.archive(*SECURITY)
    (repository / "inventory/targets.yaml").write_text(TARGETS)
    for customer in (repository / "customers").iterdir():
        subprocess.run(["rm", "-r", customer], check=True)
    folder = repository / "customers/acme"
    folder.mkdir()
    (folder / "customer.yaml").write_text("name: Acme\n")
    entries = [f"  {n}: {{address: 127.0.0.1, port: {lan[n].port}, host_key: {lan[n].host_key}}}\n" for n in NAMES]
    (folder / "hosts.yaml").write_text("defaults: {target: servers, os: debian-12}\nhosts:\n" + "".join(entries))
    begins = datetime.now(UTC) - timedelta(hours=4)
    window = f"{begins:%H}:00-{begins + timedelta(hours=8):%H}:00"
    (folder / "patching.yaml").write_text(f"""policy: {{what: security, window: "{window}"}}
hosts: {{srv-2: {{reboot: if needed}}}}
""")
    return repository


def test_updates_are_installed_in_their_window_and_only_there_and_a_host_reboots_if_it_may(
    run: Run, acme: Path, lan: Lan, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("apply", "--yes").code == Exit.DONE
    for name in NAMES:
        lan[name].run("systemctl", "start", "mspctl-patching-facts.service")
    with monkeypatch.context() as patched:
        patched.setattr(workspace, "now", lambda: datetime.now(UTC) + timedelta(hours=12))
        quiet = run("apply", "--due", "--yes")
    assert (quiet.code, quiet.out) == (Exit.DONE, "")
    assert [lan[name].sh(VERSION) for name in NAMES] == ["1.0", "1.0"]

    lan["srv-2"].sh("touch /run/reboot-required")
    boots = [lan[name].sh(BOOT) for name in NAMES]
    due = run("apply", "--due", "--yes")
    lan["srv-2"].rebooted()
    assert due.code == Exit.DONE, due
    told = [line.partition("; the")[0] for line in due.out.splitlines()]
    first, second = (f"updates of {name} of acme: " for name in NAMES)
    assert told[:2] == [f"{first}1 security update", f"{second}1 security update and a reboot"]
    # A host counts anew when it has installed, in its own time; and may be down before it has.
    assert told[2] in (f"{first}nothing left", f"{first}what is left is not counted yet")
    assert told[3] in (f"{second}rebooted, nothing left", f"{second}rebooted, what is left is not counted yet")
    assert [lan[name].sh(VERSION) for name in NAMES] == ["1.1", "1.1"]
    assert [lan[name].sh(BOOT) == boot for name, boot in zip(NAMES, boots, strict=True)] == [True, False]
    assert "enabled" in lan["srv-2"].sh("systemctl is-enabled mspctl-patching.timer")
    history = run("show", "acme", "--history").out.splitlines()
    assert history[0].endswith(" · updates on srv-1, srv-2")
    (page,) = json.loads(run("show", "acme", "--history", "-o", "json").out)["updates"]
    for name, line, more in zip(NAMES, told[2:], ("", " and a reboot"), strict=True):
        assert page["hosts"][name]["would"] == f"1 security update{more}"
        assert page["hosts"][name]["rebooted"] == bool(more)
        if line.endswith("nothing left"):
            assert f"    {name}: demo 1.0 → 1.1{', rebooted' if more else ''}" in history
            assert page["hosts"][name]["installed"] == [["demo", "1.0", "1.1"]]

    lan["srv-1"].sh(f"{BEFORE} && sleep 1; {INSTALL}")  # as its timer does
    drift = run("drift", "--record", "--output", "json")
    own = json.loads(drift.out)["installed"]
    assert [(each["host"], each["packages"]) for each in own if each["host"] == "srv-1"] == [("srv-1", DEMO)]
    assert "installed by hosts themselves this week: 1 package on 1 host" in run("report").out
    history = run("show", "acme", "--history").out.splitlines()
    itself = [line for line in history if "installed by the host itself" in line]
    assert [line.partition(" · ")[2] for line in itself] == ["installed by the host itself: demo 1.0 → 1.1"]
    assert history.index(itself[0]) < next(n for n, line in enumerate(history) if "updates on srv-1" in line)

    with unplugged(lan, lan["srv-1"]):
        again = run("apply", "--due", "--yes")
    assert again.code == Exit.PARTLY
    assert again.out == "updates of srv-1 of acme: not known: it refuses connections\n"


def test_a_host_that_was_not_applied_yet_says_so(run: Run, acme: Path, lan: Lan) -> None:
    due = run("apply", "--due", "--yes")
    assert due.code == Exit.PARTLY
    assert "updates of srv-1 of acme: patching is not set up there as Git says: mspctl apply first" in due.out
    assert lan["srv-1"].sh(VERSION) == "1.0"
    said = "    srv-1: patching is not set up there as Git says: mspctl apply first"
    assert said in run("show", "acme", "--history").out.splitlines()
