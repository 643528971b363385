"""
What a report says, before how it looks: first what lets in and what takes away, then what else changes, then what does
not happen.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from difflib import SequenceMatcher

from mspctl import kinds
from mspctl.apply import Outcome
from mspctl.carry_out import ScopeOutcome
from mspctl.diff import Difference
from mspctl.errors import Problem
from mspctl.finding import AcceptedFinding, Finding, Findings, Severity
from mspctl.guards import CONTESTED
from mspctl.plan import Plan, ScopePlan, Standing, Step
from mspctl.record import Emergency
from mspctl.resource import UNKNOWN, Cause, Change, Resource, Scope, Value

IN_FRONT = "firewall.in-front"  # the finding that says the same as alarms do; who accepts it has no alarm
EPOCH = datetime.fromtimestamp(0, UTC)  # a digest knows no time
SHOWN_UNMANAGED = 5  # names in a line; the rest is counted
SHOWN_ASKED = 5  # tickets, and people who asked
SHOWN_TOGETHER = 3  # things of which the same is said, likewise


UNAPPROVED = "Needs an approval"  # the heading of what somebody has to decide


class Tone(enum.StrEnum):
    ADD = "add"
    CHANGE = "change"
    OPENS = "opens"  # lets in what was kept out
    TAKE = "take"  # takes away
    OUTSIDE = "outside"  # somebody else's doing
    QUIET = "quiet"
    BAD = "bad"
    DONE = "done"
    SEVERE = "severe"  # a finding: something does not work
    WARN = "warn"  # a finding: in part, or not for long; or nobody knows


@dataclass(frozen=True, slots=True)
class Line:
    """One fact: `+ create  www A  192.0.2.80  brenta.example.yaml:3`."""

    tone: Tone
    label: str
    name: str = ""
    detail: str = ""
    source: str = ""
    remedy: str = ""  # what somebody should do about it
    heed: str = ""  # the heading under which it stands on top, too: UNAPPROVED or none


@dataclass(frozen=True, slots=True)
class Block:
    """One scope, or the findings of one customer: a heading and its facts."""

    customer: str
    heading: str
    source: str
    lines: Sequence[Line] = ()
    aside: Sequence[Line] = ()  # not in this merge: what somebody outside did, and what nobody declared
    commands: Sequence[str] = ()  # what ends the aside, to paste


@dataclass(frozen=True, slots=True)
class View:
    kind: str  # plan, drift or apply
    title: str
    facts: Sequence[str]  # one line under the title
    blocks: Sequence[Block]
    summary: str
    notes: Sequence[Line] = ()
    document: dict[str, object] = field(default_factory=dict)  # the same for programs
    alarms: Sequence[str] = ()  # before everything else


# -- plan and drift -------------------------------------------------------------------------------------------


def of_plan(plan: Plan, warnings: Sequence[Problem] = ()) -> View:
    """What the next apply would do."""
    blocks = [_plan_block(s, "plan") for s in _ordered(plan.scopes) if _worth_telling(s)]
    return View(
        "plan",
        "PLAN",
        _facts(plan),
        blocks,
        plan_summary(_counts(plan)),
        [*_retired(plan), *_warned(warnings)],
        _plan_document(plan),
        [*plan.doubts, *_alarms(plan.emergencies), *_in_front(plan.scopes)],
    )


def of_drift(plan: Plan, findings: Findings, proved: str = "") -> View:
    """
    What differs from Git although nobody changed Git; before it, what is wrong although nothing differs.

    `proved` says in a few words how live tests ended.
    """
    blocks = [_plan_block(s, "drift") for s in _ordered(plan.scopes) if s.left or s.accepted or s.error or s.steps]
    blocks = sorted([*_finding_blocks(findings), *blocks], key=lambda block: block.customer)
    facts = [*_facts(plan), f"{'' if findings.asked else 'not '}checked from outside", *([proved] if proved else ())]
    counts = _counts(plan) + Counter(f"finding {each.severity}" for each in findings.open)
    document = {**_plan_document(plan), "counts": dict(counts), "findings": _findings_document(findings)}
    summary = drift_summary(counts)
    let = {(each.finding.customer, each.finding.path) for each in findings.accepted if each.finding.code == IN_FRONT}
    told = [s for s in plan.scopes if (s.scope.customer, f"{s.scope.facet}/{s.scope.name}") not in let]
    alarms = [*_alarms(plan.emergencies), *_in_front(told)]
    return View("drift", "DRIFT", facts, blocks, summary, _retired(plan), document, alarms)


def drift_summary(counts: Counts) -> str:
    counts = Counter(counts)
    said = "Nothing was changed outside."
    if counts["outside"]:
        # Once there are observations to tell it by, it is said how much is new.
        news = f" ({counts['outside'] - counts['seen before']} new)" if counts["told by observations"] else ""
        parts = [f"{count(counts['outside'], 'resource')} changed outside{news}", f"{counts['unmanaged']} unmanaged"]
        parts += [f"{counts['due']} not yet applied"] if counts["due"] else []
        said = "; ".join(parts) + "."
    return " ".join([*_findings_summary(counts), said]) + _unread(counts)


def _alarms(emergencies: Iterable[Emergency]) -> list[str]:
    """A sentence for each run."""
    return [
        f"Emergency apply by {each.who.partition(' <')[0]} on {each.when.astimezone(UTC):%Y-%m-%d %H:%M} UTC:"
        f" {each.reason}; {count(changes, 'change')}; not yet in Git's main: {each.branch}"
        for each, changes in _runs(emergencies)
    ]


def _in_front(scopes: Iterable[ScopePlan]) -> list[str]:
    """What targets say that nobody may overlook."""
    return [
        f"{plan.scope.customer} {plan.scope.facet}/{plan.scope.name}: {each}"
        for plan in scopes
        if isinstance(alarms := plan.facts.get("alarms"), tuple)
        for each in alarms
    ]


def _runs(emergencies: Iterable[Emergency]) -> list[tuple[Emergency, int]]:
    """The ledger tells them scope by scope: each run once, with the number of its changes, the newest first."""
    found: dict[str, list[Emergency]] = {}
    for each in emergencies:
        found.setdefault(each.branch, []).append(each)
    ordered = sorted(found.values(), key=lambda parts: (parts[0].when, parts[0].branch), reverse=True)
    return [(parts[0], sum(len(part.ids) for part in parts)) for parts in ordered]


def _ordered(scopes: Iterable[ScopePlan]) -> list[ScopePlan]:
    """By customer; what lets in what was kept out comes first."""
    scopes = [*scopes]
    open_ = {s.scope.customer for s in scopes if _opens(s)}
    names = [(s.scope.customer, not _opens(s), s.scope.facet, s.scope.name, s.scope.target) for s in scopes]
    ordered = sorted(zip(names, range(len(scopes)), scopes, strict=True), key=lambda row: (row[0][0] not in open_, row))
    return [scope for _, _, scope in ordered]


def _opens(plan: ScopePlan) -> bool:
    return any(step.opens for step in plan.steps)


def _worth_telling(scope: ScopePlan) -> bool:
    """A scope of which nothing is declared and nothing is there is not made, so nothing is said of it."""
    return bool(scope.steps or scope.drifted or scope.error or scope.unknown or scope.accepted or scope.gone)


def _facts(plan: Plan) -> list[str]:
    customers = {s.scope.customer for s in plan.scopes}
    targets = {s.scope.target for s in plan.scopes}
    who = next(iter(customers)) if len(customers) == 1 else count(len(customers), "customer")
    seen = sum(s.seen_at is not None for s in plan.scopes)
    return [
        who,
        f"{count(len(plan.scopes), 'scope')} on {count(len(targets), 'target')}",
        *([f"{seen:,} as seen before"] if seen else ()),
        f"read {plan.read_at:%H:%M} {plan.read_at.tzname()}",
        *asked_facts(plan.asked.tickets, plan.asked.by),
    ]


def asked_facts(tickets: Sequence[str], by: Sequence[str]) -> Iterator[str]:
    """Who asked for it, and where."""
    for what, names in (("ticket", tickets), ("asked by", by)):
        if names:
            yield f"{what} {', '.join(names[:SHOWN_ASKED])}" + (
                f" and {len(names) - SHOWN_ASKED} more" if len(names) > SHOWN_ASKED else ""
            )


Counts = Mapping[str, int]  # how often each thing is there that a summary says


def _counts(plan: Plan) -> Counter[str]:
    found = Counter(change.verb for scope in plan.scopes for change in scope.due)
    found.update(str(step.standing) for s in plan.scopes for step in s.steps if step.standing is not Standing.DUE)
    found["outside"] = sum(len(s.drifted) for s in plan.scopes)
    found["unmanaged"] = sum(len(s.of(Cause.UNMANAGED)) for s in plan.scopes)
    found["unreachable"] = sum(bool(s.error) and s.unreachable for s in plan.scopes)
    found["errors"] = sum(bool(s.error) and not s.unreachable for s in plan.scopes)
    found["only due"] = plan.only_due
    found["due"] = plan.changes
    found["told by observations"] = any(s.since is not None for s in plan.scopes)
    found["seen before"] = sum(d.id in (s.since or ()) for s in plan.scopes for d in s.drifted)
    return found


def plan_summary(counts: Counts) -> str:
    counts = Counter(counts)
    held, unapproved, outside = counts[str(Standing.HELD)], counts[str(Standing.APPROVAL)], counts["outside"]
    changes = counts["update"] + counts["rename"]
    if counts["create"] or changes or counts["delete"]:
        said = f"{counts['create']} to create, {changes} to change, {counts['delete']} to delete."
    elif held or unapproved or outside or counts["only due"] or counts["unreachable"] or counts["errors"]:
        said = "Nothing is due."
    else:
        said = "Nothing to do: every declaration is true."
    said += f" {count(unapproved, 'change')} not without an approval." if unapproved else ""
    said += f" {count(held, 'change')} held." if held else ""
    said += f" {count(outside, 'difference')} from outside left alone." if outside else ""
    return said + _unread(counts)


def _unread(counts: Counts) -> str:
    parts = [
        f"{count(counts.get(name, 0), 'scope')} {said}"
        for name, said in (("unreachable", "unreachable"), ("errors", "with errors"))
        if counts.get(name)
    ]
    return f" Not read: {', '.join(parts)}." if parts else ""


def _plan_block(plan: ScopePlan, kind: str) -> Block:
    lines = [_step_line(step, plan) for step in _worst_first(plan.steps)]
    if any(step.standing is Standing.APPROVAL for step in plan.steps):
        where = f"customers/{plan.scope.customer}/approvals.yaml"
        lines.append(Line(Tone.QUIET, "approvals", "", f"are given by name, in {where}"))
    if plan.error:
        label = "unreachable" if plan.unreachable else "error"
        lines = [Line(Tone.BAD, label, detail=text) for text in plan.error.splitlines()]
    elif plan.gone:
        lines.insert(0, _going(plan))
    elif not plan.exists and kind == "plan" and (plan.steps or plan.unknown):
        lines.insert(0, Line(Tone.ADD, "new", plan.scope.name, "is not there yet; it will be made"))
    if plan.untried and kind == "plan":
        lines.append(Line(Tone.WARN, "untried", plan.scope.target, plan.untried))
    lines += [Line(Tone.QUIET, "later", i.name, "waits for something that is made first") for i in plan.unknown]
    aside, commands = _aside(plan)
    heading = f"{plan.scope} as seen {plan.seen_at:%Y-%m-%d %H:%M}" if plan.seen_at else str(plan.scope)
    return Block(plan.scope.customer, heading, plan.source, lines, aside, commands)


def _going(plan: ScopePlan) -> Line:
    if not plan.exists:
        return Line(Tone.QUIET, "forgotten", plan.scope.name, "left Git and is not there any more")
    if plan.due:
        return Line(Tone.TAKE, "remove", plan.scope.name, "left Git: goes with everything in it, if the target can")
    return Line(Tone.QUIET, "kept", plan.scope.name, "left Git, and does not go yet")


def _worst_first(steps: Sequence[Step]) -> list[Step]:
    order = {"delete": 0, "rename": 1, "update": 2, "create": 3}
    return sorted(steps, key=lambda s: (not s.opens, order[s.change.verb], s.change.id))


def _step_line(step: Step, plan: ScopePlan) -> Line:
    line = change_line(step.change, plan.words.get(step.change.id, ""))
    line = replace(line, tone=Tone.OPENS) if step.opens else line
    if step.standing is Standing.DUE:
        return replace(line, detail=f"{line.detail} [{step.reason}]") if step.reason else line
    if step.standing is Standing.APPROVAL:
        said = f"{line.label}s {line.detail}: {step.reason}"
        tone = Tone.OPENS if step.opens else Tone.OUTSIDE
        return Line(tone, str(step.standing), line.name, said, line.source, heed="" if step.opens else UNAPPROVED)
    return Line(Tone.QUIET, str(step.standing), line.name, f"{line.detail} [{step.reason}]", line.source)


def _aside(plan: ScopePlan) -> tuple[list[Line], list[str]]:
    lines = [_since(plan, _difference_line(d), d) for d in plan.drifted]
    lines = [
        replace(line, heed=UNAPPROVED) if d.cause in CONTESTED else line
        for d, line in zip(plan.drifted, lines, strict=True)
    ]
    unmanaged = plan.of(Cause.UNMANAGED)
    if unmanaged:
        shown = ", ".join(d.id.name for d in unmanaged[:SHOWN_UNMANAGED])
        more = f" and {len(unmanaged) - SHOWN_UNMANAGED} more" if len(unmanaged) > SHOWN_UNMANAGED else ""
        lines.append(Line(Tone.QUIET, "unmanaged", "", f"{shown}{more}: live, not in Git; left alone"))
    lines += [
        Line(Tone.QUIET, "accepted", a.difference.id.name, f"as it is until {a.until}, by {a.who}: {a.why}")
        for a in plan.accepted
    ]
    commands = []
    path = _resource_path(plan)
    if any(d.cause in (Cause.DRIFT, Cause.CAME_BACK) for d in plan.drifted):
        commands.append(f"mspctl apply --revert -c {plan.scope.customer} {path}")
    if plan.left:
        only_unmanaged = not plan.drifted and len(plan.left) > 1
        commands.append(f"mspctl adopt {plan.scope.customer} {path}{' --unmanaged' if only_unmanaged else ''}")
    if any(d.cause in CONTESTED for d in plan.left):
        commands.append(f"$EDITOR customers/{plan.scope.customer}/approvals.yaml")
    return lines, commands


def _since(plan: ScopePlan, line: Line, difference: Difference) -> Line:
    since = (plan.since or {}).get(difference.id)
    return replace(line, detail=f"{line.detail} (since {since:%Y-%m-%d %H:%M})") if since else line


def _resource_path(plan: ScopePlan) -> str:
    scope = f"{plan.scope.facet}/{plan.scope.name}"
    named = plan.drifted or plan.of(Cause.UNMANAGED)
    return f"'{scope}/{named[0].id.name}'" if len(named) == 1 else scope


_SAID = {
    Cause.DRIFT: "changed outside",
    Cause.CONFLICT: "conflict",
    Cause.TAKE_OVER: "take-over",
    Cause.CAME_BACK: "came back",
    Cause.PENDING: "pending",
}


def _difference_line(difference: Difference) -> Line:
    declared, live = difference.declared, difference.live
    source = declared.source if declared else ""
    if declared is None:
        detail = f"{spoken(live)} is live" if live else ""
        why = {
            Cause.CAME_BACK: " again, though it was deleted",
            Cause.CONFLICT: ", not as it was applied, and no longer in Git",
        }
        return Line(
            Tone.OUTSIDE, _SAID[difference.cause], difference.id.name, detail + why.get(difference.cause, ""), source
        )
    if live is None:
        return Line(
            Tone.OUTSIDE, _SAID[difference.cause], difference.id.name, f"deleted; Git says {spoken(declared)}", source
        )
    pairs = {n: _pair(declared.id.kind, n, declared.fields[n], live.fields.get(n)) for n in difference.fields}
    parts = [f"{name}: Git says {git}, live is {now}" for name, (git, now) in pairs.items()]
    if difference.renamed:
        parts.insert(0, f"Git renames {live.id.name}, which mspctl did not make")
    return Line(Tone.OUTSIDE, _SAID[difference.cause], difference.id.name, "; ".join(parts), source)


# -- findings -------------------------------------------------------------------------------------------------

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


def _retired(plan: Plan) -> list[Line]:
    return [Line(Tone.OUTSIDE, "retired", str(scope), _kept(scope)) for scope in plan.retired]


def _kept(scope: Scope) -> str:
    name = f"resource: {scope.facet}/{scope.name}, target: {scope.target}"
    return f"left Git; nothing there is touched until an approval names {name}"


def _warned(warnings: Sequence[Problem]) -> list[Line]:
    if not warnings:
        return []
    return [
        Line(Tone.QUIET, "warnings", "", f"{count(len(warnings), 'warning')} in the files (mspctl validate shows them)")
    ]


# -- apply ----------------------------------------------------------------------------------------------------


def of_outcome(outcome: Outcome, command: str, done: str = "Nothing is pending.") -> View:
    """What an apply did, what it did not and why, and the command that finishes it; `done` when nothing is left."""
    plans = {p.scope: p for p in outcome.plans}
    blocks = [_outcome_block(end, plans.get(end.scope)) for _, end in sorted(outcome.scopes.items())]
    others = [p for p in _ordered(plans.values()) if p.scope not in outcome.scopes]
    blocks += [_plan_block(p, "apply") for p in others if p.error]
    blocks += [Block(p.scope.customer, str(p.scope), p.source, _waiting(p)) for p in others if _waiting(p)]
    counts = _outcome_counts(outcome)
    document = {**_outcome_document(outcome), "counts": dict(counts), "command": command}
    notes = [Line(Tone.BAD, "ledger", detail=outcome.ledger_error)] if outcome.ledger_error else []
    notes += [Line(Tone.BAD, "not proved", detail=outcome.unproved)] if outcome.unproved else []
    alarms = [*_alarms(outcome.emergencies), *_in_front(outcome.plans)]
    summary = outcome_summary(counts, command, done)
    return View("apply", "APPLY", apply_facts(counts), blocks, summary, notes, document, alarms)


def _outcome_counts(outcome: Outcome) -> Counter[str]:
    plans = {p.scope: p for p in outcome.plans}
    steps = [step for p in plans.values() for step in p.steps]
    waits = sum(len(s.waits) for s in outcome.scopes.values())
    return Counter(
        {
            "landed": outcome.landed,
            "failed": sum(len(s.failed) for s in outcome.scopes.values()),
            "unread": sum(bool(p.error) and p.scope not in outcome.scopes for p in plans.values()),
            "waiting": waits + sum(step.standing is not Standing.DUE for step in steps),
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
    summary += f" {count(counts['failed'], 'change')} did not." if counts["failed"] else ""
    summary += f" {count(counts['unread'], 'scope')} could not be read." if counts["unread"] else ""
    summary += f" {count(counts['waiting'], 'change')} held." if counts["waiting"] else ""
    contested = f" {count(counts['contested'], 'difference')} not without an approval."
    summary += contested if counts["contested"] else ""
    if counts["failed"] or counts["unread"]:
        return f"{summary} To finish, run again: {command}"
    left = any(counts[name] for name in ("waiting", "contested", "unfinished"))
    return summary if left else f"{summary} {done}"


def _waiting(plan: ScopePlan) -> list[Line]:
    return [_step_line(step, plan) for step in _worst_first(plan.steps) if step.standing is not Standing.DUE]


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


# -- words ----------------------------------------------------------------------------------------------------


def change_line(change: Change, words: str = "") -> Line:
    """`words`: what its section says that it does then."""
    why = f" ({_UNDONE[change.cause]})" if change.cause in _UNDONE else ""
    if change.before is None and change.after is not None:
        return Line(Tone.ADD, "create", change.id.name, (words or spoken(change.after)) + why, change.after.source)
    if change.after is None and change.before is not None:
        return Line(Tone.TAKE, "delete", change.id.name, spoken(change.before) + why)
    assert change.before is not None, "a change has a before or an after"
    assert change.after is not None, "a change has a before or an after"
    before, after, named = change.before.fields, change.after.fields, _has_lists(change.after)
    parts = [_step_said(change.id.kind, name, before.get(name), after[name], named) for name in change.changed]
    parts += [f"now {words}"] if (words := words or kinds.in_words(change.after)) else []
    if change.verb == "rename":
        return Line(
            Tone.CHANGE,
            "rename",
            change.id.name,
            "; ".join([f"was {change.before.id.name}", *parts]) + why,
            change.after.source,
        )
    return Line(Tone.CHANGE, "change", change.id.name, "; ".join(parts) + why, change.after.source)


_UNDONE = {Cause.DRIFT: "undoes a change from outside", Cause.CAME_BACK: "was deleted before, and came back"}


def _has_lists(resource: Resource) -> bool:
    """Whether values do not say by themselves which field they are in."""
    return sum(isinstance(value, frozenset) for value in resource.fields.values()) > 1


def _step_said(kind: str, name: str, before: Value | None, after: Value, named: bool) -> str:
    if isinstance(before, frozenset) and isinstance(after, frozenset):
        gone, new = sorted(before - after), sorted(after - before)
        which = f"{name} " if named else ""
        if len(gone) == len(new) == 1:
            return f"{which}{gone[0]} → {new[0]}"
        return which + ", ".join([*(f"- {v}" for v in gone), *(f"+ {v}" for v in new)])
    if isinstance(before, tuple) and isinstance(after, tuple):
        return f"{name}: {', '.join(_moves(before, after))}"
    was, will = _pair(kind, name, before, after)
    return f"{name} {was} → {will}"


def _moves(before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[str]:
    """How one order becomes another; of long ones nobody reads all."""
    now = [name for name in before if name in {*after}]
    matcher = SequenceMatcher(None, now, [name for name in after if name in {*now}], autojunk=False)
    stay = {name for block in matcher.get_matching_blocks() for name in now[block.a : block.a + block.size]}
    yield from (f"- {name}" for name in before if name not in {*after})
    for above, name in zip(("", *after), after, strict=False):
        if name not in stay:
            yield f"{'' if name in now else '+ '}{name} {f'after {above}' if above else 'first'}"


def _pair(kind: str, name: str, *values: Value | None) -> tuple[str, ...]:
    """Values of one field, without its name; to the letter where words would hide that they differ."""
    found = tuple(_worded(kind, name, value).removeprefix(f"{name} ") or said(value) for value in values)
    return found if len({*found}) == len(found) else tuple(map(said, values))


def _worded(kind: str, name: str, value: Value | None) -> str:
    return (kinds.worded(kind, name, value) or "") if isinstance(value, str | int) else ""


def spoken(resource: Resource) -> str:
    """A resource's fields in one line: values first, the rest by name."""
    if words := kinds.in_words(resource):
        return words
    return ", ".join(_fields(resource))


def _fields(resource: Resource) -> Iterator[str]:
    named = _has_lists(resource)
    for name, value in sorted(resource.fields.items(), key=lambda item: not isinstance(item[1], frozenset | tuple)):
        words = kinds.worded(resource.id.kind, name, value)
        if words is None and isinstance(value, frozenset | tuple):
            words = f"{name} {said(value)}" if named and value else "" if named else said(value)
        elif words is None:
            words = f"{name} {said(value)}"
        yield from [words] if words else ()


def said(value: Value | None) -> str:
    if value is None:
        return "nothing"
    if value is UNKNOWN:
        return "unknown"
    if isinstance(value, frozenset):
        return " · ".join(sorted(value)) or "nothing"
    if isinstance(value, tuple):
        return ", ".join(value) or "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if value != "" else "nothing"


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


# -- for programs ---------------------------------------------------------------------------------------------


def _plan_document(plan: Plan) -> dict[str, object]:
    return {
        "format": "mspctl.plan/1",
        "read_at": plan.read_at.isoformat(),
        "digest": plan.digest,
        "changes": plan.changes,
        "counts": dict(_counts(plan)),
        "tickets": [*plan.asked.tickets],
        "asked_by": [*plan.asked.by],
        "scopes": [_scope_document(s) for s in _ordered(plan.scopes)],
        "retired": [_scope(s) for s in plan.retired],
        "emergencies": _emergencies(plan.emergencies),
    }


def _emergencies(found: Iterable[Emergency]) -> list[dict[str, object]]:
    return [
        {"who": e.who, "when": e.when.isoformat(), "reason": e.reason, "branch": e.branch, "changes": changes}
        for e, changes in _runs(found)
    ]


def _scope(scope: Scope) -> dict[str, object]:
    return {"customer": scope.customer, "target": scope.target, "facet": scope.facet, "name": scope.name}


def _scope_document(plan: ScopePlan) -> dict[str, object]:
    return {
        **_scope(plan.scope),
        "after": [_scope(other) for other in plan.scope.after],
        "digest": Plan([plan], EPOCH).digest if plan.due else "",
        "source": plan.source,
        "declared": plan.declared,
        "exists": plan.exists,
        "error": plan.error,
        "unreachable": plan.unreachable,
        "seen_at": plan.seen_at and plan.seen_at.isoformat(),
        "changes": [_step_document(s, plan) for s in _worst_first(plan.steps)],
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
    return {
        "kind": difference.id.kind,
        "name": difference.id.name,
        "cause": str(difference.cause),
        "fields": {name: str(cause) for name, cause in difference.fields.items()},
        "declared": _plain(difference.declared),
        "live": _plain(difference.live),
        "since": since and since.isoformat(),
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


def _findings_document(findings: Findings) -> dict[str, object]:
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


def _outcome_document(outcome: Outcome) -> dict[str, object]:
    ends = [end for _, end in sorted(outcome.scopes.items())]
    unread = [p for p in _ordered(outcome.plans) if p.error and p.scope not in outcome.scopes]
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
                "not_landed": [_change(c) for c in end.failed],
                "waits": [i.name for i in end.waits],
                "outputs": {name: _plain_value(value) for name, value in sorted(end.outputs.items())},
            }
            for end in ends
        ],
        "not_read": [{**_scope(p.scope), "error": p.error, "unreachable": p.unreachable} for p in unread],
    }
