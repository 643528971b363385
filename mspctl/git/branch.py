"""
Files on a branch of a Git repository: many are read at once, many are written in one commit, no update is lost.

Only objects and refs are written. Work tree, index, HEAD and FETCH_HEAD stay as they are, so the repository may be
bare, shallow, or on a detached HEAD. A commit is published first, then the local branch moves to it; both steps are
compare-and-swap, and who comes second applies its edits again to what came first. Nothing is ever forced.
What the files mean is not known here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from random import SystemRandom

from mspctl.errors import LedgerError
from mspctl.git.command import Away, Git, RemoteError
from mspctl.git.commit import Commit, Stamp, parsed, stream

Edit = Callable[[bytes | None], bytes | None]  # old content → new; None: no such file; pure, for it may be called again
Merge = Callable[[str, bytes | None, bytes | None, bytes | None], bytes | None]  # path, base, ours, theirs → both

ATTEMPTS = 40  # more than ever write at once; a lost race means that somebody else got on
MOVED = "but expected|already exists|File exists|unable to resolve reference|old value|stale info|failed to update ref"
LOST_RACE = re.compile(f"{MOVED}|fetch first|non-fast-forward")


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
            yield parsed(name, content.decode("utf-8", "replace"), files.get(name, {}))

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
        answer = self._git.call("fast-import", "--quiet", data=stream(files, parent, nothing, draft, stamp))
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
