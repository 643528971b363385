"""
What a report of a plan says: first what lets in and what takes away, then what else changes, then what does not happen.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from mspctl.amounts import count
from mspctl.diff import Difference
from mspctl.driver import Touched
from mspctl.errors import Problem
from mspctl.guards import CONTESTED
from mspctl.plan import Plan, ScopePlan, Standing, Step
from mspctl.record import Emergency
from mspctl.report.documents import counts_of, ordered, plan_document, runs, worst_first
from mspctl.report.view import ELSEWHERE, UNAPPROVED, Block, Line, Tone, View
from mspctl.report.words import change_line, difference_line, touched_words
from mspctl.resource import Cause, Scope

UNDONE = frozenset({Cause.DRIFT, Cause.CAME_BACK})  # what apply --revert undoes
ACCEPT = "--why '…' --until '…'"  # what somebody has to say who accepts a line
NEVER = datetime.min.replace(tzinfo=UTC)
SHOWN_ASKED = 5  # tickets, and people who asked
SHOWN_UNMANAGED = 5  # names in a line; the rest is counted


def of_plan(plan: Plan, warnings: Sequence[Problem] = ()) -> View:
    """What the next apply would do."""
    blocks = [plan_block(s, "plan") for s in ordered(plan.scopes) if _worth_telling(s)]
    return View(
        "plan",
        "PLAN",
        facts_of(plan),
        blocks,
        plan_summary(counts_of(plan)),
        [*retired(plan), *_warned(warnings)],
        plan_document(plan),
        [*plan.doubts, *alarms_of(plan.emergencies), *in_front(plan.scopes)],
    )


def alarms_of(emergencies: Iterable[Emergency]) -> list[str]:
    """A sentence for each run."""
    return [
        f"Emergency apply by {each.who.partition(' <')[0]} on {each.when.astimezone(UTC):%Y-%m-%d %H:%M} UTC:"
        f" {each.reason}; {count(changes, 'change')}; not yet in Git's main: {each.branch}"
        for each, changes in runs(emergencies)
    ]


def in_front(scopes: Iterable[ScopePlan]) -> list[str]:
    """What targets say that nobody may overlook."""
    return [
        f"{plan.scope.customer} {plan.scope.facet}/{plan.scope.name}: {each}"
        for plan in scopes
        if isinstance(alarms := plan.facts.get("alarms"), tuple)
        for each in alarms
    ]


def _worth_telling(scope: ScopePlan) -> bool:
    """A scope of which nothing is declared and nothing is there is not made, so nothing is said of it."""
    told = scope.steps or scope.elsewhere or scope.drifted or scope.error or scope.unknown or scope.accepted
    return bool(told or scope.gone)


def facts_of(plan: Plan) -> list[str]:
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


# What is not due, and is something all the same.
WAITING = (str(Standing.HELD), str(Standing.APPROVAL), "elsewhere", "outside", "only due", "unreachable", "errors")


def plan_summary(counts: Counts) -> str:
    counts = Counter(counts)
    held, unapproved, outside = counts[str(Standing.HELD)], counts[str(Standing.APPROVAL)], counts["outside"]
    changes = counts["update"] + counts["rename"]
    if counts["create"] or changes or counts["delete"]:
        said = f"{counts['create']:,} to create, {changes:,} to change, {counts['delete']:,} to delete."
    elif any(counts[name] for name in WAITING):
        said = "Nothing is due."
    else:
        said = "Nothing to do: every declaration is true."
    said += f" {count(unapproved, 'change')} not without an approval." if unapproved else ""
    said += f" {count(held, 'change')} held." if held else ""
    said += left_to_others(counts)
    said += f" {count(outside, 'difference')} from outside left alone." if outside else ""
    return said + unread(counts)


def left_to_others(counts: Counts) -> str:
    return f" {count(counts['elsewhere'], 'change')} left to other runs." if counts["elsewhere"] else ""


def unread(counts: Counts) -> str:
    parts = [
        f"{count(counts.get(name, 0), 'scope')} {said}"
        for name, said in (("unreachable", "unreachable"), ("errors", "with errors"))
        if counts.get(name)
    ]
    return f" Not read: {', '.join(parts)}." if parts else ""


def plan_block(plan: ScopePlan, kind: str, old: datetime = NEVER) -> Block:
    """What was first seen before `old` is known."""
    lines = [*(step_line(step, plan) for step in worst_first(plan.steps)), *elsewhere(plan)]
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
    aside, commands = _aside(plan, old)
    scope = plan.scope
    heading = f"{scope} as seen {plan.seen_at:%Y-%m-%d %H:%M}" if plan.seen_at else str(scope)
    return Block(scope.customer, heading, plan.source, lines, aside, commands, scope.facet, scope.target)


def _going(plan: ScopePlan) -> Line:
    if not plan.exists:
        return Line(Tone.QUIET, "forgotten", plan.scope.name, "left Git and is not there any more")
    if plan.due:
        return Line(Tone.TAKE, "remove", plan.scope.name, "left Git: goes with everything in it, if the target can")
    return Line(Tone.QUIET, "kept", plan.scope.name, "left Git, and does not go yet")


def elsewhere(plan: ScopePlan) -> Iterator[Line]:
    """What is for the run of another merge."""
    for step in worst_first(plan.elsewhere):
        yield replace(step_line(step, plan), label=ELSEWHERE)


def step_line(step: Step, plan: ScopePlan) -> Line:
    line = change_line(step.change, plan.words.get(step.change.id, ""))
    line = replace(line, tone=Tone.OPENS) if step.opens else line
    if step.standing is Standing.DUE:
        return replace(line, detail=f"{line.detail} [{step.reason}]") if step.reason else line
    if step.standing is Standing.APPROVAL:
        said = f"{line.label}s {line.detail}: {step.reason}"
        tone = Tone.OPENS if step.opens else Tone.OUTSIDE
        return Line(tone, str(step.standing), line.name, said, line.source, heed="" if step.opens else UNAPPROVED)
    return Line(Tone.QUIET, str(step.standing), line.name, f"{line.detail} [{step.reason}]", line.source)


def _aside(plan: ScopePlan, old: datetime) -> tuple[list[Line], list[str]]:
    lines = sorted((_left_line(plan, d, old) for d in plan.drifted), key=lambda line: not line.new)
    unmanaged = plan.of(Cause.UNMANAGED)
    if unmanaged:
        shown = ", ".join(_named(plan, d) for d in unmanaged[:SHOWN_UNMANAGED])
        more = f" and {len(unmanaged) - SHOWN_UNMANAGED} more" if len(unmanaged) > SHOWN_UNMANAGED else ""
        lines.append(Line(Tone.QUIET, "unmanaged", "", f"{shown}{more}: live, not in Git; left alone"))
    lines += [
        Line(Tone.QUIET, "accepted", a.difference.id.name, f"as it is until {a.until}, by {a.who}: {a.why}")
        for a in plan.accepted
    ]
    commands = []
    path = _resource_path(plan)
    if any(d.cause in UNDONE for d in plan.drifted):
        commands.append(_revert(plan.scope, path))
    if plan.left and _is_ours(plan.scope):
        only_unmanaged = not plan.drifted and len(plan.left) > 1
        commands.append(f"mspctl adopt {plan.scope.customer} {path}{' --unmanaged' if only_unmanaged else ''}")
    if plan.drifted and _is_ours(plan.scope):
        commands.append(f"mspctl accept {plan.scope.customer} {path} {ACCEPT}")
    if any(d.cause in CONTESTED for d in plan.left):
        commands.append(f"$EDITOR customers/{plan.scope.customer}/approvals.yaml")
    return lines, commands


def _left_line(plan: ScopePlan, difference: Difference, old: datetime) -> Line:
    line = replace(difference_line(difference), answers=_answers(plan, difference))
    line = replace(line, heed=UNAPPROVED) if difference.cause in CONTESTED else line
    if touched := _touched(plan, difference):
        line = replace(line, detail=f"{line.detail}; {touched_words(touched)}")
    if since := (plan.since or {}).get(difference.id):
        return replace(line, detail=f"{line.detail} (since {since:%Y-%m-%d %H:%M})", known=since < old)
    if plan.since is not None and plan.looked:
        return replace(line, detail=f"{line.detail} (new: not seen on {plan.looked:%Y-%m-%d %H:%M})", new=True)
    return line


def _named(plan: ScopePlan, difference: Difference) -> str:
    """What nobody declared, and who touched it last; of that alone a whole file says nothing."""
    touched = _touched(plan, difference)
    return f"{difference.id.name} ({touched_words(touched)})" if touched and not touched.whole else difference.id.name


def _touched(plan: ScopePlan, difference: Difference) -> Touched | None:
    return plan.touched.get(difference.live.id if difference.live else difference.id)


def _answers(plan: ScopePlan, difference: Difference) -> tuple[str, ...]:
    """What ends one line: to undo it, to take it into Git, to leave it; or somebody has to name it."""
    customer, path = plan.scope.customer, _resource(plan, difference)
    revert = (_revert(plan.scope, path),) if difference.cause in UNDONE else ()
    approve = (f"$EDITOR customers/{customer}/approvals.yaml",) if difference.cause in CONTESTED else ()
    ours = (f"mspctl adopt {customer} {path}", f"mspctl accept {customer} {path} {ACCEPT}")
    return (*revert, *(ours if _is_ours(plan.scope) else ()), *approve)


def _is_ours(scope: Scope) -> bool:
    """What Pulumi carries out is not adopted and not accepted: it knows only what its program says."""
    return scope.engine == "mspctl"


def _revert(scope: Scope, path: str) -> str:
    if _is_ours(scope):
        return f"mspctl apply --revert -c {scope.customer} {path}"
    return f"mspctl apply --engine {scope.engine} --revert -c {scope.customer}"


def _resource(plan: ScopePlan, difference: Difference) -> str:
    return shlex.quote(f"{plan.scope.facet}/{plan.scope.name}/{difference.id.name}")


def _resource_path(plan: ScopePlan) -> str:
    named = plan.drifted or plan.of(Cause.UNMANAGED)
    return _resource(plan, named[0]) if len(named) == 1 else shlex.quote(f"{plan.scope.facet}/{plan.scope.name}")


def retired(plan: Plan) -> list[Line]:
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
