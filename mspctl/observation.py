"""
What a drift run saw of one scope, as a file on the branch `observations`. Pure.

Only what is not as declared is kept, as far as a plan would print it: with the declaration at hand, that gives back
the whole reading. So while the target says that nothing changed, the scope need not be read again, and still all is
known of it. An observation is a cache: one that is damaged, or of a newer program, is as good as none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, cast

from mspctl.desired import Declaration
from mspctl.document import (
    Json,
    Object,
    a_list,
    an_object,
    fields_from_json,
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
from mspctl.driver import Outputs, Reading
from mspctl.plan import ScopePlan, Wanted
from mspctl.resource import UNKNOWN, Cause, Id, Resource, Scope
from mspctl.secrets import redact

FORMAT = 1
OLDEST = timedelta(days=7)  # then a scope is read again, whatever its token says
SKEW = timedelta(minutes=5)  # what clocks may differ
_NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Seen:
    """A resource that is not as declared."""

    live: Resource | None  # None: it is not there; one that Git renames still has its old id
    cause: Cause
    since: datetime  # when it was first seen like this


@dataclass(frozen=True, slots=True)
class Observation:
    scope: Scope
    read_at: datetime
    token: str  # of the reading; "": there is none, and the scope is read each time
    basis: str  # digest of what the reading was compared with; see `basis`
    page: str = ""  # the blob of what was recorded, in the ledger
    exists: bool = True
    outputs: Outputs = field(default_factory=dict)
    seen: Mapping[Id, Seen] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Equal digests: the same differs in the same way."""
        return _digest([_seen_to_json(id, replace(it, since=_NEVER)) for id, it in sorted(self.seen.items())])

    def holds(self, basis: str, page: str, now: datetime) -> bool:
        """Whether it can stand for a reading of now, if the token is still the same."""
        current = -SKEW <= now - self.read_at < OLDEST
        return bool(self.token) and (self.basis, self.page) == (basis, page) and current


def basis(declaration: Declaration, driven: str) -> str:
    """
    Digest of all that decides how a scope is read and what is seen in it, but for the ledger and the target itself.

    `driven` says how the target is driven: program, driver, address, settings.
    """
    resources = sorted(declaration.resources, key=lambda r: r.id)
    said = [[r.id.kind, r.id.name, dict(r.fields), r.was and r.was.name] for r in resources]
    return _digest([driven, str(declaration.scope), declaration.ignore, said])


def _digest(said: object) -> str:
    return sha256(json.dumps(said, sort_keys=True, default=_plain).encode()).hexdigest()[:16]


def _plain(value: Any) -> object:
    return {"set": sorted(value)} if isinstance(value, frozenset) else to_json(value)


def observed(plan: ScopePlan, now: datetime, basis: str, page: str, before: Observation | None) -> Observation:
    """What a plan that was just made says of its scope. Outputs are those recorded and those read."""
    first = since(plan, before) if before else {}
    outputs = line({name: to_json(value) for name, value in plan.outputs.items()})
    secret = redact(outputs) != outputs  # what may not be written down must be read
    return Observation(
        replace(plan.scope, after=()),
        now,
        "" if secret else plan.token,
        basis,
        page,
        plan.exists,
        {} if secret else plan.outputs,
        {id: Seen(live, cause, first.get(id, now)) for id, live, cause in _differing(plan)},
    )


def _differing(plan: ScopePlan) -> Iterator[tuple[Id, Resource | None, Cause]]:
    """As a plan would print it. One may be there twice: a field is due, another left alone. The latter is told."""
    yield from (_printable(s.change.id, s.change.before, s.change.cause) for s in plan.steps)
    yield from (_printable(d.id, d.live, d.cause) for d in (*(a.difference for a in plan.accepted), *plan.left))


def _printable(id: Id, live: Resource | None, cause: Cause) -> tuple[Id, Resource | None, Cause]:
    """What would give a secret away is blanked."""
    if live is None:
        return id, None, cause
    shown = resource_from_json(json.loads(redact(line(to_json(Resource(live.id, live.fields))))))
    return shown.id if live.id == id else id, shown, cause


def since(plan: ScopePlan, observation: Observation) -> dict[Id, datetime]:
    """Since when what differs has been seen as it is; what was not seen like this before is absent."""
    known = observation.seen
    return {id: known[id].since for id, live, _ in _differing(plan) if id in known and known[id].live == live}


def reading(observation: Observation, accepted: Declaration) -> Reading:
    """
    The reading again: what was seen, and all else as declared.

    `accepted` is the declaration as the target holds it, the one that the observation's basis is of.
    """
    same = (r for r in accepted.resources if r.id not in observation.seen and UNKNOWN not in r.fields.values())
    other = (it.live for it in observation.seen.values() if it.live is not None)
    o = observation
    return Reading(accepted.scope, [*same, *other], o.outputs, o.token, exists=o.exists)


def as_seen(observation: Observation, declaration: Declaration, wanted: Wanted) -> ScopePlan:
    """The plan of a scope in which nothing differed."""
    scope = declaration.scope
    return ScopePlan(
        scope,
        declaration.source,
        unknown=[r.id for r in declaration.resources if UNKNOWN in r.fields.values() and wanted(scope, r.id)],
        token=observation.token,
        exists=observation.exists,
        declared=len(declaration.resources),
        outputs=observation.outputs,
        kept=frozenset(declaration.kept),
        seen_at=observation.read_at,
        since={},
    )


# -- JSON -----------------------------------------------------------------------------------------------------


def rendered(observation: Observation) -> bytes:
    o = observation
    sections = {
        "format": str(FORMAT),
        "scope": line(to_json(o.scope)),
        "read": line(o.read_at.isoformat(timespec="seconds")),
        "token": line(o.token) if o.token else "",
        "basis": line(o.basis),
        "page": line(o.page) if o.page else "",
        "exists": "" if o.exists else "false",
        "outputs": object_of({name: line(to_json(value)) for name, value in sorted(o.outputs.items())}),
        "seen": list_of(line(_seen_to_json(*item)) for item in sorted(o.seen.items())),
        "digest": line(o.digest) if o.seen else "",
    }
    return (object_of(sections) + "\n").encode()


def _seen_to_json(id: Id, seen: Seen) -> Object:
    said: Object = {"kind": id.kind, "name": id.name}
    if seen.live and seen.live.id != id:
        said |= {"was": seen.live.id.name}
    live = None if seen.live is None else {n: to_json(value) for n, value in sorted(seen.live.fields.items())}
    return said | {
        "cause": seen.cause.value,
        "since": seen.since.isoformat(timespec="seconds"),
        "live": cast(Json, live),
    }


def parsed(content: bytes) -> Observation | None:
    """None for what is not exactly what `rendered` writes."""
    try:
        return _observation_from_json(json.loads(content.decode()))
    except (ValueError, RecursionError):
        return None


def _observation_from_json(data: object) -> Observation:
    optional = ("token", "page", "exists", "outputs", "seen", "digest")
    document = members(data, "an observation", ("format", "scope", "read", "basis"), optional)
    if document["format"] != FORMAT:
        raise ValueError("it is of another program")
    document = {"token": "", "page": "", "digest": "", **document}
    token, basis, page, digest = (text(document, name) for name in ("token", "basis", "page", "digest"))
    found = Observation(
        scope_from_json(document["scope"]),
        _time(document, "read"),
        token,
        basis,
        page,
        document.get("exists") is not False,
        {name: value_from_json(value) for name, value in an_object(document.get("outputs", {})).items()},
        dict(map(_seen_from_json, a_list(document.get("seen", [])))),
    )
    if digest != (found.digest if found.seen else ""):
        raise ValueError("what was seen was changed")
    return found


def _seen_from_json(data: object) -> tuple[Id, Seen]:
    document = members(data, "what was seen", ("kind", "name", "cause", "since", "live"), ("was",))
    id, fields = id_from_json(document), document["live"]
    there = Id(id.kind, text(document, "was")) if "was" in document else id
    live = None if fields is None else Resource(there, fields_from_json({"fields": fields}))
    return id, Seen(live, Cause(text(document, "cause")), _time(document, "since"))


def _time(document: Mapping[str, object], name: str) -> datetime:
    found = datetime.fromisoformat(text(document, name))
    if found.tzinfo is None:
        raise ValueError(f'"{name}" has no time zone')
    return found
