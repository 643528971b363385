"""The same on PostgreSQL, where PostfixAdmin's own program answers for people who left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mail.conftest import Office, box, opened, password
from tests.servers import databases, postfixadmin
from tests.servers.mail_stack import MailStack, running, wait
from tests.servers.name_servers import bind

DOMAIN = "acme.example"
REPLY = "Luca è andato: acquisti@acme.example"
ZONE = f"""\
$ORIGIN {DOMAIN}.
@ 60 IN SOA localhost. hostmaster 1 60 60 60 60
@ 60 IN NS localhost.
@ 60 IN MX 10 localhost.
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailStack]:
    """A mail server on PostgreSQL, and a name server that says that it is the one for the domain."""
    folder = tmp_path_factory.mktemp("zone")
    (folder / DOMAIN).write_text(ZONE)
    with databases.running(databases.Postgresql) as database, bind(folder, {DOMAIN: folder / DOMAIN}) as port:
        postfixadmin.make_on(database, tmp_path_factory.mktemp("program"))
        assert isinstance(database, databases.Postgresql)
        with running(database, dns=port) as stack:
            yield stack


@pytest.fixture
def office(
    server: MailStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Office:
    made = opened(server, tmp_path, monkeypatch, capsys)
    monkeypatch.setenv("MSPCTL_SECRET_DATABASE", databases.PASSWORD)
    made.domain = DOMAIN
    return made


def test_the_way_of_a_mailbox(office: Office) -> None:
    server = office.server
    office.apply(
        "mailboxes:", box("paolo", "quota: 1000 KiB, aliases: [p.zen]"), box("luca"), "groups: {tutti: [paolo, luca]}"
    )
    for to in ("paolo", "p.zen", "tutti"):
        assert server.deliver(office.at(to), f"to {to}").taken
        server.wait_for(office.at("paolo"), password("paolo"), f"to {to}")
    large = ("x" * 70 + "\n") * 16_000
    assert server.deliver(office.at("paolo"), "too large", large).code == 552
    office.apply("mailboxes:", box("paolo", "quota: 5 MiB", rev=2), box("luca"))
    assert server.deliver(office.at("paolo"), "fits now", large).taken
    assert not server.logs_in(office.at("paolo"), password("paolo"))
    server.wait_for(office.at("paolo"), password("paolo", 2), "fits now")
    assert wait(lambda: server.sql("SELECT 1 FROM quota2 WHERE username = ? AND bytes > 1000000", office.at("paolo")))
    session = server.imap(office.at("paolo"), password("paolo", 2))
    office.apply("mailboxes:", box("paolo", "quota: 5 MiB, enabled: false", rev=2), box("luca", "shared_with: [paolo]"))
    assert server.ended(session)
    session.shutdown()
    assert not server.logs_in(office.at("paolo"), password("paolo", 2))
    assert server.deliver(office.at("paolo")).code == 550


def test_who_left_is_answered_for_once(office: Office) -> None:
    server = office.server
    office.apply("mailboxes:", box("acquisti"), box("luca"))
    leaver = f"  luca: {{left: 2026-01-01, reply: {REPLY!r}, copy_to: acquisti, keep_until: 2190-01-01}}"
    office.apply("mailboxes:", box("acquisti"), "leavers:", leaver)
    assert server.deliver(office.at("luca"), "offer", sender="someone@partner.example").taken
    server.wait_for(office.at("acquisti"), password("acquisti"), "offer")
    # Postfix starts the program that answers beside the delivery. Of two, the second may be the first to write down
    # who is answered; so the next message comes when the first one has its answer.
    answer = server.wait_for_sent("Re: offer")
    assert (answer.recipients, answer.message["From"]) == (["someone@partner.example"], office.at("luca"))
    assert answer.message.get_content().strip() == REPLY
    assert server.deliver(office.at("luca"), "again", sender="someone@partner.example").taken
    server.wait_for(office.at("acquisti"), password("acquisti"), "again")
    server.settle()
    assert server.sent("Re: again") == []
    office.apply("mailboxes:", box("acquisti"), "leavers:", leaver.replace("copy_to", "until: 2026-02-01, copy_to"))
    assert wait(lambda: server.deliver(office.at("luca"), "later").code == 550)
