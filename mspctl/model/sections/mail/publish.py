"""What a zone says of a mail domain: MX, SPF, DKIM, DMARC, and where mail programs find their settings. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mspctl.kinds import dns
from mspctl.resource import Scope
from mspctl.strict_yaml import Mark

if TYPE_CHECKING:
    from mspctl.model.customer import Customer
    from mspctl.model.inventory import Published
    from mspctl.model.sections.mail import Publish

FILTER = "filter"  # the facet whose driver makes DKIM keys

_ALL = {"softfail": "~all", "fail": "-all"}


def zone_of(customer: Customer, name: str) -> str:
    """The customer's zone in which a name stands, or ""."""
    zones = getattr(customer.sections.get("dns"), "zones", {})
    return max((z for z in zones if name == z or name.endswith(f".{z}")), key=len, default="")


def derived(
    domain: str, target: str, own: Publish, server: Published, dkim: bool, place: Mark
) -> Iterator[dns.Derived]:
    """One value after the other. `dkim`: whether the target makes keys; the key itself is handed out by it."""
    texts: dict[str, tuple[str, str | dns.Awaited, str]] = {
        "spf": ("", _spf(own, server), "v=spf1"),
        "dmarc": ("_dmarc.", _dmarc(own, server), "v=DMARC1"),
    }
    if dkim:
        texts["dkim"] = (f"{own.selector}._domainkey.", dns.Awaited(Scope(target, FILTER, domain), "dkim"), "v=DKIM1")
    source = f"{place.file}:{place.line}"
    if "mx" not in own.leave_out:
        yield from (dns.Derived(domain, "MX", value, "", source) for value in server.mx)
    for part, (label, value, tag) in texts.items():
        if part not in own.leave_out:
            yield dns.Derived(label + domain, "TXT", value, tag, source)
    if server.clients and "autoconfig" not in own.leave_out:
        for label in ("autoconfig.", "autodiscover."):
            yield dns.Derived(label + domain, "CNAME", server.clients, "", source)


def _spf(own: Publish, server: Published) -> str:
    terms = dict.fromkeys([*server.spf, *own.spf])
    return dns.quoted(" ".join(["v=spf1", *terms, _ALL[own.others]]).encode())


def _dmarc(own: Publish, server: Published) -> str:
    reports = f"; rua=mailto:{server.reports}" if server.reports else ""
    return dns.quoted(f"v=DMARC1; p={own.dmarc}{reports}".encode())
