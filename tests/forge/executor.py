"""
Carries out workflows step by step on this machine: what is committed, in its order, with its conditions.

It is not GitHub's runner. It knows what our workflows use: jobs after each other, `needs`, `if`, outputs, a matrix from
fromJSON, environments (whose secrets only jobs that name them get), env, `run` in bash, and stand-ins for the actions
checkout, upload-artifact and download-artifact; "Install mspctl" puts the program there that is tested. It does not
know permissions (a token can do everything), whose workflow an event takes, containers, services, caches, reusable
workflows, time limits, or anything side by side.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.forge.clone import of_remote
from tests.servers.github import REPOSITORY, GitHubSimulator
from tests.test_schema import as_an_editor

_TOKEN = re.compile(r"\s*('(?:[^']|'')*'|[A-Za-z_][\w.-]*|==|!=|&&|\|\||[!()])")
_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
Context = Mapping[str, Any]


# -- expressions ----------------------------------------------------------------------------------------------


def evaluate(text: str, context: Context, failed: bool = False) -> Any:
    """An expression of GitHub: names, texts, ==, !=, &&, ||, !, fromJSON, success, failure, cancelled and always."""
    words = _TOKEN.findall(text)
    if "".join(words) != re.sub(r"\s+(?=(?:[^']*'[^']*')*[^']*$)", "", text):
        raise ValueError(f"{text!r} is more than this executor understands")
    return _Expression(words, context, failed).either()


@dataclass
class _Expression:
    """What is left of one, word by word; each method takes what it understands from the front."""

    words: list[str]
    context: Context
    failed: bool

    def either(self) -> Any:
        left = self.both()
        while self._next("||"):
            right = self.both()
            left = left or right
        return left

    def both(self) -> Any:
        left = self.equal()
        while self._next("&&"):
            right = self.equal()
            left = left and right
        return left

    def equal(self) -> Any:
        left = self.one()
        while self.words and self.words[0] in ("==", "!="):
            same = self.words.pop(0) == "=="
            left = (left == self.one()) is same
        return left

    def one(self) -> Any:
        word = self.words.pop(0)
        if word == "!":
            return not self.one()
        if word == "(":
            value = self.either()
            self.words.remove(")")
            return value
        if word[0] == "'":
            return word[1:-1].replace("''", "'")
        return self._call(word) if self._next("(") else self._name(word)

    def _call(self, name: str) -> Any:
        given = [] if self._next(")") else [self.either()]
        if given:
            self.words.remove(")")
        ends = {"success": not self.failed, "failure": self.failed, "cancelled": False, "always": True}
        return json.loads(given[0]) if name == "fromJSON" else ends[name]

    def _name(self, word: str) -> Any:
        value: Any = self.context
        for step in word.split("."):
            value = value.get(step, "") if isinstance(value, Mapping) else ""
        return value

    def _next(self, word: str) -> bool:
        found = self.words[:1] == [word]
        del self.words[: int(found)]
        return found


def filled(value: Any, context: Context) -> Any:
    """A value of YAML with its expressions carried out; one that is nothing else keeps its type."""
    if not isinstance(value, str):
        return value
    if whole := re.fullmatch(r"\$\{\{(.*)\}\}", value.strip(), re.DOTALL):
        return evaluate(whole[1], context)
    return _EXPRESSION.sub(lambda found: str(evaluate(found[1], context)), value)


class Died(Exception):
    """The runner: its job has failed where it was, and other jobs know nothing else of it."""


# -- jobs and steps -------------------------------------------------------------------------------------------


@dataclass
class Executor:
    root: Path
    remote: str  # the repository's URL
    github: GitHubSimulator
    secrets: Mapping[str, str]
    artifacts: dict[tuple[int, str], Path] = field(default_factory=dict)  # (run, name) → folder
    said: list[str] = field(default_factory=list)  # by all steps, in their order
    # Whether the runner dies when it comes to a step ("before"), or when what it started has ended ("after").
    dies: Callable[[str, str], bool] = lambda step, when: False
    _runs: Iterator[int] = field(default_factory=lambda: count(1_000_000))
    _running: tuple[str, subprocess.Popen[str] | None] = ("", None)  # the step, and its process
    _dead: bool = False

    def beside(self) -> Executor:
        """Another one, for a run at the same time; what runs leave for each other is shared."""
        root = self.root / f"beside-{next(self._runs)}"
        root.mkdir()
        return replace(self, root=root, said=[])

    def is_at(self, step: str) -> bool:
        """Whether it is that step which is running now."""
        return self._running[0] == step

    def kill(self) -> None:
        """The runner dies: SIGKILL to all that its step has started."""
        process, self._dead = self._running[1], True
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def run(self, name: str, event: str, commit: str, **payload: Any) -> dict[str, str]:
        """Job → success, failure or skipped, of the workflow as it is in a commit."""
        text = of_remote(self.root, self.remote, "show", f"{commit}:.github/workflows/{name}.yml")
        workflow, run = as_an_editor(text), next(self._runs)
        results: dict[str, str] = {}
        needs: dict[str, Any] = {}
        base = {"event": payload, "event_name": event, "repository": REPOSITORY, "sha": commit}
        self.said.clear()
        for key, job in workflow["jobs"].items():
            after = [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])
            context = {"github": {**base, "token": self.github.environment["GITHUB_TOKEN"]}}
            context |= {"needs": {each: needs[each] for each in after}}
            asked = str(job.get("if", "success()"))
            halted = any(results[each] != "success" for each in after)
            fine = not halted or re.search(r"(cancelled|always|failure)\(", asked)
            if not (fine and evaluate(asked, context, halted)):
                results[key], needs[key] = "skipped", {"result": "skipped", "outputs": {}}
                continue
            matrix = filled(job.get("strategy", {}).get("matrix", {"include": [{}]}), context)
            ends = [
                self._lives(name, workflow, job, {**context, "matrix": each}, run, event) for each in matrix["include"]
            ]
            results[key] = "success" if all(end for end, _ in ends) else "failure"
            needs[key] = {"result": results[key], "outputs": ends[-1][1] if ends else {}}
        return results

    def _lives(self, *job: Any) -> tuple[bool, dict[str, Any]]:
        """A job, on a runner that may die."""
        self._dead = False
        try:
            return self._job(*job)
        except Died:
            return False, {}

    def _job(
        self, name: str, workflow: Any, job: Any, context: dict[str, Any], run: int, event: str
    ) -> tuple[bool, dict[str, Any]]:
        folder = self.root / f"job-{next(self._runs)}"
        place, temp = folder / "work", folder / "temp"
        for each in (place, temp / "mspctl/bin"):
            each.mkdir(parents=True)
        context |= {"runner": {"temp": str(temp)}, "steps": {}}
        context |= {"secrets": self.secrets if "environment" in job else {}}
        failed = False
        for step in job["steps"]:
            asked = str(step.get("if", "success()"))
            asked = asked if re.search(r"(success|cancelled|always|failure)\(", asked) else f"success() && ({asked})"
            if not evaluate(asked, context, failed):
                continue
            done, outputs = self._step(name, workflow, step, context, place, temp, run, event)
            failed = failed or not done
            if "id" in step:
                context["steps"][step["id"]] = {"outputs": outputs}
        return not failed, {key: filled(value, context) for key, value in job.get("outputs", {}).items()}

    def _step(
        self, name: str, workflow: Any, step: Any, context: Context, place: Path, temp: Path, run: int, event: str
    ) -> tuple[bool, dict[str, str]]:
        if "uses" in step:
            action = step["uses"].partition("@")[0].removeprefix("actions/")
            given = {key: filled(value, context) for key, value in step.get("with", {}).items()}
            if action == "checkout":
                ref, depth = given.get("ref") or context["github"]["sha"], given.get("fetch-depth", 1)
                self._checkout(place / given.get("path", ""), ref, depth)
                return True, {}
            if action == "upload-artifact":
                return self._upload(name, given, place, run, event), {}
            assert action == "download-artifact", action
            return self._download(given, place, run), {}
        if step.get("name") == "Install mspctl":
            program = temp / "mspctl/bin/mspctl"
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mspctl "$@"\n')
            program.chmod(0o755)
            return True, {}
        files = {key: temp / key.lower() for key in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for file in files.values():
            file.touch()
        layers = {**workflow.get("env", {}), **step.get("env", {})}
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(temp),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "GITHUB_ACTIONS": "true",
            "CI": "true",
            "GITHUB_ACTOR": "tester",
            "PYTHONDONTWRITEBYTECODE": "1",
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_API_URL": self.github.address,
            "GITHUB_SHA": context["github"]["sha"],
            "RUNNER_TEMP": str(temp),
            "GITHUB_WORKSPACE": str(place),
            **{key: str(file) for key, file in files.items()},
            **{key: str(filled(value, context)) for key, value in layers.items()},
        }
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", filled(step["run"], context)]
        code = self._carried_out(str(step.get("name")), command, place, environment)
        lines = (line.partition("=") for line in files["GITHUB_OUTPUT"].read_text().splitlines())
        return code == 0, {key: value for key, _, value in lines}

    def _carried_out(self, name: str, command: list[str], place: Path, environment: Mapping[str, str]) -> int:
        if self.dies(name, "before"):
            raise Died
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, cwd=place, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        ) as process:
            self._running = name, process
            try:
                out, err = process.communicate(timeout=600)
            finally:
                self._running = "", None
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # nothing that it started outlives it
        self.said.append(f"{name} ({process.returncode})\n{out}{err}")
        if self._dead or self.dies(name, "after"):
            raise Died
        return process.returncode

    # -- stand-ins for actions

    def _checkout(self, folder: Path, ref: str, depth: int) -> None:
        """As many commits as are asked for; 0 means all."""
        subprocess.run(["git", "init", "--quiet", folder], check=True)
        for args in (
            ("remote", "add", "origin", self.remote),
            ("fetch", "--quiet", *([f"--depth={depth}"] if depth else []), "origin", ref),
            ("checkout", "--quiet", "FETCH_HEAD"),
        ):
            subprocess.run(["git", *args], cwd=folder, check=True, capture_output=True)

    def _upload(self, name: str, given: Mapping[str, str], place: Path, run: int, event: str) -> bool:
        files = [f for pattern in given["path"].split() for f in sorted(glob.glob(pattern, root_dir=place))]
        found = [place / file for file in files]
        found = [each for file in found for each in (sorted(file.rglob("*")) if file.is_dir() else [file])]
        if not found:
            return given.get("if-no-files-found") == "ignore"
        folder = self.root / f"artifact-{next(self._runs)}"
        folder.mkdir()
        for file in found:
            shutil.copy(file, folder)
        if given["name"].startswith("reviewed-"):
            with self.github.lock:
                run = self.github.artifact(given["name"], f".github/workflows/{name}.yml", event)
        self.artifacts[run, given["name"]] = folder
        return True

    def _download(self, given: Mapping[str, str], place: Path, run: int) -> bool:
        wanted = re.escape(given.get("name") or given["pattern"]).replace(r"\*", ".*")
        of = int(given.get("run-id") or run)
        found = [folder for (made, name), folder in self.artifacts.items() if made == of and re.fullmatch(wanted, name)]
        for folder in found:
            shutil.copytree(folder, place / given["path"], dirs_exist_ok=True)
        return bool(found) or "name" not in given
