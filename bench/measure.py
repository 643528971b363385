"""
Whole processes, measured from outside by the operating system's own account of each (wait4).

Peak memory of a process cannot be told smaller than what this one had when it started it, so this program imports
little, and lets others do what needs memory.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

Command = Sequence[str | Path]

# Whatever the user's environment says about Python, Git or mspctl: both sides start the same way. Above all,
# PYTHONDONTWRITEBYTECODE would make a program compile itself each time unless pip did that when it installed it.
_FOREIGN = ("PYTHON", "GIT_", "MSPCTL", "GITHUB_", "GITLAB_")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)} | {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "bench",
    "GIT_AUTHOR_EMAIL": "bench@localhost",
    "GIT_COMMITTER_NAME": "bench",
    "GIT_COMMITTER_EMAIL": "bench@localhost",
}


@dataclass(frozen=True, slots=True)
class Run:
    """One process, with those that it started and waited for."""

    wall: float  # seconds
    cpu: float  # seconds, user and system
    peak: float  # MiB, of the largest one
    code: int


def run(command: Command, environment: Mapping[str, str] = ENVIRONMENT) -> Run:
    start = time.perf_counter()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    return Run(wall, usage.ru_utime + usage.ru_stime, _mebibytes(usage.ru_maxrss), process.returncode)


def in_turn(
    commands: Mapping[str, Command],
    times: int = 5,
    codes: Sequence[int] = (0,),
    before: Callable[[], object] = lambda: None,
) -> dict[str, Run]:
    """
    Medians by name, each command run once to warm up and then `times` times, A B A B; `before` each, not measured.

    Raises SystemExit when a command ends otherwise than in `codes`, or not always alike.
    """
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(times + 1):
        for name, command in commands.items():
            before()
            runs[name].append(run(command))
            if runs[name][-1].code not in codes or runs[name][-1].code != runs[name][0].code:
                sys.exit(f"{name}: exit code {runs[name][-1].code}")
    return {name: _medians(found[1:]) for name, found in runs.items()}


def _medians(runs: Sequence[Run]) -> Run:
    return Run(median(r.wall for r in runs), median(r.cpu for r in runs), median(r.peak for r in runs), runs[0].code)


def output(command: Command, *, codes: Sequence[int] = (0,), environment: Mapping[str, str] = ENVIRONMENT) -> str:
    """What a command prints on both streams, not measured. Raises SystemExit when it ends otherwise than in `codes`."""
    done = subprocess.run(command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
    if done.returncode not in codes:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stderr or done.stdout}")
    return done.stdout + done.stderr


def peak(run: Run) -> float:
    """A run's peak in MiB. Raises SystemExit when this process took as much itself, because then it says nothing."""
    floor = _mebibytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    if run.peak <= floor:
        sys.exit(f"{run.peak:.1f} MiB cannot be believed: this program itself took {floor:.1f} MiB")
    return run.peak


def _mebibytes(maxrss: int) -> float:
    return maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)


# -- the git processes of a command ---------------------------------------------------------------------------

_SHIM = """\
#!{python} -SE
import os, subprocess, sys
words = iter(sys.argv[1:])
verb = next((word for word in words if not (word == "-c" and next(words)) and not word.startswith("-")), "")
process = subprocess.Popen(["{git}", *sys.argv[1:]])
_, status, usage = os.wait4(process.pid, 0)
with open("{log}", "a") as log:
    log.write(f"{{usage.ru_utime + usage.ru_stime}} {{usage.ru_maxrss}} {{verb}}\\n")
sys.exit(os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True, slots=True)
class Children:
    """Processes of one program below another."""

    count: int
    cpu: float  # seconds, all together
    peak: float  # MiB, of the largest one
    verbs: Counter[str]  # what was asked of git

    @property
    def talks(self) -> int:
        """How many of them talk to a remote."""
        return sum(self.verbs[verb] for verb in ("ls-remote", "fetch", "push"))


def git_below(command: Command, git: str, scratch: Path, codes: Sequence[int] = (0,)) -> Children:
    """What git costs within a command: one run, with a program in its place that keeps account."""
    log, shim = scratch / "git.log", scratch / "shim/git"
    shim.parent.mkdir(exist_ok=True)
    shim.write_text(_SHIM.format(python=sys.executable, git=git, log=log))
    shim.chmod(0o755)
    log.write_text("")
    done = run(command, ENVIRONMENT | {"PATH": f"{shim.parent}{os.pathsep}{ENVIRONMENT['PATH']}"})
    if done.code not in codes:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.code}")
    lines = [line.split() for line in log.read_text().splitlines()]
    peak = max((int(maxrss) for _, maxrss, *_ in lines), default=0)
    verbs = Counter(verb for _, _, *verbs in lines for verb in verbs)
    return Children(len(lines), sum(float(cpu) for cpu, *_ in lines), _mebibytes(peak), verbs)
