"""
Any master file, through dnspython: its tokenizer and its record parser, in a loop of our own.

dnspython stops at the first wrong line, and passes over in silence what it has no use for. Here every line is
tried, and what is not kept is told. Imported only when a file needs it, because most do not.
"""

from __future__ import annotations

import re
import struct
from typing import Any

import dns.exception
import dns.grange
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer
import dns.ttl
import dns.zonefile

from mspctl.kinds import dns as kind
from mspctl.kinds import shown
from mspctl.kinds.master import Master, Record, Soa

MAX_RECORDS = 1_000_000  # more than a file that we would accept holds
MAX_GENERATED = 65_536  # records of all $GENERATE of a file: a reverse zone of /16
MAX_WRONG = 20  # lines that are told; a file with more is something else

_WRONG = (
    dns.exception.DNSException,
    ValueError,
    OverflowError,
    AssertionError,
    RecursionError,
    struct.error,
)


def read(text: str, zone: str, ttl: int | None = None) -> Master:
    """See `master.read`."""
    reader = _Reader(text, zone, ttl)
    reader.read()
    return reader.master


class _Reader(dns.zonefile.Reader):
    """dnspython's reader of one record, with a loop around it; it is its own transaction, too."""

    def __init__(self, text: str, zone: str, ttl: int | None) -> None:
        self.text = text
        self.zone = zone
        self.zone_ttl = ttl
        self.master = Master()
        self.manager = self
        self.line = 1  # where the entry at hand starts
        self.generated = 0
        tokenizer = dns.tokenizer.Tokenizer(text, "zone", idna_codec=dns.name.IDNA_2008_Practical)
        super().__init__(tokenizer, dns.rdataclass.IN, self)  # type: ignore[arg-type]
        self.current_origin = self.last_name = dns.name.from_text(zone)

    def read(self) -> None:
        more = True
        while more and len(self.master.problems) < MAX_WRONG:
            self.line = self.tok.where()[1]
            try:
                more = self._entry()
            except _WRONG as error:
                self.master.problems.append((self.line, f"is not a zone file: {_said(error)}"))
                more = self._skip()
        if more:
            self.master.problems.append((self.line, "is not a zone file: too much is wrong (the rest was not read)"))

    def _entry(self) -> bool:
        """Read one entry; False at the end of the file."""
        token = self.tok.get(want_leading=True, want_comment=True)
        if token.is_comment():
            self.tok.get_eol()
        elif token.is_identifier() and token.value.startswith("$"):
            self._directive(token.value)
        elif not token.is_eol_or_eof():
            self.tok.unget(token)
            self._rr_line()
        return not token.is_eof()

    def _directive(self, name: str) -> None:
        if name.upper() == "$TTL":
            self.default_ttl = dns.ttl.from_text(self.tok.get_identifier())
            self.default_ttl_known = True
            self.default_ttl_from_soa = False
        elif name.upper() == "$ORIGIN":
            self.current_origin = self.tok.get_name(self.current_origin)
        elif name.upper() == "$GENERATE":
            self._generate()
        else:
            raise ValueError(f"{shown(name)} is not followed (write its records into this file)")
        self.tok.get_eol()

    def _generate(self) -> None:
        token = self.tok.get()
        try:
            start, stop, step = dns.grange.from_text(token.value)
        except _WRONG:
            raise ValueError(f"{shown(token.value)} is not a range (write 1-100)") from None
        self.generated += (stop - start) // step + 1
        if self.generated > MAX_GENERATED:
            raise ValueError(f"$GENERATE makes more than {MAX_GENERATED:,} records")
        self.tok.unget(token)
        self._generate_line()  # type: ignore[no-untyped-call]

    def _skip(self) -> bool:
        """Go to the next line after a wrong entry; False when there is none."""
        tok = self.tok
        behind = self.text[: tok.file.tell()][-1:]
        waiting = tok.ungotten_char is not None or tok.ungotten_token is not None or tok.multiline
        ended = behind in ("\n", "\r") and not waiting
        try:
            while not ended:
                ended = tok.get().is_eol_or_eof()
        except dns.exception.DNSException:
            return False  # a quote or a parenthesis that is never closed
        if tok.quoting:
            tok.quoting, tok.delimiters = False, set(' \t\n;()"')
        return True

    def _implicit_ttl(self) -> int | None:
        said: int | None = super()._implicit_ttl()
        return self.zone_ttl if said is None else said

    # -- what dnspython expects of a transaction

    def origin_information(self) -> tuple[dns.name.Name, bool, dns.name.Name]:
        # The root as zone origin: so that dnspython never passes over a name as "outside", and we can name it.
        return dns.name.root, False, dns.name.root

    def check_put_rdataset(self, check: object) -> None:
        """dnspython would register its CNAME check here; ours come later and name both lines."""

    def add(self, name: dns.name.Name, ttl: int, rdata: Any) -> None:
        rtype = dns.rdatatype.to_text(rdata.rdtype)
        if ttl > kind.MAX_TTL:
            raise ValueError(f"{ttl} is longer than a TTL can be ({kind.MAX_TTL} seconds)")
        if rtype == "SOA":
            self._soa(name, ttl, rdata)
        elif rtype in kind.SERVER_MADE:
            self.master.made.setdefault(rtype, []).append(self.line)
        elif len(self.master.records) < MAX_RECORDS:
            owner = name.canonicalize().to_text()
            self.master.records.append(Record(owner, rtype, ttl, kind.from_rdata(rdata), self.line))
        else:
            raise ValueError(f"holds more than {MAX_RECORDS:,} records")

    def _soa(self, name: dns.name.Name, ttl: int, rdata: Any) -> None:
        owner = name.canonicalize().to_text(omit_final_dot=True)
        if owner != self.zone:
            text = f"the SOA record is of {owner}, not of {self.zone} (is this another zone's file?)"
            self.master.problems.append((self.line, text))
            self.master.foreign = True
        elif self.master.soa is not None:
            self.master.problems.append((self.line, "a second SOA record (a zone has one)"))
        else:
            names = rdata.mname.canonicalize().to_text(), rdata.rname.canonicalize().to_text()
            times = rdata.refresh, rdata.retry, rdata.expire, rdata.minimum
            self.master.soa = Soa(*names, rdata.serial, *times, ttl)


# What dnspython says → what a person can do about it.
_SAID = {
    "RR class is not zone's class": "the class is not IN (only the Internet's is served)",
    "Missing default TTL value": "the record has no TTL (write one, or $TTL above it)",
    "Text input is malformed": "an address or a number is not well-formed",
    "DNS TTL value is not well-formed": "is not a TTL (write $TTL 3600)",
    "Text input ended unexpectedly": "a quote or a parenthesis is not closed",
    "unbalanced parentheses": "a quote or a parenthesis is not closed",
    "newline in quoted string": "a quote is not closed on its line",
    "expecting an identifier": "something is missing at the end of the record",
}
_CLUTTER = re.compile(r"^zone:\d+: |caught exception <class '[\w.]+'>: ")
_UNKNOWN_TYPE = re.compile(r"unknown rdatatype '(.*)'", re.DOTALL)
_TOO_MUCH = re.compile(r'expected EOL or EOF, got \d "(.*)"', re.DOTALL)


def _said(error: Exception) -> str:
    text = _CLUTTER.sub("", kind.first_line(error))
    if unknown := _UNKNOWN_TYPE.fullmatch(text):
        return f"{shown(unknown[1])} is not a record type"
    if more := _TOO_MUCH.fullmatch(text):
        return f"{shown(more[1])} is one word too many"
    return _SAID.get(text, text) or "a record is not complete here"
