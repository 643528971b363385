"""
A mail filter, as kinds of resources in the scope of one mail domain.

* `filter.allow` and `filter.block`, each named by a sender: `fornitore.example` (and what is below it), an address
  `user@fornitore.example`, or a machine `198.51.100.7`, `198.51.100.0/24`, `2001:db8::/32`. Fields, all text and "" for
  none: `why`, `asked_by`, `ticket`, `until` (UTC, `2027-06-30T22:00:00Z`: from then on it does not hold) and, of those
  allowed, `must_pass` (dkim or spf: by what a message shows that it comes from there).
* `filter.alias_domains` "alias_domains": `names` of domains for whose mail the lists and limits hold as well.
* `filter.limits` "limits": `message_size` (octets; 0: no limit) and `sending_rate` ("200/1h": messages, counted by
  recipient, of the domain's users together; "": no limit).
* `filter.dkim` "mail._domainkey": a key to sign with. It is made on the server and never leaves it; the text for DNS is
  handed out as `dkim mail`.
* `filter.signing` "signing": `selector` of the key that signs, and `senders`, other domains whose users write in this
  one's name as well.

Two spellings of a sender are one: domains are lower-case A-labels, addresses in their shortest form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_network

from mspctl.kinds import dns, mail, shown
from mspctl.resource import Id, Resource, Value

FACET = "filter"
ALLOW, BLOCK, DKIM = "filter.allow", "filter.block", "filter.dkim"
LISTS = (ALLOW, BLOCK)
ALIASES, LIMITS, SIGNING = (Id(f"filter.{name}", name) for name in ("alias_domains", "limits", "signing"))
FIELDS: Mapping[str, Mapping[str, type]] = {
    ALLOW: {"why": str, "until": str, "asked_by": str, "ticket": str, "must_pass": str},
    BLOCK: {"why": str, "until": str, "asked_by": str, "ticket": str},
    ALIASES.kind: {"names": frozenset},
    LIMITS.kind: {"message_size": int, "sending_rate": str},
    DKIM: {},
    SIGNING.kind: {"selector": str, "senders": frozenset},
}
WIDEST = {4: 8, 6: 16}  # prefix lengths; a network that is wider names everybody rather than somebody

_KEY_NAME = "._domainkey"
_OUTPUT = "dkim "
_RATE = re.compile(r"([1-9][0-9]{0,6}) ?/ ?([1-9][0-9]{0,3})?([smhdw])")
_SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_HINT = "write fornitore.example, user@fornitore.example, 198.51.100.7 or 198.51.100.0/24"

Network = IPv4Network | IPv6Network


def in_words(resource: Resource) -> str:
    """Of a key, which has no fields."""
    return "a DKIM key" if resource.id.kind == DKIM else ""


def worded(name: str, value: Value) -> str | None:
    if value in ("", 0, frozenset()):
        return ""
    if name == "message_size" and isinstance(value, int):
        return f"{name} {mail.rounded_size(value)}"
    if isinstance(value, frozenset):
        return f"{'' if name == 'names' else f'{name} '}{' · '.join(sorted(value))}"
    if name == "until" and isinstance(value, str):
        return f"until {value[:10]} {value[11:16]} UTC"
    return None


# -- senders ----------------------------------------------------------------------------------------------------


def fold_sender(text: str) -> str:
    """A sender in normal form. Raises ValueError."""
    if "@" in text:
        return mail.fold_address(text)
    if "/" in text or ":" in text or not re.search(r"[^\d.]", text):
        return _spelled(_network(text))
    with suppress(ValueError):
        name = dns.fold_zone(text)
        if "." in name:
            return name
    raise ValueError(f"{shown(text)} is not a sender ({_HINT})")


def _network(text: str) -> Network:
    try:
        found: Network = ip_network(text)
    except ValueError as error:
        hint = f"write {ip_network(text, strict=False)}" if "host bits" in str(error) else _HINT
        raise ValueError(f"{shown(text)} is not an address or a network ({hint})") from None
    if isinstance(found, IPv6Network) and found.network_address.ipv4_mapped and found.prefixlen >= 96:
        found = ip_network(f"{found.network_address.ipv4_mapped}/{found.prefixlen - 96}")
    if found.prefixlen < WIDEST[found.version]:
        raise ValueError(f"{shown(text)} is almost everybody (name networks of /{WIDEST[found.version]} or longer)")
    return found


def _spelled(network: Network) -> str:
    return str(network) if network.prefixlen < network.max_prefixlen else str(network.network_address)


def machines(sender: str) -> Network | None:
    """The addresses that a sender in normal form stands for; None when it is a name."""
    return None if "@" in sender else _as_network(sender)


def _as_network(sender: str) -> Network | None:
    try:
        return ip_network(sender)
    except ValueError:
        return None


def covering(sender: str) -> Iterator[str]:
    """All senders in normal form whose mail is that of this one too, itself first, then wider and wider."""
    network = machines(sender)
    if network is not None:
        lengths = range(network.prefixlen, WIDEST[network.version] - 1, -1)
        yield from (_spelled(network.supernet(new_prefix=length)) for length in lengths)
        return
    yield sender
    domain = sender.rpartition("@")[2]
    while "." in domain:
        if domain != sender:
            yield domain
        domain = domain.partition(".")[2]


# -- keys -------------------------------------------------------------------------------------------------------


def key_id(selector: str) -> Id:
    return Id(DKIM, selector + _KEY_NAME)


def selector_of(id_: Id) -> str:
    """The selector of a key; "" for what is none."""
    return id_.name.removesuffix(_KEY_NAME) if id_.kind == DKIM else ""


def output(selector: str) -> str:
    """Under which name the text for `<selector>._domainkey` is handed out; "" stands for a key that is gone."""
    return _OUTPUT + selector


def handed_out(outputs: Iterable[str]) -> list[str]:
    """The selectors among the names of outputs."""
    return sorted(name.removeprefix(_OUTPUT) for name in outputs if name.startswith(_OUTPUT))


# -- resources --------------------------------------------------------------------------------------------------


def entry(
    kind: str,
    sender: str,
    why: str,
    must_pass: str = "",  # no password
    until: str = "",
    asked_by: str = "",
    ticket: str = "",
    source: str = "",
) -> Resource:
    """One line of a list; `must_pass` only of those allowed."""
    fields = {"why": why, "until": until, "asked_by": asked_by, "ticket": ticket}
    if kind == ALLOW:
        fields["must_pass"] = must_pass
    return Resource(Id(kind, sender), fields, source)


def alias_domains(names: Iterable[str], source: str = "") -> Resource:
    return Resource(ALIASES, {"names": frozenset(names)}, source)


def limits(message_size: int, sending_rate: str, source: str = "") -> Resource:
    return Resource(LIMITS, {"message_size": message_size, "sending_rate": sending_rate}, source)


def signing(selector: str, senders: Iterable[str] = (), source: str = "") -> Resource:
    return Resource(SIGNING, {"selector": selector, "senders": frozenset(senders)}, source)


def key(selector: str, source: str = "") -> Resource:
    return Resource(key_id(selector), {}, source)


def normal(id_: Id, field: str, value: Value, scope: str) -> Value | None:
    """As programs may spell it. Raises ValueError."""
    if isinstance(value, frozenset):
        return frozenset(dns.fold_zone(each) for each in value)
    if not isinstance(value, str):
        return None
    if field == "" and id_.kind in LISTS:
        return fold_sender(value)
    if field == "" and id_.kind == DKIM:
        return key_id(_selector(value.removesuffix(_KEY_NAME))).name
    if field == "" and id_ not in (ALIASES, LIMITS, SIGNING):
        raise ValueError(f"write {id_.kind.partition('.')[2]}: there is one of them")
    if field == "until" and value and not _UNTIL.fullmatch(value):
        raise ValueError(f"{shown(value)} is not a moment in UTC (write 2027-06-30T22:00:00Z)")
    if field == "selector":
        return _selector(value)
    return fold_rate(value) if field == "sending_rate" and value else None


_UNTIL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


def _selector(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", text):
        raise ValueError(f"{shown(text)} is not a selector (letters, digits and hyphens)")
    return text


def fold_rate(text: str) -> str:
    """`200/1h` from `200/h`, `200 / 60m`. Raises ValueError."""
    found = _RATE.fullmatch(text)
    if not found:
        raise ValueError(f"{shown(text)} is not a rate (write 200/1h: so many messages in such a time)")
    seconds = int(found[2] or 1) * _SECONDS[found[3]]
    unit = next(unit for unit, each in _SECONDS.items() if seconds % each == 0)
    return f"{found[1]}/{seconds // _SECONDS[unit]}{unit}"
