"""One file of the ledger, without Git: what goes in comes out, and where it lies is safe."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from mspctl.ledger_page import Landing, Page, finished, is_page, landing, merged, parsed, path_of, rendered
from mspctl.record import Finished, Run
from mspctl.resource import Change, Id, Scope
from tests.test_document import changes, ids, resources, scopes, texts, values

RUN = Run("r1", "Paolo Zen <paolo@msp.example>")

pages = st.builds(
    Page,
    scopes.map(lambda scope: replace(scope, after=())),
    st.dictionaries(texts, values, max_size=3),
    st.lists(resources, max_size=3).map(lambda found: {resource.id: resource for resource in found}),
    st.dictionaries(st.tuples(ids, texts), st.none(), max_size=3),
)


@given(pages, st.dictionaries(ids, st.dates(), max_size=2), st.lists(changes, max_size=2), texts)
def test_a_page_comes_back_whole(page: Page, dead: dict[Id, date], landed: list[Change], error: str) -> None:
    page = replace(page, resources={**page.resources, **dead})
    page = finished(page, page.scope, RUN, Finished({}, landed, error=error), date.min)
    content = rendered(page)
    back = parsed(path_of(page.scope), content)
    assert back == page
    assert not page.last or landing(back) == Landing(tuple(landed), error)
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


def test_files_that_are_no_pages_are_taken_as_they_are() -> None:
    assert merged("README.md", b"1", b"2", b"3") == b"2"


@given(st.lists(st.tuples(texts, texts, texts), unique=True))
def test_paths_are_safe_and_one_for_each_scope(names: list[tuple[str, str, str]]) -> None:
    paths = [path_of(Scope(*name)) for name in names]
    assert len({path.casefold() for path in paths}) == len(paths)
    for path in paths:
        assert is_page(path)
        assert re.fullmatch(r"([a-z0-9_%A-F-][a-z0-9._%A-F-]*/){2}[a-z0-9_%A-F-][a-z0-9._%A-F-]*", path)
