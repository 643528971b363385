"""Live tests and how they ended: as a run of `prove` tells it, and as drift and show do, with their age."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from click import style

from mspctl.amounts import count
from mspctl.proof import Key, Proof, Step, Trial, Verdict, path, step_to_json
from mspctl.report.view import Block, Line, Tone, View

_TONES = {Verdict.PASSED: Tone.DONE, Verdict.FAILED: Tone.SEVERE, Verdict.UNKNOWN: Tone.WARN}


def of_run(wanted: Sequence[Trial], made: Sequence[Proof], now: datetime) -> View:
    """What a run of `prove` found out: of what passed a line, of what did not every step."""
    ended = {proof.key: proof for proof in made}
    mine: dict[str, list[Line]] = {}
    for trial in _ordered(wanted):
        mine.setdefault(trial.scope.customer, []).extend(_made(trial, ended.get(trial.key)))
    blocks = [Block(customer, "proofs", "", lines) for customer, lines in mine.items()]
    facts = [f"{count(len(wanted), 'live test')}", f"begun {now:%H:%M} {now.tzname()}"]
    document: dict[str, object] = {
        "format": "mspctl.prove/1",
        "begun": now.isoformat(),
        "proofs": [_document(trial, ended.get(trial.key)) for trial in _ordered(wanted)],
    }
    return View("prove", "PROVE", facts, blocks, _summary(wanted, made), document=document)


def _summary(wanted: Sequence[Trial], made: Sequence[Proof]) -> str:
    if not wanted:
        return "No live test is declared here."
    counted = Counter(proof.verdict for proof in made)
    said = ", ".join(f"{counted[verdict]} {verdict}" for verdict in Verdict if counted[verdict])
    left = len(wanted) - len(made)
    return f"{count(len(made), 'proof')}: {said or 'nothing'}." + (f" {left} not begun." if left else "")


def _made(trial: Trial, proof: Proof | None) -> Iterator[Line]:
    if proof is None:
        yield Line(Tone.QUIET, "not begun", path(trial), "", trial.source)
        return
    tone, label = _TONES[proof.verdict], str(proof.verdict)
    seconds = f"{count(len(proof.steps), 'step')} in {proof.seconds:.1f} s"
    if proof.verdict is Verdict.PASSED:
        yield Line(tone, label, path(trial), f"{seconds}: {'; '.join(map(_step, proof.steps))}", trial.source)
        return
    yield Line(tone, label, path(trial), seconds, trial.source)
    for step in proof.steps:
        yield Line(_TONES[step.verdict], str(step.verdict), "", _step(step))


def _step(step: Step) -> str:
    seconds = f" ({step.seconds:.2f} s)" if step.seconds is not None else ""
    return f"{step.what}{seconds}" + (f": {step.said}" if step.said else "")


# -- elsewhere --------------------------------------------------------------------------------------------------


def fact(trials: Sequence[Trial], proved: Mapping[Key, Proof], now: datetime) -> str:
    """In a few words; "" where nothing is to be proved. What is wrong is a finding."""
    passed = [p for t in trials if (p := proved.get(t.key)) and p.verdict is Verdict.PASSED]
    if not trials:
        return ""
    oldest = f", the oldest {_age(now - min(proof.made for proof in passed))} ago" if passed else ""
    return f"{len(passed)} of {count(len(trials), 'proof')} passed{oldest}"


def lines(trials: Iterable[Trial], proved: Mapping[Key, Proof], now: datetime) -> Iterator[str]:
    """A line for each, with how and when it ended last."""
    for trial in _ordered(trials):
        said = line(trial, proved.get(trial.key), now)
        yield f"  {style(f'proof {said.name}', bold=True)}  {said.label} {said.detail}  {style(said.source, dim=True)}"


def line(trial: Trial, last: Proof | None, now: datetime) -> Line:
    if last is None:
        return Line(
            Tone.QUIET, "never made", path(trial), f"every {_age(timedelta(seconds=trial.every))}", trial.source
        )
    detail = f"{_age(now - last.made)} ago, in {last.seconds:.1f} s"
    if last.verdict is not Verdict.PASSED:
        detail += f"; passed last {_age(now - last.passed)} ago" if last.passed else "; never passed"
    tone = Tone.QUIET if last.verdict is Verdict.PASSED else _TONES[last.verdict]
    return Line(tone, str(last.verdict), path(trial), detail, trial.source)


def documents(trials: Iterable[Trial], proved: Mapping[Key, Proof]) -> list[dict[str, Any]]:
    return [_document(trial, proved.get(trial.key)) for trial in _ordered(trials)]


def _document(trial: Trial, proof: Proof | None) -> dict[str, Any]:
    scope = trial.scope
    said: dict[str, Any] = {"customer": scope.customer, "target": scope.target, "path": path(trial)}
    said |= {"section": trial.section, "every": trial.every, "source": trial.source, "verdict": None}
    if proof:
        said |= {"verdict": str(proof.verdict), "made": proof.made.isoformat(), "seconds": round(proof.seconds, 3)}
        said |= {"passed": proof.passed and proof.passed.isoformat(), "steps": [step_to_json(s) for s in proof.steps]}
    return said


def _ordered(trials: Iterable[Trial]) -> list[Trial]:
    return sorted(trials, key=lambda trial: (trial.scope.customer, path(trial), trial.section))


def _age(time: timedelta) -> str:
    """In the largest unit that says enough: "3 d", "5 h", "12 min"."""
    seconds = max(0, int(time.total_seconds()))
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit or (unit == 60 and seconds >= unit):
            return f"{seconds // unit} {name}"
    return f"{seconds} s"
