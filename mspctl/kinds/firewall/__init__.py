"""
A firewall's policy, as kinds of resources in the scope of one device.

* `firewall.zone` "lan": `interfaces`, and whether everybody else is `outside` there.
* `firewall.rule` "browse": `from` and `to` (zones; `any`, and `self` for the device), `source` and `destination`
  (`addresses.py`), `services` (`services.py`), `action` (accept, drop, reject), `log`, `until` and `hours`.
* `firewall.forward` "nvr": what comes to the device from `zone` for one of the services `listen` goes to the host `to`,
  there to `port` (0: to the same); `source`, `log`, `until`, `hours` as in a rule.
* `firewall.nat` "mail": one host's two addresses, `inside` and, in `zone`, `outside`.
* `firewall.masquerade` "lan > wan": who of `source` goes from the one to the other has the device's address there.
* `firewall.policy` "lan > wan": `action` and `log` where no rule decides.
* `firewall.default` "default": `action` (drop or reject) and `log` of what nothing else decides; and `amiss`, sentences
  why all of this is not there after the device's next start. Git always says that there are none.
* `firewall.name` "updates.vendor.example.": a name of the DNS that something speaks of. It has no fields; its
  addresses, as the device sees them, are an output of the scope. Rules hold the addresses.
* `firewall.raw` "slow-syn": a rule in the device's own language, as `text`, in one of its chains: `chain` is input,
  forward, output, prerouting or postrouting. Nobody here understands what it does.
* `firewall.order` "rules": `rules`, the names of rules and raw rules from first to last; a move is a change of it.

What answers to something that was let through is let through, and so is what the device itself sends. First come
forwards, then rules in their order, then policies, then the default.

What is measured of a device (`DEVICE`), where it can be: `release` ("debian 12"), `support` (until when), the version
of what filters that is `installed` and the `newest` known, `pending` updates and `security` ones of them, when its
archive was `asked`, `reboot` (1: it waits for one), `saved` (1: the next start loads what is loaded), when it was
`booted`, and when its rules were `loaded`. Of a rule, forward, policy or default: `packets` since both of the latter.

`until` is a moment in UTC ("2027-03-12 17:00"), or "" for what has no end. `hours` are those of the week in UTC ("mon
05:30-16:30"); none means always. Devices know no time zones, so a schedule comes to other hours when clocks are set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mspctl.resource import Id, Resource, Scope, Value

FACET = "firewall"
ZONE, RULE, FORWARD, NAT = "firewall.zone", "firewall.rule", "firewall.forward", "firewall.nat"
MASQUERADE, POLICY, NAME = "firewall.masquerade", "firewall.policy", "firewall.name"
RAW = "firewall.raw"
CHAINS = ("input", "forward", "output", "prerouting", "postrouting")  # in which a raw rule can stand
ORDERED = ("input", "forward")  # chains in which a raw rule stands among rules; in others it comes first
ORDER, DEFAULT = Id("firewall.order", "rules"), Id("firewall.default", "default")
DEVICE = Id("firewall.device", "device")  # nobody declares it; what is measured of it is
RELEASE, SUPPORT, INSTALLED, NEWEST, PENDING = "release", "support", "installed", "newest", "pending"
SECURITY, ASKED, REBOOT, SAVED, BOOTED, LOADED = "security", "asked", "reboot", "saved", "booted", "loaded"
PACKETS = "packets"
ANY, SELF = "any", "self"
MANAGEMENT = "management"  # the rule that lets us in; it is always the first
BY_HAND = "changed by hand"  # in place of what is not understood
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_LIMITS: Mapping[str, type] = {"log": bool, "until": str, "hours": frozenset}
_DECIDES: Mapping[str, type] = {"action": str, "log": bool}
FIELDS: Mapping[str, Mapping[str, type]] = {
    ZONE: {"interfaces": frozenset, "outside": bool},
    RULE: {
        **dict.fromkeys(("from", "to", "source", "destination", "services"), frozenset),
        "action": str,
        **_LIMITS,
    },
    FORWARD: {"zone": str, "listen": frozenset, "to": str, "port": int, "source": frozenset, **_LIMITS},
    NAT: {"zone": str, "outside": str, "inside": str},
    MASQUERADE: {"source": frozenset},
    POLICY: _DECIDES,
    DEFAULT.kind: {**_DECIDES, "amiss?": frozenset},
    NAME: {},
    RAW: {"chain": str, "text": str},
    ORDER.kind: {"rules": tuple},
}


@dataclass(frozen=True, slots=True)
class ArchiveQuestion:
    """When the configuration of a device was archived last."""

    scope: Scope


def pair(source: str, destination: str) -> str:
    """The name of what is said of two zones."""
    return f"{source} > {destination}"


def zones_of(name: str) -> tuple[str, str]:
    source, _, destination = name.partition(" > ")
    return source, destination


def order(names: Iterable[str], source: str = "") -> Resource:
    return Resource(ORDER, {"rules": tuple(names)}, source)


def texts(resource: Resource, name: str) -> frozenset[str]:
    """A field that is a set; empty where it is not there."""
    value = resource.fields.get(name)
    return value if isinstance(value, frozenset) else frozenset()


def text(resource: Resource, name: str) -> str:
    value = resource.fields.get(name)
    return value if isinstance(value, str) else ""


def rules(resources: Sequence[Resource]) -> list[Resource]:
    """Rules and raw rules in their order; those that it does not name come last."""
    by_name = {r.id.name: r for r in resources if r.id.kind in (RULE, RAW)}
    said = next((r.fields["rules"] for r in resources if r.id == ORDER), ())
    first = [by_name.pop(name) for name in said if name in by_name] if isinstance(said, tuple) else []
    return [*first, *by_name.values()]


def fields(**said: Value) -> dict[str, Value]:
    """Fields by name; a trailing _ is there for words of Python's."""
    return {name.rstrip("_"): value for name, value in said.items()}
