"""What a report of an apply says: what landed, what did not and why, and the command that finishes it."""

from __future__ import annotations

from collections import Counter

from mspctl.amounts import count
from mspctl.apply import Outcome
from mspctl.carry_out import ScopeOutcome
from mspctl.plan import ScopePlan, Standing
from mspctl.report.documents import ordered, outcome_document, worst_first
from mspctl.report.plans import Counts, alarms_of, elsewhere, in_front, left_to_others, plan_block, step_line
from mspctl.report.view import Block, Line, Tone, View
from mspctl.report.words import change_line, said


def of_outcome(outcome: Outcome, command: str, done: str = "Nothing is pending.") -> View:
    """What an apply did, what it did not and why, and the command that finishes it; `done` when nothing is left."""
    plans = {p.scope: p for p in outcome.plans}
    blocks = [_outcome_block(end, plans.get(end.scope)) for _, end in sorted(outcome.scopes.items())]
    others = [p for p in ordered(plans.values()) if p.scope not in outcome.scopes]
    blocks += [plan_block(p, "apply") for p in others if p.error]
    blocks += [Block(p.scope.customer, str(p.scope), p.source, _waiting(p)) for p in others if _waiting(p)]
    counts = _outcome_counts(outcome)
    document = {**outcome_document(outcome), "counts": dict(counts), "command": command}
    notes = [Line(Tone.BAD, "ledger", detail=outcome.ledger_error)] if outcome.ledger_error else []
    notes += [Line(Tone.BAD, "not proved", detail=outcome.unproved)] if outcome.unproved else []
    alarms = [*alarms_of(outcome.emergencies), *in_front(outcome.plans)]
    summary = outcome_summary(counts, command, done)
    return View("apply", "APPLY", apply_facts(counts), blocks, summary, notes, document, alarms)


def _outcome_counts(outcome: Outcome) -> Counter[str]:
    plans = {p.scope: p for p in outcome.plans}
    steps = [step for p in plans.values() for step in p.steps]
    waits = sum(len(s.waits) for s in outcome.scopes.values())
    return Counter(
        {
            "landed": outcome.landed,
            "found": sum(len(s.found) for s in outcome.scopes.values()),
            "failed": sum(len(s.failed) for s in outcome.scopes.values()),
            "unread": sum(bool(p.error) and p.scope not in outcome.scopes for p in plans.values()),
            "waiting": waits + sum(step.standing is not Standing.DUE for step in steps),
            "elsewhere": sum(len(p.elsewhere) for p in plans.values()),
            "contested": outcome.contested,
            "unfinished": len(outcome.unfinished) + bool(outcome.ledger_error) + bool(outcome.unproved),
            "scopes": len(outcome.plans),
            "scopes with changes": len(outcome.scopes),
            "scopes finished": len(outcome.scopes) - len(outcome.unfinished),
        }
    )


def outcome_summary(counts: Counts, command: str, done: str = "Nothing is pending.") -> str:
    """`command` finishes what is left; `done` is said when nothing is."""
    counts = Counter(counts)
    summary = f"{count(counts['landed'], 'change')} landed." if counts["landed"] else "Nothing was changed."
    found = f" {count(counts['found'], 'change')} found done, of a run that did not come to its end."
    summary += found if counts["found"] else ""
    summary += f" {count(counts['failed'], 'change')} did not." if counts["failed"] else ""
    summary += f" {count(counts['unread'], 'scope')} could not be read." if counts["unread"] else ""
    summary += f" {count(counts['waiting'], 'change')} held." if counts["waiting"] else ""
    summary += left_to_others(counts)
    contested = f" {count(counts['contested'], 'difference')} not without an approval."
    summary += contested if counts["contested"] else ""
    if counts["failed"] or counts["unread"]:
        return f"{summary} To finish, run again: {command}"
    left = any(counts[name] for name in ("waiting", "elsewhere", "contested", "unfinished"))
    return summary if left else f"{summary} {done}"


def _waiting(plan: ScopePlan) -> list[Line]:
    held = [step_line(step, plan) for step in worst_first(plan.steps) if step.standing is not Standing.DUE]
    return [*held, *elsewhere(plan)]


def apply_facts(counts: Counts) -> list[str]:
    counts = Counter(counts)
    return [
        f"{count(counts['scopes'], 'scope')} looked at",
        f"{counts['scopes finished']} of {counts['scopes with changes']} with changes finished",
    ]


def _outcome_block(end: ScopeOutcome, plan: ScopePlan | None) -> Block:
    lines = []
    words = plan.words if plan else {}
    opened = {step.change.id for step in plan.steps if step.opens} if plan else set()
    for change in sorted(end.landed, key=lambda each: each.id not in opened):
        line = change_line(change, words.get(change.id, ""))
        lines.append(Line(Tone.DONE, f"{change.verb}d", line.name, line.detail, line.source))
    for change in end.found:
        line = change_line(change, words.get(change.id, ""))
        lines.append(Line(Tone.DONE, "found done", line.name, line.detail, line.source))
    for change in end.failed:
        line = change_line(change, words.get(change.id, ""))
        lines.append(Line(Tone.BAD, f"not {change.verb}d", line.name, line.detail, line.source))
    lines += [Line(Tone.QUIET, "later", i.name, "waits for something that nobody has made") for i in end.waits]
    before = plan.outputs if plan else {}
    made = {name: value for name, value in end.outputs.items() if value and value != before.get(name)}
    lines += [Line(Tone.QUIET, "hands out", name, said(value)) for name, value in sorted(made.items())]
    if end.held_by:
        lines.insert(0, Line(Tone.QUIET, "held", detail=f"comes after {end.held_by}, which did not finish"))
    if end.error:
        lines.insert(0, Line(Tone.BAD, "failed", detail=end.error))
    lines += _waiting(plan) if plan else []
    return Block(end.scope.customer, str(end.scope), plan.source if plan else "", lines)
