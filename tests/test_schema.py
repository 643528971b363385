"""JSON Schemas: they take what `load` takes, refuse what it refuses, and are valid themselves."""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from pydantic import Field

from mspctl import schema
from mspctl.cli import run
from mspctl.errors import InputError
from mspctl.fields import Boolean, Model, Names
from mspctl.load import load
from mspctl.model import sections

ROOT = Path(__file__).parents[1]
TARGETS = "targets: {ns: {facets: {dns: {driver: zonefile, directory: zones}}}}"
ZONES = "zones: {acme.example: {target: ns}}"


# YAML 1.2's core schema, as editors read it: no dates, no `yes`, no sexagesimal numbers.
Core: Any = type("Core", (yaml.SafeLoader,), {"yaml_implicit_resolvers": {}})
for tag, pattern, first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", "~|null|Null|NULL|", "~nN\0"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    regexp = re.compile(f"^(?:{pattern})$")
    Core.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", regexp, [c.strip("\0") for c in first])


def as_an_editor(text: str) -> Any:
    return with_text_keys(yaml.load(text, Core))  # noqa: S506


def with_text_keys(data: Any) -> Any:
    if isinstance(data, list):
        return [*map(with_text_keys, data)]
    return {str(key): with_text_keys(value) for key, value in data.items()} if isinstance(data, dict) else data


@cache
def validator(name: str) -> Any:
    return Draft202012Validator(schema.schemas()[name])


def schema_of(path: str) -> str:
    """The schema that a file of a repository is for."""
    parts = path.split("/")
    if parts[0] == "inventory":
        return "baseline" if parts[1] == "baselines" else Path(path).stem
    return Path(path).stem if len(parts) == 3 else f"{parts[2]}-records"


def estate(root: Path, files: Mapping[str, str]) -> Path:
    given = {"inventory/targets.yaml": TARGETS, "customers/acme/customer.yaml": "name: Acme", **files}
    for name in ("customers", "inventory", "zones"):
        (root / name).mkdir(exist_ok=True)
    for path, text in given.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.mark.parametrize("name", [*schema.schemas()])
def test_every_schema_is_valid_itself(name: str) -> None:
    found = schema.schemas()[name]
    assert found["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(found)


def test_there_is_a_schema_for_every_kind_of_file() -> None:
    further = {name for s in sections.names() for name in getattr(sections.module(s), "schemas", dict)()}
    assert {*schema.schemas()} == {
        "accepted",
        "approvals",
        "archive",
        "baseline",
        "checks",
        "contracts",
        "customer",
        "notify",
        "products",
        "pulumi",
        "quick_lane",
        "rings",
        "targets",
        *sections.names(),
        *further,
    }


EXAMPLES = sorted(
    str(path.relative_to(ROOT))
    for folder in ("customers", "inventory")
    for path in (ROOT / folder).rglob("*.yaml")
    if path.name != "secrets.yaml"
)


@pytest.mark.parametrize("path", EXAMPLES)
def test_the_example_customers_and_their_inventory_fit(path: str) -> None:
    text = (ROOT / path).read_text()
    validator(schema_of(path)).validate(as_an_editor(text))
    first = text.partition("\n")[0]
    if "$schema=" in first:
        folder = (ROOT / path).parent
        named = (folder / first.partition("$schema=")[2]).resolve().relative_to(ROOT)
        assert str(named) == f"{schema.FOLDER}/{schema_of(path)}{schema.SUFFIX}"


def test_schemas_that_stand_in_this_repository_are_up_to_date() -> None:
    """`mspctl schema --write` writes them anew."""
    folder = ROOT / schema.FOLDER
    if folder.is_dir():
        found = {path.name: path.read_text() for path in folder.iterdir()}
        assert found == {f"{name}{schema.SUFFIX}": schema.dump(made) for name, made in schema.schemas().items()}


TAKEN = [
    ("customers/acme/customer.yaml", "{name: 4711, contacts: [{id: 1, name: true, phone: 0039.02}]}"),
    ("customers/acme/customer.yaml", "{name: A, contacts: [{id: m, name: No, may_authorize: dns}]}"),
    ("customers/acme/customer.yaml", "{name: A, contract: {plan: 24, from: 2025-01-01, to: 2027-12-31}}"),
    ("customers/acme/customer.yaml", "{name: A, contract: , baseline: , sites: {hq: 10.0.0.0/8}}"),
    ("customers/acme/dns.yaml", "zones: {acme.example: {targets: ns, ttl: 300, ignore: 7}}"),
    ("customers/acme/dns.yaml", "zones: {acme.example: {targets: [ns], ttl: 1h, renewal: }}"),
    ("customers/acme/dns.yaml", "{defaults: {target: ns, ttl: '60'}, zones: {acme.example: }}"),
    ("customers/acme/dns.yaml", "{defaults: {target: ns, ignore: a}, zones: {acme.example: {ignore: {add: [b]}}}}"),
    (
        "customers/acme/dns.yaml",
        "zones: {acme.example: {target: ns, renewal: {at: r, ends: 2027-01-01, auto: true}}}",
    ),
    (
        "customers/acme/dns.yaml",
        "zones: {acme.example: {target: ns, renewal: {at: r, ends: 2027-01-01, auto: 'false'}}}",
    ),
    ("customers/acme/dns.yaml", f"{{{ZONES}, records: {{apex: {{TXT: [true, 1.10, a]}}}}}}"),
    ("customers/acme/dns.yaml", f"{{{ZONES}, records: }}"),
    ("customers/acme/dns/acme.example.yaml", "apex: {A: [192.0.2.1, 192.0.2.2], TXT: 12, ttl: 5m}"),
    ("customers/acme/dns/acme.example.yaml", "www: {A: {values: 192.0.2.1, ttl: 300}, TYPE65280: '\\# 1 00'}"),
    (
        "customers/acme/dns/acme.example.yaml",
        "'': [{type: MX, value: {preference: 10, exchange: mx.}}, {type: TXT, ttl: 60, values: [a, true]}]",
    ),
    ("inventory/targets.yaml", "targets: {ns: {address: 10, note: , facets: {dns: {driver: zonefile, directory: 1}}}}"),
    (
        "inventory/targets.yaml",
        "targets: {ns: {secrets: {key: NS_KEY}, facets: {dns: {driver: zonefile, directory: z, soa: {retry: 1h}}}}}",
    ),
    ("customers/acme/customer.yaml", "{name: A, timezone: Europe/Rome, window: 'mon-fri 07:30-18:30'}"),
    ("customers/acme/dns.yaml", f"{{{ZONES}, window: 22:00-05:00}}"),
    (
        "customers/acme/dns/acme.example.yaml",
        "www: {A: {values: 192.0.2.1, until: 2099-03-31}, TXT: x, from: 2027-01-01}",
    ),
    ("customers/acme/dns/acme.example.yaml", "www: {type: A, value: 192.0.2.1, until: 2099-03-31 18:00}"),
    (
        "inventory/targets.yaml",
        "targets: {ns: {window: sun 05:00-06:00, timezone: UTC, facets: {dns: {driver: zonefile, directory: z}}}}",
    ),
    ("inventory/contracts.yaml", ""),
    ("inventory/contracts.yaml", "contracts: {24: {includes: dns, name: 24}}"),
    ("inventory/checks.yaml", ""),
    ("inventory/checks.yaml", "dns: "),
    ("inventory/checks.yaml", "mail: {full: 80, queued: 15m, block_lists: [zen.spamhaus.org]}"),
    ("inventory/checks.yaml", "dns: {resolvers: 192.0.2.53, port: 53, timeout: 5, settle: 0, signatures: 2d}"),
    ("inventory/checks.yaml", "dns: {resolvers: [192.0.2.53, '[2001:db8::53]:5353'], port: '53', inside: true}"),
    (
        "inventory/checks.yaml",
        "dns: {roots: [192.0.2.1, '2001:db8::1'], zone_timeout: 2m, at_once: 8, registration: 6w}",
    ),
    ("customers/acme/dns.yaml", "zones: {acme.example: {target: ns, public: false}}"),
    ("inventory/baselines/gold.yaml", "{}"),
    ("inventory/baselines/gold.yaml", "dns: {defaults: {renewal: {at: r}}, records: {apex: {CAA: 0 issue x}}}"),
]


@pytest.mark.parametrize(("path", "text"), TAKEN)
def test_what_load_takes_fits(tmp_path: Path, path: str, text: str) -> None:
    files = {
        "customers/acme/dns.yaml": ZONES,
        "customers/acme/dns/acme.example.yaml": "www: {A: 192.0.2.1}",
        "inventory/targets.yaml": TARGETS,
        "inventory/contracts.yaml": "contracts: {24: {includes: [dns]}}",
        "inventory/baselines/gold.yaml": "dns: {}",
    }
    load(estate(tmp_path, files | {path: text}))
    validator(schema_of(path)).validate(as_an_editor(text))


REFUSED = [
    ("customers/acme/customer.yaml", "{}"),
    ("customers/acme/customer.yaml", "{name: A, nome: B}"),
    ("customers/acme/customer.yaml", "{name: [A]}"),
    ("customers/acme/customer.yaml", "{name: A, contract: {plan: full, start: 2025-01-01}}"),
    ("customers/acme/customer.yaml", "{name: A, language: de}"),
    ("customers/acme/customer.yaml", "{name: A, sites: {Head Office: 10.0.0.0/8}}"),
    ("customers/acme/customer.yaml", "{name: A, contacts: [{id: m}]}"),
    ("customers/acme/customer.yaml", "{name: A, contacts: {id: m, name: M}}"),
    ("customers/acme/customer.yaml", "{name: A, baseline: Not A Name}"),
    ("customers/acme/dns.yaml", "zones: [acme.example]"),
    ("customers/acme/dns.yaml", "{zones: {}, zone: {}}"),
    ("customers/acme/dns.yaml", "zones: {acme.example: {target: ns, tll: 1h}}"),
    ("customers/acme/dns.yaml", "zones: {acme.example: {target: [ns]}}"),
    ("customers/acme/dns.yaml", "zones: {acme.example: {target: ns, ttl: true}}"),
    ("customers/acme/dns.yaml", "zones: {acme.example: {target: ns, renewal: {at: r, ends: 1, auto: yes}}}"),
    ("customers/acme/dns.yaml", "zones: {acme.example: {target: ns, ignore: {append: [b]}}}"),
    ("customers/acme/dns/acme.example.yaml", "www: 192.0.2.1"),
    ("customers/acme/dns/acme.example.yaml", "www: {a: 192.0.2.1}"),
    ("customers/acme/dns/acme.example.yaml", "www: {A: {value: 192.0.2.1}}"),
    ("customers/acme/dns/acme.example.yaml", "www: {type: A, val: 192.0.2.1}"),
    ("customers/acme/dns/acme.example.yaml", "www: {A: 192.0.2.1, until: [2027-03-31]}"),
    ("inventory/targets.yaml", "targets: {ns: {window: [sun 05:00-06:00], facets: {}}}"),
    ("inventory/targets.yaml", "targets: {ns: {}}"),
    ("inventory/targets.yaml", "targets: {ns: {facets: {dns: {driver: zonefil, directory: z}}}}"),
    ("inventory/targets.yaml", "targets: {ns: {facets: {dns: {driver: zonefile, folder: z}}}}"),
    ("inventory/targets.yaml", "targets: {ns: {facets: {dns: zonefile}}}"),
    ("inventory/targets.yaml", "targets: {Ns 1: {facets: {dns: {driver: zonefile, directory: z}}}}"),
    ("inventory/contracts.yaml", "contracts: {full: {include: [dns]}}"),
    ("inventory/checks.yaml", "[]"),
    ("inventory/checks.yaml", "{mail: {fill: 90}}"),
    ("inventory/checks.yaml", "{mail: {full: 101}}"),
    ("inventory/checks.yaml", "{male: {}}"),
    ("inventory/checks.yaml", "dns: {resolver: 192.0.2.53}"),
    ("inventory/checks.yaml", "dns: {resolvers: {ip: 192.0.2.53}}"),
    ("inventory/checks.yaml", "dns: {inside: yes}"),
    ("inventory/baselines/gold.yaml", ""),
    ("inventory/baselines/gold.yaml", "dns: "),
    ("inventory/baselines/gold.yaml", "dnss: {}"),
    ("inventory/baselines/gold.yaml", "dns: {default: {}}"),
]


@pytest.mark.parametrize(("path", "text"), REFUSED)
def test_what_load_refuses_for_its_shape_does_not_fit(tmp_path: Path, path: str, text: str) -> None:
    customer = "{name: A, baseline: gold}"
    files = {"customers/acme/dns.yaml": ZONES, "customers/acme/customer.yaml": customer}
    if "baselines" not in path:
        files["inventory/baselines/gold.yaml"] = "{}"
    with pytest.raises(InputError) as refused:
        load(estate(tmp_path, files | {path: text}))
    assert any(path in problem.file for problem in refused.value.problems)
    assert not validator(schema_of(path)).is_valid(as_an_editor(text))


def test_an_editor_is_told_what_the_models_say() -> None:
    found = schema.schemas()
    contract = found["customer"]["$defs"]["Contract"]
    assert {"from", "to"} < {*contract["properties"]}
    assert "What was agreed" in contract["description"]
    assert found["customer"]["properties"]["baseline"]["description"] == "a file of inventory/baselines/"
    assert found["targets"]["$defs"]["zonefile"]["properties"]["driver"]["const"] == "zonefile"
    assert "master files" in found["targets"]["$defs"]["zonefile"]["properties"]["driver"]["description"]


class Odd(Model):
    """Values that look like something else to an editor."""

    version: Literal["7.10", "12", "on"] = "on"  # of the firmware
    flag: Literal["true"] | None = None
    names: Names = ()  # some
    switch: Boolean = Field(False, description="said with Field")
    count: int | None = None


ODD: list[tuple[str, bool]] = [
    ("version: 7.10", True),
    ("version: '7.10'", True),
    ("version: 12", True),
    ("version: on", True),
    ("version: 7.2", False),
    ("flag: true", True),
    ("flag: ", True),
    ("flag: false", False),
    ("count: 3", True),
    ("count: '3'", True),
    ("count: three", False),
    ("switch: 'true'", True),
    ("switch: yes", False),
    ("names: a", True),
    ("names: [a, 1]", True),
    ("names: {}", False),
]


@pytest.mark.parametrize(("text", "fits"), ODD)
def test_quotes_make_no_difference_and_one_may_stand_for_many(text: str, fits: bool) -> None:
    assert Draft202012Validator(schema._of_model(Odd)).is_valid(as_an_editor(text)) is fits


def test_descriptions_come_from_comments_and_from_fields() -> None:
    properties = schema._of_model(Odd)["properties"]
    assert properties["version"]["description"] == "of the firmware"
    assert properties["switch"]["description"] == "said with Field"


# -- the command ----------------------------------------------------------------------------------------------


def test_the_command_prints_all_or_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema"]) == 0
    everything = json.loads(capsys.readouterr().out)
    assert everything["format"] == "mspctl.schemas/1"
    assert everything["schemas"] == schema.schemas()
    assert run(["schema", "customer"]) == 0
    assert json.loads(capsys.readouterr().out) == schema.schemas()["customer"]


def test_a_name_that_there_is_not_is_an_error_with_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema", "custmer"]) == 1
    assert "did you mean customer?" in capsys.readouterr().err


def test_the_command_writes_files_to_the_repository_or_where_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = estate(tmp_path, {})
    assert run(["-C", str(root), "schema", "--write"]) == 0
    assert run(["schema", "--write", str(tmp_path / "a" / "b")]) == 0
    for folder in (root / ".schemas", tmp_path / "a" / "b"):
        files = {p.name.removesuffix(".schema.json"): json.loads(p.read_text()) for p in folder.iterdir()}
        assert files == schema.schemas()
    before = {p: p.stat().st_ino for p in (root / ".schemas").iterdir()}
    (root / ".schemas" / "dns.schema.json").write_text("{}")
    capsys.readouterr()
    assert run(["-C", str(root), "schema", "--write"]) == 0
    assert "1 of them new or changed" in capsys.readouterr().out
    changed = {p.name for p in (root / ".schemas").iterdir() if before[p] != p.stat().st_ino}
    assert changed == {"dns.schema.json"}


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run(["schema", "--write", str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err.count("\n") <= 2
