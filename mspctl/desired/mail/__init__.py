"""
Mail domains → a scope per domain where its mailboxes are, and one where its mail is filtered (`filtering.py`). What
their zones say is derived in `model/sections/mail/publish.py`.

Who leaves is a mailbox in which nobody logs in; its mail goes to others for a while, and it is in no group any more.
When its time is over it is not declared any more, and since it holds data, it goes only when a backup of it was proved.
A mailbox whose line was simply taken out is one of somebody who left on the day on which that was applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mspctl.desired import Declaration, Keep, Outputs
from mspctl.desired.mail import filtering
from mspctl.kinds import filter as filters
from mspctl.kinds import mail
from mspctl.model.customer import Customer
from mspctl.model.inventory import Inventory
from mspctl.model.sections.mail import Domain, Section, domains_of
from mspctl.model.sections.mail.people import Leaver, Mailbox
from mspctl.moments import Ending, Moment
from mspctl.resource import Id, Resource, Scope, Value
from mspctl.strict_yaml import find

FACETS = (mail.FACET, filters.FACET)
SCOPES = {mail.FACET: ("mail:Domain", mail.FIELDS), filters.FACET: ("mail:Filter", filters.FIELDS)}
OFF: Mapping[str, Value] = {"enabled": False, "receives": False, "keep_copy": True, "forwards": frozenset()}


def declare(customer: Customer, inventory: Inventory, outputs: Outputs, now: datetime) -> Iterator[Declaration]:
    section = customer.sections["mail"]
    assert isinstance(section, Section), "load puts each section's own model here"
    phases = _phases(customer, section, now)
    for domain, key, _ in domains_of(customer):
        own = section.domains[domain]
        target = inventory.targets.get(own.target)
        if target and mail.FACET in target.facets:
            maker = _Maker(customer, own, domain, key, phases)
            maker.make()
            scope = Scope(own.target, mail.FACET, domain, customer.name, customer.info.engine)
            file = f"customers/{customer.name}/mail.yaml"
            yield Declaration(
                scope,
                maker.resources,
                file,
                timed=maker.timed,
                ends=maker.ends,
                later=tuple(maker.later),
                keeps={mail.MAILBOX: Keep(section.keep_for // 86400, OFF)},
            )
        if target and filters.FACET in target.facets:
            yield filtering.declared(customer, section, domain, key, now)


def scopes(customer: Customer) -> Iterator[Scope]:
    section = customer.sections["mail"]
    assert isinstance(section, Section), "load puts each section's own model here"
    for domain, own in section.domains.items():
        for facet in FACETS:
            yield Scope(own.target, facet, domain, customer.name, customer.info.engine)


@dataclass(frozen=True, slots=True)
class Phase:
    """Where somebody who leaves is on the way: still here, gone and answered for, gone, or over."""

    left: bool
    received: bool  # mail is taken, for others
    kept: bool
    says: str  # what time did last: "left 2027-03-05"
    ends: Ending | None  # what it will do next


def phase(leaver: Leaver, zone: str, keep_for: int, now: datetime) -> Phase:
    """The phase at a moment."""
    left = leaver.left.begins(zone)
    last = leaver.keep_until or Moment(leaver.left.day + timedelta(seconds=keep_for))
    over, kept = last.ends(zone), f"kept until {last}"
    copies = (leaver.until.ends(zone) if leaver.until else over) if leaver.copy_to or leaver.reply else left
    if now < left:
        return Phase(False, True, True, "", Ending(left, f"leaves {leaver.left}"))
    if now >= over:
        return Phase(True, False, False, kept.replace("kept", "was kept"), None)
    if now < copies:
        ending = Ending(copies, f"until {leaver.until}" if leaver.until else kept)
        return Phase(True, True, True, f"left {leaver.left}", ending)
    says = f"answered until {leaver.until}" if leaver.until and copies > left else f"left {leaver.left}"
    return Phase(True, False, True, says, Ending(over, kept))


def _phases(customer: Customer, section: Section, now: datetime) -> dict[str, Phase]:
    """Of everybody who leaves one of a customer's domains, by address: groups of another one may name them."""
    return {
        f"{local}@{domain}": phase(leaver, customer.info.timezone, section.keep_for, now)
        for domain, own in section.domains.items()
        for local, leaver in own.leavers.items()
    }


@dataclass(slots=True)
class _Maker:
    """The resources of one domain at one moment."""

    customer: Customer
    own: Domain
    domain: str
    key: str
    phases: Mapping[str, Phase]
    resources: list[Resource] = field(default_factory=list)
    later: list[Resource] = field(default_factory=list)
    timed: dict[Id, str] = field(default_factory=dict)
    ends: dict[Id, Ending] = field(default_factory=dict)
    typed: dict[str, dict[str, str]] = field(default_factory=dict)  # by kind: names → keys as the file has them

    def make(self) -> None:
        for local, mailbox in self.own.mailboxes.items():
            self._mailbox(local, mailbox)
        for local, leaver in self.own.leavers.items():
            self._leaver(local, leaver, self.phases[f"{local}@{self.domain}"])
        for local, members in self.own.groups.items():
            self._alias(local, members, self._source("groups", local))
        if self.own.catch_all:
            self._alias(mail.CATCH_ALL, self.own.catch_all, self._source("catch_all"))
        for name in self.own.alias_domains:
            self.resources.append(mail.alias_domain(name, source=self._source("alias_domains")))
        said = self.own.limits
        if said and (said.mailboxes or said.quota):
            self.resources.append(mail.limits(said.mailboxes or 0, said.quota or 0, self._source("limits")))

    def _mailbox(self, local: str, mailbox: Mailbox) -> None:
        id_, source = Id(mail.MAILBOX, local), self._source("mailboxes", local)
        forwards = self._here(mailbox.forwards, id_)
        fields: dict[str, Value] = {"name": mailbox.name} if mailbox.name else {}
        fields |= {
            "quota": mailbox.quota,
            "enabled": mailbox.enabled,
            "receives": mailbox.enabled or bool(forwards),
            "keep_copy": not forwards or (mailbox.keep_copy and mailbox.enabled),
            "forwards": forwards,
        }
        if mailbox.password:
            fields["password"] = mail.password(mailbox.password.secret or "", mailbox.password.rev)
        fields["shared_with"] = self._here(mailbox.shared_with, id_)  # nobody too: who is taken out must be out
        was = Id(mail.MAILBOX, mailbox.was) if mailbox.was else None
        self.resources.append(Resource(id_, fields, source, was=was))
        for alias in mailbox.aliases:
            self.resources.append(mail.alias(alias, [f"{local}@{self.domain}"], source=source))

    def _leaver(self, local: str, leaver: Leaver, now: Phase) -> None:
        """Only what its leaving changes is declared: its name and quota stay as they are."""
        id_, source = Id(mail.MAILBOX, local), self._source("leavers", local)
        to = self._here(leaver.copy_to, id_) if now.received else frozenset()
        received = now.received and (not now.left or bool(to or leaver.reply))
        fields: dict[str, Value] = {"enabled": False, "receives": received, "keep_copy": not received, "forwards": to}
        if leaver.reply:
            fields["reply"] = leaver.reply if received else ""
        if not now.left:
            self.resources.append(Resource(id_, {"enabled": True}, source))
            self.later.append(Resource(id_, fields, source))
        elif now.kept:
            self.resources.append(Resource(id_, fields, source))
        self._in_time(id_, now)
        for alias in leaver.aliases:
            if received:
                self.resources.append(mail.alias(alias, [f"{local}@{self.domain}"], source=source))
            self._in_time(Id(mail.ALIAS, alias), now)

    def _in_time(self, id_: Id, now: Phase) -> None:
        if now.says:
            self.timed[id_] = now.says
        if now.ends:
            self.ends[id_] = now.ends

    def _alias(self, local: str, members: Iterable[str], source: str) -> None:
        to = self._here(members, Id(mail.ALIAS, local))
        if to:
            self.resources.append(mail.alias(local, to, source=source))

    def _here(self, recipients: Iterable[str], id_: Id) -> frozenset[str]:
        """Whole addresses, without those of people who have left."""
        found = {r if "@" in r else f"{r}@{self.domain}" for r in recipients}
        gone = {a for a in found if (known := self._phase_of(a)) and known.left}
        for address in sorted(gone):
            known = self._phase_of(address)
            self.timed[id_] = f"{address.partition('@')[0]} {known.says}" if known else ""
        return frozenset(found - gone)

    def _phase_of(self, address: str) -> Phase | None:
        local, _, domain = address.partition("@")
        return self.phases.get(f"{mail.base_of(local)}@{domain}")

    def _source(self, kind: str, local: str = "") -> str:
        """Where the file says it; keys may be typed in another case."""
        data = self.customer.data["mail"]
        path = ["domains", self.key, kind]
        if local and kind not in self.typed:
            self.typed[kind] = {mail.fold_local(key): key for key in data["domains"][self.key][kind]}
        path += [self.typed[kind][local]] if local else []
        mark = find(data, path)
        return f"{mark.file}:{mark.line}" if mark else f"customers/{self.customer.name}/mail.yaml"
