"""`plan --base`: what a pull request makes us reach otherwise is not contacted before it is merged."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from mspctl import cli, drivers
from mspctl.errors import InputError
from mspctl.fields import PLACE, Model, meaning
from mspctl.load import load
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


def test_a_secret_of_a_target_without_an_address_is_held_by_what_its_driver_says(run: Run, tmp_path: Path) -> None:
    said = "targets:\n  cloud: {{secrets: {{token: CLOUD}}, facets: {{dns: {{driver: octodns, provider: {0}}}}}}}\n"
    file = tmp_path / "inventory/targets.yaml"
    file.write_text(
        TARGETS.format(address="http://127.0.0.1:1", secret="PDNS") + said.format("gandi").partition("\n")[2]
    )
    git(tmp_path, "commit", "--quiet", "-am", "a target at a provider")
    assert load(tmp_path).inventory.addresses("cloud") == {"gandi"}
    file.write_text(file.read_text().replace("gandi", "hetzner"))
    (told,) = trusted(load(tmp_path), "HEAD").moved()
    assert told == "the secret CLOUD will be sent to a new address, hetzner, once this is merged (so far gandi)"


@pytest.mark.parametrize("driver", drivers.names())
def test_settings_of_drivers_say_which_of_them_are_places(driver: str) -> None:
    """By their names; `server` is none: to PowerDNS it is an id."""
    model = drivers.module(driver).Settings
    unsaid = {name for name, parts in every_field(model) if PLACE not in parts}
    assert not unsaid & {"host", "address", "endpoint", "url", "api"}


def every_field(model: type[Model]) -> Iterator[tuple[str, list[Any]]]:
    """Name, and what its type is made of; those of models within, too."""
    for name, field in model.model_fields.items():
        parts = [*field.metadata, field.annotation]
        for part in parts:  # grows
            parts += get_args(part)
        yield name, parts
        for part in parts:
            if isinstance(part, type) and issubclass(part, Model):
                yield from every_field(part)


def test_an_endpoint_of_a_provider_is_a_place() -> None:
    model = drivers.module("octodns").Settings.model_validate({"provider": "ovh", "options": {"endpoint": "ovh-eu"}})
    assert [text for _, text, _ in meaning(model, PLACE)] == ["ovh", "ovh-eu"]


BACKUP = "repositories: {{vault: {{rest: 'https://{0}', password: {1}, login: {2}}}}}\n"


def backed_up(root: Path, customer: str, *said: str) -> None:
    folder = root / "customers" / customer
    folder.mkdir(exist_ok=True)
    (folder / "customer.yaml").write_text("name: X\n")
    (folder / "backup.yaml").write_text(BACKUP.format(*said))


def test_a_customers_secret_that_would_be_used_elsewhere_or_by_somebody_else_is_told(run: Run, tmp_path: Path) -> None:
    backed_up(tmp_path, "acme", "backup.example", "PASSWORD", "LOGIN")
    backed_up(tmp_path, "beta", "backup.example", "BETA", "BETA_LOGIN")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "-m", "backups")
    assert [*trusted(load(tmp_path), "HEAD").moved()] == []
    backed_up(tmp_path, "acme", "thief.example", "BETA", "LOGIN")
    assert [*trusted(load(tmp_path), "HEAD").moved()] == [
        "the secret BETA of acme will be used at https://thief.example for the first time, once this is merged"
        " (so far beta names it)",
        "the secret LOGIN of acme will be used at a new address, https://thief.example, once this is merged"
        " (so far https://backup.example)",
    ]


@pytest.mark.parametrize(
    ("name", "owner"),
    [("PDNS", "target ns-2"), ("SSH_KEY", "target ansible"), ("CHAT", "inventory/notify.yaml: team")],
)
def test_a_customers_file_has_no_secret_of_a_target(tmp_path: Path, name: str, owner: str) -> None:
    write(tmp_path, "http://127.0.0.1:1")
    (tmp_path / "inventory/notify.yaml").write_text("notify: {team: {url: CHAT}}\n")
    backed_up(tmp_path, "acme", "thief.example", "PASSWORD", name)
    with pytest.raises(InputError) as error:
        load(tmp_path)
    text = f"repositories.vault.login: {name} is no secret of a customer: {owner} has it (take another name)"
    assert str(error.value) == f"customers/acme/backup.yaml:1:82: {text}"


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
