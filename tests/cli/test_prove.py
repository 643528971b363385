"""`mspctl prove` on a real mail server, and what drift and show make of how it ended."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from mspctl import cli
from mspctl.cli import workspace
from mspctl.report import FORMATS
from tests.conftest import Said
from tests.proofs.post import WORD, Post, plain
from tests.servers.mail_stack import free_ports
from tests.servers.mail_world import World

Run = Callable[..., Said]


@pytest.fixture
def post(mail_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Post:
    mail_world.stack.clear()
    monkeypatch.setenv("MSPCTL_SECRET_PROVA", WORD)
    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "GITHUB_ACTOR"):
        monkeypatch.delenv(name, raising=False)
    made = Post(mail_world, tmp_path)
    made.write(signs=False)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    monkeypatch.chdir(tmp_path)
    assert cli.run(["ledger", "init"]) == 0
    assert cli.run(["apply", "--section", "mail"]) == 0
    return made


@pytest.fixture
def run(post: Post, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: str) -> Said:
        capsys.readouterr()
        said = Said(cli.run([*arguments]), *capsys.readouterr())
        assert "Traceback" not in said.err
        assert WORD not in said.out + said.err
        return said

    return command


def codes(drift: Said) -> list[str]:
    return [f["code"] for f in json.loads(drift.out)["findings"]["open"]]


def later(monkeypatch: pytest.MonkeyPatch, **time: float) -> None:
    now = workspace.now
    monkeypatch.setattr(workspace, "now", lambda: now() + timedelta(**time))


def test_a_proof_is_made_recorded_and_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run("drift", "-s", "mail")
    assert before.code == 2
    assert "0 of 1 proof passed" in before.out
    assert "it was never proved: mail [proof.missing]  customers/acme/mail.yaml:6" in before.out
    assert "proof mailboxes/acme.example  never made every 24 h" in run("show", "acme").out

    made = run("prove")
    assert made.code == 0
    assert "✓ passed  mailboxes/acme.example  5 steps in " in made.out
    assert "a message comes in (" in made.out
    assert made.out.splitlines()[-1] == "1 proof: 1 passed."

    after = run("drift", "-s", "mail")
    assert after.code == 0
    assert "1 of 1 proof passed, the oldest " in after.out
    assert "proof mailboxes/acme.example  passed " in run("show", "acme").out
    (said,) = json.loads(run("drift", "-s", "mail", "-o", "json").out)["proofs"]
    assert (said["path"], said["verdict"], said["every"]) == ("mailboxes/acme.example", "passed", 86400)
    (shown,) = json.loads(run("show", "acme", "-o", "json").out)["customers"]["acme"]["proofs"]
    assert shown == said

    later(monkeypatch, hours=31)
    late = run("drift", "-s", "mail")
    assert late.code == 2
    assert "[proof.too-old]" in late.out


def test_a_schedule_makes_what_is_due_and_else_says_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("prove", "--due").code == 0
    again = run("prove", "--due")
    assert (again.code, again.out) == (0, "")
    assert json.loads(run("prove", "--due", "-o", "json").out)["proofs"] == []
    later(monkeypatch, hours=23)
    assert "1 proof: 1 passed." in run("prove", "--due").out


def test_a_proof_that_fails_is_a_finding_until_one_passes(run: Run, post: Post) -> None:
    assert run("prove").code == 0
    post.write(signs=False, smtp=plain(post.doors["relay"]), submission="", authserv="")
    failed = run("prove")
    assert failed.code == 2
    assert "! failed  " in failed.out
    assert "mail to elsewhere is refused: 127.0.0.1 takes mail to mspctl-proof@example.net from anybody" in failed.out
    assert failed.out.splitlines()[-1] == "1 proof: 1 failed."
    drift = run("drift", "-s", "mail")
    assert drift.code == 2
    assert "the last proof failed: mail to elsewhere is refused: 127.0.0.1 takes mail to" in drift.out
    assert "passed last " in run("show", "acme").out
    post.write(signs=False)
    assert run("prove").code == 0
    assert run("drift", "-s", "mail").code == 0


def test_what_could_not_be_proved_is_not_good(run: Run, post: Post) -> None:
    (port,) = free_ports(1)
    post.write(signs=False, smtp=plain(port), imap=plain(port), submission="")
    said = run("prove")
    assert (said.code, said.out.splitlines()[-1]) == (4, "1 proof: 1 not made.")
    drift = run("drift", "-s", "mail", "-o", "json")
    assert (drift.code, codes(drift)) == (2, ["proof.too-old"])  # it never passed
    post.write(signs=False)
    run("prove")
    post.write(signs=False, smtp=plain(port), imap=plain(port), submission="")
    run("prove")
    drift = run("drift", "-s", "mail", "-o", "json")
    assert (drift.code, codes(drift)) == (4, ["proof.unmade"])


def test_a_finding_of_a_proof_can_be_let_be(run: Run) -> None:
    why = ("--why", "the server moves", "--until", "2190-01-01", "--who", "Paolo")
    assert run("accept", "acme", "mailboxes/acme.example", "--finding", "proof.missing", *why).code == 0
    assert run("drift", "-s", "mail").code == 0


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_tells_every_step(run: Run, post: Post, form: str) -> None:
    post.write(signs=False, smtp=plain(post.doors["relay"]), submission="", authserv="")
    said = run("prove", "-o", form)
    assert said.code == 2
    assert "an address that is not there is refused" in said.out
    assert "takes mail to" in said.out


def test_which_part(run: Run) -> None:
    assert run("prove", "mailboxes/acme.example", "-c", "acme", "-t", "mail-1", "-s", "mail").code == 0
    nothing = run("prove", "mailboxes/other.example")
    assert (nothing.code, "mailboxes/other.example names no live test that is declared" in nothing.err) == (1, True)
    assert run("prove", "-s", "dns").out.splitlines()[-1] == "No live test is declared here."
    assert run("prove", "-c", "nobody").code == 1


def test_what_cannot_be_recorded_is_told_all_the_same(run: Run, post: Post) -> None:
    subprocess.run(["git", "remote", "add", "origin", post.root / "gone.git"], check=True)
    said = run("prove")
    assert said.code == 1
    assert "✓ passed" in said.out
    assert "how this ended could not be recorded: cannot fetch the observations from origin" in said.err


def test_a_password_is_nowhere(post: Post) -> None:
    """Neither where somebody logs everything, nor when the server says no to it."""
    sent = base64.b64encode(b"\0prova@acme.example\0" + WORD.encode()).decode()
    said = []
    for word in (WORD, "another word, quite wrong"):
        environment = os.environ | {"MSPCTL_SECRET_PROVA": word}
        command = [sys.executable, "-m", "mspctl", "-vv", "prove", "-o", "json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
        assert done.returncode == (0 if word is WORD else 4), done.stderr
        said += [done.stdout, done.stderr]
    said.append(subprocess.run(["git", "log", "-p", "--all"], capture_output=True, text=True, check=True).stdout)
    for text in said:
        assert not [word for word in (WORD, sent, "quite wrong") if word in text]
    for path in post.root.rglob("*"):
        assert not path.is_file() or WORD.encode() not in path.read_bytes()


def test_whoever_interrupts_gets_what_was_begun(run: Run, post: Post) -> None:
    """And it is recorded; nothing else is begun."""
    post.write(signs=False, smtp=plain(post.doors["holds"]), submission="", authserv="")
    file = post.root / "customers/acme/mail.yaml"
    file.write_text(file.read_text().replace("within: 10s", "within: 3s"))
    command = [sys.executable, "-m", "mspctl", "prove"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        over = time.monotonic() + 30
        while not post.stack.queue() and time.monotonic() < over:  # the message is handed in
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "interrupted: what was begun is finished first" in err
    assert "it was taken, and is not there after 3 s" in out
    assert codes(run("drift", "-s", "mail", "-o", "json")) == ["proof.failed"]
