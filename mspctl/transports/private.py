"""
Folders in memory that only we can read, for what programs that we start have to find in files.

Such a folder is gone when we are done with it, and at the latest when our command ends, though a thread that hangs may
still be at it. A process that is killed cannot take its own away: a small program does that waits for our end, and ends
what was connected through it. Where that was killed too, the next command sees to it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from mspctl import ending

MEMORY = Path("/dev/shm")  # noqa: S108  # where there is none, the system's folder for temporary files has to do
ALIVE = "alive"  # a file in such a folder, locked while its process lives
SOCKET = "ssh-"  # what sockets are called at which OpenSSH waits; see `shared.py`
AT_ONCE, PATIENCE = 20, 5  # connections that are ended side by side, and seconds for each

# Its own session outlives what ends ours. It hears of each folder, and at our end takes away what is there still.
WATCH = f"""exec 3<&0
(
  while IFS= read -r folder; do set -- "$@" "$folder"; done
  for folder; do
    for socket in "$folder"/{SOCKET}*; do
      [ ! -S "$socket" ] || timeout {PATIENCE} ssh -F none -S "$socket" -O exit nobody &
    done
  done
  wait
  rm -rf -- "$@"
) <&3 &
"""

_open: set[Path] = set()
_watch: int | None = None  # where the program that waits for our end hears of folders
_lock = threading.Lock()


@contextmanager
def folder() -> Iterator[Path]:
    parent = MEMORY if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    _sweep(parent)
    prefix = f"mspctl-{os.getpid()}-"
    with (
        tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True) as made,
        (Path(made) / f"{ALIVE}.new").open("w") as held,
    ):
        fcntl.flock(held, fcntl.LOCK_EX)  # until we end, however that is
        Path(held.name).rename(Path(made) / ALIVE)  # locked before anybody else can look for it
        _open.add(Path(made))
        _watched(made)
        ending.at_end(_remove_open)
        try:
            yield Path(made)
        finally:
            _open.discard(Path(made))
            hang_up(Path(made).glob(f"{SOCKET}*"))


def _watched(made: str) -> None:
    """Where no such program can be started, the next command has to do."""
    global _watch
    if "\n" in made:  # it hears of one folder a line, and must not take away another
        return
    with _lock, suppress(OSError, subprocess.SubprocessError):
        if _watch is None:
            hears, _watch = os.pipe()
            with os.fdopen(hears) as stdin:
                _started(stdin)
        os.write(_watch, f"{made}\n".encode())


def _started(stdin: IO[str]) -> None:
    """It is nobody's child: the shell that starts it ends at once."""
    subprocess.run(  # noqa: S603
        ["/bin/sh", "-c", WATCH],
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={"PATH": os.environ.get("PATH", os.defpath)},  # and no secret of ours
        start_new_session=True,
        timeout=60,
        check=True,
    )


def _remove_open() -> None:
    while _open:
        _remove(_open.pop())


def _remove(path: Path) -> None:
    hang_up(path.glob(f"{SOCKET}*"))
    shutil.rmtree(path, ignore_errors=True)


def write(path: Path, text: str) -> Path:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return path


def hang_up(sockets: Iterable[Path], *, at_once: bool = True) -> None:
    """End what OpenSSH keeps open behind these sockets; not `at_once`: when nobody uses it any more."""
    there = [socket for socket in sockets if socket.exists()]
    for some in (there[n : n + AT_ONCE] for n in range(0, len(there), AT_ONCE)):
        with ExitStack() as stack:
            for socket in some:
                stack.enter_context(_told(socket, "exit" if at_once else "stop"))


@contextmanager
def _told(socket: Path, how: str) -> Iterator[None]:
    command = ["ssh", "-F", "none", "-S", str(socket), "-O", how, "nobody"]
    with suppress(OSError), subprocess.Popen(command, stdin=-3, stdout=-3, stderr=-3) as process:  # noqa: S603
        yield
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
    socket.unlink(missing_ok=True)


def _sweep(parent: Path) -> None:
    for held in parent.glob(f"mspctl-*/{ALIVE}"):
        with suppress(OSError):
            if held.parent.is_symlink() or held.parent.stat().st_uid != os.geteuid():
                continue  # whatever somebody else calls so
            with held.open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(held.parent)
