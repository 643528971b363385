"""
A domain's file on the server ↔ resources. Pure.

The file is JSON below a line that says whose it is. mspctl.lua reads it as UCL, of which JSON is a part; so it is
written with each entry on a line of its own, and whatever stands in it is a JSON string, which nothing can leave.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Container, Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from mspctl.errors import TargetError
from mspctl.kinds import filter as filters
from mspctl.resource import Id, Resource

HEADER = "# Written by mspctl from {source}. Edits made here are reported as drift."
SUFFIX = ".json"
UNTIL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
RSA = bytes.fromhex("06092a864886f70d010101")  # the algorithm, as a public key names it (RFC 8017)

_PATH = re.compile(r"/[^\0\n]+")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Entry(_Strict):
    why: str = ""
    until: str = ""
    asked_by: str = ""
    ticket: str = ""
    must_pass: Literal["", "dkim", "spf"] = ""


class Limits(_Strict):
    message_size: int = 0
    sending_rate: str = ""


class Signing(_Strict):
    selector: str
    senders: list[str] = []


class File(_Strict):
    """What a file says, as it stands there."""

    allow: dict[str, Entry] = {}
    block: dict[str, Entry] = {}
    alias_domains: list[str] = []
    limits: Limits | None = None
    dkim: dict[str, str] = {}  # selector → where its key is
    signing: Signing | None = None


EMPTY = File()


def parse(content: bytes, path: str) -> File:
    """Raises TargetError for what we would not have written, and could not give back."""
    try:
        text = "\n".join(line for line in content.decode().split("\n") if not line.startswith("#"))
        said = File.model_validate(json.loads(text, object_pairs_hook=_once))
        _check(said)
    except UnicodeDecodeError:
        raise TargetError(f"{path} is not UTF-8 text") from None
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(map(str, wrong["loc"]))
        raise TargetError(f"{path} is not as mspctl writes it: {where}: {wrong['msg']}") from None
    except ValueError as error:
        raise TargetError(f"{path} is not as mspctl writes it: {error}") from None
    return said


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _check(said: File) -> None:
    for entries in (said.allow, said.block):
        for name, entry in entries.items():
            if filters.fold_sender(name) != name:
                raise ValueError(f"{name} is spelled {filters.fold_sender(name)}")
            if entry.until and not UNTIL.fullmatch(entry.until):
                raise ValueError(f"{entry.until!r} is not a time (2027-06-30T22:00:00Z)")
    for path in said.dkim.values():
        if not _PATH.fullmatch(path):
            raise ValueError(f"{path!r} is not the path of a key")
    rate = said.limits.sending_rate if said.limits else ""
    if rate and filters.fold_rate(rate) != rate:
        raise ValueError(f"{rate} is spelled {filters.fold_rate(rate)}")


def as_resources(said: File, keys: Container[str]) -> Iterator[Resource]:
    """What a file declares; of keys, those `keys` (selectors) that are there."""
    for kind, entries in ((filters.ALLOW, said.allow), (filters.BLOCK, said.block)):
        yield from (filters.entry(kind, sender, **entry.model_dump()) for sender, entry in entries.items())
    if said.alias_domains:
        yield filters.alias_domains(said.alias_domains)
    if said.limits:
        yield filters.limits(said.limits.message_size, said.limits.sending_rate)
    yield from (filters.key(selector) for selector in said.dkim if selector in keys)
    if said.signing:
        yield filters.signing(said.signing.selector, said.signing.senders)


def write(resources: Mapping[Id, Resource], keys: Mapping[str, str], source: str) -> bytes:
    """A file that says so; `keys` are the paths of the keys, by selector. Nothing for no resources."""
    said: dict[str, Any] = {}
    for id_, resource in sorted(resources.items()):
        fields = {name: _plain(value) for name, value in resource.fields.items() if value != ""}
        if id_.kind in filters.LISTS:
            said.setdefault(id_.kind.rpartition(".")[2], {})[id_.name] = fields
        elif id_.kind == filters.DKIM:
            said.setdefault("dkim", {})[filters.selector_of(id_)] = keys[filters.selector_of(id_)]
        elif id_ == filters.ALIASES:
            said[id_.name] = fields["names"]
        else:
            said[id_.name] = fields
    if not said:
        return b""
    parts = ",\n".join(f" {_json(name)}: {_lines(value)}" for name, value in said.items())
    return f"{HEADER.format(source=source)}\n{{\n{parts}\n}}\n".encode()


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else value


def _lines(value: Any) -> str:
    """JSON with each entry of a list of ours on a line."""
    if not isinstance(value, dict) or not all(isinstance(each, dict) for each in value.values()):
        return _json(value)
    return "{\n" + ",\n".join(f"  {_json(name)}: {_json(each)}" for name, each in value.items()) + "\n }"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def as_text(pem: bytes, path: str) -> str:
    """What DNS says of a key (RFC 6376), from its public half; that is empty where no program could read it."""
    public = "".join(line for line in pem.decode(errors="replace").splitlines() if not line.startswith("-----"))
    if RSA not in base64.b64decode(public):
        raise TargetError(f"{path} is not an RSA key in PEM")
    return f"v=DKIM1; k=rsa; p={public}"
