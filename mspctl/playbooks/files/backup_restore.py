"""
Gives back what a job has put away: for a proof, and for somebody who lost a file. It is sent to a host when it is
needed, with `backup_job` before it, and kept nowhere.

What is restored goes into a new folder that only root can enter. There it is held against what the repository says of
the copy: names, kinds, sizes, modes and times, beside restic's or Borg's own check of every block; and what lies on the
host as it did when the copy was taken must have the same SHA-256. Nothing is overwritten unless that was asked for, and
then what was there is kept.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Mapping, Sequence

if TYPE_CHECKING:
    from mspctl.playbooks.files.backup_job import Borg, Engine, Failed, Job, Restic, engine, nanos
else:
    from backup_job import Borg, Engine, Failed, Job, Restic, engine, nanos

PASSED, FAILED, UNKNOWN = "passed", "failed", "not made"
ROOM = 64 * 2**20  # octets that stay free
BLOCK = 4096  # octets that a file takes besides
COARSE = 2 * 10**9  # nanoseconds that a file system may round a time by
MOST = 2000  # files, or folders with all that is in them, that are restored by name
STAGED = ".restored"
AWAY = (
    "connection refused",
    "timeout",
    "timed out",
    "no such host",
    "no route to host",
    "network is unreachable",
    "closed by remote host",
)
Facts = Dict[str, Any]


def answer(ask: Mapping[str, Any]) -> Facts:
    """By what is to be `do`ne. Whoever ends this early gets a clean host all the same."""
    signal.signal(signal.SIGTERM, _ended)
    os.umask(0o077)
    verbs: Dict[str, Callable[[Mapping[str, Any]], Facts]] = {"prove": prove, "find": find, "get": get}
    return verbs[ask["do"]](ask)


def _ended(*_: object) -> None:
    raise SystemExit("it took too long, and was ended")


@contextlib.contextmanager
def opened(name: str, host: str) -> Iterator[Shelf]:
    with tempfile.TemporaryDirectory(prefix="mspctl-", dir="/run") as folder:
        try:
            found = engine(Job(name, host), folder)
            yield FromBorg(found) if isinstance(found, Borg) else FromRestic(found)
        except FileNotFoundError as error:
            raise Failed(f"{error.filename} is missing: was the job applied?") from None


class Shelf:
    """The copies of a job, from which things are taken."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.job = engine, engine.job

    def copies(self) -> List[Facts]:
        """The oldest first."""
        return sorted(self.taken(), key=lambda copy: nanos(copy["time"]))

    def taken(self) -> List[Facts]:
        return self.engine.copies()

    def listed(self, copy: str, paths: Sequence[str]) -> Iterator[Facts]:
        """What a copy says that it holds at these paths and below; everything without any."""
        return (node for node in self.nodes(copy) if not paths or any(within(node["path"], path) for path in paths))

    def nodes(self, copy: str) -> Iterator[Facts]:
        """{"path", "type" (as in KINDS), "mode", "size" (of files), "mtime"} of all that is in it."""
        raise NotImplementedError

    def unpack(self, copy: str, paths: Sequence[str], folder: str) -> None:
        """Into a folder that is there or is made, with the program's own check of what it writes. Raises Failed."""
        raise NotImplementedError

    def matches(self, pattern: str, until: int) -> Iterator[Facts]:
        """{"copy", "time", "nodes"} of each copy that has any, the newest first; `until`: since 1970, or 0."""
        raise NotImplementedError


class FromRestic(Shelf):
    engine: Restic

    def taken(self) -> List[Facts]:
        return self.engine.copies("--no-lock", "--no-cache")

    def nodes(self, copy: str) -> Iterator[Facts]:
        nodes = map(json.loads, self.engine.told("ls", "--json", "--no-lock", "--no-cache", copy))
        return (node for node in nodes if node.get("struct_type") == "node")

    def unpack(self, copy: str, paths: Sequence[str], folder: str) -> None:
        included = [word for path in paths for word in ("--include", literal(path))]
        self.engine.run("restore", copy, "--no-cache", "--verify", "--target", folder, *included)

    def matches(self, pattern: str, until: int) -> Iterator[Facts]:
        taken = {copy["id"]: nanos(copy["time"]) for copy in self.copies()}
        words = ("find", "--json", "--ignore-case", "--no-lock", *self.job.mine, "--", pattern)
        found = {each["snapshot"]: each["matches"] or [] for each in json.loads(self.engine.run(*words) or "[]")}
        for copy, when in sorted(taken.items(), key=lambda one: -one[1]):
            nodes = [node for node in found.get(copy, ()) if named(node["path"], pattern)]
            if nodes and not (until and when > (until + 1) * 10**9):
                yield {"copy": copy, "time": when, "nodes": nodes}


class FromBorg(Shelf):
    """Borg writes where it is started, and looks at the MAC of each block that it reads."""

    engine: Borg

    def nodes(self, copy: str, *only: str) -> Iterator[Facts]:
        linked: Dict[str, int] = {}  # of files that have several names, the first has the size; None if it was left out
        for line in self.engine.told("list", "--json-lines", "--bypass-lock", "::" + copy, *only):
            said = json.loads(line)
            size = linked.get(said["source"]) if said["mode"].startswith("h") else said["size"]
            linked[said["path"]] = size or 0
            path, mtime = "/" + said["path"], said["mtime"] + "Z"
            yield {"path": path, "type": BORG[said["type"]], "mode": bits(said["mode"]), "size": size, "mtime": mtime}

    def unpack(self, copy: str, paths: Sequence[str], folder: str) -> None:
        os.makedirs(folder, exist_ok=True)
        only = ["pp:" + path.lstrip("/") for path in paths if path != "/"]
        words = ["borg", "extract", "--bypass-lock", "--numeric-ids", "::" + copy, *only]
        done = subprocess.run(words, env=self.engine.environment, cwd=folder, capture_output=True, text=True)  # noqa: S603
        if done.returncode:
            raise Failed(self.engine.reason(done.stderr.splitlines()))

    def matches(self, pattern: str, until: int) -> Iterator[Facts]:
        for copy in reversed(self.copies()):
            when = nanos(copy["time"])
            if until and when > (until + 1) * 10**9:
                continue
            nodes = [*self.nodes(copy["id"], roughly(pattern))]
            if any(node["size"] is None for node in nodes):
                nodes = [*self.nodes(copy["id"])]
            nodes = [node for node in nodes if named(node["path"], pattern)]
            if nodes:
                yield {"copy": copy["id"], "time": when, "nodes": nodes}


BORG = {"-": "file", "d": "dir", "l": "symlink", "p": "fifo", "c": "chardev", "b": "dev", "s": "socket"}


def roughly(pattern: str) -> str:
    """All that a pattern matches, for Borg, and perhaps more."""
    if "[" in pattern:
        return "re:."
    name = "".join({"*": "[^/]*", "?": "[^/]"}.get(c, re.escape(c)) for c in pattern.strip("/"))
    return f"re:(?i){'^' if pattern.startswith('/') else '(^|/)'}{name}$"


def bits(mode: str) -> int:
    """Of -rwsr-xr-x."""
    return sum(1 << (8 - place) for place, letter in enumerate(mode[1:]) if letter not in "-ST")


def within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def outermost(paths: Sequence[str]) -> List[str]:
    """Without those that lie below others."""
    found: List[str] = []
    for path in sorted(paths):
        if not (found and within(path, found[-1])):
            found.append(path)
    return found


def literal(path: str) -> str:
    """As a pattern that matches nothing else."""
    return "".join("\\" + c if c in "*?[\\" else c for c in path)


# -- comparing --------------------------------------------------------------------------------------------------


class Comparison:
    """What was restored, beside what the copy says and beside what is still on the host."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.expected: set[str] = set()
        self.files = self.octets = self.same = 0
        self.wrong: List[str] = []

    def hold(self, node: Mapping[str, Any]) -> None:
        path, there = node["path"], self.folder + node["path"]
        self.expected.add(path)
        try:
            about = os.lstat(there)
        except OSError:
            if node["type"] != "socket":  # which no copy holds
                self.wrong.append(f"{path} is missing")
            return
        kind = KINDS.get(stat.S_IFMT(about.st_mode), "?")
        if kind != node["type"]:
            self.wrong.append(f"{path} is a {kind}, not a {node['type']}")
        elif kind != "symlink" and about.st_mode & 0o777 != node["mode"] & 0o777:
            self.wrong.append(f"{path} has mode {about.st_mode & 0o777:04o}, not {node['mode'] & 0o777:04o}")
        elif kind == "file":
            self.file(path, there, about, node)

    def file(self, path: str, there: str, about: os.stat_result, node: Mapping[str, Any]) -> None:
        self.files += 1
        self.octets += about.st_size
        if about.st_size != node.get("size", 0):
            self.wrong.append(f"{path} has {about.st_size} octets, not {node.get('size', 0)}")
        elif abs(about.st_mtime_ns - nanos(node["mtime"])) > COARSE:
            self.wrong.append(f"{path} has another time")
        elif unchanged(path, about):
            mine, theirs = digest(there), digest(path)
            if unchanged(path, about):  # nobody wrote to it meanwhile
                self.same += 1
                if mine != theirs:
                    self.wrong.append(f"{path} is not what is on the host, where nobody changed it")

    def strangers(self, paths: Sequence[str]) -> None:
        """What was restored and is in no list; folders above what is are made without being in any."""
        for top, folders, files in os.walk(self.folder):
            for name in [*folders, *files]:
                path = os.path.join(top, name)[len(self.folder) :]
                ours = not paths or any(within(path, each) for each in paths)
                if ours and path not in self.expected and not any(within(each, path) for each in self.expected):
                    self.wrong.append(f"{path} is not in the copy")

    def against(self, nodes: Iterator[Facts], paths: Sequence[str]) -> Comparison:
        for node in nodes:
            self.hold(node)
        self.strangers(paths)
        return self


KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "chardev",
    stat.S_IFBLK: "dev",
    stat.S_IFSOCK: "socket",
}


def unchanged(path: str, about: os.stat_result) -> bool:
    """Whether a file on the host still is as it was when the copy was taken, as far as its size and time say."""
    try:
        now = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(now.st_mode) and (now.st_size, now.st_mtime_ns) == (about.st_size, about.st_mtime_ns)


def digest(path: str) -> str:
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            found.update(block)
    return found.hexdigest()


def several(wrong: Sequence[str]) -> str:
    more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return "; ".join(wrong[:3]) + more


def spoken(octets: int) -> str:
    for unit, name in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if octets >= unit:
            return f"{octets / unit:.1f} {name}"
    return f"{octets} B"


def room(folder: str) -> int:
    about = os.statvfs(folder)
    return about.f_bavail * about.f_frsize


# -- a proof ----------------------------------------------------------------------------------------------------


class Proof:
    """Steps as mspctl records them. The first one that does not pass is the last, but for cleaning up."""

    def __init__(self, ask: Mapping[str, Any], shelf: Shelf, top: str) -> None:
        self.ask, self.shelf, self.top = ask, shelf, top
        self.folder = os.path.join(top, "restored")
        self.paths = outermost(ask["paths"])
        self.steps: List[Facts] = []
        self.state = self.octets = self.files = 0

    def step(self, what: str, verdict: str, said: str = "", since: float = 0.0, until: float = 0.0) -> bool:
        seconds = round((until or time.monotonic()) - since, 3) if since else None
        self.steps.append({"what": what, "verdict": verdict, "said": said, "seconds": seconds})
        return verdict == PASSED

    def make(self) -> None:
        what = "a copy is there"
        try:
            found = self.shelf.copies()
            if not found:
                self.step(what, FAILED, "there is none")
                return
            copy = found[-1]
            self.state = nanos(copy["time"]) // 10**9
            self.step(what, PASSED, f"of {copy['time'][:16].replace('T', ' ')}, {copy['short_id']}")
            what = "there is room for it"
            if self.there_is_room(what, copy["id"]):
                what = "it is restored"
                begun = time.monotonic()
                os.mkdir(self.folder)
                self.shelf.unpack(copy["id"], self.paths, self.folder)
                what = "every file is as in the copy"
                self.compare(what, begun, time.monotonic())
        except Failed as error:
            away = any(said in str(error).lower() for said in AWAY)
            self.step(what, UNKNOWN if away else FAILED, str(error))

    def there_is_room(self, what: str, copy: str) -> bool:
        """What the copy holds is kept beside it, for the comparison."""
        needed = ROOM
        with open(os.path.join(self.top, "listing"), "w") as file:
            for node in self.shelf.listed(copy, self.paths):
                needed += node.get("size", 0) + BLOCK
                file.write(json.dumps(node) + "\n")
        free = room(self.top)
        if needed == ROOM:
            return self.step(what, FAILED, f"the copy holds nothing of {', '.join(self.paths) or 'anything'}")
        if needed > free:
            said = f"{self.ask['scratch']} has {spoken(free)} free, and {spoken(needed)} are needed"
            return self.step(what, UNKNOWN, said)
        return self.step(what, PASSED)

    def compare(self, what: str, begun: float, restored: float) -> None:
        with open(os.path.join(self.top, "listing")) as file:
            seen = Comparison(self.folder).against(map(json.loads, file), self.paths)
        self.files, self.octets = seen.files, seen.octets
        said = f"{seen.files} file{'' if seen.files == 1 else 's'}, {spoken(seen.octets)}"
        self.step("it is restored", PASSED, said, begun, restored)
        some = f"{seen.same} of them have the SHA-256 of what is on the host; the others changed there since"
        same = some if seen.same < seen.files else "and as it is on the host"
        good = self.step(what, FAILED if seen.wrong else PASSED, several(seen.wrong) or same, restored)
        if good and self.ask["start"]:
            self.start(self.ask["start"])

    def start(self, name: str) -> None:
        """A script of ours, in the folder that was restored; what it says last is kept."""
        what, begun = f"{name} says that it works", time.monotonic()
        path = os.path.join(self.top, "start")
        with open(path, "w") as file:
            file.write(self.ask["script"])
        os.chmod(path, 0o700)
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "RESTORED": self.folder}
        environment["HOME"] = self.top
        try:
            done = subprocess.run(  # noqa: S603
                [path], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
            )
        except OSError as error:
            self.step(what, FAILED, f"it cannot be started: {error.strerror}", begun)
            return
        text = (done.stderr if done.returncode else "") or done.stdout
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        said = lines[-1][:300] if lines else ""
        if done.returncode:
            self.step(what, FAILED, said or f"it ended with {done.returncode}", begun)
        else:
            self.step(what, PASSED, said, begun)


def prove(ask: Mapping[str, Any]) -> Facts:
    """{"steps": […], "state": seconds since 1970 of the copy, "files", "octets"}."""
    top = ""
    steps: List[Facts] = []
    said: Facts = {"steps": steps, "state": 0}
    try:
        with opened(ask["job"], ask["host"]) as shelf:
            top = tempfile.mkdtemp(prefix="mspctl-proof-", dir=ask["scratch"])
            proof = Proof(ask, shelf, top)
            proof.make()
            steps += proof.steps
            said.update(state=proof.state, files=proof.files, octets=proof.octets)
    except (Failed, OSError, KeyError, ValueError) as error:
        steps.append({"what": "it can be begun", "verdict": UNKNOWN, "said": str(error)[:300], "seconds": None})
    finally:
        if top:
            gone(top)
    if top:
        left = os.path.lexists(top)
        said_of = f"{top} could not be removed: remove it by hand" if left else ""
        steps.append(
            {"what": "nothing of it is left on the host", "verdict": FAILED if left else PASSED, "said": said_of,
             "seconds": None}
        )  # fmt: skip
    return said


# -- looking for something --------------------------------------------------------------------------------------


def named(path: str, pattern: str) -> bool:
    """Whether it is meant itself; to restic, all that is in a folder matches as the folder does."""
    names, wanted = path.lower().strip("/").split("/"), pattern.lower().strip("/").split("/")
    if len(names) < len(wanted) or (pattern.startswith("/") and len(names) != len(wanted)):
        return False
    return all(map(fnmatch.fnmatchcase, names[-len(wanted) :], wanted))


def find(ask: Mapping[str, Any]) -> Facts:
    """
    {"found": […], "more": whether there is more, "failed": {job: why}}: versions of what matches, by path, the newest
    first. One that several copies have is told once, with the newest of them, and how many there are.
    """
    versions: Dict[Any, Facts] = {}
    failed: Dict[str, str] = {}
    for job in ask["jobs"]:
        try:
            with opened(job, ask["host"]) as shelf:
                for one in shelf.matches(ask["pattern"], ask["until"]):
                    for node in one["nodes"]:
                        add(versions, job, one, node)
        except (Failed, OSError, ValueError, KeyError) as error:
            failed[job] = str(error)[:300]
    found = sorted(versions.values(), key=lambda version: (version["path"], -version["time"]))
    return {"found": found[:MOST], "more": len(found) > MOST, "failed": failed}


def add(versions: Dict[Any, Facts], job: str, one: Mapping[str, Any], node: Mapping[str, Any]) -> None:
    changed = nanos(node["mtime"]) // 10**9
    about = {"job": job, "path": node["path"], "kind": node["type"], "size": node.get("size", 0), "changed": changed}
    key = (job, node["path"], node["type"], node.get("size", 0), node["mtime"] if node["type"] != "dir" else "")
    known = versions.setdefault(key, dict(about, time=one["time"] // 10**9, copy=one["copy"], copies=0))
    known["copies"] += 1


# -- giving back ------------------------------------------------------------------------------------------------


def get(ask: Mapping[str, Any]) -> Facts:
    """
    What the newest copy that has anything of the pattern holds of it, in a new folder; or where it was.

    {"job", "copy", "time", "folder", "paths", "files", "octets", "same", "wrong", "kept", "seconds"}; times are seconds
    since 1970, `kept` is what was overwritten and lies in the folder now. Ends with the reason when it cannot be.
    """
    if os.path.lexists(ask["to"]):
        raise SystemExit(f"{ask['to']} is there already: name a new one")
    best: Facts = {}
    failed = []
    for job in ask["jobs"]:
        try:
            with opened(job, ask["host"]) as shelf:
                for one in itertools.islice(shelf.matches(ask["pattern"], ask["until"]), 1):
                    best = max(best, dict(one, job=job), key=lambda it: it.get("time", 0))
        except (Failed, OSError, ValueError, KeyError) as error:
            failed.append(f"{job}: {error}"[:300])
    if not best:
        raise SystemExit("; ".join(failed) or "nothing matches")
    try:
        with opened(best["job"], ask["host"]) as shelf:
            return dict(given_back(ask, shelf, best), failed=failed)
    except (Failed, OSError, ValueError, KeyError) as error:
        raise SystemExit(str(error)[:600]) from None


def given_back(ask: Mapping[str, Any], shelf: Shelf, best: Mapping[str, Any]) -> Facts:
    begun = time.monotonic()
    paths, copy, folder = outermost([node["path"] for node in best["nodes"]]), best["copy"], ask["to"]
    if len(paths) > MOST:
        raise Failed(f"{len(paths)} files match: narrow the pattern, or name their folder")
    nodes = [*shelf.listed(copy, paths)]
    needed, parent = ROOM + sum(node.get("size", 0) + BLOCK for node in nodes), os.path.dirname(folder)
    os.makedirs(parent, mode=0o755, exist_ok=True)
    if needed > room(parent):
        raise Failed(f"{parent} has {spoken(room(parent))} free, and {spoken(needed)} are needed")
    os.mkdir(folder, 0o700)
    draft = os.path.join(folder, STAGED) if ask["in_place"] else folder
    try:
        shelf.unpack(copy, paths, draft)
        seen = Comparison(draft).against(iter(nodes), paths)
    except BaseException:
        gone(folder)
        raise
    kept: List[str] = []
    if ask["in_place"] and not seen.wrong:
        try:
            kept = in_place(draft, paths, folder)
        except (Failed, OSError) as error:
            left = f"what was restored is in {draft}, what was overwritten in {folder}"
            raise Failed(f"not all of it is where it was ({left}): {error}") from None
        gone(draft)
        if not kept:
            os.rmdir(folder)
    return {
        "job": shelf.job.name,
        "copy": copy,
        "time": best["time"] // 10**9,
        "folder": folder if os.path.lexists(folder) else "",
        "paths": paths,
        "files": seen.files,
        "octets": seen.octets,
        "same": seen.same,
        "wrong": seen.wrong[:20],
        "kept": kept,
        "seconds": round(time.monotonic() - begun, 3),
    }


def in_place(draft: str, paths: Sequence[str], keep: str) -> List[str]:
    """Everything to where it was; what is in the way goes below `keep`, and is told. Raises Failed."""
    kept = []
    for path in paths:
        upper = os.path.dirname(path)
        if os.path.realpath(upper) != upper:
            raise Failed(f"{upper} is behind a link now: restore {path} into a folder, and put it there by hand")
    for path in paths:
        for there in [*walked(draft + path)]:
            where = there[len(draft) :]
            if alike(there, where):
                continue
            if os.path.lexists(where):
                os.makedirs(keep + os.path.dirname(where), exist_ok=True)
                shutil.move(where, keep + where)
                kept.append(where)
            folders(os.path.dirname(where))
            put(there, where)
    return kept


def alike(there: str, where: str) -> bool:
    """Whether what would be overwritten is the same; of folders, whether both are."""
    if not os.path.lexists(where):
        return False
    mine, theirs = os.lstat(there), os.lstat(where)
    if stat.S_IFMT(mine.st_mode) != stat.S_IFMT(theirs.st_mode) or stat.S_ISDIR(mine.st_mode):
        return stat.S_ISDIR(mine.st_mode) and stat.S_ISDIR(theirs.st_mode)
    if stat.S_ISLNK(mine.st_mode):
        return os.readlink(there) == os.readlink(where)
    if (mine.st_mode, mine.st_uid, mine.st_gid, mine.st_size) != (
        theirs.st_mode, theirs.st_uid, theirs.st_gid, theirs.st_size
    ):  # fmt: skip
        return False
    return not stat.S_ISREG(mine.st_mode) or digest(there) == digest(where)


def folders(path: str) -> None:
    """Those above something that are gone too, as open as the one that is left."""
    if not os.path.isdir(path):
        folders(os.path.dirname(path))
        about = os.stat(os.path.dirname(path))
        os.mkdir(path)
        os.chown(path, about.st_uid, about.st_gid)
        os.chmod(path, stat.S_IMODE(about.st_mode))


def walked(top: str) -> Iterator[str]:
    """Folders before what is in them."""
    yield top
    if os.path.isdir(top) and not os.path.islink(top):
        for folder, folders, files in os.walk(top):
            yield from (os.path.join(folder, name) for name in [*folders, *files])


def put(there: str, where: str) -> None:
    """A copy with its owner, mode and times; whole or not at all, and held against what was restored. Raises Failed."""
    about = os.lstat(there)
    if stat.S_ISDIR(about.st_mode):
        os.mkdir(where)
    elif stat.S_ISLNK(about.st_mode):
        os.symlink(os.readlink(there), where)
    elif stat.S_ISREG(about.st_mode):
        handle, draft = tempfile.mkstemp(dir=os.path.dirname(where), prefix=".mspctl-")
        os.close(handle)
        shutil.copyfile(there, draft)
        shutil.copystat(there, draft)
        os.chown(draft, about.st_uid, about.st_gid)
        os.chmod(draft, stat.S_IMODE(about.st_mode))
        os.replace(draft, where)
        if digest(where) != digest(there):
            raise Failed(f"{where} is not what was restored: the disk may be damaged")
        return
    else:
        os.mknod(where, about.st_mode, about.st_rdev)
    os.chown(where, about.st_uid, about.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(about.st_mode):
        os.chmod(where, stat.S_IMODE(about.st_mode))


def gone(top: str) -> None:
    """Whatever modes it has."""
    for folder, _, _ in os.walk(top):
        with contextlib.suppress(OSError):
            os.chmod(folder, 0o700)
    shutil.rmtree(top, ignore_errors=True)
