"""`dns` in `inventory/checks.yaml`: where the DNS is asked, for how long, and from when on something is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema, model_validator

from mspctl.fields import Boolean, Ips, Model, Port, duration, ip, one_or_many, port, typed
from mspctl.kinds import shown

DAY = 86_400


def _with_port(value: Any) -> tuple[str, int]:
    """`192.0.2.53`, `192.0.2.53:5353`, `2001:db8::53`, `[2001:db8::53]:5353`."""
    text = typed(value)
    host, number = text, ""
    if text.startswith("["):
        host, _, number = text[1:].partition("]:")
    elif text.count(":") == 1:
        host, _, number = text.partition(":")
    return ip(host), port(number) if host != text else 53


def _number(lowest: int, highest: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        text = typed(value)
        if not (text.isascii() and text.isdigit() and len(text) < 9 and lowest <= int(text) <= highest):
            raise ValueError(f"{shown(text)} is not a number from {lowest} to {highest}")
        return int(text)

    return read


def _seconds(lowest: int, highest: int) -> tuple[BeforeValidator, WithJsonSchema]:
    def read(value: Any) -> int:
        seconds = duration(value)
        if not lowest <= seconds <= highest:
            raise ValueError(f"{shown(value)} is not between {lowest} and {highest} seconds")
        return seconds

    return BeforeValidator(read), WithJsonSchema({"type": ["integer", "string"], "examples": ["5s", "1m", 30]})


_TEXT = {"type": "string", "examples": ["192.0.2.53", "192.0.2.53:5353", "[2001:db8::53]:5353"]}
IpAndPort = Annotated[tuple[str, int], BeforeValidator(_with_port), WithJsonSchema(_TEXT)]
AtOnce = Annotated[int, BeforeValidator(_number(1, 64)), WithJsonSchema({"type": "integer"})]


class Checks(Model):
    resolvers: Annotated[tuple[IpAndPort, ...], BeforeValidator(one_or_many)] = ()  # by default those of this machine
    roots: Ips = ()  # walk down from these, and ask no resolver
    port: Port = 53  # of all name servers that are no resolvers
    inside: Boolean = False  # name servers may have addresses that the Internet does not know
    timeout: Annotated[int, *_seconds(1, 60)] = 3  # for one question
    zone_timeout: Annotated[int, *_seconds(1, 3600)] = 60  # for all questions about one zone
    settle: Annotated[int, *_seconds(0, 600)] = 5  # until name servers with different serials are asked again
    at_once: AtOnce = 16  # zones that are looked at side by side
    signatures: Annotated[int, *_seconds(0, 90 * DAY)] = DAY  # DNSSEC signatures that end within this are told
    registration: Annotated[int, *_seconds(0, 1000 * DAY)] = 30 * DAY  # registrations that end within this are told

    @model_validator(mode="after")
    def _one_way(self) -> Checks:
        if self.resolvers and self.roots:
            raise ValueError("has resolvers and roots (leave one)")
        return self
