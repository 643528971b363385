"""
The driver `hosts` on real Debian machines: systemd, APT and unattended-upgrades are the real ones.

The contract's many steps reach the machines without Ansible, through `Hands` that start the same module there with the
same questions; that alone makes them quick enough. What Ansible adds (SSH, keys, sudo, one run for all hosts, what can
go wrong on the way) is in test_hosts_ansible.py, with the driver as it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, ClassVar, cast

import pytest

from mspctl.driver import Failed, Reading
from mspctl.drivers.hosts import patching
from mspctl.drivers.hosts.bundle import Place
from mspctl.kinds import patching as kind
from mspctl.kinds.hosts import FACET, parts, scope_name
from mspctl.plan import REVERT
from mspctl.resource import Cause, Id, Resource, Scope, Value
from tests.drivers.contract import DriverContract, Sample
from tests.drivers.hosts_rig import Console, HostsRig
from tests.drivers.workbench import Workbench
from tests.servers.hosts import SECURITY, UPDATES, Lan, Machine


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


# -- what the contract does not ask ------------------------------------------------------------------------------


@pytest.fixture
def rig(lan: Lan, console: Console) -> PatchingRig:
    for machine in lan.machines.values():
        machine.clean()
    return PatchingRig(lan, console, "patching")


def patched(rig: PatchingRig, *resources: Resource) -> tuple[Workbench, Scope, Machine]:
    """A host of which so much is declared, and true."""
    bench, scope = Workbench(lambda scope: rig.reader(), lambda scope: rig.driver(), approved=True), rig.scopes[0]
    bench.declare(scope, *resources)
    bench.converge()
    return bench, scope, rig.machine(scope)


def live(bench: Workbench, scope: Scope) -> dict[str, Mapping[str, Value] | None]:
    """What is not as declared, by name."""
    return {d.id.name: d.live.fields if d.live else None for d in bench.plan()[scope].left}


def test_systemd_takes_every_unit(rig: PatchingRig) -> None:
    _, _, machine = patched(rig, POLICY, WINDOW)
    assert machine.sh("systemd-analyze verify /etc/systemd/system/mspctl-* 2>&1") == ""
    nexts = machine.sh("TZ=Europe/Rome systemctl show -P NextElapseUSecRealtime mspctl-patching.timer").split()
    assert (nexts[0], nexts[2] < "02:30:01", nexts[2] >= "02:00:00") == ("Sun", True, True)


UNITS, CONFIG = "/etc/systemd/system", "/etc/apt/apt.conf.d/99mspctl-patching"
COUNT, COUNTER = f"{UNITS}/mspctl-patching-facts.timer", "/usr/local/lib/mspctl/patching-facts"


@pytest.mark.parametrize(
    ("broken", "name", "sentence"),
    [
        ("systemctl stop mspctl-patching.timer", "window", "mspctl-patching.timer is stopped"),
        ("systemctl disable -q mspctl-patching.timer", "window", "mspctl-patching.timer is disabled"),
        (f"rm {COUNT}", "window", f"{COUNT} is missing"),
        (f"chmod 666 {CONFIG}", "policy", f"{CONFIG} has mode 0666"),
        (f"echo '# x' >>{COUNTER}", "window", f"{COUNTER} was edited"),
    ],
)
def test_what_is_amiss_is_named_and_reverted(rig: PatchingRig, broken: str, name: str, sentence: str) -> None:
    bench, scope, machine = patched(rig, POLICY, WINDOW)
    machine.sh(broken)
    (found,) = live(bench, scope).items()
    assert found[0] == name
    assert found[1] is not None
    assert sentence in cast(frozenset[str], found[1]["amiss"])
    assert bench.causes(scope) == {name: Cause.DRIFT}
    bench.converge(causes=REVERT)
    assert live(bench, scope) == {}


def test_a_merge_does_not_mend_in_passing(rig: PatchingRig) -> None:
    bench, scope, machine = patched(rig, POLICY, WINDOW)
    machine.sh("systemctl stop mspctl-patching.timer")
    bench.declare(scope, POLICY, but(WINDOW, hours="sat 02:00-05:00"))
    assert bench.apply().landed == 1
    kept = {"hours": "sat 02:00-05:00", "amiss": {"mspctl-patching.timer is stopped"}}
    assert live(bench, scope)["window"] == {**WINDOW.fields, **kept}
    machine.sh("echo '# mine' >>/etc/systemd/system/mspctl-patching.timer")
    bench.declare(scope, POLICY, WINDOW)
    (end,) = bench.apply().unfinished
    assert "mspctl-patching.timer was edited on the host: end that first (apply --revert, or adopt)" in end.error
    assert machine.sh("tail -1 /etc/systemd/system/mspctl-patching.timer") == "# mine\n"


def test_what_another_file_says_counts(rig: PatchingRig) -> None:
    bench, scope, machine = patched(rig, POLICY, WINDOW)
    machine.sh("echo 'Unattended-Upgrade::Origins-Pattern:: \"origin=Other\";' >/etc/apt/apt.conf.d/99zz-local")
    found = live(bench, scope)["policy"]
    assert found is not None
    assert str(found["what"]).endswith(" | origin=Other")
    (end,) = bench.apply(REVERT).unfinished
    assert end.error == "the target said yes, but reading back shows otherwise: policy"
    machine.sh("rm /etc/apt/apt.conf.d/99zz-local")


def test_the_distributions_own_timer_installs_nothing_and_who_switches_it_on_is_named(rig: PatchingRig) -> None:
    """Its unit is masked in the image; this is what it runs, each day, as if it never had."""
    bench, scope, machine = patched(rig, POLICY, WINDOW)
    machine.archive(*SECURITY)
    local = "/etc/apt/apt.conf.d/99zz-local"
    machine.sh(f"echo 'APT::Periodic::Unattended-Upgrade \"1\";' >{local}; apt-get -q update 2>&1")
    daily = "rm -f /var/lib/apt/periodic/*; /usr/lib/apt/apt.systemd.daily install >/dev/null 2>&1; "
    daily += "dpkg-query -W -f '${Version}' demo"
    assert machine.sh(daily) == "1.0"
    assert live(bench, scope) == {}
    machine.sh(f"echo 'APT::Periodic::Enable \"1\";' >>{local}")
    found = live(bench, scope)["policy"]
    assert found is not None
    assert found["amiss"] == frozenset({"APT::Periodic::Enable is 1, not 0"})
    (end,) = bench.apply(REVERT).unfinished
    assert end.error == "the target said yes, but reading back shows otherwise: policy"
    assert machine.sh(daily) == "1.1"
    machine.sh(f"rm {local}")


def test_a_file_of_somebody_else_is_not_overwritten(rig: PatchingRig) -> None:
    bench, scope, machine = patched(rig, WINDOW)
    machine.sh("echo '// mine' >/etc/apt/apt.conf.d/99mspctl-patching")
    bench.declare(scope, POLICY, WINDOW)
    (end,) = bench.apply().unfinished
    assert "/etc/apt/apt.conf.d/99mspctl-patching is somebody else's" in end.error
    assert machine.sh("cat /etc/apt/apt.conf.d/99mspctl-patching") == "// mine\n"


def test_a_package_that_is_gone_comes_back(rig: PatchingRig) -> None:
    bench, scope, machine = patched(rig, POLICY, WINDOW)
    machine.archive(*UPDATES)
    machine.sh("dpkg --purge unattended-upgrades 2>&1; rm -rf /var/lib/apt/lists/*_*")
    found = live(bench, scope)["policy"]
    assert found is not None
    assert "package unattended-upgrades is not installed" in cast(frozenset[str], found["amiss"])
    bench.converge(causes=REVERT)
    assert live(bench, scope) == {}


@pytest.mark.parametrize(
    ("archive", "what", "held", "expected"),
    [
        (SECURITY, "security", False, "1.1"),
        (UPDATES, "security", False, "1.0"),
        (UPDATES, "all", False, "1.1"),
        (SECURITY, "security", True, "1.0"),
    ],
)
def test_updates_are_installed_as_declared(
    rig: PatchingRig, archive: Sequence[str], what: str, held: bool, expected: str
) -> None:
    holds = [kind.hold("demo")] if held else []
    rig.machine(rig.scopes[0]).archive(*archive)
    bench, scope, machine = patched(rig, but(POLICY, what=what), WINDOW, *holds)
    assert dict(bench.plan()[scope].facts) | {"at": 0, "boot": ""} == NEVER_COUNTED
    machine.run("systemctl", "start", "mspctl-patching-facts.service")
    facts = bench.plan()[scope].facts
    assert (facts["pending"], facts["security"]) == (0 if held else 1, int(archive is SECURITY and not held))
    machine.run("systemctl", "start", "mspctl-patching.service")
    assert machine.sh("dpkg-query -W -f '${Version}' demo") == expected
    after = bench.plan()[scope].facts
    assert int(str(after["began"])) <= int(str(after["at"]))
    assert after["began"] == after["logged"] == pytest.approx(time.time(), abs=600)
    # What the test itself put there a second before may be in it too.
    assert isinstance(after["installed"], tuple)
    assert isinstance(after["history"], tuple)
    assert ("demo 1.0 1.1" in after["installed"]) is (expected == "1.1")
    assert (f"{after['began']} demo 1.0 1.1" in after["history"]) is (expected == "1.1")
    assert after["pending"] == (0 if held or expected == "1.1" else 1)
    assert after["asked"] == pytest.approx(time.time(), abs=600)
    machine.sh("dpkg --purge demo")


NEVER_COUNTED: Mapping[str, Value] = {
    **dict.fromkeys(("pending", "security"), -1),
    **dict.fromkeys(("at", "asked", "since", "began", "logged"), 0),
    "installed": (),
    "history": (),
    "reboot": False,
    "failed": False,
    "running": False,
    "boot": "",
}


def test_counts_without_an_archive_are_unknown(rig: PatchingRig) -> None:
    bench, scope, machine = patched(rig, POLICY, WINDOW)
    machine.sh("systemctl start mspctl-patching-facts.service; touch /run/reboot-required")
    facts = bench.plan()[scope].facts
    assert (facts["pending"], facts["security"], facts["reboot"]) == (-1, -1, True)


def test_a_scope_of_a_host_that_left_is_only_forgotten(rig: PatchingRig) -> None:
    gone = Scope("servers", FACET, scope_name("acme", "srv-9", "patching"), "acme")
    (reading,) = rig.reader().read([gone], {})
    assert isinstance(reading, Reading)
    assert (reading.exists, [*reading.resources]) == (False, [])


def test_a_section_that_hosts_do_not_have(rig: PatchingRig) -> None:
    strange = Scope("servers", FACET, scope_name("acme", "srv-1", "dns"), "acme")
    answers = {answer.scope: answer for answer in rig.reader().read([strange, rig.scopes[0]], {})}
    assert str(cast(Failed, answers[strange]).error) == "hosts have no section dns"
    assert isinstance(answers[rig.scopes[0]], Reading)
