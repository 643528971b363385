"""`plan --base`: what a pull request makes us reach otherwise is not contacted before it is merged."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mspctl import cli
from mspctl.errors import InputError
from mspctl.load import load
from mspctl.model.inventory import TargetInfo, addresses
from mspctl.resource import Scope
from mspctl.trusted import check_base, check_merge, trusted
from tests.conftest import Run, Said
from tests.estate import estate
from tests.servers.http_stand_in import StandIn, standing_in

TARGETS = """targets:
  ns-1: {{facets: {{dns: {{driver: zonefile, directory: zones}}}}}}
  ns-2: {{address: "{address}", secrets: {{api_key: {secret}}}, facets: {{dns: {{driver: powerdns}}}}}}
  ansible: {{facets: {{hosts: hosts}}, secrets: {{ssh_key: SSH_KEY}}}}
"""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF9bU7Gf0d8RRwGTdaKB6rCq2kVmPHkX2DLdyZ4tWWvX"
HOSTS = """defaults: {{host_key: "KEY"}}
hosts:
  gate: {{address: {gate}}}
  srv: {{address: 10.0.0.2, target: ansible, jump: gate{srv}}}
""".replace("KEY", KEY)


def git(root: Path, *args: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@msp.example"]
    subprocess.run(["git", *who, *args], cwd=root, check=True, capture_output=True)


def write(root: Path, address: str, key: str = "PDNS", gate: str = "10.0.0.1", srv: str = "") -> Path:
    return estate(
        root,
        {
            "inventory/targets.yaml": TARGETS.format(address=address, secret=key),
            "customers/acme/dns.yaml": "zones: {a.example: {target: ns-1}, b.example: {target: ns-2}}\n",
            "customers/acme/dns/a.example.yaml": "www: {A: 192.0.2.1}\n",
            "customers/acme/dns/b.example.yaml": "www: {A: 192.0.2.1}\n",
            "customers/acme/hosts.yaml": HOSTS.format(gate=gate, srv=srv),
        },
    )


@pytest.fixture
def thief() -> object:
    with standing_in() as server:
        yield server


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """In a repository whose base has another address for ns-2."""
    write(tmp_path, "http://127.0.0.1:1")
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "-m", "base")
    git(tmp_path, "tag", "base")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MSPCTL_SECRET_PDNS", "the-key-of-ns-2")
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    assert cli.run(["ledger", "init"]) == 0

    def command(*arguments: str) -> Said:
        capsys.readouterr()
        return Said(cli.run([*arguments]), *capsys.readouterr())

    return command


def test_an_address_that_a_change_brings_gets_no_secret(run: Run, tmp_path: Path, thief: StandIn) -> None:
    write(tmp_path, thief.address)
    said = run("plan", "--base", "base")
    assert thief.asked == []
    assert "ns-2 is reached otherwise than before: it is contacted once that is merged" in said.out
    assert "create  www A" in said.out  # ns-1 is as it was
    told = f"the secret PDNS will be sent to a new address, {thief.address}, once this is merged (so far http://127.0"
    assert told in " ".join(said.out.split())
    run("plan")  # merged
    assert thief.asked


def test_a_secret_that_is_bound_is_not_sent_to_a_new_address_after_the_merge_either(
    run: Run, tmp_path: Path, thief: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MSPCTL_SECRET_PDNS_BOUND_TO", "http://127.0.0.1:1 http://127.0.0.1:2")
    write(tmp_path, thief.address)
    git(tmp_path, "commit", "--quiet", "-am", "merged, and nobody looked")
    said = run("plan")
    assert thief.asked == []
    text = " ".join((said.out + said.err).split())
    assert f"is bound to http://127.0.0.1:1, http://127.0.0.1:2, and is not sent to {thief.address}" in text
    assert "(if that is right: mspctl secret bind -t ns-2 api_key)" in text
    monkeypatch.setenv("MSPCTL_SECRET_PDNS_BOUND_TO", thief.address)
    run("plan")
    assert thief.asked


def test_a_secret_that_another_target_asks_for_is_told(run: Run, tmp_path: Path) -> None:
    write(tmp_path, "http://127.0.0.1:1")
    file = tmp_path / "inventory/targets.yaml"
    more = '  ns-3: {address: "https://thief.example", secrets: {api_key: PDNS}, facets: {dns: {driver: powerdns}}}\n'
    file.write_text(file.read_text() + more)
    (told,) = trusted(load(tmp_path), "base").moved()
    assert told.startswith("the secret PDNS will be sent to a new address, https://thief.example, once this is merged")


def test_a_secret_that_no_target_asked_for_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "inventory/notify.yaml").write_text("notify: {chat: {url: NOTIFY_URL}}\n")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "-m", "chat")
    file = tmp_path / "inventory/targets.yaml"
    more = "  evil{0}: {{address: 203.0.113.66, secrets: {{api_key: {1}}}, facets: {{dns: {{driver: powerdns}}}}}}\n"
    file.write_text(file.read_text() + more.format(1, "NOTIFY_URL") + more.format(2, "UNNAMED"))
    told = "will be sent to 203.0.113.66 for the first time, once this is merged"
    assert [*trusted(load(tmp_path), "HEAD").moved()] == [
        f"the secret NOTIFY_URL {told} (so far inventory/notify.yaml names it)",
        f"the secret UNNAMED {told}",
    ]


def test_an_endpoint_is_a_place() -> None:
    settings = {"driver": "octodns", "provider": "ovh", "options": {"endpoint": "ovh-eu"}}
    assert addresses(TargetInfo.model_validate({"facets": {"dns": settings}})) == {"ovh-eu"}


def test_what_is_as_it_was_is_contacted(run: Run, tmp_path: Path, thief: StandIn) -> None:
    write(tmp_path, thief.address)
    git(tmp_path, "commit", "--quiet", "-am", "merged")
    run("plan", "--base", "HEAD")
    assert thief.asked


def test_a_base_that_is_no_commit_is_told(run: Run) -> None:
    said = run("plan", "--base=--exec=x")
    assert said.code == 1
    assert "is no commit that is here" in said.err


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({}, set()),
        ({"key": "OTHER"}, {"ns-2"}),
        ({"address": "https://elsewhere.example"}, {"ns-2"}),
        ({"gate": "10.0.0.9"}, {"ansible"}),
        ({"srv": ", port: 2222"}, {"ansible"}),
        ({"srv": ", serial: X1"}, set()),
    ],
)
def test_what_counts_is_where_and_with_what(
    run: Run, tmp_path: Path, change: dict[str, str], refused: set[str]
) -> None:
    write(tmp_path, **{"address": "http://127.0.0.1:1", **change})
    found = trusted(load(tmp_path), "base")
    scopes = [Scope("ns-1", "dns", "a.example", "acme"), Scope("ns-2", "dns", "b.example", "acme")]
    scopes.append(Scope("ansible", "hosts", "acme/srv/backup", "acme"))
    assert {scope.target for scope in scopes if found.refusal(scope)} == refused


def test_a_base_that_is_wrong_is_trusted_in_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "inventory/targets.yaml").write_text("targets: [\n")
    git(tmp_path, "commit", "--quiet", "-am", "broken")
    write(tmp_path, "http://127.0.0.1:1")
    assert "ns-1 is new" in trusted(load(tmp_path), "HEAD").refusal(Scope("ns-1", "dns", "a.example", "acme"))


def test_a_merge_is_of_the_last_commit_and_into_main(tmp_path: Path) -> None:
    """What somebody pushed besides main, who may open a pull request into it, is no base that is believed."""
    main, change = tmp_path / "main", tmp_path / "change"
    main.mkdir()
    git(main, "init", "--quiet", "--initial-branch", "main")
    git(main, "commit", "--quiet", "--allow-empty", "--message", "one")
    git(main, "branch", "evil")
    git(main, "commit", "--quiet", "--allow-empty", "--message", "two")
    subprocess.run(["git", "clone", "--quiet", main, change], check=True)
    git(change, "checkout", "--quiet", "-b", "mine")
    git(change, "commit", "--quiet", "--allow-empty", "--message", "three")
    head = _commit(change)
    with pytest.raises(InputError, match="does not merge"):
        check_merge(change, head)
    git(change, "checkout", "--quiet", "main")
    git(change, "merge", "--quiet", "--no-ff", "--message", "merge", head)
    check_merge(change, head)
    check_base(change, "HEAD^1", main)
    with pytest.raises(InputError, match="does not merge"):
        check_merge(change, "0" * 40)
    git(change, "checkout", "--quiet", "-b", "other", "origin/evil")
    git(change, "commit", "--quiet", "--allow-empty", "--message", "a base of my own")
    git(change, "merge", "--quiet", "--no-ff", "--message", "merge", head)
    check_merge(change, head)
    with pytest.raises(InputError, match="is no commit of main"):
        check_base(change, "HEAD^1", main)


def _commit(root: Path) -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()
