"""PostfixAdmin's tables: the contract on each database, and what PostfixAdmin, Postfix and Dovecot expect of them."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import sqlalchemy as sa

from mspctl.driver import NOT_HERE, Access, Failed, Gauge, NoPasswords, Unmeasured, Work, measured
from mspctl.drivers import postfixadmin
from mspctl.errors import TargetError, Unreachable
from mspctl.kinds import NEWEST, mail
from mspctl.resource import Cause, Change, Id, Resource, Scope, Value
from mspctl.secrets import Secrets
from tests.drivers.contract import DriverContract, Rig, Sample, read
from tests.drivers.mailboxes import NAMES, MailRig, of_size
from tests.drivers.workbench import Workbench
from tests.servers import databases
from tests.servers import postfixadmin as genuine

SCOPES = [Scope("mail-1", mail.FACET, name, "acme") for name in NAMES]
SCOPE = SCOPES[0]
MB = 1_024_000
ROOT = Path(__file__).parents[2]


mailbox = of_size(500 * MB)


class SqlRig(MailRig):
    """PostfixAdmin's tables, seen through the plain database driver; statements have ? for values."""

    module = postfixadmin
    scopes = SCOPES
    now = "now()"

    def settings(self, **said: str) -> None:
        """Further settings of the driver."""
        old = {n: str(v) for n, v in self.access.settings.model_dump(exclude_unset=True).items()}
        self.access = replace(self.access, settings=postfixadmin.Settings.model_validate(old | said))

    def run(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        raise NotImplementedError

    def postfixadmin(self, folder: Path) -> Path:
        """The genuine one, on these tables."""
        copy = genuine.program(folder)
        genuine.tell(copy, self.pages())
        return copy

    def pages(self) -> dict[str, str]:
        """Where the tables are, as PostfixAdmin is told."""
        raise NotImplementedError

    @contextmanager
    def abroad(self) -> Iterator[None]:
        """Meanwhile the server is in another time zone, for whoever connects."""
        yield

    def refusing(self, table: str, verb: str, row: str, domain: str) -> tuple[str, str]:
        """Statements after which the database refuses such a change, and allows it again."""
        raise NotImplementedError

    def by_hand(self, scope: Scope, id_: Id, resource: Resource | None) -> None:
        """As somebody in PostfixAdmin's pages: both rows of a mailbox, and a new one where there is none."""
        address, fields = mail.address_of(id_.name, scope.name), resource.fields if resource else {}
        if resource is None:
            self.run("DELETE FROM mailbox WHERE username = ?", address)
            self.run("DELETE FROM alias WHERE address = ?", address)
            return
        if not self.run("SELECT 1 FROM domain WHERE domain = ?", scope.name):
            self.run("INSERT INTO domain (domain, description, transport) VALUES (?, '', '')", scope.name)
        if id_.kind == mail.MAILBOX:
            goto = [*mail.addresses(fields["forwards"]), *([address] if fields["keep_copy"] else [])]
            said = {"name": fields["name"], "quota": fields["quota"], "active": fields["enabled"], "domain": scope.name}
            made = {"password": "{PLAIN}x", "maildir": "m/", "local_part": id_.name}
            self._put("mailbox", "username", address, **said, **made)
            self._put("alias", "address", address, goto=",".join(goto), domain=scope.name, active=fields["receives"])
        else:
            goto = mail.addresses(fields["to"])
            self._put("alias", "address", address, goto=",".join(goto), domain=scope.name, active=fields["enabled"])

    def touch(self, scope: Scope, resource: Resource) -> str:
        """Who PostfixAdmin calls CLI writes what its own program would."""
        self.by_hand(scope, resource.id, resource)
        now, address = self.now, mail.address_of(resource.id.name, scope.name)
        for table in ("mailbox", "alias"):
            self.run(f"UPDATE {table} SET modified = {now} WHERE {KEYS[table]} = ?", address)  # noqa: S608
        self.tell("edit_mailbox", address)
        return "CLI"

    def tell(self, action: str, what: str, who: str = "CLI (localhost)", when: str = "") -> None:
        """A line of PostfixAdmin's log."""
        marks = f"({when or self.now}, ?, ?, ?, ?)"
        values = (who, SCOPE.name, action, what)
        self.run(f"INSERT INTO log (timestamp, username, domain, action, data) VALUES {marks}", *values)  # noqa: S608

    def _put(self, table: str, key: str, value: str, **row: Any) -> None:
        if self.run(f"SELECT 1 FROM {table} WHERE {key} = ?", value):  # noqa: S608
            row = {n: v for n, v in row.items() if n not in ("password", "maildir")}
            said = ", ".join(f"{name} = ?" for name in row)
            self.run(f"UPDATE {table} SET {said} WHERE {key} = ?", *row.values(), value)  # noqa: S608
        else:
            row = {key: value, **row}
            marks = ", ".join("?" for _ in row)
            self.run(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", *row.values())  # noqa: S608

    def answer(self, address: str) -> None:
        """A mailbox's owner makes an automatic reply."""
        row = {"subject": "away", "body": "I am away", "domain": address.partition("@")[2]}
        row |= {} if self.access.settings.database == "postgresql" else {"cache": ""}
        self._put("vacation", "email", address, **row)

    @contextmanager
    def breaking(self, scope: Scope, after: int) -> Iterator[None]:
        rows = {"INSERT": "NEW", "UPDATE": "NEW", "DELETE": "OLD"}
        steps = [self.refusing(t, verb, rows[verb], scope.name) for t in ("mailbox", "alias") for verb in rows]
        for begin, _ in steps:
            self.run(begin)
        try:
            yield
        finally:
            for _, end in steps:
                self.run(end)

    @contextmanager
    def garbled(self, scope: Scope) -> Iterator[None]:
        fields = {"password": "x", "maildir": "m/", "name": "", "local_part": "nobody", "domain": scope.name}
        self._put("mailbox", "username", "nobody@elsewhere.example", **fields)
        try:
            yield
        finally:
            self.run("DELETE FROM mailbox WHERE username = 'nobody@elsewhere.example'")

    def shuffle(self, scope: Scope) -> None:
        rows = self.run("SELECT * FROM alias WHERE domain = ? ORDER BY address DESC", scope.name)
        self.run("DELETE FROM alias WHERE domain = ?", scope.name)
        for row in rows:
            row["goto"] = ", ".join(reversed(row["goto"].split(",")))
            self._put("alias", "address", row.pop("address"), **row)

    def native(self, scope: Scope) -> object:
        held = {}
        for table, key in KEYS.items():
            by = "target_domain" if table == "alias_domain" else "domain"
            rows = self.run(f"SELECT * FROM {table} WHERE {by} = ? ORDER BY {key}", scope.name)  # noqa: S608
            held[table] = [{n: v for n, v in row.items() if n != "modified"} for row in rows]
        return held


KEYS = {"mailbox": "username", "alias": "address", "domain": "domain", "alias_domain": "alias_domain"}
TABLES = ("vacation_notification", "vacation", "quota2", "alias_domain", "alias", "mailbox", "domain", "log")


def access(root: Path, passwords: Any, secrets: dict[str, bytes] | None = None, **said: str) -> Access:
    settings = postfixadmin.Settings.model_validate({"scheme": "SHA512-CRYPT"} | said)
    return Access("mail-1", "127.0.0.1", settings, Secrets.given(secrets or {}), root, passwords)


class SqliteRig(SqlRig):
    now = "datetime('now')"

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.access = access(file.parent, self.passwords, database="sqlite", file=file.name, timeout="1")

    def run(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.file)) as db, db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(statement, values)]

    def refusing(self, table: str, verb: str, row: str, domain: str) -> tuple[str, str]:
        name = f"no_{table}_{verb}"
        when = f"CREATE TRIGGER {name} BEFORE {verb} ON {table} WHEN {row}.domain = '{domain}'"
        return f"{when} BEGIN SELECT RAISE(ABORT, 'the disk is full'); END", f"DROP TRIGGER {name}"

    def pages(self) -> dict[str, str]:
        return genuine.of_file(self.file)

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        self.file.rename(self.file.with_suffix(".away"))
        yield
        self.file.with_suffix(".away").rename(self.file)


class ServerRig(SqlRig):
    zones: tuple[str, str]  # statements that move the server, and move it back

    def __init__(self, server: databases.Server) -> None:
        super().__init__()
        self.server = server
        word = {"password": databases.PASSWORD.encode()}
        said = {"database": server.kind, "port": str(server.port), "timeout": "5"}
        self.access = access(server.folder, self.passwords, word, **said)
        self.db = server.connect()
        for table in TABLES:
            self.run(f"DELETE FROM {table}")  # noqa: S608

    def run(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        with closing(self.db.cursor()) as cursor:
            cursor.execute(statement.replace("?", "%s") if values else statement, values or None)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()] if names else []

    def pages(self) -> dict[str, str]:
        return genuine.on(self.server)

    @contextmanager
    def abroad(self) -> Iterator[None]:
        begin, end = self.zones
        self._as_root(begin)
        try:
            yield
        finally:
            self._as_root(end)

    def _as_root(self, statement: str) -> None:
        """Then all connect again; readers would keep their connections."""
        with closing(self.server.as_root()) as root, closing(root.cursor()) as cursor:
            cursor.execute(statement)
        self.reconnect()
        self._made.clear()

    def reconnect(self) -> None:
        """After the server was away."""
        with suppress(Exception):
            self.db.close()
        self.db = self.server.wait(self.server.connect)

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        kept = self.access
        self.settings(port=str(databases.free_port()))
        yield
        self.access = kept


class PostgresqlRig(ServerRig):
    zones = (f"ALTER ROLE {databases.USER} SET timezone TO 'Asia/Tokyo'", f"ALTER ROLE {databases.USER} RESET timezone")

    def refusing(self, table: str, verb: str, row: str, domain: str) -> tuple[str, str]:
        name = f"no_{table}_{verb}"
        self.run(
            "CREATE OR REPLACE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN RAISE EXCEPTION ''the disk is full''; END'"
        )
        when = f"CREATE TRIGGER {name} BEFORE {verb} ON {table} FOR EACH ROW WHEN ({row}.domain = '{domain}')"
        return f"{when} EXECUTE FUNCTION no()", f"DROP TRIGGER {name} ON {table}"


class MariadbRig(ServerRig):
    zones = ("SET GLOBAL time_zone = '+09:00'", "SET GLOBAL time_zone = 'SYSTEM'")

    def refusing(self, table: str, verb: str, row: str, domain: str) -> tuple[str, str]:
        name = f"no_{table}_{verb}"
        when = f"CREATE TRIGGER {name} BEFORE {verb} ON {table} FOR EACH ROW IF {row}.domain = '{domain}'"
        refuse = "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the disk is full'"
        return f"{when} THEN {refuse}; END IF", f"DROP TRIGGER {name}"


SERVERS: dict[str, type[ServerRig]] = {"postgresql": PostgresqlRig, "mariadb": MariadbRig}


@pytest.fixture(scope="module", params=["sqlite", *SERVERS])
def database(request: pytest.FixtureRequest, mail_server: Callable[[str], databases.Server]) -> databases.Server | None:
    """A server with PostfixAdmin's tables; None for SQLite, of which each test has a file of its own."""
    return None if request.param == "sqlite" else mail_server(request.param)


@pytest.fixture
def rig(database: databases.Server | None, mail_tables: Path, tmp_path: Path) -> Iterator[SqlRig]:
    if database is None:
        yield SqliteRig(Path(shutil.copy(mail_tables, tmp_path / "mail.db")))
        return
    made = SERVERS[database.kind](database)
    yield made
    made.db.close()


@pytest.fixture
def sqlite(mail_tables: Path, tmp_path: Path) -> SqliteRig:
    return SqliteRig(Path(shutil.copy(mail_tables, tmp_path / "mail.db")))


class TestPostfixadmin(DriverContract):
    removes_scopes = True
    samples = (
        Sample(
            mailbox(),
            [
                mailbox(quota=1000 * MB),
                mailbox(name="Paolo Zen Ferri"),
                mailbox(enabled=False),
                mailbox(receives=False),
                mailbox(keep_copy=False),
                mailbox(password="generated rev 2"),
                mailbox(forwards=frozenset({"x@partner.example", "y@partner.example"})),
            ],
        ),
        Sample(
            mail.alias("tutti", ["a@beta.example", "x@partner.example"]),
            [
                mail.alias("tutti", ["a@beta.example"]),
                mail.alias("tutti", ["a@beta.example", "x@partner.example"], enabled=False),
            ],
        ),
        Sample(
            mail.alias("@", ["x@partner.example"]),
            [mail.alias("@", ["y@partner.example"]), mail.alias("@", ["x@partner.example"], enabled=False)],
        ),
        Sample(
            mail.limits(5, 1000 * MB),
            [
                mail.limits(6, 1000 * MB),
                mail.limits(5, 2000 * MB),
                replace(mail.limits(5, 1000 * MB), fields={"enabled": False, "mailboxes": 5, "quota": 1000 * MB}),
            ],
        ),
    )
    impossible = (
        (mailbox(shared_with=frozenset({"a@acme.example"})), "whose mailbox others use is Dovecot's affair"),
        (mailbox(reply="I have left"), "automatic replies need the setting vacation_domain"),
        (mailbox(name="x" * 256), "a name can be 255 characters long"),
        (mail.alias("none", []), "an alias without recipients"),
        (Resource(Id("dns.rrset", "@ A"), {}), "PostfixAdmin holds no dns.rrset"),
    )
    adjusted = (mailbox("g", quota=10 * 2**30), mail.limits(1, 2**30))
    swap = (mailbox("g"), mail.alias("g", ["x@partner.example"]))
    many = tuple(
        mail.alias(f"a{number}", ["x@partner.example"]) if number % 2 else mailbox(f"m{number}")
        for number in range(1000)
    )
    write_only = frozenset({"password"})
    measures = frozenset({mail.OCTETS, mail.QUOTA, mail.LAST_LOGIN, NEWEST})
    remembers = "each"
    renamed = (mailbox("paolo.zen"),)

    def held_by(self, rig: Rig, scope: Scope, id_: Id) -> object:
        """The folder of its mail, and the password that its owner has."""
        assert isinstance(rig, SqlRig)
        address = mail.address_of(id_.name, scope.name)
        return rig.run("SELECT maildir, password, quota FROM mailbox WHERE username = ?", address)


# -- what PostfixAdmin does, and who reads its tables expects ---------------------------------------------------


@pytest.fixture
def bench(rig: SqlRig) -> Workbench:
    return bench_of(rig)


def bench_of(rig: SqlRig) -> Workbench:
    return Workbench(lambda scope: rig.reader(), lambda scope: rig.driver(), approved=True)


def row(rig: SqlRig, table: str, address: str) -> dict[str, Any]:
    key = {"mailbox": "username", "alias": "address", "vacation": "email"}.get(table, "domain")
    (found,) = rig.run(f"SELECT * FROM {table} WHERE {key} = ?", address)  # noqa: S608
    return found


def live(rig: SqlRig, name: str = "paolo") -> dict[str, Value]:
    return {r.id.name: dict(r.fields) for r in read(rig, SCOPE).resources}[name]


PLAIN = mailbox(forwards=frozenset())
PAOLO = "paolo@acme.example"


def test_a_new_domain_and_mailbox_look_as_postfixadmin_makes_them(rig: SqlRig, bench: Workbench) -> None:
    bench.declare(SCOPE, PLAIN)
    bench.converge()
    domain = row(rig, "domain", "acme.example")
    assert (domain["active"], domain["transport"], domain["backupmx"]) == (1, "virtual", 0)
    found = row(rig, "mailbox", PAOLO)
    assert (found["maildir"], found["local_part"], found["domain"]) == ("acme.example/paolo/", "paolo", "acme.example")
    assert found["quota"] == 500 * MB
    assert str(found["created"]) < str(found["password_expiry"])
    assert row(rig, "alias", PAOLO)["goto"] == PAOLO
    told = [(r["action"], r["data"], r["username"]) for r in rig.run("SELECT * FROM log ORDER BY id")]
    who = "mspctl (mspctl)"
    assert told == [("create_domain", "acme.example", who), ("create_mailbox", PAOLO, who)]


def test_a_disabled_mailbox_takes_no_mail_either(rig: SqlRig, bench: Workbench) -> None:
    """With the row in `mailbox` alone, Postfix would go on saying yes."""
    bench.declare(SCOPE, PLAIN)
    bench.converge()
    bench.declare(SCOPE, mailbox(enabled=False, receives=False, forwards=frozenset()))
    bench.converge()
    assert (row(rig, "mailbox", PAOLO)["active"], row(rig, "alias", PAOLO)["active"]) == (0, 0)
    rig.run("UPDATE alias SET active = ?", True)
    assert bench.causes(SCOPE) == {"paolo": Cause.DRIFT}


def test_a_mailbox_without_a_row_in_alias_is_one_all_the_same(rig: SqlRig, bench: Workbench) -> None:
    bench.declare(SCOPE, PLAIN)
    bench.converge()
    rig.run("DELETE FROM alias")
    assert bench.causes(SCOPE) == {}
    bench.declare(SCOPE, mailbox())
    bench.converge()
    assert row(rig, "alias", PAOLO)["goto"] == f"{PAOLO},x@partner.example"


def test_a_holiday_reply_is_no_forward_and_stays_its_owners(rig: SqlRig, bench: Workbench) -> None:
    bench.declare(SCOPE, PLAIN)
    bench.converge()
    away = "paolo#acme.example@autoreply.msp.example"
    rig.run("UPDATE alias SET goto = ?", f"{PAOLO},{away}")
    assert bench.causes(SCOPE) == {}
    bench.declare(SCOPE, mailbox())
    bench.converge()
    assert {*row(rig, "alias", PAOLO)["goto"].split(",")} == {PAOLO, away, "x@partner.example"}


def test_who_leaves_is_answered_for_and_then_not(rig: SqlRig, bench: Workbench) -> None:
    rig.settings(vacation_domain="autoreply.msp.example")
    bench.declare(SCOPE, mailbox(forwards=frozenset()))
    bench.converge()
    left: dict[str, Value] = {
        "enabled": False,
        "receives": True,
        "keep_copy": False,
        "forwards": frozenset({"a@beta.example"}),
    }
    gone = Resource(Id(mail.MAILBOX, "paolo"), left | {"reply": "Paolo has left"})
    bench.declare(SCOPE, gone)
    bench.converge()
    away = "paolo#acme.example@autoreply.msp.example"
    assert {*row(rig, "alias", PAOLO)["goto"].split(",")} == {"a@beta.example", away}
    assert (row(rig, "mailbox", PAOLO)["active"], row(rig, "alias", PAOLO)["active"]) == (0, 1)
    reply = row(rig, "vacation", PAOLO)
    assert (reply["body"], reply["active"], reply["subject"]) == ("Paolo has left", 1, "Re: $SUBJECT")
    rig.run("UPDATE vacation SET body = 'something else'")
    assert bench.causes(SCOPE) == {"paolo": Cause.DRIFT}
    rig.run("UPDATE vacation SET body = 'Paolo has left'")
    silent: dict[str, Value] = {"receives": False, "keep_copy": True, "forwards": frozenset(), "reply": ""}
    bench.declare(SCOPE, replace(gone, fields={**left, **silent}))
    bench.converge()
    assert (row(rig, "alias", PAOLO)["goto"], row(rig, "alias", PAOLO)["active"]) == (PAOLO, 0)
    assert row(rig, "vacation", PAOLO)["active"] == 0


def test_what_is_deleted_takes_its_rows_along_and_leaves_its_folder_to_nobody(rig: SqlRig, bench: Workbench) -> None:
    bench.declare(SCOPE, PLAIN, mail.alias("tutti", ["x@partner.example"]))
    bench.converge()
    rig.run("INSERT INTO quota2 VALUES (?, 5, 1)", PAOLO)
    rig.answer(PAOLO)
    bench.declare(SCOPE, mail.alias("tutti", ["x@partner.example"]))
    bench.converge()
    for table in ("mailbox", "quota2", "vacation"):
        assert rig.run(f"SELECT * FROM {table}") == []  # noqa: S608
    assert [r["address"] for r in rig.run("SELECT * FROM alias")] == ["tutti@acme.example"]
    bench.declare(SCOPE, PLAIN, mail.alias("tutti", ["x@partner.example"]))
    bench.apply(causes=frozenset(Cause))
    assert row(rig, "mailbox", PAOLO)["maildir"].startswith("acme.example/paolo-20")


def test_a_rename_carries_what_other_tables_hold(rig: SqlRig, bench: Workbench) -> None:
    bench.declare(SCOPE, PLAIN)
    bench.converge()
    rig.run("INSERT INTO quota2 VALUES (?, 5, 1)", PAOLO)
    rig.answer(PAOLO)
    rig.run("UPDATE alias SET goto = ?", f"{PAOLO},paolo#acme.example@autoreply.msp.example")
    new = replace(mailbox("p.zen", forwards=frozenset()), was=Id(mail.MAILBOX, "paolo"))
    bench.declare(SCOPE, new, mail.alias("paolo", ["p.zen@acme.example"]))
    bench.converge()
    assert row(rig, "mailbox", "p.zen@acme.example")["maildir"] == "acme.example/paolo/"
    goto = row(rig, "alias", "p.zen@acme.example")["goto"]
    assert {*goto.split(",")} == {"p.zen@acme.example", "p.zen#acme.example@autoreply.msp.example"}
    assert [r["username"] for r in rig.run("SELECT * FROM quota2")] == ["p.zen@acme.example"]
    assert [r["email"] for r in rig.run("SELECT * FROM vacation")] == ["p.zen@acme.example"]
    assert row(rig, "alias", PAOLO)["goto"] == "p.zen@acme.example"


def test_an_alias_domain_comes_and_goes_with_its_own_row(rig: SqlRig, bench: Workbench) -> None:
    bench.declare(SCOPE, PLAIN, mail.alias_domain("acme.it"))
    bench.converge()
    assert row(rig, "domain", "acme.it")["active"] == 1
    assert rig.reader().scopes() == ["acme.example"]
    rig.run("UPDATE alias_domain SET active = ?", False)
    assert bench.causes(SCOPE) == {"acme.it": Cause.DRIFT}
    bench.apply(causes=frozenset(Cause))
    bench.declare(SCOPE, PLAIN)
    bench.converge()
    assert rig.run("SELECT * FROM domain WHERE domain = 'acme.it'") == []


def test_the_row_of_all_domains_is_none(rig: SqlRig) -> None:
    rig.run("INSERT INTO domain (domain, description, transport) VALUES ('ALL', '', '')")
    assert rig.reader().scopes() == []


def test_a_domain_that_somebody_switched_off_is_told(rig: SqlRig, bench: Workbench) -> None:
    bench.declare(SCOPE, PLAIN)
    bench.converge()
    rig.run("UPDATE domain SET active = ?", False)
    assert bench.causes(SCOPE) == {"domain": Cause.UNMANAGED}


def test_spellings_are_no_difference(rig: SqlRig, bench: Workbench) -> None:
    bench.declare(SCOPE, mailbox(), mail.alias("tutti", ["x@partner.example", PAOLO]))
    bench.converge()
    rig.run("UPDATE alias SET goto = ' X@Partner.example , PAOLO@acme.example,' WHERE address = 'tutti@acme.example'")
    rig.run("UPDATE mailbox SET username = 'Paolo@acme.example'")
    assert bench.causes(SCOPE) == {}
    bench.declare(SCOPE, mailbox(quota=1000 * MB), mail.alias("tutti", ["x@partner.example", PAOLO]))
    bench.converge()
    assert [r["quota"] for r in rig.run("SELECT quota FROM mailbox")] == [1000 * MB]


def test_an_address_that_is_there_as_something_else(rig: SqlRig, bench: Workbench) -> None:
    rig.by_hand(SCOPE, Id(mail.ALIAS, "paolo"), mail.alias("paolo", ["x@partner.example"]))
    rig.by_hand(SCOPE, Id(mail.MAILBOX, "anna"), mailbox("anna"))
    for declared, said in ((PLAIN, f"{PAOLO} is an alias"), (mail.alias("anna", ["x@y.example"]), "is a mailbox")):
        bench.declare(SCOPE, declared)
        assert said in bench.apply().scopes[SCOPE].error


# -- passwords --------------------------------------------------------------------------------------------------


def test_a_password_is_written_when_it_is_new_and_then_its_owners(rig: SqlRig, bench: Workbench) -> None:
    bench.declare(SCOPE, PLAIN)
    bench.converge()
    assert rig.passwords.asked == [("acme", PAOLO, "generated rev 1")]
    first = row(rig, "mailbox", PAOLO)["password"]
    assert first.startswith("{SHA512-CRYPT}$6$")
    rig.run("UPDATE mailbox SET password = '{BLF-CRYPT}$2y$10$owner'")
    bench.declare(SCOPE, mailbox())
    bench.converge()
    assert row(rig, "mailbox", PAOLO)["password"] == "{BLF-CRYPT}$2y$10$owner"
    bench.declare(SCOPE, mailbox(password="PAOLO rev 2"))
    bench.converge()
    assert rig.passwords.asked[1:] == [("acme", PAOLO, "PAOLO rev 2")]
    assert row(rig, "mailbox", PAOLO)["password"] not in (first, "{BLF-CRYPT}$2y$10$owner")
    assert [r["action"] for r in rig.run("SELECT action FROM log ORDER BY id")][-1] == "edit_password"


def test_without_a_password_nobody_can_log_in(rig: SqlRig, bench: Workbench) -> None:
    fields = {name: value for name, value in PLAIN.fields.items() if name != "password"}
    bench.declare(SCOPE, replace(PLAIN, fields=fields))
    bench.converge()
    scheme, _, hashed = row(rig, "mailbox", PAOLO)["password"].partition("}")
    assert scheme == "{BLF-CRYPT"
    assert not bcrypt.checkpw(b"", hashed.encode())


def test_a_password_that_cannot_be_had_leaves_everything_as_it_was(rig: SqlRig, bench: Workbench) -> None:
    rig.access = replace(rig.access, passwords=NoPasswords())
    bench.declare(SCOPE, PLAIN)
    assert bench.apply().scopes[SCOPE].error == "there is no place that passwords come from"
    assert rig.run("SELECT * FROM domain") == []


# -- how it is used ---------------------------------------------------------------------------------------------


def gauge(what: str, local: str = "paolo", scope: Scope = SCOPE) -> Gauge:
    return Gauge(scope, Id(mail.MAILBOX, local), what)


def test_the_quota_is_measured_as_it_stands(rig: SqlRig, bench: Workbench) -> None:
    bench.declare(SCOPE, mailbox(quota=10 * 2**30), mailbox("anna", quota=0))
    bench.apply()
    rig.run("UPDATE mailbox SET quota = -1 WHERE local_part = 'anna'")  # as an old PostfixAdmin wrote “unlimited”
    found = measured(rig.reader(), [gauge(mail.QUOTA, local) for local in ("paolo", "anna", "luca")])
    assert [*found.values()] == [10486 * MB, 0, NOT_HERE]


def test_what_dovecot_writes_into_tables_is_measured(rig: SqlRig) -> None:
    rig.run("INSERT INTO quota2 VALUES (?, 5000000000, 7)", PAOLO)
    rig.run("INSERT INTO quota2 VALUES (?, 0, 0)", "anna@acme.example")
    paolo, anna, luca = (gauge(mail.OCTETS, local) for local in ("paolo", "anna", "luca"))
    found = measured(rig.reader(), [paolo, anna, luca, gauge(mail.LAST_LOGIN), gauge(NEWEST)])
    assert (found[paolo], found[anna]) == (5_000_000_000, 0)
    assert found[luca] == Unmeasured("no row in quota2, which Dovecot's quota_clone fills")
    assert {found[gauge(mail.LAST_LOGIN)], found[gauge(NEWEST)]} == {NOT_HERE}
    rig.run("CREATE TABLE last_login (username varchar(255) PRIMARY KEY, last_login integer)")
    try:
        rig.run("INSERT INTO last_login VALUES (?, 1800000000)", PAOLO)
        rig.settings(last_logins="last_login")
        answers = measured(rig.reader(), [gauge(mail.LAST_LOGIN), gauge(mail.LAST_LOGIN, "anna")])
        assert [*answers.values()] == [datetime(2027, 1, 15, 8, tzinfo=UTC), None]
    finally:
        rig.run("DROP TABLE last_login")
    (answer,) = measured(rig.reader(), [gauge(mail.LAST_LOGIN)]).values()
    assert isinstance(answer, Unmeasured)
    assert "last_login" in answer.why


@pytest.mark.parametrize("domains", [1, 40, 600])
def test_measuring_takes_as_many_queries_for_many_domains_as_for_one(sqlite: SqliteRig, domains: int) -> None:
    """And one connection."""
    sqlite.run("CREATE TABLE last_login (username varchar(255) PRIMARY KEY, last_login integer)")
    sqlite.settings(last_logins="last_login")
    reader = sqlite.reader()
    asked, opened = watched(reader)
    scopes = [Scope("mail-1", mail.FACET, f"d{number}.example") for number in range(domains)]
    measured(reader, [gauge(what, scope=s) for s in scopes for what in (mail.OCTETS, mail.QUOTA, mail.LAST_LOGIN)])
    assert (len(asked), len(opened)) == (3, 1)


def watched(reader: postfixadmin.Reader) -> tuple[list[str], list[object]]:
    """Every SELECT and every connection from now on."""
    asked, opened = list[str](), list[object]()
    with reader.database.session(writes=False):
        pass
    (engine,) = reader.database._engines.values()

    def note(*about: Any) -> None:
        asked.extend([about[2]] if about[2].startswith("SELECT") else [])

    sa.event.listen(engine, "before_cursor_execute", note)
    sa.event.listen(engine, "connect", lambda *more: opened.append(1))
    return asked, opened


# -- the database -----------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    rig = SqliteRig(tmp_path / "none.db")
    with pytest.raises(Unreachable, match="unable to open database file"):
        [*rig.reader().read([SCOPE], {})]
    assert not rig.file.exists()


def test_a_database_of_something_else(tmp_path: Path) -> None:
    rig = SqliteRig(tmp_path / "other.db")
    rig.run("CREATE TABLE domain (x)")
    with pytest.raises(TargetError, match=r"other\.db: no such table: "):
        [*rig.reader().read([SCOPE], {})]


def test_another_writer_is_waited_for_and_then_named(sqlite: SqliteRig) -> None:
    bench = bench_of(sqlite)
    bench.declare(SCOPE, PLAIN)
    with closing(sqlite3.connect(sqlite.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        said = bench.apply().scopes[SCOPE].error
        assert said == f"{sqlite.file}: database is locked (somebody else is at work there)"
        other.execute("ROLLBACK")
    bench.converge()


def test_what_the_database_refuses_is_told_without_the_row(sqlite: SqliteRig) -> None:
    bench = bench_of(sqlite)
    bench.declare(SCOPE, PLAIN)
    sqlite.run("CREATE TRIGGER full BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'no room'); END")
    assert bench.apply().scopes[SCOPE].error == f"{sqlite.file}: no room"
    assert sqlite.run("SELECT * FROM mailbox") == []


@pytest.mark.parametrize("domains", [1, 40, 600])
def test_reading_takes_as_many_queries_for_many_domains_as_for_one(rig: SqlRig, domains: int) -> None:
    """And one connection."""
    reader = rig.reader()
    asked, opened = watched(reader)
    scopes = [Scope("mail-1", mail.FACET, f"d{number}.example") for number in range(domains)]
    assert len([*reader.read(scopes, {})]) == domains
    assert (len(asked), len(opened)) == (6, 1)


KILLED = """
import os, pickle, sys
from mspctl.drivers.postfixadmin import writer
from tests.drivers.test_postfixadmin import SqliteRig, SCOPE, mailbox
from pathlib import Path
from mspctl.driver import Work
from mspctl.resource import Change

told = writer.Writer._tell
def killed(self, action, what):
    told(self, action, what)
    if what.startswith("m3@"):
        os.kill(os.getpid(), 9)
writer.Writer._tell = killed
rig = SqliteRig(Path(sys.argv[1]))
changes = [Change(None, mailbox(f"m{n}")) for n in range(5)]
[*rig.driver().apply([Work(SCOPE, changes, [c.after for c in changes])])]
"""


def test_killed_half_way_nothing_is_half_made(sqlite: SqliteRig) -> None:
    bench = bench_of(sqlite)
    done = subprocess.run([sys.executable, "-c", KILLED, str(sqlite.file)], cwd=ROOT, timeout=60, check=False)
    assert done.returncode == -9
    for table in ("domain", "mailbox", "alias", "log"):
        assert sqlite.run(f"SELECT * FROM {table}") == []  # noqa: S608
    bench.declare(SCOPE, *(mailbox(f"m{number}") for number in range(5)))
    bench.converge()


def test_two_writers_at_once_lose_nothing(rig: SqlRig) -> None:
    """Each makes half of the mailboxes of each domain, and the others wait for it."""

    def write(half: int) -> list[object]:
        works = []
        for scope in SCOPES:
            changes = [Change(None, mailbox(f"m{half}-{number}")) for number in range(20)]
            works.append(Work(scope, changes, [c.after for c in changes if c.after]))
        return [*postfixadmin.Driver(rig.access).apply(works)]

    rig.settings(timeout="30")
    for scope in SCOPES:
        rig.run("INSERT INTO domain (domain, description, transport) VALUES (?, '', '')", scope.name)
    with ThreadPoolExecutor(2) as executor:
        answers = [a for found in executor.map(write, range(2)) for a in found]
    assert [a for a in answers if isinstance(a, Failed)] == []
    assert len(rig.run("SELECT * FROM mailbox")) == len(rig.run("SELECT * FROM alias")) == 2 * 20 * len(SCOPES)
