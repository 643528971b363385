"""`plan --save FILE`, `apply FILE`."""

from __future__ import annotations

from pathlib import Path

from tests.cli.test_main_job import YAML, ZONE, replace
from tests.conftest import Run


def test_a_saved_plan_does_what_was_reviewed_and_only_that(run: Run, repository: Path) -> None:
    run("apply")
    replace(repository / YAML, "voip: {A: 192.0.2.85}", "voip: {A: 192.0.2.86}")
    replace(repository / YAML, "magazzino: {A: 198.51.100.20}", "magazzino: {A: 198.51.100.99}")
    assert run("plan", "--save", "plan.json").code == 2
    replace(repository / YAML, "autodiscover:", "later: {A: 192.0.2.7}\nautodiscover:")
    replace(repository / ZONE, "magazzino 3600 IN A 198.51.100.20", "magazzino 3600 IN A 203.0.113.5")
    applied = run("apply", "plan.json")
    assert applied.code == 3
    assert "left alone: magazzino A in dns brenta.example on ns-1 was changed by somebody else" in applied.err
    zone = (repository / ZONE).read_text()
    assert "voip 3600 IN A 192.0.2.86" in zone
    assert "magazzino 3600 IN A 203.0.113.5" in zone
    assert "later" not in zone
    assert run("apply", "plan.json").code == 3  # again: what is true is skipped, the rest is still not in it


def test_two_plans_from_one_state_both_land(run: Run, repository: Path) -> None:
    run("apply")
    yaml = (repository / YAML).read_text()
    for number, (old, new) in enumerate((("192.0.2.85", "192.0.2.86"), ("198.51.100.20", "198.51.100.99"))):
        (repository / YAML).write_text(yaml.replace(f"A: {old}", f"A: {new}"))
        assert run("plan", "--save", f"{number}.json").code == 2
    (repository / YAML).write_text(
        yaml.replace("A: 192.0.2.85", "A: 192.0.2.86").replace("A: 198.51.100.20", "A: 198.51.100.99")
    )
    for number in (0, 1):
        assert "1 change landed." in run("apply", f"{number}.json").out
    assert run("plan").code == 0


def test_a_saved_plan_that_was_touched_is_refused(run: Run, repository: Path) -> None:
    run("plan", "--save", "plan.json")
    replace(repository / "plan.json", "192.0.2.85", "203.0.113.85")
    refused = run("apply", "plan.json")
    assert refused.code == 1
    assert "plan.json: was changed since mspctl saved it" in refused.err
    assert not list((repository / "scratch").rglob("*.zone"))


def test_plans_of_several_jobs_are_carried_out_together(run: Run, repository: Path) -> None:
    names = ("officine-brenta", "studio-legale-ferri")
    for name in names:
        assert run("plan", "-c", name, "--save", f"{name}.json").code == 2
    assert run("apply", *(f"{name}.json" for name in names)).code == 3  # the third customer was in neither
    assert run("plan", "-c", names[0], "-c", names[1]).code == 0
    twice = run("apply", f"{names[0]}.json", f"{names[0]}.json")
    assert twice.code == 1
    assert "is in two of these plans" in twice.err
