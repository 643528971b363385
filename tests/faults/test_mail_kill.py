"""SIGKILL anywhere in an apply of mail: no domain is half made, the next run finishes, and no password is lost."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.faults import mail_lab
from tests.faults.mail_killing import SCENES, Scene, kill_at, staged
from tests.servers import databases

KINDS = ("sqlite", "postgresql", "mariadb")
# Scene, database, and at how many points it is killed where nobody asked for all.
SAMPLE = [("first", "sqlite", 2), ("change", "sqlite", 4), ("change", "postgresql", 2), ("change", "mariadb", 2)]
Servers = Callable[[str], databases.Server]


@pytest.fixture(scope="module")
def workers() -> Iterator[Executor]:
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        yield executor


@pytest.fixture(autouse=True)
def _quiet(_quiet: None) -> None:
    mail_lab.quiet()


def survived(executor: Executor | None, scene: Scene, points: list[str], chosen: Sequence[int], root: Path) -> None:
    """Files are killed side by side; a server has one set of tables."""
    places = {at: root / f"killed-{at}" for at in chosen}
    if executor is None or scene.tables:
        said = {at: kill_at(at, scene, place) for at, place in places.items()}
    else:
        jobs = {at: executor.submit(kill_at, at, scene, place) for at, place in places.items()}
        said = {at: job.result() for at, job in jobs.items()}
    wrong = [f"{points[at]}: {text}" for at, texts in said.items() for text in texts]
    assert not wrong, "\n".join(wrong)


def spread(points: Sequence[str], count: int) -> list[int]:
    """Some of them, evenly: half of all, half of those where the database is written."""
    ours = [at for at, point in enumerate(points) if " sql " in point]
    half = count // 2
    some = [len(points) * (2 * n + 1) // (2 * half) for n in range(half)]
    return sorted({*some, *(ours[len(ours) * (2 * n + 1) // (2 * half)] for n in range(half))})


@pytest.mark.parametrize(("name", "kind", "count"), SAMPLE)
def test_a_sample_of_the_points(
    name: str, kind: str, count: int, workers: Executor, mail_server: Servers, mail_tables: Path, tmp_path: Path
) -> None:
    server = None if kind == "sqlite" else mail_server(kind)
    scene, points = staged(name, tmp_path, mail_tables, server)
    survived(workers, scene, points, spread(points, count), tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SCENES)
def test_every_point(
    name: str, kind: str, workers: Executor, mail_server: Servers, mail_tables: Path, tmp_path: Path
) -> None:
    server = None if kind == "sqlite" else mail_server(kind)
    scene, points = staged(name, tmp_path, mail_tables, server)
    assert len([point for point in points if " sql " in point]) >= 20
    survived(workers, scene, points, [*range(len(points))], tmp_path)
