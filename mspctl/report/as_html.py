"""One self-contained page: works without JavaScript, in light and dark."""

from __future__ import annotations

from mspctl.report.as_text import SIGNS
from mspctl.report.view import View


def render(view: View) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mspctl"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html").render(view=view, signs=SIGNS) + "\n"
