"""
What was reviewed: the plan that CI kept of a pull request as it was merged. Knows the forge by its protocol alone.

An artifact counts only when a run of our own plan left it, on the event whose workflow comes from the base: whoever can
open a pull request can have another workflow leave one of the same name.
"""

from __future__ import annotations

from dataclasses import dataclass

from mspctl.errors import InputError
from mspctl.forge import PLANNED, Forge, Pull


@dataclass(frozen=True, slots=True)
class Reviewed:
    pull: int
    run: int
    name: str  # of the artifact


def name_of(pull: int, head: str) -> str:
    """What the plan of a pull request is kept as, when `head` was its last commit."""
    return f"reviewed-{pull}-{head}"


def reviewed(forge: Forge, commit: str, workflow: str) -> Reviewed:
    """Of the pull request that was merged with a commit. Raises InputError when there is none."""
    merged = [pull for pull in forge.pulls_of(commit) if pull.merged]
    if not merged:
        text = "no merged pull request brought it, so nothing of it was reviewed (mspctl plan, then mspctl apply)"
        raise InputError.at("", f"{commit[:12]}: {text}")
    return plan_of(forge, max(merged, key=lambda each: each.number), workflow)


def plan_of(forge: Forge, pull: Pull, workflow: str) -> Reviewed:
    """The plan that is kept of a pull request as it is. Raises InputError when there is none."""
    name = name_of(pull.number, pull.head)
    for artifact in forge.artifacts(name):
        if (artifact.name, artifact.workflow, artifact.event) == (name, workflow, PLANNED):
            return Reviewed(pull.number, artifact.run, name)
    text = "its plan is not kept (any more), so nothing is applied (mspctl plan, then mspctl apply)"
    raise InputError.at("", f"{forge.sign}{pull.number} at {pull.head[:12]}: {text}")
