"""
Malware is looked for by ClamAV: clamd, clamonacc and freshclam with units and configuration of our own.

Debian's own units of it are switched off, because two engines cost two gigabytes; its own configuration stays as it is
and is not used. What is configured is read out of the files that the programs read, so an exclusion that somebody adds
is seen as one. What was found, scanned and fetched, a program of ours writes down on the host, for findings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from mspctl.driver import Outputs
from mspctl.drivers.hosts.bundle import UNITS, Bundle, Facts, File, Place, Watched, calendar, program, written
from mspctl.errors import TargetError, Unsupported
from mspctl.kinds import antivirus
from mspctl.moments import times
from mspctl.resource import Resource, Value

KINDS = frozenset({antivirus.ENGINE, antivirus.AGENT, antivirus.SCAN})
FOLDER, PROGRAM = "/etc/mspctl/antivirus", "/usr/local/lib/mspctl/antivirus"
CLAMD, FRESHCLAM, JOB = f"{FOLDER}/clamd.conf", f"{FOLDER}/freshclam.conf", f"{FOLDER}/job.conf"
SOCKET, SIGNATURES = "/run/mspctl-antivirus/clamd.ctl", "/var/lib/clamav"
QUARANTINE, STATES, FOUND = "/var/lib/mspctl-quarantine", "/var/lib/mspctl", "/var/lib/mspctl-antivirus"
ENGINE, WATCH, UPDATE = "mspctl-antivirus-engine", "mspctl-antivirus-watch", "mspctl-antivirus-update"
PACKAGES = ("clamav-daemon", "clamav-freshclam", "clamdscan")
QUIET = ("clamav-clamonacc.service", "clamav-daemon.service", "clamav-daemon.socket", "clamav-freshclam.service")
WATCHED = Watched(
    files=(f"{FOLDER}/*.conf", PROGRAM, f"{UNITS}/mspctl-antivirus-*"),
    units=(*QUIET, f"{ENGINE}.service", f"{WATCH}.service"),
    packages=PACKAGES,
    state=(f"{STATES}/antivirus*.json", f"{FOUND}/found.json"),
    named=(f"{FOLDER}/agent-*.conf",),
)
# Looked at by nobody: what is no file, signatures, what was taken away already, and where another product is tried.
NEVER = ("/dev", "/proc", "/sys", SIGNATURES, QUARANTINE, antivirus.TRIED)
OFFICIAL = ("main", "daily", "bytecode")


def accept(resource: Resource) -> None:
    said = resource.fields
    if resource.id.kind == antivirus.SCAN:
        try:
            times(str(said["schedule"]))
        except ValueError as error:
            raise Unsupported(str(error)) from None
        if not said["paths"]:
            raise Unsupported("a scan of nothing")
        return
    if resource.id.kind == antivirus.AGENT:
        if not said["packages"]:
            raise Unsupported("a product without packages")
        return
    if resource.id != antivirus.CLAMAV:
        raise Unsupported(f"there is no engine {resource.id.name} (clamav)")
    if said["action"] not in antivirus.ACTIONS:
        raise Unsupported(f"{said['action']!r} is not what becomes of a find ({' or '.join(antivirus.ACTIONS)})")
    if not (said["official"] or said["own"]):
        raise Unsupported("an engine without signatures")
    if said["own"] and not said["mirror"]:
        raise Unsupported("signatures of one's own come from a mirror")


# -- resources → files ------------------------------------------------------------------------------------------


def bundle(resource: Resource, place: Place) -> Bundle:
    head = f"# {place.mark}\n"
    if resource.id.kind == antivirus.SCAN:
        return _scan(resource, head)
    said = resource.fields
    if resource.id.kind == antivirus.AGENT:
        kept = {key: _several(said[key]) for key in ("packages", "services")}
        files = [File(f"{FOLDER}/agent-{resource.id.name}.conf", f"{head}{json.dumps(kept, indent=1)}\n")]
        return Bundle(files, (), kept["packages"], services=kept["services"], parting=kept["packages"])
    texts = {
        CLAMD: _clamd(resource),
        FRESHCLAM: _freshclam(resource),
        JOB: json.dumps({"action": said["action"], "alert": said["alert"], "host": place.host}, indent=1) + "\n",
        PROGRAM: program("antivirus_job"),
        f"{UNITS}/{ENGINE}.service": _ENGINE_UNIT,
        f"{UNITS}/{UPDATE}.service": _UPDATE_UNIT,
        f"{UNITS}/{UPDATE}.timer": _update_timer(said["every"]),
    }
    services = [f"{ENGINE}.service"]
    if said["on_access"]:
        texts[f"{UNITS}/{WATCH}.service"] = _watch_unit(str(said["action"]))
        services.append(f"{WATCH}.service")
    files = [File(path, head + text) for path, text in texts.items()]
    return Bundle(files, [f"{UPDATE}.timer"], PACKAGES, services=services, quiet=QUIET)


def _several(value: Value) -> list[str]:
    return sorted(value) if isinstance(value, frozenset) else []


def _switch(value: Value) -> str:
    return "yes" if value else "no"


def _clamd(resource: Resource) -> str:
    said = resource.fields
    watched, excluded = _several(said["on_access"]), _several(said["exclude"])
    return "".join(
        [
            f"LocalSocket {SOCKET}\nLocalSocketMode 660\nFixStaleSocket yes\nDatabaseDirectory {SIGNATURES}\n",
            f"MaxFileSize {said['max_file']}M\nMaxScanSize {said['max_scan']}M\nMaxRecursion {said['depth']}\n",
            f"VirusEvent /usr/bin/python3 {PROGRAM} found\n",
            *(f"ExcludePath {_pattern(path)}\n" for path in (*NEVER, *excluded)),
            *(f"OnAccessIncludePath {path}\n" for path in watched),
            *(f"OnAccessExcludePath {path}\n" for path in excluded if path.startswith("/")),
            f"OnAccessPrevention {_switch(said['prevent'])}\nOnAccessExtraScanning yes\nOnAccessExcludeUname clamav\n",
        ]
    )


def _pattern(path: str) -> str:
    """What lies at or below a path, as an extended regular expression; what is no path is one already."""
    plain = re.sub(r"([.+])", r"[\1]", path)
    return f"^{plain}(/|$)" if path.startswith("/") else path


def _path(pattern: str) -> str:
    """The other way round."""
    found = re.fullmatch(r"\^(/.*)\(/\|\$\)", pattern)
    path = re.sub(r"\[([.+])\]", r"\1", found[1]) if found else pattern
    return path if found and _pattern(path) == pattern else pattern


def _freshclam(resource: Resource) -> str:
    said = resource.fields
    mirror = str(said["mirror"])
    return "".join(
        [
            f"DatabaseDirectory {SIGNATURES}\nNotifyClamd {CLAMD}\nConnectTimeout 10\nReceiveTimeout 600\n",
            f"PrivateMirror {mirror}\nScriptedUpdates no\n" if mirror else "DatabaseMirror database.clamav.net\n",
            *(f"DatabaseCustomURL {mirror}/{name}\n" for name in _several(said["own"])),
            *(f"ExcludeDatabase {name}\n" for name in (() if said["official"] else OFFICIAL)),
        ]
    )


# Debian's profiles for AppArmor know Debian's configuration only, and let clamd look into homes alone.
_FREE = "AppArmorProfile=-unconfined\n"
_ENGINE_UNIT = (
    "[Unit]\nDescription=Malware: the engine\nStartLimitIntervalSec=0\n"
    f"Wants={UPDATE}.service\nAfter={UPDATE}.service network.target\n\n"
    "[Service]\nUser=clamav\nGroup=clamav\n"
    "RuntimeDirectory=mspctl-antivirus\nStateDirectory=mspctl-antivirus\nStateDirectoryMode=0750\n"
    f"ExecStartPre=+/usr/bin/python3 {PROGRAM} ready\n"
    f"ExecStart=/usr/sbin/clamd --foreground --config-file={CLAMD}\n"
    f"ExecStartPost=+/usr/bin/python3 {PROGRAM} started\n"
    f"ExecReload=/bin/kill -USR2 $MAINPID\nRestart=on-failure\nRestartSec=30\nTimeoutStartSec=420\n{_FREE}\n"
    "[Install]\nWantedBy=multi-user.target\n"
)
_UPDATE_UNIT = (
    "[Unit]\nDescription=Malware: signatures\nStartLimitIntervalSec=0\n"
    "Wants=network-online.target\nAfter=network-online.target\n\n"
    "[Service]\nType=oneshot\nUser=clamav\nGroup=clamav\n"
    f"ExecStart=/usr/bin/freshclam --stdout --config-file={FRESHCLAM}\n"
    f"ExecStopPost=+/usr/bin/python3 {PROGRAM} updated\nTimeoutStartSec=900\n{_FREE}"
)


def _update_timer(every: Value) -> str:
    return (
        "[Unit]\nDescription=Malware: signatures\n\n"
        f"[Timer]\nOnActiveSec={every}s\nOnUnitActiveSec={every}s\nRandomizedDelaySec=10min\n\n"
        "[Install]\nWantedBy=timers.target\n"
    )


def _watch_unit(action: str) -> str:
    move = f" --move={QUARANTINE}" if action == "quarantine" else ""
    return (
        "[Unit]\nDescription=Malware: files as they are opened\nStartLimitIntervalSec=0\n"
        f"Requires={ENGINE}.service\nAfter={ENGINE}.service\n\n"
        f"[Service]\nExecStartPre=/usr/bin/install -d -m 700 {QUARANTINE}\n"
        f"ExecStart=/usr/sbin/clamonacc --foreground --fdpass --config-file={CLAMD}{move}\n"
        "Restart=on-failure\nRestartSec=30\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


def _scan(resource: Resource, head: str) -> Bundle:
    name, said = resource.id.name, resource.fields
    unit = f"{UNITS}/mspctl-antivirus-scan-{name}"
    plain = {"paths": _several(said["paths"]), "schedule": said["schedule"], "timezone": said["timezone"]}
    try:
        when = calendar(*times(str(said["schedule"])), str(said["timezone"]))
    except ValueError:
        when = ""
    service = (
        f"[Unit]\nDescription=Malware: scan {name}\nWants={ENGINE}.service\nAfter={ENGINE}.service\n\n"
        "[Service]\nType=oneshot\nNice=15\nIOSchedulingClass=idle\n"
        f"ExecStart=/usr/bin/python3 {PROGRAM} scan {name}\n"
    )
    timer = (
        f"[Unit]\nDescription=Malware: scan {name}\n\n"
        f"[Timer]\nOnCalendar={when}\nPersistent=true\nRandomizedDelaySec=600\nFixedRandomDelay=true\n\n"
        "[Install]\nWantedBy=timers.target\n"
    )
    files = [
        File(f"{FOLDER}/scan-{name}.conf", head + json.dumps(plain, indent=1, ensure_ascii=False) + "\n"),
        File(f"{unit}.service", head + service),
        File(f"{unit}.timer", head + timer),
    ]
    return Bundle(files, [f"mspctl-antivirus-scan-{name}.timer"])


# -- facts → resources ------------------------------------------------------------------------------------------


def parse(facts: Facts) -> Iterator[Resource]:
    files: Mapping[str, Mapping[str, str]] = facts["files"]
    if CLAMD in files:
        yield antivirus.engine(_engine(files))
    for path, file in files.items():
        name = PurePosixPath(path).stem.removeprefix("agent-")
        if path == f"{FOLDER}/agent-{name}.conf":
            yield antivirus.agent(name, *_named(path, file["text"]))
        name = PurePosixPath(path).stem.removeprefix("scan-")
        if path == f"{FOLDER}/scan-{name}.conf":
            said = written(path, file["text"])
            if not isinstance(said.get("paths"), list):
                raise TargetError(f"{path} is not what mspctl wrote there (paths)")
            when: dict[str, Value] = {key: str(said.get(key, "")) for key in ("schedule", "timezone")}
            yield antivirus.scan(name, {"paths": frozenset(map(str, said["paths"])), **when})


def _engine(files: Mapping[str, Mapping[str, str]]) -> dict[str, Value]:
    engine, fetch = _options(files, CLAMD), _options(files, FRESHCLAM)
    job = written(JOB, files[JOB]["text"]) if JOB in files else {}
    mirror = fetch.get("PrivateMirror", [""])[-1]
    return {
        "on_access": frozenset(engine.get("OnAccessIncludePath", [])),
        "prevent": _last(engine, "OnAccessPrevention") == "yes",
        "exclude": _excluded(files),
        "action": str(job.get("action", "")),
        "max_file": _number(engine, "MaxFileSize"),
        "max_scan": _number(engine, "MaxScanSize"),
        "depth": _number(engine, "MaxRecursion"),
        "mirror": mirror,
        "own": frozenset(url.removeprefix(f"{mirror}/") for url in fetch.get("DatabaseCustomURL", [])),
        "official": not set(OFFICIAL) <= {*fetch.get("ExcludeDatabase", [])},
        "every": _every(files),
        "alert": str(job.get("alert", "")),
    }


def _named(path: str, text: str) -> tuple[list[str], list[str]]:
    said = written(path, text)
    found = [said.get(key) for key in ("packages", "services")]
    if not all(isinstance(each, list) for each in found):
        raise TargetError(f"{path} is not what mspctl wrote there (packages, services)")
    packages, services = ([str(one) for one in each or ()] for each in found)
    return packages, services


def _excluded(files: Mapping[str, Mapping[str, str]]) -> frozenset[str]:
    """What nobody looks at, but for what nobody ever should."""
    said = _options(files, CLAMD)
    excluded = [_path(each) for each in said.get("ExcludePath", [])]
    for each in NEVER:
        if each in excluded:
            excluded.remove(each)
    return frozenset(excluded) | {*said.get("OnAccessExcludePath", [])}


def _options(files: Mapping[str, Mapping[str, str]], path: str) -> dict[str, list[str]]:
    """What a file of ClamAV says, by name; none where there is none."""
    found: dict[str, list[str]] = {}
    for line in files[path]["text"].splitlines() if path in files else ():
        if line.strip() and not line.startswith("#"):
            name, _, value = line.strip().partition(" ")
            found.setdefault(name, []).append(value.strip())
    return found


def _last(said: Mapping[str, list[str]], name: str) -> str:
    return said.get(name, [""])[-1]


def _number(said: Mapping[str, list[str]], name: str) -> int:
    found = re.match(r"\d{1,9}", _last(said, name))
    return int(found[0]) if found else 0


def _every(files: Mapping[str, Mapping[str, str]]) -> int:
    found = re.search(r"^OnUnitActiveSec=(\d{1,9})s$", files.get(f"{UNITS}/{UPDATE}.timer", {}).get("text", ""), re.M)
    return int(found[1]) if found else 0


# -- what findings want to know ---------------------------------------------------------------------------------


def known(facts: Facts) -> Outputs:
    """
    `engine` and `watch`: whether they run. `version`: of the engine that runs, `installed`: of its package. Times are
    seconds since 1970, 0 for never: `signatures` (how new the newest is), `updated`. `failed`: why the last update did
    not work. `outdated`: freshclam calls the engine too old. `exclude`: what is left out. `found`: the latest,
    "<seconds> <name> <path>". `scan <name> …`: `ended`, `error`, `found` (how many); `since`: when it was set up, or
    set up otherwise.
    """
    if CLAMD not in facts["files"]:
        return {}
    state = _state(facts, f"{STATES}/antivirus.json")
    found: dict[str, Value] = {
        "engine": facts["units"].get(f"{ENGINE}.service", {}).get("active") == "active",
        "watch": facts["units"].get(f"{WATCH}.service", {}).get("active") == "active",
        "installed": facts["packages"].get("clamav-daemon", ""),
        "version": _short(state.get("version")),
        "signatures": _seconds(state.get("signatures")),
        "updated": _seconds(state.get("updated")),
        "failed": _short(state.get("failed")),
        "outdated": state.get("outdated") is True,
        "exclude": tuple(sorted(_excluded(facts["files"]))),
        "found": tuple(_finds(_state(facts, f"{FOUND}/found.json").get("latest"))),
    }
    for path in facts["state"]:
        name = PurePosixPath(path).stem.removeprefix("antivirus-scan-")
        if path == f"{STATES}/antivirus-scan-{name}.json":
            ran = _state(facts, path)
            found[f"scan {name} ended"] = _seconds(ran.get("ended"))
            found[f"scan {name} error"] = _short(ran.get("error"))
            found[f"scan {name} found"] = _seconds(ran.get("found"))
    for path in facts["files"]:
        name = PurePosixPath(path).stem.removeprefix("scan-")
        if path == f"{FOLDER}/scan-{name}.conf":
            parts = (path, f"{UNITS}/mspctl-antivirus-scan-{name}.timer")
            found[f"scan {name} since"] = max(_seconds(facts["files"].get(each, {}).get("time")) for each in parts)
    return found


def _state(facts: Facts, path: str) -> Mapping[str, object]:
    said = facts["state"].get(path)
    return said if isinstance(said, dict) else {}


def _short(value: object) -> str:
    text = " ".join(str(value).split()) if isinstance(value, str) else ""
    return "".join(each for each in text if each.isprintable())[:300]


def _seconds(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _finds(latest: object) -> Iterator[str]:
    for each in latest if isinstance(latest, list) else ():
        if isinstance(each, dict):
            yield f"{_seconds(each.get('at'))} {_short(each.get('name')) or '?'} {_short(each.get('path')) or '?'}"
