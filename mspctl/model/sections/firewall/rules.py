"""What a device's YAML may say: zones, objects, services, rules, forwards. Strict, because a slip must open nothing."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from mspctl.fields import (
    NAME,
    Address,
    Boolean,
    Count,
    Ips,
    Model,
    Name,
    Port,
    Seconds,
    Text,
    Until,
    Window,
    one_line,
    one_or_many,
    typed,
)
from mspctl.kinds import addresses, firewall, probes, services, shown, vpn
from mspctl.model.inventory import SecretName
from mspctl.strict_yaml import Map

_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,14}")  # as Linux and most vendors name them
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_NUMBERS = re.compile(r"[\d.:/]+|\d+(\.\d+){3}-[\d.]+")  # an address, a network or a range
MOST_PACKETS = 100  # that are sent to prove something of a device
SHORTEST, LONGEST = 2, 30  # seconds; within less, a SYN that is lost is not sent again
_TO = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^][:]+))(?::([1-9]\d{0,4}))?", re.ASCII)
_LISTEN = re.compile(r"([a-z0-9-]+):(?:(tcp|udp|sctp)/)?(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)


def _interface(value: Any) -> str:
    text = typed(value)
    if not _INTERFACE.fullmatch(text):
        raise ValueError(f"{shown(text)} is not the name of an interface (letters, digits and . _ - :, at most 15)")
    return text


def _zone(value: Any) -> str:
    text = typed(value)
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,14}", text):
        raise ValueError(f"{shown(text)} is not the name of a zone (lower-case letters, digits and -, at most 15)")
    return text


def _own_zone(value: Any) -> str:
    text = _zone(value)
    if text in (firewall.ANY, firewall.SELF):
        raise ValueError(f"{text} is taken (any: every zone; self: the device itself)")
    return text


def _id(value: Any) -> str:
    text = typed(value)
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,47}", text):
        raise ValueError(f"{shown(text)} is not a rule's id (lower-case letters, digits and . _ -, at most 48)")
    if text == firewall.MANAGEMENT:
        raise ValueError("management is the id of the rule that lets us in (write it under management:)")
    return text


def _place(value: Any) -> str:
    """An address, network, range, name, or what objects call one."""
    text = one_line(value)
    return text if _NAME.fullmatch(text) and not _looks_like_address(text) else addresses.fold(text)


def _looks_like_address(text: str) -> bool:
    try:
        addresses.fold(text)
    except ValueError:
        return bool(_NUMBERS.fullmatch(text))  # a slip in a number is no name
    return True


def _service(value: Any) -> str:
    """A service, or what services: calls one."""
    text = one_line(value)
    if not _NAME.fullmatch(text):
        services.fold(text)
    return text


def _object_name(value: Any) -> str:
    text = typed(value)
    if not _NAME.fullmatch(text) or _looks_like_address(text) or text == firewall.ANY:
        raise ValueError(f"{shown(text)} cannot name an object (lower-case letters, digits and . _ -, no address)")
    return text


def _service_name(value: Any) -> str:
    text = _object_name(value)
    if text in services.WELL_KNOWN or text in (*services.ALONE, "icmp"):
        raise ValueError(f"{text} is a well-known service (call it otherwise)")
    return text


def raw_text(value: Any) -> str:
    """One rule of nftables and nothing besides; whether it makes sense, the device says before anything is loaded."""
    text = one_line(value).strip()
    if not re.fullmatch(r"[ -~]{1,1000}", text):
        raise ValueError(f"{shown(text)} is not one rule (plain ASCII, at most 1,000 characters)")
    bare = re.sub(r'"[^"]*"', "", text)
    if found := re.search(r";", text) or re.search(r'[#$\\`"]', bare):
        raise ValueError(f"{shown(text)} is not one rule ({found[0]} cannot stand in it)")
    if found := _NO_RAW.search(bare):
        raise ValueError(f"{shown(text)} cannot say {found[0]} ({_RAW_WHY[found[0]]})")
    depth = 0
    for sign in bare:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth < 0:
            break
    if depth:
        raise ValueError(f"{shown(text)} is not one rule (its braces do not match)")
    return text


_RAW_WHY = {
    **dict.fromkeys(("jump", "goto"), "chains of other tables cannot be reached"),
    **dict.fromkeys(("include", "define", "table", "chain", "flush", "delete", "destroy"), "it is one rule"),
    "comment": "its id is its comment; people read why",
    "iif": "a device numbers its interfaces anew: write iifname",
    "oif": "a device numbers its interfaces anew: write oifname",
}
_NO_RAW = re.compile(rf"\b({'|'.join(_RAW_WHY)})\b")


def _listen(value: Any) -> str:
    text = one_line(value)
    found = _LISTEN.fullmatch(text)
    if not found:
        raise ValueError(f"{shown(text)} is not where to listen (write zone:port, wan:8443 or wan:udp/5060)")
    services.fold(f"{found[2] or 'tcp'}/{found[3]}{f'-{found[4]}' if found[4] else ''}")
    return text


def _probe(value: Any) -> str:
    text = typed(value)
    if len(parts := text.split(".")) > 2 or not all(map(NAME.fullmatch, parts)):
        raise ValueError(f"{shown(text)} is no probe (write here, a host of hosts.yaml, or host.customer)")
    return text


_STRING = {"type": "string"}
_PROBE = {"type": "string", "examples": [probes.HERE, "srv-1"]}
Interface = Annotated[str, BeforeValidator(_interface), WithJsonSchema(_STRING)]
Interfaces = Annotated[tuple[Interface, ...], BeforeValidator(one_or_many)]
OwnZone = Annotated[str, BeforeValidator(_own_zone), WithJsonSchema(_STRING)]
ZoneRef = Annotated[str, BeforeValidator(_zone), WithJsonSchema(_STRING)]
ZoneRefs = Annotated[tuple[ZoneRef, ...], BeforeValidator(one_or_many)]
RuleId = Annotated[str, BeforeValidator(_id), WithJsonSchema(_STRING)]
Place = Annotated[str, BeforeValidator(_place), WithJsonSchema({"type": "string", "examples": ["10.20.0.0/22"]})]
Places = Annotated[tuple[Place, ...], BeforeValidator(one_or_many)]
Service = Annotated[str, BeforeValidator(_service), WithJsonSchema({"type": "string", "examples": ["https"]})]
Services = Annotated[tuple[Service, ...], BeforeValidator(one_or_many)]
ObjectName = Annotated[str, BeforeValidator(_object_name), WithJsonSchema(_STRING)]
ServiceName = Annotated[str, BeforeValidator(_service_name), WithJsonSchema(_STRING)]
RawText = Annotated[
    str,
    BeforeValidator(raw_text),
    WithJsonSchema({"type": "string", "examples": ["tcp dport 22 limit rate 3/minute accept"]}),
]
Listen = Annotated[str, BeforeValidator(_listen), WithJsonSchema({"type": "string", "examples": ["wan:8443"]})]
To = Annotated[str, BeforeValidator(one_line), WithJsonSchema({"type": "string", "examples": ["nvr:443"]})]


class Zone(Model):
    """Networks of which the same is said."""

    interfaces: Interfaces
    outside: Boolean = False  # everybody else is there: the Internet
    guest: Boolean = False  # strangers are there: they reach the outside, and nothing else


def _interfaces(value: Any) -> Any:
    if isinstance(value, Map):
        return value
    short = Map()
    short["interfaces"] = value
    return short


class Reasons(Model):
    """Why something is there, and for whom; none of it goes to the device."""

    why: Text | None = None
    asked_by: Name | None = None  # one of the customer's contacts
    ticket: Text | None = None


def _say_something(said: Model, *names: str, otherwise: str = "write any for all of them") -> None:
    """What is written out and empty is nobody and nothing, which nobody means. Raises ValueError."""
    for name in names:
        if not getattr(said, name):
            called = type(said).model_fields[name].alias or name
            raise ValueError(f"{called} is empty ({otherwise})")


class Rule(Reasons):
    id: RuleId
    source_zones: ZoneRefs = Field(alias="from")
    destination_zones: ZoneRefs = Field(alias="to")
    source: Places = (firewall.ANY,)
    destination: Places = (firewall.ANY,)
    services: Services = ()
    action: Literal["accept", "drop", "reject"]
    log: Boolean = False
    schedule: Name | None = None
    until: Until | None = None

    @model_validator(mode="after")
    def _says_what(self) -> Rule:
        if not self.services:
            raise ValueError("says no services (write any for all of them)")
        _say_something(self, "source_zones", "destination_zones", "source", "destination")
        if firewall.SELF in self.source_zones:
            raise ValueError("what the device itself sends is always let through (from cannot be self)")
        return self


class Forward(Reasons):
    """NAT, rule and object in one: what comes to the device there goes to a host."""

    id: RuleId
    listen: Listen
    to: To
    only_from: Places  # `any` is written out
    log: Boolean = False
    schedule: Name | None = None
    until: Until | None = None

    @property
    def zone(self) -> str:
        return self.listen.partition(":")[0]

    @property
    def service(self) -> str:
        """In normal form."""
        found = _LISTEN.fullmatch(self.listen)
        assert found, "it was validated"
        return services.fold(f"{found[2] or 'tcp'}/{found[3]}{f'-{found[4]}' if found[4] else ''}")[0]

    @property
    def host_and_port(self) -> tuple[str, int]:
        """The host, as an address or an object's name, and its port; 0: the same."""
        if self.to.count(":") > 1 and not self.to.startswith("["):  # IPv6 without a port
            return self.to, 0
        found = _TO.fullmatch(self.to)
        if not found:
            raise ValueError
        return found[1] or found[2], int(found[3] or 0)

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Forward:
        try:
            host, port = self.host_and_port
            if not (_NAME.fullmatch(host) or ipaddress.ip_address(host)) or not port < 65536:
                raise ValueError
        except ValueError:
            raise ValueError(
                f"to: {shown(self.to)} is no host (write nvr:443, 10.20.1.60:443 or [2001:db8::1]:443)"
            ) from None
        if not self.only_from:
            raise ValueError("only_from is empty (write any for everybody)")
        if "-" in self.service and port:
            raise ValueError("a range of ports goes to the same ports (leave the port out of to)")
        return self


class StaticNat(Reasons):
    """A host that has an address of its own outside."""

    id: RuleId
    zone: OwnZone
    outside: Place
    inside: Place


class Raw(Reasons):
    """A rule in the device's own language, where ours has no words for it. It is loaded, and never understood."""

    id: RuleId
    chain: Literal["input", "forward", "output", "prerouting", "postrouting"]
    text: RawText
    before: RuleId | None = None  # a rule; without one it comes behind all of them, in front of the policies

    @model_validator(mode="after")
    def _has_a_place(self) -> Raw:
        if self.before and self.chain not in firewall.ORDERED:
            raise ValueError(f"stands in {self.chain}, where it comes first anyway (leave before out)")
        return self


class Masquerade(Model):
    """Who goes from the one to the other has the device's own address there."""

    source_zones: ZoneRefs = Field(alias="from")
    destination_zones: ZoneRefs = Field(alias="to")
    source: Places = (firewall.ANY,)

    @model_validator(mode="after")
    def _says_what(self) -> Masquerade:
        _say_something(self, "source_zones", "destination_zones", otherwise="name the zones, or take the line out")
        _say_something(self, "source")
        return self


class Default(Model):
    """What becomes of what nothing else decides."""

    action: Literal["drop", "reject"] = "drop"
    log: Boolean = False


class Policy(Model):
    """What becomes of what no rule decides, between two zones."""

    source_zones: ZoneRefs = Field(alias="from")
    destination_zones: ZoneRefs = Field(alias="to")
    action: Literal["accept", "drop", "reject"]
    log: Boolean = False

    @model_validator(mode="after")
    def _says_what(self) -> Policy:
        _say_something(self, "source_zones", "destination_zones", otherwise="name the zones, or take the line out")
        return self


class Management(Model):
    """From where we reach the device. It comes before everything else."""

    source: Places = Field(alias="from")
    zones: ZoneRefs = (firewall.ANY,)
    services: Services = ("ssh",)

    @model_validator(mode="after")
    def _not_the_world(self) -> Management:
        _say_something(self, "source", otherwise="write the addresses that we come from")
        _say_something(self, "zones", "services", otherwise="leave it out for what is usual")
        for place in self.source:
            span = addresses.span(place) if not _NAME.fullmatch(place) or _looks_like_address(place) else None
            if place == firewall.ANY or (span and span.high - span.low >= addresses.MANY[span.version]):
                raise ValueError(f"{place} is half the world (write the addresses that we come from)")
        return self


class Packet(Model):
    """One packet."""

    id: RuleId
    probe: Annotated[str, BeforeValidator(_probe), WithJsonSchema(_PROBE)] = Field(alias="from")
    to: Place
    service: Service
    expect: Literal["open", "closed", "refused"]
    family: Literal["ipv4", "ipv6"] | None = None  # of a name
    send: Text | None = None  # for UDP: what is answered there
    why: Text | None = None


class Proofs(Model):
    packets: tuple[Packet, ...] = ()
    every: Seconds = 86400
    within: Seconds = 4  # until a packet without an answer counts as dropped

    @field_validator("within")
    @classmethod
    def _bounded(cls, value: int) -> int:
        if not SHORTEST <= value <= LONGEST:
            raise ValueError(f"is {value} s (write between {SHORTEST}s and {LONGEST}s)")
        return value

    @field_validator("packets")
    @classmethod
    def _few(cls, value: tuple[Packet, ...]) -> tuple[Packet, ...]:
        if len(value) > MOST_PACKETS:
            raise ValueError(
                f"are {len(value)} packets ({MOST_PACKETS} at most: this proves what is declared, it is no scan)"
            )
        return value


def _packets(value: Any) -> Any:
    """A list is short for `{packets: […]}`."""
    if not isinstance(value, list | tuple):
        return value
    made = Map()
    made["packets"] = value
    return made


def _own_address(value: Any) -> str:
    """An address of the device in the tunnel, with the network that it is in."""
    text = typed(value)
    try:
        found = ipaddress.ip_interface(text)
    except ValueError:
        found = None
    if found is None or found.network.prefixlen == found.max_prefixlen:
        raise ValueError(f"{shown(text)} is no address with its network (write 10.90.0.1/24)")
    return str(found)


def _peer(value: Any) -> str:
    text = typed(value)
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,39}", text):
        raise ValueError(f"{shown(text)} cannot be the id (lower-case letters, digits and . _ -, at most 40)")
    return text


def _site_network(value: Any) -> str:
    text = _place(value)
    if text == firewall.ANY or addresses.span(text) is None:
        raise ValueError(f"{shown(text)} is no network (write 10.40.0.0/24)")
    return text


PublicKey = Annotated[str, BeforeValidator(lambda value: vpn.fold_key(typed(value))), WithJsonSchema(_STRING)]
Endpoint = Annotated[
    str,
    BeforeValidator(lambda value: vpn.fold_endpoint(typed(value))),
    WithJsonSchema({"type": "string", "examples": ["vpn.example.com:51820"]}),
]
PeerId = Annotated[str, BeforeValidator(_peer), WithJsonSchema(_STRING)]
OwnAddress = Annotated[
    str, BeforeValidator(_own_address), WithJsonSchema({"type": "string", "examples": ["10.90.0.1/24"]})
]
OwnAddresses = Annotated[tuple[OwnAddress, ...], BeforeValidator(one_or_many)]
SiteNetwork = Annotated[
    str, BeforeValidator(_site_network), WithJsonSchema({"type": "string", "examples": ["10.40.0.0/24"]})
]
SiteNetworks = Annotated[tuple[SiteNetwork, ...], BeforeValidator(one_or_many)]


class Reach(Model):
    """What a user of the VPN gets to: a rule, from their address in the tunnel."""

    to: ZoneRefs
    destination: Places = (firewall.ANY,)
    services: Services
    log: Boolean = False
    schedule: Name | None = None

    @model_validator(mode="after")
    def _says_what(self) -> Reach:
        _say_something(self, "to", "destination", "services")
        return self


class VpnUser(Reasons):
    """Somebody who calls from anywhere."""

    id: PeerId
    name: Text | None = None
    key: PublicKey
    address: Ips  # in the tunnel; one of each family at most
    reach: tuple[Reach, ...] = ()
    until: Until | None = None
    mail: Address | None = None  # their mailbox: when they leave it, they leave the VPN


class VpnSite(Reasons):
    """Another place whose networks are reached through the tunnel. What goes through is said by rules."""

    id: PeerId
    name: Text | None = None
    key: PublicKey
    networks: SiteNetworks
    endpoint: Endpoint | None = None  # without one, it calls us
    keepalive: Seconds = 0
    preshared: SecretName | None = None  # in customers/<name>/secrets.yaml
    rev: Count = 1  # a new number writes it anew
    everything: Boolean = False  # networks hold 0.0.0.0/0 or ::/0, and that is meant


class Vpn(Model):
    """A WireGuard tunnel, and who may use it."""

    interface: Interface = "wg0"
    zone: OwnZone = "vpn"  # what comes out of the tunnel; rules speak of it like of any other
    port: Port = 51820  # UDP
    addresses: OwnAddresses
    private_key: SecretName  # in customers/<name>/secrets.yaml
    rev: Count = 1  # a new number writes it anew
    source: Places = Field((firewall.ANY,), alias="from")  # who may call
    zones: ZoneRefs = ()  # where they call; unless it is said, from outside
    users: tuple[VpnUser, ...] = ()
    sites: tuple[VpnSite, ...] = ()


class Shared(Model):
    """What several devices can have in common, and each can say for itself."""

    objects: dict[ObjectName, Places] = {}
    services: dict[ServiceName, Services] = {}
    schedules: dict[Name, Window] = {}
    management: Management | None = None
    before: tuple[Rule, ...] = ()  # of baselines: ahead of a customer's own rules
    rules: tuple[Rule, ...] = ()
    after: tuple[Rule, ...] = ()  # of baselines: behind them
    forwards: tuple[Forward, ...] = ()
    static_nat: tuple[StaticNat, ...] = ()
    raw: tuple[Raw, ...] = ()
    masquerade: tuple[Masquerade, ...] = ()
    policies: tuple[Policy, ...] = ()
    default: Default = Default()
    proofs: Annotated[Proofs, BeforeValidator(_packets)] = Proofs()


Zones = dict[OwnZone, Annotated[Zone, BeforeValidator(_interfaces)]]


class Device(Shared):
    """One firewall."""

    target: Name
    zones: Zones
    vpn: Vpn | None = None

    @model_validator(mode="after")
    def _tunnel_is_a_zone(self) -> Device:
        if self.vpn is not None:
            if self.vpn.zone in self.zones:
                text = f"zone {self.vpn.zone} is the VPN's own (call that one otherwise, in vpn: zone)"
                raise ValueError(text)
            self.zones[self.vpn.zone] = Zone(interfaces=(self.vpn.interface,))
        return self
