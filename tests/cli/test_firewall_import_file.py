"""A firewall that nobody reaches yet comes from a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import mail_repository
from tests.conftest import Run
from tests.servers import namespaces, require

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDpqD4q3Xo0yQn8Yl1YlqkFzvJ8m0cUe9lq3l8mQv0aB"
TARGETS = f"targets: {{fw-1: {{address: 192.0.2.1, facets: {{firewall: {{driver: nftables, host_key: {KEY}}}}}}}}}\n"
RULES = """\
table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		ct state invalid drop
		iif "lo" accept
		iifname "office0" ip saddr 198.51.100.0/28 tcp dport 22 accept
		iif "lan0" udp dport 53 limit rate 100/second accept comment "include dns"
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state established,related accept
		ct state invalid drop
		iif { "lan0", "lan1" } oif != "lan0" oifname "wan0" tcp dport { 80, 443 } accept comment "browse"
		ct status dnat accept
	}
}
table ip nat {
	chain prerouting {
		type nat hook prerouting priority dstnat;
		iifname "wan0" ip daddr 203.0.113.1 tcp dport 8443 dnat to 10.20.0.9:443 comment "cameras"
	}
}
"""
MASKED = "\tchain postrouting {\n\t\ttype nat hook postrouting priority srcnat;\n\t\toifname wan0 masquerade\n\t}\n}\n"
SAID = ("--from", "nftables", "-c", "acme")
FILE = Path("customers/acme/firewall.yaml")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    namespaces.needs_root()
    require("nft")
    command = mail_repository(tmp_path, {"inventory/targets.yaml": TARGETS}, monkeypatch, capsys)
    Path("customers/acme/customer.yaml").write_text("name: Acme\n")
    return command


def test_what_was_saved_becomes_yaml_in_either_form(run: Run) -> None:
    Path("rules.nft").write_text(RULES)
    said = run("import", *SAID, "rules.nft", "--outside", "wan0")
    assert said.code == 0, said.err + said.out
    assert "cameras takes what is sent to any address of the device there, and was for 203.0.113.1" in said.err
    text = FILE.read_text()
    for words in (
        "wan: {interfaces: wan0, outside: true}",
        "management: {from: 198.51.100.0/28, zones: office}",
        "listen: wan:8443",
        "only_from: any",
        'text: iifname "lan0" udp dport 53 limit rate 100/second',
    ):
        assert words in text, text
    with namespaces.made("saved") as names:
        nft = [*namespaces.inside(names["saved"]), require("nft")]
        namespaces.run(*nft, "-f", "-", given=RULES.replace("iif ", "iifname ").replace("oif ", "oifname "))
        listed = namespaces.run(*nft, "-j", "list", "ruleset").replace('"iifname"', '"iif"', 1)
    Path("rules.json").write_text(listed)
    FILE.unlink()
    assert run("import", *SAID, "rules.json", "--outside", "wan0").code == 0
    assert FILE.read_text() == text


def test_what_saves_windows_is_read_and_masquerade_shows_what_is_outside(run: Run) -> None:
    Path("rules.nft").write_text(RULES.removesuffix("}\n") + MASKED, encoding="utf-16")
    said = run("import", *SAID, "rules.nft")
    assert said.code == 0, said.err
    assert "wan: {interfaces: wan0, outside: true}" in FILE.read_text()


@pytest.mark.parametrize("customer", ["acme", "newcomer"])
def test_what_would_be_refused_is_kept_as_raw_in_the_first_file_of_a_site(run: Run, customer: str) -> None:
    """It is asked before it is written, although neither the site nor its folder is there yet."""
    world = 'iif "lan0" udp dport 53'
    Path("rules.nft").write_text(RULES.replace(world, f'tcp dport 22 accept comment "for all"\n\t\t{world}'))
    said = run(
        "import", "--from", "nftables", "-c", customer, "--site", "hq", "rules.nft", "--outside", "wan0",
        "--management", "198.51.100.0/28",
    )  # fmt: skip
    assert said.code == 0, said.err + said.out
    assert "opens the device's administration to the world (kept as raw)" in said.err
    assert "text: tcp dport 22 accept" in Path(f"customers/{customer}/firewall/hq.yaml").read_text()
    assert run("validate").code == 0
    other = "acme" if customer != "acme" else "newcomer"
    said = run("import", "--from", "nftables", "-c", other, "--site", "hq", "rules.nft", "--outside", "wan0")
    assert said.code == 1
    assert "fw-1 is the firewall of" in said.err
    assert not Path(f"customers/{other}/firewall").exists()


FASTER = """\
	flowtable fast {
		hook ingress priority filter
		devices = { lan0, "wan0" }
		counter
	}
"""
EARLY = """\
table netdev early {
	chain ingress {
		type filter hook ingress device "wan0" priority -500; policy accept;
		ip saddr 192.0.2.0/24 drop
	}
}
"""
ADDS = '\t\tmeta l4proto { tcp, udp } flow add @fast comment "not flow add @slow"\n'


@pytest.mark.parametrize("form", ["nft", "json"])
def test_what_is_of_interfaces_alone_is_left_out_and_told(run: Run, form: str) -> None:
    """None of them is here. Kernels without flowtables cannot list one either, so its JSON is made."""
    Path("plain.nft").write_text(RULES)
    assert run("import", *SAID, "plain.nft", "--outside", "wan0").code == 0
    text = FILE.read_text()
    FILE.unlink()
    chain = "\tchain forward {\n\t\ttype filter hook forward priority filter; policy drop;\n"
    held = RULES.replace(chain, FASTER + chain + ADDS)
    assert ADDS in held
    if form == "json":
        with namespaces.made("flows") as names:
            nft = [*namespaces.inside(names["flows"]), require("nft")]
            given = RULES.replace("iif ", "iifname ").replace("oif ", "oifname ")
            namespaces.run(*nft, "-f", "-", given=given.replace(chain, chain + "\t\tmeta l4proto tcp counter\n"))
            listed = json.loads(namespaces.run(*nft, "-j", "list", "ruleset"))["nftables"]
        table = {"family": "inet", "table": "filter"}
        listed.insert(2, {"flowtable": {**table, "name": "fast", "hook": "ingress", "prio": 0, "dev": ["lan0"]}})
        listed += [
            {"table": {"family": "netdev", "name": "early"}},
            {"chain": {"family": "netdev", "table": "early", "name": "ingress", "dev": "wan0"}},
        ]
        for rule in (item["rule"] for item in listed if "rule" in item):
            adds = {"flow": {"op": "add", "flowtable": "@fast"}}
            rule["expr"] = [adds if "counter" in each else each for each in rule["expr"]]
        held = json.dumps({"nftables": listed})
        assert '"flow":' in held
    Path("rules").write_text(held if form == "json" else held + EARLY)
    said = run("import", *SAID, "rules", "--outside", "wan0")
    assert said.code == 3, said.err  # something was left out
    assert "flowtable fast is not taken over" in said.err
    assert "table netdev early: it sees packets before they have zones (left out" in said.err
    assert FILE.read_text() == text


WRONG = (
    (RULES, "--outside: is needed: rules.nft does not say by which interface the Internet is reached"),
    (" \n", "the file is empty (nft list ruleset >FILE on the device writes it)"),
    ("*filter\n:INPUT DROP [0:0]\nCOMMIT\n", "the file is what iptables-save wrote (nft list ruleset >FILE"),
    ("Chain INPUT (policy DROP)\n", "the file is no list of nft"),
    (f'include \\\n  "/etc/shadow"\n{RULES}', "the file includes another one"),
    (f'include "/etc/shadow"\n{RULES}', "the file includes another one"),
    (f'add rule x "\n" include "/etc/shadow" "\n" {RULES}', "the file includes another one"),
    (f'include flowtable x {{ }} "/etc/shadow"\n{RULES}', "the file includes another one"),
    (f'include\ntable netdev x {{\n}} "/etc/shadow"\n{RULES}', "the file includes another one"),
    ("table inet filter {\n\tchain input {\n\t\ttcp dprt 22 accept\n", "nft does not take the file: line 3:"),
    ('{"nftables": [{"rule": 1}]}', "nft does not take the file: "),
    ('{"nftables":' + "[" * 9999, "nft does not take the file: "),
    ("table inet filter { }\n", "rules.nft has no rules but those that mspctl put there; nothing was written"),
)


def test_what_cannot_be_read_is_said_in_one_line(run: Run) -> None:
    for text, told in WRONG:
        Path("rules.nft").write_text(text)
        said = run("import", *SAID, "rules.nft")
        assert (said.code, said.out) == (1, ""), said
        assert told in said.err.removesuffix("\n1 error, 0 warnings\n").splitlines()[-1]
        assert not FILE.exists()
        assert "root:" not in said.err
        assert "tcp dprt 22" not in said.err
    Path("rules.bin").write_bytes(b"\x80\x81\x00")
    for name, told in (("nothing", "cannot be read (No such file"), ("rules.bin", "is no text"), (".", "directory")):
        said = run("import", *SAID, name)
        assert (said.code, told in said.err) == (1, True), said
