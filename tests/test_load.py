"""
Bad input, as a table: what is in the files, and every line that is said about it.

Each case is loaded, and given to the real command line: the same lines, exit code 1, and nothing written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from mspctl import cli
from mspctl.errors import InputError
from mspctl.kinds import dns
from mspctl.load import INVENTORY_FILES, INVENTORY_FOLDERS, OTHER_FILES, load
from mspctl.model import sections
from mspctl.strict_yaml import LINK
from tests.estate import TARGETS, estate, one_zone

Files = Mapping[str, str | bytes]

PARTS = ", ".join(sorted(INVENTORY_FILES | INVENTORY_FOLDERS))
RECORDS = "customers/acme/dns/acme.example.yaml"
MASTER = "customers/acme/dns/acme.example.zone"
OVERVIEW = "customers/acme/dns.yaml"
CUSTOMER = "customers/acme/customer.yaml"
TARGETS_FILE = "inventory/targets.yaml"
ZONE = "zones: {acme.example: {target: files}}\n"
KNOWN = ", ".join(sorted({*OTHER_FILES, *(f"{name}.yaml" for name in sections.names())}))
CHECKED = ", ".join(name for name in sections.names() if hasattr(sections.module(name), "Checks"))

# In the tables a file that most lines are about has one letter.
LETTERS = {"R": RECORDS, "M": MASTER, "D": OVERVIEW, "C": CUSTOMER, "T": TARGETS_FILE}

# 9 × 9 × 9 × … values in less than 300 bytes.
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{here}: &{here} [{','.join([f'*{below}'] * 9)}]\n" for below, here in zip("abcdef", "bcdefg", strict=True)
)


assert len(BOMB) < 300


def records(text: str | bytes) -> Files:
    return {OVERVIEW: ZONE, RECORDS: text}


def master(text: str | bytes) -> Files:
    return {OVERVIEW: ZONE, MASTER: text}


def full(lines: list[str]) -> list[str]:
    """The lines of a table with the names of the files written out."""
    return [LETTERS.get(line[0], line[0]) + line[1:] if line[1:2] == ":" else line for line in lines]


CASES = [
    pytest.param(
        records("www: {A: 192.0.2.1}\nmail: {A: 192.0.2.2}\nwww: {A: 192.0.2.3}\n"),
        ["R:3:1: duplicate key 'www' (first on line 1)"],
        id="duplicate key",
    ),
    pytest.param(
        records("www: {A: 192.0.2.1, A: 192.0.2.2}\n"),
        ["R:1:21: duplicate key 'A' (first on line 1)"],
        id="duplicate key in flow style",
    ),
    pytest.param(
        records("www:\n\tA: 192.0.2.1\n"), ["R:2:1: is not YAML: a tab cannot indent YAML (use spaces)"], id="tab"
    ),
    pytest.param(
        records("\ufeffwww: {A: 192.0.2.1}\n"),
        ["R:1:1: starts with a byte-order mark (save the file as UTF-8 without BOM)"],
        id="byte-order mark",
    ),
    pytest.param(
        records(b"# Gr\xc3\xbc\xc3\x9fe\nwww: {TXT: caff\xe8}\n"),
        ["R:2:16: byte 0xe8 is not UTF-8 (save the file as UTF-8)"],
        id="Latin-1 in a record file",
    ),
    pytest.param(
        {CUSTOMER: b"name: Caff\xe8\n"},
        ["C:1:11: byte 0xe8 is not UTF-8 (save the file as UTF-8)"],
        id="Latin-1 in customer.yaml",
    ),
    pytest.param(records(BOMB), ["R:5:8: aliases repeat more than 10000 values (write them out)"], id="alias bomb"),
    pytest.param(records("www: " + "[" * 5000), ["R:1:37: nested deeper than 32 levels"], id="5,000 lists"),
    pytest.param(records("{a: " * 5000), ["R:1:129: nested deeper than 32 levels"], id="5,000 mappings"),
    pytest.param(
        records("www: {A: 192.0.2.1}\n".encode("utf-16")),
        ["R:1:1: byte 0xff is not UTF-8 (save the file as UTF-8)"],
        id="UTF-16",
    ),
    pytest.param(records("www: {TXT: 'a\x00b'}\n"), ["R:1:14: character U+0000 is not allowed (remove it)"], id="NUL"),
    pytest.param(
        records('www: {TXT: "a\\eb"}\n'), ["R:1:12: character U+001B is not allowed (remove it)"], id="escaped ESC"
    ),
    pytest.param(records("www: {TXT: 'a\x07b'}\n"), ["R:1:14: character U+0007 is not allowed (remove it)"], id="BEL"),
    pytest.param(
        records("www: {TXT: 'a\u202eb'}\n"),
        ["R:1:14: character U+202E is not allowed (remove it)"],
        id="bidirectional override",
    ),
    pytest.param(
        records('www: {TXT: "a\\nb"}\n'),
        ["R:1:12: www.TXT: should be one line, without tabs (for a long one write >- and indent it)"],
        id="newline in a text",
    ),
    pytest.param(
        records('www: {TXT: "a\\tb"}\n'),
        ["R:1:12: www.TXT: should be one line, without tabs (for a long one write >- and indent it)"],
        id="tab in a text",
    ),
    pytest.param(
        records("www:\n  TXT: |\n    v=spf1 -all\n"),
        ["R:2:8: www.TXT: should be one line, without tabs (for a long one write >- and indent it)"],
        id="block scalar",
    ),
    pytest.param(
        records("www: {A: 192.0.2.1}\rmail: {A: 192.0.2.2}\n"),
        ["R:1:20: character U+000D is not allowed (remove it)"],
        id="carriage return",
    ),
    pytest.param(
        records('"a\\nb": {A: 192.0.2.1}\n'), ["R:1:1: 'a\\nb': 'a\\nb' is not a domain name"], id="newline in an owner"
    ),
    pytest.param(
        records('www: {"A\\n": 192.0.2.1}\n'),
        ["R:1:7: 'www.A\\n': 'A\\n' is not a record type (did you mean A?)"],
        id="newline in a type",
    ),
    pytest.param(
        records('www: {type: "A\\n", value: 192.0.2.1}\n'),
        ["R:1:13: 'www.A\\n': 'A\\n' is not a record type (did you mean A?)"],
        id="newline in octoDNS's type",
    ),
    pytest.param(
        {CUSTOMER: 'name: "a\\nb"\n'},
        ["C:1:7: name: should be one line, without tabs (for a long one write >- and indent it)"],
        id="newline in a name",
    ),
    pytest.param({CUSTOMER: ""}, ["C: name: is missing"], id="empty customer.yaml"),
    pytest.param({OVERVIEW: ""}, ["D: is empty"], id="empty dns.yaml"),
    pytest.param(records(""), ["R: is empty (write at least: apex: {NS: …})"], id="empty record file"),
    pytest.param(master(""), ["M: is empty (write at least the zone's NS records)"], id="empty zone file"),
    pytest.param(
        master("; nothing\n"), ["M: is empty (write at least the zone's NS records)"], id="zone file of comments"
    ),
    pytest.param(records("- a\n"), ["R: should be a mapping of names"], id="list for records"),
    pytest.param(records("hello\n"), ["R: should be a mapping of names"], id="text for records"),
    pytest.param(
        {OVERVIEW: "zoens: {acme.example: {target: files}}\n"},
        ["D:1:1: zoens: unknown key (did you mean zones?)"],
        id="unknown key",
    ),
    pytest.param(
        {OVERVIEW: "zones: {acme.example: {taget: files, tll: 5m}}\n"},
        [
            "D:1:9: zones.acme.example: has no records: customers/acme/dns/acme.example.yaml is missing",
            "D:1:24: zones.acme.example.taget: unknown key (did you mean target?)",
            "D:1:38: zones.acme.example.tll: unknown key (did you mean ttl?)",
        ],
        id="unknown keys of a zone",
    ),
    pytest.param(
        {CUSTOMER: "name: x\ncontract: {plan: gold, form: 2025-01-01}\n"},
        [
            "C:2:18: contract.plan: gold is not in inventory/contracts.yaml",
            "C:2:24: contract.form: unknown key (did you mean from?)",
        ],
        id="unknown key with an alias",
    ),
    pytest.param(
        records("www: {A: 192.0.2.1, tll: 5m}\n"),
        ["R:1:21: www.tll: unknown key (did you mean ttl?)"],
        id="unknown key of a name",
    ),
    pytest.param(
        records("www: {a: 192.0.2.1}\n"),
        ["R:1:7: www.a: record types are written in capitals (A)"],
        id="type in small letters",
    ),
    pytest.param(
        records("www: {value: 192.0.2.1, ttl: 60}\n"),
        ["R:1:7: www.value: type is missing beside it (or write {A: 192.0.2.1})"],
        id="octoDNS without a type",
    ),
    pytest.param(
        records("www: {AX: 192.0.2.1}\n"),
        ["R:1:7: www.AX: 'AX' is not a record type (did you mean A?)"],
        id="unknown type",
    ),
    pytest.param(
        records("www: {type: Route53Provider/ALIAS, value: x}\n"),
        [
            (
                "R:1:13: www.Route53Provider/ALIAS: 'Route53Provider/ALIAS' is not a record type, but one "
                "provider's own (write A and AAAA, or ALIAS for a target that has it)"
            )
        ],
        id="type of a provider",
    ),
    pytest.param(
        records("apex: {SOA: x}\n"),
        ["R:1:8: apex.SOA: SOA records are made by the server and cannot be declared"],
        id="SOA",
    ),
    pytest.param(
        records("apex: {ANY: x}\n"), ["R:1:8: apex.ANY: ANY is not a type that a zone can hold"], id="meta type"
    ),
    pytest.param(
        records("www: {CNAME: web}\nmail: {MX: 10 mail}\n"),
        [
            (
                "R:1:14: www.CNAME: 'web' has no dot at its end: write 'web.' (exactly that name) or "
                "'web.acme.example.' (in this zone)"
            ),
            (
                "R:2:12: mail.MX: 'mail' has no dot at its end: write 'mail.' (exactly that name) or "
                "'mail.acme.example.' (in this zone)"
            ),
        ],
        id="no trailing dot",
    ),
    pytest.param(
        records("www: {CNAME: 192.0.2.1}\n"),
        ["R:1:14: www.CNAME: '192.0.2.1' is an address, and a name is expected (addresses belong to A records)"],
        id="address for a name",
    ),
    pytest.param(
        records("'@': {A: 192.0.2.1}\n"), ["R:1:1: @: '@': the zone's own name is written apex here"], id="@ as a name"
    ),
    pytest.param(
        records("www: {CNAME: '@'}\n"),
        ["R:1:14: www.CNAME: '@' stands for the zone in zone files only (write the name)"],
        id="@ as a target",
    ),
    pytest.param(
        records("@: {A: 192.0.2.1}\n"),
        ["R:1:1: is not YAML: a text cannot start with '@' (put it in quotes)"],
        id="@ without quotes",
    ),
    pytest.param(
        records("*: {A: 192.0.2.1}\n"),
        ["R:1:1: is not YAML: a text cannot start with '*' (put it in quotes)"],
        id="* without quotes",
    ),
    pytest.param(
        records("'': {A: 192.0.2.1}\n"), ["R:1:1: '': '': the zone's own name is written apex here"], id="empty name"
    ),
    pytest.param(
        records("apex: {type: A, value: 192.0.2.1}\n"),
        ["R:1:1: apex: 'apex' is a host in octoDNS's form (write '' for the zone's own name, or \\apex)"],
        id="apex in octoDNS's form",
    ),
    pytest.param(
        records("www.other.example.: {A: 192.0.2.1}\n"),
        ["R:1:1: www.other.example.: 'www.other.example.' is outside the zone acme.example"],
        id="outside the zone",
    ),
    pytest.param(
        records("www: {CNAME: a.b., A: 192.0.2.1}\n"),
        ["R:1:7: www.CNAME: a CNAME stands alone at its name (there is A on line 1)"],
        id="CNAME beside A",
    ),
    pytest.param(
        records("apex: {CNAME: a.b.}\n"),
        ["R:1:8: apex.CNAME: a CNAME cannot stand at the zone's own name (use A and AAAA, or ALIAS)"],
        id="CNAME at the apex",
    ),
    pytest.param(
        records("www: {CNAME: [a.b., c.d.]}\n"),
        ["R:1:14: www.CNAME: has 2 values (there can be only one)"],
        id="two CNAMEs",
    ),
    pytest.param(
        records("www: {A: 192.0.2.1}\nWWW: {A: 192.0.2.2}\n"),
        ["R:2:10: WWW.A: www A stands here twice (first on line 1; put all values in one list)"],
        id="one name twice",
    ),
    pytest.param(
        records("www: {A: []}\nx: {A: }\ny: {}\nz: 192.0.2.1\n"),
        [
            "R:1:10: www.A: has no value",
            "R:2:8: x.A: is empty",
            "R:3:4: y: holds no record ({A: 192.0.2.1})",
            "R:4:4: z: should be a mapping of record types ({A: 192.0.2.1})",
        ],
        id="nothing to hold",
    ),
    pytest.param(
        records("www: {A: [192.0.2, 2001:db8::1, 192.0.2.01, 256.0.0.1]}\n"),
        [
            "R:1:11: www.A: '192.0.2' is not an IPv4 address (write 192.0.2.1)",
            "R:1:20: www.A: '2001:db8::1' is not an IPv4 address (an IPv6 address belongs to AAAA)",
            "R:1:33: www.A: '192.0.2.01' is not an IPv4 address (write 192.0.2.1)",
            "R:1:45: www.A: '256.0.0.1' is not an IPv4 address (write 192.0.2.1)",
        ],
        id="addresses",
    ),
    pytest.param(
        records("apex: {MX: [mail.x., 10 20 x., 70000 x., -1 x.]}\n"),
        [
            "R:1:13: apex.MX: 'mail.x.' is not an MX value (write 10 mail.example.com.)",
            "R:1:22: apex.MX: '10 20 x.' is not an MX value (write 10 mail.example.com.)",
            "R:1:32: apex.MX: '70000' is not a preference (a number from 0 to 65535)",
            "R:1:42: apex.MX: '-1' is not a preference (a number from 0 to 65535)",
        ],
        id="MX values",
    ),
    pytest.param(
        records("apex: {TXT: '\"v=spf1 -all\"'}\n"),
        [
            (
                "R:1:13: apex.TXT: quotes around a text would become part of it (leave them out; long "
                "texts are split as needed)"
            )
        ],
        id="quotes around a text",
    ),
    pytest.param(
        records(f"apex: {{TXT: {'x' * 70000}}}\n"),
        ["R:1:13: apex.TXT: is longer than a record can be (65,000 octets)"],
        id="text of 70,000 octets",
    ),
    pytest.param(
        records("www: {A: 192.0.2.1, ttl: soon}\nx: {A: {values: 192.0.2.1, ttl: 4294967296}}\n"),
        [
            "R:1:26: www.ttl: 'soon' is not a duration (write 1h, 5m or 300)",
            "R:2:33: x.A.ttl: '4294967296' is longer than a TTL can be (2147483647 seconds)",
        ],
        id="TTLs",
    ),
    pytest.param(
        {
            OVERVIEW: ZONE,
            RECORDS: "apex: {A: 192.0.2.1}\n",
            "customers/acme/dns/acme.example.zone": "@ 300 IN A 192.0.2.1\n",
        },
        ["M: acme.example has a second file, customers/acme/dns/acme.example.yaml (leave one)"],
        id="two files of a zone",
    ),
    pytest.param(
        {
            OVERVIEW: ZONE,
            RECORDS: "apex: {A: 192.0.2.1}\n",
            "customers/acme/dns/acme.exmaple.yaml": "",
            "customers/acme/notes.txt": "",
            "customers/acme/mail": "",
            "customers/acme/dns/sub/x.yaml": "",
        },
        [
            "customers/acme/dns/acme.exmaple.yaml: belongs to no zone of dns.yaml (did you mean acme.example.yaml?)",
            "customers/acme/dns/sub: is a folder where files are expected",
            "customers/acme/mail: unknown file (did you mean mail.yaml?)",
            f"customers/acme/notes.txt: unknown file (known: {KNOWN})",
        ],
        id="stray files",
    ),
    pytest.param(
        {OVERVIEW: "zones: {acme.example: {target: files}}\n"},
        ["D:1:9: zones.acme.example: has no records: customers/acme/dns/acme.example.yaml is missing"],
        id="zone without records",
    ),
    pytest.param(
        {OVERVIEW: "zones: {acme.example: {target: fiels}}\n", RECORDS: "apex: {A: 192.0.2.1}\n"},
        ["D:1:32: zones.acme.example.target: target fiels is not in inventory/targets.yaml (did you mean files?)"],
        id="target that is not there",
    ),
    pytest.param(
        {OVERVIEW: "zones: {acme.example: {}}\n", RECORDS: "apex: {A: 192.0.2.1}\n"},
        ["D:1:9: zones.acme.example: has no target (known: files)"],
        id="no target",
    ),
    pytest.param(
        {
            OVERVIEW: ZONE,
            RECORDS: "apex: {A: 192.0.2.1}\n",
            "customers/beta/dns.yaml": ZONE,
            "customers/beta/dns/acme.example.yaml": "apex: {A: 192.0.2.1}\n",
        },
        [
            (
                "customers/beta/dns.yaml:1:9: zones.acme.example: is declared in customers/acme/dns.yaml:1 "
                "too (a zone belongs to one customer)"
            )
        ],
        id="zone of two customers",
    ),
    pytest.param(
        {
            OVERVIEW: "zones:\n  acme.example: {target: files}\n  ACME.example: {target: files}\n",
            RECORDS: "apex: {A: 192.0.2.1}\n",
        },
        ["D:3:3: zones.ACME.example: is the same zone as acme.example on line 2"],
        id="zone in two spellings",
    ),
    pytest.param(
        {
            OVERVIEW: (
                "zones:\n  ../x: {target: files}\n  -rf: {target: files}\n  '*.x': {target: files}\n  a b: "
                "{target: files}\n  /etc/x: {target: files}\n"
            )
        },
        [
            "D:2:3: zones.../x: '../x' is not a domain name (A DNS label is empty)",
            "D:3:3: zones.-rf: '-rf' is not the name of a zone (letters, digits and hyphens: acme.example)",
            "D:4:3: zones.*.x: '*.x' is not the name of a zone (letters, digits and hyphens: acme.example)",
            "D:5:3: zones.a b: 'a b' is not a domain name",
            "D:6:3: zones./etc/x: '/etc/x' is not the name of a zone (letters, digits and hyphens: acme.example)",
        ],
        id="names of zones",
    ),
    pytest.param(
        {
            "customers/-rf/customer.yaml": "name: x\n",
            "customers/Acme/customer.yaml": "name: x\n",
            "customers/file": "",
            "customers/..x/customer.yaml": "name: x\n",
        },
        [
            "customers/-rf: is not a customer's name (lower-case letters, digits and hyphens, at most 63)",
            "customers/Acme: is not a customer's name (lower-case letters, digits and hyphens, at most 63)",
            "customers/file: is a file where customers' folders are expected",
        ],
        id="names of customers",
    ),
    pytest.param(
        {
            TARGETS_FILE: (
                "targets:\n  files: {facets: {dns: {driver: zonfile}}}\n  b: {facets: {dns: zonefile}}\n  c: "
                "{facets: {dns: {driver: zonefile, directory: x, nope: 1}}}\n  d: {}\n  E: {facets: {}}\n  f: "
                "{facets: {dns: {driver: zonefile, directory: x}}, secrets: {password: hunter2}}\n"
            ),
            CUSTOMER: "name: x\n",
        },
        [
            "T:2:25: targets.files.facets.dns: there is no driver zonfile (did you mean zonefile?)",
            "T:3:21: targets.b.facets.dns.directory: is missing",
            "T:4:54: targets.c.facets.dns.nope: unknown key (known: check_names, directory, nameservers, soa)",
            "T:5:6: targets.d.facets: is missing",
            "T:6:3: targets.E: 'E' is not a name (lower-case letters, digits and hyphens, at most 63)",
            (
                "T:7:76: targets.f.secrets.password: is not the name of a secret (capital letters, digits "
                "and _; the secret itself never stands here)"
            ),
        ],
        id="targets",
    ),
    pytest.param(
        {TARGETS_FILE: "targets: [\n", OVERVIEW: ZONE, RECORDS: "apex: {A: 192.0.2.1}\n"},
        ["T:2:1: is not YAML: a value is missing here"],
        id="targets.yaml is not YAML",
    ),
    pytest.param(
        {
            "inventory/target.yaml": "",
            "inventory/contracts.yaml": "contracts: {gold: {includes: dns, nmae: x}}\n",
            "inventory/baselines/Standard.yaml": "",
            "inventory/baselines/empty.yaml": "",
            "inventory/baselines/list.yaml": "- a\n",
            "inventory/baselines/x.yaml": "dsn: {}\ndns: 5\n",
            "inventory/foo/x": "",
        },
        [
            (
                "inventory/baselines/Standard.yaml: is not a baseline (write <name>.yaml: lower-case "
                "letters, digits and hyphens)"
            ),
            "inventory/baselines/empty.yaml: is empty: its keys are sections",
            "inventory/baselines/list.yaml: should be a mapping (key: value): its keys are sections",
            "inventory/baselines/x.yaml:1:1: dsn: unknown section (did you mean dns?)",
            "inventory/baselines/x.yaml:2:6: dns: should be a mapping (key: value)",
            "inventory/contracts.yaml:1:35: contracts.gold.nmae: unknown key (did you mean name?)",
            f"inventory/foo: is no part of an inventory (known: {PARTS})",
            "inventory/target.yaml: is no part of an inventory (did you mean targets.yaml?)",
        ],
        id="inventory",
    ),
    pytest.param(
        {
            CUSTOMER: (
                "name: x\nlanguage: fr\ntimezone: Europe/Roma\nmode: watch\nsites: {hq: 10.0.0.1/8, HQ: "
                "x}\ncontacts:\n  - {id: M, name: x, email: x}\n  - name\ncontract: {plan: g, from: "
                "2025-02-30, to: x}\nbaseline: nope\n"
            )
        },
        [
            "C:2:11: language: 'fr' is not one of 'en', 'it'",
            "C:3:11: timezone: 'Europe/Roma' is not a time zone (write Europe/Rome)",
            "C:4:7: mode: 'watch' is not one of 'observe', 'propose', 'enforce'",
            "C:5:13: sites.hq: '10.0.0.1/8' is not a network (write 10.0.0.0/8)",
            "C:5:25: sites.HQ: 'HQ' is not a name (lower-case letters, digits and hyphens, at most 63)",
            "C:5:29: sites.HQ: 'x' is not a network (write 10.20.0.0/24)",
            "C:7:10: contacts[0].id: 'M' is not a name (lower-case letters, digits and hyphens, at most 63)",
            "C:7:29: contacts[0].email: 'x' is not an e-mail address (write name@example.com)",
            "C:8:5: contacts[1]: should be a mapping (key: value)",
            "C:9:18: contract.plan: g is not in inventory/contracts.yaml",
            "C:9:27: contract.from: '2025-02-30' is not a date (write 2027-03-31)",
            "C:9:43: contract.to: 'x' is not a date (write 2027-03-31)",
            "C:10:11: baseline: nope is not in inventory/baselines/",
        ],
        id="customer.yaml",
    ),
    pytest.param(
        {CUSTOMER: "name: x\ncontract: {plan: gold, from: 2025-02-01, to: 2024-01-01}\n"},
        ["C:2:11: contract: ends (2024-01-01) before it starts (2025-02-01)"],
        id="contract ends first",
    ),
    pytest.param(
        records("x: &x {A: 192.0.2.1}\ny: {<<: *x}\n"),
        ["R:2:5: merge keys are not used here (write the keys out, or use a baseline)"],
        id="merge key",
    ),
    pytest.param(
        records("x: {A: !include /etc/passwd}\n"),
        ["R:1:8: tags (!…) are not used here (remove it, or put the text in quotes)"],
        id="tag",
    ),
    pytest.param(
        records("x: {A: 192.0.2.1}\n---\ny: {A: 192.0.2.1}\n"),
        ["R:2:1: a second document starts here (one document per file)"],
        id="two documents",
    ),
    pytest.param(
        master("$ORIGIN other.example.\n$TTL 300\n@ IN SOA ns1 host 1 2 3 4 5\n@ NS ns1\nns1 A 192.0.2.1\n"),
        ["M:3:1: the SOA record is of other.example, not of acme.example (is this another zone's file?)"],
        id="zone file of another zone",
    ),
    pytest.param(
        master("$ORIGIN other.example.\n$TTL 300\nwww A 192.0.2.1\nmail A 192.0.2.1\n"),
        [
            (
                "M:3:1: 'www.other.example.' is outside the zone acme.example, like all 2 records here (is "
                "$ORIGIN another zone's?)"
            )
        ],
        id="$ORIGIN of another zone",
    ),
    pytest.param(
        master(
            "$TTL 300\nwww A 192.0.2.1\nwww 600 A 192.0.2.2\nwww A 192.0.2.1\nfoo.other. A 192.0.2.1\nx "
            "CNAME a.b.\nx CNAME c.d.\nx A 192.0.2.1\n@ DNSKEY 256 3 8 AwEAAQ==\n"
        ),
        [
            "M:3:1: www A has TTL 600, and 300 on line 2 (one RRset has one TTL)",
            "M:4:1: warning: this record stands on line 2 already",
            "M:5:1: 'foo.other.' is outside the zone acme.example",
            "M:6:1: x CNAME: a CNAME stands alone at its name (there is A on line 8)",
            "M:6:1: x CNAME: has 2 values (there can be only one)",
            "M:9:1: DNSKEY records are made by the server and cannot be declared (1 here; remove them)",
        ],
        id="zone file: what dnspython would drop",
    ),
    pytest.param(
        master("$GENERATE 1-100000000 h$ 300 A 192.0.2.1\n"),
        ["M:1:1: is not a zone file: $GENERATE makes more than 65,536 records"],
        id="$GENERATE without end",
    ),
    pytest.param(
        master("$INCLUDE /etc/passwd\n"),
        ["M:1:1: is not a zone file: '$INCLUDE' is not followed (write its records into this file)"],
        id="$INCLUDE",
    ),
    pytest.param(
        master("www 300 CH A 192.0.2.1\n"),
        ["M:1:1: is not a zone file: the class is not IN (only the Internet's is served)"],
        id="another class",
    ),
    pytest.param(
        master("$TTL 300\n@ NS ns1.x.\nwww A 192.0.2.1 (\n\nmail A\n"),
        ["M:3:1: is not a zone file: 'mail' is one word too many"],
        id="zone file: syntax error",
    ),
    pytest.param(
        master(b"; caff\xe8\nwww 300 IN A 192.0.2.1\n"),
        ["M:1:7: byte 0xe8 is not UTF-8 (save the file as UTF-8)"],
        id="Latin-1 in a zone file",
    ),
    pytest.param(
        master("@ 300 IN SOA a. b. 1 2 3 4 5\n@ 300 IN SOA a. b. 1 2 3 4 5\n@ 300 IN NS a.\n"),
        ["M:2:1: a second SOA record (a zone has one)"],
        id="second SOA",
    ),
    pytest.param(
        records(
            "'':\n  - {type: A, value: 192.0.2.1, values: [192.0.2.1]}\n  - {type: MX}\n  - {type: CAA, "
            "value: {tag: issue}}\n  - {type: MX, value: {preference: 10, exhange: x.}}\n  - foo\n  - "
            "{type: A, value: 192.0.2.1, octodns: {x: y}, foo: bar}\n  - {type: TXT, value: {a: b}}\n"
        ),
        [
            "R:2:5: ''.A: has value and values (leave one)",
            "R:3:5: ''.MX: value is missing",
            "R:4:24: ''.CAA: value is missing in the CAA value",
            "R:5:23: ''.MX: exchange is missing in the MX value",
            "R:6:5: '': should be a record with type, ttl and value or values",
            "R:7:33: ''.A.octodns: octoDNS's octodns has no counterpart here (remove it)",
            "R:7:50: ''.A.foo: unknown key (known: from, ttl, type, until, value, values)",
            "R:8:24: ''.TXT: TXT values are text, not a mapping",
        ],
        id="octoDNS's form",
    ),
    pytest.param(
        {RECORDS: "www: {A: 192.0.2.1}\n"},
        ["customers/acme/dns: is not read, because customers/acme/dns.yaml is missing"],
        id="records without dns.yaml",
    ),
    pytest.param(
        {TARGETS_FILE: "targets: {files: {facets: {dns: }}, b: {facets: {dns: {}}}}\n"},
        [
            "T:1:33: targets.files.facets.dns: should be a mapping (key: value)",
            "T:1:55: targets.b.facets.dns.driver: is missing",
        ],
        id="facets without a driver",
    ),
    pytest.param(
        {"customers/acme/mial.yaml": "x"},
        ["customers/acme/mial.yaml: unknown file (did you mean mail.yaml?)"],
        id="unknown section",
    ),
    pytest.param(
        {"customers/acme/dns.yaml/x": "y"},
        ["D: is a folder where a file is expected", "D: unknown folder (did you mean dns?)"],
        id="folder for a file",
    ),
    pytest.param(
        {
            "customers/acme/dns/a\nb.yaml": "",
            "customers/acme/dns/\x1b[31m.yaml": "",
            OVERVIEW: ZONE,
            RECORDS: "apex: {A: 192.0.2.1}\n",
        },
        [
            "'customers/acme/dns/\\x1b[31m.yaml': holds characters that cannot be printed (rename it)",
            "'customers/acme/dns/a\\nb.yaml': holds characters that cannot be printed (rename it)",
        ],
        id="control characters in file names",
    ),
    pytest.param(
        records(
            "x: {HTTPS: ['1 . alpn=h2;x', 1 foo, 1]}\ny: {NAPTR: x, LOC: x, TLSA: x, SSHFP: x, DS: x, "
            "URI: x, SVCB: x, CAA: x, OPENPGPKEY: x}\n"
        ),
        [
            "R:1:13: x.HTTPS: '1 . alpn=h2;x': what follows “;” would be lost (put the text in double quotes)",
            (
                "R:1:30: x.HTTPS: 'foo' has no dot at its end: write 'foo.' (exactly that name) or "
                "'foo.acme.example.' (in this zone)"
            ),
            "R:1:37: x.HTTPS: '1' is not a value of type HTTPS (expecting an identifier; write 1 . alpn=\"h2,h3\")",
            (
                "R:2:12: y.NAPTR: 'x' is not a value of type NAPTR (expecting an integer; write 100 10 \"S\" "
                '"SIP+D2U" "" _sip._udp.example.com.)'
            ),
            "R:2:20: y.LOC: 'x' is not a value of type LOC (expecting an integer; write 45 24 0 N 11 52 0 E 12m)",
            (
                "R:2:29: y.TLSA: 'x' is not a value of type TLSA (expecting an integer; write 3 1 1 "
                "0d6fce3320e3d3b0a1b9e7f0b2ab1f0ed7a2a4c4fd6a3cf1a1a1b8a0f8b3a0c1)"
            ),
            (
                "R:2:39: y.SSHFP: 'x' is not a value of type SSHFP (expecting an integer; write 4 2 "
                "123456789abcdef67890123456789abcdef67890123456789abcdef123456789)"
            ),
            (
                "R:2:46: y.DS: 'x' is not a value of type DS (expecting an integer; write 60485 13 2 "
                "d4b7d520e7bb5f0f67674a0cceb1e3e0614b93c4f9e99b8383f6a1e4469da50a)"
            ),
            (
                "R:2:54: y.URI: 'x' is not a value of type URI (expecting an integer; write 10 1 "
                '"https://www.example.com/")'
            ),
            (
                "R:2:63: y.SVCB: 'x' is not a value of type SVCB (expecting an integer; write 1 "
                'svc.example.com. port="8443")'
            ),
            "R:2:71: y.CAA: 'x' is not a value of type CAA (expecting an integer; write 0 issue \"ca.example.net\")",
            (
                "R:2:86: y.OPENPGPKEY: 'x' is not a value of type OPENPGPKEY (Invalid base64-encoded "
                "string: number of data characters (1) cannot be 1 more than a multiple of 4)"
            ),
        ],
        id="values of rarer types",
    ),
    pytest.param(
        records("? " + "x" * 2000 + "\n: {A: 192.0.2.1}\n"),
        ["R:1:3: a key is longer than 1,024 characters"],
        id="long key",
    ),
    pytest.param(
        records("x: {A: " + "x" * 2000 + "}\n"),
        [
            (
                "R:1:8: x.A: "
                "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx… (2,000 "
                "characters) is not an IPv4 address (write 192.0.2.1)"
            )
        ],
        id="long value",
    ),
    pytest.param(records("x: &x {A: *x}\n"), ["R:1:11: alias *x has no anchor above it"], id="alias within itself"),
    pytest.param(
        {
            CUSTOMER: "name: x\n",
            OVERVIEW: ("zones: {acme.example: {target: files, renewal: {at: aruba, ends: 2027-W01-1, auto: yes}}}\n"),
        },
        [
            "D:1:9: zones.acme.example: has no records: customers/acme/dns/acme.example.yaml is missing",
            "D:1:66: zones.acme.example.renewal.ends: '2027-W01-1' is not a date (write 2027-03-31)",
            "D:1:84: zones.acme.example.renewal.auto: 'yes' is not true or false",
        ],
        id="dates and booleans",
    ),
    pytest.param(
        {
            **records("{}\n"),
            "inventory/checks.yaml": "dns:\n  resolvers: [ns1.example, 192.0.2.53:x, '[::1]:0', 2001:db8::53:z]\n"
            "  port: 70000\n  timeout: 0s\n  settle: 1d\n  at_once: many\n  signature: 1d\nzzz: {}\n",
        },
        [
            (
                "inventory/checks.yaml:2:15: dns.resolvers[0]: 'ns1.example' is not an address (write 192.0.2.53 or "
                "2001:db8::53)"
            ),
            "inventory/checks.yaml:2:28: dns.resolvers[1]: 'x' is not a port (a number from 1 to 65535)",
            "inventory/checks.yaml:2:42: dns.resolvers[2]: '0' is not a port (a number from 1 to 65535)",
            (
                "inventory/checks.yaml:2:53: dns.resolvers[3]: '2001:db8::53:z' is not an address (write 192.0.2.53 "
                "or 2001:db8::53)"
            ),
            "inventory/checks.yaml:3:9: dns.port: '70000' is not a port (a number from 1 to 65535)",
            "inventory/checks.yaml:4:12: dns.timeout: '0s' is not between 1 and 60 seconds",
            "inventory/checks.yaml:5:11: dns.settle: '1d' is not between 0 and 600 seconds",
            "inventory/checks.yaml:6:12: dns.at_once: 'many' is not a number from 1 to 64",
            "inventory/checks.yaml:7:3: dns.signature: unknown key (did you mean signatures?)",
            f"inventory/checks.yaml:8:1: zzz: unknown section (known: {CHECKED})",
        ],
        id="how findings are looked for",
    ),
    pytest.param(
        {**records("{}\n"), "inventory/checks.yaml": "dns: {resolvers: 192.0.2.53, roots: 192.0.2.54}\n"},
        ["inventory/checks.yaml:1:6: dns: has resolvers and roots (leave one)"],
        id="two ways to ask",
    ),
    pytest.param(
        {**records("{}\n"), "inventory/checks.yaml": "[dns]\n"},
        ["inventory/checks.yaml: should be a mapping (key: value): its keys are sections"],
        id="checks that are no mapping",
    ),
    pytest.param(
        {
            **records("{}\n"),
            "customers/acme/accepted.yaml": "accepted:\n"
            "- {resource: dns/a, finding: parent, why: w, who: p, until: 2027-01-01}\n",
        },
        [
            "customers/acme/accepted.yaml:2:30: accepted[0].finding: 'parent' is not the code of a finding (write "
            "dns.parent-ns)"
        ],
        id="a finding that is none",
    ),
]


@pytest.mark.parametrize(("files", "lines"), CASES)
def test_every_problem_with_its_place(files: Files, lines: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(estate(tmp_path, files))
    assert [str(problem) for problem in caught.value.problems] == full(lines)


@pytest.mark.parametrize("command", ["validate", "plan", "apply", "drift"])
@pytest.mark.parametrize(("files", "lines"), CASES)
def test_the_command_line_says_it_and_writes_nothing(
    command: str, files: Files, lines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = estate(tmp_path, files)
    before = snapshot(root)
    code = cli.run(["-C", str(root), command])
    said = capsys.readouterr().err.splitlines()
    assert code == 1
    assert said[:-1] == full(lines)
    assert said[-1].split()[1] in ("error,", "errors,")
    assert snapshot(root) == before


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


# -- warnings: the estate loads ---------------------------------------------------------------------------------

WARNINGS = [
    pytest.param(
        "www.acme.example: {A: 192.0.2.1}\n",
        [
            "R:1:1: www.acme.example: warning: is www.acme.example.acme.example. "
            "(names are relative to the zone; or end it with a dot)"
        ],
        id="the zone's name within the zone",
    ),
    pytest.param(
        "www: {A: [192.0.2.1, 192.0.2.1]}\n", ["R:1:22: www.A: warning: '192.0.2.1' is listed twice"], id="listed twice"
    ),
    pytest.param(
        "sub: {NS: [ns.sub.acme.example., ns.else.example.]}\na.sub: {A: 192.0.2.1}\n",
        [
            "R:1:7: sub.NS: warning: points at ns.sub.acme.example., which lies below this delegation and needs its "
            "address here (glue)",
            "R:2:9: a.sub.A: warning: is at or below the delegation of sub, whose servers answer for it",
        ],
        id="below a delegation",
    ),
    pytest.param(
        f"sub: {{NS: ns.sub.acme.example., DS: 1 13 1 {'ab' * 20}, TXT: x}}\n"
        "ns.sub: {A: 192.0.2.1, AAAA: '2001:db8::1'}\n",
        ["R:1:86: sub.TXT: warning: is at or below the delegation of sub, whose servers answer for it"],
        id="at a delegation, NS, DS and glue are right",
    ),
    pytest.param(
        "apex: {MX: [10 gone.acme.example., 20 alias.acme.example., 30 acme.example., 40 x.else.example.]}\n"
        "alias: {CNAME: else.example.}\n",
        [
            "R:1:8: apex.MX: warning: points at acme.example., which has no address in this zone",
            "R:1:8: apex.MX: warning: points at alias.acme.example., which is a CNAME",
            "R:1:8: apex.MX: warning: points at gone.acme.example., which has no address in this zone",
        ],
        id="MX at a CNAME, or at nothing",
    ),
    pytest.param(
        "apex: {NS: ns.acme.example.}\n_sip._tcp: {SRV: [1 2 3 sip.acme.example., 0 0 0 .]}\nns: {TXT: x}\n",
        [
            "R:1:8: apex.NS: warning: points at ns.acme.example., which has no address in this zone",
            "R:2:13: _sip._tcp.SRV: warning: points at sip.acme.example., which has no address in this zone",
        ],
        id="NS and SRV at nothing",
    ),
    pytest.param(
        "apex: {MX: [0 ., 1 a.acme.example., 2 a.b.acme.example.]}\n'*': {A: 192.0.2.1}\n",
        [],
        id="a wildcard is an address, at any depth",
    ),
    pytest.param(
        "apex: {MX: 1 x.b.acme.example.}\n'*': {A: 192.0.2.1}\na.b: {TXT: x}\n",
        ["R:1:8: apex.MX: warning: points at x.b.acme.example., which has no address in this zone"],
        id="a wildcard ends where a name exists",
    ),
]


@pytest.mark.parametrize(("text", "lines"), WARNINGS)
def test_warnings_do_not_stop(text: str, lines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = one_zone(tmp_path, text)
    assert [str(problem) for problem in load(root).warnings] == full(lines)
    assert cli.run(["-C", str(root), "validate"]) == 0
    assert capsys.readouterr().out.startswith("1 customer, 1 scope")
    assert cli.run(["-C", str(root), "validate", "--strict"]) == (1 if lines else 0)


# -- harmless: simply right -------------------------------------------------------------------------------------

HARMLESS = [
    pytest.param("www: {TXT: NO}\n", {"www TXT": {'"NO"'}}, id="NO is a text"),
    pytest.param(
        "www: {TXT: [yes, null, ~, 0x10, 1_000, .inf, 2027-01-01]}\n",
        {"www TXT": {'"yes"', '"null"', '"~"', '"0x10"', '"1_000"', '".inf"', '"2027-01-01"'}},
        id="so is whatever YAML knows",
    ),
    pytest.param("www: {TXT: 0123}\n", {"www TXT": {'"0123"'}}, id="0123 keeps its zero"),
    pytest.param("www: {TXT: 12:30}\n", {"www TXT": {'"12:30"'}}, id="12:30 is no number"),
    pytest.param("www: {TXT: 7.10}\n", {"www TXT": {'"7.10"'}}, id="7.10 keeps its zero"),
    pytest.param("www: {TXT: ''}\n", {"www TXT": {'""'}}, id="an empty text"),
    pytest.param("www: {TXT: ' '}\n", {"www TXT": {'" "'}}, id="a space"),
    pytest.param("www: {TXT: a;b}\n", {"www TXT": {'"a;b"'}}, id="a semicolon"),
    pytest.param("www: {TXT: caffè}\n", {"www TXT": {r'"caff\195\168"'}}, id="an accent"),
    pytest.param("www: {TXT: 'a\"b\\c'}\n", {"www TXT": {r'"a\"b\\c"'}}, id="a quote and a backslash"),
    pytest.param(f"www: {{TXT: {'x' * 300}}}\n", {"www TXT": {f'"{"x" * 300}"'}}, id="over 255 octets"),
    pytest.param("www:\n  TXT: >-\n    v=spf1\n    -all\n", {"www TXT": {'"v=spf1 -all"'}}, id="a folded text"),
    pytest.param("1: {A: 192.0.2.1}\n", {"1 A": {"192.0.2.1"}}, id="a number for a name"),
    pytest.param("007: {A: 192.0.2.1}\n", {"007 A": {"192.0.2.1"}}, id="a name with zeros"),
    pytest.param("WWW: {CNAME: WEB.Example.}\n", {"www CNAME": {"web.example."}}, id="capitals"),
    pytest.param("APEX: {A: 192.0.2.1}\n", {"@ A": {"192.0.2.1"}}, id="the apex in capitals"),
    pytest.param(
        "www.acme.example.: {A: 192.0.2.1}\nACME.example.: {A: 192.0.2.2}\n",
        {"www A": {"192.0.2.1"}, "@ A": {"192.0.2.2"}},
        id="absolute names",
    ),
    pytest.param(
        "MÜNCHEN: {A: 192.0.2.1}\nx: {CNAME: straße.example.}\n",
        {"xn--mnchen-3ya A": {"192.0.2.1"}, "x CNAME": {"xn--strae-oqa.example."}},
        id="IDNA",
    ),
    pytest.param(
        "no: {A: 192.0.2.1}\n'null': {A: 192.0.2.1}\ntrue: {A: 192.0.2.1}\n",
        {"no A": {"192.0.2.1"}, "null A": {"192.0.2.1"}, "true A": {"192.0.2.1"}},
        id="words of YAML for names",
    ),
    pytest.param("a: &x {A: 192.0.2.1}\nb: *x\n", {"a A": {"192.0.2.1"}, "b A": {"192.0.2.1"}}, id="a small alias"),
    pytest.param(
        "www: {A: 192.0.2.1}\r\nx: {A: 192.0.2.2}\r\n",
        {"www A": {"192.0.2.1"}, "x A": {"192.0.2.2"}},
        id="lines as Windows ends them",
    ),
    pytest.param(
        "www:\tA: 192.0.2.1\n".replace("\t", " {").replace("1\n", "1}\t# a tab\n"),
        {"www A": {"192.0.2.1"}},
        id="a tab before a comment",
    ),
    pytest.param("{}\n", {}, id="no record, said so"),
]


@pytest.mark.parametrize(("text", "expected"), HARMLESS)
def test_harmless_input_is_right(text: str, expected: dict[str, set[str]], tmp_path: Path) -> None:
    root = one_zone(tmp_path, text)
    estate_ = load(root)
    assert estate_.warnings == ()
    found = estate_.customers["acme"].files["dns"]["acme.example"].resources
    assert {r.id.name: set(dns.values_of(r)) for r in found} == expected


def test_names_and_texts_of_a_customer_stay_as_typed(tmp_path: Path) -> None:
    text = "name: 0123\nsites: {12-30: 10.0.0.0/8}\ncontacts: [{id: '007', name: NO, phone: +39 045 1}]\n"
    info = load(estate(tmp_path, {"customers/007/customer.yaml": text})).customers["007"].info
    assert (info.name, info.sites, info.contacts[0].name) == ("0123", {"12-30": "10.0.0.0/8"}, "NO")


# -- control characters, wherever a text can stand ---------------------------------------------------------------

PLACES: list[tuple[str, str]] = [
    (CUSTOMER, "name: %s\n"),
    (CUSTOMER, "name: x\nbaseline: %s\n"),
    (CUSTOMER, "name: x\nlanguage: %s\n"),
    (CUSTOMER, "name: x\ntimezone: %s\n"),
    (CUSTOMER, "name: x\nsites: {%s: 10.0.0.0/8}\n"),
    (CUSTOMER, "name: x\nsites: {a: %s}\n"),
    (CUSTOMER, "name: x\ncontacts: [{id: a, name: %s}]\n"),
    (CUSTOMER, "name: x\ncontacts: [{id: a, name: b, email: %s}]\n"),
    (CUSTOMER, "name: x\ncontacts: [{id: a, name: b, phone: %s}]\n"),
    (CUSTOMER, "name: x\n%s: y\n"),
    (TARGETS_FILE, "targets: {%s: {facets: {}}}\n"),
    (TARGETS_FILE, "targets: {a: {facets: {}, address: %s}}\n"),
    (TARGETS_FILE, "targets: {a: {facets: {}, note: %s}}\n"),
    (TARGETS_FILE, "targets: {a: {facets: {}, secrets: {x: %s}}}\n"),
    (TARGETS_FILE, "targets: {a: {facets: {dns: %s}}}\n"),
    (TARGETS_FILE, "targets: {a: {facets: {dns: {driver: zonefile, directory: %s}}}}\n"),
    (TARGETS_FILE, "targets: {a: {facets: {dns: {driver: zonefile, directory: x, nameservers: [%s]}}}}\n"),
    (OVERVIEW, "zones: {%s: {target: files}}\n"),
    (OVERVIEW, "defaults: {ignore: [%s]}\n"),
    (OVERVIEW, "defaults: {target: %s}\n"),
    (OVERVIEW, "defaults: {renewal: {at: a, ends: %s}}\n"),
    (RECORDS, "%s: {A: 192.0.2.1}\n"),
    (RECORDS, "www: {%s: x}\n"),
    (RECORDS, "www: {A: %s}\n"),
    (RECORDS, "www: {TXT: %s}\n"),
    (RECORDS, "www: {CAA: [0 issue x, %s]}\n"),
    (RECORDS, "www: {NAPTR: %s}\n"),
    (RECORDS, "www: {A: 192.0.2.1, ttl: %s}\n"),
    (RECORDS, "www: {type: TXT, value: %s}\n"),
    (RECORDS, "www: {type: %s, value: x}\n"),
    (RECORDS, "www: {type: CAA, value: {flags: 0, tag: issue, value: %s}}\n"),
    (RECORDS, "www: {type: CAA, value: {%s: x}}\n"),
    (RECORDS, "www: {type: HTTPS, value: {svcpriority: 1, targetname: ., svcparams: {%s: x}}}\n"),
]


@pytest.mark.parametrize("character", [r"\n", r"\t", r"\r", r"\x00", r"\e", r"\x7f", r"\N", r"\u202e", r"\L"])
@pytest.mark.parametrize(("file", "text"), PLACES)
def test_a_control_character_is_told_on_one_line(file: str, text: str, character: str, tmp_path: Path) -> None:
    good: Files = {OVERVIEW: ZONE, RECORDS: "www: {A: 192.0.2.1}\n"}
    root = estate(tmp_path, {**good, file: text.replace("%s", f'"a{character}b"')})
    with pytest.raises(InputError) as caught:
        load(root)
    assert all(str(problem).isprintable() for problem in caught.value.problems)
    assert any(problem.file == file and problem.line for problem in caught.value.problems)


# -- nothing leaves its folder ----------------------------------------------------------------------------------

SECRET = "hunter2: [\n"  # not YAML: a message would show where it stands


def _linked(root: Path, name: str, to: Path) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).symlink_to(to)


LINKS: list[tuple[str, bool]] = [
    ("customers/acme/customer.yaml", False),
    ("customers/acme/dns.yaml", False),
    ("customers/acme/dns/acme.example.yaml", False),
    ("customers/acme/dns/acme.example.zone", False),
    ("customers/acme/dns", True),
    ("customers/acme", True),
    ("customers", True),
    ("inventory", True),
    ("inventory/targets.yaml", False),
    ("inventory/contracts.yaml", False),
    ("inventory/baselines", True),
    ("inventory/baselines/standard.yaml", False),
]


@pytest.mark.parametrize("there", [True, False], ids=["leads somewhere", "leads nowhere"])
@pytest.mark.parametrize(("name", "folder"), LINKS)
def test_links_are_refused_unread(name: str, folder: bool, there: bool, tmp_path: Path) -> None:
    root, outside = estate(tmp_path / "root", {OVERVIEW: "{}\n"}), tmp_path / "outside"
    if there:
        outside.mkdir()
        for file in ("customer.yaml", "dns.yaml", "acme.example.yaml", "targets.yaml", "standard.yaml", "it"):
            (outside / file).write_text(SECRET)
    _remove(root / name)
    _linked(root, name, outside if folder else outside / "it")
    with pytest.raises(InputError) as caught:
        load(root)
    said = [str(problem) for problem in caught.value.problems]
    assert f"{name}: {LINK}" in said
    assert not any("is not YAML" in line for line in said)


def _remove(path: Path) -> None:
    if path.is_dir():
        for below in path.iterdir():
            _remove(below)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("name", ["customers/acme/dns.yaml", "inventory/targets.yaml", "customers/acme/dns/x.yaml"])
def test_a_pipe_is_refused_without_waiting(name: str, tmp_path: Path) -> None:
    root = estate(tmp_path, {OVERVIEW: "{}\n", "customers/acme/dns/README.md": ""})
    _remove(root / name)
    os.mkfifo(root / name)
    with pytest.raises(InputError, match="special file"):
        load(root)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    root = one_zone(tmp_path, "")
    with (root / RECORDS).open("r+b") as file:
        file.truncate(16 * 1024 * 1024 + 1)
    with pytest.raises(InputError, match=f"^{RECORDS}: is larger than 16 MiB"):
        load(root)


# -- all at once --------------------------------------------------------------------------------------------------


def test_problems_of_all_files_come_at_once(tmp_path: Path) -> None:
    files = {
        TARGETS_FILE: "targets:\n  files: {facets: {dns: {driver: zonefile}}}\n  f: {facet: {}}\n",
        "inventory/contracts.yaml": "contracts: {gold: {}}\n",
        CUSTOMER: "nmae: x\n",
        OVERVIEW: "zones:\n  acme.example: {target: files, tll: 1h}\n  b.example: {target: files}\n",
        RECORDS: "www: {A: nope}\n",
        "customers/acme/dns/b.example.zone": "www 300 A nope\nmail 300 A nope\n",
        "customers/beta/dns.yaml": "zones: [\n",
    }
    with pytest.raises(InputError) as caught:
        load(estate(tmp_path, files))
    places = [(p.file.rpartition("/")[2], p.line) for p in caught.value.problems]
    assert places == [
        ("customer.yaml", 0),
        ("customer.yaml", 1),
        ("dns.yaml", 2),
        ("acme.example.yaml", 1),
        ("b.example.zone", 1),
        ("b.example.zone", 2),
        ("dns.yaml", 2),
        ("contracts.yaml", 1),
        ("targets.yaml", 2),
        ("targets.yaml", 3),
        ("targets.yaml", 3),
    ]


def test_what_an_inventory_lacks_is_no_news_while_it_is_wrong(tmp_path: Path) -> None:
    files = {**records("www: {A: 192.0.2.1}\n"), TARGETS_FILE: TARGETS + "  files: {}\n"}
    with pytest.raises(InputError) as caught:
        load(estate(tmp_path, {**files, CUSTOMER: "name: x\nbaseline: gold\ncontract: {plan: gold}\n"}))
    assert [str(p) for p in caught.value.problems] == [
        "inventory/targets.yaml:3:3: duplicate key 'files' (first on line 2)",
        "inventory/targets.yaml:3:10: targets.files.facets: is missing",
    ]


def test_one_zone_in_two_spellings_belongs_to_one_customer(tmp_path: Path) -> None:
    files = {
        "customers/acme/dns.yaml": "zones: {münchen.example: {target: files}}\n",
        "customers/acme/dns/münchen.example.yaml": "{}\n",
        "customers/beta/dns.yaml": "zones: {XN--MNCHEN-3YA.example: {target: files}}\n",
        "customers/beta/dns/xn--mnchen-3ya.example.yaml": "{}\n",
    }
    with pytest.raises(InputError, match=r"XN--MNCHEN-3YA\.example: is declared in customers/acme/dns\.yaml:1 too"):
        load(estate(tmp_path, files))


def test_only_the_customers_asked_for_are_read_but_zones_of_all_are_compared(tmp_path: Path) -> None:
    files = {**records("www: {A: 192.0.2.1}\n"), "customers/beta/dns.yaml": "zones: {b.example: {target: files}}\n"}
    root = estate(tmp_path, {**files, "customers/beta/dns/b.example.yaml": "www: {A: nope}\n"})
    assert [*load(root, ["acme"]).customers] == ["acme"]
    (root / "customers/beta/dns.yaml").write_text("zones: {acme.example: {target: files}}\n")
    with pytest.raises(InputError, match=r"beta/dns.yaml:1:9: zones.acme.example: is declared in customers/acme/dns"):
        load(root, ["acme"])


@pytest.mark.parametrize("name", ["../acme", "-rf", "acme/..", "ACME", "", "a\nb"])
def test_a_customer_is_asked_for_by_name(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = one_zone(tmp_path, "www: {A: 192.0.2.1}\n")
    assert cli.run(["-C", str(root), "validate", f"--customer={name}"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"customers: has no customer {name!r}")
    assert len(said) == 2


@pytest.mark.parametrize("missing", ["customers", "inventory"])
def test_a_folder_that_is_no_repository(missing: str, tmp_path: Path) -> None:
    root = estate(tmp_path)
    (root / missing).rename(root / "elsewhere")
    with pytest.raises(InputError, match=f"has no {missing}/"):
        load(root)
