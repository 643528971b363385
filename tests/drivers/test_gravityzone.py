"""GravityZone's stand-in, held to the contract; and what the vendor may answer."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from mspctl.driver import Access, Failed, Reading
from mspctl.drivers import gravityzone as driver
from mspctl.errors import TargetError
from mspctl.kinds import antivirus as kind
from mspctl.resource import Id, Resource, Scope
from mspctl.secrets import Secrets
from tests.conftest import ROOT
from tests.drivers.contract import DriverContract, Rig, Sample
from tests.drivers.workbench import Workbench
from tests.servers.gravityzone import INHERITED, KEY, GravityZone, gravityzone

CUSTOMERS = ("acme", "brenta", "ferri")
HOSTS = ("srv-1", "srv-2", "srv-3")


class GravityZoneRig(Rig):
    def __init__(self, server: GravityZone) -> None:
        self.server, self.key = server, KEY
        self.scopes = [Scope("bitdefender", "antivirus", name, name) for name in CUSTOMERS]
        for name in CUSTOMERS:
            server.add(f"group-of-{name}", *HOSTS)
        groups = {name: f"group-of-{name}" for name in CUSTOMERS}
        self.settings = driver.Settings.model_construct(groups=groups, calls=9999, assignments=9999, timeout=5)

    def access(self) -> Access:
        secrets = Secrets.given({"api_key": self.key.encode()})
        return Access("bitdefender", self.server.address, self.settings, secrets, ROOT)

    def reader(self) -> driver.Reader:
        return driver.Reader(self.access())

    def driver(self) -> driver.Driver:
        return driver.Driver(self.access())

    def by_hand(self, scope: Scope, id_: Id, resource: Resource | None) -> None:
        policy = str(resource.fields["policy"]) if resource else INHERITED
        self.server.give(f"group-of-{scope.name}-{id_.name}", policy)

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        address, self.server.address = self.server.address, "http://127.0.0.1:1/api"
        yield
        self.server.address = address

    @contextmanager
    def breaking(self, scope: Scope, after: int) -> Iterator[None]:
        if after:
            pytest.skip("assignments of one policy are one call")
        self.server.refused = f"group-of-{scope.name}"
        yield
        self.server.refused = ""

    @contextmanager
    def garbled(self, scope: Scope) -> Iterator[None]:
        endpoint = self.server.endpoints[f"group-of-{scope.name}-srv-1"]
        policy = endpoint.pop("policy")
        yield
        endpoint["policy"] = policy

    def shuffle(self, scope: Scope) -> None:
        self.server.endpoints = dict(reversed(self.server.endpoints.items()))

    def native(self, scope: Scope) -> object:
        return [(i, e["policy"]) for i, e in self.server.endpoints.items() if i.startswith(f"group-of-{scope.name}-")]


@pytest.fixture
def rig() -> Iterator[GravityZoneRig]:
    with gravityzone() as server:
        yield GravityZoneRig(server)


ONE, TWO, THREE = (kind.assignment(name, "Servers") for name in HOSTS)


class TestGravityZone(DriverContract):
    samples = (
        Sample(ONE, (kind.assignment("srv-1", "Strict"),)),
        Sample(TWO, (kind.assignment("srv-2", "Mail"),)),
        Sample(THREE, (kind.assignment("srv-3", "Strict"),)),
    )
    impossible = (
        (kind.assignment("srv-1", INHERITED), "Default policy is what every endpoint has"),
        (Resource(Id("dns.rrset", "www A"), {"policy": "x"}), "GravityZone cannot hold dns.rrset"),
    )
    makes_scopes = False


def read(rig: GravityZoneRig) -> Reading | Failed:
    (answer,) = rig.reader().read(rig.scopes[:1], {})
    return answer


def error(rig: GravityZoneRig) -> str:
    answer = read(rig)
    assert isinstance(answer, Failed), answer
    assert KEY not in str(answer.error)
    assert base64.b64encode(f"{KEY}:".encode()).decode() not in str(answer.error)
    return str(answer.error)


def test_endpoints_and_the_licence_are_told(rig: GravityZoneRig) -> None:
    endpoint = rig.server.endpoints["group-of-acme-srv-2"]
    endpoint["agent"] |= {"signatureOutdated": True, "licensed": 2}
    endpoint["malwareStatus"] = {}
    answer = read(rig)
    assert isinstance(answer, Reading)
    said = answer.facts
    assert said["endpoints"] == HOSTS
    assert (said["licence end"], said["licence seats"], said["licence used"]) == ("2027-05-31", 25, 2)
    assert (said["srv-1 signatures outdated"], said["srv-1 licensed"], said["srv-1 infected"]) == (False, True, False)
    assert (said["srv-2 signatures outdated"], said["srv-2 licensed"], said["srv-2 infected"]) == (True, False, True)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"getEndpointsList": {"items": "none"}}, "makes no sense"),
        ({"getEndpointsList": None}, "makes no sense"),
        ({"getLicenseInfo": {"expiryDate": "soon"}}, "what GravityZone answers about its licence cannot be read"),
        ({"getManagedEndpointDetails": 7}, "makes no sense"),
    ],
)
def test_nonsense_is_an_error_of_the_target(rig: GravityZoneRig, broken: dict[str, Any], said: str) -> None:
    rig.server.broken = broken
    assert said in error(rig)


def test_a_key_that_is_wrong(rig: GravityZoneRig) -> None:
    rig.key = "another"
    assert "does not take our key" in error(rig)


def test_a_customer_without_a_group(rig: GravityZoneRig) -> None:
    rig.settings = rig.settings.model_copy(update={"groups": {}})
    assert error(rig) == "targets.yaml does not say which group of GravityZone is acme (groups: …)"


def test_two_endpoints_of_one_name(rig: GravityZoneRig) -> None:
    rig.server.add("group-of-acme", "Srv-1.acme.local")
    assert "two endpoints srv-1" in error(rig)


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        (kind.assignment("srv-9", "Servers"), "GravityZone has no endpoint srv-9: its agent is not installed"),
        (kind.assignment("srv-1", "Nonsense"), "GravityZone has no policy Nonsense (make it in the Control Center)"),
    ],
)
def test_what_is_not_there_cannot_be_assigned(rig: GravityZoneRig, resource: Resource, said: str) -> None:
    bench = Workbench(lambda scope: rig.reader(), lambda scope: rig.driver(), approved=True)
    bench.declare(rig.scopes[0], resource)
    (end,) = bench.apply().unfinished
    assert said in end.error


def test_assignments_of_one_policy_are_one_call(rig: GravityZoneRig) -> None:
    bench = Workbench(lambda scope: rig.reader(), lambda scope: rig.driver(), approved=True)
    bench.declare(rig.scopes[0], ONE, TWO, THREE)
    bench.converge()
    assert rig.server.asked.count("assignPolicy") == 1


def test_an_error_is_in_the_vendors_words(rig: GravityZoneRig) -> None:
    reader = rig.reader()
    with pytest.raises(TargetError, match=r"refuses getManagedEndpointDetails: The endpoint x is not managed\."):
        reader._call("network", "getManagedEndpointDetails", {"endpointId": "x"})
    with pytest.raises(TargetError, match="refuses makeCoffee: Method not found"):
        reader._call("network", "makeCoffee", {})


def test_every_plan_says_that_it_met_no_tenant(rig: GravityZoneRig) -> None:
    bench = Workbench(lambda scope: rig.reader(), lambda scope: rig.driver(), approved=True)
    bench.declare(rig.scopes[0], replace(ONE))
    assert bench.plan()[rig.scopes[0]].untried == "never run on a tenant: GravityZone was a stand-in in all tests"
