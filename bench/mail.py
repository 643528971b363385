"""
How fast mailboxes are planned and made on a PostgreSQL, against a bare program that sends it the same statements.

The bare program (`bare_sql.py`) starts Python, imports what our driver talks through (`mspctl.transports.sql`, and
with it SQLAlchemy and psycopg), opens one connection, and sends what was overheard while mspctl did the work: the same
reads, or the same rows in bulk inserts and one transaction. It knows no YAML, no ledger and no plan. These mailboxes
have no passwords, so neither side hashes any; what hashing adds is measured apart, once. Whole processes, in turn,
medians of five. Exit code 1 when a goal is missed.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure import ENVIRONMENT, in_turn, output, run
from run import Goal, shown, verdict

if TYPE_CHECKING:
    from tests.servers.databases import Server

BENCH = Path(__file__).resolve().parent
MSPCTL = Path(sys.executable).parent / "mspctl"
MAILBOXES, HASHED = 1000, 200
FEW, MANY, EACH = 3, 300, 40  # domains, and mailboxes in each: 12,000 at most
ROWS = {"domain": 1, "mailbox": MAILBOXES, "alias": MAILBOXES, "log": MAILBOXES + 1}  # what an apply writes
TABLES = ("log", "quota2", "alias", "mailbox", "domain")

TARGETS = """\
targets:
  mail-1:
    address: 127.0.0.1
    secrets: {{password: MAIL_1}}
    facets: {{mailboxes: {{driver: postfixadmin, database: postgresql, port: {port}, scheme: {scheme}}}}}
"""


def main() -> int:
    sys.path.insert(0, str(BENCH.parent))
    from tests.servers import databases, postfixadmin

    output([sys.executable, "-m", "compileall", "-q", BENCH.parent / "mspctl"], codes=(0, 1))
    ENVIRONMENT.update({"MSPCTL_SECRET_MAIL_1": databases.PASSWORD, "MSPCTL_VAULT_PASSWORD": "bench"})
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mspctl-bench-"))).resolve()
        server = stack.enter_context(databases.running(databases.Postgresql))
        (scratch / "program").mkdir()
        postfixadmin.make_on(server, scratch / "program")
        bench = Bench(scratch, server)
        print(f"{'medians of five':<46}{'mspctl':>8}{'bare':>9}{'ratio':>9}{'goal':>10}")
        goals = [*shown(bench.one_domain()), *shown(bench.many_domains())]
    return verdict(goals)


class Bench:
    def __init__(self, scratch: Path, server: Server) -> None:
        self.scratch, self.server = scratch, server
        self.work = scratch / "work"  # a copy of an estate, for one run

    # -- one domain -------------------------------------------------------------------------------------------

    def one_domain(self) -> Iterator[Goal]:
        estate = self.estate("one", 1, MAILBOXES)
        apply, bare = self.mspctl(self.work, "apply", "--yes"), self.bare("inserts.json")
        self.begin(estate)
        self.overhear("INSERT", "inserts.json", self.work, "apply", "--yes")
        self.check(ROWS)
        made = in_turn({"mspctl": apply, "bare": bare}, before=lambda: self.begin(estate))
        self.check(ROWS)
        yield Goal(f"apply of {MAILBOXES:,} new mailboxes: wall, s", made["mspctl"].wall, 5, made["bare"].wall)

        self.begin(estate)
        output(apply)
        self.overhear("SELECT", "selects.json", self.work, "plan")
        found = in_turn({"plan": self.mspctl(self.work, "plan"), "bare": self.bare("selects.json")})
        yield Goal(f"plan of {MAILBOXES:,}, nothing to do: wall, s", found["plan"].wall, 3, found["bare"].wall)
        self.hashing()

    def hashing(self) -> None:
        """What passwords add to an apply; no goal, for it is the scheme's own price and the number of processors."""
        from mspctl import hashes
        from mspctl.secrets import Secret

        schemes: tuple[hashes.Scheme, ...] = ("BLF-CRYPT", "SHA512-CRYPT")
        for scheme in schemes:
            walls = []
            for name in ("", scheme):
                self.begin(self.estate(f"{scheme}-{name or 'none'}".lower(), 1, HASHED, name))
                walls.append(run(self.mspctl(self.work, "apply", "--yes")).wall)
                self.check({"mailbox": HASHED})
            start = time.perf_counter()
            for _ in range(5):
                hashes.hashed(Secret("bench", b"a word"), scheme)
            alone = (time.perf_counter() - start) / 5 * HASHED
            said = f"{walls[1] - walls[0]:.1f} s; one after the other they take {alone:.1f} s"
            print(f"  {HASHED} passwords in {scheme} add {said} ({os.cpu_count()} processors)")

    # -- many domains -----------------------------------------------------------------------------------------

    def many_domains(self) -> Iterator[Goal]:
        """The same drift run over a few domains and over many; the server counts."""
        self.wipe()
        folders = {count: self.estate(f"of-{count}", count, EACH) for count in (FEW, MANY)}
        for folder in folders.values():
            output(self.mspctl(folder, "apply", "--yes"))
        with self.server.connect() as db:  # as Dovecot does, so that drift can say how full they are
            db.execute("INSERT INTO quota2 (username, bytes, messages) SELECT username, 1000, 1 FROM mailbox")
        for command in ("drift", "plan"):
            asked = {}
            for count, folder in folders.items():
                with self.server.overheard() as heard:
                    output(self.mspctl(folder, command))
                asked[count] = heard
            few, many = asked[FEW], asked[MANY]
            yield Goal(f"{command} of {MANY} domains: connections", many.connections, 1, digits=0)
            what = f"{command} of {MANY} and of {FEW} domains: statements"
            yield Goal(what, len(many.statements), 1, len(few.statements), digits=0)
        found = in_turn({str(count): self.mspctl(folder, "drift") for count, folder in folders.items()}, times=3)
        walls = " and ".join(f"{run.wall:.2f} s over {count} domains" for count, run in found.items())
        print(f"  drift takes {walls} of {EACH} mailboxes each (medians of three)")

    # -- helpers ----------------------------------------------------------------------------------------------

    def estate(self, name: str, domains: int, mailboxes: int, scheme: str = "") -> Path:
        """A repository with an empty ledger; with a scheme, each mailbox has a password."""
        folder = self.scratch / name
        (folder / "inventory").mkdir(parents=True)
        targets = TARGETS.format(port=self.server.port, scheme=scheme or "BLF-CRYPT")
        (folder / "inventory/targets.yaml").write_text(targets)
        password = ", password: generated" if scheme else ""
        for number in range(domains):
            customer = folder / f"customers/{name}-{number}"
            customer.mkdir(parents=True)
            (customer / "customer.yaml").write_text(f"name: Customer {number}\n")
            boxes = "".join(f"      u{n}: {{name: User {n}, quota: 5 GiB{password}}}\n" for n in range(mailboxes))
            domain = f"{name}-{number}.example"
            text = f"domains:\n  {domain}:\n    target: mail-1\n    mailboxes:\n{boxes}"
            (customer / "mail.yaml").write_text(text)
        for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message", "The estate")):
            output(["git", "-C", folder, *words])
        output(self.mspctl(folder, "ledger", "init"))
        return folder

    def begin(self, estate: Path) -> None:
        """Nothing is there, and nothing is recorded."""
        self.wipe()
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(estate, self.work)

    def wipe(self) -> None:
        with self.server.connect() as db:
            for table in TABLES:
                db.execute(f"DELETE FROM {table}")  # noqa: S608
            db.execute("VACUUM ANALYZE")

    def check(self, rows: dict[str, int]) -> None:
        """Both sides must have written as much before a time is believed."""
        with self.server.connect() as db:
            found = {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in rows}  # noqa: S608
        if found != rows:
            sys.exit(f"not the same work: there should be {rows}, and are {found}")

    def overhear(self, verb: str, file: str, folder: Path, *words: str) -> None:
        """Keep the statements of a run that begin with `verb`, with their values."""
        command = [sys.executable, __file__, "overhear", verb, self.scratch / file, "-C", folder, *words]
        output(command)

    def mspctl(self, folder: Path, *words: str) -> list[str | Path]:
        return [MSPCTL, "-C", folder, *words]

    def bare(self, file: str) -> list[str | Path]:
        return [sys.executable, BENCH / "bare_sql.py", self.scratch / file, str(self.server.port)]


# -- a program of its own -------------------------------------------------------------------------------------


def overhear(verb: str, file: str, words: Sequence[str]) -> int:
    import sqlalchemy as sa

    from mspctl import cli

    heard: list[tuple[str, Any]] = []

    def hear(connection: object, cursor: object, statement: str, values: Any, *more: object) -> None:
        if statement.startswith(verb):
            heard.append((statement, values))

    sa.event.listen(sa.Engine, "before_cursor_execute", hear)
    code = cli.run(words)
    Path(file).write_text(json.dumps(heard, default=str))
    return code


if __name__ == "__main__":
    if sys.argv[1:2] == ["overhear"]:
        sys.exit(overhear(sys.argv[2], sys.argv[3], sys.argv[4:]))
    sys.exit(main())
