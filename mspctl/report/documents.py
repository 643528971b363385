"""Plans, findings and outcomes for programs, in the order and with the counts that people get too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import import_module

from mspctl import desired
from mspctl.apply import Outcome
from mspctl.diff import Difference
from mspctl.finding import Finding, Findings
from mspctl.plan import Plan, ScopePlan, Standing, Step
from mspctl.record import Emergency
from mspctl.resource import UNKNOWN, Cause, Change, Resource, Scope, Value


def ordered(scopes: Iterable[ScopePlan]) -> list[ScopePlan]:
    """By customer; what lets in what was kept out comes first."""
    scopes = [*scopes]
    open_ = {s.scope.customer for s in scopes if _opens(s)}
    names = [(s.scope.customer, not _opens(s), s.scope.facet, s.scope.name, s.scope.target) for s in scopes]
    ordered = sorted(zip(names, range(len(scopes)), scopes, strict=True), key=lambda row: (row[0][0] not in open_, row))
    return [scope for _, _, scope in ordered]


def _opens(plan: ScopePlan) -> bool:
    return any(step.opens for step in plan.steps)


def counts_of(plan: Plan) -> Counter[str]:
    found = Counter(change.verb for scope in plan.scopes for change in scope.due)
    found.update(str(step.standing) for s in plan.scopes for step in s.steps if step.standing is not Standing.DUE)
    found["elsewhere"] = sum(len(s.elsewhere) for s in plan.scopes)
    found["outside"] = sum(len(s.drifted) for s in plan.scopes)
    found["unmanaged"] = sum(len(s.of(Cause.UNMANAGED)) for s in plan.scopes)
    found["unreachable"] = sum(bool(s.error) and s.unreachable for s in plan.scopes)
    found["errors"] = sum(bool(s.error) and not s.unreachable for s in plan.scopes)
    found["only due"] = plan.only_due
    found["due"] = plan.changes
    found["told by observations"] = any(s.since is not None for s in plan.scopes)
    found["seen before"] = sum(d.id in (s.since or ()) for s in plan.scopes for d in s.drifted)
    return found


def worst_first(steps: Sequence[Step]) -> list[Step]:
    order = {"delete": 0, "rename": 1, "update": 2, "create": 3}
    return sorted(steps, key=lambda s: (not s.opens, order[s.change.verb], s.change.id))


@cache
def section_of(facet: str) -> str:
    """The section of a customer's folder that declares what lives in a facet."""
    for name in desired.names():
        if facet in import_module(f"{desired.__name__}.{name}").FACETS:
            return name
    return facet


def plan_document(plan: Plan) -> dict[str, object]:
    return {
        "format": "mspctl.plan/1",
        "read_at": plan.read_at.isoformat(),
        "digest": plan.digest,
        "changes": plan.changes,
        "counts": dict(counts_of(plan)),
        "tickets": [*plan.asked.tickets],
        "asked_by": [*plan.asked.by],
        "scopes": [_scope_document(s) for s in ordered(plan.scopes)],
        "retired": [_scope(s) for s in plan.retired],
        "emergencies": _emergencies(plan.emergencies),
    }


def runs(emergencies: Iterable[Emergency]) -> list[tuple[Emergency, int]]:
    """The ledger tells them scope by scope: each run once, with the number of its changes, the newest first."""
    found: dict[str, list[Emergency]] = {}
    for each in emergencies:
        found.setdefault(each.branch, []).append(each)
    ordered = sorted(found.values(), key=lambda parts: (parts[0].when, parts[0].branch), reverse=True)
    return [(parts[0], sum(len(part.ids) for part in parts)) for parts in ordered]


def _emergencies(found: Iterable[Emergency]) -> list[dict[str, object]]:
    return [
        {"who": e.who, "when": e.when.isoformat(), "reason": e.reason, "branch": e.branch, "changes": changes}
        for e, changes in runs(found)
    ]


def _scope(scope: Scope) -> dict[str, object]:
    return {"customer": scope.customer, "target": scope.target, "facet": scope.facet, "name": scope.name}


def _scope_document(plan: ScopePlan) -> dict[str, object]:
    return {
        **_scope(plan.scope),
        "section": section_of(plan.scope.facet),
        "after": [_scope(other) for other in plan.scope.after],
        "digest": plan.digest,
        "source": plan.source,
        "declared": plan.declared,
        "exists": plan.exists,
        "error": plan.error,
        "unreachable": plan.unreachable,
        "seen_at": plan.seen_at and plan.seen_at.isoformat(),
        "changes": [_step_document(s, plan) for s in worst_first(plan.steps)],
        "left": [_left(d, plan) for d in plan.left],
        "accepted": [
            _left(a.difference, plan) | {"who": a.who, "why": a.why, "until": f"{a.until}"} for a in plan.accepted
        ],
        "unknown": [i.name for i in plan.unknown],
    }


def _step_document(step: Step, plan: ScopePlan) -> dict[str, object]:
    words = plan.words.get(step.change.id, "")
    said = {"standing": str(step.standing), "reason": step.reason, "opens": step.opens, "words": words}
    return {**_change(step.change), **said}


def _change(change: Change) -> dict[str, object]:
    renamed = {"was": change.before.id.name} if change.verb == "rename" and change.before else {}
    return {
        "verb": change.verb,
        "kind": change.id.kind,
        "name": change.id.name,
        **renamed,
        "cause": str(change.cause),
        "before": _plain(change.before),
        "after": _plain(change.after),
        "source": change.after.source if change.after else "",
    }


def _left(difference: Difference, plan: ScopePlan) -> dict[str, object]:
    since = (plan.since or {}).get(difference.id)
    touched = plan.touched.get(difference.live.id if difference.live else difference.id)
    return {
        "kind": difference.id.kind,
        "name": difference.id.name,
        "cause": str(difference.cause),
        "fields": {name: str(cause) for name, cause in difference.fields.items()},
        "declared": _plain(difference.declared),
        "live": _plain(difference.live),
        "since": since and since.isoformat(),
        "touched": touched and {"when": touched.when.isoformat(), "who": touched.who, "whole": touched.whole},
    }


def _plain(resource: Resource | None) -> dict[str, object] | None:
    if resource is None:
        return None
    return {name: _plain_value(value) for name, value in resource.fields.items()}


def _plain_value(value: Value) -> object:
    if value is UNKNOWN:
        return {"unknown": True}
    if isinstance(value, frozenset):
        return sorted(value)
    return list(value) if isinstance(value, tuple) else value


def findings_document(findings: Findings) -> dict[str, object]:
    return {
        "asked": findings.asked,
        "open": [_finding(f) for f in findings.open],
        "accepted": [
            _finding(a.finding) | {"accepted": {"who": a.who, "why": a.why, "until": f"{a.until}"}}
            for a in findings.accepted
        ],
    }


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "code": finding.code,
        "severity": str(finding.severity),
        "customer": finding.customer,
        "path": finding.path,
        "what": finding.what,
        "remedy": finding.remedy,
        "source": finding.source,
        "since": finding.since.isoformat() if finding.since else None,
        "until": finding.until.isoformat() if finding.until else None,
    }


def outcome_document(outcome: Outcome) -> dict[str, object]:
    ends = [end for _, end in sorted(outcome.scopes.items())]
    unread = [p for p in ordered(outcome.plans) if p.error and p.scope not in outcome.scopes]
    return {
        "format": "mspctl.apply/1",
        "landed": outcome.landed,
        "ledger_error": outcome.ledger_error,
        "emergencies": _emergencies(outcome.emergencies),
        "scopes": [
            {
                **_scope(end.scope),
                "error": end.error,
                "held_by": str(end.held_by) if end.held_by else "",
                "landed": [_change(c) for c in end.landed],
                "found_done": [_change(c) for c in end.found],
                "not_landed": [_change(c) for c in end.failed],
                "waits": [i.name for i in end.waits],
                "outputs": {name: _plain_value(value) for name, value in sorted(end.outputs.items())},
            }
            for end in ends
        ],
        "not_read": [{**_scope(p.scope), "error": p.error, "unreachable": p.unreachable} for p in unread],
    }
