"""
What `inventory collect` found, held against what hosts.yaml says: serials, systems, software, who is missing, who is
nobody's. As old as the last run of it; that it is too old is a finding too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from fnmatch import fnmatchcase

from mspctl.checks import Facts
from mspctl.errors import InputError
from mspctl.finding import Finding, Severity
from mspctl.kinds.hosts import FACET
from mspctl.model.assets import NEVER, AssetsFile, Device, Machine
from mspctl.model.sections.hosts import Checks, Entry, Rule, entries, place, software
from mspctl.resource import Scope
from mspctl.strict_yaml import find

CODES = {
    "hosts.collected": "what hosts are made of, and what is installed, was not read for long",
    "hosts.missing": "a host answers no more",
    "hosts.unknown": "a device is on a network of the customer, and nobody's host",
    "hosts.serial": "a host has another serial number than hosts.yaml says",
    "hosts.os": "a host has another operating system than hosts.yaml says",
    "hosts.software": "something is installed that is not allowed",
}
REMEDY = "mspctl inventory collect {customer}, and commit what it writes"


def findings(facts: Facts, settings: Checks, collected: AssetsFile | InputError | None) -> Iterator[Finding]:
    """Of a customer; None: nothing was ever collected, which matters only where software is forbidden."""
    about = _Customer(facts, settings)
    if isinstance(collected, InputError):
        yield from about.unknown(f"what was collected cannot be read: {collected.problems[0]}")
    elif collected is not None:
        yield from about.findings(collected)
    elif software(facts.customer).forbidden and entries(facts.customer):
        yield from about.unknown("nobody knows what is installed: it was never collected")


@dataclass(frozen=True, slots=True)
class _Customer:
    facts: Facts
    settings: Checks

    def findings(self, collected: AssetsFile) -> Iterator[Finding]:
        if self._longer(collected.read, self.settings.collected):
            yield from self.unknown(f"what hosts are made of was read last on {collected.read}", collected.read)
        for name, entry in entries(self.facts.customer).items():
            machine = collected.hosts.get(name)
            if machine is not None and self._wants(name, entry.target or ""):
                yield from self._missing(name, machine)
                yield from self._otherwise(name, entry, machine)
                yield from self._software(name, machine)
        for address, device in collected.devices.items():
            if self._wants(address):
                yield self._strange(address, device)

    def unknown(self, what: str, since: date | None = None) -> Iterator[Finding]:
        remedy = REMEDY.format(customer=self.facts.customer.name)
        if self._wants(""):
            yield self._finding("hosts.collected", Severity.UNKNOWN, "", what, remedy, since=since)

    def _missing(self, name: str, machine: Machine) -> Iterator[Finding]:
        remedy = "is it switched on, and still there? Take it out of hosts.yaml when it is gone"
        if machine.seen == NEVER:
            what = f"{name} never answered"
            yield self._finding("hosts.missing", Severity.WARNING, name, what, remedy, name)
        elif machine.seen and self._longer(machine.seen, self.settings.missing):
            what = f"{name} answered last on {machine.seen}"
            yield self._finding("hosts.missing", Severity.WARNING, name, what, remedy, name, since=machine.seen)

    def _otherwise(self, name: str, entry: Entry, machine: Machine) -> Iterator[Finding]:
        if entry.serial and machine.serial and entry.serial != machine.serial:
            what = f"{name} has serial {machine.serial}, hosts.yaml says {entry.serial}"
            remedy = "was it replaced? Write the new serial, and its warranty"
            yield self._finding("hosts.serial", Severity.WARNING, name, what, remedy, name, "serial")
        if entry.os and machine.os and entry.os != machine.os:
            what = f"{name} is {machine.os}, hosts.yaml says {entry.os}"
            yield self._finding("hosts.os", Severity.WARNING, name, what, "write what it is", name, "os")

    def _software(self, name: str, machine: Machine) -> Iterator[Finding]:
        rules = software(self.facts.customer)
        for package in machine.packages:
            pattern = next((p for p, rule in rules.forbidden.items() if self._holds(rule, name, p, package)), None)
            let = [rule for p, rule in rules.allowed.items() if fnmatchcase(package, p) and self._there(rule, name)]
            if pattern is None or any(self._holds(rule, name) for rule in let):
                continue
            ended = next((rule for rule in let if rule.until), None)
            what = f"{package} is installed on {name}: {rules.forbidden[pattern].why}"
            what += f"; it was allowed until {ended.until} ({ended.why})" if ended else ""
            remedy = f"remove it, or write software: {{allowed: {{{package}: {{why: …, until: …}}}}}}"
            since = ended.until if ended else None
            yield self._finding(
                "hosts.software",
                Severity.WARNING,
                f"{name}/{package}",
                what,
                remedy,
                "software",
                "forbidden",
                pattern,
                since=since,
            )

    def _strange(self, address: str, device: Device) -> Finding:
        what = f"{address} ({device.mac}) is nobody's host"
        what += f"; it was met last on {device.seen}" if device.seen else ""
        remedy = f"find out what it is, and write it into hosts.yaml, or its network under others: {{{address}/…: why}}"
        return self._finding("hosts.unknown", Severity.WARNING, address, what, remedy, since=device.since)

    def _holds(self, rule: Rule, host: str, pattern: str = "*", package: str = "") -> bool:
        now = rule.until is None or self.facts.today <= rule.until
        return now and self._there(rule, host) and fnmatchcase(package, pattern)

    @staticmethod
    def _there(rule: Rule, host: str) -> bool:
        return not rule.hosts or host in rule.hosts

    def _longer(self, since: date, seconds: int) -> bool:
        return self.facts.today - since > timedelta(seconds=seconds)

    def _wants(self, name: str, target: str = "") -> bool:
        return self.facts.wants(Scope(target, FACET, self._path(name), self.facts.customer.name), "hosts")

    def _path(self, name: str) -> str:
        return "/".join(filter(None, (self.facts.customer.name, name)))

    def _finding(
        self, code: str, severity: Severity, name: str, what: str, remedy: str, *key: str, since: date | None = None
    ) -> Finding:
        customer = self.facts.customer
        data = customer.data.get("hosts")
        mark = find(data, key) if key[:1] == ("software",) and data is not None else place(customer, *key)
        source = f"{mark.file}:{mark.line}" if key and mark else f"customers/{customer.name}/hosts.yaml"
        return Finding(code, severity, customer.name, f"{FACET}/{self._path(name)}", what, remedy, source, since)
