"""Comments and issues on GitHub: one of each subject, whatever goes wrong on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from mspctl import cli
from mspctl.errors import InputError, TargetError, Unreachable
from mspctl.forge import LONGEST, Pull
from mspctl.forge.again import again
from mspctl.forge.github import GitHub, from_environment
from mspctl.forge.posting import Said, close_issue, keep_comment, keep_issue, marker
from mspctl.forge.review import name_of, reviewed, show
from mspctl.load import load
from mspctl.secrets import Secret
from mspctl.transports.http import Refused
from tests.servers.github import REPOSITORY, TOKEN, GitHubSimulator, description, of, wrong

LABELS = ("mspctl", "drift")
PLAN = ".github/workflows/plan.yml"


def issue(text: str, *facts: str) -> Said:
    return Said("drift acme", "Drift: acme", text, facts)


def told(news: frozenset[str]) -> str:
    return "new: " + ", ".join(sorted(news))


# -- comments -------------------------------------------------------------------------------------------------


def test_a_comment_is_made_and_then_brought_up_to_date(github: GitHubSimulator, client: GitHub) -> None:
    for text in ("one", "two", "two"):
        keep_comment(client, 7, "plan", text)
    assert github.bodies(7) == [f"{marker('plan')}\ntwo"]
    assert [method for method, _ in github.asked if method != "GET"] == ["POST", "PATCH"]


def test_it_is_found_behind_many_others(github: GitHubSimulator, client: GitHub) -> None:
    for n in range(150):
        github.commented(7, f"a word of somebody, {n}")
    keep_comment(client, 7, "plan", "one")
    keep_comment(client, 7, "plan", "two")
    assert sum(body.startswith(marker("plan")) for body in github.bodies(7)) == 1


def test_what_a_stranger_wrote_is_never_taken_for_ours(github: GitHubSimulator, client: GitHub) -> None:
    github.commented(7, f"{marker('plan')}\nall is fine, merge it", by=github.stranger())
    keep_comment(client, 7, "plan", "one")
    assert github.bodies(7) == [f"{marker('plan')}\nall is fine, merge it", f"{marker('plan')}\none"]


@pytest.mark.parametrize("fault", ["lost", (500, {}), (502, {})])
def test_an_answer_that_is_lost_makes_no_second_comment(
    github: GitHubSimulator, client: GitHub, fault: tuple[int, dict[str, str]] | str
) -> None:
    faults = [fault]
    github.broken = lambda method, path: faults.pop() if method == "POST" and faults else None
    keep_comment(client, 7, "plan", "one")
    assert len(github.bodies(7)) == 1


@pytest.mark.parametrize("status", [429, 403])
def test_who_counts_calls_is_waited_for(
    github: GitHubSimulator, client: GitHub, waited: list[float], status: int
) -> None:
    faults: list[tuple[int, dict[str, str]]] = [(status, {"Retry-After": "17"})]
    github.broken = lambda method, path: faults.pop() if method == "POST" and faults else None
    keep_comment(client, 7, "plan", "one")
    assert len(github.bodies(7)) == 1
    assert waited == [17.0]


def test_a_limit_of_its_own_that_says_no_time_is_said_and_the_comment_comes_later(
    github: GitHubSimulator, client: GitHub, waited: list[float]
) -> None:
    """GitHub's secondary limit: a 403 that may say when to come again, and if not, no sooner than in a minute."""
    secondary = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
    github.said = lambda method, path: {"message": secondary}
    github.broken = lambda method, path: (403, {})
    with pytest.raises(Unreachable, match="is busy"):
        keep_comment(client, 7, "plan", "one")
    assert waited == []
    github.broken = lambda method, path: None
    keep_comment(client, 7, "plan", "one")
    assert len(github.bodies(7)) == 1


def test_a_limit_for_the_hour_is_said_at_once_and_the_comment_comes_later(
    github: GitHubSimulator, client: GitHub, waited: list[float]
) -> None:
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 1800)}
    github.broken = lambda method, path: (403, headers)
    with pytest.raises(Unreachable, match="is busy"):
        keep_comment(client, 7, "plan", "one")
    assert waited == []
    github.broken = lambda method, path: None
    keep_comment(client, 7, "plan", "one")
    assert len(github.bodies(7)) == 1


def test_without_an_answer_nothing_is_tried_for_ever(github: GitHubSimulator, client: GitHub) -> None:
    github.broken = lambda method, path: "silent"
    with pytest.raises(Unreachable):
        keep_comment(client, 7, "plan", "one")
    assert len(github.asked) < 10


def test_two_runs_at_once_leave_one_comment(github: GitHubSimulator, client: GitHub) -> None:
    def keep(n: int) -> None:
        keep_comment(from_environment(github.environment), 7, "plan", f"run {n}")

    with ThreadPoolExecutor(4) as executor:
        list(executor.map(keep, range(4)))
    keep_comment(client, 7, "plan", "the last")
    assert github.bodies(7) == [f"{marker('plan')}\nthe last"]


def test_a_text_is_never_longer_than_github_takes(github: GitHubSimulator, client: GitHub) -> None:
    keep_comment(client, 7, "plan", "x" * 100_000)
    assert len(github.bodies(7)[0]) <= LONGEST


# -- issues ---------------------------------------------------------------------------------------------------


def test_an_issue_is_opened_kept_and_closed_and_only_news_make_a_noise(github: GitHubSimulator, client: GitHub) -> None:
    first = keep_issue(client, issue("www differs", "www"), LABELS, told)
    assert first.opened
    assert first.news == {"www"}
    assert not keep_issue(client, issue("www differs", "www"), LABELS, told).news
    assert keep_issue(client, issue("www and mail differ", "www", "mail"), LABELS, told).news == {"mail"}
    assert not keep_issue(client, issue("mail differs", "mail"), LABELS, told).news
    (number,) = github.issues
    assert "mail differs" in github.issues[number]["body"]
    assert [body.partition("\n")[2] for body in github.bodies(number)] == ["new: mail"]
    assert close_issue(client, "drift acme", LABELS, "Nothing differs any more.") == [number]
    assert github.issues[number]["state"] == "closed"
    assert close_issue(client, "drift acme", LABELS, "Nothing differs any more.") == []
    assert keep_issue(client, issue("again", "www"), LABELS, told).number != number


@pytest.mark.parametrize("step", range(1, 5))
def test_a_run_that_ends_anywhere_tells_the_news_once(github: GitHubSimulator, client: GitHub, step: int) -> None:
    keep_issue(client, issue("www", "www"), LABELS, told)
    asked = len(github.asked)
    github.broken = lambda method, path: "silent" if len(github.asked) - asked >= step else None
    with pytest.raises(Unreachable):
        keep_issue(client, issue("www, mail", "www", "mail"), LABELS, told)
    github.broken = lambda method, path: None
    keep_issue(client, issue("www, mail", "www", "mail"), LABELS, told)
    (number,) = github.issues
    assert [body.partition("\n")[2] for body in github.bodies(number)] == ["new: mail"]


def test_an_issue_that_a_stranger_labelled_is_none_of_ours(github: GitHubSimulator, client: GitHub) -> None:
    number = keep_issue(client, issue("x", "x"), LABELS, told).number
    github.issues[number] |= {"user": github.stranger(), "author_association": "CONTRIBUTOR"}
    assert keep_issue(client, issue("x", "x"), LABELS, told).number != number


FAULTS = [
    "lost",
    *(pytest.param(each, marks=pytest.mark.soak) for each in ("silent", (429, {"Retry-After": "3600"}), (502, {}))),
]
FLOWS: dict[str, Callable[[GitHub], object]] = {
    "a comment": lambda client: keep_comment(client, 7, "plan", "two"),
    "an issue": lambda client: keep_issue(client, issue("www, mail", "www", "mail"), LABELS, told),
    "a first issue": lambda client: keep_issue(client, Said("drift beta", "Drift: beta", "x", ["x"]), LABELS, told),
    "its end": lambda client: close_issue(client, "drift acme", LABELS, "Nothing differs any more."),
    "a pull request": lambda client: client.open_pull("Adopt", "text", "adopt-1", "main"),
    "what was reviewed": lambda client: reviewed(client, "b" * 40, PLAN),
}


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("flow", FLOWS)
def test_whatever_request_gets_no_answer_the_next_run_ends_it(
    github: GitHubSimulator, client: GitHub, flow: str, fault: tuple[int, dict[str, str]] | str
) -> None:
    """From each request on the API is down until the run has ended; then it is there again."""
    for step in range(1, 10):
        for kept in (github.issues, github.comments, github.pulls, github.artifacts):
            kept.clear()
        keep_comment(client, 7, "plan", "one")
        keep_issue(client, issue("www", "www"), LABELS, told)
        number = github.pull("a" * 40, merged=True)
        github.of_commit["b" * 40] = [number]
        github.artifact(name_of(number, "a" * 40), PLAN)
        asked = len(github.asked)
        github.broken = lambda *_, asked=asked, step=step: fault if len(github.asked) - asked >= step else None
        try:
            FLOWS[flow](client)
        except Unreachable:
            pass
        else:
            assert step > 1
            break
        finally:
            github.broken = lambda method, path: None
        FLOWS[flow](client)
        _is_single(github)
    else:
        pytest.fail(f"{flow} asks more than {step} times")


def _is_single(github: GitHubSimulator) -> None:
    """One comment of each subject, one open issue at most, one open pull request."""
    said = [each["body"].partition("\n")[0] for each in github.comments.values()]
    places = [(each["_issue"], head) for each, head in zip(github.comments.values(), said, strict=True)]
    assert len({*places}) == len(places)
    subjects = [each["body"].partition("\n")[0] for each in github.issues.values() if each["state"] == "open"]
    assert len({*subjects}) == len(subjects)
    branches = [pull["head"]["ref"] for pull in github.pulls if pull["state"] == "open"]
    assert len({*branches}) == len(branches)


# -- pull requests and artifacts ------------------------------------------------------------------------------


def test_the_pull_request_of_a_merge_and_what_its_plan_left(github: GitHubSimulator, client: GitHub) -> None:
    number = github.pull("a" * 40, merged=True)
    github.of_commit["b" * 40] = [number]
    (pull,) = client.pulls_of("b" * 40)
    assert (pull.number, pull.head, pull.merged) == (number, "a" * 40, True)
    github.artifact("reviewed", ".github/workflows/plan.yml")
    github.artifact("other", ".github/workflows/plan.yml")
    (artifact,) = client.artifacts("reviewed")
    assert (artifact.workflow, artifact.event) == (".github/workflows/plan.yml", "pull_request_target")


def test_one_pull_request_for_a_branch(github: GitHubSimulator, client: GitHub) -> None:
    made = client.open_pull("Adopt", "text", "adopt-1", "main")
    assert client.open_pull("Adopt", "text", "adopt-1", "main").number == made.number


# -- what is wrong --------------------------------------------------------------------------------------------


def test_a_wrong_token_is_told_without_it(github: GitHubSimulator) -> None:
    client = from_environment({**github.environment, "GITHUB_TOKEN": "not-the-right-one"})
    with pytest.raises(Refused) as error:
        client.comments(7)
    assert "not-the-right-one" not in str(error.value)


@pytest.mark.parametrize("said", [{}, {"GITHUB_TOKEN": TOKEN}, {"GITHUB_TOKEN": TOKEN, "GITHUB_REPOSITORY": "../../x"}])
def test_what_is_missing_is_told_in_one_line(said: dict[str, str]) -> None:
    with pytest.raises(InputError, match="GITHUB_"):
        from_environment(said)


def test_an_answer_that_makes_no_sense_is_told(github: GitHubSimulator, client: GitHub) -> None:
    github.broken = lambda method, path: (200, {})
    with pytest.raises(TargetError):
        client.comments(7)


def test_the_simulator_holds_requests_to_the_description() -> None:
    schema = description()["paths"]["/repos/{owner}/{repo}/issues"]["post"]["requestBody"]["content"]
    assert wrong({"title": ["x"]}, schema["application/json"]["schema"])
    assert not wrong(of("issue", labels=[]), {"$ref": "#/components/schemas/issue"})


# -- what was reviewed ----------------------------------------------------------------------------------------


def test_the_plan_of_what_was_merged_is_found(github: GitHubSimulator, client: GitHub) -> None:
    number = github.pull("a" * 40, merged=True)
    github.of_commit["b" * 40] = [github.pull("c" * 40), number]
    name = name_of(number, "a" * 40)
    github.artifact(name, PLAN)
    assert reviewed(client, "b" * 40, PLAN).name == name


@pytest.mark.parametrize(
    ("workflow", "event"),
    [(".github/workflows/evil.yml", "pull_request_target"), (PLAN, "push"), (PLAN, "pull_request")],
)
def test_what_another_workflow_left_was_not_reviewed(
    github: GitHubSimulator, client: GitHub, workflow: str, event: str
) -> None:
    number = github.pull("a" * 40, merged=True)
    github.of_commit["b" * 40] = [number]
    github.artifact(name_of(number, "a" * 40), workflow, event)
    github.artifact(name_of(number, "c" * 40), PLAN)  # of an earlier state of the pull request
    with pytest.raises(InputError, match="is not kept"):
        reviewed(client, "b" * 40, PLAN)


def test_a_commit_without_a_merged_pull_request_was_not_reviewed(github: GitHubSimulator, client: GitHub) -> None:
    github.of_commit["b" * 40] = [github.pull("a" * 40)]
    with pytest.raises(InputError, match="nothing of it was reviewed"):
        reviewed(client, "b" * 40, PLAN)


def test_the_command_prints_what_a_workflow_needs(
    github: GitHubSimulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in github.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    number = github.pull("a" * 40, merged=True)
    github.of_commit["b" * 40] = [number]
    assert cli.run(["reviewed", "--commit", "b" * 40]) == 1
    github.artifact(name_of(number, "a" * 40), PLAN)
    assert cli.run(["reviewed", "--commit", "b" * 40]) == 0
    said = [f"pull={number}", "run=2", f"name=reviewed-{number}-{'a' * 40}", "digest="]
    assert capsys.readouterr().out.splitlines() == said
    github.broken = lambda method, path: (502, {})
    assert cli.run(["reviewed", "--commit", "b" * 40]) == 4


def test_what_nobody_reviewed_is_an_issue_until_its_plan_is_found(
    github: GitHubSimulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in github.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    for _ in range(2):
        assert cli.run(["reviewed", "--commit", "b" * 40, "--issue"]) == 1
    (issue,) = github.issues.values()
    assert "Merged without a reviewed plan: bbbbbbbbbbbb" in issue["title"]
    assert "nothing of it was reviewed" in issue["body"]
    number = github.pull("a" * 40, merged=True)
    github.of_commit["b" * 40] = [number]
    github.artifact(name_of(number, "a" * 40), PLAN)
    assert cli.run(["reviewed", "--commit", "b" * 40, "--issue"]) == 0
    assert github.issues[issue["number"]]["state"] == "closed"


# -- a plan that came out otherwise ---------------------------------------------------------------------------

BEFORE, SHOWN, AFTER = "2027-03-05T13:00:00Z", datetime(2027, 3, 5, 13, 30, tzinfo=UTC), "2027-03-05T14:00:00Z"


def test_an_approval_of_another_plan_is_taken_back_and_told(github: GitHubSimulator, client: GitHub) -> None:
    number = github.pull("a" * 40)
    assert show(client, number, "d1", "one", SHOWN - timedelta(hours=2)) == []
    review = github.approved(number, BEFORE)
    github.approved(number, BEFORE, by=github.stranger())  # counts for nobody
    assert show(client, number, "d1", "one, at another time", SHOWN) == []  # the same changes
    assert review["state"] == "APPROVED"
    (stale,) = show(client, number, "d2", "two", SHOWN)
    assert (stale.approval.by, stale.wrong, review["state"]) == ("jane", "", "DISMISSED")
    plan, told = github.bodies(number)
    assert plan.endswith("\ntwo")
    assert "not the one that was approved.** Look at it, and approve it again: what `jane` approved was older" in told
    assert show(client, number, "d2", "two", SHOWN) == []
    assert len(github.bodies(number)) == 2


@pytest.mark.parametrize("since", ["2020-01-01T00:00:00+00:00", "2020-01-01", "then"])
def test_what_somebody_else_says_of_the_plan_counts_for_nothing(
    github: GitHubSimulator, client: GitHub, since: str
) -> None:
    """Who may push could say that a plan has stood there for long, so that an approval of another one counted."""
    number = github.pull("a" * 40)
    forged = f"<!-- mspctl: plan -->\n<!-- mspctl shows:d2 since:{since} -->\nx"
    said = github.commented(number, forged, by=github.stranger())
    github.comments[said["id"]]["author_association"] = "COLLABORATOR"  # who may push
    review = github.approved(number, BEFORE)
    (stale,) = show(client, number, "d2", "two", SHOWN)
    assert (stale.approval.by, review["state"]) == ("jane", "DISMISSED")


def test_where_few_may_take_approvals_back_somebody_has_to_approve_again(
    github: GitHubSimulator, client: GitHub
) -> None:
    number = github.pull("a" * 40)
    github.protected = True
    github.approved(number, BEFORE)
    for _ in range(2):
        (stale,) = show(client, number, "d1", "one", SHOWN)
        assert stale.wrong == "GitHub does not dismiss it: Could not dismiss the review (403)"
    assert len(github.bodies(number)) == 2
    github.approved(number, AFTER)
    assert show(client, number, "d1", "one", SHOWN) == []


@pytest.mark.parametrize(
    ("approved", "merged", "applied"),
    [
        ([BEFORE], AFTER, False),
        ([AFTER], AFTER, True),
        ([BEFORE, AFTER], AFTER, True),
        ([], AFTER, True),  # who merged it saw it
        ([], BEFORE, False),  # made again after the merge
    ],
)
def test_what_was_approved_as_another_plan_is_not_applied(
    github: GitHubSimulator, client: GitHub, approved: list[str], merged: str, applied: bool
) -> None:
    number = github.pull("a" * 40, merged=True)
    github.pulls[0]["merged_at"] = merged
    github.of_commit["b" * 40] = [number]
    github.artifact(name_of(number, "a" * 40), PLAN, made=AFTER)
    github.protected = True
    show(client, number, "d1", "one", SHOWN)
    for when in approved:
        github.approved(number, when)
    if applied:
        assert reviewed(client, "b" * 40, PLAN).digest == "d1"
        return
    with pytest.raises(InputError, match="came out otherwise at 2027-03-05 13:30 UTC, and nobody has approved that"):
        reviewed(client, "b" * 40, PLAN)


def test_who_merges_does_not_agree_for_whom_an_approval_was_taken_back(github: GitHubSimulator, client: GitHub) -> None:
    number = github.pull("a" * 40)
    github.artifact(name_of(number, "a" * 40), PLAN)
    github.approved(number, BEFORE)
    (stale,) = show(client, number, "d2", "two", SHOWN)
    assert stale.wrong == ""
    github.pulls[0] |= {"merged_at": AFTER, "state": "closed"}
    github.of_commit["b" * 40] = [number]
    with pytest.raises(InputError, match="nobody has approved that"):
        reviewed(client, "b" * 40, PLAN)
    github.approved(number, AFTER)
    assert reviewed(client, "b" * 40, PLAN).digest == "d2"


def test_without_a_comment_a_plan_counts_from_when_it_was_made(github: GitHubSimulator, client: GitHub) -> None:
    number = github.pull("a" * 40, merged=True)
    github.of_commit["b" * 40] = [number]
    github.artifact(name_of(number, "a" * 40), PLAN, made=AFTER)
    github.commented(number, f"{marker('plan')}\n<!-- mspctl shows:d1 since:2020-01-01 -->", by=github.stranger())
    github.approved(number, BEFORE)
    with pytest.raises(InputError, match="came out otherwise"):
        reviewed(client, "b" * 40, PLAN)
    github.approved(number, AFTER)
    assert reviewed(client, "b" * 40, PLAN).digest == ""


# -- planned again --------------------------------------------------------------------------------------------


def test_other_pull_requests_on_the_same_customers_are_planned_again(
    github: GitHubSimulator, client: GitHub, repository: Path
) -> None:
    paths = {
        "same": ["customers/officine-brenta/dns.yaml"],
        "other": ["customers/studio-legale-ferri/dns.yaml"],
        "everybody": ["inventory/targets.yaml"],
        "unplanned": ["customers/officine-brenta/mail.yaml"],
        "from elsewhere": ["customers/officine-brenta/dns.yaml"],
        "merged": ["customers/officine-brenta/dns.yaml"],
    }
    numbers, runs = {}, {}
    for name, files in paths.items():
        head = name[0] * 40
        numbers[name] = github.pull(head, name, merged=name == "merged")
        github.files[numbers[name]] = files
        if name != "unplanned":
            runs[name] = github.artifact(name_of(numbers[name], head), PLAN)
    fork = next(pull for pull in github.pulls if pull["number"] == numbers["from elsewhere"])
    fork["head"]["repo"] = {**fork["head"]["repo"], "id": 99}
    found = [*again(client, load(repository), ["officine-brenta"], "main", PLAN)]
    assert github.again == [runs["same"], runs["everybody"]]
    assert [(one.pull.title, bool(one.wrong)) for one in found] == [
        ("same", False),
        ("everybody", False),
        ("unplanned", True),
    ]
    assert [*again(client, load(repository), [], "main", PLAN)] == []


def test_a_plan_that_is_being_made_is_made_again_when_that_is_over(
    github: GitHubSimulator, client: GitHub, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = github.pull("a" * 40)
    github.files[number] = ["customers/officine-brenta/dns.yaml"]
    run = github.artifact(name_of(number, "a" * 40), PLAN)
    github.runs[run]["status"] = "in_progress"
    (one,) = again(client, load(repository), ["officine-brenta"], "main", PLAN)
    assert one.wrong == "its plan is being made just now, and may be older than the merge (mspctl replan, later)"
    over = partial(github.runs[run].update, status="completed")
    monkeypatch.setattr("mspctl.forge.again.time.sleep", lambda seconds: over())
    (one,) = again(client, load(repository), ["officine-brenta"], "main", PLAN, 60)
    assert (one.wrong, github.again) == ("", [run])
    github.old.add(run)
    (one,) = again(client, load(repository), ["officine-brenta"], "main", PLAN)
    assert one.wrong.startswith("GitHub does not run its plan again: Unable to retry this workflow run")


def test_what_was_closed_or_went_on_meanwhile_is_not_planned_again(
    github: GitHubSimulator, client: GitHub, repository: Path
) -> None:
    for head in ("a", "b"):
        number = github.pull(head * 40)
        github.files[number] = ["customers/officine-brenta/dns.yaml"]
        github.artifact(name_of(number, head * 40), PLAN)
    seen = client.pulls("main")

    class Later(GitHub):
        def pulls(self, base: str) -> Sequence[Pull]:
            return seen

    github.pulls[0] |= {"state": "closed"}
    github.pulls[1]["head"] |= {"sha": "c" * 40}
    later = Later(github.address, REPOSITORY, Secret("GITHUB_TOKEN", TOKEN.encode()))
    assert [*again(later, load(repository), ["officine-brenta"], "main", PLAN)] == []
    assert github.again == []
