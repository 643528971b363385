"""What programs of Pulumi say besides what they want: `aliases`, `ignoreChanges`, a replacement, what is not set."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pulumi.runtime.proto import provider_pb2 as pb

from mspctl.provider.values import UNKNOWN, is_within, parsed, spelled
from mspctl.pulumi.state import recorded
from tests.provider.engine import Stack
from tests.provider.wire import (
    CUSTOMER,
    ROOT,
    SECONDS,
    Json,
    Wire,
    approve,
    by_pulumi,
    plain,
    provider,
    refused,
    struct,
    urn,
)

TOKEN, ZONE = "mspctl:dns:Zone", "cloud.example"
OTHER = """\
$ORIGIN brenta.example.
@ 3600 IN SOA ns1.msp.example. hostmaster.msp.example. 1 7200 3600 1209600 3600
@ 3600 IN NS ns1.msp.example.
www 300 IN A 192.0.2.80
"""
PROGRAM = """\
from cloud import Server
from pulumi import ResourceOptions, export
from mspctl.pulumi import Provider, Zone

address = Server("web", location="padova").ipv4_address
said = dict(customer="{customer}", target="ns-1")
mine = ResourceOptions(provider=Provider("mine", directory="{directory}", wait=5))
made = address.apply(lambda a: {{"ttl": 60, "values": [a]}})
Zone(
    "{name}",
    **said,
    name="cloud.example",
    resources={{"rrset": {{"ftp A": {{"ttl": 300, "values": ["192.0.2.2"]}}}}}},
    opts=ResourceOptions(ignore_changes=['resources.rrset["ftp A"]']),
)
Zone("b", **said, name="b.example", resources={{"rrset": {{"@ A": made}}}})
Zone("c", **said, name="c.example", resources={{"rrset": made.apply(lambda m: {{"@ A": m}})}})
Zone("d", **said, name="d.example", resources=made.apply(lambda m: {{"rrset": {{"@ A": m}}}}), opts=mine)
export("read", Zone.get("brenta", "ns-1/brenta.example").resources)
"""


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with provider(tmp_path_factory.mktemp("nowhere"), configured=False) as made:
        yield made


@pytest.fixture
def wire(process: Wire, repository: Path) -> Wire:
    by_pulumi(repository)
    approve(repository, f"dns/{ZONE}", "ns-1")  # it may go: what stays does not stay because a guard held it
    process.configure(repository)
    return process


def zone(records: Json) -> Json:
    rrsets = {key: {"ttl": 300, "values": values} for key, values in records.items()}
    return {"customer": CUSTOMER, "target": "ns-1", "name": ZONE, "resources": {"rrset": rrsets}}


def served(repository: Path, name: str = ZONE) -> str:
    file = repository / f"scratch/ns-1/{name}.zone"
    return file.read_text() if file.exists() else ""


def test_a_resource_of_another_name_takes_nothing_away(wire: Wire, repository: Path) -> None:
    """Without `aliases`, Pulumi makes the new one and takes the old one away; here both are the same zone."""
    wanted = wire.checked(TOKEN, zone({"www A": ["192.0.2.1"]}))
    id_, state = wire.create(TOKEN, wanted)
    wire.configure(repository)  # the next run
    new = replace(wire, name="new")
    new.checked(TOKEN, zone({"www A": ["192.0.2.1"]}))
    with refused() as said:  # it was not made yet
        wire.delete(TOKEN, id_, state, wanted)
    assert said[0].text == f"{ZONE} on ns-1 is to be new from now on, which was not made; nothing was taken away"
    new.create(TOKEN, wanted)
    wire.delete(TOKEN, id_, state, wanted)
    assert wire.engine.messages == [f"{ZONE} on ns-1 is new from now on; nothing was taken away"]

    wire.configure(repository)  # and once more, where that run ended before it forgot the old one
    new.checked(TOKEN, wanted)
    new.details(TOKEN, state, wanted, wanted)
    wire.delete(TOKEN, id_, state, wanted)
    assert "www 300 IN A 192.0.2.1" in served(repository)
    wire.configure(repository)
    new.delete(TOKEN, id_, state, wanted)  # nobody declares it any more
    assert served(repository) == ""


def test_a_replacement_by_itself_takes_nothing_away(wire: Wire, repository: Path) -> None:
    """`pulumi up --replace`: the same is created once more, and then the old one goes."""
    wanted = wire.checked(TOKEN, zone({"www A": ["192.0.2.1"]}))
    id_, state = wire.create(TOKEN, wanted)
    wire.configure(repository)
    wire.check(TOKEN, wanted, olds=wanted)
    assert wire.create(TOKEN, wanted) == (id_, state)
    wire.delete(TOKEN, id_, state, wanted)
    assert "www 300 IN A 192.0.2.1" in served(repository)
    wire.configure(repository)  # with deleteBeforeReplace it goes first
    wire.check(TOKEN, wanted, olds=wanted)
    wire.delete(TOKEN, id_, state, wanted)
    assert served(repository) == ""
    wire.create(TOKEN, wanted)
    assert "www 300 IN A 192.0.2.1" in served(repository)


def test_what_is_ignored_is_left_as_it_is(wire: Wire, repository: Path) -> None:
    wanted = wire.checked(TOKEN, zone({"www A": ["192.0.2.1"], "ftp A": ["192.0.2.2"]}))
    id_, state = wire.create(TOKEN, wanted)
    file = repository / f"scratch/ns-1/{ZONE}.zone"
    file.write_text(file.read_text().replace("192.0.2.2", "192.0.2.99"))  # somebody's hand
    drifted = plain(wire.read(TOKEN, id_, state, wanted).properties)
    news = wire.checked(TOKEN, zone({"www A": ["192.0.2.7"], "ftp A": ["192.0.2.2"]}))
    of = {"urn": urn(TOKEN), "id": id_, "olds": struct(drifted), "old_inputs": struct(wanted)}

    def details(*ignored: str) -> set[str]:
        request = pb.DiffRequest(**of, news=struct(news), ignoreChanges=ignored)
        return {*wire.stub.Diff(request, timeout=SECONDS).detailedDiff}

    www, ftp = 'resources.rrset["www A"].values', 'resources.rrset["ftp A"].values'
    assert details() == {www, ftp}
    assert details(ftp) == details('resources.rrset["ftp A"]') == details('resources.rrset["ftp A"].values[0]') == {www}
    assert details("resources.rrset[*].values") == details("resources") == details("*") == set()
    request = pb.UpdateRequest(**of, news=struct(news), ignoreChanges=['resources.rrset["ftp A"]'])
    state = plain(wire.stub.Update(request, timeout=SECONDS).properties)
    assert "192.0.2.7" in served(repository)
    assert "192.0.2.99" in served(repository)
    refreshed = plain(wire.read(TOKEN, id_, state, news).properties)
    assert set(wire.details(TOKEN, refreshed, news, news)) == {ftp}  # and is told again, once nobody ignores it


def test_a_kind_that_is_unknown_yet_passes(wire: Wire) -> None:
    known = wire.checked(TOKEN, zone({"www A": ["192.0.2.1"]}))
    unknown = wire.checked(TOKEN, {**zone({}), "resources": {"rrset": UNKNOWN}})
    assert unknown["resources"] == {"rrset": UNKNOWN}
    assert wire.details(TOKEN, known, unknown, known) == {"resources.rrset": "UPDATE"}
    wire.create(TOKEN, unknown, preview=True)
    assert wire.failures(TOKEN, {**zone({}), "resources": {"rrsets": UNKNOWN}}).keys() == {"resources.rrsets"}


def test_a_zone_hands_out_its_name_servers(wire: Wire) -> None:
    """What a registrar's resource is made from: those of the target, and then those that the zone says itself."""
    first = wire.checked(TOKEN, zone({"www A": ["192.0.2.1"]}))
    id_, state = wire.create(TOKEN, first)
    assert state["outputs"] == {"nameservers": ["ns1.msp.example", "ns2.msp.example"]}
    second = wire.checked(TOKEN, zone({"@ NS": ["ns3.msp.example.", "ns1.msp.example."]}))
    state = wire.update(TOKEN, id_, state, second, first)
    for outputs in (state["outputs"], plain(wire.read(TOKEN, id_, state, second).properties)["outputs"]):
        assert outputs == {"nameservers": ["ns1.msp.example", "ns3.msp.example"]}
    shown = {"type": TOKEN, "id": id_, "inputs": second, "outputs": state}
    (record,) = recorded(CUSTOMER, {"resources": [shown]}).values()
    assert record.outputs == {}  # it is no output of a driver, and no ledger has it


def test_a_field_that_is_null_is_not_set(wire: Wire) -> None:
    said = zone({"www A": ["192.0.2.1"]})
    said["resources"]["rrset"]["www A"]["ttl"] = None
    said["resources"]["rrset"]["ftp A"] = None
    assert wire.failures(TOKEN, said) == {
        'resources.rrset["www A"].ttl': "is required",
        'resources.rrset["ftp A"]': "is a mapping of fields (leave it out, or write {} for none)",
    }


@pytest.mark.parametrize("path", [("a",), ("resources", "rrset", 'a "b" \\'), ("x", "*", "é.ü", "")])
def test_paths_are_read_as_they_are_written(path: tuple[str, ...]) -> None:
    assert parsed(spelled(path)) == path


def test_paths_that_name_a_place_in_a_list() -> None:
    assert parsed('a.b["c d"].values[0]') == ("a", "b", "c d", "values", "0")
    assert is_within(("a", "b", "c"), ("a", "*"))
    assert not is_within(("a",), ("a", "b"))


@pytest.mark.soak
def test_a_whole_program_with_them(repository: Path) -> None:
    by_pulumi(repository)
    folder = repository / "stacks/program"
    folder.mkdir(parents=True)
    (folder / "Pulumi.yaml").write_text("name: program\nruntime: python\n")
    (folder / "__main__.py").write_text(PROGRAM.format(customer=CUSTOMER, directory=repository, name="a"))
    shutil.copy(ROOT / "stacks/with-cloud/cloud.py", folder)
    (repository / "scratch/ns-1/brenta.example.zone").write_text(OTHER)
    stack = Stack(folder, "test")
    steps = [*(("create", name) for name in ("a", "b", "c", "d", "web")), ("read", "brenta")]
    for ended in (stack.up(dry=True), stack.up()):
        assert (ended.steps, ended.errors) == (steps, []), ended.said
    again = stack.up()
    assert {what for what, _ in again.steps} == {"same", "read"}
    assert again.outputs["read"]["rrset"]["www A"] == {"ttl": 300, "values": ["192.0.2.80"]}
    assert all("203.0.113." in served(repository, f"{name}.example") for name in "bcd")

    file = repository / f"scratch/ns-1/{ZONE}.zone"
    file.write_text(file.read_text().replace("192.0.2.2", "192.0.2.99"))
    assert stack.refresh().steps == [("drift", "a")]
    assert {what for what, _ in stack.up().steps} == {"same", "read"}
    assert "192.0.2.99" in served(repository)
    file.write_text(file.read_text().replace("192.0.2.99", "192.0.2.2"))
    (folder / "__main__.py").write_text(PROGRAM.format(customer=CUSTOMER, directory=repository, name="renamed"))
    approve(repository, f"dns/{ZONE}", "ns-1")
    ended = stack.up()
    done = [step for step in ended.steps if step[0] not in ("same", "read")]
    assert (done, ended.errors) == ([("create", "renamed"), ("delete", "a")], [])
    assert "192.0.2.2" in served(repository)
