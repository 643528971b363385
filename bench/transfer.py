"""
`python -m bench.transfer`: how long a zone of 10,000 records takes from a real BIND, in our normal form.

Against dnspython's own way (`dns.query.xfr` and `dns.zone.from_xfr`, which leave it as records), in turn, medians of
five. Ends with 1 when the goal is missed.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import dns.query
import dns.zone

from mspctl.driver import Access, Reading
from mspctl.drivers import rfc2136
from mspctl.resource import Scope
from mspctl.secrets import Secrets
from tests.servers import dynamic
from tests.servers.name_servers import HOST

ZONE = "large.example"
RECORDS = 10_000
GOAL = 1.2
TIMES = 5


def main() -> int:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mspctl-bench-"))
        server = stack.enter_context(dynamic.running(dynamic.Bind(Path(folder))))
        server.add(ZONE, dynamic.bare(ZONE) + "".join(map(_line, range(RECORDS))))
        ours, theirs = _in_turn(lambda: _mspctl(server), lambda: _dnspython(server))
    met = ours <= GOAL * theirs
    print(f"\n{'medians of five':<46}{'mspctl':>8}{'dnspython':>11}{'ratio':>7}{'goal':>10}")
    said = f"{ours:>8.2f}{theirs:>11.2f}{ours / theirs:>7.2f}{f'≤ {GOAL:.2f}':>10}"
    print(f"{f'a zone of {RECORDS:,} records by AXFR: wall, s':<46}{said}  {'met' if met else 'MISSED'}")
    return 0 if met else 1


def _line(number: int) -> str:
    """Seven addresses, an alias, a mail server and a text in ten."""
    kinds = {7: "CNAME h0", 8: "MX 10 h0", 9: f'TXT "v=spf1 include:_spf{number}.example.net -all"'}
    return f"h{number} {kinds.get(number % 10, f'A 10.{number >> 16}.{number >> 8 & 255}.{number & 255}')}\n"


def _mspctl(server: dynamic.Dynamic) -> None:
    settings = rfc2136.Settings.model_validate({"key": server.key.name.to_text(), "port": str(server.port)})
    access = Access("ns-1", HOST, settings, Secrets.given({"tsig": server.secret.encode()}), Path())
    (reading,) = rfc2136.Reader(access).read([Scope("ns-1", "dns", ZONE)], {})
    if not isinstance(reading, Reading) or len(reading.resources) != RECORDS + 1:
        sys.exit(f"mspctl did not read the zone: {reading}")


def _dnspython(server: dynamic.Dynamic) -> None:
    ring = {server.key.name: server.key}
    messages = dns.query.xfr(HOST, ZONE, port=server.port, keyring=ring, keyname=server.key.name, relativize=False)
    if len(dns.zone.from_xfr(messages, relativize=False).nodes) != RECORDS + 1:
        sys.exit("dnspython did not read the zone")


def _in_turn(ours: Callable[[], None], theirs: Callable[[], None]) -> tuple[float, float]:
    """Medians, in seconds, after one to warm up."""
    found = [(_timed(ours), _timed(theirs)) for _ in range(TIMES + 1)][1:]
    return median(a for a, _ in found), median(b for _, b in found)


def _timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
