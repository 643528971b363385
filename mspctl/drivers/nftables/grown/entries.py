"""Entries of both families together: what is the same in both is one, and what only passes on is left out. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from mspctl.drivers.nftables.grown.condition import Cond
from mspctl.drivers.nftables.grown.flat import Entry
from mspctl.drivers.nftables.grown.one_rule import ENDS

WHOLE = {4: frozenset({"0.0.0.0/0"}), 6: frozenset({"::/0"})}
EVERY_PACKET = "it works on every packet, and our chains there see the first one of a connection"


@dataclass(frozen=True, slots=True)
class Seen:
    """An entry, and in which family it holds; 0: in both."""

    entry: Entry
    version: int = 0

    @property
    def cond(self) -> Cond:
        return self.entry.cond


def whole(entries: Sequence[Entry]) -> list[Entry]:
    """As far as the first entry that decides about all."""
    found = []
    for entry in entries:
        found.append(entry)
        if entry.cond == Cond() and entry.verdict in ENDS:
            return found
    return found


def merged(four: Sequence[Entry], six: Sequence[Entry]) -> Iterator[Seen]:
    """What is the same in both families is one; the order in each stays."""
    keys = [[entry.key for entry in each] for each in (four, six)]
    codes = SequenceMatcher(None, [*map(repr, keys[0])], [*map(repr, keys[1])], autojunk=False).get_opcodes()
    for what, a, b, c, d in codes:
        if what == "equal":
            yield from (Seen(entry) for entry in four[a:b])
        else:
            yield from (Seen(entry, 4) for entry in four[a:b])
            yield from (Seen(entry, 6) for entry in six[c:d])


def with_logs(seen: Sequence[Seen]) -> list[Seen]:
    """What is logged and then decided is one rule."""
    found: list[Seen] = []
    for each in seen:
        last = found[-1] if found else None
        if last and last.entry.verdict == "log" and (last.cond, last.version) == (each.cond, each.version):
            found[-1] = replace(each, entry=replace(each.entry, log=True))
        else:
            found.append(each)
    return found


def meet(one: Seen, other: Seen) -> bool:
    return bool({one.version, other.version} != {4, 6} and one.cond.meet(other.cond))


def by_family(seen: Sequence[Seen]) -> Iterator[Seen]:
    """What hides addresses of both families, for each by itself: our masquerade is for IPv4."""
    for each in seen:
        both = each.entry.verdict == "masquerade" and not each.version
        yield from (replace(each, version=version) for version in (4, 6)) if both else (each,)


def together(seen: Sequence[Seen]) -> list[Seen]:
    """Those that are the same for both families after all."""
    found: list[Seen] = []
    for each in seen:
        if found and found[-1].entry is each.entry and {found[-1].version, each.version} == {4, 6}:
            found[-1] = replace(each, version=0)
        else:
            found.append(each)
    return found


def translating(seen: Sequence[Seen]) -> list[Seen]:
    """What translates or keeps from it: all that has to be said, in its order. What only passes on is left out."""
    return [
        each
        for number, each in enumerate(seen)
        if each.entry.verdict != "accept"
        or any(later.entry.verdict != "accept" and each.cond.meet(later.cond) for later in seen[number + 1 :])
    ]


def goes_on(entry: Entry) -> bool:
    """Whether it decides nothing."""
    decides = re.search(r"\b(accept|drop|reject)\b[^\"]*$", entry.text)
    return entry.verdict == "log" or (entry.verdict == "odd" and not decides)


def why_not(entry: Entry) -> str:
    if entry.verdict in ("odd", "redirect", "snat", "masquerade"):
        return f"our language has no words for {entry.data if entry.verdict == 'odd' else entry.verdict}"
    if entry.cond.odd:
        return f"our language has no words for {', '.join(entry.cond.odd)}"
    return "it keeps others from being translated" if entry.verdict == "accept" else "our language has no words for it"


def of_family(found: frozenset[str]) -> bool:
    return len({each.partition("/")[0] for each in found} & {"icmp", "icmpv6"}) == 1 and all("icmp" in s for s in found)
