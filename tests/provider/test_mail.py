"""`mspctl:mail:Domain` over the provider's wire, in PostfixAdmin's tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.provider.wire import CUSTOMER, Json, Wire, approve, by_pulumi, plain, provider, refused

TOKEN = "mspctl:mail:Domain"
DOMAIN = "acme.example"
GIB = 1048 * 1_024_000  # nearly, and a size that the tables can hold
CLEAR = "correct-horse-battery"
VAULT = {
    "MSPCTL_SECRET_PAOLO_MAIL": CLEAR,
    "MSPCTL_VAULT_PASSWORD": "the password of all vaults",
}  # a password that was made waits in a file there


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with provider(tmp_path_factory.mktemp("nowhere"), configured=False, env=VAULT) as made:
        yield made


@pytest.fixture
def wire(process: Wire, repository: Path) -> Wire:
    by_pulumi(repository)
    process.configure(repository)
    return process


def domain(mailboxes: Json, **others: Json) -> Json:
    usual = {"quota": GIB, "enabled": True, "receives": True, "keep_copy": True, "forwards": []}
    made = {name: usual | fields for name, fields in mailboxes.items()}
    return {"customer": CUSTOMER, "target": "mail-1", "name": DOMAIN, "resources": {"mailbox": made, **others}}


def mailboxes() -> dict[str, int]:
    with closing(sqlite3.connect("scratch/mail.db")) as db:
        return dict(db.execute("SELECT username, quota FROM mailbox").fetchall())


def test_the_life_of_a_domain(wire: Wire, repository: Path) -> None:
    paolo, group = {"name": "Paolo Zen", "password": "generated rev 1"}, {"to": ["Paolo@acme.example"], "enabled": True}
    first = wire.checked(TOKEN, domain({"Paolo": paolo, "info": {}}, alias={"ordini": group}))
    assert set(first["resources"]["mailbox"]) == {"paolo", "info"}
    assert first["resources"]["alias"]["ordini"]["to"] == ["paolo@acme.example"]
    id_, state = wire.create(TOKEN, first)
    assert (id_, state["resources"]) == ("mail-1/acme.example", first["resources"])
    assert mailboxes() == {"paolo@acme.example": GIB, "info@acme.example": GIB}
    assert wire.details(TOKEN, state, first, first) == {}

    with closing(sqlite3.connect("scratch/mail.db")) as db, db:
        db.execute("UPDATE mailbox SET quota = ? WHERE username = 'info@acme.example'", (2 * GIB,))
    read = wire.read(TOKEN, id_, state, first)
    drifted = plain(read.properties)
    assert drifted["resources"]["mailbox"]["paolo"]["password"] == "generated rev 1"  # nobody can read it
    assert wire.details(TOKEN, drifted, first, first) == {"resources.mailbox.info.quota": "UPDATE"}
    state = wire.update(TOKEN, id_, drifted, first, first)
    assert mailboxes()["info@acme.example"] == GIB

    second = wire.checked(TOKEN, domain({"paolo": paolo}, alias={"ordini": group}))
    assert wire.details(TOKEN, state, second, first) == {"resources.mailbox.info": "DELETE"}
    wire.update(TOKEN, id_, state, second, first, preview=True)
    lost = "info: what it holds would be lost (approve mailboxes/acme.example/info"
    assert any(message.startswith(lost) for message in wire.engine.messages)
    with refused() as said:
        wire.update(TOKEN, id_, state, second, first)
    assert said[0].text.startswith(lost)
    approve(repository, f"mailboxes/{DOMAIN}/info", "mail-1")
    wire.configure(repository)
    state = wire.update(TOKEN, id_, state, second, first)
    assert mailboxes() == {"paolo@acme.example": GIB}
    assert len(state["approvals"]) == 1  # it was for once

    approve(repository, f"mailboxes/{DOMAIN}", "mail-1")
    wire.configure(repository)
    wire.delete(TOKEN, id_, state, second)
    assert mailboxes() == {}


def test_what_is_wrong_is_said_of_its_property(wire: Wire) -> None:
    bad = domain({"a b": {}, "ok": {"forwards": ["nowhere"], "quota": -1, "password": "hunter2"}})
    found = wire.failures(TOKEN, bad)
    assert set(found) == {
        'resources.mailbox["a b"]',
        "resources.mailbox.ok.forwards",
        "resources.mailbox.ok.quota",
        "resources.mailbox.ok.password",
    }
    assert "hunter2" not in str(found)


def test_an_approval_is_for_once(wire: Wire, repository: Path) -> None:
    first = wire.checked(TOKEN, domain({"a": {}, "b": {}}))
    id_, state = wire.create(TOKEN, first)
    approve(repository, f"mailboxes/{DOMAIN}/a", "mail-1")
    wire.configure(repository)
    less = wire.checked(TOKEN, domain({"b": {}}))
    state = wire.update(TOKEN, id_, state, less, first)
    state = wire.update(TOKEN, id_, state, first, less)
    with refused() as said:
        wire.update(TOKEN, id_, state, less, first)
    assert "what it holds would be lost" in said[0].text


def test_no_state_holds_a_password(wire: Wire) -> None:
    """Neither one that somebody chose nor one that was made, nor a hash: after no call."""
    first = wire.checked(TOKEN, domain({"a": {"password": "PAOLO_MAIL rev 1"}, "b": {"password": "generated rev 1"}}))
    id_, state = wire.create(TOKEN, first)
    with closing(sqlite3.connect("scratch/mail.db")) as db:
        hashes = [row[0] for row in db.execute("SELECT password FROM mailbox")]
    assert len(hashes) == 2
    second = wire.checked(TOKEN, domain({"a": {"password": "PAOLO_MAIL rev 2"}, "b": {"password": "generated rev 2"}}))
    updated = wire.update(TOKEN, id_, state, second, first)
    with closing(sqlite3.connect("scratch/mail.db")) as db:
        hashes += [row[0] for row in db.execute("SELECT password FROM mailbox")]
    assert len({*hashes}) == 4
    read = wire.read(TOKEN, id_, updated, second)
    kept = [state, updated, plain(read.properties), plain(read.inputs)]
    said = str([*kept, *wire.engine.messages])
    assert "'generated rev 2'" in said
    for word in (CLEAR, *hashes, *(each.rpartition("}")[2] for each in hashes)):
        assert word not in said
