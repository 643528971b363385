"""
Somebody who sees all that happens, and so knows without the ledger what may happen next.

Two memories, kept from what happened and from nothing that the engine thinks:

* `foreign`: what somebody outside wrote last and Git never agreed with. No plain apply may touch it.
* `claims`: what we may have left of each resource. With it, the table of the design says what the next apply does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date

from mspctl.diff import Difference
from mspctl.resource import UNKNOWN, Cause, Value
from tests.trust.git import BOX, SECRET, Git, Held, Place, accepted

WHOLE = ""  # stands for the resource itself among its fields
ABSENT = "(no resource)"  # likewise among the values of a field
CONTESTED = frozenset({Cause.CONFLICT, Cause.TAKE_OVER})

Cell = tuple[Place, str, str]  # place, resource, field
Used = tuple[Place, str]  # place, key of an approval


@dataclass
class Claim:
    """What we may have left of one resource."""

    there: set[bool] = field(default_factory=lambda: {False})
    fields: dict[str, set[Value | None]] = field(default_factory=dict)  # None: no such field
    sure: bool = False  # it was there for certain, once
    buried: bool = False  # we deleted it, or saw it go
    kept: Claim | None = None  # what counted as ours before a run that is not over

    def of(self, name: str) -> set[Value | None]:
        """The values of a field that count as ours; none when the resource is not."""
        if True not in self.there:
            return set()
        return self.fields.get(name, {None}) | ({ABSENT} if False in self.there else set())


@dataclass(frozen=True)
class Step:
    """What an apply does to one resource."""

    before: Held | None  # as it is read
    after: Held | None  # of an update, the fields that change
    approval: str = ""  # the key of the one that lets it through

    @property
    def losses(self) -> int:
        if self.before is None:
            return 0
        if self.after is None:
            return 1
        old, new = self.before.get("tags"), self.after.get("tags")
        return max(0, len(old) - len(new)) if isinstance(old, frozenset) and isinstance(new, frozenset) else 0

    @property
    def told(self) -> tuple[Held | None, Held | None]:
        """What is seen of it on the target: of an update, only what changes."""
        if self.before is None or self.after is None:
            return self.before, self.after
        return {n: self.before[n] for n in self.after if n in self.before}, self.after


def _readable(held: Held | None) -> Held:
    """Of a secret can be seen that there is one, and no more."""
    return {n: UNKNOWN if n == SECRET else v for n, v in (held or {}).items()}


def _many(steps: Iterable[Step], live: int) -> bool:
    lost = sum(step.losses for step in steps)
    return lost >= 3 and (lost > 3 or lost > 0.3 * max(live, 1))


class Witness:
    def __init__(self, git: Git, held: Callable[[Place], dict[str, Held]]) -> None:
        """`held`: what is in a scope now, with its secrets."""
        self.git = git
        self.held = held
        self.today = date(2027, 3, 5)
        self.claims: dict[tuple[Place, str], Claim] = {}
        self.foreign: set[Cell] = set()
        self.used: set[Used] = set()

    def claim(self, place: Place, name: str) -> Claim:
        return self.claims.get((place, name), Claim())

    def shown(self, place: Place, name: str) -> Held | None:
        """What can be read of it."""
        found = self.held(place).get(name)
        return found and _readable(found)

    def declared(self, place: Place) -> dict[str, Held]:
        return {n: accepted(fields) for n, fields in self.git.sections[place].resources.items()}

    # -- what the next apply does ---------------------------------------------------------------------------------

    def causes(self, place: Place, name: str) -> dict[str, Cause]:
        """The table: why each field is not as declared, or the whole."""
        declared, live = self.declared(place).get(name), self.shown(place, name)
        claim = self.claim(place, name)
        if declared is None:
            return {WHOLE: self._undeclared(claim, live)} if live is not None else {}
        if live is None:
            return {WHOLE: self._absent(claim, declared)}
        found = {n: self._field(claim.of(n), v, live.get(n)) for n, v in declared.items()}
        return {n: cause for n, cause in found.items() if cause is not None}

    @staticmethod
    def _undeclared(claim: Claim, live: Held) -> Cause:
        if True not in claim.there:
            return Cause.CAME_BACK if claim.buried else Cause.UNMANAGED
        ours = all(live.get(n) is UNKNOWN or live.get(n) in claim.of(n) for n in claim.fields)
        return Cause.PENDING if ours else Cause.CONFLICT

    @staticmethod
    def _absent(claim: Claim, declared: Held) -> Cause:
        if False in claim.there:
            return Cause.PENDING
        return Cause.DRIFT if all(claim.of(n) == {v} for n, v in declared.items()) else Cause.CONFLICT

    @staticmethod
    def _field(ours: set[Value | None], declared: Value, live: Value | None) -> Cause | None:
        if live is UNKNOWN:
            return None if ours <= {declared} else Cause.PENDING
        if live == declared:
            return None
        if live in ours:
            return Cause.PENDING
        if ours == {declared}:
            return Cause.DRIFT
        return Cause.TAKE_OVER if not ours or {None, ABSENT} & ours else Cause.CONFLICT

    def steps(self, place: Place, asked: Collection[Cause]) -> dict[str, Step]:
        """What an apply that is asked to end these causes does in one scope."""
        if gone := self.git.sections[place].gone:
            return self._going(place, gone.key)
        chosen: dict[str, Step] = {}
        guarded = set()
        asked = {*asked, *self.git.sections[place].also}
        for name in {*self.declared(place), *self.held(place)}:
            causes = self.causes(place, name)
            ends = self._ends(place, name, asked)
            due = {n for n, cause in causes.items() if cause in ends}
            if due:
                chosen[name] = self._step(place, name, due)
                guarded |= {name} if CONTESTED & {causes[n] for n in due} else set()
        if self.git.sections[place].mode != "enforce":
            return {}
        guarded |= {n for n in chosen if n == BOX and chosen[n].after is None}
        return self._let(place, chosen, guarded)

    def _going(self, place: Place, approval: str) -> dict[str, Step]:
        """A scope goes whole, or not at all."""
        live = {name: self.shown(place, name) for name in self.held(place)}
        ours = all(self.causes(place, name)[WHOLE] in (Cause.PENDING, Cause.CONFLICT) for name in live)
        return {name: Step(shown, None, approval) for name, shown in live.items()} if ours else {}

    def _ends(self, place: Place, name: str, asked: Collection[Cause]) -> Collection[Cause]:
        if self.git.is_accepted(place, name, self.today):
            return {Cause.PENDING}
        return {*asked, *CONTESTED} if self.approval(place, name) else asked

    def approval(self, place: Place, name: str) -> str:
        """The key of the one that may let something through, once."""
        found = (a.key for a in self.git.approval(place, name, self.today))
        return next((key for key in found if (place, key) not in self.used), "")

    def _step(self, place: Place, name: str, due: Iterable[str]) -> Step:
        declared, live = self.declared(place).get(name), self.shown(place, name)
        if declared is None or live is None:
            return Step(live, declared)
        return Step(live, {n: declared[n] for n in due})

    def _let(self, place: Place, chosen: Mapping[str, Step], guarded: set[str]) -> dict[str, Step]:
        """Without what waits for a name. When the rest would need none after a first apply, the first does nothing."""
        live = len(self.held(place))
        lost = {n: step for n, step in chosen.items() if step.losses}
        together = lost if _many(lost.values(), live) else {}
        if not live and any(p == place and claim.there == {True} for (p, _), claim in self.claims.items()):
            together = dict(chosen)
        keys = {n: self.approval(place, n) for n in chosen}
        named = {n: step for n, step in chosen.items() if keys[n] or n not in guarded | together.keys()}
        rest = [step for n, step in together.items() if n not in named]
        live += sum((step.after is not None) - (step.before is not None) for step in named.values())
        late = together if rest and not (_many(rest, live) and self.held(place)) else {}
        asked = guarded | together.keys()
        return {n: replace(step, approval=keys[n] if n in asked else "") for n, step in named.items() if n not in late}

    # -- what happens ---------------------------------------------------------------------------------------------

    def outside(self, place: Place, name: str, old: Held | None) -> None:
        """Somebody wrote, or deleted, past us; what is there by now is as we left it, or theirs."""
        new, claim = self.held(place).get(name), self.claim(place, name)
        if (old is None) is not (new is None):
            self._mark((place, name, WHOLE), (new is not None) in claim.there)
        was, now = _readable(old), _readable(new)
        made = claim.fields.keys() if old is None and new is not None else ()  # without a field, it is another one
        for n in {*was, *now, *made}:
            if was.get(n) != now.get(n) or n in made:
                self._mark((place, name, n), now.get(n) is UNKNOWN or now.get(n) in claim.of(n))

    def _mark(self, cell: Cell, ours: bool) -> None:
        if ours:
            self.foreign.discard(cell)
        else:
            self.foreign.add(cell)

    def lost(self, place: Place) -> None:
        """What the ledger knew of a scope is gone: nobody can tell any more whose anything is."""
        self.claims = {key: claim for key, claim in self.claims.items() if key[0] != place}
        self.used = {use for use in self.used if use[0] != place}
        self.foreign = {cell for cell in self.foreign if cell[0] != place}
        for name, fields in self.held(place).items():
            self.foreign |= {(place, name, n) for n in (WHOLE, *fields) if n != SECRET}

    def starts(self) -> None:
        """A run begins, and knows no other's half."""
        for claim in self.claims.values():
            claim.kept = None

    def begun(self, place: Place, steps: Mapping[str, Step]) -> None:
        """It is written down what shall be: from now on that is ours as well as what was."""
        for name, step in steps.items():
            claim = self.claims.setdefault((place, name), Claim())
            claim.kept = Claim({*claim.there}, {n: {*found} for n, found in claim.fields.items()})
            if step.after is not None:
                for n, v in step.after.items():
                    claim.fields[n] = (claim.fields.get(n, {None}) if True in claim.there else set()) | {v}
            claim.there.add(step.after is not None)

    def wrote(self, place: Place, name: str, fields: Held | None) -> None:
        """We did: whoever was there before, this is ours now."""
        self.foreign.discard((place, name, WHOLE))
        gone = {cell for cell in self.foreign if cell[:2] == (place, name)} if fields is None else set()
        self.foreign -= gone | {(place, name, n) for n in fields or ()}

    def finished(self, place: Place, steps: Mapping[str, Step], landed: Collection[str], read: bool) -> None:
        """It is written down how it ended. An approval is spent when all that it lets through is done."""
        waiting = {step.approval for n, step in steps.items() if n not in landed}
        self.used |= {(place, steps[n].approval) for n in landed if steps[n].approval not in {"", *waiting}}
        if not read:
            return
        declared, live = self.declared(place), self.held(place)
        for name in declared.keys() & live.keys():
            self._settle(place, name, declared[name], steps[name] if name in landed else None)
        mine = {name: claim for (where, name), claim in self.claims.items() if where == place}
        believed = live or steps or self.git.sections[place].gone
        if not believed and any(claim.there == {True} for claim in mine.values()):
            return  # a target that says that nothing is there is not believed
        for name, claim in mine.items():
            if name not in declared and name not in live and True in claim.there:
                self._bury(place, name, claim, name in landed)

    def _settle(self, place: Place, name: str, declared: Held, step: Step | None) -> None:
        live, claim = self.held(place)[name], self.claim(place, name)
        fields: dict[str, set[Value | None]] = {}
        for n, v in declared.items():
            now, ours = live.get(n), (claim.kept or claim).of(n)
            written = step is not None and step.after is not None and n in step.after
            unread = n == SECRET and n in live
            true = written or ours <= {v} if unread else now == v
            fields[n] = {v} if true else {now} if now in ours and not unread else ours
        if any(len(found) != 1 for found in fields.values()):  # in doubt, or somebody else's
            if step is not None and step.after is not None and SECRET in step.after and SECRET in live:
                known = {n: {None if v == ABSENT else v for v in claim.of(n) or {None}} for n in claim.fields}
                self.claims[place, name] = Claim({True}, {**known, SECRET: {declared[SECRET]}}, sure=True)
            return
        for n in (claim.kept or claim).fields.keys() - declared.keys():  # Git is silent: ours while it is as we left it
            ours = (claim.kept or claim).of(n) - {ABSENT}
            if len(ours) == 1 and None not in ours and n in live and (n == SECRET or live[n] in ours):
                fields[n] = ours
        gone = {cell for cell in self.foreign if cell[:2] == (place, name) and cell[2] not in {*live, *declared}}
        self.foreign -= gone  # taken away by somebody, and Git agrees
        for n in live.keys() - {SECRET}:
            if n not in fields:
                self.foreign.add((place, name, n))  # not declared: anybody's
            elif live[n] in fields[n]:
                self.foreign.discard((place, name, n))
        self.foreign.discard((place, name, WHOLE))
        self.claims[place, name] = Claim({True}, {n: v for n, v in fields.items() if v != {None}}, sure=True)

    def _bury(self, place: Place, name: str, claim: Claim, by_us: bool) -> None:
        self.foreign = {cell for cell in self.foreign if cell[:2] != (place, name)}
        if claim.sure or claim.buried or by_us:
            self.claims[place, name] = Claim(buried=True)
        else:
            del self.claims[place, name]

    # -- what must hold -------------------------------------------------------------------------------------------

    def check(self, place: Place, name: str, step: Step, *, plain: bool) -> None:
        """Nothing goes that nobody removed in Git, and nothing of somebody else's without a name or a word for it."""
        section, claim = self.git.sections[place], self.claim(place, name)
        assert section.mode == "enforce"
        if step.after is None:
            assert name not in section.resources
            ours = claim.sure or claim.buried or True in claim.there
            assert ours or Cause.UNMANAGED in section.also, "we never made it, nor agreed with it"
        if plain and not step.approval and not section.also:
            if step.before is None or step.after is None:
                cells = {(place, name, n) for n in (WHOLE, *(claim.fields if step.after is None else ()))}
            else:
                cells = {(place, name, n) for n in step.after}
            assert not cells & self.foreign, f"somebody else wrote {cells & self.foreign}"

    def check_left(self, place: Place, difference: Difference) -> None:
        """Somebody outside has to do with it."""
        name = difference.id.name
        if difference.fields and (place, name, WHOLE) not in self.foreign:
            cells = {(place, name, n) for n in difference.fields if n != SECRET}
            assert cells <= self.foreign, f"{name} is said to be {difference.fields}, and only we wrote there"
        else:
            assert any(cell[:2] == (place, name) for cell in self.foreign), f"only we wrote {difference}"
