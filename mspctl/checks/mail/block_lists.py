"""
Lists of addresses that send spam, asked through the DNS (RFC 5782). Pure.

A list that is dead, or does not want to be asked by us, answers too, and with anything. So each is asked for its own
test entries beside: what does not know 127.0.0.2, or lists 127.0.0.1, is no list that says anything about anybody.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mspctl.checks import Seen
from mspctl.kinds import dns, on_one_line
from mspctl.kinds.answers import UNASKED, Answer, NameQuestion, Status

ALWAYS, NEVER = "127.0.0.2", "127.0.0.1"  # are on every list, and on none
LISTED = ipaddress.ip_network("127.0.0.0/8")
REFUSED = ipaddress.ip_network("127.255.255.0/24")  # how lists say that they do not answer us
LONGEST = 120  # characters of what a list says


@dataclass(frozen=True, slots=True)
class BlockList:
    zone: str  # "zen.spamhaus.org."
    addresses: Sequence[str]

    @property
    def questions(self) -> Iterator[NameQuestion]:
        yield from (self._about(address, "A") for address in (ALWAYS, NEVER, *self.addresses))
        yield from (self._about(address, "TXT") for address in self.addresses)

    def _about(self, address: str, rtype: str) -> NameQuestion:
        reverse = ipaddress.ip_address(address).reverse_pointer
        return NameQuestion(f"{reverse.removesuffix('.in-addr.arpa').removesuffix('.ip6.arpa')}.{self.zone}", rtype)

    def was_asked(self, seen: Seen) -> bool:
        return self._about(ALWAYS, "A") in seen

    def why_unknown(self, seen: Seen) -> str:
        """Why nothing is known of some address; "" when all are known."""
        answers = {address: self._answer(address, seen) for address in (ALWAYS, NEVER, *self.addresses)}
        reasons = [why for answer in answers.values() if (why := _why(answer))]
        if not reasons and (not answers[ALWAYS].values or answers[NEVER].values):
            reasons = ["it does not answer as a block list does"]
        return reasons[0] if reasons else ""

    def listed(self, seen: Seen) -> dict[str, str]:
        """Addresses that are on the list, and what it says of them."""
        if not self.was_asked(seen) or not self._answer(ALWAYS, seen).values or self._answer(NEVER, seen).values:
            return {}
        found = {a: self._answer(a, seen) for a in self.addresses}
        return {a: self._said(a, seen) for a, answer in found.items() if answer.values and not _why(answer)}

    def _answer(self, address: str, seen: Seen) -> Answer:
        answer: Answer = seen.get(self._about(address, "A"), UNASKED)
        return answer

    def _said(self, address: str, seen: Seen) -> str:
        answer: Answer = seen.get(self._about(address, "TXT"), UNASKED)
        text = dns.content(answer.values[0]).decode("utf-8", "replace") if answer.values else ""
        line = on_one_line(text)
        return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


def _why(answer: Answer) -> str:
    """Why an answer says nothing of an address."""
    if answer.status is Status.UNKNOWN:
        return answer.why
    values = [ipaddress.ip_address(value) for value in answer.values]
    refused = [str(value) for value in values if value in REFUSED or value not in LISTED]
    return f"it answers {refused[0]}, which is no answer to whether an address is listed" if refused else ""
