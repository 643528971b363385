"""Validation, and the translation of pydantic's errors into ours: place, path, what is wrong, what would be right."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from mspctl.fields import Model
from mspctl.strict_yaml import Data, Map, Problems, find

M = TypeVar("M", bound=Model)


def validate(model: type[M], data: Data, file: str, problems: Problems, path: Sequence[str] = ()) -> M | None:
    """The model of what a file says, or None after adding every problem with its place."""
    if data is None:
        data = Map()
    try:
        return model.model_validate(data)
    except ValidationError as error:
        for wrong in error.errors(include_url=False, include_input=True):
            _add(wrong, model, data, file, problems, path)
    return None


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean x?)` for a word that resembles a known one, else the list of the known ones when it is short."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f" (did you mean {close[0]}?)"
    return f" (known: {', '.join(names)})" if 0 < len(names) <= 20 else ""


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


def _add(wrong: Any, model: type[Model], data: Data, file: str, problems: Problems, prefix: Sequence[str]) -> None:
    loc = [step for step in wrong["loc"] if step != "[key]"]
    mark = find(data, loc)
    kind, at_value = wrong["type"], True
    if kind == "extra_forbidden":
        known = fields_at(model, loc[:-1])
        text, at_value = f"unknown key{nearest(str(loc[-1]), known)}", False
    elif kind in ("value_error", "assertion_error"):
        text = str(wrong["ctx"]["error"])
    elif kind == "literal_error":
        text = f"{wrong['input']!r} is not one of {wrong['ctx']['expected'].replace(' or ', ', ')}"
    else:
        text = _SAID.get(kind, wrong["msg"])
    if "[key]" in wrong["loc"]:
        at_value = False
    problems.add(mark, dotted([*prefix, *loc]), text, at_value=at_value, file=file)


def fields_at(model: type[Model], loc: Sequence[str | int]) -> list[str]:
    """Keys that the model knows at a place within it."""
    annotation: Any = model
    for step in loc:
        current = _model_in(annotation)
        if current is not None and isinstance(step, str) and step in current.model_fields:
            annotation = current.model_fields[step].annotation
        else:
            annotation = _item_of(annotation)
    found = _model_in(annotation)
    return [*found.model_fields] if found else []


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
