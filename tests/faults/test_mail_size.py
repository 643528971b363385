"""A thousand mailboxes in one apply; and a server that is asked as much about three hundred domains as about three."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mspctl import hashes
from mspctl.secrets import Secret
from tests.faults import mail_lab
from tests.faults.lab import is_clean, leftovers
from tests.faults.mail_lab import FILE, MailLab
from tests.servers import databases

MAILBOXES = 1000
FEW, MANY = 3, 300  # domains


@pytest.fixture(autouse=True)
def _words(_quiet: None) -> None:
    mail_lab.quiet()


def one_domain(quota: str) -> str:
    boxes = "".join(f"      u{n}: {{name: User {n}, quota: {quota}, password: generated}}\n" for n in range(MAILBOXES))
    return f"domains:\n  acme.example:\n    target: mail-1\n    mailboxes:\n{boxes}"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mariadb"])
def test_a_thousand_mailboxes_in_one_apply(
    kind: str,
    mail_server: Callable[[str], databases.Server],
    mail_tables: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab = MailLab.prepare(tmp_path, mail_tables, None if kind == "sqlite" else mail_server(kind))
    lab.write(FILE, one_domain("1 GiB"))
    real, threads = hashes.hashed, set()

    def hashed(password: Secret, scheme: hashes.Scheme) -> str:
        threads.add(threading.get_ident())
        return real(password, scheme)

    monkeypatch.setattr(hashes, "hashed", hashed)
    done = lab.run("apply", "-y", "-c", "acme")
    assert done.code == 0, done.out[-1000:] + done.err
    assert "1,000 changes landed. Nothing is pending." in done.out
    assert len(threads) > 1
    words = lab.waiting()
    assert len(words) == len(lab.hashes()) == MAILBOXES
    for number in random.Random(7).sample(range(MAILBOXES), 10):  # noqa: S311
        assert lab.opens(f"u{number}@acme.example", words[f"u{number}@acme.example 1"])
    before = lab.hashes()
    lab.write(FILE, one_domain("2 GiB"))
    assert lab.run("apply", "-y", "-c", "acme").code == 0
    assert lab.hashes() == before
    assert [row["n"] for row in lab.tables.run("SELECT count(*) AS n FROM alias")] == [MAILBOXES]
    assert [row["n"] for row in lab.tables.run("SELECT count(*) AS n FROM log")] == [2 * MAILBOXES + 1]
    assert lab.run("plan", "-c", "acme").code == 0
    assert is_clean("drift", lab.run("drift", "-c", "acme"))
    assert leftovers(lab) == []


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_the_server_is_asked_as_much_about_many_domains_as_about_few(
    kind: str, mail_server: Callable[[str], databases.Server], mail_tables: Path, tmp_path: Path
) -> None:
    """It counts itself: connections, and every statement that it gets. Drift also looks how full mailboxes are."""
    server = mail_server(kind)
    lab = MailLab.prepare(tmp_path, mail_tables, server)
    domains = [f"  d{n}.example: {{target: mail-1, mailboxes: {{info: {{quota: 1 GiB}}}}}}\n" for n in range(MANY)]
    lab.write("customers/acme/mail.yaml", "domains:\n" + "".join(domains[:FEW]))
    lab.write("customers/beta/mail.yaml", "domains:\n" + "".join(domains[FEW:]))
    assert lab.run("apply", "-y").code == 0
    assert len(lab.hashes()) == MANY
    lab.tables.run("INSERT INTO quota2 (username, bytes, messages) SELECT username, 1000, 1 FROM mailbox")
    heard = {}
    for command in ("plan", "drift"):
        for count, only in ((FEW, ("-c", "acme")), (MANY, ())):
            with server.overheard() as asked:
                said = lab.run(command, *only)
            assert said.code == 0, said
            heard[command, count] = (asked.connections, len(asked.statements))
    assert {connections for connections, _ in heard.values()} == {1}
    assert heard["plan", FEW] == heard["plan", MANY]
    assert heard["drift", FEW] == heard["drift", MANY]
    assert heard["drift", FEW] > heard["plan", FEW]
    assert max(statements for _, statements in heard.values()) < 25
