"""The mail server of the tests is one: what it takes, refuses, delivers and tells."""

from __future__ import annotations

import bcrypt
import pytest

from tests.servers.mail_stack import MailStack, Refused

PASSWORD = "a word for the mailbox"
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\n"
ADD_HEADER = "YJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\n"


@pytest.fixture
def server(mail_stack: MailStack) -> MailStack:
    """With one mailbox, paolo@acme.example."""
    mail_stack.clear()
    hashed = "{BLF-CRYPT}" + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    mail_stack.sql("INSERT INTO domain (domain, description, transport) VALUES ('acme.example', '', 'virtual')")
    mail_stack.sql(
        "INSERT INTO mailbox (username, password, name, maildir, local_part, domain, quota)"
        " VALUES ('paolo@acme.example', ?, '', 'acme.example/paolo/', 'paolo', 'acme.example', 50000)",
        hashed,
    )
    mail_stack.sql("INSERT INTO alias (address, goto, domain) VALUES (?1, ?1, 'acme.example')", "paolo@acme.example")
    return mail_stack


def test_mail_comes_in_and_is_read(server: MailStack) -> None:
    assert server.deliver("paolo@acme.example", "one").taken
    assert server.wait_for("paolo@acme.example", PASSWORD, "one").get_content() == "hello\n"
    session = server.pop3("paolo@acme.example", PASSWORD)
    assert session.stat()[0] == 1
    session.quit()
    server.settle()


def test_who_is_not_there_is_refused_and_nobody_relays(server: MailStack) -> None:
    assert server.deliver("nobody@acme.example").code == 550
    assert server.deliver("a@elsewhere.example", client="203.0.113.5").code == 554
    assert not server.logs_in("paolo@acme.example", "another word")
    assert server.submit("paolo@acme.example", "another word", "a@elsewhere.example").code == 535


def test_what_goes_out_is_in_the_sink(server: MailStack) -> None:
    assert server.submit("paolo@acme.example", PASSWORD, ["a@b.example", "c@d.example"], "out").taken
    sent = server.wait_for_sent("out")
    assert (sent.sender, sent.message.get_content()) == ("paolo@acme.example", "hello\n")
    assert set(sent.recipients) <= {"a@b.example", "c@d.example"}


def test_spam_is_refused(server: MailStack) -> None:
    said = server.deliver("paolo@acme.example", "spam", GTUBE, client="203.0.113.5")
    assert (said.code, "Gtube" in said.text) == (554, True)
    assert "rspamd_task_write_log" in server.rspamd_log.read_text()


def test_a_full_mailbox_is_said_so(server: MailStack) -> None:
    assert server.deliver("paolo@acme.example", "large", "x\n" * 30_000).code == 552
    session = server.imap("paolo@acme.example", PASSWORD)
    assert session.append("INBOX", "", "", b"Subject: a\r\n\r\n" + b"y" * 60_000)[0] == "NO"
    session.logout()


def test_doveadm_ends_sessions(server: MailStack) -> None:
    session = server.imap("paolo@acme.example", PASSWORD)
    assert [each["username"] for each in server.doveadm("who")] == ["paolo@acme.example"]
    server.doveadm("kick", mask=["paolo@acme.example"])
    assert server.ended(session)
    session.shutdown()
    with pytest.raises(Refused, match="exitCode"):
        server.doveadm("quotaGet", user="nobody@acme.example")
