"""What strangers' mail servers look up: the key that signatures are checked with, and lists of who sends spam."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mspctl.checks import Seen
from mspctl.checks.dns.zone import is_local, listed
from mspctl.checks.mail import block_lists
from mspctl.checks.mail.domain import Domain
from mspctl.finding import Finding, Severity
from mspctl.kinds import dkim, dns
from mspctl.kinds import filter as filters
from mspctl.kinds.answers import Answer, NameQuestion, Status
from mspctl.model.sections.mail.publish import zone_of


def questions(domain: Domain) -> Iterator[NameQuestion]:
    yield from (_key(domain, selector) for selector in _keys_in_use(domain))
    for one in _lists(domain):
        yield from one.questions


def findings(domain: Domain, seen: Seen) -> Iterator[Finding]:
    keys = _keys_in_use(domain)
    answers: dict[str, Answer] = {each: seen[_key(domain, each)] for each in keys if _key(domain, each) in seen}
    published = {each: _published(answer) for each, answer in answers.items() if answer.status is not Status.UNKNOWN}
    right = [each for each, texts in published.items() if any(dkim.same_key(keys[each], text) for text in texts)]
    for selector, texts in published.items():
        yield from _dkim(domain, selector, texts, right)
    for address, names in _listed(domain, seen).items():
        what = f"{address}, from which {domain.own.target} sends, is on the block list {listed(names)}"
        remedy = "find out who sent spam and stop it, then ask the list to take the address off"
        yield domain.finding("mail.listed", Severity.WARNING, what, remedy)


def unknown(domain: Domain, seen: Seen) -> Iterator[str]:
    """What could not be learnt of it, and why."""
    answers: list[Answer | None] = [seen.get(_key(domain, selector)) for selector in _keys_in_use(domain)]
    yield from (f"the DKIM key ({a.why})" for a in answers if a and a.status is Status.UNKNOWN)
    reasons = {one.zone: one.why_unknown(seen) for one in _lists(domain) if one.was_asked(seen)}
    for zone, why in reasons.items():
        if why:
            yield f"the block list {zone.rstrip('.')} ({why})"


# -- DKIM -------------------------------------------------------------------------------------------------------


def _key(domain: Domain, selector: str) -> NameQuestion:
    return NameQuestion(dkim.key_name(selector, domain.name), "TXT")


def _keys_in_use(domain: Domain) -> dict[str, str]:
    """Selectors, and what the mail server says is to be published; none where the world cannot see it."""
    customer, scope = domain.facts.customer, domain.scope(filters.FACET)
    zone = zone_of(customer, domain.name)
    zones = getattr(customer.sections.get("dns"), "zones", {})
    if domain.own.publish is None or is_local(domain.name) or (zone and not zones[zone].public):
        return {}
    plan, record = domain.facts.live.get(scope), domain.facts.history.get(scope)
    outputs = {**(record.outputs if record else {}), **(plan.outputs if plan else {})}
    found = {selector: outputs.get(filters.output(selector)) for selector in domain.own.publish.selectors}
    return {selector: text for selector, text in found.items() if isinstance(text, str) and text}


def _published(answer: Answer) -> list[str]:
    texts = [dns.content(value).decode("latin-1") for value in answer.values]
    return [text for text in texts if dkim.is_key(text)]


def _dkim(domain: Domain, selector: str, published: Sequence[str], right: Sequence[str]) -> Iterator[Finding]:
    """One key; `right` are the selectors of those that the DNS has as they are. One of them is enough to sign with."""
    server, name = domain.own.target, _key(domain, selector).name.rstrip(".")
    severity, fails = (Severity.WARNING, "what is signed with it fails")
    if not right:
        severity, fails = (Severity.SEVERE, "all signatures fail")
    source = domain.place("publish")
    remedy = f"publish the key of {server} at {name} (mspctl plan shows whether Git does), or wait for its TTL"
    if not published:
        what = f"the DNS has no DKIM key at {name}, and {server} has one to sign with: {fails}"
        yield domain.finding("mail.dkim", severity, what, remedy, source=source)
    elif selector not in right:
        what = f"the DKIM key at {name} is not the one that {server} signs with: {fails}"
        yield domain.finding("mail.dkim", severity, what, remedy, source=source)
    elif len(published) > 1:
        what = f"there are {len(published)} DKIM keys at {name}, and receivers take any one of them"
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
