"""
A Modoboa from PyPI, ready to be started: once per machine, in a cache folder that may vanish at any time.

Every version and hash is in modoboa.txt, and nothing is compiled: left out are what draws statistics (it wants a
compiler), what shows a bar on a terminal, and what believes a proxy. Standard library only, because CI runs this file
before there is anything else: `python3 tests/servers/modoboa_install.py`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PINNED = Path(__file__).with_name("modoboa.txt")
SECONDS = 600  # that a step may take
ADMIN = "admin"
# What the prepared instance is told when it is started. DATABASE, REDIS and RATES are in the environment; the last is a
# file that may become another one while it runs.
SETTINGS = """\
import inspect
import json
import os
import sys

from instance.settings import *

ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
MIDDLEWARE = tuple(each for each in MIDDLEWARE if not each.startswith("x_forwarded_for."))
DATABASES["default"]["NAME"] = os.environ["DATABASE"]
DATABASES["default"]["CONN_MAX_AGE"] = None
DATABASES["default"]["OPTIONS"] = {"init_command": "PRAGMA synchronous=OFF", "timeout": 20}
REDIS_URL = CACHES["default"]["LOCATION"] = os.environ["REDIS"]
RQ_QUEUES = {name: {"URL": REDIS_URL} for name in RQ_QUEUES}

class Rates(dict):
    def __getitem__(self, scope):
        with open(os.environ["RATES"]) as file:
            return (self | json.load(file))[scope]

REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"] = Rates(REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"])
LOGGING["disable_existing_loggers"] = False
LOGGING["handlers"]["console"] = {"class": "logging.StreamHandler"}
LOGGING["loggers"]["django"] = {"handlers": ["console"], "level": "ERROR", "propagate": False}

def frames():
    frame, found = sys._getframe(1), []
    while frame:
        found.append((frame,))
        frame = frame.f_back
    return found

# To learn which extension calls, Modoboa asks for the whole stack. Where each frame's source is, at which nobody looks,
# costs four fifths of the time of a call.
inspect.stack = frames
"""
# Hashing is slow on purpose; in tests it may be quick.
PREPARE = """\
from modoboa.core.models import LocalConfig
config = LocalConfig.objects.first()
config.parameters.set_value("rounds_number", 1000, app="core")
config.save()
"""


class NotThere(Exception):
    """It cannot be installed here."""


def ready() -> Path:
    """The folder with `site` (the instance), `modoboa.db` and `token`. Raises NotThere."""
    folder = cache() / f"modoboa-{_digest(PINNED, Path(__file__))}"
    try:
        cache().mkdir(parents=True, exist_ok=True)
        with (cache() / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _once(environment(), _install)
            _once(folder, _prepare)
    except (OSError, subprocess.SubprocessError) as error:
        raise NotThere(f"Modoboa cannot be installed in {folder}: {_last_line(error)}") from None
    return folder


def environment() -> Path:
    """The folder with its Python and all that was installed."""
    return cache() / f"modoboa-python-{_digest(PINNED)}"


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mspctl-tests"


def _digest(*files: Path) -> str:
    """Another one for each Python, and for other contents of the files."""
    parts = [sys.version.encode(), *(file.read_bytes() for file in files)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _once(folder: Path, make: Callable[[Path], None]) -> None:
    """A folder is whole when its mark is there; one that is not is made anew."""
    if not (folder / ".whole").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        make(folder)
        (folder / ".whole").touch()


def _install(folder: Path) -> None:
    venv.create(folder, with_pip=True)
    options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", str(PINNED)]
    _run(folder, "-m", "pip", "install", "--disable-pip-version-check", *options)


def _prepare(folder: Path) -> None:
    """An instance with one administrator, and his token."""
    with redis(folder) as url:
        database = ["--dburl", f"default:sqlite:///{folder}/modoboa.db", "--redisurl", url]
        program = str(environment() / "bin/modoboa-admin.py")
        _run(folder, program, "deploy", "instance", *database, "--domain", "localhost", "--admin-username", ADMIN)
        site = (folder / "instance").rename(folder / "site")
        (site / "testing.py").write_text(SETTINGS)
        _run(site, "manage.py", "shell", "-c", PREPARE)
        (folder / "token").write_text(_run(site, "manage.py", "drf_create_token", ADMIN).split()[2])


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """One that keeps nothing; yields its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no", "--dir", str(folder)]
    with (folder / "redis.log").open("ab") as log:
        process = subprocess.Popen(["redis-server", *options], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(30)


def _run(folder: Path, *arguments: str) -> str:
    """Its Python, in a folder; what it prints."""
    done = subprocess.run(
        [str(environment() / "bin/python"), *arguments], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=SECONDS, check=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPATH": ""},
    )  # fmt: skip
    return done.stdout


def _last_line(error: Exception) -> str:
    said = getattr(error, "stderr", None) or str(error)
    return str(said).strip().splitlines()[-1] if str(said).strip() else type(error).__name__


if __name__ == "__main__":
    try:
        ready()
    except NotThere as error:
        sys.exit(str(error))
