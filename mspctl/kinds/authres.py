"""
What a mail server found out about a message that it received: the header Authentication-Results (RFC 8601). Pure.

Anybody can write such a header into a message, so only those count that name a server which is trusted, and of these
the topmost: a server puts its own above all that it received.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_PART = re.compile(r'"(?:[^"\\]|\\.)*"|[^"();\s]+|.', re.DOTALL)
_METHOD = re.compile(r"([a-z0-9-]+)(?:/\d+)?=([a-z0-9-]+)", re.IGNORECASE)
_PROPERTY = re.compile(r"([a-z0-9-]+\.[a-z0-9-]+)=(.+)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Result:
    method: str  # "dkim"
    result: str  # "pass"
    properties: Mapping[str, str] = field(default_factory=dict)  # "header.d": "acme.example"


def results(headers: Sequence[str], authserv: str) -> list[Result] | None:
    """What the trusted server says; None when none of the headers, which stand in their order, is from it."""
    for header in headers:
        first, *rest = _statements(header)
        if first and first[0].lower() == authserv.lower():
            return [found for words in rest if (found := _result(words))]
    return None


def of(found: Sequence[Result], method: str) -> list[Result]:
    return [result for result in found if result.method == method]


def _result(words: Sequence[str]) -> Result | None:
    """One statement; `reason` and what is no property is left out."""
    method = _METHOD.fullmatch(words[0]) if words else None
    if not method:
        return None
    properties = (_PROPERTY.fullmatch(word) for word in words[1:])
    held = {each[1].lower(): each[2].strip('"') for each in properties if each}
    return Result(method[1].lower(), method[2].lower(), held)


def _statements(header: str) -> Iterator[list[str]]:
    """The words of each statement, without comments; blanks around = do not count."""
    depth, words = 0, list[str]()
    for part in _PART.findall(re.sub(r"\s*=\s*", "=", header)):
        depth += {"(": 1, ")": -1 if depth else 0}.get(part, 0)
        if part in "()" or depth or part.isspace():
            continue
        if part == ";":
            yield words
            words = []
        elif part.startswith('"') and words and words[-1].endswith("="):
            words[-1] += part
        else:
            words.append(part)
    yield words
