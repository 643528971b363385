"""Plans as comments on a pull request: nothing acts, nothing is lost, nothing is too long."""

from __future__ import annotations

import re

import pytest
from click import unstyle
from markdown_it import MarkdownIt
from markdown_it.token import Token

from mspctl.report import as_markdown, digest, render
from mspctl.report.as_markdown import code, inline
from mspctl.report.view import Block, Line, Tone, View
from tests.report import sample

GITHUB = 65_536  # characters that a comment can have
VIEWS = {name: getattr(sample, name) for name in ("plan", "drift", "outcome", "nothing", "hostile")}
FOLDED = re.compile(r"<details><summary>[\d,]+ more</summary>\n?|</details>\n?")


def tokens(text: str) -> list[Token]:
    found: list[Token] = []
    todo = MarkdownIt("commonmark").parse(text)
    while todo:
        token = todo.pop()
        found.append(token)
        todo += token.children or ()
    return found


def prose(text: str) -> str:
    """What is neither in a fence nor in a code span: there a forge looks for mentions, links and references."""
    return "\n".join(token.content for token in tokens(text) if token.type == "text")


def coded(text: str) -> str:
    return "\n".join(token.content for token in tokens(text) if token.type in ("fence", "code_inline"))


@pytest.mark.parametrize("name", VIEWS)
def test_only_our_own_structure_is_there(name: str) -> None:
    text = render(VIEWS[name](), "markdown")
    found = tokens(text)
    allowed = {"heading", "paragraph", "inline", "text", "fence", "code_inline", "html_block", "strong", "softbreak"}
    assert {re.sub("_(open|close)$", "", token.type) for token in found} <= allowed
    assert all(FOLDED.fullmatch(token.content) for token in found if token.type == "html_block")
    assert all(token.info == "diff" for token in found if token.type == "fence")


@pytest.mark.parametrize("name", VIEWS)
def test_nothing_from_outside_stands_where_a_forge_would_act_on_it(name: str) -> None:
    said = prose(render(VIEWS[name](), "markdown"))
    assert not re.search(r"[@#<>&`\\\[\]!$|{}/_*~]|www|http|GH-|[0-9a-f]{7}|:[a-z]", said)


def test_every_fence_and_fold_is_closed_and_a_line_is_a_line() -> None:
    text = render(sample.hostile(), "markdown")
    assert text.count("<details>\n") == 0
    assert len(re.findall("^<details>", text, re.MULTILINE)) == len(re.findall("^</details>$", text, re.MULTILINE))
    for token in tokens(text):
        if token.type == "fence":
            assert all(re.match(r"[-+!#] label ", row) for row in token.content.splitlines())
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e\u2066\u200b\u2028]", text)


@pytest.mark.parametrize("name", ["plan", "drift", "outcome"])
def test_every_line_is_there(name: str) -> None:
    view = VIEWS[name]()
    text = coded(render(view, "markdown"))
    for place in digest.places(view):
        assert re.search(rf"{re.escape(place.line.label)} +{re.escape(place.line.name)} +", text + " ")
        assert place.line.detail in text
        assert place.line.remedy in text
    for block in view.blocks:
        assert block.heading in text
        assert block.source in text
        assert all(command in text for command in block.commands)
    assert "not shown" not in text


def test_alarms_come_before_everything_else() -> None:
    lines = render(sample.drift(), "markdown").splitlines()
    assert lines[0].startswith("**Emergency apply by Paolo Zen on ")
    assert [line for line in lines[:13] if line][5:] == [
        "… and 2 more",
        next(li for li in lines if li.startswith("## ")),
    ]
    text = unstyle(render(sample.drift(), "text"))
    assert [line[:2] for line in text.splitlines()[:8]] == ["! "] * 7 + ["DR"]


def test_what_failed_and_what_takes_away_comes_first() -> None:
    text = render(sample.plan(), "markdown")
    assert text.startswith("## Plan: 62 to create, 3 to change, 2 to delete. 2 changes held.\n")
    places = [text.index(part) for part in ("**Errors**", "**Takes away**", "### `officine-brenta`")]
    assert places == sorted(places)
    assert text.index("ns-lab gave no answer") < places[1]
    assert text.index("old-vpn A") < places[2]


def test_drift_says_first_what_was_changed_outside() -> None:
    text = render(sample.drift(), "markdown")
    places = [
        text.index(p)
        for p in ("**Severe**", "**Changed outside**", "came back", "### `officine-brenta`", "**Not applied yet**")
    ]
    assert places == sorted(places)
    assert "**Takes away**" not in text


def test_one_scope_needs_nothing_on_top() -> None:
    view = sample.plan()
    text = render(View("plan", "PLAN", [], view.blocks[:1], "2 to delete."), "markdown")
    assert "**Takes away**" not in text
    assert text.count("old-vpn A") == 1


def test_a_long_scope_shows_its_first_lines_and_folds_the_rest() -> None:
    text = render(sample.plan(), "markdown")
    assert text.count("<details>") == 1
    assert "<details><summary>51 more</summary>" in text
    assert text.index("host-09 A") < text.index("<details>") < text.index("host-10 A")


@pytest.mark.parametrize(
    ("scopes", "lines", "length"),
    [(40, 500, 60), (3, 3, 100_000), (5_000, 1, 10), (1, 20_000, 10), (400, 30, 1_000), (2_000, 2, 400)],
)
def test_it_is_never_too_long_and_counts_what_it_does_not_show(scopes: int, lines: int, length: int) -> None:
    view = sample.huge(scopes, lines, length)
    text = render(view, "markdown")
    assert len(text.encode()) <= as_markdown.LIMIT < GITHUB
    below = text[text.index("\n### ") :]
    names = {place.line.name for place in digest.places(view)}
    shown = names & set(re.findall(r"[heo]\d*-z\d+\.(?: \w+)?(?=\s)", below))
    left = re.search(r"\*\*([\d,]+) lines are not shown here\*\*", text)
    counted = int(left[1].replace(",", "")) if left else 0
    on_top = {row for row in names - shown if row in text}  # shown there only
    assert len(shown) + len(on_top) + counted == len(names)
    assert len(names) > 10_000 or counted or len(shown) == len(names)
    tokens(text)  # what is cut off is cut off between lines
    assert text.count("<details>") == text.count("</details>")


def test_what_is_not_shown_is_named_with_where_to_find_it() -> None:
    last = render(sample.huge(), "markdown").splitlines()[-1]
    assert re.fullmatch(
        r"\*\*[\d,]+ lines are not shown here\*\*, because a comment cannot be longer: .*delete [\d,]+, .*"
        r"`mspctl plan` shows everything, `mspctl plan --output html` as a page\.",
        last,
    )


def test_hostile_values_of_any_length_fit() -> None:
    worst = "@a `\n" * 60_000
    lines = [Line(tone, worst, worst, worst, worst) for tone in Tone]
    view = View("drift", "DRIFT", [worst] * 50, [Block(worst, worst, worst, lines, lines, [worst])] * 9, worst, lines)
    text = render(view, "markdown")
    assert len(text.encode()) <= as_markdown.LIMIT
    assert "@" not in prose(text)


@pytest.mark.parametrize("name", VIEWS)
def test_the_same_view_gives_the_same_text(name: str) -> None:
    assert render(VIEWS[name](), "markdown") == render(VIEWS[name](), "markdown")


@pytest.mark.parametrize("text", [*sample.HOSTILE, "`", "``", " ", "  a ", "a`", "`a`", "\\", "\\`"])
def test_code_holds_anything(text: str) -> None:
    (span,) = (token for token in tokens(f"before {code(text)} after") if token.type == "code_inline")
    assert span.content == digest.visible(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 customers", "3 customers"),
        ("18 to create, 0 to change, 0 to delete.", "18 to create, 0 to change, 0 to delete."),
        ("read 14:02 UTC", "read 14:02 UTC"),
        ("officine-brenta", "officine-brenta"),
        ("1,234 changes held. Nothing is due.", "1,234 changes held. Nothing is due."),
        ("ask @ops about a.example now", "ask `@ops` about `a.example` now"),
        ("fixed in da39a3ee5e6b", "fixed in `da39a3ee5e6b`"),
        ("see GH-1 or #2", "see `GH-1` or `#2`"),
        ("a  b\nc", "a `b[U+000A]c`"),
    ],
)
def test_a_sentence_keeps_its_plain_words(text: str, expected: str) -> None:
    assert inline(text) == expected
