"""
What happened to a customer's mail, from a server's logs: facts (what single lines say) joined and judged. Pure.

`join` puts together what belongs together, by the queue's id; `tell` decides whose it is and says what became of it, in
the words of `words`. What is kept is bounded, however long a log is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mspctl.driver import Logs
from mspctl.errors import Stale, TargetError
from mspctl.kinds.mail_log import Entry, Whose, bare, domain_of
from mspctl.mail_log.join import MOST, Joiner
from mspctl.mail_log.tell import Wanted

BEFORE = timedelta(hours=1)  # how much earlier than asked for a message may have begun
ATTEMPTS = 3  # at reading logs that are rotated meanwhile


@dataclass(frozen=True, slots=True)
class Log:
    """What one server's logs tell of a customer."""

    entries: list[Entry]  # the latest last
    told_from: datetime | None = None  # when there was too much: what was before may be missing
    damaged: Sequence[str] = ()  # files of which some may be missing
    missing: Sequence[str] = ()  # files that were named, and are not there


def read(logs: Logs, whose: Whose, since: datetime, wanted: Wanted = lambda address: True) -> Log:
    """What happened since. Raises TargetError."""
    for _ in range(ATTEMPTS):
        joiner = Joiner(whose, since, wanted)
        try:
            for fact in logs.facts(whose.own, since - BEFORE, MOST):
                joiner.add(fact)
        except Stale:  # rotated in the middle: once more, so that nothing is lost or told twice
            continue
        return Log(joiner.entries(), joiner.told_from, joiner.damaged, joiner.missing)
    raise TargetError("the logs were rotated again and again while they were read")


def asked_for(text: str, own: Iterable[str]) -> Wanted:
    """Whether an address is the one that was asked for: a whole one, a name of the own domains, or a domain (@…)."""
    if text.startswith("@"):
        return lambda address: domain_of(address) == domain_of(text)
    named = {bare(text)} if "@" in text else {bare(f"{text}@{domain}") for domain in own}
    return lambda address: bare(address) in named
