"""
Mailboxes, aliases and mail domains on a Modoboa, through its API (tried with 2.12).

Each call is one transaction of Modoboa; a domain's changes are several. So all that is touched is read again just
before, and whatever takes longer is looked at once more before its own call. Modoboa counts calls; ours keep its pace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mspctl.driver import (
    Access,
    Failed,
    Gauge,
    Known,
    Landed,
    Measured,
    Reading,
    Traits,
    Work,
    translated,
)
from mspctl.drivers.modoboa import native
from mspctl.drivers.modoboa.api import Api, making_sense
from mspctl.drivers.modoboa.native import Rows
from mspctl.drivers.modoboa.writer import Writer
from mspctl.errors import TargetError, Unreachable
from mspctl.fields import Boolean, Count
from mspctl.kinds import mail
from mspctl.resource import Resource, Scope
from mspctl.transports import http
from mspctl.transports.http import Http
from mspctl.transports.pace import Limit, Pace

Use = Mapping[str, Mapping[str, Measured]]  # by what stands before the @, and by what is measured


class Settings(http.Settings):
    """How Modoboa was set up, and how fast it may be asked."""

    writes_per_second: Count = 5  # as in its settings: ddos
    reads_per_minute: Count = 200  # ddos_lesser
    calls_per_minute: Count = 300  # user
    page_size: Count = 200  # rows in one answer
    domain_limits: Boolean = False  # as in its parameters: whether it counts what a domain may have
    keep_files: Boolean = True  # of a mailbox that is deleted
    last_logins: Boolean = False  # whether Dovecot writes them down, as the installer's post-login script does

    @property
    def pace(self) -> Pace:
        writes, reads = Limit(self.writes_per_second, 1, writes=True), Limit(self.reads_per_minute, 60, writes=False)
        return Pace(writes, reads, Limit(self.calls_per_minute, 60))


class Reader:
    traits = Traits(cas="reread", holds_data=frozenset({mail.MAILBOX}))

    def __init__(self, access: Access) -> None:
        self.access = access
        self.settings: Settings = access.settings
        connection = Http(access.address, self._headers, self.settings, access.root, pace=self.settings.pace)
        self.api = Api(connection, self.settings.page_size)
        self._use: dict[str, Use] = {}  # by domain

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Token {self.access.secrets['token'].reveal_text()}"}

    def accept(self, resource: Resource) -> Resource:
        return native.accepted(resource, counted=self.settings.domain_limits)

    def read(self, scopes: Sequence[Scope], known: Known) -> Iterator[Reading | Failed]:
        if not scopes:
            return
        found = self.api.load([scope.name for scope in scopes])
        for scope in scopes:
            try:
                with translated(), making_sense(scope.name):
                    rows = native.check(found[scope.name])
                    held = [*native.resources(rows, counted=self.settings.domain_limits)]
                    self._use[scope.name] = _use(rows)
                    reading = Reading(scope, held, exists=rows.domain is not None)
            except TargetError as error:
                yield Failed(scope, error)
            else:
                yield reading

    def measure(self, gauges: Sequence[Gauge]) -> Mapping[Gauge, Measured]:
        """
        Of mailboxes: `octets`, in whole percent of their quota, `quota`, and `last_login` where it is written down.

        What was read before by this reader is not asked again.
        """
        asked = {mail.OCTETS, mail.QUOTA} | ({mail.LAST_LOGIN} if self.settings.last_logins else set())
        mine = [gauge for gauge in gauges if gauge.id.kind == mail.MAILBOX and gauge.what in asked]
        names = {gauge.scope.name for gauge in mine} - self._use.keys()
        if names:
            with making_sense("its accounts"):
                self._use |= {rows.name: _use(rows) for rows in self.api.load(sorted(names)).values()}
        found = {gauge: self._use[gauge.scope.name].get(gauge.id.name, {}) for gauge in mine}
        return {gauge: use[gauge.what] for gauge, use in found.items() if use}

    def scopes(self) -> Sequence[str]:
        """Mail domains; not those that only stand for another one, nor those that are passed on."""
        return self.api.names()


def _use(rows: Rows) -> Use:
    """Of a domain that could not be read whole, nothing is known."""
    return {} if rows.problem else {local: native.use(row) for local, row in rows.accounts.items()}


class Driver(Reader):
    def apply(self, work: Sequence[Work]) -> Iterator[Landed | Failed]:
        """
        Domain by domain; what sends mail to an address that another one will have waits until that one has it.

        A domain that waits is gone through again, and in the end all the same: then Modoboa says what is missing.
        """
        left = [Writer(self.api, self.settings, self.access.passwords, item) for item in work]
        last = False
        while left:
            before = sum(len(writer.todo) for writer in left)
            for writer in left:
                awaited = {address for other in left if other is not writer for address in other.promised()}
                try:
                    with translated():
                        writer.go_on(awaited, last=last)
                except Unreachable:
                    yield from (landed for each in left if not each.is_told for landed in each.landed())
                    raise
                except TargetError as error:
                    writer.error = error
                if writer.is_finished:
                    writer.is_told = True
                    yield from writer.landed()
                    if writer.error:
                        yield Failed(writer.work.scope, writer.error)
            left = [writer for writer in left if not writer.is_finished]
            last = before == sum(len(writer.todo) for writer in left)
