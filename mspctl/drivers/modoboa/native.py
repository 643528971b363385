"""
What Modoboa's API says and takes ↔ resources. Pure.

Modoboa has no forwards: one is an alias at the mailbox's own address, and mail is kept where the mailbox is among its
recipients. Beside it each mailbox has an alias that the API never shows. It leads to the mailbox itself, is switched
off when the account is, and stays off: then mail would go to the domain's catch-all. So wherever it may be off, the
alias that can be seen says it all.

Who is disabled cannot log in, and his mail is taken all the same (Dovecot asks for the mailbox, not for the account);
only a mailbox that is “send only” takes none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mspctl.driver import Measured
from mspctl.errors import TargetError, Unsupported
from mspctl.kinds import dns, mail, shown
from mspctl.resource import UNKNOWN, Id, Resource, Value

MIB = 2**20  # octets in what Modoboa calls a MB
LONGEST_NAME = 150  # characters of a first name, and of a last name
LONGEST_DOMAIN = 100  # characters of one that stands for another
MOST = 2**31 - 1  # MB
NO_LIMIT = -1  # of how many there may be; 0: none
COUNTED = ("mailboxes", "mailbox_aliases", "domain_aliases", "domain_admins")  # per domain, where Modoboa does so

Row = Mapping[str, Any]  # as the API answers


@dataclass(slots=True)
class Rows:
    """All that Modoboa holds of one domain."""

    name: str  # in A-labels; Modoboa may have it in Unicode
    domain: Row | None = None
    accounts: dict[str, Row] = field(default_factory=dict)  # by what stands before the @
    aliases: dict[str, Row] = field(default_factory=dict)  # likewise; of the catch-all, "@"
    alias_domains: dict[str, Row] = field(default_factory=dict)
    problem: str = ""  # why it cannot be read whole

    @property
    def is_empty(self) -> bool:
        return not (self.accounts or self.aliases or self.alias_domains)

    @property
    def is_torn(self) -> bool:
        """Whether this is not all that Modoboa counts: it was changed while it was read, or is not for us to see."""
        counted = [self.counted(name) for name in ("mailbox_count", "mbalias_count", "domainalias_count")]
        return not self.problem and counted != [len(self.accounts), len(self.aliases), len(self.alias_domains)]

    def counted(self, name: str) -> int:
        """What Modoboa says of how much there is."""
        return int(self.domain[name]) if self.domain else 0

    @property
    def spelled(self) -> str:
        """The domain's name as Modoboa has it."""
        return str(self.domain["name"]) if self.domain else self.name

    def put(self, kind: str, name: str, row: Row) -> None:
        """A row that was read. What is there twice, in different spellings, cannot be read."""
        held: dict[str, Row] = getattr(self, kind)
        if name in held:
            self.problem = f"{mail.address_of(name, self.name)} is there twice, in different spellings"
        held[name] = row

    def forget(self, address: str, *, mailbox: bool) -> None:
        """As Modoboa does when an address goes: no alias leads there any more. With a mailbox, its aliases go, too."""
        for name, row in [*self.aliases.items()]:
            left = [r for r in row["recipients"] if base(folded(r)) != address]
            if mailbox and not left:
                del self.aliases[name]
            else:
                self.aliases[name] = {**row, "recipients": left}


# -- addresses --------------------------------------------------------------------------------------------------


def folded(address: str) -> str:
    """An address in normal form; what has none, in lower case."""
    local, _, domain = address.strip().lower().rpartition("@")
    with suppress(ValueError):
        return f"{local}@{dns.fold_zone(domain)}"
    return f"{local}@{domain}"


def in_unicode(domain: str) -> str:
    """The other way to write a domain's name; Modoboa takes both, and takes them for two."""
    import idna

    with suppress(UnicodeError):
        return idna.decode(domain)
    return domain


def split(address: str) -> tuple[str, str]:
    """What stands before the @ ("@" for a catch-all), and the domain, in normal form."""
    local, _, domain = folded(address).rpartition("@")
    return local or mail.CATCH_ALL, domain


def base(address: str) -> str:
    """The mailbox or alias that an address leads to: Modoboa looks for it without what follows a +."""
    local, _, domain = address.rpartition("@")
    return f"{mail.base_of(local)}@{domain}"


def recipients(row: Row) -> frozenset[str]:
    return frozenset(map(folded, row["recipients"]))


def is_on(alias: Row) -> bool:
    expires = alias["expire_at"]
    return bool(alias["enabled"]) and not (expires and datetime.fromisoformat(expires) <= datetime.now(UTC))


# -- rows → resources -------------------------------------------------------------------------------------------


def resources(rows: Rows, *, counted: bool) -> Iterator[Resource]:
    """A domain as YAML would say it; `counted`: Modoboa counts mailboxes per domain."""
    for local, row in rows.accounts.items():
        yield Resource(Id(mail.MAILBOX, local), mailbox(row, rows.aliases.get(local), f"{local}@{rows.name}"))
    for local, row in rows.aliases.items():
        if local not in rows.accounts:
            yield mail.alias(local, recipients(row), is_on(row))
    for name, row in rows.alias_domains.items():
        yield mail.alias_domain(name, row["enabled"] is True)
    found = limits(rows.domain, counted=counted) if rows.domain else mail.USUAL
    if found != mail.USUAL:
        yield Resource(mail.DOMAIN_ID, found)


def mailbox(row: Row, alias: Row | None, address: str) -> dict[str, Value]:
    state = State.read(row, alias, address)
    return {
        "name": " ".join(f"{row['first_name']} {row['last_name']}".split()),
        "quota": int(row["mailbox"]["quota"]) * MIB,
        "enabled": state.active,
        "receives": state.receives,
        "keep_copy": state.keeps,
        "forwards": state.forwards,
        "password": UNKNOWN,
    }


def limits(row: Row, *, counted: bool) -> dict[str, Value]:
    most = 0
    if counted:
        (found,) = [int(each["max_value"]) for each in row["resources"] if each["name"] == "mailboxes"]
        most = {NO_LIMIT: 0, 0: -1}.get(found, found)  # to us, 0 is no limit
    return {"enabled": row["enabled"] is True, "mailboxes": most, "quota": int(row["quota"]) * MIB}


def use(row: Row) -> dict[str, Measured]:
    """How an account is used. Modoboa says how full a mailbox is in whole percent."""
    quota, last = int(row["mailbox"]["quota"]) * MIB, row["last_login"]
    octets = -(-quota * int(row["mailbox"]["quota_usage"]) // 100)
    return {mail.OCTETS: octets, mail.QUOTA: quota, mail.LAST_LOGIN: datetime.fromisoformat(last) if last else None}


@dataclass(frozen=True, slots=True)
class State:
    """Who can log in, and where mail goes."""

    active: bool
    receives: bool
    keeps: bool
    forwards: frozenset[str]

    @classmethod
    def read(cls, row: Row, alias: Row | None, address: str) -> State:
        active, send_only = row["is_active"] is True, row["mailbox"]["is_send_only"] is True
        to = (alias and recipients(alias)) or frozenset({address})
        others = to - {address}
        if others and alias and is_on(alias):
            return cls(active, True, address in to and not send_only, others)
        if send_only:
            return cls(active, False, address in to, others)
        return cls(active, True, True, frozenset())  # an alias that is switched off leads nowhere

    @classmethod
    def wanted(cls, fields: Mapping[str, Value]) -> State:
        enabled = bool(fields.get("enabled", True))
        forwards = frozenset(mail.addresses(fields.get("forwards")))
        return cls(enabled, bool(fields.get("receives", enabled)), bool(fields.get("keep_copy", True)), forwards)

    @property
    def send_only(self) -> bool:
        return not self.receives

    @property
    def silent(self) -> bool:
        """Whether the alias that cannot be seen must be off although its account is on."""
        return self.active and not self.keeps

    def to(self, address: str) -> frozenset[str]:
        """Recipients of the alias at the mailbox's own address."""
        return self.forwards | ({address} if self.keeps else frozenset())


USUAL = State(True, True, True, frozenset())  # of a mailbox of which nothing is said


# -- resources → what is sent -----------------------------------------------------------------------------------


def accepted(resource: Resource, *, counted: bool) -> Resource:
    """The resource as Modoboa will hold it. Raises Unsupported."""
    fields = {name: value for name, value in resource.fields.items() if name != "shared_with"}
    for why in refusals(resource, counted=counted):
        raise Unsupported(why)
    if "name" in fields:
        fields["name"] = " ".join(str(fields["name"]).split())
    quota = fields.get("quota")
    if isinstance(quota, int) and quota > 0:
        fields["quota"] = -(-quota // MIB) * MIB
    return Resource(resource.id, fields, resource.source, was=resource.was)


def refusals(resource: Resource, *, counted: bool) -> Iterator[str]:
    fields, kind = resource.fields, resource.id.kind
    if kind not in (mail.MAILBOX, mail.ALIAS, mail.ALIAS_DOMAIN, mail.DOMAIN):
        yield f"Modoboa holds no {kind}"
    if fields.get("shared_with"):
        yield "Modoboa leaves it to each owner who else uses a mailbox (leave shared_with out)"
    if "reply" in fields:
        yield "Modoboa lets only its owner set a mailbox's automatic reply (leave reply out)"
    if kind == mail.MAILBOX and fields.get("keep_copy") is False and not fields.get("forwards"):
        yield "Modoboa keeps what it takes and sends to nobody else (name who gets the mail)"
    if kind == mail.ALIAS and not fields.get("to"):
        yield "an alias without recipients cannot be"
    if fields.get("mailboxes") and not counted:
        yield "Modoboa counts no mailboxes per domain (leave the limit out, or set domain_limits on both sides)"
    yield from _too_much(resource)
    yield from _same_twice(mail.addresses(fields.get("to") or fields.get("forwards")))


def _too_much(resource: Resource) -> Iterator[str]:
    """What its columns cannot hold."""
    first, last = map(len, first_name(str(resource.fields.get("name", ""))))
    if first > LONGEST_NAME:
        yield f"a first name can be {LONGEST_NAME} characters long"
    if last > LONGEST_NAME:
        yield f"a last name can be {LONGEST_NAME} characters long"
    if resource.id.kind == mail.ALIAS_DOMAIN and len(resource.id.name) > LONGEST_DOMAIN:
        yield f"a domain that stands for another can be {LONGEST_DOMAIN} characters long"
    if isinstance(quota := resource.fields.get("quota"), int) and quota > MOST * MIB:
        yield f"a quota can be {MOST:,} MB"


def _same_twice(addresses: Iterable[str]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for address in addresses:
        first = seen.setdefault(base(address), address)
        if first != address:
            yield f"{first} and {address} are one recipient to Modoboa (leave one out)"


def first_name(name: str) -> tuple[str, str]:
    """First and last name: Modoboa has two fields, and shows them with a blank between."""
    first, _, last = " ".join(name.split()).rpartition(" ")
    return (first, last) if first else (last, "")


def account(fields: Mapping[str, Value]) -> dict[str, Any]:
    """The body of a request that changes these fields of a mailbox; not yet who can log in."""
    body: dict[str, Any] = {}
    if "name" in fields:
        body["first_name"], body["last_name"] = first_name(str(fields["name"]))
    if isinstance(quota := fields.get("quota"), int):
        body["mailbox"] = {"quota": str(quota // MIB), "use_domain_quota": False}
    return body


def alias(to: Iterable[str], row: Row | None, spelled: Callable[[str], str], *, on: bool) -> dict[str, Any]:
    """
    The body of a request, but for the address of a new one.

    Recipients that are there are named as they are: Modoboa takes another spelling for another recipient.
    """
    there = {folded(each): each for each in row["recipients"]} if row else {}
    body: dict[str, Any] = {"recipients": [there.get(each) or spelled(each) for each in sorted(to)], "enabled": on}
    if row and on and not is_on({**row, "enabled": True}):
        body["expire_at"] = None
    return body


def domain(fields: Mapping[str, Value], *, counted: bool) -> dict[str, Any]:
    quota, most = fields["quota"], fields["mailboxes"]
    assert isinstance(quota, int), "the kind says so"
    assert isinstance(most, int), "the kind says so"
    body: dict[str, Any] = {"enabled": fields["enabled"], "quota": str(quota // MIB)}
    if counted:
        body["resources"] = [{"name": "mailboxes", "max_value": {0: NO_LIMIT, -1: 0}.get(most, most)}]
    return body


def new_domain(name: str) -> dict[str, Any]:
    return {"name": name, "type": "domain", "enabled": True, "quota": "0", "default_mailbox_quota": "0"}


UNLIMITED = {"resources": [{"name": name, "max_value": NO_LIMIT} for name in COUNTED]}  # of a domain that we made

# What of a row matters to us: while it is the same, nobody was faster.
MATTERS: Mapping[str, Callable[[Row], object]] = {
    "accounts": lambda row: (
        row["first_name"], row["last_name"], row["is_active"], row["mailbox"]["quota"], row["mailbox"]["is_send_only"]
    ),
    "aliases": lambda row: (row["enabled"], row["expire_at"], recipients(row)),
    "domainaliases": lambda row: (row["name"], row["enabled"], row["target"]),
    "domains": lambda row: (
        row["name"], row["enabled"], row["quota"], [(r["name"], r["max_value"]) for r in row.get("resources", ())]
    ),
}  # fmt: skip


def said(answer: object) -> str:
    """What an error of the API says: `{"mailbox": {"quota": ["…"]}}` is “mailbox: quota: …”. "" for anything else."""
    if isinstance(answer, str):
        return answer
    if isinstance(answer, list):
        return " ".join(filter(None, map(said, answer)))
    if isinstance(answer, dict):
        plain = ("error", "detail", "non_field_errors")
        parts = {name: said(part) for name, part in answer.items()}
        return "; ".join(text if name in plain else f"{name}: {text}" for name, text in parts.items() if text)
    return ""


def check(rows: Rows) -> Rows:
    """The rows, if they can be what a domain holds. Raises TargetError."""
    if rows.problem:
        raise TargetError(rows.problem)
    if rows.domain and rows.domain["type"] != "domain":
        raise TargetError(f"{rows.name} is a {shown(rows.domain['type'])} in Modoboa, which holds no mailboxes")
    return rows
