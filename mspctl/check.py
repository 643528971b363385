"""What can be said about an estate without asking a target: what is wrong in its files, what targets cannot hold."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from mspctl.amounts import count
from mspctl.desired import Selection, declarations
from mspctl.errors import InputError, Problem, TargetError
from mspctl.load import load
from mspctl.plan import accept
from mspctl.targets import Targets


@dataclass(frozen=True, slots=True)
class Validation:
    problems: Sequence[Problem]
    customers: int = 0
    scopes: int = 0
    resources: int = 0

    @property
    def summary(self) -> str:
        amounts = ((self.customers, "customer"), (self.scopes, "scope"), (self.resources, "resource"))
        return f"{', '.join(count(*each) for each in amounts)}: no errors."

    def as_json(self) -> str:
        document = {"format": "mspctl.validate/1", "customers": self.customers, "scopes": self.scopes}
        problems = [asdict(p) for p in self.problems]
        return json.dumps({**document, "resources": self.resources, "problems": problems}, indent=2) + "\n"


def validate(root: Path, customers: Collection[str] = (), now: datetime | None = None) -> Validation:
    """Every problem of the estate's files, warnings included. Contacts nothing and opens no secret."""
    try:
        estate = load(root, customers, now)
    except InputError as error:
        return Validation(error.problems)
    targets = Targets(estate)
    problems = list(estate.warnings)
    scopes = declared = 0
    for declaration in declarations(estate, Selection(), {}, estate.now):
        scopes += 1
        declared += len(declaration.resources)
        try:
            reader = targets.reader(declaration.scope)
            for resources in (declaration.resources, declaration.later):
                problems += accept(reader, replace(declaration, resources=resources))[1]
        except TargetError as error:
            problems.append(Problem(declaration.source, 0, 1, str(declaration.scope), str(error)))
    return Validation(sorted(problems), len(estate.customers), scopes, declared)
