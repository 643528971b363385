"""
Cuts GitHub's own description of its API down to what mspctl asks, for the tests:

    npm pack @octokit/openapi && tar xzf octokit-openapi-*.tgz
    python scripts/github_openapi.py package/generated/api.github.com.json > tests/servers/github_openapi.json

The description is GitHub's, under the MIT licence. Words for people and examples are left out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPO = "/repos/{owner}/{repo}"
OPERATIONS = {
    f"{REPO}/issues/{{issue_number}}/comments": ("get", "post"),
    f"{REPO}/issues/comments/{{comment_id}}": ("patch", "delete"),
    f"{REPO}/issues": ("get", "post"),
    f"{REPO}/issues/{{issue_number}}": ("get", "patch"),
    f"{REPO}/pulls": ("get", "post"),
    f"{REPO}/pulls/{{pull_number}}": ("get", "patch"),
    f"{REPO}/pulls/{{pull_number}}/files": ("get",),
    f"{REPO}/pulls/{{pull_number}}/merge": ("put",),
    f"{REPO}/pulls/{{pull_number}}/reviews": ("get",),
    f"{REPO}/pulls/{{pull_number}}/reviews/{{review_id}}/dismissals": ("put",),
    f"{REPO}/commits/{{ref}}/check-runs": ("get",),
    f"{REPO}/commits/{{commit_sha}}/pulls": ("get",),
    f"{REPO}/actions/artifacts": ("get",),
    f"{REPO}/actions/runs/{{run_id}}": ("get",),
    f"{REPO}/actions/runs/{{run_id}}/rerun": ("post",),
}
WORDS = {"description", "summary", "example", "examples", "externalDocs", "tags", "x-github", "title"}


def main() -> None:
    whole = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    paths = {path: {verb: bare(whole["paths"][path][verb]) for verb in verbs} for path, verbs in OPERATIONS.items()}
    cut: dict[str, Any] = {"openapi": whole["openapi"], "info": {"version": whole["info"]["version"]}, "paths": paths}
    cut["info"] |= {"title": "GitHub REST API, cut down by scripts/github_openapi.py", "license": {"name": "MIT"}}
    cut["components"] = {}
    todo = [*references(paths)]
    while todo:
        _, _, kind, name = todo.pop().split("/")
        held = cut["components"].setdefault(kind, {})
        if name not in held:
            held[name] = bare(whole["components"][kind][name])
            todo += references(held[name])
    print(json.dumps(cut, separators=(",", ":"), sort_keys=True))


def bare(data: Any) -> Any:
    """Without words for people; a field that is called like one of them stays."""
    if isinstance(data, list):
        return [bare(each) for each in data]
    if not isinstance(data, dict):
        return data
    return {
        key: ({name: bare(schema) for name, schema in value.items()} if key == "properties" else bare(value))
        for key, value in data.items()
        if key not in WORDS
    }


def references(data: Any) -> Iterator[str]:
    if isinstance(data, list):
        for each in data:
            yield from references(each)
    elif isinstance(data, dict):
        if isinstance(found := data.get("$ref"), str):
            yield found
        for each in data.values():
            yield from references(each)


main()
