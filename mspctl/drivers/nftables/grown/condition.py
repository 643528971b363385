"""What a packet has to be for a rule to count, in the words of our own language; and when two of that meet. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from mspctl.kinds import addresses, services

Names = frozenset[str]


@dataclass(frozen=True, slots=True)
class Cond:
    """What a packet has to be. `came` and `goes`: interfaces; None is any."""

    came: Names | None = None
    goes: Names | None = None
    source: Names = addresses.ANY
    destination: Names = addresses.ANY
    services: Names = services.ANY
    dnat: bool = False  # only what was sent on to another address
    odd: tuple[str, ...] = ()

    def meet(self, other: Cond) -> Cond | None:
        """What both say; None where nothing can be both."""
        came, goes = _both(self.came, other.came), _both(self.goes, other.goes)
        source = addresses.overlap(self.source, other.source)
        destination = addresses.overlap(self.destination, other.destination)
        found = _common(self.services, other.services)
        if not (source and destination and found) or came == frozenset() or goes == frozenset():
            return None
        odd = tuple(dict.fromkeys((*self.odd, *other.odd)))
        return Cond(came, goes, source, destination, found, self.dnat or other.dnat, odd)


def _both(one: Names | None, other: Names | None) -> Names | None:
    return other if one is None else one if other is None else one & other


def _common(one: Names, other: Names) -> Names:
    if services.ANY in (one, other):
        return other if one == services.ANY else one
    return services.joined(found for a in one for b in other if (found := _shared(a, b)))


def _shared(one: str, other: str) -> str:
    a, b = services.ports(one), services.ports(other)
    if a and b:
        low, high = max(a[1], b[1]), min(a[2], b[2])
        return services.fold(f"{a[0]}/{low}-{high}")[0] if a[0] == b[0] and low <= high else ""
    if one == other or one.endswith("/any"):
        return other if one.partition("/")[0] == other.partition("/")[0] else ""
    return one if other.endswith("/any") and one.partition("/")[0] == other.partition("/")[0] else ""
