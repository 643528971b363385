"""For programs: a versioned document, named in its `format`."""

from __future__ import annotations

import json

from mspctl.report.view import View


def render(view: View) -> str:
    return json.dumps({**view.document, "summary": view.summary}, indent=2, ensure_ascii=False) + "\n"
