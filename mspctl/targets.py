"""Opens the reader or driver that serves a scope: one per target and facet, made when first needed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from mspctl import __version__, drivers
from mspctl.driver import Access, Driver, Logs, Reader, Releases
from mspctl.errors import TargetError
from mspctl.hand_over import HandOver, Passwords
from mspctl.kinds import mail_log
from mspctl.load import Estate
from mspctl.resource import Scope
from mspctl.vault import Store

_LOG = logging.getLogger(__name__)
T = TypeVar("T")


class Targets:
    """The targets of an estate."""

    def __init__(self, estate: Estate) -> None:
        self.estate = estate
        self.store = Store(estate.root)
        self._hand_over = HandOver(self.store)
        self._readers: dict[tuple[str, str], Reader] = {}
        self._drivers: dict[tuple[str, str], Driver] = {}
        self._lock = threading.Lock()

    def reader(self, scope: Scope) -> Reader:
        return self._open(scope, self._readers, drivers.reader)

    def driver(self, scope: Scope) -> Driver:
        return self._open(scope, self._drivers, drivers.driver)

    def logs(self, target: str) -> Logs:
        """What reads a mail server's logs. It cannot write."""
        scope = Scope(target, mail_log.FACET, "")
        return drivers.logs(self._driver_name(scope), self._access(scope))

    def releases(self, target: str) -> Releases:
        """What can also let messages go that are held."""
        scope = Scope(target, mail_log.FACET, "")
        return drivers.releases(self._driver_name(scope), self._access(scope))

    def _open(self, scope: Scope, kept: dict[tuple[str, str], T], make: Callable[[str, Access], T]) -> T:
        key = (scope.target, scope.facet)
        with self._lock:
            if key not in kept:
                _LOG.info("opening %s of target %s", scope.facet, scope.target)
                kept[key] = make(self._driver_name(scope), self._access(scope))
            return kept[key]

    def driven(self, scope: Scope) -> str:
        """How a scope's target is driven: when that changes, it may show the same otherwise."""
        access = self._access(scope)
        settings = access.settings.model_dump_json()
        return f"{__version__} {self._driver_name(scope)} {access.address} {settings}"

    def _driver_name(self, scope: Scope) -> str:
        target = self.estate.inventory.targets.get(scope.target)
        if target is None or scope.facet not in target.facets:
            raise TargetError(f"target {scope.target} with facet {scope.facet} is not in inventory/targets.yaml")
        return target.facets[scope.facet].driver

    def _access(self, scope: Scope) -> Access:
        target = self.estate.inventory.targets[scope.target]
        settings = self.estate.inventory.settings[scope.target, scope.facet]
        secrets = self.store.for_target(scope.target, target.secrets)
        passwords = Passwords(self.store, self._hand_over, scope.target)
        return Access(scope.target, target.address or "", settings, secrets, self.estate.root, passwords)
