"""
Run within a network namespace by test_firewall.py: the life of a firewall over the provider's wire, told as JSON.

    python -m tests.provider.firewall_life REPOSITORY CUSTOMER PORT NAMESPACE

NAMESPACE is the firewall's own: what somebody does there by hand.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.provider.wire import Json, Wire, approve, plain, provider, refused, secret
from tests.servers.namespaces import inside

TOKEN = "mspctl:firewall:Firewall"
ANY, OFFICE = ["any"], ["198.51.100.0/28"]


def device(customer: str, port: str) -> Json:
    usual = {"log": False, "until": "", "hours": []}
    rule = {**usual, "destination": ANY, "action": "accept"}
    zones = {"wan": ["wan0"], "lan": ["lan0"], "office": ["office0"]}
    resources = {
        "zone": {name: {"interfaces": found, "outside": name == "wan"} for name, found in zones.items()},
        "rule": {
            "management": {
                **rule,
                "from": ["office"],
                "to": ["self"],
                "source": secret(OFFICE),
                "services": [f"tcp/{port}"],
            },
            "browse": {**rule, "from": ["lan"], "to": ["wan"], "source": ANY, "services": ["https", "http"]},
        },
        "order": {"rules": {"rules": ["management", "browse"]}},
        "default": {"default": {"action": "drop", "log": False}},
    }
    return {"customer": customer, "target": "fw-sede", "name": "sede", "resources": resources}


TABLE = "mspctl-sede"
DECLARED = """\
target: fw-sede
zones: {wan: {interfaces: wan0, outside: true}, lan: lan0, office: office0}
management: {from: 198.51.100.0/28}
rules: [{id: browse, from: lan, to: wan, services: https, action: accept}]
default: {action: drop}
"""


def adopted(wire: Wire, customer: Path, id_: str) -> Json:
    """As whoever has the id alone imports what a customer declares: the inputs, and what differs from them then."""
    folder = customer / "firewall"
    folder.mkdir()
    (folder / "sede.yaml").write_text(DECLARED)
    wire.configure(customer.parent.parent)
    read = wire.read(TOKEN, id_)
    (folder / "sede.yaml").unlink()
    folder.rmdir()
    wire.configure(customer.parent.parent)
    inputs = plain(read.inputs)
    left = wire.details(TOKEN, plain(read.properties), wire.checked(TOKEN, inputs), inputs)
    return {"services": inputs["resources"]["rule"]["browse"]["services"], "left": left}


def nft(namespace: str, command: str) -> str:
    words = [*inside(namespace), "nft", "--echo", "--handle", command]
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=10).stdout


def refused_delete(wire: Wire, id_: str, state: Json, inputs: Json) -> str:
    with refused() as said:
        wire.delete(TOKEN, id_, state, inputs)
    return said[0].text


def main(repository: str, customer: str, port: str, namespace: str) -> Json:
    with provider(Path(repository)) as wire:
        bad = device(customer, port)
        bad["resources"]["rule"]["browse"] |= {"action": "accept; flush ruleset", "from": ["lan; drop"]}
        said: Json = {"failures": wire.failures(TOKEN, bad)}
        first = wire.checked(TOKEN, device(customer, port))
        id_, created = wire.create(TOKEN, first)
        said |= {"id": id_, "same": wire.details(TOKEN, created, first, first)}
        wanted = device(customer, port)
        wanted["resources"]["rule"]["browse"]["services"] = ["https"]
        second = wire.checked(TOKEN, wanted)
        said["change"] = wire.details(TOKEN, created, second, first)
        state = wire.update(TOKEN, id_, created, second, first)
        read = wire.read(TOKEN, id_, state, second)
        answers = (first, created, second, state, plain(read.inputs), plain(read.properties))
        said["secrets"] = [each["resources"]["rule"]["management"]["source"] for each in answers]
        said["drift"] = wire.details(TOKEN, plain(read.properties), second, second)
        said["imported"] = adopted(wire, Path(repository) / "customers" / customer, id_)
        told = nft(namespace, f"add rule inet {TABLE} forward tcp dport 8080 accept")
        handle = told.rpartition("# handle ")[2].split()[0]
        drifted = plain(wire.read(TOKEN, id_, state, second).properties)
        said["by hand"] = wire.details(TOKEN, drifted, second, second)
        state = wire.update(TOKEN, id_, drifted, second, second)
        said["kept"] = refused_delete(wire, id_, state, second)
        approve(Path(repository), "firewall/sede", "fw-sede", customer)
        wire.configure(Path(repository))
        said["not ours"] = refused_delete(wire, id_, state, second)
        nft(namespace, f"delete rule inet {TABLE} forward handle {handle}")
        wire.delete(TOKEN, id_, state, second)
        said["gone"] = wire.read(TOKEN, id_, state, second).id
    return said


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])))
