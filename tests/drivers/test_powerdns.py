"""PowerDNS: the contract against a real server, and what is particular about its API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mspctl.driver import Access
from mspctl.drivers import powerdns
from mspctl.kinds import dns as kind
from mspctl.resource import Id, Resource, Scope
from mspctl.secrets import Secrets
from tests.drivers.contract import DriverContract, Rig, Sample
from tests.servers import powerdns as servers
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
