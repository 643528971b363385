"""
Child pipelines of GitLab: which jobs there are is known only once it is known whom a change touches. Pure.

What a job does stands in `.gitlab/`; here stands how many there are, on which runners, for whom, and who waits for
whom. It is written as JSON, which is YAML, so that nothing in it can become anything else.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from itertools import pairwise

from mspctl.affected import Affected, Shard

Jobs = dict[str, object]


def of_nothing(why: str) -> str:
    """A pipeline needs a job; `why` is ours."""
    return _written({"nothing": {"script": [f"echo {shlex.quote(why)}"]}})


def of_plan(found: Affected, number: int, head: str, kept: str) -> str:
    """Of a merge request at its last commit; the job that keeps its plan is called `kept`."""
    plans = _of_each("plan", found.shards, {})
    after = [*plans]
    jobs: Jobs = {**plans, kept: {"extends": ".reviewed", "needs": after}}
    jobs["comment"] = {"extends": ".comment", "needs": [*after, kept]}
    jobs["quick-lane"] = {"extends": ".quick-lane", "needs": [*after, "comment"]}
    return _child("plan", {"PULL": str(number), "HEAD": head, "JOBS": str(len(after))}, jobs)


def of_apply(found: Affected, base: str) -> str:
    """Of what was merged since `base`. Ring by ring, one job comes after the other, however that ended."""
    applies = _of_each("apply", found.shards, {"needs": ["reviewed"]})
    names = [*applies]
    for before, name in pairwise(names):
        if found.shards[0].rings:
            applies[name] |= {"needs": ["reviewed", before], "when": "always"}
    ending = {each: {"extends": f".{each}", "needs": ["reviewed", *names]} for each in ("comment", "issue", "replan")}
    variables = {"BASE": base, "JOBS": str(len(names))}
    return _child("apply", variables, {"reviewed": {"extends": ".reviewed"}, **applies, **ending})


def of_drift(found: Affected) -> str:
    drifts = _of_each("drift", found.shards, {})
    archives = _of_each("archive", found.shards, {"needs": []})
    ending = {each: {"extends": f".{each}", "needs": [*drifts]} for each in ("issues", "page", "notify")}
    return _child("drift", {"JOBS": str(len(drifts))}, {**drifts, **archives, **ending})


def of_due(found: Affected) -> str:
    dues = _of_each("due", found.shards, {})
    return _child("schedules", {"JOBS": str(len(dues))}, {**dues, "issue": {"extends": ".issue", "needs": [*dues]}})


def of_prove(found: Affected) -> str:
    return _child("schedules", {}, _of_each("prove", found.shards, {}))


def _of_each(name: str, shards: Sequence[Shard], more: Mapping[str, object]) -> dict[str, Jobs]:
    return {f"{name} {number}": _of_one(name, number, shard, more) for number, shard in enumerate(shards, 1)}


def _of_one(name: str, number: int, shard: Shard, more: Mapping[str, object]) -> Jobs:
    tags = {"tags": [*shard.runner]} if shard.runner else {}
    return {"extends": f".{name}", "variables": {"SHARD": str(number), "OPTIONS": shard.options}, **tags, **more}


def _child(name: str, variables: Mapping[str, str], jobs: Mapping[str, object]) -> str:
    files = [{"local": f".gitlab/{each}.yml"} for each in ("common", name)]
    return _written({"include": files, "variables": variables, **jobs})


def _written(pipeline: Mapping[str, object]) -> str:
    return json.dumps(pipeline, indent=2) + "\n"
