"""
The driver `hosts` on real Debian machines: systemd, APT and unattended-upgrades are the real ones.

The contract's many steps reach the machines without Ansible, through `Hands` that start the same module there with the
same questions; that alone makes them quick enough. What Ansible adds (SSH, keys, sudo, one run for all hosts, what can
go wrong on the way) is in test_hosts_ansible.py, with the driver as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from subprocess import Popen
from typing import Any, ClassVar, cast

import pytest

from mspctl.driver import Access
from mspctl.drivers import hosts
from mspctl.drivers.hosts import patching
from mspctl.drivers.hosts.bundle import Place
from mspctl.errors import TargetError, Unreachable
from mspctl.kinds import patching as kind
from mspctl.kinds.hosts import FACET, Host, parts, scope_name
from mspctl.resource import Id, Resource, Scope
from mspctl.secrets import Secrets
from mspctl.transports.ansible import PLAYBOOKS, Answer, Ask, Do
from tests.conftest import ROOT
from tests.drivers.contract import DriverContract, Rig, Sample
from tests.servers.hosts import Lan, Machine, machines

NAMES = ("srv-1", "srv-2", "srv-3")
MODULE = (PLAYBOOKS / "library/mspctl_host.py").read_text()
# Calls the module's functions as Ansible's frame would, one line of JSON after the other.
SERVE = """
import json, sys
module = {"__name__": "module"}
exec(json.loads(sys.stdin.readline()), module)
for line in sys.stdin:
    said = json.loads(line)
    try:
        read = said["do"] == "read"
        done = {"facts": module["read"](said["ask"])} if read else module["write"](said["ask"], said["secrets"])
    except (module["Refused"], OSError) as error:
        done = {"msg": str(error)}
    print(json.dumps(done), flush=True)
"""


class Console:
    """Hands that need no network: what they do is done at the machines' consoles."""

    def __init__(self, lan: Lan, stack: ExitStack) -> None:
        self.gone: set[str] = set()
        self.served = {
            f"{name}.acme": stack.enter_context(machine.open("python3", "-c", SERVE))
            for name, machine in lan.machines.items()
        }
        for process in self.served.values():
            self._say(process, MODULE)

    def run(self, do: Do, asks: Mapping[str, Ask]) -> dict[str, Answer]:
        return {name: self._one(do, name, ask) for name, ask in asks.items()}

    def _one(self, do: Do, name: str, ask: Ask) -> Answer:
        if name in self.gone:
            return Answer(error=Unreachable("its cable is out"))
        process = self.served[name]
        self._say(process, {"do": do, "ask": ask.what, "secrets": {k: s.reveal_text() for k, s in ask.secrets.items()}})
        assert process.stdout is not None
        result = json.loads(process.stdout.readline())
        return Answer(error=TargetError(result["msg"])) if "msg" in result else Answer(result)

    @staticmethod
    def _say(process: Popen[bytes], said: object) -> None:
        assert process.stdin is not None
        process.stdin.write(json.dumps(said).encode() + b"\n")
        process.stdin.flush()


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    with machines(*NAMES) as found:
        yield found


@pytest.fixture(scope="module")
def console(lan: Lan) -> Iterator[Console]:
    with ExitStack() as stack:
        yield Console(lan, stack)


class HostsRig(Rig):
    def __init__(self, lan: Lan, console: Console, section: str) -> None:
        self.lan = lan
        self.console = console
        self.scopes = [Scope("servers", FACET, scope_name("acme", name, section), "acme") for name in NAMES]
        known = {f"{name}.acme": Host(name, "acme", "127.0.0.1") for name in NAMES}
        self.access = Access("servers", "", hosts.Settings(), Secrets.given({}), ROOT, hosts=known)

    def reader(self) -> hosts.Reader:
        return self._with_hands(hosts.Reader(self.access))

    def driver(self) -> hosts.Driver:
        return cast(hosts.Driver, self._with_hands(hosts.Driver(self.access)))

    def _with_hands(self, made: hosts.Reader) -> hosts.Reader:
        made.hands = self.console
        return made

    def machine(self, scope: Scope) -> Machine:
        return self.lan[parts(scope)[1]]

    def native(self, scope: Scope) -> object:
        paths = "/etc/apt/apt.conf.d /etc/systemd/system /etc/mspctl /usr/local/lib/mspctl"
        return self.machine(scope).sh(
            f"find {paths} -type f -exec sha256sum {{}} + | sort; apt-mark showhold", check=False
        )

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        self.console.gone = {f"{name}.acme" for name in NAMES}
        yield
        self.console.gone = set()


class PatchingRig(HostsRig):
    def by_hand(self, scope: Scope, id_: Id, resource: Resource | None) -> None:
        machine, place = self.machine(scope), Place(*parts(scope))
        if id_.kind == kind.HOLD:
            machine.run("apt-mark", "hold" if resource else "unhold", id_.name)
            return
        gone = patching.bundle(resource or {kind.POLICY: POLICY, kind.WINDOW: WINDOW}[id_.kind], place)
        if resource is None:
            for timer in gone.timers:
                machine.run("systemctl", "disable", "--now", "--quiet", timer)
            machine.sh(f"rm -f {' '.join(file.path for file in gone.files)}; systemctl daemon-reload")
            return
        for file in gone.files:
            machine.run("install", "-D", "-m", file.mode, "/dev/stdin", file.path, said=file.text.encode())
        machine.run("systemctl", "daemon-reload")
        for timer in gone.timers:
            machine.run("systemctl", "enable", "--now", "--quiet", timer)

    @contextmanager
    def breaking(self, scope: Scope, after: int) -> Iterator[None]:
        """A disk that takes nothing; for the first change too, a tool that fails."""
        machine, folders = self.machine(scope), ("/etc/apt/apt.conf.d", "/etc/systemd/system")
        with ExitStack() as stack:
            for folder in folders:
                machine.sh(f"mount --bind {folder} {folder} && mount -o remount,ro,bind {folder}")
                stack.callback(machine.run, "umount", folder)
            if not after:
                machine.run("mount", "--bind", "/bin/false", "/usr/bin/apt-mark")
                stack.callback(machine.run, "umount", "/usr/bin/apt-mark")
            yield

    @contextmanager
    def garbled(self, scope: Scope) -> Iterator[None]:
        machine = self.machine(scope)
        machine.sh("echo 'no { such' >/etc/apt/apt.conf.d/98broken")
        yield
        machine.sh("rm /etc/apt/apt.conf.d/98broken")


POLICY = kind.policy("security", "never")
WINDOW = kind.window("sun 02:00-05:00", "Europe/Rome")


def but(resource: Resource, **fields: Any) -> Resource:
    return replace(resource, fields={**resource.fields, **fields})


class TestPatching(DriverContract):
    samples = (
        Sample(POLICY, (but(POLICY, what="all"), but(POLICY, reboot="if needed and nobody is logged in"))),
        Sample(WINDOW, (but(WINDOW, hours="mon-fri 22:30-04:00"), but(WINDOW, timezone="UTC"))),
        Sample(kind.hold("restic"), ()),
    )
    constant: ClassVar = frozenset({"held", "amiss"})
    impossible = (
        (but(POLICY, what="some"), "'some' is not what can be installed"),
        (but(POLICY, reboot="always"), "'always' is no time for a reboot"),
        (Resource(Id("dns.rrset", "www A"), {"ttl": 60}), "there is no dns.rrset on a host"),
    )
    makes_scopes = False

    @pytest.fixture
    def rig(self, lan: Lan, console: Console) -> PatchingRig:
        for machine in lan.machines.values():
            machine.clean()
        return PatchingRig(lan, console, "patching")
