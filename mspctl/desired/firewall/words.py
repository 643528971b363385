"""What a rule or forward does, as a reader of the plan would say it: with names, hours on the wall, for whom. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property

from mspctl.kinds import addresses, firewall, services, vpn
from mspctl.kinds.firewall.words import in_words
from mspctl.model.sections.firewall.names import Names
from mspctl.model.sections.firewall.proving import shot
from mspctl.model.sections.firewall.rules import Forward, Raw, Reasons, Rule, Shared, VpnSite, VpnUser
from mspctl.moments import Moment, timezone
from mspctl.resource import Id, Resource


class Words(Mapping[Id, str]):
    """By resource; made when somebody asks, because most plans have nothing to tell."""

    def __init__(self, device: Shared, contacts: Mapping[str, str], zone: str, now: datetime) -> None:
        self.device = device
        self.contacts = contacts  # id → name
        self.zone = zone
        self.now = now
        self.made: dict[Id, Callable[[], str]] = {}

    def add(self, resource: Resource, said: Rule | Forward | Raw) -> None:
        self.made[resource.id] = lambda: in_words(resource, self._called, self._more(said) + self._proofs(resource))

    def add_peer(self, resource: Resource, said: VpnUser | VpnSite) -> None:
        self.made[resource.id] = lambda: vpn.in_words(resource) + self._ends(said)

    def _ends(self, said: VpnUser | VpnSite) -> str:
        until = said.until if isinstance(said, VpnUser) else None
        parts = [said.name] if said.name else []
        parts += [f"closes itself {ending(until, self.zone, self.now)}"] if until else []
        return "".join(f"; {part}" for part in [*parts, *self._for_whom(said)])

    def _for_whom(self, said: Reasons) -> list[str]:
        asked = self.contacts.get(said.asked_by or "", said.asked_by)
        parts = [f"asked by {asked}"] if asked else []
        parts += [f"ticket {said.ticket}"] if said.ticket else []
        return [*parts, *_why(said.why)]

    def __getitem__(self, id_: Id) -> str:
        return self.made[id_]()

    def __contains__(self, id_: object) -> bool:
        return id_ in self.made

    def __iter__(self) -> Iterator[Id]:
        return iter(self.made)

    def __len__(self) -> int:
        return len(self.made)

    @cached_property
    def _called(self) -> Mapping[frozenset[str], str]:
        names = Names(self.device)
        return {names.addresses([name]): name for name in reversed(self.device.objects)}

    def _more(self, said: Rule | Forward | Raw) -> str:
        parts = [] if isinstance(said, Raw) else [*self._limits(said)]
        return "".join(f"; {part}" for part in [*parts, *self._for_whom(said)])

    def _limits(self, said: Rule | Forward) -> Iterator[str]:
        if said.schedule:
            yield f"only {said.schedule} ({self.device.schedules[said.schedule]})"
        if said.until:
            yield f"closes itself {ending(said.until, self.zone, self.now)}"

    def _proofs(self, resource: Resource) -> str:
        """The packets that will vouch for it."""
        meant = firewall.texts(resource, "listen" if resource.id.kind == firewall.FORWARD else "services")
        names, found = Names(self.device), list[str]()
        for packet in self.device.proofs.packets:
            sent = shot(packet, names)
            to = resource.fields.get("destination", addresses.ANY)
            there = isinstance(to, frozenset) and addresses.meet(to, frozenset({sent.address}))
            if there and services.covers(meant, frozenset({sent.called})):
                found.append(f"{sent.id} ({sent.expect})")
        return f"; {'proof' if len(found) == 1 else 'proofs'} {', '.join(found)}" if found else ""


def _why(said: str | None) -> Sequence[str]:
    return [f"“{said}”"] if said else []


def ending(until: Moment, zone: str, now: datetime) -> str:
    """`Fri 12 Mar 18:00`, `after Fri 12 Mar`; with its year unless that is this one."""
    at = until.ends(zone).astimezone(timezone(zone))
    day = at if until.time else at - timedelta(minutes=1)
    year = "" if day.year == now.astimezone(timezone(zone)).year else f" {day.year}"
    named = f"{day:%a} {day.day} {day:%b}{year}"
    return f"{named} {at:%H:%M}" if until.time else f"after {named}"
