"""Strict YAML: texts as typed, each with its place; what is wrong, in words that help."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mspctl.errors import Problem
from mspctl.strict_yaml import MAX_BYTES, MAX_DEPTH, MAX_KEY, Map, Mark, Problems, Seq, find, parse, read


def parsed(text: str) -> Any:
    problems = Problems()
    data = parse(text, "f", problems)
    assert problems == []
    return data


def wrong(text: str) -> list[str]:
    problems = Problems()
    parse(text, "f", problems)
    return [str(problem) for problem in problems]


# -- what is read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed",
    "NO yes true null ~ 0123 0o17 0x10 1_000 12:30 7.10 1e3 .inf .nan 2027-01-01 = a:b a#b -a ?a".split(),
)
def test_a_scalar_is_the_text_that_was_typed(typed: str) -> None:
    assert parsed(f"a: {typed}\n{typed}: b\n") == {"a": typed, typed: "b"}


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", None),
        ("# nothing\n", None),
        ("---\n", None),
        ("a:\n", {"a": None}),
        ("a: ''\n", {"a": ""}),
        ('a: ""\n', {"a": ""}),
        ("a: ! x\n", {"a": "x"}),
        ("a: |\n  b\n  c\n", {"a": "b\nc\n"}),
        ("a: >-\n  b\n  c\n", {"a": "b c"}),
        ("a: b # c\n", {"a": "b"}),
        ("'': a\n", {"": "a"}),
        ("'<<': a\n", {"<<": "a"}),
        ("? a\n: b\n", {"a": "b"}),
        ("a:\tb\t# c\n", {"a": "b"}),
        ("{a: [b, {c: d}], e: }", {"a": ["b", {"c": "d"}], "e": None}),
        ("a: &x [b]\nc: *x\n", {"a": ["b"], "c": ["b"]}),
        ("a: &x b\n*x : c\n", {"a": "b", "b": "c"}),
        ("just a text", "just a text"),
    ],
)
def test_documents(text: str, data: object) -> None:
    assert parsed(text) == data


TEXTS = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=8)
TREES: st.SearchStrategy[Any] = st.recursive(
    TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc<*@ ", max_size=4), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(TREES)
def test_json_is_read_as_it_is(data: Any) -> None:
    assert parsed(json.dumps({"a": data}, ensure_ascii=False)) == {"a": data}


def test_every_key_and_item_knows_its_place() -> None:
    data = parsed("a: b\nc:\n  - d\n  - e: f\n    'g': |\n      h\n")
    assert data.marks["a"] == Mark("f", 1, 1, 1, 4)
    assert data.marks["c"] == Mark("f", 2, 1, 3, 3)
    assert data["c"].marks == [Mark("f", 3, 5, 3, 5), Mark("f", 4, 5, 4, 5)]
    assert data["c"][1].marks["g"] == Mark("f", 5, 5, 5, 10)
    assert find(data, ["c", 1, "g"]) == data["c"][1].marks["g"]
    assert find(data, ["c", 1, "nothing", "below"]) == data["c"].marks[1]
    assert find(data, ["nothing"]) is None


def test_columns_count_characters() -> None:
    assert parsed("'é😀': {ü: x}\n")["é😀"].marks["ü"] == Mark("f", 1, 8, 1, 11)


# -- what is refused --------------------------------------------------------------------------------------------

SYNTAX = [
    ("a:\n\tb: 1\n", "f:2:1: is not YAML: a tab cannot indent YAML (use spaces)"),
    ("- a\n-\tb\n", "f:2:2: is not YAML: a tab cannot indent YAML (use spaces)"),
    ("@: 1\n", "f:1:1: is not YAML: a text cannot start with '@' (put it in quotes)"),
    ("a: `x`\n", "f:1:4: is not YAML: a text cannot start with '`' (put it in quotes)"),
    ("a: %x\n", "f:1:4: is not YAML: a text cannot start with '%' (put it in quotes)"),
    ("'a': 1\n*.b: 1\n", "f:2:1: is not YAML: a text cannot start with '*' (put it in quotes)"),
    ("a: &\n", "f:1:4: is not YAML: a text cannot start with '&' (put it in quotes)"),
    ("%a: 1\n", "f:1:3: is not YAML: a line cannot start with % (put the text in quotes)"),
    ("%YAML 2.0\n--- a\n", "f:1:1: is not YAML: a line cannot start with % (put the text in quotes)"),
    ("a: b: c\n", "f:1:5: is not YAML: a colon cannot stand here (quote a text with “: ” in it, or indent)"),
    ("a\nb: c\n", "f:2:2: is not YAML: a colon cannot stand here (quote a text with “: ” in it, or indent)"),
    ("a: |\n x\ny\n", "f:3:1: is not YAML: a key without its colon (write key: value)"),
    ("a: 'b\nc: d\n", "f:1:4: is not YAML: a quote is opened here and never closed"),
    ('a: "b\n---\n', "f:1:4: is not YAML: a quote is opened here and never closed"),
    ('a: "b\\;c"\n', "f:1:6: is not YAML: a backslash in double quotes starts an escape (use single quotes)"),
    ('a: "\\ud800"\n', "f:1:7: is not YAML: this escape stands for no character (use single quotes)"),
    ('a: "\\xzz"\n', "f:1:7: is not YAML: this escape stands for no character (use single quotes)"),
    ("a: [b\nc: d\n", "f:1:4: is not YAML: a list is opened here and not closed, or a comma is missing"),
    ("a: {b: c\nd: e\n", "f:1:4: is not YAML: a mapping is opened here and not closed, or a comma is missing"),
    (
        "a:\n  b: c\n d: e\n",
        "f:3:2: is not YAML: a key cannot stand here (check the indentation, and quotes within a text)",
    ),
    ("a: 'b' c\n", "f:1:8: is not YAML: a key cannot stand here (check the indentation, and quotes within a text)"),
    ("- a\nb: c\n", "f:2:1: is not YAML: a list item cannot stand here (check the indentation)"),
    ("a: - b\n", "f:1:4: is not YAML: a list cannot start here (start it on a line of its own)"),
    ("a: ]\n", "f:1:4: is not YAML: a value is missing here"),
    ("a: !x!y b\n", "f:1:4: is not YAML: tags are not used here (remove it)"),
    ("a: | b\n", "f:1:6: is not YAML: nothing can follow | or > on its line (start the text on the next)"),
    ("a: b\n...\nc: d\n", "f:3:1: is not YAML: a second document starts here (one document per file)"),
    ("a: b\n---\nc: d\n", "f:2:1: a second document starts here (one document per file)"),
    ("a: !!str b\n", "f:1:4: tags (!…) are not used here (remove it, or put the text in quotes)"),
    ("a: !<x%0ay> b\n", "f:1:4: tags (!…) are not used here (remove it, or put the text in quotes)"),
    ("a: !x [b]\n", "f:1:4: tags (!…) are not used here (remove it, or put the text in quotes)"),
    ("a: 1\na: 2\n", "f:2:1: duplicate key 'a' (first on line 1)"),
    ("'a': 1\n\"a\": 2\n", "f:2:1: duplicate key 'a' (first on line 1)"),
    ("a: &x {b: c}\nd: {<<: *x}\n", "f:2:5: merge keys are not used here (write the keys out, or use a baseline)"),
    ("? [a]\n: b\n", "f:1:3: a mapping or a list cannot be a key"),
    ("{a: b}: c\n", "f:1:1: a mapping or a list cannot be a key"),
    ("a: &x [b]\n*x : c\n", "f:2:1: a mapping or a list cannot be a key"),
    ("?\n: b\n", "f:1:2: a key is missing before the colon"),
    ("a: *x\n", "f:1:4: alias *x has no anchor above it"),
    ("a: &x [*x]\n", "f:1:8: alias *x has no anchor above it"),
    ('a: "\\x07"\n', "f:1:4: character U+0007 is not allowed (remove it)"),
    ('a: "\\u202e"\n', "f:1:4: character U+202E is not allowed (remove it)"),
    (f"? {'a' * (MAX_KEY + 1)}\n: b\n", "f:1:3: a key is longer than 1,024 characters"),
]


@pytest.mark.parametrize(("text", "line"), SYNTAX, ids=[repr(text[:30]) for text, _ in SYNTAX])
def test_what_is_wrong_and_what_would_be_right(text: str, line: str) -> None:
    assert wrong(text) == [line]


def test_all_duplicate_keys_are_told_and_the_rest_is_read() -> None:
    problems = Problems()
    assert parse("a: 1\na: 2\nb: {c: 1, c: 2}\n", "f", problems) == {"a": "2", "b": {"c": "2"}}
    assert [(p.line, p.column) for p in problems] == [(2, 1), (3, 11)]


@pytest.mark.parametrize("opened", ["[", "{a: ", "- ", "? ", "- ? ", "[{a: "])
def test_depth_is_bounded_without_recursion(opened: str) -> None:
    (line,) = wrong(opened * 5000)
    assert "nested deeper" in line or "cannot be a key" in line


def test_depth_up_to_the_limit_is_read() -> None:
    assert parsed("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert wrong("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)) == ["f:1:33: nested deeper than 32 levels"]


def test_aliases_are_bounded_in_values_and_in_text() -> None:
    assert len(parsed("a: &a [x]\nb: [" + "*a," * 5000 + "]\n")["b"]) == 5000
    assert wrong("a: &a [x]\nb: [" + "*a," * 5001 + "]\n") == [
        "f:2:15005: aliases repeat more than 10000 values (write them out)"
    ]
    assert "aliases repeat" in wrong(f"a: &a {'x' * 100_000}\nb: [" + "*a," * 20 + "]\n")[0]


# -- files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (
            b"\xef\xbb\xbfa: b\n",
            Problem("f", 1, 1, "", "starts with a byte-order mark (save the file as UTF-8 without BOM)"),
        ),
        ("é: ü\n".encode() + b"x: \xe8\n", Problem("f", 2, 4, "", "byte 0xe8 is not UTF-8 (save the file as UTF-8)")),
        ("é: ü".encode() + b"\xe8\n", Problem("f", 1, 5, "", "byte 0xe8 is not UTF-8 (save the file as UTF-8)")),
        (b"a: \x00\n", Problem("f", 1, 4, "", "character U+0000 is not allowed (remove it)")),
        (b"a: b\x0cc\n", Problem("f", 1, 5, "", "character U+000C is not allowed (remove it)")),
        (b"a: b\rc: d\n", Problem("f", 1, 5, "", "character U+000D is not allowed (remove it)")),
        ("a: b\u2028c\n".encode(), Problem("f", 1, 5, "", "character U+2028 is not allowed (remove it)")),
        ("a:\n  # \u200b\n".encode(), Problem("f", 2, 5, "", "character U+200B is not allowed (remove it)")),
    ],
)
def test_bytes_that_are_no_plain_text(raw: bytes, problem: Problem, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(raw)
    problems = Problems()
    assert read(tmp_path / "f", "f", problems) is None
    assert problems == [problem]


def test_windows_line_ends_are_read_and_counted(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"a: b\r\nc: d\r\nc: e\r\n")
    problems = Problems()
    assert read(tmp_path / "f", "f", problems) == {"a": "b", "c": "e"}
    assert [p.line for p in problems] == [3]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "cannot be read (No such file or directory)"),
        (lambda path: path.mkdir(), "is a folder where a file is expected"),
        (
            lambda path: path.symlink_to("/etc/passwd"),
            "is a link or a special file (only plain files and folders are read)",
        ),
        (lambda path: path.write_bytes(b"#" * (MAX_BYTES + 1)), "is larger than 16 MiB (split it)"),
    ],
)
def test_what_is_no_plain_file(make: Any, said: str, tmp_path: Path) -> None:
    make(tmp_path / "f")
    problems = Problems()
    assert read(tmp_path / "f", "f", problems) is None
    assert problems == [Problem("f", 0, 1, "", said)]


@settings(max_examples=300, deadline=None)
@given(st.text("{}[]:,-?*&!|>%@`#'\"\\\n \tab<", max_size=40) | st.text(max_size=40))
def test_any_text_is_data_or_one_line_with_its_place(text: str) -> None:
    problems = Problems()
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    data = parse(text, "f", problems)
    assert data is None or isinstance(data, str | Map | Seq)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").splitlines() or [""]
    for problem in problems:
        assert str(problem).isprintable()
        assert 1 <= problem.line <= len(lines) + 1
