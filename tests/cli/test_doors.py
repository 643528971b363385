"""`firewall open` and `close`: one line in YAML, where it counts, and everything ambiguous asked back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import mail_repository
from tests.conftest import Run
from tests.servers import namespaces, require

FILE = Path("customers/acme/firewall/sede.yaml")
TARGETS = "targets: {fw-1: {facets: {firewall: {driver: nftables, via: local, at_boot: elsewhere}}}}\n"
CUSTOMER = "name: Acme\ntimezone: Europe/Rome\ncontacts: [{id: maria, name: Maria, may_authorize: [firewall]}]\n"
SEDE = """\
target: fw-1
zones: {wan: {interfaces: wan1, outside: true}, lan: lan0, guest: {interfaces: vlan30, guest: true}}
objects: {nvr: 10.20.1.60, web: 10.20.1.80, office: 10.20.0.0/22, cdn: [192.0.2.1, 10.9.9.9]}
management: {from: 198.51.100.0/28}
rules:
  - {id: browse, from: lan, to: wan, services: [http, https], action: accept}
  # nobody else sends mail
  - {id: no-smtp, from: any, to: wan, services: smtp, action: reject}
  - {id: office-web, from: wan, to: lan, source: 198.51.100.9, destination: web, services: https, action: accept}
  - {id: cams, from: lan, to: guest, source: office, destination: 10.30.0.5, services: tcp/554, action: accept}
forwards:
  - {id: nvr, listen: "wan:8443", to: "nvr:443", only_from: [198.51.100.24]}
static_nat: [{id: web, zone: wan, outside: 203.0.113.80, inside: web}]
policies: [{from: lan, to: self, action: accept}]
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    namespaces.needs_root()
    require("nft")
    files = {"inventory/targets.yaml": TARGETS, str(FILE): SEDE}
    command = mail_repository(tmp_path, files, monkeypatch, capsys)
    Path("customers/acme/customer.yaml").write_text(CUSTOMER)
    return command


def opened(run: Run, *words: str) -> list[str]:
    """The lines that came into the file; all else is as it was."""
    said = run("firewall", "open", "acme", *words)
    assert said.code == 0, said.err
    before, after = SEDE.splitlines(), FILE.read_text().splitlines()
    new = [line for line in after if line not in before]
    assert [line for line in after if line in before] == before
    return [line.strip() for line in new]


def test_a_private_host_gets_a_forward(run: Run) -> None:
    reasons = ("--why", "cameras", "--asked-by", "maria", "--ticket", "4711")
    lines = opened(
        run, "--from", "198.51.100.24", "--to", "nvr", "--service", "tcp/9443", "--until", "2099-03-12", *reasons
    )
    assert lines == [
        "- id: nvr-tcp-9443",
        "listen: wan:9443",
        "to: nvr",
        "only_from: 198.51.100.24",
        "until: 2099-03-12",
        "why: cameras",
        "asked_by: maria",
        "ticket: 4711",
    ]


@pytest.mark.parametrize(
    ("words", "line", "told"),
    [
        (
            ["--from", "203.0.113.5", "--to", "10.20.1.61:80", "--service", "tcp/8081"],
            "listen: wan:8081, to: 10.20.1.61:80, only_from: 203.0.113.5}",
            "opens tcp/8081 on wan from 203.0.113.5 only → 10.20.1.61 port 80",
        ),
        (
            ["--from", "203.0.113.5", "--to", "web", "--service", "tcp/8080"],
            "destination: web",
            "lets through tcp/8080 wan → lan",
        ),
        (
            ["--from", "lan:10.20.1.9", "--to", "wan", "--service", "smtp", "--log", "--id", "scanner"],
            "{id: scanner, from: lan, to: wan, source: 10.20.1.9, services: smtp, action: accept, log: true}",
            "before        no-smtp (customers/acme/firewall/sede.yaml:8), which rejects it",
        ),
        (
            ["--from", "guest", "--to", "self", "--service", "dhcp", "--service", "dns"],
            "{id: self-dhcp, from: guest, to: self, services: [dhcp, dns], action: accept}",
            "create",
        ),
        (
            ["sede", "--from", "2001:db8::7", "--to", "lan:2001:db8:20::1", "--service", "ssh"],
            "destination: 2001:db8:20::1",
            "id  2001-db8-20-1-ssh",
        ),
    ],
)
def test_a_rule_stands_where_it_counts(run: Run, words: list[str], line: str, told: str) -> None:
    said = run("firewall", "open", "acme", *words, "--dry-run")
    assert said.code == 0, said.err
    assert line in said.out.replace('"', "")
    assert FILE.read_text() == SEDE
    if "smtp" in words:
        opened(run, *words)
        text = FILE.read_text()
        assert text.index("id: browse") < text.index("id: scanner") < text.index("id: no-smtp")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--from", "office", "--to", "wan", "--service", "https"],
            "rule browse (customers/acme/firewall/sede.yaml:6)",
        ),
        (["--from", "198.51.100.24", "--to", "nvr:443", "--service", "tcp/8443"], "forward nvr"),
        (["--from", "lan", "--to", "self", "--service", "ssh"], "policy lan > self"),
    ],
)
def test_what_is_open_already_is_told(run: Run, words: list[str], told: str) -> None:
    said = run("firewall", "open", "acme", *words)
    assert (said.code, FILE.read_text()) == (0, SEDE)
    assert said.out.startswith("open already, without an end: ")
    assert told in said.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--from", "10.30.0.7", "--to", "nvrr", "--service", "ssh"],
            "--to: there is no object nvrr (did you mean nvr?)",
        ),
        (
            ["--from", "cdn", "--to", "nvr", "--service", "ssh"],
            "--from: in which zone is cdn? (write wan:cdn or lan:cdn",
        ),
        (["--from", "wam:1.2.3.4", "--to", "nvr", "--service", "ssh"], "no zone wam (did you mean wan?)"),
        (["--from", "lan", "--from", "wan", "--to", "self", "--service", "ssh"], "are in several zones (lan, wan"),
        (["--from", "self", "--to", "wan", "--service", "ssh"], "--from: what the device itself sends"),
        (["--from", "198.51.100.7", "--to", "nvr", "--service", "dns"], "--service: dns is not one port"),
        (["--from", "198.51.100.7", "--to", "nvr", "--service", "htps"], "--service: there is no service htps"),
        (["--from", "198.51.100.7", "--to", "nvr", "--service", "tcp/8443"], "--service: is taken by nvr"),
        (["--from", "lan", "--to", "wan:192.0.2.1:80", "--service", "ssh"], "only a forward leads to another port"),
        (["--from", "guest", "--to", "lan", "--service", "ssh"], "lets guests (guest) into lan"),
        (["--from", "wan", "--to", "self", "--service", "ssh"], "opens the device's administration to the world"),
        (["--from", "guest", "--to", "wan", "--service", "ssh", "--until", "tomorrow"], "--until: 'tomorrow' is not"),
        (["--from", "guest", "--to", "wan", "--service", "ssh", "--asked-by", "ugo"], "--asked-by: ugo is no contact"),
        (
            ["--from", "guest", "--to", "wan", "--service", "ssh", "--schedule", "x"],
            "--schedule: there is no schedule x",
        ),
        (["--from", "guest", "--to", "wan", "--service", "ssh", "--id", "no-smtp"], "--id: no-smtp is the id of"),
        (["--from", "guest", "--to", "wan", "--service", "ssh", "--why", "a\nb"], "--why: "),
        (["deposito", "--from", "guest", "--to", "wan", "--service", "ssh"], "acme has no firewall deposito"),
        (
            ["--from", "guest", "--to", "wan", "--service", "ssh", "--until", "2020-01-01"],
            "--until: 2020-01-01 is over",
        ),
        (["--from", "198.51.100.7", "--to", "nvr:70000", "--service", "tcp/81"], "--to: nvr:70000: 70000 is no port"),
        (["--from", "lan:10.20.1.9-10.20.1.1", "--to", "wan", "--service", "ssh"], "from the lower to the higher"),
    ],
)
def test_what_cannot_be_opened_is_told_and_nothing_written(run: Run, words: list[str], told: str) -> None:
    said = run("firewall", "open", "acme", *words)
    assert said.code == 1, said.out
    assert told in said.err
    assert FILE.read_text() == SEDE


def test_close(run: Run) -> None:
    said = run("firewall", "close", "acme", "cams")
    assert said.code == 0, said.err
    assert "cams" not in FILE.read_text()
    packet = ("--from", "198.51.100.24", "--to", "nvr", "--service", "tcp/8443")
    said = run("firewall", "close", "acme", "sede", *packet, "--until", "2099-01-31 18:00")
    assert said.code == 0, said.err
    assert "until: 2099-01-31 18:00}" in FILE.read_text()
    assert "still lets it through" in said.out
    said = run("firewall", "close", "acme", *packet)
    assert "- {id: nvr, listen" not in FILE.read_text()
    assert "still lets it through" not in said.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["cam"], "ID: customers/acme/firewall/sede.yaml has no rule or forward cam (did you mean cams?)"),
        (["sede", "cams", "--until", "soon"], "--until: 'soon' is not a day or a time"),
        (["sede", "cams", "--until", "2020-01-01 10:00"], "--until: 2020-01-01 10:00 is over"),
        (["--from", "lan", "--to", "guest:10.30.0.5", "--service", "tcp/554"], "lan: which address in it?"),
        (["--from", "lan:10.20.0.7", "--to", "guest:10.30.0.5", "--service", "tcp/554"], "more than that: close it by"),
        (["--from", "lan:10.20.0.7", "--to", "self", "--service", "ssh"], "policy lan > self lets it through"),
        (["--from", "wan:198.51.100.5", "--to", "self", "--service", "ssh"], "management lets it through"),
        (["--from", "wan:198.51.100.77", "--to", "nvr", "--service", "tcp/8443"], "it is closed: default default"),
    ],
)
def test_what_cannot_be_closed(run: Run, words: list[str], told: str) -> None:
    said = run("firewall", "close", "acme", *words)
    assert said.code == 1, said.out
    assert told in said.err
    assert FILE.read_text() == SEDE


def test_what_opens_comes_first_in_every_format(run: Run) -> None:
    reasons = ("--why", "cameras", "--asked-by", "maria", "--ticket", "4711", "--until", "2099-03-12 18:00")
    assert run("firewall", "open", "acme", "--from", "1.2.3.4", "--to", "nvr", "--service", "tcp/1", *reasons).code == 0
    words = (
        "opens tcp/1 on wan from 1.2.3.4 only → nvr 10.20.1.60; closes itself Thu 12 Mar 2099 18:00; asked by Maria;"
        " ticket 4711; “cameras”"
    )
    for output in ("text", "markdown", "html"):
        said = run("plan", "--output", output).out
        assert "closes itself Thu 12 Mar 2099 18:00" in said
        assert said.rindex("lets through") < min(said.index(kept) for kept in ("rejects smtp", "drops what nothing"))
    changes = json.loads(run("plan", "--output", "json").out)["scopes"][0]["changes"]
    assert [c["opens"] for c in changes] == sorted((c["opens"] for c in changes), reverse=True)
    assert words in [c["words"] for c in changes]


@pytest.mark.parametrize("engine", ["mspctl", "pulumi"])
def test_a_packet_that_comes_later_meets_clocks_as_they_are_set_then(run: Run, engine: str) -> None:
    """Whoever carries it out: what Git says is the same."""
    Path("customers/acme/customer.yaml").write_text(f"{CUSTOMER}engine: {engine}\n")
    text = SEDE.replace("static_nat:", 'schedules: {day: "08:00-18:00"}\nstatic_nat:')
    FILE.write_text(
        text.replace(
            "  - {id: cams",
            "  - {id: till, from: lan, to: wan, services: ntp, action: accept, schedule: day}\n  - {id: cams",
        )
    )
    for at, told in (
        ("2027-01-15 06:59", "dropped by default default"),  # 07:59 in Rome
        ("2027-01-15 07:00", "let through by rule till"),
        ("2027-07-15 05:59", "dropped by default default"),
        ("2027-07-15 06:00", "let through by rule till"),
    ):
        said = run("firewall", "explain", "acme", "sede", "lan:10.20.1.9", "wan:192.0.2.1", "ntp", "--at", at)
        assert said.code == 0, said.err
        assert said.out.startswith(f"Git: {told}"), at


@pytest.mark.parametrize("end", ["lan:10.20.1.9\n", "lan:\x1b[2J", "lan:", "lan"])
def test_what_is_no_packet_is_one_line(run: Run, end: str) -> None:
    said = run("firewall", "explain", "acme", "sede", end, "wan:192.0.2.1", "https")
    assert said.code == 1
    assert len(said.err.splitlines()) == 2  # it, and how many there are
    assert "\x1b" not in said.err
