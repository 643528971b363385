"""Tables that have grown for years, with other people's hands in them: odd spellings, NULLs, what fits nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product

import pytest

from mspctl.driver import Landed, Reading, Work
from mspctl.drivers import postfixadmin
from mspctl.drivers.postfixadmin import tables, writer
from mspctl.errors import Unsupported
from mspctl.kinds import mail
from mspctl.resource import Cause, Change, Resource, Scope
from tests.drivers import test_postfixadmin as known
from tests.drivers.contract import read
from tests.drivers.test_postfixadmin import KEYS, MB, PAOLO, PLAIN, SCOPE, TABLES, SqlRig, live, mailbox, row
from tests.drivers.workbench import Workbench

database, rig, bench = known.database, known.rig, known.bench
MANY = [Scope("mail-1", mail.FACET, f"d{number}.example") for number in range(tables.MANY)]


def hand_made(rig: SqlRig, address: str = PAOLO, domain: str = "acme.example") -> None:
    """Both rows of a mailbox, as somebody types them."""
    said = {"password": "{PLAIN}x", "maildir": "acme.example/paolo/", "name": "Paolo Zen", "local_part": "paolo"}
    rig._put("mailbox", "username", address, **said, quota=500 * MB, active=True, domain=domain)
    rig._put("alias", "address", address, goto=address, domain=domain, active=True)


def wipe(rig: SqlRig) -> None:
    for table in TABLES:
        rig.run(f"DELETE FROM {table}")  # noqa: S608


def domain_row(rig: SqlRig, name: str = "acme.example") -> None:
    rig.run("INSERT INTO domain (domain, description, transport) VALUES (?, '', '')", name)


def adopted(bench: Workbench, *resources: Resource) -> None:
    """What is declared is there, and recorded."""
    bench.declare(SCOPE, *resources)
    assert bench.apply().landed == 0
    assert bench.causes(SCOPE) == {}


# -- spellings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("others", [[], MANY], ids=["alone", "among many"])
@pytest.mark.parametrize("spelled", ["Acme.EXAMPLE", "acme.example ", " acme.example"])
def test_a_domain_in_another_spelling_is_the_same_domain(
    rig: SqlRig, bench: Workbench, spelled: str, others: list[Scope]
) -> None:
    """Whether few domains are asked for or whole tables are read."""
    domain_row(rig, spelled)
    hand_made(rig, f"Paolo@{spelled.strip()}", spelled)
    answers = [a for a in rig.reader().read([SCOPE, *others], {}) if isinstance(a, Reading)]
    assert [r.id.name for a in answers for r in a.resources] == ["paolo"]
    adopted(bench, PLAIN)
    bench.declare(SCOPE, mailbox(quota=1000 * MB, forwards=frozenset()), mail.alias("tutti", [PAOLO]), mailbox("anna"))
    bench.converge()
    assert len(rig.run("SELECT * FROM domain")) == 1
    held = {r["username"]: r["quota"] for r in rig.run("SELECT username, quota FROM mailbox")}
    assert held == {f"Paolo@{spelled.strip()}": 1000 * MB, "anna@acme.example": 500 * MB}


@pytest.mark.parametrize("spelled", ["Paolo@Acme.Example", f"{PAOLO} ", f" {PAOLO}"])
def test_an_address_in_another_spelling_is_the_same_address(rig: SqlRig, bench: Workbench, spelled: str) -> None:
    domain_row(rig)
    hand_made(rig, spelled)
    rig.run("INSERT INTO quota2 VALUES (?, 5, 1)", spelled)
    rig.answer(PAOLO)
    rig.run("UPDATE vacation SET email = ?", spelled)
    rig.run("INSERT INTO vacation_notification (on_vacation, notified) VALUES (?, 'x@y.example')", spelled)
    adopted(bench, PLAIN)
    bench.declare(SCOPE, replace(mailbox("p.zen", forwards=frozenset()), was=PLAIN.id))
    bench.converge()
    for table, column in (("mailbox", "username"), ("alias", "address"), ("vacation", "email"), ("quota2", "username")):
        assert [r[column] for r in rig.run(f"SELECT * FROM {table}")] == ["p.zen@acme.example"]  # noqa: S608
    assert rig.run("SELECT * FROM vacation_notification") == []


def test_what_is_deleted_takes_its_rows_along_however_they_are_spelled(rig: SqlRig, bench: Workbench) -> None:
    domain_row(rig)
    hand_made(rig, "Paolo@acme.example")
    rig.run("INSERT INTO quota2 VALUES ('Paolo@acme.example', 5, 1)")
    rig.answer("PAOLO@acme.example")
    adopted(bench, PLAIN)
    bench.declare(SCOPE, mail.alias("tutti", ["x@partner.example"]))
    bench.converge()
    for table in ("mailbox", "quota2", "vacation"):
        assert rig.run(f"SELECT * FROM {table}") == []  # noqa: S608


def test_of_two_spellings_servers_find_one_and_the_other_stays_as_it_is(rig: SqlRig, bench: Workbench) -> None:
    if rig.access.settings.database == "mariadb":
        pytest.skip("MariaDB takes them for the same")
    domain_row(rig)
    for address in ("Paolo@acme.example", PAOLO, "PAOLO@acme.example"):
        hand_made(rig, address)
    adopted = {r.id.name for r in read(rig, SCOPE).resources}
    assert adopted == {"paolo", "Paolo@acme.example", "PAOLO@acme.example"}
    bench.declare(SCOPE, mailbox(quota=1000 * MB), mail.alias("tutti", [PAOLO]))
    bench.apply(causes=frozenset(Cause) - {Cause.UNMANAGED})
    assert bench.causes(SCOPE) == dict.fromkeys(("Paolo@acme.example", "PAOLO@acme.example"), Cause.UNMANAGED)
    held = {r["username"]: r["quota"] for r in rig.run("SELECT * FROM mailbox")}
    assert held == {PAOLO: 1000 * MB, "Paolo@acme.example": 500 * MB, "PAOLO@acme.example": 500 * MB}


def test_recipients_are_compared_and_written_without_their_spelling(rig: SqlRig, bench: Workbench) -> None:
    group = mail.alias("tutti", ["a@beta.example", "x@partner.example"])
    bench.declare(SCOPE, group)
    bench.converge()
    typed = " X@Partner.Example,\ta@beta.example ,,X@partner.example, "
    rig.run("UPDATE alias SET goto = ?", typed)
    assert bench.causes(SCOPE) == {}
    bench.declare(SCOPE, mail.alias("tutti", ["a@beta.example", "x@partner.example"], enabled=False))
    bench.converge()
    assert row(rig, "alias", "tutti@acme.example")["goto"] == typed
    bench.declare(SCOPE, mail.alias("tutti", ["a@beta.example"], enabled=False))
    bench.converge()
    assert row(rig, "alias", "tutti@acme.example")["goto"] == "a@beta.example"


# -- nothing where something is expected ------------------------------------------------------------------------


@contextmanager
def without_not_null(rig: SqlRig, table: str, column: str) -> Iterator[None]:
    """As old versions made the table."""
    kind = rig.access.settings.database
    if kind == "sqlite":
        (found,) = rig.run("SELECT sql FROM sqlite_master WHERE name = ?", table)
        columns = [r["name"] for r in rig.run(f"PRAGMA table_info({table})")]
        rig.run(f"ALTER TABLE {table} RENAME TO kept")
        rig.run(found["sql"].replace("NOT NULL", ""))
        rig.run(f"INSERT INTO {table} SELECT {', '.join(columns)} FROM kept")  # noqa: S608
        yield
        return
    if kind == "mariadb":
        (made,) = rig.run(f"SHOW CREATE TABLE {table}")
        (line,) = [line.strip(" ,") for line in made["Create Table"].splitlines() if line.startswith(f"  `{column}`")]
        rig.run(f"ALTER TABLE {table} MODIFY {line.replace('NOT NULL', 'NULL')}")
        undo = f"ALTER TABLE {table} MODIFY {line}"
    else:
        rig.run(f"ALTER TABLE {table} ALTER {column} DROP NOT NULL")
        undo = f"ALTER TABLE {table} ALTER {column} SET NOT NULL"
    try:
        yield
    finally:
        wipe(rig)
        rig.run(undo)


DRIFT, UNMANAGED = {"paolo": Cause.DRIFT}, {"domain": Cause.UNMANAGED}


@pytest.mark.parametrize(
    ("table", "column", "expected"),
    [
        ("mailbox", "name", DRIFT),
        ("mailbox", "quota", DRIFT),
        ("mailbox", "active", DRIFT),
        ("alias", "goto", DRIFT),
        ("alias", "active", DRIFT),
        ("domain", "quota", {}),
        ("domain", "mailboxes", {}),
        ("domain", "active", UNMANAGED),
    ],
)
def test_null_is_nothing_and_no_obstacle(
    rig: SqlRig, bench: Workbench, table: str, column: str, expected: dict[str, Cause]
) -> None:
    bench.declare(SCOPE, PLAIN)
    bench.converge()
    with without_not_null(rig, table, column):
        rig.run(f"UPDATE {table} SET {column} = NULL")  # noqa: S608
        assert bench.causes(SCOPE) == expected
        bench.declare(SCOPE, PLAIN, mail.limits(7, 0))
        assert bench.apply(causes=frozenset(Cause)).unfinished == []
        assert bench.causes(SCOPE) == {}


def test_a_mailbox_that_says_no_domain_is_in_that_of_its_address(rig: SqlRig, bench: Workbench) -> None:
    """PostgreSQL's own tables allow that; elsewhere it is an empty text."""
    domain_row(rig)
    hand_made(rig)
    rig.run("UPDATE mailbox SET domain = ?", None if rig.access.settings.database == "postgresql" else "")
    adopted(bench, PLAIN)
    bench.declare(SCOPE, mailbox(forwards=frozenset(), quota=1000 * MB))
    bench.converge()
    other = [Scope("mail-1", mail.FACET, "none.example")]
    assert [a.resources for a in rig.reader().read(other, {}) if isinstance(a, Reading)] == [[]]


def test_a_domain_without_a_row_is_one_that_is_switched_off(rig: SqlRig, bench: Workbench) -> None:
    """No mail server takes its mail."""
    if rig.access.settings.database == "postgresql":
        pytest.skip("its foreign keys do not let a row go that others need")
    bench.declare(SCOPE, PLAIN)
    bench.converge()
    rig.run("DELETE FROM domain")
    assert bench.causes(SCOPE) == {"domain": Cause.UNMANAGED}
    bench.declare(SCOPE, mailbox(quota=1000 * MB, forwards=frozenset()))
    bench.converge()
    assert row(rig, "domain", "acme.example")["active"] == 1
    assert bench.causes(SCOPE) == {}


def test_a_domain_goes_with_replies_of_mailboxes_that_are_not_there(rig: SqlRig, bench: Workbench) -> None:
    bench.declare(SCOPE, PLAIN)
    bench.converge()
    rig.answer("nobody@acme.example")
    bench.declare_from(SCOPE, lambda outputs: (), gone=True)
    bench.converge()
    assert rig.run("SELECT * FROM domain") == rig.run("SELECT * FROM vacation") == []


# -- what does not fit ------------------------------------------------------------------------------------------


def test_a_group_of_five_hundred(rig: SqlRig, bench: Workbench) -> None:
    members = [f"person{number}@partner.example" for number in range(500)]
    for _ in range(2):
        bench.declare(SCOPE, mail.alias("tutti", members), mailbox(forwards=frozenset(members)))
        bench.converge()
        assert {*row(rig, "alias", "tutti@acme.example")["goto"].split(",")} == {*members}
        members.append("one.more@partner.example")


def test_lists_and_replies_that_do_not_fit_are_refused_by_the_plan(rig: SqlRig, bench: Workbench) -> None:
    """MariaDB keeps them in 64 KiB; the others have no such limit."""
    rig.settings(vacation_domain="autoreply.msp.example")
    members = frozenset(f"{'x' * 60}{number}@{'y' * 60}.example" for number in range(600))
    long = (mail.alias("tutti", members), mailbox(forwards=members), mailbox(reply="é" * 40_000))
    if rig.access.settings.database == "mariadb":
        for resource in long:
            with pytest.raises(Unsupported, match=r"(characters together|octets long)"):
                rig.reader().accept(resource)
        fits = [f"{'x' * 54}{number:04}@{'y' * 59}.example" for number in range(507)]
        assert postfixadmin.TEXT - postfixadmin.ROOM - len(",".join(fits)) in range(127)  # one more would not fit
        bench.declare(SCOPE, mailbox(forwards=frozenset(fits)), mail.alias("tutti", fits))
    else:
        bench.declare(SCOPE, *long[:2])
    bench.converge()


def test_a_name_of_every_script_comes_back_as_it_was(rig: SqlRig, bench: Workbench) -> None:
    names = ("Zoë Müller-Lüdenscheidt", "Дмитрий", "山田太郎", "Pat 🦜 O'Neil \\ %s :x", "x" * 255)
    for name in names:
        bench.declare(SCOPE, mailbox(name=name))
        bench.converge()
        assert live(rig)["name"] == name


# -- folders ----------------------------------------------------------------------------------------------------


def test_who_gets_an_old_name_does_not_get_the_mail(rig: SqlRig, bench: Workbench) -> None:
    """A renamed mailbox keeps its folder, also after it is gone."""
    bench.declare(SCOPE, PLAIN)
    bench.converge()
    renamed = replace(mailbox("p.zen", forwards=frozenset()), was=PLAIN.id)
    bench.declare(SCOPE, renamed)
    bench.converge()
    assert row(rig, "mailbox", "p.zen@acme.example")["maildir"] == "acme.example/paolo/"
    bench.declare(SCOPE, replace(renamed, was=None), PLAIN)
    bench.apply(causes=frozenset(Cause))
    assert row(rig, "mailbox", PAOLO)["maildir"].startswith("acme.example/paolo-20")
    bench.declare(SCOPE, mail.alias("tutti", ["x@partner.example"]))
    bench.converge()
    bench.declare(SCOPE, mailbox("p.zen"), PLAIN)
    bench.apply(causes=frozenset(Cause))
    folders = {r["maildir"] for r in rig.run("SELECT maildir FROM mailbox")}
    assert len(folders) == 2
    assert all("-20" in folder for folder in folders)


def test_a_folder_that_somebody_has_already_is_not_given_again(rig: SqlRig, bench: Workbench) -> None:
    """Renamed by hand, so no log knows."""
    domain_row(rig)
    hand_made(rig, "p.zen@acme.example")
    bench.declare(SCOPE, PLAIN)
    bench.apply()
    assert row(rig, "mailbox", PAOLO)["maildir"].startswith("acme.example/paolo-20")


# -- between our look and our write -----------------------------------------------------------------------------

GROUP = mail.alias("tutti", ["a@beta.example"])
LIMITS = mail.limits(5, 1000 * MB)
AS_IT_WAS = (PLAIN, GROUP, LIMITS, mail.alias_domain("acme.it"))
CHANGES = {
    "quota": (PLAIN, mailbox(forwards=frozenset(), quota=1000 * MB)),
    "name": (PLAIN, mailbox(forwards=frozenset(), name="Paola Zen")),
    "password": (PLAIN, mailbox(forwards=frozenset(), password="generated rev 2")),
    "forwards": (PLAIN, mailbox()),
    "off": (PLAIN, mailbox(forwards=frozenset(), enabled=False, receives=False)),
    "renamed": (PLAIN, replace(mailbox("p.zen", forwards=frozenset()), was=PLAIN.id)),
    "mailbox gone": (PLAIN, None),
    "group": (GROUP, mail.alias("tutti", ["b@beta.example"])),
    "group gone": (GROUP, None),
    "limits": (LIMITS, mail.limits(6, 1000 * MB)),
    "alias domain gone": (mail.alias_domain("acme.it"), None),
    "new mailbox": (None, mailbox("anna")),
    "new alias": (None, mail.alias("anna", ["x@partner.example"])),
    "new alias domain": (None, mail.alias_domain("acme.org")),
}
BY_HAND = {
    "name": "UPDATE mailbox SET name = 'Paolò Zen'",
    "case of the name": "UPDATE mailbox SET name = 'PAOLO ZEN'",
    "a space after the name": "UPDATE mailbox SET name = 'Paolo Zen '",
    "quota": "UPDATE mailbox SET quota = 1",
    "log-in off": "UPDATE mailbox SET active = '0'",
    "forwards": "UPDATE alias SET goto = 'paolo@acme.example,me@home.example' WHERE address LIKE 'paolo@%'",
    "a reply": "UPDATE alias SET goto = 'paolo@acme.example,paolo#acme.example@r.example' WHERE address LIKE 'paolo@%'",
    "alias off": "UPDATE alias SET active = '0' WHERE address LIKE 'paolo@%'",
    "group": "UPDATE alias SET goto = 'c@beta.example' WHERE address LIKE 'tutti@%'",
    "case in the group": "UPDATE alias SET goto = 'A@beta.example' WHERE address LIKE 'tutti@%'",
    "limits": "UPDATE domain SET mailboxes = 9 WHERE domain = 'acme.example'",
    "domain off": "UPDATE domain SET active = '0' WHERE domain = 'acme.example'",
    "description": "UPDATE domain SET description = 'by hand' WHERE domain = 'acme.example'",
    "transport": "UPDATE domain SET transport = 'lmtp' WHERE domain = 'acme.example'",
    "alias domain off": "UPDATE alias_domain SET active = '0'",
    "alias domain gone": "DELETE FROM alias_domain",
    "group gone": "DELETE FROM alias WHERE address LIKE 'tutti@%'",
    "mailbox gone": "DELETE FROM mailbox",
    "an alias": "INSERT INTO alias (address, goto, domain) VALUES ('anna@acme.example', 'z@y.example', 'acme.example')",
    "a mailbox": "INSERT INTO mailbox (username, password, name, maildir, local_part, domain) "
    "VALUES ('anna@acme.example', 'x', '', 'm/', 'anna', 'acme.example')",
}


Cells = dict[tuple[str, str, str], object]  # (table, key, column) → value
VARIES = {"created", "modified", "password_expiry", "id", "timestamp"}  # differ from one run to the next


def cells(rig: SqlRig) -> Cells:
    found: Cells = {}
    for table, key in KEYS.items():
        for held in rig.run(f"SELECT * FROM {table}"):  # noqa: S608
            found |= {(table, held[key], column): value for column, value in held.items() if column not in VARIES}
    return found


def differing(one: Cells, other: Cells) -> Cells:
    return {cell: other.get(cell) for cell in one.keys() | other.keys() if one.get(cell) != other.get(cell)}


class Moment:
    """The tables as they were at a moment, to go back to."""

    def __init__(self, rig: SqlRig) -> None:
        self.rig, self.rows = rig, {table: rig.run(f"SELECT * FROM {table}") for table in KEYS}  # noqa: S608

    def back(self) -> None:
        wipe(self.rig)
        for table in ("domain", "mailbox", "alias", "alias_domain"):
            for held in self.rows[table]:
                more = {name: value for name, value in held.items() if name != KEYS[table]}
                self.rig._put(table, KEYS[table], held[KEYS[table]], **more)


def written(rig: SqlRig, change: Change, monkeypatch: pytest.MonkeyPatch, hand: str = "") -> bool:
    """Make a change; once we have looked, somebody else writes. Whether ours landed."""
    real, left = writer.Writer.write, [hand] if hand else []

    def write(self: writer.Writer) -> None:
        while left:
            rig.run(left.pop())
        real(self)

    with monkeypatch.context() as patch:
        patch.setattr(writer.Writer, "write", write)
        (answer,) = rig.driver().apply([Work(SCOPE, [change], [])])
    return isinstance(answer, Landed)


@pytest.mark.parametrize("database", [*known.SERVERS], indirect=True, scope="module")
@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.soak) for part in range(1, 4))])
def test_what_somebody_writes_while_we_do_is_not_lost(
    rig: SqlRig, bench: Workbench, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    """Both are there afterwards, or we were stale and have written nothing."""
    bench.declare(SCOPE, *AS_IT_WAS)
    bench.converge()
    there = {r.id: r for r in read(rig, SCOPE).resources}
    changes = {what: Change(there[old.id] if old else None, new) for what, (old, new) in CHANGES.items()}
    start, before = Moment(rig), cells(rig)
    alone = {}
    for what, change in changes.items():
        assert written(rig, change, monkeypatch), what
        alone[what] = differing(before, cells(rig))
        start.back()
    outcomes = []
    for number, (what, hand) in enumerate(product(changes, BY_HAND)):
        if number % 4 != part:
            continue
        rig.run(BY_HAND[hand])
        theirs = differing(before, cells(rig))
        start.back()
        landed = written(rig, changes[what], monkeypatch, BY_HAND[hand])
        both = differing(before, cells(rig))
        ours = alone[what] if landed else {}
        assert both.keys() == theirs.keys() | ours.keys(), (what, hand)
        assert {c: both[c] for c in theirs} == theirs, (what, hand)
        assert {c: both[c] for c in ours if c[2] != "password"} == {c: ours[c] for c in ours if c[2] != "password"}
        outcomes.append(landed)
        start.back()
    assert {*outcomes} == {True, False}
