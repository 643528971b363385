"""Senders who are allowed or blocked, by somebody at the desk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.mailing import FILE, MAIL
from tests.conftest import Run

ALLOW = ("mail", "allow", "acme", "acme.example")
BLOCK = ("mail", "block", "acme", "acme.example")
WHY = ("--why", "ordini respinti")
DKIM = ("--must-pass", "dkim")


@pytest.fixture
def run(mail_run: Run, tmp_path: Path) -> Run:
    """With a mail filter that gives no answer: what is typed is checked all the same."""
    targets = Path("inventory/targets.yaml")
    place = f"config: {tmp_path}/rspamd, data: {tmp_path}/rspamd"
    targets.write_text(f"{targets.read_text()}      filter: {{driver: rspamd, via: local, {place}}}\n")
    return mail_run


def test_a_sender_is_one_line_and_the_words_say_what_for(run: Run) -> None:
    said = run(*ALLOW, "Fornitore.example", *WHY, *DKIM, "--until", "2190-06-30", "--ticket", "4711")
    assert said.code == 0, said.err
    lines = ("from: Fornitore.example", "must_pass: dkim", "why: ordini respinti", "until: 2190-06-30", "ticket: 4711")
    assert FILE.read_text() == MAIL + "    allow:\n      - " + "\n        ".join(lines) + "\n"
    words = (
        "mail from Fornitore.example that passes dkim is not taken for spam, for acme.example only, until 2190-06-30"
    )
    assert f"  allow  {words}" in said.out
    assert run(*BLOCK, "198.51.100.0/24", *WHY).code == 0
    assert FILE.read_text().endswith("    block:\n      - from: 198.51.100.0/24\n        why: ordini respinti\n")
    assert run("validate").code == 0
    assert run(*ALLOW, "203.0.113.7", *WHY).code == 0
    assert FILE.read_text().count("from: ") == 3


def test_a_dry_run_writes_nothing(run: Run) -> None:
    assert run(*BLOCK, "198.51.100.7", *WHY, "--dry-run").out.splitlines()[-1] == "Nothing was written."
    assert FILE.read_text() == MAIL


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*ALLOW, "fornitore.example", *WHY], "SENDER: anybody can write as fornitore.example (add must_pass: dkim"),
        ([*ALLOW, "198.51.100.7", *WHY, *DKIM], "SENDER: must_pass is for names"),
        ([*ALLOW, "a b", *WHY, *DKIM], "SENDER: 'a b' is"),
        ([*ALLOW, "f.example", *WHY, *DKIM, "--until", "soon"], "--until: 'soon' is not a day or a time"),
        ([*ALLOW, "f.example", *WHY, *DKIM, "--until", "2024-02-29"], "--until: 2024-02-29 is over"),
        ([*BLOCK, "f.example", "--why", "a\nb"], "--why: should be one line"),
        ([*BLOCK, "f.example", *WHY, "--asked-by", "maria"], "--asked-by: maria is no contact in customer.yaml"),
        (
            [*BLOCK[:3], "acne.example", "f.example", *WHY],
            "DOMAIN: acne.example is no mail domain in customers/acme/mail",
        ),
        ([*BLOCK[:3], "a b", "f.example", *WHY], "DOMAIN: 'a b' is not a domain name"),
    ],
)
def test_what_is_wrong_names_what_was_typed(run: Run, arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert result.code == 1
    assert said in result.err.splitlines()[0]
    assert FILE.read_text() == MAIL


def test_a_sender_that_is_on_a_list_already(run: Run) -> None:
    assert run(*BLOCK, "f.example", *WHY).code == 0
    before = FILE.read_text()
    assert (
        "SENDER: f.example is in this list already, at customers/acme/mail.yaml:11"
        in run(*BLOCK, "f.example", *WHY).err
    )
    assert "SENDER: it is blocked at customers/acme/mail.yaml:11" in run(*ALLOW, "f.example", *WHY, *DKIM).err
    assert FILE.read_text() == before


def test_without_a_filter_nobody_would_heed_it(mail_run: Run) -> None:
    said = mail_run(*BLOCK, "f.example", *WHY)
    assert "needs a mail filter, and target mail-1 has no facet filter" in said.err
    assert FILE.read_text() == MAIL


def test_what_a_baseline_lists_stays(run: Run) -> None:
    Path("inventory/baselines").mkdir()
    entry = "{from: x.example, why: spam}"
    Path("inventory/baselines/standard.yaml").write_text(
        f"mail: {{domains: {{acme.example: {{target: mail-1, block: [{entry}]}}}}}}\n"
    )
    Path("customers/acme/customer.yaml").write_text("name: Acme\nbaseline: standard\n")
    FILE.write_text(MAIL + "    block: {add: [{from: y.example, why: spam}]}\n")
    assert run(*BLOCK, "f.example", *WHY).code == 0
    assert (
        "    block: {add: [{from: y.example, why: spam}, {from: f.example, why: ordini respinti}]}" in FILE.read_text()
    )
    assert "--why: should be one line" in run(*BLOCK, "g.example", "--why", "a\nb").err
