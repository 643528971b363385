"""Mailboxes, groups and leavers: what YAML may say, and what it comes to at a moment."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mspctl.desired import Declaration, Selection, declarations
from mspctl.errors import InputError
from mspctl.fields import quota, size, spoken_size
from mspctl.kinds import mail
from mspctl.load import load
from mspctl.resource import Id, Resource
from tests.estate import estate

# Any driver stands for one of mailboxes: nothing is opened here.
TARGETS = "targets:\n  mail-1: {facets: {mailboxes: {driver: zonefile, directory: zones}}}\n  bare: {facets: {}}\n"
CUSTOMER = "name: Acme\ntimezone: Europe/Rome\n"
HEAD = "domains:\n  acme.example:\n    target: mail-1\n"
NOW = datetime(2027, 3, 10, 9, tzinfo=UTC)


def acme(tmp_path: Path, *lines: str, head: str = HEAD) -> Path:
    text = head + "".join(f"    {line}\n" for line in lines)
    files = {"inventory/targets.yaml": TARGETS, "customers/acme/customer.yaml": CUSTOMER}
    return estate(tmp_path, files | {"customers/acme/mail.yaml": text})


def declared(root: Path, now: datetime = NOW) -> Declaration:
    (found,) = declarations(load(root, now=now), Selection(), {}, now)
    return found


def resources(root: Path, now: datetime = NOW) -> dict[str, Resource]:
    return {r.id.name: r for r in declared(root, now).resources}


def complaints(root: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        load(root)
    return [str(p).removeprefix("customers/acme/mail.yaml:") for p in caught.value.problems]


# -- what it comes to -------------------------------------------------------------------------------------------


def test_a_mailbox_with_all_that_can_be_said_of_it(tmp_path: Path) -> None:
    root = acme(
        tmp_path,
        "mailboxes:",
        "  paolo: {name: Paolo Zen, quota: 10 GiB, password: generated, aliases: [p.zen], forwards: x@y.example}",
        "  Acquisti: {shared_with: [paolo], password: {secret: BUYERS, rev: 3}, was: ordini}",
        "  old: {enabled: false}",
        "  gone: {enabled: false, forwards: [paolo]}",
    )
    found = resources(root)
    assert found["paolo"].fields == {
        "name": "Paolo Zen", "quota": 10 * 2**30, "enabled": True, "receives": True, "keep_copy": True,
        "forwards": {"x@y.example"}, "password": "generated rev 1", "shared_with": frozenset(),
    }  # fmt: skip
    assert found["p.zen"] == mail.alias("p.zen", ["paolo@acme.example"])
    acquisti = found["acquisti"]
    assert (acquisti.fields["quota"], acquisti.fields["password"]) == (0, "BUYERS rev 3")
    assert (acquisti.fields["shared_with"], acquisti.was) == (
        frozenset({"paolo@acme.example"}),
        Id(mail.MAILBOX, "ordini"),
    )
    assert acquisti.source == "customers/acme/mail.yaml:6"
    assert [found["old"].fields[n] for n in ("enabled", "receives", "keep_copy")] == [False, False, True]
    assert [found["gone"].fields[n] for n in ("enabled", "receives", "keep_copy")] == [False, True, False]


def test_groups_catch_all_alias_domains_and_limits(tmp_path: Path) -> None:
    root = acme(
        tmp_path,
        "mailboxes: {paolo: {quota: 1 GiB}}",
        "groups: {tutti: [Paolo, Consulente@Partner.example, x@perché.example]}",
        "catch_all: paolo",
        "alias_domains: [acmé.example]",
        "limits: {mailboxes: 5, quota: 20 GiB}",
    )
    found = declared(root)
    assert found.scope.name == "acme.example"
    assert [*found.resources[1:]] == [
        mail.alias("tutti", ["paolo@acme.example", "consulente@partner.example", "x@xn--perch-fsa.example"]),
        mail.alias("@", ["paolo@acme.example"]),
        mail.alias_domain("xn--acm-dma.example"),
        mail.limits(5, 20 * 2**30),
    ]


def test_a_domain_below_the_line_of_which_nothing_is_said_is_an_empty_scope(tmp_path: Path) -> None:
    assert declared(acme(tmp_path)).resources == []


LEAVER = ("mailboxes: {acquisti: {}}", "groups: {tutti: [acquisti, luca]}", "leavers:")
LUCA = "  luca: {left: 2027-03-05, copy_to: acquisti, aliases: [l.rossi], until: 2027-04-05, keep_until: 2027-09-05}"


def at(year: int, month: int, day: int, hour: int = 9) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


def test_who_has_left_is_in_no_group_and_others_get_the_mail(tmp_path: Path) -> None:
    found = declared(acme(tmp_path, *LEAVER, LUCA))
    held = {r.id.name: r for r in found.resources}
    assert held["luca"].fields == {
        "enabled": False, "receives": True, "keep_copy": False, "forwards": {"acquisti@acme.example"}
    }  # fmt: skip
    assert held["l.rossi"].fields["to"] == frozenset({"luca@acme.example"})
    assert held["tutti"].fields["to"] == frozenset({"acquisti@acme.example"})
    assert found.timed[Id(mail.ALIAS, "tutti")] == "luca left 2027-03-05"
    assert found.ends[Id(mail.MAILBOX, "luca")].says == "until 2027-04-05"


@pytest.mark.parametrize(
    ("now", "enabled", "receives", "says"),
    [
        (at(2027, 3, 4, 22), True, None, ""),  # 23:00 in Rome
        (at(2027, 3, 4, 23), False, True, "left 2027-03-05"),
        (at(2027, 4, 5, 21), False, True, "left 2027-03-05"),  # 23:00 in Rome: summer time
        (at(2027, 4, 5, 22), False, False, "answered until 2027-04-05"),
        (at(2027, 9, 5, 21), False, False, "answered until 2027-04-05"),
        (at(2027, 9, 5, 22), None, None, "was kept until 2027-09-05"),
    ],
)
def test_the_way_out_by_the_customers_clock(
    tmp_path: Path, now: datetime, enabled: bool | None, receives: bool | None, says: str
) -> None:
    found = declared(acme(tmp_path, *LEAVER, LUCA), now)
    held = {r.id.name: r.fields for r in found.resources}
    luca = held.get("luca", {})
    assert (luca.get("enabled"), luca.get("receives")) == (enabled, receives)
    assert found.timed.get(Id(mail.MAILBOX, "luca"), "") == says
    assert ("l.rossi" in held) is bool(luca and receives is not False)
    assert ("luca@acme.example" in mail.addresses(held["tutti"]["to"])) is (enabled is True)


def test_who_is_about_to_leave_keeps_what_is_there_until_then(tmp_path: Path) -> None:
    found = declared(acme(tmp_path, *LEAVER, LUCA), at(2027, 3, 1))
    assert {r.id.name: dict(r.fields) for r in found.resources}["luca"] == {"enabled": True}
    assert [r.fields["enabled"] for r in found.later] == [False]


def test_a_leaver_is_kept_for_the_days_of_the_section(tmp_path: Path) -> None:
    head = "keep_for: 30d\n" + HEAD
    root = acme(tmp_path, "leavers: {luca: {left: 2027-03-05}}", head=head)
    assert resources(root, at(2027, 4, 3))["luca"].fields["receives"] is False
    assert resources(root, at(2027, 4, 5)) == {}
    assert declared(root, at(2027, 4, 3)).ends[Id(mail.MAILBOX, "luca")].says == "kept until 2027-04-04"


def test_copies_do_not_go_to_those_who_left_too(tmp_path: Path) -> None:
    root = acme(
        tmp_path,
        "mailboxes: {acquisti: {}}",
        "leavers:",
        "  luca: {left: 2027-03-05, copy_to: [anna, acquisti]}",
        "  anna: {left: 2027-03-08, reply: Anna has left}",
    )
    found = resources(root)
    assert found["luca"].fields["forwards"] == frozenset({"acquisti@acme.example"})
    assert (found["anna"].fields["reply"], found["anna"].fields["receives"]) == ("Anna has left", True)
    assert (found["anna"].fields["forwards"], found["anna"].fields["keep_copy"]) == (frozenset(), False)


# -- what is refused --------------------------------------------------------------------------------------------

WRONG = [
    ("mailboxes: {a: {quota: 5 gigs}}", "'5 gigs' is not a size (write 5 GiB)"),
    ("mailboxes: {a: {quota: 10 GB}}", "'10 GB' is not a size (write 10 GiB)"),
    ("mailboxes: {a: {quota: 0}}", "'0' is not a size (write 5 GiB)"),
    ("mailboxes: {a+b: {}}", "'a+b' has a + (what follows it needs no address of its own)"),
    ("mailboxes: {perché: {}}", "'perché' has letters that most mail servers refuse (write it in ASCII)"),
    ("mailboxes: {a@acme.example: {}}", "'a@acme.example' has a domain (write what stands before the @)"),
    ("mailboxes: {../etc: {}}", "'../etc' is not the name of an address"),
    ("mailboxes: {a..b: {}}", "'a..b' is not the name of an address"),
    (f"mailboxes: {{{'a' * 65}: {{}}}}", "is too long (65 characters, at most 64)"),
    ("mailboxes: {a: {password: hunter2}}", "names a password and never holds one (write generated"),
    ("mailboxes: {a: {password: {secret: hunter2}}}", "is not the name of a secret"),
    ("mailboxes: {a: {keep_copy: false}}", "keep_copy is false and there are no forwards, so its mail would be lost"),
    ("mailboxes: {a: {}, A: {}}", "a is a mailbox already, at customers/acme/mail.yaml:4 (an address is one thing)"),
    ("mailboxes: {a: {aliases: [b, b]}}", "b is an alias of a already, at customers/acme/mail.yaml:4"),
    ("mailboxes: {a: {}, b: {was: a}}", "a is a mailbox on line 4, so it was not renamed"),
    ("mailboxes: {a: {was: a}}", "is its name already (leave was out)"),
    ("mailboxes: {a: {was: z}, b: {was: z}}", "z was renamed to a, and cannot be two (leave was out)"),
    ("mailboxes: {a: {forwards: A}}", "a would send mail to itself"),
    ("mailboxes: {a: {forwards: a+x@acme.example}}", "a would send mail to itself"),
    ("mailboxes: {a: {forwards: [x@y.example, X@Y.example]}}", "x@y.example is in the list already"),
    ("mailboxes: {a: {shared_with: a}}", "is its owner already"),
    ("mailboxes: {anna: {}, b: {shared_with: ana}}", "there is no mailbox ana in acme.example (did you mean anna?)"),
    ("mailboxes: {a: {forwards: '|/bin/sh@y.example'}}", "'|/bin/sh@y.example' is not an e-mail address"),
    ("groups: {g: []}", "has no members"),
    ("groups: {g: anna}", "'anna' is no address of acme.example"),
    ("groups: {g: [x@y.example], h: [i], i: [h]}", "mail would go in a circle: h@acme.example → i@acme.example → h@"),
    ("leavers: {a: {left: soon}}", "'soon' is not a day or a time"),
    ("leavers: {a: {left: 2027-03-05, until: 2027-03-01}}", "ends (2027-03-01) before it begins (2027-03-05)"),
    ("leavers: {a: {left: 2027-03-05, until: 2027-05-01, keep_until: 2027-04-01}}", "ends (2027-04-01) before"),
    ("leavers: {a: {left: '2027-03-28 02:30'}}", "does not exist in Europe/Rome"),
    ("leavers: {a: {left: 2027-03-05, copy_to: b}, b: {left: 2027-03-05}}", "only people who left are in it"),
    ("alias_domains: acme.example", "acme.example is a domain in customers/acme/mail.yaml:2 already"),
    ("limits: {mailboxes: 0}", "'0' is not a number from 1 to 9999"),
]


@pytest.mark.parametrize(("line", "said"), WRONG, ids=[line for line, _ in WRONG])
def test_bad_input_is_told_in_one_line(tmp_path: Path, line: str, said: str) -> None:
    (complaint,) = complaints(acme(tmp_path, line))
    assert complaint.startswith("4:")
    assert said in complaint


def test_a_password_that_is_written_down_is_not_repeated(tmp_path: Path) -> None:
    assert "hunter2" not in "".join(complaints(acme(tmp_path, "mailboxes: {a: {password: hunter2}}")))


def test_a_leaver_is_no_mailbox_any_more(tmp_path: Path) -> None:
    root = acme(tmp_path, "mailboxes: {luca: {}}", "leavers: {luca: {left: 2027-03-05}}")
    assert complaints(root) == [
        "5:15: domains.acme.example.leavers.luca: luca is a mailbox already, at customers/acme/mail.yaml:4 "
        "(an address is one thing; a leaver's mailbox goes)"
    ]


def test_more_than_the_limits_allow(tmp_path: Path) -> None:
    root = acme(tmp_path, "mailboxes: {a: {quota: 3 GiB}, b: {quota: 3 GiB}}", "limits: {mailboxes: 1, quota: 5 GiB}")
    assert [c.partition(": ")[2] for c in complaints(root)] == [
        "domains.acme.example.limits.mailboxes: 1 is less than the 2 mailboxes declared here",
        "domains.acme.example.limits.quota: 5 GiB is less than the 6 GiB of all mailboxes together",
    ]


def test_a_domain_needs_a_target_with_mailboxes(tmp_path: Path) -> None:
    head = HEAD.replace("mail-1", "bare")
    (complaint,) = complaints(acme(tmp_path, "mailboxes: {a: {}}", head=head))
    assert complaint.endswith("target bare has no facet mailboxes (known: mail-1)")


def test_recipients_in_another_domain_of_the_customer_are_known_too(tmp_path: Path) -> None:
    other = "groups: {g: [anna@beta.example, ana@beta.example, x@partner.example]}"
    root = acme(tmp_path, other, "alias_domains: beta.example")
    file = root / "customers/acme/mail.yaml"
    file.write_text(file.read_text().replace("    alias_domains: beta.example\n", ""))
    with file.open("a") as text:
        text.write("  beta.example: {target: mail-1, mailboxes: {anna: {}}}\n")
    (complaint,) = complaints(root)
    assert complaint.endswith("'ana@beta.example' is no address of beta.example (did you mean anna?)")


def test_a_long_circle_is_found_without_recursion(tmp_path: Path) -> None:
    lines = [f"  g{n}: [g{n + 1}]" for n in range(2000)]
    (complaint,) = complaints(acme(tmp_path, "groups:", *lines, "  g2000: [g0]"))
    assert "mail would go in a circle" in complaint


@pytest.mark.parametrize(("text", "octets"), [("10 GiB", 10 * 2**30), ("500MiB", 500 * 2**20), ("7 B", 7)])
def test_sizes(text: str, octets: int) -> None:
    assert size(text) == octets
    assert size(spoken_size(octets)) == octets
    assert quota("unlimited") == 0
