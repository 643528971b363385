"""What is found of mail: full mailboxes, strangers who get copies, people who left, keys, block lists, waiting mail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mspctl import checks
from mspctl.checks import Facts
from mspctl.checks.mail.block_lists import BlockList
from mspctl.desired import Declaration, Selection, declarations
from mspctl.driver import NOT_HERE, Gauge, Measured, Reading, Unmeasured
from mspctl.finding import Finding, Severity
from mspctl.kinds import dns, mail
from mspctl.kinds import filter as filters
from mspctl.kinds.answers import Answer, NameQuestion, Status
from mspctl.load import load
from mspctl.plan import ScopePlan, plan_scope
from mspctl.record import Record, ScopeRecord
from mspctl.resource import Id, Resource, Scope, Value
from tests.checks.facts import NOW
from tests.estate import estate

TARGETS = """targets:
  files: {facets: {dns: {driver: zonefile, directory: zones}}}
  mail-1:
    publish: {mx: 10 mx1.msp.example., sends_from: [192.0.2.25, "2001:db8::25"]}
    facets:
      mailboxes: {driver: postfixadmin, database: sqlite, file: mail.db}
      filter: {driver: rspamd, via: local}
      FURTHER
"""
ZONES = "zones: {acme.example: {target: files}}\n"
MAIL = """domains:
  acme.example:
    target: mail-1
    publish: {}
    mailboxes:
      paolo: {quota: 10 GiB}
      anna: {quota: 1 GiB, forwards: [boss@partner.example]}
      free: {}
    groups:
      tutti: [paolo, consulente@partner.example]
    alias_domains: acme.net
    leavers:
      luca: {left: 2027-03-05, copy_to: anna, until: 2027-04-05}
      sara: {left: 2027-03-20}
  acme.it: {target: mail-1}
"""
BOX = Scope("mail-1", mail.FACET, "acme.example")
GIB = 2**30
KEY = "v=DKIM1; k=rsa; p=MIGfMA0"
DKIM = NameQuestion("mail._domainkey.acme.example.", "TXT")


def box(local: str, /, **fields: Any) -> Resource:
    usual: dict[str, Value] = {
        "quota": 0,
        "enabled": True,
        "receives": True,
        "keep_copy": True,
        "forwards": frozenset(),
    }
    return Resource(Id(mail.MAILBOX, local), usual | fields)


def facts(
    tmp_path: Path,
    live: Sequence[Resource] | None = None,
    *,
    further: str = "",
    checks_yaml: str = "",
    outputs: Mapping[str, str] | None = None,
    zones: str = ZONES,
    mail_yaml: str = MAIL,
    error: str = "",
    known: bool = True,
) -> Facts:
    """
    Of a customer whose mailboxes hold all that is declared, and what is `live` otherwise; it is all `known` to the
    ledger.
    """
    files = {"inventory/targets.yaml": TARGETS.replace("FURTHER", further), "inventory/checks.yaml": checks_yaml}
    files |= {"customers/acme/dns.yaml": zones, "customers/acme/dns/acme.example.yaml": "{}\n"}
    estate_ = load(estate(tmp_path, files | {"customers/acme/mail.yaml": mail_yaml}), now=NOW)
    declared = [*declarations(estate_, Selection(), {}, NOW)]
    plans = [planned(d, live or (), known) for d in declared if d.scope.facet == mail.FACET]
    if error:
        plans = [ScopePlan(plan.scope, error=error) for plan in plans]
    history = {}
    if outputs:
        scope = Scope("mail-1", "filter", "acme.example", "acme")
        history[scope] = ScopeRecord(scope, {}, outputs)
    (made,) = checks.facts_of(estate_, declared, plans, history, NOW)
    return made


def planned(declaration: Declaration, live: Sequence[Resource], known: bool) -> ScopePlan:
    mine = live if declaration.scope == BOX else ()
    there = {r.id: r for r in declaration.resources} | {r.id: r for r in mine}
    record = ScopeRecord(declaration.scope, {r.id: Record((r,)) for r in declaration.resources} if known else {})
    return plan_scope(declaration, record, Reading(declaration.scope, [*there.values()]))


def gauge(what: str, local: str, facet: str = mail.FACET) -> Gauge:
    return Gauge(Scope("mail-1", facet, "acme.example"), Id(mail.MAILBOX, local), what)


READS_LOGS = "logs: {driver: maillog, via: local}"
QUEUE = Gauge(Scope("mail-1", "logs", "acme.example"), mail.DOMAIN_ID, mail.QUEUED_SINCE)
EMPTY: dict[Gauge, Measured] = {
    gauge(mail.OCTETS, "paolo"): 0,
    gauge(mail.QUOTA, "paolo"): 10 * GIB,
    gauge(mail.OCTETS, "anna"): 0,
    gauge(mail.QUOTA, "anna"): GIB,
    gauge(mail.LAST_LOGIN, "luca"): None,
    gauge(mail.SESSIONS, "luca"): None,
}


def found(of: Facts, seen: Mapping[Any, Any] = EMPTY) -> list[Finding]:
    return [*checks.check("mail").findings(of, seen)]


def said(of: Facts, seen: Mapping[Any, Any] = EMPTY) -> list[str]:
    return [f"{f.code} {f.severity} {f.path.removeprefix('mailboxes/acme.example')}".strip() for f in found(of, seen)]


def test_nothing_is_found_where_all_is_well(tmp_path: Path) -> None:
    assert found(facts(tmp_path)) == []


def test_what_is_asked_of_whom(tmp_path: Path) -> None:
    asked = [*checks.check("mail").questions(facts(tmp_path / "a"))]
    assert {*asked} == {*EMPTY}  # a mailbox without a quota cannot be full, and Sara is still here
    of = facts(tmp_path / "b", further=READS_LOGS, outputs={"dkim mail": KEY})
    others = {Gauge(Scope("mail-1", "logs", d), mail.DOMAIN_ID, mail.QUEUED_SINCE) for d in ("acme.net", "acme.it")}
    more = {QUEUE, *others, DKIM, gauge(mail.LAST_LOGIN, "luca", "logs")}
    assert {*checks.check("mail").questions(of)} == {*EMPTY} | more


# -- what mailboxes hold ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "settings", "expected"),
    [
        (9 * GIB - 1, "", []),
        (9 * GIB, "", ["mail.full warning /paolo"]),
        (10 * GIB, "", ["mail.full severe /paolo"]),
        (5 * GIB, "mail: {full: 50}\n", ["mail.full warning /paolo"]),
        (Unmeasured("no row"), "", ["mail.unchecked unknown"]),
    ],
)
def test_a_mailbox_that_is_nearly_full(tmp_path: Path, octets: object, settings: str, expected: list[str]) -> None:
    seen = EMPTY | {gauge(mail.OCTETS, "paolo"): octets}
    assert said(facts(tmp_path, checks_yaml=settings), seen) == expected


def test_how_full_is_said_in_words(tmp_path: Path) -> None:
    (finding,) = found(facts(tmp_path), EMPTY | {gauge(mail.OCTETS, "paolo"): 9 * GIB + GIB // 2})
    assert finding.what == "paolo holds 9.5 GiB of 10.0 GiB (95 %)"
    assert finding.source == "customers/acme/mail.yaml:6"


@pytest.mark.parametrize(
    ("live", "expected"), [(20 * GIB, []), (0, []), (12 * GIB, ["mail.full severe /paolo"]), (Unmeasured("x"), [])]
)
def test_the_quota_that_counts_is_the_one_that_is_live(tmp_path: Path, live: Measured, expected: list[str]) -> None:
    """As the target measures it, else as it was read."""
    seen = EMPTY | {gauge(mail.OCTETS, "paolo"): 15 * GIB, gauge(mail.QUOTA, "paolo"): live}
    assert said(facts(tmp_path, [box("paolo", quota=20 * GIB)]), seen) == expected


def test_what_could_not_be_measured_is_said_once_with_its_reason(tmp_path: Path) -> None:
    of = facts(tmp_path, further=READS_LOGS)
    why = Unmeasured("the server is silent")
    (finding,) = found(of, dict.fromkeys([*EMPTY, QUEUE, gauge(mail.LAST_LOGIN, "luca", "logs")], why))
    assert finding.what == (
        "could not be checked: what mailboxes hold (the server is silent); who logged in after leaving"
        " (the server is silent); what is open of people who are switched off (the server is silent); mail that waits"
        " (the server is silent)"
    )
    (finding,) = found(of, EMPTY | {gauge(mail.OCTETS, "anna"): why})
    assert finding.what == "could not be checked: what mailboxes hold: anna (the server is silent)"


def test_a_target_that_gave_no_answer_is_not_asked_again(tmp_path: Path) -> None:
    of = facts(tmp_path, error="no route", outputs={"dkim mail": KEY})
    assert [*checks.check("mail").questions(of)] == [DKIM]
    assert found(of, {}) == []  # that it gave none stands in the report already


# -- who gets copies --------------------------------------------------------------------------------------------

EVIL = "copy@evil.example"


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        (box("paolo", quota=10 * GIB, forwards=frozenset({EVIL})), ["mail.forward severe /paolo"]),
        (box("paolo", quota=10 * GIB, forwards=frozenset({"x@acme.it"})), []),  # the customer's own
        (box("anna", quota=GIB, forwards=frozenset({"boss@partner.example"}), receives=False), []),
        (box("anna", quota=GIB, forwards=frozenset({"boss@partner.example", EVIL})), ["mail.forward severe /anna"]),
        (box("paolo", quota=10 * GIB, forwards=frozenset({EVIL}), receives=False), []),  # nobody gets anything
        (mail.alias("tutti", ["paolo@acme.example", EVIL]), ["mail.forward severe /tutti"]),
        (mail.alias("new", [EVIL]), ["mail.forward severe /new"]),
        (mail.alias("new", [EVIL], enabled=False), []),
        (mail.alias("@", [EVIL]), ["mail.forward severe /@"]),
        (box("new", forwards=frozenset({EVIL})), ["mail.forward severe /new"]),
        (mail.alias("new", ["paolo@acme.example", "|/usr/bin/program"]), []),
    ],
)
def test_copies_that_go_to_strangers(tmp_path: Path, live: Resource, expected: list[str]) -> None:
    assert said(facts(tmp_path, [live])) == expected


def test_who_was_declared_before_is_no_stranger(tmp_path: Path) -> None:
    """Git took somebody out and nobody has applied it yet: that is pending, not a stolen account."""
    of = facts(tmp_path, [mail.alias("old", ["x@partner.example"])])
    (plan,) = (p for p in of.live.values() if p.scope == BOX)
    assert [d.id.name for d in plan.left] == ["old"]
    assert said(of) == ["mail.forward severe /old"]
    old = Record((mail.alias("old", ["x@partner.example"]),))
    plan = plan_scope(
        of.declared[-2],
        ScopeRecord(BOX, {Id(mail.ALIAS, "old"): old}),
        Reading(BOX, [mail.alias("old", ["x@partner.example"])]),
    )
    assert [step.change.verb for step in plan.steps].count("delete") == 1
    assert not [d for d in plan.left if d.id.name == "old"]


def test_a_stranger_is_named(tmp_path: Path) -> None:
    many = frozenset(f"c{n}@evil.example" for n in range(6))
    (finding,) = found(facts(tmp_path, [box("paolo", quota=10 * GIB, forwards=many)]))
    assert finding.what.startswith("mail also goes to c0@evil.example, c1@evil.example, c2@evil.example and 3 more, ")


# -- log-ins and the queue --------------------------------------------------------------------------------------

LEFT = datetime(2027, 3, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("mailboxes", "logs", "expected"),
    [
        (None, None, []),
        (LEFT - timedelta(hours=1), None, []),
        (LEFT + timedelta(hours=9), None, ["mail.login severe /luca"]),
        (Unmeasured("no plugin"), LEFT + timedelta(hours=9), ["mail.login severe /luca"]),
        (Unmeasured("no plugin"), None, []),
        (LEFT - timedelta(hours=1), LEFT + timedelta(hours=9), ["mail.login severe /luca"]),
        (Unmeasured("no plugin"), Unmeasured("no logs"), ["mail.unchecked unknown"]),
    ],
)
def test_log_ins_of_somebody_who_left(tmp_path: Path, mailboxes: object, logs: object, expected: list[str]) -> None:
    of = facts(tmp_path, further=READS_LOGS)
    seen = EMPTY | {gauge(mail.LAST_LOGIN, "luca"): mailboxes, gauge(mail.LAST_LOGIN, "luca", "logs"): logs}
    assert said(of, seen) == expected


def test_a_log_in_is_told_with_its_time(tmp_path: Path) -> None:
    (finding,) = found(facts(tmp_path), EMPTY | {gauge(mail.LAST_LOGIN, "luca"): LEFT + timedelta(hours=9)})
    assert finding.what == "luca left 2027-03-05, and somebody logged in on 2027-03-05 09:00 UTC"


@pytest.mark.parametrize(
    ("sessions", "expected"),
    [
        (None, []),
        ("imap from 192.0.2.7", ["mail.session severe /luca"]),
        (Unmeasured("Dovecot is away"), ["mail.unchecked unknown"]),
        (NOT_HERE, []),  # nobody can be asked
    ],
)
def test_sessions_of_somebody_who_is_switched_off(tmp_path: Path, sessions: object, expected: list[str]) -> None:
    assert said(facts(tmp_path), EMPTY | {gauge(mail.SESSIONS, "luca"): sessions}) == expected


def test_whose_sessions_must_not_be_open(tmp_path: Path) -> None:
    """Whoever cannot log in, whatever Git says of it, and whoever was taken away."""
    box_gone, box_kept, back = (Id(mail.MAILBOX, name) for name in ("gone", "kept", "paolo"))
    of = facts(tmp_path, [box("anna", quota=GIB, enabled=False)])
    records = {id_: Record((None,), tombstone=NOW.date()) for id_ in (box_gone, back, Id(mail.ALIAS, "tutti"))}
    records[box_kept] = Record((box("kept", enabled=False),), kept_until=NOW.date())
    scope = replace(BOX, customer="acme")
    of = replace(of, history={scope: ScopeRecord(scope, records)})
    assert off(of) == ["anna", "gone", "kept", "luca"]
    asked = gauge(mail.SESSIONS, "gone")
    finding = next(f for f in found(of, {asked: "pop3 from 192.0.2.7"}) if f.code == "mail.session")
    assert finding.what == "gone is gone, and something of it is still open: pop3 from 192.0.2.7"
    assert finding.remedy.startswith("end it (mspctl mail end acme gone@acme.example)")
    closed = facts(tmp_path / "closed", [Resource(mail.DOMAIN_ID, mail.USUAL | {"enabled": False})])
    assert off(closed) == ["anna", "free", "luca", "paolo", "sara"]


def off(of: Facts) -> list[str]:
    return sorted(g.id.name for g in checks.check("mail").questions(of) if getattr(g, "what", "") == mail.SESSIONS)


@pytest.mark.parametrize(
    ("minutes", "settings", "expected"),
    [
        (None, "", []),
        (60, "", []),
        (61, "", ["mail.queue warning"]),
        (16, "mail: {queued: 15m}\n", ["mail.queue warning"]),
    ],
)
def test_mail_that_waits(tmp_path: Path, minutes: int | None, settings: str, expected: list[str]) -> None:
    of = facts(tmp_path, further=READS_LOGS, checks_yaml=settings)
    since = None if minutes is None else NOW - timedelta(minutes=minutes)
    assert said(of, EMPTY | {QUEUE: since}) == expected


def test_mail_of_a_domain_that_stands_for_another_waits_too(tmp_path: Path) -> None:
    of = facts(tmp_path, further=READS_LOGS)
    late = Gauge(Scope("mail-1", "logs", "acme.net"), mail.DOMAIN_ID, mail.QUEUED_SINCE)
    (finding,) = found(of, EMPTY | {QUEUE: None, late: NOW - timedelta(hours=3)})
    assert finding.what == "mail has been waiting to be delivered since 2027-03-15 03:00 UTC"


# -- lists ------------------------------------------------------------------------------------------------------

ALLOW = "allow: [{from: partner.example, must_pass: dkim, why: ticket 7, until: DAY}, {from: 192.0.2.9, why: x}]\n"


@pytest.mark.parametrize(
    ("day", "there", "expected"),
    [
        ("2027-03-15", False, []),  # the day is included
        ("2027-03-14", False, ["mail.list info"]),
        ("2027-03-14", True, ["mail.list warning"]),
        ('"2027-03-15 07:00"', False, []),
        ('"2027-03-15 05:59"', True, ["mail.list warning"]),
    ],
)
def test_entries_past_their_date(tmp_path: Path, day: str, there: bool, expected: list[str]) -> None:
    said_ = MAIL.replace("    groups:\n", f"    {ALLOW.replace('DAY', day)}    groups:\n", 1)
    of = facts(tmp_path, mail_yaml=said_)
    scope = Scope("mail-1", "filter", "acme.example")
    declaration = next(d for d in of.declared if d.scope == scope)
    entry = filters.entry(filters.ALLOW, "partner.example", "ticket 7", "dkim")
    live = [*declaration.resources, *([entry] if there else [])]
    record = ScopeRecord(scope, {r.id: Record((r,)) for r in live})
    plan = plan_scope(declaration, record, Reading(scope, live))
    findings = found(replace(of, live={**of.live, scope: plan}))
    assert [f"{f.code} {f.severity}" for f in findings] == expected
    for finding in findings:
        assert (finding.path, finding.source) == ("filter/acme.example/partner.example", "customers/acme/mail.yaml:9")
        assert finding.what.startswith("allow: partner.example was to end on 2027-03-1")


# -- the DKIM key -----------------------------------------------------------------------------------------------


def txt(*texts: str) -> Answer:
    return Answer(Status.FOUND, tuple(dns.quoted(text.encode()) for text in texts))


@pytest.mark.parametrize(
    ("answer", "expected", "text"),
    [
        (txt(KEY), [], ""),
        (txt("p=MIGf MA0"), [], ""),
        (txt("k=rsa; p=MIGfMA0;", "google-site-verification=x"), [], ""),
        (txt("v=DKIM1; p=other"), ["mail.dkim severe"], "is not the one that mail-1 signs with"),
        (txt("v=DKIM1; p="), ["mail.dkim severe"], "is not the one that mail-1 signs with"),
        (txt("v=DKIM1; k=ed25519; p=MIGfMA0"), ["mail.dkim severe"], "is not the one"),
        (txt(KEY, "v=DKIM1; p=other"), ["mail.dkim warning"], "there are 2 DKIM keys at"),
        (txt("something else"), ["mail.dkim severe"], "has no DKIM key at mail._domainkey.acme.example"),
        (Answer(Status.NOTHING), ["mail.dkim severe"], "has no DKIM key"),
        (Answer(Status.EMPTY), ["mail.dkim severe"], "has no DKIM key"),
        (Answer(Status.UNKNOWN, why="silence"), ["mail.unchecked unknown"], "the DKIM key (silence)"),
    ],
)
def test_the_key_in_the_dns(tmp_path: Path, answer: Answer, expected: list[str], text: str) -> None:
    of = facts(tmp_path, outputs={"dkim mail": KEY})
    assert said(of, EMPTY | {DKIM: answer}) == expected
    assert text in "".join(f.what for f in found(of, EMPTY | {DKIM: answer}))


def test_one_key_of_several_is_enough_to_sign_with(tmp_path: Path) -> None:
    """While a key takes over from another, the filter signs with the first one that everybody can see."""
    said_ = MAIL.replace("publish: {}", "publish: {selector: new, old_selectors: mail}", 1)
    of = facts(tmp_path, outputs={"dkim mail": KEY, "dkim new": "v=DKIM1; p=new"}, mail_yaml=said_)
    new = NameQuestion("new._domainkey.acme.example.", "TXT")
    (finding,) = found(of, EMPTY | {DKIM: txt(KEY), new: Answer(Status.NOTHING)})
    assert (finding.severity, finding.what.endswith("what is signed with it fails")) == (Severity.WARNING, True)
    both = found(of, EMPTY | {DKIM: txt("v=DKIM1; p=x"), new: Answer(Status.NOTHING)})
    assert [(f.severity, f.what.endswith("all signatures fail")) for f in both] == [(Severity.SEVERE, True)] * 2


def test_without_a_key_and_inside_nobody_is_asked(tmp_path: Path) -> None:
    inside = ZONES.replace("files}", "files, public: false}")
    for number, of in enumerate(({}, {"outputs": {"dkim mail": KEY}, "zones": inside})):
        made = facts(tmp_path / str(number), **of)  # type: ignore[arg-type]
        assert not [q for q in checks.check("mail").questions(made) if isinstance(q, NameQuestion)]
    assert said(facts(tmp_path / "unasked", outputs={"dkim mail": KEY})) == []


# -- block lists ------------------------------------------------------------------------------------------------

LIST = "bl.example."
LISTS = "mail: {block_lists: bl.example}\n"
NOT = Answer(Status.NOTHING)


def on(*values: str) -> Answer:
    return Answer(Status.FOUND, values or ("127.0.0.2",))


def test_names_that_are_asked_for() -> None:
    names = [q.name for q in BlockList(LIST, ["192.0.2.25", "2001:db8::25"]).questions if q.rtype == "A"]
    nibbles = ".".join("20010db8" + "0" * 20 + "0025")[::-1]
    assert names == [
        "2.0.0.127.bl.example.",
        "1.0.0.127.bl.example.",
        "25.2.0.192.bl.example.",
        f"{nibbles}.bl.example.",
    ]


@pytest.mark.parametrize(
    ("always", "never", "ours", "expected"),
    [
        (on(), NOT, NOT, []),
        (on(), NOT, on("127.0.0.4", "127.0.0.10"), ["mail.listed warning"]),
        (on(), NOT, on("127.255.255.254"), ["mail.unchecked unknown"]),  # it does not want to be asked by us
        (on(), NOT, on("198.51.100.1"), ["mail.unchecked unknown"]),  # somebody bought the name of a dead list
        (NOT, NOT, NOT, ["mail.unchecked unknown"]),  # dead
        (on(), on(), on(), ["mail.unchecked unknown"]),  # it lists everybody
        (on(), NOT, Answer(Status.UNKNOWN, why="silence"), ["mail.unchecked unknown"]),
        (Answer(Status.UNKNOWN, why="silence"), NOT, on(), ["mail.unchecked unknown"]),
    ],
)
def test_what_a_list_says(tmp_path: Path, always: Answer, never: Answer, ours: Answer, expected: list[str]) -> None:
    one = BlockList(LIST, ["192.0.2.25", "2001:db8::25"])
    seen: dict[Any, Any] = dict.fromkeys(one.questions, NOT)
    names = ("2.0.0.127", "1.0.0.127", "25.2.0.192")
    seen |= {NameQuestion(f"{n}.{LIST}", "A"): a for n, a in zip(names, (always, never, ours), strict=True)}
    of = facts(tmp_path, checks_yaml=LISTS)
    mine = [f"{f.code} {f.severity}" for f in found(of, EMPTY | seen) if f.path == "mailboxes/acme.example"]
    assert mine == expected
    assert {q for q in checks.check("mail").questions(of) if isinstance(q, NameQuestion)} == {*one.questions}


def test_what_a_list_says_of_an_address_is_told_and_cannot_act(tmp_path: Path) -> None:
    one = BlockList(LIST, ["192.0.2.25", "2001:db8::25"])
    seen: dict[Any, Any] = dict.fromkeys(one.questions, NOT)
    text = "see https://bl.example/q?192.0.2.25 \x1b[2J" + "x" * 200
    seen |= {NameQuestion(f"2.0.0.127.{LIST}", "A"): on(), NameQuestion(f"25.2.0.192.{LIST}", "A"): on()}
    seen |= {NameQuestion(f"25.2.0.192.{LIST}", "TXT"): txt(text)}
    finding = found(facts(tmp_path, checks_yaml=LISTS), EMPTY | seen)[0]
    assert finding.what.startswith(
        "192.0.2.25, from which mail-1 sends, is on the block list bl.example (see https://bl."
    )
    assert finding.what.isprintable()
    assert len(finding.what) < 250
