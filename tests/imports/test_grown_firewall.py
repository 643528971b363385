"""What becomes of the rules that `load` refuses, when a firewall is imported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mspctl.imports import firewall as imports
from mspctl.kinds import firewall
from mspctl.kinds.grown import Grown, Native, Odd
from mspctl.resource import Id, Resource, Value
from mspctl.strict_yaml import Map, Problems, find_value, parse
from tests.estate import estate

TARGETS = "targets:\n  fw-sede: {facets: {firewall: {driver: zonefile, directory: zones}}}\n"
ANY = frozenset({"any"})
FILE = "customers/brenta/firewall.yaml"


def zone(name: str, *, outside: bool) -> Resource:
    return Resource(Id(firewall.ZONE, name), firewall.fields(interfaces=frozenset({f"{name}0"}), outside=outside))


def rule(name: str, **said: Value) -> Resource:
    usual: dict[str, Value] = {
        "from": frozenset({"wan"}), "to": frozenset({"lan"}), "source": ANY, "destination": ANY,
        "services": ANY, "action": "accept", "log": False, "until": "", "hours": frozenset(),
    }  # fmt: skip
    return Resource(Id(firewall.RULE, name), usual | firewall.fields(**said))


def forward(name: str, port: int, **said: Value) -> Resource:
    usual: dict[str, Value] = {
        "zone": "wan", "listen": frozenset({f"tcp/{port}"}), "to": "10.0.0.9", "port": 0, "source": ANY,
        "log": False, "until": "", "hours": frozenset(),
    }  # fmt: skip
    return Resource(Id(firewall.FORWARD, name), usual | said)


def odd(text: str, chain: str = "forward", **said: bool) -> Odd:
    return Odd(Native(chain, text, "table ip filter"), "no words", **said)  # type: ignore[arg-type]


def written(tmp_path: Path, resources: Sequence[Resource], odds: Sequence[Odd]) -> tuple[imports.Imported, Map]:
    root = estate(tmp_path, {"inventory/targets.yaml": TARGETS, "customers/brenta/customer.yaml": "name: Brenta\n"})
    natives = {r.id: [Native("forward", f"meta mark {n} accept", "table ip filter")] for n, r in enumerate(resources)}
    order = firewall.order(r.id.name for r in resources if r.id.kind == firewall.RULE)
    default = Resource(firewall.DEFAULT, {"action": "drop", "log": False})
    held = [zone("wan", outside=True), zone("lan", outside=False), *resources, order, default]
    found = Grown(held, natives, odds)
    told = imports.write(root, "brenta", "fw-sede", "main", found, ["198.51.100.0/28"])
    data = parse((root / FILE).read_text(), FILE, Problems())
    assert isinstance(data, Map)
    return told, data


def raw(data: Map) -> list[str]:
    return [each["text"] for each in find_value(data, ("raw",)) or ()]


def test_of_rules_and_raw_rules_that_are_refused_at_once_the_right_ones_go(tmp_path: Path) -> None:
    """A rule that becomes raw stands among the raw ones from then on."""
    wrong, quiet = (rule(name, source=frozenset({f"192.0.2.{n}"})) for n, name in enumerate(("Not An Id", "quiet")))
    told, data = written(tmp_path, [quiet, wrong], [odd("meta mark 7 accept"), odd("meta mark 8 drop; accept")])
    assert raw(data) == ["meta mark 1 accept", "meta mark 7 accept"]
    assert [each["id"] for each in find_value(data, ("rules",))] == ["quiet"]
    (gone,) = told.left_out
    assert "; cannot stand in it" in gone.text


def test_a_rule_and_static_nat_that_are_refused_do_not_take_a_raw_one_with_them(tmp_path: Path) -> None:
    nats = [
        Resource(Id(firewall.NAT, name), {"zone": "wan", "outside": "203.0.113.9", "inside": inside})
        for name, inside in (("one", "10.0.0.8"), ("two", "10.0.0.9"))
    ]
    first = [odd("meta mark 8 accept; drop", "prerouting"), odd("meta mark 9 accept", "prerouting")]
    told, data = written(tmp_path, [rule("open"), *nats], [*first, odd("meta mark 7 accept")])
    assert raw(data) == ["meta mark 9 accept", "meta mark 2 accept", "meta mark 0 accept", "meta mark 7 accept"]
    assert [each["id"] for each in find_value(data, ("static_nat",))] == ["one"]
    assert len(told.left_out) == 1


def test_what_let_all_forwards_through_counts_where_one_of_them_is_raw(tmp_path: Path) -> None:
    spare = odd("ct status dnat accept", spare=True)
    told, data = written(tmp_path / "all", [forward("a", 443), forward("b", 8443)], [spare])
    assert (raw(data), told.raw, len(find_value(data, ("forwards",)))) == ([], 0, 2)
    told, data = written(tmp_path / "one", [forward("a", 443), forward("b", 443)], [spare])
    assert raw(data) == ["meta mark 1 accept", "ct status dnat accept"]
    assert [each["id"] for each in find_value(data, ("forwards",))] == ["a"]
    assert not told.left_out
