"""
What can be measured of a Linux firewall: its release and updates, whether it waits for a reboot, whether what is loaded
is what the next start loads, and how often each rule was hit.

One small program on the device tells all of it in lines of `key value`. Nothing is installed, asked of an archive, or
written there. What does not follow from what it tells is not known, and never good.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any

from mspctl.driver import Measured, Unmeasured
from mspctl.drivers.nftables.live import Table
from mspctl.kinds import firewall
from mspctl.resource import Id

# The folder of what is loaded at the next start is its argument. A list of packages that nobody can work with says
# nothing, so its lines end with one of their own.
SCRIPT = r"""
LC_ALL=C; export LC_ALL
sed -n 's/^\(ID\|VERSION_ID\|SUPPORT_END\)=/os.\1 /p' /etc/os-release 2>/dev/null
system=$(sed -n 's/^ID=//p' /etc/os-release 2>/dev/null | tr -d '"')
version=$(sed -n 's/^VERSION_ID=//p' /etc/os-release 2>/dev/null | tr -d '"')
[ -z "$version" ] || sed -n "s/^\($version[ ,].*\)/ends \1/p" "/usr/share/distro-info/$system.csv" 2>/dev/null
sed -n 's/^btime /booted /p' /proc/stat
echo "running $(uname -r)"
for each in /boot/vmlinuz-*; do [ ! -e "$each" ] || echo "kernel ${each#/boot/vmlinuz-}"; done
[ ! -e /run/reboot-required ] || echo "required yes"
for each in "$1"/*.json; do [ ! -e "$each" ] || stat -c 'loaded %Y %n' "$each"; done
if command -v apt-get >/dev/null; then
  dpkg-query -W -f 'installed ${Version}\n' nftables 2>/dev/null
  apt-cache policy nftables 2>/dev/null | sed -n 's/^ *Candidate: /candidate /p'
  for each in /var/lib/apt/lists/*Release; do [ ! -e "$each" ] || stat -c 'asked %Z' "$each"; done
  apt-get -qq -s -o Debug::NoLocking=true --with-new-pkgs upgrade 2>/dev/null && echo "counted yes"
fi
exit 0
"""
NO_PACKAGES = Unmeasured("it has no apt-get, and nothing else that we know how to ask for updates")


# End of security support, as Debian's package distro-info-data 0.58+deb12u7 has it: Debian's LTS, Ubuntu's standard
# support. A release that says it itself (os-release(5): SUPPORT_END) is believed; where the device has the package, its
# own is read as well, and the later day counts, because support is prolonged and never cut short.
ENDS: Mapping[str, date] = {
    "debian 8": date(2020, 6, 30),
    "debian 9": date(2022, 6, 30),
    "debian 10": date(2024, 6, 30),
    "debian 11": date(2026, 8, 31),
    "debian 12": date(2028, 6, 30),
    "debian 13": date(2030, 6, 30),
    "ubuntu 18.04": date(2023, 5, 31),
    "ubuntu 20.04": date(2025, 5, 29),
    "ubuntu 22.04": date(2027, 6, 1),
    "ubuntu 24.04": date(2029, 5, 31),
    "ubuntu 25.10": date(2026, 7, 9),
    "ubuntu 26.04": date(2031, 5, 29),
    "ubuntu 26.10": date(2027, 7, 15),
}


@dataclass(slots=True)
class Told:
    """What a device told of itself, by key; keys may come several times."""

    lines: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, out: bytes) -> Told:
        told = cls()
        for line in out.decode(errors="replace").splitlines():
            key, _, value = line.partition(" ")
            told.lines.setdefault(key, []).append(value.strip().strip('"'))
        return told

    def first(self, key: str) -> str:
        return next(iter(self.lines.get(key, ())), "")

    def measured(self, boot_file: str) -> dict[str, Measured]:
        """By what is measured of a device."""
        counted = "counted" in self.lines
        pending = self.lines.get("Inst", [])
        asked = [seconds for each in self.lines.get("asked", ()) if (seconds := _moment(each))]
        apt = "candidate" in self.lines or "installed" in self.lines or counted
        unknown = NO_PACKAGES if not apt else Unmeasured("apt-get could not say which updates are pending")
        return {
            firewall.RELEASE: self._release() or Unmeasured("it does not say which system it is"),
            firewall.SUPPORT: self._support(),
            firewall.INSTALLED: self.first("installed") or NO_PACKAGES,
            firewall.NEWEST: self._newest(),
            firewall.PENDING: len(pending) if counted else unknown,
            firewall.SECURITY: sum("ecurity" in each for each in pending) if counted else unknown,
            firewall.ASKED: max(asked) if asked else Unmeasured("nothing there tells when its archive was asked"),
            firewall.REBOOT: self._reboot(),
            firewall.BOOTED: _moment(self.first("booted")) or Unmeasured("it does not say when it was started"),
            firewall.LOADED: self._loaded(boot_file),
        }

    def _release(self) -> str:
        return f"{self.first('os.ID')} {self.first('os.VERSION_ID')}".strip()

    def _support(self) -> Measured:
        said = self.first("os.SUPPORT_END")
        told = [said] if said else [day for each in self.lines.get("ends", ()) for day in each.split(",")[5:7]]
        ends = [found for each in told if (found := _day(each))]
        if not said and self._release() in ENDS:
            ends.append(ENDS[self._release()])
        if not ends:
            return Unmeasured(f"nobody told how long {self._release() or 'its system'} is supported")
        return datetime.combine(max(ends), time(), UTC)

    def _newest(self) -> Measured:
        found = self.first("candidate")
        return found if found and found != "(none)" else Unmeasured("no archive that it knows has the package nftables")

    def _reboot(self) -> Measured:
        """1: it has to be; 0: it runs the newest kernel that is there."""
        if "required" in self.lines:
            return 1
        running = self.first("running")
        flavour = re.sub(r"^[\d.+~-]*", "", running)
        same = [each for each in self.lines.get("kernel", ()) if re.sub(r"^[\d.+~-]*", "", each) == flavour]
        if not same or not running:
            return Unmeasured("there is no kernel in /boot to compare the running one with")
        return int(max([*same, running], key=_by_number) != running)

    def _loaded(self, boot_file: str) -> Measured:
        for line in self.lines.get("loaded", ()):
            seconds, _, name = line.partition(" ")
            if name == boot_file and (at := _moment(seconds)):
                return at
        return Unmeasured("nothing there tells when the rules were loaded")


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _moment(seconds: str) -> datetime | None:
    return datetime.fromtimestamp(int(seconds), UTC) if seconds.isdecimal() and len(seconds) < 11 else None


def _by_number(version: str) -> list[tuple[int, str]]:
    """Versions as people count: 6.10 comes after 6.9."""
    return [(int(n or 0), text) for n, text in re.findall(r"(\d*)(\D*)", version)]


def saved(table: Table | None, file: bytes | None) -> int:
    """1: the next start loads what is loaded now; 0: it loads something else, or nothing."""
    if table is None or file is None:
        return int(table is None and file is None)
    try:
        commands = [each["add"] for each in json.loads(file)["nftables"] if "add" in each]
        numbered = [_with_handle(each, n) for n, each in enumerate(commands)]
        later = Table.read({"nftables": numbered})
    except (ValueError, KeyError, TypeError, AttributeError):
        return 0
    return int(_said(table) == _said(later))


def _with_handle(item: dict[str, Any], number: int) -> dict[str, Any]:
    return {"rule": {**item["rule"], "handle": number}} if "rule" in item else item


def _said(table: Table) -> object:
    ours = {r.id: r.fields for r in table.resources if "native" not in r.fields}
    raw = (rule.key for id_, group in table.groups.items() if id_.kind == firewall.RAW for rule in group)
    return ours, sorted([*(each.rule.key for each in table.foreign), *raw])


def hits(table: Table) -> Iterator[tuple[Id, int]]:
    """How many packets each rule, forward, policy and default decided about; those without a counter are left out."""
    for id_, group in table.groups.items():
        counters = [each["counter"] for rule in group for each in rule.expr if isinstance(each.get("counter"), dict)]
        if counters:
            yield id_, sum(int(each.get("packets", 0)) for each in counters)
