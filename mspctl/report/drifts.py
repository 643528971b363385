"""
What a report of drift says: what is wrong, then what differs although nobody changed Git; what is new first.

It also counts what is covered: how much of each customer is declared, how much lives there that nobody declared, and of
how much nobody knows.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from mspctl.amounts import count
from mspctl.errors import Problem
from mspctl.finding import AcceptedFinding, Finding, Findings, Severity
from mspctl.plan import Plan, ScopePlan
from mspctl.report import history, soon
from mspctl.report.documents import counts_of, findings_document, ordered, plan_document
from mspctl.report.plans import ACCEPT, Counts, alarms_of, facts_of, in_front, plan_block, retired, unread
from mspctl.report.soon import Soon
from mspctl.report.view import EXPIRED, FINDINGS, PROOFS, Block, Line, Tone, View
from mspctl.resource import Cause, Id, Scope
from mspctl.updates import Installed

IN_FRONT = "firewall.in-front"  # the finding that says the same as alarms do; who accepts it has no alarm
SHOWN_TOGETHER = 3  # things of which the same is said; the rest is counted
OLD = timedelta(hours=20)  # what was seen before is known: a run each morning is not always to the minute


class Lapsed(Protocol):
    """An acceptance whose day is over."""

    @property
    def who(self) -> str: ...
    @property
    def until(self) -> object: ...
    def names(self, scope: Scope, id_: Id) -> bool: ...


@dataclass(frozen=True, slots=True)
class Beside:
    """What a report of drift tells besides what was read and found."""

    proved: str = ""  # in a few words, how live tests ended
    proofs: Mapping[str, Sequence[Line]] = field(default_factory=dict)  # by customer; passed ones are quiet
    first: Mapping[tuple[str, str, str], datetime] = field(default_factory=dict)  # by `key`, when a finding was seen
    watched: frozenset[str] = frozenset()  # customers whose findings an earlier run kept
    warnings: Sequence[Problem] = ()  # of the files: what is over in them is told
    lapsed: Mapping[str, Sequence[Lapsed]] = field(default_factory=dict)  # by customer
    installed: Sequence[Installed] = ()  # by hosts themselves, lately
    soon: Sequence[Soon] = ()  # what ends by itself


def key(finding: Finding) -> tuple[str, str, str]:
    """By which a finding is known again; how it is said may change from day to day."""
    return finding.customer, finding.code, finding.path


def of_drift(plan: Plan, findings: Findings, beside: Beside | None = None) -> View:
    """What differs from Git although nobody changed Git; before it, what is wrong although nothing differs."""
    beside = beside or Beside()
    old = plan.read_at - OLD
    shown = (s for s in ordered(plan.scopes) if s.left or s.accepted or s.error or s.steps)
    blocks = [_again(plan_block(s, "drift", old), s, beside) for s in shown]
    blocks = [*_finding_blocks(findings, beside, old), *blocks, *_proof_blocks(beside), *_expired(beside.warnings)]
    blocks += soon.blocks(beside.soon, plan.read_at)
    blocks.sort(key=lambda block: (block.customer, not _has_news(block)))
    proved = [*filter(None, (beside.proved, _by_themselves(beside.installed)))]
    coverage = coverage_of(plan.scopes)
    facts = [*facts_of(plan), covered(coverage.values()), f"{'' if findings.asked else 'not '}checked from outside"]
    counts = counts_of(plan) + Counter(f"finding {each.severity}" for each in findings.open)
    document = {**plan_document(plan), "counts": dict(counts), "findings": findings_document(findings)}
    document["installed"] = history.installed(beside.installed)
    document["ends_soon"] = soon.documents(beside.soon)
    document["coverage"] = [{"customer": name, **said} for name, said in coverage.items()]
    let = {(each.finding.customer, each.finding.path) for each in findings.accepted if each.finding.code == IN_FRONT}
    told = [s for s in plan.scopes if (s.scope.customer, f"{s.scope.facet}/{s.scope.name}") not in let]
    alarms = [*alarms_of(plan.emergencies), *in_front(told)]
    return View("drift", "DRIFT", [*facts, *proved], blocks, drift_summary(counts), retired(plan), document, alarms)


def drift_summary(counts: Counts) -> str:
    counts = Counter(counts)
    said = "Nothing was changed outside."
    if counts["outside"]:
        # Once there are observations to tell it by, it is said how much is new.
        news = f" ({counts['outside'] - counts['seen before']} new)" if counts["told by observations"] else ""
        parts = [f"{count(counts['outside'], 'resource')} changed outside{news}", f"{counts['unmanaged']} unmanaged"]
        parts += [f"{counts['due']} not yet applied"] if counts["due"] else []
        said = "; ".join(parts) + "."
    return " ".join([*_findings_summary(counts), said]) + unread(counts)


def _by_themselves(installed: Sequence[Installed]) -> str:
    hosts, packages = {(e.customer, e.host) for e in installed}, sum(len(e.packages) for e in installed)
    said = f"installed by hosts themselves this week: {count(packages, 'package')} on {count(len(hosts), 'host')}"
    return said if hosts else ""


def _has_news(block: Block) -> bool:
    return any(line.new for line in (*block.lines, *block.aside))


# -- coverage -------------------------------------------------------------------------------------------------

Coverage = Mapping[str, int]  # "declared", "unmanaged", "unknown" → resources


def coverage_of(scopes: Iterable[ScopePlan]) -> dict[str, Coverage]:
    """By customer. Of a scope that was not read, nobody knows what becomes of all that is declared in it."""
    found: dict[str, Counter[str]] = {}
    for each in scopes:
        mine = found.setdefault(each.scope.customer, Counter(declared=0, unmanaged=0, unknown=0))
        mine["declared"] += each.declared
        mine["unmanaged"] += len(each.of(Cause.UNMANAGED))
        mine["unknown"] += each.declared if each.error else len(each.unknown)
    return {name: dict(found[name]) for name in sorted(found)}


def covered(all_: Iterable[Coverage]) -> str:
    total: Counter[str] = Counter()
    for each in all_:
        total.update({name: int(number) for name, number in each.items() if name != "customer"})
    return " · ".join(f"{total[name]:,} {name}" for name in ("declared", "unmanaged", "unknown"))


# -- findings -------------------------------------------------------------------------------------------------

_SEVERITIES = {
    Severity.SEVERE: (Tone.SEVERE, "severe"),
    Severity.WARNING: (Tone.WARN, "warning"),
    Severity.UNKNOWN: (Tone.WARN, "not checked"),
    Severity.INFO: (Tone.QUIET, "info"),
}


def _finding_blocks(findings: Findings, beside: Beside, old: datetime) -> Iterator[Block]:
    """A block per customer; what is said of several things in the same words is one line."""
    customers = {f.customer for f in (*findings.open, *(a.finding for a in findings.accepted))}
    for customer in sorted(customers):
        same: dict[tuple[Severity, str, str, str], list[Finding]] = {}
        for f in findings.open:
            if f.customer == customer:
                same.setdefault((f.severity, f.code, f.what, f.remedy), []).append(f)
        lines = [_finding_line(found, beside, old) for found in same.values()]
        lines += [_let_be(a) for a in findings.accepted if a.finding.customer == customer]
        yield Block(customer, FINDINGS, "", lines, section=FINDINGS)


def _finding_line(found: Sequence[Finding], beside: Beside, old: datetime) -> Line:
    first = found[0]
    tone, label = _SEVERITIES[first.severity]
    names = ", ".join(f.path for f in found[:SHOWN_TOGETHER])
    if len(found) > SHOWN_TOGETHER:
        names += f" and {len(found) - SHOWN_TOGETHER} more"
    seen = [beside.first.get(key(f)) for f in found]
    known = all(each is not None and each < old for each in seen)
    new = first.customer in beside.watched and None in seen
    return Line(
        tone,
        label,
        names,
        f"{first.what} [{first.code}]",
        first.source,
        first.remedy,
        answers=tuple(f"mspctl accept {f.customer} {shlex.quote(f.path)} --finding {f.code} {ACCEPT}" for f in found),
        new=new,
        known=known,
    )


def _let_be(accepted: AcceptedFinding) -> Line:
    f = accepted.finding
    said = f"as it is until {accepted.until}, by {accepted.who}: {accepted.why} ({f.what} [{f.code}])"
    return Line(Tone.QUIET, "accepted", f.path, said, f.source)


def _findings_summary(counts: Counts) -> Iterator[str]:
    counted = {each: counts.get(f"finding {each}", 0) for each in Severity}
    if bad := counted[Severity.SEVERE] + counted[Severity.WARNING]:
        severe = f", {counted[Severity.SEVERE]} severe" if counted[Severity.SEVERE] else ""
        yield f"{count(bad, 'finding')}{severe}."
    if unknown := counted[Severity.UNKNOWN]:
        yield f"{count(unknown, 'check')} could not be made."


# -- proofs, and what is over ---------------------------------------------------------------------------------


def _proof_blocks(beside: Beside) -> Iterator[Block]:
    """What did not pass, or was never made; the rest is counted."""
    for customer, lines in sorted(beside.proofs.items()):
        odd = [line for line in lines if line.label != "passed"]
        if odd:
            passed = len(lines) - len(odd)
            counted = [Line(Tone.QUIET, "passed", "", f"{passed:,} more")] if passed else []
            yield Block(customer, PROOFS, "", [*odd, *counted], section=PROOFS)


def _expired(warnings: Iterable[Problem]) -> Iterator[Block]:
    """Lines in the files that say nothing any more, because their day is over."""
    found: dict[str, list[Line]] = {}
    for each in warnings:
        if each.is_over:
            place = each.file.split("/")
            customer = place[1] if place[0] == "customers" and len(place) > 1 else ""
            text = Line(Tone.QUIET, EXPIRED, each.path, each.text, f"{each.file}:{each.line}")
            found.setdefault(customer, []).append(text)
    for customer, lines in sorted(found.items()):
        yield Block(customer or "inventory", EXPIRED, "", lines, section=EXPIRED)


def _again(block: Block, plan: ScopePlan, beside: Beside) -> Block:
    """A line whose acceptance ran out says so."""
    lapsed = beside.lapsed.get(block.customer, ())
    said = {d.id.name: a for d in plan.drifted for a in lapsed if a.names(plan.scope, d.id)}
    if not said:
        return block
    aside = [_ran_out(line, said[line.name]) if line.name in said and line.answers else line for line in block.aside]
    return replace(block, aside=aside)


def _ran_out(line: Line, lapsed: Lapsed) -> Line:
    return replace(line, detail=f"{line.detail}; accepted by {lapsed.who} until {lapsed.until}, which is over")
