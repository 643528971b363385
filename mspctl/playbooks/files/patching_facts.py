"""
Asks the archive, and counts what could be installed; a timer starts it on each host that mspctl patches. `began`: an
installation begins.
"""

from __future__ import annotations

import glob
import json
import os
import re
import subprocess
import sys
import time
from typing import Any, Dict, Tuple

STATE = "/var/lib/mspctl/patching.json"


def main() -> None:
    before, now = known(), int(time.time())
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
    os.makedirs(os.path.dirname(STATE), exist_ok=True)
    with open(STATE + ".new", "w") as file:
        json.dump(state, file)
    os.replace(STATE + ".new", STATE)


def known() -> Dict[str, Any]:
    try:
        with open(STATE) as file:
            return dict(json.load(file))
    except (OSError, TypeError, ValueError):
        return {}


def apt(*words: str) -> Tuple[bool, str]:
    environment = dict(os.environ, LC_ALL="C")
    done = subprocess.run(["apt-get", "-q", *words], env=environment, stdout=subprocess.PIPE, text=True)  # noqa: S603, S607
    return done.returncode == 0, done.stdout


main()
