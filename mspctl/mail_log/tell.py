"""
Messages and log-ins → entries: whose they are, and what became of them.

A message is shown with those recipients only that are the customer's. What the customer sent is shown with the
recipients as it was written to them: where a stranger's mail goes on to is the stranger's affair. Whether the customer
sent it, the log-in says. Without one a sender's address proves nothing, and only recipients are shown that are nobody
else's. Texts lose what they say of others (`Whose.scrubbed`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from mspctl.kinds.mail_log import Entry, Fact, Kind, Whose, bare, folded
from mspctl.mail_log import words
from mspctl.mail_log.words import Told

LOCAL = frozenset({"lmtp", "virtual", "local", "pipe"})  # who hands over what stays on this server
MANY = 1000  # recipients and ids of one entry; what is beyond is only counted
MOST_SAID = 300  # characters of a reason
DOOR = "smtpd"  # who speaks for a recipient before there is a message
NEVER = datetime.min.replace(tzinfo=UTC)
_SESSION = re.compile(r"<[^>]*> (\S+) Saved")  # in what Dovecot answers
_FILTER = frozenset({"END-OF-MESSAGE", "EOM"})  # where the spam filter has its say

Wanted = Callable[[str], bool]  # whether an address is one that was asked for


@dataclass(slots=True)
class Delivery:
    """One recipient of a message, and what became of it last."""

    to: str
    written: str  # the recipient before aliases
    status: str = ""
    agent: str = ""
    said: str = ""
    first: str = ""  # why it was deferred first
    tries: int = 0
    at: datetime = NEVER


@dataclass(slots=True)
class Message:
    """What was in the queue."""

    queue: str
    begun: datetime
    last: datetime
    client: str = ""
    login: str = ""
    queued: str | None = None  # the sender, once it was in the queue as a whole
    id: str = ""
    over: bool = False
    verdict: Fact | None = None  # of the spam filter
    refusals: list[Fact] = field(default_factory=list)  # of the message as a whole
    deliveries: dict[tuple[str, str], Delivery] = field(default_factory=dict)
    unheld: bool = False
    released: str = ""  # by whom

    @property
    def sender(self) -> str:
        if self.queued is not None:
            return self.queued
        return next((folded(fact["sender"]) for fact in self.refusals), "")


@dataclass(slots=True)
class _Fold:
    """Equal failures, which become one entry."""

    told: Told
    sender: str
    client: str
    said: str
    first: datetime
    last: datetime
    count: int = 0
    recipients: dict[str, None] = field(default_factory=dict)
    ids: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class Teller:
    whose: Whose
    since: datetime
    wanted: Wanted
    most: int  # entries that are kept
    told_from: datetime | None = None
    _folds: dict[tuple[object, ...], _Fold] = field(default_factory=dict)
    _delivered: dict[tuple[str, str], datetime] = field(default_factory=dict)  # (sender, recipient) → when last

    def entries(self) -> list[Entry]:
        """The latest last."""
        return sorted(map(self._entry, self._folds.values()), key=lambda entry: entry.last)

    # -- what happened --------------------------------------------------------------------------------------------

    def message(self, message: Message, folders: Mapping[str, str]) -> None:
        judged = words.judged(message.verdict) if message.verdict else None
        for refusal in message.refusals:
            if refusal["verb"] == "hold" and (message.deliveries or message.unheld):
                continue  # it went on
            told = _as_a_whole(message, refusal, judged)
            for to in _recipients(refusal, message.verdict):
                shown = self._shown(message, Delivery(to, to, agent=DOOR))
                self._add(told, message, shown, refusal.at, refusal["said"])
        for delivery in message.deliveries.values():
            shown = self._shown(message, delivery)
            if shown is not None:
                told = _outcome(message, delivery, judged, folders)
                if shown != delivery.written and self.whose.owns(delivery.written):
                    told = replace(told, reason=_joined(f"for {delivery.written}", told.reason))
                said = delivery.said if told.kind is Kind.ERROR else ""
                self._add(told, message, shown, delivery.at, said, delivery)

    def turned_away(self, fact: Fact, login: str) -> None:
        """One recipient, or a sender before there was any; `login` is who logged in, if anybody did."""
        message = Message("", fact.at, fact.at, fact["ip"], login, folded(fact["sender"]))
        to = folded(fact["to"])
        if to:
            shown = self._shown(message, Delivery(to, to, agent=DOOR))
        else:
            shown = "" if self.whose.owns(message.sender) and self._may_be_theirs(message) else None
        self._add(words.refused(fact), message, shown, fact.at, fact["said"])

    def released(self, fact: Fact) -> None:
        """From somebody's Junk."""
        if self.whose.owns(fact["to"]):
            told = Told(Kind.MAIL, "released", f"from Junk, by {fact['who']}")
            self._add(told, Message(fact["uid"], fact.at, fact.at), folded(fact["to"]), fact.at)

    def login(self, fact: Fact, cause: str) -> None:
        user = folded(fact["user"])
        told = Told(Kind.AUTH, "log-in failed", words.failed(fact["service"] or "submission", cause))
        self._add(told, Message("", fact.at, fact.at, fact["ip"]), user, fact.at, times=int(fact["attempts"] or 1))

    # -- whose it is ----------------------------------------------------------------------------------------------

    def _proved(self, message: Message) -> bool:
        return bool(message.login) and self.whose.owns(message.login)

    def _may_be_theirs(self, message: Message) -> bool:
        return not message.login or self._proved(message)

    def _shown(self, message: Message, delivery: Delivery) -> str | None:
        """The recipient as the customer may see it; None where it is not theirs to see."""
        whose, to, written = self.whose, delivery.to, delivery.written
        if whose.owns(to):
            return to
        if whose.owns(written):
            return written if whose.crosses or whose.hides(to) else to
        if self._proved(message):
            return written
        if message.login or not whose.owns(message.sender):
            return None
        return None if whose.hides(written) or whose.hides(to) or delivery.agent in LOCAL else written

    # -- equal ones are one ---------------------------------------------------------------------------------------

    def _add(
        self,
        told: Told,
        message: Message,
        shown: str | None,
        at: datetime,
        said: str = "",
        delivery: Delivery | None = None,
        times: int = 1,
    ) -> None:
        if shown is None or at < self.since or not self._is_asked_for(message, shown, delivery):
            return
        seen = self._may_be_theirs(message) and not self.whose.hides(message.sender)
        client = message.client if seen else ""
        named = (delivery.to, delivery.written) if delivery else ()
        hidden = [address for address in named if address != shown and not self.whose.owns(address)]
        told = replace(told, reason=_short(self.whose.scrubbed(told.reason, *hidden)))
        # What went well is told one by one, and log-ins by who it was tried for.
        alone = message.queue if told.kind is Kind.MAIL else shown if told.kind is Kind.AUTH else ""
        key = (told.kind, told.what, told.reason, message.sender, client, alone)
        fold = self._folds.get(key)
        if fold is None:
            said = _short(self.whose.scrubbed(said, *hidden))
            fold = self._folds[key] = _Fold(told, message.sender, client, said, message.begun, at)
        if not message.queue or message.queue not in fold.ids:
            fold.count += times
        for kept, name in ((fold.ids, message.queue), (fold.recipients, shown)):
            if name and len(kept) < MANY:
                kept[name] = None
        fold.first, fold.last = min(fold.first, message.begun), max(fold.last, at)
        if told.what in ("delivered", "marked"):
            self._delivered[message.sender, shown] = max(at, self._delivered.get((message.sender, shown), at))
        self._bound()

    def _is_asked_for(self, message: Message, shown: str, delivery: Delivery | None) -> bool:
        """By an address that may be seen: others must not be found out by asking for them."""
        written = delivery.written if delivery and self.whose.owns(delivery.written) else ""
        login = message.login if self._proved(message) else ""
        return any(self.wanted(address) for address in (message.sender, shown, written, login) if address)

    def _bound(self) -> None:
        if len(self._folds) > self.most:
            oldest = self._folds.pop(next(iter(self._folds)))
            self.told_from = max(oldest.last, self.told_from or oldest.last)

    def _entry(self, fold: _Fold) -> Entry:
        times = [self._delivered.get((fold.sender, to)) for to in fold.recipients]
        back = max((at for at in times if at and at >= fold.first), default=None)
        return Entry(
            fold.told.kind,
            fold.told.what,
            fold.first,
            fold.last,
            fold.count,
            fold.sender,
            [*fold.recipients],
            fold.client,
            fold.told.reason,
            fold.said,
            [*fold.ids],
            fold.told.verdict,
            back if fold.told.what == "greylisted" else None,
        )


# -- what became of it ---------------------------------------------------------------------------------------------


def _as_a_whole(message: Message, refusal: Fact, judged: Told | None) -> Told:
    told = words.refused(refusal)
    if judged and judged.what != "marked" and refusal["stage"] in _FILTER:
        told = replace(judged, reason=_joined(told.reason, judged.reason)) if told.what == "held" else judged
    if refusal["verb"] == "hold":
        told = replace(told, what="held")
    if told.what == "held" and message.over:
        return replace(told, reason=_joined(told.reason, "taken out of the queue"))
    return told


def _recipients(refusal: Fact, verdict: Fact | None) -> list[str]:
    """Of a message that was refused as a whole Postfix names one recipient, and the filter all."""
    named = [refusal["to"], *(verdict["rcpts"].split(",") if verdict else ())]
    found = {folded(to): None for to in named if to}
    tagged = {bare(to) for to in found if bare(to) != to}  # the filter also names the address without its +
    return [to for to in found if to not in tagged]


def _outcome(message: Message, delivery: Delivery, judged: Told | None, folders: Mapping[str, str]) -> Told:
    if delivery.status == "sent":
        told = judged if judged and judged.what == "marked" else Told(Kind.MAIL, "delivered", "")
        return replace(told, reason=_joined(told.reason, *_on_the_way(message, delivery, folders)))
    why = words.not_delivered(delivery.said, delivery.agent)
    if delivery.status == "expired":
        return Told(Kind.ERROR, "bounced", _joined("given up", why))
    if delivery.status != "deferred":
        return Told(Kind.ERROR, "bounced", why)
    tried = f"tried {delivery.tries} times" if delivery.tries > 1 else ""
    return Told(Kind.ERROR, "deferred", _joined(why, tried, "taken out of the queue" if message.over else ""))


def _on_the_way(message: Message, delivery: Delivery, folders: Mapping[str, str]) -> Iterator[str]:
    found = _SESSION.search(delivery.said) if delivery.agent in LOCAL else None
    folder = folders.get(found[1], "INBOX") if found else "INBOX"
    if folder != "INBOX":
        yield f"in {folder}"
    if message.released or message.unheld:
        yield "released from quarantine" + (f" by {message.released}" if message.released else "")
    if delivery.first:
        late, why = delivery.at - message.begun, words.not_delivered(delivery.first, delivery.agent)
        yield f"after {words.spoken(late)}, at first {why}"


def _short(text: str) -> str:
    """Only what is scrubbed already may be cut: half an address is no address."""
    return text if len(text) <= MOST_SAID else f"{text[:MOST_SAID]}…"


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
