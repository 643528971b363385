"""The public estate of 405 zones lands on a real PowerDNS, is served as declared, and comes back the same."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rdatatype
import pytest

from mspctl import cli
from mspctl.kinds import dns as kind
from mspctl.load import load
from mspctl.resource import Resource
from tests.estate import estate
from tests.imports.test_real_estate import NOTHING, SOURCE, declared, run
from tests.servers import name_servers
from tests.servers.powerdns import KEY, PowerDNS, powerdns

TARGETS = """\
targets:
  pdns-1:
    address: {address}
    secrets: {{api_key: KEY}}
    facets: {{dns: {{driver: powerdns, nameservers: [ns1.example.net., ns2.example.net.]}}}}
"""

pytestmark = pytest.mark.skipif(not SOURCE.is_dir(), reason=f"the estate is not at {SOURCE.parents[1]}")


@pytest.fixture(scope="module", autouse=True)
def _key() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSPCTL_SECRET_KEY", KEY)
        yield


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PowerDNS]:
    with powerdns(tmp_path_factory.mktemp("pdns")) as server:
        yield server


def repository(folder: Path, server: PowerDNS) -> Path:
    root = estate(folder, {"inventory/targets.yaml": TARGETS.format(address=server.address)})
    subprocess.run(["git", "init", "--quiet", root], check=True)
    assert cli.run(["-C", str(root), "ledger", "init"]) == 0
    return root


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory, server: PowerDNS) -> Path:
    root = repository(tmp_path_factory.mktemp("estate"), server)
    assert run(root, "import", "--from", "octodns", str(SOURCE), "-c", "moj")[0] == 3
    return root


@pytest.fixture(scope="module")
def refused(imported: Path) -> list[str]:
    """What the plan says cannot land, before anything was sent."""
    code, out, _ = run(imported, "plan")
    assert code == 1
    return [line.strip() for line in out if "cannot hold this" in line]


@pytest.fixture(scope="module")
def applied(imported: Path, refused: list[str], server: PowerDNS) -> Path:
    """Everything that can land has landed: the one zone that could not is without its odd record now."""
    assert run(imported, "apply", "--yes")[0] == 3
    assert len(server.zones()) == 404
    path = imported / "customers/moj/dns/justice.gov.uk.yaml"
    text = re.sub(r"(?m)^['\"]?#civilmediation['\"]?:.*\n(?:  .*\n)*", "", path.read_text())
    assert text != path.read_text()
    path.write_text(text)
    code, out, _ = run(imported, "apply", "--yes")
    assert (code, out[-1].endswith(" Nothing is pending.")) == (0, True)
    return imported


def test_the_only_record_that_powerdns_takes_in_no_spelling_is_named(refused: list[str]) -> None:
    (line,) = refused
    assert re.fullmatch(
        r".* customers/moj/dns/justice\.gov\.uk\.yaml:\d+:1: #civilmediation A: pdns-1 cannot hold this: "
        r"PowerDNS takes no name with # in it \(.*\)",
        line,
    )


def test_all_the_rest_lands_and_a_second_plan_is_empty(applied: Path, server: PowerDNS) -> None:
    assert len(server.zones()) == 405
    assert sum(map(len, declared(applied).values())) == 4_017
    code, out, _ = run(applied, "plan")
    assert (code, out[-1]) == (0, NOTHING)


def test_every_answer_is_as_declared(applied: Path, server: PowerDNS) -> None:
    assert check_answers(applied, server.port, lambda zone: name_servers.transferred(server.port, zone)[1]) == 49


def check_answers(root: Path, port: int, transfer: Callable[[str], dict[str, Resource]]) -> int:
    """Hold every answer against what is declared; returns how many only a secondary gets."""
    zones = load(root).customers["moj"].files["dns"]
    hidden = 0
    for zone, records in zones.items():
        transferred: dict[str, Resource] = {}
        for resource in records.resources:
            name = kind.absolute(kind.owner_type(resource.id)[0], zone).rstrip(".")
            live = answered(port, zone, resource) if closest(name, zones) == zone else None
            if live is None:  # other servers, or another zone here, answer for it
                transferred = transferred or transfer(zone)
                live, hidden = transferred[resource.id.name], hidden + 1
            assert live.fields == resource.fields, f"{zone}: {resource.id.name}"
    return hidden


def closest(name: str, zones: Collection[str]) -> str:
    """The zone that answers for a name."""
    while name not in zones:
        name = name.partition(".")[2]
    return name


def answered(port: int, zone: str, resource: Resource) -> Resource | None:
    """An RRset as a client gets it, by TCP where UDP is too small; None for a referral to somebody else."""
    owner, rtype = kind.owner_type(resource.id)
    query = dns.message.make_query(kind.absolute(owner, zone), rtype)
    answer, _ = dns.query.udp_with_fallback(query, "127.0.0.1", timeout=5, port=port)
    section = answer.answer if answer.flags & dns.flags.AA else answer.authority
    found = [r for r in section if r.rdtype == dns.rdatatype.from_text(rtype) and r.name == query.question[0].name]
    if not found and not answer.flags & dns.flags.AA:
        return None
    (rrset,) = found
    return kind.rrset(owner, rtype, rrset.ttl, [kind.from_rdata(rdata) for rdata in rrset])


def test_the_zones_come_back_the_same_and_plan_to_nothing(applied: Path, server: PowerDNS, tmp_path: Path) -> None:
    root = repository(tmp_path, server)
    code, out, err = run(root, "import", "--from", "powerdns", "-c", "moj")
    assert (code, out[-1]) == (0, "out: 405 zones, 4,017 RRsets, 6,344 values, written to customers/moj/")
    assert err[-1] == "0 errors, 38 warnings"
    assert declared(root) == declared(applied)
    code, out, _ = run(root, "plan")
    assert (code, out[-1]) == (0, NOTHING)
