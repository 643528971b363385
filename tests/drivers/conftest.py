"""What several tests share: machines of the driver `hosts`, where each test begins with clean ones; and a namespace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.drivers.contract import Rig
from tests.drivers.hosts_rig import NAMES, Console
from tests.drivers.nftables_rig import Device
from tests.drivers.workbench import Workbench
from tests.servers import namespaces
from tests.servers.hosts import Lan, machines


@pytest.fixture(scope="session")
def lan() -> Iterator[Lan]:
    with machines(*NAMES) as found:
        yield found


@pytest.fixture(scope="session")
def console(lan: Lan) -> Iterator[Console]:
    with ExitStack() as stack:
        yield Console(lan, stack)


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """A device of the driver `nftables`."""
    with namespaces.made("fw") as names:
        yield names["fw"]


@pytest.fixture
def rig(namespace: str, tmp_path: Path) -> Iterator[Rig]:
    """The same, empty, unless the tests of a file bring a target of their own."""
    device = Device(namespace, tmp_path)
    yield device
    device.nft("flush", "ruleset")


@pytest.fixture
def bench(rig: Rig) -> Workbench:
    return Workbench(lambda scope: rig.reader(), lambda scope: rig.driver(), approved=True)
