"""
Backs up, thins out, and writes down how it went: `backup-<job> <job> <host>`, started by the job's own service.

What to do is in /etc/mspctl/backup/<job>.conf, JSON behind comments; secrets are the last lines of the files beside it.
They reach restic in its environment, and ssh in a folder in memory that is gone afterwards; no argument holds one.
"""

from __future__ import annotations

import calendar
import contextlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
import urllib.parse
from typing import Any, Dict, List, Sequence

JOB, HOST = sys.argv[1:3]
FOLDER, STATE = "/etc/mspctl/backup/" + JOB, "/var/lib/mspctl/backup-" + JOB + ".json"
MINE = ("--tag", JOB, "--host", HOST)


INCOMPLETE = 3  # what restic ends with when some files could not be read
MISSING = ("repository at the following location", "unable to open config")  # what restic says of none


class Failed(Exception):
    """restic's own reason, without secrets."""


class Restic:
    """The repository of a job."""

    def __init__(self, said: Dict[str, Any], folder: str) -> None:
        self.secrets = [secret("password")]
        self.options: List[str] = []
        self.why = ""  # some files are not in the copy
        self.environment = dict(
            os.environ,
            RESTIC_REPOSITORY=self.place(said, folder),
            RESTIC_PASSWORD=self.secrets[0],
            RESTIC_CACHE_DIR="/var/cache/mspctl-restic",
        )

    def place(self, said: Dict[str, Any], folder: str) -> str:
        where = str(said["repository"])
        if where.startswith("sftp:"):
            target = urllib.parse.urlsplit(where)
            self.options = ["-o", "sftp.command=" + " ".join(map(shlex.quote, ssh(target, said["host_key"], folder)))]
            return f"sftp:{target.username}@{target.hostname}:{target.path}"
        if not where.startswith("https:"):
            return where
        if os.path.exists(FOLDER + ".login"):
            user, _, word = secret("login").partition(":")
            quoted = urllib.parse.quote(word, safe="")
            self.secrets += [word, quoted]
            where = where.replace("https://", f"https://{urllib.parse.quote(user, safe='')}:{quoted}@", 1)
        return f"rest:{where}/"

    def run(self, *words: str) -> str:
        """What it said. Raises Failed; a copy that lacks some files is one, and `why` says so."""
        command = ["restic", *self.options, *words]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)  # noqa: S603
        said = [line for line in done.stderr.splitlines() if line.strip()]
        skipped = [line for line in said if "does not exist, skipping" in line]  # to restic, that is fine
        text = next((line for line in said if "Fatal" in line), "") or "".join(skipped[:1] or said[-1:])
        for word in filter(None, self.secrets):
            text = text.replace(word, "***")
        if done.returncode not in ((0, INCOMPLETE) if words[0] == "backup" else (0,)):
            raise Failed(text[:300] or "restic failed")
        if done.returncode or skipped:
            self.why = text[:300]
        return done.stdout

    def make(self) -> None:
        """If there is none."""
        try:
            self.run("cat", "config")
        except Failed as error:
            if not any(said in str(error) for said in MISSING):
                raise
            self.run("init")


def ssh(target: urllib.parse.SplitResult, host_key: str, folder: str) -> List[str]:
    """How restic reaches another host. ssh wants a key without our lines in front."""
    key = "".join(line + "\n" for line in lines("key") if line and not line.startswith("#"))
    for name, text in (("key", key), ("hosts", f"repository {host_key}\n")):
        handle = os.open(os.path.join(folder, name), os.O_CREAT | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text)
    said = {
        "HostKeyAlias": "repository",
        "UserKnownHostsFile": f"{folder}/hosts",
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "ConnectTimeout": "30",
        "ServerAliveInterval": "60",
    }
    options = [word for name, value in said.items() for word in ("-o", f"{name}={value}")]
    where = f"{target.username}@{target.hostname}"
    return ["ssh", "-F", "none", "-i", f"{folder}/key", "-p", str(target.port), *options, where, "-s", "sftp"]


def lines(kind: str) -> List[str]:
    with open(f"{FOLDER}.{kind}") as file:
        return file.read().splitlines()


def secret(kind: str) -> str:
    return lines(kind)[-1]


def backed_up(restic: Restic, said: Dict[str, Any], state: Dict[str, Any]) -> None:
    """One run; `state` learns what came of it. Raises Failed."""
    restic.make()
    excluded = ["--exclude=" + pattern for pattern in said["exclude"]]
    limit = ["--limit-upload", str(said["upload"])] if said["upload"] else []
    told = restic.run("backup", "--json", *MINE, *limit, *excluded, "--", *said["paths"]).splitlines()
    summary = [line for line in map(json.loads, filter(None, told)) if line.get("message_type") == "summary"][-1]
    state["bytes"] = summary["total_bytes_processed"]
    if said["keep"] and not said["append_only"]:
        kept = [word for each in said["keep"] for word in kept_as(each.split())]
        restic.run("forget", "--prune", "--group-by", "host,tags", *MINE, *kept)
    copies = json.loads(restic.run("snapshots", "--json", *MINE)) or []
    latest = max(seconds(copy["time"]) for copy in copies)
    state.update(copies=len(copies), latest=latest, ok=not restic.why, error=restic.why)


def kept_as(said: Sequence[str]) -> List[str]:
    """`daily 14`, as restic calls it."""
    return [f"--keep-{said[0]}", said[1]]


def seconds(text: str) -> int:
    """Since 1970, from 2026-11-27T18:15:00.123456789+01:00."""
    offset = 0
    if text[-6] in "+-":
        offset = (int(text[-5:-3]) * 60 + int(text[-2:])) * (60 if text[-6] == "+" else -60)
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) - offset


def known() -> Dict[str, Any]:
    try:
        with open(STATE) as file:
            return dict(json.load(file))
    except (OSError, TypeError, ValueError):
        return {}


def main() -> str:
    before = known()
    state = {"started": int(time.time()), "ok": False, "error": "", "copies": 0, "before": before.get("bytes", 0)}
    state.update(bytes=before.get("bytes", 0), latest=before.get("latest", 0))
    with tempfile.TemporaryDirectory(prefix="mspctl-", dir="/run") as folder:
        try:
            said = json.loads("".join(line for line in lines("conf") if not line.startswith("#")))
            backed_up(Restic(said, folder), said, state)
        except Failed as error:
            state["error"] = str(error)
        except (OSError, KeyError, ValueError, IndexError) as error:
            state["error"] = f"{type(error).__name__}: {error}"[:300]
    state["ended"] = int(time.time())
    os.makedirs(os.path.dirname(STATE), exist_ok=True)
    with contextlib.suppress(OSError), open(STATE + ".new", "w") as file:
        json.dump(state, file)
        file.flush()
        os.replace(STATE + ".new", STATE)
    return str(state["error"])


sys.exit(main() or 0)
