"""
What mspctl has on a server with rspamd: a file per domain, keys, and the rule that reads them. The talking half.

Everything is read with two programs, however many domains there are. Each file is put in place in one step, and only if
it is still as it was read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mspctl.drivers.rspamd import native
from mspctl.errors import TargetError, Unreachable
from mspctl.transports.machine import Session

_LOG = logging.getLogger(__name__)

BITS = "2048"  # of keys that are made; larger ones do not fit everywhere in DNS
LOADING, POLL, TRIES = 30.0, 0.2, 5  # seconds until rspamd has loaded the rule; between two looks; questions to it
RULE = {"plugins.d/mspctl.lua": "mspctl.lua", "modules.d/mspctl.conf": "mspctl.conf"}  # in rspamd's folder: ours

Held = dict[str, bytes | None]  # path → what it holds; None where that cannot be read


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are on the server."""

    config: str
    data: str
    keys: str
    socket: str

    @property
    def folder(self) -> str:
        return f"{self.config}/mspctl"

    @property
    def rule(self) -> list[str]:
        return [f"{self.config}/{path}" for path in RULE]

    @property
    def loaded(self) -> str:
        """Where the rule tells which text of it rspamd works with."""
        return f"{self.data}/mspctl.loaded"

    def file(self, domain: str) -> str:
        if "/" in domain:
            raise TargetError(f"{domain} cannot be the name of a file")
        return f"{self.folder}/{domain}{native.SUFFIX}"

    def key(self, domain: str, selector: str) -> str:
        return f"{self.keys}/{domain}.{selector}.key"


@dataclass(frozen=True, slots=True)
class Rule:
    """Our rule as it is there, and what it says of itself."""

    texts: Held
    says: tuple[str, ...] = ()  # the digest of its text, a process that works with it, and `redis` where there is one

    @property
    def works(self) -> bool:
        """Whether rspamd has loaded what is there, whichever of our versions that is."""
        text, *others = self.texts.values() or (None,)
        return bool(text and all(others) and len(self.texts) == len(RULE)) and self.says[:1] == (_digest(text),)

    @property
    def can_count(self) -> bool:
        return self.says[2:] == ("redis",)


def _digest(text: bytes | None) -> str:
    return hashlib.sha256(text or b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Seen:
    """What the server held of some domains."""

    places: Places
    rule: Rule
    contents: Held
    public: Held  # path of a key → its public half

    def file(self, domain: str) -> native.File | None:
        """What a domain's file says, if there is one. Raises TargetError for one that makes no sense."""
        path = self.places.file(domain)
        if path not in self.contents:
            return None
        content = self.contents[path]
        if content is None:
            raise TargetError(f"{path} cannot be read")
        return native.parse(content, path)

    def texts(self, said: native.File) -> dict[str, str]:
        """Selector → what DNS says of its key, of those that are there."""
        keys = {selector: path for selector, path in said.dkim.items() if path in self.public}
        return {selector: native.as_text(self.public[path] or b"", path) for selector, path in keys.items()}


class Server:
    def __init__(self, session: Session, places: Places) -> None:
        self.session = session
        self.places = places

    def look(self, domains: Sequence[str]) -> Seen:
        """Raises Unreachable where rspamd's folder is not."""
        paths = [self.places.file(domain) for domain in domains if "/" not in domain]
        held = self._each(_READ, [*self.places.rule, self.places.loaded, *paths])
        rule = self._rule(held)
        contents = {path: held[path] for path in paths if path in held}
        if contents and not rule.works:
            _LOG.warning("%s: rspamd does not work with mspctl's rule, so what it holds is not in force", self.name)
        keys = [key for path, content in contents.items() for key in _keys(content, path)]
        return Seen(self.places, rule, contents, self._each(_PUBLIC, keys) if keys else {})

    @property
    def name(self) -> str:
        return self.session.name

    def _rule(self, held: Held | None = None) -> Rule:
        held = self._each(_READ, [*self.places.rule, self.places.loaded]) if held is None else held
        says = (held.get(self.places.loaded) or b"").decode(errors="replace")
        return Rule({path: held[path] for path in self.places.rule if path in held}, tuple(says.split()))

    def domains(self) -> list[str]:
        """Those that have a file."""
        self._each(_READ, [])
        names = [entry.name for entry in self.session.listed(self.places.folder)]
        return [name.removesuffix(native.SUFFIX) for name in names if name.endswith(native.SUFFIX)]

    # -- the rule ---------------------------------------------------------------------------------------------

    def install(self, rule: Rule) -> Rule:
        """
        Have rspamd work with our rule as it is in this package; the rule as it is then.

        Raises TargetError when rspamd does not run, or does not take the rule: then what was there is back. Others may
        do the same at the same moment.
        """
        if not self._lives(rule) and not self._worker():
            raise TargetError(f"{self.name}: rspamd does not run, so nothing was written ({self.places.socket})")
        names = zip(self.places.rule, RULE.values(), strict=True)
        wanted = {path: Path(__file__).with_name(name).read_bytes() for path, name in names}
        folders = {path.rpartition("/")[0] for path in wanted}
        self.session.must(["mkdir", "-p", "-m", "755", "--", self.places.folder, *sorted(folders)])
        if rule.works and rule.texts == wanted:
            return rule
        for path, text in wanted.items():
            self.session.write(path, text)
        if self._reload() and (now := self._until_it_works()):
            return now
        for path in wanted:
            if before := rule.texts.get(path):
                self.session.write(path, before)
            else:
                self.session.must(["rm", "-f", "--", path])
        self._reload()
        raise TargetError(f"{self.name}: rspamd does not load mspctl.lua, which is out again; its log says why")

    def _lives(self, rule: Rule) -> bool:
        """Whether the process that told us of the rule is still there."""
        if len(rule.says) < 2 or not rule.says[1].isdecimal():
            return False
        return self.session.run(["grep", "-q", "^rspamd", f"/proc/{rule.says[1]}/cmdline"]).code == 0

    def _worker(self) -> str:
        """A process of rspamd's; "" when there is none."""
        for _ in range(TRIES):  # while workers are started anew, it may not answer
            ran = self.session.run(["rspamadm", "control", "-j", "-s", self.places.socket, "stat"])
            with suppress(ValueError, LookupError, TypeError, StopIteration):
                return str(next(iter(json.loads(ran.out)["workers"])))
            time.sleep(POLL)
        return ""

    def _reload(self) -> bool:
        """Let workers be started anew, with the rules as they are. Whether somebody heard it."""
        for _ in range(TRIES):
            if (worker := self._worker()) and not self.session.run(["sh", "-c", _RELOAD, "sh", worker]).code:
                return True
        return False

    def _until_it_works(self) -> Rule | None:
        over = time.monotonic() + LOADING
        while not (rule := self._rule()).works:
            if time.monotonic() > over:
                return None
            time.sleep(POLL)
        return rule

    # -- keys -------------------------------------------------------------------------------------------------

    def make_keys(self, domain: str, keys: Mapping[str, str]) -> dict[str, str]:
        """Selector → what DNS says of the key at its path; those that are not there are made."""
        for selector, path in keys.items():
            words = [path, domain, selector, BITS, self.places.data, self.places.folder]
            self.session.must(["sh", "-c", _MAKE, "sh", *words], what=f"no key can be made in {path}")
        public = self._each(_PUBLIC, [*keys.values()]) if keys else {}
        return {selector: native.as_text(public.get(path) or b"", path) for selector, path in keys.items()}

    def remove_key(self, path: str) -> None:
        self.session.must(["rm", "-f", "--", path], what=f"{path} cannot be removed")

    # -- files ------------------------------------------------------------------------------------------------

    def put(self, path: str, before: bytes | None, content: bytes) -> None:
        """A file in place of what was read; without content, none. Raises Stale."""
        if content:
            self.session.replace(path, before, content)
        elif before is not None:
            self.session.remove(path, before)

    def _each(self, script: str, paths: Sequence[str]) -> Held:
        """What a script says of each of the paths that is there."""
        given = "".join(f"{path}\n" for path in paths).encode()
        ran = self.session.run(["sh", "-c", script, "sh", self.places.config], given)
        if ran.code == _ABSENT:
            raise Unreachable(f"{self.name}: there is no folder {self.places.config}")
        try:
            if ran.code:
                raise TargetError(f"{self.name}: {ran.complaint}")
            rows = (line.split("\t") for line in ran.out.decode().splitlines())
            return {path: None if held == "-" else base64.b64decode(held) for path, held in rows}
        except (ValueError, binascii.Error):
            raise TargetError(f"{self.name}: what it printed makes no sense") from None


def _keys(content: bytes | None, path: str) -> list[str]:
    """The keys that a file names; none of one that makes no sense, which its own scope tells."""
    with suppress(TargetError):
        return [*native.parse(content or b"", path).dkim.values()]
    return []


# -- what runs on the server ------------------------------------------------------------------------------------

_ABSENT = 71
# For each path on the standard input that is there: itself and what it holds, in base64; "-" when that fails.
_EACH = f"""[ -d "$1" ] || exit {_ABSENT}
while IFS= read -r path; do
  [ -e "$path" ] || continue
  held=$({{}}) || held=-
  printf '%s\\t%s\\n' "$path" "$held"
done"""
_READ = _EACH.format('base64 -w0 <"$path"')
_PUBLIC = _EACH.format('pem=$(openssl pkey -in "$path" -pubout) && printf %s "$pem" | base64 -w0')
# A worker's parent is the process that starts the workers; `rspamadm control reload` has it read no rules.
_RELOAD = """pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$1/status") && [ "$pid" -gt 1 ] && kill -HUP "$pid" """
# A key is made where only we can write, gets the group that may read rspamd's data, and is never put over another one.
_MAKE = """set -e
[ ! -e "$1" ] || exit 0
umask 077
folder=${1%/*}
if [ ! -d "$folder" ]; then
  mkdir -p -- "$folder"
  chgrp --reference="$5" -- "$folder"
  chmod 750 -- "$folder"
fi
draft=$(mktemp -- "$6/.mspctl.XXXXXXXX")
trap 'rm -f -- "$draft"' EXIT
rspamadm dkim_keygen -d "$2" -s "$3" -b "$4" -k "$draft" >/dev/null
chgrp --reference="$5" -- "$draft"
chmod 640 -- "$draft"
mv -n -- "$draft" "$1"
"""
