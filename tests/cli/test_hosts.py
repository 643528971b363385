"""Hosts from the command line, through Ansible and SSH, on real machines: plan, apply, drift, and what goes wrong."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mspctl.exits import Exit
from mspctl.kinds.hosts import Host
from mspctl.locks import Locks
from mspctl.secrets import Secret
from mspctl.transports import shared
from mspctl.transports.ansible import PLAYBOOKS, Ansible, Ask
from mspctl.transports.private import MEMORY
from tests.conftest import Run
from tests.servers import require
from tests.servers.hosts import Lan, machines, unplugged

TARGETS = "targets:\n  servers: {secrets: {ssh_key: SSH_KEY}, facets: {hosts: {driver: hosts, connect: 5s}}}\n"
PATCHING = """policy: {what: security, window: "sun 02:00-05:00"}
hosts: {srv-1: {holds: {restic: {why: ticket 4711, until: 2099-12-31}}}}
"""
BACKUP = """repositories: {disk: {local: /mnt/backup, password: ACME_RESTIC}}
jobs: {notte: {host: srv-1, paths: /srv, repository: disk, schedule: "02:30", rpo: 26h}}
"""
WORD = "Gh31m-R3st1c"


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    with machines("srv-1", "srv-2", "srv-3", "srv-4") as found:
        yield found


@pytest.fixture
def acme(repository: Path, lan: Lan, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A customer with three hosts; srv-2 is entered as somebody who uses sudo, srv-3 through srv-1."""
    monkeypatch.setenv("MSPCTL_SECRET_SSH_KEY_FILE", str(lan.key))
    for machine in lan.machines.values():
        machine.clean()
    (repository / "inventory/targets.yaml").write_text(TARGETS)
    folder = repository / "customers/acme"
    folder.mkdir()
    for customer in (repository / "customers").iterdir():
        if customer != folder:
            subprocess.run(["rm", "-r", customer], check=True)
    (folder / "customer.yaml").write_text("name: Acme\ntimezone: Europe/Rome\n")
    (folder / "patching.yaml").write_text(PATCHING)
    (folder / "backup.yaml").write_text(BACKUP)
    monkeypatch.setenv("MSPCTL_SECRET_ACME_RESTIC", WORD)
    (folder / "hosts.yaml").write_text(hosts_yaml(lan))
    return repository


def hosts_yaml(lan: Lan) -> str:
    ways = {
        "srv-1": f"address: 127.0.0.1, port: {lan['srv-1'].port}",
        "srv-2": f"address: 127.0.0.1, port: {lan['srv-2'].port}, user: ops",
        "srv-3": f"address: {lan['srv-3'].address}, jump: srv-1",
    }
    entries = [f"  {name}: {{{way}, host_key: {lan[name].host_key}}}\n" for name, way in ways.items()]
    return "defaults: {target: servers, os: debian-12, role: files}\nhosts:\n" + "".join(entries)


def test_plan_apply_drift_and_revert(run: Run, acme: Path, lan: Lan, caplog: pytest.LogCaptureFixture) -> None:
    logins = "journalctl --no-pager --unit=ssh | grep -c 'Accepted publickey' || true"
    before = int(lan["srv-2"].sh(logins))
    with caplog.at_level(logging.INFO, "mspctl.transports.ansible"):
        applied = run("apply", "--yes")
    assert applied.code == Exit.DONE, applied
    # It reads once, logs in once, and nothing stays open.
    assert [*caplog.messages] == [f"ansible: {do} on 3 hosts" for do in ("read", "write")]
    assert int(lan["srv-2"].sh(logins)) == before + 1
    ours = f"{MEMORY}/mspctl-{os.getpid()}-"
    assert not [*MEMORY.glob(f"mspctl-{os.getpid()}-*")]
    assert subprocess.run(["pgrep", "-f", ours], capture_output=True, text=True).stdout == ""
    assert applied.out.count("+ create") == 8
    assert "hosts acme/srv-3/patching on servers" in applied.out
    assert WORD not in applied.out + applied.err
    assert lan["srv-1"].sh("tail -1 /etc/mspctl/backup/notte.password") == f"{WORD}\n"
    assert lan["srv-1"].sh("apt-mark showhold") == "restic\n"
    for machine in [lan["srv-1"], lan["srv-2"], lan["srv-3"]]:
        assert "Sun *-*-* 02:00:00 Europe/Rome" in machine.sh("systemctl show -p TimersCalendar mspctl-patching.timer")

    lan["srv-1"].sh("apt-mark unhold restic && systemctl stop mspctl-patching.timer")
    lan["srv-2"].sh("sed -i s/02:00:00/12:00:00/ /etc/systemd/system/mspctl-patching.timer")
    lan["srv-3"].sh("sed -i '/Automatic-Reboot /s/false/true/' /etc/apt/apt.conf.d/99mspctl-patching")
    drift = run("drift")
    assert drift.code == Exit.DIFFERS
    for said in (
        "mspctl-patching.timer is stopped",
        "/etc/systemd/system/mspctl-patching.timer was edited",
        "reboot: Git says never, live is if needed and nobody is logged in",
        "restic  deleted; Git says held yes",
        "backup notte of srv-1 has no copy yet [backup.rpo]",
        "srv-2 has no backup [hosts.uncovered]",
    ):
        assert said in drift.out
    reverted = run("apply", "--revert", "--yes")
    assert reverted.code == Exit.DONE, reverted
    assert "02:00:00" in lan["srv-2"].sh("systemctl show -p TimersCalendar mspctl-patching.timer")


def test_what_is_done_between_plan_and_write_stays_and_is_told(
    run: Run, acme: Path, lan: Lan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hosts compare what they are about to overwrite, so they are not read a second time under the locks."""
    taken = Locks.hold

    def after_somebody(locks: Locks, *said: Any, **more: Any) -> Any:
        lan["srv-1"].sh(f"mkdir -p {UNITS} && echo '# Managed by mspctl, by another' >{UNITS}/{TIMER}")
        return taken(locks, *said, **more)

    monkeypatch.setattr(Locks, "hold", after_somebody)
    applied = run("apply", "--yes")
    assert applied.code == Exit.PARTLY
    assert f"{UNITS}/{TIMER} was changed since it was read" in applied.out
    assert lan["srv-1"].sh(f"cat {UNITS}/{TIMER}") == "# Managed by mspctl, by another\n"
    assert "enabled" in lan["srv-2"].sh(f"systemctl is-enabled {TIMER}")


def test_a_host_that_is_away_costs_itself_only(run: Run, acme: Path, lan: Lan) -> None:
    with unplugged(lan, lan["srv-2"]):
        applied = run("apply", "--yes")
    assert applied.code == Exit.PARTLY
    assert "it refuses connections" in applied.out
    assert "enabled" in lan["srv-3"].sh("systemctl is-enabled mspctl-patching.timer")
    assert "mspctl-patching" not in lan["srv-2"].sh("ls /etc/systemd/system")


UNITS, TIMER = "/etc/systemd/system", "mspctl-patching.timer"


def reached(lan: Lan) -> dict[str, Host]:
    return {f"{n}.acme": Host(n, "acme", "127.0.0.1", m.port, "root", (m.host_key,)) for n, m in lan.machines.items()}


LOOK = Ask({"packages": ["restic"]})


def test_what_can_go_wrong_is_one_line_each(lan: Lan) -> None:
    hosts = reached(lan)
    hosts["srv-2.acme"] = Host("srv-2", "acme", "127.0.0.1", lan["srv-2"].port, "guest", (lan["srv-2"].host_key,))
    hosts["srv-4.acme"] = Host("srv-4", "acme", "127.0.0.1", lan["srv-4"].port, "root", (lan["srv-1"].host_key,))
    hosts["srv-5.acme"] = Host("srv-5", "acme", "127.0.0.1", lan["srv-4"].port, "root", (lan["srv-4"].host_key,))
    hosts["srv-6.acme"] = Host("srv-6", "acme", "127.0.0.1", lan["srv-1"].port, "root", (lan["srv-1"].host_key,))
    asks = dict.fromkeys(hosts, LOOK) | {"srv-6.acme": Ask({"packages": 5})}  # what we run there does not expect that
    lan["srv-3"].sh("mv /usr/bin/python3 /usr/bin/python3.gone")
    lan["srv-4"].sh("mv /usr/lib/python3.11/zipfile.py /root")
    try:
        answers = Ansible(hosts, lambda: Secret("SSH_KEY", lan.key.read_bytes())).run("read", asks)
    finally:
        lan["srv-3"].sh("mv /usr/bin/python3.gone /usr/bin/python3")
        lan["srv-4"].sh("mv /root/zipfile.py /usr/lib/python3.11")
    assert answers["srv-1.acme"].result["facts"]["packages"].keys() == {"restic"}
    assert {name: (type(a.error).__name__, str(a.error)) for name, a in answers.items() if a.error} == {
        "srv-2.acme": ("TargetError", "guest may not use sudo there without a password"),
        "srv-3.acme": ("TargetError", "it has no /usr/bin/python3"),
        "srv-4.acme": ("Unreachable", "its host key is another than hosts.yaml says: nothing was sent"),
        "srv-5.acme": ("TargetError", "what we run there failed: ModuleNotFoundError: No module named 'zipfile'"),
        "srv-6.acme": ("TargetError", "what we run there failed: 'int' object is not iterable"),
    }


# Says that it is under way, and ends when it may.
WAITS = """
import os, time
def answer(ask):
    open("/run/under-way", "w").close()
    for _ in range(1200):
        if os.path.exists("/run/go-on"):
            return "done"
        time.sleep(0.05)
"""


def test_installing_ends_nothing_that_others_have_under_way(lan: Lan) -> None:
    """Neither on the hosts themselves, nor through the one by which they are reached."""
    behind = {f"{name}.acme": Host(name, "acme", lan[name].address, jump="srv-1.acme") for name in ("srv-2", "srv-3")}
    hosts = reached(lan) | {n: replace(host, keys=reached(lan)[n].keys) for n, host in behind.items()}
    one, other = (Ansible(hosts, lambda: Secret("SSH_KEY", lan.key.read_bytes())) for _ in range(2))
    waits = Ask({"modules": [["waits", WAITS]], "ask": {}, "seconds": 60})
    waiting = ("srv-1", "srv-3")
    for machine in lan.machines.values():
        machine.clean()
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(one.run, "run", {f"{name}.acme": waits for name in waiting})
        for name in waiting:
            lan[name].sh("for _ in $(seq 1200); do [ -e /run/under-way ] && exit; sleep 0.05; done; exit 1")
        begins = Ask({"left": 60, "patience": 1})
        said = other.run("install", {"srv-1.acme": begins, "srv-2.acme": begins})
        for name in waiting:
            lan[name].sh("touch /run/go-on")
        answers = under_way.result(120)
    for name in waiting:
        lan[name].sh("rm /run/go-on /run/under-way")
    assert {str(answer.error) for answer in said.values()} == {
        "patching is not set up there as Git says: mspctl apply first"
    }
    assert {name: (answer.error, answer.result.get("answer")) for name, answer in answers.items()} == {
        "srv-1.acme": (None, "done"),
        "srv-3.acme": (None, "done"),
    }


def test_a_key_that_nobody_knows(lan: Lan, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    hosts = {name: host for name, host in reached(lan).items() if name == "srv-1.acme"}
    key = Secret("SSH_KEY", (tmp_path / "key").read_bytes())
    answers = Ansible(hosts, lambda: key).run("read", dict.fromkeys(hosts, LOOK))
    assert str(answers["srv-1.acme"].error) == "it does not let root in with this key"


def test_values_are_no_templates_and_secrets_stay_where_they_belong(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with a secret in it arrives, and nothing else holds it afterwards: no process, journal, log or file."""
    secret = "Gh31m-{{ 7 * 7 }}-l33k"
    monkeypatch.setenv("MSPCTL_SECRET_REPOSITORY", secret)
    text = "# Managed by mspctl {{ lookup('pipe', 'id') }}\n"
    file = {"path": "/etc/mspctl/leak", "text": text, "secret": "repository", "mode": "0600"}
    what = {"scopes": [{"name": "acme/srv-1/x", "items": [{"files": [file]}]}]}
    hosts = {name: host for name, host in reached(lan).items() if name == "srv-1.acme"}
    watch = subprocess.Popen(  # what any process says of itself meanwhile
        [sys.executable, "-c", WATCH, secret, lan.key.read_text().splitlines()[2]], stdin=-1, stdout=-1
    )
    try:
        ansible = Ansible(hosts, lambda: Secret("SSH_KEY", lan.key.read_bytes()))
        answers = ansible.run("write", {"srv-1.acme": Ask(what, {"repository": Secret("R", secret.encode())})})
    finally:
        found, _ = watch.communicate(b"\n", 60)
    assert answers["srv-1.acme"].error is None
    assert lan["srv-1"].sh("cat /etc/mspctl/leak; stat -c %a /etc/mspctl/leak") == f"{text}{secret}\n600\n"
    assert found == b""
    shared.close()
    assert not [*MEMORY.glob(f"mspctl-{os.getpid()}-*")]
    assert secret not in str(answers)
    assert secret not in lan["srv-1"].sh(
        "journalctl --no-pager; rm /etc/mspctl/leak; grep -r l33k /etc /tmp /var /root; true"
    )


# Looks into /proc for the arguments and environments of all others, until somebody says a line.
WATCH = """
import glob, os, select, sys
ours = {str(os.getpid()), str(os.getppid())}
while not select.select([sys.stdin], [], [], 0.02)[0]:
    for path in glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/environ"):
        try:
            said = open(path, "rb").read()
        except OSError:
            continue
        if path.split("/")[2] not in ours and any(word.encode() in said for word in sys.argv[1:]):
            print(path, said[:100])
"""


def test_the_inventory_is_for_plain_ansible_too(run: Run, acme: Path, lan: Lan) -> None:
    printed = run("inventory", "ansible")
    assert printed.code == Exit.DONE
    assert '      ansible_host: !unsafe "127.0.0.1"\n' in printed.out
    assert "    role_files:\n" in printed.out
    pinned = run("inventory", "known-hosts", "-c", "acme").out
    assert f"srv-3.acme {lan['srv-3'].host_key}\n" in pinned
    assert run("inventory", "ansible", "--write", "ansible", "--key", str(lan.key)).code == Exit.DONE
    program = Path(sys.executable).parent / "ansible"
    environment = os.environ | {"ANSIBLE_HOME": str(acme / "home"), "PATH": f"{program.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [program, "-i", "ansible/inventory.yaml", "customer_acme", "-m", "ping"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert re.findall(r"^(\S+) \| SUCCESS", done.stdout, re.MULTILINE), done
    assert sorted(re.findall(r"^(\S+) \| SUCCESS", done.stdout, re.MULTILINE)) == [
        "srv-1.acme",
        "srv-2.acme",
        "srv-3.acme",
    ]


def test_the_inventory_overwrites_nothing_of_others(run: Run, acme: Path) -> None:
    (acme / "ansible").mkdir()
    (acme / "ansible/inventory.yaml").write_text("mine: {}\n")
    said = run("inventory", "ansible", "--write", "ansible")
    assert said.code == Exit.ERROR
    assert "is not ours to overwrite (choose another folder)" in said.err
    assert (acme / "ansible/inventory.yaml").read_text() == "mine: {}\n"


def test_the_playbooks_run_by_hand(run: Run, acme: Path, lan: Lan) -> None:
    """Looking changes nothing; a second time there is nothing to do."""
    assert run("inventory", "ansible", "--write", "ansible", "--key", str(lan.key)).code == Exit.DONE
    (acme / "ansible/asks").mkdir()
    (acme / "ansible/asks/srv-1.acme.secrets.json").write_text('{"word": "Gh31m"}')
    files = [
        {"path": "/etc/mspctl/open", "text": "# Managed by mspctl\n"},
        {"path": "/etc/mspctl/shut", "text": "# Managed by mspctl\n", "secret": "word", "mode": "0600"},
    ]
    ask = {"scopes": [{"name": "acme/srv-1/x", "items": [{"files": files, "hold": {"restic": True}}]}]}
    (acme / "ansible/asks/srv-1.acme.json").write_text(json.dumps(ask))
    looked = by_hand(acme, "hosts-write.yaml", "--check", "--diff")
    assert "changed=1" in looked
    assert "+# Managed by mspctl" in looked
    assert "Gh31m" not in looked
    assert lan["srv-1"].sh("ls /etc/mspctl; apt-mark showhold", check=False) == ""
    assert "changed=1" in by_hand(acme, "hosts-write.yaml", "-vvv")
    assert lan["srv-1"].sh("cat /etc/mspctl/shut; apt-mark showhold") == "# Managed by mspctl\nGh31m\nrestic\n"
    assert "changed=0" in by_hand(acme, "hosts-write.yaml")
    (acme / "ansible/asks/srv-1.acme.json").write_text(json.dumps({"secret": ["/etc/mspctl/*"]}))
    assert '"/etc/mspctl/open"' in by_hand(acme, "hosts-read.yaml", "-v")
    lan["srv-1"].sh("rm -r /etc/mspctl")


def by_hand(acme: Path, playbook: str, *options: str) -> str:
    folder = Path(sys.executable).parent
    program, book = str(folder / "ansible-playbook"), str(PLAYBOOKS / playbook)
    asks = f"mspctl_asks={acme}/ansible/asks"
    done = subprocess.run(
        [program, "-i", "ansible/inventory.yaml", "-l", "srv-1.acme", book, "-e", asks, *options],
        env=os.environ | {"ANSIBLE_HOME": str(acme / "home"), "PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done
    assert "Gh31m" not in done.stdout + done.stderr
    return done.stdout


def test_ansible_lint_has_nothing_to_say(tmp_path: Path) -> None:
    lint = require("ansible-lint")
    shutil.copytree(PLAYBOOKS, tmp_path / "playbooks")
    done = subprocess.run(
        [lint, "--offline", "--nocolor", "--strict", "."],
        cwd=tmp_path / "playbooks",
        env=os.environ | {"ANSIBLE_LIBRARY": "library", "PATH": f"{Path(lint).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
