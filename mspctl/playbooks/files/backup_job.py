"""
Backs up, thins out, and writes down how it went: `backup-<job> <job> <host>`, started by the job's own service.

What to do is in /etc/mspctl/backup/<job>.conf, JSON behind comments; secrets are the last lines of the files beside it.
They reach restic in its environment, Borg through a command that reads that file, and ssh in a folder in memory that is
gone afterwards; no argument holds one.
"""

from __future__ import annotations

import calendar
import contextlib
import json
import os
import re
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
LOCKED = "1800"  # seconds for which one job of a host waits for another, whose repository it shares
INCOMPLETE = 3  # what restic ends with when some files could not be read
EARLY = 0.9  # of the time between two checks: one a little early does not wait for the next night


class Failed(Exception):
    """The program's own reason, without secrets."""


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


class Engine:
    """What makes copies, and where to. `folder` is private and in memory, and has to outlive this."""

    matters: Sequence[str] = ()  # of all that it says when it fails; the earlier, the more

    def __init__(self, job: Job) -> None:
        self.job = job
        self.secrets = [job.secret("password")]
        self.why = ""  # some files are not in the copy
        self.environment: Dict[str, str] = dict(os.environ)

    def call(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=self.environment, capture_output=True, text=True)  # noqa: S603

    def lines(self, command: Sequence[str]) -> Iterator[str]:
        """What it says, however much. Raises Failed at the end."""
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
        """What mattered most, or what it said last; without secrets."""
        lines = [line.strip() for line in said if line.strip()]
        found = (line for word in self.matters for line in lines if word in line)
        text = next(found, "") or "".join(lines[-1:])
        for word in filter(None, self.secrets):
            text = text.replace(word, "***")
        return text[:300] or "it failed without a word"

    def make(self, had: bool) -> None:
        """If there is none. One that is gone is not made anew: nobody would see that all copies went with it."""
        try:
            self.look()
        except Failed as error:
            if not any(said in str(error) for said in self.missing):
                raise
            if had:
                raise Failed(f"the repository had copies, and is gone or away: {error}"[:300]) from None
            self.begin()

    missing: Sequence[str] = ()  # what it says where there is no repository

    def look(self) -> None:
        """Raises Failed when the repository cannot be opened."""
        raise NotImplementedError

    def begin(self) -> None:
        raise NotImplementedError

    def copy(self, dumped: Sequence[str]) -> int:
        """The octets in it; a copy that lacks some files is one, and `why` says so. Raises Failed."""
        raise NotImplementedError

    def thin(self) -> None:
        raise NotImplementedError

    def copies(self) -> List[Dict[str, Any]]:
        """[{"id", "short_id", "time"}] of this job."""
        raise NotImplementedError

    def check(self) -> None:
        raise NotImplementedError


class Restic(Engine):
    matters = ("Fatal",)
    trace = re.compile(r"\t|(github\.com|golang\.org|main|runtime)[./]\S")  # where in itself it was
    long = re.compile(r"([0-9a-f]{8})[0-9a-f]{56}(-tmp-\d+)?")  # what a file of a repository is called
    # What servers say instead when their disk takes no more; restic tries again for a while.
    full = ("SSH_FX_FAILURE", "500 Internal Server Error", "507 Insufficient Storage")
    missing = ("repository at the following location", "unable to open config")

    def __init__(self, job: Job, folder: str) -> None:
        super().__init__(job)
        self.options: List[str] = []
        where = self.place(job.said, folder)
        self.environment.update(
            RESTIC_REPOSITORY=where, RESTIC_PASSWORD=self.secrets[0], RESTIC_CACHE_DIR="/var/cache/mspctl-restic"
        )

    def place(self, said: Mapping[str, Any], folder: str) -> str:
        where = str(said["repository"])
        if where.startswith("sftp:"):
            target = urllib.parse.urlsplit(where)
            words = [*ssh(self.job, folder), "-p", str(target.port), f"{target.username}@{target.hostname}"]
            self.options = ["-o", "sftp.command=" + " ".join(map(shlex.quote, [*words, "-s", "sftp"]))]
            return f"sftp:{target.username}@{target.hostname}:{target.path}"
        if where.startswith("s3:"):
            self.environment["AWS_ACCESS_KEY_ID"], _, word = self.job.secret("login").partition(":")
            self.environment["AWS_SECRET_ACCESS_KEY"] = word
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

    def reason(self, said: Sequence[str]) -> str:
        """Before a trace it says why, and behind it what it was about."""
        plain = [line for line in said if line.strip() and not self.trace.match(line)]
        traced = any(map(self.trace.match, said))
        if traced and len(plain) > 1 and not any(word in line for word in self.matters for line in plain):
            plain = [f"{plain[-1]}: {plain[0]}"]
        text = self.long.sub(r"\1…", super().reason(plain))
        asked = any(word in line for word in self.full for line in plain)
        return f"{text[:270]} (is the disk there full?)" if asked else text

    def run(self, *words: str) -> str:
        """What it said. Raises Failed; a copy that lacks some files is one, and `why` says so."""
        done = self.call(["restic", *self.options, *words])
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
        return self.lines(["restic", *self.options, *words])

    def look(self) -> None:
        self.run("cat", "config")

    def begin(self) -> None:
        self.run("init")

    def copy(self, dumped: Sequence[str]) -> int:
        said = self.job.said
        excluded = ["--exclude=" + pattern for pattern in said["exclude"]]
        limit = ["--limit-upload", str(said["upload"])] if said["upload"] else []
        words = ("backup", "--json", *self.job.mine, *limit, *excluded, "--", *said["paths"], *dumped)
        told = map(json.loads, filter(None, self.run(*words).splitlines()))
        return int([line for line in told if line.get("message_type") == "summary"][-1]["total_bytes_processed"])

    def thin(self) -> None:
        kept = [word for each in self.job.said["keep"] for word in kept_as(each.split())]
        self.run("forget", "--prune", "--group-by", "host,tags", *self.job.mine, *kept)

    def copies(self, *how: str) -> List[Dict[str, Any]]:
        return json.loads(self.run("snapshots", "--json", *how, *self.job.mine)) or []

    def check(self) -> None:
        """And as much of what it holds as was asked for; so what is damaged is seen in time."""
        share = [f"--read-data-subset={self.job.said['read']}%"] if self.job.said["read"] else []
        self.run("check", *share)


class Borg(Engine):
    """
    Borg's repositories. borgmatic makes copies, thins out and checks, as its configuration beside the job's says; what
    is there is asked of Borg itself. Names of copies begin with the job's, and times are told in UTC.
    """

    matters = (
        "No space left",
        "Insufficient free space",
        "Remote: ",
        "Failed to create/acquire the lock",
        "Error: [Errno",
    )
    missing = ("does not exist", "is not a valid repository")
    modest = "file changed while we backed it up"  # as files do that are in use

    def __init__(self, job: Job, folder: str) -> None:
        super().__init__(job)
        self.trouble = f"{folder}/trouble"  # what ssh says, which Borg does not always wait for
        where = str(job.said["repository"])
        self.environment.update(
            BORG_REPO=where,
            BORG_PASSCOMMAND=f"tail -n 1 {job.path('password')}",
            BORG_CONFIG_DIR=f"{STATES}/borg",
            BORG_CACHE_DIR="/var/cache/mspctl-borg",
            BORG_RELOCATED_REPO_ACCESS_IS_OK="no",
            BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK="no",
            TZ="UTC",
        )
        if where.startswith("ssh:"):
            self.environment["BORG_RSH"] = " ".join(map(shlex.quote, [*ssh(job, folder), "-E", self.trouble]))

    def run(self, *words: str) -> str:
        done = self.call(["borg", *words])
        if done.returncode:
            raise Failed(self.reason(done.stderr.splitlines()))
        return done.stdout

    def told(self, *words: str) -> Iterator[str]:
        return self.lines(["borg", *words])

    def matic(self, *words: str) -> List[str]:
        """What Borg warned of while borgmatic had it work. Raises Failed."""
        plain = ("borgmatic", "--config", self.job.path("borgmatic.yaml"), "--syslog-verbosity", "-1")
        done = self.call([*plain, *words])
        told = done.stderr.split(": Error running ", 1)
        said = told[0].splitlines()[: -1 if len(told) > 1 else None]  # its line of that begins with the repository
        lacking = words[0] == "create" and "returned non-zero exit status 1." in done.stderr
        if done.returncode and not lacking:
            raise Failed(self.reason(said or done.stderr.splitlines()))
        return [line for line in said if line.strip() and self.modest not in line]

    def reason(self, said: Sequence[str]) -> str:
        """Borg says it in its first line, but for what comes from elsewhere."""
        with contextlib.suppress(OSError), open(self.trouble) as file:
            said = [*said, *(f"Remote: {line}" for line in file.read().splitlines()[-1:])]
        return super().reason([line for line in reversed(said) if line[:1] not in (" ", "\t")]).replace("Remote: ", "")

    def look(self) -> None:
        self.run("list", "--short", "--last", "1", "--bypass-lock")

    def begin(self) -> None:
        self.matic("rcreate", "--encryption", "repokey-blake2", "--make-parent-dirs")
        self.look()

    def copy(self, dumped: Sequence[str]) -> int:
        """Whatever was `dumped` is in its configuration already."""
        paths = [*self.job.said["paths"], *dumped]
        if not any(map(os.path.lexists, paths)):
            raise Failed(f"nothing is there that could be copied: {', '.join(paths)}"[:300])
        warned = self.matic("create", "--json")
        self.why = self.reason(warned) if warned else ""
        latest = self.copies()[-1]["id"]
        told = json.loads(self.run("info", "--json", "--lock-wait", LOCKED, "::" + latest))
        return int(told["archives"][0]["stats"]["original_size"])

    def thin(self) -> None:
        self.matic("prune")
        self.matic("compact")

    def copies(self) -> List[Dict[str, Any]]:
        said = json.loads(self.run("list", "--json", "--bypass-lock", "--glob-archives", f"{self.job.name}.*"))
        return [{"id": c["name"], "short_id": c["id"][:8], "time": c["time"] + "Z"} for c in said["archives"]]

    def check(self) -> None:
        self.matic("check")


def engine(job: Job, folder: str) -> Engine:
    return Borg(job, folder) if job.said["program"] == "borgmatic" else Restic(job, folder)


def ssh(job: Job, folder: str) -> List[str]:
    """How another host is reached. ssh wants a key without our lines in front."""
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
    return ["ssh", "-F", "none", "-i", f"{folder}/key", *(f"-o{name}={value}" for name, value in said.items())]


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


def backed_up(job: Job, engine: Engine, state: Dict[str, Any]) -> None:
    """One run; `state` learns what came of it. Raises Failed."""
    said = job.said
    engine.make(state["had"] == said["repository"])
    with dumps(job) as dumped:
        state["bytes"] = engine.copy(dumped)
    if said["keep"] and not said["append_only"]:
        engine.thin()
    copies = engine.copies()
    latest = max(nanos(copy["time"]) for copy in copies) // SECOND
    state.update(copies=len(copies), latest=latest, ok=not engine.why, error=engine.why, had=said["repository"])
    if said["check"] and time.time() - state["checked"] >= EARLY * said["check"]:
        check(engine, state)


def check(engine: Engine, state: Dict[str, Any]) -> None:
    """The repository itself."""
    try:
        engine.check()
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
            backed_up(job, engine(job, folder), state)
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
