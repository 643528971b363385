"""What waits in the queue or lies in Junk → what of it is a customer's, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from mspctl.kinds.mail_log import Junk, Waiting, Whose
from mspctl.mail_log import words
from mspctl.mail_log.tell import Wanted


def waiting(found: Iterable[Waiting], whose: Whose, wanted: Wanted = lambda address: True) -> Iterator[Waiting]:
    """The longest first. The queue does not say who logged in, so of others' addresses only the number is told."""
    for message in sorted(found, key=lambda message: message.since):
        theirs = whose.owns(message.sender)
        mine = [(to, why) for to, why in message.recipients if whose.owns(to) or (theirs and not whose.hides(to))]
        if (mine or theirs) and any(map(wanted, (message.sender, *(to for to, _ in mine)))):
            told = [(to, whose.scrubbed(words.not_delivered(why, "smtp")) if why else "") for to, why in mine]
            yield replace(message, recipients=told, others=len(message.recipients) - len(mine))


def junk(found: Iterable[Junk], whose: Whose, wanted: Wanted = lambda address: True) -> Iterator[Junk]:
    """The latest last."""
    mine = (message for message in found if whose.owns(message.address) and wanted(message.address))
    return iter(sorted(mine, key=lambda message: message.since))
