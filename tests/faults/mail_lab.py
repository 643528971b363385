"""Two customers' mail in a clone with a remote by path, and PostfixAdmin's tables in a database of some kind."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import bcrypt

from mspctl import hashes, vault
from tests.faults import lab
from tests.faults.lab import Lab, git, name_runs
from tests.servers import databases

KEY = "the password of all vaults"
WORDS = {"LUCA": "the word that Luca chose", "LUCA_2": "another word of his", "DB": databases.PASSWORD}
COST = 4  # of bcrypt: the least that there is
TABLES = ("vacation_notification", "vacation", "quota2", "alias_domain", "alias", "mailbox", "domain", "log")
KEYS = {
    "domain": "domain",
    "mailbox": "username",
    "alias": "address",
    "alias_domain": "alias_domain",
    "vacation": "email",
}
VARIES = {"created", "modified", "password", "password_expiry", "timestamp", "id", "token_validity"}

TARGETS = """\
targets:
  mail-1:
    address: 127.0.0.1
{secrets}    facets:
      mailboxes: {{driver: postfixadmin, {said}}}
"""
ACME = """\
domains:
  acme.example:
    target: mail-1
    mailboxes:
      paolo: {name: Paolo Zen, quota: 10 GiB, password: generated, aliases: [p.zen]}
      acquisti: {quota: 5 GiB, password: generated}
      luca: {name: Luca Rossi, password: {secret: LUCA, rev: 1}}
    groups:
      tutti: [paolo, luca, consulente@partner.example]
    catch_all: [acquisti]
    alias_domains: [acme.it]
    limits: {mailboxes: 10}
"""
BETA = """\
domains:
  beta.example:
    target: mail-1
    mailboxes:
      anna: {name: Anna Bo, password: generated, forwards: [anna@home.example]}
  gamma.example:
    target: mail-1
    mailboxes:
      info: {password: generated}
"""
FILE = "customers/acme/mail.yaml"


def quiet() -> None:
    """What a user has in the environment, and nothing else; hashes are cheap."""
    lab.quiet()
    os.environ["MSPCTL_VAULT_PASSWORD"] = KEY
    os.environ |= {f"MSPCTL_SECRET_{name}": word for name, word in WORDS.items()}
    hashes.COST = COST


class Tables:
    """PostfixAdmin's tables, seen through the plain database driver; statements have ? for values."""

    def __init__(self, kind: str, where: str) -> None:
        """`where`: the file of SQLite, or a server's port."""
        self.kind, self.where = kind, where

    def connect(self) -> Any:
        if self.kind == "sqlite":
            return sqlite3.connect(self.where, timeout=20, isolation_level=None)
        server = databases.KINDS[self.kind](Path())
        server.port = int(self.where)
        return server.connect()

    def run(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        with closing(self.connect()) as db:
            return self.within(db, statement, *values)

    def within(self, db: Any, statement: str, *values: Any) -> list[dict[str, Any]]:
        with closing(db.cursor()) as cursor:
            cursor.execute(statement.replace("?", "?" if self.kind == "sqlite" else "%s"), values)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()] if names else []

    def wipe(self) -> None:
        self.put_back({})

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        with closing(self.connect()) as db:
            return {table: self.within(db, f"SELECT * FROM {table}") for table in (*KEYS, "log")}  # noqa: S608

    def put_back(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        """In place of what is there now."""
        with closing(self.connect()) as db:
            for table in TABLES:
                self.within(db, f"DELETE FROM {table}")  # noqa: S608
            for table, held in rows.items():
                for row in held:
                    marks = ", ".join("?" for _ in row)
                    self.within(db, f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", *row.values())  # noqa: S608


class MailLab(Lab):
    def __init__(self, root: Path, tables: Tables | None = None) -> None:
        """Without tables, they are in a file of the clone."""
        super().__init__(root)
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.tables = tables or Tables("sqlite", str(self.clone / "scratch/mail.db"))

    @classmethod
    def prepare(cls, root: Path, empty: Path, server: databases.Server | None = None) -> MailLab:
        """Nothing is applied yet; `empty` is an SQLite file with the tables."""
        made = cls(root, Tables(server.kind, str(server.port)) if server else None)
        said = f"database: {server.kind}, port: {server.port}" if server else "database: sqlite, file: scratch/mail.db"
        secrets = "    secrets: {password: DB}\n" if server else ""
        made.write("inventory/targets.yaml", TARGETS.format(secrets=secrets, said=f"{said}, timeout: 5s"))
        for name, text in {"acme": ACME, "beta": BETA}.items():
            made.write(f"customers/{name}/customer.yaml", f"name: {name}\n")
            made.write(f"customers/{name}/mail.yaml", text)
        if server:
            made.tables.wipe()
        else:
            (made.clone / "scratch").mkdir()
            shutil.copy(empty, made.tables.where)
        git(root, "init", "-q", "--bare", "--template=", "remote.git")
        git(root, "init", "-q", "--template=", "clone")
        git(made.clone, "remote", "add", "origin", "../remote.git")
        assert made.run("ledger", "init").code == 0
        return made

    def applied(self) -> MailLab:
        """And remembered, to be taken `again`."""
        name_runs("start")
        self.zones.mkdir(exist_ok=True)
        assert self.run("apply").code == 0
        self.rows = self.tables.rows()
        return self

    def again(self, to: Path) -> MailLab:
        """A copy, with the tables as they were when it was applied."""
        made = self.copy(to)
        if self.tables.kind != "sqlite":
            made.tables.put_back(self.rows)
        return made

    def write(self, file: str, text: str) -> None:
        path = self.clone / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def copy(self, to: Path) -> MailLab:
        """The repositories, and the tables where they are a file."""
        shutil.copytree(self.root, to, symlinks=True)
        return MailLab(to, self.tables if self.tables.kind != "sqlite" else None)

    # Looking

    def held(self) -> dict[str, dict[str, Any]]:
        """
        By domain: what the tables hold of it and what their log says, without what differs from run to run.

        A password is written once more where nobody can know whether it was, so how often is not counted.
        """
        found: dict[str, dict[str, Any]] = {}
        for table, rows in self.tables.rows().items():
            for row in rows:
                if row.get("action") == "edit_password":
                    continue
                domain = row["target_domain" if table == "alias_domain" else "domain"]
                told = {name: value for name, value in row.items() if name not in VARIES}
                found.setdefault(domain, {}).setdefault(table, Counter())[json.dumps(told, sort_keys=True)] += 1
        return found

    def hashes(self) -> dict[str, str]:
        return {row["username"]: row["password"] for row in self.tables.run("SELECT username, password FROM mailbox")}

    def waiting(self) -> dict[str, str]:
        """Passwords that wait to be handed over, by "address rev"."""
        found = {}
        for file in self.clone.glob("customers/*/hand-over.yaml"):
            for key, word in json.loads(vault.decrypt(file.read_bytes(), KEY.encode()))["waiting"].items():
                address, _, _, _, rev = key.split()
                found[f"{address} {rev}"] = word
        return found

    def passwords(self) -> dict[str, str]:
        """Everything that somebody may log in with: what waits, and what has a name."""
        return self.waiting() | {f"secret {name}": word for name, word in WORDS.items()}

    def opens(self, address: str, word: str) -> bool:
        return bcrypt.checkpw(word.encode(), self.hashes()[address].removeprefix("{BLF-CRYPT}").encode())

    def doors(self) -> dict[str, set[str]]:
        """By address: which of all the passwords open it."""
        words = self.passwords()
        return {
            address: {name for name, word in words.items() if self.opens(address, word)} for address in self.hashes()
        }
