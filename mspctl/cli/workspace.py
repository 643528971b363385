"""What most commands begin with: the repository, its estate, the ledger, the targets."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from threading import Thread
from typing import TypeVar

from mspctl import due, emergency, guards, retired, sealed, soft_delete
from mspctl.affected import touched_since
from mspctl.apply import MAX_WAVES, Engine, Held, Outcome, Unheld, apply
from mspctl.asked import NOTHING as UNSAID
from mspctl.asked import Trailers, of_commits
from mspctl.asked import asked as who_asked
from mspctl.cli import archiving, asking, console, interrupt, urgent
from mspctl.desired import Declaration, Outputs, Selection, declarations, scopes
from mspctl.driver import Reader
from mspctl.errors import InputError, LedgerError, TargetError
from mspctl.finding import Findings
from mspctl.git.command import Away, Git, RemoteError
from mspctl.ledger import Ledger
from mspctl.load import Estate, load
from mspctl.locks import Locks, lock_name
from mspctl.locks.held import Held as LocksHeld
from mspctl.model.folder import NOTHING
from mspctl.moments import Clock
from mspctl.observations import Observations
from mspctl.other_merges import Declared, Merge, Says, set_aside
from mspctl.plan import PENDING, Plan, ScopePlan, Standing, accept, plan_all
from mspctl.proof import BACKUP, Key, Proof, Trial
from mspctl.record import Emergency, Run, ScopeRecord, login
from mspctl.resource import Cause, Id, Scope, Value
from mspctl.retired import Nowhere
from mspctl.targets import Targets
from mspctl.trusted import trusted

_LOG = logging.getLogger(__name__)
T = TypeVar("T")

WORKERS = 10  # targets at once
FRESH = timedelta(minutes=1)  # after which a plan is made anew in any case, rather than refused by its target
RUN_ID = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def now() -> datetime:
    """The clock of a command; everything below is told what time it is."""
    return datetime.now(UTC)


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

    engine = "mspctl"  # whose customers are looked at

    def __init__(
        self,
        directory: str | None,
        selection: Selection,
        *,
        only_due: bool = False,
        in_emergency: bool = False,
        ahead: bool = False,
        instead: Mapping[str, str] = NOTHING,
        base: str = "",
        said: Trailers = UNSAID,
    ) -> None:
        """
        `only_due`: what time made due, and nothing else. `in_emergency`: if need be, without the remote. `ahead`: the
        ledger is needed, and read while the files are. `instead`: what files would hold, as for `load`. `base`: a
        commit; what is reached otherwise than it says is not contacted. `said`: who asked, besides what commits since
        `base` and the files say.
        """
        self.root = find_root(directory)
        self.selection = selection
        self.only_due = only_due
        self.made_due: dict[Scope, frozenset[Id]] = {}
        self.merge: Merge | None = None  # that is carried out, where that is known
        self._backups: dict[Scope, Proof | None] = {}
        self._made: tuple[tuple[Outputs, datetime], Sequence[Declaration]] | None = None
        self.now = now()
        self._opened = [begun(self.open_ledger)] if ahead else []
        self.estate: Estate = load(self.root, selection.customers, self.now, instead)
        self.urgent = urgent.Urgent(self.root) if in_emergency else None
        self._check_selection()
        self.trusted = trusted(self.estate, base) if base else None
        since = of_commits(Git(self.root), base) if base else UNSAID
        self.said = Trailers([*said.tickets, *since.tickets], [*said.by, *since.by])
        self.touched = touched_since(self.estate, base) if base and self.said.by else frozenset[str]()
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

    def narrow(self, customers: Collection[str]) -> None:
        """From now on only these of the customers that were asked for."""
        self.selection = replace(self.selection, customers=sorted(customers))
        self._made = None

    @property
    def alone(self) -> bool:
        """Whether this run does without the remote."""
        return self.urgent is not None and self.urgent.alone

    def _go_alone(self, error: RemoteError) -> None:
        if self.urgent is None or self.urgent.alone:
            raise error
        self.urgent.go_alone(error)

    def open_ledger(self, *, alone: bool = False) -> Ledger:
        return Ledger.open(self.root, alone=alone).read_ahead()

    @cached_property
    def ledger(self) -> Ledger:
        try:
            return self._opened.pop()() if self._opened else self.open_ledger(alone=self.alone)
        except Away as error:
            self._go_alone(error)
            return self.open_ledger(alone=True)

    @cached_property
    def recorded(self) -> dict[Scope, ScopeRecord]:
        wanted = self.selection.customers
        mine = [scope for scope in scopes(self.estate) if scope.customer in wanted] if wanted else None
        return self.ledger.recorded(mine, wanted)

    def declare(self, outputs: Outputs) -> list[Declaration]:
        """The declarations that this engine carries out."""
        declared = [d for d in self._declarations(outputs) if d.scope.engine == self.engine]
        for path in self.selection.paths:
            if not any(Selection(paths=[path]).covers(d.scope) for d in declared):
                if any(Selection(paths=[path]).covers(d.scope) for d in self._declarations(outputs)):
                    raise InputError.at("", f"{path} is carried out by Pulumi (its customer.yaml says engine: pulumi)")
                raise InputError.at("", f"{path} names nothing that is declared (write dns/ZONE or 'dns/ZONE/www A')")
        return declared

    def _declarations(self, outputs: Outputs) -> Sequence[Declaration]:
        """Of every engine; made once for the same outputs and the same moment."""
        if self._made is None or self._made[0] != (outputs, self.now):
            found = [*declarations(self.estate, self.selection, outputs, self.now)]
            self._made = (outputs, self.now), found
        return self._made[1]

    def wants(self, scope: Scope, id_: Id) -> bool:
        """Whether a resource is meant."""
        meant = not self.only_due or id_ in self.made_due.get(scope, ())
        return meant and self.selection.wants(scope, id_)

    def outputs(self) -> dict[Scope, dict[str, Value]]:
        return {scope: dict(record.outputs) for scope, record in self.recorded.items() if record.outputs}

    def tell_of_others(self) -> None:
        """What is not looked at is told: that nothing is said of it does not mean that nothing is wrong."""
        if (shown := self._others()) and not self.selection.customers:
            text = f"left to Pulumi (engine: pulumi in customer.yaml), and not looked at here: {shown}"
            console.hint(f"{text} (--engine pulumi looks at nothing else)")

    def left_to_others(self, command: str) -> list[str]:
        """Of customers that were asked for by name: one sentence that a report has to have, as jobs of CI name them."""
        if self.only_due or not (self.selection.customers and (shown := self._others())):
            return []
        only = "" if " and " in shown else "".join(f" -c {name}" for name in shown.split(", "))
        return [f"Left to Pulumi, and not looked at here: {shown} (mspctl {command} --engine pulumi{only})"]

    def _others(self) -> str:
        """Names of customers that this engine does not carry out."""
        names = [name for name, customer in self.estate.customers.items() if customer.info.engine != self.engine]
        return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

    def plan(self, causes: frozenset[Cause] = PENDING) -> Plan:
        if self.only_due and not self._time_matters():
            return Plan((), now(), only_due=True)
        self._began = now()
        plans = self._look(causes)
        looked_at = {plan.scope for plan in plans}
        left = [] if self.only_due else [scope for scope in self.retired if scope not in looked_at]
        asked, doubts = who_asked(self.estate, plans, self.said, self.touched)
        moved = self.trusted.moved() if self.trusted else ()
        return Plan(plans, now(), left, self._emergencies(plans), self.only_due, asked, [*moved, *doubts])

    def _time_matters(self) -> bool:
        """Whether anything could be due; if not, the ledger need not be opened."""
        windows = any(target.window for target in self.estate.inventory.targets.values())
        return windows or any(d.keeps or due.concerns(d) for d in self.declare({}))

    def _emergencies(self, plans: Sequence[ScopePlan]) -> list[Emergency]:
        """What a report begins with."""
        if self.only_due and not plans:
            return []
        mine = {scope: r for scope, r in self.recorded.items() if r.emergencies and self.selection.covers(scope)}
        return emergency.outstanding(mine, plans, not emergency.uncommitted(self.root)) if mine else []

    def _look(
        self, causes: frozenset[Cause], known: Iterable[ScopePlan] = (), only: Collection[Scope] | None = None
    ) -> list[ScopePlan]:
        """Plans of all scopes, or of some; made anew where a reading hands out what another declares with."""
        declared: dict[Scope, Declaration] = {}
        plans: dict[Scope, ScopePlan] = {}
        used = None
        for _ in range(MAX_WAVES):
            outputs = self._handed_out([*known, *plans.values()])
            if outputs == used:
                break
            used = outputs
            new = [d for d in self._meant(outputs) if d != declared.get(d.scope) and (only is None or d.scope in only)]
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

    def _meant(self, outputs: Outputs) -> list[Declaration]:
        """What is declared, and what left Git and may go."""
        found = self._with_kept(self.declare(outputs))
        found += retired.named(self.retired, self.recorded, self.estate, self.now)
        if self.urgent:
            found = [replace(d, urgent=True) for d in found]
        found = self._with_proofs(self._with_backups(found))
        if not self.only_due:
            return found
        concerned = [d for d in found if due.concerns(d)]
        self.made_due = {d.scope: due.due(self._accepted(d), self.recorded.get(d.scope)) for d in concerned}
        return [d for d in concerned if self.made_due[d.scope]]

    def _with_kept(self, found: Sequence[Declaration], estate: Estate | None = None) -> list[Declaration]:
        """With what was taken out of Git, and is switched off before it goes. `estate`: whose declarations it is."""
        recorded = self._recorded_of([d.scope for d in found if d.keeps])
        zones = {name: customer.info.timezone for name, customer in (estate or self.estate).customers.items()}
        return [
            soft_delete.kept(d, recorded.get(d.scope), Clock(self.now, zones[d.scope.customer])) if d.keeps else d
            for d in found
        ]

    def _recorded_of(self, asked: Collection[Scope]) -> Mapping[Scope, ScopeRecord]:
        """What is recorded, at least of these, in full."""
        return self.recorded if asked else {}

    def _with_backups(self, found: list[Declaration]) -> list[Declaration]:
        """What is to go because its time is over goes only when a backup of it was proved; so that is looked up."""
        asked = {d.scope for d in found if self._purges(d)}
        if missing := asked - self._backups.keys():
            self._backups |= dict.fromkeys(missing)
            try:
                proved = [p for p in self.observations.proofs(missing).values() if p.section == BACKUP]
                self._backups |= {proof.scope: proof for proof in sorted(proved, key=lambda proof: proof.made)}
            except LedgerError as error:
                console.hint(f"what was proved of backups is not known: {error}")
        return [replace(d, backup=self._backups[d.scope]) if d.scope in asked else d for d in found]

    def _with_proofs(self, found: list[Declaration]) -> list[Declaration]:
        """What something else takes the place of goes only when that was proved; so that is looked up."""
        asked = {d.scope: d for d in found if d.proving and not d.gone and self._leaves(d)}
        if not asked:
            return found
        try:
            proved, unknown = self.observations.proofs(asked.keys()), ""
        except LedgerError as error:
            proved, unknown = {}, str(error)
        why = {
            scope: unknown or guards.unproved(it, proved.get((scope, it.section, it.name)), self.now)
            for scope, d in asked.items()
            if (it := d.proving)
        }
        return [replace(d, unproved=why[d.scope]) if d.scope in why else d for d in found]

    def _leaves(self, declaration: Declaration) -> bool:
        """Whether something is recorded and declared no more that waits for a proof."""
        record, declared = self.recorded.get(declaration.scope), {r.id for r in declaration.resources}
        kinds = declaration.proving.kinds if declaration.proving else ()
        return record is not None and any(
            i.kind in kinds and i not in declared and any(known.states) for i, known in record.resources.items()
        )

    def _purges(self, declaration: Declaration) -> bool:
        """Whether something that holds data is declared no more because its time is over."""
        return bool(declaration.timed) and bool(declaration.over(self._kinds_with_data(declaration.scope)))

    def _kinds_with_data(self, scope: Scope) -> frozenset[str]:
        try:
            return self._reader(scope).traits.holds_data
        except TargetError:  # it is told when the scope is planned
            return frozenset()

    def _accepted(self, declaration: Declaration) -> Declaration:
        try:
            return accept(self._reader(declaration.scope), declaration)[0]
        except TargetError:  # it is told when the scope is planned
            return declaration

    @cached_property
    def retired(self) -> list[Scope]:
        """Scopes that left Git; known only when whole customers are looked at."""
        if self.selection.sections or self.selection.targets or self.selection.paths:
            return []
        wanted = self.selection.customers
        found = retired.retired(self.recorded, {*scopes(self.estate)})
        return [scope for scope in found if not wanted or scope.customer in wanted]

    def ever(self) -> list[Scope]:
        """Scopes of the customers that were asked for: theirs now, and those that were theirs when last recorded."""
        wanted = self.selection.customers
        mine = {scope for scope in (*scopes(self.estate), *self.recorded) if scope.customer in wanted}
        return sorted(mine)

    def _reader(self, scope: Scope) -> Reader:
        """The target's reader. What left Git may be on a target that is not in the inventory any more."""
        target = self.estate.inventory.targets.get(scope.target)
        lost = target is None or scope.facet not in target.facets
        return Nowhere() if lost and scope in self.retired else self.targets.reader(scope)

    def _scopes(self, declared: Sequence[Declaration], causes: frozenset[Cause]) -> list[ScopePlan]:
        recorded = self.recorded
        with ThreadPoolExecutor(WORKERS) as executor, console.progress(len(declared), "reading") as progress:
            _LOG.info("reading %d scopes; %d are recorded", len(declared), len(recorded))
            asked, found = self._contacted(declared)
            found += plan_all(asked, self._reader, recorded, executor, causes, self.wants, progress)
        if self.only_due:
            found = [replace(p, left=[d for d in p.left if self.wants(p.scope, d.id)], accepted=()) for p in found]
        for plan in found:
            _LOG.debug("%s: %d due, %d left, %s", plan.scope, len(plan.due), len(plan.left), plan.error or "read")
        return found

    def _contacted(self, declared: Sequence[Declaration]) -> tuple[list[Declaration], list[ScopePlan]]:
        """Whose target may be asked, and what is said of the others."""
        if self.trusted is None:
            return [*declared], []
        why = {d.scope: self.trusted.refusal(d.scope) for d in declared}
        refused = [ScopePlan(d.scope, d.source, error=why[d.scope], unreachable=True) for d in declared if why[d.scope]]
        return [d for d in declared if not why[d.scope]], refused

    @property
    def declared(self) -> list[Declaration]:
        """All that Git says, of other engines too, with what was taken out and is kept."""
        return self._with_kept(self._declarations(self.outputs()))

    def meant(self) -> list[Declaration]:
        """What this engine carries out, with the ends of that alone which was asked for."""
        mine = (d for d in self.declared if d.scope.engine == self.engine)
        return [replace(d, ends={i: end for i, end in d.ends.items() if self.wants(d.scope, i)}) for d in mine]

    @property
    def history(self) -> Mapping[Scope, ScopeRecord]:
        """All that is recorded of the customers asked for."""
        return self.recorded

    def findings(self, plan: Plan, *, outside: bool) -> Findings:
        """What is wrong although nothing differs; only with `outside` is anybody asked but targets."""
        from mspctl import checks

        # Whoever applies it, a zone is in the world: so also those of other engines.
        facts = checks.facts_of(self.estate, self.declared, plan.scopes, self.history, self.now, self.selection)
        ask = asking.asks(self.root, self.targets, outside=outside)
        return checks.find(facts, ask, outside=outside, trials=self.trials, proved=self.proved)

    # -- proofs

    @cached_property
    def observations(self) -> Observations:
        """What drift runs saw, and what was proved. Raises LedgerError when it cannot be fetched."""
        return Observations.fetched(self.root)

    @cached_property
    def trials(self) -> list[Trial]:
        """Live tests that are declared."""
        from mspctl import proofs

        return proofs.trials(self.estate, self.selection)

    @cached_property
    def proved(self) -> dict[Key, Proof]:
        """How they ended last."""
        return self.observations.proofs({trial.scope for trial in self.trials}) if self.trials else {}

    def prove(self, wanted: Sequence[Trial]) -> tuple[list[Proof], bool]:
        """Make them, side by side; when somebody interrupts (True), what was begun ends, and no further one begins."""
        from mspctl import proofs

        interrupted = False
        with ThreadPoolExecutor(WORKERS) as executor, console.progress(len(wanted), "proving") as progress:
            jobs = [executor.submit(proofs.make, trial, self.targets, self.now) for trial in wanted]
            try:
                for _ in as_completed(jobs):
                    progress(1)
            except KeyboardInterrupt:
                interrupted = True
                console.hint("interrupted: what was begun is finished first")
                executor.shutdown(cancel_futures=True)
        made = [job.result() for job in jobs if not job.cancelled()]
        return made, interrupted

    def record_proofs(self, made: Sequence[Proof]) -> None:
        """Keep them. Raises LedgerError when they cannot be published."""
        run = Run(RUN_ID, who(self.root), head(self.root))
        self.observations.record_proofs(run, made, self.now)

    def apply(self, plan: Plan, causes: frozenset[Cause], reason: str, wait: float) -> Outcome:
        """Carry out what a plan shows as due, under locks, and only that: whatever is not so any more is left alone."""
        run = Run(RUN_ID, who(self.root), head(self.root), reason, plan.digest, asked=plan.asked)
        busy = {p.scope for p in plan.scopes if p.due or p.unknown}
        names = {lock_name(scope, self._reader(scope).traits.lock) for scope in busy}
        if self.urgent:
            closed = [d.closed for d in self._meant(self.outputs()) if d.scope in busy and d.closed]
            run = self.urgent.begin(run, self.now, closed, keep=bool(busy))
        self.locks = Locks(self.root, alone=self.alone, tell=console.hint)
        with interrupt.orderly(run.id) as signals, ExitStack() as stack:
            stack.callback(lambda: _sweep(self.locks))
            held: Held = Unheld()
            if names:
                held = self._lock(stack, names, run, wait)
                _LOG.info("holding %d locks as run %s", len(names), run.id)
            if not self.alone:
                urgent.send(self.root)
            stop = signals.finish_first()
            # Opened last and so closed first: no worker writes any more when the locks go.
            executor = stack.enter_context(ThreadPoolExecutor(WORKERS))
            first = self._again(plan, busy, causes) if names else [*plan.scopes]
            if not self.alone:
                archiving.before_writing(self, {p.scope for p in first if p.due}, run)
            told = any(record.emergencies for record in self.recorded.values())
            committed = not told or not emergency.uncommitted(self.root)
            engine = Engine(self.targets.driver, self.ledger, executor, run, held, stop, now, committed)
            limit = partial(sealed.later, shown=plan)
            outcome = apply(self._meant, engine, causes, self.wants, first, self._handed_out(first), limit)
        if told or self.urgent:
            records = self.ledger.recorded().items()
            outcome.emergencies = [e for s, r in records if self.selection.covers(s) for e in r.emergencies.values()]
        return outcome

    def _lock(self, stack: ExitStack, names: Collection[str], run: Run, wait: float) -> LocksHeld:
        """All locks, given back when `stack` ends; an emergency makes do with those of this machine."""
        try:
            return stack.enter_context(self.locks.hold(names, run, wait=wait))
        except RemoteError as error:
            self._go_alone(error)
            self.locks = Locks(self.root, alone=True, tell=console.hint)
            return stack.enter_context(self.locks.hold(names, run, wait=wait))

    def _again(self, plan: Plan, busy: set[Scope], causes: frozenset[Cause]) -> list[ScopePlan]:
        """Somebody may have been at work between the plan and the lock: what was shown and still is so."""
        before = self._footing(plan)
        for name in ("ledger", "recorded", "retired", "observations"):
            self.__dict__.pop(name, None)
        self._backups.clear()
        self.now = now()  # a day may have ended meanwhile, or a window closed
        review = sealed.of(plan, revert=False)
        after = self._footing(plan) if before else {}
        firm = {scope for scope, footing in before.items() if scope in busy and after.get(scope) == footing}
        fresh = [*(p for p in plan.scopes if p.scope in firm), *self._look(causes, plan.scopes, busy - firm)]
        fresh = self.set_aside(fresh, review)
        for scope, change in sealed.missed(fresh, review):
            console.hint(f"left alone: {change.id.name} in {scope} was changed by somebody else since the plan")
        return [*(p for p in plan.scopes if p.scope not in busy), *sealed.limit(fresh, review)]

    def set_aside(self, plans: Sequence[ScopePlan], review: sealed.Sealed) -> list[ScopePlan]:
        """Without what is for runs of other merges than the one that is carried out."""
        if self.merge is None:
            return [*plans]
        scopes, outputs = {plan.scope for plan in plans if plan.steps}, self._handed_out(plans)
        here = self._as_held(self.estate, scopes, outputs) or {}
        names = {*(self.selection.customers or self.estate.customers), *(scope.customer for scope in scopes)}
        # What left Git can be in main again, and anybody's.
        newer = self.merge.since(names if scopes <= here.keys() else (), self.now) if scopes else None
        before = self._as_held(self.merge.before(names, self.now), scopes, outputs) if scopes else None
        says = Says(here, before, self._as_held(newer, scopes, outputs, replace(self.selection, customers=())))
        return [set_aside(plan, says, {c.id for c in review.changes.get(plan.scope, ())}) for plan in plans]

    def _as_held(
        self, estate: Estate | None, wanted: Collection[Scope], outputs: Outputs, of: Selection | None = None
    ) -> Declared | None:
        """What files declared, or will, as the targets that there are now would hold it."""
        if estate is None:
            return None
        found = [d for d in declarations(estate, of or self.selection, outputs, self.now) if d.scope in wanted]
        return {d.scope: self._accepted(d) for d in self._with_kept(found, estate)}

    def _footing(self, plan: Plan) -> dict[Scope, tuple[Declaration, ScopeRecord | None]]:
        """
        What plans stand on besides the target, where the target itself refuses a write onto anything but what was
        read: there a plan that was just made, and stands on the same, needs no second look. Only where nothing but what
        is not there yet is made, of which no guard counts losses, and nothing is waited for.
        """
        if now() - self._began > FRESH:
            return {}
        sure = {p.scope for p in plan.scopes if _only_creates(p) and self._reader(p.scope).traits.cas == "value"}
        declared = self._meant(self._handed_out(plan.scopes)) if sure else []
        return {d.scope: (d, self.recorded.get(d.scope)) for d in declared if d.scope in sure and not d.scope.after}


def _only_creates(plan: ScopePlan) -> bool:
    due = [step.change for step in plan.steps if step.standing is Standing.DUE]
    return bool(due) and not plan.unknown and all(change.before is None for change in due)


def begun(work: Callable[[], T]) -> Callable[[], T]:
    """Begin in a thread; what is returned waits for the result, or raises what was raised there."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001
            done.set_exception(error)

    Thread(target=run, daemon=True).start()
    return done.result


def _sweep(locks: Locks) -> None:
    """Locks of dead runs do not stay, though nobody needs what they lock; that this fails must not fail the run."""
    try:
        locks.sweep()
    except LedgerError as error:
        _LOG.info("locks of dead runs may remain: %s", error)


def who(root: Path) -> str:
    """Who runs this: the person CI names, else Git's idea of the user, else the log-in name."""
    actor = os.environ.get("GITHUB_ACTOR") or os.environ.get("GITLAB_USER_LOGIN")
    if actor:
        return f"{actor} <{actor}@ci.invalid>"
    known = Git(root).call("var", "GIT_AUTHOR_IDENT")  # "Paolo Zen <paolo@msp.example> 1804237200 +0100"
    name = login()
    return f"{name} <{name}@localhost>" if known.code else known.text.rpartition(">")[0] + ">"


def head(root: Path) -> str:
    """The commit that is checked out, or "" before the first one."""
    return Git(root).call("rev-parse", "--verify", "--quiet", "HEAD").text.strip()
