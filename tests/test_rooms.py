"""The rooms of the house stay tidy: nothing is a driver or a command by half."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import click
import pytest
from pydantic import BaseModel

from mspctl import cli, drivers
from mspctl.cli.members import members
from mspctl.driver import Releases
from tests.drivers.contract import DriverContract

FILES = [module.name for module in pkgutil.iter_modules(drivers.__path__)]
# What reads logs holds no resources; it is told apart by what it is.
GROUPS = ("gitlab", "mail", "firewall", "inventory", "restore")
LOGS = [name for name in FILES if drivers.reads_logs(name)]
OF_RESOURCES = [name for name in FILES if name not in LOGS]


@pytest.mark.parametrize("name", OF_RESOURCES)
def test_every_driver_is_held_to_the_contract(name: str) -> None:
    tests = import_module(f"tests.drivers.test_{name}")
    classes = [thing for key, thing in vars(tests).items() if key.startswith("Test") and isinstance(thing, type)]
    assert any(issubclass(each, DriverContract) for each in classes)


@pytest.mark.parametrize("name", FILES)
def test_every_driver_has_settings_a_reader_and_a_driver(name: str) -> None:
    module = drivers.module(name)
    assert issubclass(module.Settings, BaseModel)
    assert module.Settings.model_config["extra"] == "forbid"
    assert issubclass(module.Driver, module.Reader)


@pytest.mark.parametrize("name", OF_RESOURCES)
def test_only_drivers_can_apply(name: str) -> None:
    assert hasattr(drivers.module(name).Driver, "apply")
    assert not hasattr(drivers.module(name).Reader, "apply")


@pytest.mark.parametrize("name", LOGS)
def test_what_reads_logs_can_write_nothing_and_its_driver_releases_only(name: str) -> None:
    module = drivers.module(name)
    assert issubclass(module.Driver, Releases)
    assert not issubclass(module.Reader, Releases)
    assert not hasattr(module.Driver, "apply")
    tests = import_module(f"tests.drivers.test_{name}")
    assert any(key.startswith("test_") for key in vars(tests))


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_a_module(name: str) -> None:
    command = import_module(f"mspctl.cli.{name.replace('-', '_')}_").command
    assert isinstance(command, click.Command)
    assert command.name == name


@pytest.mark.parametrize("name", GROUPS)
def test_every_command_of_a_group_has_a_module(name: str) -> None:
    group = import_module(f"mspctl.cli.{name}_").command
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        assert command.name == name


def test_every_module_of_a_command_is_listed() -> None:
    modules = {module.name for module in pkgutil.iter_modules(cli.__path__) if module.name.endswith("_")}
    names = [
        *cli.COMMANDS,
        *(f"{group}_{name}" for group in GROUPS for name in members(group)),
    ]
    assert modules == {f"{name.replace('-', '_')}_" for name in names}
