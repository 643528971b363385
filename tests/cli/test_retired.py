"""What left Git stays until somebody names it: zones, customers, and what moved to another target."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.test_main_job import ZONE, replace
from tests.conftest import Run

SOON = datetime.now(UTC).date() + timedelta(days=7)
FOLDER = "customers/officine-brenta"
NAMES_IT = f"{{resource: dns/brenta.example, target: ns-1, why: moved to the registrar, until: {SOON}}}"


def approve(file: Path, said: str = NAMES_IT) -> None:
    file.write_text(f"approvals:\n  - {said}\n")


def plain(text: str) -> str:
    """Without the columns."""
    return " ".join(text.split())


@pytest.fixture
def without(run: Run, repository: Path) -> Path:
    """The zone was applied, and left Git. Returns its file on the target."""
    assert run("apply").code == 0
    replace(
        repository / FOLDER / "dns.yaml",
        "  brenta.example:\n    renewal: {at: aruba, ends: 2027-09-14, auto: true}\n",
        "",
    )
    (repository / FOLDER / "dns/brenta.example.yaml").unlink()
    return repository / ZONE


def test_a_zone_that_left_git_stays(run: Run, without: Path) -> None:
    before = without.read_bytes()
    planned = run("plan")
    assert (
        "! retired dns brenta.example on ns-1 left Git; nothing there is touched until an approval names "
        "resource: dns/brenta.example, target: ns-1"
    ) in plain(planned.out)
    assert run("apply").code == 0
    assert without.read_bytes() == before


@pytest.mark.parametrize(
    "said",
    [
        f"{{resource: dns/brenta.example, why: no target, until: {SOON}}}",
        f"{{resource: dns/brenta.example, target: ns-lab, why: another target, until: {SOON}}}",
        f"{{resource: dns/brenta.example/www A, target: ns-1, why: a part, until: {SOON}}}",
    ],
)
def test_an_approval_that_does_not_name_scope_and_target_does_nothing(
    run: Run, repository: Path, without: Path, said: str
) -> None:
    approve(repository / FOLDER / "approvals.yaml", said)
    before = without.read_bytes()
    assert run("apply").code == 0
    assert without.read_bytes() == before


def test_a_zone_that_is_named_goes_and_can_be_put_back_by_hand(run: Run, repository: Path, without: Path) -> None:
    approve(repository / FOLDER / "approvals.yaml")
    before = without.read_bytes()
    planned = run("plan")
    assert planned.code == 2
    assert "- remove brenta.example left Git" in plain(planned.out)
    assert "[approved: moved to the registrar]" in planned.out
    assert "retired" not in planned.out
    assert run("apply").code == 0
    assert not without.exists()
    assert without.with_name(without.name + ".before-mspctl").read_bytes() == before
    again = run("plan")
    assert again.code == 0
    assert "brenta.example on ns-1" not in again.out.replace("officine-brenta.example on ns-1", "")


def test_an_approval_removes_once(run: Run, repository: Path, without: Path) -> None:
    approve(repository / FOLDER / "approvals.yaml")
    assert run("apply").code == 0
    shutil.copytree(Path(__file__).parents[2] / FOLDER, repository / FOLDER, dirs_exist_ok=True)
    assert run("apply").code == 0
    replace(repository / FOLDER / "dns.yaml", "  brenta.example:\n", "  brenta.example:\n    target: ns-lab\n")
    assert run("apply").code == 0
    assert without.exists()


def test_a_customer_without_a_folder_is_removed_by_the_inventory(run: Run, repository: Path) -> None:
    run("apply")
    shutil.rmtree(repository / FOLDER)
    assert "retired" in run("plan").out
    approve(repository / "inventory/approvals.yaml")
    assert run("apply").code == 0
    assert not (repository / ZONE).exists()
    assert (repository / "scratch/ns-1/officine-brenta.example.zone").exists()


def test_the_inventory_does_not_speak_for_a_customer_that_is_there(run: Run, repository: Path, without: Path) -> None:
    approve(repository / "inventory/approvals.yaml")
    assert run("apply").code == 0
    assert without.exists()


def test_what_is_declared_is_not_retired_whoever_declares_it(run: Run, repository: Path) -> None:
    """Handed over: the old customer's own plan says nothing of it, and its approval is about nothing."""
    run("apply")
    new = repository / "customers/studio-legale-ferri"
    shutil.move(repository / FOLDER / "dns/brenta.example.yaml", new / "dns/brenta.example.yaml")
    replace(
        repository / FOLDER / "dns.yaml",
        "  brenta.example:\n    renewal: {at: aruba, ends: 2027-09-14, auto: true}\n",
        "",
    )
    with (new / "dns.yaml").open("a") as file:
        file.write("  brenta.example: {target: ns-1}\n")
    approve(repository / FOLDER / "approvals.yaml")
    planned = run("plan", "-c", "officine-brenta")
    assert planned.code == 0
    assert "retired" not in planned.out
    assert run("apply", "-c", "officine-brenta").code == 0
    assert run("apply").code == 0
    assert (repository / ZONE).exists()


def test_a_zone_with_something_of_others_in_it_stays_whole(run: Run, repository: Path, without: Path) -> None:
    with without.open("a") as zone:
        zone.write("stampante 3600 IN A 192.0.2.77\n")
    approve(repository / FOLDER / "approvals.yaml")
    before = without.read_bytes()
    applied = run("apply")
    assert applied.code == 3
    assert "the scope goes only when nothing else is in it: stampante A" in applied.out
    assert without.read_bytes() == before


def test_what_was_changed_outside_goes_with_the_rest(run: Run, repository: Path, without: Path) -> None:
    replace(without, "voip 3600 IN A 192.0.2.85", "voip 3600 IN A 203.0.113.66")
    approve(repository / FOLDER / "approvals.yaml")
    assert run("apply").code == 0
    assert not without.exists()


def test_a_zone_that_somebody_removed_already_is_forgotten(run: Run, repository: Path, without: Path) -> None:
    without.unlink()
    approve(repository / FOLDER / "approvals.yaml")
    assert "forgotten brenta.example left Git and is not there any more" in plain(run("plan").out)
    assert run("apply").code == 0
    (repository / FOLDER / "approvals.yaml").unlink()
    assert "retired" not in run("plan").out


def test_a_target_that_is_gone_can_be_forgotten(run: Run, repository: Path) -> None:
    run("apply")
    replace(repository / FOLDER / "dns.yaml", "    target: ns-lab\n", "    target: ns-1\n")
    replace(repository / "customers/studio-legale-ferri/dns.yaml", "[ns-1, ns-lab]", "[ns-1]")
    text = (repository / "inventory/targets.yaml").read_text()
    there, beyond = text.index("  ns-lab:"), text.index("  mail-1:")
    (repository / "inventory/targets.yaml").write_text(text[:there] + text[beyond:])
    assert run("apply").code == 0
    assert "retired dns 0.20.10.in-addr.arpa on ns-lab" in plain(run("plan").out)
    said = f"{{resource: dns/0.20.10.in-addr.arpa, target: ns-lab, why: the laboratory is closed, until: {SOON}}}"
    approve(repository / FOLDER / "approvals.yaml", said)
    assert run("apply").code == 0
    (repository / FOLDER / "approvals.yaml").unlink()
    again = run("plan")
    assert (again.code, "0.20.10.in-addr.arpa on ns-lab" in again.out) == (0, False)
    assert (repository / "scratch/ns-lab/0.20.10.in-addr.arpa.zone").exists()


def test_a_section_may_be_held_back_by_itself(run: Run, repository: Path) -> None:
    file = repository / FOLDER / "dns.yaml"
    file.write_text("mode: observe\n" + file.read_text())
    planned = run("plan", "-c", "officine-brenta")
    assert "mode is observe" in planned.out
    assert run("apply").code == 3
    assert not (repository / ZONE).exists()
    replace(file, "mode: observe", "mode: enforce")
    replace(repository / FOLDER / "customer.yaml", "baseline:", "mode: observe\nbaseline:")
    assert run("apply").code == 0
    assert (repository / ZONE).exists()
