"""`mspctl:dns:Zone` over the provider's wire, on a real BIND: its whole life, and what goes wrong in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dns.rcode
import grpc
import pytest
from pulumi.runtime.proto import provider_pb2 as pb

from mspctl import cli
from mspctl.locks import Locks
from mspctl.provider.inputs import HIDDEN
from mspctl.record import Run
from tests.provider.wire import CUSTOMER, Json, Wire, approve, by_pulumi, plain, provider, refused, secret, struct, urn
from tests.servers import dynamic
from tests.servers.dynamic import Bind

TOKEN = "mspctl:dns:Zone"
ZONE = "acme.example"
MANY = [f"z{number}.example" for number in range(12)]
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
TARGETS = """\
targets:
  ns-1:
    address: 127.0.0.1
    secrets: {{tsig: NS_1_TSIG}}
    facets:
      dns: {{driver: rfc2136, key: {key}, port: {port}, timeout: 5s, nameservers: [ns1.msp.example, ns2.msp.example],
        zones: [{zones}]}}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bind]:
    made = Bind(tmp_path_factory.mktemp("bind"))
    with dynamic.running(made):
        for zone in (ZONE, *MANY):
            made.add(zone)
        for zone in (ZONE, *MANY):
            made._wait(zone)
        yield made


def secrets_of(server: Bind) -> dict[str, str]:
    return {"MSPCTL_SECRET_NS_1_TSIG": server.secret}


@pytest.fixture(scope="module")
def process(server: Bind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """The same for all tests, configured anew for each: it takes a second to start."""
    with provider(tmp_path_factory.mktemp("nowhere"), configured=False, env=secrets_of(server)) as made:
        yield made


@pytest.fixture
def estate(server: Bind, repository: Path) -> Path:
    """The example customers, without their YAML but the names; one of them is Pulumi's."""
    for name in ("dns.yaml", "mail.yaml"):
        for file in repository.glob(f"customers/*/{name}"):
            file.unlink()
    for folder in repository.glob("customers/*/dns"):
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    for file in repository.glob("inventory/baselines/*"):
        file.write_text("{}\n")
    key = server.key.name.to_text(omit_final_dot=True)
    text = TARGETS.format(key=key, port=server.port, zones=", ".join((ZONE, *MANY)))
    (repository / "inventory/targets.yaml").write_text(text)
    by_pulumi(repository)
    server.clear(ZONE)
    return repository


@pytest.fixture
def wire(process: Wire, estate: Path) -> Wire:
    process.configure(estate)
    return process


def zone(records: Json, name: str = ZONE) -> Json:
    rrsets = {key: {"ttl": 300, "values": values} for key, values in records.items()}
    return {"customer": CUSTOMER, "target": "ns-1", "name": name, "resources": {"rrset": rrsets}}


def served(server: Bind, name: str = ZONE) -> set[str]:
    """What a transfer shows, without what the server makes."""
    return {
        f"{record.name} {record.ttl} {record[0]}"
        for record in server.records(name)
        if record.rdtype.name not in ("SOA", "NS")
    }


def by_hand(server: Bind, owner: str, rtype: str, value: str, ttl: int = 300) -> None:
    update = server.update(ZONE)
    update.replace(owner, ttl, rtype, value)
    assert server.send(update) == dns.rcode.NOERROR


def test_the_life_of_a_zone(wire: Wire, estate: Path, server: Bind) -> None:
    first = wire.checked(TOKEN, zone({"www A": ["192.0.2.1"], "@ MX": ["10 Mail.msp.example."]}))
    assert first["resources"]["rrset"]["@ MX"]["values"] == ["10 mail.msp.example."]  # in normal form
    id_, shown = wire.create(TOKEN, first, preview=True)
    assert (id_, shown["outputs"], served(server)) == ("", UNKNOWN, set())
    id_, state = wire.create(TOKEN, first)
    assert id_ == f"ns-1/{ZONE}"
    assert served(server) == {"www.acme.example. 300 192.0.2.1", "acme.example. 300 10 mail.msp.example."}
    assert state["resources"] == first["resources"]
    assert wire.details(TOKEN, state, first, first) == {}

    second = wire.checked(TOKEN, zone({"www A": ["192.0.2.2"], "@ MX": ["10 Mail.msp.example."], "a.b TXT": ['"x"']}))
    changes = {'resources.rrset["www A"].values': "UPDATE", 'resources.rrset["a.b TXT"]': "ADD"}
    assert wire.details(TOKEN, state, second, first) == changes
    state = wire.update(TOKEN, id_, state, second, first)
    assert "www.acme.example. 300 192.0.2.2" in served(server)
    assert wire.details(TOKEN, state, second, second) == {}

    by_hand(server, "www", "A", "203.0.113.66")  # drift, and something that is not ours
    by_hand(server, "other", "A", "192.0.2.77")
    read = wire.read(TOKEN, id_, state, second)
    assert plain(read.inputs) == second  # what was applied stays what was applied
    drifted = plain(read.properties)
    assert wire.details(TOKEN, drifted, second, second) == {'resources.rrset["www A"].values': "UPDATE"}
    state = wire.update(TOKEN, id_, drifted, second, second)
    assert "www.acme.example. 300 192.0.2.2" in served(server)
    assert "other.acme.example. 300 192.0.2.77" in served(server)

    with refused() as said:
        wire.delete(TOKEN, id_, state, second)
    assert said[0].code is grpc.StatusCode.FAILED_PRECONDITION
    assert "is kept until an approval names it" in said[0].text
    by_hand(server, "www", "A", "192.0.2.2")
    approve(estate, f"dns/{ZONE}", "ns-1")
    wire.configure(estate)
    with refused() as said:
        wire.delete(TOKEN, id_, state, second)
    assert "the scope goes only when nothing else is in it: other A" in said[0].text
    update = server.update(ZONE)
    update.delete("other")
    server.send(update)
    wire.delete(TOKEN, id_, state, second)
    wire.delete(TOKEN, id_, state, second)  # again: what is gone is gone
    assert served(server) == set()


def test_what_nobody_saw_is_not_overwritten(wire: Wire, server: Bind) -> None:
    """Who runs `up` without a refresh sees no drift, so it is not ended in passing: the state shows it afterwards."""
    first = wire.checked(TOKEN, zone({"www A": ["192.0.2.1"], "ftp A": ["192.0.2.2"], "old A": ["192.0.2.3"]}))
    id_, state = wire.create(TOKEN, first)
    by_hand(server, "www", "A", "203.0.113.66")
    update = server.update(ZONE)
    update.delete("old")
    server.send(update)
    second = wire.checked(TOKEN, zone({"www A": ["192.0.2.1"], "ftp A": ["192.0.2.9"], "old A": ["192.0.2.3"]}))
    assert set(wire.details(TOKEN, state, second, first)) == {'resources.rrset["ftp A"].values'}
    told = {f"{name} A: was changed outside since Pulumi looked last" for name in ("www", "old")}
    wire.update(TOKEN, id_, state, second, first, preview=True)
    assert {message.partition(";")[0] for message in wire.engine.messages} == told
    wire.engine.messages.clear()
    state = wire.update(TOKEN, id_, state, second, first)
    assert served(server) == {"www.acme.example. 300 203.0.113.66", "ftp.acme.example. 300 192.0.2.9"}
    assert {message.partition(";")[0] for message in wire.engine.messages} == told
    assert wire.details(TOKEN, state, second, second) == {  # what the next preview shows, the next `up` ends
        'resources.rrset["www A"].values': "UPDATE",
        'resources.rrset["old A"]': "ADD",
    }
    by_hand(server, "www", "A", "203.0.113.77")  # and again
    state = wire.update(TOKEN, id_, state, second, second)
    assert "www.acme.example. 300 203.0.113.77" in served(server)
    assert "old.acme.example. 300 192.0.2.3" in served(server)
    state = wire.update(TOKEN, id_, state, second, second)
    assert "www.acme.example. 300 192.0.2.1" in served(server)
    assert wire.details(TOKEN, state, second, second) == {}


def test_what_came_back_is_told_and_goes(wire: Wire, server: Bind) -> None:
    first = wire.checked(TOKEN, zone({"www A": ["192.0.2.1"], "old A": ["192.0.2.3"]}))
    id_, state = wire.create(TOKEN, first)
    second = wire.checked(TOKEN, zone({"www A": ["192.0.2.1"]}))
    state = wire.update(TOKEN, id_, state, second, first)
    assert set(state["deleted"]["rrset"]) == {"old A"}
    by_hand(server, "old", "A", "192.0.2.3")
    by_hand(server, "other", "A", "192.0.2.4")  # was never ours
    third = wire.checked(TOKEN, zone({"www A": ["192.0.2.5"]}))
    left = wire.update(TOKEN, id_, state, third, second)
    assert wire.engine.messages == ["old A: came back since Pulumi looked last; it stays, until a preview has shown it"]
    read = plain(wire.read(TOKEN, id_, left, third).properties)
    for olds in (left, read):
        assert wire.details(TOKEN, olds, third, third) == {'resources.rrset["old A"]': "DELETE"}
    state = wire.update(TOKEN, id_, read, third, third)
    assert served(server) == {"www.acme.example. 300 192.0.2.5", "other.acme.example. 300 192.0.2.4"}
    assert wire.details(TOKEN, state, third, third) == {}
    assert "deleted" not in wire.update(TOKEN, id_, state, first, third)  # declared again


def test_what_is_not_pulumis_any_more_is_not_taken_away(wire: Wire, estate: Path, server: Bind) -> None:
    wanted = wire.checked(TOKEN, zone({"www A": ["192.0.2.1"]}))
    id_, state = wire.create(TOKEN, wanted)
    approve(estate, f"dns/{ZONE}", "ns-1")
    file = estate / "customers" / CUSTOMER / "customer.yaml"
    file.write_text(file.read_text().replace("engine: pulumi\n", ""))
    wire.configure(estate)
    for call in (wire.delete, lambda *given: wire.update(TOKEN, id_, state, wanted, wanted)):
        with refused() as said:
            call(TOKEN, id_, state, wanted)
        assert "is mspctl's" in said[0].text
    assert served(server) == {"www.acme.example. 300 192.0.2.1"}


def test_another_name_is_another_zone(wire: Wire) -> None:
    first = wire.checked(TOKEN, zone({}))
    answer = wire.diff(TOKEN, {**first, "outputs": {}}, wire.checked(TOKEN, zone({}, MANY[0])), first)
    assert list(answer.replaces) == ["name"]
    assert pb.PropertyDiff.Kind.Name(answer.detailedDiff["name"].kind) == "UPDATE_REPLACE"


def test_what_is_wrong_is_said_of_its_property(wire: Wire) -> None:
    bad = zone({"www A": ["192.0.2.999"], "nonsense": ["x"], "x CNAME": ["a", "b"], "ok A": ["192.0.2.1"]})
    bad["resources"]["rrset"]["ok A"]["ttl"] = "soon"
    bad["resources"]["rrset"]["deep A"] = {"values": ["192.0.2.1"], "tll": 3}
    bad["resources"]["rrsets"] = {}
    found = wire.failures(TOKEN, {**bad, "colour": "red"})
    assert found == {
        "colour": found["colour"],
        "resources.rrsets": found["resources.rrsets"],
        'resources.rrset["www A"].values': found['resources.rrset["www A"].values'],
        "resources.rrset.nonsense": found["resources.rrset.nonsense"],
        'resources.rrset["x CNAME"].values': "CNAME has one value, not 2",
        'resources.rrset["ok A"].ttl': "is a whole number, not 'soon'",
        'resources.rrset["deep A"].tll': found['resources.rrset["deep A"].tll'],
        'resources.rrset["deep A"].ttl': "is required",
    }
    assert "did you mean rrset" in found["resources.rrsets"]
    assert "192.0.2.999" in found['resources.rrset["www A"].values']
    other = wire.failures(TOKEN, {**zone({}), "target": "ns-9", "customer": "studio-dentistico-sala"})
    assert "is not in inventory/targets.yaml" in other["target"]
    assert "write engine: pulumi" in other["customer"]
    assert "is not a domain name" in wire.failures(TOKEN, zone({}, "../etc"))["name"]
    assert set(wire.failures(TOKEN, {})) == {"customer", "target", "name", "resources"}


def test_what_is_unknown_yet_passes_and_counts_as_changed(wire: Wire) -> None:
    known = wire.checked(TOKEN, zone({"www A": ["192.0.2.1"]}))
    unknown = wire.checked(TOKEN, zone({"www A": [UNKNOWN], "b A": ["192.0.2.3"]}))
    assert unknown["resources"]["rrset"]["www A"]["values"] == [UNKNOWN]
    assert wire.details(TOKEN, known, unknown, known) == {
        'resources.rrset["www A"]': "UPDATE",
        'resources.rrset["b A"]': "ADD",
    }
    wire.create(TOKEN, unknown, preview=True)
    whole = wire.checked(TOKEN, {**zone({}), "resources": UNKNOWN})
    assert wire.details(TOKEN, known, whole, known) == {"resources": "UPDATE"}


def test_secrets_stay_secret(wire: Wire, server: Bind) -> None:
    said = zone({"www A": ["192.0.2.1"]})
    word = "a-token-of-somebody"
    said["resources"]["rrset"]["_challenge TXT"] = {"ttl": 60, "values": secret([f'"{word}"'])}
    checked = wire.checked(TOKEN, said)
    _, state = wire.create(TOKEN, checked)
    for kept in (checked, state):
        value = kept["resources"]["rrset"]["_challenge TXT"]["values"]
        assert value == secret([f'"{word}"'])
    assert f'_challenge.acme.example. 60 "{word}"' in served(server)
    said["resources"]["rrset"]["x CAA"] = {"ttl": 60, "values": secret(["0 hunter22 hunter22 x"])}
    assert "hunter22" not in str(wire.failures(TOKEN, said))


def test_a_secret_stays_one_under_its_normal_name(wire: Wire) -> None:
    said = zone({})
    word = "Tok-en-of-somebody"
    said["resources"]["rrset"]["WWW txt"] = {"ttl": 60, "values": secret([f'"{word}"'])}
    checked = wire.checked(TOKEN, said)
    _, state = wire.create(TOKEN, checked)
    for kept in (checked, state):
        assert kept["resources"]["rrset"] == {"www TXT": {"ttl": 60, "values": secret([f'"{word}"'])}}


def test_what_was_secret_stays_so_while_it_waits(wire: Wire, server: Bind) -> None:
    """A partial update keeps what it could not take away: the program does not name it any more."""
    said = zone({"www A": ["192.0.2.1"]})
    said["resources"]["rrset"]["_x TXT"] = {"ttl": 60, "values": secret(['"hunter22"'])}
    first = wire.checked(TOKEN, said)
    id_, state = wire.create(TOKEN, first)
    by_hand(server, "_x", "TXT", '"changed by hand"', 60)
    second = wire.checked(TOKEN, zone({"www A": ["192.0.2.2"]}))
    with refused() as told:
        wire.update(TOKEN, id_, state, second, first)
    assert told[0].partial is not None
    for kept in ("resources", "recorded"):
        assert plain(told[0].partial.properties)[kept]["rrset"]["_x TXT"]["values"] == secret(['"hunter22"'])
    assert "hunter22" not in told[0].text


def test_a_secret_that_is_wrong_is_not_repeated(wire: Wire) -> None:
    said = zone({})
    long = "".join(f"{number:03}" for number in range(60))
    said["resources"]["rrset"]["www A"] = {"ttl": secret(long), "values": ["192.0.2.1"]}
    said["resources"]["rrset"]["x A"] = {"ttl": 60, "values": secret([long])}
    assert wire.failures(TOKEN, said) == {
        'resources.rrset["www A"].ttl': "is a whole number",
        'resources.rrset["x A"].values': HIDDEN,
    }


def test_something_else_that_is_there_is_not_replaced(wire: Wire, server: Bind) -> None:
    by_hand(server, "www", "A", "203.0.113.7")
    wanted = wire.checked(TOKEN, zone({"www A": ["192.0.2.1"]}))
    wire.create(TOKEN, wanted, preview=True)
    assert any("something else is there already" in message for message in wire.engine.messages)
    with refused() as said:
        wire.create(TOKEN, wanted)
    assert "www A: something else is there already" in said[0].text
    assert said[0].partial is None
    assert "www.acme.example. 300 203.0.113.7" in served(server)


def test_what_landed_is_kept_when_something_waits(wire: Wire, server: Bind) -> None:
    by_hand(server, "www", "A", "203.0.113.7")
    wanted = wire.checked(TOKEN, zone({"www A": ["192.0.2.1"], "new A": ["192.0.2.5"]}))
    with refused() as said:
        wire.create(TOKEN, wanted)
    partial = said[0].partial
    assert partial is not None
    assert partial.id == f"ns-1/{ZONE}"
    assert any("www A" in reason for reason in partial.reasons)
    state = plain(partial.properties)
    assert set(state["resources"]["rrset"]) == set(state["recorded"]["rrset"]) == {"new A"}
    refreshed = plain(wire.read(TOKEN, partial.id, state, wanted).properties)
    assert refreshed["recorded"] == state["recorded"]
    for olds in (state, refreshed):  # tried again: what is somebody else's is so still
        with refused() as said:
            wire.update(TOKEN, partial.id, olds, wanted, wanted)
        assert "www A: something else is there already" in said[0].text
        assert "www.acme.example. 300 203.0.113.7" in served(server)
    by_hand(server, "www", "A", "192.0.2.1")
    state = wire.update(TOKEN, partial.id, state, wanted, wanted)
    assert state["resources"] == wanted["resources"]
    assert "recorded" not in state


def test_what_a_partial_update_could_not_take_away_is_not_forgotten(wire: Wire, server: Bind) -> None:
    first = wire.checked(TOKEN, zone({"www A": ["192.0.2.1"], "old A": ["192.0.2.8"]}))
    id_, state = wire.create(TOKEN, first)
    by_hand(server, "old", "A", "203.0.113.8")
    second = wire.checked(TOKEN, zone({"www A": ["192.0.2.2"]}))
    with refused() as said:
        wire.update(TOKEN, id_, state, second, first)
    assert said[0].partial is not None
    state = plain(said[0].partial.properties)
    assert set(state["recorded"]["rrset"]) == {"www A", "old A"}
    by_hand(server, "old", "A", "192.0.2.8")
    assert wire.details(TOKEN, state, second, second) == {'resources.rrset["old A"]': "DELETE"}
    state = wire.update(TOKEN, id_, state, second, second)
    assert served(server) == {"www.acme.example. 300 192.0.2.2"}
    assert "recorded" not in state


def test_a_server_that_refuses_says_so_without_its_key(wire: Wire, server: Bind) -> None:
    wanted = wire.checked(TOKEN, zone({"www A": ["192.0.2.1"]}))
    server.may(ZONE, transfer=True, update=False)
    try:
        with refused() as said:
            wire.create(TOKEN, wanted)
    finally:
        server.may(ZONE, transfer=True, update=True)
    assert said[0].code is grpc.StatusCode.FAILED_PRECONDITION
    assert server.secret not in said[0].text


def test_what_is_not_there_is_gone_and_what_is_there_is_adopted(wire: Wire, server: Bind) -> None:
    wire.create(TOKEN, wire.checked(TOKEN, zone({"www A": ["192.0.2.1"]})))
    with refused() as said:  # whose it is, nobody says
        wire.read(TOKEN, f"ns-1/{ZONE}")
    assert "no customer declares" in said[0].text
    with refused() as said:
        wire.read(TOKEN, f"ns-9/{ZONE}")
    assert "is not in inventory/targets.yaml" in said[0].text


def test_import_adopts_what_a_customer_declares(wire: Wire, estate: Path, server: Bind) -> None:
    by_hand(server, "www", "A", "192.0.2.9")
    (estate / "customers" / CUSTOMER / "dns.yaml").write_text(f"zones: {{{ZONE}: {{target: ns-1}}}}\n")
    (estate / "customers" / CUSTOMER / "dns").mkdir()
    (estate / "customers" / CUSTOMER / "dns" / f"{ZONE}.yaml").write_text("www: {A: 192.0.2.9}\n")
    wire.configure(estate)
    read = wire.read(TOKEN, f"ns-1/{ZONE}")
    inputs = plain(read.inputs)
    assert inputs["customer"] == CUSTOMER
    assert inputs["resources"]["rrset"]["www A"] == {"ttl": 300, "values": ["192.0.2.9"]}
    assert wire.details(TOKEN, plain(read.properties), wire.checked(TOKEN, inputs), inputs) == {}


def test_twelve_zones_at_once(wire: Wire, server: Bind) -> None:
    wanted = [wire.checked(TOKEN, zone({"www A": [f"192.0.2.{n + 1}"]}, name)) for n, name in enumerate(MANY)]
    with ThreadPoolExecutor(12) as executor:
        made = [*executor.map(lambda each: wire.create(TOKEN, each), wanted)]
    assert [id_ for id_, _ in made] == [f"ns-1/{name}" for name in MANY]
    assert all(f"www.{name}. 300 192.0.2.{n + 1}" in served(server, name) for n, name in enumerate(MANY))
    for name in MANY:
        server.clear(name)


def test_after_cancel_nothing_is_begun(estate: Path, server: Bind) -> None:
    with provider(estate, env=secrets_of(server)) as wire:
        wanted = wire.checked(TOKEN, zone({"www A": ["192.0.2.1"]}))
        wire.cancel()
        with refused() as said:
            wire.create(TOKEN, wanted)
    assert said[0].code is grpc.StatusCode.CANCELLED
    assert served(server) == set()


def test_a_lock_of_our_engine_is_respected(wire: Wire, estate: Path, server: Bind) -> None:
    run = Run("20260101T000000Z-aaaaaa", "Ada <ada@msp.example>")
    wanted = wire.checked(TOKEN, zone({"www A": ["192.0.2.1"]}))
    wire.configure(estate, wait=0)
    with Locks(estate).hold({f"ns-1/dns/{ZONE}"}, run), refused() as said:
        wire.create(TOKEN, wanted)
    assert "is locked by Ada" in said[0].text
    assert served(server) == set()


def test_our_engine_leaves_it_alone(estate: Path, wire: Wire, server: Bind, capsys: pytest.CaptureFixture[str]) -> None:
    wire.create(TOKEN, wire.checked(TOKEN, zone({"www A": ["192.0.2.1"]})))
    assert cli.run(["ledger", "init"]) == 0
    for command in (["plan"], ["drift"], ["apply", "--yes"]):
        capsys.readouterr()
        assert cli.run([*command, "-o", "json"]) == 0
        said = capsys.readouterr()
        assert ZONE not in json.dumps(json.loads(said.out))
        assert f"left to Pulumi (engine: pulumi in customer.yaml), and not looked at here: {CUSTOMER}" in said.err
    assert "www.acme.example. 300 192.0.2.1" in served(server)


def test_a_resource_of_another_type_is_refused(wire: Wire) -> None:
    with refused() as said:
        wire.stub.Check(pb.CheckRequest(urn=urn("mspctl:dns:Zebra"), news=struct({})), timeout=30)
    assert "is no resource of this provider" in said[0].text
