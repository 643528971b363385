"""
Load a table, or a tunnel, so that nobody is locked out: arm, load, log in afresh, confirm.

The device itself takes the change back unless it is told in time that we still get in. A timer and whoever confirms
both rename the same file, and only one of them can. The timer and the load are detached from our connection, which the
new rules may cut at once; and a connection that was open before says nothing about the next one.

The timer holds the old rules in memory, so that neither a full disk nor a hand in its files takes them away. It begins
the load itself, so that it can end one that still runs when the window is over: what lands late would land on top of
the old rules. What cannot be written down for the next start is not confirmed, and neither is a table that is not there
any more.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal
from uuid import uuid4

from mspctl.drivers.nftables import boot
from mspctl.errors import Stale, TargetError, Unreachable
from mspctl.fields import Seconds, Text
from mspctl.transports import machine
from mspctl.transports.machine import Machine, Ran, Session

PAUSE = 0.2  # seconds before each attempt to log in
TRIES = 600  # a second apart, to take a change back; a program may be missing while it is updated
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


@dataclass(frozen=True)
class Way:
    """
    How one kind of thing is loaded, in shell, without single quotes. What is given is in `$2.new` (for `load`, `undo`
    and `prepare` in `$1.new`), what was there in `$2.old` and, for `undo`, in $old; `$3` is the table's name.
    """

    name: str  # in what we say of it
    thing: str  # what all of it is in
    suffix: str  # of the file that is loaded at the next start
    check: str  # ends with an error if it cannot be loaded
    old: str  # writes what is there, as `undo` takes it
    now: str  # prints what `before` is the digest of
    load: str  # runs in a session of its own, which is ended with all that is in it if it takes too long
    undo: str  # is tried again until it succeeds
    stands: str  # whether it is there
    unit: boot.Unit
    program: str = ""  # "$8" in `check`, `old` and `now`, "$5" in the others, where "$4" is what "$7" is there
    prepare: str = ""  # what the timer looks up before it waits

    @cached_property
    def checked(self) -> str:
        return _GIVEN.replace("{check}", self.check)

    @cached_property
    def arm(self) -> str:
        timer = _TIMER.replace("{undo}", self.undo).replace("{prepare}", self.prepare)
        script = _ARM.replace("{timer}", timer)
        for name in ("check", "old", "now", "load"):
            script = script.replace(f"{{{name}}}", getattr(self, name))
        return script

    @cached_property
    def confirm(self) -> str:
        script = _CONFIRM.replace("{stands}", self.stands)
        return script.replace("{suffix}", self.suffix).replace("{thing}", self.thing)


TABLE = Way(
    name="rules",
    thing="table",
    suffix="json",
    check='nft -j -c -f "$2.new"',
    old="""printf "table inet %s {}\\ndelete table inet %s\\n" "$3" "$3" >"$2.old"
nft list table inet "$3" >>"$2.old" 2>/dev/null || true
nft -c -f "$2.old\"""",
    now='nft -j -s list table inet "$3" 2>/dev/null',
    load='nft -j -f "$1.new"',
    undo='printf "%s\\n" "$old" | nft -f - || nft -j -f "$4/$3.json"',
    stands='nft list table inet "$3" >/dev/null 2>&1',
    unit=boot.FIREWALL,
)


def in_json(commands: Sequence[Any]) -> bytes:
    """What nft is given."""
    return json.dumps({"nftables": [*commands]}).encode()


def check(session: Session, settings: Settings, way: Way, table: str, given: bytes) -> None:
    """Whether the device would take what is `given`, as far as that can be told beforehand. Raises TargetError."""
    place = [settings.run_folder, uuid4().hex, table, ""]
    numbers = [str(settings.confirm_within), str(len(given))]
    words = ["sh", "-c", way.checked, "sh", *place, *numbers, settings.boot_folder, way.program]
    if (ran := session.run(words, given)).code:
        raise TargetError(f"{session.name}: the device does not take the {way.name}: {ran.complaint}")


def carry_out(
    device: Machine, session: Session, settings: Settings, way: Way, table: str, given: bytes, before: str, stays: bool
) -> None:
    """
    Load what is `given` in one transaction, if what is there still has the digest `before`. `stays`: else nothing is
    to be there.

    Raises Stale, TargetError when the device refuses it or took it back, Unreachable when that is not known yet.
    """
    token = uuid4().hex
    place = [settings.run_folder, token, table]
    numbers = [str(settings.confirm_within), str(len(given))]
    words = ["sh", "-c", way.arm, "sh", *place, before, *numbers, settings.boot_folder, way.program]
    armed = session.run(words, given)
    begun = time.monotonic()
    if armed.code == _CHANGED:
        raise Stale(f"{session.name}: the {way.thing} was changed on the device since it was read")
    if armed.code:
        raise TargetError(f"{session.name}: the device does not take the {way.name}: {armed.complaint}")
    afresh = device.within(LONGEST_LOGIN)
    more = [settings.boot_folder, "" if stays else "gone"]
    end = _confirm(afresh, [*place, *more], begun + settings.confirm_within, way.confirm)
    if end is not None and end.code == _GONE:
        text = "what waited to be confirmed is gone (did it start anew?); it has what it starts with"
        raise TargetError(f"{session.name}: the new {way.name} were not confirmed: {text}")
    if end is None or end.code in (_TAKEN_BACK, _TOO_EARLY):
        late = end is not None and end.code == _TOO_EARLY
        raise _taken_back(afresh, session.name, way.name, place, settings.confirm_within, begun, late=late)
    if end.code == _NOT_LOADED:
        raise TargetError(f"{session.name}: the device does not take the {way.name}: {end.complaint}")
    if end.code:
        soon = f"the device takes them back by itself within {settings.confirm_within} s"
        raise TargetError(f"{session.name}: the new {way.name} were not confirmed: {end.complaint}; {soon}")
    if settings.at_boot == "systemd":
        _at_boot(afresh, settings.boot_folder, way)


def _at_boot(device: Machine, folder: str, way: Way) -> None:
    """The unit that loads what was written down."""
    with device.session() as session:
        done = session.run(["sh", "-ec", way.unit.install, "sh", folder], way.unit.text(folder).encode())
    if done.code:
        text = f"the {way.name} are loaded and confirmed, but gone at the next start: {done.complaint}"
        raise TargetError(f"{session.name}: {text}")


def _confirm(device: Machine, place: Sequence[str], until: float, script: str) -> Ran | None:
    """Log in afresh and say that all is well; None when nobody could until then."""
    last = None
    while time.monotonic() < until:
        time.sleep(PAUSE)
        last = None
        with suppress(Unreachable), device.session() as session:
            last = session.run(["sh", "-c", script, "sh", *place])
            if last.code != _TOO_EARLY:
                with suppress(Unreachable):
                    session.run(["rm", "-f", "--", f"{place[0]}/{place[1]}.done"])
                return last
    return last


def _taken_back(
    device: Machine, name: str, what: str, place: Sequence[str], window: int, begun: float, *, late: bool
) -> TargetError:
    """What became of it, once the window is over; `late`: it was not loaded yet when we were last there."""
    over = begun + window
    time.sleep(max(0.0, over - time.monotonic()))
    ran: Ran | None = None
    for _ in range(1 + window):
        try:
            with device.session() as session:
                ran = session.run(["sh", "-c", _FIRED, "sh", *place])
        except Unreachable:
            time.sleep(1)
            continue
        if ran.code == 0 and late:
            return TargetError(f"{name}: the new {what} were not loaded after {window} s, so the device gave them up")
        if ran.code == 0:
            text = f"nobody could log in with the new {what}, so the device took them back after {window} s"
            return TargetError(f"{name}: {text}")
        if ran.code != _TOO_EARLY:
            break
        time.sleep(1)
    if ran is None:
        text = "were loaded; the device was to take them back by itself"
        return Unreachable(f"{name}: no answer since the new {what} {text}")
    text = "were not confirmed, and it is not known whether they are taken back"
    if ran.code == _TOO_EARLY:
        text = f"were not confirmed, and the device did not take them back yet; it tries for {TRIES} s"
    return TargetError(f"{name}: the new {what} {text}")


_CHANGED, _TAKEN_BACK, _TOO_EARLY, _GONE, _NOT_LOADED = 72, 73, 74, 75, 76  # exit codes

# Token, seconds, table, folder of what is loaded at the next start, program, what loads. If the files are gone, nobody
# can have confirmed. A load that was killed may still be in the kernel: what takes it back is to come after it.
_TIMER = f"""
old=$(cat "$1.old")
{{prepare}}
setsid sh -c "$6" sh "$1" "$2" "$3" "$4" "$5" &
load=$!
sleep "$2"
if mv "$1.armed" "$1.fired" 2>/dev/null || [ ! -e "$1.over" ]; then :; else rm -f -- "$1".*; exit; fi
if grep -q "^PPid:[^0-9]*$$\\$" "/proc/$load/status" 2>/dev/null; then
  kill -s KILL -- "-$load"
  wait "$load"
  for try in 1 2 3 4 5; do
    kill -0 -- "-$load" 2>/dev/null || break
    sleep 1
  done
fi
try=0
until {{undo}}; do
  try=$((try + 1))
  if [ "$try" -ge {TRIES} ]; then rm -f -- "$1.fired"; exit; fi
  sleep 1
done
mv "$1.fired" "$1.undone" 2>/dev/null
"""

# Whether anything runs that was given this token: a timer, or who arms it.
_ALIVE = """alive() {
  for each in /proc/[0-9]*/cmdline; do
    case " $(tr "\\000" " " 2>/dev/null <"$each") " in *" $1 "*) return 0 ;; esac
  done
  return 1
}
"""
# $1: the run folder. A line for each table of which a change was loaded, when somebody ended what would take it back.
UNGUARDED = f"""{_ALIVE}
for file in "$1"/*.armed "$1"/*.fired; do
  [ -e "$file" ] || continue
  token=${{file##*/}}
  alive "${{token%.*}}" || [ ! -e "$file" ] || echo "unguarded $(cat -- "$file")"
done
"""

# Folder, token, table, digest of what is there, seconds, length of the input, folder of what is loaded at the next
# start, program. What nobody takes back any more waits for nothing: this change is compared with what is there now.
_GIVEN = f"""set -eu
umask 077
mkdir -p -m 700 -- "$1"
cd -- "$1"
{_ALIVE}
alone() {{
  for other in *.armed *.fired; do
    if [ ! -e "$other" ] || [ "$other" = "$2.armed" ]; then continue; fi
    if alive "${{other%.*}}"; then
      echo "another change waits to be confirmed, or is being taken back" >&2; exit 1
    fi
    rm -f -- "${{other%.*}}".*
  done
}}
alone "$@"
rm -f -- *.done
trap 'rm -f -- "$2".*' EXIT
cat >"$2.new"
if [ "$(wc -c <"$2.new")" -ne "$6" ]; then echo "cut off" >&2; exit 1; fi
export TZ=UTC
{{check}}
"""
_ARM = f"""{_GIVEN}
{{old}}
printf %s "$3" >"$2.armed"
alone "$@"  # of two who come at once, none loads before the other has looked
now=$({{now}} | sha256sum)
[ "${{now%% *}}" = "$4" ] || exit {_CHANGED}
trap - EXIT
exec </dev/null >/dev/null 2>&1
load='sleep 0.1; ({{load}}) >"$1.out" 2>&1; echo $? >"$1.code"'  # a moment, for our connection to end
setsid sh -c '{{timer}}' sh "$2" "$5" "$3" "$7" "$8" "$load" &
echo $! >"$2.timer"
"""

# Folder, token, table, folder of what is loaded at the next start, "gone" if nothing is to stay. A connection that is
# older than the rules proves nothing, so who comes too early has to come again. Who comes again because the answer was
# lost gets the same one; the next change forgets it.
_CONFIRM = f"""set -eu
umask 077
cd -- "$1" 2>/dev/null || exit {_GONE}
if [ -e "$2.done" ]; then exit 0; fi
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
  rm -f -- "$4/$3.{{suffix}}" "$4/$3.{{suffix}}.sum"
else
  if ! {{ {{stands}}; }}; then echo "somebody took the {{thing}} away" >&2; exit 1; fi
  mkdir -p -m 700 -- "$4"
  cp -- "$2.new" "$4/.$3.{{suffix}}"
  sha256sum <"$2.new" >"$4/.$3.{{suffix}}.sum"
  sync -- "$4/.$3.{{suffix}}" "$4/.$3.{{suffix}}.sum"
  end "$@"
  mv -f -- "$4/.$3.{{suffix}}" "$4/$3.{{suffix}}"
  mv -f -- "$4/.$3.{{suffix}}.sum" "$4/$3.{{suffix}}.sum"
fi
: >"$2.done"
forget "$@"
"""

_FIRED = f"""cd -- "$1" || exit
if [ -e "$2.fired" ]; then exit {_TOO_EARLY}; fi
[ -e "$2.undone" ] && rm -f -- "$2".*
"""
