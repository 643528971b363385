"""
Rules that somebody saved in a file → as nft lists them, for an import of a device that nobody reaches yet.

nft on this machine loads them in a network namespace of its own, through which no packet goes and which is gone when
the program ends. Interfaces are meant by name, for none of them is here; what cannot be without them is left out, and
told. A file may not include another one: nft would read it as whoever runs mspctl. Needs nft and `unshare` (util-linux)
here, and root or user namespaces.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from typing import Any

from mspctl.errors import TargetError
from mspctl.kinds.grown import Native, Odd
from mspctl.transports.machine import Session

_INCLUDES = re.compile(r"\binclude\s*[\"']")
_BY_NUMBER = re.compile(r'\b([io]if)(?="?\s*(?:"|\{|!=|==|@|vmap|\.))')
_BY_NUMBER_JSON = re.compile(r'("key"\s*:\s*"[io]if)(?=")')
# Both are of interfaces that are not here, so no kernel would take them. What is quoted is passed over.
_QUOTED = r'"[^"\n]*"'
_FLOWS = re.compile(
    rf'{_QUOTED}|\bflowtable\s+(?P<name>[^\s{{]+)\s*\{{(?:[^{{}}"]|{_QUOTED}|\{{[^{{}}]*\}})*\}}|\bflow\s+(?:add|offload)\s+@\S+'
)
_NETDEV = re.compile(r"(?ms)^table netdev (\S+) \{.*?^\}")
_FASTER = "flowtable {} is not taken over: it only sped up what had begun"
_EARLIER = "it sees packets before they have zones"
_NOT_NFT = (
    (re.compile(r"\*(filter|nat|mangle|raw|security)\s"), "what iptables-save wrote"),
    (re.compile(r"(?m)^(Chain \w+ \(|config (rule|zone|defaults)\b)"), "no list of nft"),
)


@dataclass(slots=True)
class Saved:
    """What a file comes to: as `nft -j list ruleset` and `nft -a -s list ruleset` say it, and what was left out."""

    listed: Any = None
    text: str = ""
    notes: list[str] = field(default_factory=list)
    odd: list[Odd] = field(default_factory=list)


def listed(session: Session, text: str) -> Saved:
    """Raises TargetError."""
    said = text.lstrip("\ufeff").lstrip()
    if not said:
        raise TargetError("the file is empty (nft list ruleset >FILE on the device writes it)")
    for pattern, what in _NOT_NFT:
        if pattern.search(said[:2000]):
            raise TargetError(f"the file is {what} (nft list ruleset >FILE on the device has the same rules)")
    if _INCLUDES.search(said.replace("\\\n", " ")):  # a line may go on in the next one
        raise TargetError("the file includes another one (nft list ruleset >FILE on the device has everything in one)")
    is_json = said.startswith("{")
    found = Saved()
    given = _of_json(_BY_NUMBER_JSON.sub(r"\1name", said), found) if is_json else _of_text(said, found)
    alone = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-r", "-n"]
    ran = session.run([*alone, "sh", "-c", _LIST, "sh", *(["-j"] if is_json else [])], given.encode())
    if ran.code == _REFUSED:
        raise TargetError(f"nft does not take the file: {_first(ran.err)}")
    if ran.code:
        raise TargetError(f"the file cannot be loaded on this machine: {ran.complaint} (nft and unshare are needed)")
    first, _, found.text = ran.out.decode(errors="replace").partition("\n")
    found.listed = json.loads(first)
    return found


def _of_text(said: str, found: Saved) -> str:
    """Without what is of interfaces that are not here."""

    def flows(match: re.Match[str]) -> str:
        if match[0].startswith('"'):
            return match[0]
        if match["name"]:
            found.notes.append(_FASTER.format(match["name"]))
        return "" if match["name"] else "counter"  # a rule is never empty

    def early(match: re.Match[str]) -> str:
        found.odd.append(_early(match[1]))
        return ""

    return _NETDEV.sub(early, _FLOWS.sub(flows, _BY_NUMBER.sub(r"\1name", said)))


def _of_json(said: str, found: Saved) -> str:
    """The same; what makes no sense is left to nft."""
    try:
        items = json.loads(said)["nftables"]
        held = [(item, *next(iter(item.items()))) for item in items]
        found.odd += [_early(body["name"]) for _, what, body in held if what == "table" and body["family"] == "netdev"]
        found.notes += [_FASTER.format(body["name"]) for _, what, body in held if what == "flowtable"]
        kept = [item for item, what, body in held if what != "flowtable" and body.get("family") != "netdev"]
        for rule in (item["rule"] for item in kept if "rule" in item):
            rule["expr"] = [{"counter": None} if "flow" in each else each for each in rule["expr"]]
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration):
        return said
    return json.dumps({"nftables": kept})


def _early(table: str) -> Odd:
    return Odd(Native("prerouting", "", f"table netdev {table}"), _EARLIER)


def _first(err: bytes) -> str:
    """nft's first complaint, without the line of the file that it is about: who knows what that is a file of."""
    first = err.decode(errors="replace").strip().partition("\n")[0]
    return first[:160].replace("/dev/stdin:", "line ") or "it gives no reason"


_REFUSED = 9
_LIST = f"""
export TZ=UTC
nft "$@" -f - || exit {_REFUSED}
nft -j list ruleset && nft -a -s list ruleset
"""
