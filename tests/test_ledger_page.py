"""One file of the ledger, without Git: what goes in comes out, and where it lies is safe."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime

from hypothesis import given
from hypothesis import strategies as st

from mspctl.ledger_page import Landing, Page, begun, finished, is_page, landing, merged, parsed, path_of, rendered
from mspctl.record import Emergency, Finished, Run
from mspctl.resource import Change, Id, Resource, Scope
from tests.test_document import changes, ids, resources, scopes, texts, values

RUN = Run("r1", "Paolo Zen <paolo@msp.example>")

emergencies = st.builds(
    Emergency,
    texts,
    st.datetimes(timezones=st.just(UTC)),
    texts,
    texts,
    st.frozensets(ids, min_size=1, max_size=3),
)
pages = st.builds(
    Page,
    scopes.map(lambda scope: replace(scope, after=())),
    st.dictionaries(texts, values, max_size=3),
    st.lists(resources, max_size=3).map(lambda found: {resource.id: resource for resource in found}),
    st.dictionaries(st.tuples(ids, texts), st.none(), max_size=3),
    emergencies=st.dictionaries(texts, emergencies, max_size=2),
)


@given(
    pages,
    st.dictionaries(ids, st.dates(), max_size=2),
    st.lists(changes, max_size=2),
    texts,
    st.lists(changes, max_size=2),
)
def test_a_page_comes_back_whole(
    page: Page, dead: dict[Id, date], landed: list[Change], error: str, found: list[Change]
) -> None:
    page = replace(page, resources={**page.resources, **dead})
    page = finished(page, page.scope, RUN, Finished({}, landed, error=error, found=found), date.min)
    content = rendered(page)
    back = parsed(path_of(page.scope), content)
    assert back == page
    assert not page.last or landing(back) == Landing((*found, *landed), error, tuple(found))
    assert (back.scope.customer, back.scope.engine) == (page.scope.customer, page.scope.engine)
    assert rendered(back) == content
    assert content.decode().replace("\n", "").isprintable()


@given(pages, pages)
def test_replaying_on_what_did_not_move_changes_nothing(base: Page, ours: Page) -> None:
    ours = replace(ours, scope=base.scope)
    path, before, after = path_of(base.scope), rendered(base), rendered(ours)
    for theirs in (before, after):
        content = merged(path, before, after, theirs)
        assert content is not None
        assert parsed(path, content) == ours


HERE = Scope("ns-1", "dns", "brenta.example", "officine-brenta")
A, B, C = (Id("dns.rrset", f"{name} A") for name in "abc")
URGENT = replace(RUN, emergency=Emergency(RUN.who, datetime(2027, 3, 28, 14, tzinfo=UTC), "it burns", "emergency/r1"))


def deleted(*names: Id) -> list[Change]:
    return [Change(Resource(name, {"ttl": 60}), None) for name in names]


def touched(page: Page) -> dict[str, set[Id]]:
    return {run: set(emergency.ids) for run, emergency in page.emergencies.items()}


def test_an_emergency_is_there_once_it_is_begun_and_then_for_what_landed() -> None:
    page = begun(Page(HERE), HERE, URGENT, {A: None, B: None, C: None})
    assert touched(page) == {"r1": {A, B, C}}  # killed here, it may have done all of this
    some = finished(page, HERE, URGENT, Finished({A: None, C: None}, deleted(A), error="broke"), date.min)
    assert touched(some) == {"r1": {A, B}}  # B is in doubt, C was seen not to be ours
    whole = finished(page, HERE, URGENT, Finished({A: None}, deleted(A)), date.min)
    assert touched(whole) == {"r1": {A}}
    nothing = finished(page, HERE, URGENT, Finished({}), date.min)
    assert touched(nothing) == {}


def test_a_second_wave_of_an_emergency_adds_to_it() -> None:
    page = finished(begun(Page(HERE), HERE, URGENT, {A: None}), HERE, URGENT, Finished({A: None}, deleted(A)), date.min)
    page = begun(page, HERE, URGENT, {B: None})
    page = finished(page, HERE, URGENT, Finished({B: None}, deleted(B)), date.min)
    assert touched(page) == {"r1": {A, B}}


def test_an_emergency_stays_until_a_run_says_that_it_is_over() -> None:
    page = finished(begun(Page(HERE), HERE, URGENT, {A: None}), HERE, URGENT, Finished({A: None}, deleted(A)), date.min)
    other = replace(RUN, id="r2")
    assert touched(finished(page, HERE, other, Finished({B: None}, deleted(B)), date.min)) == {"r1": {A}}
    over = finished(page, HERE, other, Finished({}, over=["r1"]), date.min)
    assert touched(over) == {}
    assert landing(over).changes == ()


def test_emergencies_of_two_machines_meet_when_the_remote_is_back() -> None:
    base = Page(HERE)
    ours = begun(base, HERE, URGENT, {A: None})
    theirs = begun(base, HERE, replace(URGENT, id="r2"), {B: None})
    path = path_of(HERE)
    both = merged(path, rendered(base), rendered(ours), rendered(theirs))
    assert both is not None
    assert touched(parsed(path, both)) == {"r1": {A}, "r2": {B}}
    over = replace(ours, emergencies={})
    ended = merged(path, rendered(ours), rendered(over), rendered(ours))
    assert ended is not None
    assert touched(parsed(path, ended)) == {}


def test_files_that_are_no_pages_are_taken_as_they_are() -> None:
    assert merged("README.md", b"1", b"2", b"3") == b"2"


@given(st.lists(st.tuples(texts, texts, texts), unique=True))
def test_paths_are_safe_and_one_for_each_scope(names: list[tuple[str, str, str]]) -> None:
    paths = [path_of(Scope(*name)) for name in names]
    assert len({path.casefold() for path in paths}) == len(paths)
    for path in paths:
        assert is_page(path)
        assert re.fullmatch(r"([a-z0-9_%A-F-][a-z0-9._%A-F-]*/){2}[a-z0-9_%A-F-][a-z0-9._%A-F-]*", path)
