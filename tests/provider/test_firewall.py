"""`mspctl:firewall:Firewall` over the provider's wire, on a real nftables behind real SSH, in network namespaces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.provider.firewall_life import OFFICE
from tests.provider.wire import CUSTOMER, ROOT, by_pulumi, secret
from tests.servers import firewalls
from tests.servers.firewalls import FIREWALL, Firewall
from tests.servers.namespaces import inside

TARGETS = """\
targets:
  fw-sede:
    address: {address}
    secrets: {{ssh_key: FW_SEDE}}
    facets:
      firewall: {{driver: nftables, port: {port}, user: {user}, host_key: {key}, confirm_within: 12s,
        run_folder: {folder}/run, boot_folder: {folder}/boot, at_boot: elsewhere}}
"""


@pytest.fixture
def firewall() -> Iterator[Firewall]:
    with firewalls.running() as running:
        yield running


@pytest.mark.soak
def test_the_life_of_a_firewall(firewall: Firewall, repository: Path) -> None:
    """The provider and whoever calls it are in the office, for that is from where the device lets us in."""
    for name in ("dns", "mail"):
        for file in repository.glob(f"customers/*/{name}.yaml"):
            file.unlink()
    for file in repository.glob("customers/*/dns/*"):
        file.unlink()
    for folder in repository.glob("customers/*/dns"):
        folder.rmdir()
    for file in repository.glob("inventory/baselines/*"):
        file.write_text("{}\n")
    server = firewall.sshd
    said = dict(address=FIREWALL["office"], port=server.port, user=server.user, key=server.host_key)
    (repository / "inventory/targets.yaml").write_text(TARGETS.format(folder=firewall.folder, **said))
    by_pulumi(repository)
    words = ["-m", "tests.provider.firewall_life", str(repository), CUSTOMER, str(server.port), firewall.names["fw"]]
    known = {"MSPCTL_SECRET_FW_SEDE": server.client_key.decode(), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*inside(firewall.names["office"]), sys.executable, *words],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, **known},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "PRIVATE KEY" not in done.stdout + done.stderr
    assert set(told["failures"]) == {"resources.rule.browse.action", "resources.rule.browse.from"}
    assert (told["id"], told["same"], told["drift"]) == ("fw-sede/sede", {}, {})
    assert told["secrets"] == [secret(OFFICE)] * 6  # in every answer, as the program gave it
    assert told["change"] == {"resources.rule.browse.services": "UPDATE"}
    assert "is kept until an approval names it" in told["kept"]
    assert told["imported"] == {"services": ["tcp/443"], "left": {}}
    assert told["by hand"] == {}  # a rule that nobody declares stays, and holds the firewall
    assert "the scope goes only when nothing else is in it: by hand forward" in told["not ours"]
    assert told["gone"] == ""
    assert firewall.nft("list", "tables") == ""
