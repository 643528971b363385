"""Real lines of a mail server (Postfix 3.7, Dovecot 2.3, rspamd 3.4), and what they come to for a customer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from mspctl.drivers.maillog.lines import Stamps, facts
from mspctl.kinds.mail_log import Entry, Fact, Whose
from mspctl.mail_log.join import Joiner
from mspctl.moments import timezone
from mspctl.report.mail_log import Heading

REAL = Path(__file__).parent / "real"
NOW = datetime(2026, 11, 27, 18, 30, tzinfo=UTC)
EVER = datetime(2020, 1, 1, tzinfo=UTC)
ACME, BETA = frozenset({"acme.test", "acme-alias.test"}), frozenset({"beta.test"})


def stamps(zone: str = "UTC", modified: datetime = NOW) -> Stamps:
    return Stamps(timezone(zone), modified)


def real() -> Iterator[Fact]:
    for name in ("mail.log", "dovecot.log", "rspamd.log"):
        yield from facts((REAL / name).read_bytes().split(b"\n"), stamps())


def told(lines: str) -> list[Fact]:
    """Facts of lines that a test wrote."""
    return [*facts((line.encode() for line in lines.splitlines() if line), stamps())]


def entries(
    found: Iterable[Fact],
    own: Iterable[str] = ACME,
    others: Iterable[str] = BETA,
    *,
    since: datetime = EVER,
    wanted: Callable[[str], bool] = lambda address: True,
    crosses: bool = False,
) -> list[Entry]:
    joiner = Joiner(Whose(frozenset(own), frozenset(others), crosses), since, wanted)
    for fact in found:
        joiner.add(fact)
    return joiner.entries()


def heading(customer: str = "acme", zone: str = "UTC") -> Heading:
    return Heading(customer, zone, NOW, ["mail-1"], EVER)
