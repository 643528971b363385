"""Programs and files of a machine, here and over a real OpenSSH: the same tests, and what only SSH can get wrong."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import ValidationError

from mspctl.errors import SecretError, Stale, TargetError, Unreachable
from mspctl.secrets import Secrets
from mspctl.transports.machine import MAX_LINE, MAX_OUTPUT, Machine, Ran, Session, Settings
from tests.servers import sshd
from tests.servers.databases import free_port
from tests.servers.sshd import Sshd

HOSTILE = "$(touch pwned) `id` ; 'a' \"b\" \\ * ~ ü\n-rf"


@pytest.fixture(scope="module")
def server() -> Iterator[Sshd]:
    with sshd.running() as running:
        yield running


def over_ssh(server: Sshd, **more: object) -> Machine:
    said = {"user": server.user, "port": str(server.port), "host_key": server.host_key, "timeout": "10s", **more}
    secrets = Secrets.given({"ssh_key": server.client_key})
    return Machine("127.0.0.1", Settings.model_validate(said), secrets)


@pytest.fixture(params=["local", "ssh"])
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    if request.param == "ssh":
        machine = over_ssh(request.getfixturevalue("server"))
    else:
        machine = Machine("", Settings.model_validate({"via": "local", "timeout": "10s"}), Secrets({}))
    with machine.session() as opened:
        yield opened


def test_a_program_gets_its_words_and_its_input_as_they_are(session: Session) -> None:
    ran = session.run(["printf", "%s", HOSTILE])
    assert (ran.code, ran.out) == (0, HOSTILE.encode())
    assert session.run(["cat"], b"\0\xff" * 100_000).out == b"\0\xff" * 100_000
    assert session.run(["sh", "-c", "echo why >&2; exit 3"]).code == 3


def test_what_went_wrong_is_told_on_one_line(session: Session) -> None:
    with pytest.raises(TargetError, match=r"reading the queue: postqueue: no \w+"):
        session.must(["sh", "-c", "printf 'postqueue:\\n no queue' >&2; exit 1"], what="reading the queue")
    with pytest.raises(TargetError, match="exit code 7"):
        session.must(["sh", "-c", "exit 7"])
    assert session.run(["no-such-program"]).code == 127
    with pytest.raises(TargetError, match="a NUL"):
        session.run(["echo", "a\0b"])


def test_a_program_that_writes_much_to_both_sides_does_not_hang(session: Session) -> None:
    script = "head -c 3000000 /dev/zero >&2; head -c 5000000 /dev/zero"
    ran = session.run(["sh", "-c", script], b"x" * 3_000_000)
    assert (ran.code, len(ran.out)) == (0, 5_000_000)


def test_a_program_that_prints_without_end_is_stopped(session: Session) -> None:
    with pytest.raises(TargetError, match=r"more than \d+ bytes"):
        session.run(["head", "-c", str(MAX_OUTPUT + 1), "/dev/zero"])


def test_what_a_program_prints_comes_line_by_line(session: Session) -> None:
    how: list[Ran] = []
    given = b"one\n\ntwo\r\n\xff\0three"
    assert [*session.lines(["cat"], given, ended=how.append)] == [b"one", b"", b"two\r", b"\xff\0three"]
    assert how == [Ran(0, b"", b"")]
    script = "yes 12345678 | head -n 300000; echo why >&2; exit 3"
    assert sum(1 for _ in session.lines(["sh", "-c", script], ended=how.append)) == 300_000
    assert how[1:] == [Ran(3, b"", b"why\n")]


def test_of_a_line_without_end_the_beginning_is_told(session: Session) -> None:
    given = b"a" * (3 * MAX_LINE) + b"\nnext\n" + b"b" * (2 * MAX_LINE)
    found = [*session.lines(["cat"], given, ended=lambda ran: None)]
    assert found == [b"a" * MAX_LINE, b"next", b"b" * MAX_LINE]


def test_who_has_read_enough_ends_the_program(session: Session, tmp_path: Path) -> None:
    how: list[Ran] = []
    with closing(session.lines(["sh", "-c", f"echo $$ >{tmp_path}/pid; exec yes"], ended=how.append)) as lines:
        assert next(lines) == b"y"
    assert how == []
    pid = (tmp_path / "pid").read_text().strip()
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.05)
    raise AssertionError("it goes on")


def test_a_program_that_is_silent_for_too_long_is_left(server: Sshd) -> None:
    local = Machine("", Settings.model_validate({"via": "local", "timeout": "1s"}), Secrets({}))
    for machine in (local, over_ssh(server, timeout="1s")):
        with machine.session() as session, pytest.raises(Unreachable, match="1 s"):
            [*session.lines(["sh", "-c", "echo a; sleep 30"], ended=lambda ran: None)]


def test_files_are_read_from_where_one_likes(session: Session, tmp_path: Path) -> None:
    file = tmp_path / "a file"
    assert session.read(str(file)) is None
    file.write_bytes(b"0123456789")
    assert session.read(str(file)) == b"0123456789"
    assert session.read(str(file), 7) == b"789"
    assert session.read(str(file), 50) == b""
    with pytest.raises(TargetError, match="cannot be read"):
        session.read(str(tmp_path))


def test_a_folder_is_listed_whatever_its_files_are_called(session: Session, tmp_path: Path) -> None:
    assert session.listed(str(tmp_path / "nowhere")) == []
    (tmp_path / "folder").mkdir()
    (tmp_path / HOSTILE.replace("/", "")).write_bytes(b"12")
    os.utime(tmp_path / HOSTILE, (1_000_000_000, 1_000_000_000))
    (entry,) = session.listed(str(tmp_path))
    assert (entry.name, entry.size, entry.modified.isoformat()) == (HOSTILE, 2, "2001-09-09T01:46:40+00:00")
    (tmp_path / "link").symlink_to(tmp_path)
    assert session.listed(str(tmp_path / "link")) == [entry]
    assert entry.inode == (tmp_path / HOSTILE).stat().st_ino


def test_a_file_is_replaced_only_as_it_was_read(session: Session, tmp_path: Path) -> None:
    file = tmp_path / "rspamd.map"
    session.replace(str(file), None, b"one", 0o640)
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"one", 0o640)
    session.replace(str(file), b"one", b"two")
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"two", 0o644)
    for before in (None, b"one"):
        with pytest.raises(Stale, match="was changed since"):
            session.replace(str(file), before, b"three")
        assert file.read_bytes() == b"two"
    with pytest.raises(Stale):
        session.remove(str(file), b"one")
    session.remove(str(file), b"two")
    with pytest.raises(Stale):
        session.replace(str(file), b"two", b"three")
    session.write(str(file), b"four")
    assert [each.name for each in tmp_path.iterdir()] == ["rspamd.map"]


def test_what_cannot_be_written_leaves_nothing_behind(session: Session, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="cannot be written"):
        session.write(str(tmp_path / "nowhere" / "file"), b"x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(TargetError, match="cannot be written"):
        session.write(str(tmp_path / "file"), b"x", owner="nobody-of-that-name")
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


def test_a_program_without_end_ends_for_us(server: Sshd) -> None:
    local = Machine("", Settings.model_validate({"via": "local", "timeout": "1s"}), Secrets({}))
    for machine in (local, over_ssh(server, timeout="1s")):
        with machine.session() as session, pytest.raises(Unreachable, match="no end within 1 s"):
            session.run(["sleep", "30"])


def test_over_ssh_there_must_be_an_address(server: Sshd) -> None:
    machine = Machine("", over_ssh(server).settings, Secrets({}))
    with pytest.raises(TargetError, match="no address"), machine.session():
        pass


def test_no_other_machine_is_talked_to(server: Sshd, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    other = (tmp_path / "other.pub").read_text().strip()
    told = r"another host key than targets\.yaml pins: ssh-ed25519 "
    with pytest.raises(Unreachable, match=told), over_ssh(server, host_key=other).session():
        pass
    with over_ssh(server, host_key=[other, server.host_key]).session() as session:
        assert session.run(["true"]).code == 0


def test_who_may_not_log_in_is_told_so_without_the_key(server: Sshd, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "a phrase", "-f", tmp_path / "locked"], check=True)
    settings = over_ssh(server).settings
    for given, error, said in (
        ({"ssh_key": (tmp_path / "other").read_bytes()}, TargetError, "does not accept our key"),
        ({"ssh_password": b"the wrong word"}, TargetError, "does not accept our key or password"),
        ({"ssh_key": (tmp_path / "locked").read_bytes()}, SecretError, "without a passphrase"),
        ({"ssh_key": b"no key at all"}, SecretError, "is not a private key"),
        ({}, SecretError, "names no secret for ssh_password"),
    ):
        machine = Machine("127.0.0.1", settings, Secrets.given(given))
        with pytest.raises(error, match=said) as caught, machine.session():
            pass
        assert not any(word in str(caught.value) for word in ("wrong word", "no key at all", "BEGIN"))


def test_nobody_there_and_a_connection_that_is_cut(server: Sshd, capfd: pytest.CaptureFixture[str]) -> None:
    closed = over_ssh(server, port=str(free_port()))
    with pytest.raises(Unreachable), closed.session():
        pass
    with over_ssh(server).session() as session:
        timer = threading.Timer(0.3, lambda: session.client.close())  # type: ignore[attr-defined]
        timer.start()
        with pytest.raises(Unreachable):
            session.run(["sleep", "5"])
        with pytest.raises(Unreachable, match="the connection is gone"):
            session.run(["true"])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = over_ssh(server, port=str(silent.getsockname()[1]), timeout="1s")
        with pytest.raises(Unreachable), mute.session():
            pass
    assert capfd.readouterr().err == ""


def test_an_upload_that_is_cut_short_writes_nothing(server: Sshd, tmp_path: Path) -> None:
    file = tmp_path / "file"
    with over_ssh(server).session() as session:
        session.write(str(file), b"before")
        run = session.run
        session.run = lambda argv, given=b"": run(argv, given[:-1])  # type: ignore[method-assign]
        with pytest.raises(TargetError, match="cut off"):
            session.write(str(file), b"after")
    assert file.read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({}, "ssh needs host_key"),
        ({"host_key": "ssh-ed25519"}, "is not a host key"),
        ({"host_key": "ssh-ed25519 AAAA"}, "is not a host key"),
        ({"host_key": "ssh-ed25519 not-base64!"}, "is not a host key"),
        ({"host_key": "127.0.0.1"}, "is not a host key"),
        ({"via": "telnet"}, "local"),
    ],
)
def test_settings_say_what_would_be_right(said: dict[str, str], wrong: str) -> None:
    with pytest.raises(ValidationError, match=wrong):
        Settings.model_validate(said)
