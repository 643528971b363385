"""
Once something is merged, other pull requests on the same customers have plans that are not true any more: they are
made again. Knows the forge by its protocol alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from mspctl.affected import named, touched
from mspctl.errors import InputError, TargetError
from mspctl.forge import Forge, Pull
from mspctl.forge.review import plan_of
from mspctl.load import Estate


@dataclass(frozen=True, slots=True)
class Again:
    pull: Pull
    shared: str  # a customer of both
    wrong: str = ""  # why its plan is not made again


def again(forge: Forge, estate: Estate, merged: Collection[str], base: str, workflow: str) -> Iterator[Again]:
    """Plan the open pull requests into `base` again that touch one of the customers that were `merged`."""
    for pull in forge.pulls(base) if merged else ():
        names = named(touched(forge.files_of(pull.number)), estate) & {*merged}
        if names and not pull.fork:
            yield Again(pull, min(names), _begun(forge, pull, workflow))


def _begun(forge: Forge, pull: Pull, workflow: str) -> str:
    try:
        forge.rerun(plan_of(forge, pull, workflow).run)
    except (InputError, TargetError) as error:
        return str(error)
    return ""
