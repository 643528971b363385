"""Where locks are kept: refs, which are read and moved all at once; and which ref is which lock's."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from random import SystemRandom
from urllib.parse import unquote

from mspctl.git.branch import LOST_RACE
from mspctl.git.command import Git, RemoteError
from mspctl.git.commit import Stamp, ident
from mspctl.kinds import on_one_line

LOCKS, SIGHTED = "refs/mspctl/locks/", "refs/mspctl/sighted/"
ATTEMPTS = 20  # where nobody is in the way but a busy server
RACE = re.compile(f"{LOST_RACE.pattern}|cannot lock ref|remote ref does not exist|atomic (push|transaction) fail")

Orders = Mapping[str, tuple[str, str]]  # ref → (from, to); "": it does not exist


class Refs:
    """Refs on the remote, or of this repository when there is none."""

    def __init__(self, root: Path, *, alone: bool = False) -> None:
        self._git = Git(root)
        self._remote = "" if alone else self._git.remote("the locks")
        self.atomic = True  # whether the remote moves all refs or none; the first push tells

    def tips(self) -> dict[str, str]:
        """Every lock and every note: ref → commit."""
        if self._remote:
            answer = self._git.call("ls-remote", self._remote, f"{LOCKS}*", f"{SIGHTED}*")
        else:
            answer = self._git.call("for-each-ref", "--format=%(objectname)\t%(refname)", LOCKS, SIGHTED)
        if answer.code:
            raise RemoteError(f"cannot read the locks{self._where}: {answer.complaint}")
        lines = (line.partition("\t") for line in answer.text.splitlines())
        return {ref: id for id, _, ref in lines}

    def read(self, ids: Iterable[str]) -> dict[str, bytes | None]:
        """Contents of commits; None when one went before we came."""
        contents = self._git.objects(ids)
        missing = [id for id, content in contents.items() if content is None]
        if missing and self._remote:
            flags = ("--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--refmap=")
            self._git.call("fetch", *flags, self._remote, *missing)
            contents |= self._git.objects(missing)
        return contents

    def write(self, stamp: Stamp) -> str:
        """A commit that no ref holds yet."""
        who = ident(stamp).decode()
        content = f"tree {self._empty}\nauthor {who}\ncommitter {who}\n\n{stamp.message}"
        return self._git("hash-object", "-t", "commit", "-w", "--stdin", data=content).strip()

    @cached_property
    def _empty(self) -> str:
        return self._git("mktree").strip()

    def swap(self, orders: Orders) -> str:
        """
        Move each ref from where it must be to where it shall be: all or none, unless the remote cannot (`atomic`).

        "" when done, else what was in the way: others were faster. Raises RemoteError when that is not the reason.
        """
        return self._push(orders) if self._remote else self._update(orders)

    def _update(self, orders: Orders) -> str:
        verbs = {(False, True): "create {ref} {new}", (True, True): "update {ref} {new} {old}"}
        lines = [
            verbs.get((bool(old), bool(new)), "delete {ref} {old}").format(ref=ref, new=new, old=old)
            for ref, (old, new) in orders.items()
        ]
        answer = self._git.call("update-ref", "--stdin", data="\n".join(lines) + "\n")
        reasons = [line for line in answer.err.decode("utf-8", "replace").splitlines() if line] or [answer.complaint]
        if answer.in_the_way:
            self._git.clear(answer.in_the_way, orders)
        return self._race(reasons[0].removeprefix("fatal: ")) if answer.code else ""

    def _push(self, orders: Orders) -> str:
        leases = [f"--force-with-lease={ref}:{old}" for ref, (old, _) in orders.items()]
        moves = [f"{new}:{ref}" for ref, (_, new) in orders.items()]
        flags = ["--porcelain", "--no-verify", *(["--atomic"] if self.atomic and len(orders) > 1 else []), *leases]
        # A mirror clone's remote would refuse to be told what to push.
        answer = self._git.call("-c", f"remote.{self._remote}.mirror=false", "push", *flags, self._remote, *moves)
        if answer.code == 0:
            return ""
        if b"does not support --atomic" in answer.err:
            self.atomic = False
            return self._push(orders)
        verdicts = [line.split("\t")[-1] for line in answer.text.splitlines() if line.startswith("!")]
        reasons = [verdict for verdict in verdicts if "atomic" not in verdict] or verdicts or [answer.complaint]
        reason = next((reason for reason in reasons if not RACE.search(reason)), reasons[0])
        return self._race(f"{reason} ({answer.complaint})" if answer.in_the_way else reason)

    def _race(self, reason: str) -> str:
        if not RACE.search(reason):
            raise RemoteError(f"cannot lock{self._where}: {reason}")
        return reason

    @property
    def _where(self) -> str:
        return f" on {self._remote}" if self._remote else ""


def ref_of(name: str) -> str:
    """
    One level, for a target's lock must not be a folder of its scopes'; lower case, for refs are files; nothing that
    Git forbids (`..`, a dot at either end, `.lock`, `@{`). What is too long for a file name ends in a digest.
    """
    quoted = re.sub(r"[^a-z0-9._-]|^\.|\.(?=\.)|\.\Z|\.(?=lock\Z)", lambda match: _escaped(match[0]), name) or "%"
    if len(quoted) > 200:
        quoted = f"{quoted[:120]}%-{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}"
    return LOCKS + quoted


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def unquoted(ref: str) -> str:
    """The name, as far as the ref tells."""
    return on_one_line(unquote(ref.removeprefix(LOCKS)))


def sighted_at(ref: str) -> datetime:
    try:
        return datetime.fromtimestamp(int(ref.rpartition("-")[2]), UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.max.replace(tzinfo=UTC)  # no note of ours: later than now


def pause(attempt: int, over: float | None = None) -> None:
    """Longer and longer, never the same for two: who lost together must not come back together."""
    if attempt >= 0:
        left = 2.0 if over is None else max(0.0, over - time.monotonic())
        time.sleep(min(left, SystemRandom().uniform(0, min(2.0, 0.1 * 1.5 ** min(attempt, 10)))))
