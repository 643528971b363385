"""The folder of a run of Ansible, with the key in it: gone with the run, however that ends, or with the next one."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from mspctl.transports import private

HOLDS = """
import sys
from mspctl.transports import private
private.MEMORY = private.Path(sys.argv[1])
with private.folder() as folder:
    (folder / "key").write_text("secret")
    print(folder, flush=True)
    sys.stdin.read()
"""


# As it is where somebody kills the program too that waits for our end.
UNWATCHED = HOLDS.replace("with private", "private._watched = len\nwith private")


def test_what_a_killed_run_left_goes_without_another_run(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdin=-1, stdout=-1, text=True) as killed:
        assert killed.stdout is not None
        left = Path(killed.stdout.readline().strip())
        killed.kill()
    for _ in range(600):
        if not left.exists():
            break
        time.sleep(0.05)
    assert [*tmp_path.iterdir()] == []


def test_what_a_killed_run_left_is_taken_away_and_that_of_others_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private, "MEMORY", tmp_path)
    (tmp_path / "mspctl-of-somebody").mkdir()
    command = [sys.executable, "-c", UNWATCHED, str(tmp_path)]
    with (
        subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as killed,
        subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as lives,
    ):
        assert killed.stdout is not None
        assert lives.stdout is not None
        left, held = Path(killed.stdout.readline().strip()), Path(lives.stdout.readline().strip())
        killed.kill()
        killed.wait()
        assert (left / "key").exists()
        with private.folder() as own:
            assert {*tmp_path.iterdir()} == {own, held, tmp_path / "mspctl-of-somebody"}
        lives.communicate("")
    assert [*tmp_path.iterdir()] == [tmp_path / "mspctl-of-somebody"]


ENDS = """
import os, sys, threading
from mspctl import ending
from mspctl.transports import private
private.MEMORY = private.Path(sys.argv[1])
begun = threading.Event()
def hangs():
    with private.folder() as folder:
        (folder / "key").write_text("secret")
        begun.set()
        threading.Event().wait()
threading.Thread(target=hangs, daemon=True).start()
begun.wait()
print(*private.MEMORY.iterdir(), flush=True)
ending.end()
os._exit(0)
"""


def test_a_thread_that_hangs_keeps_no_folder_open(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDS, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith(str(tmp_path))
    assert [*tmp_path.iterdir()] == []
