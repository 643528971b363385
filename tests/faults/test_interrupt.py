"""Ctrl-C and a cancelled job: what was begun is finished and recorded, no lock stays, the next run does the rest."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from mspctl.locks import Locks
from mspctl.record import Run
from tests.faults.lab import Lab

ONCE = "interrupted: what was begun is finished first; Ctrl-C once more ends at once"
ZONES = 7
FULL = "ns-1/dns/brenta.example"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab.make(tmp_path_factory.mktemp("lab"))


@pytest.fixture
def lab(template: Lab, tmp_path: Path) -> Lab:
    return template.copy(tmp_path / "lab")


def written(lab: Lab) -> set[str]:
    return {name for name in lab.files() if name.endswith(".zone")}


def begun(lab: Lab, process: subprocess.Popen[str]) -> None:
    """Waits until the first zone is there and the second is under way."""
    over = time.monotonic() + 30
    while not written(lab):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < over
        time.sleep(0.01)


def finishes(lab: Lab) -> None:
    """The next run does what is left, nothing twice."""
    assert lab.run("apply", "--wait", "0").code == 0
    assert (lab.run("plan").code, lab.run("drift").code) == (0, 0)
    assert len(written(lab)) == ZONES
    assert set(lab.landings().values()) == {1}
    assert lab.locks() == []


@pytest.mark.parametrize(
    "signals", [["SIGINT"], ["SIGTERM"], ["SIGHUP"], ["SIGINT", "SIGTERM", "SIGTERM"]], ids=" ".join
)
def test_the_running_scope_is_finished(lab: Lab, signals: list[str]) -> None:
    with lab.start("apply", "-y", slow=0.4, run="stopped") as process:
        begun(lab, process)
        for name in signals:
            process.send_signal(getattr(signal, name))
            time.sleep(0.05)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, out + err
    assert err.splitlines() == [ONCE]
    there = written(lab)
    assert 0 < len(there) < ZONES
    assert all(not name.rpartition("/")[2].startswith(".") for name in lab.files())
    assert lab.locks() == []
    recorded = {f"{name.removesuffix('.zone').replace('/', '/dns/')}.json" for name in there}
    assert {page for page, _ in lab.landings("stopped")} == recorded
    assert "interrupted" in out
    finishes(lab)


def test_a_second_ctrl_c_ends_at_once_and_the_locks_stay(lab: Lab) -> None:
    with lab.start("apply", "-y", slow=20, run="stopped") as process:
        time.sleep(0.2)
        while not lab.runs():
            time.sleep(0.05)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, err = process.communicate(timeout=10)
    assert time.monotonic() - began < 2
    assert process.returncode == 130
    assert err.splitlines() == [ONCE, "ended at once; its locks stay: mspctl unlock --run stopped"]
    assert len(lab.locks()) == ZONES
    refused = lab.run("apply", "--wait", "0")
    assert refused.code == 1
    assert "locked by" in refused.err
    assert lab.run("unlock", "--run", "stopped").code == 0
    finishes(lab)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_who_waits_for_a_lock_goes_away_at_once(lab: Lab, name: str) -> None:
    other = Run("other", "Paolo Zen <paolo@msp.example>")
    with Locks(lab.clone).hold([FULL], other), lab.start("apply", "-y", "--wait", "60") as process:
        assert process.stdout
        process.stdout.readline()  # the plan, which is shown before the locks are asked for
        time.sleep(1)
        assert process.poll() is None
        process.send_signal(getattr(signal, name))
        _, err = process.communicate(timeout=25)
        waits, *said = [line for line in err.splitlines() if line]
        assert (process.returncode, said) == (130, ["interrupted"])
        assert waits.startswith("waiting: ns-1/dns/brenta.example is locked by Paolo Zen")
        assert len(lab.locks()) == 1
    assert written(lab) == set()
    finishes(lab)


def test_a_signal_that_shall_be_ignored_is(lab: Lab) -> None:
    """As nohup does."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = lab.start("apply", "-y", slow=0.2)
    finally:
        signal.signal(signal.SIGHUP, before)
    with process:
        begun(lab, process)
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    finishes(lab)
