"""
Made from the provider's schema by `python -m mspctl.provider.generate`; a test sees to it that it fits.

A class for each kind of scope, and what `resources` of it can hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

import pulumi

from mspctl.pulumi.scoped import Scoped

__all__ = [
    "Console",
    "ConsoleAssignment",
    "ConsoleResources",
    "Domain",
    "DomainAlias",
    "DomainAliasDomain",
    "DomainDomain",
    "DomainMailbox",
    "DomainResources",
    "Filter",
    "FilterAliasDomains",
    "FilterAllow",
    "FilterBlock",
    "FilterDkim",
    "FilterLimits",
    "FilterResources",
    "FilterSigning",
    "Firewall",
    "FirewallDefault",
    "FirewallForward",
    "FirewallMasquerade",
    "FirewallName",
    "FirewallNat",
    "FirewallOrder",
    "FirewallPolicy",
    "FirewallRaw",
    "FirewallResources",
    "FirewallRule",
    "FirewallSite",
    "FirewallTunnel",
    "FirewallUser",
    "FirewallZone",
    "Host",
    "HostAgent",
    "HostEngine",
    "HostHold",
    "HostJob",
    "HostPolicy",
    "HostReport",
    "HostResources",
    "HostScan",
    "HostThinning",
    "HostWindow",
    "Zone",
    "ZoneResources",
    "ZoneRrset",
    "ZoneZone",
]

ConsoleAssignment = TypedDict(
    "ConsoleAssignment",
    {
        "policy": pulumi.Input[str],
    },
)

ConsoleResources = TypedDict(
    "ConsoleResources",
    {
        "assignment": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[ConsoleAssignment]]]],
    },
)


class Console(Scoped):
    """One scope of the facet antivirus."""

    pulumi_type = "mspctl:antivirus:Console"

    def __init__(
        self,
        resource_name: str,
        *,
        customer: pulumi.Input[str],
        target: pulumi.Input[str],
        name: pulumi.Input[str],
        resources: pulumi.Input[ConsoleResources],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(resource_name, customer, target, name, resources, opts)

HostEngine = TypedDict(
    "HostEngine",
    {
        "on_access": pulumi.Input[Sequence[pulumi.Input[str]]],
        "exclude": pulumi.Input[Sequence[pulumi.Input[str]]],
        "own": pulumi.Input[Sequence[pulumi.Input[str]]],
        "amiss": NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]],
        "action": pulumi.Input[str],
        "mirror": pulumi.Input[str],
        "alert": pulumi.Input[str],
        "max_file": pulumi.Input[int],
        "max_scan": pulumi.Input[int],
        "depth": pulumi.Input[int],
        "every": pulumi.Input[int],
        "prevent": pulumi.Input[bool],
        "official": pulumi.Input[bool],
    },
)

HostAgent = TypedDict(
    "HostAgent",
    {
        "packages": pulumi.Input[Sequence[pulumi.Input[str]]],
        "services": pulumi.Input[Sequence[pulumi.Input[str]]],
        "amiss": NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]],
    },
)

HostScan = TypedDict(
    "HostScan",
    {
        "paths": pulumi.Input[Sequence[pulumi.Input[str]]],
        "schedule": pulumi.Input[str],
        "timezone": pulumi.Input[str],
        "amiss": NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]],
    },
)

HostJob = TypedDict(
    "HostJob",
    {
        "program": pulumi.Input[str],
        "paths": pulumi.Input[Sequence[pulumi.Input[str]]],
        "exclude": pulumi.Input[Sequence[pulumi.Input[str]]],
        "repository": pulumi.Input[str],
        "append_only": pulumi.Input[bool],
        "host_key": pulumi.Input[str],
        "password": pulumi.Input[str],
        "login": pulumi.Input[str],
        "key": pulumi.Input[str],
        "schedule": pulumi.Input[str],
        "timezone": pulumi.Input[str],
        "keep": pulumi.Input[Sequence[pulumi.Input[str]]],
        "upload": pulumi.Input[int],
        "dumps": pulumi.Input[Sequence[pulumi.Input[str]]],
        "check": pulumi.Input[int],
        "read": pulumi.Input[int],
        "amiss": NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]],
    },
)

HostThinning = TypedDict(
    "HostThinning",
    {
        "program": pulumi.Input[str],
        "folder": pulumi.Input[str],
        "password": pulumi.Input[str],
        "schedule": pulumi.Input[str],
        "timezone": pulumi.Input[str],
        "keep": pulumi.Input[Sequence[pulumi.Input[str]]],
        "amiss": NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]],
    },
)

HostReport = TypedDict(
    "HostReport",
    {
        "files": pulumi.Input[str],
        "format": pulumi.Input[str],
        "about": pulumi.Input[str],
        "amiss": NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]],
    },
)

HostPolicy = TypedDict(
    "HostPolicy",
    {
        "what": pulumi.Input[str],
        "reboot": pulumi.Input[str],
        "amiss": NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]],
    },
)

HostWindow = TypedDict(
    "HostWindow",
    {
        "hours": pulumi.Input[str],
        "timezone": pulumi.Input[str],
        "amiss": NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]],
    },
)

HostHold = TypedDict(
    "HostHold",
    {
        "held": pulumi.Input[bool],
    },
)

HostResources = TypedDict(
    "HostResources",
    {
        "engine": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[HostEngine]]]],
        "agent": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[HostAgent]]]],
        "scan": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[HostScan]]]],
        "job": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[HostJob]]]],
        "thinning": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[HostThinning]]]],
        "report": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[HostReport]]]],
        "policy": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[HostPolicy]]]],
        "window": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[HostWindow]]]],
        "hold": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[HostHold]]]],
    },
)


class Host(Scoped):
    """One scope of the facet hosts."""

    pulumi_type = "mspctl:hosts:Host"

    def __init__(
        self,
        resource_name: str,
        *,
        customer: pulumi.Input[str],
        target: pulumi.Input[str],
        name: pulumi.Input[str],
        resources: pulumi.Input[HostResources],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(resource_name, customer, target, name, resources, opts)

ZoneRrset = TypedDict(
    "ZoneRrset",
    {
        "ttl": pulumi.Input[int],
        "values": pulumi.Input[Sequence[pulumi.Input[str]]],
    },
)

ZoneZone = TypedDict(
    "ZoneZone",
    {
        "dnssec": pulumi.Input[bool],
    },
)

ZoneResources = TypedDict(
    "ZoneResources",
    {
        "rrset": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[ZoneRrset]]]],
        "zone": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[ZoneZone]]]],
    },
)


class Zone(Scoped):
    """One scope of the facet dns."""

    pulumi_type = "mspctl:dns:Zone"

    def __init__(
        self,
        resource_name: str,
        *,
        customer: pulumi.Input[str],
        target: pulumi.Input[str],
        name: pulumi.Input[str],
        resources: pulumi.Input[ZoneResources],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(resource_name, customer, target, name, resources, opts)

FirewallZone = TypedDict(
    "FirewallZone",
    {
        "interfaces": pulumi.Input[Sequence[pulumi.Input[str]]],
        "outside": pulumi.Input[bool],
    },
)

FirewallRule = TypedDict(
    "FirewallRule",
    {
        "from": pulumi.Input[Sequence[pulumi.Input[str]]],
        "to": pulumi.Input[Sequence[pulumi.Input[str]]],
        "source": pulumi.Input[Sequence[pulumi.Input[str]]],
        "destination": pulumi.Input[Sequence[pulumi.Input[str]]],
        "services": pulumi.Input[Sequence[pulumi.Input[str]]],
        "action": pulumi.Input[str],
        "log": pulumi.Input[bool],
        "until": pulumi.Input[str],
        "hours": pulumi.Input[Sequence[pulumi.Input[str]]],
    },
)

FirewallForward = TypedDict(
    "FirewallForward",
    {
        "zone": pulumi.Input[str],
        "listen": pulumi.Input[Sequence[pulumi.Input[str]]],
        "to": pulumi.Input[str],
        "port": pulumi.Input[int],
        "source": pulumi.Input[Sequence[pulumi.Input[str]]],
        "log": pulumi.Input[bool],
        "until": pulumi.Input[str],
        "hours": pulumi.Input[Sequence[pulumi.Input[str]]],
    },
)

FirewallNat = TypedDict(
    "FirewallNat",
    {
        "zone": pulumi.Input[str],
        "outside": pulumi.Input[str],
        "inside": pulumi.Input[str],
    },
)

FirewallMasquerade = TypedDict(
    "FirewallMasquerade",
    {
        "source": pulumi.Input[Sequence[pulumi.Input[str]]],
    },
)

FirewallPolicy = TypedDict(
    "FirewallPolicy",
    {
        "action": pulumi.Input[str],
        "log": pulumi.Input[bool],
    },
)

FirewallDefault = TypedDict(
    "FirewallDefault",
    {
        "action": pulumi.Input[str],
        "log": pulumi.Input[bool],
        "amiss": NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]],
    },
)

FirewallName = TypedDict(
    "FirewallName",
    {},
)

FirewallRaw = TypedDict(
    "FirewallRaw",
    {
        "chain": pulumi.Input[str],
        "text": pulumi.Input[str],
    },
)

FirewallOrder = TypedDict(
    "FirewallOrder",
    {
        "rules": pulumi.Input[Sequence[pulumi.Input[str]]],
    },
)

FirewallTunnel = TypedDict(
    "FirewallTunnel",
    {
        "port": pulumi.Input[int],
        "addresses": pulumi.Input[Sequence[pulumi.Input[str]]],
        "key": pulumi.Input[str],
        "amiss": NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]],
    },
)

FirewallUser = TypedDict(
    "FirewallUser",
    {
        "key": pulumi.Input[str],
        "networks": pulumi.Input[Sequence[pulumi.Input[str]]],
        "endpoint": pulumi.Input[str],
        "keepalive": pulumi.Input[int],
        "preshared": pulumi.Input[str],
    },
)

FirewallSite = TypedDict(
    "FirewallSite",
    {
        "key": pulumi.Input[str],
        "networks": pulumi.Input[Sequence[pulumi.Input[str]]],
        "endpoint": pulumi.Input[str],
        "keepalive": pulumi.Input[int],
        "preshared": pulumi.Input[str],
    },
)

FirewallResources = TypedDict(
    "FirewallResources",
    {
        "zone": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[FirewallZone]]]],
        "rule": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[FirewallRule]]]],
        "forward": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[FirewallForward]]]],
        "nat": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[FirewallNat]]]],
        "masquerade": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[FirewallMasquerade]]]],
        "policy": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[FirewallPolicy]]]],
        "default": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[FirewallDefault]]]],
        "name": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[FirewallName]]]],
        "raw": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[FirewallRaw]]]],
        "order": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[FirewallOrder]]]],
        "tunnel": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[FirewallTunnel]]]],
        "user": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[FirewallUser]]]],
        "site": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[FirewallSite]]]],
    },
)


class Firewall(Scoped):
    """One scope of the facet firewall."""

    pulumi_type = "mspctl:firewall:Firewall"

    def __init__(
        self,
        resource_name: str,
        *,
        customer: pulumi.Input[str],
        target: pulumi.Input[str],
        name: pulumi.Input[str],
        resources: pulumi.Input[FirewallResources],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(resource_name, customer, target, name, resources, opts)

DomainMailbox = TypedDict(
    "DomainMailbox",
    {
        "name": NotRequired[pulumi.Input[str]],
        "quota": NotRequired[pulumi.Input[int]],
        "enabled": NotRequired[pulumi.Input[bool]],
        "receives": NotRequired[pulumi.Input[bool]],
        "keep_copy": NotRequired[pulumi.Input[bool]],
        "forwards": NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]],
        "password": NotRequired[pulumi.Input[str]],
        "reply": NotRequired[pulumi.Input[str]],
        "shared_with": NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]],
    },
)

DomainAlias = TypedDict(
    "DomainAlias",
    {
        "to": pulumi.Input[Sequence[pulumi.Input[str]]],
        "enabled": pulumi.Input[bool],
    },
)

DomainAliasDomain = TypedDict(
    "DomainAliasDomain",
    {
        "enabled": pulumi.Input[bool],
    },
)

DomainDomain = TypedDict(
    "DomainDomain",
    {
        "enabled": pulumi.Input[bool],
        "mailboxes": pulumi.Input[int],
        "quota": pulumi.Input[int],
    },
)

DomainResources = TypedDict(
    "DomainResources",
    {
        "mailbox": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[DomainMailbox]]]],
        "alias": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[DomainAlias]]]],
        "alias_domain": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[DomainAliasDomain]]]],
        "domain": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[DomainDomain]]]],
    },
)


class Domain(Scoped):
    """One scope of the facet mailboxes."""

    pulumi_type = "mspctl:mail:Domain"

    def __init__(
        self,
        resource_name: str,
        *,
        customer: pulumi.Input[str],
        target: pulumi.Input[str],
        name: pulumi.Input[str],
        resources: pulumi.Input[DomainResources],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(resource_name, customer, target, name, resources, opts)

FilterAllow = TypedDict(
    "FilterAllow",
    {
        "why": pulumi.Input[str],
        "until": pulumi.Input[str],
        "asked_by": pulumi.Input[str],
        "ticket": pulumi.Input[str],
        "must_pass": pulumi.Input[str],
    },
)

FilterBlock = TypedDict(
    "FilterBlock",
    {
        "why": pulumi.Input[str],
        "until": pulumi.Input[str],
        "asked_by": pulumi.Input[str],
        "ticket": pulumi.Input[str],
    },
)

FilterAliasDomains = TypedDict(
    "FilterAliasDomains",
    {
        "names": pulumi.Input[Sequence[pulumi.Input[str]]],
    },
)

FilterLimits = TypedDict(
    "FilterLimits",
    {
        "message_size": pulumi.Input[int],
        "sending_rate": pulumi.Input[str],
    },
)

FilterDkim = TypedDict(
    "FilterDkim",
    {},
)

FilterSigning = TypedDict(
    "FilterSigning",
    {
        "selector": pulumi.Input[str],
        "senders": pulumi.Input[Sequence[pulumi.Input[str]]],
    },
)

FilterResources = TypedDict(
    "FilterResources",
    {
        "allow": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[FilterAllow]]]],
        "block": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[FilterBlock]]]],
        "alias_domains": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[FilterAliasDomains]]]],
        "limits": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[FilterLimits]]]],
        "dkim": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[FilterDkim]]]],
        "signing": NotRequired[pulumi.Input[Mapping[str, pulumi.Input[FilterSigning]]]],
    },
)


class Filter(Scoped):
    """One scope of the facet filter."""

    pulumi_type = "mspctl:mail:Filter"

    def __init__(
        self,
        resource_name: str,
        *,
        customer: pulumi.Input[str],
        target: pulumi.Input[str],
        name: pulumi.Input[str],
        resources: pulumi.Input[FilterResources],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(resource_name, customer, target, name, resources, opts)
