"""The public estate of 405 zones lands on a real BIND by dynamic updates, and is served as declared."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import dns.rdatatype
import pytest

from mspctl import cli
from mspctl.kinds import dns as kind
from mspctl.resource import Resource
from tests.estate import estate
from tests.imports.test_powerdns_estate import check_answers
from tests.imports.test_real_estate import NOTHING, SOURCE, declared, run
from tests.servers import dynamic

TARGETS = """\
targets:
  ns-1:
    address: 127.0.0.1
    secrets: {{tsig: NS_1_TSIG}}
    facets:
      dns:
        driver: rfc2136
        port: {port}
        key: mspctl-test
        check_names: true
        nameservers: [ns1.msp.example., ns2.msp.example.]
"""

pytestmark = pytest.mark.skipif(not SOURCE.is_dir(), reason=f"the estate is not at {SOURCE.parents[1]}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dynamic.Bind]:
    with (
        dynamic.running(dynamic.Bind(tmp_path_factory.mktemp("bind"))) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("MSPCTL_SECRET_NS_1_TSIG", server.secret)
        yield server


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory, server: dynamic.Bind) -> Path:
    root = estate(tmp_path_factory.mktemp("estate"), {"inventory/targets.yaml": TARGETS.format(port=server.port)})
    subprocess.run(["git", "init", "--quiet", root], check=True)
    assert cli.run(["-C", str(root), "ledger", "init"]) == 0
    assert run(root, "import", "--from", "octodns", str(SOURCE), "-c", "moj")[0] == 3
    return root


ODD = ("#civilmediation", "legacy_cas_acp", "legacy_cas_bpp")


@pytest.fixture(scope="module")
def refused(imported: Path, server: dynamic.Bind) -> list[str]:
    """What the plan says cannot land, before anything was sent."""
    for zone in declared(imported):
        server.add(zone)
    code, out, _ = run(imported, "plan")
    assert code == 1
    return [line.strip() for line in out if "cannot hold this" in line]


@pytest.fixture(scope="module")
def applied(imported: Path, refused: list[str]) -> Path:
    """Everything that can land has landed: the one zone that could not is without its odd names now."""
    assert run(imported, "apply", "--yes")[0] == 3
    path = imported / "customers/moj/dns/justice.gov.uk.yaml"
    text = path.read_text()
    for name in ODD:
        text, count = re.subn(rf"(?m)^['\"]?{name}['\"]?:.*\n(?:  .*\n)*", "", text)
        assert count == 1
    path.write_text(text)
    code, out, _ = run(imported, "apply", "--yes")
    assert (code, out[-1].endswith(" Nothing is pending.")) == (0, True)
    return imported


def test_what_bind_would_refuse_is_named_with_its_line(refused: list[str]) -> None:
    said = re.compile(r"justice\.gov\.uk\.yaml:\d+:1: (\S+) A: ns-1 cannot hold this: BIND loads no zone with the host")
    found = [said.search(line) for line in refused]
    assert [match and match[1] for match in found] == [*ODD]


def test_all_the_rest_lands_and_a_second_plan_is_empty(applied: Path) -> None:
    assert sum(map(len, declared(applied).values())) == 4_015
    code, out, _ = run(applied, "plan")
    assert (code, out[-1]) == (0, NOTHING)


def test_every_answer_is_as_declared(applied: Path, server: dynamic.Bind) -> None:
    assert check_answers(applied, server.port, lambda zone: transferred(server, zone)) == 58


def transferred(server: dynamic.Bind, zone: str) -> dict[str, Resource]:
    found: dict[tuple[str, str, int], list[str]] = defaultdict(list)
    for rrset in server.records(zone):
        rtype = dns.rdatatype.to_text(rrset.rdtype)
        if rtype not in kind.SERVER_MADE:
            key = (kind.fold_owner(rrset.name.to_text(), zone), rtype, rrset.ttl)
            found[key] += [kind.from_rdata(rdata) for rdata in rrset]
    made = [kind.rrset(*key, values) for key, values in found.items()]
    return {resource.id.name: resource for resource in made}
