"""Who gets what: mailboxes, aliases, groups, the catch-all, alias domains, forwards, and how much fits in."""

from __future__ import annotations

from tests.mail.conftest import FILE, Office, box, password
from tests.servers.mail_stack import wait


def test_a_declared_mailbox_logs_in_and_receives(office: Office) -> None:
    office.apply("mailboxes:", box("paolo"))
    assert office.server.deliver(office.at("paolo"), "one").taken
    office.server.wait_for(office.at("paolo"), password("paolo"), "one")
    assert office.server.deliver(office.at("paolo+orders"), "plus").taken
    office.server.wait_for(office.at("paolo"), password("paolo"), "plus")
    assert office.server.deliver(office.at("nobody")).code == 550
    assert office.server.submit(office.at("paolo"), password("paolo"), "a@partner.example", "out").taken
    assert office.server.wait_for_sent("out").sender == office.at("paolo")


def test_aliases_groups_the_catch_all_and_alias_domains_deliver(office: Office) -> None:
    server, other = office.server, f"other-{office.domain}"
    office.apply(
        "mailboxes:",
        box("paolo", "aliases: [p.zen]"),
        box("luca"),
        "groups:",
        "  tutti: [paolo, luca, consulente@partner.example]",
        "catch_all: luca",
        f"alias_domains: {other}",
    )
    for to, subject, who in (
        (office.at("p.zen"), "alias", ["paolo"]),
        (office.at("tutti"), "group", ["paolo", "luca"]),
        (office.at("whoever"), "catch", ["luca"]),
        (f"paolo@{other}", "elsewhere", ["paolo"]),
        (f"p.zen@{other}", "alias elsewhere", ["paolo"]),
        (f"tutti@{other}", "group elsewhere", ["paolo", "luca"]),
        (f"whoever@{other}", "catch elsewhere", ["luca"]),
    ):
        assert server.deliver(to, subject).taken
        for local in who:
            server.wait_for(office.at(local), password(local), subject)
    server.settle()
    assert [sent.recipients for sent in server.sent("group")] == [["consulente@partner.example"]] * 2
    assert len(server.messages(office.at("luca"), password("luca"))) == 4
    office.approve("p.zen", "tutti", "@", other)
    office.apply("mailboxes:", box("paolo"), box("luca"))
    for to in (office.at("p.zen"), office.at("tutti"), office.at("whoever")):
        wait(lambda to=to: server.deliver(to).code == 550, f"the refusal of {to}")  # type: ignore[misc]
    wait(lambda: server.deliver(f"paolo@{other}", client="203.0.113.5").code == 554, "the refusal of the alias domain")


def test_a_forward_with_and_without_a_copy(office: Office) -> None:
    server = office.server
    office.apply(
        "mailboxes:",
        box("paolo", "forwards: [home@partner.example]"),
        box("luca", "forwards: [away@partner.example], keep_copy: false"),
    )
    for local in ("paolo", "luca"):
        assert server.deliver(office.at(local), f"to {local}").taken
    assert server.wait_for_sent("to paolo").recipients == ["home@partner.example"]
    assert server.wait_for_sent("to luca").recipients == ["away@partner.example"]
    server.wait_for(office.at("paolo"), password("paolo"), "to paolo")
    server.settle()
    assert server.messages(office.at("luca"), password("luca")) == []


def test_a_quota_refuses_and_a_raised_one_takes_effect(office: Office) -> None:
    server, large = office.server, "x" * 70 + "\n"
    office.apply("mailboxes:", box("paolo", "quota: 1000 KiB"))  # of 1,024,000 octets
    said = server.deliver(office.at("paolo"), "too large", large * 16_000)
    assert (said.code, said.text) == (
        552,
        "5.2.2 <" + office.at("paolo") + ">: Recipient address rejected: Mailbox is full",
    )
    session = server.imap(office.at("paolo"), password("paolo"))
    code, lines = session.append("INBOX", "", "", b"Subject: a\r\n\r\n" + large.encode() * 16_000)
    assert (code, lines[0][:11]) == ("NO", b"[OVERQUOTA]")
    session.logout()
    office.apply("mailboxes:", box("paolo", "quota: 5 MiB"))
    assert server.deliver(office.at("paolo"), "fits now", large * 16_000).taken
    server.wait_for(office.at("paolo"), password("paolo"), "fits now")
    (row,) = wait(lambda: server.sql("SELECT bytes, messages FROM quota2 WHERE username = ?", office.at("paolo")))
    assert (row[0] > 1_000_000, row[1]) == (True, 1)


def test_a_new_domain_works_at_once(office: Office) -> None:
    server = office.server
    office.apply("mailboxes:", box("paolo"))
    assert server.deliver(office.at("paolo")).taken
    office.domain = f"new-{office.domain}"
    assert server.deliver(office.at("paolo"), client="203.0.113.5").code == 554
    with FILE.open("a") as file:
        file.write(
            "\n".join([f"  {office.domain}:", "    target: mail-1", "    mailboxes:", f"    {box('paolo')}", ""])
        )
    said = office.run("apply")
    assert said.code == 0, said.out
    assert office.run("plan").code == 0
    assert server.deliver(office.at("paolo"), "new").taken
    server.wait_for(office.at("paolo"), password("paolo"), "new")


def test_a_domain_that_somebody_switched_off_is_drift_and_comes_back(office: Office) -> None:
    server = office.server
    office.apply("limits: {mailboxes: 30}", "mailboxes:", box("paolo"))
    assert server.logs_in(office.at("paolo"), password("paolo"))
    server.sql("UPDATE domain SET active = '0' WHERE domain = ?", office.domain)
    assert not server.logs_in(office.at("paolo"), password("paolo"))
    assert server.deliver(office.at("paolo"), client="203.0.113.5").code == 554
    planned = office.run("plan")
    assert (planned.code, "changed outside  domain" in planned.out) == (2, True)
    reverted = office.run("apply", "--revert")
    assert reverted.code == 0, reverted.out
    assert office.run("plan").code == 0
    assert server.logs_in(office.at("paolo"), password("paolo"))
    assert server.deliver(office.at("paolo"), "back").taken
    server.wait_for(office.at("paolo"), password("paolo"), "back")
