"""Exit codes, as docs/commands.md lists them."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    DONE = 0  # done, or nothing to do
    ERROR = 1
    DIFFERS = 2  # changes pending, drift or findings
    PARTLY = 3  # partly done, or held
    UNREACHABLE = 4  # nothing wrong but targets that gave no answer
    USAGE = 64
    INTERRUPTED = 130

    def softened(self) -> Exit:
        """For CI, where a job shall not fail because there is something to tell."""
        return Exit.DONE if self in (Exit.DIFFERS, Exit.UNREACHABLE) else self
