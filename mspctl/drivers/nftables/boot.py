"""
What is loaded when a device starts: files in one folder, and on a device with systemd a unit that loads them. Beside
each file is its digest, so that one which somebody changed is told.

The unit comes behind Debian's own `nftables.service`, which begins with an empty rule set, and before the network is
up.
A device without systemd loads the files by its own means or not at all; from here nobody can tell.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

UNIT = "mspctl-firewall.service"
_UNITS = "/etc/systemd/system"
PLACE = f"{_UNITS}/{UNIT}"


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
class Unit:
    """A unit of systemd that makes something when a device starts."""

    name: str
    suffix: str  # of the files that it is there for
    text: Callable[[str], str]  # of the unit, from the folder of these files
    program: str = ""  # what it runs, in that folder
    says: Callable[[str], str] = str  # its text

    def made(self, folder: str) -> Iterator[tuple[str, str, str]]:
        """What it consists of: path, name and digest of each file."""
        place = f"{_UNITS}/{self.name}"
        yield place, self.name, _digest(self.text(folder))
        if self.program:
            place = f"{folder}/{self.program}"
            yield place, place, _digest(self.says(folder))

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


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(slots=True)
class State:
    """How a device is prepared for its next start."""

    systemd: bool = False
    enabled: dict[str, str] = field(default_factory=dict)  # by unit, as systemctl says it
    digests: dict[str, str] = field(default_factory=dict)  # of units and what they run, by path
    files: set[str] = field(default_factory=set)  # in the folder
    edited: set[str] = field(default_factory=set)  # of these
    unguarded: set[str] = field(default_factory=set)  # tables with a change that nobody confirmed or takes back

    @classmethod
    def of(cls, lines: Sequence[str]) -> State:
        """From what `asked`, and `UNGUARDED` of `commit.py`, print."""
        found = cls("systemd" in lines)
        for line in lines:
            word, _, rest = line.partition(" ")
            first, _, more = rest.partition(" ")
            if word == "enabled":
                found.enabled[first] = more
            elif word == "digest":
                found.digests[more] = first
            elif word in ("file", "edited", "unguarded"):
                {"file": found.files, "edited": found.edited, "unguarded": found.unguarded}[word].add(rest)
        return found

    def amiss(self, unit: Unit, table: str, folder: str) -> Iterator[str]:
        """Why what a unit makes of a table's file is not there after the next start."""
        if not self.systemd:
            return
        file = f"{table}.{unit.suffix}"
        if file not in self.files:
            yield f"{folder}/{file} is missing"
        elif file in self.edited:
            yield f"{folder}/{file} was changed by hand"
        for place, name, digest in unit.made(folder):
            if self.digests.get(place) != digest:
                yield f"{name} {'was changed by hand' if place in self.digests else 'is missing'}"
            elif name == unit.name and (said := self.enabled.get(name)) != "enabled":
                yield f"{name} is {said or 'not enabled'}"


def asked(units: Sequence[Unit]) -> str:
    """What prints how a device is prepared, a line for each thing. $1: the folder."""
    places = " ".join(
        [*(f"{_UNITS}/{each.name}" for each in units), *(f'"$1/{u.program}"' for u in units if u.program)]
    )
    suffixes = " ".join(f'"$1"/mspctl-*.{each.suffix}' for each in units)
    return f"""
for file in {suffixes}; do
  [ -e "$file" ] || continue
  echo "file ${{file##*/}}"
  [ ! -e "$file.sum" ] || [ "$(cat "$file.sum")" = "$(sha256sum <"$file")" ] || echo "edited ${{file##*/}}"
done
if [ -d /run/systemd/system ]; then
  echo systemd
  for unit in {" ".join(each.name for each in units)}; do
    echo "enabled $unit $(systemctl is-enabled $unit 2>/dev/null)"
  done
  for file in {places}; do [ ! -e "$file" ] || echo "digest $(sha256sum <"$file" | cut -d " " -f 1) $file"; done
fi
"""
