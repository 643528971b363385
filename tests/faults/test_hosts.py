"""
Hosts of which each has another fault, hosts that go in the middle, and an mspctl that is killed there.

That each fault is a line of its host is in tests/cli/test_hosts.py too; here whole applies fail, and are healed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mspctl.exits import Exit
from mspctl.transports.private import MEMORY
from tests.conftest import ROOT, Run
from tests.servers.hosts import Lan, Machine, machines, plug, unplugged

pytestmark = pytest.mark.soak
NAMES = ("srv-1", "srv-2", "srv-3", "srv-4", "srv-5", "srv-6")
TARGETS = "targets:\n  servers: {secrets: {ssh_key: SSH_KEY}, facets: {hosts: {driver: hosts, connect: 5s}}}\n"
WORD, RESTIC = f"Gh31m-{os.getpid()}-W0rd", "MSPCTL_SECRET_ACME_RESTIC"
CONFIG = "/etc/apt/apt.conf.d/99mspctl-patching"
BACKUP = """repositories: {disk: {local: /mnt/backup, password: ACME_RESTIC}}
jobs: {notte: {host: srv-1, paths: /srv, repository: disk, schedule: "02:30", rpo: 26h}}
"""


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    with machines(*NAMES) as found:
        yield found


@pytest.fixture
def acme(repository: Path, lan: Lan, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MSPCTL_SECRET_SSH_KEY_FILE", str(lan.key))
    monkeypatch.setenv(RESTIC, WORD)
    for machine in lan.machines.values():
        end(machine)
        machine.clean()
    (repository / "inventory/targets.yaml").write_text(TARGETS)
    for customer in (repository / "customers").iterdir():
        subprocess.run(["rm", "-r", customer], check=True)
    folder = repository / "customers/acme"
    folder.mkdir()
    (folder / "customer.yaml").write_text("name: Acme\n")
    (folder / "backup.yaml").write_text(BACKUP)
    (folder / "patching.yaml").write_text("""policy: {what: security, window: "sun 02:00-05:00"}
hosts: {srv-1: {holds: {restic: {why: ticket 4711, until: 2099-12-31}}}}
""")
    return repository


def reached(acme: Path, lan: Lan, *names: str, **otherwise: str) -> None:
    """These hosts, as they are, or as somebody wrote wrongly; `-` in a name is `_` here."""
    entries = []
    for name in names:
        said = f"port: {lan[name].port}, host_key: {lan[name].host_key}"
        entries.append(f"  {name}: {{address: 127.0.0.1, {otherwise.get(name.replace('-', '_'), said)}}}\n")
    text = "defaults: {target: servers, os: debian-12}\nhosts:\n" + "".join(entries)
    (acme / "customers/acme/hosts.yaml").write_text(text)


def test_each_fault_is_a_line_of_its_host_and_the_next_apply_heals(run: Run, acme: Path, lan: Lan) -> None:
    guest = f"port: {lan['srv-2'].port}, host_key: {lan['srv-2'].host_key}, user: guest"
    other = f"port: {lan['srv-4'].port}, host_key: {lan['srv-1'].host_key}"
    reached(acme, lan, *NAMES, srv_2=guest, srv_4=other)
    lan["srv-3"].sh("mv /usr/bin/python3 /usr/bin/python3.gone")
    lan["srv-5"].sh(FULL)
    with unplugged(lan, lan["srv-6"]):
        applied = run("apply", "--yes")
    assert applied.code in (Exit.PARTLY, Exit.ERROR), applied
    for said in (
        "guest may not use sudo there without a password",
        "it has no /usr/bin/python3",
        "its host key is another than hosts.yaml says: nothing was sent",
        "/etc/systemd/system/mspctl-patching.service: No space left on device",
        "it refuses connections",
    ):
        assert applied.out.count(said) >= 1, (said, applied.out)
    assert "Traceback" not in applied.out + applied.err
    assert "enabled" in lan["srv-1"].sh("systemctl is-enabled mspctl-patching.timer")
    left = lan["srv-5"].sh("ls -A /etc/systemd/system /usr/local/lib/mspctl | grep mspctl || true")
    assert [line for line in left.splitlines() if not line.startswith("/")] == []  # its window is whole, or not there
    assert lan["srv-5"].sh(f"tail -1 {CONFIG}").startswith("Unattended-Upgrade::MinimalSteps")

    lan["srv-3"].sh("mv /usr/bin/python3.gone /usr/bin/python3")
    lan["srv-5"].sh("umount /etc/systemd/system")
    reached(acme, lan, *NAMES)
    assert run("apply", "--yes").code == Exit.DONE
    assert run("plan").code == Exit.DONE
    for name in NAMES:
        assert "enabled" in lan[name].sh("systemctl is-enabled mspctl-patching.timer")


# Where units go is a small disk, which is full.
FULL = """set -e
cp -a /etc/systemd/system /root/units
mount -t tmpfs -o size=64k,mode=755 tmpfs /etc/systemd/system
cp -a /root/units/. /etc/systemd/system/
dd if=/dev/zero of=/etc/systemd/system/filler bs=4k count=64 2>/dev/null || true
"""

# `apt-mark`, with which a package is held, says that it was begun, and takes its time.
SLOW = """set -e
cp /usr/bin/apt-mark /root/apt-mark
printf '#!/bin/sh\\ntouch /run/begun\\nsleep 3\\nexec /root/apt-mark "$@"\\n' >/root/slow
chmod 755 /root/slow
mount --bind /root/slow /usr/bin/apt-mark
"""


def begun(acme: Path, machine: Machine) -> subprocess.Popen[str]:
    """An apply in a process of its own, which is in the middle of the host now."""
    machine.sh(SLOW)
    (acme / "scratch/tmp").mkdir(parents=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(acme / "scratch/tmp")}
    command = [sys.executable, "-m", "mspctl", "apply", "--yes"]
    process = subprocess.Popen(command, cwd=acme, env=environment, stdout=-1, stderr=-1, text=True)
    for _ in range(1200):
        if machine.sh("ls /run/begun 2>/dev/null", check=False):
            return process
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("the host was not reached in a minute")


def end(machine: Machine) -> None:
    """`apt-mark` is as quick as it was, if it was not."""
    machine.sh("umount -q /usr/bin/apt-mark; rm -f /run/begun")


def test_a_host_that_goes_in_the_middle_is_told_and_healed(run: Run, acme: Path, lan: Lan) -> None:
    reached(acme, lan, "srv-1", "srv-2")
    process = begun(acme, lan["srv-1"])
    lan["srv-1"].cable.close()
    out, err = process.communicate(timeout=120)
    plug(lan, lan["srv-1"])
    end(lan["srv-1"])
    assert process.returncode == Exit.PARTLY, (out, err)
    assert "the connection broke in the middle" in out, out
    assert "Traceback" not in out + err
    assert "enabled" in lan["srv-2"].sh("systemctl is-enabled mspctl-patching.timer")
    time.sleep(3)  # what was begun there is done
    assert run("apply", "--yes").code == Exit.DONE
    assert run("plan").code == Exit.DONE
    assert lan["srv-1"].sh("apt-mark showhold") == "restic\n"


def test_killed_in_the_middle_it_heals_and_leaves_no_secret(run: Run, acme: Path, lan: Lan) -> None:
    reached(acme, lan, "srv-1")
    process = begun(acme, lan["srv-1"])
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    time.sleep(4)
    end(lan["srv-1"])
    holder = run("unlock").out.partition("run ")[2].split()[0].rstrip(",:;)")
    assert run("unlock", "--run", holder).code == Exit.DONE
    applied = run("apply", "--yes")
    assert applied.code == Exit.DONE, applied
    assert run("plan").code == Exit.DONE
    assert lan["srv-1"].sh("tail -1 /etc/mspctl/backup/notte.password") == f"{WORD}\n"
    assert not [*MEMORY.glob(f"mspctl-{process.pid}-*")]
    key = lan.key.read_text().splitlines()[2]
    for word in (WORD, key):
        assert word not in applied.out + applied.err
        here = subprocess.run(["grep", "-rlF", "--", word, acme, MEMORY], capture_output=True, text=True)
        assert here.stdout == ""
        inside = f"journalctl --no-pager | grep -F -- '{word}'; grep -rlF -- '{word}' /etc /tmp /var /root /run"
        found = lan["srv-1"].sh(f"{inside}; true").splitlines()
        assert [line for line in found if line != "/etc/mspctl/backup/notte.password"] == []


def test_a_file_that_somebody_put_in_place_of_ours_stays(run: Run, acme: Path, lan: Lan) -> None:
    reached(acme, lan, "srv-1")
    assert run("apply", "--yes").code == Exit.DONE
    lan["srv-1"].sh(f"echo '// mine' >{CONFIG}")
    drift = run("drift")
    assert f"{CONFIG} was edited" in drift.out
    reverted = run("apply", "--revert", "--yes")
    assert reverted.code != Exit.DONE
    assert f"{CONFIG} is somebody else's" in reverted.out
    assert lan["srv-1"].sh(f"cat {CONFIG}") == "// mine\n"


def test_a_whole_run_leaves_its_secrets_nowhere(run: Run, acme: Path, lan: Lan) -> None:
    """From a new host to a file that was given back: nothing says them that a process, log or file would keep."""
    reached(acme, lan, "srv-1", "srv-2")
    (acme / "customers/acme/backup.yaml").write_text(BACKUP.replace("rpo: 26h", "rpo: 26h, restore_test: {every: 7d}"))
    machine, key = lan["srv-1"], lan.key.read_text().splitlines()[2]
    machine.sh("mkdir -p /mnt/backup /srv && echo offerta >/srv/offerta")
    watch = subprocess.Popen([sys.executable, "-c", ARGUMENTS, WORD, key], stdin=-1, stdout=-1)
    said = []
    try:
        for words in (
            ("plan",),
            ("apply", "--yes"),
            ("drift", "--record"),
            ("prove",),
            ("restore", "find", "acme", "srv-1", "offerta"),
            ("restore", "get", "acme", "srv-1", "offerta", "--asked-by", "Maria"),
            ("inventory", "collect", "acme"),
        ):
            if words == ("prove",):
                machine.run("systemctl", "start", "mspctl-backup-notte.service")
            said.append(run(*words))
    finally:
        found, _ = watch.communicate(b"\n", 60)
    assert found == b""
    codes = [each.code for each in said]
    assert codes == [Exit.DIFFERS, Exit.DONE, Exit.DIFFERS, Exit.DONE, Exit.DONE, Exit.DONE, codes[-1]], said
    inside = "journalctl --no-pager | grep -F -- '{0}'; grep -rlF -- '{0}' /etc /tmp /var /root /run /srv"
    for word in (WORD, key):
        assert not any(word in each.out + each.err for each in said)
        here = subprocess.run(["grep", "-rlF", "--", word, acme, MEMORY], capture_output=True, text=True)
        assert here.stdout == ""
        left = machine.sh(f"{inside.format(word)}; true").splitlines()
        assert [line for line in left if line != "/etc/mspctl/backup/notte.password"] == []
        assert lan["srv-2"].sh(f"{inside.format(word)}; true") == ""
    assert not [*MEMORY.glob(f"mspctl-{os.getpid()}-*")]


# Looks into /proc for the arguments of all others, those on hosts included, until somebody says a line.
ARGUMENTS = """
import glob, os, select, sys
ours = {str(os.getpid()), str(os.getppid())}
while not select.select([sys.stdin], [], [], 0.02)[0]:
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            said = open(path, "rb").read()
        except OSError:
            continue
        if path.split("/")[2] not in ours and any(word.encode() in said for word in sys.argv[1:]):
            print(path, said[:100])
"""
