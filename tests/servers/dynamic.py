"""
BIND and Knot whose zones take dynamic updates: private folder, free port, TSIG and control keys of their own.

    with dynamic.running(dynamic.Bind(folder)) as server:
        server.add("acme.example")            # a zone with SOA and apex NS only
        server.port, server.key               # dns.tsig.Key; `server.secret` is the same as text
        server.kill(); server.start()         # the port and the zones stay

Zones can be added and removed while it runs, and are there again after a restart.
"""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.update

from tests.servers import require
from tests.servers.name_servers import HOST, SECONDS, ask, free_port

NAME_SERVERS = ("ns1.msp.example.", "ns2.msp.example.")  # at the apex of each zone, unless its text says otherwise
S = TypeVar("S", bound="Dynamic")
PROBE = "probe.invalid"  # a zone that is always there, so that we see that the server is up


def bare(zone: str, nameservers: Iterable[str] = NAME_SERVERS, serial: int = 1) -> str:
    """A master file with SOA and apex NS, to which records can be added."""
    lines = [
        "$TTL 3600",
        f"@ IN SOA ns1.msp.example. hostmaster.msp.example. {serial} 7200 3600 1209600 3600",
        *(f"@ IN NS {host}" for host in nameservers),
    ]
    return f"$ORIGIN {zone}.\n" + "\n".join(lines) + "\n"


class Dynamic:
    """A server in a folder; its zones may be transferred and updated with `key`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.secret = base64.b64encode(secrets.token_bytes(32)).decode()
        self.key = dns.tsig.Key("mspctl-test.", self.secret, dns.tsig.HMAC_SHA256)
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "server.log"

    def command(self) -> list[str]:
        """What starts the server in the foreground."""
        raise NotImplementedError

    def control(self, *words: str) -> str:
        """What the server's control program prints. Raises AssertionError when it fails."""
        raise NotImplementedError

    def add(self, zone: str, text: str = "", *, signed: str = "") -> None:
        """Serve a new zone; `signed` is "" or, with BIND, "dynamic" or "inline" (both "on" for Knot)."""
        raise NotImplementedError

    def remove(self, zone: str) -> None:
        raise NotImplementedError

    def may(self, zone: str, *, transfer: bool, update: bool) -> None:
        """What holders of the key may do with a zone from now on."""
        raise NotImplementedError

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(self.command(), stdout=out, stderr=out)
        self._wait(PROBE)

    def _wait(self, zone: str) -> None:
        """Until the zone is answered for."""
        over = time.monotonic() + SECONDS
        while not self._serves(zone):
            if self.process is None or self.process.poll() is not None or time.monotonic() > over:
                raise AssertionError(f"{self.command()[0]} does not serve {zone}:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.02)

    def _serves(self, zone: str) -> bool:
        try:
            query = dns.message.make_query(zone, "SOA")
            return dns.query.udp(query, HOST, timeout=0.1, port=self.port).rcode() == dns.rcode.NOERROR
        except (dns.exception.DNSException, OSError):
            return False

    def stop(self) -> None:
        """In order: what it was told is on disk."""
        self._end("terminate")

    def kill(self) -> None:
        """As if the power had failed."""
        self._end("kill")

    def _end(self, how: str) -> None:
        if self.process is None:
            return
        getattr(self.process, how)()
        try:
            self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def update(self, zone: str) -> dns.update.UpdateMessage:
        """An empty signed update, for a hand other than mspctl's."""
        return dns.update.UpdateMessage(zone, keyring=self.key)

    def send(self, update: dns.message.Message) -> int:
        """The answer's rcode."""
        return dns.query.tcp(update, HOST, timeout=SECONDS, port=self.port).rcode()

    def records(self, zone: str) -> list[dns.rrset.RRset]:
        """All that a transfer gives, record by record."""
        ring = {self.key.name: self.key}
        messages = dns.query.xfr(
            HOST, zone, port=self.port, keyring=ring, keyname=self.key.name, timeout=SECONDS, relativize=False
        )
        return [record for message in messages for record in message.answer][:-1]

    def clear(self, zone: str) -> None:
        """Take everything out of a zone; what a new one has is there again."""
        apex = dns.name.from_text(zone)
        update = self.update(zone)
        for host in NAME_SERVERS:
            update.add(apex, 3600, "NS", host)
        for record in self.records(zone):
            if record.name == apex and record.rdtype == dns.rdatatype.NS:
                if record[0].to_text() not in NAME_SERVERS:
                    update.delete(apex, record[0])
            elif record.rdtype != dns.rdatatype.SOA:
                update.delete(record.name, record.rdtype)
        assert self.send(update) == dns.rcode.NOERROR

    def soa(self, zone: str) -> int:
        """The serial of a zone."""
        (rrset,) = ask(self.port, zone, "SOA").answer
        serial: int = rrset[0].serial
        return serial


class Bind(Dynamic):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "keys").mkdir()
        self.control_port = free_port()
        rndc = base64.b64encode(secrets.token_bytes(32)).decode()
        control = f'key "control" {{ algorithm hmac-sha256; secret "{rndc}"; }};\n'
        ours = f'key "{self.key.name}" {{ algorithm hmac-sha256; secret "{self.secret}"; }};\n'
        _private(
            folder / "rndc.conf",
            f'{control}options {{ default-key "control"; default-port {self.control_port}; }};\n',
        )
        _private(
            folder / "named.conf",
            f"""{control}{ours}
controls {{ inet {HOST} port {self.control_port} allow {{ {HOST}; }} keys {{ "control"; }}; }};
options {{
  directory "{folder}"; pid-file "{folder}/named.pid"; session-keyfile "{folder}/session.key"; lock-file none;
  managed-keys-directory "{folder}"; key-directory "{folder}/keys"; new-zones-directory "{folder}";
  listen-on port {self.port} {{ {HOST}; }}; listen-on-v6 {{ none; }}; recursion no; notify no;
  allow-query {{ any; }}; allow-transfer {{ key "{self.key.name}"; }}; allow-new-zones yes;
  dnssec-validation no; empty-zones-enable no; max-journal-size 10m;
}};
dnssec-policy "lab" {{ keys {{ csk key-directory lifetime unlimited algorithm ecdsap256sha256; }}; }};
zone "{PROBE}" {{ type primary; file "{_file(folder, PROBE)}"; }};
""",
        )
        _file(folder, PROBE).write_text(bare(PROBE))

    def command(self) -> list[str]:
        return [require("named"), "-g", "-n", "1", "-c", str(self.folder / "named.conf")]

    def control(self, *words: str) -> str:
        return _output([require("rndc"), "-s", HOST, "-c", str(self.folder / "rndc.conf"), *words])

    def add(self, zone: str, text: str = "", *, signed: str = "") -> None:
        _file(self.folder, zone).write_text(text or bare(zone))
        self.control("addzone", f'"{zone}"', self._stanza(zone, signed=signed))

    def _stanza(self, zone: str, signed: str = "", transfer: bool = True, update: bool = True) -> str:
        inline = "yes" if signed == "inline" else "no"
        policy = f"dnssec-policy lab; inline-signing {inline};" if signed else ""
        ours = f'{{ key "{self.key.name}"; }}'
        return (
            f'{{ type primary; file "{_file(self.folder, zone)}"; {policy}'
            f" allow-update {ours if update else '{ none; }'}; allow-transfer {ours if transfer else '{ none; }'}; }};"
        )

    def remove(self, zone: str) -> None:
        self.control("delzone", "-clean", f'"{zone}"')

    def may(self, zone: str, *, transfer: bool, update: bool) -> None:
        self.control("modzone", f'"{zone}"', self._stanza(zone, transfer=transfer, update=update))


class Knot(Dynamic):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for name in ("db", "confdb"):
            (folder / name).mkdir()
        user = "user: root:root" if os.geteuid() == 0 else ""
        actions = {"both": "[transfer, update]", "transfer": "transfer", "update": "update", "none": "notify"}
        acls = "\n".join(f"  - id: {i}\n    key: {self.key.name}\n    action: {a}" for i, a in actions.items())
        _private(
            folder / "knot.conf",
            f"""server:
  rundir: "{folder}"
  listen: {HOST}@{self.port}
  {user}
log:
  - target: stderr
    any: info
database:
  storage: "{folder}/db"
  journal-db-max-size: 100M
  timer-db-max-size: 10M
  kasp-db-max-size: 10M
key:
  - id: {self.key.name}
    algorithm: hmac-sha256
    secret: {self.secret}
acl:
{acls}
template:
  - id: default
    storage: "{folder}"
    file: "%s.zone"
    acl: both
    zonefile-load: difference
    journal-content: all
zone:
  - domain: {PROBE}
""",
        )
        (folder / f"{PROBE}.zone").write_text(bare(PROBE))
        _output([require("knotc"), "-C", str(folder / "confdb"), "conf-import", str(folder / "knot.conf")])

    def command(self) -> list[str]:
        return [require("knotd"), "-C", str(self.folder / "confdb")]

    def control(self, *words: str) -> str:
        return _output([require("knotc"), "-s", str(self.folder / "knot.sock"), *words])

    def configure(self, *lines: tuple[str, ...]) -> None:
        """Change the configuration in one step."""
        self.control("conf-begin")
        for line in lines:
            self.control(*line)
        self.control("conf-commit")

    def add(self, zone: str, text: str = "", *, signed: str = "") -> None:
        _file(self.folder, zone).write_text(text or bare(zone))
        lines = [("conf-set", f"zone[{zone}]"), ("conf-set", f"zone[{zone}].file", str(_file(self.folder, zone)))]
        if signed:
            lines.append(("conf-set", f"zone[{zone}].dnssec-signing", "on"))
        self.configure(*lines)
        self._wait(zone)

    def remove(self, zone: str) -> None:
        self.configure(("conf-unset", f"zone[{zone}]"))
        self.control("-b", "-f", "zone-purge", "+orphan", zone)

    def may(self, zone: str, *, transfer: bool, update: bool) -> None:
        item = f"zone[{zone}].acl"
        named = {(True, True): "both", (True, False): "transfer", (False, True): "update"}
        given = named.get((transfer, update), "none")
        self.configure(("conf-set", item, "none"), ("conf-unset", item), ("conf-set", item, given))


def _file(folder: Path, zone: str) -> Path:
    return folder / f"{zone.replace('/', '_')}.zone"


def _private(path: Path, text: str) -> None:
    path.touch(0o600)
    path.write_text(text)


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def running(server: S) -> Iterator[S]:
    """The server, up; gone when the test is over."""
    try:
        server.start()
        yield server
    finally:
        server.stop()
