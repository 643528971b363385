"""`mspctl init`: what it makes works at once, wherever mspctl is installed, and it makes all of it or nothing."""

import hashlib
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mspctl import __version__, schema
from mspctl.cli import run
from mspctl.errors import Error, InputError, LedgerError
from mspctl.init import init, pins, runtime_pins
from mspctl.ledger import Ledger
from tests.test_schema import as_an_editor

ROOT = Path(__file__).parents[1]
EVERYTHING = {
    *(f".github/workflows/{name}.yml" for name in ("apply", "check", "drift", "due", "plan", "prove")),
    *(".gitignore", "README.md", "customers/README.md", "inventory/contracts.yaml", "requirements/install"),
    *("inventory/baselines/standard.yaml", "inventory/targets.yaml", "playbooks/README.md", "stacks/README.md"),
    *("requirements/dependencies.txt", "requirements/mspctl.txt"),
    *(f".schemas/{name}.schema.json" for name in schema.schemas()),
}
EXAMPLE = {
    *("customers/acme/customer.yaml", "customers/acme/dns.yaml", "customers/acme/dns/acme.example.yaml"),
    *("zones/.gitignore", "zones/README.md"),
}


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "GITHUB_ACTOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def files(root: Path) -> set[str]:
    found = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return {str(path) for path in found if path.parts[0] != ".git"}


def git(root: Path, *args: str) -> str:
    return subprocess.run(["git", *args], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def program(root: Path) -> str:
    return text_of(root / "requirements" / "mspctl.txt")


# -- it works at once -----------------------------------------------------------------------------------------


def test_what_it_makes_validates_plans_applies_and_is_then_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init", "x"]) == 0
    assert "cd x && mspctl validate" in capsys.readouterr().err
    assert files(tmp_path / "x") == EVERYTHING | EXAMPLE
    monkeypatch.chdir(tmp_path / "x")
    assert run(["validate", "--strict"]) == 0
    assert run(["plan"]) == 2
    assert run(["apply"]) == 0
    assert "mail 300 IN A 192.0.2.81" in text_of(tmp_path / "x" / "zones" / "acme.example.zone")
    capsys.readouterr()
    assert run(["plan"]) == 0
    assert "Nothing to do" in capsys.readouterr().out
    assert run(["drift"]) == 0
    assert git(tmp_path / "x", "branch", "--show-current") == "main"
    assert "zones/acme.example.zone" not in git(tmp_path / "x", "status", "--short", "--untracked-files=all")


def through(script: Path, folder: Path) -> None:
    """The first day with an installed mspctl."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}

    def mspctl(*args: str, at: Path = folder / "x") -> tuple[int, str]:
        done = subprocess.run([script, *args], cwd=at, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    assert mspctl("init", "x", "--name", "Wheel Ltd", at=folder)[0] == 0
    for args, code in ((["validate"], 0), (["plan", "-o", "html"], 2), (["apply"], 0), (["plan"], 0)):
        ended, said = mspctl(*args)
        assert ended == code, said
    assert text_of(folder / "x" / "README.md").startswith("# Wheel Ltd: customers\n")
    assert text_of(folder / "x" / "requirements" / "dependencies.txt").endswith(f"{pins()}\n")


def test_the_installed_command_does_the_same(tmp_path: Path) -> None:
    through(Path(sys.executable).with_name("mspctl"), tmp_path)


def test_a_wheel_works_anywhere(tmp_path: Path) -> None:
    """Built and installed into an empty environment, which finds only the dependencies of this one."""
    call = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(call, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").iterdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run([*pip, "install", "--no-index", "--no-deps", str(wheel)], check=True, capture_output=True)
    call = [str(python), "-c", "import mspctl; print(mspctl.__file__)"]
    where = subprocess.run(call, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert where.stdout.startswith(str(site))
    through(python.with_name("mspctl"), tmp_path)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (origin,) = site.glob("mspctl-*.dist-info/direct_url.json")
    known = digest in origin.read_text()  # pip writes it down since 23.1
    pinned = f" \\\n    --hash=sha256:{digest}\n" if known else "\n"
    assert f"mspctl=={__version__}{pinned}" in program(tmp_path / "x")


def test_its_yaml_fits_the_schemas_that_its_first_lines_name(tmp_path: Path) -> None:
    root = init(tmp_path / "x").root
    found = [*root.glob("customers/**/*.yaml"), *root.glob("inventory/**/*.yaml")]
    assert len(found) == 6
    for path in found:
        text = text_of(path)
        named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
        assert named, path
        where = (path.parent / named[1]).resolve()
        assert where.parent == root / ".schemas"
        check = Draft202012Validator(schema.schemas()[where.name.removesuffix(".schema.json")])
        check.validate(as_an_editor(text))


def workflow(path: Path) -> Any:
    return as_an_editor(text_of(path))


def uses(path: Path) -> set[str]:
    return set(re.findall(r"uses: (\S+)", text_of(path)))


def test_its_workflow_only_checks_with_actions_that_this_repository_has_pinned(tmp_path: Path) -> None:
    path = init(tmp_path / "x").root / ".github" / "workflows" / "check.yml"
    found = workflow(path)
    assert {*found["on"]} == {"pull_request", "push"}
    assert found["permissions"] == {"contents": "read"}
    (job,) = found["jobs"].values()
    assert "permissions" not in job
    assert "secrets" not in text_of(path)
    assert re.search(r"mspctl\" validate", job["steps"][-1]["run"])
    assert uses(path) <= uses(ROOT / ".github" / "workflows" / "check.yml")
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", use) for use in uses(path))


# -- options --------------------------------------------------------------------------------------------------


def test_without_example_and_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init", "x", "--no-example", "--no-ledger"]) == 0
    assert files(tmp_path / "x") == EVERYTHING
    monkeypatch.chdir(tmp_path / "x")
    assert "acme" not in text_of(tmp_path / "x" / "README.md")
    assert run(["validate", "--strict"]) == 0
    assert run(["plan"]) == 1
    assert "mspctl ledger init" in capsys.readouterr().err
    assert run(["ledger", "init"]) == 0
    assert run(["plan"]) == 0


def test_the_name_is_said_and_nothing_in_it_is_a_template(tmp_path: Path) -> None:
    init(tmp_path / "x", "Müller & {{ 7*7 }} <b>")
    assert text_of(tmp_path / "x" / "README.md").startswith("# Müller & {{ 7*7 }} <b>: customers\n")
    assert init(tmp_path / "my-msp").name == "my-msp"


def test_a_name_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", "x", "--name", "a\nb"]) == 1
    assert "--name: should be one line" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


# -- into what is there ---------------------------------------------------------------------------------------


def test_the_folder_one_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    inode = here.stat().st_ino
    assert run(["init"]) == 0
    assert here.stat().st_ino == inode
    assert files(here) == EVERYTHING | EXAMPLE
    assert run(["-C", str(tmp_path), "init", "other"]) == 0
    assert files(tmp_path / "other") == EVERYTHING | EXAMPLE


def test_an_empty_clone_keeps_its_repository_and_the_ledger_goes_to_its_remote(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "remote")
    git(tmp_path, "clone", "--quiet", "remote", "x")
    made = init(tmp_path / "x")
    assert files(tmp_path / "x") == EVERYTHING | EXAMPLE
    assert git(tmp_path / "remote", "rev-parse", "ledger") == made.ledger
    assert git(tmp_path / "x", "remote") == "origin"


def test_a_folder_within_another_repository_becomes_its_own(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    init(tmp_path / "x")
    assert git(tmp_path / "x", "rev-parse", "--show-toplevel") == str(tmp_path / "x")
    assert git(tmp_path, "branch", "--list", "ledger") == ""


@pytest.mark.parametrize("held", [["a"], [".gitignore"], ["a", "b"], [".git/HEAD", "README.md"]])
def test_a_folder_that_holds_something_is_refused_in_one_line(
    tmp_path: Path, held: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in held:
        (tmp_path / "x" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x" / name).write_text("mine")
    assert run(["init", "x"]) == 1
    first, *rest = capsys.readouterr().err.splitlines()
    assert "x: is not empty: it holds " in first
    assert len(rest) <= 1
    assert {str(p.relative_to(tmp_path / "x")) for p in (tmp_path / "x").rglob("*") if p.is_file()} == set(held)


@pytest.mark.parametrize("folder", ["file", "file/x", "missing/x"])
def test_a_place_that_cannot_be_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is not a folder"):
        init(tmp_path / folder)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


# -- all or nothing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exists", [False, True])
def test_without_a_ledger_that_was_asked_for_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    if exists:
        git(tmp_path, "init", "--quiet", "x")

    def fail(root: Path) -> Ledger:
        raise LedgerError("the remote does not answer")

    monkeypatch.setattr(Ledger, "init", fail)
    with pytest.raises(LedgerError):
        init(tmp_path / "x")
    assert [p.name for p in tmp_path.iterdir()] == (["x"] if exists else [])
    assert not exists or [p.name for p in (tmp_path / "x").iterdir()] == [".git"]


def test_what_cannot_be_moved_into_place_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def full(self: Path, target: Path) -> Path:
        if target.name == "inventory":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    (tmp_path / "x").mkdir()
    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(InputError, match="No space left"):
        init(tmp_path / "x")
    assert [*(tmp_path / "x").iterdir()] == []


# -- pins -----------------------------------------------------------------------------------------------------


def pinned(text: str) -> dict[str, str]:
    """Package → what stands below its pin."""
    blocks = re.findall(r"^([\w.-]+)==\S+.*\\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n?)+)", text, re.MULTILINE)
    return {canonicalize_name(name): hashes for name, hashes in blocks}


def needed() -> set[str]:
    """All that mspctl needs here, by what the installed packages say themselves."""
    found, todo = set[str](), ["mspctl"]
    while todo:
        try:
            asked = [Requirement(text) for text in requires(todo.pop()) or ()]
        except PackageNotFoundError:
            continue
        names = {canonicalize_name(r.name) for r in asked if r.marker is None or r.marker.evaluate({"extra": ""})}
        todo += names - found
        found |= names
    return found


def test_all_that_is_needed_at_run_time_is_pinned_with_hashes_and_nothing_else(tmp_path: Path) -> None:
    folder = init(tmp_path / "x").root / "requirements"
    text = text_of(folder / "dependencies.txt")
    found = pinned(text)
    assert needed() <= found.keys()
    assert not {"pytest", "mypy", "ruff", "hypothesis", "ansible-core", "octodns", "mspctl"} & found.keys()
    assert len(found) == len(re.findall(r"^[^\s#]", text, re.MULTILINE))
    assert all(found.values())
    assert "://" not in text
    assert not re.search(r"^\s*--(?!hash=)", text, re.MULTILINE)
    assert set(pinned((ROOT / "constraints.txt").read_text()).items()) >= set(found.items())


def test_the_program_is_pinned_by_version(tmp_path: Path) -> None:
    text = program(init(tmp_path / "x").root)
    assert [line for line in text.splitlines() if not line.startswith("#")] == [f"mspctl=={__version__}"]


CONSTRAINTS = """\
a==1 ; sys_platform != 'win32' \\
    --hash=sha256:aa
    # via mspctl (pyproject.toml)
b.c==2 \\
    --hash=sha256:bb \\
    --hash=sha256:b2
    # via
    #   mspctl (pyproject.toml)
    #   A
d==3 \\
    --hash=sha256:dd
    # via b-c
pytest==9 \\
    --hash=sha256:cc
    # via mspctl (pyproject.toml)
pluggy==9 \\
    --hash=sha256:ff
    # via pytest
"""


def test_pins_follow_who_needs_what() -> None:
    assert runtime_pins(CONSTRAINTS, {"a"}).splitlines() == [
        "a==1 ; sys_platform != 'win32' \\",
        "    --hash=sha256:aa",
        "b.c==2 \\",
        "    --hash=sha256:bb \\",
        "    --hash=sha256:b2",
        "d==3 \\",
        "    --hash=sha256:dd",
    ]
    with pytest.raises(Error, match="does not pin e, f"):
        runtime_pins(CONSTRAINTS, {"a", "f", "e"})


def test_what_it_is_installed_into_is_where_one_stands(tmp_path: Path) -> None:
    """With a stand-in for python3, which makes a venv whose pip says where it is and what it is given."""
    root = init(tmp_path / "msp").root
    stand_in = tmp_path / "bin/python3"
    stand_in.parent.mkdir()
    stand_in.write_text(
        '#!/bin/sh\nmkdir -p "$3/bin"\nprintf \'#!/bin/sh\\necho "$0 $*"\\n\' >"$3/bin/pip"\nchmod 700 "$3/bin/pip"\n'
    )
    stand_in.chmod(0o700)
    path = f"{stand_in.parent}:{os.environ['PATH']}"
    command = ["sh", "requirements/install", ".venv"]
    said = subprocess.run(command, cwd=root, env={"PATH": path}, check=True, capture_output=True, text=True).stdout
    assert [line.split()[0] for line in said.splitlines()] == [".venv/bin/pip"] * 2
    assert all((root / line.split()[-1]).is_file() for line in said.splitlines())
