"""What the ledger tells, as lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mspctl.ledger import Entry


def lines(entries: Iterable[Entry]) -> Iterator[str]:
    """One line per run, and one per scope that did not end well."""
    for entry in entries:
        counts = [f"{sum(landing.counts.values())} in {scope}" for scope, landing in sorted(entry.scopes.items())]
        shown = ", ".join(counts[:3]) + (f" and {len(counts) - 3} more scopes" if len(counts) > 3 else "")
        why = " · emergency" if entry.emergency else ""
        why += f" · {entry.reason}" if entry.reason else ""
        yield f"{entry.when:%Y-%m-%d %H:%M} {entry.who.partition(' <')[0]}{why} · {shown}"
        for scope, landing in sorted(entry.scopes.items()):
            if landing.error:
                yield f"    {scope}: {landing.error}"
