"""Logs to stderr, with a run id, secrets redacted by value."""

from __future__ import annotations

import logging
import sys

from mspctl.secrets import RedactingFilter


def start(verbose: int) -> None:
    from mspctl.cli.workspace import RUN_ID

    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RedactingFilter())
    handler.setFormatter(logging.Formatter(f"%(asctime)s {RUN_ID} %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("mspctl")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if verbose > 1 else logging.INFO)
