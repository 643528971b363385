"""`mspctl quick-lane`: whether a pull request merges by itself, and why."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import click

from mspctl.cli import console
from mspctl.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from mspctl.forge import Forge

EVERY = 20.0  # seconds between looks at the checks

HELP = """Tell whether what plan --report kept may be merged by itself, and why.

It may when inventory/quick_lane.yaml, as REF has it, names such changes, nothing else is changed since REF, and the
plan makes nothing else. It ends with 2 when somebody has to look."""


@click.command("quick-lane", help=HELP)
@click.argument("files", metavar="REPORT...", nargs=-1, required=True)
@click.option("--base", required=True, metavar="REF", help="What the change would be merged into: a commit.")
@click.option("--outputs", is_flag=True, help="For a workflow: a line for $GITHUB_OUTPUT, and 0 either way.")
@click.option("--merge", "pull", type=click.IntRange(1), metavar="NUMBER", help="Merge that pull request if it may.")
@click.option("--head", metavar="COMMIT", help="Its last commit; if it has another by now, it is not merged.")
@click.option("--into", default="main", show_default=True, metavar="BRANCH", help="Into which it is merged.")
@click.option("--within", metavar="FOLDER", help="A clone: before it is merged, what main is by then is looked at.")
@click.option("--wait", default=900.0, show_default=True, metavar="SECONDS", help="For its checks.")
@click.pass_obj
def command(
    directory: str | None,
    files: tuple[str, ...],
    base: str,
    outputs: bool,
    pull: int | None,
    head: str | None,
    into: str,
    within: str | None,
    wait: float,
) -> Exit:
    from pathlib import Path

    from mspctl import quick_lane
    from mspctl.cli import forge
    from mspctl.cli.workspace import find_root, now
    from mspctl.errors import Unreachable
    from mspctl.git.command import Git

    if (pull is None) is not (head is None):
        raise click.UsageError("what is merged is said with both --merge and --head")
    git, shown = Git(find_root(directory)), forge.reports(files)
    if shown.kind != "plan":
        raise click.UsageError("the quick lane is decided by plans")
    lane, texts = quick_lane.of_base(git, base), quick_lane.changed(git, base)
    found = quick_lane.decide(lane, texts, [shown.document], shown.alarms, now().date())
    said = f"{'It may merge' if found.quick else 'Somebody has to look'}: {found.why}"
    (console.hint if outputs else console.say)(said)
    if outputs:
        console.say(f"quick={'true' if found.quick else 'false'}")
        return Exit.DONE
    if not found.quick or pull is None or head is None:
        return Exit.DONE if found.quick else Exit.DIFFERS
    commit = git("rev-parse", "--verify", "--end-of-options", f"{base}^{{commit}}").strip()

    def why_not() -> str:
        """As main is by now: the lane may be shut there, or what was planned on be another thing."""
        if within is None:
            return ""
        main = Git(Path(within))
        tip = quick_lane.newest(main, into)
        again = quick_lane.decide(quick_lane.of_base(main, tip), texts, [shown.document], shown.alarms, now().date())
        return quick_lane.overtaken(main, commit, tip, texts) if again.quick else again.why

    try:
        return merge(forge.connect(), pull, head, into, wait, why_not)
    except Unreachable as error:
        console.error(f"{error}; it may be merged or not (run the job, or this command, again)")
        return Exit.UNREACHABLE


def merge(
    forge: Forge, number: int, head: str, into: str, wait: float, why_not: Callable[[], str] = lambda: ""
) -> Exit:
    """Merge once all other checks of its last commit are good, unless by then something says otherwise."""
    until = time.monotonic() + wait
    own = int(os.environ.get("GITHUB_RUN_ID", "0"))
    while True:
        pull = forge.pull(number)
        if not pull.open or pull.head != head or pull.into != into:
            console.say(
                f"{forge.sign}{number} is {'not as it was planned' if pull.open else 'closed'}; nothing is merged."
            )
            return Exit.DONE
        checks = [check for check in forge.checks(head) if not (own and check.run == own)]
        bad = next((check for check in checks if check.good is False), None)
        if bad:
            console.say(f"{forge.sign}{number} waits for somebody: {bad.name} failed.")
            return Exit.DIFFERS
        if checks and all(check.good for check in checks):
            if why := why_not():
                console.say(f"{forge.sign}{number} waits for somebody: {why}.")
                return Exit.DIFFERS
            forge.merge(number, head)
            console.say(f"{forge.sign}{number} is merged.")
            return Exit.DONE
        if time.monotonic() >= until:
            console.say(f"{forge.sign}{number} waits for somebody: its checks are not over.")
            return Exit.DIFFERS
        time.sleep(EVERY)
