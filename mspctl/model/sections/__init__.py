"""
The sections of a customer, one file or folder each; its name is the section's name in `customers/`.

A section's module defines `Section`, the model of its YAML file. Optional: `FILES`, the folder of its further files
(with `FILES_ALONE`, the folder is enough), and `read(section, data, folder, clock, problems)`, which reads them, and
`parts(found)`, the models in what it has found, each with its YAML;
`layered(data)`, for defaults within the section; `check(customers, inventory, problems)`, for rules across files;
`schemas()`, JSON Schemas of the further files; `follows(customer, inventory, outputs)`, the DNS records that follow
from the section and from what scopes handed out; `Checks`, the model of what `inventory/checks.yaml` says about it.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from types import ModuleType


@cache
def names() -> tuple[str, ...]:
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__)))


def module(name: str) -> ModuleType:
    return import_module(f"{__name__}.{name}")
