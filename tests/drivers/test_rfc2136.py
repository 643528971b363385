"""Dynamic zones on real BIND and Knot: the contract, what is guarded, and what is said when something is wrong."""

from __future__ import annotations

import base64
import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Barrier, get_ident
from typing import Any

import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from pydantic import ValidationError

from mspctl.apply import Outcome
from mspctl.driver import Access, Failed, Landed, Reading, Work
from mspctl.drivers import rfc2136
from mspctl.errors import Error, Stale, TargetError, Unreachable
from mspctl.kinds import dns as kind
from mspctl.resource import Cause, Change, Id, Resource, Scope, Value
from mspctl.secrets import Secrets
from mspctl.transports.name_server import Connection
from tests.drivers.contract import DriverContract, Rig, Sample
from tests.drivers.test_zonefile import EVERY_TYPE
from tests.drivers.workbench import Workbench
from tests.servers import dynamic
from tests.servers.dynamic import NAME_SERVERS, Bind, Dynamic, Knot
from tests.servers.name_servers import HOST
from tests.servers.relay import Spoil, relay

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


@pytest.fixture
def bench(rig: ServerRig) -> Workbench:
    return Workbench(lambda scope: rig.reader(), lambda scope: rig.driver(), approved=True)


def live(rig: ServerRig, scope: Scope = SCOPE, known: Sequence[Resource] = ()) -> dict[str, Mapping[str, Value]]:
    """Name → fields, as read."""
    (answer,) = rig.reader().read([scope], {scope: known})
    assert isinstance(answer, Reading), answer
    return {r.id.name: r.fields for r in answer.resources}


def fields(*resources: Resource) -> dict[str, Mapping[str, Value]]:
    return {r.id.name: r.fields for r in resources}


def failure(rig: ServerRig, scope: Scope = SCOPE) -> TargetError:
    """Why a zone cannot be read: one line, without the secret."""
    try:
        (answer,) = rig.reader().read([scope], {})
    except TargetError as error:
        return error
    assert isinstance(answer, Failed), answer
    said = str(answer.error)
    assert "\n" not in said
    assert rig.server.secret not in said
    return answer.error


def ended(outcome: Outcome, scope: Scope = SCOPE) -> str:
    return outcome.scopes[scope].error


def numbered(count: int, what: str = "h", ttl: int = 3600) -> list[Resource]:
    return [rrset(f"{what}{n}", "A", f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", ttl=ttl) for n in range(count)]


def bulky(count: int = 100) -> list[Resource]:
    """So much that it takes two messages."""
    return [rrset(f"t{n}", "TXT", f"{n} " + "x" * 900) for n in range(count)]


@contextmanager
def between(rig: ServerRig, spoil: Spoil) -> Iterator[None]:
    """Meanwhile a stand-in for a bad network is between us and the server."""
    with relay(rig.server.port, spoil) as rig.port:
        yield
    rig.port = rig.server.port


def is_update(query: bytes) -> bool:
    return dns.opcode.from_flags(int.from_bytes(query[2:4], "big")) == dns.opcode.UPDATE


# -- what is there --------------------------------------------------------------------------------------------


def test_every_type_goes_there_and_comes_back(bench: Workbench, rig: ServerRig) -> None:
    bench.declare(SCOPE, *EVERY_TYPE)
    bench.converge()
    assert live(rig, known=EVERY_TYPE) == fields(*EVERY_TYPE)
    bench.declare(SCOPE)
    bench.converge()
    assert live(rig) == {}


def test_a_zone_of_addresses(server: Dynamic, bench: Workbench, rig: ServerRig) -> None:
    scope = Scope("ns-1", "dns", "0/25.2.0.192.in-addr.arpa", "acme")
    server.add(scope.name)
    bench.declare(scope, rrset("1", "PTR", "www"), rrset("2", "PTR", "mail.acme.example."))
    bench.converge()


BY_HAND = """
split TXT "one" "two" " and three"
UPPER MX 10 MAIL.Provider.Example.
caa CAA 0 ISSUE "ca.example"
naptr NAPTR 100 10 "u" "E2U+sip" "!^.*$!sip:info@acme.example!" .
"""


def test_what_was_written_in_another_spelling_can_be_changed(server: Dynamic, bench: Workbench, rig: ServerRig) -> None:
    """A server compares prerequisites octet by octet, so it is asked for its own spelling."""
    scope = Scope("ns-1", "dns", "spelt.example", "acme")
    server.add(scope.name, dynamic.bare(scope.name) + BY_HAND)
    values = {
        "split TXT": '"onetwo and three"',
        "upper MX": "10 mail.provider.example.",
        "caa CAA": '0 issue "ca.example"',
    }
    held = live(rig, scope)
    assert {name: f["values"] for name, f in held.items() if name in values} == {
        n: frozenset({v}) for n, v in values.items()
    }
    was = [Resource(Id(kind.KIND, name), f) for name, f in held.items()]
    bench.declare(scope, *was)
    bench.converge()
    changed = [
        rrset("split", "TXT", "x"),
        rrset("upper", "MX", "20 mail.provider.example."),
        rrset("caa", "CAA", '0 issue ";"'),
    ]
    bench.declare(scope, *changed)
    assert bench.converge().landed == 4
    assert live(rig, scope) == fields(*changed)


def test_a_zone_of_ten_thousand_records(server: Dynamic, rig: ServerRig) -> None:
    scope = Scope("ns-1", "dns", "large.example", "acme")
    text = "".join(f"h{n} A 10.{n >> 16}.{n >> 8 & 255}.{n & 255}\n" for n in range(10_000))
    server.add(scope.name, dynamic.bare(scope.name) + text)
    assert live(rig, scope) == fields(*numbered(10_000))
    change = Change(numbered(10)[9], None)
    assert [*rig.driver().apply([Work(scope, [change], [])])] == [Landed(scope, change)]
    assert "h9 A" not in live(rig, scope)


@pytest.mark.parametrize(("made", "signed"), [(Bind, "dynamic"), (Bind, "inline"), (Knot, "on")])
def test_a_signed_zone_shows_what_was_declared_and_nothing_else(
    tmp_path: Path, made: type[Dynamic], signed: str
) -> None:
    with dynamic.running(made(tmp_path)) as server:
        server.add(ZONE, signed=signed)
        rig = ServerRig(server)
        bench = Workbench(lambda scope: rig.reader(), lambda scope: rig.driver(), approved=True)
        first, second = rrset("www", "A", "192.0.2.1"), rrset("www", "A", "192.0.2.2")
        bench.declare(SCOPE, first, MX)
        bench.converge()
        assert live(rig) == fields(first, MX)
        bench.declare(SCOPE, second, TXT, rrset("www", "AAAA", "2001:db8::1"))
        bench.converge()
        assert live(rig) == fields(second, TXT, rrset("www", "AAAA", "2001:db8::1"))
        types = {dns.rdatatype.to_text(record.rdtype) for record in server.records(ZONE)}
        assert {"RRSIG", "DNSKEY"} <= types  # it is signed
        shown = bench.plan()
        rig.by_hand(SCOPE, second.id, first)
        assert bench.causes(SCOPE) == {"www A": Cause.DRIFT}
        assert shown[SCOPE].steps == []


# -- name servers of the zone ---------------------------------------------------------------------------------

OTHERS = ("ns1.msp.example.", "ns3.msp.example.", "ns4.msp.example.")


def test_name_servers_change_hands(bench: Workbench, rig: ServerRig) -> None:
    """A server ignores the removal of all of them, so the new ones come first, in the same message."""
    inside = [rrset("@", "NS", "ns.acme.example."), rrset("ns", "A", "192.0.2.53")]
    for resources in (
        [rrset("@", "NS", *OTHERS)],
        [rrset("@", "NS", *OTHERS, ttl=60)],
        inside,
        [rrset("@", "NS", *OTHERS[1:])],
    ):
        bench.declare(SCOPE, *resources)
        bench.converge()
        assert live(rig, known=resources) == fields(*resources)


def test_the_ttl_of_a_single_name_server(bench: Workbench, rig: ServerRig) -> None:
    """It cannot be deleted, and Knot takes a TTL from no record that is there already. Then we say so."""
    bench.declare(SCOPE, rrset("@", "NS", OTHERS[0]))
    bench.converge()
    bench.declare(SCOPE, rrset("@", "NS", OTHERS[0], ttl=60))
    said = "the server said yes, and has not done it: @ NS"
    assert ended(bench.apply()) == (said if isinstance(rig.server, Knot) else "")


def test_name_servers_that_are_no_longer_declared_are_those_of_the_target(bench: Workbench, rig: ServerRig) -> None:
    bench.declare(SCOPE, rrset("@", "NS", *OTHERS), WWW)
    bench.converge()
    bench.declare(SCOPE, WWW)
    bench.converge()
    assert live(rig) == fields(WWW)
    rig.settings = {}
    assert live(rig)["@ NS"]["values"] == frozenset(NAME_SERVERS)


def test_a_zone_is_not_left_without_name_servers(bench: Workbench, rig: ServerRig) -> None:
    rig.settings = {}
    bench.declare(SCOPE, rrset("@", "NS", *NAME_SERVERS), WWW)
    bench.converge()
    serial = rig.server.soa(ZONE)
    bench.declare(SCOPE)
    assert ended(bench.apply()) == f"{ZONE} has no name servers (declare apex NS, or give the target nameservers)"
    assert rig.server.soa(ZONE) == serial


def test_a_zone_that_goes_stays_empty_and_says_how_to_remove_it(bench: Workbench, rig: ServerRig) -> None:
    rig.settings = {}
    bench.declare(SCOPE, rrset("@", "NS", *NAME_SERVERS), WWW, TXT)
    bench.converge()
    bench.declare_from(SCOPE, lambda outputs: (), gone=True)
    outcome = bench.apply()
    assert outcome.landed == 2
    assert f"rndc delzone -clean {ZONE}" in ended(outcome)
    assert {*live(rig)} == {"@ NS"}


# -- what is not sent -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "declared", "why"),
    [
        (rrset("www", "TXT", "x"), rrset("www", "CNAME", "a"), "www.acme.example. would hold a CNAME beside TXT"),
        (rrset("www", "CNAME", "a"), rrset("www", "TXT", "x"), "www.acme.example. would hold a CNAME beside TXT"),
        (rrset("www", "TXT", "x"), rrset("sub", "DS", "1 13 2 " + "ef" * 32), "there is no sub NS"),
        (rrset("x.old", "TXT", "x"), rrset("old", "DNAME", "a"), "a DNAME above other names"),
        (rrset("www", "TXT", "x"), rrset("@", "NS", "ns.acme.example."), "name server ns.acme.example. has no address"),
    ],
)
def test_what_a_server_would_refuse_or_ignore_is_not_sent(
    bench: Workbench, rig: ServerRig, there: Resource, declared: Resource, why: str
) -> None:
    rig.by_hand(SCOPE, there.id, there)
    serial = rig.server.soa(ZONE)
    bench.declare(SCOPE, declared, rrset("fine", "A", "192.0.2.1"))
    outcome = bench.apply()
    assert (outcome.landed, len(outcome.scopes[SCOPE].failed)) == (0, 2)
    assert why in ended(outcome)
    assert rig.server.soa(ZONE) == serial


def test_what_a_server_ignores_all_the_same_has_not_landed(bench: Workbench, rig: ServerRig) -> None:
    """Somebody is faster, and no prerequisite could say so: there is no asking for “no other type at this name”."""
    theirs, others = rrset("www", "TXT", "theirs"), rrset("other", "A", "192.0.2.9")
    calls = []

    def spoil(query: bytes, number: int, answer: bytes) -> bytes:
        calls.append(is_update(query))
        if calls == [False]:  # the zone as it is read just before it is changed
            rig.by_hand(SCOPE, theirs.id, theirs)
        return answer

    bench.declare(SCOPE, rrset("www", "CNAME", "a"), others)
    shown = bench.plan()
    with between(rig, spoil):
        outcome = bench.apply(first=shown)
    assert ended(outcome) == "the server said yes, and has not done it: www CNAME"
    assert [c.id for c in outcome.scopes[SCOPE].landed] == [others.id]
    assert live(rig) == fields(theirs, others)


def test_what_fits_into_no_message_is_not_sent(bench: Workbench, rig: ServerRig) -> None:
    serial = rig.server.soa(ZONE)
    bench.declare(SCOPE, rrset("long", "TXT", *(f"{n}{'x' * 2000}" for n in range(40))), WWW)
    assert ended(bench.apply()) == "long TXT: this is more than one DNS message can hold (64 KiB)"
    assert rig.server.soa(ZONE) == serial


# -- somebody else in between ---------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["create", "update", "delete"])
def test_a_change_at_the_last_moment_is_seen_by_the_server(bench: Workbench, rig: ServerRig, verb: str) -> None:
    theirs = rrset("www", "A", "192.0.2.66")
    if verb != "create":
        bench.declare(SCOPE, WWW, TXT)
        bench.converge()
    bench.declare(
        SCOPE,
        *([WWW] if verb == "create" else [theirs] if verb == "update" else []),
        rrset("new", "A", "192.0.2.7"),
        TXT,
    )
    theirs = rrset("www", "A", "192.0.2.77")
    calls = []

    def spoil(query: bytes, number: int, answer: bytes) -> bytes:
        calls.append(query)
        if len(calls) == 1:
            rig.by_hand(SCOPE, theirs.id, theirs)
        return answer

    shown = bench.plan()
    with between(rig, spoil):
        outcome = bench.apply(first=shown)
    assert outcome.landed == 0
    assert ended(outcome) == "www A was changed on the server since it was read"
    assert is_update(calls[1])
    assert {n: f for n, f in live(rig).items() if n != "@ TXT"} == fields(theirs)


def test_of_two_writers_the_slower_is_told_and_nothing_is_overwritten(server: Dynamic, rig: ServerRig) -> None:
    rig.by_hand(SCOPE, WWW.id, WWW)
    before = WWW
    with ThreadPoolExecutor(2) as executor:
        for number in range(50):
            wanted = [rrset("www", "A", f"192.0.2.{10 + 2 * number + which}") for which in range(2)]
            ready = Barrier(2)

            def write(after: Resource, before: Resource = before, ready: Barrier = ready) -> Landed | Failed:
                work = Work(SCOPE, [Change(before, after)], [after])
                ready.wait()
                (answer,) = rig.driver().apply([work])
                return answer

            answers = [*executor.map(write, wanted)]
            (winner,) = [a.change.after for a in answers if isinstance(a, Landed)]
            assert [type(a.error) for a in answers if isinstance(a, Failed)] == [Stale]
            assert winner is not None
            assert live(rig)["www A"] == winner.fields
            before = winner


# -- more than one message ------------------------------------------------------------------------------------


def test_three_thousand_changes_go_in_a_safe_order(bench: Workbench, rig: ServerRig) -> None:
    """What others point at comes first, what is taken away last; what takes another's place goes with it."""
    old, new, away = numbered(1000), numbered(1000, ttl=60), numbered(1000, "away")
    was = [rrset("was", "A", "192.0.2.7"), rrset("ns-old", "A", "192.0.2.53"), rrset("@", "NS", "ns-old")]
    now = [rrset("was", "CNAME", "h1"), rrset("ns-new", "A", "192.0.2.54"), rrset("@", "NS", "ns-new")]
    bench.declare(SCOPE, *old, *away, *was)
    bench.apply()
    bench.declare(SCOPE, *new, *numbered(1000, "new"), *now, rrset("@", "MX", "10 new7"))
    due = bench.plan()[SCOPE].due
    assert len(due) == 3006
    seen: list[dict[str, Mapping[str, Value]]] = []

    def spoil(query: bytes, number: int, answer: bytes) -> bytes:
        if is_update(query):
            seen.append(live(ServerRig(rig.server)))
        return answer

    with between(rig, spoil):
        assert bench.apply().landed == 3006
    assert 2 < len(seen) < 9
    for held in seen:
        assert {n: f for n, f in held.items() if n.startswith("was ")} in (fields(was[0]), fields(now[0]))
        hosts = held["@ NS"]["values"]
        assert isinstance(hosts, frozenset)
        assert all(f"{host.removesuffix(f'.{ZONE}.')} A" in held for host in hosts)
        assert "@ MX" not in held or "new7 A" in held
        assert "away0 A" in held or "new999 A" in held
    assert bench.pending() == {}


def test_what_a_refused_message_holds_has_not_landed_and_the_others_have(bench: Workbench, rig: ServerRig) -> None:
    def spoil(query: bytes, number: int, answer: bytes) -> bytes:
        if is_update(query):
            rig.server.may(ZONE, transfer=True, update=False)
        return answer

    bench.declare(SCOPE, *bulky())
    try:
        with between(rig, spoil):
            outcome = bench.apply()
    finally:
        rig.server.may(ZONE, transfer=True, update=True)
    end = outcome.scopes[SCOPE]
    assert end.error.startswith("stopped at message 2 of 2, what the others before it hold has landed: the server ")
    assert (len(end.landed), len(end.failed)) == (50, 50)
    assert live(rig) == fields(*(c.after for c in end.landed if c.after))
    assert bench.converge().landed == len(end.failed)


@pytest.mark.parametrize("answered", [True, False], ids=["answered", "answer lost"])
def test_a_server_that_dies_while_we_write(bench: Workbench, rig: ServerRig, answered: bool) -> None:
    def spoil(query: bytes, number: int, answer: bytes) -> bytes | None:
        if is_update(query):
            rig.server.kill()
            return answer if answered else None
        return answer

    bench.declare(SCOPE, *bulky())
    with between(rig, spoil):
        outcome = bench.apply()
    end = outcome.scopes[SCOPE]
    assert end.unreachable
    assert len(end.landed) == (50 if answered else 0)
    rig.server.start()
    held = live(rig)
    assert all(held[c.id.name] == c.after.fields for c in end.landed if c.after)
    assert len(held) == 50  # what BIND and Knot have said yes to is on disk
    bench.converge()
    assert live(rig) == fields(*bulky())


def test_an_update_whose_answer_is_lost_is_looked_for(bench: Workbench, rig: ServerRig) -> None:
    bench.declare(SCOPE, WWW, TXT)
    with between(rig, lambda query, number, answer: None if is_update(query) else answer):
        assert bench.apply().landed == 2
    assert bench.pending() == {}


def test_a_server_that_was_started_anew_between_plan_and_apply(bench: Workbench, rig: ServerRig) -> None:
    bench.declare(SCOPE, WWW)
    shown = bench.plan()
    rig.server.kill()
    rig.server.start()
    assert bench.apply(first=shown).landed == 1


def test_a_connection_that_the_server_closed_is_opened_again(rig: ServerRig) -> None:
    with Connection(rig.reader()._server()) as connection:
        first = connection.transfer(ZONE)
        rig.server.stop()
        rig.server.start()
        assert connection.transfer(ZONE) == first


def test_many_serials_over_one_connection(rig: ServerRig) -> None:
    scopes = [*rig.scopes, *(Scope("ns-1", "dns", f"nowhere-{n}.example") for n in range(50)), *rig.scopes]
    assert rig.reader().tokens(scopes) == {scope: str(rig.server.soa(scope.name)) for scope in rig.scopes}


# -- what cannot be read is never empty -----------------------------------------------------------------------


def cut(after: int) -> Spoil:
    return lambda query, number, answer: answer if number < after else None


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (cut(0), "closed the connection before its answer was whole"),
        (cut(1), "closed the connection before its answer was whole"),
        (lambda query, number, answer: answer if number < 1 else answer[:-20], "makes no sense"),
        (lambda query, number, answer: answer[:300], "makes no sense"),
        (
            lambda query, number, answer: answer.replace(b"xxxx", b"yyyy"),
            "is not signed with the TSIG",
        ),
        (lambda query, number, answer: bytes([answer[0] ^ 1]) + answer[1:], "answers what it was not asked"),
    ],
    ids=["nothing", "half", "shortened", "no message", "altered", "another's"],
)
def test_a_transfer_that_is_not_whole_is_no_zone(bench: Workbench, rig: ServerRig, spoil: Spoil, why: str) -> None:
    bench.declare(SCOPE, *bulky())
    bench.apply()
    with between(rig, spoil):
        assert why in str(failure(rig))
        bench.declare(SCOPE, WWW)
        outcome = bench.apply()
    assert outcome.landed == 0
    assert why in outcome.plans[0].error
    assert len(live(rig)) == 100


def test_a_transfer_that_broke_off_once_is_asked_for_again(bench: Workbench, rig: ServerRig) -> None:
    bench.declare(SCOPE, *bulky())
    bench.apply()
    queries: set[bytes] = set()

    def spoil(query: bytes, number: int, answer: bytes) -> bytes | None:
        queries.add(query)
        return answer if len(queries) > 1 or number < 1 else None

    with between(rig, spoil):
        assert len(live(rig)) == 100
    assert len(queries) == 2


def _record(line: str) -> dns.rrset.RRset:
    name, ttl, rdclass, rtype, value = line.split(None, 4)
    return dns.rrset.from_text(name, int(ttl), rdclass, rtype, value)


def told(rig: ServerRig, *lines: str, zone: str = ZONE, signed: bool = True) -> Spoil:
    """A stand-in that answers each query with these records, signed with the right key."""

    def spoil(query: bytes, number: int, answer: bytes) -> bytes:
        asked = dns.message.from_wire(query, keyring={rig.server.key.name: rig.server.key})
        said = dns.message.make_response(asked)
        said.question = [dns.rrset.from_text(zone + ".", 0, "IN", "AXFR")]
        said.answer = [_record(line) for line in lines]
        if not signed:
            said.tsig = None
        return said.to_wire()

    return spoil


SOA = f"{ZONE}. 60 IN SOA ns1.msp.example. hostmaster.msp.example. 7 1 2 3 4"
A = f"www.{ZONE}. 60 IN A 192.0.2.1"


@pytest.mark.parametrize(
    ("lines", "more", "why"),
    [
        ([SOA, A, SOA.replace(" 7 ", " 8 ")], {}, "was changed while it was transferred"),
        (
            [SOA.replace("acme", "other"), SOA.replace("acme", "other")],
            {},
            "was asked for acme.example, and answers for other.example",
        ),
        ([SOA, A, SOA], {"zone": "other.example"}, "answers what it was not asked"),
        ([A, SOA, SOA], {}, "does not begin with its SOA record"),
        ([], {}, "does not begin with its SOA record"),
        ([SOA, SOA, A], {}, "goes on after its end"),
        ([SOA, A, SOA], {"signed": False}, "is not signed"),
        ([SOA, f"{ZONE}. 60 CH TXT x", SOA], {}, "a record is of another class than IN"),
        ([SOA, "www.other.example. 60 IN A 192.0.2.1", SOA], {}, "'www.other.example.' is outside the zone"),
    ],
)
def test_an_answer_that_makes_no_sense_is_no_zone(
    rig: ServerRig, lines: list[str], more: dict[str, Any], why: str
) -> None:
    with between(rig, told(rig, *lines, **more)):
        assert why in str(failure(rig))


def test_a_server_that_says_nothing(rig: ServerRig) -> None:
    with socket.create_server((HOST, 0)) as silent:
        rig.port = silent.getsockname()[1]
        rig.settings = {"timeout": "1"}
        assert str(failure(rig)) == f"{HOST} port {rig.port} gave no answer within 1 seconds"
        assert isinstance(failure(rig), Unreachable)


# -- keys, clocks and permissions -----------------------------------------------------------------------------


def test_a_zone_that_is_not_there_says_how_to_make_it(bench: Workbench, rig: ServerRig) -> None:
    scope = Scope("ns-1", "dns", "nowhere.example", "acme")
    said = str(failure(rig, scope))
    assert said.startswith("the server has no zone nowhere.example, and over DNS none can be made. On BIND: ")
    assert "rndc addzone nowhere.example '{ type primary; file" in said
    assert "conf-set 'zone[nowhere.example]'" in said
    bench.declare(scope, WWW)
    bench.declare(SCOPE, WWW)
    outcome = bench.apply()
    assert [(p.scope, p.error) for p in outcome.plans if p.error] == [(scope, said)]
    assert outcome.landed == 1


def test_a_zone_that_may_not_be_transferred(rig: ServerRig) -> None:
    rig.server.may(ZONE, transfer=False, update=True)
    try:
        assert re.search(f"does not let (it|the TSIG key mspctl-test) transfer {ZONE}", str(failure(rig)))
        assert live(rig, rig.scopes[1]) == {}
    finally:
        rig.server.may(ZONE, transfer=True, update=True)


def test_wrong_keys(rig: ServerRig) -> None:
    def said(**how: Any) -> str:
        (answer,) = rfc2136.Reader(access(rig.server, **how)).read([SCOPE], {})
        assert isinstance(answer, Failed)
        return str(answer.error)

    assert rig.server.secret not in repr(rig.reader()._server())
    other = base64.b64encode(b"another secret, of the right size").decode()
    assert said(secret=other) == "the server has another secret for the TSIG key mspctl-test than we have"
    assert said(key="nobody").startswith("the server does not know the TSIG key nobody (hmac-sha256), or ")
    assert said(algorithm="hmac-sha512").startswith("the server does not know the TSIG key mspctl-test (hmac-sha512)")


def test_secrets_that_are_none(rig: ServerRig) -> None:
    for secret, why in (("not base64!", "secret TSIG is not base64"), ("", "secret TSIG .* is not set")):
        given = replace(access(rig.server), secrets=Secrets.given({"tsig": secret.encode()}, "ns-1"))
        with pytest.raises(Error, match=why):
            list(rfc2136.Reader(given).read([SCOPE], {}))
    with pytest.raises(TargetError, match="ns-1 has no address"):
        list(rfc2136.Reader(replace(access(rig.server), address="")).read([SCOPE], {}))


class Clock:
    """Is wrong by so many seconds when it is asked for the first time, the second time, and so on."""

    def __init__(self, *wrong: int) -> None:
        self.wrong = iter(wrong)

    def time(self) -> float:
        return time.time() + next(self.wrong)


@pytest.mark.parametrize("wrong", [-3600, 3600])
def test_clocks_that_differ(rig: ServerRig, monkeypatch: pytest.MonkeyPatch, wrong: int) -> None:
    monkeypatch.setattr("dns.message.time", Clock(wrong))  # when we sign
    assert str(failure(rig)).startswith("the clocks here and on the server are further apart than TSIG allows")
    monkeypatch.undo()
    monkeypatch.setattr("mspctl.transports.dns_wire.time", Clock(wrong))  # when we check
    assert "set the clocks here and there" in str(failure(rig))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"algorithm": "hmac-sha1"}, "is not one of hmac-sha256"),
        ({"algorithm": "hmac-md5"}, "SHA-1 and MD5 are broken"),
        ({"port": "0"}, "is not a port"),
        ({"port": "65536"}, "is not a port"),
        ({"connections": "0"}, "is not a number from 1"),
        ({"timeout": "soon"}, "is not a duration"),
        ({"zones": ["/etc/x"]}, "is not the name of a zone"),
        ({"catalog": "*.x"}, "is not the name of a zone"),
        ({"nope": "1"}, "Extra inputs are not permitted"),
        ({"key": ""}, "is empty"),
    ],
)
def test_settings_that_are_wrong(said: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        rfc2136.Settings.model_validate({"key": "k", **said})


# -- which zones there are ------------------------------------------------------------------------------------


def test_zones_are_listed_by_the_settings_and_by_a_catalog(rig: ServerRig) -> None:
    rig.settings = {"zones": ["one.example", ZONE]}
    assert rig.reader().scopes() == sorted(["one.example", ZONE])
    rig.settings = {"zones": "one.example", "catalog": CATALOG}
    assert rig.reader().scopes() == sorted(["one.example", *ZONES])
    rig.settings = {}
    with pytest.raises(TargetError, match=r"DNS cannot list the zones of a server: give ns-1 zones: .* or a catalog"):
        rig.reader().scopes()
    rig.settings = {"catalog": ZONE}
    with pytest.raises(TargetError, match=f"{ZONE} is no catalog zone"):
        rig.reader().scopes()


def test_a_catalog_may_be_hostile(server: Dynamic, rig: ServerRig) -> None:
    zone = "bad-catalog.invalid"
    server.add(zone, dynamic.bare(zone, ["invalid."]) + 'version TXT "2"\nm.zones PTR *.example.\n')
    rig.settings = {"catalog": zone}
    with pytest.raises(TargetError, match=f"catalog zone {zone}: .* is not the name of a zone"):
        rig.reader().scopes()


def test_many_zones_over_few_connections(server: Dynamic, rig: ServerRig) -> None:
    opened: set[int] = set()
    asked: list[str] = []

    def count(query: bytes, number: int, answer: bytes) -> bytes:
        opened.add(get_ident())
        asked.append(dns.message.from_wire(query, keyring=False).question[0].name.to_text(omit_final_dot=True))
        return answer

    scopes = [Scope("ns-1", "dns", zone) for zone in [*ZONES, "nowhere.example"] * 5]
    for connections in (1, 3):
        opened.clear()
        asked.clear()
        rig.settings = {"connections": str(connections)}
        with between(rig, count):
            answers = [*rig.reader().read(scopes, {})]
        assert [a.scope for a in answers] == scopes
        assert [a.scope.name for a in answers if isinstance(a, Failed)] == ["nowhere.example"] * 5
        assert sorted(asked) == sorted(s.name for s in scopes)
        assert len(opened) <= connections
