"""
Patching with Debian's own unattended-upgrades, from a timer of ours.

`mspctl-patching.timer` starts in the window, at a moment that is the host's own, and is never made up for outside it.
APT's own timers are switched off in APT's configuration, so nothing is installed at other times. What is configured is
read as APT sees it in the end: a line in another file counts like one in ours. What is pending is counted by a job on
the host, every six hours, because it takes seconds; it says when the archive was asked last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mspctl.driver import Outputs
from mspctl.drivers.hosts.bundle import UNITS, Bundle, Facts, File, Place, Watched, calendar, program
from mspctl.errors import TargetError, Unsupported
from mspctl.kinds import patching
from mspctl.moments import Window
from mspctl.resource import Resource, Value

KINDS = frozenset({patching.POLICY, patching.WINDOW, patching.HOLD})
CONFIG = "/etc/apt/apt.conf.d/99mspctl-patching"
COUNTER = "/usr/local/lib/mspctl/patching-facts"
STATE, INSTALLED = "/var/lib/mspctl/patching.json", "/var/lib/mspctl/patching-installed.json"
RUN, COUNT = "mspctl-patching", "mspctl-patching-facts"
TIMER = f"{UNITS}/{RUN}.timer"
INSTALLS, ZONES = "unattended-upgrades", "tzdata"  # the window is in the customer's time zone
WATCHED = Watched(
    files=(CONFIG, COUNTER, *(f"{UNITS}/{name}.{kind}" for name in (RUN, COUNT) for kind in ("service", "timer"))),
    units=(f"{RUN}.timer", f"{COUNT}.timer", f"{RUN}.service", f"{COUNT}.service"),
    packages=(INSTALLS, ZONES),
    apt=("Unattended-Upgrade::", "APT::Periodic::"),
    state=(STATE, INSTALLED),
)

# Off: apt-daily.timer and apt-daily-upgrade.timer still run apt.systemd.daily, which does nothing then.
APT_TIMERS = ("APT::Periodic::Enable", "0")

# What unattended-upgrades takes for a security update, on Debian before and since 11; and everything.
ORIGINS = {
    "security": (
        "origin=Debian,codename=${distro_codename},label=Debian-Security",
        "origin=Debian,codename=${distro_codename}-security,label=Debian-Security",
    ),
    "all": ("origin=*",),
}
# Automatic-Reboot, Automatic-Reboot-WithUsers
REBOOT = {
    "never": ("false", "false"),
    "if needed": ("true", "true"),
    "if needed and nobody is logged in": ("true", "false"),
}
_WHEN = re.compile(r"^# Window: (.+), in (\S+)$", re.MULTILINE)


def accept(resource: Resource) -> None:
    fields = resource.fields
    if resource.id.kind == patching.HOLD and fields.get("held") is not True:
        raise Unsupported("a package is held, or nothing is said of it")
    if resource.id.kind == patching.POLICY:
        if fields["what"] not in ORIGINS:
            raise Unsupported(f"{fields['what']!r} is not what can be installed ({' or '.join(ORIGINS)})")
        if fields["reboot"] not in REBOOT:
            raise Unsupported(f"{fields['reboot']!r} is no time for a reboot ({', '.join(REBOOT)})")
    if resource.id.kind == patching.WINDOW:
        try:
            Window.parse(str(fields["hours"]))
        except ValueError as error:
            raise Unsupported(str(error)) from None


# -- resources → files ------------------------------------------------------------------------------------------


def bundle(resource: Resource, place: Place) -> Bundle:
    said = {name: str(value) for name, value in resource.fields.items()}
    if resource.id.kind == patching.HOLD:
        return Bundle(holds=[resource.id.name])
    if resource.id.kind == patching.POLICY:
        return Bundle([File(CONFIG, _headed(CONFIG, _config(said), place))], packages=[INSTALLS], apt=[APT_TIMERS])
    texts = {
        COUNTER: program("patching_facts"),
        f"{UNITS}/{RUN}.service": _service(said["hours"]),
        TIMER: _timer(said["hours"], said["timezone"]),
        f"{UNITS}/{COUNT}.service": _COUNT_SERVICE,
        f"{UNITS}/{COUNT}.timer": _COUNT_TIMER,
    }
    files = [File(path, _headed(path, text, place)) for path, text in texts.items()]
    return Bundle(files, [f"{RUN}.timer", f"{COUNT}.timer"], [ZONES])


def _headed(path: str, text: str, place: Place) -> str:
    return f"{'//' if path == CONFIG else '#'} {place.mark}\n{text}"


def _config(said: dict[str, str]) -> str:
    origins = ORIGINS.get(said["what"]) or tuple(said["what"].split(" | "))
    reboot, crowded = REBOOT.get(said["reboot"], (said["reboot"], "?"))
    return "".join(
        [
            f'{APT_TIMERS[0]} "{APT_TIMERS[1]}";  // mspctl-patching.timer does it\n',
            "#clear Unattended-Upgrade::Allowed-Origins;\n",
            "#clear Unattended-Upgrade::Origins-Pattern;\n",
            *(f'Unattended-Upgrade::Origins-Pattern:: "{origin}";\n' for origin in origins),
            f'Unattended-Upgrade::Automatic-Reboot "{reboot}";\n',
            f'Unattended-Upgrade::Automatic-Reboot-WithUsers "{crowded}";\n',
            'Unattended-Upgrade::Automatic-Reboot-Time "now";\n',
            'Unattended-Upgrade::MinimalSteps "true";  // so that it can be stopped between packages\n',
        ]
    )


def _window(text: str) -> Window | None:
    try:
        return Window.parse(text)
    except ValueError:
        return None


def _timer(text: str, timezone: str) -> str:
    window = _window(text)
    if window is None:
        return f"# Window: {text}, in {timezone}\n"
    spread = min(1800, int(window.length.total_seconds()) // 4)
    return (
        f"# Window: {text}, in {timezone}\n"
        "[Unit]\nDescription=Updates in their window\n\n"
        f"[Timer]\nOnCalendar={calendar(window.days, window.start, timezone)}\n"
        f"RandomizedDelaySec={spread}\nFixedRandomDelay=true\n\n"
        "[Install]\nWantedBy=timers.target\n"
    )


def _service(text: str) -> str:
    window = _window(text)
    length = int(window.length.total_seconds()) if window else 3600
    return (
        "[Unit]\nDescription=Updates, as unattended-upgrades installs them\n"
        "Wants=network-online.target\nAfter=network-online.target\n\n"
        "[Service]\nType=oneshot\nNice=10\n"
        f"ExecStartPre=-/usr/bin/python3 {COUNTER} began\n"
        "ExecStart=/usr/bin/unattended-upgrade\n"
        f"ExecStartPost=-/usr/bin/python3 {COUNTER} ended\n"
        f"ExecStartPost=-/usr/bin/python3 {COUNTER}\n"
        f"# Also when it fails, or the host goes down because of it.\nExecStopPost=-/usr/bin/python3 {COUNTER} ended\n"
        f"# The window is over then: it ends with the package at hand.\nTimeoutStartSec={length}\n"
        "TimeoutStopSec=1800\nKillMode=mixed\n"
    )


_COUNT_SERVICE = (
    "[Unit]\nDescription=Count updates that are pending\nWants=network-online.target\nAfter=network-online.target\n\n"
    f"[Service]\nType=oneshot\nNice=10\nExecStart=/usr/bin/python3 {COUNTER}\n"
)
_COUNT_TIMER = (
    "[Unit]\nDescription=Count updates that are pending\n\n"
    "[Timer]\nOnActiveSec=2min\nOnBootSec=5min\nOnUnitActiveSec=6h\nRandomizedDelaySec=5min\n\n"
    "[Install]\nWantedBy=timers.target\n"
)


# -- facts → resources ------------------------------------------------------------------------------------------


def parse(facts: Facts) -> Iterator[Resource]:
    if not facts["apt"]:
        raise TargetError("APT says nothing of its configuration")
    yield from (patching.hold(name) for name in facts["held"])
    if CONFIG in facts["files"]:
        yield patching.policy(_what(facts), _reboot(facts))
    if TIMER in facts["files"]:
        found = _WHEN.search(facts["files"][TIMER]["text"])
        yield patching.window(found[1] if found else "", found[2] if found else "")


def _what(facts: Facts) -> str:
    """As APT sees it, so that what another file adds is seen."""
    found = facts["apt"].get("unattended-upgrade::origins-pattern", [])
    found = [*found, *(f"allowed {each}" for each in facts["apt"].get("unattended-upgrade::allowed-origins", []))]
    return next((what for what, origins in ORIGINS.items() if [*origins] == found), " | ".join(found) or "nothing")


def _reboot(facts: Facts) -> str:
    reboot = _said(facts, "automatic-reboot", "false")
    crowded = _said(facts, "automatic-reboot-withusers", "true")
    if reboot == "false":
        return "never"
    return next((words for words, said in REBOOT.items() if said == (reboot, crowded)), reboot)


def _said(facts: Facts, name: str, otherwise: str) -> str:
    values = facts["apt"].get(f"unattended-upgrade::{name}", [])
    return str(values[-1]).lower() if values else otherwise


def known(facts: Facts) -> Outputs:
    """
    Counts are -1 when nobody could count; times are seconds since 1970, 0 for never. `installed`: what the installation
    that began at `logged` did, "<package> <version before> <version now>", with - for none. `history`: the same of
    those before it too, the time in front.
    """
    state = facts["state"].get(STATE)
    state = state if isinstance(state, dict) else {}
    counted: dict[str, Value] = {name: _number(state.get(name), -1) for name in ("pending", "security")}
    times: dict[str, Value] = {name: _number(state.get(name), 0) for name in ("at", "asked", "since", "began")}
    active = facts["units"].get(f"{RUN}.service", {}).get("active")
    now = {"failed": active == "failed", "running": active in ("activating", "deactivating")}
    runs = [*_runs(facts["state"].get(INSTALLED))]
    began, packages = runs[-1] if runs else (0, [])
    history = tuple(f"{when} {each}" for when, some in runs for each in some)
    done: dict[str, Value] = {"logged": began, "installed": tuple(packages), "history": history}
    return counted | times | now | done | {"reboot": bool(facts["reboot"]), "boot": str(facts.get("boot", ""))}


def _runs(state: object) -> Iterator[tuple[int, list[str]]]:
    runs = state.get("runs") if isinstance(state, dict) else None
    for run in runs if isinstance(runs, list) else ():
        if isinstance(run, dict):
            yield _number(run.get("began"), 0), [*_installed(run.get("packages"))]


def _installed(packages: object) -> Iterator[str]:
    for each in packages if isinstance(packages, list) else ():
        if isinstance(each, list) and len(each) == 3:
            yield " ".join("".join(str(word).split()) or "-" for word in each)


def _number(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise
