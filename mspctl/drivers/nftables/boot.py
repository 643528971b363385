"""
What is loaded when a device starts: files in one folder, and on a device with systemd a unit that loads them.

The unit comes behind Debian's own `nftables.service`, which begins with an empty rule set, and before the network is
up.
A device without systemd loads the files by its own means or not at all; from here nobody can tell.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

UNIT = "mspctl-firewall.service"
PLACE = f"/etc/systemd/system/{UNIT}"


def unit(folder: str) -> str:
    """The text of the unit that loads every file of a folder; one that fails does not keep the others out."""
    place = shlex.quote(folder).replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    each = r"[ ! -e \"$$f\" ] || nft -j -f \"$$f\" || code=1"
    load = f"code=0; for f in {place}/mspctl-*.json; do {each}; done; exit $$code"
    return f"""\
# mspctl writes this file.
[Unit]
Description=Firewall rules (mspctl)
DefaultDependencies=no
RequiresMountsFor={folder.replace("%", "%%")}
Wants=network-pre.target
Before=network-pre.target shutdown.target
After=nftables.service
PartOf=nftables.service
ReloadPropagatedFrom=nftables.service
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
Environment=TZ=UTC
ExecStart=/bin/sh -c "{load}"
ExecReload=/bin/sh -c "{load}"

[Install]
WantedBy=sysinit.target
"""


@dataclass(frozen=True, slots=True)
class State:
    """How a device is prepared for its next start."""

    systemd: bool
    enabled: str  # as systemctl says it
    digest: str  # of the unit; "" where there is none
    files: frozenset[str]  # in the folder

    @classmethod
    def of(cls, lines: Sequence[str]) -> State:
        """From what SCRIPT prints."""
        said: dict[str, str] = {}
        files = set()
        for line in lines:
            word, _, rest = line.partition(" ")
            said[word] = rest
            if word == "file":
                files.add(rest)
        return cls("systemd" in said, said.get("enabled", ""), said.get("unit", "")[:64], frozenset(files))

    def amiss(self, table: str, folder: str) -> str:
        """Why the rules of a table are not there after the next start; "" if they are."""
        if f"{table}.json" not in self.files:
            return f"{folder}/{table}.json is missing"
        if not self.digest:
            return f"{UNIT} is missing"
        if self.digest != hashlib.sha256(unit(folder).encode()).hexdigest():
            return f"{UNIT} was changed by hand"
        return "" if self.enabled == "enabled" else f"{UNIT} is {self.enabled or 'not enabled'}"


# $1: the folder. A line for each thing.
SCRIPT = f"""
for file in "$1"/mspctl-*.json; do [ ! -e "$file" ] || echo "file ${{file##*/}}"; done
if [ -d /run/systemd/system ]; then
  echo systemd
  echo "enabled $(systemctl is-enabled {UNIT} 2>/dev/null)"
  [ ! -e {PLACE} ] || echo "unit $(sha256sum <{PLACE})"
fi
"""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of systemd that makes something when a device starts."""

    name: str
    suffix: str  # of the files that it is there for
    text: Callable[[str], str]  # of the unit, from the folder of these files

    @property
    def install(self) -> str:
        """$1: the folder; input: the unit. Nothing is done twice, and nothing stays when no such file is left."""
        return _INSTALL.replace("{unit}", self.name).replace("{suffix}", self.suffix)


_INSTALL = """
place=/etc/systemd/system/{unit}
if [ -d /run/systemd/system ]; then
  if [ -n "$(ls -- "$1"/mspctl-*.{suffix} 2>/dev/null)" ]; then
    cat >$place.new
    if ! cmp -s $place.new $place; then mv -f $place.new $place; systemctl daemon-reload; fi
    rm -f $place.new
    systemctl is-enabled -q {unit} 2>/dev/null || systemctl -q enable {unit}
  elif [ -e $place ]; then
    systemctl -q disable {unit}
    rm -f $place
    systemctl daemon-reload
  fi
fi
"""
FIREWALL = Unit(UNIT, "json", unit)
