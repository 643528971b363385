"""
One file per kind of facet; the file's name is the driver's name in inventory/targets.yaml.

The set is closed: the files here, and installed packages under the entry-point group `mspctl.drivers`. YAML never
names code, so a pull request cannot choose what is imported.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from types import ModuleType

from mspctl.driver import Access, Driver, Logs, Reader, Releases

GROUP = "mspctl.drivers"


@cache
def names() -> tuple[str, ...]:
    return tuple(sorted({*(m.name for m in pkgutil.iter_modules(__path__)), *_installed()}))


@cache
def _installed() -> dict[str, str]:
    from importlib.metadata import entry_points

    return {point.name: point.value for point in entry_points(group=GROUP)}


@cache
def module(name: str) -> ModuleType:
    """The driver's module. Raises KeyError for a name that is not in the set."""
    if any(m.name == name for m in pkgutil.iter_modules(__path__)):
        return import_module(f"{__name__}.{name}")
    return import_module(_installed()[name])


def reader(name: str, access: Access) -> Reader:
    """What plan and drift hold: it has no way to write."""
    made: Reader = module(name).Reader(access)
    return made


def driver(name: str, access: Access) -> Driver:
    made: Driver = module(name).Driver(access)
    return made


def reads_logs(name: str) -> bool:
    """Whether a driver is for a mail server's logs: it holds no resources, and no plan knows it."""
    return issubclass(module(name).Reader, Logs)


def logs(name: str, access: Access) -> Logs:
    made: Logs = module(name).Reader(access)
    return made


def releases(name: str, access: Access) -> Releases:
    made: Releases = module(name).Driver(access)
    return made
