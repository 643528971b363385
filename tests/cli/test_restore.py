"""Proofs of backups and restores from the command line, through Ansible and SSH, on a real machine with real restic."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mspctl import guards
from mspctl.cli import workspace
from mspctl.exits import Exit
from mspctl.observations import Observations
from mspctl.proof import BACKUP
from mspctl.resource import Scope
from tests.conftest import Run
from tests.servers.hosts import Lan, Machine, machines, unplugged

TARGETS = """targets:
  servers: {secrets: {ssh_key: SSH_KEY}, facets: {hosts: {driver: hosts, connect: 5s}}}
  mail-1: {facets: {mailboxes: {driver: postfixadmin, database: sqlite, file: scratch/mail.db}}}
"""
JOBS = """repositories: {disk: {local: /mnt/backup, password: ACME_RESTIC}}
jobs:
  notte: {host: srv-1, paths: /srv/data, repository: disk, schedule: "02:30", rpo: 26h,
          restore_test: {every: 30d, start: has-prices},
          mailboxes: {acme.example: {target: mail-1, path: /srv/data/mail}}}
"""
SCRIPT = '#!/bin/sh\ngrep -q 100 "$RESTORED/srv/data/prices.txt" && echo "prices are there"\n'
WORD = "Gh31m-R3st1c"
WHO = ("--asked-by", "Maria Rossi", "--ticket", "#4711")


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    with machines("srv-1") as found:
        yield found


@pytest.fixture
def machine(lan: Lan) -> Iterator[Machine]:
    yield lan["srv-1"]
    lan["srv-1"].clean()
    lan["srv-1"].sh("rm -rf /srv/data /var/restored")


@pytest.fixture
def acme(repository: Path, machine: Machine, lan: Lan, run: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A customer with a host whose job has run twice, before and after prices went up."""
    monkeypatch.setenv("MSPCTL_SECRET_SSH_KEY_FILE", str(lan.key))
    monkeypatch.setenv("MSPCTL_SECRET_ACME_RESTIC", WORD)
    for customer in (repository / "customers").iterdir():
        subprocess.run(["rm", "-r", customer], check=True)
    way = f"address: 127.0.0.1, port: {machine.port}, host_key: {machine.host_key}"
    files = {
        "inventory/targets.yaml": TARGETS,
        "customers/acme/customer.yaml": "name: Acme\ntimezone: Europe/Rome\n",
        "customers/acme/hosts.yaml": f"hosts:\n  srv-1: {{target: servers, os: debian-12, {way}}}\n",
        "customers/acme/backup.yaml": JOBS,
        "playbooks/backup/has-prices": SCRIPT,
    }
    for name, text in files.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(text)
    assert run("apply", "--yes").code == Exit.DONE
    for price in ("100", "120 after 100"):
        machine.sh(f"mkdir -p /srv/data/mail/paolo; echo {price} >/srv/data/prices.txt")
        machine.run("systemctl", "start", "mspctl-backup-notte.service")
    return repository


def test_a_backup_is_proved_and_a_file_given_back(
    run: Run, acme: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "it was never proved: backup [proof.missing]  customers/acme/backup.yaml:4" in run("drift").out
    proved = run("prove", "hosts/acme/srv-1/backup/notte")
    assert proved.code == Exit.DONE, proved
    assert "✓ passed  hosts/acme/srv-1/backup/notte  6 steps in " in proved.out
    assert "1 file, 14 B" in proved.out
    assert "prices are there" in proved.out
    said = next(one for one in json.loads(run("drift", "-o", "json").out)["proofs"] if one["verdict"])
    assert (said["verdict"], said["every"]) == ("passed", 30 * 86400)

    machine.sh("rm /srv/data/prices.txt")
    found = run("restore", "find", "acme", "srv-1", "PRICES*")
    assert found.code == Exit.DONE, found
    assert "\n/srv/data/prices.txt\n  changed " in found.out
    assert found.out.splitlines()[-1] == "2 versions of 1 path."
    before = json.loads(run("restore", "find", "acme", "srv-1", "prices*", "-o", "json").out)["found"]
    assert [(one["size"], one["job"], one["copies"]) for one in before] == [(14, "notte", 1), (4, "notte", 1)]

    monkeypatch.setattr(workspace, "RUN_ID", "the-first")
    given = run("restore", "get", "acme", "srv-1", "prices.txt", *WHO, "--in-place", "--yes")
    assert given.code == Exit.DONE, given
    assert "compared  as in the copy" in given.out
    assert machine.sh("cat /srv/data/prices.txt; ls /var/restored") == "120 after 100\n"
    log = run("restore", "log", "acme").out
    assert "srv-1  prices.txt  1 file of 20" in log
    assert "asked by Maria Rossi (#4711), done by " in log
    (first,) = [
        e for e in json.loads(run("restore", "log", "acme", "-o", "json").out)["restores"] if e["run"] == "the-first"
    ]
    assert first["given"]["paths"] == ["/srv/data/prices.txt"]
    history = subprocess.run(["git", "log", "-p", "--all"], capture_output=True, text=True, check=True).stdout
    assert WORD not in history
    assert history.count("restore: asked, acme srv-1") == 1  # before anything was restored
    assert machine.sh("ls -d /var/tmp/mspctl-* /run/mspctl-* 2>/dev/null", check=False) == ""
    assert WORD not in machine.sh("journalctl --no-pager; grep -r R3st1c /var/tmp /var/lib/mspctl /tmp; true")


@pytest.mark.soak
@pytest.mark.soak
def test_a_proof_of_mailboxes_is_what_purges_go_by(run: Run, acme: Path, machine: Machine) -> None:
    """It vouches for the moment at which the copy was taken, and no later one."""
    proved = run("prove", "mailboxes/acme.example", "-o", "json")
    assert proved.code == Exit.DONE, proved
    scope = Scope("mail-1", "mailboxes", "acme.example")
    (proof,) = Observations.fetched(acme).proofs([scope]).values()
    (newest,) = json.loads(run("restore", "find", "acme", "srv-1", "/srv/data/mail", "-o", "json").out)["found"]
    assert (proof.section, proof.name, str(proof.state)) == (BACKUP, "notte", newest["time"].replace("T", " "))
    taken = datetime.fromisoformat(newest["time"])
    assert guards.purge(proof, taken - timedelta(hours=1)) == ""
    assert "the backup that was proved is of " in guards.purge(proof, taken)
    machine.sh("mv /mnt/backup /mnt/gone")
    assert run("prove", "mailboxes/acme.example").code == Exit.DIFFERS
    machine.sh("mv /mnt/gone /mnt/backup")
    (failed,) = Observations.fetched(acme).proofs([scope]).values()
    assert "failed (a copy is there: " in guards.purge(failed, taken - timedelta(hours=1))


def test_what_goes_wrong_is_one_line_and_recorded(
    run: Run, acme: Path, machine: Machine, lan: Lan, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments, said in (
        (("find", "acme", "srv-2", "x"), "acme has no host 'srv-2' (did you mean srv-1?)"),
        (("find", "acme", "srv-1", "x", "--job", "nott"), "srv-1 has no backup 'nott' (did you mean notte?)"),
        (("find", "acme", "srv-1", "x", "--at", "soon"), "--at: 'soon' is neither a time nor so long ago"),
        (("find", "acme", "srv-1", "*"), "PATTERN is a name or a path"),
        (("get", "acme", "srv-1", "x"), "Missing option '--asked-by'"),
        (("get", "acme", "srv-1", "x", *WHO, "--to", "restored"), "--to: 'restored' is not an absolute path"),
        (("get", "acme", "srv-1", "none", *WHO), "not given back: nothing matches"),
    ):
        monkeypatch.setattr(workspace, "RUN_ID", said[:4])
        done = run("restore", *arguments)
        assert done.code in (Exit.ERROR, Exit.USAGE)
        assert said in done.err
    monkeypatch.setattr(workspace, "RUN_ID", "away")
    with unplugged(lan, machine):
        assert "it refuses connections" in run("restore", "get", "acme", "srv-1", "prices.txt", *WHO).err
    machine.sh(f"echo {WORD}x >/etc/mspctl/backup/notte.password")
    failed = run("prove", "hosts", "-o", "json")
    assert failed.code == Exit.DIFFERS
    assert "wrong password or no key found" in failed.out
    assert "the last proof failed: a copy is there: Fatal: wrong password" in run("drift").out
    (acme / "playbooks/backup/has-prices").unlink()
    missing = run("prove", "hosts")
    assert missing.code == Exit.UNREACHABLE
    assert "there is no playbooks/backup/has-prices in the repository" in missing.out
    errors = [entry["error"] for entry in json.loads(run("restore", "log", "acme", "-o", "json").out)["restores"]]
    assert errors == ["it refuses connections", "nothing matches"]


@pytest.mark.soak
def test_without_its_remote_the_record_stays_here(run: Run, acme: Path, machine: Machine, tmp_path: Path) -> None:
    remote = tmp_path / "remote.git"
    subprocess.run(["git", "init", "--quiet", "--bare", remote], check=True)
    subprocess.run(["git", "remote", "add", "origin", remote], check=True)
    subprocess.run(["git", "push", "--quiet", "origin", "ledger"], check=True)
    os.rename(remote, tmp_path / "away.git")
    given = run("restore", "get", "acme", "srv-1", "/srv/data", *WHO, "--to", "/var/restored/for-maria", "-o", "json")
    assert given.code == Exit.DONE, given
    assert json.loads(given.out)["folder"] == "/var/restored/for-maria"
    assert machine.sh("cat /var/restored/for-maria/srv/data/prices.txt") == "120 after 100\n"
    assert "stays here until `mspctl ledger push` sends it" in given.err
    os.rename(tmp_path / "away.git", remote)
    assert run("ledger", "push").code == Exit.DONE
    sent = subprocess.check_output(["git", "log", "ledger", "--format=%s"], cwd=remote, text=True)
    assert sent.startswith("restore: over, acme srv-1\nrestore: asked, acme srv-1\n")
