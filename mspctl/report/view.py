"""What a report is, before how it looks: a heading, blocks of lines, each line one fact."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

# Headings of blocks that are about no scope.
FINDINGS, PROOFS, EXPIRED, SOON = "findings", "proofs", "expired", "ends soon"
ELSEWHERE = "elsewhere"  # the label of what another merge declares
UNAPPROVED = "Needs an approval"  # the heading of what somebody has to decide


class Tone(enum.StrEnum):
    ADD = "add"
    CHANGE = "change"
    OPENS = "opens"  # lets in what was kept out
    TAKE = "take"  # takes away
    OUTSIDE = "outside"  # somebody else's doing
    QUIET = "quiet"
    BAD = "bad"
    DONE = "done"
    SEVERE = "severe"  # a finding: something does not work
    WARN = "warn"  # a finding: in part, or not for long; or nobody knows


@dataclass(frozen=True, slots=True)
class Line:
    """One fact: `+ create  www A  192.0.2.80  brenta.example.yaml:3`."""

    tone: Tone
    label: str
    name: str = ""
    detail: str = ""
    source: str = ""
    remedy: str = ""  # what somebody should do about it
    heed: str = ""  # the heading under which it stands on top, too: UNAPPROVED or none
    answers: tuple[str, ...] = ()  # commands to paste, of which each ends it
    new: bool = False  # no run before this one saw it, and there was one
    known: bool = False  # seen yesterday and before: folded where lists are long


@dataclass(frozen=True, slots=True)
class Block:
    """One scope, or the findings of one customer: a heading and its facts."""

    customer: str
    heading: str
    source: str
    lines: Sequence[Line] = ()
    aside: Sequence[Line] = ()  # not in this merge: what somebody outside did, and what nobody declared
    commands: Sequence[str] = ()  # what ends the aside, to paste
    section: str = ""  # the facet of a scope; of findings: FINDINGS, of proofs: PROOFS
    target: str = ""  # where a scope lives


@dataclass(frozen=True, slots=True)
class View:
    kind: str  # plan, drift or apply
    title: str
    facts: Sequence[str]  # one line under the title
    blocks: Sequence[Block]
    summary: str
    notes: Sequence[Line] = ()
    document: dict[str, object] = field(default_factory=dict)  # the same for programs
    alarms: Sequence[str] = ()  # before everything else
    causes: Sequence[Line] = ()  # what is wrong with several at once, in place of a line at each: see digest.grouped
