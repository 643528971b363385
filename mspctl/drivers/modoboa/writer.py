"""
The changes of one domain, call by call.

Modoboa demands that a recipient on one of its own domains is there, does more than it is asked for when an account is
switched off or deleted, and gives out no more than a domain's quota at any moment; the order of the calls is its order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any, Protocol

from mspctl import hashes
from mspctl.driver import Landed, Passwords, Work
from mspctl.drivers.modoboa import native
from mspctl.drivers.modoboa.api import Api, making_sense
from mspctl.drivers.modoboa.native import MATTERS, Row, Rows, State, base, folded
from mspctl.errors import Stale, TargetError
from mspctl.kinds import mail
from mspctl.resource import UNKNOWN, Change, Id, Resource, Value
from mspctl.secrets import Secret

FRESH = 1.0  # seconds for which nothing is asked again before it is written

UPDATE, DELETE, CREATE = "update", "delete", "create"
# First what leads away from what goes; then what frees room, then what needs it, and who leads there.
ORDER = (
    (mail.ALIAS, UPDATE), (mail.ALIAS, DELETE), (mail.ALIAS_DOMAIN, DELETE), (mail.MAILBOX, DELETE),
    (mail.DOMAIN, CREATE), (mail.DOMAIN, UPDATE), (mail.DOMAIN, DELETE), (mail.MAILBOX, UPDATE), (mail.MAILBOX, CREATE),
    (mail.ALIAS_DOMAIN, UPDATE), (mail.ALIAS_DOMAIN, CREATE), (mail.ALIAS, CREATE),
)  # fmt: skip


class Settings(Protocol):
    @property
    def domain_limits(self) -> bool: ...
    @property
    def keep_files(self) -> bool: ...


class Writer:
    def __init__(self, api: Api, settings: Settings, passwords: Passwords, work: Work) -> None:
        self.api, self.settings, self.passwords, self.work = api, settings, passwords, work
        self.domain = work.scope.name
        self.todo = sorted(work.changes, key=_rank)
        self.error: TargetError | None = None
        self.is_told = False  # what became of it
        self.words: dict[Id, Secret] = {}
        self.rows = Rows(self.domain)
        self.begun = False
        self.read_at = 0.0
        self.gone = work.gone  # and is to be removed yet
        self._spellings: dict[str, str] = {}  # of other domains

    @property
    def is_finished(self) -> bool:
        return bool(self.error) or not (self.todo or self.gone)

    def landed(self) -> Iterator[Landed]:
        """What is true now, in the order in which it was asked for."""
        left = {change.id for change in self.todo}
        yield from (Landed(self.work.scope, change) for change in self.work.changes if change.id not in left)

    def promised(self) -> set[str]:
        """Addresses that there will be here, and that are not there yet."""
        new = (c.id for c in self.todo if c.verb == CREATE and c.id.kind in (mail.MAILBOX, mail.ALIAS))
        return {mail.address_of(id_.name, self.domain) for id_ in new}

    def go_on(self, awaited: Collection[str], *, last: bool) -> None:
        """
        Make what can be made now. Raises TargetError; what was made until then is made.

        `awaited`: addresses of other domains that will be there; `last`: nothing more is waited for.
        """
        if not (self.todo or self.gone):
            return
        self._look_again()
        while ready := next((c for c in self.todo if not self._waits(c, awaited)), None):
            self._make(ready)
        while last and self.todo:
            self._make(self.todo[0])
        if self.gone and not self.todo:
            self._leave()

    def _make(self, change: Change) -> None:
        steps: dict[str, tuple[Callable[[Change], None], Callable[[Change], None]]] = {
            mail.MAILBOX: (self._put_mailbox, self._drop_mailbox),
            mail.ALIAS: (self._put_alias, self._drop_alias),
            mail.ALIAS_DOMAIN: (self._put_alias_domain, self._drop_alias_domain),
            mail.DOMAIN: (self._put_domain, self._put_domain),
        }
        put, drop = steps[change.id.kind]
        if change.before:
            self._check_fresh(change.id)
        (put if change.after else drop)(change)
        self.todo.remove(change)

    def _waits(self, change: Change, awaited: Collection[str]) -> bool:
        """Whether it sends mail to somebody who is not there yet."""
        fields = change.after.fields if change.after else {}
        own = mail.address_of(change.id.name, self.domain)
        needed = {base(address) for name in ("to", "forwards") for address in mail.addresses(fields.get(name))}
        return not needed.isdisjoint({*awaited, *self.promised()} - {own})

    # -- what was read, and what is there now -----------------------------------------------------------------

    def _look_again(self) -> None:
        """Read all that is here. Raises Stale when what is to be changed is not as it was."""
        known, self.read_at = self.rows, time.monotonic()
        self.rows, held = self._read()
        if self.begun:
            for change in self.todo:
                if _matter(known, change.id) != _matter(self.rows, change.id):
                    raise self._stale(change.id)
            return
        for change in self.todo:
            self._check(change, held)
        self.words = self._passwords()
        if self.rows.domain is None and self.todo:
            self._make_domain()
        self.begun = True

    def _read(self) -> tuple[Rows, dict[Id, Resource]]:
        rows = native.check(self.api.load([self.domain])[self.domain])
        with making_sense(self.domain):
            return rows, {r.id: r for r in native.resources(rows, counted=self.settings.domain_limits)}

    def _check(self, change: Change, held: Mapping[Id, Resource]) -> None:
        before, name = held.get(change.id), change.id.name
        if change.before is None or before is None:
            same = change.before is before
        else:
            same = all(before.fields.get(field) == value for field, value in change.before.fields.items())
        if not same:
            raise self._stale(change.id)
        other = {mail.MAILBOX: mail.ALIAS, mail.ALIAS: mail.MAILBOX}.get(change.id.kind)
        going = {c.id for c in self.todo if c.verb == DELETE}
        if other and change.verb == CREATE and Id(other, name) in held.keys() - going:
            what = "a mailbox" if other == mail.MAILBOX else "an alias"
            raise TargetError(f"{mail.address_of(name, self.domain)} is {what} there already")

    def _check_fresh(self, id_: Id) -> None:
        """Other calls took their time: what is to be changed must be as it was."""
        if time.monotonic() - self.read_at < FRESH:
            return
        for kind, row in _rows_of(self.rows, id_):
            if row and MATTERS[kind](self._again(kind, row, id_)) != MATTERS[kind](row):
                raise self._stale(id_)

    def _again(self, kind: str, row: Row, id_: Id) -> Row:
        found: Row = self.api.call("GET", f"/{kind}/{row['pk']}/", None, self._what(id_))
        return found

    def _stale(self, id_: Id) -> Stale:
        return Stale(f"{id_.name} was changed in Modoboa since it was read")

    def _passwords(self) -> dict[Id, Secret]:
        """All that are written: those that are declared, and for new mailboxes without one what nobody knows."""
        changed = {c.id: c.after.fields["password"] for c in self.todo if c.after and "password" in c.changed}
        said = {id_: str(value) for id_, value in changed.items() if value is not UNKNOWN}
        new = [c.id for c in self.todo if c.id.kind == mail.MAILBOX and c.verb == CREATE and c.id not in said]
        wanted = [(mail.address_of(id_.name, self.domain), value) for id_, value in said.items()]
        found = self.passwords.of(self.work.scope.customer, wanted) if wanted else []
        nobody = {id_: Secret("that nobody knows", hashes.made()) for id_ in new}
        return {**dict(zip(said, found, strict=True)), **nobody}

    # -- calls ------------------------------------------------------------------------------------------------

    def _what(self, id_: Id) -> str:
        """For messages: the address, and where YAML says it."""
        address = mail.address_of(id_.name, self.domain) if id_.kind in (mail.MAILBOX, mail.ALIAS) else id_.name
        if id_.kind == mail.DOMAIN:
            address = self.domain
        source = next((c.after.source for c in self.work.changes if c.id == id_ and c.after), "")
        return f"{address} ({source})" if source else address

    def _call(self, method: str, path: str, body: object, id_: Id) -> Any:
        return self.api.call(method, path, body, self._what(id_))

    def _spelled(self, address: str) -> str:
        """An address on a domain that Modoboa has in Unicode is one only in Unicode."""
        local, _, domain = address.rpartition("@")
        if domain == self.domain:
            return f"{local}@{self.rows.spelled}"
        if "xn--" in domain and domain not in self._spellings:
            rows = self.api.find([domain])
            self._spellings[domain] = str(rows[0]["name"]) if rows else domain
        return f"{local}@{self._spellings.get(domain, domain)}"

    # -- mailboxes --------------------------------------------------------------------------------------------

    def _put_mailbox(self, change: Change) -> None:
        assert change.after is not None, "what is put is there afterwards"
        id_, local, address = change.id, change.id.name, f"{change.id.name}@{self.domain}"
        fields = dict(change.before.fields if change.before else {}) | _known(change.after.fields)
        row, alias = self.rows.accounts.get(local), self.rows.aliases.get(local)
        want, now = State.wanted(fields), State.read(row, alias, address) if row else None
        body = native.account({"name": "", "quota": 0, **fields} if row is None else _only(fields, change.changed))
        if id_ in self.words:
            body["password"] = self.words[id_].reveal_text()
        # The alias that cannot be seen goes off with the account, and stays off.
        off_and_on = want.silent and (now is None or (now.active and now.keeps))
        if want != now:
            body["is_active"] = want.active and not off_and_on
            body.setdefault("mailbox", {})["is_send_only"] = want.send_only
        along = self._off_with(row, address) if row and now and now.active and body.get("is_active") is False else []
        made = self._write_account(body, row, id_)
        # Sessions that are open go on. Who can end them (Dovecot's doveadm) would do it here, once the account is off.
        calls: list[tuple[str, str, object]] = []
        if off_and_on:
            calls.append(("PATCH", f"/accounts/{made['pk']}/", {"is_active": True}))
        for other in along:
            calls.append(("PATCH", f"/aliases/{other['pk']}/", {"recipients": other["recipients"], "enabled": True}))
        try:
            while calls:
                self._call(*calls[0], id_)
                del calls[0]
            if want != now and (alias or want != native.USUAL or (now and not now.active)):
                self._write_alias(local, want.to(address), alias, id_, on=want.receives or not want.forwards)
        except TargetError:
            if row is None:  # nothing is left half made
                calls = [("POST", f"/accounts/{made['pk']}/delete/", {"keepdir": True})]
            for call in calls:
                with suppress(TargetError):
                    self._call(*call, id_)
            raise

    def _write_account(self, body: dict[str, Any], row: Row | None, id_: Id) -> Row:
        if row is None:
            address = f"{id_.name}@{self.rows.spelled}"
            made: Row = self._call("POST", "/accounts/", {"username": address, "role": "SimpleUsers", **body}, id_)
            return made
        if body:
            self._call("PATCH", f"/accounts/{row['pk']}/", body, id_)
        return row

    def _off_with(self, row: Row, address: str) -> list[Row]:
        """Aliases that Modoboa switches off with this account, because they lead nowhere else; of any domain."""
        found = [alias for name, alias in self.rows.aliases.items() if f"{name}@{self.domain}" != address]
        others = [each for each in row["aliases"] or () if native.split(each)[1] != self.domain]
        for domain in sorted({each.rpartition("@")[2] for each in others}):
            found += [alias for alias in self.api.rows("aliases", domain=domain) if alias["address"] in others]
        return [a for a in found if a["enabled"] and [base(folded(r)) for r in a["recipients"]] == [address]]

    def _drop_mailbox(self, change: Change) -> None:
        row, address = self.rows.accounts.pop(change.id.name), f"{change.id.name}@{self.domain}"
        body = {"keepdir": self.settings.keep_files}
        self._call("POST", f"/accounts/{row['pk']}/delete/", body, change.id)
        self.rows.aliases.pop(change.id.name, None)
        self.rows.forget(address, mailbox=True)

    # -- aliases, alias domains, the domain itself ------------------------------------------------------------

    def _put_alias(self, change: Change) -> None:
        assert change.after is not None, "what is put is there afterwards"
        fields, row = change.after.fields, self.rows.aliases.get(change.id.name)
        to = frozenset(mail.addresses(fields["to"]))
        self._write_alias(change.id.name, to, row, change.id, on=bool(fields.get("enabled", True)))

    def _write_alias(self, local: str, to: frozenset[str], row: Row | None, id_: Id, *, on: bool) -> None:
        body = native.alias(to, row, self._spelled, on=on)
        if row is None:
            address = mail.address_of(local, self.rows.spelled)
            self.rows.aliases[local] = self._call("POST", "/aliases/", {"address": address, **body}, id_)
            return
        for _ in range(2):  # what is there with another extension goes with the first call, and comes with the second
            answer = self._call("PATCH", f"/aliases/{row['pk']}/", body, id_)
            self.rows.aliases[local] = answer
            if native.recipients(answer) == to:
                return

    def _drop_alias(self, change: Change) -> None:
        row, address = self.rows.aliases.pop(change.id.name), mail.address_of(change.id.name, self.domain)
        self._call("DELETE", f"/aliases/{row['pk']}/", None, change.id)
        self.rows.forget(address, mailbox=False)

    def _put_alias_domain(self, change: Change) -> None:
        assert change.after is not None, "what is put is there afterwards"
        assert self.rows.domain is not None, "it is made before anything else"
        body: dict[str, Any] = {"enabled": change.after.fields["enabled"]}
        if row := self.rows.alias_domains.get(change.id.name):
            self._call("PATCH", f"/domainaliases/{row['pk']}/", body, change.id)
        else:
            body |= {"name": change.id.name, "target": self.rows.domain["pk"]}
            self._call("POST", "/domainaliases/", body, change.id)

    def _drop_alias_domain(self, change: Change) -> None:
        row = self.rows.alias_domains.pop(change.id.name)
        self._call("DELETE", f"/domainaliases/{row['pk']}/", None, change.id)

    def _put_domain(self, change: Change) -> None:
        assert self.rows.domain is not None, "it is made before anything else"
        fields = {**mail.USUAL, **(change.after.fields if change.after else {})}
        body = native.domain(fields, counted=self.settings.domain_limits)
        self._call("PATCH", f"/domains/{self.rows.domain['pk']}/", body, change.id)

    def _make_domain(self) -> None:
        row = self._call("POST", "/domains/", native.new_domain(self.domain), mail.DOMAIN_ID)
        self.rows.domain = row
        if self.settings.domain_limits:
            self.rows.domain = self._call("PATCH", f"/domains/{row['pk']}/", native.UNLIMITED, mail.DOMAIN_ID)

    def _leave(self) -> None:
        """The domain itself goes, unless something is in it."""
        rows, _ = self._read()
        if rows.domain and rows.is_empty:
            self._call("POST", f"/domains/{rows.domain['pk']}/delete/", {"keep_folder": True}, mail.DOMAIN_ID)
        self.gone = False


def _rank(change: Change) -> tuple[int, int]:
    """The order of calls; mailboxes that shrink come before those that grow."""
    sizes = [r.fields.get("quota", 0) if r else 0 for r in (change.before, change.after)]
    before, after = (size if isinstance(size, int) and size else 2**60 for size in sizes)
    return ORDER.index((change.id.kind, change.verb)), after - before


def _rows_of(rows: Rows, id_: Id) -> list[tuple[str, Row | None]]:
    """What Modoboa has of one resource, each with the list that it is in."""
    if id_.kind == mail.MAILBOX:
        return [("accounts", rows.accounts.get(id_.name)), ("aliases", rows.aliases.get(id_.name))]
    if id_.kind == mail.ALIAS:
        return [("aliases", rows.aliases.get(id_.name))]
    if id_.kind == mail.ALIAS_DOMAIN:
        return [("domainaliases", rows.alias_domains.get(id_.name))]
    return [("domains", rows.domain)]


def _matter(rows: Rows, id_: Id) -> list[object]:
    return [MATTERS[kind](row) if row else None for kind, row in _rows_of(rows, id_)]


def _known(fields: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in fields.items() if value is not UNKNOWN}


def _only(fields: Mapping[str, Value], names: Collection[str]) -> dict[str, Value]:
    return {name: value for name, value in fields.items() if name in names}
