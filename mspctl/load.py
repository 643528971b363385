"""
`customers/` and `inventory/` → models. Reads everything it was asked for before it stops, and reports every problem.

A customer's section is its own YAML laid over its baseline's: mappings merge by key, a list replaces the one below
it unless it is written `{add: […]}` or `{remove: […]}`. Places stay with the values, so that a problem, and
`explain`, name the file a value really comes from.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from mspctl import drivers
from mspctl.errors import InputError, Problem
from mspctl.fields import NAME, Model
from mspctl.model import sections
from mspctl.model.base import dotted, nearest, validate
from mspctl.model.customer import Customer, CustomerInfo
from mspctl.model.folder import Folder
from mspctl.model.inventory import ContractsFile, Inventory, TargetInfo, TargetsFile
from mspctl.model.layers import merge
from mspctl.strict_yaml import Data, Map, Mark, Problems, Seq, find, find_value

# Files of a customer that are not sections: read by those who need them.
OTHER_FILES = frozenset({"customer.yaml", "secrets.yaml", "approvals.yaml", "accepted.yaml"})
INVENTORY_FILES = frozenset({"targets.yaml", "contracts.yaml", "secrets.yaml"})


@dataclass(frozen=True, slots=True)
class Estate:
    """All that Git declares."""

    root: Path
    inventory: Inventory
    customers: Mapping[str, Customer]
    warnings: Sequence[Problem] = ()


def load(root: Path, only: Collection[str] = ()) -> Estate:
    """
    The estate below `root`. `only` names customers whose record files are wanted; () means all.

    Raises InputError with every error and warning of every file.
    """
    problems = Problems()
    if not (root / "customers").is_dir() or not (root / "inventory").is_dir():
        raise InputError.at(str(root), "has no customers/ and inventory/ (start with mspctl init, or use --directory)")
    inventory = _inventory(root, problems)
    folders = _customer_folders(root, only, problems)
    customers = {folder.name.partition("/")[2]: _customer(folder, inventory, problems) for folder in folders}
    found = {name: customer for name, customer in customers.items() if customer is not None}
    _check(found, inventory, problems)
    if problems.errors:
        raise InputError(_in_order(problems))
    wanted = {name: c for name, c in found.items() if not only or name in only}
    return Estate(root, inventory, wanted, tuple(_in_order(problems)))


def _in_order(problems: Problems) -> list[Problem]:
    # A problem in a baseline, or in defaults, is met once for each that has it below: one line says it.
    said: dict[tuple[object, ...], Problem] = {}
    for problem in sorted(problems, key=lambda p: len(p.path)):
        said.setdefault(
            (problem.file, problem.line, problem.column, problem.text, problem.line or problem.path), problem
        )
    return sorted(said.values())


# -- inventory ------------------------------------------------------------------------------------------------


def _inventory(root: Path, problems: Problems) -> Inventory:
    folder = Folder(root, "inventory", problems)
    for name, is_folder in folder.entries():
        if not (is_folder or name in INVENTORY_FILES) or (is_folder and name != "baselines"):
            known = {*INVENTORY_FILES, "baselines"}
            problems.add(None, "", f"is no part of an inventory{nearest(name, known)}", file=folder.shown(name))
    targets = _file(folder, "targets.yaml", TargetsFile, problems)
    contracts = _file(folder, "contracts.yaml", ContractsFile, problems)
    baselines = {}
    for name in folder.files("baselines"):
        data = folder.yaml(f"baselines/{name}", problems)
        if isinstance(data, Map) and name.endswith(".yaml"):
            baselines[name.removesuffix(".yaml")] = data
            for key in data.keys() - set(sections.names()):
                text = f"unknown section{nearest(key, sections.names())}"
                problems.add(data.marks[key], key, text, at_value=False)
    settings = _settings(folder, targets.targets, problems)
    return Inventory(targets.targets, contracts.contracts, baselines, settings)


def _settings(folder: Folder, targets: Mapping[str, TargetInfo], problems: Problems) -> dict[tuple[str, str], Model]:
    """What each facet's driver is told, in the driver's own model."""
    found: dict[tuple[str, str], Model] = {}
    places = folder.yaml("targets.yaml", Problems()) if targets else None
    for target, info in targets.items():
        for facet, said in info.facets.items():
            path = ("targets", target, "facets", facet)
            if said.driver not in drivers.names():
                text = f"there is no driver {said.driver}{nearest(said.driver, drivers.names())}"
                problems.add(find(places, path), dotted(path), text)
                continue
            model = drivers.module(said.driver).Settings
            settings = validate(model, _own(find_value(places, path)), folder.shown("targets.yaml"), problems, path)
            if settings is not None:
                found[target, facet] = settings
    return found


def _own(facet: Data) -> Map:
    """A facet's YAML without the key that is ours."""
    own = Map()
    for key in facet if isinstance(facet, Map) else ():
        if key != "driver":
            own[key], own.marks[key] = facet[key], facet.marks[key]
    return own


def _file(folder: Folder, name: str, model: type[Any], problems: Problems) -> Any:
    if not folder.path(name).exists():
        return model()
    before = len(problems)
    data = folder.yaml(name, problems)
    if len(problems) > before:
        return model()
    return validate(model, data, folder.shown(name), problems) or model()


# -- customers ------------------------------------------------------------------------------------------------


def _customer_folders(root: Path, only: Collection[str], problems: Problems) -> list[Folder]:
    listing = Folder(root, "customers", problems)
    folders, names = [], []
    for name, is_folder in listing.entries():
        if not is_folder:
            problems.add(None, "", "is a file where customers' folders are expected", file=listing.shown(name))
        elif not NAME.fullmatch(name):
            text = "is not a customer's name (lower-case letters, digits and hyphens, at most 63)"
            problems.add(None, "", text, file=listing.shown(name))
        else:
            names.append(name)
            folders.append(Folder(root, listing.shown(name), problems, wanted=not only or name in only))
    for name in only:
        if name not in names:
            raise InputError.at("customers", f"has no customer {name!r}{nearest(name, names)}")
    return folders


def _customer(folder: Folder, inventory: Inventory, problems: Problems) -> Customer | None:
    name = folder.name.partition("/")[2]
    info = _info(folder, inventory, problems)
    data, models, files = {}, {}, {}
    _unknown_files(folder, problems)
    for section in sections.names():
        merged = _section_data(folder, section, info, inventory, problems)
        if merged is None:
            continue
        module = sections.module(section)
        merged = module.layered(merged) if hasattr(module, "layered") else merged
        before = len(problems.errors)
        model: Model | None = validate(module.Section, merged, folder.shown(f"{section}.yaml"), problems)
        data[section] = merged
        if model is not None and len(problems.errors) == before:
            models[section] = model
            if hasattr(module, "read"):
                files[section] = module.read(model, merged, folder, problems)
    if info is None:
        return None
    return Customer(name, info, models, data, files)


def _info(folder: Folder, inventory: Inventory, problems: Problems) -> CustomerInfo | None:
    file = folder.shown("customer.yaml")
    if not folder.path("customer.yaml").exists():
        problems.add(None, "", "is missing (write at least: name: …)", file=file)
        return None
    before = len(problems)
    data = folder.yaml("customer.yaml", problems)
    info = validate(CustomerInfo, data, file, problems) if len(problems) == before else None
    if info is not None:
        _check_info(info, data, inventory, problems)
    return info


def _check_info(info: CustomerInfo, data: Map, inventory: Inventory, problems: Problems) -> None:
    if info.baseline and info.baseline not in inventory.baselines:
        text = f"{info.baseline} is not in inventory/baselines/{nearest(info.baseline, inventory.baselines)}"
        problems.add(data.marks["baseline"], "baseline", text)
    plan = info.contract.plan if info.contract else None
    if plan and plan not in inventory.contracts:
        text = f"{plan} is not in inventory/contracts.yaml{nearest(plan, inventory.contracts)}"
        problems.add(data["contract"].marks["plan"], "contract.plan", text)


def _unknown_files(folder: Folder, problems: Problems) -> None:
    known = OTHER_FILES | {f"{name}.yaml" for name in sections.names()}
    folders = {_files_folder(sections.module(name)) for name in sections.names()} - {""}
    for name, is_folder in folder.entries():
        if name not in (folders if is_folder else known):
            what = "folder" if is_folder else "file"
            text = f"unknown {what}{nearest(name, folders if is_folder else known)}"
            problems.add(None, "", text, file=folder.shown(name))


def _files_folder(module: ModuleType) -> str:
    return getattr(module, "FILES", "")


def _section_data(
    folder: Folder, section: str, info: CustomerInfo | None, inventory: Inventory, problems: Problems
) -> Map | None:
    """A section's YAML over its baseline's; None when neither speaks of it, or the file is wrong."""
    name = f"{section}.yaml"
    below = inventory.baselines.get(info.baseline or "", Map()).get(section) if info else None
    if not folder.path(name).exists():
        return below if isinstance(below, Map) else None
    before = len(problems.errors)
    own = folder.yaml(name, problems)
    if len(problems.errors) > before:
        return None
    if not isinstance(own, Map):
        text = "is empty" if own is None else "should be a mapping (key: value)"
        problems.add(None, "", text, file=folder.shown(name))
        return None
    return merge(below, own) if isinstance(below, Map) else own


def _check(customers: Mapping[str, Customer], inventory: Inventory, problems: Problems) -> None:
    for section in sections.names():
        module = sections.module(section)
        if hasattr(module, "check"):
            module.check([*customers.values()], inventory, problems)
    for customer in customers.values():
        plan = inventory.contracts.get(customer.info.contract.plan) if customer.info.contract else None
        for section in customer.sections if plan else ():
            if plan and section not in plan.includes:
                file = f"customers/{customer.name}/{section}.yaml"
                text = f"section {section} is not part of the contract ({plan.name or customer.name})"
                problems.add(None, "", text, level="warning", file=file)


# -- explain --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Explained:
    """One value of a file: what it is and where it really comes from."""

    path: str
    value: Data
    mark: Mark


def explain(data: Map, path: str) -> Explained:
    """The value at a dotted path; keys may hold dots themselves (`zones.acme.example.ttl`). Raises KeyError."""
    steps: list[str | int] = []
    mark: Mark | None = None
    here: Data = data
    left = path
    while left:
        step, left = _step(here, left)
        mark = here.marks[step]
        here = here[step]
        steps.append(step)
    if mark is None:
        raise KeyError("an empty path")
    return Explained(dotted(steps), here, mark)


def _step(here: Data, left: str) -> tuple[str | int, str]:
    if isinstance(here, Seq):
        number, _, rest = left.removeprefix("[").replace("].", "].", 1).partition("]")
        if number.isdigit() and int(number) < len(here):
            return int(number), rest.removeprefix(".")
        raise KeyError(f"{left!r}: the list has {len(here)} items (write [0])")
    if not isinstance(here, Map):
        raise KeyError(f"{left!r}: there is nothing below a value")
    # The longest key that fits, because keys may hold dots.
    for key in sorted(here, key=len, reverse=True):
        if left == key or left.startswith((f"{key}.", f"{key}[")):
            return key, left[len(key) :].removeprefix(".")
    raise KeyError(f"{left.partition('.')[0]!r} is not there{nearest(left.partition('.')[0], here)}")
