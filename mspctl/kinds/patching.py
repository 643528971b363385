"""
How a host is kept up to date, as three kinds of resources in its scope `…/patching`.

* `patching.policy` "policy": `what` is installed ("security" or "all"), and when the machine may `reboot` for it:
  "never", "if needed", or "if needed and nobody is logged in".
* `patching.window` "window": when that is, `hours` ("sun 02:00-05:00") of a `timezone`.
* `patching.hold` "postgresql-15": a package that stays at the version it has. `held` says so, and is always true.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from mspctl.kinds import NOTHING_AMISS, hosts, shown
from mspctl.resource import Id, Resource, Value

SECTION = "patching"
POLICY, WINDOW, HOLD = "patching.policy", "patching.window", "patching.hold"
POLICY_ID, WINDOW_ID = Id(POLICY, "policy"), Id(WINDOW, "window")
FIELDS: Mapping[str, Mapping[str, type]] = {
    POLICY: {"what": str, "reboot": str, "amiss?": frozenset},
    WINDOW: {"hours": str, "timezone": str, "amiss?": frozenset},
    HOLD: {"held": bool},
}
WHAT = ("security", "all")
REBOOT = ("never", "if needed", "if needed and nobody is logged in")

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")  # Debian policy 5.6.1


def fold_package(text: str) -> str:
    """A package's name. Raises ValueError."""
    if not _PACKAGE.fullmatch(text) or len(text) > 100:
        raise ValueError(f"{shown(text)} is not the name of a package (write postgresql-15)")
    return text


def policy(what: str, reboot: str, source: str = "") -> Resource:
    fields: dict[str, Value] = {"what": what, "reboot": reboot}
    return Resource(POLICY_ID, fields | NOTHING_AMISS, source)


def window(hours: str, timezone: str, source: str = "") -> Resource:
    fields: dict[str, Value] = {"hours": hours, "timezone": timezone}
    return Resource(WINDOW_ID, fields | NOTHING_AMISS, source)


def hold(package: str, source: str = "") -> Resource:
    return Resource(Id(HOLD, package), {"held": True}, source)


worded = hosts.worded
_ONE = {POLICY: POLICY_ID.name, WINDOW: WINDOW_ID.name}
_FOLDS = {"what": hosts.one_of(WHAT), "reboot": hosts.one_of(REBOOT)}


def normal(id_: Id, field: str, value: Value, scope: str) -> Value | None:
    """As programs may spell it. Raises ValueError."""
    if field == "":
        return hosts.one_of([_ONE[id_.kind]])(id_.name) if id_.kind in _ONE else fold_package(id_.name)
    if field == "held" and value is not True:
        raise ValueError("is true, or the package is not named")
    return hosts.folded(_FOLDS.get(field), value)
