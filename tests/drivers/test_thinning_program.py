"""What the program that thins out remembers and refuses, with Debian's own Borg in a folder."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mspctl.playbooks.files import backup_thinning as program
from tests.servers import require

Borg = Callable[..., str]
OLD = ("2026-01-01", "2026-01-02", "2026-01-03")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(program, "FOLDER", str(tmp_path))
    monkeypatch.setattr(program, "STATES", str(tmp_path / "states"))
    conf = {"folder": str(tmp_path / "srv"), "program": "borgmatic", "keep": ["daily 2"]}
    (tmp_path / "vault.conf").write_text(f"# ours\n{json.dumps(conf)}")
    (tmp_path / "vault.password").write_text("# ours\nword\n")
    return tmp_path


@pytest.fixture
def borg(place: Path) -> Borg:
    """As a host does it that has the key."""
    path = require("borg")
    said = {"BORG_REPO": str(place / "srv/acme"), "BORG_PASSPHRASE": "word", "TZ": "UTC", "PATH": os.environ["PATH"]}

    def run(*words: str) -> str:
        command = [path, *words]
        environment = said | {"BORG_BASE_DIR": str(place / "host")}
        done = subprocess.run(command, env=environment, check=True, text=True, capture_output=True, timeout=60)
        return done.stdout

    run("init", "--make-parent-dirs", "--encryption", "repokey-blake2")
    for day in OLD:
        run("create", "--timestamp", f"{day}T02:00:00", f"::notte.{day}", str(place / "vault.conf"))
    return run


def names(borg: Borg) -> list[str]:
    return borg("list", "--short").split()


@pytest.mark.soak
def test_thinning_that_failed_or_was_killed_half_way_accuses_nobody(
    place: Path, borg: Borg, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = program.Borg.run

    def full(self: program.Borg, *words: str) -> str:
        if words[0] == "compact":
            raise program.Failed("No space left on device")
        return plain(self, *words)

    with monkeypatch.context() as patch:
        patch.setattr(program.Borg, "run", full)
        assert "No space left" in program.main("vault")
    assert names(borg) == ["notte.2026-01-02", "notte.2026-01-03"]
    assert program.main("vault") == ""

    borg("create", "--timestamp", "2026-01-04T02:00:00", "::notte.2026-01-04", str(place / "vault.conf"))
    memory = place / "states/copies-vault.json"
    said = json.loads(memory.read_text())
    said[str(place / "srv/acme")]["good"] = 0  # it is a few days later to Borg, not to us
    memory.write_text(json.dumps(said))

    def killed(repository: str, owner: os.stat_result) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(program, "hand_back", killed)
        with pytest.raises(KeyboardInterrupt):
            program.main("vault")
    assert names(borg) == ["notte.2026-01-03", "notte.2026-01-04"]
    assert program.main("vault") == ""


@pytest.mark.soak
@pytest.mark.parametrize(
    ("how", "said"),
    [
        (("delete", "::notte.2026-01-03"), "notte.2026-01-03 was deleted by somebody with the host's key"),
        (("recreate", "--comment", "x", "::notte.2026-01-03"), "notte.2026-01-03 was replaced by somebody"),
        (("--timestamp", "2026-01-03T23:00:00", "::notte.x"), "notte.x is new and dated 2026-01-03, before the last"),
        (("::*.x",), "a copy is called '*.x', as no job calls one"),
    ],
)
def test_who_wants_genuine_copies_to_go_is_refused(place: Path, borg: Borg, how: tuple[str, ...], said: str) -> None:
    assert program.main("vault") == ""
    borg(*(how if how[0] in ("delete", "recreate") else ("create", *how, str(place / "vault.conf"))))
    before = names(borg)
    for _again in range(2):
        assert said in program.main("vault")
    assert names(borg) == before
    if how[0].startswith("::*"):
        return
    (place / "states/copies-vault.json").unlink()  # somebody knows why
    assert program.main("vault") == ""


class Shelf(program.Restic):
    def __init__(self) -> None:
        """Only what it thinks of copies is asked."""


def test_a_new_copy_of_restic_from_before_the_last_thinning_is_refused() -> None:
    known: dict[str, Any] = {"good": program.since("2026-01-10T02:00:00Z"), "copies": {"a": "a"}, "going": []}

    def said(id: str, time: str) -> str:
        copy = {"id": id, "name": id, "time": time, "whose": "srv-1"}
        return program.refused(Shelf(), [copy], known, program.since("2026-01-11T02:00:00Z"))

    assert said("a", "2026-01-09T02:00:00Z") == ""
    assert said("b", "2026-01-10T03:30:00.123456789+02:00") == ""
    assert said("b", "2026-01-10T02:30:00.123456789+02:00").startswith("b is new and dated 2026-01-10")
    assert "dated 2199-01-01" in said("b", "2199-01-01T02:00:00Z")
