"""The pipelines that `init --ci gitlab` writes, and those that are made of what a change touches."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from mspctl import cli
from mspctl.affected import Affected, Shard
from mspctl.errors import InputError
from mspctl.forge import pipeline
from mspctl.forge.merging import merged
from mspctl.init import init
from tests.conftest import ROOT
from tests.servers import require
from tests.test_schema import as_an_editor

TEMPLATES = ROOT / "mspctl/templates/gitlab"
NAMES = ("apply", "common", "drift", "plan", "schedules")
PROGRAM = ".venv/bin/mspctl"
HEAD = "a" * 40


def config(name: str) -> Any:
    file = "dot-gitlab-ci.yml" if name == "ci" else f"dot-gitlab/{name}.yml"
    return as_an_editor((TEMPLATES / file).read_text())


def jobs(name: str) -> Iterator[tuple[str, Any]]:
    found = config(name).items()
    yield from ((key, job) for key, job in found if key not in ("include", "workflow", "default", "variables"))


def lines() -> Iterator[tuple[str, str, str]]:
    """(file, job, line)."""
    for name in ("ci", *NAMES):
        for key, job in jobs(name):
            yield from ((name, key, line) for line in job.get("script", ()))


def words(line: str) -> list[str]:
    """Of mspctl's command line, from its command on."""
    found = shlex.split(line.partition(f"{PROGRAM} ")[2].partition(" > ")[0])
    return found[2:] if found[0] == "-C" else found


def found(*shards: Shard) -> Affected:
    return Affected("b" * 40, "c" * 40, [name for shard in shards for name in shard.customers], [], [], shards)


# -- what is written ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return init(tmp_path_factory.mktemp("repository") / "msp", ci="gitlab").root


def test_init_writes_them_and_no_workflow_of_github(root: Path) -> None:
    assert (root / ".gitlab-ci.yml").is_file()
    assert sorted(path.stem for path in (root / ".gitlab").iterdir()) == [*NAMES]
    assert not (root / ".github").exists()
    assert "On GitLab" in (root / "README.md").read_text()
    assert "GitHub" not in (root / "README.md").read_text()


def test_they_and_what_is_made_are_what_gitlab_takes(root: Path, tmp_path: Path) -> None:
    """By GitLab's own schema for an editor, as check-jsonschema brings it."""
    one = found(Shard(["acme"]), Shard(["brenta"], ("brenta-lan",)))
    made = {
        "plan": pipeline.of_plan(one, 12, HEAD, f"reviewed-12-{HEAD}"),
        "apply": pipeline.of_apply(found(Shard(["acme"], rings=True), Shard(["x"], rings=True)), HEAD),
        "drift": pipeline.of_drift(one),
        "due": pipeline.of_due(one),
        "prove": pipeline.of_prove(one),
        "nothing": pipeline.of_nothing("It isn't $(open)."),
    }
    for name, text in made.items():
        (tmp_path / f"{name}.yml").write_text(text)
        assert as_an_editor(text) == json.loads(text)
    files = [root / ".gitlab-ci.yml", *(root / ".gitlab").iterdir(), *(tmp_path / f"{name}.yml" for name in made)]
    command = [require("check-jsonschema"), "--builtin-schema", "vendor.gitlab-ci", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    said = json.loads(made["nothing"])["nothing"]["script"]
    assert subprocess.run(["sh", "-c", *said], capture_output=True, text=True).stdout == "It isn't $(open).\n"


def test_every_line_is_one_line_whose_command_and_options_are_there() -> None:
    for _, job, line in lines():
        assert "\n" not in line.strip(), job
        if PROGRAM not in line:
            continue
        name, *rest = words(line)
        context = click.Context(cli.group)
        command = cli.group.get_command(context, name)
        if isinstance(command, click.Group):
            command = command.get_command(context, rest.pop(0))
        assert command is not None, line
        known = {option for p in command.params if isinstance(p, click.Option) for option in p.opts}
        assert {word for word in rest if word.startswith("--")} <= known, line


def test_what_a_merge_request_says_is_only_read() -> None:
    """What is checked out of it is read by `mspctl -C change`; its variables of text are in no script."""
    for _, job, line in lines():
        assert "change" not in line.replace(f"{PROGRAM} -C change ", "").replace("--into change", ""), job
        assert not re.search(r"CI_(MERGE_REQUEST|COMMIT_(REF_NAME|BRANCH|MESSAGE|TITLE|AUTHOR|DESCRIPTION))", line), job
        # Only what holds options of ours, or the names of files of ours, is not quoted.
        bare = re.sub(r'"[^"]*"', "", line)
        assert {*re.findall(r"\$\w+", bare)} <= {"$OPTIONS"}, line


def test_a_merge_requests_own_pipeline_only_validates() -> None:
    mine = [(key, job) for key, job in jobs("ci") if any("merge_request_event" in str(rule) for rule in job["rules"])]
    assert [(key, job["script"]) for key, job in mine] == [("validate", [f"{PROGRAM} validate"])]
    for key, job in jobs("ci"):
        assert job["rules"], key
        assert "environment" not in job


def test_variables_of_an_environment_are_where_a_target_is_asked() -> None:
    expected = {
        ("plan", ".plan"): "plan",
        ("plan", ".quick-lane"): "quick-lane",
        ("apply", ".apply"): "apply",
        ("drift", ".drift"): "plan",
        ("drift", ".archive"): "plan",
        ("drift", ".notify"): "plan",
        ("schedules", ".due"): "apply",
        ("schedules", ".prove"): "prove",
    }
    named = {(name, key): job["environment"] for name in NAMES for key, job in jobs(name) if "environment" in job}
    # Otherwise it is a deployment, and GitLab drops older ones.
    assert named == {key: {"name": name, "action": "access"} for key, name in expected.items()}


def test_nobody_is_cancelled_by_a_newer_run() -> None:
    assert config("common")["default"]["interruptible"] is False
    assert config("ci")["workflow"]["auto_cancel"] == {"on_new_commit": "none"}
    assert not [job for name in ("ci", *NAMES) for _, job in jobs(name) if "resource_group" in job]


# -- what is made ---------------------------------------------------------------------------------------------


def test_a_job_for_each_shard_on_its_runner_and_what_waits_for_all_of_them() -> None:
    shards = [Shard(["acme"]), Shard(["brenta"], ("brenta-lan",))]
    made = json.loads(pipeline.of_plan(found(*shards), 12, HEAD, "kept"))
    assert made["variables"] == {"PULL": "12", "HEAD": HEAD, "JOBS": "2"}
    assert made["plan 2"] == {
        "extends": ".plan",
        "variables": {"SHARD": "2", "OPTIONS": "-c brenta"},
        "tags": ["brenta-lan"],
    }
    assert "tags" not in made["plan 1"]
    assert made["kept"]["needs"] == ["plan 1", "plan 2"]
    assert made["comment"]["needs"] == ["plan 1", "plan 2", "kept"]
    assert made["quick-lane"]["needs"] == ["plan 1", "plan 2", "comment"]


def test_rings_go_one_after_the_other_however_the_one_before_ended() -> None:
    plain = json.loads(pipeline.of_apply(found(Shard(["a"]), Shard(["b"])), HEAD))
    assert [plain[f"apply {n}"]["needs"] for n in (1, 2)] == [["reviewed"], ["reviewed"]]
    ringed = json.loads(pipeline.of_apply(found(Shard(["a"], rings=True), Shard(["b"], rings=True)), HEAD))
    assert ringed["apply 2"]["needs"] == ["reviewed", "apply 1"]
    assert ringed["apply 2"]["when"] == "always"
    assert ringed["apply 2"]["variables"]["OPTIONS"] == "--rings -c b"
    assert ringed["replan"]["needs"] == ["reviewed", "apply 1", "apply 2"]


# -- what a merge request would become ------------------------------------------------------------------------


def git(folder: Path, *args: str) -> str:
    who = ["-c", "user.name=P", "-c", "user.email=p@msp.example"]
    return subprocess.run(["git", *who, *args], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """Two clones of a repository with a merge request."""
    root = tmp_path / "remote"
    root.mkdir()
    git(root, "init", "--quiet", "-b", "main")
    for branch, file in (("main", "a"), ("change", "b"), ("main", "c")):
        git(root, "checkout", "--quiet", *(["-B", branch] if file != "c" else [branch]))
        (root / file).write_text(file)
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "-m", file)
    git(root, "update-ref", "refs/merge-requests/3/head", "change")
    for name in ("one", "two"):
        git(tmp_path, "clone", "--quiet", "-b", "main", str(root), name)
    return root


def test_the_merge_is_the_same_commit_whoever_makes_it(remote: Path, tmp_path: Path) -> None:
    head, main = git(remote, "rev-parse", "change"), git(remote, "rev-parse", "main")
    made = [merged(tmp_path / name, 3, head, tmp_path / name / "change") for name in ("one", "two")]
    assert made[0] == made[1]
    there = tmp_path / "one/change"
    assert sorted(path.name for path in there.iterdir() if path.name != ".git") == ["a", "b", "c"]
    assert git(there, "rev-list", "--parents", "-1", "HEAD").split() == [made[0], main, head]
    assert git(tmp_path / "one", "rev-parse", "HEAD") == main


def test_nothing_is_merged_that_is_not_what_it_was(remote: Path, tmp_path: Path) -> None:
    head = git(remote, "rev-parse", "change")
    for number, commit, match in ((3, "b" * 40, "has gone on"), (3, "--x", "is no commit")):
        with pytest.raises(InputError, match=match):
            merged(tmp_path / "one", number, commit, tmp_path / "one/change")
    (tmp_path / "one/change").mkdir()
    with pytest.raises(InputError, match="is there already"):
        merged(tmp_path / "one", 3, head, tmp_path / "one/change")


def test_what_does_not_merge_is_told_with_its_file(remote: Path, tmp_path: Path) -> None:
    git(remote, "checkout", "--quiet", "main")
    (remote / "b").write_text("otherwise")
    git(remote, "add", "--all")
    git(remote, "commit", "--quiet", "-m", "b")
    git(tmp_path / "one", "pull", "--quiet")
    with pytest.raises(InputError, match=r"!3 does not merge into \w+: b "):
        merged(tmp_path / "one", 3, git(remote, "rev-parse", "change"), tmp_path / "one/change")
    assert not (tmp_path / "one/change").exists()
