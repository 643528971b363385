"""
Lists of senders, limits and DKIM keys of each mail domain, on a server with rspamd (tried with 3.4).

What is declared of a domain is a file of its own, `mspctl/<domain>.json` in rspamd's folder; a rule that we install,
`mspctl.lua`, holds every message against the files of its recipients' and its sender's domains. It reads a file again
when it changes, so only the rule itself needs rspamd to start its workers anew, once.

Keys are made on the server, lie where rspamd's own would (`dkim/<domain>.<selector>.key`), and never leave it: what we
read of a key is its public half, derived there. One that is there already is used, and never written over.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from mspctl.driver import Access, Failed, Known, Landed, Reading, Traits, Work, translated
from mspctl.drivers.rspamd import native
from mspctl.errors import Stale, TargetError, Unreachable, Unsupported
from mspctl.fields import one_line
from mspctl.kinds import filter as filters
from mspctl.kinds import shown
from mspctl.resource import Change, Id, Resource, Scope
from mspctl.transports import machine
from mspctl.transports.machine import Machine, Session

_LOG = logging.getLogger(__name__)

KINDS = frozenset({*filters.LISTS, filters.DKIM, filters.ALIASES.kind, filters.LIMITS.kind, filters.SIGNING.kind})
BITS = "2048"  # of keys that are made; more do not fit everywhere in DNS
LOADING, POLL = 30.0, 0.2  # seconds in which rspamd has loaded the rule; between two looks
RULE = {"plugins.d/mspctl.lua": "mspctl.lua", "modules.d/mspctl.conf": "mspctl.conf"}  # in rspamd's folder: ours


def _path(value: Any) -> str:
    text = one_line(value).rstrip("/")
    if not text.startswith("/") or ".." in text.split("/"):
        raise ValueError(f"{shown(text)} is not an absolute path (write /etc/rspamd)")
    return text


Folder = Annotated[str, BeforeValidator(_path)]
Held = dict[str, bytes | None]  # path → what it holds; None where it cannot be read


class Settings(machine.Settings):
    config: Folder = "/etc/rspamd"  # as rspamd calls them: CONFDIR and LOCAL_CONFDIR
    data: Folder = "/var/lib/rspamd"  # DBDIR
    keys: Folder | None = None  # of DKIM; unless it is said, `dkim` in `data`
    pid_file: Folder = "/run/rspamd/rspamd.pid"


class Reader:
    traits = Traits(cas="reread", holds_data=frozenset({filters.DKIM}))

    def __init__(self, access: Access) -> None:
        self.access = access
        self.settings: Settings = access.settings
        self.machine = Machine(access.address, self.settings, access.secrets)
        self.folder = f"{self.settings.config}/mspctl"
        self.loaded = f"{self.settings.data}/mspctl.loaded"
        self.keys = self.settings.keys or f"{self.settings.data}/dkim"

    def accept(self, resource: Resource) -> Resource:
        if resource.id.kind not in KINDS:
            raise Unsupported(f"rspamd holds no {resource.id.kind}")
        return resource

    def read(self, scopes: Sequence[Scope], known: Known) -> Iterator[Reading | Failed]:
        if not scopes:
            return
        with self.machine.session() as session:
            state = _State(self, session, scopes)
            for scope in scopes:
                try:
                    with translated():
                        yield state.reading(scope)
                except TargetError as error:
                    yield Failed(scope, error)

    def scopes(self) -> Sequence[str]:
        """Domains that have a file."""
        with self.machine.session() as session:
            self.files(session, ())
            names = [entry.name for entry in session.listed(self.folder)]
        return [name.removesuffix(native.SUFFIX) for name in names if name.endswith(native.SUFFIX)]

    def path(self, scope: Scope) -> str:
        if "/" in scope.name:
            raise TargetError(f"{scope.name} cannot be the name of a file")
        return f"{self.folder}/{scope.name}{native.SUFFIX}"

    def key_path(self, scope: Scope, selector: str) -> str:
        return f"{self.keys}/{scope.name}.{selector}.key"

    def files(self, session: Session, paths: Sequence[str]) -> Held:
        """Those of the files that are there. Raises Unreachable where rspamd's folder is not."""
        found = _per_line(session, _READ, self.settings.config, paths)
        if found is None:
            raise Unreachable(f"{session.name}: there is no folder {self.settings.config}")
        return found

    def rule(self, session: Session) -> tuple[Held, str]:
        """What is there of our rule, by path; and what rspamd says of it: "" unless it works with what is there."""
        paths = [f"{self.settings.config}/{path}" for path in RULE]
        found = self.files(session, [*paths, self.loaded])
        says = (found.pop(self.loaded, None) or b"").decode(errors="replace")
        mine = hashlib.sha256(found.get(paths[0]) or b"").hexdigest()
        return found, says if len(found) == len(RULE) and says.split()[:1] == [mine] else ""


class _State:
    """What the server holds of some scopes, read together."""

    def __init__(self, reader: Reader, session: Session, scopes: Sequence[Scope]) -> None:
        self.reader = reader
        self.paths = {scope: reader.path(scope) for scope in scopes if "/" not in scope.name}
        self.works = bool(reader.rule(session)[1])
        self.contents = reader.files(session, [*self.paths.values()])
        self.said: dict[str, native.File | TargetError] = {}
        for path, content in self.contents.items():
            try:
                if content is None:
                    raise TargetError(f"{path} cannot be read")
                self.said[path] = native.parse(content, path)
            except TargetError as error:
                self.said[path] = error
        if self.said and not self.works:
            _LOG.warning("%s: rspamd does not work with mspctl's rule, so nothing declared holds there", session.name)
        keys = [key for said in self.said.values() if isinstance(said, native.File) for key in said.dkim.values()]
        self.public = _per_line(session, _PUBLIC, "/", keys) if keys else {}

    def file(self, scope: Scope) -> native.File | None:
        """What a scope's file says, if there is one. Raises TargetError for one that makes no sense."""
        found = self.said.get(self.reader.path(scope))
        if isinstance(found, TargetError):
            raise found
        return found

    def texts(self, said: native.File) -> dict[str, str]:
        """Selector → what DNS says of its key, of those that are there."""
        assert self.public is not None, "the root folder is there"
        return {
            selector: native.as_text(self.public[path] or b"", path)
            for selector, path in said.dkim.items()
            if path in self.public
        }

    def reading(self, scope: Scope) -> Reading:
        said = self.file(scope)
        if said is None or not self.works:
            return Reading(scope, (), exists=False)
        texts = self.texts(said)
        outputs = {filters.output(selector): text for selector, text in texts.items()}
        return Reading(scope, [*native.as_resources(said, texts)], outputs)


class Driver(Reader):
    def apply(self, work: Sequence[Work]) -> Iterator[Landed | Failed]:
        work = [item for item in work if item.changes]
        if not work:
            return
        with self.machine.session() as session:
            works, can_count = self._install(session)
            for item in work:
                try:
                    with translated():
                        yield from _Writer(self, session, item, works, can_count).write()
                except Unreachable:
                    raise
                except TargetError as error:
                    yield Failed(item.scope, error)

    def _install(self, session: Session) -> tuple[bool, bool]:
        """
        Have rspamd work with our rule. Whether it did so before, and whether it can count (it has Redis).

        Raises TargetError when it does not run, or does not take the rule; then what was there before is back.
        """
        found, says = self.rule(session)
        pid = session.run(["sh", "-c", _RUNNING, "sh", self.settings.pid_file])
        if pid.code:
            raise TargetError(f"{session.name}: rspamd does not run ({self.settings.pid_file}); nothing was written")
        wanted = {f"{self.settings.config}/{path}": _ours(name) for path, name in RULE.items()}
        if found == wanted and says:
            return True, "redis" in says
        try:
            session.must(["mkdir", "-p", "--", self.folder, *{path.rpartition("/")[0] for path in wanted}])
            for path, content in wanted.items():
                session.write(path, content)
            return bool(says), "redis" in self._reload(session, pid.out.decode().strip())
        except TargetError:
            for path in wanted:
                if before := found.get(path):
                    session.write(path, before)
                else:
                    session.run(["rm", "-f", "--", path])
            session.run(["kill", "-HUP", pid.out.decode().strip()])
            raise

    def _reload(self, session: Session, pid: str) -> str:
        session.must(["kill", "-HUP", pid], what="rspamd cannot be told to load its rules")
        over = time.monotonic() + LOADING
        while not (says := self.rule(session)[1]):
            if time.monotonic() > over:
                raise TargetError(
                    f"{session.name}: rspamd does not load mspctl.lua (its log says why); it is out again"
                )
            time.sleep(POLL)
        return says


class _Writer:
    """The changes of one domain."""

    def __init__(self, driver: Driver, session: Session, work: Work, works: bool, can_count: bool) -> None:
        self.driver, self.session, self.work = driver, session, work
        self.scope, self.path = work.scope, driver.path(work.scope)
        self.works, self.can_count = works, can_count

    def write(self) -> Iterator[Landed]:
        state = _State(self.driver, self.session, [self.scope])
        said = state.file(self.scope)
        texts = state.texts(said) if said else {}
        held = {r.id: r for r in native.as_resources(said, texts)} if said else {}
        for change in self.work.changes:
            self._check(change, held)
        after = dict(held)
        for change in self.work.changes:
            after.pop(change.id, None)
            if change.after is not None:
                after[change.id] = change.after
        self._can(after)
        keys = {
            filters.selector_of(i): self._key(said, filters.selector_of(i)) for i in after if i.kind == filters.DKIM
        }
        made = self._made({selector: path for selector, path in keys.items() if selector not in texts})
        self._put(state.contents.get(self.path), native.write(after, keys, self._source()))
        for change in self.work.changes:
            selector = filters.selector_of(change.id)
            if change.id.kind == filters.DKIM and change.after is None:
                self.session.must(["rm", "-f", "--", self._key(said, selector)], what="a key cannot be removed")
                yield Landed(self.scope, change, {filters.output(selector): ""})
            elif change.id.kind == filters.DKIM:
                yield Landed(self.scope, change, {filters.output(selector): {**texts, **made}[selector]})
            else:
                yield Landed(self.scope, change)

    def _check(self, change: Change, held: Mapping[Id, Resource]) -> None:
        now = held.get(change.id)
        if now is None or change.before is None:
            # What lay there while the rule was not in force was not shown, and is put in force by this.
            same = now is change.before or (change.before is None and not self.works)
        else:
            same = now.fields == change.before.fields
        if not same:
            raise Stale(f"{change.id.name} was changed in {self.path} since it was read")

    def _can(self, after: Mapping[Id, Resource]) -> None:
        limits = after.get(filters.LIMITS)
        if limits and limits.fields["sending_rate"] and not self.can_count:
            raise TargetError(
                "sending_rate needs Redis, which rspamd was told nothing of (local.d/redis.conf: servers)"
            )

    def _key(self, said: native.File | None, selector: str) -> str:
        return (said.dkim.get(selector) if said else None) or self.driver.key_path(self.scope, selector)

    def _made(self, keys: Mapping[str, str]) -> dict[str, str]:
        """Keys that are not there yet; what DNS says of them, by selector."""
        for selector, path in keys.items():
            words = [path, self.scope.name, selector, BITS, self.driver.settings.data]
            self.session.must(["sh", "-c", _MAKE, "sh", *words], what=f"no key can be made in {path}")
        public = _per_line(self.session, _PUBLIC, "/", [*keys.values()]) or {} if keys else {}
        return {s: native.as_text(public.get(path) or b"", path) for s, path in keys.items()}

    def _put(self, before: bytes | None, content: bytes) -> None:
        if content:
            self.session.replace(self.path, before, content)
        elif before is not None:
            self.session.remove(self.path, before)

    def _source(self) -> str:
        """The file in Git."""
        sources = (change.after.source for change in self.work.changes if change.after)
        return next((s.rpartition(":")[0] for s in sources if s), f"customer {self.scope.customer}")


def _ours(name: str) -> bytes:
    return Path(__file__).with_name(name).read_bytes()


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
# Prints the process, if it is rspamd: a file that was left may name another one by now.
_RUNNING = """pid=$(cat -- "$1") && grep -q '^rspamd' "/proc/$pid/cmdline" && printf %s "$pid" """
# A key is put in place whole, and never over another one. Whose it is, the data folder tells.
_MAKE = """set -e
[ ! -e "$1" ] || exit 0
umask 077
folder=${1%/*}
if [ ! -d "$folder" ]; then
  mkdir -p -- "$folder"
  chown --reference="$5" -- "$folder"
  chmod 750 -- "$folder"
fi
draft=$(mktemp -- "$folder/.mspctl.XXXXXXXX")
trap 'rm -f -- "$draft"' EXIT
rspamadm dkim_keygen -d "$2" -s "$3" -b "$4" -k "$draft" >/dev/null
chown --reference="$5" -- "$draft"
chmod 640 -- "$draft"
mv -n -- "$draft" "$1"
"""


def _per_line(session: Session, script: str, folder: str, paths: Sequence[str]) -> Held | None:
    """What a script says of each path that is there; None when the folder is not."""
    ran = session.run(["sh", "-c", script, "sh", folder], "".join(f"{path}\n" for path in paths).encode())
    if ran.code == _ABSENT:
        return None
    if ran.code:
        raise TargetError(f"{session.name}: {ran.complaint}")
    try:
        rows = (line.split("\t") for line in ran.out.decode().splitlines())
        return {path: None if held == "-" else base64.b64decode(held) for path, held in rows}
    except (ValueError, binascii.Error):
        raise TargetError(f"{session.name}: what it printed makes no sense") from None
