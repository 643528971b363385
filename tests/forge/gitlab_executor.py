"""
Carries out pipelines of GitLab on this machine: what is committed, in its order, with its rules.

It is not GitLab and not its runner. It knows what our pipelines use: local includes, `extends`, `default`, `workflow`
and `rules` with `if` and `exists`, `needs`, `when: always`, variables and their precedence, protected variables and
those of an environment, artifacts and dotenv reports, and child pipelines of an artifact. The scripts run in sh, in a
clone of their own; where they install the program, the one that is tested is there. It does not know tags, images,
services, caches, stages, resource groups, retries, time limits, permissions of tokens (the simulator's can do
everything), masking, what expires, nor anything side by side; nor does it make pipelines of forks: they run over there.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.forge.clone import of_remote
from tests.servers.gitlab import PROJECT, WHEN, GitLabSimulator
from tests.test_schema import as_an_editor

KEYWORDS = {"include", "workflow", "default", "variables", "stages"}
_REFERENCE = re.compile(r"\$(\$|\w+|\{\w+\})")
_TERM = re.compile(r'\s*(?:(\$\w+)|"([^"]*)")\s*')
Variables = Mapping[str, str]


@dataclass(frozen=True)
class Secret:
    """A variable of the project."""

    value: str
    scope: str = ""  # an environment; "": all jobs
    protected: bool = True


# -- reading --------------------------------------------------------------------------------------------------


def merged(lower: Any, upper: Any) -> Any:
    """Maps are merged, everything else is replaced: as includes and `extends` do it."""
    if not (isinstance(lower, dict) and isinstance(upper, dict)):
        return upper
    return {**lower, **{key: merged(lower.get(key), value) for key, value in upper.items()}}


def holds(rule: str, variables: Variables) -> bool:
    """The `if` of a rule: `==` and `!=`, `&&` and `||`. Anything else is refused."""

    def one(text: str) -> str:
        found = _TERM.fullmatch(text)
        if not found:
            raise ValueError(f"{text!r} is more than this executor understands")
        return variables.get(found[1][1:], "") if found[1] else found[2]

    def term(text: str) -> bool:
        for sign in ("==", "!="):
            if sign in text:
                left, right = text.split(sign)
                return (one(left) == one(right)) is (sign == "==")
        return bool(one(text))

    return any(all(term(part) for part in either.split("&&")) for either in rule.split("||"))


def filled(text: str, variables: Variables) -> str:
    def value(found: re.Match[str]) -> str:
        return "$" if found[1] == "$" else variables.get(found[1].strip("{}"), "")

    return _REFERENCE.sub(value, text)


# -- carrying out ---------------------------------------------------------------------------------------------


@dataclass
class Job:
    number: int
    result: str
    kept: Path
    dotenv: dict[str, str]


@dataclass
class Executor:
    root: Path
    remote: str  # the repository's URL
    gitlab: GitLabSimulator
    secrets: Sequence[tuple[str, Secret]]
    said: list[str] = field(default_factory=list)  # by all jobs, in their order
    children: list[Any] = field(default_factory=list)  # configurations of child pipelines
    _places: Iterator[int] = field(default_factory=count)

    def run(self, source: str, commit: str, ref: str = "main", **variables: str) -> dict[str, str]:
        """Job → success, failed or skipped, those of child pipelines too, of what a commit says."""
        self.said.clear()
        self.children.clear()
        config = as_an_editor(self.show(commit, ".gitlab-ci.yml"))
        return self._pipeline(config, source, commit, ref, variables)

    def show(self, commit: str, path: str) -> str:
        return of_remote(self.root, self.remote, "show", f"{commit}:{path}")

    def _pipeline(
        self, config: Any, source: str, commit: str, ref: str, given: Variables, before: str = ""
    ) -> dict[str, str]:
        included = [as_an_editor(self.show(commit, each["local"])) for each in config.get("include", ())]
        for each in [*reversed(included)]:
            config = merged(each, config)
        number = self.gitlab.number()
        self.gitlab.pipelines[number] = {"id": number, "source": source, "ref": ref, "sha": commit, "status": "success"}
        predefined = self._predefined(source, commit, ref, number, before or given.get("CI_COMMIT_BEFORE_SHA", ""))
        rules = config.get("workflow", {}).get("rules")
        if rules and not any(holds(rule["if"], {**predefined, **given}) for rule in rules):
            return {}
        jobs = {name: self._extended(config, name) for name in config if name not in KEYWORDS and name[0] != "."}
        jobs = {name: job for name, job in jobs.items() if self._wanted(job, {**predefined, **given}, commit)}
        ended: dict[str, Job] = {}
        results: dict[str, str] = {}
        for name in _ordered(jobs):
            job = jobs[name]
            after = [ended[each] for each in job.get("needs", ())]
            fine = all(each.result == "success" for each in after) or job.get("when") == "always"
            if not fine:
                ended[name] = Job(0, "skipped", self._place(), {})
            elif "trigger" in job:
                child = as_an_editor((after[0].kept / job["trigger"]["include"][0]["artifact"]).read_text())
                self.children.append(child)
                found = self._pipeline(child, "parent_pipeline", commit, ref, {})
                ended[name] = Job(0, "failed" if "failed" in found.values() else "success", self._place(), {})
                results |= found
            else:
                ended[name] = self._job(name, job, config, predefined, given, after, number)
            results[name] = ended[name].result
        return results

    def _job(
        self,
        name: str,
        job: Any,
        config: Any,
        predefined: Variables,
        given: Variables,
        after: Sequence[Job],
        pipeline: int,
    ) -> Job:
        place, number = self._place(), self.gitlab.number()
        subprocess.run(["git", "clone", "--quiet", self.remote, place], check=True, capture_output=True)
        checkout = ["git", "checkout", "--quiet", "--detach", predefined["CI_COMMIT_SHA"]]
        subprocess.run(checkout, cwd=place, check=True)
        dotenv: dict[str, str] = {}
        for each in after:
            shutil.copytree(each.kept, place, dirs_exist_ok=True)
            dotenv |= each.dotenv
        variables = self._variables(job, config, {**predefined, "CI_JOB_ID": str(number)}, given, dotenv, place, number)
        state = {"id": number, "name": name, "status": "running", "tag": False, "ref": predefined["CI_COMMIT_REF_NAME"]}
        self.gitlab.jobs[number] = {**state, "pipeline": {"id": pipeline}, "finished_at": WHEN}
        lines = [*config["default"]["before_script"], *job["script"]] if "default" in config else job["script"]
        done = self._script(lines, place, variables)
        self.said.append(f"{name} ({done.returncode})\n{done.stdout}{done.stderr}")
        result = "success" if done.returncode == 0 else "failed"
        self.gitlab.jobs[number]["status"] = result
        kept = self._keep(job.get("artifacts", {}), place, failed=result == "failed")
        self.gitlab.kept[number] = kept
        reports = job.get("artifacts", {}).get("reports", {})
        found = (
            (place / reports["dotenv"]).read_text().splitlines() if "dotenv" in reports and done.returncode == 0 else []
        )
        return Job(number, result, kept, dict(line.split("=", 1) for line in found))

    def _script(self, lines: Sequence[str], place: Path, variables: Variables) -> subprocess.CompletedProcess[str]:
        program = place / ".venv/bin/mspctl"
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mspctl "$@"\n')
        program.chmod(0o755)
        script = "\n".join(["set -e", *(line for line in lines if "requirements/install" not in line)])
        command = ["sh", "-c", script]
        return subprocess.run(command, cwd=place, env=dict(variables), capture_output=True, text=True, timeout=300)

    def _variables(
        self,
        job: Any,
        config: Any,
        predefined: Variables,
        given: Variables,
        dotenv: Variables,
        place: Path,
        number: int,
    ) -> dict[str, str]:
        """From the lowest precedence to the highest."""
        own = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._place()),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "CI_PROJECT_DIR": str(place),
            "CI_JOB_URL": f"https://gitlab.invalid/{PROJECT}/-/jobs/{number}",
        }
        found = {**own, **predefined}
        for layer in (config.get("variables", {}), job.get("variables", {})):
            for name, value in layer.items():
                as_is = isinstance(value, dict) and value.get("expand") in (False, "false")
                text = value["value"] if isinstance(value, dict) else value
                found[name] = text if as_is else filled(text, found)
        scope, protected = job.get("environment", {}).get("name", ""), predefined["CI_COMMIT_REF_PROTECTED"] == "true"
        mine = {n: s.value for n, s in self.secrets if s.scope in ("", scope) and (protected or not s.protected)}
        found |= {**dotenv, **mine}
        for name, value in given.items():
            if name == "TRIGGER_PAYLOAD":  # a variable of the type file
                file = self._place() / name
                file.write_text(value)
            found[name] = str(file) if name == "TRIGGER_PAYLOAD" else value
        return found

    def _predefined(self, source: str, commit: str, ref: str, number: int, before: str) -> dict[str, str]:
        protected = ref == "main"
        asked = source == "merge_request_event"
        return {
            "CI": "true",
            "GITLAB_CI": "true",
            "GITLAB_USER_LOGIN": "tester",
            "CI_API_V4_URL": self.gitlab.address,
            "CI_PROJECT_PATH": PROJECT,
            "CI_PROJECT_URL": self.remote.removesuffix(".git"),
            "CI_SERVER_URL": self.remote.rpartition("/msp/")[0],
            "CI_DEFAULT_BRANCH": "main",
            "CI_PIPELINE_SOURCE": source,
            "CI_PIPELINE_ID": str(number),
            "CI_PIPELINE_URL": f"https://gitlab.invalid/{PROJECT}/-/pipelines/{number}",
            "CI_COMMIT_SHA": commit,
            "CI_COMMIT_BEFORE_SHA": before or "0" * 40,
            "CI_COMMIT_REF_NAME": ref,
            "CI_COMMIT_REF_PROTECTED": "true" if protected else "false",
            **({} if asked else {"CI_COMMIT_BRANCH": ref}),
        }

    def _extended(self, config: Any, name: str) -> Any:
        job = config[name]
        if "extends" not in job:
            return job
        lower = self._extended(config, job["extends"])
        return {key: value for key, value in merged(lower, job).items() if key != "extends"}

    def _wanted(self, job: Any, variables: Variables, commit: str) -> bool:
        def one(rule: Any) -> bool:
            if "exists" in rule:
                return any(
                    path in of_remote(self.root, self.remote, "ls-tree", "-r", "--name-only", commit)
                    for path in rule["exists"]
                )
            return holds(rule["if"], variables)

        return not job.get("rules") or any(map(one, job["rules"]))

    def _keep(self, artifacts: Any, place: Path, *, failed: bool) -> Path:
        kept = self._place()
        if failed and artifacts.get("when") != "always":
            return kept
        for pattern in artifacts.get("paths", ()):
            for found in glob.glob(pattern, root_dir=place):
                target = kept / found
                target.parent.mkdir(parents=True, exist_ok=True)
                if (place / found).is_dir():
                    shutil.copytree(place / found, target)
                else:
                    shutil.copy(place / found, target)
        return kept

    def _place(self) -> Path:
        folder = self.root / f"place-{next(self._places)}"
        folder.mkdir()
        return folder


def _ordered(jobs: Mapping[str, Any]) -> list[str]:
    """Who is needed comes first; what is needed and not there is an error, as there."""
    found: list[str] = []
    while len(found) < len(jobs):
        ready = [name for name in jobs if name not in found and {*jobs[name].get("needs", ())} <= {*found}]
        if not ready:
            raise ValueError(f"jobs need what is not there: {json.dumps(sorted({*jobs} - {*found}))}")
        found += ready
    return found
