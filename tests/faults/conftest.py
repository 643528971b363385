from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mspctl import hashes
from mspctl.cli import workspace
from tests.faults import mail_lab
from tests.faults.lab import quiet
from tests.faults.mail_lab import MailLab
from tests.servers import databases


def _comes_back(patch: pytest.MonkeyPatch) -> None:
    """Whatever is set in the environment from here on, the price of a hash, and the name of the run."""
    for name, value in os.environ.items():
        patch.setenv(name, value)
    patch.setattr(hashes, "COST", hashes.COST)
    patch.setattr(workspace, "RUN_ID", workspace.RUN_ID)  # `name_runs` of one test names no run of the next one
    for name in ("MSPCTL_VAULT_PASSWORD", *(f"MSPCTL_SECRET_{word}" for word in mail_lab.WORDS)):
        patch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    _comes_back(monkeypatch)
    quiet()


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mariadb"])
def mail_template(
    request: pytest.FixtureRequest,
    mail_server: Callable[[str], databases.Server],
    mail_tables: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> MailLab:
    """Two customers' mail, applied; to be taken `again`."""
    server = None if request.param == "sqlite" else mail_server(request.param)
    with pytest.MonkeyPatch.context() as patch:
        _comes_back(patch)
        mail_lab.quiet()
        return MailLab.prepare(tmp_path_factory.mktemp("mail"), mail_tables, server).applied()
