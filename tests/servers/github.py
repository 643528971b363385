"""
A simulator of the part of GitHub's API that mspctl asks: it keeps comments, issues and pull requests in memory.

It is not GitHub. But every request and every answer is checked against GitHub's own description of the API
(github_openapi.json, made by scripts/github_openapi.py), which is stricter here than there: what the description does
not name is refused.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.servers.forge import serving

TOKEN = "a-token-of-a-job"
REPOSITORY = "msp/customers"
WHEN = "2027-03-05T14:02:00Z"
Json = dict[str, Any]


# -- GitHub's description -------------------------------------------------------------------------------------


@cache
def description() -> Json:
    text = (Path(__file__).parent / "github_openapi.json").read_text(encoding="utf-8")
    found: Json = _as_json_schema(json.loads(text))
    return found


def _as_json_schema(data: Any) -> Any:
    """OpenAPI 3.0 says `nullable`, JSON Schema lists null."""
    if isinstance(data, list):
        return [_as_json_schema(each) for each in data]
    if not isinstance(data, dict):
        return data
    found = {key: _as_json_schema(value) for key, value in data.items() if key != "nullable"}
    return {"anyOf": [found, {"type": "null"}]} if data.get("nullable") is True else found


@cache
def _registry() -> Registry[Any]:
    registry: Registry[Any] = Registry().with_resource("urn:github", DRAFT202012.create_resource(description()))
    return registry


def wrong(data: object, schema: Json) -> list[str]:
    """What in `data` is not as a schema of the description has it."""
    schema = json.loads(json.dumps(schema).replace('"#/', '"urn:github#/'))
    errors = Draft202012Validator(schema, registry=_registry()).iter_errors(data)
    return [f"{error.json_path}: {error.message[:200]}" for error in errors]


def resolved(data: Json) -> Json:
    while isinstance(reference := data.get("$ref"), str):
        data = description()
        for step in reference.removeprefix("#/").split("/"):
            data = data[step]
    return data


def sample(schema: Json) -> Any:
    """The smallest value of a schema, so that answers have all that GitHub's have to have."""
    schema = resolved(schema)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            nothing = {"type": "null"}
            return None if nothing in schema[key] else sample(schema[key][0])
    if "allOf" in schema:
        return {name: value for each in schema["allOf"] for name, value in sample(each).items()}
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object")
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: sample(properties[name]) for name in schema.get("required", ()) if name in properties}
    if kind == "string":
        return WHEN if schema.get("format") == "date-time" else "https://github.invalid/x"
    return {"array": [], "boolean": False}.get(kind, 1)


def of(component: str, **said: object) -> Json:
    found: Json = sample({"$ref": f"#/components/schemas/{component}"})
    return {**found, **said}


# -- the simulator --------------------------------------------------------------------------------------------


class Refusal(Exception):
    status = 404


class NotFound(Refusal):
    pass


class Forbidden(Refusal):
    status = 403


Broken = Callable[[str, str], tuple[int, dict[str, str]] | str | None]


@dataclass
class GitHubSimulator:
    """`broken` says how a request goes wrong: by an answer, `lost` (it was carried out), `silent`; None: it is not."""

    address: str = ""
    issues: dict[int, Json] = field(default_factory=dict)
    comments: dict[int, Json] = field(default_factory=dict)
    pulls: list[Json] = field(default_factory=list)
    of_commit: dict[str, list[int]] = field(default_factory=dict)  # commit → numbers of its pull requests
    artifacts: list[Json] = field(default_factory=list)
    runs: dict[int, Json] = field(default_factory=dict)
    files: dict[int, list[str]] = field(default_factory=dict)  # pull request → paths that it changes
    checks: dict[str, list[Json]] = field(default_factory=dict)  # commit → what jobs said of it
    reviews: dict[int, list[Json]] = field(default_factory=dict)  # pull request → what was said of it
    again: list[int] = field(default_factory=list)  # runs that were begun once more
    old: set[int] = field(default_factory=set)  # runs that are not begun once more
    protected: bool = False  # whether few may dismiss reviews
    asked: list[tuple[str, str]] = field(default_factory=list)
    refused: list[str] = field(
        default_factory=list
    )  # requests that GitHub would not take, and answers not like its own
    broken: Broken = lambda method, path: None
    said: Callable[[str, str], Json] = lambda method, path: {}  # what an answer by which it goes wrong says
    lock: threading.RLock = field(default_factory=threading.RLock)
    _last: int = 0

    @property
    def environment(self) -> dict[str, str]:
        return {"GITHUB_API_URL": self.address, "GITHUB_REPOSITORY": REPOSITORY, "GITHUB_TOKEN": TOKEN}

    def number(self) -> int:
        self._last += 1
        return self._last

    def bot(self, **said: object) -> Json:
        return of("simple-user", login="github-actions[bot]", type="Bot", **said)

    def stranger(self) -> Json:
        return of("simple-user", login="stranger", type="User")

    def pull(self, head: str, title: str = "A change", *, merged: bool = False) -> int:
        found = of("pull-request-simple", number=self.number(), title=title, merged_at=WHEN if merged else None)
        found |= {"state": "closed" if merged else "open", "user": self.bot(), "body": ""}
        found["head"] |= {"sha": head, "ref": "change"}
        found["base"] |= {"ref": "main"}
        self.pulls.append(found)
        return int(found["number"])

    def approved(self, number: int, when: str = WHEN, *, by: Json | None = None) -> Json:
        said = of("pull-request-review", id=self.number(), state="APPROVED", submitted_at=when, commit_id="0" * 40)
        said |= {"user": by or of("simple-user", login="jane", type="User")}
        said |= {"author_association": "NONE" if by else "MEMBER"}
        self.reviews.setdefault(number, []).append(said)
        return said

    def commented(self, issue: int, body: str, *, by: Json | None = None) -> Json:
        said = of("issue-comment", id=self.number(), body=body, user=by or self.bot(), author_association="NONE")
        self.comments[said["id"]] = {**said, "_issue": issue}
        return said

    def bodies(self, issue: int) -> list[str]:
        return [each["body"] for each in self.comments.values() if each["_issue"] == issue]

    def artifact(self, name: str, workflow: str, event: str = "pull_request_target", made: str = WHEN) -> int:
        run = self.number()
        self.runs[run] = of("workflow-run", id=run, path=workflow, event=event, status="completed")
        said = {"name": name, "expired": False, "workflow_run": {"id": run}, "created_at": made}
        self.artifacts.insert(0, of("artifact", id=self.number(), **said))
        return run

    def answer(self, method: str, path: str, body: Json | None) -> tuple[int, Any]:
        url = urlsplit(path)
        template, operation, found = _operation(method, url.path)
        _check_request(operation, dict(parse_qsl(url.query)), body)
        with self.lock:
            result: Any = getattr(self, f"_{operation['operationId'].replace('/', '_').replace('-', '_')}")(
                *found, asked=dict(parse_qsl(url.query)), body=body or {}
            )
        status = next(code for code in operation["responses"] if code.startswith("2"))
        _check_answer(operation["responses"][status], result, f"{method} {template}")
        return int(status), result

    def _issues_list_comments(self, number: str, asked: Json, body: Json) -> list[Json]:
        found = [each for each in self.comments.values() if each["_issue"] == int(number)]
        return _page([{k: v for k, v in each.items() if k != "_issue"} for each in found], asked)

    def _issues_create_comment(self, number: str, asked: Json, body: Json) -> Json:
        if len(body["body"]) > 65_536:
            raise ValueError("body is too long (maximum is 65536 characters)")
        return self.commented(int(number), body["body"])

    def _issues_update_comment(self, comment: str, asked: Json, body: Json) -> Json:
        if int(comment) not in self.comments:
            raise NotFound
        self.comments[int(comment)]["body"] = body["body"]
        return {k: v for k, v in self.comments[int(comment)].items() if k != "_issue"}

    def _issues_delete_comment(self, comment: str, asked: Json, body: Json) -> None:
        if self.comments.pop(int(comment), None) is None:
            raise NotFound

    def _issues_list_for_repo(self, asked: Json, body: Json) -> list[Json]:
        wanted = {*filter(None, asked.get("labels", "").split(","))}
        state = asked.get("state", "open")
        found = [i for i in self.issues.values() if state in (i["state"], "all")]
        return _page([i for i in found if wanted <= {label["name"] for label in i["labels"]}], asked)

    def _issues_create(self, asked: Json, body: Json) -> Json:
        labels = [{"name": name} for name in body.get("labels", ())]
        issue = of("issue", number=self.number(), title=body["title"], body=body.get("body", ""), labels=labels)
        issue |= {"state": "open", "user": self.bot(), "author_association": "NONE"}
        self.issues[issue["number"]] = issue
        return issue

    def _issues_update(self, number: str, asked: Json, body: Json) -> Json:
        if int(number) not in self.issues:
            raise NotFound
        self.issues[int(number)] |= body
        return self.issues[int(number)]

    def _repos_list_pull_requests_associated_with_commit(self, commit: str, asked: Json, body: Json) -> list[Json]:
        numbers = self.of_commit.get(commit, ())
        return _page([pull for pull in self.pulls if pull["number"] in numbers], asked)

    def _pulls_list(self, asked: Json, body: Json) -> list[Json]:
        branch, state = asked.get("head", "").partition(":")[2], asked.get("state", "open")
        found = [p for p in self.pulls if state in (p["state"], "all")]
        return _page([p for p in found if not branch or p["head"]["ref"] == branch], asked)

    def _pulls_list_files(self, number: str, asked: Json, body: Json) -> list[Json]:
        return _page([of("diff-entry", filename=name) for name in self.files.get(int(number), ())], asked)

    def _pulls_update(self, number: str, asked: Json, body: Json) -> Json:
        next(pull for pull in self.pulls if pull["number"] == int(number)).update(body)
        return self._pulls_get(number, asked, body)

    def _pulls_merge(self, number: str, asked: Json, body: Json) -> Json:
        found = next(pull for pull in self.pulls if pull["number"] == int(number))
        if body.get("sha") not in (None, found["head"]["sha"]):
            raise ValueError("Head branch was modified")
        found |= {"state": "closed", "merged_at": WHEN}
        return of("pull-request-merge-result")

    def _pulls_list_reviews(self, number: str, asked: Json, body: Json) -> list[Json]:
        return _page(self.reviews.get(int(number), []), asked)

    def _pulls_dismiss_review(self, number: str, review: str, asked: Json, body: Json) -> Json:
        found = next(each for each in self.reviews[int(number)] if each["id"] == int(review))
        if self.protected:
            raise Forbidden("Could not dismiss the review")
        found |= {"state": "DISMISSED"}
        return found

    def _actions_re_run_workflow(self, run: str, asked: Json, body: Json) -> Json:
        if int(run) not in self.runs:
            raise NotFound
        if self.runs[int(run)]["status"] != "completed":
            raise Forbidden("This workflow is already running")
        if int(run) in self.old:
            raise Forbidden("Unable to retry this workflow run because it was created over a month ago")
        self.again.append(int(run))
        return {}

    def _checks_list_for_ref(self, ref: str, asked: Json, body: Json) -> Json:
        found = self.checks.get(ref, [])
        return {"total_count": len(found), "check_runs": _page(found, asked)}

    def _pulls_get(self, number: str, asked: Json, body: Json) -> Json:
        found = next(pull for pull in self.pulls if pull["number"] == int(number))
        same = {key: found[key] for key in ("title", "body", "state", "merged_at")}
        whole = of("pull-request", number=int(number), **same)
        whole["head"] |= {"sha": found["head"]["sha"], "ref": found["head"]["ref"]}
        whole["base"] |= {"ref": found["base"]["ref"]}
        return whole

    def _pulls_create(self, asked: Json, body: Json) -> Json:
        number = self.pull("0" * 40, body["title"])
        self.pulls[-1]["head"]["ref"] = body["head"]
        self.pulls[-1]["body"] = body.get("body")
        return self._pulls_get(str(number), asked, body)

    def _actions_list_artifacts_for_repo(self, asked: Json, body: Json) -> Json:
        found = [each for each in self.artifacts if asked.get("name") in (None, each["name"])]
        return {"total_count": len(found), "artifacts": _page(found, asked)}

    def _actions_get_workflow_run(self, run: str, asked: Json, body: Json) -> Json:
        return self.runs[int(run)]


def _page(found: list[Json], asked: Json) -> list[Json]:
    size, page = int(asked.get("per_page", 30)), int(asked.get("page", 1))
    return found[size * (page - 1) : size * page]


def _operation(method: str, path: str) -> tuple[str, Json, tuple[str, ...]]:
    for template, verbs in description()["paths"].items():
        own = template.replace("{owner}/{repo}", REPOSITORY)
        found = re.fullmatch(re.sub(r"\\{\w+\\}", "([^/]+)", re.escape(own)), path)
        if found and method.lower() in verbs:
            return template, verbs[method.lower()], found.groups()
    raise ValueError(f"{method} {path} is nothing that GitHub describes")


def _check_request(operation: Json, asked: Json, body: Json | None) -> None:
    known = {p["name"]: p for each in operation.get("parameters", ()) if (p := resolved(each))["in"] == "query"}
    for name, value in asked.items():
        if name not in known:
            raise ValueError(f"there is no parameter {name}")
        number = resolved(known[name]["schema"]).get("type") == "integer"
        if errors := wrong(int(value) if number else value, known[name]["schema"]):
            raise ValueError(f"{name}: {errors}")
    if body is None:
        return
    schema = resolved(operation["requestBody"]["content"]["application/json"]["schema"])
    schema = next((each for each in schema.get("anyOf", ()) if "properties" in each), schema)  # or nothing at all
    if unknown := body.keys() - schema["properties"].keys():
        raise ValueError(f"there is no {sorted(unknown)}")
    if errors := wrong(body, schema):
        raise ValueError(str(errors))


def _check_answer(response: Json, result: object, what: str) -> None:
    content = resolved(response).get("content")
    if content and (errors := wrong(result, content["application/json"]["schema"])):
        raise ValueError(f"the simulator answers {what} as GitHub would not: {errors[:3]}")


def _answered(
    simulator: GitHubSimulator, asked: BaseHTTPRequestHandler, body: Json | None
) -> tuple[int, Any, dict[str, str]]:
    if asked.headers.get("Authorization") != f"Bearer {TOKEN}":
        return 401, {"message": "Requires authentication"}, {}
    try:
        status, result = simulator.answer(asked.command, asked.path, body)
    except Refusal as error:
        return error.status, {"message": str(error) or "Not Found"}, {}
    except ValueError as error:
        simulator.refused.append(f"{asked.command} {asked.path}: {error}")
        return 422, {"message": str(error)}, {}
    return status, result, {}


@contextmanager
def simulated() -> Iterator[GitHubSimulator]:
    """On a free port of the loopback. Ends with an AssertionError when a request was not as GitHub describes it."""
    simulator = GitHubSimulator()
    with serving(simulator, partial(_answered, simulator), said=lambda method, path: simulator.said(method, path)):
        yield simulator
