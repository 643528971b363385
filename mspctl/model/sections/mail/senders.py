"""
What `mail.yaml` says of those who write to a domain: whose mail is allowed, whose is refused.

A line of a list says why it is there, because in a year nobody knows. A name that is allowed says by what a message
shows that it comes from there: everybody can write any name, so without it the line would let forgers in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from mspctl.fields import Model, Name, Text, Until, typed
from mspctl.kinds import filter as filters
from mspctl.model.base import dotted, nearest
from mspctl.moments import Span
from mspctl.strict_yaml import Mark, Problems, find

if TYPE_CHECKING:
    from mspctl.model.customer import Customer
    from mspctl.model.sections.mail import Domain

Path = tuple[str | int, ...]
SENDERS = ["fornitore.example", "user@fornitore.example", "198.51.100.7", "198.51.100.0/24"]


def _sender(value: Any) -> str:
    return filters.fold_sender(typed(value))


Sender = Annotated[str, BeforeValidator(_sender), WithJsonSchema({"type": "string", "examples": SENDERS})]


class Blocked(Model):
    """A sender whose mail is refused."""

    sender: Sender = Field(alias="from")
    why: Text
    until: Until | None = None  # the last day on which it holds, or a time
    asked_by: Name | None = None  # a contact of the customer
    ticket: Text | None = None


class Allowed(Blocked):
    """A sender whose mail is not taken for spam."""

    must_pass: Literal["dkim", "spf"] | None = None  # by what a name is proved; an address proves itself

    @model_validator(mode="after")
    def _proved(self) -> Allowed:
        machine = filters.machines(self.sender) is not None
        if machine and self.must_pass:
            raise ValueError("must_pass is for names: an address is what the message came from (take it out)")
        if not machine and not self.must_pass:
            raise ValueError(
                f"anybody can write as {self.sender} (add must_pass: dkim or must_pass: spf, or name the address of "
                "its server)"
            )
        return self


def check(customer: Customer, lists: Mapping[Path, Sequence[Blocked]], problems: Problems) -> None:
    """Both lists of a domain, by their paths: each sender once, and none that the other list makes useless."""
    checker = _Checker(customer, problems)
    for path, entries in lists.items():
        for number, entry in enumerate(entries):
            checker.take(entry, (*path, number))
    checker.check_against_each_other()


class _Checker:
    def __init__(self, customer: Customer, problems: Problems) -> None:
        self.data = customer.data["mail"]
        self.info = customer.info
        self.problems = problems
        self.seen: dict[tuple[type[Blocked], str], Path] = {}

    def add(self, path: Path, text: str) -> None:
        self.problems.add(find(self.data, path), dotted(path), text)

    def place(self, path: Path) -> str:
        mark: Mark | None = find(self.data, path)
        return f"{mark.file}:{mark.line}" if mark else dotted(path)

    def take(self, entry: Blocked, path: Path) -> None:
        first = self.seen.setdefault((type(entry), entry.sender), path)
        if first is not path:
            self.add((*path, "from"), f"{entry.sender} is in this list already, at {self.place(first)}")
        try:
            Span(self.info.timezone, None, entry.until)
        except ValueError as error:
            self.add((*path, "until"), str(error))
        if entry.asked_by:
            self._contact(entry.asked_by, (*path, "asked_by"))

    def _contact(self, name: str, path: Path) -> None:
        contacts = {contact.id: contact for contact in self.info.contacts}
        if name not in contacts:
            self.add(path, f"{name} is no contact in customer.yaml{nearest(name, contacts)}")
        elif "mail" not in contacts[name].may_authorize:
            self.add(path, f"{name} may not ask for changes of mail (customer.yaml: may_authorize)")

    def check_against_each_other(self) -> None:
        """Who is blocked is blocked, so an entry that allows the same, or a part of it, would do nothing."""
        blocked = {sender: path for (kind, sender), path in self.seen.items() if kind is Blocked}
        allowed = {sender: path for (kind, sender), path in self.seen.items() if kind is Allowed}
        for sender, path in allowed.items() if blocked else ():
            wider = next((other for other in filters.covering(sender) if other in blocked), None)
            if wider is not None:
                what = "it" if wider == sender else f"{wider}, and with it this,"
                place = self.place(blocked[wider])
                self.add((*path, "from"), f"{what} is blocked at {place}, and a block wins (remove one of them)")


def needs(own: Domain) -> Iterator[Path]:
    """What a domain says that only a mail filter can do, by path."""
    limits, publish = own.limits, own.publish
    said: dict[Path, object] = {
        ("allow",): own.allow,
        ("block",): own.block,
        ("limits", "message_size"): limits and limits.message_size,
        ("limits", "sending_rate"): limits and limits.sending_rate,
        ("publish", "old_selectors"): publish and publish.old_selectors,
    }
    return (path for path, value in said.items() if value)
