"""
Another address wherever one stands in Git: zones, SPF, firewall objects, allow lists, publish. As edits of YAML.

Every scalar that holds the address is found by reading it, not by its section, so what a later section says is found
too. Words that people write for people (`why`, `note`, …) stay, and so do comments.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mspctl import edit, strict_yaml
from mspctl.desired import Declaration, Rewritten, back
from mspctl.edit import Keys, Set
from mspctl.errors import InputError
from mspctl.kinds import dns
from mspctl.load import Estate
from mspctl.resource import Id, Resource
from mspctl.strict_yaml import Data, Map, Problems, Seq

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

SHORT = 300  # seconds of a lowered TTL
WORDS = frozenset({"why", "note", "name", "reason", "reply", "asked_by", "who", "ticket"})  # said to people
SKIPPED = frozenset({"secrets.yaml", "hand-over.yaml", "approvals.yaml", "accepted.yaml"})

# An address, and the prefix length that makes it a network; SPF puts `ip4:` before it.
_V4 = re.compile(r"(?<![\w.])(?:ip4:)?(?P<ip>\d{1,3}(?:\.\d{1,3}){3})(?P<net>/\d+)?(?![\w.]*\w)", re.ASCII)
_V6 = re.compile(r"(?<![\w:.])(?:ip6:)?\[?(?P<ip>[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7})(?P<net>/\d+)?(?![\w:])")


@dataclass(frozen=True, slots=True)
class Left:
    """A line that holds the address, and that somebody has to look at."""

    place: str  # "customers/acme/dns/acme.example.zone:12"
    why: str


def address(text: str, option: str) -> Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise InputError.at(option, f"{text!r} is not an address (write 192.0.2.81)") from None


def files(root: Path, customers: Sequence[str]) -> Iterator[str]:
    """What may hold an address: the files of customers, of all when none is named, and then the inventory's too."""
    folders = [f"customers/{name}" for name in customers] or ["inventory", "customers"]
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            name = path.relative_to(root).as_posix()
            hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
            if path.suffix in (".yaml", ".zone") and path.is_file() and not hidden and path.name not in SKIPPED:
                yield name


def rewrite(root: Path, names: Iterable[str], old: Address, new: Address) -> tuple[list[Rewritten], list[Left]]:
    """The files with the new address, and what is left for a person."""
    changed, left = [], []
    for name in names:
        text = (root / name).read_bytes().decode()
        if name.endswith(".zone"):
            left += [Left(f"{name}:{n}", "is a zone file, which mspctl does not edit") for n in _lines(text, old)]
            continue
        edits: list[Set] = []
        for keys, found, line in _scalars(strict_yaml.parse(text, name, Problems())):
            said, several = replaced(found, old, new)
            left += [Left(f"{name}:{line}", f"{one} is more than the one address, and stays") for one in several]
            if said != found:
                edits.append(Set(keys, said))
        if edits:
            changed.append(Rewritten(name, text, edit.edit(text, edits, file=name), len(edits)))
    return changed, left


def replaced(text: str, old: Address, new: Address) -> tuple[str, list[str]]:
    """A scalar with the new address in place of the old one, and networks and ranges that begin or end with it."""
    several: list[str] = []

    def one(match: re.Match[str]) -> str:
        if _parsed(match["ip"]) != old:
            return match[0]
        if match["net"] and int(match["net"][1:]) != old.max_prefixlen:
            several.append(match["ip"] + match["net"])
            return match[0]
        if "-" in (text[: match.start()].rstrip()[-1:], text[match.end() :].lstrip()[:1]):
            several.append(text)
            return match[0]
        return match[0].replace(match["ip"], str(new), 1)

    return (_V4 if old.version == 4 else _V6).sub(one, text), several


def _parsed(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _lines(text: str, old: Address) -> Iterator[int]:
    for number, line in enumerate(text.splitlines(), 1):
        found = (_V4 if old.version == 4 else _V6).finditer(line.partition(";")[0])
        if any(_parsed(match["ip"]) == old for match in found):
            yield number


def _scalars(data: Data, keys: Keys = ()) -> Iterator[tuple[Keys, str, int]]:
    """Every scalar that is no key and no word for people, with its path and line."""
    if isinstance(data, Map):
        for key, value in data.items():
            if isinstance(value, str):
                if key not in WORDS:
                    yield (*keys, key), value, data.marks[key].line
            else:
                yield from _scalars(value, (*keys, key))
    elif isinstance(data, Seq):
        for index, value in enumerate(data):
            if isinstance(value, str):
                yield (*keys, index), value, data.marks[index].line
            else:
                yield from _scalars(value, (*keys, index))


def lower_ttls(estate: Estate, declared: Iterable[Declaration], old: Address) -> list[Rewritten]:
    """The record files in which what answers with the address does so for a short time only."""
    wanted: dict[tuple[str, str], dict[Id, Resource | None]] = {}
    for declaration in declared:
        for resource in _answers(declaration, old):
            if dns.ttl_of(resource) > SHORT:
                lowered = replace(resource, fields={**resource.fields, "ttl": SHORT})
                wanted.setdefault((declaration.scope.customer, declaration.scope.name), {})[resource.id] = lowered
    return [back("dns").rewrite(estate, customer, zone, found) for (customer, zone), found in wanted.items()]


def _answers(declaration: Declaration, old: Address) -> Iterator[Resource]:
    return (r for r in declaration.resources if r.id.kind == dns.KIND and str(old) in dns.values_of(r))


def ttls(declared: Iterable[Declaration], old: Address) -> dict[str, int]:
    """Names of RRsets that answer with the address → their TTL in seconds."""
    found = {}
    for declaration in declared:
        for resource in _answers(declaration, old):
            owner, rtype = dns.owner_type(resource.id)
            found[f"{dns.absolute(owner, declaration.scope.name)[:-1]} {rtype}"] = dns.ttl_of(resource)
    return found
