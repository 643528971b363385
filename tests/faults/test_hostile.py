"""Ledgers that were tampered with, remotes that refuse or vanish, disks that are full: one clear line, nothing lost."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from mspctl.git import branch, command
from tests.conftest import ROOT, Said
from tests.faults.lab import Lab, git, leftovers, serials, sound, today

PAGE = "ns-1/dns/brenta.example.json"
ZONE = "ns-1/brenta.example.zone"
YAML = "customers/officine-brenta/dns/brenta.example.yaml"
SETTING = ("voip: {A: 192.0.2.85}", "voip: {A: 192.0.2.86}")


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Lab]:
    root = tmp_path_factory.mktemp("lab")
    empty = Lab.make(root / "empty")
    applied = empty.copy(root / "applied")
    assert applied.run("apply").code == 0
    return empty, applied


@pytest.fixture
def empty(templates: tuple[Lab, Lab], tmp_path: Path) -> Lab:
    return templates[0].copy(tmp_path / "lab")


@pytest.fixture
def applied(templates: tuple[Lab, Lab], tmp_path: Path) -> Lab:
    return templates[1].copy(tmp_path / "lab")


def one_line(said: Said, text: str, code: int = 1) -> None:
    assert said.code == code, said.out + said.err
    lines = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, said.err
    assert text in lines[0]
    assert "a defect in mspctl" not in said.err
    assert "Traceback" not in said.err


def converges(lab: Lab) -> None:
    done = lab.run("apply", "--wait", "0")
    assert done.code == 0, done.out + done.err
    assert (lab.run("plan").code, lab.run("drift").code) == (0, 0)
    assert leftovers(lab) == []
    assert sound(lab) == ""
    assert all(name.endswith(".zone") for name in lab.files())


# The ledger


def forge(lab: Lab, path: str, content: bytes | None) -> None:
    """What somebody who may push to the branch can do."""
    other = lab.root / "forger"
    git(lab.root, "clone", "-q", "-b", "ledger", "remote.git", "forger")
    file = other / path
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    git(other, "add", "-A")
    git(other, "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-q", "-m", "apply: 1 scope\n\nRun: forged")
    git(other, "push", "-q", "origin", "ledger")
    shutil.rmtree(other)


def page(lab: Lab) -> bytes:
    return git(lab.remote, "show", f"ledger:{PAGE}").encode() + b"\n"


GARBAGE = {
    "empty": b"",
    "no JSON": b"{ this is no JSON",
    "a list": b"[]\n",
    "deep": b"[" * 100_000,
    "no text": b"\xff\xfe\x00",
    "no format": b'{"scope": 1}\n',
    "format true": b'{"format": true}\n',
    "a huge number": b'{"format": 1' + b"0" * 5000 + b"}\n",
    "not a number": b'{"format": NaN}\n',
    "nothing else": b'{"format": 1}\n',
    "a scope that is text": b'{"format": 1, "scope": "brenta"}\n',
    "a conflict": b"<<<<<<< ours\n{}\n=======\n",
    "twice": b'{"format": 1, "scope": {}, "scope": {}}\n',
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
def test_garbage_in_the_ledger_stops_the_run(applied: Lab, content: bytes) -> None:
    applied.edit(YAML, *SETTING)
    before = applied.files()
    good = page(applied)
    forge(applied, PAGE, content)
    for asked in ("plan", "apply", "drift"):
        said = applied.run(asked)
        assert said.code == 1
        assert len(said.err.splitlines()) == 1
        assert "a defect" not in said.err
        assert PAGE in said.err or "newer mspctl" in said.err
    assert applied.files() == before
    forge(applied, PAGE, good)
    converges(applied)


def test_a_ledger_of_a_newer_program(applied: Lab) -> None:
    forge(applied, PAGE, page(applied).replace(b'"format": 1', b'"format": 2'))
    one_line(applied.run("apply"), "the ledger was made by a newer mspctl (format 2); update this program")


def test_another_scopes_page(applied: Lab) -> None:
    forge(applied, PAGE, page(applied).replace(b'"brenta.example"', b'"other.example"', 1))
    one_line(applied.run("apply"), "it is about another scope")


def test_a_forged_value_is_a_conflict_and_nothing_is_overwritten(applied: Lab) -> None:
    applied.edit(YAML, *SETTING)
    forge(applied, PAGE, page(applied).replace(b"192.0.2.85", b"203.0.113.9"))
    before = applied.files()
    assert "conflict" in applied.run("plan").out
    applied.run("apply")
    assert applied.files() == before
    assert applied.run("drift").code == 2


def test_a_forged_value_of_what_is_true_is_recorded_anew(applied: Lab) -> None:
    forge(applied, PAGE, page(applied).replace(b"192.0.2.85", b"203.0.113.9"))
    before = applied.files()
    converges(applied)
    assert applied.files() == before
    assert b"203.0.113.9" not in page(applied)


def test_a_deleted_page_deletes_nothing(applied: Lab) -> None:
    """What is declared and true is recorded again; what only the ledger knew is not ours any more."""
    applied.edit(YAML, "voip: {A: 192.0.2.85}\n", "")
    applied.edit(YAML, "{SRV: 10 5 5061 voip.brenta", "{SRV: 10 5 5061 mail.brenta")
    forge(applied, PAGE, None)
    said = applied.run("plan")
    assert "take-over" in said.out or "take over" in said.out
    before = applied.files()
    applied.run("apply")
    assert "voip 3600 IN A 192.0.2.85" in applied.files()[ZONE]
    assert applied.files() == before


def test_a_rewound_ledger(applied: Lab) -> None:
    applied.edit(YAML, *SETTING)
    before, tip = applied.files(), git(applied.remote, "rev-parse", "ledger")
    git(applied.remote, "update-ref", "refs/heads/ledger", f"{tip}~1")
    for asked in ("plan", "apply", "drift"):
        one_line(applied.run(asked), "was rewound or replaced")
    assert applied.files() == before
    git(applied.remote, "update-ref", "refs/heads/ledger", tip)
    converges(applied)


def test_a_replaced_ledger(applied: Lab) -> None:
    tree = git(applied.remote, "rev-parse", "ledger^{tree}")
    new = git(applied.remote, "-c", "user.name=x", "-c", "user.email=x@x", "commit-tree", "-m", "forged", tree)
    git(applied.remote, "update-ref", "refs/heads/ledger", new)
    one_line(applied.run("apply"), "was rewound or replaced")


def test_a_ledger_that_is_gone(applied: Lab) -> None:
    tip = git(applied.remote, "rev-parse", "ledger")
    git(applied.remote, "update-ref", "-d", "refs/heads/ledger")
    one_line(applied.run("apply"), "the ledger is gone from origin")
    git(applied.remote, "update-ref", "refs/heads/ledger", tip)
    converges(applied)


# The remote


def hook(lab: Lab, name: str, script: str) -> Path:
    file = lab.remote / "hooks" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def test_a_remote_that_is_gone(empty: Lab) -> None:
    elsewhere = empty.root / "elsewhere.git"
    empty.remote.rename(elsewhere)
    one_line(empty.run("apply"), "cannot fetch the ledger from origin")
    assert empty.files() == {}
    elsewhere.rename(empty.remote)
    converges(empty)


HOOKS = {
    "a remote that is read-only": ("pre-receive", "echo this repository is archived >&2; exit 1"),
    "no locks": ("update", "case $1 in refs/mspctl/*) echo hidden >&2; exit 1;; esac"),
    "no ledger": ("update", "case $1 in refs/heads/*) echo protected >&2; exit 1;; esac"),
}


@pytest.mark.parametrize(("name", "script"), HOOKS.values(), ids=HOOKS)
def test_a_remote_that_refuses(empty: Lab, name: str, script: str) -> None:
    file = hook(empty, name, script)
    assert empty.run("plan").code == 2
    said = empty.run("apply", "--wait", "0")
    assert said.code == 1, said.out + said.err
    text = said.err + said.out
    assert "hook declined" in text
    assert "a defect" not in text
    assert empty.files() == {}
    assert empty.locks() == []
    file.unlink()
    converges(empty)
    assert set(serials(empty.files()).values()) == {today()}


def test_a_remote_that_hides_our_refs(empty: Lab) -> None:
    git(empty.remote, "config", "receive.hideRefs", "refs/mspctl")
    said = empty.run("apply", "--wait", "0")
    assert said.code == 1
    assert "deny updating a hidden ref" in said.err
    assert empty.files() == {}


def test_a_remote_that_takes_the_intent_and_not_the_outcome(empty: Lab) -> None:
    script = 'case $(git log -1 --format=%s "$3") in apply*) echo too late >&2; exit 1;; esac'
    file = hook(empty, "update", script)
    said = empty.run("apply")
    assert said.code == 1
    assert "the outcome is kept locally, `mspctl ledger push` sends it" in said.out + said.err
    assert len(empty.files()) == 7
    assert empty.locks() == []
    before = empty.files()
    assert (empty.run("plan").code, empty.run("drift").code) == (0, 0)
    file.unlink()
    assert empty.run("ledger", "push").code == 0
    converges(empty)
    assert empty.files() == before
    assert set(empty.landings().values()) == {1}


def test_the_outcome_that_could_not_be_sent_dies_with_the_machine(empty: Lab) -> None:
    """A job in CI has a fresh clone each time: only the intent is left, and that is enough."""
    file = hook(empty, "update", 'case $(git log -1 --format=%s "$3") in apply*) exit 1;; esac')
    assert empty.run("apply").code == 1
    file.unlink()
    shutil.rmtree(empty.clone / ".git")
    git(empty.root, "init", "-q", "--template=", "clone")
    git(empty.clone, "remote", "add", "origin", "../remote.git")
    before = empty.files()
    converges(empty)
    assert empty.files() == before


# What a git that was killed leaves


LOCK_FILE = "refs/heads/ledger.lock"


def test_a_lock_file_of_git_in_the_clone_goes_by_itself(applied: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "DEAD", 0.3)
    applied.edit(YAML, *SETTING)
    (applied.clone / ".git" / LOCK_FILE).touch()
    converges(applied)
    assert "192.0.2.86" in applied.files()[ZONE]


def test_a_lock_file_that_git_works_with_is_respected(applied: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that changes is alive; and what is not a ref of ours is not ours to remove."""
    monkeypatch.setattr(branch, "ATTEMPTS", 6)
    applied.edit(YAML, *SETTING)
    file = applied.clone / ".git" / LOCK_FILE
    file.touch()
    said = applied.run("apply", "--wait", "0")
    assert said.code == 1
    assert f"{file} is in the way; when no git is at work, one that was killed left it: remove it" in said.out
    assert file.exists()
    file.unlink()
    converges(applied)


def test_a_lock_file_of_git_on_the_remote_is_named(applied: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not ours to remove: somebody else may be writing there."""
    monkeypatch.setattr(branch, "ATTEMPTS", 3)
    applied.edit(YAML, *SETTING)
    before = applied.files()
    file = applied.remote / LOCK_FILE
    file.touch()
    said = applied.run("apply", "--wait", "0")
    assert said.code == 1
    assert f"{file} is in the way" in said.out
    assert applied.files() == before
    assert applied.locks() == []
    file.unlink()
    file = applied.remote / "refs/mspctl/locks/ns-1%2Fdns%2Fbrenta.example.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    one_line(applied.run("apply", "--wait", "0"), f"{file} is in the way")
    file.unlink()
    converges(applied)


# Drafts of zone files


@pytest.fixture
def draft(applied: Lab) -> Path:
    name = applied.zones / ZONE
    applied.edit(YAML, *SETTING)
    return name.with_name(f".mspctl-{sha256(name.name.encode()).hexdigest()[:16]}")


def test_a_draft_that_somebody_writes_is_not_taken_away(applied: Lab, draft: Path) -> None:
    before = applied.files()
    with draft.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        said = applied.run("apply")
        assert "cannot be written (another process is writing it)" in said.out
        assert draft.exists()
    draft.unlink()
    assert applied.files() == before
    converges(applied)


def test_a_draft_that_is_a_link_is_not_followed(applied: Lab, draft: Path) -> None:
    elsewhere = applied.root / "elsewhere"
    elsewhere.write_text("mine\n")
    draft.symlink_to(elsewhere)
    said = applied.run("apply")
    assert "cannot be written (Too many levels of symbolic links)" in said.out
    assert elsewhere.read_text() == "mine\n"
    draft.unlink()
    converges(applied)


# Clocks


@pytest.mark.parametrize("days", [365, -365])
def test_a_run_that_died_on_a_machine_with_a_wrong_clock(empty: Lab, days: int) -> None:
    killed = empty.real("apply", "-y", run="killed", clock=days * 86400.0, at=76)
    assert killed.code == -9
    if days > 0:
        refused = empty.run("apply", "--wait", "0")
        assert refused.code == 1
        assert "taken in the future: the clock there or the one here is wrong" in refused.err
        assert empty.run("unlock", "--run", "killed").code == 0
    converges(empty)
    assert empty.told().keys() >= {"killed"}


# Disks


@pytest.mark.parametrize(
    ("full", "room", "code"), [("zones", 100, 1), ("zones", 500, 3), ("git", 64, 1), ("git", 700, 1)]
)
def test_files_that_cannot_grow(empty: Lab, full: str, room: int, code: int) -> None:
    said = empty.real("apply", "-y", "--wait", "0", full=full, room=room)
    text = said.out + said.err
    assert said.code == code, text
    assert "a defect" not in text
    assert "Traceback" not in text
    if full == "zones":
        assert "cannot be written (File too large)" in text
    else:
        assert "git was killed (File size limit exceeded)" in text
        assert empty.files() == {}
        assert [*(empty.clone / ".git").glob("fast_import_crash*")] == []
    assert all(name.endswith(".zone") for name in empty.files())
    converges(empty)
    assert set(serials(empty.files()).values()) == {today()}


FULL_DISK = """
set -e
mount -t tmpfs -o size=%(size)s none "$1"
cp -a "$1.kept/." "$1/"
python="$2"
head -c 1G /dev/zero 2>/dev/null >"$1/filler" || true
truncate -s -%(left)s "$1/filler"
code=0
"$python" -m mspctl apply -y --wait 0 || code=$?
echo "ENDED $code"
rm "$1/filler"
find "$1" -name '.mspctl-*' -o -name '*.lock' | sed 's/^/LEFT /'
"$python" -m mspctl unlock
"$python" -m mspctl apply -y --wait 0
"$python" -m mspctl plan
git fsck --no-dangling
"""


@pytest.mark.parametrize(("place", "left"), [("scratch", 0), ("scratch", 8192), (".git", 0), (".git", 8192)])
def test_a_disk_that_is_full(empty: Lab, place: str, left: int) -> None:
    """A small file system of our own, which nobody else sees and which goes with the shell."""
    unshare = shutil.which("unshare")
    (empty.root / "probe").mkdir()
    if not unshare or os.geteuid() != 0:
        pytest.skip("needs root and unshare")
    probe = [unshare, "-m", "mount", "-t", "tmpfs", "none", str(empty.root / "probe")]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    folder = empty.clone / place
    shutil.copytree(folder, f"{folder}.kept")
    script = FULL_DISK % {"size": "512k", "left": left}
    done = subprocess.run(
        [unshare, "-m", "sh", "-c", script, "sh", str(folder), sys.executable],
        cwd=empty.clone,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ended, _, rest = done.stdout.partition("ENDED ")
    assert rest[0] in "013", done.stdout
    said = ended + done.stderr
    assert "No space left on device" in said or "Out of diskspace" in said or rest[0] == "0", said
    assert "a defect" not in done.stderr
    assert "LEFT" not in rest
    assert "Nothing is locked." in rest
    assert "Nothing is pending" in rest or "Nothing to do" in rest
