"""
What a mail server's logs, queue and Junk folders hold: facts (what single lines say), and entries (what became of it).

A fact is one of these; in brackets, what it says:

* about a message in the queue: `begun` (ip, login), `named` (id), `queued` (sender), `delivery` (to, orig, agent, said,
  status), `refused` (verb, stage, ip, code, dsn, said, sender, to), `expired`, `unheld`, `over`, `released` (who), and
  `verdict` of the spam filter (id, ip, login, sender, action, score, limit, symbols, rcpts, forced);
* about nothing in the queue: `refused` with an empty `queue`, `stored` (session, folder), `entered`, a log-in that was
  let in (service, user, ip), `login` that failed (service, user, ip, session, attempts), `cause` of it (user, ip,
  session, cause), and `released` from Junk (to, uid, who);
* about the logs: `cut`, since what was before is not told in full, and `damaged` (file), of which some may be missing.

Whatever a sender can write may stand in these texts: who shows them makes them harmless.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Literal

from mspctl.kinds import dns, mail

FACET = "logs"
ANOTHER = "somebody else"  # in place of an address that is another customer's

Says = Literal[
    "begun", "named", "queued", "delivery", "refused", "expired", "unheld", "over", "released", "verdict", "stored",
    "entered", "login", "cause", "cut", "damaged",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fact:
    """What one line says."""

    at: datetime  # UTC
    says: Says
    queue: str = ""  # the queue's id of the message, unique for as long as it is there
    said: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.said.get(name, "")


class Kind(enum.StrEnum):
    ERROR = "error"  # bounced, deferred, refused
    SPAM = "spam"  # rejected, marked, greylisted, held
    AUTH = "auth"  # a log-in that failed
    MAIL = "mail"  # delivered, and what else is as it should be


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the spam filter thought."""

    score: float
    limit: float  # from which on it rejects
    symbols: Sequence[tuple[str, float]] = ()  # the strongest first; those that speak for spam


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened to a customer's mail; equal failures are one, with their number."""

    kind: Kind
    what: str  # "bounced"
    first: datetime  # UTC
    last: datetime
    count: int
    sender: str  # "" for a notice of a mail server, and for a log-in
    recipients: Sequence[str]  # for a log-in: who it was tried for
    client: str  # the address of who sent it or tried to log in; "" where that is nobody's business
    reason: str  # in words that can be said on the phone
    said: str = ""  # what a server said of it, in its own words
    ids: Sequence[str] = ()  # of the queue
    verdict: Verdict | None = None
    back: datetime | None = None  # when a message that was asked to come again was delivered


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message in the queue."""

    id: str
    held: bool  # in quarantine, until somebody releases it
    since: datetime  # UTC
    size: int  # octets
    sender: str
    recipients: Sequence[tuple[str, str]]  # each with the reason of its delay, "" for none
    others: int = 0  # recipients that are left out, because they are somebody else's

    @property
    def addresses(self) -> list[str]:
        return [self.sender, *(to for to, _ in self.recipients)]


@dataclass(frozen=True, slots=True)
class Junk:
    """A message in the Junk folder of a mailbox."""

    address: str
    uid: int
    since: datetime  # UTC; when it came
    size: int
    sender: str
    subject: str

    @property
    def id(self) -> str:
        return f"{self.address}:{self.uid}"


# -- whose it is ------------------------------------------------------------------------------------------------


def folded(address: str) -> str:
    """An address as it is compared and shown: lower-case, its domain in A-labels where it has any."""
    local, at, domain = address.strip().strip("<>").lower().rpartition("@")
    domain = domain.rstrip(".")
    if not domain.isascii():
        with suppress(ValueError):
            domain = dns.fold_zone(domain)
    return f"{local}{at}{domain}"


def domain_of(address: str) -> str:
    return folded(address).rpartition("@")[2] if "@" in address else ""


def bare(address: str) -> str:
    """Without what follows a +."""
    local, at, domain = folded(address).rpartition("@")
    return f"{mail.base_of(local)}{at}{domain}"


@dataclass(frozen=True)
class Whose:
    """One customer's mail domains, alias domains among them, and those of all other customers."""

    own: frozenset[str]
    others: frozenset[str] = frozenset()
    crosses: bool = False  # whether an address of theirs is declared to go to another customer's

    def owns(self, address: str) -> bool:
        return domain_of(address) in self.own

    def hides(self, address: str) -> bool:
        return domain_of(address) in self.others

    def scrubbed(self, text: str, *further: str) -> str:
        """A text in which no address or domain of another customer is left, nor what is named."""
        for address in further:
            text = re.sub(re.escape(address), ANOTHER, text, flags=re.IGNORECASE) if address else text
        return self._others.sub(ANOTHER, text) if self.others else text

    @cached_property
    def _others(self) -> re.Pattern[str]:
        names = "|".join(map(re.escape, sorted(self.others, key=len, reverse=True)))
        return re.compile(rf"(?:[^\s<>(),;:=@]*@)?(?<![\w.-])(?:[\w-]+\.)*(?:{names})(?![\w-])(?!\.\w)", re.IGNORECASE)
