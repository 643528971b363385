"""What goes out as JSON comes back as the same noun; anything else is refused in one line."""

import json
import re
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mspctl.document import change_from_json, resource_from_json, scope_from_json, to_json, value_from_json
from mspctl.resource import UNKNOWN, Cause, Change, Id, Resource, Scope, Value

texts = st.text(max_size=8)
values: st.SearchStrategy[Value] = st.one_of(
    texts,
    st.integers(),
    st.booleans(),
    st.lists(texts, max_size=3).map(tuple),
    st.frozensets(texts, max_size=3),
    st.just(UNKNOWN),
)
ids = st.builds(Id, texts, texts)
resources = st.builds(Resource, ids, st.dictionaries(texts, values, max_size=4), source=texts)
scopes = st.recursive(
    st.builds(Scope, texts, texts, texts, texts, texts),
    lambda inner: st.builds(Scope, texts, texts, texts, texts, texts, st.lists(inner, max_size=2).map(tuple)),
    max_leaves=4,
)
changes = st.one_of(
    st.builds(Change, st.none(), resources, st.sampled_from(Cause)),
    st.builds(Change, resources, resources | st.none(), st.sampled_from(Cause)),
)


def sent(noun: Any) -> Any:
    return json.loads(json.dumps(to_json(noun)))


def whole(scope: Scope) -> tuple[object, ...]:
    """All of a scope, for == looks only at where it lives."""
    return (scope, scope.customer, scope.engine, tuple(map(whole, scope.after)))


@given(values)
def test_a_value_comes_back_with_its_type(value: Value) -> None:
    back = value_from_json(sent(value))
    assert back == value
    assert type(back) is type(value)


@given(resources)
def test_a_resource_comes_back_whole(resource: Resource) -> None:
    back = resource_from_json(sent(resource))
    assert (back, back.source) == (resource, resource.source)
    assert list(back.fields) == list(resource.fields)


@given(changes)
def test_a_change_comes_back_whole(change: Change) -> None:
    assert change_from_json(sent(change)) == change


@given(scopes)
def test_a_scope_comes_back_with_its_owner(scope: Scope) -> None:
    assert whole(scope_from_json(sent(scope))) == whole(scope)


def test_a_set_is_sorted_and_not_a_list() -> None:
    assert to_json(frozenset("cab")) == {"set": ["a", "b", "c"]}
    assert to_json(("c", "a")) == ["c", "a"]
    assert to_json(UNKNOWN) == {"unknown": True}


def test_a_handle_stays_behind() -> None:
    resource = Resource(Id("dns.rrset", "www A"), {}, handle="etag-4711")
    assert "etag-4711" not in json.dumps(to_json(resource))
    assert to_json(resource) == to_json(replace(resource, handle=""))


ID = {"kind": "k", "name": "n"}


@pytest.mark.parametrize(
    ("read", "data", "complaint"),
    [
        (value_from_json, None, "null is not a value"),
        (value_from_json, 1.5, "1.5 is not a value"),
        (value_from_json, {"set": "abc"}, '{"set": "abc"} is not a value'),
        (value_from_json, {"set": [], "more": 1}, "is not a value"),
        (value_from_json, {"unknown": 1}, "is not a value"),
        (value_from_json, ["a", ["b"]], "a list must hold text only"),
        (value_from_json, {"set": [1]}, "a list must hold text only"),
        (value_from_json, {"x" * 500: "line\nbreak"}, "... is not a value"),
        (resource_from_json, [], "a resource must be an object, not []"),
        (resource_from_json, ID, 'a resource lacks "fields"'),
        (resource_from_json, {**ID, "fields": []}, '"fields" must be an object, not []'),
        (resource_from_json, {**ID, "fields": {}, "handle": ""}, 'a resource cannot have "handle"'),
        (resource_from_json, {**ID, "kind": 1, "fields": {}}, '"kind" must be text, not 1'),
        (change_from_json, {"cause": "drift", "before": None, "after": None}, "a change has a before or an after"),
        (change_from_json, {"cause": "drift", "before": "", "after": None}, "a resource must be an object"),
        (change_from_json, {"cause": "?", "before": {**ID, "fields": {}}, "after": None}, "'?' is not a valid Cause"),
        (scope_from_json, {"target": "t", "facet": "f"}, 'a scope lacks "name"'),
        (scope_from_json, {**to_json(Scope("t", "f", "n")), "after": {}}, '"after" must be a list'),
    ],
)
def test_what_is_not_exactly_right_is_refused_in_one_line(read: Any, data: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)) as caught:
        read(data)
    assert "\n" not in str(caught.value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
)


@given(anything, st.sampled_from([value_from_json, resource_from_json, change_from_json, scope_from_json]))
def test_no_document_crashes_a_reader(data: Any, read: Any) -> None:
    with suppress(ValueError):
        read(data)
