"""What Dovecot has to be told after a change, and whom it lets use a mailbox. On a running one: tests/mail."""

from __future__ import annotations

from typing import Any

import pytest

from mspctl.drivers.postfixadmin.dovecot import RIGHTS, Follows, acls, follows, may_use
from mspctl.kinds import mail
from mspctl.resource import Change, Id, Resource, Value
from tests.drivers.test_postfixadmin import mailbox

PAOLO, LUCA, DOMAIN = "paolo@acme.example", "luca@acme.example", "acme.example"
BOX = Id(mail.MAILBOX, "paolo")


def limits(**fields: Value) -> Resource:
    return Resource(mail.DOMAIN_ID, mail.USUAL | fields)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (None, mailbox(), Follows(forget={PAOLO})),
        (None, mailbox(shared_with=frozenset()), Follows(forget={PAOLO})),
        (
            None,
            mailbox(shared_with=frozenset({LUCA})),
            Follows(forget={PAOLO}, shares={PAOLO: (BOX, frozenset({LUCA}))}),
        ),
        (mailbox(), mailbox(quota=1), Follows(forget={PAOLO})),
        (mailbox(), mailbox(password="generated rev 2"), Follows(forget={PAOLO}, end={PAOLO})),
        (mailbox(), mailbox(enabled=False), Follows(forget={PAOLO}, end={PAOLO})),
        (mailbox(enabled=False), mailbox(), Follows(forget={PAOLO})),
        (mailbox(), None, Follows(forget={PAOLO}, end={PAOLO})),
        (
            mailbox("luca"),
            mailbox(),
            Follows(forget={PAOLO, LUCA}, end={LUCA}, moved={PAOLO}),
        ),
        (
            mailbox(shared_with=frozenset({LUCA})),
            mailbox(shared_with=frozenset()),
            Follows(shares={PAOLO: (BOX, frozenset())}),
        ),
        (mail.alias("tutti", [PAOLO]), None, Follows()),
        (mail.alias_domain("acme.it"), None, Follows()),
        (limits(), limits(enabled=False), Follows(forget_all=True, end={"@acme.example"})),
        (limits(enabled=False), limits(), Follows(forget_all=True)),
        (limits(), limits(mailboxes=3), Follows()),
    ],
)
def test_what_follows_from_a_change(before: Resource | None, after: Resource | None, told: Follows) -> None:
    assert follows([Change(before, after)], DOMAIN) == told


def row(id_: str, rights: str = " ".join(RIGHTS), **more: str) -> dict[str, Any]:
    return {"id": id_, "rights": rights, "global": "", **more}


def test_who_may_use_a_mailbox() -> None:
    rows = [
        row(f"user={LUCA.upper()}"),
        row(f"user={PAOLO}"),  # its owner
        row("owner"),
        row("user=boss@beta.example", "admin " + " ".join(RIGHTS)),
        row("user=anna@acme.example", "read lookup"),
        row("anyone"),
        row("group=staff", "lookup"),
        row("-user=bea@acme.example"),
        row("user=carl@acme.example", ""),
        row("user=dora@acme.example", **{"global": "yes"}),  # the server's own settings say so
    ]
    assert may_use(rows, PAOLO) == {
        LUCA: f"user={LUCA.upper()}",
        "boss@beta.example": "user=boss@beta.example",
        "anna@acme.example (lookup read)": "user=anna@acme.example",
        f"anyone ({' '.join(sorted(RIGHTS))})": "anyone",
        "group=staff (lookup)": "group=staff",
    }


def test_rights_are_set_taken_and_made_whole() -> None:
    live = {
        "anna@acme.example (lookup read)": "user=anna@acme.example",
        LUCA: f"user={LUCA}",
        "anyone (read)": "anyone",
    }
    wanted = frozenset({"anna@acme.example", "bea@acme.example"})
    found = [(name, said["mailbox"], said["id"]) for name, said in acls(wanted, live, PAOLO, ["Sent", "INBOX"])]
    for folder in ("Sent", "INBOX"):
        assert [(name, id_) for name, where, id_ in found if where == folder] == [
            ("aclDelete", "anyone"),
            ("aclDelete", f"user={LUCA}"),
            ("aclSet", "user=anna@acme.example"),
            ("aclSet", "user=bea@acme.example"),
        ]
    assert list(acls(frozenset({LUCA}), {LUCA: f"user={LUCA}"}, PAOLO, ["INBOX"])) == []
