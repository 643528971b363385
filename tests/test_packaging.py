"""What an installation rests on: constraints.txt covers what pyproject.toml asks for, and nothing else."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mspctl

ROOT = Path(__file__).parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONSTRAINTS = (ROOT / "constraints.txt").read_text()
# A pin is `name==version`, perhaps with a marker, and its hashes on the lines below it.
PINS = {
    canonicalize_name(name): (pinned, hashes)
    for name, pinned, hashes in re.findall(
        r"^([\w.-]+)==(\S+).*?\\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", CONSTRAINTS, re.MULTILINE
    )
}
PROJECT = PYPROJECT["project"]
ASKED = [
    *PYPROJECT["build-system"]["requires"],
    *PROJECT["dependencies"],
    *(each for extra in PROJECT["optional-dependencies"].values() for each in extra),
]


@pytest.mark.parametrize("asked", sorted(set(ASKED)))
def test_every_dependency_is_pinned_with_hashes_to_a_version_that_fits(asked: str) -> None:
    requirement = Requirement(asked)
    pinned, hashes = PINS[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pinned)
    assert hashes


def test_every_line_that_is_no_comment_belongs_to_a_pin() -> None:
    names = re.findall(r"^[^ #\n].*", CONSTRAINTS, re.MULTILINE)
    assert len(names) == len(PINS)


def test_constraints_name_no_place_to_download_from() -> None:
    assert "://" not in CONSTRAINTS
    assert not re.search(r"^\s*--(?!hash=)", CONSTRAINTS, re.MULTILINE)


def test_the_version_is_the_same_wherever_it_is_said() -> None:
    assert PROJECT["version"] == mspctl.__version__ == version("mspctl")
