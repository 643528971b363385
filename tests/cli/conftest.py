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


def mail_repository(
    folder: Path, files: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs a command in a new repository with these files, a customer, and an empty ledger."""

    def command(*arguments: str) -> Said:
        capsys.readouterr()
        said = Said(cli.run([*arguments]), *capsys.readouterr())
        assert "Traceback" not in said.err
        return said

    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "GITHUB_ACTOR"):
        monkeypatch.delenv(name, raising=False)
    for name, text in {**files, "customers/acme/customer.yaml": "name: Acme\n"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MSPCTL_VAULT_PASSWORD", mailing.KEY)
    monkeypatch.setenv("MSPCTL_SECRET_LUCA", mailing.LUCA)
    assert command("ledger", "init").code == 0
    return command


@pytest.fixture
def mail_run(
    mail_tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs a command in a new repository with a mail server."""
    (tmp_path / "scratch").mkdir()
    postfixadmin.counted(Path(shutil.copy(mail_tables, tmp_path / "scratch/mail.db")))
    monkeypatch.setattr(hashes, "COST", 4)  # the least that there is
    files = {"inventory/targets.yaml": mailing.TARGETS, str(mailing.FILE): mailing.MAIL}
    return mail_repository(tmp_path, files, monkeypatch, capsys)
