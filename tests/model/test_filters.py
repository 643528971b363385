"""Lists of senders, limits and keys of a mail domain: what YAML may say, what it comes to, and the way back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mspctl.desired import Declaration, Outputs, Selection, back, declarations
from mspctl.errors import InputError
from mspctl.kinds import dns
from mspctl.kinds import filter as filters
from mspctl.load import load
from mspctl.moments import Ending
from mspctl.resource import UNKNOWN, Id, Resource, Scope
from tests.estate import estate

TARGETS = """\
targets:
  files: {facets: {dns: {driver: zonefile, directory: zones}}}
  mail-1:
    publish: {mx: 10 mx.msp.example.}
    facets: {filter: {driver: rspamd, via: local}, mailboxes: {driver: postfixadmin, database: sqlite, file: x}}
  bare: {publish: {mx: 10 mx.msp.example.}, facets: {}}
"""
CUSTOMER = """\
name: Acme
timezone: Europe/Rome
contacts:
  - {id: maria, name: Maria Rossi, may_authorize: [mail]}
  - {id: luca, name: Luca Bo, may_authorize: [dns]}
"""
HEAD = "domains:\n  acme.example:\n    target: mail-1\n"
NOW = datetime(2027, 3, 10, 9, tzinfo=UTC)
FILE = "customers/acme/mail.yaml"
SCOPE = Scope("mail-1", filters.FACET, "acme.example")


def acme(tmp_path: Path, *lines: str, head: str = HEAD) -> Path:
    text = head + "".join(f"    {line}\n" for line in lines)
    files = {"inventory/targets.yaml": TARGETS, "customers/acme/customer.yaml": CUSTOMER, FILE: text}
    files["customers/acme/dns.yaml"] = "zones: {acme.example: {target: files}}\n"
    return estate(tmp_path, files | {"customers/acme/dns/acme.example.yaml": "www: {A: 192.0.2.80}\n"})


def declared(root: Path, now: datetime = NOW, outputs: Outputs | None = None) -> dict[Scope, Declaration]:
    return {d.scope: d for d in declarations(load(root, now=now), Selection(), outputs or {}, now)}


def resources(root: Path, now: datetime = NOW) -> dict[str, Resource]:
    return {r.id.name: r for r in declared(root, now)[SCOPE].resources}


def complaints(root: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        load(root)
    return [str(p).removeprefix(f"{FILE}:") for p in caught.value.problems]


# -- what it comes to -------------------------------------------------------------------------------------------


def test_all_that_can_be_said(tmp_path: Path) -> None:
    root = acme(
        tmp_path,
        "alias_domains: acme.it",
        "limits: {message_size: 25 MiB, sending_rate: 200/60m}",
        "publish: {selector: k2, old_selectors: mail}",
        "allow:",
        "  - {from: Fornitore.example, must_pass: dkim, why: orders, until: 2027-06-30, asked_by: maria, ticket: 4711}",
        "  - {from: 198.51.100.0/24, why: the scanner}",
        "block:",
        "  - {from: Spam@Perché.example, why: spam}",
        "  - {from: '::ffff:192.0.2.7', why: spam}",
        "  beta.example:\n    target: mail-1",
    )
    (root / FILE).write_text((root / FILE).read_text().replace("      beta", "  beta"))
    found = resources(root)
    assert found["fornitore.example"].fields == {
        "why": "orders", "must_pass": "dkim", "until": "2027-06-30T22:00:00Z", "asked_by": "maria", "ticket": "4711"
    }  # fmt: skip
    assert found["fornitore.example"].source == f"{FILE}:8"
    assert found["198.51.100.0/24"] == filters.entry(filters.ALLOW, "198.51.100.0/24", "the scanner")
    assert found["spam@xn--perch-fsa.example"].id.kind == filters.BLOCK
    assert found["192.0.2.7"] == filters.entry(filters.BLOCK, "192.0.2.7", "spam")
    assert found["limits"] == filters.limits(25 * 2**20, "200/1h")
    assert found["alias_domains"] == filters.alias_domains(["acme.it"])
    assert found["signing"] == filters.signing("k2", ["beta.example"])
    assert {found[name].id.kind for name in ("k2._domainkey", "mail._domainkey")} == {filters.DKIM}
    assert len(found) == 9


def test_a_domain_of_which_nothing_is_said_has_a_scope_for_what_goes(tmp_path: Path) -> None:
    assert declared(acme(tmp_path))[SCOPE].resources == []


def test_mailboxes_are_not_limited_by_what_limits_mail(tmp_path: Path) -> None:
    root = acme(tmp_path, "limits: {message_size: 1 MiB}")
    assert resources(root) == {"limits": filters.limits(2**20, "")}
    assert declared(root)[replace(SCOPE, facet="mailboxes")].resources == []


def test_alias_domains_matter_only_beside_lists_and_limits(tmp_path: Path) -> None:
    assert resources(acme(tmp_path, "publish: {leave_out: dkim}", "alias_domains: acme.it", head=HEAD)) == {}


@pytest.mark.parametrize(
    ("until", "last", "over"),
    [
        ("2027-03-28", datetime(2027, 3, 28, 21, 59, 59, tzinfo=UTC), datetime(2027, 3, 28, 22, tzinfo=UTC)),
        ("2027-03-10 18:00", datetime(2027, 3, 10, 16, 59, 59, tzinfo=UTC), datetime(2027, 3, 10, 17, tzinfo=UTC)),
    ],
)
def test_until_includes_its_day_and_ends_by_itself(tmp_path: Path, until: str, last: datetime, over: datetime) -> None:
    root = acme(tmp_path, f"block: [{{from: bad.example, why: spam, until: {until}}}]")
    before, after = declared(root, last)[SCOPE], declared(root, over)[SCOPE]
    (entry,) = before.resources
    assert entry.fields["until"] == f"{over:%Y-%m-%dT%H:%M:%SZ}"
    assert (before.timed, before.ends) == ({}, {entry.id: Ending(over, f"until {until}")})
    assert (after.resources, after.timed, after.ends) == ([], {entry.id: f"expired {until}"}, {})


# -- keys in the zone -------------------------------------------------------------------------------------------


def texts(root: Path, outputs: Outputs) -> dict[str, object]:
    found = declared(root, outputs=outputs)[Scope("files", "dns", "acme.example")].resources
    return {r.id.name: r.fields["values"] for r in found if "_domainkey" in r.id.name}


def test_each_declared_key_is_waited_for_by_name(tmp_path: Path) -> None:
    root = acme(tmp_path, "publish: {selector: k2, old_selectors: [mail]}")
    assert texts(root, {SCOPE: {"dkim mail": "v=DKIM1; p=one"}}) == {
        "k2._domainkey TXT": UNKNOWN, "mail._domainkey TXT": {'"v=DKIM1; p=one"'}
    }  # fmt: skip


def test_a_key_that_is_declared_no_more_stays_in_the_zone_while_it_is_there(tmp_path: Path) -> None:
    root = acme(tmp_path, "publish: {selector: k2}")
    handed_out = {"dkim mail": "v=DKIM1; p=one", "dkim k2": "v=DKIM1; p=two"}
    assert texts(root, {SCOPE: handed_out}) == {
        "k2._domainkey TXT": {'"v=DKIM1; p=two"'}, "mail._domainkey TXT": {'"v=DKIM1; p=one"'}
    }  # fmt: skip
    assert texts(root, {SCOPE: handed_out | {"dkim mail": ""}}) == {"k2._domainkey TXT": {'"v=DKIM1; p=two"'}}


def test_a_key_that_went_is_waited_for_anew(tmp_path: Path) -> None:
    root = acme(tmp_path, "publish: {}")
    assert texts(root, {SCOPE: {"dkim mail": ""}}) == {"mail._domainkey TXT": UNKNOWN}


def test_without_dkim_no_key_is_made_or_published(tmp_path: Path) -> None:
    root = acme(tmp_path, "publish: {leave_out: [dkim]}")
    assert resources(root) == {}
    assert texts(root, {SCOPE: {"dkim mail": "v=DKIM1; p=one"}}) == {}


# -- what is wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "allow: [{from: fornitore.example, why: orders}]",
            "4:13: domains.acme.example.allow[0]: anybody can write as fornitore.example (add must_pass: dkim or "
            "must_pass: spf, or name the address of its server)",
        ),
        (
            "allow: [{from: a@b.example, why: x}]",
            "4:13: domains.acme.example.allow[0]: anybody can write as a@b.example (add must_pass: dkim or must_pass: "
            "spf, or name the address of its server)",
        ),
        (
            "allow: [{from: 192.0.2.1, must_pass: spf, why: x}]",
            "4:13: domains.acme.example.allow[0]: must_pass is for names: an address is what the message came from "
            "(take it out)",
        ),
        (
            "allow: [{from: a.example, must_pass: dmarc, why: x}]",
            "4:42: domains.acme.example.allow[0].must_pass: 'dmarc' is not one of 'dkim', 'spf'",
        ),
        ("block: [{from: a.example}]", "4:13: domains.acme.example.block[0].why: is missing"),
        ('block: [{from: a.example, why: "a\\nb"}]', "should be one line"),
        ("block: [{from: a.example, why: x, must_pass: spf}]", "unknown key"),
        ("block: [{from: a.example, why: x, untill: x}]", "unknown key (did you mean until?)"),
        ("block: [{from: 10.0.0.1/24, why: x}]", "is not an address or a network (write 10.0.0.0/24)"),
        ("block: [{from: 0.0.0.0/0, why: x}]", "is almost everybody (name networks of /8 or longer)"),
        ("block: [{from: '2000::/3', why: x}]", "is almost everybody (name networks of /16 or longer)"),
        ("block: [{from: '::ffff:0.0.0.0/96', why: x}]", "is almost everybody"),
        ("block: [{from: example, why: x}]", "'example' is not a sender (write fornitore.example"),
        ("block: [{from: '*.a.example', why: x}]", "is not a sender"),
        ("block: [{from: a b.example, why: x}]", "is not a sender"),
        ("block: [{from: '@a.example', why: x}]", "is not an e-mail address"),
        ("block: [{from: 300.1.2.3, why: x}]", "is not an address or a network"),
        ("block: [{from: a.example, why: x, until: 2027-02-30}]", "is not a day or a time"),
        ("block: [{from: a.example, why: x, until: '2027-03-28 02:30'}]", "does not exist in Europe/Rome"),
        (
            "block: [{from: a.example, why: x, asked_by: mario}]",
            "4:49: domains.acme.example.block[0].asked_by: mario is no contact in customer.yaml (did you mean maria?)",
        ),
        (
            "block: [{from: a.example, why: x, asked_by: luca}]",
            "luca may not ask for changes of mail (customer.yaml: may_authorize)",
        ),
        (
            "block: [{from: a.example, why: x}, {from: A.EXAMPLE, why: y}]",
            f"4:47: domains.acme.example.block[1].from: a.example is in this list already, at {FILE}:4",
        ),
        ("limits: {sending_rate: 200}", "'200' is not a rate (write 200/1h: so many messages in such a time)"),
        ("limits: {sending_rate: 0/1h}", "is not a rate"),
        ("limits: {message_size: 25}", "is not a size (write 25 GiB)"),
        ("publish: {old_selectors: [mail]}", "mail is the selector, and cannot be an old one too"),
    ],
)
def test_bad_input_is_told_in_one_line(tmp_path: Path, line: str, said: str) -> None:
    (complaint,) = complaints(acme(tmp_path, line))
    assert said in complaint


@pytest.mark.parametrize(
    ("allow", "block", "said"),
    [
        ("192.0.2.1", "192.0.2.1", "it is blocked"),
        ("192.0.2.1", "192.0.2.0/24", "192.0.2.0/24, and with it this, is blocked"),
        ("a.example, must_pass: spf", "a.example", "it is blocked"),
        ("x@a.example, must_pass: spf", "a.example", "a.example, and with it this, is blocked"),
        ("b.a.example, must_pass: spf", "a.example", "a.example, and with it this, is blocked"),
    ],
)
def test_who_is_blocked_cannot_be_allowed(tmp_path: Path, allow: str, block: str, said: str) -> None:
    root = acme(tmp_path, "allow:", f"  - {{from: {allow}, why: x}}", "block:", f"  - {{from: {block}, why: y}}")
    (complaint,) = complaints(root)
    assert complaint.startswith("5:16: domains.acme.example.allow[0].from: ")
    assert f"{said} at {FILE}:7, and a block wins (remove one of them)" in complaint


@pytest.mark.parametrize(
    ("allow", "block"),
    [
        ("192.0.2.0/24", "192.0.2.1"),
        ("192.0.2.0/24", "2001:db8::/32"),
        ("a.example, must_pass: spf", "x@a.example"),
        ("a.example, must_pass: spf", "192.0.2.1"),
        ("a.example, must_pass: spf", "aa.example"),
    ],
)
def test_a_part_of_who_is_allowed_can_be_blocked(tmp_path: Path, allow: str, block: str) -> None:
    root = acme(tmp_path, f"allow: [{{from: {allow}, why: x}}]", f"block: [{{from: '{block}', why: y}}]")
    assert len(resources(root)) == 2


def test_a_target_without_a_filter_is_named_at_each_line_that_needs_one(tmp_path: Path) -> None:
    root = acme(
        tmp_path,
        "allow: [{from: 192.0.2.1, why: x}]",
        "block: [{from: 192.0.2.2, why: x}]",
        "limits: {message_size: 1 MiB,",
        "  sending_rate: 5/1h}",
        "publish: {old_selectors: old}",
        head=HEAD.replace("mail-1", "bare"),
    )
    why = "needs a mail filter, and target bare has no facet filter (known: mail-1)"
    assert complaints(root) == [
        f"4:5: domains.acme.example.allow: {why}",
        f"5:5: domains.acme.example.block: {why}",
        f"6:14: domains.acme.example.limits.message_size: {why}",
        f"7:7: domains.acme.example.limits.sending_rate: {why}",
        f"8:15: domains.acme.example.publish.old_selectors: {why}",
    ]


# -- the way back -----------------------------------------------------------------------------------------------

LISTS = """\
domains:
  acme.example:
    target: mail-1
    allow:
      # the people who bring the paper
      - {from: Fornitore.example, must_pass: dkim, why: orders, until: 2027-06-30}   # until summer
    limits: {mailboxes: 30, message_size: 25 MiB}
    publish: {selector: k2, old_selectors: [mail]}
"""


def adopted(root: Path, *live: Resource, gone: tuple[Id, ...] = ()) -> str:
    changes = {r.id: r for r in live} | dict.fromkeys(gone)
    return back(filters.FACET).rewrite(load(root, now=NOW), "acme", "acme.example", changes).after


def written(tmp_path: Path) -> Path:
    root = acme(tmp_path)
    (root / FILE).write_text(LISTS)
    return root


def test_an_entry_is_changed_in_place(tmp_path: Path) -> None:
    live = filters.entry(filters.ALLOW, "fornitore.example", "orders", "spf", "2027-06-30T22:00:00Z", "", "12")
    after = adopted(written(tmp_path), live)
    changed = "{from: Fornitore.example, must_pass: spf, why: orders, until: 2027-06-30, ticket: 12}   # until summer"
    assert after == LISTS.replace(
        "{from: Fornitore.example, must_pass: dkim, why: orders, until: 2027-06-30}   # until summer", changed
    )


@pytest.mark.parametrize(
    ("instant", "typed"),
    [("2027-07-31T22:00:00Z", "2027-07-31"), ("2027-07-31T16:30:00Z", "2027-07-31 18:30"), ("", "")],
)
def test_an_end_comes_back_as_a_day_or_a_time_of_the_customers_clock(tmp_path: Path, instant: str, typed: str) -> None:
    live = filters.entry(filters.BLOCK, "192.0.2.0/24", "spam", until=instant)
    after = adopted(written(tmp_path), live)
    assert (f"until: {typed}" in after.partition("block:")[2]) is bool(typed)
    assert "from: 192.0.2.0/24" in after


def test_what_is_gone_is_taken_out(tmp_path: Path) -> None:
    root = written(tmp_path)
    after = adopted(root, gone=(Id(filters.ALLOW, "fornitore.example"), filters.key_id("mail"), filters.LIMITS))
    assert "allow" not in after
    assert "limits: {mailboxes: 30}" in after
    assert "publish: {selector: k2}" in after


def test_limits_and_keys_come_back(tmp_path: Path) -> None:
    after = adopted(written(tmp_path), filters.limits(0, "100/1d"), filters.key("older"))
    assert "limits: {mailboxes: 30, sending_rate: 100/1d}" in after
    assert "old_selectors: [mail, older]" in after


@pytest.mark.parametrize(
    ("live", "gone", "why"),
    [
        (filters.entry(filters.BLOCK, "b.example", ""), (), "b.example says nowhere why it is there"),
        (filters.entry(filters.BLOCK, "b.example", "x", until="2027-07-31T16:30:01Z"), (), "times are whole minutes"),
        (filters.signing("other"), (), "signing follows from the domains and selectors that are declared"),
        (None, (filters.key_id("k2"),), "k2._domainkey is gone, and its domain signs with it"),
        (None, (filters.SIGNING,), "signing follows from"),
    ],
)
def test_what_yaml_cannot_say_is_refused(tmp_path: Path, live: Resource | None, gone: tuple[Id, ...], why: str) -> None:
    with pytest.raises(InputError, match=why):
        adopted(written(tmp_path), *([live] if live else []), gone=gone)


def test_a_key_is_not_adopted_where_nothing_is_published(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a key for a domain of which nothing is published"):
        adopted(acme(tmp_path, "block: []"), filters.key("mail"))


def test_a_name_that_proves_nothing_is_not_adopted(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="anybody can write as b"):
        adopted(written(tmp_path), filters.entry(filters.ALLOW, "b.example", "x"))


# -- spelling ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "folded"),
    [
        ("Fornitore.EXAMPLE.", "fornitore.example"),
        ("perché.example", "xn--perch-fsa.example"),
        ("User.Name+x@Perché.example", "user.name+x@xn--perch-fsa.example"),
        ("198.51.100.7", "198.51.100.7"),
        ("198.51.100.7/32", "198.51.100.7"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::ffff:198.51.100.0/120", "198.51.100.0/24"),
        ("1.2.3.example", "1.2.3.example"),
    ],
)
def test_senders_have_one_spelling(typed: str, folded: str) -> None:
    assert filters.fold_sender(typed) == folded
    assert filters.fold_sender(folded) == folded


@pytest.mark.parametrize(
    ("typed", "folded"), [("200/h", "200/1h"), ("200 / 60m", "200/1h"), ("5/90s", "5/90s"), ("7/24h", "7/1d")]
)
def test_rates_have_one_spelling(typed: str, folded: str) -> None:
    assert filters.fold_rate(typed) == folded
    assert filters.fold_rate(folded) == folded


def test_the_text_of_a_key_is_one_string(tmp_path: Path) -> None:
    value = "v=DKIM1; k=rsa; p=" + "M" * 392
    found = texts(acme(tmp_path, "publish: {}"), {SCOPE: {"dkim mail": value}})
    assert found == {"mail._domainkey TXT": {dns.quoted(value.encode())}}
