"""
Takes old copies out of repositories that lie on this host: `thinning-<name> <name>`, from its own service. Hosts that
may only add to their repository cannot do it themselves, which is the point: who breaks into one deletes nothing.

What to do is in /etc/mspctl/thinning/<name>.conf, JSON behind comments; the repositories' password is the last line of
the file beside it. Every repository below the folder is thinned out, and each host and job in it by itself. One in
which a copy is dated in the future is left alone: somebody may want the others to look old.

Borg lets who may only add delete as well, and makes it good until room is made in the repository, as thinning does. So
which copies there are is remembered from one time to the next, and a repository that lacks one is left alone.
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


def repositories(folder: str, program: str) -> Iterator[str]:
    """Where there is one, nothing below it is."""
    files, folders = LAYOUT[program]
    for top, below, beside in os.walk(folder):
        below.sort()
        if files <= {*beside} and folders <= {*below}:
            yield top
            below.clear()
        elif top[len(folder) :].count("/") >= DEPTH:
            below.clear()


LAYOUT = {
    "restic": ({"config"}, {"data", "keys", "snapshots"}),
    "borgmatic": ({"config", "README"}, {"data"}),
}


class Restic:
    def __init__(self, name: str, repository: str) -> None:
        password = lines(name, "password")[-1]
        self.secrets = [password]
        self.command = "restic"
        self.environment = dict(
            os.environ,
            RESTIC_REPOSITORY=repository,
            RESTIC_PASSWORD=password,
            RESTIC_CACHE_DIR="/var/cache/mspctl-restic",
        )

    def run(self, *words: str) -> str:
        """What it said. Raises Failed."""
        done = subprocess.run([self.command, *words], env=self.environment, capture_output=True, text=True)  # noqa: S603
        if done.returncode:
            text = self.reason([line for line in done.stderr.splitlines() if line.strip()])
            for secret in self.secrets:
                text = text.replace(secret, "***")
            raise Failed(text[:300] or f"{self.command} failed")
        return done.stdout

    def reason(self, said: Sequence[str]) -> str:
        return next((line for line in said if "Fatal" in line), "") or "".join(said[-1:])

    def copies(self) -> List[Dict[str, str]]:
        """[{"name", "time", "whose"}]"""
        found = json.loads(self.run("snapshots", "--json", "--no-lock")) or []
        return [{"name": copy["id"], "time": copy["time"], "whose": copy["hostname"]} for copy in found]

    def thin(self, keep: Sequence[str]) -> None:
        kept = [word for each in keep for word in (f"--keep-{each.split()[0]}", each.split()[1])]
        self.run("forget", "--prune", "--group-by", "host,tags", *kept)

    def vanished(self, remembered: Sequence[str], names: Sequence[str]) -> List[str]:
        """Of a server that lets nobody delete, nothing does."""
        return []


class Borg(Restic):
    """Names of copies begin with their job's, and a repository is of one host."""

    def __init__(self, name: str, repository: str) -> None:
        self.secrets = [lines(name, "password")[-1]]
        self.command = "borg"
        self.environment = dict(
            os.environ,
            BORG_REPO=repository,
            BORG_PASSCOMMAND=f"tail -n 1 {FOLDER}/{name}.password",
            BORG_CONFIG_DIR=f"{STATES}/borg",
            BORG_CACHE_DIR="/var/cache/mspctl-borg",
            BORG_RELOCATED_REPO_ACCESS_IS_OK="no",
            BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK="no",
            TZ="UTC",
        )

    def reason(self, said: Sequence[str]) -> str:
        return next((line for line in said if "No space left" in line), "") or "".join(said[:1])

    def copies(self) -> List[Dict[str, str]]:
        found = json.loads(self.run("list", "--json", "--bypass-lock"))["archives"]
        return [{"name": copy["name"], "time": copy["time"], "whose": copy["name"].split(".")[0]} for copy in found]

    def thin(self, keep: Sequence[str]) -> None:
        kept = [word for each in keep for word in (f"--keep-{each.split()[0]}", each.split()[1])]
        for job in sorted({copy["whose"] for copy in self.copies()}):
            self.run("prune", "--lock-wait", "1800", "--glob-archives", f"{job}.*", *kept)
        self.run("compact", "--lock-wait", "1800")

    def vanished(self, remembered: Sequence[str], names: Sequence[str]) -> List[str]:
        return sorted({*remembered} - {*names})


PROGRAMS = {"restic": Restic, "borgmatic": Borg}


def thinned(name: str, repository: str, said: Dict[str, Any], remembered: Dict[str, List[str]]) -> int:
    """How many copies were taken out; `remembered` learns which are left. Raises Failed."""
    program = PROGRAMS[said["program"]](name, repository)
    before = program.copies()
    ahead = [copy for copy in before if since(copy["time"]) > time.time() + AHEAD]
    if ahead:
        raise Failed(f"a copy of {ahead[0]['whose']} is dated {ahead[0]['time'][:10]}: look who made it")
    gone = program.vanished(remembered.get(repository, []), [copy["name"] for copy in before])
    if gone:
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        raise Failed(f"{gone[0]}{more} was deleted by somebody with the host's key, so nothing is thinned out")
    owner = os.stat(os.path.join(repository, "config"))
    try:
        program.thin(said["keep"])
    finally:
        hand_back(repository, owner)
    after = [copy["name"] for copy in program.copies()]
    remembered[repository] = after
    return len(before) - len(after)


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
    remembered = known(name)
    try:
        said = json.loads("".join(line for line in lines(name, "conf") if not line.startswith("#")))
        for repository in repositories(said["folder"], said["program"]):
            state["repositories"] += 1
            try:
                state["removed"] += thinned(name, repository, said, remembered)
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
    write(path, state)
    write(f"{STATES}/copies-{name}.json", remembered)
    return str(state["error"])


def known(name: str) -> Dict[str, List[str]]:
    """Names of copies by repository, as they were left last time. Who knows why one is gone removes the file."""
    with contextlib.suppress(OSError, ValueError, TypeError), open(f"{STATES}/copies-{name}.json") as file:
        return dict(json.load(file))
    return {}


def write(path: str, what: object) -> None:
    os.makedirs(STATES, exist_ok=True)
    with open(path + ".new", "w") as file:
        json.dump(what, file)
    os.replace(path + ".new", path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]) or 0)
