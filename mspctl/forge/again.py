"""
Once something is merged, other pull requests on the same customers have plans that are not true any more: they are
made again. Knows the forge by its protocol alone.

A run that is under way is not begun once more, and may have begun before the merge: it is waited for.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from mspctl.affected import named, touched
from mspctl.errors import InputError, TargetError, Unreachable
from mspctl.forge import Forge, Pull, Running
from mspctl.forge.review import plan_of
from mspctl.load import Estate

EVERY = 20.0  # seconds between looks at a run that is under way


@dataclass(frozen=True, slots=True)
class Again:
    pull: Pull
    shared: str  # a customer of both
    wrong: str = ""  # why its plan is not made again


def again(
    forge: Forge, estate: Estate, merged: Collection[str], base: str, workflow: str, wait: float = 0
) -> Iterator[Again]:
    """
    Plan the open pull requests into `base` again that touch one of the customers that were `merged`; what is planned
    just now is tried again for `wait` seconds.
    """
    until = time.monotonic() + wait
    todo = [*_others(forge, estate, merged, base)]
    while todo:
        later, last = [], time.monotonic() >= until
        for one in todo:
            # Looked at again: it may be over by now. Being asked, the forge also makes its merge with `base` anew.
            pull = forge.pull(one.pull.number)
            if not pull.open or pull.head != one.pull.head:  # whoever pushed to it had it planned
                continue
            try:
                forge.rerun(plan_of(forge, pull, workflow).run)
                yield one
            except Running as error:
                if last:
                    yield Again(pull, one.shared, f"{error}, and may be older than the merge (mspctl replan, later)")
                else:
                    later.append(one)
            except Unreachable:
                raise
            except (InputError, TargetError) as error:
                yield Again(pull, one.shared, str(error))
        todo = later
        if todo:
            time.sleep(EVERY)


def _others(forge: Forge, estate: Estate, merged: Collection[str], base: str) -> Iterator[Again]:
    for pull in forge.pulls(base) if merged else ():
        names = named(touched(forge.files_of(pull.number)), estate) & {*merged}
        if names and not pull.fork:
            yield Again(pull, min(names))
