"""Dynamic zones on real BIND and Knot: the contract, what is guarded, and what is said when something is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dns.message
import dns.name
import dns.rcode
import pytest

from mspctl.driver import Access
from mspctl.drivers import rfc2136
from mspctl.kinds import dns as kind
from mspctl.resource import Id, Resource, Scope
from mspctl.secrets import Secrets
from tests.drivers.contract import DriverContract, Rig, Sample
from tests.servers import dynamic
from tests.servers.dynamic import NAME_SERVERS, Bind, Dynamic, Knot
from tests.servers.name_servers import HOST
from tests.servers.relay import relay

ZONE = "acme.example"
ZONES = (ZONE, "brenta.example", "sala.example")
CATALOG = "catalog.invalid"
SCOPE = Scope("ns-1", "dns", ZONE, "acme")


def rrset(owner: str, rtype: str, *values: str, ttl: int = 3600) -> Resource:
    folded = [kind.fold_value(rtype, value, lambda name: f"{name}.{ZONE}.") for value in values]
    return kind.rrset(owner, rtype, ttl, folded, f"customers/acme/dns/{ZONE}.yaml:3")


def access(server: Dynamic, port: int = 0, secret: str = "", **settings: Any) -> Access:
    said = {"key": server.key.name.to_text(), "port": str(port or server.port), "timeout": "5", **settings}
    given = Secrets.given({"tsig": (secret or server.secret).encode()}, "ns-1")
    return Access("ns-1", HOST, rfc2136.Settings.model_validate(said), given, Path())


class ServerRig(Rig):
    def __init__(self, server: Dynamic, **settings: Any) -> None:
        self.server = server
        self.port = server.port
        self.settings = {"nameservers": [*NAME_SERVERS], "catalog": CATALOG, **settings}
        self.scopes = [Scope("ns-1", "dns", name, "acme") for name in ZONES]

    def reader(self) -> rfc2136.Reader:
        return rfc2136.Reader(access(self.server, self.port, **self.settings))

    def driver(self) -> rfc2136.Driver:
        return rfc2136.Driver(access(self.server, self.port, **self.settings))

    def by_hand(self, scope: Scope, id_: Id, resource: Resource | None) -> None:
        owner, rtype = kind.owner_type(id_)
        name = dns.name.from_text(kind.absolute(owner, scope.name))
        update = self.server.update(scope.name)
        update.delete(name, rtype)
        if resource is not None:
            update.add(name, kind.ttl_of(resource), *(kind.to_rdata(rtype, v) for v in kind.values_of(resource)))
        assert self.server.send(update) == dns.rcode.NOERROR

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        self.server.stop()
        yield
        self.server.start()

    @contextmanager
    def breaking(self, scope: Scope, after: int) -> Iterator[None]:
        self.server.may(scope.name, transfer=True, update=False)
        yield
        self.server.may(scope.name, transfer=True, update=True)

    @contextmanager
    def garbled(self, scope: Scope) -> Iterator[None]:
        name = dns.name.from_text(scope.name).to_wire()
        assert name is not None

        def cut(query: bytes, number: int, answer: bytes) -> bytes | None:
            return answer[: len(answer) // 2] if name in query else answer

        with relay(self.server.port, cut) as self.port:
            yield
        self.port = self.server.port

    def native(self, scope: Scope) -> object:
        return sorted(record.to_text() for record in self.server.records(scope.name))


def _zones(server: Dynamic) -> None:
    for zone in ZONES:
        server.add(zone)
    members = "".join(f"m{number}.zones PTR {zone}.\n" for number, zone in enumerate(ZONES))
    server.add(CATALOG, dynamic.bare(CATALOG, ["invalid."]) + f'version TXT "2"\n{members}')


@pytest.fixture(scope="module", params=[Bind, Knot])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dynamic]:
    made: Dynamic = request.param(tmp_path_factory.mktemp("server"))
    with dynamic.running(made):
        _zones(made)
        yield made


@pytest.fixture
def rig(server: Dynamic) -> ServerRig:
    for zone in ZONES:
        server.clear(zone)
    return ServerRig(server)


WWW, MX, TXT = (
    rrset("www", "A", "192.0.2.1", "192.0.2.2"),
    rrset("@", "MX", "10 mx1.msp.example."),
    rrset("@", "TXT", "v=spf1 -all"),
)


class TestRfc2136(DriverContract):
    samples = (
        Sample(WWW, [rrset("www", "A", "192.0.2.9"), rrset("www", "A", "192.0.2.1", "192.0.2.2", ttl=60)]),
        Sample(
            MX,
            [
                rrset("@", "MX", "20 mx1.msp.example.", "10 mx2.msp.example."),
                rrset("@", "MX", "10 mx1.msp.example.", ttl=0),
            ],
        ),
        Sample(TXT, [rrset("@", "TXT", "v=spf1 mx -all"), rrset("@", "TXT", "v=spf1 -all", ttl=2**31 - 1)]),
    )
    impossible = (
        (kind.rrset("@", "ALIAS", 300, ["cdn.example.net."], "dns.yaml:4"), "cannot hold ALIAS records .write A and"),
        (rrset("@", "CNAME", "elsewhere"), "a CNAME cannot stand at the zone's own name"),
        (Resource(Id("mail.mailbox", "paolo"), {"quota": 1}), "a name server cannot hold mail.mailbox"),
        (rrset("www", "CNAME", "a", "b"), "a name has one CNAME record, not 2"),
    )
    swap = (rrset("shop", "A", "192.0.2.7"), rrset("shop", "CNAME", "www"))
    many = tuple(rrset(f"host-{number}", "A", f"198.51.100.{number % 250}") for number in range(500))
    makes_scopes = False
