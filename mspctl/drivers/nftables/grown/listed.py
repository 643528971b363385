"""
What nft lists of other people's tables: chains, rules with their own text, sets and maps. Pure.

Sources: libnftables-json(5), nft(8).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
_PRIORITIES = {"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "security": 50, "srcnat": 100}


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as it stands somewhere."""

    chain: str
    expr: Sequence[Json]
    text: str  # as nft lists it, without its comment
    comment: str


@dataclass(slots=True)
class Tables:
    """What nft lists, but for our own tables."""

    chains: dict[tuple[str, str], dict[str, Json]] = field(default_factory=dict)  # family and name of a table → chains
    rules: dict[tuple[str, str], list[Rule]] = field(default_factory=dict)
    sets: dict[tuple[str, str], dict[str, Json]] = field(default_factory=dict)  # maps, too
    local: Mapping[str, Sequence[str]] = field(default_factory=dict)  # interface → addresses with their networks

    @classmethod
    def read(cls, listed: Any, text: str, ours: str, local: Mapping[str, Sequence[str]]) -> Tables:
        """Raises KeyError, TypeError, ValueError when that makes no sense."""
        found = cls(local=local)
        texts, dynamic = dict(_texts(text)), {*_dynamic(text)}
        for item in listed["nftables"]:
            ((what, said),) = item.items()
            table = (str(said.get("family")), str(said.get("table", said.get("name"))))
            if table[1].startswith(ours) or what == "metainfo":
                continue
            if what == "table":
                found.chains.setdefault(table, {}), found.rules.setdefault(table, []), found.sets.setdefault(table, {})
            elif what == "chain":
                found.chains[table][said["name"]] = said
            elif what in ("set", "map"):
                more = ["dynamic"] if (*table, said["name"]) in dynamic else []
                found.sets[table][said["name"]] = {**said, "flags": [*flattened(said.get("flags", [])), *more]}
            elif what == "rule":
                own = texts.get((*table, int(said["handle"])), "")
                found.rules[table].append(Rule(said["chain"], said["expr"], own, said.get("comment", "")))
        return found

    def hooked(self, hook: str, kind: str, version: int) -> list[tuple[tuple[str, str], Json]]:
        """Base chains of one family, as packets meet them."""
        families = ("inet", "ip" if version == 4 else "ip6")
        found = [
            (table, chain)
            for table, chains in self.chains.items()
            for chain in chains.values()
            if table[0] in families and chain.get("hook") == hook and chain.get("type") == kind
        ]
        return sorted(found, key=lambda each: _priority(each[1].get("prio", 0)))

    def interfaces(self) -> list[str]:
        """All that rules speak of or the device has, but for its own loop; what is a pattern is none."""
        found = {*self.local}
        for rules in self.rules.values():
            for rule in rules:
                found |= {*_named(rule.expr)}
        for sets in self.sets.values():
            for said in sets.values():
                if said.get("type") == "ifname":
                    found |= {str(each) for each in elements(said.get("elem", []))}
        return sorted(each for each in found if each != "lo" and "*" not in each)


def _priority(said: Any) -> int:
    return _PRIORITIES.get(said, 0) if isinstance(said, str) else int(said)


def _texts(listed: str) -> Iterator[tuple[tuple[str, str, int], str]]:
    """Rules as nft writes them, by table and handle; long sets go over several lines."""
    family = name = held = ""
    chain = False
    for line in map(str.strip, listed.splitlines()):
        body, _, handle = line.rpartition(" # handle ")
        if line.startswith("table ") and body.endswith("{"):
            _, family, name, *_ = body.split()
        elif body.endswith("{") and line.startswith(("chain ", "set ", "map ", "flowtable ", "ct ")):
            chain, held = line.startswith("chain "), ""
        elif line == "}":
            chain = False
        elif chain and not line.startswith(("type ", "policy ")):
            held = f"{held} {body or line}".strip()
            if body and handle.isdecimal():
                yield (family, name, int(handle)), re.sub(r' comment "[^"]*"$', "", held)
                held = ""


def _dynamic(listed: str) -> Iterator[tuple[str, str, str]]:
    """Sets that rules fill, by table and name: nft's JSON does not tell them (as of 1.0.6)."""
    family = name = held = ""
    for words in map(str.split, listed.splitlines()):
        if words[:1] == ["table"]:
            _, family, name, *_ = words
        elif words[:1] in (["set"], ["map"]):
            held = words[1]
        elif words[:1] == ["flags"] and "dynamic" in words[1].split(","):
            yield family, name, held


def _named(value: Any) -> Iterator[str]:
    """Interfaces in an expression."""
    for statement in value:
        said = statement.get("match") or statement.get("vmap") or {}
        left = said.get("left") or said.get("key")
        if isinstance(left, dict) and left.get("meta", {}).get("key") in ("iif", "oif", "iifname", "oifname"):
            right = said.get("right", said.get("data"))
            found = right.get("set", []) if isinstance(right, dict) else [right]
            names = (each[0] if isinstance(each, list) else each for each in found)
            yield from (each for each in names if isinstance(each, str) and not each.startswith("@"))


def changes(said: Json) -> bool:
    """Whether a set is filled by rules, or forgets."""
    return bool({"dynamic", "timeout"} & {*said.get("flags", [])}) or "timeout" in said


def elements(said: Iterable[Any]) -> Iterator[Any]:
    for each in said:
        yield each["elem"]["val"] if isinstance(each, dict) and "elem" in each else each


def flattened(said: Any) -> Iterator[str]:
    if isinstance(said, dict):
        for each in said.values():
            yield from flattened(each)
    elif isinstance(said, list | tuple):
        for each in said:
            yield from flattened(each)
    else:
        yield str(said)
