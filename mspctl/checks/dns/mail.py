"""Where mail goes and who may send it: MX and SPF records, as a stranger's mail server meets them."""

from __future__ import annotations

from collections.abc import Iterator

from mspctl.checks.dns.zone import Zone, declared_spf, listed, plain
from mspctl.finding import Finding, Severity
from mspctl.kinds import dns, spf
from mspctl.kinds.answers import Answer, Status, ZoneSeen


def declared(zone: Zone) -> Iterator[Finding]:
    """What is wrong in Git already, whatever the DNS says."""
    for resource in zone.records.values():
        owner, rtype = dns.owner_type(resource.id)
        if rtype == "MX" and _null_beside_others(dns.values_of(resource)):
            yield _null(zone, owner)
        if rtype == "TXT" and len(texts := declared_spf(resource)) > 1:
            yield _several(zone, owner, len(texts))


def findings(zone: Zone, seen: ZoneSeen) -> Iterator[Finding]:
    for name in sorted(zone.names("MX")):
        yield from _mx(zone, dns.fold_owner(name, zone.name), seen.answer(name, "MX"), seen)
    for name in sorted(zone.names("SPF")):
        yield from _spf(zone, dns.fold_owner(name, zone.name), seen.answer(name, "TXT"), seen)


def unknown(zone: Zone, seen: ZoneSeen) -> list[str]:
    """What could not be learnt of it, and why."""
    asked = [(name, "MX") for name in sorted(zone.names("MX"))]
    asked += [(host, rtype) for name, _ in asked for host in _hosts(seen.answer(name, "MX")) for rtype in ("A", "AAAA")]
    reasons = [f"{plain(name)} {t}: {why}" for name, t in asked if (why := _why(seen.answer(name, t)))]
    for name in sorted(zone.names("SPF")):
        if why := _why(seen.answer(name, "TXT")):
            reasons.append(f"{plain(name)} TXT: {why}")
        elif len(spf.texts(seen.answer(name, "TXT"))) == 1:
            reasons += spf.cost(name, seen.answer).unknown
    return reasons


def _why(answer: Answer) -> str:
    return answer.why if answer.status is Status.UNKNOWN else ""


# -- MX -------------------------------------------------------------------------------------------------------


def _hosts(answer: Answer) -> list[str]:
    return [host for host in sorted({value.split()[1] for value in answer.values}) if host != "."]


def _null_beside_others(values: list[str]) -> bool:
    return len(values) > 1 and any(value.split()[1] == "." for value in values)


def _mx(zone: Zone, owner: str, answer: Answer, seen: ZoneSeen) -> Iterator[Finding]:
    of_git = zone.resource(owner, "MX")
    if _null_beside_others([*answer.values]) and not (of_git and _null_beside_others(dns.values_of(of_git))):
        yield _null(zone, owner)
    bare, aliases, reached = [], [], 0
    for host in _hosts(answer):
        answers = [seen.answer(host, rtype) for rtype in ("A", "AAAA")]
        circle = next((f" ({a.why})" for a in answers if a.why and a.status is Status.NOTHING), "")
        if any(a.values for a in answers):
            reached += 1
            aliases += [f"{plain(host)} (of {plain(a.aliases[-1])})" for a in answers if a.aliases and a.values][:1]
        elif not any(a.status is Status.UNKNOWN for a in answers):
            bare.append(plain(host) + circle)
        else:
            reached += 1  # as far as we know
    if bare:
        severity = Severity.WARNING if reached else Severity.SEVERE
        what = f"mail server {listed(bare)} has no address" + ("" if reached else ": no mail arrives")
        remedy = "give it an A or AAAA record, or take it out of the MX records"
        yield zone.finding("dns.mx-address", severity, what, remedy, record=(owner, "MX"))
    if aliases:
        what = f"mail server {listed(aliases)} is a CNAME, which some senders refuse (RFC 2181)"
        remedy = "name the host itself in the MX record, or give it an A record"
        yield zone.finding("dns.mx-cname", Severity.WARNING, what, remedy, record=(owner, "MX"))


def _null(zone: Zone, owner: str) -> Finding:
    what = "a null MX (“0 .”, no mail at all) stands beside mail servers: senders may give up (RFC 7505)"
    remedy = "leave the null MX alone, or take it away"
    return zone.finding("dns.mx-null", Severity.WARNING, what, remedy, record=(owner, "MX"))


# -- SPF ------------------------------------------------------------------------------------------------------


def _several(zone: Zone, owner: str, count: int) -> Finding:
    what = f"there are {count} SPF records at one name: receivers take that for an error"
    return zone.finding("dns.spf-several", Severity.WARNING, what, "make one of them", record=(owner, "TXT"))


def _spf(zone: Zone, owner: str, answer: Answer, seen: ZoneSeen) -> Iterator[Finding]:
    texts = spf.texts(answer)
    of_git = zone.resource(owner, "TXT")
    if len(texts) > 1 and not (of_git and len(declared_spf(of_git)) > 1):
        yield _several(zone, owner, len(texts))
    if len(texts) == 1:
        yield from _cost(zone, owner, spf.cost(dns.absolute(owner, zone.name), seen.answer))


def _cost(zone: Zone, owner: str, cost: spf.Cost) -> Iterator[Finding]:
    record = (owner, "TXT")
    if cost.problems:
        what = f"the SPF record is an error for receivers: {listed(dict.fromkeys(cost.problems), '; ')}"
        remedy = "mend it, or take out what is no longer there"
        yield zone.finding("dns.spf-broken", Severity.WARNING, what, remedy, record=record)
    if cost.lookups > spf.LOOKUPS:
        least = "at least " if cost.more else ""
        what = f"the SPF record needs {least}{cost.lookups} look-ups, and receivers give up after {spf.LOOKUPS}"
        remedy = "take out services that nobody uses, write ip4 and ip6 for a and mx, or send from a name below"
        yield zone.finding("dns.spf-lookups", Severity.WARNING, what, remedy, record=record)
    if len(cost.void) > spf.VOID:
        names = listed(dict.fromkeys(cost.void))
        what = f"the SPF record looks up names that have nothing ({names}), and receivers give up after {spf.VOID}"
        yield zone.finding("dns.spf-void", Severity.WARNING, what, "take them out", record=record)
