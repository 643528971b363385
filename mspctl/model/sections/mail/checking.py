"""
What is wrong with mail domains as a whole: names that are taken, recipients that nobody is, mail that goes in circles.

Pure: models say what is meant, the data says where it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import dropwhile
from typing import TYPE_CHECKING, TypeVar

from mspctl.fields import spoken_size
from mspctl.kinds import dns, mail, shown
from mspctl.model.base import dotted, nearest
from mspctl.model.sections.mail import senders
from mspctl.model.sections.mail.people import Leaver, Mailbox
from mspctl.moments import Span
from mspctl.strict_yaml import Map, Mark, Problems, find, find_value

if TYPE_CHECKING:
    from mspctl.model.customer import Customer
    from mspctl.model.sections.mail import Domain, Section

T = TypeVar("T")
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class _Name:
    """What a local part is, and where the file says so."""

    what: str  # "a mailbox"
    path: Path
    mark: Mark | None


@dataclass(slots=True)
class _View:
    """One domain: its model, where it stands, and what its names are."""

    domain: str
    own: Domain
    path: Path
    names: dict[str, _Name] = field(default_factory=dict)
    edges: dict[str, list[tuple[str, Path]]] = field(default_factory=dict)  # address → where its mail goes on to


def domains_of(customer: Customer) -> Iterator[tuple[str, str, Mark]]:
    """Each domain, its key in the file and where that stands."""
    if customer.sections.get("mail") is not None:
        domains = customer.data["mail"].get("domains") or Map()
        assert isinstance(domains, Map), "the model says so"
        for key in domains:
            yield dns.fold_zone(key), key, domains.marks[key]


def check(customer: Customer, problems: Problems) -> None:
    """One customer's domains; recipients may be in any of them."""
    section: Section | None = customer.sections.get("mail")  # type: ignore[assignment]
    if section is None:
        return
    views = {d: _View(d, section.domains[d], ("domains", key)) for d, key, _ in domains_of(customer)}
    checker = _Checker(customer, views, problems)
    for view in views.values():
        checker.take_names(view)
    for view in views.values():
        checker.check(view)
    checker.check_circles()


def check_alias_domains(
    customers: Sequence[Customer], domains: Mapping[str, tuple[str, Mark]], problems: Problems
) -> None:
    """An alias domain stands for one domain, and is none itself, whoever's it is."""
    seen = {domain: mark for domain, (_, mark) in domains.items()}
    for customer in customers:
        for domain, key, _ in domains_of(customer):
            section: Section = customer.sections["mail"]  # type: ignore[assignment]
            for number, name in enumerate(section.domains[domain].alias_domains):
                path = ("domains", key, "alias_domains", number)
                mark = find(customer.data["mail"], path)
                if mark is None:
                    continue
                first = seen.setdefault(name, mark)
                if first is not mark:
                    problems.add(mark, dotted(path), f"{name} is a domain in {first.file}:{first.line} already")


class _Checker:
    def __init__(self, customer: Customer, views: Mapping[str, _View], problems: Problems) -> None:
        self.customer = customer
        self.data = customer.data["mail"]
        self.zone = customer.info.timezone
        self.problems = problems
        self.views = views
        aliases = {alias: view for view in views.values() for alias in view.own.alias_domains}
        self.by_domain: dict[str, _View] = {**aliases, **views}

    def add(self, path: Path, text: str, *, at_value: bool = True) -> None:
        self.problems.add(find(self.data, path), dotted(path), text, at_value=at_value)

    # -- names ------------------------------------------------------------------------------------------------

    def take_names(self, view: _View) -> None:
        for kind, what in (("mailboxes", "a mailbox"), ("groups", "a group"), ("leavers", "a leaver")):
            keys = find_value(self.data, (*view.path, kind))
            for key in keys if isinstance(keys, Map) else ():
                self._take(view, mail.fold_local(key), what, (*view.path, kind, key), at_value=False)
        for kind in ("mailboxes", "leavers"):
            keys = find_value(self.data, (*view.path, kind))
            for key in keys if isinstance(keys, Map) else ():
                one: Mailbox | Leaver = getattr(view.own, kind)[mail.fold_local(key)]
                for number, alias in enumerate(one.aliases):
                    self._take(view, alias, f"an alias of {key}", (*view.path, kind, key, "aliases", number))

    def _take(self, view: _View, local: str, what: str, path: Path, *, at_value: bool = True) -> None:
        if len(mail.address_of(local, view.domain)) > mail.MAX_ADDRESS:
            length = len(mail.address_of(local, view.domain))
            text = f"{local}@{view.domain} is too long ({length} characters, at most {mail.MAX_ADDRESS})"
            self.add(path, text, at_value=at_value)
        first = view.names.setdefault(local, _Name(what, path, find(self.data, path)))
        if first.path != path:
            place = f"{first.mark.file}:{first.mark.line}" if first.mark else "another file"
            hint = "; a leaver's mailbox goes" if "a leaver" in (what, first.what) else ""
            text = f"{local} is {first.what} already, at {place} (an address is one thing{hint})"
            self.add(path, text, at_value=at_value)

    # -- one domain -------------------------------------------------------------------------------------------

    def check(self, view: _View) -> None:
        for key, mailbox in self._entries(view, "mailboxes", view.own.mailboxes):
            self._mailbox(view, mail.fold_local(key), mailbox, (*view.path, "mailboxes", key))
        for key, members in self._entries(view, "groups", view.own.groups):
            path = (*view.path, "groups", key)
            self._recipients(view, members, path, mail.fold_local(key))
            if not members:
                self.add(path, "has no members (take the line out, or name some)")
        self._recipients(view, view.own.catch_all, (*view.path, "catch_all"))
        for key, leaver in self._entries(view, "leavers", view.own.leavers):
            self._leaver(view, mail.fold_local(key), leaver, (*view.path, "leavers", key))
        self._limits(view)
        self._proof(view)
        lists = {(*view.path, "allow"): view.own.allow, (*view.path, "block"): view.own.block}
        senders.check(self.customer, lists, self.problems)

    def _entries(self, view: _View, kind: str, models: Mapping[str, T]) -> Iterator[tuple[str, T]]:
        """Keys as they are typed, and what they stand for."""
        keys = find_value(self.data, (*view.path, kind))
        for key in keys if isinstance(keys, Map) else ():
            yield key, models[mail.fold_local(key)]

    def _mailbox(self, view: _View, local: str, mailbox: Mailbox, path: Path) -> None:
        for number, alias in enumerate(mailbox.aliases):
            view.edges[f"{alias}@{view.domain}"] = [(f"{local}@{view.domain}", (*path, "aliases", number))]
        self._recipients(view, mailbox.forwards, (*path, "forwards"), local)
        for number, other in enumerate(mailbox.shared_with):
            at = (*path, "shared_with", number)
            if other == local:
                self.add(at, "is its owner already")
            elif other not in view.own.mailboxes and other not in view.own.leavers:
                self.add(at, f"there is no mailbox {other} in {view.domain}{nearest(other, view.own.mailboxes)}")
        if mailbox.was == local:
            self.add((*path, "was"), "is its name already (leave was out)")
        elif mailbox.was and (first := view.names.get(mailbox.was)) and first.what in ("a mailbox", "a leaver"):
            line = f"line {first.mark.line}" if first.mark else "another line"
            self.add((*path, "was"), f"{mailbox.was} is {first.what} on {line}, so it was not renamed")
        elif mailbox.was:
            named = next(name for name, other in view.own.mailboxes.items() if other.was == mailbox.was)
            if named != local:
                self.add((*path, "was"), f"{mailbox.was} was renamed to {named}, and cannot be two (leave was out)")

    def _leaver(self, view: _View, local: str, leaver: Leaver, path: Path) -> None:
        for number, alias in enumerate(leaver.aliases):
            view.edges[f"{alias}@{view.domain}"] = [(f"{local}@{view.domain}", (*path, "aliases", number))]
        self._recipients(view, leaver.copy_to, (*path, "copy_to"), local)
        for key, since, until in (
            ("until", leaver.left, leaver.until),
            ("keep_until", leaver.left, leaver.keep_until),
            ("keep_until", leaver.until, leaver.keep_until),
        ):
            try:
                Span(self.zone, since, until)
            except ValueError as error:
                self.add((*path, key if until else "left"), str(error))
                return

    def _limits(self, view: _View) -> None:
        limits, path = view.own.limits, (*view.path, "limits")
        mailboxes = len(view.own.mailboxes) + len(view.own.leavers)
        if limits and limits.mailboxes and mailboxes > limits.mailboxes:
            self.add((*path, "mailboxes"), f"{limits.mailboxes} is less than the {mailboxes} mailboxes declared here")
        if limits and limits.quota:
            total = sum(mailbox.quota for mailbox in view.own.mailboxes.values())
            if total > limits.quota:
                text = f"{spoken_size(limits.quota)} is less than the {spoken_size(total)} of all mailboxes together"
                self.add((*path, "quota"), text)

    def _proof(self, view: _View) -> None:
        """Its mailbox keeps what comes, and somebody who may not ask for its password can log in all the same."""
        if view.own.proof is None:
            return
        name, path = view.own.proof.mailbox, (*view.path, "proof", "mailbox")
        mailbox = view.own.mailboxes.get(name)
        if mailbox is None:
            self.add(path, f"there is no mailbox {name} in {view.domain}{nearest(name, view.own.mailboxes)}")
        elif not (mailbox.enabled and mailbox.keep_copy):
            self.add(path, f"nothing can be read in {name} (it must be enabled, and keep_copy)")
        elif not (mailbox.password and mailbox.password.secret):
            text = "needs a password that is named, because it is asked for (password: {secret: NAME, rev: 1})"
            self.add(path, f"{name} {text}")

    # -- recipients -------------------------------------------------------------------------------------------

    def _recipients(self, view: _View, recipients: Iterable[str], path: Path, local: str = "") -> None:
        """Each is known where we can know it; somebody is left; and none is there twice."""
        seen: dict[str, int] = {}
        left = []
        for number, recipient in enumerate(recipients):
            at = (*path, number)
            address = recipient if "@" in recipient else f"{recipient}@{view.domain}"
            if address in seen:
                self.add(at, f"{recipient} is in the list already")
            seen[address] = number
            base, _, domain = address.partition("@")
            there = self.by_domain.get(domain)
            name = mail.base_of(base)
            if local and there is view and name == local:
                self.add(at, f"{local} would send mail to itself")
            elif there and name not in there.names:
                self.add(at, f"{shown(recipient)} is no address of {there.domain}{nearest(name, there.names)}")
            elif there:
                view.edges.setdefault(f"{local or '@'}@{view.domain}", []).append((f"{name}@{there.domain}", at))
            left += [] if there and name in there.own.leavers else [recipient]
        if seen and not left:
            self.add(path, "only people who left are in it (name somebody else, or take it out)")

    # -- circles ----------------------------------------------------------------------------------------------

    def check_circles(self) -> None:
        """Mail that comes back to where it was is bounced, if nobody stops it before."""
        edges = {a: ways for view in self.views.values() for a, ways in view.edges.items()}
        done: set[str] = set()
        for start in edges:
            self._walk(start, edges, done)

    def _walk(self, start: str, edges: Mapping[str, list[tuple[str, Path]]], done: set[str]) -> None:
        """Depth first, without recursion; each address is left for good once."""
        route: dict[str, None] = {}
        waiting: list[tuple[str, Path, bool]] = [(start, (), True)]
        while waiting:
            address, path, enters = waiting.pop()
            if not enters:
                del route[address]
                done.add(address)
            elif address in route:
                circle = " → ".join([*dropwhile(address.__ne__, route), address])
                self.add(path, f"mail would go in a circle: {circle}")
            elif address not in done:
                route[address] = None
                waiting.append((address, path, False))
                waiting += [(to, at, True) for to, at in edges.get(address, ())]
