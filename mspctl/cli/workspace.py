"""What most commands begin with: the repository, its estate, the ledger, the targets."""

from __future__ import annotations

import getpass
import logging
import os
import secrets
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, date, datetime
from functools import cached_property, partial
from pathlib import Path

from mspctl import retired, sealed
from mspctl.apply import MAX_WAVES, Engine, Held, Outcome, Unheld, apply
from mspctl.cli import console, interrupt
from mspctl.desired import Declaration, Outputs, Selection, declarations, scopes
from mspctl.driver import Reader
from mspctl.errors import InputError, LedgerError
from mspctl.finding import Findings
from mspctl.kinds.answers import ZoneQuestion, ZoneSeen
from mspctl.ledger import Ledger
from mspctl.load import Estate, load
from mspctl.locks import Locks, lock_name
from mspctl.plan import PENDING, Plan, ScopePlan, plan_all
from mspctl.record import Run, ScopeRecord
from mspctl.resource import Cause, Scope, Value
from mspctl.retired import Nowhere
from mspctl.targets import Targets

_LOG = logging.getLogger(__name__)

WORKERS = 8  # targets at once
RUN_ID = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def find_root(directory: str | None) -> Path:
    """The repository: the folder named, else the nearest one above that has customers/ and inventory/."""
    if directory is not None:
        root = Path(directory)
        if not root.is_dir():
            raise InputError.at(directory, "is not a folder")
        return root.resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "customers").is_dir() and (folder / "inventory").is_dir():
            return folder
    raise InputError.at(str(here), "is not in a repository with customers/ and inventory/ (mspctl init makes one)")


class Workspace:
    """One run's view of a repository."""

    def __init__(self, directory: str | None, selection: Selection) -> None:
        self.root = find_root(directory)
        self.selection = selection
        self.estate: Estate = load(self.root, selection.customers)
        self._check_selection()
        self.targets = Targets(self.estate)
        _LOG.info("loaded %d customers from %s", len(self.estate.customers), self.root)

    def _check_selection(self) -> None:
        from mspctl.model import sections
        from mspctl.model.base import nearest

        for asked, known, what in (
            (self.selection.targets, self.estate.inventory.targets.keys(), "target"),
            (self.selection.sections, sections.names(), "section"),
        ):
            for name in asked:
                if name not in known:
                    raise InputError.at("", f"there is no {what} {name!r}{nearest(name, known)}")

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger.open(self.root)

    @cached_property
    def recorded(self) -> dict[Scope, ScopeRecord]:
        return self.ledger.recorded()

    def declare(self, outputs: Outputs) -> list[Declaration]:
        """The declarations that our engine carries out."""
        found = declarations(self.estate, self.selection, outputs, _today())
        declared = [d for d in found if d.scope.engine == "mspctl"]
        for path in self.selection.paths:
            if not any(Selection(paths=[path]).covers(d.scope) for d in declared):
                raise InputError.at("", f"{path} names nothing that is declared (write dns/ZONE or 'dns/ZONE/www A')")
        return declared

    def outputs(self) -> dict[Scope, dict[str, Value]]:
        return {scope: dict(record.outputs) for scope, record in self.recorded.items() if record.outputs}

    def plan(self, causes: frozenset[Cause] = PENDING) -> Plan:
        plans = self._look(causes)
        looked_at = {plan.scope for plan in plans}
        return Plan(plans, datetime.now(UTC), [scope for scope in self.retired if scope not in looked_at])

    def _look(
        self, causes: frozenset[Cause], known: Iterable[ScopePlan] = (), only: Collection[Scope] | None = None
    ) -> list[ScopePlan]:
        """Plans of all scopes, or of some; made anew where a reading hands out what another declares with."""
        declared: dict[Scope, Declaration] = {}
        plans: dict[Scope, ScopePlan] = {}
        for _ in range(MAX_WAVES):
            outputs = self._handed_out([*known, *plans.values()])
            new = [d for d in self._due(outputs) if d != declared.get(d.scope) and (only is None or d.scope in only)]
            if not new:
                break
            declared |= {d.scope: d for d in new}
            plans |= {plan.scope: plan for plan in self._scopes(new, causes)}
        return [*plans.values()]

    def _handed_out(self, plans: Iterable[ScopePlan]) -> dict[Scope, dict[str, Value]]:
        """Outputs as read in this run, else as recorded."""
        outputs = self.outputs()
        for plan in plans:
            if plan.outputs:
                outputs[plan.scope] = {**outputs.get(plan.scope, {}), **plan.outputs}
        return outputs

    def _due(self, outputs: Outputs) -> list[Declaration]:
        """What is declared, and what left Git and may go."""
        return [*self.declare(outputs), *retired.named(self.retired, self.recorded, self.estate, _today())]

    @cached_property
    def retired(self) -> list[Scope]:
        """Scopes that left Git; known only when whole customers are looked at."""
        if self.selection.sections or self.selection.targets or self.selection.paths:
            return []
        wanted = self.selection.customers
        found = retired.retired(self.recorded, {*scopes(self.estate)})
        return [scope for scope in found if not wanted or scope.customer in wanted]

    def _reader(self, scope: Scope) -> Reader:
        """The target's reader. What left Git may be on a target that is not in the inventory any more."""
        target = self.estate.inventory.targets.get(scope.target)
        lost = target is None or scope.facet not in target.facets
        return Nowhere() if lost and scope in self.retired else self.targets.reader(scope)

    def _scopes(self, declared: Sequence[Declaration], causes: frozenset[Cause]) -> list[ScopePlan]:
        recorded = self.recorded
        with ThreadPoolExecutor(WORKERS) as executor, console.progress(len(declared), "reading") as progress:
            wanted = self.selection.wants
            _LOG.info("reading %d scopes; %d are recorded", len(declared), len(recorded))
            found = [*plan_all(declared, self._reader, recorded, executor, causes, wanted, progress)]
        for plan in found:
            _LOG.debug("%s: %d due, %d left, %s", plan.scope, len(plan.due), len(plan.left), plan.error or "read")
        return found

    def findings(self, plan: Plan, *, outside: bool) -> Findings:
        """What is wrong although nothing differs; only with `outside` is anybody asked but the targets of the plan."""
        from mspctl import checks

        now = datetime.now(UTC)
        # Whoever applies it, a zone is in the world: so also those of other engines.
        declared = declarations(self.estate, self.selection, self.outputs(), now.date())
        facts = checks.facts_of(self.estate, declared, plan.scopes, self.recorded, now)
        return checks.find(facts, {"dns": self._ask_the_dns} if outside else {})

    def _ask_the_dns(self, zones: Sequence[ZoneQuestion]) -> dict[ZoneQuestion, ZoneSeen]:
        from mspctl.model.sections.dns import Checks
        from mspctl.transports.dns_questions import Address, Asking
        from mspctl.transports.resolver import look

        said = self.estate.inventory.checks.get("dns")
        own = said if isinstance(said, Checks) else Checks()
        asking = Asking(
            tuple(Address(*each) for each in own.resolvers),
            own.roots,
            own.port,
            own.inside,
            own.timeout,
            own.zone_timeout,
            own.settle,
            own.at_once,
        )
        _LOG.info("asking the DNS about %d zones", len(zones))
        with console.progress(len(zones), "asking the DNS") as progress:
            return look(zones, asking, progress)

    def apply(self, plan: Plan, causes: frozenset[Cause], reason: str, wait: float) -> Outcome:
        """Carry out what a plan shows as due, under locks; scopes are read again first, and only that is done."""
        run = Run(RUN_ID, who(self.root), head(self.root), reason, plan.digest)
        busy = {p.scope for p in plan.scopes if p.due or p.unknown}
        names = {lock_name(scope, self._reader(scope).traits.lock) for scope in busy}
        locks = Locks(self.root)
        with interrupt.orderly(run.id) as signals, ExitStack() as stack:
            stack.callback(_sweep, locks)
            held: Held = Unheld()
            if names:
                held = stack.enter_context(locks.hold(names, run, wait=wait))
                _LOG.info("holding %d locks as run %s", len(names), run.id)
            stop = signals.finish_first()
            # Opened last and so closed first: no worker writes any more when the locks go.
            executor = stack.enter_context(ThreadPoolExecutor(WORKERS))
            first = self._again(plan, busy, causes) if names else [*plan.scopes]
            engine = Engine(self.targets.driver, self.ledger, executor, run, held, stop)
            limit = partial(sealed.later, shown=plan)
            return apply(self._due, engine, causes, self.selection.wants, first, self._handed_out(first), limit)

    def _again(self, plan: Plan, busy: Collection[Scope], causes: frozenset[Cause]) -> list[ScopePlan]:
        """Somebody may have been at work between the plan and the lock: what was shown and still is so."""
        for name in ("ledger", "recorded", "retired"):
            self.__dict__.pop(name, None)
        review = sealed.of(plan, revert=False)
        fresh = self._look(causes, plan.scopes, busy)
        for scope, change in sealed.missed(fresh, review):
            console.hint(f"left alone: {change.id.name} in {scope} was changed by somebody else since the plan")
        return [*(p for p in plan.scopes if p.scope not in busy), *sealed.limit(fresh, review)]


def _today() -> date:
    return datetime.now(UTC).date()


def _sweep(locks: Locks) -> None:
    """Locks of dead runs do not stay, though nobody needs what they lock; that this fails must not fail the run."""
    try:
        locks.sweep()
    except LedgerError as error:
        _LOG.info("locks of dead runs may remain: %s", error)


def who(root: Path) -> str:
    """Who runs this: the person CI names, else Git's idea of the user, else the log-in name."""
    import git

    actor = os.environ.get("GITHUB_ACTOR") or os.environ.get("GITLAB_USER_LOGIN")
    if actor:
        return f"{actor} <{actor}@ci.invalid>"
    config = git.Repo(root, search_parent_directories=True).config_reader()
    login = getpass.getuser()
    name = os.environ.get("GIT_AUTHOR_NAME") or str(config.get_value("user", "name", login))
    return f"{name} <{os.environ.get('GIT_AUTHOR_EMAIL') or config.get_value('user', 'email', f'{login}@localhost')}>"


def head(root: Path) -> str:
    """The commit that is checked out, or "" before the first one."""
    import git

    try:
        return git.Repo(root, search_parent_directories=True).head.commit.hexsha
    except ValueError:
        return ""
