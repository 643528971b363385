"""
A private DNS on loopback: a root, the zone `example` and zones below it, each server at an address of its own.

`named` is the first name server, `nsd` the second, with an older copy of one zone, `knotd` the third, with signed
zones; the root and `example` are an `nsd` each. At one address nobody listens, and at one a stand-in tells lies. A
`knotd` that holds everything stands for a resolver: it answers like one, without having to walk.
"""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.servers import require

NS1 = "127.0.0.1"  # named listens at addresses of interfaces only
ROOT, ABOVE, RESOLVER, NS2, NS3, LAME, DOWN, LIAR = (f"127.53.0.{n}" for n in range(1, 9))
SECONDS = 15

SOA = "@ 300 IN SOA ns1.msp.example. hostmaster.msp.example. {serial} 7200 3600 1209600 300\n"
OURS = "@ 300 IN NS ns1.msp.example.\n@ 300 IN NS ns2.msp.example.\n"

# What each zone is for stands in the tests that ask for it. Zones without records here are made below, signed.
ZONES: dict[str, str] = {
    "msp.example": f"""{OURS}
ns1 300 IN A {NS1}
ns2 300 IN A {NS2}
ns3 300 IN A {NS3}
lame 300 IN A {LAME}
down 300 IN A {DOWN}
liar 300 IN A {LIAR}
nobody 300 IN TXT "no address"
""",
    "good.example": f"""{OURS}
@ 300 IN A 192.0.2.80
@ 300 IN MX 10 mail.good.example.
@ 300 IN TXT "v=spf1 mx -all"
mail 300 IN A 192.0.2.81
child 300 IN NS ns1.msp.example.
child 300 IN NS ns2.msp.example.
""",
    "child.good.example": OURS,
    "parent.example": OURS,
    "silent.example": f"{OURS}@ 300 IN NS down.msp.example.\n",
    "lame.example": f"{OURS}@ 300 IN NS lame.msp.example.\n",
    "nowhere.example": f"{OURS}@ 300 IN NS nobody.msp.example.\n",
    "serial.example": OURS,
    "mail.example": f"""{OURS}
@ 300 IN MX 10 mx.mail.example.
@ 300 IN TXT "v=spf1 include:spf.mail.example -all"
mx 300 IN A 192.0.2.81
spf 300 IN TXT "v=spf1 ip4:192.0.2.0/24 -all"
bare 300 IN MX 10 nobody.mail.example.
half 300 IN MX 10 nobody.mail.example.
half 300 IN MX 20 mx.mail.example.
alias 300 IN MX 10 www.mail.example.
www 300 IN CNAME mx.mail.example.
circle 300 IN MX 10 a.circle.mail.example.
a.circle 300 IN CNAME b.circle.mail.example.
b.circle 300 IN CNAME a.circle.mail.example.
null 300 IN MX 0 .
both 300 IN MX 0 .
both 300 IN MX 10 mx.mail.example.
two 300 IN TXT "v=spf1 -all"
two 300 IN TXT "v=spf1 mx -all"
many 300 IN TXT "v=spf1 include:ten.mail.example a -all"
ten 300 IN TXT "v=spf1 a a a a a a a a a a -all"
ten 300 IN A 192.0.2.10
many 300 IN A 192.0.2.11
loop 300 IN TXT "v=spf1 include:loop2.mail.example -all"
loop2 300 IN TXT "v=spf1 redirect=loop.mail.example"
void 300 IN TXT "v=spf1 a:x.mail.example a:y.mail.example a:z.mail.example -all"
gone 300 IN TXT "v=spf1 include:nothing.mail.example -all"
odd 300 IN TXT "v=spf1 ipv4:192.0.2.1 -all"
"""
    + "".join(f'long 300 IN TXT "{n:03}{"x" * 200}"\n' for n in range(30))
    + 'long 300 IN TXT "v=spf1 -all"\n',
}
SIGNED = ("signed.example", "soon.example", "expired.example", "wrong-ds.example", "spare-ds.example", "no-ds.example")
ENDS = {"soon.example": "now+43200", "expired.example": "now-86400"}  # 12 hours ahead, a day ago
LIES = ("garbage.example", "upwards.example", "stranger.example", "thousand.example", "mute.example")

# What the zone above says: name servers, by their names in msp.example.
DELEGATED: dict[str, tuple[str, ...]] = {
    **{zone: ("ns1", "ns2") for zone in ZONES if zone != "child.good.example"},
    "parent.example": ("ns1", "ns3"),
    "silent.example": ("ns1", "ns2", "down"),
    "lame.example": ("ns1", "ns2", "lame"),
    "nowhere.example": ("ns1", "ns2", "nobody"),
    "all-down.example": ("down", "lame"),
    "unsigned.example": ("ns1",),
    **{zone: ("ns3",) for zone in SIGNED},
    **{zone: ("liar",) for zone in LIES},
}
ABOVE_TOO = """
elsewhere.example. 300 IN NS down.msp.example.
bare.example. 300 IN TXT "known, and not delegated"
ring-a.example. 300 IN NS ns.ring-b.example.
ring-b.example. 300 IN NS ns.ring-a.example.
unsigned.example. 300 IN DS 4711 13 2 0000000000000000000000000000000000000000000000000000000000000000
"""
FAKE_DS = "4711 13 2 " + "0" * 64


@dataclass(frozen=True)
class Hierarchy:
    port: int
    keys: Mapping[str, str]  # of signed zones, DS records


@contextmanager
def hierarchy(folder: Path) -> Iterator[Hierarchy]:
    """The whole of it, ready to answer."""
    port = free_port()
    zones = folder / "zones"
    zones.mkdir()
    ds = {zone: _sign(zones, zone) for zone in SIGNED}
    for zone, text in {**ZONES, "unsigned.example": "@ 300 IN NS ns1.msp.example.\n"}.items():
        (zones / zone).write_text(SOA.format(serial=2) + text)
        (zones / f"{zone}.old").write_text(SOA.format(serial=1) + text)
    _write_above(zones, ds)
    above = {zone: zones / zone for zone in ("example", "above")}
    below = {zone: zones / zone for zone in (*ZONES, "unsigned.example")}
    signed = {zone: zones / zone for zone in SIGNED}
    older = {"serial.example": zones / "serial.example.old"}
    waiting = []
    with ExitStack() as stack:
        for make, address, served in (
            (_nsd, ROOT, {".": zones / "root"}),
            (_nsd, ABOVE, above),
            (_named, NS1, below),
            (_nsd, NS2, {zone: path for zone, path in below.items() if zone in ZONES} | older),
            (_knot, NS3, signed | {"parent.example": zones / "parent.example"}),
            (_nsd, LAME, {"lame.invalid": zones / "above"}),
            (_knot, RESOLVER, {".": zones / "root", **above, **below, **signed}),
        ):
            own = folder / address
            own.mkdir()
            server = stack.enter_context(_started(make(own, address, port, served), own / "log"))
            waiting.append((server, own / "log", [(address, zone) for zone in served]))
        for server, log, ready in waiting:
            _wait(server, log, port, ready)
        stack.enter_context(liar(LIAR, port))
        yield Hierarchy(port, ds)


def _write_above(zones: Path, ds: Mapping[str, str]) -> None:
    lines = [SOA.format(serial=1), "@ 300 IN NS ns.above.\n"]
    lines += [f"{zone}. 300 IN NS {host}.msp.example.\n" for zone, hosts in DELEGATED.items() for host in hosts]
    lines += [f"ns1.msp.example. 300 IN A {NS1}\nns2.msp.example. 300 IN A {NS2}\n", ABOVE_TOO]
    said = {zone: [found] for zone, found in ds.items() if zone != "no-ds.example"}
    said |= {"wrong-ds.example": [FAKE_DS], "spare-ds.example": [ds["spare-ds.example"], FAKE_DS]}
    lines += [f"{zone}. 300 IN DS {text}\n" for zone, texts in said.items() for text in texts]
    (zones / "example").write_text("".join(lines))
    root = f"@ 300 IN SOA root. root. 1 1 1 1 300\n@ 300 IN NS root.\nroot. 300 IN A {ROOT}\n"
    (zones / "root").write_text(
        f"{root}example. 300 IN NS ns.above.\nabove. 300 IN NS ns.above.\nns.above. A {ABOVE}\n"
    )
    (zones / "above").write_text(f"{SOA.format(serial=1)}@ 300 IN NS ns.above.\nns 300 IN A {ABOVE}\n")


def _sign(zones: Path, zone: str) -> str:
    """Make and sign a zone; its DS record."""
    folder = zones / f"{zone}.keys"
    folder.mkdir()
    plain = folder / "plain"
    plain.write_text(f"{SOA.format(serial=2)}@ 300 IN NS ns3.msp.example.\nwww 300 IN A 192.0.2.80\n")
    made = ["-q", "-a", "ECDSAP256SHA256", "-K", str(folder)]
    key = _run([require("dnssec-keygen"), *made, "-f", "KSK", zone]).strip()
    _run([require("dnssec-keygen"), *made, zone])
    times = ["-s", "now-2592000", "-e", ENDS.get(zone, "now+2592000")]
    signer = [
        require("dnssec-signzone"),
        "-q",
        "-S",
        "-P",
        "-x",
        "-K",
        str(folder),
        "-d",
        str(folder),
        "-o",
        zone,
        *times,
    ]
    _run([*signer, "-f", str(zones / zone), str(plain)])
    ds = _run([require("dnssec-dsfromkey"), "-2", str(folder / f"{key}.key")])
    return ds.partition(" DS ")[2].strip()


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- servers --------------------------------------------------------------------------------------------------


Served = Mapping[str, Path]  # zone → its file


def _named(folder: Path, address: str, port: int, served: Served) -> list[str]:
    zones = "\n".join(f'zone "{zone}" {{ type primary; file "{path}"; }};' for zone, path in served.items())
    config = folder / "named.conf"
    config.write_text(
        f"""options {{
  directory "{folder}"; pid-file "{folder}/named.pid"; session-keyfile "{folder}/session.key"; lock-file none;
  listen-on port {port} {{ {address}; }}; listen-on-v6 {{ none; }}; recursion no; notify no;
  allow-query {{ any; }}; dnssec-validation no; empty-zones-enable no;
}};
controls {{ }};
{zones}
"""
    )
    return [require("named"), "-g", "-c", str(config)]


def _nsd(folder: Path, address: str, port: int, served: Served) -> list[str]:
    zones = "\n".join(f'zone:\n  name: "{zone}"\n  zonefile: "{path}"' for zone, path in served.items())
    config = folder / "nsd.conf"
    config.write_text(
        f"""server:
  ip-address: {address}@{port}
  username: ""
  zonesdir: "{folder}"
  pidfile: "{folder}/nsd.pid"
  xfrdfile: "{folder}/xfrd.state"
  zonelistfile: "{folder}/zone.list"
  database: ""
  server-count: 1
remote-control:
  control-enable: no
{zones}
"""
    )
    return [require("nsd"), "-d", "-c", str(config)]


def _knot(folder: Path, address: str, port: int, served: Served) -> list[str]:
    zones = "\n".join(f'  - domain: "{zone}"\n    file: "{path}"' for zone, path in served.items())
    config = folder / "knot.conf"
    config.write_text(
        f"""server:
  rundir: "{folder}"
  listen: {address}@{port}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: "{folder}/db"
template:
  - id: default
    zonefile-sync: -1
    journal-content: none
zone:
{zones}
"""
    )
    return [require("knotd"), "-c", str(config)]


@contextmanager
def _started(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as server:
        try:
            yield server
        finally:
            server.terminate()
            try:
                server.wait(SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()


def _wait(server: subprocess.Popen[bytes], log: Path, port: int, ready: list[tuple[str, str]]) -> None:
    over = time.monotonic() + SECONDS
    while ready and server.poll() is None and time.monotonic() < over:
        ready = [each for each in ready if not _serves(*each, port)]
        time.sleep(0.05 if ready else 0)
    assert not ready, f"{server.args!r} does not serve {ready}:\n{log.read_text()[-2000:]}"
    assert server.poll() is None


def _serves(address: str, zone: str, port: int) -> bool:
    try:
        answer = dns.query.udp(dns.message.make_query(zone, "SOA"), address, timeout=1, port=port)
    except (dns.exception.DNSException, OSError):
        return False
    return answer.rcode() == dns.rcode.NOERROR


def free_port() -> int:
    """A port that is free for UDP and TCP at every address."""
    while True:
        with ExitStack() as stack:
            port = 0
            try:
                for address in (ROOT, ABOVE, RESOLVER, NS1, NS2, NS3, LAME, DOWN, LIAR):
                    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                        bound = stack.enter_context(socket.socket(type=kind))
                        bound.bind((address, port))
                        port = bound.getsockname()[1]
            except OSError:
                continue
            return port


# -- a stand-in that tells lies -------------------------------------------------------------------------------


@contextmanager
def liar(address: str, port: int, reply: Callable[[bytes], bytes | None] | None = None) -> Iterator[None]:
    """Answers over UDP with whatever `reply` makes of a question; by default a lie by the name that is asked for."""
    stop = threading.Event()
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind((address, port))
        server.settimeout(0.2)
        thread = threading.Thread(target=_serve, args=(server, stop, reply or _lie))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _serve(server: socket.socket, stop: threading.Event, reply: Callable[[bytes], bytes | None]) -> None:
    while not stop.is_set():
        try:
            wire, sender = server.recvfrom(4096)
        except TimeoutError:
            continue
        answer = reply(wire)
        if answer is not None:
            server.sendto(answer, sender)


def _lie(wire: bytes) -> bytes | None:
    query = dns.message.from_wire(wire)
    name = query.question[0].name.to_text()
    answer = dns.message.make_response(query)
    answer.flags |= dns.flags.AA
    if name.endswith("garbage.example."):
        return wire[:2] + b"\xff" * 40
    if name.endswith("stranger.example."):
        return b"\x00\x00" + answer.to_wire()[2:]  # of another question
    if name.endswith("upwards.example."):
        answer.flags &= ~dns.flags.AA
        answer.authority.append(dns.rrset.from_text(".", 300, "IN", "NS", "root."))
        return answer.to_wire()
    if name.endswith("thousand.example."):
        texts = {"SOA": ["ns. host. 1 1 1 1 1"], "MX": [f"{n} m{n}.thousand.example." for n in range(1000)]}
        rtype = dns.rdatatype.to_text(query.question[0].rdtype)
        if rtype in texts:
            answer.answer.append(dns.rrset.from_text(name, 300, "IN", rtype, *texts[rtype]))
        return answer.to_wire(max_size=65535)
    return None
