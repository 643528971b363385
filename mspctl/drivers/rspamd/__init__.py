"""
Lists of senders, limits and DKIM keys of each mail domain, on a server with rspamd (tried with 3.4).

What is declared of a domain is a file of its own, `mspctl/<domain>.json` in rspamd's folder; a rule that we install,
`mspctl.lua`, holds every message against the files of its recipients' and its sender's domains. It reads a file again
when it changes, so only the rule itself needs rspamd to start its workers anew, once. While rspamd does not work with
the rule, nothing is in force, and that is what is read.

Keys are made on the server and never leave it: what we read of a key is its public half, derived there. One that lies
at its place already is used, and never written over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator

from mspctl.driver import Access, Failed, Known, Landed, Outputs, Reading, Traits, Work, translated
from mspctl.drivers.rspamd import native
from mspctl.drivers.rspamd.server import Places, Seen, Server
from mspctl.errors import Stale, TargetError, Unreachable, Unsupported
from mspctl.fields import one_line
from mspctl.kinds import filter as filters
from mspctl.kinds import shown
from mspctl.resource import Change, Id, Resource, Scope
from mspctl.transports import machine
from mspctl.transports.machine import Machine

KINDS = frozenset({*filters.LISTS, filters.DKIM, filters.ALIASES.kind, filters.LIMITS.kind, filters.SIGNING.kind})


def _path(value: Any) -> str:
    text = one_line(value).rstrip("/")
    if not text.startswith("/") or ".." in text.split("/"):
        raise ValueError(f"{shown(text)} is not an absolute path (write /etc/rspamd)")
    return text


Absolute = Annotated[str, BeforeValidator(_path)]


class Settings(machine.Settings):
    config: Absolute = "/etc/rspamd"  # as rspamd calls them: CONFDIR and LOCAL_CONFDIR
    data: Absolute = "/var/lib/rspamd"  # DBDIR
    keys: Absolute | None = None  # of DKIM; unless it is said, `dkim` in `config`
    socket: Absolute | None = None  # for rspamadm control; unless it is said, `rspamd.sock` in `data`


class Reader:
    traits = Traits(cas="reread", holds_data=frozenset({filters.DKIM}))

    def __init__(self, access: Access) -> None:
        said: Settings = access.settings
        self.machine = Machine(access.address, said, access.secrets)
        keys, socket = said.keys or f"{said.config}/dkim", said.socket or f"{said.data}/rspamd.sock"
        self.places = Places(said.config, said.data, keys, socket)

    def accept(self, resource: Resource) -> Resource:
        if resource.id.kind not in KINDS:
            raise Unsupported(f"rspamd holds no {resource.id.kind}")
        return resource

    def read(self, scopes: Sequence[Scope], known: Known) -> Iterator[Reading | Failed]:
        if not scopes:
            return
        with self.machine.session() as session:
            seen = Server(session, self.places).look([scope.name for scope in scopes])
        for scope in scopes:
            try:
                with translated():
                    yield _reading(scope, seen)
            except TargetError as error:
                yield Failed(scope, error)

    def scopes(self) -> Sequence[str]:
        with self.machine.session() as session:
            return Server(session, self.places).domains()


def _reading(scope: Scope, seen: Seen) -> Reading:
    said = seen.file(scope.name)
    if said is None or not seen.rule.works:
        return Reading(scope, (), exists=False)
    texts = seen.texts(said)
    outputs = {filters.output(selector): text for selector, text in texts.items()}
    return Reading(scope, [*native.as_resources(said, texts)], outputs)


class Driver(Reader):
    def apply(self, work: Sequence[Work]) -> Iterator[Landed | Failed]:
        work = [item for item in work if item.changes]
        if not work:
            return
        with self.machine.session() as session:
            server = Server(session, self.places)
            seen = server.look([item.scope.name for item in work])
            can_count = server.install(seen.rule).can_count
            for item in work:
                try:
                    with translated():
                        yield from _Writer(server, seen, item, can_count).write()
                except Unreachable:
                    raise
                except TargetError as error:
                    yield Failed(item.scope, error)


class _Writer:
    """The changes of one domain."""

    def __init__(self, server: Server, seen: Seen, work: Work, can_count: bool) -> None:
        self.server, self.seen, self.work, self.can_count = server, seen, work, can_count
        self.domain = work.scope.name
        self.path = server.places.file(self.domain)
        self.said = seen.file(self.domain) or native.EMPTY
        self.texts = seen.texts(self.said)  # selector → what DNS says of its key

    def write(self) -> Iterator[Landed]:
        after = self._after()
        keys = {selector: self._key(selector) for selector in map(filters.selector_of, after) if selector}
        missing = {selector: path for selector, path in keys.items() if selector not in self.texts}
        self.texts |= self.server.make_keys(self.domain, missing)
        before = self.seen.contents.get(self.path)
        self.server.put(self.path, before, native.write(after, keys, self._source()))
        for change in self.work.changes:
            yield Landed(self.work.scope, change, self._key_is_changed(change))

    def _after(self) -> dict[Id, Resource]:
        """All that the file shall say."""
        held = {r.id: r for r in native.as_resources(self.said, self.texts)}
        for change in self.work.changes:
            self._check(change, held.get(change.id))
        after = held | {change.id: change.after for change in self.work.changes if change.after}
        gone = {change.id for change in self.work.changes if change.after is None}
        limits = after.get(filters.LIMITS)
        if limits and limits.fields["sending_rate"] and not self.can_count:
            raise TargetError("sending_rate needs Redis, and rspamd was told of none (local.d/redis.conf: servers)")
        return {id_: resource for id_, resource in after.items() if id_ not in gone}

    def _check(self, change: Change, now: Resource | None) -> None:
        if now is None or change.before is None:
            # What lay there while the rule did not work was not in force, and not shown.
            same = now is change.before or (change.before is None and not self.seen.rule.works)
        else:
            same = now.fields == change.before.fields
        if not same:
            raise Stale(f"{change.id.name} was changed in {self.path} since it was read")

    def _key(self, selector: str) -> str:
        return self.said.dkim.get(selector) or self.server.places.key(self.domain, selector)

    def _key_is_changed(self, change: Change) -> Outputs:
        """What a change of a key hands out."""
        selector = filters.selector_of(change.id)
        if not selector:
            return {}
        if change.after is None:
            self.server.remove_key(self._key(selector))
        return {filters.output(selector): self.texts[selector] if change.after else ""}

    def _source(self) -> str:
        """The file in Git."""
        sources = (change.after.source for change in self.work.changes if change.after)
        return next((s.rpartition(":")[0] for s in sources if s), f"what is declared for {self.work.scope.customer}")
