"""A customer whose mail lives on the running mail server."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mspctl import cli
from tests.conftest import Said
from tests.servers.mail_stack import MailStack

FILE = Path("customers/acme/mail.yaml")
TARGETS = """\
targets:
  mail-1:
    address: 127.0.0.1
    secrets: {{doveadm_key: DOVEADM, password: DATABASE}}
    facets:
      mailboxes:
        driver: postfixadmin
        {database}
        scheme: SHA512-CRYPT
        vacation_domain: autoreply.example
        doveadm: {{address: 'http://127.0.0.1:{port}', shares: shared/}}
"""
_numbers = itertools.count(1)


@dataclass
class Office:
    """One customer's repository, and the server."""

    server: MailStack
    run: Callable[..., Said]
    domain: str  # of its own in each test: Postfix remembers for a while what it was asked last

    def at(self, local: str) -> str:
        return f"{local}@{self.domain}"

    def say(self, *lines: str) -> None:
        """What mail.yaml says of the domain."""
        FILE.write_text(
            "\n".join(["domains:", f"  {self.domain}:", "    target: mail-1", *(f"    {line}" for line in lines), ""])
        )

    def approve(self, *resources: str) -> None:
        """Let guarded changes of the domain through."""
        until = datetime.now(UTC).date() + timedelta(days=7)
        lines = [f'  - {{resource: "mailboxes/{self.domain}/{r}", why: a test, until: {until}}}' for r in resources]
        Path("customers/acme/approvals.yaml").write_text("\n".join(["approvals:", *lines, ""]))

    def apply(self, *lines: str) -> Said:
        """Say so and carry it out; then nothing is pending."""
        self.say(*lines)
        said = self.run("apply")
        assert said.code == 0, said.out + said.err
        planned = self.run("plan")
        assert planned.code == 0, planned.out + planned.err
        return said


def password(local: str, rev: int = 1) -> str:
    """What the secret of this name holds, so that tests can log in."""
    return f"the word of {local}, the {rev}."


@pytest.fixture
def office(
    mail_stack: MailStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Office:
    return opened(mail_stack, tmp_path, monkeypatch, capsys)


def opened(
    server: MailStack, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Office:
    """An office in an empty folder."""

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        said = Said(cli.run([*arguments]), *capsys.readouterr())
        assert "Traceback" not in said.err
        return said

    server.clear()
    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "GITHUB_ACTOR"):
        monkeypatch.delenv(name, raising=False)
    database = "\n        ".join(server.tables.facet().split(", "))
    files = {
        "inventory/targets.yaml": TARGETS.format(database=database, port=server.ports.doveadm),
        "customers/acme/customer.yaml": "name: Acme\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text)
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MSPCTL_SECRET_DOVEADM", server.doveadm_key)
    monkeypatch.setenv("MSPCTL_SECRET_DATABASE", "a-word-that-sqlite-does-not-want")
    for local in ("paolo", "luca", "acquisti"):
        for rev in (1, 2):
            monkeypatch.setenv(f"MSPCTL_SECRET_{local.upper()}_{rev}", password(local, rev))
    office = Office(server, run, f"acme{next(_numbers)}.example")
    assert run("ledger", "init").code == 0
    return office


def box(local: str, more: str = "", rev: int = 1) -> str:
    """A line of a mailbox with a password."""
    secret = f"password: {{secret: {local.upper()}_{rev}, rev: {rev}}}"
    return f"  {local}: {{{secret}{', ' if more else ''}{more}}}"
