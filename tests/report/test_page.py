"""
The page of a drift report, in a real browser: nothing overflows, everything can be read, in light and dark, wide and
narrow, on paper and without JavaScript.

What is measured is measured by a script that these tests put into a copy; the page itself has none and allows none.
"""

from __future__ import annotations

import html
import json
import re
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mspctl.finding import Finding, Severity
from mspctl.moments import Ending
from mspctl.report import digest, matrix, render
from mspctl.report.drifts import Beside
from mspctl.report.italian import sentence
from mspctl.report.soon import soon
from mspctl.report.view import View
from mspctl.resource import Cause, Id
from tests.report.test_drifts import LONG_AGO, NOW, YESTERDAY, difference, ends, finding, report, scope, silent
from tests.servers import require

SIZES = {"wide": (1280, 900), "narrow": (360, 800)}
LONG = "Associazione Temporanea di Imprese per la Manutenzione delle Infrastrutture Idrauliche del Brenta"
# Every text against what is behind it, and whatever sticks out of the window.
MEASURE = """<script>
addEventListener("load", () => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = node => { for (; node; node = node.parentElement) {
    const color = getComputedStyle(node).backgroundColor; const parts = rgb(color);
    if (parts.length < 4 || parts[3] > 0) return parts; } return [255, 255, 255]; };
  const faint = [];
  for (const node of document.querySelectorAll("body *")) {
    if (![...node.childNodes].some(child => child.nodeType === 3 && child.data.trim())) continue;
    const a = light(rgb(getComputedStyle(node).color)), b = light(behind(node));
    const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (contrast < 4.5) faint.push([node.tagName, node.className, contrast, node.textContent.slice(0, 40)]);
  }
  const root = document.documentElement, out = [];
  for (const node of document.querySelectorAll("main *")) if (!node.closest(".scroll")
    && node.getBoundingClientRect().right > root.clientWidth + 1) out.push(node.className || node.tagName);
  const found = {faint, out, width: root.scrollWidth, window: root.clientWidth,
    focus: [...document.querySelectorAll("a[href], summary, [tabindex]")].length,
    page: getComputedStyle(document.body).backgroundColor};
  document.title = "MEASURED" + JSON.stringify(found) + "END";
});
</script>"""


def view(language: str = "en") -> View:
    left = [difference("old A"), difference("new A"), difference("gone A", Cause.CAME_BACK)]
    since = {left[0].id: LONG_AGO, left[2].id: NOW - timedelta(hours=2)}
    shown = report(
        scope("acme", left=[*left, difference("x A", Cause.UNMANAGED)], since=since, looked=YESTERDAY),
        scope("clean"),
        silent("a"),
        silent("b"),
        findings=(
            finding("acme", "has no PTR record " + "x" * 300),
            Finding("mail.quota", Severity.SEVERE, "clean", "mailboxes/clean.example", "99% full", "more room"),
        ),
        beside=Beside("1 of 2 proofs passed", soon=soon([ends(b=timedelta(days=3), c=timedelta(days=2))], NOW)),
    )
    names = {"acme": LONG, "clean": "Clean <b>S.r.l.</b>", "a": "A", "b": "B"}
    proof = {"section": "mail", "every": 86400, "source": "mail.yaml:7", "target": "ns-1", "customer": "acme"}
    proofs = [
        {**proof, "path": "mailboxes/acme.example", "verdict": "passed", "made": (NOW - timedelta(days=9)).isoformat()},
        {**proof, "path": "mailboxes/other.example", "verdict": None},
    ]
    said = [{"customer": key, "name": name, "language": language} for key, name in names.items()]
    shown.document.update(customers=said, proofs=proofs)
    return shown


def of_one(language: str) -> View:
    closes = Ending(NOW + timedelta(days=2), "closes itself after Wed 17 Mar")
    declared = [ends(b=timedelta(hours=5)), replace(ends("acme"), ends={Id("fw.rule", "nvr"): closes})]
    shown = report(scope("acme", left=[difference("www A")]), beside=Beside(soon=soon(declared, NOW)))
    shown.document.update(customers=[{"customer": "acme", "name": "Acme", "language": language}], proofs=[])
    return shown


def browse(folder: Path, text: str, size: str, *options: str) -> str:
    """What the browser makes of a page."""
    browser = require("chromium")
    (folder / "page.html").write_text(text, encoding="utf-8")
    width, height = SIZES[size]
    ours = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-extensions", "--no-first-run"]
    ours += ["--disable-dev-shm-usage", f"--user-data-dir={folder / 'profile'}", f"--window-size={width},{height}"]
    done = subprocess.run(
        [browser, *ours, *options, (folder / "page.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def measured(folder: Path, text: str, size: str, dark: bool) -> Any:
    text = re.sub(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", text).replace(
        "</head>", MEASURE + "</head>"
    )
    if size == "narrow":  # the window of a headless browser is 500 pixels wide at least
        text = f"<!doctype html><title>x</title>{NARROW}".replace("PAGE", json.dumps(text).replace("</", "<\\/"))
    said = browse(folder, text, size, f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--dump-dom")
    found = re.search(r"<title>MEASURED(.*?)END</title>", said)
    assert found, said[:200]
    return json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


NARROW = """<iframe width="360" height="800" style="border: 0"></iframe><script>
const frame = document.querySelector("iframe");
frame.addEventListener("load", () => { document.title = frame.contentDocument.title || "TITLELESS"; });
frame.srcdoc = PAGE;
</script>"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_can_be_read_and_nothing_sticks_out(tmp_path: Path, size: str, dark: bool) -> None:
    found = measured(tmp_path, render(view(), "html"), size, dark)
    assert found["faint"] == []
    assert found["out"] == []
    assert found["width"] == found["window"]
    assert (found["page"] == "rgb(15, 18, 22)") is dark
    assert found["focus"] >= 8  # links to customers, what is folded, and the table itself, which scrolls


def test_it_prints(tmp_path: Path) -> None:
    browse(
        tmp_path, render(view(), "html"), "wide", f"--print-to-pdf={tmp_path / 'page.pdf'}", "--no-pdf-header-footer"
    )
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF-")


def test_it_needs_no_script_and_lets_none_run(tmp_path: Path) -> None:
    text = render(view(), "html")
    assert "<script" not in text
    ran = text.replace("</head>", '<script>document.title = "it ran"</script></head>')
    said = browse(tmp_path, ran, "wide", "--dump-dom")
    assert "<title>it ran" not in said
    assert said.count("<details>") == text.count("<details>") > 3  # what unfolds does so without one


def test_the_matrix_says_how_each_section_of_each_customer_is() -> None:
    rows = {row.customer: row for row in matrix.rows(view())}
    assert [*rows] == ["clean", "acme", "a", "b"]  # those first with whom most is wrong
    assert rows["acme"].name == LONG
    assert rows["acme"].cells["dns"] == {"changed outside": 2, "came back": 1, "unmanaged": 1}
    assert rows["acme"].cells["mail"] == {"warning": 1}
    assert rows["clean"].cells == {"dns": {}, "mail": {"severe": 1}}
    assert rows["a"].cells["dns"] == {"not read": 1}


def test_what_is_wrong_with_several_is_not_called_fine() -> None:
    said = render(view(), "html")
    assert said.count("What is wrong is said above, with other customers.") == 2
    assert "Everything is as declared" not in said
    one = of_one("en")
    clean = replace(one, blocks=[])
    clean.document["scopes"][0]["left"] = []  # type: ignore[index]
    assert "Everything is as declared, as far as it was read." in render(clean, "html")


def test_proofs_have_their_age() -> None:
    said = re.sub(r"<[^>]+>", " ", render(view(), "html"))
    assert re.search(r"mailboxes/acme.example\s+passed\s+9 days", said)
    assert re.search(r"mailboxes/other.example\s+never made\s+never", said)


def test_of_one_customer_it_is_in_the_customers_language() -> None:
    said = render(of_one("it"), "html")
    assert '<html lang="it">' in said
    for words in (
        "Clienti",
        "modificato da fuori",
        "Git dice 192.0.2.1, dal vivo è 192.0.2.9",
        "modifiche da fuori: 1",
        "dichiarate: 10",
        "riga 3",
        "in scadenza",
        "2 righe",
        "fino al 2027-03-17 (tra 5 ore)",
        "si chiude da sé dopo mer 17 mar (tra 2 giorni)",
    ):
        assert words in said
    assert '<html lang="en">' in render(of_one("en"), "html")
    assert '<html lang="en">' in render(view("it"), "html")  # of several it is the team that reads


def test_kept_or_not_it_is_the_same_page() -> None:
    from mspctl.report import kept

    assert render(kept.parse(kept.dump(view())), "html") == render(view(), "html")
    assert digest.coverage(view(), "acme") == "10 declared · 1 unmanaged · 0 unknown"


def test_the_answers_of_a_single_line_stand_once() -> None:
    one = of_one("en")
    block = next(each for each in one.blocks if each.aside)
    block = replace(block, aside=block.aside[:1], commands=block.aside[0].answers)
    said = html.unescape(render(replace(one, blocks=[block]), "html"))
    assert [said.count(command) for command in block.commands] == [1, 1, 1]


@pytest.mark.parametrize(
    ("text", "italian"),
    [
        (
            "Emergency apply by Maria on 2026-11-28 09:07 UTC: down; 1 change; not yet in Git's main: emergency/x",
            "Applicato d’emergenza da Maria il 2026-11-28 alle 09:07 UTC: down; modifiche: 1; non ancora nel ramo"
            " main di Git: emergency/x",
        ),
        (
            "changes 192.0.2.2: an emergency apply left it so (merge emergency/x first)",
            "changes 192.0.2.2: lasciato così d’emergenza (prima si unisca emergency/x)",
        ),
        ("are given by name, in customers/a/approvals.yaml", "si danno per nome, in customers/a/approvals.yaml"),
        (
            "left Git; nothing there is touched until an approval names resource: dns/a, target: b",
            "uscito da Git; non si tocca nulla finché un’approvazione non nomina resource: dns/a, target: b",
        ),
    ],
)
def test_what_is_around_values_is_italian(text: str, italian: str) -> None:
    assert sentence(text) == italian
