"""Notes, issues and merge requests on GitLab: one of each subject, and nobody's word taken for ours."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from mspctl import cli
from mspctl.cli.gitlab_plan_ import wanted
from mspctl.cli.quick_lane_ import merge
from mspctl.errors import InputError, TargetError, Unreachable
from mspctl.forge.again import again
from mspctl.forge.gitlab import NEVER, GitLab, from_environment, is_named
from mspctl.forge.posting import Said, close_issue, keep_comment, keep_issue, marker
from mspctl.forge.review import name_of, reviewed
from mspctl.load import load
from mspctl.transports.http import Refused
from tests.servers.gitlab import BOT, STRANGER, WHEN, GitLabSimulator

LABELS = ("mspctl", "drift")
MR, ISSUE = "merge_requests", "issues"


@pytest.fixture
def client(gitlab: GitLabSimulator) -> GitLab:
    return from_environment(gitlab.environment)


def issue(text: str, *facts: str) -> Said:
    return Said("drift acme", "Drift: acme", text, facts)


def told(news: frozenset[str]) -> str:
    return "new: " + ", ".join(sorted(news))


# -- notes ----------------------------------------------------------------------------------------------------


def test_a_note_is_made_and_then_brought_up_to_date(gitlab: GitLabSimulator, client: GitLab) -> None:
    for text in ("one", "two", "two"):
        keep_comment(client, 7, "plan", text)
    assert gitlab.bodies(MR, 7) == [f"{marker('plan')}\ntwo"]
    assert [method for method, _ in gitlab.asked if method != "GET"] == ["POST", "PUT"]


def test_it_is_found_behind_many_others(gitlab: GitLabSimulator, client: GitLab) -> None:
    for n in range(150):
        gitlab.noted(MR, 7, f"a word of somebody, {n}")
    keep_comment(client, 7, "plan", "one")
    keep_comment(client, 7, "plan", "two")
    assert sum(body.startswith(marker("plan")) for body in gitlab.bodies(MR, 7)) == 1


def test_what_somebody_wrote_who_may_not_push_is_never_taken_for_ours(gitlab: GitLabSimulator, client: GitLab) -> None:
    gitlab.noted(MR, 7, f"{marker('plan')}\nall is fine, merge it", STRANGER)
    keep_comment(client, 7, "plan", "one")
    assert gitlab.bodies(MR, 7) == [f"{marker('plan')}\nall is fine, merge it", f"{marker('plan')}\none"]


def test_no_line_is_carried_out_as_a_command_of_gitlab(gitlab: GitLabSimulator, client: GitLab) -> None:
    """The simulator refuses them. What is read back is what was written."""
    text = "first\n/merge\n/approve\nlast\n"
    for _ in range(2):
        keep_comment(client, 7, "plan", text)
    keep_issue(client, issue("/close\n/label ~x", "www"), LABELS, told)
    assert "\n\u200b/merge\n" in gitlab.bodies(MR, 7)[0]
    assert client.comments(7)[0].body == f"{marker('plan')}\n{text}".rstrip()
    assert "\n\u200b/close" in gitlab.issues[1]["description"]
    assert len(gitlab.bodies(MR, 7)) == 1


@pytest.mark.parametrize("fault", ["lost", (500, {}), (502, {})])
def test_an_answer_that_is_lost_makes_no_second_note(
    gitlab: GitLabSimulator, client: GitLab, fault: tuple[int, dict[str, str]] | str
) -> None:
    faults = [fault]
    gitlab.broken = lambda method, path: faults.pop() if method == "POST" and faults else None
    keep_comment(client, 7, "plan", "one")
    assert len(gitlab.bodies(MR, 7)) == 1


def test_who_counts_calls_is_waited_for(gitlab: GitLabSimulator, client: GitLab, waited: list[float]) -> None:
    faults: list[tuple[int, dict[str, str]]] = [(429, {"Retry-After": "17"})]
    gitlab.broken = lambda method, path: faults.pop() if method == "POST" and faults else None
    keep_comment(client, 7, "plan", "one")
    assert len(gitlab.bodies(MR, 7)) == 1
    assert waited == [17.0]


def test_a_long_limit_is_said_at_once_and_the_note_comes_later(
    gitlab: GitLabSimulator, client: GitLab, waited: list[float]
) -> None:
    headers = {"Retry-After": "1800", "RateLimit-Remaining": "0", "RateLimit-Reset": str(int(time.time()) + 1800)}
    gitlab.broken = lambda method, path: (429, headers)
    with pytest.raises(Unreachable, match="is busy"):
        keep_comment(client, 7, "plan", "one")
    assert waited == []
    gitlab.broken = lambda method, path: None
    keep_comment(client, 7, "plan", "one")
    assert len(gitlab.bodies(MR, 7)) == 1


def test_without_an_answer_nothing_is_tried_for_ever(gitlab: GitLabSimulator, client: GitLab) -> None:
    gitlab.broken = lambda method, path: "silent"
    with pytest.raises(Unreachable):
        keep_comment(client, 7, "plan", "one")
    assert len(gitlab.asked) < 10


def test_two_runs_at_once_leave_one_note(gitlab: GitLabSimulator, client: GitLab) -> None:
    def keep(n: int) -> None:
        keep_comment(from_environment(gitlab.environment), 7, "plan", f"run {n}")

    with ThreadPoolExecutor(4) as executor:
        list(executor.map(keep, range(4)))
    keep_comment(client, 7, "plan", "the last")
    assert gitlab.bodies(MR, 7) == [f"{marker('plan')}\nthe last"]


# -- issues ---------------------------------------------------------------------------------------------------


def test_an_issue_is_opened_kept_and_closed_and_only_news_make_a_noise(gitlab: GitLabSimulator, client: GitLab) -> None:
    gitlab.noted(MR, 1, "a merge request may have the number of an issue")
    assert keep_issue(client, issue("www differs", "www"), LABELS, told).opened
    assert not keep_issue(client, issue("www differs", "www"), LABELS, told).news
    assert keep_issue(client, issue("www and mail differ", "www", "mail"), LABELS, told).news == {"mail"}
    assert not keep_issue(client, issue("mail differs", "mail"), LABELS, told).news
    (number,) = gitlab.issues
    assert "mail differs" in gitlab.issues[number]["description"]
    assert [body.partition("\n")[2] for body in gitlab.bodies(ISSUE, number)] == ["new: mail"]
    assert close_issue(client, "drift acme", LABELS, "Nothing differs any more.") == [number]
    assert gitlab.issues[number]["state"] == "closed"
    assert len(gitlab.bodies(MR, 1)) == 1
    assert keep_issue(client, issue("again", "www"), LABELS, told).number != number


def test_an_issue_of_somebody_who_may_not_push_is_none_of_ours(gitlab: GitLabSimulator, client: GitLab) -> None:
    number = keep_issue(client, issue("x", "x"), LABELS, told).number
    gitlab.issues[number]["author"] = {"id": STRANGER}
    assert keep_issue(client, issue("x", "x"), LABELS, told).number != number


# -- merge requests -------------------------------------------------------------------------------------------


def test_one_merge_request_for_a_branch_also_if_a_fork_has_one_of_that_name(
    gitlab: GitLabSimulator, client: GitLab
) -> None:
    gitlab.request("a" * 40, "adopt-1", source=8)
    made = client.open_pull("Adopt", "text\n/merge", "adopt-1", "main")
    assert client.open_pull("Adopt", "text", "adopt-1", "main").number == made.number == 2
    client.edit_pull(2, title="Adopt it", body="why")
    assert [(p.title, p.body, p.fork) for p in client.pulls_from("adopt-1")] == [
        ("A change", "", True),
        ("Adopt it", "why", False),
    ]


def test_it_is_merged_once_and_only_as_it_was_planned(gitlab: GitLabSimulator, client: GitLab) -> None:
    number = gitlab.request("a" * 40)
    with pytest.raises(Refused):
        client.merge(number, "b" * 40)
    faults = ["lost"]
    gitlab.broken = lambda method, path: faults.pop() if method == "PUT" and faults else None
    client.merge(number, "a" * 40)  # the second attempt is refused, because the first was done
    assert client.pull(number).merged


def test_checks_are_the_last_word_of_each(gitlab: GitLabSimulator, client: GitLab) -> None:
    for _ in range(2):  # the first run died
        client.status("a" * 40, state="running", text="x", url="")
    client.status("a" * 40, state="success", text="x", url="")
    for name, status in (("lint", "failed"), ("wait", "pending"), ("maybe", "failed")):
        gitlab.statuses.append({"sha": "a" * 40, "name": name, "status": status, "allow_failure": name == "maybe"})
    assert [(c.name, c.good) for c in client.checks("a" * 40)] == [
        ("mspctl/plan", True),
        ("lint", False),
        ("wait", None),
        ("maybe", True),
    ]


def test_the_quick_lane_merges_what_is_good_and_nothing_else(
    gitlab: GitLabSimulator, client: GitLab, capsys: pytest.CaptureFixture[str]
) -> None:
    number, head = gitlab.request("a" * 40), "a" * 40
    client.status(head, state="success", text="It is planned", url="")
    gitlab.statuses.append({"sha": head, "name": "validate", "status": "failed"})
    assert merge(client, number, head, "main", 0) == 2
    assert "validate failed" in capsys.readouterr().out
    gitlab.statuses[-1]["status"] = "success"
    assert merge(client, number, "b" * 40, "main", 0) == 0
    assert gitlab.requests[number]["state"] == "opened"
    assert merge(client, number, head, "main", 0) == 0
    assert gitlab.requests[number]["state"] == "merged"
    assert "!1 is merged" in capsys.readouterr().out


def test_approvals_are_those_that_count_with_their_time_and_all_are_taken_back(
    gitlab: GitLabSimulator, client: GitLab
) -> None:
    gitlab.approved[7] = [BOT, 5]
    note = gitlab.noted(MR, 7, "approved this merge request")
    gitlab.notes[note["id"]] |= {"system": True, "created_at": WHEN}
    gitlab.noted(MR, 7, "approved this merge request", 5)  # somebody's own words
    assert [(each.by, each.when > NEVER) for each in client.approvals(7)] == [("user-1", True), ("user-5", False)]
    client.dismiss(7, BOT, "another plan")
    assert client.approvals(7) == []


# -- what was reviewed ----------------------------------------------------------------------------------------


def merged(gitlab: GitLabSimulator) -> tuple[int, str]:
    number = gitlab.request("a" * 40, state="merged")
    gitlab.of_commit["b" * 40] = [number]
    return number, name_of(number, "a" * 40)


def test_the_plan_of_what_was_merged_is_found(gitlab: GitLabSimulator, client: GitLab) -> None:
    number, name = merged(gitlab)
    jobs = [gitlab.job(name), gitlab.job(name)]
    for job in jobs:
        gitlab.planned(number, "a" * 40, job)
    assert reviewed(client, "b" * 40, client.plans).run == jobs[1]  # the newest


@pytest.mark.parametrize(
    "job",
    [
        {"name": "reviewed-2-" + "a" * 40},
        {"name": "reviewed-1-" + "b" * 40},
        {"status": "failed"},
        {"tag": True},
        {"ref": "refs/merge-requests/1/head"},
        {"source": "merge_request_event"},
        {"source": "web"},
    ],
)
def test_a_status_that_names_another_job_is_not_believed(
    gitlab: GitLabSimulator, client: GitLab, job: dict[str, str]
) -> None:
    """Whoever may push may set a status; what ran is told by the job, its pipeline and its commit."""
    number, name = merged(gitlab)
    gitlab.planned(number, "a" * 40, gitlab.job(**{"name": name, **job}))
    gitlab.planned(number, "a" * 40, 4711)
    with pytest.raises(InputError, match="is not kept"):
        reviewed(client, "b" * 40, client.plans)


def test_a_branch_of_a_fork_that_is_called_main_is_not_main(gitlab: GitLabSimulator, client: GitLab) -> None:
    number, name = merged(gitlab)
    gitlab.planned(number, "a" * 40, gitlab.job(name))
    gitlab.on_main = lambda commit: False
    with pytest.raises(InputError, match="is not kept"):
        reviewed(client, "b" * 40, client.plans)


def test_the_command_finds_and_fetches_it_and_tells_when_there_is_none(
    gitlab: GitLabSimulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for key, value in gitlab.environment.items():
        monkeypatch.setenv(key, value)
    assert cli.run(["reviewed", "--commit", "b" * 40, "--issue"]) == 1
    assert "Merged without a reviewed plan" in gitlab.issues[1]["title"]
    number, name = merged(gitlab)
    job = gitlab.job(name)
    gitlab.planned(number, "a" * 40, job)
    capsys.readouterr()
    assert cli.run(["reviewed", "--commit", "b" * 40, "--issue"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"pull={number}", f"run={job}", f"name={name}", "digest="]
    assert gitlab.issues[1]["state"] == "closed"
    gitlab.kept[job] = tmp_path / "kept"
    gitlab.kept[job].mkdir()
    for file, text in (("index", "1.plan.json\n2.plan.json\n"), ("1.plan.json", "{}"), ("2.plan.json", "[]")):
        (gitlab.kept[job] / file).write_text(text)
    assert cli.run(["gitlab", "fetch", str(job), "--into", "plans"]) == 0
    assert sorted(path.name for path in (tmp_path / "plans").iterdir()) == ["1.plan.json", "2.plan.json"]
    for bad in ("../../x.plan.json", "x", ""):
        (gitlab.kept[job] / "index").write_text(bad)
        assert cli.run(["gitlab", "fetch", str(job), "--into", "other"]) == 1
        assert not (tmp_path / "other").exists()
    gitlab.broken = lambda method, path: (502, {})
    assert cli.run(["gitlab", "fetch", str(job), "--into", "other"]) == 4


def test_other_merge_requests_on_the_same_customers_are_planned_again(
    gitlab: GitLabSimulator, client: GitLab, repository: Path
) -> None:
    paths = {"same": "customers/officine-brenta/dns.yaml", "other": "customers/studio-legale-ferri/dns.yaml"}
    for branch, path in paths.items():
        head = "ab"[branch == "other"] * 40
        number = gitlab.request(head, branch)
        gitlab.files[number] = [path]
        gitlab.planned(number, head, gitlab.job(name_of(number, head)))
    fork = gitlab.request("f" * 40, "fork", source=8)
    gitlab.files[fork] = [paths["same"]]
    found = [*again(client, load(repository), ["officine-brenta"], "main", client.plans)]
    assert [(one.pull.branch, one.wrong) for one in found] == [("same", "")]
    (asked,) = gitlab.begun
    assert asked["ref"] == "main"
    (variable,) = asked["variables"]
    assert (variable["key"], variable["variable_type"]) == ("TRIGGER_PAYLOAD", "file")
    assert json.loads(variable["value"])["object_attributes"]["iid"] == 1


def test_a_plan_that_is_being_made_is_made_again_when_that_is_over(
    gitlab: GitLabSimulator, client: GitLab, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = "a" * 40
    number = gitlab.request(head, "change")
    gitlab.files[number] = ["customers/officine-brenta/dns.yaml"]
    gitlab.planned(number, head, gitlab.job(name_of(number, head)))
    pipeline = gitlab.planning(head)
    (one,) = again(client, load(repository), ["officine-brenta"], "main", client.plans)
    assert one.wrong == "its plan is being made just now, and may be older than the merge (mspctl replan, later)"
    over = partial(gitlab.pipelines[pipeline].update, status="success")
    monkeypatch.setattr("mspctl.forge.again.time.sleep", lambda seconds: over())
    (one,) = again(client, load(repository), ["officine-brenta"], "main", client.plans, 60)
    assert one.wrong == ""
    assert len(gitlab.begun) == 1


@pytest.mark.parametrize("of", [{"status": "canceled"}, {"status": "running", "ref": "mine"}])
def test_a_pipeline_that_died_or_is_somebodys_own_is_not_waited_for(
    gitlab: GitLabSimulator, client: GitLab, repository: Path, of: dict[str, str]
) -> None:
    head = "a" * 40
    number = gitlab.request(head, "change")
    gitlab.files[number] = ["customers/officine-brenta/dns.yaml"]
    gitlab.planned(number, head, gitlab.job(name_of(number, head)))
    pipeline = gitlab.planning(head, **of)
    (one,) = again(client, load(repository), ["officine-brenta"], "main", client.plans)
    assert one.wrong == ""
    gitlab.pipelines.pop(pipeline)
    (one,) = again(client, load(repository), ["officine-brenta"], "main", client.plans)
    assert one.wrong == ""


# -- what a webhook says --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "changes", "number"),
    [
        ({"action": "open", "iid": 3}, {}, 3),
        ({"action": "reopen", "iid": 3}, {}, 3),
        ({"action": "update", "iid": 3, "oldrev": "a" * 40}, {}, 3),
        ({"action": "update", "iid": 3}, {"target_branch": {}}, 3),
        ({"action": "update", "iid": 3}, {"labels": {}}, 0),
        ({"action": "approved", "iid": 3}, {}, 0),
        ({"action": "merge", "iid": 3}, {}, 0),
        ({}, {}, 0),
    ],
)
def test_only_what_changes_a_plan_is_planned(
    tmp_path: Path, of: dict[str, object], changes: dict[str, object], number: int
) -> None:
    file = tmp_path / "payload"
    file.write_text(json.dumps({"object_kind": "merge_request", "object_attributes": of, "changes": changes}))
    assert wanted(file) == number


@pytest.mark.parametrize("text", ["", "[]", '{"object_kind": "merge_request"}', "[" * 100_000])
def test_what_is_no_payload_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "payload"
    file.write_text(text)
    with pytest.raises(InputError, match="is no payload"):
        wanted(file)
    with pytest.raises(InputError):
        wanted(tmp_path / "missing")


# -- what is wrong --------------------------------------------------------------------------------------------


def test_a_wrong_token_is_told_without_it(gitlab: GitLabSimulator) -> None:
    client = from_environment({**gitlab.environment, "GITLAB_TOKEN": "not-the-right-one"})
    with pytest.raises(Refused) as error:
        client.comments(7)
    assert "not-the-right-one" not in str(error.value)


@pytest.mark.parametrize(
    "said", [{}, {"GITLAB_TOKEN": "x"}, {"GITLAB_TOKEN": "x", "CI_PROJECT_PATH": "../../x"}, {"CI_PROJECT_PATH": "a/b"}]
)
def test_what_is_missing_is_told_in_one_line(said: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"GITLAB_TOKEN|CI_PROJECT_PATH"):
        from_environment(said)


def test_which_forge_it_is() -> None:
    assert is_named({"GITLAB_CI": "true"})
    assert is_named({"CI_PROJECT_PATH": "a/b"})
    assert not is_named({"CI_PROJECT_PATH": "a/b", "GITHUB_REPOSITORY": "a/b"})
    assert not is_named({})


@pytest.mark.parametrize("answer", [(200, {}), (201, {})])
def test_an_answer_that_makes_no_sense_is_told(
    gitlab: GitLabSimulator, client: GitLab, answer: tuple[int, dict[str, str]]
) -> None:
    gitlab.broken = lambda method, path: answer
    for call in (
        lambda: client.comments(7),
        lambda: client.pull(1),
        lambda: client.artifacts("reviewed-1-" + "a" * 40),
    ):
        with pytest.raises(TargetError):
            call()
