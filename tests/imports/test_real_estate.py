"""A public estate of 405 zones comes in whole, goes to zone files that BIND accepts, and comes back the same."""

from __future__ import annotations

import io
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from mspctl import cli
from mspctl.kinds import dns
from mspctl.load import load
from tests.estate import estate
from tests.servers import require

SOURCE = Path(__file__).resolve().parents[3] / "shared/data/moj-dns/hostedzones"
TARGETS = (
    "targets:\n  files: {facets: {dns: {driver: zonefile, directory: zones,"
    " nameservers: [ns1.example.net., ns2.example.net.]}}}\n"
)
NOTHING = "Nothing to do: every declaration is true."
Rows = set[tuple[str, str, int, frozenset[str]]]  # owner, type, TTL, values

pytestmark = pytest.mark.skipif(not SOURCE.is_dir(), reason=f"the estate is not at {SOURCE.parents[1]}")


@dataclass
class Imported:
    """A repository with the estate in it, and what the import said."""

    root: Path
    code: int
    out: list[str]
    err: list[str]


def repository(folder: Path) -> Path:
    root = estate(folder, {"inventory/targets.yaml": TARGETS})
    subprocess.run(["git", "init", "--quiet", root], check=True)
    assert cli.run(["-C", str(root), "ledger", "init"]) == 0
    return root


def run(root: Path, *arguments: str) -> tuple[int, list[str], list[str]]:
    """Exit code, stdout and stderr of a command line."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = cli.run(["-C", str(root), *arguments])
    return code, out.getvalue().splitlines(), err.getvalue().splitlines()


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    root = repository(tmp_path_factory.mktemp("estate"))
    return Imported(root, *run(root, "import", "--from", "octodns", str(SOURCE), "-c", "moj", "--name", "Ministry"))


@pytest.fixture(scope="module")
def applied(imported: Imported) -> Imported:
    code, out, _ = run(imported.root, "apply")
    assert (code, out[-1]) == (0, "4,018 changes landed. Nothing is pending.")
    return imported


def declared(root: Path) -> dict[str, Rows]:
    return {
        zone: {(*dns.owner_type(r.id), dns.ttl_of(r), frozenset(dns.values_of(r))) for r in records.resources}
        for zone, records in load(root).customers["moj"].files["dns"].items()
    }


# -- what the source says, read without mspctl ------------------------------------------------------------------


def source() -> dict[str, Rows]:
    zones: dict[str, Rows] = {}
    for path in sorted(SOURCE.glob("*.yaml")):
        data = yaml.load(path.read_bytes(), Loader=yaml.CBaseLoader)  # noqa: S506 - it makes texts only
        if path.name != "octodns.yaml":
            zones[path.name.removesuffix(".yaml").lower()] = set(_rows(data))
    return zones


def _rows(data: dict[str, Any]) -> Iterator[tuple[str, str, int, frozenset[str]]]:
    for owner, entry in data.items():
        for record in entry if isinstance(entry, list) else [entry]:
            rtype = record["type"]
            if rtype == "Route53Provider/ALIAS":
                continue
            values = record["values"] if "values" in record else record["value"]
            folded = frozenset(_value(rtype, v) for v in (values if isinstance(values, list) else [values]))
            yield owner.lower() or "@", rtype, int(record.get("ttl", 3600)), folded


def _value(rtype: str, value: Any) -> str:
    """Only what this estate holds: it was written with care, so little has to be folded."""
    if rtype == "TXT":
        text = value[1:-1].replace('" "', "") if value.startswith('"') else value
        return dns.quoted(text.replace("\\;", ";").encode())
    if rtype == "CAA":
        return f'{value.get("flags", 0)} {value["tag"]} "{value["value"]}"'
    if rtype == "MX":
        return f"{value['preference']} {value['exchange'].lower().rstrip('.')}."
    if rtype == "SRV":
        return f"{value['priority']} {value['weight']} {value['port']} {value['target'].lower().rstrip('.')}."
    return str(value) if rtype == "A" else f"{value.lower().rstrip('.')}."


# -- the tests --------------------------------------------------------------------------------------------------


def test_everything_comes_in_or_is_named(imported: Imported) -> None:
    assert imported.code == 3
    assert imported.out == [
        "in:  406 files, 4,222 RRsets, 6,549 values",
        "out: 405 zones, 4,018 RRsets, 6,345 values, written to customers/moj/",
        "left out: 204 RRsets, 204 values (named above)",
    ]
    assert imported.err[-1] == "205 errors, 38 warnings"


def test_every_record_of_one_provider_and_the_stray_file_are_named(imported: Imported) -> None:
    errors = [line for line in imported.err[:-1] if ": warning: " not in line]
    assert f"{SOURCE}/octodns.yaml: is no zone file of octoDNS (left out)" in errors
    named = Counter(
        (m[1], m[2])
        for line in errors
        if (m := re.match(rf"{SOURCE}/(.+)\.yaml:\d+:\d+: (.+)\.Route53Provider/ALIAS: ", line))
    )
    expected: Counter[tuple[str, str]] = Counter()
    for path in SOURCE.glob("*.yaml"):
        for owner, entry in yaml.load(path.read_bytes(), Loader=yaml.CBaseLoader).items():  # noqa: S506
            for record in entry if isinstance(entry, list) else [entry]:
                expected[path.name.removesuffix(".yaml"), owner or "''"] += (
                    record.get("type") == "Route53Provider/ALIAS"
                )
    assert named == +expected
    assert named.total() == len(errors) - 1 == 204


def test_what_lies_at_or_below_a_delegation_comes_in_with_a_warning(imported: Imported) -> None:
    warnings = [line for line in imported.err if ": warning: " in line]
    assert sum("is at or below the delegation of" in line for line in warnings) == 36
    assert sum("needs (glue)" in line for line in warnings) == 2
    assert len(warnings) == 38


def test_validate_warns_of_the_same_but_not_of_glue(imported: Imported) -> None:
    code, out, err = run(imported.root, "validate")
    assert (code, out) == (0, ["1 customer, 405 scopes, 4,018 resources: no errors."])
    assert err[-1] == "0 errors, 36 warnings"


def test_the_written_yaml_declares_exactly_the_sources_records(imported: Imported) -> None:
    assert declared(imported.root) == source()


def test_importing_again_changes_nothing(imported: Imported) -> None:
    before = {path: path.read_bytes() for path in (imported.root / "customers").rglob("*") if path.is_file()}
    code, _, err = run(imported.root, "import", "--from", "octodns", str(SOURCE), "-c", "moj")
    assert code == 1
    assert err[-2].endswith(".yaml: is there already (remove it to import the zone again)")
    assert {path: path.read_bytes() for path in (imported.root / "customers").rglob("*") if path.is_file()} == before


def test_a_second_plan_is_empty(applied: Imported) -> None:
    code, out, _ = run(applied.root, "plan")
    assert (code, out[-1]) == (0, NOTHING)


def test_bind_accepts_every_zone(applied: Imported) -> None:
    program = require("named-checkzone")
    zones = sorted((applied.root / "zones").glob("*.zone"))
    assert len(zones) == 405

    def check(path: Path) -> str:
        name = path.name.removesuffix(".zone").replace("%2F", "/")
        done = subprocess.run([program, name, path], capture_output=True, text=True)
        return "" if done.returncode == 0 else done.stdout

    with ThreadPoolExecutor(2) as executor:
        assert [said for said in executor.map(check, zones) if said] == []


@pytest.mark.parametrize("kind", ["zonefiles", "target"])
def test_the_zones_come_back_the_same_and_plan_to_nothing(kind: str, applied: Imported, tmp_path: Path) -> None:
    root = repository(tmp_path)
    (root / "zones").rmdir()
    (root / "zones").symlink_to(applied.root / "zones")
    source_ = ["zonefiles", str(applied.root / "zones")] if kind == "zonefiles" else ["files"]
    code, out, err = run(root, "import", "--from", *source_, "-c", "moj")
    said = "out: 405 zones, 4,018 RRsets, 6,345 values, written to customers/moj/"
    assert (code, out[-1], err[-1]) == (0, said, "0 errors, 38 warnings")
    assert declared(root) == declared(applied.root)
    code, out, _ = run(root, "plan")
    assert (code, out[-1]) == (0, NOTHING)
