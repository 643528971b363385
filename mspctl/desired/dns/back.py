"""
RRsets → record files: a new file in the short form (import), or edits of the one that is there (adopt).

An edit keeps the file's form, its key, and the spelling and order of every value that stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mspctl import edit, fields, strict_yaml
from mspctl.desired import Rewritten
from mspctl.edit import Delete, Edit, Plain, Set
from mspctl.errors import Error, InputError
from mspctl.kinds import dns, spoken_duration
from mspctl.load import Estate
from mspctl.model.sections.dns import DEFAULT_TTL, Section, derived, records
from mspctl.model.sections.dns.records import LIMITS, SETTINGS
from mspctl.moments import Clock
from mspctl.resource import Id, Resource
from mspctl.strict_yaml import Data, Map, Problems


def usual_ttl(resources: Sequence[Resource]) -> int:
    """The TTL that most RRsets have: what is written once for the zone."""
    counted = Counter(dns.ttl_of(r) for r in resources)
    return max(counted, key=lambda ttl: (counted[ttl], ttl)) if counted else DEFAULT_TTL


def as_yaml(resources: Sequence[Resource], ttl: int) -> dict[str, Plain]:
    """A record file in the short form; `ttl` is the zone's own, and not repeated."""
    owners: dict[str, dict[str, Resource]] = {}
    for resource in resources:
        owner, rtype = dns.owner_type(resource.id)
        owners.setdefault(owner, {})[rtype] = resource
    ordered = sorted(owners, key=lambda owner: (owner != dns.APEX, owner))
    return {typed_owner(owner): _entry(owners[owner], ttl) for owner in ordered}


def typed_owner(owner: str) -> str:
    """How a file names an owner; a host that is really called `apex` is escaped."""
    if owner == dns.APEX:
        return records.APEX
    return rf"\{owner}" if owner == records.APEX else owner


def _entry(types: Mapping[str, Resource], ttl: int) -> dict[str, Plain]:
    ttls = {dns.ttl_of(r) for r in types.values()}
    shared = next(iter(ttls)) if len(ttls) == 1 else ttl
    entry: dict[str, Plain] = {}
    for rtype in sorted(types):
        entry[rtype] = _rrset(types[rtype], shared)
    if shared != ttl:
        entry["ttl"] = spoken_duration(shared)
    return entry


def _rrset(resource: Resource, ttl: int) -> Plain:
    rtype = dns.owner_type(resource.id)[1]
    typed: list[Plain] = [dns.as_typed(rtype, value) for value in dns.values_of(resource)]
    values = typed[0] if len(typed) == 1 else typed
    own = dns.ttl_of(resource)
    return values if own == ttl else {"values": values, "ttl": spoken_duration(own)}


# -- edits ----------------------------------------------------------------------------------------------------


def rewrite(estate: Estate, customer: str, zone: str, adopted: Mapping[Id, Resource | None]) -> Rewritten:
    """The zone's record file, declaring `adopted` (None: no longer) besides all else that it says."""
    model = estate.customers[customer].sections["dns"]
    assert isinstance(model, Section), "load puts each section's own model here"
    if dns.ZONE in adopted:
        text = f"dnssec of {zone} stands here, which mspctl does not edit (change it by hand, or use apply --revert)"
        raise InputError.at(f"customers/{customer}/dns.yaml", text)
    file, ttl = estate.customers[customer].files["dns"][zone].file, model.zones[zone].ttl
    adopted = {i: r for i, r in adopted.items() if i.kind == dns.KIND}  # a target may hold what YAML cannot say
    if not file.endswith(".yaml"):
        raise InputError.at(file, "is a zone file, which mspctl does not edit (change it by hand, or import the zone)")
    said = derived.by_zone(estate.customers[customer], estate.inventory).get(zone, ())
    adopted, kept = derived.written(zone, adopted, said)
    for name, one in kept:
        raise InputError.at(one.source, f"{name} follows from this line (change it here, or undo it: apply --revert)")
    text = (estate.root / file).read_bytes().decode()
    clock = Clock(estate.now, estate.customers[customer].info.timezone)
    editor = ZoneEditor(strict_yaml.parse(text, file, Problems()), zone, ttl, clock)
    for id_, resource in adopted.items():
        editor.put(id_, resource)
    after = edit.edit(text, editor.edits(), file=file)
    _verify(after, file, zone, ttl, clock, adopted)
    return Rewritten(file, text, after, len(adopted))


def _verify(text: str, file: str, zone: str, ttl: int, clock: Clock, adopted: Mapping[Id, Resource | None]) -> None:
    """What was edited must read as it was meant."""
    problems = Problems()
    reader = records.RecordReader(zone, ttl, problems, clock)
    found = reader.read(strict_yaml.parse(text, file, problems), file)
    read = {r.id: r.fields for r in found if r.id not in reader.spans or reader.spans[r.id].holds(clock.now)}
    wrong = [i.name for i, resource in adopted.items() if read.get(i) != (resource.fields if resource else None)]
    if problems.errors or wrong:
        said = ", ".join(wrong) or problems.errors[0].text
        raise Error(f"{file}: the live values cannot be written there ({said}); nothing was changed")


class ZoneEditor:
    """Edits of one record file, so that it declares other RRsets than it did."""

    def __init__(self, data: Data, zone: str, ttl: int, clock: Clock) -> None:
        self.data = data if isinstance(data, Map) else Map()
        self.zone = zone
        self.ttl = ttl
        reader = records.RecordReader(zone, ttl, Problems(), clock)
        reader.read(self.data, "")
        self.idle = {
            i for i, span in reader.spans.items() if not span.holds(clock.now)
        }  # stand there, and count for nothing
        self.octodns = any(isinstance(e, list) or (isinstance(e, Map) and "type" in e) for e in self.data.values())
        self.entries: dict[str, Any] = dict(self.data)  # as they will be; None: removed

    def put(self, id_: Id, live: Resource | None) -> None:
        """Declare an RRset as it is live; None: no longer. Raises InputError when this file does not hold it."""
        owner, rtype = dns.owner_type(id_)
        key = next((k for k, entry in self.entries.items() if entry and self._owner(k) == owner), None)
        if key is None:
            if live is None:
                raise InputError.at("", f"{id_.name} is not in this file (it comes from a baseline)")
            key = ("" if owner == dns.APEX else owner) if self.octodns else typed_owner(owner)
            self.entries[key] = [] if self.octodns else {}
        entry = self.entries[key]
        form = _OctodnsEntry if isinstance(entry, list) or "type" in entry else _ShortEntry
        self.entries[key] = form(self, entry).put(rtype, live, always=id_ in self.idle)

    def edits(self) -> list[Edit]:
        """What to change in the file."""
        edits: list[Edit] = []
        for key, entry in self.entries.items():
            if not entry:
                edits += [Delete((key,))] if key in self.data else []
            elif key not in self.data or entry != self.data[key]:
                edits.append(Set((key,), entry))
        return edits

    def _owner(self, key: str) -> str:
        if key == ("" if self.octodns else records.APEX):
            return dns.APEX
        return dns.fold_owner(key, self.zone)

    def folded(self, rtype: str, typed: Any, *, octodns: bool) -> str:
        """A value of the file in normal form."""
        reader = records.RecordReader(self.zone, self.ttl, Problems())
        reader.octodns = octodns
        return dns.fold_value(rtype, reader.text(rtype, typed), lambda name: name + ".")

    def kept(self, rtype: str, typed: Sequence[Any], live: Resource, *, octodns: bool) -> list[Any]:
        """The live values, those that stand in the file spelled and ordered as there."""
        left = set(dns.values_of(live))
        values = []
        for value in typed:
            folded = self.folded(rtype, value, octodns=octodns)
            if folded in left:
                left.remove(folded)
                values.append(value)
        spell = _octodns_value if octodns else dns.as_typed
        return [*values, *(spell(rtype, value) for value in sorted(left))]


class _ShortEntry:
    def __init__(self, editor: ZoneEditor, entry: Mapping[str, Any]) -> None:
        self.editor = editor
        self.entry = dict(entry)

    def put(self, rtype: str, live: Resource | None, *, always: bool) -> dict[str, Any]:
        """`always`: without the limits in time that it has here."""
        entry = self.entry
        others = [key for key in entry if key not in (rtype, *SETTINGS)]
        if live is None:
            entry.pop(rtype, None)
            return entry if others else {}
        if always or rtype not in entry:
            self._keep_limits(others)
        old = entry.get(rtype)
        typed = old.get("values") if isinstance(old, dict) else old
        limits = {key: old[key] for key in LIMITS if key in old} if isinstance(old, dict) and not always else {}
        values = self.editor.kept(rtype, _listed(typed), live, octodns=False)
        value = values[0] if len(values) == 1 and not isinstance(typed, list) else values
        shared = fields.ttl(entry["ttl"]) if "ttl" in entry else self.editor.ttl
        ttl = dns.ttl_of(live)
        entry[rtype] = {"values": value, **limits} if limits else value
        if others and ttl != shared:
            entry[rtype] = {"values": value, "ttl": spoken_duration(ttl), **limits}
        elif not others and ttl == self.editor.ttl:
            entry.pop("ttl", None)
        elif not others and ttl != shared:
            entry["ttl"] = spoken_duration(ttl)
        return entry

    def _keep_limits(self, others: Sequence[str]) -> None:
        """Limits of all types at the name become those of the `others`."""
        limits = {key: self.entry.pop(key) for key in LIMITS if key in self.entry}
        for other in others if limits else ():
            typed = self.entry[other]
            self.entry[other] = {**limits, **typed} if isinstance(typed, dict) else {"values": typed, **limits}


class _OctodnsEntry:
    def __init__(self, editor: ZoneEditor, entry: Any) -> None:
        self.editor = editor
        self.items = [dict(item) for item in (entry if isinstance(entry, list) else [entry])]
        self.listed = isinstance(entry, list) and bool(entry)

    def put(self, rtype: str, live: Resource | None, *, always: bool) -> Any:
        index = next((i for i, item in enumerate(self.items) if item["type"].upper() == rtype), None)
        if live is None:
            self.items = [item for i, item in enumerate(self.items) if i != index]
        elif index is None:
            self.items.append(self._filled({"type": rtype}, rtype, live))
        else:
            item = {k: v for k, v in self.items[index].items() if not (always and k in LIMITS)}
            self.items[index] = self._filled(item, rtype, live)
        return self.items if self.listed or len(self.items) != 1 else self.items[0]

    def _filled(self, item: dict[str, Any], rtype: str, live: Resource) -> dict[str, Any]:
        typed = item.pop("values", item.get("value"))
        values = self.editor.kept(rtype, _listed(typed), live, octodns=True)
        item.pop("value", None)
        ttl = dns.ttl_of(live)
        if "ttl" in item or ttl != self.editor.ttl:
            item["ttl"] = str(ttl) if ttl != _ttl(item, self.editor.ttl) or "ttl" not in item else item["ttl"]
        single = len(values) == 1 and not isinstance(typed, list)
        return {**item, **({"value": values[0]} if single else {"values": values})}


def _ttl(item: Mapping[str, Any], default: int) -> int:
    return fields.ttl(item["ttl"]) if "ttl" in item else default


def _listed(typed: Any) -> Sequence[Any]:
    return [] if typed is None else typed if isinstance(typed, list) else [typed]


def _octodns_value(rtype: str, value: str) -> Plain:
    """A value as octoDNS reads it: structured, semicolons escaped."""
    if rtype in ("TXT", "SPF"):
        return dns.as_typed(rtype, value).replace(";", "\\;")
    names = records.PARTS.get(rtype)
    if rtype not in ("MX", "SRV", "CAA") or names is None:
        return value
    words = value.split(" ", len(names) - 1)
    return {name.split("|")[0]: word.strip('"') for name, word in zip(names, words, strict=True)}
