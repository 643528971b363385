"""
People who come, leave, or get another name: edits of a customer's mail.yaml. `doors.py` does the same for firewalls.

Each function gives edits of YAML in place. What they come to is read as `load` reads it, and offered to the target's
reader, before anything is written; a problem with what was typed names the option it was typed for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from difflib import SequenceMatcher
from typing import Any, Protocol

from mspctl import edit, strict_yaml
from mspctl.desired import Rewritten, Selection, declarations
from mspctl.edit import Edit, Keys
from mspctl.errors import InputError, Problem
from mspctl.kinds import dns, mail
from mspctl.load import Estate, load
from mspctl.model.base import dotted, nearest
from mspctl.model.permissions import APPROVAL_DAYS
from mspctl.model.sections import mail as section
from mspctl.model.sections.mail.people import Leaver
from mspctl.moments import Clock, Moment
from mspctl.plan import Plan, Standing, Step, accept
from mspctl.record import ScopeRecord
from mspctl.resource import Id, Scope, Value
from mspctl.strict_yaml import Map, Problems, find_value
from mspctl.targets import Targets

Entry = dict[str, edit.Plain]
_OPTIONS = {"": "ADDRESS", "aliases": "--alias", "forwards": "--forward"}


class Subject(Protocol):
    """What a command edits YAML for: somebody's address, a firewall."""

    @property
    def customer(self) -> str: ...
    @property
    def section(self) -> str: ...
    @property
    def file(self) -> str:
        """The file that is edited, from the repository's root."""

    @property
    def address(self) -> str:
        """What it is called."""


@dataclass(frozen=True, slots=True)
class Person:
    """An address of a customer, and where the customer's file has its domain."""

    customer: str
    domain: str
    key: str  # of the domain in the file
    local: str
    data: Map  # the customer's own mail.yaml, without its baseline

    @property
    def address(self) -> str:
        return f"{self.local}@{self.domain}"

    @property
    def section(self) -> str:
        return "mail"

    @property
    def file(self) -> str:
        return _file(self.customer)

    def path(self, *keys: str) -> tuple[str, ...]:
        return ("domains", self.key, *keys)

    def own(self, *keys: str | int) -> Any:
        """What the customer's own file says of the domain there."""
        return find_value(self.data, ("domains", self.key, *keys))

    def spelled(self, kind: str, local: str) -> str | None:
        """How the file spells a name, if it is there."""
        held = self.own(kind)
        names = held if isinstance(held, Map) else ()
        return next((name for name in names if mail.fold_local(name) == local), None)


@dataclass(frozen=True, slots=True)
class Edited:
    """The file before and after, and what all files come to then."""

    rewritten: Rewritten
    estate: Estate


# -- what is edited ---------------------------------------------------------------------------------------------


def person(estate: Estate, customer: str, typed: str, option: str = "ADDRESS") -> Person:
    """The address that is meant; without a domain, where the customer has only one. Raises InputError."""
    domains = _domains(estate, customer)
    local, at, end = typed.rpartition("@") if "@" in typed else (typed, "", "")
    try:
        folded = dns.fold_zone(end) if at else next(iter(domains)) if len(domains) == 1 else ""
        local = mail.fold_local(local)
    except ValueError as error:
        raise InputError.at(option, str(error)) from None
    if not folded:
        raise InputError.at(option, f"{typed} has no domain (which of {', '.join(domains) or 'none'}?)")
    return _person(estate, customer, folded, local, option)


def everybody(estate: Estate, customer: str, typed: str) -> Person:
    """All of a domain, by its name. Raises InputError."""
    try:
        return _person(estate, customer, dns.fold_zone(typed), "", "DOMAIN")
    except ValueError as error:
        raise InputError.at("DOMAIN", str(error)) from None


def scope_of(estate: Estate, customer: str, domain: str) -> Scope:
    """Where the mailboxes of a declared domain are."""
    return Scope(_domains(estate, customer)[domain].target, mail.FACET, domain, customer)


def _domains(estate: Estate, customer: str) -> Mapping[str, section.Domain]:
    own = estate.customers[customer].sections.get("mail")
    return own.domains if isinstance(own, section.Section) else {}


def _person(estate: Estate, customer: str, folded: str, local: str, option: str) -> Person:
    domains = _domains(estate, customer)
    if folded not in domains:
        raise InputError.at(option, _no_domain(customer, folded, domains))
    key = next(key for name, key, _ in section.domains_of(estate.customers[customer]) if name == folded)
    text = _text(estate, _file(customer))
    data = strict_yaml.parse(text, _file(customer), Problems())
    return Person(customer, folded, key, local, data if isinstance(data, Map) else Map())


def _no_domain(customer: str, name: str, domains: Mapping[str, section.Domain]) -> str:
    for domain, own in domains.items():
        if name in own.alias_domains:
            return f"{name} only stands for {domain} (write the address with {domain})"
    return f"{name} is no mail domain in {_file(customer)}{nearest(name, domains)}"


def _file(customer: str) -> str:
    return f"customers/{customer}/mail.yaml"


def _text(estate: Estate, file: str) -> str:
    path = estate.root / file
    return path.read_bytes().decode() if path.is_file() else ""


def add(who: Person, entry: Entry, groups: Sequence[str] = ()) -> list[Edit]:
    """A new mailbox, in groups that are there already."""
    _check_free(who, "ADDRESS")
    joined = [_joined(who, group) for group in groups]
    return [edit.Set(who.path("mailboxes", who.local), entry), *joined]


def _check_free(who: Person, option: str) -> None:
    for kind in ("mailboxes", "leavers", "groups"):
        if spelled := who.spelled(kind, who.local):
            line = who.own(kind).marks[spelled].line
            raise InputError.at(option, f"{who.address} is there already, {_file(who.customer)}:{line}")


def _joined(who: Person, group: str) -> Edit:
    known = who.own("groups")
    names = [*known] if isinstance(known, Map) else []
    spelled = next((name for name in names if name.lower() == group.lower()), None)
    if spelled is None:
        raise InputError.at("--group", f"there is no group {group} in {who.domain}{nearest(group, names)}")
    path, held = who.path("groups", spelled), known[spelled]
    if isinstance(held, str):
        return edit.Set(path, [held, who.local])
    if not isinstance(held, list):
        raise InputError.at("--group", f"{group} only says what it changes in its baseline's (edit it by hand)")
    return edit.Insert(path, who.local)


def leave(who: Person, entry: Entry) -> list[Edit]:
    """A mailbox becomes that of somebody who leaves; its further names stay with it."""
    key = _mailbox(who)
    aliases = who.own("mailboxes", key, "aliases")
    more = {"aliases": aliases} if aliases else {}
    return [edit.Delete(who.path("mailboxes", key)), edit.Set(who.path("leavers", key), entry | more)]


def _mailbox(who: Person) -> str:
    """How the file spells the mailbox. Raises InputError where it has none."""
    key = who.spelled("mailboxes", who.local)
    if key is None:
        held = who.own("mailboxes")
        left = who.spelled("leavers", who.local)
        why = "has left already" if left else f"is no mailbox there{nearest(who.local, held or ())}"
        raise InputError.at("ADDRESS", f"{who.local} {why}: {_file(who.customer)}, {who.domain}")
    return key


def rename(who: Person, new: str, was: str, *, keep: bool) -> list[Edit]:
    """
    Another name for a mailbox, in its place and in every list; with `keep`, mail for the old name still arrives.
    `was` is what the server knows it by.
    """
    key = _mailbox(who)
    path = who.path("mailboxes", key)
    _check_free(replace(who, local=new), "NEW")
    edits: list[Edit] = [
        _renamed(where, typed, who, new) for where, typed in _lists(who.data) if _is(who, where, typed)
    ]
    aliases = who.own("mailboxes", key, "aliases")
    names = [aliases] if isinstance(aliases, str) else [*(aliases or ())]
    left = [name for name in names if mail.fold_local(name) != new]  # an alias that becomes the name
    if keep:
        left.append(who.local)
    if left != names:
        edits.append(edit.Set((*path, "aliases"), left) if left else edit.Delete((*path, "aliases")))
    return [*edits, edit.Set((*path, "was"), was), edit.Rename(path, new)]


_LISTS = {"groups", "catch_all", "forwards", "copy_to", "shared_with"}


def _lists(data: Any, keys: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every recipient in a mail.yaml, with its path."""
    if isinstance(data, str):
        if _LISTS.intersection(map(str, keys[2:])):
            yield keys, data
    elif isinstance(data, dict):
        for key, value in data.items():
            yield from _lists(value, (*keys, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _lists(value, (*keys, index))


def _is(who: Person, where: Keys, typed: str) -> bool:
    local, _, end = typed.rpartition("@") if "@" in typed else (typed, "", str(where[1]))
    try:
        return (mail.fold_local(mail.base_of(local)), dns.fold_zone(end)) == (who.local, who.domain)
    except ValueError:
        return False


def _renamed(where: Keys, typed: str, who: Person, new: str) -> Edit:
    local, at, end = typed.partition("@")
    return edit.Set(where, f"{new}{local[len(who.local) :]}{at}{end}")


def listed(who: Person, kind: str, entry: Entry) -> Edit:
    """A line of a domain's list `allow` or `block`."""
    held = who.own(kind)
    path = who.path(kind, "add") if isinstance(held, Map) else who.path(kind)  # what it adds to its baseline's
    return edit.Insert(path, entry)


def last(estate: Estate, who: Person, kind: str) -> Keys:
    """The path of the line that `listed` adds, when the customer's YAML lies over its baseline's."""
    return (*who.path(kind), len(getattr(_domains(estate, who.customer)[who.domain], kind)))


# -- what it comes to -------------------------------------------------------------------------------------------


def edited(
    estate: Estate, who: Subject, edits: Sequence[Edit], entry: Keys = (), called: Mapping[str, str] = _OPTIONS
) -> Edited:
    """
    The file with the edits, after everything was read again with it. `entry` is the path of what was typed: what is
    wrong within it has no line yet, and its keys are `called` otherwise on the command line. Raises InputError; nothing
    is written.
    """
    file = who.file
    before = _text(estate, file)
    after = edit.edit(before, edits, file=file)
    try:
        found = load(estate.root, [who.customer], estate.now, {file: after})
        if refused := _refused(found, who) - _refused(estate, who):
            raise InputError(sorted(refused))
    except InputError as error:
        told = (_typed(problem, dotted(entry), called) for problem in error.problems)
        raise InputError(_as_it_is(problem, file, before, after) for problem in told) from None
    return Edited(Rewritten(file, before, after, 1), found)


def _refused(estate: Estate, who: Subject) -> set[Problem]:
    """What targets could not hold, wherever it stands."""
    targets = Targets(estate)
    found: set[Problem] = set()
    for declaration in declarations(estate, Selection([who.customer], [who.section]), {}, estate.now):
        reader = targets.reader(declaration.scope)
        for resources in (declaration.resources, declaration.later):
            problems = accept(reader, replace(declaration, resources=resources))[1]
            found |= {replace(problem, line=0, column=1) for problem in problems}
    return found


def _typed(problem: Problem, entry: str, called: Mapping[str, str]) -> Problem:
    if not entry or not problem.path.startswith(entry):
        return problem
    key = problem.path[len(entry) :].strip(".").partition("[")[0]
    option = called.get(key, f"--{key.replace('_', '-')}" if key else "")  # without a key it is about all of it
    return Problem("", 0, 1, option, problem.text)


def _as_it_is(problem: Problem, file: str, before: str, after: str) -> Problem:
    """The problem with places in the file that somebody can look at, not in the one that was not written."""
    blocks = SequenceMatcher(None, after.splitlines(), before.splitlines(), autojunk=False).get_matching_blocks()
    lines = {block.a + n + 1: block.b + n + 1 for block in blocks for n in range(block.size)}

    def one(match: re.Match[str]) -> str:
        line = lines.get(int(match[1]))
        return f"{file}:{line}" if line else file

    text = re.sub(rf"{re.escape(file)}:(\d+)", one, problem.text)
    line = lines.get(problem.line, 0) if problem.file == file else problem.line
    return replace(problem, line=line, text=text)


def approvals(estate: Estate, who: Subject, before: Plan, plan: Plan, why: str) -> Rewritten:
    """The customer's approvals.yaml with a line for each change that needs one, and was not planned before."""
    file = f"customers/{who.customer}/approvals.yaml"
    text = _text(estate, file)
    until = _today(estate, who.customer) + timedelta(days=APPROVAL_DAYS)
    planned = {(p.scope, step.change.id): _does(step) for p in before.scopes for step in p.steps}
    waiting = [one for one, step in _unapproved(plan).items() if planned.get(one) != _does(step)]
    lines: list[Entry] = [
        {"resource": f"{scope.facet}/{scope.name}/{id_.name}", "why": why, "until": edit.Bare(f"{until}")}
        for scope, id_ in waiting
    ]
    after = edit.edit(text, [edit.Insert(("approvals",), line) for line in lines], file=file)
    return Rewritten(file, text, after, len(lines))


def _unapproved(plan: Plan) -> dict[tuple[Scope, Id], Step]:
    return {(p.scope, s.change.id): s for p in plan.scopes for s in p.steps if s.standing is Standing.APPROVAL}


def _does(step: Step) -> list[Mapping[str, Value] | None]:
    """What a step does, wherever in the file it is declared."""
    return [side.fields if side else None for side in (step.change.before, step.change.after)]


def next_step(who: Subject, plan: Plan) -> str:
    """For who does not live in Git: what has not happened yet, and what makes it happen."""
    targets = " and ".join(sorted({one.scope.target for one in plan.scopes}))
    merge = f"commit customers/{who.customer} and merge it"
    if _unapproved(plan):
        return f"Nothing has changed on {targets} yet. What needs an approval must be named first; then {merge}."
    if any(one.due for one in plan.scopes):
        return f"Nothing has changed on {targets} yet: mspctl apply -c {who.customer} does it, or {merge}."
    return f"Nothing is to be done on {targets} today; {merge}."


def today(estate: Estate, customer: str) -> str:
    """The customer's day, as it is typed."""
    return str(_today(estate, customer))


def _today(estate: Estate, customer: str) -> date:
    return Clock(estate.now, estate.customers[customer].info.timezone).today


def follows(edited: Edited, who: Person) -> Iterator[tuple[str, str]]:
    """What somebody's leaving comes to, in words: (of what, what)."""
    customer = edited.estate.customers[who.customer]
    own = customer.sections["mail"]
    assert isinstance(own, section.Section), "load puts each section's own model here"
    domain = own.domains[who.domain]
    leaver = domain.leavers[who.local]
    zone = customer.info.timezone
    at_once = leaver.left.begins(zone) <= edited.estate.now
    begins = f"when {leaver.left} {'comes' if leaver.left.time else 'begins'} ({zone}), by itself: mspctl apply --due"
    yield "log-in", f"off {'with the next apply' if at_once else begins}"
    yield "mail", _mail(leaver, [name for name in domain.catch_all if name not in domain.leavers])
    if lists := [*_left(own, who)]:
        yield "lists", f"out of {', '.join(lists)}"
    last = leaver.keep_until or Moment(leaver.left.day + timedelta(seconds=own.keep_for))
    yield "mailbox", f"kept until {last}; then it goes, when a backup of it was proved or somebody approves"


def _mail(leaver: Leaver, catch_all: Sequence[str]) -> str:
    """An address that is switched off is nobody's any more, so servers give its mail to the catch-all."""
    refused = f"goes to {', '.join(catch_all)}, who gets what is nobody's" if catch_all else "is refused"
    goes = [f"goes to {', '.join(leaver.copy_to)}"] if leaver.copy_to else []
    goes += [f"is answered with “{leaver.reply}”"] if leaver.reply else []
    if not goes:
        return refused
    until = f"until {leaver.until}, then it {refused}" if leaver.until else "for as long as the mailbox is kept"
    return f"{' and '.join(goes)}, {until}"


def _left(own: section.Section, who: Person) -> Iterator[str]:
    """The lists in which somebody's name stays, and counts no more."""
    for domain, said in own.domains.items():
        here = "" if domain == who.domain else f"@{domain}"
        held = {
            "group": said.groups,
            "the forwards of": {name: box.forwards for name, box in said.mailboxes.items()},
            "the mailbox": {name: box.shared_with for name, box in said.mailboxes.items()},
            "the copies for": {name: leaver.copy_to for name, leaver in said.leavers.items()},
        }
        for what, lists in held.items():
            names = [name + here for name, members in lists.items() if _in(members, domain, who)]
            if names:
                yield f"{what}{'s' if what == 'group' and len(names) > 1 else ''} {', '.join(names)}"
        if _in(said.catch_all, domain, who):
            yield f"the catch-all of {domain}"


def _in(members: Sequence[str], domain: str, who: Person) -> bool:
    whole = (member if "@" in member else f"{member}@{domain}" for member in members)
    return any((mail.base_of(m.partition("@")[0]), m.partition("@")[2]) == (who.local, who.domain) for m in whole)


def known_as(estate: Estate, who: Person, records: Mapping[Scope, ScopeRecord]) -> str:
    """What the server calls a mailbox: its name, or the one before it while a rename is not applied yet."""
    own = estate.customers[who.customer].sections["mail"]
    box = own.domains[who.domain].mailboxes.get(who.local) if isinstance(own, section.Section) else None
    if box is None or box.was is None:
        return who.local
    mine = [record.resources for scope, record in records.items() if scope.name == who.domain]
    there = any(held[id_].states != (None,) for held in mine if (id_ := Id(mail.MAILBOX, who.local)) in held)
    return who.local if there else box.was
