"""
A folder that files are read from, and that nothing read leaves.

Names in YAML never choose a path; files are found by listing. A symbolic link would lead out, so it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mspctl import strict_yaml
from mspctl.strict_yaml import Data, Problems

IGNORED = frozenset({"README.md"})


class Folder:
    """One customer's folder, or the inventory. `wanted` is False when only its overview files are needed."""

    def __init__(self, root: Path, name: str, problems: Problems, *, wanted: bool = True) -> None:
        self.root = root
        self.name = name  # relative to the root, as shown in messages
        self.problems = problems
        self.wanted = wanted

    def shown(self, name: str) -> str:
        return f"{self.name}/{name}"

    def path(self, name: str) -> Path:
        return self.root / self.name / name

    def yaml(self, name: str, problems: Problems) -> Data:
        return strict_yaml.read(self.path(name), self.shown(name), problems)

    def files(self, below: str = "") -> Iterator[str]:
        """Names of the files in this folder or in a folder of it, sorted; other things are problems."""
        yield from (name for name, is_folder in self.entries(below) if not is_folder)

    def entries(self, below: str = "") -> list[tuple[str, bool]]:
        """(name, whether it is a folder), hidden ones and README.md left out."""
        path = self.path(below) if below else self.root / self.name
        found = []
        for entry in sorted(path.iterdir()) if path.is_dir() else ():
            if entry.name.startswith(".") or entry.name in IGNORED:
                continue
            shown = self.shown(f"{below}/{entry.name}" if below else entry.name)
            if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
                self.problems.add(None, "", "is a link or a special file (only plain files are read)", file=shown)
            elif below and entry.is_dir():
                self.problems.add(None, "", "is a folder where files are expected", file=shown)
            else:
                found.append((entry.name, entry.is_dir()))
        return found
