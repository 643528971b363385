"""Proofs of mail on a real mail server: what passes, and each way in which one fails or cannot be made."""

from __future__ import annotations

import re
import socketserver
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest

from mspctl.errors import InputError, TargetError, Unreachable
from mspctl.load import load
from mspctl.proof import Proof, Verdict
from mspctl.secrets import Secret
from mspctl.transports.mail_client import Imap, Server, Smtp
from tests.proofs.post import READER, WORD, Post, make_mailbox, plain
from tests.servers import mail_stack
from tests.servers.mail_world import RSPAMD, World

REFUSED, RELAY = "an address that is not there is refused", "mail to elsewhere is refused"
IN, BELIEVED = "a message comes in", "its sender is believed"
OUT, SIGNED = "a message that is sent arrives", "its signature holds"
ALL = [REFUSED, RELAY, IN, BELIEVED, OUT, SIGNED]


@pytest.fixture
def post(mail_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Post:
    mail_world.stack.clear()
    monkeypatch.setenv("MSPCTL_SECRET_PROVA", WORD)
    made = Post(mail_world, tmp_path)
    made.mailbox("acme.example")
    return made


def verdicts(proof: Proof) -> dict[str, str]:
    return {step.what: step.verdict.value for step in proof.steps}


def wrong(proof: Proof) -> dict[str, str]:
    """What did not pass, and what is said of it."""
    return {step.what: f"{step.verdict}: {step.said}" for step in proof.wrong}


# -- what passes --------------------------------------------------------------------------------------------------


def test_a_domain_that_works(post: Post) -> None:
    post.write()
    proof = post.prove()
    assert wrong(proof) == {}
    assert [step.what for step in proof.steps] == ALL
    measured = {step.what for step in proof.steps if step.seconds}
    assert measured == {IN, OUT}
    assert 0 < proof.seconds < 60
    with Imap.open(
        Server("127.0.0.1", post.stack.ports.imap, "none"), "prova@acme.example", Secret("X", WORD.encode())
    ) as imap:
        assert imap.sweep("@", (datetime.now(UTC) + timedelta(days=2)).date()) == 0  # nothing of it is left
    post.stack.settle()
    assert post.stack.sent() == []


def test_certificates_are_verified(post: Post) -> None:
    ca = post.world.ca
    tls = f"{{host: localhost, port: {post.doors['tls']}, tls: tls, ca: {ca}}}"
    starttls = f"{{host: localhost, port: {post.doors['starttls']}, ca: {ca}}}"
    post.write(smtp=starttls, submission=tls, imap=f"{{host: localhost, port: {post.world.imaps}, ca: {ca}}}")
    assert wrong(post.prove()) == {}
    post.write(smtp=f"localhost:{post.doors['starttls']}", submission="", imap=f"localhost:{post.world.imaps}")
    proof = post.prove()
    assert {*verdicts(proof).values()} == {"not made"}
    assert all("has no certificate that is trusted (self" in step.said for step in proof.steps)
    other = f"{{host: 127.0.0.1, port: {post.world.imaps}, ca: {ca}}}"
    post.write(smtp=starttls, submission="", imap=other)
    assert "certificate is not valid for '127.0.0.1'" in wrong(post.prove())[IN]


def test_without_tls_only_this_machine_is_talked_to(post: Post) -> None:
    post.write(imap="{host: mail.msp.example, tls: none}")
    with pytest.raises(InputError, match=r"tls: none is for this machine only, and mail\.msp\.example is another one"):
        load(post.root)


def test_somebody_else_judges_what_is_sent(post: Post, mail_tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two servers: mail goes out of one and into the other, which looks it up and writes down what it thinks."""
    free = mail_stack.free_ports
    # What leaves our server goes to its sink; so the other one stands in the sink's place.
    monkeypatch.setattr(mail_stack, "free_ports", lambda count: [post.stack.ports.sink, *free(count - 1)])
    post.stack.stop_one("sink")
    try:
        with mail_stack.running(mail_tables, rspamd=RSPAMD, dns=post.world.dns) as other:
            make_mailbox(other, "sender.example", "judge", READER)
            monkeypatch.setenv("MSPCTL_SECRET_JUDGE", READER)
            judge = f"{{address: judge@sender.example, imap: {plain(other.ports.imap)}, authserv: {other.hostname}}}"
            post.write(judge=judge)
            proof = post.prove()
            assert wrong(proof) == {}
            out, believed = "a message that is sent to sender.example arrives", "it is believed there"
            assert [*verdicts(proof)][-3:] == [out, believed, SIGNED]
            assert other.messages("judge@sender.example", READER) == []
            for domain, said in (("wrong.example", "dkim fail"), ("unsigned.example", "dkim none")):
                post.mailbox(domain)
                post.write(domain, judge=judge)
                found = wrong(post.prove())
                assert found.keys() == {believed, SIGNED}
                assert found[believed] == f"failed: mx.msp.example says: {said}"
    finally:
        post.stack.start_one("sink")


# -- what fails ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("domain", "why"),
    [
        ("wrong.example", "failed: the signature is not that of this key, or the message was changed on the way"),
        ("bare.example", "failed: no key is published at mail._domainkey.bare.example"),
        ("unsigned.example", "failed: it is not signed"),
    ],
)
def test_signatures_that_nobody_can_verify(post: Post, domain: str, why: str) -> None:
    post.mailbox(domain)
    post.write(domain)
    said = wrong(post.prove())
    assert said == {SIGNED: why}


def test_a_sender_whose_address_is_somebody_elses(post: Post) -> None:
    post.write(sender="probe@stranger.example")
    assert wrong(post.prove()) == {
        IN: "failed: it was taken for spam, and lay in Junk",
        BELIEVED: "failed: mx.msp.example says: spf fail, dmarc fail",
    }


def test_only_the_server_that_is_trusted_is_believed(post: Post) -> None:
    post.write(authserv="mx.elsewhere.example")
    assert wrong(post.prove()) == {BELIEVED: "failed: there are no Authentication-Results of mx.elsewhere.example"}


@pytest.mark.parametrize(
    ("door", "what", "why"),
    [
        ("relay", RELAY, "failed: 127.0.0.1 takes mail to mspctl-proof@example.net from anybody"),
        ("takes-all", RELAY, "failed: 127.0.0.1 takes mail to mspctl-proof@example.net from anybody"),
        ("takes-all", REFUSED, "failed: 127.0.0.1 takes mail to mspctl-proof-"),
        ("later", IN, "not made: it is not taken: 4"),
        ("later", REFUSED, "not made: 127.0.0.1 wants to be asked later: 4"),
        ("holds", IN, "failed: it was taken, and is not there after 1 s"),
    ],
)
def test_doors_that_are_badly_kept(post: Post, door: str, what: str, why: str) -> None:
    post.write(smtp=plain(post.doors[door]), submission="", authserv="")
    file = post.root / "customers/acme/mail.yaml"
    file.write_text(file.read_text().replace("within: 10s", "within: 1s"))
    assert wrong(post.prove())[what].startswith(why)
    assert [*post.stack.outbox.iterdir()] == []  # asked up to the recipient, and no further


@dataclass
class Greylist:
    seconds: float  # after which who was new is let in
    first: dict[str, float] = field(default_factory=dict)

    def new(self, who: str) -> bool:
        return time.monotonic() - self.first.setdefault(who, time.monotonic()) < self.seconds


@contextmanager
def greylisting(port: int, seconds: float) -> Iterator[Greylist]:
    """Answers Postfix's questions (SMTPD_POLICY_README), of which many come through one connection."""
    greylist = Greylist(seconds)

    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            said = dict[str, str]()
            for line in self.rfile:
                name, equals, value = line.decode().rstrip("\n").partition("=")
                if equals:
                    said[name] = value
                    continue
                new = greylist.new(f"{said['sender']} {said['recipient']}")
                self.wfile.write(b"action=defer_if_permit Greylisted, see you\n\n" if new else b"action=dunno\n\n")

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address, daemon_threads, block_on_close = True, True, False

    with Server(("127.0.0.1", port), Answer) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield greylist
        finally:
            server.shutdown()


def test_a_server_that_greylists_is_asked_again(post: Post) -> None:
    """For as long as a message may take, and no longer."""
    post.write(smtp=plain(post.doors["greylists"]), submission="", authserv="")
    with greylisting(post.world.policy, 0.5) as greylist:
        assert wrong(post.prove()) == {}
        assert [*greylist.first] == ["probe@sender.example prova@acme.example"]
        greylist.seconds = 3600
        file = post.root / "customers/acme/mail.yaml"
        file.write_text(file.read_text().replace("within: 10s", "within: 1s"))
        said = wrong(post.prove())
    assert said.keys() == {IN}
    assert re.fullmatch(r"not made: it is not taken: 450 .*Greylisted, see you \(asked for \d+ s\)", said[IN])


def test_where_somebody_gets_all_that_is_written_to_nobody_is_refused(post: Post) -> None:
    post.stack.sql(
        "INSERT INTO alias (address, goto, domain) VALUES ('@acme.example', 'prova@acme.example', 'acme.example')"
    )
    post.write()
    assert wrong(post.prove())[REFUSED].startswith("failed: ")
    post.write(mail="    catch_all: prova\n")
    proof = post.prove()
    assert wrong(proof) == {}
    assert REFUSED not in verdicts(proof)


def test_what_lies_among_spam_did_not_arrive(post: Post) -> None:
    """Dovecot sorts by a header that rspamd writes; here, everything is sorted so."""
    sieve = post.stack.etc / "dovecot/before.sieve"
    kept = sieve.read_text()
    compiled = sieve.with_suffix(".svbin")
    try:
        sieve.write_text('require ["fileinto"];\nfileinto "Junk";\nstop;\n')
        post.stack.run("sievec", "-c", post.stack.etc / "dovecot/dovecot.conf", sieve)
        post.write(authserv="", submission="")
        assert wrong(post.prove()) == {IN: "failed: it was taken for spam, and lay in Junk"}
    finally:
        sieve.write_text(kept)
        compiled.unlink(missing_ok=True)
        post.stack.run("sievec", "-c", post.stack.etc / "dovecot/dovecot.conf", sieve)


# -- what cannot be made ------------------------------------------------------------------------------------------


def test_a_password_that_is_wrong_or_missing(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    post.write()
    monkeypatch.setenv("MSPCTL_SECRET_PROVA", "another word, quite wrong")
    said = wrong(post.prove())
    assert said.keys() == {IN, OUT}
    assert "does not let prova@acme.example in: " in said[IN]
    assert "quite wrong" not in str(said)
    monkeypatch.delenv("MSPCTL_SECRET_PROVA")
    assert "secret PROVA (the password of prova@acme.example of acme) is not set" in wrong(post.prove())[IN]


def test_a_server_that_is_not_there(post: Post) -> None:
    (port,) = mail_stack.free_ports(1)
    post.write(smtp=plain(port), imap=plain(port), submission=plain(port))
    proof = post.prove()
    assert proof.verdict is Verdict.UNKNOWN
    assert {step.said for step in proof.steps} == {f"127.0.0.1:{port} cannot be reached (Connection refused)"}


def test_a_key_that_cannot_be_looked_up(post: Post) -> None:
    post.write()
    (port,) = mail_stack.free_ports(1)
    (post.root / "inventory/checks.yaml").write_text(f"dns: {{resolvers: '127.0.0.1:{port}', timeout: 1s}}\n")
    said = wrong(post.prove())
    assert said.keys() == {SIGNED}
    assert said[SIGNED].startswith("not made: the key mail._domainkey.acme.example could not be looked up (")


# -- the test mailbox ---------------------------------------------------------------------------------------------


@pytest.fixture
def imap(post: Post) -> Iterator[Imap]:
    server = Server("127.0.0.1", post.stack.ports.imap, "none")
    with Imap.open(server, "prova@acme.example", Secret("X", WORD.encode())) as opened:
        yield opened


def test_only_old_messages_of_ours_are_swept(post: Post, imap: Imap) -> None:
    old = time.time() - 5 * 86400
    for id_, when in (("mspctl-proof.1@x", old), ("mspctl-proof.2@x", time.time()), ("other@x", old)):
        text = f"Message-ID: <{id_}>\r\nSubject: x\r\n\r\nx\r\n".encode()
        imap._client.append("INBOX", "", when, text)
    assert imap.sweep("mspctl-proof", (datetime.now(UTC) - timedelta(days=2)).date()) == 1
    assert [bool(imap.found(f"<{id_}>")) for id_ in ("mspctl-proof.1@x", "mspctl-proof.2@x", "other@x")] == [
        False,
        True,
        True,
    ]


def test_removing_one_message_leaves_others_that_are_marked(post: Post, imap: Imap) -> None:
    for id_, flags in (("a@x", r"(\Deleted)"), ("b@x", "")):
        imap._client.append("INBOX", flags, time.time(), f"Message-ID: <{id_}>\r\n\r\nx\r\n".encode())
    found = imap.found("<b@x>")
    assert found
    imap.remove(found)
    assert (imap.found("<a@x>") is None, imap.found("<b@x>") is None) == (False, True)


def test_a_server_that_breaks_off_is_unreachable(post: Post) -> None:
    server = Server("127.0.0.1", post.stack.ports.smtp, "none")
    with Smtp.open(server) as smtp:
        post.stack.stop_one("postfix")
        try:
            with pytest.raises(Unreachable, match=r"broke off|cannot be reached"):
                smtp.offered("a@sender.example", "b@acme.example")
        finally:
            post.stack.start_one("postfix")


def test_a_server_that_speaks_something_else(post: Post) -> None:
    """IMAP where SMTP is expected, and the other way round."""
    with pytest.raises(TargetError), Smtp.open(Server("127.0.0.1", post.stack.ports.imap, "none")):
        pass
    with (
        pytest.raises(TargetError),
        Imap.open(Server("127.0.0.1", post.stack.ports.smtp, "none"), "a", Secret("X", b"word")),
    ):
        pass


# -- what mail.yaml may say ---------------------------------------------------------------------------------------

Change = Callable[[str], str]
JUDGE = "{address: a@b.example, imap: imap.b.example, authserv: b.example}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda t: t.replace("mailbox: prova,", "mailbox: provo,"),
            "there is no mailbox provo in acme.example (did you mean prova?)",
        ),
        (lambda t: t.replace("{secret: PROVA, rev: 1}", "generated"), "prova needs a password that is named"),
        (lambda t: t.replace("password: {", "enabled: false, password: {"), "nothing can be read in prova"),
        (lambda t: t.replace("within: 10s", "within: soon"), "'soon' is not a duration"),
        (lambda t: t.replace("within: 10s", "daily: true"), "unknown key"),
        (lambda t: t.replace("within: 10s", "within: 0"), "within an hour or less (write every: 1d, within: 2m)"),
        (lambda t: t.replace("within: 10s", "every: 5m"), "every is an hour or more"),
    ],
)
def test_a_test_mailbox_that_cannot_do(post: Post, change: Change, said: str) -> None:
    post.write()
    file = post.root / "customers/acme/mail.yaml"
    file.write_text(change(file.read_text()))
    with pytest.raises(InputError) as caught:
        load(post.root)
    assert said in str(caught.value)
    assert "customers/acme/mail.yaml:" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.replace("    mail:\n", "    mial:\n"), "unknown key (did you mean mail?)"),
        (lambda t: t.replace("sender: probe@sender.example", "authserv: mx"), "mail.sender: is missing"),
        (lambda t: t.replace("probe@sender", "probé@sender"), "has letters before the @ that most mail servers refuse"),
        (
            lambda t: t.replace(
                "    mail:\n", "    mail:\n      judge: {address: a@b.example, imap: x, authserv: x}\n"
            ),
            "judge needs submission",
        ),
        (lambda t: t.replace("tls: none}", "tls: maybe}", 1), "'maybe' is not one of"),
        (lambda t: t.replace("smtp: {", "smtp: 127.0.0.1:x\n      more: {"), "'x' is not a port"),
    ],
)
def test_a_target_that_is_badly_described(post: Post, change: Change, said: str) -> None:
    post.write(authserv="", submission="")
    file = post.root / "inventory/targets.yaml"
    file.write_text(change(file.read_text()))
    with pytest.raises(InputError) as caught:
        load(post.root)
    assert said in str(caught.value)


def test_a_proof_needs_a_target_that_says_how_to_reach_it(post: Post) -> None:
    post.write()
    file = post.root / "inventory/targets.yaml"
    file.write_text(
        "".join(
            line
            for line in file.read_text().splitlines(keepends=True)
            if not line.startswith("      ") or "driver" in line
        ).replace("    mail:\n", "")
    )
    with pytest.raises(InputError, match="target mail-1 does not say how mail is handed in and read"):
        load(post.root)
