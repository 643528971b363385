"""Names, texts and times as messages show them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime


def few(names: Sequence[str]) -> str:
    shown = ", ".join(map(line, names[:3]))
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def line(text: str) -> str:
    """On one line, and nothing in it that a terminal would act upon."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def spelled(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
