"""Rows of PostfixAdmin's tables, as resources. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mspctl.drivers.postfixadmin.dovecot import SHARED, Shares
from mspctl.errors import TargetError
from mspctl.kinds import dns, mail
from mspctl.resource import UNKNOWN, Id, Resource, Value

Row = Mapping[str, Any]


@dataclass(slots=True)
class Rows:
    """All that the tables hold of one domain; keys are addresses and names in normal form."""

    domain: str
    row: Row | None = None
    mailboxes: dict[str, Row] = field(default_factory=dict)
    aliases: dict[str, Row] = field(default_factory=dict)
    alias_domains: dict[str, Row] = field(default_factory=dict)
    replies: dict[str, Row] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not (self.mailboxes or self.aliases or self.alias_domains)


def as_resources(rows: Rows, unit: int, replies: Iterable[Id] = (), shared: Shares | None = None) -> Iterator[Resource]:
    """
    A domain as YAML would say it; `replies` are mailboxes whose automatic reply is asked for.

    `shared`: by address, who uses which mailbox besides its owner; None where nothing can be shared.
    """
    asked = {*replies}
    for address, row in rows.mailboxes.items():
        id_ = Id(mail.MAILBOX, _local(address, rows.domain))
        fields = _mailbox(address, row, rows, unit)
        if id_ in asked:
            fields["reply"] = _reply(address, rows)
        if shared is not None:  # of what is switched off, Dovecot knows nothing
            there = row["active"] and rows.row is not None and rows.row["active"]
            fields[SHARED] = shared.get(address, frozenset()) if there else UNKNOWN
        yield Resource(id_, fields)
    for address, row in rows.aliases.items():
        if address not in rows.mailboxes:
            local = mail.CATCH_ALL if address == f"@{rows.domain}" else _local(address, rows.domain)
            yield mail.alias(local, goto_of(row), bool(row["active"]))
    for name, row in rows.alias_domains.items():
        yield mail.alias_domain(name, bool(row["active"]))
    # Addresses in a domain that has no row are refused by the mail server, like those in one that is switched off.
    without = mail.USUAL if rows.is_empty else mail.USUAL | {"enabled": False}
    found = _domain(rows.row, unit) if rows.row else without
    if found != mail.USUAL:
        yield Resource(mail.DOMAIN_ID, found)


def replying(resources: Iterable[Resource]) -> list[Id]:
    return [r.id for r in resources if "reply" in r.fields]


def whole(quota: int, unit: int) -> int:
    """A quota as PostfixAdmin's own pages show, and write back: in whole MB."""
    return max(0, -(-quota // unit) * unit)


def _mailbox(address: str, row: Row, rows: Rows, unit: int) -> dict[str, Value]:
    # Without a row of its own in `alias`, Postfix finds the mailbox itself.
    alias = rows.aliases.get(address, {"goto": address, "active": row["active"]})
    goto = goto_of(alias)
    return {
        "name": row["name"] or "",
        "quota": whole(row["quota"] or 0, unit),
        "enabled": bool(row["active"]),
        "receives": bool(alias["active"]),
        "keep_copy": address in goto,
        "forwards": goto - away_of(goto, address) - {address},
        "password": UNKNOWN,
    }


def _reply(address: str, rows: Rows) -> str:
    """What a mailbox answers by itself; "" for nothing."""
    row, alias = rows.replies.get(address), rows.aliases.get(address)
    answers = row and row["active"] and alias and away_of(goto_of(alias), address)
    return str(row["body"]) if row and answers else ""


def _domain(row: Row, unit: int) -> dict[str, Value]:
    limit = int(row["quota"] or 0)
    quota = limit * unit if limit > 0 else limit
    return {"enabled": bool(row["active"]), "mailboxes": int(row["mailboxes"] or 0), "quota": quota}


def hold(held: dict[str, Row], row: Row, key: str) -> None:
    """
    A row by its address in normal form. Where an address is there twice, servers find the one that is spelled so; the
    other is kept under its own spelling, as something that nobody meant.
    """
    spelled, name = row[key], folded(row[key])
    if name in held and spelled == name:
        held[held[name][key]] = held[name]
    held[spelled if name in held and spelled != name else name] = row


def goto_of(row: Row) -> frozenset[str]:
    return frozenset(_address(each.strip()) for each in (row["goto"] or "").split(",") if each.strip())


def _address(text: str) -> str:
    """A recipient in normal form, as far as it is an address."""
    local, at, end = text.lower().rpartition("@")
    try:
        return text.lower() if text.isascii() or not at else f"{local}@{dns.fold_zone(end)}"
    except ValueError:
        return text.lower()


def away_of(goto: Iterable[str], address: str) -> frozenset[str]:
    """The entry of the automatic reply, which is no forward; for it, PostfixAdmin puts # in place of @."""
    start = address.replace("@", "#") + "@"
    return frozenset(each for each in goto if each.startswith(start))


def folded(text: str | None) -> str:
    """Two spellings are one: MariaDB compares so, and so do Postfix and Dovecot."""
    return (text or "").strip().lower()


_MEND = " (mend that row: its address, or its column domain)"


def _local(address: str, domain: str) -> str:
    local, _, end = address.rpartition("@")
    if address != folded(address):
        return address  # a second one, in a spelling of its own
    if not local or end != domain:
        raise TargetError(f"{address!r} is in the table of {domain}, and is no address of it{_MEND}")
    return local
