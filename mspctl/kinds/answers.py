"""
What the DNS is asked about a zone, and what it said: between the transport that asks and the checks that judge.

Names are absolute and in normal form; values are as `kinds/dns.py` writes them, those of SOA, DS, DNSKEY and RRSIG
as in a master file.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class Status(enum.StrEnum):
    FOUND = "found"
    EMPTY = "empty"  # the name is there, without records of this type
    NOTHING = "nothing"  # there is no such name
    UNKNOWN = "unknown"  # no answer, or none that makes sense


@dataclass(frozen=True, slots=True)
class Answer:
    """What the DNS says to one question."""

    status: Status
    values: tuple[str, ...] = ()
    signatures: tuple[str, ...] = ()  # RRSIG records over them
    aliases: tuple[str, ...] = ()  # the names that CNAMEs led to, in their order
    why: str = ""  # of UNKNOWN; of a chain of CNAMEs that leads nowhere


UNASKED = Answer(Status.UNKNOWN, why="it was not asked")


class Serves(enum.StrEnum):
    YES = "yes"  # it answers with authority
    LAME = "lame"  # it answers, and not with authority
    SILENT = "silent"
    NOWHERE = "nowhere"  # it has no address that could be asked
    UNKNOWN = "unknown"  # it could not be asked from here


@dataclass(frozen=True, slots=True)
class Server:
    """One address of one name server, asked for the zone."""

    host: str
    address: str  # "" when it has none
    serves: Serves
    why: str = ""  # of all but YES
    soa: Answer = UNASKED

    @property
    def serial(self) -> int:
        """Of the zone as this server has it; 0 when it does not serve it."""
        return int(self.soa.values[0].split()[2]) if self.soa.values else 0


@dataclass(frozen=True, slots=True)
class Delegation:
    """What the zone above says."""

    status: Status
    parent: str = ""  # the zone above
    hosts: frozenset[str] = frozenset()
    ds: Answer = UNASKED
    itself: bool = False  # the parent's servers serve the zone too, so nobody sees what the parent says
    why: str = ""  # of UNKNOWN


@dataclass(frozen=True, slots=True)
class NameQuestion:
    """What the DNS says of one name, as anybody is told; an Answer answers it."""

    name: str  # "mail._domainkey.acme.example."
    rtype: str


@dataclass(frozen=True, slots=True)
class ZoneQuestion:
    """What is to be learnt about one zone."""

    name: str  # "acme.example."
    hosts: frozenset[str] = frozenset()  # name servers that it should have, as far as Git knows
    mail: frozenset[str] = frozenset()  # names whose MX records count
    spf: frozenset[str] = frozenset()  # names whose SPF records count


@dataclass(frozen=True, slots=True)
class ZoneSeen:
    """What was learnt about it."""

    delegation: Delegation
    servers: tuple[Server, ...] = ()
    answers: Mapping[tuple[str, str], Answer] = field(default_factory=dict)  # by name and type
    why: str = ""  # why some of it was not asked

    def answer(self, name: str, rtype: str) -> Answer:
        return self.answers.get((name, rtype), UNASKED)

    @property
    def serving(self) -> list[Server]:
        return [server for server in self.servers if server.serves is Serves.YES]


def is_elsewhere(question: ZoneQuestion, delegation: Delegation) -> bool:
    """Whether the zone above names none of the name servers that it should."""
    return bool(question.hosts) and not delegation.itself and not question.hosts & delegation.hosts
