"""BIND and NSD with given zone files, and what they answer."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.zone

from mspctl.kinds import dns as kind
from mspctl.resource import Resource
from tests.servers import require

HOST = "127.0.0.1"
SECONDS = 15  # until a server answers


def free_port() -> int:
    """A port that is free for UDP and TCP."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind((HOST, 0))
            port: int = tcp.getsockname()[1]
            try:
                udp.bind((HOST, port))
            except OSError:
                continue
            return port


@contextmanager
def bind(folder: Path, zones: Mapping[str, Path], port: int = 0) -> Iterator[int]:
    """A `named` that serves the files; yields its port, which is a free one unless it is said."""
    port = port or free_port()
    lines = [f'zone "{zone}" {{ type primary; file "{path}"; }};' for zone, path in zones.items()]
    config = folder / "named.conf"
    config.write_text(
        f"""options {{
  directory "{folder}"; pid-file "{folder}/named.pid"; session-keyfile "{folder}/session.key"; lock-file none;
  listen-on port {port} {{ {HOST}; }}; listen-on-v6 {{ none; }}; recursion no; notify no;
  allow-query {{ any; }}; allow-transfer {{ any; }}; dnssec-validation no; empty-zones-enable no;
}};
controls {{ }};
{chr(10).join(lines)}
"""
    )
    with _running([require("named"), "-g", "-c", str(config)], folder / "named.log", port, zones):
        yield port


@contextmanager
def nsd(folder: Path, zones: Mapping[str, Path]) -> Iterator[int]:
    """An `nsd` that serves the files; yields its port."""
    port = free_port()
    lines = [
        f'zone:\n  name: "{zone}"\n  zonefile: "{path}"\n  provide-xfr: {HOST} NOKEY' for zone, path in zones.items()
    ]
    config = folder / "nsd.conf"
    config.write_text(
        f"""server:
  ip-address: {HOST}@{port}
  username: ""
  zonesdir: "{folder}"
  pidfile: "{folder}/nsd.pid"
  xfrdfile: "{folder}/xfrd.state"
  zonelistfile: "{folder}/zone.list"
  database: ""
  server-count: 1
remote-control:
  control-enable: no
{chr(10).join(lines)}
"""
    )
    with _running([require("nsd"), "-d", "-c", str(config)], folder / "nsd.log", port, zones):
        yield port


@contextmanager
def _running(command: list[str], log: Path, port: int, zones: Mapping[str, Path]) -> Iterator[None]:
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as server:
        try:
            _wait(lambda: server.poll() is not None or all(_serves(port, zone) for zone in zones))
            if server.poll() is not None or not all(_serves(port, zone) for zone in zones):
                raise AssertionError(f"{command[0]} does not serve {', '.join(zones)}:\n{log.read_text()[-2000:]}")
            yield
        finally:
            server.terminate()
            try:
                server.wait(SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()


def _wait(ready: Callable[[], bool]) -> None:
    over = time.monotonic() + SECONDS
    while not ready() and time.monotonic() < over:
        time.sleep(0.05)


def _serves(port: int, zone: str) -> bool:
    try:
        return ask(port, zone, "SOA").rcode() == dns.rcode.NOERROR
    except (dns.exception.DNSException, OSError):
        return False


def ask(port: int, name: str, rtype: str) -> dns.message.Message:
    return dns.query.udp(dns.message.make_query(name, rtype), HOST, timeout=2, port=port)


def transferred(port: int, zone: str) -> tuple[int, dict[str, Resource]]:
    """The serial and every RRset of a zone, as the server holds it."""
    message = dns.query.xfr(HOST, zone, port=port, timeout=5, lifetime=10, relativize=False)
    found = dns.zone.from_xfr(message, relativize=False, check_origin=False)
    rrsets = {}
    serial = 0
    for name, rdataset in found.iterate_rdatasets():
        rtype = dns.rdatatype.to_text(rdataset.rdtype)
        if rtype == "SOA":
            serial = rdataset[0].serial
            continue
        owner = kind.fold_owner(name.to_text(), zone)
        rrset = kind.rrset(owner, rtype, rdataset.ttl, [kind.from_rdata(rdata) for rdata in rdataset])
        rrsets[rrset.id.name] = rrset
    return serial, rrsets
