"""Modoboa: the contract against a real server, and what is particular about it."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mspctl import hashes
from mspctl.apply import Outcome
from mspctl.driver import Access, Failed, Gauge, Landed, NoPasswords, Reading, Unmeasured, Work, measured
from mspctl.drivers import modoboa
from mspctl.drivers.modoboa import native, writer
from mspctl.drivers.modoboa.api import Api
from mspctl.errors import Stale, TargetError, Unreachable, Unsupported
from mspctl.exits import Exit
from mspctl.kinds import mail
from mspctl.plan import PENDING
from mspctl.resource import Cause, Change, Id, Resource, Scope, Value
from mspctl.secrets import Secret, Secrets
from tests.drivers.contract import DriverContract, Sample, changed, read
from tests.drivers.mailboxes import NAMES, MailRig, of_size
from tests.drivers.workbench import Workbench
from tests.servers.http_stand_in import standing_in
from tests.servers.modoboa import Modoboa
from tests.servers.name_servers import free_port

SCOPES = [Scope("mail-2", mail.FACET, name, "acme") for name in NAMES]
SCOPE = SCOPES[0]
MIB = 2**20
UNCOUNTED = {"writes_per_second": "9999", "reads_per_minute": "9999", "calls_per_minute": "9999"}


mailbox = of_size(500 * MIB)


class ModoboaRig(MailRig):
    module = modoboa
    scopes = SCOPES

    def __init__(self, server: Modoboa, **said: str) -> None:
        super().__init__()
        self.server = server
        self.settings(**said)
        if self.access.settings.domain_limits:
            self.server.call("PUT", "/parameters/global/limits/", {"enable_domain_limits": True})

    def settings(self, token: str = "", **said: str) -> None:
        """What the driver is told."""
        settings = modoboa.Settings.model_validate(UNCOUNTED | said)
        secrets = Secrets.given({"token": (token or self.server.token).encode()})
        self.access = Access("mail-2", self.server.address, settings, secrets, Path(), self.passwords)

    # -- as somebody in Modoboa's pages, which speak to the same API ------------------------------------------

    def by_hand(self, scope: Scope, id_: Id, resource: Resource | None) -> None:
        self.domain(scope.name)
        address = mail.address_of(id_.name, scope.name)
        if id_.kind == mail.ALIAS:
            to = mail.addresses(resource.fields["to"]) if resource else None
            self.alias(address, to, on=bool(resource and resource.fields["enabled"]))
        elif id_.kind == mail.DOMAIN:
            (row,) = [row for row in self.server.rows("domains") if row["name"] == scope.name]
            said = resource.fields if resource else mail.USUAL
            limits = [{"name": "mailboxes", "max_value": said["mailboxes"] or -1}]
            body = {"enabled": said["enabled"], "quota": str(int(str(said["quota"])) // MIB), "resources": limits}
            self.server.call("PATCH", f"/domains/{row['pk']}/", body)
        elif resource is None:
            self.server.call("POST", f"/accounts/{self.account(address)['pk']}/delete/", {"keepdir": True})
        else:
            self._mailbox(address, resource)

    def domain(self, name: str) -> None:
        if not [row for row in self.server.rows("domains") if row["name"] == name]:
            row = self.server.call("POST", "/domains/", {"name": name})
            if "resources" in row:
                limits = [{"name": each["name"], "max_value": -1} for each in row["resources"]]
                self.server.call("PATCH", f"/domains/{row['pk']}/", {"resources": limits})

    def account(self, address: str) -> dict[str, Any]:
        (found,) = [row for row in self.server.rows("accounts") if row["username"] == address]
        return found

    def alias(self, address: str, to: Sequence[str] | None, *, on: bool = True) -> None:
        body = {"address": address, "recipients": to, "enabled": on}
        found = [row for row in self.server.rows("aliases") if row["address"] == address]
        if found and to is None:
            self.server.call("DELETE", f"/aliases/{found[0]['pk']}/")
        elif found:
            self.server.call("PATCH", f"/aliases/{found[0]['pk']}/", body)
        elif to is not None:
            self.server.call("POST", "/aliases/", body)

    def _mailbox(self, address: str, resource: Resource) -> None:
        fields = resource.fields
        first, _, last = str(fields["name"]).rpartition(" ")
        box = {"quota": f"{int(str(fields['quota'])) // MIB}M", "is_send_only": not fields["receives"]}
        body = {"first_name": first, "last_name": last, "is_active": fields["enabled"]}
        found = [row for row in self.server.rows("accounts") if row["username"] == address]
        if found:
            self.server.call("PATCH", f"/accounts/{found[0]['pk']}/", body | {"mailbox": box})
        else:
            new = {"username": address, "role": "SimpleUsers", "password": "Somebody's 1"}
            self.server.call("POST", "/accounts/", body | new | {"mailbox": box})
        to = [*mail.addresses(fields["forwards"]), *([address] if fields["keep_copy"] else [])]
        self.alias(address, to, on=bool(fields["receives"]))

    # -- as somebody who has the database ---------------------------------------------------------------------

    def run(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        return self.server.sql(statement, *values)

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        kept = self.access
        self.access = replace(kept, address=f"http://127.0.0.1:{free_port()}")
        yield
        self.access = kept

    @contextmanager
    def breaking(self, scope: Scope, after: int) -> Iterator[None]:
        """A database that takes so many changes of one domain, and then no more."""
        domain = f"domain_id IN (SELECT id FROM admin_domain WHERE name = '{scope.name}')"  # noqa: S608
        mine = {"admin_alias": domain, "admin_domain": f"name = '{scope.name}'"}
        mine["core_user"] = f"username LIKE '%@{scope.name}'"
        self.run(f"CREATE TABLE room AS SELECT {after} AS left")
        names = []
        for table, when in mine.items():
            for verb, row in {"INSERT": "NEW", "UPDATE": "NEW", "DELETE": "OLD"}.items():
                names.append(f"full_{table}_{verb}")
                refuse = "SELECT RAISE(ABORT, 'the disk is full') WHERE (SELECT left FROM room) < 1"
                begin = f"CREATE TRIGGER {names[-1]} BEFORE {verb} ON {table} WHEN {row}.{when}"
                self.run(f"{begin} BEGIN {refuse}; UPDATE room SET left = left - 1; END")  # noqa: S608
        yield
        for name in names:
            self.run(f"DROP TRIGGER {name}")
        self.run("DROP TABLE room")

    @contextmanager
    def garbled(self, scope: Scope) -> Iterator[None]:
        """An alias is there twice."""
        again, other = f"again@{scope.name}", f"Tutti@{scope.name}"
        self.alias(again, ["x@partner.example"])
        self.run("UPDATE admin_alias SET address = ? WHERE address = ?", other, again)
        yield
        self.run("UPDATE admin_alias SET address = ? WHERE address = ?", again, other)
        self.alias(again, None)

    def shuffle(self, scope: Scope) -> None:
        """Aliases get other numbers, the other way round."""
        query = (
            "SELECT a.id FROM admin_alias a JOIN admin_domain d ON a.domain_id = d.id WHERE name = ? AND NOT internal"
        )
        kind = "content_type_id = (SELECT id FROM django_content_type WHERE app_label = 'admin' AND model = 'alias')"
        for old in [row["id"] for row in self.run(query, scope.name)]:
            self.run("UPDATE admin_alias SET id = ? WHERE id = ?", 10000 - old, old)
            self.run("UPDATE modoboa_admin_aliasrecipient SET alias_id = ? WHERE alias_id = ?", 10000 - old, old)
            rights = f"UPDATE core_objectaccess SET object_id = ? WHERE object_id = ? AND {kind}"  # noqa: S608
            self.run(rights, 10000 - old, old)

    def native(self, scope: Scope) -> object:
        like = f"%@{scope.name}"
        told = (
            "SELECT username, email, first_name, last_name, is_active, password, address, quota, use_domain_quota, "
            "is_send_only FROM core_user u JOIN admin_mailbox m ON m.user_id = u.id WHERE username LIKE ? ORDER BY u.id"
        )
        aliases = self.run("SELECT * FROM admin_alias WHERE address LIKE ? AND NOT internal ORDER BY id", like)
        for row in aliases:
            del row["last_modification"]
            found = self.run("SELECT address FROM modoboa_admin_aliasrecipient WHERE alias_id = ?", row.pop("id"))
            row["to"] = sorted(each["address"] for each in found)
        domain = self.run("SELECT * FROM admin_domain WHERE name = ?", scope.name)
        kept = [{name: value for name, value in row.items() if name != "last_modification"} for row in domain]
        return self.run(told, like), aliases, kept


@pytest.fixture
def rig(a_modoboa: Modoboa) -> ModoboaRig:
    return ModoboaRig(a_modoboa, domain_limits="true", last_logins="true")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mspctl.transports.http.PAUSE", 0)


EACH_VARIANT = (
    "test_an_update_touches_one_thing", "test_a_hand_edit_is_seen", "test_what_cannot_be_read_is_left_as_it_is"
)  # fmt: skip
TOLD = {"keep_copy", "to", "mailboxes"}  # fields whose variants are not left out
EASIER = ("neighbours are ours", "0")  # of what is done in two ways, ids of the one that is left out
TUTTI = ["a@other.example", "x@partner.example"]


class TestModoboa(DriverContract):
    removes_scopes = True
    samples = (
        Sample(
            mailbox(),
            [
                mailbox(quota=1000 * MIB),
                mailbox(name="Paolo Zen Ferri"),
                mailbox(enabled=False),
                mailbox(receives=False),
                mailbox(keep_copy=False),
                mailbox(password="generated rev 2"),
                mailbox(forwards=frozenset({"x@partner.example", "y@partner.example"})),
            ],
        ),
        Sample(mail.alias("tutti", TUTTI), [mail.alias("tutti", TUTTI[:1]), mail.alias("tutti", TUTTI, enabled=False)]),
        Sample(
            mail.limits(5, 1000 * MIB),
            [
                mail.limits(6, 1000 * MIB),
                mail.limits(5, 2000 * MIB),
                replace(mail.limits(5, 1000 * MIB), fields={"enabled": False, "mailboxes": 5, "quota": 1000 * MIB}),
            ],
        ),
    )
    impossible = (
        (mailbox(shared_with=frozenset({"a@acme.example"})), "leave shared_with out"),
        (mailbox(reply="I have left"), "leave reply out"),
        (mailbox(name="x" * 151), "a first name can be 150 characters long"),
        (mailbox(name=f"x {'y' * 151}"), "a last name can be 150 characters long"),
        (mailbox(keep_copy=False, forwards=frozenset()), "name who gets the mail"),
        (mailbox(forwards=frozenset({"x@a.example", "x+y@a.example"})), "are one recipient to Modoboa"),
        (mail.alias("none", []), "an alias without recipients"),
        (mail.alias_domain(f"{'a' * 60}.{'b' * 60}.example"), "can be 100 characters long"),
        (mailbox(quota=2**52), "a quota can be 2,147,483,647 MB"),
        (Resource(Id("dns.rrset", "@ A"), {}), "Modoboa holds no dns.rrset"),
    )
    adjusted = (
        mailbox("g", quota=10 * 2**30 + 1),
        mailbox("h", name=" Paolo   Zen ", shared_with=frozenset()),
        mail.limits(1, 2**30 + 5),
    )
    swap = (mailbox("g"), mail.alias("g", ["x@partner.example"]))
    many = tuple(
        mail.alias(f"a{number}", ["x@partner.example"]) if number % 2 else mailbox(f"m{number}", forwards=frozenset())
        for number in range(20)
    )
    write_only = frozenset({"password"})
    measures = frozenset({mail.OCTETS, mail.QUOTA, mail.LAST_LOGIN})

    few = True  # each call takes Modoboa 15 to 30 ms

    @pytest.fixture(autouse=True)
    def _few_variants(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is done for every variant is done for some; `make soak` does it for all."""
        if self.few and request.function.__name__ in EACH_VARIANT:
            told = [[v for v in s.variants if {*changed(s.resource, v)} & TOLD] for s in self.samples]
            short = [replace(s, variants=variants) for s, variants in zip(self.samples, told, strict=True)]
            monkeypatch.setattr(self, "samples", short)
        if self.few and request.node.name.endswith(tuple(f"[{id_}]" for id_ in EASIER)):
            pytest.skip("the other one is the harder, and make soak does both")

    @pytest.fixture
    def bench(self, rig: ModoboaRig) -> Workbench:
        return (Brief if self.few else Workbench)(lambda scope: rig.reader(), lambda scope: rig.driver(), approved=True)


class Brief(Workbench):
    def converge(self, *, causes: frozenset[Cause] = PENDING) -> Outcome:
        """Nothing is pending and nothing in doubt; that a second apply does nothing, `make soak` looks at each time."""
        outcome = self.apply(causes)
        assert (outcome.exit_code, outcome.unfinished) == (Exit.DONE, [])
        assert self.pending() == {}
        assert self.in_doubt() == []
        return outcome


@pytest.mark.soak
class TestEveryVariant(TestModoboa):
    few = False


# -- where mail goes, as Postfix is told ------------------------------------------------------------------------


@pytest.fixture
def bench(rig: ModoboaRig) -> Workbench:
    return bench_of(rig)


def bench_of(rig: ModoboaRig) -> Workbench:
    return Workbench(lambda scope: rig.reader(), lambda scope: rig.driver(), approved=True)


def settle(bench: Workbench) -> int:
    """Apply, and nothing is pending. `converge` asks for more; but each call takes Modoboa its time."""
    outcome = bench.apply()
    assert (outcome.exit_code, outcome.unfinished) == (Exit.DONE, [])
    assert bench.pending() == {}
    return outcome.landed


def error_of(bench: Workbench, scope: Scope = SCOPE) -> str:
    return bench.apply().scopes[scope].error


def live(rig: ModoboaRig, name: str = "paolo") -> dict[str, Value]:
    return {r.id.name: dict(r.fields) for r in read(rig, SCOPE).resources}[name]


def plain(local: str = "paolo", /, **fields: Any) -> Resource:
    return mailbox(local, **{"forwards": frozenset(), **fields})


PAOLO, X, ALL = "paolo@acme.example", "x@partner.example", "all@partner.example"
PLACE = "customers/acme/mail.yaml:7"


def told(rig: ModoboaRig, address: str) -> set[str]:
    """Where mail ends up by Modoboa's own maps: aliases lead on, and what is not led on Dovecot takes, or refuses."""
    query = (
        "SELECT alr.address FROM modoboa_admin_aliasrecipient alr JOIN admin_alias al ON alr.alias_id = al.id WHERE "
        "al.enabled AND al.address = ? AND (al.expire_at IS NULL OR al.expire_at > datetime('now'))"
    )
    found, asked = set[str](), [address]
    for one in asked:
        catch_all = f"@{one.partition('@')[2]}"
        to = next((rows for key in (one, catch_all) if (rows := rig.run(query, key))), [{"address": one}])
        for each in (row["address"] for row in to):
            if each != one and "@partner." not in each:
                asked += [each] if each not in asked else []
            elif each != one or taken(rig, each):
                found.add(each)
    return found


def taken(rig: ModoboaRig, address: str) -> bool:
    """Dovecot asks for the mailbox, and not whether its account is on."""
    query = (
        "SELECT 1 FROM admin_mailbox m JOIN admin_domain d ON m.domain_id = d.id "
        "WHERE m.address || '@' || d.name = ? AND NOT is_send_only"
    )
    return bool(rig.run(query, address))


def state(enabled: bool, receives: bool, keeps: bool, *forwards: str) -> dict[str, Value]:
    return {"enabled": enabled, "receives": receives, "keep_copy": keeps, "forwards": frozenset(forwards)}


STATES: list[tuple[dict[str, Value], set[str]]] = [
    (state(True, True, True), {PAOLO}),
    (state(True, True, False, X), {X}),
    (state(True, True, True, X), {PAOLO, X}),
    (state(False, True, False, X), {X}),
    (state(False, False, True), set()),
    (state(True, True, False, X), {X}),
    (state(False, True, True), {PAOLO}),
    (state(True, False, True), set()),
    (state(False, True, True, X), {PAOLO, X}),
    (state(True, True, True), {PAOLO}),
]


@pytest.mark.parametrize("states", [STATES[:4], pytest.param(STATES, marks=pytest.mark.soak)], ids=["some", "all"])
def test_mail_goes_where_it_should_whatever_was_before(
    rig: ModoboaRig, bench: Workbench, states: Sequence[tuple[dict[str, Any], set[str]]]
) -> None:
    """An alias that the API does not show is in the way, and a catch-all waits for what it leaves."""
    for fields, leads in states:
        bench.declare(SCOPE, mailbox(**fields), mail.alias("@", [ALL]))
        settle(bench)
        assert told(rig, PAOLO) == leads, fields
        (row,) = rig.run("SELECT is_active FROM core_user WHERE username = ?", PAOLO)
        assert bool(row["is_active"]) is fields["enabled"]


def test_mail_of_new_mailboxes_goes_where_it_should(rig: ModoboaRig, bench: Workbench) -> None:
    boxes = [mailbox(f"m{number}", **fields) for number, (fields, _) in enumerate(STATES)]
    bench.declare(SCOPE, *boxes, mail.alias("@", [ALL]))
    settle(bench)
    for number, (fields, leads) in enumerate(STATES):
        address = f"m{number}@acme.example"
        assert told(rig, address) == {address if each == PAOLO else each for each in leads}, fields


def test_a_new_mailbox_is_as_modoboa_makes_one(rig: ModoboaRig, bench: Workbench) -> None:
    bench.declare(SCOPE, plain(quota=0))
    settle(bench)
    row = rig.account(PAOLO)
    assert (row["role"], row["first_name"], row["last_name"]) == ("SimpleUsers", "Paolo", "Zen")
    assert (row["mailbox"]["quota"], row["mailbox"]["use_domain_quota"]) == ("0", False)
    hidden = rig.run("SELECT enabled FROM admin_alias WHERE address = ? AND internal", PAOLO)
    assert [each["enabled"] for each in hidden] == [1]
    assert rig.server.rows("aliases") == []
    (domain,) = rig.server.rows("domains")
    assert (domain["name"], domain["type"], domain["enabled"]) == ("acme.example", "domain", True)
    assert {each["max_value"] for each in domain["resources"]} == {-1}


def test_a_quota_that_is_the_domains_is_shown_and_becomes_its_own(rig: ModoboaRig, bench: Workbench) -> None:
    rig.domain("acme.example")
    (domain,) = rig.server.rows("domains")
    rig.server.call("PATCH", f"/domains/{domain['pk']}/", {"default_mailbox_quota": "200"})
    new = {"username": PAOLO, "role": "SimpleUsers", "password": "Somebody's 1", "mailbox": {"use_domain_quota": True}}
    rig.server.call("POST", "/accounts/", new | {"is_active": True})
    assert live(rig)["quota"] == 200 * MIB
    bench.declare(SCOPE, Resource(plain().id, {"quota": 300 * MIB}))
    settle(bench)
    assert rig.account(PAOLO)["mailbox"]["use_domain_quota"] is False


def test_an_administrator_keeps_his_domains(rig: ModoboaRig, bench: Workbench) -> None:
    rig.domain("acme.example")
    (domain,) = rig.server.rows("domains")
    new = {"username": PAOLO, "role": "DomainAdmins", "password": "Somebody's 1", "mailbox": {"quota": "500"}}
    made = rig.server.call("POST", "/accounts/", new | {"is_active": True})
    rig.server.call("POST", f"/domains/{domain['pk']}/administrators/add/", {"account": made["pk"]})
    bench.declare(SCOPE, mailbox(quota=700 * MIB, name="Someone Else"))
    settle(bench)
    found = rig.server.call("GET", f"/domains/{domain['pk']}/administrators/")
    assert [(each["username"], each["last_name"]) for each in found] == [(PAOLO, "Else")]
    assert rig.account(PAOLO)["role"] == "DomainAdmins"


# -- what Modoboa does besides ----------------------------------------------------------------------------------


def test_who_is_switched_off_does_not_take_aliases_along(rig: ModoboaRig, bench: Workbench) -> None:
    """Modoboa switches off each alias that leads to him alone, in other domains too."""
    theirs = [mail.alias("p", [PAOLO]), mail.alias("both", [PAOLO, X]), mail.alias("off", [PAOLO], enabled=False)]
    ours = [mail.alias("p.zen", [PAOLO]), mail.alias("tutti", [PAOLO, X]), mail.alias("none", [PAOLO], enabled=False)]
    bench.declare(SCOPES[1], *theirs)
    bench.declare(SCOPE, plain(), *ours)
    settle(bench)
    before = [(row["address"], row["enabled"]) for row in rig.server.rows("aliases")]
    for fields in (state(False, False, True), state(True, True, False, X)):
        bench.declare(SCOPE, mailbox(**fields), *ours)
        settle(bench)
        after = [(row["address"], row["enabled"]) for row in rig.server.rows("aliases")]
        assert [each for each in after if each[0] != PAOLO] == before


def test_who_goes_leaves_groups_and_groups_stay(rig: ModoboaRig, bench: Workbench) -> None:
    """Modoboa takes an address out of all aliases, and takes away those that led to a mailbox alone."""
    anna, a = plain("anna"), "anna@acme.example"
    groups = [mail.alias("alone", [PAOLO]), mail.alias("both", [PAOLO, a]), mail.alias("p", [PAOLO])]
    bench.declare(SCOPE, mailbox(), anna, *groups, mail.alias("over", ["p@acme.example"]))
    settle(bench)
    pks = {row["address"]: row["pk"] for row in rig.server.rows("aliases")}
    groups = [mail.alias("alone", [a]), mail.alias("both", [a]), mail.alias("over", [X])]
    bench.declare(SCOPE, anna, *groups, plain("p"))
    settle(bench)
    after = {row["address"]: (row["pk"], row["recipients"]) for row in rig.server.rows("aliases")}
    kept = {"alone@acme.example": a, "both@acme.example": a, "over@acme.example": X}
    assert after == {address: (pks[address], [to]) for address, to in kept.items()}
    names = [row["username"] for row in rig.server.rows("accounts") if row["mailbox"]]
    assert names == [a, "p@acme.example"]


def test_a_group_whose_only_member_makes_room_for_the_next(rig: ModoboaRig, bench: Workbench) -> None:
    """It cannot be changed before the new one is there, and Modoboa takes it away with the old one."""
    bench.declare(SCOPE, plain(), mail.alias("g", [PAOLO]), mail.limits(1, 500 * MIB))
    settle(bench)
    bench.declare(SCOPE, plain("nuovo"), mail.alias("g", ["nuovo@acme.example"]), mail.limits(1, 500 * MIB))
    settle(bench)


def test_domains_that_need_each_other_are_made_together(rig: ModoboaRig, bench: Workbench) -> None:
    """Modoboa takes no recipient on one of its domains that is not there yet."""
    idn = "xn--perch-fsa.example"
    group, alias = mail.alias("tutti", ["p@acme.example", f"info@{idn}"]), mail.alias("p", [f"ring@{idn}"])
    bench.declare(SCOPE, group, alias, mailbox("anna", forwards=frozenset({f"info@{idn}"})))
    bench.declare(SCOPES[2], plain("info"), mail.alias("ring", ["anna+ring@acme.example"]))
    assert settle(bench) == 5


def test_who_waits_for_a_domain_that_fails_is_told_what_is_missing(rig: ModoboaRig, bench: Workbench) -> None:
    bench.declare(SCOPE, mail.alias("a", [X]), mail.alias("tutti", ["info@beta.example"]))
    bench.declare(SCOPES[1], plain("info"))
    rig.domain("beta.example")
    with rig.breaking(SCOPES[1], 0):
        outcome = bench.apply()
    assert f"Modoboa fails with info@beta.example ({PLACE}) (500; its own log" in outcome.scopes[SCOPES[1]].error
    missing = "Modoboa refuses tutti@acme.example: Local recipient info@beta.example not found"
    assert outcome.scopes[SCOPE].error == missing
    assert [change.id.name for change in outcome.scopes[SCOPE].landed] == ["a"]
    settle(bench)


@pytest.mark.soak
def test_extensions_come_and_go(rig: ModoboaRig, bench: Workbench) -> None:
    """Modoboa holds one recipient of each mailbox, and would lose one that only gets another extension."""
    for to in (["paolo+a@acme.example", X], [PAOLO, X], [PAOLO], ["paolo+b@acme.example"]):
        bench.declare(SCOPE, plain(), mail.alias("g", to))
        settle(bench)


@pytest.mark.soak
def test_spellings_are_no_difference_and_nobody_is_lost_for_them(rig: ModoboaRig, bench: Workbench) -> None:
    bench.declare(SCOPE, plain(), mail.alias("g", [PAOLO, X]))
    settle(bench)
    for old, new in ((X, "X@Partner.Example"), (PAOLO, "Paolo@ACME.example")):
        where = "WHERE address = ? AND alias_id IN (SELECT id FROM admin_alias WHERE address LIKE 'g@%')"
        rig.run(f"UPDATE modoboa_admin_aliasrecipient SET address = ? {where}", new, old)  # noqa: S608
    assert bench.causes(SCOPE) == {}
    bench.declare(SCOPE, plain(), mail.alias("g", [PAOLO, X, "y@partner.example"]))
    settle(bench)
    (row,) = rig.server.rows("aliases")
    assert row["recipients"] == ["Paolo@ACME.example", "X@Partner.Example", "y@partner.example"]


@pytest.mark.soak
def test_a_domain_that_modoboa_has_in_unicode(rig: ModoboaRig, bench: Workbench) -> None:
    scope, info = SCOPES[2], "info@xn--perch-fsa.example"
    rig.domain("perché.example")
    bench.declare(scope, mailbox("info"), mail.alias("tutti", [info, X]), mail.alias("@", [info]))
    bench.declare(SCOPE, mail.alias("p", [info]), mail.alias("q", ["x@xn--nxasmq6b.example"]))
    settle(bench)
    assert rig.account("info@perché.example")["mailbox"]["full_address"] == "info@perché.example"
    assert rig.reader().scopes() == ["acme.example", "xn--perch-fsa.example"]
    rig.domain("xn--perch-fsa.example")
    (answer,) = rig.reader().read([scope], {})
    assert isinstance(answer, Failed)
    assert str(answer.error) == "xn--perch-fsa.example is there twice, in different spellings"


def test_an_alias_whose_time_is_over_is_off_and_can_be_on_again(rig: ModoboaRig, bench: Workbench) -> None:
    bench.declare(SCOPE, mail.alias("a", [X]))
    settle(bench)
    rig.run("UPDATE admin_alias SET expire_at = '2020-01-01 00:00:00', description = 'of the fair'")
    assert bench.causes(SCOPE) == {"a": Cause.DRIFT}
    bench.apply(causes=frozenset(Cause))
    assert live(rig, "a")["enabled"] is True
    (row,) = rig.server.rows("aliases")
    assert (row["expire_at"], row["description"]) == (None, "of the fair")


def test_an_alias_domain_comes_and_goes(rig: ModoboaRig, bench: Workbench) -> None:
    bench.declare(SCOPE, mail.alias_domain("acme.it"), mail.alias_domain("xn--perch-fsa.it"))
    settle(bench)
    assert rig.reader().scopes() == ["acme.example"]
    one, _ = rig.server.rows("domainaliases")
    rig.server.call("PATCH", f"/domainaliases/{one['pk']}/", {"enabled": False})
    assert bench.causes(SCOPE) == {one["name"]: Cause.DRIFT}
    bench.apply(causes=frozenset(Cause))
    bench.declare(SCOPE)
    settle(bench)
    assert rig.server.rows("domainaliases") == []


def test_a_domain_that_is_passed_on_holds_no_mailboxes(rig: ModoboaRig) -> None:
    rig.domain("acme.example")
    rig.run("UPDATE admin_domain SET type = 'relaydomain'")
    (answer,) = rig.reader().read([SCOPE], {})
    assert isinstance(answer, Failed)
    assert str(answer.error) == "acme.example is a 'relaydomain' in Modoboa, which holds no mailboxes"
    assert rig.reader().scopes() == []


# -- limits -----------------------------------------------------------------------------------------------------


def test_what_shrinks_makes_room_for_what_grows(rig: ModoboaRig, bench: Workbench) -> None:
    def boxes(*sizes: int) -> list[Resource]:
        return [plain(f"m{number}", quota=size * MIB) for number, size in enumerate(sizes) if size]

    bench.declare(SCOPE, *boxes(600, 300, 0, 100), mail.limits(3, 1000 * MIB))
    settle(bench)
    bench.declare(SCOPE, *boxes(200, 400, 200, 0), mail.limits(3, 800 * MIB))
    settle(bench)
    bench.declare(SCOPE, *boxes(900, 400, 100, 1, 1), mail.limits(5, 1402 * MIB))
    settle(bench)


def test_more_than_a_domain_may_have_is_told_with_its_place(rig: ModoboaRig, bench: Workbench) -> None:
    bench.declare(SCOPE, mail.limits(2, 1000 * MIB), plain())
    settle(bench)
    bench.declare(SCOPE, mail.limits(2, 1000 * MIB), plain(), plain("big", quota=501 * MIB))
    why = "acme.example: domain quota exceeded"
    assert error_of(bench) == f"Modoboa refuses big@acme.example ({PLACE}): {why}"
    bench.declare(SCOPE, mail.limits(2, 1000 * MIB), plain(), *(plain(f"m{n}", quota=MIB) for n in range(2)))
    outcome = bench.apply()
    why = "mailbox: Mailboxes: limit reached"
    assert outcome.scopes[SCOPE].error == f"Modoboa refuses m1@acme.example ({PLACE}): {why}"
    assert [change.id.name for change in outcome.scopes[SCOPE].landed] == ["m0"]


def test_a_domain_that_may_have_nothing_is_not_one_without_a_limit(rig: ModoboaRig, bench: Workbench) -> None:
    rig.domain("acme.example")
    (row,) = rig.server.rows("domains")
    rig.server.call("PATCH", f"/domains/{row['pk']}/", {"resources": [{"name": "mailboxes", "max_value": 0}]})
    assert live(rig, "domain") == {"enabled": True, "mailboxes": -1, "quota": 0}


def test_where_modoboa_counts_nothing_per_domain(a_modoboa: Modoboa) -> None:
    rig = ModoboaRig(a_modoboa)
    with pytest.raises(Unsupported, match="counts no mailboxes per domain"):
        rig.reader().accept(mail.limits(5, 0))
    bench = bench_of(rig)
    bench.declare(SCOPE, plain(), mail.limits(0, 1000 * MIB))
    settle(bench)


# -- how mailboxes are used -------------------------------------------------------------------------------------


def test_it_knows_how_full_mailboxes_are_and_who_logged_in(rig: ModoboaRig, bench: Workbench) -> None:
    bench.declare(SCOPE, plain(), plain("anna"))
    bench.declare(SCOPES[1], plain("bea"))
    settle(bench)
    rig.run("UPDATE admin_quota SET bytes = ? WHERE username = ?", 455 * MIB, PAOLO)
    rig.run("UPDATE core_user SET last_login = '2027-03-05 09:30:00' WHERE username = ?", PAOLO)
    rig.settings(last_logins="true")
    rig.server.calls()
    whose = [(SCOPE, "paolo"), (SCOPE, "anna"), (SCOPES[1], "bea"), (SCOPES[1], "nobody")]
    what = (mail.OCTETS, mail.QUOTA, mail.LAST_LOGIN)
    asked = {(name, each): Gauge(scope, Id(mail.MAILBOX, name), each) for scope, name in whose for each in what}
    for _ in range(2):
        found = measured(rig.reader(), [*asked.values()])
    answers = {name: [found[asked[name, each]] for each in what] for _, name in whose}
    assert answers["paolo"] == [455 * MIB, 500 * MIB, datetime(2027, 3, 5, 9, 30, tzinfo=UTC)]
    assert answers["anna"] == answers["bea"] == [0, 500 * MIB, None]
    assert all(isinstance(answer, Unmeasured) for answer in answers["nobody"])
    assert len(rig.server.calls()) == 4  # each domain, and its accounts
    rig.settings()
    login = asked["paolo", mail.LAST_LOGIN]
    assert isinstance(measured(rig.reader(), [login])[login], Unmeasured)


# -- passwords --------------------------------------------------------------------------------------------------


def hash_of(rig: ModoboaRig, address: str = PAOLO) -> str:
    (row,) = rig.run("SELECT password FROM core_user WHERE username = ?", address)
    return str(row["password"])


def fits(password: str, hashed: str) -> bool:
    scheme, _, text = hashed.partition("}")
    _, _, rounds, salt, _ = text.split("$")
    assert scheme == "{SHA512-CRYPT"
    return hashes.sha512_crypt(password.encode(), salt, int(rounds.removeprefix("rounds="))) == text


def test_a_password_is_written_when_it_is_new_and_then_its_owners(rig: ModoboaRig, bench: Workbench) -> None:
    bench.declare(SCOPE, plain())
    settle(bench)
    assert rig.passwords.asked == [("acme", PAOLO, "generated rev 1")]
    assert fits(f"A Word of {PAOLO}, generated rev 1", hash_of(rig))
    rig.server.call("PATCH", f"/accounts/{rig.account(PAOLO)['pk']}/", {"password": "Of the Owner 1"})
    bench.declare(SCOPE, mailbox())
    settle(bench)
    assert fits("Of the Owner 1", hash_of(rig))
    bench.declare(SCOPE, mailbox(password="PAOLO rev 2"))
    settle(bench)
    assert rig.passwords.asked[1:] == [("acme", PAOLO, "PAOLO rev 2")]
    assert fits(f"A Word of {PAOLO}, PAOLO rev 2", hash_of(rig))


def test_without_a_password_nobody_can_log_in(rig: ModoboaRig, bench: Workbench) -> None:
    fields = {name: value for name, value in plain().fields.items() if name != "password"}
    bench.declare(SCOPE, *(replace(plain(local), fields=fields) for local in ("paolo", "anna")))
    settle(bench)
    assert rig.passwords.asked == []
    assert hash_of(rig) != hash_of(rig, "anna@acme.example")


def test_a_password_that_cannot_be_had_leaves_everything_as_it_was(rig: ModoboaRig, bench: Workbench) -> None:
    rig.access = replace(rig.access, passwords=NoPasswords())
    bench.declare(SCOPE, plain())
    assert error_of(bench) == "there is no place that passwords come from"
    assert rig.server.rows("domains") == []


def test_a_password_that_modoboa_does_not_take_is_not_shown(
    rig: ModoboaRig, bench: Workbench, caplog: pytest.LogCaptureFixture
) -> None:
    class Weak:
        def of(self, customer: str, wanted: Sequence[tuple[str, str]]) -> list[Secret]:
            return [Secret("WEAK", b"onlysmallletters") for _ in wanted]

    caplog.set_level(logging.DEBUG)
    rig.access = replace(rig.access, passwords=Weak())
    bench.declare(SCOPE, plain())
    error = error_of(bench)
    assert error == f"Modoboa refuses {PAOLO} ({PLACE}): password: Password must contain at least 1 digit."
    assert "onlysmallletters" not in error + caplog.text


# -- half-way, and somebody else in between ---------------------------------------------------------------------


def test_what_cannot_be_finished_is_not_begun(rig: ModoboaRig, bench: Workbench) -> None:
    """A mailbox with forwards is two calls; here the second is refused."""
    params = rig.server.call("GET", "/parameters/global/admin/")["params"]
    params |= {"alias_target_block_list": "blocked.example", "custom_dns_server": "", "dkim_keys_storage_dir": ""}
    rig.server.call("PUT", "/parameters/global/admin/", params)
    bench.declare(SCOPE, plain(), mailbox("zoe", forwards=frozenset({"x@blocked.example"})))
    outcome = bench.apply()
    assert [change.id.name for change in outcome.scopes[SCOPE].landed] == ["paolo"]
    why = "Target domain not allowed: blocked.example"
    assert outcome.scopes[SCOPE].error == f"Modoboa refuses zoe@acme.example ({PLACE}): {why}"
    assert [row["username"] for row in rig.server.rows("accounts") if row["mailbox"]] == [PAOLO]


@pytest.mark.parametrize("after", [pytest.param(1, marks=pytest.mark.soak), 8])
def test_wherever_it_breaks_off_running_again_finishes(
    rig: ModoboaRig, bench: Workbench, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """No answer to a call, which was carried out, or was not."""
    bench.declare(SCOPE, mailbox(), mailbox("anna"), mail.alias("g", [PAOLO]), mail.alias("p", [PAOLO]))
    settle(bench)
    off, sent_on = mailbox(**state(False, True, False, X), quota=900 * MIB), mailbox("anna", keep_copy=False)
    more = [mail.alias("g", ["nuovo@acme.example"]), mail.alias("p", [PAOLO]), mailbox("nuovo")]
    bench.declare(SCOPE, off, sent_on, *more, mail.alias_domain("acme.it"))
    write, made = Api.call, list[str]()

    def breaking(self: Api, method: str, path: str, body: object, what: str) -> Any:
        made.append(path)
        if len(made) == after + 1:
            if after == 8:
                write(self, method, path, body, what)
            raise Unreachable("no answer")
        return write(self, method, path, body, what)

    with monkeypatch.context() as patched:
        patched.setattr(Api, "call", breaking)
        outcome = bench.apply()
    assert outcome.exit_code in (Exit.UNREACHABLE, Exit.PARTLY)
    assert len(made) > after
    bench.converge()


def test_what_takes_long_is_looked_at_once_more(
    rig: ModoboaRig, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.declare(SCOPE, plain(), mail.alias("g", [X]), mail.alias_domain("acme.it"), mail.limits(3, 0))
    settle(bench)
    off = replace(mail.alias_domain("acme.it"), fields={"enabled": False})
    bench.declare(SCOPE, plain(quota=700 * MIB), mail.alias("g", [PAOLO]), off, mail.limits(3, 900 * MIB))
    due = bench.plan()[SCOPE].due
    rows = {kind: rig.server.rows(kind)[0]["pk"] for kind in ("domains", "domainaliases")}
    paolo = rig.account(PAOLO)["pk"]
    theirs: dict[str, Callable[[], object]] = {
        "g": lambda: rig.alias("g@acme.example", ["z@partner.example"]),
        "paolo": lambda: rig.server.call("PATCH", f"/accounts/{paolo}/", {"first_name": "Pablo"}),
        "acme.it": lambda: rig.server.call("DELETE", f"/domainaliases/{rows['domainaliases']}/"),
        "domain": lambda: rig.server.call("PATCH", f"/domains/{rows['domains']}/", {"quota": "800"}),
    }
    assert {change.id.name for change in due} == theirs.keys()
    for change in due:
        with monkeypatch.context() as patched:
            answer = meanwhile(rig, patched, [change], theirs[change.id.name])
        assert isinstance(answer, Failed)
        assert isinstance(answer.error, Stale)
        assert re.search("was (changed in|removed from) Modoboa since it was read", str(answer.error))


def test_what_is_removed_between_two_calls_is_stale(
    rig: ModoboaRig, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.declare(SCOPE, mail.alias("g", [X]))
    settle(bench)
    bench.declare(SCOPE, mail.alias("g", ["y@partner.example"]))
    changes = bench.plan()[SCOPE].due
    monkeypatch.setattr(writer, "FRESH", 60.0)
    answer = meanwhile(rig, monkeypatch, changes, lambda: rig.alias("g@acme.example", None), fresh=60.0)
    assert isinstance(answer, Failed)
    assert isinstance(answer.error, Stale)
    assert str(answer.error) == "g@acme.example was removed from Modoboa since it was read"


def meanwhile(
    rig: ModoboaRig,
    monkeypatch: pytest.MonkeyPatch,
    changes: Sequence[Change],
    theirs: Callable[[], object],
    fresh: float = 0.0,
) -> Landed | Failed:
    """What becomes of a change when somebody does something after all was read again, and before it is written."""
    look = writer.Writer._look_again

    def then(self: writer.Writer) -> None:
        look(self)
        theirs()

    monkeypatch.setattr(writer, "FRESH", fresh)
    monkeypatch.setattr(writer.Writer, "_look_again", then)
    answers: list[Landed | Failed] = [*rig.driver().apply([Work(SCOPE, changes, ())])]
    assert len(answers) == 1
    return answers[0]


def test_an_address_that_is_there_as_something_else(rig: ModoboaRig, bench: Workbench) -> None:
    rig.by_hand(SCOPE, Id(mail.ALIAS, "paolo"), mail.alias("paolo", [X]))
    rig.by_hand(SCOPE, Id(mail.MAILBOX, "anna"), mailbox("anna"))
    for declared, text in ((plain(), f"{PAOLO} is an alias"), (mail.alias("anna", ["x@y.example"]), "is a mailbox")):
        bench.declare(SCOPE, declared)
        assert text in error_of(bench)


# -- lists and their pages --------------------------------------------------------------------------------------


def names_of(rig: ModoboaRig) -> list[str]:
    return sorted(r.id.name for r in read(rig, SCOPE).resources)


def fill(rig: ModoboaRig, mailboxes: int, domain: str = "acme.example") -> list[str]:
    rig.domain(domain)
    new = {"role": "SimpleUsers", "password": "Somebody's 1", "mailbox": {"quota": "1"}, "is_active": True}
    names = [f"m{number}" for number in range(mailboxes)]
    for name in names:
        rig.server.call("POST", "/accounts/", new | {"username": f"{name}@{domain}"})
    return names


def test_many_pages_are_one_list(rig: ModoboaRig) -> None:
    names = fill(rig, 5)
    for name in names:
        rig.alias(f"a{name}@acme.example", [f"{name}@acme.example"])
    whole = read(rig, SCOPE)
    assert len(whole.resources) == 10
    for size in ("2", "9"):
        rig.settings(page_size=size, domain_limits="true")
        assert read(rig, SCOPE) == whole
        assert rig.reader().scopes() == ["acme.example"]


def test_who_is_read_depends_on_pages_and_not_on_domains(rig: ModoboaRig) -> None:
    domains = [f"d{number}.example" for number in range(7)]
    for domain in domains:
        fill(rig, 1, domain)
        rig.alias(f"a@{domain}", [X])
    scopes = [Scope("mail-2", mail.FACET, domain) for domain in domains]
    for asked in (scopes[:1], scopes, [*scopes, *SCOPES]):
        rig.server.calls()
        answers = [a for a in rig.reader().read(asked, {}) if isinstance(a, Reading)]
        assert sum(len(answer.resources) for answer in answers) == 2 * len({*asked} - {*SCOPES})
        assert [path.partition("/?")[0] for _, path, _ in rig.server.calls()] == ["/domains", "/accounts", "/aliases"]
    rig.settings(page_size="2", domain_limits="true")
    assert len([*rig.reader().read(scopes, {})]) == 7
    pages = [path.partition("/?")[0] for _, path, _ in rig.server.calls()]
    assert {kind: pages.count(kind) for kind in pages} == {"/domains": 4 + 3, "/accounts": 4 + 3, "/aliases": 4 + 3}


@pytest.mark.parametrize("size", [pytest.param("2", marks=pytest.mark.soak), "3"])
def test_a_list_that_changes_while_it_is_read_loses_nobody(
    rig: ModoboaRig, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    """Somebody takes away what was on the first page, so what follows moves up; and puts something at the end."""
    names = fill(rig, 6)
    rig.settings(page_size=size, domain_limits="true")

    def change() -> None:
        rig.by_hand(SCOPE, Id(mail.MAILBOX, "m0"), None)
        rig.by_hand(SCOPE, Id(mail.MAILBOX, "z"), plain("z"))

    between_pages(monkeypatch, change, times=1)
    held = names_of(rig)
    assert {*names} - {"m0"} <= {*held}
    assert "z" in held


@pytest.mark.soak
def test_a_list_that_never_holds_still_is_given_up(rig: ModoboaRig, monkeypatch: pytest.MonkeyPatch) -> None:
    names = fill(rig, 6)
    rig.settings(page_size="2", domain_limits="true")
    between_pages(monkeypatch, lambda: rig.by_hand(SCOPE, Id(mail.MAILBOX, names.pop(0)), None), times=3)
    with pytest.raises(TargetError, match="the accounts of Modoboa change faster than they can be read"):
        read(rig, SCOPE)


def between_pages(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object], times: int) -> None:
    """Somebody changes something after the first page of accounts was read."""
    page, left = Api._page, [change] * times

    def then(self: Api, kind: str, query: Any, number: int, size: int) -> Any:
        answer = page(self, kind, query, number, size)
        if kind == "accounts" and number == 1 and left:
            left.pop()()
        return answer

    monkeypatch.setattr(Api, "_page", then)


def test_what_a_token_does_not_show_is_not_gone(rig: ModoboaRig) -> None:
    fill(rig, 2)
    rig.domain("beta.example")
    mine = "content_type_id = (SELECT id FROM django_content_type WHERE model = 'user') AND is_owner"
    hidden = rig.account("m1@acme.example")["pk"]
    rig.run(f"DELETE FROM core_objectaccess WHERE {mine} AND object_id = ?", hidden)  # noqa: S608
    answers = {a.scope: a for a in rig.reader().read(SCOPES[:2], {})}
    assert isinstance(failed := answers[SCOPE], Failed)
    assert str(failed.error) == "acme.example is not shown whole (is the token one of a super administrator?)"
    assert isinstance(answers[SCOPES[1]], Reading)


# -- servers that are no Modoboa, or none for us ----------------------------------------------------------------


def test_a_wrong_token(rig: ModoboaRig) -> None:
    rig.settings(token="0123456789abcdef0123456789abcdef01234567")
    with pytest.raises(TargetError, match=r"does not take our key \(401 Unauthorized\)") as caught:
        read(rig, SCOPE)
    assert "0123456789abcdef" not in str(caught.value)
    bench = bench_of(rig)
    bench.declare(SCOPE, plain())
    assert [plan.error for plan in bench.plan().values()] == [str(caught.value)]


PAGE = b"<!doctype html><html><body><h1>Welcome</h1>\n<p>to something else</p></body></html>"
ROW = {"pk": 1, "name": "acme.example", "type": "domain", "enabled": True, "quota": "0", "mailbox_count": 1}
ROW |= {"mbalias_count": 0, "domainalias_count": 0}


@pytest.mark.parametrize(
    ("status", "content", "why"),
    [
        (200, PAGE, "answers no JSON: <!doctype html><html>"),
        (200, b"[]", "what Modoboa answers about its domains makes no sense"),
        (200, b"null", "what Modoboa answers about its domains makes no sense"),
        (200, b'{"results": [], "next": "x", "count": 0}', "the domains of Modoboa change faster"),
        (200, b'{"results": [{"id": 1}], "next": null, "count": 1}', "about its domains makes no sense"),
        (404, PAGE, "/api/v2 is no API of Modoboa (404)"),
        (403, b'{"detail": "You do not have permission."}', "does not take our key (403 Forbidden)"),
        (500, PAGE, "refuses (500 Internal Server Error): <!doctype html>"),
        (503, PAGE, "is busy (503 Service Unavailable)"),
        (302, b"", "a key is for its own address only"),
    ],
)  # fmt: skip
def test_answers_that_are_none(status: int, content: bytes, why: str) -> None:
    with standing_in() as server:
        server.answers = [(status, {}, content)]
        with pytest.raises(TargetError) as caught:
            [*reader_of(server.address).read([SCOPE], {})]
        assert why in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "a secret word" not in str(caught.value)


def test_a_row_that_makes_no_sense_costs_its_domain() -> None:
    account = {"pk": 1, "mailbox": {"full_address": "m@acme.example", "quota": "many"}, "is_active": True}
    with standing_in() as server:
        server.answers = [(200, {}, page_of(ROW)), (200, {}, page_of(account))]
        (answer,) = reader_of(server.address).read([SCOPE], {})
    assert isinstance(answer, Failed)
    assert str(answer.error) == "what Modoboa answers about acme.example makes no sense"


def page_of(*rows: dict[str, Any]) -> bytes:
    return json.dumps({"results": rows, "next": None, "count": len(rows)}).encode()


def reader_of(address: str) -> modoboa.Reader:
    secrets = Secrets.given({"token": b"a secret word"})
    return modoboa.Reader(Access("mail-2", address, modoboa.Settings.model_validate(UNCOUNTED), secrets, Path()))


# -- the pace ---------------------------------------------------------------------------------------------------

# Somewhat faster than Modoboa's own, and slower than it answers.
RATES = {"ddos": "8/second", "ddos_lesser": "400/minute", "user": "600/minute"}
PACE = {"writes_per_second": "8", "reads_per_minute": "400", "calls_per_minute": "600"}


@pytest.fixture
def counting(a_modoboa: Modoboa) -> Iterator[Modoboa]:
    """A Modoboa that counts calls."""
    with a_modoboa.counting(RATES):
        yield a_modoboa


def test_its_own_rates_are_what_is_kept_unless_it_is_said_otherwise(rig: ModoboaRig) -> None:
    settings = modoboa.Settings()
    text = (rig.server.ready / "site/instance/settings.py").read_text()
    assert f"'ddos': '{settings.writes_per_second}/second'" in text
    assert f"'ddos_lesser': '{settings.reads_per_minute}/minute'" in text
    assert f"'user': '{settings.calls_per_minute}/minute'" in text


def test_many_mailboxes_in_one_apply_are_never_too_many_at_once(counting: Modoboa) -> None:
    made_at_its_pace(ModoboaRig(counting, **PACE), 20)


@pytest.mark.soak
def test_200_mailboxes_in_one_apply_at_its_own_pace(a_modoboa: Modoboa) -> None:
    """Three quarters of a minute: 5 a second, and 300 calls a minute together with those that read."""
    with a_modoboa.counting({}):
        rig = ModoboaRig(a_modoboa)
        rig.access = replace(rig.access, settings=modoboa.Settings())
        made_at_its_pace(rig, 200)


def made_at_its_pace(rig: ModoboaRig, mailboxes: int) -> None:
    bench = bench_of(rig)
    bench.declare(SCOPE, *(plain(f"m{number}") for number in range(mailboxes)))
    rig.server.calls()
    assert settle(bench) == mailboxes
    answers = [(method, status) for method, _, status in rig.server.calls()]
    assert answers.count(("POST", 201)) == 1 + mailboxes
    # A machine that is busy with something else lets calls arrive together; whoever keeps no pace gets many of these.
    assert answers.count(("POST", 429)) <= mailboxes // 20


def test_what_came_too_soon_is_asked_for_again_and_done_once(
    counting: Modoboa, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else uses the same token, or the settings say too much."""
    monkeypatch.setattr("mspctl.transports.http.PAUSE", 0.5)
    rig = ModoboaRig(counting)
    bench = bench_of(rig)
    bench.declare(SCOPE, *(mail.alias(f"a{number}", [X]) for number in range(18)))
    counting.calls()
    assert settle(bench) == 18
    found = [status for method, path, status in counting.calls() if (method, path) == ("POST", "/aliases/")]
    assert found.count(201) == 18
    assert 429 in found


# -- what is spelled how ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"mailbox": {"quota": ["A quota is required", "Really."]}}, "mailbox: quota: A quota is required Really."),
        ({"error": "Domain: limit reached"}, "Domain: limit reached"),
        ({"detail": "Not found."}, "Not found."),
        ({"a": ["x"], "non_field_errors": ["y"], "b": []}, "a: x; y"),
        ([{"max_value": ["no"]}, {}], "max_value: no"),
        (None, ""),
        (5, ""),
        ({"a": 5}, ""),
    ],
)  # fmt: skip
def test_what_an_error_says(answer: object, text: str) -> None:
    assert native.said(answer) == text


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("Paolo Zen", "Paolo", "Zen"), ("Paolo Zen Ferri", "Paolo Zen", "Ferri"), ("Acquisti", "Acquisti", ""),
        ("", "", ""), ("  Paolo \t Zen ", "Paolo", "Zen"), ("José Ñandú 李", "José Ñandú", "李"),
    ],
)  # fmt: skip
def test_names_have_two_parts(name: str, first: str, last: str) -> None:
    assert native.first_name(name) == (first, last)


@pytest.mark.parametrize(
    ("address", "folded"),
    [
        ("Paolo@ACME.example", PAOLO), (" info@perché.example", "info@xn--perch-fsa.example"),
        ("@perché.example", "@xn--perch-fsa.example"), ("x@a b", "x@a b"), ("nobody", "@nobody"),
    ],
)  # fmt: skip
def test_addresses_have_one_form(address: str, folded: str) -> None:
    assert native.folded(address) == folded
