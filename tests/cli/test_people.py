"""People who come, leave and are renamed, by somebody at the desk."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.mailing import FILE, MAIL, applied, change, sql
from tests.conftest import Run

NEXT = "Nothing has changed on mail-1 yet: mspctl apply -c acme does it, or commit customers/acme and merge it."


@pytest.fixture
def run(mail_run: Run) -> Run:
    return mail_run


def aliases() -> dict[str, str]:
    return dict(sql("SELECT address, goto FROM alias WHERE active"))


# -- add --------------------------------------------------------------------------------------------------------


def test_a_new_mailbox_is_one_line_and_nothing_else_changes(run: Run) -> None:
    applied(run)
    said = run(
        "mail", "add", "acme", "anna", "--name", "Anna Bo", "--quota", "5 GiB", "--alias", "a.bo", "--group", "tutti"
    )
    assert said.code == 0
    line = "      anna: {name: Anna Bo, quota: 5 GiB, password: generated, aliases: [a.bo]}\n"
    assert FILE.read_text() == MAIL.replace("    groups:", line + "    groups:").replace(
        "consulente@partner.example]", "consulente@partner.example, anna]"
    )
    assert f"+{line.rstrip()}" in said.out.splitlines()
    assert "2 to create, 1 to change, 0 to delete." in said.out
    assert said.out.splitlines()[-1] == NEXT
    applied(run)
    assert aliases()["a.bo@acme.example"] == "anna@acme.example"
    assert run("secret", "hand-over", "acme", "anna", "--print").code == 0


def test_a_dry_run_shows_the_same_and_writes_nothing(run: Run) -> None:
    said = run("mail", "add", "acme", "anna@acme.example", "--dry-run")
    assert said.code == 0
    assert "+ create  anna" in said.out
    assert said.out.splitlines()[-1] == "Nothing was written."
    assert FILE.read_text() == MAIL


def test_a_mailbox_that_is_only_shared_has_no_password(run: Run) -> None:
    assert (
        run("mail", "add", "acme", "info", "--no-password", "--forward", "paolo", "--forward", "x@y.example").code == 0
    )
    assert "      info: {forwards: [paolo, x@y.example]}\n" in FILE.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["anna", "--quota", "5gb"], "--quota: '5gb' is not a size (write 5 GiB)"),
        (["anna", "--name", "a\nb"], "--name: should be one line"),
        (["anna", "--alias", "tutti"], "--alias: tutti is a group already, at customers/acme/mail.yaml:9"),
        (["anna", "--forward", "nobody"], "--forward: 'nobody' is no address of acme.example"),
        (["anna", "--group", "tuti"], "--group: there is no group tuti in acme.example (did you mean tutti?)"),
        (
            ["anna", "--shared-with", "paolo"],
            "mail-1 cannot hold this: whose mailbox others use is Dovecot's affair",
        ),
        (["paolo"], "ADDRESS: paolo@acme.example is there already, customers/acme/mail.yaml:5"),
        (["p.zen"], "p.zen is a mailbox already"),
        (["an na"], "ADDRESS: 'an na' is not the name of an address"),
        (["a@b@c"], "ADDRESS: "),
        (["anna@other.example"], "ADDRESS: other.example is no mail domain in customers/acme/mail.yaml"),
        (["anna@acme.it"], "ADDRESS: acme.it only stands for acme.example (write the address with acme.example)"),
    ],
)
def test_what_is_wrong_names_what_was_typed_and_writes_nothing(run: Run, arguments: list[str], said: str) -> None:
    FILE.write_text(FILE.read_text() + "    alias_domains: [acme.it]\n")
    before = FILE.read_bytes()
    result = run("mail", "add", "acme", *arguments)
    assert result.code == 1
    assert said in result.err.splitlines()[0]
    assert FILE.read_bytes() == before


def test_what_is_wrong_elsewhere_names_its_line(run: Run) -> None:
    FILE.write_text(FILE.read_text() + "    limits: {mailboxes: 3}\n")
    said = run("mail", "add", "acme", "anna")
    assert "limits.mailboxes: 3 is less than the 4 mailboxes declared here" in said.err


def test_with_two_domains_the_address_is_whole(run: Run) -> None:
    FILE.write_text(FILE.read_text() + "  perché.example: {target: mail-1}\n")
    assert (
        "anna has no domain (which of acme.example, xn--perch-fsa.example?)" in run("mail", "add", "acme", "anna").err
    )
    assert run("mail", "add", "acme", "Anna@PERCHÉ.example").code == 0
    assert "  perché.example: {target: mail-1, mailboxes: {anna: {password: generated}}}\n" in FILE.read_text()


def test_a_customer_without_mail(run: Run) -> None:
    FILE.unlink()
    assert "ADDRESS: anna has no domain (which of none?)" in run("mail", "add", "acme", "anna").err
    assert (
        "ADDRESS: b.example is no mail domain in customers/acme/mail.yaml"
        in run("mail", "add", "acme", "a@b.example").err
    )


def test_a_domain_that_a_baseline_brings_gets_a_file(run: Run) -> None:
    Path("inventory/baselines").mkdir()
    Path("inventory/baselines/standard.yaml").write_text("mail: {domains: {acme.example: {target: mail-1}}}\n")
    Path("customers/acme/customer.yaml").write_text("name: Acme\nbaseline: standard\n")
    FILE.unlink()
    assert run("mail", "add", "acme", "anna").code == 0
    applied(run)
    assert sql("SELECT username FROM mailbox") == [("anna@acme.example",)]


# -- leave ------------------------------------------------------------------------------------------------------

LEAVE = ("mail", "leave", "acme", "luca")


def test_who_leaves_moves_and_the_words_say_what_follows(run: Run) -> None:
    change("luca: {", "Luca: {aliases: [l.rossi], ")
    applied(run)
    days = ("--left", "2026-01-05", "--until", "2190-04-05", "--keep-until", "2190-09-05")
    said = run(*LEAVE, *days, "--copy-to", "acquisti", "--copy-to", "x@partner.example")
    assert said.code == 0
    entry = (
        "    leavers:\n"
        "      Luca:\n"
        "        left: 2026-01-05\n"
        "        copy_to: [acquisti, x@partner.example]\n"
        "        until: 2190-04-05\n"
        "        keep_until: 2190-09-05\n"
        "        aliases: [l.rossi]\n"
    )
    gone = "      luca: {name: Luca Rossi, quota: 2 GiB, password: {secret: LUCA, rev: 1}}\n"
    assert FILE.read_text() == MAIL.replace(gone, "") + entry
    words = said.out.split("luca@acme.example\n")[1].split("\n\n")[0].splitlines()
    assert words == [
        "  log-in   off with the next apply",
        "  mail     goes to acquisti, x@partner.example, until 2190-04-05, then it is refused",
        "  lists    out of group tutti",
        "  mailbox  kept until 2190-09-05; then it goes, when a backup of it was proved or somebody approves",
    ]
    assert said.out.splitlines()[-1] == NEXT
    applied(run)
    assert sql("SELECT active FROM mailbox WHERE username = 'luca@acme.example'") == [(0,)]
    assert aliases()["luca@acme.example"] == "acquisti@acme.example,x@partner.example"
    assert aliases()["l.rossi@acme.example"] == "luca@acme.example"
    assert "luca" not in aliases()["tutti@acme.example"]


def test_every_list_that_somebody_is_in_is_said(run: Run) -> None:
    change("acquisti: {quota: 5 GiB}", "acquisti: {quota: 5 GiB, forwards: [luca, x@y.example]}")
    FILE.write_text(
        FILE.read_text()
        + "      vendite: [paolo, luca+ordini@acme.example]\n"
        + "    catch_all: [paolo, Luca]\n"
        + "    leavers:\n      ex: {left: 2026-01-05, copy_to: [luca, paolo]}\n"
        + "  beta.example:\n    target: mail-1\n    groups:\n      tutti: [luca@ACME.example, x@y.example]\n"
    )
    said = run(*LEAVE[:3], "luca@acme.example", "--dry-run", "--reply", "Scrivete a paolo")
    assert "  mail     is answered with “Scrivete a paolo”, for as long as the mailbox is kept" not in said.out
    assert "automatic replies need the setting vacation_domain" in said.err
    said = run(*LEAVE[:3], "luca@acme.example", "--dry-run")
    assert said.code == 0, said.err
    assert (
        "  lists    out of groups tutti, vendite, the forwards of acquisti, the copies for ex, the catch-all of"
        " acme.example, group tutti@beta.example" in said.out
    )
    assert "  mail     goes to paolo, who gets what is nobody's" in said.out


def test_where_there_is_a_catch_all_it_gets_what_would_be_refused(run: Run) -> None:
    change("    groups:", "    catch_all: acquisti\n    groups:")
    assert "  mail     goes to acquisti, who gets what is nobody's\n" in run("mail", "leave", "acme", "luca").out


def test_a_reply_replaces_nothing_where_there_is_none(run: Run) -> None:
    """So it needs nobody's approval; and it goes when its day is over."""
    targets = Path("inventory/targets.yaml")
    targets.write_text(targets.read_text().replace("mail.db}", "mail.db, vacation_domain: autoreply.msp.example}"))
    applied(run)
    days = ("--until", "2190-01-01", "--keep-until", "2190-02-01")
    said = run(*LEAVE, "--copy-to", "acquisti", "--reply", "Scrivete a paolo", *days)
    assert "take-over" not in said.out
    assert "reply nothing → Scrivete a paolo" in said.out
    applied(run)
    assert sql("SELECT body, active FROM vacation") == [("Scrivete a paolo", 1)]
    change("until: 2190-01-01", "until: 2026-02-01")
    FILE.write_text(re.sub(r"left: [\d-]+", "left: 2026-01-01", FILE.read_text()))
    applied(run)
    assert sql("SELECT body, active FROM vacation") == [("Scrivete a paolo", 0)]


def test_a_day_that_has_not_come_needs_nobody(run: Run) -> None:
    change("acquisti: {quota: 5 GiB}", "acquisti: {quota: 5 GiB, password: generated}")
    applied(run)
    said = run(*LEAVE, "--left", "2190-03-05", "--copy-to", "acquisti")
    assert "  log-in   off when 2190-03-05 begins (UTC), by itself: mspctl apply --due" in said.out
    assert said.out.splitlines()[-1] == ("Nothing is to be done on mail-1 today; commit customers/acme and merge it.")


def test_left_today_unless_it_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import UTC, datetime

    from mspctl.cli import workspace

    Path("customers/acme/customer.yaml").write_text("name: Acme\ntimezone: Europe/Rome\n")
    monkeypatch.setattr(workspace, "now", lambda: datetime(2027, 3, 4, 23, 30, tzinfo=UTC))
    assert run(*LEAVE, "--copy-to", "acquisti").code == 0
    assert "      luca: {left: 2027-03-05, copy_to: [acquisti]}\n" in FILE.read_text()


def test_what_needs_an_approval_is_named_when_somebody_says_why(run: Run) -> None:
    FILE.write_text(FILE.read_text() + "      vendite: [paolo, luca]\n      corsi: [paolo, luca]\n")
    applied(run)
    said = run(*LEAVE, "--copy-to", "acquisti", "--dry-run")
    assert "What needs an approval must be named first" not in said.out  # nothing was written at all
    assert "needs approval" in said.out
    said = run(*LEAVE, "--copy-to", "acquisti", "--approve", "ticket 4711")
    assert said.out.splitlines()[-1] == NEXT
    approvals = Path("customers/acme/approvals.yaml").read_text()
    assert "mailboxes/acme.example/luca, why: ticket 4711" in approvals
    assert approvals.count("resource:") == 4
    applied(run)


def test_a_reason_for_one_thing_approves_no_other(run: Run) -> None:
    FILE.write_text(FILE.read_text() + "      vendite: [paolo, luca]\n      corsi: [paolo, luca]\n")
    applied(run)
    change("      acquisti: {quota: 5 GiB}\n", "")
    assert run(*LEAVE, "--copy-to", "paolo", "--approve", "ticket 4711").code == 0
    approvals = Path("customers/acme/approvals.yaml").read_text()
    assert "acme.example/luca" in approvals
    assert "acquisti" not in approvals
    assert run("apply").code == 3
    assert ("acquisti@acme.example",) in sql("SELECT username FROM mailbox")


def test_without_a_reason_it_is_said_that_somebody_must_approve(run: Run) -> None:
    FILE.write_text(FILE.read_text() + "      vendite: [paolo, luca]\n      corsi: [paolo, luca]\n")
    applied(run)
    said = run(*LEAVE, "--copy-to", "acquisti")
    assert "Nothing has changed on mail-1 yet. What needs an approval must be named first; then commit" in said.out
    assert run("apply").code == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nobody"], "ADDRESS: nobody is no mailbox there (known: acquisti, luca, paolo)"),
        (["lucca"], "ADDRESS: lucca is no mailbox there (did you mean luca?)"),
        (["luca", "--left", "tomorrow"], "--left: 'tomorrow' is not a day or a time (write 2027-03-31"),
        (["luca", "--left", "2027-03-05", "--until", "2027-03-01", "--copy-to", "paolo"], "--until: ends (2027-03-01)"),
        (["luca", "--copy-to", "nobody"], "--copy-to: 'nobody' is no address of acme.example"),
        (["luca", "--copy-to", "luca"], "--copy-to: only people who left are in it"),
    ],
)
def test_a_leaving_that_is_wrong(run: Run, arguments: list[str], said: str) -> None:
    result = run("mail", "leave", "acme", *arguments)
    assert result.code == 1
    assert said in result.err.splitlines()[0]
    assert FILE.read_text() == MAIL


def test_the_last_of_a_group_is_told_before_anything_is_written(run: Run) -> None:
    change("tutti: [paolo, luca, consulente@partner.example]", "tutti: luca")
    before = FILE.read_text()
    said = run(*LEAVE)
    assert "groups.tutti: only people who left are in it (name somebody else, or take it out)" in said.err
    assert FILE.read_text() == before
    assert run("mail", "leave", "acme", "paolo").code == 0
    assert "paolo has left already" in run("mail", "leave", "acme", "paolo").err


# -- rename -----------------------------------------------------------------------------------------------------


def test_a_rename_keeps_the_mailbox_and_every_list_follows(run: Run) -> None:
    change("acquisti: {quota: 5 GiB}", "acquisti: {quota: 5 GiB, forwards: PAOLO+ordini@acme.example}")
    FILE.write_text(
        FILE.read_text()
        + "    catch_all: Paolo   # the owner\n"
        + "  beta.example:\n    target: mail-1\n    groups:\n      paolo: [paolo@acme.example, x@y.example]\n"
    )
    applied(run)
    said = run("mail", "rename", "acme", "paolo@acme.example", "p.zen")
    assert said.code == 0
    assert "log-in  as p.zen@acme.example, with the same password, once it is applied" in said.out
    text = FILE.read_text()
    assert "p.zen: {name: Paolo Zen, quota: 10 GiB, password: generated, aliases: [paolo], was: paolo}   # the" in text
    for line in (
        "forwards: p.zen+ordini@acme.example",
        "tutti: [p.zen, luca,",
        "catch_all: p.zen   # the",
        "paolo: [p.zen@acme.exa",
    ):
        assert line in text
    applied(run)
    assert sql("SELECT maildir FROM mailbox WHERE username LIKE 'p.zen%'") == [("acme.example/paolo/",)]
    assert aliases()["paolo@acme.example"] == "p.zen@acme.example"


def test_two_renames_at_once_are_one(run: Run) -> None:
    applied(run)
    assert run("mail", "rename", "acme", "luca", "l.rossi", "--no-alias").code == 0
    assert run("mail", "rename", "acme", "l.rossi", "luca.rossi", "--no-alias").code == 0
    assert (
        "luca.rossi: {name: Luca Rossi, quota: 2 GiB, password: {secret: LUCA, rev: 1}, was: luca}" in FILE.read_text()
    )
    applied(run)
    assert run("mail", "rename", "acme", "luca.rossi", "luca", "--no-alias").code == 0
    assert "was: luca.rossi}" in FILE.read_text()
    applied(run)
    assert sql("SELECT username, maildir FROM mailbox WHERE maildir LIKE '%luca/'") == [
        ("luca@acme.example", "acme.example/luca/")
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["paolo", "luca"], "NEW: luca@acme.example is there already, customers/acme/mail.yaml:7"),
        (["paolo", "tutti"], "NEW: tutti@acme.example is there already, customers/acme/mail.yaml:9"),
        (["paolo", "a b"], "NEW: 'a b' is not the name of an address"),
        (["paolo", "x@b.example"], "NEW: b.example is no mail domain"),
        (["tutti", "all"], "ADDRESS: tutti is no mailbox there"),
    ],
)
def test_a_rename_that_is_wrong(run: Run, arguments: list[str], said: str) -> None:
    result = run("mail", "rename", "acme", *arguments)
    assert result.code == 1
    assert said in result.err.splitlines()[0]
    assert FILE.read_text() == MAIL
