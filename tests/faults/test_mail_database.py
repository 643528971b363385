"""A database that is away, locked, closed to us, read-only or full: one clear line, its scopes fail, others go on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.faults import mail_lab
from tests.faults.lab import is_clean, leftovers
from tests.faults.mail_lab import BETA, MailLab
from tests.faults.test_hostile import FULL_DISK
from tests.servers import databases

OTHER = "  mail-2:\n    facets:\n      mailboxes: {driver: postfixadmin, database: sqlite, file: scratch/other.db}\n"
INVENTORY = "inventory/targets.yaml"
Fault = Callable[[MailLab], AbstractContextManager[None]]


@pytest.fixture(autouse=True)
def _words(_quiet: None) -> None:
    mail_lab.quiet()


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def lab(
    request: pytest.FixtureRequest, mail_server: Callable[[str], databases.Server], mail_tables: Path, tmp_path: Path
) -> MailLab:
    """Nothing is applied; what is beta's lives in another database."""
    server = None if request.param == "sqlite" else mail_server(request.param)
    made = MailLab.prepare(tmp_path, mail_tables, server)
    made.zones.mkdir(exist_ok=True)
    shutil.copy(mail_tables, made.zones / "other.db")
    made.write(INVENTORY, (made.clone / INVENTORY).read_text().replace("timeout: 5s", "timeout: 1s") + OTHER)
    made.write("customers/beta/mail.yaml", BETA.replace("target: mail-1", "target: mail-2"))
    return made


@contextmanager
def away(lab: MailLab) -> Iterator[None]:
    """The file is somewhere else, or nobody listens on the port."""
    if lab.tables.kind == "sqlite":
        file = Path(lab.tables.where)
        file.rename(file.with_suffix(".away"))
        yield
        file.with_suffix(".away").rename(file)
        return
    text = (lab.clone / INVENTORY).read_text()
    lab.write(INVENTORY, text.replace(lab.tables.where, str(databases.free_port())))
    yield
    lab.write(INVENTORY, text)


@contextmanager
def locked(lab: MailLab) -> Iterator[None]:
    """Somebody writes, and does not come to an end."""
    lock = {"sqlite": "BEGIN EXCLUSIVE", "postgresql": "LOCK TABLE alias", "mariadb": "LOCK TABLES alias WRITE"}
    with closing(lab.tables.connect()) as other, closing(other.cursor()) as cursor:
        if lab.tables.kind == "postgresql":
            cursor.execute("BEGIN")
        cursor.execute(lock[lab.tables.kind])
        yield


@contextmanager
def closed(lab: MailLab) -> Iterator[None]:
    """To us: the password is another one. A file has none; what it holds is no database."""
    if lab.tables.kind != "sqlite":
        os.environ["MSPCTL_SECRET_DB"] = "a word that was right last year"
        yield
        mail_lab.quiet()
        return
    file = Path(lab.tables.where)
    kept = file.read_bytes()
    file.write_bytes(b"This is no database. " * 400)
    yield
    file.write_bytes(kept)


SAYS: dict[Fault, str] = {
    away: r"unable to open database file|Connection refused|Can't connect",
    locked: r"\(somebody else is at work there\)",
    closed: r"file is not a database|password authentication failed|Access denied",
}


@pytest.mark.parametrize("fault", SAYS)
def test_others_go_on(lab: MailLab, fault: Fault) -> None:
    with fault(lab):
        assert lab.run("plan").code in (1, 2)
        alone = lab.run("apply", "-y", "-c", "acme")
        assert alone.code == (4 if fault is away else 1), alone.out + alone.err
        done = lab.run("apply", "-y")
        drift = lab.run("drift")
    for said in (alone, done, drift):
        lines = {line for line in (said.out + said.err).splitlines() if re.search(SAYS[fault], line)}
        assert len(lines) == 1, lines  # an apply says it of its plan and of its end
        assert "Traceback" not in said.err
        assert "a defect" not in said.err
    assert done.code == 3
    assert "2 changes landed" in done.out
    assert "right last year" not in done.out + done.err
    done = lab.run("apply", "-y")
    assert done.code == 0, done.out + done.err
    assert lab.run("plan").code == 0
    assert is_clean("drift", lab.run("drift"))
    assert leftovers(lab) == []


# -- disks ------------------------------------------------------------------------------------------------------


@pytest.fixture
def own_mounts(tmp_path: Path) -> str:
    """A program that gives a shell file systems of its own, which nobody else sees and which go with it."""
    unshare = shutil.which("unshare")
    (tmp_path / "probe").mkdir()
    if not unshare or os.geteuid() != 0:
        pytest.skip("needs root and unshare")
    probe = [unshare, "-m", "mount", "-t", "tmpfs", "none", str(tmp_path / "probe")]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    return unshare


def shell(unshare: str, script: str, lab: MailLab) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [unshare, "-m", "sh", "-c", script, "sh", str(lab.zones), sys.executable],
        cwd=lab.clone,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("lab", ["sqlite"], indirect=True)
@pytest.mark.parametrize("left", [0, 16384])
def test_a_disk_that_is_full(lab: MailLab, left: int, own_mounts: str) -> None:
    shutil.copytree(lab.zones, f"{lab.zones}.kept")
    done = shell(own_mounts, FULL_DISK % {"size": "1m", "left": left}, lab)
    assert done.returncode == 0, done.stdout + done.stderr
    ended, _, rest = done.stdout.partition("ENDED ")
    assert rest[0] in "13"
    assert re.search("database or disk is full|disk I/O error", ended), ended
    assert "a defect" not in done.stderr
    assert "Nothing is locked." in rest
    assert "Nothing is pending" in rest


READ_ONLY = """
set -e
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
"$2" -m mspctl plan || echo "PLANNED $?"
"$2" -m mspctl apply -y || echo "APPLIED $?"
"""


@pytest.mark.parametrize("lab", ["sqlite"], indirect=True)
def test_a_disk_that_may_only_be_read(lab: MailLab, own_mounts: str) -> None:
    done = shell(own_mounts, READ_ONLY, lab)
    assert "PLANNED 2" in done.stdout, done.stdout + done.stderr
    assert "APPLIED 1" in done.stdout
    assert "attempt to write a readonly database" in done.stdout
    assert "Traceback" not in done.stderr
    assert lab.run("apply", "-y").code == 0
