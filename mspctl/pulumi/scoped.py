"""What all resources of this provider have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import pulumi

from mspctl.provider.shapes import PACKAGE


class Provider(pulumi.ProviderResource):
    """
    The provider with settings of its own, for `opts=ResourceOptions(provider=…)`: where default providers are disabled,
    or where a program speaks of two repositories. Each is a process.
    """

    def __init__(
        self,
        resource_name: str,
        *,
        directory: pulumi.Input[str] | None = None,
        wait: pulumi.Input[float] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`directory` is the repository, by default the one the program stands in; `wait`, in seconds, for locks."""
        super().__init__(PACKAGE, resource_name, {"directory": directory, "wait": wait}, opts)


class Scoped(pulumi.CustomResource):
    """One scope: `resources` is all of it that is spoken of, what else is in it is left alone."""

    pulumi_type: str  # "mspctl:dns:Zone"
    customer: pulumi.Output[str]
    target: pulumi.Output[str]
    name: pulumi.Output[str]
    resources: pulumi.Output[dict[str, Any]]  # live, as it was read last
    outputs: pulumi.Output[dict[str, Any]]  # what it hands out: `dkim SELECTOR`, `ds`, …
    approvals: pulumi.Output[Sequence[str]]  # that let something through

    def __init__(
        self,
        resource_name: str,
        customer: pulumi.Input[str] | None = None,
        target: pulumi.Input[str] | None = None,
        name: pulumi.Input[str] | None = None,
        resources: Any = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        given = {"customer": customer, "target": target, "name": name, "resources": resources}
        # An output has to be named here, or the object will not have it.
        super().__init__(self.pulumi_type, resource_name, {**given, "outputs": None, "approvals": None}, opts)

    @classmethod
    def get(cls, resource_name: str, id: pulumi.Input[str], opts: pulumi.ResourceOptions | None = None) -> Self:
        """
        A scope that somebody else carries out, as it is: `Zone.get("acme", "ns-1/acme.example").outputs["ds"]`. Some
        customer's YAML has to declare it. Nothing of it is changed.
        """
        made = cls.__new__(cls)
        Scoped.__init__(made, resource_name, opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(id=id)))
        return made
