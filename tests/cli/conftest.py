"""Repositories that several tests of commands begin with."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mspctl import cli, hashes
from tests.cli import mailing
from tests.conftest import Run, Said
from tests.servers import postfixadmin


@pytest.fixture
def mail_run(
    mail_tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs a command in a new repository with a mail server."""

    def command(*arguments: str) -> Said:
        capsys.readouterr()
        said = Said(cli.run([*arguments]), *capsys.readouterr())
        assert "Traceback" not in said.err
        return said

    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "GITHUB_ACTOR"):
        monkeypatch.delenv(name, raising=False)
    files = {"inventory/targets.yaml": mailing.TARGETS, "customers/acme/customer.yaml": "name: Acme\n"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    (tmp_path / mailing.FILE).write_text(mailing.MAIL)
    (tmp_path / "scratch").mkdir()
    postfixadmin.counted(Path(shutil.copy(mail_tables, tmp_path / "scratch/mail.db")))
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MSPCTL_VAULT_PASSWORD", mailing.KEY)
    monkeypatch.setenv("MSPCTL_SECRET_LUCA", "the word that Luca chose")
    monkeypatch.setattr(hashes, "COST", 4)  # the least that there is
    assert command("ledger", "init").code == 0
    return command
