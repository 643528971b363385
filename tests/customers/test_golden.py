"""
The plans of the example customers, to the letter: who changes what a plan says sees it here.

`MSPCTL_WRITE_GOLDEN=1 .venv/bin/pytest tests/customers` writes them anew; the difference is then read in the commit.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT, Run

HERE = Path(__file__).parent
CUSTOMERS = sorted(path.name for path in (ROOT / "customers").iterdir() if path.is_dir())


@pytest.mark.parametrize("form", ["text", "markdown"])
@pytest.mark.parametrize("customer", CUSTOMERS)
def test_plan_of_an_example_customer(run: Run, customer: str, form: str) -> None:
    shown = re.sub(r"read \d\d:\d\d", "read 14:02", run("plan", "-c", customer, "-o", form).out)
    golden = HERE / f"{customer}.{'txt' if form == 'text' else 'md'}"
    if os.environ.get("MSPCTL_WRITE_GOLDEN"):
        golden.write_text(shown, encoding="utf-8")
    assert shown == golden.read_text(encoding="utf-8")


def test_no_golden_plan_is_left_over() -> None:
    assert {path.stem for path in HERE.glob("*.txt")} == {path.stem for path in HERE.glob("*.md")} == set(CUSTOMERS)
