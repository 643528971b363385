"""
A stand-in for a cloud, so that this stack runs without an account: it gives each server an address of RFC 5737.

With a real one, `Server` is for instance `pulumi_hcloud.Server`, and has the same attribute.
"""

from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class _Cloud(ResourceProvider):
    def create(self, props: dict[str, Any]) -> CreateResult:
        number = sum(props["location"].encode()) % 254 + 1
        return CreateResult(props["location"], {**props, "ipv4_address": f"203.0.113.{number}"})


class Server(Resource):
    ipv4_address: pulumi.Output[str]

    def __init__(self, name: str, location: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(_Cloud(), name, {"location": location, "ipv4_address": None}, opts)
