"""Changes, differences and resources in words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from difflib import SequenceMatcher

from mspctl import kinds
from mspctl.diff import Difference
from mspctl.driver import Touched
from mspctl.kinds import AMISS
from mspctl.report.digest import cut, visible
from mspctl.report.view import Line, Tone
from mspctl.resource import UNKNOWN, Cause, Change, Resource, Value

LONGEST = 80  # characters of a name that a target has for somebody


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


def difference_line(difference: Difference) -> Line:
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
    parts = [now if name == AMISS else f"{name}: Git says {git}, live is {now}" for name, (git, now) in pairs.items()]
    if difference.renamed:
        parts.insert(0, f"Git renames {live.id.name}, which mspctl did not make")
    return Line(Tone.OUTSIDE, _SAID[difference.cause], difference.id.name, "; ".join(parts), source)


_SAID = {
    Cause.DRIFT: "changed outside",
    Cause.CONFLICT: "conflict",
    Cause.TAKE_OVER: "take-over",
    Cause.CAME_BACK: "came back",
    Cause.PENDING: "pending",
}


def touched_words(touched: Touched) -> str:
    """`last touched by admin@msp.example, 2027-03-04 13:58 UTC`, as far as that is known."""
    when = f"{touched.when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if touched.whole:
        return f"{touched.whole} written {when}"
    who = cut(visible(touched.who), LONGEST)
    return f"last touched by {who}, {when}" if who else f"last touched {when}"


def _has_lists(resource: Resource) -> bool:
    """Whether values do not say by themselves which field they are in."""
    return sum(isinstance(value, frozenset) for value in resource.fields.values()) > 1


def _step_said(kind: str, name: str, before: Value | None, after: Value, named: bool) -> str:
    if isinstance(before, frozenset) and isinstance(after, frozenset):
        gone, new = sorted(before - after), sorted(after - before)
        if name == AMISS and not new:
            return f"mends: {' · '.join(gone)}"
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
