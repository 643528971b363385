"""What a spreadsheet says of mailboxes, whoever saved it; and that one wrong row keeps all of it out."""

from __future__ import annotations

from pathlib import Path

import pytest

from mspctl.errors import InputError
from mspctl.imports import spreadsheet
from mspctl.imports.spreadsheet import Found
from mspctl.kinds import mail
from mspctl.resource import Resource

GIB = 2**30


def read(tmp_path: Path, content: str | bytes, *only: str, passwords: bool = False) -> Found:
    file = tmp_path / "mail.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return spreadsheet.read(file, only, passwords=passwords)


def resources(found: Found, domain: str = "acme.example") -> dict[str, Resource]:
    return {r.id.name: r for r in found.domains[domain]}


def complaints(tmp_path: Path, content: str | bytes, *only: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        read(tmp_path, content, *only)
    return [str(problem).replace(f"{tmp_path}/mail.csv", "") for problem in caught.value.problems]


EVERYTHING = """\
email,name,quota,aliases,forwards,members,active
paolo@acme.example,Paolo Zen,10 GB,p.zen pz@acme.example,x@partner.example,,yes
Acquisti@ACME.example,"Acquisti, ordini",500 MB,,"paolo; capo@acme.example",,
capo@acme.example,,unlimited,,,,no

tutti@acme.example,,,,,"paolo, acquisti
consulente@partner.example",
@acme.example,,,,paolo,,
info@perché.example,,1.5 GiB,,,,
"""


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    found = read(tmp_path, EVERYTHING)
    held = resources(found)
    assert (found.rows, found.warnings, found.unread, found.secret) == (6, [], [], "")
    assert held["paolo"].fields == {
        "name": "Paolo Zen", "quota": 10 * GIB, "enabled": True, "receives": True, "keep_copy": True,
        "forwards": {"x@partner.example"},
    }  # fmt: skip
    assert held["acquisti"].fields["name"] == "Acquisti, ordini"
    assert mail.addresses(held["acquisti"].fields["forwards"]) == ["capo@acme.example", "paolo@acme.example"]
    assert [held["capo"].fields[n] for n in ("enabled", "receives", "keep_copy")] == [False, False, True]
    assert {n: mail.addresses(held[n].fields["to"]) for n in ("p.zen", "pz", "tutti", "@")} == {
        "p.zen": ["paolo@acme.example"], "pz": ["paolo@acme.example"],
        "tutti": ["acquisti@acme.example", "consulente@partner.example", "paolo@acme.example"],
        "@": ["paolo@acme.example"],
    }  # fmt: skip
    assert resources(found, "xn--perch-fsa.example")["info"].fields["quota"] == 3 * 2**29
    assert held["tutti"].source == f"{tmp_path}/mail.csv:6"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_whoever_saved_it(tmp_path: Path, separator: str, encoding: str, end: str) -> None:
    lines = [
        "Indirizzo e-mail|Nome|Cognome|Dimensione (MB)",
        "Zoë@acme.example".replace("ë", "e") + '|Zoë|"D\'Arché"|500',
        "",
    ]
    text = end.join(line.replace("|", separator) for line in lines)
    (zoe,) = read(tmp_path, text.encode(encoding)).domains["acme.example"]
    assert (zoe.id.name, zoe.fields["name"], zoe.fields["quota"]) == ("zoe", "Zoë D'Arché", 500 * 2**20)


def test_excels_own_first_line_and_columns_left_empty(tmp_path: Path) -> None:
    found = read(tmp_path, "sep=;\r\nName;E-Mail;;Phone\r\nZoe;zoe@acme.example\r\n;;;\r\nx;anna@acme.example;;1\r\n")
    assert [*resources(found)] == ["zoe", "anna"]
    assert found.unread == ["Phone"]
    assert complaints(tmp_path, "sep=;\nemail\nx\n")[0].startswith(":3:1: address: 'x' has no domain")


@pytest.mark.parametrize(
    ("header", "cell", "octets"),
    [
        ("quota", "", 0),
        ("quota", "illimitato", 0),
        ("quota", "1,5 GB", 3 * 2**29),
        ("quota", "10G", 10 * GIB),
        ("quota", "2048 k", 2**21),
        ("quota", "49.5 GB (53,150,220,288 bytes)", 53150220288),
        ("quota", "1073741824 bytes", GIB),
        ("Quota [MB]", "500", 500 * 2**20),
        ("quota_gib", "2", 2 * GIB),
        ("Mailbox size (GB)", "0,5", 2**29),
    ],
)
def test_sizes(tmp_path: Path, header: str, cell: str, octets: int) -> None:
    (one,) = read(tmp_path, f'email,{header}\na@acme.example,"{cell}"\n').domains["acme.example"]
    assert one.fields["quota"] == octets


@pytest.mark.parametrize(
    ("columns", "cells", "name"),
    [
        ("display name,first name,last name", "Zen Paolo,Paolo,Zen", "Zen Paolo"),
        ("first name,last name", "Paolo,Zen", "Paolo Zen"),
        ("surname", "Zen", "Zen"),
        ("nome,cognome", "Paolo,Zen", "Paolo Zen"),
        ("full name", "", None),
    ],
)
def test_names(tmp_path: Path, columns: str, cells: str, name: str | None) -> None:
    (one,) = read(tmp_path, f"email,{columns}\na@acme.example,{cells}\n").domains["acme.example"]
    assert one.fields.get("name") == name


def test_an_export_of_exchange(tmp_path: Path) -> None:
    text = (
        "UserPrincipalName,ProxyAddresses,Recipient type,Forwarding SMTP address\n"
        '"paolo@acme.example","SMTP:paolo@acme.example;smtp:p.zen@acme.example;x500:/o=ExchangeLabs/cn=paolo;'
        'smtp:paolo@acme.onmicrosoft.com",UserMailbox,x@partner.example\n'
        "sales@acme.example,,MailUniversalDistributionGroup,\n"
    )
    assert complaints(tmp_path, text) == [
        ":3:1: type: 'MailUniversalDistributionGroup' is neither a mailbox nor a group"
    ]
    found = read(tmp_path, text.replace("MailUniversalDistributionGroup,", "group,paolo@acme.example"))
    assert {*resources(found)} == {"paolo", "p.zen", "sales"}
    assert [p.text for p in found.warnings] == ["paolo@acme.onmicrosoft.com is in no domain that comes in (left out)"]


WRONG: list[tuple[str, list[str]]] = [
    ("name\nx\n", [":1:1: has no column for the address (call it email; it has name)"]),
    ("email,mail\n", [":1:1: 'mail' is a second column for the address"]),
    ("", [": is empty, or larger than 16 MiB"]),
    ("\n \n", [": is empty, or larger than 16 MiB"]),
    ("email,name\na@b.example,Zen, Paolo\n",
     [":2:1: has 3 cells, and the header 2 (a comma within a text needs quotes around it)"]),
    ('email,name\na@b.example,"Zen\nb@b.example,x\n', [":2:1: is not CSV: unexpected end of data"]),
    ("email,quota\na@b.example,500\nb@b.example,viel\nc@b.example,1.024 MB\n",
     [":2:1: quota: '500' has no unit (write 500 MB, or call the column quota_mb)",
      ":3:1: quota: 'viel' is not a size (write 5 GB)", ":4:1: quota: '1.024 MB' is not a size (write 5 GB)"]),
    ("email,active\na b@b.example,x\n,yes\nc@b.example,maybe\n",
     [":2:1: address: 'a b' is not the name of an address (letters, digits and . _ - ' & = between them)",
      ":3:1: address: is missing", ":4:1: enabled: 'maybe' is neither yes nor no"]),
    ("email\na@b.example\nA@B.example\n", [":3:1: address: a@b.example stands on line 2 already"]),
    ("email,aliases\na@b.example,c\nc@b.example,\nd@b.example,c\n",
     [":2:1: aliases: c@b.example stands on line 3 already", ":4:1: aliases: c@b.example stands on line 3 already"]),
    ("email,members\ng@b.example,a x@y.example\na@b.example,\nh@b.example,nobody\n",
     [":4:1: h: sends mail to nobody@b.example, which is not there"]),
    ("email,members,quota\ng@b.example,x@y.example,1 GB\n", [":2:1: quota: has a mailbox, and this is a group"]),
    ("email,type,members\ng@b.example,group,\nm@b.example,mailbox,g\n",
     [":2:1: members: are missing: who gets what is written to g@b.example?",
      ":3:1: members: has a group, and this is a mailbox (write forwards)"]),
    ("email,forwards,keep copy\na@b.example,x y z@,no\n",
     [":2:1: forwards: 'z@' is not an e-mail address (write name@example.com)"]),
    ("email,forwards\na@b.example,b\nb@b.example,a\n",
     [":2:1: a: sends mail in a circle: a@b.example → b@b.example → a@b.example",
      ":3:1: b: sends mail to a@b.example, which is not there"]),
    ("email,name\na@b.example,\"two\nlines\"\n",
     [":2:1: a: its owner's name should be one line, without tabs (for a long one write >- and indent it)"]),
    ("email\nx\n", [":2:1: address: 'x' has no domain (write the whole address, or say --zone DOMAIN)"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_every_row_that_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, said: list[str]) -> None:
    assert complaints(tmp_path, text) == said


def test_one_wrong_row_is_still_somebody_for_the_others(tmp_path: Path) -> None:
    text = "email,quota,members\na@b.example,viel,\ng@b.example,,a\n"
    assert complaints(tmp_path, text) == [":2:1: quota: 'viel' is not a size (write 5 GB)"]


def test_octets_that_are_no_text(tmp_path: Path) -> None:
    assert complaints(tmp_path, b"email\n\x81@b.example\n") == [
        ": is neither UTF-8 nor what Excel writes (save it as CSV UTF-8)"
    ]
    with pytest.raises(InputError, match=r"x: cannot be read \(No such file or directory\)"):
        spreadsheet.read(tmp_path / "x")


def test_only_the_domains_that_were_asked_for(tmp_path: Path) -> None:
    text = "user,forwards\npaolo@acme.example,x@other.example\nx@other.example,\n"
    found = read(tmp_path, text, "ACME.example")
    assert ([*found.domains], found.elsewhere) == (["acme.example"], 1)
    assert [*resources(read(tmp_path, "user\npaolo\n", "acme.example"))] == ["paolo"]
    assert complaints(tmp_path, text, "a b")[0].startswith("--zone: 'a b' is not")


@pytest.mark.parametrize(
    "called", ["Password", "Passwort", "temporary password", "pwd", "Password Hash Function", "hash"]
)
def test_passwords_are_never_taken_and_never_shown(tmp_path: Path, called: str) -> None:
    text = f"email,{called},name\na@b.example,hunter2,Anna\n"
    found = read(tmp_path, text)
    assert found.secret == called
    assert "hunter2" not in repr(found)
    slipped = f"email,{called},quota,active,type\na@b.example,x,hunter2,hunter2,hunter2\nhunter2,,,,\n"
    said = complaints(tmp_path, slipped)
    assert said == [
        ":2:1: type: is neither a mailbox nor a group",
        ":3:1: address: is not an address that can stand here",
    ]
    assert "hunter2" not in "".join(complaints(tmp_path, f"email,{called}\na@b.example,x,hunter2\n"))


def test_passwords_that_are_to_be_made(tmp_path: Path) -> None:
    found = read(tmp_path, "email,active\na@b.example,\nb@b.example,no\n", passwords=True)
    held = resources(found, "b.example")
    assert held["a"].fields["password"] == mail.password("", 1)
    assert "password" not in held["b"].fields
