"""Restoring on real hosts with real restic: proofs, and how they fail; what is found, and what is given back."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mspctl.errors import TargetError
from mspctl.kinds import backup as kind
from mspctl.kinds.backup import ERRAND
from mspctl.resource import Scope
from tests.drivers.hosts_rig import Console
from tests.drivers.test_hosts_backup import NIGHT, BackupRig, backed_up, but, restic
from tests.drivers.workbench import Workbench
from tests.servers.hosts import Lan, Machine

DATA = but(NIGHT, paths=frozenset({"/srv/data"}), exclude=frozenset[str]())
WHOSE = {"job": "notte", "host": "srv-1"}
PROVE = {**WHOSE, "do": "prove", "paths": [], "scratch": "/var/tmp", "start": "", "script": ""}  # noqa: S108
STEPS = ["a copy is there", "there is room for it", "it is restored", "every file is as in the copy"]
CLEAN = "nothing of it is left on the host"


STATE = "/mnt/backup /etc/mspctl /srv/data"


@pytest.fixture(scope="module")
def rig(lan: Lan, console: Console) -> Iterator[BackupRig]:
    """Its first host has a job, and a copy of files of all kinds."""
    for machine in lan.machines.values():
        machine.clean()
    rig = BackupRig(lan, console, "backup")
    _, _, machine = backed_up(rig, DATA)
    machine.sh(
        "cd /srv/data && mkdir -p sub/deep 'a [b]' && ln -sf a link && mkfifo -m 640 pipe; echo x >'sub/deep/f*'"
        "; echo y >'a [b]/what?'; head -c 3000000 /dev/urandom >big; chmod 4750 b; chown ops:ops sub; : >empty"
    )
    machine.run("systemctl", "start", "mspctl-backup-notte.service")
    machine.sh(f"mkdir /kept && cp -a --parents {STATE} /kept")
    yield rig
    machine.clean()
    machine.sh("rm -rf /kept /srv/data")


@pytest.fixture
def machine(rig: BackupRig) -> Iterator[Machine]:
    """As it was after that copy."""
    machine = rig.machine(rig.scopes[0])
    yield machine
    machine.sh(f"rm -rf {STATE} /var/restored && cp -a /kept/* /")


def errand(rig: BackupRig, **ask: object) -> Any:
    return rig.driver().errand(rig.scopes[0], ERRAND, {**PROVE, **ask}, 120)


def wrong(said: Mapping[str, Any]) -> dict[str, str]:
    return {s["what"]: f"{s['verdict']}: {s['said']}" for s in said["steps"] if s["verdict"] != "passed"}


def nothing_is_left(machine: Machine) -> None:
    assert machine.sh("ls -d /var/tmp/mspctl-* /run/mspctl-* /scratch/* 2>/dev/null", check=False) == ""


# -- proofs -------------------------------------------------------------------------------------------------------


def test_a_copy_is_restored_compared_and_taken_away(rig: BackupRig, machine: Machine) -> None:
    machine.sh("echo later >>/srv/data/a")
    said = errand(rig)
    assert wrong(said) == {}
    assert [step["what"] for step in said["steps"]] == [*STEPS, CLEAN]
    assert (said["files"], said["octets"] > 3_000_000) == (7, True)
    assert said["steps"][2]["seconds"] > 0
    assert "6 of them have the SHA-256 of what is on the host" in said["steps"][3]["said"]
    nothing_is_left(machine)


@pytest.mark.soak
def test_some_folders_only(rig: BackupRig, machine: Machine) -> None:
    said = errand(rig, paths=["/srv/data/sub", "/srv/data/a [b]", "/srv/data/sub/deep"])
    assert (wrong(said), said["files"]) == ({}, 2)
    said = errand(rig, paths=["/srv/data/none"])
    assert wrong(said) == {"there is room for it": "failed: the copy holds nothing of /srv/data/none"}


@pytest.mark.soak
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ('#!/bin/sh\ntest -s "$RESTORED/srv/data/big" && cat srv/data/b >&2 && pwd', ""),
        ("#!/bin/sh\necho 'the ledger is empty' >&2; exit 3", "failed: the ledger is empty"),
        ("#!/bin/sh\nexit 3", "failed: it ended with 3"),
        ("#!/usr/bin/none\n", "failed: it cannot be started: No such file or directory"),
    ],
)
def test_what_was_restored_is_started(rig: BackupRig, machine: Machine, script: str, said: str) -> None:
    made = errand(rig, start="crm-opens", script=script)
    assert wrong(made) == ({"crm-opens says that it works": said} if said else {})
    if not said:
        assert made["steps"][4]["said"].endswith("/restored")
    nothing_is_left(machine)


BIG = "find /mnt/backup/acme/srv-1/data -type f -size +1000k | head -1"
DAMAGE = f"f=$({BIG}); chmod u+w $f; printf XXXXXXXX | dd of=$f bs=1 seek=50000 conv=notrunc 2>/dev/null"


def test_a_damaged_copy_is_found(rig: BackupRig, machine: Machine) -> None:
    machine.sh(DAMAGE)
    found = wrong(errand(rig))  # of one pack that is damaged, one file or more
    assert [*found] == ["it is restored"]
    assert re.fullmatch(r"failed: Fatal: There were \d+ errors", found["it is restored"])
    nothing_is_left(machine)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("broken", "step", "said"),
    [
        (f"rm -f $({BIG})", "it is restored", "failed: "),
        ("rm -rf /mnt/backup/*", "a copy is there", "failed: Fatal: unable to open config file"),
        (
            "echo x >>/etc/mspctl/backup/notte.password",
            "a copy is there",
            "failed: Fatal: wrong password or no key found",
        ),
        (
            "rm /etc/mspctl/backup/notte.password",
            "it can be begun",
            "not made: /etc/mspctl/backup/notte.password is mis",
        ),
        (
            "touch -r /srv/data/a /tmp/t; echo XNE >/srv/data/a; touch -r /tmp/t /srv/data/a",
            STEPS[3],
            "failed: /srv/data/a",
        ),
    ],
)
def test_what_is_not_as_it_was_put_away(rig: BackupRig, machine: Machine, broken: str, step: str, said: str) -> None:
    machine.sh(broken)
    found = wrong(errand(rig))
    assert [*found] == [step]
    assert found[step].startswith(said)
    assert "ops:ACME" not in str(found)
    nothing_is_left(machine)


@pytest.mark.soak
def test_there_is_no_copy_yet(rig: BackupRig, machine: Machine) -> None:
    restic(machine, "forget", "--tag", "notte", "--keep-last", "1", "--host", "nobody")
    restic(machine, "tag", "--set", "else")
    assert wrong(errand(rig)) == {"a copy is there": "failed: there is none"}


@pytest.mark.soak
def test_without_room_nothing_is_tried(rig: BackupRig, machine: Machine) -> None:
    machine.sh("mkdir -p /scratch && mount -t tmpfs -o size=60m tmpfs /scratch")
    try:
        found = wrong(errand(rig, scratch="/scratch"))
    finally:
        machine.sh("umount /scratch")
    assert list(found) == ["there is room for it"]
    assert found["there is room for it"].startswith("not made: /scratch has 60.0 MiB free, and 66.9 MiB are needed")


@pytest.mark.soak
def test_a_repository_that_is_away_proves_nothing(rig: BackupRig, machine: Machine) -> None:
    machine.sh('sed -i \'s#"/mnt/backup/acme/srv-1"#"https://127.0.0.1:9/x"#\' /etc/mspctl/backup/notte.conf')
    found = wrong(errand(rig))
    assert found["a copy is there"].startswith("not made: Fatal: unable to open config")


@pytest.mark.soak
def test_who_takes_too_long_is_ended_and_leaves_nothing(rig: BackupRig, machine: Machine) -> None:
    script = "#!/bin/sh\nsleep 60\n"
    scope: Scope = rig.scopes[0]
    with pytest.raises(TargetError, match="it did not end within 3 s"):
        rig.driver().errand(scope, ERRAND, {**PROVE, "start": "slow", "script": script}, 3)
    nothing_is_left(machine)


# -- finding, and giving back -------------------------------------------------------------------------------------


def ask(rig: BackupRig, do: str, pattern: str, until: int = 0, **more: object) -> Any:
    said = {"do": do, "host": "srv-1", "jobs": ["notte"], "pattern": pattern, "until": until}
    return rig.driver().errand(rig.scopes[0], ERRAND, {**said, "to": "/var/restored/x", "in_place": False, **more}, 120)


def test_versions_are_found_and_given_back(rig: BackupRig, machine: Machine) -> None:
    """Of a file that was changed, and then lost: the older one by its time, the newest one in place."""
    machine.sh("sleep 1.1; echo second >/srv/data/a; chown ops:guest /srv/data/a")
    machine.run("systemctl", "start", "mspctl-backup-notte.service")
    machine.sh("rm /srv/data/a")
    found = ask(rig, "find", "A*")["found"]
    assert [(f["path"], f["size"], f["copies"], f["kind"]) for f in found] == [
        ("/srv/data/a", 7, 1, "file"),
        ("/srv/data/a", 4, 1, "file"),
        ("/srv/data/a [b]", 0, 2, "dir"),
    ]
    given = ask(rig, "get", "a", found[1]["time"])
    assert (given["files"], given["wrong"], given["paths"]) == (1, [], ["/srv/data/a"])
    assert machine.sh("cat /var/restored/x/srv/data/a; stat -c %a /var/restored/x") == "one\n700\n"
    assert machine.sh("ls /srv/data/a 2>&1", check=False).endswith("No such file or directory\n")
    with pytest.raises(TargetError, match="/var/restored/x is there already: name a new one"):
        ask(rig, "get", "a")
    given = ask(rig, "get", "a", in_place=True, to="/var/restored/y")
    assert (given["kept"], given["folder"], given["wrong"]) == ([], "", [])
    assert machine.sh("cat /srv/data/a; stat -c '%U %G %a' /srv/data/a") == "second\nops guest 644\n"
    assert machine.sh("ls /var/restored") == "x\n"


def test_in_place_keeps_what_it_overwrites(rig: BackupRig, machine: Machine) -> None:
    machine.sh("cd /srv/data; echo damaged >sub/deep/f*; rm -r 'a [b]'; echo file >'a [b]'; echo mine >sub/new")
    given = ask(rig, "get", "/srv/data", in_place=True)
    assert given["wrong"] == []
    assert {*given["kept"]} == {"/srv/data/sub/deep/f*", "/srv/data/a [b]"}
    assert machine.sh("cd /srv/data; cat 'sub/deep/f*' 'a [b]/what?' sub/new; stat -c '%U %a' sub b") == (
        "x\ny\nmine\nops 755\nroot 4750\n"
    )
    assert machine.sh("cd /var/restored/x/srv/data; cat 'sub/deep/f*' 'a [b]'") == "damaged\nfile\n"
    assert machine.sh("ls -A /var/restored/x") == "srv\n"


@pytest.mark.soak
def test_what_is_behind_a_link_now_is_not_written_through(rig: BackupRig, machine: Machine) -> None:
    machine.sh("mkdir -p /tmp/elsewhere; rm -r /srv/data/sub; ln -s /tmp/elsewhere /srv/data/sub")
    with pytest.raises(TargetError, match="is behind a link now"):
        ask(rig, "get", "deep", in_place=True)
    assert machine.sh("ls /tmp/elsewhere") == ""


@pytest.mark.soak
def test_a_damaged_copy_gives_nothing_back(rig: BackupRig, machine: Machine) -> None:
    machine.sh(DAMAGE)
    with pytest.raises(TargetError, match=r"Fatal: There were \d+ errors"):
        ask(rig, "get", "big")
    assert machine.sh("ls /var/restored") == ""


# -- the whole way, begun by nobody ---------------------------------------------------------------------------------

ROME, UNIT = ZoneInfo("Europe/Rome"), "mspctl-backup-{}"
UNITS = "org.freedesktop.systemd1.Unit"
STARTING = "7d4958e842da4a758f6c1cdc7b36dcc5"  # the number of systemd's message that a unit is being started


def shown(machine: Machine, unit: str, *names: str) -> list[str]:
    """What systemd records of a unit."""
    words = [f"--property={name}" for name in names]
    said = dict(line.split("=", 1) for line in machine.run("systemctl", "show", unit, *words).splitlines())
    return [said[name] for name in names]


def moment(machine: Machine, unit: str, name: str) -> datetime:
    return datetime.strptime(shown(machine, unit, name)[0], "%a %Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)


def started_by(machine: Machine, unit: str) -> str:
    """What made systemd start a unit, the last time; nothing where somebody asked for it."""
    there = "org.freedesktop.systemd1 /org/freedesktop/systemd1"
    found = machine.sh(f"busctl call {there} org.freedesktop.systemd1.Manager GetUnit s {unit}").split('"')[1]
    return machine.sh(f"busctl get-property org.freedesktop.systemd1 {found} {UNITS} ActivationDetails")


def delay(machine: Machine, name: str) -> timedelta:
    """How long after 02:30 in Rome this host starts that job, every time, so that not all hosts begin at once."""
    then = moment(machine, UNIT.format(name) + ".timer", "NextElapseUSecRealtime").astimezone(ROME)
    return then - then.replace(hour=2, minute=30, second=0)


def soon(machine: Machine) -> datetime:
    """A full minute by the host's clock, with time enough to apply before it."""
    return datetime.fromtimestamp((int(machine.sh("date +%s")) + 20) // 60 * 60 + 60, UTC)


@pytest.mark.soak  # a timer is waited for
def test_a_copy_of_the_timer_gives_a_lost_file_back(rig: BackupRig) -> None:
    """The time is the customer's, the clock the host's. Of some names, the one that this host delays least is used."""
    scope, machine = rig.scopes[2], rig.machine(rig.scopes[2])
    bench = Workbench(lambda scope: rig.reader(), lambda scope: rig.driver(), approved=True)
    fields = {**DATA.fields, "schedule": "02:30", "repository": "/mnt/backup/acme/srv-3"}
    machine.sh("mkdir -p /srv/data /mnt/backup; cd /srv/data; head -c 100000 /dev/urandom >a; sha256sum a >/tmp/sum")
    try:
        names = [f"try-{number}" for number in range(24)]
        bench.declare(scope, *(kind.job(name, fields) for name in names))
        bench.converge()
        late, name = min((delay(machine, name), name) for name in names)
        service, timer = f"{UNIT.format(name)}.service", f"{UNIT.format(name)}.timer"

        at = soon(machine)
        bench.declare(scope, kind.job(name, {**fields, "schedule": f"{at.astimezone(ROME):%H:%M}"}))
        bench.converge()
        due = at + late
        assert moment(machine, timer, "NextElapseUSecRealtime") == due
        assert shown(machine, service, "ActiveState", "ExecMainStartTimestamp") == ["inactive", ""]
        assert machine.sh("ls /mnt/backup") == ""
        for _ in range(200):
            if shown(machine, service, "ActiveState", "ExecMainCode") == ["inactive", "1"]:
                break
            time.sleep(1)

        began = moment(machine, timer, "LastTriggerUSec")
        assert due <= began <= due + timedelta(seconds=61)  # systemd's own accuracy is a minute
        assert shown(machine, service, "Result") == ["success"]
        assert f'"trigger_unit" "{timer}"' in started_by(machine, service)
        starts = machine.sh(f"journalctl --no-pager --output=cat _PID=1 MESSAGE_ID={STARTING} UNIT={service}")
        assert len(starts.splitlines()) == 1, starts
        facts = bench.plan()[scope].facts
        assert (facts[f"{name} ok"], facts[f"{name} copies"]) == (True, 1), facts
        assert facts[f"{name} latest"] == pytest.approx(began.timestamp() + 30, abs=30)

        machine.sh("rm /srv/data/a")
        asked = {"host": "srv-3", "jobs": [name], "pattern": "a", "to": "/var/restored/x", "in_place": True}
        (found,) = rig.driver().errand(scope, ERRAND, {**asked, "do": "find", "until": 0}, 120)["found"]
        assert (found["path"], found["size"], found["copies"]) == ("/srv/data/a", 100000, 1)
        given = rig.driver().errand(scope, ERRAND, {**asked, "do": "get", "until": found["time"]}, 120)
        assert (given["files"], given["wrong"], given["paths"]) == (1, [], ["/srv/data/a"])
        assert machine.sh("cd /srv/data && sha256sum --check /tmp/sum") == "a: OK\n"
    finally:
        machine.clean()
        machine.sh("rm -rf /srv/data /var/restored /tmp/sum")
