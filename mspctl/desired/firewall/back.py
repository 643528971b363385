"""
What a device does → the YAML of its firewall, by edits in place: `firewall/<site>.yaml`, or `firewall.yaml`.

What was not in the device's own file is not changed for one device: it comes from what several have in common, or from
a baseline. What was edited is loaded again, with all that `load` refuses, and must come to what was meant and change
nothing else. A rule that moves within a list leaves the comment above it where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from mspctl import edit, strict_yaml
from mspctl.desired import Rewritten, Selection, declarations
from mspctl.desired.firewall.spelling import Entry, Speller, listed, one_or_list
from mspctl.edit import Bare
from mspctl.errors import Error, InputError
from mspctl.kinds import AMISS, firewall
from mspctl.kinds import vpn as tunnels
from mspctl.kinds.firewall import text, texts
from mspctl.load import Estate, load
from mspctl.model.sections.firewall import FACET, Site, vpn
from mspctl.model.sections.firewall.rules import VpnUser
from mspctl.resource import Id, Resource, Value
from mspctl.strict_yaml import Map, Problems, Seq, find, find_value

REMEDY = "change it by hand, or undo it: apply --revert"
RULES = ("before", "rules", "after")
RAW = "raw"


def rewrite(estate: Estate, customer: str, name: str, adopted: Mapping[Id, Resource | None]) -> Rewritten:
    """The device's file, declaring `adopted` (None: no longer) besides all else that it says."""
    owner = estate.customers[customer]
    site: Site = owner.files[FACET][name]
    file = site.file
    before = (estate.root / file).read_bytes().decode() if (estate.root / file).is_file() else ""
    editor = DeviceEditor(site, before, Speller(site.device, owner.info.timezone, estate.now))
    for id_, resource in sorted(adopted.items(), key=_rank):
        try:
            editor.put(id_, resource)
        except ValueError as error:
            raise InputError.at(file, f"{id_.name} {error}; {REMEDY}") from None
    after = edit.edit(before, editor.edits, file=file)
    _verify(estate, customer, name, file, after, adopted)
    return Rewritten(file, before, after, len(adopted))


def _rank(item: tuple[Id, Resource | None]) -> tuple[int, Id]:
    """Zones come before what speaks of them and go after it; the order is of rules that are there."""
    id_, resource = item
    if id_ == firewall.ORDER:
        return 2, id_
    if id_.kind == firewall.ZONE:
        return (0 if resource else 3), id_
    return 1, id_


# -- whether it came to what was meant ----------------------------------------------------------------------------


def _verify(
    estate: Estate, customer: str, name: str, file: str, text: str, adopted: Mapping[Id, Resource | None]
) -> None:
    try:
        later = load(estate.root, [customer], estate.now, {file: text})
    except InputError as error:
        raise Error(
            f"{file}: the live values cannot be written there ({error.problems[0].text}); nothing was changed"
        ) from None
    before, after = (_declared(each, customer, name) for each in (estate, later))
    meant = {i: r.fields if r else None for i, r in adopted.items()}
    meant |= {each: None for each in _following(estate.customers[customer].files[FACET][name], adopted)}
    expected = {i: meant.get(i, before.get(i)) for i in {*before, *after, *meant}}
    wrong = sorted(i.name for i, fields in expected.items() if i != firewall.ORDER and fields != after.get(i))
    order = _order(meant.get(firewall.ORDER) or before.get(firewall.ORDER))
    if _among(order, after) != [n for n in _order(after.get(firewall.ORDER)) if n in order]:
        wrong.append(firewall.ORDER.name)
    if wrong:
        raise Error(f"{file}: the live values cannot be written there ({', '.join(wrong)}); nothing was changed")


def _following(site: Site, adopted: Mapping[Id, Resource | None]) -> Iterator[Id]:
    """The rules of users of the VPN who are gone: they go with them."""
    for _, peer in vpn.peers(site.device):
        if isinstance(peer, VpnUser) and adopted.get(Id(tunnels.USER, peer.id), peer) is None:
            yield from (Id(firewall.RULE, rule) for _, rule, _ in vpn.reaches(peer))


def _declared(estate: Estate, customer: str, name: str) -> dict[Id, Mapping[str, Value]]:
    made = declarations(estate, Selection([customer], [FACET]), {}, estate.now)
    return {r.id: r.fields for d in made if d.scope.name == name for r in d.resources}


def _order(fields: Mapping[str, Value] | None) -> list[str]:
    said = fields["rules"] if fields else ()
    return [str(each) for each in said] if isinstance(said, tuple) else []


def _among(order: Sequence[str], declared: Mapping[Id, object]) -> list[str]:
    return [each for each in order if {Id(kind, each) for kind in (firewall.RULE, firewall.RAW)} & {*declared}]


# -- edits --------------------------------------------------------------------------------------------------------


class DeviceEditor:
    """One device's file, as it will be. `put` raises ValueError for what YAML cannot say."""

    def __init__(self, site: Site, text: str, speller: Speller) -> None:
        self.site = site
        self.speller = speller
        self.edits: list[edit.Edit] = []
        data = strict_yaml.parse(text, site.file, Problems())
        self.own = data if isinstance(data, Map) else Map()
        self.lists: dict[str, list[Entry]] = {}

    def put(self, id_: Id, live: Resource | None) -> None:
        _PUT[id_.kind](self, id_, live)

    # -- lists of entries with an id ------------------------------------------------------------------------------

    def entries(self, kind: str) -> list[Entry]:
        """What the device's own file lists, as it is by now."""
        if kind not in self.lists:
            said = find_value(self.own, self._place(kind))
            self.lists[kind] = [dict(each) for each in said] if isinstance(said, Seq) else []
        return self.lists[kind]

    def _place(self, kind: str) -> tuple[str, ...]:
        """Where the own file has its entries: a list, or what it adds to the list of others."""
        said = self.own.get(kind)
        shared = said is None and find_value(self.site.data, (kind,))
        return (kind, "add") if isinstance(said, Map) or shared else (kind,)

    def find(self, kinds: Sequence[str], name: str) -> tuple[str, int] | None:
        """Where the own file has what is called so. Raises ValueError where another file has it."""
        for kind in kinds:
            for number, each in enumerate(self.entries(kind)):
                if each.get("id") == name:
                    return kind, number
            for number, each in enumerate(getattr(self.site.device, kind)):
                mark = find(self.site.data, (kind, number))
                if each.id == name and mark and mark.file != self.site.file:
                    raise ValueError(f"comes from {mark.file}:{mark.line}")
        return None

    def add(self, kind: str, entry: Entry, index: int | None = None) -> None:
        """A new entry, at the end if nothing else is said."""
        held = self.entries(kind)
        place = self._place(kind)
        whole = {key: value for key, value in entry.items() if value is not None}
        at = len(held) if index is None else index
        if held or find_value(self.own, place) is not None:
            self.edits.append(edit.Insert(place, whole, at))
        else:
            self.edits.append(edit.Set(place, [whole]))
            self._set_own(place)
        held.insert(at, whole)

    def _set_own(self, place: Sequence[str]) -> None:
        here: Any = self.own
        for step in place[:-1]:
            here = here.setdefault(step, Map())
        here.setdefault(place[-1], Seq())

    def remove(self, kind: str, number: int) -> None:
        self.edits.append(edit.Delete((*self._place(kind), number)))
        del self.entries(kind)[number]

    def change(self, kind: str, number: int, entry: Mapping[str, Any]) -> None:
        """Keys with a value are set, those without are taken out; others stay."""
        held = self.entries(kind)[number]
        path: edit.Keys = (*self._place(kind), number)
        for key, value in entry.items():
            if value is None and key in held:
                if held[key] not in ("false", None):
                    self.edits.append(edit.Delete((*path, key)))
                    del held[key]
            elif value is not None and held.get(key) != value:
                self.edits.append(edit.Set((*path, key), value))
                held[key] = value

    def _put_entry(
        self,
        kinds: Sequence[str],
        id_: Id,
        live: Resource | None,
        spell: Callable[[Resource, Mapping[str, Any]], tuple[Entry, dict[str, str]]],
    ) -> None:
        found = self.find(kinds, id_.name)
        if live is None:
            if found:
                self.remove(*found)
            return
        entry, schedules = spell(live, self.entries(found[0])[found[1]] if found else {})
        for name, said in schedules.items():
            self.edits.append(edit.Set(("schedules", name), said))
        if found:
            self.change(*found, entry)
        else:
            self.add("rules" if "rules" in kinds else kinds[0], entry)

    # -- kinds ----------------------------------------------------------------------------------------------------

    def peer(self, id_: Id, live: Resource | None) -> None:
        """Who is gone from the tunnel is taken out; a key tells nobody who somebody new is."""
        kind = "users" if id_.kind == tunnels.USER else "sites"
        said = find_value(self.own, ("vpn", kind))
        at = next((n for n, each in enumerate(said or ()) if each.get("id") == id_.name), None)
        if live is not None or at is None:
            raise ValueError("is somebody's in the VPN (write who it is under vpn:)")
        self.edits.append(edit.Delete(("vpn", kind, at)))

    def tunnel(self, id_: Id, live: Resource | None) -> None:
        raise ValueError("is the VPN itself (write it under vpn:)")

    def rule(self, id_: Id, live: Resource | None) -> None:
        if any(rule.id == id_.name for _, rule in vpn.rules(self.site.device)):
            raise ValueError("follows from vpn: (change it there)")
        if id_.name == firewall.MANAGEMENT:
            self._management(live)
        else:
            self._put_entry(RULES, id_, live, self.speller.rule)

    def _management(self, live: Resource | None) -> None:
        if live is None:
            raise ValueError("is the rule that lets us in")
        mark, old = find(self.site.data, ("management",)), find_value(self.site.data, ("management",)) or {}
        if mark and mark.file != self.site.file:
            raise ValueError(f"comes from {mark.file}:{mark.line}")
        entry, _ = self.speller.rule(live, old)
        usual = {"to": "self", "destination": None, "action": "accept", "log": None, "schedule": None, "until": None}
        if any(entry[key] != value for key, value in usual.items()):
            raise ValueError("does more or less than let us in")
        said = {"from": self.speller.places(texts(live, "source"), old.get("from")), "services": entry["services"]}
        said |= {"zones": entry["from"]} if "zones" in old or entry["from"] != firewall.ANY else {}
        if "services" not in old and said["services"] == "ssh":
            del said["services"]
        self.edits += [edit.Set(("management", key), value) for key, value in said.items() if old.get(key) != value]

    def forward(self, id_: Id, live: Resource | None) -> None:
        self._put_entry(("forwards",), id_, live, self._spelled_forward)

    def _spelled_forward(self, live: Resource, old: Mapping[str, Any]) -> tuple[Entry, dict[str, str]]:
        """What listens and goes to the same as it is typed stays so."""
        entry, schedules = self.speller.forward(live, old)
        before = next((f for f in self.site.device.forwards if f.id == live.id.name), None)
        if before and (before.zone, frozenset({before.service})) == (text(live, "zone"), texts(live, "listen")):
            entry["listen"] = old["listen"]
        if before:
            host, port = before.host_and_port
            if self.speller.places(frozenset({text(live, "to")}), host) == host and port == live.fields["port"]:
                entry["to"] = old["to"]
        return entry, schedules

    def raw(self, id_: Id, live: Resource | None) -> None:
        self._put_entry((RAW,), id_, live, self._spelled_raw)

    def _spelled_raw(self, live: Resource, old: Mapping[str, Any]) -> tuple[Entry, dict[str, str]]:
        if text(live, "text") == firewall.BY_HAND:
            raise ValueError(f"was {firewall.BY_HAND} to what nobody here understands")
        return {"id": live.id.name, "chain": text(live, "chain"), "text": text(live, "text")}, {}

    def nat(self, id_: Id, live: Resource | None) -> None:
        self._put_entry(("static_nat",), id_, live, self._spelled_nat)

    def _spelled_nat(self, live: Resource, old: Mapping[str, Any]) -> tuple[Entry, dict[str, str]]:
        if text(live, "inside") == firewall.BY_HAND:
            raise ValueError(f"was {firewall.BY_HAND} to what YAML cannot say")
        said: Entry = {"id": live.id.name, "zone": text(live, "zone")}
        for name in ("outside", "inside"):
            said[name] = self.speller.places(frozenset({text(live, name)}), old.get(name))
        return said, {}

    def zone(self, id_: Id, live: Resource | None) -> None:
        path, old = ("zones", id_.name), find_value(self.own, ("zones", id_.name))
        if live is None:
            self.edits.append(edit.Delete(path))
            return
        whole: dict[str, Any] = dict(old) if isinstance(old, Map) else {"interfaces": old}
        typed = whole.get("interfaces")
        kept = [each for each in listed(typed) if each in texts(live, "interfaces")]
        said = one_or_list([*kept, *sorted(texts(live, "interfaces") - {*kept})], typed)
        outside = bool(live.fields.get("outside"))
        if not isinstance(old, Map) and not outside:
            self.edits.append(edit.Set(path, said))
        elif isinstance(old, Map):
            self.edits.append(edit.Set((*path, "interfaces"), said))
            if outside != (whole.get("outside") == "true"):
                self.edits.append(edit.Set((*path, "outside"), Bare(str(outside).lower())))
        else:
            self.edits.append(edit.Set(path, {"interfaces": said, "outside": Bare("true")}))

    def default(self, id_: Id, live: Resource | None) -> None:
        self._said_here("default")
        if live is None:
            raise ValueError("is gone, and a device does something with what nothing decides")
        if text(live, "action") not in ("drop", "reject"):
            raise ValueError(f"was {firewall.BY_HAND} to what YAML cannot say")
        if texts(live, AMISS):
            raise ValueError("is not ready for the device's next start, which cannot be declared")
        before = self.site.device.default
        if live.fields["action"] != before.action:
            self.edits.append(edit.Set(("default", "action"), text(live, "action")))
        if bool(live.fields["log"]) != before.log:
            self.edits.append(edit.Set(("default", "log"), Bare(str(bool(live.fields["log"])).lower())))

    def name(self, id_: Id, live: Resource | None) -> None:
        raise ValueError("is there because something in Git speaks of it")

    def _said_here(self, kind: str) -> None:
        mark = find(self.site.data, (kind,))
        if find_value(self.site.data, (kind,)) is not None and mark and mark.file != self.site.file:
            raise ValueError(f"comes from {mark.file}:{mark.line}")

    def masquerade(self, id_: Id, live: Resource | None) -> None:
        said = {"source": self.speller.places(texts(live, "source"))} if live else None
        if said == {"source": firewall.ANY}:
            said = {}
        self._pair("masquerade", id_, said)

    def policy(self, id_: Id, live: Resource | None) -> None:
        if live is not None and text(live, "action") not in ("accept", "drop", "reject"):
            raise ValueError(f"was {firewall.BY_HAND} to what YAML cannot say")
        log = {"log": Bare("true")} if live and live.fields["log"] else {}
        self._pair("policies", id_, {"action": text(live, "action"), **log} if live else None)

    def _pair(self, kind: str, id_: Id, said: Mapping[str, Any] | None) -> None:
        """One pair of zones is said by itself; the others of its entry stay as they are."""
        self._said_here(kind)
        came, goes = firewall.zones_of(id_.name)
        alone = [] if said is None else [{"from": came, "to": goes, **said}]
        for number, each in enumerate(self.entries(kind)):
            sources, destinations = listed(each.get("from")), listed(each.get("to"))
            if came in sources and goes in destinations:
                rest = {key: value for key, value in each.items() if key not in ("from", "to")}
                left = [
                    {"from": one_or_list(a), "to": one_or_list(b), **rest}
                    for a, b in _without(sources, destinations, came, goes)
                ]
                self._in_place_of(kind, number, [*left, *alone])
                return
        for entry in alone:
            self.add(kind, entry)

    def _in_place_of(self, kind: str, number: int, entries: Sequence[Entry]) -> None:
        if not entries:
            self.remove(kind, number)
            return
        gone = dict.fromkeys(self.entries(kind)[number])
        self.change(kind, number, {**gone, **entries[0]})
        for more, entry in enumerate(entries[1:], number + 1):
            self.add(kind, entry, more)

    def order(self, id_: Id, live: Resource | None) -> None:
        """The own rules in their new order, each entry as it is; what stays in line is not touched."""
        wanted = _order(live.fields if live else None)
        for kind in (*RULES, RAW):
            held = self.entries(kind)
            now = [str(each["id"]) for each in held]
            then = [name for name in wanted if name in now] + [name for name in now if name not in wanted]
            matcher = SequenceMatcher(None, now, then, autojunk=False)
            stays = {name for block in matcher.get_matching_blocks() for name in now[block.a : block.a + block.size]}
            moved = {str(each["id"]): each for each in held if each["id"] not in stays}
            for name in moved:
                self.remove(kind, next(n for n, each in enumerate(held) if each["id"] == name))
            for number, name in enumerate(then):
                if name in moved:
                    self.add(kind, moved[name], number)
        self._places(wanted)

    def _places(self, wanted: Sequence[str]) -> None:
        """Raw rules stand before the next rule."""
        rules = {each["id"] for kind in RULES for each in self.entries(kind)}
        rules |= {rule.id for kind in RULES for rule in getattr(self.site.device, kind)}
        for number, each in enumerate(self.entries(RAW)):
            if each["chain"] in firewall.ORDERED and each["id"] in wanted:
                behind = wanted[wanted.index(str(each["id"])) + 1 :]
                self.change(RAW, number, {"before": next((name for name in behind if name in rules), None)})


def _without(
    sources: Sequence[str], destinations: Sequence[str], came: str, goes: str
) -> Iterator[tuple[list[str], list[str]]]:
    """All pairs but one, in two entries at most."""
    if rest := [zone for zone in sources if zone != came]:
        yield rest, [*destinations]
    if away := [zone for zone in destinations if zone != goes]:
        yield [came], away


_PUT: dict[str, Callable[[DeviceEditor, Id, Resource | None], None]] = {
    firewall.ZONE: DeviceEditor.zone,
    firewall.NAME: DeviceEditor.name,
    firewall.RULE: DeviceEditor.rule,
    firewall.FORWARD: DeviceEditor.forward,
    firewall.NAT: DeviceEditor.nat,
    firewall.RAW: DeviceEditor.raw,
    firewall.MASQUERADE: DeviceEditor.masquerade,
    firewall.POLICY: DeviceEditor.policy,
    firewall.ORDER.kind: DeviceEditor.order,
    firewall.DEFAULT.kind: DeviceEditor.default,
    tunnels.TUNNEL: DeviceEditor.tunnel,
    tunnels.USER: DeviceEditor.peer,
    tunnels.SITE: DeviceEditor.peer,
}
