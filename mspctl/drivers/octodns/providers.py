"""Which providers there are: a table of their classes, with what YAML may set and which secrets each needs."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from mspctl.errors import TargetError
from mspctl.fields import boolean, one_line
from mspctl.kinds import dns, shown


@dataclass(frozen=True, slots=True)
class Provider:
    """
    A provider class, of the package `octodns-<name>`.

    `options` are what YAML may set and `secrets` what it may name, both as octoDNS calls them. `name!` must be there,
    `name:int` is no text. `host`: the target's address is its argument of that name.
    """

    cls: str
    options: str = ""
    secrets: str = ""
    host: bool = False
    min_ttl: int = 0  # seconds; less is rounded up in silence, so we say it first


PROVIDERS = {
    "azure": Provider("AzureProvider", "sub_id! resource_group! directory_id! client_id!", "key!"),
    "bind": Provider("Rfc2136Provider", "port:int key_name key_algorithm update_batch_size:int", "key_secret", True),
    "cloudflare": Provider("CloudflareProvider", "account_id email min_ttl:int pagerules:bool", "token!", min_ttl=120),
    "constellix": Provider("ConstellixProvider", "", "api_key! secret_key!"),
    "digitalocean": Provider("DigitalOceanProvider", "", "token!"),
    "dnsimple": Provider("DnsimpleProvider", "account! sandbox:bool", "token!"),
    "dnsmadeeasy": Provider("DnsMadeEasyProvider", "sandbox:bool", "api_key! secret_key!"),
    "easydns": Provider("EasyDnsProvider", "currency portfolio sandbox:bool", "token! api_key!"),
    "edgecenter": Provider("EdgeCenterProvider", "", "token!"),
    "edgedns": Provider("AkamaiProvider", "contract_id gid", "client_secret! access_token! client_token!", True),
    "gandi": Provider("GandiProvider", "", "token!"),
    "gcore": Provider("GCoreProvider", "", "token!"),
    "googlecloud": Provider("GoogleCloudProvider", "project private:bool", "credentials_file"),
    "hetzner": Provider("HetznerProvider", "backend", "token!"),
    "mythicbeasts": Provider("MythicBeastsProvider", "", "api_key! api_secret!"),
    "ns1": Provider("Ns1Provider", "", "api_key!"),
    "ovh": Provider("OvhProvider", "endpoint!", "application_key! application_secret! consumer_key!"),
    "powerdns": Provider("PowerDnsProvider", "port:int scheme server_id mode_of_operation", "api_key!", True),
    "route53": Provider(
        "Route53Provider",
        "role_arn delegation_set_id private:bool vpc_id vpc_region",
        "access_key_id secret_access_key session_token",
    ),
    "selectel": Provider("SelectelProvider", "", "token!", min_ttl=60),
    "ultra": Provider("UltraProvider", "account! username!", "password!"),
}
AS_FILE = "credentials_file"  # the one secret that its provider takes as the path of a file


@cache
def spec(text: str) -> dict[str, tuple[str, bool]]:
    """`name:int!` → name → (type, whether it must be there)."""
    parts = [(*word.rstrip("!").partition(":")[::2], word.endswith("!")) for word in text.split()]
    return {name: (kind, needed) for name, kind, needed in parts}


@cache
def provider_class(name: str) -> Any:
    """A provider's class. Raises TargetError when a package is missing."""
    for package, installed_by in ("octodns.record", "'mspctl[octodns]'"), (f"octodns_{name}", f"octodns-{name}"):
        try:
            module = import_module(package)
        except ImportError as error:
            raise TargetError(f"{dns.first_line(error)} (pip install {installed_by})") from None
    record = sys.modules["octodns.record"].Record
    if not record.validators.configured:
        record.enable_validators({"legacy"})  # as octoDNS's own manager does, unless it is told otherwise
    return getattr(module, PROVIDERS[name].cls)


def provider_name(value: Any) -> str:
    name = one_line(value)
    if name not in PROVIDERS:
        raise ValueError(f"there is no provider {shown(name)} (there are: {', '.join(PROVIDERS)})")
    return name


def checked(provider: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a provider, each in its type. Raises ValueError."""
    known = spec(PROVIDERS[provider].options)
    if unknown := given.keys() - known.keys():
        raise ValueError(f"{provider} has no option {shown(min(unknown))} (it has: {', '.join(known) or 'none'})")
    if missing := [name for name, (_, needed) in known.items() if needed and name not in given]:
        raise ValueError(f"{provider} needs {', '.join(missing)}")
    return {name: _option(name, known[name][0], value) for name, value in given.items()}


def _option(name: str, kind: str, value: Any) -> Any:
    try:
        return _TYPES[kind](value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _number(value: Any) -> int:
    text = one_line(value)
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise ValueError(f"{shown(text)} is not a whole number")
    return int(text)


def few(value: Any) -> int:
    if not 1 <= (number := _number(value)) <= 16:
        raise ValueError(f"{number} is not from 1 to 16")
    return number


_TYPES: Mapping[str, Callable[[Any], Any]] = {"": one_line, "int": _number, "bool": boolean}
