"""Who asked for a change: from commits, options and YAML, checked against the customer's contacts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mspctl.asked import Trailer, Trailers, asked, of_commits
from mspctl.errors import InputError
from mspctl.git.command import Git
from mspctl.load import load
from mspctl.plan import ScopePlan, Step
from mspctl.record import Asked
from mspctl.resource import Cause, Change, Id, Resource, Scope
from tests.cli.test_main_job import YAML, replace
from tests.conftest import Run

NAME = "officine-brenta"
DNS = ["-c", NAME, "-s", "dns"]


def commit(root: Path, message: str) -> None:
    who = ["-c", "user.name=Paolo", "-c", "user.email=paolo@msp.example"]
    subprocess.run(["git", "add", "customers", "inventory"], cwd=root, check=True)
    subprocess.run(["git", *who, "commit", "--quiet", "--allow-empty", "-m", message], cwd=root, check=True)


@pytest.fixture
def changed(run: Run, repository: Path) -> Path:
    """Applied, committed, and changed since."""
    run("apply", *DNS)
    commit(repository, "as it was")
    replace(repository / YAML, "voip: {A: 192.0.2.85}", "voip: {A: 192.0.2.86}")
    return repository


def test_who_asked_is_in_the_plan_the_ledger_and_the_history(run: Run, changed: Path) -> None:
    commit(changed, "The telephones move\n\nTicket: 4719\nAsked-by: maria")
    planned = run("plan", *DNS, "--base", "HEAD^", "--save", "plan.json").out
    assert f"ticket 4719 · asked by {NAME}/maria" in planned
    assert run("apply", "plan.json", *DNS, "--yes").code == 0
    message = subprocess.run(["git", "log", "-1", "--format=%B", "ledger"], cwd=changed, capture_output=True, text=True)
    assert f"Ticket: 4719\nAsked-by: {NAME}/maria\n" in message.stdout
    assert f"ticket 4719 · asked by {NAME}/maria" in run("show", NAME, "--history").out
    assert '"tickets": "4719"' in run("show", NAME, "--history", "-o", "json").out


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("mario", "is no contact of officine-brenta"),
        ("brenta/maria", "there is no customer brenta"),
        ("officine-brenta/nobody", "is no contact (customers/officine-brenta/customer.yaml: contacts)"),
        ("\x1b[31mred", "is no contact of"),
    ],
)
def test_who_may_not_ask_is_told_with_its_place(run: Run, changed: Path, said: str, expected: str) -> None:
    commit(changed, f"The telephones move\n\nAsked-by: {said}")
    planned = run("plan", *DNS, "--base", "HEAD^").out
    abbreviated = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=changed, capture_output=True, text=True)
    assert f"commit {abbreviated.stdout.strip()}: asked by" in planned
    assert expected in " ".join(planned.split())
    assert "\x1b[31m" not in planned
    assert "· asked by" not in planned


def test_a_contact_asks_only_for_sections_that_are_theirs(run: Run, changed: Path) -> None:
    file = changed / "customers" / NAME / "customer.yaml"
    replace(file, "may_authorize: [dns, mail]", "may_authorize: [mail]")
    planned = run("plan", *DNS, "--asked-by", "maria").out
    assert "may not ask for changes of dns (customers/officine-brenta/customer.yaml: may_authorize)" in planned


def test_what_the_yaml_says_counts_where_it_is_changed(repository: Path) -> None:
    estate = load(repository)
    file = "customers/officine-brenta/firewall/sede.yaml"
    (repository / file).parent.mkdir(exist_ok=True)
    (repository / file).write_text(
        "rules:\n"
        "  - id: erp\n"
        "    asked_by: maria\n"
        '    ticket: "4720"\n'
        "  - {id: nvr, asked_by: maria, ticket: 4721}\n"
        "  - {id: other}\n"
    )
    scope = Scope("fw-1", "firewall", "sede", NAME)

    def found(line: int) -> Asked:
        rule = Resource(Id("firewall.rule", "x"), {}, f"{file}:{line}")
        plan = ScopePlan(scope, file, [Step(Change(None, rule, Cause.PENDING))])
        return asked(estate, [plan], Trailers())[0]

    assert found(2) == found(3) == Asked(("4720",), (f"{NAME}/maria",))
    assert found(5) == Asked(("4721",), (f"{NAME}/maria",))
    assert found(6) == Asked()


def test_commits_are_read_in_their_order_and_a_base_that_is_not_here_is_told(repository: Path) -> None:
    commit(repository, "first")
    commit(repository, "a\n\nTicket: 1, 2")
    commit(repository, "b\n\nTicket: 3\nTicket: \x07")
    found = of_commits(Git(repository), "HEAD~2")
    assert [one.text for one in found.tickets] == ["1", "2", "3"]
    assert of_commits(Git(repository), "HEAD") == Trailers([], [])
    with pytest.raises(InputError, match="no commit that is here"):
        of_commits(Git(repository), "nowhere")


def test_who_is_meant_is_judged_by_all_that_a_change_touches_wherever_it_is_planned(repository: Path) -> None:
    estate = load(repository)
    other = next(name for name in estate.everyone if name != NAME)
    resource = Resource(Id("dns.rrset", "www A"), {}, f"customers/{NAME}/dns/brenta.example.yaml:1")
    plan = ScopePlan(
        Scope("pdns-1", "dns", "brenta.example", NAME),
        f"customers/{NAME}/dns.yaml:1",
        [Step(Change(None, resource, Cause.PENDING))],
    )

    def found(name: str, *touched: str) -> tuple[tuple[str, ...], list[str]]:
        who, wrong = asked(estate, [plan], Trailers(by=[Trailer("commit 1", name)]), touched)
        return who.by, wrong

    assert found("maria", NAME, other) == found("maria") == ((f"{NAME}/maria",), [])
    theirs = next(contact.id for contact in estate.everyone[other].info.contacts)
    assert found(theirs)[1]  # of nobody whom the change touches
    assert found(theirs, NAME, other) == ((), [])  # said where that customer is planned
    assert found(f"{other}/{theirs}", NAME) == (
        (),
        [f"commit 1: asked by {other}/{theirs}: nothing of {other} is changed"],
    )


def test_a_plan_knows_what_the_change_touches_besides(run: Run, changed: Path) -> None:
    other = next(each.name for each in sorted((changed / "customers").iterdir()) if each.name != NAME)
    with (changed / "customers" / other / "customer.yaml").open("a") as file:
        file.write("# touched\n")
    commit(changed, f"Both\n\nAsked-by: {other}/nobody")
    said = " ".join(run("plan", *DNS, "--base", "HEAD^").out.split())
    assert f"asked by {other}/nobody: is no contact" in said
    commit(changed, f"None\n\nAsked-by: {other}/nobody")
    assert "is no contact" in " ".join(run("plan", *DNS, "--base", "HEAD^^").out.split())
