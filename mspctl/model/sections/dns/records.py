"""
Record files: `dns/<zone>.yaml` in the short form or in octoDNS's form, entry by entry.

Tables rather than models, because a record file's keys are data (names and types) and a large estate has a
hundred thousand of them. The same reader serves `import`, which decides otherwise about names without a dot.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mspctl import fields
from mspctl.kinds import dns, shown
from mspctl.model.base import nearest
from mspctl.moments import Clock, Moment, Span
from mspctl.resource import Id, Resource
from mspctl.strict_yaml import Data, Map, Mark, Problems, Seq

APEX = "apex"  # how people write the zone's own name
LIMITS = ("from", "until")  # when an RRset is declared
SETTINGS = ("ttl", *LIMITS)  # of all types at a name; any other key is a type
OCTODNS_TTL = 3600  # octoDNS's own default

# What octoDNS knows of a record besides its values.
_OCTODNS_SETTINGS = frozenset({"octodns", "geo", "dynamic", "lenient"})
_NAMES = ("since", "until")  # of LIMITS in a Span
_ADDRESS = re.compile(r"\d{1,3}(\.\d{1,3}){3}", re.ASCII)

Dotless = Literal["refuse", "absolute"]


@dataclass(slots=True)
class _Values:
    """The values of one RRset as typed, each with its place."""

    rtype: str
    ttl: int
    items: list[tuple[Any, Mark]]
    mark: Mark
    path: str
    span: Span | None = None


class RecordReader:
    """
    Turns one zone's YAML into RRsets. Every problem goes to `problems`; what is right is returned all the same.

    `clock` is the customer's; without one, records cannot be limited in time.
    """

    def __init__(
        self, zone: str, ttl: int, problems: Problems, clock: Clock | None = None, *, dotless: Dotless = "refuse"
    ) -> None:
        self.zone = zone
        self.ttl = ttl
        self.problems = problems
        self.clock = clock
        self.settings = SETTINGS if clock else ("ttl",)
        self.dotless = dotless
        self.octodns = False  # whether the entry at hand is in octoDNS's form
        self.rrsets = 0  # seen, right or wrong
        self.values = 0
        self.doubled = 0  # values that were there already
        self.resources: list[Resource] = []
        self.places: dict[Id, tuple[Mark, str]] = {}  # where each RRset stands, and its path
        self.spans: dict[Id, Span] = {}  # of RRsets that are limited in time

    def read(self, data: Data, file: str) -> list[Resource]:
        if not isinstance(data, Map):
            what = "is empty (write at least: apex: {NS: …})" if data is None else "should be a mapping of names"
            self.problems.add(None, "", what, file=file)
            return []
        for key, entry in data.items():
            found = self._entry(key or "''", entry, data.marks[key])
            owner = self._owner(key, data.marks[key])
            for values in found:
                self.rrsets += 1
                self.values += len(values.items)
                resource = self._rrset(owner, values)
                if resource is not None:
                    self.resources.append(resource)
        return self.resources

    # -- shapes

    def _entry(self, path: str, entry: Data, mark: Mark) -> list[_Values]:
        self.octodns = isinstance(entry, Seq) or (isinstance(entry, Map) and "type" in entry)
        if self.octodns:
            items = [(entry, mark)] if isinstance(entry, Map) else list(zip(entry, entry.marks, strict=True))
            found = [self._octodns(path, item, item_mark) for item, item_mark in items]
            return [values for values in found if values]
        if not isinstance(entry, Map):
            self.problems.add(mark, path, "should be a mapping of record types ({A: 192.0.2.1})")
            return []
        return self._short(path, entry, mark)

    def _short(self, key: str, entry: Map, mark: Mark) -> list[_Values]:
        ttl, span = self._ttl(entry, key, self.ttl), self._span(entry, key, None)
        found = []
        for rtype, value in entry.items():
            if rtype in self.settings:
                continue
            own, path, typed = entry.marks[rtype], f"{key}.{rtype}", rtype
            if rtype != rtype.upper():
                self.problems.add(own, path, _lower_case(rtype), at_value=False)
                continue
            rtype_ttl, rtype_span, items = ttl, span, value
            if isinstance(value, Map):
                self._known(value, ("values", *self.settings), path)
                rtype_ttl, rtype_span = self._ttl(value, path, ttl), self._span(value, path, span)
                if "values" not in value:
                    self.problems.add(own, path, "values is missing")
                    continue
                items, own = value["values"], value.marks["values"]
            found.append(_Values(typed, rtype_ttl, _items(items, own), own, path, rtype_span))
        if not found and not any(k not in self.settings for k in entry):
            self.problems.add(mark, key, "holds no record ({A: 192.0.2.1})")
        return found

    def _octodns(self, key: str, entry: Data, mark: Mark) -> _Values | None:
        if not isinstance(entry, Map) or not isinstance(entry.get("type"), str):
            self.problems.add(mark, key, "should be a record with type, ttl and value or values")
            return None
        rtype = entry["type"]
        path = f"{key}.{rtype}"
        for setting in sorted(_OCTODNS_SETTINGS & entry.keys()):
            text = f"octoDNS's {setting} has no counterpart here (remove it)"
            self.problems.add(entry.marks[setting], f"{path}.{setting}", text, at_value=False)
        self._known(entry, ("type", *self.settings, "value", "values"), path)
        both = [k for k in ("value", "values") if k in entry]
        if len(both) != 1:
            text = "has value and values (leave one)" if both else "value is missing"
            self.problems.add(mark, path, text)
            self.rrsets += 1
            return None
        own = entry.marks[both[0]]
        ttl = self._ttl(entry, path, self.ttl)
        place = entry.marks["type"]
        named = Mark(place.file, place.value_line, place.value_column, place.value_line, place.value_column)
        return _Values(rtype, ttl, _items(entry[both[0]], own), named, path, self._span(entry, path, None))

    def _known(self, entry: Map, known: tuple[str, ...], path: str) -> None:
        for key in entry:
            if key not in known and not (self.octodns and key in _OCTODNS_SETTINGS):
                mark = entry.marks[key]
                self.problems.add(mark, f"{path}.{key}", f"unknown key{nearest(key, known)}", at_value=False)

    def _ttl(self, entry: Map, path: str, default: int) -> int:
        if "ttl" not in entry:
            return default
        try:
            return fields.ttl(entry["ttl"])
        except ValueError as error:
            self.problems.add(entry.marks["ttl"], f"{path}.ttl", str(error))
            return default

    def _span(self, entry: Map, path: str, default: Span | None) -> Span | None:
        """When an entry is declared; what it does not say itself is as for all types at its name."""
        if self.clock is None or not ("until" in entry or "from" in entry):
            return default
        limits = {key: self._moment(entry, key, path) for key in LIMITS if key in entry}
        since, until = (limits.get(key, getattr(default, name, None)) for key, name in zip(LIMITS, _NAMES, strict=True))
        try:
            span = Span(self.clock.zone, since, until)
        except ValueError as error:
            self.problems.add(entry.marks[next(iter(limits))], path, str(error))
            return default
        if "until" in limits and span.is_over(self.clock.now):
            text = "is over: this is not declared any more (it can be removed)"
            self.problems.add(entry.marks["until"], f"{path}.until", text, level="warning")
        return span

    def _moment(self, entry: Map, key: str, path: str) -> Moment | None:
        assert self.clock is not None, "there are no limits without a clock"
        mark, path = entry.marks[key], f"{path}.{key}"
        try:
            moment = fields.until(entry[key])
            if moment.is_doubled(self.clock.zone):
                which = "later" if key == "from" else "earlier"
                text = f"{moment} comes twice in {self.clock.zone}, when clocks go back; the {which} one is meant"
                self.problems.add(mark, path, text, level="warning")
        except ValueError as error:
            self.problems.add(mark, path, str(error))
            return None
        return moment

    # -- names and values

    def _rrset(self, owner: str | None, values: _Values) -> Resource | None:
        try:
            rtype = dns.fold_type(values.rtype)
        except ValueError as error:
            hint = _other_type(values.rtype) if isinstance(error, dns.UnknownTypeError) else ""
            self.problems.add(values.mark, values.path, f"{error}{hint}", at_value=False)
            return None
        folded = self._fold_all(rtype, values)
        if not values.items:
            self.problems.add(values.mark, values.path, "has no value")
        if owner is None or not folded:
            return None
        resource = dns.rrset(owner, rtype, values.ttl, folded, f"{values.mark.file}:{values.mark.line}")
        if first := self.places.get(resource.id):
            text = f"{resource.id.name} stands here twice (first on line {first[0].line}; put all values in one list)"
            self.problems.add(values.mark, values.path, text)
            return None
        self.places[resource.id] = values.mark, values.path
        if values.span:
            self.spans[resource.id] = values.span
        return resource

    def _owner(self, key: str, mark: Mark) -> str | None:
        try:
            apex = "" if self.octodns else APEX
            if key.lower() == apex:
                return dns.APEX
            if key in ("@", ""):
                raise ValueError(f"{key!r}: the zone's own name is written {apex or repr(apex)} here")
            if key == APEX and self.dotless == "refuse":
                raise ValueError(rf"{key!r} is a host in octoDNS's form (write '' for the zone's own name, or \{APEX})")
            owner = dns.fold_owner(key, self.zone)
        except ValueError as error:
            self.problems.add(mark, key or "''", str(error), at_value=False)
            return None
        if owner == self.zone or owner.endswith("." + self.zone):
            text = f"is {owner}.{self.zone}. (names are relative to the zone; or end it with a dot)"
            self.problems.add(mark, key, text, at_value=False, level="warning")
        return owner

    def _fold_all(self, rtype: str, values: _Values) -> list[str]:
        folded: dict[str, Mark] = {}
        for typed, mark in values.items:
            try:
                value = dns.fold_value(rtype, self.text(rtype, typed), self._relative)
            except ValueError as error:
                self.problems.add(mark, values.path, str(error))
                continue
            if value in folded:
                self.problems.add(mark, values.path, f"{shown(typed)} is listed twice", level="warning")
                self.doubled += 1
            folded[value] = mark
        if rtype in dns.SINGLE and len(folded) > 1:
            self.problems.add(values.mark, values.path, f"has {len(folded)} values (there can be only one)")
            return []
        return list(folded)

    def text(self, rtype: str, typed: Any) -> str:
        """One value of the entry at hand as it would stand in a master file, or the content of a text."""
        if self.octodns:
            if isinstance(typed, Map):
                return _structured(rtype, typed)
            if isinstance(typed, str) and rtype in ("TXT", "SPF"):
                typed = _octodns_text(typed)
        return fields.line(typed)

    def _relative(self, name: str) -> str:
        if self.dotless == "absolute":
            return name + "."
        if _ADDRESS.fullmatch(name):
            raise dns.DotlessError(f"{name!r} is an address, and a name is expected (addresses belong to A records)")
        inside = f"{name}.{self.zone}."
        raise dns.DotlessError(
            f"{name!r} has no dot at its end: write {name + '.'!r} (exactly that name) or {inside!r} (in this zone)"
        )


def _lower_case(key: str) -> str:
    """What is wrong with a key of the short form that is not written in capitals."""
    if key.upper() in dns.COMMON:
        return f"record types are written in capitals ({key.upper()})"
    if key in ("value", "values"):
        return "type is missing beside it (or write {A: 192.0.2.1})"
    return f"unknown key{nearest(key, (*SETTINGS, *dns.COMMON))}"


def _other_type(rtype: str) -> str:
    if "/" in rtype:
        return ", but one provider's own (write A and AAAA, or ALIAS for a target that has it)"
    return nearest(rtype, dns.COMMON)


def _items(values: Data, mark: Mark) -> list[tuple[Any, Mark]]:
    if isinstance(values, Seq):
        return list(zip(values, values.marks, strict=True))
    return [(values, mark)]


def _octodns_text(typed: str) -> str:
    """octoDNS escapes semicolons, and takes quoted chunks as one text."""
    if len(typed) > 1 and typed[0] == typed[-1] == '"':
        typed = typed[1:-1].replace('" "', "")
    return typed.replace("\\;", ";")


# octoDNS's structured values, in the order in which a master file has them. Two names: the newer and the older one.
PARTS: Mapping[str, tuple[str, ...]] = {
    "MX": ("preference|priority", "exchange|value"),
    "SRV": ("priority", "weight", "port", "target"),
    "CAA": ("flags", "tag", "value"),
    "DS": ("key_tag", "algorithm", "digest_type", "digest"),
    "NAPTR": ("order", "preference", "flags", "service", "regexp", "replacement"),
    "SSHFP": ("algorithm", "fingerprint_type", "fingerprint"),
    "TLSA": ("certificate_usage", "selector", "matching_type", "certificate_association_data"),
    "URI": ("priority", "weight", "target"),
    "SVCB": ("svcpriority", "targetname"),
    "HTTPS": ("svcpriority", "targetname"),
    "LOC": (),
}
_QUOTED_PARTS = {("CAA", "value"), ("URI", "target"), ("NAPTR", "flags"), ("NAPTR", "service"), ("NAPTR", "regexp")}
# What octoDNS itself takes where nothing is written.
_DEFAULT_PARTS = {
    ("CAA", "flags"): "0",
    ("TLSA", "certificate_usage"): "0",
    ("TLSA", "selector"): "0",
    ("TLSA", "matching_type"): "0",
}
# Quoted parts are in presentation format: an escape in them stays one.
_BARE_QUOTE = re.compile(r'(\\.)|"')
# DS values once had the names of another record's parts.
_OLD_DS = {"flags": "key_tag", "protocol": "algorithm", "algorithm": "digest_type", "public_key": "digest"}
_LOC = (
    "lat_degrees lat_minutes lat_seconds lat_direction long_degrees long_minutes long_seconds long_direction "
    "altitude size precision_horz precision_vert"
).split()


def _structured(rtype: str, value: Map) -> str:
    if rtype not in PARTS:
        raise ValueError(f"{rtype} values are text, not a mapping")
    left = dict(value)
    if rtype == "DS" and left.keys() & {"flags", "public_key"}:
        left = {_OLD_DS.get(name, name): part for name, part in left.items()}
    text = _loc(left) if rtype == "LOC" else " ".join(_part(rtype, names, left) for names in PARTS[rtype])
    if rtype in ("SVCB", "HTTPS") and "svcparams" in left:
        text += _svcparams(left.pop("svcparams"))
    if left:
        known = _LOC if rtype == "LOC" else [n.split("|")[0] for n in PARTS[rtype]]
        key = next(iter(left))
        raise ValueError(f"unknown key {shown(key)} in the {rtype} value{nearest(key, known)}")
    return text


def _part(rtype: str, names: str, left: dict[str, Any]) -> str:
    name = next((n for n in names.split("|") if n in left), None)
    if name is None and (default := _DEFAULT_PARTS.get((rtype, names))) is not None:
        return default
    if name is None:
        raise ValueError(f"{names.split('|')[0]} is missing in the {rtype} value")
    try:
        text = fields.line(left.pop(name))
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None
    if (rtype, name) in _QUOTED_PARTS:
        return '"' + _BARE_QUOTE.sub(lambda m: m[0] if m[1] else r"\"", text) + '"'
    return text


def _loc(left: dict[str, Any]) -> str:
    parts = [_part("LOC", name, left) for name in _LOC]
    return " ".join([*parts[:8], *(f"{part}m" for part in parts[8:])])


def _svcparams(params: Any) -> str:
    if not isinstance(params, Map):
        raise ValueError("svcparams should be a mapping")
    text = ""
    for key, value in params.items():
        parts = value if isinstance(value, Seq) else [] if value is None else [value]
        values = ",".join(map(fields.line, parts))
        text += f' {key}="{values}"' if values else f" {key}"
    return text


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a record file, both forms."""
    scalar = {"type": ["string", "number"]}
    values = {"oneOf": [scalar, {"type": "array", "items": scalar, "minItems": 1}]}
    ttl = {"type": ["integer", "string"], "examples": ["1h", "5m", 300]}
    settings = {"ttl": ttl, "from": fields.UNTIL, "until": fields.UNTIL}
    one = {
        "type": "object",
        "properties": {"values": values, **settings},
        "required": ["values"],
        "additionalProperties": False,
    }
    short = {
        "type": "object",
        "properties": {**settings, "type": False, **{t: {"anyOf": [values, one]} for t in dns.COMMON}},
        "patternProperties": {"^[A-Z][A-Z0-9-]*$": {"anyOf": [values, one]}},
        "additionalProperties": False,
    }
    any_value = {"type": ["string", "number", "object"]}
    octodns = {
        "type": "object",
        "properties": {
            "type": {"type": "string"},
            **settings,
            "value": any_value,
            "values": {"oneOf": [any_value, {"type": "array", "items": any_value}]},
        },
        "required": ["type"],
        "additionalProperties": False,
    }
    entry = {"anyOf": [short, octodns, {"type": "array", "items": octodns}]}
    return {"type": "object", "title": "Records of one zone", "additionalProperties": entry}
