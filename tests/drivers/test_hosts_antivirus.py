"""ClamAV on real hosts, with signatures of our own from a mirror on their LAN: configured, found again, and finding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from mspctl.drivers.hosts import antivirus
from mspctl.drivers.hosts.bundle import Place, program
from mspctl.kinds import antivirus as kind
from mspctl.kinds.hosts import parts
from mspctl.plan import REVERT
from mspctl.resource import Cause, Id, Resource, Scope, Value
from tests.drivers.contract import DriverContract, Sample
from tests.drivers.hosts_rig import Console, HostsRig
from tests.drivers.workbench import Workbench
from tests.servers.hosts import NET, UPDATES, Lan, Machine
from tests.servers.signatures import EICAR, MARKER, Mirror, mirror

URL = f"http://{NET}.1:8099"
FIELDS: dict[str, Value] = {
    "on_access": frozenset({"/srv/guarded"}),
    "prevent": True,
    "exclude": frozenset({"/srv/guarded/db.d"}),
    "action": "quarantine",
    "max_file": 100,
    "max_scan": 400,
    "depth": 17,
    "mirror": URL,
    "official": False,
    "own": frozenset({"msp.hdb", "msp.ndb"}),
    "every": 14400,
    "alert": "",
}
ENGINE = kind.engine(FIELDS)
SCAN: dict[str, Value] = {"paths": frozenset({"/srv"}), "schedule": "sun 03:00", "timezone": "Europe/Rome"}
WEEKLY, DAILY = kind.scan("weekly", SCAN), kind.scan("daily", {**SCAN, "schedule": "12:30"})
QUARANTINE, FOUND = "/var/lib/mspctl-quarantine", "/var/lib/mspctl-antivirus/found.json"


def but(resource: Resource, **fields: Any) -> Resource:
    return replace(resource, fields={**resource.fields, **fields})


class AntivirusRig(HostsRig):
    def by_hand(self, scope: Scope, id_: Id, resource: Resource | None) -> None:
        machine, place = self.machine(scope), Place(*parts(scope))
        old = antivirus.bundle(resource or {kind.CLAMAV: ENGINE}.get(id_, kind.scan(id_.name, SCAN)), place)
        if resource is None:
            machine.run("systemctl", "disable", "--now", "--quiet", *old.units)
            machine.sh(f"rm -f {' '.join(file.path for file in old.files)}; systemctl daemon-reload")
            return
        if id_ == kind.CLAMAV and not resource.fields["on_access"]:
            machine.sh("systemctl disable --now -q mspctl-antivirus-watch; rm -f /etc/systemd/system/*-watch.service")
        for file in old.files:
            machine.run("install", "-D", "-m", file.mode, "/dev/stdin", file.path, said=file.text.encode())
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "enable", "--now", "--quiet", *old.units)

    @contextmanager
    def breaking(self, scope: Scope, after: int) -> Iterator[None]:
        """A disk that takes nothing; or, after the first change, one file that nobody can replace."""
        machine = self.machine(scope)
        path = "/etc/mspctl/antivirus/scan-daily.conf" if after else "/etc/systemd/system"
        machine.sh(f"mount --bind {path} {path}" + ("" if after else f" && mount -o remount,ro,bind {path}"))
        yield
        machine.run("umount", path)

    @contextmanager
    def garbled(self, scope: Scope) -> Iterator[None]:
        machine = self.machine(scope)
        machine.sh("cd /etc/mspctl/antivirus && cp -p job.conf /tmp/kept && echo '{' >job.conf")
        yield
        machine.sh("mv /tmp/kept /etc/mspctl/antivirus/job.conf")


@pytest.fixture(scope="module")
def signatures(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    with mirror(lan, tmp_path_factory.mktemp("mirror")) as made:
        yield made


@pytest.fixture
def rig(lan: Lan, console: Console, signatures: Mirror) -> Iterator[AntivirusRig]:
    signatures.write()
    for machine in lan.machines.values():
        machine.clean()
        machine.sh("mkdir -p /srv/guarded/db.d /srv/guarded/sub /srv/guarded2")
    yield AntivirusRig(lan, console, "antivirus")
    for machine in lan.machines.values():
        machine.clean()
        machine.sh("rm -rf /srv/guarded*")


@pytest.mark.soak
class TestAntivirus(DriverContract):
    """Minutes, for engines are started anew for each of many changes; what matters most is below, and always run."""

    samples = (
        Sample(
            ENGINE,
            (
                but(ENGINE, on_access=frozenset({"/srv/guarded", "/srv/guarded2"})),
                but(ENGINE, prevent=False),
                but(ENGINE, exclude=frozenset({"/srv/guarded/db.d", "/srv/a+b.c"})),
                but(ENGINE, action="report"),
                but(ENGINE, max_file=50),
                but(ENGINE, max_scan=200),
                but(ENGINE, depth=9),
                but(ENGINE, mirror=f"{URL}/."),
                but(ENGINE, own=frozenset({"msp.hdb"})),
                but(ENGINE, official=True),
                but(ENGINE, every=7200),
                but(ENGINE, alert=f"{URL}/told"),
                but(ENGINE, on_access=frozenset()),
            ),
        ),
        Sample(
            WEEKLY,
            (
                but(WEEKLY, paths=frozenset({"/srv", "/home"})),
                but(WEEKLY, schedule="sat,sun 23:59"),
                but(WEEKLY, timezone="UTC"),
            ),
        ),
        Sample(DAILY, ()),
    )
    constant: ClassVar = frozenset({"amiss"})
    impossible = (
        (but(WEEKLY, schedule="soon"), "'soon' is not a time of the day"),
        (but(WEEKLY, paths=frozenset()), "a scan of nothing"),
        (but(ENGINE, action="pray"), "'pray' is not what becomes of a find"),
        (but(ENGINE, own=frozenset()), "an engine without signatures"),
        (but(ENGINE, mirror=""), "signatures of one's own come from a mirror"),
        (replace(ENGINE, id=Id(kind.ENGINE, "other")), "there is no engine other"),
    )
    makes_scopes = False


# -- what the contract does not ask ------------------------------------------------------------------------------


def guarded(rig: AntivirusRig, *resources: Resource) -> tuple[Workbench, Scope, Machine]:
    """A host of which so much is declared, and true."""
    bench, scope = Workbench(lambda scope: rig.reader(), lambda scope: rig.driver(), approved=True), rig.scopes[0]
    bench.declare(scope, *resources)
    bench.converge()
    return bench, scope, rig.machine(scope)


def awaited(look: Callable[[], object]) -> None:
    for _ in range(200):
        if look():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come")


def finds(machine: Machine) -> str:
    return machine.sh(f"cat {FOUND} 2>/dev/null", check=False)


def put(machine: Machine, path: str, content: bytes = EICAR) -> None:
    machine.run("install", "-m", "600", "/dev/stdin", path, said=content, check=False)


def test_an_engine_runs_watches_and_takes_away(rig: AntivirusRig) -> None:
    bench, scope, machine = guarded(rig, ENGINE, WEEKLY)
    assert machine.sh("systemd-analyze verify /etc/systemd/system/mspctl-antivirus-* 2>&1") == ""
    facts = bench.plan()[scope].facts
    assert (facts["engine"], facts["watch"], facts["failed"], facts["outdated"]) == (True, True, "", False)
    assert str(facts["installed"]).startswith(str(facts["version"]))
    assert facts["signatures"] == pytest.approx(time.time(), abs=600)
    put(machine, "/srv/guarded/sub/invoice.pdf")
    awaited(lambda: "/srv/guarded/sub/invoice.pdf" in finds(machine))
    awaited(lambda: "invoice.pdf" in machine.sh(f"ls {QUARANTINE}"))
    assert machine.sh("ls /srv/guarded/sub") == ""
    put(machine, "/srv/guarded/db.d/kept")
    assert machine.sh("cat /srv/guarded/db.d/kept").encode() == EICAR
    (one,) = cast(tuple[str, ...], bench.plan()[scope].facts["found"])
    assert one.split(" ", 1)[1] == "Test.Eicar.UNOFFICIAL /srv/guarded/sub/invoice.pdf"


def test_a_scan_runs_from_its_own_unit(rig: AntivirusRig) -> None:
    quiet = but(ENGINE, on_access=frozenset(), exclude=frozenset({"/srv/guarded/db.d"}))
    bench, scope, machine = guarded(rig, quiet, WEEKLY)
    put(machine, "/srv/guarded/db.d/kept")
    put(machine, "/srv/guarded/sub/x", b"x " + MARKER)
    machine.run("systemctl", "start", "mspctl-antivirus-scan-weekly.service")
    facts = bench.plan()[scope].facts
    assert (facts["scan weekly found"], facts["scan weekly error"], facts["watch"]) == (1, "", False)
    assert facts["scan weekly ended"] == pytest.approx(time.time(), abs=600)
    assert (
        machine.sh(f"ls {QUARANTINE}; ls /srv/guarded/sub /srv/guarded/db.d")
        == "x\n/srv/guarded/db.d:\nkept\n\n/srv/guarded/sub:\n"
    )
    bench.declare(scope, but(quiet, action="report"), but(WEEKLY, paths=frozenset({"/srv/guarded", "/srv/none"})))
    bench.converge()
    put(machine, "/srv/guarded/sub/y")
    machine.run("systemctl", "start", "mspctl-antivirus-scan-weekly.service", check=False)
    facts = bench.plan()[scope].facts
    assert facts["scan weekly found"] == 1
    assert "/srv/none" in str(facts["scan weekly error"])
    assert machine.sh("ls /srv/guarded/sub") == "y\n"


CLAMD = "/etc/mspctl/antivirus/clamd.conf"


@pytest.mark.parametrize(
    ("broken", "field", "values"),
    [
        (
            f"echo 'ExcludePath ^/opt(/|$)' >>{CLAMD}; echo 'ExcludePath [.]mdb$' >>{CLAMD}"
            f"; echo 'OnAccessExcludePath /srv/guarded/sub' >>{CLAMD}",
            "exclude",
            {"/srv/guarded/db.d", "/opt", "[.]mdb$", "/srv/guarded/sub"},
        ),
        (
            "systemctl stop mspctl-antivirus-watch; systemctl disable -q mspctl-antivirus-engine"
            f"; systemctl start clamav-freshclam; echo 'Debug no' >>{CLAMD}",
            "amiss",
            {
                "mspctl-antivirus-watch.service is stopped",
                "mspctl-antivirus-engine.service is disabled",
                f"{CLAMD} was edited",
                "clamav-freshclam.service runs beside ours",
            },
        ),
    ],
)
def test_what_is_done_by_hand_is_named_and_reverted(
    rig: AntivirusRig, broken: str, field: str, values: set[str]
) -> None:
    bench, scope, machine = guarded(rig, ENGINE)
    machine.sh(broken)
    (difference,) = bench.plan()[scope].left
    assert difference.live is not None
    assert difference.live.fields[field] == frozenset(values)
    assert bench.causes(scope) == {"clamav": Cause.DRIFT}
    bench.converge(causes=REVERT)
    assert bench.plan()[scope].left == []


@pytest.mark.soak
def test_a_package_that_is_gone_comes_back(rig: AntivirusRig) -> None:
    bench, scope, machine = guarded(rig, ENGINE)
    machine.archive(*UPDATES)
    machine.sh("dpkg --purge clamdscan 2>&1; rm -rf /var/lib/apt/lists/*_*")
    (difference,) = bench.plan()[scope].left
    assert difference.live is not None
    assert difference.live.fields["amiss"] == frozenset({"package clamdscan is not installed"})
    bench.converge(causes=REVERT)
    machine.sh("dpkg --purge demo")


def test_a_configuration_that_no_engine_takes_leaves_the_old_one_running(rig: AntivirusRig) -> None:
    bench, scope, machine = guarded(rig, ENGINE)
    bench.declare(scope, but(ENGINE, max_file="oops"))
    (end,) = bench.apply().unfinished
    assert "mspctl-antivirus-engine.service does not start: " in end.error
    facts = bench.plan()[scope].facts
    assert (facts["engine"], facts["watch"]) == (True, True)
    put(machine, "/srv/guarded/sub/x")
    awaited(lambda: "/srv/guarded/sub/x" in finds(machine))


@pytest.mark.soak  # freshclam tries again, and waits meanwhile
def test_without_a_mirror_the_first_engine_does_not_start_and_an_old_one_goes_on(rig: AntivirusRig) -> None:
    bench, scope = Workbench(lambda scope: rig.reader(), lambda scope: rig.driver(), approved=True), rig.scopes[0]
    nowhere = but(ENGINE, mirror=f"http://{NET}.1:1")
    bench.declare(scope, nowhere)
    (end,) = bench.apply().unfinished
    assert "does not start: there are no signatures yet: ERROR: " in end.error
    assert rig.machine(scope).sh("find /etc/mspctl /etc/systemd/system/ -name '*mspctl*' -type f") == ""
    bench.declare(scope, ENGINE)
    bench.converge()
    bench.declare(scope, nowhere)
    bench.converge()
    facts = bench.plan()[scope].facts
    assert facts["engine"] is True
    assert "ERROR" in str(facts["failed"])


def test_signatures_come_from_the_mirror_and_are_taken_in(rig: AntivirusRig, signatures: Mirror) -> None:
    _, _, machine = guarded(rig, ENGINE)
    newer = signatures.folder / "msp.ndb"
    newer.write_text(f"Test.New:0:*:{b'SOMETHING-NEW-AND-BAD'.hex()}\n")
    os.utime(newer, (time.time() + 60,) * 2)  # freshclam asks for what is newer, and HTTP knows whole seconds only
    machine.run("systemctl", "start", "mspctl-antivirus-update.service")
    awaited(lambda: "correctly reloaded" in machine.sh("journalctl -u mspctl-antivirus-engine -o cat"))
    put(machine, "/srv/guarded/sub/x", b"SOMETHING-NEW-AND-BAD")
    awaited(lambda: "Test.New" in finds(machine))


def test_a_find_is_told_at_once(rig: AntivirusRig, lan: Lan, tmp_path: Path) -> None:
    told = tmp_path / "told"
    _, _, machine = guarded(rig, but(ENGINE, alert=f"http://{NET}.1:8098/av"))
    with listening(lan, told):
        put(machine, "/srv/guarded/sub/x")
        awaited(lambda: told.exists() and "srv-1" in told.read_text())
    assert '"path": "/srv/guarded/sub/x"' in told.read_text()


@contextmanager
def listening(lan: Lan, told: Path) -> Iterator[None]:
    serve = f"""
import http.server
class Listener(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        said = self.rfile.read(int(self.headers["Content-Length"]))
        open({str(told)!r}, "ab").write(said)
        self.send_response(204)
        self.end_headers()
server = http.server.HTTPServer(("{NET}.1", 8098), Listener)
print("listens", flush=True)
server.serve_forever()
"""
    command = lan.inside(sys.executable, "-c", serve)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "listens\n"
        yield
    finally:
        process.kill()
        process.communicate(timeout=60)


def test_what_a_host_says_of_itself_is_not_believed_blindly(rig: AntivirusRig) -> None:
    bench, scope, machine = guarded(rig, but(ENGINE, on_access=frozenset()))
    said = '{"latest": [7, {"at": "x", "name": null, "path": "/a\\u001b[2J\\nb"}]}'
    machine.run("install", "/dev/stdin", FOUND, said=said.encode())
    machine.sh("echo '[1]' >/var/lib/mspctl/antivirus.json")
    facts = bench.plan()[scope].facts
    assert facts["found"] == ("0 ? /a[2J b",)
    assert (facts["signatures"], facts["version"]) == (0, "")


# -- the errand of a proof ---------------------------------------------------------------------------------------

ASK: dict[str, object] = {
    "on_access": ["/srv/guarded"],
    "scanned": ["/srv/guarded"],
    "quarantine": True,
    "reported": True,
    "within": 10,
}


def tried(rig: AntivirusRig, **other: object) -> list[str]:
    said = rig.driver().errand(rig.scopes[0], ["antivirus_proof"], ASK | other, 60)
    return [f"{step['what']}: {step['verdict']}" for step in said["steps"]]


def left(machine: Machine) -> str:
    return machine.sh(f"cd /srv/guarded && find . -name '*proof*'; ls {QUARANTINE}; cat {FOUND}", check=False)


def test_a_proof_takes_away_its_own_finds_only(rig: AntivirusRig) -> None:
    _, _, machine = guarded(rig, ENGINE)
    put(machine, "/srv/guarded/sub/real", MARKER)
    awaited(lambda: "/srv/guarded/sub/real" in finds(machine))
    assert tried(rig) == [
        "malware is caught as it is opened: passed",
        "it is taken to quarantine: passed",
        "nothing of it is left: passed",
        "the find is reported: passed",
    ]
    assert "proof" not in left(machine)
    assert "real" in machine.sh(f"ls {QUARANTINE}")
    assert "/srv/guarded/sub/real" in finds(machine)
    put(machine, "/srv/guarded/sub/later", MARKER)  # the engine can still write down what it finds
    awaited(lambda: "/srv/guarded/sub/later" in finds(machine))
    without = machine.run(
        *("setpriv", "--bounding-set", "-sys_admin", "python3", "-c", PROOF), said=json.dumps(ASK).encode()
    )
    assert [step["verdict"] for step in json.loads(without)["steps"]] == ["not made"]
    assert "the kernel lets nobody watch files here" in without


PROOF = f"""import json, sys
module = {{}}
exec({program("antivirus_proof")!r}, module)
print(json.dumps(module["answer"](json.load(sys.stdin))))
"""


@pytest.mark.soak
def test_where_nothing_is_watched_a_scan_proves_it(rig: AntivirusRig) -> None:
    bench, scope, machine = guarded(rig, but(ENGINE, on_access=frozenset()))
    assert tried(rig, on_access=[])[0] == "malware is caught by a scan: passed"
    assert "proof" not in left(machine)
    bench.declare(scope, but(ENGINE, on_access=frozenset(), action="report"))
    bench.converge()
    assert tried(rig, on_access=[], quarantine=False) == [
        "malware is caught by a scan: passed",
        "the find is reported: passed",
    ]
    machine.run("systemctl", "stop", "mspctl-antivirus-engine")
    assert tried(rig, on_access=[], within=1) == ["malware is caught by a scan: failed"]
    assert tried(rig, on_access=["/srv/nowhere"]) == ["a test file can be written to /srv/nowhere: not made"]
    assert "proof" not in left(machine)
