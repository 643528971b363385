"""
The quick lane: pull requests of declared low-risk classes merge by themselves. Off unless the base says otherwise.

Both have to say so: the YAML, in which nothing but such entries came in, and the plan, which makes nothing but what
they declare, and in which nothing is held, unread or told on top. Pure: everything it decides by is handed to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from ipaddress import ip_network
from typing import Any

from mspctl import affected
from mspctl.errors import InputError, LedgerError
from mspctl.git.command import Git
from mspctl.kinds import dns, mail
from mspctl.kinds import filter as filters
from mspctl.model.base import validate
from mspctl.model.inventory import QuickClass, QuickLaneFile
from mspctl.moments import Moment
from mspctl.strict_yaml import Data, Map, Problems, Seq, parse

FILE = "inventory/quick_lane.yaml"
NEW_MAILBOX, ALLOW_ENTRY = "new-mailbox", "allow-entry"
_MAIL = re.compile(r"customers/([a-z0-9-]+)/mail\.yaml")
# Who reads one of these may be taken for the customer: by whom certificates are given out, for instance (RFC 2142).
ROLES = frozenset(
    "abuse admin administrator hostmaster info mailer-daemon noc pec postmaster root security ssladmin ssl-admin"
    " sysadmin webmaster".split()
)
EVERYBODYS = frozenset(
    "alice.it aol.com fastwebnet.it gmail.com gmx.com gmx.de gmx.net googlemail.com hotmail.com hotmail.it icloud.com"
    " libero.it live.com live.it mac.com mail.com me.com msn.com outlook.com outlook.it proton.me protonmail.com"
    " tim.it tin.it tiscali.it virgilio.it web.de yahoo.com yahoo.de yahoo.it ymail.com".split()
)
_SHARED = re.compile(r"[^.]+|(?:ac|co|com|edu|gov|net|org)\.[a-z]{2}")  # whose next label is somebody's
NARROW = {4: 24, 6: 64}  # shortest prefixes of networks that are let in with nobody looking
_PLAIN = frozenset({"name", "quota", "password", "aliases"})  # of a new mailbox; what sends mail elsewhere is looked at
_KINDS = {NEW_MAILBOX: mail.MAILBOX, ALLOW_ENTRY: filters.ALLOW}

Texts = Mapping[str, tuple[str, str]]  # path → before and after


@dataclass(frozen=True, slots=True)
class Decision:
    quick: bool
    why: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """Something that came in."""

    change: str
    customer: str
    domain: str
    place: str
    name: str
    said: Mapping[str, Data]


class _No(Exception):
    """Why somebody has to look."""


def classes(text: str) -> Sequence[QuickClass]:
    """Of the base's quick_lane.yaml. One that is wrong is no lane; `validate` says what is wrong."""
    problems = Problems()
    data = parse(text, FILE, problems) if text else None
    found = validate(QuickLaneFile, data, FILE, problems) if data is not None else None
    return found.classes if found and not problems else ()


def changed(git: Git, base: str) -> Texts:
    """What a change comes to, file by file. Raises InputError for a base that is not here."""
    answer = git.call("diff", "--name-only", "--no-renames", "--no-ext-diff", "-z", base, "HEAD", "--")
    if answer.code:
        raise InputError.at("", f"{base!r} is no commit that is here (git fetch it)")
    names = answer.text.split("\0")[:-1]
    objects = git.objects(f"{ref}:{name}" for name in names for ref in (base, "HEAD") if "\n" not in name)
    return {name: (_text(objects.get(f"{base}:{name}")), _text(objects.get(f"HEAD:{name}"))) for name in names}


def of_base(git: Git, base: str) -> Sequence[QuickClass]:
    above = git("rev-parse", "--show-prefix").strip("\n")
    name = f"{base}:{above}{FILE}"
    return classes(_text(git.objects([name])[name]))


def newest(git: Git, branch: str) -> str:
    """The commit that `branch` of the remote has just now. Raises LedgerError."""
    remote = git.remote("the customers")
    if not remote:
        raise LedgerError("there is no remote to ask what main is now")
    git("fetch", "--quiet", "--end-of-options", remote, f"refs/heads/{branch}")
    return git("rev-parse", "FETCH_HEAD^{commit}").strip()


def overtaken(git: Git, base: str, tip: str, texts: Texts) -> str:
    """What came into main since `base` that a plan of these files stood on; "" for nothing."""
    try:
        came = affected.changed(git, base, tip)
    except LedgerError:
        return "its base is not in main"
    rooms = {"inventory", *("/".join(path.split("/")[:2]) for path in texts)}
    found = next((path for path in came if any(path.startswith(f"{room}/") for room in rooms)), "")
    return f"{found if found.isprintable() else repr(found)} is another one in main by now" if found else ""


def _text(content: bytes | None) -> str:
    return (content or b"").decode("utf-8", "replace")


def decide(
    lane: Sequence[QuickClass], texts: Texts, plans: Sequence[Mapping[str, Any]], alarms: Sequence[str], today: date
) -> Decision:
    """`plans` are documents of plans, as reports keep them, and `alarms` what they begin with."""
    try:
        if not lane:
            raise _No(f"the quick lane is off ({FILE} of the base names no class)")
        entries = [entry for path, (before, after) in texts.items() for entry in _entries(path, before, after)]
        if not entries:
            raise _No("nothing came in")
        for entry in entries:
            _check(entry, lane, today)
        if alarms:
            raise _No(f"the plan begins with: {alarms[0]}")
        _check_plans(plans, {(e.customer, dns.fold_zone(e.domain), _KINDS[e.change], e.name) for e in entries})
    except (_No, ValueError) as no:  # a name, or a sender, that is none
        return Decision(False, str(no))
    said = ", ".join(f"{entry.change} {entry.name} of {entry.customer}" for entry in entries)
    return Decision(True, f"nothing but {said}")


# -- the YAML -------------------------------------------------------------------------------------------------


def _entries(path: str, before: str, after: str) -> Iterator[_Entry]:
    found = _MAIL.fullmatch(path)
    if not found:
        raise _No(f"{path if path.isprintable() else repr(path)} is changed")
    problems = Problems()
    old, new = parse(before, path, problems), parse(after, path, problems)
    if problems or not isinstance(old, Map) or not isinstance(new, Map):
        raise _No(f"{path} is new, gone or wrong")
    _same(old, new, path, except_for={"domains"})
    old_domains, new_domains = old.get("domains"), new.get("domains")
    if not isinstance(old_domains, Map) or not isinstance(new_domains, Map) or old_domains.keys() != new_domains.keys():
        raise _No(f"{path}: other domains than before")
    for domain, said in new_domains.items():
        if said == old_domains[domain]:
            continue
        was = old_domains[domain]
        if not isinstance(said, Map) or not isinstance(was, Map):
            raise _No(f"{path}: {domain} is changed")
        _same(was, said, f"{path}: {domain}", except_for={"allow", "mailboxes"})
        yield from _mailboxes(found[1], domain, was.get("mailboxes") or Map(), said.get("mailboxes") or Map(), path)
        yield from _allowed(found[1], domain, was.get("allow") or Seq(), said.get("allow") or Seq(), path)


def _same(old: Map, new: Map, where: str, except_for: set[str]) -> None:
    for key in {*old, *new} - except_for:
        if old.get(key) != new.get(key) or (key in old) is not (key in new):
            raise _No(f"{where}: {key} is changed")


def _mailboxes(customer: str, domain: str, old: Data, new: Data, path: str) -> Iterator[_Entry]:
    if not isinstance(old, Map) or not isinstance(new, Map) or any(new.get(key) != old[key] for key in old):
        raise _No(f"{path}: {domain}: a mailbox that is there is changed")
    for key in new.keys() - old.keys():
        said = new[key] if isinstance(new[key], Map) else Map()
        if more := said.keys() - _PLAIN:
            raise _No(f"{path}:{new.marks[key].line}: {key} has {min(more)}")
        yield _Entry(NEW_MAILBOX, customer, domain, f"{path}:{new.marks[key].line}", mail.fold_local(key), said)


def _allowed(customer: str, domain: str, old: Data, new: Data, path: str) -> Iterator[_Entry]:
    if not isinstance(old, Seq) or not isinstance(new, Seq):
        raise _No(f"{path}: {domain}: allow is changed")
    left = [*old]
    for number, one in enumerate(new):
        if left and one == left[0]:
            left.pop(0)
        elif isinstance(one, Map):
            place = f"{path}:{new.marks[number].line}"
            yield _Entry(ALLOW_ENTRY, customer, domain, place, filters.fold_sender(str(one.get("from"))), one)
        else:
            raise _No(f"{path}: {domain}: allow is changed")
    if left:
        raise _No(f"{path}: {domain}: an entry of allow is changed or gone")


def _check(entry: _Entry, lane: Sequence[QuickClass], today: date) -> None:
    mine = [
        one for one in lane if one.change == entry.change and (not one.customers or entry.customer in one.customers)
    ]
    if not mine:
        raise _No(f"{entry.place}: {entry.change} is no class of the quick lane")
    if entry.change == NEW_MAILBOX:
        _check_mailbox(entry)
    if entry.change == ALLOW_ENTRY:
        _check_sender(entry)
        days = max(one.days for one in mine)
        until = entry.said.get("until")
        try:
            last = Moment.parse(str(until)).day if until else None
        except ValueError:
            last = None
        if last is None or (last - today).days > days:
            raise _No(f"{entry.place}: until is not within {days} days")


def _check_mailbox(entry: _Entry) -> None:
    aliases = entry.said.get("aliases")
    names = {entry.name, *(mail.fold_local(str(each)) for each in (aliases if isinstance(aliases, Seq) else ()))}
    if trusted := names & ROLES:
        raise _No(f"{entry.place}: {min(trusted)}@ is an address that others trust")
    if entry.said.get("password", "generated") != "generated":
        raise _No(f"{entry.place}: its password is not a new one (password: generated)")


def _check_sender(entry: _Entry) -> None:
    if ":" in entry.name or "/" in entry.name or entry.name.replace(".", "").isdecimal():
        network = ip_network(entry.name, strict=False)
        if network.prefixlen < NARROW[network.version]:
            raise _No(f"{entry.place}: {entry.name} is more than /{NARROW[network.version]}")
    elif "@" not in entry.name and (entry.name in EVERYBODYS or _SHARED.fullmatch(entry.name)):
        raise _No(f"{entry.place}: {entry.name} is a domain of many")


# -- the plan -------------------------------------------------------------------------------------------------


def _check_plans(plans: Sequence[Mapping[str, Any]], entries: set[tuple[str, str, str, str]]) -> None:
    made: set[tuple[str, str, str, str]] = set()
    for plan in plans:
        if plan["retired"]:
            raise _No("a scope left Git")
        for scope in plan["scopes"]:
            where = f"{scope['facet']} {scope['name']} on {scope['target']}"
            if scope["error"] or scope["unknown"]:
                raise _No(f"{where} could not be planned whole")
            for change in scope["changes"]:
                one = (scope["customer"], scope["name"], change["kind"], change["name"])
                if change["standing"] != "due" or change["opens"]:
                    raise _No(f"{where}: {change['name']} needs somebody")
                if change["verb"] != "create" or change["cause"] != "pending" or one not in entries:
                    raise _No(f"{where}: the plan also has {change['verb']} {change['name']}")
                made.add(one)
    if missing := entries - made:
        raise _No(f"the plan does not make {min(missing)[3]}")
