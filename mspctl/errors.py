"""
Every error that mspctl raises on purpose. The command line prints them as plain lines, without a traceback.

* Error
  - InputError         files, names or options are wrong; carries every problem found, each with its place
  - LedgerError        the record of what was applied cannot be read, trusted or written
  - LockError          somebody else holds a lock, or took ours over
  - SecretError        a named secret cannot be found or opened
  - TargetError        a target answered with a refusal, or something that makes no sense
    - Unreachable      it gave no answer, or cannot be read; says nothing about what lives there
    - Unsupported      this target cannot hold such a resource; raised before any I/O
    - Stale            somebody else changed it between our read and our write

Foreign exceptions are translated once, at the edge where they are met.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong with the input, where it stands, and what would be right."""

    file: str
    line: int  # from 1; 0 when the whole file is meant
    column: int  # from 1
    path: str  # keys to the value, "zones.acme.example.ttl"; "" for the whole file
    text: str  # "“5 gigs” is not a size (write 5 GiB)"
    level: str = "error"  # or "warning"

    @property
    def is_over(self) -> bool:
        """Whether it is about a line that says nothing any more, because its day is past: all say it in these words."""
        return self.level == "warning" and " is over" in f" {self.text}"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        parts = (place, self.path, self.text if self.level == "error" else f"{self.level}: {self.text}")
        return ": ".join(part for part in parts if part)


class Error(Exception):
    """Base class."""


class InputError(Error):
    """One or more problems in files, names or options."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))

    @classmethod
    def at(cls, file: str, text: str, line: int = 0, column: int = 1, path: str = "") -> InputError:
        return cls([Problem(file, line, column, path, text)])


class LedgerError(Error):
    pass


class LockError(Error):
    pass


class SecretError(Error):
    pass


class TargetError(Error):
    pass


class Unreachable(TargetError):
    pass


class Unsupported(TargetError):
    pass


class Stale(TargetError):
    pass
