"""A network namespace that the driver nftables takes for a device, ways to disturb it, and what is declared there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mspctl.driver import Access
from mspctl.drivers import nftables
from mspctl.drivers.nftables import native
from mspctl.drivers.nftables.live import Table
from mspctl.errors import Unreachable
from mspctl.kinds import addresses, firewall
from mspctl.resource import Id, Resource, Scope, Value
from mspctl.secrets import Secrets
from mspctl.transports import machine
from tests.drivers.contract import Rig
from tests.servers import namespaces

ANY = addresses.ANY
Said = dict[str, Value]
SCOPES = tuple(Scope("fw-1", "firewall", name, "acme") for name in ("sede", "deposito", "lab"))


def fields(id_: Id, **said: Value) -> Resource:
    return Resource(id_, firewall.fields(**said))


def rule(name: str, **said: Value) -> Resource:
    usual: Said = {
        "from_": frozenset({"lan"}), "to": frozenset({"wan"}), "source": ANY, "destination": ANY,
        "services": frozenset({"tcp/443"}), "action": "accept", "log": False, "until": "", "hours": frozenset(),
    }  # fmt: skip
    return fields(Id(firewall.RULE, name), **usual | said)


def forward(name: str, **said: Value) -> Resource:
    usual: Said = {
        "zone": "wan", "listen": frozenset({"tcp/8443"}), "to": "10.20.1.60", "port": 443,
        "source": frozenset({"198.51.100.24"}), "log": False, "until": "", "hours": frozenset(),
    }  # fmt: skip
    return fields(Id(firewall.FORWARD, name), **usual | said)


def nat(name: str, **said: Value) -> Resource:
    usual: Said = {"zone": "wan", "outside": "203.0.113.9", "inside": "10.20.1.9"}
    return fields(Id(firewall.NAT, name), **usual | said)


def zone(name: str, *interfaces: str, outside: bool = False) -> Resource:
    return fields(Id(firewall.ZONE, name), interfaces=frozenset(interfaces), outside=outside)


def policy(name: str, **said: Value) -> Resource:
    usual: Said = {"action": "accept", "log": False}
    return fields(Id(firewall.POLICY, name), **usual | said)


def masquerade(name: str, source: frozenset[str] = ANY) -> Resource:
    return fields(Id(firewall.MASQUERADE, name), source=source)


def default(**said: Value) -> Resource:
    usual: Said = {"action": "drop", "log": False, "amiss": frozenset()}
    return fields(firewall.DEFAULT, **usual | said)


def several(*values: str) -> frozenset[str]:
    return frozenset(values)


class Inside(machine.Machine):
    """A machine that is a namespace, of which somebody can pull the plug."""

    def __init__(self, name: str, given: machine.Settings) -> None:
        super().__init__("", given, Secrets({}))
        self.name = name
        self.off = False
        self.failing: tuple[str, str] = ("", "")  # a table, and a word in what is not done to it

    @contextmanager
    def session(self) -> Iterator[machine.Session]:
        if self.off:
            raise Unreachable("the device is off")
        with super().session() as session:
            run = session.run

            def enter(argv: Sequence[str], given: bytes = b"") -> machine.Ran:
                table, word = self.failing
                if table and table in argv and any(word in each for each in argv):
                    if word != "list" or "nft" in argv:
                        return machine.Ran(1, b"", b"out of order")
                    argv = ["" if each == table else each for each in argv]  # what lists more gives no line for it
                return run([*namespaces.inside(self.name), *argv], given)

            session.run = enter  # type: ignore[method-assign]
            yield session


class Device(Rig):
    scopes = SCOPES

    def __init__(self, name: str, folder: Path) -> None:
        said = {"via": "local", "run_folder": str(folder / "run"), "boot_folder": str(folder / "boot")}
        self.settings = nftables.Settings.model_validate(said | {"confirm_within": "20s", "at_boot": "elsewhere"})
        self.machine = Inside(name, self.settings)
        self.folder = folder

    def access(self) -> Access:
        return Access("fw-1", "", self.settings, Secrets({}), self.folder)

    def reader(self) -> nftables.Reader:
        made = nftables.Reader(self.access())
        made.machine = self.machine
        return made

    def driver(self) -> nftables.Driver:
        made = nftables.Driver(self.access())
        made.machine = self.machine
        return made

    def nft(self, *words: str, given: str | None = None) -> str:
        return namespaces.run(*namespaces.inside(self.machine.name), "env", "TZ=UTC", "nft", *words, given=given)

    def table(self, scope: Scope) -> Table:
        return Table.read(json.loads(self.nft("-j", "list", "table", "inet", nftables.table_of(scope))))

    def by_hand(self, scope: Scope, id_: Id, resource: Resource | None) -> None:
        live = self.table(scope)
        held = [r for r in live.resources if r.id != id_] + ([resource] if resource else [])
        meant = {"nftables": native.commands(nftables.table_of(scope), held, live)}
        self.nft("-j", "-f", "-", given=json.dumps(meant))

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        self.machine.off = True
        yield
        self.machine.off = False

    @contextmanager
    def breaking(self, scope: Scope, after: int) -> Iterator[None]:
        self.machine.failing = (nftables.table_of(scope), "setsid sh")
        yield
        self.machine.failing = ("", "")

    @contextmanager
    def garbled(self, scope: Scope) -> Iterator[None]:
        self.machine.failing = (nftables.table_of(scope), "list")
        yield
        self.machine.failing = ("", "")

    def native(self, scope: Scope) -> object:
        return self.nft("-s", "list", "table", "inet", nftables.table_of(scope))
