"""
A private mirror for tests: two signatures of our own, served by a small HTTP server that runs on a LAN of machines.

Signatures of ClamAV itself cannot be had here, and are a gigabyte in memory. These know EICAR's file, which is what
every engine knows, and a marker of ours. The file itself is put together when it is needed: nobody's antivirus should
find it in this repository.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.hosts import NET, Lan

EICAR = bytes(
    each ^ 0x20
    for each in b"x\x15o\x01p\x05`ap{\x14|pzx\x15\x14\x08p~\t\x17cc\t\x17]\x04eicar\rstandard\r"
    b"antivirus\rtest\rfile\x01\x04h\x0bh\n"
)
MARKER = b"MSPCTL-TEST-MARKER"


@dataclass
class Mirror:
    folder: Path
    url: str

    def write(self) -> None:
        (self.folder / "msp.hdb").write_text(f"{hashlib.md5(EICAR).hexdigest()}:{len(EICAR)}:Test.Eicar\n")  # noqa: S324
        (self.folder / "msp.ndb").write_text(f"Test.Marker:0:*:{MARKER.hex()}\n")


@contextmanager
def mirror(lan: Lan, folder: Path, port: int = 8099) -> Iterator[Mirror]:
    made = Mirror(folder, f"http://{NET}.1:{port}")
    made.write()
    serve = [sys.executable, "-m", "http.server", "--bind", f"{NET}.1", "--directory", str(folder), str(port)]
    process = subprocess.Popen(lan.inside(*serve), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            if not subprocess.run(lan.inside("nc", "-z", f"{NET}.1", str(port)), capture_output=True).returncode:
                break
            time.sleep(0.05)
        yield made
    finally:
        process.kill()
        process.wait(60)
