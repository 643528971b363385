"""What is asked of real name servers, and of one that lies; each row of a table is a zone of the private hierarchy."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from mspctl import checks
from mspctl.checks import Seen
from mspctl.desired import Selection, declarations
from mspctl.kinds import spf
from mspctl.kinds.answers import NameQuestion, Serves, Status, ZoneQuestion, ZoneSeen
from mspctl.load import load
from mspctl.transports import dns_questions, resolver
from mspctl.transports.dns_questions import Address, Asking, Network
from mspctl.transports.resolver import look, look_up
from tests.checks.facts import NOW
from tests.estate import estate
from tests.servers.hierarchy import (
    DELEGATED,
    DOWN,
    LIAR,
    NS1,
    NS2,
    NS3,
    RESOLVER,
    ROOT,
    SIGNED,
    Hierarchy,
    free_port,
    liar,
)

OURS = {"ns1.msp.example.", "ns2.msp.example."}
WAYS = ("walking", "resolver")


def asking(world: Hierarchy, way: str) -> Asking:
    if way == "walking":
        return Asking(roots=(ROOT,), port=world.port, timeout=1, settle=0.1, inside=True)
    return Asking((Address(RESOLVER, world.port),), port=world.port, timeout=1, settle=0.1, inside=True)


def question(zone: str, *names: str, hosts: frozenset[str] = frozenset()) -> ZoneQuestion:
    full = frozenset(f"{name}.{zone}." if name else f"{zone}." for name in names or ("",))
    return ZoneQuestion(f"{zone}.", hosts, full, full)


MAIL = question("mail.example", *"bare half alias circle null both two many loop void gone odd long".split(), "")
OTHERS = ("child.good.example", "gone.example", "x.y.gone.example", "bare.example", "ring-a.example")


@pytest.fixture(scope="module", params=WAYS)
def seen(request: pytest.FixtureRequest, world: Hierarchy) -> dict[str, ZoneSeen]:
    """Every zone, looked at in one run."""
    elsewhere = question("elsewhere.example", hosts=frozenset(OURS))
    zones = [MAIL, elsewhere, *(question(zone) for zone in (*DELEGATED, *OTHERS) if zone != "mail.example")]
    done: list[int] = []
    found = look(zones, asking(world, request.param), done.append)
    assert sum(done) == len(zones)
    return {q.name.removesuffix("."): what for q, what in found.items()}


@pytest.mark.parametrize(
    ("zone", "status", "parent", "hosts"),
    [
        ("good.example", Status.FOUND, "example.", OURS),
        ("parent.example", Status.FOUND, "example.", {"ns1.msp.example.", "ns3.msp.example."}),
        ("child.good.example", Status.FOUND, "good.example.", OURS),
        ("gone.example", Status.NOTHING, "example.", set()),
        ("x.y.gone.example", Status.NOTHING, "example.", set()),
        ("bare.example", Status.EMPTY, "example.", set()),
        ("elsewhere.example", Status.FOUND, "example.", {"down.msp.example."}),
    ],
)
def test_what_the_zone_above_says(
    seen: dict[str, ZoneSeen], zone: str, status: Status, parent: str, hosts: set[str]
) -> None:
    found = seen[zone].delegation
    assert (found.status, found.parent, set(found.hosts)) == (status, parent, hosts)
    assert found.itself is (zone == "child.good.example")
    assert bool(seen[zone].servers) is (status is Status.FOUND and zone != "elsewhere.example")


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("good.example", {(NS1, Serves.YES, 2), (NS2, Serves.YES, 2)}),
        ("parent.example", {(NS1, Serves.YES, 2), (NS3, Serves.YES, 2)}),
        ("silent.example", {(NS1, Serves.YES, 2), (NS2, Serves.YES, 2), (DOWN, Serves.SILENT, 0)}),
        ("serial.example", {(NS1, Serves.YES, 2), (NS2, Serves.YES, 1)}),
        ("nowhere.example", {(NS1, Serves.YES, 2), (NS2, Serves.YES, 2), ("", Serves.NOWHERE, 0)}),
        ("mute.example", {(LIAR, Serves.SILENT, 0)}),
        ("stranger.example", {(LIAR, Serves.SILENT, 0)}),
        ("garbage.example", {(LIAR, Serves.SILENT, 0)}),
        ("upwards.example", {(LIAR, Serves.LAME, 0)}),
        ("thousand.example", {(LIAR, Serves.YES, 1)}),
        ("ring-a.example", {("", Serves.UNKNOWN, 0)}),
    ],
)
def test_every_name_server_is_asked(
    seen: dict[str, ZoneSeen], zone: str, expected: set[tuple[str, Serves, int]]
) -> None:
    assert {(s.address, s.serves, s.serial) for s in seen[zone].servers} == expected
    assert all(server.why for server in seen[zone].servers if server.serves is not Serves.YES)


def test_a_server_that_knows_nothing_of_the_zone_is_lame(seen: dict[str, ZoneSeen]) -> None:
    (lame,) = (s for s in seen["lame.example"].servers if s.serves is not Serves.YES)
    assert (lame.host, lame.serves, lame.why) == ("lame.msp.example.", Serves.LAME, "answers REFUSED")


@pytest.mark.parametrize("zone", SIGNED)
def test_keys_signatures_and_ds_of_signed_zones(seen: dict[str, ZoneSeen], world: Hierarchy, zone: str) -> None:
    keys, ds = seen[zone].answer(f"{zone}.", "DNSKEY"), seen[zone].delegation.ds
    assert (len(keys.values), len(keys.signatures)) == (2, 1)
    (server,) = seen[zone].servers
    assert [text.split()[0] for text in server.soa.signatures] == ["SOA"]
    own = " ".join(world.keys[zone].lower().split())
    expected = {"no-ds.example": [], "wrong-ds.example": ["4711"], "spare-ds.example": ["4711", own.split()[0]]}
    assert {text.split()[0] for text in ds.values} == {*expected.get(zone, [own.split()[0]])}
    assert ds.status is (Status.EMPTY if zone == "no-ds.example" else Status.FOUND)


def test_names_are_seen_through_their_cnames(seen: dict[str, ZoneSeen]) -> None:
    www, circle = (seen["mail.example"].answer(f"{name}.mail.example.", "A") for name in ("www", "a.circle"))
    assert (www.status, www.values, www.aliases) == (Status.FOUND, ("192.0.2.81",), ("mx.mail.example.",))
    assert circle.status is Status.NOTHING
    assert circle.why == (
        "its CNAMEs lead in a circle: a.circle.mail.example → b.circle.mail.example → a.circle.mail.example"
    )


@pytest.mark.parametrize("way", WAYS)
def test_names_alone_are_looked_up_as_anybody_would(world: Hierarchy, way: str) -> None:
    names = ("www.mail.example.", "nobody.mail.example.", "mail.example.", "a.circle.mail.example.", "a..b.")
    found = look_up([NameQuestion(name, "A") for name in names], asking(world, way))
    said = {question.name: answer.status for question, answer in found.items()}
    assert said == dict(
        zip(names, (Status.FOUND, Status.NOTHING, Status.EMPTY, Status.NOTHING, Status.UNKNOWN), strict=True)
    )
    assert found[NameQuestion("www.mail.example.", "A")].aliases == ("mx.mail.example.",)
    silent = look_up([NameQuestion("mail.example.", "A")], Asking((Address(DOWN, world.port),), timeout=1))
    assert [answer.status for answer in silent.values()] == [Status.UNKNOWN]


def test_a_long_answer_comes_over_tcp(seen: dict[str, ZoneSeen]) -> None:
    found = seen["mail.example"].answer("long.mail.example.", "TXT")
    assert (found.status, len(found.values)) == (Status.FOUND, 31)
    assert spf.texts(found) == ["v=spf1 -all"]


@pytest.mark.parametrize(
    ("name", "lookups", "void", "problems"),
    [
        ("", 1, 0, 0),
        ("many", 12, 0, 0),
        ("void", 3, 3, 0),
        ("loop", 2, 0, 1),
        ("gone", 1, 0, 1),
        ("odd", 0, 0, 1),
    ],
)
def test_all_that_an_spf_record_includes_was_looked_up(
    seen: dict[str, ZoneSeen], name: str, lookups: int, void: int, problems: int
) -> None:
    found = spf.cost(f"{name}.mail.example.".removeprefix("."), seen["mail.example"].answer)
    assert (found.lookups, len(found.void), len(found.problems), found.unknown) == (lookups, void, problems, [])


def test_an_answer_with_a_thousand_records_is_not_believed(seen: dict[str, ZoneSeen]) -> None:
    found = seen["thousand.example"].answer("thousand.example.", "MX")
    assert found.status is Status.UNKNOWN
    assert found.why


# -- limits ---------------------------------------------------------------------------------------------------


def one(zone: ZoneQuestion, how: Asking) -> ZoneSeen:
    return look([zone], how)[zone]


@pytest.mark.parametrize("how", [Asking((Address(DOWN, 53),)), Asking(roots=(DOWN,))])
def test_without_an_answer_nothing_is_known_and_why(world: Hierarchy, how: Asking) -> None:
    down = Asking(
        tuple(Address(a.ip, world.port) for a in how.resolvers), how.roots, world.port, inside=True, timeout=1
    )
    found = one(question("good.example"), down).delegation
    assert found.status is Status.UNKNOWN
    assert f"{DOWN}:{world.port} gave no answer within 1 s" in found.why


def test_a_machine_without_a_resolver_is_told_where_to_write_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_questions, "_of_this_machine", lambda: ())
    found = one(question("good.example"), Asking()).delegation
    assert (found.status, found.why) == (
        Status.UNKNOWN,
        "there is no resolver to ask (write one into inventory/checks.yaml)",
    )


def test_a_server_that_is_no_resolver_is_not_believed(world: Hierarchy) -> None:
    how = Asking((Address(NS2, world.port), Address(ROOT, world.port)), port=world.port, timeout=1, inside=True)
    found = one(question("gone.example"), how).delegation
    assert (found.status, found.why) == (Status.UNKNOWN, f"{ROOT}:{world.port} does not resolve names for us")


def test_addresses_that_the_internet_does_not_know_are_not_asked(world: Hierarchy) -> None:
    how = Asking((Address(RESOLVER, world.port),), port=world.port, timeout=1)
    found = one(question("good.example"), how)
    assert found.delegation.status is Status.UNKNOWN
    assert found.servers == ()


def test_a_zone_has_an_end(world: Hierarchy, monkeypatch: pytest.MonkeyPatch) -> None:
    late = Asking(roots=(ROOT,), port=world.port, timeout=1, inside=True, zone_timeout=-1)
    found = one(MAIL, late)
    assert (found.delegation.status, found.why) == (Status.UNKNOWN, "it was not finished within -1 s")
    monkeypatch.setattr(resolver, "QUESTIONS", 20)
    found = one(MAIL, asking(world, "walking"))
    assert found.delegation.status is Status.FOUND
    assert found.why == "it takes more than 20 questions"


def test_an_address_that_never_answers_is_given_up(world: Hierarchy) -> None:
    asked: list[bytes] = []
    port = free_port()
    zones = [question(f"z.y{n}.example") for n in range(12)]
    with liar(LIAR, port, lambda wire: asked.append(wire)):
        how = Asking((Address(LIAR, port),), timeout=1, at_once=dns_questions.SILENT)
        found = look(zones, how)
    assert len(asked) < 2 * dns_questions.SILENT * dns_questions.TRIES  # some were under way
    assert all(what.delegation.status is Status.UNKNOWN for what in found.values())
    assert any("gave no answer to 3 questions" in what.delegation.why for what in found.values())


def test_a_server_that_no_longer_answers_over_udp_is_asked_over_tcp(world: Hierarchy) -> None:
    """As one does that limits how often it answers: `named` answers over TCP here, and a stand-in once over UDP."""
    asked: list[bytes] = []
    port = free_port()

    def once(wire: bytes) -> bytes | None:
        asked.append(wire)
        query = dns.message.from_wire(wire)
        return dns.query.udp(query, NS1, 1, world.port).to_wire() if len(asked) == 1 else None

    network = Network(Asking(timeout=1))
    name = dns.name.from_text("good.example.")
    with liar(LIAR, port, once), forwarded((LIAR, port), (NS1, world.port)):
        answers = [network.ask(Address(LIAR, port), name, "SOA", False) for _ in range(2)]
    assert [bool(answer.flags & dns.flags.AA) for answer in answers] == [True, True]
    assert len(asked) == 1 + dns_questions.TRIES


@contextmanager
def forwarded(here: tuple[str, int], there: tuple[str, int]) -> Iterator[None]:
    """One TCP connection, one question and its answer passed on."""

    def serve() -> None:
        client, _ = server.accept()
        with client, socket.create_connection(there, 5) as behind:
            behind.sendall(client.recv(4096))
            client.sendall(behind.recv(4096))

    with socket.create_server(here) as server:
        server.settimeout(5)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            thread.join()


def test_no_question_is_asked_twice(world: Hierarchy) -> None:
    """A server that says where `example` is; everybody asks for that, and it is told once."""
    asked: list[str] = []
    port = free_port()

    def reply(wire: bytes) -> bytes:
        query = dns.message.from_wire(wire)
        asked.append(f"{query.question[0].name} {query.question[0].rdtype}")
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA
        answer.set_rcode(dns.rcode.NXDOMAIN)
        answer.authority.append(dns.rrset.from_text("example.", 300, "IN", "SOA", "a. b. 1 1 1 1 1"))
        return answer.to_wire()

    with liar(LIAR, port, reply):
        look([question(f"z{n}.example") for n in range(40)], Asking(roots=(LIAR,), port=port, timeout=1, inside=True))
    assert len(asked) == len({*asked})


def test_zones_are_given_up_when_the_run_ends(world: Hierarchy) -> None:
    class EndedError(Exception):
        pass

    def stop(done: int) -> None:
        raise EndedError

    before = threading.active_count()
    with pytest.raises(EndedError):
        look([question(f"z{n}.example") for n in range(200)], asking(world, "walking"), stop)
    assert threading.active_count() <= before + 1


# -- lies -----------------------------------------------------------------------------------------------------


def anything(seed: int, wire: bytes) -> bytes | None:
    """What a hostile server could say, different for each question and always the same; often it is half true."""
    query = dns.message.from_wire(wire)
    name, rtype = query.question[0].name, dns.rdatatype.to_text(query.question[0].rdtype)
    dice = random.Random(f"{seed} {query.question[0]}")  # noqa: S311
    answer = dns.message.make_response(query)
    answer.flags |= dns.flags.AA if dice.random() < 0.9 else 0
    answer.set_rcode(dice.choice([dns.rcode.NOERROR] * 9 + [dns.rcode.NXDOMAIN, dns.rcode.SERVFAIL]))
    host = dice.choice(["ns.a.example.", "ns.b.example.", "a.example.", f"{'x' * 63}."])
    records = {
        "NS": host,
        "SOA": f"{host} {host} {dice.randrange(9)} 1 1 1 1",
        "A": LIAR,
        "AAAA": "::1",
        "MX": f"10 {host}",
        "CNAME": host,
        "TXT": dice.choice(["v=spf1\\032include:a.example\\032mx\\032-all", r"\000\255", r"v=spf1\009", "v=spf1"]),
        "DNSKEY": "257 3 13 " + "A" * dice.choice([4, 88]),
        "DS": "1 13 2 " + "00" * 32,
        "RRSIG": f"{rtype} 13 2 1 20300101000000 20200101000000 1 {host} AAAA",
    }
    if dice.random() < 0.8 and rtype in records:
        answer.answer.append(dns.rrset.from_text(name, 300, "IN", rtype, records[rtype]))
    for section in (answer.answer, answer.authority, answer.additional):
        for noise, text in records.items():
            if dice.random() < 0.1:
                owner = name if dice.random() < 0.5 else dns.name.from_text(host)
                section.append(dns.rrset.from_text(owner, 300, "IN", noise, text))
    made = bytearray(answer.to_wire(max_size=65_535))
    for _ in range(dice.choice([0] * 9 + [1, 9])):
        made[dice.randrange(2, len(made))] = dice.randrange(256)
    return bytes(made)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", [1, 9])
def test_whatever_a_server_says_every_zone_is_judged(
    tmp_path: Path, way: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A made-up answer may hold any address; none but the liar's is asked.
    monkeypatch.setattr(Network, "may_ask", lambda self, ip: ip == LIAR)
    names, port = [f"z{n}.y{n}.example" for n in range(150)], free_port()
    files = {f"customers/acme/dns/{name}.yaml": "{}\n" for name in names}
    files["customers/acme/dns.yaml"] = f"zones: {{{', '.join(f'{name}: {{target: files}}' for name in names)}}}\n"
    declared = load(estate(tmp_path, files), now=NOW)
    of = checks.facts_of(declared, declarations(declared, Selection(), {}, NOW), [], {}, NOW)
    seen: dict[ZoneQuestion, ZoneSeen] = {}

    def ask(zones: Sequence[ZoneQuestion]) -> Seen:
        resolvers, roots = ((Address(LIAR, port),), ()) if way == "resolver" else ((), (LIAR,))
        seen.update(look(zones, Asking(resolvers, roots, port, timeout=1, settle=0, zone_timeout=20)))
        return seen

    with liar(LIAR, port, partial(anything, seed)):
        found = checks.find(of, {ZoneQuestion: ask})
    assert len(seen) == len(names)
    assert not [what.why for what in seen.values() if "failed" in what.why]
    assert {what.delegation.status for what in seen.values()} == {*Status}
    assert sum(bool(what.serving) for what in seen.values()) > 5
    assert all(finding.what.isprintable() and len(finding.what) < 1000 for finding in found.open)
    judged = {finding.path.split("/")[1] for finding in found.open}
    assert judged == {*names}  # there is nothing here that could be called good
