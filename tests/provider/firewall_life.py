"""
Run within a network namespace by test_firewall.py: the life of a firewall over the provider's wire, told as JSON.

    python -m tests.provider.firewall_life REPOSITORY CUSTOMER PORT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import grpc

from tests.provider.wire import Json, plain, provider, refusal, secret

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


def main(repository: str, customer: str, port: str) -> Json:
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
        try:
            wire.delete(TOKEN, id_, state, second)
        except grpc.RpcError as error:
            said["kept"] = refusal(error).text
    return said


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])))
