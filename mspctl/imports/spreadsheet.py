"""
Mailboxes, aliases and groups from a spreadsheet that was saved as CSV.

Forgiving in form: any separator and encoding that Excel, LibreOffice or an export of another product writes, and the
names that they give to columns. Strict in content: when one row is wrong, every wrong row is named with its line, and
nothing comes in. Passwords never do: who has the file could read them, and YAML holds none.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from mspctl.errors import InputError, Problem
from mspctl.imports.domains import Domains, folded, sift
from mspctl.kinds import dns, mail, shown
from mspctl.resource import Id, Resource, Value
from mspctl.strict_yaml import MAX_BYTES, Problems

# What a column is for → what people and programs call it; only letters and digits count, in any case.
_CALLED = {
    "address": "address, email, mail, email address, mailbox, user, username, login, user principal name,"
    " primary smtp address, primary email, indirizzo, indirizzo email, casella, utente",
    "name": "name, display name, full name, nome, nome completo, nome e cognome, nome visualizzato",
    "first": "first name, given name",
    "last": "last name, surname, family name, cognome",
    "quota": "quota, size, limit, mailbox quota, mailbox size, storage, dimensione, spazio",
    "aliases": "aliases, alias, proxy addresses, email addresses, other addresses, further addresses, altri indirizzi",
    "forwards": "forwards, forward, forward to, forwarding, forwarding address, forwarding smtp address, inoltro,"
    " inoltra a",
    "keep_copy": "keep copy, keeps a copy, deliver to mailbox and forward, tiene copia",
    "members": "members, member, recipients, membri, destinatari",
    "enabled": "enabled, active, status, attivo, attiva, stato",
    "type": "type, kind, recipient type, tipo",
}
COLUMNS = {name.replace(" ", ""): column for column, names in _CALLED.items() for name in names.split(", ")}
PASSWORD = re.compile(r"passw|pwd|kennwort|pass$|hash")

_YES = frozenset("yes y true 1 on active enabled sì si vero attivo attiva".split())
_NO = frozenset("no n false 0 off inactive disabled suspended blocked falso disattivo disattiva sospeso".split())
_TYPES = {
    mail.MAILBOX: frozenset("mailbox user shared usermailbox sharedmailbox casella utente".split()),
    mail.ALIAS: frozenset(
        "group list alias forward mailinglist distributionlist distributiongroup gruppo lista".split()
    ),
}
_UNITS = {"": 0, "b": 1, "bytes": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_UNIT = r"bytes|[kmgt]i?b|b"
_SIZE = re.compile(rf"(?P<number>\d+(?:[.,]\d{{1,2}})?) ?(?P<unit>{_UNIT}|[kmgt])?", re.IGNORECASE)
_EXACT = re.compile(r".*\(([\d.,’' ]+) bytes\)", re.IGNORECASE)  # as Exchange says it: 49.5 GB (53,150,220,288 bytes)
_UNLIMITED = frozenset(("", "-", "0", "unlimited", "illimitato", "none"))


@dataclass(slots=True)
class Found:
    """What a file holds."""

    domains: Domains = field(default_factory=dict)
    rows: int = 0
    warnings: list[Problem] = field(default_factory=list)  # what does not come in, though all rows are right
    elsewhere: int = 0  # rows of domains that were not asked for
    unread: list[str] = field(default_factory=list)  # columns that say nothing to us
    secret: str = ""  # the column that holds passwords

    def count(self, kind: str) -> int:
        return sum(resource.id.kind == kind for held in self.domains.values() for resource in held)


@dataclass(frozen=True, slots=True)
class Row:
    line: int
    cells: Mapping[str, str]  # column → text; those that were left empty are absent

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")


def read(path: Path, only: Sequence[str] = (), *, passwords: bool = False) -> Found:
    """
    A file's mail domains, or those of `only`; `passwords`: one is to be made for each mailbox that somebody uses.

    Raises InputError with every row that is wrong.
    """
    problems, found = Problems(), Found()
    rows = _rows(_text(path), str(path), found, problems)
    reader = _Reader(str(path), [*map(folded, only)], passwords, found, problems)
    for row in rows:
        found.rows += 1
        reader.take(row)
    reader.check_aliases()
    for left in sift(found.domains):
        problems.line(str(path), int(left.resource.source.rpartition(":")[2]), left.why, left.resource.id.name)
    if problems.errors:
        raise InputError(sorted(problems.errors))
    found.warnings += problems
    return found


# -- text → rows ------------------------------------------------------------------------------------------------


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes() if path.stat().st_size <= MAX_BYTES else b""
    except OSError as error:
        raise InputError.at(str(path), f"cannot be read ({error.strerror})") from None
    if not raw.strip():
        raise InputError.at(str(path), f"is empty, or larger than {MAX_BYTES // 1024**2} MiB")
    wide = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ["utf-16"] if wide else ["utf-8-sig", "cp1252"]:  # the last is what Excel writes unless it is told
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputError.at(str(path), "is neither UTF-8 nor what Excel writes (save it as CSV UTF-8)")


def _rows(text: str, file: str, found: Found, problems: Problems) -> Iterator[Row]:
    """Rows that are not empty. Raises InputError for a file that is no table of addresses."""
    told = re.match(r"sep=(.)\r?\n", text)  # Excel's own way to name the separator
    body, skipped = (text[told.end() :], 1) if told else (text, 0)
    head = body.partition("\n")[0]
    separator = told[1] if told else max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=separator, strict=True)
    header: list[str] = []
    before = 0
    try:
        for cells in reader:
            line, before = before + skipped + 1, reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = _header(cells, file, line, found)
            elif len(cells) > len(header):  # a row that slipped sideways could bring a password along
                text = f"has {len(cells)} cells, and the header {len(header)}"
                problems.line(file, line, f"{text} (a {_called(separator)} within a text needs quotes around it)")
            else:
                named = ((column, cell.strip()) for column, cell in zip(header, cells, strict=False))
                yield Row(line, {column: cell for column, cell in named if column and cell})
    except csv.Error as error:
        problems.line(file, before + skipped + 1, f"is not CSV: {error}")
    if not header:
        raise InputError.at(file, "has no rows")


def _called(separator: str) -> str:
    return {",": "comma", ";": "semicolon", "\t": "tab"}.get(separator, separator)


def _header(cells: Sequence[str], file: str, line: int, found: Found) -> list[str]:
    """What each column is for; "" for one that is not read."""
    columns: list[str] = []
    for cell in cells:
        called = _plain(cell)
        unit = re.fullmatch(rf"(.+?)({_UNIT})", called)
        column = COLUMNS.get(called) or COLUMNS.get(unit[1] if unit else "", "")
        if PASSWORD.search(called):
            found.secret = cell.strip()
        elif not column and called:
            found.unread.append(cell.strip())
        if column and column in [each.partition(" ")[0] for each in columns]:
            raise InputError.at(file, f"{cell.strip()!r} is a second column for the {column}", line)
        columns.append(f"{column} {unit[2]}" if column == "quota" and unit else column)
    if "address" not in columns:
        names = ", ".join(cell.strip() for cell in cells if cell.strip())
        raise InputError.at(file, f"has no column for the address (call it email; it has {names})", line)
    return columns


def _plain(text: str) -> str:
    return re.sub(r"[\W_]", "", text.lower())


# -- rows → resources -------------------------------------------------------------------------------------------


class _Reader:
    def __init__(self, file: str, only: Sequence[str], passwords: bool, found: Found, problems: Problems) -> None:
        self.file, self.only, self.passwords = file, only, passwords
        self.found, self.problems = found, problems
        self.lines: dict[str, int] = {}  # address → where it stands
        self.aliases: list[tuple[int, str, str]] = []  # line, the further address, whose it is

    def take(self, row: Row) -> None:
        """One row; what is wrong with it goes to the problems."""
        address = ""
        try:
            address = self._address(row["address"], "address")
            if self.only and address.partition("@")[2] not in self.only:
                self.found.elsewhere += 1
                return
            self._free(address, row.line)
            self._keep(
                self._group(row, address) if self._is_group(row, address) else self._mailbox(row, address), address
            )
        except _WrongError as error:
            self._tell(error, row.line)
            if self.lines.get(address) == row.line:  # it is there all the same, for those who send mail to it
                self._keep(
                    mail.alias(address.partition("@")[0], ["x@invalid"], source=f"{self.file}:{row.line}"), address
                )

    def _keep(self, resource: Resource, address: str) -> None:
        self.found.domains.setdefault(address.partition("@")[2], []).append(resource)

    def _tell(self, error: _WrongError, line: int) -> None:
        """Where a file has passwords, no cell is repeated: a row may have slipped sideways."""
        self.problems.line(self.file, line, error.bare if self.found.secret else str(error), error.column)

    def _free(self, address: str, line: int, column: str = "address") -> None:
        first = self.lines.setdefault(address, line)
        if first != line:
            raise _WrongError(column, f"{address} stands on line {first} already")

    def _is_group(self, row: Row, address: str) -> bool:
        said = _plain(row["type"])
        kind = next((kind for kind, names in _TYPES.items() if said in names), "")
        if said and not kind:
            raise _WrongError.of("type", row["type"], "is neither a mailbox nor a group")
        if kind == mail.MAILBOX and row["members"]:
            raise _WrongError("members", "has a group, and this is a mailbox (write forwards)")
        return kind == mail.ALIAS or bool(row["members"]) or address.startswith("@")

    def _group(self, row: Row, address: str) -> Resource:
        for column in ("quota", "aliases"):
            if any(row[each] for each in row.cells if each.partition(" ")[0] == column):
                raise _WrongError(column, "has a mailbox, and this is a group")
        to = self._recipients(row, "members", address) | self._recipients(row, "forwards", address)
        if not to:
            raise _WrongError("members", f"are missing: who gets what is written to {address}?")
        local = address.partition("@")[0] or mail.CATCH_ALL
        return mail.alias(local, to, source=f"{self.file}:{row.line}")

    def _mailbox(self, row: Row, address: str) -> Resource:
        forwards = self._recipients(row, "forwards", address) - {address}
        enabled, keeps = _yes(row, "enabled"), _yes(row, "keep_copy")
        fields: dict[str, Value] = {"name": _name(row)} if _name(row) else {}
        fields |= {
            "quota": _quota(row),
            "enabled": enabled,
            "receives": enabled or bool(forwards),
            "keep_copy": not forwards or (keeps and enabled),
            "forwards": forwards,
        }
        if self.passwords and enabled:
            fields["password"] = mail.password("", 1)
        for typed in _listed(row["aliases"]):
            if alias := self._alias(typed, address):
                self.aliases.append((row.line, alias, address))
        return Resource(Id(mail.MAILBOX, address.partition("@")[0]), fields, f"{self.file}:{row.line}")

    def _alias(self, typed: str, address: str) -> str:
        """A further address; "" for the first one, which exports repeat, and for what belongs to other protocols."""
        scheme, colon, rest = typed.partition(":")
        if colon and scheme.lower() != "smtp":
            return ""
        domain = address.partition("@")[2]
        text = rest if colon else typed
        found = self._address(text if "@" in text else f"{text}@{domain}", "aliases")
        return "" if found == address else found

    def check_aliases(self) -> None:
        """When all rows are known: a further address is free, and in a domain of this file."""
        for line, alias, address in self.aliases:
            local, _, domain = alias.partition("@")
            if domain not in self.found.domains:
                text = f"{alias} is in no domain that comes in (left out)"
                self.problems.line(self.file, line, text, "aliases", "warning")
                continue
            try:
                self._free(alias, line, "aliases")
            except _WrongError as error:
                self._tell(error, line)
            else:
                made = mail.alias(local, [address], source=f"{self.file}:{line}")
                self.found.domains[domain].append(made)

    def _recipients(self, row: Row, column: str, address: str) -> frozenset[str]:
        domain = address.partition("@")[2]
        try:
            listed = _listed(row[column])
            return frozenset(mail.fold_address(each if "@" in each else f"{each}@{domain}") for each in listed)
        except ValueError as error:
            raise _WrongError(column, str(error), "is not an address that can stand here") from None

    def _address(self, typed: str, column: str) -> str:
        """An address of our own, in normal form; of a catch-all, `@` and the domain."""
        local, at, end = typed.rpartition("@")
        try:
            if not typed:
                raise ValueError("is missing")
            if not at and len(self.only) == 1:
                local, end = typed, self.only[0]
            elif not at:
                raise ValueError(f"{shown(typed)} has no domain (write the whole address, or say --zone DOMAIN)")
            domain = dns.fold_zone(end)
            return f"@{domain}" if local in ("", "*") else f"{mail.fold_local(local)}@{domain}"
        except ValueError as error:
            raise _WrongError(column, str(error), "is not an address that can stand here") from None


class _WrongError(Exception):
    """What is wrong with a row, and in which column; `bare` says so without what stands there."""

    def __init__(self, column: str, text: str, bare: str = "") -> None:
        super().__init__(text)
        self.column = column
        self.bare = bare or text

    @classmethod
    def of(cls, column: str, cell: str, text: str) -> _WrongError:
        return cls(column, f"{shown(cell)} {text}", text)


def _listed(cell: str) -> list[str]:
    """Addresses in one cell, whatever stands between them."""
    return re.findall(r"<([^<>]+)>", cell) or re.split(r"[\s,;|]+", cell.strip()) if cell else []


def _name(row: Row) -> str:
    """The whole name; exports have it in one column, in two, or both ways."""
    if row["name"] and "first" in row.cells:
        return row["name"]
    return " ".join(filter(None, (row["name"] or row["first"], row["last"])))


def _yes(row: Row, column: str) -> bool:
    said = row[column].lower()
    if said and said not in _YES | _NO:
        raise _WrongError.of(column, row[column], "is neither yes nor no")
    return said not in _NO


def _quota(row: Row) -> int:
    """Octets; K, M, G and T are powers of 1024, as for those who sell mailboxes."""
    column = next((each for each in row.cells if each.partition(" ")[0] == "quota"), "quota")
    said = row[column]
    if said.lower() in _UNLIMITED:
        return 0
    if exact := _EXACT.fullmatch(said):
        return int(re.sub(r"\D", "", exact[1]))
    found = _SIZE.fullmatch(said)
    if not found:
        raise _WrongError.of("quota", said, "is not a size (write 5 GB)")
    unit = (found["unit"] or column.partition(" ")[2]).lower()
    if not unit:
        raise _WrongError.of("quota", said, "has no unit (write 500 MB, or call the column quota_mb)")
    return int(Decimal(found["number"].replace(",", ".")) * _UNITS[unit if unit == "bytes" else unit[0]])
