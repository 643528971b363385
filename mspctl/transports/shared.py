"""
Connections to hosts that one run of Ansible leaves open for the next one of the same command.

OpenSSH does it: who connects first stays in the background, and waits at a socket in a private folder. A socket's
name is made of all that the connection depends on: the host's full name, where it is, its pinned keys, who logs in and
with which key. So it is never another's, nor one that was made before any of that was changed. All are hung up when
the command ends (`close`); if nobody gets to do that, each ends by itself.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from mspctl import ending
from mspctl.kinds.hosts import Host
from mspctl.secrets import Secret
from mspctl.transports import private

IDLE = 60  # seconds after which a connection that nobody uses ends by itself
LONGEST = 83  # octets of a socket's path, to which OpenSSH adds 17 for a while; systems take 104 or 108
OPTIONS = {"ControlMaster": "auto", "ControlPersist": str(IDLE)}

_stack, _lock = ExitStack(), threading.Lock()
_folder: Path | None = None


def sockets(hosts: Iterable[Host], key: Secret) -> dict[str, Path]:
    """By full name. None for a host behind another one, whose troubles OpenSSH would not tell then."""
    folder = _opened()
    found = {host.full: folder / f"{private.SOCKET}{_digest(host, key)}" for host in hosts if not host.jump}
    return {name: path for name, path in found.items() if len(bytes(path)) <= LONGEST}


def close() -> None:
    """All of them."""
    global _folder
    with _lock:
        _folder = None
        _stack.close()


def _opened() -> Path:
    global _folder
    with _lock:
        if _folder is None:
            _folder = _stack.enter_context(private.folder())
            ending.at_end(close)
        return _folder


def _digest(host: Host, key: Secret) -> str:
    return hashlib.sha256(f"{host!r} {key.reveal_text()}".encode()).hexdigest()[:12]
