"""What the commands that ask mail servers have in common: whose mail, which servers, since when, who did not answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mspctl.cli import console
from mspctl.exits import Exit

if TYPE_CHECKING:
    from mspctl.kinds.mail_log import Whose
    from mspctl.load import Estate
    from mspctl.mail_log.tell import Wanted
    from mspctl.report.mail_log import Heading
    from mspctl.targets import Targets

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def since(default: str, what: str) -> Callable[[F], F]:
    text = f"{what}: a day (2027-03-05), a time ('2027-03-05 14:00'), or so long ago (2h, 3d)."
    return click.option("--since", "since", default=default, show_default=True, metavar="WHEN", help=text)


def address(command: F) -> F:
    text = "Only this address, name of an address, or domain (@example.com)."
    return click.option("--address", metavar="ADDRESS", help=text)(command)


@dataclass
class Servers:
    """The mail servers of one customer."""

    directory: str | None
    customer: str
    since: datetime | None = None
    notes: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)  # targets, each with its error
    only_away: bool = True  # whether those that failed gave no answer

    def __post_init__(self) -> None:
        from mspctl.cli.workspace import find_root, now
        from mspctl.load import load
        from mspctl.mail_log import whose
        from mspctl.targets import Targets

        self.root, self.now = find_root(self.directory), now()
        self.estate: Estate = load(self.root, [self.customer], self.now)
        self.zone: str = self.estate.customers[self.customer].info.timezone
        self.whose: Whose = whose.of(self.estate, self.customer)
        self.names = whose.servers(self.estate, self.customer)
        self.targets: Targets = Targets(self.estate)

    def look_back(self, text: str) -> datetime:
        """Since when, as it was asked for. Raises UsageError."""
        self.since = moment(text, self.zone, self.now)
        return self.since

    def wanted(self, address: str | None) -> Wanted:
        from mspctl.mail_log import asked_for

        if address is None:
            return lambda each: True
        if not address.strip():
            raise click.UsageError("--address is empty")
        return asked_for(address, self.whose.own)

    def ask(self, question: Callable[[str], T]) -> list[tuple[str, T]]:
        """The answer of each server; who has none is told at the end."""
        answers = []
        for name in self.names:
            with self.asking(name):
                answers.append((name, question(name)))
        return answers

    @contextmanager
    def asking(self, name: str) -> Iterator[None]:
        """What a server answers badly is told at the end, and the others are asked all the same."""
        from mspctl.driver import translated
        from mspctl.errors import TargetError, Unreachable

        try:
            with translated():
                yield
        except TargetError as error:
            self.failed.append((name, str(error)))
            self.only_away = self.only_away and isinstance(error, Unreachable)

    def heading(self) -> Heading:
        from mspctl.report.mail_log import Heading

        return Heading(self.customer, self.zone, self.now, self.names, self.since, self.notes, self.failed)

    @property
    def exit_code(self) -> Exit:
        if not self.failed:
            return Exit.DONE
        return Exit.UNREACHABLE if self.only_away else Exit.ERROR


def moment(text: str, zone: str, now: datetime) -> datetime:
    """Since when: `2h`, `3d`, or a day or time of the customer's clock. Raises UsageError."""
    from mspctl.fields import duration
    from mspctl.moments import Moment

    if not text[:4].isdigit() or "-" not in text:
        try:
            return now - timedelta(seconds=duration(text if text[-1:].isalpha() else ""))
        except (ValueError, OverflowError):
            raise click.UsageError(f"--since: {text!r} is neither a day nor so long ago (write 2h, 3d)") from None
    try:
        return Moment.parse(text).begins(zone)
    except ValueError as error:
        raise click.UsageError(f"--since: {error}") from None


def width() -> int | None:
    """The terminal's, None where the output goes elsewhere."""
    import shutil
    import sys

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def say(lines: Any) -> None:
    for line in lines:
        console.say(line)
