"""Small repositories for tests: files as a table, with the two files that every one of them needs filled in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

TARGET = "files"  # the zonefile target that an estate has unless its own targets.yaml says otherwise
TARGETS = "targets:\n  files: {facets: {dns: {driver: zonefile, directory: zones}}}\n"
CUSTOMER = "name: Acme Ltd\n"


def estate(tmp_path: Path, files: Mapping[str, str | bytes] = MappingProxyType({})) -> Path:
    """
    A repository at `tmp_path` with `files`, path → text or bytes; returns `tmp_path`.

    Every customer that has a file gets a customer.yaml, and the inventory one `zonefile` target named `files`
    that writes to zones/, unless `files` brings its own.
    """
    folders = {path.split("/")[1] for path in files if path.startswith("customers/") and path.count("/") > 1}
    defaults = {f"customers/{name}/customer.yaml": CUSTOMER for name in folders}
    for folder in ("customers", "inventory", "zones"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for path, content in ({"inventory/targets.yaml": TARGETS} | defaults | dict(files)).items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path


def one_zone(tmp_path: Path, records: str | bytes, zone: str = "acme.example", suffix: str = ".yaml") -> Path:
    """A repository with one customer, `acme`, and one zone on the default target; `records` is the zone's file."""
    overview = f"zones:\n  {zone}: {{target: {TARGET}}}\n"
    files = {"customers/acme/dns.yaml": overview, f"customers/acme/dns/{zone}{suffix}": records}
    return estate(tmp_path, files)
