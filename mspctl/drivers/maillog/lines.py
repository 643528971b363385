"""
A line of a log → the fact that it tells, or none. Pure.

Postfix, Dovecot and rspamd write into one file through syslog, or each into its own; a line is known by what it says,
not by the file it stands in. Senders can write much of it: an address may be quoted and hold anything between its
quotes, so addresses are matched as such, and what stands around them from the end of the line backwards.

Sources: lines of Postfix 3.7, Dovecot 2.3 and rspamd 3.4 as they run in our tests; of other versions, what their
sources and other people's filters show.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from mspctl.kinds.mail_log import Fact, Says

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
MONTHS = {name: number for number, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)}
LONGEST = 16 * 1024  # bytes of a line; no server writes such
YEARS = 8  # how far back a 29 February is looked for

# -- when ---------------------------------------------------------------------------------------------------------

_SYSLOG = re.compile(r"([A-Z][a-z]{2}) ([ \d]\d) (\d\d):(\d\d):(\d\d)(?:\.\d+)? ", re.ASCII)
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,6})\d*)?(Z|[+-]\d\d:?\d\d)? ", re.ASCII)


class Stamps:
    """
    Reads the times of one file. A time without a year is the last one that is not later than the file's own. One that
    clocks show twice is the later one where the line before it was later than the earlier one.
    """

    def __init__(self, zone: ZoneInfo, modified: datetime) -> None:
        self._zone = zone
        self._latest = modified.astimezone(zone).replace(tzinfo=None) + DAY  # clocks of machines differ
        self._before: datetime | None = None

    def read(self, line: str) -> tuple[datetime, str] | None:
        """When a line was written, in UTC, and the line without it; None for a line that begins with no time."""
        try:
            if found := _SYSLOG.match(line):
                return self._utc(self._with_year(found)), line[found.end() :]
            if found := _ISO.match(line):
                return self._iso(found), line[found.end() :]
        except (ValueError, KeyError, OverflowError):  # the 31st of February
            pass
        return None

    def _with_year(self, found: re.Match[str]) -> datetime:
        month, day = MONTHS[found[1]], int(found[2])
        hour, minute, second = map(int, found.groups()[2:])
        for year in range(self._latest.year, self._latest.year - YEARS, -1):
            try:
                local = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001  # the zone comes next
            except ValueError:
                if (month, day) != (2, 29):
                    raise
                continue
            if local <= self._latest:
                return local
        raise ValueError(found[0])

    def _iso(self, found: re.Match[str]) -> datetime:
        day, clock, fraction, offset = found.groups()
        text = f"{day}T{clock}.{(fraction or '').ljust(6, '0')}"
        if offset:
            return datetime.fromisoformat(text + offset).astimezone(UTC)
        return self._utc(datetime.fromisoformat(text))

    def _utc(self, local: datetime) -> datetime:
        both = [local.replace(tzinfo=self._zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
        at = next((at for at in both if self._before is None or at >= self._before - MINUTE), both[0])
        self._before = at
        return at


# -- what ---------------------------------------------------------------------------------------------------------


def _address(name: str) -> str:
    """`<…>` around an address, which may hold > between quotes."""
    return rf'<(?P<{name}>(?:"(?:[^"\\]|\\.)*"|[^<>"])*)>'


_CLIENT = r"\S*\[(?P<ip>[^\]\s]*)\](?::\d+)?"
_ENDS = (
    rf"; from={_address('sender')},?(?: to={_address('to')},?)? proto=\S+?,?(?: helo=<\S*>)?"
    r"(?: sasl_username=<?(?P<login>[^\s>]+)>?)?"
)
_REPLY = r"(?:(?P<code>\d{3}) )?(?:(?P<dsn>\d\.\d{1,3}\.\d{1,3}) )?(?:<.*>: )?(?P<said>.*)"

# Lines of Postfix: who writes them, what they look like behind the queue's id, and what they are.
_POSTFIX: tuple[tuple[str, str, Says], ...] = (
    (
        r"smtpd",
        rf"client={_CLIENT}(?:, sasl_method=[^,\s]+)?(?:, sasl_username=(?P<login>[^,\s]+))?(?:, .*)?",
        "begun",
    ),
    (r"pickup", r"uid=\d+ from=<.*>", "begun"),
    (r"cleanup", r"message-id=<?(?P<id>[^>\s]*)>?.*", "named"),
    (r"qmgr", r"from=<.*>, status=(?:force-)?expired, returned to sender", "expired"),
    (r"qmgr", rf"from={_address('sender')}, size=\d+, nrcpt=\d+ \(queue (?:active|hold)\)", "queued"),
    (r"(?:qmgr|postsuper)", r"removed", "over"),
    (r"postsuper", r"released from hold", "unheld"),
    (
        r"(?P<agent>smtp|lmtp|relay|local|virtual|pipe|error|retry|discard|qmgr)",
        rf"to={_address('to')},(?: orig_to={_address('orig')},)? relay=[^,]+(?:, conn_use=\d+)?, delay=[\d.]+"
        r"(?:, delays=[\d./]+)?, dsn=(?P<dsn>\d\.\d{1,3}\.\d{1,3}), status=(?P<status>sent|bounced|deferred)"
        r" \((?P<said>.*)\)",
        "delivery",
    ),
    (
        r"(?:smtpd|cleanup|postscreen)",
        rf"(?:milter-)?(?P<verb>reject|hold|discard): (?P<stage>[A-Z-]+) from {_CLIENT}: {_REPLY}{_ENDS}",
        "refused",
    ),
    (
        r"cleanup",
        rf"(?P<verb>reject|hold|discard): (?P<stage>header|body|mime-header|nested-header) .* from {_CLIENT}{_ENDS}"
        rf"(?:: {_REPLY})?",
        "refused",
    ),
    (r"mspctl", r"released by (?P<who>.*)", "released"),
)

# Lines of Dovecot and rspamd, and those of Postfix that are about no message: by service, as `service(…): message`.
_OTHERS: tuple[tuple[str, str, Says], ...] = (
    (
        r"smtpd",
        rf"smtpd: warning: {_CLIENT}: SASL \S+ authentication failed:.*, sasl_username=(?P<user>[^\s,]+)(?:, .*)?",
        "login",
    ),
    (r"mspctl", r"mspctl: (?P<to>\S+@\S+):(?P<uid>\d+): released by (?P<who>.*)", "released"),
    (
        r"(?:imap|pop3|managesieve|submission)-login",
        r"(?P<service>\w+)-login: .*?\(auth failed, (?P<attempts>\d{1,6}) attempts?[^)]*\)(?: \(\w+\))?:"
        r" user=<(?P<user>[^>]*)>,.*? rip=(?P<ip>[^\s,]+)(?:.*, session=<(?P<session>[^>\s]*)>)?.*",
        "login",
    ),
    (
        r"(?:imap|pop3|managesieve|submission)-login",
        r"(?P<service>\w+)-login: Login: user=<(?P<user>[^<>]*)>,(?:.*?,)? rip=(?P<ip>[^\s,]+).*",
        "entered",
    ),
    (
        r"auth(?:-worker)?",
        r".*?\((?P<user>[^\s(),<>]+@[^\s(),<>]+),(?P<ip>[0-9A-Fa-f.:]+)(?:,(?:<(?P<session>[^<>]*)>|[^<>)]*))?\)"
        r"(?:<\d+>)?(?:<(?P<session_2>[^<>]*)>)?: .*?(?P<cause>(?i:password mismatch|unknown user|user disabled)).*",
        "cause",
    ),
    (
        r"lmtp",
        r"lmtp\([^)]*\)(?:<\d+>)?<(?P<session>[^<>\s]+)>: (?:sieve: )?msgid=.*: (?:fileinto action: )?"
        r"(?:stored mail into mailbox|saved mail to) '?(?P<folder>[^']*)'?",
        "stored",
    ),
    (
        r"rspamd(?:_proxy)?",
        r".*?rspamd_task_write_log: id: <(?P<id>[^>\s]*)>,(?: qid: <(?P<queue>[^>\s]*)>,)?(?: ip: (?P<ip>[^\s,]*),)?"
        r"(?: user: (?P<login>\S+),)?(?: from: <(?P<sender>.*?)>,)? \(\S+: \w \((?P<action>[a-z ]+)\):"
        r" \[(?P<score>-?[\d.]+|nan)/(?P<limit>-?[\d.]+|nan)\] \[(?P<symbols>.*)\]\), len: \d+,.*?"
        r"(?:, rcpts: <(?P<rcpts>[^<>]*)>)?(?:, mime_rcpts: <[^<>]*>)?(?:, filename: .*?)?"
        r"(?:, forced: (?P<forced>.*))?",
        "verdict",
    ),
)

Pattern = tuple[re.Pattern[str], re.Pattern[str], Says]


def _compiled(table: Iterable[tuple[str, str, Says]]) -> list[Pattern]:
    return [(re.compile(who), re.compile(text), says) for who, text, says in table]


_BY_POSTFIX, _BY_OTHERS = _compiled(_POSTFIX), _compiled(_OTHERS)

# Who writes: through syslog, Dovecot into its own file, rspamd into its own file.
_SYSLOG_HEAD = re.compile(r"\S+ (?P<program>[^\s\[\]:]+)(?:\[\d+\])?: (?P<text>.*)")
_DOVECOT_HEAD = re.compile(
    r"(?P<head>(?P<service>[a-z][a-z0-9-]*)(?:\([^)]*\))?(?:<[^<>\s]*>)*): (?:\w+: )?(?P<text>.*)"
)
_LEVEL = re.compile(r"(?:\([^)]*\))?(?:<[^<>\s]*>)*: (?:Debug|Info|Notice|Warning|Error|Fatal|Panic): ")
_QUEUE = re.compile(r"(?P<queue>NOQUEUE|[0-9A-F]{6,20}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,30}): (?P<text>.*)")


def fact(line: str, stamps: Stamps) -> Fact | None:
    """What a line tells that matters to anybody's mail."""
    dated = stamps.read(line)
    if dated is None:
        return None
    at, rest = dated
    if rest.startswith("#"):
        return _told(at, "rspamd", rest)
    own = _DOVECOT_HEAD.fullmatch(rest)
    if own and _LEVEL.match(rest, own.end("service")):
        return _told(at, own["service"], f"{own['head']}: {own['text']}")
    found = _SYSLOG_HEAD.fullmatch(rest)
    if found is None:
        return None
    family, _, program = found["program"].partition("/")
    if program:
        return _of_postfix(at, program, found["text"])
    if family == "dovecot" and (own := _DOVECOT_HEAD.fullmatch(found["text"])):
        return _told(at, own["service"], found["text"])
    return _told(at, family, found["text"])


def _of_postfix(at: datetime, program: str, text: str) -> Fact | None:
    name = program.rpartition("/")[2]
    found = _QUEUE.fullmatch(text)
    if found is None:
        told = _told(at, name, f"{name}: {text}")
        # master.cf names the ports for users; what has no such name is the port for everybody.
        port = "submission" if program != name else "SMTP"
        return Fact(at, told.says, said={"service": port, **told.said}) if told else None
    queue = "" if found["queue"] == "NOQUEUE" else found["queue"]
    for who, pattern, says in _BY_POSTFIX:
        if (by := who.fullmatch(name)) and (match := pattern.fullmatch(found["text"])):
            return Fact(at, says, queue, _said(by) | _said(match))
    return None


def _told(at: datetime, service: str, text: str) -> Fact | None:
    for who, pattern, says in _BY_OTHERS:
        if who.fullmatch(service) and (match := pattern.fullmatch(text)):
            said = _said(match)
            if says == "cause" and (session := said.pop("session_2", "")):
                said["session"] = session
            return Fact(at, says, said.pop("queue", ""), said)
    return None


def _said(match: re.Match[str]) -> dict[str, str]:
    return {name: value for name, value in match.groupdict().items() if value}


def facts(lines: Iterable[bytes], stamps: Stamps) -> Iterator[Fact]:
    """What the lines of one file tell."""
    for line in lines:
        told = fact(line.rstrip(b"\r").decode(errors="replace"), stamps) if len(line) <= LONGEST else None
        if told:
            yield told
