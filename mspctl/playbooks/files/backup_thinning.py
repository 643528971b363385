"""
Takes old copies out of restic repositories that lie on this host: `thinning-<name> <name>`, from its own service. Hosts
that may only add to their repository cannot do it themselves, which is the point: who breaks into one deletes nothing.

What to do is in /etc/mspctl/thinning/<name>.conf, JSON behind comments; the repositories' password is the last line of
the file beside it. Every repository below the folder is thinned out, and each host and job in it by itself. One in
which a copy is dated in the future is left alone: somebody may want the others to look old.
"""

from __future__ import annotations

import calendar
import contextlib
import json
import os
import subprocess
import sys
import time
from typing import Any, Dict, Iterator, List, Sequence

FOLDER, STATES = "/etc/mspctl/thinning", "/var/lib/mspctl"
DEPTH = 4  # folders below the one that is named
AHEAD = 24 * 3600  # seconds by which clocks may differ


class Failed(Exception):
    """restic's own reason, without secrets."""


def lines(name: str, kind: str) -> List[str]:
    with open(f"{FOLDER}/{name}.{kind}") as file:
        return file.read().splitlines()


def repositories(folder: str) -> Iterator[str]:
    """Where there is one, nothing below it is."""
    for top, folders, files in os.walk(folder):
        folders.sort()
        if "config" in files and {"data", "keys", "snapshots"} <= {*folders}:
            yield top
            folders.clear()
        elif top[len(folder) :].count("/") >= DEPTH:
            folders.clear()


def restic(repository: str, password: str, *words: str) -> str:
    """What it said. Raises Failed."""
    environment = dict(os.environ, RESTIC_REPOSITORY=repository, RESTIC_PASSWORD=password)
    environment["RESTIC_CACHE_DIR"] = "/var/cache/mspctl-restic"
    done = subprocess.run(["restic", *words], env=environment, capture_output=True, text=True)  # noqa: S603, S607
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        text = next((line for line in said if "Fatal" in line), "") or "".join(said[-1:])
        raise Failed(text.replace(password, "***")[:300] or "restic failed")
    return done.stdout


def thinned(repository: str, password: str, keep: Sequence[str]) -> int:
    """How many copies were taken out. Raises Failed."""
    before = json.loads(restic(repository, password, "snapshots", "--json", "--no-lock")) or []
    ahead = [copy for copy in before if since(copy["time"]) > time.time() + AHEAD]
    if ahead:
        raise Failed(f"a copy of {ahead[0]['hostname']} is dated {ahead[0]['time'][:10]}: look who made it")
    owner = os.stat(os.path.join(repository, "config"))
    kept = [word for each in keep for word in (f"--keep-{each.split()[0]}", each.split()[1])]
    restic(repository, password, "forget", "--prune", "--group-by", "host,tags", *kept)
    hand_back(repository, owner)
    return len(before) - len(json.loads(restic(repository, password, "snapshots", "--json", "--no-lock")) or [])


def since(text: str) -> int:
    """Seconds since 1970, to a day: from 2026-11-27T18:15:00.123456789+01:00."""
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))


def hand_back(repository: str, owner: os.stat_result) -> None:
    """New packs and indexes belong to whoever the repository belongs to, or its server could not read them."""
    if owner.st_uid == os.geteuid():
        return
    for top, folders, files in os.walk(repository):
        for name in [*folders, *files]:
            path = os.path.join(top, name)
            if os.lstat(path).st_uid != owner.st_uid:
                os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def main(name: str) -> str:
    path = f"{STATES}/thinning-{name}.json"
    state: Dict[str, Any] = {"ended": 0, "good": 0, "repositories": 0, "removed": 0, "error": ""}
    with contextlib.suppress(OSError, ValueError, TypeError), open(path) as file:
        state["good"] = int(json.load(file).get("good", 0))
    wrong: List[str] = []
    try:
        said = json.loads("".join(line for line in lines(name, "conf") if not line.startswith("#")))
        password = lines(name, "password")[-1]
        for repository in repositories(said["folder"]):
            state["repositories"] += 1
            try:
                state["removed"] += thinned(repository, password, said["keep"])
            except Failed as error:
                wrong.append(f"{repository}: {error}")
        if not state["repositories"]:
            wrong.append(f"there is no repository below {said['folder']}")
    except (OSError, KeyError, ValueError, IndexError) as error:
        wrong.append(f"{type(error).__name__}: {error}")
    more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    state.update(ended=int(time.time()), error=(wrong[0][:250] + more) if wrong else "")
    if not wrong:
        state["good"] = state["ended"]
    os.makedirs(STATES, exist_ok=True)
    with open(path + ".new", "w") as file:
        json.dump(state, file)
    os.replace(path + ".new", path)
    return str(state["error"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]) or 0)
