"""The whole lives of a host's backups and of its antivirus over the provider's wire, on a real Debian machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.provider.test_by_pulumi import PASSPHRASE, PULUMI, settled
from tests.provider.test_hosts import TOKEN, estate, lan, machine, secrets_of
from tests.provider.test_judged import ENGINE, JOB, REPORT, SCAN, THINNING
from tests.provider.wire import Json, Wire, approve, plain, provider, refused, secret
from tests.servers.hosts import NET, Lan, Machine
from tests.servers.signatures import mirror

__all__ = ["estate", "lan", "machine"]  # fixtures
WORD, LOGIN = "Gh31m-R3st1c", "ada:S3rv3r-w0rd"
VAULT = "https://backup.msp.example:8000/riva/srv-1"
BACKUP = """repositories: {disk: {local: /mnt/backup, password: ACME_RESTIC}}
jobs: {night: {host: srv-1, paths: /srv, repository: disk, schedule: "02:30", rpo: 26h}}
"""
ANTIVIRUS = f"""policy:
  product: clamav
  updates: {{mirror: "http://{NET}.1:8099", own: [msp.hdb, msp.ndb], official: false}}
"""
STATE = "systemctl show -p ActiveState --value"


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """The password of a repository; somebody may write another one into it."""
    file = tmp_path / "restic"
    file.write_text(WORD)
    return file


@pytest.fixture
def wire(estate: Path, lan: Lan, words: Path) -> Iterator[Wire]:
    folder = estate / "customers/acme"
    (folder / "backup.yaml").write_text(BACKUP)
    (folder / "antivirus.yaml").write_text(ANTIVIRUS)
    known = {"MSPCTL_SECRET_ACME_RESTIC_FILE": str(words), "MSPCTL_SECRET_ACME_REST": LOGIN}
    with provider(estate, env={**secrets_of(lan), **known}) as made:
        yield made


@pytest.mark.soak
def test_no_state_of_pulumi_holds_a_password(
    run: Run,
    estate: Path,
    lan: Lan,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By `--engine pulumi`, with the stand-in, which encrypts nothing."""
    settled(estate, monkeypatch)
    (estate / "customers/acme/backup.yaml").write_text(BACKUP)
    for name, value in {**secrets_of(lan), "MSPCTL_SECRET_ACME_RESTIC": WORD}.items():
        monkeypatch.setenv(name, value)
    done = [run("apply", "-y", *PULUMI)]
    assert done[0].code == 0, done
    assert machine.sh("tail -n1 /etc/mspctl/backup/night.password") == f"{WORD}\n"
    machine.sh("systemctl stop mspctl-backup-night.timer")
    done += [run("drift", *PULUMI), run("plan", *PULUMI)]
    assert [each.code for each in done[1:]] == [2, 2]
    assert "mspctl-backup-night.timer is stopped" in done[1].out
    done.append(run("apply", "-y", "--revert", *PULUMI))
    assert done[-1].code == 0, done
    assert machine.sh(f"{STATE} mspctl-backup-night.timer") == "active\n"
    (state,) = (estate / "state").rglob("*.json")
    assert '"password": "ACME_RESTIC rev 1"' in state.read_text()
    kept = [state.read_text(), (estate / "said.jsonl").read_text(), *(each.out + each.err for each in done)]
    for word in (WORD, PASSPHRASE, lan.key.read_text().splitlines()[2]):
        assert word not in "".join(kept)


def section(name: str, **resources: Json) -> Json:
    return {"customer": "acme", "target": "servers", "name": f"acme/srv-1/{name}", "resources": resources}


def night(**said: object) -> Json:
    usual = {**JOB, "append_only": False, "repository": "/mnt/backup/srv-1", "password": "ACME_RESTIC rev 1"}
    return {**usual, **said}


def unsaid(*kept: object) -> None:
    """None of these holds a value that somebody gave as a secret."""
    for word in (WORD, LOGIN, LOGIN.partition(":")[2], "an0ther-word"):
        assert word not in str(kept)


def adopted(wire: Wire, id_: str, wanted: Json) -> Json:
    """As whoever has the id alone imports it: the state that comes of it."""
    read = wire.read(TOKEN, id_)
    assert (read.id, plain(read.inputs)) == (id_, wanted)
    state = plain(read.properties)
    assert wire.details(TOKEN, state, wire.checked(TOKEN, plain(read.inputs)), wanted) == {}
    return state


def taken_away(wire: Wire, repository: Path, id_: str, state: Json, wanted: Json) -> None:
    with refused() as said:
        wire.delete(TOKEN, id_, state, wanted)
    assert "is kept until an approval names it" in said[0].text
    approve(repository, f"hosts/{id_.partition('/')[2]}", "servers", "acme")
    wire.configure(repository)
    wire.delete(TOKEN, id_, state, wanted)
    wire.delete(TOKEN, id_, state, wanted)  # again: what is gone is gone


def test_a_backup_is_made_and_no_answer_has_its_password(wire: Wire, machine: Machine) -> None:
    said = section("backup", job={"night": night(repository=secret(VAULT), login="ACME_REST rev 1")})
    wanted = wire.checked(TOKEN, said)
    id_, state = wire.create(TOKEN, wanted)
    assert id_ == "servers/acme/srv-1/backup"
    for kept in (wanted, state):
        assert kept["resources"]["job"]["night"]["repository"] == secret(VAULT)
        assert kept["resources"]["job"]["night"]["password"] == "ACME_RESTIC rev 1"
    assert machine.sh("cd /etc/mspctl/backup && tail -qn1 night.password night.login") == f"{WORD}\n{LOGIN}\n"
    unsaid(state, wire.engine.messages)


@pytest.mark.soak
def test_the_life_of_backups(wire: Wire, estate: Path, machine: Machine, words: Path) -> None:
    bad = section("backup", job={"night": night(password=WORD, repository=f"rest:https://{LOGIN}@backup:8000")})
    failures = wire.failures(TOKEN, bad)
    assert set(failures) == {"resources.job.night.password", "resources.job.night.repository"}
    unsaid(failures)

    thinning = {**THINNING, "password": "ACME_RESTIC rev 1", "keep": ["last 2"], "folder": "/mnt/backup"}
    nas = {"repository": secret(VAULT), "login": "ACME_REST rev 1"}
    said = {
        "job": {"night": night(), "nas": night(**nas)},
        "thinning": {"vault": thinning},
        "report": {"veeam": REPORT},
    }
    first = wire.checked(TOKEN, section("backup", **said))
    wire.create(TOKEN, first, preview=True)
    assert machine.sh("ls -d /etc/mspctl", check=False) == ""
    id_, state = wire.create(TOKEN, first)
    assert (state["resources"], wire.details(TOKEN, state, first, first)) == (first["resources"], {})

    words.write_text("an0ther-word")
    wire.configure(estate)
    said["job"]["night"] |= {"password": "ACME_RESTIC rev 2", "schedule": "sat 03:00"}
    said["report"] = {}
    second = wire.checked(TOKEN, section("backup", **said))
    assert wire.details(TOKEN, state, second, first) == {
        "resources.job.night.password": "UPDATE",
        "resources.job.night.schedule": "UPDATE",
        "resources.report.veeam": "DELETE",
    }
    updated = wire.update(TOKEN, id_, state, second, first)
    assert machine.sh("tail -n1 /etc/mspctl/backup/night.password") == "an0ther-word\n"
    assert machine.sh("ls /etc/mspctl/reports", check=False) == ""

    machine.sh("systemctl stop mspctl-backup-night.timer; sed -i 's/last 2/last 9/' /etc/mspctl/thinning/vault.conf")
    drifted = plain(wire.read(TOKEN, id_, updated, second).properties)
    assert wire.details(TOKEN, drifted, second, second) == {
        "resources.job.night.amiss": "UPDATE",
        "resources.thinning.vault.keep": "UPDATE",
    }
    mended = wire.update(TOKEN, id_, drifted, second, second)
    assert machine.sh(f"{STATE} mspctl-backup-night.timer") == "active\n"
    assert "last 2" in machine.sh("cat /etc/mspctl/thinning/vault.conf")
    read = wire.read(TOKEN, id_, mended, second)
    for kept in (first, state, updated, drifted, mended, plain(read.inputs), plain(read.properties)):
        assert kept["resources"]["job"]["nas"]["repository"] == secret(VAULT)
    second["resources"]["job"]["nas"]["repository"] = VAULT  # whoever imports it does not know that it was secret
    imported = adopted(wire, id_, second)
    unsaid(state, updated, drifted, mended, imported, wire.engine.messages)
    taken_away(wire, estate, id_, imported, second)
    assert machine.sh("ls -d /etc/systemd/system/mspctl-* /etc/mspctl/*/*", check=False) == ""


@pytest.mark.soak
def test_what_landed_of_a_backup_is_kept_without_its_password(wire: Wire, machine: Machine) -> None:
    """A file that nobody can replace costs its resource; a secret that is not there costs the change."""
    units = "/etc/systemd/system/mspctl-report-veeam.timer"
    wanted = wire.checked(TOKEN, section("backup", job={"night": night()}, report={"veeam": REPORT}))
    machine.sh(f": >{units}; mount --bind {units} {units}")  # a file that nobody can replace
    try:
        with refused() as said:
            wire.create(TOKEN, wanted)
    finally:
        machine.sh(f"umount {units}; rm {units}")
    partial = said[0].partial
    assert partial is not None, said[0]
    state = plain(partial.properties)
    assert set(state["recorded"]) == {"job"}
    unsaid(said[0].text, state, plain(partial.inputs), partial.reasons)
    state = wire.update(TOKEN, partial.id, state, wanted, wanted)
    assert wire.details(TOKEN, state, wanted, wanted) == {}
    missing = wire.checked(TOKEN, section("backup", job={"night": night(password="NOWHERE rev 1")}))
    with refused() as said:
        wire.update(TOKEN, partial.id, state, missing, wanted)
    assert "secret NOWHERE" in said[0].text
    assert machine.sh("tail -n1 /etc/mspctl/backup/night.password") == f"{WORD}\n"


@pytest.mark.soak
def test_the_life_of_antivirus(
    wire: Wire,
    estate: Path,
    lan: Lan,
    machine: Machine,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    bad = section("antivirus", engine={"clamav": {**ENGINE, "mirror": "http://ada:S3rv3r-w0rd@av", "every": 1}})
    failures = wire.failures(TOKEN, bad)
    assert set(failures) == {"resources.engine.clamav.mirror", "resources.engine.clamav.every"}
    unsaid(failures)

    where = {"mirror": f"http://{NET}.1:8099", "own": ["msp.hdb", "msp.ndb"], "official": False, "on_access": []}
    clamav = {**ENGINE, **where}
    agent = {"packages": ["unattended-upgrades"], "services": ["unattended-upgrades.service"]}
    said = {"engine": {"clamav": clamav}, "scan": {"weekly": SCAN}, "agent": {"other": agent}}
    first = wire.checked(TOKEN, section("antivirus", **said))
    wire.create(TOKEN, first, preview=True)
    assert machine.sh("ls -d /etc/mspctl/antivirus", check=False) == ""
    with mirror(lan, tmp_path_factory.mktemp("mirror")):
        id_, state = wire.create(TOKEN, first)
        assert (state["resources"], wire.details(TOKEN, state, first, first)) == (first["resources"], {})
        assert machine.sh(f"{STATE} mspctl-antivirus-engine.service") == "active\n"

        said = {"engine": {"clamav": {**clamav, "max_file": 50}}, "agent": {"other": agent}}
        second = wire.checked(TOKEN, section("antivirus", **said))
        assert wire.details(TOKEN, state, second, first) == {
            "resources.engine.clamav.max_file": "UPDATE",
            "resources.scan.weekly": "DELETE",
        }
        state = wire.update(TOKEN, id_, state, second, first)
        conf = "/etc/mspctl/antivirus/clamd.conf"
        assert "MaxFileSize 50M" in machine.sh(f"cat {conf}")
        assert machine.sh("ls /etc/mspctl/antivirus/scan-*", check=False) == ""

        machine.sh(f"systemctl stop mspctl-antivirus-engine; echo 'ExcludePath ^/opt(/|$)' >>{conf}")
        drifted = plain(wire.read(TOKEN, id_, state, second).properties)
        assert drifted["resources"]["engine"]["clamav"]["exclude"] == ["/opt"]
        assert wire.details(TOKEN, drifted, second, second) == {
            "resources.engine.clamav.amiss": "UPDATE",
            "resources.engine.clamav.exclude": "UPDATE",
        }
        state = wire.update(TOKEN, id_, drifted, second, second)
        assert machine.sh(f"{STATE} mspctl-antivirus-engine.service") == "active\n"
        assert "ExcludePath ^/opt" not in machine.sh(f"cat {conf}")

        imported = adopted(wire, id_, second)
        taken_away(wire, estate, id_, imported, second)
    assert machine.sh("ls -d /etc/systemd/system/mspctl-* /etc/mspctl/*/*", check=False) == ""
    assert "deinstall" in machine.sh("dpkg -s unattended-upgrades")
