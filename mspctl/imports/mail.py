"""
Mail domains of a server → a customer's mail.yaml, which plans to nothing.

Passwords stay what they are: nothing is said of them. What YAML cannot say is left out and named; it stays on the
server as it is, and is reported as unmanaged.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mspctl import edit
from mspctl.desired.mail.back import DomainEditor, in_order
from mspctl.driver import Failed, Lists, Reader
from mspctl.errors import InputError, Problem
from mspctl.kinds import dns, mail
from mspctl.load import load
from mspctl.model.base import nearest
from mspctl.resource import Id, Resource, Scope

ORDER = ("target", "mailboxes", "groups", "catch_all", "alias_domains", "limits")  # in which an entry is written
MOST = 9999  # mailboxes that a limit in YAML can name
Domains = Mapping[str, Sequence[Resource]]


@dataclass(slots=True)
class Found:
    """Mail domains as a server holds them."""

    domains: dict[str, list[Resource]] = field(default_factory=dict)  # what comes in
    held: int = 0  # resources, before anything was left out
    left_out: list[Problem] = field(default_factory=list)

    @property
    def taken(self) -> int:
        return sum(map(len, self.domains.values()))


def read(reader: Reader, target: str, names: Sequence[str]) -> Found:
    """The domains named. Raises InputError for one that is not there, TargetError when the target gives no answer."""
    there = reader.scopes() if isinstance(reader, Lists) else [*names]
    wanted = [_folded(name) for name in names]
    if not wanted:
        known = ", ".join(there[:20]) + (", …" if len(there) > 20 else "")
        raise InputError.at("--zone", f"is needed: which domains are this customer's? {target} has {known or 'none'}")
    for name in wanted:
        if name not in there:
            raise InputError.at("--zone", f"{name} is not on {target}{nearest(name, there)}")
    found = Found()
    for answer in reader.read([Scope(target, mail.FACET, name) for name in wanted], {}):
        if isinstance(answer, Failed):
            found.left_out.append(Problem(str(answer.scope), 0, 1, "", f"{answer.error} (left out whole)"))
            continue
        found.held += len(answer.resources)
        found.domains[answer.scope.name] = [*answer.resources]
    while left := dict(_unsayable(found.domains)):
        for (domain, id_), why in left.items():
            found.domains[domain] = [r for r in found.domains[domain] if r.id != id_]
            found.left_out.append(Problem(f"{domain} on {target}", 0, 1, id_.name, f"{why} (left out)"))
    return found


def _folded(name: str) -> str:
    try:
        return dns.fold_zone(name)
    except ValueError as error:
        raise InputError.at("--zone", str(error)) from None


def _unsayable(domains: Domains) -> Iterator[tuple[tuple[str, Id], str]]:
    """What cannot come in, and why; what sends mail to it cannot either, so this is asked until nothing is left."""
    known = {mail.address_of(r.id.name, d) for d, held in domains.items() for r in held}
    for domain, resources in domains.items():
        for resource in resources:
            why = _why_not(resource) or _dangling(resource, domain, domains, known) or _too_tight(resource, resources)
            if why:
                yield (domain, resource.id), why


def _why_not(resource: Resource) -> str:
    fields, kind = resource.fields, resource.id.kind
    if kind in (mail.MAILBOX, mail.ALIAS) and resource.id.name != mail.CATCH_ALL:
        try:
            if mail.fold_local(resource.id.name) != resource.id.name:
                return "is spelled in a way that YAML does not keep"
        except ValueError as error:
            return str(error)
    if kind != mail.MAILBOX and not fields["enabled"]:
        return "is switched off"
    if kind == mail.ALIAS and not fields["to"]:
        return "sends mail to nobody"
    if kind != mail.MAILBOX:
        return ""
    if fields["enabled"]:
        usual = fields["receives"] and (fields["keep_copy"] or fields["forwards"])
        return "" if usual else "its owner can log in, and its mail is refused or lost"
    receives = bool(fields["forwards"])
    usual = fields["receives"] is receives and fields["keep_copy"] is not receives
    return "" if usual else "nobody can log in, and its mail is not refused, nor sent on only"


def _too_tight(resource: Resource, others: Sequence[Resource]) -> str:
    """Limits that would not hold what is there already."""
    if resource.id != mail.DOMAIN_ID:
        return ""
    most, together = resource.fields["mailboxes"], resource.fields["quota"]
    assert isinstance(most, int), "the kind says so"
    assert isinstance(together, int), "the kind says so"
    quotas = [r.fields["quota"] for r in others if r.id.kind == mail.MAILBOX]
    if most < 0 or together < 0:
        return "allows no mailboxes at all, which YAML cannot say"
    if 0 < most < len(quotas):
        return f"allows {most:,} mailboxes, and there are {len(quotas):,}"
    if 0 < together < sum(quota for quota in quotas if isinstance(quota, int)):
        return "allows less than its mailboxes have together"
    if most > MOST:
        return f"allows {most:,} mailboxes, and YAML counts to {MOST:,} (take the limit off)"
    return ""


def _dangling(resource: Resource, domain: str, domains: Domains, known: set[str]) -> str:
    own = mail.address_of(resource.id.name, domain)
    for address in mail.addresses(resource.fields.get("to") or resource.fields.get("forwards")):
        if not mail.is_address(address):
            return f"sends mail to {address!r}, which is no address"
        local, _, end = address.partition("@")
        base = f"{mail.base_of(local)}@{end}"
        if end in domains and base not in known:
            return f"sends mail to {address}, which is not there"
        if base == own:
            return "sends mail to itself"
    return ""


def write(root: Path, customer: str, domains: Domains, target: str, name: str = "") -> list[str]:
    """
    Write the domains into the customer's mail.yaml; a customer that is not there yet is made. Names of the files.

    Raises InputError when a domain stands there already, or when the estate would not load; then nothing is written.
    """
    if not domains:
        raise InputError.at("--from", "there is no domain that can come in; nothing was written")
    folder = root / "customers" / customer
    path = folder / "mail.yaml"
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    entries = {domain: _entry(domain, resources, target) for domain, resources in domains.items()}
    if before:
        edits = [edit.Set(("domains", domain), entry) for domain, entry in entries.items()]
        after = edit.edit(before, edits, file=str(path))
    else:
        after = edit.dump({"domains": entries})
    new = {} if (folder / "customer.yaml").exists() else {"customer.yaml": edit.dump({"name": name or customer})}
    return _place(root, customer, {**new, "mail.yaml": after}, before)


def _entry(domain: str, resources: Sequence[Resource], target: str) -> dict[str, edit.Plain]:
    editor = DomainEditor({"target": target}, domain)
    for id_, resource in in_order({r.id: r for r in resources}):
        editor.put(id_, resource)
    return {key: editor.entry[key] for key in ORDER if key in editor.entry}


def _place(root: Path, customer: str, files: Mapping[str, str], before: str) -> list[str]:
    """Put the files in place, and take them back when the estate does not load with them."""
    folder = root / "customers" / customer
    made = not folder.exists()
    folder.mkdir(exist_ok=True)
    try:
        for name, text in files.items():
            edit.write(folder / name, text, file=f"customers/{customer}/{name}")
        load(root, [customer])
    except BaseException:
        for name in files:
            if name == "mail.yaml" and before:
                edit.write(folder / name, before, file=f"customers/{customer}/{name}")
            else:
                (folder / name).unlink(missing_ok=True)
        if made:
            os.rmdir(folder)
        raise
    return [f"customers/{customer}/{name}" for name in files]
