"""From YAML to an applied, recorded estate, through the command line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Run

ZONE = "scratch/ns-1/brenta.example.zone"
YAML = "customers/officine-brenta/dns/brenta.example.yaml"


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_plan_apply_and_nothing_is_pending(run: Run) -> None:
    assert run("plan").code == 2
    applied = run("apply")
    assert (applied.code, applied.out.splitlines()[-1]) == (0, "60 changes landed. Nothing is pending.")
    planned = run("plan")
    assert (planned.code, planned.out.splitlines()[-1]) == (0, "Nothing to do: every declaration is true.")
    assert run("drift").code == 0


def test_a_second_apply_changes_no_file(run: Run, repository: Path) -> None:
    run("apply")
    before = {path: path.read_bytes() for path in (repository / "scratch").rglob("*.zone")}
    assert run("apply").code == 0
    assert {path: path.read_bytes() for path in (repository / "scratch").rglob("*.zone")} == before


def test_an_edit_of_one_record_is_one_change(run: Run, repository: Path) -> None:
    run("apply")
    replace(repository / YAML, "voip: {A: 192.0.2.85}", "voip: {A: 192.0.2.86}")
    planned = run("plan")
    assert "~ change  voip A  192.0.2.85 → 192.0.2.86  :14" in planned.out
    assert planned.out.splitlines()[-1] == "0 to create, 1 to change, 0 to delete."
    assert run("apply").code == 0
    assert "voip 3600 IN A 192.0.2.86" in (repository / ZONE).read_text()


def test_a_line_that_left_git_is_deleted_and_said_first(run: Run, repository: Path) -> None:
    run("apply")
    replace(repository / YAML, "voip: {A: 192.0.2.85}\n", "neu: {A: 192.0.2.99}\n")
    replace(repository / YAML, "_sip._tls: {SRV: 10 5 5061 voip.brenta.example.}\n", "")
    lines = [line for line in run("plan").out.splitlines() if line.startswith("  ")]
    assert [line.split()[:2] for line in lines] == [["-", "delete"], ["-", "delete"], ["+", "create"]]
    assert run("apply").code == 0
    assert "voip" not in (repository / ZONE).read_text()


def test_a_merge_leaves_drift_alone_and_revert_ends_it(run: Run, repository: Path) -> None:
    run("apply")
    replace(repository / ZONE, "voip 3600 IN A 192.0.2.85", "voip 3600 IN A 203.0.113.66")
    replace(repository / YAML, "magazzino: {A: 198.51.100.20}", "magazzino: {A: 198.51.100.99}")
    drift = run("drift")
    assert drift.code == 2
    assert "changed outside  voip A  values: Git says 192.0.2.85, live is 203.0.113.66" in drift.out
    assert run("apply").code == 0
    zone = (repository / ZONE).read_text()
    assert "voip 3600 IN A 203.0.113.66" in zone
    assert "magazzino 3600 IN A 198.51.100.99" in zone
    assert run("apply", "--revert", "-c", "officine-brenta", "dns/brenta.example/voip A").code == 0
    assert "voip 3600 IN A 192.0.2.85" in (repository / ZONE).read_text()
    assert run("drift").code == 0


def test_adopt_writes_what_is_live_and_keeps_the_comments(run: Run, repository: Path) -> None:
    run("apply")
    before = (repository / YAML).read_text()
    replace(repository / ZONE, "mail 300 IN A 192.0.2.81", "mail 300 IN A 192.0.2.181")
    adopted = run("adopt", "officine-brenta")
    assert adopted.code == 0
    assert (repository / YAML).read_text() == before.replace("A: 192.0.2.81,", "A: 192.0.2.181,")
    assert run("plan").code == 0
    assert run("drift").code == 0


def test_adopt_of_a_deleted_record_takes_it_out_of_git(run: Run, repository: Path) -> None:
    run("apply")
    replace(repository / ZONE, "magazzino 3600 IN A 198.51.100.20\n", "")
    assert run("drift").code == 2
    assert run("adopt", "officine-brenta").code == 0
    assert "magazzino" not in (repository / YAML).read_text()
    assert run("plan").code == 0


def test_unmanaged_is_left_alone_until_it_is_named(run: Run, repository: Path) -> None:
    run("apply")
    with (repository / ZONE).open("a") as zone:
        zone.write("stampante 3600 IN A 192.0.2.77\n")
    drift = run("drift")
    assert drift.code == 0
    assert "stampante A: live, not in Git; left alone" in drift.out
    assert run("apply").code == 0
    assert "stampante 3600 IN A 192.0.2.77" in (repository / ZONE).read_text()
    assert run("adopt", "officine-brenta").out == "Nothing to adopt.\n"
    assert run("adopt", "officine-brenta", "dns/brenta.example/stampante A").code == 0
    assert "stampante: {A: 192.0.2.77}" in (repository / YAML).read_text()
    assert run("plan").code == 0


def test_adopt_in_octodns_form_and_dry_run(run: Run, repository: Path) -> None:
    run("apply")
    yaml = repository / "customers/studio-legale-ferri/dns/ferri-legali.example.yaml"
    before = yaml.read_text()
    for target in ("ns-1", "ns-lab"):
        zone = repository / f"scratch/{target}/ferri-legali.example.zone"
        replace(zone, '@ 300 IN TXT "v=verify1; code=ferri"', '@ 300 IN TXT "v=verify2; code=ferri"')
        replace(zone, "@ 3600 IN MX 20 mx2.provider.example.", "@ 3600 IN MX 30 mx3.provider.example.")
    assert run("adopt", "studio-legale-ferri", "--dry-run").code == 0
    assert yaml.read_text() == before
    assert run("adopt", "studio-legale-ferri").code == 0
    after = yaml.read_text()
    assert "v=verify2\\; code=ferri" in after
    assert "mx3.provider.example." in after
    assert "mx2.provider.example." not in after
    assert run("plan").code == 0


def test_two_targets_that_disagree_cannot_both_be_adopted(run: Run, repository: Path) -> None:
    run("apply")
    for target, address in (("ns-1", "203.0.113.41"), ("ns-lab", "203.0.113.42")):
        zone = repository / f"scratch/{target}/ferri-legali.example.zone"
        replace(zone, "@ 300 IN A 203.0.113.40", f"@ 300 IN A {address}")
    refused = run("adopt", "studio-legale-ferri")
    assert refused.code == 1
    assert "is different on two targets (adopt with --target one of them)" in refused.err
    assert run("adopt", "studio-legale-ferri", "--target", "ns-lab").code == 0
    assert run("plan", "--target", "ns-lab").code == 0


def test_an_unreachable_target_costs_only_its_own_scopes(run: Run, repository: Path) -> None:
    (repository / "scratch/ns-lab").rmdir()
    planned = run("plan")
    assert planned.code == 2
    assert "unreachable" in planned.out
    assert "Not read: 2 scopes unreachable." in planned.out
    applied = run("apply")
    assert applied.code == 3
    assert "2 scopes could not be read." in applied.out
    assert run("plan").code == 4
    (repository / "scratch/ns-lab").mkdir()
    assert run("apply").code == 0
    assert run("plan").code == 0


def test_one_broken_zone_file_does_not_stop_the_others(run: Run, repository: Path) -> None:
    run("apply")
    (repository / ZONE).write_text("this is (no zone\n")
    replace(
        repository / "customers/studio-dentistico-sala/dns/sala-dentista.example.yaml", "203.0.113.10", "203.0.113.11"
    )
    applied = run("apply")
    assert applied.code == 3
    assert "sala-dentista.example" in applied.out
    assert (repository / ZONE).read_text() == "this is (no zone\n"
    assert "203.0.113.11" in (repository / "scratch/ns-1/sala-dentista.example.zone").read_text()


def test_a_customer_in_mode_propose_is_shown_and_held(run: Run, repository: Path) -> None:
    with (repository / "customers/studio-dentistico-sala/customer.yaml").open("a") as file:
        file.write("mode: propose\n")
    applied = run("apply", "-c", "studio-dentistico-sala")
    assert applied.code == 3
    assert "[mode is propose]" in applied.out
    assert not (repository / "scratch/ns-1/sala-dentista.example.zone").exists()


def test_the_history_names_what_was_applied(run: Run) -> None:
    run("apply", "--reason", "#212")
    shown = run("show", "officine-brenta", "--history")
    assert "#212" in shown.out
    assert "+14 in dns brenta.example on ns-1" in shown.out
    assert "#212" in run("ledger", "log", "--limit", "1").out


def test_the_work_tree_and_head_are_not_touched(run: Run, repository: Path) -> None:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=repository, check=True, capture_output=True, text=True).stdout

    (repository / ".gitignore").write_text("hand-over.yaml\n")  # the one file that an apply makes
    git("add", "customers", "inventory")
    before = (
        git("status", "--porcelain", "customers", "inventory"),
        git("diff", "--cached"),
        git("symbolic-ref", "HEAD"),
    )
    run("apply")
    after = git("status", "--porcelain", "customers", "inventory"), git("diff", "--cached"), git("symbolic-ref", "HEAD")
    assert before == after


def test_json_is_a_versioned_document(run: Run, repository: Path) -> None:
    planned = json.loads(run("plan", "-o", "json").out)
    assert planned["format"] == "mspctl.plan/1"
    assert planned["changes"] == 60
    applied = json.loads(run("apply", "-o", "json").out)
    assert (applied["format"], applied["landed"]) == ("mspctl.apply/1", 60)
    assert json.loads(run("show", "-o", "json").out)["format"] == "mspctl.show/1"
    assert json.loads(run("validate", "-o", "json").out)["format"] == "mspctl.validate/1"


@pytest.mark.parametrize("form", ["markdown", "html"])
def test_every_format_names_every_change(run: Run, form: str) -> None:
    shown = run("plan", "-c", "officine-brenta", "-o", form).out
    for name in ("brenta.example", "_sip._tls SRV", "magazzino A", "198.51.100.20"):
        assert name in shown


def test_nothing_is_planned_without_a_ledger_or_outside_git(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mspctl import cli

    assert cli.run(["plan"]) == 1
    assert "no ledger yet; run mspctl ledger init" in capsys.readouterr().err
    subprocess.run(["rm", "-rf", repository / ".git"], check=True)
    assert cli.run(["plan"]) == 1
    assert "is not in a Git repository" in capsys.readouterr().err
