"""Makes `pulumi/resources.py` from the schema: `python -m mspctl.provider.generate` prints it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mspctl.provider.shapes import Shape, schema, shapes

_HEAD = '''"""
Made from the provider's schema by `python -m mspctl.provider.generate`; a test sees to it that it fits.

A class for each kind of scope, and what `resources` of it can hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

import pulumi

from mspctl.pulumi.scoped import Scoped
'''
_CLASS = '''

class {name}(Scoped):
    """One scope of the facet {facet}."""

    pulumi_type = "{token}"

    def __init__(
        self,
        resource_name: str,
        *,
        customer: pulumi.Input[str],
        target: pulumi.Input[str],
        name: pulumi.Input[str],
        resources: pulumi.Input[{name}Resources],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(resource_name, customer, target, name, resources, opts)
'''
_TYPES = {"string": "str", "integer": "int", "boolean": "bool"}


def source() -> str:
    """The whole file."""
    types = schema()["types"]
    parts = [part for shape in shapes().values() for part in _of(shape, types)]
    names = sorted([name_of(token) for token in [*types, *shapes()]])
    listed = "".join(f'    "{name}",\n' for name in names)
    return f"{_HEAD}\n__all__ = [\n{listed}]\n{''.join(parts)}"


def _of(shape: Shape, types: Mapping[str, Any]) -> Iterator[str]:
    whole = types[f"{shape.token}Resources"]
    for type_ in whole["properties"].values():
        token = type_["additionalProperties"]["$ref"].removeprefix("#/types/")
        yield _typed(name_of(token), types[token])
    yield _typed(f"{name_of(shape.token)}Resources", whole)
    yield _CLASS.format(name=name_of(shape.token), facet=shape.facet, token=shape.token)


def name_of(token: str) -> str:
    return token.rpartition(":")[2]


def _typed(name: str, type_: Mapping[str, Any]) -> str:
    """By its function, because fields may be called as Python's words are: from, to."""
    required = type_.get("required", ())
    lines = [f'        "{key}": {_field(each, key in required)},\n' for key, each in type_["properties"].items()]
    body = f"{{\n{''.join(lines)}    }}" if lines else "{}"
    return f'\n{name} = TypedDict(\n    "{name}",\n    {body},\n)\n'


def _field(type_: Mapping[str, Any], required: bool) -> str:
    if type_["type"] == "array":
        made = "pulumi.Input[Sequence[pulumi.Input[str]]]"
    elif type_["type"] == "object":
        made = f"pulumi.Input[Mapping[str, pulumi.Input[{name_of(type_['additionalProperties']['$ref'])}]]]"
    else:
        made = f"pulumi.Input[{_TYPES[type_['type']]}]"
    return made if required else f"NotRequired[{made}]"


if __name__ == "__main__":
    print(source(), end="")  # noqa: T201
