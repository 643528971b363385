"""What single lines say, joined: real lines as a whole, and the cases that they do not hold."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from click import unstyle

from mspctl.kinds.mail_log import Entry, Fact, Kind
from mspctl.mail_log import asked_for
from mspctl.report import mail_log as report
from tests.mail_log.telling import ACME, BETA, REAL, entries, heading, real, told

T = datetime(2026, 11, 27, 10, tzinfo=UTC)


def text(found: list[Entry]) -> str:
    return unstyle("\n".join(report.log(heading(), found, None))) + "\n"


@pytest.mark.parametrize(("customer", "own", "others"), [("acme", ACME, BETA), ("beta", BETA, ACME)])
def test_a_day_of_a_real_server_for_each_of_two_customers(
    customer: str, own: frozenset[str], others: frozenset[str]
) -> None:
    shown = text(entries(real(), own, others)).replace("MAIL LOG acme", f"MAIL LOG {customer}")
    assert shown == (REAL / f"{customer}.txt").read_text()


def test_what_two_customers_got_shows_each_only_its_own() -> None:
    acme, beta = (json.dumps([e.recipients for e in entries(real(), *who)]) for who in ((ACME, BETA), (BETA, ACME)))
    assert "joe@beta.test" not in acme.replace(HOSTILE, "")
    assert "acme" not in beta
    both = [e for e in entries(real(), BETA, ACME) if "118409DC506" in e.ids]
    assert [(e.what, e.recipients, e.sender) for e in both] == [("delivered", ["joe@beta.test"], "out@sender.test")]


HOSTILE = r"\"x> to=<joe@beta.test>\"@acme.test"  # a stranger wrote to an address that has this between quotes


def test_a_message_refused_by_the_filter_is_told_to_each_whom_it_was_for() -> None:
    """Postfix names the last recipient only; the filter names all."""
    for who, to in (((ACME, BETA), "jane@acme.test"), ((BETA, ACME), "joe@beta.test")):
        (found,) = (e for e in entries(real(), *who) if "804649DC504" in e.ids)
        assert (found.what, found.recipients) == ("rejected", [to])
        assert found.reason == "spam, score 15 of 15 (GTUBE: Gtube pattern)"


def test_lookups_that_find_nobody_are_no_attack() -> None:
    names = {to for e in entries(real()) if e.kind is Kind.AUTH for to in e.recipients}
    assert names == {"bob@acme.test", "nosuch@acme.test", "jane@acme.test", "ghost@acme.test"}
    assert not [e for e in entries(real()) if e.kind is Kind.AUTH and "team@acme.test" in e.recipients]


def test_kinds_and_what_they_hold() -> None:
    found = {(e.kind.value, e.what) for e in entries(real())}
    assert {what for kind, what in found if kind == "error"} == {"bounced", "deferred", "refused"}
    assert {what for kind, what in found if kind == "spam"} == {"rejected", "marked", "greylisted"}
    assert {what for kind, what in found if kind == "auth"} == {"log-in failed"}


# -- the queue's ids, and time ------------------------------------------------------------------------------------


def test_an_id_that_comes_again_is_another_message() -> None:
    found = told("""
Nov 27 10:00:00 mx postfix/smtpd[1]: 0123456789: client=a[192.0.2.1], sasl_method=PLAIN, sasl_username=bob@acme.test
Nov 27 10:00:00 mx postfix/cleanup[1]: 0123456789: message-id=<one@acme.test>
Nov 27 10:00:00 mx postfix/qmgr[1]: 0123456789: from=<bob@acme.test>, size=1, nrcpt=1 (queue active)
Nov 27 10:00:01 mx postfix/smtp[1]: 0123456789: to=<x@partner.test>, relay=none, delay=1, dsn=2.0.0, status=sent (ok)
Nov 27 12:00:00 mx postfix/smtpd[1]: 0123456789: client=b[192.0.2.2], sasl_method=PLAIN, sasl_username=joe@beta.test
Nov 27 12:00:00 mx postfix/cleanup[1]: 0123456789: message-id=<two@beta.test>
Nov 27 12:00:00 mx postfix/qmgr[1]: 0123456789: from=<joe@beta.test>, size=1, nrcpt=1 (queue active)
Nov 27 12:00:01 mx postfix/smtp[1]: 0123456789: to=<secret@else.test>, relay=none, delay=1, dsn=2.0.0, status=sent (ok)
Nov 27 12:00:01 mx postfix/qmgr[1]: 0123456789: removed
Nov 27 13:00:00 mx postfix/qmgr[1]: 0123456789: from=<bob@acme.test>, size=1, nrcpt=1 (queue active)
Nov 27 13:00:01 mx postfix/smtp[1]: 0123456789: to=<y@partner.test>, relay=none, delay=1, dsn=2.0.0, status=sent (ok)
""")
    assert [(e.sender, e.recipients) for e in entries(found)] == [
        ("bob@acme.test", ["x@partner.test"]),
        ("bob@acme.test", ["y@partner.test"]),
    ]


def test_the_verdict_of_another_message_with_the_same_id_is_not_taken() -> None:
    verdict = "(default: T (add header): [9.00/15.00] [X(9.00){}]), len: 1, time: 1ms, rcpts: <jane@acme.test>"
    found = told(f"""
Nov 27 10:00:00 mx postfix/smtpd[1]: 0123456789: client=a[192.0.2.1]
Nov 27 10:00:00 mx postfix/cleanup[1]: 0123456789: message-id=<one@a.test>
Nov 27 10:00:00 mx postfix/qmgr[1]: 0123456789: from=<a@a.test>, size=1, nrcpt=1 (queue active)
Nov 27 10:00:01 mx postfix/lmtp[1]: 0123456789: to=<jane@acme.test>, relay=x, delay=1, dsn=2.0.0, status=sent (ok)
2026-11-27 10:00:00 #1(rspamd_proxy) <a>; proxy; rspamd_task_write_log: id: <two@a.test>, qid: <0123456789>, {verdict}
2026-11-27 12:00:00 #1(rspamd_proxy) <a>; proxy; rspamd_task_write_log: id: <one@a.test>, qid: <0123456789>, {verdict}
""")
    assert [e.what for e in entries(found)] == ["delivered"]


def test_what_was_deferred_first_and_then_came_is_told_once() -> None:
    why = "host mx.partner.test[192.0.2.9] said: 450 4.2.0 <a>: Recipient address rejected: Greylisted (in reply to RCPT TO command)"
    log = """
Nov 27 10:00:00 mx postfix/smtpd[1]: 0123456789: client=a[192.0.2.1], sasl_method=PLAIN, sasl_username=bob@acme.test
Nov 27 10:00:00 mx postfix/qmgr[1]: 0123456789: from=<bob@acme.test>, size=1, nrcpt=1 (queue active)
"""
    line = "Nov 27 10:{}:01 mx postfix/smtp[1]: 0123456789: to=<a@partner.test>, relay=x, delay=1, dsn=4.2.0, status={} ({})\n"
    deferred = line.format("00", "deferred", why) + line.format("20", "deferred", why)
    (entry,) = entries(told(log + deferred))
    assert (entry.kind, entry.what) == (Kind.ERROR, "deferred")
    assert entry.reason == "greylisted there (says mx.partner.test); tried 2 times"
    (entry,) = entries(told(log + deferred + line.format("40", "sent", "250 ok")))
    assert (entry.kind, entry.what) == (Kind.MAIL, "delivered")
    assert entry.reason == "after 40 min, at first greylisted there (says mx.partner.test)"
    gone = "Nov 27 11:00:00 mx postfix/qmgr[1]: 0123456789: from=<bob@acme.test>, status=expired, returned to sender\n"
    (entry,) = entries(told(log + deferred + gone))
    assert (entry.what, entry.reason) == ("bounced", "given up; greylisted there (says mx.partner.test)")


def test_a_message_in_quarantine_and_what_became_of_it() -> None:
    log = """
Nov 27 10:00:00 mx postfix/smtpd[1]: 0123456789: client=a[192.0.2.1]
Nov 27 10:00:00 mx postfix/cleanup[1]: 0123456789: milter-hold: END-OF-MESSAGE from a[192.0.2.1]: milter triggers HOLD action; from=<a@a.test> to=<jane@acme.test> proto=ESMTP helo=<a>
2026-11-27 10:00:00 #1(rspamd_proxy) <a>; proxy; rspamd_task_write_log: id: <1@a.test>, qid: <0123456789>, ip: 192.0.2.1, from: <a@a.test>, (default: T (quarantine): [9.00/15.00] [BAD(9.00){}]), len: 1, time: 1ms, rcpts: <jane@acme.test,joe@beta.test>
"""
    (entry,) = entries(told(log))
    assert (entry.what, entry.recipients) == ("held", ["jane@acme.test"])
    assert entry.reason == "in quarantine; spam, score 9 of 15: BAD 9"
    gone = "Nov 27 11:00:00 mx postfix/postsuper[1]: 0123456789: removed\n"
    (entry,) = entries(told(log + gone))
    assert entry.reason.endswith("taken out of the queue")
    let_go = """
Nov 27 11:00:00 mx postfix/mspctl[1]: 0123456789: released by Paolo Zen <paolo@msp.example>
Nov 27 11:00:00 mx postfix/postsuper[1]: 0123456789: released from hold
Nov 27 11:00:00 mx postfix/qmgr[1]: 0123456789: from=<a@a.test>, size=1, nrcpt=1 (queue active)
Nov 27 11:00:01 mx postfix/lmtp[1]: 0123456789: to=<jane@acme.test>, relay=x, delay=1, dsn=2.0.0, status=sent (ok)
"""
    (entry,) = entries(told(log + let_go))
    assert entry.reason == "released from quarantine by Paolo Zen <paolo@msp.example>"


def test_what_happened_before_is_not_told() -> None:
    found = entries(real(), since=datetime(2026, 11, 27, 18, 7, tzinfo=UTC))
    assert [e.what for e in found] == ["marked", "refused", "refused", "delivered"]


# -- whose it is ---------------------------------------------------------------------------------------------------

LOCAL = "relay=mx[private/dovecot-lmtp], delay=1, dsn=2.0.0, status=sent (250 2.0.0 <x> 1 Saved)"
AWAY = "relay=mx.else.test[192.0.2.9]:25, delay=1, dsn=2.0.0, status=sent (250 ok)"


@pytest.mark.parametrize(
    ("login", "sender", "delivery", "shown"),
    [
        ("", "a@a.test", f"lmtp[1]: Q: to=<jane@acme.test>, {LOCAL}", ["jane@acme.test"]),
        ("", "a@a.test", f"lmtp[1]: Q: to=<joe@beta.test>, {LOCAL}", None),
        ("", "joe@beta.test", f"lmtp[1]: Q: to=<jane@acme.test>, {LOCAL}", ["jane@acme.test"]),
        # An alias of beta's that goes on to acme: not by which name it came.
        ("", "a@a.test", f"lmtp[1]: Q: to=<jane@acme.test>, orig_to=<secret@beta.test>, {LOCAL}", ["jane@acme.test"]),
        # An alias of acme's that goes on to somebody.
        ("", "a@a.test", f"smtp[1]: Q: to=<x@else.test>, orig_to=<team@acme.test>, {AWAY}", ["x@else.test"]),
        ("", "a@a.test", f"lmtp[1]: Q: to=<joe@beta.test>, orig_to=<team@acme.test>, {LOCAL}", ["team@acme.test"]),
        # What acme wrote is shown as it was written, not where beta lets it go on to.
        ("bob@acme.test", "bob@acme.test", f"lmtp[1]: Q: to=<joe@beta.test>, {LOCAL}", ["joe@beta.test"]),
        (
            "bob@acme.test",
            "bob@acme.test",
            f"smtp[1]: Q: to=<secret@else.test>, orig_to=<team@beta.test>, {AWAY}",
            ["team@beta.test"],
        ),
        # A sender's address proves nothing.
        ("", "bob@acme.test", f"lmtp[1]: Q: to=<joe@beta.test>, {LOCAL}", None),
        ("", "bob@acme.test", f"lmtp[1]: Q: to=<joe@undeclared.test>, {LOCAL}", None),
        ("", "bob@acme.test", f"smtp[1]: Q: to=<x@else.test>, orig_to=<secret@beta.test>, {AWAY}", None),
        ("", "bob@acme.test", f"smtp[1]: Q: to=<x@else.test>, {AWAY}", ["x@else.test"]),
        ("joe@beta.test", "bob@acme.test", f"smtp[1]: Q: to=<x@else.test>, {AWAY}", None),
    ],
)
def test_who_may_see_a_recipient(login: str, sender: str, delivery: str, shown: list[str] | None) -> None:
    who = f", sasl_method=PLAIN, sasl_username={login}" if login else ""
    lines = (
        f"smtpd[1]: Q: client=a[192.0.2.77]{who}",
        f"qmgr[1]: Q: from=<{sender}>, size=1, nrcpt=1 (queue active)",
        delivery,
    )
    log = "\n".join(f"Nov 27 10:00:00 mx postfix/{line.replace(' Q:', ' 0123456789:', 1)}" for line in lines)
    found = entries(told(log))
    assert [e.recipients for e in found] == ([shown] if shown else [])
    assert "secret" not in text(found)
    assert all(
        (e.client == "192.0.2.77") is (not login.endswith("beta.test") and sender != "joe@beta.test") for e in found
    )


def test_where_a_customer_forwards_to_another_nothing_behind_that_is_shown() -> None:
    log = told(f"""
Nov 27 10:00:00 mx postfix/qmgr[1]: 0123456789: from=<a@a.test>, size=1, nrcpt=1 (queue active)
Nov 27 10:00:00 mx postfix/smtp[1]: 0123456789: to=<secret@else.test>, orig_to=<team@acme.test>, {AWAY}
""")
    assert [e.recipients for e in entries(log)] == [["secret@else.test"]]
    assert [e.recipients for e in entries(log, crosses=True)] == [["team@acme.test"]]


def test_texts_lose_what_they_say_of_others() -> None:
    log = told("""
Nov 27 10:00:00 mx postfix/smtpd[1]: 0123456789: client=a[192.0.2.1], sasl_method=PLAIN, sasl_username=bob@acme.test
Nov 27 10:00:00 mx postfix/qmgr[1]: 0123456789: from=<bob@acme.test>, size=1, nrcpt=1 (queue active)
Nov 27 10:00:00 mx postfix/smtp[1]: 0123456789: to=<secret@else.test>, orig_to=<team@beta.test>, relay=x, delay=1, dsn=5.0.0, status=bounced (host mail.beta.test[192.0.2.3] said: 554 secret@else.test and hidden@beta.test do not want it (in reply to DATA command))
""")
    (entry,) = entries(log)
    assert (entry.what, entry.recipients) == ("bounced", ["team@beta.test"])
    assert entry.reason == "somebody else said “554 somebody else and somebody else do not want it”"
    assert "secret" not in entry.said
    assert "beta" not in entry.said


def test_a_refusal_before_there_is_a_message() -> None:
    line = "Nov 27 10:00:00 mx postfix/smtpd[1]: NOQUEUE: reject: {} from a[192.0.2.1]: {}; from=<{}>{} proto=ESMTP helo=<a>"
    size = ("MAIL", "552 5.3.4 Message size exceeds fixed limit")
    relay = ("RCPT", "554 5.7.1 <x>: Relay access denied")
    for stage, sender, to, shown in (
        (size, "bob@acme.test", "", [[]]),
        (size, "joe@beta.test", "", []),
        (relay, "bob@acme.test", " to=<x@else.test>", [["x@else.test"]]),
        (relay, "bob@acme.test", " to=<joe@beta.test>", []),
        (relay, "a@a.test", " to=<jane@acme.test>", [["jane@acme.test"]]),
    ):
        assert [e.recipients for e in entries(told(line.format(*stage, sender, to)))] == shown


def test_nobody_finds_out_about_others_by_asking_for_them() -> None:
    log = told(f"""
Nov 27 10:00:00 mx postfix/smtpd[1]: 0123456789: client=a[192.0.2.1], sasl_method=PLAIN, sasl_username=joe@beta.test
Nov 27 10:00:00 mx postfix/qmgr[1]: 0123456789: from=<a@a.test>, size=1, nrcpt=1 (queue active)
Nov 27 10:00:00 mx postfix/lmtp[1]: 0123456789: to=<jane@acme.test>, orig_to=<secret@beta.test>, {LOCAL}
""")
    assert [e.recipients for e in entries(log)] == [["jane@acme.test"]]
    for asked in ("joe@beta.test", "secret@beta.test", "@beta.test"):
        assert entries(log, wanted=asked_for(asked, ACME)) == []


# -- folding -------------------------------------------------------------------------------------------------------


def test_equal_failures_are_one_with_their_number() -> None:
    line = (
        "Nov 27 10:00:{:02} mx postfix/smtpd[1]: NOQUEUE: reject: RCPT from a[192.0.2.1]: 550 5.1.1 <x>: Recipient address"
        " rejected: User unknown; from=<a@a.test> to=<{}@acme.test> proto=ESMTP helo=<a>\n"
    )
    log = "".join(line.format(n % 60, f"guess{n % 5}") for n in range(300))
    (entry,) = entries(told(log))
    assert (entry.count, entry.reason) == (300, "unknown address")
    assert entry.recipients == [f"guess{n}@acme.test" for n in range(5)]
    assert "guess0@acme.test, guess1@acme.test, guess2@acme.test and 2 more" in text([entry])


def test_a_flood_is_counted_and_not_kept() -> None:
    said = {"verb": "reject", "stage": "RCPT", "code": "550", "said": "User unknown", "sender": "a@a.test"}
    (entry,) = entries(Fact(T, "refused", said={**said, "to": f"guess{n}@acme.test"}) for n in range(3000))
    assert (entry.count, len(entry.recipients)) == (3000, 1000)


def test_log_ins_are_told_by_who_from_where_how_often_and_why() -> None:
    user = "sql(jane@acme.test,{0},<{1}>): {2}"
    log = ""
    for number, (ip, cause) in enumerate([("192.0.2.1", "Password mismatch")] * 3 + [("192.0.2.2", "unknown user")]):
        log += f"Nov 27 10:00:0{number} auth-worker(1): Info: conn unix:x (pid=1,uid=1): auth-worker<1>: {user.format(ip, number, cause)}\n"
        log += (
            f"Nov 27 10:00:0{number} imap-login: Info: Disconnected: Connection closed (auth failed, 2 attempts in 4 secs):"
            f" user=<jane@acme.test>, method=PLAIN, rip={ip}, lip=192.0.2.9, TLS, session=<{number}>\n"
        )
    assert [(e.count, e.client, e.reason) for e in entries(told(log))] == [
        (6, "192.0.2.1", "wrong password (IMAP)"),
        (2, "192.0.2.2", "no such mailbox, or it is disabled (IMAP)"),
    ]


def test_where_postfix_does_not_say_who_dovecot_does() -> None:
    line = "Nov 27 10:00:00 auth-worker(1): Info: conn unix:x (pid=1,uid=1): auth-worker<1>: sql(bob@acme.test,192.0.2.1): Password mismatch\n"
    warning = "Nov 27 10:00:00 mx postfix/submission/smtpd[1]: warning: a[192.0.2.1]: SASL PLAIN authentication failed: (reason unavailable)"
    (entry,) = entries(told(line * 2 + warning))
    assert (entry.count, entry.reason) == (2, "wrong password (submission)")
    (entry,) = entries(told(line * 2 + f"{warning}, sasl_username=bob@acme.test\n"))
    assert (entry.count, entry.reason) == (1, "wrong password (submission)")


def test_a_greylisted_message_that_came_again_is_told_so() -> None:
    (entry,) = (e for e in entries(real()) if e.what == "greylisted")
    assert entry.back == datetime(2026, 11, 27, 18, 7, 9, tzinfo=UTC)
    (entry,) = (e for e in entries(f for f in real() if f.at.minute < 7) if e.what == "greylisted")
    assert entry.back is None


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mspctl.mail_log.join.MOST", 50)
    from mspctl.kinds.mail_log import Whose
    from mspctl.mail_log.join import Joiner

    joiner = Joiner(Whose(ACME), T, lambda address: True)
    for number in range(500):
        said = {"verb": "reject", "stage": "RCPT", "code": "550", "said": "User unknown", "to": "jane@acme.test"}
        at = T + timedelta(seconds=number)
        joiner.add(Fact(at, "refused", said={**said, "sender": f"a{number}@a.test"}))
        joiner.add(Fact(at, "stored", said={"session": str(number), "folder": "INBOX"}))
        joiner.add(Fact(at, "cause", said={"user": "jane@acme.test", "session": str(number), "cause": "x"}))
    found = joiner.entries()
    assert [e.sender for e in found] == [f"a{number}@a.test" for number in range(450, 500)]
    assert joiner.told_from == T + timedelta(seconds=449)
    assert max(len(kept) for kept in (joiner._folders, joiner._causes)) <= 100


# -- which address -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "address", "is_it"),
    [
        ("jane", "jane@acme.test", True),
        ("jane", "jane+orders@acme-alias.test", True),
        ("jane", "jane@partner.test", False),
        ("Jane@ACME.test", "jane@acme.test", True),
        ("jane@acme.test", "jane@acme-alias.test", False),
        ("@partner.test", "x@partner.test", True),
        ("@partner.test", "x@sub.partner.test", False),
        ("ann", "joann@acme.test", False),
    ],
)
def test_an_address_is_asked_for_by_name_whole_or_by_its_domain(asked: str, address: str, is_it: bool) -> None:
    assert asked_for(asked, ACME)(address) is is_it


def test_an_address_is_found_whoever_wrote_to_whom() -> None:
    found = entries(real(), wanted=asked_for("team@acme.test", ACME))
    assert [(e.what, e.recipients) for e in found] == [
        ("delivered", ["ext@partner.test", "bob@acme.test", "jane@acme.test"])
    ]
    found = entries(real(), wanted=asked_for("bob", ACME))
    assert {e.what for e in found} == {"delivered", "bounced", "deferred", "refused", "log-in failed"}
    assert all("bob@acme.test" in (e.sender, *e.recipients) for e in found)
