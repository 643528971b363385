"""
What backups hold and what was given back, as a table and as documents for programs.

Names of files come from a customer's host, so nothing in them reaches a terminal that it would act upon.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from click import style

from mspctl.amounts import count
from mspctl.moments import timezone
from mspctl.report.digest import visible

Said = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class About:
    """What was asked for, and on whose clock it is told."""

    customer: str
    host: str
    pattern: str
    zone: str
    now: datetime

    def clock(self, seconds: int) -> str:
        return f"{datetime.fromtimestamp(seconds, UTC).astimezone(timezone(self.zone)):%a %Y-%m-%d %H:%M}"

    @property
    def title(self) -> str:
        return f"{self.customer} · {self.host} · {visible(self.pattern)} · times of {self.zone}"


def found(about: About, said: Said) -> Iterator[str]:
    """By path; of each version when it was changed, how large it is, and the newest copy that has it."""
    yield f"{style('FOUND', bold=True)} {about.title}"
    rows = said["found"]
    for path, versions in groupby(rows, key=lambda row: row["path"]):
        yield ""
        yield style(visible(path), bold=True)
        table = [_version(about, row) for row in versions]
        widths = [max(len(row[i]) for row in table) for i in range(3)]
        for changed, size, copy, copies in table:
            row = f"  changed {changed:<{widths[0]}}  {size:>{widths[1]}}  {copy:<{widths[2]}}"
            yield f"{row}  {style(copies, dim=True)}"
    yield ""
    more = ", and there is more: narrow the pattern" if said["more"] else ""
    paths = len({row["path"] for row in rows})
    yield style(f"{count(len(rows), 'version')} of {count(paths, 'path')}{more}." if rows else "Nothing.", bold=True)


def _version(about: About, row: Said) -> tuple[str, str, str, str]:
    size = spoken(row["size"]) if row["kind"] == "file" else row["kind"]
    times = "1 copy" if row["copies"] == 1 else f"{row['copies']} copies"
    return about.clock(row["changed"]), size, f"in {row['job']} of {about.clock(row['time'])}", times


def found_as_json(about: About, said: Said) -> str:
    rows = [{**row, "changed": _iso(row["changed"]), "time": _iso(row["time"])} for row in said["found"]]
    return _document("mspctl.restore-find/1", about, {"found": rows, "more": said["more"], "failed": said["failed"]})


def given(about: About, said: Said, in_place: bool) -> Iterator[str]:
    yield f"{style('RESTORED', bold=True)} {about.title}"
    yield f"  from      {said['job']} of {about.clock(said['time'])}"
    yield f"  what      {count(said['files'], 'file')}, {spoken(said['octets'])}, in {said['seconds']:.1f} s"
    for path in said["paths"][:10]:
        yield f"            {visible(path)}"
    if len(said["paths"]) > 10:
        yield f"            and {len(said['paths']) - 10} more"
    if in_place and not said["wrong"]:
        yield "  to        where it was"
        for path in said["kept"][:10]:
            yield f"  kept      {visible(path)}, as it was, in {visible(said['folder'])}"
        if len(said["kept"]) > 10:
            yield f"            and {len(said['kept']) - 10} more"
    else:
        yield f"  to        {visible(said['folder'])} on {about.host}, which only root can enter"
    if said["wrong"]:
        yield style("  compared  not as in the copy, so nothing was put anywhere else:", fg="red", bold=True)
        yield from (style(f"            {visible(each)}", fg="red") for each in said["wrong"])
    else:
        yield style("  compared  as in the copy", fg="green")


def given_as_json(about: About, said: Said, wish: Said) -> str:
    return _document("mspctl.restore-get/1", about, {**wish, **said, "time": _iso(said["time"])})


def log(customer: str, entries: Sequence[Said], zone: str) -> Iterator[str]:
    yield f"{style('RESTORES', bold=True)} {customer} · times of {zone}"
    for entry in entries:
        when = datetime.fromisoformat(entry["when"]).astimezone(timezone(zone))
        ticket = f" ({visible(entry['ticket'])})" if entry["ticket"] else ""
        yield f"  {when:%Y-%m-%d %H:%M}  {visible(entry['host'])}  {visible(entry['pattern'])}  {_ended(entry)}"
        yield style(f"      asked by {visible(entry['asked_by'])}{ticket}, done by {visible(entry['who'])}", dim=True)
    yield style(f"{count(len(entries), 'restore')}." if entries else "Nobody asked for anything.", bold=True)


def _ended(entry: Said) -> str:
    if "given" not in entry:
        return visible(entry.get("error") or "it is not known how it ended")
    given = entry["given"]
    where = "to where it was" if entry["in_place"] else f"to {visible(given['folder'])}"
    wrong = ", not as in the copy" if given["wrong"] else ""
    return f"{count(given['files'], 'file')} of {_iso(given['time'])[:10]} {where}{wrong}"


def spoken(octets: int) -> str:
    """Rounded, as people compare it."""
    for unit, name in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if octets >= unit:
            return f"{octets / unit:.1f} {name}"
    return f"{octets} B"


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _document(form: str, about: About, more: Said) -> str:
    said = {"format": form, "customer": about.customer, "host": about.host, "pattern": about.pattern, **more}
    return json.dumps(said, indent=2, ensure_ascii=False)
