"""
Dovecot's own tool doveadm, through its HTTP API (2.3): many commands in one request, an answer to each.

What a command is refused with is only an exit code, as in sysexits.h; 67 means that Dovecot knows no such user.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mspctl.driver import Measured, Unmeasured
from mspctl.errors import TargetError
from mspctl.fields import Text
from mspctl.secrets import Secrets
from mspctl.transports import http
from mspctl.transports.http import Http

AT_ONCE = 500  # commands in one request, so that each ends in time
NO_USER = 67
ROLE = "doveadm"  # of the API's key


class Settings(http.Settings):
    """Where the API is; the key is the secret `doveadm` of the target."""

    address: Text  # https://mail-1.msp.example:8443


class Refused(TargetError):
    def __init__(self, code: int) -> None:
        super().__init__(
            "Dovecot knows no such user (its user_query must find disabled mailboxes too)"
            if code == NO_USER
            else f"doveadm ends with {code}"
        )
        self.code = code


Rows = list[dict[str, Any]]


class Doveadm:
    def __init__(self, settings: Settings, secrets: Secrets, root: Path) -> None:
        def headers() -> Mapping[str, str]:
            return {"Authorization": f"X-Dovecot-API {base64.b64encode(secrets[ROLE].reveal()).decode()}"}

        self.http = Http(settings.address, headers, settings, root)

    def run(self, command: str, each: Sequence[Mapping[str, object]]) -> list[Rows | Refused]:
        """A command with these parameters, one after the other: what each printed, or why it did not."""
        parts = (each[start : start + AT_ONCE] for start in range(0, len(each), AT_ONCE))
        return [answer for part in parts for answer in self._run(command, part)]

    def _run(self, command: str, each: Sequence[Mapping[str, object]]) -> list[Rows | Refused]:
        asked = [[command, parameters, str(number)] for number, parameters in enumerate(each)]
        answers = self.http.call("POST", "/doveadm/v1", asked)
        try:
            found = {int(tag): _answer(kind, said) for kind, said, tag in answers}
            return [found[number] for number in range(len(each))]
        except (TypeError, ValueError, KeyError, AttributeError):
            raise TargetError(f"{self.http.name} answers otherwise than doveadm does") from None


def _answer(kind: str, said: Any) -> Rows | Refused:
    if kind == "error":
        return Refused(int(said.get("exitCode", -1)))
    if kind != "doveadmResponse" or not all(isinstance(row, dict) for row in said):
        raise ValueError(kind)
    rows: Rows = said
    return rows


def octets(dovecot: Doveadm, addresses: Sequence[str]) -> dict[str, Measured]:
    """What mailboxes hold, as Dovecot counts it for their quota (in whole KiB)."""
    asked = dovecot.run("quotaGet", [{"user": address} for address in addresses])
    return {address: _octets(said) for address, said in zip(addresses, asked, strict=True)}


def _octets(said: Rows | Refused) -> Measured:
    if isinstance(said, Refused):
        return Unmeasured(str(said))
    used = [str(row.get("value")) for row in said if row.get("type") == "STORAGE"]
    return int(used[0]) * 1024 if used and used[0].isdecimal() else Unmeasured("Dovecot has no quota for it")


def newest(dovecot: Doveadm, addresses: Sequence[str]) -> dict[str, Measured]:
    """When the newest message of each mailbox was put there, in whichever folder."""
    field = "date.saved.unixtime"
    asked = dovecot.run("fetch", [{"user": each, "field": [field], "query": ["all"]} for each in addresses])
    return {address: _newest(said, field) for address, said in zip(addresses, asked, strict=True)}


def _newest(said: Rows | Refused, field: str) -> Measured:
    if isinstance(said, Refused):
        return Unmeasured(str(said))
    times = [str(row.get(field)) for row in said]
    if not all(time.isdecimal() for time in times):
        return Unmeasured("Dovecot does not say when its messages came")
    return datetime.fromtimestamp(max(map(int, times)), UTC) if times else None
