"""
`inventory/assets/<customer>.yaml`: read, made anew from what hosts said, and written so that Git's difference is what
changed. Pure, but for reading and writing that file.

A run changes one line at least, the day it was made. A host that gave no answer keeps what was known of it, with the
day when it answered last. Who is met on a customer's networks and is nobody's host is listed apart; on other networks
there may be other people's devices, and they are nobody's business.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mspctl import edit, strict_yaml
from mspctl.errors import InputError, TargetError
from mspctl.kinds.assets import AssetsOf, Inspected
from mspctl.model.assets import NEVER, AssetsFile, Device, Machine
from mspctl.model.base import validate
from mspctl.model.customer import Customer
from mspctl.model.sections import hosts
from mspctl.model.sections.hosts import entries
from mspctl.strict_yaml import Problems

COMMENT = "Written by mspctl inventory collect: the difference in Git is what changed."
FORGOTTEN = timedelta(days=30)  # a device that nobody meets any more
Answers = Mapping[str, Inspected | TargetError]  # by the name of the host


def file_of(customer: str) -> str:
    return f"inventory/assets/{customer}.yaml"


def read(root: Path, customer: str) -> AssetsFile | None:
    """What was collected last; None when nothing was. Raises InputError."""
    file = file_of(customer)
    if not (root / file).exists():
        return None
    problems = Problems()
    found = validate(AssetsFile, strict_yaml.read(root / file, file, problems), file, problems)
    if problems.errors or found is None:
        raise InputError(problems)
    return found


def looked_up(root: Path, questions: Sequence[AssetsOf]) -> dict[AssetsOf, AssetsFile | InputError | None]:
    """For checks: the file, None when there is none, or why it cannot be read."""
    found: dict[AssetsOf, AssetsFile | InputError | None] = {}
    for question in questions:
        try:
            found[question] = read(root, question.customer)
        except InputError as error:
            found[question] = error
    return found


def write(root: Path, customer: str, new: AssetsFile) -> str:
    """Put it in place; returns the file's name. Raises InputError."""
    file = file_of(customer)
    path = root / file
    text, problems = as_text(new), Problems()
    if validate(AssetsFile, strict_yaml.parse(text, file, problems), file, problems) != new:
        raise InputError.at(file, "what hosts say cannot be written there; nothing was changed")
    try:
        path.parent.mkdir(exist_ok=True)
        old = path.read_bytes().decode() if path.exists() else None
        if text != old:
            edit.write(path, text, replaces=old, file=file)
    except OSError as error:
        raise InputError.at(file, f"cannot be written ({error.strerror})") from None
    return file


def as_text(new: AssetsFile) -> str:
    return edit.dump(_plain(new), comment=COMMENT, tall=True)


def _plain(value: Any) -> edit.Plain:
    if isinstance(value, date):
        return "never" if value == NEVER else edit.Bare(value)
    if isinstance(value, AssetsFile | Machine | Device):
        said = {name: getattr(value, name) for name in type(value).model_fields}
        return {name: _plain(one) for name, one in said.items() if one not in (None, {}, ())}
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    return [*value] if isinstance(value, tuple) else str(value)


# -- what hosts said --------------------------------------------------------------------------------------------


def looked_for(customer: Customer) -> list[str]:
    """Addresses that its hosts ask their networks for."""
    return [entry.address for entry in entries(customer).values() if entry.address and _ip(entry.address)]


def collected(customer: Customer, old: AssetsFile | None, answers: Answers, today: date) -> AssetsFile:
    """What is known now."""
    known = _Known(customer, old or _nothing(today), answers, today)
    found = {name: machine for name in sorted(entries(customer)) if (machine := known.machine(name))}
    return AssetsFile.model_validate({"read": str(today), "hosts": found, "devices": dict(known.devices(found))})


def _nothing(today: date) -> AssetsFile:
    return AssetsFile.model_validate({"read": str(today)})


@dataclass(frozen=True, slots=True)
class _Known:
    customer: Customer
    old: AssetsFile
    answers: Answers
    today: date

    @property
    def said(self) -> list[Inspected]:
        return [answer for answer in self.answers.values() if isinstance(answer, Inspected)]

    @property
    def met(self) -> dict[str, str]:
        return {address: mac for one in self.said for address, mac in one.neighbours.items()}

    def machine(self, name: str) -> Machine | None:
        """None of a host of which nobody could say anything, ever."""
        answer, before = self.answers.get(name), self.old.hosts.get(name)
        if isinstance(answer, Inspected):
            return Machine.model_validate({**answer.machine, "packages": self._packages(answer)})
        address = entries(self.customer)[name].address
        if answer is None and address in self.met:
            return Machine(mac=self.met[address])
        if before is not None:
            return before.model_copy(update={"seen": before.seen or self.old.read})
        looked = answer is not None or any(_within(address, one.networks) for one in self.said)
        return Machine.model_validate({"seen": "never"}) if looked else None

    def _packages(self, answer: Inspected) -> dict[str, str]:
        """Those that somebody asked for, and those that are not allowed, whoever brought them."""
        asked = answer.machine.get("packages", {})
        assert isinstance(asked, Mapping), "packages have versions"
        rules = hosts.software(self.customer)
        more = {
            p: v for p, v in answer.automatic.items() if any(fnmatchcase(p, pattern) for pattern in rules.forbidden)
        }
        return dict(sorted({**asked, **more}.items()))

    def devices(self, found: Mapping[str, Machine]) -> Iterator[tuple[str, Device]]:
        """Who is nobody's host, in the order of addresses."""
        own = {address for machine in found.values() for address in _addresses(machine)} | {*looked_for(self.customer)}
        own |= {address for one in self.said for address in one.addresses}
        networks, others = self.customer.info.sites.values(), hosts.others(self.customer)
        for address in sorted({*self.met, *self.old.devices}, key=_in_order):
            strange = address not in own and _within(address, networks) and not _within(address, others)
            before = self.old.devices.get(address)
            last = None if address in self.met else (before and before.seen) or self.old.read
            if strange and (last is None or self.today - last <= FORGOTTEN):
                mac = self.met.get(address) or (before.mac if before else "")
                said = {"mac": mac, "since": str(before.since if before else self.today), "seen": last and str(last)}
                yield address, Device.model_validate({name: text for name, text in said.items() if text})


def _addresses(machine: Machine) -> Iterator[str]:
    """Of a host's own interfaces: "52:54:00:… 10.20.1.10/24"."""
    for said in machine.networks.values():
        yield from (word.partition("/")[0] for word in said.split()[1:])


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _within(address: str | None, networks: Iterable[str]) -> bool:
    found = _ip(address or "")
    return found is not None and any(found in ipaddress.ip_network(network) for network in networks)


def _in_order(address: str) -> tuple[int, int]:
    found = ipaddress.ip_address(address)
    return found.version, int(found)


# -- in words ---------------------------------------------------------------------------------------------------


def changes(old: AssetsFile | None, new: AssetsFile) -> Iterator[tuple[str, str]]:
    """(host or address, what changed there) since the run before."""
    before = old or _nothing(new.read)
    for name, machine in new.hosts.items():
        known = before.hosts.get(name)
        if machine.seen:
            yield name, "gave no answer" + (", as ever" if machine.seen == NEVER else f"; as of {machine.seen}")
        elif known is None or known.seen == NEVER:
            yield name, "is new"
        else:
            said = "; ".join(_different(known, machine))
            yield from [(name, said)] if said else []
    yield from ((name, "left hosts.yaml") for name in before.hosts if name not in new.hosts)
    for address, device in new.devices.items():
        if address not in before.devices:
            yield address, f"is nobody's host ({device.mac})"


def _different(old: Machine, new: Machine) -> Iterator[str]:
    for name in Machine.model_fields:
        was, now = getattr(old, name), getattr(new, name)
        if was == now or name == "seen":
            continue
        if isinstance(now, dict):
            yield f"{name}: {_counted(was, now)}"
        elif isinstance(now, tuple):
            yield f"{name}: " + ", ".join(
                [*(f"+ {n}" for n in now if n not in was), *(f"- {n}" for n in was if n not in now)]
            )
        else:
            yield f"{name} {was or 'unknown'} → {now or 'unknown'}"


def _counted(was: Mapping[str, str], now: Mapping[str, str]) -> str:
    """ "2 other, 1 new, 1 gone"; of few, which."""
    other = [name for name in now if name in was and was[name] != now[name]]
    kinds = {"other": other, "new": [n for n in now if n not in was], "gone": [n for n in was if n not in now]}
    few = sum(map(len, kinds.values())) <= 4
    return ", ".join(f"{', '.join(names) if few else len(names)} {word}" for word, names in kinds.items() if names)
