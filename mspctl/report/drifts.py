"""What a report of drift says: what is wrong, then what differs although nobody changed Git."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from mspctl.finding import AcceptedFinding, Finding, Findings, Severity
from mspctl.plan import Plan
from mspctl.report.documents import counts_of, findings_document, ordered, plan_document
from mspctl.report.plans import Counts, alarms_of, facts_of, in_front, plan_block, retired, unread
from mspctl.report.view import Block, Line, Tone, View, count

IN_FRONT = "firewall.in-front"  # the finding that says the same as alarms do; who accepts it has no alarm
SHOWN_TOGETHER = 3  # things of which the same is said; the rest is counted


def of_drift(plan: Plan, findings: Findings, proved: str = "") -> View:
    """
    What differs from Git although nobody changed Git; before it, what is wrong although nothing differs.

    `proved` says in a few words how live tests ended.
    """
    blocks = [plan_block(s, "drift") for s in ordered(plan.scopes) if s.left or s.accepted or s.error or s.steps]
    blocks = sorted([*_finding_blocks(findings), *blocks], key=lambda block: block.customer)
    facts = [*facts_of(plan), f"{'' if findings.asked else 'not '}checked from outside", *([proved] if proved else ())]
    counts = counts_of(plan) + Counter(f"finding {each.severity}" for each in findings.open)
    document = {**plan_document(plan), "counts": dict(counts), "findings": findings_document(findings)}
    summary = drift_summary(counts)
    let = {(each.finding.customer, each.finding.path) for each in findings.accepted if each.finding.code == IN_FRONT}
    told = [s for s in plan.scopes if (s.scope.customer, f"{s.scope.facet}/{s.scope.name}") not in let]
    alarms = [*alarms_of(plan.emergencies), *in_front(told)]
    return View("drift", "DRIFT", facts, blocks, summary, retired(plan), document, alarms)


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


_SEVERITIES = {
    Severity.SEVERE: (Tone.SEVERE, "severe"),
    Severity.WARNING: (Tone.WARN, "warning"),
    Severity.UNKNOWN: (Tone.WARN, "not checked"),
    Severity.INFO: (Tone.QUIET, "info"),
}


def _finding_blocks(findings: Findings) -> Iterator[Block]:
    """A block per customer; what is said of several things in the same words is one line."""
    customers = {f.customer for f in (*findings.open, *(a.finding for a in findings.accepted))}
    for customer in sorted(customers):
        same: dict[tuple[Severity, str, str, str], list[Finding]] = {}
        for f in findings.open:
            if f.customer == customer:
                same.setdefault((f.severity, f.code, f.what, f.remedy), []).append(f)
        lines = [_finding_line(found) for found in same.values()]
        lines += [_let_be(a) for a in findings.accepted if a.finding.customer == customer]
        yield Block(customer, "findings", "", lines)


def _finding_line(found: Sequence[Finding]) -> Line:
    first = found[0]
    tone, label = _SEVERITIES[first.severity]
    names = ", ".join(f.path for f in found[:SHOWN_TOGETHER])
    if len(found) > SHOWN_TOGETHER:
        names += f" and {len(found) - SHOWN_TOGETHER} more"
    return Line(tone, label, names, f"{first.what} [{first.code}]", first.source, first.remedy)


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
