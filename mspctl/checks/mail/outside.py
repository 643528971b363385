"""What strangers' mail servers look up: the key that signatures are checked with, and lists of who sends spam."""

from __future__ import annotations

from collections.abc import Iterator

from mspctl.checks import Seen
from mspctl.checks.dns.zone import is_local, listed
from mspctl.checks.mail import block_lists
from mspctl.checks.mail.domain import Domain
from mspctl.finding import Finding, Severity
from mspctl.kinds import dkim, dns
from mspctl.kinds.answers import Answer, NameQuestion, Status
from mspctl.model.sections.mail.publish import FILTER, zone_of


def questions(domain: Domain) -> Iterator[NameQuestion]:
    if _key_in_use(domain):
        yield _key(domain)
    for one in _lists(domain):
        yield from one.questions


def findings(domain: Domain, seen: Seen) -> Iterator[Finding]:
    in_use = _key_in_use(domain)
    if in_use and _key(domain) in seen:
        yield from _dkim(domain, in_use, seen[_key(domain)])
    for address, names in _listed(domain, seen).items():
        what = f"{address}, from which {domain.own.target} sends, is on the block list {listed(names)}"
        remedy = "find out who sent spam and stop it, then ask the list to take the address off"
        yield domain.finding("mail.listed", Severity.WARNING, what, remedy)


def unknown(domain: Domain, seen: Seen) -> Iterator[str]:
    """What could not be learnt of it, and why."""
    if _key_in_use(domain):
        answer: Answer | None = seen.get(_key(domain))
        if answer and answer.status is Status.UNKNOWN:
            yield f"the DKIM key ({answer.why})"
    reasons = {one.zone: one.why_unknown(seen) for one in _lists(domain) if one.was_asked(seen)}
    for zone, why in reasons.items():
        if why:
            yield f"the block list {zone.rstrip('.')} ({why})"


# -- DKIM -------------------------------------------------------------------------------------------------------


def _key(domain: Domain) -> NameQuestion:
    selector = domain.own.publish.selector if domain.own.publish else ""
    return NameQuestion(dkim.key_name(selector, domain.name), "TXT")


def _key_in_use(domain: Domain) -> str:
    """What the mail server says is to be published; "" without a key, or where the world cannot see it."""
    customer, scope = domain.facts.customer, domain.scope(FILTER)
    zone = zone_of(customer, domain.name)
    zones = getattr(customer.sections.get("dns"), "zones", {})
    if domain.own.publish is None or is_local(domain.name) or (zone and not zones[zone].public):
        return ""
    plan, record = domain.facts.live.get(scope), domain.facts.history.get(scope)
    value = (plan.outputs if plan else {}).get("dkim") or (record.outputs if record else {}).get("dkim")
    return _plain(value) if isinstance(value, str) else ""


def _plain(value: str) -> str:
    """A TXT record's text, whether it is quoted or not."""
    return dns.content(value).decode("latin-1") if value.startswith('"') else value


def _dkim(domain: Domain, in_use: str, answer: Answer) -> Iterator[Finding]:
    if answer.status is Status.UNKNOWN:
        return
    name, texts = _key(domain).name.rstrip("."), [_plain(value) for value in answer.values]
    keys = [text for text in texts if dkim.is_key(text)]
    publish = (
        f"publish the key of {domain.own.target} at {name} (mspctl plan shows whether Git does), or wait for its TTL"
    )
    source = domain.place("publish")
    if not keys:
        what = (
            f"the DNS has no DKIM key at {name}, with which {domain.own.target} signs: nobody believes the signatures"
        )
        yield domain.finding("mail.dkim", Severity.SEVERE, what, publish, source=source)
    elif not any(dkim.same_key(in_use, key) for key in keys):
        what = f"the DKIM key at {name} is not the one that {domain.own.target} signs with: all signatures fail"
        yield domain.finding("mail.dkim", Severity.SEVERE, what, publish, source=source)
    elif len(keys) > 1:
        what = f"there are {len(keys)} DKIM keys at {name}, and receivers take any one of them"
        yield domain.finding("mail.dkim", Severity.WARNING, what, "leave the one that is in use", source=source)


# -- block lists ------------------------------------------------------------------------------------------------


def _lists(domain: Domain) -> list[block_lists.BlockList]:
    published = domain.target.publish if domain.target else None
    addresses = published.sends_from if published else ()
    return [block_lists.BlockList(zone, addresses) for zone in domain.settings.block_lists if addresses]


def _listed(domain: Domain, seen: Seen) -> dict[str, list[str]]:
    """Addresses, and the lists that they are on, with what the list says of them."""
    found: dict[str, list[str]] = {}
    for one in _lists(domain):
        for address, said in one.listed(seen).items():
            found.setdefault(address, []).append(one.zone.rstrip(".") + (f" ({said})" if said else ""))
    return found
