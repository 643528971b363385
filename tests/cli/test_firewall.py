"""A firewall from YAML to packets, through the command line and real SSH; and all the ways to lock oneself out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyrage import x25519

from mspctl import cli
from tests.conftest import Said
from tests.estate import estate
from tests.servers import firewalls
from tests.servers.firewalls import FIREWALL, HOSTS, HOSTS6, OFFICE, Firewall
from tests.servers.namespaces import inside

WINDOW = 12  # seconds; a login takes one, more on a busy machine
TARGETS = """\
targets:
  fw-sede:
    address: {address}
    secrets: {{ssh_key: FW_SEDE}}
    facets:
      firewall:
        driver: nftables
        port: {port}
        user: {user}
        host_key: {key}
        confirm_within: {window}s
        run_folder: {folder}/run
        boot_folder: {folder}/boot
        at_boot: elsewhere
"""
SEDE = """\
target: fw-sede
zones: {wan: {interfaces: wan0, outside: true}, lan: lan0, guest: {interfaces: guest0, guest: true}, office: office0}
objects: {server: 10.20.0.9}
management: {from: 198.51.100.0/28, services: tcp/PORT}
rules:
  - {id: browse, from: lan, to: wan, services: [http, https, ping], action: accept}
  - {id: no-http, from: guest, to: wan, services: http, action: reject}
  - {id: guests, from: guest, to: wan, services: any, action: accept}
forwards:
  - {id: web, listen: "wan:8443", to: "server:443", only_from: [203.0.113.9], why: "cameras; ticket \\"4711\\""}
masquerade: [{from: [lan, guest], to: wan}]
"""
FILE = "customers/brenta/firewall/sede.yaml"
THIS_MACHINE = ("firewall.unchecked", "firewall.updates", "firewall.support", "firewall.reboot", "firewall.archive")
SERVE = """\
import socketserver, sys, threading
class Handler(socketserver.BaseRequestHandler):
    def handle(self): self.request.sendall(self.client_address[0].encode())
class Server(socketserver.ThreadingTCPServer):
    address_family, allow_reuse_address, daemon_threads = 10, True, True
for port in sys.argv[1:]:
    threading.Thread(target=Server(("::", int(port)), Handler).serve_forever).start()
print("ready", flush=True)
"""
CALL = """\
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), 1) as s: print("ok", s.recv(99).decode())
except ConnectionRefusedError: print("refused")
except OSError: print("no answer")
"""


@pytest.fixture(scope="module")
def firewall() -> Iterator[Firewall]:
    with firewalls.running() as running:
        servers = [running.started(role, sys.executable, "-c", SERVE, "80", "443", "4711") for role in HOSTS]
        try:
            for server in servers:
                assert server.stdout is not None
                assert server.stdout.readline() == "ready\n"
            yield running
        finally:
            for server in servers:
                server.kill()
                server.communicate(timeout=10)


class Desk:
    """Somebody in the office, with a repository."""

    def __init__(self, firewall: Firewall, root: Path) -> None:
        self.firewall = firewall
        self.root = root

    def run(self, *words: str, at: str = "office") -> Said:
        command = [*inside(self.firewall.names[at]), sys.executable, "-m", "mspctl", *words]
        secret = {"MSPCTL_SECRET_FW_SEDE": self.firewall.sshd.client_key.decode()}
        done = subprocess.run(
            command,
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, **secret},
            check=False,
        )
        assert "Traceback" not in done.stderr
        assert "PRIVATE KEY" not in done.stdout + done.stderr
        return Said(done.returncode, done.stdout, done.stderr)

    def write(self, old: str = "", new: str = "") -> None:
        text = SEDE.replace("PORT", str(self.firewall.sshd.port))
        assert text.count(old) == 1 or not old
        (self.root / FILE).write_text(text.replace(old, new) if old else text)

    def applied(self) -> None:
        said = self.run("apply", "--yes")
        assert said.code == 0, said.out + said.err
        assert self.run("plan").code == 0

    def call(self, role: str, address: str, port: int) -> str:
        return self.firewall.on(role, sys.executable, "-c", CALL, address, str(port)).strip()


@pytest.fixture
def desk(firewall: Firewall, tmp_path: Path) -> Iterator[Desk]:
    server = firewall.sshd
    targets = TARGETS.format(
        address=FIREWALL["office"], port=server.port, user=server.user, key=server.host_key, window=WINDOW,
        folder=firewall.folder,
    )  # fmt: skip
    root = estate(tmp_path, {"inventory/targets.yaml": targets, "customers/brenta/customer.yaml": "name: Brenta\n"})
    subprocess.run(["git", "init", "--quiet", root], check=True)
    (root / FILE).parent.mkdir(parents=True)
    (root / "customers/brenta/accepted.yaml").write_text("accepted:\n" + "".join(map(_let_be, THIS_MACHINE)))
    desk = Desk(firewall, root)
    desk.write()
    firewall.nft("flush", "ruleset")
    assert desk.run("ledger", "init").code == 0
    yield desk
    firewall.nft("flush", "ruleset")


def test_from_yaml_to_packets(desk: Desk) -> None:
    shown = desk.run("plan")
    assert shown.code == 2
    assert "opens tcp/8443 on wan from 203.0.113.9 only → server 10.20.0.9 port 443" in shown.out
    desk.applied()
    assert desk.call("lan", HOSTS["wan"], 443) == f"ok ::ffff:{FIREWALL['wan']}"  # masqueraded
    assert desk.call("lan", HOSTS6["wan"], 443) == f"ok {HOSTS6['lan']}"  # IPv6 is not
    assert desk.call("lan", HOSTS["wan"], 4711) == "no answer"
    assert desk.call("guest", HOSTS["wan"], 4711).startswith("ok")
    assert desk.call("guest", HOSTS["wan"], 80) == "no answer"  # rejected as prohibited, not as closed
    assert desk.call("guest", HOSTS["lan"], 443) == "no answer"
    assert desk.call("wan", HOSTS["lan"], 443) == "no answer"
    assert desk.call("wan", HOSTS6["lan"], 443) == "no answer"
    assert desk.call("wan", FIREWALL["wan"], 8443) == f"ok ::ffff:{HOSTS['wan']}"
    assert desk.run("drift").code == 0
    desk.firewall.nft("add", "element", "inet", "mspctl-sede", "zone_guest", "{ lan0 }")
    drift = desk.run("drift")
    assert drift.code == 2
    assert "lan0" in drift.out
    assert desk.run("apply", "--revert", "--yes").code == 0
    assert desk.run("drift").code == 0


def test_a_change_by_hand_is_adopted_and_a_run_undone(desk: Desk) -> None:
    desk.applied()
    table = desk.firewall.nft("-a", "list", "table", "inet", "mspctl-sede")
    by_hand = table.replace("203.0.113.9", "203.0.113.7")
    assert by_hand.count("203.0.113.7") == 2  # where it is translated, and where it is let through
    gone = [line for line in by_hand.splitlines() if '"rule:no-http"' not in line]
    desk.firewall.nft("-f", "-", given="delete table inet mspctl-sede\n" + "\n".join(gone))
    said = desk.run("adopt", "brenta")
    assert said.code == 0, said.err
    after = (desk.root / FILE).read_text()
    assert "only_from: [203.0.113.7], why:" in after
    assert "no-http" not in after
    desk.applied()  # what is left is a note of the order
    assert desk.run("drift").code == 0
    desk.write("only_from: [203.0.113.9]", "only_from: [203.0.113.5]")
    desk.applied()
    said = desk.run("undo", "brenta")
    assert said.code == 0, said.err
    assert (desk.root / FILE).read_text().count("only_from: [203.0.113.7]") == 1
    assert "no-http" not in (desk.root / FILE).read_text()
    desk.applied()


def test_explain_on_what_git_says_and_on_the_device(desk: Desk) -> None:
    desk.applied()
    asked = ("firewall", "explain", "brenta", "sede", "wan:203.0.113.9", "self", "tcp/8443", "--live")
    said = desk.run(*asked)
    assert said.code == 0, said.err
    assert [line.partition(":")[2] for line in said.out.splitlines() if not line.startswith(" ")] == [
        " let through by forward web, sent to 10.20.0.9 tcp/443"
    ] * 2
    desk.write("only_from: [203.0.113.9]", "only_from: [203.0.113.7]")
    said = desk.run(*asked)
    assert said.out.splitlines()[0] == "Git: dropped by default default"
    assert "They do not agree" in said.out
    said = desk.run("firewall", "explain", "brenta", "sede", "lan:server", "wan:203.0.113.9", "https", "--live")
    assert said.out.splitlines()[0] == "Git: let through by rule browse, seen there as the device", said.out
    for wrong, told in (
        (("wna:203.0.113.9", "self", "https"), "there is no zone wna (did you mean wan?)"),
        (("wan:server", "lan:10.20.0.0/24", "https"), "is not one address"),
        (("wan:203.0.113.9", "lan:2001:db8::1", "https"), "are not of one family"),
        (("wan:203.0.113.9", "lan:server", "dns"), "is not one service"),
        (("wan:203.0.113.9", "lan:server", "htps"), "there is no service htps"),
    ):
        said = desk.run("firewall", "explain", "brenta", "sede", *wrong)
        assert (said.code, told in said.err) == (1, True), said.err


THEIRS = """table ip theirs {
chain FORWARD {
type filter hook forward priority -5; policy accept;
iifname "lan0" tcp dport 443 drop
}
}
"""


def test_what_others_put_in_front_is_the_first_line(desk: Desk) -> None:
    desk.applied()
    asked = ("firewall", "explain", "brenta", "sede", "lan:server", "wan:203.0.113.9")
    desk.firewall.nft("-f", "-", given=THEIRS)
    desk.firewall.nft("insert rule inet mspctl-sede forward tcp dport 4711 accept")
    said = desk.run(*asked, "https", "--live").out.splitlines()
    assert said[-2:] == [
        "but table ip theirs, FORWARD (forward, priority -5) drops it: iifname lan0 tcp dport 443 drop",
        "In the end it is dropped; not all of that is managed by Git.",
    ]
    assert desk.call("lan", HOSTS["wan"], 443) == "no answer"
    said = desk.run(*asked, "tcp/4711", "--live").out.splitlines()
    assert said[-1] == "In the end it is let through; not all of that is managed by Git."
    assert desk.call("lan", HOSTS["wan"], 4711).startswith("ok")
    for command in (["plan"], ["drift"]):
        lines = desk.run(*command).out.splitlines()
        assert lines[0] == (
            "! brenta firewall/sede: a rule that somebody put into our chain forward lets something through"
            " in front of Git's: tcp dport 4711 accept"
        )
        assert lines[1].startswith("! brenta firewall/sede: table ip theirs, FORWARD (forward, priority -5) is not")
    let = ("--finding", "firewall.in-front", "--why", "a test", "--until", _soon())
    assert desk.run("accept", "brenta", "firewall/sede", *let).code == 0
    assert desk.run("drift").out.startswith("DRIFT")


def test_names_are_what_the_device_finds(desk: Desk) -> None:
    """Its addresses are followed by `apply --due`; a name that is gone keeps those it had."""
    hosts = desk.firewall.folder / "hosts"
    rule = "  - {id: updates, from: lan, to: guest, destination: vendor, services: tcp/4711, action: accept}\n"
    desk.write("forwards:\n", f"{rule}forwards:\n")
    text = (desk.root / FILE).read_text().replace("{server: 10", "{vendor: updates.vendor.example, server: 10")
    (desk.root / FILE).write_text(text)
    said = desk.run("apply", "--yes")
    assert (said.code, "later    updates" in said.out) == (3, True), said.out + said.err
    assert "4711" not in desk.firewall.nft("list", "chain", "inet", "mspctl-sede", "forward")
    assert "updates.vendor.example does not resolve there" in desk.run("drift").out
    hosts.write_text(f"{HOSTS['guest']} updates.vendor.example\n{HOSTS6['guest']} updates.vendor.example\n")
    desk.applied()
    assert desk.call("lan", HOSTS["guest"], 4711).startswith("ok")
    assert desk.call("lan", HOSTS6["guest"], 4711).startswith("ok")
    hosts.write_text("10.30.0.77 updates.vendor.example\n")
    said = desk.run("plan")
    assert (said.code, "10.30.0.77" in said.out) == (2, True)
    said = desk.run("apply", "--due", "--yes")
    assert said.code == 0, said.out + said.err
    assert desk.call("lan", HOSTS["guest"], 4711) == "no answer"
    hosts.write_text("")
    assert desk.run("plan").code == 0
    assert "10.30.0.77" in desk.firewall.nft("list", "chain", "inet", "mspctl-sede", "forward")


def _let_be(code: str) -> str:
    return f"- {{resource: firewall/sede, finding: {code}, why: a test, who: us, until: {_soon()}}}\n"


def test_what_a_device_tells_of_itself_and_its_rules(desk: Desk) -> None:
    desk.applied()
    (desk.root / "inventory/checks.yaml").write_text("firewall: {idle: 1s}\n")
    assert desk.call("wan", FIREWALL["wan"], 8443).startswith("ok")
    idle = _paths(desk, "firewall.idle")
    assert {"firewall/sede/browse", "firewall/sede/guests"} <= idle
    assert not {"firewall/sede/web", "firewall/sede/management"} & idle
    assert _paths(desk, "firewall.unsaved") == set()
    desk.firewall.nft("add", "rule", "inet", "mspctl-sede", "forward", "tcp", "dport", "9", "drop")
    assert _paths(desk, "firewall.unsaved") == {"firewall/sede"}


def _paths(desk: Desk, code: str) -> set[str]:
    """Where a finding was made."""
    found = json.loads(desk.run("drift", "--output", "json").out)["findings"]["open"]
    return {each["path"] for each in found if each["code"] == code}


NAT = "static_nat: [{id: us, zone: "
LOCK_OUTS = [
    ("management: {from: 198.51.100.0/28", "management: {from: 198.51.100.64/28"),  # we come from elsewhere
    ("services: tcp/PORT", "services: ssh"),  # another port
    ("office: office0", "office: office9"),  # another interface, and a rule that names it
    ("masquerade:", f"{NAT}office, outside: {FIREWALL['office']}, inside: {HOSTS['lan']}}}]\nmasquerade:"),
    ("masquerade:", f"{NAT}lan, outside: {HOSTS['lan']}, inside: {OFFICE}}}]\nmasquerade:"),
    ("forwards:\n", 'forwards:\n  - {id: ours, listen: "office:PORT", to: "server:443", only_from: any}\n'),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new"),
    [LOCK_OUTS[0], *(pytest.param(*each, marks=pytest.mark.soak) for each in LOCK_OUTS[1:])],
    ids=range(len(LOCK_OUTS)),
)
def test_nobody_is_locked_out(desk: Desk, old: str, new: str) -> None:
    port = str(desk.firewall.sshd.port)
    if "office9" in new:
        old_text, new_text = "management: {from", "management: {zones: office, from"
        desk.write(old_text, new_text)
    desk.applied()
    before = desk.firewall.nft("-s", "list", "ruleset")
    text = (desk.root / FILE).read_text()
    assert text.count(old.replace("PORT", port)) == 1
    (desk.root / FILE).write_text(text.replace(old.replace("PORT", port), new.replace("PORT", port)))
    permit = "approvals:\n  - {resource: firewall/sede, why: a test, until: 2099-12-31}\n"
    (desk.root / "customers/brenta/approvals.yaml").write_text(permit.replace("2099-12-31", _soon()))
    said = desk.run("apply", "--yes")
    if said.code == 0:  # it locks nobody out, as the kernel sees it; then it must be confirmed, and whole
        assert desk.run("plan").code == 0
        return
    assert "nobody could log in with the new rules, so the device took them back after" in said.out + said.err
    assert desk.firewall.nft("-s", "list", "ruleset") == before
    assert [*(desk.firewall.folder / "run").iterdir()] == []
    assert desk.run("plan").code == 2


def _soon() -> str:
    from datetime import UTC, datetime, timedelta

    return f"{datetime.now(UTC) + timedelta(days=7):%Y-%m-%d}"


# -- proofs -----------------------------------------------------------------------------------------------------

ANSWER = """\
import socket, sys, threading
def serve(made):
    while True:
        said, who = made.recvfrom(999)
        made.sendto(said, who)
for port in sys.argv[1:]:
    made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    made.bind(("::", int(port)))
    threading.Thread(target=serve, args=[made]).start()
print("ready", flush=True)
"""
RULES = """\
rules:
  - {id: voice, from: wan, to: lan, services: udp/5060, action: reject}
  - {id: let-in, from: wan, to: lan, source: "2001:db8:113::9", services: [ping, ntp, udp/4711, tcp/81], action: accept}
"""
PROOFS = """\
proofs:
  every: 12h
  within: 2s
  packets:
    - {id: web, from: here, to: 203.0.113.1, service: tcp/8443, expect: open}
    - {id: ours, from: here, to: 203.0.113.1, service: tcp/PORT, expect: closed}
    - {id: pinged, from: here, to: "2001:db8:20::9", service: ping, expect: open}
    - {id: clock, from: here, to: "2001:db8:20::9", service: ntp, expect: open}
    - {id: plain, from: here, to: "2001:db8:20::9", service: http, expect: closed}
    - {id: voices, from: here, to: "2001:db8:20::9", service: udp/5060, expect: closed}
    - {id: nobody, from: here, to: "2001:db8:20::9", service: udp/4711, send: hello, expect: refused}
    - {id: no-one, from: here, to: "2001:db8:20::9", service: tcp/81, expect: refused}
"""


@pytest.fixture
def proving(desk: Desk) -> Iterator[Desk]:
    """With packets that are declared; they are sent from outside."""
    text = (desk.root / FILE).read_text().replace("rules:\n", RULES)
    text += PROOFS.replace("PORT", str(desk.firewall.sshd.port))
    (desk.root / FILE).write_text(text)
    desk.applied()
    server = desk.firewall.started("lan", sys.executable, "-c", ANSWER, "123")
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield desk
    finally:
        server.kill()
        server.communicate(timeout=10)


def test_declared_packets_are_sent_and_what_is_otherwise_is_found(proving: Desk) -> None:
    said = proving.run("prove", at="wan")
    assert said.code == 0, said.out + said.err
    port = proving.firewall.sshd.port
    vouched = "the probe works: {} was answered before and afterwards"
    for text in (
        "✓ passed  firewall/sede/here  8 steps in ",
        f"tcp/{port} to 203.0.113.1 is closed (ours) (2.",
        f"no answer within 2 s, so it was dropped; {vouched.format('web')}",
        f"it was rejected on the way (says 2001:db8:113::1); {vouched.format('clock')}",
        "udp/4711 to 2001:db8:20::9 is refused (nobody)",
        "it came through, and whoever is there refused it (says 2001:db8:20::9)",
        "1 proof: 1 passed.",
    ):
        assert text in said.out
    drift = proving.run("drift")
    assert drift.code == 0, drift.out
    assert "1 of 1 proof passed, the oldest " in drift.out
    assert proving.run("prove", "--due", at="wan").out == ""

    # And now a file that lies.
    text = (proving.root / FILE).read_text()
    lies = {
        "web, from: here, to: 203.0.113.1, service: tcp/8443, expect: open": "expect: closed",
        "service: http, expect: closed": "expect: open",
        "service: tcp/81, expect: refused": "expect: closed",
        "send: hello, expect: refused": "expect: open",
    }
    for old, new in lies.items():
        text = text.replace(old, f"{old.rpartition('expect')[0]}{new}")
    text += "    - {id: sure, from: here, to: 203.0.113.1, service: ping, expect: open}\n"
    (proving.root / FILE).write_text(text)
    said = proving.run("prove", at="wan")
    assert said.code == 2, said.out + said.err
    lines = [line.strip() for line in said.out.splitlines() if "failed" in line]
    for name, why in (
        ("web", "it was answered"),
        ("plain", "no answer within 2 s, so it was dropped"),
        ("no-one", "it came through, and whoever is there refused it"),
        ("nobody", "it came through, and whoever is there refused it (says 2001:db8:20::9)"),
    ):
        assert any(f"({name})" in line and why in line for line in lines), said.out
    told = proving.run("drift").out
    assert "the last proof failed: " in told
    assert "[proof.failed]" in told


def test_a_probe_that_reaches_nothing_proves_nothing(proving: Desk) -> None:
    """What it sends goes out, and nothing comes back: that is silence, as of a firewall that drops."""
    wan = [*inside(proving.firewall.names["wan"]), "nft"]
    swallow = "table inet swallow { chain c { type filter hook input priority 0; policy drop; }; }"
    subprocess.run([*wan, "-f", "-"], input=swallow, text=True, check=True)
    try:
        said = proving.run("prove", at="wan")
    finally:
        subprocess.run([*wan, "delete", "table", "inet", "swallow"], check=True)
    assert said.code == 2, said.out + said.err  # what shall be open is not
    closed = [line for line in said.out.splitlines() if "is closed" in line]
    assert len(closed) == 3
    assert all("not made" in line and "reaches nothing that is open, so that says nothing" in line for line in closed)


# -- the archive ------------------------------------------------------------------------------------------------


def test_whole_configurations_are_kept_and_shown(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    silent, refused = desk.run("archive", "--due"), desk.run("archive")
    assert (silent.code, silent.out) == (0, "")
    assert refused.err.startswith("inventory/archive.yaml: is missing (write keys: {NAME: age1…}; ")
    key = x25519.Identity.generate()
    (desk.root / "inventory/archive.yaml").write_text(f"keys: {{ARCHIVE_OFFICE: {key.to_public()}}}\n")
    desk.firewall.nft("add", "table", "inet", "before-us")
    assert desk.run("apply", "--yes").code == 0  # which keeps what was there
    assert desk.run("archive").out == "archived   brenta sede on fw-sede\n"
    again = desk.run("archive", "-c", "brenta", "firewall/sede")
    assert (again.code, again.out) == (0, "unchanged  brenta sede on fw-sede\n")
    targets = desk.root / "inventory/targets.yaml"
    targets.write_text(targets.read_text().replace(f"port: {desk.firewall.sshd.port}", "port: 1\n        timeout: 2s"))
    away = desk.run("archive")
    assert away.code == 4
    assert away.out.startswith("not read   brenta sede on fw-sede: ")

    def show(*words: str) -> Said:
        capsys.readouterr()
        return Said(cli.run(["-C", str(desk.root), "show", "brenta", *words]), *capsys.readouterr())

    assert show("--config").out.count("KiB for ARCHIVE_OFFICE") == 2
    refused = show("sede", "--config")
    assert refused.code == 1
    assert "no key to open it: secret ARCHIVE_OFFICE" in refused.err
    monkeypatch.setenv("MSPCTL_SECRET_ARCHIVE_OFFICE", str(key))
    whole = show("sede", "--config")
    assert whole.code == 0, whole.err
    for text in ("── nft list ruleset", "table inet before-us", "table inet mspctl-sede", "ipv4/ip_forward = 1"):
        assert text in whole.out
    assert f"── {desk.firewall.folder}/boot/mspctl-sede.json" in whole.out
    changed = show("sede", "--config", "--diff").out
    assert "+table inet mspctl-sede {" in changed
    assert not [line for line in changed.splitlines() if line[:1] in "+-" and "before-us" in line]
    assert (
        "nothing is archived of sede as it was when 2020-01-01 ended"
        in show("sede", "--config", "--at", "2020-01-01").err
    )
    assert "there is no device lab here (known: sede)" in show("lab", "--config").err
    assert show("sede", "--diff").code == 64
