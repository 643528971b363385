"""
JSON Schemas (draft 2020-12) for editors, made from the models: they complete and check while somebody types.

A schema admits all that we take, as an editor sees it: an editor reads YAML 1.2, where `4711` is a number and `true` a
boolean, while we read text and let the field decide; quotes make no difference to us. (Only `null` and `~`, which are
nothing to an editor and text to us, must be quoted for both to agree.) It refuses unknown keys and wrong shapes. What
only the text, or other files, can tell is left to `mspctl validate`.

Sections are layers: a customer's file may lack what its baseline says, and may write `{add: […]}` for a list.
"""

from __future__ import annotations

import ast
import inspect
import io
import json
import os
import re
import tempfile
import textwrap
import tokenize
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from mspctl import drivers, fields
from mspctl.errors import InputError
from mspctl.model import customer, inventory, permissions, sections

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SUFFIX = ".schema.json"
FOLDER = ".schemas"  # in a repository; modelines in its files point there

Schema = dict[str, Any]
Defs = dict[str, Schema]


def schemas() -> dict[str, Schema]:
    """Every schema by its name: what a file of that kind may say."""
    found = {
        "baseline": _baseline(),
        "checks": _may_be_empty(_checks()),
        "accepted": _may_be_empty(_whole(permissions.AcceptedFile, "customers/<name>/accepted.yaml")),
        "approvals": _may_be_empty(_whole(permissions.ApprovalsFile, "customers/<name>/approvals.yaml")),
        "notify": _may_be_empty(_whole(inventory.NotifyFile, "inventory/notify.yaml")),
        "products": _may_be_empty(_whole(inventory.ProductsFile, "inventory/antivirus.yaml")),
        "quick_lane": _may_be_empty(_whole(inventory.QuickLaneFile, "inventory/quick_lane.yaml")),
        "archive": _whole(inventory.ArchiveFile, "inventory/archive.yaml"),
        "pulumi": _whole(inventory.PulumiFile, "inventory/pulumi.yaml"),
        "rings": _may_be_empty(_whole(inventory.RingsFile, "inventory/rings.yaml")),
        "contracts": _may_be_empty(_whole(inventory.ContractsFile, "inventory/contracts.yaml")),
        "customer": _whole(customer.CustomerInfo, "customers/<name>/customer.yaml", _first_line(customer)),
        "targets": _targets(),
    }
    for section in sections.names():
        module = sections.module(section)
        further = module.schemas() if hasattr(module, "schemas") else {}
        own = {section: _section(section), **{name: _further(schema) for name, schema in further.items()}}
        assert not own.keys() & found.keys(), f"section {section}: a schema of that name is there already"
        found |= own
    return {name: _document(schema) for name, schema in sorted(found.items())}


def dump(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write(folder: Path, found: Mapping[str, Schema]) -> list[Path]:
    """One file per schema, each put in place whole; a file that is right already is left as it is."""
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, schema in found.items():
            path, text = folder / f"{name}{SUFFIX}", dump(schema)
            if not path.is_file() or path.read_bytes() != text.encode():
                _replace(path, text)
                written.append(path)
    except OSError as error:
        raise InputError.at(str(folder), f"cannot be written ({error.strerror})") from None
    return written


def _replace(path: Path, text: str) -> None:
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
        os.chmod(draft, 0o644)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


# -- one file each --------------------------------------------------------------------------------------------


def _whole(model: type[BaseModel], title: str, description: str = "") -> Schema:
    """A file that stands alone, without layers."""
    return {"description": description} | _of_model(model) | {"title": title}


def _may_be_empty(schema: Schema) -> Schema:
    return schema | {"type": ["object", "null"]}


def _first_line(module: ModuleType) -> str:
    return (module.__doc__ or "").strip().partition("\n")[0]


def _section(name: str) -> Schema:
    schema = _of_section(name)
    _layer(schema, schema.get("$defs", {}), set(), lists=True)
    return schema | {"title": f"customers/<name>/{name}.yaml"}


def _of_section(name: str) -> Schema:
    module = sections.module(name)
    schema = _of_model(module.Section)
    schema.setdefault("description", _first_line(module))
    if hasattr(module, "layered"):
        # `www.example: ` with nothing behind it: all of it comes from the section's own defaults.
        for entry in _named_entries(schema):
            entry["anyOf"] = [{"$ref": entry.pop("$ref")}, {"type": "null"}]
    return schema


def _named_entries(schema: Schema) -> Iterator[Schema]:
    """What stands under names that the user chooses, at the top of a section: `zones: {<name>: …}`."""
    for part in schema.get("properties", {}).values():
        for entry in (part.get("additionalProperties"), *part.get("patternProperties", {}).values()):
            if isinstance(entry, dict) and "$ref" in entry:
                yield entry


def _further(schema: Schema) -> Schema:
    return _for_editors(_apart(schema))


def _apart(schema: Schema) -> Schema:
    """A copy in which no part stands in two places, so that each can be changed where it is."""
    copied: Schema = json.loads(json.dumps(schema))
    return copied


def _baseline() -> Schema:
    properties: dict[str, Schema] = {}
    defs: Defs = {}
    for name in sections.names():
        schema = _of_section(name)
        own = schema.pop("$defs", {})
        _layer(schema, own, set(), lists=False)
        defs |= _prefixed(name, schema, own)
        properties[name] = schema
    return {
        "title": "inventory/baselines/<name>.yaml",
        "description": "Laid under the sections of every customer that names it.",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": defs,
    }


def _checks() -> Schema:
    properties: dict[str, Schema] = {}
    defs: Defs = {}
    for name in sections.names():
        module = sections.module(name)
        if hasattr(module, "Checks"):
            schema = _may_be_empty(_of_model(module.Checks))
            defs |= _prefixed(name, schema, schema.pop("$defs", {}))
            properties[name] = schema
    return {
        "title": "inventory/checks.yaml",
        "description": "How findings are looked for, by section.",
        "properties": properties,
        "additionalProperties": False,
        "$defs": defs,
    }


def _targets() -> Schema:
    """Facets by driver: an editor that knows the driver completes its settings."""
    schema = _may_be_empty(_whole(inventory.TargetsFile, "inventory/targets.yaml"))
    defs: Defs = schema["$defs"]
    known: list[Schema] = []
    bare: list[str] = []  # drivers that need no settings
    for driver in drivers.names():
        settings = _of_model(drivers.module(driver).Settings)
        own = settings.pop("$defs", {})
        defs |= _prefixed(driver, settings, own)
        defs[driver] = _facet(driver, settings)
        known.append({"$ref": f"#/$defs/{driver}"})
        bare += [] if settings.get("required") else [driver]
    short = [{"enum": bare, "description": "A driver that needs no settings."}] if bare else []
    defs["Facet"] = {"description": defs["Facet"].get("description", ""), "oneOf": [*known, *short]}
    return schema


def _facet(driver: str, settings: Schema) -> Schema:
    module = drivers.module(driver)
    properties = {"driver": {"const": driver, "description": _first_line(module)}, **settings.get("properties", {})}
    required = ["driver", *settings.get("required", ())]
    return settings | {"title": driver, "properties": properties, "required": required}


def _document(schema: Schema) -> Schema:
    first = {key: schema[key] for key in ("title", "description") if schema.get(key)}
    rest = {key: value for key, value in schema.items() if key not in ("title", "description", "$defs")}
    defs = {"$defs": dict(sorted(schema["$defs"].items()))} if schema.get("$defs") else {}
    return {"$schema": DIALECT, **first, **rest, **defs}


# -- from models ----------------------------------------------------------------------------------------------


class _Generator(GenerateJsonSchema):
    """As pydantic does it, but true to what our fields take, and with our comments as descriptions."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> Schema:
        made = super().function_before_schema(schema)
        if schema["function"]["function"] is fields.one_or_many and "items" in made:
            return {"anyOf": [made["items"], made]}
        return made

    def dict_schema(self, schema: core_schema.DictSchema) -> Schema:
        made = super().dict_schema(schema)
        if "patternProperties" in made:
            made.setdefault("additionalProperties", False)  # a name that is none
        return made

    def model_schema(self, schema: core_schema.ModelSchema) -> Schema:
        made = super().model_schema(schema)
        cls = schema["cls"]
        for name, text in _comments(cls).items():
            field = cls.model_fields.get(name)
            said = made.get("properties", {}).get(field.alias or name) if field else None
            if said is not None:
                said.setdefault("description", text)
        return made

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # "Ttl" for ttl says nothing


def _of_model(model: type[BaseModel]) -> Schema:
    return _for_editors(_apart(model.model_json_schema(by_alias=True, schema_generator=_Generator)))


def _comments(cls: type[BaseModel]) -> dict[str, str]:
    """Field → the comment at the end of its line, which is where our models say what a field means."""
    try:
        source = textwrap.dedent(inspect.getsource(cls))
    except OSError:  # no source here: then there is nothing to derive from
        return {}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef), "the source of a class is a class"
    found = {}
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            text = comments.get(node.end_lineno or 0, "")
            if text and not re.match(r"noqa|type:|pragma:", text):
                found[node.target.id] = text
    return found


# -- from what we take to what an editor sees -----------------------------------------------------------------

_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAPS = ("properties", "patternProperties", "$defs")
_ONE = ("items", "additionalProperties", "not")


def _within(schema: Schema) -> Iterator[Schema]:
    """The schemas directly in a schema."""
    for key in _LISTS:
        yield from (part for part in schema.get(key, ()) if isinstance(part, dict))
    for key in _MAPS:
        yield from (part for part in schema.get(key, {}).values() if isinstance(part, dict))
    yield from (schema[key] for key in _ONE if isinstance(schema.get(key), dict))


def _for_editors(schema: Schema) -> Schema:
    """Admit what an editor makes of the texts that we take; changes the schema in place."""
    for part in _within(schema):
        _for_editors(part)
    _nullable(schema)
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if "enum" in schema:
        schema["enum"] = [value for text in schema["enum"] for value in _spellings(text)]
        schema.pop("type", None)
    else:
        _widen(schema)
    if "default" in schema and not isinstance(schema["default"], str | int | float | list):
        if schema["default"] is None and "type" in schema and "null" not in _kinds(schema):
            schema["type"] = [*_kinds(schema), "null"]  # a key with nothing behind it
        del schema["default"]
    if schema.get("default") == []:
        del schema["default"]
    return schema


_QUOTED = {"boolean": "^(true|false)$", "integer": "^[+-]?[0-9]+$", "number": "^[+-]?[0-9.eE+-]+$"}


def _kinds(schema: Schema) -> list[str]:
    kind = schema.get("type", [])
    return kind if isinstance(kind, list) else [kind]


def _nullable(schema: Schema) -> None:
    """A value or nothing, said shorter: an editor shows it better."""
    parts = schema.get("anyOf", ())
    value = next((part for part in parts if "type" in part and part != {"type": "null"}), None)
    if len(parts) == 2 and {"type": "null"} in parts and value is not None:
        del schema["anyOf"]
        schema |= {**value, **schema, "type": [*_kinds(value), "null"]}


def _widen(schema: Schema) -> None:
    kind = schema.get("type")
    if kind == "string" and "format" not in schema:
        schema["type"] = ["string", "number", "boolean"]
    elif isinstance(kind, list) and {"string", "number"} <= {*kind}:
        schema["type"] = [*kind, *({"boolean"} - {*kind})]
    elif isinstance(kind, str) and kind in _QUOTED:
        schema |= {"type": [kind, "string"], "pattern": _QUOTED[kind]}


def _spellings(value: Any) -> list[Any]:
    """A literal, and what YAML 1.2 makes of it when it stands without quotes."""
    if value in ("true", "false"):
        return [value, value == "true"]
    if isinstance(value, str) and re.fullmatch(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?", value, re.ASCII):
        return [value, int(value) if value.isdecimal() else float(value)]
    return [value]


def _prefixed(prefix: str, schema: Schema, defs: Defs) -> Defs:
    """`defs` under names that no other part of a document uses; references in the schema follow."""
    for part in (schema, *defs.values()):
        _rename_refs(part, f"#/$defs/{prefix}-")
    return {f"{prefix}-{name}": part for name, part in defs.items()}


def _rename_refs(schema: Schema, prefix: str) -> None:
    if "$ref" in schema:
        schema["$ref"] = prefix + schema["$ref"].removeprefix("#/$defs/")
    for part in _within(schema):
        _rename_refs(part, prefix)


def _layer(schema: Schema, defs: Defs, seen: set[str], *, lists: bool) -> None:
    """
    Nothing is required, because another layer may say it; with `lists`, a list may be `{add: […], remove: […]}`.

    Items of lists are no layers, so they stay as they are.
    """
    name = schema.get("$ref", "").removeprefix("#/$defs/")
    if name and name not in seen:
        seen.add(name)
        _layer(defs[name], defs, seen, lists=lists)
    schema.pop("required", None)
    if "oneOf" in schema and "anyOf" not in schema:
        schema["anyOf"] = schema.pop("oneOf")  # without what is required, more than one may fit
    if "array" in _kinds(schema):
        if lists:
            _changeable(schema)
        return
    below = [*schema.get("anyOf", ()), *schema.get("allOf", ()), schema.get("additionalProperties")]
    below += [part for key in ("properties", "patternProperties") for part in schema.get(key, {}).values()]
    for part in below:
        if isinstance(part, dict):
            _layer(part, defs, seen, lists=lists)


def _changeable(array: Schema) -> None:
    """A list, or what is different in it from the list below."""
    said: Schema = {key: array.pop(key) for key in ("description", "examples", "default") if key in array}
    whole = dict(array)
    some: Schema = {"type": ["array", "null"], "items": whole.get("items", True)}
    changes = {
        "type": "object",
        "description": "Changes to the list that the baseline has.",
        "properties": {"add": some, "remove": some},
        "minProperties": 1,
        "additionalProperties": False,
    }
    array.clear()
    array.update(said, anyOf=[whole, changes])


def named(found: Mapping[str, Schema], names: Collection[str]) -> dict[str, Schema]:
    """Those of `names`, or all. Raises InputError for a name that there is not."""
    from mspctl.model.base import nearest

    for name in names:
        if name not in found:
            raise InputError.at("", f"there is no schema {name!r}{nearest(name, found)}")
    return {name: schema for name, schema in found.items() if not names or name in names}
