"""Who changed what in PostfixAdmin, and when: as its own program writes it, wherever the server's clock stands."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mspctl.driver import Touched
from mspctl.drivers.postfixadmin.touched import Entry, last
from mspctl.kinds import mail
from mspctl.resource import Id
from tests.drivers.contract import ABOUT
from tests.drivers.test_postfixadmin import PAOLO, PLAIN, SCOPE, SERVERS, SqliteRig, SqlRig, bench_of
from tests.servers import postfixadmin as genuine

OWNER = Id(mail.MAILBOX, "paolo")
LATER, MUCH_LATER = datetime(2030, 3, 1, 9, tzinfo=UTC), datetime(2030, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def sqlite(mail_tables: Path, tmp_path: Path) -> SqliteRig:
    return SqliteRig(Path(shutil.copy(mail_tables, tmp_path / "mail.db")))


@pytest.fixture(params=["sqlite", *SERVERS])
def rig(request: pytest.FixtureRequest, mail_tables: Path, tmp_path: Path) -> Iterator[SqlRig]:
    if request.param == "sqlite":
        yield SqliteRig(Path(shutil.copy(mail_tables, tmp_path / "mail.db")))
        return
    made = SERVERS[request.param](request.getfixturevalue("mail_server")(request.param))
    yield made
    made.db.close()


def filled(rig: SqlRig) -> None:
    bench = bench_of(rig)
    bench.declare(SCOPE, PLAIN, mail.alias("tutti", ["x@partner.example"]), mail.alias_domain("acme.test"))
    bench.converge()


def touched(rig: SqlRig, *ids: Id) -> list[Touched | None]:
    found = rig.reader().touched({SCOPE: ids})[SCOPE]
    assert found.keys() <= {*ids}
    return [found.get(id_) for id_ in ids]


@pytest.mark.parametrize("far", [False, True], ids=["here", "in another time zone"])
def test_what_postfixadmin_itself_saved_is_known(rig: SqlRig, tmp_path: Path, far: bool) -> None:
    if far and isinstance(rig, SqliteRig):
        pytest.skip("SQLite has no server, and writes UTC")
    with rig.abroad() if far else nullcontext():
        filled(rig)
        asked = (OWNER, Id(mail.ALIAS, "tutti"), mail.DOMAIN_ID)
        assert touched(rig, *asked) == [None, None, None]
        program, began = rig.postfixadmin(tmp_path), datetime.now(UTC)
        genuine.save(program, "MailboxHandler", PAOLO, name="Paola", quota="600")
        genuine.save(program, "DomainHandler", SCOPE.name, mailboxes="5")
        box, alias, domain = touched(rig, *asked)
        assert alias is None
        for told in (box, domain):
            assert told is not None
            assert (told.who, told.whole) == ("CLI", "")
            assert abs(told.when - began) < ABOUT


def test_who_wrote_past_its_pages_has_no_name(rig: SqlRig) -> None:
    filled(rig)
    rig.run("UPDATE mailbox SET modified = '2030-03-01 09:00:00' WHERE username = ?", PAOLO)
    (told,) = touched(rig, OWNER)
    assert told is not None
    assert told.who == ""
    assert abs(told.when - LATER) < timedelta(days=1)  # in whichever zone the server is


def test_what_is_gone_and_what_stands_for_another_domain(sqlite: SqliteRig) -> None:
    filled(sqlite)
    sqlite.run("DELETE FROM alias WHERE address = ?", f"tutti@{SCOPE.name}")
    sqlite.tell("delete_alias", f"tutti@{SCOPE.name}", "anna@msp.example (192.0.2.7)", "'2030-03-01 09:00:00'")
    sqlite.run("DELETE FROM alias_domain")
    sqlite.run("UPDATE log SET domain = 'acme.test' WHERE action = 'create_alias_domain'")
    said = ("2030-03-02 09:00:00", "eva@msp.example (192.0.2.8)", "acme.test", "delete_alias_domain", SCOPE.name)
    sqlite.run("INSERT INTO log (timestamp, username, domain, action, data) VALUES (?, ?, ?, ?, ?)", *said)
    found = touched(sqlite, Id(mail.ALIAS, "tutti"), Id(mail.ALIAS_DOMAIN, "acme.test"), mail.DOMAIN_ID)
    assert found == [Touched(LATER, "anna@msp.example"), Touched(MUCH_LATER, "eva@msp.example"), None]


def test_a_default_is_no_time(sqlite: SqliteRig) -> None:
    """Whoever makes a row by hand and says no time gets 2000-01-01."""
    sqlite.run("INSERT INTO domain (domain, description, transport) VALUES (?, '', '')", SCOPE.name)
    row = ("hand@acme.example", "x", "hand", "m/", "hand", SCOPE.name)
    columns = "username, password, name, maildir, local_part, domain"
    sqlite.run(f"INSERT INTO mailbox ({columns}) VALUES (?, ?, ?, ?, ?, ?)", *row)  # noqa: S608
    assert touched(sqlite, Id(mail.MAILBOX, "hand"), mail.DOMAIN_ID) == [None, None]


def at(second: int, who: str = "anna@msp.example", action: str = "edit_mailbox") -> Entry:
    return Entry(LATER + timedelta(seconds=second), who, action)


ANNA = "anna@msp.example"


@pytest.mark.parametrize(
    ("modified", "entries", "told"),
    [
        (None, [], None),
        (0, [], Touched(LATER)),
        (0, [at(1)], Touched(LATER + timedelta(seconds=1), ANNA)),
        (0, [at(0, "mspctl")], None),
        (60, [at(0, "mspctl")], Touched(LATER + timedelta(minutes=1))),
        (60, [at(0)], Touched(LATER + timedelta(minutes=1))),
        (0, [at(60)], Touched(LATER + timedelta(minutes=1), ANNA)),  # of a row that is gone, or was left as it was
        (60, [at(0), at(60, "mspctl")], None),
        (0, [at(0, "mspctl"), at(0)], Touched(LATER, ANNA)),
        (60, [at(0, "mspctl"), at(60, "paolo@acme.example", "edit_password")], None),
        (60, [at(0), at(60, "paolo@acme.example", "edit_password")], Touched(LATER, ANNA)),
    ],
)
def test_the_last_who_is_not_us(modified: int | None, entries: list[Entry], told: Touched | None) -> None:
    row = None if modified is None else LATER + timedelta(seconds=modified)
    assert last(row, entries, "mspctl") == last(row, entries[::-1], "mspctl") == told
