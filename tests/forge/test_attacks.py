"""
What a pull request tries in order to read a secret or to run something: nothing of it works.

The workflows are those that `init` writes; see `executor.py` for what of GitHub's runner is not here.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mspctl import cli
from mspctl.affected import touched
from mspctl.errors import InputError
from mspctl.load import load
from tests.forge.test_end_to_end import VAULT, ZONE, Desk, desk
from tests.servers.github import GitHubSimulator
from tests.servers.powerdns import KEY

__all__ = ["desk"]

NS = "apex: {NS: [ns1.msp.example.]}\n"
SECRETS = (
    "{{ lookup('env', 'MSPCTL_VAULT_PASSWORD') }}",
    "${{ secrets.MSPCTL_VAULT_PASSWORD }}",
    "$MSPCTL_VAULT_PASSWORD",
    "$(touch PWNED)",
    "`touch PWNED`",
    "<!-- mspctl: plan -->",
)


def nothing_came_of_it(desk: Desk, github: GitHubSimulator, tmp_path: Path) -> None:
    said = "".join(desk.executor.said) + "".join(each["body"] for each in github.comments.values())
    assert VAULT not in said
    assert KEY not in said
    assert not [*tmp_path.rglob("PWNED")]
    assert desk.live() == {}


def pull(desk: Desk, github: GitHubSimulator, branch: str = "change") -> tuple[int, dict[str, str]]:
    head = desk.push(branch)
    number = github.pull(head)
    return number, desk.plan(number, head)


@pytest.mark.soak
def test_text_is_text(desk: Desk, github: GitHubSimulator, tmp_path: Path) -> None:
    """What looks like a template, an expression or a command is a TXT record, also under a branch named like one."""
    records = "".join(f"t{number}: {{TXT: {text!r}}}\n" for number, text in enumerate(SECRETS))
    desk.write(ZONE, NS + records.replace("\\'", "''"))
    number, ends = pull(desk, github, "$(touch${IFS}PWNED)")
    assert ends["comment"] == "success", desk.executor.said
    (body,) = github.bodies(number)
    assert "lookup" in body
    nothing_came_of_it(desk, github, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("file", "text"),
    [
        (ZONE, NS + "www: {TXT: !!python/object/apply:os.system ['touch PWNED']}\n"),
        (
            "customers/acme/hosts.yaml",
            "hosts: {srv: {address: 192.0.2.1, ansible_ssh_common_args: -oProxyCommand=touch}}\n",
        ),
        ("customers/acme/$(touch PWNED).yaml", "x: y\n"),
        ("customers/-c $(touch PWNED)/customer.yaml", "name: x\n"),
    ],
)
def test_what_is_no_data_is_told_and_gets_no_plan(
    desk: Desk, github: GitHubSimulator, tmp_path: Path, file: str, text: str
) -> None:
    desk.write(file, text)
    _, ends = pull(desk, github)
    assert "success" not in (ends["plan"], ends["comment"]), desk.executor.said
    nothing_came_of_it(desk, github, tmp_path)


@pytest.mark.soak
def test_the_workflow_is_the_bases_whatever_the_pull_request_makes_of_it(
    desk: Desk, github: GitHubSimulator, tmp_path: Path
) -> None:
    desk.write(".github/workflows/plan.yml", "on: pull_request\njobs: {x: {runs-on: x, steps: [{run: touch PWNED}]}}\n")
    desk.write("requirements/install", "touch PWNED\n")
    desk.write("inventory/quick_lane.yaml", "classes: [{change: new-mailbox}]\n")
    _, ends = pull(desk, github)
    assert ends == {"affected": "success", "plan": "skipped", "comment": "skipped", "quick-lane": "skipped"}
    nothing_came_of_it(desk, github, tmp_path)


# -- what is no YAML, without a runner ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "customers/acme/.gitattributes",  # what is checked out would not be what was reviewed
        ".gitattributes",
        ".gitmodules",
        "customers/evil",  # a submodule, or a link
        "customers/a b/customer.yaml",
        "customers/x\ny/customer.yaml",
        "customers/-c/customer.yaml",
        "playbooks/x.yml",
    ],
)
def test_what_is_no_data_gets_no_plan_with_credentials(path: str) -> None:
    found = touched([path, "customers/acme/dns.yaml"])
    assert [*found.program] == [path]


def test_a_link_is_not_followed_and_a_bomb_does_not_go_off(tmp_path: Path) -> None:
    (tmp_path / "outside.yaml").write_text("key: top-secret-word\n")
    files = {
        "inventory/targets.yaml": "targets: {}\n",
        "customers/acme/customer.yaml": "name: Acme\n",
        "customers/acme/dns.yaml": "a: &a [x,x,x,x,x,x,x,x]\n"
        + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1 or str()}'] * 8)}]\n" for n in range(1, 12)),
        "customers/acme/mail.yaml": "domains: !!python/object/apply:os.system [touch PWNED]\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "customers/acme/patching.yaml").symlink_to(tmp_path / "outside.yaml")
    with pytest.raises(InputError) as error:
        load(tmp_path)
    said = str(error.value)
    assert "top-secret-word" not in said
    assert len(said) < 5_000
    for file in ("dns", "mail", "patching"):
        assert f"customers/acme/{file}.yaml" in said
    assert not [*tmp_path.rglob("PWNED")]


# -- the API is down ------------------------------------------------------------------------------------------


@pytest.mark.soak
def test_with_the_api_down_nothing_is_lost_and_nothing_applied_twice(desk: Desk, github: GitHubSimulator) -> None:
    desk.write(ZONE, NS + "www: {A: 192.0.2.80}\n")
    head = desk.push("change")
    number = github.pull(head)
    github.broken = lambda method, path: (502, {})
    assert desk.plan(number, head)["comment"] == "failure"
    github.broken = lambda method, path: None
    assert desk.plan(number, head)["comment"] == "success"  # the job is run again
    assert len(github.bodies(number)) == 1

    # Nobody can say what was reviewed: nothing is applied. Then the comment cannot be written: it is applied.
    github.broken = lambda method, path: (502, {})
    assert desk.merge(number)["affected"] == "failure"
    assert desk.live() == {}
    commit, before = desk.git("rev-parse", "HEAD"), desk.git("rev-parse", "HEAD^1")
    github.broken = lambda method, path: (429, {"Retry-After": "3600"}) if method != "GET" else None
    ends = desk.executor.run("apply", "push", commit, before=before)
    assert (ends["apply"], ends["report"]) == ("success", "failure"), desk.executor.said
    assert desk.live()["www.acme.example. A"] == ["192.0.2.80"]
    runs = ["-C", str(desk.clone), "ledger", "log"]
    assert cli.run(runs) == 0
    github.broken = lambda method, path: None
    ends = desk.executor.run("apply", "push", commit, before=before)
    assert (ends["apply"], ends["report"]) == ("success", "success"), desk.executor.said
    desk.git("fetch", "--quiet", "origin", "ledger")
    assert desk.git("log", "--format=%s", "FETCH_HEAD").count("apply: 1 scope") == 1
    assert len(github.bodies(number)) == 2  # the plan's, and the apply's
