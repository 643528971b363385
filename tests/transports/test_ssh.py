"""Files for OpenSSH and Ansible: what they say, and that the programs take them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mspctl.kinds.hosts import Host
from mspctl.transports import ssh
from tests.servers import require

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF9bU7Gf0d8RRwGTdaKB6rCq2kVmPHkX2DLdyZ4tWWvX"
RSA = "ssh-rsa AAAAB3NzaC1yc2E="
BASTION = Host("bastion", "a-b", "10.0.0.1", 2222, "ops", (KEY, RSA))
INNER = Host("srv-1", "a-b", "fe80::1", 22, "root", (KEY,), BASTION.full, "sede", "files", "debian-12")
TWIN = Host("srv-1", "a", "10.0.0.1", keys=(KEY,), site="b-sede")
HOSTS = [BASTION, INNER, TWIN]


def seen_by_ssh(folder: Path, name: str) -> dict[str, str]:
    """What ssh makes of it."""
    command = [require("ssh"), "-G", "-F", str(folder / "ssh_config"), name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {key: value for line in done.stdout.splitlines() for key, _, value in [line.partition(" ")]}


def test_ssh_takes_the_configuration(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    (folder / "ssh_config").write_text(ssh.ssh_config(HOSTS, folder, folder / "key", {"ConnectTimeout": "7"}))
    inner, bastion = (seen_by_ssh(folder, host.full) for host in (INNER, BASTION))
    assert (inner["hostname"], inner["user"], inner["proxyjump"]) == ("fe80::1", "root", "bastion.a-b")
    assert (bastion["hostname"], bastion["port"], bastion["user"]) == ("10.0.0.1", "2222", "ops")
    assert bastion["hostkeyalgorithms"] == "ssh-ed25519,rsa-sha2-512,rsa-sha2-256"
    for said in (inner, bastion, seen_by_ssh(folder, TWIN.full)):
        assert said["stricthostkeychecking"] in ("true", "yes")
        assert said["userknownhostsfile"] == f"{folder}/known_hosts"
        assert (said["identityfile"], said["identitiesonly"], said["connecttimeout"]) == (f"{folder}/key", "yes", "7")
    assert seen_by_ssh(folder, TWIN.full)["hostkeyalias"] == "srv-1.a"


def test_twins_have_keys_of_their_own() -> None:
    lines = ssh.known_hosts(HOSTS).splitlines()[1:]
    assert lines == [f"bastion.a-b {KEY}", f"bastion.a-b {RSA}", f"srv-1.a-b {KEY}", f"srv-1.a {KEY}"]


def seen_by_ansible(tmp_path: Path, text: str) -> dict[str, Any]:
    (tmp_path / "inventory.yaml").write_text(text)
    program = Path(sys.executable).with_name("ansible-inventory")
    command = [str(program), "-i", str(tmp_path / "inventory.yaml"), "--list"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={"ANSIBLE_HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_ansible_takes_the_inventory(tmp_path: Path) -> None:
    seen = seen_by_ansible(tmp_path, ssh.inventory(HOSTS))
    about = seen["_meta"]["hostvars"]["srv-1.a-b"]
    assert about["ansible_host"] == {"__ansible_unsafe": "fe80::1"} or about["ansible_host"] == "fe80::1"
    assert "ProxyJump=ops@10.0.0.1:2222" in str(about["ansible_ssh_common_args"])
    assert "HostKeyAlias=srv-1.a-b" in str(about["ansible_ssh_common_args"])
    assert seen["_meta"]["hostvars"]["bastion.a-b"]["ansible_become"] is True
    assert seen["customer_a_b"]["hosts"] == ["bastion.a-b", "srv-1.a-b"]
    assert (seen["site_a_b__sede"]["hosts"], seen["site_a__b_sede"]["hosts"]) == (["srv-1.a-b"], ["srv-1.a"])


@pytest.mark.parametrize("hosts", [[], [TWIN]])
def test_groups_may_be_few(tmp_path: Path, hosts: list[Host]) -> None:
    seen_by_ansible(tmp_path, ssh.inventory(hosts))


def test_no_text_is_a_template() -> None:
    tricky = Host("srv-1", "a", "10.0.0.1", role='{{ 7 * 7 }}"\n')
    assert '      mspctl_role: !unsafe "{{ 7 * 7 }}\\"\\n"\n' in ssh.inventory([tricky])
