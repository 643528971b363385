"""The trail of what was applied: renames, many runs, what somebody wrote by hand, and what becomes of it in years."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mspctl.errors import LedgerError
from mspctl.git.commit import Stamp, ident
from mspctl.ledger import BY_HAND, Ledger, trailers
from mspctl.ledger_page import Landing, Page, begun, finished, path_of, rendered, scope_of
from mspctl.record import Finished, Run
from mspctl.report.history import lines
from mspctl.resource import Change, Id, Resource, Scope
from tests.test_ledger import HELL

ZONE = Scope("ns-1", "dns", "brenta.example", "officine-brenta")
RUN = Run("r1", "Paolo Zen <paolo@msp.example>", "c0ffee", "#212", "5ea1")
DAY = datetime(2027, 3, 5, 9, tzinfo=UTC)


def record(name: str, value: int = 1) -> Resource:
    return Resource(Id("dns.rrset", f"{name} A"), {"ttl": 300, "values": frozenset([f"192.0.2.{value}"])}, "dns.yaml:2")


WWW, NEW = record("www", 80), record("www", 81)


def git(root: Path, *args: str, data: str | None = None) -> str:
    done = subprocess.run(["git", *args], cwd=root, input=data, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Eve")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "eve@msp.example")


@dataclass
class Book:
    """A ledger without a remote, and the day."""

    root: Path
    day: datetime = DAY
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        git(self.root, "init", "-q")
        self.ledger = Ledger.init(self.root, now=lambda: self.day)

    def apply(self, before: Resource | None, after: Resource | None, scope: Scope = ZONE, run: Run = RUN) -> None:
        change = Change(before, after)
        self.ledger.begin(run, {scope: {change.id: after}})
        self.ledger.finish(run, {scope: Finished({change.id: after}, [change])})

    def by_hand(self, message: str, files: Mapping[str, str | None], parents: tuple[str, ...] = ("ledger",)) -> str:
        """A commit on the branch, as somebody makes it who has a clone; None: without this file."""
        index = {**os.environ, "GIT_INDEX_FILE": str(self.root / "by-hand")}
        subprocess.run(["git", "read-tree", parents[0]], cwd=self.root, env=index, check=True)
        for path, content in files.items():
            blob = git(self.root, "hash-object", "-w", "--stdin", data=content) if content is not None else "0" * 40
            mode = "100644" if content is not None else "0"
            said = f"{mode} {blob}\t{path}\n"
            words = ["git", "update-index", "--index-info"]
            subprocess.run(words, cwd=self.root, env=index, input=said, text=True, check=True)
        words = ["git", "write-tree"]
        tree = subprocess.run(words, cwd=self.root, env=index, check=True, capture_output=True, text=True).stdout
        above = [word for parent in parents for word in ("-p", git(self.root, "rev-parse", parent))]
        made = git(self.root, "commit-tree", tree.strip(), *above, "-m", message)
        git(self.root, "update-ref", "refs/heads/ledger", made)
        return made

    def again(self) -> Ledger:
        return Ledger.open(self.root, now=lambda: self.day)


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path)


# -- how it reads ---------------------------------------------------------------------------------------------


def test_what_hosts_installed_is_told_among_the_runs(book: Book) -> None:
    fine = {"would": "2 updates", "rebooted": False, "failed": False}
    many = [[f"lib{number}", "1", "2"] for number in range(7)]
    book.apply(None, WWW)
    book.day += timedelta(hours=1)
    begun = {"srv-1": {"would": "2 updates"}, "srv-2": {"would": "a reboot"}, "srv-3": {"would": "9 updates"}}
    book.ledger.updated(RUN, "officine-brenta", begun, over=False)
    assert [*lines((), "officine-brenta", book.ledger.updates("officine-brenta"))][1:] == [
        f"    srv-{number}: it is not known how it ended" for number in (1, 2, 3)
    ]
    ended: dict[str, dict[str, object]] = {
        "srv-1": {
            **fine,
            "installed": [["demo", "1.0", "1.1"], ["new", "-", "2"], ["old", "3", "-"]],
            "rebooted": True,
        },
        "srv-2": {"would": "a reboot", "error": "it refuses connections"},
        "srv-3": {**fine, "installed": many, "failed": True},
        "srv-4": {**fine, "installed": None},
        "srv-5": {**fine, "installed": []},
    }
    book.ledger.updated(RUN, "officine-brenta", ended, over=True)
    book.ledger.updated(RUN, "other", {"nas": {**fine, "installed": []}}, over=True)
    book.day += timedelta(hours=1)
    book.apply(WWW, NEW)
    ledger = book.again()
    told = [*lines(ledger.history(), "officine-brenta", ledger.updates("officine-brenta"))]
    assert told == [
        "2027-03-05 11:00 Paolo Zen · #212 · ~1 in dns brenta.example on ns-1",
        "2027-03-05 10:00 Paolo Zen · #212 · updates on srv-1, srv-2, srv-3 and 2 more",
        "    srv-1: demo 1.0 → 1.1, new new → 2, old 3 → gone, rebooted",
        "    srv-2: it refuses connections",
        "    srv-3: lib0 1 → 2, lib1 1 → 2, lib2 1 → 2, lib3 1 → 2, lib4 1 → 2, lib5 1 → 2, 1 package more, "
        "the installation failed",
        "    srv-4: what was installed is not known",
        "    srv-5: nothing was installed",
        "2027-03-05 09:00 Paolo Zen · #212 · +1 in dns brenta.example on ns-1",
    ]
    assert [*lines(ledger.history(), "officine-brenta", ledger.updates("officine-brenta"), 1)] == told[:1]
    assert {page["customer"] for page in ledger.updates()} == {"officine-brenta", "other"}
    assert ledger.updates(since=book.day) == []


@pytest.mark.parametrize(
    "page",
    [
        "{",
        "[]",
        '{"when": "2027-03-05T09:00:00+00:00"}',
        '{"when": "2027-03-05T09:00:00+00:00", "who": "Eve", "customer": "acme", "hosts": []}',
        '{"when": "2027-03-05T09:00:00+00:00", "who": "E", "customer": "a", "hosts": {"a": {"installed": [[1, 2]]}}}',
        '{"when": "yesterday", "who": "Eve", "customer": "acme", "hosts": {}}',
    ],
)
def test_updates_that_somebody_wrote_by_hand_are_refused(book: Book, page: str) -> None:
    book.by_hand("mine", {".updates/acme/r9.json": page})
    with pytest.raises(LedgerError, match=r"\.updates/acme/ in the ledger has something that mspctl did not write"):
        book.again().updates("acme")


def test_a_run_is_a_line(book: Book) -> None:
    scopes = [replace(ZONE, name=f"z{number}.example") for number in range(5)]
    ends = {
        scope: Finished({WWW.id: WWW}, [Change(None, WWW), Change(WWW, NEW), Change(NEW, None)]) for scope in scopes
    }
    book.ledger.finish(RUN, ends)
    book.ledger.finish(replace(RUN, reason=""), {ZONE: Finished({}, [Change(None, WWW)], error="quota")})
    assert list(lines(book.ledger.history())) == [
        "2027-03-05 09:00 Paolo Zen · +1 in dns brenta.example on ns-1",
        "    dns brenta.example on ns-1: quota",
        "2027-03-05 09:00 Paolo Zen · #212 · +1 ~1 -1 in dns z0.example on ns-1, +1 ~1 -1 in dns z1.example on ns-1, "
        "+1 ~1 -1 in dns z2.example on ns-1 and 2 more scopes",
    ]


def test_what_a_run_found_done_is_told_and_counted(book: Book) -> None:
    book.ledger.begin(RUN, {ZONE: {WWW.id: WWW}})
    found = Finished({WWW.id: NEW}, [Change(WWW, NEW)], found=[Change(None, WWW)])
    book.ledger.finish(replace(RUN, id="r2"), {ZONE: found})
    assert list(lines(book.ledger.history())) == [
        "2027-03-05 09:00 Paolo Zen · #212 · +1 ~1 in dns brenta.example on ns-1",
        "    dns brenta.example on ns-1: found done, of a run that did not come to its end: www A",
        "2027-03-05 09:00 Paolo Zen · #212 · 0 in dns brenta.example on ns-1",
        "    dns brenta.example on ns-1: never finished",
    ]


def test_a_customer_that_was_renamed_or_handed_over_keeps_its_history(book: Book) -> None:
    book.apply(None, WWW)
    renamed = replace(ZONE, customer="brenta-holding")
    book.apply(WWW, NEW, renamed)
    assert list(lines(book.ledger.history([renamed]), "brenta-holding")) == [
        "2027-03-05 09:00 Paolo Zen · #212 · ~1 in dns brenta.example on ns-1",
        "2027-03-05 09:00 Paolo Zen · #212 · +1 in dns brenta.example on ns-1 (then of officine-brenta)",
    ]


def test_since_a_day_whatever_the_clocks_in_between_said(book: Book) -> None:
    for days in (0, 1, 2, -9, 3):
        book.day = DAY + timedelta(days=days)
        book.ledger.finish(replace(RUN, id=f"r{days}"), {ZONE: Finished({}, [Change(None, record(f"h{days}"))])})
    found = book.ledger.history(limit=None, since=DAY + timedelta(days=1))
    assert [entry.run for entry in found] == ["r3", "r2", "r1"]
    assert [entry.run for entry in book.ledger.history(limit=1, since=DAY)] == ["r3"]


def test_nothing_in_it_acts_on_a_terminal(book: Book) -> None:
    page = replace(Page(ZONE), last={"run": "r9", "error": "\x1b[2J\nfake: line"})
    book.by_hand("apply: x\n\nRun: r9\nReason: \x1b]0;owned\x07\n", {path_of(ZONE): rendered(page).decode()})
    said = list(lines(book.again().history()))
    assert len(said) == 2
    assert all(line.isprintable() for line in said)


# -- by hand --------------------------------------------------------------------------------------------------


def test_what_was_written_by_hand_is_told(book: Book) -> None:
    """Unless it is made to look like a run, message and page: nobody is asked for a signature."""
    book.apply(None, WWW)
    page = rendered(Page(ZONE, resources={NEW.id: NEW})).decode()
    edited = book.by_hand("fix", {path_of(ZONE): page})
    deleted = book.by_hand("tidy up", {path_of(ZONE): None, "README.md": "mine\n"})
    book.by_hand("only this", {"README.md": "yours\n"})
    ledger = book.again()
    assert ledger.recorded() == {}
    last, first, run = ledger.history()
    assert [(entry.id, entry.who, entry.run) for entry in (last, first)] == [
        (deleted, "Eve <eve@msp.example>", ""),
        (edited, "Eve <eve@msp.example>", ""),
    ]
    assert first.scopes == last.scopes == {ZONE: Landing((), BY_HAND)}
    assert run.scopes[ZONE].changes == (Change(None, WWW),)
    copied = f"apply: 1 scope\n\n{trailers(RUN)}\n"
    book.by_hand(copied, {path_of(ZONE): page})
    assert book.again().history(limit=1)[0].scopes == {ZONE: Landing((), BY_HAND)}
    forged = rendered(replace(Page(ZONE, resources={NEW.id: NEW}), last={"run": RUN.id})).decode()
    book.by_hand(copied, {path_of(ZONE): forged})
    assert book.again().history(limit=1)[0].scopes == {ZONE: Landing(())}


def test_a_merge_by_hand_is_told_too(book: Book) -> None:
    book.apply(None, WWW)
    before = book.ledger.tip
    side = book.by_hand("side", {path_of(ZONE): rendered(Page(ZONE, resources={NEW.id: NEW})).decode()})
    git(book.root, "update-ref", "refs/heads/ledger", before)
    book.apply(None, record("mail"))
    merged = book.by_hand("merge", {path_of(ZONE): rendered(Page(ZONE)).decode()}, ("ledger", side))
    found = {entry.id: entry.scopes[ZONE].error for entry in book.again().history()}
    assert found[merged] == found[side] == BY_HAND


def test_a_page_that_was_damaged_once_does_not_hide_the_rest(book: Book) -> None:
    book.apply(None, WWW)
    good = git(book.root, "show", f"ledger:{path_of(ZONE)}")
    book.by_hand("oops", {path_of(ZONE): "{"})
    book.by_hand(f"apply: x\n\n{trailers(RUN)}\n", {path_of(ZONE): "["})
    book.by_hand("back", {path_of(ZONE): good + "\n"})
    errors = [entry.scopes[ZONE].error for entry in book.again().history()]
    assert errors[0] == errors[2] == BY_HAND
    assert "ns-1/dns/brenta.example.json in the ledger is damaged" in errors[1]
    assert errors[3] == ""


@pytest.mark.parametrize("name", HELL)
def test_a_path_says_which_scope_it_is_of(name: str) -> None:
    for scope in (Scope(name, "f", "n"), Scope("t", name, "n"), Scope("t", "f", name)):
        assert scope_of(path_of(scope)) == scope


# -- what becomes of it ---------------------------------------------------------------------------------------


def test_compact_takes_out_what_is_past_its_time_and_no_history(book: Book) -> None:
    quiet = replace(ZONE, name="quiet.example")
    book.apply(None, WWW, quiet)
    book.ledger.finish(RUN, {quiet: Finished({WWW.id: None}, [Change(WWW, None)], used=["an approval"])})
    book.apply(None, WWW)
    book.day += timedelta(days=401)
    for number in range(12):
        book.apply(None, record(f"h{number}"), run=replace(RUN, id=f"later-{number}"))
    told, commits = book.ledger.history(limit=None), git(book.root, "rev-list", "ledger").split()
    assert book.ledger.recorded([quiet])[quiet].resources[WWW.id].tombstone == DAY.date()
    assert book.ledger.compact("Paolo Zen <paolo@msp.example>") == 1
    assert book.ledger.compact("Paolo Zen <paolo@msp.example>") == 0
    record_ = book.ledger.recorded([quiet])[quiet]
    assert (record_.resources, record_.used) == ({}, frozenset())
    assert book.ledger.recorded([ZONE])[ZONE].resources.keys() >= {WWW.id}
    assert book.ledger.history(limit=None) == told
    assert git(book.root, "rev-list", "ledger").split()[1:] == commits
    assert git(book.root, "log", "-1", "--format=%an: %s", "ledger") == "Paolo Zen: compact: 1 scope"


class Years:
    """A ledger of many customers after many days, written in one go."""

    def __init__(self, root: Path) -> None:
        git(root, "init", "-q")
        Ledger.init(root, now=lambda: DAY)
        self.root, self.random = root, random.Random(1)  # noqa: S311
        self.pages: dict[Scope, Page] = {}
        self.first = git(root, "rev-parse", "ledger")

    def pass_by(self, customers: int, days: int, applies: int) -> None:
        scopes = [Scope("ns-1", "dns", f"z{n}.example", f"customer-{n // 3}") for n in range(3 * customers)]
        stream = b"".join(self._stream(scopes, days, applies))
        done = subprocess.run(["git", "fast-import", "--quiet"], cwd=self.root, input=stream, check=False)
        assert done.returncode == 0

    def _stream(self, scopes: list[Scope], days: int, applies: int) -> Iterator[bytes]:
        yield b"reset refs/heads/ledger\nfrom %b\n\n" % self.first.encode()
        import_ = {s: [Change(None, record(f"h{n}", n)) for n in range(self.random.randint(1, 40))] for s in scopes}
        yield from self._apply(replace(RUN, id="import"), DAY, import_)
        for number in range(days * applies):
            when = DAY + timedelta(days=1 + number // applies, minutes=number % applies)
            touched = self.random.sample(scopes, self.random.choice((1, 1, 2, 3)))
            run = replace(RUN, id=f"run-{number}", reason=f"#{number}")
            yield from self._apply(run, when, {scope: self._changes(scope, number) for scope in touched})

    def _changes(self, scope: Scope, number: int) -> list[Change]:
        held = [r for r in self.pages[scope].resources.values() if isinstance(r, Resource)]
        gone = self.random.sample(held, min(len(held), self.random.randint(0, 2)))
        new = replace(record(f"n{number}"), fields={"ttl": number})
        changed = [Change(r, None if self.random.random() < 0.4 else replace(r, fields={"ttl": number})) for r in gone]
        return [*changed, Change(None, new)]

    def _apply(self, run: Run, when: datetime, changes: Mapping[Scope, list[Change]]) -> Iterator[bytes]:
        intents, ends = {}, {}
        for scope, made in changes.items():
            after = {change.id: change.after for change in made}
            page = begun(self.pages.get(scope, Page(scope)), scope, run, after)
            intents[path_of(scope)] = rendered(page)
            self.pages[scope] = finished(page, scope, run, Finished(after, made), when.date())
            ends[path_of(scope)] = rendered(self.pages[scope])
        for step, files in (("begin", intents), ("apply", ends)):
            who, message = ident(Stamp(run.who, when, "")), f"{step}: x\n\n{trailers(run)}\n".encode()
            yield b"commit refs/heads/ledger\nauthor %b\ncommitter %b\ndata %d\n%b\n" % (
                who,
                who,
                len(message),
                message,
            )
            for path, content in files.items():
                yield b'M 100644 inline "%b"\ndata %d\n%b\n' % (path.encode(), len(content), content)

    def size(self) -> int:
        """Bytes of all objects, after git has tidied up."""
        git(self.root, "gc", "--quiet")
        return sum(path.stat().st_size for path in (self.root / ".git/objects").rglob("*") if path.is_file())


def test_300_customers_in_400_days(tmp_path: Path) -> None:
    """2,000 applies of 300 customers: the history is kept whole because it is small, and compacting leaves it alone."""
    years = Years(tmp_path)
    years.pass_by(customers=300, days=400, applies=5)
    ledger = Ledger.open(tmp_path, now=lambda: DAY + timedelta(days=600))
    assert len(ledger.recorded()) == 900
    assert years.size() < 8_000_000
    told = ledger.history([*years.pages][:3], limit=None)
    assert {entry.run for entry in told} > {"import"}
    assert ledger.compact("Paolo Zen <paolo@msp.example>") > 0
    assert ledger.history([*years.pages][:3], limit=None) == told
    assert years.size() < 8_000_000
