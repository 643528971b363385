"""The VPN of a Linux firewall: real tunnels with wireguard-go, and real packets through them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mspctl.driver import Access, Gauge, Reading
from mspctl.drivers import nftables
from mspctl.drivers.nftables import tunnel
from mspctl.kinds import addresses, firewall, vpn
from mspctl.resource import Cause, Id, Resource, Scope
from mspctl.secrets import Secret, Secrets
from mspctl.transports.machine import Session
from tests.cli.test_firewall import SERVE
from tests.drivers.contract import DriverContract, Sample
from tests.drivers.nftables_rig import SCOPES, Device, default, rule, several, zone
from tests.drivers.workbench import Workbench
from tests.servers import firewalls, tunnels, wires
from tests.servers.firewalls import FIREWALL, HOSTS, Firewall
from tests.servers.tunnels import Keys

SCOPE = SCOPES[0]
CALL = """\
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3])) as s: print(s.recv(99).decode())
except OSError: print("no answer")
"""


class Vault:
    """Keys by what a field says of them."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.asked: list[str] = []

    def of(self, customer: str, wanted: Sequence[tuple[str, str]]) -> list[Secret]:
        self.asked += [said for _, said in wanted]
        return [Secret(said, self.held[said]) for _, said in wanted]


def user(name: str, key: str, *networks: str) -> Resource:
    said = firewall.fields(
        key=key, networks=addresses.joined(networks), endpoint="", keepalive=0, preshared="")  # fmt: skip
    return Resource(Id(vpn.USER, name), said)


def site(name: str, key: str, *networks: str, endpoint: str = "", keepalive: int = 0, preshared: str = "") -> Resource:
    said = firewall.fields(
        key=key, networks=addresses.joined(networks), endpoint=endpoint, keepalive=keepalive, preshared=preshared
    )
    return Resource(Id(vpn.SITE, name), said)


@pytest.fixture(scope="module")
def firewall_() -> Iterator[Firewall]:
    with firewalls.running() as running:
        server = running.started("lan", sys.executable, "-c", SERVE, "443", "4711")
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            yield running
        finally:
            server.kill()
            server.communicate(timeout=10)


class Rig:
    """A firewall that is administered over SSH from the office, as long as the tests say nothing else."""

    def __init__(self, running: Firewall, window: int = 20) -> None:
        self.firewall = running
        self.interface = tunnels.interface()
        self.vault = Vault()
        self.from_ = "office"
        self.own, self.luca, self.nora = tunnels.keys(), tunnels.keys(), tunnels.keys()
        self.vault.held["SEDE_WG rev 1"] = self.own.private.encode()
        self.argv: list[str] = []
        self.window = window
        self.folder = running.folder / self.interface
        self.folder.mkdir()

    def access(self) -> Access:
        server = self.firewall.sshd
        said = {"port": str(server.port), "user": server.user, "host_key": server.host_key, "at_boot": "elsewhere"}
        said |= {"run_folder": f"{self.folder}/run", "boot_folder": f"{self.folder}/boot"}
        settings = nftables.Settings.model_validate(said | {"confirm_within": f"{self.window}s", "timeout": "10s"})
        secrets = Secrets.given({"ssh_key": server.client_key})
        return Access("fw-1", self.address, settings, secrets, self.folder, self.vault)

    address = FIREWALL["office"]

    def bench(self) -> Workbench:
        rig = self

        class There(nftables.Driver):
            """Everything is said from the namespace that we are in."""

            def read(self, *given: Any) -> Any:
                return iter(wires.within(rig.firewall.names[rig.from_], lambda: [*super(There, self).read(*given)]))

            def apply(self, *given: Any) -> Any:
                return iter(wires.within(rig.firewall.names[rig.from_], lambda: [*super(There, self).apply(*given)]))

            def measure(self, gauges: Sequence[Gauge]) -> Any:
                return wires.within(rig.firewall.names[rig.from_], lambda: super(There, self).measure(gauges))

        self.driver = There(self.access())
        return Workbench(lambda scope: self.driver, lambda scope: self.driver, approved=True)

    def usual(self, *more: Resource, sources: frozenset[str] = several("198.51.100.0/28")) -> list[Resource]:
        """Who is let in, the VPN's port, and what luca gets to."""
        us = rule(
            firewall.MANAGEMENT, from_=several("any"), to=several("self"), source=sources,
            services=several(f"tcp/{self.firewall.sshd.port}"),
        )  # fmt: skip
        port = rule("vpn", from_=several("wan"), to=several("self"), services=several("udp/51820"))
        reach = rule(
            "vpn-luca", from_=several("vpn"), to=several("lan"), source=several("10.90.0.10"),
            destination=several(HOSTS["lan"]),
        )  # fmt: skip
        zones = [zone(name, each) for name, each in firewalls.INTERFACES.items()] + [zone("vpn", self.interface)]
        order = firewall.order([firewall.MANAGEMENT, "vpn", "vpn-luca"])
        return [us, port, reach, order, *zones, default(), *more]

    def tunnel(self, *addresses_: str, port: int = 51820, key: str = "SEDE_WG rev 1") -> Resource:
        own = frozenset(addresses_ or ("10.90.0.1/24", "fd00:90::1/64"))
        return Resource(
            Id(vpn.TUNNEL, self.interface), firewall.fields(port=port, addresses=own, key=key, amiss=frozenset())
        )

    def calling(self, who: Keys, address: str, shared: str = "") -> Any:
        return tunnels.calling(self.firewall, "wan", who, self.own.public, "203.0.113.1:51820", [address], shared)

    def reaches(self, host: str, port: int, patience: float = 10) -> str:
        """What somebody on the Internet is answered by a host inside: their own address."""
        return self.firewall.on("wan", sys.executable, "-c", CALL, host, str(port), str(patience)).strip()

    def wg(self, *words: str, given: str | None = None) -> str:
        return self.firewall.on("fw", "wg", *words, given=given)


@pytest.fixture
def rig(firewall_: Firewall) -> Iterator[Rig]:
    rig = Rig(firewall_)
    yield rig
    firewall_.nft("flush", "ruleset")
    tunnels.gone(firewall_.names["fw"], rig.interface)


def test_who_is_named_gets_through_and_to_what_is_said(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    words: list[str] = []
    run = Session.run

    def spied(self: Session, argv: Sequence[str], given: bytes = b"") -> Any:
        words.extend(argv)
        return run(self, argv, given)

    monkeypatch.setattr(Session, "run", spied)
    bench = rig.bench()
    luca, nora = user("luca", rig.luca.public, "10.90.0.10"), user("nora", rig.nora.public, "10.90.0.11")
    bench.declare(SCOPE, *rig.usual(rig.tunnel(), luca, nora))
    bench.converge()
    assert rig.vault.asked == ["SEDE_WG rev 1"]
    with rig.calling(rig.luca, "10.90.0.10/24"):
        assert rig.reaches(HOSTS["lan"], 443) == "::ffff:10.90.0.10"
        assert rig.reaches(HOSTS["lan"], 4711, 1) == "no answer"  # no rule says so
        gauges = [Gauge(SCOPE, r.id, vpn.HANDSHAKE) for r in (luca, nora)]
        seen = rig.driver.measure(gauges)
        assert abs(seen[gauges[0]].timestamp() - time.time()) < 300
        assert seen[gauges[1]] is None
        # Whoever else comes or goes, running connections stay; and nobody needs the vault for it.
        before = rig.wg("show", rig.interface, "latest-handshakes").splitlines()
        bench.declare(SCOPE, *rig.usual(rig.tunnel(), luca))
        bench.converge()
        assert set(rig.wg("show", rig.interface, "latest-handshakes").splitlines()) < {*before}
        assert rig.reaches(HOSTS["lan"], 443) == "::ffff:10.90.0.10"
        assert rig.vault.asked == ["SEDE_WG rev 1"]
        # Without a line, without access.
        bench.declare(SCOPE, *rig.usual(rig.tunnel()))
        bench.converge()
        assert rig.reaches(HOSTS["lan"], 443, 1) == "no answer"
    file = rig.folder / "boot" / f"{nftables.table_of(SCOPE)}.wg"
    assert file.stat().st_mode & 0o777 == 0o600
    assert rig.own.private in file.read_text()
    said = json.dumps([words, repr(bench.ledger.commits), repr(bench.plan())])
    assert rig.own.private not in said
    assert [*(rig.folder / "run").iterdir()] == []
    bench.declare(SCOPE, *rig.usual())  # the tunnel itself goes
    bench.converge()
    assert not file.exists()
    assert rig.interface not in rig.firewall.on("fw", "ip", "link")


@pytest.mark.soak
def test_another_site_is_reached_both_ways(rig: Rig) -> None:
    shared = rig.wg("genpsk").strip()
    rig.vault.held["DEPOSITO_PSK rev 1"] = shared.encode()
    there = site(
        "deposito", rig.nora.public, "10.90.0.20", "10.40.0.0/24", "fd00:40::/64", keepalive=25,
        preshared="DEPOSITO_PSK rev 1",
    )  # fmt: skip
    bench = rig.bench()
    through = rule("there", from_=several("vpn"), to=several("lan"), source=several("10.90.0.20"))
    usual = [r for r in rig.usual(rig.tunnel(), through) if r.id != firewall.ORDER]
    bench.declare(SCOPE, *usual, there, firewall.order([firewall.MANAGEMENT, "vpn", "vpn-luca", "there"]))
    bench.converge()
    assert f"10.40.0.0/24 dev {rig.interface}" in rig.firewall.on("fw", "ip", "route")
    with rig.calling(rig.nora, "10.90.0.20/24", shared):
        assert rig.reaches(HOSTS["lan"], 443) == "::ffff:10.90.0.20"
    fewer = Resource(there.id, {**there.fields, "networks": several("10.90.0.20", "fd00:40::/64")})
    bench.declare(SCOPE, *usual, fewer, firewall.order([firewall.MANAGEMENT, "vpn", "vpn-luca", "there"]))
    bench.converge()
    assert "10.40.0.0/24" not in rig.firewall.on("fw", "ip", "route")
    assert f"fd00:40::/64 dev {rig.interface}" in rig.firewall.on("fw", "ip", "-6", "route")


@pytest.mark.soak
def test_what_a_hand_does_to_the_tunnel_is_told(rig: Rig) -> None:
    bench = rig.bench()
    luca, nora = user("luca", rig.luca.public, "10.90.0.10"), user("nora", rig.nora.public, "10.90.0.11")
    bench.declare(SCOPE, *rig.usual(rig.tunnel(), luca, nora))
    bench.converge()
    other = tunnels.keys()
    shared = rig.wg("genpsk")
    rig.wg(
        "set", rig.interface, "peer", other.public, "allowed-ips", "10.90.0.66/32", "preshared-key", "/dev/stdin",
        "peer", rig.luca.public, "allowed-ips", "10.90.0.10/32,10.20.0.0/24", "peer", rig.nora.public, "remove",
        given=shared,
    )  # fmt: skip
    rig.firewall.on("fw", "ip", "addr", "add", "10.91.0.1/24", "dev", rig.interface)
    stranger = f"by hand {other.public[:12]}"
    assert bench.causes(SCOPE) == {
        stranger: Cause.UNMANAGED, "luca": Cause.DRIFT, "nora": Cause.DRIFT, rig.interface: Cause.DRIFT
    }  # fmt: skip
    assert shared.strip() not in repr(bench.plan())
    # What is not ours stays, with a key that we never saw, while ours is as Git says.
    bench.apply(frozenset({Cause.PENDING, Cause.DRIFT}))
    assert bench.causes(SCOPE) == {stranger: Cause.UNMANAGED}
    assert f"{other.public}\t{shared.strip()}" in rig.wg("show", rig.interface, "preshared-keys")
    rig.wg("set", rig.interface, "private-key", "/dev/stdin", given=tunnels.keys().private)
    assert bench.causes(SCOPE) == {stranger: Cause.UNMANAGED, rig.interface: Cause.DRIFT}
    rig.firewall.on("fw", "ip", "link", "del", rig.interface)
    assert bench.causes(SCOPE) == {"luca": Cause.DRIFT, "nora": Cause.DRIFT, rig.interface: Cause.DRIFT}
    bench.converge(causes=frozenset({Cause.PENDING, Cause.DRIFT}))
    assert rig.wg("show", rig.interface, "public-key").strip() == rig.own.public


@pytest.mark.soak
def test_who_comes_in_through_the_tunnel_cannot_shut_it(firewall_: Firewall, rig: Rig) -> None:
    """The only way in is the tunnel, and a change makes it end; it is back by itself."""
    rig.window = 6
    bench = rig.bench()
    luca = user("luca", rig.luca.public, "10.90.0.10")
    bench.declare(SCOPE, *rig.usual(rig.tunnel(), luca, sources=several("198.51.100.0/28", "10.90.0.10")))
    bench.converge()
    shut = Resource(luca.id, {**luca.fields, "key": rig.nora.public})
    with rig.calling(rig.luca, "10.90.0.10/24"):
        rig.firewall.on("fw", "wg", "show", rig.interface, "peers")
        assert rig.reaches(HOSTS["lan"], 443) == "::ffff:10.90.0.10"
        # sshd listens in the office's network only; the way there goes through the tunnel.
        name = rig.firewall.on("wan", "sh", "-c", "ip -o link | grep -o 'wg[0-9a-f]*' | head -1").strip()
        rig.firewall.on("wan", "ip", "route", "add", FIREWALL["office"], "dev", name)
        rig.firewall.on("wan", "wg", "set", name, "peer", rig.own.public, "allowed-ips",
                        f"10.90.0.0/24,10.20.0.0/24,{FIREWALL['office']}/32")  # fmt: skip
        rig.from_ = "wan"
        bench.declare(SCOPE, *rig.usual(rig.tunnel(), luca, sources=several("10.90.0.10")))
        bench.converge()
        before = rig.wg("show", rig.interface, "allowed-ips")
        bench.declare(SCOPE, *rig.usual(rig.tunnel(), shut, sources=several("10.90.0.10")))
        outcome = bench.apply()
        assert "nobody could log in with the new settings of the VPN, so the device took them back after 6 s" in str(
            outcome.scopes[SCOPE].error
        )
        assert rig.wg("show", rig.interface, "allowed-ips") == before
        assert rig.reaches(HOSTS["lan"], 443) == "::ffff:10.90.0.10"


@pytest.mark.soak
@pytest.mark.parametrize("held", [True, False], ids=["a tunnel", "no tunnel"])
def test_a_load_that_takes_too_long_leaves_what_was(rig: Rig, held: bool) -> None:
    """`wg` waits for the DNS, say: then it is ended, and lands on nothing."""
    rig.window = 6
    bench = rig.bench()
    luca, nora = user("luca", rig.luca.public, "10.90.0.10"), user("nora", rig.nora.public, "10.90.0.11")
    tunnel_ = [rig.tunnel(), luca]
    bench.declare(SCOPE, *rig.usual(*(tunnel_ if held else ())))
    bench.converge()
    slow = rig.folder / "slow"
    slow.touch()
    program = f'#!/bin/sh\n[ "$1" != syncconf ] || [ ! -e {slow} ] || {{ rm {slow}; sleep 10; }}\nexec {{real}} "$@"\n'
    bench.declare(SCOPE, *rig.usual(*tunnel_, nora))
    with rig.firewall.instead_of("wg", program):
        error = str(bench.apply().scopes[SCOPE].error)
        assert "the new settings of the VPN were not loaded after 6 s, so the device gave them up" in error
        time.sleep(6)  # when they would have landed
    bench.declare(SCOPE, *rig.usual(*(tunnel_ if held else ())))
    assert bench.causes(SCOPE) == {}
    assert (rig.interface in rig.firewall.on("fw", "ip", "link")) is held
    bench.declare(SCOPE, *rig.usual(*tunnel_, nora))
    bench.converge()
    with rig.calling(rig.luca, "10.90.0.10/24"):
        assert rig.reaches(HOSTS["lan"], 443) == "::ffff:10.90.0.10"


def tables(rig: Rig) -> str:
    return rig.firewall.on("fw", "nft", "list", "tables").strip()


def test_a_key_that_is_none_is_told_without_it(rig: Rig) -> None:
    rig.vault.held["SEDE_WG rev 1"] = b"correct horse battery"
    bench = rig.bench()
    bench.declare(SCOPE, *rig.usual(rig.tunnel()))
    error = str(bench.apply().scopes[SCOPE].error)
    assert "is no key of WireGuard" in error
    assert "horse" not in error
    assert rig.interface not in rig.firewall.on("fw", "ip", "link")
    assert tables(rig) == ""  # nor any rule that would open the port
    rig.vault.held["SEDE_WG rev 1"] = rig.own.private.encode()
    away = site("deposito", rig.nora.public, "10.40.0.0/24", endpoint="gone.invalid:51820")
    bench.declare(SCOPE, *rig.usual(rig.tunnel(), away))
    error = str(bench.apply().scopes[SCOPE].error)
    assert "does not take the settings of the VPN: it finds no address of gone.invalid" in error
    assert tables(rig) == ""
    assert [*(rig.folder / "run").iterdir()] == []


def test_a_tunnel_that_cannot_be_made_leaves_what_was(rig: Rig) -> None:
    bench = rig.bench()
    luca = user("luca", rig.luca.public, "10.90.0.10")
    bench.declare(SCOPE, *rig.usual(rig.tunnel(), luca))
    bench.converge()
    nora = site("nora", rig.nora.public, "10.20.0.0/24")  # the LAN has that network
    bench.declare(SCOPE, *rig.usual(rig.tunnel(), luca, nora))
    assert "does not take the settings of the VPN" in str(bench.apply().scopes[SCOPE].error)
    bench.declare(SCOPE, *rig.usual(rig.tunnel(), luca))
    assert bench.causes(SCOPE) == {}
    # What runs when the device starts makes the same of nothing.
    rig.firewall.on("fw", "ip", "link", "del", rig.interface)
    assert bench.causes(SCOPE) != {}
    rig.firewall.on("fw", "sh", "-c", tunnel.start(f"{rig.folder}/boot"))
    assert bench.causes(SCOPE) == {}


@pytest.mark.parametrize("kind", ["wireguard", "bridge"])
def test_an_interface_that_is_there_already_is_left_alone(rig: Rig, kind: str) -> None:
    other = tunnels.keys()
    if kind == "bridge":
        rig.firewall.on("fw", "ip", "link", "add", rig.interface, "type", "bridge")
    else:
        rig.firewall.on("fw", "wireguard-go", rig.interface)
        rig.wg("set", rig.interface, "peer", other.public, "allowed-ips", "10.90.0.66/32")
    bench = rig.bench()
    bench.declare(SCOPE, *rig.usual(rig.tunnel(), user("luca", rig.luca.public, "10.90.0.10")))
    error = str(bench.apply().scopes[SCOPE].error)
    what = {"wireguard": "a VPN of 1 peers", "bridge": "no WireGuard interface"}[kind]
    assert f"{rig.interface} is there already, and not by mspctl: {what}" in error
    # Nor does it go where a change is taken back, in whose course somebody made it.
    boot = str(rig.folder / "boot")
    for given in ("", f"# interface {rig.interface}\n# absent {rig.interface}\n"):
        words = ["sh", "-c", tunnel.PROGRAM, "sh", "back", boot, nftables.table_of(SCOPE), rig.interface]
        rig.firewall.on("fw", *words, given=given)
    assert rig.interface in rig.firewall.on("fw", "ip", "link")
    if kind == "wireguard":
        assert rig.wg("show", rig.interface, "peers").strip() == other.public


# -- the contract: peers, written down for a tunnel that is not there yet ------------------------------------------

LUCA, NORA, DEPOSITO, OTHER = (f"{letter * 42}A=" for letter in "abcd")
PSK = {f"PSK_{n} rev 1": f"{str(n) * 42}A=".encode() for n in (1, 2)}


class Written(Device):
    """A device whose peers stand in a file; a tunnel's interface can be of one scope only."""

    def access(self) -> Access:
        vault = Vault()
        vault.held = {**PSK}
        return Access("fw-1", "", self.settings, Secrets({}), self.folder, vault)

    def file(self, scope: Scope) -> Path:
        return self.folder / "boot" / f"{nftables.table_of(scope)}.wg"

    def by_hand(self, scope: Scope, id_: Id, resource: Resource | None) -> None:
        (reading,) = self.reader().read([scope], {})
        assert isinstance(reading, Reading)
        held = [r for r in reading.resources if r.id != id_] + ([resource] if resource else [])
        secret = {said: Secret(said, value) for said, value in PSK.items()}
        self.file(scope).write_bytes(tunnel.conf(held, [], secret))

    @contextmanager
    def garbled(self, scope: Scope) -> Iterator[None]:
        """The program fails that reads the tunnel."""
        self.machine.failing = (nftables.table_of(scope), "read)")
        yield
        self.machine.failing = ("", "")

    def native(self, scope: Scope) -> object:
        return self.file(scope).read_text()


NORA_ = user("nora", NORA, "10.90.0.11")


@pytest.mark.soak
class TestPeers(DriverContract):
    samples = (
        Sample(
            user("luca", LUCA, "10.90.0.10"),
            (user("luca", OTHER, "10.90.0.10"), user("luca", LUCA, "10.90.0.12", "fd00:90::12")),
        ),
        Sample(
            NORA_,
            (
                Resource(NORA_.id, {**NORA_.fields, "endpoint": "vpn.example.com:51820"}),
                Resource(NORA_.id, {**NORA_.fields, "keepalive": 25}),
                Resource(NORA_.id, {**NORA_.fields, "preshared": "PSK_2 rev 1"}),
            ),
        ),
        Sample(
            site("deposito", DEPOSITO, "10.40.0.0/24"),
            (
                site("deposito", OTHER, "10.40.0.0/24"),
                site("deposito", DEPOSITO, "10.40.0.0/24", "10.41.0.0/30"),
                site("deposito", DEPOSITO, "10.40.0.0/24", endpoint="vpn.example.com:51820"),
                site("deposito", DEPOSITO, "10.40.0.0/24", keepalive=25),
                site("deposito", DEPOSITO, "10.40.0.0/24", preshared="PSK_1 rev 1"),
            ),
        ),
    )
    impossible = (
        (user("luca", "none", "10.90.0.10"), "no public key"),
        (user("luca", LUCA, "updates.vendor.example."), "networks only"),
        (site("deposito", DEPOSITO, "10.40.0.0/24", keepalive=70000), "65535"),
        (Resource(Id(vpn.TUNNEL, "much-too-long-a-name"), {"port": 1, "key": "", "addresses": frozenset()}), "15"),
    )
    many = tuple(user(f"u{n}", f"{n:042d}A=", f"10.91.{n >> 8}.{n & 255}") for n in range(300))
    removes_scopes = True
    measures = frozenset({vpn.HANDSHAKE})

    @pytest.fixture
    def rig(self, namespace: str, tmp_path: Path) -> Iterator[Device]:
        device = Written(namespace, tmp_path)
        yield device
        device.nft("flush", "ruleset")
