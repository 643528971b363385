"""
A device's whole configuration, as it is archived: every table, ours or not, and the files that make up the rest.

What is in there may be secret (keys of tunnels, passwords of lines), so whoever takes it encrypts it at once.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

from mspctl.drivers.nftables import boot
from mspctl.errors import TargetError
from mspctl.transports.machine import Session

MOST = 16 * 1024 * 1024  # octets
TABLES, FORWARDING = "nft list ruleset", "forwarding"
PLACES = (
    *("/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/etc/sysctl.conf", "/etc/sysctl.d", "/etc/wireguard"),
    *("/etc/nftables.conf", "/etc/nftables.d", "/etc/network", "/etc/netplan", "/etc/NetworkManager"),
    *("/etc/systemd/network", "/etc/systemd/networkd.conf", boot.PLACE),
)
# The places are its arguments; those that are not there are left out. 1 of tar: a file changed while it was read.
_FILES = """
for each; do
  shift
  if [ -e "$each" ] || [ -L "$each" ]; then set -- "$@" "${each#/}"; fi
done
[ $# -gt 0 ] || exit 0
tar -C / -cf - -- "$@" || [ $? = 1 ]
"""
_FORWARDING = """
cd /proc/sys/net && for each in ipv4/ip_forward ipv4/conf/*/forwarding ipv6/conf/*/forwarding; do
  [ ! -e "$each" ] || printf '%s = %s\n' "$each" "$(cat "$each")"
done
"""


def configuration(session: Session, folder: str) -> dict[str, bytes]:
    """By what it is: a file's path, or what was asked. `folder` is where our tables are kept for the next start."""
    tables = session.must(["env", "TZ=UTC", "nft", "-s", "list", "ruleset"], what="listing all tables")
    forwarding = session.must(["sh", "-c", _FORWARDING], what="reading what is forwarded")
    packed = session.must(["sh", "-c", _FILES, "sh", *PLACES, folder], what="reading its configuration")
    if len(packed) > MOST:
        raise TargetError(f"{session.name}: its configuration is larger than {MOST // 1024**2} MiB")
    return {TABLES: tables, FORWARDING: forwarding, **dict(_files(packed, session.name))}


def _files(packed: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """Files and what links point to; they are looked at in memory, and written nowhere."""
    if not packed:
        return
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as archive:
            for member in archive:
                path = f"/{member.name}"
                if member.issym() or member.islnk():
                    yield path, f"a link to {member.linkname}\n".encode(errors="surrogateescape")
                elif member.isfile() and (file := archive.extractfile(member)):
                    yield path, file.read()
    except (tarfile.TarError, EOFError) as error:
        raise TargetError(f"{name}: its configuration came in pieces: {error}") from None
