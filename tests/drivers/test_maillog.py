"""
Lines of mail servers as facts, and logs in files: rotated, packed, damaged, rotated while they are read.

What the driver does on a real mail server is in tests/cli/test_mail_log.py.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mspctl import mail_log
from mspctl.driver import Access, Gauge, Logs, Measured, Releases, Unmeasured, measured
from mspctl.drivers import maillog
from mspctl.drivers.maillog import native
from mspctl.drivers.maillog.lines import LONGEST, Stamps, fact
from mspctl.errors import Stale, TargetError
from mspctl.kinds import mail
from mspctl.kinds.mail_log import Fact, Waiting, Whose
from mspctl.moments import timezone
from mspctl.resource import Id, Scope
from mspctl.secrets import Secrets
from tests.mail_log.telling import REAL

NOW = datetime(2026, 11, 27, 18, 30, tzinfo=UTC)
ACME = frozenset({"acme.test"})

# -- lines ----------------------------------------------------------------------------------------------------------

SYSLOG, ISO = "Nov 27 10:00:00 mx ", "2026-11-27T10:00:00.123456+00:00 mx "
REJECT = "550 5.1.1 <x@acme.test>: Recipient address rejected: User unknown; from=<a@a.test> to=<x@acme.test>"
DELIVERY = "to=<x@acme.test>, relay=mx[1.2.3.4]:25, delay=1.2, delays=0/0/0/1, dsn=2.0.0, status=sent (250 ok)"


@pytest.mark.parametrize(
    ("line", "says", "said"),
    [
        (f"{SYSLOG}postfix/smtpd[1]: NOQUEUE: reject: RCPT from a[192.0.2.1]: {REJECT} proto=ESMTP helo=<a>",
         "refused", {"to": "x@acme.test", "code": "550", "ip": "192.0.2.1"}),
        (f"{ISO}postfix/smtpd[1]: NOQUEUE: reject: RCPT from a[2001:db8::1]:25: {REJECT} proto=SMTP",
         "refused", {"to": "x@acme.test", "ip": "2001:db8::1"}),
        (f"{SYSLOG}postfix/submission/smtpd[1]: NOQUEUE: reject: RCPT from a[192.0.2.1]: {REJECT} proto=ESMTP helo=<a>"
         " sasl_username=bob@acme.test", "refused", {"login": "bob@acme.test"}),
        # postscreen has commas.
        (f"{SYSLOG}postfix/postscreen[1]: NOQUEUE: reject: RCPT from [192.0.2.1]:4711: 550 5.7.1 Service unavailable;"
         " client [192.0.2.1] blocked using zen.spamhaus.org; from=<a@a.test>, to=<x@acme.test>, proto=ESMTP, helo=<a>",
         "refused", {"to": "x@acme.test", "ip": "192.0.2.1"}),
        (f"{SYSLOG}postfix/smtpd[1]: 4Rz1Xk2mJnz9sV: client=a[192.0.2.1], sasl_method=PLAIN, sasl_username=b@acme.test",
         "begun", {"ip": "192.0.2.1", "login": "b@acme.test"}),
        (f"{SYSLOG}postfix/pickup[1]: 0123456789: uid=0 from=<root>", "begun", {}),
        (f"{SYSLOG}postfix-out/smtp[1]: 0123456789: {DELIVERY}", "delivery", {"agent": "smtp", "status": "sent"}),
        (f"{SYSLOG}postfix/smtp[1]: 0123456789: {DELIVERY.replace('delay=', 'conn_use=2, delay=')}", "delivery", {}),
        (f"{SYSLOG}postfix/qmgr[1]: 0123456789: from=<>, status=expired, returned to sender", "expired", {}),
        (f"{SYSLOG}postfix/qmgr[1]: 0123456789: from=<>, status=force-expired, returned to sender", "expired", {}),
        (f"{SYSLOG}postfix/smtps/smtpd[1]: warning: a[192.0.2.1]: SASL LOGIN authentication failed: UGFzc3dvcmQ6,"
         " sasl_username=bob@acme.test", "login", {"service": "submission", "user": "bob@acme.test"}),
        (f"{SYSLOG}postfix/smtpd[1]: warning: a[192.0.2.1]: SASL LOGIN authentication failed: x,"
         " sasl_username=bob@acme.test", "login", {"service": "SMTP"}),
        # Dovecot 2.2, 2.3 and 2.4, in its own file and through syslog.
        (f"{SYSLOG}dovecot: imap-login: Login: user=<bob@acme.test>, method=PLAIN, rip=192.0.2.1, lip=192.0.2.9, mpid=1",
         "entered", {"service": "imap", "user": "bob@acme.test", "ip": "192.0.2.1"}),
        ("Nov 27 10:00:00 imap-login: Info: Aborted login (auth failed, 3 attempts in 15 secs): user=<bob@acme.test>,"
         " method=PLAIN, rip=192.0.2.1, lip=192.0.2.9, TLS, session=<a/b+c>",
         "login", {"attempts": "3", "service": "imap", "session": "a/b+c"}),
        (f"{SYSLOG}dovecot: pop3-login: Disconnected (auth failed, 1 attempts): user=<bob@acme.test>, method=PLAIN,"
         " rip=192.0.2.1, lip=192.0.2.9", "login", {"service": "pop3", "ip": "192.0.2.1"}),
        (f"{SYSLOG}dovecot[7]: imap-login: Login aborted: Connection closed (auth failed, 1 attempts in 2 secs)"
         " (auth_failed): user=<bob@acme.test>, method=PLAIN, rip=192.0.2.1, lip=192.0.2.9, TLS, session=<s>",
         "login", {"user": "bob@acme.test", "session": "s"}),
        (f"{SYSLOG}dovecot[7]: auth-worker(bob@acme.test,192.0.2.1)<99><s>: request [1]: sql: Password mismatch",
         "cause", {"user": "bob@acme.test", "ip": "192.0.2.1", "session": "s"}),
        (f"{SYSLOG}dovecot: auth(bob@acme.test,192.0.2.1,sasl:plain)<s>: sql: unknown user",
         "cause", {"cause": "unknown user", "session": "s"}),
        (f"{SYSLOG}dovecot: auth-worker(7): conn unix:x (pid=1,uid=2): auth-worker<3>: sql(bob@acme.test,192.0.2.1,<s>):"
         " Password mismatch (given password: hunter2)", "cause", {"cause": "Password mismatch", "session": "s"}),
        ("Nov 27 10:00:00 lmtp(bob@acme.test)<7><s:R2>: Info: msgid=<a: saved mail to Fake>: saved mail to Junk",
         "stored", {"session": "s:R2", "folder": "Junk"}),
        (f"{SYSLOG}dovecot: lmtp(bob@acme.test)<7><s>: sieve: msgid=<a>: fileinto action: stored mail into mailbox 'A B'",
         "stored", {"folder": "A B"}),
        (f"{SYSLOG}rspamd[7]: <ab>; proxy; rspamd_task_write_log: id: <1@a>, qid: <0123456789>, ip: 192.0.2.1,"
         " user: bob@acme.test, from: <a@a.test>, (default: T (reject): [nan/15.00] []), len: 1, time: 1ms",
         "verdict", {"action": "reject", "score": "nan", "login": "bob@acme.test"}),
        (f"{SYSLOG}postfix/mspctl[7]: bob@acme.test:17: released by Paolo Zen", "released",
         {"to": "bob@acme.test", "uid": "17", "who": "Paolo Zen"}),
    ],
)  # fmt: skip
def test_what_a_line_says(line: str, says: str, said: dict[str, str]) -> None:
    found = fact(line, Stamps(timezone("UTC"), NOW))
    assert found is not None
    assert (found.says, found.at.replace(microsecond=0)) == (says, datetime(2026, 11, 27, 10, tzinfo=UTC))
    assert said.items() <= found.said.items()
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "no time",
        "Foo 27 10:00:00 mx postfix/smtpd[1]: NOQUEUE: reject",
        "Feb 31 10:00:00 mx postfix/qmgr[1]: 0123456789: removed",
        "2026-13-01T00:00:00Z mx postfix/qmgr[1]: 0123456789: removed",
        f"{SYSLOG}postfix/smtpd[1]: connect from a[192.0.2.1]",
        f"{SYSLOG}postfix/smtpd[1]: NOQUEUE: reject_warning: RCPT from a[192.0.2.1]: {REJECT} proto=ESMTP helo=<a>",
        f"{SYSLOG}postfix/smtpd[1]: 0123456789: client=a[192.0.2.1] forged",
        f"{SYSLOG}evil[1]: 0123456789: {DELIVERY}",
        f"{SYSLOG}dovecot: auth-worker(7): conn unix:x: auth-worker<3>: sql(team@acme.test): unknown user",
        "Nov 27 10:00:00 imap-login: Info: Disconnected (no auth attempts in 0 secs): user=<>, rip=192.0.2.1, lip=x",
        f"{SYSLOG}rspamd[7]: <ab>; proxy; rspamd_message_parse: loaded message; id: <a, qid: <0123456789>",
    ],
)
def test_other_lines_say_nothing(line: str) -> None:
    assert fact(line, Stamps(timezone("UTC"), NOW)) is None


def test_every_line_that_names_a_message_of_a_real_server_is_understood() -> None:
    """But those of connections, which say nothing of a message."""
    stamps, told = Stamps(timezone("UTC"), NOW), 0
    for line in (REAL / "mail.log").read_text(encoding="utf-8", errors="replace").splitlines():
        text = line.partition("]: ")[2]
        if "notification" in line or text.startswith(
            ("connect", "disconnect", "lost", "statistics", "Released", "Deleted")
        ):
            assert fact(line, stamps) is None
        else:
            told += 1
            assert fact(line, stamps) is not None, line
    assert told > 150


# -- times ----------------------------------------------------------------------------------------------------------


def at(line: str, zone: str = "UTC", modified: datetime = NOW, stamps: Stamps | None = None) -> str:
    found = (stamps or Stamps(timezone(zone), modified)).read(f"{line} mx x: y")
    assert found is not None
    assert found[1] == "mx x: y"
    return found[0].isoformat()


@pytest.mark.parametrize(
    ("line", "zone", "modified", "when"),
    [
        ("Nov 27 10:00:00", "UTC", NOW, "2026-11-27T10:00:00+00:00"),
        ("Nov  7 10:00:00", "UTC", NOW, "2026-11-07T10:00:00+00:00"),
        ("Nov 27 10:00:00", "Europe/Rome", NOW, "2026-11-27T09:00:00+00:00"),
        ("Jul  1 10:00:00", "Europe/Rome", NOW, "2026-07-01T08:00:00+00:00"),
        # The last one that is not later than the file; clocks may differ by a little.
        ("Dec 31 23:59:59", "UTC", datetime(2027, 1, 1, 0, 1, tzinfo=UTC), "2026-12-31T23:59:59+00:00"),
        ("Jan  1 00:00:30", "UTC", datetime(2026, 12, 31, 23, 59, tzinfo=UTC), "2027-01-01T00:00:30+00:00"),
        ("Dec  2 00:00:00", "UTC", NOW, "2025-12-02T00:00:00+00:00"),
        ("Feb 29 12:00:00", "UTC", datetime(2029, 3, 1, tzinfo=UTC), "2028-02-29T12:00:00+00:00"),
        ("2026-11-27T10:00:00.123456+01:00", "UTC", NOW, "2026-11-27T09:00:00.123456+00:00"),
        ("2026-11-27T10:00:00Z", "Europe/Rome", NOW, "2026-11-27T10:00:00+00:00"),
        ("2026-11-27T10:00:00+0100", "UTC", NOW, "2026-11-27T09:00:00+00:00"),
        ("2026-11-27 10:00:00.05", "Europe/Rome", NOW, "2026-11-27T09:00:00.050000+00:00"),
        ("2026-11-27 10:00:00", "Europe/Rome", NOW, "2026-11-27T09:00:00+00:00"),
    ],
)
def test_when_a_line_was_written(line: str, zone: str, modified: datetime, when: str) -> None:
    assert at(line, zone, modified) == when


def test_an_hour_that_clocks_show_twice_goes_on() -> None:
    stamps = Stamps(timezone("Europe/Rome"), NOW)
    found = [
        at(f"Oct 25 {clock}", stamps=stamps) for clock in ("02:10:00", "02:59:00", "02:01:00", "02:59:00", "03:00:00")
    ]
    assert [each[11:16] for each in found] == ["00:10", "00:59", "01:01", "01:59", "02:00"]


# -- log-ins --------------------------------------------------------------------------------------------------------


def logins(folder: Path, *locals_: str, **more: Any) -> list[Measured]:
    gauges = [
        Gauge(Scope("mail-1", "logs", "acme.test"), Id(mail.MAILBOX, local), mail.LAST_LOGIN) for local in locals_
    ]
    return [*measured(maillog.Reader(access(folder, **more)), gauges).values()]


def entered(minutes: int, user: str, form: str = "mx dovecot: imap-login: Login: ") -> tuple[datetime, str]:
    at = (datetime.now(UTC) - timedelta(minutes=minutes)).replace(microsecond=0)
    return at, f"{at:%Y-%m-%dT%H:%M:%S}+00:00 {form}user=<{user}>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.9, TLS\n"


def stamped(path: Path, minutes: int, *lines: str) -> None:
    path.write_text("".join(lines))
    moment = (datetime.now(UTC) - timedelta(minutes=minutes)).timestamp()
    os.utime(path, (moment, moment))


def test_when_somebody_logged_in_last_is_in_the_logs(folder: Path) -> None:
    (_, first), (second, last), (third, old) = (
        entered(90, "Jane@acme.test"),
        entered(30, "jane@acme.test"),
        entered(3000, "joe@acme.test", "pop3-login: Info: Login: "),
    )
    sent = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
    line = f"{sent:%Y-%m-%dT%H:%M:%S}+00:00 mx postfix/submission/smtpd[1]: 4Rz1Xk2mJnz9sV: client=a[192.0.2.1]"
    sending = f"{line}, sasl_method=PLAIN, sasl_username=sara@acme.test\n"
    stamped(folder / "mail.log", 1, first, last, sending, entered(2, "xjane@acme.test")[1])
    stamped(folder / "mail.log.1", 2000, entered(2500, "jane@acme.test")[1])
    (folder / "mail.log.2.gz").write_bytes(gzip.compress(old.encode()))
    assert logins(folder, "jane", "joe", "sara", "nobody") == [second, third, sent, None]
    assert logins(folder, "joe", look_back="1d") == [None]


def test_one_log_that_was_written_later_does_not_hide_another(folder: Path) -> None:
    (folder / "dovecot.log").touch()
    stamped(folder / "mail.log", 0, entered(600, "jane@acme.test")[1])
    at, line = entered(60, "jane@acme.test", "imap-login: Info: Login: ")
    stamped(folder / "dovecot.log", 59, line)
    assert logins(folder, "jane", files=[str(folder / "mail.log"), str(folder / "dovecot.log")]) == [at]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda folder: None, "there is none of"),
        (lambda folder: stamped(folder / "mail.log", 1, refusal(1, 27)), "no log-in of anybody stands in the logs of"),
        (lambda folder: (folder / "mail.log.1.gz").write_bytes(b"no gzip"), "damaged"),
    ],
)
def test_logs_that_do_not_tell_who_logs_in_are_not_good(folder: Path, make: Callable[[Path], Any], why: str) -> None:
    make(folder)
    (answer,) = logins(folder, "jane")
    assert isinstance(answer, Unmeasured)
    assert why in answer.why


# -- files ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def access(folder: Path, **more: Any) -> Access:
    said = {"via": "local", "files": [str(folder / "mail.log")], "timeout": "20s", **more}
    return Access("mail-1", "", maillog.Settings.model_validate(said), Secrets({}), folder)


def refusal(number: int, day: int, to: str = "jane@acme.test") -> str:
    return (
        f"Nov {day:>2} 10:00:00 mx postfix/smtpd[1]: NOQUEUE: reject: RCPT from a[192.0.2.1]: 550 5.1.1 <x>: User unknown;"
        f" from=<n{number}@a.test> to=<{to}> proto=ESMTP helo=<a>\n"
    )


def put(path: Path, text: str, day: int, pack: Callable[[bytes], bytes] = lambda data: data) -> None:
    path.write_bytes(pack(text.encode()))
    moment = datetime(2026, 11, day, 23, tzinfo=UTC).timestamp()
    os.utime(path, (moment, moment))


def senders(facts: Iterator[Fact]) -> list[str]:
    return [each["sender"].partition("@")[0] for each in facts]


EVER = datetime(2026, 1, 1, tzinfo=UTC)


def test_rotated_and_packed_files_are_read_from_the_oldest_needed(folder: Path) -> None:
    put(folder / "mail.log", refusal(1, 27), 27)
    put(folder / "mail.log.1", refusal(2, 26), 26)
    put(folder / "mail.log.2.gz", refusal(3, 25), 25, gzip.compress)
    put(folder / "mail.log-20261124.xz", refusal(4, 24), 24, lzma.compress)
    put(folder / "mail.log-20261123.bz2", refusal(5, 23), 23, bz2.compress)
    put(folder / "mail.log.10.gz", refusal(6, 22), 22, gzip.compress)
    for other in ("mail.log.bak", "mail.logs", "mail.err", "xmail.log", "mail.log.1.swp"):
        put(folder / other, refusal(9, 27), 27)
    reader = maillog.Reader(access(folder))
    assert senders(reader.facts(ACME, EVER, 100)) == ["n6", "n5", "n4", "n3", "n2", "n1"]
    assert senders(reader.facts(ACME, datetime(2026, 11, 25, 12, tzinfo=UTC), 100)) == ["n3", "n2", "n1"]


def test_only_lines_of_the_domains_come_and_all_of_their_messages(folder: Path) -> None:
    for name in ("mail.log", "dovecot.log", "rspamd.log"):
        put(folder / name, (REAL / name).read_bytes().decode(errors="surrogateescape").replace("\udc9b", ""), 27)
    files = [str(folder / name) for name in ("mail.log", "dovecot.log", "rspamd.log")]
    found = [*maillog.Reader(access(folder, files=files)).facts({"beta.test"}, EVER, 100)]
    assert {each.queue for each in found} == {"", "118409DC506", "629F29DC504", "804649DC504", "34C1D9DC013"}
    assert {each.says for each in found if each.queue == "118409DC506"} == {
        "begun", "named", "queued", "delivery", "over", "verdict",
    }  # fmt: skip
    assert {each["user"] for each in found if each.says == "login"} == {"joe@beta.test"}


def test_domains_are_found_however_they_are_written(folder: Path) -> None:
    lines = (
        refusal(1, 27, "jane@ACME.test")
        + refusal(2, 27, "x@müller.example")
        + refusal(3, 27, "x@xn--mller-kva.example")
    )
    put(folder / "mail.log", lines + refusal(4, 27, "x@acme.test.else.example") + refusal(5, 27, "x@xacme.test"), 27)
    reader = maillog.Reader(access(folder))
    log = mail_log.read(reader, Whose(frozenset({"acme.test", "xn--mller-kva.example"})), EVER)
    assert [entry.recipients for entry in log.entries] == [
        ["jane@acme.test"],
        ["x@xn--mller-kva.example"],
        ["x@xn--mller-kva.example"],
    ]


def test_a_damaged_file_is_named_and_the_others_are_read(folder: Path) -> None:
    put(folder / "mail.log", refusal(1, 27), 27)
    put(
        folder / "mail.log.1.gz",
        refusal(2, 26) * 2000,
        26,
        lambda data: gzip.compress(os.urandom(100_000) + data)[:90_000],
    )
    log = mail_log.read(maillog.Reader(access(folder)), Whose(ACME), EVER)
    assert [entry.sender for entry in log.entries] == ["n1@a.test"]
    assert log.damaged == [str(folder / "mail.log.1.gz")]


def test_where_there_is_no_log_that_is_said(folder: Path) -> None:
    with pytest.raises(TargetError, match=r"there is none of .*/mail\.log"):
        [*maillog.Reader(access(folder)).facts(ACME, EVER, 100)]
    (folder / "mail.log").write_bytes(b"")
    assert [*maillog.Reader(access(folder)).facts(ACME, EVER, 100)] == []


def rotate(folder: Path) -> None:
    """As logrotate does with `compress` and `delaycompress`."""
    for number in range(8, 1, -1):
        if (folder / f"mail.log.{number}.gz").exists():
            (folder / f"mail.log.{number}.gz").rename(folder / f"mail.log.{number + 1}.gz")
    if (old := folder / "mail.log.1").exists():
        put(folder / "mail.log.2.gz", old.read_text(), 26, gzip.compress)
        old.unlink()
    (folder / "mail.log").rename(folder / "mail.log.1")
    put(folder / "mail.log", "", 27)


def copy_truncate(folder: Path) -> None:
    """As logrotate does with `copytruncate`, where it keeps one."""
    (folder / "mail.log.1").write_bytes((folder / "mail.log").read_bytes())
    (folder / "mail.log").write_bytes(b"")


class Rotating(maillog.Reader):
    """A server on which logs are rotated while they are read, so many times."""

    def __init__(self, access: Access, rotation: Callable[[Path], None], times: int) -> None:
        super().__init__(access)
        self.rotation, self.times = rotation, times

    def facts(self, *asked: Any) -> Iterator[Fact]:
        found = super().facts(*asked)
        yield next(found)
        if self.times:
            self.times -= 1
            self.rotation(Path(self.settings.files[0]).parent)
        yield from found


@pytest.mark.parametrize(("rotation", "kept"), [(rotate, 600), (copy_truncate, 300)])
def test_rotated_in_the_middle_nothing_is_lost_or_told_twice(
    folder: Path, rotation: Callable[[Path], None], kept: int
) -> None:
    put(folder / "mail.log", "".join(refusal(n, 27) for n in range(300, 600)), 27)
    put(folder / "mail.log.1", "".join(refusal(n, 26) for n in range(300)), 26)
    with pytest.raises(Stale, match="rotated while"):
        [*Rotating(access(folder), rotate, 1).facts(ACME, EVER, 1000)]
    (folder / "mail.log.1").rename(folder / "mail.log")
    (folder / "mail.log.2.gz").unlink()
    put(folder / "mail.log.1", "".join(refusal(n, 26) for n in range(300)), 26)
    log = mail_log.read(Rotating(access(folder), rotation, 1), Whose(ACME), EVER)
    assert {entry.count for entry in log.entries} == {1}
    assert len({entry.sender for entry in log.entries}) == len(log.entries) == kept


def test_rotated_for_ever_is_an_error_and_no_loop(folder: Path) -> None:
    put(folder / "mail.log", refusal(1, 27), 27)
    server = Rotating(access(folder), rotate, 100)
    with pytest.raises(TargetError, match="rotated again and again"):
        mail_log.read(server, Whose(ACME), EVER)
    assert server.times == 100 - mail_log.ATTEMPTS


def test_a_log_that_grows_is_not_rotated(folder: Path) -> None:
    put(folder / "mail.log", refusal(1, 27), 27)
    facts = maillog.Reader(access(folder)).facts(ACME, EVER, 100)
    assert next(facts)["sender"] == "n1@a.test"
    with (folder / "mail.log").open("a") as log:
        log.write(refusal(2, 27))
    assert [*facts] == []


def test_of_too_many_messages_the_latest_are_told_and_since_when(folder: Path) -> None:
    line = "Nov 27 10:{:02}:{:02} mx postfix/lmtp[1]: A{:06}: to=<jane@acme.test>, relay=x, delay=1, dsn=2.0.0, status=sent (ok)\n"
    put(folder / "mail.log", "".join(line.format(n // 60, n % 60, n) for n in range(1000)), 27)
    found = [*maillog.Reader(access(folder)).facts(ACME, EVER, 10)]
    assert [each.queue for each in found if each.says == "delivery"] == [f"A{n:06}" for n in range(990, 1000)]
    assert max(each.at for each in found if each.says == "cut") == datetime(2026, 11, 27, 10, 16, 30, tzinfo=UTC)


def test_lines_may_end_as_on_windows(folder: Path) -> None:
    put(folder / "mail.log", refusal(1, 27).replace("\n", "\r\n"), 27)
    assert senders(maillog.Reader(access(folder)).facts(ACME, EVER, 100)) == ["n1"]


def test_bytes_that_are_no_text_and_lines_without_end_stop_nothing(folder: Path) -> None:
    junk = b"\xff\xfe\x00@acme.test\n" + b"x" * (LONGEST * 5) + b"@acme.test\n" + b"Nov 27 " + b"\x00" * 100 + b"\n"
    put(folder / "mail.log", "", 27)
    (folder / "mail.log").write_bytes(junk + refusal(1, 27).encode() + junk)
    assert senders(maillog.Reader(access(folder)).facts(ACME, NOW - timedelta(days=5), 100)) == ["n1"]


# -- settings, and what the queue says -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"files": ["mail.log"]}, "is not a whole path"),
        ({"files": "/var/log/mail.log", "timezone": "CET2"}, "is not a time zone"),
        ({"postfix": "etc"}, "is not a whole path"),
        ({"file": "/var/log/mail.log"}, "Extra inputs"),
    ],
)
def test_settings_that_make_no_sense(said: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        maillog.Settings.model_validate({"via": "local", **said})
    assert maillog.Settings.model_validate({"via": "local", "files": "/a/b.log"}).files == ("/a/b.log",)


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"1", b'{"queue_id": "A"}', b'{"recipients": [1]}', b"\xff"])
def test_what_makes_no_sense_in_the_queue_is_said(line: bytes) -> None:
    with pytest.raises(TargetError, match=r"the queue: what the server says makes no sense"):
        native.read(line, "the queue", native.waiting)


def test_readers_cannot_release_and_all_is_never_released(folder: Path) -> None:
    reader, driver = maillog.Reader(access(folder)), maillog.Driver(access(folder))
    assert isinstance(reader, Logs)
    assert not isinstance(reader, Releases)
    assert isinstance(driver, Releases)
    for id_ in ("ALL", "-d", "A B", "", "../x"):
        with pytest.raises(TargetError, match="is not a message in the queue"):
            driver.release(Waiting(id_, True, NOW, 1, "a@a.test", []), "Paolo")
