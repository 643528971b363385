"""What the names in a device's YAML stand for: objects are addresses, services ports, schedules hours. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from mspctl.kinds import addresses, services
from mspctl.model.base import nearest
from mspctl.model.sections.firewall.rules import Shared
from mspctl.moments import Window

MOST_DEEP = 16  # groups within groups


class Unknown(ValueError):
    """A name that stands for nothing; its text says what would be right."""


class Names:
    """The names of one device."""

    def __init__(self, device: Shared) -> None:
        self.device = device
        self.used: set[tuple[str, str]] = set()  # ("objects", "nvr")

    def addresses(self, places: Iterable[str]) -> frozenset[str]:
        """In normal form. Raises Unknown."""
        return addresses.joined(self._flat(places, "objects", self.device.objects, _address, ()))

    def services(self, said: Iterable[str]) -> frozenset[str]:
        """In normal form. Raises Unknown."""
        return services.joined(self._flat(said, "services", self.device.services, _service, ()))

    def schedule(self, name: str) -> Window:
        """Raises Unknown."""
        if name not in self.device.schedules:
            raise Unknown(f"there is no schedule {name}{nearest(name, self.device.schedules)}")
        self.used.add(("schedules", name))
        return self.device.schedules[name]

    def _flat(
        self,
        said: Iterable[str],
        kind: str,
        known: Mapping[str, Sequence[str]],
        own: Callable[[str], Sequence[str]],
        within: tuple[str, ...],
    ) -> Iterable[str]:
        for text in said:
            if text not in known:
                found = own(text)
                if not found:
                    what = "object" if kind == "objects" else "service"
                    raise Unknown(f"there is no {what} {text}{_meant(what, text) or nearest(text, known)}")
                yield from found
            elif text in within or len(within) >= MOST_DEEP:
                raise Unknown(f"{text} is in itself ({' → '.join([*within, text])})")
            else:
                self.used.add((kind, text))
                yield from self._flat(known[text], kind, known, own, (*within, text))


def _meant(what: str, text: str) -> str:
    if what == "object" and text[:1].isdigit():
        try:
            addresses.fold(text)
        except ValueError as error:
            return f" ({error})"
    if what == "service" and text.isdecimal():
        return f" (write tcp/{text} or udp/{text})"
    if what == "service" and text in services.WITH_PORTS:
        return f" (write {text}/443, or {text}/1-65535 for all of it)"
    return ""


def _address(text: str) -> Sequence[str]:
    try:
        return (addresses.fold(text),)
    except ValueError:
        return ()


def _service(text: str) -> Sequence[str]:
    try:
        return services.fold(text)
    except ValueError:
        return ()
