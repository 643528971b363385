"""
Secrets put where they are looked for, and passwords handed over to the people they were made for.

A secret goes into the encrypted file of its owner in place: the order and the comments inside stay. No message of ours
repeats what stands in such a file, or what was put there.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mspctl import edit, vault
from mspctl.edit import Plain
from mspctl.errors import InputError, SecretError
from mspctl.hand_over import Made
from mspctl.kinds import mail
from mspctl.load import Estate
from mspctl.model import secret_names
from mspctl.model.base import nearest
from mspctl.model.sections import mail as section
from mspctl.record import ScopeRecord
from mspctl.resource import Id, Scope
from mspctl.secrets import NAME, PREFIX
from mspctl.vault import Store, VaultFile


@dataclass(frozen=True, slots=True)
class Place:
    """Where a secret is kept, and who asks for it."""

    file: str  # relative to the repository
    name: str
    asked_for: Sequence[str]  # "inventory/targets.yaml: mail-1 (password)", "customers/acme/mail.yaml:7"
    bound_to: Sequence[str] = ()  # addresses of the targets that ask for it


def of_customer(estate: Estate, customer: str, name: str) -> Place:
    """A customer's own secret."""
    _check(name)
    marks = [each.mark for each in secret_names.named(estate.customers[customer]) if each.name == name]
    places = [f"{mark.file}:{mark.line}" for mark in marks if mark]
    return Place(f"customers/{customer}/secrets.yaml", name, places)


def of_target(estate: Estate, target: str, name: str) -> Place:
    """A target's secret, by its name or by what the driver calls it. Raises InputError."""
    targets = estate.inventory.targets
    if target not in targets:
        raise InputError.at("--target", f"there is no target {target!r}{nearest(target, targets)}")
    name = targets[target].secrets.get(name, name)
    _check(name)
    mine = [target for target, info in targets.items() if name in info.secrets.values()]
    bound = sorted({address for target in mine for address in estate.inventory.addresses(target)})
    asked = [f"{t} ({role})" for t, info in targets.items() for role, each in info.secrets.items() if each == name]
    asked += [place for each, place in estate.inventory.secrets_beside_targets() if each == name]
    return Place("inventory/secrets.yaml", name, asked, bound)


def _check(name: str) -> None:
    if not NAME.fullmatch(name):
        raise InputError.at("NAME", f"{name!r} cannot be the name of a secret (use A-Z, 0-9 and _, and not _FILE)")


def put(store: Store, place: Place, value: bytes, *, replace: bool = True) -> bool:
    """
    Keep a secret; whether another value stood there. Raises SecretError, and InputError for one that is there when
    `replace` does not allow it.
    """
    file = store.file(place.file)
    with file.alone():
        plain = file.read()
        there = place.name in vault.values(plain, file.name)
        if there and not replace:
            raise InputError.at(file.name, f"{place.name} is there already (say --replace to make a new one)")
        file.write(_with(plain, place, value, file))
    return there


def bind(store: Store, place: Place) -> Sequence[str]:
    """
    Have a secret go where its targets are now, and nowhere else; where it went before. Raises SecretError, and
    InputError for one that is not there, or that no target asks for.
    """
    if not place.bound_to:
        raise InputError.at("NAME", f"no target with an address asks for {place.name} (inventory/targets.yaml)")
    file = store.file(place.file)
    with file.alone():
        plain = file.read()
        held = vault.values(plain, file.name).get(place.name)
        if held is None:
            variable = f"the environment's is bound by {PREFIX}{place.name}_BOUND_TO"
            raise InputError.at(file.name, f"{place.name} is not there ({variable})")
        if held.bound_to != {*place.bound_to}:
            file.write(_with(plain, place, held.reveal(), file))
    return sorted(held.bound_to)


def _with(plain: bytes, place: Place, value: bytes, file: VaultFile) -> bytes:
    """The text of the file with one more value, read back before anybody believes it."""
    name = place.name
    try:
        after = edit.set_value(plain.decode(), (name,), _bound(_as_yaml(value), place), file=file.name).encode()
    except InputError:  # whose text would repeat what stands there
        after = b""
    if not after or not vault.values(after, file.name)[name].matches(value):
        raise SecretError(f"{file.name}: {name} cannot be put there without touching something else (edit it by hand)")
    return after


def _bound(value: Plain, place: Place) -> Plain:
    """With where it may go, when a target asks for it that says where it is."""
    if not place.bound_to:
        return value
    return {**(value if isinstance(value, dict) else {"value": value}), "bound_to": [*place.bound_to]}


def _as_yaml(value: bytes) -> Plain:
    """Text as text, and whatever YAML could not hold as base64."""
    try:
        text = value.decode()
        edit.dump({"x": text})
    except (UnicodeDecodeError, InputError):
        return {"base64": base64.b64encode(value).decode()}
    return text


# -- handing over -----------------------------------------------------------------------------------------------


NOT_ASKED = "nothing in Git asks for it any more"  # who has left, say, opens nothing with it


@dataclass(frozen=True, slots=True)
class Standing:
    """A password that waits for somebody, and why it cannot be handed over yet."""

    made: Made
    address: str  # as it is called now
    not_yet: str = ""  # "is not on mail-1 yet (mspctl apply)"
    name: str = ""  # of the mailbox's owner, where Git says it


def standings(
    estate: Estate, customer: str, waiting: Sequence[Made], records: Mapping[Scope, ScopeRecord]
) -> list[Standing]:
    """
    What waits, and how it stands. What the ledger does not say was written may not be what somebody can log in with.
    """
    newest = {(one.address, one.target): one.rev for one in sorted(waiting)}
    return [_standing(estate, customer, one, newest[one.address, one.target], records) for one in waiting]


def scope_of(one: Made) -> Scope:
    return Scope(one.target, mail.FACET, one.address.partition("@")[2])


def _standing(estate: Estate, customer: str, one: Made, newest: int, records: Mapping[Scope, ScopeRecord]) -> Standing:
    local, _, domain = one.address.partition("@")
    mailboxes = _mailboxes(estate, customer, domain)
    later = next((new for new, box in mailboxes.items() if box.was == local), "")
    record = records.get(scope_of(one))
    now = next((name for name in (local, later) if record and _was_written(record, name, one.rev)), "")
    box = mailboxes.get(now or local) or mailboxes.get(later)
    said = box.name if box and box.name else ""
    if now:
        opens = box is not None and box.password is not None and box.password.secret is None
        return Standing(one, f"{now}@{domain}", "" if opens else NOT_ASKED, said)
    if one.rev < newest:
        return Standing(one, one.address, f"a newer one was made (rev {newest})", said)
    asked = box is not None and box.password is not None and (box.password.secret, box.password.rev) == (None, one.rev)
    why = f"is not on {one.target} yet (mspctl apply -c {customer})" if asked else NOT_ASKED
    return Standing(one, one.address, why, said)


def _was_written(record: ScopeRecord, local: str, rev: int) -> bool:
    """Not so while it is in doubt, as after a run that was killed."""
    known = record.resources.get(Id(mail.MAILBOX, local))
    states = known.states if known else ()
    return [state and state.fields.get("password") for state in states] == [mail.password("", rev)]


def _mailboxes(estate: Estate, customer: str, domain: str) -> Mapping[str, section.people.Mailbox]:
    own = estate.customers[customer].sections.get("mail")
    return own.domains[domain].mailboxes if isinstance(own, section.Section) and domain in own.domains else {}


def chosen(found: Sequence[Standing], typed: str) -> Standing:
    """The one that is meant: by its address, or by what stands before the @ where that is clear. Raises InputError."""
    folded = typed.lower()
    mine = [s for s in found if folded in (s.address, s.made.address, s.address.partition("@")[0])]
    ready = [s for s in mine if not s.not_yet] or mine
    if len({(s.made.address, s.made.target) for s in ready}) > 1:
        names = ", ".join(str(s.made) for s in ready)
        raise InputError.at("ADDRESS", f"{typed} can be any of {names} (write the whole address)")
    if not ready:
        waits = ", ".join(s.address for s in found) or "none"
        raise InputError.at("ADDRESS", f"no password of {typed!r} waits (there are: {waits})")
    return max(ready, key=lambda s: s.made.rev)
