"""What all resources of this provider have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi


class Scoped(pulumi.CustomResource):
    """One scope: `resources` is all of it that is spoken of, what else is in it is left alone."""

    customer: pulumi.Output[str]
    target: pulumi.Output[str]
    name: pulumi.Output[str]
    resources: pulumi.Output[dict[str, Any]]  # live, as it was read last
    outputs: pulumi.Output[dict[str, Any]]  # what it hands out: `dkim SELECTOR`, `ds`, …
    approvals: pulumi.Output[Sequence[str]]  # that let something through

    def __init__(
        self,
        token: str,
        resource_name: str,
        customer: pulumi.Input[str],
        target: pulumi.Input[str],
        name: pulumi.Input[str],
        resources: Any,
        opts: pulumi.ResourceOptions | None,
    ) -> None:
        given = {"customer": customer, "target": target, "name": name, "resources": resources}
        # An output has to be named here, or the object will not have it.
        super().__init__(token, resource_name, {**given, "outputs": None, "approvals": None}, opts)
