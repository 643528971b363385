"""What tests of all mailbox drivers have in common: three domains, a mailbox, passwords, and a rig that opens once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mspctl.driver import Access
from mspctl.kinds import mail
from mspctl.resource import Id, Resource, Value
from mspctl.secrets import Secret
from tests.drivers.contract import Rig

NAMES = ("acme.example", "beta.example", "xn--perch-fsa.example")


class Given:
    """Passwords that are known to a test, and that every server takes."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []

    def of(self, customer: str, wanted: Sequence[tuple[str, str]]) -> list[Secret]:
        self.asked += [(customer, address, said) for address, said in wanted]
        return [Secret("X", f"A Word of {address}, {said}".encode()) for address, said in wanted]


def of_size(quota: int) -> Callable[..., Resource]:
    """Makes a mailbox; the quota is one that the server keeps as it is."""

    def mailbox(local: str = "paolo", /, **fields: Any) -> Resource:
        usual: dict[str, Value] = {
            "name": "Paolo Zen",
            "quota": quota,
            "enabled": True,
            "receives": True,
            "keep_copy": True,
        }
        more: dict[str, Value] = {"forwards": frozenset({"x@partner.example"}), "password": "generated rev 1"}
        return Resource(Id(mail.MAILBOX, local), usual | more | fields, "customers/acme/mail.yaml:7")

    return mailbox


class MailRig(Rig):
    module: Any  # the driver's
    access: Access

    def __init__(self) -> None:
        self.passwords = Given()
        self._made: dict[str, Any] = {}

    def reader(self) -> Any:
        return self._opened("Reader")

    def driver(self) -> Any:
        return self._opened("Driver")

    def _opened(self, kind: str) -> Any:
        """One for a whole run, as everywhere; another once it is told other things."""
        made = self._made.get(kind)
        if made is None or made.access is not self.access:
            made = self._made[kind] = getattr(self.module, kind)(self.access)
        return made
