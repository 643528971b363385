"""`dns.yaml` and the files beside it: which zone has which file, which targets, and whose TTL counts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mspctl.desired import Selection, declarations
from mspctl.errors import InputError
from mspctl.kinds import dns
from mspctl.load import load
from tests.estate import estate

OVERVIEW = "customers/acme/dns.yaml"
TARGETS = (
    "targets:\n  one: {facets: {dns: {driver: zonefile, directory: zones}}}\n"
    "  two: {facets: {dns: {driver: zonefile, directory: zones}}}\n  mail: {facets: {}}\n"
)


def zones(tmp_path: Path, overview: str, **files: str) -> Path:
    """One customer with the files given, by name below dns/."""
    found = {f"customers/acme/dns/{name}": text for name, text in files.items()}
    return estate(tmp_path, {"inventory/targets.yaml": TARGETS, OVERVIEW: overview, **found})


def scopes(root: Path) -> list[str]:
    return sorted(str(d.scope) for d in declarations(load(root), Selection(), {}, datetime(2027, 1, 1, tzinfo=UTC)))


def said(root: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        load(root)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("overview", "expected"),
    [
        ("zones: {a.example: {target: one}}", ["one"]),
        ("zones: {a.example: {targets: [one, two]}}", ["one", "two"]),
        ("zones: {a.example: {targets: two}}", ["two"]),
        ("defaults: {target: one}\nzones: {a.example: {}}", ["one"]),
        ("defaults: {target: one}\nzones: {a.example: }", ["one"]),
        ("defaults: {targets: [one, two]}\nzones: {a.example: }", ["one", "two"]),
        ("defaults: {targets: [one]}\nzones: {a.example: {targets: {add: [two]}}}", ["one", "two"]),
        ("defaults: {target: one}\nzones: {a.example: {target: two}}", ["two"]),
        ("defaults: {target: one}\nzones: {a.example: {targets: [two]}}", ["two"]),
        ("defaults: {targets: [one]}\nzones: {a.example: {target: two}}", ["two"]),
    ],
)
def test_a_zone_lives_on_one_or_several_targets(overview: str, expected: list[str], tmp_path: Path) -> None:
    root = zones(tmp_path, overview + "\n", **{"a.example.yaml": "www: {A: 192.0.2.1}\n"})
    assert scopes(root) == [f"dns a.example on {target}" for target in expected]


@pytest.mark.parametrize(
    ("zone", "line"),
    [
        ("{target: one, targets: [two]}", ":1:20: zones.a.example: has target and targets (leave one)"),
        ("{}", ":1:9: zones.a.example: has no target (known: one, two)"),
        ("", ":1:9: zones.a.example: has no target (known: one, two)"),
        ("{target: mail}", ":1:29: zones.a.example.target: target mail has no facet dns (known: one, two)"),
        (
            "{targets: [one, tow]}",
            ":1:30: zones.a.example.targets: target tow is not in inventory/targets.yaml (did you mean two?)",
        ),
        (
            "{target: ../one}",
            ":1:29: zones.a.example.target: '../one' is not a name "
            "(lower-case letters, digits and hyphens, at most 63)",
        ),
        ("x", ":1:20: zones.a.example: should be a mapping (key: value)"),
    ],
)
def test_what_is_wrong_with_targets(zone: str, line: str, tmp_path: Path) -> None:
    root = zones(tmp_path, f"zones: {{a.example: {zone}}}\n", **{"a.example.yaml": "www: {A: 192.0.2.1}\n"})
    assert said(root) == [OVERVIEW + line]


@pytest.mark.parametrize(
    ("typed", "file"),
    [
        ("a.example", "a.example.yaml"),
        ("A.Example.", "a.example.yaml"),
        ("a.example", "A.example.yaml"),
        ("münchen.example", "münchen.example.yaml"),
        ("münchen.example", "mu\u0308nchen.example.yaml"),
        ("münchen.example", "xn--mnchen-3ya.example.yaml"),
        ("xn--mnchen-3ya.example", "München.example.yaml"),
        ("0/25.2.0.192.in-addr.arpa", "0%2F25.2.0.192.in-addr.arpa.yaml"),
        ("2.0.192.in-addr.arpa", "2.0.192.in-addr.arpa.zone"),
    ],
)
def test_a_file_is_found_by_the_name_of_its_zone(typed: str, file: str, tmp_path: Path) -> None:
    text = "www 300 A 192.0.2.1\n" if file.endswith(".zone") else "www: {A: 192.0.2.1}\n"
    root = zones(tmp_path, f"zones: {{'{typed}': {{target: one}}}}\n", **{file: text})
    (found,) = load(root).customers["acme"].files["dns"].values()
    assert found.file == f"customers/acme/dns/{file}"
    assert [r.id.name for r in found.resources] == ["www A"]


def test_ttls_are_inherited_by_both_kinds_of_files(tmp_path: Path) -> None:
    overview = "defaults: {target: one, ttl: 10m}\n"
    overview += "zones: {a.example: , b.example: {ttl: 5}, c.example: , d.example: {ttl: 7}}\n"
    files = {"a.example.yaml": "www: {A: 192.0.2.1}\n", "b.example.yaml": "www: {A: 192.0.2.1}\n"}
    masters = {"c.example.zone": "www A 192.0.2.1\n", "d.example.zone": "www 300 A 192.0.2.1\nx A 192.0.2.1\n"}
    found = load(zones(tmp_path, overview, **files, **masters)).customers["acme"].files["dns"]
    ttls = {zone: [dns.ttl_of(r) for r in records.resources] for zone, records in found.items()}
    assert ttls == {"a.example": [600], "b.example": [5], "c.example": [600], "d.example": [300, 300]}


def test_records_of_every_zone_of_a_customer(tmp_path: Path) -> None:
    overview = (
        "records: {apex: {CAA: 0 issue ca.example}}\nzones: {a.example: {target: one}, b.example: {target: one}}\n"
    )
    root = zones(
        tmp_path, overview, **{"a.example.yaml": "www: {A: 192.0.2.1}\n", "b.example.yaml": "apex: {CAA: []}\n"}
    )
    assert said(root) == ["customers/acme/dns/b.example.yaml:1:13: apex.CAA: has no value"]
    (root / "customers/acme/dns/b.example.yaml").write_text("{}\n")
    found = load(root).customers["acme"].files["dns"]
    assert {zone: [r.id.name for r in records.resources] for zone, records in found.items()} == {
        "a.example": ["www A", "@ CAA"],
        "b.example": ["@ CAA"],
    }


# -- whether a zone is signed ---------------------------------------------------------------------------------


def signed(root: Path) -> list[tuple[str, object, str]]:
    found = declarations(load(root), Selection(), {}, datetime(2027, 1, 1, tzinfo=UTC))
    return [(d.scope.name, r.fields["dnssec"], r.source) for d in found for r in d.resources if r.id == dns.ZONE]


@pytest.mark.parametrize(
    ("overview", "expected"),
    [
        ("zones: {a.example: {target: one}}", []),
        ("zones:\n  A.example: {target: one,\n    dnssec: true}", [("a.example", True, f"{OVERVIEW}:3")]),
        ("zones: {a.example: {target: one, dnssec: false}}", [("a.example", False, f"{OVERVIEW}:1")]),
        ("defaults: {target: one, dnssec: true}\nzones: {a.example: }", [("a.example", True, f"{OVERVIEW}:1")]),
        (
            "defaults: {target: one, dnssec: true}\nzones:\n  a.example: {dnssec: false}",
            [("a.example", False, f"{OVERVIEW}:3")],
        ),
    ],
)
def test_a_zone_says_whether_it_is_signed_or_nothing(
    tmp_path: Path, overview: str, expected: list[tuple[str, object, str]]
) -> None:
    assert signed(zones(tmp_path, overview, **{"a.example.yaml": "www: {A: 192.0.2.1}"})) == expected


def test_signed_is_true_or_false(tmp_path: Path) -> None:
    overview = "zones: {a.example: {target: one, dnssec: yes}}"
    (text,) = said(zones(tmp_path, overview, **{"a.example.yaml": "www: {A: 192.0.2.1}"}))
    assert text.endswith("zones.a.example.dnssec: 'yes' is not true or false")
