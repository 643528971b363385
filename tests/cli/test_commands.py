"""What commands say of themselves, of wrong arguments, and of what they were asked to explain."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from mspctl import cli
from mspctl.cli.workspace import RUN_ID
from tests.conftest import ROOT, Run

DOCS = (ROOT / "docs/commands.md").read_text()


def test_help_lists_every_command_and_imports_none() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mspctl", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert all(re.search(rf"^  {name} ", done.stdout, re.MULTILINE) for name in cli.COMMANDS)
    for heavy in ("pydantic", "yaml", "git", "jinja2", "dns.name", "cryptography"):
        assert not re.search(rf"\| +{re.escape(heavy)}$", done.stderr, re.MULTILINE), heavy


def _commands() -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name in cli.COMMANDS:
        command = cli.group.get_command(click.Context(cli.group), name)
        assert command is not None
        found += _below(name, command) or [(name, command)]
    return found


def _below(name: str, command: click.Command) -> list[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        return []
    context = click.Context(command)
    found = [(sub, command.get_command(context, sub)) for sub in command.list_commands(context)]
    return [(f"{name} {sub}", child) for sub, child in found if child is not None]


@pytest.mark.parametrize(("name", "command"), _commands(), ids=[name for name, _ in _commands()])
def test_every_command_and_option_is_in_the_docs(name: str, command: click.Command) -> None:
    assert f"`mspctl {name}" in DOCS
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            option = max(parameter.opts, key=len)
            assert re.search(rf"`[^`]*{re.escape(option)}\b[^`]*`", DOCS), option
            assert parameter.help


def test_exit_codes_in_the_docs_are_those_of_the_program() -> None:
    from mspctl.exits import Exit

    documented = [int(code) for code in re.findall(r"^\| (\d+) \|", DOCS, re.MULTILINE)]
    assert documented == [*map(int, Exit)]


def test_a_process_ends_with_all_that_it_said_and_the_right_code(repository: Path) -> None:
    """It does not wait for Python to tidy up, so nothing may be left in a buffer then."""
    whole = subprocess.run([sys.executable, "-m", "mspctl", "schema", "mail"], capture_output=True, check=True).stdout
    assert len(whole) > 8192  # more than a buffer
    assert json.loads(whole)
    wrong = subprocess.run([sys.executable, "-m", "mspctl", "explain", "nobody"], capture_output=True, cwd=repository)
    assert wrong.returncode == 1
    assert wrong.stderr.endswith(b"1 error, 0 warnings\n")
    command = [sys.executable, "-m", "mspctl", "schema", "mail"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as cut:
        assert cut.stdout
        assert cut.stderr
        cut.stdout.close()  # whoever read has seen enough
        assert cut.stderr.read() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_a_full_disk_is_told_in_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "mspctl", "schema", "mail"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "error: there is no space left for what is written\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope"], "No such command 'nope'"),
        (["plan", "--nope"], "No such option"),
        (["explain"], "Missing argument 'PLACE'"),
        (["import", "-c", "x"], "Missing option '--from'"),
        (["import", "--from", "octodns", "-c", "x"], "--from octodns needs a PATH"),
        (["plan", "-o", "pdf"], "'pdf' is not one of"),
    ],
)
def test_wrong_usage_ends_with_64(run: Run, arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert result.code == 64
    assert said in result.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plan", "-c", "officine-brentta"], "did you mean officine-brenta?"),
        (["plan", "-c", "../officine-brenta"], "has no customer '../officine-brenta'"),
        (["plan", "-t", "ns-2"], "there is no target 'ns-2' (did you mean ns-1?)"),
        (["plan", "-s", "dsn"], "there is no section 'dsn' (did you mean dns?)"),
        (["plan", "dns/nope.example"], "dns/nope.example names nothing that is declared"),
        (["show", "nobody"], "has no customer 'nobody'"),
        (["explain", "customers/nope.yaml"], "is not a file of the repository"),
        (["explain", "customers/officine-brenta/dns.yaml#zones.nope"], "'nope' is not there"),
        (["explain", "customers/officine-brenta/customer.yaml#contacts[7].name"], "the list has 1 items"),
        (["import", "--from", "nope", "-c", "x", "-t", "ns-1"], "there is no source nope"),
        (["import", "--from", "octodns", "nowhere", "-c", "x", "-t", "ns-1"], "nowhere: is not a folder"),
        (["import", "--from", "ns-1", "-c", "../x"], "is not a name"),
        (["import", "--from", "ns-1", "-c", "x", "-t", "ns-3"], "ns-3 holds no zones"),
    ],
)
def test_wrong_names_end_with_1_and_one_line(run: Run, arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert result.code == 1
    assert said in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("dns.yaml#zones.officine-brenta.example.ttl", "1d  customers/officine-brenta/dns.yaml:7:10"),
        ("dns.yaml#zones.brenta.example.ttl", "1h  inventory/baselines/standard.yaml:4:33 (from baseline standard)"),
        ("dns/brenta.example.yaml#mail.A", "192.0.2.81  customers/officine-brenta/dns/brenta.example.yaml:10:11"),
        ("dns/brenta.example.yaml#vpn.A[1]", "198.51.100.21  customers/officine-brenta/dns/brenta.example.yaml:16:23"),
        ("customer.yaml#contract.from", "'2025-01-01'  customers/officine-brenta/customer.yaml:3:35"),
    ],
)
def test_explain_says_value_place_and_layer(run: Run, place: str, said: str) -> None:
    result = run("explain", f"customers/officine-brenta/{place}")
    assert (result.code, result.out) == (0, f"{place.partition('#')[2]}: {said}\n")


def test_show_lists_customers_and_their_scopes(run: Run) -> None:
    assert [line.split()[0] for line in run("show").out.splitlines()] == [
        "officine-brenta",
        "studio-dentistico-sala",
        "studio-legale-ferri",
    ]
    shown = run("show", "studio-legale-ferri").out
    assert "Studio Legale Ferri & Associati" in shown
    assert "dns ferri-legali.example on ns-lab" in shown


def test_a_command_works_from_any_folder_of_the_repository(
    run: Run, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository / "customers/officine-brenta")
    assert run("validate").code == 0
    assert run("explain", "dns.yaml#zones.brenta.example.renewal.at").code == 0
    monkeypatch.chdir("/")
    assert run("validate").code == 1
    assert run("-C", str(repository), "validate").code == 0


def test_in_a_github_job_problems_are_annotations(run: Run, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    (repository / "customers/officine-brenta/customer.yaml").write_text("name: x\nnmae: y\n")
    said = run("validate").out
    expected = (
        "::error file=customers/officine-brenta/customer.yaml,line=2,col=1::nmae: unknown key (did you mean name?)"
    )
    assert expected in said.splitlines()


def test_verbose_logs_to_stderr_with_the_run_and_not_to_stdout(run: Run) -> None:
    logger = logging.getLogger("mspctl")
    before = logger.handlers[:]
    try:
        quiet, loud = run("plan"), run("-vv", "plan")
    finally:
        logger.handlers[:] = before
        logger.setLevel(logging.NOTSET)
    assert re.sub(r"read \d\d:\d\d", "", loud.out) == re.sub(r"read \d\d:\d\d", "", quiet.out)
    assert quiet.err == ""
    assert RUN_ID in loud.err
    assert "INFO mspctl.targets: opening dns of target ns-1" in loud.err
    assert "DEBUG" in loud.err
