"""Hosts that are guarded less than was agreed: as they said in this run. What nobody knows is never counted as good."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from mspctl.checks import Facts, Seen
from mspctl.desired import Declaration
from mspctl.finding import Finding, Severity
from mspctl.kinds import spoken_duration
from mspctl.kinds.antivirus import CLAMAV, SECTION
from mspctl.kinds.antivirus import FACET as FACET_OF_CONSOLES
from mspctl.kinds.hosts import FACET, parts
from mspctl.model.customer import Customer
from mspctl.model.inventory import Product
from mspctl.model.policies import source
from mspctl.model.sections.antivirus import CLAMAV as OURS
from mspctl.model.sections.antivirus import Checks, Section, Settled, scans_of, settled
from mspctl.model.sections.hosts import Entry, entries
from mspctl.moments import times
from mspctl.plan import ScopePlan
from mspctl.resource import Scope, Value
from mspctl.strict_yaml import find

CODES = {
    "antivirus.unknown": "nobody knows how old the engine or its signatures are",
    "antivirus.stopped": "the engine does not run",
    "antivirus.on-access": "files are not looked at when they are opened",
    "antivirus.signatures": "signatures are older than agreed",
    "antivirus.outdated": "the engine that runs is not the newest",
    "antivirus.exclusion": "something is left out, and Git does not know of it",
    "antivirus.endpoint": "a vendor's console does not know a host, or does not guard it",
    "antivirus.found": "something was found",
    "antivirus.scan": "a scan did not go through everything, is late, or was never made",
    "antivirus.licence": "a product's licence ends soon, or has ended",
    "antivirus.seats": "more hosts have a product than seats were bought",
}

SLACK = timedelta(days=1)  # for a scan to end in, and for a host that was off


def findings(facts: Facts, seen: Seen) -> Iterator[Finding]:
    said = facts.inventory.checks.get(SECTION)
    settings = said if isinstance(said, Checks) else Checks()
    section = facts.customer.sections[SECTION]
    assert isinstance(section, Section), "load puts each section's own model here"
    if facts.wants(Scope("", SECTION, "", facts.customer.name), SECTION):
        yield from _products(facts, settings)
    for declaration in facts.declared:
        scope = declaration.scope
        if scope.facet == FACET_OF_CONSOLES and (seen_there := facts.live.get(scope)) and not seen_there.error:
            yield from _console(facts, declaration, seen_there)
        if scope.facet == FACET and parts(scope)[2] == SECTION:
            plan, name = facts.live.get(scope), parts(scope)[1]
            entry = entries(facts.customer)[name]
            policy = settled(section, name, entry)
            if plan is not None and plan.facts and not plan.error and policy and policy.product == OURS:
                yield from _Host(facts, declaration, plan, name, entry, policy, section).judge(settings)


def _console(facts: Facts, declared: Declaration, plan: ScopePlan) -> Iterator[Finding]:
    """What a vendor's console says of this customer's endpoints."""
    known = _several(plan.facts.get("endpoints"))
    for resource in declared.resources:
        name, scope = resource.id.name, declared.scope
        for what, bad, code, severity, text in _ENDPOINT if name in known else _NO_ENDPOINT:
            if plan.facts.get(f"{name} {what}", bad) == bad:
                remedy = f"look at {name} in the console of {scope.target}"
                path = f"{scope.facet}/{scope.name}/{name}"
                yield Finding(code, severity, scope.customer, path, text.format(name), remedy, resource.source)


_Row = tuple[str, bool, str, Severity, str]
_NO_ENDPOINT: tuple[_Row, ...] = (
    ("", True, "antivirus.endpoint", Severity.SEVERE, "{} has no agent, or it never called"),
)
# What a console says of an endpoint, and when that is bad; what it does not say is bad too.
_ENDPOINT: tuple[_Row, ...] = (
    ("guarded", False, "antivirus.endpoint", Severity.SEVERE, "{} is not guarded: its agent does not look for malware"),
    ("licensed", False, "antivirus.endpoint", Severity.SEVERE, "{} has no licence"),
    ("signatures outdated", True, "antivirus.signatures", Severity.SEVERE, "signatures of {} are old"),
    ("agent outdated", True, "antivirus.outdated", Severity.WARNING, "the agent of {} is old"),
    ("infected", True, "antivirus.found", Severity.SEVERE, "{} is infected"),
)


def _products(facts: Facts, settings: Checks) -> Iterator[Finding]:
    """What was bought, of those products that hosts of this customer have."""
    mine, all_of_them = _having(facts.customer), Counter[str]()
    for customer in (facts.everyone or {facts.customer.name: facts.customer}).values():
        all_of_them.update(_having(customer))
    for name in sorted(mine.keys() & facts.inventory.products.keys()):
        sold = _as_said_live(facts, facts.inventory.products[name])
        if sold.end and (finding := _ends(facts, name, sold.end, settings)):
            yield finding
        if sold.seats and all_of_them[name] > sold.seats:
            have = f"{all_of_them[name]} hosts have {name}, {mine[name]} of them here"
            text = f"{have}, and {sold.seats} seats were bought"
            remedy = "buy more and write seats in inventory/antivirus.yaml, or choose another product for some"
            yield _bought(facts, "antivirus.seats", name, text, remedy)


def _as_said_live(facts: Facts, sold: Product) -> Product:
    """With the end and the seats that its console says in this run, which win over what somebody typed."""
    found = next((p.facts for scope, p in facts.live.items() if sold.console and scope.target == sold.console), {})
    end, seats = found.get("licence end"), found.get("licence seats")
    live = {"end": date.fromisoformat(end)} if isinstance(end, str) and end else {}
    return sold.model_copy(update={**live, **({"seats": seats} if isinstance(seats, int) and seats else {})})


def _having(customer: Customer) -> Counter[str]:
    """How many hosts have each product."""
    section = customer.sections.get(SECTION)
    if not isinstance(section, Section):
        return Counter()
    found = (settled(section, name, entry) for name, entry in entries(customer).items())
    return Counter(policy.product for policy in found if policy)


def _ends(facts: Facts, name: str, end: date, settings: Checks) -> Finding | None:
    left = (end - facts.today).days
    if timedelta(days=left).total_seconds() > settings.licence:
        return None
    when = "has ended" if left < 0 else {0: "ends today", 1: "ends tomorrow"}.get(left, f"ends in {left} days")
    text, remedy = f"the licence of {name} {when} ({end})", "renew it and write the new end in inventory/antivirus.yaml"
    found = _bought(facts, "antivirus.licence", name, text, remedy, Severity.SEVERE if left < 0 else Severity.WARNING)
    return replace(found, since=end) if left < 0 else replace(found, until=end)


def _bought(
    facts: Facts, code: str, name: str, what: str, remedy: str, severity: Severity = Severity.WARNING
) -> Finding:
    return Finding(code, severity, facts.customer.name, f"{SECTION}/{name}", what, remedy, "inventory/antivirus.yaml")


@dataclass(frozen=True, slots=True)
class _Host:
    """One host, what was agreed for it, and what it says."""

    facts: Facts
    declared: Declaration
    plan: ScopePlan
    name: str
    entry: Entry
    policy: Settled
    section: Section

    def judge(self, settings: Checks) -> Iterator[Finding]:
        yield from self.runs()
        yield from self.signatures()
        yield from self.version()
        yield from self.left_out()
        yield from self.found(settings)
        yield from self.scans()

    def runs(self) -> Iterator[Finding]:
        if not self.live("engine"):
            text, remedy = f"the antivirus of {self.name} does not run", self.look("engine")
            yield self.finding("antivirus.stopped", Severity.SEVERE, text, remedy)
        if not self.policy.on_access:
            text = f"files of {self.name} are looked at by scans only"
            yield self.finding("antivirus.on-access", Severity.INFO, text, "name folders: on_access: [/srv, /home]")
        elif not self.live("watch"):
            text, remedy = f"files of {self.name} are not looked at when they are opened", self.look("watch")
            yield self.finding("antivirus.on-access", Severity.SEVERE, text, remedy)

    def signatures(self) -> Iterator[Finding]:
        made, failed = _moment(self.live("signatures")), self.live("failed")
        why = f"; the last update failed: {failed}" if failed else ""
        if made is None:
            text = f"nobody knows how old the signatures of {self.name} are{why}"
            yield self.finding("antivirus.unknown", Severity.UNKNOWN, text, self.look("update"))
        elif self.facts.now - made > timedelta(seconds=self.policy.signatures):
            age = spoken_duration(self.policy.signatures)
            text = f"signatures of {self.name} are older than {age}: {made:%Y-%m-%d %H:%M} UTC{why}"
            yield self.finding("antivirus.signatures", Severity.SEVERE, text, self.look("update"), made, "signatures")

    def version(self) -> Iterator[Finding]:
        runs, installed = str(self.live("version") or ""), _upstream(str(self.live("installed") or ""))
        if not (runs and installed):
            text = f"nobody knows which engine runs on {self.name}"
            yield self.finding("antivirus.unknown", Severity.UNKNOWN, text, self.look("engine"))
        elif runs != installed:
            text = f"{self.name} runs engine {runs}, and {installed} is installed"
            remedy = f"on {self.name}: systemctl restart mspctl-antivirus-engine"
            yield self.finding("antivirus.outdated", Severity.WARNING, text, remedy)
        elif self.live("outdated"):
            text = f"engine {runs} of {self.name} is too old for its signatures, as ClamAV says"
            yield self.finding("antivirus.outdated", Severity.WARNING, text, "let patching bring the newer package")

    def left_out(self) -> Iterator[Finding]:
        """Neither Git says so nor did an apply."""
        record = self.facts.history.get(self.declared.scope)
        known = record.resources.get(CLAMAV) if record else None
        ours = {each for r in self.declared.resources if r.id == CLAMAV for each in _several(r.fields["exclude"])}
        left = {each for s in (known.states if known else ()) if s for each in _several(s.fields.get("exclude"))}
        for each in sorted(_several(self.live("exclude")) - ours - left):
            text = f"{each} is left out on {self.name} by hand: nobody looks there"
            remedy = "undo it (apply --revert), or say why and until when: exclude in antivirus.yaml"
            yield self.finding("antivirus.exclusion", Severity.SEVERE, text, remedy)

    def found(self, settings: Checks) -> Iterator[Finding]:
        since = self.facts.now - timedelta(seconds=settings.found)
        found = [each.split(" ", 2) for each in _several(self.live("found"))]
        fresh = sorted((int(at), name, path) for at, name, path in found if (_moment(int(at)) or since) > since)
        if not fresh:
            return
        at, name, path = fresh[-1]
        taken = self.policy.action == "quarantine"
        what = "1 thing was" if len(fresh) == 1 else f"{len(fresh)} things were"
        text = f"{what} found on {self.name} since {since:%Y-%m-%d}, the last is {name} in {path}"
        remedy = "it was taken to /var/lib/mspctl-quarantine: how did it get there?" if taken else "it is still there"
        severity = Severity.WARNING if taken else Severity.SEVERE
        yield self.finding("antivirus.found", severity, text, remedy, _moment(at))

    def scans(self) -> Iterator[Finding]:
        """Those that are declared: how they went, and whether they were made when they should."""
        for name, scan in scans_of(self.section, self.name, self.entry):
            ended, error = _moment(self.live(f"scan {name} ended")), self.live(f"scan {name} error")
            what, remedy = f"scan {name} of {self.name}", self.look(f"scan-{name}")
            if error:
                text = f"{what} did not go through everything: {error}"
                yield self.scanned(name, text, remedy, ended)
            latest = self.facts.now - _longest(scan.schedule) - SLACK
            since = _moment(self.live(f"scan {name} since"))
            if ended and ended < latest:
                text = f"{what} is late: it was made last on {ended:%Y-%m-%d}, and should be {scan.schedule}"
                yield self.scanned(name, text, f"does its timer run, and does it end? {remedy}", ended)
            elif ended is None and since and since < latest:  # a new one has until its first turn is over
                text = f"{what} was never made, and should be {scan.schedule}"
                begin = f"does its timer run? On {self.name}: systemctl start mspctl-antivirus-scan-{name}"
                yield self.scanned(name, text, begin, since)

    def scanned(self, name: str, what: str, remedy: str, since: datetime | None = None) -> Finding:
        mark = find(self.facts.customer.data[SECTION], ("scans", name))
        made = self.finding("antivirus.scan", Severity.WARNING, what, remedy, since)
        return replace(made, source=f"{mark.file}:{mark.line}") if mark else made

    def live(self, what: str) -> Value | None:
        return self.plan.facts.get(what)

    def look(self, unit: str) -> str:
        return f"on {self.name}: journalctl -u mspctl-antivirus-{unit}"

    def finding(
        self, code: str, severity: Severity, what: str, remedy: str, since: datetime | None = None, key: str = "product"
    ) -> Finding:
        scope, place = self.declared.scope, source(self.facts.customer, SECTION, self.name, self.entry, key)
        path = f"{scope.facet}/{scope.name}"
        return Finding(code, severity, scope.customer, path, what, remedy, place, since.date() if since else None)


def _moment(seconds: Value | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int) and 0 < seconds < 2**33 else None


def _longest(schedule: str) -> timedelta:
    """Between two moments of a schedule."""
    days = sorted(times(schedule)[0])
    return timedelta(days=max((after - day) % 7 or 7 for day, after in zip(days, [*days[1:], days[0]], strict=True)))


def _several(value: Value | None) -> set[str]:
    return {*value} if isinstance(value, frozenset | tuple) else set()


def _upstream(version: str) -> str:
    """Of a Debian version, what its authors call it: 1:1.4.6+dfsg-0+deb12u1 is 1.4.6."""
    return version.rpartition(":")[2].partition("-")[0].partition("+")[0]
