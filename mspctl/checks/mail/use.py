"""What only the server can measure: what mailboxes hold, who logged in last, what is open, since when mail waits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from mspctl.checks import Seen
from mspctl.checks.dns.zone import listed
from mspctl.checks.mail.domain import Domain
from mspctl.driver import NOT_HERE, Gauge, Measured, Unmeasured
from mspctl.finding import Finding, Severity
from mspctl.kinds import mail
from mspctl.kinds.mail_log import FACET as LOGS
from mspctl.resource import Id


def gauges(domain: Domain) -> Iterator[Gauge]:
    """What has to be asked of the targets."""
    for id_ in _limited(domain):
        yield from (Gauge(domain.scope(mail.FACET), id_, what) for what in (mail.OCTETS, mail.QUOTA))
    for id_ in _left(domain):
        yield from _logins(domain, id_)
    yield from (_session(domain, id_) for id_ in _off(domain))
    yield from _queues(domain)


def findings(domain: Domain, seen: Seen) -> Iterator[Finding]:
    for id_, said in _limited(domain).items():
        octets, live = (seen.get(Gauge(domain.scope(mail.FACET), id_, what)) for what in (mail.OCTETS, mail.QUOTA))
        quota = live if isinstance(live, int) else said
        if isinstance(octets, int) and quota and octets * 100 >= quota * domain.settings.full:
            yield _full(domain, id_, octets, quota)
    for id_, left in _left(domain).items():
        last = _latest(domain, id_, seen)
        if isinstance(last, datetime) and last > left:
            yield _login(domain, id_, last)
    for id_, why in _off(domain).items():
        if isinstance(where := seen.get(_session(domain, id_)), str):
            yield _open(domain, id_, why, where)
    waits = [since for gauge in _queues(domain) if isinstance(since := seen.get(gauge), datetime)]
    if waits and domain.facts.now - min(waits) > timedelta(seconds=domain.settings.queued):
        yield _waiting(domain, min(waits))


def unknown(domain: Domain, seen: Seen) -> Iterator[str]:
    """What could not be measured, and why."""
    mine = domain.scope(mail.FACET)
    held = {id_: seen.get(Gauge(mine, id_, mail.OCTETS)) for id_ in _limited(domain)}
    yield from _said("what mailboxes hold", held)
    yield from _said("who logged in after leaving", {id_: _latest(domain, id_, seen) for id_ in _left(domain)})
    # Without a Dovecot that can be asked, nobody ever knows: that is how the target is set up.
    sessions = {id_: seen.get(_session(domain, id_)) for id_ in _off(domain)}
    yield from _said(
        "what is open of people who are switched off", {i: s for i, s in sessions.items() if s != NOT_HERE}
    )
    unmeasured = [since for gauge in _queues(domain) if isinstance(since := seen.get(gauge), Unmeasured)]
    if unmeasured:
        yield f"mail that waits ({unmeasured[0].why})"


def _said(what: str, found: dict[Id, Measured]) -> Iterator[str]:
    """A line for each reason; names are told where it is not so of all."""
    reasons: dict[str, list[str]] = {}
    for id_, said in found.items():
        if isinstance(said, Unmeasured):
            reasons.setdefault(said.why, []).append(id_.name)
    for why, names in reasons.items():
        yield f"{what} ({why})" if len(names) == len(found) else f"{what}: {listed(sorted(names))} ({why})"


# -- mailboxes --------------------------------------------------------------------------------------------------


def _limited(domain: Domain) -> dict[Id, int]:
    """Mailboxes of ours that are there and can be full, with their quota, which the target may have rounded."""
    found = {i: r.fields.get("quota", 0) for i, r in domain.live.items() if i.kind == mail.MAILBOX}
    return {i: quota for i, quota in found.items() if i in domain.declared and isinstance(quota, int) and quota > 0}


def _full(domain: Domain, id_: Id, octets: int, quota: int) -> Finding:
    share = octets * 100 // quota
    severity = Severity.SEVERE if share >= 100 else Severity.WARNING
    what = f"{id_.name} holds {_size(octets)} of {_size(quota)} ({share} %)"
    what += ": mail for it is refused" if share >= 100 else ""
    return domain.finding("mail.full", severity, what, "let its owner tidy up, or raise the quota", id_=id_)


def _size(octets: int) -> str:
    unit, name = next(
        (u, n) for u, n in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B")) if octets >= u or u == 1
    )
    return f"{octets / unit:.{1 if unit > 1 else 0}f} {name}"


# -- log-ins ----------------------------------------------------------------------------------------------------


def _left(domain: Domain) -> dict[Id, datetime]:
    """Who has left and whose mailbox is still there, since when."""
    zone, found = domain.facts.customer.info.timezone, {}
    for local, leaver in domain.own.leavers.items():
        since = leaver.left.begins(zone)
        if since <= domain.facts.now and Id(mail.MAILBOX, local) in domain.live:
            found[Id(mail.MAILBOX, local)] = since
    return found


def _logins(domain: Domain, id_: Id) -> list[Gauge]:
    """Mailboxes may know it, and so may the logs."""
    facets = [facet for facet in (mail.FACET, LOGS) if domain.has(facet)]
    return [Gauge(domain.scope(facet), id_, mail.LAST_LOGIN) for facet in facets]


def _latest(domain: Domain, id_: Id, seen: Seen) -> Measured:
    """The latest log-in that anybody knows of."""
    answers = [seen[gauge] for gauge in _logins(domain, id_) if gauge in seen]
    known = [answer for answer in answers if not isinstance(answer, Unmeasured)]
    moments = [answer for answer in known if isinstance(answer, datetime)]
    if moments:
        return max(moments)
    return None if known or not answers else answers[0]


def _login(domain: Domain, id_: Id, last: datetime) -> Finding:
    left = domain.own.leavers[id_.name].left
    what = f"{id_.name} left {left}, and somebody logged in on {last.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    remedy = "see that nobody can (mspctl plan), end open sessions, and ask who it was"
    return domain.finding("mail.login", Severity.SEVERE, what, remedy, id_=id_, since=last.date())


# -- sessions ---------------------------------------------------------------------------------------------------


def _off(domain: Domain) -> dict[Id, str]:
    """Mailboxes whose owners cannot log in, and those that we took away; with what is to be said of them."""
    if domain.plan is None:
        return {}
    whole = domain.live.get(mail.DOMAIN_ID)
    none = whole is not None and whole.fields.get("enabled") is False
    there = {id_: resource for id_, resource in domain.live.items() if id_.kind == mail.MAILBOX}
    found = {i: "is switched off" for i, r in there.items() if none or r.fields.get("enabled") is False}
    known = domain.facts.history.get(domain.scope(mail.FACET))
    for id_, record in known.resources.items() if known else ():
        if id_.kind == mail.MAILBOX and id_ not in there and (record.tombstone or record.kept_until):
            found[id_] = "is switched off" if record.kept_until else "is gone"
    return dict(sorted(found.items()))


def _session(domain: Domain, id_: Id) -> Gauge:
    return Gauge(domain.scope(mail.FACET), id_, mail.SESSIONS)


def _open(domain: Domain, id_: Id, why: str, where: str) -> Finding:
    what = f"{id_.name} {why}, and something of it is still open: {where}"
    address = mail.address_of(id_.name, domain.name)
    remedy = f"end it (mspctl mail end {domain.facts.customer.name} {address}), and ask who it was"
    left = _left(domain).get(id_)
    return domain.finding("mail.session", Severity.SEVERE, what, remedy, id_=id_, since=left.date() if left else None)


# -- the queue --------------------------------------------------------------------------------------------------


def _queues(domain: Domain) -> list[Gauge]:
    """Its own name's, and that of each domain that stands for it."""
    names = (domain.name, *domain.own.alias_domains) if domain.has(LOGS) else ()
    return [Gauge(replace(domain.scope(LOGS), name=name), mail.DOMAIN_ID, mail.QUEUED_SINCE) for name in names]


def _waiting(domain: Domain, since: datetime) -> Finding:
    what = f"mail has been waiting to be delivered since {since.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    remedy = f"mspctl mail queue {domain.facts.customer.name} says which, and why"
    return domain.finding("mail.queue", Severity.WARNING, what, remedy, since=since.date())
