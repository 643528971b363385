"""The examples say what their READMEs promise."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from mspctl import checks
from mspctl.desired import Selection, declarations
from mspctl.driver import Access, Failed, Known, Reading
from mspctl.drivers import nftables
from mspctl.load import load
from mspctl.model.sections.hosts import reached
from mspctl.plan import PENDING, Plan, plan_all
from mspctl.report import as_text
from mspctl.report import plans as reports
from mspctl.resource import Scope
from mspctl.secrets import Secrets
from mspctl.transports.ssh import inventory
from tests.conftest import ROOT
from tests.drivers.workbench import Inline, everything

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


class NothingThere(nftables.Reader):
    """A device that nobody has set up yet."""

    def read(self, scopes: Sequence[Scope], known: Known) -> Iterator[Reading | Failed]:
        return (Reading(scope, (), exists=False) for scope in scopes)


def test_the_example_with_a_firewall_plans_what_it_says() -> None:
    now = datetime(2027, 3, 5, 9, tzinfo=UTC)
    estate = load(ROOT / "examples/firewall", now=now)
    assert estate.warnings == ()

    def reader(scope: Scope) -> NothingThere:
        settings = estate.inventory.settings[scope.target, scope.facet]
        return NothingThere(Access(scope.target, "203.0.113.1", settings, Secrets({}), ROOT))

    declared = [*declarations(estate, Selection(sections=["firewall"]), {}, now)]
    plans = [*plan_all(declared, reader, {}, Inline(), PENDING, everything)]
    text = re.sub(r"\x1b\[\d*m", "", as_text.render(reports.of_plan(Plan(plans, now))))
    assert text.strip() == (ROOT / "examples/firewall/plan.txt").read_text().strip()


def test_who_leaves_the_example_loses_the_vpn() -> None:
    now = datetime(2027, 3, 12, 17, 1, tzinfo=UTC)
    estate = load(ROOT / "examples/firewall", now=now)
    (declared,) = declarations(estate, Selection(sections=["firewall"]), {}, now)
    assert {i.name for i, why in declared.timed.items() if why == "follows from leavers"} == {
        "luca", "vpn-luca", "rules"
    }  # fmt: skip
