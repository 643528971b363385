"""One zone as Git declares it, and how something is said about it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from mspctl.checks import Facts
from mspctl.desired import Declaration
from mspctl.finding import Finding, Severity
from mspctl.kinds import dns, spf
from mspctl.kinds.answers import ZoneQuestion
from mspctl.model.sections.dns import FACET, Checks, Renewal, Section
from mspctl.resource import Id, Resource
from mspctl.strict_yaml import find

MOST = 3  # things that one line names; the rest is counted

# Names that are nobody's on the Internet (RFC 6303, RFC 6762, RFC 8375, and ICANN for `internal`).
_LOCAL = ("local", "internal", "home.arpa", "onion")


@dataclass(frozen=True)
class Zone:
    """A zone of a customer, on however many targets it lives."""

    facts: Facts
    name: str  # "acme.example"
    declared: tuple[Declaration, ...]  # the same records on each target

    @property
    def absolute(self) -> str:
        return f"{self.name}."

    @property
    def section(self) -> Section:
        section = self.facts.customer.sections["dns"]
        assert isinstance(section, Section), "load puts each section's own model here"
        return section

    @property
    def settings(self) -> Checks:
        settings = self.facts.inventory.checks.get("dns")
        return settings if isinstance(settings, Checks) else Checks()

    @property
    def renewal(self) -> Renewal | None:
        return self.section.zones[self.name].renewal

    @property
    def registrar(self) -> str:
        """Where name servers are changed, by its name where Git says it."""
        return f"at the registrar ({self.renewal.at})" if self.renewal else "at the registrar"

    @property
    def is_public(self) -> bool:
        return self.section.zones[self.name].public and not is_local(self.name)

    @property
    def is_new(self) -> bool:
        """Whether a target that answered does not hold the zone yet."""
        plans = [self.facts.live[d.scope] for d in self.declared if d.scope in self.facts.live]
        return any(not plan.exists and not plan.error for plan in plans)

    # -- what Git says of its records

    @cached_property
    def records(self) -> dict[Id, Resource]:
        return {resource.id: resource for resource in self.declared[0].resources}

    def resource(self, owner: str, rtype: str) -> Resource | None:
        return self.records.get(Id(dns.KIND, f"{owner} {rtype}"))

    @cached_property
    def name_servers(self) -> tuple[frozenset[str], ...]:
        """The sets of name servers that would be right: what Git declares, else what each target says."""
        declared = self.resource(dns.APEX, "NS")
        if declared is not None:
            return (frozenset(dns.values_of(declared)),)
        settings = (self.facts.inventory.settings.get((d.scope.target, d.scope.facet)) for d in self.declared)
        said = [frozenset(map(_host, getattr(each, "nameservers", ()))) for each in settings]
        return tuple(dict.fromkeys(hosts for hosts in said if hosts))

    @property
    def hosts(self) -> frozenset[str]:
        return frozenset().union(*self.name_servers)

    def names(self, what: str) -> frozenset[str]:
        """Absolute names whose MX or SPF records matter: those that Git declares, and the zone's own."""
        rtype = "TXT" if what == "SPF" else what
        owners = {dns.APEX}
        for resource in self.records.values():
            owner, found = dns.owner_type(resource.id)
            if found == rtype and "*" not in owner and (what != "SPF" or declared_spf(resource)):
                owners.add(owner)
        return frozenset(dns.absolute(owner, self.name) for owner in owners)

    @cached_property
    def question(self) -> ZoneQuestion:
        """What has to be asked about it."""
        return ZoneQuestion(self.absolute, self.hosts, self.names("MX"), self.names("SPF"))

    # -- places

    @property
    def source(self) -> str:
        """Where dns.yaml, or a baseline, names the zone."""
        return self.place()

    def place(self, *keys: str) -> str:
        """Where something stands that is said of the zone, or the zone itself."""
        data = self.facts.customer.data["dns"]
        typed = next((key for key in data["zones"] if dns.fold_zone(key) == self.name), self.name)
        mark = find(data, ["zones", typed, *keys])
        return f"{mark.file}:{mark.line}" if mark else ""

    # -- what is said about it

    def finding(
        self,
        code: str,
        severity: Severity,
        what: str,
        remedy: str,
        *,
        record: tuple[str, str] | None = None,
        source: str = "",
        since: date | None = None,
        until: date | None = None,
    ) -> Finding:
        """A finding about the zone, or about one of its RRsets (owner, type)."""
        path = f"{FACET}/{self.name}"
        if record is not None:
            resource = self.resource(*record)
            path, source = f"{path}/{' '.join(record)}", source or (resource.source if resource else "")
        return Finding(
            code, severity, self.facts.customer.name, path, what, remedy, source or self.source, since, until
        )


def zones(facts: Facts) -> Iterator[Zone]:
    """The zones among a customer's declared scopes."""
    declared: dict[str, list[Declaration]] = {}
    for declaration in facts.declared:
        if declaration.scope.facet == FACET:
            declared.setdefault(declaration.scope.name, []).append(declaration)
    return (Zone(facts, name, tuple(mine)) for name, mine in declared.items())


def unchecked(zone: Zone, reasons: Sequence[str]) -> Finding:
    return zone.finding(
        "dns.unchecked",
        Severity.UNKNOWN,
        f"could not be checked: {listed(reasons, '; ')}",
        "run it again; if it stays, see whether name servers can be asked from here (UDP and TCP, port 53)",
    )


def declared_spf(resource: Resource) -> list[str]:
    """The SPF records in a declared TXT RRset."""
    texts = (dns.content(value).decode("latin-1") for value in dns.values_of(resource))
    return [text for text in texts if spf.is_spf(text)]


def is_local(zone: str) -> bool:
    """Whether a zone is one that the Internet never has: reverse zones of private networks, and names like `local`."""
    if any(zone == name or zone.endswith(f".{name}") for name in _LOCAL):
        return True
    network = _reversed(zone)
    return network is not None and network.is_private


def _reversed(zone: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The network of a reverse zone."""
    try:
        if zone.endswith(".in-addr.arpa"):
            octets = [part for part in zone.removesuffix(".in-addr.arpa").split(".") if part.isdecimal()][::-1]
            return ipaddress.ip_network(f"{'.'.join((*octets, '0', '0', '0', '0')[:4])}/{8 * len(octets)}")
        if zone.endswith(".ip6.arpa"):
            digits = "".join(zone.removesuffix(".ip6.arpa").split(".")[::-1])
            return ipaddress.IPv6Network((int(digits.ljust(32, "0"), 16), 4 * len(digits)))
    except ValueError:
        return None
    return None


def _host(text: str) -> str:
    """A name server as a driver's settings name it, with or without its dot."""
    return dns.fold(text.rstrip(".") + ".")


def plain(name: str) -> str:
    """A name as people write it."""
    return name.removesuffix(".") or "the root"


def listed(parts: Iterable[str], between: str = ", ") -> str:
    """The first few, and how many more."""
    known = [*parts]
    more = f" and {len(known) - MOST} more" if len(known) > MOST + 1 else ""
    return between.join(known[:MOST] if more else known) + more


def hosts_listed(hosts: Iterable[str]) -> str:
    return listed(map(plain, sorted(hosts)))
