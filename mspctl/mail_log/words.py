"""
What mail servers say → words that can be said on the phone. Tables; the first row that fits counts.

The texts are those of Postfix and Dovecot, and what other people's servers answer. Who writes to a customer can put
anything into some of them, so a text that fits no row is only ever shown as what somebody said.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from mspctl.kinds.mail_log import Fact, Kind, Verdict

STRONGEST = 3  # symbols that a reason names
LATER = "; asked to come again later"


@dataclass(frozen=True, slots=True)
class Told:
    """What something is, and why."""

    kind: Kind
    what: str
    reason: str
    verdict: Verdict | None = None


Table = tuple[tuple[re.Pattern[str], str], ...]


def _table(*rows: tuple[str, str]) -> Table:
    return tuple((re.compile(pattern, re.IGNORECASE), words) for pattern, words in rows)


# What is wrong, whoever says it. What a pattern holds in a group can stand in the words.
_WHY = _table(
    (r"mailbox (?:is )?full|quota|\b[45]\.2\.2\b|insufficient (?:disk )?space", "mailbox over quota"),
    (
        r"user unknown|unknown user|no such (?:user|recipient|mailbox|address)|recipient (?:not found|unknown)|"
        r"mailbox (?:not found|unavailable|unknown)|undeliverable address|\b5\.1\.1\b",
        "unknown address",
    ),
    (r"relay(?:ing)? (?:access )?denied|unable to relay", "relay denied: not a domain of ours, and nobody logged in"),
    (r"blocked using ([\w.-]+\w)", r"the sender's server is on the block list \1"),
    (r"sender address rejected: domain not found", "the sender's domain does not exist"),
    (r"recipient address rejected: domain not found", "the recipient's domain does not exist"),
    (r"sender address rejected: not owned by user (\S+)", r"logged in as \1, who may not send as this sender"),
    (r"sender address rejected: not logged in", "who sends as this sender must log in"),
    (r"cannot find your (?:reverse )?hostname", "the sender's server has no name in the DNS"),
    (r"helo command rejected", "the sender's server introduces itself wrongly (HELO)"),
    (r"message (?:size|too)|too (?:large|big)|\b5\.3\.4\b", "message too large"),
    (r"need fully-qualified", "an address without a domain"),
    (r"rejected: access denied", "refused by a rule of this server"),
    (r"must issue a starttls|tls is required", "no encryption, and it is required"),
    (r"\bdmarc\b", "the sender's domain forbids it (DMARC)"),
    (r"\bspf\b", "the sender's server may not send for its domain (SPF)"),
    (r"insufficient system storage|\b4\.3\.1\b", "the mail server's disk is full"),
    (r"server configuration (?:error|problem)|\b4\.3\.5\b", "the mail server is set up wrongly"),
    (r"too many (?:connections|errors|recipients|messages)|rate limit|too much mail", "too many at once"),
    (r"virus|malware", "a virus was found"),
    (r"spam|junk|reputation|black ?list|block ?list", "taken for spam"),
)
_TAKEN_FOR_SPAM = re.compile(r"block list|spam|virus", re.IGNORECASE)

# Why a message was not handed over, where nobody answered.
_TRANSPORT = _table(
    (
        r"connect to ([\w.-]+)\S*: (connection refused|connection timed out|no route to host|network is unreachable)",
        r"\1 does not answer (\2)",
    ),
    (r"for name=([\w.-]+) .*(?:try again|server failure)", r"the DNS does not answer for \1"),
    (r"name service error for name=([\w.-]+)", r"the domain \1 does not exist, or takes no mail"),
    (r"domain ([\w.-]+) does not accept mail", r"the domain \1 takes no mail"),
    (r"lost connection with ([\w.-]+)", r"\1 ended the connection"),
    (r"conversation with ([\w.-]+)\S* timed out", r"\1 stopped answering"),
    (r"mail for ([\w.-]+) loops back to myself", r"\1 is sent to this server, which does not hold it"),
    (r"tls is required, but was not offered by host ([\w.-]+)", r"\1 offers no encryption, and it is required"),
    (r"certificate not (?:trusted|verified)", "the other server's certificate cannot be verified"),
    (r"mail transport unavailable", "a part of the mail server does not run"),
    (r"too many hops|mail loop|loop detected|loops? to", "it went in circles"),
)

_REMOTE = re.compile(r"host (?P<host>[\w.-]+)?\S* (?:said|refused to talk to me): (?P<said>.*)", re.IGNORECASE)
_IN_REPLY = re.compile(r" \(in reply to [^()]* command\)$")
_SUSPENDED = re.compile(r"^delivery temporarily suspended: ")
_GREYLIST = re.compile(r"gr[ea]y-?list|try again later|service currently unavailable", re.IGNORECASE)
_FILTER_AWAY = "Service unavailable - try again later"  # what Postfix says when a milter does not answer
_FORCED = re.compile(r'[a-z ]+ "(?P<said>.*)"; score=\S+ \(set by (?P<by>[^)]*)\)')
_SYMBOL = re.compile(r"(?:^|,)([A-Z][A-Z0-9_]+)\((-?\d+\.\d+)\)")
# What rspamd's antivirus module calls what a scanner found, and the first name that the scanner gave it.
_VIRUS = re.compile(
    r"(?:^|,)([A-Z][A-Z0-9_]*VIRUS(?!\w*(?:FAIL|ENCRYPTED|MACRO))[A-Z0-9_]*)\(-?\d+\.\d+\)(?:\{([\w.:/ -]{1,80});)?"
)


def _found(table: Table, text: str) -> str:
    for pattern, words in table:
        if found := pattern.search(text):
            return found.expand(words)
    return ""


def quoted(text: str) -> str:
    return f"“{text}”"


def spoken(time: timedelta) -> str:
    """How long, roughly: `40 s`, `12 min`, `3 h`, `2 days`."""
    seconds = int(time.total_seconds())
    for size, unit in ((2 * 86400, "days"), (2 * 3600, "h"), (120, "min")):
        if seconds >= size:
            return f"{seconds // (size // 2)} {unit}"
    return f"{seconds} s"


# -- at the door --------------------------------------------------------------------------------------------------


def refused(fact: Fact) -> Told:
    """Why a message, or one recipient of it, was not taken in."""
    text, later = fact["said"], (fact["code"] or fact["dsn"]).startswith("4")
    if fact["verb"] == "discard":
        return Told(Kind.SPAM, "discarded", f"thrown away by a rule{_by(text)}")
    if fact["verb"] == "hold":
        return Told(Kind.SPAM, "held", f"in quarantine{_by(text)}")
    if _FILTER_AWAY in text:
        return Told(Kind.ERROR, "refused", f"the spam filter does not answer{LATER}")
    if later and _GREYLIST.search(text):
        return Told(Kind.SPAM, "greylisted", "asked to come again")
    found = _found(_WHY, f"{fact['dsn']} {text}")
    if _TAKEN_FOR_SPAM.search(found):
        return Told(Kind.SPAM, "rejected", found)
    if fact["stage"].islower():  # the header or the body
        return Told(Kind.SPAM, "rejected", f"refused by a rule about the {fact['stage']}{_by(text)}")
    return Told(Kind.ERROR, "refused", (found or quoted(text)) + (LATER if later else ""))


def _by(text: str) -> str:
    return "" if not text or "milter triggers" in text else f" ({text})"


# -- on the way ---------------------------------------------------------------------------------------------------


def not_delivered(text: str, agent: str) -> str:
    """Why it was not handed over, from what Postfix says behind the status."""
    text = _IN_REPLY.sub("", _SUSPENDED.sub("", text))
    if found := _REMOTE.match(text):
        host, said = found["host"] or "the other server", found["said"]
        words = _found(_WHY, said) or ("greylisted there" if _GREYLIST.search(said) else "")
        if agent == "lmtp":  # our own store
            return words or quoted(said)
        return f"{words} (says {host})" if words else f"{host} said {quoted(said)}"
    return _found(_TRANSPORT, text) or _found(_WHY, text) or quoted(text)


# -- the spam filter ----------------------------------------------------------------------------------------------

_ACTIONS = {
    "reject": "rejected",
    "soft reject": "greylisted",
    "add header": "marked",
    "rewrite subject": "marked",
    "quarantine": "held",
    "discard": "discarded",
}


def verdict(fact: Fact) -> Verdict:
    found = [(name, float(score)) for name, score in _SYMBOL.findall(fact["symbols"])]
    strongest = sorted((each for each in found if each[1] > 0), key=lambda each: -each[1])
    return Verdict(_number(fact["score"]), _number(fact["limit"]), strongest)


def _number(text: str) -> float:
    """rspamd says nan where there is none."""
    try:
        return float(text) if math.isfinite(float(text)) else 0.0
    except ValueError:
        return 0.0


def judged(fact: Fact) -> Told | None:
    """What the filter did; None where it let the message pass."""
    what = _ACTIONS.get(fact["action"])
    if what is None:
        return None
    found, forced = verdict(fact), _FORCED.match(fact["forced"])
    said, by = (forced["said"], forced["by"]) if forced else ("", "")
    score = f"score {_plain(found.score)} of {_plain(found.limit)}{_named(found.symbols)}"
    if what == "greylisted":
        if "grey" in by.lower() or re.search(r"(?:^|,)GREYLIST\(", fact["symbols"]):
            return Told(Kind.SPAM, what, f"asked to come again; {score}", found)
        return Told(Kind.SPAM, "put off", f"{said or 'by the spam filter'}{LATER}; {score}", found)
    if re.search("virus|malware", said, re.IGNORECASE):
        return Told(Kind.SPAM, what, said, found)
    if virus := _VIRUS.search(fact["symbols"]):
        named = f"{virus[1]}: {virus[2]}" if virus[2] else virus[1]
        return Told(Kind.SPAM, what, f"a virus was found ({named}); {score}", found)
    return Told(Kind.SPAM, what, f"spam, {score}" + (f" ({by}: {said})" if said else ""), found)


def _named(symbols: Iterable[tuple[str, float]]) -> str:
    names = [f"{name} {_plain(score)}" for name, score in symbols][:STRONGEST]
    return f": {', '.join(names)}" if names else ""


def _plain(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


# -- log-ins ------------------------------------------------------------------------------------------------------

_SERVICES = {"imap": "IMAP", "pop3": "POP3", "managesieve": "ManageSieve"}
_CAUSES = _table(
    ("mismatch", "wrong password"), ("unknown", "no such mailbox, or it is disabled"), ("disabled", "it is disabled")
)


def failed(service: str, cause: str) -> str:
    """Why somebody could not log in, and to what."""
    return f"{_found(_CAUSES, cause) or 'wrong name or password'} ({_SERVICES.get(service, service)})"
