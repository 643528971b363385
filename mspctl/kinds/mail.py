"""
Mail, as four kinds of resources in the scope of one mail domain.

* `mail.mailbox` "paolo": `name`, `quota` (octets; 0: unlimited), `enabled` (whether its owner can log in), `receives`
  (whether mail for it is taken), `keep_copy` (whether mail stays here), `forwards` (addresses that get it as well);
  `password` says which one was written, never what it is; `reply` is an automatic answer, where there is one;
  `shared_with` are the addresses of mailboxes whose owners may use this one, where the server lets them.
* `mail.alias` "ordini": `to` (addresses) and `enabled`. A group is one too: no server tells them apart. "@" stands for
  every address of the domain that nothing else has.
* `mail.alias_domain` "brenta.it": `enabled`. Its addresses are those of the domain.
* `mail.domain` "domain": `enabled`, and its limits `mailboxes` and `quota` (octets of all together; 0: no limit). It is
  there only where one of them is otherwise than in a domain of which nothing is said.

What is measured of them, where a target can: of a mailbox, `octets` (that it holds), `quota` (as it is: a target may
round what is declared), `last_login` and `newest` (when somebody logged in, when its newest message came), `sessions`
(that are open, and where from: "imap from 192.0.2.7"); of a domain, `queued_since` (when the oldest message from or to
its addresses came that waits in the queue).

Two spellings of an address are one (promise 9): it is lower-case as a whole, its domain in A-labels.
Sources: RFC 5321 (lengths), RFC 5322 (dot-atom), RFC 5233 (what follows + is not the mailbox's name).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from mspctl.kinds import dns, shown
from mspctl.resource import Id, Resource, Value

FACET = "mailboxes"
MAILBOX, ALIAS, ALIAS_DOMAIN, DOMAIN = "mail.mailbox", "mail.alias", "mail.alias_domain", "mail.domain"
OCTETS, QUOTA, LAST_LOGIN, QUEUED_SINCE, SESSIONS = "octets", "quota", "last_login", "queued_since", "sessions"
CATCH_ALL = "@"
FIELDS: Mapping[str, Mapping[str, type]] = {
    # Of somebody who leaves, only what the leaving changes is declared.
    MAILBOX: {
        "name?": str,
        "quota?": int,
        "enabled?": bool,
        "receives?": bool,
        "keep_copy?": bool,
        "forwards?": frozenset,
        "password?": str,
        "reply?": str,
        "shared_with?": frozenset,
    },
    ALIAS: {"to": frozenset, "enabled": bool},
    ALIAS_DOMAIN: {"enabled": bool},
    DOMAIN: {"enabled": bool, "mailboxes": int, "quota": int},
}
DOMAIN_ID = Id(DOMAIN, "domain")
USUAL: dict[str, Value] = {"enabled": True, "mailboxes": 0, "quota": 0}  # a domain of which nothing is said
MAX_LOCAL, MAX_ADDRESS = 64, 254

_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
# Names that we give: they become folders on a server, so what a shell or a path would mind is not among them.
_OWN = re.compile(r"[a-z0-9_](?:[a-z0-9._'&=-]*[a-z0-9_])?")


def fold_local(text: str) -> str:
    """The name of a mailbox, alias or group, without its domain. Raises ValueError."""
    if "@" in text:
        raise ValueError(f"{shown(text)} has a domain (write what stands before the @)")
    if not text.isascii():
        raise ValueError(f"{shown(text)} has letters that most mail servers refuse (write it in ASCII)")
    folded = text.lower()
    if "+" in folded:
        raise ValueError(f"{shown(text)} has a + (what follows it needs no address of its own)")
    if not _OWN.fullmatch(folded) or ".." in folded:
        raise ValueError(f"{shown(text)} is not the name of an address (letters, digits and . _ - ' & = between them)")
    if len(folded) > MAX_LOCAL:
        raise ValueError(f"{shown(text)} is too long ({len(folded)} characters, at most {MAX_LOCAL})")
    return folded


def fold_address(text: str) -> str:
    """A whole address. Raises ValueError."""
    local, at, domain = text.rpartition("@")
    if not at or not local or not domain:
        raise ValueError(f"{shown(text)} is not an e-mail address (write name@example.com)")
    if not local.isascii():
        raise ValueError(f"{shown(text)} has letters before the @ that most mail servers refuse (write it in ASCII)")
    folded = local.lower()
    # A server takes |command and /file for something else than an address.
    if not _LOCAL.fullmatch(folded) or folded[0] in "|/" or len(folded) > MAX_LOCAL:
        raise ValueError(f"{shown(text)} is not an e-mail address (write name@example.com)")
    address = f"{folded}@{dns.fold_zone(domain)}"
    if len(address) > MAX_ADDRESS:
        raise ValueError(f"{shown(text)} is too long ({len(address)} characters, at most {MAX_ADDRESS})")
    return address


def is_address(text: str) -> bool:
    """Whether a server's text is an address in normal form."""
    try:
        return fold_address(text) == text
    except ValueError:
        return False


def base_of(local: str) -> str:
    """The mailbox that an address with an extension (`paolo+orders`) belongs to."""
    return local.partition("+")[0] or local


def address_of(local: str, domain: str) -> str:
    """`paolo@acme.example`; of the catch-all, `@acme.example`."""
    return f"@{domain}" if local == CATCH_ALL else f"{local}@{domain}"


def alias(name: str, to: Iterable[str], enabled: bool = True, source: str = "") -> Resource:
    """An alias, a group, or with the name `@` the catch-all; `to` are whole addresses in normal form."""
    return Resource(Id(ALIAS, name), {"to": frozenset(to), "enabled": enabled}, source)


def alias_domain(name: str, enabled: bool = True, source: str = "") -> Resource:
    return Resource(Id(ALIAS_DOMAIN, name), {"enabled": enabled}, source)


def limits(mailboxes: int, quota: int, source: str = "") -> Resource:
    return Resource(DOMAIN_ID, USUAL | {"mailboxes": mailboxes, "quota": quota}, source)


def addresses(value: Value | None) -> list[str]:
    """The addresses of a field, in order."""
    return sorted(value) if isinstance(value, frozenset) else []


# -- passwords --------------------------------------------------------------------------------------------------

_PASSWORD = re.compile(r"(generated|[A-Z][A-Z0-9_]*) rev ([1-9][0-9]{0,3})")
GENERATED = "generated"


def password(named: str, rev: int) -> str:
    """Which password is meant: the name of a secret, or "" for one that is made; a new `rev` means a new one."""
    return f"{named or GENERATED} rev {rev}"


def which_password(value: Value | None) -> tuple[str, int]:
    """Back to the name, "" for a password that is made, and its revision. Raises ValueError."""
    found = _PASSWORD.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ValueError("is not a password's name and revision")
    return ("" if found[1] == GENERATED else found[1]), int(found[2])


def normal(id_: Id, field: str, value: Value, scope: str) -> Value | None:
    """As programs may spell it. Raises ValueError."""
    if field == "" and isinstance(value, str):
        return _normal_name(id_, value)
    if isinstance(value, frozenset):
        return frozenset(fold_address(each) for each in value)
    if field == "password":
        which_password(value)
    if field in ("quota", "mailboxes") and isinstance(value, int) and value < 0:
        raise ValueError(f"{shown(value)} is less than nothing (0: no limit)")
    return None


def _normal_name(id_: Id, name: str) -> str:
    if id_.kind == ALIAS_DOMAIN:
        return dns.fold_zone(name)
    if id_.kind == DOMAIN and name != DOMAIN_ID.name:
        raise ValueError(f"write {DOMAIN_ID.name}: there is one of them")
    return name if name == CATCH_ALL and id_.kind == ALIAS else fold_local(name)


# -- words ------------------------------------------------------------------------------------------------------

_USUAL: dict[str, Value] = {"enabled": True, "receives": True, "keep_copy": True}
_LISTS = {"forwards": "forwards", "shared_with": "shared with"}


def in_words(resource: Resource) -> str:
    """Of an alias domain, whose fields say nothing where it is as usual."""
    if resource.id.kind != ALIAS_DOMAIN:
        return ""
    return "alias domain" if resource.fields["enabled"] else "alias domain, switched off"


def worded(name: str, value: Value) -> str | None:
    if value == frozenset() or (name in _USUAL and value == _USUAL[name]):
        return ""
    if name == "quota" and isinstance(value, int):
        return f"quota {rounded_size(value) if value > 0 else 'unlimited' if value == 0 else 'none'}"
    if name == "mailboxes" and value == 0:
        return "mailboxes unlimited"
    if name in _LISTS:
        return f"{_LISTS[name]} {' · '.join(addresses(value))}"
    return None


def rounded_size(octets: int) -> str:
    """Servers round what they are told, so a tenth is near enough."""
    unit, name = (2**30, "GiB") if octets >= 2**30 else (2**20, "MiB")
    return f"{octets / unit:.1f}".removesuffix(".0") + f" {name}"
