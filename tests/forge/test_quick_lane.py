"""What merges by itself, and what does not, whatever a pull request tries."""

from __future__ import annotations

import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from mspctl.cli import quick_lane_
from mspctl.exits import Exit
from mspctl.forge.github import GitHub
from mspctl.git.command import Git
from mspctl.quick_lane import Decision, classes, decide, newest, of_base, overtaken
from tests.servers.github import GitHubSimulator, of

LANE = classes("classes: [{change: new-mailbox}, {change: allow-entry, days: 30, customers: [acme]}]\n")
TODAY = date(2027, 3, 5)
FILE = "customers/acme/mail.yaml"
BEFORE = """domains:
  acme.example:
    target: mail-1
    mailboxes:
      jane: {name: Jane}
    allow:
      - {from: 198.51.100.7, why: "their scanner"}
"""
MAILBOX = BEFORE.replace("      jane:", "      luca: {name: Luca, quota: 5 GiB}\n      jane:")
ALLOW = BEFORE + '      - {from: 198.51.100.8, why: "a test", until: 2027-04-01}\n'


def change(kind: str, name: str, verb: str = "create", **said: object) -> dict[str, Any]:
    return {"verb": verb, "kind": kind, "name": name, "cause": "pending", "standing": "due", "opens": False, **said}


def plan(*changes: dict[str, Any], **said: object) -> dict[str, Any]:
    where = {"customer": "acme", "target": "mail-1", "facet": "mailboxes", "name": "acme.example"}
    return {"retired": [], "scopes": [{**where, "error": "", "unknown": [], "changes": [*changes], **said}]}


LUCA, SCANNER = change("mail.mailbox", "luca"), change("filter.allow", "198.51.100.8")


def decided(after: str, *plans: dict[str, Any], path: str = FILE, lane: Any = LANE, alarms: Any = ()) -> Decision:
    return decide(lane, {path: (BEFORE, after)}, plans, alarms, TODAY)


def test_a_new_mailbox_and_an_entry_for_a_few_days_merge_by_themselves() -> None:
    assert decided(MAILBOX, plan(LUCA)) == Decision(True, "nothing but new-mailbox luca of acme")
    assert decided(ALLOW, plan(SCANNER)) == Decision(True, "nothing but allow-entry 198.51.100.8 of acme")


@pytest.mark.parametrize(
    ("after", "plans", "why"),
    [
        (BEFORE, [plan()], "nothing came in"),
        (MAILBOX.replace("luca:", "webmaster:"), [plan(LUCA)], "webmaster@ is an address that others trust"),
        (MAILBOX.replace("Luca,", "Luca, aliases: [Abuse],"), [plan(LUCA)], "abuse@ is an address that others trust"),
        (MAILBOX.replace("Luca,", "Luca, password: {secret: OLD},"), [plan(LUCA)], "its password is not a new one"),
        (ALLOW.replace("198.51.100.8", "198.51.0.0/16"), [plan(SCANNER)], "198.51.0.0/16 is more than /24"),
        (ALLOW.replace("198.51.100.8", "gmail.com"), [plan(SCANNER)], "gmail.com is a domain of many"),
        (ALLOW.replace("198.51.100.8", "co.uk"), [plan(SCANNER)], "co.uk is a domain of many"),
        (MAILBOX, [plan()], "does not make luca"),
        (MAILBOX, [plan(LUCA, change("mail.mailbox", "eve"))], "the plan also has create eve"),
        (MAILBOX, [plan(LUCA, change("mail.mailbox", "jane", "delete"))], "the plan also has delete jane"),
        (MAILBOX, [plan(LUCA), plan(change("dns.rrset", "www A"))], "the plan also has create www A"),
        (MAILBOX, [plan(LUCA, name="other.example")], "the plan also has create luca"),
        (MAILBOX, [plan(change("mail.mailbox", "luca", standing="needs approval"))], "luca needs somebody"),
        (MAILBOX, [plan(change("mail.mailbox", "luca", opens=True))], "luca needs somebody"),
        (MAILBOX, [plan(LUCA, error="no answer")], "could not be planned whole"),
        (MAILBOX, [{**plan(LUCA), "retired": [{}]}], "a scope left Git"),
        (MAILBOX.replace("Luca,", "Luca, forwards: x@evil.example,"), [plan(LUCA)], "luca has forwards"),
        (MAILBOX.replace("name: Jane", "name: Eve"), [plan(LUCA)], "a mailbox that is there is changed"),
        (MAILBOX.replace("mail-1", "mail-2"), [plan(LUCA)], "target is changed"),
        (MAILBOX + "    catch_all: luca\n", [plan(LUCA)], "catch_all is changed"),
        (MAILBOX + "  other.example: {target: mail-1}\n", [plan(LUCA)], "other domains than before"),
        (MAILBOX + "mode: observe\n", [plan(LUCA)], "mode is changed"),
        (MAILBOX + "x: [\n", [plan(LUCA)], "is new, gone or wrong"),
        ("", [plan(LUCA)], "is new, gone or wrong"),
        (ALLOW.replace("2027-04-01", "2027-06-01"), [plan(SCANNER)], f"{FILE}:8: until is not within 30 days"),
        (ALLOW.replace(", until: 2027-04-01", ""), [plan(SCANNER)], "until is not within 30 days"),
        (ALLOW.replace("until: 2027-04-01", "until: soon"), [plan(SCANNER)], "until is not within 30 days"),
        (ALLOW.replace("198.51.100.7", "0.0.0.0/0"), [plan(SCANNER)], "0.0.0.0/0"),
        (BEFORE.replace('"their scanner"', '"x", until: 2027-04-01'), [plan()], "allow is changed or gone"),
    ],
)
def test_anything_else_waits_for_somebody(after: str, plans: list[dict[str, Any]], why: str) -> None:
    found = decided(after, *plans)
    assert not found.quick
    assert why in found.why


def test_it_is_off_unless_the_base_says_otherwise() -> None:
    assert "is off" in decided(MAILBOX, plan(LUCA), lane=classes("")).why
    assert "is off" in decided(MAILBOX, plan(LUCA), lane=classes("classes: [{change: everything}]")).why
    assert not decided(MAILBOX, plan(LUCA), path="inventory/quick_lane.yaml").quick
    assert not decided(MAILBOX, plan(LUCA), path="customers/../inventory/mail.yaml").quick
    assert "no class" in decided(MAILBOX, plan(LUCA), lane=LANE[1:]).why
    assert "no class" in decided(ALLOW, plan(SCANNER), lane=LANE[:1]).why
    elsewhere = decided(ALLOW, plan({**SCANNER}, customer="beta"), path="customers/beta/mail.yaml")
    assert "no class" in elsewhere.why
    assert decided(MAILBOX, plan(LUCA), alarms=["commit 1: asked by eve"]).why.endswith("asked by eve")


def checked(head: str, *conclusions: str | None, run: int = 7) -> list[dict[str, Any]]:
    return [
        of(
            "check-run",
            status="completed" if c else "in_progress",
            conclusion=c,
            details_url=f"https://x/actions/runs/{run}/job/1",
        )
        for c in conclusions
    ]


@pytest.mark.parametrize(
    ("conclusions", "merged"),
    [(["success", "skipped"], True), (["success", "failure"], False), (["success", None], False), ([], False)],
)
def test_it_is_merged_once_all_checks_are_good(
    github: GitHubSimulator, client: GitHub, conclusions: list[str | None], merged: bool
) -> None:
    head = "a" * 40
    number = github.pull(head)
    github.checks[head] = checked(head, *conclusions)
    assert quick_lane_.merge(client, number, head, "main", 0) is (Exit.DONE if merged else Exit.DIFFERS)
    assert (github.pulls[0]["merged_at"] is not None) is merged


def test_what_has_gone_on_is_not_merged_and_the_own_run_is_not_waited_for(
    github: GitHubSimulator, client: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = "a" * 40
    number = github.pull(head)
    github.checks["b" * 40] = checked(head, "success")
    assert quick_lane_.merge(client, number, "b" * 40, "main", 0) is Exit.DONE
    assert github.pulls[0]["merged_at"] is None
    github.checks[head] = checked(head, "success")
    assert quick_lane_.merge(client, number, head, "elsewhere", 0) is Exit.DONE
    assert github.pulls[0]["merged_at"] is None
    monkeypatch.setenv("GITHUB_RUN_ID", "9")
    github.checks[head] = [*checked(head, None, run=9), *checked(head, "success")]
    assert quick_lane_.merge(client, number, head, "main", 0) is Exit.DONE
    assert github.pulls[0]["merged_at"] is not None


def git(root: Path, *args: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@msp.example"]
    done = subprocess.run(["git", *who, *args], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("inventory/quick_lane.yaml", "classes: []\n", "inventory/quick_lane.yaml is another one in main by now"),
        (FILE, "domains: {}\n", f"{FILE} is another one in main by now"),
        ("customers/acme/dns.yaml", "zones: {}\n", "customers/acme/dns.yaml is another one in main by now"),
        ("customers/beta/mail.yaml", "domains: {}\n", ""),
    ],
)
def test_what_main_is_at_the_moment_of_the_merge_counts(tmp_path: Path, file: str, text: str, why: str) -> None:
    remote, clone = tmp_path / "remote", tmp_path / "clone"
    remote.mkdir()
    git(remote, "init", "--quiet", "-b", "main")
    for name, content in ((FILE, BEFORE), ("inventory/quick_lane.yaml", "classes: [{change: new-mailbox}]\n")):
        (remote / name).parent.mkdir(parents=True, exist_ok=True)
        (remote / name).write_text(content)
    git(remote, "add", "--all")
    git(remote, "commit", "--quiet", "-m", "base")
    base = git(remote, "rev-parse", "HEAD")
    git(tmp_path, "clone", "--quiet", str(remote), str(clone))
    assert newest(Git(clone), "main") == base
    (remote / file).parent.mkdir(parents=True, exist_ok=True)
    (remote / file).write_text(text)
    git(remote, "add", "--all")
    git(remote, "commit", "--quiet", "-m", "meanwhile")
    tip = newest(Git(clone), "main")
    assert tip != base
    assert overtaken(Git(clone), base, tip, {FILE: (BEFORE, MAILBOX)}) == why
    assert bool(of_base(Git(clone), tip)) is ("quick_lane" not in file)
    assert overtaken(Git(clone), "0" * 40, tip, {}) == "its base is not in main"


def test_it_is_not_merged_when_something_says_otherwise_by_then(github: GitHubSimulator, client: GitHub) -> None:
    head = "a" * 40
    number = github.pull(head)
    github.checks[head] = checked(head, "success")
    assert quick_lane_.merge(client, number, head, "main", 0, lambda: "the quick lane is off") is Exit.DIFFERS
    assert github.pulls[0]["merged_at"] is None
