"""
Resources of a firewall as somebody would type them: with the names that a device's YAML has for what they hold. Pure.

What is typed already and still holds stays as it is typed; only what is new is spelled. Raises ValueError for what YAML
cannot say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from mspctl.desired.firewall import week_of
from mspctl.edit import Bare
from mspctl.kinds import addresses, firewall, services
from mspctl.kinds.firewall import ANY, text, texts, times
from mspctl.model.sections.firewall.names import Names
from mspctl.model.sections.firewall.rules import Shared
from mspctl.moments import DAY, Moment, Window, timezone
from mspctl.resource import Resource

Entry = dict[str, Any]
Joined = Callable[[Iterable[str]], frozenset[str]]


@dataclass(frozen=True, slots=True)
class Speller:
    """One device's names, and the customer's clock."""

    device: Shared
    zone: str  # time zone
    now: datetime

    # -- sets -----------------------------------------------------------------------------------------------------

    def places(self, live: frozenset[str], typed: Any = None) -> Any:
        names = Names(self.device)
        known = {name: names.addresses([name]) for name in self.device.objects}
        order = addresses.in_order(live)
        return self._spelled(live, order, typed, known, names.addresses, addresses.covers)

    def services(self, live: frozenset[str], typed: Any = None) -> Any:
        names = Names(self.device)
        known = {name: names.services([name]) for name in self.device.services}
        known |= {name: services.joined(found) for name, found in services.WELL_KNOWN.items()}
        order = sorted(live, key=lambda each: services.ports(each) or (each, 0, 0))
        return self._spelled(live, order, typed, known, names.services, services.covers)

    def _spelled(
        self,
        live: frozenset[str],
        order: Sequence[str],
        typed: Any,
        known: Mapping[str, frozenset[str]],
        resolve: Joined,
        covers: Callable[[frozenset[str], frozenset[str]], bool],
    ) -> Any:
        if firewall.BY_HAND in live:
            raise ValueError(f"was {firewall.BY_HAND} to what YAML cannot say")
        if live == frozenset({ANY}):
            return one_or_list([ANY], typed)
        kept = [each for each in listed(typed) if covers(live, resolve([each]))]
        rest = [each for each in order if not kept or not covers(resolve(kept), frozenset({each}))]
        kept = [each for each in kept if not covers(frozenset(rest), resolve([each]))]
        named = []
        for name, found in sorted(known.items(), key=lambda item: (-len(item[1]), item[0])):
            if found and found <= {*rest}:
                named.append(name)
                rest = [each for each in rest if each not in found]
        said = [*kept, *sorted(named), *rest]
        return one_or_list(said if resolve(said) == live else order, typed)

    # -- time -----------------------------------------------------------------------------------------------------

    def until(self, live: str, typed: str | None = None) -> Any:
        """The day or the time at which it ends, or None; as it is typed already where that is the same."""
        if not live:
            return None
        if typed and times.moment(Moment.parse(typed).ends(self.zone)) == live:
            return typed
        local = datetime.strptime(live, "%Y-%m-%d %H:%M").replace(tzinfo=UTC).astimezone(timezone(self.zone))
        for moment in (Moment(local.date() - DAY), Moment(local.date(), local.time())):
            if times.moment(moment.ends(self.zone)) == live:
                return Bare(str(moment))
        raise ValueError(f"ends at {live} UTC, which clocks show twice in {self.zone}")

    def schedule(self, live: frozenset[str], name: str) -> tuple[str | None, str | None]:
        """The schedule that comes to these hours, and its text where there is none yet; (None, None): always."""
        if not live:
            return None, None
        for known, window in self.device.schedules.items():
            if week_of(window, self.zone, self.now) == live:
                return known, None
        typed = self._window(live)
        if typed is None:
            raise ValueError("counts at hours that are no one schedule")
        return next(each for each in self._free(name) if each not in self.device.schedules), typed

    def _free(self, name: str) -> Iterator[str]:
        plain = "".join(c if c.isalnum() or c == "-" else "-" for c in name).strip("-")
        yield plain
        yield from (f"{plain}-{n}" for n in range(2, 2 + len(self.device.schedules) + 1))

    def _window(self, live: frozenset[str]) -> str | None:
        """Hours of a week in UTC as hours on the wall, if they are the same on each of some days."""
        offset = self.now.astimezone(timezone(self.zone)).utcoffset() or timedelta()
        minutes = offset // timedelta(minutes=1)
        spans = sorted((low + minutes, high + minutes) for low, high in map(times.span_of, live))
        clock = {(low % 1440, high - low) for low, high in spans}
        for start, length in sorted(clock):
            days = sorted({low // 1440 % 7 for low, high in spans if low % 1440 == start})
            for begin, span in ((start, length), *self._over_midnight(clock, start, length)):
                said = f"{_days(days)}{_clock(begin)}-{_clock((begin + span - 1) % 1440 + 1)}"
                if week_of(Window.parse(said), self.zone, self.now) == live:
                    return said
        return None

    def _over_midnight(self, clock: set[tuple[int, int]], start: int, length: int) -> Iterator[tuple[int, int]]:
        yield from ((start, length + more) for begin, more in clock if begin == (start + length) % 1440)

    # -- entries --------------------------------------------------------------------------------------------------

    def limits(self, live: Resource, old: Mapping[str, Any]) -> tuple[Entry, dict[str, str]]:
        """`log`, `schedule`, `until`, each None where it is not said; and schedules that are new."""
        schedule, window = self.schedule(texts(live, "hours"), str(live.id.name))
        said: Entry = {"log": Bare("true") if live.fields.get("log") else None, "schedule": schedule}
        said["until"] = self.until(text(live, "until"), old.get("until"))
        return said, {schedule: window} if schedule and window else {}

    def rule(self, live: Resource, old: Mapping[str, Any]) -> tuple[Entry, dict[str, str]]:
        action = text(live, "action")
        if action not in ("accept", "drop", "reject"):
            raise ValueError("is a rule of its own, which YAML cannot say" if "native" in live.fields else _HAND)
        said: Entry = {"id": live.id.name}
        for name in ("from", "to"):
            said[name] = _zones(texts(live, name), old.get(name))
        for name in ("source", "destination"):
            found = texts(live, name)
            said[name] = None if found == addresses.ANY and name not in old else self.places(found, old.get(name))
        said["services"] = self.services(texts(live, "services"), old.get("services"))
        limits, new = self.limits(live, old)
        return {**said, "action": action, **limits}, new

    def forward(self, live: Resource, old: Mapping[str, Any]) -> tuple[Entry, dict[str, str]]:
        if text(live, "to") == firewall.BY_HAND:
            raise ValueError(_HAND)
        (listen,) = texts(live, "listen")
        said: Entry = {"id": live.id.name, "listen": f"{text(live, 'zone')}:{listen.removeprefix('tcp/')}"}
        said["to"] = _host_and_port(str(self.places(frozenset({text(live, "to")}))), live.fields.get("port"))
        said["only_from"] = self.places(texts(live, "source"), old.get("only_from"))
        limits, new = self.limits(live, old)
        return {**said, **limits}, new


_HAND = f"was {firewall.BY_HAND} to what YAML cannot say"


def _host_and_port(host: str, port: Any) -> str:
    if not port:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _zones(live: frozenset[str], typed: Any) -> Any:
    kept = [zone for zone in listed(typed) if zone in live]
    said = [*kept, *sorted(live - {*kept})]
    return one_or_list(said or [ANY], typed)


def listed(typed: Any) -> list[str]:
    if typed is None:
        return []
    return [typed] if isinstance(typed, str) else [*typed]


def one_or_list(said: Sequence[str], typed: Any = None) -> Any:
    return said[0] if len(said) == 1 and not isinstance(typed, list) else [*said]


def _days(days: Sequence[int]) -> str:
    if len(days) == 7:
        return ""
    names = [firewall.DAYS[day] for day in days]
    if len(days) > 2 and days[-1] - days[0] == len(days) - 1:
        return f"{names[0]}-{names[-1]} "
    return f"{','.join(names)} "


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
