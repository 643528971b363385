"""
The programs in stacks/, run as Pulumi runs them, against our provider's process. The engine is a small one of ours
(`engine.py`): with Pulumi's own they were not run.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from mspctl import cli
from mspctl.provider import generate
from tests.provider.engine import Stack
from tests.provider.wire import CUSTOMER, ROOT, approve, by_pulumi

STACKS = ("customer", "with-cloud")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHVd6Y8c4C0wqDcKqCqUoYEXF7tPNpeIKPvmwTyaUf0f"
DEVICE = f"""\
  fw:
    address: 127.0.0.1
    secrets: {{ssh_key: FW_SEDE}}
    facets: {{firewall: {{driver: nftables, port: 1, host_key: {KEY}}}}}
"""


@pytest.fixture
def estate(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example customers, one of them Pulumi's, with the programs beside them."""
    for name in STACKS:
        shutil.copytree(ROOT / "stacks" / name, repository / "stacks" / name)
    by_pulumi(repository)
    return repository


def served(repository: Path, zone: str, target: str = "ns-1") -> str:
    found = [*(repository / "scratch" / target).glob(f"{zone}*")]
    return found[0].read_text() if found else ""


@pytest.mark.soak
def test_a_customers_whole_life(estate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack = Stack(estate / "stacks/customer", CUSTOMER)
    preview = stack.up(dry=True)
    assert preview.code == 0, [*preview.errors, preview.said]
    made = [name for what, name in preview.steps if what == "create"]
    assert {"ns-1/brenta.example", "ns-lab/0.20.10.in-addr.arpa"} <= {*made}
    assert (served(estate, "brenta.example"), stack.state) == ("", {})

    assert stack.up().steps == preview.steps
    assert "brenta.example" in served(estate, "brenta.example")
    again = stack.up()
    assert {what for what, _ in again.steps} == {"same"}
    assert any(name.startswith("dns brenta.example") for name in again.outputs)

    # Our engine finds nothing to do where Pulumi was, once it is asked to look.
    info = estate / "customers" / CUSTOMER / "customer.yaml"
    text = info.read_text()
    info.write_text(text.replace("engine: pulumi\n", ""))
    assert cli.run(["ledger", "init"]) == 0
    assert cli.run(["plan", "--customer", CUSTOMER]) == 0, capsys.readouterr().out
    info.write_text(text)

    file = next((estate / "scratch/ns-1").glob("brenta.example*"))
    file.write_text(file.read_text().replace("192.0.2.", "203.0.113."))  # somebody's hand
    seen = stack.refresh()
    assert seen.steps == [("drift", "ns-1/brenta.example")]
    assert all(path.startswith("resources.rrset[") for path in seen.details["ns-1/brenta.example"])
    assert ("update", "ns-1/brenta.example") in stack.up().steps
    assert "203.0.113." not in file.read_text()

    gone = stack.destroy()
    assert "is kept until an approval names it" in "\n".join(gone.errors)
    for urn in [*stack.state]:
        target, _, name = stack.state[urn].id.partition("/")
        approve(estate, f"{'mailboxes' if 'mail:Domain' in urn else 'dns'}/{name}", target)
    gone = stack.destroy()
    assert (gone.errors, stack.state) == ([], {})
    assert cli.run(["drift"]) in (0, 2)
    assert not (estate / "scratch/ns-1/brenta.example.zone").exists()  # nothing of ours brings it back


def test_what_is_wrong_is_one_line(estate: Path) -> None:
    ended = Stack(estate / "stacks/customer", "studio-dentistico-sala").up()
    assert ended.code == 1
    assert "write engine: pulumi in customers/studio-dentistico-sala/customer.yaml" in ended.said
    assert "Traceback" not in ended.said
    ended = Stack(estate / "stacks/customer", "nobody").up()
    assert "has no customer 'nobody'" in ended.said


@pytest.mark.soak
def test_an_address_of_a_cloud_flows_into_a_zone(estate: Path) -> None:
    config = {"customer": CUSTOMER, "zone": "cloud.example", "name-server": "ns-1"}
    stack = Stack(estate / "stacks/with-cloud", "test", {f"with-cloud:{key}": said for key, said in config.items()})
    preview = stack.up(dry=True)
    assert (preview.code, preview.steps) == (0, [("create", "site"), ("create", "web")]), preview.said
    ended = stack.up()
    assert ended.code == 0, [*ended.errors, ended.said]
    assert ended.outputs["address"].startswith("203.0.113.")
    assert ended.outputs["address"] in served(estate, "cloud.example")
    assert {what for what, _ in stack.up().steps} == {"same"}


@pytest.mark.soak
def test_an_address_of_a_cloud_flows_into_a_firewall(estate: Path) -> None:
    """What the program says of the device is taken; the device itself is not there, and costs itself only."""
    with (estate / "inventory/targets.yaml").open("a") as out:
        out.write(DEVICE)
    said = {"customer": CUSTOMER, "zone": "cloud.example", "name-server": "ns-1", "firewall": "fw", "site": "sede"}
    stack = Stack(estate / "stacks/with-cloud", "test", {f"with-cloud:{key}": each for key, each in said.items()})
    preview = stack.up(dry=True)
    assert (preview.code, [name for _, name in preview.steps]) == (0, ["office", "site", "web"]), preview.said
    ended = stack.up()
    assert [error.partition(": ")[0] for error in ended.errors] == ["office"]
    assert "resources." not in ended.errors[0]
    assert "203.0.113." in served(estate, "cloud.example")


def test_a_program_that_lacks_a_setting_says_which(estate: Path) -> None:
    ended = Stack(estate / "stacks/with-cloud", "test", {"with-cloud:customer": CUSTOMER}).up()
    assert ended.code == 1
    assert "pulumi config set with-cloud:zone" in ended.said
    assert "Traceback" not in ended.said


@pytest.mark.parametrize("name", STACKS)
def test_a_project_downloads_nothing_and_is_short(name: str) -> None:
    said = yaml.safe_load((ROOT / "stacks" / name / "Pulumi.yaml").read_text())
    assert said["plugins"]["providers"] == [{"name": "mspctl", "path": "../../.venv/bin"}]
    assert len((ROOT / "stacks" / name / "__main__.py").read_text().splitlines()) <= (30 if name == "customer" else 40)


def test_the_classes_are_those_of_the_schema() -> None:
    assert (ROOT / "mspctl/pulumi/resources.py").read_text() == generate.source()
