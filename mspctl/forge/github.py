"""
GitHub, through its REST API: the few calls that mspctl makes, each as GitHub's description of the API has it.

A token may do what its job may: comments and issues need `issues: write` and `pull-requests: write`, artifacts
`actions: read`. When GitHub counts too many calls it answers 403 or 429 and says when to come again, and that is waited
for unless it is long.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mspctl.errors import InputError, TargetError, Unreachable
from mspctl.forge import Approval, Artifact, Check, Comment, Issue, Pull, Running
from mspctl.forge.rest import PAGE, moment, pages
from mspctl.secrets import Secret
from mspctl.transports.http import FORBIDDEN, MOST_SAID, READS, Http, Refused, Settings, making_sense

API = "https://api.github.com"
VERSION = "2022-11-28"
TRUSTED = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})
# An edit sets what it says and a delete takes away what it names: twice is as good as once.
REPEATED = READS | {"PATCH", "DELETE"}

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+", re.ASCII)


def from_environment(environment: Mapping[str, str]) -> GitHub:
    """As a job finds it there, or whoever exports GITHUB_REPOSITORY and GITHUB_TOKEN. Raises InputError."""
    token = environment.get("GITHUB_TOKEN") or environment.get("GH_TOKEN") or ""
    repository = environment.get("GITHUB_REPOSITORY", "")
    if not token:
        raise InputError.at("", "GITHUB_TOKEN is not set (a job has it as github.token; or gh auth token)")
    if not _REPOSITORY.fullmatch(repository):
        raise InputError.at("", f"GITHUB_REPOSITORY is {repository!r} (write OWNER/NAME)")
    return GitHub(environment.get("GITHUB_API_URL") or API, repository, Secret("GITHUB_TOKEN", token.encode()))


class GitHub:
    plans, sign, each_alone = ".github/workflows/plan.yml", "#", True

    def __init__(self, address: str, repository: str, token: Secret, settings: Settings | None = None) -> None:
        self._http = Http(
            address,
            lambda: {
                "Authorization": f"Bearer {token.reveal_text()}",
                "Accept": "application/vnd.github+json",
                "X-GitHub-Api-Version": VERSION,
            },
            settings or Settings(),
            Path(),
            REPEATED,
        )
        self._repo = f"/repos/{repository}"
        self._owner = repository.partition("/")[0]

    # -- comments and issues

    def on_issues(self) -> GitHub:
        return self

    def comments(self, number: int) -> Sequence[Comment]:
        with making_sense("GitHub", "comments"):
            found = [each for each in self._pages(f"/issues/{number}/comments") if _believed(each)]
            return [Comment(int(each["id"]), str(each.get("body") or ""), _is_program(each)) for each in found]

    def comment(self, number: int, body: str) -> Comment:
        with making_sense("GitHub", "a comment"):
            made = self._call("POST", f"/issues/{number}/comments", {"body": body})
            return Comment(int(made["id"]), body)

    def edit_comment(self, comment: int, body: str) -> None:
        self._call("PATCH", f"/issues/comments/{comment}", {"body": body})

    def delete_comment(self, comment: int) -> None:
        try:
            self._call("DELETE", f"/issues/comments/{comment}")
        except Refused as error:
            if error.status != 404:  # it is gone
                raise

    def issues(self, labels: Collection[str]) -> Sequence[Issue]:
        """Open ones that have all of these labels."""
        with making_sense("GitHub", "issues"):
            asked = self._pages("/issues", state="open", labels=",".join(labels))
            return [_issue(each) for each in asked if "pull_request" not in each and _believed(each)]

    def open_issue(self, title: str, body: str, labels: Collection[str]) -> Issue:
        with making_sense("GitHub", "an issue"):
            made = self._call("POST", "/issues", {"title": title, "body": body, "labels": [*labels]})
            return Issue(int(made["number"]), title, body, tuple(labels))

    def edit_issue(self, number: int, *, title: str, body: str, open: bool) -> None:
        state = {"state": "open"} if open else {"state": "closed", "state_reason": "completed"}
        self._call("PATCH", f"/issues/{number}", {"title": title, "body": body, **state})

    # -- pull requests, and what their plans left

    def pull(self, number: int) -> Pull:
        with making_sense("GitHub", "a pull request"):
            return _pull(self._call("GET", f"/pulls/{number}"))

    def pulls_of(self, commit: str) -> Sequence[Pull]:
        with making_sense("GitHub", "pull requests"):
            return [_pull(each) for each in self._pages(f"/commits/{quote(commit, safe='')}/pulls")]

    def pulls(self, base: str) -> Sequence[Pull]:
        with making_sense("GitHub", "pull requests"):
            return [*map(_pull, self._pages("/pulls", state="open", base=base))]

    def pulls_from(self, branch: str) -> Sequence[Pull]:
        with making_sense("GitHub", "pull requests"):
            return [*map(_pull, self._pages("/pulls", state="all", head=f"{self._owner}:{branch}"))]

    def files_of(self, number: int) -> Sequence[str]:
        with making_sense("GitHub", "the files of a pull request"):
            found = [*self._pages(f"/pulls/{number}/files")]
            return [str(each[key]) for each in found for key in ("filename", "previous_filename") if each.get(key)]

    def edit_pull(self, number: int, *, title: str, body: str) -> None:
        self._call("PATCH", f"/pulls/{number}", {"title": title, "body": body})

    def checks(self, commit: str) -> Sequence[Check]:
        with making_sense("GitHub", "checks"):
            return [*map(_check, self._pages(f"/commits/{quote(commit, safe='')}/check-runs", "check_runs"))]

    def merge(self, number: int, head: str) -> None:
        self._call("PUT", f"/pulls/{number}/merge", {"sha": head})

    def approvals(self, number: int) -> Sequence[Approval]:
        with making_sense("GitHub", "reviews"):
            found = [*self._pages(f"/pulls/{number}/reviews")]
            return [
                Approval(int(each["id"]), str((each.get("user") or {}).get("login")), moment(each["submitted_at"]))
                for each in found
                if each["state"] == "APPROVED" and _believed(each)
            ]

    def dismiss(self, number: int, approval: int, why: str) -> None:
        try:
            self._call("PUT", f"/pulls/{number}/reviews/{approval}/dismissals", {"message": why, "event": "DISMISS"})
        except Refused as error:
            raise TargetError(f"GitHub does not dismiss it: {_said(error)}") from None

    def rerun(self, run: int) -> None:
        try:
            self._call("POST", f"/actions/runs/{run}/rerun", {})
        except Refused as error:
            if error.status == FORBIDDEN and self._call("GET", f"/actions/runs/{run}")["status"] != "completed":
                raise Running("its plan is being made just now") from None
            raise TargetError(f"GitHub does not run its plan again: {_said(error)}") from None

    def open_pull(self, title: str, body: str, branch: str, base: str) -> Pull:
        """The open one of this branch, else a new one."""
        with making_sense("GitHub", "a pull request"):
            for each in self._pages("/pulls", state="open", head=f"{self._owner}:{branch}", base=base):
                return _pull(each)
            said = {"title": title, "body": body, "head": branch, "base": base}
            return _pull(self._call("POST", "/pulls", said))

    def artifacts(self, name: str) -> Sequence[Artifact]:
        """The newest first; without those that are deleted already."""
        with making_sense("GitHub", "artifacts"):
            found = [each for each in self._pages("/actions/artifacts", "artifacts", name=name) if not each["expired"]]
            runs = {int(each["workflow_run"]["id"]) for each in found if each.get("workflow_run")}
            of = {run: self._call("GET", f"/actions/runs/{run}") for run in sorted(runs, reverse=True)[:PAGE]}
            return [
                Artifact(
                    str(each["name"]),
                    run,
                    str(of[run]["path"]).partition("@")[0],
                    str(of[run]["event"]),
                    moment(each["created_at"]),
                )
                for each in found
                if (run := int((each.get("workflow_run") or {}).get("id", 0))) in of
            ]

    # -- how it is asked

    def _pages(self, path: str, within: str = "", **asked: str) -> Iterator[dict[str, Any]]:
        return pages(partial(self._call, "GET"), path, within, **asked)

    def _call(self, method: str, path: str, body: object = None) -> Any:
        try:
            return self._http.call(method, self._repo + path, body)
        except Refused as error:
            if error.status >= 500:  # it may have been done
                raise Unreachable(str(error)) from None
            if error.status == 403 and b"rate limit" in error.content:  # the secondary one may not say until when
                raise Unreachable("GitHub is busy: it takes no more calls for some minutes (403)") from None
            raise


def _believed(said: Mapping[str, Any]) -> bool:
    """Whether somebody wrote it who may write to the repository; a program that may was installed by one who may."""
    return _is_program(said) or said.get("author_association") in TRUSTED


def _is_program(said: Mapping[str, Any]) -> bool:
    return bool((said.get("user") or {}).get("type") == "Bot")


def _said(error: Refused) -> str:
    """The reason that an answer gives, in one line."""
    with suppress(ValueError, TypeError, KeyError):
        words = "".join(c if c.isprintable() else " " for c in str(json.loads(error.content)["message"]))
        return f"{' '.join(words.split())[:MOST_SAID]} ({error.status})"
    return str(error)


def _issue(said: Mapping[str, Any]) -> Issue:
    labels = [each if isinstance(each, str) else str(each["name"]) for each in said.get("labels") or ()]
    return Issue(int(said["number"]), str(said["title"]), str(said.get("body") or ""), labels, said["state"] == "open")


def _pull(said: Mapping[str, Any]) -> Pull:
    head, at = said["head"], moment(said["merged_at"]) if said.get("merged_at") else None
    ours = str((head.get("repo") or {}).get("id")) == str(said["base"]["repo"]["id"])
    texts = (str(said["title"]), str(head["sha"]), at is not None, str(said.get("body") or ""), str(head["ref"]))
    return Pull(int(said["number"]), *texts, said["state"] == "open", not ours, str(said["base"]["ref"]), at)


_RUN = re.compile(r"/actions/runs/(\d+)(/|$)", re.ASCII)


def _check(said: Mapping[str, Any]) -> Check:
    found = _RUN.search(str(said.get("details_url") or ""))
    good = said["conclusion"] in ("success", "neutral", "skipped") if said["status"] == "completed" else None
    return Check(str(said["name"]), int(found[1]) if found else 0, good)
