"""
A made-up estate of any size, the same one for the same seed.

Zones are as uneven as those of real providers: half of them hold less than a dozen RRsets and a few hold thousands
(log-normal, median 12, mean 60: for 54,000 RRsets that is 900 zones of 300 customers), and the record types are mixed
as in the real estate that run.py measures with. Written for mspctl in its short form, for octoDNS in its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from statistics import NormalDist

Zone = Mapping[str, Mapping[str, Sequence[str]]]  # owner ("" is the zone itself) → type → values
Draw = Callable[..., float]  # from 0 to 1, by what it is for

ZONES_PER_CUSTOMER = 3
SIZES = NormalDist(2.48, 1.8)  # of the logarithm of a zone's RRsets: median 12, mean 60
LARGEST = 5_000
SMALLEST = 4  # what stands at every zone's own name
MIX = {"CNAME": 33, "A": 25, "TXT": 25, "AAAA": 6, "MX": 4, "NS": 4, "SRV": 3}
TARGETS = """\
targets:
  files:
    facets:
      dns:
        driver: zonefile
        directory: zones
        nameservers: [ns1.provider.example]
"""


def zones(records: int, seed: int = 1) -> Iterator[tuple[str, Zone]]:
    """Zones by name, with `records` RRsets in all."""
    number, left = 0, records
    while left > 0:
        draw = partial(_draw, seed, number)
        size = min(max(round(2.718281828 ** SIZES.inv_cdf(draw("size"))), SMALLEST), LARGEST)
        if left - size < SMALLEST:
            size = left  # what remains would be no zone
        yield f"zone-{number:05d}.example", _zone(size, draw)
        number, left = number + 1, left - size


def _draw(*what: object) -> float:
    digest = blake2b(" ".join(map(str, what)).encode(), digest_size=7).digest()
    return (int.from_bytes(digest) + 0.5) / 2**56


def _zone(size: int, draw: Draw) -> Zone:
    apex = {
        "CAA": ['0 issue "letsencrypt.org"', '0 iodef "mailto:hostmaster@provider.example"'],
        "MX": ["10 mx1.provider.example.", "20 mx2.provider.example."],
        "NS": ["ns1.provider.example.", "ns2.provider.example."],
        "TXT": ["v=spf1 include:_spf.provider.example -all", f"site-verification={_letters(draw, 'apex', 43)}"],
    }
    zone: dict[str, Mapping[str, Sequence[str]]] = {"": dict(list(apex.items())[:size])}
    for number in range(size - SMALLEST):
        rtype = _chosen(draw("type", number))
        zone[_owner(rtype, number)] = {rtype: [_value(rtype, number, draw)]}
    return zone


def _chosen(point: float) -> str:
    left = point * sum(MIX.values())
    for rtype, share in MIX.items():
        left -= share
        if left < 0:
            return rtype
    raise AssertionError("the shares add up")


def _owner(rtype: str, number: int) -> str:
    host = f"host-{number:05d}"
    return {"TXT": f"s{number:05d}._domainkey", "SRV": f"_sip._tcp.{host}"}.get(rtype, host)


def _value(rtype: str, number: int, draw: Draw) -> str:
    if rtype == "A":
        return f"198.51.100.{int(draw('address', number) * 256)}"
    if rtype == "AAAA":
        return f"2001:db8::{int(draw('address', number) * 65535) + 1:x}"
    if rtype == "TXT":
        return f"v=DKIM1; k=rsa; p={_letters(draw, number, 216 if number % 2 else 392)}"
    host = f"target-{number:05d}.provider.example."
    return {"MX": f"10 {host}", "SRV": f"10 5 5060 {host}"}.get(rtype, host)


def _letters(draw: Draw, what: object, length: int) -> str:
    return f"{int(draw('letters', what) * 2**56):014x}" * (length // 14) + "AQAB"


# -- for mspctl -----------------------------------------------------------------------------------------------


def write_repository(folder: Path, records: int, seed: int = 1) -> None:
    """`customers/` and `inventory/`, as a person would keep them."""
    _write(folder / "inventory/targets.yaml", TARGETS)
    (folder / "zones").mkdir(parents=True, exist_ok=True)
    overviews: dict[str, list[str]] = {}
    for number, (name, zone) in enumerate(zones(records, seed)):
        customer = f"customers/customer-{number // ZONES_PER_CUSTOMER:04d}"
        overviews.setdefault(customer, []).append(name)
        _write(folder / customer / f"dns/{name}.yaml", "".join(_short(zone)))
    for customer, names in overviews.items():
        _write(folder / customer / "customer.yaml", f"name: {customer}\n")
        listed = "".join(f"  {name}: {{}}\n" for name in names)
        _write(folder / customer / "dns.yaml", f"defaults: {{target: files, ttl: 1h}}\nzones:\n{listed}")


def _short(zone: Zone) -> Iterator[str]:
    for owner, types in zone.items():
        yield f"{owner or 'apex'}:\n"
        for rtype, values in types.items():
            if len(values) == 1:
                yield f"  {rtype}: {_quoted(values[0])}\n"
            else:
                yield f"  {rtype}:\n" + "".join(f"    - {_quoted(value)}\n" for value in values)


def _quoted(value: str) -> str:
    return f"'{value}'" if ": " in value or value.startswith(("'", '"')) else value


# -- for octoDNS ----------------------------------------------------------------------------------------------


def write_octodns(folder: Path, records: int, seed: int = 1) -> None:
    """A file per zone; names are sorted, because octoDNS insists on it."""
    for name, zone in zones(records, seed):
        entries = (_entry(owner, types) for owner, types in sorted(zone.items()))
        _write(folder / f"{name}.yaml", "---\n" + "".join(entries))


def _entry(owner: str, types: Mapping[str, Sequence[str]]) -> str:
    items = []
    for rtype, values in types.items():
        typed = [_structured(rtype, value) for value in values]
        said = (
            f"    value: {typed[0]}\n" if len(typed) == 1 else "    values:\n" + "".join(f"    - {v}\n" for v in typed)
        )
        items.append(f"  - type: {rtype}\n{said}")
    return f"'{owner}':\n" + "".join(items)


_PARTS = {
    "CAA": ("flags", "tag", "value"),
    "MX": ("preference", "exchange"),
    "SRV": ("priority", "weight", "port", "target"),
}


def _structured(rtype: str, value: str) -> str:
    if rtype not in _PARTS:
        return "'" + value.replace(";", "\\;") + "'"
    parts = sorted(zip(_PARTS[rtype], value.split(), strict=True))
    return "{" + ", ".join(f"{name}: {word}" for name, word in parts) + "}"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a made-up estate into FOLDER.")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("-n", "--records", type=int, default=10_000, metavar="N", help="RRsets in all (10000)")
    parser.add_argument("-s", "--seed", type=int, default=1, metavar="N", help="another seed, another estate (1)")
    parser.add_argument("--octodns", action="store_true", help="in octoDNS's form, a file per zone")
    args = parser.parse_args()
    write = write_octodns if args.octodns else write_repository
    write(args.folder, args.records, args.seed)


if __name__ == "__main__":
    main()
