"""
A simulator of the part of GitLab's API that mspctl asks: it keeps notes, issues, merge requests and jobs in memory.

It is not GitLab. Every request is checked against ENDPOINTS, a table of our own, written from GitLab's documentation of
its REST API v4 (docs.gitlab.com/api: notes, issues, merge_requests, commits, jobs, job_artifacts, pipelines, members,
repositories): what is not named there is refused. What it answers has only the fields that its handlers make.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.servers.forge import serving

TOKEN = "a-token-of-the-project"
PROJECT = "msp/customers"
BOT, STRANGER = 1, 99
WHEN = "2027-03-05T14:02:00.000Z"
Json = dict[str, Any]
Broken = Callable[[str, str], tuple[int, dict[str, str]] | str | None]

PAGED = {"page": int, "per_page": int}
STATES = ("pending", "running", "success", "failed", "canceled", "skipped")


@dataclass(frozen=True)
class Endpoint:
    """`asked` and `body`: what may be said, and of which type, or one of which words; `needs`: what must be."""

    asked: Json = field(default_factory=dict)
    body: Json = field(default_factory=dict)
    needs: tuple[str, ...] = ()


_NOTES = {
    "GET": Endpoint({**PAGED, "sort": ("asc", "desc"), "order_by": ("created_at", "updated_at")}),
    "POST": Endpoint(body={"body": str, "internal": bool}, needs=("body",)),
}
_NOTE = {"PUT": Endpoint(body={"body": str}), "DELETE": Endpoint()}
_SAID = {"title": str, "description": str, "labels": str}
ENDPOINTS: dict[str, dict[str, Endpoint]] = {
    "/merge_requests/(n)/notes": _NOTES,
    "/issues/(n)/notes": _NOTES,
    "/merge_requests/(n)/notes/(n)": _NOTE,
    "/issues/(n)/notes/(n)": _NOTE,
    "/issues": {
        "GET": Endpoint({**PAGED, "state": ("opened", "closed", "all"), "labels": str}),
        "POST": Endpoint(body={**_SAID, "confidential": bool}, needs=("title",)),
    },
    "/issues/(n)": {"PUT": Endpoint(body={**_SAID, "state_event": ("close", "reopen")})},
    "/merge_requests": {
        "GET": Endpoint(
            {
                **PAGED,
                "state": ("opened", "closed", "locked", "merged", "all"),
                "source_branch": str,
                "target_branch": str,
            }
        ),
        "POST": Endpoint(
            body={**_SAID, "source_branch": str, "target_branch": str},
            needs=("title", "source_branch", "target_branch"),
        ),
    },
    "/merge_requests/(n)": {
        "GET": Endpoint(),
        "PUT": Endpoint(body={**_SAID, "state_event": ("close", "reopen"), "target_branch": str}),
    },
    "/merge_requests/(n)/approvals": {"GET": Endpoint()},
    "/merge_requests/(n)/reset_approvals": {"PUT": Endpoint()},
    "/merge_requests/(n)/diffs": {"GET": Endpoint(PAGED)},
    "/merge_requests/(n)/merge": {"PUT": Endpoint(body={"sha": str, "squash": bool})},
    "/repository/commits/(s)/merge_requests": {"GET": Endpoint(PAGED)},
    "/repository/commits/(s)/statuses": {
        "GET": Endpoint({**PAGED, "ref": str, "stage": str, "name": str, "all": ("true", "false")})
    },
    "/repository/merge_base": {"GET": Endpoint({"refs[]": str}, needs=("refs[]",))},
    "/statuses/(s)": {
        "POST": Endpoint(
            body={"state": STATES, "ref": str, "name": str, "description": str, "target_url": str, "pipeline_id": int},
            needs=("state",),
        )
    },
    "/members/all": {"GET": Endpoint({**PAGED, "query": str})},
    "/jobs/(n)": {"GET": Endpoint()},
    "/jobs/(n)/artifacts/(p)": {"GET": Endpoint()},
    "/pipelines/(n)": {"GET": Endpoint()},
    "/pipeline": {"POST": Endpoint(body={"ref": str, "variables": list}, needs=("ref",))},
}
_PARTS = {"n": r"(\d+)", "s": r"([^/]+)", "p": r"(.+)"}


class NotFound(Exception):
    pass


@dataclass
class GitLabSimulator:
    """`broken` says how a request goes wrong: by an answer, `lost` (it was carried out), `silent`; None: it is not."""

    address: str = ""
    issues: dict[int, Json] = field(default_factory=dict)
    notes: dict[int, Json] = field(default_factory=dict)
    requests: dict[int, Json] = field(default_factory=dict)  # merge requests
    of_commit: dict[str, list[int]] = field(default_factory=dict)  # commit → numbers of its merge requests
    statuses: list[Json] = field(default_factory=list)
    jobs: dict[int, Json] = field(default_factory=dict)
    pipelines: dict[int, Json] = field(default_factory=dict)
    kept: dict[int, Path] = field(default_factory=dict)  # job → folder of its artifacts
    files: dict[int, list[str]] = field(default_factory=dict)  # merge request → paths that it changes
    approved: dict[int, list[int]] = field(default_factory=dict)  # merge request → users
    begun: list[Json] = field(default_factory=list)  # pipelines that somebody asked for
    members: dict[int, int] = field(default_factory=lambda: {BOT: 40, STRANGER: 20})
    on_main: Callable[[str], bool] = lambda commit: True
    asked: list[tuple[str, str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # requests that GitLab would not take
    broken: Broken = lambda method, path: None
    lock: threading.RLock = field(default_factory=threading.RLock)
    _last: int = 0

    @property
    def environment(self) -> dict[str, str]:
        return {"CI_API_V4_URL": self.address, "CI_PROJECT_PATH": PROJECT, "GITLAB_TOKEN": TOKEN}

    def number(self) -> int:
        self._last += 1
        return self._last

    def request(self, head: str, branch: str = "change", *, source: int = 7, state: str = "opened") -> int:
        number = len(self.requests) + 1
        said = {"iid": number, "title": "A change", "description": None, "sha": head, "state": state}
        where = {"source_branch": branch, "target_branch": "main", "source_project_id": source, "target_project_id": 7}
        self.requests[number] = {**said, **where}
        return number

    def noted(self, kind: str, of: int, body: str, by: int = BOT) -> Json:
        number = self.number()
        # GitLab carries out lines that begin with a command, and keeps the rest.
        if re.search(r"^/[a-z_]+( |$)", body, re.MULTILINE):
            self.refused.append(f"a quick action in {body!r}")
        note = {"id": number, "body": body.replace("\r", "").rstrip(), "author": {"id": by}, "system": False}
        self.notes[number] = {**note, "_of": (kind, of)}
        return note

    def bodies(self, kind: str, of: int) -> list[str]:
        return [each["body"] for each in self.notes.values() if each["_of"] == (kind, of)]

    def job(self, name: str, *, source: str = "parent_pipeline", ref: str = "main", **more: object) -> int:
        """One that has ended; its number."""
        number, pipeline = self.number(), self.number()
        self.pipelines[pipeline] = {"id": pipeline, "source": source, "ref": ref, "sha": "c" * 40}
        said = {"id": number, "name": name, "status": "success", "tag": False, "ref": ref, "pipeline": {"id": pipeline}}
        self.jobs[number] = {**said, "finished_at": WHEN, **more}
        return number

    def planned(self, number: int, head: str, job: int) -> None:
        url = f"https://gitlab.invalid/{PROJECT}/-/jobs/{job}"
        said = {"id": self.number(), "sha": head, "name": "mspctl/plan", "status": "success", "target_url": url}
        self.statuses.append(said)

    def planning(self, head: str, status: str = "running", ref: str = "main") -> int:
        """A pipeline that plans a commit, and says so; its number."""
        number = self.number()
        self.pipelines[number] = {"id": number, "source": "trigger", "ref": ref, "sha": "c" * 40, "status": status}
        url = f"https://gitlab.invalid/{PROJECT}/-/pipelines/{number}"
        said = {"id": self.number(), "sha": head, "name": "mspctl/plan", "status": "running", "target_url": url}
        self.statuses.append(said)
        return number

    # -- what is asked

    def answer(self, method: str, path: str, body: Json | None) -> tuple[int, Any]:
        url = urlsplit(path)
        own = "/projects/" + PROJECT.replace("/", "%2F")
        if not url.path.startswith(own):
            raise ValueError("another project")
        asked = parse_qsl(url.query)
        template, found = _endpoint(method, url.path.removeprefix(own), dict(asked), body)
        with self.lock:
            result = self._handlers[method, template](self, *map(unquote, found), asked=dict(asked), body=body or {})
        if isinstance(result, list):
            size, page = int(dict(asked).get("per_page", 20)), int(dict(asked).get("page", 1))
            result = result[size * (page - 1) : size * page]
        return {"POST": 201, "DELETE": 204}.get(method, 200), result

    def _list_notes(self, kind: str, of: str) -> list[Json]:
        return [_public(each) for each in self.notes.values() if each["_of"] == (kind, int(of))]

    def _change_note(self, note: str, body: Json) -> Json:
        if int(note) not in self.notes:
            raise NotFound
        self.notes[int(note)]["body"] = body["body"].rstrip()
        return _public(self.notes[int(note)])

    def _delete_note(self, note: str) -> None:
        if self.notes.pop(int(note), None) is None:
            raise NotFound

    def _list_issues(self, asked: Json, body: Json) -> list[Json]:
        wanted = {*filter(None, asked.get("labels", "").split(","))}
        found = [i for i in self.issues.values() if asked.get("state", "all") in (i["state"], "all")]
        return [issue for issue in found if wanted <= {*issue["labels"]}]

    def _open_issue(self, asked: Json, body: Json) -> Json:
        number = len(self.issues) + 1
        labels = [*filter(None, body.get("labels", "").split(","))]
        issue = {"iid": number, "title": body["title"], "description": body.get("description"), "labels": labels}
        self.issues[number] = {**issue, "state": "opened", "author": {"id": BOT}}
        return self.issues[number]

    def _edit_issue(self, number: str, asked: Json, body: Json) -> Json:
        if int(number) not in self.issues:
            raise NotFound
        issue = self.issues[int(number)]
        issue |= {key: value for key, value in body.items() if key in ("title", "description")}
        issue["state"] = {"close": "closed", "reopen": "opened"}.get(body.get("state_event", ""), issue["state"])
        return issue

    def _list_requests(self, asked: Json, body: Json) -> list[Json]:
        found = [r for r in self.requests.values() if asked.get("state", "all") in (r["state"], "all")]
        return [r for r in found if all(asked.get(k, r[k]) == r[k] for k in ("source_branch", "target_branch"))]

    def _open_request(self, asked: Json, body: Json) -> Json:
        number = self.request("0" * 40, body["source_branch"])
        self.requests[number] |= body
        return self.requests[number]

    def _get_request(self, number: str, asked: Json, body: Json) -> Json:
        if int(number) not in self.requests:
            raise NotFound
        return self.requests[int(number)]

    def _edit_request(self, number: str, asked: Json, body: Json) -> Json:
        self.requests[int(number)] |= body
        return self.requests[int(number)]

    def _merge(self, number: str, asked: Json, body: Json) -> Json:
        found = self.requests[int(number)]
        if body.get("sha") not in (None, found["sha"]):
            raise Refusal(409, "SHA does not match HEAD of source branch")
        if found["state"] != "opened":
            raise Refusal(405, "405 Method Not Allowed")
        found["state"] = "merged"
        return found

    def _set_status(self, commit: str, asked: Json, body: Json) -> Json:
        mine = [s for s in self.statuses if (s["sha"], s["name"]) == (commit, body.get("name", "default"))]
        if mine and mine[-1]["status"] == body["state"] == "running":
            raise Refusal(400, "Cannot transition status via :run from :running")
        said = {"sha": commit, "status": body["state"], "target_url": body.get("target_url"), "pipeline_id": None}
        said |= {"id": self.number()}
        said |= {"name": body.get("name", "default"), "description": body.get("description")}
        self.statuses.append(said)
        return said

    def _list_statuses(self, commit: str, asked: Json, body: Json) -> list[Json]:
        found = [s for s in self.statuses if s["sha"] == commit and asked.get("name", s["name"]) == s["name"]]
        return found if asked.get("all") == "true" else [*{s["name"]: s for s in found}.values()]

    def _get_pipeline(self, number: str, asked: Json, body: Json) -> Json:
        if int(number) not in self.pipelines:
            raise NotFound
        return self.pipelines[int(number)]

    def _get_job(self, number: str, asked: Json, body: Json) -> Json:
        if int(number) not in self.jobs:
            raise NotFound
        return self.jobs[int(number)]

    def _get_file(self, number: str, path: str, asked: Json, body: Json) -> bytes:
        file = self.kept.get(int(number), Path("/nowhere")) / path
        if not file.is_file():
            raise NotFound
        return file.read_bytes()

    def _merge_base(self, asked: Json, body: Json) -> Json:
        commit = asked["refs[]"]
        return {"id": commit if self.on_main(commit) else "0" * 40}

    def _begin(self, asked: Json, body: Json) -> Json:
        self.begun.append(body)
        return {"id": self.number()}

    _handlers: ClassVar[dict[tuple[str, str], Callable[..., Any]]] = {
        ("GET", "/merge_requests/(n)/notes"): lambda s, n, **_: s._list_notes("merge_requests", n),
        ("GET", "/issues/(n)/notes"): lambda s, n, **_: s._list_notes("issues", n),
        ("POST", "/merge_requests/(n)/notes"): lambda s, n, body, **_: s.noted("merge_requests", int(n), body["body"]),
        ("POST", "/issues/(n)/notes"): lambda s, n, body, **_: s.noted("issues", int(n), body["body"]),
        ("PUT", "/merge_requests/(n)/notes/(n)"): lambda s, of, n, body, **_: s._change_note(n, body),
        ("PUT", "/issues/(n)/notes/(n)"): lambda s, of, n, body, **_: s._change_note(n, body),
        ("DELETE", "/merge_requests/(n)/notes/(n)"): lambda s, of, n, **_: s._delete_note(n),
        ("DELETE", "/issues/(n)/notes/(n)"): lambda s, of, n, **_: s._delete_note(n),
        ("GET", "/issues"): _list_issues,
        ("POST", "/issues"): _open_issue,
        ("PUT", "/issues/(n)"): _edit_issue,
        ("GET", "/merge_requests"): _list_requests,
        ("POST", "/merge_requests"): _open_request,
        ("GET", "/merge_requests/(n)"): _get_request,
        ("PUT", "/merge_requests/(n)"): _edit_request,
        ("GET", "/merge_requests/(n)/approvals"): lambda s, n, **_: {
            "approved_by": [{"user": {"id": user, "username": f"user-{user}"}} for user in s.approved.get(int(n), ())]
        },
        ("PUT", "/merge_requests/(n)/reset_approvals"): lambda s, n, **_: s.approved.pop(int(n), None) and {},
        ("GET", "/merge_requests/(n)/diffs"): lambda s, n, **_: [
            {"old_path": path, "new_path": path} for path in s.files.get(int(n), ())
        ],
        ("PUT", "/merge_requests/(n)/merge"): _merge,
        ("GET", "/repository/commits/(s)/merge_requests"): lambda s, commit, **_: [
            s.requests[n] for n in s.of_commit.get(commit, ())
        ],
        ("GET", "/repository/commits/(s)/statuses"): _list_statuses,
        ("GET", "/repository/merge_base"): _merge_base,
        ("POST", "/statuses/(s)"): _set_status,
        ("GET", "/members/all"): lambda s, **_: [{"id": i, "access_level": level} for i, level in s.members.items()],
        ("GET", "/jobs/(n)"): _get_job,
        ("GET", "/jobs/(n)/artifacts/(p)"): _get_file,
        ("GET", "/pipelines/(n)"): _get_pipeline,
        ("POST", "/pipeline"): _begin,
    }


class Refusal(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def _answered(
    simulator: GitLabSimulator, said: BaseHTTPRequestHandler, body: Json | None
) -> tuple[int, Any, dict[str, str]]:
    if said.headers.get("PRIVATE-TOKEN") != TOKEN:
        return 401, {"message": "401 Unauthorized"}, {}
    try:
        status, result = simulator.answer(said.command, said.path.removeprefix("/api/v4"), body)
    except NotFound:
        return 404, {"message": "404 Not found"}, {}
    except Refusal as error:
        return error.status, {"message": str(error)}, {}
    except ValueError as error:
        simulator.refused.append(f"{said.command} {said.path}: {error}")
        return 400, {"error": str(error)}, {}
    return status, result, {}


def _public(note: Json) -> Json:
    return {key: value for key, value in note.items() if key != "_of"}


def _endpoint(method: str, path: str, asked: Json, body: Json | None) -> tuple[str, tuple[str, ...]]:
    """Which it is, and what its path names. Raises ValueError for what the table does not have."""
    for template, methods in ENDPOINTS.items():
        found = re.fullmatch(re.sub(r"\((\w)\)", lambda part: _PARTS[part[1]], template), path)
        if found and method in methods:
            endpoint = methods[method]
            _check(endpoint.asked, asked)
            _check(endpoint.body, body or {})
            if missing := {*endpoint.needs} - asked.keys() - (body or {}).keys():
                raise ValueError(f"{sorted(missing)} is missing")
            return template, found.groups()
    raise ValueError(f"{method} {path} is nothing that the table of endpoints has")


def _check(known: Json, said: Json) -> None:
    for name, value in said.items():
        if name not in known:
            raise ValueError(f"there is no {name}")
        kind = known[name]
        if isinstance(kind, tuple):
            if value not in kind:
                raise ValueError(f"{name} is {value!r}, which is none of {kind}")
        elif not (isinstance(value, kind) or (kind is int and str(value).isdigit())):
            raise ValueError(f"{name} is {value!r}")


@contextmanager
def simulated() -> Iterator[GitLabSimulator]:
    """On a free port of the loopback. Ends with an AssertionError when a request was not as the table has it."""
    simulator = GitLabSimulator()
    with serving(simulator, partial(_answered, simulator), "/api/v4"):
        yield simulator
