"""A repository with a mail server: what is in it, and what its tables hold."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.conftest import Run, Said

KEY = "the password of all vaults"
LUCA = "the Word 2 that Luca chose"
TARGETS = """\
targets:
  mail-1:
    facets:
      mailboxes: {driver: postfixadmin, database: sqlite, file: scratch/mail.db}
"""
MAIL = """\
domains:
  acme.example:
    target: mail-1
    mailboxes:
      paolo: {name: Paolo Zen, quota: 10 GiB, password: generated, aliases: [p.zen]}   # the owner
      acquisti: {quota: 5 GiB}
      luca: {name: Luca Rossi, quota: 2 GiB, password: {secret: LUCA, rev: 1}}
    groups:
      tutti: [paolo, luca, consulente@partner.example]
"""
FILE = Path("customers/acme/mail.yaml")


def sql(statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect("scratch/mail.db")) as db, db:
        return db.execute(statement, values).fetchall()


def change(old: str, new: str) -> None:
    text = FILE.read_text()
    assert text.count(old) == 1, text
    FILE.write_text(text.replace(old, new))


def applied(run: Run, *arguments: str) -> Said:
    """An apply that ends with nothing pending."""
    said = run("apply", *arguments)
    assert said.code == 0, said.out + said.err
    assert run("plan").code == 0
    return said
