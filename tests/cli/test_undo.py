"""The way back: Git says again what a run found, and an apply makes it so."""

from __future__ import annotations

from pathlib import Path

from tests.cli.test_main_job import YAML, ZONE, replace
from tests.conftest import Run


def records(path: Path) -> set[str]:
    return {line for line in path.read_text().splitlines() if " SOA " not in line}


def test_undo_brings_back_what_was_there(run: Run, repository: Path) -> None:
    run("apply")
    before, yaml = records(repository / ZONE), (repository / YAML).read_text()
    replace(repository / YAML, "voip: {A: 192.0.2.85}", "voip: {A: 192.0.2.86, ttl: 1m}")
    replace(repository / YAML, "magazzino: {A: 198.51.100.20}\n", "")
    replace(repository / YAML, "autodiscover:", "neu: {TXT: hello}\nautodiscover:")
    assert run("apply", "--reason", "#212").code == 0
    assert records(repository / ZONE) != before
    undone = run("undo", "officine-brenta", "#212")
    assert undone.code == 0
    assert "#212" in undone.out
    assert sorted((repository / YAML).read_text().split()) == sorted(yaml.split())
    assert run("apply").code == 0
    assert records(repository / ZONE) == before


def test_undo_leaves_what_came_since(run: Run, repository: Path) -> None:
    run("apply")
    replace(repository / YAML, "voip: {A: 192.0.2.85}", "voip: {A: 192.0.2.86}")
    run("apply", "--reason", "first")
    replace(repository / YAML, "voip: {A: 192.0.2.86}", "voip: {A: 192.0.2.86, ttl: 1m}")
    run("apply", "--reason", "second")
    assert run("undo", "officine-brenta", "first").code == 0
    assert "voip: {A: 192.0.2.85, ttl: 1m}" in (repository / YAML).read_text()


def test_undo_without_a_name_takes_the_newest_run(run: Run, repository: Path) -> None:
    run("apply")
    replace(repository / YAML, "voip: {A: 192.0.2.85}", "voip: {A: 192.0.2.86}")
    run("apply")
    before = (repository / YAML).read_text()
    assert run("undo", "officine-brenta", "--dry-run").code == 0
    assert (repository / YAML).read_text() == before
    assert run("undo", "officine-brenta").code == 0
    assert "voip: {A: 192.0.2.85}" in (repository / YAML).read_text()
    assert "says already" in run("undo", "officine-brenta").out


def test_a_run_that_is_not_there(run: Run) -> None:
    refused = run("undo", "officine-brenta")
    assert refused.code == 1
    assert "the ledger has no run that changed something for officine-brenta" in refused.err
    run("apply")
    assert "the ledger has no run named #9" in run("undo", "officine-brenta", "#9").err
