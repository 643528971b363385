"""
The real mspctl in a process of its own, with faults: `python wrapped.py FAULTS ARGUMENT…`, FAULTS being JSON.

at        die by SIGKILL at this write point, counted from 0
points    a file that gets one line for each write point that was passed
run       the run's name in the ledger, instead of one made of the time
witness   a folder: a file stands in it while a zone is being written; one that is there already goes to `broken`
slow      seconds that each zone takes to write
ttl       seconds that a lock lasts, and `skew` those by which clocks are thought to differ
clock     seconds that this machine's clock is ahead
sql       whether statements that write to a database are write points as well
cost      of bcrypt, as a power of two
gate      a folder: between a look at a mail domain's tables and the first write to them, `at` appears in it, and we
          go on when somebody puts `go` there
room      bytes that a file can grow to, as on a full disk; `full` names what fails: zones or git

A write point lies before or after a system call that writes: to a zone's file, or a git command that changes
something, or a statement that writes to a database, or its commit. git may die with us or live on.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

WRITES = ("replace", "rename", "unlink", "remove", "chmod", "chown", "fsync", "mkdir", "rmdir", "link", "symlink")
GIT_WRITES = {"push", "fetch", "fast-import", "update-ref", "hash-object", "mktree"}
DELAYS = (0.0, 0.002, 0.004, 0.008, 0.015, 0.025)  # seconds that git has before it dies with us


class Points:
    """Counts write points, and dies at one of them."""

    def __init__(self, at: int, file: str | None) -> None:
        self.at, self.next, self.lock = at, 0, threading.Lock()
        self.file = Path(file) if file else None

    def passed(self, label: str) -> bool:
        """Whether this is where to die."""
        with self.lock:
            here, self.next = self.next, self.next + 1
            if self.file:
                with self.file.open("a") as lines:
                    lines.write(f"{here} {label}\n")
        return here == self.at

    def __call__(self, label: str) -> None:
        if self.passed(label):
            die()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # never: the signal is on its way


def die_with(process: subprocess.Popen[Any], delay: float) -> None:
    time.sleep(delay)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # git was started in a session of its own
    die()


def watch_files(points: Points) -> None:
    for name in WRITES:
        setattr(os, name, _watched(f"os.{name}", getattr(os, name), points))
    real_open, real_fdopen = os.open, os.fdopen

    def open_(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if not flags & (os.O_CREAT | os.O_TRUNC):
            return real_open(path, flags, *rest, **named)
        points("before os.open")
        handle = real_open(path, flags, *rest, **named)
        points("after os.open")
        return handle

    def fdopen(handle: int, mode: str = "r", *rest: Any, **named: Any) -> Any:
        file = real_fdopen(handle, mode, *rest, **named)
        return Watched(file, points) if "b" in mode and set(mode) & set("wa+") else file

    os.open = open_
    os.fdopen = fdopen  # type: ignore[assignment]


def _watched(name: str, real: Callable[..., Any], points: Points) -> Callable[..., Any]:
    def call(*args: Any, **named: Any) -> Any:
        points(f"before {name}")
        result = real(*args, **named)
        points(f"after {name}")
        return result

    return call


class Watched:
    """A file opened for writing; what is written goes out in two halves."""

    def __init__(self, file: IO[bytes], points: Points) -> None:
        self.file, self.points = file, points

    def write(self, data: bytes) -> int:
        half = len(data) // 2
        self.file.write(data[:half])
        self.file.flush()
        self.points("half written")
        self.file.write(data[half:])
        self.file.flush()
        self.points("written")
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *about: object) -> None:
        self.file.close()


def watch_git(points: Points) -> None:
    real_init, real_communicate = subprocess.Popen.__init__, subprocess.Popen.communicate

    def init(self: subprocess.Popen[Any], args: Any, *rest: Any, **named: Any) -> None:
        verb = next((word for word in args if word in GIT_WRITES), "") if isinstance(args, list) else ""
        if verb:
            points(f"before git {verb}")
        real_init(self, args, *rest, **named)
        self.verb = verb  # type: ignore[attr-defined]

    def communicate(self: subprocess.Popen[Any], input: Any = None, timeout: float | None = None) -> Any:
        verb = getattr(self, "verb", "")
        if verb and self.stdin and not self.stdin.closed:
            _die_beside(self, verb, input, points)
        result = real_communicate(self, input, timeout)
        if verb:
            points(f"after git {verb}")
        return result

    subprocess.Popen.__init__ = init  # type: ignore[method-assign]
    subprocess.Popen.communicate = communicate  # type: ignore[method-assign]


def _die_beside(process: subprocess.Popen[Any], verb: str, data: Any, points: Points) -> None:
    """Points at which git was started, has nothing or all of its input, and lives on or dies with us."""
    if points.passed(f"git {verb} began, and lives on"):
        die()
    if points.passed(f"git {verb} began, and dies"):
        die_with(process, 0)
    fed = [points.passed(f"git {verb} was told, and lives on")]
    fed += [points.passed(f"git {verb} was told, and dies after {delay}") for delay in DELAYS]
    if any(fed):
        assert process.stdin
        process.stdin.write(data or b"")
        process.stdin.close()
        if fed[0]:
            die()
        die_with(process, DELAYS[fed.index(True) - 1])


def watch_sql(points: Points) -> None:
    """Statements that write, and commits; what was begun is for the database to undo."""
    import sqlalchemy as sa
    from sqlalchemy.engine.default import DefaultDialect

    def told(when: str) -> Callable[..., None]:
        def tell(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
            verb, *words = statement.split()
            if verb in ("INSERT", "UPDATE", "DELETE"):
                points(f"{when} sql {verb} {words[0 if verb == 'UPDATE' else 1]}")

        return tell

    sa.event.listen(sa.Engine, "before_cursor_execute", told("before"))
    sa.event.listen(sa.Engine, "after_cursor_execute", told("after"))
    real = DefaultDialect.do_commit

    def commit(self: DefaultDialect, connection: Any) -> None:
        points("before sql COMMIT")
        real(self, connection)  # type: ignore[no-untyped-call]
        points("after sql COMMIT")

    DefaultDialect.do_commit = commit  # type: ignore[method-assign]


def wait_before_mail(gate: Path) -> None:
    from mspctl.drivers.postfixadmin import writer

    real = writer.Writer.write

    def write(self: writer.Writer) -> None:
        (gate / "at").touch()
        for _ in range(6000):
            if (gate / "go").exists():
                break
            time.sleep(0.01)
        real(self)

    writer.Writer.write = write  # type: ignore[method-assign]


def watch_zones(folder: str | None, slow: float) -> None:
    """One at a time per zone, told by a file that only one can make."""
    from mspctl.drivers import zonefile

    real = zonefile.Driver._write

    def write(self: zonefile.Driver, path: Path, *rest: Any) -> None:
        with _alone(Path(folder) if folder else None, path):
            time.sleep(slow)
            real(self, path, *rest)

    zonefile.Driver._write = write  # type: ignore[assignment,method-assign]


@contextmanager
def _alone(folder: Path | None, path: Path) -> Iterator[None]:
    if folder is None:
        yield
        return
    mine = folder / path.name
    try:
        os.close(os.open(mine, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        (folder / "broken").write_text(f"two write {path}\n")
    yield
    mine.unlink(missing_ok=True)


def set_clock(ahead: float) -> None:
    from mspctl import ledger, locks

    def now() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=ahead)

    taking: tuple[Any, ...] = (locks.Locks.__init__, ledger.Ledger.open, ledger.Ledger.init)
    for function in taking:
        getattr(function, "__func__", function).__defaults__ = (now,)


def fill_disk(what: str, room: int) -> None:
    """No file may grow beyond `room` bytes: every one of ours, or every one of git's."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if what == "zones":
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    real = subprocess.Popen.__init__

    def init(self: subprocess.Popen[Any], *args: Any, **named: Any) -> None:
        soft = resource.RLIM_INFINITY if what == "zones" else room
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))
        try:
            real(self, *args, **named)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    subprocess.Popen.__init__ = init  # type: ignore[method-assign]


def main(faults: dict[str, Any], arguments: list[str]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts the tests may have it ignored
    from mspctl import cli, hashes, locks
    from mspctl.cli import workspace
    from mspctl.locks import board

    sys.argv = ["mspctl", *arguments]
    workspace.RUN_ID = faults.get("run") or workspace.RUN_ID
    if "ttl" in faults:
        hold: Any = locks.Locks.hold
        hold.__wrapped__.__defaults__ = (60.0, faults["ttl"], "apply")
    if "skew" in faults:
        board.SKEW = timedelta(seconds=faults["skew"])
    if "clock" in faults:
        set_clock(faults["clock"])
    if "slow" in faults or "witness" in faults:
        watch_zones(faults.get("witness"), faults.get("slow", 0))
    if "cost" in faults:
        hashes.COST = faults["cost"]
    if "gate" in faults:
        wait_before_mail(Path(faults["gate"]))
    if "room" in faults:
        fill_disk(faults["full"], faults["room"])
    if "at" in faults or "points" in faults:
        points = Points(faults.get("at", -1), faults.get("points"))
        watch_files(points)
        watch_git(points)
        if faults.get("sql"):
            watch_sql(points)
    cli.main(arguments)


if __name__ == "__main__":
    sys.path.pop(0)  # this folder; its modules are not for import by name
    main(json.loads(sys.argv[1]), sys.argv[2:])
