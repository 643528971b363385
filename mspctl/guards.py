"""
What takes away or lets in, or could: it needs an approval that names it, in Git, reviewed like everything else. Pure.

All numbers are here. A small customer is guarded as well as a large one: a share alone would let a zone of nine
records be emptied, a count alone a list of three.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from mspctl import kinds
from mspctl.driver import Measured, Unmeasured
from mspctl.kinds import AMISS
from mspctl.proof import LATE, Proof, Proving, Verdict
from mspctl.record import Emergency
from mspctl.resource import Cause, Change, Id, Resource

LOSSES_FROM = 3  # fewer losses in one scope are everyday work
LOSSES = 3  # more than this many need an approval
SHARE = 0.3  # so does more than this share of what is live

SKEW = timedelta(minutes=5)  # what clocks of a server and of its backups may differ
NO_PURGES: Mapping[Id, str] = MappingProxyType({})

CONTESTED: Mapping[Cause, str] = {
    Cause.CONFLICT: "Git and somebody outside both changed it",
    Cause.TAKE_OVER: "something else is there already, and would be replaced",
}


def judge(
    changes: Sequence[Change],
    live: Sequence[Resource],
    recorded: Collection[Id],
    holds_data: Collection[str] = frozenset(),
    purges: Mapping[Id, str] = NO_PURGES,
    now: datetime | None = None,
    held: Collection[Id] = (),
) -> dict[Id, str]:
    """
    Why each of a scope's changes needs an approval; changes that need none are absent.

    `live` is everything the scope holds, `recorded` what we left there, `holds_data` kinds whose delete loses data.
    `purges` are things whose time is over, each with why it must not go by itself all the same: see `purge`. `now`
    tells which rules are over. Changes that are `held` by something else may not be carried out.
    """
    reasons: dict[Id, str] = {}
    if recorded and not live:
        text = f"the target says that nothing is there, but {len(recorded)} resources are recorded"
        return {change.id: text for change in changes}
    taken = (_data(changes, holds_data, purges), _last(changes, live), _many(changes, live, now))
    contested = _contested(changes)
    waiting = {*held, *(id_ for reason in (contested, *taken) for id_ in reason)}
    for reason in (contested, _wider(changes, live, waiting, now), *taken):
        for id_, text in reason.items():
            reasons.setdefault(id_, text)
    return reasons


def undone(changes: Sequence[Change], emergencies: Iterable[Emergency]) -> dict[Id, str]:
    """What an emergency apply left is not changed in passing by a merge that does not know of it."""
    return {
        change.id: f"an emergency apply left it so (merge {emergency.branch} first)"
        for emergency in emergencies
        for change in changes
        if change.cause is Cause.PENDING and {r.id for r in (change.before, change.after) if r} & emergency.ids
    }


def joint(
    changes: Sequence[Change],
    live: Sequence[Resource],
    recorded: Collection[Id],
    named: Collection[Id],
    now: datetime | None = None,
) -> set[Id]:
    """Changes that wait for each other: with the `named` ones done, the rest would pass as everyday work."""
    if recorded and not live:
        return set() if all(c.id in named for c in changes) else {c.id for c in changes}
    many = _many(changes, live, now)
    rest = [c for c in changes if c.id in many and c.id not in named]
    held = {c.id for c in rest}
    after = {r.id: r for r in live} | {c.id: c.after for c in changes if c.id not in held}
    return {*many} if rest and not _many(rest, [r for r in after.values() if r is not None], now) else set()


def losses(change: Change) -> int:
    """How much one change takes away: a delete is one, so is each value gone, an account disabled, a group emptied."""
    if change.before is None:
        return 0
    if change.after is None:
        return 1
    lost = 0
    for name in change.changed:
        if name == AMISS:  # what is wrong with a thing is no part of it
            continue
        before, after = change.before.fields.get(name), change.after.fields[name]
        known = kinds.lost(change.id.kind, name, before, after)
        if known is not None:
            lost += known
        elif isinstance(before, frozenset | tuple) and isinstance(after, frozenset | tuple):
            lost += max(0, len(before) - len(after))
        elif name == "enabled" and before is True and after is False:
            lost += 1
    return lost


def _only_tidies(change: Change, now: datetime | None) -> bool:
    """Whether it takes away what counts no more anyway."""
    return bool(now and change.before and change.after is None and kinds.is_over(change.before, now))


def _contested(changes: Sequence[Change]) -> dict[Id, str]:
    return {change.id: CONTESTED[change.cause] for change in changes if change.cause in CONTESTED}


def _wider(
    changes: Sequence[Change], live: Sequence[Resource], held: Collection[Id], now: datetime | None
) -> dict[Id, str]:
    """What lets in anybody from anywhere, whether those that are `held` for another reason are approved or not."""
    ends = [[*_after(done, live).values()] for done in (changes, [c for c in changes if c.id not in held])]
    found = ((c.id, kinds.widens(c.before, c.after, live, end, now)) for end in ends for c in changes)
    return {id_: why for id_, why in found if why}


def opening(changes: Sequence[Change], live: Sequence[Resource]) -> set[Id]:
    """What lets in what was kept out; it is told before everything else."""
    after = [*_after(changes, live).values()]
    return {c.id for c in changes if kinds.opens(c.before, c.after, live, after)}


def _after(changes: Sequence[Change], live: Sequence[Resource]) -> dict[Id, Resource]:
    """What a scope holds when its changes are carried out."""
    after = {r.id: r for r in live}
    for change in changes:
        if change.before is not None:
            after.pop(change.before.id, None)
        if change.after is not None:
            after[change.id] = change.after
    return after


def purge(backup: Proof | None, newest: Measured) -> str:
    """
    Why a thing whose time is over must not go by itself; "" when all it holds is in a backup that was restored.

    `backup` is the last proof that its scope can be restored, `newest` when something came into it last.
    """
    if backup is None:
        return "it was never proved that a backup of it can be restored"
    if backup.verdict is not Verdict.PASSED:
        return f"the last proof of its backup, on {backup.made:%Y-%m-%d}, {_ENDED[backup.verdict]} ({backup.why})"
    if not (newest is None or isinstance(newest, datetime)):
        why = newest.why if isinstance(newest, Unmeasured) else f"{newest} is no time"
        return f"nobody knows when something came into it last ({why})"
    if newest and newest + SKEW >= backup.vouches_for:
        came, taken = (f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC" for moment in (newest, backup.vouches_for))
        return f"something came into it on {came}, and the backup that was proved is of {taken}"
    return ""


def unproved(proving: Proving, last: Proof | None, now: datetime) -> str:
    """Why what `proving` is about may not go yet; "" when what takes its place was proved lately."""
    if not proving.every:
        return f"nothing proves {proving.name} (write proof: {{every: 7d}} in {proving.section}.yaml)"
    if last is None:
        return f"{proving.name} is proved first: mspctl prove --section {proving.section}"
    if last.verdict is not Verdict.PASSED:
        return f"the last proof of {proving.name}, on {last.made:%Y-%m-%d}, {_ENDED[last.verdict]} ({last.why})"
    if (now - last.made).total_seconds() > LATE * proving.every:
        return f"{proving.name} was proved last on {last.made:%Y-%m-%d}: mspctl prove --section {proving.section}"
    return ""


_ENDED = {Verdict.FAILED: "failed", Verdict.UNKNOWN: "could not be made"}


def _data(changes: Sequence[Change], holds_data: Collection[str], purges: Mapping[Id, str]) -> dict[Id, str]:
    gone = [c for c in changes if c.after is None and c.id.kind in holds_data]
    reasons = {change.id: purges.get(change.id, "what it holds would be lost") for change in gone}
    return {id_: reason for id_, reason in reasons.items() if reason}


def _last(changes: Sequence[Change], live: Sequence[Resource]) -> dict[Id, str]:
    """The last of a kind that a service cannot do without: the MX, the administrator, the rule that lets us in."""
    left = Counter(kinds.precious(r) for r in _after(changes, live).values())
    reasons = {}
    for change in changes:
        what = kinds.precious(change.before) if change.before else ""
        if what and not left[what]:
            reasons[change.id] = f"it is the last {what}"
    return reasons


def _many(changes: Sequence[Change], live: Sequence[Resource], now: datetime | None) -> dict[Id, str]:
    lost = {change.id: losses(change) for change in changes if not _only_tidies(change, now)}
    total = sum(lost.values())
    held = max(len(live), 1)
    if total < LOSSES_FROM or not (total > LOSSES or total > SHARE * held):
        return {}
    text = f"{total} losses in a scope of {len(live)} (more than {LOSSES}, or more than {SHARE:.0%}, need a name each)"
    return {id_: text for id_, count in lost.items() if count}
