"""Changes to YAML in place: what is meant changes, in the style around it, and every other line stays as it was."""

import copy
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mspctl import strict_yaml
from mspctl.edit import (
    Bare,
    Delete,
    Edit,
    Insert,
    Plain,
    Rename,
    Set,
    apply_edits,
    delete,
    dump,
    edit,
    insert,
    rename_key,
    scalar,
    set_value,
    write,
)
from mspctl.errors import InputError

ESTATE = Path(__file__).resolve().parents[2] / "shared/data/moj-dns/hostedzones"


def read(text: str) -> Any:
    problems = strict_yaml.Problems()
    data = strict_yaml.parse(text, "text", problems)
    assert not problems
    return data


# --- one case, one line: before, edit, after ------------------------------------------------------------------------

SCALARS: list[tuple[str, Edit, str]] = [
    ("a: 1\nb: 2\n", Set(["b"], "3"), "a: 1\nb: 3\n"),
    ("a: 1   # why\n", Set(["a"], "2"), "a: 2   # why\n"),
    ("a: 1  \n", Set(["a"], "2"), "a: 2  \n"),
    ("a:\t1\t# c\n", Set(["a"], "2"), "a:\t2\t# c\n"),
    ("a: x\n  y\n  z\nb: 1\n", Set(["a"], "w"), "a: w\nb: 1\n"),
    ("a:\n  # c\n  x # d\n", Set(["a"], "z"), "a:\n  # c\n  z # d\n"),
    ("- - x\n  - y\n", Set([0, 1], "z"), "- - x\n  - z\n"),
    ("a: 'x'\n", Set(["a"], "it's"), "a: 'it''s'\n"),
    ("a: 'x'\n", Set(["a"], "two\nlines"), "a: |-\n  two\n  lines\n"),
    ('a: "x"\n', Set(["a"], '"\\\n'), 'a: "\\"\\\\\\n"\n'),
    ("a: [x]\n", Set(["a", 0], "b, c"), "a: ['b, c']\n"),
    ("a: [x]\n", Set(["a", 0], "b\nc"), 'a: ["b\\nc"]\n'),
    ("a: x\n", Set(["a"], "b, c"), "a: b, c\n"),
    ("a:   {x: 1}\nbbb: {x: 1}\n", Set(["a", "x"], "2"), "a:   {x: 2}\nbbb: {x: 1}\n"),
    ("a: |  # keep\n  x\n  y\n\nb: 1\n", Set(["a"], "z\nw\n"), "a: |  # keep\n  z\n  w\n\nb: 1\n"),
    ("a: >-\n  x\n  y\nb: 1\n", Set(["a"], "one line"), "a: >-\n  one line\nb: 1\n"),
    ("a: |\n  x\nb: 1\n", Set(["a"], " x"), "a: ' x'\nb: 1\n"),
    ("- |\n  x\n# c\n- y\n", Set([0], "a\nb\n"), "- |\n  a\n  b\n# c\n- y\n"),
    ("a:  # c\nb: 1\n", Set(["a"], "x"), "a: x  # c\nb: 1\n"),
    ("a: \n", Set(["a"], "x"), "a: x\n"),
    ("a: {b: , c: }\n", Set(["a", "b"], "e"), "a: {b: e, c: }\n"),
    ("a: {b, c}\n", Set(["a", "b"], "e"), "a: {b: e, c}\n"),
    ("? a\n: b\n? c\n: d\n", Set(["a"], "x"), "? a\n: x\n? c\n: d\n"),
    ("a: é # ü\nb: \U0001f600 # c\n", Set(["b"], "ß"), "a: é # ü\nb: ß # c\n"),
    ("a: [x: 1, y]\n", Set(["a", 0], {"x": "1", "z": "2"}), "a: [{x: 1, z: 2}, y]\n"),
    # what other readers would take for something else
    ("a: x\n", Set(["a"], "no"), "a: 'no'\n"),
    ("a: yes\n", Set(["a"], "no"), "a: no\n"),
    ("a: 2027-01-01\n", Set(["a"], "2027-02-01"), "a: 2027-02-01\n"),
    ("a: 7.9\n", Set(["a"], "7.10"), "a: '7.10'\n"),
    ("a: 300\n", Set(["a"], "3600"), "a: 3600\n"),
    ("a: x\n", Set(["b"], "2027-02-01"), "a: x\nb: '2027-02-01'\n"),
    ("a: x\n", Set(["b"], Bare("2027-02-01")), "a: x\nb: 2027-02-01\n"),
    (
        "a: {from: 2027-01-01}\nb: {}\n",
        Set(["b", "from"], "2027-03-01"),
        "a: {from: 2027-01-01}\nb: {from: 2027-03-01}\n",
    ),
    ('a: "x"\nb: "y"\n', Set(["c"], "z"), 'a: "x"\nb: "y"\nc: "z"\n'),
    ('a:\n  - "x"\nb: y\n', Insert(["a"], "z"), 'a:\n  - "x"\n  - "z"\nb: y\n'),
    ("'19': a\nx: b\n", Set(["20"], "c"), "'19': a\nx: b\n'20': c\n"),
    ("129688: a\nx: b\n", Set(["20"], "c"), "129688: a\nx: b\n20: c\n"),
    ('{"a": 1, "b": {"c": "d"}}', Set(["b", "e"], {"f": "g"}), '{"a": 1, "b": {"c": "d", "e": {"f": "g"}}}'),
]

COLLECTIONS: list[tuple[str, Edit, str]] = [
    ("a: x  # c\n", Set(["a"], {"b": {"c": "d"}}), "a:  # c\n  b: {c: d}\n"),
    ("a:  # c\n  b: 1  # one\n  # two\nd: 2\n", Set(["a"], "x"), "a: x  # c\nd: 2\n"),
    ("a: [  # c\n  x,\n]\nb: 1\n", Set(["a"], "y"), "a: 'y'  # c\nb: 1\n"),
    ("- x  # c\n- y\n", Set([0], {"a": "1", "b": "c\nd\n"}), "-  # c\n  a: 1\n  b: |\n    c\n    d\n- y\n"),
    ("-   - x\n    - y\n", Set([0], {"a": "b", "c": {}}), "-   a: b\n    c: {}\n"),
    ("a: [b]\n", Set(["a"], []), "a: []\n"),
    ("x\n", Set([], {"a": "b"}), "a: b\n"),
    # of a collection that is there, only what differs changes
    ("r: [a, b, c, d]\n", Set(["r"], ["a", "c", "x", "d", "e"]), "r: [a, c, x, d, e]\n"),
    (
        "r:\n  # 1\n  - a\n  - b  # 2\n  # 3\n  - c\n",
        Set(["r"], ["a", "c", "d"]),
        "r:\n  # 1\n  - a\n  # 3\n  - c\n  - d\n",
    ),
    (
        "www:\n  ttl: 300  # short\n  type: A\n  value: 192.0.2.1\n",
        Set(["www"], {"ttl": "300", "type": "A", "values": ["192.0.2.1", "192.0.2.2"]}),
        "www:\n  ttl: 300  # short\n  type: A\n  values:\n    - 192.0.2.1\n    - 192.0.2.2\n",
    ),
    # new keys
    ("b: 1\nd: 2\nf: 3\n", Set(["c"], "x"), "b: 1\nc: x\nd: 2\nf: 3\n"),
    ("d: 1\nb: 2\nf: 3\n", Set(["c"], "x"), "d: 1\nb: 2\nf: 3\nc: x\n"),
    ("www1: {}\nwww2: {}\nwww10: {}\n", Set(["www9"], {}), "www1: {}\nwww2: {}\nwww9: {}\nwww10: {}\n"),
    ("a: {b: 1, d: 2, f: 3}\n", Set(["a", "c"], "x"), "a: {b: 1, c: x, d: 2, f: 3}\n"),
    ("z: 1\na: 2\n# c\n", Set(["b"], "x"), "z: 1\na: 2\nb: x\n# c\n"),
    ("# file\n# b\nb: 1\nd: 2\nf: 3\n", Set(["a"], "x"), "# file\n# b\na: x\nb: 1\nd: 2\nf: 3\n"),
    ("# file\n\n# b\nb: 1\nd: 2\nf: 3\n", Set(["a"], "x"), "# file\n\na: x\n# b\nb: 1\nd: 2\nf: 3\n"),
    ("x: 0\n\na: 1\n", Set(["b"], "2"), "x: 0\n\na: 1\n\nb: 2\n"),
    (
        "a:\n    b:\n        c: 1\n",
        Set(["d"], {"e": {"f": "g"}}),
        "a:\n    b:\n        c: 1\nd:\n    e:\n        f: g\n",
    ),
    ("a:\n- x\nb:\n- y\n", Set(["c"], ["z", "w"]), "a:\n- x\nb:\n- y\nc:\n- z\n- w\n"),
    ("a: {x: 1}\nb: {x: 2}\n", Set(["c"], {"x": "3"}), "a: {x: 1}\nb: {x: 2}\nc: {x: 3}\n"),
    ("a: [ x ]\nb: { c: d }\n", Set(["e"], {"f": ["g"]}), "a: [ x ]\nb: { c: d }\ne: { f: [ g ] }\n"),
    ("a: {}  # none\n", Set(["a", "b"], {"c": {"d": "e"}}), "a:  # none\n  b:\n    c: {d: e}\n"),
    ("a:  # none\n", Set(["a", "b"], "c"), "a: {b: c}  # none\n"),
    ("a: {  # none\n}\n", Set(["a", "b"], "c"), "a: {b: c  # none\n}\n"),
    ("a: {\n  x: 1,  # 1\n  y: 2  # 2\n}\n", Set(["a", "z"], "3"), "a: {\n  x: 1,  # 1\n  y: 2,  # 2\n  z: 3\n}\n"),
    ("a: {\n  x: 1,\n  y: 2,\n}\n", Set(["a", "z"], "3"), "a: {\n  x: 1,\n  y: 2,\n  z: 3,\n}\n"),
    ("a: {x: 1,\n    y: 2}\n", Set(["a", "z"], "3"), "a: {x: 1,\n    y: 2,\n    z: 3}\n"),
    ("a: {b: }\n", Set(["a", "c"], "d"), "a: {b: , c: d }\n"),
    # lists
    ("a: [x, y]\n", Insert(["a"], "z"), "a: [x, y, z]\n"),
    ("a: [x, y]\n", Insert(["a"], "z", 0), "a: [z, x, y]\n"),
    ("a: [x, y, ]\n", Insert(["a"], "z", 1), "a: [x, z, y, ]\n"),
    ("a: [x, y, ]\n", Insert(["a"], "z"), "a: [x, y, z, ]\n"),
    ("a: []\n", Insert(["a"], "x"), "a: [x]\n"),
    ("a:\nb: 1\n", Insert(["a"], "x"), "a: [x]\nb: 1\n"),
    ("b: 1\n", Insert(["a"], "x"), "b: 1\na: [x]\n"),
    ("a:\n  # 1\n  - x  # 2\n  # 3\n  - z\n", Insert(["a"], "k", 1), "a:\n  # 1\n  - x  # 2\n  - k\n  # 3\n  - z\n"),
    ("a:\n  # 1\n  - x  # 2\n", Insert(["a"], "w", 0), "a:\n  - w\n  # 1\n  - x  # 2\n"),
    ("-   x\n", Insert([], {"k": "1", "l": [{"m": "2"}]}), "-   x\n-   k: 1\n    l:\n      - {m: 2}\n"),
    ("a: [\n  x,\n  # 2\n  y\n]\n", Insert(["a"], "z", 1), "a: [\n  x,\n  z,\n  # 2\n  y\n]\n"),
]

REMOVALS: list[tuple[str, Edit, str]] = [
    ("# file\na: 1\nb: 2\n", Delete(["a"]), "# file\nb: 2\n"),
    ("---\n# file\n\n# a\na: 1\nb: 2\n", Delete(["a"]), "---\n# file\n\nb: 2\n"),
    ("x: 0\n\n# s\n\n# a\n# a\na: 1  # a\n  # a\n# b\nb: 2\n", Delete(["a"]), "x: 0\n\n# s\n\n# b\nb: 2\n"),
    ("x: 0\n\na: 1\n\nb: 2\n", Delete(["a"]), "x: 0\n\nb: 2\n"),
    ("x: 0\n\na: 1\n", Delete(["a"]), "x: 0\n"),
    ("a: |+\n  x\n\nb: 1\n", Delete(["b"]), "a: |+\n  x\n\n"),
    ("a: |\n  # text\n# b\nb: 1\n", Delete(["b"]), "a: |\n  # text\n"),
    ("a:\n  b:\n    c: 1\n", Delete(["a", "b", "c"]), "a:\n  b: {}\n"),
    ("a:\n  b:\n    c: 1\nd: 1\n", Delete(["a", "b", "c"], prune=True), "d: 1\n"),
    ("a:\n  b:\n    c: 1\n", Delete(["a", "b", "c"], prune=True), "{}\n"),
    ("a: [x]  # c\n", Delete(["a", 0]), "a: []  # c\n"),
    ("- x\n- y # c\n- z\n", Delete([1]), "- x\n- z\n"),
    ("- a: 1  # one\n  b: 2\n", Delete([0, "a"]), "- b: 2\n"),
    ("- a: 1\n  # b\n  b: 2\n", Delete([0, "a"]), "-\n  # b\n  b: 2\n"),
    ("-\n  # a\n  a: 1\n  b: 2\n", Delete([0, "a"]), "-\n  b: 2\n"),
    ("a: [x, y, z]\n", Delete(["a", 0]), "a: [y, z]\n"),
    ("a: [x, y, z]\n", Delete(["a", 1]), "a: [x, z]\n"),
    ("a: [x, y, z]\n", Delete(["a", 2]), "a: [x, y]\n"),
    ("a: [x, y, ]\n", Delete(["a", 1]), "a: [x, ]\n"),
    ("a: {x: 1,\n    y: 2}\n", Delete(["a", "y"]), "a: {x: 1}\n"),
    ("a: {\n  x: 1,  # x\n  # y\n  y: 2  # y\n}\n", Delete(["a", "y"]), "a: {\n  x: 1  # x\n}\n"),
    ("a: {\n  x: 1,  # x\n  # y\n  y: 2  # y\n}\n", Delete(["a", "x"]), "a: {\n  # y\n  y: 2  # y\n}\n"),
    ("a: {\n  x: 1,  # x\n  # y\n  y: 2}\n", Delete(["a", "y"]), "a: {\n  x: 1  # x\n  }\n"),
    ("a: &x\n  b: 1\nc: *x\n", Delete(["c"]), "a: &x\n  b: 1\n"),
    ("? a\n: b\n? c\n: d\n", Delete(["a"]), "? c\n: d\n"),
    ("'a': 1\n", Rename(["a"], "b"), "'b': 1\n"),
    ("a:   1  # c\n", Rename(["a"], "*"), "'*':   1  # c\n"),
    ("'': 1\n'*.x': 2\n", Rename([""], "no"), "'no': 1\n'*.x': 2\n"),
    ("a: {b : 1}\n", Rename(["a", "b"], "c,d"), "a: {'c,d' : 1}\n"),
    ('{"a":1}\n', Rename(["a"], "b"), '{"b":1}\n'),
    ("&k a: 1\n", Rename(["a"], "a"), "&k a: 1\n"),
    ("? |\n  k\n: v\n", Rename(["k\n"], "x"), "? x\n: v\n"),
]

DOCUMENTS: list[tuple[str, Edit, str]] = [
    ("", Set(["a", "b"], ["c"]), "a: {b: [c]}\n"),
    ("# only\n", Set(["a"], "c"), "# only\na: c\n"),
    ("--- # c\n", Set(["a"], "c"), "--- # c\na: c\n"),
    ("# c\n---\n# d\n...\n# e\n", Set(["a"], "c"), "# c\n---\n# d\na: c\n...\n# e\n"),
    ("--- {}\n", Set(["a"], ["b"]), "---\na: [b]\n"),
    ("{}", Set(["a"], "b"), "a: b"),
    ("%YAML 1.1\n---\na: 1\n...\n", Set(["b"], "2"), "%YAML 1.1\n---\na: 1\nb: 2\n...\n"),
    ("a: 1\r\nb:\r\n  - x\r\n", Set(["c"], "d\ne\n"), "a: 1\r\nb:\r\n  - x\r\nc: |\r\n  d\r\n  e\r\n"),
    ("a: 1\r\nb:\r\n  - x\r\n", Insert(["b"], "z"), "a: 1\r\nb:\r\n  - x\r\n  - z\r\n"),
    ("a: 1", Set(["b"], "2"), "a: 1\nb: 2"),
    ("a: 1\nb: 2", Delete(["b"]), "a: 1"),
    ("a: 1", Set(["b"], "2\n3\n"), "a: 1\nb: |\n  2\n  3\n"),
    ("  a: 1\n  b: 2\n", Set(["c"], "3"), "  a: 1\n  b: 2\n  c: 3\n"),
    ("a: &x {b: 1}\nc: *x\n", Set(["c"], "d"), "a: &x {b: 1}\nc: d\n"),
    ("a: &x 1\nc: 2\n", Set(["a"], "3"), "a: 3\nc: 2\n"),
]


@pytest.mark.parametrize(("before", "change", "after"), SCALARS + COLLECTIONS + REMOVALS + DOCUMENTS)
def test_only_what_is_meant_changes(before: str, change: Edit, after: str) -> None:
    assert edit(before, [change]) == after


@pytest.mark.parametrize(("before", "change", "after"), SCALARS + COLLECTIONS + REMOVALS)
def test_line_ends_are_kept(before: str, change: Edit, after: str) -> None:
    """The same with CRLF, and with the last line not ended."""
    if before.count("\n"):
        assert edit(before.replace("\n", "\r\n"), [change]) == after.replace("\n", "\r\n")
    if "|" not in before + after and ">" not in before:  # there the last line end is part of the value
        assert edit(before.removesuffix("\n"), [change]) == after.removesuffix("\n")


def test_functions_and_edits_are_the_same() -> None:
    text = set_value("a: 1\n", ["b"], ["x"])
    text = insert(text, ["b"], "w", 0)
    text = delete(text, ["a"])
    text = rename_key(text, ["b"], "c")
    edits: list[Edit] = [Set(["b"], ["x"]), Insert(["b"], "w", 0), Delete(["a"]), Rename(["b"], "c")]
    assert text == edit("a: 1\n", edits) == "c: [w, x]\n"


def test_what_is_so_already_changes_nothing() -> None:
    text = "a: 'x'   # c\nb: {c: [d, e]}"
    assert edit(text, [Set(["a"], "x"), Set(["b"], {"c": ["d", "e"]}), Set([], read(text)), Rename(["a"], "a")]) == text


@pytest.mark.parametrize(
    ("text", "change", "line", "message"),
    [
        ("a: &x {b: 1}\nc: *x\n", Set(["a", "b"], "2"), 1, "is repeated on line 2"),
        ("x: 1\na: &x {b: 1}\nc: *x\n", Set(["c", "b"], "2"), 3, "repeats line 2"),
        ("a: &x {b: 1}\nc: *x\n", Set(["c"], {"b": "1"}), 0, ""),
        ("a: &x [b]\nc: *x\n", Insert(["c"], "2"), 2, "repeats line 1"),
        ("a: &x [b]\nc: *x\n", Insert(["a"], "2"), 1, "is repeated on line 2"),
        ("a: &x [b]\nc: *x\n", Set(["a"], ["2"]), 1, "is repeated on line 2"),
        ("a:\n  b: &x 1\nc: *x\n", Delete(["a"]), 2, "is repeated on line 3"),
        ("a: &x 1\nb: *x\n", Set(["a"], "2"), 1, "is repeated on line 2 (*x)"),
        ("&x a: 1\nb: *x\n", Rename(["a"], "c"), 1, "is repeated on line 2"),
        ("a: 1\n", Set(["a", "b"], "2"), 1, "text stands here, not a mapping"),
        ("a: [1]\n", Set(["a", "b"], "2"), 1, "a list stands here"),
        ("a: {b: 1}\n", Set(["a", 0], "2"), 1, "a mapping stands here, not a list"),
        ("a: [1]\n", Set(["a", 1], "2"), 1, "the list has 1 items"),
        ("a: [1]\n", Set(["a", -1], "2"), 1, "the list has 1 items"),
        ("a: [1]\n", Insert(["a"], "2", 2), 1, "there is no place 2"),
        ("a: 1\n", Insert(["b"], "2", 1), 1, "there is no place 1"),
        ("a: 1\n", Insert(["a"], "2"), 1, "is not a list"),
        ("a: 1\n", Set(["b", 0], "2"), 1, "there is no list"),
        ("a: 1\n", Delete(["b"]), 1, "is not there"),
        ("a: 1\n", Delete([]), 0, "cannot be deleted"),
        ("a: 1\nb: 2\n", Rename(["a"], "b"), 1, "is taken"),
        ("a: [1]\n", Rename(["a", 0], "b"), 1, "has no name"),
        ("a: 1\na: 2\n", Set(["a"], "3"), 2, "duplicate key"),
        ("a:\n\tb: 1\n", Set(["a"], "3"), 2, "tab"),
        ("a: 1\n---\nb: 1\n", Set(["a"], "3"), 2, "second document"),
        ("a: 1\rb: 2\n", Set(["a"], "3"), 1, "U+000D"),
        ("a: 1\n# \u2028\n", Set(["a"], "3"), 2, "U+2028"),
        ("a: 1\n", Set(["a"], "\u200b"), 0, "U+200B"),
        ("a: 1\n", Set(["a"], "\ud800"), 0, "surrogate"),
        ("a: |\n  x", Set(["b"], "1"), 0, "last line must be ended"),
        ("? a\n: b\n? c\n", Set(["c"], "d"), 3, "edit it by hand"),
    ],
)
def test_refusals_name_the_line(text: str, change: Edit, line: int, message: str) -> None:
    if not message:  # nothing to do: nothing to refuse
        assert edit(text, [change]) == text
        return
    with pytest.raises(InputError) as caught:
        edit(text, [change], file="f.yaml")
    assert message in str(caught.value)
    assert not line or str(caught.value).startswith(f"f.yaml:{line}:")


def test_a_wrong_patch_is_never_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in [(0, 0, "x: 1\n"), (0, 1, "["), (3, 4, "3")]:
        monkeypatch.setattr("mspctl.edit.patch.set_value", lambda *_, wrong=wrong: [wrong])
        with pytest.raises(InputError, match=r"^text:1:1: a: .*edit it by hand"):
            edit("a: 1\n", [Set(["a"], "2")])


@pytest.mark.parametrize("value", [1, True, None, {"a": 1}, ["a", 1.5], {1: "a"}, b"x"])
def test_values_and_keys_are_text(value: Any) -> None:
    with pytest.raises(TypeError):
        edit("a: 1\n", [Set(["a"], value)])
    with pytest.raises(TypeError):
        edit("a: 1\n", [Set("a", "1")])


# --- scalars --------------------------------------------------------------------------------------------------------

PLAIN = r"""
    www 192.0.2.1 2001:db8::1 a:b x=y 300 -1 0 3905551234567 true false 10.20.0.0/22 mon-fri 1h 5m 10% _dmarc a,b{ a?
    include:_spf.example -all ~all \; v=DKIM1\; a#b http://x/?y#z 1.2.3 é 日本 a"b it's --x nope onion --""".split()
QUOTED = """
    no Yes ON off null ~ Null y N 0123 007 7.10 1.5 0x1f 0o17 0b1 1_000 1e3 12e03 .5 5. +1 .inf -.INF .NaN 12:30 1:2:3
    2027-01-02 2027-01-02T10:00:00Z True FALSE = << * *.x &a !t %d @x `x - ? : :x ?x x: # #x [x ]x {x }x ,x |x >x 'x
    "x --- ...x 1234567890123456789""".split()


@pytest.mark.parametrize("text", [*PLAIN, "a b"])
def test_plain_where_nobody_can_misread_it(text: str) -> None:
    assert scalar(text, flow=False) == text
    assert scalar(text, flow=True) == (f"'{text}'" if set(text) & set(",?[]{}") else text)


@pytest.mark.parametrize("text", [*QUOTED, "", " ", " x", "x ", "a: b", "a #b", "- x"])
def test_single_quotes_where_somebody_could(text: str) -> None:
    quoted = "'" + text.replace("'", "''") + "'"
    assert scalar(text, flow=False) == scalar(text, flow=True) == quoted


@pytest.mark.parametrize("text", ["a\nb", "\t", "\xa0", "a\u200db", "\U000e0001", "\r"])
def test_double_quotes_where_escapes_are_needed(text: str) -> None:
    written = scalar(text, flow=False)
    assert written.isprintable()
    assert written[0] == '"'
    assert read(written) == text


def test_bare_text_is_plain_only_where_that_holds_it() -> None:
    assert scalar(Bare("2027-01-02"), flow=True) == "2027-01-02"
    assert scalar(Bare("a: b"), flow=True) == "'a: b'"


TEXTS = st.one_of(
    st.text(max_size=12),
    st.text(" \n:#-?,[]{}'\"\\&*!|>%@`~=<.0123456789abyn_exXtT+", max_size=8),
    st.sampled_from([*PLAIN, *QUOTED]),
)


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_all_readers_get_the_same_text(text: str) -> None:
    """Ours, and the typed ones of PyYAML (libyaml's, and the one in Python), in both contexts and as a key."""
    try:
        block, flow, whole = scalar(text, flow=False), scalar(text, flow=True), dump({text: [text, {text: text}]})
    except InputError:
        assert not text.isprintable()
        return
    for loader in (yaml.CSafeLoader, yaml.SafeLoader):
        for document in (f"- {block}\n- {{a: {flow}, b: [{flow}]}}\n", f"? {block}\n: {flow}\n"):
            values = list(yaml.load(document, loader))  # noqa: S506
            again = values[0] if len(values) == 1 else values[1]["b"][0]
            number = isinstance(values[0], int) and block == text
            assert values[0] == again
            assert number or values[0] == text
    assert read(f"- {block}\n- [{flow}]\n") == [text, [text]]
    assert read(whole) == {text: [text, {text: text}]}


# --- new documents --------------------------------------------------------------------------------------------------


def test_a_new_document_is_tidy() -> None:
    value: Plain = {
        "name": "Officine Brenta S.r.l.",
        "sites": {"sede": "10.20.0.0/22", "magazzino": "10.30.0.0/24"},
        "contacts": [{"id": "maria", "may": ["mail", "firewall"]}, {"id": "luca", "until": Bare("2027-03-01")}],
        "zones": {"brenta.example": {"target": "pdns-1", "ignore": ["_acme-challenge*"], "renewal": {"at": "aruba"}}},
        "records": {"": ["v=spf1 " + "ip4:192.0.2.1 " * 5 + "-all", "x" * 50], "*": {}, "19": []},
        "text": "two\nlines\n",
        "on": "no",
        "nested": [["a", ["b"]], "c"],
    }
    assert (
        dump(value, comment="Taken over from pdns-1\n\nby import")
        == """\
# Taken over from pdns-1
#
# by import
name: Officine Brenta S.r.l.
sites: {sede: 10.20.0.0/22, magazzino: 10.30.0.0/24}
contacts:
  - {id: maria, may: [mail, firewall]}
  - {id: luca, until: 2027-03-01}
zones:
  brenta.example:
    target: pdns-1
    ignore: [_acme-challenge*]
    renewal: {at: aruba}
records:
  '':
    - v=spf1 ip4:192.0.2.1 ip4:192.0.2.1 ip4:192.0.2.1 ip4:192.0.2.1 ip4:192.0.2.1 -all
    - xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
  '*': {}
  '19': []
text: |
  two
  lines
'on': 'no'
nested:
  - - a
    - [b]
  - c
"""
    )


@pytest.mark.parametrize("value", ["", "x", {}, [], "two\nlines", {"a": "x"}, ["x"]])
def test_small_documents(value: Plain) -> None:
    assert read(dump(value)) == value


def test_a_document_that_could_not_be_read_is_not_written() -> None:
    deep: Plain = "x"
    for _ in range(40):
        deep = {"a": deep}
    with pytest.raises(InputError, match="nested deeper"):
        dump(deep)


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "dns.yaml"
    path.write_bytes(b"a: 1 # c\r\n")
    path.chmod(0o640)
    inode = path.stat().st_ino
    assert not apply_edits(path, [Set(["a"], "1")])
    assert path.stat().st_ino == inode
    assert apply_edits(path, [Set(["a"], "2"), Set(["b"], "3")])
    assert path.read_bytes() == b"a: 2 # c\r\nb: 3\r\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["dns.yaml"]


def test_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "new.yaml"
    write(path, "a: 1\n")
    assert path.read_text() == "a: 1\n"
    with pytest.raises(InputError, match=r"new\.yaml: exists already"):
        write(path, "a: 2\n", file="new.yaml")
    with pytest.raises(InputError, match="changed meanwhile"):
        write(path, "a: 2\n", replaces="a: 0\n")
    assert path.read_text() == "a: 1\n"
    assert os.listdir(tmp_path) == ["new.yaml"]


def test_a_symlink_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_text("a: 1\n")
    link = tmp_path / "link.yaml"
    link.symlink_to("real.yaml")
    with pytest.raises(InputError, match=r"^link\.yaml: is a symbolic link"):
        apply_edits(link, [Set(["a"], "2")], file="link.yaml")
    with pytest.raises(InputError, match="symbolic link"):
        write(link, "a: 2\n", replaces="a: 1\n")
    assert (tmp_path / "real.yaml").read_text() == "a: 1\n"


def test_a_failure_leaves_the_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\n")

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        apply_edits(path, [Set(["a"], "2")])
    assert path.read_text() == "a: 1\n"
    assert os.listdir(tmp_path) == ["a.yaml"]


@pytest.mark.parametrize(
    ("content", "message"), [(b"a: \xff\n", "UTF-8"), (b"\xef\xbb\xbfa: 1\n", "byte-order"), (b"a: [\n", "YAML")]
)
def test_what_cannot_be_read_is_not_edited(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        apply_edits(path, [Set(["a"], "2")])
    with pytest.raises(InputError, match="cannot be read"):
        apply_edits(tmp_path / "none.yaml", [Set(["a"], "2")])


# --- documents as nobody would write them ---------------------------------------------------------------------------

Place = tuple[str | int, ...]
WORDS = [
    "www",
    "x y",
    "é",
    "",
    "300",
    "no",
    "it's",
    "a: b",
    "x, y",
    "*",
    "# x",
    "two\nlines",
    "a\n\nb\n",
    " x",
    "-",
    "{",
]
PLAIN_DATA = st.recursive(
    st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)


@dataclass
class Line:
    text: str
    place: Place | None = None  # the entry it belongs to; None: to nobody


@dataclass
class Writer:
    """Writes plain data in a style of its own for each document, with comments everywhere. Knows nothing of `edit`."""

    random: Random
    tidy: bool  # neither flow style on several lines nor entries behind a dash
    count: int = 0
    step: int = field(init=False)
    offset: int = field(init=False)

    def __post_init__(self) -> None:
        self.step, self.offset = self.random.choice([2, 2, 3, 4]), self.random.choice([0, 2, 2, 4])
        self.comments, self.flows = self.random.choice([0, 0.2, 0.4]), self.random.choice([0, 0.3])

    def document(self, data: Any) -> list[Line]:
        if not data or isinstance(data, str):
            return [Line(self.inline(data), ())]
        return [Line("---"), Line(""), *self.block(data, 0, ())]  # so that no comment opens the file

    def often(self, share: float) -> bool:
        return self.random.random() < share

    def comment(self) -> str:
        self.count += 1
        return f"# c{self.count}"

    def behind(self) -> str:
        return "  " + self.comment() if self.often(self.comments) else ""

    def above(self, column: int, place: Place) -> Iterator[Line]:
        if self.often(self.comments / 2):
            yield from (Line(""), Line(" " * column + self.comment(), place[:-1]), Line(""))
        if self.often(self.comments):
            yield Line(" " * column + self.comment(), place)

    def scalar(self, text: str) -> str:
        styles = [json.dumps(text)]
        if text.isprintable():
            styles.append("'" + text.replace("'", "''") + "'")
        if re.fullmatch(r"\w+( \w+)*", text):
            styles.extend([text, text])
        return self.random.choice(styles)

    def inline(self, data: Any) -> str:
        if isinstance(data, str):
            return self.scalar(data)
        if isinstance(data, dict):
            parts = [f"{self.scalar(k)}: {self.inline(v)}" for k, v in data.items()]
        else:
            parts = [self.inline(v) for v in data]
        pad, comma = self.random.choice([("", ""), (" ", ""), ("", ",")]) if parts else ("", "")
        inside = pad + ", ".join(parts) + comma + pad
        return f"{{{inside}}}" if isinstance(data, dict) else f"[{inside}]"

    def block(self, data: Any, column: int, place: Place) -> list[Line]:
        lines: list[Line] = []
        for step, value in data.items() if isinstance(data, dict) else enumerate(data):
            below = (*place, step)
            head = self.scalar(str(step)) + ":" if isinstance(data, dict) else "-"
            lines += [*self.above(column, below), *self.entry(" " * column + head, value, column, below)]
        return lines

    def entry(self, head: str, value: Any, column: int, place: Place) -> list[Line]:
        if isinstance(value, str) and "\n" in value and self.often(0.5):
            chomp = "" if value.endswith("\n") else "-"
            body = [" " * (column + self.step) + t if t else "" for t in value.removesuffix("\n").split("\n")]
            return [Line(f"{head} |{chomp}{self.behind()}", place), *(Line(text, place) for text in body)]
        if isinstance(value, str) or not value:
            return [Line(f"{head} {self.inline(value)}{self.behind()}", place)]
        if self.often(self.flows):
            return self.flow(head, value, column, place)
        if head.endswith("-"):
            return self.item(head, value, column, place)
        deeper = self.step if isinstance(value, dict) else self.offset
        return [Line(head + self.behind(), place), *self.block(value, column + deeper, place)]

    def item(self, head: str, value: Any, column: int, place: Place) -> list[Line]:
        """Its first entry behind the dash, or all below it."""
        lines = self.block(value, column + 2, place)
        if self.tidy or self.often(0.3):
            return [Line(head + self.behind(), place), *lines]
        while COMMENT.match(lines[0].text):
            lines.pop(0)
        return [Line(head + " " + lines[0].text.lstrip(" "), place), *lines[1:]]

    def flow(self, head: str, value: Any, column: int, place: Place) -> list[Line]:
        if self.tidy or self.often(0.5):
            return [Line(f"{head} {self.inline(value)}{self.behind()}", place)]
        start, stop = "{}" if isinstance(value, dict) else "[]"
        lines, last = [Line(f"{head} {start}{self.behind()}", place)], self.random.choice(["", ","])
        for index, step in enumerate(value if isinstance(value, dict) else range(len(value))):
            text, left = self.inline(value[step]), index < len(value) - 1
            text = f"{self.scalar(str(step))}: {text}" if isinstance(value, dict) else text
            lines += [x for x in self.above(column + 2, (*place, step)) if x.text]
            lines.append(Line(" " * (column + 2) + text + ("," if left else last) + self.behind(), (*place, step)))
        return [*lines, Line(" " * column + stop + self.behind(), place)]


COMMENT = re.compile(r"\s*(#|$)")


def places(data: Any, place: Place = ()) -> Iterator[Place]:
    yield place
    if not isinstance(data, str):
        for step in data if isinstance(data, dict) else range(len(data)):
            yield from places(data[step], (*place, step))


def value_at(data: Any, place: Place) -> Any:
    for step in place:
        data = data[step]
    return data


def some_edit(random: Random, data: Any, new: Any) -> tuple[Edit, Place, Any]:
    """An edit, the place whose lines it may touch, and the data afterwards, made in another way than `edit` does."""
    place = random.choice(list(places(data)))
    after, kind = copy.deepcopy(data), random.choice(["set", "set", "add", "delete", "rename"])
    here = value_at(after, place)
    if kind == "add" and isinstance(here, list):
        index = random.choice([None, *range(len(here) + 1)])
        here.insert(len(here) if index is None else index, new)
        return Insert(place, new, index), (*place, -1), after
    if kind == "add" and isinstance(here, dict):
        here["new"] = new
        return Set((*place, "new"), new), (*place, "new"), after
    if not place:
        return Set((), new), (), new
    above = value_at(after, place[:-1])
    if kind == "delete":
        del above[place[-1]]
        return Delete(place), place if above else place[:-1], after
    if kind == "rename" and isinstance(above, dict):
        above["new"] = above.pop(place[-1])
        return Rename(place, "new"), place, after
    above[place[-1]] = new
    return Set(place, new), place, after


def must_stay(line: Line, place: Place) -> bool:
    """Lines elsewhere; of the lines of what is around the place, the comments."""
    if line.place is None or not line.text:
        return bool(line.text)
    inside, around = line.place[: len(place)] == place, place[: len(line.place)] == line.place
    return not inside and (not around or bool(COMMENT.match(line.text)))


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PLAIN_DATA, PLAIN_DATA, st.randoms(use_true_random=False), st.booleans(), st.sampled_from(["\n", "\r\n"]))
def test_no_other_line_changes(data: Any, new: Any, random: Random, tidy: bool, end: str) -> None:
    lines = Writer(random, tidy).document(data)
    text = end.join(line.text for line in lines) + random.choice([end, end, ""])
    assume(read(text) == data)  # else: a block scalar whose last line is not ended
    change, place, expected = some_edit(random, data, new)
    after = edit(text, [change])
    assert read(after) == expected
    assert end not in text or end == "\n" or not re.search("(?<!\r)\n", after)

    def looks(text: str) -> str:
        """Commas come and go in flow style, and what follows a dash may move up."""
        return text if tidy else text.replace(",", "").lstrip(" -")

    found = iter([looks(line) for line in after.split(end)])
    for line in lines:
        assert not must_stay(line, place) or looks(line.text) in found, line


# --- a real estate --------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not ESTATE.is_dir(), reason="the DNS estate is not beside this checkout (shared/data/moj-dns)")
def test_a_real_estate() -> None:
    """In each zone: a record comes and goes, a value is set and set back, the last record goes; nothing else moves."""
    record: Plain = {"ttl": "300", "type": "A", "values": ["192.0.2.1", "192.0.2.2"]}
    files = sorted(ESTATE.glob("*.yaml"))
    assert len(files) == 406
    for path in files:
        text, data = path.read_text(), read(path.read_text())
        added = set_value(text, ["mspctl-test"], record)
        assert len(changed(text, added)) in (4, 6), path
        assert delete(added, ["mspctl-test"]) == text, path
        place = next(p for p in places(data) if isinstance(value_at(data, p), str))
        old = value_at(data, place)
        once = set_value(text, place, "86399")
        assert len(changed(text, once)) == 1, path
        assert set_value(once, place, old) == text, path
        if len(data) > 1:
            last = list(data)[-1]
            rest = delete(text, [last])
            assert text.startswith(rest), path
            assert read(rest + text[len(rest) :]) == data, path


def changed(old: str, new: str) -> list[str]:
    """Lines of the new text between what it has in common with the old one at both ends."""
    before, after = old.splitlines(), new.splitlines()
    while before and after and before[0] == after[0]:
        before.pop(0), after.pop(0)
    while before and after and before[-1] == after[-1]:
        before.pop(), after.pop()
    assert len(before) <= 1
    return after
