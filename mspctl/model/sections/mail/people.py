"""What `mail.yaml` says of those who have mail: mailboxes, groups, and who left."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema, model_validator

from mspctl.fields import Boolean, Count, Model, Quota, Rate, Size, Text, Until, one_or_many, typed
from mspctl.kinds import mail
from mspctl.model.inventory import SecretName
from mspctl.strict_yaml import Map


def _local(value: Any) -> str:
    return mail.fold_local(typed(value))


def _recipient(value: Any) -> str:
    """A name of the domain at hand, or a whole address."""
    text = typed(value)
    return mail.fold_address(text) if "@" in text else mail.fold_local(text)


def _password(value: Any) -> Any:
    if value == mail.GENERATED:
        return Map()
    if not isinstance(value, Map):
        # What stands here may be a password, so it is not repeated.
        raise ValueError("names a password and never holds one (write generated, {rev: 2} or {secret: NAME, rev: 1})")
    return value


Local = Annotated[str, BeforeValidator(_local), WithJsonSchema({"type": ["string", "number", "boolean"]})]
Locals = Annotated[tuple[Local, ...], BeforeValidator(one_or_many)]
Recipient = Annotated[str, BeforeValidator(_recipient), WithJsonSchema({"type": ["string", "number", "boolean"]})]
Recipients = Annotated[tuple[Recipient, ...], BeforeValidator(one_or_many)]


class PasswordName(Model):
    """Which password a mailbox begins with; from then on it is its owner's."""

    secret: SecretName | None = None  # in customers/<name>/secrets.yaml; unless it is said, one is made
    rev: Count = 1  # a new number writes it anew


_NAMED = {
    "secret": {"type": "string", "description": "in customers/<name>/secrets.yaml; unless it is said, one is made"},
    "rev": {"type": "integer", "minimum": 1, "maximum": 9999, "description": "a new number writes it anew"},
}
_EITHER = [{"const": mail.GENERATED}, {"type": "object", "properties": _NAMED, "additionalProperties": False}]
Password = Annotated[PasswordName, BeforeValidator(_password), WithJsonSchema({"anyOf": _EITHER})]


class Mailbox(Model):
    name: Text | None = None  # its owner's, in full
    quota: Quota = 0
    password: Password | None = None  # without one, nobody can log in
    aliases: Locals = ()  # further names
    forwards: Recipients = ()  # who gets its mail as well
    keep_copy: Boolean = True  # false: only they get it
    shared_with: Locals = ()  # mailboxes whose owners may use this one too
    enabled: Boolean = True  # false: nobody logs in; mail is refused, or goes to forwards only
    was: Local | None = None  # its name before it was renamed

    @model_validator(mode="after")
    def _kept_somewhere(self) -> Mailbox:
        if not (self.keep_copy or self.forwards):
            raise ValueError("keep_copy is false and there are no forwards, so its mail would be lost")
        return self


class Leaver(Model):
    """Somebody who leaves: nobody logs in any more, mail goes to others for a while, the mailbox is kept for longer."""

    left: Until  # from when on; a day, or a time
    reply: Text | None = None  # what a sender is told
    copy_to: Recipients = ()  # who gets the mail
    aliases: Locals = ()  # further names; as long as somebody gets the mail
    until: Until | None = None  # how long replies and copies go on
    keep_until: Until | None = None  # how long the mailbox is kept


class Limits(Model):
    mailboxes: Count | None = None
    quota: Size | None = None  # of all mailboxes together
    message_size: Size | None = None  # of one message, to the domain or from its users
    sending_rate: Rate | None = None  # of the domain's users together; each recipient counts
