"""`inventory/assets/<customer>.yaml`: what `mspctl inventory collect` found on a customer's hosts, and around them."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from pydantic import BeforeValidator

from mspctl.fields import Day, Ip, Model, Name, Text, day, one_or_many

NEVER = date.min  # of a host that no run ever saw


def _seen(value: Any) -> date:
    return NEVER if value == "never" else day(value)


class Machine(Model):
    """One host. What is not known is not there; the order of keys is that of the file."""

    seen: Annotated[date | None, BeforeValidator(_seen)] = None  # when it answered last, if not the last time
    mac: Text | None = None  # of one that is known only from its network
    maker: Text | None = None
    model: Text | None = None
    serial: Text | None = None
    virtual: Text | None = None
    cpu: Text | None = None
    memory: Text | None = None
    disks: dict[Text, Text] = {}
    networks: dict[Text, Text] = {}
    os: Text | None = None
    kernel: Text | None = None
    listening: Annotated[tuple[Text, ...], BeforeValidator(one_or_many)] = ()
    packages: dict[Text, Text] = {}  # that somebody asked for, and those that are not allowed; with their versions


class Device(Model):
    """Who answered on a network of the customer, and is nobody's host."""

    mac: Text
    since: Day
    seen: Day | None = None  # when it answered last, if not the last time


class AssetsFile(Model):
    read: Day  # when hosts were asked last
    hosts: dict[Name, Machine] = {}
    devices: dict[Ip, Device] = {}
