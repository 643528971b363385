"""`mspctl inventory ansible`: hosts, for plain Ansible and ssh."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mspctl.cli import console, options
from mspctl.exits import Exit

if TYPE_CHECKING:
    from mspctl.kinds.hosts import Host


HELP = """Print an Ansible inventory of the hosts that have an address.

With --write it goes into a folder, together with the ssh_config and the known_hosts that pin each host's key: then
`ansible -i FOLDER/inventory.yaml all -m ping` reaches what mspctl reaches, in the same way."""


@click.command("ansible", help=HELP)
@options.customers
@click.option("--write", "folder", metavar="FOLDER", type=click.Path(path_type=Path), help="Write three files there.")
@click.option("--key", metavar="FILE", type=click.Path(path_type=Path), help="The private key to log in with.")
@click.pass_obj
def command(directory: str | None, customers: tuple[str, ...], folder: Path | None, key: Path | None) -> Exit:
    from mspctl.transports import ssh

    hosts = reached_hosts(directory, customers)
    if folder is None:
        console.say(ssh.inventory(hosts).rstrip("\n"))
        return Exit.DONE
    _write(folder.resolve(), hosts, key and key.resolve())
    console.say(f"{len(hosts)} hosts: ansible -i {folder / 'inventory.yaml'} all -m ping")
    return Exit.DONE


def reached_hosts(directory: str | None, customers: tuple[str, ...]) -> list[Host]:
    from mspctl.cli.workspace import find_root
    from mspctl.load import load
    from mspctl.model.sections.hosts import reached

    estate = load(find_root(directory), customers)
    return [host for customer in estate.customers.values() for host in reached(customer)]


def _write(folder: Path, hosts: list[Host], key: Path | None) -> None:
    from mspctl.errors import InputError
    from mspctl.transports import ssh

    for path in (folder, key or folder):
        if any(mark in str(path) for mark in '"\\\n%$'):
            raise InputError.at(str(path), "has a character that ssh takes for something else (choose another)")
    files = {
        "inventory.yaml": ssh.inventory(hosts, folder),
        "ssh_config": ssh.ssh_config(hosts, folder, key),
        "known_hosts": ssh.known_hosts(hosts),
    }
    for name in files:
        if (folder / name).is_file() and not (folder / name).read_bytes().startswith(ssh.HEADER.encode()):
            raise InputError.at(str(folder / name), "is not ours to overwrite (choose another folder)")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError.at(str(folder), f"cannot be written ({error.strerror})") from None
