"""
All the ways to lock oneself out of a firewall: each is back by itself within its window, and reported.

The driver runs in the office's network and logs in over SSH. What goes wrong is done while a change waits to be
confirmed: between arming and the first log-in afresh.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from mspctl.driver import Access, Failed, Landed, Reading, Work
from mspctl.drivers import nftables
from mspctl.drivers.nftables import commit
from mspctl.errors import Unreachable
from mspctl.kinds import firewall
from mspctl.resource import Cause, Change, Resource
from mspctl.secrets import Secrets
from mspctl.transports import machine
from mspctl.transports.machine import Machine, Ran
from tests.drivers.nftables_rig import SCOPES, default, forward, nat, policy, rule, several, zone
from tests.servers import firewalls, processes, wires
from tests.servers.firewalls import FIREWALL, HOSTS, OFFICE, Firewall
from tests.servers.namespaces import inside, run

WINDOW = 5  # seconds, and as many for a log-in
SCOPE = SCOPES[0]
NAME = nftables.table_of(SCOPE)
soak = pytest.mark.soak


class Desk:
    """Somebody in the office who changes the firewall's rules."""

    def __init__(self, firewall: Firewall) -> None:
        self.firewall = firewall
        server = firewall.sshd
        said = {"port": str(server.port), "user": server.user, "host_key": server.host_key, "at_boot": "elsewhere"}
        said |= {"run_folder": f"{firewall.folder}/run", "boot_folder": f"{firewall.folder}/boot"}
        said |= {"confirm_within": f"{WINDOW}s", "timeout": f"{WINDOW}s"}
        settings = nftables.Settings.model_validate(said)
        secrets = Secrets.given({"ssh_key": server.client_key})
        self.access = Access("fw-1", FIREWALL["office"], settings, secrets, firewall.folder)
        self.driver = nftables.Driver(self.access)

    def usual(self) -> list[Resource]:
        us = rule(
            firewall.MANAGEMENT, from_=several("any"), to=several("self"), source=several("198.51.100.0/28"),
            services=several(f"tcp/{self.firewall.sshd.port}"),
        )  # fmt: skip
        zones = [zone(name, interface) for name, interface in firewalls.INTERFACES.items()]
        return [us, firewall.order([firewall.MANAGEMENT]), *zones, default()]

    def reading(self) -> Reading:
        (found,) = wires.within(self.firewall.names["office"], lambda: [*self.driver.read([SCOPE], {})])
        assert isinstance(found, Reading), found
        return found

    def apply(self, resources: Sequence[Resource]) -> list[Landed | Failed]:
        before, after = {r.id: r for r in self.reading().resources}, {r.id: r for r in resources}
        changes = [
            Change(before.get(id_), after.get(id_), Cause.PENDING)
            for id_ in {**before, **after}
            if before.get(id_) != after.get(id_)
        ]
        work = Work(SCOPE, changes, resources)
        return wires.within(self.firewall.names["office"], lambda: [*self.driver.apply([work])])

    def rules(self) -> str:
        return self.firewall.nft("-s", "list", "ruleset")

    def gets_in(self) -> bool:
        def log_in() -> bool:
            with (
                suppress(Unreachable),
                Machine(self.access.address, self.access.settings, self.access.secrets).session(),
            ):
                return True
            return False

        return wires.within(self.firewall.names["office"], log_in)

    def comes_back(self, rules: str) -> None:
        """Within the window, and what starting programs takes on a busy machine."""
        for _ in range(40 * (WINDOW + 6)):
            if self.rules() == rules:
                break
            time.sleep(0.025)
        assert self.rules() == rules
        assert self.gets_in()


@pytest.fixture(scope="module")
def firewall_() -> Iterator[Firewall]:
    with firewalls.running() as running:
        yield running


@pytest.fixture
def desk(firewall_: Firewall) -> Iterator[Desk]:
    firewall_.nft("flush", "ruleset")
    desk = Desk(firewall_)
    done = desk.apply(desk.usual())
    assert {*map(type, done)} == {Landed}, done
    yield desk
    firewall_.nft("flush", "ruleset")
    for folder in ("run", "boot"):
        subprocess.run(["rm", "-rf", firewall_.folder / folder], check=True, timeout=10)


@contextmanager
def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> Iterator[None]:
    """Something happens when a change is loaded, and before it is confirmed."""
    confirm = commit._confirm

    def first(device: Machine, place: Sequence[str], until: float, script: str) -> Ran | None:
        for _ in range(200):
            if Path(place[0], f"{place[1]}.code").exists():
                break
            time.sleep(0.01)
        happens()
        return confirm(device, place, until, script)

    with monkeypatch.context() as patched:
        patched.setattr(commit, "_confirm", first)
        yield


# -- rules that lock us out ------------------------------------------------------------------------------------------


def us(desk: Desk, **said: object) -> list[Resource]:
    """The usual rules, with another one that lets us in."""
    found = desk.usual()
    return [Resource(found[0].id, {**found[0].fields, **said}), *found[1:]]  # type: ignore[dict-item]


def ahead(desk: Desk, action: str) -> list[Resource]:
    """A rule in front of the one that lets us in."""
    first = rule("first", from_=several("any"), to=several("self"), services=several("any"), action=action)
    return [first, *desk.usual()[:1], firewall.order(["first", firewall.MANAGEMENT]), *desk.usual()[2:]]


def but(desk: Desk, *others: Resource) -> list[Resource]:
    """The usual ones, with some replaced or added."""
    ids = {r.id for r in others}
    return [*(r for r in desk.usual() if r.id not in ids), *others]


BAD: dict[str, Callable[[Desk], list[Resource]]] = {
    "our port is not let in": lambda d: us(d, services=several("tcp/1")),
    "our network is not let in": lambda d: us(d, source=several("198.51.100.64/28")),
    "nothing lets us in": lambda d: d.usual()[2:],
    "the rule that lets us in names a zone that is gone": lambda d: us(d, **{"from": several("elsewhere")}),
    "our zone has another interface": lambda d: [
        *us(d, **{"from": several("office")})[:2], zone("office", "gone0"), default()
    ],
    "something else drops first": lambda d: ahead(d, "drop"),
    "something else rejects first": lambda d: ahead(d, "reject"),
    "our zone is rejected": lambda d: [*d.usual()[2:], policy("office > self", action="reject")],
    "the way to us is a host's own address": lambda d: but(
        d, nat("us", zone="office", outside=FIREWALL["office"], inside=HOSTS["lan"])
    ),
    "a forward takes our port": lambda d: but(
        d, forward("ours", zone="office", listen=several(f"tcp/{d.firewall.sshd.port}"), source=several("any"))
    ),
    "IPv6 alone is let in": lambda d: us(d, source=several("2001:db8::/32")),
    "we are let in until yesterday": lambda d: us(d, until="2020-01-01 00:00"),
    "we are let in at other hours": lambda d: us(
        d, hours=several(f"{firewall.DAYS[(time.gmtime().tm_wday + 3) % 7]} 01:00-02:00")
    ),
    "pings alone are let in": lambda d: us(d, services=several("icmp/echo-request")),
}  # fmt: skip
QUICK = {"nothing lets us in"}


@pytest.mark.parametrize("name", [pytest.param(each, marks=() if each in QUICK else soak) for each in BAD])
def test_rules_that_lock_us_out_are_taken_back(desk: Desk, name: str) -> None:
    before = desk.rules()
    done = desk.apply(BAD[name](desk))
    assert isinstance(done[-1], Failed), done
    assert "nobody could log in with the new rules, so the device took them back after" in str(done[-1].error)
    desk.comes_back(before)


# -- what goes wrong meanwhile ---------------------------------------------------------------------------------------


def on(desk: Desk, *words: str) -> None:
    run(*inside(desk.firewall.names["fw"]), *words)


def for_a_while(seconds: float, begin: Callable[[], object], end: Callable[[], object]) -> threading.Timer:
    begin()
    timer = threading.Timer(seconds, end)
    timer.start()
    return timer


def link(desk: Desk, seconds: float) -> None:
    cut, plug = (("ip", "link", "set", "office0", state) for state in ("down", "up"))
    for_a_while(seconds, lambda: on(desk, *cut), lambda: on(desk, *plug))


def route(desk: Desk, seconds: float) -> None:
    away = ("ip", "route", "{}", "blackhole", f"{OFFICE}/32")
    add, delete = ([word.format(verb) for word in away] for verb in ("add", "del"))
    for_a_while(seconds, lambda: on(desk, *add), lambda: on(desk, *delete))


def file(desk: Desk, pattern: str, text: str | None) -> None:
    for each in (desk.firewall.folder / "run").glob(pattern):
        each.unlink() if text is None else each.write_text(text)


def no_folder(desk: Desk, seconds: float) -> None:
    """A file is where the folder for the next start was."""
    here, away = desk.firewall.folder / "boot", desk.firewall.folder / "boot.away"

    def begin() -> None:
        here.rename(away)
        here.touch()

    def end() -> None:
        here.unlink()
        away.rename(here)

    for_a_while(seconds, begin, end)


def frozen(desk: Desk, seconds: float) -> None:
    """sshd takes no connections for a while."""
    server = desk.firewall.sshd.process
    for_a_while(seconds, lambda: server.send_signal(signal.SIGSTOP), lambda: server.send_signal(signal.SIGCONT))


def nobody_stays(desk: Desk) -> None:
    """All sessions end at once, and sshd takes no new ones for a while."""
    with processes.held(*processes.below(desk.firewall.sshd.process.pid)) as sessions:
        for session in sessions:
            session.send(signal.SIGKILL)
    frozen(desk, WINDOW + 2)


def lost(desk: Desk) -> None:
    raise KeyboardInterrupt  # our own process ends here


HAPPENS: dict[str, tuple[Callable[[Desk], object], str]] = {
    "somebody deletes our table": (lambda d: d.firewall.nft("delete", "table", "inet", NAME), "took the table away"),
    "somebody flushes everything": (lambda d: d.firewall.nft("flush", "ruleset"), "took the table away"),
    "the link is cut for a moment": (lambda d: link(d, 1), ""),
    "the link is cut for longer": (lambda d: link(d, WINDOW + 2), "took them back"),
    "the route to us is gone for longer": (lambda d: route(d, WINDOW + 2), "took them back"),
    "sshd answers nobody for longer": (lambda d: frozen(d, WINDOW + 2), "took them back"),
    "all that sshd runs is killed": (nobody_stays, "took them back"),
    "the run folder is gone": (lambda d: run("rm", "-rf", f"{d.firewall.folder}/run"), "is gone"),
    "nothing can be written down for the next start": (lambda d: no_folder(d, WINDOW), "were not confirmed"),
    "our process dies": (lost, ""),
}  # fmt: skip
LANDS = {"the link is cut for a moment"}
QUICK_EVENTS = {"somebody flushes everything"}


@pytest.mark.parametrize("name", [pytest.param(each, marks=() if each in QUICK_EVENTS else soak) for each in HAPPENS])
def test_what_goes_wrong_meanwhile_takes_the_change_back(
    desk: Desk, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = desk.rules()
    happens, told = HAPPENS[name]
    done: list[Landed | Failed] = []
    with meanwhile(monkeypatch, lambda: happens(desk)), suppress(KeyboardInterrupt):
        done = desk.apply(but(desk, default(log=True)))
    if name in LANDS:
        assert isinstance(done[-1], Landed), done
        return
    if name != "our process dies":
        assert isinstance(done[-1], Failed), done
        assert told in str(done[-1].error)
    desk.comes_back(before)
    (landed,) = desk.apply(but(desk, default(log=True)))  # and what comes next is as always
    assert isinstance(landed, Landed), landed


@soak
@pytest.mark.parametrize("text", ["", "garbage {", None], ids=["empty", "damaged", "gone"])
def test_a_damaged_rollback_file_takes_nothing_away(
    desk: Desk, text: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = desk.rules()
    with meanwhile(monkeypatch, lambda: file(desk, "*.old", text)):
        (*_, failed) = desk.apply(desk.usual()[2:])
    assert isinstance(failed, Failed)
    assert "took them back" in str(failed.error)
    desk.comes_back(before)


@soak
def test_all_files_gone_and_rules_that_lock_us_out(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    before = desk.rules()
    with meanwhile(monkeypatch, lambda: file(desk, "*", None)):
        (*_, failed) = desk.apply(desk.usual()[2:])
    assert isinstance(failed, Failed)
    desk.comes_back(before)


LATE = {
    "is slow": f"sleep {WINDOW + 3}",
    "is stopped": "kill -STOP $$",
    "does not hear": f"trap : TERM; (trap : TERM; sleep {WINDOW + 3}); (sleep {WINDOW + 3})",
}


@pytest.mark.parametrize("name", [pytest.param(each, marks=() if each == "is stopped" else soak) for each in LATE])
def test_what_would_land_late_does_not_land_at_all(desk: Desk, name: str) -> None:
    """It would land on top of the old rules, after the timer has loaded them, with nobody left to take it back."""
    before = desk.rules()
    program = f'#!/bin/sh\nif [ "$1 $2" = "-j -f" ]; then {LATE[name]}; fi\nexec {{real}} "$@"\n'
    with desk.firewall.instead_of("nft", program):
        (failed,) = desk.apply(but(desk, default(log=True)))
        assert isinstance(failed, Failed)
        assert f"the new rules were not loaded after {WINDOW} s, so the device gave them up" in str(failed.error)
        assert desk.rules() == before
        begun = [each for each in processes.below(1) if str(desk.firewall.folder) in command(each)]
        assert begun == []
        if name != "is stopped":
            time.sleep(5)  # when it would have landed
            assert desk.rules() == before
    (landed,) = desk.apply(but(desk, default(log=True)))
    assert isinstance(landed, Landed)


def command(process: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_text(errors="replace")
    return ""


@soak
def test_a_program_that_is_missing_when_it_is_taken_back_is_waited_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, gone = desk.rules(), desk.firewall.folder / "gone"
    program = f'#!/bin/sh\n[ ! -e {gone} ] || exit 127\nexec {{real}} "$@"\n'
    with (
        desk.firewall.instead_of("nft", program),
        meanwhile(monkeypatch, lambda: for_a_while(WINDOW + 3, gone.touch, gone.unlink)),
    ):
        (*_, failed) = desk.apply(desk.usual()[2:])
    assert isinstance(failed, Failed)
    assert "took them back" in str(failed.error)
    desk.comes_back(before)


@soak
@pytest.mark.parametrize("options", ["size=4k,nr_inodes=2", "ro"], ids=["full", "read-only"])
def test_where_nothing_can_be_armed_nothing_is_loaded(desk: Desk, options: str) -> None:
    before, folder = desk.rules(), desk.firewall.folder / "run"
    folder.mkdir(exist_ok=True)
    run(*desk.firewall.files, "mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))
    try:
        (*_, failed) = desk.apply(but(desk, default(log=True)))
        assert isinstance(failed, Failed)
        assert "does not take the rules" in str(failed.error)
        assert desk.rules() == before
        assert desk.gets_in()
    finally:
        run(*desk.firewall.files, "umount", str(folder))


@soak
def test_a_disk_that_is_full_when_it_is_confirmed(desk: Desk) -> None:
    """The new rules could not be written down for the next start."""
    before, folder = desk.rules(), desk.firewall.folder / "boot"
    run(*desk.firewall.files, "mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=1", "tmpfs", str(folder))
    try:
        (*_, failed) = desk.apply(but(desk, default(log=True)))
        assert isinstance(failed, Failed)
        assert "the new rules were not confirmed: " in str(failed.error)
        assert f"the device takes them back by itself within {WINDOW} s" in str(failed.error)
        desk.comes_back(before)
    finally:
        run(*desk.firewall.files, "umount", str(folder))


@soak
def test_a_clock_that_is_wrong_is_told_before_anything_is_sent(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    before = desk.rules()
    must = machine.Session.must

    def wrong(self: machine.Session, argv: Sequence[str], given: bytes = b"", *, what: str = "") -> bytes:
        said = must(self, argv, given, what=what)
        return str(int(said) + 3600).encode() if argv[0] == "date" else said

    monkeypatch.setattr(machine.Session, "must", wrong)
    (*_, failed) = desk.apply(but(desk, rule("short", until="2099-01-01 00:00")))
    assert isinstance(failed, Failed)
    assert "its clock is +60 minutes wrong" in str(failed.error)
    assert desk.rules() == before


@soak
def test_what_is_cut_off_on_its_way_is_not_loaded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our process dies, or the link does, while the rules are sent."""
    before = desk.rules()
    feed = machine._feed
    monkeypatch.setattr(machine, "_feed", lambda channel, given: feed(channel, given[: len(given) // 2]))
    (*_, failed) = desk.apply(but(desk, default(log=True)))
    assert isinstance(failed, Failed)
    assert "cut off" in str(failed.error)
    assert desk.rules() == before


@soak
def test_while_one_change_waits_there_is_no_other(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    before = desk.rules()
    with meanwhile(monkeypatch, lambda: lost(desk)), suppress(KeyboardInterrupt):
        desk.apply(but(desk, default(log=True)))
    (failed,) = desk.apply(but(desk, default(action="reject")))
    assert isinstance(failed, Failed)
    told = str(failed.error)
    assert "another change waits to be confirmed, or is being" in told or "was changed on the device" in told
    desk.comes_back(before)


def no_timer(desk: Desk) -> None:
    """Somebody ends all that waits, and our own process ends."""
    for each in (desk.firewall.folder / "run").glob("*.timer"):
        os.killpg(int(each.read_text()), signal.SIGKILL)
    lost(desk)


def test_what_nobody_takes_back_any_more_is_told_and_settled(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with meanwhile(monkeypatch, lambda: no_timer(desk)), suppress(KeyboardInterrupt):
        desk.apply(but(desk, default(log=True)))
    told = "never confirmed, and somebody ended what was to take it back"
    found = desk.reading()
    (held,) = (r for r in found.resources if r.id == firewall.DEFAULT)
    assert told in "".join(firewall.texts(held, "amiss"))
    assert told in str(found.facts["boot_amiss"])
    saved = desk.firewall.folder / f"boot/{NAME}.json"
    assert "mspctl default" not in saved.read_text()  # the next start loads the old ones
    (landed,) = desk.apply(but(desk, default(log=True)))  # what Git says, once more
    assert isinstance(landed, Landed), landed
    assert "mspctl default" in saved.read_text()
    assert [*(desk.firewall.folder / "run").iterdir()] == []


@contextmanager
def slowly(desk: Desk, delay: float) -> Iterator[int]:
    """A port here that leads to the firewall's sshd; every piece takes so many seconds, either way."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                time.sleep(delay)
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
        ends.append(source)

    def connected() -> socket.socket:
        return socket.create_connection((FIREWALL["office"], desk.firewall.sshd.port), 5)

    def serve() -> None:
        with suppress(OSError):
            while True:
                here, _ = listener.accept()
                there = wires.within(desk.firewall.names["office"], connected)
                for pair in ((here, there), (there, here)):
                    threads.append(threading.Thread(target=pump, args=pair, daemon=True))
                    threads[-1].start()

    ends: list[socket.socket] = []
    threads = [threading.Thread(target=serve, daemon=True)]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads[0].start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(timeout=10)
    for end in ends:
        end.close()


@soak
def test_over_a_slow_link_it_takes_longer_and_no_more(desk: Desk) -> None:
    with slowly(desk, 0.15) as port:
        settings = desk.access.settings.model_copy(update={"port": port, "confirm_within": 60, "timeout": 30})
        desk.driver = nftables.Driver(replace(desk.access, address="127.0.0.1", settings=settings))
        wanted = but(desk, default(log=True))
        before = {r.id: r for r in desk.usual()}
        changes = [Change(before[r.id], r, Cause.PENDING) for r in wanted if before[r.id] != r]
        (landed,) = desk.driver.apply([Work(SCOPE, changes, wanted)])
        assert isinstance(landed, Landed)
    assert "mspctl default" in desk.rules()


@soak
def test_two_changes_and_a_hand_at_once(desk: Desk) -> None:
    """Nobody's is lost: who comes second is told, and a hand's rule stays where it is."""
    ways = (
        rule("one", from_=several("lan"), to=several("wan")),
        rule("two", from_=several("guest"), to=several("wan")),
    )
    done: dict[str, list[Landed | Failed]] = {}
    start = threading.Barrier(3)

    def one(each: Resource) -> None:
        start.wait()
        live = [r for r in desk.reading().resources if r.id != each.id]
        done[each.id.name] = desk.apply([*live, each])

    threads = [threading.Thread(target=one, args=(each,)) for each in ways]
    for thread in threads:
        thread.start()
    start.wait()
    desk.firewall.nft("insert", "rule", "inet", NAME, "forward", "tcp", "dport", "4711", "drop")
    for thread in threads:
        thread.join(timeout=60)
    told = [str(each.error) for found in done.values() for each in found if isinstance(each, Failed)]
    assert all("waits to be confirmed" in text or "changed on the device" in text for text in told), told
    for each in ways:  # again, as somebody would
        live = [r for r in desk.reading().resources if r.id != each.id]
        assert not [f for f in desk.apply([*live, each]) if isinstance(f, Failed)]
    held = {r.id.name for r in desk.reading().resources}
    assert {"one", "two"} <= held
    assert "tcp dport 4711 drop" in desk.rules()


@soak
@pytest.mark.parametrize("timer", ["is found", "is not found"])
def test_what_was_confirmed_stays(desk: Desk, timer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with meanwhile(monkeypatch, lambda: file(desk, "*.timer", None) if "not" in timer else None):
        (landed,) = desk.apply(but(desk, default(log=True)))
    assert isinstance(landed, Landed)
    rules = desk.rules()
    assert "mspctl default" in rules
    time.sleep(WINDOW + 2)
    assert desk.rules() == rules
    assert [*(desk.firewall.folder / "run").iterdir()] == []


def test_an_answer_that_is_lost_is_asked_for_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    run = machine.Session.run
    lost: list[Ran] = []

    def once(self: machine.Session, words: Sequence[str], given: bytes = b"") -> Ran:
        ran = run(self, words, given)
        if "forget" in "".join(words) and ran.code == 0 and not lost:
            lost.append(ran)
            raise Unreachable("the link is gone")
        return ran

    monkeypatch.setattr(machine.Session, "run", once)
    for log in (True, False):
        (landed,) = desk.apply(but(desk, default(log=log)))
        assert isinstance(landed, Landed)
        assert [*(desk.firewall.folder / "run").iterdir()] == []
    assert len(lost) == 1


# -- connections go on ----------------------------------------------------------------------------------------------

CALLS = """
import socket, sys
failed = 0
for _ in range(int(sys.argv[3])):
    try:
        with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as s: assert s.recv(9) == b"hello"
    except OSError: failed += 1
print(failed)
"""
HELLO = """
import socketserver, sys
class Handler(socketserver.BaseRequestHandler):
    def handle(self): self.request.sendall(b"hello")
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 128
server = Server(("0.0.0.0", 443), Handler)
print("ready", flush=True)
server.serve_forever()
"""


@soak
def test_a_thousand_connections_through_sixteen_reloads(desk: Desk) -> None:
    browse = rule("browse", from_=several("lan"), to=several("wan"), services=several("tcp/443"))
    desk.apply(but(desk, browse))
    server = desk.firewall.started("wan", sys.executable, "-c", HELLO)
    assert server.stdout is not None
    try:
        assert server.stdout.readline() == "ready\n"
        calls = [
            desk.firewall.started("lan", sys.executable, "-c", CALLS, HOSTS["wan"], "443", "125") for _ in range(8)
        ]
        for number in range(16):
            (landed,) = desk.apply(but(desk, browse, default(log=not number % 2)))
            assert isinstance(landed, Landed)
        assert [call.communicate(timeout=120)[0].strip() for call in calls] == ["0"] * 8
    finally:
        server.kill()
        server.communicate(timeout=10)
