"""The comment on a pull request: what several jobs reported as one, never too long, nothing in it acts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mspctl.errors import InputError
from mspctl.plan import Plan, ScopePlan, Standing, Step
from mspctl.report import as_comment, kept, plans
from mspctl.report.annotations import MOST, annotate
from mspctl.report.view import View
from mspctl.resource import Change, Fields, Id, Resource, Scope
from tests.conftest import Run
from tests.report import sample
from tests.report.test_markdown import FOLDED, GITHUB, VIEWS, prose, tokens
from tests.servers.github import GitHubSimulator, simulated

NOW = datetime(2027, 3, 5, 14, 2, tzinfo=UTC)
EVIL = (
    "@everyone **x** <img src=x onerror=alert(1)> ](http://evil.example) ``` </details> ~~~ #1 "
    "a|b <!-- mspctl: plan --> ${{ github.token }} \n::error::x \u202e"
)
RULE: Fields = {
    "from": frozenset({"wan"}),
    "to": frozenset({"lan"}),
    "source": frozenset({"198.51.100.24"}),
    "action": "accept",
}


def record(name: str, *values: str) -> Resource:
    return Resource(Id("dns.rrset", name), {"values": frozenset(values)}, f"customers/acme/dns/acme.example.yaml:{7}")


def a_plan(customers: int, changes: int, name: str = "www A", value: str = "192.0.2.80") -> Plan:
    scopes = []
    for n in range(customers):
        scope = Scope("ns-1", "dns", f"c{n}.example", f"customer-{n}")
        resources = [record(f"{name}{i}", value) for i in range(changes)]
        steps = [Step(Change(r, None) if i % 3 == 0 else Change(None, r)) for i, r in enumerate(resources)]
        scopes.append(ScopePlan(scope, f"customers/customer-{n}/dns.yaml", steps))
    return Plan(scopes, NOW)


def comment(plan: Plan) -> str:
    return as_comment.render(plans.of_plan(plan), "#212")


def back(shown: View) -> View:
    return kept.parse(kept.dump(shown))


# -- kept and joined ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plan", "drift", "outcome", "hostile"])
@pytest.mark.parametrize("form", ["as_markdown", "as_text", "as_html"])
def test_what_was_kept_is_told_as_it_was(name: str, form: str) -> None:
    from importlib import import_module

    render = import_module(f"mspctl.report.{form}").render
    # Lines of the sample that are one object count once as shown; once they were written they are several.
    assert render(back(VIEWS[name]())).partition("** not shown")[0].startswith(render(VIEWS[name]())[:55_000])


def test_jobs_together_say_what_one_would_have_said(run: Run, repository: Path) -> None:
    names = sorted(path.name for path in (repository / "customers").iterdir() if path.is_dir())
    for name in names:
        assert run("plan", "-c", name, "--report", f"{name}.json", "--exit-zero").code == 0
    assert run("plan", "--report", "whole.json").code == 2
    whole = kept.read(repository / "whole.json")
    together = kept.joined([kept.read(repository / f"{name}.json") for name in names])
    assert together.summary == whole.summary
    assert together.facts[:2] == whole.facts[:2]
    assert [block.heading for block in together.blocks] == [block.heading for block in whole.blocks]
    assert together.document["scopes"] == whole.document["scopes"]


@pytest.mark.parametrize(("kind", "first"), [("drift", ["drift"]), ("apply", ["apply", "--yes"])])
def test_other_reports_are_joined_too(run: Run, repository: Path, kind: str, first: list[str]) -> None:
    names = ("studio-legale-ferri", "studio-dentistico-sala")
    for name in names:
        run(*first, "-c", name, "--report", f"{name}.json")
    shown = kept.joined([kept.read(repository / f"{name}.json") for name in names])
    assert shown.kind == kind
    assert {block.customer for block in shown.blocks} == {*names}
    assert shown.summary
    assert as_comment.render(shown)


def test_reports_of_two_kinds_are_not_one() -> None:
    with pytest.raises(InputError, match="one kind"):
        kept.joined([sample.plan(), sample.drift()])


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", '{"format": "mspctl.report/2"}', kept.dump(sample.plan()).replace('"tone": "take"', '"tone": 1')],
)
def test_another_file_is_no_report(tmp_path: Path, content: str) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(InputError, match=r"r\.json: is not a report that mspctl kept"):
        kept.read(tmp_path / "r.json")


# -- what it says ---------------------------------------------------------------------------------------------


def test_what_can_hurt_comes_first_and_then_a_table() -> None:
    plan = a_plan(3, 4)
    forward = Resource(Id("firewall.rule", "nvr"), RULE, "customers/customer-0/firewall.yaml:9")
    opening = ScopePlan(
        Scope("fw-1", "firewall", "sede", "customer-0"), steps=[Step(Change(None, forward), opens=True)]
    )
    guarded = [Step(Change(record("@ MX", "10 mx."), None), Standing.APPROVAL, "it is the last MX of the zone")]
    last = ScopePlan(Scope("ns-1", "dns", "acme.example", "customer-9"), steps=guarded)
    text = comment(replace(plan, scopes=[*plan.scopes, opening, last]))
    order = ["## Plan", "**Opens**", "**Needs an approval**", "**Takes away**", "| customer |", "<details>", "**Undo**"]
    assert [*map(text.index, order)] == sorted(map(text.index, order))
    assert "| `customer-0` | 3 |  | 2 |  |  |  |" in text
    assert "`mspctl undo customer-0 '#212'`" in text


def test_what_waits_for_others_is_named() -> None:
    mail = Scope("mail-1", "filter", "acme.example", "acme")
    zone = Scope("ns-1", "dns", "acme.example", "acme", after=(mail,))
    plans = [ScopePlan(s, steps=[Step(Change(None, record("x", "y")))]) for s in (mail, zone)]
    assert (
        "- Without `filter acme.example on mail-1`, `dns acme.example on ns-1` is held."
        in comment(Plan(plans, NOW)).splitlines()
    )


@pytest.mark.parametrize(("customers", "changes"), [(1, 10_000), (10_000, 1), (300, 40), (0, 0)])
def test_ten_thousand_changes_are_still_a_comment(customers: int, changes: int) -> None:
    plan = a_plan(customers, changes)
    text = comment(plan)
    assert len(text) < GITHUB - 200
    assert len(re.findall("^<details>", text, re.MULTILINE)) == len(re.findall("^</details>$", text, re.MULTILINE))
    if customers:
        assert text.startswith("## Plan: ")
        assert "not shown here" in text
        assert "**Undo**" in text
        whole = as_comment.render(plans.of_plan(plan), "#212", as_comment.SUMMARY)
        assert len(whole) > 5 * len(text)
        assert len(whole.encode()) <= as_comment.SUMMARY


def test_nothing_from_outside_acts() -> None:
    text = comment(a_plan(3, 30, EVIL, EVIL))
    found = tokens(text)
    html = [token.content for token in found if token.type in ("html_block", "html_inline")]
    ours = re.compile(r"<details><summary>(customer-\d|Digests of what was planned: [0-9a-f]{16})</summary>\n?")
    assert all(FOLDED.fullmatch(each) or ours.fullmatch(each) for each in html)
    said = prose(text)
    for word in ("@everyone", "<img", "http", "<!--", "${{", "::error"):
        assert word not in said
    assert not any(token.type in ("link_open", "image") for token in found)
    assert "\u202e" not in text


# -- annotations ----------------------------------------------------------------------------------------------


def test_annotations_say_where_and_end_no_line() -> None:
    lines = [*annotate(plans.of_plan(a_plan(1, 90, EVIL, EVIL)))]
    assert len(lines) == MOST
    for line in lines:
        assert re.match(r"::warning file=customers/customer-0/dns\.yaml,line=1,title=delete::delete ", line)
        assert "\n" not in line
        assert "\u202e" not in line
    hostile = [*annotate(sample.hostile())]
    assert all(re.fullmatch(r"::(error|warning) file=[^,:\n]*,line=\d+,title=[^,:\n]*::[^\n]*", x) for x in hostile)


# -- the command ----------------------------------------------------------------------------------------------


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> object:
    with simulated() as simulator:
        for name, value in simulator.environment.items():
            monkeypatch.setenv(name, value)
        yield simulator


def test_the_command_keeps_one_comment(run: Run, repository: Path, github: GitHubSimulator) -> None:
    run("plan", "-c", "officine-brenta", "--report", "1.json")
    run("plan", "-c", "studio-legale-ferri", "--report", "2.json")
    assert run("comment", "1.json", "--pull-request", "7", "--of", "2").code == 0
    assert "Only 1 of 2 jobs reported" in re.sub("[`*]", "", github.bodies(7)[0])
    assert run("comment", "1.json", "2.json", "--pull-request", "7", "--of", "2").code == 0
    (body,) = github.bodies(7)
    assert re.match("<!-- mspctl: plan -->\n<!-- mspctl shows:.* -->\n## Plan: ", body)
    assert "studio-legale-ferri" in body


def test_without_the_api_the_summary_is_there_and_the_comment_comes_later(
    run: Run, repository: Path, github: GitHubSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("plan", "-c", "officine-brenta", "--report", "1.json")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(repository / "summary.md"))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    github.broken = lambda method, path: (401, {})
    assert run("comment", "1.json", "--pull-request", "7").code == 1
    github.broken = lambda method, path: (500, {})
    said = run("comment", "1.json", "--pull-request", "7")
    assert said.code == 4
    assert "run the job, or this command, again" in said.err
    assert "## Plan" in (repository / "summary.md").read_text()
    github.broken = lambda method, path: None
    assert run("comment", "1.json", "--pull-request", "7").code == 0
    assert len(github.bodies(7)) == 1


def test_a_report_that_is_none_is_told_in_one_line(run: Run, repository: Path) -> None:
    (repository / "x.json").write_text(json.dumps({"format": "mspctl.plan/1"}))
    said = run("comment", "x.json", "--pull-request", "7", "-n")
    assert said.code == 1
    assert said.err.splitlines()[0].startswith("x.json: is not a report that mspctl kept")
