"""`mspctl:antivirus:Console` over the provider's wire, at a stand-in for GravityZone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.provider.wire import CUSTOMER, Json, Wire, approve, bare, plain, provider, refused
from tests.servers.gravityzone import INHERITED, KEY, GravityZone, gravityzone

TOKEN = "mspctl:antivirus:Console"
GROUP = "group-of-brenta"
TARGETS = """\
targets:
  bitdefender:
    address: {address}
    secrets: {{api_key: GRAVITYZONE}}
    facets:
      antivirus: {{driver: gravityzone, groups: {{{customer}: {group}}}, calls: 9999, assignments: 9999, timeout: 5s}}
"""


@pytest.fixture
def console() -> Iterator[GravityZone]:
    with gravityzone() as server:
        server.add(GROUP, "srv-1", "srv-2", "srv-3")
        yield server


@pytest.fixture
def estate(repository: Path, console: GravityZone) -> Path:
    return bare(repository, TARGETS.format(address=console.address, customer=CUSTOMER, group=GROUP))


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    nowhere = tmp_path_factory.mktemp("nowhere")
    with provider(nowhere, configured=False, env={"MSPCTL_SECRET_GRAVITYZONE": KEY}) as made:
        yield made


@pytest.fixture
def wire(process: Wire, estate: Path) -> Wire:
    process.configure(estate)
    return process


def console_of(policies: dict[str, str]) -> Json:
    resources = {"assignment": {name: {"policy": policy} for name, policy in policies.items()}}
    return {"customer": CUSTOMER, "target": "bitdefender", "name": CUSTOMER, "resources": resources}


def has(console: GravityZone, name: str) -> object:
    return console.policies[console.endpoints[f"{GROUP}-{name}"]["policy"]["id"]]


def test_the_life_of_a_console(wire: Wire, estate: Path, console: GravityZone) -> None:
    first = wire.checked(TOKEN, console_of({"srv-1": "Servers", "srv-2": "Mail"}))
    id_, state = wire.create(TOKEN, first)
    assert id_ == f"bitdefender/{CUSTOMER}"
    assert (has(console, "srv-1"), has(console, "srv-2")) == ("Servers", "Mail")
    assert wire.details(TOKEN, state, first, first) == {}

    console.give(f"{GROUP}-srv-1", "Strict")  # somebody in the Control Center
    drifted = plain(wire.read(TOKEN, id_, state, first).properties)
    assert wire.details(TOKEN, drifted, first, first) == {'resources.assignment["srv-1"].policy': "UPDATE"}
    second = wire.checked(TOKEN, console_of({"srv-1": "Servers"}))
    assert wire.details(TOKEN, drifted, second, first)['resources.assignment["srv-2"]'] == "DELETE"
    state = wire.update(TOKEN, id_, drifted, second, first)
    assert (has(console, "srv-1"), has(console, "srv-2")) == ("Servers", INHERITED)

    with refused() as said:
        wire.delete(TOKEN, id_, state, second)
    assert "is kept until an approval names it" in said[0].text
    approve(estate, f"antivirus/{CUSTOMER}", "bitdefender")
    wire.configure(estate)
    wire.delete(TOKEN, id_, state, second)
    assert has(console, "srv-1") == INHERITED


def test_half_of_it_is_told_and_tried_again(wire: Wire, console: GravityZone) -> None:
    wanted = wire.checked(TOKEN, console_of({"srv-1": "Servers", "srv-2": "Mail"}))
    console.refused = f"{GROUP}-srv-2"
    with refused() as said:
        wire.create(TOKEN, wanted)
    console.refused = ""
    partial = said[0].partial
    assert partial is not None
    assert KEY not in said[0].text
    state = plain(partial.properties)
    assert set(state["recorded"]["assignment"]) == {"srv-1"}
    state = wire.update(TOKEN, partial.id, state, wanted, wanted)
    assert has(console, "srv-2") == "Mail"
    assert "recorded" not in state


def test_what_is_wrong_is_told_before_anything_is_changed(wire: Wire, console: GravityZone) -> None:
    bad = console_of({"srv-1": "Servers"})
    bad["resources"]["assignment"] |= {"srv 2": {"policy": "Mail"}, "srv-3": {"policy": 4}}
    assert set(wire.failures(TOKEN, bad)) >= {'resources.assignment["srv-3"].policy'}
    nobody = wire.checked(TOKEN, console_of({"srv-9": "Servers"}))
    with refused() as said:
        wire.create(TOKEN, nobody)
    assert said[0].code is grpc.StatusCode.FAILED_PRECONDITION
    assert "srv-9" in said[0].text
    assert has(console, "srv-1") == INHERITED
