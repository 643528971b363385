"""
A customer with a zone on PowerDNS, mailboxes in PostfixAdmin's tables on PostgreSQL, and a firewall with nftables
behind sshd, all of them real: from one pull request over all three to the end of a hand edit on each, by the workflows
as they are committed. GitHub's API and its runner are simulators of our own.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from mspctl import cli, vault
from tests.cli.test_notify import TOKEN, Service, service
from tests.forge.test_end_to_end import VAULT, ZONE, Desk, desk
from tests.servers import databases, firewalls, postfixadmin
from tests.servers.databases import PASSWORD
from tests.servers.firewalls import Firewall
from tests.servers.github import GitHubSimulator
from tests.servers.powerdns import KEY

__all__ = ["desk", "service"]

TARGETS = """\
targets:
  pdns-1: {{address: "{pdns}", secrets: {{api_key: PDNS_1_API_KEY}}, facets: {{dns: {{driver: powerdns}}}}}}
  mail-1:
    address: 127.0.0.1
    secrets: {{password: MAIL_1_DATABASE}}
    facets: {{mailboxes: {{driver: postfixadmin, database: postgresql, port: {mail}, tls: false}}}}
  fw-1:
    address: 127.0.0.1
    secrets: {{ssh_key: FW_1_SSH}}
    facets:
      firewall:
        driver: nftables
        port: {port}
        user: {user}
        host_key: {key}
        run_folder: {folder}/run
        boot_folder: {folder}/boot
        at_boot: elsewhere
"""
WWW = "apex: {NS: [ns1.msp.example.]}\nwww: {A: 192.0.2.80}\n"
MAIL = """\
domains:
  acme.example:
    target: mail-1
    mailboxes:
      paolo: {name: Paolo Zen, quota: 10 GiB, password: generated}   # the owner
"""
SEDE = """\
target: fw-1
zones: {wan: {interfaces: wan0, outside: true}, lan: lan0, guest: {interfaces: guest0, guest: true}, office: office0}
management: {from: 198.51.100.0/28, services: tcp/PORT}
rules:
  - {id: browse, from: lan, to: wan, services: [http, https], action: accept}
masquerade: [{from: lan, to: wan}]
"""
DEVICE = ("unchecked", "updates", "support", "reboot", "archive")  # what it tells of this machine
LATER = f"{datetime.now(UTC) + timedelta(days=60):%Y-%m-%d}"


@dataclass
class Customer:
    desk: Desk
    database: databases.Server
    firewall: Firewall
    heard: list[str] = field(default_factory=list)  # what all runs said

    @property
    def github(self) -> GitHubSimulator:
        return self.desk.github

    def fine(self, ends: dict[str, str]) -> None:
        """A run has done all that there was to do."""
        self.heard += self.desk.executor.said
        assert {*ends.values()} <= {"success", "skipped"}, self.desk.executor.said
        assert "success" in ends.values()

    def merged(self, number: int) -> str:
        """Plan, and merge, a pull request that mspctl opened; what its comment says."""
        pull = next(each for each in self.github.pulls if each["number"] == number)
        self.desk.git("fetch", "--quiet", "origin")
        body = planned(self, number, self.desk.git("rev-parse", f"origin/{pull['head']['ref']}"))
        self.fine(self.desk.merge(number))
        self.desk.git("fetch", "--quiet", "origin")
        return body

    def answered(self, words: str, *more: str) -> None:
        """Somebody pastes a command of the issue on their laptop."""
        self.desk.git("checkout", "--quiet", "--detach", "origin/main")
        assert cli.run(["-C", str(self.desk.clone), *shlex.split(words)[1:], *more]) == 0

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(self.database.connect()) as db:
            done = db.execute(statement)
            return done.fetchall() if done.description else []

    def password_of(self, address: str) -> str:
        """The one that was made for a mailbox, as it waits to be handed over."""
        kept = [f for (_, name), f in self.desk.executor.artifacts.items() if name.startswith("hand-over-")]
        (folder,) = kept
        opened = vault.decrypt((folder / "hand-over.yaml").read_bytes(), VAULT.encode())
        return str(json.loads(opened)["waiting"][f"{address} on mail-1 rev 1"])

    def is_nowhere(self, *secrets: str) -> None:
        """Not in what runs, comments and issues say, in what runs leave for each other, or in any branch."""
        said = "".join(self.heard) + json.dumps([*self.github.comments.values(), *self.github.issues.values()])
        for folder in self.desk.executor.artifacts.values():
            said += "".join(file.read_text(encoding="utf-8") for file in folder.iterdir())
        place = self.desk.remote.root / "customers"
        log = ["git", "log", "-p", "--all", "--", ":!.github"]  # whose words are those of our vault
        said += subprocess.run(log, cwd=place, capture_output=True, text=True, check=True).stdout
        assert [secret for secret in secrets if secret in said] == []

    def mailboxes(self) -> list[tuple[Any, ...]]:
        return self.sql("SELECT username, name, quota FROM mailbox ORDER BY username")

    def rules(self) -> str:
        return self.firewall.nft("-s", "list", "ruleset")

    def by_hand(self) -> None:
        """One edit on each of the three, past mspctl."""
        record = {"content": "203.0.113.9", "disabled": False}
        edit = {"name": "www.acme.example.", "type": "A", "ttl": 3600, "changetype": "REPLACE", "records": [record]}
        self.desk.server.call("PATCH", "/zones/acme.example.", {"rrsets": [edit]})
        self.sql("UPDATE mailbox SET name = 'Paolo Zen F.' WHERE username = 'paolo@acme.example'")
        self.firewall.nft("add", "element", "inet", "mspctl-sede", "zone_guest", "{ lan0 }")


@pytest.fixture
def customer(desk: Desk, service: Service, tmp_path: Path) -> Iterator[Customer]:
    (tmp_path / "mail").mkdir()
    with (
        databases.running(databases.Postgresql) as database,
        firewalls.running() as firewall,
        firewall.through_the_office() as port,
    ):
        postfixadmin.make_on(database, tmp_path / "mail")
        server = firewall.sshd
        said = {"pdns": desk.server.address, "mail": database.port, "port": port, "user": server.user}
        said |= {"key": server.host_key, "folder": firewall.folder}
        desk.write("inventory/targets.yaml", TARGETS.format(**said))
        desk.write("inventory/notify.yaml", "notify: {team: {url: TEAM_CHAT, alive: never}}\n")
        desk.keep("TEAM_CHAT", f"json://127.0.0.1:{service.port}/{TOKEN}")
        desk.keep("password", PASSWORD, "mail-1")
        desk.keep("ssh_key", server.client_key.decode(), "fw-1")
        desk.push("main")
        yield Customer(desk, database, firewall)


def planned(customer: Customer, number: int, head: str) -> str:
    """What the comment says once a commit was pushed to a pull request: its files are checked, and it is planned."""
    pull = next(each for each in customer.github.pulls if each["number"] == number)
    pull["head"]["sha"] = head
    customer.fine(customer.desk.executor.run("check", "pull_request", head))
    customer.fine(customer.desk.plan(number, head))
    (body,) = customer.github.bodies(number)
    return body


def proposed(customer: Customer) -> int:
    """A pull request, by its second commit over all three: its one comment tells all, and nothing is there yet."""
    desk, github = customer.desk, customer.github
    desk.write(ZONE, WWW)
    first = desk.push("change")
    number = github.pull(first)
    assert "www A" in planned(customer, number, first)
    desk.git("checkout", "--quiet", first)
    desk.write("customers/acme/mail.yaml", MAIL)
    desk.write("customers/acme/firewall/sede.yaml", SEDE.replace("PORT", str(customer.firewall.sshd.port)))
    desk.write("customers/acme/accepted.yaml", "accepted:\n" + "".join(map(_let_be, DEVICE)))
    body = planned(customer, number, desk.push("change"))
    for word in ("www A         192.0.2.80", "paolo         name Paolo Zen", "browse      lets through http, https"):
        assert word in body
    assert (desk.live(), customer.mailboxes(), customer.rules()) == ({}, [], "")
    return number


def applied(customer: Customer, number: int) -> tuple[str, str]:
    """Merged, each of them is as declared; it is asked itself. The password that was made, and what is kept of it."""
    desk, github = customer.desk, customer.github
    customer.fine(desk.merge(number))
    assert desk.live()["www.acme.example. A"] == ["192.0.2.80"]
    quota = 10_486 * 1_024_000  # whole megabytes of PostfixAdmin
    assert customer.mailboxes() == [("paolo@acme.example", "Paolo Zen", quota)]
    browse = 'iifname @zone_lan oifname @zone_wan tcp dport { 80, 443 } counter accept comment "rule:browse"'
    assert browse in customer.rules()
    assert "12 changes landed. Nothing is pending." in github.bodies(number)[-1]
    desk.git("fetch", "--quiet", "origin", "ledger")
    assert f"#{number}" in desk.git("log", "--format=%B", "FETCH_HEAD")
    password = customer.password_of("paolo@acme.example")
    ((kept,),) = customer.sql("SELECT password FROM mailbox")
    assert bcrypt.checkpw(password.encode(), kept.removeprefix("{BLF-CRYPT}").encode())
    # As Dovecot counts what it holds.
    customer.sql("INSERT INTO quota2 (username, bytes, messages) VALUES ('paolo@acme.example', 0, 0)")
    return password, str(kept)


@pytest.mark.soak
def test_three_targets_of_one_customer_from_a_pull_request_to_the_end_of_hand_edits(
    customer: Customer, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, github = customer.desk, customer.github
    for name, value in github.environment.items():
        monkeypatch.setenv(name, value)
    password, kept = applied(customer, proposed(customer))
    customer.fine(desk.drift())
    assert (github.issues, service.got) == ({}, [])

    # A hand edit on each: one issue of the customer with all three, and one message, once.
    customer.by_hand()
    for _ in range(2):
        customer.fine(desk.drift())
    (issue,) = github.issues.values()
    assert _outside(issue) == ["www A", "guest", "paolo"]
    title, message = service.said()
    assert title == "mspctl drift: 4 new"  # and that the firewall's next start would not bring it back
    for word in ("203.0.113.9", "guest0 · lan0", "Paolo Zen F."):
        assert word in issue["body"]
        assert word in message
    assert github.bodies(issue["number"]) == []

    # Each is ended by a command of the issue: one is accepted, one adopted, both by way of a pull request.
    accept = _answer(issue, "mspctl accept acme 'dns").replace("--why '…' --until '…'", f"--why moving --until {LATER}")
    customer.answered(accept, "--open-pr")
    assert "accepted  www A" in customer.merged(github.pulls[-1]["number"])
    customer.fine(desk.drift())
    assert _outside(issue) == ["guest", "paolo"]
    customer.answered(_answer(issue, "mspctl adopt acme mailboxes"), "--open-pr")
    assert "Plan: Nothing is due." in customer.merged(github.pulls[-1]["number"])
    customer.fine(desk.drift())
    assert (_outside(issue), issue["state"]) == (["guest"], "open")

    # The last one is taken back.
    customer.answered(_answer(issue, "mspctl apply --revert -c acme firewall"), "--yes")
    assert customer.rules().count("lan0") == 1
    customer.fine(desk.drift())
    assert (issue["state"], [*github.issues]) == ("closed", [issue["number"]])
    assert service.got == []
    assert desk.live()["www.acme.example. A"] == ["203.0.113.9"]
    assert customer.mailboxes()[0][1] == "Paolo Zen F."
    adopted = MAIL.replace("Paolo Zen,", "Paolo Zen F.,").strip()
    assert desk.git("show", "origin/main:customers/acme/mail.yaml") == adopted
    key = customer.firewall.sshd.client_key.decode().splitlines()[1:-1]
    customer.is_nowhere(VAULT, KEY, PASSWORD, TOKEN, password, kept, *key)


def _let_be(what: str) -> str:
    return f"- {{resource: firewall/sede, finding: firewall.{what}, why: a test, who: us, until: {LATER}}}\n"


def _outside(issue: dict[str, Any]) -> list[str]:
    """What an issue says was changed outside, at its top."""
    top = issue["body"].partition("### `acme`")[0]
    return re.findall(r"^# changed outside  (\S+(?: A)?) ", top, re.MULTILINE)


def _answer(issue: dict[str, Any], begins: str) -> str:
    """A command that an issue says."""
    said: list[str] = re.findall(r"`(mspctl [^`]*)`", issue["body"])
    return next(each for each in said if each.startswith(begins))
