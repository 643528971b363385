"""
`customers/` and `inventory/` → models. Reads everything it was asked for before it stops, and reports every problem.

A customer's section is its own YAML laid over its baseline's: mappings merge by key, a list replaces the one below
it unless it is written `{add: […]}` or `{remove: […]}`. Places stay with the values, so that a problem, and
`explain`, name the file a value really comes from.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from mspctl import drivers
from mspctl.errors import InputError, Problem
from mspctl.fields import NAME, Model
from mspctl.kinds import mail_log, shown
from mspctl.model import lapses, permissions, secret_names, sections
from mspctl.model.base import dotted, in_file, nearest, nearest_file, partly, validate
from mspctl.model.customer import Customer, CustomerInfo
from mspctl.model.folder import NOTHING, Folder
from mspctl.model.inventory import (
    ArchiveFile,
    ContractsFile,
    Inventory,
    NotifyFile,
    ProductsFile,
    PulumiFile,
    QuickLaneFile,
    RingsFile,
    TargetInfo,
    TargetsFile,
)
from mspctl.model.layers import merge
from mspctl.model.permissions import Permissions
from mspctl.moments import Clock
from mspctl.strict_yaml import LINK, Data, Map, Mark, Problems, Seq, find, find_value

M = TypeVar("M", bound=Model)
# Files of a customer that are not sections: read by those who need them.
OTHER_FILES = frozenset({"customer.yaml", "secrets.yaml", "hand-over.yaml", "approvals.yaml", "accepted.yaml"})
INVENTORY_FILES = frozenset(
    {
        "antivirus.yaml",
        "archive.yaml",
        "targets.yaml",
        "contracts.yaml",
        "checks.yaml",
        "secrets.yaml",
        "approvals.yaml",
        "notify.yaml",
        "pulumi.yaml",
        "quick_lane.yaml",
        "rings.yaml",
    }
)
INVENTORY_FOLDERS = frozenset({"baselines", "assets"})  # assets are read by those who need them: assets.py


@dataclass(frozen=True, slots=True)
class Estate:
    """All that Git declares."""

    root: Path
    inventory: Inventory
    customers: Mapping[str, Customer]  # those asked for
    warnings: Sequence[Problem] = ()
    everyone: Mapping[str, Customer] = field(default_factory=dict)  # the others too, without their record files
    now: datetime = field(default_factory=lambda: datetime.now(UTC))  # the moment at which it was looked at


def load(
    root: Path, only: Collection[str] = (), now: datetime | None = None, instead: Mapping[str, str] = NOTHING
) -> Estate:
    """
    The estate below `root`. `only` names customers whose record files are wanted; () means all. `now` tells what is
    over already; by default, the present. `instead` has YAML that customers' files (`customers/acme/mail.yaml`) would
    hold: an edit is checked before anything is written.

    Raises InputError with every error and warning of every file.
    """
    problems = Problems()
    for name in ("customers", "inventory"):
        if (root / name).is_symlink():
            raise InputError.at(name, LINK)
        if not (root / name).is_dir():
            raise InputError.at(str(root), f"has no {name}/ (start with mspctl init, or use --directory)")
    now = now or datetime.now(UTC)
    inventory = _inventory(root, Clock(now), problems)
    folders = _customer_folders(root, only, instead, problems)
    customers = {folder.name.partition("/")[2]: _customer(folder, inventory, now, problems) for folder in folders}
    found = {name: customer for name, customer in customers.items() if customer is not None}
    _check(found, inventory, problems)
    _check_rings(root, inventory, {folder.name.partition("/")[2] for folder in folders}, problems)
    if problems.errors:
        raise InputError(_in_order(problems))
    wanted = {name: c for name, c in found.items() if not only or name in only}
    return Estate(root, inventory, wanted, tuple(_in_order(problems)), found, now)


def _in_order(problems: Problems) -> list[Problem]:
    # A problem in a baseline, or in defaults, is met once for each that has it below: one line says it.
    said: dict[tuple[object, ...], Problem] = {}
    for problem in sorted(problems, key=lambda p: len(p.path)):
        said.setdefault(
            (problem.file, problem.line, problem.column, problem.text, problem.line or problem.path), problem
        )
    return sorted(said.values())


# -- inventory ------------------------------------------------------------------------------------------------


def _inventory(root: Path, clock: Clock, problems: Problems) -> Inventory:
    folder = Folder(root, "inventory", problems)
    for name, is_folder in folder.entries():
        if name not in (INVENTORY_FOLDERS if is_folder else INVENTORY_FILES):
            known = INVENTORY_FILES | INVENTORY_FOLDERS
            problems.add(None, "", f"is no part of an inventory{nearest_file(name, known)}", file=folder.shown(name))
    targets = in_file(folder, "targets.yaml", TargetsFile, problems, go_on=True)
    contracts = in_file(folder, "contracts.yaml", ContractsFile, problems, go_on=True)
    products = in_file(folder, "antivirus.yaml", ProductsFile, problems, go_on=True)
    baselines = {}
    for name in folder.files("baselines"):
        baselines[name.removesuffix(".yaml")] = _baseline(folder, f"baselines/{name}", problems)
    settings = _settings(folder, targets.targets, problems)
    checks = _checks(folder, problems)
    archive = _if_there(folder, "archive.yaml", ArchiveFile, problems)
    pulumi = _if_there(folder, "pulumi.yaml", PulumiFile, problems)
    notify = _notify(folder, root, problems)
    rings = in_file(folder, "rings.yaml", RingsFile, problems, go_on=True)
    in_file(folder, "quick_lane.yaml", QuickLaneFile, problems, go_on=True)  # read by who merges, from the base
    whole = not problems.errors
    allowed = permissions.read_approvals(folder, clock.today, problems)
    return Inventory(
        targets.targets,
        contracts.contracts,
        products.products,
        baselines,
        settings,
        Permissions(allowed),
        notify,
        checks,
        archive,
        rings.rings,
        pulumi,
        whole,
    )


def _notify(folder: Folder, root: Path, problems: Problems) -> NotifyFile:
    """Who is told; customers that are not there are a slip."""
    found = in_file(folder, "notify.yaml", NotifyFile, problems, go_on=True)
    there = {entry.name for entry in (root / "customers").iterdir()} if found.notify else set()
    for name, destination in found.notify.items():
        for index, customer in enumerate(destination.customers):
            if customer not in there:
                path = ("notify", name, "customers", index)
                mark = find(folder.yaml("notify.yaml", Problems()), path)
                problems.add(mark, dotted(path), f"there is no customer {customer}{nearest(customer, there)}")
    return found


def _baseline(folder: Folder, name: str, problems: Problems) -> Map:
    """A baseline's sections; what is wrong within them is found under the customers that have it."""
    if not NAME.fullmatch(name.removeprefix("baselines/").removesuffix(".yaml")) or not name.endswith(".yaml"):
        text = "is not a baseline (write <name>.yaml: lower-case letters, digits and hyphens)"
        problems.add(None, "", text, file=folder.shown(name))
        return Map()
    before = len(problems)
    data = folder.yaml(name, problems)
    if not isinstance(data, Map):
        if len(problems) == before:
            problems.add(None, "", f"{_not_a_mapping(data)}: its keys are sections", file=folder.shown(name))
        return Map()
    for key, section in data.items():
        if key not in sections.names():
            text = f"unknown section{nearest(key, sections.names())}"
            problems.add(data.marks[key], key, text, at_value=False)
        elif not isinstance(section, Map):
            problems.add(data.marks[key], key, _not_a_mapping(section))
    return data


def _not_a_mapping(data: Data) -> str:
    return "is empty" if data is None else "should be a mapping (key: value)"


def _settings(folder: Folder, targets: Mapping[str, TargetInfo], problems: Problems) -> dict[tuple[str, str], Model]:
    """What each facet's driver is told, in the driver's own model."""
    found: dict[tuple[str, str], Model] = {}
    places = folder.yaml("targets.yaml", Problems()) if targets else None
    for target, info in targets.items():
        for facet, said in info.facets.items():
            path = ("targets", target, "facets", facet)
            mark, own = find(places, path), _own(find_value(places, path))
            try:
                model = drivers.module(said.driver).Settings
            except KeyError:
                text = f"there is no driver {said.driver}{nearest(said.driver, drivers.names())}"
                problems.add(mark, dotted(path), text)
                continue
            if drivers.reads_logs(said.driver) is not (facet == mail_log.FACET):
                text = f"driver {said.driver} is not for this facet ({mail_log.FACET} has drivers of its own)"
                problems.add(mark, dotted(path), text)
            settings = validate(model, own, folder.shown("targets.yaml"), problems, path, mark)
            if settings is not None:
                found[target, facet] = settings
    return found


def _checks(folder: Folder, problems: Problems) -> dict[str, Model]:
    """What each section is told of how it is checked, in the section's own model."""
    models = {name: module.Checks for name in sections.names() if hasattr(module := sections.module(name), "Checks")}
    file, before = "checks.yaml", len(problems)
    data = folder.yaml(file, problems) if folder.has(file) else None
    if data is None or len(problems) > before:
        return {}
    if not isinstance(data, Map):
        problems.add(None, "", f"{_not_a_mapping(data)}: its keys are sections", file=folder.shown(file))
        return {}
    found = {}
    for key, said in data.items():
        mark = data.marks[key]
        if key not in models:
            problems.add(mark, key, f"unknown section{nearest(key, models)}", at_value=False)
        elif (settings := validate(models[key], said, folder.shown(file), problems, (key,), mark)) is not None:
            found[key] = settings
    return found


def _if_there(folder: Folder, name: str, model: type[M], problems: Problems) -> M | None:
    """None where there is no such file, or what it says is wrong."""
    before = len(problems)
    data = folder.yaml(name, problems) if folder.has(name) else None
    if not folder.has(name) or len(problems) > before:
        return None
    return validate(model, data, folder.shown(name), problems)


def _own(facet: Data) -> Map:
    """A facet's YAML without the key that is ours."""
    own = Map()
    for key in facet if isinstance(facet, Map) else ():
        if key != "driver":
            own[key], own.marks[key] = facet[key], facet.marks[key]
    return own


# -- customers ------------------------------------------------------------------------------------------------


def _customer_folders(
    root: Path, only: Collection[str], instead: Mapping[str, str], problems: Problems
) -> list[Folder]:
    listing = Folder(root, "customers", problems)
    folders, names = [], []
    there = dict(listing.entries())
    new = {name: True for name in sorted(file.split("/")[1] for file in instead) if name not in there}
    for name, is_folder in (there | new).items():
        if not is_folder:
            problems.add(None, "", "is a file where customers' folders are expected", file=listing.shown(name))
        elif not NAME.fullmatch(name):
            text = "is not a customer's name (lower-case letters, digits and hyphens, at most 63)"
            problems.add(None, "", text, file=listing.shown(name))
        else:
            names.append(name)
            wanted = not only or name in only
            folders.append(Folder(root, listing.shown(name), problems, wanted=wanted, instead=instead))
    for name in only:
        if name not in names:
            raise InputError.at("customers", f"has no customer {shown(name)}{nearest(name, names)}")
    return folders


def _customer(folder: Folder, inventory: Inventory, now: datetime, problems: Problems) -> Customer | None:
    """What a customer's folder says. What is wrong does not end the search: the files behind it are read as well."""
    name = folder.name.partition("/")[2]
    before = len(problems.errors)
    info = _info(folder, inventory, problems)
    whole = len(problems.errors) == before
    clock = Clock(now, info.timezone) if info else Clock(now)
    data, models, files = {}, {}, {}
    _unknown_files(folder, problems)
    for section in sections.names():
        merged = _section_data(folder, section, info, inventory, problems)
        if merged is None:
            continue
        module = sections.module(section)
        merged = module.layered(merged) if hasattr(module, "layered") else merged
        model: Model | None = validate(module.Section, merged, folder.shown(f"{section}.yaml"), problems)
        if model is not None:
            data[section], models[section] = merged, model
            if info is not None:
                lapses.tell(model, merged, now, info.timezone, problems)
        else:
            model = partly(module.Section, merged)
        if model is not None and hasattr(module, "read"):
            files[section] = module.read(model, merged, folder, clock, problems)
    allowed = permissions.read(folder, clock.today, problems)
    return Customer(name, info, models, data, files, allowed) if info is not None and whole else None


def _info(folder: Folder, inventory: Inventory, problems: Problems) -> CustomerInfo | None:
    file = folder.shown("customer.yaml")
    if not folder.has("customer.yaml"):
        problems.add(None, "", "is missing (write at least: name: …)", file=file)
        return None
    before = len(problems)
    data = folder.yaml("customer.yaml", problems)
    if data is None and len(problems) > before:
        return None
    info = validate(CustomerInfo, data, file, problems) or partly(CustomerInfo, data)
    if info is not None and isinstance(data, Map):
        _check_info(info, data, inventory, problems)
    return info


def _check_info(info: CustomerInfo, data: Map, inventory: Inventory, problems: Problems) -> None:
    if not inventory.whole:
        return
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
            text = f"unknown {what}{nearest_file(name, folders if is_folder else known)}"
            problems.add(None, "", text, file=folder.shown(name))


def _files_folder(module: ModuleType) -> str:
    return getattr(module, "FILES", "")


def _section_data(
    folder: Folder, section: str, info: CustomerInfo | None, inventory: Inventory, problems: Problems
) -> Map | None:
    """A section's YAML over its baseline's; None when neither speaks of it, or the file is wrong."""
    name = f"{section}.yaml"
    below = inventory.baselines.get(info.baseline or "", Map()).get(section) if info else None
    if not folder.has(name):
        module = sections.module(section)
        files = _files_folder(module)
        if below is None and files and folder.has(files):
            if getattr(module, "FILES_ALONE", False):
                return Map()
            text = f"is not read, because {folder.shown(name)} is missing"
            problems.add(None, "", text, file=folder.shown(files))
        return below if isinstance(below, Map) else None
    before = len(problems)
    own = folder.yaml(name, problems)
    if own is None and len(problems) > before:
        return None
    if not isinstance(own, Map):
        problems.add(None, "", _not_a_mapping(own), file=folder.shown(name))
        return None
    return merge(below, own) if isinstance(below, Map) else own


def _check_rings(root: Path, inventory: Inventory, customers: Collection[str], problems: Problems) -> None:
    """Each customer is in one ring at most, and is there."""
    data = Folder(root, "inventory", Problems()).yaml("rings.yaml", Problems()) if inventory.rings else None
    seen: dict[str, str] = {}
    names: set[str] = set()
    for number, ring in enumerate(inventory.rings):
        if ring.name in names:
            problems.add(
                find(data, ("rings", number, "name")), f"rings[{number}].name", f"there is a ring {ring.name} already"
            )
        names.add(ring.name)
        for index, name in enumerate(ring.customers):
            mark, path = find(data, ("rings", number, "customers", index)), f"rings[{number}].customers"
            if name not in customers:
                problems.add(mark, path, f"there is no customer {name}{nearest(name, customers)}")
            elif (first := seen.setdefault(name, ring.name)) != ring.name:
                problems.add(mark, path, f"{name} is in ring {first} already")


def _check(customers: Mapping[str, Customer], inventory: Inventory, problems: Problems) -> None:
    for section in sections.names():
        module = sections.module(section)
        if hasattr(module, "check"):
            module.check([*customers.values()], inventory, problems)
    secret_names.check(customers.values(), inventory, problems)
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
        if number.isascii() and number.isdigit() and len(number) < 10 and int(number) < len(here):
            return int(number), rest.removeprefix(".")
        raise KeyError(f"{left!r}: the list has {len(here)} items (write [0])")
    if not isinstance(here, Map):
        raise KeyError(f"{left!r}: there is nothing below a value")
    # The longest key that fits, because keys may hold dots.
    for key in sorted(here, key=len, reverse=True):
        if left == key or left.startswith((f"{key}.", f"{key}[")):
            return key, left[len(key) :].removeprefix(".")
    raise KeyError(f"{left.partition('.')[0]!r} is not there{nearest(left.partition('.')[0], here)}")
