"""What a mail domain puts into its zone, beside what is written there by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mspctl.desired import Declaration, Outputs, Selection, back, declarations
from mspctl.errors import InputError
from mspctl.kinds import dns
from mspctl.load import load
from mspctl.resource import UNKNOWN, Id, Resource, Scope
from tests.estate import estate

TARGETS = """\
targets:
  files: {facets: {dns: {driver: zonefile, directory: zones}}}
  mail-1:
    publish:
      mx: [10 mx1.msp.example., 20 mx2.msp.example.]
      spf: include:_spf.msp.example
      clients: mail.msp.example
      reports: dmarc@msp.example
    facets: {}
  silent: {facets: {}}
"""
ZONES = "zones:\n  acme.example: {target: files, ttl: 5m}\n"
DOMAIN = "domains:\n  acme.example: {target: mail-1, publish: {dmarc: quarantine, spf: [include:_spf.news.example]}}\n"
SPF = '"v=spf1 include:_spf.msp.example include:_spf.news.example ~all"'
DMARC = '"v=DMARC1; p=quarantine; rua=mailto:dmarc@msp.example"'


def acme(tmp_path: Path, records: str = "www: {A: 192.0.2.80}\n", mail: str = DOMAIN, **more: str) -> Path:
    files = {"dns.yaml": ZONES, "dns/acme.example.yaml": records, "mail.yaml": mail, **more}
    return estate(tmp_path, {"inventory/targets.yaml": TARGETS} | {f"customers/acme/{n}": t for n, t in files.items()})


def declared(root: Path, outputs: Outputs | None = None) -> list[Declaration]:
    return [*declarations(load(root), Selection(), outputs or {}, datetime(2027, 3, 5, tzinfo=UTC))]


def rrsets(root: Path) -> dict[str, Resource]:
    return {r.id.name: r for d in declared(root) if d.scope.facet == "dns" for r in d.resources}


def values(root: Path) -> dict[str, object]:
    return {name: r.fields["values"] for name, r in rrsets(root).items() if name != "www A"}


def complaints(root: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        load(root)
    return [str(p) for p in caught.value.problems]


def test_a_mail_domain_says_everything_that_its_zone_needs(tmp_path: Path) -> None:
    assert values(acme(tmp_path)) == {
        "@ MX": {"10 mx1.msp.example.", "20 mx2.msp.example."},
        "@ TXT": {SPF},
        "_dmarc TXT": {DMARC},
        "autoconfig CNAME": {"mail.msp.example."},
        "autodiscover CNAME": {"mail.msp.example."},
    }


def test_it_stands_where_it_follows_from_and_has_the_ttl_of_the_zone(tmp_path: Path) -> None:
    found = rrsets(acme(tmp_path))["@ MX"]
    assert (found.source, found.fields["ttl"]) == ("customers/acme/mail.yaml:2", 300)


def test_the_text_joins_those_beside_it(tmp_path: Path) -> None:
    root = acme(tmp_path, "apex: {TXT: [verification=abc, other=1], ttl: 10m}\n")
    found = rrsets(root)["@ TXT"]
    assert found.fields == {"ttl": 600, "values": {SPF, '"verification=abc"', '"other=1"'}}
    assert found.source == "customers/acme/dns/acme.example.yaml:1"


def test_nothing_is_published_unless_it_is_asked_for(tmp_path: Path) -> None:
    assert values(acme(tmp_path, mail="domains: {acme.example: {target: silent}}\n")) == {}


def test_parts_can_be_left_out(tmp_path: Path) -> None:
    mail = "domains: {acme.example: {target: mail-1, publish: {leave_out: [mx, dmarc, autoconfig]}}}\n"
    assert values(acme(tmp_path, mail=mail)) == {"@ TXT": {'"v=spf1 include:_spf.msp.example ~all"'}}


def test_a_domain_below_its_zone(tmp_path: Path) -> None:
    mail = "domains: {post.acme.example: {target: mail-1, publish: {others: fail}}}\n"
    found = values(acme(tmp_path, mail=mail))
    assert found["post MX"] == {"10 mx1.msp.example.", "20 mx2.msp.example."}
    assert found["post TXT"] == {'"v=spf1 include:_spf.msp.example -all"'}
    assert "_dmarc.post TXT" in found


@pytest.mark.parametrize(
    ("records", "name"),
    [
        ("apex: {MX: 10 old.example.net.}\n", "@ MX"),
        ("apex: {TXT: [a=1, v=spf1 -all]}\n", "@ TXT"),
        ("apex: {TXT: V=SPF1 mx}\n", "@ TXT"),
        ("_dmarc: {TXT: v=DMARC1; p=none}\n", "_dmarc TXT"),
        ("_dmarc: {CNAME: dmarc.example.net.}\n", "_dmarc CNAME"),
        ("autoconfig: {A: 192.0.2.1}\n", "autoconfig A"),
        ("autodiscover: {CNAME: other.example.net.}\n", "autodiscover CNAME"),
    ],
)
def test_what_contradicts_it_names_both_lines(tmp_path: Path, records: str, name: str) -> None:
    rtype = {"autoconfig A": "CNAME", "_dmarc CNAME": "TXT"}.get(name, name.split()[1])
    assert complaints(acme(tmp_path, records)) == [
        f"customers/acme/dns/acme.example.yaml:1:1: {name}: contradicts the {rtype} that follows from "
        "customers/acme/mail.yaml:2 (leave one: publish has leave_out)"
    ]


def test_the_same_by_hand_is_no_contradiction(tmp_path: Path) -> None:
    records = f"apex: {{MX: [10 mx1.msp.example.], TXT: {SPF[1:-1]}}}\n"
    assert values(acme(tmp_path, records))["@ MX"] == {"10 mx1.msp.example.", "20 mx2.msp.example."}


def test_the_key_of_dkim_is_waited_for(tmp_path: Path) -> None:
    root = acme(tmp_path)
    file = root / "inventory/targets.yaml"
    said = "facets: {filter: {driver: rspamd, via: local}}\n  silent"
    file.write_text(file.read_text().replace("facets: {}\n  silent", said, 1))
    name = "mail._domainkey TXT"
    assert values(root)[name] is UNKNOWN
    scope = Scope("mail-1", "filter", "acme.example")
    found = {d.scope.facet: d for d in declared(root, {scope: {"dkim mail": "v=DKIM1; k=rsa; p=MIIB"}})}
    (key,) = (r for r in found["dns"].resources if r.id.name == name)
    assert dns.values_of(key) == ['"v=DKIM1; k=rsa; p=MIIB"']


@pytest.mark.parametrize(
    ("mail", "said"),
    [
        ("domains: {acme.example: {target: nowhere}}\n", "target nowhere is not in inventory/targets.yaml"),
        ("domains: {acme.example: {target: silent, publish: {}}}\n", "target silent does not say what is published"),
        ("domains: {other.example: {target: mail-1, publish: {}}}\n", "other.example is in no zone of dns.yaml"),
        ("domains: {acme.example: {target: mail-1, publish: {spf: -all}}}\n", "'-all' is not a term of SPF"),
        ("domains: {acme.example: {target: mail-1, publish: {spf: 'a b'}}}\n", "'a b' is not a term of SPF"),
        ("domains: {acme.example: {target: mail-1, publish: {leave_out: spff}}}\n", "'spff' is not one of 'mx'"),
        ("domains: {acme.example: {target: mail-1, publish: {selector: a.b}}}\n", "'a.b' is not a name"),
        ("domains: {acme.example: {target: mail-1, publisch: {}}}\n", "unknown key (did you mean publish?)"),
    ],
)
def test_bad_input_is_told_in_one_line(tmp_path: Path, mail: str, said: str) -> None:
    (complaint,) = complaints(acme(tmp_path, mail=mail))
    assert complaint.startswith("customers/acme/mail.yaml:1:")
    assert said in complaint


def test_a_mail_domain_belongs_to_one_customer(tmp_path: Path) -> None:
    root = acme(tmp_path)
    theirs = "domains:\n  acme.example: {target: mail-1}\n"
    estate(root, {"inventory/targets.yaml": TARGETS, "customers/birch/mail.yaml": theirs})
    assert complaints(root) == [
        "customers/birch/mail.yaml:2:3: domains.acme.example: is declared in customers/acme/mail.yaml:2 too "
        "(a mail domain belongs to one customer)"
    ]


def adopt(root: Path, owner: str, rtype: str, *found: str) -> str:
    """The zone's file after what is live was adopted."""
    resource = dns.rrset(owner, rtype, 300, found) if found else None
    adopted = {Id(dns.KIND, f"{owner} {rtype}"): resource}
    return back("dns").rewrite(load(root), "acme", "acme.example", adopted).after


def test_what_is_derived_is_not_written_by_hand_when_its_neighbour_is_adopted(tmp_path: Path) -> None:
    root = acme(tmp_path, "apex: {TXT: a=1}\n")
    assert adopt(root, "@", "TXT", SPF, '"a=2"') == "apex: {TXT: a=2}\n"
    assert adopt(root, "@", "TXT", SPF) == "{}\n"


@pytest.mark.parametrize(
    ("owner", "rtype", "found"),
    [
        ("@", "TXT", ['"v=spf1 -all"']),
        ("@", "TXT", ['"a=1"']),
        ("@", "MX", ["10 other.example."]),
        ("autoconfig", "CNAME", []),
        ("_dmarc", "TXT", ['"v=DMARC1; p=none"']),
    ],
)
def test_what_is_derived_cannot_be_adopted(tmp_path: Path, owner: str, rtype: str, found: list[str]) -> None:
    root = acme(tmp_path)
    with pytest.raises(InputError) as caught:
        adopt(root, owner, rtype, *found)
    assert str(caught.value) == (
        f"customers/acme/mail.yaml:2: {owner} {rtype} follows from this line "
        "(change it here, or undo it: apply --revert)"
    )
