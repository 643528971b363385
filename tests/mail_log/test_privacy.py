"""Whatever happens on a server, nobody sees what is another customer's; and what strangers wrote acts on nothing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mspctl.kinds.mail_log import Entry, Fact, Junk, Kind, Waiting, Whose
from mspctl.mail_log import held
from mspctl.report import mail_log as report
from tests.mail_log.telling import ACME, BETA, entries, heading, told

T = datetime(2026, 11, 27, 10, tzinfo=UTC)
PRIVATE = ["secret-1@beta.test", "secret-2@beta.test", "secret-3@BETA.test"]  # never written to by acme
ELSE = ["x@else.test", "y@else.test"]


def shown(found: list[Entry]) -> str:
    return "\n".join(report.log(heading(), found, None)) + report.log_as_json(heading(), found)


@st.composite
def messages(draw: st.DrawFn) -> list[Fact]:
    """
    A day of mail of two customers and others. Ids of the queue come again, and lines are missing, but not both the last
    of a message and the first of the next one that has its id.
    """
    found: list[Fact] = []
    for number in range(draw(st.integers(1, 4))):
        at, queue = T + timedelta(minutes=number), draw(st.sampled_from(["A000001", "A000002", ""]))
        login = draw(st.sampled_from(["", "secret-1@beta.test", "bob@acme.test"]))
        sender = draw(st.sampled_from(["a@a.test", "bob@acme.test", *([login] if login else [])]))
        mine, foreign = ["jane@acme.test", "jane@acme-alias.test"], [*PRIVATE, *ELSE]
        # What acme itself wrote to may be shown to it, so there acme writes to nobody of beta.
        to = draw(
            st.lists(st.sampled_from(mine + (ELSE if login == "bob@acme.test" else foreign)), min_size=1, max_size=3)
        )
        rcpts = ",".join(to)
        facts = [Fact(at, "begun", queue, {"ip": "192.0.2.77", "login": login})]
        facts += [Fact(at, "queued", queue, {"sender": sender})]
        facts += [Fact(at, "verdict", queue, {"action": draw(ACTIONS), "score": "9", "limit": "15", "rcpts": rcpts})]
        for address in to:
            said = {"to": address, "sender": sender, "verb": "reject", "code": "550", "said": f"<{address}> {rcpts} no"}
            stage = draw(st.sampled_from(["RCPT", "END-OF-MESSAGE", "header", "MAIL"]))
            facts += [Fact(at, "refused", queue, {**said, "stage": stage, "ip": "192.0.2.77", "login": login})]
            orig = draw(st.sampled_from(["", *([] if login == "bob@acme.test" else ["secret-2@beta.test"])]))
            agent = draw(st.sampled_from(["lmtp", "smtp"]))
            status = draw(st.sampled_from(["sent", "bounced", "deferred"]))
            what = {"to": address, "orig": orig, "agent": agent, "status": status}
            facts += [Fact(at, "delivery", queue, {**what, "said": f"host mx.beta.test[1] said: {rcpts}: no"})]
        facts += [Fact(at, "login", said={"user": draw(st.sampled_from(PRIVATE)), "ip": "192.0.2.77"})]
        facts += [Fact(at, "released", said={"to": PRIVATE[0], "uid": "1", "who": "Paolo"})]
        facts += [Fact(at, "over", queue)] * draw(st.booleans())
        found += [fact for fact in facts if (queue or fact.says in ALONE) and (fact.says == "begun" or draw(KEPT))]
    return found


ACTIONS = st.sampled_from(["no action", "reject", "add header", "soft reject"])
ALONE = ("refused", "login", "released")  # about no message in the queue
KEPT = st.integers(0, 9).map(bool)


@settings(max_examples=60)
@given(messages())
def test_nothing_of_another_customer_is_shown(found: list[Fact]) -> None:
    """Who wrote to acme is acme's to know; nothing else is."""
    told = entries(found)
    for entry in told:
        assert not (entry.client and entry.sender.endswith("beta.test"))
        assert not entry.sender.endswith("beta.test") or {*entry.recipients} <= {
            "jane@acme.test",
            "jane@acme-alias.test",
        }
    text = shown([replace(entry, sender="") for entry in told])
    assert not re.search("secret|beta", text, re.IGNORECASE)


# -- what strangers wrote ------------------------------------------------------------------------------------------

NASTY = [
    "\x1b[31mred\x1b[0m",
    "\x9b2J",
    "\r\noverwritten",
    "\x00",
    "\u202egnp.exe",
    "\u2028line",
    "\x07",
    "\ud800",
    "\x85",
]


@pytest.mark.parametrize("nasty", NASTY)
@pytest.mark.parametrize("width", [None, 80, 160])
def test_nothing_reaches_a_terminal_that_it_acts_upon(nasty: str, width: int | None) -> None:
    entry = Entry(
        Kind.ERROR, "bounced", T, T, 2, f"{nasty}@a.test", [f"{nasty}@acme.test"], nasty, nasty, nasty, [nasty]
    )
    waiting = Waiting("0123456789", True, T, 1, f"{nasty}@a.test", [(f"{nasty}@acme.test", nasty)], 1)
    junk = Junk("jane@acme.test", 1, T, 1, nasty, nasty)
    noted = report.Heading("acme", "UTC", T, ["mail-1"], T, [nasty], [("mail-1", nasty)])
    lines = [*report.log(noted, [entry], width), *report.queue(noted, [waiting], width)]
    lines += [*report.held(noted, [waiting], [junk], width), report.released(waiting), report.released(junk)]
    ours = re.compile(r"\x1b\[[0-9;]*m")
    assert all(ours.sub("", line).isprintable() for line in lines)
    assert all(nasty not in line for line in lines)
    for document in (
        report.log_as_json(noted, [entry]),
        report.queue_as_json(noted, [waiting]),
        report.held_as_json(noted, [waiting], [junk]),
    ):
        assert all(" " <= c <= "~" or c == "\n" for c in document)
        assert json.loads(document)["notes"] == [nasty]


def test_a_line_that_a_stranger_forges_is_no_line() -> None:
    """What is no end of a line to grep must be none to us: NEL, a line separator, a carriage return."""
    forged = (
        "Nov 27 10:00:00 mx postfix/smtpd[1]: NOQUEUE: reject: RCPT from a[192.0.2.1]: 550 5.1.1 <x>: User unknown;"
    )
    forged += " from=<forged@a.test> to=<jane@acme.test> proto=ESMTP helo=<a>"
    from mspctl.drivers.maillog.lines import facts
    from tests.mail_log.telling import stamps

    for end in ("\x85", "\u2028", "\r", "\x0b", "\x0c"):
        line = f"Nov 27 10:00:00 mx postfix/cleanup[1]: 0123456789: message-id=<a{end}{forged}>"
        found = entries(facts([line.encode()], stamps()))
        assert found == []


def test_words_in_quotes_are_no_words_of_the_server() -> None:
    (fact,) = told(
        'Nov 27 10:00:00 mx postfix/smtp[1]: 0123456789: to=<"a>, relay=x, delay=1, dsn=2.0.0, status=sent (ok)"@acme.test>,'
        " relay=none, delay=1, dsn=5.1.1, status=bounced (no)"
    )
    assert fact["status"] == "bounced"
    assert fact["to"] == '"a>, relay=x, delay=1, dsn=2.0.0, status=sent (ok)"@acme.test'


# -- the queue, and Junk ------------------------------------------------------------------------------------------

WHOSE = Whose(ACME, BETA)


@pytest.mark.parametrize(
    ("sender", "recipients", "seen", "others"),
    [
        ("a@a.test", ["jane@acme.test"], ["jane@acme.test"], 0),
        ("a@a.test", ["jane@acme.test", "joe@beta.test", "x@else.test"], ["jane@acme.test"], 2),
        ("a@a.test", ["joe@beta.test"], None, 0),
        ("bob@acme.test", ["x@else.test", "joe@beta.test"], ["x@else.test"], 1),
        ("bob@acme.test", ["joe@beta.test"], [], 1),
        ("a@acme.test.else.test", ["x@else.test"], None, 0),
    ],
)
def test_of_the_queue_each_sees_its_own(
    sender: str, recipients: list[str], seen: list[str] | None, others: int
) -> None:
    why = "host mx.beta.test[192.0.2.1] said: 450 joe@beta.test is busy (in reply to RCPT TO command)"
    message = Waiting("0123456789", True, T, 1, sender, [(to, why) for to in recipients])
    found = [*held.waiting([message], WHOSE)]
    assert [([to for to, _ in each.recipients], each.others) for each in found] == (
        [(seen, others)] if seen is not None else []
    )
    text = report.queue_as_json(heading(), found) + "\n".join(report.queue(heading(), found, None))
    assert "beta" not in text


def test_of_junk_each_sees_its_own() -> None:
    found = [
        Junk(f"jane@{domain}", 1, T, 1, "a@a.test", "hello") for domain in ("acme.test", "beta.test", "xacme.test")
    ]
    assert [each.id for each in held.junk(found, WHOSE)] == ["jane@acme.test:1"]
