"""The plan that a provider of octoDNS is given: our changes, and no others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mspctl.drivers.octodns.records import held_in, record_of, zone_of
from mspctl.resource import Change

if TYPE_CHECKING:
    from octodns.zone import Zone


def plan_of(provider: Any, live: Zone, exists: bool, changes: Sequence[Change]) -> Any:
    """
    octoDNS's plan with our changes only, less those that the provider takes for none.

    Its own brakes (`raise_if_unsafe`: 30 % of a zone, any change of the apex NS) are not asked. The guards of mspctl
    are stricter, and what they let through somebody may have approved by name: it must not be refused here.
    """
    from octodns.provider.plan import Plan
    from octodns.record import Create, Delete, Update

    desired = zone_of(live.name[:-1])
    old = {change.id: held_in(live, change.id) for change in changes}
    for change in changes:
        if change.after:
            desired.add_record(record_of(change.after, desired, old[change.id]))
    others = live.records - {record for record in old.values() if record}
    for record in others:
        if record._type == "NS" and record.name:  # some look for the delegation beside a DS
            desired.add_record(record, lenient=True)
    desired = provider._process_desired_zone(desired)
    asked = []
    for change in changes:
        before, after = old[change.id], held_in(desired, change.id)
        if change.after is None:
            asked.append(Delete(before))
        elif after:
            asked.append(Update(before, after) if before else Create(after))
    for record in others:  # providers look here for what is still in use
        desired.add_record(record, replace=True, lenient=True)
    return Plan(live, desired, [each for each in asked if provider._include_change(each)], exists)
