"""
`--engine pulumi`: a customer's life by Pulumi's command line, and by a stand-in for it where there is none; the same
documents and exit codes as our own engine's. What needs neither is tested by itself.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pulumi.automation import EngineEvent

from mspctl.cli.by_pulumi import ended, unplanned
from mspctl.desired import Declaration
from mspctl.diff import diff
from mspctl.driver import Reading
from mspctl.errors import Error
from mspctl.locks import Locks
from mspctl.plan import REVERT, ScopePlan, Standing, Step, plan_scope
from mspctl.pulumi import automation
from mspctl.pulumi.automation import Seen, plain
from mspctl.pulumi.state import opened, recorded
from mspctl.record import Record, Run, ScopeRecord
from mspctl.report import kept
from mspctl.resource import Cause, Change, Id, Resource, Scope
from tests.conftest import Run as Command
from tests.provider.test_zones import estate, secrets_of, server  # noqa: F401 (fixtures: a real BIND)
from tests.provider.wire import CUSTOMER, SECRET, SIGNATURE, Json, approve, by_pulumi
from tests.servers import pulumi_stand_in
from tests.servers.dynamic import Bind

PASSPHRASE = "correct-horse-battery"
SCOPE = Scope("ns-1", "dns", "acme.example", "acme", "pulumi")
WWW, MAIL = Id("dns.rrset", "www A"), Id("dns.rrset", "mail A")
STATE = {"customer": "acme", "target": "ns-1", "name": "acme.example"}
PULUMI = ("--engine", "pulumi")


@pytest.fixture
def by_hand(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """One customer is Pulumi's; what Pulumi's program says when somebody starts it, with the same state."""
    by_pulumi(repository)
    return settled(repository, monkeypatch)


def settled(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    (repository / "state").mkdir()
    text = f"backend: file://{repository}/state\npassphrase: PULUMI_STATE\n"
    (repository / "inventory/pulumi.yaml").write_text(text)
    bin_ = pulumi_stand_in.put(repository / "bin")
    monkeypatch.setenv("PATH", f"{bin_}:{os.environ['PATH']}")
    monkeypatch.setenv("MSPCTL_SECRET_PULUMI_STATE", PASSPHRASE)
    monkeypatch.setenv("PULUMI_STAND_IN_LOG", str(repository / "said.jsonl"))
    place = repository / "by-hand"
    place.mkdir(mode=0o700)
    plugins = {"providers": [{"name": "mspctl", "path": str(bin_)}]}
    (place / "Pulumi.yaml").write_text(json.dumps({"name": "customer", "runtime": "python", "plugins": plugins}))
    (place / f"Pulumi.{CUSTOMER}.yaml").write_text(json.dumps({"config": {"mspctl:directory": str(repository)}}))
    file = place / "passphrase"
    file.write_text(PASSPHRASE)
    file.chmod(0o600)
    known = {"PULUMI_BACKEND_URL": f"file://{repository}/state", "PULUMI_CONFIG_PASSPHRASE_FILE": str(file)}

    def pulumi(*arguments: str, code: int = 0) -> str:
        words = ["pulumi", "--non-interactive", *arguments, "--stack", CUSTOMER]
        done = subprocess.run(
            words,
            cwd=place,
            env={**os.environ, **automation.QUIET, **known},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert (done.returncode != 0) == bool(code), done.stdout + done.stderr
        return done.stdout

    return pulumi


@pytest.fixture(
    params=[
        pytest.param("stand-in", marks=pytest.mark.soak),
        pytest.param("real", marks=pytest.mark.pulumi_cli),
    ]
)
def pulumi(request: pytest.FixtureRequest, repository: Path) -> Callable[..., str]:
    """By hand; both kinds of the program."""
    there = shutil.which("pulumi")
    if request.param == "real" and there is None:
        pytest.skip("Pulumi's command line is not installed here")
    made: Callable[..., str] = request.getfixturevalue("by_hand")
    if request.param == "real":
        (repository / "bin/pulumi").unlink()
    return made


def test_reports_say_whom_they_leave_to_pulumi(run: Command, repository: Path) -> None:
    """A job of CI names its customers; what it says of them is all that a reviewer sees."""
    by_pulumi(repository)
    named = ("-c", CUSTOMER, "-c", "studio-dentistico-sala")
    for command, *more in (("plan",), ("apply", "-y"), ("drift",)):
        seen = run(command, *more, *named, "--report", f"{command}.json")
        said = f"Left to Pulumi, and not looked at here: {CUSTOMER} (mspctl {command} --engine pulumi -c {CUSTOMER})"
        shown = kept.read(repository / f"{command}.json")
        assert [*shown.alarms, *(line.detail for line in shown.notes)] == [said]
        assert (said in seen.out, "Pulumi" in seen.err) == (True, False)
    comment = run("comment", "plan.json", "--pull-request", "7", "--dry-run").out
    assert comment.startswith("**Left to Pulumi, and not looked at here")
    assert "Pulumi" not in run("plan", "-c", "studio-dentistico-sala").out


def served(repository: Path, zone: str = "brenta.example") -> str:
    file = repository / f"scratch/ns-1/{zone}.zone"
    return file.read_text() if file.exists() else ""


def test_a_customers_whole_life(run: Command, pulumi: Callable[..., str], repository: Path) -> None:
    seen = run("plan", *PULUMI)
    assert (seen.code, "29 to create, 0 to change, 0 to delete." in seen.out) == (2, True), seen.out + seen.err
    assert (served(repository), [*(repository / "state").rglob("*.json")]) == ("", [])  # a plan writes nowhere

    done = run("apply", "-y", *PULUMI)
    assert (done.code, "29 changes landed. Nothing is pending." in done.out) == (0, True), done.out + done.err
    assert "voip 3600 IN A 192.0.2.85" in served(repository)
    assert run("plan", *PULUMI).code == 0
    assert "Nothing was changed." in run("apply", "-y", *PULUMI).out

    file = repository / "scratch/ns-1/brenta.example.zone"
    file.write_text(file.read_text().replace("192.0.2.85", "192.0.2.99"))  # somebody's hand
    for command in (("plan",), ("drift",)):
        seen = run(*command, *PULUMI)
        assert (seen.code, "Git says 192.0.2.85, live is 192.0.2.99" in seen.out) == (2, True)
        assert f"mspctl apply --engine pulumi --revert -c {CUSTOMER}" in seen.out
        assert "adopt" not in seen.out
    assert "192.0.2.99" in served(repository)
    pulumi("refresh", "--yes")
    done = run("apply", "-y", "--revert", *PULUMI)
    assert (done.code, "192.0.2.99 → 192.0.2.85" in done.out) == (0, True)
    assert "192.0.2.99" not in served(repository)

    refused = pulumi("destroy", "--yes", code=1)
    assert "voip" in served(repository), refused
    state = json.loads(pulumi("stack", "export", "--show-secrets"))["deployment"]
    for scope in recorded(CUSTOMER, state):
        approve(repository, f"{scope.facet}/{scope.name}", scope.target)
    pulumi("destroy", "--yes")
    assert served(repository) == ""
    assert run("drift").code in (0, 2)
    assert run("apply", "-y").code in (0, 3)
    assert served(repository) == ""  # nothing of ours brings it back
    assert PASSPHRASE not in "".join(f.read_text() for f in repository.glob("said.jsonl"))  # argv


def test_of_its_reports_issues_are_made(run: Command, pulumi: Callable[..., str], repository: Path) -> None:
    """As a job of CI does it that looks after Pulumi's customers."""
    assert run("apply", "-y", *PULUMI, "--report", "apply.json").code == 0
    assert "apply main: nothing" in run("issue", "apply.json", "--about", "main", "--dry-run").out
    file = repository / "scratch/ns-1/brenta.example.zone"
    file.write_text(file.read_text().replace("192.0.2.85", "192.0.2.99"))
    assert run("drift", *PULUMI, "--exit-zero", "--report", "drift.json").code == 0
    said = run("issue", "drift.json", "--dry-run").out
    assert f"# Drift: {CUSTOMER}:" in said
    assert f"mspctl apply --engine pulumi --revert -c {CUSTOMER}" in said


def test_with_another_passphrase_nothing_opens(
    run: Command, pulumi: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("apply", "-y", *PULUMI).code == 0
    monkeypatch.setenv("MSPCTL_SECRET_PULUMI_STATE", "another-horse")
    seen = run("plan", *PULUMI)
    assert (seen.code, "incorrect passphrase" in seen.err, "Traceback" in seen.err) == (1, True, False)


@pytest.mark.pulumi_cli
def test_import(run: Command, pulumi: Callable[..., str], repository: Path, request: pytest.FixtureRequest) -> None:
    if "real" not in request.node.name:
        pytest.skip("the stand-in imports nothing")
    assert run("apply", "-y", *PULUMI).code == 0
    pulumi("state", "delete", "--yes", "--all")
    pulumi("import", "--yes", "--generate-code=false", "mspctl:dns:Zone", "zone", "ns-1/brenta.example")
    state = json.loads(pulumi("stack", "export", "--show-secrets"))["deployment"]
    (scope,) = recorded(CUSTOMER, state)
    assert scope.name == "brenta.example"


# -- the same as our own engine ---------------------------------------------------------------------------------

TIMES = re.compile(r"read \d\d:\d\d UTC|\d{4}-\d\d-\d\dT[\d:.+]+")
ENGINE = re.compile(r" --engine pulumi|left to Pulumi.*")


def alike(said: str) -> str:
    return ENGINE.sub("", TIMES.sub("", said))


def document(said: str) -> Json:
    made: Json = json.loads(TIMES.sub("", said))
    made.pop("command", None)
    return made


def edit(repository: Path, file: str, before: str, after: str) -> None:
    path = repository / "customers" / CUSTOMER / file
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def few_left(repository: Path) -> None:
    """More goes than may without an approval; beside it, something else changes."""
    path = repository / "customers" / CUSTOMER / "dns/0.20.10.in-addr.arpa.yaml"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if "PTR" not in line) + "\n")
    edit(repository, "dns/brenta.example.yaml", "192.0.2.85", "192.0.2.86")


def out_of_order(repository: Path) -> None:
    (repository / "scratch/ns-lab").rename(repository / "scratch/away")


STEPS: tuple[Callable[[Path], None], ...] = (
    lambda repository: None,  # all of it is new
    lambda repository: None,  # and then there is nothing to do
    lambda repository: edit(repository, "dns/brenta.example.yaml", "192.0.2.82", "192.0.2.83"),
    few_left,
    out_of_order,
)


@pytest.fixture
def both(
    run: Command, by_hand: Callable[..., str], repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Both]:
    """The repository, and a copy of it where the customer is ours."""
    ours = tmp_path.parent / f"{tmp_path.name}-ours"
    shutil.copytree(repository, ours, ignore=shutil.ignore_patterns("bin", "state", "by-hand"))
    info = ours / "customers" / CUSTOMER / "customer.yaml"
    info.write_text(info.read_text().replace("engine: pulumi\n", ""))
    yield Both(run, monkeypatch, {ours: (), repository: PULUMI})
    shutil.rmtree(ours)


@dataclass
class Both:
    """The same customer, carried out by our own engine and by Pulumi."""

    command: Command
    monkeypatch: pytest.MonkeyPatch
    roots: dict[Path, tuple[str, ...]]

    def each(self) -> Iterator[tuple[Path, tuple[str, ...]]]:
        for root, engine in self.roots.items():
            self.monkeypatch.chdir(root)
            yield root, engine

    def do(self, step: Callable[[Path], None]) -> None:
        for root, _ in self.each():
            step(root)

    def says(self, *words: str) -> tuple[int, str]:
        """How a command ends and what it says, which is the same of both: here without what only one has."""
        said = []
        for root, engine in self.each():
            done = self.command(*words, "-c", CUSTOMER, *engine)
            text = without_answers(alike(done.out.replace(str(root), "")))
            said.append((done.code, document_lines(text) if "json" in words else text.splitlines()))
        assert said[0] == said[1], words
        return said[0][0], "\n".join(said[0][1])

    def served(self) -> str:
        """The zone, which is the same on both sides."""
        found = {served(root) for root in self.roots}
        assert len(found) == 1
        return found.pop()


def without_answers(said: str) -> str:
    """What ends drift: only our own engine's is taken into Git, left on purpose, or ended in one place."""
    return re.sub(r"^ +end .*\n", "", said, flags=re.MULTILINE)


def document_lines(said: str) -> list[str]:
    return json.dumps(ordered(document(said)), indent=1).splitlines()


@pytest.mark.soak
def test_documents_and_exit_codes_are_our_own_engines(both: Both) -> None:
    for number, step in enumerate(STEPS):
        said = {}
        for root, engine in both.each():
            step(root)
            text = both.command("plan", "-c", CUSTOMER, *engine)
            plan = both.command("plan", "-c", CUSTOMER, "-o", "json", "--save", "plan.json", *engine)
            done = both.command("apply", "-y", "-c", CUSTOMER, "-o", "json", *engine)
            sealed = json.loads((root / "plan.json").read_text().replace(str(root), ""))
            digest = (sealed["digest"], [each["changes"] for each in sealed["scopes"]])
            codes = (text.code, plan.code, done.code)
            out = text.out.replace(str(root), ""), plan.out.replace(str(root), ""), done.out.replace(str(root), "")
            said[engine] = (codes, alike(out[0]), document(out[1]), digest, ordered(document(out[2])))
        assert said[()] == said[PULUMI], f"step {number}"


def tampered(repository: Path) -> None:
    """Somebody changes an address, and the one of a record that is about to get another TTL; one comes back."""
    file = repository / "scratch/ns-1/brenta.example.zone"
    text = file.read_text()
    for before, after in (("192.0.2.85", "192.0.2.99"), ("192.0.2.81", "192.0.2.98")):
        assert before in text
        text = text.replace(before, after)
    file.write_text(f"{text}magazzino 3600 IN A 198.51.100.20\nnobodys 3600 IN A 192.0.2.97\n")


@pytest.mark.soak
def test_drift_is_told_as_by_our_own_engine_and_kept_apart_from_changes(both: Both) -> None:
    assert both.says("apply", "-y", "-o", "json")[0] == 0
    both.do(lambda root: edit(root, "dns/brenta.example.yaml", "magazzino: {A: 198.51.100.20}\n", ""))
    assert both.says("apply", "-y", "-o", "json")[0] == 0
    assert both.says("drift")[0] == 0
    both.do(tampered)
    drifted = (
        "came back        magazzino A",
        "changed outside  mail A       values: Git says 192.0.2.81, live is 192.0.2.98",
        "changed outside  voip A       values: Git says 192.0.2.85, live is 192.0.2.99",
    )
    code, said = both.says("drift")
    assert (code, [each for each in drifted if each not in said]) == (2, [])

    both.do(lambda root: edit(root, "dns/brenta.example.yaml", "ttl: 5m", "ttl: 10m"))  # of mail A too
    both.do(lambda root: edit(root, "dns/brenta.example.yaml", "192.0.2.82", "192.0.2.83"))
    code, said = both.says("plan")
    assert (code, [each for each in drifted if each not in said]) == (2, [])
    assert "192.0.2.98 →" not in said
    assert both.says("apply", "-y", "-o", "json")[0] == 0
    zone = both.served()
    for line in ("mail 600 IN A 192.0.2.98", "voip 3600 IN A 192.0.2.99", "magazzino", "nobodys", "192.0.2.83"):
        assert line in zone
    code, said = both.says("drift")
    assert (code, [each for each in drifted if each not in said]) == (2, [])

    assert both.says("apply", "-y", "--revert", "-o", "json")[0] == 0
    zone = both.served()
    for line in ("mail 600 IN A 192.0.2.81", "voip 3600 IN A 192.0.2.85", "nobodys"):
        assert line in zone
    assert "magazzino" not in zone
    assert both.says("drift")[0] == 0


def ordered(made: Json) -> Json:
    """What has no order that means anything."""
    for scope in made.get("scopes", ()):
        scope.get("landed", []).sort(key=lambda each: each["name"])
    return made


# -- what may go wrong ------------------------------------------------------------------------------------------


@pytest.mark.soak
def test_only_what_was_reviewed(run: Command, by_hand: Callable[..., str], repository: Path) -> None:
    assert run("plan", "--save", "plan.json", *PULUMI).code == 2
    edit(repository, "dns/brenta.example.yaml", "192.0.2.85", "192.0.2.86")
    done = run("apply", "-y", "plan.json", *PULUMI)
    assert done.code == 3
    assert f"left alone: Pulumi would do for {CUSTOMER} what was not reviewed" in done.err
    assert served(repository) == ""
    edit(repository, "dns/brenta.example.yaml", "192.0.2.86", "192.0.2.85")
    assert run("apply", "-y", "plan.json", *PULUMI).code == 0


@pytest.mark.soak
def test_a_zone_on_a_bind_that_somebody_has_locked(
    run: Command,
    estate: Path,  # noqa: F811
    server: Bind,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settled(estate, monkeypatch)
    for name, value in secrets_of(server).items():
        monkeypatch.setenv(name, value)
    folder = estate / "customers" / CUSTOMER
    (folder / "dns").mkdir(exist_ok=True)
    (folder / "dns.yaml").write_text("zones: {acme.example: {target: ns-1}}\n")
    (folder / "dns/acme.example.yaml").write_text("www: {A: 192.0.2.1}\n")
    seen = run("plan", *PULUMI)
    assert (seen.code, "www A" in seen.out) == (2, True), seen.out + seen.err
    with Locks(estate).hold({"ns-1/dns/acme.example"}, Run("r1", "Ada <ada@msp.example>")):
        done = run("apply", "-y", "--wait", "0", *PULUMI)
        assert (done.code, "is locked by Ada" in done.out) == (1, True), done.out + done.err
    done = run("apply", "-y", *PULUMI)
    assert done.code == 0, done.out + done.err
    assert run("plan", *PULUMI).code == 0


@pytest.mark.soak
def test_a_job_that_is_cancelled_tells_what_landed(run: Command, by_hand: Callable[..., str], repository: Path) -> None:
    """It waits for a lock when the signal comes; what it had finished by then is known afterwards."""
    command = [sys.executable, "-m", "mspctl", "apply", "-y", "--wait", "20", *PULUMI]
    zone = repository / "scratch/ns-lab/0.20.10.in-addr.arpa.zone"
    held = Locks(repository).hold({"ns-1/dns/brenta.example"}, Run("r1", "Ada <ada@msp.example>"))
    with (
        held,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=repository) as job,
    ):
        for _ in range(600):
            if zone.exists() or job.poll() is not None:
                break
            time.sleep(0.1)
        job.send_signal(signal.SIGTERM)
        out, err = job.communicate(timeout=120)
    assert job.returncode == 130, out + err
    assert "interrupted: Pulumi finishes what it began" in err
    assert "✓ created  1 PTR" in out
    assert "✗ not created  voip A" in out
    assert run("apply", "-y", *PULUMI).code == 0


def test_without_its_program_one_line_says_so(
    run: Command, by_hand: Callable[..., str], repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = run("plan", *PULUMI, "-c", "studio-dentistico-sala")
    assert (said.code, "does not say engine: pulumi" in said.err) == (1, True)
    for arguments in (("plan", "--due"), ("plan", "dns/brenta.example"), ("apply", "--rings"), ("drift", "--record")):
        assert run(*arguments, *PULUMI).code == 64
    monkeypatch.setenv("PULUMI_STAND_IN_VERSION", "3.100.0")
    said = run("plan", *PULUMI)
    assert (said.code, "pulumi 3.100.0 is too old: at least 3.206.0" in said.err) == (1, True)
    monkeypatch.setenv("PULUMI_STAND_IN_VERSION", "4.0.0")
    assert "this pulumi does not fit" in run("plan", *PULUMI).err
    (repository / "bin/pulumi").unlink()
    monkeypatch.setenv("PATH", f"{repository / 'bin'}:/usr/bin:/bin")
    if shutil.which("pulumi") is None:
        said = run("plan", *PULUMI)
        assert (said.code, said.err.count("\n")) == (1, 1)
        assert "pulumi is not installed, or not in PATH (https://www.pulumi.com/docs/install/ says how)" in said.err
    (repository / "inventory/pulumi.yaml").unlink()
    assert "inventory/pulumi.yaml: is missing" in run("drift", *PULUMI).err
    edit(repository, "customer.yaml", "engine: pulumi\n", "")
    for command in ("plan", "drift"):
        said = run(command, *PULUMI)
        assert (said.code, "no customer says engine: pulumi" in said.err) == (0, True), said.out
        assert "0 scopes on 0 targets" in said.out


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("#!/bin/sh\necho hello\n", "is not Pulumi's: asked for its version, it says 'hello'"),
        ("#!/bin/sh\nprintf '\\377'\n", "is not Pulumi's"),
        ("#!/bin/sh\n", "is not Pulumi's: asked for its version, it says ''"),
        ("#!/bin/sh\necho no such library >&2; exit 127\n", "version ended with 127: 'no such library'"),
        ("#!/nowhere/sh\n", "cannot be started: No such file or directory"),
        ("\x7fELF", "cannot be started: Exec format error"),
        ("#!/bin/sh\nexec sleep 60\n", "version gave no answer within 1 seconds"),
    ],
)
def test_what_is_called_pulumi_and_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, why: str
) -> None:
    file = tmp_path / "pulumi"
    file.write_text(program)
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(automation, "ANSWER", 1 if "sleep" in program else 60)
    with pytest.raises(Error, match=re.escape(f"{file} {why}")) as caught:
        automation.Cli()
    assert str(caught.value).endswith("(https://www.pulumi.com/docs/install/ says how)")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("backend: /var/lib/pulumi\n", "is not where Pulumi keeps state"),
        ("backend: file://state\npassphrase: P\n", "from the root"),
        ("backend: postgres://u:secret@db/pulumi\npassphrase: P\n", "has a password in it"),
        ("backend: s3://bucket\n", "nothing encrypts the secrets"),
        ("backend: s3://bucket\npassphrase: P\nkms: awskms://alias/x\n", "two ways"),
        ("backend: s3://bucket\nkms: aws://x\n", "is no key that Pulumi knows"),
        ("backend: s3://bucket\npassphrase: P\ntoken: T\n", "token is for https://"),
        ("backend: s3://bucket\npassphrase: hunter2\n", "is not the name of a secret"),
        ("", "backend"),
    ],
)
def test_settings_that_cannot_be(repository: Path, run: Command, text: str, why: str) -> None:
    (repository / "inventory/pulumi.yaml").write_text(text)
    said = run("validate")
    assert (said.code, "inventory/pulumi.yaml" in said.err, why in said.err) == (1, True, True), said.err
    assert "u:secret" not in said.err.replace("password", "")


def test_settings_become_what_pulumi_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mspctl.model.inventory import PulumiFile
    from mspctl.secrets import Secrets

    pulumi_stand_in.put(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    secrets = Secrets.given({"password": b"p/w", "passphrase": b"correct-horse", "token": b"pul-1234"})
    said = PulumiFile(backend="postgres://ada@db/pulumi", password="P", passphrase="Q")
    with automation.Stacks(tmp_path, said, secrets)._place() as place:
        assert place.environment["PULUMI_BACKEND_URL"] == "postgres://ada:p%2Fw@db/pulumi"
        file = Path(place.environment["PULUMI_CONFIG_PASSPHRASE_FILE"])
        assert (file.read_text(), oct(file.stat().st_mode)[-3:]) == ("correct-horse", "600")
        assert (oct(place.folder.stat().st_mode)[-3:], "p%2Fw" in repr(place)) == ("700", False)
    assert not place.folder.exists()
    said = PulumiFile(backend="https://api.pulumi.com", organization="msp", token="T")
    with automation.Stacks(tmp_path, said, secrets)._place() as place:
        assert (place.environment["PULUMI_ACCESS_TOKEN"], place.provider) == ("pul-1234", None)
        assert place.organization == "msp"
    said = PulumiFile(backend="postgres://db/pulumi", password="P", kms="awskms://alias/x")
    with pytest.raises(Error, match="password is whose"), automation.Stacks(tmp_path, said, secrets)._place():
        pass


# -- what Pulumi says, read ---------------------------------------------------------------------------------------


def urn(name: str, kind: str = "mspctl:index:Customer$mspctl:dns:Zone") -> str:
    return f"urn:pulumi:acme::customer::{kind}::{name}"


def event(op: str, name: str, *details: str, kind: str = "mspctl:index:Customer$mspctl:dns:Zone") -> EngineEvent:
    diff = {path: {"diffKind": "update", "inputDiff": False} for path in details}
    said = {"op": op, "urn": urn(name, kind), "type": "", "old": None, "new": None, "detailedDiff": diff}
    return EngineEvent.from_json({"resourcePreEvent": {"metadata": said, "planning": True}})


def diagnostic(text: str, at: str = "", severity: str = "error") -> EngineEvent:
    said = {"message": text, "severity": severity, "color": "raw", "urn": at}
    return EngineEvent.from_json({"diagnosticEvent": said})


def test_events_are_read() -> None:
    seen = Seen("acme")
    for each in (
        event("refresh", "ns-1/acme.example"),
        event("update", "ns-1/acme.example", 'resources.rrset["www A"].ttl'),
        event("same", "ns-2/acme.example"),
        event("create", "acme", kind="mspctl:index:Customer"),
        diagnostic("<{%reset%}>1 error occurred:\n\t* www A: no\n<{%reset%}>", urn("ns-1/acme.example")),
        diagnostic("1 error occurred:\n\t* www A: no\n", urn("ns-1/acme.example")),
        diagnostic("only a word", urn("ns-2/acme.example"), "warning"),
        diagnostic("error: the program has failed\n"),
    ):
        seen.take(each)
    other = Scope("ns-2", "dns", "acme.example")
    assert seen.steps == {SCOPE: "update", other: "same"}
    assert seen.details[SCOPE] == ['resources.rrset["www A"].ttl']
    assert (seen.errors, seen.others) == ({SCOPE: ["www A: no"]}, ["create"])
    assert seen.said == ["the program has failed"]
    assert seen._scope(urn("ns-1/acme.example")).customer == "acme"  # type: ignore[union-attr]
    assert plain("\x1b[31merror: \x1b[0mno\n\n  such thing\n") == "no\nsuch thing"


def exported(inputs: Json, outputs: Json, **more: Any) -> Json:
    kept = {"urn": urn("ns-1/acme.example"), "type": "mspctl:dns:Zone", "id": "ns-1/acme.example", **more}
    return {"resources": [{"type": "pulumi:pulumi:Stack"}, {**kept, "inputs": inputs, "outputs": outputs}]}


def test_a_state_is_read() -> None:
    def rrset(value: str) -> Json:
        return {"rrset": {"www A": {"ttl": 300.0, "values": [value]}}}

    hidden = {SIGNATURE: SECRET, "plaintext": json.dumps(rrset("192.0.2.1"))}
    outputs = {**STATE, "outputs": {"ds": ["a", "b"]}, "approvals": ["x"]}
    found = recorded("acme", exported({**STATE, "resources": hidden}, outputs))[SCOPE]
    assert found.resources[WWW].states == (Resource(WWW, {"ttl": 300, "values": frozenset({"192.0.2.1"})}),)
    assert (found.outputs, found.used) == ({"ds": ("a", "b")}, frozenset({"x"}))
    half = exported({**STATE, "resources": rrset("192.0.2.2")}, {**outputs, "recorded": rrset("192.0.2.1")})
    assert recorded("acme", half)[SCOPE].resources == found.resources  # of what was wished, this landed
    assert recorded("acme", exported({}, {}, delete=True)) == recorded("acme", None) == {}
    assert opened({"a": [{SIGNATURE: SECRET, "plaintext": '"x"'}], "n": 1.5}) == {"a": ["x"], "n": 1.5}


def address(id_: Id, value: str) -> Resource:
    return Resource(id_, {"ttl": 300, "values": frozenset({value})})


def known(*resources: Resource) -> ScopeRecord:
    return ScopeRecord(SCOPE, {resource.id: Record((resource,)) for resource in resources})


def test_how_a_scope_ended() -> None:
    new, old = address(WWW, "192.0.2.2"), address(WWW, "192.0.2.1")
    step = Step(Change(old, new))
    plan = ScopePlan(SCOPE, steps=[step], unknown=[MAIL])
    made = address(MAIL, "192.0.2.3")
    end = ended(plan, known(old), Seen("acme", {SCOPE: known(new, made)}))
    assert end is not None
    assert (end.landed, end.failed, end.error, [*end.waits]) == ([step.change, Change(None, made)], [], "", [])
    end = ended(plan, known(old), Seen("acme", {SCOPE: known(old)}, errors={SCOPE: ["refused"]}))
    assert end is not None
    assert (end.landed, end.failed, end.error, [*end.waits]) == ([], [step.change], "refused", [MAIL])
    end = ended(plan, known(old), Seen("acme", {SCOPE: known(old, made)}))
    assert end is not None
    assert end.error == "not carried out: what it comes after was not finished"
    # That something waits for an approval is an error for Pulumi, and for us it waits.
    waiting = replace_standing(step)
    refused = Seen("acme", {SCOPE: known(old)}, errors={SCOPE: ["www A: 3 losses"]})
    assert ended(ScopePlan(SCOPE, steps=[waiting]), known(old), refused) is None
    gone = Step(Change(old, None))
    end = ended(ScopePlan(SCOPE, steps=[gone], gone=True), known(old), Seen("acme"))
    assert end is not None
    assert end.landed == [gone.change]
    assert ended(ScopePlan(SCOPE), known(old), Seen("acme", {SCOPE: known(old)})) is None
    unread = ScopePlan(SCOPE, error="no answer", unreachable=True)
    assert ended(unread, known(old), Seen("acme", {SCOPE: known(old)}, errors={SCOPE: ["no answer"]})) is None


def replace_standing(step: Step) -> Step:
    return Step(step.change, Standing.APPROVAL, "3 losses")


def rrsets(**values: str) -> Json:
    return {"rrset": {f"{name} A": {"ttl": 300.0, "values": [value]} for name, value in values.items()}}


def test_what_nobody_saw_is_no_change_of_the_plan() -> None:
    """Without a refresh, drift is due as far as the state shows it; the provider leaves the rest."""
    inputs = {**STATE, "resources": rrsets(www="192.0.2.1", mail="192.0.2.2")}
    outputs = {**STATE, "resources": rrsets(www="203.0.113.1", mail="192.0.2.2")}  # www was tampered with, and seen
    seen = Seen("acme")
    seen.open(exported(inputs, outputs))
    declared = [address(WWW, "192.0.2.1"), address(MAIL, "192.0.2.2")]
    live = Reading(SCOPE, [address(WWW, "203.0.113.1"), address(MAIL, "203.0.113.2")])
    declaration = Declaration(SCOPE, declared, seen=seen.live[SCOPE])
    plan = plan_scope(declaration, seen.recorded[SCOPE], live, REVERT)
    assert ([c.id for c in plan.due], [d.id for d in plan.of(Cause.DRIFT)]) == ([WWW], [MAIL])


def test_drift_has_landed_when_it_is_gone_from_what_is_live() -> None:
    ours, theirs = address(WWW, "192.0.2.1"), address(WWW, "203.0.113.1")
    for change in (Change(theirs, ours, Cause.DRIFT), Change(theirs, None, Cause.CAME_BACK)):
        plan = ScopePlan(SCOPE, steps=[Step(change)])
        before = known(ours) if change.after else known()
        there = {WWW: ours} if change.after else {}
        end = ended(plan, before, Seen("acme", {SCOPE: before}, {SCOPE: there}))
        assert (end and end.landed, end and end.failed) == ([change], [])
        end = ended(plan, before, Seen("acme", {SCOPE: before}, {SCOPE: {WWW: theirs}}))
        assert (end and end.landed, end and end.failed) == ([], [change])


def test_what_was_deleted_is_remembered() -> None:
    today = datetime.now(UTC).date()
    days = {"mail A": today.isoformat(), "old A": (today - timedelta(days=4000)).isoformat()}
    state = exported({**STATE, "resources": rrsets(www="192.0.2.1")}, {**STATE, "deleted": {"rrset": days}})
    record = recorded("acme", state)[SCOPE]
    assert record.resources == {WWW: Record((address(WWW, "192.0.2.1"),)), MAIL: Record((None,), today)}
    (back,) = diff([address(WWW, "192.0.2.1")], record.resources, [address(WWW, "192.0.2.1"), address(MAIL, "x")])
    assert (back.id, back.cause) == (MAIL, Cause.CAME_BACK)
    assert ended(ScopePlan(SCOPE, unknown=[MAIL]), record, Seen("acme", {SCOPE: record})).waits == [MAIL]  # type: ignore[union-attr]


def test_what_pulumi_would_do_to_what_is_nobodys_is_not_reviewed() -> None:
    (nobodys,) = diff([], {}, [address(MAIL, "192.0.2.2")])
    plan = ScopePlan(SCOPE, steps=[Step(Change(None, address(WWW, "192.0.2.1")))], left=[nobodys])
    for details, found in (
        (['resources.rrset["mail A"]'], [MAIL]),
        (['resources.rrset["mail A"].ttl'], [MAIL]),
        (['resources.rrset["www A"]', 'resources.rrset["mail AAAA"]'], []),
    ):
        assert unplanned(plan, Seen("acme", details={SCOPE: details})) == found
