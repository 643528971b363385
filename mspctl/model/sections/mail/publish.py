"""What a zone says of a mail domain: MX, SPF, DKIM, DMARC, and where mail programs find their settings. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from mspctl.kinds import dns
from mspctl.kinds import filter as filters
from mspctl.resource import Scope, Value
from mspctl.strict_yaml import Mark

if TYPE_CHECKING:
    from mspctl.model.customer import Customer
    from mspctl.model.inventory import Published
    from mspctl.model.sections.mail import Publish

Keys = tuple[Scope, Mapping[Scope, Mapping[str, Value]]]  # the scope that makes keys, and what scopes handed out

_ALL = {"softfail": "~all", "fail": "-all"}


def zone_of(customer: Customer, name: str) -> str:
    """The customer's zone in which a name stands, or ""."""
    zones = getattr(customer.sections.get("dns"), "zones", {})
    return max((z for z in zones if name == z or name.endswith(f".{z}")), key=len, default="")


def derived(domain: str, own: Publish, server: Published, keys: Keys | None, place: Mark) -> Iterator[dns.Derived]:
    """One value after the other. `keys`: None where the target makes none."""
    texts: list[tuple[str, str, str | dns.Awaited, str]] = [
        ("spf", "", _spf(own, server), "v=spf1"),
        ("dmarc", "_dmarc.", _dmarc(own, server), "v=DMARC1"),
    ]
    for selector, value in _keys(own, *keys) if keys else ():
        texts.append(("dkim", f"{selector}._domainkey.", value, "v=DKIM1"))
    source = f"{place.file}:{place.line}"
    if "mx" not in own.leave_out:
        yield from (dns.Derived(domain, "MX", value, "", source) for value in server.mx)
    for part, label, value, tag in texts:
        if part not in own.leave_out:
            yield dns.Derived(label + domain, "TXT", value, tag, source)
    if server.clients and "autoconfig" not in own.leave_out:
        for label in ("autoconfig.", "autodiscover."):
            yield dns.Derived(label + domain, "CNAME", server.clients, "", source)


def _keys(
    own: Publish, scope: Scope, outputs: Mapping[Scope, Mapping[str, Value]]
) -> Iterator[tuple[str, str | dns.Awaited]]:
    """What each key of a domain says in DNS; one that is not declared any more says it as long as it is there."""
    made = outputs.get(scope, {})
    for selector in own.selectors:
        yield selector, dns.Awaited(scope, filters.output(selector))
    for selector in filters.handed_out(made):
        text = made[filters.output(selector)]
        if selector not in own.selectors and isinstance(text, str) and text:
            yield selector, dns.quoted(text.encode())


def _spf(own: Publish, server: Published) -> str:
    terms = dict.fromkeys([*server.spf, *own.spf])
    return dns.quoted(" ".join(["v=spf1", *terms, _ALL[own.others]]).encode())


def _dmarc(own: Publish, server: Published) -> str:
    reports = f"; rua=mailto:{server.reports}" if server.reports else ""
    return dns.quoted(f"v=DMARC1; p={own.dmarc}{reports}".encode())
