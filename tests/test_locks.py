"""Locks on real Git repositories: who is let in, who notices what, and what is left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from mspctl.cli.unlock_ import command
from mspctl.errors import LedgerError, LockError
from mspctl.exits import Exit
from mspctl.locks import Locks, lock_name
from mspctl.locks.board import SKEW
from mspctl.locks.held import Held
from mspctl.locks.refs import LOCKS, SIGHTED, ref_of
from mspctl.record import Run
from mspctl.resource import Scope

DAY = datetime(2027, 3, 5, 9, tzinfo=UTC)
ZONE, MAIL, FIREWALL = "pdns-1/zone/brenta.example", "mail-1/mailboxes/brenta.example", "fw-brenta-sede"
PAOLO = Run("run-paolo", "Paolo Zen <paolo@msp.example>")
MARIA = Run("run-maria", "Maria Rossi <maria@msp.example>")
MINUTE = timedelta(minutes=1)
TTL = timedelta(seconds=900)
ODD = [
    *(
        "a",
        "A",
        "a/b",
        "A/b",
        "a%2Fb",
        "a.lock",
        "a.lock/b",
        ".a",
        "a.",
        "a..b",
        "..",
        ".",
        "@",
        "a@{1}",
        "-x",
        "",
        " ",
    ),
    *("~^:?*[\\", "Zürich", "Zu\u0308rich", "日本", "a\nb", "\x1b[31m", "\udc80", "x" * 300, "x" * 301, "È" * 120),
]


class Clock:
    def __init__(self) -> None:
        self.time = DAY

    def __call__(self) -> datetime:
        return self.time


def git(root: Path, *args: str, data: str | None = None) -> str:
    done = subprocess.run(["git", *args], cwd=root, input=data, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def bare_environment(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """No identity, and nothing that the user configured."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To copy, which is faster than to make: a remote with two clones, and a repository without a remote."""
    root = tmp_path_factory.mktemp("locks")
    (root / "gitconfig").write_text("[init]\ntemplateDir =\n[user]\nuseConfigOnly = true\n[core]\nfsync = none\n")
    with pytest.MonkeyPatch.context() as monkeypatch:
        bare_environment(monkeypatch, root)
        git(root, "init", "-q", "--bare", "remote.git")
        for name in ("clone", "other", "alone"):
            git(root, "init", "-q", name)
        for name in ("clone", "other"):
            git(root / name, "remote", "add", "origin", "../remote.git")
    return root


@pytest.fixture(autouse=True)
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: Path) -> Path:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    bare_environment(monkeypatch, tmp_path)
    return tmp_path


@pytest.fixture(params=["remote", "here"])
def roots(request: pytest.FixtureRequest, world: Path) -> tuple[Path, Path, Path]:
    """Two places to run from, and where the locks are: a remote and its clones, or one repository without a remote."""
    if request.param == "remote":
        return world / "clone", world / "other", world / "remote.git"
    return world / "alone", world / "alone", world / "alone"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ours(roots: tuple[Path, Path, Path], clock: Clock) -> Locks:
    return Locks(roots[0], clock)


@pytest.fixture
def theirs(roots: tuple[Path, Path, Path], clock: Clock) -> Locks:
    return Locks(roots[1], clock)


@pytest.fixture
def place(roots: tuple[Path, Path, Path]) -> Path:
    return roots[2]


def refs(place: Path, under: str = "refs/mspctl/") -> dict[str, str]:
    lines = git(place, "for-each-ref", "--format=%(refname) %(objectname)", under).splitlines()
    return dict(line.split(" ") for line in lines)


def refused(locks: Locks, *names: str, wait: float = 0) -> str:
    with pytest.raises(LockError) as caught, locks.hold(names, MARIA, wait=wait):
        pass
    return str(caught.value)


def abandon(locks: Locks, *names: str, run: Run = PAOLO) -> None:
    """What a run leaves that was killed."""
    held = Held(locks, names, run, TTL.total_seconds(), "apply")
    held.take(wait=0)
    held._over.set()  # its thread dies with it


def claim(place: Path, name: str, content: str) -> str:
    """A lock made by hand."""
    tree = git(place, "mktree", data="")
    author = ("-c", "user.name=A", "-c", "user.email=a@msp.example")
    commit = git(place, *author, "commit-tree", tree, "-m", "lock: by hand\n\n" + content)
    git(place, "update-ref", ref_of(name), commit)
    return commit


# Taking and releasing


def test_a_lock_excludes_others_until_it_is_released(ours: Locks, theirs: Locks, place: Path) -> None:
    with ours.hold([ZONE, FIREWALL], PAOLO) as held:
        held.check()
        assert held.names == (FIREWALL, ZONE)
        said = refused(theirs, ZONE)
        with theirs.hold([MAIL], MARIA, wait=0):
            assert len(refs(place)) == 3
    assert said.startswith(f"{ZONE} is locked by Paolo Zen <paolo@msp.example> (apply on ")
    assert "run run-paolo) since 2027-03-05 09:00:00 UTC, until 2027-03-05 09:20:00 UTC unless renewed" in said
    assert said.endswith(f"; if that run is dead: mspctl unlock {ZONE}")
    assert "\n" not in said
    assert refs(place) == {}
    with theirs.hold([ZONE], MARIA, wait=0):
        pass


def test_a_batch_is_all_or_nothing_and_names_every_holder(ours: Locks, theirs: Locks, place: Path) -> None:
    many = [f"pdns-1/zone/{number}.example" for number in range(5)]
    with ours.hold([MAIL, *many], PAOLO), ours.hold([FIREWALL], MARIA):
        before = refs(place)
        said = refused(theirs, ZONE, MAIL, FIREWALL, *many)
        assert refs(place) == before
    assert f"{FIREWALL} is locked by Maria Rossi" in said
    assert f"{MAIL}, pdns-1/zone/0.example, pdns-1/zone/1.example and 3 more are locked by Paolo Zen" in said
    with ours.hold(many, PAOLO):
        assert refused(theirs, ZONE, *many).endswith("mspctl unlock --run run-paolo")


def test_it_waits_for_its_turn(ours: Locks, theirs: Locks) -> None:
    first, told = ours.hold([ZONE], PAOLO), list[str]()
    first.__enter__()
    started, theirs.tell = time.monotonic(), told.append
    refused(theirs, ZONE, wait=0.5)
    assert 0.5 <= time.monotonic() - started < 3
    (line,) = told  # once, however often it looks
    assert line.startswith(f"waiting: {ZONE} is locked by Paolo")
    first.__exit__(None, None, None)
    with theirs.hold([ZONE], MARIA, wait=0.5):
        pass


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_released_whatever_happens(ours: Locks, place: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), ours.hold([ZONE, MAIL], PAOLO):
        raise error
    assert refs(place) == {}


def test_nothing_to_lock_costs_nothing(world: Path) -> None:
    locks = Locks(world / "clone")
    (world / "remote.git").rename(world / "gone.git")
    with locks.hold([], PAOLO) as held:
        held.check()


def test_names_come_from_the_traits(ours: Locks) -> None:
    scope = Scope("pdns-1", "zone", "brenta.example")
    assert lock_name(scope, "scope") == ZONE
    assert lock_name(scope, "target") == "pdns-1"
    with ours.hold(["pdns-1"], PAOLO), ours.hold([ZONE], PAOLO, wait=0):  # no folder and file of one name
        pass
    with pytest.raises(ValueError, match="cannot last"), ours.hold([ZONE], PAOLO, ttl=0):
        pass


def test_odd_names(ours: Locks, place: Path) -> None:
    with ours.hold(ODD, PAOLO) as held:
        held.check()
        assert sorted(lock.name for lock in ours.holders()) == sorted(ODD)
        assert len({ref.casefold() for ref in refs(place)}) == len(ODD)
        assert all(str(lock).isprintable() for lock in ours.holders())
        for name in ODD:
            git(place, "check-ref-format", ref_of(name))
            assert len(f"{ref_of(name).removeprefix(LOCKS)}.lock") < 255
            ours.break_(name)
    assert refs(place) == {}


# Time


def test_an_expired_lock_is_taken_over_after_the_skew(ours: Locks, theirs: Locks, place: Path, clock: Clock) -> None:
    abandon(ours, ZONE, MAIL)
    clock.time += TTL + SKEW - timedelta(seconds=1)
    refused(theirs, ZONE)
    clock.time += timedelta(seconds=1)
    with theirs.hold([ZONE, FIREWALL], MARIA, wait=0) as held:
        held.check()
        holders = {lock.name: (lock.claim and lock.claim.run, lock.stale) for lock in ours.holders()}
    assert holders == {ZONE: ("run-maria", False), FIREWALL: ("run-maria", False), MAIL: ("run-paolo", True)}
    assert refs(place).keys() == {ref_of(MAIL)}


def test_check_renews_when_half_is_over(ours: Locks, theirs: Locks, place: Path, clock: Clock) -> None:
    with ours.hold([ZONE, MAIL], PAOLO) as held:
        first = refs(place)
        clock.time += 6 * MINUTE
        held.check()
        assert refs(place) == first
        for _ in range(5):
            clock.time += 8 * MINUTE
            held.check()
        assert len({*refs(place).values(), *first.values()}) == 2  # both moved, to one commit
        (lock, _) = theirs.holders()
        assert lock.claim is not None
        assert (lock.claim.taken_at, lock.claim.renewed_at) == (DAY, clock.time)
        clock.time += TTL
        refused(theirs, ZONE)
    assert refs(place) == {}


def test_renewed_in_the_background(ours: Locks, place: Path) -> None:
    with Locks(ours.refs._git.root).hold([ZONE], PAOLO, ttl=1) as held:
        first = refs(place)
        time.sleep(1.1)
        assert refs(place) != first
        held.check()
    assert refs(place) == {}


@pytest.mark.parametrize("taken", [False, True])
def test_a_holder_that_slept_notices(ours: Locks, theirs: Locks, place: Path, clock: Clock, taken: bool) -> None:
    with ours.hold([ZONE], PAOLO) as held:
        clock.time += TTL
        if taken:
            clock.time += SKEW
            abandon(theirs, ZONE, run=MARIA)
        with pytest.raises(LockError, match=r"ended at 2027-03-05 09:15:00 UTC: this machine slept, or could not"):
            held.check()
    assert len(refs(place)) == taken


def test_a_clock_set_back_does_not_make_a_lock_longer(
    ours: Locks, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = SimpleNamespace(now=0.0)
    fake = SimpleNamespace(monotonic=lambda: ticks.now, sleep=time.sleep)
    monkeypatch.setattr("mspctl.locks.held.time", fake)
    with ours.hold([ZONE], PAOLO) as held:
        clock.time -= 6 * MINUTE
        with pytest.raises(LockError, match="the clock of this machine was set back"):
            held.check()
        clock.time += 2 * MINUTE
        held.check()
        ticks.now = 900.0
        with pytest.raises(LockError, match="ended at"):
            held.check()


def test_a_lock_from_the_future_is_respected_but_not_for_ever(
    ours: Locks, theirs: Locks, place: Path, clock: Clock
) -> None:
    clock.time = DAY + timedelta(days=3650)
    abandon(ours, ZONE, MAIL)
    clock.time = DAY
    said = refused(theirs, ZONE, MAIL)
    assert "until 2027-03-05 09:20:00 UTC unless renewed; taken in the future: the clock there or the one here" in said
    assert len(refs(place, SIGHTED)) == 1
    clock.time += 19 * MINUTE
    refused(theirs, ZONE)
    assert len(refs(place, SIGHTED)) == 1
    clock.time += MINUTE
    assert [lock.stale for lock in theirs.holders()] == [True, True]
    with theirs.hold([ZONE], MARIA, wait=0) as held:
        held.check()
        assert refs(place, SIGHTED) == {}


def test_a_note_about_the_future_ends_with_a_renewal(ours: Locks, theirs: Locks, place: Path, clock: Clock) -> None:
    with ours.hold([ZONE], PAOLO) as held:
        for _ in range(3):  # theirs is slow by an hour
            clock.time -= 60 * MINUTE
            refused(theirs, ZONE)
            assert len(refs(place, SIGHTED)) == 1
            clock.time += 68 * MINUTE
            held.check()
    assert len(refs(place)) == 1  # the last note; the next one takes it along
    abandon(ours, MAIL)
    clock.time -= 60 * MINUTE
    refused(theirs, MAIL)
    assert [*refs(place, SIGHTED).values()] == [refs(place)[ref_of(MAIL)]]


def test_clocks_that_differ_a_little_do_no_harm(ours: Locks, theirs: Locks, clock: Clock) -> None:
    with ours.hold([ZONE], PAOLO):
        for skew in (-5, 0, 5):
            clock.time = DAY + skew * MINUTE
            assert "future" not in refused(theirs, ZONE)
        clock.time = DAY + TTL + 4 * MINUTE  # ours still says 09:14
        refused(theirs, ZONE)


# Broken and forged


def test_a_broken_lock_is_noticed_and_leaves_the_others_in_place(ours: Locks, theirs: Locks, place: Path) -> None:
    with ours.hold([ZONE, MAIL], PAOLO) as held:
        broken = theirs.break_(ZONE)
        assert broken.holder.startswith("Paolo Zen")
        with pytest.raises(LockError, match=f"the lock on {ZONE} is not ours any more, somebody broke it; run again"):
            held.check()
        with theirs.hold([ZONE], MARIA, wait=0):
            with pytest.raises(LockError, match=f"ours any more, now {ZONE} is locked by Maria Rossi"):
                held.check()
            assert len(refs(place)) == 2
    assert refs(place) == {}


def test_a_renewal_does_not_mend_what_was_broken(ours: Locks, theirs: Locks, place: Path, clock: Clock) -> None:
    with ours.hold([ZONE, MAIL], PAOLO) as held:
        theirs.break_(ZONE)
        before = refs(place)
        clock.time += 8 * MINUTE
        with pytest.raises(LockError, match="somebody broke it"):
            held.check()
        assert refs(place) == before
    assert refs(place) == {}


def test_another_nonce_is_another_lock(ours: Locks, place: Path) -> None:
    with ours.hold([ZONE], PAOLO) as held:
        (mine,) = ours.holders()
        body = git(place, "cat-file", "commit", mine.id).partition("\n\n")[2].partition("\n\n")[2]
        said = json.loads(body)
        forged = claim(place, ZONE, json.dumps({**said, "nonce": "0" * 32}))
        with pytest.raises(LockError, match="not ours any more"):
            held.check()
    assert refs(place) == {ref_of(ZONE): forged}


@pytest.mark.parametrize("content", ["", "[]", '{"holder": 5}', '{"holder": ' + "[" * 100_000, "é"])
def test_what_cannot_be_read_is_held_until_it_is_broken(ours: Locks, place: Path, clock: Clock, content: str) -> None:
    claim(place, ZONE, content)
    clock.time += timedelta(days=4000)
    assert refused(ours, ZONE).startswith(f"{ZONE} is locked by somebody unknown")
    ours.break_(ZONE)
    assert refs(place) == {}


def test_dates_without_sense_and_words_of_a_newer_program(ours: Locks, place: Path, clock: Clock) -> None:
    said = {**dict.fromkeys(("holder", "host", "run", "what", "nonce"), "x\x1b\n"), "names": [ZONE], "newer": 1}
    times = {"taken_at": "2027-03-05T09:00:00Z", "renewed_at": "2027-03-05T09:00:00Z"}
    for end in ("9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "soon"):
        claim(place, ZONE, json.dumps({**said, **times, "expires_at": end}))
        refused(ours, ZONE)
    claim(place, ZONE, json.dumps({**said, **times, "expires_at": "2027-03-05T10:00:00+01:00"}))
    assert refused(ours, ZONE).startswith(f"{ZONE} is locked by x (x on x, run x) since 2027-03-05 09:00:00 UTC, until")
    clock.time += SKEW
    with ours.hold([ZONE], PAOLO, wait=0):
        pass


def test_breaking_spares_who_was_renewed_or_came_since(ours: Locks, theirs: Locks, place: Path, clock: Clock) -> None:
    abandon(ours, ZONE)
    with ours.hold([MAIL], PAOLO) as held:
        found = theirs.holders()
        clock.time += 8 * MINUTE
        held.check()
        assert [lock.name for lock in theirs.break_all(found)] == [ZONE]
        held.check()
        theirs.break_(MAIL)
    assert refs(place) == {}
    with pytest.raises(LockError, match=f"{ZONE} is not locked"):
        ours.break_(ZONE)


# Between processes

CROWD = """
import os, random, sys, time
from pathlib import Path
from mspctl.errors import LockError
from mspctl.locks import Locks
from mspctl.record import Run

root, witness, names = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].split()

def turn(number):
    mine = random.Random(number).sample(names, min(3, len(names)))
    with Locks(root).hold(mine, Run(f"run-{number}", f"W{number}"), wait=25) as held:
        for name in mine:
            os.close(os.open(witness / name, os.O_CREAT | os.O_EXCL))  # fails when somebody else is inside
        time.sleep(0.02)
        held.check()
        for name in mine:
            (witness / name).unlink()
            (witness / f"{name}-{number}").touch()

for number in range(20):
    if os.fork() == 0:
        try:
            turn(number)
            code = 0
        except LockError:
            code = 3
        except BaseException as error:
            print(type(error).__name__, error, flush=True)
            code = 1
        os._exit(code)
codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(20)]
print(*sorted(codes), flush=True)
"""


@pytest.mark.parametrize("names", ["lock", " ".join(f"lock-{number}" for number in range(20))], ids=["one", "twenty"])
def test_twenty_processes_take_turns(roots: tuple[Path, Path, Path], world: Path, names: str) -> None:
    witness = world / "witness"
    witness.mkdir()
    program = [sys.executable, "-c", CROWD, str(roots[0]), str(witness), names]
    done = subprocess.run(program, capture_output=True, text=True, timeout=40, check=True)
    assert done.stdout.split() == ["0"] * 20, done.stdout + done.stderr
    inside = {int(path.name.rpartition("-")[2]) for path in witness.iterdir()}
    assert inside == set(range(20))
    assert refs(roots[2]) == {}


HOLDER = """
import sys, time
from pathlib import Path
from mspctl.locks import Locks
from mspctl.record import Run

with Locks(Path(sys.argv[1])).hold(sys.argv[2:], Run("run-child", "Child"), wait=0):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def child(roots: tuple[Path, Path, Path]) -> Callable[[], subprocess.Popen[str]]:
    def start() -> subprocess.Popen[str]:
        program = [sys.executable, "-c", HOLDER, str(roots[0]), ZONE, MAIL]
        return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    return start


def test_a_killed_holder_is_waited_for_until_it_expires(
    child: Callable[[], subprocess.Popen[str]], theirs: Locks, clock: Clock, place: Path
) -> None:
    with child() as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        process.kill()
    clock.time = datetime.now(UTC)
    assert f"{ZONE} is locked by Child" in refused(theirs, ZONE)
    clock.time += TTL + SKEW + MINUTE
    with theirs.hold([ZONE, MAIL], MARIA, wait=0) as held:
        held.check()
    assert refs(place) == {}


def test_an_interrupted_holder_releases(child: Callable[[], subprocess.Popen[str]], place: Path) -> None:
    with child() as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
    assert refs(place) == {}


def test_interrupted_in_the_middle_of_a_push(world: Path) -> None:
    place = world / "remote.git"
    (place / "hooks").mkdir()
    hook = place / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\ntouch began\nsleep 2\n")
    hook.chmod(0o755)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(world / "clone"), ZONE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        while not (place / "began").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate()
    assert out == b""
    assert refs(place) == {}


# Remotes


def test_a_remote_that_refuses(world: Path) -> None:
    place = world / "remote.git"
    (place / "hooks").mkdir()
    hook = place / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho closed >&2\nexit 1\n")
    hook.chmod(0o755)
    for names in ([ZONE], [ZONE, MAIL]):
        with pytest.raises(LedgerError, match=r"cannot lock on origin: .*pre-receive hook declined"):
            Locks(world / "clone").hold(names, PAOLO, wait=30).__enter__()
    assert refs(place) == refs(world / "clone") == {}


def test_a_remote_that_does_not_answer(world: Path) -> None:
    locks = Locks(world / "clone")
    with locks.hold([ZONE], PAOLO) as held:
        (world / "remote.git").rename(world / "gone.git")
        with pytest.raises(LedgerError, match=r"cannot read the locks on origin: .*does not appear to be a git repo"):
            held.check()
        with pytest.raises(LedgerError, match="cannot lock on origin"), locks.hold([MAIL], PAOLO):
            pass
        with pytest.raises(LedgerError, match="cannot read"):
            locks.holders()
    assert refs(world / "gone.git").keys() == {ref_of(ZONE)}  # releasing failed, and did not hide what went before


def test_what_could_not_be_released_is_told(world: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Locks(world / "clone").hold([ZONE], PAOLO):
        (world / "remote.git").rename(world / "gone.git")
    assert f"UTC: {ZONE} (cannot lock on origin: " in caplog.text


def test_a_remote_that_cannot_move_refs_together(world: Path, clock: Clock) -> None:
    place = world / "remote.git"
    git(place, "config", "receive.advertiseAtomic", "false")
    ours, theirs = Locks(world / "clone", clock), Locks(world / "other", clock)
    with ours.hold([ZONE, MAIL], PAOLO) as held:
        clock.time += 8 * MINUTE
        held.check()
        before = refs(place)
        refused(theirs, FIREWALL, MAIL)
        assert refs(place) == before
        theirs.break_(MAIL)
        clock.time += 8 * MINUTE
        with pytest.raises(LockError, match="somebody broke it"):
            held.check()
    assert refs(place) == {}


def test_a_remote_that_lets_no_branch_be_rewound_or_deleted(world: Path, clock: Clock) -> None:
    for name in ("denyDeletes", "denyNonFastForwards"):
        git(world / "remote.git", "config", f"receive.{name}", "true")
    with Locks(world / "clone", clock).hold([ZONE, MAIL], PAOLO) as held:
        clock.time += 8 * MINUTE
        held.check()
    assert refs(world / "remote.git") == {}


def test_no_repository_and_too_many_remotes(world: Path) -> None:
    with pytest.raises(LedgerError, match="is not in a Git repository"):
        Locks(world)
    for name in ("a", "b"):
        git(world / "alone", "remote", "add", name, "../remote.git")
    with pytest.raises(LedgerError, match="which remote holds the locks"):
        Locks(world / "alone")


def test_one_push_however_many(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locks, asked = Locks(world / "clone"), list[str]()
    call = locks.refs._git.call
    talking = {"push", "ls-remote", "fetch"}

    def counted(*args: str, data: str | bytes = b"") -> object:
        asked.extend(talking & {*args})
        return call(*args, data=data)

    monkeypatch.setattr(locks.refs._git, "call", counted)
    with locks.hold([f"pdns-1/zone/{number}.example" for number in range(300)], PAOLO) as held:
        held.check()
    assert asked == ["push", "ls-remote", "push"]


# The command


@pytest.fixture
def unlock(roots: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[object, str]]:
    for name in ("FORCE_COLOR", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> tuple[object, str]:
        done = CliRunner().invoke(command, [*arguments], obj=str(roots[0]), standalone_mode=False)
        assert done.exception is None, done.output
        return done.return_value, done.output

    return run


def test_unlock_lists(unlock: Callable[..., tuple[object, str]], ours: Locks, clock: Clock) -> None:
    assert unlock() == (Exit.DONE, "Nothing is locked.\n")
    assert unlock("--expired") == (Exit.DONE, "Nothing to break.\n")
    clock.time = datetime.now(UTC)
    abandon(ours, ZONE)
    clock.time -= 60 * MINUTE
    abandon(ours, MAIL, run=MARIA)
    code, said = unlock()
    mail, zone = said.splitlines()
    assert code == Exit.DONE
    assert zone.startswith(f"{ZONE}: Paolo Zen <paolo@msp.example> (apply on ")
    assert "until" in zone
    assert mail.startswith(f"{MAIL}: Maria Rossi")
    assert "expired at" in mail


def test_unlock_breaks(unlock: Callable[..., tuple[object, str]], ours: Locks, clock: Clock, place: Path) -> None:
    clock.time = datetime.now(UTC)
    abandon(ours, ZONE, FIREWALL)
    clock.time -= 60 * MINUTE
    abandon(ours, MAIL, "mail-2", run=MARIA)
    code, said = unlock("--expired", MAIL, ZONE)
    assert code == Exit.DONE
    assert said.splitlines()[0].startswith(f"{MAIL}: Maria Rossi")
    assert said.splitlines()[1:] == ["1 lock is broken."]
    assert len(refs(place)) == 3
    code, said = unlock(ZONE, "nothing")
    assert code == Exit.ERROR
    assert "error: nothing is not locked" in said
    assert refs(place).keys() == {ref_of(FIREWALL), ref_of("mail-2")}
    assert unlock("--run", "run-paolo")[0] == Exit.DONE
    assert unlock("--expired")[1].endswith("1 lock is broken.\n")
    assert refs(place) == {}
