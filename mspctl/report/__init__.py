"""
Plans and outcomes for people and programs: text, Markdown, JSON, HTML. Knows no driver and no YAML.

`view` decides what is said and in which order; each format only spells it.
"""

from __future__ import annotations

from importlib import import_module

from mspctl.report.view import View

FORMATS = ("text", "json", "markdown", "html")


def render(view: View, form: str) -> str:
    """A view in one of FORMATS."""
    text: str = import_module(f"{__name__}.as_{form}").render(view)
    return text
