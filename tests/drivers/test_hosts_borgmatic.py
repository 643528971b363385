"""Backups of real hosts with Debian's borgmatic and Borg, from their real units; restored, proved, thinned out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from mspctl.drivers.hosts import backup_borgmatic
from mspctl.kinds.backup import ERRAND, JOB
from mspctl.plan import REVERT
from mspctl.resource import Cause, Id, Scope
from tests.drivers.hosts_rig import Console, Kept
from tests.drivers.test_hosts_backup import NIGHT, VAULT, BackupRig, backed_up, but, keys
from tests.drivers.test_hosts_restore import PROVE, STEPS, ask, nothing_is_left, wrong
from tests.drivers.workbench import Workbench
from tests.servers.hosts import Lan, Machine

BORG = but(NIGHT, program="borgmatic", paths=frozenset({"/srv/data"}))
UNIT = "mspctl-backup-notte.service"
SECRET = "ops:ACME_RESTIC-rev-1"


@pytest.fixture
def rig(lan: Lan, console: Console) -> Iterator[BackupRig]:
    for machine in lan.machines.values():
        machine.clean()
    yield BackupRig(lan, console, "backup")
    lan["srv-1"].sh("rm -rf /var/restored /srv/data")


def borg(machine: Machine, *words: str, repository: str = "/mnt/backup/acme/srv-1", secret: str = SECRET) -> str:
    said = [f"BORG_PASSPHRASE={secret}", f"BORG_REPO={repository}", "BORG_BASE_DIR=/tmp/borg", "TZ=UTC"]
    said.append("BORG_RSH=ssh -i /tmp/key -o StrictHostKeyChecking=no")
    return machine.run("env", "-C", "/", *said, "borg", *words)


def run(machine: Machine, *, good: bool = True) -> None:
    machine.run("systemctl", "start", UNIT, check=good)


# -- a job, from its plan to what it gives back -----------------------------------------------------------------


def test_a_job_runs_from_its_own_unit_and_is_proved_and_restored(rig: BackupRig) -> None:
    bench, scope, machine = backed_up(rig, BORG)
    assert machine.sh("systemd-analyze verify /etc/systemd/system/mspctl-backup-* 2>&1") == ""
    machine.sh("cd /srv/data && mkdir -p 'a [b]' && ln a hard && ln -sf a link && mkfifo pipe && echo y >'a [b]/what?'")
    for text in ("three", "four"):
        machine.sh(f"echo {text} >/srv/data/a; chown ops:guest /srv/data/a; chmod 4750 /srv/data/b")
        run(machine)
        time.sleep(1)  # Borg tells times to a second
    facts = bench.plan()[scope].facts
    assert (facts["notte ok"], facts["notte error"], facts["notte copies"]) == (True, "", 2)
    assert facts["notte latest"] == pytest.approx(time.time(), abs=600)
    assert int(str(facts["notte bytes"])) > 10
    assert bench.causes(scope) == {}

    made = rig.driver().errand(scope, ERRAND, PROVE, 120)
    assert wrong(made) == {}
    assert [step["what"] for step in made["steps"]][:4] == STEPS
    assert (made["files"], made["steps"][3]["said"]) == (4, "and as it is on the host")
    nothing_is_left(machine)

    found = ask(rig, "find", "A*")["found"]
    assert [(f["path"], f["size"], f["copies"], f["kind"]) for f in found] == [
        ("/srv/data/a", 5, 1, "file"),
        ("/srv/data/a", 6, 1, "file"),
        ("/srv/data/a [b]", 0, 2, "dir"),
    ]
    machine.sh("rm /srv/data/a /srv/data/hard")
    given = ask(rig, "get", "a", found[1]["time"])
    assert (given["files"], given["wrong"], given["paths"]) == (1, [], ["/srv/data/a"])
    assert machine.sh("cat /var/restored/x/srv/data/a; stat -c %a /var/restored/x") == "three\n700\n"
    ask(rig, "get", "/srv/data", in_place=True, to="/var/restored/y")
    assert machine.sh("cd /srv/data; cat a hard 'a [b]/what?'; stat -c '%U %G' a; stat -c %a b; ls c.tmp") == (
        "four\nfour\ny\nops guest\n4750\nc.tmp\n"
    )
    assert "c.tmp" not in borg(machine, "list", "--short", "::" + borg(machine, "list", "--short").split()[-1])
    everything = machine.sh("journalctl --no-pager; cat /etc/mspctl/backup/*.conf /etc/mspctl/backup/*.yaml")
    assert SECRET not in everything + machine.sh("cat /var/lib/mspctl/*.json; grep -r ops:ACME /var/cache /run || true")


def test_a_configuration_that_borgmatic_refuses_replaces_no_good_one(
    rig: BackupRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, scope, machine = backed_up(rig, BORG)
    path = "/etc/mspctl/backup/notte.borgmatic.yaml"
    before = machine.sh(f"cat {path} /etc/mspctl/backup/notte.conf")
    monkeypatch.setitem(backup_borgmatic.KEEP, "daily", "fortnightly")
    bench.declare(scope, but(BORG, keep=frozenset({"daily 3"})))
    (unfinished,) = bench.apply().unfinished
    assert unfinished.error is not None
    assert unfinished.error.startswith("validate-borgmatic-config --config")
    assert "('keep_fortnightly' was unexpected)" in unfinished.error
    assert machine.sh(
        f"cat {path} /etc/mspctl/backup/notte.conf; ls -A /etc/mspctl/backup | grep -v notte || true"
    ) == (before)


# -- soak: what is edited, what goes wrong, what is on the other side ---------------------------------------------


@pytest.mark.soak
def test_what_was_edited_is_found_and_reverted(rig: BackupRig) -> None:
    bench, scope, machine = backed_up(rig, BORG)
    machine.sh('sed -i \'s/"lock_wait": [0-9]*/"lock_wait": 1/\' /etc/mspctl/backup/notte.borgmatic.yaml')
    (difference,) = bench.plan()[scope].left
    assert difference.live is not None
    assert difference.live.fields["amiss"] == frozenset({"/etc/mspctl/backup/notte.borgmatic.yaml was edited"})
    assert bench.causes(scope) == {"notte": Cause.DRIFT}
    bench.converge(causes=REVERT)
    bench.declare(scope)
    bench.converge()
    assert machine.sh("ls /etc/mspctl/backup") == ""


@pytest.mark.soak
@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (
            "echo x | tee -a /etc/mspctl/backup/notte.password",
            "passphrase supplied in BORG_PASSPHRASE, by BORG_PASSCOM",
        ),
        ("rm -r /srv/data", "nothing is there that could be copied: /srv/data"),
        ("rm -r /mnt/backup/acme", "the repository had copies, and is gone or away: Repository /mnt/backup/acme/srv-1"),
        ("rm -rf /mnt/backup; : >/mnt/backup", "Not a directory: '/mnt/backup/acme/srv-1"),
        (
            "mount -t tmpfs -o size=2m tmpfs /mnt/backup; cp -a /kept/acme /mnt/backup; "
            "head -c 5000000 /dev/urandom >/srv/data/big",
            "No space left on device",
        ),
    ],
)
def test_what_goes_wrong_is_one_line(rig: BackupRig, broken: str, said: str) -> None:
    bench, scope, machine = backed_up(rig, BORG)
    run(machine)
    before = bench.plan()[scope].facts["notte latest"]
    machine.sh("rm -rf /kept; cp -a /mnt/backup /kept")
    machine.sh(broken)
    run(machine, good=False)
    facts = bench.plan()[scope].facts
    machine.sh("umount /mnt/backup 2>/dev/null; rm -rf /kept /mnt/backup", check=False)
    assert (facts["notte ok"], facts["notte latest"]) == (False, before)
    assert said in str(facts["notte error"])
    assert SECRET not in str(facts)


@pytest.mark.soak
def test_a_copy_without_some_files_is_a_copy_and_told(rig: BackupRig) -> None:
    bench, scope, machine = backed_up(rig, but(BORG, paths=frozenset({"/srv/data", "/srv/none"})))
    run(machine, good=False)
    facts = bench.plan()[scope].facts
    assert (facts["notte ok"], facts["notte copies"]) == (False, 1)
    assert "/srv/none" in str(facts["notte error"])


@pytest.mark.soak
def test_what_is_damaged_is_found_by_check_and_proof(rig: BackupRig) -> None:
    bench, scope, machine = backed_up(rig, but(BORG, check=3600, read=100))
    machine.sh("head -c 3000000 /dev/urandom >/srv/data/big")
    run(machine)
    assert bench.plan()[scope].facts["notte broken"] == ""
    machine.sh(
        "f=$(find /mnt/backup/acme/srv-1/data -type f -size +1000k | head -1); "
        "printf XXXXXXXX | dd of=$f bs=1 seek=1500000 conv=notrunc 2>/dev/null"
    )
    machine.sh('sed -i \'s/"checked": [0-9]*/"checked": 1/\' /var/lib/mspctl/backup-notte.json')
    run(machine, good=False)
    facts = bench.plan()[scope].facts
    assert (facts["notte ok"], facts["notte checked"]) == (True, 1)
    assert facts["notte broken"]
    found = wrong(rig.driver().errand(scope, ERRAND, PROVE, 120))
    assert [*found] == ["it is restored"]
    nothing_is_left(machine)


@pytest.mark.soak
def test_two_jobs_share_a_repository(rig: BackupRig) -> None:
    other = but(BORG, paths=frozenset({"/etc/ssh"}), keep=frozenset({"last 1"}), check=3600, upload=4096)
    bench, scope, machine = backed_up(rig, BORG, replace(other, id=Id(JOB, "notte-2")))
    for _ in range(2):
        run(machine)
        machine.run("systemctl", "start", "mspctl-backup-notte-2.service")
        time.sleep(1)
    facts = bench.plan()[scope].facts
    assert (facts["notte copies"], facts["notte-2 copies"], facts["notte-2 broken"]) == (2, 1, "")
    assert facts["notte-2 checked"] == pytest.approx(time.time(), abs=600)
    assert ask(rig, "find", "sshd_config")["found"] == []
    assert len(ask(rig, "find", "sshd_config", jobs=["notte", "notte-2"])["found"]) == 1


@pytest.mark.soak
def test_a_repository_that_somebody_uses_is_waited_for(rig: BackupRig) -> None:
    bench, scope, machine = backed_up(rig, BORG)
    run(machine)
    own = "env BORG_CONFIG_DIR=/var/lib/mspctl/borg BORG_CACHE_DIR=/var/cache/mspctl-borg"
    word = "BORG_PASSCOMMAND='tail -n 1 /etc/mspctl/backup/notte.password'"
    held = f"{own} {word} borg with-lock /mnt/backup/acme/srv-1 sh -c 'touch /run/held; sleep 6; rm /run/held'"
    with machine.open("sh", "-c", held) as other:
        machine.sh("for _ in $(seq 600); do [ -e /run/held ] && exit; sleep 0.1; done; exit 1")
        run(machine)
        assert other.wait(60) == 0
    facts = bench.plan()[scope].facts
    assert (facts["notte ok"], facts["notte error"], facts["notte copies"]) == (True, "", 2)


@pytest.fixture
def far(
    rig: BackupRig, lan: Lan, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Workbench, Scope, Machine, Machine]]:
    """A repository on another host, to which a key may only add; it is thinned out there."""
    nas = lan["srv-2"]
    monkeypatch.setattr(Kept, "of", keys(lan.key.read_bytes()))
    serve = 'command="borg serve --append-only --restrict-to-path /home/ops/borg/acme",restrict '
    public = lan.key.with_suffix(".pub").read_text()
    nas.sh("rm -rf /home/ops/borg /home/ops/.ssh; install -d -o ops -g ops -m 700 /home/ops/borg /home/ops/.ssh")
    nas.run("install", "-o", "ops", "-m", "600", "/dev/stdin", "/home/ops/.ssh/keys", said=(serve + public).encode())
    nas.sh(
        "printf '%s\\n' 'Match User ops' '  AuthorizedKeysFile .ssh/keys' >/etc/ssh/sshd_config.d/zz.conf; "
        "systemctl reload ssh"
    )
    said = {"repository": f"ssh://ops@{nas.address}:22/home/ops/borg/acme/srv-1", "key": "NAS_KEY rev 1"}
    bench, scope, machine = backed_up(rig, but(BORG, host_key=nas.host_key, append_only=True, **said))
    yield bench, scope, machine, nas
    nas.sh("rm -rf /etc/ssh/sshd_config.d/zz.conf /home/ops/borg /home/ops/.ssh /tmp/borg; systemctl reload ssh")


def state(machine: Machine) -> str:
    return str(json.loads(machine.sh("cat /var/lib/mspctl/thinning-vault.json"))["error"])


@pytest.mark.soak
def test_append_only_holds_and_its_own_side_thins_out(far: tuple[Workbench, Scope, Machine, Machine]) -> None:
    bench, scope, machine, nas = far
    for text in ("one", "two", "three"):
        machine.sh(f"echo {text} >/srv/data/a")
        run(machine)
        time.sleep(1)
    facts = bench.plan()[scope].facts
    assert (facts["notte ok"], facts["notte copies"]) == (True, 3), facts
    assert machine.sh("ls -d /run/mspctl-* 2>/dev/null", check=False) == ""

    there = Scope(scope.target, scope.facet, scope.name.replace("srv-1", "srv-2"), scope.customer)
    bench.declare(there, but(VAULT, program="borgmatic", folder="/home/ops/borg", keep=frozenset({"last 2"})))
    bench.converge()
    nas.run("systemctl", "start", "mspctl-thinning-vault.service")
    facts = bench.plan()[there].facts
    assert (facts["thinning/vault error"], facts["thinning/vault removed"]) == ("", 1)
    assert nas.sh("find /home/ops/borg -not -user ops") == ""
    run(machine)
    assert bench.plan()[scope].facts["notte copies"] == 3

    # Whoever breaks in deletes, as it seems to them; it is found, and what was deleted can be had back.
    nas.run("systemctl", "start", "mspctl-thinning-vault.service")
    kept = borg(nas, "list", "--short", repository="/home/ops/borg/acme/srv-1", secret="word").split()
    nas.sh("cp -a /home/ops/borg /home/ops/before")
    machine.sh("cp /etc/mspctl/backup/notte.key /tmp/key; sed -i /^#/d /tmp/key")
    url = f"ssh://ops@{nas.address}:22/home/ops/borg/acme/srv-1"
    borg(machine, "delete", "--force", "::" + kept[0], repository=url, secret="word")
    borg(machine, "compact", repository=url, secret="word")
    machine.sh("rm -rf /tmp/key /tmp/borg")
    nas.run("systemctl", "start", "mspctl-thinning-vault.service", check=False)
    said = (
        f"/home/ops/borg/acme/srv-1: {kept[0]} was deleted by somebody with the host's key, so nothing is thinned out"
    )
    assert state(nas) == said
    segments = "cd /home/ops/%s/acme/srv-1/data && find . -type f | sort"
    assert {*nas.sh(segments % "before").split()} <= {*nas.sh(segments % "borg").split()}
    nas.sh("rm -rf /home/ops/before")


@pytest.mark.soak
def test_another_key_is_not_talked_to_and_a_host_that_is_away_is_said(
    rig: BackupRig, far: tuple[Workbench, Scope, Machine, Machine]
) -> None:
    bench, scope, machine, nas = far
    run(machine)
    machine.sh(f"sed -i s#{nas.address}:22/#{nas.address}:9/# /etc/mspctl/backup/*.conf /etc/mspctl/backup/*.yaml")
    run(machine, good=False)
    assert "port 9: Connection refused" in str(bench.plan()[scope].facts["notte error"])
    found = wrong(rig.driver().errand(scope, ERRAND, PROVE, 120))
    assert found["a copy is there"].startswith("not made: ")
    machine.sh("sed -i 's#:9/#:22/#' /etc/mspctl/backup/*.conf /etc/mspctl/backup/*.yaml")
    machine.sh(f"sed -i 's#{nas.host_key.split()[1]}#{machine.host_key.split()[1]}#' /etc/mspctl/backup/notte.conf")
    run(machine, good=False)
    assert "Host key verification failed" in str(bench.plan()[scope].facts["notte error"])
