"""
What drift runs saw, kept on the Git branch `observations`: a file per scope, found as in the ledger.

A branch of its own, because it is of another kind than the ledger: a cache, which may be lost, replaced and squashed,
while the ledger only ever grows; and so that the trail of what was applied is not buried under what was looked at,
and whoever looks needs no right to write to the ledger.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from mspctl.document import Object, line, object_of
from mspctl.git_branch import Cache, Edit, Stamp
from mspctl.ledger import trailers
from mspctl.ledger_page import is_page, path_of
from mspctl.observation import FORMAT, OLDEST, Observation, parsed, rendered
from mspctl.record import Run
from mspctl.resource import Scope

LAST_RUN = "last-run.json"
README = b"""\
This branch holds what drift runs of mspctl saw, scope by scope, so that the next run reads only what may have changed.
It may be deleted: then the next run reads everything.

    git log -p observations -- <target>/<facet>/<name>.json     what was seen in one scope, and when
"""


class Observations:
    """One repository's observations. They are fetched with the ledger: `Ledger.open(…, beside=[it.branch])`."""

    def __init__(self, root: Path) -> None:
        self.branch = Cache(root, "observations")

    def read_ahead(self) -> None:
        """Have what the next `of` reads at hand."""
        self.branch.read_ahead(is_page)

    def of(self, scopes: Iterable[Scope]) -> dict[Scope, Observation]:
        """Those there are; what cannot be understood is as good as not there."""
        files = self.branch.paths()
        blobs = {scope: files[path] for scope, path in ((s, path_of(s)) for s in scopes) if path in files}
        contents = self.branch.read(blobs.values())
        found = {scope: parsed(contents[blob]) for scope, blob in blobs.items()}
        return {scope: it for scope, it in found.items() if it is not None and it.scope == scope}

    def record(
        self,
        run: Run,
        seen: Collection[Observation],
        facts: Mapping[str, int],
        now: datetime,
        only: Collection[Scope] | None,
    ) -> None:
        """
        Write what a run saw, in one commit, and publish it. `only` are all the scopes that there are; what was seen of
        others is forgotten.

        Raises LedgerError when it cannot be published.
        """
        edits: dict[str, Edit] = {path_of(it.scope): partial(_newer, it) for it in seen}
        if only is not None:
            kept = {*map(path_of, only)}
            edits |= {path: _nothing for path in self.branch.paths() if is_page(path) and path not in kept}
        edits |= {"README.md": partial(_always, README), LAST_RUN: partial(_always, _facts(run, facts, now))}
        said = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in facts.items())
        self.branch.update(edits, lambda paths: Stamp(run.who, now, f"drift: {said}\n\n{trailers(run)}\n"))

    def squash(self, who: str, now: datetime) -> int:
        """Drop how the files came to be; the number of commits that there were. 0: nothing to drop."""
        count = self.branch.length()
        if count > 1:
            self.branch.squash(Stamp(who, now, f"squash: {count} commits\n"))
        return count


def _newer(mine: Observation, old: bytes | None) -> bytes | None:
    """Another run may have read the scope later; and what says nothing new is not written each time."""
    before = parsed(old) if old is not None else None
    if before is None or before.scope != mine.scope:
        return rendered(mine)
    return old if before.read_at > mine.read_at or _says_nothing(mine, before) else rendered(mine)


def _says_nothing(new: Observation, before: Observation) -> bool:
    """A scope without a token is read each time, and when that was decides nothing; still it must not look lost."""
    same = not new.token and replace(new, read_at=before.read_at) == before
    return same and new.read_at - before.read_at < OLDEST


def _facts(run: Run, facts: Mapping[str, int], now: datetime) -> bytes:
    said: Object = {"format": FORMAT, "run": run.id, "who": run.who, "commit": run.commit, "when": now.isoformat()}
    return (object_of({name: line(value) for name, value in {**said, **facts}.items()}) + "\n").encode()


def _always(content: bytes, old: bytes | None) -> bytes:
    return content


def _nothing(old: bytes | None) -> None:
    return None
