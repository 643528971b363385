"""
That a firewall lets through what it shall, and nothing else: declared packets are sent for real, from a probe host or
from where mspctl runs, and what becomes of each is held against what was expected.

A trial is all that one probe sends to one device: first what shall be open, then the rest, then what was open once
more. Silence counts as closed only between two answers, so a probe that is unplugged proves nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mspctl.driver import Errands
from mspctl.errors import TargetError
from mspctl.kinds import hosts, on_one_line, probes
from mspctl.kinds.firewall import FACET
from mspctl.kinds.probes import Shot
from mspctl.model.customer import Customer
from mspctl.model.inventory import Inventory
from mspctl.model.sections.firewall import Site, probe_host
from mspctl.model.sections.firewall.names import Names
from mspctl.model.sections.firewall.proving import shot
from mspctl.proof import Trial
from mspctl.proofs import Making
from mspctl.resource import Scope
from mspctl.secrets import Secrets
from mspctl.strict_yaml import find
from mspctl.targets import Targets
from mspctl.transports import machine

SECTION = FACET
PROGRAM = "firewall_probe"  # in playbooks/files
PROGRAMS = Path(__file__).parent.parent / "playbooks/files"
AT_ONCE = 16  # packets that it sends side by side
AROUND = 30  # seconds that it takes besides


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one probe sends, and how long it waits for each answer."""

    probe: str
    shots: Sequence[Shot]
    within: int  # seconds

    @property
    def rounds(self) -> list[list[Shot]]:
        opens = [each for each in self.shots if each.expect == probes.OPEN]
        rest = [each for each in self.shots if each.expect != probes.OPEN]
        return [opens, rest, opens] if rest else [opens]

    @property
    def seconds(self) -> int:
        return sum(-(-len(each) // AT_ONCE) * (self.within + 1) for each in self.rounds) + AROUND


def trials(customer: Customer, inventory: Inventory) -> Iterator[Trial]:
    sites: Mapping[str, Site] = customer.files.get(FACET, {})
    for name, site in sites.items():
        said, names = site.device.proofs, Names(site.device)
        scope = Scope(site.device.target, FACET, name, customer.name, customer.info.engine)
        by_probe: dict[str, list[tuple[int, Shot]]] = {}
        for number, packet in enumerate(said.packets):
            by_probe.setdefault(packet.probe, []).append((number, shot(packet, names)))
        for probe, sent in by_probe.items():
            mark = find(site.data, ("proofs", "packets", sent[0][0]))
            source = f"{mark.file}:{mark.line}" if mark else site.file
            wanted = Wanted(probe, [each for _, each in sent], said.within)
            yield Trial(scope, SECTION, said.every, source, probe, wanted)


def make(trial: Trial, targets: Targets, making: Making) -> None:
    wanted: Wanted = trial.what
    ask = {"rounds": [[_asked(each, wanted.within) for each in sent] for sent in wanted.rounds]}
    said = _here(ask, wanted.seconds) if wanted.probe == probes.HERE else _there(trial, wanted, targets, ask)
    judge(wanted, said, making)


def _asked(each: Shot, within: int) -> dict[str, object]:
    said = {"to": each.to, "family": each.family, "protocol": each.protocol, "port": each.port}
    return {**said, "send": each.send.hex(), "within": within}


def _here(ask: Mapping[str, object], seconds: int) -> Any:
    """The program and what it is asked go in by its standard input, so that nothing is quoted for a shell."""
    text = (PROGRAMS / f"{PROGRAM}.py").read_text(encoding="utf-8")
    call = f"\nimport json, sys\njson.dump(answer(json.loads({json.dumps(ask)!r})), sys.stdout)\n"
    settings = machine.Settings.model_validate({"via": "local", "timeout": str(seconds)})
    with machine.Machine("", settings, Secrets.given({})).session() as session:
        said = session.must([sys.executable, "-"], (text + call).encode(), what="sending packets")
    return json.loads(said)


def _there(trial: Trial, wanted: Wanted, targets: Targets, ask: Mapping[str, object]) -> Any:
    everyone = targets.estate.everyone
    try:
        owner, host, entry = probe_host(everyone[trial.scope.customer], wanted.probe, everyone)
    except ValueError as error:
        raise TargetError(str(error)) from None
    scope = Scope(entry.target or "", hosts.FACET, hosts.scope_name(owner.name, host, SECTION), owner.name)
    driver = targets.driver(scope)
    if not isinstance(driver, Errands):
        raise TargetError(f"nothing can be sent from {wanted.probe} through {entry.target}")
    return driver.errand(scope, [PROGRAM], ask, wanted.seconds)


# -- what it comes to -------------------------------------------------------------------------------------------

_SAID = {
    "answered": "it was answered",
    "refused": "it came through, and whoever is there refused it",
    "rejected": "it was rejected on the way",
    "silent": "no answer within {} s, so it was dropped",
    "unsent": "it could not be sent",
}
_MEETS = {
    probes.OPEN: ("answered",),
    probes.CLOSED: ("silent", "rejected"),
    probes.REFUSED: ("refused", "rejected"),
}


def judge(wanted: Wanted, said: Mapping[str, Any], making: Making) -> None:
    """A step for each packet, from what the probe says became of them."""
    outcomes = [[_outcome(one) for one in answers] for answers in said["rounds"]]
    if [*map(len, outcomes)] != [*map(len, wanted.rounds)]:
        raise TargetError("the probe says nothing of some packets")
    opens, *others = [[*zip(sent, found, strict=True)] for sent, found in zip(wanted.rounds, outcomes, strict=True)]
    for each, found in opens:
        _step(making, each, found, wanted.within)
    if others:
        works = _works(opens, others[1])
        for each, found in others[0]:
            _step(making, each, found, wanted.within, works.get(each.family, ""))


_Found = tuple[str, str, float]  # outcome, what is said of it, seconds


def _outcome(one: Mapping[str, Any]) -> _Found:
    """As a host tells it, which may be in anybody's hands."""
    said = on_one_line(str(one["said"]))[:200]
    outcome = str(one["outcome"])
    return outcome if outcome in _SAID else "unsent", said, float(one["seconds"])


def _works(before: Sequence[tuple[Shot, _Found]], after: Sequence[tuple[Shot, _Found]]) -> dict[int, str]:
    """By family the packet that was answered before and afterwards; so it was all the while."""
    again = {each.id for each, found in after if found[0] == "answered"}
    return {each.family: each.id for each, found in before if found[0] == "answered" and each.id in again}


def _step(making: Making, each: Shot, found: _Found, within: int, works: str = "") -> None:
    outcome, more, seconds = found
    with making.step(f"{each.spoken} is {each.expect} ({each.id})") as trying:
        trying.seconds = seconds
        text = _SAID[outcome].format(within) + (f" ({more})" if more else "")
        if outcome == "unsent":
            trying.unknown(text)
        elif outcome not in _MEETS[each.expect]:
            trying.failed(text)
        elif outcome in ("silent", "rejected") and not works:
            trying.unknown(f"{text}; but the probe reaches nothing that is open, so that says nothing")
        else:
            trying.said = f"{text}; the probe works: {works} was answered before and afterwards" if works else text
