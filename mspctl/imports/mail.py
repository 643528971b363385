"""
Mail domains as a server holds them.

Passwords stay what they are: nothing is said of them. What YAML cannot say is left out and named; it stays on the
server as it is, and is reported as unmanaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mspctl.driver import Failed, Lists, Reader
from mspctl.errors import InputError, Problem
from mspctl.imports.domains import NOBODY, Domains, folded, sift
from mspctl.kinds import mail
from mspctl.model.base import nearest
from mspctl.resource import Scope


@dataclass(slots=True)
class Found:
    """Mail domains as a server holds them."""

    domains: Domains = field(default_factory=dict)  # what comes in
    held: int = 0  # resources, before anything was left out
    left_out: list[Problem] = field(default_factory=list)

    @property
    def taken(self) -> int:
        return sum(map(len, self.domains.values()))


def read(reader: Reader, target: str, names: Sequence[str], others: Mapping[str, str] = NOBODY) -> Found:
    """
    The domains named; `others` are declared already, by whom.

    Raises InputError for one that is not there, TargetError when the target gives no answer.
    """
    there = reader.scopes() if isinstance(reader, Lists) else [*names]
    wanted = [folded(name) for name in names]
    if not wanted:
        known = ", ".join(there[:20]) + (", …" if len(there) > 20 else "")
        raise InputError.at("--zone", f"is needed: which domains are this customer's? {target} has {known or 'none'}")
    for name in wanted:
        if name not in there:
            raise InputError.at("--zone", f"{name} is not on {target}{nearest(name, there)}")
    found = Found()
    for answer in reader.read([Scope(target, mail.FACET, name) for name in wanted], {}):
        if isinstance(answer, Failed):
            found.left_out.append(Problem(str(answer.scope), 0, 1, "", f"{answer.error} (left out whole)"))
            continue
        found.held += len(answer.resources)
        found.domains[answer.scope.name] = [*answer.resources]
    for one in sift(found.domains, others):
        found.left_out.append(Problem(f"{one.domain} on {target}", 0, 1, one.resource.id.name, f"{one.why} (left out)"))
    return found
