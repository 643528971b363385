"""Both engines see the same: for every example customer, our plan and the provider's diff name the same changes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mspctl.desired import Declaration, Selection, declarations, of_facets
from mspctl.driver import Reading
from mspctl.load import load
from mspctl.plan import REVERT, ScopePlan, accept, plan_scope
from mspctl.provider import shapes
from mspctl.provider.values import spelled
from mspctl.record import Record, ScopeRecord
from mspctl.resource import UNKNOWN, Id, Resource
from mspctl.targets import Targets
from tests.provider.wire import Json, Wire, by_pulumi, provider

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = {"customers": ROOT, **{folder.name: folder for folder in (ROOT / "examples").iterdir() if folder.is_dir()}}
_KINDS = {"create": "ADD", "delete": "DELETE"}


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with provider(tmp_path_factory.mktemp("nowhere"), configured=False) as made:
        yield made


def declared(repository: Path) -> list[tuple[Declaration, Targets]]:
    """All of an example, as the targets accept it."""
    estate = load(repository)
    targets = Targets(estate)
    found = declarations(estate, Selection(), {}, datetime.now(UTC))
    return [(accept(targets.reader(d.scope), d)[0], targets) for d in found]


def inputs_of(declaration: Declaration) -> Json:
    scope = declaration.scope
    resources = shapes.to_plain(declaration.resources)
    return {"customer": scope.customer, "target": scope.target, "name": scope.name, "resources": resources}


def told(plan: ScopePlan) -> dict[str, str]:
    """Our plan, in the provider's words."""
    found = {}
    for step in plan.steps:
        id_ = step.change.id
        path = shapes.path_of(id_)
        for name in ("",) if step.change.verb in _KINDS else step.change.changed:
            added = step.change.before is not None and name not in step.change.before.fields
            kind = _KINDS.get(step.change.verb) or ("ADD" if added else "UPDATE")
            found[spelled((*path, name) if name else path)] = kind
    return found


PATHS = ("paths", "on_access", "folder", "exclude")


def respelled(inputs: Json) -> Json:
    """As a program may write the same: lists in another order and twice, folders with a slash, names in capitals."""

    def field(kind: str, name: str, value: object) -> object:
        slash = "/" if name in PATHS and kind not in ("rule", "job" if name == "exclude" else "") else ""
        if isinstance(value, list):
            return [f"{each}{slash}" for each in (*reversed(value), *value)] if is_set(kind, name) else value
        return f"{value}{slash}" if isinstance(value, str) else value

    def is_set(kind: str, name: str) -> bool:
        return shape.known(shape.kinds[kind]).get(name) is frozenset

    shape = shapes.of_facet(inputs["facet"])
    upper = shape.facet in ("dns", "mail", "mailboxes")
    made = {
        kind: {
            name: {key: field(kind, key, value) for key, value in fields.items() if key != "amiss" or value}
            for name, fields in named.items()
        }
        for kind, named in inputs["resources"].items()
    }
    name = inputs["name"].upper() if upper else inputs["name"]
    return {**{key: inputs[key] for key in ("customer", "target")}, "name": name, "resources": made}


def changed(resources: Sequence[Resource]) -> list[Resource]:
    """Every third is taken out, and of the others each number, truth and set is another one."""
    found = []
    for number, resource in enumerate(resources):
        if number % 3 == 0:
            continue
        fields = dict(resource.fields)
        for name, value in fields.items():
            if type(value) is int:
                fields[name] = value + 1024
            elif type(value) is bool:
                fields[name] = not value
            elif isinstance(value, frozenset) and len(value) > 1:
                fields[name] = value - {min(value)}
        found.append(replace(resource, fields=fields))
    return found


@pytest.mark.parametrize("example", EXAMPLES)
def test_our_plan_and_the_diff_say_the_same(process: Wire, tmp_path: Path, example: str) -> None:
    for name in ("customers", "inventory"):
        shutil.copytree(EXAMPLES[example] / name, tmp_path / name)
    for folder in (tmp_path / "customers").iterdir():
        by_pulumi(tmp_path, folder.name)
    process.configure(tmp_path)
    seen = 0
    for declaration, targets in declared(tmp_path):
        scope, reader = declaration.scope, targets.reader(declaration.scope)
        token = shapes.of_facet(scope.facet).token
        inputs = process.checked(token, inputs_of(declaration))
        assert inputs == {**inputs, "resources": shapes.to_plain(declaration.resources)}  # accepted is accepted
        spelled_otherwise = respelled({**inputs_of(declaration), "facet": scope.facet})
        assert process.checked(token, spelled_otherwise) == inputs
        new = plan_scope(declaration, None, Reading(scope, ()), REVERT, traits=reader.traits)
        nothing = {**inputs, "resources": {}, "outputs": {}}
        assert process.details(token, nothing, inputs, nothing) == told(new)
        wanted = replace(declaration, resources=changed(declaration.resources))
        record = ScopeRecord(scope, {r.id: Record((r,)) for r in declaration.resources})
        ours = plan_scope(wanted, record, Reading(scope, declaration.resources), REVERT, traits=reader.traits)
        state = {**inputs, "outputs": {}}
        assert process.details(token, state, inputs_of(wanted), inputs) == told(ours)
        seen += len(new.steps) + len(ours.steps)
    assert seen > 10


@pytest.mark.parametrize("example", EXAMPLES)
def test_fields_of_kinds_are_all_that_sections_declare(example: str) -> None:
    estate = load(EXAMPLES[example])
    known = of_facets()
    for declaration in declarations(estate, Selection(), {}, datetime.now(UTC)):
        fields = known[declaration.scope.facet][1]
        for resource in declaration.resources:
            said = fields[resource.id.kind]
            names = {name.rstrip("?"): type_ for name, type_ in said.items()}
            assert resource.fields.keys() <= names.keys(), resource
            assert {name for name in said if not name.endswith("?")} <= resource.fields.keys(), resource
            for name, value in resource.fields.items():
                assert value is UNKNOWN or type(value) is names[name], (resource, name)


def test_what_a_resource_becomes_comes_back() -> None:
    shape = shapes.of_facet("dns")
    made = Resource(Id("dns.rrset", "www A"), {"ttl": 60, "values": frozenset({"192.0.2.1", "192.0.2.2"})})
    assert shapes.from_plain(shape, shapes.to_plain([made])) == [made]
