"""The example with hosts says what its README promises: it is valid, and every host has what it should, or a reason."""

from __future__ import annotations

from datetime import UTC, datetime

from mspctl import checks
from mspctl.desired import Selection, declarations
from mspctl.load import load
from mspctl.model.sections.hosts import reached
from mspctl.transports.ssh import inventory
from tests.conftest import ROOT

NOW = datetime(2027, 3, 15, 6, 0, tzinfo=UTC)


def test_the_example_with_hosts_is_whole() -> None:
    estate = load(ROOT / "examples/hosts", now=NOW)
    assert estate.warnings == ()
    declared = [*declarations(estate, Selection(), {}, NOW)]
    found = {d.scope.name.partition("/")[2]: {r.id.name for r in d.resources} for d in declared}
    assert found == {
        "bastion/patching": {"policy", "window"},
        "srv-1/patching": {"policy", "window"},
        "srv-1/backup": {"night-files"},
        "srv-db/patching": {"policy", "window", "postgresql-15"},
        "srv-db/backup": {"night-database"},
        "till-1/patching": {"policy", "window"},
    }
    (facts,) = checks.facts_of(estate, declared, [], {}, NOW)
    said = [(f.code, f.path) for f in checks.check("hosts").findings(facts, {})]
    assert said == [("hosts.collected", "hosts/carrozzeria-riva")]  # it was never asked what is installed


def test_its_inventory_knows_jump_hosts_by_name() -> None:
    (customer,) = load(ROOT / "examples/hosts", now=NOW).customers.values()
    hosts = {host.name: host for host in reached(customer)}
    assert hosts["till-1"].jump == "bastion.carrozzeria-riva"
    assert "-o ProxyJump=mspctl@10.40.0.2:22" in inventory([*hosts.values()])
