"""
What every driver must do, whatever it drives. Each driver's test subclasses DriverContract and supplies samples only.

    class TestMine(DriverContract):
        samples = (Sample(a, a_variants), Sample(b, b_variants), Sample(c, c_variants))
        impossible = ((thing, "why not"),)

        @pytest.fixture
        def rig(self) -> Iterator[Rig]: ...   # a target that is empty, and ways to disturb it

What a rig cannot do is skipped and says so; what a driver never has (an optional power, a kind of field) needs no rig.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest

from mspctl.driver import (
    Driver,
    Failed,
    Gauge,
    Landed,
    Lists,
    Measures,
    Reader,
    Reading,
    Remembers,
    Tokens,
    Touched,
    Unmeasured,
    Work,
    measured,
)
from mspctl.errors import Stale, TargetError, Unreachable, Unsupported
from mspctl.exits import Exit
from mspctl.plan import ScopePlan, Standing
from mspctl.resource import UNKNOWN, Cause, Change, Id, Resource, Scope, Value
from tests.drivers.workbench import Workbench, as_plan

ABOUT = timedelta(minutes=5)  # what the clock of a target may differ; a time zone is further off

Fields = Mapping[Id, Mapping[str, Value]]


@dataclass(frozen=True)
class Sample:
    """A resource, and the same with one field changed in each variant, until every field of its kind was changed."""

    resource: Resource
    variants: Sequence[Resource]


class Rig:
    """One target for one test: empty, and with at least three scopes that may be used."""

    scopes: Sequence[Scope]

    def reader(self) -> Reader:
        raise NotImplementedError

    def driver(self) -> Driver:
        raise NotImplementedError

    # What follows is optional. A rig that leaves it out skips the tests that need it.

    def by_hand(self, scope: Scope, id_: Id, resource: Resource | None) -> None:
        """Somebody else puts this in place of what has the id; None: takes it away. The scope exists."""
        pytest.skip("nobody else can change this target")

    def unreachable(self) -> AbstractContextManager[None]:
        """No answer from the target meanwhile."""
        pytest.skip("this target cannot be made unreachable")

    def breaking(self, scope: Scope, after: int) -> AbstractContextManager[None]:
        """Meanwhile writes to one scope fail; where its changes are made one by one, when `after` of them are made."""
        pytest.skip("this target cannot be made to refuse one scope")

    def garbled(self, scope: Scope) -> AbstractContextManager[None]:
        """Meanwhile one scope cannot be read whole. It exists."""
        pytest.skip("this target cannot be made to garble one scope")

    def shuffle(self, scope: Scope) -> None:
        """Put what the scope holds, and the values within, in another order."""
        pytest.skip("this target keeps no order that could be changed")

    def touch(self, scope: Scope, resource: Resource) -> str:
        """By hand, in the way that the target remembers; returns who it was for the target."""
        pytest.skip("nobody else can change this target so that it remembers")

    def native(self, scope: Scope) -> object:
        """All that the target holds of a scope, in its own form, for ==."""
        pytest.skip("this target shows no native form")


class DriverContract:
    samples: ClassVar[Sequence[Sample]]  # three or more that can be in one scope together
    impossible: ClassVar[Sequence[tuple[Resource, str]]]  # what this target cannot hold, and what its reason says
    adjusted: ClassVar[Sequence[Resource]] = ()  # what it holds otherwise than written
    swap: ClassVar[tuple[Resource, Resource] | None] = None  # two that cannot be in one scope together
    many: ClassVar[Sequence[Resource]] = ()  # a large batch
    constant: ClassVar[frozenset[str]] = frozenset()  # fields of which Git says always the same, and others may not
    write_only: ClassVar[frozenset[str]] = frozenset()  # fields that can be written and never read
    renamed: ClassVar[Sequence[Resource]] = ()  # samples by another name, of the kinds that can be renamed
    makes_scopes: ClassVar[bool] = True  # else they are there before anything is in them
    removes_scopes: ClassVar[bool] = False  # else one that goes stays there, empty
    measures: ClassVar[frozenset[str]] = frozenset()  # what is measured of samples[0]
    remembers: ClassVar[str] = ""  # of what others changed: "each" by whom and when, or what Touched.whole says

    @pytest.fixture
    def bench(self, rig: Rig) -> Workbench:
        return Workbench(lambda scope: rig.reader(), lambda scope: rig.driver(), approved=True)

    # -- what the samples are worth -------------------------------------------------------------------------

    def test_variants_change_one_field_each_and_cover_all(self) -> None:
        assert len(self.samples) >= 3
        assert len({s.resource.id for s in self.samples}) == len(self.samples)
        for sample in self.samples:
            for variant in sample.variants:
                assert variant.id == sample.resource.id
                assert len(changed(sample.resource, variant)) == 1
        for kind in {s.resource.id.kind for s in self.samples}:  # samples of a kind may share the work
            mine = [s for s in self.samples if s.resource.id.kind == kind]
            varied = {name for s in mine for v in s.variants for name in changed(s.resource, v)}
            assert varied == {name for s in mine for name in s.resource.fields} - self.constant

    # -- opening and reading --------------------------------------------------------------------------------

    def test_a_reader_has_no_way_to_write(self, rig: Rig) -> None:
        assert isinstance(rig.reader(), Reader)
        assert not isinstance(rig.reader(), Driver)
        assert isinstance(rig.driver(), Driver)
        assert rig.reader().traits == rig.driver().traits
        assert isinstance(rig.reader(), Remembers) is bool(self.remembers)

    def test_opening_asks_the_target_nothing(self, rig: Rig) -> None:
        with rig.unreachable():
            rig.reader()
            rig.driver()

    def test_starts_empty(self, rig: Rig) -> None:
        for scope in rig.scopes:
            reading = read(rig, scope)
            assert list(reading.resources) == []

    def test_reading_nothing_and_applying_nothing_is_no_trouble(self, rig: Rig) -> None:
        assert list(rig.reader().read([], {})) == []
        assert list(rig.driver().apply([])) == []

    def test_one_answer_for_each_scope(self, rig: Rig, bench: Workbench) -> None:
        self.fill(bench, rig.scopes[0])
        answers = list(rig.reader().read(rig.scopes, {}))
        assert sorted(a.scope for a in answers) == sorted(rig.scopes)

    def test_reading_is_repeatable_and_changes_nothing(self, rig: Rig, bench: Workbench) -> None:
        scope = rig.scopes[0]
        self.fill(bench, scope)
        first = read(rig, scope)
        for again in (read(rig, scope), read(rig, scope, [s.resource for s in self.samples])):
            assert fields(again) == fields(first)
            assert (again.token, again.exists, again.missing) == (first.token, True, first.missing)
        assert len({r.id for r in first.resources}) == len(first.resources)

    def test_what_is_only_known_is_not_there(self, rig: Rig, bench: Workbench) -> None:
        scope, here, gone = rig.scopes[0], self.samples[0].resource, self.samples[1].resource
        bench.declare(scope, here)
        bench.converge()
        assert fields(read(rig, scope, [here, gone])).keys() == {here.id}

    # -- writing --------------------------------------------------------------------------------------------

    def test_reads_back_what_it_wrote(self, rig: Rig, bench: Workbench) -> None:
        self.fill(bench, rig.scopes[0])
        assert fields(read(rig, rig.scopes[0])) == self.readable(s.resource for s in self.samples)

    def test_after_an_apply_nothing_is_pending(self, rig: Rig, bench: Workbench) -> None:
        self.fill(bench, rig.scopes[0])
        assert as_plan(bench.plan()).exit_code is Exit.DONE

    def test_each_change_is_yielded_once_and_in_order(self, rig: Rig, bench: Workbench) -> None:
        for scope in rig.scopes:
            bench.declare(scope, *(s.resource for s in self.samples))
        work = [work_of(plan) for plan in bench.plan().values()]
        answers = list(rig.driver().apply(work))
        for item in work:
            landed = [a.change for a in answers if isinstance(a, Landed) and a.scope == item.scope]
            assert landed == list(item.changes)
        assert len(answers) == sum(len(item.changes) for item in work)

    @pytest.mark.parametrize("ours", [True, False], ids=["neighbours are ours", "neighbours are unmanaged"])
    def test_an_update_touches_one_thing(self, rig: Rig, bench: Workbench, ours: bool) -> None:
        scope = rig.scopes[0]
        for sample in self.samples:
            self.fill(bench, scope)
            bench.ledger.files.clear()
            others = [s.resource for s in self.samples if ours and s is not sample]
            for variant in sample.variants:
                bench.declare(scope, sample.resource, *others)
                bench.converge()
                before = fields(read(rig, scope))
                assert len(before) == len(self.samples)
                bench.declare(scope, variant, *others)
                (step,) = bench.plan()[scope].steps
                assert (step.change.verb, step.change.changed) == ("update", changed(sample.resource, variant))
                bench.converge()
                assert fields(read(rig, scope)) == {**before, **self.readable([variant])}

    def test_deletes_what_is_no_longer_declared(self, rig: Rig, bench: Workbench) -> None:
        scope = rig.scopes[0]
        self.fill(bench, scope)
        rest = [s.resource for s in self.samples[1:]]
        bench.declare(scope, *rest)
        bench.converge()
        assert fields(read(rig, scope)) == self.readable(rest)
        bench.declare(scope)
        bench.converge()
        assert fields(read(rig, scope)) == {}

    def test_a_scope_that_goes(self, rig: Rig, bench: Workbench) -> None:
        """Named, it takes all that is ours with it, and itself where the target can remove it."""
        scope, other = rig.scopes[:2]
        self.fill(bench, scope)
        self.fill(bench, other)
        kept = fields(read(rig, other))
        bench.declare_from(scope, lambda outputs: (), gone=True)
        bench.converge()
        reading = read(rig, scope)
        assert list(reading.resources) == []
        assert reading.exists is not self.removes_scopes
        assert fields(read(rig, other)) == kept

    def test_a_scope_stays_while_something_else_is_in_it(self, rig: Rig, bench: Workbench) -> None:
        scope, theirs = rig.scopes[0], self.samples[0].resource
        bench.declare(scope, *(s.resource for s in self.samples[1:]))
        bench.converge()
        rig.by_hand(scope, theirs.id, theirs)
        before = fields(read(rig, scope))
        bench.declare_from(scope, lambda outputs: (), gone=True)
        assert bench.apply().landed == 0
        assert fields(read(rig, scope)) == before

    def test_a_rename_keeps_what_it_holds(self, rig: Rig, bench: Workbench) -> None:
        scope, kinds = rig.scopes[0], rig.reader().traits.renames
        samples = {s.resource.id.kind: s for s in reversed(self.samples)}
        assert {r.id.kind for r in self.renamed} == kinds
        for new in self.renamed:
            sample = samples[new.id.kind]
            old, kept = sample.resource, [s.resource for s in self.samples if s is not sample]
            self.fill(bench, scope)
            bench.declare(scope, replace(new, was=old.id), *kept)
            (step,) = bench.plan()[scope].steps
            assert (step.change.verb, step.change.id, step.standing) == ("rename", new.id, Standing.DUE)
            before = self.held_by(rig, scope, old.id)
            bench.converge()
            assert fields(read(rig, scope)) == self.readable([new, *kept])
            assert self.held_by(rig, scope, new.id) == before
            bench.declare(scope, *kept)
            bench.converge()

    def held_by(self, rig: Rig, scope: Scope, id_: Id) -> object:
        """What a resource holds besides its fields, for ==: mails, files."""
        return None

    def test_create_update_and_delete_in_one_batch(self, rig: Rig, bench: Workbench) -> None:
        scope, (old, kept, new) = rig.scopes[0], self.samples[:3]
        bench.declare(scope, old.resource, kept.resource)
        bench.converge()
        bench.declare(scope, kept.variants[0], new.resource)
        assert [s.change.verb for s in bench.plan()[scope].steps] == ["delete", "update", "create"]
        bench.converge()
        assert fields(read(rig, scope)) == self.readable([kept.variants[0], new.resource])

    def test_one_takes_the_place_of_the_other(self, rig: Rig, bench: Workbench) -> None:
        if self.swap is None:
            pytest.skip("here all things can be together")
        for resource in (*self.swap, self.swap[0]):
            bench.declare(rig.scopes[0], resource)
            bench.converge()
            assert fields(read(rig, rig.scopes[0])) == self.readable([resource])

    def test_a_large_batch(self, rig: Rig, bench: Workbench) -> None:
        if not self.many:
            pytest.skip("no large batch is given")
        scope = rig.scopes[0]
        bench.declare(scope, *self.many)
        assert bench.apply().landed == len(self.many)
        assert fields(read(rig, scope)) == self.readable(self.many)
        bench.declare(scope, *self.many[::2])
        assert bench.apply().landed == len(self.many) // 2
        assert fields(read(rig, scope)) == self.readable(self.many[::2])

    def test_applying_nothing_changes_nothing(self, rig: Rig, bench: Workbench) -> None:
        scope = rig.scopes[0]
        self.fill(bench, scope)
        before = rig.native(scope)
        held = read(rig, scope).resources
        assert list(rig.driver().apply([Work(scope, (), held)])) == []
        assert bench.apply().landed == 0
        assert rig.native(scope) == before

    def test_the_order_in_which_things_are_kept_says_nothing(self, rig: Rig, bench: Workbench) -> None:
        scope = rig.scopes[0]
        self.fill(bench, scope)
        before = rig.native(scope)
        rig.shuffle(scope)
        assert rig.native(scope) != before
        assert bench.causes(scope) == {}

    def test_what_cannot_be_read_is_left_as_it_is(self, rig: Rig, bench: Workbench) -> None:
        """A field that is UNKNOWN in a change is not written: passwords survive a change of the quota."""
        sample = next((s for s in self.samples if s.resource.fields.keys() & self.write_only), None)
        if sample is None:
            pytest.skip("here every field can be read")
        scope = rig.scopes[0]
        bench.declare(scope, sample.resource)
        bench.converge()
        before = rig.native(scope)
        for variant in sample.variants:
            if not {*changed(sample.resource, variant)} & self.write_only:
                for resource in (variant, sample.resource):
                    bench.declare(scope, resource)
                    bench.converge()
        assert rig.native(scope) == before

    # -- several scopes, and what goes wrong ----------------------------------------------------------------

    def test_scopes_do_not_touch_each_other(self, rig: Rig, bench: Workbench) -> None:
        held = dict(zip(rig.scopes, self.samples, strict=False))
        for scope, sample in held.items():
            bench.declare(scope, sample.resource)
        assert bench.apply().landed == len(held)
        for scope, sample in held.items():
            assert fields(read(rig, scope)) == self.readable([sample.resource])
        assert bench.pending() == {}

    @pytest.mark.parametrize("after", [0, 1])
    def test_a_failure_costs_one_scope_and_is_told_exactly(self, rig: Rig, bench: Workbench, after: int) -> None:
        good, bad, other = rig.scopes[:3]
        for scope in (good, bad, other):
            bench.declare(scope, *(s.resource for s in self.samples[1:]))
        bench.converge()
        for scope in (good, bad, other):
            bench.declare(scope, self.samples[0].resource, self.samples[1].variants[0])
        due = {scope: plan.due for scope, plan in bench.plan().items()}
        before = fields(read(rig, bad))
        with rig.breaking(bad, after):
            outcome = bench.apply()
        assert outcome.exit_code is Exit.PARTLY
        assert [e.scope for e in outcome.unfinished] == [bad]
        for scope in (good, other):
            assert outcome.scopes[scope].landed == due[scope]
        end = outcome.scopes[bad]
        assert end.failed
        assert sorted(c.id for c in (*end.landed, *end.failed)) == sorted(c.id for c in due[bad])
        assert len(end.landed) in (0, after)
        assert fields(read(rig, bad)) == self.readable_after(before, end.landed)
        assert bench.converge().landed == len(end.failed)

    def test_a_failed_scope_is_said_to_have_failed(self, rig: Rig, bench: Workbench) -> None:
        self.fill(bench, *rig.scopes[:2])
        for scope in rig.scopes[:2]:
            bench.declare(scope, self.samples[0].resource)
        work = [work_of(plan) for plan in bench.plan().values()]
        with rig.breaking(rig.scopes[0], 0):
            answers = list(rig.driver().apply(work))
        (failed,) = [a for a in answers if isinstance(a, Failed)]
        assert failed.scope == rig.scopes[0]
        assert isinstance(failed.error, TargetError)
        assert {a.scope for a in answers if isinstance(a, Landed)} == {rig.scopes[1]}

    def test_a_scope_that_makes_no_sense_is_not_empty(self, rig: Rig, bench: Workbench) -> None:
        good, bad = rig.scopes[:2]
        self.fill(bench, good, bad)
        with rig.garbled(bad):
            answers = {a.scope: a for a in rig.reader().read([good, bad], {})}
            assert isinstance(answers[good], Reading)
            assert isinstance(answers[bad], Failed)
            outcome = bench.apply()
            assert [p.scope for p in outcome.plans if p.error] == [bad]
            assert outcome.landed == 0
        bench.converge()

    def test_an_unreachable_target_says_so(self, rig: Rig, bench: Workbench) -> None:
        self.fill(bench, *rig.scopes)
        for scope in rig.scopes:
            bench.declare(scope, self.samples[0].variants[0])
        shown = bench.plan()
        with rig.unreachable():
            assert_silent(rig.reader(), rig.scopes)
            if isinstance(lists := rig.reader(), Lists):
                with pytest.raises(Unreachable):
                    lists.scopes()
            assert as_plan(bench.plan()).exit_code is Exit.UNREACHABLE
            for outcome in (bench.apply(), bench.apply(first=shown)):
                assert (outcome.landed, outcome.exit_code) == (0, Exit.UNREACHABLE)
        bench.converge()

    # -- somebody else in between ---------------------------------------------------------------------------

    def test_what_changed_since_it_was_read_is_stale(self, rig: Rig, bench: Workbench) -> None:
        ours, theirs = self.samples[0].resource, self.samples[0].variants[0]
        # (what is there, what Git says then, what somebody else makes of it meanwhile)
        self.race(rig, bench, rig.scopes[0], ours, self.samples[0].variants[-1], None)
        self.race(rig, bench, rig.scopes[1], ours, None, theirs)
        self.race(rig, bench, rig.scopes[2], None, ours, theirs)

    def race(
        self,
        rig: Rig,
        bench: Workbench,
        scope: Scope,
        there: Resource | None,
        said: Resource | None,
        theirs: Resource | None,
    ) -> None:
        if rig.reader().traits.cas == "none":
            pytest.skip("here nobody can tell")
        id_, rest = self.samples[0].resource.id, [s.resource for s in self.samples[1:]]
        bench.declare(scope, *rest, *([there] if there else []))
        bench.converge()
        bench.declare(scope, *rest, *([said] if said else []))
        shown = {scope: bench.plan()[scope]}
        rig.by_hand(scope, id_, theirs)
        now = fields(read(rig, scope))
        answers = list(rig.driver().apply([work_of(shown[scope])]))
        assert [type(a.error) for a in answers if isinstance(a, Failed)] == [Stale], answers
        assert fields(read(rig, scope)) == now
        outcome = bench.apply(first=shown)
        assert outcome.landed == 0
        assert [c.id for c in outcome.scopes[scope].failed] == [id_]
        assert fields(read(rig, scope)) == now
        bench.forget(scope)

    def test_what_else_moved_does_not_matter_and_stays(self, rig: Rig, bench: Workbench) -> None:
        scope, (ours, theirs, fresh) = rig.scopes[0], self.samples[:3]
        bench.declare(scope, ours.resource, theirs.resource)
        bench.converge()
        bench.declare(scope, ours.variants[0], theirs.resource)
        shown = bench.plan()
        rig.by_hand(scope, theirs.resource.id, theirs.variants[0])
        rig.by_hand(scope, fresh.resource.id, fresh.resource)
        outcome = bench.apply(first=shown)
        assert (outcome.landed, outcome.unfinished) == (1, [])
        held = [ours.variants[0], theirs.variants[0], fresh.resource]
        assert fields(read(rig, scope)) == self.readable(held)
        assert bench.plan()[scope].steps == []
        assert {d.id for d in bench.plan()[scope].left} == {theirs.resource.id, fresh.resource.id}

    def test_a_hand_edit_is_seen(self, rig: Rig, bench: Workbench) -> None:
        scope, sample = rig.scopes[0], self.samples[0]
        for variant in sample.variants:
            if {*changed(sample.resource, variant)} & self.write_only:
                continue
            self.fill(bench, scope)
            before = read(rig, scope).token
            rig.by_hand(scope, sample.resource.id, variant)
            assert bench.causes(scope) == {sample.resource.id.name: Cause.DRIFT}
            assert not before or read(rig, scope).token != before
            rig.by_hand(scope, sample.resource.id, sample.resource)
            assert bench.causes(scope) == {}

    # -- accept ---------------------------------------------------------------------------------------------

    def test_accept_takes_the_samples_and_asks_nobody(self, rig: Rig) -> None:
        reader = rig.reader()
        with rig.unreachable():
            for resource in self.all_of_them():
                taken = reader.accept(resource)
                assert taken == resource
                assert taken.source == resource.source

    def test_accept_says_why_not(self, rig: Rig) -> None:
        reader = rig.reader()
        assert self.impossible
        for resource, why in self.impossible:
            with pytest.raises(Unsupported, match=why):
                reader.accept(resource)

    def test_what_is_impossible_stops_its_scope_only(self, rig: Rig, bench: Workbench) -> None:
        resource, why = self.impossible[0]
        bench.declare(rig.scopes[0], resource, self.samples[0].resource)
        bench.declare(rig.scopes[1], self.samples[0].resource)
        outcome = bench.apply()
        assert outcome.exit_code is Exit.PARTLY
        assert [p.scope for p in outcome.plans if re.search(why, p.error)] == [rig.scopes[0]]
        assert fields(read(rig, rig.scopes[0])) == {}
        assert fields(read(rig, rig.scopes[1])) == self.readable([self.samples[0].resource])

    def test_what_is_held_otherwise_than_written_is_no_eternal_difference(self, rig: Rig, bench: Workbench) -> None:
        if not self.adjusted:
            pytest.skip("here everything is held as it is written")
        reader = rig.reader()
        for resource in self.adjusted:
            taken = reader.accept(resource)
            assert taken != resource
            assert reader.accept(taken) == taken
            bench.declare(rig.scopes[0], resource)
            bench.converge()
            assert fields(read(rig, rig.scopes[0])) == self.readable([taken])

    # -- optional powers ------------------------------------------------------------------------------------

    def test_it_lists_what_lives_there(self, rig: Rig, bench: Workbench) -> None:
        reader = rig.reader()
        if not isinstance(reader, Lists):
            pytest.skip("this reader cannot list scopes")
        names = {scope.name for scope in rig.scopes[:2]}
        assert not (self.makes_scopes and names & {*reader.scopes()})
        self.fill(bench, *rig.scopes[:2])
        assert names <= {*reader.scopes()}
        assert (rig.scopes[2].name in reader.scopes()) is not self.makes_scopes
        assert len({*reader.scopes()}) == len(reader.scopes())

    def test_equal_tokens_mean_that_nothing_changed(self, rig: Rig, bench: Workbench) -> None:
        reader = rig.reader()
        if not isinstance(reader, Tokens):
            pytest.skip("this reader has no tokens")
        touched, other = rig.scopes[:2]
        self.fill(bench, touched, other)
        before = reader.tokens([touched, other])
        assert before == {s: read(rig, s).token for s in (touched, other)} == reader.tokens([touched, other])
        for variant in self.samples[0].variants:
            bench.declare(touched, *(s.resource for s in self.samples[1:]), variant)
            bench.converge()
            assert reader.tokens([touched])[touched] != before[touched]
        assert reader.tokens([other])[other] == before[other]

    def test_measuring_answers_what_was_asked_and_changes_nothing(self, rig: Rig, bench: Workbench) -> None:
        reader = rig.reader()
        assert isinstance(reader, Measures) is bool(self.measures)
        if not self.measures:
            pytest.skip("nothing is measured here")
        self.fill(bench, *rig.scopes[:2])
        before = rig.native(rig.scopes[0])
        here, gone = self.samples[0].resource.id, Id(self.samples[0].resource.id.kind, "nobody")
        asked = [Gauge(s, i, what) for s in rig.scopes for i in (here, gone) for what in (*self.measures, "nonsense")]
        found = measured(reader, asked)
        assert found.keys() == {*asked}
        assert all(isinstance(found[g], Unmeasured) for g in asked if g.what == "nonsense")
        assert rig.native(rig.scopes[0]) == before
        assert measured(reader, []) == {}
        with rig.unreachable():
            silent = measured(rig.reader(), asked)
            assert all(isinstance(answer, Unmeasured) and answer.why for answer in silent.values())

    def test_it_remembers_what_others_did(self, rig: Rig, bench: Workbench) -> None:
        if not self.remembers:
            pytest.skip("this target does not know who changed what")
        scope, other, absent = rig.scopes[:3]
        self.fill(bench, scope, other)
        ids, nobody = [s.resource.id for s in self.samples], Id(self.samples[0].resource.id.kind, "nobody")
        asked = {scope: [*ids, nobody], other: ids, absent: ids}
        reader = rig.reader()
        assert isinstance(reader, Remembers)
        assert reader.touched({}) == {}
        before = reader.touched(asked)
        if self.remembers == "each":
            assert not any(before.values()), "our own doing is nobody else's"
        began = datetime.now(UTC)
        who = rig.touch(scope, self.samples[0].variants[0])
        held, found = rig.native(scope), reader.touched(asked)
        assert rig.native(scope) == held
        assert found.get(other, {}) == before.get(other, {})
        assert not found.get(absent)
        told = found[scope][ids[0]]
        assert abs(told.when - began) < ABOUT
        if self.remembers == "each":
            assert found[scope] == {ids[0]: Touched(told.when, who)}
        else:
            assert {*found[scope].values()} == {Touched(told.when, whole=self.remembers)}
        with rig.unreachable():
            silent = rig.reader()
            assert isinstance(silent, Remembers)
            with pytest.raises(TargetError):
                silent.touched(asked)

    # -- helpers --------------------------------------------------------------------------------------------

    def fill(self, bench: Workbench, *scopes: Scope) -> None:
        """All samples are there, and ours."""
        for scope in scopes:
            bench.declare(scope, *(s.resource for s in self.samples))
        bench.converge()

    def all_of_them(self) -> Iterator[Resource]:
        for sample in self.samples:
            yield from (sample.resource, *sample.variants)
        yield from (*(self.swap or ()), *self.many)

    def readable(self, resources: Iterable[Resource]) -> dict[Id, dict[str, Value]]:
        """As a reader shows them: what can only be written is UNKNOWN."""
        return {
            r.id: {name: UNKNOWN if name in self.write_only else value for name, value in r.fields.items()}
            for r in resources
        }

    def readable_after(self, before: Fields, landed: Sequence[Change]) -> Fields:
        held = dict(before)
        for change in landed:
            held.pop(change.id, None)
            if change.after is not None:
                held |= self.readable([change.after])
        return held


def changed(one: Resource, other: Resource) -> tuple[str, ...]:
    assert one.fields.keys() == other.fields.keys()
    return tuple(name for name in one.fields if one.fields[name] != other.fields[name])


def read(rig: Rig, scope: Scope, known: Sequence[Resource] = ()) -> Reading:
    (answer,) = rig.reader().read([scope], {scope: known} if known else {})
    assert isinstance(answer, Reading), answer
    return answer


def fields(reading: Reading) -> dict[Id, dict[str, Value]]:
    return {r.id: dict(r.fields) for r in reading.resources}


def work_of(plan: ScopePlan) -> Work:
    held = {r.id: r for r in plan.live}
    for change in plan.due:
        held.pop(change.id, None)
        if change.after is not None:
            held[change.id] = change.after
    return Work(plan.scope, plan.due, [*held.values()])


def assert_silent(reader: Reader, scopes: Sequence[Scope]) -> None:
    """The target gave no answer: raised, or said of each scope."""
    try:
        answers = list(reader.read(scopes, {}))
    except Unreachable:
        return
    assert sorted(a.scope for a in answers) == sorted(scopes)
    assert all(isinstance(a, Failed) and isinstance(a.error, Unreachable) for a in answers)
