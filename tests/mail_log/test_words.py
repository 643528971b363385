"""What servers say, in words that can be said on the phone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mspctl.kinds.mail_log import Fact, Kind
from mspctl.mail_log import words

AT = datetime(2026, 11, 27, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "agent", "said"),
    [
        (
            "host mx.p.test[192.0.2.9] said: 550 5.1.1 <x>: User unknown (in reply to RCPT TO command)",
            "smtp",
            "unknown address (says mx.p.test)",
        ),
        ("host mx[/x] said: 552 5.2.2 <x> Quota exceeded (mailbox for user is full)", "lmtp", "mailbox over quota"),
        (
            "host mx.p.test[192.0.2.9] said: 421 4.7.28 Too many messages from you",
            "smtp",
            "too many at once (says mx.p.test)",
        ),
        (
            "host mx.p.test[192.0.2.9] said: 550 Because I say so (in reply to end of DATA command)",
            "smtp",
            "mx.p.test said “550 Because I say so”",
        ),
        (
            "host mx.p.test[192.0.2.9] refused to talk to me: 554 blocked using zen.spamhaus.org, sorry",
            "smtp",
            "the sender's server is on the block list zen.spamhaus.org (says mx.p.test)",
        ),
        (
            "connect to mx.p.test[192.0.2.9]:25: Connection timed out",
            "smtp",
            "mx.p.test does not answer (Connection timed out)",
        ),
        (
            "delivery temporarily suspended: connect to mx.p.test[2001:db8::1]:25: No route to host",
            "error",
            "mx.p.test does not answer (No route to host)",
        ),
        (
            "Host or domain name not found. Name service error for name=p.test type=MX: Host not found",
            "smtp",
            "the domain p.test does not exist, or takes no mail",
        ),
        (
            "Host or domain name not found. Name service error for name=p.test type=MX: Host not found, try again",
            "smtp",
            "the DNS does not answer for p.test",
        ),
        ("Domain p.test does not accept mail (nullMX)", "smtp", "the domain p.test takes no mail"),
        (
            "lost connection with mx.p.test[192.0.2.9] while receiving the initial server greeting",
            "smtp",
            "mx.p.test ended the connection",
        ),
        (
            "conversation with mx.p.test[192.0.2.9] timed out while sending MAIL FROM",
            "smtp",
            "mx.p.test stopped answering",
        ),
        ("mail for p.test loops back to myself", "smtp", "p.test is sent to this server, which does not hold it"),
        (
            "TLS is required, but was not offered by host mx.p.test[192.0.2.9]",
            "smtp",
            "mx.p.test offers no encryption, and it is required",
        ),
        ("mail transport unavailable", "qmgr", "a part of the mail server does not run"),
        ("something new", "smtp", "“something new”"),
    ],
)
def test_why_it_was_not_delivered(text: str, agent: str, said: str) -> None:
    assert words.not_delivered(text, agent) == said


def refused(said: str, code: str = "550", **more: str) -> words.Told:
    return words.refused(
        Fact(AT, "refused", said={"verb": "reject", "stage": "RCPT", "code": code, "said": said, **more})
    )


@pytest.mark.parametrize(
    ("said", "code", "kind", "what", "reason"),
    [
        (
            "Recipient address rejected: User unknown in virtual mailbox table",
            "550",
            "error",
            "refused",
            "unknown address",
        ),
        ("Recipient address rejected: Mailbox is full", "552", "error", "refused", "mailbox over quota"),
        (
            "Relay access denied",
            "554",
            "error",
            "refused",
            "relay denied: not a domain of ours, and nobody logged in",
        ),
        ("Recipient address rejected: Greylisted, see http://x", "450", "spam", "greylisted", "asked to come again"),
        ("Service currently unavailable", "450", "spam", "greylisted", "asked to come again"),
        (
            "Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; https://x",
            "554",
            "spam",
            "rejected",
            "the sender's server is on the block list zen.spamhaus.org",
        ),
        (
            "Sender address rejected: Domain not found",
            "450",
            "error",
            "refused",
            "the sender's domain does not exist; asked to come again later",
        ),
        (
            "Sender address rejected: not owned by user bob@acme.test",
            "553",
            "error",
            "refused",
            "logged in as bob@acme.test, who may not send as this sender",
        ),
        (
            "Client host rejected: cannot find your reverse hostname, [192.0.2.1]",
            "450",
            "error",
            "refused",
            "the sender's server has no name in the DNS; asked to come again later",
        ),
        ("Message size exceeds fixed limit", "552", "error", "refused", "message too large"),
        (
            "Service unavailable - try again later",
            "451",
            "error",
            "refused",
            "the spam filter does not answer; asked to come again later",
        ),
        (
            "Server configuration problem",
            "451",
            "error",
            "refused",
            "the mail server is set up wrongly; asked to come again later",
        ),
        ("Never heard of it", "550", "error", "refused", "“Never heard of it”"),
        ("Never heard of it", "", "error", "refused", "“Never heard of it”"),
    ],
)
def test_why_it_was_not_taken_in(said: str, code: str, kind: str, what: str, reason: str) -> None:
    told = refused(said, code)
    assert (told.kind.value, told.what, told.reason) == (kind, what, reason)


def test_what_a_rule_did() -> None:
    assert refused("bad word", verb="hold", stage="header").reason == "in quarantine (bad word)"
    assert refused("milter triggers HOLD action", verb="hold").reason == "in quarantine"
    assert refused("bad word", verb="discard").what == "discarded"
    assert refused("no", stage="body").reason == "refused by a rule about the body (no)"


def judged(action: str, forced: str = "", symbols: str = "", score: str = "9.81") -> words.Told | None:
    said = {"action": action, "score": score, "limit": "15.00", "symbols": symbols, "forced": forced}
    return words.judged(Fact(AT, "verdict", said=said))


def test_what_the_spam_filter_did() -> None:
    symbols = "A_ONE(1.00){x;},B_GOOD(-5.00){},C_TWO(2.50){,EVIL(99.00){};},D_3(0.10){},E_4(0.00){}"
    told = judged("add header", symbols=symbols)
    assert told is not None
    assert (told.kind, told.what) == (Kind.SPAM, "marked")
    assert told.reason.startswith("spam, score 9.8 of 15: ")
    assert told.verdict is not None
    assert ("A_ONE", 1.0) in told.verdict.symbols
    assert "B_GOOD" not in dict(told.verdict.symbols)
    assert judged("no action") is None


@pytest.mark.parametrize(
    ("action", "forced", "symbols", "what", "reason"),
    [
        (
            "soft reject",
            'soft reject "Try again later"; score=nan (set by greylist)',
            "",
            "greylisted",
            "asked to come again; score 9.8 of 15",
        ),
        (
            "soft reject",
            'soft reject "Ratelimit \\"to_user\\" exceeded"; score=nan (set by ratelimit)',
            "",
            "put off",
            None,
        ),
        (
            "reject",
            'reject "Gtube pattern"; score=15.00 (set by GTUBE)',
            "",
            "rejected",
            "spam, score 9.8 of 15 (GTUBE: Gtube pattern)",
        ),
        (
            "reject",
            'reject "clamav: virus found: "Eicar""; score=nan (set by clamav)',
            "",
            "rejected",
            'clamav: virus found: "Eicar"',
        ),
        ("quarantine", "", "", "held", "spam, score 9.8 of 15"),
    ],
)
def test_what_the_spam_filter_was_made_to_do(
    action: str, forced: str, symbols: str, what: str, reason: str | None
) -> None:
    told = judged(action, forced, symbols)
    assert told is not None
    assert told.what == what
    assert reason in (None, told.reason)


@pytest.mark.parametrize(
    ("symbols", "reason"),
    [
        (
            "A_ONE(1.00){x;},CLAM_VIRUS(0.00){Eicar-Signature;}",
            "a virus was found (CLAM_VIRUS: Eicar-Signature); score",
        ),
        ("SOPHOS_VIRUS(12.00){}", "a virus was found (SOPHOS_VIRUS); score"),
        ("CLAM_VIRUS(0.00){<b>;}", "a virus was found (CLAM_VIRUS); score"),
        ("CLAM_VIRUS_FAIL(0.00){failed to scan;}", "spam, score"),  # it was not scanned
        ("CLAM_VIRUS_ENCRYPTED(0.00){zip;},CLAM_VIRUS_MACRO(0.00){x;}", "spam, score"),
    ],
)
def test_what_a_scanner_found_is_said(symbols: str, reason: str) -> None:
    told = judged("reject", symbols=symbols)
    assert told is not None
    assert (told.what, told.reason.startswith(reason)) == ("rejected", True), told.reason


@pytest.mark.parametrize("score", ["nan", "1.2.3", "", "-"])
def test_a_score_that_is_none_is_none(score: str) -> None:
    told = judged("reject", score=score)
    assert told is not None
    assert told.reason == "spam, score 0 of 15"


@pytest.mark.parametrize(
    ("time", "said"),
    [
        (5, "5 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "119 min"),
        (7200, "2 h"),
        (172799, "47 h"),
        (172800, "2 days"),
    ],
)
def test_how_long_it_took(time: int, said: str) -> None:
    assert words.spoken(timedelta(seconds=time)) == said


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        ("Password mismatch", "wrong password (IMAP)"),
        ("unknown user", "no such mailbox, or it is disabled (IMAP)"),
        ("User disabled", "it is disabled (IMAP)"),
        ("", "wrong name or password (IMAP)"),
    ],
)
def test_why_somebody_could_not_log_in(cause: str, said: str) -> None:
    assert words.failed("imap", cause) == said
