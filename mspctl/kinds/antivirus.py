"""
How a host is guarded against malware, as kinds of resources in its scope `…/antivirus`.

* `antivirus.engine` "clamav": which folders are looked at whenever a file in them is opened (`on_access`; none: off),
  and whether the open is refused meanwhile (`prevent`); what nobody looks at (`exclude`); what becomes of a find
  (`action`, "report" or "quarantine"); how large a thing is looked into (`max_file` and `max_scan` in MiB, `depth` of
  archives); where signatures come from (`mirror`, "" for those of ClamAV itself; whether its `official` ones, and
  which files besides, `own`) and how often (`every`, seconds); and whom a find is told at once (`alert`, a URL, or "").
* `antivirus.agent` "eset": a product of somebody else, as far as it can be seen from outside: its `packages` are
  installed, and its `services` run.
* `antivirus.assignment` "srv-1", in a scope of a vendor's console: the `policy` of the vendor that an endpoint has.
* `antivirus.scan` "weekly": `paths` that are gone through at a `schedule` ("sun 03:00") of a `timezone`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from mspctl.kinds import NOTHING_AMISS, hosts, shown, spoken_duration
from mspctl.kinds.patching import fold_package
from mspctl.resource import Fields, Id, Resource, Value

SECTION = "antivirus"
FACET = "antivirus"  # of a vendor's console; hosts have theirs
ASSIGNMENT = "antivirus.assignment"
ENGINE, AGENT, SCAN = "antivirus.engine", "antivirus.agent", "antivirus.scan"
PRODUCTS = frozenset({ENGINE, AGENT})  # kinds that guard; a scan alone does not
CLAMAV = Id(ENGINE, "clamav")
TRIED = "/var/lib/mspctl-tried"  # where another product has to catch malware that ours does not look at
ACTIONS = ("report", "quarantine")

FIELDS: Mapping[str, Mapping[str, type]] = {
    ENGINE: {
        **dict.fromkeys(("on_access", "exclude", "own", "amiss?"), frozenset),
        **dict.fromkeys(("action", "mirror", "alert"), str),
        **dict.fromkeys(("max_file", "max_scan", "depth", "every"), int),
        **dict.fromkeys(("prevent", "official"), bool),
    },
    AGENT: {"packages": frozenset, "services": frozenset, "amiss?": frozenset},
    ASSIGNMENT: {"policy": str},
    SCAN: {"paths": frozenset, "schedule": str, "timezone": str, "amiss?": frozenset},
}

_PATH = re.compile(r"(?:/[\w.@+,:=~-]+)+/?|/")
_URL = re.compile(r"https?://[a-z0-9.-]+(?::\d{1,5})?(?:/[A-Za-z0-9._~/-]*)?")
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.@-]{0,100}\.service")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.[a-z]{2,5}")


def fold_path(text: str) -> str:
    """An absolute path, as configuration files can hold one. Raises ValueError."""
    if not _PATH.fullmatch(text) or "/../" in f"{text}/" or "/./" in f"{text}/":
        raise ValueError(f"{shown(text)} is not a path that can be named (write /srv/db: absolute, without blanks)")
    return text.rstrip("/") or "/"


def fold_url(text: str) -> str:
    """Where signatures come from or finds are told. Raises ValueError, which does not repeat it."""
    if not _URL.fullmatch(text):
        raise ValueError("is no address (write https://av.msp.example; no log-in can stand in it)")
    return text.rstrip("/")


def fold_file(text: str) -> str:
    """The name of a file of signatures. Raises ValueError."""
    if not _FILE.fullmatch(text):
        raise ValueError(f"{shown(text)} is no file of signatures (write msp.ndb)")
    return text


def fold_service(text: str) -> str:
    """The name of a service of systemd. Raises ValueError."""
    if not _SERVICE.fullmatch(text):
        raise ValueError(f"{shown(text)} is not the name of a service (write efs.service)")
    return text


def engine(fields: Fields, source: str = "") -> Resource:
    return Resource(CLAMAV, {**fields, **NOTHING_AMISS}, source)


def worded(name: str, value: Value) -> str | None:
    if name in ("max_file", "max_scan"):
        return f"{name} {value} MiB"
    if name == "every" and isinstance(value, int):
        return f"every {spoken_duration(value)}"
    return "" if name == "official" and value is True else hosts.worded(name, value)


def agent(name: str, packages: Iterable[str], services: Iterable[str], source: str = "") -> Resource:
    fields: dict[str, Value] = {"packages": frozenset(packages), "services": frozenset(services)}
    return Resource(Id(AGENT, name), {**fields, **NOTHING_AMISS}, source)


def assignment(host: str, policy: str, source: str = "") -> Resource:
    return Resource(Id(ASSIGNMENT, host), {"policy": policy}, source)


def scan(name: str, fields: Fields, source: str = "") -> Resource:
    return Resource(Id(SCAN, name), {**fields, **NOTHING_AMISS}, source)


# -- as programs may spell it -----------------------------------------------------------------------------------------


def _not_all(text: str) -> str:
    if (path := fold_path(text)) == "/":
        raise ValueError("is everything (name folders, such as /srv and /home)")
    return path


_FOLDS = {
    **dict.fromkeys(("on_access", "exclude"), _not_all),
    "paths": fold_path,
    "own": fold_file,
    **dict.fromkeys(("mirror", "alert"), hosts.maybe(fold_url)),
    "action": hosts.one_of(ACTIONS),
    "packages": fold_package,
    "services": fold_service,
}
_NUMBERS = {**dict.fromkeys(("max_file", "max_scan"), (1, 2**31 - 1)), "depth": (1, 9999), "every": (1800, 30 * 86400)}


def normal(id_: Id, field: str, value: Value, scope: str) -> Value | None:
    """As programs may spell it. Raises ValueError."""
    if field == "":
        return hosts.one_of([CLAMAV.name])(id_.name) if id_.kind == ENGINE else hosts.fold_name(id_.name)
    if field in _NUMBERS:
        return hosts.between(*_NUMBERS[field], value)
    return hosts.folded(_FOLDS.get(field), value)
