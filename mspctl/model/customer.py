"""`customers/<name>/customer.yaml`: who the customer is, and how far we may go for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, model_validator

from mspctl.fields import Day, Email, Labels, Mode, Model, Name, Names, Network, Text, Timezone, Window
from mspctl.model.permissions import NONE, Permissions
from mspctl.strict_yaml import Map


class Contract(Model):
    """What was agreed; the plan is one of inventory/contracts.yaml."""

    plan: Name
    start: Day | None = Field(None, alias="from")
    end: Day | None = Field(None, alias="to")

    @model_validator(mode="after")
    def _in_order(self) -> Contract:
        if self.start and self.end and self.end < self.start:
            raise ValueError(f"ends ({self.end}) before it starts ({self.start})")
        return self


class Contact(Model):
    id: Name
    name: Text
    email: Email | None = None
    phone: Text | None = None
    may_authorize: Names = ()  # sections for which this person can ask for changes


class CustomerInfo(Model):
    name: Text
    contract: Contract | None = None
    baseline: Name | None = None  # a file of inventory/baselines/
    language: Literal["en", "it"] = "en"
    timezone: Timezone = "UTC"  # in which dates, times and windows of this customer are meant
    window: Window | None = None  # changes for this customer are carried out only inside it
    sites: dict[Name, Network] = {}
    contacts: tuple[Contact, ...] = ()
    mode: Mode = "enforce"
    engine: Literal["mspctl", "pulumi"] = "mspctl"
    runner: Labels = ()  # of the runner whose jobs reach this customer's targets; () is the usual one


@dataclass(frozen=True, slots=True)
class Customer:
    """Everything one customer's folder says."""

    name: str  # of the folder
    info: CustomerInfo
    sections: Mapping[str, Model]
    data: Mapping[str, Map]  # each section's YAML with its baseline below it, to say where a value comes from
    files: Mapping[str, Any]  # what a section's `read` found beside its YAML file
    permissions: Permissions = NONE
