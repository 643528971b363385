"""
Which policy of Bitdefender GravityZone an endpoint has, and how endpoints and the licence are, through its public API.

Written after the vendor's documentation of the cloud's API and tried on a stand-in only: it has never met a tenant, and
every plan says so. Policies themselves are made in the Control Center; here they are given to endpoints by their names.
An endpoint that has the policy of its group has no assignment of its own, and what is taken out of Git gets that again.

JSON-RPC over POST: https://www.bitdefender.com/business/support/en/77209-125277-public-api.html. Modules and methods:
network (getEndpointsList, getManagedEndpointDetails, assignPolicy), policies (getPoliciesList), licensing
(getLicenseInfo). The key is the user of an HTTP Basic log-in without a password. Calls are counted there: ten in a
second, assignments five in a minute.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, TypeVar

from pydantic import Field

from mspctl.driver import Access, AppliesEach, Failed, Known, Landed, Outputs, Reading, ReadsEach, Traits, Work
from mspctl.errors import Stale, TargetError, Unreachable, Unsupported
from mspctl.fields import Count, Name, Text
from mspctl.kinds import antivirus
from mspctl.resource import Change, Resource, Scope, Value
from mspctl.transports import http
from mspctl.transports.http import Http, as_line, making_sense
from mspctl.transports.pace import Limit, Pace

WHO = "GravityZone"
UNTRIED = "never run on a tenant: GravityZone was a stand-in in all tests"
PAGE = 100  # entries; the most that getPoliciesList gives at once
PAGES = 1000
Details = Mapping[str, Any]


class Settings(http.Settings):
    groups: Mapping[Name, Text] = Field(default_factory=dict)  # customer → id of its company or group there
    inherited: Text = "Default policy"  # what endpoints have to which nothing was assigned
    calls: Count = 10  # in a second
    assignments: Count = 5  # calls of them in a minute


class Reader(ReadsEach):
    traits = Traits(cas="reread", untried=UNTRIED)

    def __init__(self, access: Access) -> None:
        self.settings: Settings = access.settings
        secrets = access.secrets
        self.http = Http(
            access.address,
            lambda: {"Authorization": f"Basic {_login(secrets['api_key'].reveal_text())}"},
            self.settings,
            access.root,
            repeated=http.READS | {"POST"},  # to ask twice, and to assign the same twice, is as good as once
        )
        self.pace = Pace(Limit(self.settings.calls, 1))
        self.assigning = Pace(Limit(self.settings.assignments, 60))

    def accept(self, resource: Resource) -> Resource:
        if resource.id.kind != antivirus.ASSIGNMENT:
            raise Unsupported(f"{WHO} cannot hold {resource.id.kind}")
        if resource.fields["policy"] == self.settings.inherited:
            raise Unsupported(f"{self.settings.inherited} is what every endpoint has (leave assign out)")
        return resource

    def read(self, scopes: Sequence[Scope], known: Known) -> Iterator[Reading | Failed]:
        for answer in super().read(scopes, known):
            yield _heard(answer)

    def read_one(self, scope: Scope, known: Sequence[Resource]) -> Reading:
        found = self._endpoints(scope)
        with making_sense(WHO, "its endpoints"):
            own = [antivirus.assignment(name, str(d["policy"]["name"])) for name, d in sorted(found.items())]
            facts = {key: value for name, d in found.items() for key, value in _facts(name, d).items()}
            names = tuple(sorted(found))
        assigned = [each for each in own if each.fields["policy"] != self.settings.inherited]
        return Reading(scope, assigned, facts={**facts, "endpoints": names, **self._licence()})

    def _endpoints(self, scope: Scope) -> dict[str, Details]:
        """By name, as hosts are called: in lower case, without a domain."""
        group = self.settings.groups.get(scope.name)
        if group is None:
            raise TargetError(f"targets.yaml does not say which group of {WHO} is {scope.name} (groups: …)")
        wanted = {"parentId": group, "isManaged": True, "filters": {"depth": {"allItemsRecursively": True}}}
        found: dict[str, Details] = {}
        for item in self._pages("network", "getEndpointsList", wanted):
            with making_sense(WHO, "its endpoints"):
                name, id_ = str(item["name"]).lower().partition(".")[0], str(item["id"])
            if name in found:
                raise TargetError(f"{WHO} has two endpoints {name} in {scope.name}: take the one away that is gone")
            details = self._call("network", "getManagedEndpointDetails", {"endpointId": id_})
            with making_sense(WHO, name):
                found[name] = {**details, "id": id_}
        return found

    def _licence(self) -> Outputs:
        """Of the company that the key is of; 0 and "" where nothing is said."""
        said = self._call("licensing", "getLicenseInfo", {})
        with making_sense(WHO, "its licence"):
            end = str(said.get("expiryDate") or said.get("endSubscription") or "")
            numbers = {"used": int(said.get("usedSlots") or 0), "seats": int(said.get("totalSlots") or 0)}
            day = datetime.fromisoformat(end).date().isoformat() if end else ""
        return {"licence end": day, **{f"licence {name}": number for name, number in numbers.items()}}

    def _policies(self) -> dict[str, str]:
        """Ids by name. Raises TargetError for a name that two policies have."""
        found: dict[str, str] = {}
        for item in self._pages("policies", "getPoliciesList", {}):
            with making_sense(WHO, "its policies"):
                name, id_ = str(item["name"]), str(item["id"])
            if found.setdefault(name, id_) != id_:
                raise TargetError(f"{WHO} has two policies {name}: give one another name")
        return found

    def _pages(self, module: str, method: str, params: Mapping[str, object]) -> Iterator[Details]:
        for page in range(1, PAGES):
            said = self._call(module, method, {**params, "page": page, "perPage": PAGE})
            with making_sense(WHO, method):
                yield from list(said["items"])
                if page >= int(said["pagesCount"]):
                    return

    def _call(self, module: str, method: str, params: Mapping[str, object]) -> Any:
        """The result. Raises TargetError with the vendor's own words for an error."""
        self.pace.wait(False)
        asked = {"params": params, "jsonrpc": "2.0", "method": method, "id": str(uuid.uuid4())}
        said = self.http.call("POST", f"/v1.0/jsonrpc/{module}", asked)
        if not isinstance(said, dict) or ("result" not in said and "error" not in said):
            raise TargetError(f"what {WHO} answers to {method} makes no sense")
        if error := said.get("error"):
            data = error.get("data") if isinstance(error, dict) else None
            why = data.get("details") if isinstance(data, dict) else None
            why = why or (error.get("message") if isinstance(error, dict) else error)
            raise TargetError(f"{WHO} refuses {method}: {as_line(str(why).encode())}")
        return said["result"]


class Driver(AppliesEach, Reader):
    def apply(self, work: Sequence[Work]) -> Iterator[Landed | Failed]:
        for answer in super().apply(work):
            yield _heard(answer)

    def apply_one(self, work: Work) -> Iterator[Landed]:
        endpoints, policies = self._endpoints(work.scope), self._policies()
        for policy, changes in groupby(work.changes, _wanted):
            batch = [*changes]
            for change in batch:
                self._check(change, endpoints.get(change.id.name))
            if policy and policy not in policies:
                raise TargetError(f"{WHO} has no policy {policy} (make it in the Control Center)")
            how = {"policyId": policies[policy], "inheritFromAbove": False} if policy else {"inheritFromAbove": True}
            self.assigning.wait(False)
            ids = [endpoints[change.id.name]["id"] for change in batch]
            if self._call("network", "assignPolicy", {"targetIds": ids, **how}) is not True:
                raise TargetError(f"{WHO} did not assign {policy or 'the policy of the group'} (is another enforced?)")
            yield from (Landed(work.scope, change) for change in batch)

    def _check(self, change: Change, endpoint: Details | None) -> None:
        if endpoint is None:
            raise TargetError(f"{WHO} has no endpoint {change.id.name}: its agent is not installed, or never called")
        with making_sense(WHO, change.id.name):
            now = str(endpoint["policy"]["name"])
        before = str(change.before.fields["policy"]) if change.before else self.settings.inherited
        if now != before:
            raise Stale(f"{change.id.name} was given {now} since it was read")


Answer = TypeVar("Answer")


def _heard(answer: Answer) -> Answer:
    """When the console is silent, nobody waits for it customer by customer."""
    if isinstance(answer, Failed) and isinstance(answer.error, Unreachable):
        raise answer.error
    return answer


def _wanted(change: Change) -> str:
    return str(change.after.fields["policy"]) if change.after else ""


def _login(key: str) -> str:
    return base64.b64encode(f"{key.strip()}:".encode()).decode()


def _facts(name: str, details: Details) -> dict[str, Value]:
    """`<endpoint> <what>`; what is not said is unknown, and told as the worst."""
    agent, malware = details.get("agent") or {}, details.get("malwareStatus") or {}
    updated = agent.get("lastUpdate")
    moment = datetime.fromisoformat(str(updated)) if updated else None
    return {
        f"{name} signatures outdated": agent.get("signatureOutdated") is not False,
        f"{name} agent outdated": agent.get("productOutdated") is not False,
        f"{name} licensed": agent.get("licensed") == 1,
        f"{name} infected": malware.get("infected") is not False,
        f"{name} guarded": (details.get("modules") or {}).get("antimalware") is True,
        f"{name} updated": int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) if moment else 0,
    }
