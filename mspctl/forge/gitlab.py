"""
GitLab, through its REST API v4: the few calls that mspctl makes, each as GitLab documents it.

A merge request is a Pull here, a note a Comment. The token is one of the project (Maintainer: it pushes to the
protected branch `ledger`), because what a job gets by itself, CI_JOB_TOKEN, may write neither notes nor issues.

A plan is kept as the artifact of a job on the protected branch. Where it is stands in a status of the merge request's
last commit, which anybody may set who may push; so it is believed only of a job that says the same, of a pipeline that
is the branch's own, on a commit of that branch.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from mspctl.errors import InputError, TargetError, Unreachable
from mspctl.forge import PLANNED, Approval, Artifact, Check, Comment, Issue, Pull, Running
from mspctl.forge.rest import moment, pages
from mspctl.secrets import Secret
from mspctl.transports.http import READS, Http, Refused, Settings, making_sense

API = "https://gitlab.com/api/v4"
WRITES = 30  # the access level of a Developer, who may push branches
RULES = 40  # of a Maintainer, as the project's own token is
STATUS = "mspctl/plan"  # of a commit: where its plan is kept
NEVER = datetime.min.replace(tzinfo=UTC)
PAYLOAD = "TRIGGER_PAYLOAD"  # the variable that holds what a webhook said
# An edit sets what it says and a delete takes away what it names: twice is as good as once.
REPEATED = READS | {"PUT", "DELETE"}

_PROJECT = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)+", re.ASCII)
_JOB = re.compile(r"/-/jobs/(\d+)", re.ASCII)
_PIPELINE = re.compile(r"/-/pipelines/(\d+)", re.ASCII)
_OVER = frozenset({"success", "failed", "canceled", "skipped", "manual"})  # of a pipeline: nothing of it runs
_KEPT = re.compile(r"reviewed-(\d+)-([0-9a-f]{40,64})", re.ASCII)
# A line that begins like this would be carried out, by whoever posts it: /merge, /close, /approve.
_ACTION, _DEFUSED = re.compile(r"^/(?=\w)", re.MULTILINE), re.compile("^\u200b/", re.MULTILINE)


def is_named(environment: Mapping[str, str]) -> bool:
    """Whether it is GitLab that an environment is about."""
    here = bool(environment.get("CI_PROJECT_PATH")) and not environment.get("GITHUB_REPOSITORY")
    return environment.get("GITLAB_CI") == "true" or here


def from_environment(environment: Mapping[str, str]) -> GitLab:
    """As a job finds it there, or whoever exports CI_PROJECT_PATH and GITLAB_TOKEN. Raises InputError."""
    token = environment.get("GITLAB_TOKEN", "")
    project = environment.get("CI_PROJECT_PATH", "")
    if not token:
        raise InputError.at("", "GITLAB_TOKEN is not set (a token of the project, as a protected variable)")
    if not _PROJECT.fullmatch(project):
        raise InputError.at("", f"CI_PROJECT_PATH is {project!r} (write GROUP/NAME)")
    main = environment.get("CI_DEFAULT_BRANCH") or "main"
    return GitLab(environment.get("CI_API_V4_URL") or API, project, Secret("GITLAB_TOKEN", token.encode()), main)


class GitLab:
    plans, sign, each_alone = "reviewed", "!", False

    def __init__(self, address: str, project: str, token: Secret, main: str, settings: Settings | None = None) -> None:
        self._http = Http(
            address, lambda: {"PRIVATE-TOKEN": token.reveal_text()}, settings or Settings(), Path(), REPEATED
        )
        self._project = f"/projects/{quote(project, safe='')}"
        self.main = main
        self._where = "merge_requests"
        self._of: dict[int, str] = {}  # note → the path it is changed at

    # -- notes and issues

    def on_issues(self) -> GitLab:
        same = copy.copy(self)
        same._where = "issues"
        return same

    def comments(self, number: int) -> Sequence[Comment]:
        path = f"/{self._where}/{number}/notes"
        with making_sense("GitLab", "notes"):
            found = [each for each in self._pages(path) if not each["system"] and self._believed(each)]
            self._of |= {int(each["id"]): f"{path}/{int(each['id'])}" for each in found}
            return [Comment(int(each["id"]), _as_written(each["body"]), self._level(each) >= RULES) for each in found]

    def comment(self, number: int, body: str) -> Comment:
        path = f"/{self._where}/{number}/notes"
        with making_sense("GitLab", "a note"):
            made = int(self._call("POST", path, {"body": _defused(body)})["id"])
            self._of[made] = f"{path}/{made}"
            return Comment(made, body)

    def edit_comment(self, comment: int, body: str) -> None:
        self._call("PUT", self._of[comment], {"body": _defused(body)})

    def delete_comment(self, comment: int) -> None:
        try:
            self._call("DELETE", self._of[comment])
        except Refused as error:
            if error.status != 404:  # it is gone
                raise

    def issues(self, labels: Collection[str]) -> Sequence[Issue]:
        """Open ones that have all of these labels."""
        with making_sense("GitLab", "issues"):
            asked = self._pages("/issues", state="opened", labels=",".join(labels))
            return [_issue(each) for each in asked if self._believed(each)]

    def open_issue(self, title: str, body: str, labels: Collection[str]) -> Issue:
        with making_sense("GitLab", "an issue"):
            said = {"title": title, "description": _defused(body), "labels": ",".join(labels)}
            return Issue(int(self._call("POST", "/issues", said)["iid"]), title, body, tuple(labels))

    def edit_issue(self, number: int, *, title: str, body: str, open: bool) -> None:
        said = {"title": title, "description": _defused(body)} | ({} if open else {"state_event": "close"})
        self._call("PUT", f"/issues/{number}", said)

    @cached_property
    def _levels(self) -> Mapping[int, int]:
        """What members may; programs are members too."""
        with making_sense("GitLab", "members"):
            return {int(m["id"]): int(m["access_level"]) for m in self._pages("/members/all")}

    def _level(self, said: Mapping[str, Any]) -> int:
        return self._levels.get(int((said.get("author") or {}).get("id") or 0), 0)

    def _believed(self, said: Mapping[str, Any]) -> bool:
        return self._level(said) >= WRITES

    # -- merge requests, and what their plans left

    def pull(self, number: int) -> Pull:
        with making_sense("GitLab", "a merge request"):
            return _pull(self._call("GET", f"/merge_requests/{number}"))

    def pulls_of(self, commit: str) -> Sequence[Pull]:
        return self._pulls(f"/repository/commits/{quote(commit, safe='')}/merge_requests")

    def pulls(self, base: str) -> Sequence[Pull]:
        return self._pulls("/merge_requests", state="opened", target_branch=base)

    def pulls_from(self, branch: str) -> Sequence[Pull]:
        return self._pulls("/merge_requests", state="all", source_branch=branch)

    def _pulls(self, path: str, **asked: str) -> Sequence[Pull]:
        with making_sense("GitLab", "merge requests"):
            return [*map(_pull, self._pages(path, **asked))]

    def files_of(self, number: int) -> Sequence[str]:
        with making_sense("GitLab", "the files of a merge request"):
            found = [*self._pages(f"/merge_requests/{number}/diffs")]
            return [*dict.fromkeys(str(each[key]) for each in found for key in ("new_path", "old_path"))]

    def open_pull(self, title: str, body: str, branch: str, base: str) -> Pull:
        """The open one of this branch, else a new one."""
        for pull in self._pulls("/merge_requests", state="opened", source_branch=branch, target_branch=base):
            if not pull.fork:
                return pull
        with making_sense("GitLab", "a merge request"):
            said = {"title": title, "description": _defused(body), "source_branch": branch, "target_branch": base}
            return _pull(self._call("POST", "/merge_requests", said))

    def edit_pull(self, number: int, *, title: str, body: str) -> None:
        self._call("PUT", f"/merge_requests/{number}", {"title": title, "description": _defused(body)})

    def checks(self, commit: str) -> Sequence[Check]:
        """The last word of each job and of everybody else who said one."""
        with making_sense("GitLab", "statuses"):
            found = self._pages(f"/repository/commits/{quote(commit, safe='')}/statuses")
            return [Check(str(each["name"]), int(each.get("pipeline_id") or 0), _good(each)) for each in found]

    def merge(self, number: int, head: str) -> None:
        try:
            self._call("PUT", f"/merge_requests/{number}/merge", {"sha": head})
        except Refused:
            if not self.pull(number).merged:  # by the request before, whose answer was lost
                raise

    def approvals(self, number: int) -> Sequence[Approval]:
        """Those that count now. When each was given GitLab tells in a note of its own."""
        with making_sense("GitLab", "approvals"):
            given = self._call("GET", f"/merge_requests/{number}/approvals")["approved_by"]
            notes = [*self._pages(f"/merge_requests/{number}/notes", sort="asc")] if given else []
            mine = [each for each in notes if each["system"] and str(each["body"]).startswith("approved this")]
            when = {int(each["author"]["id"]): moment(each["created_at"]) for each in mine}
            users = [each["user"] for each in given]
            # One of which nobody knows when it was given was given for no plan that we know.
            return [Approval(int(u["id"]), str(u["username"]), when.get(int(u["id"]), NEVER)) for u in users]

    def dismiss(self, number: int, approval: int, why: str) -> None:
        """GitLab takes back all of them or none, for a token of the project."""
        try:
            self._call("PUT", f"/merge_requests/{number}/reset_approvals")
        except Refused as error:
            raise TargetError(f"GitLab does not take approvals back ({error.status})") from None

    def artifacts(self, name: str) -> Sequence[Artifact]:
        """The newest first; `name` is `reviewed-NUMBER-COMMIT`, and so is the name of the job."""
        found = _KEPT.fullmatch(name)
        if not found:
            return []
        with making_sense("GitLab", "plans"):
            said = self._pages(f"/repository/commits/{found[2]}/statuses", name=STATUS, all="true")
            jobs = {int(job[1]) for each in said if (job := _JOB.search(str(each.get("target_url") or "")))}
            made = ((job, self._made(job, name)) for job in sorted(jobs, reverse=True))
            return [Artifact(name, job, self.plans, PLANNED, when) for job, when in made if when]

    def _made(self, number: int, name: str) -> datetime | None:
        """When a job kept a plan of that name; None unless it is the protected branch's, whose commits say what ran."""
        try:
            job = self._call("GET", f"/jobs/{number}")
            pipeline = self._call("GET", f"/pipelines/{int(job['pipeline']['id'])}")
            if (job["name"], job["status"], bool(job["tag"]), job["ref"]) != (name, "success", False, self.main):
                return None
            if (pipeline["source"], pipeline["ref"]) != ("parent_pipeline", self.main):
                return None
            asked = urlencode([("refs[]", self.main), ("refs[]", str(pipeline["sha"]))])
            if self._call("GET", f"/repository/merge_base?{asked}")["id"] != pipeline["sha"]:
                return None
            return moment(job["finished_at"])
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def rerun(self, run: int) -> None:
        """The merge request that a job kept the plan of is planned once more, as its webhook has it done."""
        with making_sense("GitLab", "a job"):
            found = _KEPT.fullmatch(str(self._call("GET", f"/jobs/{run}")["name"]))
        if not found:
            raise TargetError(f"the job {run} kept no plan")
        if self._is_planned_now(found[2]):
            raise Running("its plan is being made just now")
        said = {"object_kind": "merge_request", "object_attributes": {"iid": int(found[1]), "action": "reopen"}}
        payload = {"key": PAYLOAD, "variable_type": "file", "value": json.dumps(said)}
        self._call("POST", "/pipeline", {"ref": self.main, "variables": [payload]})

    def _is_planned_now(self, commit: str) -> bool:
        """By its status, which may be of a pipeline that died: so that is asked, and has to be one of ours."""
        with making_sense("GitLab", "statuses"):
            said = [*self._pages(f"/repository/commits/{commit}/statuses", name=STATUS, all="true")]
            last = max(said, key=lambda each: int(each["id"]), default={})
            found = _PIPELINE.search(str(last.get("target_url") or ""))
            if last.get("status") != "running" or not found:
                return False
            try:
                pipeline = self._call("GET", f"/pipelines/{int(found[1])}")
            except Refused as error:
                if error.status == 404:
                    return False
                raise
            return bool(pipeline["ref"] == self.main and pipeline["status"] not in _OVER)

    # -- what other forges do by themselves

    def file_of(self, job: int, path: str) -> bytes:
        """One file of a job's artifacts."""
        return self._request("GET", f"/jobs/{job}/artifacts/{quote(path)}")

    def status(self, commit: str, *, state: str, text: str, url: str) -> None:
        """What the merge request shows of its plan: `state` is running, success or failed."""
        said = {"state": state, "name": STATUS, "description": text[:255], "target_url": url}
        try:
            self._call("POST", f"/statuses/{quote(commit, safe='')}", said)
        except Refused as error:
            if state != "running" or error.status != 400:  # it is running already, of a run that died
                raise

    # -- how it is asked

    def _pages(self, path: str, **asked: str) -> Iterator[dict[str, Any]]:
        return pages(partial(self._call, "GET"), path, **asked)

    def _call(self, method: str, path: str, body: object = None) -> Any:
        try:
            return self._http.call(method, self._project + path, body)
        except Refused as error:
            raise _unsure(error) from None

    def _request(self, method: str, path: str) -> bytes:
        try:
            return self._http.request(method, self._project + path)
        except Refused as error:
            raise _unsure(error) from None


def _unsure(error: Refused) -> TargetError:
    return Unreachable(str(error)) if error.status >= 500 else error  # it may have been done


def _defused(text: str) -> str:
    return _ACTION.sub("\u200b/", text)


def _as_written(text: object) -> str:
    return _DEFUSED.sub("/", str(text or ""))


def _issue(said: Mapping[str, Any]) -> Issue:
    labels = [str(each) for each in said.get("labels") or ()]
    text = _as_written(said.get("description"))
    return Issue(int(said["iid"]), str(said["title"]), text, labels, said["state"] == "opened")


def _pull(said: Mapping[str, Any]) -> Pull:
    merged, fork = said["state"] == "merged", said["source_project_id"] != said["target_project_id"]
    texts = (str(said["title"]), str(said["sha"] or ""), merged, _as_written(said.get("description")))
    where = (str(said["source_branch"]), said["state"] == "opened", fork, str(said["target_branch"]))
    at = moment(said["merged_at"]) if said.get("merged_at") else None
    return Pull(int(said["iid"]), *texts, *where, at)


def _good(said: Mapping[str, Any]) -> bool | None:
    if said["status"] in ("success", "skipped") or (said.get("allow_failure") and said["status"] == "failed"):
        return True
    return False if said["status"] in ("failed", "canceled") else None
