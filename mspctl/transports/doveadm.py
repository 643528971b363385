"""
Commands of a Dovecot, through the HTTP API of its doveadm (2.3 and later; tried with 2.3.19).

Many commands are one request, and each is answered for itself. Of one that failed, it says a number of sysexits.h and
no more; the reason stands in Dovecot's own log. Whatever is asked here may be asked twice.

    Unreachable   no answer
    http.Refused  a wrong key, or anything else that is no success
    TargetError   an answer that makes no sense
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from mspctl.errors import TargetError
from mspctl.fields import PLACE, Text
from mspctl.secrets import Secret
from mspctl.transports import http
from mspctl.transports.http import Http, as_line

ROLE = "doveadm_key"  # of the secret; Dovecot calls it doveadm_api_key
MANY = 1000  # commands in one request
NO_USER, NO_SESSION = 67, 68

Command = tuple[str, Mapping[str, object]]
Row = Mapping[str, Any]


class Settings(http.Settings):
    """Where the API is, in the settings of a driver that needs it."""

    address: Annotated[Text, PLACE]  # what stands before /doveadm/v1


@dataclass(frozen=True, slots=True)
class No:
    """What Dovecot answers to a command that it did not carry out."""

    code: int  # as in sysexits.h; 0: it has no such command

    def __str__(self) -> str:
        said = {0: "has no such command (a plugin that is not loaded?)", NO_USER: "has no such user"}
        return said.get(self.code, f"refuses ({self.code}; the reason is in its log)")


class Doveadm:
    """One Dovecot. Nothing is asked, and no secret looked up, before the first command."""

    def __init__(self, settings: Settings, key: Callable[[], Secret], root: Path) -> None:
        """`root`: where a relative ca_file starts. Raises TargetError for an address that cannot be used."""
        self._http = Http(settings.address, lambda: _headers(key()), settings, root, frozenset({"POST"}))
        self.name = f"doveadm at {self._http.name}"

    def ask(self, commands: Sequence[Command]) -> list[Sequence[Row] | No]:
        """An answer to each command, in their order: rows, or No."""
        found: list[Sequence[Row] | No] = []
        for start in range(0, len(commands), MANY):
            found += self._asked(commands[start : start + MANY])
        return found

    def _asked(self, commands: Sequence[Command]) -> Iterator[Sequence[Row] | No]:
        numbered = [[name, said, str(number)] for number, (name, said) in enumerate(commands)]
        answer = self._http.call("POST", "/doveadm/v1", numbered)
        try:
            by_number = {number: (kind, *said) for kind, *said, number in answer}
            for number in range(len(commands)):
                yield _read(*by_number[str(number)])
        except (AttributeError, KeyError, TypeError, ValueError):
            raise TargetError(f"{self.name} answers otherwise than doveadm: {as_line(str(answer).encode())}") from None


def _headers(key: Secret) -> dict[str, str]:
    return {"Authorization": f"X-Dovecot-API {base64.b64encode(key.reveal()).decode()}"}


def _read(kind: str, said: Any, *beside: Any) -> Sequence[Row] | No:
    """An answer; `beside` are rows after the first that `who` does not put into its list (2.3.19)."""
    if kind == "error":
        return No(0 if said.get("type") == "unknownMethod" else int(said["exitCode"]))
    rows: Sequence[Row] = [*said, *beside]
    if kind != "doveadmResponse" or not all(isinstance(row, dict) for row in rows):
        raise ValueError
    return rows
