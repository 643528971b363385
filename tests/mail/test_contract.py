"""
The contract once more, with the Dovecot that reads the tables: sessions end, and mailboxes are shared.

It asks Dovecot a thousand times, so it is part of `make soak`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from mspctl.driver import Access
from mspctl.drivers import postfixadmin
from mspctl.drivers.postfixadmin.dovecot import RIGHTS
from mspctl.kinds import mail
from mspctl.resource import UNKNOWN, Id, Resource, Scope, Value
from mspctl.secrets import Secrets
from tests.drivers import test_postfixadmin as plain
from tests.drivers.contract import DriverContract, Rig, Sample
from tests.servers.mail_stack import MailStack, Refused, wait

ANNA, BEA = "anna@acme.example", "bea@beta.example"


def shared(resource: Resource) -> Resource:
    return replace(resource, fields={"shared_with": frozenset({ANNA}), **resource.fields})


def mailbox(local: str = "paolo", /, **fields: Any) -> Resource:
    return shared(plain.mailbox(local, **fields))


class DovecotRig(plain.SqliteRig):
    def __init__(self, server: MailStack) -> None:
        super().__init__(server.database)
        self.server = server
        self.there = self.told(server.ports.doveadm)
        self.access = self.there

    def told(self, port: int, file: str = "") -> Access:
        where = {"address": f"http://127.0.0.1:{port}", "shares": "shared/"}
        said = {"database": "sqlite", "file": file or self.file.name, "scheme": "SHA512-CRYPT", "doveadm": where}
        secrets = Secrets.given({"doveadm_key": self.server.doveadm_key.encode()})
        settings = postfixadmin.Settings.model_validate(said)
        return replace(self.access, settings=settings, secrets=secrets)

    def by_hand(self, scope: Scope, id_: Id, resource: Resource | None) -> None:
        super().by_hand(scope, id_, resource)
        if resource is None or id_.kind != mail.MAILBOX:
            return
        address = mail.address_of(id_.name, scope.name)
        self.run("UPDATE mailbox SET maildir = ? WHERE username = ? AND maildir = 'm/'", f"{address}/", address)
        if resource.fields["enabled"]:
            where = {"user": address, "mailbox": "INBOX"}
            for row in self.server.doveadm("aclGet", **where):
                self.server.doveadm("aclDelete", **where, id=row["id"])
            for person in mail.addresses(resource.fields["shared_with"]):
                self.server.doveadm("aclSet", **where, id=f"user={person}", right=sorted(RIGHTS))

    @contextmanager
    def breaking(self, scope: Scope, after: int) -> Iterator[None]:
        try:
            with super().breaking(scope, after):
                wait(self.knows_its_tables)
                yield
        finally:
            wait(self.knows_its_tables)

    def knows_its_tables(self) -> bool:
        """Dovecot fails once when SQLite's tables, or triggers, have become others."""
        with suppress(Refused):
            self.server.doveadm("aclGet", user="*", mailbox="INBOX")
            return True
        return False

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """mspctl looks where nothing is. The file stays: the mail server would make an empty one in its place."""
        self.access = self.told(self.server.ports.dns, "away.db")
        yield
        self.access = self.there


@pytest.mark.soak
class TestWithDovecot(DriverContract):
    removes_scopes = True
    samples = (
        Sample(
            mailbox(),
            [
                # Neither first nor last: those are tried where all is away, or gone, and here Dovecot is asked first.
                shared(plain.TestPostfixadmin.samples[0].variants[0]),
                mailbox(shared_with=frozenset({ANNA, BEA})),
                mailbox(shared_with=frozenset()),
                *(shared(each) for each in plain.TestPostfixadmin.samples[0].variants[1:]),
            ],
        ),
        *plain.TestPostfixadmin.samples[1:3],
    )
    impossible = ((mailbox(reply="I have left"), "automatic replies need the setting vacation_domain"),)
    many = tuple(
        mail.alias(f"a{number}", ["x@partner.example"])
        if number % 2
        else mailbox(f"m{number}", shared_with=frozenset())
        for number in range(300)
    )
    write_only = frozenset({"password"})
    renamed = (mailbox("paolo.zen"),)
    measures = plain.TestPostfixadmin.measures

    @pytest.fixture
    def rig(self, mail_stack: MailStack) -> DovecotRig:
        mail_stack.clear()
        return DovecotRig(mail_stack)

    def test_accept_takes_the_samples_and_asks_nobody(self, rig: Rig) -> None:
        """But who uses a mailbox that is switched off: nobody can, so nothing is said of it."""
        off = mailbox(enabled=False)
        taken = rig.reader().accept(off)
        assert {**taken.fields, "shared_with": off.fields["shared_with"]} == off.fields
        assert "shared_with" not in taken.fields

    def readable(self, resources: Iterable[Resource]) -> dict[Id, dict[str, Value]]:
        """Nobody can use what is switched off, so Dovecot does not say who could."""
        found = super().readable(resources)
        for fields in found.values():
            if fields.get("enabled") is False and "shared_with" in fields:
                fields["shared_with"] = UNKNOWN
        return found
