"""
What ClamAV does on a host, and how it went: `antivirus ready|started|updated|found|scan <name>`, called by its units.

clamd calls `found`, as its own user, for each thing that it finds; the others run as root. What is written down is read
by whoever manages the host. A find can be told at once, to the address that job.conf names.
"""

from __future__ import annotations

import calendar
import fcntl
import glob
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from typing import Any, Callable, Dict, List, Tuple, Union

FOLDER, SOCKET = "/etc/mspctl/antivirus", "/run/mspctl-antivirus/clamd.ctl"
STATE, FOUND = "/var/lib/mspctl/antivirus", "/var/lib/mspctl-antivirus/found.json"
QUARANTINE = "/var/lib/mspctl-quarantine"
UNIT = "mspctl-antivirus-update"
LATEST = 50  # finds that are kept
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def said(path: str) -> Dict[str, Any]:
    """A file of JSON, which may have comments in front; nothing where there is none."""
    try:
        with open(path) as file:
            found = json.loads("".join(line for line in file if not line.startswith("#")))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def note(path: str, **facts: Any) -> None:
    """Besides what is noted there already; whoever reads it sees the old or the new."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w") as file:
        json.dump(dict(said(path), **facts), file)
    os.replace(path + ".new", path)


# -- the engine, and its signatures -----------------------------------------------------------------------------


def ask(command: str) -> str:
    """What clamd answers; "" for nothing."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(SOCKET)
            connection.sendall(b"z" + command.encode() + b"\0")
            answer = b""
            while part := connection.recv(4096):
                answer += part
    except OSError:
        return ""
    return answer.decode("utf-8", "replace").strip("\0\n ")


def version() -> str:
    """Of the engine that runs: "1.4.3"."""
    found = re.match(r"ClamAV ([\w.+~-]+)", ask("VERSION"))
    return found.group(1) if found else ""


def signatures() -> int:
    """When the newest signatures were made, in seconds since 1970; of a file that does not say, when it came."""
    paths = [path for path in glob.glob("/var/lib/clamav/*.*") if not path.endswith((".dat", ".tmp"))]
    return max([made(path) for path in paths], default=0)


def made(path: str) -> int:
    """ClamAV-VDB:07 Nov 2026 08-30 -0500:27086:…, at the front of the official ones."""
    with open(path, "rb") as file:
        head = file.read(64).decode("latin-1")
    found = re.match(r"ClamAV-VDB:(\d\d) (\w{3}) (\d{4}) (\d\d)-(\d\d) ([+-])(\d\d)(\d\d):", head)
    if not found or found.group(2) not in MONTHS:
        return int(os.stat(path).st_mtime)
    day, month, year, hour, minute, sign, hours, minutes = found.groups()
    offset = (int(hours) * 60 + int(minutes)) * (60 if sign == "+" else -60)
    return calendar.timegm((int(year), MONTHS.index(month) + 1, int(day), int(hour), int(minute), 0)) - offset


def ready() -> str:
    """Without any signatures the engine ends, and says less than why there are none."""
    return "" if signatures() else f"there are no signatures yet: {said(STATE + '.json').get('failed') or 'none came'}"


def started() -> Union[int, str]:
    """Waits until the engine takes questions: with all of its signatures that lasts. If it ended, it has said why."""
    for _ in range(3000):
        if ask("PING") == "PONG":
            note(STATE + ".json", version=version(), signatures=signatures())
            return ""
        if not os.path.exists("/proc/" + os.environ.get("MAINPID", "self")):
            return 1
        time.sleep(0.1)
    return "the engine answers nobody"


def updated() -> str:
    """How freshclam ended, as systemd tells and the journal has it."""
    words = [
        "--output=cat",
        "--no-pager",
        "--lines=60",
        "_SYSTEMD_INVOCATION_ID=" + os.environ.get("INVOCATION_ID", ""),
    ]
    told = subprocess.run(["journalctl", *words], capture_output=True, text=True).stdout.splitlines()  # noqa: S603, S607
    ok = os.environ.get("SERVICE_RESULT") == "success"
    wrong = [line for word in ("ERROR", "WARNING") for line in told if line.startswith(word)] or told[-1:]
    facts: Dict[str, Any] = {"failed": "" if ok else (wrong[0] if wrong else "freshclam gave no reason")[:300]}
    if ok:
        facts["updated"] = int(time.time())
        facts["outdated"] = any("OUTDATED" in line for line in told)
    note(STATE + ".json", version=version(), signatures=signatures(), **facts)
    return ""


# -- finds ------------------------------------------------------------------------------------------------------


def found() -> str:
    """As clamd tells it, in its environment."""
    name, path = (os.environ.get("CLAM_VIRUSEVENT_" + each, "") for each in ("VIRUSNAME", "FILENAME"))
    one = {"at": int(time.time()), "name": name[:100], "path": path[:1000]}
    with open(FOUND + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        note(FOUND, latest=[one, *said(FOUND).get("latest", [])][:LATEST])
    job = said(FOLDER + "/job.conf")
    if job.get("alert"):
        tell(str(job["alert"]), dict(one, host=job.get("host", "")))
    return ""


def tell(address: str, what: Dict[str, Any]) -> None:
    """Once, and not for long: the engine waits. Whoever reads the host later learns of the find all the same."""
    headers = {"Content-Type": "application/json", "User-Agent": "mspctl"}
    request = urllib.request.Request(address, json.dumps(what).encode(), headers)  # noqa: S310
    try:
        urllib.request.urlopen(request, timeout=5).close()  # noqa: S310
    except (OSError, ValueError) as error:
        sys.stderr.write(f"the find could not be told: {error}\n")


def scan(name: str) -> str:
    """One scan that was declared."""
    what, action = said(f"{FOLDER}/scan-{name}.conf"), said(FOLDER + "/job.conf").get("action")
    begun = int(time.time())
    finds, error = run([str(path) for path in what.get("paths", [])], action == "quarantine")
    note(f"{STATE}-scan-{name}.json", started=begun, ended=int(time.time()), found=finds, error=error)
    return error


def run(paths: List[str], move: bool) -> Tuple[int, str]:
    """How many things were found, and what went wrong."""
    command = ["clamdscan", "--config-file=" + FOLDER + "/clamd.conf", "--fdpass", "--multiscan", "--infected"]
    if move:
        os.makedirs(QUARANTINE, mode=0o700, exist_ok=True)
        command.append("--move=" + QUARANTINE)
    done = subprocess.run([*command, "--no-summary", "--", *paths], capture_output=True, text=True)  # noqa: S603
    lines = (done.stdout + done.stderr).splitlines()
    wrong = [line for line in lines if line.startswith("ERROR") or line.endswith("ERROR")]
    if done.returncode not in (0, 1) and not wrong:
        wrong = lines[-1:] or ["clamdscan failed"]
    return sum(line.endswith(" FOUND") for line in lines), wrong[0][:300] if wrong else ""


DO: Dict[str, Callable[..., Union[int, str]]] = {
    "ready": ready,
    "started": started,
    "updated": updated,
    "found": found,
    "scan": scan,
}
if __name__ == "__main__":
    sys.exit(DO[sys.argv[1]](*sys.argv[2:]) or 0)
