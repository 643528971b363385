"""Updates whose window is open: what `plan --due` tells of them, and `apply --due` lets hosts install."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mspctl import updates
from mspctl.cli import console, workspace
from mspctl.cli.workspace import RUN_ID, WORKERS, Workspace
from mspctl.driver import Failed, Installs, Reading, translated
from mspctl.errors import LedgerError, TargetError
from mspctl.exits import Exit
from mspctl.kinds.hosts import parts
from mspctl.record import Run
from mspctl.resource import Scope
from mspctl.updates import Facts, Open

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Due:
    """A host that would install now, or of which nobody knows whether it would."""

    host: Open
    facts: Facts
    why: str  # what it would do
    error: str = ""


def find(work: Workspace) -> list[Due]:
    """Only hosts whose window is open are asked."""
    opened = {each.scope: each for each in updates.open_now(work.declare({}), work.now)}
    found = []
    for answer in _each(work, opened):
        host = opened[answer.scope]
        if isinstance(answer, Failed):
            found.append(Due(host, {}, "", str(answer.error)))
        elif why := updates.why(host, answer.facts):
            found.append(Due(host, answer.facts, why))
    return sorted(found, key=lambda each: each.host.scope)


def _each(work: Workspace, opened: Iterable[Scope]) -> Iterator[Reading | Failed]:
    """What hosts say, target by target, side by side."""

    def ask(scopes: list[Scope]) -> list[Reading | Failed]:
        try:
            with translated():
                return [*work.targets.reader(scopes[0]).read(scopes, {})]
        except TargetError as error:
            return [Failed(scope, error) for scope in scopes]

    with ThreadPoolExecutor(WORKERS) as executor:
        for answers in executor.map(ask, _by_target(opened)):
            yield from answers


def _by_target(scopes: Iterable[Scope]) -> list[list[Scope]]:
    found: dict[str, list[Scope]] = {}
    for scope in scopes:
        found.setdefault(scope.target, []).append(scope)
    return [*found.values()]


def tell(found: Iterable[Due], say: Say) -> None:
    for each in found:
        closes = f"{each.host.until:%H:%M} UTC"
        what = f"not known: {each.error}" if each.error else f"{each.why}; the window closes at {closes}"
        say(f"updates of {each.host.host}: {what}")


def install(work: Workspace, found: Sequence[Due], say: Say, reason: str = "") -> Exit:
    """Let them, tell how it went, and record it: before and after, for it is evidence. Raises LedgerError."""
    due = {each.host.scope: each for each in found if not each.error}
    failed = any(each.error for each in found)
    said: dict[Scope, dict[str, object]] = {scope: {"would": each.why} for scope, each in due.items()}
    run = Run(RUN_ID, workspace.who(work.root), workspace.head(work.root), reason)
    _record(work, run, said, over=False)
    for answer in (answer for scopes in _by_target(due) for answer in _install(work, scopes, due)):
        one = due[answer.scope]
        if isinstance(answer, Failed):
            said[answer.scope] |= {"error": str(answer.error)}
            say(f"updates of {one.host.host}: {answer.error}")
        else:
            said[answer.scope] |= updates.done(one.facts, answer.facts)
            say(f"updates of {one.host.host}: {updates.ended(one.host, one.facts, answer.facts)}")
        failed |= isinstance(answer, Failed) or bool(answer.facts.get("failed"))
    try:
        _record(work, run, said, over=True)
    except LedgerError as error:
        console.error(f"what was installed could not be recorded: {error}")
        failed = True
    return Exit.PARTLY if failed else Exit.DONE


def _record(work: Workspace, run: Run, said: Mapping[Scope, Mapping[str, object]], *, over: bool) -> None:
    by_customer: dict[str, dict[str, Mapping[str, object]]] = {}
    for scope, each in said.items():
        by_customer.setdefault(parts(scope)[0], {})[parts(scope)[1]] = each
    for customer, hosts in sorted(by_customer.items()):
        work.ledger.updated(run, customer, hosts, over=over)


def _install(work: Workspace, scopes: list[Scope], due: Mapping[Scope, Due]) -> Iterator[Reading | Failed]:
    moment = workspace.now()
    left = {scope: int((due[scope].host.until - moment).total_seconds()) for scope in scopes}
    try:
        with translated():
            driver = work.targets.driver(scopes[0])
            if not isinstance(driver, Installs):
                raise TargetError("its driver installs nothing")
            yield from driver.install({scope: seconds for scope, seconds in left.items() if seconds > 0})
    except TargetError as error:
        yield from (Failed(scope, error) for scope in scopes)
