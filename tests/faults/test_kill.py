"""SIGKILL between any two writes of an apply: the next one finishes, does nothing twice, and no lock stays."""

from __future__ import annotations

import multiprocessing
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.faults.killing import SCENES, Scene, kill_at
from tests.faults.lab import Lab, today

SAMPLE = 16  # points of each scene where nobody asked for all


@pytest.fixture(scope="module")
def workers() -> Iterator[Executor]:
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        yield executor


def staged(name: str, root: Path) -> tuple[Scene, list[str]]:
    """A scene, and the write points of an apply that nobody kills."""
    start = SCENES[name](root / "start")
    undisturbed = start.copy(root / "undisturbed")
    done = undisturbed.real("apply", "-y", points=str(root / "points"))
    assert done.code == 0, done.err
    return Scene(start.root, undisturbed.files(), today()), (root / "points").read_text().splitlines()


def survived(executor: Executor, scene: Scene, points: list[str], chosen: list[int], root: Path) -> None:
    jobs = {at: executor.submit(kill_at, at, scene, root / f"killed-{at}") for at in chosen}
    wrong = [f"{points[at]}: {text}" for at, job in jobs.items() for text in job.result()]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", SCENES)
def test_a_sample_of_the_points(name: str, workers: Executor, tmp_path: Path) -> None:
    scene, points = staged(name, tmp_path)
    step = len(points) / SAMPLE
    survived(workers, scene, points, sorted({int(step * n) for n in range(SAMPLE)}), tmp_path)


@pytest.mark.soak
def test_every_point(workers: Executor, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    total = 0
    for name in SCENES:
        scene, points = staged(name, tmp_path / name)
        survived(workers, scene, points, [*range(len(points))], tmp_path / name)
        total += len(points)
    with capsys.disabled():
        print(f"\n{total} write points, killed at each")  # noqa: T201
    assert total >= 200


def test_name_servers_load_what_is_left(tmp_path: Path) -> None:
    """A zone file is the old one or the new one, whole, at every point at which one is being written."""
    check = shutil.which("named-checkzone") or shutil.which("named-checkzone", path="/usr/sbin:/sbin")
    if check is None:
        pytest.skip("named-checkzone is not installed")
    scene, points = staged("change", tmp_path)
    writing = [at for at, point in enumerate(points) if "half written" in point or "before os.replace" in point]
    for at in writing[:4]:
        lab = Lab(scene.start).copy(tmp_path / f"at-{at}")
        assert lab.real("apply", "-y", at=at).code == -9
        for zone in lab.zones.rglob("*.zone"):
            done = subprocess.run([check, zone.stem, zone], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout
