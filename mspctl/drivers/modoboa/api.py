"""
Asking Modoboa: lists are read to their end, and one that changed meanwhile is read again.

Lists come in pages that are counted from the start, so when something goes, what follows moves to the page before, and
nobody would be told of it. So after the last page, what ended each page is asked for once more by its number.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import urlencode

from mspctl.drivers.modoboa import native
from mspctl.drivers.modoboa.native import Row, Rows, split
from mspctl.errors import Stale, TargetError
from mspctl.kinds import dns
from mspctl.transports import http
from mspctl.transports.http import Http, Refused, as_line

ROOT = "/api/v2"
TRIES = 3  # of what changes while it is read
FEW = 4  # domains that are asked for by name; of more, the list of all is read

making_sense = partial(http.making_sense, "Modoboa")


class _Moved(Exception):
    """A list is not what it was a page ago."""


class Api:
    def __init__(self, http: Http, page_size: int) -> None:
        self.http = http
        self.page_size = page_size

    # -- lists ------------------------------------------------------------------------------------------------

    def rows(self, kind: str, **query: object) -> list[Row]:
        """A whole list. Raises TargetError for one that does not hold still."""
        for _ in range(TRIES):
            with suppress(_Moved):
                return self._pages(kind, query)
        raise TargetError(f"the {kind} of Modoboa change faster than they can be read")

    def _pages(self, kind: str, query: Mapping[str, object]) -> list[Row]:
        rows: list[Row] = []
        ends: list[int] = []
        more = True
        while more:
            answer = self._page(kind, query, len(ends) + 1, self.page_size)
            with making_sense(f"its {kind}"):
                found, more = [*answer["results"]], answer["next"] is not None
                if len(rows) + len(found) > answer["count"] or (more and not found):
                    raise _Moved
            rows += found
            ends.append(len(rows))
        for end in ends[:-1]:
            with making_sense(f"its {kind}"):
                (row,) = self._page(kind, query, end, 1)["results"] or ({"pk": None},)
                if row["pk"] != rows[end - 1]["pk"]:
                    raise _Moved
        return rows

    def _page(self, kind: str, query: Mapping[str, object], page: int, size: int) -> Any:
        try:
            return self.get(f"/{kind}/?{urlencode({**query, 'page_size': size, 'page': page})}")
        except Refused as error:
            if error.status == 404 and page > 1:
                raise _Moved from None
            raise

    def get(self, path: str) -> Any:
        try:
            return self.http.call("GET", ROOT + path)
        except Refused as error:
            if error.status == 404 and not error.content.startswith(b"{"):
                raise TargetError(f"{self.http.name}{ROOT} is no API of Modoboa (404)") from None
            raise

    # -- domains ----------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        with making_sense("its domains"):
            return sorted({folded(row["name"]) for row in self.rows("domains") if row["type"] == "domain"})

    def load(self, names: Sequence[str]) -> dict[str, Rows]:
        """What these domains hold. One that is not whole has a problem; the others are fine."""
        found = self._load(names)
        for _ in range(TRIES - 1):
            if torn := [name for name in names if found[name].is_torn]:
                found |= self._load(torn)
        for rows in found.values():
            if rows.is_torn:
                text = "is not shown whole (is the token one of a super administrator?)"
                rows.problem = f"{rows.name} {text}"
        return found

    def _load(self, names: Sequence[str]) -> dict[str, Rows]:
        found = {name: Rows(name) for name in names}
        listed = self.find(found)
        with making_sense("its domains"):
            for row in listed:
                if rows := found.get(folded(row["name"])):
                    rows.problem = f"{rows.name} is there twice, in different spellings" if rows.domain else ""
                    rows.domain = row
            there = {rows.domain["pk"]: rows for rows in found.values() if rows.domain}
            alone = len(names) <= FEW or self._calls(rows.domain for rows in there.values()) <= self._calls(listed, 1)
        if there:
            self._fill(found, there, alone)
        return found

    def find(self, names: Iterable[str]) -> list[Row]:
        """Domains of Modoboa, among them those that have one of these names, in either spelling."""
        wanted = [*names]
        if len(wanted) > FEW:
            return self.rows("domains")
        spellings = {spelled for name in wanted for spelled in (name, native.in_unicode(name))}
        found = [row for spelled in sorted(spellings) for row in self.rows("domains", search=spelled)]
        with making_sense("its domains"):
            return [*{row["pk"]: row for row in found if folded(row["name"]) in wanted}.values()]

    def _calls(self, domains: Iterable[Row | None], lists: int = 0) -> int:
        """How many pages their mailboxes and aliases are, in lists of their own, or in `lists` of all together."""
        counted = [(row["mailbox_count"], row["mbalias_count"]) for row in domains if row]
        if lists:
            counted = [(sum(mailboxes for mailboxes, _ in counted), sum(aliases for _, aliases in counted))]
        return sum(max(1, -(-count // self.page_size)) for both in counted for count in both)

    def _fill(self, found: Mapping[str, Rows], there: Mapping[int, Rows], alone: bool) -> None:
        """Read what the domains hold, each for itself (`alone`) or all of Modoboa at once; what is empty is not."""
        with making_sense("its domain aliases"):
            some = any(rows.counted("domainalias_count") for rows in there.values())
            for row in self.get("/domainaliases/") if some else ():
                if rows := there.get(row["target"]):
                    rows.put("alias_domains", folded(row["name"]), row)
        boxes = {pk: rows for pk, rows in there.items() if rows.counted("mailbox_count")}
        asked: list[dict[str, object]] = [{"domain": pk} for pk in boxes] if alone else [{}]
        with making_sense("its accounts"):
            for row in (row for query in asked for row in self.rows("accounts", **query)):
                if row["mailbox"]:
                    local, domain = split(row["mailbox"]["full_address"])
                    if rows := found.get(domain):
                        rows.put("accounts", local, row)
        named = [rows.spelled for rows in there.values() if rows.counted("mbalias_count")]
        asked = [{"domain": name} for name in named] if alone else [{}]
        with making_sense("its aliases"):
            for row in (row for query in asked for row in self.rows("aliases", **query)):
                local, domain = split(row["address"])
                if rows := found.get(domain):
                    rows.put("aliases", local, row)

    # -- one thing --------------------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: object, what: str) -> Any:
        """One call, which Modoboa carries out whole or not at all. `what`: for messages."""
        try:
            return self.http.call(method, ROOT + path, body)
        except Refused as error:
            raise _explained(error, what) from None


def folded(domain: str) -> str:
    with suppress(ValueError):
        return dns.fold_zone(domain)
    return domain.lower()


def _explained(error: Refused, what: str) -> TargetError:
    """A refusal in our words, with Modoboa's reason."""
    answer: object = None
    with suppress(ValueError):
        answer = json.loads(error.content)
    if error.status == 404 and isinstance(answer, dict) and "detail" in answer:
        return Stale(f"{what} was removed from Modoboa since it was read")
    if error.status == 401:
        return error
    if why := native.said(answer):
        return TargetError(f"Modoboa refuses {what}: {as_line(why.encode())}")
    if error.status >= 500:
        return TargetError(f"Modoboa fails with {what} ({error.status}; its own log says why)")
    return error
