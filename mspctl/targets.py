"""Opens the reader or driver that serves a scope: one per target and facet, made when first needed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from mspctl import __version__, drivers
from mspctl.driver import Access, Driver, Logs, Reader, Releases
from mspctl.errors import TargetError
from mspctl.hand_over import HandOver, Passwords
from mspctl.kinds import mail_log
from mspctl.kinds.hosts import FACET, Host
from mspctl.load import Estate
from mspctl.model.sections.hosts import reached
from mspctl.resource import Scope
from mspctl.secrets import Secrets
from mspctl.vault import Store

if TYPE_CHECKING:
    from mspctl.transports.dns_questions import Asking

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

    def gauged(self, scope: Scope) -> object:
        """What measures how that is used which lives in a scope, if it can."""
        return self.logs(scope.target) if scope.facet == mail_log.FACET else self.reader(scope)

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

    @cached_property
    def asking(self) -> Asking:
        """Where the DNS is asked, as inventory/checks.yaml says."""
        from mspctl.model.sections.dns import Checks
        from mspctl.transports.dns_questions import Address, Asking

        said = self.estate.inventory.checks.get("dns")
        own = said if isinstance(said, Checks) else Checks()
        return Asking(
            tuple(Address(*each) for each in own.resolvers),
            own.roots,
            own.port,
            own.inside,
            own.timeout,
            own.zone_timeout,
            own.settle,
            own.at_once,
        )

    def secrets_at(self, target: str) -> Secrets:
        """The secrets of a target, by role."""
        info = self.estate.inventory.targets[target]
        return self.store.for_target(target, info.secrets, self.estate.inventory.addresses(target))

    def secrets_of(self, customer: str, names: Mapping[str, str]) -> Secrets:
        """Secrets of a customer, named as its YAML does: role → NAME."""
        return self.store.for_customer(customer, names)

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
        secrets = self.secrets_at(scope.target)
        passwords = Passwords(self.store, self._hand_over, scope.target)
        hosts = self._hosts(scope.target) if scope.facet == FACET else {}
        return Access(scope.target, target.address or "", settings, secrets, self.estate.root, passwords, hosts)

    def _hosts(self, target: str) -> dict[str, Host]:
        found = (reached(c, lambda entry: entry.target == target) for c in self.estate.everyone.values())
        return {host.full: host for hosts in found for host in hosts}
