"""
Writes this repository's own workflows of plans, applies, drift and live tests, from those that `mspctl init` writes:

    python scripts/workflows.py

They are the same but for this: here they do nothing until the repository's variable MSPCTL_GITOPS is `on`, because the
customers of this repository are examples. check.yml is another one here: it checks the program.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = ROOT / "mspctl/templates/init/dot-github/workflows"
PLACE = ROOT / ".github/workflows"
NAMES = ("apply", "drift", "due", "plan", "prove")
GUARD = "vars.MSPCTL_GITOPS == 'on'"
NOTE = "# Written by scripts/workflows.py, as `mspctl init` writes it. Off unless the variable MSPCTL_GITOPS is `on`.\n"


def ours(text: str) -> str:
    """A workflow whose first jobs have the guard; the others need those."""
    head, jobs, rest = text.partition("\njobs:\n")
    return NOTE + head + jobs + "".join(_guarded(job) for job in re.split(r"(?m)^(?=  [a-z-]+:\n)", rest))


def _guarded(job: str) -> str:
    if re.search(r"(?m)^    needs:", job) or not job.strip():
        return job
    if found := re.search(r"(?m)^    if: (.*)$", job):
        return job.replace(found[0], f"    if: {GUARD} && ({found[1]})", 1)
    return re.sub(r"\n", f"\n    if: {GUARD}\n", job, count=1)


def written() -> Iterator[tuple[Path, str]]:
    for name in NAMES:
        yield PLACE / f"{name}.yml", ours((TEMPLATES / f"{name}.yml").read_text(encoding="utf-8"))


if __name__ == "__main__":
    for path, text in written():
        path.write_text(text, encoding="utf-8")
