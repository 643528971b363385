"""
A firewall that others wrote → a customer's firewall.yaml, or firewall/<site>.yaml.

What stands there twice gets a name. What our language has no words for, or `load` would refuse, is kept to the letter
under `raw:`, and named with its reason; what cannot be kept there either stays in its old table, and is named first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mspctl import edit
from mspctl.desired.firewall.spelling import Entry, Speller, one_or_list
from mspctl.errors import InputError, Problem
from mspctl.kinds import addresses, firewall, services
from mspctl.kinds.firewall import ANY, SELF, text, texts
from mspctl.kinds.grown import Grown, Native, Odd
from mspctl.load import Estate, load
from mspctl.model.sections.firewall import FILES, MAIN
from mspctl.model.sections.firewall.rules import Shared
from mspctl.resource import Id, Resource

LEFT = "(left out: its old table has to stay for it)"
KEPT = "(kept as raw)"
GONE = "(left out)"
_PATH = re.compile(r"(rules|forwards|raw|static_nat)\[(\d+)\]")
_GROUPS = {frozenset({"tcp/80", "tcp/443"}): "web", frozenset({"tcp/25", "tcp/465", "tcp/587"}): "mail-in"}


@dataclass(slots=True)
class Imported:
    """What was written, and what is to be told of it."""

    files: Sequence[str] = ()
    rules: int = 0
    forwards: int = 0
    raw: int = 0
    told: list[Problem] = field(default_factory=list)  # what is otherwise than it was, or raw
    left_out: list[Problem] = field(default_factory=list)


def write(
    root: Path, customer: str, target: str, site: str, found: Grown, management: Sequence[str], name: str = ""
) -> Imported:
    """
    Into a customer's file; a customer that is not there yet is made, with its `name`.

    Raises InputError when the site is there already, when nobody knows from where the device is administered, or when
    the estate would not load; then nothing is written.
    """
    folder = root / "customers" / customer
    file = f"customers/{customer}/firewall.yaml" if site == MAIN else f"customers/{customer}/{FILES}/{site}.yaml"
    if (root / file).exists():
        raise InputError.at(file, "is there already (take it out to import it anew, or name another --site)")
    maker = _Maker(found, target)
    maker.lets_us_in(management)
    files = {file: ""}
    if not (folder / "customer.yaml").exists():
        files[f"customers/{customer}/customer.yaml"] = edit.dump({"name": name or customer})
    for _ in range(len(found.resources) + len(found.odd) + 2):
        files[file] = edit.dump(maker.device())
        if not maker.sift(*_loaded(root, customer, files, file)):
            break
    load(root, [customer], instead=files)
    for each, said in files.items():
        (root / each).parent.mkdir(parents=True, exist_ok=True)
        edit.write(root / each, said, file=each)
    return maker.imported([*files])


def _loaded(root: Path, customer: str, files: Mapping[str, str], file: str) -> tuple[Sequence[Problem], bool]:
    """What `load` says of the new file, and whether it loads."""
    try:
        estate: Estate = load(root, [customer], instead=files)
    except InputError as error:
        mine = [each for each in error.problems if each.file == file]
        others = [each for each in error.problems if each.file != file and each.level == "error"]
        if others:
            raise InputError(others) from None
        return mine, False
    return [each for each in estate.warnings if each.file == file], True


@dataclass(slots=True)
class _Maker:
    found: Grown
    target: str
    rules: list[Resource | Odd] = field(default_factory=list)  # in their order
    first: list[Odd] = field(default_factory=list)  # in chains where they come first
    forwards: list[Resource] = field(default_factory=list)
    nats: list[Resource] = field(default_factory=list)
    told: list[Problem] = field(default_factory=list)
    left_out: list[Problem] = field(default_factory=list)
    management: Entry = field(default_factory=dict)
    raw_ids: dict[int, str] = field(default_factory=dict)
    shared: Shared = field(default_factory=Shared)

    def __post_init__(self) -> None:
        by_name = {r.id.name: r for r in self.found.resources if r.id.kind == firewall.RULE}
        self.told += [Problem(self.target, 0, 1, "", each, "warning") for each in self.found.notes]
        waiting: dict[str, list[Odd]] = {}
        for odd in dict.fromkeys(self.found.odd):
            if not odd.native.text and not odd.spare:
                self._leave(odd)
            elif odd.native.chain in firewall.ORDERED:
                waiting.setdefault(odd.before, []).append(odd)
            else:
                self.first.append(odd)
        order = next(r for r in self.found.resources if r.id == firewall.ORDER).fields["rules"]
        for name in order if isinstance(order, tuple) else ():
            self.rules += [*waiting.pop(name, []), by_name[name]]
        self.rules += [odd for each in waiting.values() for odd in each]
        self.forwards = self._of(firewall.FORWARD)
        self.nats = self._of(firewall.NAT)

    def _of(self, kind: str) -> list[Resource]:
        return [r for r in self.found.resources if r.id.kind == kind]

    def _leave(self, odd: Odd) -> None:
        self.left_out.append(Problem(odd.native.place, 0, 1, odd.native.comment, f"{odd.why} {LEFT}"))

    # -- what lets us in --------------------------------------------------------------------------------------------

    def lets_us_in(self, said: Sequence[str]) -> None:
        """As it is said, or by rules that let a few hosts administer the device; those rules are then not needed."""
        port = frozenset({f"tcp/{self.found.port}"})
        found = [r for r in self._until_shut(port) if self._is_for_us(r, port)]
        if said:
            self.management = {"from": one_or_list([*said])}
        elif found:
            came = texts(found[0], "from")
            found = [r for r in found if texts(r, "from") == came]
            source = addresses.joined(a for r in found for a in texts(r, "source"))
            self.management = {"from": one_or_list(addresses.in_order(source))}
            self.management |= {} if came == {ANY} else {"zones": one_or_list(sorted(came))}
            self.rules = [r for r in self.rules if not (r in found and texts(r, "services") == port)]
        else:
            text = f"nothing lets few hosts reach tcp/{self.found.port}: from where is the device administered?"
            raise InputError.at("--management", f"is needed: {text} (write --management 198.51.100.0/28)")
        if self.found.port != 22:
            self.management["services"] = f"tcp/{self.found.port}"

    def _until_shut(self, port: frozenset[str]) -> Iterator[Resource]:
        """Rules for the device itself, as far as nothing shuts somebody out of its administration."""
        for rule in self.rules:
            if isinstance(rule, Odd):
                if rule.native.chain == "input" and not rule.native.text.endswith(" accept"):
                    return
            elif SELF in texts(rule, "to"):
                if rule.fields["action"] != "accept" and services.meet(texts(rule, "services"), port):
                    return
                yield rule

    @staticmethod
    def _is_for_us(rule: Resource, port: frozenset[str]) -> bool:
        spans = [*map(addresses.span, texts(rule, "source"))]
        few = all(s is not None and s.high - s.low < addresses.MANY[s.version] for s in spans)
        whole = texts(rule, "destination") == addresses.ANY
        return few and whole and services.covers(texts(rule, "services"), port) and rule.fields["action"] == "accept"

    # -- what load refuses ------------------------------------------------------------------------------------------

    def sift(self, problems: Sequence[Problem], loads: bool) -> bool:
        """Take out what is refused; whether something was."""
        gone: dict[tuple[str, int], Problem] = {}
        for each in problems:
            place = _PATH.match(each.path)
            if place and (each.level == "error" or "never counts" in each.text):
                gone.setdefault((place[1], int(place[2])), each)
        refused = [(kind, self._said(kind)[number], problem) for (kind, number), problem in sorted(gone.items())]
        for kind, one, problem in refused:  # by now numbers say nothing any more
            self._refused(kind, one, problem)
        if not (gone or loads):
            raise InputError([each for each in problems if each.level == "error"])
        return bool(gone)

    def _said(self, kind: str) -> Sequence[Resource | Odd]:
        """As the YAML lists it."""
        rules = [each for each in self.rules if isinstance(each, Resource)]
        said: Mapping[str, Sequence[Resource | Odd]] = {
            "rules": rules,
            "raw": self._raw(),
            "forwards": self.forwards,
            "static_nat": self.nats,
        }
        return said[kind]

    def _refused(self, kind: str, one: Resource | Odd, problem: Problem) -> None:
        if isinstance(one, Odd):
            self.rules = [each for each in self.rules if each is not one]
            self.first = [each for each in self.first if each is not one]
            self._leave(Odd(one.native, problem.text))
        else:
            self._no_words(kind, one, problem)

    def _no_words(self, kind: str, resource: Resource, problem: Problem) -> None:
        natives = self.found.natives.get(resource.id, [Native("", "", "its old table")])
        if "never counts" in problem.text:
            self.told.append(
                Problem(
                    natives[0].place, 0, 1, resource.id.name, f"{problem.text.partition(' (')[0]} {GONE}", "warning"
                )
            )
        odds = [Odd(native, problem.text.partition(" (")[0]) for native in natives]
        if kind == "rules":
            at = next(n for n, each in enumerate(self.rules) if each is resource)
            kept = [] if "never counts" in problem.text else [odd for odd in odds if odd.native.text]
            self.rules[at : at + 1] = kept
        else:
            (self.forwards if kind == "forwards" else self.nats).remove(resource)
            self.first += [odd for odd in odds if odd.native.text]
            self._spares()
        for odd in odds if "never counts" not in problem.text else ():
            if not odd.native.text and not odd.spare:
                self._leave(odd)

    def _spares(self) -> None:
        """What all forwards said together counts itself when one of them is raw."""
        spare = [each for each in self.rules if isinstance(each, Odd) and each.spare]
        for each in spare:
            at = self.rules.index(each)
            self.rules[at : at + 1] = [replace(each, spare=False)] if each.native.text else []
            if not each.native.text:
                self._leave(each)

    def _raw(self) -> list[Odd]:
        return [*self.first, *(each for each in self.rules if isinstance(each, Odd) and not each.spare)]

    # -- YAML -------------------------------------------------------------------------------------------------------

    def device(self) -> Entry:
        self.shared = Shared(**self._names())
        rules = [each for each in self.rules if isinstance(each, Resource)]
        said: Entry = {"target": self.target, "zones": {z.id.name: self._zone(z) for z in self._of(firewall.ZONE)}}
        for name in ("objects", "services"):
            held: Mapping[str, Sequence[str]] = getattr(self.shared, name)
            said[name] = {key: one_or_list([*value]) for key, value in held.items()}
        said["management"] = self.management
        said["rules"] = [self._rule(each) for each in rules]
        said["forwards"] = [self._forward(each) for each in self.forwards]
        said["static_nat"] = [
            {"id": r.id.name, **{name: text(r, name) for name in ("zone", "outside", "inside")}} for r in self.nats
        ]
        said["raw"] = [*self._raw_entries()]
        said["masquerade"] = self._pairs(firewall.MASQUERADE, self._masquerade)
        said["policies"] = self._pairs(firewall.POLICY, lambda r: {"action": text(r, "action")})
        default = next(r for r in self.found.resources if r.id == firewall.DEFAULT)
        said["default"] = {"action": text(default, "action")}
        said["default"] |= {"log": edit.Bare("true")} if default.fields["log"] else {}
        return {key: value for key, value in said.items() if value or key in ("zones", "rules")}

    def _zone(self, zone: Resource) -> Any:
        interfaces = one_or_list(sorted(texts(zone, "interfaces")))
        return {"interfaces": interfaces, "outside": edit.Bare("true")} if zone.fields["outside"] else interfaces

    @property
    def _speller(self) -> Speller:
        return Speller(self.shared, "UTC", datetime.now(UTC))

    def _rule(self, rule: Resource) -> Entry:
        entry, _ = self._speller.rule(rule, {})
        return self._with_why(rule.id, entry)

    def _forward(self, forward: Resource) -> Entry:
        entry, _ = self._speller.forward(forward, {})
        return self._with_why(forward.id, entry)

    def _with_why(self, id_: Id, entry: Entry) -> Entry:
        said = {key: value for key, value in entry.items() if value is not None}
        return said | _why(each.comment for each in self.found.natives.get(id_, ()))

    def _raw_entries(self) -> Iterator[Entry]:
        ids = {r.id.name for r in self.found.resources}
        self.raw_ids = {}
        for odd in self._raw():
            name = _free(_slug(odd.native.comment or f"{odd.native.chain}-raw"), ids)
            self.raw_ids[id(odd)] = name
            ids.add(name)
            entry: Entry = {"id": name, "chain": odd.native.chain, "text": odd.native.text}
            behind = self.rules[self.rules.index(odd) + 1 :] if odd in self.rules else []
            before = next((each.id.name for each in behind if isinstance(each, Resource)), None)
            entry |= {"before": before} if before else {}
            yield entry | (_why([odd.native.comment]) or _why([odd.why]))

    def _masquerade(self, resource: Resource) -> Entry:
        source = texts(resource, "source")
        return {} if source == addresses.ANY else {"source": self._speller.places(source)}

    def _pairs(self, kind: str, more: Any) -> list[Entry]:
        """Pairs of which the same is said are one entry, as far as they have the same destination."""
        found: dict[tuple[str, str], list[str]] = {}
        said: dict[tuple[str, str], Entry] = {}
        for resource in self._of(kind):
            came, goes = firewall.zones_of(resource.id.name)
            key = (goes, repr(more(resource)))
            found.setdefault(key, []).append(came)
            said[key] = more(resource)
        return [{"from": one_or_list(came), "to": key[0], **said[key]} for key, came in found.items()]

    # -- names ------------------------------------------------------------------------------------------------------

    def _names(self) -> dict[str, Any]:
        held = [r for r in self.rules if isinstance(r, Resource)] + self.forwards
        masked = self._of(firewall.MASQUERADE)
        places = Counter(texts(r, n) for r in held + masked for n in ("source", "destination") if texts(r, n))
        places.update(frozenset({text(r, "to")}) for r in self.forwards)
        ports = Counter(texts(r, "services") for r in held if r.id.kind == firewall.RULE)
        named = [r for r in self.forwards if any(each.comment for each in self.found.natives.get(r.id, ()))]
        hosts = {frozenset({text(r, "to")}): r.id.name for r in reversed(named)}
        objects = self._factored(places, hosts, _object_name)
        taken = {*services.WELL_KNOWN, *services.ALONE, "icmp"}
        groups = {s: n for s, n in ports.items() if len(s) > 1 and services.spoken(s) not in taken}
        ports_ = self._factored(Counter(groups), _GROUPS, _service_name, taken)
        return {
            "objects": {name: tuple(addresses.in_order(said)) for said, name in objects.items()},
            "services": {name: tuple(sorted(said, key=_by_port)) for said, name in ports_.items()},
        }

    def _factored(
        self,
        counted: Counter[frozenset[str]],
        hints: Mapping[frozenset[str], str],
        name_of: Any,
        taken: Iterable[str] = (),
    ) -> dict[frozenset[str], str]:
        """What stands there twice, or has a name already."""
        found: dict[frozenset[str], str] = {}
        used = {*taken, ANY, SELF}
        for said, count in sorted(counted.items(), key=lambda item: (-item[1], sorted(item[0]))):
            known = self.found.called.get(said)
            if ANY in said or (count < 2 and not known) or said & {"0.0.0.0/0", "::/0"}:
                continue
            wanted = known or hints.get(said) or self._all_but(said) or name_of(said)
            if _is_taken(wanted):
                wanted = f"the-{wanted}"
            found[said] = _free(wanted, used)
            used.add(found[said])
        return found

    def _all_but(self, said: frozenset[str]) -> str:
        """The name of what everybody but somebody is."""
        version = 4 if any("." in each for each in said) else 6
        few = addresses.without(addresses.ANY, said, version) if len(said) > 1 else frozenset()
        known = self.found.called.get(few, "some")
        return f"all-but-{known}" if 0 < len(few) < len(said) else ""

    # -- what is told -----------------------------------------------------------------------------------------------

    def imported(self, files: Sequence[str]) -> Imported:
        raw = self._raw()
        for odd in raw:
            name = self.raw_ids.get(id(odd), "")
            self.told.append(Problem(odd.native.place, 0, 1, name, f"{odd.why} {KEPT}", "warning"))
        rules = sum(isinstance(each, Resource) for each in self.rules)
        return Imported(files, rules, len(self.forwards), len(raw), self.told, self.left_out)


def _why(comments: Iterable[str]) -> Entry:
    said = next((each.strip() for each in comments if each.strip() and each.isprintable()), "")
    return {"why": said} if said else {}


def _slug(said: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", said.lower()).strip("-")[:40].strip("-") or "raw"


def _free(name: str, used: set[str]) -> str:
    return next(n for k in range(1, 10_000) if (n := name if k == 1 else f"{name[:40]}-{k}") not in used)


def _is_taken(name: str) -> bool:
    try:
        addresses.fold(name)
    except ValueError:
        return False
    return True


def _object_name(said: frozenset[str]) -> str:
    first = addresses.in_order(said)[0]
    kind = "hosts" if len(said) > 1 else "range" if "-" in first else "net" if "/" in first else "host"
    return f"{kind}-{_slug(first)}"


def _service_name(said: frozenset[str]) -> str:
    return _slug(services.spoken(said).replace(", ", "-"))


def _by_port(said: str) -> tuple[str, int, int]:
    return services.ports(said) or (said, 0, 0)
