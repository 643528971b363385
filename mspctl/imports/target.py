"""What lives on a target, through its reader."""

from __future__ import annotations

from mspctl.driver import Failed, Lists, Reader
from mspctl.errors import InputError, Problem
from mspctl.imports import Found, count
from mspctl.kinds import dns
from mspctl.model.sections.dns import checks
from mspctl.resource import Scope
from mspctl.strict_yaml import Problems

UNSAID = "is nothing that YAML can say (left out; it stays there as it is)"


def read(reader: Reader, target: str, facet: str) -> Found:
    """Every scope of a facet. Raises TargetError when the target gives no answer."""
    if not isinstance(reader, Lists):
        raise InputError.at("", f"{target} cannot say what lives there (name the zones in dns.yaml and adopt them)")
    scopes = [Scope(target, facet, name) for name in reader.scopes()]
    found = Found(files=len(scopes))
    for answer in reader.read(scopes, {}):
        if isinstance(answer, Failed):
            found.left_out.append(Problem(str(answer.scope), 0, 1, "", str(answer.error)))
            continue
        rrsets, values = count({answer.scope.name: answer.resources})
        found.rrsets += rrsets
        found.values += values
        problems = Problems()
        said = [r for r in answer.resources if r.id.kind == dns.KIND]
        for own in (r for r in answer.resources if r.id.kind != dns.KIND):
            found.left_out.append(Problem(str(answer.scope), 0, 1, own.id.name, UNSAID))
        refused = checks.zone(answer.scope.name, said, problems, glue=True)
        found.left_out += problems.errors
        found.warnings += [p for p in problems if p.level == "warning"]
        found.zones[answer.scope.name] = [r for r in said if r.id not in refused]
    return found
