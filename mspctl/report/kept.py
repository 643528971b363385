"""
Reports in files: what one job reports is kept, and another makes one report of what several kept.

A job of CI plans some customers and another one posts what all of them found. What is kept is the view, as it would be
spelled here, with its document beside it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from mspctl import edit
from mspctl.amounts import count
from mspctl.document import a_list, an_object, digest_of, members, text
from mspctl.errors import InputError
from mspctl.report import drifts, outcomes, plans
from mspctl.report.view import Block, Line, Tone, View

FORMAT = "mspctl.report/2"
KINDS = {"plan": "PLAN", "drift": "DRIFT", "apply": "APPLY"}  # of views that can be kept, and their titles
_TEXTS = ("tone", "label", "name", "detail", "source", "remedy", "heed")
_LINE = (*_TEXTS, "answers", "new", "known")
_BLOCK = ("customer", "heading", "source", "lines", "aside", "commands", "section", "target")
_VIEW = ("kind", "title", "facts", "blocks", "summary", "notes", "document", "alarms")


def dump(shown: View) -> str:
    said = asdict(shown)
    return json.dumps({"format": FORMAT, **{key: said[key] for key in _VIEW}}, ensure_ascii=False) + "\n"


def save(path: Path, shown: View) -> None:
    """Keep a report in a file, whole or not at all."""
    write(path, dump(shown))


def write(path: Path, text: str) -> None:
    """A whole file or none. Raises InputError."""
    if path.exists() and not path.is_file():  # a device may have no end
        raise InputError.at(str(path), "is no file")
    try:
        old = path.read_bytes().decode() if path.exists() else None
        edit.write(path, text, replaces=old)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError.at(str(path), f"cannot be written ({error})") from None


def read(path: Path) -> View:
    """What `save` wrote. Raises InputError when it is something else."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError.at(str(path), f"is not a report that mspctl kept ({error})") from None


def parse(content: str) -> View:
    said = members(json.loads(content), "a report", ("format", *_VIEW))
    if said["format"] != FORMAT:
        raise ValueError(f"it is of format {said['format']}")
    if said["kind"] not in KINDS:
        raise ValueError(f"it is of kind {said['kind']}")
    document = cast("dict[str, object]", an_object(said["document"]))
    blocks = [_block(each) for each in a_list(said["blocks"])]
    notes, facts, alarms = _lines(said["notes"]), _texts(said["facts"]), _texts(said["alarms"])
    return View(text(said, "kind"), text(said, "title"), facts, blocks, text(said, "summary"), notes, document, alarms)


def _block(said: object) -> Block:
    found = members(said, "a block", _BLOCK)
    customer, heading, source, section, target = (text(found, key) for key in (*_BLOCK[:3], *_BLOCK[-2:]))
    lines, aside, commands = _lines(found["lines"]), _lines(found["aside"]), _texts(found["commands"])
    return Block(customer, heading, source, lines, aside, commands, section, target)


def _lines(said: object) -> list[Line]:
    return [_line(members(each, "a line", _LINE)) for each in a_list(said)]


def _line(said: Mapping[str, object]) -> Line:
    tone, label, name, detail, source, remedy, heed = (text(said, key) for key in _TEXTS)
    answers, new, known = tuple(_texts(said["answers"])), said["new"] is True, said["known"] is True
    return Line(Tone(tone), label, name, detail, source, remedy, heed, answers, new, known)


def _texts(said: object) -> list[str]:
    found = a_list(said)
    if not all(isinstance(each, str) for each in found):
        raise ValueError("a list of texts is missing")
    return cast("list[str]", found)


# -- several as one -------------------------------------------------------------------------------------------


def joined(views: Sequence[View]) -> View:
    """One report of several of one kind, about different customers. Raises InputError when they are not."""
    kinds = {each.kind for each in views}
    if len(kinds) != 1:
        raise InputError.at("", f"reports of one kind make one report, not of {', '.join(sorted(kinds)) or 'none'}")
    if len(views) == 1:
        return views[0]
    (kind,) = kinds
    document = _document([each.document for each in views])
    blocks = sorted((block for each in views for block in each.blocks), key=lambda block: block.customer)
    notes = [*dict.fromkeys(line for each in views for line in each.notes)]
    alarms = [*dict.fromkeys(alarm for each in views for alarm in each.alarms)]
    counts = cast("dict[str, int]", document["counts"])
    facts = outcomes.apply_facts(counts) if kind == "apply" else _facts(document)
    return View(kind, KINDS[kind], facts, blocks, _summary(kind, counts, document), notes, document, alarms)


def _summary(kind: str, counts: Mapping[str, int], document: Mapping[str, Any]) -> str:
    if kind == "apply":
        return outcomes.outcome_summary(counts, document["command"])
    return plans.plan_summary(counts) if kind == "plan" else drifts.drift_summary(counts)


def _document(found: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """Lists one after the other, counts added; a digest of digests, the time of the first reading."""
    document: dict[str, object] = dict(found[0])
    counts: Counter[str] = Counter()
    for each in found:
        counts.update({name: int(number) for name, number in each["counts"].items()})
    document["counts"] = dict(counts)
    for key, value in found[0].items():
        if isinstance(value, list):
            document[key] = [item for each in found for item in each[key]]
    if "changes" in document:
        document["changes"] = sum(int(each["changes"]) for each in found)
    if "read_at" in document:
        document["read_at"] = min(str(each["read_at"]) for each in found)
    if "digest" in document:
        document["digest"] = digest_of(str(scope["digest"]) for each in found for scope in each["scopes"])
    if "command" in document:
        unfinished = (str(each["command"]) for each in found if each["counts"]["failed"] or each["counts"]["unread"])
        document["command"] = " && ".join(dict.fromkeys(unfinished))
    if "findings" in document:
        lists = [each["findings"] for each in found]
        document["findings"] = {
            "asked": all(each["asked"] for each in lists),
            **{key: [item for each in lists for item in each[key]] for key in ("open", "accepted")},
        }
    return document


def _facts(document: Mapping[str, Any]) -> list[str]:
    scopes = document["scopes"]
    customers, targets = ({str(s[key]) for s in scopes} for key in ("customer", "target"))
    who = next(iter(customers)) if len(customers) == 1 else count(len(customers), "customer")
    read_at = datetime.fromisoformat(document["read_at"])
    return [
        who,
        f"{count(len(scopes), 'scope')} on {count(len(targets), 'target')}",
        f"read {read_at:%H:%M} {read_at.tzname()}",
        *plans.asked_facts(*([*dict.fromkeys(document[key])] for key in ("tickets", "asked_by"))),
    ]
