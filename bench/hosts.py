"""
How fast hosts are read and made, against plain Ansible on the same hosts: real Debian machines with systemd and sshd.

Drift of all sections, unchanged, against `ansible -m ping`; and everything made on new hosts against a play that only
puts the same files there, with one task. Both sides use the same inventory, key and pinned host keys, and as many
processes at once. Whole processes, in turn, medians of three. Needs root. Exit code 1 when a goal is missed.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from measure import ENVIRONMENT, in_turn, output, peak, run
from run import Goal, shown, verdict

if TYPE_CHECKING:
    from tests.servers.hosts import Lan

BENCH = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
MSPCTL, PLAYBOOKS = BIN / "mspctl", BENCH.parent / "mspctl/playbooks"
HOSTS = 10
TARGETS = "targets:\n  servers: {secrets: {ssh_key: SSH_KEY}, facets: {hosts: {driver: hosts}}}\n"
OURS = "/etc/apt/apt.conf.d/*mspctl* /etc/systemd/system/mspctl-* /etc/mspctl /usr/local/lib/mspctl"
ANTIVIRUS = """policy:
  product: clamav
  on_access: /srv
  updates: {{mirror: "{url}", own: [msp.hdb, msp.ndb], official: false}}
scans: {{weekly: {{paths: /srv, schedule: "sun 03:00"}}}}
"""
PATCHING = 'policy: {what: security, window: "sun 02:00-05:00", reboot: if needed}\n'
BACKUP = """repositories: {disk: {local: /mnt/backup, password: RESTIC}}
jobs:
  night: {role: files, paths: [/srv, /etc], repository: disk, schedule: "02:30", rpo: 26h, keep: {daily: 14}}
  noon: {role: files, paths: /var/lib, repository: disk, schedule: "12:30", rpo: 26h}
"""


def main() -> int:
    sys.path.insert(0, str(BENCH.parent))
    from tests.servers.hosts import machines
    from tests.servers.signatures import mirror

    output([sys.executable, "-m", "compileall", "-q", BENCH.parent / "mspctl"], codes=(0, 1))
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mspctl-bench-"))).resolve()
        lan = stack.enter_context(machines(*(f"srv-{n}" for n in range(HOSTS))))
        (scratch / "mirror").mkdir()
        signatures = stack.enter_context(mirror(lan, scratch / "mirror"))
        bench = Bench(scratch, lan, signatures.url)
        print(f"{HOSTS} hosts, {os.cpu_count()} processors, which run the hosts as well")
        print(f"{'medians of three':<58}{'mspctl':>8}{'Ansible':>9}{'ratio':>9}{'goal':>10}")
        goals = [*shown(chain(bench.new_hosts(), bench.unchanged()))]
    return verdict(goals)


class Bench:
    def __init__(self, scratch: Path, lan: Lan, signatures: str) -> None:
        self.scratch, self.lan, self.signatures = scratch, lan, signatures
        ENVIRONMENT.update(
            {
                "MSPCTL_SECRET_SSH_KEY_FILE": str(lan.key),
                "MSPCTL_SECRET_RESTIC": "bench",
                "ANSIBLE_HOME": str(scratch / "ansible-home"),
                "ANSIBLE_CONFIG": str(scratch / "ansible.cfg"),
                "PATH": f"{BIN}{os.pathsep}{ENVIRONMENT['PATH']}",
            }
        )
        (scratch / "ansible.cfg").write_text("")
        self.one, self.all = self.estate("one", ["srv-0"]), self.estate("all", [*lan.machines])

    def new_hosts(self) -> Iterator[Goal]:
        for estate, hosts in ((self.one, 1), (self.all, HOSTS)):
            work = self.scratch / "work"
            files = self.files(estate, hosts)
            play = [BIN / "ansible-playbook", "-f", str(HOSTS), "-i", estate / "ansible/inventory.yaml"]
            play += ["-e", f"mspctl_asks={estate}/asks", PLAYBOOKS / "hosts-write.yaml"]
            commands = {"mspctl": self.mspctl(work, "apply", "--yes"), "play": [*map(str, play)]}
            found = in_turn(commands, times=3, before=lambda estate=estate, work=work: self.begin(estate, work))
            what = f"everything on {hosts} new host{'s' if hosts > 1 else ''}, {files} files each: wall, s"
            yield Goal(what, found["mspctl"].wall, 3, found["play"].wall)

    def unchanged(self) -> Iterator[Goal]:
        work = self.scratch / "work"
        self.begin(self.all, work)
        output(self.mspctl(work, "apply", "--yes"))
        ping = [BIN / "ansible", "-f", str(HOSTS), "-i", self.all / "ansible/inventory.yaml", "all", "-m", "ping"]
        # Findings say that backups never ran.
        drift = self.mspctl(work, "drift")
        codes = (0, 2, 4)
        found = in_turn({"mspctl": drift, "ping": [*map(str, ping)]}, times=3, codes=codes)
        yield Goal(f"drift of {HOSTS} hosts, unchanged: wall, s", found["mspctl"].wall, 2, found["ping"].wall)
        yield Goal("drift: peak of the largest process, MiB", peak(found["mspctl"]), 150, digits=0)
        collect = run(self.mspctl(work, "inventory", "collect"))
        yield Goal("inventory collect: peak of the largest process, MiB", peak(collect), 150, digits=0)
        print(f"  inventory collect of {HOSTS} hosts took {collect.wall:.1f} s")

    # -- helpers ----------------------------------------------------------------------------------------------

    def estate(self, name: str, hosts: list[str]) -> Path:
        """A repository with an empty ledger, and an inventory for plain Ansible."""
        folder = self.scratch / name
        (folder / "inventory").mkdir(parents=True)
        (folder / "inventory/targets.yaml").write_text(TARGETS)
        customer = folder / "customers/acme"
        customer.mkdir(parents=True)
        (customer / "customer.yaml").write_text("name: Acme\ntimezone: Europe/Rome\n")
        (customer / "patching.yaml").write_text(PATCHING)
        (customer / "backup.yaml").write_text(BACKUP)
        (customer / "antivirus.yaml").write_text(ANTIVIRUS.format(url=self.signatures))
        lines = [
            f"  {n}: {{address: 127.0.0.1, port: {self.lan[n].port}, host_key: {self.lan[n].host_key}}}\n"
            for n in hosts
        ]
        head = "defaults: {target: servers, os: debian-12, role: files}\nhosts:\n"
        (customer / "hosts.yaml").write_text(head + "".join(lines))
        for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message", "The estate")):
            output(["git", "-C", folder, *words])
        output(self.mspctl(folder, "ledger", "init"))
        output(self.mspctl(folder, "inventory", "ansible", "--write", folder / "ansible", "--key", self.lan.key))
        return folder

    def files(self, estate: Path, hosts: int) -> int:
        """What an apply writes on a host, as a question for the play; returns how many files."""
        self.begin(estate, self.scratch / "work")
        output(self.mspctl(self.scratch / "work", "apply", "--yes"))
        machine = self.lan["srv-0"]
        files = [
            {"path": path, "text": machine.sh(f"cat {path}"), "mode": f"0{machine.sh(f'stat -c %a {path}').strip()}"}
            for path in machine.sh(f"find {OURS} -type f").split()
        ]
        (estate / "asks").mkdir()
        for name in [*self.lan.machines][:hosts]:
            ask = {"scopes": [{"name": "bench", "items": [{"files": files}]}]}
            (estate / f"asks/{name}.acme.json").write_text(json.dumps(ask))
            (estate / f"asks/{name}.acme.secrets.json").write_text("{}")
        return len(files)

    def begin(self, estate: Path, work: Path) -> None:
        """Nothing is there, and nothing is recorded."""
        for machine in self.lan.machines.values():
            machine.clean()
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(estate, work)

    def mspctl(self, folder: Path, *words: str | Path) -> list[str | Path]:
        return [MSPCTL, "-C", folder, *words]


if __name__ == "__main__":
    sys.exit(main())
