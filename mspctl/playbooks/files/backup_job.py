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
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
from typing import Any, Dict, Iterator, List, Mapping, Sequence

FOLDER, STATES = "/etc/mspctl/backup", "/var/lib/mspctl"
DUMPS = STATES + "/dumps"
INCOMPLETE = 3  # what restic ends with when some files could not be read
EARLY = 0.9  # of the time between two checks: one a little early does not wait for the next night
MISSING = ("repository at the following location", "unable to open config")  # what restic says of none


class Failed(Exception):
    """restic's own reason, without secrets."""


class Job:
    """What a host has to do, as it stands on the host."""

    def __init__(self, name: str, host: str) -> None:
        self.name, self.host = name, host
        self.state = f"{STATES}/backup-{name}.json"
        self.said = dict(json.loads("".join(line for line in self.lines("conf") if not line.startswith("#"))))

    def lines(self, kind: str) -> List[str]:
        with open(self.path(kind)) as file:
            return file.read().splitlines()

    def path(self, kind: str) -> str:
        return f"{FOLDER}/{self.name}.{kind}"

    def secret(self, kind: str) -> str:
        return self.lines(kind)[-1]

    @property
    def mine(self) -> List[str]:
        """How restic tells copies of this job from others."""
        return ["--tag", self.name, "--host", self.host]


class Restic:
    """The repository of a job. `folder` is private and in memory, and has to outlive this."""

    def __init__(self, job: Job, folder: str) -> None:
        self.job = job
        self.secrets = [job.secret("password")]
        self.options: List[str] = []
        self.why = ""  # some files are not in the copy
        self.keys: Dict[str, str] = {}  # of a server of S3
        where = self.place(job.said, folder)
        self.environment = dict(
            os.environ,
            **self.keys,
            RESTIC_REPOSITORY=where,
            RESTIC_PASSWORD=self.secrets[0],
            RESTIC_CACHE_DIR="/var/cache/mspctl-restic",
        )

    def place(self, said: Mapping[str, Any], folder: str) -> str:
        where = str(said["repository"])
        if where.startswith("sftp:"):
            target = urllib.parse.urlsplit(where)
            self.options = ["-o", "sftp.command=" + " ".join(map(shlex.quote, ssh(target, self.job, folder)))]
            return f"sftp:{target.username}@{target.hostname}:{target.path}"
        if where.startswith("s3:"):
            self.keys["AWS_ACCESS_KEY_ID"], _, word = self.job.secret("login").partition(":")
            self.keys["AWS_SECRET_ACCESS_KEY"] = word
            self.secrets.append(word)
            return where
        if not where.startswith("https:"):
            return where
        if os.path.exists(self.job.path("login")):
            user, _, word = self.job.secret("login").partition(":")
            quoted = urllib.parse.quote(word, safe="")
            self.secrets += [word, quoted]
            where = where.replace("https://", f"https://{urllib.parse.quote(user, safe='')}:{quoted}@", 1)
        return f"rest:{where}/"

    def run(self, *words: str) -> str:
        """What it said. Raises Failed; a copy that lacks some files is one, and `why` says so."""
        command = ["restic", *self.options, *words]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)  # noqa: S603
        said = done.stderr.splitlines()
        skipped = [line for line in said if "does not exist, skipping" in line]  # to restic, that is fine
        fatal = any("Fatal" in line for line in said)
        text = self.reason(skipped[:1] if skipped and not fatal else said)
        if done.returncode not in ((0, INCOMPLETE) if words[0] == "backup" else (0,)):
            raise Failed(text)
        if done.returncode or skipped:
            self.why = text
        return done.stdout

    def told(self, *words: str) -> Iterator[str]:
        """Its lines, one after the other, however many. Raises Failed at the end."""
        command = ["restic", *self.options, *words]
        with tempfile.TemporaryFile("w+") as trouble:
            with subprocess.Popen(command, env=self.environment, stdout=-1, stderr=trouble, text=True) as process:  # noqa: S603
                try:
                    assert process.stdout is not None, "it is a pipe"
                    yield from process.stdout
                except BaseException:
                    process.kill()
                    raise
            if process.returncode:
                trouble.seek(0)
                raise Failed(self.reason(trouble.read().splitlines()))

    def reason(self, said: Sequence[str]) -> str:
        """What it said last, or what mattered most; without secrets."""
        lines = [line for line in said if line.strip()]
        text = next((line for line in lines if "Fatal" in line), "") or "".join(lines[-1:])
        for word in filter(None, self.secrets):
            text = text.replace(word, "***")
        return text[:300] or "restic failed"

    def make(self, had: bool) -> None:
        """If there is none. One that is gone is not made anew: nobody would see that all copies went with it."""
        try:
            self.run("cat", "config")
        except Failed as error:
            if not any(said in str(error) for said in MISSING):
                raise
            if had:
                raise Failed(f"the repository had copies, and is gone or away: {error}"[:300]) from None
            self.run("init")


def ssh(target: urllib.parse.SplitResult, job: Job, folder: str) -> List[str]:
    """How restic reaches another host. ssh wants a key without our lines in front."""
    key = "".join(line + "\n" for line in job.lines("key") if line and not line.startswith("#"))
    for name, text in (("key", key), ("hosts", f"repository {job.said['host_key']}\n")):
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


# -- databases --------------------------------------------------------------------------------------------------

POSTGRES = ["runuser", "-u", "postgres", "--"]
ALL = "all"
# How the names of an engine's databases are asked for, one is dumped, and what belongs to none of them.
LISTS = {
    "postgresql": [
        *POSTGRES,
        "psql",
        "-XAtqc",
        "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate",
    ],
    "mariadb": ["mariadb", "--batch", "--skip-column-names", "-e", "SHOW DATABASES"],
}
DUMPED = {
    "postgresql": [*POSTGRES, "pg_dump", "--format=custom", "--"],
    "mariadb": [
        "mariadb-dump",
        "--single-transaction",
        "--quick",
        "--routines",
        "--events",
        "--triggers",
        "--hex-blob",
        "--",
    ],
}
BESIDE = {"postgresql": [*POSTGRES, "pg_dumpall", "--globals-only"]}  # who may log in
ENDINGS = {"postgresql": "pgdump", "mariadb": "sqldump"}  # which nobody excludes by chance
NO_DATA = ("information_schema", "performance_schema", "sys")


def dump(said: Sequence[str], folder: str) -> None:
    """Each database in a file below `folder`, which only root can enter. Raises Failed at the first that cannot be."""
    for each in said:
        engine, _, name = each.partition(" ")
        names = [name]
        if name == ALL:
            told = run(LISTS[engine], f"{engine}: its databases could not be listed")
            names = [line for line in told.splitlines() if line and line not in NO_DATA]
        for name in names:
            file = f"{folder}/{engine}-{urllib.parse.quote(name, safe='')}.{ENDINGS[engine]}"
            run([*DUMPED[engine], name], f"dump of {engine} {name}", file)
            whole(engine, name, file)
        if engine in BESIDE:
            run(BESIDE[engine], f"dump of {engine} roles", f"{folder}/{engine}-roles.sql")


def run(command: Sequence[str], what: str, file: str = "") -> str:
    """What a program says, or puts into a file as it comes. Raises Failed with its last words."""
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(open(file, "wb")) if file else subprocess.PIPE
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, cwd="/")  # noqa: S603
        except FileNotFoundError:
            raise Failed(f"{what}: there is no {command[-1] if command[0] == 'runuser' else command[0]} here") from None
    lines = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    if done.returncode:
        raise Failed(f"{what}: {lines[-1] if lines else 'failed'}"[:300])
    return (done.stdout or b"").decode("utf-8", "replace")


def whole(engine: str, name: str, file: str) -> None:
    """That a dump has its end. Raises Failed."""
    if engine == "postgresql":
        run(["pg_restore", "--list", file], f"dump of {engine} {name} cannot be read")
        return
    with open(file, "rb") as opened:
        opened.seek(max(0, os.path.getsize(file) - 4096))
        if b"-- Dump completed" not in opened.read():
            raise Failed(f"dump of {engine} {name} has no end")


@contextlib.contextmanager
def dumps(job: Job) -> Iterator[List[str]]:
    """Where the databases of a job were dumped, for as long as they are copied; nowhere when it has none."""
    folder = f"{DUMPS}/{job.name}"
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    if not job.said["dumps"]:
        yield []
        return
    os.makedirs(folder, mode=0o700)
    try:
        dump(job.said["dumps"], folder)
        yield [folder]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# -- a run ------------------------------------------------------------------------------------------------------


def backed_up(job: Job, restic: Restic, state: Dict[str, Any]) -> None:
    """One run; `state` learns what came of it. Raises Failed."""
    said = job.said
    restic.make(state["had"] == said["repository"])
    excluded = ["--exclude=" + pattern for pattern in said["exclude"]]
    limit = ["--limit-upload", str(said["upload"])] if said["upload"] else []
    with dumps(job) as dumped:
        words = ("backup", "--json", *job.mine, *limit, *excluded, "--", *said["paths"], *dumped)
        told = restic.run(*words).splitlines()
    summary = [line for line in map(json.loads, filter(None, told)) if line.get("message_type") == "summary"][-1]
    state["bytes"] = summary["total_bytes_processed"]
    if said["keep"] and not said["append_only"]:
        kept = [word for each in said["keep"] for word in kept_as(each.split())]
        restic.run("forget", "--prune", "--group-by", "host,tags", *job.mine, *kept)
    copies = json.loads(restic.run("snapshots", "--json", *job.mine)) or []
    latest = max(nanos(copy["time"]) for copy in copies) // SECOND
    state.update(copies=len(copies), latest=latest, ok=not restic.why, error=restic.why, had=said["repository"])
    if said["check"] and time.time() - state["checked"] >= EARLY * said["check"]:
        check(restic, state)


def check(restic: Restic, state: Dict[str, Any]) -> None:
    """The repository itself, and as much of what it holds as was asked for; so what is damaged is seen in time."""
    share = [f"--read-data-subset={restic.job.said['read']}%"] if restic.job.said["read"] else []
    try:
        restic.run("check", *share)
        state.update(checked=int(time.time()), broken="")
    except Failed as error:
        state["broken"] = str(error)


def kept_as(said: Sequence[str]) -> List[str]:
    """`daily 14`, as restic calls it."""
    return [f"--keep-{said[0]}", said[1]]


SECOND = 10**9


def nanos(text: str) -> int:
    """Nanoseconds since 1970, from 2026-11-27T18:15:00.123456789+01:00, or with Z."""
    clock, offset = (text[:-6], text[-6:]) if text[-6] in "+-" else (text.rstrip("Z"), "+00:00")
    minutes = int(offset[1:3]) * 60 + int(offset[4:6])
    whole, _, fraction = clock.partition(".")
    since = calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) - minutes * (-60 if offset[0] == "-" else 60)
    return since * SECOND + int(f"{fraction:0<9}"[:9])


def known(path: str) -> Dict[str, Any]:
    try:
        with open(path) as file:
            return dict(json.load(file))
    except (OSError, TypeError, ValueError):
        return {}


def main(name: str, host: str) -> str:
    path = f"{STATES}/backup-{name}.json"
    before = known(path)
    state = {"started": int(time.time()), "ok": False, "error": "", "copies": 0, "before": before.get("bytes", 0)}
    for key, default in (("bytes", 0), ("latest", 0), ("checked", 0), ("broken", ""), ("had", "")):
        state[key] = before.get(key, default)
    with tempfile.TemporaryDirectory(prefix="mspctl-", dir="/run") as folder:
        try:
            job = Job(name, host)
            backed_up(job, Restic(job, folder), state)
        except Failed as error:
            state["error"] = str(error)
        except (OSError, KeyError, ValueError, IndexError) as error:
            state["error"] = f"{type(error).__name__}: {error}"[:300]
    state["ended"] = int(time.time())
    os.makedirs(STATES, exist_ok=True)
    with contextlib.suppress(OSError), open(path + ".new", "w") as file:
        json.dump(state, file)
        file.flush()
        os.replace(path + ".new", path)
    return str(state["error"] or state["broken"])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]) or 0)
