"""
SPF records (RFC 7208), read without judging any sender: what is wrong with them, and the look-ups that they cost.

A receiver stops with an error at the eleventh term that needs the DNS, and at the third look-up that finds nothing
(section 4.6.4). Counted is the worst case, a sender that no term matches before the end.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from mspctl.kinds import dns, shown
from mspctl.kinds.answers import Answer, Status

LOOKUPS = 10  # that a receiver makes
VOID = 2  # of these may find nothing
EXCHANGES = 10  # that one `mx` may name
ENOUGH = 40  # look-ups after which counting stops

Ask = Callable[[str, str], Answer]  # name and type → what the DNS says


@dataclass(frozen=True, slots=True)
class Term:
    """One mechanism: `include:spf.example` is ("include", "spf.example")."""

    name: str
    target: str = ""  # as written; "" for the domain itself

    @property
    def domain(self) -> str:
        """What is looked up, absolute; "" when only a receiver can tell, because it is made by a macro."""
        return "" if "%" in self.target else dns.fold(self.target.removesuffix(".") + ".")


@dataclass(frozen=True, slots=True)
class Record:
    terms: tuple[Term, ...] = ()  # up to `all`, behind which nothing counts
    redirect: Term | None = None
    problem: str = ""  # the first thing that makes it an error for a receiver


@dataclass(slots=True)
class Cost:
    """What a receiver meets on its way through a record and all that it includes."""

    lookups: int = 0
    void: list[str] = field(default_factory=list)  # names that have nothing
    problems: list[str] = field(default_factory=list)  # errors, besides the limits
    unknown: list[str] = field(default_factory=list)  # what could not be looked up, and why
    more: bool = False  # macros or answers that are missing may bring further look-ups


def is_spf(text: str) -> bool:
    """Whether a receiver takes a TXT record for an SPF record."""
    return text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")


def texts(answer: Answer) -> list[str]:
    """The SPF records among TXT values in normal form."""
    found = (dns.content(value).decode("latin-1") for value in answer.values)
    return [text for text in found if is_spf(text)]


# -- one record -----------------------------------------------------------------------------------------------

_MODIFIER = re.compile(r"([a-z][a-z0-9_.-]*)=(.*)", re.IGNORECASE | re.DOTALL)
_MECHANISM = re.compile(r"[-+?~]?([a-z0-9]+)(.*)", re.IGNORECASE | re.DOTALL)
# Behind `a` and `mx`: a domain, and how much of an address counts.
_HOSTS = re.compile(r"(?::(.+?))?(?:/(?:3[0-2]|[12]?\d))?(?://(?:12[0-8]|1[01]\d|[1-9]?\d))?", re.ASCII)
_MACROS = re.compile(r"(?:[\x21-\x24\x26-\x7e]|%[%_-]|%\{[slodiphcrtv]\d*r?[-.+,/_=]*\})+", re.IGNORECASE)


def parse(text: str) -> Record:
    """An SPF record as far as it can be read. Never raises: what is wrong is its `problem`."""
    terms: list[Term] = []
    redirect: Term | None = None
    seen: set[str] = set()
    for word in text.split(" ")[1:]:
        if not word:
            continue
        modifier = _MODIFIER.fullmatch(word)
        name = modifier[1].lower() if modifier else ""
        if name in seen:
            return Record(tuple(terms), redirect, f"{name}= stands there twice")
        try:
            if name in ("redirect", "exp"):
                seen.add(name)
                redirect = _term(name, word.partition("=")[2]) if name == "redirect" else redirect
            elif not modifier:
                terms.append(_mechanism(word))
        except ValueError as error:
            return Record(tuple(terms), redirect, str(error))
    ends = next((n for n, term in enumerate(terms) if term.name == "all"), None)
    return Record(tuple(terms), redirect) if ends is None else Record(tuple(terms[: ends + 1]))


def _mechanism(word: str) -> Term:
    match = _MECHANISM.fullmatch(word)
    name, rest = (match[1].lower(), match[2]) if match else ("", "")
    if name in ("ip4", "ip6"):
        return _network(word, name, rest)
    if name in ("include", "exists") and rest.startswith(":"):
        return _term(name, rest[1:])
    if name == "ptr" and rest.startswith(":"):
        return _term(name, rest[1:])
    hosts = _HOSTS.fullmatch(rest)
    if name in ("a", "mx") and hosts:
        return _term(name, hosts[1]) if hosts[1] is not None else Term(name)
    if name in ("all", "ptr") and not rest:
        return Term(name)
    raise ValueError(f"{shown(word)} is no term of SPF")


def _term(name: str, target: str) -> Term:
    if not _MACROS.fullmatch(target):
        raise ValueError(f"{name} has no domain name in {shown(target)}")
    term = Term(name, target)
    try:
        _ = term.domain
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return term


def _network(word: str, name: str, rest: str) -> Term:
    made = ipaddress.IPv4Network if name == "ip4" else ipaddress.IPv6Network
    prefix = rest.partition("/")[2]
    try:
        if not rest.startswith(":") or (prefix and not prefix.isdecimal()) or rest.endswith("/"):
            raise ValueError
        made(rest[1:], strict=False)
    except ValueError:
        raise ValueError(f"{shown(word)} is no network") from None
    return Term(name)


# -- all that it includes -------------------------------------------------------------------------------------


def cost(domain: str, ask: Ask) -> Cost:
    """What the SPF record of `domain` (absolute, and it has one) costs a receiver; asks for what it includes."""
    found = Cost()
    _follow(domain, ask, found, ())
    return found


def _follow(domain: str, ask: Ask, found: Cost, trail: tuple[str, ...]) -> None:
    answer = ask(domain, "TXT")
    if answer.status is Status.UNKNOWN:
        found.unknown.append(f"{_plain(domain)} TXT: {answer.why}")
        found.more = True
        return
    records = texts(answer)
    if len(records) != 1:
        # The record that all begins with is another finding.
        if trail:
            held = f"{len(records)} SPF records" if records else "no SPF record"
            found.problems.append(f"{_plain(domain)}, which {_plain(trail[-1])} includes, has {held}")
        return
    record = parse(records[0])
    if record.problem:
        found.problems.append(f"{record.problem} (in the record of {_plain(domain)})" if trail else record.problem)
    for term in (*record.terms, *((record.redirect,) if record.redirect else ())):
        if found.lookups > ENOUGH:
            found.more = True
            return
        _look_up(term, domain, ask, found, (*trail, domain))


def _look_up(term: Term, domain: str, ask: Ask, found: Cost, trail: tuple[str, ...]) -> None:
    if term.name not in ("include", "redirect", "a", "mx", "ptr", "exists"):
        return
    found.lookups += 1
    target = term.domain if term.target else domain
    if term.name == "ptr" or not target:
        found.more = found.more or not target
    elif term.name not in ("include", "redirect"):
        _look_up_hosts(term.name, target, ask, found)
    elif target in trail:
        loop = " → ".join(map(_plain, (*trail[trail.index(target) :], target)))
        found.problems.append(f"it includes itself: {loop}")
    else:
        _follow(target, ask, found, trail)


def _look_up_hosts(name: str, target: str, ask: Ask, found: Cost) -> None:
    types = {"mx": ("MX",), "a": ("A", "AAAA"), "exists": ("A",)}[name]
    answers = [ask(target, rtype) for rtype in types]
    if any(answer.status is Status.UNKNOWN for answer in answers):
        found.unknown += [f"{_plain(target)} {t}: {a.why}" for t, a in zip(types, answers, strict=True) if a.why]
    elif not any(answer.values for answer in answers):
        found.void.append(_plain(target))
    elif name == "mx" and len(answers[0].values) > EXCHANGES:
        found.problems.append(f"{_plain(target)} has more than {EXCHANGES} MX records, and `mx` looks up each")


def _plain(name: str) -> str:
    return name.removesuffix(".")
