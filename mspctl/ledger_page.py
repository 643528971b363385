"""
One file of the ledger: what it says of a scope, how a run changes it, how it is written.

Pure, old content → new content, so that a step can be taken again on newer content when another process was faster.
The JSON has one line for each thing that can change, sorted, so that `git log -p` reads as an audit trail.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import lru_cache
from operator import itemgetter
from typing import TypeVar
from urllib.parse import unquote

from mspctl.document import (
    Json,
    Object,
    a_list,
    an_object,
    change_from_json,
    id_from_json,
    line,
    list_of,
    members,
    object_of,
    resource_from_json,
    scope_from_json,
    text,
    to_json,
    value_from_json,
)
from mspctl.errors import LedgerError
from mspctl.record import Emergency, Finished, Record, Run, ScopeRecord
from mspctl.resource import UNKNOWN, Change, Id, Resource, Scope, Value

FORMAT = 1
TOMBSTONES = timedelta(days=400)
USED = timedelta(days=60)  # longer than any approval lasts

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Landing:
    """What one run did to one scope."""

    # In the order they landed, with what was there before: enough for an undo. What it found done comes first.
    changes: tuple[Change, ...]
    error: str = ""  # why the rest did not land
    found: tuple[Change, ...] = ()  # of these, what another run had begun that did not come to its end

    @property
    def counts(self) -> dict[str, int]:
        """How many of each verb."""
        return dict.fromkeys(("create", "update", "rename", "delete"), 0) | Counter(
            change.verb for change in self.changes
        )


@dataclass(frozen=True, slots=True)
class Page:
    scope: Scope
    outputs: Mapping[str, Value] = field(default_factory=dict)
    resources: Mapping[Id, Resource | date] = field(default_factory=dict)  # a date: deleted by us on that day
    intents: Mapping[tuple[Id, str], Resource | None] = field(default_factory=dict)  # (id, run) → what it is to be
    kept: Mapping[Id, date] = field(default_factory=dict)  # switched off, their lines taken out: the last day
    used: Mapping[str, date] = field(default_factory=dict)  # approval → the day on which it let something through
    emergencies: Mapping[str, Emergency] = field(default_factory=dict)  # by run
    last: Object = field(default_factory=dict)  # what the run that wrote it did, as JSON; `landing` reads it

    @property
    def record(self) -> ScopeRecord:
        records = {id: _record(recorded, self.kept.get(id)) for id, recorded in self.resources.items()}
        for (id, _), intended in sorted(self.intents.items(), key=itemgetter(0)):
            known = records.setdefault(id, NEVER)
            if intended not in known.states:
                records[id] = Record((*known.states, intended), kept_until=known.kept_until)
        return ScopeRecord(self.scope, records, self.outputs, frozenset(self.used), self.emergencies)


NEVER = Record((None,))


def _record(recorded: Resource | date, kept_until: date | None) -> Record:
    return Record((None,), recorded) if isinstance(recorded, date) else Record((recorded,), kept_until=kept_until)


def _state(recorded: Resource | date) -> Resource | None:
    return None if isinstance(recorded, date) else recorded


# Where


def path_of(scope: Scope) -> str:
    """
    Where a scope's file lies on the branch.

    Lower case only, for twins would collide where the case of file names does not count; no dot at either end of a
    part, so that `..` and `.git` are names like any other.
    """
    return "/".join(_encoded(part) or "%" for part in (scope.target, scope.facet, scope.name)) + ".json"


@lru_cache(1 << 14)
def _encoded(part: str) -> str:
    return re.sub(r"[^a-z0-9._-]|^\.|\.\Z", lambda match: _escaped(match[0]), part)


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def scope_of(path: str) -> Scope:
    """The other way round; whose it is, only the page says."""
    parts = path.removesuffix(".json").split("/")
    target, facet, name = ("" if part == "%" else unquote(part, errors="surrogatepass") for part in parts)
    return Scope(target, facet, name)


def is_page(path: str) -> bool:
    """README.md, and whatever lies in folders that start with a dot, are no pages."""
    return re.fullmatch(r"[^./][^/]*/[^/]+/[^/]+\.json", path) is not None


# Steps


def edited(path: str, scope: Scope, step: Callable[[Page], Page], today: date, old: bytes | None) -> bytes | None:
    """A step as old content → new content; the old content itself when the step says nothing new."""
    page = Page(replace(scope, after=())) if old is None else parsed(path, old)
    new = step(page)
    return old if new is page else rendered(_pruned(new, today))


def begun(page: Page, scope: Scope, run: Run, intents: Mapping[Id, Resource | None]) -> Page:
    mine = {(id, run.id): intended for id, intended in intents.items()}
    emergencies = _emergencies(page, run, intents)
    return replace(page, scope=replace(scope, after=()), intents={**page.intents, **mine}, emergencies=emergencies)


def _emergencies(page: Page, run: Run, more: Collection[Id], less: Collection[Id] = ()) -> dict[str, Emergency]:
    """With what this run did, when it is one, or may have done."""
    kept = {other: emergency for other, emergency in page.emergencies.items() if other != run.id}
    if run.emergency is None:
        return kept
    known = page.emergencies.get(run.id, run.emergency).ids
    ids = (known - frozenset(less)) | frozenset(more)
    return kept | ({run.id: replace(run.emergency, ids=ids)} if ids else {})


def finished(page: Page, scope: Scope, run: Run, end: Finished, today: date) -> Page:
    """Returns `page` itself when the end says nothing new."""
    new = replace(
        page,
        scope=replace(scope, after=()),
        outputs={**page.outputs, **{name: value for name, value in end.outputs.items() if value is not UNKNOWN}},
        resources={**page.resources, **_settled(page, end, today), **_written(page, end)},
        intents={
            (id, owner): _with(intended, end.written.get(id, {}))
            for (id, owner), intended in page.intents.items()
            if not _resolved(id, owner, run, end)
        },
        kept=_kept(page, end),
        used={**page.used, **dict.fromkeys(end.used, today)},
        emergencies=_after(page, run, end),
    )
    involved = end.changes or end.found or any(owner == run.id for _, owner in page.intents)
    if not involved and new == page and _owner(new) == _owner(page):
        return page
    return replace(new, last=_last_to_json(run, end))


def _kept(page: Page, end: Finished) -> dict[Id, date]:
    """A day that was given stays; what is declared again, or gone, has none any more."""
    waiting = {id: last for id, last in page.kept.items() if id not in end.settled}
    return waiting | {id: page.kept.get(id, last) for id, last in end.kept.items()}


def _after(page: Page, run: Run, end: Finished) -> dict[str, Emergency]:
    landed = {r.id for change in end.changes for r in (change.before, change.after) if r}
    undone = {i for i, owner in page.intents if owner == run.id and i not in landed and _resolved(i, owner, run, end)}
    found = _emergencies(page, run, landed, undone)
    return {other: emergency for other, emergency in found.items() if other not in end.over}


def _settled(page: Page, end: Finished, today: date) -> dict[Id, Resource | date]:
    """What is settled and differs from what is recorded. What never was leaves no tombstone."""
    settled: dict[Id, Resource | date] = {}
    deleted = {change.id for change in end.changes if change.after is None}
    for id, resource in end.settled.items():
        recorded = page.resources.get(id)
        if resource is not None and resource != recorded:
            settled[id] = resource
        elif resource is None and (id in deleted or isinstance(recorded, Resource)):
            settled[id] = today
    return settled


def _written(page: Page, end: Finished) -> dict[Id, Resource]:
    """What is ours of a resource of which the rest is in doubt."""
    recorded = {id: page.resources.get(id) for id in end.written}
    known = {id: it if isinstance(it, Resource) else Resource(id, {}) for id, it in recorded.items()}
    return {id: replace(it, fields={**it.fields, **end.written[id]}) for id, it in known.items()}


def _with(intended: Resource | None, fields: Mapping[str, Value]) -> Resource | None:
    return intended and replace(intended, fields={**intended.fields, **fields})


def _resolved(id: Id, owner: str, run: Run, end: Finished) -> bool:
    """What is settled is true now, whichever run intended it once; of the rest an end without error knows its own."""
    return id in end.settled or (owner == run.id and not end.error)


def _owner(page: Page) -> tuple[str, str]:
    return page.scope.customer, page.scope.engine  # not part of what makes scopes equal


def _pruned(page: Page, today: date) -> Page:
    kept = {id: it for id, it in page.resources.items() if isinstance(it, Resource) or today - it <= TOMBSTONES}
    return replace(page, resources=kept, used={key: day for key, day in page.used.items() if today - day <= USED})


def pruned(path: str, today: date, old: bytes | None) -> bytes | None:
    """Without what is past its time, as old content → new content."""
    page = parsed(path, old) if old is not None else None
    new = page and _pruned(page, today)
    return old if new is None or new == page else rendered(new)


def merged(path: str, base: bytes | None, ours: bytes | None, theirs: bytes | None) -> bytes | None:
    """
    What we changed since `base`, done to `theirs`.

    Of a resource that both changed, nobody knows who came last: both states count as ours, as after a killed run.
    """
    if ours is None or theirs is None or not is_page(path):
        return ours
    we, they = parsed(path, ours), parsed(path, theirs)
    was = parsed(path, base) if base is not None else Page(we.scope)
    run = str(we.last.get("run", ""))
    doubts = {
        (id, run): _state(theirs_now)
        for id, theirs_now in they.resources.items()
        if id in we.resources and was.resources.get(id) != theirs_now != we.resources[id] != was.resources.get(id)
    }
    new = replace(
        we,
        outputs=_stepped(was.outputs, we.outputs, they.outputs),
        resources=_stepped(was.resources, we.resources, they.resources),
        intents=_stepped(was.intents, we.intents, they.intents) | doubts,
        kept=_stepped(was.kept, we.kept, they.kept),
        used={**they.used, **we.used},
        emergencies=_stepped(was.emergencies, we.emergencies, they.emergencies),
    )
    return rendered(new)


def _stepped(base: Mapping[K, V], ours: Mapping[K, V], theirs: Mapping[K, V]) -> dict[K, V]:
    kept = {key: value for key, value in theirs.items() if key in ours or key not in base}
    return kept | {key: value for key, value in ours.items() if key not in base or base[key] != value}


# JSON


def rendered(page: Page) -> bytes:
    resources = (line(_recorded_to_json(*item)) for item in sorted(page.resources.items(), key=itemgetter(0)))
    intents = (line(_intent_to_json(*item)) for item in sorted(page.intents.items(), key=itemgetter(0)))
    last = {name: list_of(map(line, it)) if isinstance(it, list) else line(it) for name, it in page.last.items()}
    sections = {
        "format": str(FORMAT),
        "scope": line(to_json(page.scope)),
        "outputs": object_of({name: line(to_json(value)) for name, value in sorted(page.outputs.items())}),
        "resources": list_of(resources),
        "intents": list_of(intents),
        "kept": list_of(line(_kept_to_json(*item)) for item in sorted(page.kept.items())),
        "used": object_of({key: line(day.isoformat()) for key, day in sorted(page.used.items())}),
        "emergencies": object_of({run: line(_emergency_to_json(e)) for run, e in sorted(page.emergencies.items())}),
        "last": object_of(last),
    }
    return (object_of(sections) + "\n").encode()


def _recorded_to_json(id: Id, recorded: Resource | date) -> Object:
    if isinstance(recorded, date):
        return {"kind": id.kind, "name": id.name, "deleted": recorded.isoformat()}
    return to_json(_sorted(recorded))


def _intent_to_json(key: tuple[Id, str], intended: Resource | None) -> Object:
    id, run = key
    if intended is None:
        return {"run": run, "kind": id.kind, "name": id.name, "fields": None}
    return {"run": run, **to_json(_sorted(intended))}


def _kept_to_json(id: Id, until: date) -> Object:
    return {"kind": id.kind, "name": id.name, "until": until.isoformat()}


def _emergency_to_json(emergency: Emergency) -> Object:
    resources: list[Json] = [{"kind": id.kind, "name": id.name} for id in sorted(emergency.ids)]
    said = {"who": emergency.who, "when": emergency.when.isoformat(), "reason": emergency.reason}
    return {**said, "branch": emergency.branch, "resources": resources}


def _last_to_json(run: Run, end: Finished) -> Object:
    found, changes = _changes_to_json(end.found), _changes_to_json(end.changes)
    said: Object = {"error": end.error, "found": found, "changes": changes}
    return {"run": run.id, **{name: it for name, it in said.items() if it}}


def _changes_to_json(changes: Iterable[Change]) -> list[Json]:
    return [{"verb": change.verb, **to_json(_tidy(change))} for change in changes]


def _tidy(change: Change) -> Change:
    before, after = (resource and _sorted(resource) for resource in (change.before, change.after))
    return replace(change, before=before, after=after)


def _sorted(resource: Resource) -> Resource:
    return replace(resource, fields=dict(sorted(resource.fields.items())))


def parsed(path: str, content: bytes) -> Page:
    """Raises LedgerError, naming the file, when it is not exactly what `rendered` writes."""
    with _naming(path):
        page = _page_from_json(json.loads(content.decode()))
        if path_of(page.scope) != path:
            raise ValueError(f"it is about another scope, {page.scope}")
        return page


def recorded(path: str, content: bytes) -> ScopeRecord:
    """What is recorded, from the same; what the last run did is as long as all of that, and is not looked at."""
    rest, found, _ = content.rpartition(b',\n"last": {\n')
    return parsed(path, rest + b"\n}" if found else content).record


def owner(content: bytes) -> str:
    """Whose scope a page is about, without reading all of it: `rendered` gives the scope a line of its own."""
    found = re.search(rb'^"scope": \{.*"customer": ("[^"\\\n]*")', content, re.MULTILINE)
    return str(json.loads(found[1])) if found else ""


def hands_out(content: bytes) -> bool:
    """Whether a page has outputs, likewise."""
    return b'\n"outputs": {' in content


@contextmanager
def _naming(path: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, RecursionError) as error:
        raise LedgerError(f"{path} in the ledger is damaged: {error}") from error


def landing(page: Page) -> Landing:
    """
    What the last run did. It is as long as the rest and only the history wants it, so it is read late.

    Raises LedgerError, naming the file.
    """
    with _naming(path_of(page.scope)):
        document = members(page.last, "the last run", required=("run",), optional=("error", "changes", "found"))
        found, changes = (
            tuple(_verbal_change_from_json(item) for item in a_list(document.get(name, [])))
            for name in ("found", "changes")
        )
        return Landing((*found, *changes), text(document, "error") if "error" in document else "", found)


def _page_from_json(data: object) -> Page:
    version = data.get("format") if isinstance(data, dict) else None
    if type(version) is not int or version < FORMAT:
        raise ValueError('it has no "format"')
    if version > FORMAT:
        raise LedgerError(f"the ledger was made by a newer mspctl (format {version}); update this program")
    sections = ("outputs", "resources", "intents", "kept", "used", "emergencies", "last")
    document = members(data, "a page", required=("format", "scope"), optional=sections)
    return Page(
        scope_from_json(document["scope"]),
        {name: value_from_json(value) for name, value in an_object(document.get("outputs", {})).items()},
        _unique(_recorded_from_json(item) for item in a_list(document.get("resources", []))),
        _unique(_intent_from_json(item) for item in a_list(document.get("intents", []))),
        _unique(_kept_from_json(item) for item in a_list(document.get("kept", []))),
        {key: date.fromisoformat(str(day)) for key, day in an_object(document.get("used", {})).items()},
        {run: _emergency_from_json(said) for run, said in an_object(document.get("emergencies", {})).items()},
        an_object(document.get("last", {})),
    )


def _recorded_from_json(data: object) -> tuple[Id, Resource | date]:
    if isinstance(data, dict) and "deleted" in data:
        document = members(data, "a tombstone", required=("kind", "name", "deleted"))
        return id_from_json(document), date.fromisoformat(text(document, "deleted"))
    resource = resource_from_json(data)
    return resource.id, resource


def _intent_from_json(data: object) -> tuple[tuple[Id, str], Resource | None]:
    document = members(data, "an intent", required=("run", "kind", "name", "fields"), optional=("source",))
    resource = {name: member for name, member in document.items() if name != "run"}
    intended = None if document["fields"] is None else resource_from_json(resource)
    return (id_from_json(document), text(document, "run")), intended


def _kept_from_json(data: object) -> tuple[Id, date]:
    document = members(data, "what is kept", required=("kind", "name", "until"))
    return id_from_json(document), date.fromisoformat(text(document, "until"))


def _emergency_from_json(data: object) -> Emergency:
    document = members(data, "an emergency", required=("who", "when", "reason", "branch", "resources"))
    who, when, reason, branch = (text(document, name) for name in ("who", "when", "reason", "branch"))
    resources = [members(item, "a resource", required=("kind", "name")) for item in a_list(document["resources"])]
    moment = datetime.fromisoformat(when)
    if moment.tzinfo is None:
        raise ValueError(f'"when" lacks its time zone: {when}')
    return Emergency(who, moment, reason, branch, frozenset(map(id_from_json, resources)))


def _verbal_change_from_json(data: object) -> Change:
    """The verb is there for human readers; it follows from the rest."""
    return change_from_json({k: v for k, v in an_object(data).items() if k != "verb"})


def _unique(items: Iterable[tuple[K, V]]) -> dict[K, V]:
    found: dict[K, V] = {}
    for key, item in items:
        if key in found:
            raise ValueError(f"{key} is there twice")
        found[key] = item
    return found
