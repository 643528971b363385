"""Only rspamd and Redis of the mail server: for what is not about mail on its way."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.servers.mail_stack import MailStack, possible


@contextmanager
def running(*, rspamd: Mapping[str, str] | None = None) -> Iterator[MailStack]:
    """One that scans; `rspamd` are files of its local.d, by name."""
    possible()
    folder = Path(tempfile.mkdtemp(prefix="rspamd-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        (folder / "tables").touch()
        stack = MailStack(folder, folder / "tables", rspamd or {})
        try:
            stack.start("redis", "rspamd")
            yield stack
        finally:
            stack.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
