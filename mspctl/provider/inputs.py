"""What a program wants of one scope, judged: every failure with its property. No I/O but the repository's files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mspctl import kinds
from mspctl.errors import Unsupported
from mspctl.fields import NAME
from mspctl.kinds import antivirus, backup, firewall, hosts, patching, shown
from mspctl.model.base import nearest
from mspctl.model.sections.firewall.rules import raw_text
from mspctl.model.sections.hosts import host_key
from mspctl.moments import Window, times, timezone
from mspctl.provider import values
from mspctl.provider.repository import Repository
from mspctl.provider.shapes import INPUTS, Shape, path_of, to_plain
from mspctl.resource import Id, Resource, Scope, Value

HIDDEN = "is not right; what is wrong with it is not said, for it is a secret"
_WORDS: Mapping[type, str] = {
    str: "a text",
    int: "a whole number",
    bool: "true or false",
    frozenset: "a list of texts",
    tuple: "a list of texts",
}


def _only(judge: Callable[[str], object]) -> Callable[[str], str]:
    """A text that stays as it is, when it can be read."""

    def fold(text: str) -> str:
        judge(text)
        return text

    return fold


_TIMED = {"schedule": _only(times), "hours": _only(Window.parse), "timezone": _only(timezone)}
# What files of kinds cannot judge, for it takes clocks or a model.
_FOLDS: Mapping[tuple[str, str], Callable[[str], str]] = {
    (firewall.RAW, "text"): raw_text,
    (backup.JOB, "host_key"): hosts.maybe(host_key),
    **{
        (kind, field): fold
        for kind in (backup.JOB, backup.THINNING, antivirus.SCAN, patching.WINDOW)
        for field, fold in _TIMED.items()
    },
}


@dataclass(slots=True)
class Checked:
    """Inputs in normal form, as the target will hold them; or what is wrong with them, by property."""

    inputs: dict[str, Any]
    failures: list[tuple[str, str]] = field(default_factory=list)
    given: frozenset[values.Path] = frozenset()  # what is secret, by the names that the program gave
    renamed: dict[values.Path, values.Path] = field(default_factory=dict)  # resources, into their normal form

    def fail(self, path: values.Path, text: str, bare: str = HIDDEN) -> None:
        """`bare` is said of what is secret or holds a secret: it repeats no part of a value."""
        hidden = any(path[: len(each)] == each[: len(path)] for each in self.given)
        self.failures.append((values.spelled(path), bare if hidden else text))

    @property
    def secret(self) -> frozenset[values.Path]:
        """What is secret, by the names that `inputs` has."""
        if self.failures:
            return self.given
        return frozenset((*self.renamed.get(each[:3], each[:3]), *each[3:]) for each in self.given)


def check(
    shape: Shape, inputs: Mapping[str, Any], repository: Repository, secret: Collection[values.Path] = ()
) -> Checked:
    """All that is wrong at once. What is unknown yet passes, and is judged when it is known."""
    made = Checked(dict(inputs), given=frozenset(secret))
    for key in inputs:
        if key not in INPUTS:
            made.fail((key,), f"is no property of {shape.token}{nearest(key, INPUTS)}")
    _where(made, shape, repository)
    given = inputs.get("resources")
    if given is None:
        made.fail(("resources",), "is required (write {} for nothing)")
    elif given != values.UNKNOWN and not isinstance(given, dict):
        made.fail(("resources",), "is a mapping of kinds")
    elif isinstance(given, dict):
        _resources(made, shape, given, repository)
    return made


def _where(made: Checked, shape: Shape, repository: Repository) -> None:
    for key in ("customer", "target", "name"):
        value = made.inputs.get(key)
        if not isinstance(value, str) or not value:
            made.fail((key,), "is required, and a text")
    said = [made.inputs.get(key) for key in ("target", "name", "customer")]
    if made.failures or values.UNKNOWN in said:
        return
    target, name, customer = map(str, said)
    try:
        made.inputs["name"] = name = folded(shape, name)
    except ValueError as error:
        made.fail(("name",), str(error))
        return
    for key, why in repository.refusals(Scope(target, shape.facet, name, customer)):
        made.fail((key,), why)


def folded(shape: Shape, name: str) -> str:
    """The name of a scope in normal form; it becomes part of paths and arguments. Raises ValueError."""
    if shape.facet in ("firewall", "antivirus", "hosts"):
        parts = name.split("/")
        if len(parts) not in ((3,) if shape.facet == "hosts" else (1,)) or not all(map(NAME.fullmatch, parts)):
            raise ValueError(f"{shown(name)} is not the name of such a scope")
        return name
    from mspctl.kinds import dns

    return dns.fold_zone(name)


def _resources(made: Checked, shape: Shape, given: dict[str, Any], repository: Repository) -> None:
    found: dict[Id, Resource] = {}
    waiting: dict[str, dict[str, Any]] = {}  # what has unknown values stays as it is
    for word, name, data in _entries(made, shape, given):
        if values.has_unknown(data) or values.UNKNOWN in (name, made.inputs.get("name"), made.inputs.get("target")):
            waiting.setdefault(word, {})[name] = data
            continue
        resource = _resource(made, shape, word, name, data)
        accepted = resource and _accepted(made, shape, resource, name, repository)
        if accepted is None:
            continue
        if accepted.id in found:
            made.fail(("resources", word, name), f"is the same as {found[accepted.id].id.name}")
        found[accepted.id] = accepted
        made.renamed["resources", word, name] = path_of(accepted.id)
    if not made.failures:
        inputs: dict[str, Any] = {word: named for word, named in given.items() if named == values.UNKNOWN}
        inputs |= to_plain(found.values())
        for word, named in waiting.items():
            inputs.setdefault(word, {}).update(named)
        made.inputs["resources"] = inputs


def _entries(made: Checked, shape: Shape, given: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for word, named in given.items():
        path = ("resources", word)
        if word not in shape.kinds:
            made.fail(path, f"is no kind of {shape.token}{nearest(word, shape.kinds)}")
        elif named == values.UNKNOWN:
            continue  # it is judged when it is known
        elif not isinstance(named, dict):
            made.fail(path, "is a mapping of names")
        elif named and (section := _elsewhere(made, shape, word)):
            made.fail(path, f"is of another section of a host: {section} (so is its name, …/{section})")
        else:
            yield from ((word, name, data) for name, data in named.items())


def _elsewhere(made: Checked, shape: Shape, word: str) -> str:
    """The section of a kind, where the scope is another section of a host."""
    section, name = shape.kinds[word].partition(".")[0], str(made.inputs.get("name"))
    return section if shape.facet == hosts.FACET and "/" in name and name.rpartition("/")[2] != section else ""


def _resource(made: Checked, shape: Shape, word: str, name: str, data: Any) -> Resource | None:
    """One resource in normal form; None when something is wrong, which is told then."""
    path, kind, before = ("resources", word, name), shape.kinds[word], len(made.failures)
    if not isinstance(data, dict):
        made.fail(path, "is a mapping of fields (leave it out, or write {} for none)")
        return None
    data = {key: value for key, value in data.items() if value is not None}  # of a field, null is Pulumi's "not set"
    types = shape.known(kind)
    fields = {}
    for key, value in data.items():
        if key not in types:
            made.fail((*path, key), f"is no field of {kind}{nearest(key, types)}")
        elif (why := _wrong(types[key], key, value)) != "":
            made.fail((*path, key), why, f"is {_WORDS[types[key]]}")
        elif key == kinds.AMISS and value:
            made.fail((*path, key), "is what is found, and never declared (leave it out)")
        else:
            fields[key] = types[key](value) if isinstance(value, list) else value
    if kinds.AMISS in types and kinds.AMISS not in data:  # as YAML declares it, so that what is found is drift
        fields[kinds.AMISS] = frozenset()
    for key in shape.required(kind):
        if key not in data:
            made.fail((*path, key), "is required")
    scope, id_ = str(made.inputs.get("name")), Id(kind, name)
    try:
        id_ = Id(kind, str(kinds.normal(id_, "", name, scope)))
    except ValueError as error:
        made.fail(path, str(error))
        return None
    normal = _normal(made, Resource(id_, fields), path, scope)
    return normal if len(made.failures) == before else None


def _normal(made: Checked, resource: Resource, path: values.Path, scope: str) -> Resource | None:
    fields: dict[str, Value] = {}
    for key, value in resource.fields.items():
        try:
            fold = _FOLDS.get((resource.id.kind, key))
            fields[key] = fold(str(value)) if fold else kinds.normal(resource.id, key, value, scope)
        except ValueError as error:
            made.fail((*path, key), str(error))
    return replace(resource, fields=fields) if len(fields) == len(resource.fields) else None


def _wrong(type_: type, key: str, value: Any) -> str:
    """Why a value cannot stand in a field; "" when it can."""
    texts = value if type_ in (frozenset, tuple) else [value] if type_ is str else []
    right = (
        isinstance(value, list) and all(isinstance(each, str) for each in value)
        if type_ in (frozenset, tuple)
        else type(value) is type_
    )
    if not right:
        return f"is {_WORDS[type_]}, not {shown(value)}"
    lines = "\n" if key == "reply" else ""
    if not all(c.isprintable() or c in lines for text in texts for c in text):
        return "has characters that cannot be printed"
    return ""


def _accepted(made: Checked, shape: Shape, resource: Resource, name: str, repository: Repository) -> Resource | None:
    """As the target will hold it."""
    if made.failures:
        return resource
    path = (*path_of(resource.id)[:2], name)
    try:
        scope = Scope(made.inputs["target"], shape.facet, made.inputs["name"])
        return repository.targets.reader(scope).accept(resource)
    except Unsupported as error:
        made.fail(path, f"{made.inputs['target']} cannot hold this: {error}")
        return None
