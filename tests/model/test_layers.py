"""Baselines below customers, defaults below zones, records below every zone: what wins, and where it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mspctl import cli
from mspctl.errors import InputError
from mspctl.kinds import dns
from mspctl.load import Estate, load
from mspctl.model.layers import merge
from mspctl.model.sections.dns import Section
from mspctl.strict_yaml import Map, Problems, parse
from tests.estate import estate

STANDARD = "inventory/baselines/standard.yaml"
ON_STANDARD = "name: Acme\nbaseline: standard\n"


def parsed(text: str, file: str) -> Map:
    problems = Problems()
    data = parse(text, file, problems)
    assert problems == []
    assert isinstance(data, Map)
    return data


def merged(below: str, over: str) -> Map:
    return merge(parsed(below, "below"), parsed(over, "over"))


@pytest.mark.parametrize(
    ("below", "over", "data"),
    [
        ("a: 1", "b: 2", {"a": "1", "b": "2"}),
        ("a: 1", "a: 2", {"a": "2"}),
        ("a: {b: 1, c: 2}", "a: {c: 3, d: 4}", {"a": {"b": "1", "c": "3", "d": "4"}}),
        ("a: {b: {c: 1}}", "a: {b: {d: 2}}", {"a": {"b": {"c": "1", "d": "2"}}}),
        ("a: [1, 2]", "a: [3]", {"a": ["3"]}),
        ("a: [1, 2]", "a: []", {"a": []}),
        ("a: [1, 2]", "a: {add: [3]}", {"a": ["1", "2", "3"]}),
        ("a: [1, 2]", "a: {remove: [1]}", {"a": ["2"]}),
        ("a: [1, 2]", "a: {add: [3], remove: [2, 9]}", {"a": ["1", "3"]}),
        ("a: [1, 2]", "a: {add: [2], remove: [2]}", {"a": ["1", "2"]}),
        ("b: 1", "a: {add: [3]}", {"b": "1", "a": ["3"]}),
        ("a: 1", "a: {b: 2}", {"a": {"b": "2"}}),
        ("a: {b: 2}", "a: 1", {"a": "1"}),
        ("a: {b: 2}", "a:", {"a": None}),
        ("a: {add: 1, b: 2}", "a: {add: 3}", {"a": {"add": "3", "b": "2"}}),
        ("a: [{b: 1}]", "a: {remove: [{b: 1}]}", {"a": []}),
    ],
)
def test_mappings_merge_and_lists_replace(below: str, over: str, data: Any) -> None:
    assert merged(below, over) == data


def test_every_value_keeps_its_place() -> None:
    data = merged("a: {b: 1, l: [1, 2]}\nz: 1\n", "\na: {c: 2, l: {add: [3], remove: [1]}}\n")
    places = {key: (mark.file, mark.line, mark.value_column) for key, mark in data["a"].marks.items()}
    assert places == {"b": ("below", 1, 8), "l": ("over", 2, 14), "c": ("over", 2, 8)}
    assert [(mark.file, mark.value_column) for mark in data["a"]["l"].marks] == [("below", 18), ("over", 21)]
    assert data.marks["z"].file == "below"


@pytest.mark.parametrize("over", ["a: {add: 3}", "a: {add: {b: 1}}", "a: {remove: x}"])
def test_what_is_no_change_of_a_list_is_told_by_its_field(over: str, tmp_path: Path) -> None:
    text = over.replace("a:", "ignore:")
    files = {"customers/acme/customer.yaml": ON_STANDARD, STANDARD: "dns: {defaults: {ignore: [x]}}\n"}
    root = estate(tmp_path, {**files, "customers/acme/dns.yaml": f"defaults: {{{text}}}\n"})
    with pytest.raises(InputError, match=r"dns\.yaml:1:\d+: defaults\.ignore: should be a list$"):
        load(root)


# -- a customer on a baseline -----------------------------------------------------------------------------------


def two_customers(tmp_path: Path, baseline: str, **acme: str) -> Path:
    files = {
        STANDARD: baseline,
        "customers/acme/customer.yaml": ON_STANDARD,
        "customers/beta/customer.yaml": ON_STANDARD,
    }
    for name in ("acme", "beta"):
        files[f"customers/{name}/dns.yaml"] = (
            f"zones: {{{name}.example: {{target: files}}, {name}.test: {{target: files}}}}\n"
        )
        for zone in ("example", "test"):
            files[f"customers/{name}/dns/{name}.{zone}.yaml"] = "www: {A: 192.0.2.1}\n"
    return estate(
        tmp_path, {**files, **{f"customers/acme/{file.replace('__', '/')}": text for file, text in acme.items()}}
    )


def records(found: Estate, customer: str, zone: str) -> dict[str, tuple[int, list[str], str]]:
    resources = found.customers[customer].files["dns"][zone].resources
    return {r.id.name: (dns.ttl_of(r), dns.values_of(r), r.source) for r in resources}


def test_settings_come_from_zone_defaults_and_baseline(tmp_path: Path) -> None:
    baseline = "dns: {defaults: {ttl: 30m, ignore: [_acme-challenge*], renewal: {at: aruba, ends: 2027-01-01}}}\n"
    root = two_customers(tmp_path, baseline)
    (root / "customers/acme/dns.yaml").write_text(
        "defaults: {ttl: 5m, ignore: {add: [lab]}}\n"
        "zones: {acme.example: {targets: [files]}, acme.test: {target: files, ttl: 1}}\n"
    )
    found = load(root)
    section = found.customers["acme"].sections["dns"]
    assert isinstance(section, Section)
    assert (section.zones["acme.example"].ttl, section.zones["acme.test"].ttl) == (300, 1)
    assert section.zones["acme.test"].ignore == ("_acme-challenge*", "lab")
    assert section.zones["acme.test"].renewal is not None
    assert records(found, "beta", "beta.test")["www A"][0] == 1800


def test_records_lie_under_every_zone_and_its_own_win(tmp_path: Path) -> None:
    baseline = "dns:\n  records:\n    apex: {CAA: 0 issue ca.example}\n    www: {A: 192.0.2.99, TXT: x}\n"
    found = load(two_customers(tmp_path, baseline))
    for customer, zone in [("acme", "acme.example"), ("acme", "acme.test"), ("beta", "beta.example")]:
        assert records(found, customer, zone) == {
            "www A": (3600, ["192.0.2.1"], f"customers/{customer}/dns/{zone}.yaml:1"),
            "@ CAA": (3600, ['0 issue "ca.example"'], f"{STANDARD}:3"),
            "www TXT": (3600, ['"x"'], f"{STANDARD}:4"),
        }


def test_records_lie_under_zone_files_too(tmp_path: Path) -> None:
    root = two_customers(tmp_path, "dns: {records: {apex: {TXT: x}, www: {A: 192.0.2.99}}}\n")
    (root / "customers/acme/dns/acme.test.yaml").unlink()
    (root / "customers/acme/dns/acme.test.zone").write_text("www 60 IN A 192.0.2.2\n")
    assert records(load(root), "acme", "acme.test") == {
        "www A": (60, ["192.0.2.2"], "customers/acme/dns/acme.test.zone:1"),
        "@ TXT": (3600, ['"x"'], f"{STANDARD}:1"),
    }


def said(root: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        load(root)
    return [str(problem) for problem in caught.value.problems]


ONCE = [
    ("dns: {zoness: {}}\n", [":1:7: zoness: unknown key (did you mean zones?)"]),
    ("dns: {defaults: {ttl: soon}}\n", [":1:23: defaults.ttl: 'soon' is not a duration (write 1h, 5m or 300)"]),
    ("dns: {defaults: {tll: 1h}}\n", [":1:18: defaults.tll: unknown key (did you mean ttl?)"]),
    ("dns: {defaults: {target: fils}}\n", []),
    ("dns: {records: [x]}\n", [":1:16: records: should be a mapping of names"]),
    ("dns: {records: {www: {A: nope}}}\n", [":1:26: www.A: 'nope' is not an IPv4 address (write 192.0.2.1)"]),
    (
        "dns: {records: {a: {MX: 10 mail, FOO: x}}}\n",
        [
            ":1:25: a.MX: 'mail' has no dot at its end: write 'mail.' (exactly that name) or 'mail.acme.example.' "
            "(in this zone)",
            ":1:34: a.FOO: 'FOO' is not a record type (known: A, AAAA, ALIAS, CAA, CNAME, DNAME, DS, HTTPS, LOC, MX, "
            "NAPTR, NS, PTR, SRV, SSHFP, SVCB, TLSA, TXT, URI)",
        ],
    ),
    (
        "dns: {records: {a.acme.example.: {A: 192.0.2.1}}}\n",
        [":1:17: a.acme.example.: 'a.acme.example.' is outside the zone acme.test"],
    ),
    ("dns: [x]\n", [":1:6: dns: should be a mapping (key: value)"]),
    ("dns:\n", [":1:5: dns: is empty"]),
    ("mial: {}\n", [":1:1: mial: unknown section (did you mean mail?)"]),
    ("", [": is empty: its keys are sections"]),
    (
        "dns: {a: 1, a: 2}\n",
        [
            ":1:13: duplicate key 'a' (first on line 1)",
            ":1:13: a: unknown key (known: defaults, mode, records, window, zones)",
        ],
    ),
]


@pytest.mark.parametrize(("baseline", "lines"), ONCE)
def test_a_problem_of_a_baseline_is_told_once_where_it_is(baseline: str, lines: list[str], tmp_path: Path) -> None:
    root = two_customers(tmp_path, baseline)
    assert (said(root) if lines else []) == [f"{STANDARD}{line}" for line in lines]


def test_a_cname_of_a_zone_beside_records_of_its_baseline_is_told_at_the_zone(tmp_path: Path) -> None:
    root = two_customers(
        tmp_path, "dns: {records: {www: {TXT: x}}}\n", **{"dns__acme.test.yaml": "www: {CNAME: a.b.}\n"}
    )
    assert said(root) == [
        "customers/acme/dns/acme.test.yaml:1:7: www.CNAME: a CNAME stands alone at its name "
        f"(there is TXT in {STANDARD}:1)"
    ]


def test_records_of_a_zone_beside_a_cname_of_its_baseline_are_told_at_the_zone(tmp_path: Path) -> None:
    root = two_customers(tmp_path, "dns: {records: {www: {CNAME: a.b.}}}\n")
    assert said(root) == [
        f"customers/{name}/dns/{name}.{zone}.yaml:1:7: www.A: a CNAME stands alone at its name "
        f"(there is CNAME in {STANDARD}:1)"
        for name in ("acme", "beta")
        for zone in ("example", "test")
    ]


def test_a_zone_of_a_baseline_is_a_zone_of_two_customers(tmp_path: Path) -> None:
    root = two_customers(tmp_path, "dns: {zones: {shared.example: {target: files}}}\n")
    for name in ("acme", "beta"):
        (root / f"customers/{name}/dns/shared.example.yaml").write_text("{}\n")
    assert said(root) == [
        f"{STANDARD}:1:15: zones.shared.example: is declared in {STANDARD}:1 too (a zone belongs to one customer)"
    ]


def test_a_section_that_only_the_baseline_has(tmp_path: Path) -> None:
    root = estate(tmp_path, {STANDARD: "dns: {defaults: {ttl: 5m}}\n", "customers/acme/customer.yaml": ON_STANDARD})
    assert load(root).customers["acme"].files["dns"] == {}


def test_a_warning_of_a_baseline_is_told_once_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = two_customers(tmp_path, "dns: {records: {www: {TXT: [x, x]}}}\n")
    assert cli.run(["-C", str(root), "validate"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        f"{STANDARD}:1:32: www.TXT: warning: 'x' is listed twice",
        "0 errors, 1 warning",
    ]
