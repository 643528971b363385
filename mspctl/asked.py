"""
Who asked for a change, and in which ticket: as its YAML says, and the commits that bring it.

A commit says it in its last lines, as Git's own trailers: `Ticket: 4719`, `Asked-by: jane` or, where a change touches
several customers, `Asked-by: acme/jane`. Who is named has to be a contact of the customer whose `may_authorize` has
every section that is changed. What is wrong is told before everything else in the plan: the reviewer decides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from mspctl import strict_yaml
from mspctl.errors import InputError
from mspctl.fields import NAME
from mspctl.git.command import Git
from mspctl.kinds import on_one_line
from mspctl.load import Estate
from mspctl.model.base import nearest
from mspctl.model.sections import names as sections
from mspctl.plan import ScopePlan
from mspctl.record import Asked
from mspctl.strict_yaml import Data, Map, Problems, Seq

MOST = 100  # trailers that are read; nobody asks for more in one change
LONGEST = 80  # characters of a ticket


@dataclass(frozen=True, slots=True)
class Trailer:
    """What one commit, or a command's option, says."""

    place: str  # "commit 3f2a1bc", "--asked-by"
    text: str


@dataclass(frozen=True, slots=True)
class Trailers:
    tickets: Sequence[Trailer] = ()
    by: Sequence[Trailer] = ()


NOTHING = Trailers()


def of_commits(git: Git, base: str) -> Trailers:
    """What commits since `base` say, the oldest first. Raises InputError for a base that is not here."""
    keys = (f"%(trailers:key={key},valueonly,separator=%x1f)" for key in ("Ticket", "Asked-by"))
    format_ = "%x00".join(["%h", *keys])
    answer = git.call("log", "--reverse", "-z", f"--format={format_}", "--end-of-options", f"{base}..HEAD", "--")
    if answer.code:
        raise InputError.at("", f"{base!r} is no commit that is here (git fetch it)")
    words = answer.text.split("\0")
    tickets, by = list[Trailer](), list[Trailer]()
    for commit, said_tickets, said_by in zip(words[0::3], words[1::3], words[2::3], strict=False):
        place = f"commit {commit.strip()}"
        tickets += [Trailer(place, each) for each in _split(said_tickets)]
        by += [Trailer(place, each) for each in _split(said_by)]
    return Trailers(tickets[:MOST], by[:MOST])


def _split(said: str) -> Iterator[str]:
    for one in said.replace("\x1f", ",").split(","):
        if text := on_one_line(one):
            yield text[:LONGEST]


def asked(
    estate: Estate, plans: Iterable[ScopePlan], said: Trailers, touched: Collection[str] = ()
) -> tuple[Asked, list[str]]:
    """
    Who asked, with what is wrong about it as lines with their places. `touched` are the customers of the whole change,
    of which `plans` may be a part: who is meant is judged by all of them, wherever the others are planned.
    """
    changed = _changed(plans)
    tickets, by, doubts = [one.text for one in said.tickets], list[str](), list[str]()
    for one in said.by:
        name, wrong = _contact(estate, changed, {*touched, *changed}, one)
        by += [name] if name else []
        doubts += wrong
    for customer, ticket, who in _in_yaml(estate, changed):
        tickets += [ticket] if ticket else []
        by += [f"{customer}/{who}"] if who else []
    return Asked(tuple(dict.fromkeys(tickets)), tuple(dict.fromkeys(by))), [*dict.fromkeys(doubts)]


@dataclass(frozen=True, slots=True)
class _Changed:
    """What is due for a customer."""

    sections: frozenset[str]
    places: frozenset[str]  # file:line of what is declared


def _changed(plans: Iterable[ScopePlan]) -> dict[str, _Changed]:
    found: dict[str, _Changed] = {}
    for plan in plans:
        if plan.steps:
            before = found.get(plan.scope.customer, _Changed(frozenset(), frozenset()))
            places = {step.change.after.source for step in plan.steps if step.change.after}
            found[plan.scope.customer] = _Changed(before.sections | {_section(plan)}, before.places | places)
    return found


def _section(plan: ScopePlan) -> str:
    """By the file that declares it: customers/acme/mail.yaml, customers/acme/firewall/sede.yaml."""
    words = plan.source.split("/")
    name = words[2].partition(".")[0] if len(words) > 2 and words[0] == "customers" else ""
    return name if name in sections() else plan.scope.facet


# -- from commits ---------------------------------------------------------------------------------------------


def _contact(
    estate: Estate, changed: dict[str, _Changed], touched: Collection[str], said: Trailer
) -> tuple[str, list[str]]:
    """The contact with its customer, if there is one of those planned here, and what is wrong."""
    customer, slash, name = said.text.rpartition("/")
    where = f"{said.place}: asked by {said.text}"
    if slash and customer not in estate.everyone:
        return "", [f"{where}: there is no customer {customer}{nearest(customer, estate.everyone)}"]
    if slash and touched and customer not in touched:
        return "", [f"{where}: nothing of {customer} is changed"]
    meant = [customer] if slash else [each for each in sorted(touched) if name in _contacts(estate, each)]
    if not meant:
        if not touched:
            return (said.text, []) if NAME.fullmatch(name) else ("", [f"{where}: is no contact's id"])
        known = {each for one in touched for each in _contacts(estate, one)}
        whom = ", ".join(sorted(touched)[:3])
        return "", [f"{where}: is no contact of {whom}{nearest(name, known)} (customer.yaml: contacts)"]
    if len(meant) > 1:
        return "", [f"{where}: is a contact of {', '.join(meant)} (write {meant[0]}/{name})"]
    if (may := _contacts(estate, meant[0]).get(name)) is None:
        return "", [f"{where}: is no contact (customers/{meant[0]}/customer.yaml: contacts)"]
    if changed and meant[0] not in changed:
        return "", []  # it is said where that one is planned
    missing = sorted(changed[meant[0]].sections - {*may}) if meant[0] in changed else []
    file = f"customers/{meant[0]}/customer.yaml"
    return f"{meant[0]}/{name}", [
        f"{where}: may not ask for changes of {each} ({file}: may_authorize)" for each in missing
    ]


def _contacts(estate: Estate, customer: str) -> dict[str, tuple[str, ...]]:
    one = estate.everyone.get(customer)
    return {each.id: each.may_authorize for each in one.info.contacts} if one else {}


# -- from YAML ------------------------------------------------------------------------------------------------


def _in_yaml(estate: Estate, changed: dict[str, _Changed]) -> Iterator[tuple[str, str, str]]:
    """(customer, ticket, contact) beside what is changed; `validate` has checked them."""
    for customer, one in changed.items():
        lines: dict[str, set[int]] = {}
        for place in one.places:
            file, _, line = place.rpartition(":")
            if line.isdecimal() and file.startswith(f"customers/{customer}/"):
                lines.setdefault(file, set()).add(int(line))
        for file, wanted in sorted(lines.items()):
            for entry in _entries(strict_yaml.read(estate.root / file, file, Problems())):
                span = [mark.line for mark in entry.marks.values()]
                if any(min(span) <= line <= max(span) for line in wanted):
                    yield customer, str(entry.get("ticket") or ""), str(entry.get("asked_by") or "")


def _entries(data: Data) -> Iterator[Map]:
    """Mappings that say who asked."""
    if isinstance(data, Map):
        if "ticket" in data or "asked_by" in data:
            yield data
        for value in data.values():
            yield from _entries(value)
    elif isinstance(data, Seq):
        for value in data:
            yield from _entries(value)
