"""
Load a table so that nobody is locked out: arm, load, log in afresh, confirm.

The device itself takes the change back unless it is told in time that we still get in. A timer and whoever confirms
both rename the same file, and only one of them can. The timer and the load are detached from our connection, which the
new rules may cut at once; and a connection that was open before says nothing about the next one.

The timer holds the old rules in memory, so that neither a full disk nor a hand in its files takes them away. What
cannot be written down for the next start is not confirmed, and neither is a table that is not there any more.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal
from uuid import uuid4

from mspctl.drivers.nftables import boot
from mspctl.errors import Stale, TargetError, Unreachable
from mspctl.fields import Seconds, Text
from mspctl.transports import machine
from mspctl.transports.machine import Machine, Ran, Session

PAUSE = 0.2  # seconds before each attempt to log in
LONGEST_LOGIN = 10  # seconds; one that hangs must leave time for another


class Settings(machine.Settings):
    """How the device is reached, and where it keeps what."""

    confirm_within: Seconds = 60  # after which a change that nobody confirmed takes itself back
    run_folder: Text = "/run/mspctl"  # forgotten when the device starts anew
    boot_folder: Text = "/etc/mspctl"  # what is loaded when it starts
    at_boot: Literal["systemd", "elsewhere"] = "systemd"  # what loads it; elsewhere: not our business


def digest(listed: bytes) -> str:
    """Of a table as nft lists it in JSON; of nothing, where there is none."""
    return hashlib.sha256(listed).hexdigest()


def carry_out(
    device: Machine, session: Session, settings: Settings, table: str, commands: Sequence[Any], before: str
) -> None:
    """
    Load `commands` in one transaction, if the table still has the digest `before`.

    Raises Stale, TargetError when the device refuses them or took them back, Unreachable when it is not known yet.
    """
    token = uuid4().hex
    given = json.dumps({"nftables": [*commands]}).encode()
    place = [settings.run_folder, token, table]
    numbers = [str(settings.confirm_within), str(len(given))]
    armed = session.run(["sh", "-c", _ARM, "sh", *place, before, *numbers, settings.boot_folder], given)
    begun = time.monotonic()
    if armed.code == _CHANGED:
        raise Stale(f"{session.name}: the table was changed on the device since it was read")
    if armed.code:
        raise TargetError(f"{session.name}: the device does not take the rules: {armed.complaint}")
    afresh = device.within(LONGEST_LOGIN)
    stays = "" if any("rule" in command.get("add", {}) for command in commands) else "gone"
    end = _confirm(afresh, [*place, settings.boot_folder, stays], begun + settings.confirm_within)
    if end is not None and end.code == _GONE:
        text = "what waited to be confirmed is gone (did it start anew?); it has the rules that it starts with"
        raise TargetError(f"{session.name}: the new rules were not confirmed: {text}")
    if end is None or end.code == _TAKEN_BACK:
        raise _taken_back(afresh, session.name, place, settings.confirm_within, begun)
    if end.code == _NOT_LOADED:
        raise TargetError(f"{session.name}: the device does not take the rules: {end.complaint}")
    if end.code:
        soon = f"the device takes them back by itself within {settings.confirm_within} s"
        raise TargetError(f"{session.name}: the new rules were not confirmed: {end.complaint}; {soon}")
    if settings.at_boot == "systemd":
        _at_boot(afresh, settings.boot_folder)


def _at_boot(device: Machine, folder: str) -> None:
    """The unit that loads what was written down."""
    with device.session() as session:
        done = session.run(["sh", "-ec", boot.INSTALL, "sh", folder], boot.unit(folder).encode())
    if done.code:
        text = f"the rules are loaded and confirmed, but gone at the next start: {done.complaint}"
        raise TargetError(f"{session.name}: {text}")


def _confirm(device: Machine, place: Sequence[str], until: float) -> Ran | None:
    """Log in afresh and say that all is well; None when nobody could until then."""
    while time.monotonic() < until:
        time.sleep(PAUSE)
        with suppress(Unreachable), device.session() as session:
            ran = session.run(["sh", "-c", _CONFIRM, "sh", *place])
            if ran.code != _TOO_EARLY:
                return ran
    return None


def _taken_back(device: Machine, name: str, place: Sequence[str], window: int, begun: float) -> TargetError:
    """What became of it, once the window is over."""
    over = begun + window
    time.sleep(max(0.0, over - time.monotonic()))
    for _ in range(1 + window):
        try:
            with device.session() as session:
                ran = session.run(["sh", "-c", _FIRED, "sh", *place])
        except Unreachable:
            time.sleep(1)
            continue
        if ran.code == 0:
            text = f"nobody could log in with the new rules, so the device took them back after {window} s"
            return TargetError(f"{name}: {text}")
        return TargetError(f"{name}: the new rules were not confirmed, and it is not known whether they are taken back")
    return Unreachable(f"{name}: no answer since the new rules were loaded; the device was to take them back by itself")


_CHANGED, _TAKEN_BACK, _TOO_EARLY, _GONE, _NOT_LOADED = 72, 73, 74, 75, 76  # exit codes

# Token, seconds, table, folder of what is loaded at the next start. If the files are gone, nobody can have confirmed.
_TIMER = """
old=$(cat "$1.old")
sleep "$2"
if mv "$1.armed" "$1.fired" 2>/dev/null || [ ! -e "$1.over" ]; then :; else rm -f -- "$1".*; exit; fi
printf "%s\n" "$old" | nft -f - || nft -j -f "$4/$3.json"
"""

# folder, token, table, digest of the table, seconds, length of the input, folder of what is loaded at the next start
_ARM = f"""set -eu
umask 077
mkdir -p -m 700 -- "$1"
cd -- "$1"
for other in *.armed; do
  if [ -e "$other" ]; then echo "another change waits to be confirmed" >&2; exit 1; fi
done
trap 'rm -f -- "$2".*' EXIT
cat >"$2.new"
if [ "$(wc -c <"$2.new")" -ne "$6" ]; then echo "cut off" >&2; exit 1; fi
export TZ=UTC
nft -j -c -f "$2.new"
printf 'table inet %s {{}}\ndelete table inet %s\n' "$3" "$3" >"$2.old"
nft list table inet "$3" >>"$2.old" 2>/dev/null || true
nft -c -f "$2.old"
now=$(nft -j -s list table inet "$3" 2>/dev/null | sha256sum)
[ "${{now%% *}}" = "$4" ] || exit {_CHANGED}
: >"$2.armed"
trap - EXIT
exec </dev/null >/dev/null 2>&1
setsid sh -c '{_TIMER}' sh "$2" "$5" "$3" "$7" &
echo $! >"$2.timer"
setsid sh -c 'sleep 0.1; nft -j -f "$1.new" >"$1.out" 2>&1; echo $? >"$1.code"' sh "$2" &
"""

# folder, token, table, folder of what is loaded at the next start, "gone" if no table is to stay. A connection that is
# older than the rules proves nothing, so who comes too early has to come again.
_CONFIRM = f"""set -eu
umask 077
cd -- "$1" 2>/dev/null || exit {_GONE}
[ -e "$2.new" ] || exit {_GONE}
[ -s "$2.code" ] || exit {_TOO_EARLY}
end() {{
  mv "$2.armed" "$2.over" 2>/dev/null || exit {_TAKEN_BACK}
  if kill -- "-$(cat "$2.timer")" 2>/dev/null; then rm -f -- "$2.over"; fi  # else it finds that all is well
}}
forget() {{ rm -f -- "$2.new" "$2.old" "$2.code" "$2.out" "$2.timer"; }}
if [ "$(cat "$2.code")" != 0 ]; then end "$@"; cat "$2.out" >&2; forget "$@"; exit {_NOT_LOADED}; fi
if [ "$5" = gone ]; then
  end "$@"
  rm -f -- "$4/$3.json"
else
  if ! nft list table inet "$3" >/dev/null 2>&1; then echo "somebody took the table away" >&2; exit 1; fi
  mkdir -p -m 700 -- "$4"
  cp -- "$2.new" "$4/.$3.json"
  sync -- "$4/.$3.json"
  end "$@"
  mv -f -- "$4/.$3.json" "$4/$3.json"
fi
forget "$@"
"""

_FIRED = """cd -- "$1" && [ -e "$2.fired" ] && rm -f -- "$2".*"""
