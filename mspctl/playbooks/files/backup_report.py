"""
Reads what another program says of its backups on this host, and writes it down: `report-<name> <name>`, from its own
timer.

Programs report in files that they write or in mails that they send. FORMATS is how each says that it went well or not;
a new one is a line there. What counts is the newest report that is about a backup; when the last good one was made is
kept, because reports are removed some day.
"""

from __future__ import annotations

import calendar
import email
import email.policy
import email.utils
import glob
import json
import os
import re
import sys
import time
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Pattern, Sequence

FOLDER, STATES = "/etc/mspctl/reports", "/var/lib/mspctl"
LARGEST = 4 * 2**20  # octets of a report
NEWEST = 200  # reports that are looked at
MAIL = re.compile(rb"\A(?:From |[A-Za-z-]+:).*?^\r?\n", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Format:
    """How a program says it, in the subject of a mail or anywhere in its text; `size` has a number and its unit."""

    good: Pattern[str]
    bad: Pattern[str]
    size: Optional[Pattern[str]] = None


def words(text: str) -> Pattern[str]:
    return re.compile(text, re.IGNORECASE | re.MULTILINE)


FORMATS: Dict[str, Format] = {
    # "[Success] Nightly (3 objects)"; a warning is a backup that was made, and says so itself
    "veeam": Format(
        words(r"^\[(Success|Warning)\]"),
        words(r"^\[(Failed|Error)\]"),
        words(r"Backup size\W+([\d.,]+) ?([KMGT]?B)"),
    ),
    # "Backup task [NAS to C2] on nas has completed"; in the languages that mails come in here
    "synology": Format(
        words(r"\b(backup task|attivit\S+ di backup|sicherungsaufgabe)\b.*\b(complet|abgeschlossen)"),
        words(r"\b(failed|non riuscit|fallit|fehlgeschlagen|partially|parzial)"),
    ),
    # the last line of a log of rsync, robocopy and scripts that were told to end so
    "words": Format(words(r"^\W*(OK|SUCCESS(FUL)?|COMPLETED)\b"), words(r"^\W*(ERROR|FAIL(ED|URE)?|FATAL)\b")),
}
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def read(path: str, said: Dict[str, Any]) -> Optional[Dict[str, Any]]:
    """{"when", "ok", "bytes", "what"} of one report; None when it is about something else."""
    with open(path, "rb") as file:
        octets = file.read(LARGEST)
    if said["format"] == "json":
        return from_json(octets)
    when, head, text = int(os.stat(path).st_mtime), "", octets.decode("utf-8", "replace")
    if MAIL.match(octets):
        message = email.message_from_bytes(octets, policy=email.policy.default)
        when, head = sent(message["Date"]) or when, str(message["Subject"] or "")
        body = message.get_body(("plain", "html"))
        text = str(body.get_content()) if body else ""
    if said["about"] and said["about"].lower() not in f"{head}\n{text}".lower():
        return None
    how, looked_at = FORMATS[said["format"]], head or last_line(text)
    bad, good = how.bad.search(looked_at), how.good.search(looked_at)
    if not (bad or good):
        return None
    size = how.size.search(text) if how.size else None
    return {"when": when, "ok": not bad, "bytes": octets_of(size[1], size[2]) if size else 0, "what": looked_at[:200]}


def from_json(octets: bytes) -> Optional[Dict[str, Any]]:
    """{"ended": seconds since 1970 or 2027-03-05T02:30:00+01:00, "ok": true, "bytes": 5, "error": "…"}"""
    try:
        found = json.loads(octets.decode("utf-8"))
        ended, ok = found["ended"], found["ok"]
        when = int(ended) if isinstance(ended, (int, float)) else moment(str(ended))
        size = found.get("bytes", 0)
        what = str(found.get("error", ""))[:200]
        return {"when": when, "ok": ok is True, "bytes": int(size), "what": what or ("ok" if ok is True else "failed")}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def moment(text: str) -> int:
    """Seconds since 1970 of a time with a time zone. Raises ValueError."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:?\d\d)", text)
    if not found:
        raise ValueError(f"{text!r} is no time with a time zone")
    zone = found[3].replace(":", "").replace("Z", "+0000")
    offset = (int(zone[1:3]) * 60 + int(zone[3:5])) * (-60 if zone[0] == "-" else 60)
    return calendar.timegm(time.strptime(f"{found[1]} {found[2]}", "%Y-%m-%d %H:%M:%S")) - offset


def sent(text: Any) -> int:
    try:
        return int(email.utils.parsedate_to_datetime(str(text)).timestamp())
    except (ValueError, TypeError, IndexError):
        return 0


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def octets_of(number: str, unit: str) -> int:
    """Of "1,2" or "1.2" and "GB"; a point or comma in front of three digits is none."""
    plain = re.sub(r"[.,](?=\d{3}\b)", "", number).replace(",", ".")
    return int(float(plain) * UNITS[unit.upper().rstrip("B")])


def judged(found: Sequence[Dict[str, Any]], before: Dict[str, Any]) -> Dict[str, Any]:
    """What is known with these reports, beside what was known."""
    numbers = ("latest", "ended", "bytes", "before")
    state: Dict[str, Any] = {key: before[key] if isinstance(before.get(key), int) else 0 for key in numbers}
    state.update(ok=before.get("ok") is True, error=str(before.get("error", "")))
    for report in sorted(found, key=lambda one: one["when"]):
        if report["when"] <= state["ended"]:
            continue
        state.update(ended=report["when"], ok=report["ok"], error="" if report["ok"] else report["what"])
        if report["ok"]:
            state.update(latest=report["when"])
            if report["bytes"]:
                state.update(before=state["bytes"], bytes=report["bytes"])
    return state


def main(name: str) -> str:
    path = f"{STATES}/report-{name}.json"
    before: Dict[str, Any] = {}
    try:
        with open(path) as file:
            before = dict(json.load(file))
    except (OSError, ValueError, TypeError):
        pass
    with open(f"{FOLDER}/{name}.conf") as file:
        said = json.loads("".join(line for line in file if not line.startswith("#")))
    paths = [each for each in glob.glob(said["files"], recursive=True) if os.path.isfile(each)]
    paths.sort(key=os.path.getmtime)
    found: List[Dict[str, Any]] = []
    for each in paths[-NEWEST:]:
        report = read(each, said)
        if report and report["when"] <= time.time() + 24 * 3600:  # nobody reports from the future
            found.append(report)
    state = dict(judged(found, before), looked=int(time.time()), reports=len(paths))
    os.makedirs(STATES, exist_ok=True)
    with open(path + ".new", "w") as file:
        json.dump(state, file)
    os.replace(path + ".new", path)
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]) or 0)
