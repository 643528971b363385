"""The example customers in a clone with a remote by path, the real program beside it, and what must be true at last."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path

from mspctl import cli
from mspctl.cli import workspace
from mspctl.exits import Exit
from mspctl.ledger import Ledger
from mspctl.ledger_page import path_of
from tests.conftest import ROOT, Said

WRAPPED = Path(__file__).with_name("wrapped.py")
SERIAL = re.compile(r"(?m)^(@ \d+ IN SOA \S+ \S+) (\d+)")
LOCKED = "locked by"


def quiet() -> None:
    """Nothing that a user or a job configured; set for this process and those it starts."""
    for name in [*os.environ]:
        if name.startswith(("GIT_", "GITHUB_", "GITLAB_", "FORCE_COLOR")):
            del os.environ[name]
    os.environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "NO_COLOR": "1"}


def git(root: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Lab:
    """remote.git, and clone/ with the customers; zones lie in clone/scratch."""

    def __init__(self, root: Path) -> None:
        self.root, self.clone, self.remote = root, root / "clone", root / "remote.git"
        self.zones = self.clone / "scratch"

    @classmethod
    def make(cls, root: Path) -> Lab:
        lab = cls(root)
        for name in ("customers", "inventory"):
            shutil.copytree(ROOT / name, lab.clone / name, ignore=shutil.ignore_patterns("mail.yaml"))
        for name in ("ns-1", "ns-lab"):
            (lab.zones / name).mkdir(parents=True)
        git(root, "init", "-q", "--bare", "--template=", "remote.git")
        git(root, "init", "-q", "--template=", "clone")
        git(lab.clone, "remote", "add", "origin", "../remote.git")
        assert lab.run("ledger", "init").code == 0
        return lab

    def copy(self, to: Path) -> Lab:
        shutil.copytree(self.root, to, symlinks=True)
        return Lab(to)

    # Running it

    def start(self, *arguments: str, **faults: object) -> subprocess.Popen[str]:
        program, pipe = [sys.executable, str(WRAPPED), json.dumps(faults), *arguments], subprocess.PIPE
        return subprocess.Popen(program, cwd=self.clone, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)

    def real(self, *arguments: str, **faults: object) -> Said:
        with self.start(*arguments, **faults) as process:
            out, err = process.communicate(timeout=120)
        return Said(process.returncode, out, err)

    def run(self, *arguments: str) -> Said:
        """In this process, which is faster."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = cli.run(["-C", str(self.clone), *arguments])
        return Said(code, out.getvalue(), err.getvalue())

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.clone / file
        text = path.read_text()
        assert text.count(old) == 1, f"{old} in {file}"
        path.write_text(text.replace(old, new))

    def break_locks(self) -> None:
        """As a person does: look who is there, then break them by name."""
        names = [line.partition(": ")[0] for line in self.run("unlock").out.splitlines() if LOCKED not in line]
        names = [name for name in names if "/" in name]
        if names:
            self.run("unlock", *names)

    # Looking

    def files(self) -> dict[str, str]:
        """Everything that lies where the zones are."""
        return {str(p.relative_to(self.zones)): p.read_text() for p in sorted(self.zones.rglob("*")) if p.is_file()}

    def locks(self) -> list[str]:
        return git(self.remote, "for-each-ref", "--format=%(refname)", "refs/mspctl/").splitlines()

    def runs(self) -> set[str]:
        """Those that the remote's ledger names."""
        messages = git(self.remote, "log", "--format=%B", "refs/heads/ledger")
        return set(re.findall(r"(?m)^Run: (.*)$", messages))

    def told(self) -> dict[str, list[str]]:
        """What the history says: run → the pages of the scopes it touched."""
        told: dict[str, list[str]] = {}
        for entry in Ledger.open(self.clone).history(limit=1000):
            told.setdefault(entry.run, []).extend(map(path_of, entry.scopes))
        return told

    def landings(self, *runs: str) -> dict[tuple[str, str], int]:
        """How often the ledger says that a change landed, in these runs or in all."""
        counted: dict[tuple[str, str], int] = {}
        for entry in Ledger.open(self.clone).history(limit=1000):
            for scope, landing in entry.scopes.items() if not runs or entry.run in runs else ():
                for change in landing.changes:
                    key = path_of(scope), change.id.name
                    counted[key] = counted.get(key, 0) + 1
        return counted


def serials(files: dict[str, str]) -> dict[str, int]:
    return {name: int(found[2]) for name, text in files.items() if (found := SERIAL.search(text))}


def without_serials(files: dict[str, str]) -> dict[str, str]:
    return {name: SERIAL.sub(r"\1 n", text) for name, text in files.items()}


def expected_serials(before: dict[str, str], after: dict[str, str], days: set[int]) -> dict[str, set[int]]:
    """After one write of each zone that differs: one more, or the first of the day."""
    old, plain_old, plain_new = serials(before), without_serials(before), without_serials(after)
    return {
        name: {old[name]} if plain_old.get(name) == plain_new[name] else {max(old.get(name, 0) + 1, d) for d in days}
        for name in serials(after)
    }


def today() -> int:
    return int(f"{datetime.now(UTC):%Y%m%d00}")


def name_runs(name: str) -> None:
    workspace.RUN_ID = name


def is_clean(command: str, said: Said) -> bool:
    """Whether a plan or a drift run found nothing to do; that nobody measures the mailboxes here is not minded."""
    if command == "drift":
        return said.code in (Exit.DONE, Exit.UNREACHABLE) and "Nothing was changed outside." in said.out
    return said.code == Exit.DONE and "Nothing to do" in said.out


def leftovers(lab: Lab) -> list[str]:
    """What must not stay: locks of refs, drafts, our own temporary files. git's own garbage is git's."""
    found = [*lab.locks()]
    for place in (lab.clone / ".git", lab.remote):
        found += [str(path.relative_to(lab.root)) for path in lock_files(place)]
    found += git(lab.clone, "for-each-ref", "--format=%(refname)", "refs/mspctl/draft*", "refs/mspctl/locks").split()
    return found


def lock_files(place: Path) -> list[Path]:
    """Of git, which may be at work: a folder that goes meanwhile holds none."""
    return [Path(folder, name) for folder, _, names in os.walk(place) for name in names if name.endswith(".lock")]


def sound(lab: Lab) -> str:
    """What git finds wrong with the two repositories."""
    said = ""
    for place in (lab.clone, lab.remote):
        done = subprocess.run(
            ["git", "fsck", "--no-dangling", "--no-progress"], cwd=place, capture_output=True, text=True, check=False
        )
        said += "" if done.returncode == 0 else done.stdout + done.stderr
    return said
