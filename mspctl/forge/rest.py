"""What the APIs of GitHub and GitLab have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

PAGE, PAGES = 100, 50  # entries of a list at once, and lists at most


def pages(get: Callable[[str], Any], path: str, within: str = "", **asked: str) -> Iterator[dict[str, Any]]:
    """All entries of a list, which is `within` what is answered. Raises ValueError when there is none."""
    for page in range(1, PAGES + 1):
        found = get(f"{path}?{urlencode({**asked, 'per_page': PAGE, 'page': page})}")
        listed = found[within] if within else found
        if not isinstance(listed, list):
            raise ValueError("a list was expected")
        yield from listed
        if len(listed) < PAGE:
            return


def moment(said: object) -> datetime:
    """`2027-03-05T14:02:00Z`."""
    return datetime.fromisoformat(str(said).replace("Z", "+00:00"))
