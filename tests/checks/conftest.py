from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.hierarchy import Hierarchy, hierarchy


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hierarchy]:
    with hierarchy(tmp_path_factory.mktemp("hierarchy")) as made:
        yield made
