"""What comes in from a folder of octoDNS or of zone files; what does not is named with its place."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from mspctl import cli
from mspctl.errors import InputError
from mspctl.imports import Found, count, octodns, zonefiles
from mspctl.kinds import dns
from mspctl.load import load
from tests.estate import estate, one_zone

Files = dict[str, str | bytes]


def folder(tmp_path: Path, files: Files) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    for name, content in files.items():
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def rows(found: Found, zone: str) -> dict[str, tuple[int, list[str]]]:
    return {r.id.name: (dns.ttl_of(r), dns.values_of(r)) for r in found.zones[zone]}


def lines(found: Found, root: Path) -> list[str]:
    return [str(p).replace(f"{root}/", "") for p in (*found.left_out, *found.warnings)]


def balanced(found: Found) -> bool:
    """Whatever went in came out, was named, or stood twice."""
    rrsets, values = count(found.zones)
    return found.rrsets >= rrsets and found.values >= values + found.doubled


# -- octoDNS ----------------------------------------------------------------------------------------------------


def test_octodns_names_are_absolute_and_ttls_have_its_default(tmp_path: Path) -> None:
    text = (
        "'':\n  - {type: MX, value: {preference: 10, exchange: mail.acme.example}}\n"
        "  - {type: TXT, values: ['a\\; b', '\"one \" \"two\"']}\n"
        "www: {type: CNAME, ttl: 60, value: web.acme.example}\n"
    )
    found = octodns.read(folder(tmp_path, {"ACME.example.yaml": text, ".hidden": "x"}))
    assert rows(found, "acme.example") == {
        "@ MX": (3600, ["10 mail.acme.example."]),
        "@ TXT": (3600, ['"a; b"', '"one two"']),
        "www CNAME": (60, ["web.acme.example."]),
    }
    assert (found.files, found.rrsets, found.values, found.left_out) == (1, 3, 4, [])
    assert [p.text for p in found.warnings] == ["points at mail.acme.example., which has no address in this zone"]


OCTODNS: list[tuple[Files, list[str]]] = [
    (
        {"a.example.yaml": "x: {type: Route53Provider/ALIAS, value: y.}\n"},
        [
            "a.example.yaml:1:11: x.Route53Provider/ALIAS: 'Route53Provider/ALIAS' is not a record type, but one "
            "provider's own (write A and AAAA, or ALIAS for a target that has it)"
        ],
    ),
    (
        {"octodns.yaml": "providers: {x: {class: y}}\nzones: {}\n"},
        ["octodns.yaml: is no zone file of octoDNS (left out)"],
    ),
    ({"a.example.yaml": ""}, ["a.example.yaml: is no zone file of octoDNS (left out)"]),
    ({"a.example.yaml": "[x]\n"}, ["a.example.yaml: is no zone file of octoDNS (left out)"]),
    ({"a.example.yaml": "{}\n"}, []),
    ({"README.md": "x"}, ["README.md: is not a YAML file (left out)"]),
    (
        {"-rf.yaml": "{}\n"},
        ["-rf.yaml: '-rf' is not the name of a zone (letters, digits and hyphens: acme.example) (left out)"],
    ),
    (
        {"a.example.yaml": "{}\n", "A.example.yaml": "x: {type: A, value: 192.0.2.1}\n"},
        ["a.example.yaml: is a second file of a.example (left out)"],
    ),
    (
        {"a.example.yaml": "x: {type: A, value: nope}\n"},
        ["a.example.yaml:1:21: x.A: 'nope' is not an IPv4 address (write 192.0.2.1)"],
    ),
    (
        {"a.example.yaml": "x: {type: A, value: 192.0.2.1}\ny: {value: 192.0.2.1}\n"},
        ["a.example.yaml:2:5: y.value: type is missing beside it (or write {A: 192.0.2.1})"],
    ),
    (
        {"a.example.yaml": "x: {type: A, value: 192.0.2.1, octodns: {x: y}}\n"},
        ["a.example.yaml:1:32: x.A.octodns: octoDNS's octodns has no counterpart here (remove it)"],
    ),
    (
        {"a.example.yaml": "x: [{type: A, value: 192.0.2.1}, {type: CNAME, value: y.}]\n"},
        ["a.example.yaml:1:41: x.CNAME: a CNAME stands alone at its name (there is A on line 1)"],
    ),
    (
        {"a.example.yaml": "x: {type: A, values: [192.0.2.1, 192.0.2.1]}\n"},
        ["a.example.yaml:1:34: x.A: warning: '192.0.2.1' is listed twice"],
    ),
    (
        {"a.example.yaml": "x: !include y\n"},
        [
            "a.example.yaml:1:4: tags (!…) are not used here (remove it, or put the text in quotes)",
            "a.example.yaml: was left out whole",
        ],
    ),
    (
        {"a.example.yaml": b"x: \xe8\n"},
        ["a.example.yaml:1:4: byte 0xe8 is not UTF-8 (save the file as UTF-8)", "a.example.yaml: was left out whole"],
    ),
    (
        {"a.example.yaml": "x: {type: A, value: 192.0.2.1}\nx: {type: A, value: 192.0.2.2}\n"},
        ["a.example.yaml:2:1: duplicate key 'x' (first on line 1)", "a.example.yaml: was left out whole"],
    ),
    (
        {"a.example.yaml": "s: {type: NS, value: ns.s.a.example.}\nns.s: {type: A, value: 192.0.2.1}\n"},
        ["a.example.yaml:2:14: ns.s.A: warning: is an address that the delegation of s needs (glue)"],
    ),
]


@pytest.mark.parametrize(("files", "said"), OCTODNS)
def test_what_octodns_has_that_does_not_come_in_is_named(files: Files, said: list[str], tmp_path: Path) -> None:
    root = folder(tmp_path, files)
    found = octodns.read(root)
    assert lines(found, root) == said
    assert balanced(found)


def test_links_and_split_zones_are_named(tmp_path: Path) -> None:
    root = folder(tmp_path, {})
    (root / "a.example.").mkdir()
    (root / "b.example.yaml").symlink_to("/etc/passwd")
    assert lines(octodns.read(root), root) == [
        "a.example.: is a folder: a zone split over many files is not read (left out)",
        "b.example.yaml: is not a YAML file (left out)",
    ]


def test_names_of_files_are_told_on_one_line(tmp_path: Path) -> None:
    root = folder(tmp_path, {"a\nb.yaml": "x", "\x1b[31m": "x"})
    for source in (octodns, zonefiles):
        told = [problem.file for problem in source.read(root).left_out]
        assert told == [repr(f"{root}/\x1b[31m"), repr(f"{root}/a\nb.yaml")]


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    for source in (octodns, zonefiles):
        with pytest.raises(InputError, match="is not a folder"):
            source.read(tmp_path / "nothing")


# -- zone files -------------------------------------------------------------------------------------------------

SOA = "@ 300 IN SOA ns1.example. host.example. 1 2 3 4 5\n"
MASTERS: list[tuple[Files, list[str], int]] = [
    ({"a.example.zone": f"{SOA}www 300 A 192.0.2.1\n"}, [], 1),
    ({"a.example.db": f"{SOA}www 300 A 192.0.2.1\n"}, [], 1),
    ({"db.a.example": f"{SOA}www 300 A 192.0.2.1\n"}, [], 1),
    ({"A.example": f"{SOA}www 300 A 192.0.2.1\n"}, [], 1),
    ({"0%2F25.2.0.192.in-addr.arpa.zone": "1 300 PTR a.example.\n"}, [], 1),
    (
        {"a.example.zone": f"{SOA}@ 3 DNSKEY 256 3 8 AwEAAQ==\n@ 3 NSEC a A\nb 3 NSEC a A\nwww 3 A 192.0.2.1\n"},
        [
            "a.example.zone:2:1: warning: DNSKEY records are made by the server, not declared (1 left out)",
            "a.example.zone:3:1: warning: NSEC records are made by the server, not declared (2 left out)",
        ],
        1,
    ),
    (
        {"a.example.zone": "www 300 A 192.0.2.1\nwww 60 A 192.0.2.2\nwww 300 A 192.0.2.1\n"},
        [
            "a.example.zone:2:1: warning: www A has TTL 60, and 300 on line 1 (one RRset has one TTL)",
            "a.example.zone:3:1: warning: this record stands on line 1 already",
        ],
        1,
    ),
    (
        {"a.example.zone": "www 300 A 192.0.2.1\nwww.b.example. 300 A 192.0.2.1\n"},
        ["a.example.zone:2:1: 'www.b.example.' is outside the zone a.example"],
        1,
    ),
    (
        {"a.example.zone": "www 300 CNAME a.\nwww 300 CNAME b.\nx 300 A 192.0.2.1\n"},
        ["a.example.zone:1:1: www CNAME: has 2 values (there can be only one)"],
        1,
    ),
    (
        {"a.example.zone": "www 300 CNAME a.\nwww 300 A 192.0.2.1\n"},
        ["a.example.zone:1:1: www CNAME: a CNAME stands alone at its name (there is A on line 2)"],
        1,
    ),
    (
        {"a.example.zone": "www 300 A 192.0.2.1\nx 300 A nope\n"},
        [
            "a.example.zone:2:1: is not a zone file: an address or a number is not well-formed",
            "a.example.zone: was left out whole",
        ],
        0,
    ),
    (
        {"a.example.zone": "$ORIGIN b.example.\n" + SOA + "www 300 A 192.0.2.1\n"},
        [
            "a.example.zone:2:1: the SOA record is of b.example, not of a.example (is this another zone's file?)",
            "a.example.zone: was left out whole",
        ],
        0,
    ),
    (
        {"a.example.zone": "www 300 A 192.0.2.1\n", "db.a.example": "www 300 A 192.0.2.1\n"},
        ["db.a.example: is a second file of a.example (left out)"],
        1,
    ),
    (
        {"a.example.zone.before-mspctl": "www 300 A 192.0.2.1\n"},
        ["a.example.zone.before-mspctl: is not a zone file (left out)"],
        0,
    ),
    (
        {"named.conf": "options {};\n"},
        ["named.conf:1:1: is not a zone file: '{}' is not a record type", "named.conf: was left out whole"],
        0,
    ),
    (
        {"a.example.zone": b"; caff\xe8\n"},
        ["a.example.zone:1:7: byte 0xe8 is not UTF-8 (save the file as UTF-8)", "a.example.zone: was left out whole"],
        0,
    ),
    (
        {"a.example.zone": "$INCLUDE b\n"},
        [
            "a.example.zone:1:1: is not a zone file: '$INCLUDE' is not followed (write its records into this file)",
            "a.example.zone: was left out whole",
        ],
        0,
    ),
]


@pytest.mark.parametrize(("files", "said", "rrsets"), MASTERS)
def test_what_zone_files_hold_comes_in_or_is_named(files: Files, said: list[str], rrsets: int, tmp_path: Path) -> None:
    root = folder(tmp_path, files)
    found = zonefiles.read(root)
    assert lines(found, root) == said
    assert count(found.zones)[0] == rrsets
    assert balanced(found)


# -- into the repository ----------------------------------------------------------------------------------------


def run(root: Path, *arguments: str) -> tuple[int, list[str], list[str]]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = cli.run(["-C", str(root), "import", *arguments])
    return code, out.getvalue().splitlines(), err.getvalue().splitlines()


def snapshot(root: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(root)): p.read_bytes() if p.is_file() else None for p in sorted(root.rglob("*"))}


def test_zones_are_written_and_declare_what_was_found(tmp_path: Path) -> None:
    source = folder(
        tmp_path,
        {
            "a.example.zone": 'www 300 A 192.0.2.1\n* 300 TXT "a;b" "\\200"\n@ 60 MX 10 www\n',
            "b.example.zone": "www 60 CNAME a.\nx 60 NS b.\napex 60 A 192.0.2.1\n@ 60 A 192.0.2.2\n",
        },
    )
    root = estate(tmp_path / "root")
    code, out, _ = run(root, "--from", "zonefiles", str(source), "-c", "acme", "--name", "Acme: Ltd")
    assert (code, out[-1]) == (0, "out: 2 zones, 7 RRsets, 7 values, written to customers/acme/")
    customer = load(root).customers["acme"]
    assert customer.info.name == "Acme: Ltd"
    found = {
        z: {r.id.name: (dns.ttl_of(r), dns.values_of(r)) for r in f.resources} for z, f in customer.files["dns"].items()
    }
    assert found == {
        "a.example": {
            "www A": (300, ["192.0.2.1"]),
            "* TXT": (300, [r'"a;b\200"']),
            "@ MX": (60, ["10 www.a.example."]),
        },
        "b.example": {
            "www CNAME": (60, ["a."]),
            "x NS": (60, ["b."]),
            "@ A": (60, ["192.0.2.2"]),
            "apex A": (60, ["192.0.2.1"]),
        },
    }


def test_zones_are_added_to_a_customer_and_its_comments_stay(tmp_path: Path) -> None:
    root = one_zone(tmp_path / "root", "www: {A: 192.0.2.1}\n")
    overview = root / "customers/acme/dns.yaml"
    overview.write_text("# ours\nzones:\n  acme.example: {target: files} # the first\n")
    source = folder(tmp_path, {"b.example.zone": "www 60 A 192.0.2.1\n"})
    assert run(root, "--from", "zonefiles", str(source), "-c", "acme")[0] == 0
    assert overview.read_text().startswith("# ours\nzones:\n  acme.example: {target: files} # the first\n  b.example:")
    assert {*load(root).customers["acme"].files["dns"]} == {"acme.example", "b.example"}


REFUSED: list[tuple[list[str], Files, str]] = [
    (["-c", "beta"], {"named.conf": "options {};\n"}, "there is no zone that can come in; nothing was written"),
    (
        ["-c", "acme"],
        {"acme.example.zone": "www 60 A 192.0.2.1\n"},
        "is there already (remove it to import the zone again)",
    ),
    (["-c", "beta"], {"acme.example.zone": "www 60 A 192.0.2.1\n"}, "is declared in customers/acme/dns.yaml:2 too"),
    (["-c", "beta", "--name", "a\nb"], {"b.example.zone": "www 60 A 192.0.2.1\n"}, "--name: should be one line"),
    (["-c", "../beta"], {"b.example.zone": "www 60 A 192.0.2.1\n"}, "--customer: '../beta' is not a name"),
    (
        ["-c", "beta", "-t", "fiels"],
        {"b.example.zone": "www 60 A 192.0.2.1\n"},
        "--target: fiels holds no zones (did you mean files?)",
    ),
    (["-c", "beta", "-z", "c.example"], {"b.example.zone": "www 60 A 192.0.2.1\n"}, "--zone: c.example was not found"),
    (
        ["-c", "beta"],
        {".".join(["x" * 62] * 4): "@ 60 A 192.0.2.1\n"},
        "cannot be written (File name too long)",
    ),
]


@pytest.mark.parametrize(("arguments", "files", "said"), REFUSED)
def test_when_something_is_wrong_nothing_is_written(
    arguments: list[str], files: Files, said: str, tmp_path: Path
) -> None:
    root = one_zone(tmp_path / "root", "www: {A: 192.0.2.1}\n")
    before = snapshot(root)
    code, _, err = run(root, "--from", "zonefiles", str(folder(tmp_path, files)), *arguments)
    assert code == 1
    assert said in "\n".join(err)
    assert snapshot(root) == before


def test_an_estate_that_does_not_load_is_not_added_to(tmp_path: Path) -> None:
    root = one_zone(tmp_path / "root", "www: {A: nope}\n")
    before = snapshot(root)
    source = folder(tmp_path, {"b.example.zone": "www 60 A 192.0.2.1\n"})
    assert run(root, "--from", "zonefiles", str(source), "-c", "acme")[0] == 1
    assert snapshot(root) == before
