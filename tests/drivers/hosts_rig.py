"""What tests of the driver `hosts` share: machines, hands that reach them at their consoles, and the rig."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from subprocess import Popen
from typing import cast

from mspctl.driver import Access
from mspctl.drivers import hosts
from mspctl.errors import SecretError, TargetError, Unreachable
from mspctl.kinds.hosts import FACET, Host, parts, scope_name
from mspctl.resource import Scope
from mspctl.secrets import Secret, Secrets
from mspctl.transports.ansible import PLAYBOOKS, Answer, Ask, Do
from tests.conftest import ROOT
from tests.drivers.contract import Rig
from tests.servers.hosts import Lan, Machine

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
        if said["do"] == "write":
            done = module["write"](said["ask"], said["secrets"])
        elif said["do"] == "run":
            done = {"answer": module["errand"](said["ask"])}
        else:
            done = {"facts": module["read"](said["ask"])}
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

    def run(self, do: Do, asks: Mapping[str, Ask], patience: int = 0) -> dict[str, Answer]:
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


class Kept:
    """Passwords by the names of their secrets."""

    def of(self, customer: str, wanted: Sequence[tuple[str, str]]) -> list[Secret]:
        if any("MISSING" in said for _, said in wanted):
            raise SecretError("secret MISSING is not set")
        return [Secret(said, f"ops:{said.replace(' ', '-')}".encode()) for _, said in wanted]


class HostsRig(Rig):
    def __init__(self, lan: Lan, console: Console, section: str) -> None:
        self.lan = lan
        self.console = console
        self.scopes = [Scope("servers", FACET, scope_name("acme", name, section), "acme") for name in NAMES]
        known = {f"{name}.acme": Host(name, "acme", "127.0.0.1") for name in NAMES}
        self.access = Access("servers", "", hosts.Settings(), Secrets.given({}), ROOT, Kept(), known)

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
