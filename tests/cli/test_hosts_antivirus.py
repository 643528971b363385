"""Antivirus from the command line on a real host: proved with EICAR, changed for another product, never without one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mspctl.exits import Exit
from tests.conftest import Run
from tests.servers.hosts import NET, Lan, machines
from tests.servers.signatures import Mirror, mirror

TARGETS = "targets:\n  servers: {secrets: {ssh_key: SSH_KEY}, facets: {hosts: {driver: hosts, connect: 5s}}}\n"
POLICY = f"""policy:
  product: clamav
  on_access: /srv/guarded
  updates: {{mirror: "http://{NET}.1:8099", own: [msp.hdb, msp.ndb], official: false}}
  exclude: {{/srv/guarded/db.d: {{why: ticket 4711, until: 2099-12-31}}}}
scans:
  weekly: {{paths: /srv/guarded, schedule: "sun 03:00"}}
proof: {{every: 7d, within: 20s}}
"""
PRODUCTS = "products: {lab-av: {packages: lab-av, services: lab-av.service, seats: 5, end: 2099-12-31}}\n"

# A stand-in for somebody else's product, as a Debian package of the host's own archive: a service that takes away what
# is EICAR's file below a folder. It shows that a product is installed, proved and taken away again; not how good it is.
STAND_IN = r"""set -eu
cd /srv/archive
mkdir -p lab-av/DEBIAN lab-av/usr/lib/lab-av lab-av/lib/systemd/system
printf 'Package: lab-av\nVersion: 1.0\nArchitecture: all\nMaintainer: lab <lab@lab.invalid>\nDescription: stand-in\n' \
  >lab-av/DEBIAN/control
cat >lab-av/usr/lib/lab-av/watch <<'END'
#!/usr/bin/python3
import hashlib, os, time
while True:
    for folder, _, names in os.walk("/var/lib/mspctl-tried"):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                if hashlib.md5(file.read()).hexdigest() == "44d88612fea8a8f36de82e1278abb02f":
                    os.unlink(path)
    time.sleep(0.1)
END
chmod 755 lab-av/usr/lib/lab-av/watch
printf '[Service]\nExecStart=/usr/lib/lab-av/watch\n[Install]\nWantedBy=multi-user.target\n' \
  >lab-av/lib/systemd/system/lab-av.service
dpkg-deb -b lab-av lab-av_1.0_all.deb >/dev/null
"""


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    with machines("srv-1") as found:
        yield found


@pytest.fixture(scope="module")
def signatures(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    with mirror(lan, tmp_path_factory.mktemp("mirror")) as made:
        yield made


@pytest.fixture
def acme(repository: Path, lan: Lan, signatures: Mirror, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MSPCTL_SECRET_SSH_KEY_FILE", str(lan.key))
    machine, folder = lan["srv-1"], repository / "customers/acme"
    machine.clean()
    machine.sh("rm -rf /srv/guarded; mkdir -p /srv/guarded/db.d")
    for customer in (repository / "customers").iterdir():
        subprocess.run(["rm", "-r", customer], check=True)
    folder.mkdir()
    (repository / "inventory/targets.yaml").write_text(TARGETS)
    (repository / "inventory/antivirus.yaml").write_text(PRODUCTS)
    (folder / "customer.yaml").write_text("name: Acme\ntimezone: Europe/Rome\n")
    (folder / "antivirus.yaml").write_text(POLICY)
    waived = ", ".join(f"{name}: {{why: w, until: 2099-12-31}}" for name in ("backup", "patching"))
    said = f"address: 127.0.0.1, port: {machine.port}, host_key: {machine.host_key}, waived: {{{waived}}}"
    (folder / "hosts.yaml").write_text(f"hosts:\n  srv-1: {{target: servers, os: debian-12, {said}}}\n")
    return repository


def test_a_host_is_guarded_proved_and_watched(run: Run, acme: Path, lan: Lan) -> None:
    machine = lan["srv-1"]
    applied = run("apply", "--yes")
    assert applied.code == Exit.DONE, applied
    assert "clamav" in applied.out
    assert run("plan").code == Exit.DONE
    proved = run("prove", "--section", "antivirus", "--output", "json")
    assert proved.code == Exit.DONE, proved
    (proof,) = json.loads(proved.out)["proofs"]
    assert [step["what"] for step in proof["steps"]] == [
        "malware is caught as it is opened",
        "it is taken to quarantine",
        "nothing of it is left",
        "the find is reported",
    ]
    assert machine.sh("ls /srv/guarded; ls -A /var/lib/mspctl-quarantine | grep -v lock", check=False) == "db.d\n"
    assert json.loads(machine.sh("cat /var/lib/mspctl-antivirus/found.json")) == {"latest": []}
    assert run("drift").code == Exit.DONE  # its first scan has time

    machine.sh(
        "echo 'ExcludePath ^/srv(/|$)' >>/etc/mspctl/antivirus/clamd.conf; systemctl stop mspctl-antivirus-watch;"
        "touch -d '9 days ago' /etc/mspctl/antivirus/scan-weekly.conf"
        " /etc/systemd/system/mspctl-antivirus-scan-weekly.*"
    )
    drift = run("drift")
    assert drift.code == Exit.DIFFERS
    for said in (
        "exclude",
        "mspctl-antivirus-watch.service is stopped",
        "[antivirus.exclusion]",
        "[antivirus.on-access]",
        "scan weekly of srv-1 was never made, and should be",
    ):
        assert said in drift.out
    machine.sh("systemctl start mspctl-antivirus-scan-weekly")
    reverted = run("apply", "--revert", "--yes")
    assert reverted.code == Exit.DONE, reverted
    assert run("drift").code == Exit.DONE


@pytest.mark.soak
def test_another_product_takes_its_place_when_it_was_proved(run: Run, acme: Path, lan: Lan) -> None:
    machine, text = lan["srv-1"], acme / "customers/acme/antivirus.yaml"
    assert run("apply", "--yes").code == Exit.DONE
    machine.run("sh", "-s", said=STAND_IN.encode())
    machine.archive("Debian", "stable", "bookworm")
    text.write_text(POLICY.replace("product: clamav", "product: lab-av"))
    plan = run("plan")
    assert "+ create" in plan.out
    assert "lab-av is proved first: mspctl prove --section antivirus" in plan.out
    assert run("apply", "--yes").code == Exit.PARTLY
    both = "systemctl is-active lab-av mspctl-antivirus-engine mspctl-antivirus-watch"
    assert machine.sh(both, check=False).split() == ["active"] * 3
    machine.sh("systemctl stop lab-av")
    assert run("prove", "--section", "antivirus").code == Exit.DIFFERS
    assert "the last proof of lab-av" in run("plan").out
    machine.sh("systemctl start lab-av")
    assert run("prove", "--section", "antivirus").code == Exit.DONE
    assert run("apply", "--yes").code == Exit.DONE
    assert machine.sh(both, check=False).split() == ["active", "inactive", "inactive"]
    assert run("plan").code == Exit.DONE

    text.write_text(POLICY)
    assert run("apply", "--yes").code == Exit.PARTLY
    assert machine.sh(both, check=False).split() == ["active"] * 3
    assert run("prove", "--section", "antivirus").code == Exit.DONE
    assert run("apply", "--yes").code == Exit.DONE
    assert machine.sh(both, check=False).split() == ["inactive", "active", "active"]
    assert machine.sh("dpkg-query -W -f '${db:Status-Status}' lab-av", check=False) in (
        "",
        "config-files",
        "not-installed",
    )
    assert run("plan").code == Exit.DONE
