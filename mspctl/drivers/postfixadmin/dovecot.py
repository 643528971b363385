"""
What Dovecot does by itself, whatever the tables say: sessions go on, answers are remembered, mailboxes are shared.

It remembers log-ins, quotas and who is not there (`auth_cache_size`), so it is told to forget whoever changed; and it
goes on with sessions that are open, so those of people who may not go on are ended. Both come after the tables have
changed: in the other order a mail program is back before they have. Whether sessions have ended is looked up.

A mailbox is shared by the ACLs of its folders. Who may use its INBOX with all of `RIGHTS` may use the mailbox; whoever
else is named there is shown as Dovecot says it, so that nothing is hidden. What the owner shares of a single folder is
the owner's affair, until somebody who could use the mailbox may not any more: that one is taken out of every folder,
because a folder keeps the ACL of the one that it was made in.

Sources: doveadm-kick(1), doveadm-auth(1), doveadm-acl(1); Dovecot's documentation of its acl plugin.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mspctl.driver import Work, translated
from mspctl.errors import Stale, TargetError, Unreachable
from mspctl.fields import Texts
from mspctl.kinds import mail
from mspctl.resource import UNKNOWN, Change, Id, Value
from mspctl.transports import doveadm
from mspctl.transports.doveadm import NO_SESSION, Command, Doveadm, No, Row

SHARED = "shared_with"
RIGHTS = frozenset("create delete expunge insert lookup post read write write-deleted write-seen".split())
ENDING = 30  # times that we look whether sessions have ended
PAUSE = 0.1  # seconds between two looks
MANY = 20  # domains; for more, all mailboxes of the server are asked at once
SHOWN = 5  # names in a message

People = frozenset[str]  # addresses, and what Dovecot names otherwise
Shares = Mapping[str, People]  # by address of a mailbox


class Settings(doveadm.Settings):
    shares: Texts = ()  # prefixes of the namespaces with other people's mail; without any, nothing can be shared


# -- what follows from changes (pure) -------------------------------------------------------------------------------


@dataclass(slots=True)
class Follows:
    """What Dovecot has to be told after the changes of a domain."""

    forget: set[str] = field(default_factory=set)  # addresses of which it may remember something
    forget_all: bool = False
    end: set[str] = field(default_factory=set)  # addresses, or @domain, whose sessions must not go on
    shares: dict[str, tuple[Id, People]] = field(default_factory=dict)  # by address of a mailbox: who may use it now
    moved: set[str] = field(default_factory=set)  # new addresses of mailboxes


def follows(changes: Iterable[Change], domain: str) -> Follows:
    found = Follows()
    for change in changes:
        after = change.after.fields if change.after else {}
        if change.id.kind == mail.DOMAIN:
            found.forget_all |= "enabled" in change.changed
            if after.get("enabled") is False:
                found.end.add(f"@{domain}")
        elif change.id.kind == mail.MAILBOX:
            _of_mailbox(change, after, domain, found)
    return found


def _of_mailbox(change: Change, after: Mapping[str, Value], domain: str, found: Follows) -> None:
    changed = {*change.changed}
    address = mail.address_of(change.id.name, domain)
    old = mail.address_of(change.before.id.name, domain) if change.before else address
    if change.verb != "update" or changed - {SHARED}:
        found.forget |= {address, old}
    if change.verb in ("delete", "rename"):
        found.end.add(old)
    elif change.verb == "update" and ("password" in changed or ("enabled" in changed and not after["enabled"])):
        found.end.add(address)
    if change.verb == "rename":
        found.moved.add(address)
    wanted = after.get(SHARED)
    if SHARED in changed and isinstance(wanted, frozenset) and (wanted or change.before):
        found.shares[address] = (change.id, wanted)


def may_use(rows: Iterable[Row], address: str) -> dict[str, str]:
    """Who may use a mailbox, as we say it and as Dovecot says it."""
    found = {}
    for row in rows:
        name, rights = str(row["id"]), frozenset(str(row["rights"]).split())
        if row.get("global") or not rights or name.startswith("-") or name in ("owner", f"user={address}"):
            continue
        person = name.removeprefix("user=").lower()
        whole = name.startswith("user=") and rights >= RIGHTS
        found[person if whole else f"{person} ({' '.join(sorted(rights))})"] = name
    return found


def _shares(rows: Iterable[Row]) -> Shares:
    held: dict[str, list[Row]] = {}
    for row in rows:
        held.setdefault(str(row["username"]).lower(), []).append(row)
    found = {address: frozenset(may_use(mine, address)) for address, mine in held.items()}
    return {address: people for address, people in found.items() if people}


def acls(wanted: People, live: Mapping[str, str], address: str, folders: Iterable[str]) -> Iterator[Command]:
    """The commands after which `wanted`, and nobody else, may use a mailbox."""
    new = {f"user={person}": person for person in wanted - live.keys()}
    gone = {name for said, name in live.items() if said not in wanted} - new.keys()
    for folder in folders:
        where = {"user": address, "mailbox": folder}
        yield from (("aclDelete", {**where, "id": name}) for name in sorted(gone))
        yield from (("aclSet", {**where, "id": name, "right": sorted(RIGHTS)}) for name in sorted(new))


# -- talking --------------------------------------------------------------------------------------------------------


class Dovecot:
    """The Dovecot of one target."""

    def __init__(self, api: Doveadm, shares: Sequence[str]) -> None:
        self.api = api
        self.others = tuple(shares)

    @property
    def shares(self) -> bool:
        return bool(self.others)

    def shared(self, domains: Sequence[str]) -> dict[str, Shares | TargetError]:
        """
        By domain, who may use which mailbox; those that nobody else uses are left out.

        Or why Dovecot cannot say it of a domain: one mailbox that is broken is enough. Raises Unreachable.
        """
        found: dict[str, Shares | TargetError] = {}
        all_ = self._acls("*") if len(domains) > MANY else No(0)
        if not isinstance(all_, No):
            return dict.fromkeys(domains, _shares(all_))
        for domain in domains:  # each for itself: once it is a user, it may not list users any more
            rows = self._acls(f"*@{domain}")
            no = f"{self.api.name} {rows}: aclGet *@{domain}"
            found[domain] = TargetError(no) if isinstance(rows, No) else _shares(rows)
        return found

    def _acls(self, mask: str) -> Sequence[Row] | No:
        (answer,) = self.api.ask([("aclGet", {"user": mask, "mailbox": "INBOX"})])
        return answer

    def check(self, work: Work) -> None:
        """Raises Stale when a mailbox that is about to be shared otherwise is not shared as it was read."""
        for change in work.changes if self.shares else ():
            read = change.before.fields.get(SHARED, UNKNOWN) if change.before and SHARED in change.changed else UNKNOWN
            if change.before and read is not UNKNOWN:
                address = mail.address_of(change.before.id.name, work.scope.name)
                try:
                    live = frozenset(self._people(address))
                except Unreachable as error:  # one domain fails, not the tables of all
                    raise TargetError(str(error)) from None
                if live != read:
                    raise Stale(f"{change.before.id.name} was shared otherwise since it was read")

    def follow(self, work: Work) -> tuple[set[Id], str]:
        """
        Tell Dovecot what has changed in the tables; what it did not take is no reason to take them back.

        Ids of mailboxes that are not shared as wanted, and what people have to know of it, or "".
        """
        todo = follows(work.changes, work.scope.name)
        problems: list[str] = []
        try:
            with translated():
                self._forget(todo)
                self._end(todo.end)
        except TargetError as error:
            problems.append(f"the tables have changed, but Dovecot goes on as before: {error}; {_by_hand(todo)}")
        unshared = self._share(todo, problems) if self.shares else set()
        return unshared, "; ".join(problems)

    def _forget(self, todo: Follows) -> None:
        """One by one: of more than 1,024 octets it says that nothing was there, and forgets nothing."""
        if todo.forget_all:
            self._told([("authCacheFlush", {"user": []})])
        else:
            self._told([("authCacheFlush", {"user": [address]}) for address in sorted(todo.forget)])

    # -- sessions ---------------------------------------------------------------------------------------------

    def end(self, whose: set[str]) -> int:
        """End what these addresses have open, and forget what is remembered of them; how many sessions that were."""
        self._told([("authCacheFlush", {"user": [address]}) for address in sorted(whose)])
        open_ = self._sessions(whose)
        self._end(whose)
        return len(open_)

    def _end(self, whose: set[str]) -> None:
        """End sessions. Raises TargetError when some go on."""
        if not whose:
            return
        open_ = self._sessions(whose)
        # All are told, because a session that has just begun is not seen yet.
        masks = [each.replace("*", "?") if not each.startswith("@") else f"*{each}" for each in sorted(whose)]
        for answer in self.api.ask([("kick", {"mask": [mask]}) for mask in masks]):
            if isinstance(answer, No) and answer.code != NO_SESSION:
                raise TargetError(f"{self.api.name} {answer}: kick")
        for _ in range(ENDING):
            open_ = open_ and open_ & self._sessions(whose)
            if not open_:
                return
            time.sleep(PAUSE)
        raise TargetError(f"sessions of {_names(sorted({user for user, _ in open_}))} were told to end and did not")

    def _sessions(self, whose: set[str]) -> set[tuple[str, str]]:
        """Sessions that are open, as user and process."""
        (rows,) = self._told([("who", {})])
        users = [(str(row["username"]).lower(), str(row.get("pids", ""))) for row in rows]
        mine = [(user, pids) for user, pids in users if user in whose or f"@{user.rpartition('@')[2]}" in whose]
        return {(user, pid) for user, pids in mine for pid in re.findall(r"\d+", pids)}

    # -- shares -----------------------------------------------------------------------------------------------

    def _share(self, todo: Follows, problems: list[str]) -> set[Id]:
        """Mailboxes of which it did not work; why is added to `problems`."""
        left, lost = dict(todo.shares), set[str]()
        try:
            with translated():
                for address, (_, wanted) in todo.shares.items():
                    lost |= self._share_one(address, wanted)
                    del left[address]
                self._told([("aclRecalc", {"user": address}) for address in sorted(todo.moved)])
        except TargetError as error:
            problems.append(f"{_names(left or todo.moved)}: not shared as declared: {error}")
        try:
            with translated():
                self._end(lost)
        except TargetError as error:
            problems.append(f"{_names(sorted(lost))} may go on with what is not theirs any more: {error}")
        return {id_ for id_, _ in left.values()}

    def _share_one(self, address: str, wanted: People) -> set[str]:
        """Who may not use it any more."""
        live = self._people(address)
        (rows,) = self._told([("mailboxList", {"user": address, "mailboxMask": ["*"]})])
        others = [name for row in rows if (name := str(row["mailbox"])) != "INBOX" and self._is_own(name)]
        for folders in (others, ["INBOX"]):  # what is read comes last: then all of it is true
            self._told([*acls(wanted, live, address, folders)])
        return {name[5:].lower() for said, name in live.items() if said not in wanted and name.startswith("user=")}

    def _is_own(self, folder: str) -> bool:
        return not folder.startswith(self.others) and folder not in {each.rstrip("/.") for each in self.others}

    def _people(self, address: str) -> dict[str, str]:
        (rows,) = self._told([("aclGet", {"user": address, "mailbox": "INBOX"})])
        return may_use(rows, address)

    def _told(self, commands: Sequence[Command]) -> list[Sequence[Row]]:
        """Answers that are all there, or TargetError."""
        found = []
        for (name, said), answer in zip(commands, self.api.ask(commands), strict=True):
            if isinstance(answer, No):
                raise TargetError(f"{self.api.name} {answer}: {name} {said.get('user', '')}".rstrip())
            found.append(answer)
        return found


def _names(names: Iterable[str]) -> str:
    found = [*names]
    return ", ".join(found[:SHOWN]) + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")


def _by_hand(todo: Follows) -> str:
    """What somebody can do on the server."""
    users = [f"'{user}'" if not user.startswith("@") else f"'*{user}'" for user in sorted(todo.end)]
    steps = ["doveadm auth cache flush", *(f"doveadm kick {user}" for user in users[:SHOWN])]
    return f"on the server: {' && '.join(steps)}{' && …' if len(users) > SHOWN else ''}"
