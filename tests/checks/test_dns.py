"""What is said of a zone, by what was seen of it: a case per row."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from mspctl import checks
from mspctl.checks.dns.zone import is_local
from mspctl.finding import Severity
from mspctl.kinds.answers import Answer, Server, Serves, Status, ZoneSeen
from mspctl.plan import ScopePlan
from mspctl.resource import Scope
from tests.checks.facts import (
    EMPTY,
    NOTHING,
    NOW,
    NS1,
    NS2,
    answer,
    facts,
    found,
    said,
    seen,
    serving,
    soa,
    undelegated,
)

FAILED = Answer(Status.UNKNOWN, why="192.0.2.1 answers SERVFAIL")
OTHER = ("ns1.other.example.", "ns2.other.example.")
DECLARED = "apex: {NS: [ns1.msp.example., ns3.msp.example.]}\n"


def test_a_zone_that_is_right_has_no_findings(tmp_path: Path) -> None:
    assert found(facts(tmp_path), seen()) == []


# -- the zone above -------------------------------------------------------------------------------------------

PARENT = [
    pytest.param("", "target: files", seen(NS1, NS2), [], id="as the target says"),
    pytest.param(DECLARED, "target: files", seen(NS1, "ns3.msp.example."), [], id="as Git says"),
    pytest.param(
        DECLARED,
        "target: files",
        seen(NS1, NS2),
        [
            "the zone above, example, names ns2.msp.example, which Git does not, and lacks ns3.msp.example → change the"
            " name servers at the registrar to ns1.msp.example, ns3.msp.example, or change Git"
        ],
        id="not as Git says",
    ),
    pytest.param(
        "",
        "target: files, renewal: {at: aruba, ends: 2030-01-01}",
        seen(NS1),
        [
            "the zone above, example, lacks ns2.msp.example → change the name servers at the registrar (aruba) to"
            " ns1.msp.example, ns2.msp.example, or change Git"
        ],
        id="one is missing",
    ),
    pytest.param("", "targets: [files, other]", seen(NS1, NS2), [], id="on two targets: the first"),
    pytest.param("", "targets: [files, other]", seen(*OTHER), [], id="on two targets: the second"),
    pytest.param("", "targets: [files, other]", seen(NS1, NS2, *OTHER), [], id="on two targets: both"),
    pytest.param(
        "",
        "targets: [files, other]",
        seen(NS1, NS2, OTHER[0]),
        [
            "the zone above, example, names ns1.other.example, which Git does not → change the name servers at the"
            " registrar to ns1.msp.example, ns2.msp.example, or change Git"
        ],
        id="on two targets: neither",
    ),
    pytest.param("", "target: bare", seen(NS1, NS2), [], id="nobody says: as the zone itself"),
    pytest.param(
        "",
        "target: bare",
        seen(NS1, answers={("acme.example.", "NS"): answer("NS", NS1, NS2)}),
        [
            "the zone above, example, lacks ns2.msp.example → change the name servers at the registrar to"
            " ns1.msp.example, ns2.msp.example, or change Git"
        ],
        id="nobody says: not as the zone itself",
    ),
    pytest.param("", "target: bare", seen(NS1, answers={("acme.example.", "NS"): FAILED}), [], id="nobody knows"),
    pytest.param("", "target: files", seen(NS1, itself=True), [], id="the same servers hold the zone above"),
]


@pytest.mark.parametrize(("records", "zone", "what", "expected"), PARENT)
def test_name_servers_at_the_parent(
    tmp_path: Path, records: str, zone: str, what: ZoneSeen, expected: list[str]
) -> None:
    findings = found(facts(tmp_path, records or "{}\n", zone), what)
    assert [f"{f.what} → {f.remedy}" for f in findings] == expected
    assert said(findings) == ["dns.parent-ns warning"] * len(expected)


def test_a_difference_at_the_parent_names_the_line_of_git(tmp_path: Path) -> None:
    (by_git,) = found(facts(tmp_path / "a", DECLARED), seen())
    (by_target,) = found(facts(tmp_path / "b"), seen(NS1))
    assert by_git.source == "customers/acme/dns/acme.example.yaml:1"
    assert by_target.source == "customers/acme/dns.yaml:2"
    assert (by_git.customer, by_git.path) == ("acme", "dns/acme.example")


@pytest.mark.parametrize(
    ("what", "expected", "text"),
    [
        (undelegated(Status.NOTHING), "dns.not-delegated severe", "the zone above, example, does not know it"),
        (undelegated(Status.EMPTY), "dns.not-delegated severe", "names no name servers for it"),
        (
            ZoneSeen(replace(seen(*OTHER).delegation), answers={("acme.example.", "MX"): FAILED}),
            "dns.not-delegated warning",
            "the Internet gets the zone elsewhere: example names ns1.other.example, ns2.other.example",
        ),
        (undelegated(Status.UNKNOWN, "no answer"), "dns.unchecked unknown", "could not be checked: no answer"),
    ],
)
def test_a_zone_that_is_not_ours_to_serve_is_one_finding(
    tmp_path: Path, what: ZoneSeen, expected: str, text: str
) -> None:
    findings = found(facts(tmp_path), what)
    assert said(findings) == [expected]
    assert text in findings[0].what


def test_a_zone_that_is_known_inside_only_is_not_asked_about(tmp_path: Path) -> None:
    inside = facts(tmp_path / "a", zone="target: files, public: false")
    private = facts(tmp_path / "b", "1: {PTR: a.example.}\n", name="2.10.in-addr.arpa")
    for of in (inside, private):
        assert [*checks.check("dns").questions(of)] == []
        assert found(of, undelegated(Status.NOTHING)) == []


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("10.in-addr.arpa", True),
        ("0.20.10.in-addr.arpa", True),
        ("64/26.2.168.192.in-addr.arpa", True),
        ("168.192.in-addr.arpa", True),
        ("16.172.in-addr.arpa", True),
        ("32.172.in-addr.arpa", False),
        ("172.in-addr.arpa", False),
        ("2.0.192.in-addr.arpa", True),
        ("8.8.8.in-addr.arpa", False),
        ("in-addr.arpa", False),
        ("300.10.in-addr.arpa", False),
        ("d.f.ip6.arpa", True),
        ("0.0.0.0.1.2.3.4.5.6.7.8.9.d.f.ip6.arpa", True),
        ("8.b.d.0.1.0.0.2.ip6.arpa", True),
        ("c.7.6.0.1.0.0.2.ip6.arpa", False),
        ("x.ip6.arpa", False),
        ("corp.local", True),
        ("internal", True),
        ("ad.home.arpa", True),
        ("local.example", False),
        ("acme.example", False),
    ],
)
def test_zones_that_the_internet_never_has(zone: str, expected: bool) -> None:
    assert is_local(zone) is expected


# -- name servers ---------------------------------------------------------------------------------------------

BAD = {
    Serves.SILENT: "192.0.2.54 gave no answer within 3 s",
    Serves.LAME: "answers REFUSED",
    Serves.NOWHERE: "no address",
    Serves.UNKNOWN: "there is no way from here to 2001:db8::54",
}


def bad(how: Serves, host: str = NS2) -> Server:
    return Server(host, "" if how is Serves.NOWHERE else "192.0.2.54", how, BAD[how])


@pytest.mark.parametrize(
    ("how", "expected", "text"),
    [
        (Serves.SILENT, "dns.ns-silent", "name server ns2.msp.example does not answer: 192.0.2.54 gave no answer"),
        (Serves.LAME, "dns.ns-lame", "name server ns2.msp.example (192.0.2.54) does not serve the zone: it answers"),
        (Serves.NOWHERE, "dns.ns-address", "name server ns2.msp.example has no address"),
        (Serves.UNKNOWN, "dns.unchecked", "could not be checked: name server ns2.msp.example: there is no way"),
    ],
)
def test_a_name_server_that_does_not_serve(tmp_path: Path, how: Serves, expected: str, text: str) -> None:
    one = found(facts(tmp_path / "one"), seen(servers=[*serving(NS1), bad(how)]))
    assert said(one) == [f"{expected} {'unknown' if how is Serves.UNKNOWN else 'warning'}"]
    assert text in one[0].what
    some = found(facts(tmp_path / "some"), seen(servers=[bad(how, NS1), bad(Serves.UNKNOWN)]))
    assert Severity.SEVERE not in {f.severity for f in some}
    none = found(facts(tmp_path / "none"), seen(servers=[bad(how, NS1), bad(how)]))
    assert {f.severity for f in none} == {Severity.UNKNOWN if how is Serves.UNKNOWN else Severity.SEVERE}


def test_when_nobody_serves_the_zone_its_records_are_not_judged(tmp_path: Path) -> None:
    down = seen(servers=[bad(Serves.SILENT)], answers={("acme.example.", "MX"): FAILED}, ds=answer("DS", DS))
    assert said(found(facts(tmp_path), down)) == ["dns.ns-silent severe"]


def test_an_address_that_we_cannot_reach_is_no_matter_when_another_answers(tmp_path: Path) -> None:
    sixth = Server(NS1, "2001:db8::53", Serves.UNKNOWN, "there is no way from here to 2001:db8::53")
    assert found(facts(tmp_path), seen(servers=[*serving(NS1, NS2), sixth])) == []


def test_a_zone_that_is_not_made_yet_is_made_by_apply(tmp_path: Path) -> None:
    plan = ScopePlan(Scope("files", "dns", "acme.example"), exists=False)
    (finding, _) = found(facts(tmp_path, live=[plan]), seen(servers=[bad(Serves.LAME, NS1), bad(Serves.LAME)]))
    assert finding.remedy.startswith("let mspctl apply make the zone, which is new")


@pytest.mark.parametrize(
    ("serials", "expected"),
    [
        ((7, 7), ""),
        ((7, 8), "ns1.msp.example (192.0.2.53) has 7, ns2.msp.example has 8"),
        ((4294967295, 3), "ns1.msp.example (192.0.2.53) has 4294967295, ns2.msp.example has 3"),
    ],
)
def test_name_servers_with_different_serials(tmp_path: Path, serials: tuple[int, int], expected: str) -> None:
    servers = [replace(s, soa=soa(serial)) for s, serial in zip(serving(NS1, NS2), serials, strict=True)]
    findings = found(facts(tmp_path), seen(servers=servers))
    assert said(findings) == ["dns.serial warning"] * bool(expected)
    assert all(expected in f.what for f in findings)


@pytest.mark.parametrize(
    ("records", "serials", "expected"),
    [
        ("", (1, 1, 9, 9), 0),  # each target counts for itself
        ("", (1, 2, 9, 9), 1),
        ("", (1, 2, 9, 8), 2),
        ("apex: {NS: [ns1.msp.example., ns1.other.example.]}\n", (1, 2, 9, 8), 0),  # who copies from whom is not known
    ],
)
def test_servers_of_different_targets_have_serials_of_their_own(
    tmp_path: Path, records: str, serials: tuple[int, ...], expected: int
) -> None:
    servers = [replace(s, soa=soa(n)) for s, n in zip(serving(NS1, NS2, *OTHER), serials, strict=True)]
    hosts = (NS1, OTHER[0]) if records else (NS1, NS2, *OTHER)
    findings = found(facts(tmp_path, records or "{}\n", "targets: [files, other]"), seen(*hosts, servers=servers))
    assert said(findings) == ["dns.serial warning"] * expected


# -- mail -----------------------------------------------------------------------------------------------------

MX1, MX2 = "mx1.acme.example.", "mx2.acme.example."
MAIL = "apex: {MX: [10 mx1.acme.example., 20 mx2.acme.example.]}\nmx1: {A: 192.0.2.1}\nmx2: {A: 192.0.2.2}\n"
FOUND = answer("A", "192.0.2.81")
CNAME = replace(FOUND, aliases=("www.acme.example.",))
CIRCLE = Answer(Status.NOTHING, aliases=(MX1,), why="its CNAMEs lead in a circle: mx1.acme.example → mx1.acme.example")


@pytest.mark.parametrize(
    ("first", "second", "expected", "text"),
    [
        (FOUND, FOUND, [], ""),
        (EMPTY, FOUND, ["dns.mx-address warning"], "mail server mx1.acme.example has no address"),
        (
            NOTHING,
            EMPTY,
            ["dns.mx-address severe"],
            "mx1.acme.example, mx2.acme.example has no address: no mail arrives",
        ),
        (CNAME, FOUND, ["dns.mx-cname warning"], "mail server mx1.acme.example (of www.acme.example) is a CNAME"),
        (CIRCLE, FOUND, ["dns.mx-address warning"], "mx1.acme.example (its CNAMEs lead in a circle: "),
        (FAILED, FOUND, ["dns.unchecked unknown"], "mx1.acme.example A: 192.0.2.1 answers SERVFAIL"),
        (FAILED, EMPTY, ["dns.mx-address warning", "dns.unchecked unknown"], "mx2.acme.example has no address"),
    ],
)
def test_mail_servers(tmp_path: Path, first: Answer, second: Answer, expected: list[str], text: str) -> None:
    answers = {
        ("acme.example.", "MX"): answer("MX", f"10 {MX1}", f"20 {MX2}"),
        (MX1, "A"): first,
        (MX1, "AAAA"): EMPTY if first is FOUND else first,
        (MX2, "A"): second,
        (MX2, "AAAA"): EMPTY,
    }
    findings = found(facts(tmp_path, MAIL), seen(answers=answers))
    assert said(findings) == expected
    assert text in "".join(f.what for f in findings)
    if findings and findings[0].severity is not Severity.UNKNOWN:
        assert findings[0].path == "dns/acme.example/@ MX"
        assert findings[0].source == "customers/acme/dns/acme.example.yaml:1"


def test_a_null_mx_alone_is_right_and_beside_others_is_not(tmp_path: Path) -> None:
    alone = answer("MX", "0 .")
    both = answer("MX", "0 .", f"10 {MX1}")
    here = {(MX1, "A"): FOUND, (MX1, "AAAA"): EMPTY}
    of = facts(tmp_path / "a", "apex: {MX: 0 .}\n")
    assert found(of, seen(answers={("acme.example.", "MX"): alone})) == []
    assert said(found(of, seen(answers={("acme.example.", "MX"): both, **here}))) == ["dns.mx-null warning"]
    wrong = facts(tmp_path / "b", "apex: {MX: [0 ., 10 mx1.acme.example.]}\nmx1: {A: 192.0.2.1}\n")
    assert said(found(wrong)) == ["dns.mx-null warning"]
    assert said(found(wrong, seen(answers={("acme.example.", "MX"): both, **here}))) == ["dns.mx-null warning"]


def test_names_below_the_zone_are_looked_at_too(tmp_path: Path) -> None:
    of = facts(
        tmp_path, "lists: {MX: 10 mx1.acme.example., TXT: v=spf1 mx -all}\nmx1: {A: 192.0.2.1}\n'*': {MX: 0 .}\n"
    )
    answers = {("lists.acme.example.", "MX"): answer("MX", f"10 {MX1}"), (MX1, "A"): EMPTY, (MX1, "AAAA"): EMPTY}
    answers["lists.acme.example.", "TXT"] = answer("TXT", "v=spf1 include:gone.example -all")
    answers["gone.example.", "TXT"] = NOTHING
    findings = found(of, seen(answers=answers))
    assert [(f.code, f.path) for f in findings] == [
        ("dns.mx-address", "dns/acme.example/lists MX"),
        ("dns.spf-broken", "dns/acme.example/lists TXT"),
    ]


def test_several_spf_records_are_seen_in_git_and_in_the_world_and_said_once(tmp_path: Path) -> None:
    two = ("v=spf1 -all", "V=SPF1 mx -all")
    of = facts(tmp_path / "a", f"apex: {{TXT: [{', '.join(two)}, v=spf10 is none]}}\n")
    assert said(found(of)) == ["dns.spf-several warning"]
    live = {("acme.example.", "TXT"): answer("TXT", *two)}
    assert said(found(of, seen(answers=live))) == ["dns.spf-several warning"]
    assert said(found(facts(tmp_path / "b"), seen(answers=live))) == ["dns.spf-several warning"]


@pytest.mark.parametrize(
    ("record", "expected", "text"),
    [
        ("v=spf1 ip4:192.0.2.1 -all", [], ""),
        ("v=spf1 " + "a " * 10 + "-all", [], ""),
        (
            "v=spf1 " + "a " * 11 + "-all",
            ["dns.spf-lookups warning"],
            "needs 11 look-ups, and receivers give up after 10",
        ),
        ("v=spf1 a:x.example a:y.example -all", [], ""),
        (
            "v=spf1 a:x.example a:y.example mx:z.example -all",
            ["dns.spf-void warning"],
            "(x.example, y.example, z.example), and receivers give up after 2",
        ),
        (
            "v=spf1 include:acme.example -all",
            ["dns.spf-broken warning"],
            "it includes itself: acme.example → acme.example",
        ),
        ("v=spf1 ipv4:192.0.2.1", ["dns.spf-broken warning"], "'ipv4:192.0.2.1' is no term of SPF"),
        (
            "v=spf1 include:failed.example -all",
            ["dns.unchecked unknown"],
            "failed.example TXT: 192.0.2.1 answers SERVFAIL",
        ),
    ],
)
def test_spf_records(tmp_path: Path, record: str, expected: list[str], text: str) -> None:
    nothing = {(f"{name}.example.", t): NOTHING for name in "xyz" for t in ("A", "AAAA", "MX")}
    answers = {
        **nothing,
        ("acme.example.", "TXT"): answer("TXT", record, "another text"),
        ("acme.example.", "A"): FOUND,
        ("acme.example.", "AAAA"): EMPTY,
        ("failed.example.", "TXT"): FAILED,
    }
    findings = found(facts(tmp_path), seen(answers=answers))
    assert said(findings) == expected
    assert text in "".join(f.what for f in findings)


def test_what_was_not_asked_is_said_once_and_shortly(tmp_path: Path) -> None:
    what = replace(seen(), answers={}, why="it was not finished within 60 s")
    (finding,) = found(facts(tmp_path), what)
    assert said([finding]) == ["dns.unchecked unknown"]
    assert finding.what == (
        "could not be checked: it was not finished within 60 s; DNSKEY: it was not asked;"
        " acme.example MX: it was not asked; acme.example TXT: it was not asked"
    )


# -- registration ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "auto", "expected", "text"),
    [
        (31, False, [], ""),
        (30, False, ["dns.registration warning"], "ends in 30 days (2027-04-14), and does not renew itself"),
        (1, False, ["dns.registration warning"], "ends tomorrow"),
        (0, False, ["dns.registration warning"], "ends today"),
        (-1, False, ["dns.registration severe"], "the registration at aruba ended on 2027-03-14"),
        (5, True, [], ""),
        (-1, True, ["dns.registration info"], "was to renew itself on 2027-03-14"),
    ],
)
def test_registrations(tmp_path: Path, days: int, auto: bool, expected: list[str], text: str) -> None:
    ends = NOW.date() + timedelta(days=days)
    zone = f"target: files, renewal: {{at: aruba, ends: {ends}, auto: {str(auto).lower()}}}"
    findings = found(facts(tmp_path, zone=zone))
    assert said(findings) == expected
    for finding in findings:
        assert text in finding.what
        assert finding.source == "customers/acme/dns.yaml:3"
        assert (finding.until if days >= 0 else finding.since) == ends


def test_the_days_of_a_registration_are_set_in_the_inventory(tmp_path: Path) -> None:
    zone = "target: files, renewal: {at: aruba, ends: 2027-04-20}"
    assert found(facts(tmp_path, zone=zone)) == []
    (finding,) = found(facts(tmp_path, zone=zone, checks_yaml="dns: {registration: 60d}\n"))
    assert finding.until == date(2027, 4, 20)


DS = "60485 13 2 d4b7d520e7bb5f0f67674a0cceb1e3e0614b93c4f9e99b8383f6a1e4469da50a"


def test_a_ds_without_keys_closes_the_zone(tmp_path: Path) -> None:
    (finding,) = found(facts(tmp_path), seen(ds=answer("DS", DS)))
    assert (finding.code, finding.severity) == ("dns.ds", Severity.SEVERE)
    assert "the zone is not signed: resolvers that validate refuse the whole zone" in finding.what
