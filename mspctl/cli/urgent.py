"""What an apply without CI does besides: it keeps what it applies, says so loudly, and can do without the remote."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from mspctl import emergency
from mspctl.cli import console
from mspctl.errors import LedgerError
from mspctl.git.command import Git, RemoteError
from mspctl.git.commit import Stamp
from mspctl.record import Emergency, Run
from mspctl.secrets import redact


class Urgent:
    """One emergency, from the moment at which the files were read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = emergency.uncommitted(root)  # now, for they may be edited while somebody looks at the plan
        self.alone = False  # whether the remote is done without

    def go_alone(self, error: RemoteError) -> None:
        """From now on without the remote."""
        self.alone = True
        console.alarm(
            f"without the remote: {error}\n"
            "the locks are on this machine only: NOBODY ELSE is kept from writing to the same targets\n"
            "the ledger and the YAML stay here; when the remote is back: mspctl ledger push"
        )

    def begin(self, run: Run, now: datetime, windows: Iterable[str], *, keep: bool) -> Run:
        """The run, marked; `keep`: with the YAML that it applies on a branch of its own."""
        for closed in sorted({*windows}):
            console.alarm(f"not waited for: {closed}")
        marked = replace(run, emergency=Emergency(run.who, now, run.reason, emergency.branch_of(run.id)))
        if not keep:
            return marked
        branch = emergency.branch_of(run.id)
        stamp = Stamp(run.who, now, f"emergency: {run.reason}\n\nRun: {run.id}\n")
        commit = emergency.keep(self.root, branch, self.files, stamp)
        console.alarm(f"what is applied is kept on the branch {branch}; merge it, or a merge will want to undo it")
        return replace(marked, commit=commit)


def send(root: Path) -> None:
    """Branches of emergencies that could not be pushed; that this fails must not fail the run."""
    try:
        for name in emergency.send(root):
            console.hint(f"pushed: {name}")
    except LedgerError as error:
        console.alarm(f"not pushed yet: {error}")


def propose(root: Path) -> None:
    """
    A pull request for each branch of an emergency that is on the remote and never had one. That this fails is said, and
    fails nothing: what was applied is applied, and the next `ledger push --open-pr` opens it.
    """
    from mspctl.cli import forge
    from mspctl.errors import Error
    from mspctl.forge.proposing import base_of

    git = Git(root)
    try:
        base, github = base_of(git), forge.connect()
        for branch in emergency.sent(root):
            if any(not pull.fork for pull in github.pulls_from(branch)):
                continue
            said = git("log", "-1", "--format=%B", branch).strip()
            title, _, text = said.partition("\n")
            body = f"This was applied without CI. Merge it, or a later merge will want to undo it.\n\n{text.strip()}\n"
            number = github.open_pull(redact(title), redact(body), branch, base).number
            console.say(f"{github.sign}{number} is opened: {branch}")
    except Error as error:
        console.alarm(f"no pull request is opened: {error} (mspctl ledger push --open-pr opens it)")
