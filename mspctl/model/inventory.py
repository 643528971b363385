"""`inventory/`: targets and what drives them, baselines, contracts: where things are, not what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BeforeValidator

from mspctl.fields import Email, Host, Model, Mxs, Name, Names, Role, SpfTerms, Text, Timezone, Window, typed
from mspctl.model.base import nearest
from mspctl.model.permissions import NONE, Permissions
from mspctl.secrets import NAME as SECRET
from mspctl.strict_yaml import Map, Mark, Problems


def _secret_name(value: Any) -> str:
    text = typed(value)
    if not SECRET.fullmatch(text):
        raise ValueError(
            "is not the name of a secret (capital letters, digits and _; the secret itself never stands here)"
        )
    return text


SecretName = Annotated[str, BeforeValidator(_secret_name)]


def _facet(value: Any) -> Any:
    """`dns: zonefile` is short for `dns: {driver: zonefile}`."""
    return {"driver": value} if isinstance(value, str) else value


class Facet(Model):
    """One driver of a target; every other key is one of the driver's own settings."""

    model_config = {"extra": "allow"}

    driver: Name

    @property
    def settings(self) -> dict[str, Any]:
        return self.model_extra or {}


class Published(Model):
    """What the zones of mail domains say of a mail server."""

    mx: Mxs = ()
    spf: SpfTerms = ()  # from where it sends
    clients: Host | None = None  # where mail programs find their settings
    reports: Email | None = None  # who gets the reports of DMARC


class TargetInfo(Model):
    """A system that can be driven: a server, a provider account, a device."""

    address: Text | None = None
    secrets: dict[Role, SecretName] = {}  # role → name of the secret
    facets: dict[Name, Annotated[Facet, BeforeValidator(_facet)]]
    publish: Published | None = None
    window: Window | None = None  # changes are carried out only inside it
    timezone: Timezone | None = None  # of the window; by default each customer's own
    note: Text | None = None


class TargetsFile(Model):
    targets: dict[Name, TargetInfo] = {}


class ContractPlan(Model):
    """What a contract includes, by section."""

    includes: Names
    name: Text | None = None


class ContractsFile(Model):
    contracts: dict[Name, ContractPlan] = {}


@dataclass(frozen=True, slots=True)
class Inventory:
    """All of `inventory/`."""

    targets: Mapping[str, TargetInfo] = field(default_factory=dict)
    contracts: Mapping[str, ContractPlan] = field(default_factory=dict)
    baselines: Mapping[str, Map] = field(default_factory=dict)  # name → sections as YAML
    settings: Mapping[tuple[str, str], Model] = field(default_factory=dict)  # (target, facet) → its driver's Settings
    permissions: Permissions = NONE  # for scopes whose customer has no folder any more
    checks: Mapping[str, Model] = field(default_factory=dict)  # section → how it is checked, where checks.yaml says it
    whole: bool = True  # False: something in it is wrong, so what it lacks is no news

    def with_facet(self, facet: str) -> list[str]:
        return sorted(name for name, target in self.targets.items() if facet in target.facets)

    def check_target(self, name: str, facet: str, mark: Mark | None, path: str, problems: Problems) -> None:
        """Add a problem unless the target exists and has the facet."""
        target = self.targets.get(name)
        if not self.whole:
            return
        if target is None:
            text = f"target {name} is not in inventory/targets.yaml{nearest(name, self.targets)}"
        elif facet not in target.facets:
            text = f"target {name} has no facet {facet}{nearest(name, self.with_facet(facet))}"
        else:
            return
        problems.add(mark, path, text)
