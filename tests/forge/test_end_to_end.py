"""
A pull request, its plan, the merge, the apply, a hand edit and its end: the workflows that `init` writes, as they are
committed, against a real Git server and a real PowerDNS. GitHub's API and its runner are simulators of our own.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mspctl import cli
from mspctl.init import init
from tests.cli.test_notify import Service, service  # noqa: F401
from tests.forge.clone import Clone
from tests.forge.executor import Executor, evaluate
from tests.servers import git_http
from tests.servers.github import REPOSITORY, GitHubSimulator
from tests.servers.http_stand_in import standing_in
from tests.servers.powerdns import KEY, PowerDNS, powerdns

VAULT = "the password of the vault"
TARGETS = """targets:
  pdns-1: {{address: "{address}", secrets: {{api_key: PDNS_1_API_KEY}}, facets: {{dns: {{driver: powerdns}}}}}}
"""
ZONE = "customers/acme/dns/acme.example.yaml"


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


@dataclass
class Desk(Clone):
    """Somebody's clone, and what the forge does when they push."""

    executor: Executor
    github: GitHubSimulator
    server: PowerDNS
    remote: git_http.GitHttp

    def plan(self, number: int, head: str, of: str = REPOSITORY) -> dict[str, str]:
        """What plan.yml makes of a pull request."""
        return self.executor.run("plan", "pull_request_target", **self.proposed(number, head, of))

    def proposed(self, number: int, head: str, of: str = REPOSITORY) -> dict[str, Any]:
        """The event of a pull request; its merge with main is made as GitHub makes it, and is checked out."""
        self.git("checkout", "--quiet", "--detach", "origin/main")
        self.git("merge", "--quiet", "--no-ff", "-m", "merge", head)
        self.git("push", "--quiet", "--force", "origin", f"HEAD:refs/pull/{number}/merge")
        main = self.git("rev-parse", "origin/main")
        pull = {"head": {"sha": head, "repo": {"full_name": of}}}
        return {"commit": main, "number": number, "pull_request": pull}

    def merge(self, number: int) -> dict[str, str]:
        """What apply.yml makes of a merge."""
        return self.executor.run("apply", "push", **self.merged(number))

    def merged(self, number: int) -> dict[str, Any]:
        """The event of a merge: what is checked out is main now."""
        before = self.git("rev-parse", "origin/main")
        self.git("push", "--quiet", "origin", "HEAD:refs/heads/main")
        commit = self.git("rev-parse", "HEAD")
        if number:
            pull = next(pull for pull in self.github.pulls if pull["number"] == number)
            pull |= {"merged_at": _now(), "state": "closed"}
            self.github.of_commit[commit] = [number]
        return {"commit": commit, "before": before}

    def keep(self, name: str, value: str, target: str = "pdns-1") -> None:
        """A secret in the inventory's vault."""
        command = ["-C", str(self.clone), "secret", "set", "-t", target, name]
        run = [sys.executable, "-m", "mspctl", *command]
        subprocess.run(run, input=value, text=True, check=True, capture_output=True)

    def drift(self) -> dict[str, str]:
        return self.executor.run("drift", "schedule", self.git("rev-parse", "origin/main"))

    def live(self) -> dict[str, list[str]]:
        if "acme.example" not in self.server.zones():
            return {}
        rrsets = self.server.zone("acme.example")["rrsets"]
        return {f"{r['name']} {r['type']}": [each["content"] for each in r["records"]] for r in rrsets}

    def ttls(self) -> set[int]:
        rrsets = self.server.zone("acme.example")["rrsets"]
        return {each["ttl"] for each in rrsets if each["type"] != "SOA"}


@pytest.fixture
def desk(tmp_path: Path, github: GitHubSimulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("MSPCTL_VAULT_PASSWORD", VAULT)
    for name in ("GITHUB_ACTIONS", "GITHUB_ACTOR", "FORCE_COLOR", "MSPCTL_SECRET_PDNS_1_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("pdns", "git", "runner"):
        (tmp_path / name).mkdir()
    with powerdns(tmp_path / "pdns") as server, git_http.serving(tmp_path / "git") as remote:
        subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", tmp_path / "git/customers"], check=True)
        clone = init(tmp_path / "clone", "MSP", example=False, ledger=False).root
        executor = Executor(tmp_path / "runner", f"{remote.url}/customers", github, {"MSPCTL_VAULT_PASSWORD": VAULT})
        desk = Desk(clone, executor, github, server, remote)
        desk.git("remote", "add", "origin", executor.remote)
        desk.write("inventory/targets.yaml", TARGETS.format(address=server.address))
        desk.write("customers/acme/customer.yaml", "name: Acme\n")
        desk.write("customers/acme/dns.yaml", "zones: {acme.example: {target: pdns-1, public: false}}\n")
        desk.write(ZONE, "apex: {NS: [ns1.msp.example.]}\n")
        desk.keep("api_key", KEY)
        desk.push("main")
        assert cli.run(["-C", str(clone), "ledger", "init"]) == 0
        yield desk


def test_a_change_from_its_pull_request_to_the_end_of_a_hand_edit(
    desk: Desk,
    github: GitHubSimulator,
    service: Service,  # noqa: F811
) -> None:
    desk.keep("TEAM_CHAT", f"json://127.0.0.1:{service.port}/token")
    desk.write("inventory/notify.yaml", "notify: {team: {url: TEAM_CHAT, alive: never}}\n")
    desk.push("main")

    # A pull request: the plan is a comment; a second commit, and the same comment says more. Nothing is written.
    desk.write(ZONE, "apex: {NS: [ns1.msp.example.]}\nwww: {A: 192.0.2.80}\n")
    head = desk.push("change")
    number = github.pull(head)
    ends = {"affected": "success", "plan": "success", "comment": "success", "quick-lane": "skipped"}
    assert desk.plan(number, head) == ends, desk.executor.said
    (body,) = github.bodies(number)
    assert "www A" in body
    desk.git("checkout", "--quiet", head)
    desk.write(ZONE, "apex: {NS: [ns1.msp.example.]}\nwww: {A: 192.0.2.80}\nmail: {A: 192.0.2.81}\n")
    github.pulls[0]["head"]["sha"] = head = desk.push("change")
    assert desk.plan(number, head) == ends
    (body,) = github.bodies(number)
    assert "mail A" in body
    assert f"mspctl undo acme '#{number}'" in body
    assert desk.live() == {}

    # Somebody else's pull request on the same customer is planned again after the merge.
    other = github.pull("f" * 40, "another")
    github.files[other] = ["customers/acme/dns/acme.example.yaml"]
    planned = github.artifact(f"reviewed-{other}-{'f' * 40}", ".github/workflows/plan.yml")

    # The merge: what was reviewed is there, the ledger knows it, and the pull request says so.
    assert set(desk.merge(number).values()) == {"success"}, desk.executor.said
    assert desk.live()["www.acme.example. A"] == ["192.0.2.80"]
    assert desk.live()["mail.acme.example. A"] == ["192.0.2.81"]
    desk.git("fetch", "--quiet", "origin", "ledger")
    assert f"#{number}" in desk.git("log", "--format=%B", "FETCH_HEAD")
    assert any("landed" in body for body in github.bodies(number))
    assert github.issues == {}
    assert github.again == [planned]

    # A hand edit: one issue, told once, and one message; reverted, it is closed.
    record = {"content": "203.0.113.9", "disabled": False}
    by_hand = {"name": "www.acme.example.", "type": "A", "ttl": 3600, "changetype": "REPLACE", "records": [record]}
    desk.server.call("PATCH", "/zones/acme.example.", {"rrsets": [by_hand]})
    for _ in range(2):
        assert set(desk.drift().values()) == {"success"}, desk.executor.said
    (issue,) = github.issues.values()
    assert "www A" in issue["body"]
    assert github.bodies(issue["number"]) == []
    assert service.said()[0] == "mspctl drift: 1 new"
    assert cli.run(["-C", str(desk.clone), "apply", "--revert", "-c", "acme", "--yes"]) == 0
    assert set(desk.drift().values()) == {"success"}
    assert github.issues[issue["number"]]["state"] == "closed"
    assert KEY not in "".join(desk.executor.said) + "".join(github.bodies(number))


def test_what_nobody_reviewed_is_not_applied(desk: Desk, github: GitHubSimulator) -> None:
    desk.write(ZONE, "apex: {NS: [ns1.msp.example.]}\nwww: {A: 192.0.2.80}\n")
    desk.git("commit", "--quiet", "-am", "straight to main")
    assert desk.merge(0) == {"affected": "failure", "apply": "skipped", "report": "skipped", "replan": "skipped"}
    assert "nothing of it was reviewed" in "".join(desk.executor.said)
    (issue,) = github.issues.values()
    assert "Merged without a reviewed plan" in issue["title"]
    assert desk.live() == {}


@pytest.mark.soak
def test_what_time_made_due_is_done_and_nothing_else(desk: Desk, github: GitHubSimulator) -> None:
    began = "old: {A: 192.0.2.70, from: 2026-01-01}\n"
    apex = "apex: {NS: [ns1.msp.example.]}\n"
    assert cli.run(["-C", str(desk.clone), "apply", "--yes"]) == 0
    desk.write(ZONE, f"{apex}{began}www: {{A: 192.0.2.80}}\n")
    main = desk.push("main")
    for _ in range(2):
        assert set(desk.executor.run("due", "schedule", main).values()) == {"success"}, desk.executor.said
        assert desk.live().keys() >= {"old.acme.example. A"}
        assert "www.acme.example. A" not in desk.live()  # nobody reviewed it
    assert github.issues == {}
    desk.server.stop()
    desk.write(ZONE, f"{apex}new: {{A: 192.0.2.71, from: 2026-01-02}}\n{began}")
    assert desk.executor.run("due", "schedule", desk.push("main"))["due"] == "failure"
    (issue,) = github.issues.values()
    assert issue["title"] == "Not everything of what is due was applied"


@pytest.mark.soak
def test_what_was_approved_is_applied_and_not_what_became_of_it(desk: Desk, github: GitHubSimulator) -> None:
    start = desk.git("rev-parse", "HEAD")
    desk.write("customers/acme/dns.yaml", "zones: {acme.example: {target: pdns-1, public: false, ttl: 10m}}\n")
    slow = desk.push("slow")
    desk.git("checkout", "--quiet", start)
    desk.write(ZONE, "apex: {NS: [ns1.msp.example.]}\nwww: {A: 192.0.2.80}\n")
    quick = desk.push("quick")
    one, other = github.pull(slow, "shorter"), github.pull(quick, "www")
    github.files |= {one: ["customers/acme/dns.yaml"], other: [ZONE]}
    desk.plan(one, slow)
    (first,) = github.bodies(one)
    assert "www" not in first
    review = github.approved(one, _now())
    again = desk.plan(one, slow)  # the same plan: what was approved stays so
    assert (again["comment"], review["state"]) == ("success", "APPROVED")

    # Somebody else's is merged: the plan is made again, comes out otherwise, and is not the one that was approved.
    assert desk.plan(other, quick)["comment"] == "success"
    assert {*desk.merge(other).values()} == {"success"}, desk.executor.said
    (begun,) = github.again
    assert begun in [run for run, name in desk.executor.artifacts if name == f"reviewed-{one}-{slow}"]
    assert desk.live()["www.acme.example. A"] == ["192.0.2.80"]
    assert desk.plan(one, slow)["comment"] == "success", desk.executor.said
    assert "The approval of jane was of another plan, and is taken back." in "".join(desk.executor.said)
    plan, told = github.bodies(one)
    assert "www A" in plan
    assert "The plan is not the one that was approved.** Look at it, and approve it again: what `jane`" in told
    assert review["state"] == "DISMISSED"

    # Merged all the same, nothing of it is applied, and an issue says so, until somebody approves what it is now.
    event = desk.merged(one)
    ends = desk.executor.run("apply", "push", **event)
    assert ends == {"affected": "failure", "apply": "skipped", "report": "skipped", "replan": "skipped"}
    assert "and nobody has approved that one" in "".join(desk.executor.said)
    (issue,) = github.issues.values()
    assert "Merged without a reviewed plan" in issue["title"]
    assert desk.ttls() == {3600}
    github.approved(one, _now())
    assert {*desk.executor.run("apply", "push", **event).values()} == {"success"}, desk.executor.said
    assert (desk.ttls(), issue["state"]) == ({600}, "closed")


def test_a_pull_request_is_data(desk: Desk, github: GitHubSimulator) -> None:
    """From a fork: nothing. A change of what runs: no plan. Another address: it is not contacted."""
    desk.write(ZONE, "apex: {NS: [ns1.msp.example.]}\nwww: {A: 192.0.2.80}\n")
    start = desk.git("rev-parse", "HEAD")
    fork = desk.push("fork")
    assert set(desk.plan(github.pull(fork), fork, of="somebody/customers").values()) == {"skipped"}
    desk.git("checkout", "--quiet", start)
    desk.write("playbooks/x.yml", "- hosts: all\n")
    desk.write(ZONE, "apex: {NS: [ns1.msp.example.]}\nwww: {A: 192.0.2.80}\n")
    program = desk.push("program")
    number = github.pull(program)
    assert desk.plan(number, program) == {
        "affected": "success",
        "plan": "skipped",
        "comment": "skipped",
        "quick-lane": "skipped",
    }
    desk.git("checkout", "--quiet", start)
    with standing_in() as thief:
        desk.write("inventory/targets.yaml", TARGETS.format(address=thief.address))
        moved = desk.push("moved")
        number = github.pull(moved)
        assert desk.plan(number, moved)["comment"] == "success", desk.executor.said
        assert thief.asked == []
    assert "is reached otherwise than before" in github.bodies(number)[0].replace("`", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b == 'x' && !cancelled()", True),
        ("a.b != 'x' || a.c", ""),
        ("fromJSON(a.d)", [1]),
        ("(failure() || a.b == 'y') == a.b", False),
    ],
)
def test_expressions_are_carried_out(text: str, expected: object) -> None:
    assert evaluate(text, {"a": {"b": "x", "d": "[1]"}}) == expected


def test_an_expression_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="more than this executor"):
        evaluate("contains(a.b, 1 + 2)", {})
