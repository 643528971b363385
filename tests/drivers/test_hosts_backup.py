"""Backups of real hosts with real restic, from their real units: local, and to a server that only lets them add."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mspctl.drivers.hosts import backup
from mspctl.drivers.hosts.bundle import Place
from mspctl.kinds import backup as kind
from mspctl.kinds.hosts import parts
from mspctl.plan import REVERT
from mspctl.playbooks.files import backup_job
from mspctl.resource import Cause, Id, Resource, Scope, Value
from mspctl.secrets import Secret
from tests.drivers.contract import DriverContract, Sample
from tests.drivers.hosts_rig import NAMES, Console, HostsRig, Kept
from tests.drivers.workbench import Workbench
from tests.servers import require
from tests.servers.hosts import NET, Lan, Machine

FIELDS: dict[str, Value] = {
    "program": "restic",
    "paths": frozenset({"/srv/data", "/etc/ssh"}),
    "exclude": frozenset({"*.tmp"}),
    "repository": "/mnt/backup/acme/srv-1",
    "host_key": "",
    "append_only": False,
    "password": "ACME_RESTIC rev 1",
    "login": "",
    "key": "",
    "schedule": "mon-fri 02:30",
    "timezone": "Europe/Rome",
    "keep": frozenset[str](),
    "upload": 0,
    "dumps": frozenset[str](),
    "check": 0,
    "read": 0,
}
NIGHT = kind.job("notte", FIELDS)
VAULT = kind.thinning(
    "vault",
    {
        "program": "restic",
        "folder": "/mnt/backup",
        "password": "ACME_RESTIC rev 1",
        "keep": frozenset({"last 1"}),
        "schedule": "sun 12:00",
        "timezone": "Europe/Rome",
    },
)
VEEAM = kind.report("veeam", {"files": "/srv/reports/**/*.eml", "format": "veeam", "about": ""})
NOON = kind.job("noon", {**FIELDS, "schedule": "12:00", "keep": frozenset({"daily 14", "last 2"})})


def but(resource: Resource, **fields: Any) -> Resource:
    return replace(resource, fields={**resource.fields, **fields})


class BackupRig(HostsRig):
    def by_hand(self, scope: Scope, id_: Id, resource: Resource | None) -> None:
        machine, place, what = self.machine(scope), Place(*parts(scope)), id_.kind.removeprefix("backup.")
        what = "backup" if id_.kind == kind.JOB else what
        timer = f"mspctl-{what}-{id_.name}.timer"
        if resource is None:
            machine.run("systemctl", "disable", "--now", "--quiet", timer)
            machine.sh(f"rm -f /etc/mspctl/{what}*/{id_.name}.* /usr/local/lib/mspctl/{what}-{id_.name}")
            machine.sh(f"rm -f /etc/systemd/system/mspctl-{what}-{id_.name}.*; systemctl daemon-reload")
            return
        machine.sh(f"mkdir -p /etc/mspctl/backup && cd /etc/mspctl/backup && rm -f {id_.name}.login {id_.name}.key")
        for file in backup.bundle(resource, place).files:
            secret = Kept().of("acme", [("", file.secret)])[0].reveal_text() + "\n" if file.secret else ""
            said = (file.text + secret).encode()
            machine.run("install", "-D", "-m", file.mode, "/dev/stdin", file.path, said=said)
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "enable", "--now", "--quiet", timer)

    @contextmanager
    def breaking(self, scope: Scope, after: int) -> Iterator[None]:
        """A disk that takes nothing; or, after the first change, one file that nobody can replace."""
        machine = self.machine(scope)
        path = "/etc/mspctl/reports/veeam.conf" if after else "/etc/systemd/system"
        machine.sh(f"mount --bind {path} {path}" + ("" if after else f" && mount -o remount,ro,bind {path}"))
        yield
        machine.run("umount", path)

    @contextmanager
    def garbled(self, scope: Scope) -> Iterator[None]:
        machine = self.machine(scope)
        machine.sh("cd /etc/mspctl/backup && cp -p notte.conf /tmp/kept && echo '{' >notte.conf")
        yield
        machine.sh("mv /tmp/kept /etc/mspctl/backup/notte.conf")


@pytest.fixture
def rig(lan: Lan, console: Console) -> BackupRig:
    for machine in lan.machines.values():
        machine.clean()
    return BackupRig(lan, console, "backup")


@pytest.mark.soak
class TestBackup(DriverContract):
    """Minutes, for each of many changes is made for real; what is particular to backups is below, and always run."""

    samples = (
        Sample(
            NIGHT,
            (
                but(NIGHT, program="borgmatic"),
                but(NIGHT, paths=frozenset({"/srv"})),
                but(NIGHT, exclude=frozenset({"*.tmp", "[Cc]ache {{ x }}"})),
                but(NIGHT, repository="https://backup.lab:8000/acme/srv-1"),
                but(NIGHT, append_only=True),
                but(NIGHT, password="ACME_RESTIC rev 2"),
                but(NIGHT, login="ACME_REST rev 1"),
                but(NIGHT, key="NAS_KEY rev 1"),
                but(NIGHT, host_key="ssh-ed25519 AAAA"),
                but(NIGHT, schedule="sat,sun 23:59"),
                but(NIGHT, timezone="UTC"),
                but(NIGHT, keep=frozenset({"daily 14", "weekly 8"})),
                but(NIGHT, upload=2048),
                but(NIGHT, dumps=frozenset({"mariadb shop", "postgresql all"})),
                but(NIGHT, check=604800),
                but(NIGHT, read=5),
            ),
        ),
        Sample(NOON, (but(NOON, upload=512),)),
        Sample(kind.job("weekly", {**FIELDS, "schedule": "sun 04:00"}), ()),
        Sample(
            VAULT,
            (
                but(VAULT, program="borgmatic"),
                but(VAULT, folder="/srv"),
                but(VAULT, password="ACME_RESTIC rev 2"),
                but(VAULT, keep=frozenset({"daily 3", "last 1"})),
                but(VAULT, schedule="mon 11:00"),
                but(VAULT, timezone="UTC"),
            ),
        ),
        Sample(
            VEEAM,
            (but(VEEAM, files="/srv/{{ x }}*"), but(VEEAM, format="words"), but(VEEAM, about='it\'s {{ x }} "notte"')),
        ),
    )
    constant: ClassVar = frozenset({"amiss"})
    impossible = (
        (but(NIGHT, schedule="soon"), "'soon' is not a time of the day"),
        (but(NIGHT, paths=frozenset()), "a backup of nothing"),
        (but(NIGHT, program="tar"), "there are backups with restic and borgmatic only"),
        (but(NIGHT, program="borgmatic", repository="s3:https://s3.lab/b"), "borgmatic has no such repositories"),
        (but(NIGHT, program="borgmatic", read=5), "Borg reads all that a repository holds, or nothing of it"),
        (but(VAULT, keep=frozenset()), "thinning out that keeps nothing"),
        (but(VEEAM, format="fax"), "there are reports in the formats json, synology, veeam, words only"),
        (but(NIGHT, append_only=True, keep=frozenset({"daily 1"})), "nothing can be taken out of an append-only"),
    )
    makes_scopes = False


def backed_up(rig: BackupRig, *jobs: Resource) -> tuple[Workbench, Scope, Machine]:
    bench, scope = Workbench(lambda scope: rig.reader(), lambda scope: rig.driver(), approved=True), rig.scopes[0]
    bench.declare(scope, *jobs)
    bench.converge()
    machine = rig.machine(scope)
    machine.sh(
        "rm -rf /srv/data; mkdir -p /srv/data /mnt/backup; cd /srv/data; echo one >a; echo two >b; echo no >c.tmp"
    )
    return bench, scope, machine


def restic(machine: Machine, *words: str) -> str:
    repository = ["env", "RESTIC_PASSWORD=ops:ACME_RESTIC-rev-1", "RESTIC_REPOSITORY=/mnt/backup/acme/srv-1"]
    return machine.run(*repository, "restic", *words)


def test_a_job_runs_from_its_own_unit_and_can_be_restored(rig: BackupRig) -> None:
    bench, scope, machine = backed_up(rig, but(NIGHT, keep=frozenset({"last 2"})))
    assert machine.sh("systemd-analyze verify /etc/systemd/system/mspctl-backup-* 2>&1") == ""
    assert bench.plan()[scope].facts == {}
    for text in ("one", "three", "four"):
        machine.sh(f"echo {text} >/srv/data/a; systemctl start mspctl-backup-notte.service")
    facts = bench.plan()[scope].facts
    assert (facts["notte ok"], facts["notte error"], facts["notte copies"]) == (True, "", 2)
    assert facts["notte latest"] == pytest.approx(time.time(), abs=600)
    restic(machine, "restore", "latest", "--target", "/srv/restored")
    assert machine.sh("cd /srv/restored/srv/data && cat a b && ls && rm -r /srv/restored") == "four\ntwo\na\nb\n"
    secret = "ops:ACME_RESTIC-rev-1"
    assert machine.sh("stat -c %a /etc/mspctl/backup/notte.password") == "600\n"
    assert secret not in machine.sh("journalctl --no-pager; cat /etc/mspctl/backup/*.conf /var/lib/mspctl/*")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("echo x | tee -a /etc/mspctl/backup/notte.password", "wrong password or no key found"),
        ("rm -r /srv/data /etc/ssh/ssh_config.d", "target"),
        ("umount -l /mnt/backup; rm -rf /mnt/backup; : >/mnt/backup", "not a directory"),
    ],
)
def test_what_goes_wrong_is_written_down_without_the_secret(rig: BackupRig, broken: str, said: str) -> None:
    bench, scope, machine = backed_up(rig, but(NIGHT, paths=frozenset({"/srv/data"})))
    machine.run("systemctl", "start", "mspctl-backup-notte.service")
    before = bench.plan()[scope].facts["notte latest"]
    machine.sh(broken, check=False)
    machine.run("systemctl", "start", "mspctl-backup-notte.service", check=False)
    facts = bench.plan()[scope].facts
    assert (facts["notte ok"], facts["notte latest"]) == (False, before)
    assert said in str(facts["notte error"])
    assert "ACME_RESTIC" not in str(facts)


def test_a_copy_without_some_files_is_a_copy_and_told(rig: BackupRig) -> None:
    bench, scope, machine = backed_up(rig, but(NIGHT, paths=frozenset({"/srv/data", "/srv/none"})))
    machine.run("systemctl", "start", "mspctl-backup-notte.service", check=False)
    facts = bench.plan()[scope].facts
    assert (facts["notte ok"], facts["notte copies"]) == (False, 1)
    assert "/srv/none" in str(facts["notte error"])


def test_a_repository_is_checked_after_a_run(rig: BackupRig) -> None:
    """And what is damaged there is told, though the copy itself was made."""
    bench, scope, machine = backed_up(rig, but(NIGHT, paths=frozenset({"/srv/data"}), check=3600, read=100))
    machine.run("systemctl", "start", "mspctl-backup-notte.service")
    facts = bench.plan()[scope].facts
    assert (facts["notte ok"], facts["notte broken"]) == (True, "")
    assert facts["notte checked"] == pytest.approx(time.time(), abs=600)
    machine.sh(
        "f=$(find /mnt/backup/acme/srv-1/data -type f | head -1); chmod u+w $f; printf XX | dd of=$f conv=notrunc"
    )
    machine.sh('sed -i \'s/"checked": [0-9]*/"checked": 1/\' /var/lib/mspctl/backup-notte.json')
    machine.run("systemctl", "start", "mspctl-backup-notte.service", check=False)
    facts = bench.plan()[scope].facts
    assert (facts["notte ok"], facts["notte checked"]) == (True, 1)
    assert "repository contains errors" in str(facts["notte broken"])


def test_a_repository_that_is_gone_is_not_made_anew(rig: BackupRig) -> None:
    bench, scope, machine = backed_up(rig, but(NIGHT, paths=frozenset({"/srv/data"})))
    machine.run("systemctl", "start", "mspctl-backup-notte.service")
    machine.sh("rm -r /mnt/backup/acme")
    machine.run("systemctl", "start", "mspctl-backup-notte.service", check=False)
    facts = bench.plan()[scope].facts
    assert "the repository had copies, and is gone or away" in str(facts["notte error"])
    assert machine.sh("ls /mnt/backup") == ""


def test_a_value_that_was_edited_is_read_as_it_is(rig: BackupRig) -> None:
    bench, scope, machine = backed_up(rig, NIGHT)
    machine.sh("sed -i 's#/etc/ssh#/etc#' /etc/mspctl/backup/notte.conf")
    machine.sh("sed -i s/02:30:00/03:30:00/ /etc/systemd/system/mspctl-backup-notte.timer")
    machine.sh("rm /etc/mspctl/backup/notte.password")
    (difference,) = bench.plan()[scope].left
    assert difference.live is not None
    assert difference.live.fields["paths"] == frozenset({"/srv/data", "/etc"})
    assert difference.live.fields["password"] == ""
    edited = "/etc/systemd/system/mspctl-backup-notte.timer was edited"
    assert difference.live.fields["amiss"] == frozenset({edited})
    assert bench.causes(scope) == {"notte": Cause.DRIFT}
    bench.converge(causes=REVERT)
    assert machine.sh("tail -1 /etc/mspctl/backup/notte.password") == "ops:ACME_RESTIC-rev-1\n"


def test_a_secret_that_is_missing_costs_its_host_only(rig: BackupRig) -> None:
    bench = Workbench(lambda scope: rig.reader(), lambda scope: rig.driver(), approved=True)
    bench.declare(rig.scopes[0], but(NIGHT, password="MISSING rev 1"))
    bench.declare(rig.scopes[1], NIGHT)
    outcome = bench.apply()
    assert [(e.scope, e.error) for e in outcome.unfinished] == [(rig.scopes[0], "secret MISSING is not set")]
    assert outcome.landed == 1


def certificate(machine: Machine, folder: Path) -> tuple[Path, Path]:
    """The key and certificate of a server on the LAN, which the machine trusts."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    subject = ["-subj", "/CN=backup.lab", "-addext", f"subjectAltName=IP:{NET}.1"]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*make, "-keyout", key, "-out", cert], check=True, capture_output=True)
    path = "/usr/local/share/ca-certificates/lab.crt"
    machine.run("install", "-D", "-m", "644", "/dev/stdin", path, said=cert.read_bytes())
    machine.sh("update-ca-certificates 2>&1")
    return key, cert


@pytest.fixture
def server(lan: Lan, tmp_path: Path) -> Iterator[str]:
    """A repository server on the LAN that lets hosts add, and nothing else; TLS with a certificate of its own."""
    program = require("rclone")
    key, cert = certificate(lan[NAMES[0]], tmp_path)
    login = ["--user", "ops", "--pass", "ACME_REST-rev-1", "--cert", str(cert), "--key", str(key)]
    address = f"{NET}.1:8443"
    command = [program, "serve", "restic", "--append-only", "--addr", address, *login, str(tmp_path / "repositories")]
    process = subprocess.Popen(lan.inside(*command), stderr=subprocess.DEVNULL)
    try:
        yield f"https://{address}"
    finally:
        process.kill()
        process.wait(60)


def test_append_only_holds(rig: BackupRig, server: str) -> None:
    said = {"repository": f"{server}/acme/srv-1", "append_only": True, "login": "ACME_REST rev 1"}
    bench, scope, machine = backed_up(rig, but(NIGHT, **said))
    for _ in range(100):
        machine.run("systemctl", "start", "mspctl-backup-notte.service", check=False)
        if bench.plan()[scope].facts["notte ok"]:
            break
        time.sleep(0.1)
    facts = bench.plan()[scope].facts
    assert (facts["notte ok"], facts["notte copies"]) == (True, 1), facts
    url = server.replace("https://", "rest:https://ops:ACME_REST-rev-1@")
    environment = ["env", "RESTIC_PASSWORD=ops:ACME_RESTIC-rev-1", f"RESTIC_REPOSITORY={url}/acme/srv-1/"]
    refused = machine.run("timeout", "5", *environment, "restic", "forget", "latest", check=False)
    left = json.loads(machine.run(*environment, "restic", "snapshots", "--no-lock", "--json"))
    assert len(left) == 1, refused
    assert "ACME_REST-rev" not in machine.sh("journalctl --no-pager; cat /var/lib/mspctl/*")


def test_a_copy_on_another_host(rig: BackupRig, lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over SFTP, to a host whose key is pinned; another key is not talked to."""
    nas = lan["srv-2"]
    monkeypatch.setattr(Kept, "of", keys(lan.key.read_bytes()))
    said = {"repository": f"sftp://ops@{nas.address}:22/home/ops/restic/acme/srv-1", "key": "NAS_KEY rev 1"}
    right = but(NIGHT, host_key=nas.host_key, **said)
    nas.sh("rm -rf /home/ops/restic; install -d -o ops /home/ops/restic/acme")
    bench, scope, machine = backed_up(rig, right)
    machine.run("systemctl", "start", "mspctl-backup-notte.service")
    assert bench.plan()[scope].facts["notte copies"] == 1
    assert "config" in nas.sh("ls /home/ops/restic/acme/srv-1; rm -r /home/ops/restic")
    assert machine.sh("ls -d /run/mspctl-* 2>/dev/null", check=False) == ""
    bench.declare(scope, but(right, host_key=machine.host_key))
    bench.converge()
    machine.run("systemctl", "start", "mspctl-backup-notte.service", check=False)
    facts = bench.plan()[scope].facts
    assert (facts["notte ok"], facts["notte copies"]) == (False, 0)
    assert "restic" not in nas.sh("ls /home/ops")


def keys(private: bytes) -> Callable[..., list[Secret]]:
    def of(kept: Kept, customer: str, wanted: Sequence[tuple[str, str]]) -> list[Secret]:
        return [Secret(said, private.rstrip() if "KEY" in said else b"word") for _, said in wanted]

    return of


LOCK = f"write /mnt/b/locks/{'b498d559' * 8}-tmp-2996: no space left on device"
TRACE = "github.com/restic/restic/internal/backend/local.(*Local).Save\n\tgithub.com/restic/restic/local.go:170\n"
AGAIN = "Save(<data/357ce333bc>) returned error, retrying after 552.330144ms: server response unexpected: "


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Fatal: wrong password or no key found\n", "Fatal: wrong password or no key found"),
        (
            f"{LOCK}\n{TRACE}unable to create lock in backend\n",
            "unable to create lock in backend: write /mnt/b/locks/b498d559…: no space left on device",
        ),
        (f"{TRACE}unable to create lock in backend\n", "unable to create lock in backend"),
        (
            f"{AGAIN}500 Internal Server Error (500)\n{AGAIN}403 Forbidden (403)\nFatal: unable to save: 403 Forbidden",
            "Fatal: unable to save: 403 Forbidden (is the disk there full?)",
        ),
        (
            'Fatal: unable to save snapshot: Write: sftp: "Failure" (SSH_FX_FAILURE)\n',
            'Fatal: unable to save snapshot: Write: sftp: "Failure" (SSH_FX_FAILURE) (is the disk there full?)',
        ),
        ("Fatal: gh31m is wrong\n", "Fatal: *** is wrong"),
        ("", "it failed without a word"),
    ],
)
def test_what_restic_says_when_it_fails(said: str, meant: str) -> None:
    restic = backup_job.Restic.__new__(backup_job.Restic)
    restic.secrets = ["gh31m"]
    assert restic.reason(said.splitlines()) == meant


SMALL, NOTTE = "mount -t tmpfs -o size=3m,mode=777 tmpfs {0}", ("systemctl", "start", "mspctl-backup-notte.service")
FULL = {
    "in the middle": ("head -c 5000000 /dev/urandom >/srv/data/big", "Fatal: unable to save snapshot: "),
    "before it began": (
        "dd if=/dev/zero of=/mnt/backup/filler 2>/dev/null || true",
        "unable to create lock in backend: ",
    ),
}


@pytest.mark.soak
@pytest.mark.parametrize("when", FULL)
def test_a_disk_that_is_full_is_one_line_and_costs_its_host_only(rig: BackupRig, when: str) -> None:
    bench, scopes = Workbench(lambda scope: rig.reader(), lambda scope: rig.driver(), approved=True), rig.scopes[:2]
    machine, other = map(rig.machine, scopes)
    for scope in scopes:
        bench.declare(scope, but(NIGHT, paths=frozenset({"/srv/data"}), keep=frozenset({"last 2"})))
        rig.machine(scope).sh("rm -rf /srv/data; mkdir -p /srv/data /mnt/backup; echo one >/srv/data/a")
    bench.converge()
    fill, said = FULL[when]
    machine.sh(SMALL.format("/mnt/backup"))
    try:
        machine.run(*NOTTE)
        machine.sh(fill)
        machine.run(*NOTTE, check=False)
        other.run(*NOTTE)
        facts, fine = (bench.plan()[scope].facts for scope in scopes)
        assert (facts["notte ok"], fine["notte ok"]) == (False, True)
        assert facts["notte latest"] == pytest.approx(time.time(), abs=600)
        assert re.fullmatch(rf"{said}write /mnt/\S+…: no space left on device", str(facts["notte error"])), facts
        machine.sh("mount -o remount,size=20m /mnt/backup; rm -f /mnt/backup/filler")
        machine.run(*NOTTE)
        facts = bench.plan()[scopes[0]].facts
        assert (facts["notte ok"], facts["notte error"], facts["notte copies"]) == (True, "", 2)
    finally:
        machine.sh("umount -l /mnt/backup")


@pytest.mark.soak  # restic tries again for three quarters of a minute
def test_a_disk_that_is_full_on_another_host(rig: BackupRig, lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    """SFTP has no word for it."""
    nas = lan["srv-2"]
    monkeypatch.setattr(Kept, "of", keys(lan.key.read_bytes()))
    where = f"sftp://root@{nas.address}:22/mnt/full/srv-1"
    said = {"repository": where, "key": "NAS_KEY rev 1", "host_key": nas.host_key, "paths": frozenset({"/srv/data"})}
    nas.sh("mkdir -p /mnt/full && " + SMALL.format("/mnt/full"))
    try:
        bench, scope, machine = backed_up(rig, but(NIGHT, **said))
        machine.run(*NOTTE)
        machine.sh("head -c 5000000 /dev/urandom >/srv/data/big")
        machine.run(*NOTTE, check=False)
        error = str(bench.plan()[scope].facts["notte error"])
        assert error.startswith("Fatal: unable to save snapshot: ")
        assert error.endswith("(is the disk there full?)")
    finally:
        nas.sh("umount -l /mnt/full")
