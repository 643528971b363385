"""PowerDNS: the contract against a real server, and what is particular about its API."""

from __future__ import annotations

import json
import logging
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rdatatype
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mspctl.driver import Access, Failed, Landed, Reading, Work
from mspctl.drivers import powerdns
from mspctl.errors import Stale, TargetError, Unreachable, Unsupported
from mspctl.exits import Exit
from mspctl.kinds import dns as kind
from mspctl.plan import REVERT, Standing
from mspctl.resource import Cause, Change, Id, Resource, Scope
from mspctl.secrets import Secrets
from tests.drivers.contract import DriverContract, Rig, Sample
from tests.drivers.workbench import Workbench
from tests.kinds import samples
from tests.servers import powerdns as servers
from tests.servers import require
from tests.servers.http_stand_in import Answer, StandIn, standing_in
from tests.servers.powerdns import KEY, PowerDNS, zone_id

ZONE = "acme.example"
SCOPE = Scope("pdns-1", "dns", ZONE, "acme")
NAME_SERVERS = ("ns1.msp.example.", "ns2.msp.example.")


def rrset(owner: str, rtype: str, *values: str, ttl: int = 3600) -> Resource:
    folded = [kind.fold_value(rtype, value, lambda name: f"{name}.{ZONE}.") for value in values]
    return kind.rrset(owner, rtype, ttl, folded, f"customers/acme/dns/{ZONE}.yaml:3")


def access(address: str, key: str = KEY, **settings: Any) -> Access:
    said: dict[str, Any] = {"nameservers": [*NAME_SERVERS], **settings}
    made = powerdns.Settings.model_validate(said)
    return Access("pdns-1", address, made, Secrets.given({"api_key": key.encode()}), Path())


class PowerDNSRig(Rig):
    def __init__(self, server: PowerDNS, **settings: Any) -> None:
        self.server = server
        self.access = access(server.address, **settings)
        self.scopes = [Scope("pdns-1", "dns", n, "acme") for n in (ZONE, "brenta.example", "0/25.2.0.192.in-addr.arpa")]

    def reader(self) -> powerdns.Reader:
        return powerdns.Reader(self.access)

    def driver(self) -> powerdns.Driver:
        return powerdns.Driver(self.access)

    def by_hand(self, scope: Scope, id_: Id, resource: Resource | None) -> None:
        owner, rtype = kind.owner_type(id_)
        rrset: dict[str, Any] = {"name": kind.absolute(owner, scope.name), "type": rtype, "changetype": "DELETE"}
        if resource is not None:
            contents = [{"content": kind.master_text(rtype, value)} for value in kind.values_of(resource)]
            rrset |= {"changetype": "REPLACE", "ttl": kind.ttl_of(resource), "records": contents}
        self.server.call("PATCH", f"/zones/{zone_id(scope.name)}", {"rrsets": [rrset]})

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        self.server.stop()
        yield
        self.server.start()

    @contextmanager
    def breaking(self, scope: Scope, after: int) -> Iterator[None]:
        """A database that takes nothing into one zone."""
        refuse = "SELECT RAISE(ABORT, 'disk full')"
        self._sql(
            f"CREATE TRIGGER broken BEFORE INSERT ON records WHEN NEW.domain_id = {self._id(scope)} BEGIN {refuse}; END"
        )
        yield
        self._sql("DROP TRIGGER broken")

    @contextmanager
    def garbled(self, scope: Scope) -> Iterator[None]:
        self._sql("UPDATE records SET content = 'x' || content WHERE type = 'A' AND domain_id = ?", self._id(scope))
        yield
        self._sql("UPDATE records SET content = substr(content, 2) WHERE type = 'A' AND domain_id = ?", self._id(scope))

    def shuffle(self, scope: Scope) -> None:
        self._sql("UPDATE records SET id = 1000000 - id WHERE domain_id = ?", self._id(scope))

    def native(self, scope: Scope) -> object:
        id_ = self._id(scope)
        return (
            self._sql("SELECT * FROM records WHERE domain_id = ? ORDER BY id", id_),
            self._sql("SELECT * FROM comments WHERE domain_id = ? ORDER BY id", id_),
            self._sql("SELECT * FROM domainmetadata WHERE domain_id = ? ORDER BY id", id_),
        )

    def _id(self, scope: Scope) -> int:
        ((found,),) = self._sql("SELECT id FROM domains WHERE name = ?", scope.name)
        return int(found)

    def _sql(self, statement: str, *values: object) -> list[Any]:
        with self.server.database() as database:
            return database.execute(statement, values).fetchall()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mspctl.transports.http.PAUSE", 0)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PowerDNS]:
    with servers.powerdns(tmp_path) as server:
        yield server


WWW, MX, TXT = rrset("www", "A", "192.0.2.1", "192.0.2.2"), rrset("@", "MX", "10 mx1"), rrset("@", "TXT", "v=spf1 -all")


class TestPowerDNS(DriverContract):
    removes_scopes = True
    samples = (
        Sample(WWW, [rrset("www", "A", "192.0.2.9"), rrset("www", "A", "192.0.2.1", "192.0.2.2", ttl=60)]),
        Sample(MX, [rrset("@", "MX", "20 mx1", "10 mx2"), rrset("@", "MX", "10 mx1", ttl=0)]),
        Sample(TXT, [rrset("@", "TXT", "v=spf1 mx -all"), rrset("@", "TXT", "v=spf1 -all", ttl=2**31 - 1)]),
    )
    impossible = (
        (rrset("#dev", "A", "192.0.2.1"), "takes no name with # in it"),
        (Resource(Id("mail.mailbox", "paolo"), {"quota": 1}), "cannot hold mail.mailbox"),
    )
    swap = (rrset("shop", "A", "192.0.2.7"), rrset("shop", "CNAME", "www"))
    many = tuple(rrset(f"host-{number}", "A", f"198.51.100.{number % 250}") for number in range(500))

    @pytest.fixture
    def rig(self, server: PowerDNS) -> Rig:
        return PowerDNSRig(server)


@pytest.fixture
def rig(server: PowerDNS) -> PowerDNSRig:
    return PowerDNSRig(server)


@pytest.fixture
def bench(rig: PowerDNSRig) -> Workbench:
    return Workbench(lambda scope: rig.reader(), lambda scope: rig.driver())


def read(rig: PowerDNSRig, *known: Resource, zone: str = ZONE) -> Reading:
    scope = replace(SCOPE, name=zone)
    (answer,) = rig.reader().read([scope], {scope: known})
    assert isinstance(answer, Reading), answer
    return answer


def refused(reader: powerdns.Reader, zone: str = ZONE) -> TargetError:
    (answer,) = reader.read([replace(SCOPE, name=zone)], {})
    assert isinstance(answer, Failed), answer
    return answer.error


def failed(rig: PowerDNSRig, *changes: Change) -> TargetError:
    (answer,) = rig.driver().apply([Work(SCOPE, changes, [])])
    assert isinstance(answer, Failed), answer
    return answer.error


def patch(server: PowerDNS, owner: str, rtype: str, *contents: str, zone: str = ZONE, **more: object) -> None:
    """By hand, in the API's own words."""
    records = [{"content": content} for content in contents]
    rrset = {"name": f"{owner}{zone}.", "type": rtype, "ttl": 300, "changetype": "REPLACE", "records": records, **more}
    server.call("PATCH", f"/zones/{zone_id(zone)}", {"rrsets": [rrset]})


def native(server: PowerDNS, owner: str, rtype: str) -> dict[str, Any]:
    (found,) = [r for r in server.zone(ZONE)["rrsets"] if (r["name"], r["type"]) == (f"{owner}{ZONE}.", rtype)]
    return dict(found)


def names(reading: Reading) -> list[str]:
    return sorted(r.id.name for r in reading.resources)


@pytest.fixture
def made(bench: Workbench) -> Workbench:
    """A zone of ours with WWW, MX and TXT."""
    bench.declare(SCOPE, WWW, MX, TXT)
    bench.converge()
    return bench


# -- zones that we make ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"kind": "Master", "soa_edit_api": "INCREASE"}])
def test_a_new_zone_is_as_the_settings_say(server: PowerDNS, settings: dict[str, str]) -> None:
    rig = PowerDNSRig(server, **settings)
    bench = Workbench(lambda scope: rig.reader(), lambda scope: rig.driver())
    bench.declare(SCOPE, WWW)
    assert not bench.plan()[SCOPE].exists
    bench.converge()
    zone = server.zone(ZONE)
    assert zone["kind"] == settings.get("kind", "Native")
    assert zone["soa_edit_api"] == settings.get("soa_edit_api", "DEFAULT")
    assert {r["content"] for r in native(server, "", "NS")["records"]} == {*NAME_SERVERS}
    assert names(read(rig)) == ["www A"]


def test_a_zone_without_name_servers_is_not_made(server: PowerDNS) -> None:
    rig = PowerDNSRig(server, nameservers=[])
    assert "acme.example has no name servers (declare apex NS, or" in str(failed(rig, Change(None, WWW)))
    assert server.zones() == []
    (landed,) = rig.driver().apply([Work(SCOPE, [Change(None, rrset("@", "NS", "ns.x.example."))], [])])
    assert isinstance(landed, Landed)
    assert [r["content"] for r in native(server, "", "NS")["records"]] == ["ns.x.example."]


def test_a_zone_that_somebody_made_meanwhile_is_stale(server: PowerDNS, rig: PowerDNSRig) -> None:
    driver = rig.driver()
    ask = driver.http.call

    def make_it_first(method: str, path: str, body: object = None) -> object:
        if method == "POST":
            ask(method, path, {**body, "rrsets": []})  # type: ignore[dict-item]
        return ask(method, path, body)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(driver.http, "call", make_it_first)
        (answer,) = driver.apply([Work(SCOPE, [Change(None, WWW)], [])])
    assert isinstance(answer, Failed)
    assert isinstance(answer.error, Stale)
    assert [r["type"] for r in server.zone(ZONE)["rrsets"]] == ["SOA"]


def test_a_zone_that_was_removed_is_stale(server: PowerDNS, rig: PowerDNSRig, made: Workbench) -> None:
    server.clear()
    assert isinstance(failed(rig, Change(WWW, None)), Stale)
    assert server.zones() == []


@pytest.mark.parametrize("ttl", [3600, 60])
def test_name_servers_go_into_git_and_out_of_it_again(server: PowerDNS, bench: Workbench, ttl: int) -> None:
    """What we filled in ourselves is not somebody else's, so nobody has to approve that Git takes it over."""
    same, other = rrset("@", "NS", *NAME_SERVERS, ttl=ttl), rrset("@", "NS", "ns.x.example.", ttl=ttl)
    for declared in ([WWW], [WWW, same], [WWW, same, TXT], [WWW, other]):
        bench.declare(SCOPE, *declared)
        bench.converge()
    assert [r["content"] for r in native(server, "", "NS")["records"]] == ["ns.x.example."]
    bench.approved = True  # the last name server of the zone leaves Git
    for declared in ([WWW], [WWW, other], [WWW, same], [WWW]):
        bench.declare(SCOPE, *declared)
        bench.converge()
    assert {r["content"] for r in native(server, "", "NS")["records"]} == {*NAME_SERVERS}
    assert native(server, "", "NS")["ttl"] == 3600


def test_the_last_name_servers_are_not_taken_away(server: PowerDNS) -> None:
    rig = PowerDNSRig(server, nameservers=[])
    ns = rrset("@", "NS", "ns.x.example.")
    [*rig.driver().apply([Work(SCOPE, [Change(None, ns)], [ns])])]
    assert "has no name servers" in str(failed(rig, Change(ns, None)))


def test_a_zone_goes_with_what_is_ours_and_stays_with_what_is_not(server: PowerDNS, rig: PowerDNSRig) -> None:
    work = Work(SCOPE, [Change(None, WWW)], [WWW])
    gone = Work(SCOPE, [Change(WWW, None)], [], gone=True)
    [*rig.driver().apply([work])]
    patch(server, "kept.", "A", records=[{"content": "192.0.2.7", "disabled": True}])
    landed, stays = rig.driver().apply([gone])
    assert isinstance(landed, Landed)
    assert isinstance(stays, Failed)
    assert str(stays.error) == "acme.example stays, because this is in it, too: kept A"
    assert server.zones() == [ZONE]
    patch(server, "kept.", "A", changetype="DELETE")
    assert [*rig.driver().apply([replace(gone, changes=[])])] == []
    assert server.zones() == []
    assert [*rig.driver().apply([replace(gone, changes=[])])] == []


# -- what is not ours -----------------------------------------------------------------------------------------


def test_comments_stay_where_they_are(server: PowerDNS, made: Workbench) -> None:
    patch(server, "www.", "A", "192.0.2.1", "192.0.2.2", ttl=3600, comments=[{"content": "ask Maria", "account": "x"}])
    assert made.causes(SCOPE) == {}
    made.declare(SCOPE, rrset("www", "A", "192.0.2.9"), MX, TXT)
    made.converge()
    (comment,) = native(server, "www.", "A")["comments"]
    assert (comment["content"], comment["account"]) == ("ask Maria", "x")


def test_a_comment_alone_is_no_record(server: PowerDNS, rig: PowerDNSRig, made: Workbench) -> None:
    patch(server, "noted.", "A", comments=[{"content": "reserved", "account": "x"}])
    assert names(read(rig)) == ["@ MX", "@ TXT", "www A"]
    made.declare(SCOPE, WWW, MX, TXT, rrset("noted", "A", "192.0.2.7"))
    made.converge()
    assert native(server, "noted.", "A")["comments"][0]["content"] == "reserved"


def test_disabled_records_are_no_noise_and_are_not_lost(server: PowerDNS, rig: PowerDNSRig, made: Workbench) -> None:
    off = {"content": "192.0.2.66", "disabled": True}
    on = [{"content": content} for content in ("192.0.2.1", "192.0.2.2")]
    patch(server, "www.", "A", ttl=3600, records=[*on, off])
    patch(server, "off.", "A", records=[off])
    assert names(read(rig)) == ["@ MX", "@ TXT", "www A"]
    assert made.causes(SCOPE) == {}

    def disabled(owner: str = "www.") -> list[str]:
        return [r["content"] for r in native(server, owner, "A")["records"] if r["disabled"]]

    made.declare(SCOPE, rrset("www", "A", "192.0.2.9", ttl=60), MX, TXT)
    made.converge()
    assert disabled() == ["192.0.2.66"]
    made.declare(SCOPE, MX, TXT)  # nothing is served any more, and the disabled one stays
    made.converge()
    assert [r["content"] for r in native(server, "www.", "A")["records"]] == disabled() == ["192.0.2.66"]
    made.declare(SCOPE, rrset("www", "A", "192.0.2.66"), rrset("off", "A", "192.0.2.7"), MX, TXT)
    made.converge()  # what Git declares is served
    assert (disabled(), disabled("off.")) == ([], ["192.0.2.66"])


@pytest.mark.parametrize("kind_", ["Slave", "Producer", "Consumer"])
def test_a_zone_whose_records_come_from_elsewhere_is_refused(
    server: PowerDNS, rig: PowerDNSRig, made: Workbench, kind_: str
) -> None:
    server.call("PUT", f"/zones/{ZONE}.", {"kind": kind_, "masters": ["127.0.0.1:9"]})
    said = f"acme.example is a {kind_} zone here: its records come from elsewhere"
    assert str(refused(rig.reader())) == said
    before = rig.native(SCOPE)
    assert str(failed(rig, Change(WWW, None))) == said
    assert rig.native(SCOPE) == before


def test_a_zone_that_is_signed_elsewhere_is_refused(server: PowerDNS, rig: PowerDNSRig, made: Workbench) -> None:
    said = "acme.example is signed elsewhere (PRESIGNED): what is written here would be served unsigned"
    with server.database() as database:
        database.execute(
            "INSERT INTO domainmetadata (domain_id, kind, content) SELECT id, 'PRESIGNED', '1' FROM domains"
        )
    before = rig.native(SCOPE)
    assert str(failed(rig, Change(WWW, None))) == said
    assert rig.native(SCOPE) == before
    signature = "A 13 3 300 20370101000000 20260101000000 12345 acme.example. " + "a" * 86 + "=="
    with server.database() as database:
        database.execute(
            "INSERT INTO records (domain_id, name, type, content, ttl, auth)"
            " SELECT id, 'www.acme.example', 'RRSIG', ?, 300, 1 FROM domains",
            [signature],
        )
        database.execute("DELETE FROM domainmetadata WHERE kind = 'PRESIGNED'")
    assert str(refused(rig.reader())) == said


def test_a_record_that_the_server_cannot_show_fails_its_zone_and_says_who_can(
    server: PowerDNS, rig: PowerDNSRig, made: Workbench
) -> None:
    with rig.garbled(SCOPE):
        assert str(refused(rig.reader())) == (
            "PowerDNS fails to show acme.example (pdnsutil check-zone acme.example may say why)"
        )


def test_a_record_outside_its_zone_is_not_passed_over(server: PowerDNS, rig: PowerDNSRig, made: Workbench) -> None:
    with server.database() as database:
        database.execute("UPDATE records SET name = 'www.brenta.example' WHERE type = 'A'")
    assert "about acme.example cannot be read ('www.brenta.example.' is outside the zone" in str(refused(rig.reader()))


# -- signed zones ---------------------------------------------------------------------------------------------

SIGNED, UNSIGNED = kind.zone(True, "customers/acme/dns.yaml:3"), kind.zone(False, "customers/acme/dns.yaml:3")


def test_a_new_zone_is_signed_at_once_and_hands_out_what_the_registrar_needs(
    server: PowerDNS, rig: PowerDNSRig, bench: Workbench
) -> None:
    bench.declare(SCOPE, WWW, SIGNED)
    bench.converge()
    assert server.zone(ZONE)["dnssec"] is True
    (key,) = server.call("GET", f"/zones/{ZONE}./cryptokeys")
    ds = bench.ledger.recorded()[SCOPE].outputs["ds"]
    assert isinstance(ds, tuple)
    assert {*ds} == {record for record in key["ds"] if record.split()[1:3] == ["13", "2"]}
    answer = dns.query.udp(
        dns.message.make_query(f"www.{ZONE}", "A", want_dnssec=True), "127.0.0.1", 2, port=server.port
    )
    assert {dns.rdatatype.to_text(rrset.rdtype) for rrset in answer.answer} == {"A", "RRSIG"}


def test_a_signed_zone_makes_no_noise(server: PowerDNS, rig: PowerDNSRig, made: Workbench) -> None:
    """Nor does one that is transferred with a key: what the server makes of it is not in the API."""
    before = read(rig).resources
    server.call("PUT", f"/zones/{ZONE}.", {"dnssec": True, "nsec3param": "1 0 0 -"})
    server.call("POST", "/tsigkeys", {"name": "transfer", "algorithm": "hmac-sha256"})
    server.call("PUT", f"/zones/{ZONE}.", {"master_tsig_key_ids": ["transfer"]})
    assert read(rig).resources == before
    assert made.plan()[SCOPE].left == []
    made.declare(SCOPE, WWW, TXT)
    made.approved = True
    made.converge()
    assert server.zone(ZONE)["dnssec"] is True


def test_signing_needs_no_approval_and_the_end_of_it_does(server: PowerDNS, made: Workbench) -> None:
    made.declare(SCOPE, WWW, MX, TXT, SIGNED)
    (step,) = made.plan()[SCOPE].steps
    assert (step.change.verb, step.change.cause, step.standing) == ("create", Cause.PENDING, Standing.DUE)
    made.converge()
    made.declare(SCOPE, WWW, MX, TXT, UNSIGNED)
    (step,) = made.plan()[SCOPE].steps
    assert (step.standing, step.reason) == (Standing.APPROVAL, "it is the last signature of the zone")
    assert made.apply().landed == 0
    assert server.zone(ZONE)["dnssec"] is True
    made.approved = True
    made.converge()
    assert server.zone(ZONE)["dnssec"] is False
    assert made.ledger.recorded()[SCOPE].outputs == {"ds": ()}
    made.approved = False
    made.declare(SCOPE, WWW, MX, TXT, SIGNED)
    made.converge()


def test_whoever_says_nothing_of_it_any_more_changes_nothing(server: PowerDNS, made: Workbench) -> None:
    for setting in (SIGNED, UNSIGNED):
        made.approved = setting is UNSIGNED
        made.declare(SCOPE, WWW, MX, TXT, setting)
        made.converge()
        made.declare(SCOPE, WWW, MX, TXT)
        assert made.converge().landed == 0
        assert server.zone(ZONE)["dnssec"] is setting.fields["dnssec"]


def test_a_signature_that_somebody_took_away_is_drift(server: PowerDNS, made: Workbench) -> None:
    made.declare(SCOPE, WWW, MX, TXT, SIGNED)
    made.converge()
    server.call("PUT", f"/zones/{ZONE}.", {"dnssec": False})
    assert made.causes(SCOPE) == {"zone": Cause.DRIFT}
    made.converge(causes=REVERT)
    assert server.zone(ZONE)["dnssec"] is True


def test_who_declares_a_signed_zone_unsigned_takes_it_over(server: PowerDNS, rig: PowerDNSRig, made: Workbench) -> None:
    server.call("PUT", f"/zones/{ZONE}.", {"dnssec": True})
    made.declare(SCOPE, WWW, MX, TXT, UNSIGNED)
    assert made.causes(SCOPE) == {"zone": Cause.TAKE_OVER}
    assert isinstance(failed(rig, Change(None, SIGNED)), Stale)


# -- tokens ---------------------------------------------------------------------------------------------------


def test_a_token_moves_with_whatever_changes_and_with_nothing_else(server: PowerDNS, made: Workbench) -> None:
    """Also with what leaves the serial alone: a zone without soa_edit_api, pdnsutil, SQL."""
    reader = powerdns.Reader(access(server.address))
    seen = [reader.tokens([SCOPE])[SCOPE]]

    def moved() -> bool:
        seen.append(reader.tokens([SCOPE])[SCOPE])
        (answer,) = reader.read([SCOPE], {})
        assert isinstance(answer, Reading)
        assert answer.token == seen[-1]
        return seen[-1] not in seen[:-1]

    def by_sql() -> None:
        with server.database() as database:
            database.execute("UPDATE records SET content = '192.0.2.77' WHERE name LIKE 'sql%'")

    def by_pdnsutil() -> None:
        command = [require("pdnsutil"), f"--config-dir={server.folder}", "add-record", ZONE, "util", "A", "192.0.2.1"]
        subprocess.run(command, check=True, capture_output=True, timeout=30)

    assert not moved()
    server.call("PUT", f"/zones/{ZONE}.", {"soa_edit": "INCEPTION-EPOCH"})  # now the served serial moves by itself
    patch(server, "www.", "A", "192.0.2.2", "192.0.2.1", ttl=3600, comments=[{"content": "x", "account": "y"}])
    assert not moved()
    server.call("PUT", f"/zones/{ZONE}.", {"soa_edit_api": ""})
    for change in (
        lambda: patch(server, "sql.", "A", "192.0.2.1"),
        lambda: patch(server, "sql.", "A", "192.0.2.1", ttl=60),
        by_sql,
        by_pdnsutil,
        lambda: patch(server, "sql.", "A", records=[{"content": "192.0.2.1", "disabled": True}]),
        lambda: patch(server, "sql.", "A", changetype="DELETE"),
        lambda: server.call("PUT", f"/zones/{ZONE}.", {"dnssec": True}),
        lambda: server.call("PUT", f"/zones/{ZONE}.", {"kind": "Master"}),
    ):
        change()
        assert moved()


def test_a_token_can_be_the_serial_where_all_changes_come_through_the_api(server: PowerDNS, made: Workbench) -> None:
    """One call, and no record is listed; what does not move the serial is not seen, and the setting's words say so."""
    reader = powerdns.Reader(access(server.address, fingerprints="serials"))
    asked: list[str] = []
    call = reader.http.call

    def told(method: str, path: str, *args: Any, **named: Any) -> Any:
        asked.append(path)
        return call(method, path, *args, **named)

    reader.http.call = told  # type: ignore[method-assign]
    seen = [reader.tokens([SCOPE])[SCOPE]]
    assert [path.rpartition("/")[2] for path in asked] == ["zones"]
    for change in (
        lambda: patch(server, "www.", "A", "192.0.2.2", ttl=60),
        lambda: patch(server, "www.", "A", changetype="DELETE"),
        lambda: server.call("PUT", f"/zones/{ZONE}.", {"kind": "Master"}),
        lambda: server.call("PUT", f"/zones/{ZONE}.", {"dnssec": True}),
    ):
        change()
        seen.append(reader.tokens([SCOPE])[SCOPE])
        (answer,) = reader.read([SCOPE], {})
        assert isinstance(answer, Reading)
        assert answer.token == seen[-1]
    assert len({*seen}) == len(seen)
    with server.database() as database:
        database.execute("UPDATE records SET content = '192.0.2.77' WHERE type = 'A'")
    assert reader.tokens([SCOPE])[SCOPE] == seen[-1]


def test_tokens_are_of_the_zones_that_were_asked_for_and_are_there(server: PowerDNS, made: Workbench) -> None:
    made.declare(replace(SCOPE, name="brenta.example"), WWW)
    made.converge()
    reader = powerdns.Reader(access(server.address))
    both = reader.tokens([SCOPE, replace(SCOPE, name="brenta.example"), replace(SCOPE, name="nowhere.example")])
    assert [scope.name for scope in both] == [ZONE, "brenta.example"]
    assert len({*both.values()}) == 2


def test_there_are_no_tokens_where_they_could_be_wrong(
    server: PowerDNS, rig: PowerDNSRig, made: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = powerdns.Reader(access(server.address))
    with rig.garbled(SCOPE):  # it cannot list what it cannot show
        assert reader.tokens([SCOPE]) == {}
    assert reader.tokens([SCOPE]) == {SCOPE: read(rig).token}
    monkeypatch.setattr(powerdns, "MAX_RECORDS", 3)  # and it has more
    assert reader.tokens([SCOPE]) != {SCOPE: read(rig).token}


def test_every_type_has_one_token_however_it_is_read(server: PowerDNS, rig: PowerDNSRig, bench: Workbench) -> None:
    bench.declare(SCOPE, *EVERY_TYPE)
    bench.converge()
    assert rig.reader().tokens([SCOPE]) == {SCOPE: read(rig).token}


# -- values ---------------------------------------------------------------------------------------------------

LONG = "".join(f"{number:03d}:" for number in range(200))
EVERY_TYPE = [
    rrset("@", "NS", *NAME_SERVERS),
    rrset("@", "A", "192.0.2.1"),
    rrset("@", "AAAA", "2001:db8::1", "2001:db8::2", "::ffff:192.0.2.1"),
    rrset("@", "CAA", '0 issue "ca.example"', '128 iodef "mailto:caa@acme.example"'),
    rrset("@", "MX", "10 mx1", "20 mx.provider.example."),
    rrset("@", "TXT", "v=spf1 mx -all", 'quotes " and \\ and ; and  blanks', "perché così", "", LONG),
    rrset("@", "SPF", "v=spf1 -all"),
    rrset("cdn", "ALIAS", "edge.example.net."),
    rrset("lua", "LUA", "A \"ifportup(443, {'192.0.2.1', '192.0.2.2'})\"", f'TXT "{LONG}"'),
    rrset("mx1", "A", "192.0.2.25", ttl=60),
    rrset("www", "CNAME", "acme.example."),
    rrset("odd-name", "CNAME", r"a\032b\.c\@d\"e.example.net."),
    rrset("*.wild", "A", "192.0.2.3"),
    rrset("*", "MX", "0 ."),
    rrset("_sip._tcp", "SRV", "10 5 5060 sip.example.net.", "0 0 0 ."),
    rrset("_443._tcp", "TLSA", "3 1 1 " + "ab" * 32),
    rrset("_http._tcp", "URI", '10 1 "https://acme.example/"'),
    rrset("host", "SSHFP", "4 2 " + "cd" * 32),
    rrset("host", "LOC", "45 26 0.000 N 11 54 0.000 E 20.00m 1m 10000m 10m", "1 59 59.999 S 0 0 0 W -1.00m"),
    rrset("phone", "NAPTR", '100 10 "U" "E2U+sip" "!^.*$!sip:info@acme.example!" .'),
    rrset("10", "PTR", "host"),
    rrset("svc", "SVCB", "1 . alpn=h2 port=8443", "2 ohttp.example. no-default-alpn alpn=h2 ohttp mandatory=ohttp"),
    rrset(
        "web", "HTTPS", "1 . alpn=h2,h3 ipv4hint=192.0.2.1 key667=hello", '2 a. dohpath="/q{?dns}" mandatory=dohpath'
    ),
    rrset("old", "DNAME", "new.example.net."),
    rrset("sub", "NS", "ns1.sub", "ns.provider.example."),
    rrset("sub", "DS", "12345 13 2 " + "ef" * 32),
    rrset("ns1.sub", "A", "192.0.2.53"),
    rrset("odd", "TYPE65280", "\\# 4 01020304"),
    rrset("odd", "RESINFO", "qnamemin exterr=15,16"),
    rrset("odd", "CERT", "1 0 0 AAAA"),
    rrset("odd", "DHCID", "AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA="),
    rrset("odd", "L64", "10 2001:0DB8:1140:1000"),
    rrset("_a_b", "TXT", "c", ttl=0),
    rrset("long", "A", "192.0.2.6", ttl=2**31 - 1),
]


def test_every_type_is_held_and_served_as_git_says(server: PowerDNS, rig: PowerDNSRig, bench: Workbench) -> None:
    assert {kind.owner_type(r.id)[1] for r in EVERY_TYPE} >= {*kind.COMMON} | kind.PSEUDO
    bench.declare(SCOPE, *EVERY_TYPE)
    bench.converge()
    assert {r.id: r.fields for r in read(rig, *EVERY_TYPE).resources} == {r.id: r.fields for r in EVERY_TYPE}
    for resource in EVERY_TYPE:
        if kind.owner_type(resource.id)[1] not in kind.PSEUDO:
            assert served(server.port, ZONE, resource) == (kind.ttl_of(resource), {*kind.values_of(resource)})


def served(port: int, zone: str, resource: Resource) -> tuple[int, set[str]]:
    """TTL and values of an RRset as a name server answers it, also from the other side of a delegation."""
    owner, rtype = kind.owner_type(resource.id)
    query = dns.message.make_query(kind.absolute(owner, zone), rtype, use_edns=True, payload=4096)
    answer, _ = dns.query.udp_with_fallback(query, "127.0.0.1", timeout=5, port=port)
    found = [r for r in (answer.answer or answer.authority) if r.rdtype == dns.rdatatype.from_text(rtype)] or [
        r for r in answer.additional if r.rdtype == dns.rdatatype.from_text(rtype)
    ]
    assert found, answer.to_text()
    return found[0].ttl, {kind.from_rdata(rdata) for rdata in found[0]}


@pytest.mark.parametrize(
    ("resource", "why"),
    [
        (rrset("#civil", "A", "192.0.2.1"), "takes no name with # in it"),
        (rrset("a.*", "A", "192.0.2.1"), r"takes no name with \* in it"),
        (rrset("a\\032b", "A", "192.0.2.1"), r"takes no name with \\ in it"),
        (rrset("@", "NS", "ns_1.example.net."), "takes no NS that names ns_1.example.net., which is no host"),
        (rrset("@", "MX", "10 -a.example.net."), "takes no MX that names -a.example.net., which is no host"),
        (rrset("@", "NS", "."), "takes no NS that names ., which is no host"),
        (rrset("_s._tcp", "SRV", "0 0 1 a_b.example.net."), "takes no SRV that names a_b.example.net."),
        (rrset("@", "DS", "12345 13 2 " + "ef" * 32), "a DS cannot stand at the zone's own name"),
        (rrset("@", "CNAME", "www"), "a CNAME cannot stand at the zone's own name"),
        (rrset("www", "CNAME", "a", "b"), "a name has one CNAME record, not 2"),
        (rrset("www", "DNAME", "a", "b"), "a name has one DNAME record, not 2"),
        (rrset("r", "RP", r"a\;b.example. c.example."), "takes no RP that names a host with ; in it"),
        (rrset("s", "SVCB", '1 a\\"b.example. alpn="h2"'), 'takes no SVCB that names a host with " in it'),
    ],
)
def test_what_accept_refuses_is_refused_or_shown_wrong_by_powerdns(
    server: PowerDNS, rig: PowerDNSRig, made: Workbench, resource: Resource, why: str
) -> None:
    with pytest.raises(Unsupported, match=why):
        rig.reader().accept(resource)
    before = None
    if resource.id == Id(kind.KIND, "@ NS"):
        before = rrset("@", "NS", *NAME_SERVERS)
    if resource.id == MX.id:
        before = MX
    error = failed(rig, Change(before, resource))
    assert "422" in str(error) or "PowerDNS refuses" in str(error)


@settings(max_examples=6)
@given(found=st.lists(samples.folded(pseudo=True), min_size=40, max_size=40))
def test_what_accept_takes_is_held(powerdns_for_examples: PowerDNS, found: list[tuple[str, str]]) -> None:
    """Values of all types, as many as one request may respell."""
    rig = PowerDNSRig(powerdns_for_examples)
    wanted = []
    for number, (rtype, value) in enumerate(found):
        resource = kind.rrset(f"h{number}", rtype, 300, [value], "zone.yaml:3")
        with suppress(Unsupported):
            wanted.append(rig.reader().accept(resource))
    powerdns_for_examples.clear()
    answers = [*rig.driver().apply([Work(SCOPE, [Change(None, r) for r in wanted], wanted)])]
    assert [a for a in answers if isinstance(a, Failed)] == []
    assert {r.id: r.fields for r in read(rig).resources} == {r.id: r.fields for r in wanted}


@pytest.fixture(scope="module")
def powerdns_for_examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PowerDNS]:
    with servers.powerdns(tmp_path_factory.mktemp("examples")) as server:
        yield server


def test_what_is_refused_all_the_same_is_named_with_its_place(
    server: PowerDNS, rig: PowerDNSRig, bench: Workbench
) -> None:
    clash = [rrset("x", "A", "192.0.2.1"), rrset("x", "CNAME", "www")]
    bench.declare(SCOPE, WWW, *clash)
    outcome = bench.apply()
    assert outcome.scopes[SCOPE].error == (
        "PowerDNS refuses x CNAME (customers/acme/dns/acme.example.yaml:3), and so the whole: "
        "RRset x.acme.example. IN CNAME: Conflicts with another RRset"
    )
    assert outcome.landed == 0
    assert server.zones() == []
    bench.declare(SCOPE, WWW)
    bench.converge()
    bench.declare(SCOPE, WWW, rrset("www", "CNAME", "x"), rrset("good", "A", "192.0.2.1"))
    assert "PowerDNS refuses www CNAME (customers/acme/dns/acme" in bench.apply().scopes[SCOPE].error
    assert names(read(rig)) == ["www A"]


def test_upper_case_and_other_spellings_in_the_database_are_no_noise(server: PowerDNS, made: Workbench) -> None:
    made.declare(SCOPE, WWW, MX, TXT, rrset("six", "AAAA", "2001:db8::1"), rrset("alias", "CNAME", "www"))
    made.converge()
    with server.database() as database:
        database.execute("UPDATE records SET content = '2001:DB8:0::1' WHERE type = 'AAAA'")
        database.execute(
            "UPDATE records SET content = 'WWW.Acme.EXAMPLE', name = 'ALIAS.acme.example' WHERE type = 'CNAME'"
        )
        database.execute("""UPDATE records SET content = '"v=sp" "f1 -all"' WHERE type = 'TXT'""")
    assert made.causes(SCOPE) == {}


# -- size -----------------------------------------------------------------------------------------------------


def test_a_zone_of_ten_thousand_records_and_three_thousand_changes(
    server: PowerDNS, rig: PowerDNSRig, bench: Workbench
) -> None:
    hosts = [rrset(f"h{number}", "A", f"198.51.{number >> 8}.{number & 255}") for number in range(10_000)]
    bench.approved = True
    bench.declare(SCOPE, *hosts)
    assert bench.apply().landed == 10_000
    new = [rrset(f"n{number}", "TXT", "x" * 200) for number in range(1_000)]
    changed = [rrset(f"h{number}", "A", "203.0.113.1") for number in range(1_000)]
    bench.declare(SCOPE, *changed, *hosts[2_000:], *new)
    assert bench.apply().landed == 3_000
    assert {r.id: r.fields for r in read(rig).resources} == {r.id: r.fields for r in [*changed, *hosts[2_000:], *new]}
    assert bench.pending() == {}


@pytest.mark.parametrize("there", [False, True])
def test_more_than_powerdns_takes_at_once_is_sent_in_parts(
    server: PowerDNS, rig: PowerDNSRig, bench: Workbench, there: bool
) -> None:
    if there:
        bench.declare(SCOPE, WWW)
        bench.converge()
    texts = [rrset(f"t{number}", "TXT", "x" * 10_000) for number in range(400)]
    bench.declare(SCOPE, WWW, *texts)
    bench.converge()
    assert len(read(rig).resources) == 401


def test_a_part_that_landed_is_told_though_the_next_was_refused(server: PowerDNS, rig: PowerDNSRig) -> None:
    texts = [rrset(f"t{number:03d}", "TXT", "x" * 10_000) for number in range(200)]
    changes = [Change(None, r) for r in [*texts, rrset("z", "A", "192.0.2.1"), rrset("z", "CNAME", "www")]]
    *landed, last = rig.driver().apply([Work(SCOPE, changes, [])])
    assert isinstance(last, Failed)
    assert 0 < len(landed) < 200
    assert {r.id for r in read(rig).resources} == {a.change.id for a in landed if isinstance(a, Landed)}


# -- others at work, and a server that goes away --------------------------------------------------------------

ROUNDS = 50


def test_two_writers(server: PowerDNS, rig: PowerDNSRig) -> None:
    """
    Who has written before we look is never overwritten; only what falls between our look and our write can be.

    How long that is, is logged: `-o log_cli=true --log-cli-level=INFO` shows it.
    """
    driver, calls = rig.driver(), list[tuple[str, float, float]]()
    ask = driver.http.call

    def timed(method: str, path: str, body: object = None) -> object:
        start = time.perf_counter()
        try:
            return ask(method, path, body)
        finally:
            calls.append((method, start, time.perf_counter()))

    driver.http.call = timed  # type: ignore[method-assign]
    [*driver.apply([Work(SCOPE, [Change(None, WWW)], [WWW])])]
    base, ours, theirs = WWW, rrset("www", "A", "192.0.2.10"), rrset("www", "A", "192.0.2.20")
    windows, wrote, stale, lost = list[float](), list[float](), 0, 0
    barrier = threading.Barrier(2)

    def write(pause: float) -> None:
        barrier.wait()
        time.sleep(pause)
        for _ in range(100):
            with suppress(servers.Refused):  # SQLite takes one writer at a time, and turns the other away
                rig.by_hand(SCOPE, theirs.id, theirs)
                break
        wrote.append(time.perf_counter())

    for round_ in range(ROUNDS):
        rig.by_hand(SCOPE, base.id, base)
        calls.clear()
        other = threading.Thread(target=write, args=(round_ * 0.0002,))
        other.start()
        barrier.wait()
        (answer,) = driver.apply([Work(SCOPE, [Change(base, ours)], [ours])])
        other.join()
        (live,) = [r for r in read(rig).resources if r.id == ours.id]
        if isinstance(answer, Failed):
            assert isinstance(answer.error, Stale) or "Internal Server Error" in str(answer.error)
            assert live.fields == theirs.fields
            stale += 1
            continue
        looked = [start for method, start, _ in calls if method == "GET"][-1]
        landed = next(end for method, _, end in calls if method == "PATCH")
        windows.append(landed - looked)
        if live.fields == ours.fields:
            lost += 1
            assert looked < wrote[-1]
    assert stale + len(windows) == ROUNDS
    assert windows
    said = f"{1000 * statistics.median(windows):.1f} ms median, {1000 * max(windows):.1f} ms at most"
    logging.getLogger(__name__).info(
        "%s; of %d rounds %d were refused, %d overwrote the other", said, ROUNDS, stale, lost
    )


def test_a_server_that_is_killed_during_an_apply(server: PowerDNS, rig: PowerDNSRig, made: Workbench) -> None:
    others = [replace(SCOPE, name=f"z{number}.example") for number in range(6)]
    for scope in others:
        made.declare(scope, WWW)
    driver = rig.driver()
    ask = driver.http.call

    def kill(method: str, path: str, body: object = None) -> object:
        if method == "POST" and "z3.example" in str(body):
            server.stop(kill=True)
        return ask(method, path, body)

    driver.http.call = kill  # type: ignore[method-assign]
    reader = made.drivers
    made.drivers = lambda scope: driver
    outcome = made.apply()
    made.drivers = reader
    assert outcome.exit_code in (Exit.PARTLY, Exit.UNREACHABLE)
    assert len(outcome.unfinished) >= 3
    assert all("cannot be reached" in end.error for end in outcome.unfinished)
    server.start()
    made.converge()
    assert {*server.zones()} == {ZONE, *(scope.name for scope in others)}


def test_a_server_that_is_restarted_between_plan_and_apply(server: PowerDNS, made: Workbench) -> None:
    made.declare(SCOPE, WWW, MX)
    shown = made.plan()
    server.stop()
    server.start()
    assert made.apply(first=shown).landed == 1
    assert made.pending() == {}


def test_a_silent_server_is_not_asked_zone_by_zone(server: PowerDNS, rig: PowerDNSRig) -> None:
    scopes = [replace(SCOPE, name=f"z{number}.example") for number in range(500)]
    server.stop()
    reader = rig.reader()
    asked = []
    ask = reader.http.call

    def counted(method: str, path: str, body: object = None) -> object:
        asked.append(path)
        return ask(method, path, body)

    reader.http.call = counted  # type: ignore[method-assign]
    with pytest.raises(Unreachable):
        list(reader.read(scopes, {}))
    assert len(asked) < 50
    server.start()


def test_a_wrong_key(server: PowerDNS, made: Workbench) -> None:
    reader = powerdns.Reader(access(server.address, "an-example-of-another-key"))
    error = refused(reader)
    assert not isinstance(error, Unreachable)
    assert str(error) == f"{server.address} does not take our key (401 Unauthorized)"
    with pytest.raises(TargetError, match="does not take our key"):
        reader.scopes()


@pytest.mark.parametrize(
    ("path", "settings"), [("", {"server": "other"}), ("/elsewhere", {}), ("/api/v1/servers/localhost", {})]
)
def test_the_wrong_server_has_no_such_zone_and_that_says_nothing(
    server: PowerDNS, made: Workbench, path: str, settings: dict[str, str]
) -> None:
    assert "refuses (404 Not Found)" in str(refused(powerdns.Reader(access(server.address + path, **settings))))


# -- hostile answers, from a stand-in -------------------------------------------------------------------------

GOOD: dict[str, Any] = {
    "name": "acme.example.", "kind": "Native", "dnssec": False,
    "rrsets": [{"name": "www.acme.example.", "type": "A", "ttl": 300, "comments": [],
                "records": [{"content": "192.0.2.1", "disabled": False}]}],
}  # fmt: skip


def with_rrset(**changed: object) -> dict[str, Any]:
    return {**GOOD, "rrsets": [{**GOOD["rrsets"][0], **changed}]}


HTML = b"<html><head><title>Gateway</title></head><body>Sign in \x1b[31m</body></html>"
HOSTILE: dict[str, Any] = {
    "garbage": b"\x00\xff{]",
    "HTML": HTML,
    "nothing": b"",
    "null": None,
    "list": [],
    "number": 7,
    "another zone": {**GOOD, "name": "brenta.example."},
    "name is none": {**GOOD, "name": None},
    "no kind": {k: v for k, v in GOOD.items() if k != "kind"},
    "kind is a list": {**GOOD, "kind": ["Native"]},
    "rrsets are none": {**GOOD, "rrsets": None},
    "rrsets are text": {**GOOD, "rrsets": "www"},
    "no rrsets": {k: v for k, v in GOOD.items() if k != "rrsets"},
    "an rrset twice": {**GOOD, "rrsets": GOOD["rrsets"] * 2},
    "outside": with_rrset(name="www.brenta.example."),
    "name is a number": with_rrset(name=7),
    "name with a line break": with_rrset(name="a\n\x1b[31m.acme.example."),
    "type unknown": with_rrset(type="NOSUCH"),
    "type is none": with_rrset(type=None),
    "ttl is text": with_rrset(ttl="300"),
    "ttl is a boolean": with_rrset(ttl=True),
    "records are none": with_rrset(records=None),
    "record is text": with_rrset(records=["192.0.2.1"]),
    "content is a number": with_rrset(records=[{"content": 1, "disabled": False}]),
    "content is none": with_rrset(records=[{"content": None, "disabled": False}]),
    "content is no address": with_rrset(records=[{"content": "$(reboot)", "disabled": False}]),
    "content is huge": with_rrset(type="TXT", records=[{"content": '"' + "x" * 70_000 + '"a', "disabled": False}]),
    "no disabled": with_rrset(records=[{"content": "192.0.2.1"}]),
}


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with standing_in() as stand_in:
        yield stand_in


def judged(error: TargetError) -> str:
    text = str(error)
    assert not isinstance(error, Unreachable)
    assert text.isprintable()
    assert len(text) < 700
    assert KEY not in text
    return text


@pytest.mark.parametrize("name", HOSTILE)
def test_an_answer_that_makes_no_sense_is_no_empty_zone(stand_in: StandIn, name: str) -> None:
    content = HOSTILE[name]
    stand_in.answers = [(200, {}, content if isinstance(content, bytes) else json.dumps(content).encode())]
    judged(refused(powerdns.Reader(access(stand_in.address))))
    assert stand_in.asked[0][2]["X-API-Key"] == KEY


def test_the_good_answer_is_one(stand_in: StandIn) -> None:
    stand_in.answers = [(200, {}, json.dumps(GOOD).encode())]
    (answer,) = powerdns.Reader(access(stand_in.address)).read([SCOPE], {})
    assert isinstance(answer, Reading)
    assert names(answer) == ["www A"]


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404, 405, 418, 422, 500])
def test_a_page_instead_of_the_api_is_no_missing_zone(stand_in: StandIn, status: int) -> None:
    stand_in.answers = [(status, {"Location": "https://evil.example/"}, HTML)]
    judged(refused(powerdns.Reader(access(stand_in.address))))
    with pytest.raises(TargetError) as caught:
        powerdns.Reader(access(stand_in.address)).scopes()
    judged(caught.value)
    assert all(path.startswith("/api/v1/servers/localhost") for _, path, _, _ in stand_in.asked)


@pytest.mark.parametrize("answer", [{}, {"daemon_type": "recursor"}, [], None])
def test_only_an_authoritative_powerdns_can_say_that_a_zone_is_missing(stand_in: StandIn, answer: object) -> None:
    stand_in.answers = [(404, {}, b"Not Found"), (200, {}, json.dumps(answer).encode())]
    assert judged(refused(powerdns.Reader(access(stand_in.address)))).endswith("is no authoritative PowerDNS")


def test_an_answer_that_is_too_large(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mspctl.transports.http.MAX_ANSWER", 1000)
    stand_in.answers = [(200, {}, json.dumps({**GOOD, "more": "x" * 2000}).encode())]
    assert "answers more than" in judged(refused(powerdns.Reader(access(stand_in.address))))


@pytest.mark.parametrize("name", ["garbage", "null", "list", "number", "name is none", "HTML"])
def test_a_list_of_zones_that_makes_no_sense_is_not_empty(stand_in: StandIn, name: str) -> None:
    content = HOSTILE[name]
    entries = content if isinstance(content, bytes) or name in ("null", "number") else [content]
    stand_in.answers = [(200, {}, entries if isinstance(entries, bytes) else json.dumps(entries).encode())]
    with pytest.raises(TargetError) as caught:
        powerdns.Reader(access(stand_in.address)).scopes()
    judged(caught.value)


def test_a_server_that_wants_ever_other_spellings_is_given_up(stand_in: StandIn) -> None:
    said = "Record www.acme.example./A '{}': Not in expected format (parsed as '{}')"
    spellings = ["192.0.2.1", "\\\\# 4 c0000201"]  # both the same address, for ever

    def demand(handler: BaseHTTPRequestHandler) -> None:
        spellings.reverse()
        content = json.dumps({"error": said.format(spellings[1], spellings[0]).replace("\\\\", "\\")}).encode()
        head = f"HTTP/1.1 422 Nope\r\nConnection: close\r\nContent-Length: {len(content)}\r\n\r\n".encode()
        handler.wfile.write(head + content)

    empty: Answer = (200, {}, json.dumps({**GOOD, "rrsets": []}).encode())
    stand_in.answers = [(200, {}, b'{"metadata": []}'), empty, demand]
    (answer,) = powerdns.Driver(access(stand_in.address)).apply(
        [Work(SCOPE, [Change(None, rrset("www", "A", "192.0.2.1"))], [])]
    )
    assert isinstance(answer, Failed)
    assert "wants more than 100 values in another spelling" in str(answer.error)


def test_a_spelling_that_means_something_else_is_not_taken(stand_in: StandIn) -> None:
    said = "Record www.acme.example./A '192.0.2.1': Not in expected format (parsed as '192.0.2.66')"
    empty: Answer = (200, {}, json.dumps({**GOOD, "rrsets": []}).encode())
    stand_in.answers = [(200, {}, b'{"metadata": []}'), empty, (422, {}, json.dumps({"error": said}).encode())]
    change = Change(None, rrset("www", "A", "192.0.2.1"))
    (answer,) = powerdns.Driver(access(stand_in.address)).apply([Work(SCOPE, [change], [])])
    assert isinstance(answer, Failed)
    assert "PowerDNS refuses www A (customers/acme/dns/acme.example.yaml:3), and so the whole: " in str(answer.error)
    assert [method for method, *_ in stand_in.asked] == ["GET", "GET", "PATCH"]


# -- settings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        {"kind": "Slave"}, {"server": "../../x"}, {"soa_edit_api": ""}, {"api_key": "abc"}, {"nameservers": ["a b"]},
        {"connections": "0"}, {"address": "https://pdns.example"},
    ],
)  # fmt: skip
def test_settings_are_strict(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        powerdns.Settings.model_validate(said)


def test_several_zones_are_read_at_once_but_never_more_than_the_settings_allow(stand_in: StandIn) -> None:
    stand_in.seconds = 0.02
    stand_in.answers = [(200, {}, json.dumps(GOOD).encode())]
    list(powerdns.Reader(access(stand_in.address, connections="3")).read([SCOPE] * 12, {}))
    assert stand_in.most_at_once == 3
