"""What providers say: errors, which become one line of ours, and logs, out of which secrets are kept."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from socket import gaierror
from typing import cast

from mspctl.errors import Error, TargetError, Unreachable
from mspctl.kinds import dns
from mspctl.secrets import RedactingFilter

LOG = logging.getLogger(__package__)
_REDACTED = RedactingFilter()
LOG.addFilter(_REDACTED)
LOG.addHandler(logging.NullHandler())


@contextmanager
def told(provider: str) -> Iterator[None]:
    """Whatever a provider raises is ours, in one line."""
    try:
        yield
    except Error:
        raise
    except Exception as error:
        if silence := _silence(error):
            raise Unreachable(f"{provider} gave no answer: {dns.first_line(silence)}") from error
        raise TargetError(f"octoDNS, for {provider}: {line(error)}") from error


def line(error: Exception) -> str:
    reasons = getattr(error, "reasons", None)  # of octoDNS's ValidationError, whose text has many lines
    said = "; ".join(str.__str__(reason) for reason in reasons) if reasons else dns.first_line(error)
    return printable(said[:300])


def printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _silence(error: BaseException) -> Exception | None:
    """What the socket said, however often it was wrapped; None when the provider did answer."""
    from dns.exception import Timeout

    found, at = None, cast("BaseException | None", error)
    while at is not None:
        if getattr(at, "response", None) is not None:
            return None
        if isinstance(at, (ConnectionError, TimeoutError, EOFError, Timeout, gaierror)) or type(at) is OSError:
            found = at
        at = at.__cause__ or at.__context__
    return found


class _Last(logging.Handler):
    """What providers and their libraries log with nobody listening is ours; Python would print it."""

    def __init__(self, before: logging.Handler | None) -> None:
        super().__init__(logging.WARNING)
        self.before = before

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith("mspctl"):
            LOG.handle(record)
        elif self.before:
            self.before.handle(record)


def logger(target: str) -> logging.Logger:
    if not isinstance(logging.lastResort, _Last):
        logging.lastResort = _Last(logging.lastResort)
    log = LOG.getChild(target)
    log.addFilter(_REDACTED)
    return log
