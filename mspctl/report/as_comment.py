"""
The comment on a pull request: what can hurt, a table of customers, everything folded, how it ends and how it is undone.

It is `as_markdown` with what somebody wants to know who decides about a merge. Like there, whatever comes from outside
stands in code, and it is never too long to be posted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mspctl.amounts import count
from mspctl.report import as_markdown
from mspctl.report.as_markdown import LIMIT, code
from mspctl.report.digest import cut
from mspctl.report.view import View

SUMMARY = 1_000_000  # bytes that a job's summary can have
ROWS = 60  # customers in the table; the rest is counted
LISTED = 30  # scopes whose digest is named, and those that wait for others
NAME = 80  # characters of a customer or a scope
FOLD_FROM = 2  # customers


def render(view: View, pull: str = "", limit: int = LIMIT) -> str:
    """`pull` is by what an apply will be known, and undone: `#212`. A view of a plan; others as `as_markdown`."""
    if view.kind != "plan":
        return as_markdown.page_of(view, limit)
    customers = _by_customer(view.document["scopes"])
    overview = [*_table(customers)] if len(customers) >= FOLD_FROM else []
    ending = [*_ending(view.document, customers, pull)]
    return as_markdown.page_of(view, limit, overview, ending, fold=len(customers) >= FOLD_FROM)


Scopes = Sequence[Mapping[str, Any]]


def _by_customer(scopes: Any) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for scope in scopes:
        found.setdefault(scope["customer"], []).append(scope)
    return found


def _table(customers: Mapping[str, Scopes]) -> Iterator[str]:
    """A row for each customer, those first of whom something is taken away or left."""
    rows = sorted(((name, _counted(scopes)) for name, scopes in customers.items()), key=_gravity)
    columns = ("create", "change", "delete", "not now", "not in this merge", "not read")
    yield from ("", f"| customer | {' | '.join(columns)} |", f"|---|{'--:|' * len(columns)}")
    for name, counts in rows[:ROWS]:
        shown = code(cut(name, NAME)).replace("|", r"\|")  # in a table even code ends there
        yield f"| {shown} | {' | '.join(str(counts[each] or '') for each in columns)} |"
    if len(rows) > ROWS:
        yield from ("", f"… and {count(len(rows) - ROWS, 'more customer')}")


def _gravity(row: tuple[str, Counter[str]]) -> tuple[int, int, int, str]:
    name, counts = row
    return -counts["delete"], -counts["not read"], -counts.total(), name


def _counted(scopes: Scopes) -> Counter[str]:
    found: Counter[str] = Counter()
    for scope in scopes:
        for change in scope["changes"]:
            verb = {"update": "change", "rename": "change"}.get(change["verb"], change["verb"])
            found[verb if change["standing"] == "due" else "not now"] += 1
        found["not in this merge"] += sum(left["cause"] != "unmanaged" for left in scope["left"])
        found["not read"] += bool(scope["error"])
    return found


def _ending(document: Mapping[str, Any], customers: Mapping[str, Scopes], pull: str) -> Iterator[str]:
    due = [scope for scope in document["scopes"] if _is_due(scope)]
    if not due:
        return
    yield from (
        "",
        "**If something fails**, everything else lands all the same, and this pull request says what did not.",
    )
    waiting = [(scope, after) for scope in due for after in scope["after"] if any(map(_same(after), due))]
    for scope, after in waiting[:LISTED]:
        yield f"- Without {_said(after)}, {_said(scope)} is held."
    if len(waiting) > LISTED:
        yield f"- … and {len(waiting) - LISTED:,} more that wait for others"
    yield from ("", f"**Undo**: {_undo(sorted({scope['customer'] for scope in due}), pull)}")
    yield from ("", f"<details><summary>Digests of what was planned: {document['digest']}</summary>", "")
    yield from (f"- {code(scope['digest'])} {_said(scope)}" for scope in due[:LISTED])
    if len(due) > LISTED:
        yield f"- … and {count(len(due) - LISTED, 'more scope')}"
    yield from ("", "</details>")


def _undo(customers: Sequence[str], pull: str) -> str:
    run = f" '{pull}'" if pull else ""
    commands = [code(f"mspctl undo {cut(name, NAME)}{run}") for name in customers[:3]]
    return ", ".join(commands) + (f" and {count(len(customers) - 3, 'more customer')}" if len(customers) > 3 else "")


def _is_due(scope: Mapping[str, Any]) -> bool:
    return any(change["standing"] == "due" for change in scope["changes"])


def _same(one: Mapping[str, Any]) -> Any:
    return lambda other: all(one[key] == other[key] for key in ("target", "facet", "name"))


def _said(scope: Mapping[str, Any]) -> str:
    return code(cut(f"{scope['facet']} {scope['name']} on {scope['target']}", NAME))
