"""`mspctl:hosts:Host` over the provider's wire, on a real Debian machine that Ansible reaches, and its children."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from mspctl.locks import Locks
from mspctl.transports.private import MEMORY
from tests.provider.wire import Json, Wire, approve, plain, provider, refused
from tests.servers import dynamic
from tests.servers.hosts import Lan, Machine, machines, plug

pytestmark = pytest.mark.soak
TOKEN, ZONE = "mspctl:hosts:Host", "mspctl:dns:Zone"
ZONES = [f"z{number}.example" for number in range(11)]
TARGETS = """\
targets:
  servers: {secrets: {ssh_key: SSH_KEY}, facets: {hosts: {driver: hosts, connect: 5s}}}
"""
NAME_SERVER = """\
  ns-1:
    address: 127.0.0.1
    secrets: {{tsig: NS_1_TSIG}}
    facets: {{dns: {{driver: rfc2136, key: {key}, port: {port}, timeout: 20s,
      nameservers: [ns1.msp.example, ns2.msp.example]}}}}
"""
# Takes its time to hold a package, for as long as somebody wants.
SLOW = """#!/bin/sh
if [ "$1" = hold ]; then
  : >/run/begun
  while [ -e /run/slow ]; do sleep 0.1; done
fi
exec /root/apt-mark "$@"
"""


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    with machines("srv-1") as found:
        yield found


@pytest.fixture
def machine(lan: Lan) -> Machine:
    lan["srv-1"].clean()
    return lan["srv-1"]


@pytest.fixture
def estate(repository: Path, lan: Lan, machine: Machine) -> Path:
    """One customer, Pulumi's, with one host."""
    for folder in (repository / "customers").iterdir():
        shutil.rmtree(folder)
    (repository / "inventory/targets.yaml").write_text(TARGETS)
    for file in repository.glob("inventory/baselines/*"):
        file.write_text("{}\n")
    folder = repository / "customers/acme"
    folder.mkdir()
    (folder / "customer.yaml").write_text("name: Acme\ntimezone: Europe/Rome\nengine: pulumi\n")
    way = f"address: 127.0.0.1, port: {machine.port}, host_key: {machine.host_key}"
    (folder / "hosts.yaml").write_text(f"hosts: {{srv-1: {{target: servers, os: debian-12, {way}}}}}\n")
    (folder / "patching.yaml").write_text('policy: {what: security, window: "sun 02:00-05:00"}\n')
    return repository


@pytest.fixture
def wire(estate: Path, lan: Lan) -> Iterator[Wire]:
    with provider(estate, env=secrets_of(lan)) as made:
        yield made


def secrets_of(lan: Lan) -> dict[str, str]:
    return {"MSPCTL_SECRET_SSH_KEY_FILE": str(lan.key)}


def host(*holds: str, hours: str = "sun 02:00-05:00") -> Json:
    resources = {
        "policy": {"policy": {"what": "security", "reboot": "never", "amiss": []}},
        "window": {"window": {"hours": hours, "timezone": "Europe/Rome", "amiss": []}},
        "hold": {name: {"held": True} for name in holds},
    }
    return {"customer": "acme", "target": "servers", "name": "acme/srv-1/patching", "resources": resources}


def zone(name: str) -> Json:
    rrsets = {"www A": {"ttl": 300, "values": ["192.0.2.1"]}}
    return {"customer": "acme", "target": "ns-1", "name": name, "resources": {"rrset": rrsets}}


def test_the_life_of_a_host(wire: Wire, estate: Path, machine: Machine) -> None:
    first = wire.checked(TOKEN, host("restic"))
    wire.create(TOKEN, first, preview=True)
    assert machine.sh("ls -d /etc/systemd/system/mspctl-*", check=False) == ""
    id_, state = wire.create(TOKEN, first)
    assert id_ == "servers/acme/srv-1/patching"
    assert state["resources"] == first["resources"]
    assert machine.sh("apt-mark showhold") == "restic\n"
    assert timer(machine) == "Sun *-*-* 02:00:00 Europe/Rome"
    assert wire.details(TOKEN, state, first, first) == {}

    second = wire.checked(TOKEN, host("restic", hours="sat 03:00-05:00"))
    assert wire.details(TOKEN, state, second, first) == {"resources.window.window.hours": "UPDATE"}
    state = wire.update(TOKEN, id_, state, second, first)
    assert timer(machine) == "Sat *-*-* 03:00:00 Europe/Rome"
    assert wire.details(TOKEN, state, second, second) == {}

    machine.sh("apt-mark unhold restic; systemctl stop mspctl-patching.timer")  # drift
    drifted = plain(wire.read(TOKEN, id_, state, second).properties)
    assert drifted["resources"]["window"]["window"]["amiss"] == ["mspctl-patching.timer is stopped"]
    assert wire.details(TOKEN, drifted, second, second) == {
        "resources.window.window.amiss": "UPDATE",
        "resources.hold.restic": "ADD",
    }
    state = wire.update(TOKEN, id_, drifted, second, second)
    assert machine.sh("apt-mark showhold") == "restic\n"
    assert machine.sh("systemctl is-active mspctl-patching.timer") == "active\n"
    read = wire.read(TOKEN, id_, state, second)
    assert wire.details(TOKEN, plain(read.properties), second, second) == {}

    imported = wire.read(TOKEN, id_)  # as whoever has the id alone
    assert imported.id == id_
    assert plain(imported.inputs) == second
    adopted = plain(imported.properties)
    assert wire.details(TOKEN, adopted, wire.checked(TOKEN, plain(imported.inputs)), second) == {}

    with refused() as said:
        wire.delete(TOKEN, id_, adopted, second)
    assert "is kept until an approval names it" in said[0].text
    approve(estate, "hosts/acme/srv-1/patching", "servers", "acme")
    wire.configure(estate)
    wire.delete(TOKEN, id_, adopted, second)
    assert machine.sh("ls -d /etc/systemd/system/mspctl-*; apt-mark showhold", check=False) == ""
    wire.delete(TOKEN, id_, adopted, second)  # again: what is gone is gone


def timer(machine: Machine) -> str:
    said = machine.sh("systemctl show -p TimersCalendar mspctl-patching.timer")
    return said.partition("OnCalendar=")[2].partition(" ;")[0]


def test_what_is_wrong_is_said_of_its_property(wire: Wire, lan: Lan, machine: Machine) -> None:
    bad = host("restic; reboot", hours="some day")
    bad["resources"]["policy"]["policy"]["what"] = "everything"
    assert set(wire.failures(TOKEN, bad)) == {
        'resources.hold["restic; reboot"]',
        "resources.window.window.hours",
        "resources.policy.policy.what",
    }
    machine.cable.close()
    try:
        with refused() as said:
            wire.create(TOKEN, wire.checked(TOKEN, host("restic")))
    finally:
        plug(lan, machine)
    assert (said[0].code, said[0].partial) == (grpc.StatusCode.FAILED_PRECONDITION, None)
    assert "refuses connections" in said[0].text


def test_what_landed_is_kept_when_a_host_fails_half_way(wire: Wire, machine: Machine) -> None:
    wanted = wire.checked(TOKEN, host("restic"))
    units = "/etc/systemd/system"
    machine.sh(f"mount --bind {units} {units} && mount -o remount,ro,bind {units}")  # a disk that takes nothing
    try:
        with refused() as said:
            wire.create(TOKEN, wanted)
    finally:
        machine.run("umount", units)
    partial = said[0].partial
    assert partial is not None, said[0]
    assert "Read-only file system" in said[0].text
    state = plain(partial.properties)
    assert set(state["resources"]) == {"hold", "policy"}
    assert machine.sh("ls -d /etc/systemd/system/mspctl-*", check=False) == ""
    assert wire.details(TOKEN, state, wanted, wanted) == {"resources.window.window": "ADD"}
    state = wire.update(TOKEN, partial.id, state, wanted, wanted)
    assert machine.sh("apt-mark showhold") == "restic\n"
    assert wire.details(TOKEN, state, wanted, wanted) == {}


# -- children ---------------------------------------------------------------------------------------------------


@contextmanager
def slow(machine: Machine) -> Iterator[None]:
    """Holding a package takes until this ends."""
    machine.sh("rm -f /run/begun; cp /usr/bin/apt-mark /root/apt-mark; : >/run/slow")
    machine.run("install", "-m", "755", "/dev/stdin", "/root/slow", said=SLOW.encode())
    machine.run("mount", "--bind", "/root/slow", "/usr/bin/apt-mark")
    try:
        yield
    finally:
        machine.sh("rm -f /run/slow; umount -l /usr/bin/apt-mark")


def awaited(what: Callable[[], bool], why: str) -> None:
    over = time.monotonic() + 60
    while not what():
        assert time.monotonic() < over, why
        time.sleep(0.1)


def begun(machine: Machine) -> bool:
    return bool(machine.sh("ls /run/begun", check=False))


def children(wire: Wire) -> list[str]:
    """Of the process, zombies included."""
    folder = Path(f"/proc/{wire.process.pid}/task")
    return [pid for task in folder.iterdir() for pid in (task / "children").read_text().split()]


def ours(wire: Wire) -> str:
    """Whatever runs with a folder of this provider's, whoever its parent is by now; "" for nothing."""
    mark = f"{MEMORY}/mspctl-{wire.process.pid}-"
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            said = (each / "cmdline").read_bytes() + (each / "environ").read_bytes()
        except OSError:
            continue
        if mark.encode() in said:
            found.append(f"{each.name}: {(each / 'cmdline').read_bytes()!r}" if each.exists() else "")
    return "\n".join(found)


def folders(wire: Wire) -> list[Path]:
    return [*MEMORY.glob(f"mspctl-{wire.process.pid}-*")]


def test_twelve_calls_at_once_and_one_of_them_is_ansible(
    estate: Path, lan: Lan, machine: Machine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = dynamic.Bind(tmp_path_factory.mktemp("bind"))
    with dynamic.running(server):
        for name in ZONES:
            server.add(name)
        for name in ZONES:
            server._wait(name)
        key = server.key.name.to_text(omit_final_dot=True)
        (estate / "inventory/targets.yaml").write_text(TARGETS + NAME_SERVER.format(key=key, port=server.port))
        secrets = {**secrets_of(lan), "MSPCTL_SECRET_NS_1_TSIG": server.secret}
        with provider(estate, env=secrets) as wire, ThreadPoolExecutor(12) as executor:
            wanted = wire.checked(TOKEN, host("restic"))
            zones = [wire.checked(ZONE, zone(name)) for name in ZONES]
            first = executor.submit(wire.create, TOKEN, wanted)
            made = [*executor.map(lambda each: wire.create(ZONE, each), zones)]
            assert [id_ for id_, _ in made] == [f"ns-1/{name}" for name in ZONES]
            assert first.result(120)[1]["resources"] == wanted["resources"]
            assert children(wire) == []
        assert machine.sh("apt-mark showhold") == "restic\n"
        assert (ours(wire), folders(wire)) == ("", [])


def test_cancel_lets_a_host_finish_and_begins_nothing_after(wire: Wire, machine: Machine) -> None:
    wanted, more = wire.checked(TOKEN, host("restic")), wire.checked(TOKEN, host("restic", "sudo"))
    with ThreadPoolExecutor(2) as executor, slow(machine):
        first = executor.submit(wire.create, TOKEN, wanted)
        awaited(lambda: begun(machine), "the host was not written")
        waits = executor.submit(wire.create, TOKEN, more)
        (child,) = children(wire)
        assert b"GRPC_ENABLE_FORK_SUPPORT=0" in Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        wire.cancel()
        machine.sh("rm /run/slow")
        _, state = first.result(120)
        with refused() as said:
            waits.result(60)
    assert said[0].code is grpc.StatusCode.CANCELLED
    assert children(wire) == []
    assert machine.sh("apt-mark showhold") == "restic\n"
    assert wire.details(TOKEN, state, wanted, wanted) == {}
    assert machine.sh("systemctl is-active mspctl-patching.timer") == "active\n"


def test_a_provider_that_is_ended_meanwhile_leaves_nothing(wire: Wire, machine: Machine) -> None:
    wanted = wire.checked(TOKEN, host("restic"))
    with ThreadPoolExecutor(1) as executor, slow(machine):
        first = executor.submit(wire.create, TOKEN, wanted)
        awaited(lambda: begun(machine), "the host was not written")
        assert "ansible-playbook" in ours(wire)
        assert folders(wire)
        os.kill(wire.process.pid, signal.SIGTERM)
        assert wire.process.wait(30) == 0
        with refused():
            first.result(60)
        awaited(lambda: not ours(wire), f"left: {ours(wire)}")
        assert folders(wire) == []
    running = "pgrep -f apt-mar[k]"  # what was begun on the host ends there, whole
    awaited(lambda: not machine.sh(running, check=False), "the host is at it still")
    awaited(lambda: machine.sh("apt-mark showhold") == "restic\n", "the host was left half-written")


def test_a_provider_that_is_killed_leaves_nothing_and_the_next_finishes(
    wire: Wire, estate: Path, lan: Lan, machine: Machine
) -> None:
    """But for its lock, which says who has it until it expires."""
    wanted = wire.checked(TOKEN, host("restic"))
    with ThreadPoolExecutor(1) as executor, slow(machine):
        first = executor.submit(wire.create, TOKEN, wanted)
        awaited(lambda: begun(machine), "the host was not written")
        assert "ansible-playbook" in ours(wire)
        os.kill(wire.process.pid, signal.SIGKILL)
        wire.process.wait(30)
        with refused():
            first.result(60)
        awaited(lambda: not ours(wire), f"left: {ours(wire)}")
        awaited(lambda: not folders(wire), "a folder with a key is there still")
    running = "pgrep -f apt-mar[k]"
    awaited(lambda: not machine.sh(running, check=False), "the host is at it still")
    with provider(estate, env=secrets_of(lan)) as after:
        after.configure(estate, wait=0)
        with refused() as said:
            after.create(TOKEN, wanted)
        assert said[0].partial is None
        assert "servers/hosts/acme/srv-1/patching is locked by" in said[0].text
        assert "if that run is dead: mspctl unlock servers/hosts/acme/srv-1/patching" in said[0].text
        later = datetime.now(UTC) + timedelta(minutes=21)
        Locks(estate, now=lambda: later).sweep()
        _, state = after.create(TOKEN, wanted)
        assert after.details(TOKEN, state, wanted, wanted) == {}
    assert machine.sh("apt-mark showhold; systemctl is-active mspctl-patching.timer") == "restic\nactive\n"
