"""
Chains of nftables → one list of conditions and verdicts for each hook, as the first packet of a connection meets it.

Jumps, maps of verdicts and several chains on one hook are gone in it. Answers, what belongs to no connection, and what
the device says to itself are not in it: with our rules they are decided before everything else. What a condition says
that our language has no words for is in `odd`, and the rule's own text comes along. Pure.

Sources: libnftables-json(5), nft(8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mspctl.drivers.nftables.grown.condition import Cond
from mspctl.drivers.nftables.grown.listed import Rule, Tables
from mspctl.drivers.nftables.grown.one_rule import Reader
from mspctl.errors import TargetError

MOST = 4000  # entries; what is more tangled than that, nobody understands


@dataclass(frozen=True, slots=True)
class Entry:
    """One condition and what becomes of what meets it; `log` and `odd` are verdicts after which it goes on."""

    cond: Cond
    verdict: str
    data: Any = None
    text: str = ""
    place: str = ""
    comment: str = ""
    log: bool = False

    def within(self, cond: Cond, text: str) -> Entry | None:
        met = cond.meet(self.cond)
        return replace(self, cond=met, text=f"{text} {self.text}".strip()) if met else None

    @property
    def key(self) -> object:
        """By which rules of two families are one."""
        return self.cond, self.verdict, str(self.data), self.text if self.cond.odd or self.verdict == "odd" else ""


def flat(tables: Tables, hook: str, kind: str, version: int, *, first: bool = True) -> list[Entry]:
    """What becomes of a packet on one hook, from first to last; the last one holds for all. Raises TargetError."""
    end = [Entry(Cond(), "accept", place="no chain")]
    for table, chain in reversed(tables.hooked(hook, kind, version)):
        reader = Reader(tables, table, hook, version, first)
        walk = _Walk(reader, end)
        place = f"table {table[0]} {table[1]}, {chain['name']}"
        policy = Entry(Cond(), "drop", text="drop", place=f"{place}, its policy")
        end = walk.chain(chain["name"], [policy] if chain.get("policy") == "drop" else end)
    return end


@dataclass(slots=True)
class _Walk:
    """Through one table, from its ends to its beginning: what comes behind a rule is known when it is read."""

    reader: Reader
    accepted: list[Entry]  # what comes behind an accept

    def chain(self, name: str, behind: list[Entry]) -> list[Entry]:
        found = behind
        mine = [r for r in self.reader.tables.rules[self.reader.table] if r.chain == name]
        for rule in reversed(mine):
            for way in reversed([*self.reader.read(rule)]):
                found = self._ahead(rule, way, found, behind)
                if len(found) > MOST:
                    raise TargetError(f"table {' '.join(self.reader.table)} is too tangled to be written as a list")
        return found

    def _ahead(self, rule: Rule, way: Any, found: list[Entry], behind: list[Entry]) -> list[Entry]:
        cond, verdict, data, text, log = way
        place = f"table {' '.join(self.reader.table)}, {rule.chain}"
        if verdict in ("jump", "goto"):
            inner = self.chain(data, found if verdict == "jump" else behind)
            inner = inner[: len(inner) - len(found)] if verdict == "jump" else inner
            return [*_within(inner, cond, text), *found]
        if verdict == "return":
            return behind if cond == Cond() else [*_within(behind, cond, text), *found]
        if verdict == "continue":
            return found
        own = rule.text if " vmap " not in rule.text else f"{text} {verdict}"
        entry = Entry(cond, verdict, data, own, place, rule.comment, log)
        if verdict == "accept" and not (len(self.accepted) == 1 and self.accepted[0].verdict == "accept"):
            return [*_within(self.accepted, cond, text), *found]
        return [entry, *found]


def _within(entries: Sequence[Entry], cond: Cond, text: str) -> list[Entry]:
    return [met for each in entries if (met := each.within(cond, text))]
