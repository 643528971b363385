"""Mail from YAML to a Modoboa and back, and a grown one into YAML, through the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mspctl import hashes, vault
from tests.cli import mailing
from tests.cli.conftest import mail_repository
from tests.cli.mailing import FILE, KEY, LUCA, applied, change
from tests.conftest import Run, Said
from tests.servers.modoboa import Modoboa
from tests.servers.name_servers import free_port

TARGETS = """\
targets:
  mail-2:
    address: {address}
    secrets: {{token: MAIL_2_TOKEN}}
    facets:
      mailboxes: {{driver: modoboa, writes_per_second: 999, reads_per_minute: 9999, calls_per_minute: 9999}}
"""
MAIL = mailing.MAIL.replace("mail-1", "mail-2")


@pytest.fixture
def run(a_modoboa: Modoboa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in a new repository with a mail server."""
    monkeypatch.setenv("MSPCTL_SECRET_MAIL_2_TOKEN", a_modoboa.token)
    files = {"inventory/targets.yaml": TARGETS.format(address=a_modoboa.address), str(FILE): MAIL}
    return mail_repository(tmp_path, files, monkeypatch, capsys)


def account(server: Modoboa, address: str) -> dict[str, Any]:
    (found,) = [row for row in server.rows("accounts") if row["username"] == address]
    return found


def aliases(server: Modoboa) -> dict[str, list[str]]:
    return {row["address"]: row["recipients"] for row in server.rows("aliases")}


def test_plan_apply_drift_adopt_and_revert(run: Run, a_modoboa: Modoboa) -> None:
    assert run("plan").code == 2
    assert applied(run).out.splitlines()[-1] == "5 changes landed. Nothing is pending."
    to = ["consulente@partner.example", "luca@acme.example", "paolo@acme.example"]
    assert aliases(a_modoboa) == {"p.zen@acme.example": ["paolo@acme.example"], "tutti@acme.example": to}

    paolo = account(a_modoboa, "paolo@acme.example")
    changed = {"last_name": "Zen-Ferri", "mailbox": {"quota": "20G"}}
    a_modoboa.call("PATCH", f"/accounts/{paolo['pk']}/", changed)
    new = {"address": "ordini@acme.example", "recipients": ["acquisti@acme.example"], "enabled": True}
    a_modoboa.call("POST", "/aliases/", new)
    drift = run("drift")
    assert drift.code == 2
    assert "Paolo Zen-Ferri" in drift.out
    assert run("apply").code == 0  # a merge leaves it alone
    assert run("adopt", "acme", "--unmanaged").code == 0
    assert FILE.read_text() == MAIL.replace("Paolo Zen, quota: 10 GiB", "Paolo Zen-Ferri, quota: 20 GiB").replace(
        "acquisti: {quota: 5 GiB}", "acquisti: {quota: 5 GiB, aliases: [ordini]}"
    )
    assert applied(run).out.splitlines()[-1] == "Nothing was changed. Nothing is pending."

    a_modoboa.call("PATCH", f"/accounts/{paolo['pk']}/", {"is_active": False, "mailbox": {"quota": "1"}})
    assert "p.zen" in run("drift").out  # Modoboa has switched it off along with him
    assert run("apply", "--revert").code == 0
    found = account(a_modoboa, "paolo@acme.example")
    assert (found["is_active"], found["mailbox"]["quota"]) == (True, str(20 * 1024))
    assert run("drift").code == 0


def test_a_password_is_nowhere_but_where_it_belongs(run: Run, a_modoboa: Modoboa, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "mspctl", "-v", "apply"], capture_output=True, text=True, check=True)
    said = [Said(0, done.stdout, done.stderr)]
    said += [run("drift", "--output", "json"), run("show", "acme", "--history"), run("plan")]
    made = json.loads(vault.decrypt(Path("customers/acme/hand-over.yaml").read_bytes(), KEY.encode()))
    word = made["waiting"]["paolo@acme.example on mail-2 rev 1"]
    held = {row["username"]: row["password"] for row in a_modoboa.sql("SELECT username, password FROM core_user")}
    for address, password in (("paolo@acme.example", word), ("luca@acme.example", LUCA)):
        _, _, rounds, salt, _ = held[address].removeprefix("{SHA512-CRYPT}").split("$")
        hashed = hashes.sha512_crypt(password.encode(), salt, int(rounds.removeprefix("rounds=")))
        assert held[address] == f"{{SHA512-CRYPT}}{hashed}"
    subprocess.run(["git", "gc", "--quiet"], check=False)
    ledger = subprocess.run(["git", "log", "-p", "--all"], capture_output=True, text=True, check=True).stdout
    assert "generated rev 1" in ledger
    for secret in (word, LUCA, a_modoboa.token, *held.values()):
        assert all(secret not in each.out + each.err for each in said)
        assert secret not in ledger
        for folder, _, files in os.walk(tmp_path):
            assert all(secret.encode() not in Path(folder, file).read_bytes() for file in files)


def test_who_leaves_is_out_of_groups_and_others_get_the_mail(run: Run, a_modoboa: Modoboa) -> None:
    applied(run)
    change("      luca: {name: Luca Rossi, quota: 2 GiB, password: {secret: LUCA, rev: 1}}\n", "")
    text = FILE.read_text()
    leaving = "    leavers:\n      luca: {left: 2026-01-01, copy_to: acquisti, keep_until: 2190-01-01}\n"
    FILE.write_text(text + leaving)
    applied(run)
    held = aliases(a_modoboa)
    assert held["luca@acme.example"] == ["acquisti@acme.example"]
    assert held["tutti@acme.example"] == ["consulente@partner.example", "paolo@acme.example"]
    luca = account(a_modoboa, "luca@acme.example")
    assert (luca["is_active"], luca["first_name"], luca["mailbox"]["quota"]) == (False, "Luca", "2048")
    FILE.write_text(text + leaving.replace("copy_to: acquisti", "reply: I have left"))
    planned = run("plan")
    assert planned.code == 1
    assert "mail.yaml:10" in planned.out
    assert "Modoboa lets only its owner set a mailbox's automatic reply (leave reply out)" in planned.out


def test_what_cannot_be_asked_is_said_in_one_line(
    run: Run, a_modoboa: Modoboa, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mspctl.transports.http.PAUSE", 0)
    with monkeypatch.context() as patched:
        patched.setenv("MSPCTL_SECRET_MAIL_2_TOKEN", "not the token")
        planned = run("plan")
        assert planned.code == 1
        assert f"{a_modoboa.address} does not take our key (401 Unauthorized)" in planned.out
        assert "not the token" not in planned.out + planned.err
    away = f"http://127.0.0.1:{free_port()}"
    Path("inventory/targets.yaml").write_text(TARGETS.format(address=away))
    assert run("plan").code == 4
    said = run("import", "--from", "modoboa", "-c", "grown", "-z", "grown.example")
    assert said.code == 1
    assert f"{away} cannot be reached (Connection refused)" in said.err


# -- import -----------------------------------------------------------------------------------------------------

PASSWORD = {"password": "Grown 2 Long", "role": "SimpleUsers", "is_active": True}
ANNA, OFF = {"first_name": "Anna", "last_name": "Bo"}, {"is_active": False}
GROWN: tuple[tuple[str, dict[str, Any]], ...] = (
    ("domains", {"name": "grown.example", "quota": "30000"}),
    ("domains", {"name": "perché.example"}),
    ("domains", {"name": "doppio.example"}),
    ("accounts", {"username": "anna@grown.example", **ANNA, "mailbox": {"quota": "1000"}}),
    ("accounts", {"username": "bruno@grown.example", "mailbox": {"quota": "0"}}),
    ("accounts", {"username": "carlo@grown.example", **OFF, "mailbox": {"quota": "1", "is_send_only": True}}),
    ("accounts", {"username": "davide@grown.example", **OFF, "mailbox": {"quota": "1"}}),
    ("accounts", {"username": "elena@grown.example", "role": "DomainAdmins", "mailbox": {"quota": "2G"}}),
    ("accounts", {"username": "noreply@grown.example", "mailbox": {"quota": "1", "is_send_only": True}}),
    ("accounts", {"username": "info@perché.example", "mailbox": {"use_domain_quota": True}}),
    ("accounts", {"username": "m@doppio.example", "mailbox": {"quota": "1"}}),
    ("aliases", {"address": "anna@grown.example", "recipients": ["anna@grown.example", "boss@partner.example"]}),
    ("aliases", {"address": "elena@grown.example", "recipients": ["Elena@Partner.Example"]}),
    ("aliases", {"address": "vendite@grown.example", "recipients": ["anna@grown.example"]}),
    ("aliases", {"address": "tutti@grown.example", "recipients": ["anna@grown.example", "info@perché.example"]}),
    ("aliases", {"address": "fuori@grown.example", "recipients": ["x@partner.example"]}),
    ("aliases", {"address": "@grown.example", "recipients": ["anna@grown.example"]}),
    ("aliases", {"address": "spento@grown.example", "recipients": ["anna@grown.example"], "enabled": False}),
    ("aliases", {"address": "capo@grown.example", "recipients": ["spento@grown.example"]}),
    ("aliases", {"address": "fiera@grown.example", "recipients": ["x@y.example"], "expire_at": "2020-01-01T00:00:00Z"}),
    ("aliases", {"address": "uno@doppio.example", "recipients": ["x@partner.example"]}),
    ("aliases", {"address": "due@doppio.example", "recipients": ["x@partner.example"]}),
)  # fmt: skip
IMPORTED = """\
domains:
  grown.example:
    target: mail-2
    mailboxes:
      anna: {name: Anna Bo, quota: 1000 MiB, forwards: [boss@partner.example], aliases: [vendite]}
      bruno: {}
      carlo: {quota: 1 MiB, enabled: false}
      elena: {quota: 2 GiB, forwards: [elena@partner.example], keep_copy: false}
    groups: {fuori: [x@partner.example], tutti: [anna, info@xn--perch-fsa.example]}
    catch_all: [anna]
    alias_domains: [grown.it]
    limits: {quota: 30000 MiB}
  xn--perch-fsa.example:
    target: mail-2
    mailboxes:
      info: {}
"""
LEFT_OUT = {
    "capo": "sends mail to spento@grown.example, which is not there",
    "davide": "nobody can log in, and its mail is not refused, nor sent on only",
    "doppio.example": "uno@doppio.example is there twice, in different spellings (left out whole)",
    "fiera": "is switched off",
    "noreply": "its owner can log in, and its mail is refused or lost",
    "spento": "is switched off",
}


def grown(server: Modoboa) -> dict[str, Any]:
    for kind, said in GROWN:
        usual = PASSWORD if kind == "accounts" else {"enabled": True} if kind == "aliases" else {}
        server.call("POST", f"/{kind}/", {**usual, **said})
    target = next(row["pk"] for row in server.rows("domains") if row["name"] == "grown.example")
    server.call("POST", "/domainaliases/", {"name": "grown.it", "target": target, "enabled": True})
    server.sql("UPDATE admin_alias SET address = 'Uno@doppio.example' WHERE address = 'due@doppio.example'")
    return held(server)


def held(server: Modoboa) -> dict[str, Any]:
    return {kind: server.rows(kind) for kind in ("domains", "accounts", "aliases", "domainaliases")}


def test_a_grown_server_comes_in_and_nothing_is_pending(run: Run, a_modoboa: Modoboa) -> None:
    before = grown(a_modoboa)
    domains = ["-z", "grown.example", "-z", "perché.example", "-z", "doppio.example"]
    said = run("import", "--from", "modoboa", "-c", "grown", *domains)
    assert said.code == 3
    for name, why in LEFT_OUT.items():
        assert any(name in line and why in line for line in (said.out + said.err).splitlines()), name
    assert Path("customers/grown/mail.yaml").read_text().split() == IMPORTED.split()
    assert run("plan", "--customer", "grown").code == 0
    assert run("apply", "--customer", "grown").code == 0
    assert held(a_modoboa) == before
    assert run("drift", "--customer", "grown").code == 0


def test_import_wants_to_know_whose_domains_they_are(run: Run, a_modoboa: Modoboa) -> None:
    for name in ("grown.example", "perché.example"):
        a_modoboa.call("POST", "/domains/", {"name": name})
    said = run("import", "--from", "modoboa", "-c", "grown")
    assert said.code == 1
    known = "mail-2 has grown.example, xn--perch-fsa.example"
    assert f"--zone: is needed: which domains are this customer's? {known}" in said.err
    said = run("import", "--from", "mail-2", "-c", "grown", "-z", "grwn.example")
    assert "--zone: grwn.example is not on mail-2 (did you mean grown.example?)" in said.err
    assert not Path("customers/grown").exists()


def test_limits_that_are_too_tight_already_are_left_out(run: Run, a_modoboa: Modoboa) -> None:
    a_modoboa.call("POST", "/domains/", {"name": "grown.example"})
    box = {"username": "anna@grown.example", "mailbox": {"quota": "500"}}
    a_modoboa.call("POST", "/accounts/", {**PASSWORD, **box})
    (row,) = a_modoboa.rows("domains")
    a_modoboa.call("PATCH", f"/domains/{row['pk']}/", {"quota": "400"})
    said = run("import", "--from", "modoboa", "-c", "grown", "-z", "grown.example")
    assert said.code == 3
    assert "allows 400 MiB, and all mailboxes together may have 500 MiB (left out)" in said.out + said.err
    assert "limits" not in Path("customers/grown/mail.yaml").read_text()
