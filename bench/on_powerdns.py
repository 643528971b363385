"""
The same zones on one PowerDNS, planned by mspctl and by octoDNS with octodns-powerdns: nothing to change.

`measure` is for run.py. Started as a program of its own it serves (`serve FOLDER`), or writes what mspctl declares as
octoDNS keeps it (`write FOLDER`), because both take memory.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import peer
from measure import ENVIRONMENT, Command, Run, in_turn, output

BENCH = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
MSPCTL, SYNC = BIN / "mspctl", BIN / "octodns-sync"
HERE = find_spec("octodns_powerdns") is not None and shutil.which("pdns_server", path="/usr/sbin:/usr/bin") is not None

TARGETS = """\
targets:
  pdns:
    address: {address}
    secrets: {{api_key: PDNS_API_KEY}}
    facets: {{dns: {{driver: powerdns, nameservers: [ns1.provider.example], fingerprints: {fingerprints}}}}}
"""
CONFIG = """\
providers:
  config: {{class: octodns.provider.yaml.YamlProvider, directory: {folder}/config, enforce_order: false}}
  pdns: {{class: octodns_powerdns.PowerDnsProvider, host: 127.0.0.1, port: {port}, api_key: {key}}}
zones:
  '*': {{lenient: true, sources: [config], targets: [pdns]}}
"""


def measure(estate: Path, scratch: Path) -> tuple[dict[str, Run], tuple[int, int]]:
    """
    Both plans, our drift runs when no token changed, and how many zones and RRsets; `estate` is a repository of ours.

    Raises SystemExit.
    """
    folder, ours = scratch / "on-powerdns", scratch / "on-powerdns/estate"
    for name in ("config", "estate/customers", "estate/inventory", "server"):
        (folder / name).mkdir(parents=True)
    declared = output([MSPCTL, "-C", estate, "show", "--output", "json"])
    subprocess.run([sys.executable, __file__, "write", folder / "config"], input=declared, text=True, check=True)
    with _served(folder / "server") as served:
        ENVIRONMENT["MSPCTL_SECRET_PDNS_API_KEY"] = served["key"]
        (ours / "inventory/targets.yaml").write_text(TARGETS.format(**served, fingerprints="records"))
        (folder / "pdns.yaml").write_text(CONFIG.format(folder=folder, **served))
        output([MSPCTL, "-C", ours, "import", folder / "config", "--from", "octodns", "--customer", "estate"])
        for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message", "The estate")):
            output(["git", "-C", ours, *words])
        output([MSPCTL, "-C", ours, "ledger", "init"])
        output([MSPCTL, "-C", ours, "apply", "--yes", "--reason", "bench"])
        by_serial = scratch / "on-powerdns/by-serial"
        shutil.copytree(ours, by_serial, symlinks=True)
        (by_serial / "inventory/targets.yaml").write_text(TARGETS.format(**served, fingerprints="serials"))
        for each in (ours, by_serial):
            output([MSPCTL, "-C", each, "drift", "--record"])
        plans: dict[str, Command] = {
            "mspctl": [MSPCTL, "-C", ours, "plan"],
            "drift": [MSPCTL, "-C", ours, "drift"],
            "drift by serial": [MSPCTL, "-C", by_serial, "drift"],
            "octoDNS": [SYNC, "--config-file", folder / "pdns.yaml", "--quiet"],
        }
        counted = _same_work(ours, folder / "pdns.yaml")
        return in_turn(plans), counted


def _same_work(ours: Path, config: Path) -> tuple[int, int]:
    said = output([MSPCTL, "-C", ours, "plan", "--output", "json"])  # exit code 0: nothing to do
    scopes = json.loads(said[said.index("{") :])["scopes"]
    counted = len(scopes), sum(scope["declared"] for scope in scopes)
    theirs = output([SYNC, "--config-file", config])
    if "No changes were planned" not in theirs:
        sys.exit("octodns-sync has something to do on PowerDNS, and should not")
    for provider in ("config", "pdns"):
        if peer.worked(theirs, provider) != counted:
            sys.exit(f"not the same work: mspctl found {counted}, octoDNS's {provider} {peer.worked(theirs, provider)}")
    return counted


@contextmanager
def _served(folder: Path) -> Iterator[dict[str, Any]]:
    """A PowerDNS, until the end: its address, port and key."""
    command = [sys.executable, __file__, "serve", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None, "it was asked for"
        assert process.stdout is not None, "it was asked for"
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(30)


# -- programs of their own ------------------------------------------------------------------------------------


def serve(folder: Path) -> None:
    sys.path.insert(0, str(BENCH.parent))
    from tests.servers.powerdns import KEY, powerdns

    with powerdns(folder) as server:
        print(json.dumps({"address": server.address, "port": server.api_port, "key": KEY}), flush=True)
        sys.stdin.read()


def write(folder: Path) -> None:
    """What `mspctl show --output json` says, as octoDNS keeps it; without what one of the two could not hold there."""
    import yaml

    for customer in json.load(sys.stdin)["customers"].values():
        for scope in customer["scopes"]:
            zone: dict[str, list[dict[str, Any]]] = {}
            for resource in scope["resources"]:
                owner, _, rtype = resource["name"].rpartition(" ")
                values = resource["fields"]["values"]
                if "#" in owner or (rtype == "TXT" and any('\\"' in value for value in values)):
                    continue  # PowerDNS takes no such name; octodns-powerdns does not read back its own quotes
                typed = [_typed(rtype, value) for value in values]
                said = {"values": typed} if len(typed) > 1 else {"value": typed[0]}
                entry = {"type": rtype, "ttl": resource["fields"]["ttl"], **said}
                zone.setdefault(owner.replace("@", ""), []).append(entry)
            with (folder / f"{scope['name']}.yaml").open("w") as file:
                yaml.dump(zone, file, Dumper=yaml.CSafeDumper, allow_unicode=True, width=1000)


_PARTS = {
    "CAA": ("flags", "tag", "value"),
    "MX": ("preference", "exchange"),
    "SRV": ("priority", "weight", "port", "target"),
}


def _typed(rtype: str, value: str) -> Any:
    if rtype in _PARTS:
        words = [word.strip('"') for word in value.split(" ", len(_PARTS[rtype]) - 1)]
        return {name: int(w) if w.isdigit() else w for name, w in zip(_PARTS[rtype], words, strict=True)}
    if rtype != "TXT":
        return value
    octets = re.sub(r"\\(?:(\d{3})|(.))", lambda m: chr(int(m[1])) if m[1] else m[2], value[1:-1]).encode("latin-1")
    return octets.decode().replace(";", "\\;")


if __name__ == "__main__":
    {"serve": serve, "write": write}[sys.argv[1]](Path(sys.argv[2]))
