"""git as a function: started as a program, never imported, and never left to ask anybody anything."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, strsignal
from subprocess import PIPE, Popen, TimeoutExpired
from tempfile import TemporaryFile
from typing import IO

from mspctl import secrets, vault
from mspctl.errors import LedgerError

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
CRASHED = "fast-import: dumping crash report to "
IN_THE_WAY = re.compile(r"Unable to create '([^'\n]+\.lock)': File exists")


class RemoteError(LedgerError):
    """The remote does not answer, refuses, or is not what it was."""


class Away(RemoteError):
    """The remote gives no answer, which says nothing against what was fetched before."""


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
