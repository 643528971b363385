"""
Many merges at once, a race for the ledger, and runners that die: the workflows as they are committed, each run in
processes of its own, against a real Git server and a real PowerDNS. GitHub's API and its runner are simulators.
"""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from threading import Event
from typing import Any

import pytest

from mspctl import cli
from mspctl.ledger import Ledger
from tests.forge.executor import Executor
from tests.forge.test_end_to_end import Desk, desk
from tests.servers.github import GitHubSimulator

__all__ = ["desk"]

PUSH = "POST git-receive-pack"
BESIDE = 5  # runs at once: more would only wait for this machine
FINE = {"affected": "success", "apply": "success", "report": "success", "replan": "success"}


def zone_file(name: str) -> str:
    return f"customers/{name}/dns/{name}.example.yaml"


def zone(name: str) -> str:
    """Every record has lines of its own around it, so that Git merges changes of each."""
    records = "".join(f"# host {n}\nh{n}: {{A: 192.0.2.{n}}}\n" for n in range(1, 7))
    return f"apex: {{NS: [ns1.msp.example.]}}\n{records}"


class Crowd:
    """Customers whose zones are there, pull requests, and what their merges make."""

    def __init__(self, desk: Desk, names: Sequence[str]) -> None:
        self.desk, self.github = desk, desk.github
        for name in names:
            desk.write(f"customers/{name}/customer.yaml", f"name: {name}\n")
            desk.write(f"customers/{name}/dns.yaml", f"zones: {{{name}.example: {{target: pdns-1, public: false}}}}\n")
            desk.write(zone_file(name), zone(name))
        desk.push("main")
        assert self.run("apply", "-y") == 0
        self.start = desk.git("rev-parse", "HEAD")
        self.number = len(Ledger.open(desk.clone).history(limit=None))

    def run(self, *words: str) -> int:
        return cli.run(["-C", str(self.desk.clone), *words])

    def pull(self, name: str, host: int, address: str) -> tuple[int, str]:
        """A pull request that changes one address: its number, and its commit."""
        self.desk.git("checkout", "--quiet", "--detach", self.start)
        file = self.desk.clone / zone_file(name)
        file.write_text(file.read_text().replace(f"h{host}: {{A: 192.0.2.{host}}}", f"h{host}: {{A: {address}}}"))
        head = self.desk.push(f"{name}-{host}-{address}")
        number = self.github.pull(head)
        self.github.files[number] = [zone_file(name)]
        return number, head

    def reviewed(self, name: str, number: int, head: str) -> None:
        """What plan.yml leaves of a pull request, without the runner."""
        self.desk.proposed(number, head)
        folder = self.desk.executor.root / f"reviewed-{number}"
        folder.mkdir()
        assert (
            self.run("plan", "-c", name, "--base", "HEAD^1", "--exit-zero", "--save", str(folder / "x.plan.json")) == 0
        )
        made = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        run = self.github.artifact(f"reviewed-{number}-{head}", ".github/workflows/plan.yml", made=made)
        self.desk.executor.artifacts[run, f"reviewed-{number}-{head}"] = folder

    def merged(self, number: int, head: str) -> dict[str, Any]:
        self.desk.proposed(number, head)
        return self.desk.merged(number)

    def landed(self) -> Counter[tuple[str, str]]:
        """How often the ledger says that a record of a customer was changed since the start."""
        self.desk.git("fetch", "--quiet", "origin", "+ledger:refs/remotes/origin/ledger")
        ledger = Ledger.open(self.desk.clone)
        entries = ledger.history(limit=None)
        entries = entries[: len(entries) - self.number]
        return Counter(
            (scope.customer, change.id.name)
            for entry in entries
            for scope, landing in entry.scopes.items()
            for change in landing.changes
        )

    def address(self, name: str, host: int) -> list[str]:
        rrsets = self.desk.server.zone(f"{name}.example")["rrsets"]
        return [r["content"] for each in rrsets if each["name"] == f"h{host}.{name}.example." for r in each["records"]]

    def is_done(self, expected: Sequence[tuple[str, int, str]]) -> None:
        """All is live, was applied once, is in the ledger, and nothing is left to do."""
        assert {(n, h): self.address(n, h) for n, h, _ in expected} == {(n, h): [a] for n, h, a in expected}
        assert self.landed() == Counter({(name, f"h{host} A"): 1 for name, host, _ in expected})
        self.desk.git("checkout", "--quiet", "--detach", "origin/main")
        assert self.run("plan") == 0
        assert self.desk.git("ls-remote", "origin", "refs/mspctl/locks/*") == ""


def at_once(runs: Sequence[Callable[[], dict[str, str]]]) -> list[dict[str, str]]:
    with ThreadPoolExecutor(BESIDE) as pool:
        return [each.result() for each in [pool.submit(run) for run in runs]]


def race(desk: Desk, times: int) -> Callable[[str], str]:
    """Somebody else's commit is on the ledger just before a push of ours arrives, so many times."""
    place, left = desk.remote.root / "customers", [*range(times)]

    def git(*args: str) -> str:
        who = ["-c", "user.name=Other", "-c", "user.email=other@msp.example"]
        return subprocess.run(
            ["git", *who, *args], cwd=place, check=True, capture_output=True, text=True
        ).stdout.strip()

    def faster(request: str) -> str:
        if request == PUSH and left:
            left.pop()
            made = git("commit-tree", "refs/heads/ledger^{tree}", "-p", "refs/heads/ledger", "-m", "compact: nothing")
            git("update-ref", "refs/heads/ledger", made)
        return ""

    return faster


# -- many merges at once --------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [pytest.param(0, marks=pytest.mark.soak, id="in turn"), pytest.param(1, id="newer")])
def test_two_merges_of_one_customer_at_once_and_a_race_for_the_ledger(
    desk: Desk, github: GitHubSimulator, first: int
) -> None:
    crowd = Crowd(desk, ["busy"])
    wanted = [("busy", 2, "198.51.100.2"), ("busy", 5, "198.51.100.5")]
    pulls = [crowd.pull(*each) for each in wanted]
    for number, head in pulls:
        crowd.reviewed("busy", number, head)
    events = [crowd.merged(*pull) for pull in pulls]
    locked, faster = Event(), race(desk, 6)

    def pushed(request: str) -> str:
        if request == PUSH:  # the first one is a lock
            locked.set()
        return faster(request)

    desk.remote.breaks = pushed
    executors = [desk.executor.beside() for _ in pulls]

    def waits(step: str, when: str) -> bool:
        """The other one gets its lock first."""
        assert (step, when) != ("Apply", "before") or locked.wait(60)
        return False

    executors[1 - first].dies = waits
    ends = at_once([partial(e.run, "apply", "push", **it) for e, it in zip(executors, events, strict=True)])
    assert ends == [FINE, FINE], "".join(line for e in executors for line in e.said)
    crowd.is_done(wanted)
    assert [len(github.bodies(number)) for number, _ in pulls] == [1, 1]
    assert github.issues == {}


@pytest.mark.soak
def test_ten_merges_on_ten_customers_and_five_on_one_at_once(desk: Desk, github: GitHubSimulator) -> None:
    names = [f"c{n}" for n in range(10)]
    crowd = Crowd(desk, [*names, "busy"])
    wanted = [(name, 3, "198.51.100.3") for name in names] + [("busy", n, f"198.51.100.{n}") for n in range(1, 6)]
    pulls = [crowd.pull(*each) for each in wanted]
    executors = [desk.executor.beside() for _ in pulls]
    events = [desk.proposed(*pull) for pull in pulls]
    at_once([partial(e.run, "plan", "pull_request_target", **it) for e, it in zip(executors, events, strict=True)])
    assert [len(github.bodies(number)) for number, _ in pulls] == [1] * 15
    merges = [crowd.merged(*pull) for pull in pulls]
    desk.remote.breaks = race(desk, 12)
    ends = at_once([partial(e.run, "apply", "push", **it) for e, it in zip(executors, merges, strict=True)])
    said = "".join(line for e in executors for line in e.said)
    assert ends == [FINE] * 15, said
    assert "locked by" in said  # who waited was told for whom
    crowd.is_done(wanted)
    assert [len(github.bodies(number)) for number, _ in pulls] == [2] * 15
    assert github.issues == {}


# -- a runner dies --------------------------------------------------------------------------------------------

# Where: before a step, after it, or (a number) while it asks: of pushes, 1 is the first as it arrives, 2 the first when
# it is carried out and not yet answered, and so on; of calls of the API, 1 is the first, which is carried out.
Point = tuple[str, str, str, int]  # (workflow, step, what is asked, how often)
STEPS = {
    "plan": ["Which customers it touches", "Plan", "Comment", "Whether it merges by itself"],
    "apply": [
        "Which customers it touches",
        "What was reviewed",
        "Apply",
        "Comment",
        "What did not land",
        "Plan other pull requests again",
    ],
    "drift": ["All customers", "Drift", "Issues", "Archive", "Page", "Notify"],
}
WHEN = {workflow: [(step, when) for step in steps for when in ("before", "after")] for workflow, steps in STEPS.items()}
# Else a step of drift.yml ends where the next begins.
WHEN["drift"] = [(step, when) for step, when in WHEN["drift"] if when == "before" or step in ("Drift", "Notify")]
EVERY: list[Point] = [
    *((workflow, step, when, 0) for workflow, points in WHEN.items() for step, when in points),
    *(("plan", "Comment", "api", n) for n in (1, 2, 3)),
    *(("apply", "Apply", PUSH, n) for n in range(1, 9)),
    *(("apply", "Comment", "api", n) for n in (2, 3)),
    *(("drift", "Drift", PUSH, n) for n in (1, 2)),
    *(("drift", "Issues", "api", n) for n in (1, 2)),
]


class Killing:
    """One run whose runner dies at a point, and the runs after it, whose runners do not."""

    def __init__(self, crowd: Crowd, point: Point) -> None:
        self.crowd, self.desk, self.github = crowd, crowd.desk, crowd.github
        self.workflow, self.step, self.what, self.at = point
        self.died, self.count = False, 0

    def run(self, event: str, **given: Any) -> dict[str, str]:
        """It dies, and is begun again by somebody who has broken its locks, as he is told to."""
        executor = self.desk.executor.beside()
        executor.dies = self._dies
        self.desk.remote.breaks = lambda request: self._asked(executor, request)
        self.github.broken = lambda method, path: "lost" if self._asked(executor, "api") else None
        executor.run(self.workflow, event, **given)
        assert self.died, f"{self.workflow} does not come to {self.step} {self.what} {self.at}: {executor.said}"
        self.desk.remote.breaks = lambda request: ""
        self.github.broken = lambda method, path: None
        self._break_locks()
        again = self.desk.executor.beside()
        ends = again.run(self.workflow, event, **given)
        assert "failure" not in ends.values(), again.said
        return ends

    def _dies(self, step: str, when: str) -> bool:
        here = (step, when) == (self.step, self.what) and not self.died
        self.died |= here
        return here

    def _asked(self, executor: Executor, request: str) -> str:
        """A request arrives, or is carried out: the runner is dead before it is, or before it is answered."""
        if self.died or self.what != request or not executor.is_at(self.step):
            return ""
        self.count += 1
        if self.count < self.at:
            return ""
        self.died = True
        executor.kill()
        return "before" if self.at % 2 else "after"

    def _break_locks(self) -> None:
        for _ in range(20):  # a push of who is dead may still arrive
            found = self.desk.git("ls-remote", "origin", "refs/mspctl/locks/*").split()[1::2]
            if not found:
                return
            self.desk.git("push", "--quiet", "origin", *(f":{ref}" for ref in found))
            time.sleep(0.2)


def killed_and_begun_again(crowd: Crowd, point: Point, number: int) -> None:
    """A change whose plan, apply or drift run dies at a point ends as if it had not."""
    desk, github = crowd.desk, crowd.github
    address = f"198.51.100.{number}"
    if point[0] == "drift":
        record = {"content": address, "disabled": False}
        edit = {"name": "h1.busy.example.", "type": "A", "ttl": 3600, "changetype": "REPLACE", "records": [record]}
        desk.server.call("PATCH", "/zones/busy.example.", {"rrsets": [edit]})
        github.issues.clear()
        Killing(crowd, point).run("schedule", commit=desk.git("rev-parse", "origin/main"))
        (issue,) = [issue for issue in github.issues.values() if issue["state"] == "open"]
        assert "h1 A" in issue["body"]
        assert github.bodies(issue["number"]) == []
        return
    crowd.start = desk.git("rev-parse", "origin/main")
    host = 2 + number % 5
    desk.git("checkout", "--quiet", "--detach", crowd.start)
    old = (desk.clone / zone_file("busy")).read_text()
    desk.write(zone_file("busy"), old.replace(f"h{host}: {{A: ", f"h{host}: {{A: {address}}} # was {{A: "))
    head = desk.push(f"busy-{number}")
    pull = github.pull(head)
    github.files[pull] = [zone_file("busy")]
    before = crowd.landed()
    if point[0] == "plan":
        Killing(crowd, point).run("pull_request_target", **desk.proposed(pull, head))
        (body,) = github.bodies(pull)
        assert f"h{host} A" in body
        desk.git("push", "--quiet", "origin", "--delete", f"busy-{number}")
        return
    crowd.reviewed("busy", pull, head)
    github.issues.clear()
    Killing(crowd, point).run("push", **crowd.merged(pull, head))
    assert crowd.address("busy", host) == [address]
    assert crowd.landed() - before == Counter({("busy", f"h{host} A"): 1})
    assert len(github.bodies(pull)) == 1
    assert [issue for issue in github.issues.values() if issue["state"] == "open"] == []
    desk.git("checkout", "--quiet", "--detach", "origin/main")
    assert crowd.run("plan", "-c", "busy") == 0


@pytest.mark.soak
def test_a_runner_that_dies_while_it_applies_loses_nothing(desk: Desk) -> None:
    killed_and_begun_again(Crowd(desk, ["busy"]), ("apply", "Apply", PUSH, 3), 1)


@pytest.mark.soak
@pytest.mark.parametrize("workflow", STEPS)
def test_a_runner_may_die_at_every_step(desk: Desk, workflow: str) -> None:
    crowd, wrong = Crowd(desk, ["busy"]), []
    points = [point for point in EVERY if point[0] == workflow]
    for number, point in enumerate(points, 1):
        try:
            killed_and_begun_again(crowd, point, number)
        except AssertionError as error:
            wrong.append(f"{point}: {error}")
    assert not wrong, "\n\n".join(wrong)
