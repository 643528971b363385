"""
The sections of a customer, one file or folder each; its name is the section's name in `customers/`.

A section's module defines `Section`, the model of its YAML file. Optional: `read(section, folder, problems)` for
files beside it, `check(customers, inventory, problems)` for rules across files, `NAMES`, a glob of the further
files that it reads, and `schemas()` for their JSON Schemas.
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
