"""
A folder that files are read from, and that nothing read leaves.

Names in YAML never choose a path; files are found by listing. A symbolic link would lead out, so it is refused.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from mspctl import strict_yaml
from mspctl.strict_yaml import Data, Problems

IGNORED = frozenset({"README.md"})


NOTHING: Mapping[str, str] = MappingProxyType({})


class Folder:
    """
    One customer's folder, or the inventory. `wanted` is False when only its overview files are needed; `instead` are
    texts (by their files' names in messages) that count as if they stood there, so that an edit is checked beforehand.
    """

    def __init__(
        self, root: Path, name: str, problems: Problems, *, wanted: bool = True, instead: Mapping[str, str] = NOTHING
    ) -> None:
        self.root = root
        self.name = name  # relative to the root, as shown in messages
        self.problems = problems
        self.wanted = wanted
        self.instead = instead

    def shown(self, name: str) -> str:
        """A file's name in messages: relative to the root, on one line."""
        file = f"{self.name}/{name}"
        return file if file.isprintable() else repr(file)

    def path(self, name: str) -> Path:
        return self.root / self.name / name

    def has(self, name: str) -> bool:
        """Whether anything stands there; a link that leads nowhere does."""
        file = self.shown(name)
        known = any(each == file or each.startswith(f"{file}/") for each in self.instead)
        return known or os.path.lexists(self.path(name))

    def yaml(self, name: str, problems: Problems) -> Data:
        file = self.shown(name)
        if file in self.instead:
            return strict_yaml.parse(self.instead[file], file, problems)
        return strict_yaml.read(self.path(name), self.shown(name), problems)

    def text(self, name: str, problems: Problems) -> str | None:
        return strict_yaml.read_text(self.path(name), self.shown(name), problems)

    def files(self, below: str = "") -> Iterator[str]:
        """Names of the files in this folder or in a folder of it, sorted; other things are problems."""
        yield from (name for name, is_folder in self.entries(below) if not is_folder)

    def entries(self, below: str = "") -> list[tuple[str, bool]]:
        """(name, whether it is a folder), hidden ones and README.md left out."""
        found = []
        for name, mode in self._listed(self.path(below) if below else self.root / self.name):
            file = self.shown(f"{below}/{name}" if below else name)
            if not name.isprintable():
                text = "holds characters that cannot be printed (rename it)"
                self.problems.add(None, "", text, file=file)
            elif not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                self.problems.add(None, "", strict_yaml.LINK, file=file)
            elif below and stat.S_ISDIR(mode):
                self.problems.add(None, "", "is a folder where files are expected", file=file)
            else:
                found.append((name, stat.S_ISDIR(mode)))
        return sorted((dict(self._new(below)) | dict(found)).items()) if self.instead else found

    def _new(self, below: str) -> Iterator[tuple[str, bool]]:
        """The same, of what would stand there."""
        start = self.shown(f"{below}/" if below else "")
        for file in self.instead:
            if file.startswith(start):
                name, deeper, _ = file.removeprefix(start).partition("/")
                yield name, bool(deeper)

    def _listed(self, path: Path) -> list[tuple[str, int]]:
        """(name, mode) of what a folder holds, sorted; nothing of a link, whose own folder names it as a problem."""
        try:
            if not stat.S_ISDIR(path.lstat().st_mode):
                return []
            with os.scandir(path) as entries:
                listed = [(e.name, e.stat(follow_symlinks=False).st_mode) for e in entries]
        except FileNotFoundError:
            return []
        except OSError as error:
            file = self.shown("") if path == self.root / self.name else self.shown(path.name)
            self.problems.add(None, "", f"cannot be read ({error.strerror})", file=file.rstrip("/"))
            return []
        return sorted((name, mode) for name, mode in listed if not (name.startswith(".") or name in IGNORED))
