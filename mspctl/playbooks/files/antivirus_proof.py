"""
Writes EICAR's test file where malware would be written, and sees whether it is caught. Sent along, and kept nowhere.

The file is the one of eicar.org that every engine takes for malware; it does nothing. It is put together here, for
nobody's antivirus should find it in this program. What it leaves behind, in quarantine and among the finds, it takes
away again; finds of others stay.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional

FOUND, QUARANTINE = "/var/lib/mspctl-antivirus/found.json", "/var/lib/mspctl-quarantine"
EICAR = bytes(
    each ^ 0x20
    for each in b"x\x15o\x01p\x05`ap{\x14|pzx\x15\x14\x08p~\t\x17cc\t\x17]\x04eicar\rstandard\rantivirus\rtest\rfile"
    b"\x01\x04h\x0bh\n"
)
FRONT = "mspctl-proof-"
TRIED = "/var/lib/mspctl-tried"  # ours does not look there
MOMENT = 0.05  # seconds between two looks
SETTLED = 0.5  # seconds for a new folder to be watched

Steps = List[Dict[str, Any]]


def answer(ask: Mapping[str, Any]) -> Dict[str, Any]:
    """
    `ask`: `on_access` (folders that are watched), `scanned` (folders that are not, and gone through), `quarantine`
    (whether finds are taken away), `reported` (whether our engine is to tell the find), `within` (seconds).

    {"steps": [{"what", "verdict", "said", "seconds"}]}, as mspctl/proof.py has them.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was written is taken away
    steps: Steps = []
    for folder in ask["on_access"][:1] or ask["scanned"][:1]:
        if folder == TRIED:
            os.makedirs(TRIED, mode=0o700, exist_ok=True)
        with written(folder, steps) as path:
            if path:
                Trial(ask, path, steps).make(bool(ask["on_access"]))
    return {"steps": steps}


def step(steps: Steps, what: str, verdict: str, said: str = "", seconds: Optional[float] = None) -> None:
    steps.append({"what": what, "verdict": verdict, "said": said, "seconds": seconds})


@contextlib.contextmanager
def written(folder: str, steps: Steps) -> Iterator[str]:
    """A place for the test file, in a folder of its own; "" where there is none. What is there is gone afterwards."""
    try:
        own = tempfile.mkdtemp(prefix=FRONT, dir=folder)
    except OSError as error:
        step(steps, f"a test file can be written to {folder}", "not made", error.strerror or str(error))
        yield ""
        return
    try:
        time.sleep(SETTLED)
        yield os.path.join(own, os.path.basename(own) + ".com")
    finally:
        clean(os.path.basename(own))
        shutil.rmtree(own, ignore_errors=True)


def clean(name: str) -> None:
    """Of quarantine and finds, what has this name."""
    for path in glob.glob(f"{QUARANTINE}/{name}*"):
        with contextlib.suppress(OSError):
            os.unlink(path)
    if not os.path.exists(FOUND):
        return
    with open(FOUND + ".lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said, about = finds(), os.stat(FOUND)
        left = [one for one in said if name not in str(one.get("path"))]
        if left != said:
            with open(FOUND + ".new", "w") as file:
                json.dump({"latest": left}, file)
            os.chown(FOUND + ".new", about.st_uid, about.st_gid)
            os.replace(FOUND + ".new", FOUND)


def finds() -> List[Dict[str, Any]]:
    try:
        with open(FOUND) as file:
            found = json.load(file)["latest"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


class Trial:
    """One test file, from when it is written."""

    def __init__(self, ask: Mapping[str, Any], path: str, steps: Steps) -> None:
        self.ask, self.path, self.steps = ask, path, steps
        self.name = os.path.basename(path)
        self.begun = time.monotonic()

    def make(self, on_access: bool) -> None:
        what = "malware is caught as it is opened" if on_access else "malware is caught by a scan"
        if on_access and self.ask["reported"] and not mark_allowed():
            step(self.steps, what, "not made", "the kernel lets nobody watch files here (fanotify is refused)")
            return
        try:
            with open(self.path, "wb") as file:
                file.write(EICAR)
        except OSError as error:  # refused as early as that: caught
            if error.errno != 1:
                step(self.steps, what, "not made", f"the test file could not be written: {error.strerror}")
                return
        self.begun = time.monotonic()
        if not on_access:
            self.scan()
        if self.see(what, self.caught):
            self.follow_up()

    def scan(self) -> None:
        """As a scan that is declared goes through its folders."""
        words = ["clamdscan", "--config-file=/etc/mspctl/antivirus/clamd.conf", "--fdpass", "--no-summary"]
        if self.ask["quarantine"]:
            os.makedirs(QUARANTINE, mode=0o700, exist_ok=True)
            words.append("--move=" + QUARANTINE)
        words += ["--", os.path.dirname(self.path)]
        subprocess.run(words, capture_output=True, timeout=self.ask["within"])  # noqa: S603

    def caught(self) -> bool:
        """It is gone, or whoever opens it is refused; where finds are only told, it was told."""
        try:
            with open(self.path, "rb") as file:
                file.read(1)
        except OSError:
            return True
        return not self.ask["quarantine"] and self.ask["reported"] and self.told()

    def told(self) -> bool:
        return any(self.path == str(one.get("path")) for one in finds())

    def follow_up(self) -> None:
        if self.ask["quarantine"] and self.ask["reported"]:
            self.see("it is taken to quarantine", lambda: bool(glob.glob(f"{QUARANTINE}/{self.name}*")))
        if self.ask["quarantine"]:
            self.see("nothing of it is left", lambda: not os.path.exists(self.path))
        if self.ask["reported"]:
            self.see("the find is reported", self.told)

    def see(self, what: str, look: Callable[[], bool]) -> bool:
        until = self.begun + self.ask["within"]
        while not look():
            if time.monotonic() > until:
                step(self.steps, what, "failed", f"not within {self.ask['within']} s")
                return False
            time.sleep(MOMENT)
        step(self.steps, what, "passed", "", round(time.monotonic() - self.begun, 3))
        return True


def mark_allowed() -> bool:
    """Whether this machine's kernel, or what it runs in, lets root be asked before files are opened."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    handle = library.fanotify_init(0x04 | 0x01, os.O_RDONLY)  # FAN_CLASS_CONTENT, FAN_CLOEXEC
    if handle >= 0:
        os.close(handle)
    return bool(handle >= 0)
