"""`mspctl schema`: JSON Schemas, with which editors complete and check the files while somebody types."""

from __future__ import annotations

from pathlib import Path

import click

from mspctl.cli import console
from mspctl.exits import Exit

HELP = """Write JSON Schemas for editors.

Prints all schemas as one document, or the schema NAME. With --write each becomes a file, NAME.schema.json; editors find
it by the first line of a YAML file:

\b
    # yaml-language-server: $schema=../../.schemas/customer.schema.json"""


@click.command("schema", help=HELP)
@click.argument("name", required=False)
@click.option(
    "--write",
    "folder",
    is_flag=False,
    flag_value="",
    metavar="[DIR]",
    help="Write files; to .schemas/ of the repository unless DIR says otherwise.",
)
@click.pass_obj
def command(directory: str | None, name: str | None, folder: str | None) -> Exit:
    from mspctl import schema

    found = schema.named(schema.schemas(), [name] if name else [])
    if folder is None:
        console.say(schema.dump(found[name] if name else {"format": "mspctl.schemas/1", "schemas": found}), end="")
        return Exit.DONE
    place = Path(folder) if folder else _default(directory)
    written = schema.write(place, found)
    console.say(f"{len(found)} schemas in {place}, {len(written)} of them new or changed")
    return Exit.DONE


def _default(directory: str | None) -> Path:
    from mspctl.cli.workspace import find_root
    from mspctl.schema import FOLDER

    return find_root(directory) / FOLDER
