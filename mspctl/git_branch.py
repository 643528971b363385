"""
Files on a branch of a Git repository: many are read at once, many are written in one commit, no update is lost.

Only objects and refs are written. Work tree, index, HEAD and FETCH_HEAD stay as they are, so the repository may be
bare, shallow, or on a detached HEAD. A commit is published first, then the local branch moves to it; both steps are
compare-and-swap, and who comes second applies its edits again to what came first. Nothing is ever forced.
What the files mean is not known here.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from random import SystemRandom
from signal import SIGKILL, strsignal
from subprocess import PIPE, Popen, TimeoutExpired
from tempfile import TemporaryFile
from typing import IO

from mspctl import secrets, vault
from mspctl.errors import LedgerError

Edit = Callable[[bytes | None], bytes | None]  # old content → new; None: no such file; pure, for it may be called again
Merge = Callable[[str, bytes | None, bytes | None, bytes | None], bytes | None]  # path, base, ours, theirs → both

ATTEMPTS = 40  # more than ever write at once; a lost race means that somebody else got on
PATIENCE = 180.0  # seconds for one git command; a network that swallows packets must not hang a run
LAST_ORDERS = 20.0  # seconds that a git command has left when mspctl is interrupted
DEAD = 10.0  # seconds for which git's lock file on a ref stands unchanged when the git that made it was killed

# git's own hooks set these; one that runs mspctl must not turn it to the repository of the hook.
FOREIGN = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"),
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_SHALLOW_FILE", "GIT_GRAFT_FILE"),
)
OURS = (secrets.PREFIX, vault.PASSWORD)  # secrets: git and what it starts have no use for them
# Neither hooks nor signatures nor housekeeping that the user configured for work of another kind.
SETTINGS = (
    *("core.hooksPath=/dev/null", "core.useReplaceRefs=false", "gc.auto=0", "maintenance.auto=false"),
    *("push.followTags=false", "push.recurseSubmodules=no", "push.gpgSign=false"),
)
_MOVED = "but expected|already exists|File exists|unable to resolve reference|old value|stale info|failed to update ref"
LOST_RACE = re.compile(f"{_MOVED}|fetch first|non-fast-forward")
CRASHED = "fast-import: dumping crash report to "
IN_THE_WAY = re.compile(r"Unable to create '([^'\n]+\.lock)': File exists")


class RemoteError(LedgerError):
    """The remote does not answer, refuses, or is not what it was."""


class Away(RemoteError):
    """The remote gives no answer, which says nothing against what was fetched before."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who, when and why, of one commit."""

    who: str  # "Paolo Zen <paolo@msp.example>"; anything is taken
    when: datetime  # with a time zone
    message: str


@dataclass(frozen=True, slots=True)
class Commit:
    id: str
    parent: str  # "" for the first
    stamp: Stamp
    files: Mapping[str, str]  # what it wrote: path → blob, "" where it deleted


class Branch:
    """
    One branch, as it was at the commit `tip`.

    Raises LedgerError when git is missing, or `root` is not in a repository. `merge` is asked when commits that
    could not be pushed meet newer ones of others. `alone`: without the remote, which `sync` makes up for later.
    """

    races = LOST_RACE  # refusals of a push after which another one may succeed

    def __init__(self, root: Path, name: str, merge: Merge, *, alone: bool = False) -> None:
        self._git = Git(root)
        self.name = name
        self._merge = merge
        self._head, self._seen = f"refs/heads/{name}", f"refs/mspctl/{name}-seen"
        self._alone = alone
        self.tip = ""  # "" until `sync` or `start`, and after a `sync` that found nothing
        self._obstacle = ""  # what was in the way last, when it was a file
        self._listed: tuple[str, Mapping[str, str]] = "", {}  # the files of a commit
        self._ahead: Mapping[str, bytes] = {}  # contents that were read ahead

    @cached_property
    def remote(self) -> str:
        """Its name; "" when there is none, or it is done without."""
        return "" if self._alone else self._git.remote(f"the {self.name}")

    # Reading

    def paths(self) -> Mapping[str, str]:
        """Every file: path → blob."""
        if self._listed[0] != self.tip:
            self._listed = self.tip, self._tree(self.tip)
        return self._listed[1]

    def _tree(self, commit: str) -> dict[str, str]:
        entries = self._git("ls-tree", "-r", "-z", commit).split("\0")[:-1] if commit else ()
        return {path: about.split(" ")[2] for about, _, path in (entry.partition("\t") for entry in entries)}

    def length(self) -> int:
        """How many commits there are."""
        return int(self._git("rev-list", "--count", self.tip)) if self.tip else 0

    def read_ahead(self, wanted: Callable[[str], bool]) -> None:
        """Have the files at these paths at hand for the next `read`; for a thread that has nothing else to do."""
        self._ahead = self.read(blob for path, blob in self.paths().items() if wanted(path))

    def read(self, ids: Iterable[str]) -> Mapping[str, bytes]:
        """Contents of many objects in one go, in this order."""
        wanted = [*ids]
        ahead, self._ahead = self._ahead, {}
        if ahead and ahead.keys() >= {*wanted}:
            return {name: ahead[name] for name in wanted}
        contents = {}
        for name, content in self._git.objects(wanted).items():
            if content is None:
                raise LedgerError(f"the {self.name} is damaged: {name} is missing")
            contents[name] = content
        return contents

    def _at(self, commit: str, paths: Iterable[str]) -> dict[str, bytes | None]:
        tree = self._tree(commit)
        contents = self.read(tree[path] for path in paths if path in tree)
        return {path: contents[tree[path]] if path in tree else None for path in paths}

    def log(self, paths: Collection[str] = (), since: datetime | None = None) -> Iterator[Commit]:
        """Commits, newest first; with `paths`, those that touched them, and only these files."""
        # Of all, because a commit in between whose clock was slow must not hide those below it.
        said = (line.split(" ") for line in self._git("log", "--format=%H %ct", self.tip, "--", *paths).splitlines())
        ids = [name for name, seconds in said if since is None or int(seconds) >= since.timestamp()]
        for start in range(0, len(ids), 50):
            yield from self._commits(ids[start : start + 50], paths)

    def times(self, number: int) -> list[datetime]:
        """When the newest commits were made."""
        said = self._git("log", f"--max-count={number}", "--format=%ct", self.tip).split()
        return [datetime.fromtimestamp(int(seconds), UTC) for seconds in said]

    def _commits(self, ids: Collection[str], paths: Collection[str] = ()) -> Iterator[Commit]:
        files = self._touched(ids, paths)
        for name, content in self.read(ids).items():
            yield _parse_commit(name, content.decode("utf-8", "replace"), files.get(name, {}))

    def _touched(self, ids: Iterable[str], paths: Iterable[str]) -> dict[str, dict[str, str]]:
        flags = ("--stdin", "--root", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", "--diff-merges=first-parent")
        tokens = iter(self._git("diff-tree", *flags, "--", *paths, data="\n".join(ids) + "\n").split("\0")[:-1])
        touched: dict[str, dict[str, str]] = {}
        files: dict[str, str] = {}
        for token in tokens:
            if token.startswith(":"):  # ":mode mode blob blob letter", then the path
                blob = token.split(" ")[3]
                files[next(tokens)] = blob if blob.strip("0") else ""
            else:
                files = touched[token] = {}
        return touched

    # Together with the remote

    def sync(self, *beside: Branch) -> None:
        """
        Fetch, and bring the local branch forward. What could not be pushed before stays on top, replayed.

        `beside` are further branches of the repository: the remote is asked once for all, and fetched from once.
        """
        self._git.sweep()
        branches, remote = (self, *beside), self.remote
        for _ in self._attempts():
            # Ours are looked up first, for other processes fetch too.
            here = self._git.refs(ref for branch in branches for ref in (branch._head, branch._seen))
            there = self._fetched(branches, here) if remote else {}
            if all([b._arrive(here.get(b._head, ""), there.get(b._head, "")) for b in branches]):
                return

    def _fetched(self, branches: Collection[Branch], here: Mapping[str, str]) -> dict[str, str]:
        """The remote's tips, and all that hangs on them."""
        there = self._remote_tips(*(branch._head for branch in branches))
        moved = [b for b in branches if there.get(b._head, "") != here.get(b._seen, "")]
        if wanted := [branch._head for branch in moved if branch._head in there]:
            self._download(*wanted)
        for branch in moved:
            branch._believe(there.get(branch._head, ""), here.get(branch._seen, ""))
        return there

    def _believe(self, theirs: str, seen: str) -> None:
        """Take note that the remote has `theirs` now, if that can be after `seen`."""
        if not theirs:
            raise RemoteError(f"the {self.name} is gone from {self.remote}, which had {seen[:12]}")
        self._check_descent(theirs, seen)
        self._advance(self._seen, theirs)

    def _arrive(self, ours: str, theirs: str) -> bool:
        """Bring the local branch to where the remote is. False: another process has moved it meanwhile."""
        if not theirs or (ours and self._descends(ours, theirs)):
            self.tip = ours
            return True
        forward = not ours or self._descends(theirs, ours)
        self.tip = theirs if forward else self._replay(ours, theirs)
        return self._move(self.tip, ours, self._head)

    def _remote_tips(self, *refs: str) -> dict[str, str]:
        answer = self._git.call("ls-remote", self.remote, *refs)
        if answer.code:
            raise Away(f"cannot fetch the {self.name} from {self.remote}: {answer.complaint}")
        found = (line.partition("\t") for line in answer.text.splitlines())
        return {ref: commit for commit, _, ref in found if ref in refs}

    def _download(self, *refs: str, flags: Sequence[str] = ()) -> None:
        still = ("--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--no-filter", "--refmap=")
        answer = self._git.call("fetch", *still, *flags, self.remote, *refs)
        if answer.code:
            raise Away(f"cannot fetch the {self.name} from {self.remote}: {answer.complaint}")

    def _check_descent(self, theirs: str, seen: str) -> None:
        if not seen or self._descends(theirs, seen):
            return
        if self._git("rev-parse", "--is-shallow-repository").strip() == "true":
            self._download(
                self._head, flags=["--depth=2147483647"]
            )  # git's "all"; what lies between may just not be here
            if self._descends(theirs, seen):
                return
        raise RemoteError(
            f"the {self.name} on {self.remote} was rewound or replaced: "
            f"{theirs[:12]} does not follow {seen[:12]}, which was there before"
        )

    def _replay(self, ours: str, theirs: str) -> str:
        """What only we have, once more on top of theirs."""
        base = self._git.call("merge-base", ours, theirs).text.strip()
        if not base:
            raise LedgerError(
                f"the {self.name} here and the one on {self.remote} diverged: they have nothing in common, one must go"
            )
        for commit in self._commits(self._git("rev-list", "--reverse", f"{base}..{ours}").split()):
            old = [self._at(revision, commit.files) for revision in (commit.parent, commit.id, theirs)]
            files = {path: self._merge(path, *(contents[path] for contents in old)) for path in commit.files}
            theirs = self._write({p: new for p, new in files.items() if new != old[-1][p]}, theirs, commit.stamp)
        return theirs

    def push(self) -> None:
        """Bring to the remote what is only here."""
        if not self.remote:
            raise LedgerError(f"there is no remote to push the {self.name} to")
        for _ in self._attempts():
            self.sync()
            if self.tip == self._ref(self._seen) or self._publish(self.tip):
                return

    # Writing

    def start(self, files: Mapping[str, bytes], stamp: Stamp) -> None:
        """The first commit. Refuses when there is a branch already, here or on the remote."""
        exists = "a {} exists already {}"
        if self._ref(self._head):
            raise LedgerError(exists.format(self.name, "here"))
        if self.remote and self._remote_tips(self._head):
            raise LedgerError(exists.format(self.name, f"on {self.remote}"))
        if seen := self._ref(self._seen):
            self._git("update-ref", "-d", self._seen, seen)  # of one that was given up on purpose
        commit = self._write(files, "", stamp)
        if not self._place(commit):
            raise LedgerError(exists.format(self.name, f"on {self.remote}" if self.remote else "here"))
        self.tip = commit

    def fork(self, commit: str, files: Mapping[str, bytes | None], stamp: Stamp) -> None:
        """
        Start here, with `files` written (None: deleted) on top of a commit of another branch; "" for none.

        `push` publishes it.
        """
        started = self._write(files, commit, stamp)
        if not self._place_here(started):
            raise LedgerError(f"a branch {self.name} exists already")
        self.tip = started

    def update(self, edits: Mapping[str, Edit], stamp: Callable[[Collection[str]], Stamp]) -> None:
        """
        Given what to do to each file, commit and publish those that change; `stamp` is told their paths.

        Raises RemoteError when it could not be published; then nothing has happened.
        """
        self._update(edits, stamp, self._place)

    def keep(self, edits: Mapping[str, Edit], stamp: Callable[[Collection[str]], Stamp]) -> None:
        """The same without the remote: a later `update` or `push` brings it there."""
        self._update(edits, stamp, self._place_here)

    def _update(
        self,
        edits: Mapping[str, Edit],
        stamp: Callable[[Collection[str]], Stamp],
        place: Callable[[str], bool],
    ) -> None:
        for _ in self._attempts():
            old = self._at(self.tip, edits)
            new = {path: edit(old[path]) for path, edit in edits.items()}
            files = {path: content for path, content in new.items() if content != old[path]}
            if not files:
                return
            commit = self._write(files, self.tip, stamp(files))
            if place(commit):
                self.tip = commit
                return

    def _write(self, files: Mapping[str, bytes | None], parent: str, stamp: Stamp) -> str:
        """A commit that no ref holds yet; `parent` itself when there is nothing to write."""
        if not files:
            return parent
        nothing = "0" * len(parent or self._git("hash-object", "--stdin").strip())
        draft = f"refs/mspctl/draft-{SystemRandom().getrandbits(64):016x}"  # fast-import wants one; the end removes it
        who = ident(stamp)
        lines = [b"feature done", f"commit {draft}".encode(), b"mark :1", b"author " + who, b"committer " + who]
        lines += _data(_message(stamp))
        lines += [f"from {parent}".encode()] if parent else []
        for path, content in sorted(files.items()):
            name = _quoted(path)
            lines += [b"D " + name] if content is None else [b"M 100644 inline " + name, *_data(content)]
        lines += [b"", b"get-mark :1", f"reset {draft}".encode(), f"from {nothing}".encode(), b"", b"done", b""]
        answer = self._git.call("fast-import", "--quiet", data=b"\n".join(lines))
        self._git.forget_crash(answer)
        return self._git.checked(answer).text.strip()

    def _place(self, commit: str) -> bool:
        return self._publish(commit) if self.remote else self._place_here(commit)

    def _place_here(self, commit: str) -> bool:
        """Move the local branch from `tip`. False: it has moved, and `tip` with it; build again."""
        if self._move(commit, self.tip, self._head):
            return True
        self.tip = self._ref(self._head)
        return False

    def _publish(self, commit: str) -> bool:
        """The remote first, then here. False: somebody was faster, and `tip` is theirs now; build again."""
        # A mirror clone's remote would refuse to be told what to push.
        flags = ("--porcelain", "--no-verify", *self._lease(), self.remote, f"{commit}:{self._head}")
        answer = self._git.call("-c", f"remote.{self.remote}.mirror=false", "push", *flags)
        if answer.code == 0:
            self._published(commit)
            return True
        verdict = next((line.split("\t")[-1] for line in answer.text.splitlines() if line.startswith("!")), "")
        self._obstacle = answer.complaint if answer.in_the_way else ""
        before = self.tip
        self.sync()
        if self.tip == before and not self.races.search(verdict):
            raise RemoteError(f"cannot push the {self.name} to {self.remote}: {verdict or answer.complaint}")
        return False

    def _lease(self) -> Sequence[str]:
        return ()  # never forced

    def _published(self, commit: str) -> None:
        if commit == self.tip or not self._move(commit, self.tip, self._head, self._seen):
            self._advance(self._seen, commit)
            self._advance(self._head, commit)

    # Refs

    def _ref(self, ref: str) -> str:
        return self._git.call("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").text.strip()

    def _descends(self, commit: str, ancestor: str) -> bool:
        if commit == ancestor:
            return True
        answer = self._git.call("merge-base", "--is-ancestor", ancestor, commit)
        if answer.code > 1:
            raise LedgerError(f"the {self.name} is damaged: {answer.complaint}")
        return answer.code == 0

    def _advance(self, ref: str, commit: str) -> None:
        """Never back: a ref that another process has already moved further stays."""
        for _ in self._attempts():
            old = self._ref(ref)
            if (old and not self._descends(commit, old)) or self._move(commit, old, ref):
                return

    def _move(self, new: str, old: str, *refs: str) -> bool:
        """All of `refs` or none, and only if they are at `old` ("": do not exist yet)."""
        if new == old:
            return True
        orders = (f"update {ref} {new} {old}" if old else f"create {ref} {new}" for ref in refs)
        answer = self._git.call("update-ref", "-m", "mspctl", "--stdin", data="\n".join(orders) + "\n")
        self._obstacle = answer.complaint if answer.in_the_way else ""
        if answer.in_the_way:
            self._git.clear(answer.in_the_way, refs)
        elif answer.code and not LOST_RACE.search(answer.complaint):
            raise LedgerError(f"cannot move the {self.name}: {answer.complaint}")
        return answer.code == 0

    def _attempts(self) -> Iterator[int]:
        for attempt in range(ATTEMPTS):
            yield attempt
            time.sleep(SystemRandom().uniform(0, min(2.0, 0.1 * 1.5**attempt)))
        if self._obstacle:
            raise RemoteError(f"cannot write the {self.name}: {self._obstacle} ({ATTEMPTS} attempts were not enough)")
        raise RemoteError(f"others write the {self.name} all the time; {ATTEMPTS} attempts were not enough")


class Cache(Branch):
    """
    A branch that could be made again: what the remote has is taken as it is, and its history may be dropped.

    Nothing is kept that could not be published, so there is nothing to merge.
    """

    # It is pushed with a lease: who is late is told so here, and "non-fast-forward" is the remote's last word.
    races = re.compile(_MOVED)

    def __init__(self, root: Path, name: str) -> None:
        super().__init__(root, name, lambda path, base, ours, theirs: ours)
        self._there = ""  # what the remote has

    def squash(self, stamp: Stamp) -> None:
        """Keep the files and drop how they came to be: one commit without a parent, and publish it."""
        for _ in self._attempts():
            tree, who = self._git("rev-parse", f"{self.tip}^{{tree}}").strip().encode(), ident(stamp)
            content = b"tree %b\nauthor %b\ncommitter %b\n\n%b" % (tree, who, who, _message(stamp))
            commit = self._git("hash-object", "-t", "commit", "-w", "--stdin", data=content).strip()
            if self._place(commit):
                self.tip = commit
                return

    def _believe(self, theirs: str, seen: str) -> None:
        if theirs:
            self._move(theirs, seen, self._seen)

    def _arrive(self, ours: str, theirs: str) -> bool:
        self._there = theirs
        self.tip = theirs or ours
        return self._move(self.tip, ours, self._head)

    def _lease(self) -> Sequence[str]:
        return (f"--force-with-lease={self._head}:{self._there}",)

    def _published(self, commit: str) -> None:
        self._there = commit
        for ref in (self._head, self._seen):
            self._move(commit, self._ref(ref), ref)


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        return self.out.decode("utf-8", "surrogateescape")

    @property
    def text_of_errors(self) -> str:
        return self.err.decode("utf-8", "replace")

    @property
    def in_the_way(self) -> str:
        """git's lock file that another git holds, or left behind when it was killed; "" when that is not the reason."""
        found = IN_THE_WAY.search(self.text_of_errors) if self.code else None
        return found[1].replace("/./", "/") if found else ""

    @property
    def _end(self) -> str:
        return f"git ended with {self.code}" if self.code >= 0 else f"git was killed ({strsignal(-self.code)})"

    @property
    def complaint(self) -> str:
        """The last line that says something, without the credentials that a remote's address may carry."""
        if file := self.in_the_way:
            return f"{redacted(file)} is in the way; when no git is at work, one that was killed left it: remove it"
        lines = [line.strip() for line in self.text_of_errors.splitlines()]
        idle = ("hint:", "Please make sure you have", "and the repository exists", CRASHED)
        lines = [line for line in lines if line and not line.startswith(idle)] or [self._end]
        if lines[-1] == "fatal: Could not read from remote repository.":
            lines = lines[:-1] or lines  # ssh has said why, just before
        return redacted(lines[-1].removeprefix("fatal: ").removeprefix("error: "))


def redacted(line: str) -> str:
    """https://user:token@host → https://host"""
    return re.sub(r"([a-z][a-z0-9+.-]*://)[^\s'\"]*@", r"\1", line)


class Git:
    """git as a function: nobody is asked anything, and what fails is a LedgerError of one line."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise LedgerError(f"{root} is not a directory")
        self.root = root
        self._command = ["git", "--no-pager", *(word for setting in SETTINGS for word in ("-c", setting))]
        self._met: dict[tuple[str, int, int], float] = {}  # lock files in the way → when they were first met
        kept = (name for name in os.environ if name not in FOREIGN and not name.startswith(OURS))
        self._environment = {name: os.environ[name] for name in kept} | {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_COMMITTER_NAME": "mspctl",
            "GIT_COMMITTER_EMAIL": "mspctl@localhost",
            "LANGUAGE": "C",  # what git complains of is looked at
            "LC_ALL": "C",
        }

    def __call__(self, *args: str, data: str | bytes = b"") -> str:
        return self.raw(*args, data=data).decode("utf-8", "surrogateescape")

    def raw(self, *args: str, data: str | bytes = b"") -> bytes:
        return self.checked(self.call(*args, data=data)).out

    @staticmethod
    def checked(answer: Answer) -> Answer:
        if answer.code:
            raise LedgerError(answer.complaint)
        return answer

    def call(self, *args: str, data: str | bytes = b"") -> Answer:
        """For those who want to look at a failure themselves."""
        # What git says may be long: in a file it is there at once, and read without being pieced together.
        with TemporaryFile() as out:
            code, err = self._run(args, data.encode() if isinstance(data, str) else data, out)
            out.seek(0)
            return Answer(code, out.read(), err)

    def _run(self, args: Sequence[str], data: bytes, out: IO[bytes]) -> tuple[int, bytes]:
        try:
            # A session of its own: no terminal to ask at, and Ctrl-C ends mspctl in order, not a push in the middle.
            process = Popen(  # noqa: S603
                [*self._command, *args],
                stdin=PIPE,
                stdout=out,
                stderr=PIPE,
                cwd=self.root,
                env=self._environment,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise LedgerError("git is not installed, or not in PATH") from error
        except OSError as error:  # more arguments than the system takes
            raise LedgerError(f"cannot start git: {error.strerror}") from error
        try:
            _, err = process.communicate(data, timeout=PATIENCE)
        except TimeoutExpired:
            os.killpg(process.pid, SIGKILL)  # the ssh below it as well
            process.communicate()
            return 124, f"no answer within {PATIENCE:.0f} seconds".encode()
        except KeyboardInterrupt:
            # A push that was begun may still arrive, and whoever cleans up must come after it.
            with suppress(TimeoutExpired):
                process.communicate(timeout=LAST_ORDERS)
            raise
        return process.returncode, err

    def clear(self, file: str, refs: Iterable[str]) -> None:
        """
        Given git's lock file on one of `refs` of this repository, remove it once it is plain that its git is dead.

        Moving a ref takes git milliseconds. How long the file stood is measured by our own watch: clocks jump.
        """
        try:
            now, about = time.monotonic(), os.stat(file)
        except OSError:
            return
        met = self._met.setdefault((file, about.st_ino, about.st_mtime_ns), now)
        if now - met > DEAD and file.endswith(tuple(f"/{ref}.lock" for ref in refs)):
            with suppress(OSError):
                os.unlink(file)

    def sweep(self) -> None:
        """
        What a git of ours left that was killed while it dropped its draft: lock files that nobody else will meet.

        The one on packed-refs is only known to be ours by the other, of the same moment.
        """
        top = next((folder for folder in (self.root, *self.root.parents) if (folder / ".git").is_dir()), self.root)
        packed = top / ".git/packed-refs.lock"
        for file in (top / ".git/refs/mspctl").glob("draft-*.lock"):
            with suppress(OSError):
                died = file.stat().st_mtime
                if time.time() - died > DEAD:
                    file.unlink()
                    if abs(packed.stat().st_mtime - died) < 1:
                        packed.unlink()

    def forget_crash(self, answer: Answer) -> None:
        """A disk that is full makes fast-import fail; what it then writes down would stay for ever."""
        for line in answer.text_of_errors.splitlines() if answer.code else ():
            if line.startswith(CRASHED):
                with suppress(OSError):
                    os.unlink(self.root / line.removeprefix(CRASHED))

    def remote(self, what: str) -> str:
        """Which remote holds `what`: `origin`, else the only one; "" when there is none."""
        answer = self.call("remote")
        if answer.code and "not a git repository" in answer.complaint:
            raise LedgerError(f"{self.root} is not in a Git repository; run git init")
        remotes = self.checked(answer).text.split()
        if not remotes:
            return ""
        if len(remotes) > 1 and "origin" not in remotes:
            raise LedgerError(f"which remote holds {what}? none of {', '.join(remotes)} is called origin")
        if not {"GIT_SSH", "GIT_SSH_COMMAND"} & os.environ.keys() and self.call("config", "core.sshCommand").code:
            self._environment["GIT_SSH_COMMAND"] = "ssh -oBatchMode=yes -oConnectTimeout=30"
        return "origin" if "origin" in remotes else remotes[0]

    def refs(self, names: Iterable[str]) -> dict[str, str]:
        """Ref → commit, of those that exist."""
        found = (
            line.split(" ") for line in self("for-each-ref", "--format=%(refname) %(objectname)", *names).splitlines()
        )
        return {ref: commit for ref, commit in found}

    def objects(self, ids: Iterable[str]) -> dict[str, bytes | None]:
        """Contents of many objects in one go; None for one that is not here."""
        wanted = list(dict.fromkeys(ids))
        stream = self.raw("cat-file", "--batch", data="\n".join(wanted) + "\n") if wanted else b""
        contents: dict[str, bytes | None] = {}
        at = 0
        for name in wanted:
            end = stream.index(b"\n", at)
            header = stream[at:end].split(b" ")
            at = end + 1
            contents[name] = None
            if len(header) == 3:
                contents[name] = stream[at : at + int(header[2])]
                at += int(header[2]) + 1  # the newline behind
        return contents


def _parse_commit(name: str, content: str, files: Mapping[str, str]) -> Commit:
    header, _, message = content.partition("\n\n")
    parent = re.search(r"^parent (\S+)$", header, re.MULTILINE)
    author = re.search(r"^author (.*) (\d+) ([+-]\d{4})$", header, re.MULTILINE)
    who, seconds, zone = author.groups() if author else ("", "0", "+0000")
    when = datetime.fromtimestamp(int(seconds), datetime.strptime(zone, "%z").tzinfo)
    return Commit(name, parent[1] if parent else "", Stamp(who, when, message), files)


def ident(stamp: Stamp) -> bytes:
    """Name, address and time as Git writes them; whatever could end them early is left out."""
    name, _, rest = stamp.who.partition("<")
    address = rest.partition(">")[0]
    name = " ".join("".join(c if c.isprintable() and c not in "<>" else " " for c in name).split())
    address = "".join(c for c in address if c.isprintable() and c not in "<> ")
    when = f"{int(stamp.when.timestamp())} {stamp.when:%z}"
    return f"{name or 'unknown'} <{address}> {when}".encode("utf-8", "replace")


def _message(stamp: Stamp) -> bytes:
    return stamp.message.replace("\0", " ").encode("utf-8", "replace")


def _data(content: bytes) -> list[bytes]:
    return [b"data %d" % len(content), content]


def _quoted(path: str) -> bytes:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'.encode("utf-8", "surrogateescape")
