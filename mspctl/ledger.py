"""
What was applied, kept on the Git branch `ledger`: the memory that tells "not applied yet" from "changed outside".

One file per scope, found by where the scope lives and not by whose it is. One commit before anything is written to a
target, one when it is over. A run that was killed leaves its intent behind, and from then on both what was and what was
to be count as ours. `git log -p ledger` is the audit trail.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

from mspctl.amounts import count
from mspctl.errors import LedgerError
from mspctl.git.branch import Branch, Edit
from mspctl.git.command import RemoteError
from mspctl.git.commit import Commit, Stamp
from mspctl.kinds import on_one_line
from mspctl.ledger_page import (
    Landing,
    Page,
    begun,
    edited,
    finished,
    hands_out,
    is_page,
    landing,
    merged,
    owner,
    parsed,
    path_of,
    pruned,
    recorded,
    scope_of,
)
from mspctl.record import Finished, Run, ScopeRecord
from mspctl.resource import Id, Resource, Scope
from mspctl.secrets import redact

RESTORES = ".restores/"  # what was given back from backups, a file for each time and customer
UPDATES = ".updates/"  # what hosts installed because they were let, likewise
WITNESSES = 20  # commits by which a clock is judged
MANY = 500  # paths that Git is asked for by name; more are found among all
BY_HAND = "written by hand, not by mspctl"
AHEAD = timedelta(days=60)  # that nothing is applied for so long is nothing unusual

README = b"""\
This branch is the ledger of mspctl: what was applied, scope by scope. mspctl compares it with what Git declares and
with what the targets say, and so tells a change that is not applied yet from one that somebody made outside.

Please do not edit it: a wrong line here makes mspctl undo, or overlook, somebody's work.

    git log -p ledger -- <target>/<facet>/<name>.json     what happened to one scope, when, and who did it
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """What one run did, as the ledger tells it."""

    id: str  # the ledger's own commit
    when: datetime
    run: str
    who: str
    commit: str  # of the customers' repository
    reason: str
    plan: str
    emergency: str  # the branch with what an emergency applied; "" for any other run
    tickets: str  # one or more; "" when nobody said
    asked_by: str
    scopes: Mapping[Scope, Landing]


def _when(page: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(page["when"])


def _well_formed(page: Mapping[str, Any]) -> bool:
    """That `updated` wrote it. Raises ValueError, KeyError, TypeError or AttributeError where it did not."""
    for each in page["hosts"].values():
        for name, before, after in each.get("installed") or ():
            ", ".join((name, before, after))
    return bool(page["who"] and page["customer"] and _when(page).tzinfo)


def _now() -> datetime:
    return datetime.now(UTC)


class Ledger:
    """One repository's ledger, as it was when opened or last written. Safe to share between threads."""

    def __init__(self, branch: Branch, now: Callable[[], datetime]) -> None:
        """Use `open` or `init`."""
        self._branch, self._now, self._lock = branch, now, Lock()

    @classmethod
    def open(
        cls, root: Path, now: Callable[[], datetime] = _now, *, alone: bool = False, beside: Sequence[Branch] = ()
    ) -> Ledger:
        """
        Given a folder in a Git repository, fetch its ledger, and other branches `beside` it.

        The remote is `origin`, else the only one; without any, the local branch is all there is. Outcomes that could
        not be pushed stay on top of what was fetched, and go out with the next `begin`, `finish` or `push`. `alone`: as
        it was fetched last; the remote is not asked, and nothing is pushed. Raises LedgerError when there is no ledger,
        or one that cannot be fetched or trusted, and Away when the remote gives no answer.
        """
        branch = Branch(root, "ledger", merged, alone=alone)
        branch.sync(*beside)
        if not branch.tip:
            raise LedgerError("the ledger was never fetched here" if alone else "no ledger yet; run mspctl ledger init")
        return cls(branch, now)

    @classmethod
    def init(cls, root: Path, now: Callable[[], datetime] = _now) -> Ledger:
        """Start an empty one, and push it. Raises LedgerError when there is one, here or on the remote."""
        branch = Branch(root, "ledger", merged)
        branch.start({"README.md": README}, Stamp("mspctl <mspctl@localhost>", now(), "init: an empty ledger\n"))
        return cls(branch, now)

    @property
    def tip(self) -> str:
        """The commit that is read."""
        return self._branch.tip

    def read_ahead(self) -> Ledger:
        """Have what the next `recorded` reads at hand."""
        self._branch.read_ahead(is_page)
        return self

    def pages(self) -> dict[str, str]:
        """Path → blob of every page: while a blob is the same, nothing was recorded."""
        return {path: blob for path, blob in self._branch.paths().items() if is_page(path)}

    def recorded(
        self,
        scopes: Iterable[Scope] | None = None,
        customers: Collection[str] = (),
        without: Collection[str] = (),
    ) -> dict[Scope, ScopeRecord]:
        """
        Of all; or of `scopes`, and with `customers` of all that was theirs, and of whatever hands something out.

        What was never recorded is absent, and so are pages at the paths `without`. Keys carry customer and engine as
        recorded.
        """
        pages = {path: blob for path, blob in self.pages().items() if path not in without}
        paths = pages.keys() if scopes is None else {*map(path_of, scopes)}

        def wanted(path: str, content: bytes) -> bool:
            return path in paths or owner(content) in customers or hands_out(content)

        read = pages if customers else {path: blob for path, blob in pages.items() if path in paths}
        contents = self._branch.read(read.values())
        # One after the other: a page is several times as large as its record.
        found = (recorded(path, contents[blob]) for path, blob in read.items() if wanted(path, contents[blob]))
        return {record.scope: record for record in found}

    def begin(self, run: Run, intents: Mapping[Scope, Mapping[Id, Resource | None]]) -> None:
        """
        Record what each resource will be when this run is over; None: deleted.

        Published before it returns; when it raises, nothing may be written to a target.
        """
        steps = {scope: partial(begun, scope=scope, run=run, intents=ids) for scope, ids in intents.items() if ids}
        sizes = {path_of(scope): len(intents[scope]) for scope in steps}
        with self._lock:
            self._branch.update(self._edits(steps), partial(self._stamp, "begin", run, sizes))

    def finish(self, run: Run, ends: Mapping[Scope, Finished]) -> None:
        """
        Record how scopes ended; an end that says nothing new writes nothing.

        When the remote does not take it, it is kept on the local branch, and LedgerError says so.
        """
        today = self._now().date()
        edits = self._edits({s: partial(finished, scope=s, run=run, end=end, today=today) for s, end in ends.items()})
        sizes = {path_of(scope): len(end.found) + len(end.changes) for scope, end in ends.items()}
        failed = {path_of(scope) for scope, end in ends.items() if end.error}
        stamp = partial(self._stamp, "apply", run, sizes, failed=failed)
        with self._lock:
            try:
                self._branch.update(edits, stamp)
            except RemoteError as error:
                self._branch.keep(edits, stamp)
                raise LedgerError(f"the outcome is kept locally, `mspctl ledger push` sends it: {error}") from error

    def restored(self, run: Run, customer: str, said: Mapping[str, object]) -> None:
        """
        Record who asked for files of a customer's, and in the end what was given: a file for each run, kept for ever.

        It is published before it returns; an end (it says `given` or `error`) that the remote does not take is kept on
        the local branch. Raises LedgerError.
        """
        ends = "given" in said or "error" in said
        subject = f"restore: {'over' if ends else 'asked'}, {customer} {on_one_line(str(said['host']))}"
        self._testify(RESTORES, run, customer, said, subject, ends=ends)

    def updated(self, run: Run, customer: str, hosts: Mapping[str, Mapping[str, object]], *, over: bool) -> None:
        """
        Record which hosts of a customer are let install updates, and in the end what each installed: {host: {"would":
        what was due, and then "error", or as `updates.done` says}}. Published and kept as by `restored`. Raises
        LedgerError.
        """
        subject = f"updates: {'over' if over else 'begun'}, {customer} {on_one_line(', '.join(sorted(hosts)))}"
        self._testify(
            UPDATES, run, customer, {"customer": customer, "reason": run.reason, "hosts": hosts}, subject, ends=over
        )

    def _testify(
        self, folder: str, run: Run, customer: str, said: Mapping[str, object], subject: str, *, ends: bool
    ) -> None:
        page = {"format": 1, "run": run.id, "who": run.who, "when": self._now().isoformat(timespec="seconds"), **said}
        content = redact(json.dumps(page, indent=1, ensure_ascii=False)).encode() + b"\n"
        edits: dict[str, Edit] = {f"{folder}{customer}/{run.id}.json": lambda old: content}
        with self._lock:
            try:
                self._branch.update(edits, lambda paths: Stamp(run.who, self._now(), f"{subject}\n\n{trailers(run)}\n"))
            except RemoteError as error:
                if not ends:
                    raise
                self._branch.keep(edits, lambda paths: Stamp(run.who, self._now(), f"{subject}\n\n{trailers(run)}\n"))
                raise LedgerError(f"it is kept locally, `mspctl ledger push` sends it: {error}") from error

    def restores(self, customer: str) -> list[dict[str, Any]]:
        """What `restored` wrote, the newest first. Raises LedgerError for what it did not write."""
        return self._testimony(f"{RESTORES}{customer}/")

    def updates(self, customer: str | None = None, since: datetime | None = None) -> list[dict[str, Any]]:
        """What `updated` wrote, of everybody's hosts unless one is named. Raises LedgerError as `restores` does."""
        folder = f"{UPDATES}{customer}/" if customer else UPDATES
        found = self._testimony(folder)
        try:
            return [page for page in found if _well_formed(page) and (since is None or _when(page) >= since)]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise LedgerError(f"{folder} in the ledger has something that mspctl did not write") from None

    def _testimony(self, folder: str) -> list[dict[str, Any]]:
        files = {p: b for p, b in self._branch.paths().items() if p.startswith(folder)}
        contents = self._branch.read(files.values())
        try:
            found = [json.loads(contents[blob]) for blob in files.values()]
            return sorted(found, key=lambda page: str(page["when"]), reverse=True)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise LedgerError(f"{folder} in the ledger has something that mspctl did not write") from None

    def compact(self, who: str) -> int:
        """
        Take out of every page what is past its time, as happens to each that is written anyway; how many had some.

        History stays as it is: a ledger that was rewritten could not be told from one that was rewound.
        """
        files: set[str] = set()
        day = self._believed()
        edits: dict[str, Edit] = {path: partial(pruned, path, day) for path in self.pages()}

        def stamp(paths: Collection[str]) -> Stamp:
            files.update(paths)
            return Stamp(who, self._now(), f"compact: {count(len(paths), 'scope')}\n")

        with self._lock:
            self._branch.update(edits, stamp)
        return len(files)

    def _edits(self, steps: Mapping[Scope, Callable[[Page], Page]]) -> dict[str, Edit]:
        day = self._believed() if steps else date.min
        paths = {path_of(scope): (scope, step) for scope, step in steps.items()}
        return {path: partial(edited, path, scope, step, day) for path, (scope, step) in paths.items()}

    def _believed(self) -> date:
        """
        Today, as far as the ledger bears it out: a clock that is years ahead must not make it forget.

        Half of the newest commits must be of the last AHEAD days, or it is taken to be earlier.
        """
        days = sorted(self._branch.times(WITNESSES))
        return min(self._now(), days[(len(days) - 1) // 2] + AHEAD).date()

    def _stamp(
        self,
        step: str,
        run: Run,
        sizes: Mapping[str, int],
        paths: Collection[str],
        failed: Collection[str] = (),
    ) -> Stamp:
        bad = len(set(paths) & set(failed))
        counts = [count(len(paths), "scope"), count(sum(sizes[path] for path in paths), "change")]
        counts += [f"{bad} failed"] if bad else []
        reason = on_one_line(run.reason)
        subject = f"{step}: {', '.join(counts)}" + (f" ({reason})" if 0 < len(reason) <= 50 else "")
        return Stamp(run.who, self._now(), f"{subject}\n\n{trailers(run)}\n")

    def history(
        self, scopes: Iterable[Scope] | None = None, limit: int | None = 20, since: datetime | None = None
    ) -> list[Entry]:
        """
        What runs did, newest first; one that was begun and is not over says so as its error.

        So does what somebody wrote by hand: an entry without a run.
        """
        paths = [] if scopes is None else [path_of(scope) for scope in scopes]
        entries = self._entries(paths, since) if paths or scopes is None else iter(())
        return list(islice(entries, limit))

    def _entries(self, paths: Collection[str], since: datetime | None) -> Iterator[Entry]:
        over: set[tuple[str, str]] = set()  # (run, path)
        for commit in self._branch.log(paths, since):
            said = _trailers(commit)
            run = said.get("Run", "")
            began = commit.stamp.message.startswith("begin:")
            blobs = {path: blob for path, blob in commit.files.items() if is_page(path)}
            if began:
                blobs = {path: blob for path, blob in blobs.items() if (run, path) not in over}
            else:
                over |= {(run, path) for path in blobs}
            if blobs and (run or not commit.stamp.message.startswith("compact:")):
                yield self._entry(commit, said, blobs, BY_HAND if not run else "never finished" if began else "")

    def _entry(self, commit: Commit, said: Mapping[str, str], blobs: Mapping[str, str], error: str) -> Entry:
        contents = self._branch.read(filter(None, blobs.values()))
        scopes = dict(_landed(path, contents.get(blob, b""), said.get("Run"), error) for path, blob in blobs.items())
        names = ("Run", "Commit", "Reason", "Plan", "Emergency", "Ticket", "Asked-by")
        run, revision, reason, plan, emergency, tickets, by = (said.get(name, "") for name in names)
        stamp = commit.stamp
        return Entry(commit.id, stamp.when, run, stamp.who, revision, reason, plan, emergency, tickets, by, scopes)

    def last(self, scopes: Iterable[Scope]) -> dict[Scope, datetime | None]:
        """
        When each was recorded last, on whole seconds; None while a run that was begun has no end. What is not recorded
        is absent.
        """
        pages = self.pages()
        paths = {path: scope for path, scope in ((path_of(scope), scope) for scope in scopes) if path in pages}
        found: dict[Scope, datetime | None] = {}
        for commit in self._branch.log(paths if len(paths) <= MANY else ()) if paths else ():
            message = commit.stamp.message
            for path in () if message.startswith("compact:") else commit.files.keys() & paths.keys():
                found.setdefault(paths[path], None if message.startswith("begin:") else commit.stamp.when)
            if len(found) == len(paths):
                break
        return found

    def push(self) -> None:
        """Bring outcomes that are only here to the remote."""
        with self._lock:
            self._branch.push()


def _landed(path: str, content: bytes, run: str | None, error: str) -> tuple[Scope, Landing]:
    """What one commit says of one scope; a page that is damaged must not hide the rest of the history."""
    try:
        page = parsed(path, content)
        error = error or ("" if page.last.get("run") == run else BY_HAND)
        return page.scope, Landing((), error) if error else landing(page)
    except LedgerError as problem:
        return scope_of(path), Landing((), error or str(problem))


def trailers(run: Run) -> str:
    """The last paragraph of a commit's message."""
    said = {"Run": run.id, "Commit": run.commit, "Plan": run.plan, "Reason": run.reason}
    said |= {"Emergency": run.emergency.branch} if run.emergency else {}
    said |= {"Ticket": ", ".join(run.asked.tickets), "Asked-by": ", ".join(run.asked.by)}
    return "\n".join(f"{name}: {on_one_line(value)}" for name, value in said.items() if value)


def _trailers(commit: Commit) -> dict[str, str]:
    lines = commit.stamp.message.rstrip("\n").rpartition("\n\n")[2].splitlines()
    return {name: value for name, _, value in (line.partition(": ") for line in lines)}
