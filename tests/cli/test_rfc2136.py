"""From an empty folder to zones on a real name server: init, import, plan, apply, drift."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.rcode
import pytest

from mspctl import cli
from tests.conftest import Said
from tests.servers import dynamic
from tests.servers.dynamic import Bind, Dynamic, Knot

ZONES = ("acme.example", "brenta.example")
TARGETS = """\
targets:
  ns-1:
    address: 127.0.0.1
    secrets: {{tsig: NS_1_TSIG}}
    facets:
      dns:
        driver: rfc2136
        key: {key}
        port: {port}
        timeout: 5s
        nameservers: [ns1.msp.example, ns2.msp.example]
        zones: [acme.example, brenta.example]
"""
RECORDS = 'www A 192.0.2.1\nwww A 192.0.2.2\n@ MX 10 mail.msp.example.\n@ TXT "v=spf1 -all"\nshop CNAME www\n'


@pytest.fixture(scope="module", params=[Bind, Knot])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dynamic]:
    made: Dynamic = request.param(tmp_path_factory.mktemp("server"))
    with dynamic.running(made):
        for zone in ZONES:
            made.add(zone, dynamic.bare(zone) + RECORDS)
        yield made


Run = Callable[..., Said]


@pytest.fixture
def run(server: Dynamic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in a new repository; nothing that it prints holds the secret."""

    def command(*arguments: str) -> Said:
        capsys.readouterr()
        said = Said(cli.run([*arguments]), *capsys.readouterr())
        assert server.secret not in said.out + said.err
        assert "Traceback" not in said.err
        return said

    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "GITHUB_ACTOR"):
        monkeypatch.delenv(name, raising=False)
    assert command("init", str(tmp_path / "msp"), "--no-example").code == 0
    monkeypatch.chdir(tmp_path / "msp")
    monkeypatch.setenv("MSPCTL_SECRET_NS_1_TSIG", server.secret)
    key = server.key.name.to_text(omit_final_dot=True)
    Path("inventory/targets.yaml").write_text(TARGETS.format(key=key, port=server.port))
    return command


def edit(old: str, new: str) -> None:
    path = Path("customers/acme/dns/acme.example.yaml")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_from_a_server_to_git_and_back(run: Run, server: Dynamic) -> None:
    done = run("import", "--from", "ns-1", "--customer", "acme")
    assert done.code == 0
    assert "in:  2 files, 8 RRsets, 10 values" in done.out
    assert "out: 2 zones, 8 RRsets, 10 values" in done.out
    assert (run("plan").code, run("apply", "--yes").code, run("drift").code) == (0, 0, 0)

    edit("192.0.2.2", "192.0.2.3")
    assert run("plan").code == 2
    serial = server.soa("acme.example")
    applied = run("apply", "--yes")
    assert applied.code == 0
    assert server.soa("acme.example") == serial + 1
    assert run("plan").code == 0

    update = server.update("acme.example")
    update.replace("www", 60, "A", "192.0.2.66")
    assert server.send(update) == dns.rcode.NOERROR
    drift = run("drift", "--output", "json")
    assert drift.code == 2
    (left,) = json.loads(drift.out)["scopes"][0]["left"]
    assert left["cause"] == "drift"
    assert run("apply", "--yes", "--revert").code == 0
    assert (run("drift").code, run("plan").code) == (0, 0)
    edit("192.0.2.3", "192.0.2.2")
    assert run("apply", "--yes").code == 0


def test_what_cannot_be_done_is_seen_in_the_plan(run: Run, server: Dynamic, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("import", "--from", "ns-1", "--customer", "acme").code == 0
    path = Path("customers/acme/dns.yaml")
    path.write_text(f"{path.read_text()}  new.example: {{target: ns-1}}\n")
    Path("customers/acme/dns/new.example.yaml").write_text("www: {A: 192.0.2.1}\n")
    planned = run("plan")
    assert planned.code == 1
    assert "the server has no zone new.example, and over DNS none can be made" in planned.out
    assert run("plan", "dns/acme.example").code == 0

    targets = Path("inventory/targets.yaml")
    text = targets.read_text()
    targets.write_text(text.replace("        zones: [acme.example, brenta.example]\n", ""))
    listed = run("import", "--from", "ns-1", "--customer", "other")
    assert listed.code == 1
    assert "DNS cannot list the zones of a server: give ns-1 zones:" in listed.err
    targets.write_text(text.replace("driver: rfc2136", "driver: rfc2136\n        algorithm: hmac-md5"))
    refused = run("plan")
    assert refused.code == 1
    assert "inventory/targets.yaml:8:" in refused.err
    assert "'hmac-md5' is not one of hmac-sha256, hmac-sha384, hmac-sha512" in refused.err
    targets.write_text(text)
    monkeypatch.delenv("MSPCTL_SECRET_NS_1_TSIG")
    assert "secret NS_1_TSIG (tsig of ns-1) is not set: looked in" in run("plan").out
