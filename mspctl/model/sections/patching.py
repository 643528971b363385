"""
`patching.yaml`, mostly in a baseline: what is installed on hosts, when, and when they may reboot for it.

`policy` is for every host; `roles` and `hosts` say what is otherwise for some. Each key counts where it is said last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator

from mspctl.fields import Model, Name, Seconds, SectionModel, Text, Until, Window, typed
from mspctl.kinds import patching
from mspctl.model.base import nearest
from mspctl.model.policies import layers
from mspctl.model.sections import hosts
from mspctl.model.sections.hosts import Entry
from mspctl.strict_yaml import Problems, find

if TYPE_CHECKING:
    from mspctl.model.customer import Customer
    from mspctl.model.inventory import Inventory

SYSTEMS = ("debian-",)  # what the driver was tried on


def _package(value: Any) -> str:
    return patching.fold_package(typed(value))


Package = Annotated[str, BeforeValidator(_package)]


class Hold(Model):
    """A package that stays as it is."""

    LAPSES: ClassVar = True

    why: Text
    until: Until


class Policy(Model):
    what: Literal["security", "all"] | None = None
    window: Window | None = None  # in which updates are installed, on the customer's clock
    reboot: Literal["never", "if needed", "if needed and nobody is logged in"] | None = None
    holds: dict[Package, Hold] = {}


class Section(SectionModel):
    policy: Policy = Policy()
    roles: dict[Name, Policy] = {}  # by the role of hosts.yaml
    hosts: dict[Name, Policy] = {}


class Checks(Model):
    """`patching` in inventory/checks.yaml."""

    late: Seconds = 9 * 86400  # security updates that are pending for longer are told: a weekly window was missed
    index: Seconds = 3 * 86400  # if the archive was asked before that, nobody knows what is pending


@dataclass(frozen=True, slots=True)
class Settled:
    """What holds for one host."""

    what: str
    window: Window
    reboot: str
    holds: Mapping[str, Hold]


def settled(section: Section, name: str, entry: Entry) -> Settled | None:
    """None for a host that is not patched, or whose policy is not whole."""
    found = [policy for _, policy in layers(section, name, entry)]
    what = next((each.what for each in found if each.what), None)
    window = next((each.window for each in found if each.window), None)
    reboot = next((each.reboot for each in found if each.reboot), "never")
    holds = {name: hold for each in reversed(found) for name, hold in each.holds.items()}
    return Settled(what, window, reboot, holds) if what and window else None


def covered(customer: Customer) -> frozenset[str]:
    """Hosts that are patched; a policy for all is none for a host that nobody drives."""
    section = customer.sections.get("patching")
    if not isinstance(section, Section):
        return frozenset()
    driven = {name: entry for name, entry in hosts.entries(customer).items() if entry.target and entry.address}
    return frozenset(name for name, entry in driven.items() if settled(section, name, entry))


def check(customers: Sequence[Customer], inventory: Inventory, problems: Problems) -> None:
    """Hosts are the customer's; each policy that counts says what, and when."""
    for customer in customers:
        section = customer.sections.get("patching")
        if isinstance(section, Section):
            _check(customer, section, problems)


def _check(customer: Customer, section: Section, problems: Problems) -> None:
    data, known = customer.data["patching"], hosts.entries(customer)
    for name in section.hosts.keys() - known.keys():
        mark = find(data, ("hosts", name))
        text = f"there is no host {name} in hosts.yaml{nearest(name, known)}"
        problems.add(mark, f"hosts.{name}", text, at_value=False)
    for name, entry in known.items():
        found = [policy for _, policy in layers(section, name, entry)]
        whats, windows = [p.what for p in found if p.what], [p.window for p in found if p.window]
        if whats and not windows:
            path = next(path for path, policy in layers(section, name, entry) if policy.what)
            text = "has no window (write when updates are installed: sun 02:00-05:00)"
            problems.add(find(data, (*path, "what")), ".".join(path), text, at_value=False)
        elif whats and entry.target and not (entry.os or "").startswith(SYSTEMS):
            text = f"{entry.os or 'a system of which nothing is said'} is not patched so far, only Debian is"
            remedy = "write os: debian-12, or leave target out and waive patching"
            problems.add(hosts.place(customer, name, "os"), f"hosts.{name}.os", f"{text} ({remedy})")
