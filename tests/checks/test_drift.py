"""Findings through the command line, against the private hierarchy."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mspctl import cli
from mspctl.report import FORMATS
from tests.conftest import Said
from tests.estate import estate
from tests.servers.hierarchy import RESOLVER, ROOT, Hierarchy

TODAY = datetime.now(UTC).date()
TARGETS = """targets:
  ours: {facets: {dns: {driver: zonefile, directory: zones, nameservers: [ns1.msp.example, ns2.msp.example]}}}
  signer: {facets: {dns: {driver: zonefile, directory: zones, nameservers: [ns3.msp.example]}}}
  liar: {facets: {dns: {driver: zonefile, directory: zones, nameservers: [liar.msp.example]}}}
"""
MAIL = "".join(
    f"{name}: {{MX: 10 x.example., TXT: v=spf1 -all}}\n"
    for name in "bare half alias circle null both two many loop void gone odd".split()
)
# Target, zone below example, and codes without `dns.`.
EXPECTED = """
ours    good        -
ours    child.good  -
ours    parent      parent-ns
ours    silent      parent-ns ns-silent
ours    lame        parent-ns ns-lame
ours    nowhere     parent-ns ns-address
ours    serial      serial
ours    gone        not-delegated
ours    bare        not-delegated
ours    elsewhere   not-delegated
ours    mail        mx-address ×3 mx-cname mx-null spf-several spf-lookups spf-void spf-broken ×3
signer  signed      -
signer  soon        signatures
signer  expired     signatures
signer  wrong-ds    ds
signer  spare-ds    ds
signer  no-ds       no-ds
liar    garbage     ns-silent
liar    stranger    ns-silent
liar    upwards     ns-lame
liar    mute        ns-silent
liar    thousand    unchecked
"""
ROWS = [line.split(maxsplit=2) for line in EXPECTED.split("\n") if line]
ZONES = {f"{zone}.example": (target, re.findall(r"([a-z]\S+)(?: ×(\d))?", codes)) for target, zone, codes in ROWS}
SEVERE = {"gone", "bare", "expired", "wrong-ds", "garbage", "stranger", "upwards", "mute"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, world: Hierarchy) -> Path:
    """A repository with all of these zones, applied."""
    settings = f"port: {world.port}, inside: true, timeout: 1s, settle: 1s"
    files: dict[str, str | bytes] = {
        "inventory/targets.yaml": TARGETS,
        "inventory/checks.yaml": f"dns: {{roots: [{ROOT}], {settings}}}\n",
        "customers/acme/dns.yaml": "zones:\n" + "".join(f"  {z}: {{target: {t}}}\n" for z, (t, _) in ZONES.items()),
        **{f"customers/acme/dns/{zone}.yaml": MAIL if zone == "mail.example" else "{}\n" for zone in ZONES},
    }
    made = estate(tmp_path_factory.mktemp("findings"), files)
    subprocess.run(["git", "init", "--quiet", made], check=True)
    assert [cli.run(["-C", str(made), *command]) for command in (["ledger", "init"], ["apply", "-y"])] == [0, 0]
    return made


class Drift:
    """Runs `mspctl drift` in a copy of the repository, which a test may change."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.capsys = capsys

    def __call__(self, *arguments: str, command: str = "drift") -> Said:
        self.capsys.readouterr()
        code = cli.run(["-C", str(self.root), command, *arguments])
        return Said(code, *self.capsys.readouterr())


@pytest.fixture
def drift(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Drift:
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, symlinks=True)
    return Drift(copy, capsys)


def findings(said: Said) -> list[dict[str, str]]:
    open_: list[dict[str, str]] = json.loads(said.out)["findings"]["open"]
    return open_


@pytest.mark.parametrize("way", ["roots", "resolvers"])
def test_every_zone_is_judged_as_it_is(drift: Drift, world: Hierarchy, way: str) -> None:
    if way == "resolvers":
        file = drift.root / "inventory/checks.yaml"
        file.write_text(file.read_text().replace(f"roots: [{ROOT}]", f"resolvers: ['{RESOLVER}:{world.port}']"))
    said = drift("--check", "-o", "json")
    assert said.code == 2
    assert json.loads(said.out)["findings"]["asked"] is True
    found: dict[str, list[str]] = {zone: [] for zone in ZONES}
    for finding in findings(said):
        found[finding["path"].split("/")[1]].append(finding["code"])
    assert {zone: sorted(codes) for zone, codes in found.items()} == {
        zone: sorted(f"dns.{code}" for code, times in codes for _ in range(int(times or 1)))
        for zone, (_, codes) in ZONES.items()
    }
    severe = {f["path"] for f in findings(said) if f["severity"] == "severe"}
    assert severe == {f"dns/{zone}.example" for zone in SEVERE} | {
        f"dns/mail.example/{name} MX" for name in ("bare", "circle")
    }


def test_without_being_told_to_nobody_is_asked(drift: Drift, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("something was sent")

    for name in ("connect", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, refuse)
    said = drift()
    assert (said.code, said.out.splitlines()[-1]) == (0, "Nothing was changed outside.")
    assert "not checked from outside" in said.out
    assert drift(command="validate").code == 0


def test_findings_come_first_and_say_what_to_do(drift: Drift) -> None:
    said = drift("--check", "dns/gone.example", "dns/lame.example", "dns/good.example")
    assert said.code == 2
    lines = said.out.splitlines()
    assert re.fullmatch(r"acme  \d+ declared · \d+ unmanaged · \d+ unknown", lines[2])
    assert lines[3:6] == [
        " findings",
        "  ! severe   dns/gone.example  nobody finds the zone: the zone above, example, does not know it"
        " [dns.not-delegated]  customers/acme/dns.yaml:9",
        "             → register it with ns1.msp.example, ns2.msp.example, or take it out of dns.yaml;"
        " `public: false` says that it is known inside only",
    ]
    assert lines[-1] == "3 findings, 1 severe. Nothing was changed outside."


def test_what_was_found_is_kept_and_then_known(drift: Drift) -> None:
    zones = drift.root / "customers/acme/dns.yaml"
    records = drift.root / "customers/acme/dns"

    def declare(*names: str) -> None:
        zones.write_text("zones:\n" + "".join(f"  {name}: {{target: ours}}\n" for name in names))
        for file in records.iterdir():
            file.unlink()
        for name in names:
            (records / f"{name}.yaml").write_text("{}\n")

    def news(*arguments: str) -> list[tuple[bool, bool]]:
        said = drift("--check", "--exit-zero", "--report", "drift.json", *arguments)
        assert said.code == 0, said
        blocks = [b for b in json.loads(Path("drift.json").read_text())["blocks"] if b["section"] == "findings"]
        return [(line["new"], line["known"]) for block in blocks for line in block["lines"]]

    declare("gone.example")
    assert news("dns/gone.example", "--record") == [(False, False)]  # a part is not kept, so nothing is known
    assert news("--record") == [(False, False)]
    assert news("--record") == [(False, False)]  # seen before, today
    declare("gone.example", "bare.example")
    assert sorted(news("--record")) == [(False, False), (True, False)]
    kept = subprocess.run(
        ["git", "show", "observations:.findings/acme.json"], cwd=drift.root, capture_output=True, text=True, check=True
    )
    said = json.loads(kept.stdout)
    assert sorted(each["path"] for each in said["findings"]) == ["dns/bare.example", "dns/gone.example"]


def test_what_cannot_be_checked_is_not_good(drift: Drift) -> None:
    good = drift("--check", "dns/good.example", "dns/child.good.example", "dns/signed.example")
    assert (good.code, good.out.splitlines()[-1]) == (0, "Nothing was changed outside.")
    said = drift("--check", "dns/thousand.example")
    assert said.code == 4
    assert "not checked  dns/thousand.example  could not be checked: thousand.example MX: " in said.out
    file = drift.root / "inventory/checks.yaml"
    file.write_text(file.read_text().replace(ROOT, "127.53.0.99"))
    said = drift("--check", "dns/good.example", "dns/signed.example")
    assert said.code == 4
    assert (
        "not checked  dns/good.example, dns/signed.example  could not be checked: no name server of the root"
        in said.out
    )
    assert said.out.splitlines()[-1] == "2 checks could not be made. Nothing was changed outside."


def test_a_finding_can_be_let_be(drift: Drift) -> None:
    day = f"{TODAY + timedelta(days=9)}"
    why = ("--why", "moves in spring", "--until", day, "--who", "Paolo")
    refused = drift("acme", "dns/parent.example", "--finding", "dns.parentns", *why, command="accept")
    assert (refused.code, "did you mean dns.parent-ns?" in refused.err) == (1, True)
    assert drift("acme", "dns/none.example", "--finding", "dns.parent-ns", *why, command="accept").code == 1
    accepted = drift("acme", "dns/parent.example", "--finding", "dns.parent-ns", *why, command="accept")
    assert (accepted.code, accepted.out) == (
        0,
        f"dns.parent-ns of dns/parent.example stays as it is until {day}: customers/acme/accepted.yaml\n",
    )
    assert drift(command="validate").code == 0
    said = drift("--check", "dns/parent.example")
    assert said.code == 0
    assert f"accepted  dns/parent.example  as it is until {day}, by Paolo: moves in spring" in said.out
    (entry,) = json.loads(drift("--check", "dns/parent.example", "-o", "json").out)["findings"]["accepted"]
    assert entry["accepted"] == {"who": "Paolo", "why": "moves in spring", "until": day}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_tells_every_finding(drift: Drift, form: str) -> None:
    quick = [f"dns/{zone}" for zone in ZONES if zone not in ("silent.example", "mute.example", "serial.example")]
    said = drift("--check", "-o", form, *quick)
    assert said.code == 2
    for code in {code for zone, (_, codes) in ZONES.items() for code, _ in codes if f"dns/{zone}" in quick}:
        assert f"dns.{code}" in said.out
    assert "Traceback" not in said.err
