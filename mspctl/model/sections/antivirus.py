"""
`antivirus.yaml`, mostly in a baseline: which product guards hosts, what it looks at, and what becomes of finds.

`policy` is for every host; `roles` and `hosts` say what is otherwise for some. Each key counts where it is said last,
and exclusions add up. A host for which no product is said has no antivirus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, WithJsonSchema, model_validator

from mspctl import moments
from mspctl.fields import (
    Boolean,
    Count,
    Model,
    Name,
    Seconds,
    SectionModel,
    Size,
    Text,
    Until,
    duration,
    one_or_many,
    typed,
)
from mspctl.kinds import antivirus
from mspctl.model.base import nearest
from mspctl.model.policies import layers
from mspctl.model.sections import hosts
from mspctl.model.sections.hosts import Entry
from mspctl.strict_yaml import Mark, Problems, find

if TYPE_CHECKING:
    from mspctl.model.customer import Customer
    from mspctl.model.inventory import Inventory

SYSTEMS = ("debian-",)  # what the driver was tried on
CLAMAV = "clamav"
OFTEN = 1800  # seconds; who asks a mirror more often is turned away
EVERYTHING = "/"


def _path(value: Any) -> str:
    return antivirus.fold_path(typed(value))


def _url(value: Any) -> str:
    return antivirus.fold_url(typed(value))


def _file(value: Any) -> str:
    return antivirus.fold_file(typed(value))


def _schedule(value: Any) -> str:
    text = typed(value)
    moments.times(text)
    return text


def _every(value: Any) -> int:
    seconds = duration(value)
    if not OFTEN <= seconds <= 30 * 86400:
        raise ValueError("is from 30m to 30d (mirrors turn away who asks more often)")
    return seconds


_TEXT = {"type": "string"}
Path = Annotated[str, BeforeValidator(_path), WithJsonSchema(_TEXT | {"examples": ["/srv"]})]
Paths = Annotated[tuple[Path, ...], BeforeValidator(one_or_many)]
Url = Annotated[str, BeforeValidator(_url), WithJsonSchema(_TEXT | {"examples": ["https://av.msp.example"]})]
Files = Annotated[
    tuple[Annotated[str, BeforeValidator(_file), WithJsonSchema(_TEXT | {"examples": ["msp.ndb"]})], ...],
    BeforeValidator(one_or_many),
]
Schedule = Annotated[str, BeforeValidator(_schedule), WithJsonSchema(_TEXT | {"examples": ["sun 03:00", "02:30"]})]
Every = Annotated[
    int, BeforeValidator(_every), WithJsonSchema({"type": ["integer", "string"], "examples": ["4h", "30m"]})
]


class Exclusion(Model):
    """A file or folder that nobody looks at."""

    LAPSES: ClassVar = True

    why: Text
    until: Until


class Limits(Model):
    """What is looked into; larger things pass."""

    file: Size | None = None
    scan: Size | None = None  # of what unpacks from one file
    depth: Count | None = None  # of archives in archives


class Updates(Model):
    """Where signatures come from."""

    mirror: Url | None = None  # of the MSP; by default ClamAV's own servers
    official: Boolean = True  # ClamAV's own signatures
    own: Files = ()  # further files of the mirror
    every: Every = 4 * 3600

    @model_validator(mode="after")
    def _some(self) -> Updates:
        if self.own and not self.mirror:
            raise ValueError("has signatures of its own, and no mirror that has them (write mirror: https://…)")
        if not (self.own or self.official):
            raise ValueError("brings no signatures (name own ones, or leave official out)")
        return self


class Assign(Model):
    """A policy of a vendor's console; it is made there."""

    target: Name  # one with the facet `antivirus`
    policy: Text


class Policy(Model):
    product: Name | None = None  # clamav, or one of inventory/antivirus.yaml
    on_access: Paths | None = None  # folders that are looked at whenever something in them is opened; []: off
    prevent: Boolean | None = None  # the open is refused until it was looked at
    action: Literal["report", "quarantine"] | None = None
    exclude: dict[Path, Exclusion] = {}
    limits: Limits | None = None
    updates: Updates | None = None
    signatures: Seconds | None = None  # how old they may be
    alert: Url | None = None  # is told each find at once
    assign: Assign | None = None  # where the product has a console


class Scan(Model):
    """For one host, for those of a role, or for all."""

    host: Name | None = None
    role: Name | None = None
    paths: Paths
    schedule: Schedule

    @model_validator(mode="after")
    def _whole(self) -> Scan:
        if self.host and self.role:
            raise ValueError("is for a host or for a role, not both (leave both out for all hosts)")
        if not self.paths:
            raise ValueError("has no paths")
        return self


class Proof(Model):
    """That malware is caught on each host, tried with EICAR's test file."""

    every: Seconds = 7 * 86400
    within: Seconds = 60  # until it has to be caught


class Section(SectionModel):
    policy: Policy = Policy()
    roles: dict[Name, Policy] = {}  # by the role of hosts.yaml
    hosts: dict[Name, Policy] = {}
    scans: dict[Name, Scan] = {}
    proof: Proof | None = None


class Checks(Model):
    """`antivirus` in inventory/checks.yaml."""

    found: Seconds = 7 * 86400  # what was found within this is told
    licence: Seconds = 60 * 86400  # licences that end within this are told


@dataclass(frozen=True, slots=True)
class Settled:
    """What holds for one host."""

    product: str
    on_access: tuple[str, ...]
    prevent: bool
    action: str
    exclude: Mapping[str, Exclusion]
    limits: Limits
    updates: Updates
    signatures: int
    alert: str
    assign: Assign | None


def settled(section: Section, name: str, entry: Entry) -> Settled | None:
    """None for a host without a product."""
    found = [policy for _, policy in layers(section, name, entry)]

    def said(key: str, otherwise: Any) -> Any:
        return next((v for each in found if (v := getattr(each, key)) is not None), otherwise)

    return (
        Settled(
            product,
            said("on_access", ()),
            said("prevent", True),
            said("action", "quarantine"),
            {path: each for policy in reversed(found) for path, each in policy.exclude.items()},
            said("limits", Limits()),
            said("updates", Updates()),
            said("signatures", 2 * 86400),
            said("alert", ""),
            said("assign", None),
        )
        if (product := said("product", None))
        else None
    )


def scans_of(section: Section, name: str, entry: Entry) -> Iterator[tuple[str, Scan]]:
    """What one host goes through by itself."""
    for key, scan in section.scans.items():
        if scan.host == name or (scan.role and scan.role == entry.role) or not (scan.host or scan.role):
            yield key, scan


def covered(customer: Customer) -> frozenset[str]:
    """Hosts that have an antivirus; a policy for all is none for a host that nobody drives, nor a console has."""
    section = customer.sections.get("antivirus")
    if not isinstance(section, Section):
        return frozenset()
    found = ((name, entry, settled(section, name, entry)) for name, entry in hosts.entries(customer).items())
    return frozenset(n for n, entry, it in found if it and (it.assign or (entry.target and entry.address)))


# -- rules across files -----------------------------------------------------------------------------------------


def check(customers: Sequence[Customer], inventory: Inventory, problems: Problems) -> None:
    """Hosts and products are there; nobody leaves everything out."""
    for customer in customers:
        section = customer.sections.get("antivirus")
        if isinstance(section, Section):
            _check(customer, section, inventory, problems)


def _check(customer: Customer, section: Section, inventory: Inventory, problems: Problems) -> None:
    data, known = customer.data["antivirus"], hosts.entries(customer)

    def add(path: tuple[str, ...], text: str, *, at_value: bool = True) -> None:
        problems.add(find(data, path), ".".join(path), text, at_value=at_value)

    for name in section.hosts.keys() - known.keys():
        add(("hosts", name), f"there is no host {name} in hosts.yaml{nearest(name, known)}", at_value=False)
    for key, scan in section.scans.items():
        if scan.host and scan.host not in known:
            add(("scans", key, "host"), f"there is no host {scan.host} in hosts.yaml{nearest(scan.host, known)}")
    for path, policy in _policies(section):
        _check_policy(path, policy, inventory, add, lambda path: find(data, path), problems)
    for name, entry in known.items():
        if entry.target and (own := settled(section, name, entry)):
            _check_host(customer, name, entry, own, inventory, problems)


def _check_host(
    customer: Customer, name: str, entry: Entry, policy: Settled, inventory: Inventory, problems: Problems
) -> None:
    """One that is driven: something can be installed there."""
    path = f"hosts.{name}"
    sold = inventory.products.get(policy.product)
    if sold and not sold.packages and policy.product != CLAMAV:
        text = f"{policy.product} has no packages in inventory/antivirus.yaml, so nobody can install it"
        problems.add(hosts.place(customer, name), path, f"{text} (leave target out)", at_value=False)
    if not (entry.os or "").startswith(SYSTEMS):
        text = f"{entry.os or 'a system of which nothing is said'} is not guarded so far, only Debian is"
        remedy = "write os: debian-12, or leave target out and waive antivirus"
        problems.add(hosts.place(customer, name, "os"), f"{path}.os", f"{text} ({remedy})")


def _policies(section: Section) -> Iterator[tuple[tuple[str, ...], Policy]]:
    yield ("policy",), section.policy
    yield from ((("roles", name), policy) for name, policy in section.roles.items())
    yield from ((("hosts", name), policy) for name, policy in section.hosts.items())


def _check_policy(
    path: tuple[str, ...],
    policy: Policy,
    inventory: Inventory,
    add: Callable[[tuple[str, ...], str], None],
    place: Callable[[tuple[str, ...]], Mark | None],
    problems: Problems,
) -> None:
    product = policy.product
    if product and inventory.whole and product not in (CLAMAV, *inventory.products):
        near = nearest(product, [CLAMAV, *inventory.products])
        add((*path, "product"), f"{product} is not in inventory/antivirus.yaml{near}")
    if policy.assign:
        where = (*path, "assign", "target")
        inventory.check_target(policy.assign.target, antivirus.FACET, place(where), ".".join(where), problems)
    if EVERYTHING in policy.exclude:
        add((*path, "exclude", EVERYTHING), "leaves everything out (take the product away, and waive antivirus)")
    for each in policy.on_access or ():
        if each == EVERYTHING:
            text = "cannot be looked at on access: name folders, such as /srv and /home"
            add((*path, "on_access"), text)
