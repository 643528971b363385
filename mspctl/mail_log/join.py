"""Facts → messages and log-ins: what belongs together, by the queue's id, by a session, or by who and from where."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from mspctl.kinds.mail_log import Entry, Fact, Whose, folded
from mspctl.mail_log.tell import Delivery, Message, Teller, Wanted

MOST = 20_000  # messages, and log-ins; of more, the latest are told
NEAR = timedelta(minutes=10)  # between a message and the filter's verdict on it
SECONDS = timedelta(seconds=2)  # clocks of two logs differ by as much
OF_ONE = frozenset("CONNECT HELO EHLO MAIL RCPT VRFY ETRN AUTH STARTTLS".split())  # stages before there is a message


@dataclass(slots=True)
class Joiner:
    """Takes facts in the order of their lines, file by file; then says what they come to."""

    whose: Whose
    since: datetime
    wanted: Wanted
    told_from: datetime | None = None  # when there was too much: what was before may be missing
    damaged: list[str] = field(default_factory=list)  # files
    _messages: dict[str, list[Message]] = field(default_factory=dict)
    _verdicts: dict[str, list[Fact]] = field(default_factory=dict)
    _folders: dict[str, str] = field(default_factory=dict)  # session of a delivery → folder
    _logins: deque[Fact] = field(default_factory=lambda: deque(maxlen=MOST))
    _asked: deque[Fact] = field(default_factory=lambda: deque(maxlen=MOST))  # causes without a session
    _causes: dict[str, str] = field(default_factory=dict)  # session, or user → why a log-in failed
    _teller: Teller = field(init=False)

    def __post_init__(self) -> None:
        self._teller = Teller(self.whose, self.since, self.wanted, MOST)

    def add(self, fact: Fact) -> None:
        getattr(self, f"_{fact.says}")(fact)

    def entries(self) -> list[Entry]:
        """The latest last."""
        for queue, messages in self._messages.items():
            for verdict in self._verdicts.get(queue, ()):
                _give(verdict, messages)
            for message in messages:
                self._teller.message(message, self._folders)
        for fact in (*self._logins, *self._unsaid()):
            user = folded(fact["user"])
            self._teller.login(fact, self._causes.get(fact["session"]) or self._causes.get(user, ""))
        if self._teller.told_from:
            self._cut(Fact(self._teller.told_from, "cut"))
        return self._teller.entries()

    def _cut(self, fact: Fact) -> None:
        self.told_from = max(fact.at, self.told_from or fact.at)

    def _damaged(self, fact: Fact) -> None:
        if fact["file"] not in self.damaged:  # it is searched twice
            self.damaged.append(fact["file"])

    # -- messages -----------------------------------------------------------------------------------------------

    def _message(self, fact: Fact, *, new: bool = False) -> Message:
        """The one that is meant: of those that had this id in the queue, the last, unless it is gone."""
        found = self._messages.setdefault(fact.queue, [])
        if new or not found or found[-1].over:
            found.append(Message(fact.queue, fact.at, fact.at))
        found[-1].last = max(found[-1].last, fact.at)
        return found[-1]

    def _begun(self, fact: Fact) -> None:
        message = self._message(fact, new=True)
        message.client, message.login = fact["ip"], folded(fact["login"])

    def _named(self, fact: Fact) -> None:
        message = self._message(fact)
        if message.id or message.deliveries:
            message = self._message(fact, new=True)
        message.id = fact["id"]

    def _queued(self, fact: Fact) -> None:
        message, sender = self._message(fact), folded(fact["sender"])
        if message.queued not in (None, sender):
            message = self._message(fact, new=True)
        message.queued = sender

    def _delivery(self, fact: Fact) -> None:
        to = folded(fact["to"])
        written = folded(fact["orig"]) or to
        delivery = self._message(fact).deliveries.setdefault((to, written), Delivery(to, written))
        delivery.status, delivery.agent, delivery.said = fact["status"], fact["agent"], fact["said"]
        delivery.at = fact.at
        if delivery.status == "deferred":
            delivery.tries += 1
            delivery.first = delivery.first or fact["said"]

    def _expired(self, fact: Fact) -> None:
        for delivery in self._message(fact).deliveries.values():
            if delivery.status == "deferred":
                delivery.status, delivery.at = "expired", fact.at

    def _over(self, fact: Fact) -> None:
        self._message(fact).over = True

    def _unheld(self, fact: Fact) -> None:
        self._message(fact).unheld = True

    def _refused(self, fact: Fact) -> None:
        if fact.queue and fact["stage"] not in OF_ONE:
            self._message(fact).refusals.append(fact)
        else:
            self._teller.turned_away(fact, self._message(fact).login if fact.queue else folded(fact["login"]))

    def _released(self, fact: Fact) -> None:
        if fact.queue:
            self._message(fact).released = fact["who"]
        else:
            self._teller.released(fact)

    def _verdict(self, fact: Fact) -> None:
        self._verdicts.setdefault(fact.queue, []).append(fact)

    def _stored(self, fact: Fact) -> None:
        self._folders[fact["session"]] = fact["folder"]
        _shorten(self._folders)

    # -- log-ins ------------------------------------------------------------------------------------------------

    def _login(self, fact: Fact) -> None:
        if self.whose.owns(fact["user"]) and fact.at >= self.since:
            self._keep(self._logins, fact)

    def _entered(self, fact: Fact) -> None:
        """Nothing to tell: whoever was let in is no trouble here. Who should not have been is a finding of drift."""

    def _cause(self, fact: Fact) -> None:
        if not self.whose.owns(fact["user"]):
            return
        for name in (fact["session"], folded(fact["user"])):
            if name:
                self._causes[name] = fact["cause"]
        if not fact["session"] and fact.at >= self.since:
            self._keep(self._asked, fact)
        _shorten(self._causes)

    def _keep(self, kept: deque[Fact], fact: Fact) -> None:
        if len(kept) == kept.maxlen:
            self._cut(kept[0])
        kept.append(fact)

    def _unsaid(self) -> Iterator[Fact]:
        """Where Postfix asked Dovecot about somebody who wanted to send, and does not say who: older ones do not."""
        told = {(folded(fact["user"]), fact["ip"]) for fact in self._logins}
        return (fact for fact in self._asked if (folded(fact["user"]), fact["ip"]) not in told)


def _give(verdict: Fact, messages: Sequence[Message]) -> None:
    """To the message that had its id in the queue then; the filter writes down its own time."""
    begun = [m for m in messages if m.begun <= verdict.at + SECONDS]
    if begun and verdict.at <= begun[-1].last + NEAR and begun[-1].id in ("", verdict["id"]):
        begun[-1].verdict = begun[-1].verdict or verdict


def _shorten(kept: dict[str, Any]) -> None:
    while len(kept) > 2 * MOST:
        del kept[next(iter(kept))]
