"""`mspctl report`: what drift runs saw last, without asking any target, as text and as one page."""

from __future__ import annotations

import re
from pathlib import Path

from tests.cli.test_drift import edit, observed, read  # noqa: F401
from tests.cli.test_main_job import YAML, ZONE, replace
from tests.conftest import Run


def test_it_says_what_was_seen_and_asks_nobody(observed: Run, repository: Path, read: list[str]) -> None:  # noqa: F811
    edit(repository)
    observed("drift", "--record")
    (repository / ZONE).unlink()  # whoever asked now would find nothing
    said = observed("report")
    assert (said.code, read) == (0, [])
    assert re.search(r"changed outside  voip A  values: Git says 192.0.2.85, live is 203.0.113.66 \(since ", said.out)
    assert said.out.endswith("1 resource changed outside (0 new); 0 unmanaged.\n")
    page = observed("report", "--html", "page.html")
    assert (page.code, page.out) == (0, "page.html: 1 resource changed outside (0 new); 0 unmanaged.\n")
    text = (repository / "page.html").read_text()
    assert "voip A" in text
    for name in ("Officine Brenta", "Studio"):
        assert name in text
    assert '<html lang="en">' in text
    of_one = observed("report", "-c", "officine-brenta", "--html", "page.html")
    assert of_one.code == 0
    assert "studio" not in (repository / "page.html").read_text()


def test_what_no_run_has_seen_is_not_called_fine(observed: Run, repository: Path) -> None:  # noqa: F811
    replace(repository / YAML, "voip: {A: 192.0.2.85}", "voip: {A: 192.0.2.86}")
    said = observed("report").out
    assert re.search(r"unreachable .*something else is declared since it was looked at on \d{4}-", said)
    assert "1 scope unreachable" in said


def test_without_observations_nothing_is_known(run: Run) -> None:
    said = run("report")
    assert said.code == 0
    assert "no drift run has kept what is there (mspctl drift --record)" in said.out
    assert "unmanaged · 60 unknown" in said.out


def test_what_a_run_reported_makes_the_same_page(observed: Run, repository: Path) -> None:  # noqa: F811
    edit(repository)
    observed("drift", "--report", "drift.json")
    assert observed("report", "drift.json", "--html", "page.html").code == 0
    assert "voip A" in (repository / "page.html").read_text()
    observed("plan", "--report", "plan.json")
    assert observed("report", "plan.json").code == 64
    assert observed("report", "drift.json", "-c", "officine-brenta").code == 64
    assert "is not a report that mspctl kept" in observed("report", "page.html").err
    for odd in (".", "/dev/zero"):
        assert f"{odd}: is no file" in observed("report", "drift.json", "--html", odd).err
    assert "cannot be written" in observed("report", "drift.json", "--html", "no/such/folder.html").err
