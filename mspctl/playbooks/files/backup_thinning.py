"""
Takes old copies out of repositories that lie on this host: `thinning-<name> <name>`, from its own service. Hosts that
may only add to their repository cannot do it themselves, which is the point: who breaks into one deletes nothing.

What to do is in /etc/mspctl/thinning/<name>.conf, JSON behind comments; the repositories' password is the last line of
the file beside it. Every repository below the folder is thinned out, and each host and job in it by itself. One in
which a copy is dated in the future is left alone: somebody may want the others to look old.

Borg lets who may only add delete as well, and makes it good until room is made in the repository, as thinning does. So
which copies there are is remembered from one time to the next, by what the program knows them by and nobody can choose,
and a repository that lacks one is left alone. What will go is written down before it goes: who is ended in the middle
accuses nobody afterwards. A new copy with a time before the last thinning is one that wants to displace another.
"""

from __future__ import annotations

import calendar
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from typing import Any, Callable, Dict, Iterator, List, Sequence, Set

FOLDER, STATES = "/etc/mspctl/thinning", "/var/lib/mspctl"
DEPTH = 4  # folders below the one that is named
AHEAD = 24 * 3600  # seconds by which clocks may differ
BEHIND = 3600  # the same for a new copy's, before the last thinning
JOB = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # what a job may be called
GOES = re.compile(r"(?:Would prune|Pruning archive).* \[([0-9a-f]{64})\]")  # as Borg 1.2 lists it
Copies = Dict[str, str]  # what they are called, by id


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
        self.going: Set[str] = set()  # ids that are taken out, or were
        self.command = "restic"
        self.environment = dict(
            os.environ,
            RESTIC_REPOSITORY=repository,
            RESTIC_PASSWORD=password,
            RESTIC_CACHE_DIR="/var/cache/mspctl-restic",
        )

    def run(self, *words: str) -> str:
        """What it said. Raises Failed."""
        return self.call(*words).stdout

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([self.command, *words], env=self.environment, capture_output=True, text=True)  # noqa: S603
        if done.returncode:
            text = self.reason([line for line in done.stderr.splitlines() if line.strip()])
            for secret in self.secrets:
                text = text.replace(secret, "***")
            raise Failed(text[:300] or f"{self.command} failed")
        return done

    def reason(self, said: Sequence[str]) -> str:
        matters = (line for word in ("Fatal", "no space left") for line in said if word in line)
        return next(matters, "") or "".join(said[-1:])

    def copies(self) -> List[Dict[str, str]]:
        """[{"id", "name", "time", "whose"}]"""
        found = json.loads(self.run("snapshots", "--json", "--no-lock")) or []
        return [{"id": c["id"], "name": c["id"][:8], "time": c["time"], "whose": c["hostname"]} for c in found]

    def foresee(self, keep: Sequence[str]) -> None:
        """Which will go; here it does not matter, see `vanished`."""

    def thin(self, keep: Sequence[str]) -> None:
        kept = [word for each in keep for word in (f"--keep-{each.split()[0]}", each.split()[1])]
        self.run("forget", "--prune", "--group-by", "host,tags", *kept)

    def strange(self, copies: Sequence[Dict[str, str]]) -> str:
        """A copy's name that no job gives; restic's have none."""
        return ""

    def vanished(self, remembered: Copies, there: Copies) -> Copies:
        """Of a server that lets nobody delete, nothing does."""
        return {}


class Borg(Restic):
    """Names of copies begin with their job's, and a repository is of one host."""

    def __init__(self, name: str, repository: str) -> None:
        self.secrets = [lines(name, "password")[-1]]
        self.going = set()
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
        return [{"id": c["id"], "name": c["name"], "time": c["time"], "whose": c["name"].split(".")[0]} for c in found]

    def foresee(self, keep: Sequence[str]) -> None:
        self.prune(keep, "--dry-run")

    def thin(self, keep: Sequence[str]) -> None:
        self.prune(keep)
        self.run("compact", "--lock-wait", "1800")

    def prune(self, keep: Sequence[str], *how: str) -> None:
        kept = [word for each in keep for word in (f"--keep-{each.split()[0]}", each.split()[1])]
        for job in sorted({copy["whose"] for copy in self.copies()}):
            only = ("--glob-archives", f"{job}.*")
            told = self.call("prune", *how, "--list", "--lock-wait", "1800", *only, *kept).stderr
            self.going.update(GOES.findall(told))

    def strange(self, copies: Sequence[Dict[str, str]]) -> str:
        """It would choose what is thinned out together."""
        return next((copy["name"] for copy in copies if not JOB.fullmatch(copy["whose"])), "")

    def vanished(self, remembered: Copies, there: Copies) -> Copies:
        return {id: name for id, name in remembered.items() if id not in there}


PROGRAMS = {"restic": Restic, "borgmatic": Borg}


def thinned(
    name: str, repository: str, said: Dict[str, Any], remembered: Dict[str, Dict[str, Any]], save: Callable[[], None]
) -> int:
    """How many copies were taken out; `remembered` learns which are left, and is saved. Raises Failed."""
    program, began = PROGRAMS[said["program"]](name, repository), int(time.time())
    before = program.copies()
    known = remembered.get(repository, {"good": 0, "copies": {}, "going": []})
    suspect = refused(program, before, known, began)
    if suspect:
        raise Failed(suspect)
    program.foresee(said["keep"])
    there = by_id(before)
    remembered[repository] = {"good": known["good"], "copies": there, "going": sorted(program.going)}
    save()
    owner, good = os.stat(os.path.join(repository, "config")), known["good"]
    try:
        program.thin(said["keep"])
        good = began
    finally:
        hand_back(repository, owner)
        left = by_id(program.copies())
        lost = {id: copy for id, copy in program.vanished(there, left).items() if id not in program.going}
        remembered[repository] = {"good": good, "copies": {**left, **lost}, "going": []}
        save()
    return len({*there} - {*left})


def refused(program: Restic, copies: Sequence[Dict[str, str]], known: Dict[str, Any], now: float) -> str:
    """Why nothing is thinned out: somebody with the host's key wants genuine copies to go. "" if nobody does."""
    ahead = [copy for copy in copies if since(copy["time"]) > now + AHEAD]
    if ahead:
        return f"a copy of {ahead[0]['whose'][:80]} is dated {ahead[0]['time'][:10]}: look who made it"
    strange = program.strange(copies)
    if strange:
        return f"a copy is called {strange[:80]!r}, as no job calls one: look who made it"
    there = by_id(copies)
    gone = program.vanished({id: name for id, name in known["copies"].items() if id not in known["going"]}, there)
    if gone:
        first = min(gone.values())
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        how = "replaced" if first in there.values() else "deleted"
        return f"{first}{more} was {how} by somebody with the host's key, so nothing is thinned out"
    late = [c for c in copies if c["id"] not in known["copies"] and since(c["time"]) < known["good"] - BEHIND]
    if late:
        name, day = late[0]["name"][:80], late[0]["time"][:10]
        return f"{name} is new and dated {day}, before the last thinning: look who made it"
    return ""


def by_id(copies: Sequence[Dict[str, str]]) -> Copies:
    return {copy["id"]: copy["name"] for copy in copies}


def since(text: str) -> int:
    """Seconds since 1970, from 2026-11-27T18:15:00.123456789+01:00; without an offset it is UTC."""
    offset = re.search(r"([+-])(\d\d):(\d\d)$", text[19:])
    east = int(offset[1] + "1") * (int(offset[2]) * 60 + int(offset[3])) if offset else 0
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) - east * 60


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

    def save() -> None:
        write(f"{STATES}/copies-{name}.json", remembered)

    try:
        said = json.loads("".join(line for line in lines(name, "conf") if not line.startswith("#")))
        for repository in repositories(said["folder"], said["program"]):
            state["repositories"] += 1
            try:
                state["removed"] += thinned(name, repository, said, remembered, save)
            except Failed as error:
                wrong.append(f"{repository}: {error}")
            except (OSError, KeyError, ValueError, IndexError) as error:  # which does not end the others' turn
                wrong.append(f"{repository}: {type(error).__name__}: {error}")
        if not state["repositories"]:
            wrong.append(f"there is no repository below {said['folder']}")
    except (OSError, KeyError, ValueError, IndexError) as error:
        wrong.append(f"{type(error).__name__}: {error}")
    more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    state.update(ended=int(time.time()), error=(wrong[0][:250] + more) if wrong else "")
    if not wrong:
        state["good"] = state["ended"]
    write(path, state)
    return str(state["error"])


def known(name: str) -> Dict[str, Dict[str, Any]]:
    """
    {repository: {"good", "copies", "going"}}: when it was thinned out well, what was left, what was to go when we were
    ended. Who knows why a copy is gone removes the file.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError), open(f"{STATES}/copies-{name}.json") as file:
        return {path: it for path, it in json.load(file).items() if isinstance(it, dict)}
    return {}


def write(path: str, what: object) -> None:
    os.makedirs(STATES, exist_ok=True)
    with open(path + ".new", "w") as file:
        json.dump(what, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]) or 0)
