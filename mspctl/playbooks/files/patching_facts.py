"""
Asks the archive, and counts what could be installed; a timer starts it on each host that mspctl patches. `began`: an
installation begins. `ended`: it is over, or the host goes down because of it; what it did to packages is written down,
beside what those before it did.
"""

from __future__ import annotations

import glob
import json
import os
import re
import subprocess
import sys
import time
from typing import Any, Dict, Iterator, List, Tuple

STATE, INSTALLED = "/var/lib/mspctl/patching.json", "/var/lib/mspctl/patching-installed.json"
LOGS = ("/var/log/dpkg.log.1", "/var/log/dpkg.log")
MOST = 500  # packages of one installation that are written down
RUNS, ALL = 20, 1000  # installations that are remembered, and packages of all of them


def main() -> None:
    before, now = known(STATE), int(time.time())
    strict = ("-o", "APT::Update::Error-Mode=any", "-o", "DPkg::Lock::Timeout=300")
    asked, _ = apt(*strict, "update")
    simulated, said = apt("-s", "dist-upgrade")
    lines = [line for line in said.splitlines() if line.startswith("Inst ")]
    security = [line for line in lines if re.search("-[Ss]ecurity", line)]
    counted = simulated and bool(glob.glob("/var/lib/apt/lists/*_Packages*"))  # without a list, 0 says nothing
    state = {
        "at": now,
        "asked": now if asked else before.get("asked", 0),
        "pending": len(lines) if counted else -1,
        "security": len(security) if counted else -1,
        "since": (before.get("since") or now) if security else 0,
        "began": now if sys.argv[1:] == ["began"] else before.get("began", 0),
    }
    write(STATE, state)


def ended() -> None:
    """Called twice of each; those that did nothing are forgotten when the next one ends."""
    began = known(STATE).get("began", 0)
    runs = [run for run in known(INSTALLED).get("runs", []) if run["began"] != began and run["packages"]]
    runs = [*runs, {"began": began, "packages": [*logged(began)][:MOST]}][-RUNS:]
    while len(runs) > 1 and sum(len(run["packages"]) for run in runs) > ALL:
        del runs[0]
    write(INSTALLED, {"runs": runs})


def logged(since: int) -> Iterator[List[str]]:
    """[name, version before, version now] of each package that dpkg touched since then; "" where there is none."""
    for path in filter(os.path.exists, LOGS):
        with open(path, errors="replace") as file:
            for line in file:
                words = line.split()
                if len(words) == 6 and words[2] in ("install", "upgrade", "remove", "purge") and moment(words) >= since:
                    yield [words[3].split(":")[0], *("" if word == "<none>" else word for word in words[4:])]


def moment(words: List[str]) -> float:
    try:
        return time.mktime(time.strptime(" ".join(words[:2]), "%Y-%m-%d %H:%M:%S"))
    except (ValueError, OverflowError):
        return 0


def write(path: str, what: object) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w") as file:
        json.dump(what, file)
    os.replace(path + ".new", path)


def known(path: str) -> Dict[str, Any]:
    try:
        with open(path) as file:
            return dict(json.load(file))
    except (OSError, TypeError, ValueError):
        return {}


def apt(*words: str) -> Tuple[bool, str]:
    environment = dict(os.environ, LC_ALL="C")
    done = subprocess.run(["apt-get", "-q", *words], env=environment, stdout=subprocess.PIPE, text=True)  # noqa: S603, S607
    return done.returncode == 0, done.stdout


ended() if sys.argv[1:] == ["ended"] else main()
