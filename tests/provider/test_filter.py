"""`mspctl:mail:Filter` over the provider's wire, on a real rspamd: lists, limits, and a key that is handed out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.provider.wire import CUSTOMER, Json, Wire, approve, bare, plain, provider, refused
from tests.servers import rspamd
from tests.servers.mail_stack import MailStack

pytestmark = pytest.mark.soak

TOKEN = "mspctl:mail:Filter"
DOMAIN = "acme.example"
TARGETS = """\
targets:
  mail-1:
    facets:
      filter: {{driver: rspamd, via: local, config: {config}, data: {data}, timeout: 20s}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[MailStack]:
    with rspamd.running() as running:
        yield running


@pytest.fixture
def estate(repository: Path, server: MailStack) -> Path:
    return bare(repository, TARGETS.format(config=server.etc / "rspamd", data=server.rspamd_data))


@pytest.fixture
def wire(estate: Path) -> Iterator[Wire]:
    with provider(estate) as made:
        yield made


def filter_of(**resources: Json) -> Json:
    return {"customer": CUSTOMER, "target": "mail-1", "name": DOMAIN, "resources": resources}


def said(server: MailStack) -> Json:
    """What rspamd's rule reads."""
    lines = (server.etc / f"rspamd/mspctl/{DOMAIN}.json").read_text().splitlines()
    return dict(json.loads("\n".join(line for line in lines if not line.startswith("#"))))


def test_the_life_of_a_filter(wire: Wire, estate: Path, server: MailStack) -> None:
    entry = {"why": "ticket 4711", "until": "", "asked_by": "", "ticket": ""}
    block = {"Bad.example": entry}
    key: Json = {"dkim": {"mail": {}}, "signing": {"signing": {"selector": "mail", "senders": []}}}
    limits = {"limits": {"message_size": 26214400, "sending_rate": "200/60m"}}
    first = wire.checked(TOKEN, filter_of(block=block, limits=limits, **key))
    assert first["resources"]["block"] == {"bad.example": entry}
    assert first["resources"]["limits"]["limits"]["sending_rate"] == "200/1h"
    id_, state = wire.create(TOKEN, first)
    assert "v=DKIM1; k=rsa; p=" in str(state["outputs"]["dkim mail"])
    assert "PRIVATE" not in str(state)
    assert said(server)["limits"]["sending_rate"] == "200/1h"
    assert wire.details(TOKEN, state, first, first) == {}

    file = server.etc / f"rspamd/mspctl/{DOMAIN}.json"
    file.write_text(file.read_text().replace("200/1h", "900/1h"))  # somebody with an editor
    drifted = plain(wire.read(TOKEN, id_, state, first).properties)
    assert drifted["outputs"] == state["outputs"]
    assert wire.details(TOKEN, drifted, first, first) == {"resources.limits.limits.sending_rate": "UPDATE"}
    state = wire.update(TOKEN, id_, drifted, first, first)
    assert said(server)["limits"]["sending_rate"] == "200/1h"

    less = wire.checked(TOKEN, filter_of(block={}, limits=limits))
    with refused() as refusal:  # the key holds what nobody can make again
        wire.update(TOKEN, id_, state, less, first)
    assert "mail._domainkey: what it holds would be lost" in refusal[0].text
    approve(estate, f"filter/{DOMAIN}", "mail-1")
    wire.configure(estate)
    assert refusal[0].partial is None  # three of four at once: nothing went
    wire.delete(TOKEN, id_, state, first)
    assert not file.exists()
    assert not [*(server.etc / "rspamd/dkim").glob(f"{DOMAIN}*")]


def test_what_is_wrong_is_said_of_its_property(wire: Wire) -> None:
    bad = filter_of(block={"a b": {}}, limits={"limits": {"message_size": "big", "sending_rate": "often"}})
    found = wire.failures(TOKEN, bad)
    assert {'resources.block["a b"]', "resources.limits.limits.message_size"} <= set(found)
