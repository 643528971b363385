"""Names, texts and times as messages show them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from mspctl.kinds import on_one_line


def few(names: Sequence[str]) -> str:
    shown = ", ".join(map(on_one_line, names[:3]))
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def spelled(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
