"""What `archive`, `apply` and `show --config` share: who is asked for a whole configuration, and what is kept of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from mspctl.archive import Archive
from mspctl.cli import console
from mspctl.driver import Archives, Configuration, Failed, translated
from mspctl.errors import InputError, LedgerError, SecretError, TargetError
from mspctl.kinds.firewall import FACET
from mspctl.record import Run
from mspctl.resource import Scope

if TYPE_CHECKING:
    from mspctl.cli.workspace import Workspace
    from mspctl.model.inventory import ArchiveFile

WORKERS = 10  # targets at once
FILE = "inventory/archive.yaml"


def settings(work: Workspace) -> ArchiveFile:
    """Raises InputError."""
    said = work.estate.inventory.archive
    if said is None:
        raise InputError.at(FILE, "is missing (write keys: {NAME: age1…}; age-keygen makes such a key)")
    return said


def devices(work: Workspace) -> list[Scope]:
    """Of what was asked for, the devices that have a configuration."""
    from mspctl.desired import scopes

    asked = work.selection
    wanted = not asked.sections or FACET in asked.sections
    return [s for s in scopes(work.estate) if wanted and s.facet == FACET and asked.covers(s)]


def taken(work: Workspace, scopes: Collection[Scope]) -> list[Configuration | Failed]:
    """An answer of each, side by side; of those that have none to give, nothing."""
    by_target: dict[str, list[Scope]] = {}
    for scope in scopes:
        by_target.setdefault(scope.target, []).append(scope)
    with ThreadPoolExecutor(WORKERS) as executor:
        answers = [*executor.map(partial(_of_target, work), by_target.values())]
    return [each for found in answers for each in found]


def _of_target(work: Workspace, scopes: Sequence[Scope]) -> list[Configuration | Failed]:
    try:
        with translated():
            reader = work.targets.reader(scopes[0])
            return [*reader.configuration(scopes)] if isinstance(reader, Archives) else []
    except TargetError as error:
        return [Failed(scope, error) for scope in scopes]


def before_writing(work: Workspace, scopes: Collection[Scope], run: Run) -> None:
    """
    Archive what is about to be changed. That it cannot be archived is told, and hinders nobody: who writes may be
    mending it, and the device takes back by itself what nobody confirms.
    """
    said = work.estate.inventory.archive
    mine = [scope for scope in scopes if scope.facet == FACET]
    if said is None or not mine:
        return
    found = taken(work, mine)
    for each in found:
        if isinstance(each, Failed):
            console.hint(f"not archived before it is written: {each.scope.target}: {each.error}")
    kept = [each for each in found if isinstance(each, Configuration)]
    if kept:
        try:
            Archive.fetched(work.root).record(run, kept, said.keys, said.keep, work.now)
        except (LedgerError, SecretError) as error:
            console.hint(f"not archived before it is written: {error}")
