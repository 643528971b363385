"""
What drift runs saw, kept on the Git branch `observations`: a file per scope, found as in the ledger. Below `.proofs`
stands how trials ended, a file per scope too: other runs make them, and at other times; below `.findings` what was
found, and below `.installed` what hosts installed by themselves, a file per customer; and `.notified.json` says who was
told what.

A branch of its own, because it is of another kind than the ledger: a cache, which may be lost, replaced and squashed,
while the ledger only ever grows; and so that the trail of what was applied is not buried under what was looked at,
and whoever looks needs no right to write to the ledger.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from mspctl import updates
from mspctl.document import Object, line, object_of
from mspctl.finding_page import Found
from mspctl.finding_page import parsed as parsed_findings
from mspctl.finding_page import rendered as rendered_findings
from mspctl.git.branch import Edit
from mspctl.git.cache import Cache
from mspctl.git.commit import Stamp
from mspctl.ledger import trailers
from mspctl.ledger_page import is_page, path_of
from mspctl.notified import Notified, State
from mspctl.notified import parsed as parsed_notified
from mspctl.notified import rendered as rendered_notified
from mspctl.observation import FORMAT, OLDEST, Observation, parsed, rendered
from mspctl.proof import Key, Proof, following
from mspctl.proof import parsed as parsed_proofs
from mspctl.proof import rendered as rendered_proofs
from mspctl.record import Run
from mspctl.resource import Scope
from mspctl.updates import Installed

LAST_RUN = "last-run.json"
README = b"""\
This branch holds what drift runs of mspctl saw, scope by scope, so that the next run reads only what may have changed;
and how proofs ended. It may be deleted: then the next run reads everything, and nothing counts as proved.

    git log -p observations -- <target>/<facet>/<name>.json            what was seen in one scope, and when
    git log -p observations -- .proofs/<target>/<facet>/<name>.json    what was proved of it
    git log -p observations -- .findings/<customer>.json               what was found of one customer, and when
    git log -p observations -- .installed/<customer>.json              what its hosts installed by themselves
"""
PROOFS, FINDINGS, INSTALLED = ".proofs/", ".findings/", ".installed/"
NOTIFIED = ".notified.json"


class Observations:
    """One repository's observations. They are fetched with the ledger: `Ledger.open(…, beside=[it.branch])`."""

    def __init__(self, root: Path) -> None:
        self.branch = Cache(root, "observations")

    @classmethod
    def fetched(cls, root: Path) -> Observations:
        """Without the ledger. Raises LedgerError when they cannot be fetched."""
        found = cls(root)
        found.branch.sync()
        return found

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
        found: Collection[Found] = (),
        installed: Iterable[Installed] = (),
    ) -> None:
        """
        Write what a run saw and found, in one commit, and publish it. `only` are all the scopes that there are; what
        was seen of others is forgotten, and so is what was found of customers that have none, or installed there.

        Raises LedgerError when it cannot be published.
        """
        edits: dict[str, Edit] = {path_of(it.scope): partial(_newer, it) for it in seen}
        if only is not None:
            kept = {*map(path_of, only)}
            edits |= {path: _nothing for path in self.branch.paths() if is_page(path) and path not in kept}
            kept = {of(scope.customer) for scope in only for of in (_findings_of, _installed_of)}
            theirs = (path for path in self.branch.paths() if path.startswith((FINDINGS, INSTALLED)))
            edits |= {path: _nothing for path in theirs if path not in kept}
        edits |= {_findings_of(it.customer): partial(_later, it) for it in found}
        by_customer: dict[str, list[Installed]] = {}
        for each in installed:
            by_customer.setdefault(each.customer, []).append(each)
        edits |= {_installed_of(name): partial(updates.page, name, mine, now) for name, mine in by_customer.items()}
        edits |= {"README.md": partial(_always, README), LAST_RUN: partial(_always, _facts(run, facts, now))}
        said = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in facts.items())
        self.branch.update(edits, lambda paths: Stamp(run.who, now, f"drift: {said}\n\n{trailers(run)}\n"))

    def found(self, customers: Iterable[str]) -> dict[str, Found]:
        """What was found of each, as far as a run kept it."""
        files = self.branch.paths()
        blobs = {name: files[path] for name, path in ((n, _findings_of(n)) for n in customers) if path in files}
        contents = self.branch.read(blobs.values())
        pages = {name: parsed_findings(contents[blob]) for name, blob in blobs.items()}
        return {name: page for name, page in pages.items() if page is not None and page.customer == name}

    def installed(self, customers: Iterable[str]) -> list[Installed]:
        """What hosts of these installed, as they told drift runs."""
        files = self.branch.paths()
        blobs = {name: files[path] for name, path in ((n, _installed_of(n)) for n in customers) if path in files}
        contents = self.branch.read(blobs.values())
        return [each for name, blob in blobs.items() for each in updates.parsed(name, contents[blob])]

    def notified(self) -> dict[str, Notified]:
        """What was told to whom."""
        blob = self.branch.paths().get(NOTIFIED)
        return parsed_notified(self.branch.read([blob])[blob]) if blob else {}

    def record_notified(self, run: Run, told: State, names: Collection[str], now: datetime) -> None:
        """Keep what was told now; `names` are all destinations. Raises LedgerError when it cannot be published."""
        edits: dict[str, Edit] = {NOTIFIED: partial(_told, told, names), "README.md": partial(_always, README)}
        said = ", ".join(sorted(told))
        self.branch.update(edits, lambda paths: Stamp(run.who, now, f"notify: {said}\n\n{trailers(run)}\n"))

    def proofs(self, scopes: Iterable[Scope]) -> dict[Key, Proof]:
        """The last proof of each trial that was ever made there."""
        files = self.branch.paths()
        blobs = {scope: files[path] for scope, path in ((s, _proofs_of(s)) for s in scopes) if path in files}
        contents = self.branch.read(blobs.values())
        found = (proof for scope, blob in blobs.items() for proof in parsed_proofs(contents[blob]))
        return {proof.key: proof for proof in found if proof.scope in blobs}

    def record_proofs(self, run: Run, made: Collection[Proof], now: datetime) -> None:
        """Write how trials ended, in one commit, and publish it. Raises LedgerError when it cannot be published."""
        by_scope: dict[Scope, list[Proof]] = {}
        for proof in made:
            by_scope.setdefault(proof.scope, []).append(proof)
        edits: dict[str, Edit] = {_proofs_of(scope): partial(_with, proofs) for scope, proofs in by_scope.items()}
        edits["README.md"] = partial(_always, README)
        counted = Counter(proof.verdict.value for proof in made)
        said = ", ".join(f"{number} {verdict}" for verdict, number in sorted(counted.items()))
        self.branch.update(edits, lambda paths: Stamp(run.who, now, f"prove: {said}\n\n{trailers(run)}\n"))

    def squash(self, who: str, now: datetime) -> int:
        """Drop how the files came to be; the number of commits that there were. 0: nothing to drop."""
        count = self.branch.length()
        if count > 1:
            self.branch.squash(Stamp(who, now, f"squash: {count} commits\n"))
        return count


def _told(new: State, names: Collection[str], old: bytes | None) -> bytes:
    known = {**(parsed_notified(old) if old else {}), **new}
    return rendered_notified({name: known[name] for name in names if name in known})


def _findings_of(customer: str) -> str:
    return f"{FINDINGS}{customer}.json"


def _installed_of(customer: str) -> str:
    return f"{INSTALLED}{customer}.json"


def _later(mine: Found, old: bytes | None) -> bytes:
    """Another run may have looked later."""
    before = parsed_findings(old) if old is not None else None
    if old is None or before is None or before.read_at <= mine.read_at:
        return rendered_findings(mine)
    return old


def _proofs_of(scope: Scope) -> str:
    return PROOFS + path_of(scope)


def _with(made: Sequence[Proof], old: bytes | None) -> bytes:
    """A page with further proofs, each in place of the one before it. Another run may have made a later one."""
    known = {proof.key: proof for proof in (parsed_proofs(old) if old else ())}
    for proof in made:
        before = known.get(proof.key)
        if before is None or before.made <= proof.made:
            known[proof.key] = following(proof, before)
    return rendered_proofs(known.values())


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
