"""hosts.yaml and patching.yaml: what they take, and what they say of everything else."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mspctl.desired import Selection, declarations
from mspctl.errors import InputError
from mspctl.kinds.hosts import Host
from mspctl.load import Estate, load
from mspctl.model.sections.hosts import reached
from tests.estate import estate

NOW = datetime(2027, 3, 15, 6, 0, tzinfo=UTC)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF9bU7Gf0d8RRwGTdaKB6rCq2kVmPHkX2DLdyZ4tWWvX"
TARGETS = "targets:\n  servers: {secrets: {ssh_key: SSH_KEY}, facets: {hosts: hosts}}\n"
CUSTOMER = "name: Acme\ntimezone: Europe/Rome\nsites: {sede: 10.20.0.0/22}\n"
WHOLE = f"""defaults: {{target: servers, os: debian-12, host_key: {KEY}, owner: msp}}
hosts:
  bastion: {{site: sede, address: 10.20.1.1, user: ops, port: 2222}}
  srv-1: {{site: sede, address: 10.20.1.10, role: files, serial: 0123, warranty: 2028-05-31, jump: bastion, rack: A-12}}
  nas:
    owner: {{loaned_until: 2027-06-30}}
    address: nas.acme.example
    waived: {{backup: {{why: is the copy, until: 2027-12-31}}}}
"""
POLICY = 'policy: {what: security, window: "sun 02:00-05:00"}\n'


def loaded(tmp_path: Path, hosts: str = WHOLE, patching: str = "", **files: str) -> Estate:
    found = {
        "inventory/targets.yaml": TARGETS,
        "customers/acme/customer.yaml": CUSTOMER,
        "customers/acme/hosts.yaml": hosts,
        **({"customers/acme/patching.yaml": patching} if patching else {}),
        **files,
    }
    return load(estate(tmp_path, found), now=NOW)


def one(entry: str) -> str:
    return (
        f"hosts:\n  srv-1: {{target: servers, os: debian-12, host_key: {KEY}, address: 10.20.1.10}}\n  x: {{{entry}}}\n"
    )


def test_hosts_are_reached_as_they_say(tmp_path: Path) -> None:
    (customer,) = loaded(tmp_path).customers.values()
    found = {host.full: host for host in reached(customer)}
    assert [*found] == ["bastion.acme", "srv-1.acme", "nas.acme"]
    where = ("bastion.acme", "sede", "files", "debian-12")
    assert found["srv-1.acme"] == Host("srv-1", "acme", "10.20.1.10", 22, "root", (KEY,), *where)
    assert (found["bastion.acme"].user, found["bastion.acme"].port) == ("ops", 2222)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("address: 10.20.1", "'10.20.1' is not an IP address (write 10.20.1.10)"),
        ("address: '{{ 7 }}'", "'{{ 7 }}'"),
        ("address: 'a b'", "'a b'"),
        ("address: -oProxyCommand=id", "is not an address"),
        ("address: 'fe80::1%{{ 7 }}'", "'fe80::1%{{ 7 }}' is not an address"),
        ("user: 'root;id'", "'root;id' is not a log-in name"),
        ("os: Windows", "'Windows' is not an operating system (write debian-12"),
        ("host_key: ssh-ed25519", "is not a host's public key"),
        (
            "host_key: ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIF9bU7Gf0d8RRwGTdaKB6rCq2kVmPHkX2DLdyZ4tWWvX",
            "not an ssh-rsa key",
        ),
        ("host_key: '{{x}} ssh-ed25519 {{y}}'", "'{{y}}' is not an ssh-ed25519 key"),
        ("owner: nobody", "'nobody' is nobody (write msp, customer or {loaned_until: 2027-03-31})"),
        ("owner: {who: msp}", "says who it is (write msp, customer or"),
        ("ansible_host: 10.0.0.1", "unknown key"),
        ("ansible_ssh_common_args: -o ProxyCommand=id", "unknown key"),
        ("site: Sede", "is not a name"),
        ("site: magazzino", "magazzino is no site of customer.yaml (known: sede)"),
        ("jump: srv-2", "there is no host srv-2 (did you mean srv-1?)"),
        ("jump: x, address: 10.20.1.9", "leads in a circle"),
        ("address: 10.20.1.10", "is the address of srv-1 too"),
        ("target: server", "target server is not in inventory/targets.yaml (did you mean servers?)"),
        ("target: servers", "has no address, so nobody can reach it (or leave target out)"),
        ("target: servers, address: 10.20.1.9", "has no host_key (write what ssh-keyscan 10.20.1.9 prints"),
        ("warranty: soon", "'soon' is not a date"),
        ("waived: {backup: {why: small}}", "is missing"),
        ("waived: {dns: {why: small, until: 2027-12-31}}", "'dns' is not one of"),
        ("port: 0", "'0' is not a port"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, entry: str, said: str) -> None:
    with pytest.raises(InputError) as raised:
        loaded(tmp_path, one(entry))
    found = [p for p in raised.value.problems if said in p.text]
    assert found, raised.value
    assert (found[0].file, found[0].line) == ("customers/acme/hosts.yaml", 3)


def test_a_circle_of_jumps_is_found_from_anywhere(tmp_path: Path) -> None:
    chain = {"a": "b", "b": "c", "c": "b"}
    entries = [f"  {name}: {{jump: {jump}, address: {name}.acme.example}}" for name, jump in chain.items()]
    hosts = "\n".join(["hosts:", *entries])
    with pytest.raises(InputError) as raised:
        loaded(tmp_path, hosts)
    assert [p.path for p in raised.value.problems] == ["hosts.a.jump", "hosts.b.jump", "hosts.c.jump"]
    assert {p.text for p in raised.value.problems} == {"leads in a circle"}


def test_an_address_outside_its_site_is_a_warning(tmp_path: Path) -> None:
    (warning,) = loaded(tmp_path, "hosts:\n  a: {site: sede, address: 10.99.0.1}\n").warnings
    assert warning.text == "10.99.0.1 is not in 10.20.0.0/22, the network of sede"


def test_the_nearest_policy_counts_key_by_key(tmp_path: Path) -> None:
    patching = POLICY + (
        "roles:\n  files: {what: all, holds: {samba: {why: ticket 1, until: 2027-03-31}}}\n"
        "hosts:\n  srv-1: {reboot: if needed, holds: {zfs: {why: ticket 2, until: 2027-03-14}}}\n"
    )
    found = {d.scope.name: d for d in declarations(loaded(tmp_path, patching=patching), Selection(), {}, NOW)}
    assert [*found] == ["acme/bastion/patching", "acme/srv-1/patching", "acme/nas/patching"]
    policy, window, hold = found["acme/srv-1/patching"].resources
    assert dict(policy.fields) == {"what": "all", "reboot": "if needed", "amiss": frozenset()}
    assert dict(window.fields) == {"hours": "sun 02:00-05:00", "timezone": "Europe/Rome", "amiss": frozenset()}
    assert (policy.source[-1], window.source) == ("3", "customers/acme/patching.yaml:1")
    assert (hold.id.name, hold.source) == ("samba", "customers/acme/patching.yaml:3")
    assert [*found["acme/srv-1/patching"].timed.values()] == ["expired 2027-03-14"]
    assert [end.says for end in found["acme/srv-1/patching"].ends.values()] == ["until 2027-03-31"]
    assert found["acme/nas/patching"].resources[0].fields["what"] == "security"


def test_a_baseline_brings_a_policy(tmp_path: Path) -> None:
    baseline = {
        "customers/acme/customer.yaml": CUSTOMER + "baseline: standard\n",
        "inventory/baselines/standard.yaml": 'patching: {policy: {what: all, window: "02:00-03:00"}}\n',
    }
    found = [*declarations(loaded(tmp_path, **baseline), Selection(), {}, NOW)]
    assert len(found) == 3
    assert found[0].resources[0].source == "inventory/baselines/standard.yaml:1"


@pytest.mark.parametrize(
    ("patching", "said"),
    [
        ("hosts: {srv-9: {what: all}}", "there is no host srv-9 in hosts.yaml"),
        ("policy: {what: security}", "has no window (write when updates are installed: sun 02:00-05:00)"),
        ("policy: {what: some}", "'some' is not one of"),
        ("policy: {reboot: always}", "'always' is not one of"),
        ("policy: {holds: {'a b': {why: x, until: 2027-12-31}}}", "'a b' is not the name of a package"),
        ("policy: {holds: {samba: {why: x}}}", "is missing"),
    ],
)
def test_policies_that_make_no_sense(tmp_path: Path, patching: str, said: str) -> None:
    with pytest.raises(InputError) as raised:
        loaded(tmp_path, patching=patching)
    assert any(said in p.text and p.line == 1 for p in raised.value.problems), raised.value


def test_only_debian_is_patched(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="windows-2022 is not patched so far, only Debian is"):
        loaded(tmp_path, WHOLE.replace("os: debian-12", "os: windows-2022"), POLICY)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "jobs.notte.repository: srv-1 has debian-13, and borgmatic is driven on debian-12 only so far"),
        (
            "thinning:\n  old: {host: srv-1, program: borgmatic, folder: /srv/borg, password: ACME_RESTIC,\n"
            '        schedule: "sun 12:00", keep: {daily: 3}}\n',
            "thinning.old.program: srv-1 has debian-13, and borgmatic is driven on debian-12 only so far",
        ),
    ],
)
def test_borgmatic_is_driven_where_it_was_tried(tmp_path: Path, text: str, said: str) -> None:
    """Another release has another layout of its configuration; restic is the same on each."""
    hosts = WHOLE.replace("role: files", "role: files, os: debian-13")
    backup = text + BACKUP
    loaded(tmp_path / "restic", hosts, **{"customers/acme/backup.yaml": BACKUP})
    files = {"customers/acme/backup.yaml": backup.replace("local: /mnt", "program: borgmatic, local: /mnt")}
    with pytest.raises(InputError) as raised:
        loaded(tmp_path / "borg", hosts, **files)
    assert said in [f"{p.path}: {p.text}"[: len(said)] for p in raised.value.problems]


def test_what_is_no_debian_thins_out_nothing(tmp_path: Path) -> None:
    hosts = WHOLE.replace("address: nas.acme", "os: windows-2022\n    address: nas.acme")
    with pytest.raises(InputError, match="nas is no Debian, and nothing else is driven so far"):
        loaded(tmp_path, hosts, **{"customers/acme/backup.yaml": VAULT + BACKUP.replace("{host: nas", "{host: srv-1")})


BACKUP = """repositories:
  disk: {local: /mnt/backup/, password: ACME_RESTIC}
  far: {rest: "https://backup.msp.example:8000/", password: ACME_RESTIC, login: ACME_REST, rev: 2, append_only: true}
jobs:
  notte: {role: files, paths: [/srv, /etc/], exclude: "*.tmp", repository: disk, schedule: "02:30", rpo: 26h,
          keep: {daily: 14, weekly: 8}, upload: 2 MiB}
  fuori: {host: nas, paths: /volume, repository: far, schedule: mon-fri 22:30, rpo: 3d}
"""
VEEAM = "reports: {v: {host: nas, files: /srv/reports/*, format: veeam, covers: srv-1, rpo: 26h}}\n"
VAULT = """thinning:
  old: {host: nas, folder: /srv/restic, password: ACME_RESTIC, schedule: "sun 12:00", keep: {daily: 3}}
"""


def backed_up(tmp_path: Path, text: str = BACKUP) -> Estate:
    return loaded(tmp_path, **{"customers/acme/backup.yaml": text})


def test_jobs_are_for_a_host_or_for_a_role(tmp_path: Path) -> None:
    found = {d.scope.name: d.resources for d in declarations(backed_up(tmp_path), Selection(), {}, NOW)}
    assert [*found] == ["acme/srv-1/backup", "acme/nas/backup"]
    (notte,), (fuori,) = found.values()
    assert dict(notte.fields) == {
        "program": "restic",
        "paths": frozenset({"/srv", "/etc"}),
        "exclude": frozenset({"*.tmp"}),
        "repository": "/mnt/backup/acme/srv-1",
        "append_only": False,
        "host_key": "",
        "password": "ACME_RESTIC rev 1",
        "login": "",
        "key": "",
        "schedule": "02:30",
        "timezone": "Europe/Rome",
        "keep": frozenset({"daily 14", "weekly 8"}),
        "upload": 2048,
        "dumps": frozenset(),
        "check": 0,
        "read": 0,
        "amiss": frozenset(),
    }
    assert fuori.fields["repository"] == "https://backup.msp.example:8000/acme/nas"
    assert (fuori.fields["login"], fuori.fields["keep"]) == ("ACME_REST rev 2", frozenset())
    assert (notte.source, fuori.source) == ("customers/acme/backup.yaml:5", "customers/acme/backup.yaml:7")


def test_repositories_are_thinned_out_where_they_lie(tmp_path: Path) -> None:
    found = {d.scope.name: d.resources for d in declarations(backed_up(tmp_path, VAULT + BACKUP), Selection(), {}, NOW)}
    (_, old) = found["acme/nas/backup"]
    assert dict(old.fields) == {
        "program": "restic",
        "folder": "/srv/restic",
        "password": "ACME_RESTIC rev 1",
        "keep": frozenset({"daily 3"}),
        "schedule": "sun 12:00",
        "timezone": "Europe/Rome",
        "amiss": frozenset(),
    }
    assert old.source == "customers/acme/backup.yaml:2"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("role: files", "role: files, host: nas", "is for a host or for a role"),
        ("host: nas", "host: nsa", "there is no host nsa in hosts.yaml"),
        ("repository: far", "repository: near", "there is no repository near in repositories"),
        ("/volume", "volume", "'volume' is not an absolute path"),
        ("/volume", "/a/../etc", "is not an absolute path"),
        ("mon-fri 22:30", "daily", "'daily' is not a time of the day"),
        ("rpo: 3d", "rpo: 3d, keep: {daily: 3}", "far is append-only, so its own side thins out"),
        ("https://backup", "https://ops:geheim@backup", "is no place of a repository"),
        ("https://backup", "http://backup", "is no place of a repository"),
        ("local: /mnt/backup/", "local: /mnt, rest: https://x.example", "says where it is, once"),
        ("local: /mnt/backup/", "local: /mnt, login: ACME_REST", "has a log-in, and no server"),
        ("local: /mnt/backup/", "s3: https://s3.example.com, login: ACME_S3", "is no bucket"),
        ("local: /mnt/backup/", "s3: https://s3.example.com/acme", "has no keys for its bucket"),
        ("local: /mnt/backup/", "sftp: nas/srv", "'nas/srv' is no folder of another host"),
        ("local: /mnt/backup/", "sftp: -oProxyCommand=id@nas/srv", "is no folder of another host"),
        ("local: /mnt/backup/", "sftp: b@nas.example/srv, key: NAS_KEY", "has key and host_key if it has sftp"),
        ("local: /mnt/backup/", "local: /mnt, key: NAS_KEY", "has key and host_key if it has sftp"),
        ("local: /mnt/backup/", f"ssh: b@nas.example/srv, key: K_1, host_key: {KEY}", "no such repositories"),
        ("local: /mnt/backup/", "local: /mnt/backup, program: tar", "'tar' is not one of 'restic', 'borgmatic'"),
        (
            "local: /mnt/backup/",
            'program: borgmatic, local: "/mnt/{now}"',
            "Borg takes no folder whose name has a brace",
        ),
        ("rest:", "program: borgmatic, rest:", "borgmatic has no such repositories (it takes ssh, local)"),
        ("password: ACME_RESTIC}", "password: geheim}", "is not the name of a secret"),
        ("rpo: 3d", "rpo: 3d, restore_test: {}", "is missing"),
        ("rpo: 3d", "rpo: 3d, restore_test: {every: 0}", "is more often than each hour"),
        ("rpo: 3d", "rpo: 3d, check: {every: 5m}", "is more often than each hour"),
        ("rpo: 3d", "rpo: 3d, restore_test: {every: 7d, start: ../x}", "'../x' is not a name"),
        ("rpo: 3d", "rpo: 3d, restore_test: {every: 7d, paths: /etc}", "does not copy /etc, so it cannot be restored"),
        (
            "rpo: 3d",
            "rpo: 3d, mailboxes: {a.example: {target: servers, path: /volume}}",
            "is for one host and is tried",
        ),
        (
            "rpo: 3d",
            "rpo: 3d, restore_test: {every: 7d}, mailboxes: {a.example: {target: servers, path: /volume}}",
            "servers is no target with mailboxes",
        ),
        ("rpo: 3d", 'rpo: 3d, dumps: {postgresql: "a; rm"}', "'a; rm' is not the name of a database"),
        ("rpo: 3d", "rpo: 3d, check: {every: 7d, read: 0}", "is not a percentage"),
        (
            "jobs:",
            f"{VEEAM.replace('veeam,', 'vim,')}jobs:",
            "'vim' is not one of 'json', 'synology', 'veeam', 'words'",
        ),
        ("jobs:", f"{VEEAM.replace('srv-1', 'srv-9')}jobs:", "there is no host srv-9 in hosts.yaml"),
        ("jobs:", f"{VEEAM.replace('/srv/reports', 'reports')}jobs:", "is not an absolute path"),
        ("jobs:", f"{VAULT.replace('nas', 'vault')}jobs:", "there is no host vault in hosts.yaml"),
        ("jobs:", f"{VAULT.replace('daily: 3', '')}jobs:", "keeps nothing"),
    ],
)
def test_jobs_that_make_no_sense(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(InputError) as raised:
        backed_up(tmp_path, BACKUP.replace(old, new, 1))
    assert any(said in p.text and p.file == "customers/acme/backup.yaml" for p in raised.value.problems), raised.value
