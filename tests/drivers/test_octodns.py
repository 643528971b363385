"""octoDNS's providers behind our contract: real BIND and PowerDNS, and a stand-in for what those two never do."""

from __future__ import annotations

import copy
import inspect
import logging
import sqlite3
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import dns.query
import dns.rdataset
import dns.update
import dns.zone
import pytest
from octodns.provider.base import BaseProvider
from octodns.record import Record, Update
from pydantic import ValidationError

from mspctl.driver import Access, Failed, Landed, Lists, Reading, Work
from mspctl.drivers import octodns
from mspctl.drivers.octodns import providers, records
from mspctl.errors import Stale, TargetError, Unreachable, Unsupported
from mspctl.kinds import dns as kind
from mspctl.resource import Cause, Change, Id, Resource, Scope
from mspctl.secrets import Given, Secrets, redact
from tests.conftest import ROOT, Run
from tests.drivers.contract import DriverContract, Rig, Sample
from tests.drivers.workbench import Workbench
from tests.servers import dynamic
from tests.servers.name_servers import HOST
from tests.servers.powerdns import PowerDNS, powerdns

# octodns-bind and octodns-powerdns still call what octoDNS 1.22 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ZONE = "acme.example"


def rrset(owner: str, rtype: str, *values: str, ttl: int = 3600) -> Resource:
    folded = [kind.fold_value(rtype, value, lambda name: f"{name}.{ZONE}.") for value in values]
    return kind.rrset(owner, rtype, ttl, folded, f"customers/acme/dns/{ZONE}.yaml:3")


def access(provider: str, address: str = "", options: Mapping[str, str] = {}, **secrets: str) -> Access:
    settings = octodns.Settings.model_validate({"provider": provider, "options": {**options}})
    names = {role: role.upper() for role in secrets}
    source = Given({role.upper(): value.encode() for role, value in secrets.items()})
    return Access("ns", address, settings, Secrets(names, [source], "ns"), Path())


class OctoRig(Rig):
    access: Access
    zones = (ZONE, "brenta.example", "0/25.2.0.192.in-addr.arpa")

    def __init__(self) -> None:
        self.scopes = [Scope("ns", "dns", name, "acme") for name in self.zones]

    def reader(self) -> octodns.Reader:
        return octodns.Reader(self.access)

    def driver(self) -> octodns.Driver:
        return octodns.Driver(self.access)


class BindRig(OctoRig):
    zones = (ZONE, "brenta.example", "2.0.192.in-addr.arpa")  # BIND takes no host whose name has a slash

    def __init__(self, server: dynamic.Bind, batch: int = 1000) -> None:
        super().__init__()
        self.server = server
        for scope in self.scopes:
            server.add(scope.name)
        options = {"port": str(server.port), "key_name": str(server.key.name), "update_batch_size": str(batch)}
        self.access = access("bind", HOST, options | {"key_algorithm": "hmac-sha256"}, key_secret=server.secret)

    def by_hand(self, scope: Scope, id_: Id, resource: Resource | None) -> None:
        owner, rtype = kind.owner_type(id_)
        update = self.server.update(scope.name)
        update.delete(owner, rtype)
        if resource is not None:
            rdatas = [kind.to_rdata(rtype, value) for value in kind.values_of(resource)]
            update.add(owner, dns.rdataset.from_rdata_list(kind.ttl_of(resource), rdatas))
        assert self.server.send(update) == 0

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        self.server.stop()
        yield
        self.server.start()

    @contextmanager
    def breaking(self, scope: Scope, after: int) -> Iterator[None]:
        """The server takes so many messages for the zone, and refuses what follows."""
        told = 0
        tcp = dns.query.tcp

        def refuse_later(message: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal told
            if isinstance(message, dns.update.UpdateMessage) and str(message.origin) == f"{scope.name}.":
                if told == after:
                    self.server.may(scope.name, transfer=True, update=False)
                told += 1
            return tcp(message, *args, **kwargs)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("dns.query.tcp", refuse_later)
            yield
        self.server.may(scope.name, transfer=True, update=True)

    @contextmanager
    def garbled(self, scope: Scope) -> Iterator[None]:
        self.server.may(scope.name, transfer=False, update=True)
        yield
        self.server.may(scope.name, transfer=True, update=True)

    def native(self, scope: Scope) -> object:
        keyring = {self.server.key.name: self.server.key}
        transfer = dns.query.xfr(HOST, scope.name, port=self.server.port, keyring=keyring)
        return dns.zone.from_xfr(transfer, check_origin=False).to_text()


class PowerRig(OctoRig):
    def __init__(self, server: PowerDNS) -> None:
        super().__init__()
        self.server = server
        self.access = access("powerdns", HOST, {"port": str(server.api_port)}, api_key=server.key)

    def by_hand(self, scope: Scope, id_: Id, resource: Resource | None) -> None:
        owner, rtype = kind.owner_type(id_)
        rr: dict[str, object] = {"name": kind.absolute(owner, scope.name), "type": rtype, "changetype": "DELETE"}
        if resource is not None:
            records = [{"content": kind.master_text(rtype, v)} for v in kind.values_of(resource)]
            rr |= {"changetype": "REPLACE", "ttl": kind.ttl_of(resource), "records": records}
        zone = self.server.zone(scope.name)["id"]
        self.server.call("PATCH", f"/zones/{zone}", {"rrsets": [rr]})

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        self.server.stop()
        yield
        self.server.start()

    @contextmanager
    def breaking(self, scope: Scope, after: int) -> Iterator[None]:
        """The server's database refuses the zone's records; a PATCH is one transaction, so none of it stays."""
        zone = f"(SELECT id FROM domains WHERE name = '{scope.name}')"  # noqa: S608
        refuse = f"WHEN NEW.domain_id = {zone} BEGIN SELECT RAISE(ABORT, 'full'); END"
        self._sql(f"CREATE TRIGGER breaking BEFORE INSERT ON records {refuse}")
        yield
        self._sql("DROP TRIGGER breaking")

    @contextmanager
    def garbled(self, scope: Scope) -> Iterator[None]:
        wrong = "SELECT id, 'x.' || name, 'MX', 'nonsense', 60 FROM domains WHERE name = ?"
        self._sql(f"INSERT INTO records (domain_id, name, type, content, ttl) {wrong}", scope.name)
        yield
        self._sql("DELETE FROM records WHERE content = 'nonsense'")

    def _sql(self, statement: str, *values: str) -> None:
        with closing(sqlite3.connect(self.server.folder / "pdns.sqlite", timeout=10)) as database, database:
            database.execute(statement, values)

    def native(self, scope: Scope) -> object:
        return self.server.zone(scope.name)


WWW, MX, TXT = (
    rrset("www", "A", "192.0.2.1", "192.0.2.2"),
    rrset("@", "MX", "10 mx1.example.net."),
    rrset("@", "TXT", "v=spf1 -all"),
)


class OctoContract(DriverContract):
    samples = (
        Sample(WWW, [rrset("www", "A", "192.0.2.9"), rrset("www", "A", "192.0.2.1", "192.0.2.2", ttl=60)]),
        Sample(
            MX,
            [
                rrset("@", "MX", "20 mx1.example.net.", "10 mx2.example.net."),
                rrset("@", "MX", "10 mx1.example.net.", ttl=0),
            ],
        ),
        Sample(TXT, [rrset("@", "TXT", "v=spf1 mx -all", "a; b"), rrset("@", "TXT", "v=spf1 -all", ttl=86400)]),
    )
    impossible = (
        (rrset("www", "TYPE65400", r"\# 1 00"), "has no TYPE65400 records"),
        (rrset("@", "CNAME", "elsewhere"), "root CNAME not allowed"),
        (Resource(Id("mail.mailbox", "paolo"), {"quota": 1}), "cannot hold mail.mailbox"),
        (rrset("www", "CNAME", "a", "b"), "exactly one RDATA value"),
        (rrset("www", "TXT", 'say "yes"'), "do not agree"),
        (rrset("www", "TXT", "back\\slash"), "do not agree"),
        (rrset("www", "TXT", "perché"), "non ASCII"),
    )
    swap = (rrset("shop", "A", "192.0.2.7"), rrset("shop", "CNAME", "www"))
    many = tuple(rrset(f"host-{number}", "A", f"198.51.100.{number % 250}") for number in range(500))


@pytest.fixture(scope="module")
def bind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dynamic.Bind]:
    with dynamic.running(dynamic.Bind(tmp_path_factory.mktemp("bind"))) as server:
        yield server


class TestBind(OctoContract):
    @pytest.fixture
    def rig(self, bind: dynamic.Bind) -> Iterator[Rig]:
        rig = BindRig(bind, batch=1)  # a message for each change, so that half of them can fail
        yield rig
        for scope in rig.scopes:
            bind.remove(scope.name)


class TestPowerDNS(OctoContract):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Iterator[Rig]:
        with powerdns(tmp_path) as server:
            yield PowerRig(server)


def refused(rig: OctoRig, scope: Scope | None = None) -> TargetError:
    (answer,) = rig.reader().read([scope or rig.scopes[0]], {})
    assert isinstance(answer, Failed), answer
    return answer.error


def held(rig: OctoRig, *known: Resource) -> dict[Id, Resource]:
    (answer,) = rig.reader().read([rig.scopes[0]], {rig.scopes[0]: known})
    assert isinstance(answer, Reading), answer
    return {r.id: r for r in answer.resources}


def bench_of(rig: OctoRig) -> Workbench:
    return Workbench(lambda scope: rig.reader(), lambda scope: rig.driver(), approved=True)


@pytest.fixture
def at_bind(bind: dynamic.Bind) -> Iterator[BindRig]:
    rig = BindRig(bind)
    yield rig
    for scope in rig.scopes:
        bind.remove(scope.name)


@pytest.fixture
def at_powerdns(tmp_path: Path) -> Iterator[PowerRig]:
    with powerdns(tmp_path) as server:
        yield PowerRig(server)


# -- BIND and PowerDNS ----------------------------------------------------------------------------------------

FINGERPRINT = "123456789abcdef67890123456789abcdef67890123456789abcdef123456789"
EVERY_TYPE = [
    rrset("a", "A", "192.0.2.1", "192.0.2.2"),
    rrset("*.w", "AAAA", "2001:db8::1"),
    rrset("@", "CAA", '0 issue "ca.example.net"', '0 issuewild ";"'),
    rrset("c", "CNAME", "x.example.net."),
    rrset("sub", "NS", "ns.example.net."),
    rrset("sub", "DS", f"60485 13 2 {FINGERPRINT}"),
    rrset("h", "HTTPS", '1 . alpn="h2,h3"'),
    rrset("@", "MX", "10 mx.example.net."),
    rrset("nomail", "MX", "0 ."),
    rrset("n", "NAPTR", '100 10 "S" "SIP+D2U" "" _sip._udp.example.com.'),
    rrset("p", "PTR", "x.example.net.", "y.example.net."),
    rrset("_sip._tcp", "SRV", "10 5 5060 sip.example.com."),
    rrset("s", "SSHFP", f"4 2 {FINGERPRINT}"),
    rrset("v", "SVCB", '1 svc.example.com. port="8443"'),
    rrset("_443._tcp", "TLSA", f"3 1 1 {FINGERPRINT}"),
    rrset("t", "TXT", "v=DMARC1; p=none", "x" * 300 + "; y", " lead", "a=b;;c", "it's", "a  b", "", ttl=0),
]


@pytest.mark.parametrize("where", ["at_bind", "at_powerdns"])
def test_every_type_comes_back_as_it_was_written(where: str, request: pytest.FixtureRequest) -> None:
    rig: OctoRig = request.getfixturevalue(where)
    bench = bench_of(rig)
    bench.declare(rig.scopes[0], *EVERY_TYPE)
    bench.converge()
    assert {i: r.fields for i, r in held(rig).items()} == {r.id: r.fields for r in EVERY_TYPE}


def test_name_servers_of_the_provider_are_its_own_until_git_names_them(at_powerdns: PowerRig) -> None:
    rig, scope = at_powerdns, at_powerdns.scopes[0]
    theirs, ours = rrset("@", "NS", "ns1.example.net."), rrset("@", "NS", "ns7.example.net.")
    bench = bench_of(rig)
    bench.declare(scope, WWW)
    bench.converge()
    rig.by_hand(scope, theirs.id, theirs)
    assert held(rig).keys() == {WWW.id}
    bench.declare(scope, WWW, ours)
    assert [s.change.cause for s in bench.plan()[scope].steps] == [Cause.TAKE_OVER]
    bench.converge()
    assert held(rig, ours)[ours.id].fields == ours.fields
    bench.declare(scope, WWW)
    assert [(s.change.verb, s.change.id) for s in bench.plan()[scope].steps] == [("delete", ours.id)]
    bench.converge()
    assert "ns7.example.net." in str(rig.native(scope))  # a zone needs them, whoever names them
    assert bench.plan()[scope].left == []


def test_zones_that_bind_does_not_have_cannot_be_made(at_bind: BindRig) -> None:
    error = refused(at_bind, Scope("ns", "dns", "missing.example"))
    assert str(error) == "the server has no zone missing.example, and octoDNS’s bind cannot make it (add it there)"
    assert not isinstance(error, Unreachable)


def test_what_bind_passes_over_in_silence_has_not_landed(at_bind: BindRig) -> None:
    scope, theirs = at_bind.scopes[0], rrset("www", "TXT", "somebody else's")
    at_bind.by_hand(scope, theirs.id, theirs)
    bench = bench_of(at_bind)
    bench.declare(scope, rrset("www", "CNAME", "elsewhere.example."))
    (end,) = bench.apply().unfinished
    assert end.landed == []
    assert end.error == "the target said yes, but reading back shows otherwise: www CNAME"


def test_a_wrong_key_is_a_refusal(at_bind: BindRig, at_powerdns: PowerRig) -> None:
    for rig, role in (at_bind, "key_secret"), (at_powerdns, "api_key"):
        rig.access = replace(rig.access, secrets=Secrets({role: "WRONG"}, [Given({"WRONG": b"c2VjcmV0"})]))
        error = refused(rig)
        assert not isinstance(error, Unreachable)
        assert str(error).startswith("octoDNS, for ")
        assert "\n" not in str(error)
        if isinstance(rig.reader(), Lists):
            with pytest.raises(TargetError, match="octoDNS, for powerdns: 401"):
                rig.reader().scopes()


def test_what_yaml_cannot_say_is_shown_and_never_written(at_powerdns: PowerRig) -> None:
    rig, scope = at_powerdns, at_powerdns.scopes[0]
    bench = bench_of(rig)
    bench.declare(scope, WWW)
    bench.converge()
    said = {"own": ("LUA", "A \"ifportup(443, {'192.0.2.1'})\""), "text": ("TXT", r'"say \"yes\" or C:\\"')}
    for owner, (rtype, content) in said.items():
        rr = {"name": f"{owner}.{ZONE}.", "type": rtype, "changetype": "REPLACE", "ttl": 60}
        body = {"rrsets": [rr | {"records": [{"content": content}]}]}
        rig.server.call("PATCH", f"/zones/{rig.server.zone(ZONE)['id']}", body)
    own = {"own PowerDnsProvider/LUA (octoDNS)", "text TXT (octoDNS)"}
    assert {i.name for i in held(rig) if i.kind == records.OWN} == own
    bench.declare(scope, rrset("www", "A", "192.0.2.77"), TXT)
    bench.converge()
    assert bench.causes(scope) == dict.fromkeys(own, Cause.UNMANAGED)
    kept = {rr["type"]: rr["records"][0]["content"] for rr in rig.server.zone(ZONE)["rrsets"]}
    assert (kept["LUA"], kept["TXT"]) == (said["own"][1], said["text"][1]) or kept["LUA"] == said["own"][1]
    bench.declare(scope, rrset("www", "A", "192.0.2.77"), TXT, rrset("text", "TXT", "plain"))
    (unfinished,) = bench.apply().unfinished
    assert "text TXT is there in a form that only octoDNS can say; it is left as it is" in unfinished.error


@pytest.mark.parametrize("where", ["at_bind", "at_powerdns"])
def test_two_writers_at_once(where: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Between reading again and writing somebody else may write: octoDNS has no compare-and-swap, and the last one wins.

    What must hold: who says Stale has written nothing, and what is there is what one of the others wrote.
    """
    rig: OctoRig = request.getfixturevalue(where)
    scope, both = rig.scopes[0], (rig.driver(), rig.driver())
    bench = bench_of(rig)
    bench.declare(scope, WWW)
    bench.converge()
    read_at: dict[int, float] = {}
    windows, lost = [], 0
    fresh = octodns.Driver._check_fresh

    def check(*given: Any) -> None:
        read_at[threading.get_ident()] = time.perf_counter()
        fresh(*given)

    monkeypatch.setattr(octodns.Driver, "_check_fresh", check)

    def write(driver: octodns.Driver, work: Work) -> Landed | Failed:
        (answer,) = driver.apply([work])
        windows.append(time.perf_counter() - read_at[threading.get_ident()])
        return answer

    with ThreadPoolExecutor(2) as pool:
        for number in range(50):
            before = held(rig)[WWW.id]
            wanted = [rrset("www", "A", f"198.51.{writer}.{number}") for writer in (100, 101)]
            work = [Work(scope, [Change(before, resource)], [resource]) for resource in wanted]
            ends = [*pool.map(write, both, work)]
            landed = [resource.fields for resource, end in zip(wanted, ends, strict=True) if isinstance(end, Landed)]
            assert all(isinstance(end, Landed | Failed) for end in ends)
            assert held(rig)[WWW.id].fields in (landed or [before.fields])
            lost += len(landed) == 2
    middle, longest = 1000 * statistics.median(windows), 1000 * max(windows)
    text = "%s: %d of 50 overwritten, window %.1f ms, at most %.1f ms"  # shown by --log-cli-level=INFO
    logging.getLogger(__name__).info(text, where, lost, middle, longest)


# -- a stand-in provider --------------------------------------------------------------------------------------


class StandIn(BaseProvider):  # type: ignore[misc]
    """In memory. Applies change by change, as most providers do, and fails when it is told to."""

    SUPPORTS = frozenset({"A", "AAAA", "CNAME", "DS", "NS", "PTR", "TXT"})
    SUPPORTS_GEO = True
    SUPPORTS_DYNAMIC = True

    zones: ClassVar[dict[str, dict[tuple[str, str], dict[str, Any]]]] = {}
    fails_after: ClassVar[int | None] = None
    plans: ClassVar[list[Any]] = []
    opened: ClassVar[list[StandIn]] = []

    def __init__(self, id: str, token: str, account: str = "", retries: int = 0, verify: bool = True) -> None:
        self.log = logging.getLogger(f"StandIn[{id}]")
        super().__init__(id)
        self.token = token
        self.given = (account, retries, verify)
        self.busy = threading.Lock()
        self.cache: dict[str, Any] = {}
        self.opened.append(self)

    def list_zones(self) -> list[str]:
        return [*self.zones]

    def populate(self, zone: Any, target: bool = False, lenient: bool = False) -> bool:
        assert self.busy.acquire(blocking=False), "used by two threads at once"
        try:
            time.sleep(0.001)
            return self.read(zone, lenient)
        finally:
            self.busy.release()

    def read(self, zone: Any, lenient: bool) -> bool:
        self.log.warning("reading %s with token %s", zone.name, self.token)
        if zone.name == "broken.example.":
            raise Exception(f"bad\nanswer to {self.token}")  # as bare as some are
        records = self.cache.setdefault(zone.name, copy.deepcopy(self.zones.get(zone.name)))
        for (name, rtype), data in (records or {}).items():
            zone.add_record(Record.new(zone, name, {**data, "type": rtype}, source=self, lenient=lenient))
        return records is not None

    def _process_desired_zone(self, desired: Any) -> Any:
        nses = {r.name for r in desired.records if r._type == "NS"}
        for record in desired.records:
            if record._type == "DS" and record.name not in nses:
                self.supports_warn_or_except(f"DS record {record.fqdn} has no NS beside it", "omitting it")
            if record.name == "dropped":
                desired.remove_record(record)
        return super()._process_desired_zone(desired)

    def _include_change(self, change: Any) -> bool:
        return not (isinstance(change, Update) and change.new.octodns.get("standin", {}).get("frozen"))

    def _apply(self, plan: Any) -> None:
        self.plans.append(plan)
        zone = self.zones.setdefault(plan.desired.name, {})
        for number, change in enumerate(plan.changes):
            if number == self.fails_after:
                raise Exception("quota")
            zone.pop((change.record.name, change.record._type), None)
            if change.new:
                zone[change.record.name, change.record._type] = change.new.data


class StandInRig(OctoRig):
    zones = (ZONE, "brenta.example", "cima.example")

    def __init__(self) -> None:
        super().__init__()
        self.access = access("standin", token="t0ken-of-the-stand-in")

    @property
    def server(self) -> dict[tuple[str, str], dict[str, Any]]:
        return StandIn.zones[f"{ZONE}."]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandInRig:
    table = providers.Provider("StandIn", "account retries:int verify:bool", "token!", min_ttl=120)
    monkeypatch.setitem(providers.PROVIDERS, "standin", table)
    monkeypatch.setitem(sys.modules, "octodns_standin", SimpleNamespace(StandIn=StandIn))
    for name, value in ("zones", {f"{ZONE}.": {}}), ("plans", []), ("opened", []), ("fails_after", None):
        monkeypatch.setattr(StandIn, name, value)
    return StandInRig()


GEO = {"ttl": 60, "values": ["192.0.2.1"], "geo": {"NA": ["192.0.2.2"]}}
POOLS = {"one": {"values": [{"value": "192.0.2.3"}]}, "two": {"values": [{"value": "192.0.2.4"}]}}
RULES = [{"geos": ["EU"], "pool": "one"}, {"pool": "two"}]
DYNAMIC = {"ttl": 60, "values": ["192.0.2.1"], "dynamic": {"pools": POOLS, "rules": RULES}}


def test_dynamic_and_geo_records_are_never_flattened(stand_in: StandInRig) -> None:
    scope, kept = stand_in.scopes[0], {("dyn", "A"): DYNAMIC, ("geo", "A"): GEO}
    stand_in.server.update(copy.deepcopy(kept))
    bench = bench_of(stand_in)
    bench.declare(scope, WWW)
    bench.converge()
    bench.declare(scope, rrset("www", "A", "192.0.2.9"))
    bench.converge()
    own = {"dyn A (octoDNS)": Cause.UNMANAGED, "geo A (octoDNS)": Cause.UNMANAGED}
    assert bench.causes(scope) == own
    assert {key: stand_in.server[key] for key in kept} == kept
    assert [{c.record.name for c in plan.changes} for plan in StandIn.plans] == [{"www"}, {"www"}]
    assert all({r.name for r in plan.desired.records} == {"dyn", "geo", "www"} for plan in StandIn.plans)
    for declared in rrset("dyn", "A", "192.0.2.1", ttl=120), rrset("geo", "A", "192.0.2.66"):
        bench.declare(scope, rrset("www", "A", "192.0.2.9"), declared)
        (unfinished,) = bench.apply().unfinished
        assert "is there in a form that only octoDNS can say" in unfinished.error
    assert {key: stand_in.server[key] for key in kept} == kept
    change = Change(next(r for i, r in held(stand_in).items() if i.name == "dyn A (octoDNS)"), None)
    (answer,) = stand_in.driver().apply([Work(scope, [change], [])])
    assert isinstance(answer, Failed)
    assert str(answer.error) == "octoDNS’s standin leaves as it is: dyn A (octoDNS)"
    assert {key: stand_in.server[key] for key in kept} == kept


def test_a_record_that_makes_no_sense_costs_only_itself(stand_in: StandInRig) -> None:
    stand_in.server["www", "A"] = {"ttl": 300, "value": "192.0.2.1"}
    stand_in.server["empty", "A"] = {"ttl": 300, "values": []}
    stand_in.server["a b\x1b[2J", "A"] = {"ttl": 300, "value": "192.0.2.1"}
    assert {i.name for i in held(stand_in)} == {"www A", "empty A (octoDNS)", "a b?[2j A (octoDNS)"}


def test_flags_of_a_provider_outlive_a_change_of_the_values(stand_in: StandInRig) -> None:
    scope, flags = stand_in.scopes[0], {"standin": {"proxied": True}}
    stand_in.server["www", "A"] = {"ttl": 300, "value": "192.0.2.1", "octodns": flags}
    bench = bench_of(stand_in)
    for address in "192.0.2.1", "192.0.2.2":
        bench.declare(scope, rrset("www", "A", address, ttl=300))
        bench.converge()
        assert stand_in.server["www", "A"] == {"ttl": 300, "value": address, "octodns": flags}


def test_what_a_provider_takes_for_no_change_did_not_happen(stand_in: StandInRig) -> None:
    scope, flags = stand_in.scopes[0], {"standin": {"frozen": True}}
    stand_in.server["www", "A"] = {"ttl": 300, "value": "192.0.2.1", "octodns": flags}
    bench = bench_of(stand_in)
    bench.declare(scope, rrset("www", "A", "192.0.2.1", ttl=900), TXT)
    outcome = bench.apply()
    (end,) = outcome.unfinished
    assert [c.id for c in end.landed] == [TXT.id]
    assert end.error == "octoDNS’s standin leaves as it is: www A"


def test_what_a_provider_drops_is_not_taken_for_a_delete(stand_in: StandInRig) -> None:
    stand_in.server["dropped", "A"] = {"ttl": 300, "value": "192.0.2.1"}
    before, after = (rrset("dropped", "A", "192.0.2.1", ttl=300), rrset("dropped", "A", "192.0.2.2", ttl=300))
    (answer,) = stand_in.driver().apply([Work(stand_in.scopes[0], [Change(before, after)], [after])])
    assert isinstance(answer, Failed)
    assert stand_in.server["dropped", "A"] == {"ttl": 300, "value": "192.0.2.1"}
    with pytest.raises(Unsupported, match="would make something else of it"):
        stand_in.reader().accept(after)


@pytest.mark.parametrize("made", [0, 1, 2])
def test_a_provider_that_fails_half_way_is_told_exactly(
    stand_in: StandInRig, monkeypatch: pytest.MonkeyPatch, made: int
) -> None:
    scope, wanted = stand_in.scopes[0], [rrset(f"host-{n}", "A", f"192.0.2.{n}") for n in range(3)]
    bench = bench_of(stand_in)
    bench.declare(scope, *wanted)
    monkeypatch.setattr(StandIn, "fails_after", made)
    (end,) = bench.apply().unfinished
    assert [c.id for c in end.landed] == [r.id for r in wanted[:made]]
    assert end.error == "octoDNS, for standin: quota"
    monkeypatch.setattr(StandIn, "fails_after", None)
    assert bench.converge().landed == 3 - made


def test_each_apply_reads_past_what_was_cached(stand_in: StandInRig) -> None:
    scope, driver = stand_in.scopes[0], stand_in.driver()
    assert [r.resources for r in driver.read([scope], {}) if isinstance(r, Reading)] == [[]]
    stand_in.server["www", "A"] = {"ttl": 3600, "value": "203.0.113.1"}
    (end,) = driver.apply([Work(scope, [Change(None, WWW)], [WWW])])
    assert isinstance(end, Failed)
    assert isinstance(end.error, Stale)


def test_limits_of_a_provider_are_told_before_it_is_asked(stand_in: StandInRig) -> None:
    reader, delegation = stand_in.reader(), rrset("sub", "DS", f"60485 13 2 {FINGERPRINT}")
    for resource, why in (
        (rrset("p", "PTR", "a.example.", "b.example."), "multi-value PTR records not supported for p$"),
        (rrset("@", "NS", "ns.example.net."), "root NS record not supported for the zone$"),
        (rrset("@", "MX", "10 mx.example."), "octoDNS’s standin has no MX records"),
    ):
        with pytest.raises(Unsupported, match=why):
            reader.accept(resource)
    assert reader.accept(delegation) is delegation
    low = rrset("www", "A", "192.0.2.1", ttl=60)
    taken = reader.accept(low)
    assert (taken.fields["ttl"], taken.source) == (120, low.source)
    assert reader.accept(taken) is taken
    assert StandIn.opened == []


def test_limits_that_only_the_zone_shows_are_told_when_it_is_written(stand_in: StandInRig) -> None:
    scope, delegation = stand_in.scopes[0], rrset("sub", "DS", f"60485 13 2 {FINGERPRINT}")
    bench = bench_of(stand_in)
    bench.declare(scope, delegation, WWW)
    (end,) = bench.apply().unfinished
    assert end.error == f"octoDNS, for standin: ns: DS record sub.{ZONE}. has no NS beside it"
    stand_in.server["sub", "NS"] = {"ttl": 3600, "value": "ns.example.net."}
    bench.converge()


def test_zones_side_by_side_each_with_a_provider_of_its_own(stand_in: StandInRig) -> None:
    names = [f"zone-{number}.example" for number in range(40)]
    StandIn.zones |= {f"{name}.": {("www", "A"): {"ttl": 300, "value": "192.0.2.1"}} for name in names}
    scopes = [Scope("ns", "dns", name) for name in (*names, "broken.example", "absent.example")]
    answers = {a.scope.name: a for a in stand_in.reader().read(scopes, {})}
    assert len(StandIn.opened) == 4
    assert all(isinstance(answers[name], Reading) for name in names)
    assert isinstance(answers["broken.example"], Failed)
    absent = answers["absent.example"]
    assert isinstance(absent, Reading)
    assert not absent.exists


def test_all_that_is_logged_is_ours_and_redacted(stand_in: StandInRig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    bench = bench_of(stand_in)
    bench.declare(stand_in.scopes[0], WWW)
    bench.converge()
    error = refused(stand_in, Scope("ns", "dns", "broken.example"))
    assert redact(str(error)) == "octoDNS, for standin: bad"
    assert "reading acme.example. with token <secret TOKEN>" in caplog.text
    assert "t0ken" not in caplog.text
    assert {r.name for r in caplog.records if r.levelno >= logging.INFO} <= {
        "mspctl.drivers.octodns.ns",
        "mspctl.apply",
        "mspctl.plan",
    }


@pytest.mark.parametrize("where", ["at_bind", "at_powerdns"])
def test_no_secret_in_any_log(
    where: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    rig: OctoRig = request.getfixturevalue(where)
    bench = bench_of(rig)
    bench.declare(rig.scopes[0], *EVERY_TYPE)
    bench.converge()
    refused_ = rig.reader().read([Scope("ns", "dns", "bad zone")], {})
    assert [type(a) for a in refused_] == [Failed]
    (role,) = rig.access.secrets
    secret = rig.access.secrets[role].reveal_text()
    assert "populate" in caplog.text
    assert secret not in caplog.text
    assert all(secret not in text for text in capfd.readouterr())


def test_what_is_logged_with_nobody_listening_is_not_printed(
    stand_in: StandInRig, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    stand_in.reader()
    logging.getLogger("urllib3.connectionpool").warning("Retrying with %s", "t0ken-of-the-stand-in")
    logging.getLogger("mspctl.locks").warning("this one is for you")
    assert capfd.readouterr().err == "this one is for you\n"


# -- settings and packages ------------------------------------------------------------------------------------


def problem(**said: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        octodns.Settings.model_validate(said)
    (error,) = caught.value.errors()
    return f"{'.'.join(map(str, error['loc']))}: {error['msg'].removeprefix('Value error, ')}"


def test_options_are_those_of_the_provider_and_have_its_types() -> None:
    said = {"provider": "bind", "options": {"port": "5300", "key_name": "123"}, "at_once": "1"}
    settings = octodns.Settings.model_validate(said)
    assert (settings.options, settings.at_once) == ({"port": 5300, "key_name": "123"}, 1)
    private = octodns.Settings.model_validate({"provider": "route53", "options": {"private": "true"}})
    assert private.options == {"private": True}
    assert problem(provider="cloudfare").startswith("provider: there is no provider 'cloudfare' (there are: azure, ")
    assert problem(provider="gandi", options={"api_url": "x"}) == (
        "options: gandi has no option 'api_url' (it has: none)"
    )
    assert problem(provider="bind", options={"port": "dns"}) == "options: port: 'dns' is not a whole number"
    assert problem(provider="dnsimple") == "options: dnsimple needs account"
    assert problem(provider="gandi", at_once="99") == "at_once: 99 is not from 1 to 16"
    assert problem(provider="gandi", **{"class": "os.system"}) == "class: Extra inputs are not permitted"


def test_secrets_and_addresses_are_those_of_the_provider() -> None:
    for given, why in (
        (access("powerdns", HOST), "powerdns needs secrets of ns: api_key"),
        (access("powerdns", "", api_key="x"), "powerdns needs the address of ns"),
    ):
        with pytest.raises(TargetError, match=why):
            octodns.Reader(given)


def test_secrets_of_other_facets_are_none_of_its_business(stand_in: StandInRig) -> None:
    stand_in.access = access("standin", token="t0ken-of-the-stand-in", mail_password="never asked for")
    assert held(stand_in) == {}


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("octodns_powerdns", r"octodns_powerdns.* \(pip install octodns-powerdns\)$"),
        ("octodns.record", r"octodns.record.* \(pip install 'mspctl\[octodns\]'\)$"),
    ],
)
def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, missing: str, said: str) -> None:
    providers.provider_class.cache_clear()
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(TargetError, match=said):
        octodns.Reader(access("powerdns", HOST, api_key="x"))


def test_a_secret_that_must_be_a_file_never_lies_on_a_disk() -> None:
    with octodns._file("{}") as path:
        assert not Path(path).resolve().is_file()
        assert Path(path).read_text() == "{}"


@pytest.mark.parametrize("name", providers.PROVIDERS)
def test_each_provider_of_the_table_takes_what_the_table_says(name: str) -> None:
    """For those that are installed: the class is there, and its arguments have these names."""
    module = pytest.importorskip(f"octodns_{name}", reason=f"octodns-{name} is not installed")
    table = providers.PROVIDERS[name]
    accepted = {
        parameter for cls in getattr(module, table.cls).__mro__ for parameter in inspect.signature(cls).parameters
    }
    asked = {*providers.spec(table.options), *providers.spec(table.secrets), *(["host"] if table.host else [])}
    assert asked <= accepted | {"backend", "token"}  # which some take as keywords that have no name there


def test_each_provider_is_in_the_docs() -> None:
    docs = (ROOT / "docs/drivers.md").read_text()
    rows = {row.split("`")[1]: row for row in docs.splitlines() if row.startswith("| `")}
    for name, provider in providers.PROVIDERS.items():
        named = [
            *providers.spec(provider.options),
            *providers.spec(provider.secrets),
        ]
        assert [word for word in named if f"`{word}`" not in rows[name]] == []


# -- the command line -----------------------------------------------------------------------------------------


def test_import_plan_and_adopt(
    at_powerdns: PowerRig, run: Run, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = at_powerdns.server
    bench = bench_of(at_powerdns)
    bench.declare(at_powerdns.scopes[0], WWW, TXT)
    bench.converge()
    zone = f"/zones/{server.zone(ZONE)['id']}"
    for rtype, owner, content in ("LUA", "own", 'A "ifportup(443)"'), ("SRV", "sip", "1 1 5060 sip.example.net."):
        rr = {"name": f"{owner}.{ZONE}.", "type": rtype, "changetype": "REPLACE", "ttl": 60}
        server.call("PATCH", zone, {"rrsets": [rr | {"records": [{"content": content}]}]})
    options = f"{{port: {server.api_port}}}"
    facet = f"{{driver: octodns, provider: powerdns, options: {options}}}"
    cloud = f"  cloud:\n    address: {HOST}\n    secrets: {{api_key: CLOUD_KEY}}\n    facets: {{dns: {facet}}}\n"
    targets = repository / "inventory/targets.yaml"
    targets.write_text(targets.read_text() + cloud)
    monkeypatch.setenv("MSPCTL_SECRET_CLOUD_KEY", server.key)
    imported = run("import", "--from", "cloud", "-c", "neu")
    assert imported.code == 3
    assert "own PowerDnsProvider/LUA (octoDNS): is nothing that YAML can say" in imported.err
    assert imported.out.splitlines()[0] == "in:  1 files, 4 RRsets, 3 values"
    assert "sip SRV (octoDNS): is nothing that YAML can say" in imported.err
    planned = run("plan", "-c", "neu")
    assert (planned.code, planned.err) == (0, "")
    assert "Nothing to do" in planned.out
    drift = run("drift", "-c", "neu")
    assert "own PowerDnsProvider/LUA (octoDNS), sip SRV (octoDNS): live, not in Git; left alone" in drift.out
    assert run("adopt", "neu", "--unmanaged").out == "Nothing to adopt.\n"
    assert run("adopt", "neu", "dns/acme.example/sip SRV (octoDNS)").out == "Nothing to adopt.\n"
