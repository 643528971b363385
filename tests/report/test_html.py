"""The page: self-contained, true to its view, and deaf to whatever stands in a value."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from mspctl.report import digest, render
from mspctl.report.digest import visible
from mspctl.report.view import Block, Line, Tone, View
from tests.report import sample

VIEWS = {name: getattr(sample, name) for name in ("plan", "drift", "outcome", "nothing", "hostile")}
VOID = {"meta", "col"}
ATTRIBUTES = {"class", "id", "href", "lang", "charset", "name", "content", "http-equiv", "aria-hidden", "aria-label",
              "aria-labelledby", "colspan", "role", "scope", "tabindex"}  # fmt: skip


class Page(HTMLParser):
    """Elements, ids, links and texts; wrongly nested elements raise."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    def values(self, name: str) -> list[str]:
        return [value for attribute, value in self.attributes if attribute == name]

    @property
    def text(self) -> str:
        return "".join(self.texts)


@pytest.mark.parametrize("name", VIEWS)
def test_the_page_loads_nothing_and_runs_nothing(name: str) -> None:
    text = render(VIEWS[name](), "html")
    page = Page(text)
    ours = "html head meta title style body main header section article nav footer details summary h1 h2 h3 h4 small p"
    assert set(page.tags) <= {*ours.split(), *"ul li a b code span table colgroup col thead th tbody tr td div".split()}
    assert {name for name, _ in page.attributes} <= ATTRIBUTES
    assert all(link.startswith("#") for link in page.values("href"))
    assert "default-src 'none'" in text
    style = text[text.index("<style>") : text.index("</style>")]
    assert not re.search(r"url\(|@import|expression", style)


@pytest.mark.parametrize("name", VIEWS)
def test_anchors_are_unique_and_lead_somewhere(name: str) -> None:
    page = Page(render(VIEWS[name](), "html"))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in page.values("href")} <= set(ids)
    assert all(re.fullmatch(r"c-[A-Za-z0-9-]+", anchor) for anchor in ids)


@pytest.mark.parametrize("name", VIEWS)
def test_every_line_is_there(name: str) -> None:
    view = VIEWS[name]()
    said = Page(render(view, "html")).text
    for place in digest.places(view):
        for part in (place.line.label, place.line.name, place.line.detail, place.line.remedy):
            assert visible(part, keep="\n") in said
    for block in view.blocks:
        for part in (block.customer, block.heading, block.source, *block.commands):
            assert visible(part, keep="\n") in said
    for fact in view.facts:
        assert visible(fact, keep="\n") in said


def test_alarms_come_before_everything_else() -> None:
    text = render(sample.drift(), "html")
    assert text.count('<p class="alarm">Emergency apply by Paolo Zen') == 7
    assert text.rindex('<p class="alarm">') < text.index("<h1>")


def test_it_says_first_what_failed_and_what_takes_away() -> None:
    text = render(sample.plan(), "html")
    places = [text.index(p) for p in ("62 to create", ">Errors<", ">Takes away<", 'id="c-officine-brenta"')]
    assert places == sorted(places)
    assert "Takes away" not in render(sample.drift(), "html")


def test_drift_says_first_what_was_changed_outside() -> None:
    text = render(sample.drift(), "html")
    expected = (">Errors<", ">Severe<", ">Changed outside<", 'id="c-officine-brenta"', ">findings<", "Not applied yet")
    places = [text.index(p) for p in expected]
    assert places == sorted(places)
    assert '<span class="remedy">To do: give it an A or AAAA record' in text


def test_what_is_not_in_this_merge_stands_apart_with_the_commands_that_end_it() -> None:
    text = render(sample.plan(), "html")
    asides = re.findall(r'<section class="aside">.*?</section>', text, re.DOTALL)
    assert len(asides) == 2
    assert "Not in this merge" in asides[0]
    assert "192.0.2.81, live is 203.0.113.7" in asides[0]
    assert '<code class="paste">mspctl adopt officine-brenta dns/brenta.example</code>' in asides[0]


def test_a_long_scope_is_folded() -> None:
    text = render(sample.plan(), "html")
    folded = text[text.index("<details>") : text.index("</details>")]
    assert "51 more" in folded
    assert "host-60 A" in folded
    assert "host-09 A" not in folded


def test_counts_are_on_top() -> None:
    text = render(sample.plan(), "html")
    chips = text[text.index('<ul class="chips">') :]
    chips = chips[: chips.index("</ul>")]
    assert '<li class="take"><b>2</b> delete</li>' in chips
    assert '<li class="add"><b>62</b> create</li>' in chips
    assert '<li class="bad"><b>1</b> unreachable</li>' in chips


def test_the_command_that_finishes_an_apply_can_be_pasted() -> None:
    assert '<code class="paste">mspctl apply -c officine-brenta</code>' in render(sample.outcome(), "html")


def test_a_line_end_in_a_value_stays_within_its_cell() -> None:
    view = View("plan", "PLAN", [], [Block("a", "b", "", [Line(Tone.ADD, "create", "n", "one\ntwo")])], "1 to create.")
    assert ">one\ntwo<" in render(view, "html")


@pytest.mark.parametrize("name", VIEWS)
def test_the_same_view_gives_the_same_page(name: str) -> None:
    assert render(VIEWS[name](), "html") == render(VIEWS[name](), "html")


def test_thousands_of_lines_are_no_trouble() -> None:
    view = sample.huge(100, 100)
    said = render(view, "html")
    assert said.count("<tr ") >= 10_000
