"""Passwords and hashes are in the database and, encrypted, where they wait for their owners; and nowhere else."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mspctl.secrets import spellings
from tests.conftest import Said
from tests.faults import mail_lab
from tests.faults.lab import git
from tests.faults.mail_lab import ACME, BETA, COST, FILE, KEY, WORDS, MailLab
from tests.faults.witness import Seen, every_git, watching


@pytest.fixture(autouse=True)
def _words(_quiet: None) -> None:
    mail_lab.quiet()


@pytest.fixture
def lab(mail_template: MailLab, tmp_path: Path) -> MailLab:
    return mail_template.again(tmp_path / "lab")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def watched(lab: MailLab, seen: list[Seen], *arguments: str) -> Said:
    """As a user does it, with somebody who looks over the shoulder."""
    process = lab.start("-v", "-v", *arguments, cost=COST)
    with watching(process.pid) as found:
        out, err = process.communicate(timeout=120)
    seen.append(found)
    return Said(process.returncode, out, err)


NARROW = {  # so that no hash fits, and the database says so
    "postgresql": "ALTER TABLE mailbox ALTER password TYPE varchar({})",
    "mariadb": "ALTER TABLE mailbox MODIFY password varchar({}) NOT NULL",
}


@contextmanager
def narrow(lab: MailLab) -> Iterator[None]:
    if lab.tables.kind == "sqlite":
        refuse = "WHEN length(NEW.password) > 40 BEGIN SELECT RAISE(ABORT, 'too long'); END"
        lab.tables.run(f"CREATE TRIGGER narrow BEFORE INSERT ON mailbox {refuse}")
        yield
        lab.tables.run("DROP TRIGGER narrow")
        return
    lab.tables.run("UPDATE mailbox SET password = 'x'")
    lab.tables.run(NARROW[lab.tables.kind].format(40))
    try:
        yield
    finally:
        lab.tables.run(NARROW[lab.tables.kind].format(255))


def test_no_password_and_no_hash_is_anywhere_else(
    lab: MailLab, temporary: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[Seen] = []
    hashes = {*lab.hashes().values()}
    boxes = "      nuovo: {password: generated}\n      altro: {password: {secret: LUCA_2, rev: 1}}\n"
    acme = ACME.replace("    groups:\n", f"{boxes}    groups:\n")
    lab.write(FILE, acme.replace("password: generated, aliases", "password: {secret: LUCA, rev: 2}, aliases"))
    lab.write("customers/beta/mail.yaml", BETA.replace("info: {password: generated}", "info: {password: {rev: 2}}"))
    every_git(tmp_path / "gits", monkeypatch)
    with narrow(lab):
        said = [watched(lab, seen, "plan"), watched(lab, seen, "apply", "-y")]
    assert said[1].code in (1, 3)
    assert re.search("(?i)too long", said[1].out)
    lab.tables.run("UPDATE mailbox SET name = 'somebody else' WHERE username = 'anna@beta.example'")
    said += [watched(lab, seen, "apply", "-y", "--output", "json"), watched(lab, seen, "drift", "--record")]
    assert said[2].code == 0, said[2]
    for form in ("json", "markdown", "html"):
        said += [lab.run("plan", "--output", form), lab.run("drift", "--output", form)]
    said += [lab.run("show", "acme", "--history"), lab.run("show", "--output", "json"), lab.run("validate")]

    hashes |= {*lab.hashes().values()} - {"x"}
    words = [*lab.waiting().values(), *WORDS.values(), KEY]
    assert (len(hashes), len(words)) == (9, 10)
    needles = [n.encode() for n in (*hashes, *(s for word in words for s in spellings(word.encode())))]
    haystack = {f"said {number}": (it.out + it.err).encode() for number, it in enumerate(said)}
    haystack |= dict(files(lab.clone, temporary, tmp_path / "gits/seen")) | dict(objects(lab.clone, lab.remote))
    haystack |= {f"seen {number} {text!r:.60}": text for number, it in enumerate(seen) for text in it.texts}
    assert min(it.looks for it in seen) > 5
    assert len([*(tmp_path / "gits/seen").iterdir()]) > 20
    assert {where for where, text in haystack.items() for needle in needles if needle in text} == set()


def files(*folders: Path) -> Iterator[tuple[str, bytes]]:
    """Everything that lies there, but for the database itself."""
    for folder in folders:
        for path, _, names in os.walk(folder):
            for name in names:
                if not name.startswith("mail.db"):
                    yield f"{path}/{name}", Path(path, name).read_bytes()


def objects(*repositories: Path) -> Iterator[tuple[str, bytes]]:
    """What git keeps, unpacked."""
    for repository in repositories:
        names = git(repository, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
        command = ["git", "-C", str(repository), "cat-file", "--batch"]
        yield str(repository), subprocess.run(command, input=names.encode(), capture_output=True, check=True).stdout
