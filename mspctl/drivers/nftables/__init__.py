"""
A Linux firewall: nftables on a machine that is reached over SSH.

One table is ours, and it is replaced in one transaction; others are never touched. A change that locks us out takes
itself back: a timer on the device is armed before the new rules are loaded, and only who logs in afresh afterwards can
stop it. What is loaded is written down for the next start only then, so that a power cut brings back the old rules too.

Just before, the table is read again: a resource that is not as it was planned is stale, and so is a table that changes
until the device has loaded the new one. What somebody put into our table stays where it is, and so does what they
changed in our rules, unless it is what Git changes.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mspctl.driver import (
    NOT_HERE,
    Access,
    AppliesEach,
    Configuration,
    Failed,
    Gauge,
    Known,
    Landed,
    Measured,
    Reading,
    Traits,
    Unmeasured,
    Work,
    translated,
)
from mspctl.drivers.nftables import boot, commit, configured, foreign, grown, native, raw, saved, tunnel, use
from mspctl.drivers.nftables.grown.listed import Tables
from mspctl.drivers.nftables.live import Table
from mspctl.drivers.nftables.native import FAMILY
from mspctl.errors import Stale, TargetError, Unsupported
from mspctl.fields import Text
from mspctl.kinds import AMISS, addresses, firewall, packets, vpn
from mspctl.kinds.firewall.times import is_limited
from mspctl.kinds.grown import Grown
from mspctl.kinds.packets import Other, Packet
from mspctl.resource import UNKNOWN, Resource, Scope, Value
from mspctl.secrets import Secrets
from mspctl.transports.machine import Machine, Session

MAX_COMMENT = 128  # octets of nftables
SKEW = timedelta(minutes=2)  # by which the device's clock may be wrong where rules have an end


class Settings(commit.Settings):
    """How the device is known."""

    hostname: Text | None = None  # what the device calls itself; with any other nothing is sent
    machine_id: Text | None = None  # the same, of /etc/machine-id


class Reader:
    traits = Traits(cas="reread", lock="target")

    def __init__(self, access: Access) -> None:
        self.settings: Settings = access.settings
        self.machine = Machine(access.address, access.settings, access.secrets)
        self.passwords = access.passwords

    def accept(self, resource: Resource) -> Resource:
        kind = resource.id.kind
        if kind in vpn.KINDS:
            tunnel.accept(resource)
            return resource
        if kind not in (*native.PREFIXES, firewall.ZONE, firewall.ORDER.kind, firewall.NAME):
            raise Unsupported(f"nftables holds no {kind}")
        if UNKNOWN in resource.fields.values():
            return resource
        made = native.made_of(resource)
        first = [*itertools.islice(made, 1)]
        several = kind in (firewall.ORDER.kind, firewall.RAW)  # the others have the same comment in all of their rules
        if kind != firewall.ZONE and any(
            len(r.comment.encode()) > MAX_COMMENT for r in [*first, *(made if several else ())]
        ):
            raise Unsupported("its name is too long, or those of both zones together")
        if kind not in (firewall.ZONE, firewall.ORDER.kind) and not first:
            raise Unsupported("it could never hold (its addresses and services are not of one family)")
        return native.held(resource)

    def read(self, scopes: Sequence[Scope], known: Known) -> Iterator[Reading | Failed]:
        if not scopes:
            return
        with self.machine.session() as session:
            self._identify(session)
            device = _Device(session, self.settings, [table_of(scope) for scope in scopes])
            for scope in scopes:
                try:
                    with translated():
                        names = sorted({r.id.name for r in known.get(scope, ()) if r.id.kind == firewall.NAME})
                        yield _reading(scope, device, names)
                except TargetError as error:
                    yield Failed(scope, error)

    def others(self, reading: Reading, packet: Packet) -> Sequence[Other]:
        """What other tables do, and what somebody put into ours."""
        interfaces = {
            r.id.name: firewall.texts(r, "interfaces") for r in reading.resources if r.id.kind == firewall.ZONE
        }
        decision = packets.decide(reading.resources, packet)
        none = frozenset[str]()
        way = foreign.Way(packet, interfaces.get(packet.came, none), interfaces.get(packet.goes, none), decision)
        name = table_of(reading.scope)
        with self.machine.session() as session:
            self._identify(session)
            device = _Device(session, self.settings)
            ours = device.table(FAMILY, name)
            found = [*foreign.decided_by_hand(ours, way)] if reading.exists and isinstance(ours, foreign.Whole) else []
            tables = device.others(name)
        try:
            found += foreign.judged([t for t in tables if isinstance(t, foreign.Whole)], way)
        except _ODD:
            found.append(Other("other tables", "unknown", "they cannot be read"))
        return [*found, *(Other(each, "unknown", "it cannot be read") for each in tables if isinstance(each, str))]

    def measure(self, gauges: Sequence[Gauge]) -> Mapping[Gauge, Measured]:
        if not gauges:
            return {}
        with self.machine.session() as session:
            self._identify(session)
            out = session.must(["sh", "-c", use.SCRIPT, "sh", self.settings.boot_folder], what="measuring")
            told, found = use.Told.read(out), dict[Gauge, Measured]()
            for scope in dict.fromkeys(gauge.scope for gauge in gauges):
                found |= self._measured(session, told, scope, [gauge for gauge in gauges if gauge.scope == scope])
        return found

    def _measured(
        self, session: Session, told: use.Told, scope: Scope, gauges: Sequence[Gauge]
    ) -> Iterator[tuple[Gauge, Measured]]:
        name = table_of(scope)
        file = f"{self.settings.boot_folder}/{name}.json"
        table = _listed(session, name, counted=True)[0]
        device = told.measured(file) | {firewall.SAVED: use.saved(table, session.read(file))}
        hits = dict(use.hits(table)) if table else {}
        peers = tunnel.listed(session, self.settings.boot_folder, name)
        for gauge in gauges:
            if gauge.id == firewall.DEVICE:
                yield gauge, device.get(gauge.what, NOT_HERE)
            elif gauge.what == vpn.HANDSHAKE:
                yield gauge, peers.seen.get(gauge.id, NOT_HERE)
            elif gauge.what == firewall.PACKETS:
                yield gauge, hits.get(gauge.id, Unmeasured("it has no counter; it gets one with the next change"))

    def configuration(self, scopes: Sequence[Scope]) -> Iterator[Configuration | Failed]:
        """A device has one configuration, whatever the number of its tables that are ours."""
        if not scopes:
            return
        with self.machine.session() as session:
            self._identify(session)
            parts = configured.configuration(session, self.settings.boot_folder)
        yield from (Configuration(scope, parts) for scope in scopes)

    def scopes(self) -> Sequence[str]:
        with self.machine.session() as session:
            self._identify(session)
            listed = _json(session.must(_nft("-t", "-j", "list", "tables"), what="listing the tables"))
            files = [file.name for file in session.listed(self.settings.boot_folder)]
        found = listed.get("nftables")
        tables = [item["table"] for item in found if "table" in item] if isinstance(found, list) else []
        names = [table["name"] for table in tables if table["family"] == FAMILY]
        names += [name.removesuffix(".wg") for name in files if name.endswith(".wg")]
        return sorted({name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX)})

    def grown(self, file: str | None = None, outside: Sequence[str] = ()) -> Grown:
        return self._in_our_words(file, outside) if file is not None else self._living(outside)

    def _living(self, outside: Sequence[str]) -> Grown:
        with self.machine.session() as session:
            self._identify(session)
            listed = _json(session.must(_nft("-j", "list", "ruleset"), what="listing the rules"))
            text = session.must(_nft("-a", "-s", "list", "ruleset"), what="listing the rules").decode(errors="replace")
            local, found = _interfaces(session)
        with _read_by(session):
            return grown.grown(Tables.read(listed, text, _PREFIX, local), [*found, *outside], self.settings.port)

    def _in_our_words(self, file: str, outside: Sequence[str]) -> Grown:
        """Of a file, on this machine: the device is not asked."""
        here = Machine("", self.settings.model_copy(update={"via": "local", "sudo": False}), Secrets({}))
        with here.session() as session, _read_by(session):
            read = saved.listed(session, file)
            made = grown.grown(Tables.read(read.listed, read.text, _PREFIX, {}), outside, self.settings.port)
            return replace(made, notes=[*made.notes, *read.notes], odd=[*made.odd, *read.odd])

    def _identify(self, session: Session) -> None:
        """Nothing is sent to another device than the one that is meant."""
        for what, said, argv in (
            ("hostname", self.settings.hostname, ["hostname"]),
            ("machine-id", self.settings.machine_id, ["cat", "/etc/machine-id"]),
        ):
            if said and (found := session.must(argv, what=what).decode(errors="replace").strip()) != said:
                raise TargetError(f"{session.name}: its {what} is {found}, and not {said}; nothing was sent")


def _reading(scope: Scope, device: _Device, names: Sequence[str]) -> Reading:
    name = table_of(scope)
    table, held = device.ours(name), device.tunnel(name)
    facts: dict[str, Value] = {}
    if alarms := device.alarms(name, table or Table()):
        facts["alarms"] = alarms
    found = _resolved(device.session, names) if names else {}
    if missing := tuple(name for name in names if name not in found):
        facts["unresolved"] = missing
    resources = [*(table.resources if table else ()), *held.resources]
    resources = _at_start(resources, device.boot, name, device.settings)
    facts |= device.told_of_start(resources)
    return Reading(scope, resources, found, exists=table is not None or held.exists, facts=facts)


@contextmanager
def _read_by(session: Session) -> Iterator[None]:
    try:
        yield
    except _ODD as error:
        text = f"nft lists the rules in a way that makes no sense ({type(error).__name__})"
        raise TargetError(f"{session.name}: {text}") from None


def _interfaces(session: Session) -> tuple[dict[str, list[str]], list[str]]:
    """Addresses with their networks, by interface; and the interfaces by which the rest of the world is reached."""
    local: dict[str, list[str]] = {}
    for each in _ip(session, "addr"):
        held = [f"{a['local']}/{a['prefixlen']}" for a in each.get("addr_info", ()) if "local" in a]
        local[str(each["ifname"])] = [each for each in held if not each.startswith("fe80:")]
    local.pop("lo", None)
    return local, [str(each["dev"]) for each in _ip(session, "route", "show", "default") if "dev" in each]


def _ip(session: Session, *words: str) -> list[dict[str, Any]]:
    """What iproute2 says; nothing where there is none."""
    ran = session.run(["ip", "-j", *words])
    try:
        found = json.loads(ran.out or b"[]") if not ran.code else []
    except ValueError:
        return []
    return found if isinstance(found, list) else []


def _resolved(session: Session, names: Sequence[str]) -> dict[str, Value]:
    """The addresses of names, as the device itself sees them; those that have none there are left out."""
    said = session.must(["sh", "-c", _RESOLVE, "sh", *names], what="asking for addresses").decode(errors="replace")
    found: dict[str, set[str]] = {}
    for line in said.splitlines():
        name, _, address = line.partition(" ")
        with suppress(ValueError):  # of a link only
            found.setdefault(name, set()).add(addresses.fold(address))
    return {name: frozenset(each) for name, each in found.items()}


_ODD = (KeyError, TypeError, ValueError, AttributeError)  # of what others wrote, in a way that we do not know

_RESOLVE = """for name; do
  timeout 10 getent ahosts "${name%.}" | while read -r address _; do printf '%s %s\\n' "$name" "$address"; done
done
"""


class _Device:
    """What a device holds: one program lists our tables and what is beside them; others' are read when asked for."""

    def __init__(self, session: Session, settings: Settings, ours: Sequence[str] = ()) -> None:
        self.session = session
        self.settings = settings
        self.known: dict[tuple[str, str], foreign.Whole | str] = {}
        words = ["sh", "-c", _STATE, "sh", settings.boot_folder, settings.run_folder, *ours]
        said = session.must(words, what="listing the tables")
        listed, *tables = said.split(b"\n", len(ours) + 1)
        lines = tables.pop().decode(errors="replace").splitlines()
        found = _json(listed).get("nftables")
        items = [item["table"] for item in found if "table" in item] if isinstance(found, list) else []
        self.names = [(str(each["family"]), str(each["name"])) for each in items]
        self.listed = dict(zip(ours, tables, strict=True))
        self.tunnels = {line.removeprefix("tunnel ") for line in lines if line.startswith("tunnel ")}
        self.legacy = sorted({line.removeprefix("legacy ") for line in lines if line.startswith("legacy ")})
        self.boot = boot.State.of(lines)

    def ours(self, name: str) -> Table | None:
        """A table of ours; None: there is none."""
        if said := self.listed[name]:
            return _looked_at(self.session, name, Table.read(_json(said)))
        return _seen(self.session, name)[0] if (FAMILY, name) in self.names else None

    def tunnel(self, name: str) -> tunnel.Tunnel:
        if name not in self.tunnels:
            return tunnel.Tunnel()
        return tunnel.listed(self.session, self.settings.boot_folder, name)

    def others(self, ours: str) -> list[foreign.Whole | str]:
        """All but ours; of what cannot be read its name in words."""
        known = [self.table(*each) for each in self.names if each != (FAMILY, ours)]
        return [*known, *(f"table {foreign.plain(each)} of iptables-legacy" for each in self.legacy)]

    def table(self, family: str, name: str) -> foreign.Whole | str:
        if (family, name) not in self.known:
            self.known[family, name] = self._read(family, name)
        return self.known[family, name]

    def _read(self, family: str, name: str) -> foreign.Whole | str:
        try:
            ran = self.session.run(_nft("-j", "list", "table", family, name))
            return foreign.Whole.read(family, name, _json(ran.out))
        except (TargetError, *_ODD):
            return f"table {family} {foreign.plain(name)}"

    def told_of_start(self, resources: Sequence[Resource]) -> dict[str, Value]:
        """The same, for findings; or why nobody knows."""
        amiss = sorted({text for each in resources for text in firewall.texts(each, AMISS)})
        told: dict[str, Value] = {"boot_amiss": "; ".join(amiss)} if amiss else {}
        starts = any(each.id.kind in _STARTS for each in resources) and self.settings.at_boot == "systemd"
        if starts and not self.boot.systemd:
            told["boot_unseen"] = "it has no systemd, so nothing was set up there to load them"
        return told

    def alarms(self, ours: str, table: Table) -> tuple[str, ...]:
        """What lets something in comes first, then what takes away, then what nobody knows."""
        hands = sorted(foreign.put_in(table), key=lambda each: not each[0])
        others = self.others(ours)
        lines: list[str] = []
        unread = [t for t in others if isinstance(t, str)]
        for whole in others:
            if isinstance(whole, foreign.Whole):
                try:
                    lines += foreign.told(whole)
                except _ODD:
                    unread.append(whole.label)
        unread = [f"{each} cannot be read, and may drop what Git lets through" for each in unread]
        return (*(text for _, text in hands), *lines, *unread)


_STARTS = {firewall.DEFAULT.kind: boot.FIREWALL, vpn.TUNNEL: tunnel.WAY.unit}  # what makes them when a device starts


_UNGUARDED = "a change was loaded and never confirmed, and somebody ended what was to take it back"


def _at_start(resources: Sequence[Resource], state: boot.State, name: str, settings: Settings) -> list[Resource]:
    """With what is amiss with the next start; where others see to that, it is only what nobody confirmed."""

    def told(resource: Resource, unit: boot.Unit) -> Resource:
        seen = settings.at_boot == "systemd"
        amiss = frozenset(state.amiss(unit, name, settings.boot_folder)) if seen else frozenset[str]()
        amiss |= {_UNGUARDED} if resource.id == firewall.DEFAULT and name in state.unguarded else frozenset()
        return replace(resource, fields={**resource.fields, AMISS: amiss})

    return [told(each, _STARTS[each.id.kind]) if each.id.kind in _STARTS else each for each in resources]


def _without_amiss(resources: Sequence[Resource]) -> list[Resource]:
    """The table and the tunnel have no place for it."""
    return [
        replace(each, fields={k: v for k, v in each.fields.items() if k != AMISS}) if AMISS in each.fields else each
        for each in resources
    ]


# $1: the folder of what is loaded at the next start; $2: of what waits to be confirmed; then our tables: of each a
# line, empty for none. nft does not see what older programs loaded into the kernel without it. Without -t it asks the
# kernel for all that is in every set, only to tell the names of tables: a second for 2,500 rules.
_STATE = f"""TZ=UTC nft -j -t list tables || exit
folder=$1 run=$2
shift 2
for name; do TZ=UTC nft -j -s list table {FAMILY} "$name" 2>/dev/null || echo; done
for name; do [ ! -e "$folder/$name.wg" ] || echo "tunnel $name"; done
set -- "$run"
{commit.UNGUARDED}
set -- "$folder"
cat /proc/net/ip_tables_names /proc/net/ip6_tables_names 2>/dev/null | sed 's/^/legacy /'
{boot.asked([*_STARTS.values()])}
exit 0
"""


class Driver(AppliesEach, Reader):
    def apply_one(self, work: Work) -> Iterator[Landed]:
        name = table_of(work.scope)
        with self.machine.session() as session:
            self._identify(session)
            found, digest = _seen(session, name)
            table = found or Table()
            held = tunnel.listed(session, self.settings.boot_folder, name)
            state = _Device(session, self.settings).boot
            resources = _at_start([*table.resources, *held.resources], state, name, self.settings)
            after = _without_amiss(_changed(resources, work))
            if work.changes:
                self._check_clock(session, after)
            peers = [r for r in after if r.id.kind in vpn.KINDS]
            rules = [r for r in after if r.id.kind not in vpn.KINDS]
            changes = [change for change in work.changes if change.id.kind not in vpn.KINDS]
            others = [change for change in work.changes if change.id.kind in vpn.KINDS]
            gone = work.gone and not after
            given_vpn: bytes | None = None
            if others or (gone and held.exists):  # rules that the tunnel does not follow would contradict it
                given_vpn = self._tunnel_conf(work.scope, held, peers)
                commit.check(session, self.settings, tunnel.WAY, name, given_vpn)
            if changes or (gone and found):
                asked = [r for r in rules if r.id.kind == firewall.RAW and r.id in {c.id for c in changes}]
                spelled = raw.spelled(session, name, rules, asked)
                meant = native.commands(name, rules, table, spelled) if not gone else [native.without(name)]
                given = commit.in_json(meant)
                stays = any("rule" in command.get("add", {}) for command in meant)
                commit.carry_out(self.machine, session, self.settings, commit.TABLE, name, given, digest, stays)
            yield from (Landed(work.scope, change) for change in changes)
            if given_vpn is not None:
                self._tunnel(session, name, held, given_vpn, stays=bool(peers))
            yield from (Landed(work.scope, change) for change in others)

    def _tunnel_conf(self, scope: Scope, held: tunnel.Tunnel, after: Sequence[Resource]) -> bytes:
        """Raises SecretError."""
        wanted = dict.fromkeys(tunnel.wanted(after, held.resources))
        found = self.passwords.of(scope.customer, [*wanted]) if wanted else []
        secret = {said: value for (_, said), value in zip(wanted, found, strict=True)}
        return tunnel.conf(after, held.resources, secret)

    def _tunnel(self, session: Session, name: str, held: tunnel.Tunnel, given: bytes, *, stays: bool) -> None:
        """The tunnel and who uses it; running connections of others go on."""
        if self.settings.at_boot == "systemd" and stays:
            tunnel.keep_start(session, self.settings.boot_folder)
        place = (self.machine, session, self.settings, tunnel.WAY, name)
        commit.carry_out(*place, given, held.digest, stays)

    def _check_clock(self, session: Session, resources: Sequence[Resource]) -> None:
        """Rules that end by themselves do so by the device's clock."""
        if any(map(is_limited, resources)):
            said = session.must(["date", "-u", "+%s"], what="reading the clock").decode()
            wrong = datetime.fromtimestamp(int(said), UTC) - datetime.now(UTC)
            if abs(wrong) > SKEW:
                minutes = round(wrong / timedelta(minutes=1))
                raise TargetError(f"{session.name}: its clock is {minutes:+} minutes wrong, and rules would end by it")


_PREFIX = "mspctl-"


def table_of(scope: Scope) -> str:
    return f"{_PREFIX}{scope.name}"


def _nft(*words: str) -> list[str]:
    """Times are read and written in the clock of who runs it."""
    return ["env", "TZ=UTC", "nft", *words]


def _seen(session: Session, name: str) -> tuple[Table | None, str]:
    """The same, with raw rules as they were written only where they are still that."""
    table, digest = _listed(session, name)
    return _looked_at(session, name, table) if table else None, digest


def _looked_at(session: Session, name: str, table: Table) -> Table:
    table.resources = raw.looked_at(session, name, table)
    return table


def _listed(session: Session, name: str, *, counted: bool = False) -> tuple[Table | None, str]:
    """The table, and a digest of it as it was listed, which what is counted does not change; None: there is none."""
    ran = session.run(_nft("-j", *(() if counted else ("-s",)), "list", "table", FAMILY, name))
    if ran.code and b"No such file or directory" in ran.err:
        return None, commit.digest(b"")
    if ran.code:
        raise TargetError(f"{session.name}: nft: {ran.complaint}")
    return Table.read(_json(ran.out)), commit.digest(ran.out)


def _json(said: bytes) -> dict[str, object]:
    try:
        found = json.loads(said)
    except ValueError:
        raise TargetError("nft did not answer in JSON") from None
    if not isinstance(found, dict):
        raise TargetError("nft did not answer in JSON")
    return found


def _changed(resources: Sequence[Resource], work: Work) -> list[Resource]:
    """What shall be there. Raises Stale."""
    held = {r.id: r for r in resources}
    for change in work.changes:
        found = held.get(change.id)
        if (found.fields if found else None) != (change.before.fields if change.before else None):
            raise Stale(f"{change.id.name} was changed on the device since it was read")
    for change in work.changes:
        held.pop(change.id, None)
        if change.after is not None:
            held[change.id] = change.after
    return [*held.values()]
