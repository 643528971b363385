"""Databases of real servers, dumped by a job before its copy, restored from the copy into the servers again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.drivers.hosts_rig import Console
from tests.drivers.test_hosts_backup import NIGHT, BackupRig, but
from tests.drivers.test_hosts_restore import ask, errand, wrong
from tests.drivers.workbench import Workbench
from tests.servers.hosts import Machine, machines

pytestmark = pytest.mark.soak  # the image with both servers takes minutes to make

SERVERS = ("mariadb-server", "postgresql")
FILL = """
cd /
runuser -u postgres -- psql -qc 'CREATE ROLE shop LOGIN' -c 'CREATE DATABASE crm OWNER shop'
runuser -u postgres -- psql -q crm -c 'CREATE TABLE people AS SELECT n, md5(n::text) FROM generate_series(1, 5000) n'
mariadb -e 'CREATE DATABASE `shop-1`; CREATE TABLE `shop-1`.goods (n INT, b BLOB)'
mariadb -e 'INSERT INTO `shop-1`.goods VALUES (1, 0x00ff)'
"""
DUMPS = frozenset({"mariadb all", "postgresql all"})
SOURCES = "SELECT sum(n) || ' ' || count(*) FROM people"


@pytest.fixture(scope="module")
def rig() -> Iterator[BackupRig]:
    with machines("srv-1", more=SERVERS) as lan, ExitStack() as stack:
        lan["srv-1"].sh("systemctl start mariadb postgresql; until mariadb -e ''; do sleep 0.2; done")
        lan["srv-1"].sh(FILL)
        yield BackupRig(lan, Console(lan, stack), "backup")


@pytest.fixture
def machine(rig: BackupRig) -> Iterator[Machine]:
    bench, scope = Workbench(lambda scope: rig.reader(), lambda scope: rig.driver(), approved=True), rig.scopes[0]
    machine = rig.machine(scope)
    machine.sh("mkdir -p /srv/data /mnt/backup; echo one >/srv/data/a")
    bench.declare(scope, but(NIGHT, paths=frozenset({"/srv/data"}), dumps=DUMPS))
    bench.converge()
    yield machine
    machine.clean()
    machine.sh("rm -rf /srv/data /var/restored; systemctl start mariadb postgresql")


def test_dumps_can_be_restored(rig: BackupRig, machine: Machine) -> None:
    machine.run("systemctl", "start", "mspctl-backup-notte.service")
    assert machine.sh("ls /var/lib/mspctl/dumps") == ""
    said = errand(rig)
    assert wrong(said) == {}
    machine.sh("runuser -u postgres -- dropdb crm; mariadb -e 'DROP DATABASE `shop-1`'")
    given = ask(rig, "get", "/var/lib/mspctl/dumps/notte")
    names = machine.sh("cd /var/restored/x/var/lib/mspctl/dumps/notte; ls; stat -c %a *").split()
    assert {"mariadb-shop-1.sqldump", "postgresql-crm.pgdump", "postgresql-roles.sql", "600"} <= {*names}
    assert "644" not in names
    machine.sh(
        "cd /var/restored/x/var/lib/mspctl/dumps/notte; runuser -u postgres -- createdb crm; "
        "runuser -u postgres -- pg_restore -d crm <postgresql-crm.pgdump; "
        "mariadb -e 'CREATE DATABASE `shop-1`'; mariadb shop-1 <mariadb-shop-1.sqldump"
    )
    assert machine.sh(f'cd /; runuser -u postgres -- psql -Atc "{SOURCES}" crm') == "12502500 5000\n"
    assert machine.sh("mariadb -Ne 'SELECT n, HEX(b) FROM `shop-1`.goods'") == "1\t00FF\n"
    assert given["wrong"] == []


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("systemctl stop postgresql", "postgresql: its databases could not be listed: "),
        ("systemctl stop mariadb", "mariadb: its databases could not be listed: "),
        (
            "mariadb -e 'CREATE VIEW `shop-1`.bad AS SELECT * FROM `shop-1`.goods; ALTER TABLE `shop-1`.goods RENAME "
            "`shop-1`.other'",
            "dump of mariadb shop-1: ",
        ),
    ],
)
def test_a_dump_that_fails_fails_the_job(rig: BackupRig, machine: Machine, broken: str, said: str) -> None:
    machine.sh(broken)
    machine.run("systemctl", "start", "mspctl-backup-notte.service", check=False)
    assert machine.sh("systemctl is-failed mspctl-backup-notte.service") == "failed\n"
    state = machine.sh("cat /var/lib/mspctl/backup-notte.json")
    assert said in state
    assert '"copies": 0' in state
    machine.sh(
        "mariadb -e 'DROP VIEW IF EXISTS `shop-1`.bad; RENAME TABLE `shop-1`.other TO `shop-1`.goods'", check=False
    )
    assert machine.sh("ls /var/lib/mspctl/dumps") == ""


def test_what_opens_is_said_by_a_script(rig: BackupRig, machine: Machine) -> None:
    """A proof that loads the dump into a database of its own, as a repository's script would."""
    machine.run("systemctl", "start", "mspctl-backup-notte.service")
    script = (
        "#!/bin/sh\nset -e\ncd /\nrunuser -u postgres -- createdb proof\n"
        "trap 'runuser -u postgres -- dropdb proof' EXIT\n"
        'runuser -u postgres -- pg_restore -d proof <"$RESTORED/var/lib/mspctl/dumps/notte/postgresql-crm.pgdump"\n'
        "runuser -u postgres -- psql -Atc 'SELECT count(*) FROM people' proof\n"
    )
    made = errand(rig, start="crm-opens", script=script)
    assert wrong(made) == {}
    assert made["steps"][4]["said"] == "5000"
