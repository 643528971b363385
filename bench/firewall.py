"""
How fast firewalls are planned over SSH, against a bare program that lists the same tables over the same connections.

The firewall is a network namespace with nftables and sshd, as in the tests; both sides run in another one beside it. A
hundred firewalls are that one under a hundred names: each customer has one, with a table of the same name.
The bare program (`bare_nft.py`) starts Python, imports what our driver talks through, logs in and lists; it knows no
YAML, no ledger and no plan. What reading the YAML takes is measured apart (`validate`), and counted as start-up. Whole
processes, in turn, medians of five, of three where a hundred devices are read. Needs root. Exit code 1 when a goal is
missed.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from measure import ENVIRONMENT, in_turn, output
from run import Goal, shown, verdict

if TYPE_CHECKING:
    from tests.servers.firewalls import Firewall

BENCH = Path(__file__).resolve().parent
RULES, DEVICES, EACH, AT_ONCE = 2_500, 100, 20, 10
TARGET = """\
  {name}:
    address: {address}
    secrets: {{ssh_key: FW}}
    facets: {{firewall: {{driver: nftables, port: {port}, user: {user}, host_key: {key}}}}}
"""
SITE = """\
target: {target}
zones: {{wan: {{interfaces: wan0, outside: true}}, lan: lan0, office: office0}}
management: {{from: 198.51.100.0/24, services: tcp/{port}}}
rules:
"""
RULE = "  - {{id: r{n}, from: lan, to: wan, source: 10.{a}.{b}.0/24, services: [tcp/{p}, https], action: accept}}\n"


def main() -> int:
    sys.path.insert(0, str(BENCH.parent))
    from tests.servers import firewalls

    output([sys.executable, "-m", "compileall", "-q", BENCH.parent / "mspctl"], codes=(0, 1))
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mspctl-bench-"))).resolve()
        bench = Bench(scratch, stack.enter_context(firewalls.running()))
        print(f"{'medians of five':<46}{'mspctl':>8}{'bare':>9}{'ratio':>9}{'goal':>10}")
        goals = [*shown(bench.one_large()), *shown(bench.many())]
    return verdict(goals)


class Bench:
    def __init__(self, scratch: Path, firewall: Firewall) -> None:
        from tests.servers.firewalls import FIREWALL
        from tests.servers.namespaces import inside

        self.scratch, self.firewall = scratch, firewall
        self.address = FIREWALL["office"]
        self.inside = inside(firewall.names["office"])
        ENVIRONMENT["MSPCTL_SECRET_FW"] = firewall.sshd.client_key.decode()

    def one_large(self) -> Iterator[Goal]:
        folder = self.estate("large", 1, RULES)
        found = in_turn(
            {
                "plan": self.mspctl(folder, "plan"),
                "bare": self.bare(1, "mspctl-s0"),
                "start": self.mspctl(folder, "validate"),
            }
        )
        bare = found["bare"].wall + found["start"].wall
        yield Goal(f"plan of {RULES:,} rules, nothing to do: wall, s", found["plan"].wall, 1.3, bare)
        print(f"  of the bare side, {found['start'].wall:.2f} s are start-up: mspctl validate")

    def many(self) -> Iterator[Goal]:
        folder = self.estate("many", DEVICES, EACH)
        bare = self.bare(AT_ONCE, *["mspctl-s0"] * DEVICES)
        found = in_turn({"plan": self.mspctl(folder, "plan"), "bare": bare}, times=3)
        what = f"{DEVICES} firewalls, {AT_ONCE} at once; ten rounds: wall, s"
        yield Goal(what, found["plan"].wall, 1.3, found["bare"].wall)

    # -- helpers ----------------------------------------------------------------------------------------------

    def estate(self, name: str, devices: int, rules: int) -> Path:
        """A repository with an empty ledger, whose rules the firewall has already."""
        folder, server = self.scratch / name, self.firewall.sshd
        (folder / "inventory").mkdir(parents=True)
        said = {"address": self.address, "port": server.port, "user": server.user, "key": server.host_key}
        targets = "".join(TARGET.format(name=f"fw-{n}", **said) for n in range(devices))
        (folder / "inventory/targets.yaml").write_text(f"targets:\n{targets}")
        lines = "".join(RULE.format(n=n, a=n >> 8, b=n & 255, p=1000 + n) for n in range(rules))
        for n in range(devices):
            site = folder / f"customers/c{n}/firewall/s0.yaml"
            site.parent.mkdir(parents=True)
            (site.parents[1] / "customer.yaml").write_text("name: Bench\n")
            site.write_text(SITE.format(target=f"fw-{n}", port=server.port) + lines)
        for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message", "The estate")):
            output(["git", "-C", folder, *words])
        output(self.mspctl(folder, "ledger", "init"))
        self.load(folder)
        output(self.mspctl(folder, "plan"))  # ends with 0: nothing is to be done
        return folder

    def load(self, folder: Path) -> None:
        """What Git says is made so without the detour over SSH."""
        from mspctl.desired import Selection, declarations
        from mspctl.drivers.nftables import native, table_of
        from mspctl.drivers.nftables.live import Table
        from mspctl.load import load

        estate = load(folder)
        self.firewall.nft("flush", "ruleset")
        for made in [*declarations(estate, Selection(), {}, estate.now)][:1]:  # the others are as this one
            commands = native.commands(table_of(made.scope), [*map(native.held, made.resources)], Table())
            self.firewall.nft("-j", "-f", "-", given=json.dumps({"nftables": commands}))

    def mspctl(self, folder: Path, *words: str) -> list[str | Path]:
        return [*self.inside, Path(sys.executable).parent / "mspctl", "-C", folder, *words]

    def bare(self, at_once: int, *tables: str) -> list[str | Path]:
        server = self.firewall.sshd
        place = [self.address, str(server.port), server.user, server.host_key, str(at_once)]
        return [*self.inside, sys.executable, BENCH / "bare_nft.py", *place, *tables]


if __name__ == "__main__":
    sys.exit(main())
