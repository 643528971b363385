"""Lists, limits and keys from YAML to a mail server at work, and back, through the command line."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import dkim
import pytest

from mspctl import cli
from tests.cli.mailing import FILE, applied, change
from tests.conftest import Run, Said
from tests.servers.mail_stack import MailStack, wait

WORD = "a word for the mailbox"
TARGETS = """\
targets:
  files: {{facets: {{dns: {{driver: zonefile, directory: zones, nameservers: ns.msp.example}}}}}}
  mail-1:
    publish: {{mx: 10 mx.msp.example.}}
    facets:
      mailboxes: {{driver: postfixadmin, database: sqlite, file: {stack.database}}}
      filter: {{driver: rspamd, via: local, config: {stack.etc}/rspamd, data: {stack.rspamd_data}}}
"""
MAIL = """\
domains:
  {domain}:
    target: mail-1
    publish: {{}}
    mailboxes:
      {name}: {{password: {{secret: {secret}, rev: 1}}}}
"""
PEOPLE = {"acme": "paolo", "beta": "anna"}
ZONE = Path("zones/acme.example.zone")


@pytest.fixture
def run(
    mail_stack: MailStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """Runs a command in a repository of two customers, whose mail is on one server."""

    def command(*arguments: str) -> Said:
        capsys.readouterr()
        said = Said(cli.run([*arguments]), *capsys.readouterr())
        assert "Traceback" not in said.err
        return said

    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "GITHUB_ACTOR"):
        monkeypatch.delenv(name, raising=False)
    mail_stack.clear()
    files = {"inventory/targets.yaml": TARGETS.format(stack=mail_stack)}
    for customer, person in PEOPLE.items():
        folder, domain = f"customers/{customer}", f"{customer}.example"
        files[f"{folder}/customer.yaml"] = f"name: {customer.title()}\n"
        files[f"{folder}/dns.yaml"] = f"zones: {{{domain}: {{target: files}}}}\n"
        files[f"{folder}/dns/{domain}.yaml"] = "www: {A: 192.0.2.80}\n"
        files[f"{folder}/mail.yaml"] = MAIL.format(domain=domain, name=person, secret=person.upper())
        monkeypatch.setenv(f"MSPCTL_SECRET_{person.upper()}", WORD)
    for file, text in files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    (tmp_path / "zones").mkdir()
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    monkeypatch.chdir(tmp_path)
    assert command("ledger", "init").code == 0
    yield command
    for name in ("mspctl", "dkim"):
        shutil.rmtree(mail_stack.etc / "rspamd" / name, ignore_errors=True)


def declare(text: str, file: Path = FILE) -> None:
    """Put further lines into the domain."""
    file.write_text(file.read_text() + "".join(f"    {line}\n" for line in text.splitlines()))


def keys(zone: Path = ZONE) -> dict[str, bytes]:
    """Selector → the text of its key, as the zone has it."""
    found = re.findall(r"^([a-z0-9-]+)\._domainkey\s+.*?TXT\s+(.*)$", zone.read_text(), re.MULTILINE)
    return {selector: "".join(re.findall(r'"([^"]*)"', text)).encode() for selector, text in found}


def signed_by(stack: MailStack, subject: str, known: dict[str, bytes]) -> str:
    """The selector of a message that Paolo sends, if its signature is good by what the zone says."""
    assert stack.submit("paolo@acme.example", WORD, "x@elsewhere.example", subject).taken
    raw = stack.wait_for_sent(subject).raw

    def ask(name: bytes, timeout: int = 5) -> bytes | None:
        return known.get(name.decode().partition(".")[0])

    if not dkim.verify(raw, dnsfunc=ask):
        return ""  # rspamd has not read its file again yet
    assert not dkim.verify(raw.replace(b"hello", b"hellO"), dnsfunc=ask)
    return str(re.findall(r"\bs=([a-z0-9-]+)", raw.decode())[0])


def test_one_apply_makes_the_key_and_publishes_it_and_mail_is_signed(run: Run, mail_stack: MailStack) -> None:
    said = applied(run)
    assert said.out.splitlines()[-1].endswith("Nothing is pending.")
    known = keys()
    assert known.keys() == {"mail"}
    assert known["mail"].startswith(b"v=DKIM1; k=rsa; p=MIIBIjAN")
    assert keys(Path("zones/beta.example.zone"))["mail"] != known["mail"]
    wait(lambda: signed_by(mail_stack, f"signed {datetime.now(UTC)}", known) == "mail", "a signature")
    secret = (mail_stack.etc / "rspamd/dkim/acme.example.mail.key").read_text().splitlines()[1]
    ledger = subprocess.run(["git", "log", "-p", "--all"], capture_output=True, text=True, check=True).stdout
    assert "v=DKIM1" in ledger
    assert all(secret not in text for text in (said.out, said.err, ledger))


def test_one_customers_lists_change_that_customers_verdict_only(run: Run, mail_stack: MailStack) -> None:
    declare('allow: [{from: 203.0.113.66, why: "their scanner"}]\nblock: [{from: 198.51.100.0/24, why: spam}]')
    applied(run)

    def verdict(address: str, client: str) -> str:
        subject = f"to {address} from {client} {datetime.now(UTC)}"
        spam = EmailMessage()
        spam["From"], spam["To"], spam["Subject"] = "win@sender.example", "undisclosed-recipients:;", subject
        spam.set_content('<a href="http://192.0.2.5/x">http://bank.example/</a>', subtype="html")
        if not mail_stack.deliver(address, body=spam, sender="win@sender.example", client=client).taken:
            return "refused"

        def there() -> list[str]:
            return [name for name in ("INBOX", "Junk") if mail_stack.messages(address, WORD, name, subject)]

        return wait(there, subject)[0]

    wait(lambda: verdict("paolo@acme.example", "198.51.100.7") == "refused", "the list")
    assert verdict("paolo@acme.example", "203.0.113.66") == "INBOX"
    assert verdict("paolo@acme.example", "203.0.113.67") == "Junk"
    assert verdict("anna@beta.example", "203.0.113.66") == "Junk"
    assert verdict("anna@beta.example", "198.51.100.7") == "Junk"
    said = mail_stack.deliver("paolo@acme.example", client="198.51.100.9")
    assert (said.code, said.text) == (554, "5.7.1 Spam message rejected")


def test_a_domain_without_anything_for_the_filter_is_no_news(run: Run, mail_stack: MailStack) -> None:
    assert re.search(r"create +mail._domainkey +a DKIM key", run("plan").out)
    beta = Path("customers/beta/mail.yaml")
    beta.write_text(beta.read_text().replace("    publish: {}\n", ""))
    applied(run)
    assert "will be made" not in (said := run("plan").out)
    assert "filter beta.example" not in said


def test_sizes_and_rates_are_told_to_who_sends(run: Run, mail_stack: MailStack) -> None:
    declare("limits: {message_size: 20 KiB, sending_rate: 3/1h}")
    applied(run)
    large = "x" * 70 + "\n" + ("x" * 70 + "\n") * 400

    def refused() -> bool:
        said = mail_stack.deliver("paolo@acme.example", "large", large)
        return (said.code, said.text) == (554, "5.7.1 acme.example takes messages of at most 20480 bytes")

    wait(refused, "the limit")
    assert mail_stack.deliver("anna@beta.example", "large", large).taken
    said = [mail_stack.submit("paolo@acme.example", WORD, f"{n}@elsewhere.example", "many") for n in range(4)]
    assert [each.code for each in said] == [250, 250, 250, 451]
    assert "acme.example may send 3/1h messages; try again later" in said[3].text
    assert mail_stack.submit("anna@beta.example", WORD, "x@elsewhere.example", "few").taken


def test_a_selector_is_changed_and_nothing_is_lost_on_the_way(run: Run, mail_stack: MailStack) -> None:
    applied(run)
    first = keys()
    change("publish: {}", "publish: {selector: k2}")
    said = run("apply")
    assert said.code == 3  # the old key waits for somebody to name it, and its record with it
    assert "what it holds would be lost" in said.out
    assert keys().keys() == {"k2", "mail"}
    assert keys()["mail"] == first["mail"]
    assert (mail_stack.etc / "rspamd/dkim/acme.example.mail.key").exists()

    change("publish: {selector: k2}", "publish: {selector: k2, old_selectors: mail}")
    before = keys()
    assert applied(run).out.splitlines()[-1] == "Nothing was changed. Nothing is pending."
    assert keys() == before

    change("publish: {selector: k2, old_selectors: mail}", "publish: {selector: k2}")
    tomorrow = f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%d}"
    approval = {"resource": "filter/acme.example/mail._domainkey", "why": "no mail with it any more", "until": tomorrow}
    Path("customers/acme/approvals.yaml").write_text(json.dumps({"approvals": [approval]}))
    assert run("apply").code == 3  # that a record goes was not in the plan, so it is in the next one
    applied(run)
    assert keys() == {"k2": before["k2"]}
    assert not (mail_stack.etc / "rspamd/dkim/acme.example.mail.key").exists()
    wait(lambda: signed_by(mail_stack, f"anew {datetime.now(UTC)}", keys()) == "k2", "the new key")
    assert "dkim k2" in run("show", "acme").out
    assert "dkim mail" not in run("show", "acme").out


def test_the_last_line_goes_like_any_other(run: Run, mail_stack: MailStack) -> None:
    change("    publish: {}\n", "")
    before = FILE.read_text()
    declare("block: [{from: bad.example, why: spam}]")
    applied(run)
    file = mail_stack.etc / "rspamd/mspctl/acme.example.json"
    assert "bad.example" in file.read_text()
    FILE.write_text(before)
    applied(run)
    assert not file.exists()


def test_an_entry_ends_by_itself(run: Run, mail_stack: MailStack) -> None:
    today = datetime.now(UTC)
    declare(f"block: [{{from: bad.example, why: spam, until: {today - timedelta(days=1):%Y-%m-%d}}}]")
    declare(f"allow: [{{from: 203.0.113.1, why: test, until: {today + timedelta(days=1):%Y-%m-%d}}}]")
    applied(run)
    text = (mail_stack.etc / "rspamd/mspctl/acme.example.json").read_text()
    assert "bad.example" not in text
    assert f'"until": "{today + timedelta(days=2):%Y-%m-%d}T00:00:00Z"' in text
    assert run("apply", "--due").code == 0


def test_what_somebody_changed_is_drift_and_is_reverted_or_adopted(run: Run, mail_stack: MailStack) -> None:
    declare("allow:\n  - {from: fornitore.example, must_pass: dkim, why: orders}   # paper\nblock: []")
    applied(run)
    file = mail_stack.etc / "rspamd/mspctl/acme.example.json"
    before = file.read_text()
    edited = before.replace('"must_pass": "dkim"', '"must_pass": "spf"').replace(
        '"dkim": {', '"block": {"198.51.100.7": {"why": "spam"}}, "dkim": {'
    )
    file.write_text(edited)
    drift = run("drift")
    assert drift.code == 2
    assert "must_pass" in drift.out
    assert run("apply").code == 0  # a merge leaves it alone
    assert file.read_text() == edited
    assert run("apply", "--revert").code == 0
    assert '"must_pass": "dkim"' in file.read_text()

    file.write_text(edited)
    assert run("adopt", "acme", "--unmanaged").code == 0
    assert "{from: fornitore.example, must_pass: spf, why: orders}   # paper" in FILE.read_text()
    assert "from: 198.51.100.7" in FILE.read_text()
    assert applied(run).out.splitlines()[-1] == "Nothing was changed. Nothing is pending."


def test_a_run_can_be_undone(run: Run, mail_stack: MailStack) -> None:
    applied(run)
    before = FILE.read_text()
    declare('block: [{from: bad.example, why: spam, ticket: "4711", until: 2190-06-30}]\nlimits: {sending_rate: 9/1h}')
    applied(run, "--reason", "#7")
    FILE.write_text(before)
    applied(run, "--reason", "#8")
    assert run("undo", "acme", "#8").code == 0
    again = FILE.read_text()
    assert "    limits:\n      sending_rate: 9/1h\n" in again
    assert "- {from: bad.example, why: spam, until: '2190-06-30', ticket: 4711}\n" in again
    applied(run)


def test_two_customers_at_once(run: Run, mail_stack: MailStack) -> None:
    applied(run)
    for customer in PEOPLE:
        declare("block: [{from: bad.example, why: spam}]", Path(f"customers/{customer}/mail.yaml"))
    command = [sys.executable, "-m", "mspctl", "apply", "--customer"]
    runs = [subprocess.Popen([*command, customer], stdout=subprocess.PIPE, text=True) for customer in PEOPLE]
    ends = [(process.communicate(timeout=120)[0], process.returncode) for process in runs]
    assert [code for _, code in ends] == [0, 0], ends
    assert run("plan").code == 0
    for customer in PEOPLE:
        text = (mail_stack.etc / f"rspamd/mspctl/{customer}.example.json").read_text()
        assert "bad.example" in text
        assert '"mail": ' in text


def test_a_file_that_makes_no_sense_is_one_line(run: Run, mail_stack: MailStack) -> None:
    applied(run)
    file = mail_stack.etc / "rspamd/mspctl/acme.example.json"
    file.write_text(file.read_text()[:-5])
    said = run("plan")
    assert said.code == 1
    (line,) = [line for line in said.out.splitlines() if "acme.example.json" in line]
    assert "is not as mspctl writes it" in line
