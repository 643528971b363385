"""Facts for checks: what a few lines of YAML declare, and what somebody would have seen of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from mspctl import checks
from mspctl.checks import Facts
from mspctl.desired import Selection, declarations
from mspctl.finding import Finding
from mspctl.kinds import dns
from mspctl.kinds.answers import Answer, Delegation, Server, Serves, Status, ZoneSeen
from mspctl.load import load
from mspctl.plan import ScopePlan
from tests.estate import estate

NOW = datetime(2027, 3, 15, 6, 0, tzinfo=UTC)
ZONE = "acme.example"
NS1, NS2 = "ns1.msp.example.", "ns2.msp.example."
TARGETS = """targets:
  files: {facets: {dns: {driver: zonefile, directory: zones, nameservers: [ns1.msp.example, ns2.msp.example]}}}
  other: {facets: {dns: {driver: zonefile, directory: other, nameservers: [ns1.other.example, ns2.other.example]}}}
  bare: {facets: {dns: {driver: zonefile, directory: bare}}}
"""
EMPTY, NOTHING = Answer(Status.EMPTY), Answer(Status.NOTHING)


def facts(
    tmp_path: Path,
    records: str = "www: {A: 192.0.2.1}\n",
    zone: str = "target: files",
    *,
    name: str = ZONE,
    checks_yaml: str = "",
    live: Sequence[ScopePlan] = (),
    now: datetime = NOW,
) -> Facts:
    """Of a customer with one zone."""
    files = {
        "inventory/targets.yaml": TARGETS,
        "inventory/checks.yaml": checks_yaml,
        "customers/acme/dns.yaml": f"zones:\n  {name}:\n    {{{zone}}}\n",
        f"customers/acme/dns/{name}.yaml": records,
    }
    found = load(estate(tmp_path, files), now=now)
    declared = declarations(found, Selection(), {}, now)
    (made,) = checks.facts_of(found, declared, live, {}, now)
    return made


def found(of: Facts, seen: ZoneSeen | None = None) -> list[Finding]:
    """What the DNS section finds, when somebody saw `seen`, or nobody looked."""
    module = checks.check("dns")
    answers = {question: seen for question in module.questions(of)} if seen else {}
    return [*module.findings(of, answers)]


def said(findings: Iterable[Finding]) -> list[str]:
    return [f"{f.code} {f.severity}" for f in findings]


def answer(rtype: str, *values: str) -> Answer:
    """Values as a person types them, but TXT without quotes."""
    return Answer(Status.FOUND, tuple(dns.fold_value(rtype, value, str) for value in values))


def soa(serial: int) -> Answer:
    return Answer(Status.FOUND, (f"ns1.msp.example. hostmaster.msp.example. {serial} 7200 3600 1209600 300",))


def serving(*hosts: str, serial: int = 7) -> tuple[Server, ...]:
    return tuple(Server(host, f"192.0.2.{n}", Serves.YES, soa=soa(serial)) for n, host in enumerate(hosts, 53))


def seen(
    *hosts: str,
    servers: Sequence[Server] | None = None,
    ds: Answer = EMPTY,
    itself: bool = False,
    why: str = "",
    answers: Mapping[tuple[str, str], Answer] | None = None,
) -> ZoneSeen:
    """A zone delegated to `hosts`, by default ours, that serve it and hold no mail; `answers` say otherwise."""
    named = hosts or (NS1, NS2)
    delegation = Delegation(Status.FOUND, "example.", frozenset(named), ds, itself)
    known = {(f"{ZONE}.", rtype): EMPTY for rtype in ("DNSKEY", "MX", "TXT")}
    known[f"{ZONE}.", "NS"] = answer("NS", *named)
    return ZoneSeen(
        delegation, tuple(servers if servers is not None else serving(*named)), known | dict(answers or {}), why
    )


def undelegated(status: Status, why: str = "") -> ZoneSeen:
    return ZoneSeen(Delegation(status, "example.", why=why))
