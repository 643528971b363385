"""GitHub, simulated: every request is checked against GitHub's own description of its API."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from mspctl.forge.github import GitHub, from_environment
from tests.servers.github import GitHubSimulator, simulated
from tests.servers.gitlab import GitLabSimulator
from tests.servers.gitlab import simulated as gitlab_simulated


@pytest.fixture
def github() -> Iterator[GitHubSimulator]:
    with simulated() as simulator:
        yield simulator


@pytest.fixture
def gitlab(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitLabSimulator]:
    """GitLab, simulated; nothing else is named by the environment."""
    for name in [name for name in os.environ if name.startswith(("GITHUB_", "GITLAB_", "CI"))]:
        monkeypatch.delenv(name)
    with gitlab_simulated() as simulator:
        yield simulator


@pytest.fixture
def client(github: GitHubSimulator) -> GitHub:
    return from_environment(github.environment)


@pytest.fixture(autouse=True)
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, none of which takes time."""
    pauses: list[float] = []

    class Clock:
        monotonic = staticmethod(time.monotonic)
        time = staticmethod(time.time)
        sleep = staticmethod(pauses.append)

    monkeypatch.setattr("mspctl.transports.http.time", Clock)
    return pauses
