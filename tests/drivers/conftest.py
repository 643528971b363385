"""Machines that all tests of the driver `hosts` share; each test begins with clean ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.drivers.hosts_rig import NAMES, Console
from tests.servers.hosts import Lan, machines


@pytest.fixture(scope="session")
def lan() -> Iterator[Lan]:
    with machines(*NAMES) as found:
        yield found


@pytest.fixture(scope="session")
def console(lan: Lan) -> Iterator[Console]:
    with ExitStack() as stack:
        yield Console(lan, stack)
