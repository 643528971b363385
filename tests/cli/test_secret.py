"""Secrets that are typed, piped in or made, and passwords that are handed over: once, and to somebody."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import bcrypt
import pytest

from mspctl import vault
from mspctl.vault import Store
from tests.cli.mailing import FILE, KEY, applied, change, sql
from tests.conftest import ROOT, Run

SECRETS = Path("customers/acme/secrets.yaml")
HAND_OVER = Path("customers/acme/hand-over.yaml")
PAOLO = "paolo@acme.example on mail-1 rev 1"


@pytest.fixture
def run(mail_run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    return mail_run


def pipe(monkeypatch: pytest.MonkeyPatch, value: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(value)))


def plain(file: Path) -> str:
    return vault.decrypt(file.read_bytes(), KEY.encode()).decode()


def kept(name: str) -> bytes:
    return Store(Path.cwd(), {b"MSPCTL_VAULT_PASSWORD": KEY.encode()}).for_customer("acme", {"x": name})["x"].reveal()


def shown(run: Run) -> list[str]:
    lines = run("secret", "hand-over", "acme").out.splitlines()
    return [line for line in lines if line != "No password waits for anybody."]


# -- on a terminal ----------------------------------------------------------------------------------------------


class Terminal:
    """A command on a terminal of its own; what it wrote, and its exit code."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.master, slave = pty.openpty()
        command = [sys.executable, "-m", "mspctl", *arguments]
        environ = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environ)
        os.close(slave)
        self.text = ""

    def wait_for(self, text: str) -> None:
        until = time.monotonic() + 30
        while text not in self.text and time.monotonic() < until:
            if not self._read():
                break
        assert text in self.text

    def answer(self, prompt: str, text: str) -> None:
        self.wait_for(prompt)
        os.write(self.master, text.encode() + b"\n")

    def end(self) -> int:
        while self._read():
            pass
        return self.process.wait(30)

    def _read(self) -> bool:
        if not select.select([self.master], [], [], 30)[0]:
            return False
        try:
            found = os.read(self.master, 4096)
        except OSError:  # nobody has the other end any more
            return False
        self.text += found.decode()
        return bool(found)


@contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    one = Terminal(arguments)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.wait()
        os.close(one.master)


# -- set and generate -------------------------------------------------------------------------------------------


def test_what_is_piped_in_is_kept_encrypted_and_nowhere_else(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pipe(monkeypatch, b"hunter2 & friends\n")
    said = run("secret", "set", "acme", "BUYERS")
    assert (said.code, said.out) == (0, "BUYERS is kept in customers/acme/secrets.yaml.\n")
    assert said.err == "Nothing asks for BUYERS yet.\n"
    assert kept("BUYERS") == b"hunter2 & friends"
    assert SECRETS.stat().st_mode & 0o777 == 0o600
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and b"hunter2" in p.read_bytes()]


def test_comments_order_and_label_stay(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = "# of the shop\nB: '1'   # old\n\nA: |-\n  two\n  lines\n"
    SECRETS.write_bytes(vault.encrypt(before.encode(), KEY.encode(), "prod"))
    pipe(monkeypatch, b"3")
    assert run("secret", "set", "acme", "C").code == 0
    pipe(monkeypatch, b"2")
    assert run("secret", "set", "acme", "B").out == "B is another one now in customers/acme/secrets.yaml.\n"
    assert plain(SECRETS) == before.replace("'1'", "'2'") + "\nC: '3'\n"
    assert SECRETS.read_bytes().startswith(b"$ANSIBLE_VAULT;1.2;AES256;prod\n")


@pytest.mark.parametrize(
    "value",
    [
        b"a: b # c",
        b"'\"",
        b"  blanks  ",
        b"no",
        b"0123",
        b"\xff\x00",
        "ü€\u200b".encode(),
        b"a\r\nb\n",
        b"-----\nx\n\n",
    ],
)
def test_every_octet_arrives(run: Run, monkeypatch: pytest.MonkeyPatch, value: bytes) -> None:
    pipe(monkeypatch, value + b"\n")
    assert run("secret", "set", "acme", "ANY").code == 0
    assert kept("ANY") == value


def test_on_a_terminal_it_is_typed_twice_and_not_seen(run: Run) -> None:
    with terminal("secret", "set", "acme", "LUCA") as one:
        one.answer("LUCA: ", "hunter2")
        one.answer("Once more: ", "hunter2")
        assert one.end() == 0
    assert "hunter2" not in one.text
    assert kept("LUCA") == b"hunter2"


def test_a_targets_secret_by_its_role(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = Path("inventory/targets.yaml")
    targets.write_text(targets.read_text().replace("    facets:", "    secrets: {password: MAIL_DB}\n    facets:"))
    pipe(monkeypatch, b"of the database")
    assert run("secret", "set", "-t", "mail-1", "password").out == "MAIL_DB is kept in inventory/secrets.yaml.\n"
    assert "MAIL_DB: of the database" in plain(Path("inventory/secrets.yaml"))


def test_a_targets_secret_goes_to_its_address_until_somebody_agrees_to_another(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets, file = Path("inventory/targets.yaml"), Path("inventory/secrets.yaml")
    said = "    secrets: {password: MAIL_DB}\n    address: one.example\n    facets:"
    targets.write_text(targets.read_text().replace("    facets:", said))
    pipe(monkeypatch, b"of the database")
    assert "It goes to one.example, and nowhere else." in run("secret", "set", "-t", "mail-1", "password").err
    assert "MAIL_DB: {value: of the database, bound_to: [one.example]}" in plain(file)
    targets.write_text(targets.read_text().replace("one.example", "two.example"))
    done = run("secret", "bind", "-t", "mail-1", "password")
    assert done.out == "MAIL_DB goes to two.example, and nowhere else (before: one.example).\n"
    assert "MAIL_DB: {value: of the database, bound_to: [two.example]}" in plain(file)
    assert "no target with an address asks for OTHER" in run("secret", "bind", "-t", "mail-1", "OTHER").err


def test_one_that_is_made_is_seen_by_nobody_and_replaced_only_when_told(run: Run) -> None:
    said = run("secret", "generate", "acme", "LUCA")
    first = kept("LUCA")
    assert re.fullmatch(rb"([2-9A-HJ-NP-Za-kmnp-z]{5}-?){4}", first)
    assert first.decode() not in said.out + said.err
    refused = run("secret", "generate", "acme", "LUCA")
    assert "LUCA is there already (say --replace to make a new one)" in refused.err
    assert kept("LUCA") == first
    again = run("secret", "generate", "acme", "LUCA", "--replace", "--length", "30")
    assert len(kept("LUCA").replace(b"-", b"")) == 30
    assert "What has it already learns of it with a new rev: customers/acme/mail.yaml:7" in again.err
    assert "The environment has MSPCTL_SECRET_LUCA too, and that counts first." in again.err


@pytest.mark.parametrize(
    ("arguments", "value", "why"),
    [
        (["set", "acme", "X"], b"", "stdin: is empty (pipe the secret in, or run this on a terminal)"),
        (["set", "acme", "X"], b"x" * (2**20 + 2), "stdin: is larger than 1024 KiB, too large for a secret"),
        (["set", "acme", "luca"], b"x", "NAME: 'luca' cannot be the name of a secret"),
        (["set", "acne", "X"], b"x", "has no customer 'acne' (did you mean acme?)"),
        (["set", "-t", "mail", "X"], b"x", "--target: there is no target 'mail' (did you mean mail-1?)"),
        (["hand-over", "acme", "paolo"], b"", "ADDRESS: no password of 'paolo' waits (there are: none)"),
    ],
)
def test_what_is_wrong_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], value: bytes, why: str
) -> None:
    pipe(monkeypatch, value)
    said = run("secret", *arguments)
    assert said.code == 1
    assert why in said.err.splitlines()[0]
    assert not SECRETS.exists()


def test_usage(run: Run) -> None:
    assert run("secret", "set", "acme").code == run("secret", "set", "-t", "mail-1", "acme", "X").code == 64


def test_without_the_password_or_with_another_one_nothing_is_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("secret", "generate", "acme", "A").code == 0
    before = SECRETS.read_bytes()
    monkeypatch.setenv("MSPCTL_VAULT_PASSWORD", "another one")
    assert "the password is wrong or the file is damaged" in run("secret", "generate", "acme", "B").err
    said = run("secret", "generate", "-t", "mail-1", "B")
    why = "the password does not open customers/acme/secrets.yaml, and there is one for all"
    assert f"inventory/secrets.yaml cannot be made: {why}" in said.err
    monkeypatch.delenv("MSPCTL_VAULT_PASSWORD")
    assert "cannot be decrypted: set MSPCTL_VAULT_PASSWORD_FILE" in run("secret", "generate", "acme", "B").err
    assert SECRETS.read_bytes() == before
    assert not Path("inventory/secrets.yaml").exists()


def test_a_file_in_plain_text_or_with_other_things_in_it_is_not_touched(run: Run) -> None:
    for text in (b"A: hunter2\n", vault.encrypt(b"A: {b: hunter2}\n", KEY.encode())):
        SECRETS.write_bytes(text)
        said = run("secret", "generate", "acme", "B")
        assert said.code == 1
        assert "hunter2" not in said.err
        assert SECRETS.read_bytes() == text


# -- hand-over --------------------------------------------------------------------------------------------------


def password_of_paolo() -> bytes:
    ((hashed,),) = sql("SELECT password FROM mailbox WHERE username = 'paolo@acme.example'")
    return str(hashed).removeprefix("{BLF-CRYPT}").encode()


def test_a_password_is_shown_once_on_a_screen_of_its_own_and_then_forgotten(run: Run) -> None:
    applied(run)
    assert shown(run) == [f"waits        {PAOLO}"]
    with terminal("secret", "hand-over", "acme", "paolo") as one:
        one.answer("Who gets it [Paolo Zen]: ", "Maria Rossi")
        one.answer("[y/N]: ", "y")
        assert one.end() == 0
    screen = re.search(r"\x1b\[\?1049h(.*)\x1b\[\?1049l", one.text, re.DOTALL)
    assert screen
    word = re.search(r"([0-9A-Za-z]{5}-){3}[0-9A-Za-z]{5}", screen[1])
    assert word
    assert bcrypt.checkpw(word[0].encode(), password_of_paolo())
    assert word[0] not in one.text.replace(screen[0], "")
    (line,) = shown(run)
    assert re.fullmatch(rf"handed over  {PAOLO}, to Maria Rossi, by .+, \d{{4}}-\d\d-\d\d \d\d:\d\d UTC", line)
    assert word[0] not in plain(HAND_OVER)
    assert HAND_OVER.stat().st_mode & 0o777 == 0o600
    assert "no password of 'paolo' waits" in run("secret", "hand-over", "acme", "paolo", "--print").err


@pytest.mark.parametrize("answer", ["", "n", "\x03", "killed"])
def test_until_somebody_says_that_it_was_taken_it_waits(run: Run, answer: str) -> None:
    applied(run)
    with terminal("secret", "hand-over", "acme", "paolo@acme.example", "--to", "Maria") as one:
        one.wait_for("[y/N]: ")
        if answer == "killed":
            one.process.kill()
        else:
            os.write(one.master, answer.encode() + b"\n")
        one.end()
    assert shown(run) == [f"waits        {PAOLO}"]


def test_a_pipe_gets_it_only_when_told(run: Run) -> None:
    applied(run)
    refused = run("secret", "hand-over", "acme", "paolo")
    assert refused.code == 1
    assert "stdout: is no terminal; whoever reads it keeps the password (say --print to allow that)" in refused.err
    said = run("secret", "hand-over", "acme", "paolo", "--print")
    assert bcrypt.checkpw(said.out.strip().encode(), password_of_paolo())
    assert said.out.strip() not in said.err
    assert "was handed over to Paolo Zen, and is forgotten here" in said.err


def test_what_could_not_be_printed_was_not_handed_over(run: Run) -> None:
    applied(run)
    command = [sys.executable, "-m", "mspctl", "secret", "hand-over", "acme", "paolo", "--print"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=full, capture_output=False, check=False)
    assert done.returncode == 1
    assert shown(run) == [f"waits        {PAOLO}"]


def test_who_gets_it_must_be_known(run: Run) -> None:
    change("name: Paolo Zen, ", "")
    applied(run)
    said = run("secret", "hand-over", "acme", "paolo", "--print")
    assert "--to: is needed: who gets the password?" in said.err
    assert run("secret", "hand-over", "acme", "paolo", "--print", "--to", "Maria").code == 0


def test_one_that_nobody_can_log_in_with_yet_is_not_handed_over(run: Run) -> None:
    """An apply that fails after the password was made: the next one writes the same, so it must still be there."""
    sql("CREATE TRIGGER full BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'no room'); END")
    assert run("apply").code == 1
    said = run("secret", "hand-over", "acme", "paolo", "--print")
    assert f"{PAOLO} cannot be handed over: is not on mail-1 yet (mspctl apply -c acme)" in said.err
    sql("DROP TRIGGER full")
    applied(run)
    word = run("secret", "hand-over", "acme", "paolo", "--print").out.strip()
    assert bcrypt.checkpw(word.encode(), password_of_paolo())


def test_a_new_one_makes_the_older_ones_worthless(run: Run) -> None:
    applied(run)
    change("password: generated", "password: {rev: 2}")
    applied(run)
    assert shown(run) == [f"waits        {PAOLO}: a newer one was made (rev 2)", f"waits        {PAOLO[:-1]}2"]
    word = run("secret", "hand-over", "acme", "paolo", "--print").out.strip()
    assert bcrypt.checkpw(word.encode(), password_of_paolo())
    assert len(shown(run)) == 1


def test_a_renamed_mailbox_keeps_its_password(run: Run) -> None:
    applied(run)
    change("paolo: {", "paolo.zen: {was: paolo, ")
    change("tutti: [paolo,", "tutti: [paolo.zen,")
    applied(run)
    assert shown(run) == [f"waits        {PAOLO} (now paolo.zen@acme.example)"]
    assert run("secret", "hand-over", "acme", "paolo.zen", "--print").code == 0


def test_what_nothing_asks_for_any_more_can_be_forgotten(run: Run) -> None:
    applied(run)
    change("paolo: {name: Paolo Zen, quota: 10 GiB, password: generated", "paolo: {name: Paolo Zen, quota: 10 GiB")
    applied(run)
    assert shown(run) == [f"waits        {PAOLO}: nothing in Git asks for it any more"]
    assert run("secret", "hand-over", "acme", "paolo", "--forget").code == 0
    assert shown(run)[0].startswith(f"handed over  {PAOLO}, to nobody, by ")


def test_who_has_left_is_handed_nothing(run: Run) -> None:
    applied(run)
    assert run("mail", "leave", "acme", "paolo", "--approve", "he left").code == 0
    applied(run)
    assert shown(run) == [f"waits        {PAOLO}: nothing in Git asks for it any more"]
    assert run("secret", "hand-over", "acme", "paolo", "--print").code == 1


def test_two_who_hand_over_the_same(run: Run) -> None:
    applied(run)
    with terminal("secret", "hand-over", "acme", "paolo", "--to", "Maria") as one:
        one.wait_for("[y/N]: ")
        assert run("secret", "hand-over", "acme", "paolo", "--print").code == 0
        os.write(one.master, b"y\n")
        assert one.end() == 1
    assert f"somebody else took the password of {PAOLO} meanwhile (a new rev makes a new one)" in one.text
    assert len(shown(run)) == 1


KILLED = """
import os, sys
from mspctl import cli
step, replace = sys.argv[1], os.replace
def killed(source, to, *more):
    if step == "after":
        replace(source, to, *more)
    os.kill(os.getpid(), 9)
os.replace = killed
cli.run(["secret", "hand-over", "acme", "paolo", "--print"])
"""


@pytest.mark.parametrize(("step", "state"), [("before", "waits"), ("after", "handed over")])
def test_killed_while_it_forgets_it_waits_or_was_handed_over(run: Run, step: str, state: str) -> None:
    applied(run)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", KILLED, step], env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == -9
    (line,) = shown(run)
    assert line.startswith(state)
    if state == "waits":  # and what was shown is what waits
        assert run("secret", "hand-over", "acme", "paolo", "--print").out == done.stdout
    assert [p.name for p in FILE.parent.iterdir() if p.name.startswith(".")] in ([], [".hand-over.yaml"])
