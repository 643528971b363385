"""
Rules that somebody saved in a file → as nft lists them, for an import of a device that nobody reaches yet.

nft on this machine loads them in a network namespace of its own, through which no packet goes and which is gone when
the program ends. Interfaces are meant by name, for none of them is here. A file may not include another one: nft would
read it as whoever runs mspctl. Needs nft and `unshare` (util-linux) here, and root or user namespaces.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

from mspctl.errors import TargetError
from mspctl.transports.machine import Session

_INCLUDES = re.compile(r"\binclude\s*[\"']")
_BY_NUMBER = re.compile(r'\b([io]if)(?="?\s*(?:"|\{|!=|==|@|vmap|\.))')
_BY_NUMBER_JSON = re.compile(r'("key"\s*:\s*"[io]if)(?=")')
_FLOWS = re.compile(r'(?m)^\s*flowtable |"flowtable"')
_NO_FLOWS = " (its flowtables only speed up: take them, and the rules that add to them, out of the file)"
_NOT_NFT = (
    (re.compile(r"\*(filter|nat|mangle|raw|security)\s"), "what iptables-save wrote"),
    (re.compile(r"(?m)^(Chain \w+ \(|config (rule|zone|defaults)\b)"), "no list of nft"),
)


def listed(session: Session, text: str) -> tuple[Any, str]:
    """As `nft -j list ruleset` and `nft -a -s list ruleset` say it there. Raises TargetError."""
    said = text.lstrip("\ufeff").lstrip()
    if not said:
        raise TargetError("the file is empty (nft list ruleset >FILE on the device writes it)")
    for pattern, what in _NOT_NFT:
        if pattern.search(said[:2000]):
            raise TargetError(f"the file is {what} (nft list ruleset >FILE on the device has the same rules)")
    if _INCLUDES.search(said.replace("\\\n", " ")):  # a line may go on in the next one
        raise TargetError("the file includes another one (nft list ruleset >FILE on the device has everything in one)")
    is_json = said.startswith("{")
    given = _BY_NUMBER_JSON.sub(r"\1name", said) if is_json else _BY_NUMBER.sub(r"\1name", said)
    alone = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-r", "-n"]
    ran = session.run([*alone, "sh", "-c", _LIST, "sh", *(["-j"] if is_json else [])], given.encode())
    if ran.code == _REFUSED:
        hint = _NO_FLOWS if _FLOWS.search(said) else ""  # their interfaces are not here
        raise TargetError(f"nft does not take the file: {_first(ran.err)}{hint}")
    if ran.code:
        raise TargetError(f"the file cannot be loaded on this machine: {ran.complaint} (nft and unshare are needed)")
    first, _, rest = ran.out.decode(errors="replace").partition("\n")
    return json.loads(first), rest


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
