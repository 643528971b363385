"""Validation, and the translation of pydantic's errors into ours: place, path, what is wrong, what would be right."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from mspctl.fields import Model
from mspctl.kinds import shown
from mspctl.model.folder import Folder
from mspctl.strict_yaml import Data, Map, Mark, Problems, find, find_value

M = TypeVar("M", bound=Model)


def validate(
    model: type[M], data: Data, file: str, problems: Problems, path: Sequence[str] = (), mark: Mark | None = None
) -> M | None:
    """
    The model of what a file says, or None after adding every problem with its place.

    `path` and `mark` are where `data` stands in the file, when it is not the whole of it.
    """
    if data is None:
        data = Map()
    try:
        return model.model_validate(data)
    except ValidationError as error:
        for wrong in error.errors(include_url=False, include_input=True):
            _add(wrong, model, data, file, problems, path, mark)
    return None


def in_file(folder: Folder, name: str, model: type[M], problems: Problems, *, go_on: bool = False) -> M:
    """
    The model of a folder's file, of an empty one where there is no such file; also after adding problems. `go_on`: then
    of what is right in it.
    """
    if not folder.has(name):
        return model()
    before = len(problems)
    data = folder.yaml(name, problems)
    if data is None and len(problems) > before:
        return model()
    found = validate(model, data, folder.shown(name), problems)
    return found or (partly(model, data) if go_on else None) or model()


def partly(model: type[M], data: Data) -> M | None:
    """
    The model of what is right in a file that `validate` refused; None when too little is.

    Only to go on looking for problems behind the first ones.
    """
    for _ in range(5):  # what was left out can be missed elsewhere
        try:
            return model.model_validate(Map() if data is None else data)
        except ValidationError as error:
            data = _without(data, [_steps(wrong, data)[0] for wrong in error.errors()])
    return None


def _without(data: Data, paths: Sequence[Sequence[str | int]]) -> Data:
    """A mapping without the values at `paths`; one that lacks a key goes as a whole."""
    if not isinstance(data, Map) or any(not path or path[0] not in data for path in paths):
        return None
    rest = Map()
    for key, value in data.items():
        below = [path[1:] for path in paths if path[0] == key]
        left = _without(value, below) if below else value
        if left is not None or not below:
            rest[key], rest.marks[key] = left, data.marks[key]
    return rest


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean x?)` for a word that resembles a known one, else the list of the known ones when it is short."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f" (did you mean {close[0]}?)"
    return f" (known: {', '.join(names)})" if 0 < len(names) <= 20 else ""


def nearest_file(name: str, known: Iterable[str]) -> str:
    """`nearest`, without the suffix that makes any two files of YAML resemble each other."""
    stems = {file.removesuffix(".yaml"): file for file in known}
    close = difflib.get_close_matches(name.removesuffix(".yaml"), sorted(stems), n=1, cutoff=0.6)
    return f" (did you mean {stems[close[0]]}?)" if close else f" (known: {', '.join(sorted(stems.values()))})"


def dotted(path: Collection[str | int]) -> str:
    """`domains.acme.example.mailboxes[3]`, as `explain` takes it."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


_SAID: dict[str, str] = {
    "missing": "is missing",
    "model_type": "should be a mapping (key: value)",
    "model_attributes_type": "should be a mapping (key: value)",
    "dict_type": "should be a mapping (key: value)",
    "list_type": "should be a list",
    "tuple_type": "should be a list",
    "string_type": "should be text",
}


def _add(
    wrong: Any,
    model: type[Model],
    data: Data,
    file: str,
    problems: Problems,
    prefix: Sequence[str],
    whole: Mark | None,
) -> None:
    loc, about_key = _steps(wrong, data)
    mark = find(data, loc) or whole
    kind, at_value = wrong["type"], not about_key
    if kind == "extra_forbidden":
        known = fields_at(model, loc[:-1])
        text, at_value = f"unknown key{nearest(str(loc[-1]), known)}", False
    elif kind in ("value_error", "assertion_error"):
        text = str(wrong["ctx"]["error"])
    elif kind == "literal_error":
        text = f"{shown(wrong['input'])} is not one of {wrong['ctx']['expected'].replace(' or ', ', ')}"
    else:
        text = _SAID.get(kind, wrong["msg"])
    problems.add(mark, dotted([*prefix, *loc]), text, at_value=at_value, file=file)


def _steps(wrong: Any, data: Data) -> tuple[list[str | int], bool]:
    """Where an error stands, and whether it is about the key; pydantic says so with a last step "[key]"."""
    loc = list(wrong["loc"])
    parent = find_value(data, loc[:-1]) if loc[-1:] == ["[key]"] else data
    about_key = loc[-1:] == ["[key]"] and not (isinstance(parent, Map) and "[key]" in parent)
    return (loc[:-1] if about_key else loc), about_key


def fields_at(model: type[Model], loc: Sequence[str | int]) -> list[str]:
    """Keys that the model knows at a place within it."""
    annotation: Any = model
    for step in loc:
        current = _model_in(annotation)
        typed = {field.alias or name: field for name, field in current.model_fields.items()} if current else {}
        annotation = typed[step].annotation if isinstance(step, str) and step in typed else _item_of(annotation)
    found = _model_in(annotation)
    return [field.alias or name for name, field in found.model_fields.items()] if found else []


def _model_in(annotation: Any) -> type[Model] | None:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    if typing.get_origin(annotation) in (dict, list, tuple):
        return None
    for part in typing.get_args(annotation):
        if (found := _model_in(part)) is not None:
            return found
    return None


def _item_of(annotation: Any) -> Any:
    """What a dict or list holds, through Optional and Annotated."""
    if typing.get_origin(annotation) is dict:
        return typing.get_args(annotation)[1]
    if typing.get_origin(annotation) in (list, tuple):
        return typing.get_args(annotation)[0]
    for part in typing.get_args(annotation):
        if typing.get_origin(part) in (dict, list, tuple):
            return _item_of(part)
    return None
