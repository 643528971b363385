"""
Trials and proofs: a live test that somebody declared, and how it ended, step by step.

A proof says what was seen at one time, of one scope. What it vouches for may be older than itself: a backup that was
restored today vouches for the day on which it was taken.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from mspctl.document import Object, a_list, line, list_of, members, object_of, scope_from_json, text, to_json
from mspctl.exits import Exit
from mspctl.resource import Scope
from mspctl.secrets import redact

FORMAT = 1
BACKUP = "backup"  # the section whose proofs say that what a scope holds can be restored
EARLY, LATE = 0.9, 1.25  # of `every`: from when on a trial is due again, and its last proof too old


class Verdict(enum.StrEnum):
    """The gravest first."""

    FAILED = "failed"
    UNKNOWN = "not made"  # something on the way to it gave no answer; never counted as good
    PASSED = "passed"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was looked at."""

    what: str  # "an address that is not there is refused"
    verdict: Verdict
    said: str = ""  # what was seen, in one line
    seconds: float | None = None  # that it took, where that was measured: until a message was there


Key = tuple[Scope, str, str]


@dataclass(frozen=True, slots=True)
class Trial:
    """A live test that somebody declared."""

    scope: Scope
    section: str  # whose test it is: "mail"; a scope of mailboxes is tried by "backup" too
    every: int  # seconds, in which it is to be made once
    source: str  # "customers/acme/mail.yaml:7"
    name: str = ""  # where a section tries several things in one scope
    what: Any = None  # all that the section needs to make it

    @property
    def key(self) -> Key:
        return self.scope, self.section, self.name

    def is_due(self, last: Proof | None, now: datetime) -> bool:
        """Whether a schedule should make it; one that was late the last time does not shift the next."""
        return last is None or last.passed is None or (now - last.passed).total_seconds() >= EARLY * self.every

    def is_late(self, last: Proof, now: datetime) -> bool:
        """Whether what was proved is too old to count."""
        return last.passed is None or (now - last.passed).total_seconds() > LATE * self.every


@dataclass(frozen=True, slots=True)
class Proving:
    """What takes the place of something is proved first: things of these kinds go only when a trial has passed."""

    section: str
    name: str  # of the trial
    every: int  # seconds for which a proof counts; 0: nothing is tried
    kinds: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Proof:
    """How a trial ended."""

    scope: Scope
    section: str
    made: datetime  # when it began
    seconds: float  # that it took
    steps: tuple[Step, ...]
    name: str = ""
    state: datetime | None = None  # what it vouches for, where that is older: when a backup was taken
    passed: datetime | None = None  # when the trial passed last: this time, or before

    @property
    def key(self) -> Key:
        return self.scope, self.section, self.name

    @property
    def verdict(self) -> Verdict:
        found = {step.verdict for step in self.steps} or {Verdict.UNKNOWN}
        return min(found, key=[*Verdict].index)

    @property
    def vouches_for(self) -> datetime:
        return min(self.state or self.made, self.made)

    @property
    def wrong(self) -> list[Step]:
        return [step for step in self.steps if step.verdict is not Verdict.PASSED]

    @property
    def why(self) -> str:
        """What was wrong, in one line."""
        return "; ".join(f"{step.what}: {step.said or step.verdict}" for step in self.wrong) or "nothing was tried"


def path(it: Trial | Proof) -> str:
    """As commands and accepted.yaml name it: "mailboxes/acme.example"."""
    return "/".join(filter(None, (it.scope.facet, it.scope.name, it.name)))


def exit_code(made: Iterable[Proof]) -> Exit:
    found = {proof.verdict for proof in made}
    if Verdict.FAILED in found:
        return Exit.DIFFERS
    return Exit.UNREACHABLE if Verdict.UNKNOWN in found else Exit.DONE


def following(new: Proof, before: Proof | None) -> Proof:
    """A proof as it is kept: it remembers when its trial passed last."""
    last = new.made if new.verdict is Verdict.PASSED else before.passed if before else None
    return replace(new, passed=last)


# -- JSON: a page for each scope --------------------------------------------------------------------------------


def rendered(proofs: Iterable[Proof]) -> bytes:
    """The proofs of one scope, a line for each."""
    ordered = sorted(proofs, key=lambda proof: (proof.section, proof.name))
    page = {
        "format": str(FORMAT),
        "scope": line(to_json(replace(ordered[0].scope, after=()))),
        "proofs": list_of(redact(line(_to_json(proof))) for proof in ordered),
    }
    return (object_of(page) + "\n").encode()


def _to_json(proof: Proof) -> Object:
    said: Object = {"section": proof.section, "name": proof.name} if proof.name else {"section": proof.section}
    said |= {"made": _moment(proof.made), "verdict": proof.verdict.value, "seconds": _rounded(proof.seconds)}
    if proof.state:
        said |= {"state": _moment(proof.state)}
    if proof.passed:
        said |= {"passed": _moment(proof.passed)}
    return said | {"steps": [step_to_json(step) for step in proof.steps]}


def step_to_json(step: Step) -> Object:
    said: Object = {"what": step.what, "verdict": step.verdict.value}
    if step.said:
        said |= {"said": step.said}
    return said if step.seconds is None else said | {"seconds": _rounded(step.seconds)}


def _moment(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def _rounded(seconds: float) -> float:
    return round(seconds, 3)


def parsed(content: bytes) -> tuple[Proof, ...]:
    """What `rendered` wrote; nothing for anything else: it is made again."""
    import json

    try:
        page = members(json.loads(content.decode()), "a page of proofs", ("format", "scope", "proofs"))
        if page["format"] != FORMAT:
            return ()
        return tuple(_from_json(scope_from_json(page["scope"]), a_list(page["proofs"])))
    except (ValueError, RecursionError):
        return ()


def _from_json(scope: Scope, found: list[object]) -> Iterator[Proof]:
    optional = ("name", "state", "passed")
    for item in found:
        data = members(item, "a proof", ("section", "made", "verdict", "seconds", "steps"), optional)
        moments = {key: _read(text(data, key)) for key in ("made", "state", "passed") if key in data}
        name = text(data, "name") if "name" in data else ""
        steps = tuple(_step(step) for step in a_list(data["steps"]))
        proof = Proof(
            scope, text(data, "section"), moments["made"], _number(data["seconds"]), steps, name,
            moments.get("state"), moments.get("passed"),
        )  # fmt: skip
        if proof.verdict.value != data["verdict"]:
            raise ValueError("a verdict does not follow from its steps")
        yield proof


def _step(item: object) -> Step:
    data = members(item, "a step", ("what", "verdict"), ("said", "seconds"))
    seconds = _number(data["seconds"]) if "seconds" in data else None
    said = text(data, "said") if "said" in data else ""
    if not (said + text(data, "what")).isprintable():
        raise ValueError("a terminal would act upon it")
    return Step(text(data, "what"), Verdict(text(data, "verdict")), said, seconds)


def _read(said: str) -> datetime:
    moment = datetime.fromisoformat(said)
    if moment.tzinfo is None:
        raise ValueError("a moment has no time zone")
    return moment


def _number(data: object) -> float:
    if not isinstance(data, int | float) or isinstance(data, bool):
        raise ValueError("a number is missing")
    return float(data)
