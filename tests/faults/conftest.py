from __future__ import annotations

import os

import pytest

from tests.faults.lab import quiet


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in os.environ.items():
        monkeypatch.setenv(name, value)  # so that all of them come back
    quiet()
