"""PostfixAdmin's genuine tables, made by the upgrade script of the Debian package; no web server is needed for that."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from tests.servers import missing, require
from tests.servers.databases import NAME, PASSWORD, USER, Server

PACKAGE = "usr/share/postfixadmin"
ROOTS = (Path("/"), Path("/opt/postfixadmin"))  # installed, or unpacked (`dpkg-deb -x`), which spares a web server
PARTS = ("common.php", "functions.inc.php", "languages", "model", "public/common.php", "public/upgrade.php")


def root() -> Path:
    """Below which the package's files are."""
    found = next((each for each in ROOTS if (each / PACKAGE / "public/upgrade.php").is_file()), None)
    if found is None:
        missing("postfixadmin is neither installed nor unpacked in /opt/postfixadmin")
    return found


def vacation() -> Path:
    """PostfixAdmin's own program that answers for people who are away. It wants PostgreSQL or MariaDB."""
    script = root() / "usr/share/doc/postfixadmin/examples/VIRTUAL_VACATION/vacation.pl"
    done = subprocess.run([require("perl"), "-c", script], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        missing(f"vacation.pl does not run here: {done.stderr.splitlines()[0]}")
    return script


def program(folder: Path) -> Path:
    """A copy of PostfixAdmin below `folder`, which has settings of its own."""
    there = root()
    copy = folder / "postfixadmin"
    (copy / "public").mkdir(parents=True)
    for part in PARTS:
        source = there / PACKAGE / part
        (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / part)
    shutil.copy(there / "etc/postfixadmin/config.inc.php", copy / "config.inc.php")
    (copy / "dbconfig.inc.php").write_text("<?php\n$dbtype = $dbuser = $dbpass = $dbname = '';\n")
    return copy


def make_tables(copy: Path, settings: Mapping[str, str]) -> None:
    """Run the upgrade script on an empty database; `settings` are PostfixAdmin's own (`database_type`, …)."""
    tell(copy, settings)
    _run(copy, "require 'upgrade.php';")


def tell(copy: Path, settings: Mapping[str, str]) -> None:
    said = "".join(f"$CONF['{name}'] = '{value}';\n" for name, value in settings.items())
    (copy / "config.local.php").write_text(f"<?php\n{said}")


def save(copy: Path, handler: str, subject: str, **values: str) -> None:
    """Change something, as its own program does: by what its pages save with, too."""
    said = ", ".join(f"'{field}' => '{value}'" for field, value in values.items())
    script = f"$it = new {handler}(0); $fine = $it->init('{subject}') && $it->set([{said}]) && $it->save();"
    _run(copy, f"require 'common.php'; {script} if (!$fine) die(json_encode($it->errormsg)); echo 'saved';", "saved")


def _run(copy: Path, script: str, says: str = "") -> None:
    # So told, it wants neither a session nor the templates of its pages.
    command = [require("php"), "-d", f"include_path=.:{copy}", "-r", f"define('POSTFIXADMIN_CLI', 1); {script}"]
    done = subprocess.run(command, cwd=copy / "public", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert says in done.stdout, done.stdout + done.stderr


def make_sqlite(folder: Path) -> Path:
    """An empty SQLite database with the tables."""
    copy, file = program(folder), folder / "postfixadmin.db"
    file.touch()
    make_tables(copy, of_file(file))
    return file


def counted(file: Path) -> None:
    """From now on, what new mailboxes hold is known, as if Dovecot wrote it down: nothing."""
    with closing(sqlite3.connect(file)) as db, db:
        db.execute(
            "CREATE TRIGGER counted AFTER INSERT ON mailbox BEGIN"
            " INSERT OR REPLACE INTO quota2 (username, bytes, messages) VALUES (NEW.username, 0, 0); END"
        )


def of_file(file: Path) -> dict[str, str]:
    return {"database_type": "sqlite", "database_name": str(file)}


def make_on(server: Server, folder: Path) -> None:
    """The tables in a server's database."""
    make_tables(program(folder), on(server))


def on(server: Server) -> dict[str, str]:
    where = {"database_host": "127.0.0.1", "database_port": str(server.port), "database_name": NAME}
    who = {"database_user": USER, "database_password": PASSWORD.replace("'", "\\'")}
    return server.settings() | where | who
