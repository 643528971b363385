"""Who answers what checks ask: targets, the archive, the inventory, and from outside the DNS."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mspctl import assets
from mspctl.archive import Archive
from mspctl.cli import console
from mspctl.driver import Gauge, Measured, Unmeasured, measured
from mspctl.errors import LedgerError, TargetError
from mspctl.kinds.answers import Answer, NameQuestion, ZoneQuestion, ZoneSeen
from mspctl.kinds.assets import AssetsOf
from mspctl.kinds.firewall import ArchiveQuestion
from mspctl.targets import Targets

if TYPE_CHECKING:
    from mspctl.checks import Ask

WORKERS = 10  # targets at once

_LOG = logging.getLogger(__name__)


def asks(root: Path, targets: Targets, *, outside: bool) -> Mapping[type, Ask]:
    """By the type of a question, who answers it; only with `outside` is anybody asked but targets."""
    found: dict[type, Ask] = {
        Gauge: partial(_measured, targets),
        AssetsOf: partial(assets.looked_up, root),
        ArchiveQuestion: partial(_archived, root),
    }
    if outside:
        found |= {ZoneQuestion: partial(_zones, targets), NameQuestion: partial(_names, targets)}
    return found


def _archived(root: Path, questions: Sequence[ArchiveQuestion]) -> dict[ArchiveQuestion, datetime | Unmeasured | None]:
    """When configurations of devices were archived last."""
    try:
        pages = Archive.fetched(root).pages([each.scope for each in questions])
    except LedgerError as error:
        return dict.fromkeys(questions, Unmeasured(str(error)))
    return {each: pages[each.scope].seen if each.scope in pages else None for each in questions}


def _measured(targets: Targets, gauges: Sequence[Gauge]) -> dict[Gauge, Measured]:
    """What targets say of how they are used, side by side."""
    by_target: dict[tuple[str, str], list[Gauge]] = {}
    for gauge in gauges:
        by_target.setdefault((gauge.scope.target, gauge.scope.facet), []).append(gauge)
    with ThreadPoolExecutor(WORKERS) as executor:
        answers = [*executor.map(partial(_by_one, targets), by_target.values())]
    return {gauge: answer for found in answers for gauge, answer in found.items()}


def _by_one(targets: Targets, gauges: Sequence[Gauge]) -> dict[Gauge, Measured]:
    try:
        return measured(targets.gauged(gauges[0].scope), gauges)
    except TargetError as error:
        return dict.fromkeys(gauges, Unmeasured(str(error)))


def _zones(targets: Targets, zones: Sequence[ZoneQuestion]) -> dict[ZoneQuestion, ZoneSeen]:
    from mspctl.transports.resolver import look

    _LOG.info("asking the DNS about %d zones", len(zones))
    with console.progress(len(zones), "asking the DNS") as progress:
        return look(zones, targets.asking, progress)


def _names(targets: Targets, names: Sequence[NameQuestion]) -> dict[NameQuestion, Answer]:
    from mspctl.transports.resolver import look_up

    _LOG.info("asking the DNS about %d names", len(names))
    with console.progress(len(names), "asking the DNS") as progress:
        return look_up(names, targets.asking, progress)
