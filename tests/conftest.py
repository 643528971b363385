"""A copy of the example customers in a repository of its own, with empty targets and an empty ledger."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

from mspctl import cli, hashes, secrets
from tests.servers import databases, postfixadmin
from tests.servers import mail_stack as stacks
from tests.servers import mail_world as mail_worlds
from tests.servers.modoboa import Modoboa, modoboa

# The same examples each time: a pull request does not fail for what it did not change. `make soak` looks further.
settings.register_profile("mspctl", deadline=None, derandomize=True)
settings.load_profile("mspctl")

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Said:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture(autouse=True)
def _nothing_revealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test revealed is not blanked out of what the next one says."""
    monkeypatch.setattr(secrets, "_revealed", secrets.Redactor())


@pytest.fixture(scope="session")
def mail_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with PostfixAdmin's tables, empty; tests take a copy."""
    return postfixadmin.make_sqlite(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="session")
def running_modoboa() -> Iterator[Modoboa]:
    with modoboa() as server:
        yield server


@pytest.fixture
def a_modoboa(running_modoboa: Modoboa) -> Modoboa:
    """A Modoboa in which nothing is yet, and which counts no calls."""
    running_modoboa.clear()
    return running_modoboa


@pytest.fixture(scope="session")
def mail_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], databases.Server]]:
    """The database server of a kind, with PostfixAdmin's tables: started when first asked for, and kept."""
    with ExitStack() as stack:

        @cache
        def server(kind: str) -> databases.Server:
            made = stack.enter_context(databases.running(databases.KINDS[kind]))
            postfixadmin.make_on(made, tmp_path_factory.mktemp("program"))
            return made

        yield server


@pytest.fixture(scope="session")
def mail_stack(mail_tables: Path) -> Iterator[stacks.MailStack]:
    """A running mail server, the same for all tests: each begins with `clear()`, or has domains of its own."""
    with stacks.running(mail_tables) as stack:
        yield stack


@pytest.fixture(scope="session")
def mail_world(mail_tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[mail_worlds.World]:
    """A mail server that the world knows, the same for all tests; begin as with `mail_stack`."""
    with mail_worlds.running(mail_tables, tmp_path_factory.mktemp("world")) as world:
        yield world


def mail_db(folder: Path) -> Path:
    """An SQLite file with the tables of the demo, empty."""
    file = folder / "mail.db"
    with closing(sqlite3.connect(file)) as db:
        db.executescript((ROOT / "scripts/mail.sql").read_text())
    return file


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("customers", "inventory"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("ns-1", "ns-lab"):
        (tmp_path / "scratch" / name).mkdir(parents=True)
    mail_db(tmp_path / "scratch")
    monkeypatch.setenv("MSPCTL_VAULT_PASSWORD", "the password of all vaults")
    monkeypatch.setattr(hashes, "COST", 4)  # the least that there is
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "GITHUB_ACTOR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def run(repository: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in the repository."""

    def command(*arguments: str) -> Said:
        capsys.readouterr()
        code = cli.run([*arguments])
        return Said(code, *capsys.readouterr())

    assert command("ledger", "init").code == 0
    return command
