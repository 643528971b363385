"""
Packets that are sent to find out whether a firewall lets them through, in one normal form.

UDP answers only who understands the question, so there are questions for what is asked most; whatever else is tried
brings its own. Sources: RFC 1035 (the name servers of the root), RFC 5905 (a client's NTP), RFC 8489 (a STUN binding
request), RFC 3261 (SIP's OPTIONS).
"""

from __future__ import annotations

from dataclasses import dataclass

OPEN, CLOSED, REFUSED = "open", "closed", "refused"
HERE = "here"  # the machine that mspctl runs on
ROLE = "probe"  # of hosts that send packets for other customers too

_SIP = (
    "OPTIONS sip:probe@invalid SIP/2.0\r\nVia: SIP/2.0/UDP probe.invalid;rport;branch=z9hG4bKmspctl\r\n"
    "Max-Forwards: 1\r\nFrom: <sip:probe@invalid>;tag=mspctl\r\nTo: <sip:probe@invalid>\r\nCall-ID: mspctl@invalid\r\n"
    "CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)
QUESTIONS: dict[int, bytes] = {  # port → what its service answers
    53: bytes.fromhex("6d73 0100 0001 0000 0000 0000 00 0002 0001"),
    123: b"\x23" + bytes(47),
    3478: bytes.fromhex("0001 0000 2112a442") + b"mspctl-probe",
    5060: _SIP.encode(),
}


@dataclass(frozen=True, slots=True)
class Shot:
    """One packet, and what shall become of it."""

    id: str
    probe: str  # who sends it: HERE, a host of the customer's, or one of others as `host.customer`
    to: str  # an address, or a name without the dot at its end
    family: int  # 4 or 6
    protocol: str  # tcp, udp or ping
    port: int  # 0 for ping
    send: bytes  # for udp: the question
    expect: str  # OPEN: it is answered; CLOSED: no answer, or a no on the way; REFUSED: whoever is there says no

    @property
    def service(self) -> str:
        return f"{self.protocol}/{self.port}" if self.port else self.protocol

    @property
    def spoken(self) -> str:
        return f"{self.service} to {self.to}"

    @property
    def called(self) -> str:
        """Its service in the normal form of rules."""
        ping = "icmp/echo-request" if self.family == 4 else "icmpv6/echo-request"
        return self.service if self.port else ping

    @property
    def address(self) -> str:
        """Where it goes, in the normal form of rules."""
        return self.to if self.to[-1].isdigit() or ":" in self.to else f"{self.to}."
