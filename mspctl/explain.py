"""Where a value comes from: its own file, or the baseline below it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mspctl import edit
from mspctl.errors import InputError
from mspctl.load import Estate, load
from mspctl.load import explain as find
from mspctl.model import sections
from mspctl.model.base import nearest
from mspctl.model.folder import Folder
from mspctl.model.layers import merge
from mspctl.strict_yaml import Data, Map, Mark, Problems, Seq


def explain(root: Path, file: str, path: str) -> Iterator[str]:
    """
    Lines about the value at a dotted path of a file of the estate, or about every value of the file.

    Raises InputError for a file that is no part of the estate, or a path that leads nowhere.
    """
    estate = load(root)
    shown = _within(root, file)
    data = _data(estate, shown)
    if not path:
        yield from (_line(p, value, mark, shown) for p, value, mark in _leaves(data, ""))
        return
    try:
        found = find(data, path)
    except KeyError as error:
        raise InputError.at(f"{shown}#{path}", f"{error.args[0]}, neither in this file nor in a baseline") from None
    if isinstance(found.value, Map | Seq):
        yield from (_line(p, value, mark, shown) for p, value, mark in _leaves(found.value, found.path))
    else:
        yield _line(found.path, found.value, found.mark, shown)


def _within(root: Path, file: str) -> str:
    """The file's name relative to the repository, as messages show it."""
    for base in (Path.cwd(), root):
        path = (base / file).resolve()
        if path.is_relative_to(root.resolve()) and path.is_file():
            return path.relative_to(root.resolve()).as_posix()
    raise InputError.at(file, f"is not a file of the repository{nearest(file, _files(root))}")


def _files(root: Path) -> list[str]:
    return [p.relative_to(root).as_posix() for top in ("customers", "inventory") for p in (root / top).rglob("*.yaml")]


def _data(estate: Estate, file: str) -> Data:
    """A file as it counts: a section with its baseline below it, a zone's records with the baseline's."""
    folder, _, name = file.rpartition("/")
    parts = file.split("/")
    customer = estate.customers.get(parts[1]) if parts[0] == "customers" and len(parts) > 2 else None
    if customer and len(parts) == 3 and name.removesuffix(".yaml") in sections.names():
        return customer.data[name.removesuffix(".yaml")]
    own = Folder(estate.root, folder, Problems()).yaml(name, Problems())
    if not isinstance(own, Map):
        raise InputError.at(file, "is no YAML mapping")
    if customer and len(parts) == 4:
        below = getattr(customer.sections.get(parts[2]), "records", None)
        return merge(below, own) if isinstance(below, Map) else own
    return own


def _leaves(data: Data, path: str) -> Iterator[tuple[str, Data, Mark]]:
    """Every value below, each with its path and place."""
    keys = data if isinstance(data, Map) else range(len(data))
    for key in keys:
        step = f"{path}[{key}]" if isinstance(data, Seq) else f"{path}.{key}".removeprefix(".")
        value = data[key]
        if isinstance(value, Map | Seq) and value:
            yield from _leaves(value, step)
        else:
            yield step, value, data.marks[key]


def _line(path: str, value: Data, mark: Mark, file: str) -> str:
    said = "(nothing)" if value is None else edit.scalar(value, flow=False) if isinstance(value, str) else str(value)
    origin = f"{mark.file}:{mark.value_line}:{mark.value_column}"
    below = "" if mark.file == file else f" (from baseline {Path(mark.file).stem})"
    return f"{path}: {said}  {origin}{below}"
