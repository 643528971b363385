"""Real servers on loopback, in private folders, on ports of their own."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest


def require(program: str) -> str:
    """
    The path of a program that a test starts: of this environment, or of the machine.

    Without it the test is skipped, unless MSPCTL_REQUIRE_SERVERS=1 says that it must run here.
    """
    # What pip installed beside this interpreter counts, whether somebody activated the environment or not.
    places = (str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin")
    path = shutil.which(program, path=os.pathsep.join(places))
    if path is None:
        missing(f"{program} is not installed")
    return path


def missing(text: str) -> NoReturn:
    """Skip the test, or fail it where it must run."""
    if os.environ.get("MSPCTL_REQUIRE_SERVERS") == "1":
        pytest.fail(text)
    pytest.skip(text)
