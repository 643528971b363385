"""`inventory collect` on real machines, through Ansible and SSH: what a host is, what changed, who is strange."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mspctl.exits import Exit
from tests.conftest import Run
from tests.servers.hosts import UPDATES, Lan, machines, unplugged

TARGETS = "targets:\n  servers: {secrets: {ssh_key: SSH_KEY}, facets: {hosts: {driver: hosts, connect: 5s}}}\n"
FILE = "inventory/assets/acme.yaml"


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    with machines("srv-1", "srv-2") as found:
        yield found


@pytest.fixture
def acme(repository: Path, lan: Lan, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two machines, a host that is only known and not there; and whoever is at 10.77.0.1."""
    monkeypatch.setenv("MSPCTL_SECRET_SSH_KEY_FILE", str(lan.key))
    (repository / "inventory/targets.yaml").write_text(TARGETS)
    for customer in (repository / "customers").iterdir():
        subprocess.run(["rm", "-r", customer], check=True)
    folder = repository / "customers/acme"
    folder.mkdir()
    (folder / "customer.yaml").write_text("name: Acme\nsites: {sede: 10.77.0.0/24}\n")
    first, second = lan["srv-1"], lan["srv-2"]
    (folder / "hosts.yaml").write_text(f"""defaults: {{os: debian-12}}
hosts:
  srv-1: {{target: servers, address: 127.0.0.1, port: {first.port}, host_key: {first.host_key}, serial: S1}}
  srv-2: {{target: servers, address: 127.0.0.1, port: {second.port}, host_key: {second.host_key}}}
  phantom: {{address: 10.77.0.250}}
software: {{forbidden: {{"dem*": {{why: nobody needs it}}}}}}
""")
    return repository


def test_a_host_says_what_it_is_and_git_what_changed(run: Run, acme: Path, lan: Lan) -> None:
    first = run("inventory", "collect", "acme")
    assert (first.code, first.out.splitlines()) == (
        Exit.DONE,
        [
            f"acme  {FILE}",
            "  phantom  gave no answer, as ever",
            "  srv-1  is new",
            "  srv-2  is new",
            f"  10.77.0.1  is nobody's host ({mac_of_the_bridge(lan)})",
            "2 of 2 hosts answered.",
        ],
    )
    text = (acme / FILE).read_text()
    assert text.count("    os: debian-12\n") == 2
    assert re.search(r"cpu: '?\d+ × ", text)
    assert re.search(r"      - tcp \*:22 sshd\n", text)
    version = lan["srv-1"].sh("dpkg-query -W -f '${Version}' openssh-server")
    assert f"      openssh-server: {version}\n" in text
    own = lan["srv-1"].sh("ip -o link show eth0").split("link/ether ")[1].split()[0]
    assert f"      eth0: {own} 10.77.0.11/24\n" in text
    assert "  phantom:\n    seen: never\n" in text
    subprocess.run(["git", "-C", acme, "add", "."], check=True)
    author = ("-c", "user.name=A", "-c", "user.email=a@msp.example")
    subprocess.run(["git", "-C", acme, *author, "commit", "-qm", "assets"], check=True)

    lan["srv-1"].archive(*UPDATES)
    with unplugged(lan, lan["srv-1"], lan["srv-2"]):
        nobody = run("inventory", "collect")
    assert (nobody.code, difference(acme)) == (Exit.UNREACHABLE, "")
    assert "acme  no host answered: nothing is written\n  srv-1  it refuses connections\n" in nobody.out
    with unplugged(lan, lan["srv-2"]):
        away = run("inventory", "collect")
    assert away.code == Exit.UNREACHABLE
    assert "  srv-1  packages: demo new\n  srv-2  gave no answer; as of 20" in away.out
    assert "1 of 2 hosts answered." in away.out
    assert re.findall(r"^[-+] .*", difference(acme), re.MULTILINE) == ["+      demo: '1.0'", f"+    seen: {today()}"]
    back = run("inventory", "collect")
    assert (back.code, back.out.splitlines()[2:]) == (Exit.DONE, ["2 of 2 hosts answered."])
    assert re.findall(r"^[-+] .*", difference(acme), re.MULTILINE) == ["+      demo: '1.0'"]

    drift = run("drift")
    assert drift.code == Exit.DIFFERS
    for said in (
        "demo is installed on srv-1: nobody needs it [hosts.software]",
        "phantom never answered [hosts.missing]",
        "is nobody's host [hosts.unknown]",
    ):
        assert said in drift.out


def today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def difference(root: Path) -> str:
    done = subprocess.run(["git", "-C", root, "diff", "-U0", "--", FILE], capture_output=True, text=True, check=True)
    return done.stdout


def mac_of_the_bridge(lan: Lan) -> str:
    done = subprocess.run(lan.inside("ip", "-o", "link", "show", "br0"), capture_output=True, text=True, check=True)
    return done.stdout.split("link/ether ")[1].split()[0]


def test_what_was_written_by_hand_is_not_overwritten(run: Run, acme: Path) -> None:
    (acme / "inventory/assets").mkdir()
    (acme / FILE).write_text("mine\n")
    said = run("inventory", "collect")
    assert said.code == Exit.ERROR
    assert f"{FILE}: should be a mapping" in said.err
    assert (acme / FILE).read_text() == "mine\n"
