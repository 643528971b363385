"""Who is written down."""

from __future__ import annotations

import os
import pwd

import pytest

from mspctl.record import login


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the users of containers are."""

    def nobody(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert login() == f"uid-{os.getuid()}"
    monkeypatch.setenv("LOGNAME", "ada")
    assert login() == "ada"
