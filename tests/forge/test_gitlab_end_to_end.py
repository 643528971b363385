"""
A merge request, its plan, the merge, the apply, a hand edit and its end: the pipelines that `init --ci gitlab` writes,
as they are committed, against a real Git server and real zone files. GitLab's API and its runner are simulators of
our own; `gitlab_executor.py` says what is not there.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mspctl import cli
from mspctl.init import init
from tests.forge.clone import Clone
from tests.forge.gitlab_executor import Executor, Secret, filled, holds
from tests.servers import git_http
from tests.servers.gitlab import TOKEN, GitLabSimulator

VAULT = "the password of the vault"
ZONE = "customers/acme/dns/acme.example.yaml"
NS = "apex: {NS: [ns1.msp.example.]}\n"
WWW = NS + "www: {A: 192.0.2.80}\n"
# Everything that a pipeline of the protected branch may have, and one that anybody's may.
SECRETS = (
    ("GITLAB_TOKEN", Secret(TOKEN)),
    ("MSPCTL_VAULT_PASSWORD", Secret(VAULT, "plan")),
    ("MSPCTL_VAULT_PASSWORD", Secret(VAULT, "apply")),
    ("MSPCTL_QUICK_LANE_TOKEN", Secret(TOKEN, "quick-lane")),
    ("EVERYBODY", Secret("knows this", protected=False)),
)
MR, ISSUE = "merge_requests", "issues"


@dataclass
class Desk(Clone):
    """Somebody's clone, and what GitLab does when they push."""

    zones: Path
    executor: Executor
    gitlab: GitLabSimulator

    def request(self, branch: str = "change", *, source: int = 7) -> int:
        """A merge request of what is there."""
        number = self.gitlab.request(self.push(branch), branch, source=source)
        self.git("push", "--quiet", "origin", f"HEAD:refs/merge-requests/{number}/head")
        return number

    def again(self, number: int, branch: str = "change") -> None:
        """One more commit on it."""
        self.gitlab.requests[number]["sha"] = self.push(branch)
        self.git("push", "--quiet", "--force", "origin", f"HEAD:refs/merge-requests/{number}/head")

    def plan(self, number: int) -> dict[str, str]:
        """What the webhook starts: a pipeline of main."""
        said = {"object_kind": "merge_request", "object_attributes": {"iid": number, "action": "open"}}
        main = self.git("ls-remote", "origin", "refs/heads/main").split()[0]
        return self.executor.run("trigger", main, TRIGGER_PAYLOAD=json.dumps(said))

    def merge(self, number: int) -> dict[str, str]:
        self.git("fetch", "--quiet", "origin", "main")
        before = self.git("rev-parse", "FETCH_HEAD")
        head = self.git("rev-parse", "HEAD")
        self.git("checkout", "--quiet", "--detach", before)
        self.git("merge", "--quiet", "--no-ff", "-m", "merge", head)
        self.git("push", "--quiet", "origin", "HEAD:refs/heads/main")
        commit = self.git("rev-parse", "HEAD")
        if number:
            self.gitlab.requests[number]["state"] = "merged"
            self.gitlab.of_commit[commit] = [number]
        return self.executor.run("push", commit, CI_COMMIT_BEFORE_SHA=before)

    def drift(self) -> dict[str, str]:
        return self.scheduled("drift")

    def scheduled(self, what: str) -> dict[str, str]:
        main = self.git("ls-remote", "origin", "refs/heads/main").split()[0]
        return self.executor.run("schedule", main, MSPCTL_RUN=what)

    def live(self) -> str:
        file = self.zones / "acme.example.zone"
        return file.read_text() if file.exists() else ""

    @property
    def said(self) -> str:
        return "".join(self.executor.said)


@pytest.fixture
def desk(tmp_path: Path, gitlab: GitLabSimulator) -> Iterator[Desk]:
    for name in ("git/msp", "runner", "zones"):
        (tmp_path / name).mkdir(parents=True)
    with git_http.serving(tmp_path / "git") as remote:
        bare = tmp_path / "git/msp/customers.git"
        subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", bare], check=True)
        clone = init(tmp_path / "clone", "MSP", example=False, ledger=False, ci="gitlab").root
        desk = Desk(
            clone,
            tmp_path / "zones",
            Executor(tmp_path / "runner", f"{remote.url}/msp/customers.git", gitlab, SECRETS),
            gitlab,
        )
        gitlab.on_main = lambda commit: desk.git("branch", "-r", "--contains", commit).find("origin/main") >= 0
        desk.git("remote", "add", "origin", desk.executor.remote)
        facet = f"{{driver: zonefile, directory: {desk.zones}, nameservers: [ns1.msp.example.]}}"
        desk.write("inventory/targets.yaml", f"targets: {{local: {{facets: {{dns: {facet}}}}}}}\n")
        desk.write("customers/acme/customer.yaml", "name: Acme\n")
        desk.write("customers/acme/dns.yaml", "zones: {acme.example: {target: local, public: false}}\n")
        desk.write(ZONE, NS)
        desk.push("main")
        assert cli.run(["-C", str(clone), "ledger", "init"]) == 0
        yield desk


PLANNED = {"prepare plan": "success", "plan 1": "success", "comment": "success", "plan": "success"}


def planned(desk: Desk, number: int, **more: str) -> dict[str, str]:
    head = desk.gitlab.requests[number]["sha"]
    return {**PLANNED, f"reviewed-{number}-{head}": "success", **more}


@pytest.mark.soak
def test_a_change_from_its_merge_request_to_the_end_of_a_hand_edit(desk: Desk, gitlab: GitLabSimulator) -> None:
    # The plan is a note; a second commit, and the same note says more. Nothing is written.
    desk.write(ZONE, WWW)
    number = desk.request()
    assert desk.plan(number) == planned(desk, number), desk.said
    (body,) = gitlab.bodies(MR, number)
    assert "www A" in body
    desk.write(ZONE, WWW + "mail: {A: 192.0.2.81}\n")
    desk.again(number)
    assert desk.plan(number) == planned(desk, number), desk.said
    (body,) = gitlab.bodies(MR, number)
    assert "mail A" in body
    assert f"mspctl undo acme '!{number}'" in body
    assert desk.live() == ""
    assert [s["status"] for s in gitlab.statuses[-2:]] == ["running", "success"]

    # The merge: what was reviewed is there, the ledger knows it, and the merge request says so.
    ends = desk.merge(number)
    assert {*ends.values()} == {"success"}, desk.said
    assert ends.keys() >= {"reviewed", "apply 1", "comment", "issue", "replan"}
    assert "192.0.2.80" in desk.live()
    assert "192.0.2.81" in desk.live()
    desk.git("fetch", "--quiet", "origin", "ledger")
    assert f"!{number}" in desk.git("log", "--format=%B", "FETCH_HEAD")
    assert any("landed" in body for body in gitlab.bodies(MR, number))
    assert gitlab.issues == {}

    # A hand edit: one issue, told once; reverted, it is closed.
    file = desk.zones / "acme.example.zone"
    file.write_text(desk.live().replace("192.0.2.80", "203.0.113.9"))
    for _ in range(2):
        assert {*desk.drift().values()} == {"success"}, desk.said
    (issue,) = gitlab.issues.values()
    assert "www A" in issue["description"]
    assert gitlab.bodies(ISSUE, issue["iid"]) == []
    desk.git("checkout", "--quiet", "--detach", "origin/main")
    assert cli.run(["-C", str(desk.clone), "apply", "--revert", "-c", "acme", "--yes"]) == 0
    assert {*desk.drift().values()} == {"success"}, desk.said
    assert issue["state"] == "closed"
    assert TOKEN not in desk.said + "".join(body["body"] for body in gitlab.notes.values())


@pytest.mark.soak
def test_schedules_do_what_is_due_and_nothing_else(desk: Desk, gitlab: GitLabSimulator) -> None:
    assert cli.run(["-C", str(desk.clone), "apply", "--yes"]) == 0
    desk.write(ZONE, f"{WWW}old: {{A: 192.0.2.70, from: 2026-01-01}}\n")
    desk.push("main")
    for _ in range(2):
        ends = desk.scheduled("due")
        assert ({*ends.values()}, {*ends} >= {"due 1", "issue"}) == ({"success"}, True), desk.said
        assert ("192.0.2.70" in desk.live(), "192.0.2.80" in desk.live()) == (True, False)  # nobody reviewed that one
    assert gitlab.issues == {}
    ends = desk.scheduled("prove")
    assert ({*ends.values()}, "prove 1" in ends) == ({"success"}, True), desk.said
    assert desk.scheduled("") == {}


@pytest.mark.soak
def test_what_nobody_reviewed_is_not_applied(desk: Desk, gitlab: GitLabSimulator) -> None:
    desk.write(ZONE, WWW)
    desk.git("commit", "--quiet", "-am", "straight to main")
    ends = desk.merge(0)
    assert (ends["reviewed"], ends["apply 1"], ends["apply"]) == ("failed", "skipped", "failed"), desk.said
    (issue,) = gitlab.issues.values()
    assert "Merged without a reviewed plan" in issue["title"]
    assert desk.live() == ""


@pytest.mark.soak
def test_what_does_not_merge_or_cannot_be_read_is_told_where_the_merge_request_is_seen(
    desk: Desk, gitlab: GitLabSimulator
) -> None:
    start = desk.git("rev-parse", "HEAD")
    desk.write(ZONE, WWW)
    number = desk.request()
    desk.git("checkout", "--quiet", start)
    desk.write(ZONE, NS + "www: {A: 192.0.2.99}\n")
    desk.push("main")
    assert desk.plan(number) == {"prepare plan": "failed", "plan": "skipped"}
    assert gitlab.statuses[-1]["status"] == "failed"
    assert f"does not merge into {desk.git('rev-parse', 'HEAD')[:12]}: {ZONE}" in gitlab.statuses[-1]["description"]


# -- what a merge request can do ------------------------------------------------------------------------------

NOTHING = {"prepare plan": "success", "nothing": "success", "plan": "success"}
STEAL = """\
workflow: {rules: [{if: $CI_PIPELINE_SOURCE}]}
steal:
  environment: {name: apply}
  script:
    - env > stolen; touch PWNED
  artifacts: {paths: [stolen]}
"""


def nothing_came_of_it(desk: Desk, tmp_path: Path) -> None:
    said = desk.said + json.dumps([*desk.gitlab.notes.values()])
    assert VAULT not in said
    assert TOKEN not in said
    assert not [*tmp_path.rglob("PWNED")]
    assert desk.live() == ""


@pytest.mark.soak
def test_a_merge_request_that_changes_ci_runs_its_own_and_gets_no_credentials(
    desk: Desk, gitlab: GitLabSimulator, tmp_path: Path
) -> None:
    """Its own pipeline is what it says, as there: it has what anybody may have. What main runs of it is nothing."""
    desk.write(".gitlab-ci.yml", STEAL)
    desk.write(".gitlab/plan.yml", STEAL)
    desk.write(ZONE, WWW)
    number = desk.request()
    head = gitlab.requests[number]["sha"]
    ends = desk.executor.run("merge_request_event", head, f"refs/merge-requests/{number}/head")
    assert ends == {"steal": "success"}
    stolen = next(tmp_path.rglob("stolen")).read_text()
    assert "EVERYBODY=" in stolen
    assert not [name for name, secret in SECRETS if secret.protected and f"{name}=" in stolen]
    next(tmp_path.rglob("PWNED")).unlink()
    assert desk.plan(number) == NOTHING, desk.said
    assert "changes what runs" in gitlab.statuses[-1]["description"]
    assert gitlab.notes == {}
    nothing_came_of_it(desk, tmp_path)


@pytest.mark.soak
def test_its_own_pipeline_validates_and_a_branch_has_none(desk: Desk, gitlab: GitLabSimulator) -> None:
    desk.write(ZONE, WWW)
    number = desk.request()
    head = gitlab.requests[number]["sha"]
    assert desk.executor.run("merge_request_event", head, f"refs/merge-requests/{number}/head") == {
        "validate": "success"
    }
    assert desk.executor.run("push", head, "change") == {}
    assert desk.executor.run("web", desk.git("rev-parse", "HEAD"), "main") == {}
    assert not [path for method, path in gitlab.asked if method != "GET"]


@pytest.mark.soak
def test_a_fork_and_another_branch_get_no_plan(desk: Desk, gitlab: GitLabSimulator, tmp_path: Path) -> None:
    desk.write(ZONE, WWW)
    number = desk.request(source=8)
    assert desk.plan(number) == NOTHING, desk.said
    gitlab.requests[number] |= {"source_project_id": 7, "target_branch": "elsewhere"}
    assert desk.plan(number) == NOTHING, desk.said
    assert not [path for method, path in gitlab.asked if method != "GET"]
    nothing_came_of_it(desk, tmp_path)


@pytest.mark.soak
def test_text_is_text_also_under_a_branch_named_like_a_command(
    desk: Desk, gitlab: GitLabSimulator, tmp_path: Path
) -> None:
    texts = ("$MSPCTL_VAULT_PASSWORD", "$(touch PWNED)", "`touch PWNED`", "${MSPCTL_VAULT_PASSWORD}", "/merge", "@all")
    desk.write(ZONE, NS + "".join(f"t{n}: {{TXT: {text!r}}}\n" for n, text in enumerate(texts)))
    desk.git("commit", "--quiet", "--allow-empty", "-m", "x\n\nTicket: $(touch PWNED)\n\n/merge")
    number = desk.request("$(touch${IFS}PWNED)")
    assert desk.plan(number) == planned(desk, number), desk.said
    (body,) = gitlab.bodies(MR, number)
    assert "$MSPCTL_VAULT_PASSWORD" in body
    assert gitlab.requests[number]["state"] == "opened"
    nothing_came_of_it(desk, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("file", "text"),
    [
        (ZONE, NS + "www: {TXT: !!python/object/apply:os.system ['touch PWNED']}\n"),
        ("customers/acme/$(touch PWNED).yaml", "x: y\n"),
        ("customers/-c $(touch PWNED)/customer.yaml", "name: x\n"),
        (".gitattributes", "* filter=lfs merge=evil\n"),
        (".lfsconfig", "[lfs]\n\turl = https://thief.invalid/\n"),
        ("requirements/install", "touch PWNED\n"),
        ("customers/acme/reviewed-1-x", "x\n"),
    ],
)
def test_what_is_no_data_gets_no_plan(
    desk: Desk, gitlab: GitLabSimulator, tmp_path: Path, file: str, text: str
) -> None:
    desk.write(file, text)
    ends = desk.plan(desk.request())
    assert not {"plan 1", "comment"} & {name for name, end in ends.items() if end == "success"}, desk.said
    assert gitlab.notes == {}
    nothing_came_of_it(desk, tmp_path)


@pytest.mark.soak
def test_with_the_api_down_nothing_is_lost_and_nothing_applied_twice(desk: Desk, gitlab: GitLabSimulator) -> None:
    desk.write(ZONE, WWW)
    number = desk.request()
    gitlab.broken = lambda method, path: (502, {}) if "/notes" in path else None
    assert desk.plan(number)["comment"] == "failed"
    gitlab.broken = lambda method, path: None
    assert desk.plan(number) == planned(desk, number)  # the webhook is sent again, or the job
    assert len(gitlab.bodies(MR, number)) == 1

    # Nobody can say what was reviewed: nothing is applied. Then no note can be written: it is applied.
    gitlab.broken = lambda method, path: (502, {})
    assert desk.merge(number)["reviewed"] == "failed"
    assert desk.live() == ""
    commit, before = desk.git("rev-parse", "HEAD"), desk.git("rev-parse", "HEAD^1")
    gitlab.broken = lambda method, path: (429, {"Retry-After": "3600"}) if method != "GET" else None
    ends = desk.executor.run("push", commit, CI_COMMIT_BEFORE_SHA=before)
    assert (ends["apply 1"], ends["comment"]) == ("success", "failed"), desk.said
    assert "192.0.2.80" in desk.live()
    gitlab.broken = lambda method, path: None
    ends = desk.executor.run("push", commit, CI_COMMIT_BEFORE_SHA=before)
    assert {*ends.values()} == {"success"}, desk.said
    desk.git("fetch", "--quiet", "origin", "ledger")
    assert desk.git("log", "--format=%s", "FETCH_HEAD").count("apply: 1 scope") == 1
    assert len(gitlab.bodies(MR, number)) == 2  # the plan's, and the apply's


@pytest.mark.soak
def test_what_main_allows_no_quick_lane_for_waits_for_somebody(desk: Desk, gitlab: GitLabSimulator) -> None:
    desk.write("inventory/quick_lane.yaml", "classes: [{change: new-mailbox}]\n")
    desk.push("main")
    desk.write(ZONE, WWW)  # no mailbox
    number = desk.request()
    assert desk.plan(number) == planned(desk, number, **{"quick-lane": "success"}), desk.said
    assert gitlab.requests[number]["state"] == "opened"


# -- the executor itself --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ('$A == "x" && $B != "x"', True),
        ('$A == "y" || $B == ""', True),
        ("$A == $B", False),
        ("$A", True),
        ("$B", False),
    ],
)
def test_rules_are_carried_out(rule: str, expected: bool) -> None:
    assert holds(rule, {"A": "x"}) is expected


def test_a_rule_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="more than this executor"):
        holds("$A =~ /x/", {})


def test_variables_are_filled_in() -> None:
    assert filled("$A-${A}-$$A-$B", {"A": "x"}) == "x-x-$A-"
