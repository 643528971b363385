"""
Lists tables of nftables over SSH and does nothing with them: `bare_nft.py ADDRESS PORT USER HOST_KEY AT_ONCE TABLE...`

Against it, firewalls are measured. It starts Python, imports what our driver talks through, and has one session for
each table, AT_ONCE of them at a time.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

from mspctl.secrets import Secrets
from mspctl.transports.machine import Machine, Settings


def main(address: str, port: str, user: str, host_key: str, at_once: str, *tables: str) -> None:
    settings = Settings.model_validate({"user": user, "port": port, "host_key": host_key})
    machine = Machine(address, settings, Secrets.given({"ssh_key": os.environb[b"MSPCTL_SECRET_FW"]}))

    def listed(table: str) -> int:
        with machine.session() as session:
            return len(session.must(["env", "TZ=UTC", "nft", "-j", "-s", "list", "table", "inet", table]))

    with ThreadPoolExecutor(int(at_once)) as executor:
        if not all(executor.map(listed, tables)):
            sys.exit("a table is empty")


if __name__ == "__main__":
    main(*sys.argv[1:])
