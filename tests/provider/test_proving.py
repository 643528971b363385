"""What something else takes the place of goes only when that was proved: under Pulumi as with our own engine."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mspctl import cli
from mspctl.desired import Declaration
from mspctl.driver import Reading
from mspctl.kinds import antivirus
from mspctl.observations import Observations
from mspctl.plan import REVERT, Standing, plan_scope
from mspctl.proof import Proof, Step, Verdict
from mspctl.provider.repository import Repository
from mspctl.record import Record, Run, ScopeRecord
from mspctl.resource import Resource, Scope

SCOPE = Scope("servers", "hosts", "acme/srv-1/antivirus", "acme", "pulumi")
NOW = datetime.now(UTC)
FILES = {
    "inventory/targets.yaml": "targets: {servers: {facets: {hosts: {driver: hosts}}}}\n",
    "inventory/antivirus.yaml": "products: {lab-av: {packages: lab-av, services: lab-av.service,"
    " seats: 5, end: 2099-12-31}}\n",
    "customers/acme/customer.yaml": "name: Acme\nengine: pulumi\n",
    "customers/acme/antivirus.yaml": "policy: {product: lab-av}\nproof: {every: 7d}\n",
    "customers/acme/hosts.yaml": "hosts: {srv-1: {target: servers, os: debian-12, address: 192.0.2.1,\n"
    "  host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF9bU7Gf0d8RRwGTdaKB6rCq2kVmPHkX2DLdyZ4tWWvX}}\n",
}


@pytest.fixture
def acme(repository: Path) -> Repository:
    shutil.rmtree(repository / "customers")
    shutil.rmtree(repository / "inventory")
    for name, text in FILES.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(text)
    assert cli.run(["ledger", "init"]) == 0
    return Repository(repository)


def standing(repository: Repository, declared: Declaration, recorded: list[Resource]) -> list[tuple[Standing, str]]:
    made = repository.proved(declared, [r.id for r in recorded], NOW)
    record = ScopeRecord(SCOPE, {r.id: Record((r,)) for r in recorded})
    plan = plan_scope(made, record, Reading(SCOPE, recorded), REVERT)
    return [(step.standing, step.reason) for step in plan.steps if step.change.after is None]


def test_a_product_stays_until_what_takes_its_place_was_proved(acme: Repository) -> None:
    said = acme.said(SCOPE, NOW)
    assert said is not None
    engine = Resource(antivirus.CLAMAV, {"on_access": frozenset({"/srv"})})
    declared, recorded = Declaration(SCOPE, said.resources), [engine, *said.resources]
    first = "lab-av is proved first: mspctl prove --section antivirus"
    assert standing(acme, declared, recorded) == [(Standing.HELD, first)]
    proof = Proof(SCOPE, "antivirus", NOW, 1.0, (Step("malware is caught", Verdict.PASSED),), "lab-av")
    Observations.fetched(acme.root).record_proofs(Run("20260101T000000Z-aaaaaa", "Ada <ada@msp.example>"), [proof], NOW)
    assert [each for each, _ in standing(acme, declared, recorded)] != [Standing.HELD]
    assert acme.proved(declared, [r.id for r in said.resources], NOW) == declared  # nothing goes
    gone = replace(declared, resources=(), gone=True)
    assert acme.proved(gone, [engine.id], NOW) == gone  # an approval names the whole host
