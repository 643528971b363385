"""Only rspamd and Redis of the mail server: for what is not about mail on its way."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.servers.mail_stack import MailStack, SqliteTables, possible


@contextmanager
def running(*, rspamd: Mapping[str, str] | None = None, dns: int = 0) -> Iterator[MailStack]:
    """One that scans; `rspamd` are files of its local.d, by name, and `dns` the port of a name server."""
    possible()
    folder = Path(tempfile.mkdtemp(prefix="rspamd-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        (folder / "tables").touch()
        stack = MailStack(folder, SqliteTables(folder / "tables"), rspamd or {}, dns=dns)
        try:
            stack.start("redis", "rspamd")
            yield stack
        finally:
            stack.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
