"""What commands share that write to the forge: reports from files, the job's own summary and annotations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mspctl.cli import console

if TYPE_CHECKING:
    from mspctl.forge import Forge
    from mspctl.forge.gitlab import GitLab
    from mspctl.report.view import View


def reports(files: Sequence[str]) -> View:
    """What several jobs kept, as one. Raises InputError."""
    from mspctl.report import kept

    return kept.joined([kept.read(Path(file)) for file in files])


def of_jobs(files: Sequence[str], jobs: int | None) -> tuple[View, bool]:
    """What `jobs` drift runs kept, and whether that is all. What is missing is never taken for good."""
    from mspctl.report.view import View

    here = [file for file in files if jobs is None or Path(file).exists()]
    shown = reports(here) if here else View("drift", "DRIFT", (), (), "Nothing was read.")
    return with_missing(shown, len(here), jobs), jobs in (None, len(here))


def with_missing(shown: View, reported: int, jobs: int | None) -> View:
    """A report that begins with how many jobs are missing in it, if any."""
    from dataclasses import replace

    if jobs in (None, reported):
        return shown
    alarm = f"Only {reported} of {jobs} jobs reported: what the others found is not here"
    return replace(shown, alarms=[alarm, *shown.alarms])


def connect() -> Forge:
    """GitLab where the environment names it, else GitHub. Raises InputError when something is missing."""
    from mspctl.forge import github, gitlab

    if gitlab.is_named(os.environ):
        return gitlab.from_environment(os.environ)
    return github.from_environment(os.environ)


def gitlab() -> GitLab:
    """For what only its pipelines need. Raises InputError when the environment lacks something."""
    from mspctl.forge.gitlab import from_environment

    return from_environment(os.environ)


def sign() -> str:
    """What stands before the number of a pull request where we are."""
    from mspctl.forge import github, gitlab

    return gitlab.GitLab.sign if gitlab.is_named(os.environ) else github.GitHub.sign


def summarize(shown: View, pull: str = "") -> None:
    """In a job of GitHub: annotations, and everything in the job's summary."""
    from mspctl.report.annotations import annotate
    from mspctl.report.as_comment import SUMMARY, render
    from mspctl.secrets import redact

    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in annotate(shown):
            console.say(line)
    if file := os.environ.get("GITHUB_STEP_SUMMARY"):
        with suppress(OSError), Path(file).open("a", encoding="utf-8") as summary:  # beside the point if it fails
            summary.write(redact(render(shown, pull, SUMMARY)))
