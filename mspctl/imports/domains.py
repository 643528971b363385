"""
Mail domains, wherever they come from → a customer's mail.yaml.

What YAML cannot say is sifted out and named first, and whatever sends mail to it with it; the rest is read as `load`
reads it before anything is written.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path
from types import MappingProxyType

from mspctl import edit, strict_yaml
from mspctl.desired.mail.back import DomainEditor, in_order, unsaid_share
from mspctl.errors import InputError
from mspctl.fields import one_line, spoken_size
from mspctl.kinds import dns, mail
from mspctl.load import Estate, load
from mspctl.model.base import validate
from mspctl.model.sections.mail import Domain, Section
from mspctl.resource import Resource
from mspctl.strict_yaml import Map, Problems

ORDER = ("target", "mailboxes", "groups", "catch_all", "alias_domains", "limits")  # in which an entry is written

Domains = dict[str, list[Resource]]
NOBODY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What does not come in, and why."""

    domain: str
    resource: Resource
    why: str


def folded(name: str) -> str:
    """A domain that was named on the command line. Raises InputError."""
    try:
        return dns.fold_zone(name)
    except ValueError as error:
        raise InputError.at("--zone", str(error)) from None


# -- what YAML can say ------------------------------------------------------------------------------------------


def owners(estate: Estate, customer: str) -> dict[str, str]:
    """Mail domains that other customers declare, those that are aliases too, and whose they are."""
    found: dict[str, str] = {}
    for name, other in estate.everyone.items():
        section = other.sections.get("mail")
        if name != customer and isinstance(section, Section):
            found |= dict.fromkeys((each for d in section.domains.values() for each in d.alias_domains), name)
            found |= dict.fromkeys(section.domains, name)
    return found


def sift(domains: Domains, others: Mapping[str, str] = NOBODY) -> list[LeftOut]:
    """
    Take out of `domains` what cannot be said. What is left loads, as far as these domains and those of `others` decide
    it.
    """
    found = [*_unspeakable(domains)]
    for rest in iter(
        lambda: [*_foreign(domains, others)] or [*_wrong(domains)] or _circle(domains) or [*_limited(domains)], []
    ):
        for one in rest:
            domains[one.domain].remove(one.resource)
        found += rest
    return found


def _foreign(domains: Domains, others: Mapping[str, str]) -> Iterator[LeftOut]:
    for domain, resources in domains.items():
        for resource in resources:
            if resource.id.kind == mail.ALIAS_DOMAIN and (owner := others.get(resource.id.name)):
                yield LeftOut(domain, resource, f"is a mail domain of {owner}")


def _unspeakable(domains: Domains) -> Iterator[LeftOut]:
    """Names of owners that do not fit on a line: only they are left out, and their mailboxes come in."""
    for domain, resources in domains.items():
        for number, resource in enumerate(resources):
            name = resource.fields.get("name")
            if why := _bad_name(name) if isinstance(name, str) and name else "":
                yield LeftOut(domain, resource, f"its owner's name {why}")
                fields = {key: value for key, value in resource.fields.items() if key != "name"}
                resources[number] = Resource(resource.id, fields, resource.source)


def _bad_name(name: str) -> str:
    try:
        edit.dump({"name": one_line(name)})
    except InputError:
        return "holds characters that YAML does not take"
    except ValueError as error:
        return str(error)
    return ""


def _wrong(domains: Domains) -> Iterator[LeftOut]:
    """What sends mail to what is taken out cannot stay either, so this is asked until nothing is left."""
    known = {mail.address_of(r.id.name, domain) for domain, held in domains.items() for r in held}
    aliases = _alias_domains(domains)
    for domain, resources in domains.items():
        for resource in resources:
            if why := _why_not(resource, domain, domains) or _dangling(resource, domain, domains, aliases, known):
                yield LeftOut(domain, resource, why)


def _why_not(resource: Resource, domain: str, domains: Domains) -> str:
    """What is wrong with one resource by itself."""
    kind, name, fields = resource.id.kind, resource.id.name, resource.fields
    if name != name.lower():
        return "is there a second time, in another spelling"
    if kind in (mail.MAILBOX, mail.ALIAS) and name != mail.CATCH_ALL:
        try:
            if mail.fold_local(name) != name:
                return "is spelled in a way that YAML does not keep"
        except ValueError as error:
            return str(error)
    if kind == mail.MAILBOX and (why := _unusual(resource) or _shared(resource, domain, domains)):
        return why
    if kind == mail.ALIAS and not fields["to"]:
        return "sends mail to nobody"
    if kind == mail.ALIAS_DOMAIN and name in domains:
        return f"has addresses of its own, and is to have those of {domain}"
    return _unsaid(resource, domain)


def _unusual(mailbox: Resource) -> str:
    fields = mailbox.fields
    receives = bool(fields["forwards"])
    if fields["enabled"]:
        usual = fields["receives"] and (fields["keep_copy"] or receives)
        return "" if usual else "its owner can log in, and its mail is refused or lost"
    usual = fields["receives"] is receives and fields["keep_copy"] is not receives
    return "" if usual else "nobody can log in, and its mail is not refused, nor sent on only"


def _shared(mailbox: Resource, domain: str, domains: Domains) -> str:
    there = {mail.address_of(r.id.name, domain) for r in domains[domain] if r.id.kind == mail.MAILBOX}
    gone = [a for a in mail.addresses(mailbox.fields.get("shared_with")) if a not in there]
    return unsaid_share(mailbox, domain) or (f"is shared with {gone[0]}, which is no mailbox" if gone else "")


def _unsaid(resource: Resource, domain: str) -> str:
    """Whether YAML has words for it."""
    editor = DomainEditor({"target": "x"}, domain)
    try:
        editor.put(resource.id, resource)
    except ValueError as error:
        return str(error).removesuffix(", which YAML cannot say")
    problems = Problems()
    validate(Domain, editor.entry, "", problems)
    return problems[0].text if problems else ""


def _dangling(resource: Resource, domain: str, domains: Domains, aliases: Mapping[str, str], known: set[str]) -> str:
    for address in _recipients(resource):
        if not mail.is_address(address):
            return f"sends mail to {address!r}, which is no address"
        there = _there(address, aliases)
        if there.partition("@")[2] in domains and there not in known:
            return f"sends mail to {address}, which is not there"
        if there == mail.address_of(resource.id.name, domain):
            return "sends mail to itself"
    return ""


def _recipients(resource: Resource) -> list[str]:
    return mail.addresses(resource.fields.get("to") or resource.fields.get("forwards"))


def _alias_domains(domains: Domains) -> dict[str, str]:
    return {r.id.name: domain for domain, held in domains.items() for r in held if r.id.kind == mail.ALIAS_DOMAIN}


def _there(address: str, aliases: Mapping[str, str]) -> str:
    """The mailbox or list that an address means: without its extension, and in the domain that an alias stands for."""
    local, _, end = address.partition("@")
    return f"{mail.base_of(local)}@{aliases.get(end, end)}"


def _circle(domains: Domains) -> list[LeftOut]:
    """One of those through which mail comes back to where it was; an alias rather than a mailbox."""
    aliases = _alias_domains(domains)
    held = {mail.address_of(r.id.name, d): (d, r) for d, resources in domains.items() for r in resources}
    ways = {a: [t for each in _recipients(r) if (t := _there(each, aliases)) in held] for a, (_, r) in held.items()}
    done: set[str] = set()
    for start in ways:
        if circle := _walked(start, ways, done):
            domain, resource = max((held[a] for a in circle), key=lambda one: one[1].id.kind == mail.ALIAS)
            return [LeftOut(domain, resource, f"sends mail in a circle: {' → '.join([*circle, circle[0]])}")]
    return []


def _walked(start: str, ways: Mapping[str, Sequence[str]], done: set[str]) -> list[str]:
    """Depth first, without recursion; the first circle, if there is one."""
    route: dict[str, None] = {}
    waiting = [(start, True)]
    while waiting:
        address, enters = waiting.pop()
        if not enters:
            del route[address]
            done.add(address)
        elif address in route:
            return [*dropwhile(address.__ne__, route)]
        elif address not in done:
            route[address] = None
            waiting += [(address, False), *((to, True) for to in ways[address])]
    return []


def _limited(domains: Domains) -> Iterator[LeftOut]:
    """Limits that a domain has outgrown."""
    for domain, resources in domains.items():
        boxes = [r for r in resources if r.id.kind == mail.MAILBOX]
        total = sum(r.fields["quota"] for r in boxes if isinstance(r.fields["quota"], int))
        for resource in [r for r in resources if r.id == mail.DOMAIN_ID]:
            most, quota = resource.fields["mailboxes"], resource.fields["quota"]
            if isinstance(most, int) and 0 < most < len(boxes):
                yield LeftOut(domain, resource, f"allows {most} mailboxes, and there are {len(boxes)}")
            elif isinstance(quota, int) and 0 < quota < total:
                why = f"allows {spoken_size(quota)}, and all mailboxes together may have {spoken_size(total)}"
                yield LeftOut(domain, resource, why)


# -- writing ----------------------------------------------------------------------------------------------------


def write(root: Path, customer: str, domains: Mapping[str, Sequence[Resource]], target: str, name: str) -> list[str]:
    """
    Write the domains into the customer's mail.yaml; a customer that is not there yet is made. Names of the files.

    Raises InputError when a domain stands there already, or when the estate would not load; then nothing is written.
    """
    if not domains:
        raise InputError.at("--from", "there is no domain that can come in; nothing was written")
    file = f"customers/{customer}/mail.yaml"
    path = root / file
    before = path.read_bytes().decode() if path.is_file() else None
    entries = {domain: _entry(domain, resources, target) for domain, resources in domains.items()}
    if before:
        _check_new(before, file, domains)
        edits = [edit.Set(("domains", domain), entry) for domain, entry in entries.items()]
        files = {file: edit.edit(before, edits, file=file)}
    else:
        files = {file: edit.dump({"domains": entries})}
    if not path.with_name("customer.yaml").exists():
        files[f"customers/{customer}/customer.yaml"] = edit.dump({"name": name or customer})
    load(root, [customer], instead=files)
    if path.parent.exists():
        for each, text in files.items():
            edit.write(root / each, text, replaces=before if each == file else None, file=each)
    else:
        _make(path.parent, files)
    return [*files]


def _check_new(text: str, file: str, domains: Mapping[str, Sequence[Resource]]) -> None:
    held = strict_yaml.find_value(strict_yaml.parse(text, file, Problems()), ("domains",))
    marks = held.marks if isinstance(held, Map) else {}
    for key, mark in marks.items():
        if dns.fold_zone(key) in domains:
            raise InputError.at(file, f"{key} is there already (take it out to import it anew)", mark.line)


def _entry(domain: str, resources: Sequence[Resource], target: str) -> dict[str, edit.Plain]:
    editor = DomainEditor({"target": target}, domain)
    for id_, resource in in_order({r.id: r for r in resources}):
        editor.put(id_, resource)
    return {key: editor.entry[key] for key in ORDER if key in editor.entry}


def _make(folder: Path, files: Mapping[str, str]) -> None:
    """A new customer's folder: whole, or not at all."""
    draft = folder.with_name(f".import-{secrets.token_hex(4)}")
    try:
        draft.mkdir()
        for file, text in files.items():
            edit.write(draft / Path(file).name, text, file=file)
        os.rename(draft, folder)
    except OSError as error:
        raise InputError.at(str(folder), f"cannot be made ({error.strerror})") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
