"""
The same zones as octoDNS keeps them, and what it says of its own work.

Of a folder of zones everything is taken as it is, except records that only Route 53 can hold (`Route53Provider/ALIAS`)
and files that are no zones; both stay out of mspctl's import, too. Started as a program of its own by run.py, because
reading YAML takes memory.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FOREIGN = "Route53Provider/ALIAS"
HAS_ZONE_FILES = find_spec("octodns_bind") is not None

# As the source's own configuration says it: lenient, names in order.
CONFIG = """\
providers:
  config:
    class: octodns.provider.yaml.YamlProvider
    directory: {folder}/config
    default_ttl: 3600
    enforce_order: true
  yaml:
    class: octodns.provider.yaml.YamlProvider
    directory: {folder}/target
    default_ttl: 3600
    enforce_order: true
{more}zones:
  '*':
    lenient: true
    sources: [config]
    targets: [{target}]
"""
ZONE_FILES = "  zonefiles: {{class: octodns_bind.ZoneFileProvider, directory: {folder}/zonefiles}}\n"

_FOUND = re.compile(r"Provider\[(\w+)\] populate:   found (\d+) records")
_CREATES = re.compile(r"Summary: Creates=(\d+), Updates=0, Deletes=0")


def write_configs(folder: Path) -> None:
    """One configuration for each target octoDNS can plan for here."""
    (folder / "target").mkdir(parents=True)
    for target in ("yaml", "zonefiles"):
        more = ZONE_FILES.format(folder=folder) if target == "zonefiles" else ""
        (folder / f"{target}.yaml").write_text(CONFIG.format(folder=folder, target=target, more=more))


def worked(said: str, provider: str) -> tuple[int, int]:
    """Zones and records that a provider found, by octoDNS's own log."""
    found = [int(count) for name, count in _FOUND.findall(said) if name == provider]
    return len(found), sum(found)


def created(said: str) -> int:
    return sum(map(int, _CREATES.findall(said)))


# -- zones without what only their provider can hold ----------------------------------------------------------


def copy_zones(source: Path, folder: Path) -> None:
    import yaml

    folder.mkdir(parents=True)
    for path in sorted(source.glob("*.yaml")):
        text = path.read_text()
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
        entries = root.value if isinstance(root, yaml.MappingNode) else []
        if all("type" in _types(item) for _, value in entries for item in _items(value)):
            dropped = {number for span in _foreign(entries) for number in span}
            lines = text.splitlines(keepends=True)
            (folder / path.name).write_text("".join(line for i, line in enumerate(lines) if i not in dropped))


def _foreign(entries: list[Any]) -> Iterator[range]:
    """The lines of records that cannot come along, and of names that have no other."""
    for key, value in entries:
        items = _items(value)
        foreign = [item for item in items if _types(item)["type"] == FOREIGN]
        nodes = [key, value] if len(foreign) == len(items) else foreign
        for node in nodes:
            yield range(node.start_mark.line, max(node.end_mark.line, node.start_mark.line + 1))


def _items(value: Any) -> list[Any]:
    return [*value.value] if value.id == "sequence" else [value]


def _types(item: Any) -> dict[str, str]:
    return {key.value: value.value for key, value in item.value} if item.id == "mapping" else {}


if __name__ == "__main__":
    copy_zones(Path(sys.argv[1]), Path(sys.argv[2]))
